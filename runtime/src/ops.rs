//! What the instructions on memories, tables, segments and exceptions mean: once, for both tiers. Builtins of compiled
//! code and the interpreter call these functions; so does the host, where it does the same. All bounds are computed in 64
//! bits with overflow as out of bounds (specification 3.0, "Instructions" under "Execution").
//!
//! Every function takes the `VMContext` of the instance that executes the instruction.
//!
//! # Safety
//! For all of them: `vmctx` belongs to an instance of a live store to which nobody holds a Rust reference, and the
//! indices are ones that validation accepted for the instance's module.

use crate::instance::{InstanceData, InstanceMemory, instance};
use crate::limiter::Resource;
use crate::module::ModuleInner;
use crate::shared_memory::{self, SharedMemory, current_length};
use crate::store::StoreOpaque;
use crate::vm::table::TableStorage;
use crate::waiters::WaitResult;
use wasmc_environ::TrapCode;
use wasmc_environ::types::{RefKind, ValType};
use wasmc_environ::vmlayout::*;
use wasmc_environ::vmoffsets::MemoryPlace;
use wasmc_environ::*;

/// Bulk operations on memory work on so many bytes at a time: between two pieces an interruption can be seen.
const BULK_PIECE: usize = limits::UNINTERRUPTED_BYTES as usize;

/// `-1` of `memory.grow` and `table.grow`.
const GROW_FAILED: i64 = -1;

/// Between two pieces of a bulk operation: an error if the store was interrupted. What was done stays done.
unsafe fn poll(vmctx: *mut VMContextHead) -> Result<(), TrapCode> {
    // SAFETY: see the file.
    let interrupted = unsafe { (*(*instance(vmctx)).store).vm.interrupt.is_interrupted() };
    if interrupted { Err(TrapCode::Interrupt) } else { Ok(()) }
}

/// A part of a `VMContext`.
#[inline]
pub(crate) unsafe fn at<T>(vmctx: *mut VMContextHead, offset: u32) -> *mut T {
    // SAFETY: by the caller, the offset is one of the module's layout.
    unsafe { vmctx.byte_add(offset as usize).cast() }
}

#[inline]
unsafe fn module<'a>(vmctx: *mut VMContextHead) -> &'a ModuleInner {
    // SAFETY: see the file; the instance keeps its module.
    unsafe { &(*instance(vmctx)).module }
}

/// The memory with an index of the instance's module.
#[inline]
pub(crate) unsafe fn memory_definition(vmctx: *mut VMContextHead, index: MemoryIndex) -> *mut VMMemoryDefinition {
    // SAFETY: see the file.
    unsafe {
        let module = module(vmctx);
        match module.offsets.memory_place(&module.env, index) {
            MemoryPlace::Here(offset) => at(vmctx, offset),
            MemoryPlace::Behind(offset) => *at(vmctx, offset),
        }
    }
}

/// The table with an index of the instance's module. A closed table has no elements there.
#[inline]
pub(crate) unsafe fn table_definition(vmctx: *mut VMContextHead, index: TableIndex) -> *mut VMTableDefinition {
    // SAFETY: see the file.
    unsafe {
        let module = module(vmctx);
        match module.env.defined_table(index) {
            Some(i) => at(vmctx, module.offsets.table(i)),
            None => *at(vmctx, module.offsets.imported_table(index)),
        }
    }
}

/// The global with an index of the instance's module.
#[inline]
pub(crate) unsafe fn global(vmctx: *mut VMContextHead, index: GlobalIndex) -> *mut VMGlobalDefinition {
    // SAFETY: see the file.
    unsafe {
        let module = module(vmctx);
        match module.env.defined_global(index) {
            Some(i) => at(vmctx, module.offsets.global(i)),
            None => *at(vmctx, module.offsets.imported_global(index)),
        }
    }
}

/// The tag with an index of the instance's module.
#[inline]
pub(crate) unsafe fn tag(vmctx: *mut VMContextHead, index: TagIndex) -> *const VMTagDefinition {
    // SAFETY: see the file.
    unsafe {
        let module = module(vmctx);
        match module.env.defined_tag(index) {
            Some(i) => at(vmctx, module.offsets.tag(i)),
            None => *at(vmctx, module.offsets.imported_tag(index)),
        }
    }
}

/// An imported function as the instance calls it.
#[inline]
pub(crate) unsafe fn function_import(vmctx: *mut VMContextHead, index: FuncIndex) -> *mut VMFunctionImport {
    // SAFETY: see the file.
    unsafe { at(vmctx, module(vmctx).offsets.imported_function(index)) }
}

/// The reference to a function (`ref.func`). Null if no reference to it can exist, which validation rules out.
#[inline]
pub(crate) unsafe fn func_ref(vmctx: *mut VMContextHead, index: FuncIndex) -> *mut VMFuncRef {
    // SAFETY: see the file.
    unsafe {
        let module = module(vmctx);
        if module.env.defined_func(index).is_none() {
            return (*function_import(vmctx, index)).func_ref;
        }
        match module.env.func_ref(index) {
            Some(i) => at(vmctx, module.offsets.func_ref(i)),
            None => std::ptr::null_mut(),
        }
    }
}

/// Whether the type `sub` is a subtype of `sup`, both by `SharedTypeIndex`.
pub(crate) unsafe fn is_subtype(store: *mut StoreOpaque, sub: u32, sup: u32) -> bool {
    // SAFETY: see the file.
    unsafe { (*store).engine.registry().is_subtype(sub, sup) }
}

/// The instance that owns a memory, and its place there.
unsafe fn memory_owner(vmctx: *mut VMContextHead, index: MemoryIndex) -> (*mut InstanceData, DefinedMemoryIndex) {
    // SAFETY: see the file.
    unsafe {
        let this = instance(vmctx);
        match module(vmctx).env.defined_memory(index) {
            Some(i) => (this, i),
            None => (&(*this).imported_memories)[index.index()],
        }
    }
}

/// The instance that owns a table, and its place there.
unsafe fn table_owner(vmctx: *mut VMContextHead, index: TableIndex) -> (*mut InstanceData, DefinedTableIndex) {
    // SAFETY: see the file.
    unsafe {
        let this = instance(vmctx);
        match module(vmctx).env.defined_table(index) {
            Some(i) => (this, i),
            None => (&(*this).imported_tables)[index.index()],
        }
    }
}

/// Grows a memory that `owner` defines: the old size in pages, or `None`. Limits are asked here.
pub(crate) unsafe fn grow_memory(owner: *mut InstanceData, index: DefinedMemoryIndex, delta: u64) -> Option<u64> {
    // SAFETY: see the file; the definition in the owner's `VMContext` is the one that everybody reads.
    unsafe {
        match &mut (&mut (*owner).memories)[index.index()] {
            InstanceMemory::Own(memory) => {
                let account = &mut (*(*owner).store).account;
                let (more, current, maximum) = memory.growth(delta)?;
                account.acquire(Resource::MemoryBytes, more, current, maximum).ok()?;
                let Some(old) = memory.grow(delta) else {
                    account.release(Resource::MemoryBytes, more);
                    return None;
                };
                *at((*owner).vmctx, module((*owner).vmctx).offsets.memory(index)) = memory.definition();
                Some(old)
            }
            InstanceMemory::Shared(memory) => memory.try_grow(delta),
        }
    }
}

/// The storage of a table that `owner` defines; `None` if it is closed.
pub(crate) unsafe fn table_storage<'a>(owner: *mut InstanceData, index: DefinedTableIndex) -> Option<&'a mut TableStorage> {
    // SAFETY: see the file.
    unsafe { (&mut (*owner).tables)[index.index()].as_mut() }
}

/// Grows a table that `owner` defines: the old size, or `None`. Limits are asked here.
pub(crate) unsafe fn grow_table(owner: *mut InstanceData, index: DefinedTableIndex, delta: u64, init: u64) -> Option<u64> {
    // SAFETY: see the file; the definition in the owner's `VMContext` is the one that everybody reads.
    unsafe {
        let table = table_storage(owner, index)?;
        let account = &mut (*(*owner).store).account;
        account.acquire(Resource::TableElements, delta, table.len(), Some(table.max())).ok()?;
        let Some(old) = table.grow(delta, init) else {
            account.release(Resource::TableElements, delta);
            return None;
        };
        *at((*owner).vmctx, module((*owner).vmctx).offsets.table(index)) = table.definition();
        Some(old)
    }
}

/// `memory.grow`: the old size in pages, or -1.
pub(crate) unsafe fn memory_grow(vmctx: *mut VMContextHead, index: MemoryIndex, delta: u64) -> i64 {
    // SAFETY: see the file.
    unsafe {
        let (owner, index) = memory_owner(vmctx, index);
        grow_memory(owner, index, delta).map_or(GROW_FAILED, |old| old as i64)
    }
}

/// The address of `len` bytes from `start` of a memory.
#[inline]
pub(crate) unsafe fn bytes(memory: *mut VMMemoryDefinition, start: u64, len: u64) -> Result<*mut u8, TrapCode> {
    // SAFETY: see the file; a place within the memory is within its allocation.
    unsafe {
        if start.checked_add(len).is_none_or(|end| end > current_length(memory)) {
            return Err(TrapCode::MemoryOutOfBounds);
        }
        Ok((*memory).base.add(start as usize))
    }
}

/// `memory.size`, in bytes.
#[inline]
pub(crate) unsafe fn memory_bytes(vmctx: *mut VMContextHead, memory: MemoryIndex) -> u64 {
    // SAFETY: see the file.
    unsafe { current_length(memory_definition(vmctx, memory)) }
}

/// The shared memory with an index of the instance's module; `None` if that memory is not shared.
unsafe fn shared_memory<'a>(vmctx: *mut VMContextHead, index: MemoryIndex) -> Option<&'a SharedMemory> {
    // SAFETY: see the file; the instance keeps its memories, and never exchanges one for another.
    unsafe {
        let (owner, index) = memory_owner(vmctx, index);
        match &(&(*owner).memories)[index.index()] {
            InstanceMemory::Own(_) => None,
            InstanceMemory::Shared(memory) => Some(memory),
        }
    }
}

/// The address of an atomic access of `size` bytes, a power of two: first its alignment is checked, then its bounds. The
/// address includes the instruction's static offset.
#[inline]
pub(crate) unsafe fn atomic_address(vmctx: *mut VMContextHead, memory: MemoryIndex, address: u64, size: u64) -> Result<*mut u8, TrapCode> {
    // SAFETY: see the file.
    unsafe { shared_memory::atomic_address(memory_definition(vmctx, memory), address, size) }
}

/// The instruction's result of a wait that may have been interrupted.
fn wait_result(result: Option<WaitResult>) -> Result<u32, TrapCode> {
    result.map(|r| r as u32).ok_or(TrapCode::Interrupt)
}

/// `memory.atomic.wait32`: a `WaitResult`.
pub(crate) unsafe fn atomic_wait32(
    vmctx: *mut VMContextHead,
    memory: MemoryIndex,
    address: u64,
    expected: u32,
    timeout: i64,
) -> Result<u32, TrapCode> {
    // SAFETY: see the file.
    unsafe {
        match shared_memory(vmctx, memory) {
            Some(shared) => wait_result(shared.wait32(address, expected, timeout, &|| poll(vmctx).is_err())?),
            None => Err(atomic_address(vmctx, memory, address, 4).err().unwrap_or(TrapCode::AtomicWaitNonShared)),
        }
    }
}

/// `memory.atomic.wait64`: a `WaitResult`.
pub(crate) unsafe fn atomic_wait64(
    vmctx: *mut VMContextHead,
    memory: MemoryIndex,
    address: u64,
    expected: u64,
    timeout: i64,
) -> Result<u32, TrapCode> {
    // SAFETY: see the file.
    unsafe {
        match shared_memory(vmctx, memory) {
            Some(shared) => wait_result(shared.wait64(address, expected, timeout, &|| poll(vmctx).is_err())?),
            None => Err(atomic_address(vmctx, memory, address, 8).err().unwrap_or(TrapCode::AtomicWaitNonShared)),
        }
    }
}

/// `memory.atomic.notify`: how many were woken. In a memory that is not shared nobody waits.
pub(crate) unsafe fn atomic_notify(vmctx: *mut VMContextHead, memory: MemoryIndex, address: u64, count: u32) -> Result<u32, TrapCode> {
    // SAFETY: see the file.
    unsafe {
        match shared_memory(vmctx, memory) {
            Some(shared) => shared.atomic_notify(address, count),
            None => atomic_address(vmctx, memory, address, 4).map(|_| 0),
        }
    }
}

/// `memory.copy`.
pub(crate) unsafe fn memory_copy(
    vmctx: *mut VMContextHead,
    dst_memory: MemoryIndex,
    src_memory: MemoryIndex,
    dst: u64,
    src: u64,
    len: u64,
) -> Result<(), TrapCode> {
    // SAFETY: see the file; both ranges are checked.
    unsafe {
        let to = bytes(memory_definition(vmctx, dst_memory), dst, len)?;
        let from = bytes(memory_definition(vmctx, src_memory), src, len)?;
        let mut left = len as usize;
        // Pieces from the end if the ranges overlap that way, so that nothing is overwritten before it was read.
        let backwards = to as usize > from as usize;
        let mut done = 0;
        while left > 0 {
            let piece = left.min(BULK_PIECE);
            left -= piece;
            let at = if backwards { left } else { done };
            std::ptr::copy(from.add(at), to.add(at), piece);
            done += piece;
            if left > 0 {
                poll(vmctx)?;
            }
        }
    }
    Ok(())
}

/// `memory.fill`.
pub(crate) unsafe fn memory_fill(vmctx: *mut VMContextHead, memory: MemoryIndex, dst: u64, value: u8, len: u64) -> Result<(), TrapCode> {
    // SAFETY: see the file; the range is checked.
    unsafe {
        let to = bytes(memory_definition(vmctx, memory), dst, len)?;
        let mut done = 0;
        while done < len as usize {
            let piece = (len as usize - done).min(BULK_PIECE);
            to.add(done).write_bytes(value, piece);
            done += piece;
            if done < len as usize {
                poll(vmctx)?;
            }
        }
    }
    Ok(())
}

/// `memory.init`.
pub(crate) unsafe fn memory_init(
    vmctx: *mut VMContextHead,
    memory: MemoryIndex,
    segment: DataIndex,
    dst: u64,
    src: u32,
    len: u32,
) -> Result<(), TrapCode> {
    // SAFETY: see the file; both ranges are checked, and a segment does not lie in a memory.
    unsafe {
        let data = (*instance(vmctx)).data_segment(segment);
        let from = data.get(src as usize..).and_then(|d| d.get(..len as usize)).ok_or(TrapCode::MemoryOutOfBounds)?;
        write_data(vmctx, memory, dst, from)?;
    }
    Ok(())
}

/// Writes the bytes of a segment to a memory.
pub(crate) unsafe fn write_data(vmctx: *mut VMContextHead, memory: MemoryIndex, dst: u64, data: &[u8]) -> Result<(), TrapCode> {
    // SAFETY: see the file; the range is checked, and a segment does not lie in a memory.
    unsafe {
        let mut to = bytes(memory_definition(vmctx, memory), dst, data.len() as u64)?;
        for (i, piece) in data.chunks(BULK_PIECE).enumerate() {
            if i > 0 {
                poll(vmctx)?;
            }
            to.copy_from_nonoverlapping(piece.as_ptr(), piece.len());
            to = to.add(piece.len());
        }
    }
    Ok(())
}

/// `data.drop`.
pub(crate) unsafe fn data_drop(vmctx: *mut VMContextHead, segment: DataIndex) {
    // SAFETY: see the file.
    unsafe { (*instance(vmctx)).drop_data(segment) }
}

/// `table.grow`: the old size, or -1.
pub(crate) unsafe fn table_grow(vmctx: *mut VMContextHead, table: TableIndex, delta: u64, init: u64) -> i64 {
    // SAFETY: see the file.
    unsafe {
        let (owner, index) = table_owner(vmctx, table);
        grow_table(owner, index, delta, init).map_or(GROW_FAILED, |old| old as i64)
    }
}

/// The address of `len` elements from `start` of a table.
#[inline]
pub(crate) unsafe fn elements(table: *mut VMTableDefinition, start: u64, len: u64) -> Result<*mut u64, TrapCode> {
    // SAFETY: see the file.
    let table = unsafe { *table };
    if start.checked_add(len).is_none_or(|end| end > table.current_elements) {
        return Err(TrapCode::TableOutOfBounds);
    }
    // SAFETY: within the table.
    Ok(unsafe { table.base.add(start as usize) })
}

/// `table.fill`.
pub(crate) unsafe fn table_fill(vmctx: *mut VMContextHead, table: TableIndex, dst: u64, value: u64, len: u64) -> Result<(), TrapCode> {
    // SAFETY: see the file; the range is checked.
    unsafe {
        let to = elements(table_definition(vmctx, table), dst, len)?;
        std::slice::from_raw_parts_mut(to, len as usize).fill(value);
    }
    Ok(())
}

/// `table.copy`.
pub(crate) unsafe fn table_copy(
    vmctx: *mut VMContextHead,
    dst_table: TableIndex,
    src_table: TableIndex,
    dst: u64,
    src: u64,
    len: u64,
) -> Result<(), TrapCode> {
    // SAFETY: see the file; both ranges are checked.
    unsafe {
        let to = elements(table_definition(vmctx, dst_table), dst, len)?;
        let from = elements(table_definition(vmctx, src_table), src, len)?;
        std::ptr::copy(from, to, len as usize);
    }
    Ok(())
}

/// `table.init`.
pub(crate) unsafe fn table_init(
    vmctx: *mut VMContextHead,
    table: TableIndex,
    segment: ElemIndex,
    dst: u64,
    src: u32,
    len: u32,
) -> Result<(), TrapCode> {
    // SAFETY: see the file; both ranges are checked, and a segment does not lie in a table.
    unsafe {
        let items = &(&(*instance(vmctx)).elem_segments)[segment.index()];
        let from = items.get(src as usize..).and_then(|s| s.get(..len as usize)).ok_or(TrapCode::TableOutOfBounds)?;
        let to = elements(table_definition(vmctx, table), dst, len.into())?;
        to.copy_from_nonoverlapping(from.as_ptr(), from.len());
    }
    Ok(())
}

/// `elem.drop`.
pub(crate) unsafe fn elem_drop(vmctx: *mut VMContextHead, segment: ElemIndex) {
    // SAFETY: see the file.
    unsafe { (&mut (*instance(vmctx)).elem_segments)[segment.index()] = Box::default() }
}

/// The first half of `throw`: an exception object with this tag becomes the pending one, and its payload is to be
/// filled next.
pub(crate) unsafe fn throw_alloc(vmctx: *mut VMContextHead, index: TagIndex) -> Result<*mut VMExnObject, TrapCode> {
    // SAFETY: see the file. The executing code stands at a call, so its references are found.
    unsafe {
        let this = instance(vmctx);
        let store = (*this).store;
        StoreOpaque::collect_if_due(store);
        let params: &[ValType] = module(vmctx).env.tag_params(index);
        let heap_slots = params.iter().map(|t| matches!(t, ValType::Ref(r) if r.kind() == RefKind::Heap));
        let heap = &mut (*store).heap;
        let (exn, object) = heap.throw_alloc_iter(tag(vmctx, index), params.len() as u32, heap_slots)?;
        let context = &mut (*store).vm.context;
        context.pending_exn = exn.into();
        context.pending_exn_object = object;
        Ok(object)
    }
}

/// `throw_ref`: the exception becomes the pending one.
pub(crate) unsafe fn throw_ref(vmctx: *mut VMContextHead, exn: u32) -> Result<(), TrapCode> {
    // SAFETY: see the file.
    unsafe {
        let store = (*instance(vmctx)).store;
        let heap = &(*store).heap;
        let object = heap.exn_object(exn).ok_or(TrapCode::NullExceptionReference)?;
        let context = &mut (*store).vm.context;
        context.pending_exn = exn.into();
        context.pending_exn_object = object;
        Ok(())
    }
}
