//! What calls need beside their handlers, out of line: leaving the interpreter through `exec::enter_function`, bridges to other
//! instances, tail calls that leave a run, translation at a first call, and throwing. Every function here notes where the
//! interpreter was left, so that its frames can be walked.

use super::call::{CAUGHT, RESUME};
use super::code::{HEADER, Sig, Ty};
use super::control;
use super::dispatch::*;
use super::frame::*;
use super::translate;
use crate::exec::{self, Callee};
use crate::ops;
use crate::vm;
use core::sync::atomic::Ordering;
use wasmc_environ::types::AbiType;
use wasmc_environ::vmlayout::*;
use wasmc_environ::{FuncIndex, TagIndex, TrapCode};

/// Writes a value into a slot, or two; returns how many.
pub(super) unsafe fn write_slot(slot: *mut u64, ty: Ty, v: ValRaw) -> usize {
    // SAFETY: the caller's slot is of this type.
    unsafe {
        match ty {
            AbiType::I32 | AbiType::F32 | AbiType::HeapRef => *slot = v.lo as u32 as u64,
            AbiType::I64 | AbiType::F64 | AbiType::FuncRef => *slot = v.lo,
            AbiType::V128 => {
                *slot = v.lo;
                *slot.add(1) = v.hi;
                return 2;
            }
        }
    }
    1
}

/// The value in a slot of a type, or in two.
pub(super) unsafe fn slot_value(slot: *const u64, ty: Ty) -> ValRaw {
    // SAFETY: the caller's slot is of this type.
    unsafe { ValRaw { lo: *slot, hi: if ty == AbiType::V128 { *slot.add(1) } else { 0 } } }
}

/// Copies slots of these types to an array.
pub(super) unsafe fn to_array(mut slot: *const u64, types: &[Ty], array: *mut ValRaw) {
    for (i, ty) in types.iter().enumerate() {
        // SAFETY: the caller's slots and array are as long as the types say.
        unsafe {
            let vector = *ty == AbiType::V128;
            *array.add(i) = ValRaw { lo: *slot, hi: if vector { *slot.add(1) } else { 0 } };
            slot = slot.add(1 + vector as usize);
        }
    }
}

/// Copies an array to slots of these types.
pub(super) unsafe fn from_array(array: *const ValRaw, types: &[Ty], mut slot: *mut u64) {
    for (i, ty) in types.iter().enumerate() {
        // SAFETY: as `to_array`.
        unsafe { slot = slot.add(write_slot(slot, *ty, *array.add(i))) };
    }
}

/// Calls a function reference out of the interpreter.
#[inline(never)]
pub(super) unsafe extern "C" fn call_reference(
    cx: *mut Cx,
    ip: Ip,
    sp: Sp,
    callee_sp: Sp,
    sig: *const Sig,
    reference: *mut VMFuncRef,
) -> u64 {
    // SAFETY: the handler's.
    unsafe {
        (*cx).leave(ip, sp);
        let base = callee_sp.sub(HEADER as usize + (*sig).shared_slots() as usize);
        outside(cx, base, base, callee_sp, &*sig, Callee::FuncRef(reference))
    }
}

/// Calls a function of the current instance out of the interpreter.
#[inline(never)]
pub(super) unsafe extern "C" fn call_direct(cx: *mut Cx, ip: Ip, sp: Sp, callee_sp: Sp, sig: *const Sig, func: u32) -> u64 {
    // SAFETY: the handler's.
    unsafe {
        (*cx).leave(ip, sp);
        let base = callee_sp.sub(HEADER as usize + (*sig).shared_slots() as usize);
        outside(cx, base, base, callee_sp, &*sig, Callee::Direct { vmctx: (*cx).vmctx.cast(), func: FuncIndex::from_u32(func) })
    }
}

/// Argument arrays up to this length live on the native stack.
const SMALL: usize = 16;

/// Enters a function with the arguments at `args`; the results go to `results`. `top` is the end of what the frame needs.
unsafe fn outside(cx: *mut Cx, args: *const u64, results: *mut u64, top: Sp, sig: &Sig, callee: Callee) -> u64 {
    let length = sig.params.len().max(sig.results.len());
    let mut small = [ValRaw::default(); SMALL];
    let mut large;
    let array = if length <= SMALL {
        small.as_mut_ptr()
    } else {
        large = vec![ValRaw::default(); length];
        large.as_mut_ptr()
    };
    // SAFETY: the arrays have the type's length; `cx` is linked into the store's activations and says where it was left.
    unsafe {
        to_array(args, &sig.params, array);
        (*(*cx).stack).top = top;
        match exec::enter_function((*cx).store, callee, array) {
            STATUS_OK => {
                from_array(array, &sig.results, results);
                if (*cx).is_interrupted() {
                    (*cx).trap = TrapCode::Interrupt;
                    return EXIT_TRAP;
                }
                RESUME
            }
            STATUS_EXCEPTION => unwind(cx),
            status => {
                (*cx).status = status;
                EXIT_STATUS
            }
        }
    }
}

/// Goes to the handler of the pending exception in this run, or ends the run.
pub(super) unsafe fn unwind(cx: *mut Cx) -> u64 {
    // SAFETY: the run was left (`Cx::leave`).
    unsafe {
        // A loop can consist of a throw and its handler.
        if (*cx).is_interrupted() {
            (*cx).trap = TrapCode::Interrupt;
            return EXIT_TRAP;
        }
        match catch(&mut *cx) {
            Some(ip) => {
                (*cx).ip = ip;
                CAUGHT
            }
            None => {
                (*cx).status = STATUS_EXCEPTION;
                EXIT_STATUS
            }
        }
    }
}

/// Makes a frame for a function of another instance behind a bridge and enters that instance. Null if the stack is too small.
#[inline(never)]
pub(super) unsafe extern "C" fn cross(cx: *mut Cx, reference: *mut VMFuncRef, sp: Sp, sig: *const Sig, ret: Ip, caller: Sp) -> Sp {
    // SAFETY: `sp` is where the callee's frame would be if it were of this instance, with its arguments before it.
    unsafe {
        let shared = (*sig).shared_slots() as usize;
        bridge(
            cx,
            reference,
            sp.sub(HEADER as usize + shared),
            sp.sub(HEADER as usize + shared),
            (*sig).param_slots as usize,
            shared,
            ret,
            caller,
        )
    }
}

/// Builds a bridge whose shared slots are at `base`, and behind it a frame for the reference's function with the `count` argument slots at `from`.
#[expect(clippy::too_many_arguments, reason = "the parts of two frames")]
unsafe fn bridge(cx: *mut Cx, reference: *mut VMFuncRef, base: Sp, from: Sp, count: usize, shared: usize, ret: Ip, caller: Sp) -> Sp {
    // SAFETY: checked against the limit before anything is written.
    unsafe {
        let bridge = base.add(shared + HEADER as usize);
        let args = bridge.add(BRIDGE as usize);
        let sp = args.add(shared + HEADER as usize);
        let vmctx = (*cx).vmctx;
        let module = module_of((*reference).vmctx);
        let func = module.interp.funcs.as_ptr().wrapping_add(((*reference).func_index - module.env.num_imported_functions) as usize);
        let code: Ip = (*func).code.load(Ordering::Acquire);
        if sp as usize + *code.sub(1) as usize > (*cx).limit as usize {
            return core::ptr::null_mut();
        }
        core::ptr::copy(from, args, count);
        write_header(bridge, ret, caller, core::ptr::null());
        *bridge = vmctx as u64;
        *bridge.add(1) = shared as u64;
        write_header(sp, control::bridge_stub(), bridge, func);
        (*cx).enter_instance((*reference).vmctx);
        sp
    }
}

/// Puts a function of another instance in the place of the current frame.
#[inline(never)]
pub(super) unsafe extern "C" fn replace_over_bridge(cx: *mut Cx, ip: Ip, sp: Sp, reference: *mut VMFuncRef) -> Sp {
    // SAFETY: the instruction at `ip` is a tail call with the operands of `tail_call_reference`.
    unsafe {
        let sig = &*(*ip.add(2) as *const Sig);
        let from = sp.offset(*ip.add(1) as u32 as i32 as isize);
        let base = sp.sub(HEADER as usize + *ip.add(3) as u32 as usize);
        let shared = sig.shared_slots() as usize;
        let (ret, caller) = (return_ip(sp), caller_sp(sp));
        if ret != control::bridge_stub() && ret != control::done_stub() {
            return bridge(cx, reference, base, from, sig.param_slots as usize, shared, ret, caller);
        }
        // A bridge below, or the end of the run, restores what is to be restored: nothing accumulates.
        let module = module_of((*reference).vmctx);
        let func = module.interp.funcs.as_ptr().wrapping_add(((*reference).func_index - module.env.num_imported_functions) as usize);
        let code: Ip = (*func).code.load(Ordering::Acquire);
        let new = base.add(HEADER as usize + shared);
        if new as usize + *code.sub(1) as usize > (*cx).limit as usize {
            return core::ptr::null_mut();
        }
        core::ptr::copy(from, base, sig.param_slots as usize);
        write_header(new, ret, caller, func);
        (*cx).enter_instance((*reference).vmctx);
        new
    }
}

/// A tail call that leaves the interpreter: of `reference`, or if that is null of the current instance's function `func`. From the base frame it is left to the
/// stub that waits for this run, if one does; otherwise the function is called from here, and its results become the frame's.
#[inline(never)]
pub(super) unsafe extern "C" fn tail_outside(cx: *mut Cx, ip: Ip, sp: Sp, reference: *mut VMFuncRef, func: u32) -> u64 {
    // SAFETY: the instruction at `ip` is a tail call with the operands of `tail_call_reference`.
    unsafe {
        (*cx).leave_frame(ip, sp);
        let operands = *ip.add(1);
        let args = sp.offset(operands as u32 as i32 as isize);
        let callee = match reference.is_null() {
            true => Callee::Direct { vmctx: (*cx).vmctx.cast(), func: FuncIndex::from_u32(func) },
            false => Callee::FuncRef(reference),
        };
        let sig = tail_sig(cx, ip, reference, func);
        if (*cx).allow_tail && return_ip(sp) == control::done_stub() && leave_tail_call(cx, callee, args, sig) {
            (*cx).status = STATUS_TAIL_CALL;
            return EXIT_STATUS;
        }
        let results = sp.sub(HEADER as usize + *ip.add(3) as u32 as usize);
        outside(cx, args, results, args.add(sig.param_slots as usize), sig, callee)
    }
}

/// The type of a tail call's callee. Only a call through a closed table has a `Func` in word 2 and not this.
unsafe fn tail_sig<'a>(cx: *mut Cx, ip: Ip, reference: *mut VMFuncRef, func: u32) -> &'a Sig {
    // SAFETY: as `tail_outside`.
    unsafe {
        if !reference.is_null() {
            return &*(*ip.add(2) as *const Sig);
        }
        let module = module_of((*cx).vmctx);
        module.interp.sig(&module.env, module.env.functions[func as usize])
    }
}

/// Leaves a tail call of a compiled function to the stub that waits for this run. Fails if the function is a host's, which cannot make
/// the chain longer, or if no stub is known.
unsafe fn leave_tail_call(cx: *mut Cx, callee: Callee, args: *const u64, sig: &Sig) -> bool {
    // SAFETY: references and the instance are live.
    unsafe {
        let store = (*cx).store;
        let (code, ctx, type_id) = match callee {
            Callee::FuncRef(f) if (*f).kind == FuncKind::Compiled as u32 => ((*f).code, (*f).ctx, (*f).type_id),
            Callee::FuncRef(_) => return false,
            Callee::Direct { vmctx, func } => {
                let module = module_of(vmctx.cast());
                let ty = module.type_ids[module.env.functions[func.index()].index()];
                match (module.env.defined_func(func), &module.code) {
                    (Some(defined), crate::code::Code::Loaded(code)) => (code.function_code(defined), module.hidden(vmctx.cast()), ty),
                    _ => {
                        let f = (*ops::function_import(vmctx, func)).func_ref;
                        if (*f).kind != FuncKind::Compiled as u32 {
                            return false;
                        }
                        ((*f).code, (*f).ctx, (*f).type_id)
                    }
                }
            }
        };
        let entry = (*store).tail_entry_stub(type_id);
        if entry.is_null() {
            return false;
        }
        let callee = match callee {
            Callee::FuncRef(f) => ((*f).vmctx.cast(), FuncIndex::from_u32((*f).func_index)),
            Callee::Direct { vmctx, func } if module_of(vmctx.cast()).env.defined_func(func).is_some() => (vmctx, func),
            Callee::Direct { vmctx, func } => {
                let f = (*ops::function_import(vmctx, func)).func_ref;
                ((*f).vmctx.cast(), FuncIndex::from_u32((*f).func_index))
            }
        };
        let vm = &mut (*store).vm;
        vm.tail_args.clear();
        vm.tail_args.resize(sig.params.len().max(1), ValRaw::default());
        let array = vm.tail_args.as_mut_ptr();
        to_array(args, &sig.params, array);
        vm.context.tail = VMTailCall { entry, code, ctx, args: array };
        crate::trace::leaving_tail(store, callee.0, callee.1, array);
        true
    }
}

/// Translates the function of the frame that was just entered. `Cx::ip` is its first instruction then.
#[cold]
#[inline(never)]
pub(super) unsafe extern "C" fn translate_frame(cx: *mut Cx, ip: Ip, sp: Sp) -> u64 {
    // SAFETY: the frame's header names the function, which is of the current instance's module.
    unsafe {
        (*cx).leave(ip, sp);
        let func = &*frame_func(sp);
        match translate::function(module_of((*cx).vmctx), func) {
            Ok(code) => {
                if sp as usize + *code.sub(1) as usize > (*cx).limit as usize {
                    (*cx).trap = TrapCode::StackOverflow;
                    return EXIT_TRAP;
                }
                (*cx).ip = code;
                RESUME
            }
            Err(error) if error.is::<translate::Changed>() => {
                (*cx).trap = TrapCode::ArtifactChanged;
                EXIT_TRAP
            }
            Err(error) => {
                (*cx).status = vm::raise_error((*cx).store, error);
                EXIT_STATUS
            }
        }
    }
}

#[inline(never)]
pub(super) unsafe extern "C" fn throw_tag(cx: *mut Cx, ip: Ip, sp: Sp, payload: *const u64, tag: u32) -> u64 {
    // SAFETY: the handler's; the object has a slot for each value of the tag's type.
    unsafe {
        (*cx).leave(ip, sp);
        let tag = TagIndex::from_u32(tag);
        let module = module_of((*cx).vmctx);
        let sig = module.interp.sig(&module.env, module.env.tags[tag.index()].ty);
        match ops::throw_alloc((*cx).vmctx.cast(), tag) {
            Ok(object) => {
                to_array(payload, &sig.params, object.byte_add(EXN_PAYLOAD_OFFSET as usize).cast());
                unwind(cx)
            }
            Err(code) => {
                (*cx).trap = code;
                EXIT_TRAP
            }
        }
    }
}

#[inline(never)]
pub(super) unsafe extern "C" fn throw_reference(cx: *mut Cx, ip: Ip, sp: Sp, reference: u32) -> u64 {
    // SAFETY: the handler's.
    unsafe {
        (*cx).leave(ip, sp);
        match ops::throw_ref((*cx).vmctx.cast(), reference) {
            Ok(()) => unwind(cx),
            Err(code) => {
                (*cx).trap = code;
                EXIT_TRAP
            }
        }
    }
}
