//! Copies and fills that compiled code leaves to a routine of the host's, after it has checked that all bytes are memory. If one of them
//! faults all the same, since a page of an artifact's file behind the memory is gone, or since the checks of a foreign artifact are not what the
//! compiler makes, that is a trap like any other: nothing but the copy is under way, so the activation can be left.

use core::sync::atomic::{AtomicI64, AtomicUsize, Ordering, compiler_fence};

/// The copy or fill that a store's thread is in the middle of. Written by that thread and read by its signal handlers.
#[derive(Default)]
pub(crate) struct BytesInProgress {
    /// The frame of the stub that called, or 0.
    fp: AtomicUsize,
    /// The pinned register of the code that called.
    fuel: AtomicI64,
}

impl BytesInProgress {
    /// Does what can fault. It must be leaf code of the host: nothing in it is cleaned up if it does.
    #[inline]
    pub(super) fn during(&self, fp: usize, fuel: i64, work: impl FnOnce()) {
        self.fuel.store(fuel, Ordering::Relaxed);
        self.fp.store(fp, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        work();
        compiler_fence(Ordering::SeqCst);
        self.fp.store(0, Ordering::Relaxed);
    }

    /// What was under way is over: where it was called from, and the pinned register there. Async-signal-safe.
    pub(super) fn abandon(&self) -> Option<(usize, i64)> {
        let fp = self.fp.swap(0, Ordering::Relaxed);
        (fp != 0).then(|| (fp, self.fuel.load(Ordering::Relaxed)))
    }

    /// Whether something is under way. Async-signal-safe.
    pub(super) fn is_under_way(&self) -> bool {
        self.fp.load(Ordering::Relaxed) != 0
    }
}
