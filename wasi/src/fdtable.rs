//! What a program has open: a vector indexed by descriptor number, and what each descriptor is and may do.
//!
//! A new descriptor takes the lowest free number, as POSIX programs expect; a mark below which nothing is free keeps the
//! search short. A program of one thread has the table to itself: looking a descriptor up is an index and a test of rights,
//! no lock, no allocation, no system call. Threads of one program share it behind a lock that is held for a lookup and never
//! during a call of the host: what a call works on it has counted, so that another thread may close it meanwhile.

use std::ops::Deref;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use crate::errno::Errno;
use crate::position::{Regular, Turn};
use crate::preview1::Listing;
use crate::stdio::Stream;
use crate::types::{FdFlags, Rights};

/// An open descriptor. What can change of it changes one value at a time, so that no thread sees half a change.
pub(crate) struct Descriptor {
    /// Never another one.
    pub(crate) object: Object,
    /// The number of the host's descriptor, found without looking at what the object is; negative if there is none.
    raw: RawFd,
    /// What may be done through it.
    rights: AtomicU64,
    /// What may be done through descriptors that are opened beneath it.
    inheriting: AtomicU64,
    /// The flags as the program set them, and above them those that are imitated, and [`FIFO`].
    flags: AtomicU32,
}

/// Marks a FIFO, which was opened without waiting for its other side.
const FIFO: u32 = 1 << 31;

/// What a descriptor stands for.
pub(crate) enum Object {
    /// A regular file that was opened by a path.
    Regular(Regular),
    /// A device, a pipe: whatever else was opened by a path and is no directory.
    File(OwnedFd),
    Directory(Directory),
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
    pub(crate) listing: Mutex<Option<Box<Listing>>>,
}

impl Directory {
    pub(crate) fn new(fd: OwnedFd, read_only: bool, preopen: Option<Box<[u8]>>) -> Self {
        Self { fd, read_only, preopen, listing: Mutex::default() }
    }
}

impl Descriptor {
    pub(crate) fn new(object: Object, rights: Rights, inheriting: Rights, flags: FdFlags) -> Self {
        let mut new = Self {
            object,
            raw: -1,
            rights: AtomicU64::new(rights.bits()),
            inheriting: AtomicU64::new(inheriting.bits()),
            flags: AtomicU32::new(flags.bits().into()),
        };
        new.raw = new.host().map_or(-1, |fd| fd.as_raw_fd());
        new
    }

    /// What may be done through it.
    #[inline]
    pub(crate) fn rights(&self) -> Rights {
        Rights::from_bits_truncate(self.rights.load(Relaxed))
    }

    /// What may be done through descriptors that are opened beneath it.
    #[inline]
    pub(crate) fn inheriting(&self) -> Rights {
        Rights::from_bits_truncate(self.inheriting.load(Relaxed))
    }

    /// Gives up whatever is not in these; false if it would gain anything.
    #[must_use]
    pub(crate) fn restrict(&self, rights: u64, inheriting: u64) -> bool {
        if rights & !self.rights().bits() | inheriting & !self.inheriting().bits() != 0 {
            return false;
        }
        // Two threads that restrict at once leave what both allow.
        self.rights.fetch_and(rights, Relaxed);
        self.inheriting.fetch_and(inheriting, Relaxed);
        true
    }

    /// The flags as the program set them.
    #[inline]
    pub(crate) fn flags(&self) -> FdFlags {
        FdFlags::from_bits_truncate(self.flags.load(Relaxed) as u16)
    }

    /// Those of the flags that the host's descriptor does not have and that are imitated: `NONBLOCK` on standard streams,
    /// whose descriptors other processes share, and sync flags set after opening, which Linux ignores.
    #[inline]
    pub(crate) fn imitated(&self) -> FdFlags {
        FdFlags::from_bits_truncate((self.flags.load(Relaxed) >> 16) as u16)
    }

    /// Whether a call has to look at what is imitated, or at a FIFO, before it reads or writes.
    #[inline]
    pub(crate) fn is_special(&self) -> bool {
        self.flags.load(Relaxed) >> 16 != 0
    }

    /// Whether it is a FIFO.
    pub(crate) fn is_fifo(&self) -> bool {
        self.flags.load(Relaxed) & FIFO != 0
    }

    pub(crate) fn set_flags(&self, flags: FdFlags, imitated: FdFlags) {
        let fifo = self.flags.load(Relaxed) & FIFO;
        self.flags.store(u32::from(flags.bits()) | u32::from(imitated.bits()) << 16 | fifo, Relaxed);
    }

    pub(crate) fn mark_fifo(&mut self) {
        *self.flags.get_mut() |= FIFO;
    }

    /// The host's descriptor, if there is one.
    #[inline]
    pub(crate) fn host(&self) -> Option<BorrowedFd<'_>> {
        match &self.object {
            Object::Regular(file) => Some(file.fd()),
            Object::File(fd) | Object::Socket(fd) => Some(fd.as_fd()),
            Object::Directory(directory) => Some(directory.fd.as_fd()),
            Object::Stream(stream) => stream.host(),
        }
    }

    /// The number of [`host`](Self::host), open as long as the descriptor is borrowed.
    #[inline]
    pub(crate) fn raw(&self) -> Option<RawFd> {
        (self.raw >= 0).then_some(self.raw)
    }

    /// What to poll for it; without it, it is always ready.
    pub(crate) fn pollable(&self) -> Option<BorrowedFd<'_>> {
        match &self.object {
            Object::Stream(Stream::Pipe(pipe)) => Some(pipe.ready()),
            _ => self.host(),
        }
    }

    /// How many bytes can be read at once; 1 where nobody knows, as of a socket on which a connection waits.
    pub(crate) fn readable(&self) -> u64 {
        match &self.object {
            Object::Stream(Stream::Pipe(pipe)) => pipe.unread() as u64,
            Object::Regular(file) => {
                // How much there is from the host's position on is what the host says.
                let turn = file.turn(false);
                turn.show().and_then(|()| rustix::io::ioctl_fionread(file.fd())).unwrap_or(1)
            }
            _ => self.host().and_then(|host| rustix::io::ioctl_fionread(host).ok()).unwrap_or(1),
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
            Object::Regular(_) | Object::File(_) | Object::Stream(_) if !Rights::FILE.contains(right) => Errno::NOTSOCK,
            // What POSIX says of reading what was opened for writing.
            _ if right.intersects(Rights::FD_READ | Rights::FD_WRITE) => Errno::BADF,
            Object::Socket(_) if right.intersects(Rights::FD_SEEK | Rights::FD_TELL) => Errno::SPIPE,
            _ => Errno::NOTCAPABLE,
        }
    }

    /// Fails unless the descriptor has `right`.
    #[inline]
    pub(crate) fn require(&self, right: Rights) -> Result<(), Errno> {
        if self.rights().contains(right) { Ok(()) } else { Err(self.refusal(right)) }
    }
}

/// A descriptor for the length of one call.
pub(crate) enum Held<'a> {
    /// Nobody else could close it.
    Borrowed(&'a Descriptor),
    /// Another thread may close it; the host's descriptor lives until the call is over.
    Counted(Arc<Descriptor>),
}

impl Held<'_> {
    /// The use of the position of a file that has one of its own.
    #[inline]
    pub(crate) fn turn(&self) -> Option<Turn<'_>> {
        match &self.object {
            Object::Regular(file) => Some(file.turn(matches!(self, Self::Borrowed(_)))),
            _ => None,
        }
    }
}

impl Deref for Held<'_> {
    type Target = Descriptor;
    #[inline]
    fn deref(&self) -> &Descriptor {
        match self {
            Self::Borrowed(descriptor) => descriptor,
            Self::Counted(descriptor) => descriptor,
        }
    }
}

/// A directory for the length of one call.
pub(crate) struct HeldDirectory<'a>(Held<'a>);

impl Deref for HeldDirectory<'_> {
    type Target = Directory;
    fn deref(&self) -> &Directory {
        match &self.0.object {
            Object::Directory(directory) => directory,
            // Made only by `Fds::directory`, which looked.
            _ => unreachable!("a held directory is a directory"),
        }
    }
}

impl HeldDirectory<'_> {
    pub(crate) fn descriptor(&self) -> &Descriptor {
        &self.0
    }
}

/// The descriptors of a program, as one of its threads reaches them.
pub(crate) enum Fds {
    /// The program has one thread.
    Alone(FdTable),
    /// It has or may have several.
    Shared(Arc<Mutex<FdTable>>),
}

fn lock(table: &Mutex<FdTable>) -> MutexGuard<'_, FdTable> {
    // No method of the table panics between two states that fit together.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fds {
    pub(crate) fn new(limit: usize) -> Self {
        Self::Alone(FdTable::new(limit))
    }

    /// The table as other threads can reach it, from now on.
    pub(crate) fn share(&mut self) -> Arc<Mutex<FdTable>> {
        match self {
            Self::Shared(table) => table.clone(),
            Self::Alone(table) => {
                let table = Arc::new(Mutex::new(std::mem::replace(table, FdTable::new(0))));
                *self = Self::Shared(table.clone());
                table
            }
        }
    }

    /// The descriptor, or `BADF`.
    #[inline]
    pub(crate) fn get(&self, fd: u32) -> Result<Held<'_>, Errno> {
        match self {
            Self::Alone(table) => Ok(Held::Borrowed(table.get(fd)?)),
            Self::Shared(table) => Ok(Held::Counted(lock(table).get(fd)?.clone())),
        }
    }

    /// The descriptor if it has `right`.
    #[inline]
    pub(crate) fn with(&self, fd: u32, right: Rights) -> Result<Held<'_>, Errno> {
        let descriptor = self.get(fd)?;
        descriptor.require(right)?;
        Ok(descriptor)
    }

    /// The directory if it has `right`.
    pub(crate) fn directory(&self, fd: u32, right: Rights) -> Result<HeldDirectory<'_>, Errno> {
        let descriptor = self.get(fd)?;
        descriptor.directory()?;
        descriptor.require(right)?;
        Ok(HeldDirectory(descriptor))
    }

    /// As [`directory`](Self::directory), where something beneath it is to be changed.
    pub(crate) fn writable_directory(&self, fd: u32, right: Rights) -> Result<HeldDirectory<'_>, Errno> {
        let directory = self.directory(fd, right)?;
        if directory.read_only { Err(Errno::ROFS) } else { Ok(directory) }
    }

    fn table<R>(&mut self, change: impl FnOnce(&mut FdTable) -> R) -> R {
        match self {
            Self::Alone(table) => change(table),
            Self::Shared(table) => change(&mut lock(table)),
        }
    }

    /// Fails if no descriptor could be added. Asked before a file is created or a connection accepted; another thread
    /// may be quicker, then adding it fails.
    pub(crate) fn check_room(&mut self) -> Result<(), Errno> {
        self.table(FdTable::check_room)
    }

    /// Gives `descriptor` the lowest free number.
    pub(crate) fn insert(&mut self, descriptor: Descriptor) -> Result<u32, Errno> {
        self.table(|table| table.insert(descriptor))
    }

    /// Closes a descriptor, or takes it from whoever is at work on it.
    pub(crate) fn close(&mut self, fd: u32) -> Result<(), Errno> {
        // Closing can take long; it happens when the lock is released.
        self.table(|table| table.remove(fd)).map(drop)
    }

    /// Moves `from` to the number `to`, whose descriptor is closed. Both have to be open.
    pub(crate) fn renumber(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        self.table(|table| table.renumber(from, to)).map(drop)
    }
}

/// All descriptors of a program.
pub(crate) struct FdTable {
    slots: Vec<Option<Arc<Descriptor>>>,
    /// Every slot below this one is taken.
    lowest: usize,
    limit: usize,
}

impl FdTable {
    fn new(limit: usize) -> Self {
        // Descriptors are 32-bit numbers, and the highest is left out for programs that take it as signed.
        Self { slots: Vec::new(), lowest: 0, limit: limit.min(i32::MAX as usize) }
    }

    #[inline]
    pub(crate) fn get(&self, fd: u32) -> Result<&Arc<Descriptor>, Errno> {
        match self.slots.get(fd as usize) {
            Some(Some(descriptor)) => Ok(descriptor),
            _ => Err(Errno::BADF),
        }
    }

    fn check_room(&mut self) -> Result<(), Errno> {
        while let Some(Some(_)) = self.slots.get(self.lowest) {
            self.lowest += 1;
        }
        if self.lowest < self.limit { Ok(()) } else { Err(Errno::MFILE) }
    }

    fn insert(&mut self, descriptor: Descriptor) -> Result<u32, Errno> {
        self.check_room()?;
        let index = self.lowest;
        let descriptor = Some(Arc::new(descriptor));
        match self.slots.get_mut(index) {
            Some(slot) => *slot = descriptor,
            None => self.slots.push(descriptor),
        }
        self.lowest += 1;
        // `limit` is below 2^31.
        Ok(index as u32)
    }

    fn remove(&mut self, fd: u32) -> Result<Arc<Descriptor>, Errno> {
        let descriptor = self.slots.get_mut(fd as usize).and_then(Option::take).ok_or(Errno::BADF)?;
        self.lowest = self.lowest.min(fd as usize);
        Ok(descriptor)
    }

    /// What had the number `to` is returned, to be closed without the lock.
    fn renumber(&mut self, from: u32, to: u32) -> Result<Option<Arc<Descriptor>>, Errno> {
        self.get(from)?;
        self.get(to)?;
        if from == to {
            return Ok(None);
        }
        let moved = self.remove(from)?;
        Ok(self.slots.get_mut(to as usize).and_then(|slot| slot.replace(moved)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(tag: u64) -> Descriptor {
        Descriptor::new(Object::Stream(Stream::null()), Rights::from_bits_truncate(tag), Rights::NONE, FdFlags::NONE)
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
        assert_eq!(table.renumber(0, 2).err(), Some(Errno::BADF));
        assert_eq!(table.renumber(2, 0).err(), Some(Errno::BADF));
        assert!(table.renumber(1, 1).is_ok());
        assert!(table.renumber(1, 0).is_ok());
        assert_eq!(table.get(0).unwrap().rights().bits(), 2);
        assert_eq!(table.get(1).err(), Some(Errno::BADF));
        assert_eq!(table.insert(descriptor(4)), Ok(1));
    }

    #[test]
    fn what_is_in_use_outlives_its_number() {
        let mut fds = Fds::new(9);
        fds.insert(descriptor(1)).unwrap();
        let mut other = Fds::Shared(fds.share());
        let held = fds.get(0).unwrap();
        assert_eq!(other.close(0), Ok(()));
        assert_eq!(held.rights().bits(), 1);
        assert_eq!(other.insert(descriptor(2)), Ok(0));
        assert_eq!(held.rights().bits(), 1);
        assert_eq!(fds.get(0).unwrap().rights().bits(), 2);
    }

    #[test]
    fn rights_only_shrink() {
        let one = descriptor(6);
        assert!(!one.restrict(1, 0));
        assert!(!one.restrict(0, 1));
        assert!(one.restrict(2, 0));
        assert!(!one.restrict(4, 0));
        one.set_flags(FdFlags::SYNC | FdFlags::APPEND, FdFlags::SYNC);
        assert_eq!((one.flags().bits(), one.imitated().bits()), (17, 16));
    }
}
