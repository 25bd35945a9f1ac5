//! Resolves a path in user space, one component at a time, for kernels without `openat2`.
//!
//! The kernel is only ever given one name at a time and never follows a link: links are read and their text is walked like
//! the path itself. The directories on the way are kept open as a stack, and `..` takes one off it; so `..` leads back
//! where the walk came from, whatever is renamed meanwhile, and there is nothing to take off at the root.

use std::mem::MaybeUninit;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno as HostErrno;

use crate::errno::Errno;
use crate::limits::{PATH_BYTES, SYMLINKS};

/// What is left to walk.
struct Pending {
    /// The next component is the last element.
    components: Vec<Box<[u8]>>,
    /// Whether the last component has to be a directory, because a slash follows it.
    trailing_slash: bool,
    links: u32,
}

impl Pending {
    /// Puts the components of `path` before what is left.
    fn push(&mut self, path: &[u8]) {
        if self.components.is_empty() {
            self.trailing_slash |= path.ends_with(b"/");
        }
        let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty());
        let at = self.components.len();
        self.components.extend(parts.map(Box::from));
        self.components[at..].reverse();
    }

    /// Counts a link, or another attempt at a name that changes under our hands.
    fn count(&mut self) -> Result<(), Errno> {
        self.links += 1;
        if self.links > SYMLINKS { Err(Errno::LOOP) } else { Ok(()) }
    }

    /// Goes on with the text of a link.
    fn expand(&mut self, target: &[u8]) -> Result<(), Errno> {
        self.count()?;
        match target {
            [] => Err(Errno::NOENT),
            [b'/', ..] => Err(Errno::PERM),
            _ => {
                self.push(target);
                Ok(())
            }
        }
    }
}

/// As [`super::open`]; `path` has been checked.
pub(super) fn open(root: BorrowedFd<'_>, path: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let mut pending = Pending { components: Vec::new(), trailing_slash: false, links: 0 };
    pending.push(path);
    let mut directories: Vec<OwnedFd> = Vec::new();
    while let Some(name) = pending.components.pop() {
        let here = directories.last().map_or(root, |fd| fd.as_fd());
        let last = pending.components.is_empty();
        match &*name {
            b"." => {}
            b".." => {
                if directories.pop().is_none() {
                    return Err(Errno::PERM);
                }
            }
            _ if last => {
                if let Some(file) = open_last(here, &name, flags, mode, &mut pending)? {
                    return Ok(file);
                }
            }
            _ => {
                let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                match rustix::fs::openat(here, &*name, step, Mode::empty()) {
                    Ok(directory) => directories.push(directory),
                    Err(HostErrno::NOTDIR | HostErrno::LOOP) => {
                        let target = read_link(here, &name)?.ok_or(Errno::NOTDIR)?;
                        pending.expand(&target)?;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
    // The path ended in `.` or `..`, and names the directory where the walk stands.
    if flags.contains(OFlags::CREATE) {
        return Err(if flags.contains(OFlags::EXCL) { Errno::EXIST } else { Errno::ISDIR });
    }
    let here = directories.last().map_or(root, |fd| fd.as_fd());
    Ok(rustix::fs::openat(here, ".", flags, Mode::empty())?)
}

/// Opens the last component, or finds a link there and puts its text into `pending`.
fn open_last(here: BorrowedFd<'_>, name: &[u8], mut flags: OFlags, mode: Mode, pending: &mut Pending) -> Result<Option<OwnedFd>, Errno> {
    let exclusive = flags.contains(OFlags::CREATE | OFlags::EXCL);
    if pending.trailing_slash {
        if flags.contains(OFlags::CREATE) {
            return Err(Errno::ISDIR);
        }
        flags |= OFlags::DIRECTORY;
    }
    // A slash after a link follows it, whatever was asked.
    let follow = !exclusive && (pending.trailing_slash || !flags.contains(OFlags::NOFOLLOW));
    if follow && let Some(target) = read_link(here, name)? {
        pending.expand(&target)?;
        return Ok(None);
    }
    match rustix::fs::openat(here, name, flags | OFlags::NOFOLLOW, mode) {
        // It has become a link since we looked.
        Err(HostErrno::LOOP) if follow => {
            pending.count()?;
            pending.components.push(name.into());
            Ok(None)
        }
        result => Ok(Some(result?)),
    }
}

/// The text of the link `name`, or `None` if it is no link or does not exist.
fn read_link(directory: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); PATH_BYTES + 1];
    match rustix::fs::readlinkat_raw(directory, name, &mut buffer) {
        Ok((target, _)) => Ok(Some(target.to_vec())),
        Err(HostErrno::INVAL | HostErrno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
