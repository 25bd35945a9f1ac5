//! Operations on paths. Each resolves beneath the directory that the program named (see [`crate::sandbox`]) and then acts on
//! one name, so that nothing the program wrote reaches the kernel as a path with slashes outside that resolution.
//!
//! A slash at the end of a path says "a directory". The kernel would look through a link there; so it is stripped and
//! its meaning checked here instead.

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, FileType as HostType, Mode, OFlags, Stat};

use super::fdstat::{set_times_of_path, timestamps, write_filestat};
use crate::ctx::WasiCtx;
use crate::errno::Errno;
use crate::fdtable::{Descriptor, Directory, Object};
use crate::guest::GuestMemory;
use crate::limits::PATH_BYTES;
use crate::position::Regular;
use crate::sandbox::{self, Entry};
use crate::types::{FdFlags, LookupFlags, OpenFlags, Rights, size};

/// Creates a directory.
///
/// # Errors
///
/// `EXIST`, `NOENT`, `ROFS`, `PERM` for a path that leaves, `NOTCAPABLE` without the right, and what the host says.
pub fn path_create_directory(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, fd: u32, path: u64, path_len: u64) -> Result<(), Errno> {
    let path = &mem.path(path, path_len, ctx.common.limits.path_bytes)?;
    let directory = &ctx.fds.writable_directory(fd, Rights::PATH_CREATE_DIRECTORY)?;
    let entry = sandbox::entry(ctx.common.resolution, directory.fd.as_fd(), path)?.ok_or(Errno::EXIST)?;
    Ok(rustix::fs::mkdirat(entry.directory(), entry.name, Mode::from_raw_mode(0o777))?)
}

/// Opens what a path names without opening it for anything, to ask or set its attributes.
fn locate(ctx: &WasiCtx, directory: &Directory, path: &[u8]) -> Result<rustix::fd::OwnedFd, Errno> {
    sandbox::open(ctx.common.resolution, directory.fd.as_fd(), path, OFlags::PATH, Mode::empty())
}

/// The name to act on directly when the last component need not be followed, or is no link.
fn unfollowed(entry: Option<Entry<'_>>, follow: bool) -> Result<Option<Entry<'_>>, Errno> {
    let Some(entry) = entry.filter(|entry| !entry.trailing_slash) else { return Ok(None) };
    Ok((!follow || entry.file_type()? != HostType::Symlink).then_some(entry))
}

/// The attributes of what a path names.
pub(super) fn attributes(ctx: &WasiCtx, mem: &GuestMemory<'_>, fd: u32, flags: u32, path: u64, path_len: u64) -> Result<Stat, Errno> {
    let follow = LookupFlags::from_bits(flags)?.contains(LookupFlags::SYMLINK_FOLLOW);
    let path = &mem.path(path, path_len, ctx.common.limits.path_bytes)?;
    let directory = &ctx.fds.directory(fd, Rights::PATH_FILESTAT_GET)?;
    let entry = sandbox::entry(ctx.common.resolution, directory.fd.as_fd(), path)?;
    if let Some(entry) = entry.filter(|entry| !entry.trailing_slash) {
        let stat = entry.stat()?;
        if !follow || HostType::from_raw_mode(stat.st_mode) != HostType::Symlink {
            return Ok(stat);
        }
    }
    Ok(rustix::fs::fstat(locate(ctx, directory, path)?)?)
}

/// Writes the attributes of what a path names.
///
/// # Errors
///
/// `NOENT`, `PERM` for a path that leaves, `NOTCAPABLE` without the right, `FAULT`.
pub fn path_filestat_get(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    fd: u32,
    flags: u32,
    path: u64,
    path_len: u64,
    stat: u64,
) -> Result<(), Errno> {
    let attributes = attributes(ctx, mem, fd, flags, path, path_len)?;
    write_filestat(mem, stat, HostType::from_raw_mode(attributes.st_mode).into(), &attributes)
}

/// Sets the times of what a path names.
///
/// # Errors
///
/// `INVAL` for unknown or contradictory flags, `NOENT`, `ROFS`, `PERM` for a path that leaves, `NOTCAPABLE` without
/// the right.
pub fn path_filestat_set_times(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    fd: u32,
    flags: u32,
    path: u64,
    path_len: u64,
    atim: u64,
    mtim: u64,
    fst_flags: u32,
) -> Result<(), Errno> {
    let follow = LookupFlags::from_bits(flags)?.contains(LookupFlags::SYMLINK_FOLLOW);
    let times = timestamps(atim, mtim, fst_flags)?;
    let path = &mem.path(path, path_len, ctx.common.limits.path_bytes)?;
    let directory = &ctx.fds.writable_directory(fd, Rights::PATH_FILESTAT_SET_TIMES)?;
    let entry = sandbox::entry(ctx.common.resolution, directory.fd.as_fd(), path)?;
    match unfollowed(entry, follow)? {
        Some(entry) => Ok(rustix::fs::utimensat(entry.directory(), entry.name, &times, AtFlags::SYMLINK_NOFOLLOW)?),
        None => set_times_of_path(locate(ctx, directory, path)?.as_fd(), &times),
    }
}

/// Gives a file another name.
///
/// A link is never followed, not even when asked: the kernel offers no way to name the target that is both confined and open
/// to ordinary users. Wasmtime refuses the flag altogether; here it matters only if there is a link.
///
/// # Errors
///
/// `INVAL` for a link that is to be followed, `PERM` for a directory or a path that leaves, `EXIST`, `NOENT`, `ROFS`,
/// `NOTCAPABLE` without the rights.
pub fn path_link(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    old_fd: u32,
    old_flags: u32,
    old_path: u64,
    old_path_len: u64,
    new_fd: u32,
    new_path: u64,
    new_path_len: u64,
) -> Result<(), Errno> {
    let follow = LookupFlags::from_bits(old_flags)?.contains(LookupFlags::SYMLINK_FOLLOW);
    let most = ctx.common.limits.path_bytes;
    let (old_path, new_path) = (&mem.path(old_path, old_path_len, most)?, &mem.path(new_path, new_path_len, most)?);
    // A name elsewhere could be written through, so the old one has to be in a writable directory too.
    let old = ctx.fds.writable_directory(old_fd, Rights::PATH_LINK_SOURCE)?;
    let new = ctx.fds.writable_directory(new_fd, Rights::PATH_LINK_TARGET)?;
    let old = sandbox::entry(ctx.common.resolution, old.fd.as_fd(), old_path)?.ok_or(Errno::PERM)?;
    let new = sandbox::entry(ctx.common.resolution, new.fd.as_fd(), new_path)?.ok_or(Errno::EXIST)?;
    if old.trailing_slash || follow {
        match old.file_type()? {
            HostType::Symlink if follow => return Err(Errno::INVAL),
            HostType::Directory => return Err(Errno::PERM),
            _ if old.trailing_slash => return Err(Errno::NOTDIR),
            _ => {}
        }
    }
    if new.trailing_slash {
        new.stat()?;
        return Err(Errno::EXIST);
    }
    Ok(rustix::fs::linkat(old.directory(), old.name, new.directory(), new.name, AtFlags::empty())?)
}

/// How the host is asked for what a program wants opened.
fn host_flags(follow: bool, open: OpenFlags, rights: Rights, flags: FdFlags) -> OFlags {
    // Without NONBLOCK a pipe or a device could hold the program up while it is opened, and NOCTTY is for terminals.
    let mut host = OFlags::NONBLOCK | OFlags::NOCTTY;
    host |= match (rights.intersects(Rights::FD_READ | Rights::FD_READDIR), rights.contains(Rights::FD_WRITE)) {
        (true, true) => OFlags::RDWR,
        (false, true) => OFlags::WRONLY,
        (_, false) => OFlags::RDONLY,
    };
    host.set(OFlags::NOFOLLOW, !follow);
    host.set(OFlags::CREATE, open.contains(OpenFlags::CREATE));
    host.set(OFlags::EXCL, open.contains(OpenFlags::EXCLUSIVE));
    host.set(OFlags::TRUNC, open.contains(OpenFlags::TRUNCATE));
    host.set(OFlags::DIRECTORY, open.contains(OpenFlags::DIRECTORY));
    host.set(OFlags::APPEND, flags.contains(FdFlags::APPEND));
    host.set(OFlags::DSYNC, flags.contains(FdFlags::DSYNC));
    // Its bits hold those of DSYNC; on Linux RSYNC is the same.
    if flags.intersects(FdFlags::SYNC | FdFlags::RSYNC) {
        host |= OFlags::SYNC;
    }
    host
}

/// Opens beneath a read-only directory: what exists can be opened for reading, whatever else was offered.
fn open_read_only(ctx: &WasiCtx, directory: BorrowedFd<'_>, path: &[u8], host: OFlags) -> Result<rustix::fd::OwnedFd, Errno> {
    if host.intersects(OFlags::WRONLY | OFlags::RDWR | OFlags::TRUNC) {
        return Err(Errno::ROFS);
    }
    let creates = host.contains(OFlags::CREATE);
    if creates && host.contains(OFlags::EXCL) {
        let entry = sandbox::entry(ctx.common.resolution, directory, path)?.ok_or(Errno::EXIST)?;
        return Err(entry.stat().map_or_else(|error| if error == Errno::NOENT { Errno::ROFS } else { error }, |_| Errno::EXIST));
    }
    let host = host.difference(OFlags::CREATE | OFlags::EXCL);
    match sandbox::open(ctx.common.resolution, directory, path, host, Mode::empty()) {
        Err(Errno::NOENT) if creates => Err(Errno::ROFS),
        result => result,
    }
}

/// Opens a file or directory, and writes the lowest free descriptor number, which it gets.
///
/// Rights that do not apply to what was opened are dropped. Rights that apply but cannot be passed on are an error, since a
/// program that asked to write should not find out later.
///
/// # Errors
///
/// `NOTCAPABLE` for rights that the directory cannot pass on or does not have itself, `INVAL` for unknown or contradictory
/// flags, `LOOP` for a link that is not to be followed, `PERM` for a path that leaves, `ROFS`, `MFILE`, and what the
/// host says.
pub fn path_open(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    fd: u32,
    dirflags: u32,
    path: u64,
    path_len: u64,
    oflags: u32,
    fs_rights_base: u64,
    fs_rights_inheriting: u64,
    fdflags: u32,
    opened_fd: u64,
) -> Result<(), Errno> {
    let follow = LookupFlags::from_bits(dirflags)?.contains(LookupFlags::SYMLINK_FOLLOW);
    let open = OpenFlags::from_bits(oflags)?;
    let flags = FdFlags::from_bits(fdflags)?;
    let wanted = Rights::from_bits_truncate(fs_rights_base);
    if open.contains(OpenFlags::CREATE | OpenFlags::DIRECTORY) {
        return Err(Errno::INVAL);
    }
    mem.check(opened_fd, size::FD)?;
    let path = &mem.path(path, path_len, ctx.common.limits.path_bytes)?;

    let mut needed = Rights::PATH_OPEN;
    if open.contains(OpenFlags::CREATE) {
        needed |= Rights::PATH_CREATE_FILE;
    }
    if open.contains(OpenFlags::TRUNCATE) {
        needed |= Rights::PATH_FILESTAT_SET_SIZE;
    }
    // Before anything is created.
    ctx.fds.check_room()?;
    let directory = &ctx.fds.directory(fd, needed)?;
    let granted = directory.descriptor().inheriting();
    let applicable = if open.contains(OpenFlags::DIRECTORY) { Rights::DIRECTORY } else { Rights::FILE };
    if !granted.contains(wanted & applicable) {
        return Err(Errno::NOTCAPABLE);
    }

    let host = host_flags(follow, open, wanted, flags);
    let opened = if directory.read_only {
        open_read_only(ctx, directory.fd.as_fd(), path, host)?
    } else {
        let mode = if host.contains(OFlags::CREATE) { Mode::from_raw_mode(0o666) } else { Mode::empty() };
        sandbox::open(ctx.common.resolution, directory.fd.as_fd(), path, host, mode)?
    };

    let read_only = directory.read_only;
    let kind = HostType::from_raw_mode(rustix::fs::fstat(&opened)?.st_mode);
    let (object, rights, inheriting) = match kind {
        HostType::Directory => {
            let inheriting = Rights::from_bits_truncate(fs_rights_inheriting);
            (Object::Directory(Directory::new(opened, read_only, None)), Rights::DIRECTORY, inheriting)
        }
        kind => {
            // For regular files the flag means nothing, and taking it back would be a system call for nothing.
            if kind != HostType::RegularFile && !flags.contains(FdFlags::NONBLOCK) {
                rustix::fs::fcntl_setfl(&opened, host & OFlags::APPEND)?;
            }
            let refused = if read_only { Rights::FILE_MUTATION } else { Rights::NONE };
            let object = if kind == HostType::RegularFile { Object::Regular(Regular::new(opened)) } else { Object::File(opened) };
            (object, Rights::FILE.without(refused), Rights::NONE)
        }
    };
    let mut descriptor = Descriptor::new(object, rights & wanted & granted, inheriting & granted, flags);
    if kind == HostType::Fifo {
        descriptor.mark_fifo();
    }
    mem.write_u32(opened_fd, ctx.fds.insert(descriptor)?)
}

/// Writes the text of a symbolic link, cut off where the buffer ends, and how long it is then.
///
/// # Errors
///
/// `INVAL` for what is no link, `NOENT`, `PERM` for a path that leaves, `NOTCAPABLE` without the right, `FAULT`.
pub fn path_readlink(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    fd: u32,
    path: u64,
    path_len: u64,
    buf: u64,
    buf_len: u64,
    bufused: u64,
) -> Result<(), Errno> {
    mem.check_size(bufused)?;
    mem.check(buf, buf_len)?;
    let path = &mem.path(path, path_len, ctx.common.limits.path_bytes)?;
    let directory = &ctx.fds.directory(fd, Rights::PATH_READLINK)?;
    let entry = sandbox::entry(ctx.common.resolution, directory.fd.as_fd(), path)?.ok_or(Errno::INVAL)?;
    if entry.trailing_slash {
        // The path names what the link leads to, a directory if anything.
        locate(ctx, directory, path)?;
        return Err(Errno::INVAL);
    }
    let mut buffer = [std::mem::MaybeUninit::<u8>::uninit(); PATH_BYTES + 1];
    let (target, _) = rustix::fs::readlinkat_raw(entry.directory(), entry.name, &mut buffer)?;
    // Both are at most 4 KiB from here on.
    let len = (target.len() as u64).min(buf_len) as usize;
    mem.write(buf, &target[..len])?;
    mem.write_size(bufused, len as u64)
}

/// Removes an empty directory.
///
/// # Errors
///
/// `NOTDIR`, `NOTEMPTY`, `INVAL` for `.` and `..`, `ROFS`, `PERM` for a path that leaves, `NOTCAPABLE` without the right.
pub fn path_remove_directory(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, fd: u32, path: u64, path_len: u64) -> Result<(), Errno> {
    let path = &mem.path(path, path_len, ctx.common.limits.path_bytes)?;
    let directory = &ctx.fds.writable_directory(fd, Rights::PATH_REMOVE_DIRECTORY)?;
    let entry = sandbox::entry(ctx.common.resolution, directory.fd.as_fd(), path)?.ok_or(Errno::INVAL)?;
    Ok(rustix::fs::unlinkat(entry.directory(), entry.name, AtFlags::REMOVEDIR)?)
}

/// Renames a file or directory, and replaces what had the new name.
///
/// # Errors
///
/// `NOENT`, `NOTDIR`, `ISDIR`, `NOTEMPTY`, `XDEV`, `BUSY` for `.` and `..`, `ROFS` if either directory is read-only, `PERM` for a
/// path that leaves, `NOTCAPABLE` without the rights.
pub fn path_rename(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    fd: u32,
    old_path: u64,
    old_path_len: u64,
    new_fd: u32,
    new_path: u64,
    new_path_len: u64,
) -> Result<(), Errno> {
    let most = ctx.common.limits.path_bytes;
    let (old_path, new_path) = (&mem.path(old_path, old_path_len, most)?, &mem.path(new_path, new_path_len, most)?);
    let old = ctx.fds.writable_directory(fd, Rights::PATH_RENAME_SOURCE)?;
    let new = ctx.fds.writable_directory(new_fd, Rights::PATH_RENAME_TARGET)?;
    let old = sandbox::entry(ctx.common.resolution, old.fd.as_fd(), old_path)?.ok_or(Errno::BUSY)?;
    let new = sandbox::entry(ctx.common.resolution, new.fd.as_fd(), new_path)?.ok_or(Errno::BUSY)?;
    if (old.trailing_slash || new.trailing_slash) && old.file_type()? != HostType::Directory {
        return Err(Errno::NOTDIR);
    }
    Ok(rustix::fs::renameat(old.directory(), old.name, new.directory(), new.name)?)
}

/// Creates a symbolic link with the text `old_path`.
///
/// The text may lead anywhere, since it is confined when it is followed; but not from the root, since then it could only
/// be meant for programs outside.
///
/// # Errors
///
/// `EXIST`, `NOENT`, `PERM` for an absolute text or a path that leaves, `ROFS`, `NOTCAPABLE` without the right.
pub fn path_symlink(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    old_path: u64,
    old_path_len: u64,
    fd: u32,
    new_path: u64,
    new_path_len: u64,
) -> Result<(), Errno> {
    let most = ctx.common.limits.path_bytes;
    let (text, new_path) = (&mem.path(old_path, old_path_len, most)?, &mem.path(new_path, new_path_len, most)?);
    let directory = &ctx.fds.writable_directory(fd, Rights::PATH_SYMLINK)?;
    sandbox::check(text)?;
    let entry = sandbox::entry(ctx.common.resolution, directory.fd.as_fd(), new_path)?.ok_or(Errno::EXIST)?;
    if entry.trailing_slash {
        let directory = entry.file_type()? == HostType::Directory;
        return Err(if directory { Errno::EXIST } else { Errno::NOTDIR });
    }
    Ok(rustix::fs::symlinkat(text.as_slice(), entry.directory(), entry.name)?)
}

/// Removes a name that is no directory.
///
/// # Errors
///
/// `ISDIR`, `NOENT`, `NOTDIR` for a slash after a file, `ROFS`, `PERM` for a path that leaves, `NOTCAPABLE` without the right.
pub fn path_unlink_file(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, fd: u32, path: u64, path_len: u64) -> Result<(), Errno> {
    let path = &mem.path(path, path_len, ctx.common.limits.path_bytes)?;
    let directory = &ctx.fds.writable_directory(fd, Rights::PATH_UNLINK_FILE)?;
    let entry = sandbox::entry(ctx.common.resolution, directory.fd.as_fd(), path)?.ok_or(Errno::ISDIR)?;
    if entry.trailing_slash {
        let directory = entry.file_type()? == HostType::Directory;
        return Err(if directory { Errno::ISDIR } else { Errno::NOTDIR });
    }
    Ok(rustix::fs::unlinkat(entry.directory(), entry.name, AtFlags::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{CREATE, DIRECTORY, EXCLUSIVE, FOLLOW, Guest, READ, ROOT, TRUNCATE, TestDir, WRITE};
    use crate::{DirAccess, PathResolution};

    fn both() -> [(TestDir, Guest); 2] {
        [PathResolution::Kernel, PathResolution::Walk].map(|resolution| {
            let dir = TestDir::new();
            dir.dir("dir").file("file", "text").link("link", "file").link("dangling", "none");
            let guest = Guest::new(&dir.path("."), DirAccess::ReadWrite, resolution);
            (dir, guest)
        })
    }

    #[test]
    fn slashes_at_the_end_mean_directories() {
        for (dir, mut guest) in both() {
            assert_eq!(guest.path(path_unlink_file, ROOT, "dir"), Err(Errno::ISDIR));
            assert_eq!(guest.path(path_unlink_file, ROOT, "dir/"), Err(Errno::ISDIR));
            assert_eq!(guest.path(path_unlink_file, ROOT, "file/"), Err(Errno::NOTDIR));
            assert_eq!(guest.path(path_unlink_file, ROOT, "none/"), Err(Errno::NOENT));
            assert_eq!(guest.path(path_remove_directory, ROOT, "file"), Err(Errno::NOTDIR));
            assert_eq!(guest.path(path_remove_directory, ROOT, "file/"), Err(Errno::NOTDIR));
            assert_eq!(guest.rename((ROOT, "file/"), (ROOT, "x")), Err(Errno::NOTDIR));
            assert_eq!(guest.rename((ROOT, "file"), (ROOT, "x/")), Err(Errno::NOTDIR));
            assert_eq!(guest.rename((ROOT, "dir/"), (ROOT, "dir2/")), Ok(()));
            assert_eq!(guest.rename((ROOT, "dir2"), (ROOT, "dir")), Ok(()));
            assert_eq!(guest.link(0, (ROOT, "file"), (ROOT, "x/")), Err(Errno::NOENT));
            assert_eq!(guest.link(0, (ROOT, "file"), (ROOT, "dir/")), Err(Errno::EXIST));
            assert_eq!(guest.link(0, (ROOT, "file/"), (ROOT, "x")), Err(Errno::NOTDIR));
            assert_eq!(guest.symlink("x", ROOT, "new/"), Err(Errno::NOENT));
            assert_eq!(guest.symlink("x", ROOT, "dir/"), Err(Errno::EXIST));
            assert_eq!(guest.symlink("x", ROOT, "file/"), Err(Errno::NOTDIR));
            assert_eq!(guest.stat(ROOT, 0, "file/"), Err(Errno::NOTDIR));
            assert_eq!(guest.stat(ROOT, 0, "link/"), Err(Errno::NOTDIR));
            assert_eq!(guest.readlink(ROOT, "link/", 9), Err(Errno::NOTDIR));
            assert_eq!(guest.path(path_create_directory, ROOT, "made///"), Ok(()));
            assert_eq!(guest.path(path_remove_directory, ROOT, "made/"), Ok(()));
            assert!(dir.path("file").exists());
        }
    }

    #[test]
    fn dots_at_the_end_are_no_names() {
        for (_dir, mut guest) in both() {
            for path in [".", "./", "dir/.", "dir/..", "dir/../"] {
                assert_eq!(guest.path(path_create_directory, ROOT, path), Err(Errno::EXIST), "{path}");
                assert_eq!(guest.path(path_remove_directory, ROOT, path), Err(Errno::INVAL), "{path}");
                assert_eq!(guest.path(path_unlink_file, ROOT, path), Err(Errno::ISDIR), "{path}");
                assert_eq!(guest.rename((ROOT, path), (ROOT, "x")), Err(Errno::BUSY), "{path}");
                assert_eq!(guest.rename((ROOT, "dir"), (ROOT, path)), Err(Errno::BUSY), "{path}");
                assert_eq!(guest.symlink("x", ROOT, path), Err(Errno::EXIST), "{path}");
                assert_eq!(guest.link(0, (ROOT, path), (ROOT, "x")), Err(Errno::PERM), "{path}");
                assert_eq!(guest.readlink(ROOT, path, 9), Err(Errno::INVAL), "{path}");
                assert_eq!(guest.set_mtime(ROOT, 0, path, 5), Ok(()), "{path}");
                assert_eq!(guest.stat(ROOT, 0, path).map(|stat| stat.0), Ok(3), "{path}");
            }
            assert_eq!(guest.path(path_create_directory, ROOT, "file/."), Err(Errno::NOTDIR));
            assert_eq!(guest.path(path_create_directory, ROOT, "none/.."), Err(Errno::NOENT));
        }
    }

    #[test]
    fn opening() {
        for (dir, mut guest) in both() {
            assert_eq!(guest.open(ROOT, 0, "new", CREATE | DIRECTORY, READ), Err(Errno::INVAL));
            assert_eq!(guest.open(ROOT, 0, "file", CREATE | EXCLUSIVE, READ), Err(Errno::EXIST));
            assert_eq!(guest.open(ROOT, 0, "file", DIRECTORY, READ), Err(Errno::NOTDIR));
            assert_eq!(guest.open(ROOT, 2, "file", 0, READ), Err(Errno::INVAL));
            assert_eq!(guest.open(ROOT, 0, "file", 16, READ), Err(Errno::INVAL));
            // Truncated although it is not opened for writing.
            let fd = guest.open(ROOT, 0, "file", TRUNCATE, 0).unwrap();
            assert_eq!(fd, 4);
            assert_eq!(std::fs::metadata(dir.path("file")).unwrap().len(), 0);
            let fd = guest.open(ROOT, FOLLOW, "dangling", CREATE, WRITE).unwrap();
            assert_eq!(fd, 5);
            assert!(dir.path("none").exists());
            guest.close(4).unwrap();
            let sub = guest.open(ROOT, 0, "dir/", 0, READ).unwrap();
            assert_eq!(sub, 4);
            guest.open(sub, 0, "in-sub", CREATE, WRITE).unwrap();
            assert!(dir.path("dir/in-sub").exists());
            assert_eq!(guest.open(sub, 0, "../file", 0, READ), Err(Errno::PERM));
        }
    }

    #[test]
    fn links_are_made_and_read() {
        for (_dir, mut guest) in both() {
            assert_eq!(guest.readlink(ROOT, "link", 99).as_deref(), Ok("file"));
            assert_eq!(guest.readlink(ROOT, "link", 2).as_deref(), Ok("fi"));
            assert_eq!(guest.readlink(ROOT, "link", 0).as_deref(), Ok(""));
            assert_eq!(guest.readlink(ROOT, "file", 99), Err(Errno::INVAL));
            assert_eq!(guest.symlink("", ROOT, "x"), Err(Errno::NOENT));
            assert_eq!(guest.symlink("x", ROOT, "file"), Err(Errno::EXIST));
            assert_eq!(guest.link(FOLLOW, (ROOT, "dangling"), (ROOT, "x")), Err(Errno::INVAL));
            assert_eq!(guest.link(0, (ROOT, "dangling"), (ROOT, "x")), Ok(()));
            assert_eq!(guest.stat(ROOT, 0, "x").map(|stat| stat.0), Ok(7));
            assert_eq!(guest.link(FOLLOW, (ROOT, "file"), (ROOT, "hard")), Ok(()));
            assert_eq!(guest.link(0, (ROOT, "dir"), (ROOT, "y")), Err(Errno::PERM));
            assert_eq!(guest.link(0, (ROOT, "file"), (ROOT, "hard")), Err(Errno::EXIST));
        }
    }

    #[test]
    fn a_full_table_creates_nothing() {
        let dir = TestDir::new();
        let mut builder = crate::WasiCtxBuilder::new();
        let limits = crate::WasiLimits { open_files: 5, ..Default::default() };
        builder.limits(limits).preopen_dir(dir.path("."), "/", DirAccess::ReadWrite).unwrap();
        let mut guest = Guest::with(builder.build().unwrap());
        guest.open(ROOT, 0, "one", CREATE, WRITE).unwrap();
        assert_eq!(guest.open(ROOT, 0, "two", CREATE, WRITE), Err(Errno::MFILE));
        assert!(!dir.path("two").exists());
    }
}
