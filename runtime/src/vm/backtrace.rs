//! Backtraces over both tiers: the list of activations gives native frames and interpreted ones, innermost first. Only
//! indices and offsets are collected here; names are looked up when somebody prints them.

use super::traphandlers::{Frames, MAX_FRAMES};
use super::{ActivationKind, CodeRegistry};
use crate::code::LoadedCode;
use crate::instance::InstanceData;
use crate::module::ModuleInner;
use crate::store::StoreOpaque;
use crate::trap::{Backtrace, FrameInfo, Trap};
use smallvec::SmallVec;
use std::sync::Arc;
use wasmc_environ::vmlayout::VMContextHead;
use wasmc_environ::{DefinedFuncIndex, TrapCode};

/// The wasm frames of a store at this moment. `at` is the program counter and frame pointer of an interrupted native
/// frame; without it the frames begin where wasm code was last left.
pub(crate) fn backtrace(store: &StoreOpaque, at: Option<(usize, usize)>) -> Backtrace {
    let mut trace = Backtrace::default();
    let mut exit_fp = store.vm.context.last_exit_fp as usize;
    if let Some((pc, fp)) = at {
        push_native(&mut trace, &store.vm.code, pc, true);
        exit_fp = fp;
    }
    outer_frames(store, &mut trace, exit_fp);
    trace
}

/// Makes the pending error of what the signal handler or `raise` captured, unless there is one already. The activation
/// in which it happened has been left.
pub(crate) fn finish_trap(store: *mut StoreOpaque) {
    // SAFETY: `activation::enter` holds the store alive, and no code runs in it now.
    let store = unsafe { &mut *store };
    let Some(code) = store.vm.captured.as_mut().and_then(|c| c.code.take()) else { return };
    let Some(captured) = &store.vm.captured else { return };
    let mut trace = Backtrace::default();
    if code == TrapCode::ArtifactChanged {
        // The tables that would say where are in the same file.
        store.vm.pending = Some(Trap::new(code, trace).into());
        return;
    }
    for (i, pc) in captured.pcs().iter().enumerate() {
        push_native(&mut trace, &store.vm.code, *pc, i == 0 && captured.exact);
    }
    if captured.truncated {
        trace.truncated = true;
    } else {
        outer_frames(store, &mut trace, store.vm.context.last_exit_fp as usize);
    }
    // SAFETY: no code runs in the store now.
    unsafe { crate::fuel::settle(store, code, trace.frames.first()) };
    store.vm.pending = Some(Trap::new(code, trace).into());
}

/// Adds the frames of the activations in the store's list, where the innermost native one was left at `exit_fp`.
fn outer_frames(store: &StoreOpaque, trace: &mut Backtrace, mut exit_fp: usize) {
    let mut at = store.vm.activations;
    // SAFETY: activations in the list are live, and their frames intact.
    while let Some(activation) = unsafe { at.as_ref() } {
        match activation.kind {
            ActivationKind::Interp(run) => {
                // SAFETY: as above; the frames' `VMContext`s belong to instances of this store.
                unsafe {
                    crate::interp::frames(&*run, &mut |vmctx: *mut VMContextHead, func, offset: u32, sp| {
                        let instance = &*(*vmctx).instance.cast::<InstanceData>();
                        let mut frame = FrameInfo::new(instance.module.clone(), func, Some(offset));
                        if store.engine.config().keep_locals && trace.frames.len() < MAX_FRAMES {
                            frame.keep_state(core::ptr::from_ref(instance).addr(), crate::interp::locals(&instance.module, func, sp));
                        }
                        push(trace, frame);
                    });
                }
            }
            ActivationKind::Native => {
                let mut frames = Frames::of_exit(activation, exit_fp);
                // SAFETY: as above.
                while let Some((return_address, _)) = unsafe { frames.next() } {
                    if !push_native(trace, &store.vm.code, return_address, false) {
                        break;
                    }
                }
                exit_fp = activation.outer_exit_fp;
            }
        }
        if trace.truncated {
            return;
        }
        at = activation.prev;
    }
}

/// Adds a native frame, if the address lies in a function (and not in a stub).
fn push_native(trace: &mut Backtrace, code: &CodeRegistry, pc: usize, exact: bool) -> bool {
    // A return address belongs to the call before it, which may be the last instruction of its function.
    // Wrapping, since an interruption may see a frame in the making.
    let pc = pc.wrapping_sub(usize::from(!exact));
    let Some(range) = code.find(pc) else { return true };
    let offset = range.offset(pc);
    match (&range.module, range.code.function_at(offset)) {
        (Some(module), Some(func)) if range.code.is_compiled(func) => {
            frames_at(module, &range.code, func, offset).into_iter().all(|frame| push(trace, frame))
        }
        _ => true,
    }
}

/// The frames that an offset in the code of a function stands for, innermost first: functions whose bodies stand in this one's code
/// have frames as if they had been called.
pub(crate) fn frames_at(module: &Arc<ModuleInner>, code: &LoadedCode, func: DefinedFuncIndex, offset: u32) -> SmallVec<[FrameInfo; 4]> {
    let mut frames = SmallVec::new();
    let mut at = code.wasm_offset_at(offset);
    for (callee, call) in code.inlined_at(offset) {
        // The loader knows no functions, so only here can an index be compared with their number.
        if callee.index() < module.env.functions.len() && module.env.defined_func(callee).is_some() {
            frames.push(FrameInfo::new(module.clone(), callee, at));
        }
        at = Some(call);
    }
    frames.push(FrameInfo::new(module.clone(), module.env.func_index(func), at));
    frames
}

fn push(trace: &mut Backtrace, frame: FrameInfo) -> bool {
    if trace.frames.len() < MAX_FRAMES {
        trace.frames.push(frame);
    } else {
        trace.truncated = true;
    }
    !trace.truncated
}
