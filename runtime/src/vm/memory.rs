//! The storage of a linear memory. A static memory (memory32 with pages of 64 KiB) reserves so much address space that
//! every address that code can form lies in the reservation, so that code needs no checks; a dynamic one reserves less,
//! and code compares addresses with the current length. In both the base never moves: growth changes protections.
//!
//! Address space, low to high: guard | the instance's `VMContext`, if code reaches it and the memory by one address | accessible part (an image, if any, then zero pages) | the rest of
//! the reservation | guard. Neighbouring reservations share the inaccessible mappings. The accessible part is one mapping if it has no image, or that of all
//! instances; two or three if much of it has no data, or if it has the image of an artifact.
//!
//! Where the engine keeps memories (`pool.rs`), one of the same shape that was cleaned is taken first, and with it nothing is left to do.

use crate::vm::image::Image;
use crate::vm::mmap::{Mmap, page_size, round_to_pages};
use crate::vm::pool::{Home, Pool, Shape, Slot};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use wasmc_environ::limits::{MEMORY_GUARD, STATIC_MEMORY_RESERVATION};
use wasmc_environ::types::MemoryType;
use wasmc_environ::vmlayout::VMMemoryDefinition;

/// How the code generator is told not to rely on large reservations.
const EXPLICIT_CHECKS_OPTION: &str = "--explicit-bounds";
/// Bases are aligned for the huge pages of common hosts, so that a large memory can be backed by them.
const BASE_ALIGNMENT: usize = 2 << 20;
/// From here on a memory that grows is backed by huge pages: programs that have grown so large use what they have.
pub(super) const HUGE_FROM: usize = 8 << 20;
/// A memory that begins this large is too, from `HUGE_FROM` on. Below, it may just have a generous stack at its end, of which a huge
/// page is cleared for a few bytes.
const HUGE_INITIALLY: usize = 32 << 20;
/// Growth by at most this much is taken for an allocator that will use it soon.
const SMALL_GROWTH: usize = 256 << 10;
/// What a dynamic memory reserves to grow into, if its type allows that much and the address space is not limited.
const DYNAMIC_RESERVATION_32: u64 = 4 << 30;
/// The same for 64-bit memories.
const DYNAMIC_RESERVATION_64: u64 = 16 << 30;

/// How memories are made.
#[derive(Copy, Clone)]
pub(crate) struct MemoryConfig<'a> {
    /// Whether memories of the usual type are static, as `Tunables::static_memory` asks.
    pub static_memory: bool,
    /// No memory grows above this size in bytes.
    pub max_bytes: u64,
    /// Where memories come from that were used before, and go to.
    pub pool: Option<&'a Arc<Pool>>,
}

impl Default for MemoryConfig<'_> {
    fn default() -> Self {
        Self { static_memory: true, max_bytes: u64::MAX, pool: None }
    }
}

/// What a memory holds in the beginning, where it is not zero.
#[derive(Copy, Clone)]
pub(crate) enum Initial<'a> {
    /// Nothing.
    Zeros,
    /// An image that this memory alone maps or copies.
    Own(MemoryImageSource<'a>),
    /// The image of all instances of a module.
    Image(&'a Arc<Image>),
}

/// Where the initial contents of a part of a memory come from.
#[derive(Copy, Clone, Debug)]
pub(crate) struct MemoryImageSource<'a> {
    /// The bytes.
    pub bytes: ImageBytes<'a>,
    /// How many; a multiple of `SEGMENT_ALIGNMENT`.
    pub size: u64,
    /// Where they begin in the memory; a multiple of `SEGMENT_ALIGNMENT`.
    pub target: u64,
}

/// The bytes of an image.
#[derive(Copy, Clone, Debug)]
pub(crate) enum ImageBytes<'a> {
    /// A part of a file, which begins at a multiple of `SEGMENT_ALIGNMENT`: mapped copy-on-write.
    File(BorrowedFd<'a>, u64),
    /// Bytes in memory: copied.
    Memory(&'a [u8]),
}

/// Why a memory could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MemoryError {
    /// The initial size cannot be expressed or is above the limit.
    #[error("a memory with {pages} initial pages of {page_size} bytes exceeds the limit of {limit} bytes for a memory")]
    TooLarge {
        /// The initial size.
        pages: u64,
        /// Bytes of a page.
        page_size: u64,
        /// The limit.
        limit: u64,
    },
    /// No room for a static memory.
    #[error(
        "cannot reserve {bytes} bytes of address space for a memory: {source}; raise the limit of the address space \
         (`ulimit -v`), or compile with `{EXPLICIT_CHECKS_OPTION}`, which needs only what the memory uses"
    )]
    ReserveStatic {
        /// Size of the reservation.
        bytes: u64,
        /// What the kernel said.
        source: rustix::io::Errno,
    },
    /// No room for the initial size of a dynamic memory.
    #[error("cannot reserve {bytes} bytes of address space for a memory: {source}; raise the limit of the address space (`ulimit -v`)")]
    Reserve {
        /// Size of the reservation.
        bytes: u64,
        /// What the kernel said.
        source: rustix::io::Errno,
    },
    /// The initial pages could not be made accessible.
    #[error("cannot allocate the initial {bytes} bytes of a memory: {source}")]
    Allocate {
        /// The initial size.
        bytes: u64,
        /// What the kernel said.
        source: rustix::io::Errno,
    },
    /// The image does not fit.
    #[error("cannot map the initial image of a memory: {source}")]
    Image {
        /// What the kernel said.
        source: rustix::io::Errno,
    },
}

/// Address space of a static memory with room in front of the memory's first byte, accessible and zero.
pub(crate) struct Reservation {
    slot: Slot,
    /// If the memory is there already, as its type asks for it.
    home: Option<Home>,
}

impl Reservation {
    /// Reserves the address space for a memory of this type, with `front` bytes in front of it.
    pub(crate) fn new(front: usize, ty: &MemoryType, config: &MemoryConfig<'_>, initial: Initial<'_>) -> Result<Self, MemoryError> {
        let allocate = |source| MemoryError::Allocate { bytes: front as u64, source };
        let pages = round_to_pages(front as u64).ok_or(allocate(rustix::io::Errno::NOMEM))?;
        if let Some((slot, home)) = prepared(front, ty, config, initial)? {
            return Ok(Self { slot, home: Some(home) });
        }
        let (map, base) = reserve_static(pages, config.pool)?;
        if pages != 0 {
            map.make_accessible(base - pages..base).map_err(allocate)?;
        }
        Ok(Self { slot: Slot { map, base }, home: None })
    }

    /// The first byte of the memory.
    pub(crate) fn memory(&self) -> *mut u8 {
        self.slot.map.as_ptr().wrapping_add(self.slot.base)
    }
}

/// The sizes of a memory of some type.
struct Sizes {
    /// In the beginning.
    length: usize,
    /// The same, rounded up to pages of the host.
    accessible: usize,
    max_pages: u64,
    is_static: bool,
}

impl Sizes {
    fn new(ty: &MemoryType, config: &MemoryConfig<'_>) -> Result<Self, MemoryError> {
        let too_large =
            || MemoryError::TooLarge { pages: ty.limits.min, page_size: 1 << ty.page_size_log2.min(63), limit: config.max_bytes };
        let length = ty.min_bytes().filter(|b| *b <= config.max_bytes && ty.limits.min <= ty.max_pages()).ok_or_else(too_large)?;
        let length = usize::try_from(length).map_err(|_| too_large())?;
        let accessible = round_to_pages(length as u64).ok_or_else(too_large)?;
        let max_pages = ty.max_pages().min(config.max_bytes >> ty.page_size_log2);
        Ok(Self { length, accessible, max_pages, is_static: MemoryStorage::is_static_type(ty, config.static_memory) })
    }
}

/// A memory that was used before and is as it is to be, or a new one that can be kept later: where there is a pool, and no image that is this
/// memory's alone.
fn prepared(front: usize, ty: &MemoryType, config: &MemoryConfig<'_>, initial: Initial<'_>) -> Result<Option<(Slot, Home)>, MemoryError> {
    let Some(pool) = config.pool.filter(|p| p.is_on()) else { return Ok(None) };
    let image = match initial {
        Initial::Zeros => None,
        Initial::Own(_) => return Ok(None),
        Initial::Image(image) => Some(image),
    };
    // What is impossible is refused later, when it is asked for.
    let Ok(Sizes { accessible, max_pages, is_static, .. }) = Sizes::new(ty, config) else { return Ok(None) };
    let Some(front_pages) = round_to_pages(front as u64) else { return Ok(None) };
    let capacity = if is_static { STATIC_CAPACITY } else { dynamic_capacity(ty, accessible, max_pages) };
    if image.is_some_and(|i| i.mapped.end > accessible) {
        return Err(MemoryError::Image { source: rustix::io::Errno::INVAL });
    }
    let shape = Shape { image: image.map(|i| i.id()), front: front_pages, accessible, capacity, is_static };
    let home = |shape| Home { pool: pool.clone(), shape, image: image.cloned(), front };
    if let Some(slot) = pool.take(&shape) {
        return Ok(Some((slot, home(shape))));
    }
    let (map, base, capacity) = if is_static {
        let (map, base) = reserve_static(front_pages, Some(pool))?;
        (map, base, capacity)
    } else {
        reserve_dynamic(accessible, capacity, Some(pool))?
    };
    let open =
        |range: Range<usize>| map.make_accessible(range).map_err(|source| MemoryError::Allocate { bytes: accessible as u64, source });
    let (start, end) = (base - front_pages, base + accessible);
    let mut image_end = 0;
    match image {
        None => open(start..end)?,
        Some(image) => {
            let (file, place) = image.place(base);
            open(start..place.start)?;
            open(place.end..end)?;
            image_end = place.end - base;
            // SAFETY: the memory is being made, so that nobody holds references into it.
            unsafe { map.replace_with_file(place, file, 0) }.map_err(|source| MemoryError::Image { source })?;
        }
    }
    let huge = image_end.max(HUGE_FROM);
    if accessible >= HUGE_INITIALLY && huge < accessible {
        map.advise_huge(base + huge..end);
    }
    Ok(Some((Slot { map, base }, home(Shape { capacity, ..shape }))))
}

/// A linear memory.
pub(crate) struct MemoryStorage {
    map: Mmap,
    /// Offset of the first byte in `map`.
    base: usize,
    /// Bytes behind the base that the memory may come to use.
    capacity: usize,
    /// Bytes behind the base that are accessible: `length` rounded up to whole pages of the host.
    accessible: usize,
    /// Size in bytes.
    length: usize,
    max_pages: u64,
    page_size_log2: u8,
    is_static: bool,
    /// Whether active segments need not be written, since they were there from the beginning.
    has_image: bool,
    /// Where the mapping goes in the end; it is unmapped if there is nothing.
    home: Option<Home>,
    /// Whether it has grown.
    has_grown: bool,
}

impl Drop for MemoryStorage {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            let map = std::mem::replace(&mut self.map, Mmap::empty());
            home.give_back(Slot { map, base: self.base }, self.accessible);
        }
    }
}

impl MemoryStorage {
    /// Whether code relies on the reservation for a memory of this type (`compiler` decides by the same rule).
    pub(crate) fn is_static_type(ty: &MemoryType, static_memory: bool) -> bool {
        static_memory && ty.can_be_static()
    }

    /// A memory of the initial size, zero but for its image.
    pub(crate) fn new(ty: &MemoryType, config: &MemoryConfig<'_>, image: Option<MemoryImageSource<'_>>) -> Result<Self, MemoryError> {
        Self::place(ty, config, image.map_or(Initial::Zeros, Initial::Own), None)
    }

    /// A memory of the initial size. A static one comes to lie in the reservation, if there is one, which was made for the same type,
    /// configuration and contents.
    pub(crate) fn place(
        ty: &MemoryType,
        config: &MemoryConfig<'_>,
        initial: Initial<'_>,
        reservation: Option<Reservation>,
    ) -> Result<Self, MemoryError> {
        let Sizes { length, accessible, max_pages, is_static } = Sizes::new(ty, config)?;
        let page_size_log2 = ty.page_size_log2;
        let made = |map, base, capacity, home: Option<Home>| {
            // What was prepared has the image that it was prepared with.
            let has_image = home.as_ref().map_or(!matches!(initial, Initial::Zeros), |h| h.image.is_some());
            Self { map, base, capacity, accessible, length, max_pages, page_size_log2, is_static, has_image, home, has_grown: false }
        };
        let (map, base, capacity) = match reservation {
            Some(Reservation { slot: Slot { map, base }, home: Some(home) }) => {
                return Ok(made(map, base, home.shape.capacity, Some(home)));
            }
            Some(Reservation { slot: Slot { map, base }, home: None }) => (map, base, STATIC_CAPACITY),
            None => match prepared(0, ty, config, initial)? {
                Some((Slot { map, base }, home)) => return Ok(made(map, base, home.shape.capacity, Some(home))),
                None if is_static => {
                    let (map, base) = reserve_static(0, config.pool)?;
                    (map, base, STATIC_CAPACITY)
                }
                None => reserve_dynamic(accessible, dynamic_capacity(ty, accessible, max_pages), config.pool)?,
            },
        };
        let memory = made(map, base, capacity, None);
        let image = match initial {
            Initial::Zeros => None,
            Initial::Own(image) => Some(image),
            // Images are of memories that are prepared.
            Initial::Image(_) => return Err(MemoryError::Image { source: rustix::io::Errno::INVAL }),
        };
        memory.fill(image)?;
        let image_end = image.map_or(0, |i| (i.target + i.size) as usize);
        if accessible >= HUGE_INITIALLY {
            memory.prefer_huge(image_end.max(HUGE_FROM)..accessible);
        }
        Ok(memory)
    }

    /// Makes the initial part accessible and puts the image in its place.
    fn fill(&self, image: Option<MemoryImageSource<'_>>) -> Result<(), MemoryError> {
        let open = |range: Range<usize>| {
            let shifted = self.base + range.start..self.base + range.end;
            self.map.make_accessible(shifted).map_err(|source| MemoryError::Allocate { bytes: self.length as u64, source })
        };
        let Some(image) = image else { return open(0..self.accessible) };
        let misfit = MemoryError::Image { source: rustix::io::Errno::INVAL };
        let Some(end) = image.target.checked_add(image.size).filter(|e| *e <= self.length as u64) else { return Err(misfit) };
        let range = image.target as usize..end as usize;
        match image.bytes {
            ImageBytes::File(file, offset) => {
                open(0..range.start)?;
                open(range.end..self.accessible)?;
                // SAFETY: the memory is being made, so that nobody holds references into it.
                unsafe { self.map.replace_with_file(self.base + range.start..self.base + range.end, file, offset) }
                    .map_err(|source| MemoryError::Image { source })
            }
            ImageBytes::Memory(bytes) if bytes.len() == range.len() => {
                open(0..self.accessible)?;
                // SAFETY: the range was just made accessible, nobody else knows it, and it has the length of `bytes`.
                unsafe { bytes.as_ptr().copy_to_nonoverlapping(self.base_ptr().add(range.start), bytes.len()) };
                Ok(())
            }
            ImageBytes::Memory(_) => Err(misfit),
        }
    }

    /// Asks for huge pages in a part of the memory.
    fn prefer_huge(&self, range: Range<usize>) {
        if !range.is_empty() {
            self.map.advise_huge(self.base + range.start..self.base + range.end);
        }
    }

    /// Has the kernel map what a memory grows by, if the program has used what it grew by the last time. An allocator that takes a
    /// little more when it has nothing left uses it at once, and finding each page by a fault takes twice as long. The last page is left
    /// to a fault: by it the next growth sees whether this one was used, so that a program that only grows takes no pages.
    fn touch_ahead(&self, grown: Range<usize>) {
        if self.has_grown && grown.len() <= SMALL_GROWTH && self.map.is_touched(self.base + grown.start - page_size()) {
            self.map.populate_to_write(self.base + grown.start..self.base + grown.end - page_size());
        }
    }

    fn base_ptr(&self) -> *mut u8 {
        self.map.as_ptr().wrapping_add(self.base)
    }

    /// What generated code reads. The base is good for as long as the memory lives.
    pub(crate) fn definition(&self) -> VMMemoryDefinition {
        VMMemoryDefinition { base: self.base_ptr(), current_length: self.length as u64 }
    }

    /// Size in pages of its type.
    pub(crate) fn pages(&self) -> u64 {
        self.length as u64 >> self.page_size_log2
    }

    /// Size in bytes.
    #[cfg(test)]
    pub(crate) fn byte_len(&self) -> usize {
        self.length
    }

    /// The number of pages that it may grow to.
    #[cfg(test)]
    pub(crate) fn max_pages(&self) -> u64 {
        self.max_pages
    }

    /// Whether the active segments of the memory were in it from the beginning.
    pub(crate) fn has_image(&self) -> bool {
        self.has_image
    }

    /// Whether code without checks may access it.
    pub(crate) fn is_static(&self) -> bool {
        self.is_static
    }

    /// The addresses at which a fault is an access of this memory: guards included.
    pub(crate) fn reserved(&self) -> Range<usize> {
        self.map.range()
    }

    /// What adding pages would come to, in bytes: how many more, how many there are, and how many there can be. `None` if the memory
    /// cannot grow so far.
    pub(crate) fn growth(&self, delta: u64) -> Option<(u64, u64, Option<u64>)> {
        let new = self.pages().checked_add(delta).filter(|n| *n <= self.max_pages)?;
        let bytes = |pages: u64| pages.checked_shl(self.page_size_log2.into()).filter(|b| b >> self.page_size_log2 == pages);
        Some((bytes(new)? - self.length as u64, self.length as u64, bytes(self.max_pages)))
    }

    /// Adds pages; returns the old size in pages, or `None` if the memory cannot grow so far. Then nothing changes.
    pub(crate) fn grow(&mut self, delta: u64) -> Option<u64> {
        let old = self.pages();
        let new = old.checked_add(delta).filter(|n| *n <= self.max_pages)?;
        let bytes = new.checked_shl(self.page_size_log2.into()).filter(|b| b >> self.page_size_log2 == new)?;
        let accessible = round_to_pages(bytes)?;
        if accessible > self.capacity {
            return None;
        }
        if accessible > self.accessible {
            self.map.make_accessible(self.base + self.accessible..self.base + accessible).ok()?;
            self.prefer_huge(self.accessible.max(HUGE_FROM)..accessible);
            self.touch_ahead(self.accessible..accessible);
            self.accessible = accessible;
            self.has_grown = true;
        }
        self.length = bytes as usize;
        Some(old)
    }

    /// The contents.
    ///
    /// # Safety
    /// No wasm code and nobody else may write to the memory while the slice lives.
    #[cfg(test)]
    pub(crate) unsafe fn bytes(&self) -> &[u8] {
        // SAFETY: `length` bytes from the base are accessible and initialised; the caller excludes writers.
        unsafe { std::slice::from_raw_parts(self.base_ptr(), self.length) }
    }

    /// The contents, to write.
    ///
    /// # Safety
    /// No wasm code and nobody else may access the memory while the slice lives.
    #[cfg(test)]
    pub(crate) unsafe fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; the caller excludes all others.
        unsafe { std::slice::from_raw_parts_mut(self.base_ptr(), self.length) }
    }
}

/// What a static memory can grow to.
const STATIC_CAPACITY: usize = 4 << 30;

/// Reserves address space; where there is none left, what the pool keeps has to go.
fn reserve(total: usize, pool: Option<&Arc<Pool>>) -> rustix::io::Result<Mmap> {
    match Mmap::reserve(total) {
        Err(_) if pool.is_some_and(|p| p.clear()) => Mmap::reserve(total),
        result => result,
    }
}

/// Address space for a static memory: index and offset of 32 bits each, and the guards; and how far into it the memory begins, with
/// `front` bytes between the guard and that place.
fn reserve_static(front: usize, pool: Option<&Arc<Pool>>) -> Result<(Mmap, usize), MemoryError> {
    const GUARD: usize = MEMORY_GUARD as usize;
    // Reading 16 bytes at the greatest index and offset ends inside the guard behind the reservation.
    const _: () = assert!(MEMORY_GUARD >= 16 && STATIC_MEMORY_RESERVATION >= 2 * (u32::MAX as u64));
    let total = STATIC_MEMORY_RESERVATION as usize + BASE_ALIGNMENT + 2 * GUARD + front;
    let map = reserve(total, pool).map_err(|source| MemoryError::ReserveStatic { bytes: total as u64, source })?;
    let start = map.as_ptr().addr();
    let base = (start + GUARD + front).next_multiple_of(BASE_ALIGNMENT) - start;
    Ok((map, base))
}

/// What a memory whose accesses are checked is likely to grow to, and so what it reserves.
fn dynamic_capacity(ty: &MemoryType, accessible: usize, max_pages: u64) -> usize {
    let wanted = if ty.memory64 { DYNAMIC_RESERVATION_64 } else { DYNAMIC_RESERVATION_32 };
    // A limited address space has to serve the other memories of the process, too.
    let allowed = rustix::process::getrlimit(rustix::process::Resource::As).current.map_or(u64::MAX, |limit| limit / 4);
    let max_bytes = max_pages.checked_shl(ty.page_size_log2.into()).filter(|b| b >> ty.page_size_log2 == max_pages).unwrap_or(u64::MAX);
    round_to_pages(wanted.min(allowed).min(max_bytes)).unwrap_or(0).max(accessible)
}

/// Address space for a memory whose accesses are checked: as much as that, less if there is less; and how far into it the memory
/// begins, and what it can grow to.
fn reserve_dynamic(accessible: usize, mut capacity: usize, pool: Option<&Arc<Pool>>) -> Result<(Mmap, usize, usize), MemoryError> {
    let guard = (MEMORY_GUARD as usize).max(page_size());
    loop {
        let total = capacity.saturating_add(2 * guard);
        match reserve(total, pool) {
            Ok(map) => return Ok((map, guard, capacity)),
            Err(source) if capacity == accessible => return Err(MemoryError::Reserve { bytes: total as u64, source }),
            Err(_) => capacity = (capacity / 2).next_multiple_of(page_size()).max(accessible),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use wasmc_environ::types::Limits;

    fn ty(min: u64, max: Option<u64>) -> MemoryType {
        MemoryType { limits: Limits { min, max }, memory64: false, shared: false, page_size_log2: 16 }
    }

    const PAGE: usize = 65536;

    #[test]
    fn static_memory_grows_in_place() {
        let mut m = MemoryStorage::new(&ty(1, Some(3)), &MemoryConfig::default(), None).unwrap();
        let d = m.definition();
        assert!(m.is_static() && d.current_length == PAGE as u64 && d.base.addr().is_multiple_of(BASE_ALIGNMENT));
        // SAFETY: nobody else uses the memory.
        unsafe { m.bytes_mut() }.fill(1);
        assert_eq!(m.grow(1), Some(1));
        assert_eq!(m.grow(2), None);
        assert_eq!(m.grow(u64::MAX), None);
        assert_eq!(m.grow(0), Some(2));
        assert_eq!(m.definition().base, d.base);
        // SAFETY: nobody else uses the memory.
        let bytes = unsafe { m.bytes() };
        assert!(bytes[..PAGE].iter().all(|b| *b == 1) && bytes[PAGE..].iter().all(|b| *b == 0) && bytes.len() == 2 * PAGE);
        assert_eq!(m.grow(1), Some(2));
        assert_eq!(m.grow(1), None);
        assert_eq!(m.pages(), 3);
    }

    #[test]
    fn every_address_that_code_can_form_is_reserved() {
        let m = MemoryStorage::new(&ty(0, None), &MemoryConfig::default(), None).unwrap();
        let base = m.definition().base.addr();
        let last = base + 2 * (u32::MAX as usize) + 16;
        let r = m.reserved();
        assert!(r.contains(&(base - MEMORY_GUARD as usize)) && r.contains(&last));
        assert_eq!(m.max_pages(), 65536);
    }

    #[test]
    fn static_memory_reaches_four_gibibytes() {
        let mut m = MemoryStorage::new(&ty(1, None), &MemoryConfig::default(), None).unwrap();
        assert_eq!(m.grow(65535), Some(1));
        assert_eq!(m.byte_len(), 4 << 30);
        assert_eq!(m.grow(1), None);
        // SAFETY: nobody else uses the memory.
        unsafe { m.bytes_mut()[(4 << 30) - 1] = 1 };
    }

    #[test]
    fn what_is_large_asks_for_huge_pages() {
        if !std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
            eprintln!("skipped: this kernel has no huge pages");
            return;
        }
        let mut m = MemoryStorage::new(&ty(1, None), &MemoryConfig::default(), None).unwrap();
        assert_eq!(m.grow(255), Some(1));
        let base = m.definition().base.addr();
        let asks = |at: usize| {
            let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
            let mut inside = false;
            for line in maps.lines() {
                if let Some((start, end)) = line.split(' ').next().and_then(|r| r.split_once('-')) {
                    let hex = |s: &str| usize::from_str_radix(s, 16).ok();
                    inside = hex(start).zip(hex(end)).is_some_and(|(start, end)| (start..end).contains(&at));
                } else if inside && line.starts_with("VmFlags:") {
                    return line.split(' ').any(|flag| flag == "hg");
                }
            }
            false
        };
        assert_eq!((asks(base), asks(base + HUGE_FROM)), (false, true));
    }

    #[test]
    fn what_a_program_uses_of_its_growth_is_mapped_ahead() {
        let pages = PAGE / page_size();
        let resident =
            |m: &MemoryStorage, range: Range<usize>| range.step_by(page_size()).filter(|at| m.map.is_touched(m.base + at)).count();
        let touch = |m: &mut MemoryStorage, at: usize| {
            // SAFETY: nobody else knows the memory.
            let bytes = unsafe { m.bytes_mut() };
            bytes[at] = 1;
        };
        let mut m = MemoryStorage::new(&ty(1, None), &MemoryConfig::default(), None).unwrap();
        touch(&mut m, PAGE - 1);
        m.grow(1).unwrap();
        assert_eq!(resident(&m, PAGE..2 * PAGE), 0, "the first growth says nothing");
        m.grow(1).unwrap();
        assert_eq!(resident(&m, PAGE..3 * PAGE), 0, "nothing was used");
        touch(&mut m, 3 * PAGE - 1);
        m.grow(2).unwrap();
        let ahead = resident(&m, 3 * PAGE..5 * PAGE);
        // Old kernels do not map ahead.
        assert!(ahead == 2 * pages - 1 || ahead == 0, "{ahead}");
        m.grow(1).unwrap();
        assert_eq!(resident(&m, 5 * PAGE..6 * PAGE), 0, "the last page was not used");
        touch(&mut m, 6 * PAGE - 1);
        m.grow(5).unwrap();
        assert_eq!(resident(&m, 6 * PAGE..11 * PAGE), 0, "too much to be used at once");
        // SAFETY: nobody writes.
        assert!(unsafe { m.bytes() }.iter().map(|byte| usize::from(*byte)).sum::<usize>() == 3);
    }

    #[test]
    fn limits_hold() {
        let config = MemoryConfig { max_bytes: 2 * PAGE as u64, ..Default::default() };
        let mut m = MemoryStorage::new(&ty(1, None), &config, None).unwrap();
        assert_eq!(m.grow(2), None);
        assert_eq!(m.grow(1), Some(1));
        let error = MemoryStorage::new(&ty(3, None), &config, None).err().unwrap().to_string();
        assert!(error.contains("3 initial pages") && error.contains("131072"), "{error}");
        assert!(MemoryStorage::new(&ty(u64::MAX, None), &MemoryConfig::default(), None).is_err());
    }

    #[test]
    fn dynamic_memories() {
        let config = MemoryConfig { static_memory: false, ..Default::default() };
        let mut m = MemoryStorage::new(&ty(1, Some(10)), &config, None).unwrap();
        assert!(!m.is_static() && m.reserved().len() <= 10 * PAGE + 2 * PAGE);
        assert_eq!(m.grow(9), Some(1));
        assert_eq!(m.grow(1), None);
        let wide = MemoryType { memory64: true, ..ty(0, Some(1 << 48)) };
        let mut m = MemoryStorage::new(&wide, &MemoryConfig::default(), None).unwrap();
        assert_eq!(m.grow(1 << 47), None);
        assert_eq!(m.grow(16), Some(0));
        let bytes = MemoryType { page_size_log2: 0, ..ty(5, None) };
        let mut m = MemoryStorage::new(&bytes, &MemoryConfig::default(), None).unwrap();
        assert_eq!((m.byte_len(), m.grow(5000), m.byte_len()), (5, Some(5), 5005));
        let huge = MemoryType { memory64: true, ..ty(1 << 47, None) };
        let error = MemoryStorage::new(&huge, &MemoryConfig::default(), None).err().unwrap().to_string();
        assert!(error.contains("exceeds the limit") || error.contains("address space"), "{error}");
    }

    #[test]
    fn the_error_of_a_full_address_space_names_the_option() {
        let e = MemoryError::ReserveStatic { bytes: 1, source: rustix::io::Errno::NOMEM };
        assert!(e.to_string().contains(EXPLICIT_CHECKS_OPTION));
    }

    #[test]
    fn images_are_copied_on_write() {
        let path = std::env::temp_dir().join(format!("wasmc-image-{}", std::process::id()));
        let mut contents = vec![0u8; 3 * PAGE];
        contents[PAGE..3 * PAGE].fill(5);
        std::fs::write(&path, &contents).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        for target in [0, PAGE as u64] {
            let image = MemoryImageSource { bytes: ImageBytes::File(file.as_fd(), PAGE as u64), size: 2 * PAGE as u64, target };
            let mut a = MemoryStorage::new(&ty(4, None), &MemoryConfig::default(), Some(image)).unwrap();
            let b = MemoryStorage::new(&ty(4, None), &MemoryConfig { static_memory: false, ..Default::default() }, Some(image)).unwrap();
            // SAFETY: nobody else uses the memories.
            unsafe {
                a.bytes_mut()[target as usize] = 6;
                assert_eq!((a.bytes()[target as usize], b.bytes()[target as usize]), (6, 5));
                let sum: usize = b.bytes().iter().map(|b| usize::from(*b)).sum();
                assert_eq!(sum, 2 * PAGE * 5);
            }
            assert_eq!(a.grow(1), Some(4));
        }
        let beyond = MemoryImageSource { bytes: ImageBytes::File(file.as_fd(), 0), size: 2 * PAGE as u64, target: 0 };
        assert!(MemoryStorage::new(&ty(1, None), &MemoryConfig::default(), Some(beyond)).is_err());
    }

    #[test]
    fn images_in_memory() {
        let bytes = vec![8u8; PAGE];
        let image = MemoryImageSource { bytes: ImageBytes::Memory(&bytes), size: PAGE as u64, target: PAGE as u64 };
        let m = MemoryStorage::new(&ty(2, None), &MemoryConfig::default(), Some(image)).unwrap();
        // SAFETY: nobody else uses the memory.
        assert!(unsafe { m.bytes() }.iter().enumerate().all(|(i, b)| *b == if i < PAGE { 0 } else { 8 }));
    }
}
