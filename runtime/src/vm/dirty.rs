//! Which pages of a private mapping were written to: the kernel says so (`PAGEMAP_SCAN`, Linux 6.7), in half a microsecond for a small
//! memory, where a page that is given back and touched again takes two. Where it cannot, nobody knows, and all pages are given back.

use super::fork::get_or_init;
use super::mmap::page_size;
use rustix::mm::{Advice, MapFlags, ProtFlags};
use std::ops::Range;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

/// `PAGEMAP_SCAN` of `linux/fs.h`: `_IOWR('f', 16, struct pm_scan_arg)`.
const PAGEMAP_SCAN: u64 = (3 << 30) | ((size_of::<Arguments>() as u64) << 16) | ((b'f' as u64) << 8) | 16;
/// The page is one of a file, or of shared memory: not a private copy.
const IS_FILE: u64 = 1 << 2;
const IS_PRESENT: u64 = 1 << 3;
const IS_SWAPPED: u64 = 1 << 4;
/// The page is the kernel's page of zeros: read, but never written to.
const IS_ZERO: u64 = 1 << 5;

/// `struct pm_scan_arg`.
#[repr(C)]
struct Arguments {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `struct page_region`.
#[repr(C)]
#[derive(Copy, Clone, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// Pages next to each other that hold something of their own.
pub(super) struct Dirty {
    /// Their addresses.
    pub(super) range: Range<usize>,
    /// They may be the kernel's page of zeros.
    pub(super) zero: bool,
}

/// Calls `f` for all pages of a private mapping that hold anything but what the mapping is of: at most `max_pages` of them. Returns the
/// address from which on nobody has looked: the end of the range, if there were fewer. `None` if the kernel does not tell; then `f` may have been
/// called for some.
pub(super) fn scan(range: Range<usize>, max_pages: usize, mut f: impl FnMut(Dirty) -> Option<()>) -> Option<usize> {
    let fd = pagemap()?;
    let mut found = [Region::default(); 32];
    let (mut at, mut left) = (range.start, max_pages);
    while at < range.end && left > 0 {
        let mut arguments = Arguments {
            size: size_of::<Arguments>() as u64,
            flags: 0,
            start: at as u64,
            end: range.end as u64,
            walk_end: 0,
            vec: found.as_mut_ptr().expose_provenance() as u64,
            vec_len: found.len() as u64,
            max_pages: left as u64,
            category_inverted: IS_FILE,
            category_mask: IS_FILE,
            category_anyof_mask: IS_PRESENT | IS_SWAPPED,
            return_mask: IS_ZERO,
        };
        // SAFETY: the structure has the layout that the kernel reads and writes, and `found` has room for `vec_len` regions.
        let count = unsafe { libc::ioctl(fd, PAGEMAP_SCAN as _, &raw mut arguments) };
        let regions = found.get(..usize::try_from(count).ok()?)?;
        for r in regions {
            let range = r.start as usize..r.end as usize;
            left = left.checked_sub(range.len() / page_size())?;
            f(Dirty { range, zero: r.categories & IS_ZERO != 0 })?;
        }
        let next = arguments.walk_end as usize;
        // It always gets further, or the kernel is not the one that this was written for.
        (next > at && next <= range.end).then_some(())?;
        at = next;
    }
    Some(at)
}

/// The process's own `/proc/self/pagemap`, if it can be had and the kernel knows the question.
fn pagemap() -> Option<i32> {
    /// Of the word below: nobody has looked yet. A fork makes it so, since the descriptor goes on being about the parent.
    const UNKNOWN: i32 = 0;
    const NONE: i32 = -1;
    static WORD: OnceLock<Option<&'static AtomicI32>> = OnceLock::new();
    let word = (*get_or_init(&WORD, || {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: a new mapping, placed by the kernel, which is never unmapped; all zero is a value of the word.
        unsafe {
            let page = rustix::mm::mmap_anonymous(null_mut(), page_size(), protection, flags).ok()?;
            rustix::mm::madvise(page, page_size(), Advice::LinuxWipeOnFork).ok()?;
            Some(&*page.cast::<AtomicI32>())
        }
    }))?;
    match word.load(Ordering::Acquire) {
        NONE => None,
        UNKNOWN => {
            let fd = std::fs::File::open("/proc/self/pagemap").ok().filter(|file| knows(file.as_raw_fd()));
            // Its number plus 1, since 0 means something else; who loses the race closes its own.
            let value = fd.as_ref().map_or(NONE, |file| file.as_raw_fd() + 1);
            match word.compare_exchange(UNKNOWN, value, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => fd.map(IntoRawFd::into_raw_fd),
                Err(NONE) => None,
                Err(other) => Some(other - 1),
            }
        }
        other => Some(other - 1),
    }
}

/// Whether the kernel answers: an empty range is a question, too.
fn knows(fd: i32) -> bool {
    let mut arguments = Arguments {
        size: size_of::<Arguments>() as u64,
        flags: 0,
        start: 0,
        end: 0,
        walk_end: 0,
        vec: 0,
        vec_len: 0,
        max_pages: 0,
        category_inverted: 0,
        category_mask: IS_PRESENT,
        category_anyof_mask: 0,
        return_mask: IS_PRESENT,
    };
    // SAFETY: the structure has the layout that the kernel reads and writes.
    unsafe { libc::ioctl(fd, PAGEMAP_SCAN as _, &raw mut arguments) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::mmap::Mmap;

    fn dirty(map: &Mmap, max_pages: usize) -> Option<(Vec<usize>, usize)> {
        let (mut found, page) = (Vec::new(), page_size());
        let end = scan(map.range(), max_pages, |d| {
            if !d.zero {
                found.extend((d.range.start - map.range().start) / page..(d.range.end - map.range().start) / page);
            }
            Some(())
        })?;
        Some((found, (end - map.range().start) / page))
    }

    #[test]
    fn pages_that_were_written_to_are_found() {
        let page = page_size();
        let map = Mmap::reserve(200 * page).unwrap();
        map.make_accessible(0..200 * page).unwrap();
        let Some(none) = dirty(&map, 100) else {
            eprintln!("skipped: this kernel does not tell");
            return;
        };
        assert_eq!(none, (vec![], 200));
        // SAFETY: the pages were just made accessible.
        unsafe {
            for i in (0..200).step_by(2) {
                map.as_ptr().add(i * page).write(1);
            }
            assert_eq!(map.as_ptr().add(3 * page).read_volatile(), 0);
        }
        assert_eq!(dirty(&map, 150), Some(((0..200).step_by(2).collect(), 200)));
        let (some, end) = dirty(&map, 10).unwrap();
        assert_eq!(some.len(), 9, "the page that was only read counts, too: {some:?}");
        assert!((17..=18).contains(&end), "{end}");
    }

    #[test]
    fn a_child_looks_at_its_own_pages() {
        let page = page_size();
        let map = Mmap::reserve(4 * page).unwrap();
        map.make_accessible(0..4 * page).unwrap();
        if dirty(&map, 4).is_none() {
            return;
        }
        // SAFETY: the child makes system calls and ends; it takes no lock that another thread can have.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                map.as_ptr().add(page).write(1);
                let found = dirty(&map, 4).is_some_and(|(found, _)| found == [1]);
                libc::_exit(if found { 0 } else { 1 });
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
            assert_eq!(status, 0);
        }
        assert_eq!(dirty(&map, 4).unwrap().0, []);
    }
}
