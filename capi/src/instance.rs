//! Instances.

use anyhow::{Context as _, Result, bail};
use wasmc_runtime::{Extern, Instance};

use crate::error::{boxed, code, done, get, set_last_error, text};
use crate::guard::api;
use crate::module::module;
use crate::object::{Object, What, wasm_module_t, wasm_trap_t};
use crate::store::{StoreRef, store, wasm_store_t};
use crate::trap::{exit_code_of, trap};
use crate::vector::{Vector, wasm_extern_vec_t};
use crate::wasm_extern_t;
use std::ffi::c_char;

pub use crate::object::wasm_instance_t;

/// Instance and store of a reference.
///
/// # Safety
/// The pointer is null or an instance.
pub(crate) unsafe fn parts<'a>(this: *const wasm_instance_t) -> Result<(&'a StoreRef, Instance)> {
    // SAFETY: by the caller.
    let object = &unsafe { get(this, "the instance") }?.0;
    match &object.what {
        What::Instance(instance) => Ok((object.store()?, *instance)),
        _ => bail!("this reference is not to an instance"),
    }
}

/// # Safety
/// The vector is null or valid.
unsafe fn imports(imports: *const wasm_extern_vec_t) -> Result<Vec<Extern>> {
    // SAFETY: by the caller.
    let imports = unsafe { imports.as_ref().map_or(&[][..], |v| v.as_slice()) };
    let of = |(i, import): (usize, &*mut wasm_extern_t)| {
        // SAFETY: by the caller.
        let import = unsafe { get(*import, "the import") }.with_context(|| format!("import {i}"))?;
        import.0.what.to_extern().with_context(|| format!("import {i} is not something that can be imported"))
    };
    imports.iter().enumerate().map(of).collect()
}

/// The instance, or null with the error kept and the trap in its place.
///
/// # Safety
/// `at` is null, or where a trap may be written.
pub(crate) unsafe fn made(store: &StoreRef, instance: Result<Instance>, at: *mut *mut wasm_trap_t) -> *mut wasm_instance_t {
    store.settle();
    let error = match instance {
        Ok(instance) => return boxed(Ok(Object::new(store, What::Instance(instance)))),
        Err(error) => error,
    };
    set_last_error(&error);
    // SAFETY: by the caller.
    if let Some(at) = unsafe { at.as_mut() } {
        *at = trap(store, error);
    }
    std::ptr::null_mut()
}

api! {
    /// An instance of a module with what it imports, in order. Null if that fails; `trap`, if it is not null, then says why.
    fn wasm_instance_new(
        of: *mut wasm_store_t,
        this: *const wasm_module_t,
        given: *const wasm_extern_vec_t,
        trap: *mut *mut wasm_trap_t,
    ) -> *mut wasm_instance_t {
        if let Some(trap) = trap.as_mut() {
            *trap = std::ptr::null_mut();
        }
        match store(of) {
            Ok(store) => {
                let store = store.clone();
                let instance = module(this).and_then(|module| Instance::new(store.context(), module, &imports(given)?));
                made(&store, instance, trap)
            }
            Err(e) => boxed::<Object, _>(Err(e)),
        }
    }

    /// What an instance exports, in the order of its module.
    fn wasm_instance_exports(this: *const wasm_instance_t, out: *mut wasm_extern_vec_t) {
        let Some(out) = out.as_mut() else { return };
        *out = Vector::EMPTY;
        done(parts(this).map(|(store, instance)| {
            let exports = instance.exports(store.context()).filter_map(|e| What::of(e.into_extern()));
            let boxes: Vec<_> = exports.map(|what| Box::into_raw(Box::new(wasm_extern_t(Object::new(store, what))))).collect();
            *out = Vector::of(&boxes);
        }));
    }

    /// The export of an instance with this name; null if there is none.
    fn wasmc_instance_export(this: *const wasm_instance_t, name: *const c_char) -> *mut wasm_extern_t {
        boxed(parts(this).and_then(|(store, instance)| {
            let name = text(name, "the name of the export")?;
            let export = instance.get_export(store.context(), name).and_then(What::of);
            Ok(Object::new(store, export.with_context(|| format!("the instance has no export `{name}`"))?))
        }))
    }

    /// Runs a WASI program: calls `_start`. Returns the code that the command line would end with; `trap`, if it is not null,
    /// then says why, unless the program ended by itself.
    fn wasmc_instance_run(this: *const wasm_instance_t, trap: *mut *mut wasm_trap_t) -> i32 {
        if let Some(trap) = trap.as_mut() {
            *trap = std::ptr::null_mut();
        }
        let (store, instance) = match parts(this) {
            Ok((store, instance)) => (store.clone(), instance),
            Err(e) => {
                set_last_error(&e);
                return code::USAGE;
            }
        };
        let outcome = start(&store, &instance);
        store.settle();
        let Err(error) = outcome else { return 0 };
        let (code, ended) = exit_code_of(&error);
        if !ended {
            set_last_error(&error);
            if let Some(at) = trap.as_mut() {
                *at = crate::trap::trap(&store, error);
            }
        }
        code
    }
}

fn start(store: &StoreRef, instance: &Instance) -> Result<()> {
    if instance.get_func(store.context(), "_start").is_none() {
        bail!(crate::error::Coded(code::DATA, "the instance exports no function `_start` to run".into()));
    }
    instance.get_typed_func::<(), ()>(store.context(), "_start")?.call(store.context(), ())
}
