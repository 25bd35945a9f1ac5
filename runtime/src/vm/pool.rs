//! Memories that are not used any more, kept for the next instances of their engine. A slot that is kept is *clean*: it reads as one that
//! was just made, the initial part is accessible and nothing behind it, and what is in front (the `VMContext`) is zero. It is cleaned before it
//! is put here, and who takes it finds nothing to do: no system call, and no page fault for pages that its predecessor touched.
//!
//! Slots fit each other by their shape: a slot with an image serves instances of its module alone, one without any that asks for as much.

use super::dirty::{self, Dirty};
use super::fork::Gated;
use super::image::{Contents, Image};
use super::mmap::{Mmap, page_size};
use crate::reuse::Reuse;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What stays resident of one memory, at most.
const KEEP_RESIDENT: usize = 1 << 20;
/// Where the address space is limited, idle reservations take no more than this part of it.
const PART_OF_ADDRESS_SPACE: u64 = 8;

/// What slots have in common that can be used for one another.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// The image, if there is one.
    pub(super) image: Option<NonZeroU64>,
    /// Accessible bytes in front of the memory; whole pages.
    pub(super) front: usize,
    /// Accessible bytes of the memory; whole pages.
    pub(super) accessible: usize,
    /// Bytes that the memory can grow to.
    pub(super) capacity: usize,
    /// Whether every address that code can form is reserved.
    pub(super) is_static: bool,
}

/// Address space with a memory in it.
pub(super) struct Slot {
    pub(super) map: Mmap,
    /// Offset of the memory's first byte in `map`.
    pub(super) base: usize,
}

struct Idle {
    shape: Shape,
    slot: Slot,
    resident: usize,
}

/// The slots that are kept, the one that was used last at the end.
#[derive(Default)]
struct State {
    idle: Vec<Idle>,
    resident: usize,
    reserved: u64,
}

/// The memories that an engine keeps.
pub(crate) struct Pool {
    limits: Reuse,
    /// Bytes of address space that may be kept.
    max_reserved: u64,
    state: Mutex<State>,
    /// Whether the kernel is asked which pages were written to: tests do without, as old kernels have to.
    ask: bool,
}

impl Pool {
    pub(crate) fn new(limits: Reuse) -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::As).current;
        Self { limits, max_reserved: limit.map_or(u64::MAX, |l| l / PART_OF_ADDRESS_SPACE), state: Mutex::default(), ask: true }
    }

    /// Whether anything is kept.
    pub(crate) fn is_on(&self) -> bool {
        self.limits.memories > 0
    }

    fn state(&self) -> Gated<MutexGuard<'_, State>> {
        Gated::new(|| self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A clean slot of this shape.
    pub(super) fn take(&self, shape: &Shape) -> Option<Slot> {
        let mut state = self.state();
        let at = state.idle.iter().rposition(|i| i.shape == *shape)?;
        Some(state.remove(at).slot)
    }

    /// Takes a slot back that was used: `front` bytes in front of the memory may be other than zero, and `accessible` bytes of it are
    /// accessible by now.
    fn give_back(&self, shape: Shape, front: usize, image: Option<&Image>, slot: Slot, accessible: usize) {
        if !self.has_room(&shape, slot.map.range().len() as u64) {
            return;
        }
        let cleaning = Cleaning { shape: &shape, front, image, slot: &slot, accessible, ask: self.ask };
        let Some(resident) = cleaning.clean() else { return };
        cleaning.check();
        if resident > self.limits.resident {
            return;
        }
        let reserved = slot.map.range().len() as u64;
        // Dropped after the lock was given back.
        let mut gone = Vec::new();
        let mut state = self.state();
        if image.is_some_and(|i| !i.is_used()) {
            return;
        }
        while !state.idle.is_empty()
            && (state.idle.len() >= self.limits.memories
                || state.resident + resident > self.limits.resident
                || state.reserved.saturating_add(reserved) > self.max_reserved)
        {
            gone.push(state.remove(0));
        }
        if reserved <= self.max_reserved {
            state.resident += resident;
            state.reserved += reserved;
            state.idle.push(Idle { shape, slot, resident });
        }
    }

    /// Whether a slot would be kept. One of a kind of which there is plenty would only take the place of another: cleaning it is in vain.
    fn has_room(&self, shape: &Shape, reserved: u64) -> bool {
        if !self.is_on() || reserved > self.max_reserved {
            return false;
        }
        let state = self.state();
        let full = state.idle.len() >= self.limits.memories || state.reserved.saturating_add(reserved) > self.max_reserved;
        !full || state.idle.first().is_none_or(|oldest| oldest.shape != *shape)
    }

    /// Unmaps the slots of an image whose module is gone.
    pub(super) fn forget(&self, image: NonZeroU64) {
        let mut gone = Vec::new();
        let mut state = self.state();
        while let Some(at) = state.idle.iter().position(|i| i.shape.image == Some(image)) {
            gone.push(state.remove(at));
        }
    }

    /// Unmaps all slots, for somebody who finds no address space. Says whether there were any.
    pub(super) fn clear(&self) -> bool {
        let gone = std::mem::take(&mut *self.state());
        !gone.idle.is_empty()
    }

    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        self.state().idle.len()
    }
}

impl State {
    fn remove(&mut self, at: usize) -> Idle {
        let idle = self.idle.remove(at);
        self.resident -= idle.resident;
        self.reserved -= idle.slot.map.range().len() as u64;
        idle
    }
}

struct Cleaning<'a> {
    shape: &'a Shape,
    front: usize,
    image: Option<&'a Image>,
    slot: &'a Slot,
    accessible: usize,
    ask: bool,
}

impl Cleaning<'_> {
    /// Makes the slot as it was in the beginning; returns how many bytes of it stay resident. `None` if the kernel does not help: then it
    /// must not be used again.
    fn clean(&self) -> Option<usize> {
        let Self { shape: Shape { front, accessible: initial, .. }, slot: Slot { map, base }, .. } = self;
        let (base, initial) = (*base, *initial);
        let mut kept = 0;
        if *front > KEEP_RESIDENT {
            // SAFETY: whoever used the pages is gone.
            unsafe { map.discard(base - front..base) }.ok()?;
        } else {
            let used = self.front.min(*front);
            // SAFETY: the pages in front are accessible, and whoever used them is gone.
            unsafe { map.as_ptr().add(base - used).write_bytes(0, used) };
            kept += front;
        }
        let looked = self.restore(&mut kept)?;
        // What nobody looked at is given back: mappings of the image read as that again, all others as zero.
        if looked < self.accessible {
            // SAFETY: whoever used the memory is gone.
            unsafe { map.discard(base + looked..base + self.accessible) }.ok()?;
        }
        if self.accessible > initial {
            // Pages that stay are zero by now. Far out, the mapping is made anew, since it has asked for huge pages.
            let far = super::memory::HUGE_FROM.clamp(initial, self.accessible);
            map.close(base + initial..base + far).ok()?;
            // SAFETY: nobody uses the memory any more.
            unsafe { map.replace_with_nothing(base + far..base + self.accessible) }.ok()?;
        }
        Some(kept)
    }

    /// Writes the initial contents over pages that were written to, as many as may stay resident. Returns how far it has come.
    fn restore(&self, kept: &mut usize) -> Option<usize> {
        let Slot { map, base } = self.slot;
        let memory = map.range().start + base;
        if !self.ask {
            return Some(0);
        }
        let budget = KEEP_RESIDENT.saturating_sub(*kept) / page_size();
        let from_file = self.image.map_or(0..0, |i| i.mapped.clone());
        let looked = dirty::scan(memory..memory + self.accessible, budget, |Dirty { range, zero }| {
            let part = range.start - memory..range.end - memory;
            // In a mapping of a file, even a page of zeros may be somebody's.
            if zero && (part.start >= from_file.end || part.end <= from_file.start) {
                return Some(());
            }
            *kept += part.len();
            self.write(part);
            Some(())
        });
        // Where the kernel does not tell, everything is given back.
        Some(looked.map_or(0, |address| address - memory))
    }

    /// Writes the initial contents over pages of the memory.
    fn write(&self, mut part: Range<usize>) {
        let memory = self.slot.map.as_ptr().wrapping_add(self.slot.base);
        while !part.is_empty() {
            let contents = self.image.map_or(Contents::Zeros(part.end), |i| i.contents(&part));
            // SAFETY: the part lies in the accessible part of the memory, whoever used it is gone, and the contents are at most as long.
            unsafe {
                let at = memory.add(part.start);
                match contents {
                    Contents::Zeros(end) => {
                        at.write_bytes(0, end - part.start);
                        part.start = end;
                    }
                    Contents::Bytes(bytes) => {
                        at.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
                        part.start += bytes.len();
                    }
                }
            }
        }
    }

    /// In development builds: whether it is clean, as far as that does not take too long.
    fn check(&self) {
        const MOST: usize = 1 << 20;
        if !cfg!(debug_assertions) {
            return;
        }
        let Self { shape: Shape { front, accessible, .. }, slot: Slot { map, base }, .. } = self;
        // SAFETY: that much is accessible, and nobody uses it.
        let bytes = unsafe { std::slice::from_raw_parts(map.as_ptr().add(base - front), front + accessible.min(&MOST)) };
        let (front, memory) = bytes.split_at(*front);
        assert!(front.iter().all(|b| *b == 0), "a slot that is kept has something in front of its memory");
        let mut part = 0..memory.len();
        while !part.is_empty() {
            let (clean, end) = match self.image.map_or(Contents::Zeros(part.end), |i| i.contents(&part)) {
                Contents::Zeros(end) => (memory[part.start..end].iter().all(|b| *b == 0), end),
                Contents::Bytes(bytes) => (memory[part.start..].starts_with(bytes), part.start + bytes.len()),
            };
            assert!(clean, "a slot that is kept is not clean between {:#x} and {end:#x}", part.start);
            part.start = end;
        }
    }
}

/// Where a memory goes when it is not used any more.
pub(super) struct Home {
    pub(super) pool: Arc<Pool>,
    pub(super) shape: Shape,
    pub(super) image: Option<Arc<Image>>,
    /// Bytes in front of the memory that were used.
    pub(super) front: usize,
}

impl Home {
    /// Gives the memory back, `accessible` bytes of which are accessible by now.
    pub(super) fn give_back(self, slot: Slot, accessible: usize) {
        self.pool.give_back(self.shape, self.front, self.image.as_deref(), slot, accessible);
    }
}

#[cfg(test)]
mod tests;
