//! Interrupting a store: its flag, the thread that is in it, and the signal that makes that thread look. The signal is sent by
//! whoever interrupts and again by the watchdog (`interrupt.rs` of the crate) until the thread has left the store.
//!
//! Its handler ends the activation as a trap would if the thread is in a compiled function of the store. Anywhere else
//! something may be half done, and the handler only makes limits fail that are compared anyway: that of the host's stack, at
//! every exit from compiled code, and that of the interpreter's stack, at calls and backward branches. System calls
//! return `EINTR`. So code pays nothing for being interruptible.

use super::activation::ActivationKind;
use super::threads::{self, ThreadSlot};
use super::{signals, traphandlers};
use crate::store::StoreOpaque;
use core::ptr::null_mut;
use libc::{c_int, c_void, pid_t, siginfo_t};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, compiler_fence};
use wasmc_environ::TrapCode;

/// What a store shares with those who may interrupt it. It outlives the store.
pub(crate) struct InterruptState {
    interrupted: AtomicBool,
    /// The thread that is in the store.
    thread: AtomicPtr<ThreadSlot>,
    /// The store's address, to compare.
    store: AtomicUsize,
}

/// What our signal carries: an address that nobody else has.
static OURS: u8 = 0;

impl InterruptState {
    /// Of a store that is about to be made.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { interrupted: AtomicBool::new(false), thread: AtomicPtr::new(null_mut()), store: AtomicUsize::new(0) })
    }

    /// Makes the store's address known, once.
    pub(crate) fn set_store(&self, store: *mut StoreOpaque) {
        self.store.store(store.addr(), Ordering::Relaxed);
    }

    /// Whether the store was interrupted.
    #[inline]
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Sets the flag; says whether it was not set before.
    pub(crate) fn interrupt(&self) -> bool {
        !self.interrupted.swap(true, Ordering::SeqCst)
    }

    /// Whether a thread is in the store.
    pub(crate) fn is_running(&self) -> bool {
        !self.thread.load(Ordering::SeqCst).is_null()
    }

    /// Sends the signal to the thread that is in the store, if one is.
    pub(crate) fn signal(&self) {
        // SAFETY: slots are never freed.
        if let Some(slot) = unsafe { self.thread.load(Ordering::SeqCst).as_ref() } {
            slot.signal(self.store.load(Ordering::Relaxed), send);
        }
    }
}

/// Sends the signal to a thread of this process, with our mark. Where the system cannot (its queue is full), the watchdog tries again.
fn send(thread: pid_t) {
    // The layout of `siginfo_t` for queued signals, as the kernel takes it.
    #[repr(C)]
    struct Queued {
        signo: c_int,
        errno: c_int,
        code: c_int,
        pad: c_int,
        pid: pid_t,
        uid: libc::uid_t,
        value: *const u8,
        rest: [u64; 12],
    }
    const _: () = assert!(size_of::<Queued>() == size_of::<siginfo_t>());
    let signal = signals::interrupt_signal();
    // SAFETY: the structure has the size and the fields that the kernel reads.
    unsafe {
        let (pid, uid) = (libc::getpid(), libc::getuid());
        let info = Queued { signo: signal, errno: 0, code: libc::SI_QUEUE, pad: 0, pid, uid, value: &raw const OURS, rest: [0; 12] };
        libc::syscall(libc::SYS_rt_tgsigqueueinfo, pid, thread, signal, &raw const info);
    }
}

/// Whether a signal is one that `send` sent. Async-signal-safe.
///
/// # Safety
/// The structure is the kernel's.
pub(super) unsafe fn is_ours(info: *mut siginfo_t) -> bool {
    // SAFETY: by the caller; a queued signal has a value.
    unsafe { (*info).si_code == libc::SI_QUEUE && (*info).si_value().sival_ptr.addr() == (&raw const OURS).addr() }
}

/// What the handler of our signal does. Async-signal-safe.
///
/// # Safety
/// To be called from the signal's handler with what the kernel passed.
pub(super) unsafe fn handle(context: *mut c_void) {
    let Some(slot) = threads::present() else { return };
    let store = slot.inside();
    if store.is_null() {
        return;
    }
    // SAFETY: the thread is in the store, so it is alive. Only fields are read whose writers were not interrupted in the middle
    // (`CodeRegistry::is_changing`) or that are single words; what is written are words that are read anew whenever they count.
    unsafe {
        let vm = &raw mut (*store).vm;
        if !(*vm).interrupt.is_interrupted() {
            return;
        }
        (&raw mut (*vm).context.host_stack_limit).write_volatile(u64::MAX);
        let Some(activation) = (&raw const (*vm).activations).read_volatile().as_mut() else { return };
        match activation.kind {
            ActivationKind::Interp(run) => crate::interp::interrupt(run),
            ActivationKind::Native => traphandlers::end_activation(vm, activation, context),
        }
    }
}

/// A thread in a store; it leaves when this is dropped.
pub(crate) struct Inside {
    slot: &'static ThreadSlot,
    store: *mut StoreOpaque,
    outer: *mut StoreOpaque,
}

impl Inside {
    /// The thread enters a store from outside, to run on the store's stack or to call a host function.
    ///
    /// # Errors
    /// If the store was interrupted.
    ///
    /// # Safety
    /// The store is alive as long as the result.
    #[inline]
    pub(crate) unsafe fn enter(store: *mut StoreOpaque, slot: &'static ThreadSlot) -> crate::Result<Self> {
        let inside = Self { slot, store, outer: slot.enter(store) };
        // SAFETY: by the caller.
        let state = unsafe { &*Arc::as_ptr(&(*store).vm.interrupt) };
        state.thread.store(core::ptr::from_ref(slot).cast_mut(), Ordering::Release);
        compiler_fence(Ordering::SeqCst);
        // Whoever interrupts from now on finds the thread. If it was missed because it was not seen yet, the watchdog comes again.
        if state.is_interrupted() { Err(interrupted_before()) } else { Ok(inside) }
    }
}

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: by the caller of `enter`, the store is alive.
        let state = unsafe { &*Arc::as_ptr(&(*self.store).vm.interrupt) };
        // A host function that the embedder called may have called wasm code of its own store.
        let still = if self.outer == self.store { core::ptr::from_ref(self.slot).cast_mut() } else { null_mut() };
        state.thread.store(still, Ordering::Release);
        self.slot.leave(self.outer);
    }
}

/// The error of a call into a store that was interrupted.
#[cold]
pub(crate) fn interrupted_before() -> crate::Error {
    crate::Error::from(crate::Trap::from(TrapCode::Interrupt))
        .context("the store was interrupted, and its instances cannot be used any more")
}
