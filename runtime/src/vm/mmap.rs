//! Mappings: reservations of address space, their protection, and files mapped into them. The only file that asks the
//! kernel for pages; everything else (memories, stacks, artifacts) holds an `Mmap`, which unmaps itself when dropped.

use rustix::io::{Errno, Result};
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A range of address space that belongs to nobody else.
pub(crate) struct Mmap {
    base: *mut u8,
    len: usize,
}

// SAFETY: an `Mmap` is the owner of a range of addresses; it has no thread-bound state. Whoever reads or writes the pages
// through raw pointers answers for synchronising that.
unsafe impl Send for Mmap {}
// SAFETY: as above; the methods with `&self` only change protections of pages, and are unsafe where that can matter.
unsafe impl Sync for Mmap {}

/// Size of a page of the host. Asked for once: the C library looks it up each time, which showed in calls and instantiations.
#[inline]
pub(crate) fn page_size() -> usize {
    static SIZE: AtomicUsize = AtomicUsize::new(0);
    match SIZE.load(Ordering::Relaxed) {
        0 => {
            let size = rustix::param::page_size();
            SIZE.store(size, Ordering::Relaxed);
            size
        }
        size => size,
    }
}

/// `size` rounded up to whole pages of the host, if it can be expressed.
pub(crate) fn round_to_pages(size: u64) -> Option<usize> {
    usize::try_from(size).ok()?.checked_next_multiple_of(page_size())
}

impl Mmap {
    /// A mapping of no bytes.
    pub(crate) const fn empty() -> Self {
        Self { base: std::ptr::without_provenance_mut(1), len: 0 }
    }

    /// Reserves address space that cannot be accessed. `len` is a multiple of the page size. Nothing is accounted as
    /// memory until it is made accessible and touched.
    pub(crate) fn reserve(len: usize) -> Result<Self> {
        if len == 0 {
            return Ok(Self::empty());
        }
        // SAFETY: without MAP_FIXED a new mapping takes addresses that nothing else uses.
        let base = unsafe { rustix::mm::mmap_anonymous(null_mut(), len, ProtFlags::empty(), MapFlags::PRIVATE | MapFlags::NORESERVE) }?;
        Ok(Self { base: base.cast(), len })
    }

    /// Maps the first `len` bytes of a file for reading. The pages are the file's own: a later change of the file can be
    /// seen through them, and reading behind a new, nearer end of the file is a SIGBUS.
    pub(crate) fn read_only(file: BorrowedFd<'_>, len: usize) -> Result<Self> {
        // SAFETY: without MAP_FIXED a new mapping takes addresses that nothing else uses.
        let base = unsafe { rustix::mm::mmap(null_mut(), len, ProtFlags::READ, MapFlags::PRIVATE, file, 0) }?;
        let map = Self { base: base.cast(), len };
        super::fatal::add_file(&map.range());
        Ok(map)
    }

    /// Maps the first `len` bytes of a file for reading that nobody can change or truncate.
    pub(crate) fn view(file: BorrowedFd<'_>, len: usize) -> Result<Self> {
        // SAFETY: without MAP_FIXED a new mapping takes addresses that nothing else uses.
        let base = unsafe { rustix::mm::mmap(null_mut(), len, ProtFlags::READ, MapFlags::PRIVATE, file, 0) }?;
        Ok(Self { base: base.cast(), len })
    }

    /// First byte.
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.base
    }

    /// The addresses.
    pub(crate) fn range(&self) -> Range<usize> {
        self.base.addr()..self.base.addr() + self.len
    }

    /// The address of a range of whole pages of this mapping.
    fn at(&self, range: &Range<usize>) -> Result<*mut u8> {
        let aligned = range.start.is_multiple_of(page_size()) && range.end.is_multiple_of(page_size());
        if range.start > range.end || range.end > self.len.next_multiple_of(page_size()) || !aligned {
            return Err(Errno::INVAL);
        }
        Ok(self.base.wrapping_add(range.start))
    }

    fn protect(&self, range: Range<usize>, flags: MprotectFlags) -> Result<()> {
        let at = self.at(&range)?;
        if range.is_empty() {
            return Ok(());
        }
        // SAFETY: `at` checked that the pages belong to this mapping; the callers say what the change means.
        unsafe { rustix::mm::mprotect(at.cast(), range.len(), flags) }
    }

    /// Makes whole pages readable and writable; those never touched before read as zero. They stay so until the
    /// mapping is dropped, so nobody can lose access.
    pub(crate) fn make_accessible(&self, range: Range<usize>) -> Result<()> {
        self.protect(range, MprotectFlags::READ | MprotectFlags::WRITE)
    }

    /// Makes whole pages readable and executable, and not writable.
    ///
    /// # Safety
    /// Nothing may write to these pages any more, and their contents must be what the caller wants to run.
    pub(crate) unsafe fn make_executable(&self, range: Range<usize>) -> Result<()> {
        self.protect(range, MprotectFlags::READ | MprotectFlags::EXEC)
    }

    /// Gives whole pages back: they read as what was mapped in their place in the beginning, zeros or the file's contents.
    ///
    /// # Safety
    /// Nobody may hold references into these pages, or need what they hold.
    pub(crate) unsafe fn discard(&self, range: Range<usize>) -> Result<()> {
        let at = self.at(&range)?;
        if range.is_empty() {
            return Ok(());
        }
        // SAFETY: the pages belong to this mapping, and the caller answers for their contents.
        unsafe { rustix::mm::madvise(at.cast(), range.len(), Advice::LinuxDontNeed) }
    }

    /// Makes whole pages inaccessible; they keep what they hold.
    pub(crate) fn close(&self, range: Range<usize>) -> Result<()> {
        self.protect(range, MprotectFlags::empty())
    }

    /// Puts inaccessible pages, which will be zero, in the place of others, and forgets all advice on them.
    ///
    /// # Safety
    /// Nobody may hold references into these pages.
    pub(crate) unsafe fn replace_with_nothing(&self, range: Range<usize>) -> Result<()> {
        let at = self.at(&range)?;
        if range.is_empty() {
            return Ok(());
        }
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        // SAFETY: MAP_FIXED replaces only pages of this mapping (checked by `at`), to which the caller holds no references.
        unsafe { rustix::mm::mmap_anonymous(at.cast(), range.len(), ProtFlags::empty(), flags) }?;
        Ok(())
    }

    /// Asks the kernel to map all of the range at once, instead of a few pages at each fault. Where it cannot (old
    /// kernels), faults do it.
    pub(crate) fn populate(&self, range: Range<usize>) {
        if let Ok(at) = self.at(&range)
            && !range.is_empty()
        {
            // SAFETY: the pages belong to this mapping, and populating does not change what they hold.
            let _ = unsafe { rustix::mm::madvise(at.cast(), range.len(), Advice::LinuxPopulateRead) };
        }
    }

    /// As [`populate`](Self::populate), for pages that are about to be written to.
    pub(crate) fn populate_to_write(&self, range: Range<usize>) {
        if let Ok(at) = self.at(&range)
            && !range.is_empty()
        {
            // SAFETY: as for `populate`.
            let _ = unsafe { rustix::mm::madvise(at.cast(), range.len(), Advice::LinuxPopulateWrite) };
        }
    }

    /// Whether the page at `offset`, of no file, has been touched.
    pub(crate) fn is_touched(&self, offset: usize) -> bool {
        let Ok(at) = self.at(&(offset..offset + page_size())) else { return false };
        let mut resident = 0_u8;
        // SAFETY: the page belongs to this mapping, and the kernel writes one byte for one page.
        let asked = unsafe { libc::mincore(at.cast(), page_size(), &raw mut resident) };
        asked == 0 && resident & 1 != 0
    }

    /// Asks the kernel to back the range by huge pages where it has some. Where it cannot, pages are small.
    pub(crate) fn advise_huge(&self, range: Range<usize>) {
        if let Ok(at) = self.at(&range)
            && !range.is_empty()
        {
            // SAFETY: the pages belong to this mapping, and the advice does not change what they hold.
            let _ = unsafe { rustix::mm::madvise(at.cast(), range.len(), Advice::LinuxHugepage) };
        }
    }

    /// Puts a part of a file in the place of whole pages, readable and writable, copy-on-write.
    ///
    /// # Safety
    /// Nobody may hold references into these pages.
    pub(crate) unsafe fn replace_with_file(&self, range: Range<usize>, file: BorrowedFd<'_>, offset: u64) -> Result<()> {
        let at = self.at(&range)?;
        if range.is_empty() {
            return Ok(());
        }
        // SAFETY: MAP_FIXED replaces only pages of this mapping (checked by `at`), to which the caller holds no references.
        unsafe {
            rustix::mm::mmap(
                at.cast(),
                range.len(),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE,
                file,
                offset,
            )
        }?;
        Ok(())
    }
}

impl Drop for Mmap {
    fn drop(&mut self) {
        if self.len != 0 {
            super::fatal::remove_file(&self.range());
            // SAFETY: this is the owner of the range; whoever keeps pointers into it keeps the owner alive.
            let unmapped = unsafe { rustix::mm::munmap(self.base.cast(), self.len) };
            debug_assert!(unmapped.is_ok());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn reserved_pages_become_accessible_and_zero() {
        let page = page_size();
        let map = Mmap::reserve(16 * page).unwrap();
        map.make_accessible(page..3 * page).unwrap();
        // SAFETY: the two pages were just made accessible.
        let bytes = unsafe { std::slice::from_raw_parts_mut(map.as_ptr().add(page), 2 * page) };
        assert!(bytes.iter().all(|b| *b == 0));
        bytes.fill(7);
        map.make_accessible(page..5 * page).unwrap();
        // SAFETY: as above, now four pages.
        let bytes = unsafe { std::slice::from_raw_parts(map.as_ptr().add(page), 4 * page) };
        assert!(bytes[..2 * page].iter().all(|b| *b == 7) && bytes[2 * page..].iter().all(|b| *b == 0));
    }

    #[test]
    fn ranges_outside_are_refused() {
        let page = page_size();
        let map = Mmap::reserve(2 * page).unwrap();
        assert_eq!(map.make_accessible(0..3 * page), Err(Errno::INVAL));
        assert_eq!(map.make_accessible(1..page), Err(Errno::INVAL));
        let reversed = page..0;
        assert_eq!(map.make_accessible(reversed), Err(Errno::INVAL));
        assert_eq!(map.make_accessible(0..0), Ok(()));
        assert!(Mmap::reserve((usize::MAX / 2) & !(page - 1)).is_err());
    }

    #[test]
    fn file_pages_are_copied_on_write() {
        let page = page_size();
        let path = std::env::temp_dir().join(format!("wasmc-mmap-{}", std::process::id()));
        std::fs::write(&path, vec![3u8; 2 * page]).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        let map = Mmap::reserve(4 * page).unwrap();
        // SAFETY: nobody holds references into the new mapping.
        unsafe { map.replace_with_file(page..3 * page, file.as_fd(), 0) }.unwrap();
        // SAFETY: the pages were just mapped.
        unsafe {
            assert_eq!(*map.as_ptr().add(page), 3);
            *map.as_ptr().add(page) = 9;
            assert_eq!(*map.as_ptr().add(page), 9);
        }
        assert!(std::fs::read(&path).unwrap().iter().all(|b| *b == 3));
        std::fs::remove_file(&path).unwrap();
    }
}
