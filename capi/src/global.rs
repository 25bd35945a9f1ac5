//! Globals.

use anyhow::{Result, bail};
use wasmc_runtime::{Global, GlobalType, ValType};

use crate::error::{boxed, done, get, set_last_error};
use crate::guard::api;
use crate::object::{Object, What, wasm_global_t};
use crate::store::{StoreRef, store, wasm_store_t};
use crate::types::{Type, wasm_globaltype_t};
use crate::value::wasm_val_t;

/// # Safety
/// The pointer is null or a global.
unsafe fn parts<'a>(global: *const wasm_global_t) -> Result<(&'a StoreRef, Global)> {
    // SAFETY: by the caller.
    let object = &unsafe { get(global, "the global") }?.0;
    match &object.what {
        What::Global(global) => Ok((object.store()?, *global)),
        _ => bail!("this reference is not to a global"),
    }
}

api! {
    /// A global.
    fn wasm_global_new(of: *mut wasm_store_t, ty: *const wasm_globaltype_t, value: *const wasm_val_t) -> *mut wasm_global_t {
        boxed(store(of).and_then(|store| {
            let Type::Global(content, mutable) = &get(ty, "the type of the global")?.0 else { bail!("this is not a global type") };
            let value = get(value, "the value of the global")?.to_val(store, content.0)?;
            let global = Global::new(store.context(), GlobalType { content: content.0, mutable: *mutable }, &value)?;
            Ok(Object::new(store, What::Global(global)))
        }))
    }

    /// The type of a global.
    fn wasm_global_type(global: *const wasm_global_t) -> *mut wasm_globaltype_t {
        boxed(parts(global).map(|(store, global)| Type::global(global.ty(store.context()))))
    }

    /// The value of a global; an i32 of 0 if it cannot be had.
    fn wasm_global_get(global: *const wasm_global_t, out: *mut wasm_val_t) {
        let Some(out) = out.as_mut() else { return };
        let value = parts(global).and_then(|(store, global)| wasm_val_t::from_val(store, &global.get(store.context())));
        *out = value.inspect_err(set_last_error).unwrap_or_default();
    }

    /// Sets a global. What does not fit changes nothing.
    fn wasm_global_set(global: *mut wasm_global_t, value: *const wasm_val_t) {
        done(parts(global).and_then(|(store, global)| {
            let ty: ValType = global.ty(store.context()).content;
            let value = get(value, "the value of the global")?.to_val(store, ty)?;
            global.set(store.context(), &value)
        }));
    }
}
