//! WasmEdge's socket extension of preview1, under its names and signatures, so that programs built for it run.
//!
//! It has two versions of several functions under one name, told apart by the type of the import, and the second also
//! under a name with `_v2` behind it. An address is a buffer in the form of an iovec: 4 or 16 bytes are an address of that
//! version, 128 bytes are a family of 16 bits and the address behind it. Every place that a program connects to, sends to
//! or binds has to be granted (see [`crate::NetGrant`]); without a grant there are no sockets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use rustix::event::PollFlags;
use rustix::fd::BorrowedFd;
use rustix::net::{AddressFamily, RecvFlags as HostRecvFlags, SendFlags, SocketFlags, SocketType};

use super::fd::blocking;
use super::sock::{host_socket, socket};
use super::{FunctionInfo, define_list, poll_oneoff, sock_accept, sock_recv, sock_send};
use crate::ctx::WasiCtx;
use crate::errno::Errno;
use crate::fdtable::{Descriptor, Object};
use crate::guest::{GuestMemory, Region, total};
use crate::host::{self, Address};
use crate::types::{FdFlags, RecvFlags, Rights, size};

const FAMILY_UNSPEC: u8 = 0;
const FAMILY_INET4: u8 = 1;
const FAMILY_INET6: u8 = 2;
const FAMILY_UNIX: u32 = 3;
const TYPE_ANY: u8 = 0;
const TYPE_DATAGRAM: u8 = 1;
const TYPE_STREAM: u8 = 2;

/// Bytes of an address with its family in front, and where the address is.
const STORAGE: usize = 128;
const STORAGE_ADDRESS: usize = 2;

/// Reads the address that an iovec at `pointer` leads to.
fn address(mem: &GuestMemory<'_>, pointer: u64, port: u32) -> Result<SocketAddr, Errno> {
    let region = mem.iovec(pointer)?;
    let mut bytes = [0; STORAGE];
    region.copy_out(0, &mut bytes);
    let v4 = |at: usize| Ipv4Addr::from([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let v6 = |at: usize| {
        let mut address = [0; 16];
        address.copy_from_slice(&bytes[at..at + 16]);
        Ipv6Addr::from(address)
    };
    let ip: IpAddr = match (region.len(), bytes[0], bytes[1]) {
        (4, ..) => v4(0).into(),
        (16, ..) => v6(0).into(),
        (STORAGE, FAMILY_INET4, 0) => v4(STORAGE_ADDRESS).into(),
        (STORAGE, FAMILY_INET6, 0) => v6(STORAGE_ADDRESS).into(),
        (STORAGE, ..) => return Err(Errno::AFNOSUPPORT),
        _ => return Err(Errno::INVAL),
    };
    // Only 16 bits of a port count, as in WasmEdge.
    Ok(SocketAddr::new(ip, port as u16))
}

/// Where an address goes; fails before anything is done if no address would fit.
fn address_buffer<'m>(mem: &'m GuestMemory<'_>, pointer: u64) -> Result<Region<'m>, Errno> {
    let region = mem.iovec(pointer)?;
    if matches!(region.len(), 4 | 16 | STORAGE) { Ok(region) } else { Err(Errno::INVAL) }
}

fn write_address(region: Region<'_>, address: IpAddr) -> Result<(), Errno> {
    let mut bytes = [0; 16];
    let (family, len) = match address {
        IpAddr::V4(ip) => {
            bytes[..4].copy_from_slice(&ip.octets());
            (FAMILY_INET4, 4)
        }
        IpAddr::V6(ip) => {
            bytes = ip.octets();
            (FAMILY_INET6, 16)
        }
    };
    if region.len() == STORAGE {
        region.copy_in(0, &[family, 0]);
        region.copy_in(STORAGE_ADDRESS, &bytes[..len]);
    } else if region.len() < len {
        return Err(Errno::INVAL);
    } else {
        region.copy_in(0, &bytes[..len]);
    }
    Ok(())
}

/// Makes a socket.
fn sock_open(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, family: u32, kind: u32, fd: u64) -> Result<(), Errno> {
    if !ctx.common.net.any() {
        return Err(Errno::ACCES);
    }
    let family = match u8::try_from(family) {
        Ok(FAMILY_INET4) => AddressFamily::INET,
        Ok(FAMILY_INET6) => AddressFamily::INET6,
        Ok(FAMILY_UNSPEC) => return Err(Errno::AFNOSUPPORT),
        _ if family == FAMILY_UNIX => return Err(Errno::NOSYS),
        _ => return Err(Errno::INVAL),
    };
    let kind = match u8::try_from(kind) {
        Ok(TYPE_DATAGRAM) => SocketType::DGRAM,
        Ok(TYPE_STREAM | TYPE_ANY) => SocketType::STREAM,
        _ => return Err(Errno::INVAL),
    };
    mem.check(fd, size::FD)?;
    ctx.fds.check_room()?;
    let opened = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    let descriptor = Descriptor::new(Object::Socket(opened), Rights::SOCKET, Rights::SOCKET, FdFlags::NONE);
    mem.write_u32(fd, ctx.fds.insert(descriptor)?)
}

/// Gives a socket its address.
fn sock_bind(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, fd: u32, addr: u64, port: u32) -> Result<(), Errno> {
    let address = address(mem, addr, port)?;
    let descriptor = socket(&ctx.fds, fd, Rights::NONE)?;
    ctx.common.net.check_bind(address)?;
    Ok(rustix::net::bind(host_socket(&descriptor)?, &address)?)
}

/// Connects a socket.
fn sock_connect(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, fd: u32, addr: u64, port: u32) -> Result<(), Errno> {
    let address = address(mem, addr, port)?;
    let descriptor = socket(&ctx.fds, fd, Rights::NONE)?;
    ctx.common.net.check_peer(address)?;
    Ok(rustix::net::connect(host_socket(&descriptor)?, &address)?)
}

/// Makes a socket wait for connections.
fn sock_listen(ctx: &mut WasiCtx, _mem: &mut GuestMemory<'_>, fd: u32, backlog: u32) -> Result<(), Errno> {
    let descriptor = socket(&ctx.fds, fd, Rights::NONE)?;
    let host = host_socket(&descriptor)?;
    // The host would bind a socket that has no address to any port of all its addresses.
    let address = local_address(host)?;
    if address.port() == 0 {
        ctx.common.net.check_bind(address)?;
    }
    Ok(rustix::net::listen(host, backlog.cast_signed())?)
}

/// Accepts a connection, which blocks unless the program says otherwise later.
fn sock_accept_v1(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, fd: u32, connection: u64) -> Result<(), Errno> {
    sock_accept(ctx, mem, fd, 0, connection)
}

/// Receives, and says from whom.
fn receive_from(
    ctx: &WasiCtx,
    mem: &mut GuestMemory<'_>,
    fd: u32,
    (ri_data, ri_data_len): (u64, u64),
    address: u64,
    ri_flags: u32,
    port: Option<u64>,
    (ro_datalen, ro_flags): (u64, u64),
) -> Result<(), Errno> {
    let flags = RecvFlags::from_bits(ri_flags)?;
    mem.check_size(ro_datalen)?;
    mem.check(ro_flags, size_of::<u16>() as u64)?;
    if let Some(port) = port {
        mem.check(port, size_of::<u16>() as u64)?;
    }
    let buffer = address_buffer(mem, address)?;
    let descriptor = socket(&ctx.fds, fd, Rights::FD_READ)?;
    let host = host_socket(&descriptor)?;
    let mut host_flags = HostRecvFlags::empty();
    host_flags.set(HostRecvFlags::PEEK, flags.contains(RecvFlags::PEEK));
    host_flags.set(HostRecvFlags::WAITALL, flags.contains(RecvFlags::WAITALL));
    let buffers = mem.iovecs(ri_data, ri_data_len, ctx.common.limits.iovecs)?;
    let mut from = Address::empty();
    let (received, more) = blocking(&descriptor, host, PollFlags::IN, || host::receive(host, &buffers, host_flags, Some(&mut from)))?;
    drop(buffers);
    // A connected socket does not say.
    let from = from.get().or_else(|| peer_address(host).ok());
    if let Some(from) = from {
        write_address(buffer, from.ip())?;
        if let Some(port) = port {
            mem.write(port, &from.port().to_le_bytes())?;
        }
    }
    mem.write_size(ro_datalen, received as u64)?;
    mem.write(ro_flags, &u16::from(more).to_le_bytes())
}

fn sock_recv_from_v1(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    fd: u32,
    ri_data: u64,
    ri_data_len: u64,
    address: u64,
    ri_flags: u32,
    ro_datalen: u64,
    ro_flags: u64,
) -> Result<(), Errno> {
    receive_from(ctx, mem, fd, (ri_data, ri_data_len), address, ri_flags, None, (ro_datalen, ro_flags))
}

fn sock_recv_from_v2(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    fd: u32,
    ri_data: u64,
    ri_data_len: u64,
    address: u64,
    ri_flags: u32,
    port: u64,
    ro_datalen: u64,
    ro_flags: u64,
) -> Result<(), Errno> {
    receive_from(ctx, mem, fd, (ri_data, ri_data_len), address, ri_flags, Some(port), (ro_datalen, ro_flags))
}

/// Sends to an address.
fn sock_send_to(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    fd: u32,
    si_data: u64,
    si_data_len: u64,
    addr: u64,
    port: u32,
    si_flags: u32,
    so_datalen: u64,
) -> Result<(), Errno> {
    if si_flags != 0 {
        return Err(Errno::INVAL);
    }
    mem.check_size(so_datalen)?;
    let to = address(mem, addr, port)?;
    let descriptor = socket(&ctx.fds, fd, Rights::FD_WRITE)?;
    let host = host_socket(&descriptor)?;
    ctx.common.net.check_peer(to)?;
    let buffers = mem.iovecs(si_data, si_data_len, ctx.common.limits.iovecs)?;
    let charged = ctx.common.charge(|| total(&buffers))?;
    let mut to = Address::from(to);
    let result = blocking(&descriptor, host, PollFlags::OUT, || host::send(host, &buffers, SendFlags::empty(), Some(&mut to)));
    ctx.common.refund(charged, result.as_ref().map_or(0, |sent| *sent as u64));
    drop(buffers);
    mem.write_size(so_datalen, result? as u64)
}

fn local_address(host: BorrowedFd<'_>) -> Result<SocketAddr, Errno> {
    SocketAddr::try_from(rustix::net::getsockname(host)?).map_err(|_| Errno::AFNOSUPPORT)
}

fn peer_address(host: BorrowedFd<'_>) -> Result<SocketAddr, Errno> {
    let peer = rustix::net::getpeername(host)?.ok_or(Errno::NOTCONN)?;
    SocketAddr::try_from(peer).map_err(|_| Errno::AFNOSUPPORT)
}

type Ask = fn(BorrowedFd<'_>) -> Result<SocketAddr, Errno>;

/// Writes an address of a socket: its bytes, perhaps which version it is (4 or 6), its port.
fn report(ctx: &WasiCtx, mem: &mut GuestMemory<'_>, fd: u32, ask: Ask, to: u64, version: Option<u64>, port: u64) -> Result<(), Errno> {
    mem.check(port, size_of::<u32>() as u64)?;
    let buffer = address_buffer(mem, to)?;
    let descriptor = socket(&ctx.fds, fd, Rights::NONE)?;
    let address = ask(host_socket(&descriptor)?)?;
    write_address(buffer, address.ip())?;
    if let Some(version) = version {
        mem.write_u32(version, if address.is_ipv4() { 4 } else { 6 })?;
    }
    mem.write_u32(port, address.port().into())
}

fn sock_getlocaladdr_v1(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    fd: u32,
    address: u64,
    address_type: u64,
    port: u64,
) -> Result<(), Errno> {
    report(ctx, mem, fd, local_address, address, Some(address_type), port)
}

fn sock_getlocaladdr_v2(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, fd: u32, address: u64, port: u64) -> Result<(), Errno> {
    report(ctx, mem, fd, local_address, address, None, port)
}

fn sock_getpeeraddr_v1(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    fd: u32,
    address: u64,
    address_type: u64,
    port: u64,
) -> Result<(), Errno> {
    report(ctx, mem, fd, peer_address, address, Some(address_type), port)
}

fn sock_getpeeraddr_v2(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, fd: u32, address: u64, port: u64) -> Result<(), Errno> {
    report(ctx, mem, fd, peer_address, address, None, port)
}

/// A socket option: its number on the host, and the bytes of its value.
struct SocketOption {
    host: i32,
    len: usize,
}

/// The options of the only level, by their numbers. The interface that a socket is bound to is not the program's to choose.
fn option(level: u32, name: u32) -> Result<SocketOption, Errno> {
    if level != 0 {
        return Err(Errno::NOPROTOOPT);
    }
    let int = |host| Ok(SocketOption { host, len: 4 });
    match name {
        0 => int(libc::SO_REUSEADDR),
        1 => int(libc::SO_TYPE),
        2 => int(libc::SO_ERROR),
        3 => int(libc::SO_DONTROUTE),
        4 => int(libc::SO_BROADCAST),
        5 => int(libc::SO_SNDBUF),
        6 => int(libc::SO_RCVBUF),
        7 => int(libc::SO_KEEPALIVE),
        8 => int(libc::SO_OOBINLINE),
        // Whether and how many seconds.
        9 => Ok(SocketOption { host: libc::SO_LINGER, len: 8 }),
        10 => int(libc::SO_RCVLOWAT),
        // Seconds and microseconds, 64 bits each.
        11 => Ok(SocketOption { host: libc::SO_RCVTIMEO, len: 16 }),
        12 => Ok(SocketOption { host: libc::SO_SNDTIMEO, len: 16 }),
        13 => int(libc::SO_ACCEPTCONN),
        14 => Err(Errno::ACCES),
        _ => Err(Errno::INVAL),
    }
}

/// Writes the value of an option, and its length in the place of the buffer's.
fn sock_getsockopt(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    fd: u32,
    level: u32,
    name: u32,
    flag: u64,
    flag_size: u64,
) -> Result<(), Errno> {
    let option = option(level, name)?;
    let room = mem.read_u32(flag_size)?;
    mem.check(flag, room.into())?;
    if (room as usize) < option.len {
        return Err(Errno::INVAL);
    }
    let descriptor = socket(&ctx.fds, fd, Rights::NONE)?;
    let mut value = [0; 16];
    host::socket_option(host_socket(&descriptor)?, option.host, &mut value[..option.len])?;
    let number = i32::from_ne_bytes([value[0], value[1], value[2], value[3]]);
    let translated = match option.host {
        libc::SO_TYPE if number == libc::SOCK_DGRAM => Some(i32::from(TYPE_DATAGRAM)),
        libc::SO_TYPE => Some(i32::from(TYPE_STREAM)),
        libc::SO_ERROR if number == 0 => Some(0),
        libc::SO_ERROR => Some(Errno::from(rustix::io::Errno::from_raw_os_error(number)).number().into()),
        _ if option.len == 4 => Some(number),
        _ => None,
    };
    if let Some(number) = translated {
        value[..4].copy_from_slice(&number.to_le_bytes());
    }
    mem.write(flag, &value[..option.len])?;
    mem.write_u32(flag_size, option.len as u32)
}

/// Sets an option.
fn sock_setsockopt(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    fd: u32,
    level: u32,
    name: u32,
    flag: u64,
    flag_size: u64,
) -> Result<(), Errno> {
    let option = option(level, name)?;
    mem.check(flag, flag_size)?;
    if flag_size < option.len as u64 {
        return Err(Errno::INVAL);
    }
    let mut value = [0; 16];
    mem.read(flag, &mut value[..option.len])?;
    let descriptor = socket(&ctx.fds, fd, Rights::NONE)?;
    Ok(host::set_socket_option(host_socket(&descriptor)?, option.host, &value[..option.len])?)
}

/// Where the fields of an address information lie, and of the address that it points to.
mod info {
    pub(super) const FLAGS: u64 = 0;
    pub(super) const FAMILY: u64 = 2;
    pub(super) const KIND: u64 = 3;
    pub(super) const PROTOCOL: u64 = 4;
    pub(super) const ADDRESS_LEN: u64 = 8;
    pub(super) const ADDRESS: u64 = 12;
    pub(super) const NAME: u64 = 16;
    pub(super) const NAME_LEN: u64 = 20;
    pub(super) const NEXT: u64 = 24;
    pub(super) const SIZE: u64 = 28;
    pub(super) const SOCKADDR_DATA_LEN: u64 = 4;
    pub(super) const SOCKADDR_DATA: u64 = 8;
    pub(super) const SOCKADDR_SIZE: u64 = 12;
    pub(super) const PASSIVE: u16 = 1 << 0;
    pub(super) const CANONNAME: u16 = 1 << 1;
    pub(super) const NUMERICHOST: u16 = 1 << 2;
    pub(super) const NUMERICSERV: u16 = 1 << 3;
    pub(super) const ALL_FLAGS: u16 = (1 << 7) - 1;
}

/// Most addresses that one call returns.
const RESULTS: u32 = 64;

/// The longest name that is looked up, as the domain name system has it.
const NAME_BYTES: u64 = 255;

/// A name without the NULs that programs put behind it.
fn name(mem: &GuestMemory<'_>, pointer: u64, len: u64) -> Result<String, Errno> {
    if len > NAME_BYTES + 1 {
        mem.check(pointer, len)?;
        return Err(Errno::AINONAME);
    }
    let mut bytes = vec![0; len as usize];
    mem.read(pointer, &mut bytes)?;
    let name = String::from_utf8(bytes).map_err(|_| Errno::AINONAME)?;
    let name = name.trim_end_matches('\0');
    if name.contains('\0') { Err(Errno::AINONAME) } else { Ok(name.to_owned()) }
}

/// The port of a service; names of a few, since the host's table is not the program's.
fn service_port(service: &str, flags: u16) -> Result<u16, Errno> {
    const SERVICES: [(&str, u16); 8] =
        [("ftp", 21), ("ssh", 22), ("smtp", 25), ("domain", 53), ("http", 80), ("ntp", 123), ("imap", 143), ("https", 443)];
    if service.is_empty() {
        return Ok(0);
    }
    if let Ok(port) = service.parse() {
        return Ok(port);
    }
    if flags & info::NUMERICSERV != 0 {
        return Err(Errno::AINONAME);
    }
    SERVICES.iter().find(|(name, _)| *name == service).map(|(_, port)| *port).ok_or(Errno::AISERVICE)
}

/// The addresses of a host.
fn resolve(ctx: &WasiCtx, node: &str, port: u16, flags: u16) -> Result<Vec<SocketAddr>, Errno> {
    let both = |v4: Ipv4Addr, v6: Ipv6Addr| Ok(vec![SocketAddr::new(v4.into(), port), SocketAddr::new(v6.into(), port)]);
    if node.is_empty() {
        return if flags & info::PASSIVE != 0 {
            both(Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED)
        } else {
            both(Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST)
        };
    }
    if let Ok(ip) = node.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    if flags & info::NUMERICHOST != 0 {
        return Err(Errno::AINONAME);
    }
    if node == "localhost" {
        return both(Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
    }
    if !ctx.common.net.names() {
        return Err(Errno::ACCES);
    }
    (node, port).to_socket_addrs().map(Iterator::collect).map_err(|_| Errno::AINONAME)
}

/// Looks a host and a service up, and fills the list that the program has made for the results.
fn sock_getaddrinfo(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    node: u64,
    node_len: u64,
    service: u64,
    service_len: u64,
    hints: u64,
    res: u64,
    max_res_len: u32,
    res_len: u64,
) -> Result<(), Errno> {
    if !ctx.common.net.any() {
        return Err(Errno::ACCES);
    }
    let (node, service) = (name(mem, node, node_len)?, name(mem, service, service_len)?);
    mem.check(hints, info::SIZE)?;
    mem.check(res_len, 4)?;
    let list = mem.read_u32(res)?;
    if node.is_empty() && service.is_empty() {
        return Err(Errno::AINONAME);
    }
    if max_res_len == 0 {
        return Err(Errno::AIMEMORY);
    }
    let flags = mem.read_u16(hints + info::FLAGS)?;
    if flags & !info::ALL_FLAGS != 0 || flags & info::CANONNAME != 0 && node.is_empty() {
        return Err(Errno::AIBADFLAG);
    }
    let family = mem.read_u8(hints + info::FAMILY)?;
    if family > FAMILY_INET6 {
        return Err(Errno::AIFAMILY);
    }
    let (kind, protocol) = (mem.read_u8(hints + info::KIND)?, mem.read_u8(hints + info::PROTOCOL)?);
    // TCP is 1 and UDP 2, the other way round than the types of sockets.
    let kinds: &[(u8, u8)] = match (kind, protocol) {
        (TYPE_ANY, 0) => &[(TYPE_STREAM, 1), (TYPE_DATAGRAM, 2)],
        (TYPE_ANY | TYPE_STREAM, 0 | 1) => &[(TYPE_STREAM, 1)],
        (TYPE_ANY | TYPE_DATAGRAM, 0 | 2) => &[(TYPE_DATAGRAM, 2)],
        (TYPE_STREAM | TYPE_DATAGRAM, 1 | 2) => return Err(Errno::AISOCKTYPE),
        _ => return Err(Errno::NOSYS),
    };
    let port = service_port(&service, flags)?;
    let found = resolve(ctx, &node, port, flags)?;
    let fits = |address: &&SocketAddr| family == FAMILY_UNSPEC || address.is_ipv4() == (family == FAMILY_INET4);
    let results = found.iter().filter(fits).flat_map(|address| kinds.iter().map(move |kind| (*address, *kind)));

    let (mut at, mut count, mut last) = (u64::from(list), 0, None);
    for (address, (kind, protocol)) in results.take(max_res_len.min(RESULTS) as usize) {
        write_info(mem, at, address, kind, protocol, (count == 0 && flags & info::CANONNAME != 0).then_some(&node))?;
        last = Some(at + info::NEXT);
        at = mem.read_u32(at + info::NEXT)?.into();
        count += 1;
    }
    let Some(last) = last else { return Err(Errno::AINODATA) };
    mem.write_u32(last, 0)?;
    mem.write_u32(res_len, count)
}

/// Fills the address information at `at`, the address that it points to and that one's data.
fn write_info(mem: &mut GuestMemory<'_>, at: u64, address: SocketAddr, kind: u8, protocol: u8, name: Option<&String>) -> Result<(), Errno> {
    mem.check(at, info::SIZE)?;
    // As in the host's structure behind the family: the port, for version 6 the flow, the address, for version 6 the scope.
    let mut data = [0; 26];
    data[..2].copy_from_slice(&address.port().to_be_bytes());
    let (family, len) = match address.ip() {
        IpAddr::V4(ip) => {
            data[2..6].copy_from_slice(&ip.octets());
            (FAMILY_INET4, 14)
        }
        IpAddr::V6(ip) => {
            data[6..22].copy_from_slice(&ip.octets());
            (FAMILY_INET6, 26)
        }
    };
    mem.write(at + info::FAMILY, &[family, kind, protocol])?;
    mem.write_u32(at + info::ADDRESS_LEN, len + 2)?;
    let sockaddr = u64::from(mem.read_u32(at + info::ADDRESS)?);
    mem.check(sockaddr, info::SOCKADDR_SIZE)?;
    let place = u64::from(mem.read_u32(sockaddr + info::SOCKADDR_DATA)?);
    mem.write(place, &data[..len as usize])?;
    mem.write(sockaddr, &[family])?;
    mem.write_u32(sockaddr + info::SOCKADDR_DATA_LEN, len)?;
    if let Some(name) = name {
        let place = u64::from(mem.read_u32(at + info::NAME)?);
        let room = mem.read_u32(at + info::NAME_LEN)?;
        // With its NUL, as far as there is room.
        let mut bytes = name.as_bytes().to_vec();
        bytes.push(0);
        bytes.truncate(room as usize);
        mem.write(place, &bytes)?;
        mem.write_u32(at + info::NAME_LEN, bytes.len() as u32)?;
    }
    Ok(())
}

/// Waits as `poll_oneoff` does. Readiness that lasts is reported each time, while WasmEdge reports it when it begins:
/// programs that wait for the beginning only see it more often.
fn epoll_oneoff(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    subscriptions: u64,
    events: u64,
    nsubscriptions: u64,
    nevents: u64,
) -> Result<(), Errno> {
    poll_oneoff(ctx, mem, subscriptions, events, nsubscriptions, nevents)
}

/// What the extension adds to preview1, under the names of the imports. Functions that are as in preview1 stand here only
/// with the names that preview1 does not have.
pub static FUNCTIONS: &[FunctionInfo] = &[
    define_list!(@info errno sock_open "sock_open", family: Word, kind: Word, fd: Pointer),
    define_list!(@info errno sock_open "sock_open_v2", family: Word, kind: Word, fd: Pointer),
    define_list!(@info errno sock_bind "sock_bind", fd: Fd, addr: Pointer, port: Word),
    define_list!(@info errno sock_bind "sock_bind_v2", fd: Fd, addr: Pointer, port: Word),
    define_list!(@info errno sock_connect "sock_connect", fd: Fd, addr: Pointer, port: Word),
    define_list!(@info errno sock_connect "sock_connect_v2", fd: Fd, addr: Pointer, port: Word),
    define_list!(@info errno sock_listen "sock_listen", fd: Fd, backlog: Word),
    define_list!(@info errno sock_listen "sock_listen_v2", fd: Fd, backlog: Word),
    define_list!(@info errno sock_accept_v1 "sock_accept", fd: Fd, connection: Pointer),
    define_list!(@info errno sock_accept "sock_accept_v2", fd: Fd, flags: Flags, connection: Pointer),
    define_list!(@info errno sock_recv "sock_recv_v2",
        fd: Fd, ri_data: Pointer, ri_data_len: Size, ri_flags: Flags, ro_datalen: Pointer, ro_flags: Pointer),
    define_list!(@info errno sock_recv_from_v1 "sock_recv_from",
        fd: Fd, ri_data: Pointer, ri_data_len: Size, address: Pointer, ri_flags: Flags, ro_datalen: Pointer, ro_flags: Pointer),
    define_list!(@info errno sock_recv_from_v2 "sock_recv_from", fd: Fd, ri_data: Pointer, ri_data_len: Size, address: Pointer,
        ri_flags: Flags, port: Pointer, ro_datalen: Pointer, ro_flags: Pointer),
    define_list!(@info errno sock_recv_from_v2 "sock_recv_from_v2", fd: Fd, ri_data: Pointer, ri_data_len: Size, address: Pointer,
        ri_flags: Flags, port: Pointer, ro_datalen: Pointer, ro_flags: Pointer),
    define_list!(@info errno sock_send "sock_send_v2",
        fd: Fd, si_data: Pointer, si_data_len: Size, si_flags: Flags, so_datalen: Pointer),
    define_list!(@info errno sock_send_to "sock_send_to", fd: Fd, si_data: Pointer, si_data_len: Size, addr: Pointer, port: Word,
        si_flags: Flags, so_datalen: Pointer),
    define_list!(@info errno sock_send_to "sock_send_to_v2", fd: Fd, si_data: Pointer, si_data_len: Size, addr: Pointer, port: Word,
        si_flags: Flags, so_datalen: Pointer),
    define_list!(@info errno sock_getsockopt "sock_getsockopt",
        fd: Fd, level: Word, name: Word, flag: Pointer, flag_size: Pointer),
    define_list!(@info errno sock_setsockopt "sock_setsockopt", fd: Fd, level: Word, name: Word, flag: Pointer, flag_size: Size),
    define_list!(@info errno sock_getlocaladdr_v1 "sock_getlocaladdr",
        fd: Fd, address: Pointer, address_type: Pointer, port: Pointer),
    define_list!(@info errno sock_getlocaladdr_v2 "sock_getlocaladdr", fd: Fd, address: Pointer, port: Pointer),
    define_list!(@info errno sock_getlocaladdr_v2 "sock_getlocaladdr_v2", fd: Fd, address: Pointer, port: Pointer),
    define_list!(@info errno sock_getpeeraddr_v1 "sock_getpeeraddr",
        fd: Fd, address: Pointer, address_type: Pointer, port: Pointer),
    define_list!(@info errno sock_getpeeraddr_v2 "sock_getpeeraddr", fd: Fd, address: Pointer, port: Pointer),
    define_list!(@info errno sock_getpeeraddr_v2 "sock_getpeeraddr_v2", fd: Fd, address: Pointer, port: Pointer),
    define_list!(@info errno sock_getaddrinfo "sock_getaddrinfo", node: Pointer, node_len: Size, service: Pointer,
        service_len: Size, hints: Pointer, res: Pointer, max_res_len: Word, res_len: Pointer),
    define_list!(@info errno epoll_oneoff "epoll_oneoff",
        subscriptions: Pointer, events: Pointer, nsubscriptions: Size, nevents: Pointer),
];

#[cfg(test)]
mod tests;
