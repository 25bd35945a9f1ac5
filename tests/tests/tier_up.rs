//! Functions that are compiled while they run: what the interpreter hands over in the middle of a loop, who finds the code and
//! when, and that traps, exceptions, roots and interruptions do not notice. The tests of behaviour run on this tier as well; here
//! is what only it can get wrong.

#[path = "support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};
use support::*;
use wasmc_compiler::{Inlining, Jit};
use wasmc_runtime::environ::TrapCode;
use wasmc_runtime::{AsContextMut, Caller, Config, Engine, ExternRef, Instance, Linker, Module, Result, Store, Val};

/// Engines that compile a function at its first call, at the second call or turn, and later; with and without inlining.
fn engines() -> Vec<Engine> {
    let engine = |after, inlining| {
        let jit = Jit { inlining, ..Jit::default() };
        let config = Config::new().tier(wasmc_runtime::Tier::Auto).compiler(Arc::new(jit));
        Engine::new(config.compile_after(after, true)).expect("an engine")
    };
    [0, 1, 2, 7].into_iter().flat_map(|after| [Inlining::Off, Inlining::Everywhere].map(|i| engine(after, i))).collect()
}

fn run(wat: &str, calls: &[(&str, &[i32], i32)]) {
    for engine in engines() {
        let module = module(&engine, wat);
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        for (name, args, expected) in calls {
            for round in 0..10 {
                assert_eq!(call(&mut store, &instance, name, args).unwrap(), *expected, "{name}{args:?} in round {round}");
            }
        }
        let (_, compiled) = module.compiled_functions();
        assert!(compiled > 0, "nothing was compiled");
    }
}

#[test]
fn locals_of_every_type_go_to_the_loop() {
    run(
        r#"(module
            (func (export "f") (param i32 i64 f32 f64) (result i32)
                (local i32 i64 f32 f64 v128 i32)
                (local.set 4 (i32.const 11)) (local.set 5 (i64.const -12)) (local.set 6 (f32.const 13)) (local.set 7 (f64.const -14))
                (local.set 8 (v128.const i32x4 1 2 3 4))
                (loop $l
                    (local.set 4 (i32.add (local.get 4) (i32.const 1)))
                    (local.set 5 (i64.add (local.get 5) (local.get 1)))
                    (local.set 6 (f32.add (local.get 6) (local.get 2)))
                    (local.set 7 (f64.add (local.get 7) (local.get 3)))
                    (local.set 8 (i32x4.add (local.get 8) (local.get 8)))
                    (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
                (i32.add (i32.add (i32.add (local.get 4) (i32.wrap_i64 (local.get 5))) (i32.trunc_f32_s (local.get 6)))
                    (i32.add (i32.trunc_f64_s (local.get 7))
                        (i32.add (i32x4.extract_lane 3 (local.get 8)) (local.get 9)))))
            (func (export "g") (param i32) (result i32)
                (call 0 (local.get 0) (i64.const 3) (f32.const 5) (f64.const 7))))"#,
        &[("g", &[10], 21 + 18 + 63 + 56 + 4096)],
    );
}

#[test]
fn nested_loops_blocks_and_operands() {
    run(
        r#"(module
            ;; Loops in loops, in both arms of a conditional, entered in any of them.
            (func (export "nested") (param $n i32) (result i32) (local $i i32) (local $j i32) (local $sum i32)
                (loop $outer
                    (local.set $j (i32.const 0))
                    (if (i32.and (local.get $i) (i32.const 1))
                        (then (loop $odd
                            (local.set $sum (i32.add (local.get $sum) (local.get $j)))
                            (br_if $odd (i32.lt_s (local.tee $j (i32.add (local.get $j) (i32.const 1))) (local.get $n)))))
                        (else (block $done (loop $even
                            (br_if $done (i32.ge_s (local.get $j) (local.get $n)))
                            (local.set $sum (i32.sub (local.get $sum) (i32.const 1)))
                            (local.set $j (i32.add (local.get $j) (i32.const 1)))
                            (br $even)))))
                    (br_if $outer (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
                (local.get $sum))
            ;; Operands below the loop: it is not entered there, and the result is right.
            (func (export "operands") (param $n i32) (result i32) (local $sum i32)
                (i32.const 1000)
                (loop $l
                    (local.set $sum (i32.add (local.get $sum) (local.get $n)))
                    (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
                (i32.add (local.get $sum)))
            ;; Parameters of loops and conditionals, results of blocks around them.
            (func (export "params") (param $n i32) (result i32)
                (local.get $n)
                (loop $l (param i32) (result i32)
                    (i32.mul (i32.const 3))
                    (if (param i32) (result i32) (local.get $n)
                        (then (i32.add (i32.const 1)))
                        (else (i32.sub (i32.const 1))))
                    (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#,
        &[("nested", &[20], 20 * 19 / 2 * 10 - 200), ("operands", &[10], 1055), ("params", &[4], 364)],
    );
}

#[test]
fn tables_references_and_tail_calls_find_the_code() {
    run(
        r#"(module
            (type $t (func (param i32) (result i32)))
            (table $table (export "table") 3 funcref) (elem (table $table) (i32.const 0) func $a $b $c)
            (elem declare func $a $b $c)
            (func $a (type $t) (i32.add (local.get 0) (i32.const 1)))
            (func $b (type $t) (i32.mul (local.get 0) (i32.const 2)))
            (func $c (type $t) (call_ref $t (local.get 0) (ref.func $a)))
            (func (export "all") (param i32) (result i32) (local $i i32)
                (loop $l
                    (local.set 0 (call_indirect (type $t) (local.get 0) (i32.rem_u (local.get $i) (i32.const 3))))
                    (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 12))))
                (local.get 0))
            ;; A chain of tail calls much longer than any stack.
            (func $even (export "even") (param i32) (result i32)
                (if (i32.eqz (local.get 0)) (then (return (i32.const 1))))
                (return_call $odd (i32.sub (local.get 0) (i32.const 1))))
            (func $odd (param i32) (result i32)
                (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
                (return_call_ref $t (i32.sub (local.get 0) (i32.const 1)) (ref.func $even)))
            (elem declare func $even))"#,
        &[("all", &[1], 61), ("even", &[1_000_000], 1)],
    );
}

#[test]
fn exceptions_and_traps_in_loops() {
    const WAT: &str = r#"(module
        (tag $e (param i32))
        (memory 1)
        (func $thrower (param i32) (if (i32.eqz (i32.rem_u (local.get 0) (i32.const 3))) (then (throw $e (local.get 0)))))
        (func (export "catches") (param i32) (result i32) (local $sum i32)
            (loop $l
                (block $caught (result i32)
                    (try_table (catch $e $caught) (call $thrower (local.get 0)))
                    (i32.const 1))
                (local.set $sum (i32.add (local.get $sum)))
                (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
            (local.get $sum))
        ;; The whole loop inside, so that what runs in its midst is inside.
        (func (export "inside") (param i32) (result i32) (local $i i32)
            (block $caught (result i32)
                (try_table (result i32) (catch $e $caught)
                    (loop $l
                        (local.set $i (i32.add (local.get $i) (i32.const 1)))
                        (if (i32.eq (local.get $i) (local.get 0)) (then (throw $e (local.get $i))))
                        (br $l))
                    (i32.const 0))))
        (func $traps (export "traps") (param i32) (result i32)
            (loop $l
                (drop (i32.load (i32.mul (local.get 0) (i32.const 16384))))
                (local.set 0 (i32.add (local.get 0) (i32.const 1)))
                (br $l))
            unreachable)
        (func $outer (export "outer") (param i32) (result i32) (call $traps (local.get 0))))"#;
    run(WAT, &[("catches", &[10], 18 + 7), ("inside", &[20], 20)]);
    let mut expected = None;
    for engine in engines().into_iter().chain([engine(wasmc_tests::Tier::Interpreted)]) {
        let mut store = Store::new(&engine, ());
        let instance = instance(&mut store, WAT);
        for _ in 0..4 {
            let trap = trap(call(&mut store, &instance, "outer", &[0]));
            assert_eq!(trap.code(), TrapCode::MemoryOutOfBounds);
            let found: Vec<_> = trap.backtrace().frames().iter().map(|f| (f.func_index(), f.module_offset())).collect();
            assert_eq!(frames(&trap), ["traps", "outer"]);
            assert_eq!(*expected.get_or_insert_with(|| found.clone()), found);
        }
    }
}

#[test]
fn references_in_locals_are_roots() {
    for engine in engines() {
        let module = module(
            &engine,
            r#"(module
                (import "host" "make" (func $make (param i32) (result externref)))
                (import "host" "number" (func $number (param externref) (result i32)))
                (import "host" "collect" (func $collect))
                (func (export "f") (param i32) (result i32) (local externref i32)
                    (local.set 1 (call $make (local.get 0)))
                    (loop $l
                        (call $collect)
                        (local.set 2 (i32.add (local.get 2) (call $number (local.get 1))))
                        (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
                    (local.get 2)))"#,
        );
        let mut linker: Linker<()> = Linker::new(&engine);
        linker.func_wrap("host", "make", |mut c: Caller<'_, ()>, n: i32| Ok(Some(ExternRef::new(&mut c, n)?))).unwrap();
        linker
            .func_wrap("host", "number", |c: Caller<'_, ()>, r: Option<ExternRef>| -> Result<i32> {
                let r = r.ok_or_else(|| wasmc_runtime::Error::msg("null"))?;
                Ok(*r.data(&c)?.downcast_ref::<i32>().expect("a number"))
            })
            .unwrap();
        linker.func_wrap("host", "collect", |mut c: Caller<'_, ()>| c.as_context_mut().collect()).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        for _ in 0..3 {
            assert_eq!(call(&mut store, &instance, "f", &[20]).unwrap(), 400);
        }
    }
}

/// Compiled in the background: a loop that would take the interpreter for ever ends, because its code is entered in its midst.
#[test]
fn a_running_loop_is_entered() {
    let config = Config::new().tier(wasmc_runtime::Tier::Auto).compiler(Arc::new(Jit::default()));
    let engine = Engine::new(config).unwrap();
    let module = module(
        &engine,
        r#"(module (func (export "f") (param i32) (result i32) (local i32)
            (loop $l
                (local.set 1 (i32.add (i32.mul (local.get 1) (i32.const 31)) (local.get 0)))
                (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
            (local.get 1)))"#,
    );
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let expected = {
        let (mut n, mut x) = (200_000_000i32, 0i32);
        while n != 0 {
            x = x.wrapping_mul(31).wrapping_add(n);
            n -= 1;
        }
        x
    };
    assert_eq!(call(&mut store, &instance, "f", &[200_000_000]).unwrap(), expected);
    // A call that finds the code at its beginning.
    let end = Instant::now() + Duration::from_secs(60);
    while module.compiled_functions().1 == 0 {
        assert!(Instant::now() < end, "nothing was compiled");
        call(&mut store, &instance, "f", &[1000]).unwrap();
    }
}

/// Many threads with stores of their own of one module, all of which get its code while they run.
#[test]
fn threads_share_the_code() {
    let config = Config::new().tier(wasmc_runtime::Tier::Auto).compiler(Arc::new(Jit::default()));
    let engine = Engine::new(config.compile_after(50, false)).unwrap();
    let module = module(
        &engine,
        r#"(module
            (func $fib (export "fib") (param i32) (result i32)
                (if (result i32) (i32.lt_u (local.get 0) (i32.const 2)) (then (local.get 0))
                    (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1))) (call $fib (i32.sub (local.get 0) (i32.const 2))))))))"#,
    );
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let (engine, module) = (engine.clone(), module.clone());
            scope.spawn(move || {
                let mut store = Store::new(&engine, ());
                let instance = Instance::new(&mut store, &module, &[]).unwrap();
                for _ in 0..200 {
                    assert_eq!(call(&mut store, &instance, "fib", &[15]).unwrap(), 610);
                }
            });
        }
    });
}

/// Modules that go away while their functions are being compiled.
#[test]
fn modules_may_go_at_any_time() {
    let config = Config::new().tier(wasmc_runtime::Tier::Auto).compiler(Arc::new(Jit::default()));
    let engine = Engine::new(config.compile_after(0, false)).unwrap();
    for n in 0..50 {
        let functions: String =
            (0..n).map(|i| format!("(func (export \"f{i}\") (param i32) (result i32) (i32.add (local.get 0) (i32.const {i})))")).collect();
        let module = module(&engine, &format!("(module {functions})"));
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        for i in 0..n {
            assert_eq!(call(&mut store, &instance, &format!("f{i}"), &[1]).unwrap(), i + 1);
        }
    }
}

#[test]
fn a_compiled_loop_is_interrupted() {
    for engine in engines() {
        let module = module(&engine, r#"(module (func (export "f") (loop $l (br $l))))"#);
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let handle = store.interrupt_handle().unwrap();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            handle.interrupt();
        });
        let f = instance.get_func(&mut store, "f").unwrap();
        let trap = trap(f.call(&mut store, &[], &mut []));
        assert_eq!(trap.code(), TrapCode::Interrupt);
        thread.join().unwrap();
    }
}

/// Imports from another instance, and references that were given away before there was code, lead to it.
#[test]
fn imports_and_references_made_before() {
    for engine in engines() {
        let first = module(&engine, r#"(module (func (export "f") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1))))"#);
        let second = module(
            &engine,
            r#"(module (import "first" "f" (func $f (param i32) (result i32)))
                (table funcref (elem $f))
                (func (export "both") (param i32) (result i32)
                    (call_indirect (param i32) (result i32) (call $f (local.get 0)) (i32.const 0))))"#,
        );
        let mut store = Store::new(&engine, ());
        let mut linker: Linker<()> = Linker::new(&engine);
        let instance = linker.instantiate(&mut store, &first).unwrap();
        let before = instance.get_func(&mut store, "f").unwrap();
        let typed = instance.get_typed_func::<i32, i32>(&mut store, "f").unwrap();
        linker.instance(&mut store, "first", instance).unwrap();
        let second = linker.instantiate(&mut store, &second).unwrap();
        for _ in 0..10 {
            assert_eq!(call(&mut store, &second, "both", &[5]).unwrap(), 7);
            let mut results = [Val::I32(0)];
            before.call(&mut store, &[Val::I32(1)], &mut results).unwrap();
            assert_eq!(results[0].i32(), Some(2));
            assert_eq!(typed.call(&mut store, 3).unwrap(), 4);
        }
    }
}

/// What cannot be compiled while it runs stays as the engine would have it otherwise.
#[test]
fn metered_modules_are_compiled_first() {
    let config = || Config::new().tier(wasmc_runtime::Tier::Auto).compiler(Arc::new(Jit::default()));
    let metered = Engine::new(config().meter(true)).unwrap();
    assert_eq!(metered.config().tier_of_modules(), wasmc_runtime::Tier::Compiled);
    let module = Module::new(&metered, wat::parse_str("(module (func))").unwrap()).unwrap();
    assert_eq!(module.compiled_functions(), (1, 1));
    assert!(Module::new(&Engine::new(Config::new().tier(wasmc_runtime::Tier::Auto)).unwrap(), b"\0asm\x01\0\0\0").is_err(), "no compiler");
}

/// What is too large for native code on the other tiers stays interpreted here, and what it calls does not.
#[test]
fn large_functions_stay_interpreted() {
    for engine in engines() {
        let nested = 11_000;
        let body = format!("{}(local.set 0 (call $one (local.get 0))){}", "(block ".repeat(nested), ")".repeat(nested));
        let wat = format!(
            r#"(module
                (func $one (export "one") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
                (func $large (export "large") (param i32) (result i32) {body} (local.get 0))
                (func (export "f") (param i32) (result i32) (local $i i32)
                    (loop $l
                        (local.set 0 (call $large (local.get 0)))
                        (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 20))))
                    (local.get 0)))"#
        );
        let module = module(&engine, &wat);
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        for _ in 0..5 {
            assert_eq!(call(&mut store, &instance, "f", &[1]).unwrap(), 21);
            assert_eq!(call(&mut store, &instance, "large", &[1]).unwrap(), 2);
        }
        assert_eq!(module.compiled_functions(), (3, 2));
    }
}

/// Ends the process if it takes too long.
fn hurry() {
    // SAFETY: a signal whose action is to end the process.
    unsafe { libc::alarm(60) };
}

/// The child of a fork has no thread that compiles, wherever that was; it starts one of its own.
#[test]
fn forks() {
    const WAT: &str = r#"(module
        (func $a (export "a") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3)))
        (func $b (export "b") (param i32) (result i32) (local $i i32)
            (loop $l
                (local.set 0 (i32.add (local.get 0) (i32.const 1)))
                (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 5000))))
            (local.get 0))
        (func $c (export "c") (param i32) (result i32) (call $a (call $b (local.get 0)))))"#;
    for wait in [true, false] {
        let jit = Jit::default();
        let engine = Engine::new(Config::new().tier(wasmc_runtime::Tier::Auto).compiler(Arc::new(jit)).compile_after(2, wait)).unwrap();
        for round in 0..20 {
            let module = module(&engine, WAT);
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            for _ in 0..3 + round {
                assert_eq!(call(&mut store, &instance, "a", &[1]).unwrap(), 3);
            }
            // SAFETY: the child uses what it may, the store of this thread, and ends without returning.
            let child = unsafe { libc::fork() };
            if child == 0 {
                hurry();
                let right = (0..20).all(|_| matches!(call(&mut store, &instance, "c", &[1]), Ok(15_003)));
                let (_, compiled) = module.compiled_functions();
                drop((store, module));
                // SAFETY: ends the child.
                unsafe {
                    libc::_exit(if !right {
                        1
                    } else if wait && compiled < 2 {
                        2
                    } else {
                        0
                    })
                };
            }
            assert_eq!(call(&mut store, &instance, "c", &[1]).unwrap(), 15_003);
            let mut status = 0;
            // SAFETY: the child is ours, and the status is live.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "wait {wait}, round {round}: status {status:#x}");
        }
    }
}
