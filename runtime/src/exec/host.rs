//! A host function: its array form is called as it is. It catches panics itself, and turns an error into a status.

use crate::store::StoreOpaque;
use crate::vm;
use wasmc_environ::vmlayout::*;

/// The array form of a host function.
type ArrayFn = unsafe extern "C" fn(*mut VMExitContext, *mut ValRaw) -> u64;

/// # Safety
/// As `enter_function`.
pub(super) unsafe fn enter(store: *mut StoreOpaque, exit: *mut VMExitContext, args: *mut ValRaw) -> u64 {
    // SAFETY: the caller vouches for the store and the function; `array_fn` is never null and has this type
    // (`VMExitContext::array_fn`).
    unsafe {
        if vm::stack_is_exhausted(store) {
            return vm::raise_trap(store, (*store).vm.overflow_code());
        }
        // Called from outside it runs on the caller's stack, and can be interrupted all the same.
        let _inside = match vm::enter_host(store) {
            Ok(inside) => inside,
            Err(e) => return vm::raise_error(store, e),
        };
        let function: ArrayFn = core::mem::transmute((*exit).array_fn);
        function(exit, args)
    }
}
