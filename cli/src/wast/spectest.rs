//! The host module `spectest` that specification scripts import from (described with the reference interpreter of the specification).

use anyhow::Result;
use wasmc_runtime::{Global, GlobalType, Limits, Linker, Memory, MemoryType, RefType, SharedMemory, Store, Table, TableType, Val, ValType};

/// Defines it.
pub fn define(linker: &mut Linker<()>, store: &mut Store<()>) -> Result<()> {
    linker.func_wrap("spectest", "print", || {})?;
    linker.func_wrap("spectest", "print_i32", |_: i32| {})?;
    linker.func_wrap("spectest", "print_i64", |_: i64| {})?;
    linker.func_wrap("spectest", "print_f32", |_: f32| {})?;
    linker.func_wrap("spectest", "print_f64", |_: f64| {})?;
    linker.func_wrap("spectest", "print_i32_f32", |_: i32, _: f32| {})?;
    linker.func_wrap("spectest", "print_f64_f64", |_: f64, _: f64| {})?;
    for (name, content, value) in [
        ("global_i32", ValType::I32, Val::I32(666)),
        ("global_i64", ValType::I64, Val::I64(666)),
        ("global_f32", ValType::F32, Val::F32(666.6f32.to_bits())),
        ("global_f64", ValType::F64, Val::F64(666.6f64.to_bits())),
    ] {
        let global = Global::new(&mut *store, GlobalType { content, mutable: false }, &value)?;
        linker.define(&mut *store, "spectest", name, global)?;
    }
    let limits = Limits { min: 10, max: Some(20) };
    let table = Table::new(&mut *store, TableType { element: RefType::FUNCREF, limits, table64: false }, &Val::FuncRef(None))?;
    linker.define(&mut *store, "spectest", "table", table)?;
    let table64 = Table::new(&mut *store, TableType { element: RefType::FUNCREF, limits, table64: true }, &Val::FuncRef(None))?;
    linker.define(&mut *store, "spectest", "table64", table64)?;
    let memory = MemoryType { limits: Limits { min: 1, max: Some(2) }, memory64: false, shared: false, page_size_log2: 16 };
    let memory = Memory::new(&mut *store, memory)?;
    linker.define(&mut *store, "spectest", "memory", memory)?;
    if store.engine().config().enabled().shared_memory {
        let ty = MemoryType { limits: Limits { min: 1, max: Some(2) }, memory64: false, shared: true, page_size_log2: 16 };
        linker.define_shared_memory("spectest", "shared_memory", SharedMemory::new(store.engine(), ty)?)?;
    }
    Ok(())
}
