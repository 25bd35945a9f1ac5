//! Imports and exports of any kind.

use wasmc_runtime::Extern;

use crate::error::{boxed, get};
use crate::guard::api;
use crate::object::{What, wasm_func_t, wasm_global_t, wasm_memory_t, wasm_table_t};
use crate::types::{Type, extern_kind, wasm_externkind_t, wasm_externtype_t};

pub use crate::object::{wasm_extern_copy, wasm_extern_delete, wasm_extern_t};

macro_rules! kinds {
    ($($ty:ident $fits:pat => $up:ident $up_const:ident $down:ident $down_const:ident;)*) => {
        api! {$(
            /// The reference as one to an import or export of any kind.
            fn $up(this: *mut $ty) -> *mut wasm_extern_t {
                this.cast()
            }

            /// The reference as one to an import or export of any kind.
            fn $up_const(this: *const $ty) -> *const wasm_extern_t {
                this.cast()
            }

            /// The reference as one of this kind; null if it is not.
            fn $down(this: *mut wasm_extern_t) -> *mut $ty {
                if matches!(this.as_ref().map(|this| &this.0.what), Some($fits)) { this.cast() } else { std::ptr::null_mut() }
            }

            /// The reference as one of this kind; null if it is not.
            fn $down_const(this: *const wasm_extern_t) -> *const $ty {
                if matches!(this.as_ref().map(|this| &this.0.what), Some($fits)) { this.cast() } else { std::ptr::null() }
            }
        )*}
    };
}

kinds! {
    wasm_func_t What::Func(_) =>
        wasm_func_as_extern wasm_func_as_extern_const wasm_extern_as_func wasm_extern_as_func_const;
    wasm_global_t What::Global(_) =>
        wasm_global_as_extern wasm_global_as_extern_const wasm_extern_as_global wasm_extern_as_global_const;
    wasm_table_t What::Table(_) =>
        wasm_table_as_extern wasm_table_as_extern_const wasm_extern_as_table wasm_extern_as_table_const;
    wasm_memory_t What::Memory(_) | What::SharedMemory(_) =>
        wasm_memory_as_extern wasm_memory_as_extern_const wasm_extern_as_memory wasm_extern_as_memory_const;
}

api! {
    /// The kind of an import or export.
    fn wasm_extern_kind(this: *const wasm_extern_t) -> wasm_externkind_t {
        match this.as_ref().map(|this| &this.0.what) {
            Some(What::Global(_)) => extern_kind::GLOBAL,
            Some(What::Table(_)) => extern_kind::TABLE,
            Some(What::Memory(_) | What::SharedMemory(_)) => extern_kind::MEMORY,
            Some(What::Tag(_)) => extern_kind::TAG,
            _ => extern_kind::FUNC,
        }
    }

    /// The type of an import or export, with its size of now.
    fn wasm_extern_type(this: *const wasm_extern_t) -> *mut wasm_externtype_t {
        boxed(get(this, "the import or export").and_then(|this| {
            match this.0.what.to_extern() {
                Some(Extern::SharedMemory(memory)) => Ok(Type::memory(memory.ty())),
                Some(item) => Type::of(&item.ty(this.0.store()?.context())),
                None => anyhow::bail!("this reference is not to an import or export"),
            }
        }))
    }
}
