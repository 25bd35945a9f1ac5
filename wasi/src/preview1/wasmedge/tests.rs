//! The extension as a program sees it: a server and a client on loopback, messages, options, and what is not granted.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::*;
use crate::WasiCtxBuilder;

const ADDRESS: u64 = 0;
const ADDRESS_BYTES: u64 = 128;
const IOVEC: u64 = 16;
const DATA: u64 = 512;
const OUT: u64 = 64;

struct Guest {
    ctx: WasiCtx,
    memory: Vec<u8>,
}

impl Guest {
    fn new(grants: &[&str]) -> Self {
        let mut builder = WasiCtxBuilder::new();
        for grant in grants {
            builder.grant_net(grant.parse().unwrap());
        }
        Self { ctx: builder.build().unwrap(), memory: vec![0; 4096] }
    }

    /// Calls the function with this name and so many parameters.
    fn call(&mut self, name: &str, arguments: &[u64]) -> Result<(), Errno> {
        let own = FUNCTIONS.iter().find(|function| function.name == name && function.params.len() == arguments.len());
        let function = own.or_else(|| super::super::FUNCTIONS.iter().find(|function| function.name == name)).unwrap();
        match (function.call)(&mut self.ctx, &mut GuestMemory::new(&mut self.memory), arguments).unwrap() {
            0 => Ok(()),
            number => Err(Errno::from_number(number as u16).unwrap()),
        }
    }

    fn mem(&mut self) -> GuestMemory<'_> {
        GuestMemory::new(&mut self.memory)
    }

    fn u32(&mut self, at: u64) -> u32 {
        self.mem().read_u32(at).unwrap()
    }

    fn put_address(&mut self, bytes: &[u8]) {
        let mut mem = self.mem();
        mem.write_u32(ADDRESS, ADDRESS_BYTES as u32).unwrap();
        mem.write_u32(ADDRESS + 4, bytes.len() as u32).unwrap();
        mem.write(ADDRESS_BYTES, bytes).unwrap();
    }

    fn put_data(&mut self, bytes: &[u8]) {
        let mut mem = self.mem();
        mem.write_u32(IOVEC, DATA as u32).unwrap();
        mem.write_u32(IOVEC + 4, bytes.len() as u32).unwrap();
        mem.write(DATA, bytes).unwrap();
    }

    fn open(&mut self, family: u8, kind: u8) -> u64 {
        self.call("sock_open", &[family.into(), kind.into(), OUT]).unwrap();
        self.u32(OUT).into()
    }
}

#[test]
fn a_server_serves() {
    let mut guest = Guest::new(&["127.0.0.1:*"]);
    let listener = guest.open(FAMILY_INET4, TYPE_STREAM);
    guest.put_address(&[127, 0, 0, 1]);
    guest.put_data(&1_i32.to_le_bytes());
    assert_eq!(guest.call("sock_setsockopt", &[listener, 0, 0, DATA, 4]), Ok(()));
    assert_eq!(guest.call("sock_bind", &[listener, ADDRESS, 0]), Ok(()));
    assert_eq!(guest.call("sock_listen", &[listener, 16]), Ok(()));
    assert_eq!(guest.call("sock_getlocaladdr", &[listener, ADDRESS, OUT, OUT + 4]), Ok(()));
    assert_eq!((guest.u32(OUT), guest.memory[128..132].to_vec()), (4, vec![127, 0, 0, 1]));
    let port = guest.u32(OUT + 4) as u16;
    let mut peer = TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert_eq!(guest.call("sock_accept", &[listener, OUT]), Ok(()));
    let connection = guest.u32(OUT).into();
    peer.write_all(b"ping").unwrap();
    guest.put_data(&[0; 9]);
    assert_eq!(guest.call("sock_recv", &[connection, IOVEC, 1, 0, OUT, OUT + 4]), Ok(()));
    assert_eq!((guest.u32(OUT), &guest.memory[512..516]), (4, &b"ping"[..]));
    guest.put_data(b"pong");
    assert_eq!(guest.call("sock_send", &[connection, IOVEC, 1, 0, OUT]), Ok(()));
    // The address of the other side, in the longer form of the second version.
    guest.put_address(&[0xff; 128]);
    assert_eq!(guest.call("sock_getpeeraddr", &[connection, ADDRESS, OUT]), Ok(()));
    assert_eq!(guest.memory[128..135], [1, 0, 127, 0, 0, 1, 0xff]);
    assert_eq!(guest.u32(OUT), peer.local_addr().unwrap().port().into());
    assert_eq!(guest.call("sock_shutdown", &[connection, 3]), Ok(()));
    let mut got = String::new();
    peer.read_to_string(&mut got).unwrap();
    assert_eq!(got, "pong");
}

#[test]
fn a_client_connects_where_it_may() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = u64::from(server.local_addr().unwrap().port());
    let mut guest = Guest::new(&[&format!("127.0.0.1:{port}")]);
    let socket = guest.open(FAMILY_INET4, TYPE_STREAM);
    guest.put_address(&[127, 0, 0, 1]);
    assert_eq!(guest.call("sock_connect", &[socket, ADDRESS, port ^ 1]), Err(Errno::ACCES));
    assert_eq!(guest.call("sock_bind", &[socket, ADDRESS, 0]), Err(Errno::ACCES));
    // Without an address it would listen on all of the host's.
    assert_eq!(guest.call("sock_listen", &[socket, 1]), Err(Errno::ACCES));
    guest.put_address(&[127, 0, 0, 2]);
    assert_eq!(guest.call("sock_connect", &[socket, ADDRESS, port]), Err(Errno::ACCES));
    guest.put_address(&[1, 2, 3]);
    assert_eq!(guest.call("sock_connect", &[socket, ADDRESS, port]), Err(Errno::INVAL));
    let mut storage = [0; 128];
    storage[..6].copy_from_slice(&[FAMILY_INET4, 0, 127, 0, 0, 1]);
    guest.put_address(&storage);
    assert_eq!(guest.call("sock_connect", &[socket, ADDRESS, port]), Ok(()));
    let (mut peer, _) = server.accept().unwrap();
    guest.put_data(b"hello");
    assert_eq!(guest.call("fd_write", &[socket, IOVEC, 1, OUT]), Ok(()));
    let mut got = [0; 5];
    peer.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"hello");
    // Nothing comes: the time limit of the socket ends the wait.
    guest.put_data(&[0; 16]);
    guest.memory[520] = 0x10;
    guest.memory[521] = 0x27;
    assert_eq!(guest.call("sock_setsockopt", &[socket, 0, 11, DATA, 16]), Ok(()));
    assert_eq!(guest.call("sock_recv", &[socket, IOVEC, 1, 0, OUT, OUT + 4]), Err(Errno::AGAIN));
}

#[test]
fn messages_have_addresses() {
    let mut guest = Guest::new(&["127.0.0.0/8:*"]);
    let (a, b) = (guest.open(FAMILY_INET4, TYPE_DATAGRAM), guest.open(FAMILY_INET4, TYPE_DATAGRAM));
    guest.put_address(&[127, 0, 0, 1]);
    assert_eq!(guest.call("sock_bind", &[a, ADDRESS, 0]), Ok(()));
    assert_eq!(guest.call("sock_bind", &[b, ADDRESS, 0]), Ok(()));
    guest.call("sock_getlocaladdr", &[a, ADDRESS, OUT]).unwrap();
    let port_a = guest.u32(OUT);
    guest.call("sock_getlocaladdr", &[b, ADDRESS, OUT]).unwrap();
    let port_b = guest.u32(OUT);
    guest.put_data(b"message");
    assert_eq!(guest.call("sock_send_to", &[a, IOVEC, 1, ADDRESS, port_b.into(), 0, OUT]), Ok(()));
    assert_eq!(guest.u32(OUT), 7);
    guest.put_data(&[0; 4]);
    guest.put_address(&[0; 128]);
    assert_eq!(guest.call("sock_recv_from", &[b, IOVEC, 1, ADDRESS, 0, OUT, OUT + 4, OUT + 8]), Ok(()));
    assert_eq!(guest.memory[128..134], [1, 0, 127, 0, 0, 1]);
    assert_eq!(guest.u32(OUT) & 0xffff, port_a);
    // Four of seven bytes, and the rest is lost.
    assert_eq!((guest.u32(OUT + 4), guest.memory[72], &guest.memory[512..516]), (4, 1, &b"mess"[..]));
    guest.put_address(&[8, 8, 8, 8]);
    assert_eq!(guest.call("sock_send_to", &[a, IOVEC, 1, ADDRESS, 53, 0, OUT]), Err(Errno::ACCES));
}

#[test]
fn options_are_translated() {
    let mut guest = Guest::new(&["[::1]:*"]);
    let socket = guest.open(FAMILY_INET6, TYPE_DATAGRAM);
    let mut get = |name| {
        guest.mem().write_u32(OUT, 16).unwrap();
        guest.call("sock_getsockopt", &[socket, 0, name, DATA, OUT]).map(|()| (guest.u32(OUT), guest.u32(DATA)))
    };
    assert_eq!(get(1), Ok((4, TYPE_DATAGRAM.into())));
    assert_eq!(get(2), Ok((4, 0)));
    assert_eq!(get(13), Ok((4, 0)));
    assert_eq!(get(11), Ok((16, 0)));
    assert_eq!(get(14), Err(Errno::ACCES));
    assert_eq!(get(15), Err(Errno::INVAL));
    guest.mem().write_u32(OUT, 3).unwrap();
    assert_eq!(guest.call("sock_getsockopt", &[socket, 0, 1, DATA, OUT]), Err(Errno::INVAL));
    assert_eq!(guest.call("sock_getsockopt", &[socket, 1, 1, DATA, OUT]), Err(Errno::NOPROTOOPT));
    assert_eq!(guest.call("sock_open", &[3, 2, OUT]), Err(Errno::NOSYS));
    assert_eq!(guest.call("sock_open", &[1, 3, OUT]), Err(Errno::INVAL));
}

#[test]
fn without_a_grant_there_is_no_network() {
    let mut guest = Guest::new(&[]);
    assert_eq!(guest.call("sock_open", &[1, 2, OUT]), Err(Errno::ACCES));
    assert_eq!(guest.call("sock_getaddrinfo", &[0, 0, 0, 0, 0, 0, 1, 0]), Err(Errno::ACCES));
}

#[test]
fn names_are_looked_up() {
    let mut guest = Guest::new(&["127.0.0.1:80"]);
    // Two results, each with an address and its data; hints for streams of version 4.
    let node = |index: u64| 1024 + index * 64;
    for index in 0..2 {
        let at = node(index);
        let mut mem = guest.mem();
        mem.write_u32(at + info::ADDRESS, at as u32 + 28).unwrap();
        mem.write_u32(at + 28 + info::SOCKADDR_DATA, 2048 + index as u32 * 32).unwrap();
        mem.write_u32(at + info::NEXT, node(index + 1) as u32).unwrap();
    }
    guest.mem().write_u32(OUT, 1024).unwrap();
    let look = |guest: &mut Guest, host: &[u8], service: &[u8], family: u8| {
        guest.mem().write(256, &[0, 0, family, 2, 0]).unwrap();
        guest.mem().write(300, host).unwrap();
        guest.mem().write(350, service).unwrap();
        let (host, service) = (host.len() as u64, service.len() as u64);
        guest.call("sock_getaddrinfo", &[300, host, 350, service, 256, OUT, 2, OUT + 4]).map(|()| guest.u32(OUT + 4))
    };
    assert_eq!(look(&mut guest, b"127.0.0.1\0", b"80\0", 1), Ok(1));
    assert_eq!(guest.memory[2048..2056], [0, 80, 127, 0, 0, 1, 0, 0]);
    assert_eq!(guest.memory[1026..1029], [1, 2, 1]);
    assert_eq!(guest.u32(node(0) + info::NEXT), 0);
    guest.mem().write_u32(node(0) + info::NEXT, node(1) as u32).unwrap();
    assert_eq!(look(&mut guest, b"localhost", b"https", 0), Ok(2));
    assert_eq!(guest.memory[2080..2082], [1, 187]);
    assert_eq!(guest.memory[2101], 1);
    assert_eq!(look(&mut guest, b"127.0.0.1", b"80", 2), Err(Errno::AINODATA));
    assert_eq!(look(&mut guest, b"example.com", b"80", 0), Err(Errno::ACCES));
    assert_eq!(look(&mut guest, b"localhost", b"nothing", 0), Err(Errno::AISERVICE));
    assert_eq!(look(&mut guest, b"", b"", 0), Err(Errno::AINONAME));
    assert_eq!(look(&mut guest, b"localhost", b"1", 3), Err(Errno::AIFAMILY));
}
