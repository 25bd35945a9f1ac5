//! Exit stubs that are found at the first call. A host function, or an interpreted one, needs a stub of native code to
//! be called from native code, and which module has one for its signature may only be known later: until then its `code`
//! is an assembly routine that asks here and jumps on.

use super::activation;
use super::raise_error;
use crate::store::StoreOpaque;
use core::ptr::null;
use wasmc_environ::types::{AbiSignature, AbiType};
use wasmc_environ::vmlayout::VMExitContext;

/// How many results of a kind the Tail convention returns in registers on x86-64. AArch64 passes the area for more in a
/// register of its own, so that there it does not matter.
const RESULT_REGISTERS: usize = 8;

/// `code` for a function of this signature for which no exit stub is known.
pub(crate) fn lazy_exit(signature: &AbiSignature) -> *const u8 {
    let vectors = signature.results.iter().filter(|t| matches!(t, AbiType::F32 | AbiType::F64 | AbiType::V128)).count();
    let in_registers = vectors <= RESULT_REGISTERS && signature.results.len() - vectors <= RESULT_REGISTERS;
    if in_registers { activation::lazy_exit as *const u8 } else { activation::lazy_exit_area as *const u8 }
}

/// The exit stub for a function, which is also stored in its `VMFuncRef`; null, with a pending error, if there is none.
///
/// # Safety
/// To be called by the assembly of `lazy_exit` with the hidden parameter that it was called with.
pub(crate) unsafe extern "C" fn resolve(exit: *mut VMExitContext) -> *const u8 {
    // SAFETY: the exit context belongs to a live store, which wasm code has just left.
    unsafe {
        let store = (*(*exit).store).store.cast::<StoreOpaque>();
        let stubs = (*store).stubs((*exit).type_id);
        let code = if (*exit).typed_fn.is_null() || stubs.exit_typed.is_null() { stubs.exit_array } else { stubs.exit_typed };
        if code.is_null() {
            // The caller's module has stubs for all types that it calls.
            raise_error(store, crate::Error::msg("internal error: a function was called with a type that no module has stubs for"));
            return null();
        }
        // A reference to a function that got native code meanwhile does not lead through its exit context any more.
        let reference = crate::func::func_ref_of_exit(exit);
        if (*reference).ctx == exit.cast() {
            (*reference).code = code;
        }
        code
    }
}
