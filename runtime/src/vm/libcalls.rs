//! The builtins that generated code calls: one C function for each entry of the list in `environ::builtins`. They only
//! convert: what the instructions mean is in `ops.rs`, which the interpreter calls as well.

use super::{activation, raise_trap};
use crate::store::StoreOpaque;
use crate::{interp, ops, trace};
use core::ptr::with_exposed_provenance_mut;
use wasmc_environ::vmlayout::*;
use wasmc_environ::*;

type Vmctx = *mut VMContextHead;

macro_rules! table {
    ($($name:ident,)*) => {
        static ADDRESSES: Addresses = Addresses([$($name as *const u8),*]);
        const COUNT: usize = [$(stringify!($name)),*].len();
    };
}
wasmc_environ::for_each_builtin!(table);

struct Addresses([*const u8; COUNT]);

// SAFETY: addresses of functions, never written.
unsafe impl Sync for Addresses {}

/// The array that `vmctx.builtins` points to.
pub(crate) fn builtin_addresses() -> *const *const u8 {
    ADDRESSES.0.as_ptr()
}

/// The store of an instance.
///
/// # Safety
/// `vmctx` is a live `VMContext`.
unsafe fn store_of(vmctx: Vmctx) -> *mut StoreOpaque {
    // SAFETY: generated code passes its own `VMContext`.
    unsafe { (*(*vmctx).store).store.cast() }
}

/// A result, or a trap with its backtrace.
unsafe fn finish(vmctx: Vmctx, result: Result<u64, TrapCode>) -> HostRet {
    match result {
        Ok(value) => HostRet { value, status: STATUS_OK },
        // SAFETY: generated code passes its own `VMContext`.
        Err(code) => HostRet { value: 0, status: raise_trap(unsafe { store_of(vmctx) }, code) },
    }
}

/// Builtins whose work is one call: `name(parameters) = expression`, where the expression gives `Result<u64, TrapCode>`.
macro_rules! fallible {
    ($($name:ident($vmctx:ident $(, $param:ident: $ty:ty)*) = $body:expr;)*) => {$(
        unsafe extern "C" fn $name($vmctx: Vmctx $(, $param: $ty)*) -> HostRet {
            // SAFETY: generated code passes its own `VMContext` and indices of its module, and has recorded the exit.
            unsafe {
                let result = $body;
                finish($vmctx, result)
            }
        }
    )*};
}

fn done(result: Result<(), TrapCode>) -> Result<u64, TrapCode> {
    result.map(|()| 0)
}

fn memory(i: u32) -> MemoryIndex {
    MemoryIndex::from_u32(i)
}

fn table_index(i: u32) -> TableIndex {
    TableIndex::from_u32(i)
}

fallible! {
    memory_grow(vmctx, index: u32, delta: u64) = Ok(ops::memory_grow(vmctx, memory(index), delta) as u64);
    memory_copy(vmctx, to: u32, from: u32, dst: u64, src: u64, len: u64) =
        done(ops::memory_copy(vmctx, memory(to), memory(from), dst, src, len));
    memory_fill(vmctx, index: u32, dst: u64, value: u32, len: u64) =
        done(ops::memory_fill(vmctx, memory(index), dst, value as u8, len));
    memory_init(vmctx, index: u32, data: u32, dst: u64, src: u32, len: u32) =
        done(ops::memory_init(vmctx, memory(index), DataIndex::from_u32(data), dst, src, len));
    memory_atomic_wait32(vmctx, index: u32, address: u64, expected: u32, timeout: i64) =
        ops::atomic_wait32(vmctx, memory(index), address, expected, timeout).map(u64::from);
    memory_atomic_wait64(vmctx, index: u32, address: u64, expected: u64, timeout: i64) =
        ops::atomic_wait64(vmctx, memory(index), address, expected, timeout).map(u64::from);
    memory_atomic_notify(vmctx, index: u32, address: u64, count: u32) =
        ops::atomic_notify(vmctx, memory(index), address, count).map(u64::from);
    table_grow(vmctx, index: u32, delta: u64, init: u64) = Ok(ops::table_grow(vmctx, table_index(index), delta, init) as u64);
    table_fill(vmctx, index: u32, dst: u64, value: u64, len: u64) =
        done(ops::table_fill(vmctx, table_index(index), dst, value, len));
    table_copy(vmctx, to: u32, from: u32, dst: u64, src: u64, len: u64) =
        done(ops::table_copy(vmctx, table_index(to), table_index(from), dst, src, len));
    table_init(vmctx, index: u32, elem: u32, dst: u64, src: u32, len: u32) =
        done(ops::table_init(vmctx, table_index(index), ElemIndex::from_u32(elem), dst, src, len));
    throw_alloc(vmctx, tag: u32) = ops::throw_alloc(vmctx, TagIndex::from_u32(tag)).map(|o| o.expose_provenance() as u64);
    trap(vmctx, code: u32) = Err(TrapCode::from_u8(code as u8).unwrap_or(TrapCode::Unreachable));
}

unsafe extern "C" fn data_drop(vmctx: Vmctx, data: u32) {
    // SAFETY: as in `fallible`.
    unsafe { ops::data_drop(vmctx, DataIndex::from_u32(data)) }
}

unsafe extern "C" fn elem_drop(vmctx: Vmctx, elem: u32) {
    // SAFETY: as in `fallible`.
    unsafe { ops::elem_drop(vmctx, ElemIndex::from_u32(elem)) }
}

/// `throw_alloc` has made the exception the pending one. The compiler calls nothing without it, but `wasmc verify` does not prove that.
unsafe extern "C" fn throw(vmctx: Vmctx) -> HostRet {
    // SAFETY: generated code passes its own `VMContext`.
    unsafe {
        match (*(*vmctx).store).pending_exn_object.is_null() {
            false => HostRet { value: 0, status: STATUS_EXCEPTION },
            true => finish(vmctx, Err(TrapCode::Unreachable)),
        }
    }
}

unsafe extern "C" fn throw_ref(vmctx: Vmctx, exn: u32) -> HostRet {
    // SAFETY: as in `fallible`.
    unsafe {
        match ops::throw_ref(vmctx, exn) {
            Ok(()) => HostRet { value: 0, status: STATUS_EXCEPTION },
            Err(code) => finish(vmctx, Err(code)),
        }
    }
}

/// Like `throw_ref`, for a reference that a handler was given and that therefore is not null.
unsafe extern "C" fn rethrow(vmctx: Vmctx, exn: u32) -> HostRet {
    // SAFETY: as in `fallible`. Nothing was thrown since the handler was entered, so that the object is alive.
    unsafe { throw_ref(vmctx, exn) }
}

/// Runs a function of the caller's own module that has no native code. A tail call at its end goes back to the stub.
unsafe extern "C" fn interp_call(vmctx: Vmctx, func: u32, args: u64) -> HostRet {
    // SAFETY: interpreter stubs pass their own `VMContext`, the index of their function, and the array on their frame.
    unsafe {
        let args = with_exposed_provenance_mut(args as usize);
        HostRet { value: 0, status: interp::run(store_of(vmctx), vmctx, FuncIndex::from_u32(func), args, true) }
    }
}

/// The stub that called is a frame of wasm code, and the pinned register is as that left it: both are passed on, as the fifth and
/// sixth argument, for a fault in the middle of the bytes.
macro_rules! bytes_builtin {
    ($name:ident, $body:ident) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            #[cfg(target_arch = "x86_64")]
            core::arch::naked_asm!("mov r8, rbp", "mov r9, r15", "jmp {}", sym $body);
            #[cfg(target_arch = "aarch64")]
            core::arch::naked_asm!("mov x4, x29", "mov x5, x21", "b {}", sym $body);
        }
    };
}

bytes_builtin!(move_bytes, move_bytes_from_stub);
bytes_builtin!(fill_bytes, fill_bytes_from_stub);

unsafe extern "C" fn move_bytes_from_stub(vmctx: Vmctx, to: u64, from: u64, len: u64, fp: usize, fuel: i64) {
    // SAFETY: generated code passes its own `VMContext`, and ranges of memories that it has checked.
    unsafe {
        let from = with_exposed_provenance_mut::<u8>(from as usize);
        let to = with_exposed_provenance_mut::<u8>(to as usize);
        (*store_of(vmctx)).vm.bytes.during(fp, fuel, || std::ptr::copy(from, to, len as usize));
    }
}

unsafe extern "C" fn fill_bytes_from_stub(vmctx: Vmctx, to: u64, value: u32, len: u64, fp: usize, fuel: i64) {
    // SAFETY: as above, of one memory.
    unsafe {
        let to = with_exposed_provenance_mut::<u8>(to as usize);
        (*store_of(vmctx)).vm.bytes.during(fp, fuel, || to.write_bytes(value as u8, len as usize));
    }
}

/// The entry of a function that reports its calls.
unsafe extern "C" fn trace_enter(vmctx: Vmctx, func: u32, args: u64) -> HostRet {
    // SAFETY: as in `fallible`; the array has a slot for each parameter.
    let entry =
        unsafe { trace::compiled_enter(store_of(vmctx), vmctx, FuncIndex::from_u32(func), with_exposed_provenance_mut(args as usize)) };
    HostRet { value: entry.into(), status: STATUS_OK }
}

unsafe extern "C" fn trace_leave(vmctx: Vmctx, entry: u32, results: u64) -> HostRet {
    // SAFETY: as above, for the results.
    unsafe { trace::leave(store_of(vmctx), entry, with_exposed_provenance_mut(results as usize)) };
    HostRet { value: 0, status: STATUS_OK }
}

unsafe extern "C" fn trace_tail(vmctx: Vmctx, entry: u32, callee: u64) -> HostRet {
    // SAFETY: as above; the callee is a live reference or null.
    unsafe { trace::compiled_tail(store_of(vmctx), entry, with_exposed_provenance_mut(callee as usize)) };
    HostRet { value: 0, status: STATUS_OK }
}

/// In assembly: it must not need the stack that it is called on.
use activation::raise;

unsafe extern "C" fn is_subtype(vmctx: Vmctx, sub: u32, sup: u32) -> u32 {
    // SAFETY: as in `fallible`.
    unsafe { u32::from(ops::is_subtype(store_of(vmctx), sub, sup)) }
}

/// Rounding where the processor has no instruction for it. A NaN becomes quiet, as WebAssembly asks.
macro_rules! rounding {
    ($($name:ident: $ty:ident, $method:ident, $quiet:literal;)*) => {$(
        unsafe extern "C" fn $name(_: Vmctx, x: $ty) -> $ty {
            if x.is_nan() { $ty::from_bits(x.to_bits() | $quiet) } else { x.$method() }
        }
    )*};
}

rounding! {
    ceil_f32: f32, ceil, 0x0040_0000;
    floor_f32: f32, floor, 0x0040_0000;
    trunc_f32: f32, trunc, 0x0040_0000;
    nearest_f32: f32, round_ties_even, 0x0040_0000;
    ceil_f64: f64, ceil, 0x0008_0000_0000_0000;
    floor_f64: f64, floor, 0x0008_0000_0000_0000;
    trunc_f64: f64, trunc, 0x0008_0000_0000_0000;
    nearest_f64: f64, round_ties_even, 0x0008_0000_0000_0000;
}

/// Fused multiply-add of `f64x2.relaxed_madd` where the processor has no instruction for it.
unsafe extern "C" fn fma_f64(_: Vmctx, x: f64, y: f64, z: f64) -> f64 {
    x.mul_add(y, z)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::ptr::null_mut;
    use wasmc_environ::builtins::BUILTINS;

    #[test]
    fn one_address_for_each_builtin() {
        assert_eq!(COUNT, BUILTINS.len());
        assert!(ADDRESSES.0.iter().all(|a| !a.is_null()));
    }

    #[test]
    fn rounding_keeps_signs_and_quiets_nans() {
        let none = null_mut();
        // SAFETY: the `VMContext` is not used.
        unsafe {
            assert_eq!(ceil_f32(none, -0.5).to_bits(), (-0.0f32).to_bits());
            assert_eq!(nearest_f64(none, 2.5), 2.0);
            assert_eq!(nearest_f64(none, -3.5), -4.0);
            assert_eq!(trunc_f64(none, -1.9), -1.0);
            assert_eq!(floor_f32(none, f32::from_bits(0x7f80_0001)).to_bits(), 0x7fc0_0001);
            assert_eq!(floor_f64(none, f64::from_bits(0xfff0_0000_0000_0001)).to_bits(), 0xfff8_0000_0000_0001);
        }
    }
}
