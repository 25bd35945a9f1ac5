//! Memories: those of a store, and shared ones, which look the same to C.

use std::ffi::c_char;

use anyhow::{Result, bail};
use wasmc_runtime::{Memory, SharedMemory};

use crate::error::{boxed, done, get};
use crate::guard::api;
use crate::object::{Object, What, wasm_memory_t};
use crate::store::{StoreRef, store, wasm_store_t};
use crate::types::{Type, wasm_memorytype_t};

enum Kind<'a> {
    Own(&'a StoreRef, Memory),
    Shared(&'a SharedMemory),
}

/// # Safety
/// The pointer is null or a memory.
unsafe fn kind<'a>(memory: *const wasm_memory_t) -> Result<Kind<'a>> {
    // SAFETY: by the caller.
    let object = &unsafe { get(memory, "the memory") }?.0;
    Ok(match &object.what {
        What::Memory(memory) => Kind::Own(object.store()?, *memory),
        What::SharedMemory(memory) => Kind::Shared(memory),
        _ => bail!("this reference is not to a memory"),
    })
}

api! {
    /// A memory.
    fn wasm_memory_new(of: *mut wasm_store_t, ty: *const wasm_memorytype_t) -> *mut wasm_memory_t {
        boxed(store(of).and_then(|store| {
            let Type::Memory(ty, _) = &get(ty, "the type of the memory")?.0 else { bail!("this is not a memory type") };
            let what = match ty.shared {
                true => What::SharedMemory(SharedMemory::new(&store.engine(), *ty)?),
                false => What::Memory(Memory::new(store.context(), *ty)?),
            };
            Ok(Object::new(store, what))
        }))
    }

    /// The type of a memory, with its size of now.
    fn wasm_memory_type(memory: *const wasm_memory_t) -> *mut wasm_memorytype_t {
        boxed(kind(memory).map(|kind| {
            Type::memory(match kind {
                Kind::Own(store, memory) => memory.ty(store.context()),
                Kind::Shared(memory) => memory.ty(),
            })
        }))
    }

    /// The first byte of a memory, which never moves.
    fn wasm_memory_data(memory: *mut wasm_memory_t) -> *mut c_char {
        match kind(memory) {
            Ok(Kind::Own(store, memory)) => memory.data_ptr(store.context()).cast(),
            Ok(Kind::Shared(memory)) => memory.data_ptr().cast(),
            Err(_) => std::ptr::null_mut(),
        }
    }

    /// The size of a memory in bytes.
    fn wasm_memory_data_size(memory: *const wasm_memory_t) -> usize {
        match kind(memory) {
            Ok(Kind::Own(store, memory)) => memory.data_size(store.context()),
            Ok(Kind::Shared(memory)) => memory.data_size(),
            Err(_) => 0,
        }
    }

    /// The size of a memory in pages.
    fn wasm_memory_size(memory: *const wasm_memory_t) -> u32 {
        let pages = match kind(memory) {
            Ok(Kind::Own(store, memory)) => memory.size(store.context()),
            Ok(Kind::Shared(memory)) => memory.size(),
            Err(_) => 0,
        };
        u32::try_from(pages).unwrap_or(u32::MAX)
    }

    /// Grows a memory by pages.
    fn wasm_memory_grow(memory: *mut wasm_memory_t, delta: u32) -> bool {
        done(kind(memory).and_then(|kind| match kind {
            Kind::Own(store, memory) => memory.grow(store.context(), delta.into()).map(|_| ()),
            Kind::Shared(memory) => memory.grow(delta.into()).map(|_| ()),
        }))
    }
}
