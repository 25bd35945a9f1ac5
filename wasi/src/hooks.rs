//! Where an embedder puts its own clocks and random numbers, for reproducible runs and for tests.
//!
//! A context without hooks calls the kernel directly; the hook is looked at first and costs one predictable branch.

use std::time::Duration;

use crate::errno::Errno;
use crate::types::ClockId;

/// Clocks of the embedder's own.
pub trait WasiClocks: Send {
    /// The time of `clock` in nanoseconds.
    ///
    /// # Errors
    ///
    /// Whatever the program should see, `INVAL` for a clock that does not exist.
    fn now(&mut self, clock: ClockId) -> Result<u64, Errno>;

    /// The resolution of `clock` in nanoseconds.
    ///
    /// # Errors
    ///
    /// As for [`now`](Self::now).
    fn resolution(&mut self, clock: ClockId) -> Result<u64, Errno>;

    /// Waits for `duration`, when a program waits for nothing but the time. A virtual clock moves its hands instead.
    fn sleep(&mut self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// Random numbers of the embedder's own.
pub trait WasiRandom: Send {
    /// Fills `buffer`.
    fn fill(&mut self, buffer: &mut [u8]);
}
