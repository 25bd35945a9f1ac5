//! Linear memories as the embedder sees them.

use crate::Result;
use crate::context::{AsContext, AsContextMut, StoreContext, StoreContextMut};
use crate::error::{wrong_store, wrong_store_panic};
use crate::instance::InstanceData;
use crate::instantiate;
use crate::ops;
use crate::store::{StoreId, StoreOpaque};
use anyhow::{Context as _, ensure};
use std::ptr::NonNull;
use wasmc_environ::DefinedMemoryIndex;
use wasmc_environ::types::{Limits, MemoryType};
use wasmc_environ::vmlayout::VMMemoryDefinition;

/// An access outside a memory.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct MemoryAccessError {
    offset: usize,
    len: usize,
    size: usize,
}

impl MemoryAccessError {
    pub(crate) fn new(offset: usize, len: usize, size: usize) -> Self {
        Self { offset, len, size }
    }
}

impl std::fmt::Display for MemoryAccessError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { offset, len, size } = self;
        write!(f, "{len} bytes at {offset:#x} are outside the memory of {size:#x} bytes")
    }
}

impl std::error::Error for MemoryAccessError {}

/// Whether there can be a memory of this type.
pub(crate) fn check_type(ty: &MemoryType) -> Result<()> {
    ensure!(matches!(ty.page_size_log2, 0 | 16), "pages of 2^{} bytes are not possible", ty.page_size_log2);
    let unlimited = MemoryType { limits: Limits { max: None, ..ty.limits }, ..*ty };
    let most = unlimited.max_pages();
    ensure!(ty.limits.min <= ty.limits.max.unwrap_or(most), "a memory's greatest size is below its initial size");
    ensure!(ty.limits.max.unwrap_or(ty.limits.min) <= most, "a memory of this type can have at most {most} pages");
    Ok(())
}

/// A linear memory of one store. Shared memories are [`SharedMemory`](crate::SharedMemory).
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Memory {
    store: StoreId,
    /// The instance that defines it.
    owner: NonNull<InstanceData>,
    index: DefinedMemoryIndex,
    definition: NonNull<VMMemoryDefinition>,
}

// SAFETY: the pointers are only followed with the store at hand, whose rules hold then.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// A memory that the host makes, for instances to import.
    ///
    /// # Errors
    /// If the type contradicts itself or is not supported, or there is no room for the memory.
    pub fn new(mut store: impl AsContextMut, ty: MemoryType) -> Result<Self> {
        ensure!(!ty.shared, "a shared memory does not belong to a store: use `SharedMemory::new`");
        check_type(&ty)?;
        let store = store.as_context_mut().raw();
        // SAFETY: the store is borrowed uniquely.
        unsafe {
            let owner = instantiate::host_memory(store, ty)?;
            Ok(Self::from_raw((*store).id, owner, DefinedMemoryIndex::from_u32(0)))
        }
    }

    /// # Safety
    /// `owner` is an instance of that store and defines this memory.
    pub(crate) unsafe fn from_raw(store: StoreId, owner: NonNull<InstanceData>, index: DefinedMemoryIndex) -> Self {
        // SAFETY: by the caller.
        let definition = unsafe {
            let owner = owner.as_ref();
            NonNull::new_unchecked(ops::at(owner.vmctx, owner.module.offsets.memory(index)))
        };
        Self { store, owner, index, definition }
    }

    /// Owner and place there, if the memory belongs to `store`.
    pub(crate) fn place(&self, store: &StoreOpaque) -> Result<(*mut InstanceData, DefinedMemoryIndex)> {
        if self.store == store.id { Ok((self.owner.as_ptr(), self.index)) } else { Err(wrong_store("memory")) }
    }

    pub(crate) fn definition(&self) -> *mut VMMemoryDefinition {
        self.definition.as_ptr()
    }

    #[inline]
    #[track_caller]
    fn check(&self, store: &StoreOpaque) {
        if self.store != store.id {
            wrong_store_panic("memory");
        }
    }

    /// The memory's type; the least size is that of now.
    ///
    /// # Panics
    /// If the memory belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> MemoryType {
        self.check(store.as_context().opaque());
        // SAFETY: the store keeps its instances.
        unsafe { self.type_now() }
    }

    /// # Safety
    /// The store is alive.
    pub(crate) unsafe fn type_now(&self) -> MemoryType {
        // SAFETY: by the caller.
        unsafe {
            let owner = &*self.owner.as_ptr();
            let declared = owner.module.env.memories[owner.module.env.memory_index(self.index).index()];
            MemoryType { limits: Limits { min: owner.memories[self.index.index()].pages(), ..declared.limits }, ..declared }
        }
    }

    /// The contents.
    ///
    /// # Panics
    /// If the memory belongs to another store.
    #[inline]
    pub fn data<'a, T: 'static>(&self, store: impl Into<StoreContext<'a, T>>) -> &'a [u8] {
        self.check(store.into().opaque());
        // SAFETY: the store is borrowed, so nobody writes to the memory or grows it during 'a.
        unsafe {
            let VMMemoryDefinition { base, current_length } = *self.definition.as_ptr();
            std::slice::from_raw_parts(base, current_length as usize)
        }
    }

    /// The contents, to change them.
    ///
    /// # Panics
    /// If the memory belongs to another store.
    #[inline]
    pub fn data_mut<'a, T: 'static>(&self, store: impl Into<StoreContextMut<'a, T>>) -> &'a mut [u8] {
        self.data_and_store_mut(store).0
    }

    /// The contents and the host's data at once.
    ///
    /// # Panics
    /// If the memory belongs to another store.
    #[inline]
    pub fn data_and_store_mut<'a, T: 'static>(&self, store: impl Into<StoreContextMut<'a, T>>) -> (&'a mut [u8], &'a mut T) {
        let store = store.into();
        self.check(store.opaque());
        // SAFETY: the store is borrowed uniquely, so nobody else reaches the memory during 'a; the host's data does not
        // lie in it.
        let bytes = unsafe {
            let VMMemoryDefinition { base, current_length } = *self.definition.as_ptr();
            std::slice::from_raw_parts_mut(base, current_length as usize)
        };
        (bytes, store.into_data_mut())
    }

    /// Copies from the memory, from byte `offset` on.
    ///
    /// # Errors
    /// If that is not all inside the memory; then nothing is copied.
    ///
    /// # Panics
    /// If the memory belongs to another store.
    pub fn read(&self, store: impl AsContext, offset: usize, buffer: &mut [u8]) -> Result<(), MemoryAccessError> {
        let store = store.as_context();
        let data = self.data(&store);
        let error = MemoryAccessError { offset, len: buffer.len(), size: data.len() };
        let from = data.get(offset..).and_then(|d| d.get(..buffer.len())).ok_or(error)?;
        buffer.copy_from_slice(from);
        Ok(())
    }

    /// Copies into the memory, from byte `offset` on.
    ///
    /// # Errors
    /// If that is not all inside the memory; then nothing is copied.
    ///
    /// # Panics
    /// If the memory belongs to another store.
    pub fn write(&self, mut store: impl AsContextMut, offset: usize, buffer: &[u8]) -> Result<(), MemoryAccessError> {
        let mut store = store.as_context_mut();
        let data = self.data_mut(&mut store);
        let error = MemoryAccessError { offset, len: buffer.len(), size: data.len() };
        let to = data.get_mut(offset..).and_then(|d| d.get_mut(..buffer.len())).ok_or(error)?;
        to.copy_from_slice(buffer);
        Ok(())
    }

    /// The size in pages.
    ///
    /// # Panics
    /// If the memory belongs to another store.
    pub fn size(&self, store: impl AsContext) -> u64 {
        self.ty(store).limits.min
    }

    /// The size in bytes.
    ///
    /// # Panics
    /// If the memory belongs to another store.
    pub fn data_size(&self, store: impl AsContext) -> usize {
        self.data(store.as_context()).len()
    }

    /// The first byte. It never moves, but bytes behind the size of the memory are not accessible.
    ///
    /// # Panics
    /// If the memory belongs to another store.
    pub fn data_ptr(&self, store: impl AsContext) -> *mut u8 {
        self.check(store.as_context().opaque());
        // SAFETY: the store keeps its instances.
        unsafe { (*self.definition.as_ptr()).base }
    }

    /// Grows the memory by so many pages; returns the old size in pages.
    ///
    /// # Errors
    /// If the memory's type or a limit does not allow it, or there is no room.
    ///
    /// # Panics
    /// If the memory belongs to another store.
    pub fn grow(&self, mut store: impl AsContextMut, delta: u64) -> Result<u64> {
        let mut store = store.as_context_mut();
        self.check(store.opaque());
        let _ = store.raw();
        // SAFETY: the store is borrowed uniquely.
        unsafe { ops::grow_memory(self.owner.as_ptr(), self.index, delta) }
            .with_context(|| format!("a memory cannot grow by {delta} pages from {}", self.ty(&store).limits.min))
    }
}
