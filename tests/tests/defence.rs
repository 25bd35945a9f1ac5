//! Defence in depth, seen from outside: what each page may be used for at any moment, the guards around memories and stacks, storage that
//! is zero whoever had it before, and the masks in the machine code. None of it is needed while everything else is right.

#[path = "common/mod.rs"]
mod common;

use common::{func, module, on_every_tier, trap};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use wasmc_compiler::{CompileOptions, Cpu, Jit, compile_to_artifact, emit_asm};
use wasmc_environ::Tunables;
use wasmc_environ::limits::{MEMORY_GUARD, STACK_GUARD, STATIC_MEMORY_RESERVATION};
use wasmc_runtime::*;
use wasmc_tests::maps::{Mapping, assert_none_is_writable_and_executable, is_guard, of};
use wasmc_tests::{command, wasmc};

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("valid text")
}

/// Something of everything that makes pages: functions, a closed table, a memory with an image, a tag.
fn program() -> Vec<u8> {
    wasm(
        r#"(module
            (import "host" "look" (func $look))
            (memory (export "memory") 2)
            (data (i32.const 0) "some bytes")
            (table 2 2 funcref) (elem (i32.const 0) func $leaf $leaf)
            (tag $e)
            (func $leaf (param i32) (result i32) (call $look) (local.get 0))
            (func (export "run") (param i32) (result i32)
                (block $caught (try_table (catch $e $caught) (throw $e)))
                (drop (memory.grow (i32.const 1)))
                (call_indirect (param i32) (result i32) (local.get 0) (i32.const 1)))
            (func (export "trap") (unreachable)))"#,
    )
}

fn look_linker(engine: &Engine) -> Linker<()> {
    let mut linker = Linker::new(engine);
    let look = || {
        assert_none_is_writable_and_executable("self", "in a host function");
    };
    linker.func_wrap("host", "look", look).expect("defined");
    linker
}

fn artifact(wasm: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("p.so");
    compile_to_artifact(wasm, &CompileOptions::default()).expect("compiled").write_artifact(&path).expect("written");
    (dir, path)
}

fn load(engine: &Engine, path: &std::path::Path) -> Module {
    // SAFETY: the artifact was made here.
    unsafe { Module::from_artifact(engine, path) }.expect("loaded")
}

/// A thread looks all the time, besides what is looked at in between.
#[test]
fn no_page_is_writable_and_executable() {
    let look = |when| assert_none_is_writable_and_executable("self", when);
    let before = look("at the start");
    let (end, looked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !end.load(Ordering::Relaxed) {
                assert_none_is_writable_and_executable("self", "at some moment");
                looked.fetch_add(1, Ordering::Relaxed);
            }
        });
        let wasm = program();
        let (_dir, path) = artifact(&wasm);
        let plain = Engine::new(Config::new()).expect("an engine");
        let jit = Engine::new(Config::new().compiler(Arc::new(Jit::default()))).expect("an engine");
        for _ in 0..20 {
            let compiled = Module::new(&jit, &wasm).expect("a module");
            assert!(look("after compiling in memory") > before);
            let loaded = load(&plain, &path);
            assert!(look("after loading an artifact") > before + 1);
            for (engine, module) in [(&jit, &compiled), (&plain, &loaded)] {
                let mut store = Store::new(engine, ());
                let instance = look_linker(engine).instantiate(&mut store, module).expect("an instance");
                look("after instantiation");
                assert_eq!(func::<_, i32, i32>(&mut store, instance, "run").call(&mut store, 5).expect("a result"), 5);
                assert!(func::<_, (), ()>(&mut store, instance, "trap").call(&mut store, ()).is_err());
                look("after a run");
            }
            drop((compiled, loaded));
            assert_eq!(look("after all were dropped"), before);
        }
        end.store(true, Ordering::Relaxed);
        watcher.join().expect("nothing was found");
    });
    println!("looked {looked:?} times");
}

/// The same of `wasmc run`, while the program waits for its input.
#[test]
fn no_page_of_a_running_command_is_writable_and_executable() {
    let source = wasm(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "\20\00\00\00\01\00\00\00")
            (func (export "_start")
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
                (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))))"#,
    );
    let (dir, so) = artifact(&source);
    let module = dir.path().join("p.wasm");
    std::fs::write(&module, source).expect("written");
    for (file, options) in [(&so, &[][..]), (&module, &[][..]), (&module, &["--tier", "interpreted"][..])] {
        let mut c = command(wasmc());
        c.arg("run").args(options).arg(file).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = c.spawn().expect("wasmc starts");
        child.stdout.as_mut().expect("piped").read_exact(&mut [0]).expect("the program runs");
        let executable = assert_none_is_writable_and_executable(&child.id().to_string(), "while a program waits");
        assert!(executable > 0);
        child.stdin.take().expect("piped").write_all(b"!").expect("it waits");
        assert!(child.wait().expect("it ends").success());
    }
}

/// Whether the kernel can read a byte of this process: it is asked to write it to a pipe, and finds the fault.
struct Probe(std::fs::File, std::fs::File);

impl Probe {
    fn new() -> Self {
        let mut ends = [0; 2];
        // SAFETY: room for two descriptors, which nobody else owns.
        unsafe {
            assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
            Self(std::fs::File::from_raw_fd(ends[0]), std::fs::File::from_raw_fd(ends[1]))
        }
    }

    fn readable(&self, address: usize) -> bool {
        // SAFETY: the kernel checks the address.
        let written = unsafe { libc::write(self.1.as_raw_fd(), std::ptr::with_exposed_provenance(address), 1) };
        if written == 1 {
            (&self.0).read_exact(&mut [0]).expect("what was written");
        } else {
            assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EFAULT));
        }
        written == 1
    }
}

/// How far below an address there is something that can be accessed, without a gap.
fn accessible_below(address: usize) -> usize {
    let mut start = address;
    while let Some(m) = of("self").into_iter().find(|m| m.range.contains(&(start - 1)) && !m.is_inaccessible()) {
        start = m.range.start;
    }
    address - start
}

#[test]
fn guards_around_memories() {
    /// What the runtime keeps of an instance may stand right before its first memory; a guard is before that.
    const OWN: usize = 1 << 20;
    let probe = Probe::new();
    let text = r#"(module
        (memory (export "first") 1 3) (memory (export "second") 2) (memory (export "small") i64 1 3)
        (func (export "grow") (drop (memory.grow 0 (i32.const 1))) (drop (memory.grow 2 (i64.const 1))))
        (func (export "behind") (param i32) (result i32) (i32.load8_u (local.get 0)))
        (func (export "behind_second") (param i32) (result i32) (i32.load8_u 1 (local.get 0)))
        (func (export "behind_small") (param i64) (result i32) (i32.load8_u 2 (local.get 0))))"#;
    on_every_tier(|engine| {
        // Neighbours on both sides.
        let mut stores: Vec<_> = (0..3).map(|_| Store::new(engine, ())).collect();
        let module = module(engine, text);
        let instances: Vec<_> = stores.iter_mut().map(|s| Instance::new(s, &module, &[]).expect("an instance")).collect();
        let (store, instance) = (&mut stores[1], instances[1]);
        for grown in [false, true] {
            for name in ["first", "second", "small"] {
                let memory = instance.get_memory(&mut *store, name).expect("a memory");
                let base = memory.data_ptr(&*store).expose_provenance();
                let end = base + memory.data_size(&*store);
                assert!(probe.readable(base) && probe.readable(end - 1), "{name}");
                let own = accessible_below(base);
                assert!(own == 0 || name == "first" && own <= OWN, "{name}: {own:#x} bytes before");
                let before = base - own - MEMORY_GUARD as usize..base - own;
                assert!(is_guard(&before) && !probe.readable(before.start) && !probe.readable(before.end - 1), "{name}");
                let behind = end..end + MEMORY_GUARD as usize;
                assert!(is_guard(&behind) && !probe.readable(behind.start) && !probe.readable(behind.end - 1), "{name}");
            }
            if !grown {
                func::<_, (), ()>(store, instance, "grow").call(&mut *store, ()).expect("it grows");
            }
        }
        for (name, size) in [("behind", 2), ("behind_second", 2)] {
            let f = func::<_, i32, i32>(store, instance, name);
            assert_eq!(f.call(&mut *store, (size << 16) - 1).expect("the last byte"), 0);
            for index in [size << 16, -1, i32::MIN] {
                let e = f.call(&mut *store, index).expect_err("beyond");
                assert_eq!(trap(&e), TrapCode::MemoryOutOfBounds, "{name} {index}");
            }
        }
        let f = func::<_, i64, i32>(store, instance, "behind_small");
        for index in [2 << 16, (2 << 16) + MEMORY_GUARD as i64, -1, i64::MIN, i64::MAX] {
            assert_eq!(trap(&f.call(&mut *store, index).expect_err("beyond")), TrapCode::MemoryOutOfBounds, "{index}");
        }
    });
}

/// Where code relies on it, all that it can form as an address is reserved.
#[test]
fn the_whole_reservation_is_a_guard() {
    let engine = Engine::new(Config::new().compiler(Arc::new(Jit::default()))).expect("an engine");
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module(&engine, r#"(module (memory (export "m") 1))"#), &[]).expect("an instance");
    let memory = instance.get_memory(&mut store, "m").expect("a memory");
    let end = memory.data_ptr(&store).expose_provenance() + memory.data_size(&store);
    let behind = end..end - memory.data_size(&store) + (STATIC_MEMORY_RESERVATION + MEMORY_GUARD) as usize;
    assert!(is_guard(&behind));
    // And nobody else can come to be there: it is mapped.
    let mapped: usize = of("self").iter().map(|m| m.range.end.min(behind.end).saturating_sub(m.range.start.max(behind.start))).sum();
    assert_eq!(mapped, behind.len());
}

#[test]
fn guards_around_stacks() {
    let probe = Probe::new();
    // Several, so that they have neighbours.
    let places: Arc<std::sync::Mutex<Vec<Mapping>>> = Arc::default();
    let kept = places.clone();
    on_every_tier(|engine| {
        let mut linker: Linker<()> = Linker::new(engine);
        let kept = kept.clone();
        linker
            .func_wrap("host", "look", move || {
                let local = 0u8;
                let here = (&raw const local).expose_provenance();
                let mapping = of("self").into_iter().find(|m| m.range.contains(&here)).expect("a stack is mapped");
                kept.lock().expect("no panic").push(mapping);
            })
            .expect("defined");
        let module = module(engine, r#"(module (import "host" "look" (func $look)) (func (export "run") (call $look)))"#);
        let mut stores: Vec<_> = (0..3).map(|_| Store::new(engine, ())).collect();
        for store in &mut stores {
            let instance = linker.instantiate(&mut *store, &module).expect("an instance");
            func::<_, (), ()>(store, instance, "run").call(&mut *store, ()).expect("a result");
        }
        for Mapping { range, permissions, .. } in places.lock().expect("no panic").drain(..) {
            assert_eq!(permissions, "rw-p");
            let below = range.start - STACK_GUARD as usize..range.start;
            assert!(is_guard(&below) && !probe.readable(below.start) && !probe.readable(below.end - 1));
            assert!(!probe.readable(range.end) && is_guard(&(range.end..range.end + 4096)), "{range:x?}");
        }
    });
}

/// All that a guest can write to, filled by one instance and looked at by those after it.
const STORAGE: &str = r#"(module
    (memory (export "memory") 2 20)
    (memory $wide i64 1 4)
    (table $functions (export "functions") 10 200 funcref)
    (table $others 10 200 externref)
    (table $closed 4 4 funcref)
    (data (i32.const 70000) "kept")
    (global $a (mut i32) (i32.const 0))
    (global $b (mut i64) (i64.const 5))
    (global $c (mut v128) (v128.const i64x2 0 0))
    (global $d (mut externref) (ref.null extern))
    (elem declare func $grow)
    (func $grow (export "grow")
        (drop (memory.grow (i32.const 3)))
        (drop (memory.grow $wide (i64.const 1)))
        (drop (table.grow $functions (ref.null func) (i32.const 50)))
        (drop (table.grow $others (ref.null extern) (i32.const 50))))
    (func (export "dirty") (param externref)
        (call $grow)
        (memory.fill (i32.const 0) (i32.const 0xa5) (i32.shl (memory.size) (i32.const 16)))
        (memory.fill $wide (i64.const 0) (i32.const 0xa5) (i64.shl (memory.size $wide) (i64.const 16)))
        (table.fill $functions (i32.const 0) (ref.func $grow) (table.size $functions))
        (table.fill $others (i32.const 0) (local.get 0) (table.size $others))
        (global.set $a (i32.const -1)) (global.set $b (i64.const -1))
        (global.set $c (v128.const i64x2 -1 -1)) (global.set $d (local.get 0))
        (drop (call $deep (i32.const 200) (i64.const -1) (f64.const -1))))
    ;; Leaves values behind on the stack that the next functions run on.
    (func $deep (param i32 i64 f64) (result i64)
        (local v128 v128 v128 v128)
        (local.set 3 (v128.const i64x2 -1 -1)) (local.set 4 (local.get 3)) (local.set 5 (local.get 3)) (local.set 6 (local.get 3))
        (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
        (i64.add (call $deep (i32.sub (local.get 0) (i32.const 1)) (local.get 1) (local.get 2))
                 (i64x2.extract_lane 0 (v128.or (v128.or (local.get 3) (local.get 4)) (v128.or (local.get 5) (local.get 6))))))
    ;; How much is not what it is at first: bytes, elements, globals, locals.
    (func (export "strange") (result i64)
        (local $i i32) (local $n i64) (local $x i64) (local $f f64) (local $v v128) (local $w v128)
        (local.set $n (i64.or (i64.or (local.get $x) (i64.reinterpret_f64 (local.get $f)))
                              (i64.or (i64x2.extract_lane 0 (local.get $v)) (i64x2.extract_lane 1 (local.get $w)))))
        (local.set $n (i64.add (local.get $n) (i64.extend_i32_u (i32.ne (i32.load (i32.const 70000)) (i32.const 0x7470656b)))))
        (i32.store (i32.const 70000) (i32.const 0))
        (loop $bytes
            (local.set $n (i64.add (local.get $n) (i64.extend_i32_u (i64.ne (i64.load (local.get $i)) (i64.const 0)))))
            (br_if $bytes (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (i32.shl (memory.size) (i32.const 16)))))
        (local.set $i (i32.const 0))
        (loop $wide
            (local.set $n (i64.add (local.get $n)
                (i64.extend_i32_u (i64.ne (i64.load $wide (i64.extend_i32_u (local.get $i))) (i64.const 0)))))
            (br_if $wide (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (i32.shl (i32.wrap_i64 (memory.size $wide)) (i32.const 16)))))
        (local.set $i (i32.const 0))
        (loop $elements
            (local.set $n (i64.add (local.get $n) (i64.extend_i32_u (i32.or
                (i32.eqz (ref.is_null (table.get $functions (local.get $i))))
                (i32.eqz (ref.is_null (table.get $others (local.get $i))))))))
            (br_if $elements (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (table.size $functions))))
        (i64.add (local.get $n) (i64.extend_i32_u (i32.or (i32.or
            (i32.ne (global.get $a) (i32.const 0)) (i64.ne (global.get $b) (i64.const 5)))
            (i32.or (v128.any_true (global.get $c)) (i32.eqz (ref.is_null (global.get $d)))))))))"#;

#[test]
fn storage_is_zero_whoever_had_it_before() {
    let wasm = wasm(STORAGE);
    let (_dir, path) = artifact(&wasm);
    let plain = Engine::new(Config::new().stack_size(1 << 20)).expect("an engine");
    let round = |engine: &Engine, module: &Module| {
        for round in 0..12 {
            // One, or several that live at the same time.
            let mut stores: Vec<_> = (0..1 + round % 3).map(|_| Store::new(engine, ())).collect();
            for store in &mut stores {
                for grown in [false, true] {
                    let instance = Instance::new(&mut *store, module, &[]).expect("an instance");
                    if grown {
                        func::<_, (), ()>(store, instance, "grow").call(&mut *store, ()).expect("it grows");
                    }
                    assert_eq!(func::<_, (), i64>(store, instance, "strange").call(&mut *store, ()).expect("a result"), 0, "{round}");
                    let something = ExternRef::new(&mut *store, "something").expect("a reference");
                    let dirty = func::<_, Option<ExternRef>, ()>(store, instance, "dirty");
                    dirty.call(&mut *store, Some(something)).expect("it fills everything");
                    let strange = func::<_, (), i64>(store, instance, "strange").call(&mut *store, ()).expect("a result");
                    assert!(strange > 0xa000, "the test finds what is there: {strange}");
                }
            }
        }
    };
    on_every_tier(|engine| round(engine, &module(engine, STORAGE)));
    round(&plain, &load(&plain, &path));
}

/// The instructions of one function on a target.
fn code(text: &str, target: &str, spectre_tables: bool, static_memory: bool) -> String {
    let options = CompileOptions {
        target: Some(target.parse().expect("a target")),
        cpu: Cpu::Baseline,
        jobs: Some(1),
        tunables: Tunables { spectre_tables, static_memory, ..Tunables::default() },
        ..CompileOptions::default()
    };
    emit_asm(&wasm(text), &options).expect("compiled")
}

/// How often one of some instructions stands in a text.
fn count(text: &str, mnemonics: &[&str]) -> usize {
    text.lines().filter(|l| l.split_ascii_whitespace().any(|w| mnemonics.iter().any(|m| w.starts_with(m)))).count()
}

#[test]
fn table_accesses_are_masked_unless_it_is_switched_off() {
    let open = r#"(table (export "t") 4 100 funcref)"#;
    let closed = "(table 4 4 funcref) (elem (i32.const 0) func 0 0 0 0)";
    let call = "(func (param i32) (call_indirect (param i32) (local.get 0) (local.get 0)))";
    let tables = [
        format!("(module {open} {call})"),
        format!("(module {closed} {call})"),
        format!("(module {open} (func (param i32) (result funcref) (table.get (local.get 0))))"),
        format!("(module {open} (func (param i32) (table.set (local.get 0) (ref.null func))))"),
    ];
    for (target, moves) in [("x86_64-unknown-linux-gnu", &["cmov"][..]), ("aarch64-unknown-linux-gnu", &["csel"][..])] {
        for text in &tables {
            let (on, off) = (code(text, target, true, true), code(text, target, false, true));
            assert!(count(&on, moves) > 0, "{target}: {text}\n{on}");
            assert_eq!(count(&off, moves), 0, "{target}: {text}\n{off}");
        }
        // Checks of memories are masks themselves, and so is the index of a `br_table`: with and without.
        let checked = "(module (memory 1) (func (param i32) (result i32) (i32.load (local.get 0))))";
        let jump = "(module (func (param i32) (result i32)
            (block (block (block (br_table 0 1 2 0 (local.get 0))) (return (i32.const 7))) (return (i32.const 8))) (i32.const 9)))";
        for on in [true, false] {
            let (memory, jump) = (code(checked, target, on, false), code(jump, target, on, true));
            assert!(count(&memory, moves) > 0, "{target}: {memory}");
            assert!(count(&jump, moves) > 0, "{target}: {jump}");
        }
    }
}

#[test]
fn the_switch_is_recorded() {
    let dir = tempfile::tempdir().expect("a folder");
    let text = r#"(module (table (export "t") 4 100 funcref) (func (export "f") (param i32) (result i32)
        (drop (table.get (local.get 0))) (local.get 0)))"#;
    std::fs::write(dir.path().join("p.wat"), text).expect("written");
    let go = |args: &[&str]| {
        let mut c = command(wasmc());
        let cache = dir.path().join("cache");
        c.args(args).current_dir(dir.path()).env("XDG_CACHE_HOME", cache).env("WASMC_CACHE_SIZE", "10M");
        let out = wasmc_tests::run(&mut c, std::time::Duration::from_secs(60));
        (out.code, String::from_utf8_lossy(&out.stdout).into_owned() + &out.stderr)
    };
    for (value, on) in [(None, true), (Some("on"), true), (Some("off"), false)] {
        let option: Vec<&str> = value.iter().flat_map(|v| ["--spectre-mitigations", v]).collect();
        assert_eq!(go(&[&["compile", "-q", "p.wat", "-o", "p.so"], &option[..]].concat()).0, Some(0));
        let (code, said) = go(&["inspect", "p.so"]);
        assert_eq!((code, said.contains("spectre-tables")), (Some(0), on), "{said}");
        assert_eq!(go(&["run", "--invoke", "f", "p.so", "3"]), (Some(0), "3\n".into()));
        for _ in 0..2 {
            assert_eq!(go(&[&["run"], &option[..], &["--invoke", "f", "p.wat", "3"]].concat()), (Some(0), "3\n".into()));
        }
    }
    let (_, said) = go(&["cache", "info"]);
    assert!(said.contains("entries: 2\n"), "the cache has one module for each: {said}");
    assert_eq!(go(&["compile", "--spectre-mitigations", "maybe", "p.wat"]).0, Some(64));
}

/// A property note would promise what the code does not keep (`docs/RATIONALE.md`).
#[test]
fn no_marks_that_the_code_does_not_keep() {
    const PT_GNU_PROPERTY: u32 = 0x6474_e553;
    const PROGRAM_HEADERS: usize = 64;
    const PROGRAM_HEADER: usize = 56;
    for target in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"] {
        let target = Some(target.parse().expect("a target"));
        let bytes = compile_to_artifact(&program(), &CompileOptions { target, ..CompileOptions::default() }).expect("compiled").bytes;
        let count = usize::from(u16::from_le_bytes([bytes[56], bytes[57]]));
        let kinds: Vec<u32> = (0..count)
            .map(|i| &bytes[PROGRAM_HEADERS + i * PROGRAM_HEADER..][..4])
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        assert!(count > 3 && kinds.contains(&1) && !kinds.contains(&PT_GNU_PROPERTY), "{kinds:x?}");
    }
}
