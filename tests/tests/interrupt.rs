//! Interruptions on every tier: whatever a program is doing, it ends soon, its store says so and stays ended, and nothing is
//! lost with it. The last test interrupts at random moments, many threads at once, and counts what is left behind.

mod common;

use common::{engines, func, module};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmc_runtime::*;

/// Programs that never end by themselves, each by another means. `host.nap` sleeps in the kernel until it is interrupted.
const FOREVER: &str = r#"(module
    (import "host" "nop" (func $nop (param i32) (result i32)))
    (import "host" "nap" (func $nap))
    (import "host" "again" (func $again (param i32)))
    (import "host" "other_store" (func $other_store))
    (import "env" "shared" (memory $shared 1 1 shared))
    (memory $m 1 2000)
    (memory $large 1600)
    (table $t 4 funcref)
    (elem (table $t) (i32.const 0) func $leaf $even $odd)
    (global $g (mut i32) (i32.const 0))
    (tag $e (param i32))
    (func $leaf (export "leaf") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
    (func (export "tight") (loop $l (br $l)))
    (func (export "conditional") (loop $l (br_if $l (i32.eqz (global.get $g)))))
    (func (export "counted") (local $i i32)
        (loop $again
            (local.set $i (i32.const 0))
            (loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000))))
            (br $again)))
    (func (export "down") (local $i i64)
        (loop $again
            (local.set $i (i64.const 1000))
            (loop $l (br_if $l (i64.ne (local.tee $i (i64.sub (local.get $i) (i64.const 1))) (i64.const 0))))
            (br $again)))
    (func (export "switch") (local $i i32)
        (loop $a (loop $b
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_table $a $b $a (i32.rem_u (local.get $i) (i32.const 3))))))
    (func (export "floats") (local $x f64)
        (loop $l (local.set $x (f64.sqrt (f64.add (local.get $x) (f64.const 2)))) (br_if $l (f64.lt (local.get $x) (f64.const 1e300)))))
    (func (export "stores") (local $i i32)
        (loop $l
            (i32.store $m (i32.and (local.get $i) (i32.const 0xfffc)) (local.get $i))
            (local.set $i (i32.add (local.get $i) (i32.load $m (i32.and (local.get $i) (i32.const 0xfffc)))))
            (br $l)))
    (func $deep (param i32) (result i32)
        (if (result i32) (i32.eqz (local.get 0))
            (then (i32.const 0))
            (else (i32.add (call $deep (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))))
    (func (export "recursion") (loop $l (drop (call $deep (i32.const 3000))) (br $l)))
    (func $fib (param i32) (result i32)
        (if (result i32) (i32.lt_u (local.get 0) (i32.const 2)) (then (local.get 0))
            (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1))) (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
    (func (export "calls") (drop (call $fib (i32.const 90))))
    (func $even (param i32) (result i32) (return_call $odd (i32.add (local.get 0) (i32.const 1))))
    (func $odd (param i32) (result i32) (return_call_indirect $t (param i32) (result i32) (local.get 0) (i32.const 1)))
    (func (export "tail_calls") (drop (call $even (i32.const 0))))
    (func (export "indirect") (local $i i32)
        (loop $l (local.set $i (call_indirect $t (param i32) (result i32) (local.get $i) (i32.const 0))) (br $l)))
    (func (export "host") (local $i i32) (loop $l (local.set $i (call $nop (local.get $i))) (br $l)))
    (func (export "nap") (loop $l (call $nap) (br $l)))
    ;; The host calls back, and takes no notice of what comes of it.
    (func (export "back_and_forth") (loop $l (call $again (i32.const 0)) (br $l)))
    (func (export "swallowed") (loop $l (call $again (i32.const 1)) (br $l)))
    (func (export "other_store") (loop $l (call $other_store) (br $l)))
    (func $throw (param i32) (throw $e (local.get 0)))
    (func $throw_deep (param i32)
        (if (local.get 0) (then (call $throw_deep (i32.sub (local.get 0) (i32.const 1)))) (else (throw $e (i32.const 1)))))
    (func (export "exceptions") (loop $l (drop (block $h (result i32) (try_table (catch $e $h) (call $throw (i32.const 7))) unreachable)) (br $l)))
    (func (export "exception_loop") (loop $l (try_table (catch_all $l) (call $throw (i32.const 7)))))
    (func (export "deep_exceptions") (loop $l (try_table (catch_all $l) (call $throw_deep (i32.const 500)))))
    (func (export "fill") (loop $l (memory.fill $large (i32.const 0) (i32.const 1) (i32.const 100000000)) (br $l)))
    (func (export "copy") (loop $l (memory.copy $large $large (i32.const 1) (i32.const 0) (i32.const 50000000)) (br $l)))
    (func (export "growth") (loop $l (drop (memory.grow $m (i32.const 1))) (drop (table.grow $t (ref.null func) (i32.const 1))) (br $l)))
    (func (export "wait") (loop $l (drop (memory.atomic.wait32 $shared (i32.const 0) (i32.const 0) (i64.const -1))) (br $l)))
    (func (export "wait_a_little") (loop $l (drop (memory.atomic.wait64 $shared (i32.const 8) (i64.const 0) (i64.const 100000))) (br $l)))
)"#;

fn poll(millis: i32) -> bool {
    // SAFETY: no descriptors are passed.
    unsafe { libc::poll(std::ptr::null_mut(), 0, millis) == 0 }
}

struct Program {
    engine: Engine,
    pre: InstancePre<()>,
    names: Vec<String>,
}

fn program(engine: &Engine) -> Program {
    let module = module(engine, FOREVER);
    let mut linker = Linker::new(engine);
    linker.func_wrap("host", "nop", |x: i32| x.wrapping_add(1)).unwrap();
    linker
        .func_wrap("host", "nap", |caller: Caller<'_, ()>| -> Result<()> {
            while !poll(60_000) {
                caller.check_interrupt()?;
            }
            Ok(())
        })
        .unwrap();
    linker
        .func_wrap("host", "again", |mut caller: Caller<'_, ()>, forever: i32| {
            let name = if forever == 0 { "leaf" } else { "tight" };
            let Some(Extern::Func(f)) = caller.get_export(name) else { panic!("no {name}") };
            let _ = f.call(&mut caller, &[Val::I32(1)][forever as usize..], &mut [Val::I32(0)][forever as usize..]);
        })
        .unwrap();
    let (wat, other) = (
        r#"(module (func (export "run") (param i32) (loop $l
        (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"#,
        engine.clone(),
    );
    let other = common::module(&other, wat);
    linker
        .func_wrap("host", "other_store", move |_: Caller<'_, ()>| -> Result<()> {
            let mut store = Store::new(other.engine(), ());
            let run: TypedFunc<i32, ()> = Instance::new(&mut store, &other, &[])?.get_typed_func(&mut store, "run")?;
            run.call(&mut store, 2000)
        })
        .unwrap();
    let ty = MemoryType { limits: Limits { min: 1, max: Some(1) }, memory64: false, shared: true, page_size_log2: 16 };
    linker.define_shared_memory("env", "shared", SharedMemory::new(engine, ty).unwrap()).unwrap();
    let names = module.exports().map(|e| e.name.to_owned()).filter(|n| n != "leaf").collect();
    Program { engine: engine.clone(), pre: linker.instantiate_pre(&module).unwrap(), names }
}

impl Program {
    fn start(&self, name: &str) -> (Store<()>, TypedFunc<(), ()>) {
        let mut store = Store::new(&self.engine, ());
        let instance = self.pre.instantiate(&mut store).unwrap();
        let f = func(&mut store, instance, name);
        (store, f)
    }
}

fn assert_interrupted<R: std::fmt::Debug>(result: Result<R>, what: &str) -> Trap {
    let error = result.expect_err(what);
    let trap = error.downcast_ref::<Trap>().unwrap_or_else(|| panic!("{what}: {error:?}")).clone();
    assert_eq!(trap.code(), TrapCode::Interrupt, "{what}");
    trap
}

#[test]
fn every_program_can_be_interrupted_on_every_tier() {
    for (tier, engine) in engines() {
        let program = program(&engine);
        for name in &program.names {
            let what = format!("{tier}: {name}");
            let (mut store, f) = program.start(name);
            let handle = store.interrupt_handle().unwrap();
            let start = Instant::now();
            let _timeout = handle.interrupt_after(Duration::from_millis(5));
            let result = f.call(&mut store, ());
            // On a busy machine the time may be up before the call begins.
            let begun = result.as_ref().is_err_and(|e| !format!("{e:#}").contains("the store was interrupted"));
            let trap = assert_interrupted(result, &what);
            assert!(start.elapsed() < Duration::from_secs(10), "{what} took {:?}", start.elapsed());
            assert!(start.elapsed() >= Duration::from_millis(5), "{what}");
            assert!(!begun || !trap.backtrace().frames().is_empty(), "{what}: {trap}");
            assert!(store.is_interrupted() && handle.is_interrupted(), "{what}");
            for _ in 0..2 {
                let again = assert_interrupted(f.call(&mut store, ()), &what);
                assert!(again.backtrace().frames().is_empty());
            }
            assert_interrupted(program.pre.instantiate(&mut store), &what);
            drop(store);
            handle.interrupt();
        }
    }
}

/// A start function that never ends, and segments that take long to write.
#[test]
fn instantiation_can_be_interrupted() {
    for (tier, engine) in engines() {
        let module = module(&engine, r#"(module (func $start (loop $l (br $l))) (start $start))"#);
        let mut store = Store::new(&engine, ());
        let _timeout = store.interrupt_handle().unwrap().interrupt_after(Duration::from_millis(5));
        assert_interrupted(Instance::new(&mut store, &module, &[]), tier);
    }
}

/// A store can be interrupted before anything runs in it, and after it is gone; other stores do not notice.
#[test]
fn handles_are_about_their_store_alone() {
    for (tier, engine) in engines() {
        let program = program(&engine);
        let (mut store, f) = program.start("tight");
        let (mut other, _) = program.start("tight");
        let handle = store.interrupt_handle().unwrap();
        handle.interrupt();
        let start = Instant::now();
        assert_interrupted(f.call(&mut store, ()), tier);
        assert!(start.elapsed() < Duration::from_secs(5));
        let nop = Func::wrap(&mut store, || ());
        assert_interrupted(nop.call(&mut store, &[], &mut []), tier);
        let leaf = program.pre.instantiate(&mut other).unwrap().get_typed_func::<i32, i32>(&mut other, "leaf").unwrap();
        assert_eq!(leaf.call(&mut other, 1).unwrap(), 2, "{tier}");
        drop(store);
        handle.interrupt();
        assert!(handle.is_interrupted() && !other.is_interrupted());
        // Disarmed, or armed for a time that never comes.
        let handle = other.interrupt_handle().unwrap();
        drop(handle.interrupt_after(Duration::from_millis(1)));
        let _never = handle.interrupt_after(Duration::MAX);
        std::thread::sleep(Duration::from_millis(10));
        assert_eq!(leaf.call(&mut other, 2).unwrap(), 3, "{tier}");
    }
}

/// A host function that the embedder calls, and that waits in the kernel.
#[test]
fn host_functions_called_from_outside_are_interrupted() {
    let mut store = Store::new(&engines()[0].1, ());
    let nap = Func::wrap(&mut store, |caller: Caller<'_, ()>| -> Result<()> {
        while !poll(60_000) {
            caller.check_interrupt()?;
        }
        Ok(())
    });
    let _timeout = store.interrupt_handle().unwrap().interrupt_after(Duration::from_millis(5));
    let start = Instant::now();
    assert_interrupted(nap.call(&mut store, &[], &mut []), "nap");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn asynchronous_calls_return_the_store() {
    for (tier, engine) in engines() {
        let program = program(&engine);
        let mut store = Store::new(&engine, ());
        let instance = program.pre.instantiate(&mut store).unwrap();
        let leaf = instance.get_typed_func::<i32, i32>(&mut store, "leaf").unwrap();
        let (mut store, result) = leaf.call_async(store, 4).unwrap().get().unwrap();
        assert_eq!(result.unwrap(), 5, "{tier}");
        assert_eq!(leaf.call(&mut store, 5).unwrap(), 6, "{tier}");
        let call = leaf.func().call_async(store, vec![Val::I32(6)]).unwrap();
        assert!(call.wait_for(Duration::from_secs(60)) && call.is_finished());
        let (store, results) = call.get().unwrap();
        assert_eq!(results.unwrap()[0].i32(), Some(7), "{tier}");

        let call = store.run_async(move |store| func::<_, (), ()>(store, instance, "nap").call(store, ())).unwrap();
        assert!(!call.wait_for(Duration::from_millis(5)) && !call.is_finished(), "{tier}");
        call.cancel();
        assert!(call.wait_for(Duration::from_secs(10)), "{tier}");
        let (store, result) = call.get().unwrap();
        assert_interrupted(result, tier);
        assert!(store.is_interrupted());

        // A panic is an error, and the store comes back; a call that nobody waits for is cancelled.
        let (store, f) = program.start("tight");
        let (store, result) = store.run_async(|_| -> Result<()> { panic!("on purpose") }).unwrap().get().unwrap();
        assert_eq!(result.unwrap_err().downcast_ref::<HostPanic>().unwrap().message(), "on purpose");
        let call = f.call_async(store, ()).unwrap();
        let handle = call.interrupt_handle();
        drop(call);
        assert!(handle.is_interrupted(), "{tier}");
    }
}

/// xorshift, for delays and choices.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// What of the process could be lost: descriptors, mappings, threads.
fn possessions() -> [usize; 3] {
    let entries = |path| std::fs::read_dir(path).unwrap().count();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    [entries("/proc/self/fd"), maps.lines().count(), entries("/proc/self/task")]
}

/// Resident memory in bytes, without what the allocator keeps of what is free.
fn resident() -> u64 {
    // SAFETY: it may be called at any time.
    unsafe { libc::malloc_trim(0) };
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Interrupts programs at random moments, several threads at once.
fn storm(programs: &Arc<Vec<(&'static str, Program)>>, seed: u64, rounds: u32) {
    const THREADS: u64 = 4;
    let (mut sender, workers): (Vec<_>, Vec<_>) = (0..THREADS)
        .map(|n| {
            let (send, receive) = std::sync::mpsc::channel::<(InterruptHandle, Instant)>();
            // Half of the interruptions come from a thread that is awake, the others from the watchdog.
            let interrupter = std::thread::spawn(move || {
                for (handle, at) in receive {
                    while Instant::now() < at {
                        std::hint::spin_loop();
                    }
                    handle.interrupt();
                }
            });
            (interrupter, (n, send))
        })
        .unzip();
    let workers: Vec<_> = workers
        .into_iter()
        .map(|(n, send)| {
            let programs = programs.clone();
            std::thread::spawn(move || {
                let mut random = Random(seed ^ (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                for _ in 0..rounds / THREADS as u32 {
                    let (tier, program) = &programs[random.below(programs.len() as u64) as usize];
                    let name = &program.names[random.below(program.names.len() as u64) as usize];
                    let scale = 1 + random.below(10);
                    let delay = Duration::from_micros(random.below(1 << scale));
                    let (mut store, f) = program.start(name);
                    let handle = store.interrupt_handle().unwrap();
                    let _timeout;
                    if random.below(2) == 0 {
                        send.send((handle, Instant::now() + delay)).unwrap();
                    } else {
                        _timeout = handle.interrupt_after(delay);
                    }
                    assert_interrupted(f.call(&mut store, ()), &format!("{tier}: {name}, after {delay:?}"));
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    for thread in sender.drain(..) {
        thread.join().unwrap();
    }
}

/// Thousands of interruptions at random moments leave nothing behind, and everything goes on working.
#[test]
fn random_moments() {
    let programs: Vec<_> = engines().into_iter().map(|(tier, engine)| (tier, program(&engine))).collect();
    let programs = Arc::new(programs);
    let number = |name| std::env::var(name).ok().and_then(|v| v.parse().ok());
    let rounds = number("WASMC_INTERRUPTIONS").unwrap_or(if cfg!(feature = "slow") { 10_000 } else { 1_000 });
    storm(&programs, 1, 200);
    let (before, memory) = (possessions(), resident());
    let start = Instant::now();
    storm(&programs, number("WASMC_SEED").unwrap_or(2).into(), rounds);
    let grown = resident().saturating_sub(memory);
    eprintln!("{rounds} interruptions in {:?}; {grown} bytes more are resident", start.elapsed());
    // The allocator keeps some mappings, and splits others.
    // The system needs a moment after a thread was waited for.
    let gone = Instant::now() + Duration::from_secs(5);
    while possessions()[2] > before[2] && Instant::now() < gone {
        std::thread::sleep(Duration::from_millis(10));
    }
    let after = possessions();
    assert!(after[0] <= before[0] && after[2] <= before[2] && after[1] <= before[1] + 40, "{before:?} before, {after:?} after");
    // Less than a page an interruption, where there are many: the allocator's arenas of the threads that have ended stay.
    assert!(grown < 16 << 20, "{grown} bytes more are resident after {rounds} interruptions");
    for (tier, program) in programs.iter() {
        let mut store = Store::new(&program.engine, ());
        let instance = program.pre.instantiate(&mut store).unwrap();
        assert_eq!(func::<_, i32, i32>(&mut store, instance, "leaf").call(&mut store, 1).unwrap(), 2, "{tier}");
    }
}

/// `wasmc run --timeout` ends programs that wait for their standard input, and all threads of programs that have several.
#[test]
fn time_outs_end_runs() {
    let dir = tempfile::tempdir().unwrap();
    let read = dir.path().join("read.wat");
    let text = r#"(module (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start")
            (i32.store (i32.const 0) (i32.const 100)) (i32.store (i32.const 4) (i32.const 100))
            (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 50)))))"#;
    std::fs::write(&read, text).unwrap();
    let threads = dir.path().join("threads.wat");
    // One thread computes, one waits for a word, one sleeps, and the first one joins them by waiting for another word.
    let text = r#"(module
        (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
        (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
        (import "env" "memory" (memory 1 1 shared))
        (export "memory" (memory 0))
        (func (export "wasi_thread_start") (param i32 i32)
            (block $b2 (block $b1 (block $b0 (br_table $b0 $b1 $b2 (local.get 1))))
                (loop $l (br $l)))
            (i32.store (i32.const 16) (i32.const 1))
            (i64.store (i32.const 24) (i64.const 60000000000))
            (drop (call $poll (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 200)))
            (drop (memory.atomic.wait32 (i32.const 8) (i32.const 0) (i64.const -1))))
        (func (export "_start")
            (drop (call $spawn (i32.const 0))) (drop (call $spawn (i32.const 1))) (drop (call $spawn (i32.const 2)))
            (drop (memory.atomic.wait32 (i32.const 4) (i32.const 0) (i64.const -1)))))"#;
    std::fs::write(&threads, text).unwrap();
    for tier in ["compiled", "interpreted"] {
        for (file, options) in [(&read, &[][..]), (&threads, &["--threads"][..])] {
            let mut command = wasmc_tests::command(wasmc_tests::wasmc());
            command.args(["run", "--timeout", "100ms", "--tier", tier]).args(options).arg(file);
            // Open, and nothing ever comes.
            let (reader, _writer) = std::io::pipe().unwrap();
            command.stdin(reader);
            let start = Instant::now();
            let outcome = wasmc_tests::run(&mut command, Duration::from_secs(20));
            assert_eq!(outcome.code, Some(124), "{tier} {}: {}", file.display(), outcome.stderr);
            assert!(outcome.stderr.contains("after 100ms") && outcome.stderr.contains("_start"), "{}", outcome.stderr);
            assert!(start.elapsed() < Duration::from_secs(10));
        }
    }
}
