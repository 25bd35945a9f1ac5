//! A program for WasmEdge: its published socket library (`wasmedge_wasi_socket`) against itself on loopback. Prints what it saw,
//! without port numbers, which the host chooses.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};
use wasmedge_wasi_socket::poll::{self, EventType, Subscription};
use wasmedge_wasi_socket::socket::{AddressFamily, Socket, SocketType};
use wasmedge_wasi_socket::{nslookup, Shutdown, TcpListener, TcpStream, UdpSocket};

fn tcp() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0", false)?;
    let at = listener.local_addr()?;
    assert_ne!(at.port(), 0);
    println!("listening on {}", at.ip());
    let mut client = TcpStream::connect(at)?;
    let (mut server, peer) = listener.accept(false)?;
    assert_eq!((peer, server.local_addr()?), (client.local_addr()?, client.peer_addr()?));
    client.write_all(b"a request")?;
    let mut got = [0; 32];
    let n = server.read(&mut got)?;
    println!("the server reads {:?}", String::from_utf8_lossy(&got[..n]));
    server.write_all(b"its answer")?;
    server.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    println!("the client reads {answer:?} and then the end");
    client.set_nonblocking(true)?;
    let quiet = TcpStream::connect(at)?;
    let (mut idle, _) = listener.accept(true)?;
    println!("nothing to read: {:?}", idle.read(&mut got).map_err(|e| e.kind() == ErrorKind::WouldBlock));
    drop(quiet);
    match TcpStream::connect(SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 9))) {
        Ok(_) => println!("connected where nothing was granted"),
        Err(e) => println!("without a grant: error {:?}", e.raw_os_error()),
    }
    Ok(())
}

fn udp() -> std::io::Result<()> {
    let one = UdpSocket::bind("127.0.0.1:0")?;
    let two = Socket::new(AddressFamily::Inet4, SocketType::Datagram)?;
    two.bind(&"127.0.0.1:0".parse().unwrap())?;
    let n = one.send_to(b"a datagram", two.get_local()?)?;
    let mut got = [0; 32];
    let (m, from) = two.recv_from(&mut got)?;
    println!("sent {n} bytes, received {:?} from {}", String::from_utf8_lossy(&got[..m]), from.ip());
    two.send_to(b"back", from)?;
    let (m, _) = one.recv_from(&mut got)?;
    println!("and {:?}", String::from_utf8_lossy(&got[..m]));
    Ok(())
}

fn options() -> std::io::Result<()> {
    let socket = Socket::new(AddressFamily::Inet4, SocketType::Stream)?;
    println!("a stream: {}", matches!(socket.r#type()?, SocketType::Stream));
    println!("listening: {}", socket.is_listener()?);
    println!("broadcasts: {}, keeps alive: {}", socket.broadcast()?, socket.keepalive()?);
    println!("buffers: {} {}", socket.recv_buffer_size()? > 0, socket.send_buffer_size()? > 0);
    socket.set_recv_timeout(Some(Duration::from_millis(1500)))?;
    println!("receives for {:?} at most, sends for {:?}", socket.get_recv_timeout()?, socket.get_send_timeout()?);
    socket.take_error()?;
    Ok(())
}

fn waiting() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0", true)?;
    let soon = || Some(SystemTime::now() + Duration::from_millis(50));
    let kind = |event: &EventType| match event {
        EventType::Timeout => "time-out",
        EventType::Error(_) => "error",
        EventType::Read => "readable",
        EventType::Write => "writable",
    };
    let wait = |what: &[Subscription]| -> std::io::Result<Vec<String>> {
        Ok(poll::poll(what)?.iter().map(|e| format!("{} {}", e.userdata, kind(&e.event_type))).collect())
    };
    let start = Instant::now();
    println!("nobody comes: {:?}", wait(&[Subscription::io(1, &listener, true, false, soon())])?);
    assert!(start.elapsed() >= Duration::from_millis(40));
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    println!("somebody: {:?}", wait(&[Subscription::io(1, &listener, true, false, None)])?);
    let (server, _) = listener.accept(true)?;
    println!("room: {:?}", wait(&[Subscription::io(2, &server, false, true, None)])?);
    client.write_all(b"x")?;
    println!("data: {:?}", wait(&[Subscription::io(3, &server, true, false, None), Subscription::io(4, &listener, true, false, None)])?);
    Ok(())
}

fn main() -> std::io::Result<()> {
    tcp()?;
    udp()?;
    options()?;
    waiting()?;
    let found = nslookup("localhost", "http")?;
    println!("localhost is {}", found.iter().any(|a| a.ip() == Ipv4Addr::LOCALHOST || a.ip().is_loopback()));
    Ok(())
}
