//! Shared memories: the one kind of thing that several stores, each on its own thread, use at once. The memory and its only
//! `VMMemoryDefinition` live here, counted by reference; a store that imports it gets an instance of the host that holds it and
//! points to that definition. Growth takes a lock and publishes the new size last; everything else reads the size atomically.

use crate::Result;
use crate::engine::Engine;
use crate::limiter::{Account, Resource, ResourceLimiter};
use crate::memory::{MemoryAccessError, check_type};
use crate::sync::{Deadline, Mutex};
use crate::vm::memory::{MemoryConfig, MemoryStorage};
use crate::waiters::{WaitResult, Waiters};
use anyhow::{Context as _, ensure};
use std::cell::UnsafeCell;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use wasmc_environ::TrapCode;
use wasmc_environ::types::{Limits, MemoryType};
use wasmc_environ::vmlayout::VMMemoryDefinition;

/// A shared memory was to be made, but the engine's feature `shared-memory` is off.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("shared memories cannot be made: the feature `shared-memory` is off (`-W shared-memory=y` switches it on)")]
pub struct SharedMemoryDisabled;

/// A linear memory that instances in several stores, on several threads, can use at once. A handle: clones are the same
/// memory, which lives as long as a handle or a store that uses it.
///
/// Other threads may write to any byte at any time, so there is no slice of its contents; [`SharedMemory::read`] and
/// [`SharedMemory::write`] copy.
#[derive(Clone)]
pub struct SharedMemory {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    /// As it was made.
    ty: MemoryType,
    /// `base` never changes. `current_length` is only written under the lock of `storage`, and only read atomically.
    definition: UnsafeCell<VMMemoryDefinition>,
    storage: Mutex<Storage>,
    is_static: bool,
    reserved: Range<usize>,
    waiters: Waiters,
}

/// What growing changes.
struct Storage {
    memory: MemoryStorage,
    account: Account,
}

// SAFETY: the definition's address never changes, its base neither, and its length is atomic; the rest is `Sync` by itself.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

/// The length of a memory, shared or not.
///
/// # Safety
/// The definition is a live memory's.
#[inline(always)]
pub(crate) unsafe fn current_length(definition: *const VMMemoryDefinition) -> u64 {
    // SAFETY: by the caller; the field is aligned, and whoever writes it while others can read it does so atomically.
    unsafe { AtomicU64::from_ptr((&raw const (*definition).current_length).cast_mut()).load(Ordering::Acquire) }
}

impl SharedMemory {
    /// A shared memory, for instances of this engine's modules to import.
    ///
    /// # Errors
    /// If the type is not that of a shared memory, contradicts itself or is not supported, there is no room for the memory, or
    /// the engine's feature `shared-memory` is off.
    pub fn new(engine: &Engine, ty: MemoryType) -> Result<Self> {
        Self::for_host(engine, ty, None)
    }

    /// A shared memory as [`SharedMemory::new`] makes it, whose size counts to limits, and is bounded by them, whoever lets it grow.
    ///
    /// # Errors
    /// As there, or [`LimitExceeded`](crate::LimitExceeded).
    pub fn with_limiter(engine: &Engine, ty: MemoryType, limiter: Arc<dyn ResourceLimiter>) -> Result<Self> {
        Self::for_host(engine, ty, Some(limiter))
    }

    fn for_host(engine: &Engine, ty: MemoryType, limiter: Option<Arc<dyn ResourceLimiter>>) -> Result<Self> {
        ensure!(ty.shared, "the type is not that of a shared memory");
        check_type(&ty)?;
        let config =
            MemoryConfig { static_memory: engine.config().tunables.static_memory, pool: Some(engine.pool()), ..MemoryConfig::default() };
        Self::with_config(engine, ty, &config, limiter)
    }

    /// One that a module defines.
    pub(crate) fn with_config(
        engine: &Engine,
        ty: MemoryType,
        config: &MemoryConfig<'_>,
        limiter: Option<Arc<dyn ResourceLimiter>>,
    ) -> Result<Self> {
        ensure!(engine.config().features.shared_memory, SharedMemoryDisabled);
        ensure!(ty.limits.max.is_some(), "a shared memory needs a greatest size");
        let mut account = Account::new(limiter);
        account.acquire_memory(&ty)?;
        let memory = MemoryStorage::new(&ty, config, None)?;
        let (is_static, reserved) = (memory.is_static(), memory.reserved());
        let definition = UnsafeCell::new(memory.definition());
        let (engine, storage, waiters) = (engine.clone(), Mutex::new(Storage { memory, account }), Waiters::new());
        Ok(Self { inner: Arc::new(Inner { engine, ty, definition, storage, is_static, reserved, waiters }) })
    }

    /// The engine that it was made with.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// Its type; the least size is that of now.
    pub fn ty(&self) -> MemoryType {
        MemoryType { limits: Limits { min: self.size(), ..self.inner.ty.limits }, ..self.inner.ty }
    }

    /// The size in pages.
    pub fn size(&self) -> u64 {
        self.length() >> self.inner.ty.page_size_log2
    }

    /// The size in bytes.
    pub fn data_size(&self) -> usize {
        self.length() as usize
    }

    fn length(&self) -> u64 {
        // SAFETY: the memory is alive.
        unsafe { current_length(self.definition()) }
    }

    /// Whether two handles are to the same memory.
    pub fn same(a: &Self, b: &Self) -> bool {
        Arc::ptr_eq(&a.inner, &b.inner)
    }

    /// The contents as they are now; bytes that growth adds are not part of it. Others may write to it at the same time, so it
    /// must only be accessed atomically or by a means that excludes them.
    pub fn data(&self) -> &[UnsafeCell<u8>] {
        // SAFETY: as many bytes are accessible as long as the memory lives, which the handle sees to.
        unsafe { std::slice::from_raw_parts(self.data_ptr().cast_const().cast(), self.data_size()) }
    }

    /// The first byte. It never moves, but bytes behind the size of the memory are not accessible.
    pub fn data_ptr(&self) -> *mut u8 {
        // SAFETY: the base never changes.
        unsafe { (*self.definition()).base }
    }

    fn range(&self, offset: usize, len: usize) -> Result<*mut u8, MemoryAccessError> {
        let size = self.data_size();
        match offset.checked_add(len) {
            Some(end) if end <= size => Ok(self.data_ptr().wrapping_add(offset)),
            _ => Err(MemoryAccessError::new(offset, len, size)),
        }
    }

    /// Copies from the memory, from byte `offset` on. Bytes that are written at the same time arrive old or new, each by itself.
    ///
    /// # Errors
    /// If that is not all inside the memory; then nothing is copied.
    pub fn read(&self, offset: usize, buffer: &mut [u8]) -> Result<(), MemoryAccessError> {
        let from = self.range(offset, buffer.len())?;
        // SAFETY: the range is inside the memory.
        unsafe { copy_out(from, buffer) };
        Ok(())
    }

    /// Copies into the memory, from byte `offset` on, as [`SharedMemory::read`].
    ///
    /// # Errors
    /// If that is not all inside the memory; then nothing is copied.
    pub fn write(&self, offset: usize, buffer: &[u8]) -> Result<(), MemoryAccessError> {
        let to = self.range(offset, buffer.len())?;
        // SAFETY: the range is inside the memory.
        unsafe { copy_in(buffer, to) };
        Ok(())
    }

    /// Grows the memory by so many pages; returns the old size in pages.
    ///
    /// # Errors
    /// If the memory's type or a limit does not allow it, or there is no room.
    pub fn grow(&self, delta: u64) -> Result<u64> {
        self.try_grow(delta).with_context(|| format!("a shared memory cannot grow by {delta} pages from {}", self.size()))
    }

    /// Grows the memory; the old size in pages, or `None` if it cannot.
    pub(crate) fn try_grow(&self, delta: u64) -> Option<u64> {
        self.inner.storage.with(|Storage { memory, account }| {
            let (more, current, maximum) = memory.growth(delta)?;
            account.acquire(Resource::MemoryBytes, more, current, maximum).ok()?;
            let Some(old) = memory.grow(delta) else {
                account.release(Resource::MemoryBytes, more);
                return None;
            };
            let length = memory.definition().current_length;
            // SAFETY: the field is aligned and lives as long as `self`. Only here it is written, and only read atomically.
            unsafe { AtomicU64::from_ptr(&raw mut (*self.definition()).current_length) }.store(length, Ordering::SeqCst);
            Some(old)
        })
    }

    /// Waits until somebody notifies the address, if the 32 bits there are the expected ones; at most so many nanoseconds, for
    /// ever if negative.
    ///
    /// # Errors
    /// If the address is not a multiple of 4, or is outside the memory.
    pub fn atomic_wait32(&self, address: u64, expected: u32, timeout_nanos: i64) -> Result<WaitResult, TrapCode> {
        // Nobody interrupts it.
        Ok(self.wait32(address, expected, timeout_nanos, &|| false)?.unwrap_or(WaitResult::TimedOut))
    }

    /// Waits as [`SharedMemory::atomic_wait32`], for 64 bits.
    ///
    /// # Errors
    /// If the address is not a multiple of 8, or is outside the memory.
    pub fn atomic_wait64(&self, address: u64, expected: u64, timeout_nanos: i64) -> Result<WaitResult, TrapCode> {
        // Nobody interrupts it.
        Ok(self.wait64(address, expected, timeout_nanos, &|| false)?.unwrap_or(WaitResult::TimedOut))
    }

    /// As `atomic_wait32`; `None` if `interrupted` said, after a signal, that there is no more to wait for.
    pub(crate) fn wait32(
        &self,
        address: u64,
        expected: u32,
        timeout_nanos: i64,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Option<WaitResult>, TrapCode> {
        let at = self.atomic_address(address, 4)?.cast::<u32>();
        // SAFETY: the address is aligned and inside the memory; others access it atomically, or race as wasm allows them to.
        let value = || u32::from_le(unsafe { AtomicU32::from_ptr(at) }.load(Ordering::SeqCst));
        Ok(self.inner.waiters.wait(address, || value() == expected, Deadline::after_nanos(timeout_nanos), interrupted))
    }

    /// As `wait32`, for 64 bits.
    pub(crate) fn wait64(
        &self,
        address: u64,
        expected: u64,
        timeout_nanos: i64,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Option<WaitResult>, TrapCode> {
        let at = self.atomic_address(address, 8)?.cast::<u64>();
        // SAFETY: as in `wait32`.
        let value = || u64::from_le(unsafe { AtomicU64::from_ptr(at) }.load(Ordering::SeqCst));
        Ok(self.inner.waiters.wait(address, || value() == expected, Deadline::after_nanos(timeout_nanos), interrupted))
    }

    /// Wakes at most `count` of those who wait at an address, in the order in which they came; returns how many.
    ///
    /// # Errors
    /// If the address is not a multiple of 4, or is outside the memory.
    pub fn atomic_notify(&self, address: u64, count: u32) -> Result<u32, TrapCode> {
        self.atomic_address(address, 4)?;
        Ok(self.inner.waiters.notify(address, count))
    }

    fn atomic_address(&self, address: u64, size: u64) -> Result<*mut u8, TrapCode> {
        // SAFETY: the memory is alive.
        unsafe { atomic_address(self.definition(), address, size) }
    }

    /// Whether stores of this engine may use it.
    pub(crate) fn check_engine(&self, engine: &Engine) -> Result<()> {
        ensure!(Engine::same(&self.inner.engine, engine), "the shared memory belongs to another engine");
        Ok(())
    }

    /// The definition that generated code reads.
    pub(crate) fn definition(&self) -> *mut VMMemoryDefinition {
        self.inner.definition.get()
    }

    /// Whether code without checks may access it.
    pub(crate) fn is_static(&self) -> bool {
        self.inner.is_static
    }

    /// The addresses at which a fault is an access of this memory: guards included.
    pub(crate) fn reserved(&self) -> Range<usize> {
        self.inner.reserved.clone()
    }
}

impl std::fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedMemory").field("ty", &self.ty()).finish_non_exhaustive()
    }
}

/// The address of an atomic access of `size` bytes: first it must be a multiple of the size, then inside the memory.
///
/// # Safety
/// The definition is a live memory's.
#[inline]
pub(crate) unsafe fn atomic_address(memory: *const VMMemoryDefinition, address: u64, size: u64) -> Result<*mut u8, TrapCode> {
    if !address.is_multiple_of(size) {
        return Err(TrapCode::UnalignedAtomic);
    }
    // SAFETY: by the caller; what is inside the memory is inside its allocation.
    unsafe {
        match address.checked_add(size) {
            Some(end) if end <= current_length(memory) => Ok((*memory).base.add(address as usize)),
            _ => Err(TrapCode::MemoryOutOfBounds),
        }
    }
}

/// Copies bytes that others may write to at the same time.
///
/// # Safety
/// As many bytes as the buffer has are accessible at `from`, and the buffer is not among them.
unsafe fn copy_out(from: *mut u8, buffer: &mut [u8]) {
    // Words where both sides allow it: a loop over atomic bytes is not vectorised.
    let mut i = 0;
    // SAFETY: by the caller, all addresses are accessible, and those of words are aligned.
    unsafe {
        while i < buffer.len() && !from.add(i).cast::<u64>().is_aligned() {
            buffer[i] = AtomicU8::from_ptr(from.add(i)).load(Ordering::Relaxed);
            i += 1;
        }
        while i + 8 <= buffer.len() {
            let word = AtomicU64::from_ptr(from.add(i).cast()).load(Ordering::Relaxed);
            buffer[i..i + 8].copy_from_slice(&word.to_ne_bytes());
            i += 8;
        }
        while i < buffer.len() {
            buffer[i] = AtomicU8::from_ptr(from.add(i)).load(Ordering::Relaxed);
            i += 1;
        }
    }
}

/// Copies bytes to where others may read and write at the same time.
///
/// # Safety
/// As `copy_out`.
unsafe fn copy_in(buffer: &[u8], to: *mut u8) {
    let mut i = 0;
    // SAFETY: as in `copy_out`.
    unsafe {
        while i < buffer.len() && !to.add(i).cast::<u64>().is_aligned() {
            AtomicU8::from_ptr(to.add(i)).store(buffer[i], Ordering::Relaxed);
            i += 1;
        }
        while let Some(Ok(word)) = buffer.get(i..i + 8).map(<[u8; 8]>::try_from) {
            AtomicU64::from_ptr(to.add(i).cast()).store(u64::from_ne_bytes(word), Ordering::Relaxed);
            i += 8;
        }
        while i < buffer.len() {
            AtomicU8::from_ptr(to.add(i)).store(buffer[i], Ordering::Relaxed);
            i += 1;
        }
    }
}
