//! `enter_function`: the one match on the three kinds of function. Whoever wants a function run and is not wasm code
//! calling wasm code comes through here: the embedder's calls, host functions that call back, the interpreter's calls
//! to functions that it does not interpret. An arm is a file.

mod compiled;
mod host;
mod interpreted;
mod traced;

pub(crate) use interpreted::exit_fn as interpreted_exit_fn;

use crate::code::Code;
use crate::instance::InstanceData;
use crate::store::StoreOpaque;
use wasmc_environ::vmlayout::*;
use wasmc_environ::{DefinedFuncIndex, FuncIndex};

/// A function to enter.
#[derive(Copy, Clone, Debug)]
pub(crate) enum Callee {
    /// By reference.
    FuncRef(*mut VMFuncRef),
    /// By its index in an instance.
    Direct {
        /// The instance.
        vmctx: *mut VMContextHead,
        /// The function; it may be an import.
        func: FuncIndex,
    },
}

/// What a callee turns out to be.
enum Target {
    Host { exit: *mut VMExitContext },
    Compiled { code: *const u8, ctx: *mut u8, type_id: u32 },
    Interpreted { vmctx: *mut VMContextHead, func: FuncIndex },
}

impl Callee {
    /// # Safety
    /// The reference or the instance must be live.
    #[inline]
    unsafe fn target(self) -> Target {
        // SAFETY: the caller vouches for what is pointed to.
        unsafe {
            match self {
                Self::FuncRef(r) => of_reference(r),
                Self::Direct { vmctx, func } => {
                    let module = &(*(*vmctx).instance.cast::<InstanceData>()).module;
                    match (module.env.defined_func(func), &module.code) {
                        (None, _) => of_reference((*crate::ops::function_import(vmctx, func)).func_ref),
                        (Some(defined), Code::Loaded(code)) if code.is_compiled(defined) => Target::Compiled {
                            code: code.function_code(defined),
                            ctx: module.hidden(vmctx),
                            type_id: module.type_ids[module.env.functions[func.index()].index()],
                        },
                        (Some(defined), _) => match native_entry(vmctx, defined) {
                            Some(code) => {
                                let type_id = module.type_ids[module.env.functions[func.index()].index()];
                                Target::Compiled { code, ctx: module.hidden(vmctx), type_id }
                            }
                            None => Target::Interpreted { vmctx, func },
                        },
                    }
                }
            }
        }
    }
}

/// The native code that an instance has adopted for a function.
#[inline]
unsafe fn native_entry(vmctx: *mut VMContextHead, func: DefinedFuncIndex) -> Option<*const u8> {
    // SAFETY: the caller vouches for the instance; the list has an entry for each function.
    let code = unsafe { if (*vmctx).entries.is_null() { std::ptr::null() } else { *(*vmctx).entries.add(func.index()) } };
    (!code.is_null()).then_some(code)
}

#[inline]
unsafe fn of_reference(r: *mut VMFuncRef) -> Target {
    // SAFETY: the caller vouches for the reference.
    let r = unsafe { &*r };
    if r.kind == FuncKind::Compiled as u32 {
        Target::Compiled { code: r.code, ctx: r.ctx, type_id: r.type_id }
    } else if r.kind == FuncKind::Host as u32 {
        Target::Host { exit: r.ctx.cast() }
    } else {
        Target::Interpreted { vmctx: r.vmctx.cast(), func: FuncIndex::from_u32(r.func_index) }
    }
}

/// Runs a function; arguments and results are in `args`. Returns `STATUS_OK`, `STATUS_TRAP` (the error is pending in the
/// store) or `STATUS_EXCEPTION` (so is the exception), never `STATUS_TAIL_CALL`: a tail call of the function that leaves
/// its tier runs below this call, and whatever that function tail-calls takes its place, so that the stack is bounded.
///
/// # Safety
/// The store is live and not borrowed, the callee belongs to it, and `args` has the slots of the callee's type, filled.
pub(crate) unsafe fn enter_function(store: *mut StoreOpaque, callee: Callee, args: *mut ValRaw) -> u64 {
    // SAFETY: the caller vouches for everything.
    unsafe {
        if (*store).trace.is_some() {
            return traced::enter(store, callee, args);
        }
        enter_target(store, callee.target(), args)
    }
}

/// # Safety
/// As `enter_function`.
#[inline(always)]
unsafe fn enter_target(store: *mut StoreOpaque, target: Target, args: *mut ValRaw) -> u64 {
    // SAFETY: the caller vouches for everything.
    unsafe {
        match target {
            Target::Host { exit } => host::enter(store, exit, args),
            Target::Compiled { code, ctx, type_id } => compiled::enter(store, code, ctx, type_id, args),
            Target::Interpreted { vmctx, func } => interpreted::enter(store, vmctx, func, args),
        }
    }
}
