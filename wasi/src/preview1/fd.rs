//! Reading, writing, seeking, synchronising, renumbering and closing descriptors.
//!
//! The data move straight between the host's descriptor and the program's memory: one system call and no copy, no
//! allocation for lists of up to 16 buffers, `read` instead of `readv` for a list of one. The position is the kernel's, or our own
//! where nobody can tell the difference (see [`crate::position`]).

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::BorrowedFd;
use rustix::fs::SeekFrom;
use rustix::io::Errno as HostErrno;

use super::Exit;
use super::quick::{quick_read, quick_write};
use crate::ctx::{BrokenPipe, WasiCtx};
use crate::errno::Errno;
use crate::fdtable::{Descriptor, Fds, Held, Object};
use crate::guest::{GuestMemory, Region, total};
use crate::host;
use crate::stdio::Stream;
use crate::types::{FdFlags, Rights};

/// The status of a native program that SIGPIPE kills, as shells show it.
const KILLED_BY_SIGPIPE: u32 = 128 + 13;

/// Waits until `fd` is ready or `timeout` has passed; says whether it is ready.
#[cold]
fn wait(fd: BorrowedFd<'_>, events: PollFlags, timeout: Option<&Timespec>) -> Result<bool, Errno> {
    Ok(rustix::event::poll(&mut [PollFd::from_borrowed_fd(fd, events)], timeout)? != 0)
}

/// Whether a call that would block is one that the program expects to. A socket that blocks on the host too has a time limit
/// of its own, which has passed.
#[cold]
fn waits(descriptor: &Descriptor, fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    if descriptor.flags().contains(FdFlags::NONBLOCK) {
        return Ok(false);
    }
    Ok(!matches!(descriptor.object, Object::Socket(_)) || rustix::fs::fcntl_getfl(fd)?.contains(rustix::fs::OFlags::NONBLOCK))
}

/// What has to happen before a call because the host's descriptor is not as the program sees it.
#[cold]
fn imitate(descriptor: &Descriptor, fd: BorrowedFd<'_>, events: PollFlags) -> Result<(), Errno> {
    if descriptor.imitated().contains(FdFlags::NONBLOCK) && !wait(fd, events, Some(&Timespec::default()))? {
        return Err(Errno::AGAIN);
    }
    // It was opened without waiting for a writer, and without one there is nothing to read, which looks like the end. The wait
    // that opening it is natively happens here; once a writer has come, the host knows its end.
    if descriptor.is_fifo() && events == PollFlags::IN && !descriptor.flags().contains(FdFlags::NONBLOCK) {
        wait(fd, events, None)?;
    }
    Ok(())
}

/// Makes a call that the program expects to block unless it said otherwise. The host's descriptor can be non-blocking all
/// the same, when another process that shares it made it so.
#[inline]
pub(super) fn blocking<T>(
    descriptor: &Descriptor,
    fd: BorrowedFd<'_>,
    events: PollFlags,
    call: impl FnMut() -> rustix::io::Result<T>,
) -> Result<T, Errno> {
    blocking_after(descriptor, fd, events, None, call)
}

/// As [`blocking`], after a first call that failed, if there was one; then nothing was to be imitated.
#[inline]
fn blocking_after<T>(
    descriptor: &Descriptor,
    fd: BorrowedFd<'_>,
    events: PollFlags,
    mut failed: Option<HostErrno>,
    mut call: impl FnMut() -> rustix::io::Result<T>,
) -> Result<T, Errno> {
    if failed.is_none() && descriptor.is_special() {
        imitate(descriptor, fd, events)?;
    }
    loop {
        let result = match failed.take() {
            Some(error) => Err(error),
            None => call(),
        };
        match result {
            Ok(value) => return Ok(value),
            Err(HostErrno::AGAIN) if waits(descriptor, fd)? => {
                wait(fd, events, None)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads into the program's list of buffers, at `offset` or where the position is, unless the quick way was taken and failed.
fn read(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, fd: u32, list: (u64, u64), offset: Option<u64>, nread: u64) -> Result<(), Errno> {
    if ctx.failed.is_none() && quick_read(ctx, mem, fd, list, offset, nread).is_some() {
        return Ok(());
    }
    let failed = ctx.failed.take();
    read_any(ctx, mem, fd, list, offset, nread, failed)
}

/// Any read, perhaps after a first call that failed.
fn read_any(
    ctx: &WasiCtx,
    mem: &mut GuestMemory<'_>,
    fd: u32,
    (iovs, iovs_len): (u64, u64),
    offset: Option<u64>,
    nread: u64,
    failed: Option<HostErrno>,
) -> Result<(), Errno> {
    let descriptor = ctx.fds.with(fd, Rights::FD_READ)?;
    if offset.is_some() {
        descriptor.require(Rights::FD_SEEK)?;
    }
    mem.check_size(nread)?;
    let regions = mem.iovecs(iovs, iovs_len, ctx.common.limits.iovecs)?;
    let count = match &descriptor.object {
        Object::Stream(Stream::Virtual(_) | Stream::Pipe(_)) if offset.is_some() => Err(Errno::SPIPE),
        Object::Stream(Stream::Virtual(stream)) => Stream::read(stream, &regions),
        Object::Stream(Stream::Pipe(pipe)) => pipe.read(&regions, !descriptor.flags().contains(FdFlags::NONBLOCK)),
        _ => {
            let host = descriptor.host().ok_or(Errno::BADF)?;
            at_position(&descriptor, offset, |at| {
                blocking_after(&descriptor, host, PollFlags::IN, failed, || host::read(host, &regions, at))
            })
        }
    };
    drop(regions);
    mem.write_size(nread, count? as u64)
}

/// Reads or writes at `offset`, or where the position is, which moves then.
fn at_position(descriptor: &Held<'_>, offset: Option<u64>, call: impl FnOnce(Option<u64>) -> Result<usize, Errno>) -> Result<usize, Errno> {
    if offset.is_some() {
        return call(offset);
    }
    match descriptor.turn() {
        Some(turn) => turn.transfer(call),
        None => call(None),
    }
}

/// Writes the program's list of buffers, at `offset` or where the position is, unless the quick way was taken and failed.
fn write(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, fd: u32, list: (u64, u64), offset: Option<u64>, nwritten: u64) -> Result<(), Errno> {
    if ctx.failed.is_none() && quick_write(ctx, mem, fd, list, offset, nwritten).is_some() {
        return Ok(());
    }
    let failed = ctx.failed.take();
    write_any(ctx, mem, fd, list, offset, nwritten, failed)
}

/// Any write, perhaps after a first call that failed.
fn write_any(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    fd: u32,
    (iovs, iovs_len): (u64, u64),
    offset: Option<u64>,
    nwritten: u64,
    failed: Option<HostErrno>,
) -> Result<(), Errno> {
    let descriptor = ctx.fds.with(fd, Rights::FD_WRITE)?;
    if offset.is_some() {
        descriptor.require(Rights::FD_SEEK)?;
    }
    mem.check_size(nwritten)?;
    let result = write_regions(ctx, &descriptor, &mem.iovecs(iovs, iovs_len, ctx.common.limits.iovecs)?, offset, failed);
    if result == Err(Errno::PIPE) && ctx.common.broken_pipe == BrokenPipe::End && matches!(descriptor.object, Object::Stream(_)) {
        ctx.ended = Some(Exit(KILLED_BY_SIGPIPE));
    }
    mem.write_size(nwritten, result? as u64)
}

fn write_regions(
    ctx: &WasiCtx,
    descriptor: &Held<'_>,
    regions: &[Region<'_>],
    offset: Option<u64>,
    failed: Option<HostErrno>,
) -> Result<usize, Errno> {
    let charged = ctx.common.charge(|| total(regions))?;
    let result = match &descriptor.object {
        Object::Stream(Stream::Virtual(_)) if offset.is_some() => Err(Errno::SPIPE),
        Object::Stream(Stream::Virtual(stream)) => Stream::write(stream, regions),
        _ => descriptor.host().ok_or(Errno::BADF).and_then(|host| {
            at_position(descriptor, offset, |at| {
                blocking_after(descriptor, host, PollFlags::OUT, failed, || host::write(host, regions, at))
            })
        }),
    };
    ctx.common.refund(charged, result.as_ref().map_or(0, |count| *count as u64));
    if result.is_ok() && descriptor.imitated().intersects(FdFlags::SYNC | FdFlags::RSYNC | FdFlags::DSYNC) {
        synchronise(descriptor)?;
    }
    result
}

/// Does after a write what the descriptor's sync flags promise.
#[cold]
fn synchronise(descriptor: &Descriptor) -> Result<(), Errno> {
    let Some(host) = descriptor.host() else { return Ok(()) };
    if descriptor.imitated().intersects(FdFlags::SYNC | FdFlags::RSYNC) {
        Ok(rustix::fs::fsync(host)?)
    } else {
        Ok(rustix::fs::fdatasync(host)?)
    }
}

/// Reads at the position, which moves.
///
/// # Errors
///
/// `BADF` without the right to read, `FAULT`, `INVAL` for too long a list, `ISDIR`, `AGAIN`, and what the host says.
pub fn fd_read(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, fd: u32, iovs: u64, iovs_len: u64, nread: u64) -> Result<(), Errno> {
    read(ctx, mem, fd, (iovs, iovs_len), None, nread)
}

/// Reads at `offset`; the position stays.
///
/// # Errors
///
/// As for [`fd_read`], and `SPIPE` for what has no positions.
pub fn fd_pread(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    fd: u32,
    iovs: u64,
    iovs_len: u64,
    offset: u64,
    nread: u64,
) -> Result<(), Errno> {
    read(ctx, mem, fd, (iovs, iovs_len), Some(offset), nread)
}

/// Writes at the position, which moves, or at the end if the descriptor appends.
///
/// # Errors
///
/// `BADF` without the right to write, `FAULT`, `INVAL` for too long a list, `ISDIR`, `AGAIN`, and what the host says.
pub fn fd_write(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, fd: u32, iovs: u64, iovs_len: u64, nwritten: u64) -> Result<(), Errno> {
    write(ctx, mem, fd, (iovs, iovs_len), None, nwritten)
}

/// Writes at `offset`; the position stays. On Linux a descriptor that appends does so here too.
///
/// # Errors
///
/// As for [`fd_write`], and `SPIPE` for what has no positions.
pub fn fd_pwrite(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    fd: u32,
    iovs: u64,
    iovs_len: u64,
    offset: u64,
    nwritten: u64,
) -> Result<(), Errno> {
    write(ctx, mem, fd, (iovs, iovs_len), Some(offset), nwritten)
}

/// Moves the position and writes where it is then.
///
/// # Errors
///
/// `INVAL` for an unknown `whence` or a position before the start, `SPIPE` for what has no positions, `ISDIR`.
pub fn fd_seek(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, fd: u32, offset: i64, whence: u32, newoffset: u64) -> Result<(), Errno> {
    let to = match whence {
        0 => SeekFrom::Start(u64::try_from(offset).map_err(|_| Errno::INVAL)?),
        1 => SeekFrom::Current(offset),
        2 => SeekFrom::End(offset),
        _ => return Err(Errno::INVAL),
    };
    // To ask where the position is takes less than to move it.
    let right = if matches!(to, SeekFrom::Current(0)) { Rights::FD_TELL } else { Rights::FD_SEEK };
    seek(ctx, mem, fd, to, right, newoffset)
}

/// Writes where the position is.
///
/// # Errors
///
/// `SPIPE` for what has no positions, `ISDIR`.
pub fn fd_tell(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, fd: u32, offset: u64) -> Result<(), Errno> {
    seek(ctx, mem, fd, SeekFrom::Current(0), Rights::FD_TELL, offset)
}

#[inline(always)]
fn seek(ctx: &WasiCtx, mem: &mut GuestMemory<'_>, fd: u32, to: SeekFrom, right: Rights, result: u64) -> Result<(), Errno> {
    // What nearly every move is: in a file whose position is kept here, by the only thread.
    if let Fds::Alone(table) = &ctx.fds
        && let Ok(descriptor) = table.get(fd)
        && let Object::Regular(file) = &descriptor.object
        && descriptor.rights().contains(right)
        && mem.check(result, size_of::<u64>() as u64).is_ok()
    {
        return mem.write_u64(result, file.turn(true).seek(to, descriptor.flags())?);
    }
    seek_any(ctx, mem, fd, to, right, result)
}

/// Any move.
#[inline(never)]
fn seek_any(ctx: &WasiCtx, mem: &mut GuestMemory<'_>, fd: u32, to: SeekFrom, right: Rights, result: u64) -> Result<(), Errno> {
    let descriptor = ctx.fds.with(fd, right)?;
    mem.check(result, size_of::<u64>() as u64)?;
    let position = match descriptor.turn() {
        Some(turn) => turn.seek(to, descriptor.flags())?,
        None => rustix::fs::seek(descriptor.host().ok_or(Errno::SPIPE)?, to)?,
    };
    mem.write_u64(result, position)
}

/// Puts data and attributes on the device.
///
/// # Errors
///
/// `NOTCAPABLE` without the right, and what the host says.
pub fn fd_sync(ctx: &mut WasiCtx, _mem: &mut GuestMemory<'_>, fd: u32) -> Result<(), Errno> {
    match ctx.fds.with(fd, Rights::FD_SYNC)?.host() {
        Some(host) => Ok(rustix::fs::fsync(host)?),
        None => Ok(()),
    }
}

/// Puts data on the device.
///
/// # Errors
///
/// As for [`fd_sync`].
pub fn fd_datasync(ctx: &mut WasiCtx, _mem: &mut GuestMemory<'_>, fd: u32) -> Result<(), Errno> {
    match ctx.fds.with(fd, Rights::FD_DATASYNC)?.host() {
        Some(host) => Ok(rustix::fs::fdatasync(host)?),
        None => Ok(()),
    }
}

/// Moves descriptor `fd` to the number `to`, whose own descriptor is closed.
///
/// # Errors
///
/// `BADF` unless both are open.
pub fn fd_renumber(ctx: &mut WasiCtx, _mem: &mut GuestMemory<'_>, fd: u32, to: u32) -> Result<(), Errno> {
    ctx.fds.renumber(fd, to)
}

/// Closes a descriptor, preopened or not.
///
/// # Errors
///
/// `BADF`.
pub fn fd_close(ctx: &mut WasiCtx, _mem: &mut GuestMemory<'_>, fd: u32) -> Result<(), Errno> {
    ctx.fds.close(fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{CREATE, DIRECTORY, Guest, READ, ROOT, TestDir, WRITE};
    use crate::{Input, Output, OutputBuffer, WasiCtxBuilder};

    fn seek(guest: &mut Guest, fd: u32, offset: i64, whence: u32) -> Result<u64, Errno> {
        let (ctx, mut mem) = guest.parts();
        fd_seek(ctx, &mut mem, fd, offset, whence, 0)?;
        mem.read_u64(0)
    }

    #[test]
    fn files_are_read_written_and_sought() {
        let dir = TestDir::new();
        let mut guest = dir.guest();
        let fd = guest.open(ROOT, 0, "file", CREATE, WRITE).unwrap();
        assert_eq!(fd, 4);
        assert_eq!(guest.write(fd, b"0123456789"), Ok(10));
        assert_eq!(seek(&mut guest, fd, -4, 1), Ok(6));
        assert_eq!(guest.read(fd, 99).unwrap(), b"6789");
        assert_eq!(seek(&mut guest, fd, -1, 2), Ok(9));
        assert_eq!(seek(&mut guest, fd, 2, 0), Ok(2));
        assert_eq!(seek(&mut guest, fd, -1, 0), Err(Errno::INVAL));
        assert_eq!(seek(&mut guest, fd, i64::MIN, 1), Err(Errno::INVAL));
        assert_eq!(seek(&mut guest, fd, 0, 3), Err(Errno::INVAL));
        let (ctx, mut mem) = guest.parts();
        assert_eq!(fd_tell(ctx, &mut mem, fd, 0), Ok(()));
        assert_eq!(mem.read_u64(0), Ok(2));

        // Two buffers, at an offset; the position stays.
        mem.write(512, &[0x00, 3, 0, 0, 2, 0, 0, 0, 0x10, 3, 0, 0, 3, 0, 0, 0]).unwrap();
        assert_eq!(fd_pread(ctx, &mut mem, fd, 512, 2, 4, 0), Ok(()));
        assert_eq!((mem.read_u32(0), mem.slice(768, 2), mem.slice(784, 3)), (Ok(5), Ok(&b"45"[..]), Ok(&b"678"[..])));
        assert_eq!(fd_pwrite(ctx, &mut mem, fd, 512, 2, 0, 0), Ok(()));
        assert_eq!(fd_pread(ctx, &mut mem, fd, 512, 1, u64::MAX, 0), Err(Errno::INVAL));
        assert_eq!(guest.read(fd, 4).unwrap(), b"6785");
        // A bad place for the count is noticed before anything is moved.
        let (ctx, mut mem) = guest.parts();
        assert_eq!(fd_read(ctx, &mut mem, fd, 512, 1, u64::from(u32::MAX)), Err(Errno::FAULT));
        assert_eq!(fd_tell(ctx, &mut mem, fd, 0), Ok(()));
        assert_eq!(mem.read_u64(0), Ok(6));
        assert_eq!(fd_sync(ctx, &mut mem, fd), Ok(()));
        assert_eq!(fd_datasync(ctx, &mut mem, fd), Ok(()));
        // No buffers at all.
        assert_eq!(fd_write(ctx, &mut mem, fd, 512, 0, 0), Ok(()));
        assert_eq!(mem.read_u32(0), Ok(0));
        assert_eq!(fd_read(ctx, &mut mem, fd, 512, 1025, 0), Err(Errno::INVAL));
    }

    #[test]
    fn many_buffers_are_moved_at_once() {
        let dir = TestDir::new();
        let mut guest = dir.guest();
        let fd = guest.open(ROOT, 0, "file", CREATE, WRITE).unwrap();
        let (ctx, mut mem) = guest.parts();
        for index in 0..1024 {
            mem.write_u32(20_000 + index * 8, 40_000 + index as u32).unwrap();
            mem.write_u32(20_004 + index * 8, 1).unwrap();
            mem.write(40_000 + index, &[index as u8]).unwrap();
        }
        assert_eq!(fd_write(ctx, &mut mem, fd, 20_000, 1024, 0), Ok(()));
        assert_eq!(mem.read_u32(0), Ok(1024));
        mem.slice_mut(40_000, 1024).unwrap().fill(0);
        assert_eq!(fd_pread(ctx, &mut mem, fd, 20_000, 1024, 0, 0), Ok(()));
        assert!(mem.slice(40_000, 1024).unwrap().iter().enumerate().all(|(index, byte)| *byte == index as u8));
    }

    #[test]
    fn directories_are_not_files() {
        let dir = TestDir::new();
        let mut guest = dir.guest();
        assert_eq!(guest.read(ROOT, 1), Err(Errno::ISDIR));
        assert_eq!(guest.write(ROOT, b"x"), Err(Errno::ISDIR));
        assert_eq!(seek(&mut guest, ROOT, 0, 0), Err(Errno::ISDIR));
        assert_eq!(seek(&mut guest, ROOT, 0, 1), Err(Errno::ISDIR));
        let fd = guest.open(ROOT, 0, "file", CREATE, READ).unwrap();
        assert_eq!(guest.open(fd, 0, "x", 0, READ), Err(Errno::NOTDIR));
        assert_eq!(guest.open(0, 0, "x", 0, READ), Err(Errno::NOTDIR));
        assert_eq!(guest.open(99, 0, "x", 0, READ), Err(Errno::BADF));
        assert_eq!(guest.readdir(fd, 100, 0), Err(Errno::NOTDIR));
        assert_eq!(guest.write(fd, b"x"), Err(Errno::BADF));
        assert_eq!(guest.open(ROOT, 0, ".", DIRECTORY, WRITE), Err(Errno::ISDIR));
        let sub = guest.open(ROOT, 0, ".", DIRECTORY, READ).unwrap();
        let (ctx, mut mem) = guest.parts();
        assert_eq!(fd_sync(ctx, &mut mem, sub), Ok(()));
    }

    #[test]
    fn descriptors_are_renumbered_and_closed() {
        let dir = TestDir::new();
        dir.file("one", "1").file("two", "2");
        let mut guest = dir.guest();
        let one = guest.open(ROOT, 0, "one", 0, READ).unwrap();
        let two = guest.open(ROOT, 0, "two", 0, READ).unwrap();
        let (ctx, mut mem) = guest.parts();
        assert_eq!(fd_renumber(ctx, &mut mem, one, two), Ok(()));
        assert_eq!(fd_renumber(ctx, &mut mem, two, one), Err(Errno::BADF));
        assert_eq!(guest.read(two, 9).unwrap(), b"1");
        assert_eq!(guest.read(one, 9), Err(Errno::BADF));
        // Standard output goes to the file that was opened, as a shell does it.
        let out = guest.open(ROOT, 0, "out", CREATE, WRITE).unwrap();
        assert_eq!(out, one);
        let (ctx, mut mem) = guest.parts();
        assert_eq!(fd_renumber(ctx, &mut mem, out, 1), Ok(()));
        assert_eq!(guest.write(1, b"hello"), Ok(5));
        assert_eq!(std::fs::read(dir.path("out")).unwrap(), b"hello");
        assert_eq!(guest.close(ROOT), Ok(()));
        assert_eq!(guest.close(ROOT), Err(Errno::BADF));
        assert_eq!(guest.open(ROOT, 0, "one", 0, READ), Err(Errno::BADF));
    }

    #[test]
    fn streams_in_memory() {
        let (out, err) = (OutputBuffer::new(8), OutputBuffer::new(100));
        let mut builder = WasiCtxBuilder::new();
        builder.stdin(Input::Bytes(b"some input".to_vec()));
        builder.stdout(Output::Capture(out.clone())).stderr(Output::Capture(err.clone()));
        let mut guest = Guest::with(builder.build().unwrap());
        assert_eq!(guest.read(0, 4).unwrap(), b"some");
        assert_eq!(guest.read(0, 99).unwrap(), b" input");
        assert_eq!(guest.read(0, 99).unwrap(), b"");
        assert_eq!(guest.write(0, b"x"), Err(Errno::BADF));
        assert_eq!(guest.read(1, 1), Err(Errno::BADF));
        assert_eq!(guest.write(1, b"12345"), Ok(5));
        assert_eq!(guest.write(1, b"67890"), Ok(3));
        assert_eq!(guest.write(1, b"67890"), Err(Errno::NOSPC));
        assert_eq!(guest.write(2, b"error"), Ok(5));
        assert_eq!((out.contents(), err.take()), (b"12345678".to_vec(), b"error".to_vec()));
        assert_eq!(err.contents(), b"");
        assert_eq!(seek(&mut guest, 0, 0, 0), Err(Errno::SPIPE));
    }

    #[test]
    fn a_fifo_waits_for_its_first_writer_only() {
        let dir = TestDir::new();
        let (path, mode) = (dir.path("pipe"), rustix::fs::Mode::from_raw_mode(0o600));
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let mut guest = dir.guest();
        let fd = guest.open(ROOT, 0, "pipe", 0, READ).unwrap();
        let late = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            std::fs::write(path, "late").unwrap();
        });
        assert_eq!(guest.read(fd, 9).unwrap(), b"late");
        late.join().unwrap();
        assert_eq!(guest.read(fd, 9).unwrap(), b"");
        // Who opened it not to wait does not wait.
        let fd = guest.open_with(ROOT, 0, "pipe", 0, READ, 0, 4).unwrap();
        assert_eq!(guest.read(fd, 9).unwrap(), b"");
        assert_eq!(guest.write(fd, b"x"), Err(Errno::BADF));
    }

    #[test]
    fn streams_of_others_block_or_not_as_the_program_says() {
        let (reader, writer) = std::io::pipe().unwrap();
        // As if another process that shares it had made it so.
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        let mut guest = Guest::with(WasiCtxBuilder::new().stdin(Input::Fd(reader.into())).build().unwrap());
        let (ctx, mut mem) = guest.parts();
        assert_eq!(crate::preview1::fd_fdstat_set_flags(ctx, &mut mem, 0, 4), Ok(()));
        assert_eq!(guest.read(0, 9), Err(Errno::AGAIN));
        assert_eq!(guest.fdstat(0).unwrap().1, 4);
        let (ctx, mut mem) = guest.parts();
        assert_eq!(crate::preview1::fd_fdstat_set_flags(ctx, &mut mem, 0, 0), Ok(()));
        let late = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            rustix::io::write(&writer, b"late").unwrap();
        });
        assert_eq!(guest.read(0, 9).unwrap(), b"late");
        late.join().unwrap();
    }
}
