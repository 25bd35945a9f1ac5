//! An artifact's file that changes while it runs: replaced, removed, truncated, written to in place, or only touched; with native and with
//! interpreted functions, under `wasmc run` and under the programming interface. A program goes on with what it had, or ends with the
//! error "artifact changed while running"; it never ends in another way.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use wasmc_compiler::{CompileOptions, Interpret, compile_to_artifact};
use wasmc_environ::artifact::{HEADER_OFFSET, Header, SectionKind};
use wasmc_runtime::*;
use wasmc_tests::{command, wasmc};
use zerocopy::FromBytes;

const MESSAGE: &str = "artifact changed while running";
/// Set for the test that runs itself again: the way and the change.
const ROLE: &str = "WASMC_CHANGED_TEST";

/// Waits in `_start` or in `host.wait`, then calls a function that was not called before, and goes through its memory.
fn program(wait: &str) -> Vec<u8> {
    let data = "0123456789abcdef".repeat(16 << 10);
    wat::parse_str(format!(
        r#"(module
            {wait}
            (memory (export "memory") 8)
            (data (i32.const 65536) "{data}")
            (data $passive "{data}")
            (func $sum (result i32) (local $i i32) (local $sum i32)
                (local.set $i (i32.const 65536))
                (loop $next
                    (local.set $sum (i32.add (local.get $sum) (i32.load8_u (local.get $i))))
                    (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4096))) (i32.const 327680))))
                (local.get $sum))
            (func $copy (param i32) (result i32)
                (memory.copy (i32.const 400000) (i32.const 65536) (local.get 0)) (i32.load8_u (i32.const 400001)))
            (func $init (result i32)
                (memory.init $passive (i32.const 0) (i32.const 0) (i32.const 60000)) (i32.load8_u (i32.const 59999)))
            (func (export "_start")
                (call $wait)
                (if (i32.ne (call $sum) (i32.const 3072)) (then (unreachable))))
            (func (export "copy") (call $wait) (if (i32.ne (call $copy (i32.const 100000)) (i32.const 49)) (then (unreachable))))
            (func (export "init") (call $wait) (if (i32.ne (call $init) (i32.const 102)) (then (unreachable)))))"#
    ))
    .expect("the text is right")
}

const WASI_WAIT: &str = r#"
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (func $wait
        (i32.store (i32.const 0) (i32.const 32))
        (i32.store (i32.const 4) (i32.const 1))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))))"#;
const HOST_WAIT: &str = r#"(import "host" "wait" (func $wait))"#;

/// What happens to the file, and whether the program notices: native, interpreted.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Change {
    Replaced,
    Removed,
    Touched,
    Grown,
    TruncatedToNothing,
    TruncatedBehindCode,
    /// Instructions that no program may use, in the place of all code.
    CodeWritten,
    /// Other bytes in the place of the original module.
    ModuleWritten,
}

const CHANGES: [(Change, [bool; 2]); 8] = [
    (Change::Replaced, [false, false]),
    (Change::Removed, [false, false]),
    (Change::Touched, [false, false]),
    (Change::Grown, [false, false]),
    (Change::TruncatedToNothing, [true, true]),
    (Change::TruncatedBehindCode, [true, true]),
    (Change::CodeWritten, [true, false]),
    // Native code does not read it.
    (Change::ModuleWritten, [false, true]),
];

impl Change {
    fn make(self, path: &Path) {
        let bytes = fs::read(path).expect("the artifact");
        let header = Header::read_from_bytes(&bytes[HEADER_OFFSET..HEADER_OFFSET + size_of::<Header>()]).expect("a header");
        let section = |kind: SectionKind| &header.sections[kind as usize];
        let open = || OpenOptions::new().write(true).open(path).expect("it can be opened");
        let fill = |kind, byte: u8| {
            let section = section(kind);
            // Of the module, all but its own header, which says nothing of functions.
            let skip = if kind == SectionKind::Wasm { 8 } else { 0 };
            open().write_all_at(&vec![byte; (section.size - skip) as usize], section.offset + skip).expect("written");
        };
        match self {
            Self::Replaced => {
                let new = path.with_extension("new");
                fs::write(&new, b"something else").expect("written");
                fs::rename(&new, path).expect("replaced");
            }
            Self::Removed => fs::remove_file(path).expect("removed"),
            Self::Touched => {
                let time = File::open(path).and_then(|f| f.metadata()?.modified()).expect("a time");
                open().set_modified(time + Duration::from_secs(5)).expect("touched");
            }
            Self::Grown => fs::write(path, [&bytes[..], b"more"].concat()).expect("written"),
            Self::TruncatedToNothing => open().set_len(0).expect("truncated"),
            Self::TruncatedBehindCode => open().set_len(section(SectionKind::MemoryImage).offset).expect("truncated"),
            // `hlt`, which is privileged, and four zero bytes, which are no instruction.
            Self::CodeWritten => fill(SectionKind::Text, if cfg!(target_arch = "x86_64") { 0xf4 } else { 0 }),
            Self::ModuleWritten => fill(SectionKind::Wasm, 0x11),
        }
    }
}

fn compile(path: &Path, wait: &str, interpreted: bool) {
    let interpret = if interpreted { vec![Interpret::All] } else { vec![] };
    let options = CompileOptions { interpret, jobs: Some(1), ..CompileOptions::default() };
    let artifact = compile_to_artifact(&program(wait), &options).expect("compiled");
    assert!(artifact.meta.images[0].is_some(), "the test needs an image");
    artifact.write_artifact(path).expect("written");
}

#[test]
fn under_the_command_line() {
    for (change, notices) in CHANGES {
        for (interpreted, notices) in [false, true].into_iter().zip(notices) {
            let dir = tempfile::tempdir().expect("a folder");
            let path = dir.path().join("p.so");
            compile(&path, WASI_WAIT, interpreted);
            let mut c = command(wasmc());
            c.arg("run").arg(&path).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = c.spawn().expect("wasmc starts");
            child.stdout.as_mut().expect("piped").read_exact(&mut [0]).expect("the program runs");
            change.make(&path);
            child.stdin.take().expect("piped").write_all(b"!").expect("it waits");
            let out = child.wait_with_output().expect("it ends");
            let errors = String::from_utf8_lossy(&out.stderr);
            assert_eq!(out.status.code(), Some(if notices { 134 } else { 0 }), "{change:?}, interpreted {interpreted}: {errors}");
            assert_eq!(errors.contains(MESSAGE), notices, "{change:?}, interpreted {interpreted}: {errors}");
        }
    }
}

/// In a process of its own: it may end by the signal that the host gets for what no error can be made of.
fn child(role: &str) {
    let words: Vec<&str> = role.split(' ').collect();
    let [path, export, change] = words[..] else { panic!("{role}") };
    let (change, _) = *CHANGES.iter().find(|(c, _)| format!("{c:?}") == change).expect("a change");
    let engine = Engine::new(Config::new()).expect("an engine");
    // SAFETY: the artifact was made by the test, which is about what becomes of it.
    let module = unsafe { Module::from_artifact(&engine, path) }.expect("loaded");
    let mut linker: Linker<()> = Linker::new(&engine);
    let own = path.to_owned();
    linker.func_wrap("host", "wait", move || change.make(Path::new(&own))).expect("defined");
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).expect("an instance");
    let run = instance.get_typed_func::<(), ()>(&mut store, export).expect("a function");
    let outcome = run.call(&mut store, ());
    if let Err(e) = outcome {
        let text = format!("{e:?}");
        assert_eq!(e.downcast_ref::<Trap>().map(Trap::code), Some(TrapCode::ArtifactChanged), "{text}");
        assert!(text.contains(MESSAGE), "{text}");
        drop((e, store, linker, module));
        std::process::exit(40);
    }
    drop((store, linker, module));
    std::process::exit(41);
}

/// How a child ended: with a result, with an error that its host got, or by a signal after the message.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Result,
    Error,
    Signal(i32),
}

fn in_child(interpreted: bool, export: &str, change: Change) -> Ended {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("p.so");
    compile(&path, HOST_WAIT, interpreted);
    let out = Command::new(std::env::current_exe().expect("a test knows its own path"))
        .args(["--exact", "under_the_programming_interface", "--nocapture"])
        .env(ROLE, format!("{} {export} {change:?}", path.display()))
        .output()
        .expect("it starts");
    let errors = String::from_utf8_lossy(&out.stderr);
    let what = format!("{change:?}, {export}, interpreted {interpreted}: {:?} {errors}", out.status);
    match (out.status.code(), out.status.signal()) {
        (Some(40), _) => Ended::Error,
        (Some(41), _) => Ended::Result,
        (_, Some(signal)) => {
            assert!(errors.contains(MESSAGE), "{what}");
            Ended::Signal(signal)
        }
        _ => panic!("{what}"),
    }
}

#[test]
fn under_the_programming_interface() {
    if let Ok(role) = std::env::var(ROLE) {
        child(&role);
    }
    for (change, notices) in CHANGES {
        for (interpreted, notices) in [false, true].into_iter().zip(notices) {
            let ended = in_child(interpreted, "_start", change);
            let expected = match (change, interpreted) {
                _ if !notices => Ended::Result,
                // Nothing is known of what such code has done before it faults, so the process is not told to go on.
                (Change::CodeWritten, false) => Ended::Signal(if cfg!(target_arch = "x86_64") { libc::SIGSEGV } else { libc::SIGILL }),
                _ => Ended::Error,
            };
            assert_eq!(ended, expected, "{change:?}, interpreted {interpreted}");
        }
    }
    // A copy that the runtime makes for compiled code is left like the code itself; in the middle of the runtime's own work, with the
    // bytes of a passive segment, there is nothing to go back to.
    assert_eq!(in_child(false, "copy", Change::TruncatedBehindCode), Ended::Error);
    assert_eq!(in_child(false, "init", Change::TruncatedBehindCode), Ended::Signal(libc::SIGBUS));
}
