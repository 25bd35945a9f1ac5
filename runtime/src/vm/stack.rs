//! The stack that a store runs wasm code on. From low to high addresses: a guard, a small stack for `raise`, a second
//! guard, the host's reserve, the wasm part, a page of guard. Address space is reserved at once, pages come when they are touched, and
//! stacks of dropped stores are kept for the next one, since most stores have the same size and live briefly.

use super::mmap::page_size;
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap_anonymous, mprotect, munmap};
use std::ops::Range;
use std::ptr::{null_mut, with_exposed_provenance_mut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use wasmc_environ::limits::{HOST_STACK_RESERVE, STACK_GUARD};

/// Size of the stack on which `raise` runs: wasm code may have used up its own to the last byte when it must trap.
const RAISE_STACK: usize = 64 << 10;
/// Kept free at the top of that stack: `wasmc_lazy_exit` makes a frame there.
pub(crate) const RAISE_FRAME: usize = 64;
/// How many stacks are kept for later stores.
const MAX_IDLE: usize = 16;
/// How much of a kept stack stays resident, from its top: what the next store touches anyway.
const KEEP_RESIDENT: usize = 64 << 10;

static IDLE: Mutex<Vec<Stack>> = Mutex::new(Vec::new());

/// The stacks that are kept. Nothing panics under the lock. A fork holds it, too.
pub(super) fn idle() -> MutexGuard<'static, Vec<Stack>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A store's stack.
#[derive(Debug)]
pub(crate) struct Stack {
    base: usize,
    size: usize,
}

impl Stack {
    /// A stack with `wasm_size` bytes for wasm code, rounded up to whole pages.
    pub(crate) fn new(wasm_size: u64) -> std::io::Result<Self> {
        let page = page_size() as u64;
        let too_large = || std::io::Error::from(std::io::ErrorKind::OutOfMemory);
        let usable = wasm_size.checked_add(HOST_STACK_RESERVE).and_then(|n| n.checked_next_multiple_of(page)).ok_or_else(too_large)?;
        let around = 2 * STACK_GUARD + RAISE_STACK as u64 + page;
        let size = usable.checked_add(around).and_then(|n| usize::try_from(n).ok()).ok_or_else(too_large)?;
        let mut list = idle();
        if let Some(i) = list.iter().position(|s| s.size == size) {
            return Ok(list.swap_remove(i));
        }
        drop(list);
        // SAFETY: a new private mapping, placed by the kernel.
        let base = unsafe { mmap_anonymous(null_mut(), size, ProtFlags::empty(), MapFlags::PRIVATE | MapFlags::NORESERVE)? };
        let stack = Self { base: base.expose_provenance(), size };
        for range in [stack.raise_range(), stack.usable()] {
            // SAFETY: the range lies in the mapping just made, which nobody else knows.
            unsafe { mprotect(with_exposed_provenance_mut(range.start), range.len(), MprotectFlags::READ | MprotectFlags::WRITE)? };
        }
        Ok(stack)
    }

    fn raise_range(&self) -> Range<usize> {
        let start = self.base + STACK_GUARD as usize;
        start..start + RAISE_STACK
    }

    /// The guard that wasm code runs into when it has used everything up.
    pub(crate) fn guard(&self) -> Range<usize> {
        let start = self.raise_range().end;
        start..start + STACK_GUARD as usize
    }

    /// What can be read and written, the stack for `raise` apart.
    pub(crate) fn usable(&self) -> Range<usize> {
        self.guard().end..self.top()
    }

    /// Where the stack begins; it grows downwards from here.
    #[inline]
    pub(crate) fn top(&self) -> usize {
        self.base + self.size - page_size()
    }

    /// The least stack pointer with which wasm code may be left.
    pub(crate) fn host_limit(&self) -> usize {
        self.usable().start + HOST_STACK_RESERVE as usize
    }

    /// Where the stack for `raise` begins.
    pub(crate) fn raise_top(&self) -> usize {
        self.raise_range().end - RAISE_FRAME
    }

    /// Whether two words at an address can be read as a frame of this stack (or the one that a stub made for `raise`).
    pub(crate) fn holds_frame(&self, fp: usize) -> bool {
        fp.is_multiple_of(8) && (self.raise_top()..=self.top() - 16).contains(&fp) && !self.guard().contains(&fp)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let mut idle = idle();
        if idle.len() < MAX_IDLE {
            let usable = self.usable();
            let resident = usable.len().saturating_sub(KEEP_RESIDENT);
            // SAFETY: the range is ours, and no code runs on a stack whose store is dropped; its contents are dead.
            // Pages come back as zeros, so nothing of one store reaches another below the part that is kept.
            let freed = unsafe { madvise(with_exposed_provenance_mut(usable.start), resident, Advice::LinuxDontNeed) };
            if freed.is_ok() {
                idle.push(Self { base: self.base, size: self.size });
                return;
            }
        }
        drop(idle);
        // SAFETY: `new` made this mapping, and no code runs on the stack of a store that is dropped.
        let _ = unsafe { munmap(with_exposed_provenance_mut(self.base), self.size) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_overlap() {
        let stack = Stack::new(1 << 20).unwrap();
        assert_eq!(stack.raise_range().end, stack.guard().start);
        assert_eq!(stack.guard().end, stack.usable().start);
        assert_eq!(stack.usable().end, stack.top());
        assert!(stack.usable().len() as u64 >= (1 << 20) + HOST_STACK_RESERVE);
        assert!(stack.holds_frame(stack.top() - 16));
        assert!(!stack.holds_frame(stack.top() - 8));
        assert!(!stack.holds_frame(stack.guard().start));
        assert!(stack.holds_frame(stack.usable().start));
        // SAFETY: the last word of the wasm part and the last of the other stack can be written.
        unsafe {
            with_exposed_provenance_mut::<u64>(stack.top() - 8).write(1);
            with_exposed_provenance_mut::<u64>(stack.raise_top() - 8).write(1);
        }
    }

    #[test]
    fn an_impossible_size_is_an_error() {
        assert!(Stack::new(u64::MAX).is_err());
        assert!(Stack::new(1 << 60).is_err());
    }

    #[test]
    fn a_dropped_stack_is_used_again() {
        let size = (3 << 20) + 4096;
        let first = Stack::new(size).unwrap();
        let base = first.base;
        drop(first);
        assert_eq!(Stack::new(size).unwrap().base, base);
    }
}
