//! C programs (`programs/wasi/`, with the script that builds them) under wasmc: the same file operations natively and on every
//! tier, and servers that listen on sockets handed over by `--tcplisten` or by a service manager.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use wasmc_tests::{AUTO, Tier, command, run, wasmc, workspace};

fn program(name: &str) -> PathBuf {
    workspace().join("tests/programs/wasi").join(name)
}

/// `wasmc run` of a program on a tier, compiled to `folder` if need be, with these options.
fn runs(tier: Tier, name: &str, folder: &Path, options: &[&str]) -> Vec<std::ffi::OsString> {
    let wasm = program(&format!("{name}.wasm"));
    let mut line: Vec<std::ffi::OsString> = vec![wasmc().into(), "run".into()];
    line.extend(options.iter().map(Into::into));
    if tier == Tier::Interpreted {
        line.extend(["--tier".into(), "interpreted".into(), wasm.into()]);
        return line;
    }
    if tier == Tier::Auto {
        line.extend(AUTO.map(Into::into));
        line.push(wasm.into());
        return line;
    }
    let artifact = folder.join(format!("{name}-{tier:?}.so"));
    let mut compile = command(wasmc());
    compile.args(["compile", "-q", "-o"]).arg(&artifact).arg(wasm);
    if tier == Tier::Mixed {
        compile.args(["--interpret", "odd"]);
    }
    let outcome = run(&mut compile, Duration::from_secs(120));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    line.push(artifact.into());
    line
}

/// Each path with what is there.
fn tree(folder: &Path) -> BTreeMap<PathBuf, String> {
    fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
        for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
            let path = entry.path();
            let kind = entry.file_type().expect("a type");
            let what = if kind.is_symlink() {
                format!("link to {}", std::fs::read_link(&path).expect("a link").display())
            } else if kind.is_dir() {
                walk(root, &path, found);
                "folder".into()
            } else {
                format!("file {:?}", std::fs::read(&path).expect("a file"))
            };
            found.insert(path.strip_prefix(root).expect("inside").to_owned(), what);
        }
    }
    let mut found = BTreeMap::new();
    walk(folder, folder, &mut found);
    found
}

#[test]
fn sixty_file_operations_as_natively() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let native = scratch.path().join("fileops");
    let built = Command::new("cc").args(["-O1", "-o"]).arg(&native).arg(program("fileops.c")).status();
    if !built.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no C compiler");
        return;
    }
    let folder = |name: &str| {
        let folder = scratch.path().join(name);
        std::fs::create_dir(&folder).expect("a folder");
        folder
    };
    let expected = folder("native");
    let native = run(command(native).current_dir(&expected), Duration::from_secs(60));
    assert_eq!(native.code, Some(0), "{}", native.stderr);
    for tier in Tier::ALL {
        let here = folder(&format!("{tier:?}"));
        let line = runs(tier, "fileops", scratch.path(), &["--dir", "."]);
        let outcome = run(command(&line[0]).args(&line[1..]).current_dir(&here), Duration::from_secs(60));
        assert_eq!(String::from_utf8_lossy(&outcome.stdout), String::from_utf8_lossy(&native.stdout), "{tier:?}");
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert_eq!(tree(&here), tree(&expected), "{tier:?}");
    }
}

/// A program in the background; killed in the end if it does not end by itself.
struct Server(Child);

impl Server {
    fn ends_well(mut self) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().expect("the child can be waited for") {
                assert!(status.success(), "{status}");
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "the server does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn connect(port: u16) -> TcpStream {
    let start = Instant::now();
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => return stream,
            Err(e) => assert!(start.elapsed() < Duration::from_secs(30), "the server does not listen: {e}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_echo_server_on_a_socket_of_the_command_line() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    for tier in Tier::ALL {
        // A port that was free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let address = format!("127.0.0.1:{port}");
        let line = runs(tier, "echo", scratch.path(), &["--dir", ".", "--tcplisten", &address]);
        let server = Server(Command::new(&line[0]).args(&line[1..]).stdin(Stdio::null()).spawn().expect("a server"));
        let mut clients: Vec<TcpStream> = (0..50).map(|_| connect(port)).collect();
        for round in 0..3 {
            for (index, client) in clients.iter_mut().enumerate() {
                writeln!(client, "client {index} round {round}").expect("written");
            }
            for (index, client) in clients.iter_mut().enumerate() {
                let expected = format!("client {index} round {round}\n");
                let mut got = vec![0; expected.len()];
                client.read_exact(&mut got).expect("an echo");
                assert_eq!(String::from_utf8_lossy(&got), expected);
            }
        }
        // More than the server and the kernel hold at once.
        let big = vec![b'x'; 4 << 20];
        let mut writer = clients[0].try_clone().expect("a clone");
        let sender = std::thread::spawn({
            let big = big.clone();
            move || writer.write_all(&big)
        });
        let mut got = vec![0; big.len()];
        clients[0].read_exact(&mut got).expect("an echo");
        assert!(got == big);
        sender.join().expect("a thread").expect("written");
        drop(clients.split_off(25));
        clients[1].write_all(b"quit\n").expect("written");
        server.ends_well();
    }
}

fn get(port: u16, path: &str) -> (String, Vec<u8>) {
    let mut client = connect(port);
    write!(client, "GET {path} HTTP/1.0\r\n\r\n").expect("written");
    let mut all = Vec::new();
    client.read_to_end(&mut all).expect("an answer");
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(all.len().saturating_sub(4));
    (String::from_utf8_lossy(&all[..end]).into_owned(), all[end + 4..].to_vec())
}

#[test]
fn a_file_server_on_a_socket_that_was_passed() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let files = scratch.path().join("files");
    std::fs::create_dir(&files).expect("a folder");
    let large: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    std::fs::write(files.join("index.html"), "<p>hello").expect("a file");
    std::fs::write(files.join("large"), &large).expect("a file");
    std::fs::write(scratch.path().join("secret"), "secret").expect("a file");
    for tier in Tier::ALL {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        let line = runs(tier, "http", scratch.path(), &["--dir", "."]);
        // As systemd does it: the socket is descriptor 3 of the process whose number LISTEN_PID says.
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\""]).args(&line);
        let server = Server(shell.current_dir(&files).stdin(Stdio::from(OwnedFd::from(listener))).spawn().expect("a server"));
        let (head, body) = get(port, "/");
        assert!(head.starts_with("HTTP/1.0 200 OK\r\nContent-Length: 8\r\n"), "{head}");
        assert_eq!(body, b"<p>hello");
        assert!(get(port, "/large").1 == large);
        for path in ["/none", "/../secret", "/", "/large/"] {
            let (head, body) = get(port, path);
            let expected = if path == "/" { "200" } else { "404" };
            assert!(head.starts_with(&format!("HTTP/1.0 {expected}")), "{path}: {head}");
            assert_ne!(body, b"secret");
        }
        let _ = connect(port).write_all(b"GET /quit HTTP/1.0\r\n\r\n");
        server.ends_well();
    }
}

#[test]
fn a_program_whose_reader_is_gone_ends_as_natively() {
    // It prints for ever.
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let text = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\10\00\00\00\02\00\00\00")
        (data (i32.const 16) "y\n")
        (func (export "_start") (loop (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32))) (br 0))))"#;
    let file = scratch.path().join("yes.wat");
    std::fs::write(&file, text).expect("a file");
    let script = "( \"$0\" run \"$1\"; echo \"status $?\" >&2 ) | head -n 2";
    let outcome = run(command("sh").args(["-c", script]).arg(wasmc()).arg(&file), Duration::from_secs(60));
    assert_eq!(String::from_utf8_lossy(&outcome.stdout), "y\ny\n");
    assert_eq!(outcome.stderr, "status 141\n");
}

/// What the program prints when it may reach loopback and look names up.
const WASMEDGE: &str = "\
listening on 127.0.0.1
the server reads \"a request\"
the client reads \"its answer\" and then the end
nothing to read: Err(true)
without a grant: error Some(2)
sent 10 bytes, received \"a datagram\" from 127.0.0.1
and \"back\"
a stream: true
listening: false
broadcasts: false, keeps alive: false
buffers: true true
receives for Some(1.5s) at most, sends for None
nobody comes: [\"1 time-out\"]
somebody: [\"1 readable\"]
room: [\"2 writable\"]
data: [\"3 readable\"]
localhost is true
";

/// A Rust program that was built for WasmEdge with its published library for sockets and `epoll_oneoff`.
#[test]
fn a_program_built_for_wasmedge() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    for tier in Tier::ALL {
        let line = runs(tier, "wasmedge", scratch.path(), &["--net", "127.0.0.1:0-65535", "--net", "dns"]);
        let outcome = run(command(&line[0]).args(&line[1..]), Duration::from_secs(60));
        assert_eq!(String::from_utf8_lossy(&outcome.stdout), WASMEDGE, "{tier:?}");
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{tier:?}");
        let line = runs(tier, "wasmedge", scratch.path(), &[]);
        let outcome = run(command(&line[0]).args(&line[1..]), Duration::from_secs(60));
        assert_eq!(outcome.code, Some(1), "{tier:?}");
        assert!(outcome.stdout.is_empty() && outcome.stderr.contains("PermissionDenied"), "{tier:?}: {}", outcome.stderr);
    }
}
