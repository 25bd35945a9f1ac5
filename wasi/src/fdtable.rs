//! What a program has open: a vector indexed by descriptor number, and what each descriptor is and may do.
//!
//! A new descriptor takes the lowest free number, as POSIX programs expect; a mark below which nothing is free keeps the
//! search short. Looking one up is an index and a test of rights: no lock, no allocation, no system call.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::errno::Errno;
use crate::preview1::Listing;
use crate::stdio::Stream;
use crate::types::{FdFlags, Rights};

/// An open descriptor.
pub(crate) struct Descriptor {
    pub(crate) object: Object,
    /// What may be done through it.
    pub(crate) rights: Rights,
    /// What may be done through descriptors that are opened beneath it.
    pub(crate) inheriting: Rights,
    /// The flags as the program set them.
    pub(crate) flags: FdFlags,
    /// Those of `flags` that the host's descriptor does not have and that are imitated: `NONBLOCK` on standard streams,
    /// whose descriptors other processes share, and sync flags set after opening, which Linux ignores.
    pub(crate) imitated: FdFlags,
}

/// What a descriptor stands for.
pub(crate) enum Object {
    /// A regular file, a device, a pipe: whatever was opened by a path and is no directory.
    File(OwnedFd),
    Directory(Box<Directory>),
    Socket(OwnedFd),
    Stream(Stream),
}

/// An open directory.
pub(crate) struct Directory {
    pub(crate) fd: OwnedFd,
    /// Whether nothing beneath it may be changed. Passed on to whatever is opened beneath it.
    pub(crate) read_only: bool,
    /// The name under which it was preopened.
    pub(crate) preopen: Option<Box<[u8]>>,
    /// What `fd_readdir` has read ahead.
    pub(crate) listing: Option<Box<Listing>>,
}

impl Descriptor {
    /// The host's descriptor, if there is one.
    #[inline]
    pub(crate) fn host(&self) -> Option<BorrowedFd<'_>> {
        match &self.object {
            Object::File(fd) | Object::Socket(fd) => Some(fd.as_fd()),
            Object::Directory(directory) => Some(directory.fd.as_fd()),
            Object::Stream(stream) => stream.host(),
        }
    }

    /// The directory, or `NOTDIR`.
    pub(crate) fn directory(&self) -> Result<&Directory, Errno> {
        match &self.object {
            Object::Directory(directory) => Ok(directory),
            _ => Err(Errno::NOTDIR),
        }
    }

    /// Why `right` is missing, in the words that fit best.
    #[cold]
    fn refusal(&self, right: Rights) -> Errno {
        match &self.object {
            Object::Directory(_) if !Rights::DIRECTORY.contains(right) => Errno::ISDIR,
            Object::Directory(_) => Errno::NOTCAPABLE,
            _ if !right.intersects(Rights::FILE.union(Rights::SOCKET)) => Errno::NOTDIR,
            Object::File(_) | Object::Stream(_) if !Rights::FILE.contains(right) => Errno::NOTSOCK,
            // What POSIX says of reading what was opened for writing.
            _ if right.intersects(Rights::FD_READ | Rights::FD_WRITE) => Errno::BADF,
            Object::Socket(_) if right.intersects(Rights::FD_SEEK | Rights::FD_TELL) => Errno::SPIPE,
            _ => Errno::NOTCAPABLE,
        }
    }

    /// Fails unless the descriptor has `right`.
    #[inline]
    pub(crate) fn require(&self, right: Rights) -> Result<(), Errno> {
        if self.rights.contains(right) { Ok(()) } else { Err(self.refusal(right)) }
    }
}

/// All descriptors of a program.
pub(crate) struct FdTable {
    slots: Vec<Option<Descriptor>>,
    /// Every slot below this one is taken.
    lowest: usize,
    limit: usize,
}

impl FdTable {
    pub(crate) fn new(limit: usize) -> Self {
        // Descriptors are 32-bit numbers, and the highest is left out for programs that take it as signed.
        Self { slots: Vec::new(), lowest: 0, limit: limit.min(i32::MAX as usize) }
    }

    /// The descriptor, or `BADF`.
    #[inline]
    pub(crate) fn get(&self, fd: u32) -> Result<&Descriptor, Errno> {
        match self.slots.get(fd as usize) {
            Some(Some(descriptor)) => Ok(descriptor),
            _ => Err(Errno::BADF),
        }
    }

    /// As [`get`](Self::get), to be changed.
    #[inline]
    pub(crate) fn get_mut(&mut self, fd: u32) -> Result<&mut Descriptor, Errno> {
        match self.slots.get_mut(fd as usize) {
            Some(Some(descriptor)) => Ok(descriptor),
            _ => Err(Errno::BADF),
        }
    }

    /// The descriptor if it has `right`.
    #[inline]
    pub(crate) fn with(&self, fd: u32, right: Rights) -> Result<&Descriptor, Errno> {
        let descriptor = self.get(fd)?;
        descriptor.require(right)?;
        Ok(descriptor)
    }

    /// As [`with`](Self::with), to be changed.
    #[inline]
    pub(crate) fn with_mut(&mut self, fd: u32, right: Rights) -> Result<&mut Descriptor, Errno> {
        let descriptor = self.get_mut(fd)?;
        descriptor.require(right)?;
        Ok(descriptor)
    }

    /// The directory if it has `right`.
    pub(crate) fn directory(&self, fd: u32, right: Rights) -> Result<(&Descriptor, &Directory), Errno> {
        let descriptor = self.get(fd)?;
        let directory = descriptor.directory()?;
        descriptor.require(right)?;
        Ok((descriptor, directory))
    }

    /// As [`directory`](Self::directory), where something beneath it is to be changed.
    pub(crate) fn writable_directory(&self, fd: u32, right: Rights) -> Result<&Directory, Errno> {
        let (_, directory) = self.directory(fd, right)?;
        if directory.read_only { Err(Errno::ROFS) } else { Ok(directory) }
    }

    /// Fails if no descriptor could be added. Asked before a file is created or a connection accepted.
    pub(crate) fn check_room(&mut self) -> Result<(), Errno> {
        while let Some(Some(_)) = self.slots.get(self.lowest) {
            self.lowest += 1;
        }
        if self.lowest < self.limit { Ok(()) } else { Err(Errno::MFILE) }
    }

    /// Gives `descriptor` the lowest free number.
    pub(crate) fn insert(&mut self, descriptor: Descriptor) -> Result<u32, Errno> {
        self.check_room()?;
        let index = self.lowest;
        match self.slots.get_mut(index) {
            Some(slot) => *slot = Some(descriptor),
            None => self.slots.push(Some(descriptor)),
        }
        self.lowest += 1;
        // `limit` is below 2^31.
        Ok(index as u32)
    }

    /// Takes a descriptor out.
    pub(crate) fn remove(&mut self, fd: u32) -> Result<Descriptor, Errno> {
        let descriptor = self.slots.get_mut(fd as usize).and_then(Option::take).ok_or(Errno::BADF)?;
        self.lowest = self.lowest.min(fd as usize);
        Ok(descriptor)
    }

    /// Moves `from` to the number `to`, whose descriptor is closed. Both have to be open.
    pub(crate) fn renumber(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        self.get(from)?;
        self.get(to)?;
        if from != to {
            let moved = self.remove(from)?;
            *self.get_mut(to)? = moved;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(tag: u64) -> Descriptor {
        Descriptor {
            object: Object::Stream(Stream::null()),
            rights: Rights::from_bits_truncate(tag),
            inheriting: Rights::NONE,
            flags: FdFlags::NONE,
            imitated: FdFlags::NONE,
        }
    }

    #[test]
    fn the_lowest_free_number_is_taken() {
        let mut table = FdTable::new(5);
        for expected in 0..5 {
            assert_eq!(table.insert(descriptor(0)), Ok(expected));
        }
        assert_eq!(table.insert(descriptor(0)), Err(Errno::MFILE));
        table.remove(3).unwrap();
        table.remove(1).unwrap();
        assert_eq!(table.insert(descriptor(0)), Ok(1));
        assert_eq!(table.insert(descriptor(0)), Ok(3));
        assert_eq!(table.insert(descriptor(0)), Err(Errno::MFILE));
        assert_eq!(table.remove(5).err(), Some(Errno::BADF));
        assert_eq!(table.remove(u32::MAX).err(), Some(Errno::BADF));
    }

    #[test]
    fn renumbering_moves() {
        let mut table = FdTable::new(9);
        table.insert(descriptor(1)).unwrap();
        table.insert(descriptor(2)).unwrap();
        assert_eq!(table.renumber(0, 2), Err(Errno::BADF));
        assert_eq!(table.renumber(2, 0), Err(Errno::BADF));
        assert_eq!(table.renumber(1, 1), Ok(()));
        assert_eq!(table.renumber(1, 0), Ok(()));
        assert_eq!(table.get(0).unwrap().rights.bits(), 2);
        assert_eq!(table.get(1).err(), Some(Errno::BADF));
        assert_eq!(table.insert(descriptor(4)), Ok(1));
    }
}
