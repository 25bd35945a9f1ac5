//! Faults of the host: system calls that fail one after the other, little address space, a full disk, no descriptors, folders that
//! cannot be written to, files that shrink, being killed, forks. Whatever fails, wasmc ends by itself with a documented code and says
//! what it was; what it writes is whole or not there, and what was there before stays.

#[cfg(target_arch = "x86_64")]
#[path = "host_faults/inject.rs"]
mod inject;

use std::path::Path;
use std::process::Command;
use std::time::Duration;
use wasmc_tests::child::{Ended, Limits};
use wasmc_tests::{command, wasmc};

const PROGRAM: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 2)
    (table 4 funcref)
    (elem (i32.const 0) func $start $two)
    (data (i32.const 0) "\10\00\00\00\06\00\00\00")
    (data (i32.const 16) "hello\n")
    (func $two (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
    (func $start (export "_start")
        (drop (memory.grow (i32.const 3)))
        (drop (call_indirect (param i32) (result i32) (i32.const 7) (i32.const 1)))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

/// A folder with the program, and its artifact.
fn prepared() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("p.wasm"), wat::parse_str(PROGRAM).expect("valid text")).expect("written");
    let compiled = limited(dir.path(), &["compile", "-q", "-j1", "p.wasm", "-o", "p.so"], Limits::default());
    assert_eq!(compiled.code, Some(0), "{}", compiled.stderr);
    dir
}

fn in_folder(dir: &Path, args: &[&str]) -> Command {
    let mut c = command(wasmc());
    c.args(args).current_dir(dir);
    c
}

fn limited(dir: &Path, args: &[&str], limits: Limits) -> Ended {
    limits.run(&mut in_folder(dir, args), Duration::from_secs(120)).expect("it ends")
}

/// What may be left in a folder: the program, artifacts, the cache's folder.
fn no_temporary_files(dir: &Path) {
    for entry in std::fs::read_dir(dir).expect("a folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("text");
        assert!(["p.wasm", "p.so", "out.so", "cache"].contains(&name.as_str()), "{name} is left behind");
    }
}

/// Codes that say that something outside of the program went wrong.
const FAILURES: [i32; 5] = [66, 69, 70, 73, 78];

#[cfg(target_arch = "x86_64")]
mod injection {
    use super::*;
    use inject::{Fault, run};

    const FAULTS: [Fault; 7] = [
        Fault { name: "mmap", calls: &[libc::SYS_mmap], errno: libc::ENOMEM },
        Fault { name: "mprotect", calls: &[libc::SYS_mprotect], errno: libc::ENOMEM },
        Fault { name: "open", calls: &[libc::SYS_openat, libc::SYS_open], errno: libc::EMFILE },
        Fault { name: "write", calls: &[libc::SYS_write, libc::SYS_writev, libc::SYS_pwrite64, libc::SYS_ftruncate], errno: libc::ENOSPC },
        Fault { name: "read", calls: &[libc::SYS_read, libc::SYS_pread64, libc::SYS_fstat, libc::SYS_statx], errno: libc::EIO },
        Fault { name: "rename", calls: &[libc::SYS_rename, libc::SYS_renameat, libc::SYS_renameat2], errno: libc::EIO },
        Fault { name: "thread", calls: &[libc::SYS_clone, libc::SYS_clone3], errno: libc::EAGAIN },
    ];

    /// Every system call of each kind fails once.
    fn each_fails(what: &str, prepare: impl Fn(&Path) -> Command, check: impl Fn(&Path, bool)) {
        for fault in FAULTS {
            let dir = prepared();
            let calls = run(&mut prepare(dir.path()), fault, None);
            assert_eq!(calls.code, Some(0), "{what}: without a fault: {}", calls.stderr);
            let mut failed = 0;
            // How often memory is asked for differs a little from run to run.
            for n in 0..calls.seen {
                let ended = run(&mut prepare(dir.path()), fault, Some(n));
                let said = format!("{what}, {} {n} of {}: {ended:?}", fault.name, calls.seen);
                let code = ended.code.unwrap_or_else(|| panic!("{said}"));
                assert!(code == 0 || FAILURES.contains(&code), "{said}");
                // What says it may be what could not be written.
                assert!(
                    code == 0 || ended.stderr.starts_with("error") || fault.name == "write" || ended.stderr.contains("\nerror: "),
                    "{said}"
                );
                // The standard library itself panics when a new thread gets no alternative stack.
                assert!(!ended.stderr.contains("panicked") || ended.stderr.contains("alternative stack"), "{said}");
                check(dir.path(), code == 0);
                failed += usize::from(code != 0);
            }
            println!("{what}: {} {}: {failed} ended with an error", calls.seen, fault.name);
        }
    }

    #[test]
    fn while_compiling() {
        let command = |dir: &Path| in_folder(dir, &["compile", "-j1", "p.wasm", "-o", "out.so"]);
        each_fails("compile", command, |dir, _| {
            no_temporary_files(dir);
            // Whole, from this run or an earlier one, or not there.
            if dir.join("out.so").exists() {
                assert_eq!(std::fs::read(dir.join("out.so")).expect("a file"), std::fs::read(dir.join("p.so")).expect("a file"));
            }
        });
    }

    #[test]
    fn while_running_an_artifact() {
        each_fails("run an artifact", |dir| in_folder(dir, &["run", "p.so"]), |dir, _| no_temporary_files(dir));
    }

    #[test]
    fn while_interpreting() {
        each_fails("interpret", |dir| in_folder(dir, &["run", "--tier", "interpreted", "p.wasm"]), |dir, _| no_temporary_files(dir));
    }

    /// The cache is used where it is meant to be: a test that does not reach it proves nothing of it.
    fn the_cache_has_an_entry(mut c: Command, dir: &Path) {
        assert!(c.output().expect("it runs").status.success());
        let entries = std::fs::read_dir(dir.join("cache/wasmc")).expect("the cache").count();
        // With the lock.
        assert_eq!(entries, 2);
        std::fs::remove_dir_all(dir.join("cache")).expect("removed");
    }

    /// Whatever the thread that compiles does not get, the program goes on interpreted.
    #[test]
    fn while_compiling_meanwhile() {
        let args = ["run", "--no-cache", "--compile-after", "0", "--compile-waits", "p.wasm"];
        each_fails("compile meanwhile", |dir| in_folder(dir, &args), |dir, _| no_temporary_files(dir));
    }

    #[test]
    fn while_running_through_the_cache() {
        let command = |dir: &Path| {
            let mut c = in_folder(dir, &["run", "--tier", "compiled", "p.wasm"]);
            c.env("XDG_CACHE_HOME", dir.join("cache")).env("WASMC_CACHE_SIZE", "10M").env("RAYON_NUM_THREADS", "1");
            c
        };
        let dir = prepared();
        the_cache_has_an_entry(command(dir.path()), dir.path());
        each_fails("run with a cache", command, |dir, _| {
            no_temporary_files(dir);
            // Another run finds it in order, whatever is in the cache.
            let _ = std::fs::remove_dir_all(dir.join("cache"));
        });
    }
}

#[test]
fn little_address_space_is_an_error() {
    let dir = prepared();
    let mut ended = std::collections::BTreeMap::new();
    for args in [
        &["compile", "-j1", "p.wasm", "-o", "out.so"] as &[&str],
        &["run", "p.so"],
        &["run", "--tier", "interpreted", "p.wasm"],
        &["run", "--tier", "compiled", "p.wasm"],
        &["run", "--compile-after", "0", "--compile-waits", "p.wasm"],
        &["validate", "p.wasm"],
        &["inspect", "p.so"],
    ] {
        // From where the dynamic loader has just enough, to where everything has but a reservation of 8 GiB.
        for mb in [24, 28, 32, 36, 40, 44, 48, 64, 96, 128, 256, 1024, 8192, 9000] {
            let limits = Limits { address_space: Some(mb << 20), ..Limits::default() };
            let e = limited(dir.path(), args, limits);
            // 127: the dynamic loader found no room for the C library. A signal without a word: the kernel found none for the executable.
            // In the third case it is the standard library before `main`. wasmc has not begun.
            let began = e.code != Some(127) && !(e.code.is_none() && e.stderr.is_empty() && e.cpu < 0.003);
            let early = e.stderr.contains("alternative stack");
            if began && !early {
                let code = e.code.unwrap_or_else(|| panic!("{args:?} with {mb} MiB: {e:?}"));
                assert!(code == 0 || FAILURES.contains(&code), "{args:?} with {mb} MiB: {e:?}");
                assert!(!e.stderr.contains("panicked"), "{args:?} with {mb} MiB: {e:?}");
                *ended.entry((args[0], code)).or_insert(0) += 1;
            }
            no_temporary_files(dir.path());
        }
    }
    println!("{ended:?}");
    assert!(ended.contains_key(&("run", 0)) && ended.contains_key(&("run", 70)), "{ended:?}");
}

#[test]
fn a_full_disk_leaves_the_old_file() {
    let dir = prepared();
    std::fs::write(dir.path().join("out.so"), b"the old one").expect("written");
    for size in [0, 1, 4096, 60_000] {
        let limits = Limits { file_size: Some(size), ..Limits::default() };
        let e = limited(dir.path(), &["compile", "p.wasm", "-o", "out.so"], limits);
        assert_eq!(e.code, Some(73), "{e:?}");
        assert_eq!(std::fs::read(dir.path().join("out.so")).expect("a file"), b"the old one");
        no_temporary_files(dir.path());
    }
    let full = limited(dir.path(), &["compile", "p.wasm", "-o", "/dev/full"], Limits::default());
    assert!(full.code == Some(73) && full.stderr.contains("/dev/full"), "{full:?}");
    // A program whose output has no room learns of it, and the cache that has none is not used.
    let limits = Limits { file_size: Some(4096), ..Limits::default() };
    let mut c = in_folder(dir.path(), &["run", "--tier", "compiled", "p.wasm"]);
    c.env("XDG_CACHE_HOME", dir.path().join("cache")).env("WASMC_CACHE_SIZE", "10M");
    let e = limits.run(&mut c, Duration::from_secs(60)).expect("it ends");
    assert_eq!((e.code, e.stdout.as_str()), (Some(0), "hello\n"), "{e:?}");
}

#[test]
fn without_descriptors() {
    let dir = prepared();
    for descriptors in [3, 4, 5, 6, 8, 12] {
        for args in [&["compile", "p.wasm", "-o", "out.so"] as &[&str], &["run", "p.so"], &["run", "--compile-after", "0", "p.wasm"]] {
            let e = limited(dir.path(), args, Limits { descriptors: Some(descriptors), ..Limits::default() });
            let began = e.code != Some(127);
            let code = e.code.unwrap_or_else(|| panic!("{e:?}"));
            assert!(!began || code == 0 || FAILURES.contains(&code), "{args:?} with {descriptors}: {e:?}");
            no_temporary_files(dir.path());
        }
    }
}

#[test]
fn killed_at_any_moment() {
    let dir = prepared();
    let whole = std::fs::read(dir.path().join("p.so")).expect("a file");
    std::fs::copy(dir.path().join("p.so"), dir.path().join("out.so")).expect("copied");
    for delay in 0..25u64 {
        let mut child = in_folder(dir.path(), &["compile", "-q", "p.wasm", "-o", "out.so"]).spawn().expect("started");
        std::thread::sleep(Duration::from_micros(delay * 700));
        let _ = child.kill();
        let _ = child.wait();
        assert_eq!(std::fs::read(dir.path().join("out.so")).expect("a file"), whole, "after {delay}");
    }
}

/// A larger program, killed at random times, with and without an old file: that file or the new one, whole; and nothing that piles up, neither
/// beside the output nor in the cache.
#[test]
fn killed_while_compiling_something_large() {
    let functions: String = (0..3000)
        .map(|i| format!("(func (export \"f{i}\") (param i32) (result i32) (i32.load offset={i} (i32.add (local.get 0) (i32.const {i}))))"))
        .collect();
    let dir = tempfile::tempdir().expect("a folder");
    let large = format!("(module (memory 1) (func (export \"_start\")) {functions})");
    std::fs::write(dir.path().join("p.wasm"), wat::parse_str(large).expect("valid text")).expect("written");
    let started = std::time::Instant::now();
    assert_eq!(limited(dir.path(), &["compile", "-q", "p.wasm", "-o", "out.so"], Limits::default()).code, Some(0));
    let (takes, whole) = (started.elapsed(), std::fs::read(dir.path().join("out.so")).expect("a file"));
    let rounds = if cfg!(feature = "slow") { 200 } else { 24 };
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let (mut killed, mut cached) = (0, 0);
    for round in 0..rounds {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // Also right at the end, when files are written.
        let share = if round % 2 == 0 { f64::from((random >> 40) as u32) / f64::from(1 << 24) } else { 0.9 + f64::from(round % 16) / 40.0 };
        let through_cache = round % 3 == 0;
        let mut c = in_folder(dir.path(), &["compile", "-q", "p.wasm", "-o", "out.so"]);
        if through_cache {
            c = in_folder(dir.path(), &["run", "--tier", "compiled", "p.wasm"]);
            c.env("XDG_CACHE_HOME", dir.path().join("cache")).env("WASMC_CACHE_SIZE", "100M");
        } else if round % 4 == 1 {
            let _ = std::fs::remove_file(dir.path().join("out.so"));
        }
        let mut child = c.spawn().expect("started");
        std::thread::sleep(takes.mul_f64(share));
        let _ = child.kill();
        killed += usize::from(!child.wait().expect("it ends").success());
        match std::fs::read(dir.path().join("out.so")) {
            Ok(found) => assert!(found == whole, "round {round}: neither the old file nor the new one"),
            Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::NotFound),
        }
        cached += usize::from(through_cache);
    }
    println!("{killed} of {rounds} were killed");
    assert!(killed > 0);
    // The moment in which a whole file has two names is hit rarely, and what it leaves is taken away here.
    let mut two_names = 0;
    for entry in std::fs::read_dir(dir.path()).expect("a folder").map(|e| e.expect("an entry")) {
        if entry.file_name().to_string_lossy().starts_with(".out.so.") {
            assert_eq!(std::fs::read(entry.path()).expect("a file"), whole);
            std::fs::remove_file(entry.path()).expect("removed");
            two_names += 1;
        }
    }
    assert!(two_names <= 1 + rounds / 20, "{two_names} of {rounds} rounds left a file behind");
    no_temporary_files(dir.path());
    // What the cache has is right or replaced, and what was left behind in it is known to it.
    for _ in 0..2 {
        let mut c = in_folder(dir.path(), &["run", "--tier", "compiled", "p.wasm"]);
        c.env("XDG_CACHE_HOME", dir.path().join("cache")).env("WASMC_CACHE_SIZE", "100M");
        let e = Limits::default().run(&mut c, Duration::from_secs(120)).expect("it ends");
        assert_eq!(e.code, Some(0), "{e:?}");
    }
    let in_cache = || std::fs::read_dir(dir.path().join("cache/wasmc")).expect("the cache").count();
    assert!(in_cache() <= cached + 2);
    let mut c = in_folder(dir.path(), &["cache", "clean"]);
    c.env("XDG_CACHE_HOME", dir.path().join("cache"));
    assert_eq!(Limits::default().run(&mut c, Duration::from_secs(60)).expect("it ends").code, Some(0));
    assert!(in_cache() <= 1, "all but the lock is gone");
}

/// Core dumps, profiles and statistics that find no room: it is said, and the program's own outcome stays.
#[test]
fn what_is_written_beside_a_run_finds_no_room() {
    let text = r#"(module
        (func $work (local $i i32) (loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 30000000)))))
        (func (export "_start") (call $work))
        (memory 8)
        (func (export "t") (memory.fill (i32.const 0) (i32.const 1) (i32.const 500000)) unreachable))"#;
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("p.wasm"), wat::parse_str(text).expect("valid text")).expect("written");
    let little = Limits { file_size: Some(600), ..Limits::default() };
    for (options, code, lost, limits) in [
        (&["--profile", "/dev/full"][..], 0, "the profile is lost", Limits::default()),
        (&["--profile", "p.json"], 0, "the profile is lost", little),
        (&["--coredump", "/dev/full", "--invoke", "t"], 134, "there is no core dump", Limits::default()),
        (&["--coredump", "p.core", "--invoke", "t"], 134, "there is no core dump", little),
    ] {
        for tier in ["compiled", "interpreted"] {
            let e = limited(dir.path(), &[&["run", "--no-cache", "--tier", tier], options, &["p.wasm"]].concat(), limits);
            assert_eq!(e.code, Some(code), "{options:?}: {e:?}");
            assert!(e.stderr.contains(lost), "{options:?}: {e:?}");
            no_temporary_files(dir.path());
        }
    }
    // Traces and statistics go to standard error, which is what has no room.
    for options in [&["--trace", "wasi"][..], &["--trace", "calls"], &["--stats"]] {
        let mut c = in_folder(dir.path(), &[&["run", "--no-cache"], options, &["p.wasm"]].concat());
        let full = std::fs::File::options().write(true).open("/dev/full").expect("a device");
        let status = c.stderr(full).status().expect("it runs");
        assert_eq!(status.code(), Some(0), "{options:?}");
    }
}

/// A file system with little room, which needs the right to mount one.
#[test]
fn a_small_file_system() {
    let dir = prepared();
    let small = dir.path().join("small");
    std::fs::create_dir(&small).expect("made");
    let script = r#"
        mount -t tmpfs -o size=1m none small || exit 99
        "$0" compile -q p.wasm -o small/p.so && "$0" run small/p.so || exit 1
        cp small/p.so old.so && cat /dev/zero > small/fills 2>/dev/null
        "$0" compile -q p.wasm -o small/p.so; [ $? = 73 ] || exit 2
        cmp small/p.so old.so || exit 3
        "$0" compile -q p.wasm -o small/q.so; [ $? = 73 ] || exit 4
        [ "$(ls -A small | wc -l)" = 2 ] || exit 5
        XDG_CACHE_HOME=$PWD/small/cache WASMC_CACHE_SIZE=10M "$0" run --tier compiled p.wasm || exit 6
        XDG_CACHE_HOME=$PWD/small/cache WASMC_CACHE_SIZE=10M "$0" run --tier compiled p.wasm || exit 7
        "$0" run --profile small/p.json p.wasm || exit 8
        rm small/fills && "$0" compile -q p.wasm -o small/p.so && "$0" run small/p.so || exit 9"#;
    for how in [&["-m"][..], &["-Urm"]] {
        let mut c = command("unshare");
        c.args(how).args(["sh", "-c", script]).arg(wasmc()).current_dir(dir.path());
        match Limits::default().run(&mut c, Duration::from_secs(120)) {
            Some(e) if e.code == Some(0) => {
                assert_eq!(e.stdout, "hello\n".repeat(5), "{e:?}");
                return;
            }
            Some(e) if e.code == Some(99) || e.stderr.contains("unshare") => {}
            other => panic!("{other:?}"),
        }
    }
    eprintln!("skipped: this user may not mount a file system");
}

#[test]
fn read_only_folders() {
    let dir = prepared();
    let e = limited(dir.path(), &["compile", "p.wasm", "-o", "/proc/out.so"], Limits::default());
    assert!(e.code == Some(73) && e.stderr.contains("/proc/out.so"), "{e:?}");
    let mut c = in_folder(dir.path(), &["run", "p.wasm"]);
    c.env("XDG_CACHE_HOME", "/proc").env("WASMC_CACHE_SIZE", "10M");
    let e = Limits::default().run(&mut c, Duration::from_secs(60)).expect("it ends");
    assert_eq!((e.code, e.stdout.as_str()), (Some(0), "hello\n"), "{e:?}");
}

/// An embedder in C: signal handlers before and after wasmc's, forks, threads.
#[test]
fn embedders_with_handlers_forks_and_threads() {
    if !Command::new("cc").arg("--version").output().is_ok_and(|o| o.status.success()) {
        eprintln!("skipped: there is no C compiler (cc)");
        return;
    }
    let root = wasmc_tests::workspace();
    let libraries = wasmc().parent().expect("a folder").to_owned();
    let dir = tempfile::tempdir().expect("a folder");
    let program = dir.path().join("embedder");
    let mut cc = command("cc");
    cc.args(["-std=c11", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-D_GNU_SOURCE"])
        .arg("-I")
        .arg(root.join("capi/include"))
        .arg("-I")
        .arg(root.join("capi/examples"))
        .arg(root.join("tests/tests/host_faults/embedder.c"))
        .arg("-o")
        .arg(&program)
        .arg("-L")
        .arg(&libraries)
        .arg("-lwasmc")
        .arg(format!("-Wl,-rpath,{}", libraries.display()));
    let built = Limits::default().run(&mut cc, Duration::from_secs(120)).expect("it ends");
    assert_eq!(built.code, Some(0), "{}", built.stderr);
    for tier in ["compiled", "interpreted", "auto"] {
        for what in ["handlers-before", "handlers-after", "fork", "fork-while-busy", "threads"] {
            let mut c = command(&program);
            // With backtraces of Rust's, each error takes a lock of the standard library's, which a fork may leave locked.
            c.arg(what).env("TIER", tier).env("RUST_LIB_BACKTRACE", "0");
            let e = Limits::default().run(&mut c, Duration::from_secs(100)).unwrap_or_else(|| panic!("{what}, {tier} does not end"));
            assert_eq!(e.code, Some(0), "{what}, {tier}: {e:?}");
        }
    }
}

/// The runtime itself reads what is gone: the bytes of a passive segment.
#[test]
fn an_artifact_truncated_under_the_runtime() {
    use std::io::{Read, Write};
    use std::process::Stdio;
    let text = format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 8)
            (data $later "{}")
            (func (export "_start")
                (i32.store (i32.const 0) (i32.const 32))
                (i32.store (i32.const 4) (i32.const 1))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
                (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
                (memory.init $later (i32.const 0) (i32.const 0) (i32.const 300000))))"#,
        "x".repeat(300_000)
    );
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("p.wasm"), wat::parse_str(text).expect("valid text")).expect("written");
    for cut in [true, false] {
        let compiled = limited(dir.path(), &["compile", "-q", "p.wasm", "-o", "p.so"], Limits::default());
        assert_eq!(compiled.code, Some(0), "{}", compiled.stderr);
        let mut c = in_folder(dir.path(), &["run", "p.so"]);
        let mut child = c.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
        child.stdout.as_mut().expect("piped").read_exact(&mut [0]).expect("it runs");
        if cut {
            std::fs::File::options().write(true).open(dir.path().join("p.so")).and_then(|f| f.set_len(0)).expect("cut");
        }
        child.stdin.take().expect("piped").write_all(b"!").expect("it waits");
        let out = child.wait_with_output().expect("it ends");
        let errors = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(if cut { 134 } else { 0 }), "{errors}");
        assert_eq!(errors.contains("artifact changed while running"), cut, "{errors}");
    }
}
