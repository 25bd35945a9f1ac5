//! What a descriptor is: its flags and rights, its file's attributes, and the name under which it was preopened.
//!
//! Attributes are asked of the host each time; nothing is remembered that could be out of date. What kind of file is open cannot.

use std::num::NonZeroU64;

use rustix::fd::BorrowedFd;
use rustix::fs::{Advice, AtFlags, FallocateFlags, FileType as HostType, OFlags, Stat, Timespec, Timestamps};
use rustix::net::SocketType;

use super::clock::{NANOS, nanoseconds};
use crate::ctx::WasiCtx;
use crate::errno::Errno;
use crate::fdtable::{Descriptor, Object};
use crate::guest::GuestMemory;
use crate::types::{FdFlags, FileType, FstFlags, Rights, size};

/// The type of an open file.
fn file_type(host: BorrowedFd<'_>, stat: &Stat) -> FileType {
    match HostType::from_raw_mode(stat.st_mode) {
        HostType::Socket => match rustix::net::sockopt::socket_type(host) {
            Ok(SocketType::DGRAM) => FileType::SocketDgram,
            _ => FileType::SocketStream,
        },
        other => other.into(),
    }
}

/// Writes a descriptor's type, flags and rights.
///
/// A terminal is shown without the rights to seek and tell: by this C libraries know it for one. Other character
/// devices keep them.
///
/// # Errors
///
/// `BADF`, `FAULT`.
pub fn fd_fdstat_get(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, fd: u32, stat: u64) -> Result<(), Errno> {
    let descriptor = ctx.fds.get(fd)?;
    let mut rights = descriptor.rights();
    let mut flags = descriptor.flags();
    let file_type = match (&descriptor.object, descriptor.host()) {
        (Object::Directory(_), _) => FileType::Directory,
        (Object::Regular(_), _) => FileType::RegularFile,
        (_, None) => FileType::Unknown,
        (object, Some(host)) => {
            let file_type = file_type(host, &rustix::fs::fstat(host)?);
            if file_type == FileType::CharacterDevice && rustix::termios::isatty(host) {
                rights = rights.without(Rights::FD_SEEK | Rights::FD_TELL);
            }
            if matches!(object, Object::Stream(_)) && rustix::fs::fcntl_getfl(host)?.contains(OFlags::APPEND) {
                flags |= FdFlags::APPEND;
            }
            file_type
        }
    };
    let mut bytes = [0; size::FDSTAT as usize];
    bytes[0] = file_type as u8;
    bytes[2..4].copy_from_slice(&flags.bits().to_le_bytes());
    bytes[8..16].copy_from_slice(&rights.bits().to_le_bytes());
    bytes[16..24].copy_from_slice(&descriptor.inheriting().bits().to_le_bytes());
    mem.write(stat, &bytes)
}

/// Sets a descriptor's flags.
///
/// `NONBLOCK` on a standard stream stays between the program and us, since the host's descriptor belongs to other processes
/// too. Sync flags that the file was not opened with are kept by synchronising after each write, since Linux does not
/// take them afterwards.
///
/// # Errors
///
/// `INVAL` for unknown flags, `NOTCAPABLE` without the right, `NOTSUP` for a change of `APPEND` on a standard stream.
pub fn fd_fdstat_set_flags(ctx: &mut WasiCtx, _mem: &mut GuestMemory<'_>, fd: u32, flags: u32) -> Result<(), Errno> {
    let flags = FdFlags::from_bits(flags)?;
    let descriptor = ctx.fds.with(fd, Rights::FD_FDSTAT_SET_FLAGS)?;
    let sync = FdFlags::DSYNC | FdFlags::RSYNC | FdFlags::SYNC;
    let turn = descriptor.turn();
    let mut imitated = (flags & sync).without(descriptor.flags().without(descriptor.imitated()));
    match (&descriptor.object, descriptor.host()) {
        (Object::Directory(_), _) | (_, None) => {}
        (Object::Stream(_), Some(host)) => {
            let appends = rustix::fs::fcntl_getfl(host)?.contains(OFlags::APPEND);
            if flags.contains(FdFlags::APPEND) != appends {
                return Err(Errno::NOTSUP);
            }
            imitated |= flags & FdFlags::NONBLOCK;
        }
        (Object::Regular(_) | Object::File(_) | Object::Socket(_), Some(host)) => {
            if let Some(turn) = turn.as_ref().filter(|_| flags.contains(FdFlags::APPEND)) {
                turn.give_back()?;
            }
            let mut native = OFlags::empty();
            native.set(OFlags::APPEND, flags.contains(FdFlags::APPEND));
            native.set(OFlags::NONBLOCK, flags.contains(FdFlags::NONBLOCK));
            rustix::fs::fcntl_setfl(host, native)?;
        }
    }
    descriptor.set_flags(flags, imitated);
    Ok(())
}

/// Gives up rights.
///
/// # Errors
///
/// `NOTCAPABLE` if the descriptor would gain any.
pub fn fd_fdstat_set_rights(
    ctx: &mut WasiCtx,
    _mem: &mut GuestMemory<'_>,
    fd: u32,
    fs_rights_base: u64,
    fs_rights_inheriting: u64,
) -> Result<(), Errno> {
    if ctx.fds.get(fd)?.restrict(fs_rights_base, fs_rights_inheriting) { Ok(()) } else { Err(Errno::NOTCAPABLE) }
}

/// Writes a file's attributes.
// The fields have other widths on other architectures.
#[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
pub(super) fn write_filestat(mem: &mut GuestMemory<'_>, pointer: u64, file_type: FileType, stat: &Stat) -> Result<(), Errno> {
    let mut bytes = [0; size::FILESTAT as usize];
    let mut put = |at: usize, value: u64| bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    put(0, stat.st_dev as u64);
    put(8, stat.st_ino as u64);
    put(16, u64::from(file_type as u8));
    put(24, stat.st_nlink as u64);
    put(32, u64::try_from(stat.st_size).unwrap_or(0));
    put(40, nanoseconds(stat.st_atime as i64, stat.st_atime_nsec as u64));
    put(48, nanoseconds(stat.st_mtime as i64, stat.st_mtime_nsec as u64));
    put(56, nanoseconds(stat.st_ctime as i64, stat.st_ctime_nsec as u64));
    mem.write(pointer, &bytes)
}

/// Writes the attributes of a descriptor's file.
///
/// # Errors
///
/// `NOTCAPABLE` without the right, `FAULT`.
pub fn fd_filestat_get(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, fd: u32, stat: u64) -> Result<(), Errno> {
    match ctx.fds.with(fd, Rights::FD_FILESTAT_GET)?.host() {
        Some(host) => {
            let attributes = rustix::fs::fstat(host)?;
            write_filestat(mem, stat, file_type(host, &attributes), &attributes)
        }
        None => mem.write(stat, &[0; size::FILESTAT as usize]),
    }
}

/// Sets the size of a file.
///
/// # Errors
///
/// `ISDIR`, `NOTCAPABLE` without the right, `INVAL` for what has no size or is not open for writing.
pub fn fd_filestat_set_size(ctx: &mut WasiCtx, _mem: &mut GuestMemory<'_>, fd: u32, size: u64) -> Result<(), Errno> {
    let descriptor = ctx.fds.with(fd, Rights::FD_FILESTAT_SET_SIZE)?;
    Ok(rustix::fs::ftruncate(descriptor.host().ok_or(Errno::INVAL)?, size)?)
}

/// The times that a program wants set.
pub(super) fn timestamps(atim: u64, mtim: u64, flags: u32) -> Result<Timestamps, Errno> {
    let flags = FstFlags::from_bits(flags)?;
    let time = |value: u64, given: FstFlags, now: FstFlags| match (flags.contains(given), flags.contains(now)) {
        (true, true) => Err(Errno::INVAL),
        (true, false) => Ok(Timespec {
            // Below 2^64 / 10^9.
            tv_sec: (value / NANOS) as _,
            tv_nsec: (value % NANOS) as _,
        }),
        (false, true) => Ok(Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW }),
        (false, false) => Ok(Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT }),
    };
    Ok(Timestamps {
        last_access: time(atim, FstFlags::ATIM, FstFlags::ATIM_NOW)?,
        last_modification: time(mtim, FstFlags::MTIM, FstFlags::MTIM_NOW)?,
    })
}

/// Sets the times of what an `O_PATH` descriptor stands for.
pub(super) fn set_times_of_path(fd: BorrowedFd<'_>, times: &Timestamps) -> Result<(), Errno> {
    use rustix::fd::AsRawFd;
    match rustix::fs::utimensat(fd, "", times, AtFlags::EMPTY_PATH) {
        // Before Linux 5.8. The descriptor is ours, so the magic link leads to what was resolved and nowhere else.
        Err(rustix::io::Errno::INVAL) => {
            let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
            Ok(rustix::fs::utimensat(rustix::fs::CWD, link, times, AtFlags::empty())?)
        }
        result => Ok(result?),
    }
}

/// Sets the times of a descriptor's file.
///
/// # Errors
///
/// `INVAL` for unknown or contradictory flags, `NOTCAPABLE` without the right, `ROFS` beneath a read-only directory.
pub fn fd_filestat_set_times(
    ctx: &mut WasiCtx,
    _mem: &mut GuestMemory<'_>,
    fd: u32,
    atim: u64,
    mtim: u64,
    fst_flags: u32,
) -> Result<(), Errno> {
    let times = timestamps(atim, mtim, fst_flags)?;
    let descriptor = ctx.fds.with(fd, Rights::FD_FILESTAT_SET_TIMES)?;
    match &descriptor.object {
        Object::Directory(directory) if directory.read_only => Err(Errno::ROFS),
        Object::Directory(directory) => set_times_of_path(rustix::fd::AsFd::as_fd(&directory.fd), &times),
        _ => Ok(rustix::fs::futimens(descriptor.host().ok_or(Errno::INVAL)?, &times)?),
    }
}

/// Says how a file will be used.
///
/// # Errors
///
/// `INVAL` for unknown advice, `SPIPE` for what has no positions, `ISDIR`, `NOTCAPABLE` without the right.
pub fn fd_advise(ctx: &mut WasiCtx, _mem: &mut GuestMemory<'_>, fd: u32, offset: u64, len: u64, advice: u32) -> Result<(), Errno> {
    let advice = match advice {
        0 => Advice::Normal,
        1 => Advice::Sequential,
        2 => Advice::Random,
        3 => Advice::WillNeed,
        4 => Advice::DontNeed,
        5 => Advice::NoReuse,
        _ => return Err(Errno::INVAL),
    };
    let descriptor = ctx.fds.with(fd, Rights::FD_ADVISE)?;
    Ok(rustix::fs::fadvise(descriptor.host().ok_or(Errno::SPIPE)?, offset, NonZeroU64::new(len), advice)?)
}

/// Makes sure that a part of a file has space on the device, and lengthens the file to hold it.
///
/// # Errors
///
/// `INVAL` for no length, `NOTSUP` where the file system cannot, `ISDIR`, `NOTCAPABLE` without the right.
pub fn fd_allocate(ctx: &mut WasiCtx, _mem: &mut GuestMemory<'_>, fd: u32, offset: u64, len: u64) -> Result<(), Errno> {
    let descriptor = ctx.fds.with(fd, Rights::FD_ALLOCATE)?;
    let host = descriptor.host().ok_or(Errno::SPIPE)?;
    let charged = ctx.common.charge(|| len)?;
    let result = rustix::fs::fallocate(host, FallocateFlags::empty(), offset, len);
    if result.is_err() {
        ctx.common.refund(charged, 0);
    }
    Ok(result?)
}

/// The name under which `descriptor` was preopened. `BADF` otherwise: C libraries look for their directories from 3 on
/// until they see it, and take every other error for the end of the world.
fn preopen(descriptor: &Descriptor) -> Result<&[u8], Errno> {
    match &descriptor.object {
        Object::Directory(directory) => directory.preopen.as_deref().ok_or(Errno::BADF),
        _ => Err(Errno::BADF),
    }
}

/// Writes what a preopened descriptor is: a directory, with a name of so many bytes.
///
/// # Errors
///
/// `BADF` if it is not open or was not preopened, `FAULT`.
pub fn fd_prestat_get(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, fd: u32, prestat: u64) -> Result<(), Errno> {
    let descriptor = ctx.fds.get(fd)?;
    let len = preopen(&descriptor)?.len() as u64;
    // A tag that says directory, and the length where a size is aligned.
    let mut bytes = [0; 16];
    let size = mem.pointer_size() as usize;
    u32::try_from(len).map_err(|_| Errno::OVERFLOW)?;
    bytes[size..2 * size].copy_from_slice(&len.to_le_bytes()[..size]);
    mem.write(prestat, &bytes[..2 * size])
}

/// Writes the name of a preopened directory.
///
/// # Errors
///
/// `BADF` as for [`fd_prestat_get`], `NAMETOOLONG` if it does not fit, `FAULT`.
pub fn fd_prestat_dir_name(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, fd: u32, path: u64, path_len: u64) -> Result<(), Errno> {
    let descriptor = ctx.fds.get(fd)?;
    let name = preopen(&descriptor)?;
    if path_len < name.len() as u64 {
        return Err(Errno::NAMETOOLONG);
    }
    mem.write(path, name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{CREATE, DIRECTORY, FOLLOW, READ, ROOT, TRUNCATE, TestDir, WRITE};
    use crate::{DirAccess, WasiCtxBuilder};

    const APPEND: u32 = 1;
    const SYNC: u32 = 16;

    #[test]
    fn flags_are_kept_and_changed() {
        let dir = TestDir::new();
        let mut guest = dir.guest();
        let fd = guest.open_with(ROOT, 0, "file", CREATE, WRITE, 0, APPEND | SYNC).unwrap();
        assert_eq!(guest.fdstat(fd).unwrap().1, 17);
        guest.write(fd, b"aaa").unwrap();
        let (ctx, mut mem) = guest.parts();
        assert_eq!(super::super::fd_seek(ctx, &mut mem, fd, 0, 0, 0), Ok(()));
        guest.write(fd, b"bbb").unwrap();
        assert_eq!(std::fs::read(dir.path("file")).unwrap(), b"aaabbb");
        // DSYNC was not asked for at opening.
        let (ctx, mut mem) = guest.parts();
        assert_eq!(fd_fdstat_set_flags(ctx, &mut mem, fd, 2), Ok(()));
        assert_eq!(super::super::fd_seek(ctx, &mut mem, fd, 0, 0, 0), Ok(()));
        guest.write(fd, b"cc").unwrap();
        assert_eq!(guest.fdstat(fd).unwrap().1, 2);
        assert_eq!(std::fs::read(dir.path("file")).unwrap(), b"ccabbb");
        let (ctx, mut mem) = guest.parts();
        assert_eq!(fd_fdstat_set_flags(ctx, &mut mem, fd, 32), Err(Errno::INVAL));
    }

    #[test]
    fn rights_only_shrink_and_count() {
        let dir = TestDir::new();
        let mut guest = dir.guest();
        let fd = guest.open(ROOT, 0, "file", CREATE, WRITE).unwrap();
        let (kind, _, rights, inheriting) = guest.fdstat(fd).unwrap();
        assert_eq!((kind, rights, inheriting), (4, Rights::FILE.bits(), 0));
        let fewer = rights & !(Rights::FD_WRITE | Rights::FD_ALLOCATE).bits();
        let (ctx, mut mem) = guest.parts();
        assert_eq!(fd_fdstat_set_rights(ctx, &mut mem, fd, fewer, 0), Ok(()));
        assert_eq!(fd_fdstat_set_rights(ctx, &mut mem, fd, rights, 0), Err(Errno::NOTCAPABLE));
        assert_eq!(fd_fdstat_set_rights(ctx, &mut mem, fd, 0, 1), Err(Errno::NOTCAPABLE));
        assert_eq!(fd_fdstat_set_rights(ctx, &mut mem, fd, u64::MAX, 0), Err(Errno::NOTCAPABLE));
        assert_eq!(fd_allocate(ctx, &mut mem, fd, 0, 1), Err(Errno::NOTCAPABLE));
        assert_eq!(guest.write(fd, b"x"), Err(Errno::BADF));

        // What a directory cannot do it cannot pass on either.
        let read_only = Rights::PATH_OPEN | Rights::FD_READ | Rights::FD_SEEK;
        let sub = guest.open_with(ROOT, 0, ".", DIRECTORY, READ, read_only.bits(), 0).unwrap();
        assert_eq!(guest.open(sub, 0, "file", 0, Rights::FD_WRITE.bits()), Err(Errno::NOTCAPABLE));
        let file = guest.open(sub, 0, "file", 0, Rights::FD_READ.bits()).unwrap();
        assert_eq!(guest.fdstat(file).unwrap().2, Rights::FD_READ.bits());
        let (_, _, rights, inheriting) = guest.fdstat(sub).unwrap();
        assert_eq!(inheriting, read_only.bits());
        let (ctx, mut mem) = guest.parts();
        let fewer = rights & !(Rights::PATH_CREATE_FILE | Rights::PATH_FILESTAT_SET_SIZE | Rights::PATH_SYMLINK).bits();
        assert_eq!(fd_fdstat_set_rights(ctx, &mut mem, sub, fewer, inheriting), Ok(()));
        assert_eq!(guest.open(sub, 0, "new", CREATE, 0), Err(Errno::NOTCAPABLE));
        assert_eq!(guest.open(sub, 0, "file", TRUNCATE, 0), Err(Errno::NOTCAPABLE));
        assert_eq!(guest.symlink("file", sub, "link"), Err(Errno::NOTCAPABLE));
    }

    #[test]
    fn sizes_and_times() {
        let dir = TestDir::new();
        let mut guest = dir.guest();
        let fd = guest.open(ROOT, 0, "file", CREATE, WRITE).unwrap();
        let (ctx, mut mem) = guest.parts();
        assert_eq!(fd_filestat_set_size(ctx, &mut mem, fd, 100), Ok(()));
        assert_eq!(fd_filestat_set_size(ctx, &mut mem, fd, u64::MAX), Err(Errno::INVAL));
        assert_eq!(fd_allocate(ctx, &mut mem, fd, 90, 20), Ok(()));
        assert_eq!(fd_allocate(ctx, &mut mem, fd, u64::MAX, 20), Err(Errno::INVAL));
        assert_eq!(fd_advise(ctx, &mut mem, fd, 0, 0, 5), Ok(()));
        assert_eq!(fd_advise(ctx, &mut mem, fd, 0, 0, 6), Err(Errno::INVAL));
        assert_eq!(fd_advise(ctx, &mut mem, ROOT, 0, 0, 0), Err(Errno::ISDIR));
        assert_eq!(fd_filestat_set_times(ctx, &mut mem, fd, 1_234_567_890_123_456_789, 5, 5), Ok(()));
        // No byte of the host shows in the padding.
        mem.slice_mut(0, 64).unwrap().fill(0xff);
        assert_eq!(fd_filestat_get(ctx, &mut mem, fd, 0), Ok(()));
        assert_eq!(mem.slice(16, 8), Ok(&[4, 0, 0, 0, 0, 0, 0, 0][..]));
        assert_eq!((mem.read_u64(24), mem.read_u64(32)), (Ok(1), Ok(110)));
        assert_eq!((mem.read_u64(40), mem.read_u64(48)), (Ok(1_234_567_890_123_456_789), Ok(5)));
        assert_eq!(fd_filestat_set_times(ctx, &mut mem, fd, 0, 0, 2), Ok(()));
        assert_eq!(fd_filestat_get(ctx, &mut mem, fd, 0), Ok(()));
        assert!(mem.read_u64(40).unwrap() > 1_500_000_000_000_000_000);
        assert_eq!(mem.read_u64(48), Ok(5));
        for flags in [3, 12, 15, 16] {
            assert_eq!(fd_filestat_set_times(ctx, &mut mem, fd, 0, 0, flags), Err(Errno::INVAL));
        }
        assert_eq!(fd_filestat_set_times(ctx, &mut mem, ROOT, 7, 7, 5), Ok(()));
        assert_eq!(guest.stat(ROOT, FOLLOW, ".").map(|stat| stat.2), Ok(7));
        let (ctx, mut mem) = guest.parts();
        assert_eq!(fd_filestat_set_size(ctx, &mut mem, ROOT, 0), Err(Errno::ISDIR));
        assert_eq!(fd_allocate(ctx, &mut mem, ROOT, 0, 1), Err(Errno::ISDIR));
    }

    #[test]
    fn preopened_directories_have_names_in_order() {
        let dir = TestDir::new();
        dir.dir("a");
        let mut builder = WasiCtxBuilder::new();
        builder.preopen_dir(dir.path("a"), "/", DirAccess::ReadWrite).unwrap();
        builder.preopen_dir(dir.path("."), "sub/dir", DirAccess::ReadOnly).unwrap();
        assert!(builder.preopen_dir(dir.path("missing"), "x", DirAccess::ReadWrite).is_err());
        let mut ctx = builder.build().unwrap();
        let mut bytes = [0xff; 64];
        let mut mem = GuestMemory::new(&mut bytes);
        assert_eq!(fd_prestat_get(&mut ctx, &mut mem, 4, 0), Ok(()));
        assert_eq!(mem.read_u64(0), Ok(7 << 32));
        assert_eq!(fd_prestat_dir_name(&mut ctx, &mut mem, 4, 0, 6), Err(Errno::NAMETOOLONG));
        assert_eq!(fd_prestat_dir_name(&mut ctx, &mut mem, 4, 16, 48), Ok(()));
        assert_eq!(mem.slice(16, 8), Ok(&b"sub/dir\xff"[..]));
        assert_eq!(fd_prestat_dir_name(&mut ctx, &mut mem, 3, 0, 1), Ok(()));
        assert_eq!(mem.read_u8(0), Ok(b'/'));
        assert_eq!(fd_prestat_get(&mut ctx, &mut mem, 0, 0), Err(Errno::BADF));
        assert_eq!(fd_prestat_get(&mut ctx, &mut mem, 5, 0), Err(Errno::BADF));
    }

    #[test]
    fn only_terminals_look_like_terminals() {
        let mut guest = crate::testing::Guest::new("/dev".as_ref(), DirAccess::ReadWrite, Default::default());
        let fd = guest.open(ROOT, 0, "null", 0, WRITE).unwrap();
        let (kind, _, rights, _) = guest.fdstat(fd).unwrap();
        assert_eq!(kind, 2);
        assert_ne!(rights & Rights::FD_SEEK.bits(), 0);
        if let Ok(fd) = guest.open(ROOT, FOLLOW, "ptmx", 0, WRITE) {
            let (kind, _, rights, _) = guest.fdstat(fd).unwrap();
            assert_eq!((kind, rights & Rights::FD_SEEK.bits()), (2, 0));
        }
    }
}
