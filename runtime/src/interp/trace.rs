//! Instructions that report calls to the tracer. They stand only in code that was translated for an engine with one.

use super::code::Sig;
use super::dispatch::*;
use super::frame::{frame_func, module_of, shared_base};
use super::outside::to_array;
use crate::trace::{self, Function, Kind};
use smallvec::SmallVec;
use wasmc_environ::vmlayout::ValRaw;

op! {
    /// The frame's function was entered; the number of the entry goes to the slot in the lower half of word 1.
    trace_enter[] |r| {
        entered(&r, low(&r) as i32);
        next!(r, 2)
    }

    /// It is about to return the values from the slot in the upper half of word 1 on.
    trace_leave[] |r| {
        left(&r, low(&r) as i32, high(&r) as i32);
        next!(r, 2)
    }

    /// It is about to make a tail call.
    trace_tail[] |r| {
        trace::tail((*r.cx).store, *r.sp.offset(low(&r) as i32 as isize) as u32);
        next!(r, 2)
    }
}

type Values = SmallVec<[ValRaw; 16]>;

/// Instance, function and type of the current frame.
unsafe fn current<'a>(r: &Regs) -> (Function, &'a Sig) {
    // SAFETY: the frame's header names the function, which is of the current instance's module.
    unsafe {
        let vmctx = (*r.cx).vmctx;
        let module = module_of(vmctx);
        let func = module.env.func_index((*frame_func(r.sp)).index);
        (Function::Wasm(vmctx.cast(), func), module.interp.sig(&module.env, module.env.functions[func.index()]))
    }
}

#[inline(never)]
unsafe fn entered(r: &Regs, slot: i32) {
    // SAFETY: the parameters are in the slots before the header; the translator reserved the slot.
    unsafe {
        let (function, sig) = current(r);
        let mut args: Values = SmallVec::from_elem(ValRaw::default(), sig.params.len());
        to_array(r.sp.offset(shared_base(sig.shared_slots()) as isize), &sig.params, args.as_mut_ptr());
        *r.sp.offset(slot as isize) = trace::enter((*r.cx).store, function, Kind::Interpreted, args.as_ptr()).into();
    }
}

#[inline(never)]
unsafe fn left(r: &Regs, slot: i32, from: i32) {
    // SAFETY: the results are in the slots from `from` on.
    unsafe {
        let (_, sig) = current(r);
        let mut results: Values = SmallVec::from_elem(ValRaw::default(), sig.results.len());
        to_array(r.sp.offset(from as isize), &sig.results, results.as_mut_ptr());
        trace::leave((*r.cx).store, *r.sp.offset(slot as isize) as u32, results.as_ptr());
    }
}
