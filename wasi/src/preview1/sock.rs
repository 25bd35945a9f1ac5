//! Sockets that the embedder handed over, and connections accepted from them. Preview1 cannot create any.

use rustix::event::PollFlags;
use rustix::fd::BorrowedFd;
use rustix::io::Errno as HostErrno;
use rustix::net::{RecvFlags as HostRecvFlags, SendFlags, Shutdown, SocketFlags};

use super::fd::blocking;
use crate::ctx::WasiCtx;
use crate::errno::Errno;
use crate::fdtable::{Descriptor, Fds, Held, Object};
use crate::guest::{GuestMemory, total};
use crate::host;
use crate::types::{FdFlags, RecvFlags, Rights, ShutdownFlags, size};

/// The message was longer than the buffers.
const DATA_TRUNCATED: u16 = 1;

/// The socket if it has `right`.
pub(crate) fn socket(fds: &Fds, fd: u32, right: Rights) -> Result<Held<'_>, Errno> {
    let descriptor = fds.get(fd)?;
    if !matches!(descriptor.object, Object::Socket(_)) {
        return Err(Errno::NOTSOCK);
    }
    descriptor.require(right)?;
    Ok(descriptor)
}

/// The host's descriptor of a socket.
pub(crate) fn host_socket(descriptor: &Descriptor) -> Result<BorrowedFd<'_>, Errno> {
    descriptor.host().ok_or(Errno::NOTSOCK)
}

/// Accepts a connection, and writes the descriptor number that it gets.
///
/// # Errors
///
/// `NOTSOCK`, `NOTCAPABLE` without the right, `INVAL` for flags other than `NONBLOCK`, `AGAIN`, `MFILE`, `FAULT`, and what
/// the host says.
pub fn sock_accept(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, fd: u32, flags: u32, connection: u64) -> Result<(), Errno> {
    let flags = FdFlags::from_bits(flags)?;
    if !FdFlags::NONBLOCK.contains(flags) {
        return Err(Errno::INVAL);
    }
    mem.check(connection, size::FD)?;
    ctx.fds.check_room()?;
    let descriptor = socket(&ctx.fds, fd, Rights::SOCK_ACCEPT)?;
    let host = host_socket(&descriptor)?;
    let mut host_flags = SocketFlags::CLOEXEC;
    host_flags.set(SocketFlags::NONBLOCK, flags.contains(FdFlags::NONBLOCK));
    let accepted = blocking(&descriptor, host, PollFlags::IN, || rustix::net::accept_with(host, host_flags))?;
    let inheriting = descriptor.inheriting();
    let connected = Descriptor::new(Object::Socket(accepted), inheriting & Rights::SOCKET, inheriting, flags);
    drop(descriptor);
    mem.write_u32(connection, ctx.fds.insert(connected)?)
}

/// Receives from a socket, and writes how many bytes came and whether there were more.
///
/// # Errors
///
/// `NOTSOCK`, `BADF` without the right to read, `INVAL` for unknown flags or too long a list, `AGAIN`, `FAULT`, and what the
/// host says.
pub fn sock_recv(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    fd: u32,
    ri_data: u64,
    ri_data_len: u64,
    ri_flags: u32,
    ro_datalen: u64,
    ro_flags: u64,
) -> Result<(), Errno> {
    let flags = RecvFlags::from_bits(ri_flags)?;
    mem.check_size(ro_datalen)?;
    mem.check(ro_flags, size_of::<u16>() as u64)?;
    let descriptor = socket(&ctx.fds, fd, Rights::FD_READ)?;
    let host = host_socket(&descriptor)?;
    let mut host_flags = HostRecvFlags::empty();
    host_flags.set(HostRecvFlags::PEEK, flags.contains(RecvFlags::PEEK));
    host_flags.set(HostRecvFlags::WAITALL, flags.contains(RecvFlags::WAITALL));
    let buffers = mem.iovecs(ri_data, ri_data_len, ctx.common.limits.iovecs)?;
    let (received, more) = blocking(&descriptor, host, PollFlags::IN, || host::receive(host, &buffers, host_flags, None))?;
    drop(buffers);
    mem.write_size(ro_datalen, received as u64)?;
    let truncated = if more { DATA_TRUNCATED } else { 0 };
    mem.write(ro_flags, &truncated.to_le_bytes())
}

/// Sends to a socket, and writes how many bytes went.
///
/// # Errors
///
/// `NOTSOCK`, `BADF` without the right to write, `INVAL` for any flag or too long a list, `PIPE`, `AGAIN`, `FAULT`, and what
/// the host says.
pub fn sock_send(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    fd: u32,
    si_data: u64,
    si_data_len: u64,
    si_flags: u32,
    so_datalen: u64,
) -> Result<(), Errno> {
    if si_flags != 0 {
        return Err(Errno::INVAL);
    }
    mem.check_size(so_datalen)?;
    let descriptor = socket(&ctx.fds, fd, Rights::FD_WRITE)?;
    let host = host_socket(&descriptor)?;
    let buffers = mem.iovecs(si_data, si_data_len, ctx.common.limits.iovecs)?;
    let charged = ctx.common.charge(|| total(&buffers))?;
    let result = blocking(&descriptor, host, PollFlags::OUT, || host::send(host, &buffers, SendFlags::empty(), None));
    ctx.common.refund(charged, result.as_ref().map_or(0, |sent| *sent as u64));
    drop(buffers);
    mem.write_size(so_datalen, result? as u64)
}

/// Shuts one side of a connection down, or both.
///
/// # Errors
///
/// `NOTSOCK`, `NOTCAPABLE` without the right, `INVAL` for no side, `NOTCONN`.
pub fn sock_shutdown(ctx: &mut WasiCtx, _mem: &mut GuestMemory<'_>, fd: u32, how: u32) -> Result<(), Errno> {
    let how = ShutdownFlags::from_bits(how)?;
    let how = match (how.contains(ShutdownFlags::READ), how.contains(ShutdownFlags::WRITE)) {
        (true, true) => Shutdown::Both,
        (true, false) => Shutdown::Read,
        (false, true) => Shutdown::Write,
        (false, false) => return Err(Errno::INVAL),
    };
    let descriptor = socket(&ctx.fds, fd, Rights::SOCK_SHUTDOWN)?;
    let host = host_socket(&descriptor)?;
    match rustix::net::shutdown(host, how) {
        Err(HostErrno::NOTCONN) => Err(Errno::NOTCONN),
        result => Ok(result?),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::WasiCtxBuilder;
    use crate::preview1::{fd_close, fd_fdstat_set_flags, fd_read, fd_write};

    #[test]
    fn connections_are_accepted_and_used() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut ctx = WasiCtxBuilder::new().preopen_socket(listener).build().unwrap();
        let mut bytes = vec![0; 256];
        let mut mem = GuestMemory::new(&mut bytes);

        assert_eq!(sock_accept(&mut ctx, &mut mem, 0, 0, 0), Err(Errno::NOTSOCK));
        assert_eq!(sock_accept(&mut ctx, &mut mem, 3, 1, 0), Err(Errno::INVAL));
        assert_eq!(fd_fdstat_set_flags(&mut ctx, &mut mem, 3, 4), Ok(()));
        assert_eq!(sock_accept(&mut ctx, &mut mem, 3, 0, 0), Err(Errno::AGAIN));
        assert_eq!(fd_fdstat_set_flags(&mut ctx, &mut mem, 3, 0), Ok(()));

        let mut peer = TcpStream::connect(address).unwrap();
        assert_eq!(sock_accept(&mut ctx, &mut mem, 3, 0, 0), Ok(()));
        assert_eq!(mem.read_u32(0), Ok(4));

        peer.write_all(b"hello").unwrap();
        mem.write_u32(8, 64).unwrap();
        mem.write_u32(12, 3).unwrap();
        assert_eq!(sock_recv(&mut ctx, &mut mem, 4, 8, 1, 1, 16, 20), Ok(()));
        assert_eq!((mem.read_u32(16), mem.slice(64, 3)), (Ok(3), Ok(&b"hel"[..])));
        assert_eq!(sock_recv(&mut ctx, &mut mem, 4, 8, 1, 0, 16, 20), Ok(()));
        assert_eq!(mem.slice(64, 3), Ok(&b"hel"[..]));
        assert_eq!(fd_read(&mut ctx, &mut mem, 4, 8, 1, 16), Ok(()));
        assert_eq!((mem.read_u32(16), mem.slice(64, 2)), (Ok(2), Ok(&b"lo"[..])));

        assert_eq!(sock_send(&mut ctx, &mut mem, 4, 8, 1, 0, 16), Ok(()));
        assert_eq!(fd_write(&mut ctx, &mut mem, 4, 8, 1, 16), Ok(()));
        assert_eq!(sock_send(&mut ctx, &mut mem, 4, 8, 1, 1, 16), Err(Errno::INVAL));
        assert_eq!(sock_shutdown(&mut ctx, &mut mem, 4, 0), Err(Errno::INVAL));
        assert_eq!(sock_shutdown(&mut ctx, &mut mem, 4, 2), Ok(()));
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"lollol");
        assert_eq!(sock_send(&mut ctx, &mut mem, 4, 8, 1, 0, 16), Err(Errno::PIPE));
        assert_eq!(fd_close(&mut ctx, &mut mem, 4), Ok(()));
        assert_eq!(sock_recv(&mut ctx, &mut mem, 4, 8, 1, 0, 16, 20), Err(Errno::BADF));
    }
}
