//! Entering functions of a store whose calls are traced: host functions, interpreted ones and code that was made for it report
//! themselves; other native code is reported here, where it is entered. Whatever did not end well by itself ends here.

use super::{Callee, Target, enter_target};
use crate::instance::InstanceData;
use crate::store::StoreOpaque;
use crate::trace::{self, Function, Kind};
use wasmc_environ::FuncIndex;
use wasmc_environ::vmlayout::*;

/// # Safety
/// As `enter_function`.
#[cold]
pub(super) unsafe fn enter(store: *mut StoreOpaque, callee: Callee, args: *mut ValRaw) -> u64 {
    // SAFETY: the caller vouches for the store, the callee and the arguments.
    unsafe {
        let depth = trace::depth(store);
        let target = callee.target();
        let entry = match target {
            Target::Compiled { .. } => {
                let (vmctx, func) = identity(callee);
                (!trace::reports_itself(vmctx)).then(|| trace::enter(store, Function::Wasm(vmctx, func), Kind::Compiled, args))
            }
            _ => None,
        };
        let status = enter_target(store, target, args);
        match (status, entry) {
            (STATUS_OK, Some(entry)) => trace::leave(store, entry, args),
            (STATUS_OK, None) => {}
            _ => trace::end(store, depth, status),
        }
        status
    }
}

/// The instance and index of a function that is not a host's.
unsafe fn identity(callee: Callee) -> (*mut VMContextHead, FuncIndex) {
    // SAFETY: the caller vouches for the callee.
    unsafe {
        let of = |r: *mut VMFuncRef| ((*r).vmctx.cast(), FuncIndex::from_u32((*r).func_index));
        match callee {
            Callee::FuncRef(r) => of(r),
            Callee::Direct { vmctx, func } => {
                let module = &(*(*vmctx).instance.cast::<InstanceData>()).module;
                if module.env.defined_func(func).is_some() {
                    (vmctx, func)
                } else {
                    of((*crate::ops::function_import(vmctx, func)).func_ref)
                }
            }
        }
    }
}
