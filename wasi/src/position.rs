//! Where reading and writing goes on in a regular file that the program opened.
//!
//! C libraries without `pread` in their layer for files, and databases on them, move the position before nearly every read and
//! write. The host's descriptor of such a file is ours alone, so from the second time on that its position is moved, the position is
//! kept here: moving it is a store, and reading and writing name it to the host (`pread`, `pwrite`). Everything that is not plainly a
//! place the host has no say in goes through the host's own position, so that its errors and limits are the program's: the end of
//! the file, positions beyond what is known to be allowed, files that append, and files of other file systems than those below.
//! Reads and writes of several threads happen one after the other, as under the kernel's own lock for positions.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::SeekFrom;
use rustix::io::Errno as HostErrno;

use crate::errno::Errno;
use crate::types::FdFlags;

/// A regular file that the program opened by its path: nobody else has its position.
pub(crate) struct Regular {
    fd: OwnedFd,
    /// The position, or one of the states below, in which the host has it.
    at: AtomicU64,
    /// Positions up to this one the host is known to allow.
    allowed: AtomicU64,
    /// Held during a call that uses or moves the position, by threads that share the descriptor.
    order: Mutex<()>,
}

/// The host has the position, and nobody moved it.
const NEVER_MOVED: u64 = u64::MAX;
/// The host has the position, and it was moved once.
const MOVED_ONCE: u64 = u64::MAX - 1;
/// The host has the position and keeps it: the file is of a kind of which nobody looked at what `pread` does.
const OF_THE_HOST: u64 = u64::MAX - 2;
/// Positions are not above this.
const LAST: u64 = i64::MAX as u64;

/// What every file system below takes for a position, whatever its limit is.
const ALWAYS_ALLOWED: u64 = i32::MAX as u64;

/// File systems on which a position is a number and nothing else, and a read at it reads the same as after a seek: ext2 to 4, XFS,
/// Btrfs, F2FS, tmpfs, ramfs, overlayfs, ZFS, bcachefs.
const PLAIN: [u64; 9] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x0102_1994, 0x8584_58f6, 0x794c_7630, 0x2fc1_2fc1, 0xca45_1a4e];

/// The exclusive use of a position, for one call.
pub(crate) struct Turn<'a> {
    file: &'a Regular,
    /// Nothing where no other thread has the descriptor.
    _order: Option<MutexGuard<'a, ()>>,
}

impl Regular {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self { fd, at: AtomicU64::new(NEVER_MOVED), allowed: AtomicU64::new(ALWAYS_ALLOWED), order: Mutex::new(()) }
    }

    #[inline]
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Waits until no other thread uses the position; nothing to wait for if the caller is the only one who has the descriptor.
    #[inline]
    pub(crate) fn turn(&self, alone: bool) -> Turn<'_> {
        // The position changes last, so a panic leaves it as it was.
        Turn { file: self, _order: (!alone).then(|| self.order.lock().unwrap_or_else(PoisonError::into_inner)) }
    }
}

impl Turn<'_> {
    /// The position, if it is kept here. The host's own means nothing then.
    #[inline]
    pub(crate) fn position(&self) -> Option<u64> {
        let at = self.file.at.load(Relaxed);
        (at <= LAST).then_some(at)
    }

    /// Moves the position behind `count` bytes that the host has read or written at `from`; `None` where the host did so.
    #[inline]
    pub(crate) fn advance(&self, from: Option<u64>, count: usize) {
        if let Some(from) = from {
            // The host takes no transfer that ends beyond `LAST`.
            self.file.at.store(from + count as u64, Relaxed);
        }
    }

    /// Reads or writes at the position, which moves.
    #[inline]
    pub(crate) fn transfer(&self, call: impl FnOnce(Option<u64>) -> Result<usize, Errno>) -> Result<usize, Errno> {
        let from = self.position();
        let count = call(from)?;
        self.advance(from, count);
        Ok(count)
    }

    /// Moves the position, and says where it is then. `flags` are the descriptor's.
    #[inline]
    pub(crate) fn seek(&self, to: SeekFrom, flags: FdFlags) -> Result<u64, HostErrno> {
        let Some(at) = self.position() else { return self.seek_on_host(to, flags) };
        let target = match to {
            SeekFrom::Start(target) => Some(target),
            SeekFrom::Current(0) => return Ok(at),
            SeekFrom::Current(offset) => at.checked_add_signed(offset),
            _ => None,
        };
        match target {
            Some(target) if target <= self.file.allowed.load(Relaxed) => {
                self.file.at.store(target, Relaxed);
                Ok(target)
            }
            _ => self.ask(at, to),
        }
    }

    /// Lets the host, which does not have the position, say whether it can be moved so, and where it is then.
    #[cold]
    fn ask(&self, at: u64, to: SeekFrom) -> Result<u64, HostErrno> {
        if matches!(to, SeekFrom::Current(_)) {
            rustix::fs::seek(&self.file.fd, SeekFrom::Start(at))?;
        }
        let target = rustix::fs::seek(&self.file.fd, to)?;
        self.file.allowed.fetch_max(target, Relaxed);
        self.file.at.store(target, Relaxed);
        Ok(target)
    }

    /// Moves the host's position; the second time takes it over. A program that only asks where it is, or goes to one place and
    /// reads on from there, would not get back what looking at the file system costs.
    #[cold]
    fn seek_on_host(&self, to: SeekFrom, flags: FdFlags) -> Result<u64, HostErrno> {
        let target = rustix::fs::seek(&self.file.fd, to)?;
        let state = match self.file.at.load(Relaxed) {
            NEVER_MOVED => MOVED_ONCE,
            // Where it writes, the host decides.
            MOVED_ONCE if flags.contains(FdFlags::APPEND) => return Ok(target),
            MOVED_ONCE if target <= LAST && self.is_plain() => target,
            _ => OF_THE_HOST,
        };
        self.file.allowed.fetch_max(target.min(LAST), Relaxed);
        self.file.at.store(state, Relaxed);
        Ok(target)
    }

    // The field has other widths on other architectures.
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
    fn is_plain(&self) -> bool {
        rustix::fs::fstatfs(&self.file.fd).is_ok_and(|system| PLAIN.contains(&(system.f_type as u64 & 0xffff_ffff)))
    }

    /// Gives the host the position, for a call that asks the host about it.
    pub(crate) fn show(&self) -> Result<(), HostErrno> {
        match self.position() {
            Some(at) => rustix::fs::seek(&self.file.fd, SeekFrom::Start(at)).map(drop),
            None => Ok(()),
        }
    }

    /// Gives the host the position back, to keep it at least until it is moved again.
    pub(crate) fn give_back(&self) -> Result<(), HostErrno> {
        self.show()?;
        if self.position().is_some() {
            self.file.at.store(MOVED_ONCE, Relaxed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
