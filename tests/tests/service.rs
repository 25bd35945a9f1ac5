//! A run as a service: many stores made, run and dropped, on every tier, whatever becomes of each: results, traps, exceptions,
//! time-outs, growth, errors and panics of host functions, stores dropped with everything in them, threads that come and go. Resident
//! memory, descriptors, mappings and threads are back where they were. With the feature `slow`, a million times in all.

use std::sync::Arc;
use std::time::Duration;
use wasmc_compiler::{CompileOptions, compile_to_artifact};
use wasmc_runtime::*;

/// Cycles of all tiers together.
const CYCLES: usize = if cfg!(feature = "slow") { 1_000_000 } else { 12_000 };
/// One in as many waits for a time-out, which takes a millisecond or two.
const TIME_OUT_EVERY: usize = 400;

const PROGRAM: &str = r#"(module
    (import "host" "double" (func $double (param i32) (result i32)))
    (import "host" "fail" (func $fail))
    (import "host" "panic" (func $panic))
    (import "host" "keep" (func $keep (param i32) (result externref)))
    (import "host" "again" (func $again (param i32) (result i32)))
    (memory (export "memory") 2 100)
    (table $t (export "table") 2 1000 funcref)
    (table $kept 1 1000 externref)
    (elem (table $t) (i32.const 0) func $leaf $throws)
    (data (i32.const 100) "some bytes")
    (global $g (mut i32) (i32.const 7))
    (tag $e (export "e") (param i32))
    (func $leaf (param i32) (result i32) (i32.add (call $double (local.get 0)) (global.get $g)))
    (func $throws (param i32) (result i32) (throw $e (local.get 0)))
    (func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))
    (func (export "result") (param i32) (result i32) (call_indirect $t (param i32) (result i32) (local.get 0) (i32.const 0)))
    (func (export "trap") (param i32) (result i32) (i32.div_u (local.get 0) (i32.const 0)))
    (func (export "out_of_bounds") (param i32) (result i32) (i32.load offset=0x7fffffff (local.get 0)))
    (func (export "exhaust") (param i32) (result i32) (call $deep (local.get 0)))
    (func (export "uncaught") (param i32) (result i32) (call_indirect $t (param i32) (result i32) (local.get 0) (i32.const 1)))
    (func (export "caught") (param i32) (result i32) (local $i i32)
        (loop $l
            (block $h (result i32) (try_table (catch $e $h) (drop (call $throws (local.get $i)))) (i32.const 0))
            (drop)
            (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 20))))
        (local.get $i))
    (func (export "grow") (param i32) (result i32)
        (drop (table.grow $t (ref.null func) (i32.const 100)))
        (drop (memory.grow (i32.const 10)))
        (i32.store (i32.const 700000) (local.get 0))
        (memory.grow (i32.const 1000)))
    (func (export "references") (param i32) (result i32) (local $i i32)
        (drop (table.grow $kept (ref.null extern) (i32.const 50)))
        (loop $l
            (table.set $kept (local.get $i) (call $keep (local.get $i)))
            (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 50))))
        (local.get $i))
    (func (export "host_error") (param i32) (result i32) (call $fail) (local.get 0))
    (func (export "host_panic") (param i32) (result i32) (call $panic) (local.get 0))
    (func (export "nested") (param i32) (result i32) (call $again (local.get 0)))
    (func (export "forever") (param i32) (result i32) (loop $l (br $l)) (local.get 0)))"#;

/// What a call does, and whether it ends with a result.
const CALLS: [(&str, Option<i32>); 11] = [
    ("result", Some(7 + 2 * 5)),
    ("trap", None),
    ("caught", Some(20)),
    ("grow", Some(-1)),
    ("uncaught", None),
    ("references", Some(50)),
    ("host_error", None),
    ("out_of_bounds", None),
    ("nested", Some(17)),
    ("exhaust", None),
    ("result", Some(17)),
];

fn linker(engine: &Engine) -> Linker<usize> {
    let mut linker: Linker<usize> = Linker::new(engine);
    linker.func_wrap("host", "double", |x: i32| x * 2).expect("defined");
    linker.func_wrap("host", "fail", || -> Result<()> { Err(anyhow::anyhow!("as it should")) }).expect("defined");
    linker.func_wrap("host", "panic", || -> Result<()> { std::panic::resume_unwind(Box::new("as it should")) }).expect("defined");
    let keep =
        |mut caller: Caller<'_, usize>, x: i32| -> Result<Option<ExternRef>> { Ok(Some(ExternRef::new(&mut caller, vec![x; 100])?)) };
    linker.func_wrap("host", "keep", keep).expect("defined");
    let again = |mut caller: Caller<'_, usize>, x: i32| -> Result<i32> {
        *caller.data_mut() += 1;
        let Some(Extern::Func(f)) = caller.get_export("result") else { anyhow::bail!("no function `result`") };
        f.typed::<i32, i32>(&caller)?.call(&mut caller, x)
    };
    linker.func_wrap("host", "again", again).expect("defined");
    linker
}

/// An engine, a module and a linker a tier.
fn tiers() -> Vec<(&'static str, Engine, Module, Linker<usize>)> {
    let wasm = wat::parse_str(PROGRAM).expect("valid text");
    let jit = |interpret| Config::new().compiler(Arc::new(wasmc_compiler::Jit::default())).interpret(interpret);
    let small = |config: Config| Engine::new(config.stack_size(1 << 20)).expect("an engine");
    let mut all = Vec::new();
    for (name, engine) in [
        ("interpreted", small(Config::new().tier(Tier::Interpreted))),
        ("in memory", small(jit(vec![]))),
        ("mixed", small(jit(vec![Interpret::Odd]))),
        // Compiled in the midst of the first cycles.
        ("auto", small(jit(vec![]).tier(Tier::Auto).compile_after(5, false))),
    ] {
        let module = Module::new(&engine, &wasm).expect("a module");
        let linker = linker(&engine);
        all.push((name, engine, module, linker));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("service.so");
    compile_to_artifact(&wasm, &CompileOptions::default()).expect("compiled").write_artifact(&path).expect("written");
    let engine = small(Config::new());
    // SAFETY: the artifact was made here.
    let module = unsafe { Module::from_artifact(&engine, &path) }.expect("loaded");
    let linker = linker(&engine);
    all.push(("artifact", engine, module, linker));
    all
}

/// One store: made, run and dropped.
fn cycle(n: usize, engine: &Engine, module: &Module, linker: &Linker<usize>) {
    let mut store = Store::new(engine, 0);
    let instance = linker.instantiate(&mut store, module).expect("an instance");
    if n % TIME_OUT_EVERY == TIME_OUT_EVERY - 1 {
        let handle = store.interrupt_handle().expect("a handle");
        let _timeout = handle.interrupt_after(Duration::from_millis(1));
        let forever = instance.get_typed_func::<i32, i32>(&mut store, "forever").expect("a function");
        let e = forever.call(&mut store, 0).expect_err("it never ends");
        assert_eq!(e.downcast_ref::<Trap>().map(Trap::code), Some(TrapCode::Interrupt), "{e:?}");
        return;
    }
    // Panics write a message each, which is not the point here: resuming one does not.
    let (name, expected) = if n.is_multiple_of(97) { ("host_panic", None) } else { CALLS[n % CALLS.len()] };
    let f = instance.get_typed_func::<i32, i32>(&mut store, name).expect("a function");
    match (f.call(&mut store, 5), expected) {
        (Ok(r), Some(e)) => assert_eq!(r, e, "{name}"),
        (Err(_), None) => {}
        (outcome, _) => panic!("{name}: {outcome:?}"),
    }
}

/// What the process has of the system.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
struct Resources {
    descriptors: usize,
    mappings: usize,
    threads: usize,
    resident_kb: usize,
}

fn resources() -> Resources {
    let entries = |folder: &str| std::fs::read_dir(folder).expect("proc is mounted").count();
    let status = std::fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let resident = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("a size");
    Resources {
        descriptors: entries("/proc/self/fd"),
        mappings: std::fs::read_to_string("/proc/self/maps").expect("proc is mounted").lines().count(),
        threads: entries("/proc/self/task"),
        resident_kb: resident.trim().trim_end_matches(" kB").parse().expect("a number"),
    }
}

/// The process has what it had before; the allocator may keep a few regions and MiB more.
fn assert_given_back(before: &Resources, regions: usize, mib: usize) {
    // The system needs a moment until threads that were waited for are gone.
    for _ in 0..500 {
        if resources().threads <= before.threads {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let after = resources();
    println!("before: {before:?}\nafter:  {after:?}");
    assert_eq!(after.descriptors, before.descriptors);
    assert!(after.threads <= before.threads, "{before:?} {after:?}");
    assert!(after.mappings <= before.mappings + regions, "{before:?} {after:?}");
    assert!(after.resident_kb <= before.resident_kb + mib * 1024, "{before:?} {after:?}");
}

#[test]
fn everything_is_given_back() {
    let tiers = tiers();
    let round = |cycles: usize| {
        for (name, engine, module, linker) in &tiers {
            let start = std::time::Instant::now();
            (0..cycles).for_each(|n| cycle(n, engine, module, linker));
            println!("{name}: {cycles} cycles, {:.1} us each", start.elapsed().as_secs_f64() * 1e6 / cycles as f64);
        }
    };
    // Allocators, pools and caches get their size.
    round(2 * TIME_OUT_EVERY);
    let before = resources();
    round(CYCLES / tiers.len());
    assert_given_back(&before, 8, 8);
}

#[test]
fn threads_come_and_go() {
    let tiers = tiers();
    let round = |threads: usize| {
        for (_, engine, module, linker) in &tiers {
            std::thread::scope(|scope| {
                for t in 0..threads {
                    // Half of them end while others still run.
                    scope.spawn(move || {
                        (0..if t.is_multiple_of(2) { 5 } else { 60 }).for_each(|n| cycle(t * 7 + n, engine, module, linker))
                    });
                }
            });
        }
    };
    round(8);
    // Engines keep as many memories as were used at a time, which is up to the scheduler otherwise.
    for (_, engine, module, linker) in &tiers {
        let alive = |_| {
            let mut store = Store::new(engine, 0);
            linker.instantiate(&mut store, module).expect("an instance");
            store
        };
        let stores: Vec<_> = (0..8).map(alive).collect();
        drop(stores);
    }
    let before = resources();
    (0..if cfg!(feature = "slow") { 100 } else { 6 }).for_each(|_| round(8));
    assert_given_back(&before, 40, 16);
}

#[test]
fn modules_come_and_go() {
    let wasm = wat::parse_str(PROGRAM).expect("valid text");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("service.so");
    compile_to_artifact(&wasm, &CompileOptions::default()).expect("compiled").write_artifact(&path).expect("written");
    let jit = Engine::new(Config::new().compiler(Arc::new(wasmc_compiler::Jit::default()))).expect("an engine");
    let linker_jit = linker(&jit);
    // Modules that go while a thread compiles for them, and such as waited for it.
    let auto = [false, true].map(|wait| {
        let config = Config::new().tier(Tier::Auto).compiler(Arc::new(wasmc_compiler::Jit::default()));
        let engine = Engine::new(config.compile_after(1, wait)).expect("an engine");
        (linker(&engine), engine)
    });
    let plain = Engine::new(Config::new()).expect("an engine");
    let linker_plain = linker(&plain);
    let round = |n: usize| {
        for i in 0..n {
            // SAFETY: the artifact was made here.
            let loaded = unsafe { Module::from_artifact(&plain, &path) }.expect("loaded");
            cycle(i, &plain, &loaded, &linker_plain);
            if i.is_multiple_of(10) {
                cycle(i, &jit, &Module::new(&jit, &wasm).expect("a module"), &linker_jit);
                for (linker, engine) in &auto {
                    let module = Module::new(engine, &wasm).expect("a module");
                    (i..i + 3).for_each(|i| cycle(i, engine, &module, linker));
                }
                assert!(Module::new(&jit, &wasm[..wasm.len() - 3]).is_err());
            }
        }
    };
    round(2 * TIME_OUT_EVERY);
    let before = resources();
    round(if cfg!(feature = "slow") { 5000 } else { 200 });
    assert_given_back(&before, 8, 8);
}
