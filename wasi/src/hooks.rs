//! Where an embedder puts its own clocks and random numbers, for reproducible runs and for tests.
//!
//! A context without hooks calls the kernel directly; the hook is looked at first and costs one predictable branch. Hooks are
//! shared by all threads of a program.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::errno::Errno;
use crate::types::ClockId;

/// Clocks of the embedder's own.
pub trait WasiClocks: Send + Sync {
    /// The time of `clock` in nanoseconds.
    ///
    /// # Errors
    ///
    /// Whatever the program should see, `INVAL` for a clock that does not exist.
    fn now(&self, clock: ClockId) -> Result<u64, Errno>;

    /// The resolution of `clock` in nanoseconds.
    ///
    /// # Errors
    ///
    /// As for [`now`](Self::now).
    fn resolution(&self, clock: ClockId) -> Result<u64, Errno>;

    /// Waits for `duration`, when a program waits for nothing but the time. A virtual clock moves its hands instead.
    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }

    /// Is told that a program has waited for `duration`, for the time and for descriptors at once. A virtual clock moves its
    /// hands.
    fn waited(&self, _duration: Duration) {}
}

/// Random numbers of the embedder's own.
pub trait WasiRandom: Send + Sync {
    /// Fills `buffer`.
    fn fill(&self, buffer: &mut [u8]);
}

/// A clock that nothing but the program moves: by a microsecond at each look, so that a program that waits for time to pass
/// sees it pass, and by each wait.
#[derive(Debug)]
pub struct VirtualClock {
    start: u64,
    /// Nanoseconds since then.
    passed: AtomicU64,
}

impl VirtualClock {
    /// What the clock shows at first by default: 1 January 2000, 0:00 UTC, in nanoseconds since 1970.
    pub const START: u64 = 946_684_800_000_000_000;
    const STEP: u64 = 1_000;

    /// A clock that shows `start` at first, in nanoseconds since 1970.
    pub const fn new(start: u64) -> Self {
        Self { start, passed: AtomicU64::new(0) }
    }

    /// Moves the clock; says where it stood.
    fn pass(&self, nanoseconds: u64) -> u64 {
        let moved = |passed: u64| Some(passed.saturating_add(nanoseconds));
        // The closure never declines.
        self.passed.fetch_update(Relaxed, Relaxed, moved).unwrap_or_else(|passed| passed)
    }
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new(Self::START)
    }
}

impl WasiClocks for VirtualClock {
    fn now(&self, clock: ClockId) -> Result<u64, Errno> {
        let passed = self.pass(Self::STEP);
        // All but the wall clock count from the start.
        Ok(if clock == ClockId::Realtime { self.start.saturating_add(passed) } else { passed })
    }

    fn resolution(&self, _: ClockId) -> Result<u64, Errno> {
        Ok(Self::STEP)
    }

    fn sleep(&self, duration: Duration) {
        self.pass(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    fn waited(&self, duration: Duration) {
        self.sleep(duration);
    }
}

/// Numbers that a seed determines. They look random and are no secret.
#[derive(Debug)]
pub struct SeededRandom(AtomicU64);

impl SeededRandom {
    /// The numbers of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl WasiRandom for SeededRandom {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            // Splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
            let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}
