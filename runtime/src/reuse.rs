//! What an engine keeps of memories that are not used any more: how many, and how much of each. Making a memory takes several system
//! calls and a page fault for every page that is touched; one that was kept is cleaned instead (`vm/pool.rs`).

/// Bounds on the memories that an engine keeps for its next instances ([`Config::reuse`](crate::Config::reuse)).
///
/// A memory that is kept holds no byte of whoever had it: it was cleaned before, and its pages are either as they were initially or given back.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Reuse {
    pub(crate) memories: usize,
    pub(crate) resident: usize,
}

impl Reuse {
    /// Nothing is kept: every memory is made anew, and unmapped when its store is dropped.
    pub fn none() -> Self {
        Self { memories: 0, resident: 0 }
    }

    /// The most memories that are kept at a time, 256 by default. Each reserves 8 GiB of address space, takes up to four mappings of
    /// the process, and may belong to any module of the engine; those that were used least recently go first.
    #[must_use]
    pub fn memories(mut self, count: usize) -> Self {
        self.memories = count;
        self
    }

    /// The most bytes that may stay resident in all memories that are kept, 64 MiB by default. Of one memory no more than 1 MiB
    /// stays. The more stays, the fewer page faults the next instances have.
    #[must_use]
    pub fn resident_bytes(mut self, bytes: usize) -> Self {
        self.resident = bytes;
        self
    }
}

impl Default for Reuse {
    fn default() -> Self {
        Self { memories: 256, resident: 64 << 20 }
    }
}
