//! A function with native code: entered through the entry stub for its type, on the store's stack.

use crate::store::StoreOpaque;
use crate::vm;
use wasmc_environ::vmlayout::ValRaw;

/// # Safety
/// As `enter_function`.
pub(super) unsafe fn enter(store: *mut StoreOpaque, code: *const u8, ctx: *mut u8, type_id: u32, args: *mut ValRaw) -> u64 {
    // SAFETY: the caller vouches for the function; the stub is the one for its type.
    unsafe {
        let entry = (*store).entry_stub(type_id);
        if entry.is_null() {
            // Compilers make stubs for every type of a function that can be entered from outside.
            return vm::raise_error(store, crate::Error::msg("internal error: a function has no entry stub"));
        }
        vm::enter(store, entry, code, ctx, args)
    }
}
