//! Threads that run wasm code, as those see them who want to interrupt one. Each has a slot, which is found from the thread by
//! a plain load (in the handler of the signal, too) and from other threads through the store that it is in. Slots are never
//! freed, so a pointer to one stays good after its thread has ended: they are used again for later threads.

use crate::store::StoreOpaque;
use core::cell::Cell;
use core::ptr::{null, null_mut};
use libc::{c_int, pid_t};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering, compiler_fence};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is known of a thread.
pub(crate) struct ThreadSlot {
    /// The kernel's number of the thread; `None` if it has ended. Locked while a signal is sent, so that a thread cannot end
    /// meanwhile, and its number cannot come to mean another one. The handler of the signal takes no lock.
    id: Mutex<Option<pid_t>>,
    /// The innermost store that the thread is in; null if it is in none. Only the thread writes it.
    inside: AtomicPtr<StoreOpaque>,
    /// Whether faults of wasm code can be taken on this thread. Only the thread writes it.
    pub(super) takes_faults: AtomicBool,
}

/// Slots whose threads have ended.
static FREE: Mutex<Vec<&'static ThreadSlot>> = Mutex::new(Vec::new());

thread_local! {
    /// Without a destructor, so that reading it in a signal handler is a plain load.
    static SLOT: Cell<*const ThreadSlot> = const { Cell::new(null()) };
    /// Gives the slot back when the thread ends.
    static GUARD: Cell<Option<Guard>> = const { Cell::new(None) };
}

struct Guard(&'static ThreadSlot);

impl Drop for Guard {
    fn drop(&mut self) {
        SLOT.set(null());
        *self.0.id.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.0.takes_faults.store(false, Ordering::Relaxed);
        FREE.lock().unwrap_or_else(PoisonError::into_inner).push(self.0);
    }
}

/// The thread's slot, if it has one. Async-signal-safe.
#[inline]
pub(super) fn present() -> Option<&'static ThreadSlot> {
    // SAFETY: slots are never freed.
    unsafe { SLOT.get().as_ref() }
}

/// The thread's slot. `signal` is the one that interrupts: the thread has to be able to receive it.
///
/// # Errors
/// If the thread is about to end: its own data are being freed already.
#[cold]
pub(super) fn make(signal: c_int) -> crate::Result<&'static ThreadSlot> {
    let ending = || anyhow::anyhow!("WebAssembly cannot be called from the destructor of a thread's local data");
    let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let slot: &'static ThreadSlot = free.unwrap_or_else(|| {
        let inside = AtomicPtr::new(null_mut());
        Box::leak(Box::new(ThreadSlot { id: Mutex::new(None), inside, takes_faults: AtomicBool::new(false) }))
    });
    GUARD.try_with(|guard| guard.set(Some(Guard(slot)))).map_err(|_| {
        FREE.lock().unwrap_or_else(PoisonError::into_inner).push(slot);
        ending()
    })?;
    // SAFETY: asks for a number; the set is made here, and only this thread's mask changes.
    unsafe {
        *slot.id.lock().unwrap_or_else(PoisonError::into_inner) = Some(libc::gettid());
        let mut set = core::mem::MaybeUninit::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), null_mut());
    }
    SLOT.set(slot);
    Ok(slot)
}

/// What of this file must not change during a fork.
pub(super) struct Stopped {
    _free: MutexGuard<'static, Vec<&'static ThreadSlot>>,
    /// Of the thread that forks, if it has a slot.
    id: Option<MutexGuard<'static, Option<pid_t>>>,
}

/// Keeps the forking thread's slot, and the list of free ones, as they are.
pub(super) fn stop() -> Stopped {
    let id = present().map(|slot| slot.id.lock().unwrap_or_else(PoisonError::into_inner));
    Stopped { _free: FREE.lock().unwrap_or_else(PoisonError::into_inner), id }
}

impl Stopped {
    /// In the child, the thread has another number.
    pub(super) fn forked(&mut self) {
        if let Some(id) = &mut self.id {
            // SAFETY: asks for a number.
            **id = Some(unsafe { libc::gettid() });
        }
    }
}

impl ThreadSlot {
    /// The innermost store that the thread is in. On the thread itself it is alive as long as this says so; for others it is
    /// only an address to compare.
    #[inline]
    pub(super) fn inside(&self) -> *mut StoreOpaque {
        self.inside.load(Ordering::Relaxed)
    }

    /// The thread enters a store; the result is the one that it was in.
    #[inline]
    pub(super) fn enter(&self, store: *mut StoreOpaque) -> *mut StoreOpaque {
        let outer = self.inside.load(Ordering::Relaxed);
        self.inside.store(store, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        outer
    }

    /// The thread leaves the store that it is in for `outer`.
    #[inline]
    pub(super) fn leave(&self, outer: *mut StoreOpaque) {
        compiler_fence(Ordering::SeqCst);
        self.inside.store(outer, Ordering::Relaxed);
    }

    /// Calls `send` with the thread's number, if the thread lives and is in this store itself, not in another one that a host
    /// function has called. The thread does not end before `send` returns.
    pub(super) fn signal(&self, store: usize, send: impl FnOnce(pid_t)) {
        let id = self.id.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = *id
            && self.inside().addr() == store
        {
            send(id);
        }
    }
}
