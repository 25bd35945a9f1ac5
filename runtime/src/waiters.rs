//! Who waits for which address of a shared memory (`memory.atomic.wait`), first come, first woken. Addresses are spread over
//! several locks. A thread looks at the memory and joins its queue under one lock, and a notification takes the same lock: a
//! value stored before a notification is either seen, or whoever missed it is in the queue already.

use crate::sync::{Arc, Deadline, Mutex, Parked, Parker};

/// Locks of a memory. Neighbouring words have different ones.
const SHARDS: u64 = 16;

/// How a wait ended; the numbers are the instruction's results.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum WaitResult {
    /// A notification came.
    Ok = 0,
    /// Another value than the expected one was there: no wait at all.
    Mismatch = 1,
    /// Time was up before a notification came.
    TimedOut = 2,
}

struct Waiter {
    address: u64,
    parker: Arc<Parker>,
}

/// The queues of one memory.
pub(crate) struct Waiters {
    /// By `shard`; each in the order of arrival.
    shards: [Mutex<Vec<Waiter>>; SHARDS as usize],
}

impl Waiters {
    /// Nobody waits.
    pub(crate) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::new(Vec::new())) }
    }

    fn shard(&self, address: u64) -> &Mutex<Vec<Waiter>> {
        &self.shards[(address / 4 % SHARDS) as usize]
    }

    /// Waits at an address if `unchanged` says, at the moment from which on notifications count, that there is a reason to.
    /// `None` if `interrupted` said, when a signal ended the thread's sleep, that it shall not go on; and no notification came.
    pub(crate) fn wait(
        &self,
        address: u64,
        unchanged: impl FnOnce() -> bool,
        deadline: Deadline,
        interrupted: &dyn Fn() -> bool,
    ) -> Option<WaitResult> {
        let parker = Arc::new(Parker::new());
        let shard = self.shard(address);
        let joined = shard.with(|queue| {
            let join = unchanged();
            if join {
                queue.push(Waiter { address, parker: parker.clone() });
            }
            join
        });
        if !joined {
            return Some(WaitResult::Mismatch);
        }
        let given_up = match parker.park(deadline, interrupted) {
            Parked::Woken => return Some(WaitResult::Ok),
            Parked::TimedOut => Some(WaitResult::TimedOut),
            Parked::Interrupted => None,
        };
        // No more waiting, but a notification may have counted this thread since.
        shard.with(|queue| match queue.iter().position(|w| Arc::ptr_eq(&w.parker, &parker)) {
            Some(i) => {
                queue.remove(i);
                given_up
            }
            None => Some(WaitResult::Ok),
        })
    }

    /// Wakes at most `count` of those who wait at an address, those first who came first; returns how many.
    pub(crate) fn notify(&self, address: u64, count: u32) -> u32 {
        let mut woken = Vec::new();
        self.shard(address).with(|queue| {
            queue.retain(|w| {
                let wake = w.address == address && woken.len() < count as usize;
                if wake {
                    woken.push(w.parker.clone());
                }
                !wake
            });
        });
        // After the lock: they need not queue for it at once.
        for parker in &woken {
            parker.unpark();
        }
        // There are fewer threads than that.
        woken.len() as u32
    }
}
