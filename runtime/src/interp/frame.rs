//! The value stack, its frames, and walking them: for backtraces, for the collector's roots, and for exceptions.
//!
//! A frame is addressed by `sp`. Below it lie the header (return address, caller's `sp`, function) and before that the
//! slots that parameters and results share; from `sp` upwards lie the other locals and the operands. A caller evaluates
//! arguments into what becomes the callee's parameter slots, so a call moves nothing. Between instances stands a
//! *bridge*: a frame without function that keeps what has to be restored when the other instance returns.

use super::code::{Body, Catch, Func, HEADER, Reference};
use super::control;
use super::dispatch::{Ip, Regs, Sp};
use crate::instance::InstanceData;
use crate::module::ModuleInner;
use crate::ops;
use crate::shared_memory::current_length;
use crate::store::StoreOpaque;
use std::alloc::Layout;
use wasmc_environ::vmlayout::*;
use wasmc_environ::{FuncIndex, MemoryIndex, TrapCode};

/// A store's value stack. Its pages come from the system as they are touched.
#[derive(Debug)]
pub(crate) struct InterpStack {
    base: *mut u64,
    slots: usize,
    /// First slot that no active run uses.
    pub(super) top: *mut u64,
}

/// Slots at the end of the stack that frames leave free, for a header that is written before the callee's need is known.
const SLACK: usize = 64;

impl InterpStack {
    /// A stack that is made when it is first used.
    pub(crate) const fn new() -> Self {
        Self { base: core::ptr::null_mut(), slots: 0, top: core::ptr::null_mut() }
    }

    /// Makes the stack, as large as the native one is: a frame of the same function is larger here (every local and operand has a slot)
    /// but has no spilled registers, so the depths that can be reached are comparable; twice the size covers the difference.
    pub(super) fn prepare(&mut self, native_bytes: usize) -> Result<(), TrapCode> {
        if !self.base.is_null() {
            return Ok(());
        }
        let slots = native_bytes.saturating_mul(2).clamp(64 << 10, 1 << 30) / 8;
        let layout = Layout::array::<u64>(slots).map_err(|_| TrapCode::StackOverflow)?;
        // SAFETY: the layout is not empty.
        let base = unsafe { std::alloc::alloc(layout) }.cast::<u64>();
        if base.is_null() {
            return Err(TrapCode::StackOverflow);
        }
        *self = Self { base, slots, top: base };
        Ok(())
    }

    /// The addresses of the stack; empty before it is made.
    pub(super) fn range(&self) -> core::ops::Range<usize> {
        self.base.addr()..self.base.addr() + self.slots * 8
    }

    /// Where frames have to end.
    pub(super) fn limit(&self) -> *mut u64 {
        self.base.wrapping_add(self.slots - SLACK)
    }
}

impl Drop for InterpStack {
    fn drop(&mut self) {
        if let (false, Ok(layout)) = (self.base.is_null(), Layout::array::<u64>(self.slots)) {
            // SAFETY: allocated in `prepare` with this layout.
            unsafe { std::alloc::dealloc(self.base.cast(), layout) };
        }
    }
}

/// A run of the interpreter: what its handlers need beside the registers, and where it stands while other code runs.
pub(crate) struct Cx {
    /// The current instance's `VMContext`.
    pub(super) vmctx: *mut u8,
    /// End of the value stack; null if the store was interrupted (`interrupt`), so that the next comparison with it fails.
    pub(super) limit: *mut u64,
    /// Definition of the current instance's memory 0, or of an empty one.
    pub(super) memory: *const VMMemoryDefinition,
    /// The current module's functions, moved down by the number of its imported ones.
    pub(super) funcs: *const Func,
    pub(super) store: *mut StoreOpaque,
    pub(super) stack: *mut InterpStack,
    /// The store's counters.
    pub(super) meter: *mut VMMeter,
    /// The instruction that left the interpreter, or trapped.
    pub(super) ip: Ip,
    /// Its frame; null if a tail call of the base frame left the interpreter, and there is none any more.
    pub(super) sp: Sp,
    /// Its instance.
    pub(super) left: *mut u8,
    /// With `EXIT_TRAP`.
    pub(super) trap: TrapCode,
    /// With `EXIT_STATUS`.
    pub(super) status: u64,
    /// Whether the base frame may end in `STATUS_TAIL_CALL`.
    pub(super) allow_tail: bool,
    /// With `EXIT_CONTINUE`.
    pub(super) regs: Regs,
}

/// An active run, in the store's list of activations.
pub(crate) type InterpActivation = Cx;

static NO_MEMORY: SyncDefinition = SyncDefinition(VMMemoryDefinition { base: core::ptr::null_mut(), current_length: 0 });

struct SyncDefinition(VMMemoryDefinition);
// SAFETY: never written, and its base is never dereferenced since the length is 0.
unsafe impl Sync for SyncDefinition {}

/// The runtime's data of the instance with this `VMContext`.
///
/// # Safety
/// `vmctx` is an instance's.
pub(super) unsafe fn instance_of<'a>(vmctx: *mut u8) -> &'a InstanceData {
    // SAFETY: `VMContextHead::instance` points at the `InstanceData` as long as the store lives.
    unsafe { &*(*vmctx.cast::<VMContextHead>()).instance.cast::<InstanceData>() }
}

/// The module of the instance with this `VMContext`.
///
/// # Safety
/// As `instance_of`.
pub(super) unsafe fn module_of<'a>(vmctx: *mut u8) -> &'a ModuleInner {
    // SAFETY: the caller's; the instance keeps its module alive.
    unsafe { &instance_of(vmctx).module }
}

impl Cx {
    /// Of a run that has not begun.
    pub(super) fn idle(vmctx: *mut u8) -> Self {
        let (ip, sp, cx) = (core::ptr::null(), core::ptr::null_mut(), core::ptr::null_mut());
        Self {
            vmctx,
            limit: core::ptr::null_mut(),
            memory: &raw const NO_MEMORY.0,
            funcs: core::ptr::null(),
            store: core::ptr::null_mut(),
            stack: core::ptr::null_mut(),
            meter: core::ptr::null_mut(),
            ip,
            sp,
            left: vmctx,
            trap: TrapCode::Unreachable,
            status: STATUS_OK,
            allow_tail: false,
            regs: Regs { ip, sp, mem: core::ptr::null_mut(), len: 0, cx, acc: 0, fd: 0.0, fs: 0.0 },
        }
    }

    /// Whether the store was interrupted; asked where other code of the store has run meanwhile.
    pub(super) fn is_interrupted(&self) -> bool {
        // SAFETY: the store is alive during the run.
        unsafe { (*self.store).vm.interrupt.is_interrupted() }
    }

    /// Makes `vmctx` the current instance.
    ///
    /// # Safety
    /// `vmctx` is an instance's of this store.
    pub(super) unsafe fn enter_instance(&mut self, vmctx: *mut u8) {
        // SAFETY: the caller's.
        let module = unsafe { module_of(vmctx) };
        self.vmctx = vmctx;
        self.funcs = module.interp.funcs.as_ptr().wrapping_sub(module.env.num_imported_functions as usize);
        self.memory = match module.env.memories.is_empty() {
            true => &raw const NO_MEMORY.0,
            // SAFETY: the instance has a memory 0.
            false => unsafe { ops::memory_definition(vmctx.cast(), MemoryIndex::from_u32(0)) },
        };
    }

    /// Notes where the interpreter is left, so that its frames can be walked.
    pub(super) fn leave(&mut self, ip: Ip, sp: Sp) {
        self.ip = ip;
        self.sp = sp;
        self.left = self.vmctx;
    }

    /// Notes that the interpreter is left by a tail call: the frame does not count any more.
    ///
    /// # Safety
    /// The run is active, and `sp` is its innermost frame.
    pub(super) unsafe fn leave_frame(&mut self, ip: Ip, sp: Sp) {
        // SAFETY: the caller's.
        match unsafe { Frame { sp, ip, vmctx: self.vmctx }.caller() } {
            Some(caller) => {
                self.ip = caller.ip;
                self.sp = caller.sp;
                self.left = caller.vmctx;
            }
            None => self.sp = core::ptr::null_mut(),
        }
    }
}

/// Ends a run at its next call or backward branch. Async-signal-safe.
///
/// # Safety
/// The run is the innermost of the store that this thread is in.
pub(crate) unsafe fn interrupt(run: *mut InterpActivation) {
    // SAFETY: by the caller. Handlers read the word anew whenever they compare with it.
    unsafe { (&raw mut (*run).limit).write_volatile(core::ptr::null_mut()) };
}

/// Reads memory 0 anew: after anything that may have grown it or changed the instance.
#[inline(always)]
pub(super) unsafe fn reload(r: &mut Regs) {
    // SAFETY: `cx` and the definition that it points to are valid during the run.
    unsafe {
        let memory = (*r.cx).memory;
        r.mem = (*memory).base;
        r.len = current_length(memory) as usize;
    }
}

/// Writes a frame's header.
///
/// # Safety
/// The slots below `sp` belong to the frame.
#[inline(always)]
pub(super) unsafe fn write_header(sp: Sp, ret: Ip, caller: Sp, func: *const Func) {
    // SAFETY: the caller's.
    unsafe {
        *sp.sub(3) = ret as u64;
        *sp.sub(2) = caller as u64;
        *sp.sub(1) = func as u64;
    }
}

/// Return address of a frame.
///
/// # Safety
/// `sp` is a frame's.
#[inline(always)]
pub(super) unsafe fn return_ip(sp: Sp) -> Ip {
    // SAFETY: the caller's.
    unsafe { *sp.sub(3) as Ip }
}

/// The caller's frame.
///
/// # Safety
/// `sp` is a frame's.
#[inline(always)]
pub(super) unsafe fn caller_sp(sp: Sp) -> Sp {
    // SAFETY: the caller's.
    unsafe { *sp.sub(2) as Sp }
}

/// The function that a frame runs; null for a bridge.
///
/// # Safety
/// `sp` is a frame's.
#[inline(always)]
pub(super) unsafe fn frame_func(sp: Sp) -> *const Func {
    // SAFETY: the caller's.
    unsafe { *sp.sub(1) as *const Func }
}

/// Slots of a bridge from `sp` upwards: the instance to go back to, and how many result slots to move.
pub(super) const BRIDGE: i32 = 2;

/// A frame of a run.
#[derive(Copy, Clone)]
pub(super) struct Frame {
    pub sp: Sp,
    /// A word of the current instruction: the first one in the innermost frame, the last one of the call in the others.
    pub ip: Ip,
    pub vmctx: *mut u8,
}

impl Frame {
    /// The innermost frame of a run.
    pub(super) fn innermost(cx: &Cx) -> Option<Self> {
        (!cx.sp.is_null()).then_some(Self { sp: cx.sp, ip: cx.ip, vmctx: cx.left })
    }

    /// The caller's frame, if it is in the same run.
    ///
    /// # Safety
    /// The run is active, and the frame is one of its frames.
    pub(super) unsafe fn caller(self) -> Option<Self> {
        // SAFETY: headers are written at calls and kept until the return.
        unsafe {
            let ret = return_ip(self.sp);
            let sp = caller_sp(self.sp);
            if ret == control::done_stub() {
                None
            } else if ret == control::bridge_stub() {
                Some(Self { sp: caller_sp(sp), ip: return_ip(sp).sub(1), vmctx: *sp as *mut u8 })
            } else {
                Some(Self { sp, ip: ret.sub(1), vmctx: self.vmctx })
            }
        }
    }

    /// The function and its body, if it was translated.
    ///
    /// # Safety
    /// As `caller`.
    pub(super) unsafe fn func<'a>(self) -> (&'a Func, Option<&'a Body>) {
        // SAFETY: only bridges have no function, and `caller` skips them.
        let func = unsafe { &*frame_func(self.sp) };
        (func, func.body())
    }
}

/// Calls `f` for each heap reference that a run's frames may hold. Some of what it is given may be stale or no reference.
///
/// # Safety
/// The run is active and has left the interpreter.
pub(crate) unsafe fn visit_roots(cx: &InterpActivation, f: &mut dyn FnMut(u32)) {
    let mut at = Frame::innermost(cx);
    while let Some(frame) = at {
        // SAFETY: frames of an active run; roots are slots of the frame.
        unsafe {
            if let (_, Some(body)) = frame.func() {
                for slot in &body.roots {
                    f(*frame.sp.offset(*slot as isize) as u32);
                }
            }
            at = frame.caller();
        }
    }
}

/// Calls `f` with instance, function, offset in the wasm binary and the frame of each frame of a run, innermost first.
///
/// # Safety
/// As `visit_roots`.
pub(crate) unsafe fn frames(cx: &InterpActivation, f: &mut dyn FnMut(*mut VMContextHead, FuncIndex, u32, *mut u64)) {
    let mut at = Frame::innermost(cx);
    while let Some(frame) = at {
        // SAFETY: frames of an active run.
        unsafe {
            let (func, body) = frame.func();
            let env = &module_of(frame.vmctx).env;
            let offset = match body {
                Some(body) => body.position(frame.ip).map_or(body.wasm_start, |p| body.wasm_offset(p)),
                None => env.bodies[func.index.index()].start as u32,
            };
            f(frame.vmctx.cast(), env.func_index(func.index), offset, frame.sp);
            at = frame.caller();
        }
    }
}

/// Looks for a handler of the store's pending exception, from the instruction at which the run was left outwards. If there is one, its frame
/// becomes the current one, the handler's values are in place, and its address is the result.
///
/// # Safety
/// The run is active and has left the interpreter.
pub(super) unsafe fn catch(cx: &mut Cx) -> Option<Ip> {
    // SAFETY: frames of an active run; the pending exception's object is valid until the next throw.
    unsafe {
        let context = (*cx.vmctx.cast::<VMContextHead>()).store;
        let object = (*context).pending_exn_object;
        let mut at = Frame::innermost(cx);
        while let Some(frame) = at {
            if let (_, Some(body)) = frame.func()
                && let Some(position) = body.position(frame.ip)
            {
                // A `delegate` hides what is between it and its label.
                let mut outermost = u32::MAX;
                let ended = body.tries.partition_point(|t| t.end <= position);
                let enclosing = body.tries[ended..].iter().filter(|t| t.start <= position);
                let seen = enclosing.filter(|t| {
                    let seen = t.depth <= outermost;
                    if let (true, Some(depth)) = (seen, t.delegate) {
                        outermost = depth;
                    }
                    seen
                });
                for clause in seen.flat_map(|t| &t.catches) {
                    let matches = match clause.tag {
                        Some(tag) => ops::tag(frame.vmctx.cast(), tag) == (*object).tag,
                        None => true,
                    };
                    if matches {
                        if cx.vmctx != frame.vmctx {
                            cx.enter_instance(frame.vmctx);
                        }
                        if let Some(slot) = body.trace_slot {
                            crate::trace::caught(cx.store, *frame.sp.offset(slot as isize) as u32);
                        }
                        hand_over(frame, clause, object, (*context).pending_exn);
                        (*context).pending_exn_object = core::ptr::null_mut();
                        cx.sp = frame.sp;
                        return Some(body.words.as_ptr().wrapping_add(clause.target as usize));
                    }
                }
            }
            at = frame.caller();
        }
        None
    }
}

/// Puts the values of a caught exception into the slots where its handler expects them.
unsafe fn hand_over(frame: Frame, clause: &Catch, object: *mut VMExnObject, reference: u64) {
    // SAFETY: the translator reserved the slots from `clause.slot` on; the payload has the tag's types.
    unsafe {
        let mut slot = frame.sp.offset(clause.slot as isize);
        if clause.reference != Reference::None {
            (*object).flags |= EXN_ESCAPED;
        }
        if clause.reference == Reference::First {
            *slot = reference;
            slot = slot.add(1);
        }
        if let Some(tag) = clause.tag {
            let module = module_of(frame.vmctx);
            let sig = module.interp.sig(&module.env, module.env.tags[tag.index()].ty);
            let payload = object.byte_add(EXN_PAYLOAD_OFFSET as usize).cast::<ValRaw>();
            for (i, ty) in sig.params.iter().enumerate() {
                slot = slot.add(super::outside::write_slot(slot, *ty, *payload.add(i)));
            }
        }
        if clause.reference == Reference::Last {
            *slot = reference;
        }
    }
}

/// The current frame's distance from the slots that its parameters and results share.
pub(super) const fn shared_base(shared_slots: u32) -> i32 {
    -HEADER - shared_slots as i32
}
