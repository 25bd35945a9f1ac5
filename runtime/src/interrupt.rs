//! Interrupting stores from other threads, and after a time. An [`InterruptHandle`] sets the store's flag and sends a signal to the
//! thread that is in it (`vm/interrupt.rs` says what the signal does); one watchdog thread of the process sends it again until
//! that thread has left the store, and keeps the time. An interrupted store stays so: whatever it was doing was cut off somewhere.

use crate::Result;
use crate::caller::Caller;
use crate::context::{AsContext, StoreContext, StoreContextMut};
use crate::store::{Store, StoreOpaque};
use crate::trap::Trap;
use crate::vm::interrupt::InterruptState;
use crate::vm::{self, signals};
use anyhow::Context as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use wasmc_environ::TrapCode;

/// How long a thread has to leave before the signal is sent again. It may have been about to begin a system call that blocks.
const AGAIN: Duration = Duration::from_millis(2);
/// The same for a thread that has not left after `PATIENT` signals: it is in a host function that does not ask.
const AGAIN_LATER: Duration = Duration::from_millis(50);
/// See `AGAIN_LATER`.
const PATIENT: u32 = 100;
/// A store has to be found empty as often before it is left alone: a thread that enters now sees the flag.
const EMPTY: u32 = 3;

/// Interrupts a store, from any thread. Clones interrupt the same store; one that is gone cannot be interrupted any more,
/// and trying it does nothing.
///
/// Not to be used in signal handlers.
#[derive(Clone)]
pub struct InterruptHandle {
    state: Arc<InterruptState>,
}

impl InterruptHandle {
    /// Ends what the store is doing, soon: WebAssembly code of any tier, and host functions that wait in system calls or ask with
    /// [`Caller::check_interrupt`]. The outermost call ends with a [`Trap`] whose code is [`TrapCode::Interrupt`], unless it
    /// comes to its end before. Calls into the store that begin later fail the same way.
    ///
    /// While a host function has called into another store, that one is left alone; the interruption waits for its return.
    pub fn interrupt(&self) {
        interrupt(&self.state);
    }

    /// Whether the store was interrupted.
    pub fn is_interrupted(&self) -> bool {
        self.state.is_interrupted()
    }

    /// Interrupts the store after a time, unless the result is dropped before.
    #[must_use = "dropping it disarms it"]
    pub fn interrupt_after(&self, time: Duration) -> Timeout {
        // It runs since the handle was made, but not in the child of a fork. Where it cannot, nothing ends in time.
        let _ = watchdog().start();
        let mut queue = watchdog().lock();
        let id = queue.next_id;
        queue.next_id += 1;
        // A time that no clock reaches never comes.
        if let Some(at) = Instant::now().checked_add(time) {
            queue.timers.push(Timer { at, id, state: self.state.clone() });
            watchdog().changed.notify_one();
        }
        Timeout { id }
    }
}

impl std::fmt::Debug for InterruptHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InterruptHandle").field("interrupted", &self.is_interrupted()).finish_non_exhaustive()
    }
}

/// An armed time-out. Dropping it disarms it; `std::mem::forget` leaves it armed.
#[derive(Debug)]
pub struct Timeout {
    id: u64,
}

impl Drop for Timeout {
    fn drop(&mut self) {
        watchdog().lock().timers.retain(|t| t.id != self.id);
    }
}

impl<T: 'static> Store<T> {
    /// A handle with which other threads interrupt what runs in this store. The first one of the process installs the handler of
    /// [`Config::interrupt_signal`](crate::Config::interrupt_signal) and starts the watchdog.
    ///
    /// # Errors
    /// If the system refuses one of them.
    pub fn interrupt_handle(&self) -> Result<InterruptHandle> {
        self.as_context().interrupt_handle()
    }

    /// Whether the store was interrupted. Its instances cannot be called any more then; what its memories, globals and tables
    /// hold can be looked at.
    pub fn is_interrupted(&self) -> bool {
        self.as_context().is_interrupted()
    }
}

impl<T: 'static> StoreContext<'_, T> {
    /// See [`Store::interrupt_handle`].
    ///
    /// # Errors
    /// As there.
    pub fn interrupt_handle(&self) -> Result<InterruptHandle> {
        signals::prepare_interrupts()?;
        watchdog().start()?;
        Ok(InterruptHandle { state: self.opaque().vm.interrupt.clone() })
    }

    /// See [`Store::is_interrupted`].
    pub fn is_interrupted(&self) -> bool {
        self.opaque().vm.interrupt.is_interrupted()
    }
}

impl<T: 'static> StoreContextMut<'_, T> {
    /// See [`Store::is_interrupted`].
    pub fn is_interrupted(&self) -> bool {
        self.opaque().vm.interrupt.is_interrupted()
    }
}

impl<T: 'static> Caller<'_, T> {
    /// For host functions that work for long or wait: an error to return if the store was interrupted meanwhile. A system call
    /// that waits ends with `EINTR` then, and is repeated if this is `Ok`.
    ///
    /// # Errors
    /// A [`Trap`] with the code [`TrapCode::Interrupt`] if the store was interrupted.
    #[inline]
    pub fn check_interrupt(&self) -> Result<()> {
        if self.as_context().is_interrupted() { Err(interrupted(self.as_context().opaque())) } else { Ok(()) }
    }
}

/// The trap of a host function that was interrupted, with the WebAssembly frames that called it.
#[cold]
fn interrupted(store: &StoreOpaque) -> crate::Error {
    Trap::new(TrapCode::Interrupt, vm::backtrace(store, None)).into()
}

/// Interrupts a store and sees to it that the thread in it notices.
pub(crate) fn interrupt(state: &Arc<InterruptState>) {
    if state.interrupt() {
        state.signal();
        // See `interrupt_after`.
        let _ = watchdog().start();
        let mut queue = watchdog().lock();
        queue.pursued.push(Pursuit::new(state.clone(), Instant::now()));
        watchdog().changed.notify_one();
    }
}

/// The thread that keeps the time, and what it has to do.
struct Watchdog {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    started: bool,
    next_id: u64,
    timers: Vec<Timer>,
    pursued: Vec<Pursuit>,
}

struct Timer {
    at: Instant,
    id: u64,
    state: Arc<InterruptState>,
}

/// An interrupted store whose thread has not left yet.
struct Pursuit {
    state: Arc<InterruptState>,
    again: Instant,
    signals: u32,
    empty: u32,
}

impl Pursuit {
    fn new(state: Arc<InterruptState>, now: Instant) -> Self {
        Self { state, again: now + AGAIN, signals: 0, empty: 0 }
    }

    /// Sends the signal if it is time to; says whether to go on.
    fn step(&mut self, now: Instant) -> bool {
        if now < self.again {
            return true;
        }
        if self.state.is_running() {
            self.empty = 0;
            self.signals += 1;
            self.state.signal();
        } else {
            self.empty += 1;
        }
        self.again = now + if self.signals < PATIENT { AGAIN } else { AGAIN_LATER };
        self.empty < EMPTY
    }
}

fn watchdog() -> &'static Watchdog {
    static WATCHDOG: Watchdog = Watchdog {
        queue: Mutex::new(Queue { started: false, next_id: 0, timers: Vec::new(), pursued: Vec::new() }),
        changed: Condvar::new(),
    };
    &WATCHDOG
}

/// The watchdog, stopped between two steps.
pub(crate) struct Stopped(MutexGuard<'static, Queue>);

/// Stops the watchdog for a fork.
pub(crate) fn stop() -> Stopped {
    Stopped(watchdog().lock())
}

impl Stopped {
    /// In the child of a fork, where its thread is not: it is started again when something waits for it.
    pub(crate) fn forked(&mut self) {
        self.0.started = false;
        self.0.pursued.clear();
    }
}

impl Watchdog {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics under the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the thread, once.
    fn start(&'static self) -> Result<()> {
        let mut queue = self.lock();
        if !queue.started {
            signals::without_signals(|| {
                std::thread::Builder::new().name("wasmc-watchdog".to_owned()).stack_size(64 << 10).spawn(move || self.run())
            })
            .context("cannot start the thread that interrupts")?;
            queue.started = true;
        }
        Ok(())
    }

    fn run(&self) {
        let mut queue = self.lock();
        loop {
            let now = Instant::now();
            let mut due = Vec::new();
            queue.timers.retain(|t| {
                let wait = t.at > now;
                if !wait {
                    due.push(t.state.clone());
                }
                wait
            });
            for state in due {
                if state.interrupt() {
                    state.signal();
                    queue.pursued.push(Pursuit::new(state, now));
                }
            }
            queue.pursued.retain_mut(|p| p.step(now));
            let next = queue.timers.iter().map(|t| t.at).chain(queue.pursued.iter().map(|p| p.again)).min();
            queue = match next {
                None => self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let left = at.saturating_duration_since(Instant::now());
                    self.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}
