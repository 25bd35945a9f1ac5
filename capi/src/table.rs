//! Tables.

use anyhow::{Context as _, Result, bail};
use wasmc_runtime::Table;

use crate::error::{boxed, done, get, set_last_error};
use crate::guard::api;
use crate::object::{Object, What, wasm_ref_t, wasm_table_t};
use crate::store::{StoreRef, store, wasm_store_t};
use crate::types::{Type, wasm_tabletype_t};
use crate::value::{from_ref, to_ref};

/// # Safety
/// The pointer is null or a table.
unsafe fn parts<'a>(table: *const wasm_table_t) -> Result<(&'a StoreRef, Table)> {
    // SAFETY: by the caller.
    let object = &unsafe { get(table, "the table") }?.0;
    match &object.what {
        What::Table(table) => Ok((object.store()?, *table)),
        _ => bail!("this reference is not to a table"),
    }
}

api! {
    /// A table, with all elements the same.
    fn wasm_table_new(of: *mut wasm_store_t, ty: *const wasm_tabletype_t, init: *mut wasm_ref_t) -> *mut wasm_table_t {
        boxed(store(of).and_then(|store| {
            let Type::Table(ty, ..) = &get(ty, "the type of the table")?.0 else { bail!("this is not a table type") };
            let init = to_ref(init.as_ref(), store, ty.element)?;
            Ok(Object::new(store, What::Table(Table::new(store.context(), *ty, &init)?)))
        }))
    }

    /// The type of a table, with its size of now.
    fn wasm_table_type(table: *const wasm_table_t) -> *mut wasm_tabletype_t {
        boxed(parts(table).map(|(store, table)| Type::table(table.ty(store.context()))))
    }

    /// The element at an index; null if it is null, or there is none.
    fn wasm_table_get(table: *const wasm_table_t, index: u32) -> *mut wasm_ref_t {
        let element = parts(table).and_then(|(store, table)| {
            let element = table.get(store.context(), index.into()).context("the index is outside the table")?;
            from_ref(store, &element)
        });
        element.inspect_err(set_last_error).unwrap_or(std::ptr::null_mut())
    }

    /// Sets the element at an index.
    fn wasm_table_set(table: *mut wasm_table_t, index: u32, value: *mut wasm_ref_t) -> bool {
        done(parts(table).and_then(|(store, table)| {
            let value = to_ref(value.as_ref(), store, table.ty(store.context()).element)?;
            table.set(store.context(), index.into(), &value)
        }))
    }

    /// The size of a table.
    fn wasm_table_size(table: *const wasm_table_t) -> u32 {
        parts(table).map_or(0, |(store, table)| u32::try_from(table.size(store.context())).unwrap_or(u32::MAX))
    }

    /// Grows a table by elements that are all the same.
    fn wasm_table_grow(table: *mut wasm_table_t, delta: u32, init: *mut wasm_ref_t) -> bool {
        done(parts(table).and_then(|(store, table)| {
            let init = to_ref(init.as_ref(), store, table.ty(store.context()).element)?;
            table.grow(store.context(), delta.into(), &init).map(|_| ())
        }))
    }
}
