//! The numbers of preview1: flags, rights, file types, clocks, and the sizes of its structures.
//!
//! Values come from the specification's `typenames.witx`. Flags from a program are read with `from_bits`, which refuses
//! unknown bits; only rights are read leniently, since programs in the wild ask for `!0`.

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign};

use crate::errno::Errno;

macro_rules! flags {
    ($(#[$doc:meta])* $name:ident: $repr:ty { $($(#[$flag_doc:meta])* $flag:ident = $bit:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub struct $name($repr);

        impl $name {
            $($(#[$flag_doc])* pub const $flag: Self = Self(1 << $bit);)*
            /// No flag.
            pub const NONE: Self = Self(0);
            /// Every flag.
            pub const ALL: Self = Self($(1 << $bit)|*);

            /// The flags as a number.
            pub const fn bits(self) -> $repr {
                self.0
            }

            /// The flags in `bits`; unknown ones are dropped.
            pub const fn from_bits_truncate(bits: $repr) -> Self {
                Self(bits & Self::ALL.0)
            }

            /// Whether all of `other` are set.
            #[inline]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Whether any of `other` is set.
            #[inline]
            pub const fn intersects(self, other: Self) -> bool {
                self.0 & other.0 != 0
            }

            /// Whether none is set.
            #[inline]
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }

            /// Those that are not in `other`.
            pub const fn without(self, other: Self) -> Self {
                Self(self.0 & !other.0)
            }

            /// Those of either, where constants are made.
            pub const fn union(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }

        impl BitOr for $name {
            type Output = Self;
            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }

        impl BitOrAssign for $name {
            fn bitor_assign(&mut self, other: Self) {
                self.0 |= other.0;
            }
        }

        impl BitAnd for $name {
            type Output = Self;
            fn bitand(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut first = true;
                $(if self.contains(Self::$flag) {
                    f.write_str(if first { "" } else { "|" })?;
                    f.write_str(stringify!($flag))?;
                    first = false;
                })*
                if first { f.write_str("0") } else { Ok(()) }
            }
        }
    };
}

macro_rules! small_flags {
    ($($name:ident)*) => {
        $(impl $name {
            /// The flags that a program passed.
            ///
            /// # Errors
            ///
            /// `INVAL` for a bit that the specification does not define.
            pub fn from_bits(bits: u32) -> Result<Self, Errno> {
                u16::try_from(bits)
                    .ok()
                    .map(Self::from_bits_truncate)
                    .filter(|flags| u32::from(flags.bits()) == bits)
                    .ok_or(Errno::INVAL)
            }
        })*
    };
}

flags! {
    /// What may be done through a descriptor.
    Rights: u64 {
        /// `fd_datasync`.
        FD_DATASYNC = 0;
        /// `fd_read` and `sock_recv`; with `FD_SEEK` also `fd_pread`.
        FD_READ = 1;
        /// `fd_seek`.
        FD_SEEK = 2;
        /// `fd_fdstat_set_flags`.
        FD_FDSTAT_SET_FLAGS = 3;
        /// `fd_sync`.
        FD_SYNC = 4;
        /// `fd_tell`, and `fd_seek` that moves nothing.
        FD_TELL = 5;
        /// `fd_write` and `sock_send`; with `FD_SEEK` also `fd_pwrite`.
        FD_WRITE = 6;
        /// `fd_advise`.
        FD_ADVISE = 7;
        /// `fd_allocate`.
        FD_ALLOCATE = 8;
        /// `path_create_directory`.
        PATH_CREATE_DIRECTORY = 9;
        /// `path_open` that creates.
        PATH_CREATE_FILE = 10;
        /// `path_link`, the old name.
        PATH_LINK_SOURCE = 11;
        /// `path_link`, the new name.
        PATH_LINK_TARGET = 12;
        /// `path_open`.
        PATH_OPEN = 13;
        /// `fd_readdir`.
        FD_READDIR = 14;
        /// `path_readlink`.
        PATH_READLINK = 15;
        /// `path_rename`, the old name.
        PATH_RENAME_SOURCE = 16;
        /// `path_rename`, the new name.
        PATH_RENAME_TARGET = 17;
        /// `path_filestat_get`.
        PATH_FILESTAT_GET = 18;
        /// `path_open` that truncates.
        PATH_FILESTAT_SET_SIZE = 19;
        /// `path_filestat_set_times`.
        PATH_FILESTAT_SET_TIMES = 20;
        /// `fd_filestat_get`.
        FD_FILESTAT_GET = 21;
        /// `fd_filestat_set_size`.
        FD_FILESTAT_SET_SIZE = 22;
        /// `fd_filestat_set_times`.
        FD_FILESTAT_SET_TIMES = 23;
        /// `path_symlink`.
        PATH_SYMLINK = 24;
        /// `path_remove_directory`.
        PATH_REMOVE_DIRECTORY = 25;
        /// `path_unlink_file`.
        PATH_UNLINK_FILE = 26;
        /// `poll_oneoff` on the descriptor.
        POLL_FD_READWRITE = 27;
        /// `sock_shutdown`.
        SOCK_SHUTDOWN = 28;
        /// `sock_accept`.
        SOCK_ACCEPT = 29;
    }
}

impl Rights {
    /// What applies to files, and to whatever else is read and written.
    pub const FILE: Self = Self::FD_DATASYNC
        .union(Self::FD_READ)
        .union(Self::FD_SEEK)
        .union(Self::FD_FDSTAT_SET_FLAGS)
        .union(Self::FD_SYNC)
        .union(Self::FD_TELL)
        .union(Self::FD_WRITE)
        .union(Self::FD_ADVISE)
        .union(Self::FD_ALLOCATE)
        .union(Self::FD_FILESTAT_GET)
        .union(Self::FD_FILESTAT_SET_SIZE)
        .union(Self::FD_FILESTAT_SET_TIMES)
        .union(Self::POLL_FD_READWRITE);

    /// What applies to directories.
    pub const DIRECTORY: Self = Self::FD_DATASYNC
        .union(Self::FD_FDSTAT_SET_FLAGS)
        .union(Self::FD_SYNC)
        .union(Self::PATH_CREATE_DIRECTORY)
        .union(Self::PATH_CREATE_FILE)
        .union(Self::PATH_LINK_SOURCE)
        .union(Self::PATH_LINK_TARGET)
        .union(Self::PATH_OPEN)
        .union(Self::FD_READDIR)
        .union(Self::PATH_READLINK)
        .union(Self::PATH_RENAME_SOURCE)
        .union(Self::PATH_RENAME_TARGET)
        .union(Self::PATH_FILESTAT_GET)
        .union(Self::PATH_FILESTAT_SET_SIZE)
        .union(Self::PATH_FILESTAT_SET_TIMES)
        .union(Self::FD_FILESTAT_GET)
        .union(Self::FD_FILESTAT_SET_TIMES)
        .union(Self::PATH_SYMLINK)
        .union(Self::PATH_REMOVE_DIRECTORY)
        .union(Self::PATH_UNLINK_FILE);

    /// What applies to sockets.
    pub const SOCKET: Self = Self::FD_READ
        .union(Self::FD_WRITE)
        .union(Self::FD_FDSTAT_SET_FLAGS)
        .union(Self::FD_FILESTAT_GET)
        .union(Self::POLL_FD_READWRITE)
        .union(Self::SOCK_SHUTDOWN)
        .union(Self::SOCK_ACCEPT);

    /// What changes a file's contents or attributes: never granted beneath a read-only directory.
    pub const FILE_MUTATION: Self =
        Self::FD_WRITE.union(Self::FD_ALLOCATE).union(Self::FD_FILESTAT_SET_SIZE).union(Self::FD_FILESTAT_SET_TIMES);
}

flags! {
    /// Flags of an open descriptor.
    FdFlags: u16 {
        /// Writes go to the end.
        APPEND = 0;
        /// Writes end when the data are on the device.
        DSYNC = 1;
        /// Nothing blocks.
        NONBLOCK = 2;
        /// Reads end when the file is synchronised.
        RSYNC = 3;
        /// Writes end when data and attributes are on the device.
        SYNC = 4;
    }
}

flags! {
    /// How `path_open` opens.
    OpenFlags: u16 {
        /// Create the file if it does not exist.
        CREATE = 0;
        /// Fail if it is not a directory.
        DIRECTORY = 1;
        /// Fail if it exists.
        EXCLUSIVE = 2;
        /// Truncate it.
        TRUNCATE = 3;
    }
}

flags! {
    /// How a path is looked up.
    LookupFlags: u16 {
        /// Follow a symbolic link in the last component.
        SYMLINK_FOLLOW = 0;
    }
}

flags! {
    /// Which times to set, and to what.
    FstFlags: u16 {
        /// Access time: the given value.
        ATIM = 0;
        /// Access time: now.
        ATIM_NOW = 1;
        /// Modification time: the given value.
        MTIM = 2;
        /// Modification time: now.
        MTIM_NOW = 3;
    }
}

flags! {
    /// How `sock_recv` receives.
    RecvFlags: u16 {
        /// Leave the data where they are.
        PEEK = 0;
        /// Wait until the buffers are full.
        WAITALL = 1;
    }
}

flags! {
    /// Which side of a connection to shut down.
    ShutdownFlags: u16 {
        /// Receiving.
        READ = 0;
        /// Sending.
        WRITE = 1;
    }
}

flags! {
    /// How a clock subscription counts.
    SubscriptionClockFlags: u16 {
        /// The timeout is a point in time, not a duration.
        ABSTIME = 0;
    }
}

small_flags! { FdFlags OpenFlags LookupFlags FstFlags RecvFlags ShutdownFlags SubscriptionClockFlags }

/// The type of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FileType {
    /// Something else, a pipe for example.
    Unknown = 0,
    /// A block device.
    BlockDevice = 1,
    /// A character device.
    CharacterDevice = 2,
    /// A directory.
    Directory = 3,
    /// A regular file.
    RegularFile = 4,
    /// A datagram socket.
    SocketDgram = 5,
    /// A stream socket.
    SocketStream = 6,
    /// A symbolic link.
    SymbolicLink = 7,
}

impl From<rustix::fs::FileType> for FileType {
    fn from(kind: rustix::fs::FileType) -> Self {
        use rustix::fs::FileType as Host;
        match kind {
            Host::RegularFile => Self::RegularFile,
            Host::Directory => Self::Directory,
            Host::Symlink => Self::SymbolicLink,
            Host::CharacterDevice => Self::CharacterDevice,
            Host::BlockDevice => Self::BlockDevice,
            // Which kind of socket a mode bit does not say; a stream socket is the one that has a name in a directory.
            Host::Socket => Self::SocketStream,
            Host::Fifo | Host::Unknown => Self::Unknown,
        }
    }
}

/// A clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ClockId {
    /// Wall-clock time since 1970.
    Realtime = 0,
    /// Time that never goes back.
    Monotonic = 1,
    /// Processor time of the process.
    ProcessCpuTime = 2,
    /// Processor time of the thread.
    ThreadCpuTime = 3,
}

impl ClockId {
    /// The clock that a program named.
    ///
    /// # Errors
    ///
    /// `INVAL` for a number that names none.
    pub const fn from_number(number: u32) -> Result<Self, Errno> {
        Ok(match number {
            0 => Self::Realtime,
            1 => Self::Monotonic,
            2 => Self::ProcessCpuTime,
            3 => Self::ThreadCpuTime,
            _ => return Err(Errno::INVAL),
        })
    }
}

/// Bytes of what crosses the boundary. Pointers, sizes and what holds them have their sizes in the memory's accessors.
pub(crate) mod size {
    pub(crate) const FD: u64 = 4;
    pub(crate) const FDSTAT: u64 = 24;
    pub(crate) const FILESTAT: u64 = 64;
    pub(crate) const DIRENT: usize = 24;
    pub(crate) const SUBSCRIPTION: u64 = 48;
    pub(crate) const EVENT: u64 = 32;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_bits_are_refused() {
        assert_eq!(OpenFlags::from_bits(0b1001), Ok(OpenFlags::CREATE | OpenFlags::TRUNCATE));
        assert_eq!(OpenFlags::from_bits(0b1_0000), Err(Errno::INVAL));
        assert_eq!(FdFlags::from_bits(1 << 16), Err(Errno::INVAL));
        assert_eq!(format!("{:?}", FdFlags::APPEND | FdFlags::SYNC), "APPEND|SYNC");
        assert_eq!(Rights::ALL.bits(), (1 << 30) - 1);
    }
}
