//! The queues of waiting threads, under a model checker: `runtime/src/waiters.rs` is compiled here a second time, with loom's
//! locks and threads in the place of `runtime/src/sync.rs`, and every order in which the threads can run is tried.

#[path = "../../runtime/src/waiters.rs"]
#[allow(dead_code, reason = "the tests use what they need")]
mod waiters;

/// What `runtime/src/sync.rs` offers, for the model.
mod sync {
    use loom::sync::Condvar;
    use loom::sync::atomic::{AtomicBool, Ordering};

    pub(crate) use loom::sync::Arc;

    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
            f(&mut self.0.lock().unwrap())
        }
    }

    #[derive(Copy, Clone, Debug, PartialEq, Eq)]
    pub(crate) enum Parked {
        Woken,
        TimedOut,
        Interrupted,
    }

    /// Never, or when somebody sets it: time passes when a thread of the model says so.
    #[derive(Clone)]
    pub(crate) struct Deadline(pub Option<Arc<AtomicBool>>);

    impl Deadline {
        fn passed(&self) -> bool {
            self.0.as_ref().is_some_and(|rung| rung.load(Ordering::SeqCst))
        }
    }

    pub(crate) struct Parker {
        awake: loom::sync::Mutex<bool>,
        changed: Condvar,
    }

    impl Parker {
        pub(crate) fn new() -> Self {
            Self { awake: loom::sync::Mutex::new(false), changed: Condvar::new() }
        }

        pub(crate) fn park(&self, deadline: Deadline, interrupted: &dyn Fn() -> bool) -> Parked {
            let mut awake = self.awake.lock().unwrap();
            while !*awake {
                if interrupted() {
                    return Parked::Interrupted;
                }
                if deadline.passed() {
                    return Parked::TimedOut;
                }
                if deadline.0.is_none() {
                    awake = self.changed.wait(awake).unwrap();
                } else {
                    drop(awake);
                    loom::thread::yield_now();
                    awake = self.awake.lock().unwrap();
                }
            }
            Parked::Woken
        }

        pub(crate) fn unpark(&self) {
            *self.awake.lock().unwrap() = true;
            self.changed.notify_one();
        }
    }
}

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use loom::thread;
use sync::Deadline;
use waiters::{WaitResult, Waiters};

const NEVER: Deadline = Deadline(None);

/// A word of memory and its queues.
struct Memory {
    word: AtomicU32,
    waiters: Waiters,
}

impl Memory {
    fn new() -> Arc<Self> {
        Arc::new(Self { word: AtomicU32::new(0), waiters: Waiters::new() })
    }

    fn wait(&self, address: u64, deadline: Deadline) -> WaitResult {
        self.wait_or(address, deadline, &|| false).expect("nobody interrupts")
    }

    fn wait_or(&self, address: u64, deadline: Deadline, interrupted: &dyn Fn() -> bool) -> Option<WaitResult> {
        self.waiters.wait(address, || self.word.load(Ordering::SeqCst) == 0, deadline, interrupted)
    }
}

/// Tries the orders in which no thread is interrupted more often than this at a point where it could have gone on: faults of
/// queues show with two, and without a bound the larger models take hours.
const PREEMPTIONS: usize = 3;

fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(f);
}

#[test]
fn a_notification_after_a_store_is_never_lost() {
    model(|| {
        let memory = Memory::new();
        let waiting = memory.clone();
        // Without a deadline: if the notification were lost, the model would find that nobody can run.
        let waiter = thread::spawn(move || waiting.wait(8, NEVER));
        memory.word.store(1, Ordering::SeqCst);
        let woken = memory.waiters.notify(8, 1);
        let result = waiter.join().unwrap();
        assert_eq!(result, if woken == 1 { WaitResult::Ok } else { WaitResult::Mismatch });
    });
}

#[test]
fn as_many_wake_as_are_counted() {
    model(|| {
        let memory = Memory::new();
        let wait = |address| {
            let memory = memory.clone();
            thread::spawn(move || memory.wait(address, NEVER))
        };
        // The second address has the same lock, and nobody notifies it before the value has changed.
        let waiters = [wait(8), wait(8 + 64)];
        let first = memory.waiters.notify(8, 5);
        memory.word.store(1, Ordering::SeqCst);
        let others = memory.waiters.notify(8, 5) + memory.waiters.notify(8 + 64, 1);
        let results = waiters.map(|w| w.join().unwrap());
        let woken = results.iter().filter(|r| **r == WaitResult::Ok).count() as u32;
        assert_eq!(woken, first + others);
        assert!(!results.contains(&WaitResult::TimedOut));
    });
}

#[test]
fn a_wait_ends_by_time_or_by_notification_not_both() {
    model(|| {
        let memory = Memory::new();
        let rung = Arc::new(AtomicBool::new(false));
        let (waiting, deadline) = (memory.clone(), Deadline(Some(rung.clone())));
        let waiter = thread::spawn(move || waiting.wait(8, deadline));
        let notifying = memory.clone();
        let notifier = thread::spawn(move || notifying.waiters.notify(8, 1));
        rung.store(true, Ordering::SeqCst);
        let (result, woken) = (waiter.join().unwrap(), notifier.join().unwrap());
        assert_eq!(result, if woken == 1 { WaitResult::Ok } else { WaitResult::TimedOut });
        // Nobody is left in the queue.
        assert_eq!(memory.waiters.notify(8, u32::MAX), 0);
    });
}

#[test]
fn a_wait_ends_by_interruption_or_by_notification_not_both() {
    model(|| {
        let memory = Memory::new();
        let flag = Arc::new(AtomicBool::new(false));
        // A deadline that never comes makes the model look at the flag again and again, as signals do.
        let deadline = Deadline(Some(Arc::new(AtomicBool::new(false))));
        let (waiting, interrupted) = (memory.clone(), flag.clone());
        let waiter = thread::spawn(move || waiting.wait_or(8, deadline, &|| interrupted.load(Ordering::SeqCst)));
        let notifying = memory.clone();
        let notifier = thread::spawn(move || notifying.waiters.notify(8, 1));
        flag.store(true, Ordering::SeqCst);
        let (result, woken) = (waiter.join().unwrap(), notifier.join().unwrap());
        assert_eq!(result, (woken == 1).then_some(WaitResult::Ok));
        // Nobody is left in the queue.
        assert_eq!(memory.waiters.notify(8, u32::MAX), 0);
    });
}

#[test]
fn two_notifications_wake_two_threads() {
    model(|| {
        let memory = Memory::new();
        let wait = || {
            let memory = memory.clone();
            thread::spawn(move || memory.wait(8, NEVER))
        };
        let waiters = [wait(), wait()];
        memory.word.store(1, Ordering::SeqCst);
        let other = memory.clone();
        let notifier = thread::spawn(move || other.waiters.notify(8, 1));
        let woken = memory.waiters.notify(8, 1) + notifier.join().unwrap();
        let ok = waiters.into_iter().map(|w| w.join().unwrap()).filter(|r| *r == WaitResult::Ok).count();
        assert_eq!(ok as u32, woken);
    });
}
