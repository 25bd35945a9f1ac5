//! What `waiters` is made of: a lock, a word that one thread sleeps on and another wakes it by, and points in time. Nothing
//! else may be used there: `tests/tests/loom.rs` puts a model checker's counterparts in the place of this file.

use rustix::thread::futex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub(crate) use std::sync::Arc;

/// A lock. A thread that panicked inside leaves nothing half done in what these protect.
#[derive(Default)]
pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// Protects a value.
    pub(crate) const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    /// Runs a function with the value.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// When to give up.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// So many nanoseconds from now; never if negative, or so far away that no clock gets there.
    pub(crate) fn after_nanos(nanos: i64) -> Self {
        Self(u64::try_from(nanos).ok().and_then(|n| Instant::now().checked_add(Duration::from_nanos(n))))
    }

    /// What is left; `None` if for ever.
    fn left(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }
}

const SLEEPING: u32 = 0;
const AWAKE: u32 = 1;

/// Why a sleep ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parked {
    /// By `unpark`.
    Woken,
    /// By the deadline.
    TimedOut,
    /// The sleeper was told so.
    Interrupted,
}

/// A word of its own for each sleeping thread, so that whoever wants to wake one thread disturbs no other.
pub(crate) struct Parker(AtomicU32);

impl Parker {
    /// For a thread that is about to sleep.
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(SLEEPING))
    }

    /// Sleeps until `unpark`, which may come before, or the deadline. A signal that is handled meanwhile changes nothing, unless
    /// `interrupted` says so.
    pub(crate) fn park(&self, deadline: Deadline, interrupted: &dyn Fn() -> bool) -> Parked {
        loop {
            if self.0.load(Ordering::Acquire) == AWAKE {
                return Parked::Woken;
            }
            if interrupted() {
                return Parked::Interrupted;
            }
            let left = match deadline.left() {
                Some(Duration::ZERO) => return Parked::TimedOut,
                // What does not fit is centuries away.
                left => left.and_then(|d| d.try_into().ok()),
            };
            // Whatever made it return, the word and the clock say what to do.
            let _ = futex::wait(&self.0, futex::Flags::PRIVATE, SLEEPING, left.as_ref());
        }
    }

    /// Ends the sleep of the thread that parks here.
    pub(crate) fn unpark(&self) {
        self.0.store(AWAKE, Ordering::Release);
        let _ = futex::wake(&self.0, futex::Flags::PRIVATE, 1);
    }
}
