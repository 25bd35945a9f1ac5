//! A fork leaves the child with one thread and a copy of everything else: a lock that another thread held stays locked there for ever. So
//! that stores go on working in the child, the forking thread waits until no other thread is between taking and giving back a lock that the
//! process or an engine has (`Gate`), and holds those itself that signals and time-outs need; its number is looked up anew, and the watchdog
//! started again when it is needed. Stores that other threads were in cannot be used in the child.

use super::stack::{self, Stack};
use super::threads;
use crate::{interrupt, tiering};
use core::cell::Cell;
use core::ops::{Deref, DerefMut};
use std::sync::{MutexGuard, Once, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Read by threads that hold a lock, written by a fork.
static GATE: RwLock<()> = RwLock::new(());

thread_local! {
    /// How many gates the thread is in: only the outermost one waits, or a fork in between would wait for the inner one.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static HELD: Cell<Option<Held>> = const { Cell::new(None) };
}

/// While this lives, no other thread forks.
pub(crate) struct Gate(Option<RwLockReadGuard<'static, ()>>);

impl Gate {
    /// To be taken before a lock that outlives the thread, and given back after it.
    pub(crate) fn enter() -> Self {
        prepare();
        let outermost = DEPTH.with(|d| d.replace(d.get() + 1) == 0);
        Self(outermost.then(|| GATE.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.0 = None;
        DEPTH.with(|d| d.set(d.get() - 1));
    }
}

/// A lock that is held, with its gate.
pub(crate) struct Gated<G> {
    // Given back in this order.
    guard: G,
    _gate: Gate,
}

impl<G> Gated<G> {
    /// Takes a lock.
    pub(crate) fn new(lock: impl FnOnce() -> G) -> Self {
        let gate = Gate::enter();
        Self { guard: lock(), _gate: gate }
    }
}

impl<G: Deref> Deref for Gated<G> {
    type Target = G::Target;
    fn deref(&self) -> &Self::Target {
        &self.guard
    }
}

impl<G: DerefMut> DerefMut for Gated<G> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.guard
    }
}

/// The value of a cell, made now if it is not there: a fork waits until it is.
#[inline]
pub(crate) fn get_or_init<T>(cell: &OnceLock<T>, init: impl FnOnce() -> T) -> &T {
    match cell.get() {
        Some(value) => value,
        None => {
            let _gate = Gate::enter();
            cell.get_or_init(init)
        }
    }
}

/// What is held during a fork.
struct Held {
    watchdog: interrupt::Stopped,
    thread: threads::Stopped,
    /// Only so that it is released.
    _publishing: tiering::Stopped,
    _stacks: MutexGuard<'static, Vec<Stack>>,
    // Last: whoever is let in finds the others free.
    _gate: Option<RwLockWriteGuard<'static, ()>>,
}

/// Sees to forks from now on. Called before the first lock is taken or thread runs wasm code.
pub(super) fn prepare() {
    static ONCE: Once = Once::new();
    // SAFETY: the functions live as long as the process. If the list is full, forks are not seen to.
    ONCE.call_once(|| unsafe {
        let _ = libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child));
    });
}

extern "C" fn before() {
    // A thread that forks in the midst of it, in an allocator of the host's for instance, waits for nobody.
    let gate = DEPTH.try_with(|d| d.get() == 0).unwrap_or(false).then(|| GATE.write().unwrap_or_else(PoisonError::into_inner));
    let held =
        Held { _stacks: stack::idle(), watchdog: interrupt::stop(), thread: threads::stop(), _publishing: tiering::stop(), _gate: gate };
    let _ = HELD.try_with(|h| h.set(Some(held)));
}

extern "C" fn in_parent() {
    let _ = HELD.try_with(Cell::take);
}

extern "C" fn in_child() {
    if let Ok(Some(mut held)) = HELD.try_with(Cell::take) {
        held.watchdog.forked();
        held.thread.forked();
    }
}
