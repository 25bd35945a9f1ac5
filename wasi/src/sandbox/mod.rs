//! Paths, confined: every path that a program gives is resolved beneath a directory that it holds, or not at all.
//!
//! The kernel does it (`openat2` with `RESOLVE_BENEATH`), atomically and without magic links. Where the kernel has no such
//! call, `walk` does it one component at a time and never lets the kernel follow a link. Operations on a name
//! (unlink, rename, …) resolve the directory that holds it and then act on that one name, with no slash in it.

mod walk;

use std::sync::atomic::{AtomicU8, Ordering};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno as HostErrno;

use crate::errno::Errno;
use crate::limits::{PATH_BYTES, RACE_RETRIES};

/// How paths are resolved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PathResolution {
    /// By the kernel, and in user space where the kernel cannot (before Linux 5.6, or under a filter that forbids
    /// `openat2`).
    #[default]
    Kernel,
    /// In user space always. Slower; as strict. For tests, and for hosts whose kernel is not to be asked.
    Walk,
}

/// The directory and name that the last component of a path stands for.
pub(crate) struct Entry<'a> {
    directory: Holder<'a>,
    /// One component: not empty, not `.` or `..`, without a slash.
    pub(crate) name: &'a [u8],
    /// Whether the path ended in a slash, and so means a directory.
    pub(crate) trailing_slash: bool,
}

enum Holder<'a> {
    /// The directory that the program named.
    Given(BorrowedFd<'a>),
    /// One beneath it.
    Beneath(OwnedFd),
}

impl Entry<'_> {
    /// The directory that holds the name.
    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        match &self.directory {
            Holder::Given(fd) => *fd,
            Holder::Beneath(fd) => fd.as_fd(),
        }
    }

    /// What the name stands for now, a symbolic link for itself.
    pub(crate) fn stat(&self) -> Result<Stat, Errno> {
        Ok(rustix::fs::statat(self.directory(), self.name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// As [`stat`](Self::stat), but only the type.
    pub(crate) fn file_type(&self) -> Result<FileType, Errno> {
        Ok(FileType::from_raw_mode(self.stat()?.st_mode))
    }
}

/// Refuses what is no relative path.
pub(crate) fn check(path: &[u8]) -> Result<(), Errno> {
    match path {
        [] => Err(Errno::NOENT),
        // As Wasmtime does. NOTCAPABLE would be allowed, but it is a word that no program knows.
        [b'/', ..] => Err(Errno::PERM),
        _ if path.len() > PATH_BYTES => Err(Errno::NAMETOOLONG),
        _ if path.contains(&0) => Err(Errno::ILSEQ),
        _ => Ok(()),
    }
}

/// Opens `path` beneath `directory`. Links are followed, the last one too unless `flags` hold `NOFOLLOW`; `mode` is
/// for files that are created.
///
/// A path that leaves the directory, on the way or in the end, is `PERM`.
pub(crate) fn open(
    resolution: PathResolution,
    directory: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    check(path)?;
    let flags = flags | OFlags::CLOEXEC;
    if resolution == PathResolution::Kernel
        && let Some(result) = open_beneath(directory, path, flags, mode)
    {
        return result;
    }
    walk::open(directory, path, flags, mode)
}

/// The directory that `path` names, to act on names in it.
pub(crate) fn open_directory(resolution: PathResolution, directory: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    open(resolution, directory, path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
}

/// Splits `path` into the directory that holds its last component, resolved, and that component.
///
/// `None` if the last component is `.` or `..`: the path then names a directory that exists (it has been resolved to
/// make sure), and nothing that acts on names can act on it.
pub(crate) fn entry<'a>(resolution: PathResolution, directory: BorrowedFd<'a>, path: &'a [u8]) -> Result<Option<Entry<'a>>, Errno> {
    check(path)?;
    // Not empty afterwards: a path of slashes alone is absolute.
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let (stripped, slashes) = path.split_at(end);
    let start = stripped.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let (prefix, name) = stripped.split_at(start);
    if name == b"." || name == b".." {
        open_directory(resolution, directory, path)?;
        return Ok(None);
    }
    let directory =
        if prefix.is_empty() { Holder::Given(directory) } else { Holder::Beneath(open_directory(resolution, directory, prefix)?) };
    Ok(Some(Entry { directory, name, trailing_slash: !slashes.is_empty() }))
}

const UNKNOWN: u8 = 0;
const PRESENT: u8 = 1;
const ABSENT: u8 = 2;

/// Whether this kernel has `openat2`: found out by the first path, once for the process, not at start-up.
static OPENAT2: AtomicU8 = AtomicU8::new(UNKNOWN);

const RESOLVE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// Lets the kernel resolve; `None` if it cannot, and the walk has to.
fn open_beneath(directory: BorrowedFd<'_>, path: &[u8], flags: OFlags, mode: Mode) -> Option<Result<OwnedFd, Errno>> {
    let known = OPENAT2.load(Ordering::Relaxed);
    if known == ABSENT {
        return None;
    }
    for _ in 0..RACE_RETRIES {
        match rustix::fs::openat2(directory, path, flags, mode, RESOLVE) {
            // Somebody renamed or mounted something while the kernel resolved a `..`.
            Err(HostErrno::AGAIN) => {}
            Err(HostErrno::NOSYS) => {
                OPENAT2.store(ABSENT, Ordering::Relaxed);
                return None;
            }
            // A system call filter may answer EPERM to a call that it does not know, and then does so for any path.
            Err(HostErrno::PERM) if known == UNKNOWN && !probe(directory) => {
                OPENAT2.store(ABSENT, Ordering::Relaxed);
                return None;
            }
            result => {
                if known == UNKNOWN {
                    OPENAT2.store(PRESENT, Ordering::Relaxed);
                }
                return Some(result.map_err(|error| match error {
                    // What `RESOLVE_BENEATH` says of a path that leaves.
                    HostErrno::XDEV => Errno::PERM,
                    error => error.into(),
                }));
            }
        }
    }
    None
}

/// Whether `openat2` works on a path that cannot be refused.
fn probe(directory: BorrowedFd<'_>) -> bool {
    rustix::fs::openat2(directory, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), RESOLVE).is_ok()
}

#[cfg(test)]
mod tests;
