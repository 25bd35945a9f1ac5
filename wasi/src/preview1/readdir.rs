//! Directory listings.
//!
//! A cookie is the kernel's own position of the next entry, so it stays good while files come and go, and whatever cookie a
//! program hands back is a seek away. What the kernel returns at once is kept, already in the program's form, since
//! programs take it in smaller pieces and come back for the entry that was cut off; cookie 0 starts afresh.

use std::mem::MaybeUninit;
use std::sync::PoisonError;

use rustix::fd::AsFd;
use rustix::fs::{RawDir, SeekFrom};
use rustix::io::Errno as HostErrno;

use crate::ctx::WasiCtx;
use crate::errno::Errno;
use crate::fdtable::Directory;
use crate::guest::GuestMemory;
use crate::types::{FileType, Rights, size};

/// The least and the most bytes of directory entries asked of the kernel at once: an entry has at most 280.
const CHUNK: std::ops::RangeInclusive<usize> = 1 << 10..=1 << 20;

/// What has been read ahead of a directory.
#[derive(Default)]
pub(crate) struct Listing {
    /// Entries in the program's form.
    entries: Vec<u8>,
    /// The cookie of the first entry.
    first: u64,
    /// The cookie of what follows the last entry, which is where the host's descriptor stands.
    end: u64,
    /// A cookie inside and its place: where the last call ended.
    mark: (u64, usize),
    /// Whether the fields above mean anything.
    filled: bool,
}

/// An entry's cookie for the next one, and its length; `None` at the end.
fn entry(bytes: &[u8]) -> Option<(u64, usize)> {
    let (header, _) = bytes.split_at_checked(size::DIRENT)?;
    let next = u64::from_le_bytes(header.get(..8)?.try_into().ok()?);
    let name_len = u32::from_le_bytes(header.get(16..20)?.try_into().ok()?);
    Some((next, size::DIRENT + name_len as usize))
}

impl Listing {
    /// Where the entry with `cookie` starts, if it has been read.
    fn find(&self, cookie: u64) -> Option<usize> {
        if !self.filled {
            return None;
        }
        if cookie == self.mark.0 {
            return Some(self.mark.1);
        }
        let (mut at, mut current) = (0, self.first);
        while current != cookie {
            let (next, len) = entry(self.entries.get(at..)?)?;
            at += len;
            current = next;
        }
        Some(at)
    }
}

impl Directory {
    /// Reads on from `cookie`.
    fn fill(&self, listing: &mut Listing, cookie: u64, chunk: usize) -> Result<(), Errno> {
        if !listing.filled || listing.end != cookie || cookie == 0 {
            // Kernel positions are signed, but never negative.
            i64::try_from(cookie).map_err(|_| Errno::INVAL)?;
            listing.filled = false;
            rustix::fs::seek(&self.fd, SeekFrom::Start(cookie)).map_err(unlisted)?;
        }
        listing.entries.clear();
        (listing.first, listing.end, listing.mark, listing.filled) = (cookie, cookie, (cookie, 0), false);
        let mut buffer = vec![MaybeUninit::<u8>::uninit(); chunk.clamp(*CHUNK.start(), *CHUNK.end())];
        let mut entries = RawDir::new(self.fd.as_fd(), &mut buffer);
        loop {
            let entry = match entries.next() {
                // A directory that has been removed has no entries.
                None | Some(Err(HostErrno::NOENT)) => break,
                Some(entry) => entry.map_err(unlisted)?,
            };
            let name = entry.file_name().to_bytes();
            let mut ino = entry.ino();
            if name == b".." && self.preopen.is_some() {
                // What is above is none of the program's business. It has to be a number that is not 0, which C libraries
                // take for "ask again by name".
                ino = inode(rustix::fs::fstat(&self.fd)?);
            }
            let bytes = &mut listing.entries;
            bytes.extend_from_slice(&entry.next_entry_cookie().to_le_bytes());
            bytes.extend_from_slice(&ino.to_le_bytes());
            // A name has at most 255 bytes.
            bytes.extend_from_slice(&(name.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&[FileType::from(entry.file_type()) as u8, 0, 0, 0]);
            bytes.extend_from_slice(name);
            listing.end = entry.next_entry_cookie();
            if entries.is_buffer_empty() {
                break;
            }
        }
        listing.filled = true;
        Ok(())
    }

    /// Where the entries from `cookie` on start in `listing`, read if need be; at its end at the end of the directory.
    fn entries(&self, listing: &mut Listing, cookie: u64, chunk: usize) -> Result<usize, Errno> {
        match listing.find(cookie).filter(|at| *at < listing.entries.len()) {
            Some(at) => Ok(at),
            None => self.fill(listing, cookie, chunk).map(|()| 0),
        }
    }
}

/// What went wrong, in the program's words. Only a directory that may be passed through but not listed is open in a way that
/// the kernel calls `EBADF`.
fn unlisted(error: HostErrno) -> Errno {
    if error == HostErrno::BADF { Errno::ACCES } else { error.into() }
}

// The field has other widths on other architectures.
#[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
fn inode(stat: rustix::fs::Stat) -> u64 {
    stat.st_ino as u64
}

/// Writes entries of a directory from the one with `cookie` on, as many as fit, the last one cut off where the buffer ends;
/// fewer bytes than the buffer has mean the end.
///
/// # Errors
///
/// `NOTDIR`, `NOTCAPABLE` without the right, `FAULT`, `INVAL` for a cookie that the host does not take.
pub fn fd_readdir(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    fd: u32,
    buf: u64,
    buf_len: u64,
    cookie: u64,
    bufused: u64,
) -> Result<(), Errno> {
    let descriptor = ctx.fds.with(fd, Rights::FD_READDIR)?;
    let directory = descriptor.directory()?;
    mem.check_size(bufused)?;
    mem.check(buf, buf_len)?;
    // The position of the host's descriptor is part of what is locked.
    let mut listing = directory.listing.lock().unwrap_or_else(PoisonError::into_inner);
    let listing = listing.get_or_insert_default();
    if cookie == 0 {
        listing.filled = false;
    }
    let (mut used, mut cookie) = (0, cookie);
    while used < buf_len {
        let at = directory.entries(listing, cookie, ctx.common.limits.directory_buffer)?;
        let mut rest = listing.entries.get(at..).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
        // At most the length of a vector.
        let len = (rest.len() as u64).min(buf_len - used) as usize;
        mem.write(buf + used, &rest[..len])?;
        // Where the program will come back: after the last entry that fitted.
        let mut end = at;
        while let Some((next, entry_len)) = entry(rest)
            && end + entry_len <= at + len
        {
            (cookie, end, rest) = (next, end + entry_len, &rest[entry_len..]);
        }
        listing.mark = (cookie, end);
        used += len as u64;
        if end < at + len {
            break;
        }
    }
    mem.write_size(bufused, used)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::{DIRECTORY, FOLLOW, Guest, READ, ROOT, TestDir};

    struct Entry {
        next: u64,
        ino: u64,
        kind: u8,
        name: String,
    }

    /// The entries that are whole.
    fn parse(mut bytes: &[u8]) -> Vec<Entry> {
        let mut entries = Vec::new();
        while let Some((next, len)) = entry(bytes).filter(|(_, len)| *len <= bytes.len()) {
            entries.push(Entry {
                next,
                ino: u64::from_le_bytes(bytes[8..16].try_into().unwrap()),
                kind: bytes[20],
                name: String::from_utf8(bytes[24..len].to_vec()).unwrap(),
            });
            bytes = &bytes[len..];
        }
        entries
    }

    /// Reads as C libraries do, and says where each entry was found.
    fn list(guest: &mut Guest, fd: u32, buf_len: u64, mut cookie: u64) -> Vec<(u64, Entry)> {
        let mut all = Vec::new();
        loop {
            let bytes = guest.readdir(fd, buf_len, cookie).unwrap();
            for entry in parse(&bytes) {
                let at = std::mem::replace(&mut cookie, entry.next);
                all.push((at, entry));
            }
            if (bytes.len() as u64) < buf_len {
                return all;
            }
        }
    }

    #[test]
    fn ten_thousand_entries_are_seen_once_and_cookies_lead_back() {
        let dir = TestDir::new();
        dir.dir("many");
        let expected: BTreeSet<String> = (0..10_000).map(|number| format!("file-{number}")).collect();
        for name in &expected {
            dir.file(&format!("many/{name}"), "");
        }
        let mut guest = dir.guest();
        let fd = guest.open(ROOT, 0, "many", DIRECTORY, READ).unwrap();
        for buf_len in [300, 4096, 65_536] {
            let all = list(&mut guest, fd, buf_len, 0);
            assert_eq!(all.len(), 10_002);
            let names: BTreeSet<_> = all.iter().map(|(_, entry)| entry.name.clone()).collect();
            assert_eq!(names.len(), 10_002);
            assert!(names.is_superset(&expected));
            // Any cookie, in any order, with any buffer.
            for index in [9_999, 0, 5_000, 4_999, 7_321, 1, 10_001] {
                let (cookie, entry) = &all[index];
                let again = guest.readdir(fd, 4096, *cookie).unwrap();
                assert_eq!(parse(&again)[0].name, entry.name);
            }
            let last = &all[10_001].1;
            assert_eq!(guest.readdir(fd, 4096, last.next).unwrap(), b"");
        }
    }

    #[test]
    fn cookies_survive_removal() {
        let dir = TestDir::new();
        dir.dir("some");
        for number in 0..2000 {
            dir.file(&format!("some/{number}"), "");
        }
        let mut guest = dir.guest();
        let fd = guest.open(ROOT, 0, "some", DIRECTORY, READ).unwrap();
        // As `rm -r` does it: remove what was seen, go on where it was seen.
        let (mut cookie, mut removed) = (0, 0);
        loop {
            let bytes = guest.readdir(fd, 512, cookie).unwrap();
            for entry in parse(&bytes) {
                cookie = entry.next;
                if entry.kind == FileType::RegularFile as u8 {
                    std::fs::remove_file(dir.path("some").join(&entry.name)).unwrap();
                    removed += 1;
                }
            }
            if bytes.len() < 512 {
                break;
            }
        }
        assert_eq!(removed, 2000);
        // Cookie 0 looks again.
        dir.file("some/new", "");
        let names: Vec<_> = list(&mut guest, fd, 4096, 0).into_iter().map(|(_, entry)| entry.name).collect();
        assert_eq!(names.iter().filter(|name| *name == "new").count(), 1);
        assert_eq!(names.len(), 3);
    }

    #[test]
    fn a_hundred_thousand_entries_that_change_while_they_are_read() {
        const COUNT: usize = 100_000;
        let dir = TestDir::new();
        dir.dir("many");
        let many = dir.path("many");
        for number in 0..COUNT {
            std::fs::write(many.join(format!("stays-{number}")), "").unwrap();
        }
        let mut guest = dir.guest();
        let fd = guest.open(ROOT, 0, "many", DIRECTORY, READ).unwrap();
        // Others come and go all the time, some of them on the way.
        let stop = std::sync::atomic::AtomicBool::new(false);
        let names: Vec<String> = std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut number = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    std::fs::write(many.join(format!("comes-{number}")), "").unwrap();
                    if number >= 500 {
                        std::fs::remove_file(many.join(format!("comes-{}", number - 500))).unwrap();
                    }
                    number += 1;
                }
            });
            let names = list(&mut guest, fd, 4096, 0).into_iter().map(|(_, entry)| entry.name).collect();
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            names
        });
        // Whatever was there all the time is seen, and nothing twice.
        let stays: BTreeSet<&String> = names.iter().filter(|name| name.starts_with("stays-")).collect();
        assert_eq!(stays.len(), COUNT);
        assert_eq!(names.iter().filter(|name| name.starts_with("stays-")).count(), COUNT);
    }

    #[test]
    fn entries_say_what_they_are() {
        let dir = TestDir::new();
        dir.dir("sub").file("file", "").link("link", "file");
        let mut guest = dir.guest();
        let entries = list(&mut guest, ROOT, 4096, 0);
        for (name, kind) in [("sub", 3), ("file", 4), ("link", 7), (".", 3), ("..", 3)] {
            let (_, entry) = entries.iter().find(|(_, entry)| entry.name == name).unwrap();
            assert_eq!(entry.kind, kind, "{name}");
            assert_ne!(entry.ino, 0);
        }
        // Above a preopened directory there is nothing to know.
        let ino = |name: &str| entries.iter().find(|(_, entry)| entry.name == name).unwrap().1.ino;
        assert_eq!(ino("."), ino(".."));
        assert_eq!(guest.readdir(ROOT, 0, 0).unwrap(), b"");
        assert_eq!(guest.readdir(ROOT, 10, 0).unwrap().len(), 10);
        assert_eq!(guest.readdir(ROOT, 100, u64::MAX), Err(Errno::INVAL));
        // Removed under our hands.
        let fd = guest.open(ROOT, FOLLOW, "sub", DIRECTORY, READ).unwrap();
        std::fs::remove_dir(dir.path("sub")).unwrap();
        assert_eq!(guest.readdir(fd, 100, 0).unwrap(), b"");
    }
}
