//! Artifacts as files, from the compiler's writer to the runtime's loader: round trips, damage of every kind, foreign
//! artifacts, changes under a running program, and what tools make of them. The loader's own unit tests go further into
//! metadata that makes no sense.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use wasmc_compiler::{CompileOptions, Interpret, OptLevel, compile_to_artifact};
use wasmc_environ::artifact::{ArtifactMeta, HEADER_OFFSET, Header, SectionEntry, SectionKind};
use wasmc_runtime::{Config, Engine, Instance, Module, Store};
use wasmc_tests::{command, run, wasmc, workspace};
use zerocopy::{FromBytes, IntoBytes};

/// A module without imports that needs something of every section: names, traps, a closed table, a handler, an image.
fn demo() -> Vec<u8> {
    let data = "abcdefghij".repeat(3000);
    wat::parse_str(format!(
        r#"(module $demo
            (type $unary (func (param i32) (result i32)))
            (memory (export "memory") 2)
            (data (i32.const 0) "{data}")
            (table $closed 3 3 funcref)
            (elem (table $closed) (i32.const 0) func $double $fib $half)
            (table $open (export "table") 2 funcref)
            (elem (table $open) (i32.const 0) func $double)
            (tag $odd (param i32))
            (global $calls (mut i32) (i32.const 0))
            (func $double (type $unary) (i32.mul (local.get 0) (i32.const 2)))
            (func $fib (type $unary)
                (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
                    (then (local.get 0))
                    (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
                                   (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
            (func $half (type $unary)
                (if (i32.and (local.get 0) (i32.const 1)) (then (throw $odd (local.get 0))))
                (i32.div_u (local.get 0) (i32.const 2)))
            (func $run (export "run") (param $which i32) (param $n i32) (result i32)
                (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
                (block $caught (result i32)
                    (i32.add
                        (try_table (result i32) (catch $odd $caught)
                            (call_indirect $closed (type $unary) (local.get $n) (local.get $which)))
                        (i32.load8_u (i32.const 29999)))))
            (func (export "calls") (result i32) (global.get $calls)))"#
    ))
    .expect("the text is right")
}

/// What `run` gives: `which`, `n`, result. The last byte of the data is added unless the exception is caught.
const EXPECTED: [(i32, i32, i32); 4] = [(0, 21, 42 + 106), (1, 10, 55 + 106), (2, 8, 4 + 106), (2, 7, 7)];

fn engine() -> Engine {
    Engine::new(Config::new()).expect("an engine")
}

fn compile(wasm: &[u8], options: &CompileOptions<'_>) -> Vec<u8> {
    compile_to_artifact(wasm, options).expect("the module compiles").bytes
}

fn load(engine: &Engine, path: &Path) -> wasmc_runtime::Result<Module> {
    // SAFETY: what is executable in these files is what the compiler wrote: their digests say so, or the test does not
    // run them.
    unsafe { Module::from_artifact(engine, path) }
}

/// Runs the demo in an artifact and compares every result.
fn check(engine: &Engine, module: &Module) {
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, module, &[]).expect("it can be instantiated");
    let run = instance.get_typed_func::<(i32, i32), i32>(&mut store, "run").expect("the export");
    for (which, n, expected) in EXPECTED {
        assert_eq!(run.call(&mut store, (which, n)).expect("no trap"), expected, "run({which}, {n})");
    }
    let error = run.call(&mut store, (3, 0)).expect_err("beyond the table");
    assert!(format!("{error:#}").contains("undefined element"), "{error:#}");
    let calls = instance.get_typed_func::<(), i32>(&mut store, "calls").expect("the export");
    assert_eq!(calls.call(&mut store, ()).expect("no trap"), EXPECTED.len() as i32 + 1);
}

/// A temporary folder with the demo's artifact in it.
struct Demo {
    _dir: tempfile::TempDir,
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Demo {
    fn new(options: &CompileOptions<'_>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("demo.so");
        let bytes = compile(&demo(), options);
        fs::write(&path, &bytes).expect("the file can be written");
        Self { _dir: dir, path, bytes }
    }

    fn header(&self) -> Header {
        Header::read_from_bytes(&self.bytes[HEADER_OFFSET..HEADER_OFFSET + size_of::<Header>()]).expect("a header")
    }

    fn section(&self, kind: SectionKind) -> SectionEntry {
        self.header().sections[kind as usize]
    }

    /// The error of the artifact with these bytes instead.
    fn error(&self, bytes: &[u8]) -> String {
        fs::write(&self.path, bytes).expect("the file can be written");
        format!("{:#}", load(&engine(), &self.path).expect_err("it must be refused"))
    }

    /// The error of the artifact with a changed header whose digest is right.
    fn header_error(&self, change: impl FnOnce(&mut Header)) -> String {
        let mut header = self.header();
        change(&mut header);
        self.error(&with_header(&self.bytes, header))
    }
}

fn with_header(bytes: &[u8], mut header: Header) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    header.digest = *blake3::hash(&header.as_bytes()[..size_of::<Header>() - 32]).as_bytes();
    bytes[HEADER_OFFSET..HEADER_OFFSET + size_of::<Header>()].copy_from_slice(header.as_bytes());
    bytes
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

#[test]
fn round_trip() {
    let engine = engine();
    for opt_level in [OptLevel::None, OptLevel::Speed] {
        let demo = Demo::new(&CompileOptions { opt_level, ..Default::default() });
        let module = load(&engine, &demo.path).expect("the artifact is right");
        // The mapping outlives the name, and any number of instances share it.
        fs::remove_file(&demo.path).expect("it is there");
        check(&engine, &module);
        check(&engine, &module);
    }
}

#[test]
fn uncompiled_functions_in_an_artifact() {
    let engine = engine();
    for interpret in [Interpret::All, Interpret::Odd, Interpret::Name("fib".into()), Interpret::Index(2)] {
        let demo = Demo::new(&CompileOptions { interpret: vec![interpret], ..Default::default() });
        check(&engine, &load(&engine, &demo.path).expect("the artifact is right"));
        // The interpreter reads the module, so that its digest counts.
        let mut bytes = demo.bytes.clone();
        let wasm = demo.section(SectionKind::Wasm);
        bytes[(wasm.offset + wasm.size / 2) as usize] ^= 1;
        assert!(demo.error(&bytes).contains(".wasmc.wasm does not match its digest"));
    }
}

#[test]
fn stripped() {
    let engine = engine();
    let full = Demo::new(&CompileOptions::default());
    let demo = Demo::new(&CompileOptions { strip: true, ..Default::default() });
    assert_eq!(demo.section(SectionKind::Wasm).size, 0);
    assert!(demo.bytes.len() < full.bytes.len());
    check(&engine, &load(&engine, &demo.path).expect("the artifact is right"));
}

#[test]
fn same_input_same_bytes() {
    let example = fs::read(workspace().join("examples/wordfreq/wordfreq.wasm")).expect("the example");
    for wasm in [demo(), example] {
        let first = compile(&wasm, &CompileOptions { jobs: Some(1), ..Default::default() });
        for jobs in [Some(1), Some(2), Some(7), None] {
            assert!(compile(&wasm, &CompileOptions { jobs, ..Default::default() }) == first, "{jobs:?} jobs");
        }
    }
}

#[test]
fn truncated_at_every_length() {
    let demo = Demo::new(&CompileOptions::default());
    let engine = engine();
    let file = OpenOptions::new().write(true).open(&demo.path).expect("the file");
    let whole = demo.bytes.len();
    let header_end = HEADER_OFFSET + size_of::<Header>();
    // Every length around what the loader looks at first and around the end, and a sample of those between.
    for len in (0..whole).rev().filter(|l| *l <= header_end + 64 || whole - l < 512 || l % 37 == 0) {
        file.set_len(len as u64).expect("it can be cut");
        let error = format!("{:#}", load(&engine, &demo.path).expect_err("it must be refused"));
        assert!(error.contains("the file has") || error.contains("no artifact"), "{len}: {error}");
    }
}

/// The parts of the file that count when it is opened: the header, and the sections hashed then.
fn covered(demo: &Demo) -> Vec<std::ops::Range<usize>> {
    use SectionKind::*;
    let eager = [Meta, Functions, Traps, Handlers, StackMaps, StackMapSlots, RoData, Text];
    let sections = eager.map(|k| demo.section(k)).map(|s| s.offset as usize..(s.offset + s.size) as usize);
    let header = HEADER_OFFSET..HEADER_OFFSET + size_of::<Header>();
    sections.into_iter().chain([0..4, header]).filter(|r| !r.is_empty()).collect()
}

#[test]
fn ten_thousand_mutations() {
    let demo = Demo::new(&CompileOptions::default());
    let engine = engine();
    let covered = covered(&demo);
    let file = OpenOptions::new().write(true).open(&demo.path).expect("the file");
    let mut random = Random(0x5851_f42d_4c95_7f2d);
    let (mut refused, mut accepted) = (0, 0);
    for round in 0..10_000 {
        // A third anywhere, two thirds where it counts, so that large paddings do not take all of it.
        let mut counts = false;
        let mut changed = Vec::new();
        for _ in 0..=random.below(3) {
            let range = match random.below(3) {
                0 => 0..demo.bytes.len(),
                _ => covered[random.below(covered.len())].clone(),
            };
            let at = range.start + random.below(range.len());
            let len = (1 + random.below(16)).min(demo.bytes.len() - at);
            let bytes: Vec<u8> = match random.below(3) {
                0 => vec![demo.bytes[at] ^ 1 << random.below(8)],
                1 => (0..len).map(|_| random.next() as u8).collect(),
                _ => vec![[0, 0xff][random.below(2)]; len],
            };
            counts |= bytes.iter().enumerate().any(|(i, b)| *b != demo.bytes[at + i] && covered.iter().any(|r| r.contains(&(at + i))));
            file.write_all_at(&bytes, at as u64).expect("the file can be written");
            changed.push(at..at + bytes.len());
        }
        // Two changes can undo each other only by writing the original bytes back.
        let now = fs::read(&demo.path).expect("the file");
        counts &= covered.iter().any(|r| now[r.clone()] != demo.bytes[r.clone()]);
        match load(&engine, &demo.path) {
            Ok(module) => {
                assert!(!counts, "round {round}: a change in {changed:?} went unnoticed");
                // Nothing else is read before it is checked, except for the program's own data.
                let image = demo.section(SectionKind::MemoryImage);
                let image = image.offset as usize..(image.offset + image.size) as usize;
                if now[image.clone()] == demo.bytes[image] && round % 8 == 0 {
                    check(&engine, &module);
                }
                accepted += 1;
            }
            Err(e) => {
                assert!(counts, "round {round}: refused for a change in {changed:?}: {e:#}");
                refused += 1;
            }
        }
        for range in changed {
            file.write_all_at(&demo.bytes[range.clone()], range.start as u64).expect("the file can be written");
        }
    }
    assert!(refused > 6000 && accepted > 500, "{refused} refused, {accepted} accepted");
}

#[test]
fn mutated_metadata_with_a_right_digest_is_an_error_or_a_module() {
    let demo = Demo::new(&CompileOptions::default());
    let engine = engine();
    let entry = demo.section(SectionKind::Meta);
    let range = entry.offset as usize..(entry.offset + entry.size) as usize;
    let file = OpenOptions::new().write(true).open(&demo.path).expect("the file");
    let mut random = Random(0x9e37_79b9_97f4_a7c1);
    let (mut refused, mut accepted) = (0, 0);
    for _ in 0..5000 {
        let mut bytes = demo.bytes.clone();
        for _ in 0..=random.below(2) {
            let at = range.start + random.below(range.len());
            bytes[at] = match random.below(3) {
                0 => random.next() as u8,
                1 => bytes[at].wrapping_add(1),
                _ => bytes[at] ^ 1 << random.below(8),
            };
        }
        let mut header = demo.header();
        header.sections[SectionKind::Meta as usize].digest = *blake3::hash(&bytes[range.clone()]).as_bytes();
        // In place: rewriting a whole file again and again makes some file systems wait for the disk.
        let bytes = with_header(&bytes, header);
        for part in [range.clone(), HEADER_OFFSET..HEADER_OFFSET + size_of::<Header>()] {
            file.write_all_at(&bytes[part.clone()], part.start as u64).expect("the file can be written");
        }
        match load(&engine, &demo.path) {
            // The code does not fit the metadata any more, so it must not run; everything else must hold.
            Ok(module) if module.env().start.is_none() => {
                let _ = Instance::new(&mut Store::new(&engine, ()), &module, &[]);
                accepted += 1;
            }
            Ok(_) => {}
            Err(e) => {
                assert!(!format!("{e:#}").is_empty());
                refused += 1;
            }
        }
    }
    assert!(refused > 500 && accepted > 100, "{refused} refused, {accepted} accepted");
}

#[test]
fn foreign_artifacts_say_what_to_do() {
    let demo = Demo::new(&CompileOptions::default());
    let text = |s: &str| {
        let mut field = [0u8; 32];
        field[..s.len()].copy_from_slice(s.as_bytes());
        field
    };
    let e = demo.header_error(|h| h.format_version += 1);
    assert!(e.contains("format version") && e.contains("recompile"), "{e}");
    let e = demo.header_error(|h| h.wasmc_version = text("99.1.2"));
    assert!(e.contains("compiled by wasmc 99.1.2") && e.contains("recompile"), "{e}");
    let e = demo.header_error(|h| h.cpu_features |= 1 << 63);
    assert!(e.contains("this machine lacks") && e.contains("wasmc compile --cpu baseline"), "{e}");
    let e = demo.header_error(|h| h.tunables |= 4);
    assert!(e.contains("option meter"), "{e}");
    assert!(e.starts_with(&demo.path.display().to_string()), "the path comes first: {e}");

    // Compiled for the other architecture.
    let (triple, name) = match std::env::consts::ARCH {
        "x86_64" => ("aarch64-unknown-linux-gnu", "aarch64-linux"),
        _ => ("x86_64-unknown-linux-gnu", "x86_64-linux"),
    };
    let target = Some(triple.parse().expect("a target"));
    let e = demo.error(&compile(&self::demo(), &CompileOptions { target, ..Default::default() }));
    assert!(e.contains(&format!("compiled for {name}")) && e.contains("wasmc compile --target"), "{e}");
}

#[test]
fn other_files_are_named() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let error = |path: &Path| format!("{:#}", load(&engine(), path).expect_err("it must be refused"));
    let file = |bytes: &[u8]| {
        let path = dir.path().join("file.so");
        fs::write(&path, bytes).expect("the file can be written");
        error(&path)
    };
    assert!(error(&dir.path().join("missing.so")).contains("missing.so: cannot open: No such file"));
    assert!(error(dir.path()).contains("not a regular file"));
    assert!(file(&demo()).contains("wasmc compile"));
    assert!(file(b"").contains("an empty file"));
    let own = std::env::current_exe().expect("a test knows its own path");
    assert!(error(&own).contains("ELF file of another program"));
}

/// The output of a tool with an artifact as its last argument; `None` if the tool is not installed.
fn tool(name: &str, args: &[&str], artifact: &Path) -> Option<String> {
    match Command::new(name).args(args).arg(artifact).stdin(Stdio::null()).output() {
        Ok(o) => {
            let errors = String::from_utf8_lossy(&o.stderr).into_owned();
            assert!(o.status.success(), "{name} {args:?}: {errors}");
            assert!(name == "gdb" || errors.trim().is_empty(), "{name} {args:?} complains: {errors}");
            Some(String::from_utf8_lossy(&o.stdout).into_owned())
        }
        Err(e) => {
            eprintln!("skipped: {name}: {e}");
            None
        }
    }
}

#[test]
fn tools_read_artifacts() {
    for options in [CompileOptions::default(), CompileOptions { strip: true, ..Default::default() }] {
        let demo = Demo::new(&options);
        if let Some(out) = tool("readelf", &["-dW"], &demo.path) {
            for tag in ["(NEEDED)", "(RELA)", "(REL)", "(JMPREL)", "(TEXTREL)", "(INIT)", "(FINI)", "(INIT_ARRAY)", "(FINI_ARRAY)"] {
                assert!(!out.contains(tag), "{tag} in {out}");
            }
        }
        if let Some(out) = tool("readelf", &["-aW"], &demo.path) {
            assert!(out.contains("DYN (Shared object file)") && out.contains("There are no relocations in this file"), "{out}");
            assert!(!out.contains("<corrupt"), "{out}");
            // Nothing is writable, and nothing writable is executable.
            let writable = out.lines().filter(|l| l.trim_start().starts_with("LOAD") && l.contains('W')).count();
            assert_eq!(writable, 0, "{out}");
        }
        // Exports are dynamic symbols, so that tools find them in stripped files, too.
        let exports = ["run", "calls"];
        let functions = ["fib", "double", "half", "run", "calls"];
        let wanted: [(&str, &[&str], &[&str]); 4] = [
            ("nm", &["-D"], &exports),
            ("nm", &[], &functions),
            ("objdump", &["-d"], &functions),
            ("gdb", &["-batch", "-nx", "-ex", "info functions"], &functions),
        ];
        for (name, args, names) in wanted {
            let Some(out) = tool(name, args, &demo.path) else { continue };
            let missing: Vec<_> = names.iter().filter(|n| !out.contains(**n)).collect();
            assert!(missing.is_empty(), "{name} {args:?} does not show {missing:?} in {out}");
        }
    }
}

/// A program that reads a byte of its input before it goes on, and then goes through all of its memory and its code.
fn waiting() -> Vec<u8> {
    let data = "0123456789abcdef".repeat(16 << 10);
    wat::parse_str(format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 8)
            (data (i32.const 65536) "{data}")
            (func $sum (result i32) (local $i i32) (local $sum i32)
                (local.set $i (i32.const 65536))
                (loop $next
                    (local.set $sum (i32.add (local.get $sum) (i32.load8_u (local.get $i))))
                    (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4096))) (i32.const 327680))))
                (local.get $sum))
            (func (export "_start")
                (i32.store (i32.const 0) (i32.const 32))
                (i32.store (i32.const 4) (i32.const 1))
                ;; Says that it runs, then waits.
                (i32.store8 (i32.const 32) (i32.const 114))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
                (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
                (if (i32.ne (call $sum) (i32.const 3072)) (then (unreachable)))))"#
    ))
    .expect("the text is right")
}

/// Starts the waiting program, does something to its artifact, lets it go on, and returns its exit code and messages.
fn while_running(change: impl FnOnce(&Path, &Header)) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("waiting.so");
    let bytes = compile(&waiting(), &CompileOptions::default());
    fs::write(&path, &bytes).expect("the file can be written");
    let header = Header::read_from_bytes(&bytes[HEADER_OFFSET..HEADER_OFFSET + size_of::<Header>()]).expect("a header");
    assert_ne!(header.sections[SectionKind::MemoryImage as usize].size, 0, "the test needs an image");
    let mut child = command(wasmc())
        .arg("run")
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("wasmc starts");
    let mut ready = [0u8; 1];
    std::io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut ready).expect("the program runs");
    change(&path, &header);
    child.stdin.take().expect("piped").write_all(b"go").expect("the program waits");
    let out = child.wait_with_output().expect("it ends");
    (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
}

#[test]
fn a_replaced_artifact_does_not_disturb_a_running_program() {
    let (code, errors) = while_running(|path, _| {
        let new = path.with_extension("new");
        fs::write(&new, b"something else").expect("the file can be written");
        fs::rename(&new, path).expect("it can be replaced");
    });
    assert_eq!(code, Some(0), "{errors}");
    let (code, errors) = while_running(|path, _| fs::remove_file(path).expect("it can be removed"));
    assert_eq!(code, Some(0), "{errors}");
}

#[test]
fn a_truncated_artifact_ends_a_running_program_with_an_error() {
    use SectionKind::*;
    type KeptLength = fn(&Header) -> u64;
    let cases: [(&str, KeptLength); 3] = [
        ("the image is gone", |h| h.sections[MemoryImage as usize].offset),
        ("the text is gone", |h| h.sections[Text as usize].offset),
        ("everything is gone", |_| 0),
    ];
    for (what, length) in cases {
        let (code, errors) = while_running(|path, header| {
            OpenOptions::new().write(true).open(path).and_then(|f| f.set_len(length(header))).expect("it can be cut");
        });
        assert_eq!(code, Some(134), "{what}: {errors}");
        assert!(errors.contains("artifact changed while running"), "{what}: {errors}");
    }
}

#[test]
fn the_command_line_names_the_artifact() {
    let demo = Demo::new(&CompileOptions::default());
    let mut bytes = demo.bytes.clone();
    bytes[demo.section(SectionKind::Text).offset as usize] ^= 1;
    fs::write(&demo.path, bytes).expect("the file can be written");
    let out = run(command(wasmc()).arg("run").arg(&demo.path).args(["--invoke", "calls"]), Duration::from_secs(20));
    assert!(out.code.is_some_and(|c| c != 0 && c != 134), "{out:?}");
    assert!(out.stderr.contains("demo.so") && out.stderr.contains(".text does not match its digest"), "{}", out.stderr);
}

/// Where the address space is limited, static memories do not fit: the error names the option that does without.
#[test]
fn a_limited_address_space() {
    let demo = Demo::new(&CompileOptions::default());
    let limited = |path: &Path| {
        let mut c = command("sh");
        c.args(["-c", "ulimit -v 3000000; exec \"$0\" run --invoke run \"$1\" 1 10"]).arg(wasmc()).arg(path);
        run(&mut c, Duration::from_secs(20))
    };
    let out = limited(&demo.path);
    assert!(out.code.is_some_and(|c| c != 0 && c != 134), "{out:?}");
    assert!(out.stderr.contains("address space") && out.stderr.contains("--explicit-bounds"), "{}", out.stderr);
    let tunables = wasmc_environ::Tunables { static_memory: false, ..Default::default() };
    let explicit = Demo::new(&CompileOptions { tunables, ..Default::default() });
    let out = limited(&explicit.path);
    assert_eq!((out.code, String::from_utf8_lossy(&out.stdout).trim()), (Some(0), "161"), "{out:?}");
    let engine = engine();
    check(&engine, &load(&engine, &explicit.path).expect("the artifact is right"));
}

/// The metadata in the file is what the compiler reports.
#[test]
fn metadata_is_what_the_compiler_says() {
    let compiled = compile_to_artifact(&demo(), &CompileOptions::default()).expect("the module compiles");
    let header = Header::read_from_bytes(&compiled.bytes[HEADER_OFFSET..HEADER_OFFSET + size_of::<Header>()]).expect("a header");
    let entry = header.sections[SectionKind::Meta as usize];
    let bytes = &compiled.bytes[entry.offset as usize..(entry.offset + entry.size) as usize];
    assert_eq!(postcard::from_bytes::<ArtifactMeta>(bytes).expect("metadata"), compiled.meta);
    assert!(compiled.meta.images[0].is_some() && compiled.meta.module.closed_table(wasmc_environ::TableIndex::from_u32(0)).is_some());
}
