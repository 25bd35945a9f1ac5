//! Pages of 4, 16 and 64 KiB: programs and scripts do the same on every tier, one artifact serves all sizes, and every mapping that
//! wasmc asks for begins, and begins in its file, where such a page does. Only under emulation (`tests/run-aarch64`): QEMU says
//! what size it is told (`QEMU_PAGESIZE`). It refuses little that a kernel with such pages would, so its list of system calls is read, too.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use wasmc_tests::{AUTO, Outcome, Tier, command, is_emulated, run, wasmc, workspace};

/// Without the usual size: all other tests have that one.
const SIZES: [usize; 2] = [16 << 10, 64 << 10];

fn is_here() -> bool {
    if !is_emulated() {
        println!("skipped: only the emulator has pages of another size (tests/run-aarch64)");
    }
    is_emulated()
}

/// Runs wasmc with pages of a size; `arguments` adds to the command.
fn with_pages(size: usize, folder: &Path, arguments: impl FnOnce(&mut Command) -> &mut Command) -> Outcome {
    let log = tempfile::NamedTempFile::new().expect("a temporary file");
    let mut c = command(wasmc());
    c.env("QEMU_PAGESIZE", size.to_string()).env("QEMU_STRACE", "1").env("QEMU_LOG_FILENAME", log.path()).current_dir(folder);
    let o = run(arguments(&mut c), Duration::from_secs(240));
    let log = String::from_utf8_lossy(&std::fs::read(log.path()).expect("the list of system calls")).into_owned();
    let calls = calls(&log);
    assert!(calls.len() > 10, "{c:?}: the emulator lists no system calls: {}", o.stderr);
    for (name, arguments) in calls {
        assert!(is_aligned(name, &arguments, size), "{c:?}: pages of {size} bytes: {name}{arguments:x?}");
    }
    o
}

/// The calls in the emulator's list that take addresses of pages. Other threads' lines may begin between a call and its result, but not
/// among its arguments.
fn calls(log: &str) -> Vec<(&str, Vec<u64>)> {
    let mut found = Vec::new();
    for name in ["mmap", "mprotect", "munmap", "madvise", "mremap"] {
        for (at, _) in log.match_indices(&format!("{name}(")) {
            let Some((arguments, _)) = log[at + name.len() + 1..].split_once(')') else { continue };
            let number = |text: &str| match text.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16).unwrap_or(0),
                None => text.parse().unwrap_or(0),
            };
            found.push((name, arguments.split(',').map(number).collect()));
        }
    }
    found
}

/// Whether a kernel with pages of that size would accept the call, and do no more than it says.
fn is_aligned(name: &str, arguments: &[u64], size: usize) -> bool {
    let aligned = |index: usize| arguments.get(index).is_none_or(|n| n.is_multiple_of(size as u64));
    // Lengths are rounded up, which only matters to what is wasmc's own: the C library asks for stacks of any length.
    aligned(0) && (name != "mmap" || aligned(5)) && (name != "madvise" || aligned(1))
}

#[test]
fn what_lies_within_a_page_is_found() {
    let log = "1 mmap(NULL,20480,PROT_NONE,MAP_PRIVATE|MAP_ANONYMOUS,-1,0) = 0x5500\n1 mprotect(0x0000005500a14000,512,PROT_READ)2 madvise(0x20000,65536,4) = 0\n = 0\n\
               1 mmap(NULL,36195,PROT_READ,MAP_PRIVATE,3,0x18c000) = 0x5500844000\n2 munmap(0x30000,1) = 0\n";
    let found = calls(log);
    let bad = |size| found.iter().filter(|(name, arguments)| !is_aligned(name, arguments, size)).map(|(name, _)| *name).collect::<Vec<_>>();
    assert_eq!(found.len(), 5, "{found:x?}");
    assert!(bad(4 << 10).is_empty());
    assert_eq!(bad(64 << 10), ["mmap", "mprotect"]);
    assert_eq!(bad(128 << 10), ["mmap", "mprotect", "munmap", "madvise"]);
}

fn for_tier(c: &mut Command, tier: Tier) -> &mut Command {
    match tier {
        Tier::Interpreted => c.args(["--tier", "interpreted"]),
        Tier::Compiled => c.args(["--tier", "compiled"]),
        Tier::Mixed => c.args(["--tier", "compiled", "--interpret", "odd"]),
        Tier::Auto => c.args(AUTO),
    }
}

fn expect(o: &Outcome, code: i32, stdout: &str, what: &str) {
    assert_eq!((o.code, String::from_utf8_lossy(&o.stdout).as_ref()), (Some(code), stdout), "{what}: {}", o.stderr);
}

/// Threads with stores of their own, a shared memory, and code made at run time.
#[test]
fn programs_on_every_tier() {
    if !is_here() {
        return;
    }
    let folder = workspace().join("tests/programs/threads-c");
    let expected = std::fs::read_to_string(folder.join("expected.txt")).expect("the expected output");
    for size in SIZES {
        for tier in Tier::ALL {
            let o = with_pages(size, &folder, |c| for_tier(c.args(["run", "--threads"]), tier).arg("threads-c.wasm"));
            expect(&o, 0, &expected, &format!("{size} {tier:?}"));
        }
    }
}

/// The ends of memories, their growth, stacks that run out, and traps that leave machine code.
const ENDS: &str = r#"(module (memory (export "m") 1 9) (table 2 2 funcref)
  (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
  (func (export "grow") (result i32) (memory.grow (i32.const 1)))
  (func (export "fill") (param i32 i32) (memory.fill (local.get 0) (i32.const 7) (local.get 1)))
  (func $deep (export "deep") (param i32) (result i32) (i32.add (call $deep (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
  (func (export "null") (call_indirect (i32.const 0))) (data (i32.const 65530) "sixsix"))
(assert_return (invoke "load" (i32.const 65535)) (i32.const 120))
(assert_trap (invoke "load" (i32.const 65536)) "out of bounds memory access")
(assert_trap (invoke "load" (i32.const -1)) "out of bounds memory access")
(assert_return (invoke "grow") (i32.const 1))
(assert_return (invoke "load" (i32.const 65536)) (i32.const 0))
(assert_return (invoke "fill" (i32.const 131071) (i32.const 1)))
(assert_return (invoke "load" (i32.const 131071)) (i32.const 7))
(assert_trap (invoke "fill" (i32.const 131071) (i32.const 2)) "out of bounds memory access")
(assert_trap (invoke "load" (i32.const 131072)) "out of bounds memory access")
(assert_exhaustion (invoke "deep" (i32.const 0)) "call stack exhausted")
(assert_trap (invoke "null") "uninitialized element")
(assert_exhaustion (invoke "deep" (i32.const 0)) "call stack exhausted")
(assert_return (invoke "grow") (i32.const 2))
(assert_return (invoke "load" (i32.const 131072)) (i32.const 0))
(assert_return (invoke "load" (i32.const 131071)) (i32.const 7))
"#;

#[test]
fn scripts_on_every_tier() {
    if !is_here() {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(dir.path().join("ends.wast"), ENDS).expect("a temporary file");
    let scripts = ["custom-page-sizes/bounds.wast", "threads/growth.wast"];
    let mut scripts: Vec<PathBuf> = scripts.iter().map(|s| workspace().join("tests/wast").join(s)).collect();
    scripts.push("ends.wast".into());
    for size in SIZES {
        let o = with_pages(size, dir.path(), |c| c.args(["wast", "--tier", "all"]).args(&scripts));
        let lines: Vec<String> = String::from_utf8_lossy(&o.stdout).lines().map(str::to_owned).collect();
        // A line for each script and one for all of them, on each tier.
        assert_eq!((o.code, lines.len()), (Some(0), (scripts.len() + 1) * Tier::ALL.len()), "{size}: {lines:?} {}", o.stderr);
        assert!(lines.iter().all(|l| l.ends_with(" passed, 0 failed") && !l.ends_with(" 0 passed, 0 failed")), "{size}: {lines:?}");
    }
}

/// An artifact has the same bytes whatever pages its maker had, and is mapped with pages of any size.
#[test]
fn one_artifact_for_all_sizes() {
    if !is_here() {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let module = workspace().join("tests/programs/wasi/fileops.wasm");
    let mut printed: Option<Vec<u8>> = None;
    for options in [&[][..], &["--interpret", "odd"], &["--explicit-bounds", "-O", "0"]] {
        let mut artifact: Option<Vec<u8>> = None;
        for size in [4 << 10, SIZES[0], SIZES[1]] {
            let o = with_pages(size, dir.path(), |c| c.args(["compile", "-q", "-o", "program.so"]).args(options).arg(&module));
            expect(&o, 0, "", &format!("{size} {options:?}"));
            let made = std::fs::read(dir.path().join("program.so")).expect("the artifact");
            assert!(artifact.get_or_insert_with(|| made.clone()) == &made, "{size} {options:?}: another artifact");
        }
        for size in [4 << 10, SIZES[0], SIZES[1]] {
            let files = tempfile::tempdir().expect("a temporary folder");
            let o = with_pages(size, files.path(), |c| c.args(["run", "--dir", "."]).arg(dir.path().join("program.so")));
            assert_eq!(o.code, Some(0), "{size} {options:?}: {}", o.stderr);
            assert!(!o.stdout.is_empty());
            let same = printed.get_or_insert_with(|| o.stdout.clone()) == &o.stdout;
            assert!(same, "{size} {options:?}: {}", String::from_utf8_lossy(&o.stdout));
        }
    }
}
