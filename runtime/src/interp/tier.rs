//! Going over to native code that is made while the program runs. In modules for which that is done, functions count their calls and
//! the turns of their loops, in words of their own that nobody waits for; whoever counts to the end asks `tiering` for code. A function
//! that has native code by then is a stub here (`enter_native`), which calls that code in the place of the frame; in the
//! midst of a loop the locals are handed over to code that begins there.

use super::call::{CAUGHT, RESUME, resume};
use super::code::{Func, HEADER, Sig};
use super::control;
use super::dispatch::*;
use super::frame::*;
use super::outside::{from_array, slot_value, to_array, unwind};
use crate::tiering::{self, Native};
use crate::vm;
use core::sync::atomic::Ordering;
use smallvec::SmallVec;
use wasmc_environ::jit::TierEntry;
use wasmc_environ::vmlayout::*;

/// What helpers here return besides: native code has run in the frame's place, and its results are where the caller expects them.
const RETURNED: u64 = 18;

op! {
    /// The function was called.
    count_call[] |r| {
        if !is_hot(r.sp) {
            next!(r, 1)
        }
        if call_is_hot(r.cx, r.ip, r.sp) {
            r.ip = control::native_stub();
            return go(r);
        }
        next!(r, 1)
    }

    /// A loop begins another turn. The lower half of word 1 says whether native code can be entered here, the upper half where this is
    /// in the binary.
    count_turn[] |r| {
        if !is_hot(r.sp) {
            next!(r, 2)
        }
        let code = turn_is_hot(r.cx, r.ip, r.sp, low(&r) != 0, high(&r));
        if code == RETURNED {
            return_from_native!(r)
        }
        resume!(r, code, 2)
    }

    /// The only instruction of a function that has native code.
    enter_native[] |r| {
        let code = call_native(r.cx, r.ip, r.sp);
        if code == RETURNED {
            return_from_native!(r)
        }
        // Never `RESUME`: there is nothing to go on with.
        resume!(r, code, 0)
    }
}

/// Returns from the frame in whose place native code has run.
macro_rules! return_from_native {
    ($r:ident) => {{
        let bits = (*$r.cx).regs.acc;
        control::set_accumulators(&mut $r, bits);
        reload(&mut $r);
        $r.ip = return_ip($r.sp);
        $r.sp = caller_sp($r.sp);
        return go($r);
    }};
}
use return_from_native;

/// Counts; whether it is time to look.
#[inline(always)]
unsafe fn is_hot(sp: Sp) -> bool {
    // SAFETY: the frame's header names its function.
    let heat = unsafe { &(*frame_func(sp)).heat };
    // Threads may overwrite each other's counts: nothing depends on them but when code is made.
    let left = heat.load(Ordering::Relaxed).wrapping_sub(1);
    heat.store(left, Ordering::Relaxed);
    left < 0
}

/// Asks for the native code of the frame's function; whether there is some.
#[cold]
#[inline(never)]
unsafe extern "C" fn call_is_hot(cx: *mut Cx, ip: Ip, sp: Sp) -> bool {
    // SAFETY: the handler's.
    unsafe {
        (*cx).leave(ip, sp);
        let func = &*frame_func(sp);
        let Some(tier) = &module_of((*cx).vmctx).tier else { return false };
        func.heat.store(tier.again(), Ordering::Relaxed);
        let answered = tier.ask(&instance_of((*cx).vmctx).module, func.index, TierEntry::Start);
        let has_code = tier.function(func.index).is_some();
        if answered && !has_code {
            never_hot(func);
        }
        has_code
    }
}

/// There will be no code of a function: it is looked at as rarely as can be.
#[cold]
fn never_hot(func: &Func) {
    func.heat.store(i32::MAX, Ordering::Relaxed);
}

/// Asks for native code of the frame's function, and for some that begins at this loop, which is entered if it is there.
#[cold]
#[inline(never)]
unsafe extern "C" fn turn_is_hot(cx: *mut Cx, ip: Ip, sp: Sp, enters: bool, offset: u32) -> u64 {
    // SAFETY: the handler's.
    unsafe {
        (*cx).leave(ip, sp);
        let func = &*frame_func(sp);
        let Some(tier) = &module_of((*cx).vmctx).tier else { return RESUME };
        func.heat.store(tier.again(), Ordering::Relaxed);
        let module = &instance_of((*cx).vmctx).module;
        let has_code = || tier.function(func.index).is_some();
        let mut answered = false;
        // Only who turns for so long that the function has been compiled meanwhile needs a way in here: others end, and are called again.
        // But what takes long to compile is to take it once: the code for the loop can be called, too.
        if enters && (has_code() || tier.is_large(module, func.index)) {
            answered = tier.ask(module, func.index, TierEntry::Loop(offset));
            if let Some(native) = tier.loop_code(func.index, offset) {
                return enter(cx, sp, &native, true);
            }
            if !answered {
                return RESUME;
            }
        }
        if !has_code() {
            answered = tier.ask(module, func.index, TierEntry::Start);
        }
        if answered && !has_code() {
            never_hot(func);
        }
        RESUME
    }
}

/// Calls the native code of the frame's function.
#[inline(never)]
unsafe extern "C" fn call_native(cx: *mut Cx, ip: Ip, sp: Sp) -> u64 {
    // SAFETY: the handler's.
    unsafe {
        (*cx).leave(ip, sp);
        let func = (*frame_func(sp)).index;
        match module_of((*cx).vmctx).tier.as_ref().and_then(|tier| tier.function(func)) {
            Some(native) => enter(cx, sp, native, false),
            None => {
                (*cx).status = vm::raise_error((*cx).store, crate::Error::msg("internal error: a function has lost its native code"));
                EXIT_STATUS
            }
        }
    }
}

/// Runs native code in the place of a frame: its parameters are the frame's as they are now; with `in_loop` it takes the other
/// locals as well. A stub that waits for this run gets it as a tail call.
unsafe fn enter(cx: *mut Cx, sp: Sp, native: &Native, in_loop: bool) -> u64 {
    // SAFETY: the frame is the innermost of an active run, and the code that of its function.
    unsafe {
        let (store, vmctx) = ((*cx).store, (*cx).vmctx);
        let module = module_of(vmctx);
        let hidden = module.hidden(vmctx.cast());
        let func = &*frame_func(sp);
        let ty = module.env.functions[module.env.func_index(func.index).index()];
        let (sig, type_id) = (module.interp.sig(&module.env, ty), module.type_ids[ty.index()]);
        tiering::adopt((*vmctx.cast::<VMContextHead>()).instance.cast(), func.index, native);
        let stubs = ((*store).entry_stub(type_id), (*store).tail_entry_stub(type_id));
        let (code, base) = (native.code, sp.sub(HEADER as usize + sig.shared_slots() as usize));
        let waits = (*cx).allow_tail && return_ip(sp) == control::done_stub() && !stubs.1.is_null();
        let vm = &mut (*store).vm;
        if in_loop || waits {
            vm.tail_args.clear();
            match func.body() {
                Some(body) if in_loop => {
                    vm.tail_args.extend(body.locals.iter().map(|(slot, ty)| slot_value(sp.offset(*slot as isize), *ty)))
                }
                _ => {
                    vm.tail_args.resize(sig.params.len(), ValRaw::default());
                    to_array(base, &sig.params, vm.tail_args.as_mut_ptr());
                }
            }
            // Never empty, so that it is somewhere.
            vm.tail_args.push(ValRaw::default());
            vm.context.tail = VMTailCall { entry: stubs.1, code, ctx: hidden, args: vm.tail_args.as_mut_ptr() };
            vm.context.at_loop = u64::from(in_loop);
        }
        // The native frame takes the place of this one.
        (*cx).leave_frame((*cx).ip, sp);
        if waits {
            (*cx).status = STATUS_TAIL_CALL;
            return EXIT_STATUS;
        }
        if stubs.0.is_null() {
            (*store).vm.context.at_loop = 0;
            (*cx).status = vm::raise_error(store, crate::Error::msg("internal error: a function has no entry stub"));
            return EXIT_STATUS;
        }
        let length = sig.params.len().max(sig.results.len()).max(1);
        let mut array: SmallVec<[ValRaw; 16]> = SmallVec::from_elem(ValRaw::default(), length);
        to_array(base, &sig.params, array.as_mut_ptr());
        (*(*cx).stack).top = sp;
        let status = vm::enter(store, stubs.0, code, hidden, array.as_mut_ptr());
        // It may not have come to the code at all.
        (*store).vm.context.at_loop = 0;
        finish(cx, status, sig, array.as_ptr(), base)
    }
}

/// What follows a call of native code in the place of a frame whose shared slots begin at `base`.
unsafe fn finish(cx: *mut Cx, status: u64, sig: &Sig, array: *const ValRaw, base: Sp) -> u64 {
    // SAFETY: the caller's.
    unsafe {
        match status {
            STATUS_OK => {
                from_array(array, &sig.results, base);
                if (*cx).is_interrupted() {
                    (*cx).trap = wasmc_environ::TrapCode::Interrupt;
                    return EXIT_TRAP;
                }
                (*cx).regs.acc = *base;
                RETURNED
            }
            STATUS_EXCEPTION => unwind(cx),
            status => {
                (*cx).status = status;
                EXIT_STATUS
            }
        }
    }
}
