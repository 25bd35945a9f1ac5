//! Calls: between interpreted functions, which only moves `sp`; into another instance, over a bridge; and out of the
//! interpreter. Tail calls put the callee's frame in the place of the caller's. Also the start of a run, and throwing.
//! What handlers do not do themselves is in `outside`.

use super::code::{ClosedElement, Func, HEADER, Sig};
use super::control;
use super::dispatch::*;
use super::frame::*;
use super::outside::*;
use crate::ops;
use crate::store::StoreOpaque;
use crate::vm;
use core::sync::atomic::Ordering;
use wasmc_environ::vmlayout::*;
use wasmc_environ::{FuncIndex, TrapCode};

/// What helpers outside the handlers return besides the `EXIT_` codes: go on with the next instruction.
pub(super) const RESUME: u64 = 16;
/// Go on at `Cx::ip` in the frame `Cx::sp`: a handler caught an exception.
pub(super) const CAUGHT: u64 = 17;

/// Goes on in a callee whose parameters are in place before `$sp` (a slot number relative to the frame).
macro_rules! enter {
    ($r:ident, $func:expr, $delta:expr, $words:expr) => {{
        let func: *const Func = $func;
        let code: Ip = (*func).code.load(Ordering::Acquire);
        let sp = $r.sp.offset($delta as isize);
        if sp as usize + *code.sub(1) as usize > (*$r.cx).limit as usize {
            trap!($r, TrapCode::StackOverflow)
        }
        write_header(sp, $r.ip.add($words), $r.sp, func);
        $r.sp = sp;
        $r.ip = code;
        return go($r);
    }};
}

/// Goes on after a helper that may have run anything.
macro_rules! resume {
    ($r:ident, $code:expr, $words:expr) => {{
        let code: u64 = $code;
        if code == RESUME {
            reload(&mut $r);
            next!($r, $words)
        } else if code == CAUGHT {
            $r.ip = (*$r.cx).ip;
            $r.sp = (*$r.cx).sp;
            reload(&mut $r);
            return go($r);
        } else {
            return code;
        }
    }};
}
pub(super) use resume;

/// Calls a function reference: word 1 has the callee's frame in its upper half, and word 2 is the `Sig`.
macro_rules! enter_reference {
    ($r:ident, $reference:expr, $words:expr) => {{
        let reference: *mut VMFuncRef = $reference;
        let delta = high(&$r) as i32;
        if (*reference).kind == FuncKind::Interpreted as u32 && (*reference).vmctx == (*$r.cx).vmctx {
            let func = (*$r.cx).funcs.wrapping_add((*reference).func_index as usize);
            enter!($r, func, delta, $words)
        }
        let sp = $r.sp.offset(delta as isize);
        let sig = word::<2>(&$r) as *const Sig;
        if (*reference).kind == FuncKind::Interpreted as u32 {
            return enter_over_bridge!($r, reference, sp, sig, $r.ip.add($words));
        }
        let code = call_reference($r.cx, $r.ip, $r.sp, sp, sig, reference);
        set_results!($r, code, sp, sig, $words)
    }};
}

/// Goes on in an interpreted function of another instance.
macro_rules! enter_over_bridge {
    ($r:ident, $reference:expr, $sp:expr, $sig:expr, $ret:expr) => {{
        let reference: *mut VMFuncRef = $reference;
        let sp = cross($r.cx, reference, $sp, $sig, $ret, $r.sp);
        if sp.is_null() {
            trap!($r, TrapCode::StackOverflow)
        }
        reload(&mut $r);
        $r.sp = sp;
        $r.ip = (*frame_func(sp)).code.load(Ordering::Acquire);
        go($r)
    }};
}

/// Goes on after a call out of the interpreter whose results are in place before `$sp`.
macro_rules! set_results {
    ($r:ident, $code:expr, $sp:expr, $sig:expr, $words:expr) => {{
        let code: u64 = $code;
        if code == RESUME {
            let bits = *$sp.sub(HEADER as usize + (*$sig).shared_slots() as usize);
            control::set_accumulators(&mut $r, bits);
        }
        resume!($r, code, $words)
    }};
}

/// Returns from the current frame after a call in its place, whose results are where the caller expects them.
macro_rules! return_results {
    ($r:ident, $code:expr) => {{
        let code: u64 = $code;
        if code == RESUME {
            let results = $r.sp.sub(HEADER as usize + word::<3>(&$r) as u32 as usize);
            control::set_accumulators(&mut $r, *results);
            reload(&mut $r);
            $r.ip = return_ip($r.sp);
            $r.sp = caller_sp($r.sp);
            return go($r);
        } else if code == CAUGHT {
            $r.ip = (*$r.cx).ip;
            $r.sp = (*$r.cx).sp;
            reload(&mut $r);
            return go($r);
        } else {
            return code;
        }
    }};
}

op! {
    /// Calls an interpreted function of this instance: word 1 has the callee's frame in its upper half, word 2 is the `Func`.
    call[] |r| {
        enter!(r, word::<2>(&r) as *const Func, high(&r) as i32, 3)
    }

    /// Calls an imported function, whose `VMFunctionImport` is at the offset in the lower half of word 1.
    call_import[] |r| {
        let import = (*r.cx).vmctx.add(low(&r) as usize).cast::<VMFunctionImport>();
        enter_reference!(r, (*import).func_ref, 3)
    }

    /// Calls a function of this instance that has native code: its index is in the lower half of word 1.
    call_compiled[] |r| {
        let sp = r.sp.offset(high(&r) as i32 as isize);
        let sig = word::<2>(&r) as *const Sig;
        let code = call_direct(r.cx, r.ip, r.sp, sp, sig, low(&r));
        set_results!(r, code, sp, sig, 3)
    }

    /// Calls an element of a table: word 1 has the index in field 0, word 2 is the `Sig`, word 3 the offset of the
    /// table's definition (`defined_at`) in its lower half and the `TypeIndex` in its upper half.
    /// An i32 is zero-extended wherever it is, so an index of either width is read with all its bits.
    call_indirect[X: Src<u64>] |r| {
        let reference = match element(&r, X::get(&r)) {
            Ok(reference) => reference,
            Err(code) => trap!(r, code),
        };
        enter_reference!(r, reference, 4)
    }

    /// Calls an element of a closed table: word 1 has the index in field 0 and the callee's frame in its upper half, word 2 is the `Sig`, word 3 the
    /// elements, word 4 their number and the canonical type.
    call_closed[X: Src<u64>] |r| {
        let index = X::get(&r);
        if index >= word::<4>(&r) & 0xffff_ffff {
            trap!(r, TrapCode::UndefinedElement)
        }
        let element = (word::<3>(&r) as *const ClosedElement).add(index as usize);
        if (*element).ty as u64 == word::<4>(&r) >> 32 && !(*element).target.is_null() {
            enter!(r, (*element).target, high(&r) as i32, 5)
        }
        let code = closed_mismatch(r.cx, element, (word::<4>(&r) >> 32) as u32);
        if code != 0 {
            trap!(r, TrapCode::from_u8(code).unwrap_or(TrapCode::BadSignature))
        }
        if !(*element).target.is_null() {
            enter!(r, (*element).target, high(&r) as i32, 5)
        }
        let sp = r.sp.offset(high(&r) as i32 as isize);
        let sig = word::<2>(&r) as *const Sig;
        let code = call_direct(r.cx, r.ip, r.sp, sp, sig, (*element).func.as_u32());
        set_results!(r, code, sp, sig, 5)
    }

    /// Calls the function reference in field 0.
    call_ref[] |r| {
        let reference = *slot::<0>(&r) as *mut VMFuncRef;
        if reference.is_null() {
            trap!(r, TrapCode::NullFunctionReference)
        }
        enter_reference!(r, reference, 3)
    }

    /// A tail call of an interpreted function of this instance: word 1 is the slot of the first argument and the callee's
    /// parameter slots, word 2 the `Func`, word 3 the shared slots of the caller and of the callee.
    tail_call[] |r| {
        let func = word::<2>(&r) as *const Func;
        match replace(&mut r, func) {
            true => go(r),
            false => trap!(r, TrapCode::StackOverflow),
        }
    }

    /// A tail call of a function reference: as `tail_call`, but word 2 is the `Sig`. `F` says where the reference comes from.
    tail_call_reference[F: FindReference] |r| {
        let reference = match F::find(&r) {
            Ok(reference) => reference,
            Err(code) => trap!(r, code),
        };
        if (*reference).kind == FuncKind::Interpreted as u32 {
            if (*reference).vmctx == (*r.cx).vmctx {
                let func = (*r.cx).funcs.wrapping_add((*reference).func_index as usize);
                return match replace(&mut r, func) {
                    true => go(r),
                    false => trap!(r, TrapCode::StackOverflow),
                };
            }
            let sp = replace_over_bridge(r.cx, r.ip, r.sp, reference);
            if sp.is_null() {
                trap!(r, TrapCode::StackOverflow)
            }
            reload(&mut r);
            r.sp = sp;
            r.ip = (*frame_func(sp)).code.load(Ordering::Acquire);
            return go(r);
        }
        let code = tail_outside(r.cx, r.ip, r.sp, reference, 0);
        return_results!(r, code)
    }

    /// A tail call of a function of this instance with native code: as `tail_call`, but word 2 is the `Sig`, and word 4 the function's index.
    tail_call_compiled[] |r| {
        let code = tail_outside(r.cx, r.ip, r.sp, core::ptr::null_mut(), word::<4>(&r) as u32);
        return_results!(r, code)
    }

    /// A tail call through a closed table: word 4 is the index's slot, word 5 the elements, word 6 their number and the canonical type.
    tail_call_closed[] |r| {
        let index = *r.sp.offset(word::<4>(&r) as isize);
        if index >= word::<6>(&r) & 0xffff_ffff {
            trap!(r, TrapCode::UndefinedElement)
        }
        let element = (word::<5>(&r) as *const ClosedElement).add(index as usize);
        let code = closed_mismatch(r.cx, element, (word::<6>(&r) >> 32) as u32);
        if code != 0 {
            trap!(r, TrapCode::from_u8(code).unwrap_or(TrapCode::BadSignature))
        }
        if !(*element).target.is_null() {
            return match replace(&mut r, (*element).target) {
                true => go(r),
                false => trap!(r, TrapCode::StackOverflow),
            };
        }
        let code = tail_outside(r.cx, r.ip, r.sp, core::ptr::null_mut(), (*element).func.as_u32());
        return_results!(r, code)
    }

    /// First instruction of a function that is not translated yet.
    translate[] |r| {
        let code = translate_frame(r.cx, r.ip, r.sp);
        if code == RESUME {
            r.ip = (*r.cx).ip;
            go(r)
        } else {
            code
        }
    }

    /// Throws an exception of the tag in the upper half of word 1, with its payload from the slot in the lower half on.
    throw[] |r| {
        let payload = r.sp.offset(low(&r) as i32 as isize);
        resume!(r, throw_tag(r.cx, r.ip, r.sp, payload, high(&r)), 2)
    }

    /// Throws the exception in field 0 again.
    throw_ref[] |r| {
        resume!(r, throw_reference(r.cx, r.ip, r.sp, *slot::<0>(&r) as u32), 2)
    }
}

/// The lowest bit of a definition's offset in a `VMContext`: the definition is behind a pointer there.
pub(super) const IMPORTED: u32 = 1;

/// What is defined at an offset of the `VMContext`.
#[inline(always)]
pub(super) unsafe fn defined_at<T>(vmctx: *mut u8, offset: u32) -> *mut T {
    // SAFETY: the translator took the offset from the module's layout, which aligns everything to 8 bytes.
    unsafe {
        if offset & IMPORTED == 0 { vmctx.add(offset as usize).cast() } else { *vmctx.add((offset & !IMPORTED) as usize).cast::<*mut T>() }
    }
}

/// The function reference at an index of the table in word 3, if it has the type there.
#[inline(always)]
unsafe fn element(r: &Regs, index: u64) -> Result<*mut VMFuncRef, TrapCode> {
    // SAFETY: `defined_at`; elements of function tables are references or null.
    unsafe { table_element((*r.cx).vmctx, word::<3>(r), index) }
}

#[inline(always)]
unsafe fn table_element(vmctx: *mut u8, table_and_type: u64, index: u64) -> Result<*mut VMFuncRef, TrapCode> {
    // SAFETY: as `element`.
    unsafe {
        let table = defined_at::<VMTableDefinition>(vmctx, table_and_type as u32);
        if index >= (*table).current_elements {
            return Err(TrapCode::UndefinedElement);
        }
        let reference = *(*table).base.add(index as usize) as *mut VMFuncRef;
        if reference.is_null() {
            return Err(TrapCode::IndirectCallToNull);
        }
        let want = *(*vmctx.cast::<VMContextHead>()).type_ids.add((table_and_type >> 32) as usize);
        if (*reference).type_id != want && !is_subtype(vmctx, (*reference).type_id, want) {
            return Err(TrapCode::BadSignature);
        }
        Ok(reference)
    }
}

#[cold]
#[inline(never)]
unsafe fn is_subtype(vmctx: *mut u8, sub: u32, sup: u32) -> bool {
    // SAFETY: the instance's store is live.
    unsafe { ops::is_subtype(instance_of(vmctx).store, sub, sup) }
}

/// Where a tail call takes its function reference from.
pub(super) trait FindReference {
    unsafe fn find(r: &Regs) -> Result<*mut VMFuncRef, TrapCode>;
}

/// An import, whose offset is in word 4.
pub(super) struct FromImport;
/// A slot, whose number is word 4.
pub(super) struct FromSlot;
/// A table, as in word 3 of `call_indirect`, in word 5; the index is in the slot in word 4.
pub(super) struct FromTable;

impl FindReference for FromImport {
    #[inline(always)]
    unsafe fn find(r: &Regs) -> Result<*mut VMFuncRef, TrapCode> {
        // SAFETY: the translator took the offset from the module's layout.
        unsafe { Ok((*(*r.cx).vmctx.add(word::<4>(r) as usize).cast::<VMFunctionImport>()).func_ref) }
    }
}

impl FindReference for FromSlot {
    #[inline(always)]
    unsafe fn find(r: &Regs) -> Result<*mut VMFuncRef, TrapCode> {
        // SAFETY: the slot holds a function reference.
        let reference = unsafe { *r.sp.offset(word::<4>(r) as isize) } as *mut VMFuncRef;
        if reference.is_null() { Err(TrapCode::NullFunctionReference) } else { Ok(reference) }
    }
}

impl FindReference for FromTable {
    #[inline(always)]
    unsafe fn find(r: &Regs) -> Result<*mut VMFuncRef, TrapCode> {
        // SAFETY: the slot holds an i64, or an i32 that is zero-extended.
        unsafe { table_element((*r.cx).vmctx, word::<5>(r), *r.sp.offset(word::<4>(r) as isize)) }
    }
}

/// Makes an interpreted function of this instance the frame instead of the current one. Fails if the stack is too small.
#[inline(always)]
unsafe fn replace(r: &mut Regs, func: *const Func) -> bool {
    // SAFETY: the frame's shared slots begin at `base`; the limit leaves room for a header.
    unsafe {
        let (ret, caller) = (return_ip(r.sp), caller_sp(r.sp));
        let from = r.sp.offset(low(r) as i32 as isize);
        let base = r.sp.sub(HEADER as usize + word::<3>(r) as u32 as usize);
        let sp = base.add(HEADER as usize + (word::<3>(r) >> 32) as usize);
        let code: Ip = (*func).code.load(Ordering::Acquire);
        if sp as usize + *code.sub(1) as usize > (*r.cx).limit as usize {
            return false;
        }
        core::ptr::copy(from, base, high(r) as usize);
        write_header(sp, ret, caller, func);
        r.sp = sp;
        r.ip = code;
        true
    }
}

/// Why a closed table's element cannot be called with a type: a trap code, or 0 if it can.
#[inline(never)]
unsafe extern "C" fn closed_mismatch(cx: *mut Cx, element: *const ClosedElement, want: u32) -> u8 {
    // SAFETY: the element is one of the current module's.
    unsafe {
        let ty = (*element).ty;
        if ty == want {
            return 0;
        }
        if ty == super::code::CLOSED_NULL {
            return TrapCode::IndirectCallToNull as u8;
        }
        let env = &module_of((*cx).vmctx).env;
        let index = wasmc_environ::TypeIndex::from_u32;
        if env.is_subtype(index(ty), index(want)) { 0 } else { TrapCode::BadSignature as u8 }
    }
}

/// Runs a defined function that has no native code, with its arguments and results in `args`. The result is a status;
/// `STATUS_TAIL_CALL` only if `allow_tail`.
///
/// # Safety
/// On the store's stack; `vmctx` is an instance of the store, `func` one of its defined functions, and `args` as long as its type says.
pub(crate) unsafe fn run(store: *mut StoreOpaque, vmctx: *mut VMContextHead, func: FuncIndex, args: *mut ValRaw, allow_tail: bool) -> u64 {
    // SAFETY: the caller's.
    unsafe {
        let vmctx = vmctx.cast::<u8>();
        let module = module_of(vmctx);
        let env = &module.env;
        let Some(defined) = env.defined_func(func) else {
            return vm::raise_error(store, crate::Error::msg("internal error: the interpreter was asked to run an import"));
        };
        let sig = module.interp.sig(env, env.functions[func.index()]);
        let target = &module.interp.funcs[defined.index()];
        let stack = &raw mut (*store).interp;
        if let Err(code) = (*stack).prepare((*store).vm.stack_size() as usize) {
            return vm::raise_trap(store, code);
        }
        let depth = (*store).trace.is_some().then(|| crate::trace::depth(store));
        let (base, limit) = ((*stack).top, (*stack).limit());
        let sp = base.wrapping_add((sig.shared_slots() as i32 + HEADER) as usize);
        if sp as usize > limit as usize {
            return vm::raise_trap(store, TrapCode::StackOverflow);
        }
        from_array(args, &sig.params, base);
        write_header(sp, control::done_stub(), core::ptr::null_mut(), target);
        let code: Ip = target.code.load(Ordering::Acquire);
        let meter = &raw mut (*store).vm.context.meter;
        let mut cx = Cx { limit, store, stack, meter, allow_tail, ..Cx::idle(vmctx) };
        cx.leave(code, sp);
        cx.enter_instance(vmctx);
        let cx = &raw mut cx;
        let mut activation = vm::Activation::interp(store, cx);
        let link = activation.link_interp();
        // From here on an interruption finds this run; it may have come before.
        let exit = if (*cx).is_interrupted() {
            raise(cx, code, sp, TrapCode::Interrupt)
        } else if sp as usize + *code.sub(1) as usize > limit as usize {
            raise(cx, code, sp, TrapCode::StackOverflow)
        } else {
            let mut r = Regs { ip: code, sp, mem: core::ptr::null_mut(), len: 0, cx, acc: 0, fd: 0.0, fs: 0.0 };
            reload(&mut r);
            execute(r)
        };
        let status = match exit {
            EXIT_DONE => {
                to_array(base, &sig.results, args);
                STATUS_OK
            }
            EXIT_TRAP => {
                let code = (*cx).trap;
                vm::raise_trap(store, if code == TrapCode::StackOverflow { (*store).vm.overflow_code() } else { code })
            }
            _ => (*cx).status,
        };
        if let Some(depth) = depth
            && !matches!(status, STATUS_OK | STATUS_TAIL_CALL)
        {
            crate::trace::end(store, depth, status);
        }
        drop(link);
        (*stack).top = base;
        status
    }
}
