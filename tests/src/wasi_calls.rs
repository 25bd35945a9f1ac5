//! Random sequences of all the calls of WASI, with random arguments and memories, against a scratch tree. What must hold: no panic,
//! nothing written outside the memory, no descriptor left open, nothing outside the tree touched. A sequence follows from a seed and from
//! bytes that change it; `tests/examples/fuzz_wasi.rs` runs them by seeds alone, the fuzz target `wasi` by both.

use crate::differential::Rng;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use wasmc_wasi::preview1::{self, FunctionInfo, ParamKind, unstable, wasmedge};
use wasmc_wasi::types::ClockId;
use wasmc_wasi::{
    DirAccess, Errno, GuestMemory, Input, Output, OutputBuffer, PathResolution, WasiClocks, WasiCtx, WasiCtxBuilder, WasiLimits,
};

const MEMORY: usize = 8192;
const MARGIN: usize = 4096;
const CANARY: u8 = 0xa5;
/// Paths, at these places.
const WORDS: &[&str] = &[
    "a",
    "b",
    "a/b",
    "a/../b",
    "..",
    ".",
    "a/..",
    "/",
    "a/",
    "link",
    "link/secret",
    "up",
    "loop",
    "fifo",
    "a/b/c",
    "../secret",
    "x",
    "sub/new",
];
const WORD_BYTES: usize = 16;
/// Calls of a sequence.
pub const CALLS: usize = 200;

/// Time that nobody waits for.
struct NoWaiting;

impl WasiClocks for NoWaiting {
    fn now(&self, _: ClockId) -> Result<u64, Errno> {
        Ok(5)
    }
    fn resolution(&self, _: ClockId) -> Result<u64, Errno> {
        Ok(1)
    }
    fn sleep(&self, _: Duration) {}
}

/// All functions, with the name of their module.
pub fn functions() -> Vec<(&'static str, &'static FunctionInfo)> {
    let preview1 = preview1::FUNCTIONS.iter().map(|function| ("preview1", function));
    let older = unstable::functions().filter(|function| !preview1::FUNCTIONS.iter().any(|other| std::ptr::eq(*function, other)));
    preview1
        .chain(older.map(|function| ("unstable", function)))
        .chain(wasmedge::FUNCTIONS.iter().map(|function| ("wasmedge", function)))
        .collect()
}

fn context(folder: &Path, random: &mut Rng) -> WasiCtx {
    let mut builder = WasiCtxBuilder::new();
    let mut limits = WasiLimits::default();
    // A file that grows for ever would fill the disk.
    for (name, value) in [("bytes-written", 1 << 20), ("open-files", 64), ("random-bytes", 4096)] {
        assert!(limits.set(name, value));
    }
    builder.clocks(NoWaiting).limits(limits).stdin(Input::Bytes(vec![1; 100])).stdout(Output::Capture(OutputBuffer::new(1 << 16)));
    builder.path_resolution(if random.below(2) == 0 { PathResolution::Kernel } else { PathResolution::Walk });
    for access in [DirAccess::ReadWrite, DirAccess::ReadOnly] {
        builder.preopen_dir(folder, "/", access).expect("a folder");
    }
    // A connection to ourselves, and a socket that takes messages.
    let (one, other) = std::os::unix::net::UnixStream::pair().expect("sockets");
    builder.preopen_socket(one).preopen_socket(other);
    builder.preopen_socket(std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket"));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let client = listener.local_addr().and_then(std::net::TcpStream::connect).expect("a connection");
    builder.preopen_socket(listener).preopen_socket(client);
    // The kernel tells an address in use from one that is not; nothing listens there.
    builder.grant_net("127.0.0.1:0-9".parse().expect("a grant"));
    builder.build().expect("a context")
}

/// Fills the tree as it is at the start of each sequence.
fn plant(folder: &Path) {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder.join("a/b")).expect("folders");
    std::fs::create_dir_all(folder.join("sub")).expect("folders");
    std::fs::write(folder.join("x"), "contents").expect("a file");
    for (name, target) in [("link", "../outside"), ("up", ".."), ("loop", "loop"), ("b", "x"), ("gone", "none")] {
        std::os::unix::fs::symlink(target, folder.join(name)).expect("a link");
    }
    let fifo = std::ffi::CString::new(folder.join("fifo").as_os_str().as_encoded_bytes()).expect("no NUL");
    // SAFETY: the path ends with a NUL.
    assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o666) }, 0);
}

/// Where a list of four buffers stands, an address in the form of WasmEdge's, and the length of an option.
const IOVECS: u64 = 400;
const ADDRESS: u64 = 440;
const OPTION_SIZE: u64 = 452;
/// The name of a host and of a service; hints for looking them up, and a list of one result.
const NODE: u64 = 460;
const SERVICE: u64 = 470;
const HINTS: u64 = 480;
const RESULT: u64 = 512;
/// Results, buffers and noise begin here.
const FREE: u64 = 640;

/// Arguments of one call: mostly such as a program would pass, else anything.
fn arguments(function: &FunctionInfo, random: &mut Rng) -> Vec<u64> {
    let mut word = 0;
    let mut sane = |name: &str, kind: ParamKind, random: &mut Rng| match (name, kind) {
        ("path" | "old_path" | "new_path", _) if function.name != "fd_prestat_dir_name" => {
            word = random.below(WORDS.len() as u64) as usize;
            (word * WORD_BYTES) as u64
        }
        ("path_len" | "old_path_len" | "new_path_len", _) if function.name != "fd_prestat_dir_name" => WORDS[word].len() as u64,
        ("iovs" | "si_data" | "ri_data", _) => IOVECS,
        ("addr" | "address", _) => ADDRESS,
        ("flag_size", ParamKind::Pointer) => OPTION_SIZE,
        ("flag_size", _) => 16,
        ("level" | "si_flags" | "ri_flags" | "flags" | "fst_flags", _) => [0, 0, 1, 5][random.below(4) as usize],
        ("fs_rights_base" | "fs_rights_inheriting", _) => [(1 << 30) - 1, 6, 1 << 14][random.below(3) as usize],
        ("oflags", _) => [0, 0, 1, 2, 5, 8, 9][random.below(7) as usize],
        ("fdflags", _) => [0, 1, 4, 16][random.below(4) as usize],
        ("cookie", _) => 0,
        ("node", _) => NODE,
        ("node_len", _) => 9,
        ("service", _) => SERVICE,
        ("service_len", _) => 2,
        ("hints", _) => HINTS,
        ("res", _) => RESULT,
        ("max_res_len", _) => 1,
        ("port", ParamKind::Word) => random.below(12),
        (_, ParamKind::Fd) if function.name.starts_with("path") => 3 + random.below(2),
        (_, ParamKind::Fd) if function.name.starts_with("sock") => 5 + random.below(6),
        // What the program opens comes behind two folders and five sockets.
        (_, ParamKind::Fd) => [random.below(10), 10 + random.below(3), 10][random.below(3) as usize],
        (_, ParamKind::Pointer) => FREE + random.below(512) * 8,
        (_, ParamKind::Size) => 1 + random.below(5),
        (_, ParamKind::Long | ParamKind::SignedLong) => random.below(64),
        (_, ParamKind::Flags | ParamKind::Word) => random.below(4),
    };
    let parameters = function.params.iter();
    parameters
        .map(|(name, kind)| {
            let value = sane(name, *kind, random);
            match random.below(64) {
                0 => random.next(),
                1 => u64::from(u32::MAX),
                2 => MEMORY as u64 - random.below(9),
                3 => random.below(16),
                _ => value,
            }
        })
        .collect()
}

/// Puts paths, buffers, subscriptions and noise where arguments point.
fn fill(memory: &mut [u8], random: &mut Rng) {
    for (index, word) in WORDS.iter().enumerate() {
        memory[index * WORD_BYTES..][..word.len()].copy_from_slice(word.as_bytes());
    }
    let mut put = |at: u64, words: &[u32]| {
        for (index, word) in words.iter().enumerate() {
            memory[at as usize + index * 4..][..4].copy_from_slice(&word.to_le_bytes());
        }
    };
    for index in 0..4 {
        let (at, len) = (1024 + random.below(4096) as u32, random.below(64) as u32);
        put(IOVECS + index * 8, &[at, len]);
    }
    put(NODE, &[u32::from_le_bytes(*b"127."), u32::from_le_bytes(*b"0.0."), u32::from(b'1')]);
    put(SERVICE, &[u32::from_le_bytes(*b"80\0\0")]);
    put(HINTS, &[0; 7]);
    // A result at 516 leads to an address at 544, and that one to data at 556.
    put(RESULT, &[516, 0, 0, 0, 544, 0, 0, 0, 0, 0, 556]);
    put(ADDRESS, &[448, 4, u32::from_le_bytes([127, 0, 0, 1]), 16]);
    for _ in 0..64 {
        let at = FREE + random.below(512) * 8;
        let value = match random.below(4) {
            0 => random.below(8),
            1 => (1024 + random.below(4096)) | random.below(64) << 32,
            2 => 1 << 24 | random.below(3),
            _ => random.next(),
        };
        put(at, &[value as u32, (value >> 32) as u32]);
    }
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// A folder with the tree, and what must not be touched beside it.
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    /// A new one.
    ///
    /// # Panics
    /// If it cannot be made.
    #[expect(clippy::new_without_default, reason = "it makes folders")]
    pub fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(root.path().join("outside")).expect("a folder");
        std::fs::write(root.path().join("outside/secret"), "secret").expect("a file");
        Self(root)
    }

    /// Whether everything outside the tree is as it was.
    fn check(&self) {
        let root = self.0.path();
        assert_eq!(std::fs::read(root.join("outside/secret")).expect("the secret"), b"secret");
        for (folder, names) in [(root.to_owned(), 2), (root.join("outside"), 1)] {
            assert_eq!(std::fs::read_dir(folder).expect("a folder").count(), names, "something appeared outside");
        }
    }
}

/// How often functions were called: by module and name, and whether they succeeded.
pub type Reached = BTreeMap<(String, bool), u64>;

/// Makes one sequence of calls.
///
/// # Panics
/// If something does not hold that must.
pub fn sequence(seed: u64, changes: &[u8], calls: usize, scratch: &Scratch, functions: &[(&str, &FunctionInfo)], reached: &mut Reached) {
    let mut random = Rng::new(seed, 1).changed(changes);
    let folder = scratch.0.path().join("inside");
    plant(&folder);
    let before = open_descriptors();
    let mut ctx = context(&folder, &mut random);
    let mut bytes = vec![CANARY; MEMORY + 2 * MARGIN];
    bytes[MARGIN..MARGIN + MEMORY].fill(0);
    for _ in 0..calls {
        let (module, function) = functions[random.below(functions.len() as u64) as usize];
        let memory = &mut bytes[MARGIN..MARGIN + MEMORY];
        // Noise does not use up the bytes that choose what is called, and how.
        fill(memory, &mut Rng::new(random.next(), 2));
        let arguments = arguments(function, &mut random);
        let mut memory = GuestMemory::new(memory);
        if random.one_in(8) {
            memory = memory.with_64_bit_addresses();
        }
        let outcome = (function.call)(&mut ctx, &mut memory, &arguments);
        *reached.entry((format!("{module} {}", function.name), outcome == Ok(0) || outcome.is_err())).or_default() += 1;
    }
    assert!(bytes[..MARGIN].iter().chain(&bytes[MARGIN + MEMORY..]).all(|byte| *byte == CANARY), "written outside the memory");
    drop(ctx);
    assert_eq!(open_descriptors(), before, "descriptors are left open");
    scratch.check();
}

/// Sends the thread that makes it a signal every few milliseconds, so that a call that waits for what never comes ends with `INTR`.
pub struct Interruptions {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Interruptions {
    /// Begins.
    ///
    /// # Panics
    /// If the system refuses.
    #[expect(clippy::new_without_default, reason = "it starts a thread")]
    pub fn new() -> Self {
        extern "C" fn nothing(_: libc::c_int) {}
        // SAFETY: the handler does nothing, and the structure lives as long as the call that reads it.
        let thread_id = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
            // libFuzzer uses the signals of timers itself.
            assert_eq!(libc::sigaction(libc::SIGURG, &raw const action, std::ptr::null_mut()), 0);
            libc::pthread_self()
        };
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(5));
                // SAFETY: the thread waits for this one before it ends (`drop`), or ends the process.
                unsafe { libc::pthread_kill(thread_id, libc::SIGURG) };
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Interruptions {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
