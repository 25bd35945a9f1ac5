//! Interruptions on every tier: whatever a program is doing, it ends soon, its store says so and stays ended, and nothing is
//! lost with it. The last test interrupts at random moments, many threads at once, and counts what is left behind.

mod common;

use common::{engines, func, module};
use std::time::{Duration, Instant};
use wasmc_runtime::*;

/// Programs that never end by themselves, each by another means. `host.nap` sleeps in the kernel until it is interrupted.
const FOREVER: &str = r#"(module
    (import "host" "nop" (func $nop (param i32) (result i32)))
    (import "host" "nap" (func $nap))
    (import "env" "shared" (memory $shared 1 1 shared))
    (memory $m 1 2000)
    (memory $large 1600)
    (table $t 4 funcref)
    (elem (table $t) (i32.const 0) func $leaf $even $odd)
    (global $g (mut i32) (i32.const 0))
    (tag $e (param i32))
    (func $leaf (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
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
    let ty = MemoryType { limits: Limits { min: 1, max: Some(1) }, memory64: false, shared: true, page_size_log2: 16 };
    linker.define_shared_memory("env", "shared", SharedMemory::new(engine, ty).unwrap()).unwrap();
    let names = module.exports().map(|e| e.name.to_owned()).collect();
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
            let trap = assert_interrupted(f.call(&mut store, ()), &what);
            assert!(start.elapsed() < Duration::from_secs(10), "{what} took {:?}", start.elapsed());
            assert!(start.elapsed() >= Duration::from_millis(5), "{what}");
            // In the middle of a tail call or of a frame's end there may be one frame less than there should be.
            assert!(!trap.backtrace().frames().is_empty() || name == "tail_calls", "{what}: {trap}");
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
