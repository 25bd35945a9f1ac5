//! Inlined functions are not to be told from called ones: what programs compute, and the traps, backtraces, exceptions and tail
//! calls of code with as much inlining as there can be, against code without any and the interpreter.

mod support;

use std::sync::Arc;
use support::frames;
use wasmc_compiler::{CompileOptions, Inlining, Interpret, Jit};
use wasmc_runtime::{Caller, Config, Engine, Linker, Module, Result, Store, Tier, Trap, Val};

/// Names and offsets of the frames of each backtrace that the host took, innermost first.
type Backtraces = Vec<Vec<(String, Option<u32>)>>;

/// What a call did: its result, or the kind of failure with its backtrace: names, and offsets in the module.
#[derive(Debug, PartialEq)]
enum Outcome {
    Returned(i32),
    Trapped(wasmc_runtime::environ::TrapCode, Vec<(String, Option<u32>)>),
    Failed(String),
}

fn jit(inlining: Inlining) -> Config {
    Config::new().compiler(Arc::new(Jit { inlining, ..Jit::default() }))
}

/// All ways to run a module, the interpreter first.
fn modules(wasm: &[u8]) -> Vec<(String, Engine, Module)> {
    let configs = [
        ("interpreted", Config::new().tier(Tier::Interpreted)),
        ("nothing inlined", jit(Inlining::Off)),
        ("some inlined", jit(Inlining::Normal)),
        ("all inlined", jit(Inlining::Everywhere)),
        ("every second function", jit(Inlining::Everywhere).interpret(vec![Interpret::Odd])),
        ("checked accesses", jit(Inlining::Everywhere).static_memory(false)),
    ];
    let mut all: Vec<(String, Engine, Module)> = configs
        .into_iter()
        .map(|(name, config)| {
            let engine = Engine::new(config.stack_size(1 << 20)).unwrap();
            let module = Module::new(&engine, wasm).unwrap();
            (name.to_owned(), engine, module)
        })
        .collect();
    let artifact = artifact(wasm, Inlining::Everywhere, None);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("module.so");
    artifact.write_artifact(&path).unwrap();
    let engine = Engine::new(Config::new().tier(Tier::Interpreted).stack_size(1 << 20)).unwrap();
    // SAFETY: the artifact was just made here. It stays mapped when its name goes away.
    let module = unsafe { Module::from_artifact(&engine, &path) }.unwrap();
    all.push(("artifact".into(), engine, module));
    all
}

fn artifact(wasm: &[u8], inlining: Inlining, jobs: Option<usize>) -> wasmc_compiler::CompiledArtifact {
    wasmc_compiler::compile_to_artifact(wasm, &CompileOptions { inlining, jobs, ..CompileOptions::default() }).unwrap()
}

/// Calls exports, each with one argument, in every way: all must do what the interpreter does.
fn same(wat: &str, calls: &[(&str, i32)]) -> Vec<Outcome> {
    let wasm = wat::parse_str(wat).unwrap_or_else(|e| panic!("{e}\n{wat}"));
    let mut expected: Option<Vec<Outcome>> = None;
    for (way, engine, module) in modules(&wasm) {
        let mut store = Store::new(&engine, Vec::<Vec<(String, Option<u32>)>>::new());
        let mut linker = Linker::new(&engine);
        linker
            .func_wrap("host", "look", |mut caller: Caller<'_, Backtraces>| {
                // The frames at a call of the host are found by a trap that the host makes of it.
                caller.data_mut().push(Vec::new());
            })
            .unwrap();
        linker
            .func_wrap("host", "fail", |_: Caller<'_, Backtraces>| -> Result<()> {
                Err(Trap::from(wasmc_runtime::environ::TrapCode::Unreachable).into())
            })
            .unwrap();
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let outcomes: Vec<Outcome> = calls
            .iter()
            .map(|(name, arg)| {
                let f = instance.get_func(&mut store, name).unwrap_or_else(|| panic!("no export {name}"));
                let mut results = [Val::I32(0)];
                match f.call(&mut store, &[Val::I32(*arg)], &mut results) {
                    Ok(()) => match results[0] {
                        Val::I32(v) => Outcome::Returned(v),
                        ref other => panic!("{name} returned {other:?}"),
                    },
                    Err(e) => match e.downcast_ref::<Trap>() {
                        Some(trap) => {
                            let offsets = trap.backtrace().frames().iter().map(|f| f.module_offset());
                            Outcome::Trapped(trap.code(), frames(trap).into_iter().zip(offsets).collect())
                        }
                        None => Outcome::Failed(e.to_string()),
                    },
                }
            })
            .collect();
        match &expected {
            None => expected = Some(outcomes),
            Some(expected) => {
                for ((call, outcome), expected) in calls.iter().zip(&outcomes).zip(expected) {
                    assert_eq!(outcome, expected, "{way}: {call:?}");
                }
            }
        }
    }
    expected.unwrap_or_default()
}

fn names(outcome: &Outcome) -> Vec<&str> {
    match outcome {
        Outcome::Trapped(_, frames) => frames.iter().map(|(name, _)| name.as_str()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn backtraces_have_the_inlined_frames() {
    let outcomes = same(
        r#"(module
            (memory 1)
            (table $t 2 funcref)
            (elem (table $t) (i32.const 0) func $twice)
            (func $load (param i32) (result i32) (drop (i32.const 1)) (i32.load (local.get 0)))
            (func $twice (param i32) (result i32)
                (local i32)
                (local.set 1 (call $load (i32.shl (local.get 0) (i32.const 1))))
                (i32.mul (local.get 1) (i32.const 3)))
            (func $div (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
            (func $if (param i32) (result i32)
                (if (result i32) (i32.eqz (local.get 0))
                    (then (unreachable))
                    (else (call $div (i32.const 100) (i32.sub (local.get 0) (i32.const 7))))))
            (func $fill (param i32) (memory.fill (local.get 0) (i32.const 1) (i32.const 10)))
            (func $indirect (param i32) (result i32) (call_indirect $t (param i32) (result i32) (local.get 0) (local.get 0)))
            (func (export "load") (param i32) (result i32) (call $twice (local.get 0)))
            (func (export "if") (param i32) (result i32)
                (local i32)
                (local.set 1 (call $if (local.get 0)))
                (i32.add (local.get 1) (call $twice (i32.const 5))))
            (func (export "fill") (param i32) (result i32)
                (call $fill (local.get 0))
                (call $twice (local.get 0)))
            (func (export "indirect") (param i32) (result i32) (call $indirect (local.get 0)))
            (func (export "loop") (param i32) (result i32)
                (local i32)
                (loop $l
                    (local.set 1 (i32.add (local.get 1) (call $if (local.get 0))))
                    (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
                (local.get 1)))"#,
        &[
            ("load", 8),
            ("load", 0x7000),
            ("load", 0x8000),
            ("load", -1),
            ("if", 0),
            ("if", 7),
            ("if", 8),
            ("fill", 0),
            ("fill", 0xfff8),
            ("indirect", 0),
            ("indirect", 1),
            ("indirect", 2),
            ("loop", 6),
            ("loop", 9),
        ],
    );
    assert_eq!(names(&outcomes[2]), ["load", "twice", "load"]);
    assert_eq!(names(&outcomes[4]), ["if", "if"]);
    assert_eq!(names(&outcomes[5]), ["div", "if", "if"]);
    assert_eq!(names(&outcomes[8]), ["fill", "fill"]);
    assert_eq!(names(&outcomes[13]), ["div", "if", "loop"]);
}

#[test]
fn hosts_see_the_inlined_frames() {
    let outcomes = same(
        r#"(module
            (import "host" "fail" (func $fail))
            (import "host" "look" (func $look))
            (func $b (param i32) (result i32) (if (local.get 0) (then (call $fail))) (call $look) (i32.const 3))
            (func $a (param i32) (result i32) (i32.add (call $b (local.get 0)) (i32.const 1)))
            (func (export "f") (param i32) (result i32) (call $look) (i32.add (call $a (local.get 0)) (call $a (i32.const 0)))))"#,
        &[("f", 0), ("f", 1)],
    );
    assert_eq!(outcomes[0], Outcome::Returned(8));
}

/// An exception that leaves an inlined body goes to the handler around the call; one that is caught in it does not.
#[test]
fn exceptions_pass_inlined_frames() {
    let outcomes = same(
        r#"(module
            (tag $a (param i32)) (tag $b (param i32 externref))
            (func $throw (param i32) (result i32)
                (if (i32.eq (local.get 0) (i32.const 1)) (then (throw $a (i32.const 10))))
                (if (i32.eq (local.get 0) (i32.const 2)) (then (throw $b (i32.const 20) (ref.null extern))))
                (if (i32.eq (local.get 0) (i32.const 3)) (then (unreachable)))
                (local.get 0))
            (func $pass (param i32) (result i32) (i32.add (call $throw (local.get 0)) (i32.const 100)))
            (func $catch_a (param i32) (result i32)
                (block $h (result i32)
                    (return (try_table (result i32) (catch $a $h) (call $pass (local.get 0))))))
            (func $catch_b (param i32) (result i32)
                (block $h (result i32 externref)
                    (return (try_table (result i32) (catch $b $h) (i32.add (call $catch_a (local.get 0)) (i32.const 1000)))))
                drop)
            (func $catch_ref (param i32) (result i32)
                (block $h (result exnref)
                    (return (try_table (result i32) (catch_all_ref $h) (call $catch_a (local.get 0)))))
                throw_ref)
            (func (export "f") (param i32) (result i32) (call $catch_b (local.get 0)))
            (func (export "g") (param i32) (result i32) (i32.add (call $catch_a (local.get 0)) (call $catch_b (local.get 0))))
            (func (export "h") (param i32) (result i32) (call $catch_ref (local.get 0)))
            (func (export "i") (param i32) (result i32)
                (block $h (result exnref)
                    (return (try_table (result i32) (catch_all_ref $h) (call $catch_ref (local.get 0)))))
                drop (i32.const -1)))"#,
        &[("f", 0), ("f", 1), ("f", 2), ("f", 3), ("g", 0), ("g", 1), ("g", 2), ("g", 3), ("h", 1), ("h", 2), ("i", 2), ("i", 3)],
    );
    assert_eq!(outcomes[..3], [Outcome::Returned(1100), Outcome::Returned(1010), Outcome::Returned(20)]);
    assert_eq!(names(&outcomes[3]), ["throw", "pass", "catch_a", "catch_b", "f"]);
    assert_eq!(outcomes[10], Outcome::Returned(-1));
}

#[test]
fn legacy_exceptions_pass_inlined_frames() {
    same(
        r#"(module
            (tag $a (param i32))
            (func $throw (param i32) (result i32) (if (local.get 0) (then (throw $a (local.get 0)))) (i32.const 7))
            (func $again (param i32) (result i32)
                try (result i32)
                    local.get 0
                    call $throw
                catch $a
                    drop
                    i32.const 2
                    call $throw
                    drop
                    rethrow 0
                end)
            (func (export "f") (param i32) (result i32)
                try (result i32)
                    local.get 0
                    call $again
                catch $a
                catch_all
                    i32.const -1
                end)
            (func (export "g") (param i32) (result i32) (call $again (local.get 0))))"#,
        &[("f", 0), ("f", 1), ("g", 0), ("g", 1)],
    );
}

/// References in the frame of an inlined body and in that of its caller are roots.
#[test]
fn references_survive_in_inlined_frames() {
    let outcomes = same(
        r#"(module
            (tag $a (param i32)) (tag $none)
            (func $storm (param i32)
                (loop $l
                    (block $h (result exnref)
                        (try_table (catch_all_ref $h) (throw $a (i32.const 99)))
                        (unreachable))
                    (drop)
                    (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
            (func $make (param i32) (result exnref)
                (block $h (result exnref) (try_table (catch_all_ref $h) (throw $a (local.get 0))) (unreachable)))
            (func $value (param exnref) (result i32)
                (block $h (result i32) (try_table (catch $a $h) (throw_ref (local.get 0))) (unreachable)))
            (func $pair (param i32) (result i32)
                (local $x exnref) (local $y exnref)
                (local.set $x (call $make (local.get 0)))
                (call $storm (i32.const 300))
                (local.set $y (call $make (i32.add (local.get 0) (i32.const 1))))
                (call $storm (i32.const 300))
                (i32.add (call $value (local.get $x)) (call $value (local.get $y))))
            (func (export "f") (param i32) (result i32)
                (local $z exnref) (local i32)
                (local.set $z (call $make (i32.const 1000)))
                (local.set 2 (i32.add (call $pair (local.get 0)) (call $pair (i32.const 40))))
                (i32.add (local.get 2) (call $value (local.get $z)))))"#,
        &[("f", 5), ("f", 6)],
    );
    assert_eq!(outcomes[0], Outcome::Returned(5 + 6 + 40 + 41 + 1000));
}

/// Tail calls stay tail calls: in constant stack, and without a frame in backtraces.
#[test]
fn tail_calls_stay() {
    let outcomes = same(
        r#"(module
            (func $even (param i32) (result i32)
                (if (i32.eqz (local.get 0)) (then (return (i32.const 1))))
                (return_call $odd (i32.sub (local.get 0) (i32.const 1))))
            (func $odd (param i32) (result i32)
                (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
                (if (i32.eq (local.get 0) (i32.const 13)) (then (unreachable)))
                (return_call $even (i32.sub (local.get 0) (i32.const 1))))
            (func $leaf (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
            (func $through (param i32) (result i32) (return_call $even (call $leaf (local.get 0))))
            (func (export "f") (param i32) (result i32) (i32.add (call $through (local.get 0)) (call $leaf (i32.const 5))))
            (func (export "g") (param i32) (result i32) (return_call $leaf (call $through (local.get 0)))))"#,
        &[("f", 9), ("f", 10), ("f", 1_000_003), ("f", 13), ("g", 11), ("g", 14)],
    );
    assert_eq!(names(&outcomes[2]), ["odd", "f"]);
}

/// Recursion ends in a trap, not in an endless loop or an endless compilation.
#[test]
fn recursion_exhausts_the_stack() {
    let wasm = wat::parse_str(
        r#"(module
            (func $self (export "self") (param i32) (result i32) (i32.add (call $self (local.get 0)) (i32.const 1)))
            (func $ping (export "ping") (param i32) (result i32) (call $pong (local.get 0)))
            (func $pong (param i32) (result i32) (i32.add (call $ping (local.get 0)) (i32.const 1)))
            (func $nothing (export "nothing") (param i32) (result i32) (call $nothing (local.get 0)))
            (func (export "start") (param i32) (result i32) (i32.add (call $ping (i32.const 1)) (call $self (i32.const 2)))))"#,
    )
    .unwrap();
    for (way, engine, module) in modules(&wasm) {
        let mut store = Store::new(&engine, ());
        let instance = Linker::new(&engine).instantiate(&mut store, &module).unwrap();
        for name in ["self", "ping", "nothing", "start"] {
            let f = instance.get_func(&mut store, name).unwrap();
            let error = f.call(&mut store, &[Val::I32(1)], &mut [Val::I32(0)]).unwrap_err();
            let trap = error.downcast_ref::<Trap>().unwrap_or_else(|| panic!("{way} {name}: {error:?}"));
            assert_eq!(trap.code(), wasmc_runtime::environ::TrapCode::StackOverflow, "{way} {name}");
        }
    }
}

/// Several results, vectors, globals, and results that go around a body.
#[test]
fn values_of_all_kinds() {
    same(
        r#"(module
            (global $sp (mut i32) (i32.const 4096)) (global $far (mut i64) (i64.const 5))
            (memory 1)
            (func $swap (param i32 i64 f32 f64) (result f64 f32 i64 i32)
                (local.get 3) (local.get 2) (local.get 1) (local.get 0))
            (func $frame (param i32) (result i32)
                (local $fp i32)
                (global.set $sp (local.tee $fp (i32.sub (global.get $sp) (i32.const 16))))
                (i32.store (local.get $fp) (local.get 0))
                (global.set $far (i64.add (global.get $far) (i64.extend_i32_u (i32.load (local.get $fp)))))
                (global.set $sp (i32.add (local.get $fp) (i32.const 16)))
                (i32.wrap_i64 (global.get $far)))
            (func $splat (param i32) (result v128) (i32x4.splat (local.get 0)))
            (func $pick (param v128 i32) (result i32)
                (block $b2 (block $b1 (block $b0 (br_table $b0 $b1 $b2 (local.get 1)))
                    (return (i32x4.extract_lane 0 (local.get 0))))
                    (return (i32x4.extract_lane 1 (local.get 0))))
                (i32x4.extract_lane 3 (i32x4.add (local.get 0) (call $splat (i32.const 7)))))
            (func (export "f") (param i32) (result i32)
                (local i32)
                (call $swap (call $frame (local.get 0)) (i64.const -2) (f32.const 3.5) (f64.const 4.25))
                (local.set 1) (drop) (drop) (drop)
                (i32.add (local.get 1)
                    (i32.add (call $pick (call $splat (local.get 0)) (i32.rem_u (local.get 0) (i32.const 3))) (call $frame (i32.const 9))))))"#,
        &[("f", 0), ("f", 1), ("f", 2), ("f", -3)],
    );
}

/// Many functions that all call one another, and chains of calls: in time proportional to the module, and the same artifact
/// on any number of threads.
#[test]
fn large_modules_are_deterministic() {
    use std::fmt::Write as _;
    let mut wat = String::from("(module (func $f0 (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))");
    for i in 1..400u32 {
        let (a, b) = (i - 1, i.wrapping_mul(2_654_435_761) % i);
        let _ = write!(
            wat,
            "(func $f{i} (param i32) (result i32)
                (if (i32.eqz (local.get 0)) (then (return (call $f{b} (i32.const {i})))))
                (i32.xor (call $f{a} (i32.sub (local.get 0) (i32.const 1))) (call $f{b} (i32.const 0))))"
        );
    }
    wat.push_str("(func (export \"f\") (param i32) (result i32) (call $f40 (local.get 0))))");
    same(&wat, &[("f", 3)]);
    let wasm = wat::parse_str(&wat).unwrap();
    for inlining in [Inlining::Normal, Inlining::Everywhere] {
        let first = artifact(&wasm, inlining, Some(1)).bytes;
        assert!(first == artifact(&wasm, inlining, Some(4)).bytes, "{inlining:?}");
    }
}
