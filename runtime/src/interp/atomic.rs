//! Atomic instructions, all sequentially consistent, on shared and unshared memories alike. Address, operands and result are
//! in slots; word 2 says which memory (`defined_at`), word 3 is the offset. What is narrower than a slot is cut off when it is
//! written and zero-extended when it is read, so that i32 and i64 need no handlers of their own.

use super::call::defined_at;
use super::dispatch::*;
use super::table::{Operands, Slow};
use crate::ops;
use crate::shared_memory::atomic_address;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};
use wasmc_environ::vmlayout::VMMemoryDefinition;
use wasmc_environ::{MemoryIndex, TrapCode};

/// What is at an address of a memory and accessed as a whole.
pub(super) trait Cell: Copy + 'static {
    /// # Safety
    /// For all of them: `p` is aligned, lies in a memory, and is only accessed by wasm code and what does the same.
    unsafe fn load(p: *mut u8) -> u64;
    unsafe fn store(p: *mut u8, v: u64);
    unsafe fn update<F: Rmw>(p: *mut u8, v: u64) -> u64;
    unsafe fn compare_exchange(p: *mut u8, expected: u64, replacement: u64) -> u64;
}

/// What becomes of a value in the memory and an operand.
pub(super) trait Rmw {
    fn u8(cell: &AtomicU8, v: u8) -> u8;
    fn u16(cell: &AtomicU16, v: u16) -> u16;
    fn u32(cell: &AtomicU32, v: u32) -> u32;
    fn u64(cell: &AtomicU64, v: u64) -> u64;
}

macro_rules! cells {
    ($($ty:ident $atomic:ident;)*) => {$(
        impl Cell for $ty {
            #[inline(always)]
            unsafe fn load(p: *mut u8) -> u64 {
                // SAFETY: the trait's.
                unsafe { $atomic::from_ptr(p.cast()) }.load(Ordering::SeqCst).into()
            }
            #[inline(always)]
            unsafe fn store(p: *mut u8, v: u64) {
                // SAFETY: the trait's.
                unsafe { $atomic::from_ptr(p.cast()) }.store(v as $ty, Ordering::SeqCst);
            }
            #[inline(always)]
            unsafe fn update<F: Rmw>(p: *mut u8, v: u64) -> u64 {
                // SAFETY: the trait's.
                F::$ty(unsafe { $atomic::from_ptr(p.cast()) }, v as $ty).into()
            }
            #[inline(always)]
            unsafe fn compare_exchange(p: *mut u8, expected: u64, replacement: u64) -> u64 {
                // SAFETY: the trait's.
                let cell = unsafe { $atomic::from_ptr(p.cast()) };
                match cell.compare_exchange(expected as $ty, replacement as $ty, Ordering::SeqCst, Ordering::SeqCst) {
                    Ok(v) | Err(v) => v.into(),
                }
            }
        }
    )*};
}

cells! {
    u8 AtomicU8;
    u16 AtomicU16;
    u32 AtomicU32;
    u64 AtomicU64;
}

macro_rules! updates {
    ($($name:ident $f:ident;)*) => {$(
        pub(super) struct $name;
        impl Rmw for $name {
            #[inline(always)]
            fn u8(cell: &AtomicU8, v: u8) -> u8 {
                cell.$f(v, Ordering::SeqCst)
            }
            #[inline(always)]
            fn u16(cell: &AtomicU16, v: u16) -> u16 {
                cell.$f(v, Ordering::SeqCst)
            }
            #[inline(always)]
            fn u32(cell: &AtomicU32, v: u32) -> u32 {
                cell.$f(v, Ordering::SeqCst)
            }
            #[inline(always)]
            fn u64(cell: &AtomicU64, v: u64) -> u64 {
                cell.$f(v, Ordering::SeqCst)
            }
        }
    )*};
}

updates! {
    Add fetch_add;
    Sub fetch_sub;
    And fetch_and;
    Or fetch_or;
    Xor fetch_xor;
    Xchg swap;
}

/// The sum of an address and an instruction's offset, for an access of `size` bytes. As where it does not overflow, it is
/// its alignment that counts first.
#[inline(always)]
fn effective(address: u64, offset: u64, size: u64) -> Result<u64, TrapCode> {
    match address.checked_add(offset) {
        Some(at) => Ok(at),
        None if !address.wrapping_add(offset).is_multiple_of(size) => Err(TrapCode::UnalignedAtomic),
        None => Err(TrapCode::MemoryOutOfBounds),
    }
}

/// The cell at the address in field 1.
#[inline(always)]
unsafe fn find<C>(r: &Regs) -> Result<*mut u8, TrapCode> {
    let size = size_of::<C>() as u64;
    // SAFETY: the translator took word 2 from the module's layout; an i32 in a slot is zero-extended.
    unsafe {
        let at = effective(*slot::<1>(r), word::<3>(r), size)?;
        atomic_address(defined_at::<VMMemoryDefinition>((*r.cx).vmctx, word::<2>(r) as u32), at, size)
    }
}

op! {
    /// `field 0 = [field 1]`
    atomic_load[C: Cell] |r| {
        match find::<C>(&r) {
            Ok(p) => {
                *slot::<0>(&r) = C::load(p);
                next!(r, 4)
            }
            Err(code) => trap!(r, code),
        }
    }

    /// `[field 1] = field 2`
    atomic_store[C: Cell] |r| {
        match find::<C>(&r) {
            Ok(p) => {
                C::store(p, *slot::<2>(&r));
                next!(r, 4)
            }
            Err(code) => trap!(r, code),
        }
    }

    /// `field 0 = [field 1], [field 1] = [field 1] op field 2`
    atomic_update[F: Rmw, C: Cell] |r| {
        match find::<C>(&r) {
            Ok(p) => {
                *slot::<0>(&r) = C::update::<F>(p, *slot::<2>(&r));
                next!(r, 4)
            }
            Err(code) => trap!(r, code),
        }
    }

    /// `field 0 = [field 1]`, and if that is field 2, `[field 1] = field 3`
    atomic_compare_exchange[C: Cell] |r| {
        match find::<C>(&r) {
            Ok(p) => {
                *slot::<0>(&r) = C::compare_exchange(p, *slot::<2>(&r), *slot::<3>(&r));
                next!(r, 4)
            }
            Err(code) => trap!(r, code),
        }
    }

    atomic_fence[] |r| {
        fence(Ordering::SeqCst);
        next!(r, 2)
    }
}

/// `field 0 = wait(address field 1, expected field 2, timeout field 3)`; word 2: memory.
pub(super) struct Wait32;
/// The same with an expected value of 64 bits.
pub(super) struct Wait64;
/// `field 0 = notify(address field 1, how many field 2)`; word 2: memory.
pub(super) struct Notify;

impl Slow for Wait32 {
    const WORDS: usize = 4;
    unsafe fn run(o: Operands) -> Result<(), TrapCode> {
        let at = effective(o.get(1), o.word3(), 4)?;
        // SAFETY: the translator took the index from a validated instruction.
        let v = unsafe { ops::atomic_wait32(o.vmctx, MemoryIndex::from_u32(o.indices().0), at, o.get(2) as u32, o.get(3) as i64)? };
        o.set(0, v.into());
        Ok(())
    }
}

impl Slow for Wait64 {
    const WORDS: usize = 4;
    unsafe fn run(o: Operands) -> Result<(), TrapCode> {
        let at = effective(o.get(1), o.word3(), 8)?;
        // SAFETY: as above.
        let v = unsafe { ops::atomic_wait64(o.vmctx, MemoryIndex::from_u32(o.indices().0), at, o.get(2), o.get(3) as i64)? };
        o.set(0, v.into());
        Ok(())
    }
}

impl Slow for Notify {
    const WORDS: usize = 4;
    unsafe fn run(o: Operands) -> Result<(), TrapCode> {
        let at = effective(o.get(1), o.word3(), 4)?;
        // SAFETY: as above.
        let v = unsafe { ops::atomic_notify(o.vmctx, MemoryIndex::from_u32(o.indices().0), at, o.get(2) as u32)? };
        o.set(0, v.into());
        Ok(())
    }
}
