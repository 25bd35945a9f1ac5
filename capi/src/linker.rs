//! Linkers: imports by name, WASI among them.

use std::ffi::c_char;

use wasmc_runtime::Linker;

use crate::error::{boxed, done, get, text};
use crate::guard::api;
use crate::instance::{made, parts, wasm_instance_t};
use crate::module::module;
use crate::object::{Object, wasm_module_t, wasm_trap_t};
use crate::store::{HostData, StoreRef, store, wasm_store_t};
use crate::types::release;
use crate::wasm_extern_t;

/// Names for what the modules of a store import.
pub struct wasmc_linker_t {
    store: StoreRef,
    linker: Linker<HostData>,
    wasi: bool,
}

api! {
    /// An empty linker.
    fn wasmc_linker_new(of: *mut wasm_store_t) -> *mut wasmc_linker_t {
        boxed(store(of).map(|store| {
            wasmc_linker_t { store: store.clone(), linker: Linker::new(&store.engine()), wasi: false }
        }))
    }

    /// Releases a linker.
    fn wasmc_linker_delete(linker: *mut wasmc_linker_t) {
        release(linker);
    }

    /// Defines something of the store under a name.
    fn wasmc_linker_define(
        linker: *mut wasmc_linker_t,
        module: *const c_char,
        name: *const c_char,
        item: *const wasm_extern_t,
    ) -> bool {
        let Some(this) = linker.as_mut() else { return done(Err(crate::error::null("the linker"))) };
        done((|| {
            let item = get(item, "the import")?.0.what.to_extern();
            let item = item.ok_or_else(|| anyhow::anyhow!("this is not something that can be imported"))?;
            this.linker.define(this.store.context(), text(module, "the module's name")?, text(name, "the name")?, item)?;
            Ok(())
        })())
    }

    /// Defines everything that an instance exports, under the name of a module.
    fn wasmc_linker_define_instance(linker: *mut wasmc_linker_t, module: *const c_char, instance: *const wasm_instance_t) -> bool {
        let Some(this) = linker.as_mut() else { return done(Err(crate::error::null("the linker"))) };
        done((|| {
            let (_, instance) = parts(instance)?;
            this.linker.instance(this.store.context(), text(module, "the module's name")?, instance)?;
            Ok(())
        })())
    }

    /// Makes WASI available to the modules that are instantiated from here on.
    fn wasmc_linker_define_wasi(linker: *mut wasmc_linker_t) -> bool {
        let Some(this) = linker.as_mut() else { return done(Err(crate::error::null("the linker"))) };
        this.wasi = true;
        true
    }

    /// An instance of a module with what the linker has for its imports. Null if that fails; `trap`, if it is not null, then
    /// says why.
    fn wasmc_linker_instantiate(
        linker: *mut wasmc_linker_t,
        this: *const wasm_module_t,
        trap: *mut *mut wasm_trap_t,
    ) -> *mut wasm_instance_t {
        if let Some(trap) = trap.as_mut() {
            *trap = std::ptr::null_mut();
        }
        let Some(linker) = linker.as_mut() else { return boxed::<Object, _>(Err(crate::error::null("the linker"))) };
        let store = linker.store.clone();
        let instance = module(this).and_then(|module| {
            if linker.wasi {
                wasmc_wasi::add_imports_to_linker(&mut linker.linker, module, |data: &mut HostData| &mut data.wasi, None)?;
            }
            // What the start function calls may change the linker.
            let ready = linker.linker.instantiate_pre(module)?;
            ready.instantiate(store.context())
        });
        made(&store, instance, trap)
    }
}
