//! A function without native code: the interpreter runs it, on the store's stack as native code would be. Its calls to
//! other interpreted functions, of whatever instance, do not come back here.

use crate::fuel;
use crate::interp;
use crate::store::StoreOpaque;
use crate::vm;
use wasmc_environ::FuncIndex;
use wasmc_environ::vmlayout::*;

/// # Safety
/// As `enter_function`.
pub(super) unsafe fn enter(store: *mut StoreOpaque, vmctx: *mut VMContextHead, func: FuncIndex, args: *mut ValRaw) -> u64 {
    // SAFETY: the caller vouches for the store, the instance and the arguments.
    unsafe {
        if vm::stack_is_exhausted(store) {
            return vm::raise_trap(store, (*store).vm.overflow_code());
        }
        // No stub waits for a tail call here, so none is asked for.
        let place = fuel::switch(store, fuel::Place::Wasm);
        let outcome = vm::on_store_stack(store, || interp::run(store, vmctx, func, args, false));
        fuel::switch(store, place);
        match outcome {
            Ok(status) => status,
            Err(e) => vm::raise_error(store, e),
        }
    }
}

/// `VMExitContext::array_fn` of interpreted functions: the array exit stub calls it, has checked the host's stack, and
/// makes a pending tail call in its own place.
pub(crate) fn exit_fn() -> *const u8 {
    unsafe extern "C" fn run(exit: *mut VMExitContext, args: *mut ValRaw) -> u64 {
        // SAFETY: instantiation filled the exit context: it belongs to a live store and names one of its instances.
        unsafe {
            let store = (*(*exit).store).store.cast::<StoreOpaque>();
            interp::run(store, (*exit).vmctx.cast(), FuncIndex::from_u32((*exit).func_index), args, true)
        }
    }
    run as *const u8
}
