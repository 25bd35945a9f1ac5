//! Unwinding of native frames: to the handler of an exception, or to the landing pad of the activation. Also the walk
//! that finds the heap references in native frames. All of it follows frame pointers; tables say what a return address
//! means.

use super::activation::{land, resume};
use super::traphandlers::Frames;
use super::{ActivationKind, VmStore};
use crate::store::StoreOpaque;
use core::ptr::with_exposed_provenance;
use wasmc_environ::vmlayout::*;

/// Slots of the handler cache; a power of two.
const CACHE_SLOTS: usize = 512;

/// What is known about a return address.
#[derive(Copy, Clone, Default)]
struct CachedHandler {
    return_address: usize,
    /// The handler; 0 if the call has none.
    handler: usize,
    frame_size: u32,
}

/// Handlers by return address: an exception that crosses a deep recursion meets the same few addresses again and again,
/// and finds each with one comparison. Entries stay true, since code is never removed from a store.
#[derive(Default)]
pub(crate) struct HandlerCache {
    /// Empty until the first exception.
    slots: Vec<CachedHandler>,
}

impl HandlerCache {
    #[inline]
    fn slot(return_address: usize) -> usize {
        (return_address ^ (return_address >> 9)) & (CACHE_SLOTS - 1)
    }
}

impl VmStore {
    #[inline]
    fn handler_for(&mut self, return_address: usize) -> CachedHandler {
        match self.handlers.slots.get(HandlerCache::slot(return_address)) {
            Some(entry) if entry.return_address == return_address => *entry,
            _ => self.look_up_handler(return_address),
        }
    }

    #[cold]
    fn look_up_handler(&mut self, return_address: usize) -> CachedHandler {
        let mut entry = CachedHandler { return_address, ..CachedHandler::default() };
        if let Some(range) = self.code.find(return_address)
            && let Some(record) = range.code.handler_at(range.offset(return_address))
        {
            entry.handler = range.text.start + record.handler_offset as usize;
            entry.frame_size = record.frame_size;
        }
        self.handlers.slots.resize(CACHE_SLOTS, CachedHandler::default());
        self.handlers.slots[HandlerCache::slot(return_address)] = entry;
        entry
    }
}

/// What the builtin `raise` does, on the stack for it: goes to the handler of the pending exception, or ends the
/// activation. `STATUS_TRAP` without a pending error is what stubs raise when the host's reserve is reached, or
/// seems to be because the store was interrupted.
///
/// # Safety
/// To be called by the assembly of `raise`, with the exit recorded and the frames of the innermost activation intact.
pub(crate) unsafe extern "C" fn raise(context: *mut VMStoreContext, status: u64) -> ! {
    // SAFETY: stubs pass their store's context. The innermost activation is the native one that the stub belongs to, since
    // everything that was linked after it has returned. The values for `resume` come from the record for its frame.
    unsafe {
        let store = (*context).store.cast::<StoreOpaque>();
        let vm = &mut (*store).vm;
        let activation = vm.activations;
        let exit_fp = (*context).last_exit_fp as usize;
        if status == STATUS_EXCEPTION {
            let mut frames = Frames::of_exit(&*activation, exit_fp);
            let stack_top = vm.stack.as_ref().map_or(0, |s| s.top());
            let mut callee = frames.fp;
            while let Some((return_address, fp)) = frames.next() {
                let found = vm.handler_for(return_address);
                if found.handler != 0 {
                    // A throw makes another one pending, or else is none: see the builtin.
                    let object = core::mem::replace(&mut (*context).pending_exn_object, core::ptr::null_mut()).expose_provenance() as u64;
                    resume(found.handler, fp, fp - found.frame_size as usize, (*context).pending_exn, object, (*context).meter.fuel)
                }
                frames.skip_repeated(return_address, fp - callee, stack_top);
                callee = frames.fp;
            }
            land(activation, STATUS_EXCEPTION)
        }
        if vm.pending.is_none() {
            let code = vm.overflow_code();
            vm.capture(code, &[], exit_fp, (*activation).fp);
        }
        land(activation, STATUS_TRAP)
    }
}

/// Calls `f` with every heap reference in the frames of both tiers.
///
/// # Safety
/// The store must be live, and have been left through stubs that recorded the exit.
pub(crate) unsafe fn visit_roots(store: *mut StoreOpaque, f: &mut dyn FnMut(u32)) {
    // SAFETY: the activations in the list are live, and their frames intact; a stack map's slots lie in its frame.
    unsafe {
        let vm = &(*store).vm;
        let mut exit_fp = vm.context.last_exit_fp as usize;
        let mut at = vm.activations;
        while let Some(activation) = at.as_ref() {
            match activation.kind {
                ActivationKind::Interp(run) => crate::interp::visit_roots(&*run, f),
                ActivationKind::Native => {
                    let mut frames = Frames::of_exit(activation, exit_fp);
                    while let Some((return_address, fp)) = frames.next() {
                        let Some(range) = vm.code.find(return_address) else { continue };
                        let Some((map, slots)) = range.code.stack_map_at(range.offset(return_address)) else { continue };
                        let sp = fp - map.frame_size as usize;
                        for slot in slots {
                            f(*with_exposed_provenance::<u32>(sp + *slot as usize));
                        }
                    }
                    exit_fp = activation.outer_exit_fp;
                }
            }
            at = activation.prev;
        }
    }
}
