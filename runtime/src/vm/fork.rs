//! A fork leaves the child with one thread and a copy of everything else. So that stores go on working there: the locks of this
//! crate that signals and time-outs need are held by the forking thread while it forks, and its number is looked up anew; the watchdog
//! is started again when it is needed. Stores that other threads were in cannot be used in the child.

use super::threads;
use crate::{interrupt, tiering};
use core::cell::Cell;
use std::sync::Once;

/// What is held during a fork.
struct Held {
    watchdog: interrupt::Stopped,
    thread: threads::Stopped,
    /// Only so that it is released.
    _publishing: tiering::Stopped,
}

thread_local! {
    static HELD: Cell<Option<Held>> = const { Cell::new(None) };
}

/// Sees to forks from now on. Called when the first thread runs wasm code; what is not there yet needs nothing.
pub(super) fn prepare() {
    static ONCE: Once = Once::new();
    // SAFETY: the functions live as long as the process. If the list is full, forks are not seen to.
    ONCE.call_once(|| unsafe {
        let _ = libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child));
    });
}

extern "C" fn before() {
    let held = Held { watchdog: interrupt::stop(), thread: threads::stop(), _publishing: tiering::stop() };
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
