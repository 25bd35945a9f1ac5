//! Traps on every tier: by instructions, by faults, by exhausting the stack; their backtraces; and that the store goes on
//! working after each of them.

mod support;

use support::*;
use wasmc_runtime::environ::TrapCode;
use wasmc_runtime::{Caller, Extern, Instance, Linker, Module, Result, Store};
use wasmc_tests::Tier;

#[test]
fn every_instruction_that_traps() {
    const WAT: &str = r#"(module
        (memory (export "memory") 1)
        (table $t (export "table") 4 funcref)
        (elem (table $t) (i32.const 0) func $one)
        (type $one (func (result i32)))
        (type $two (func (param i32) (result i32)))
        (func $one (export "one") (result i32) (i32.const 1))
        (func (export "unreachable") (result i32) unreachable)
        (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
        (func (export "load_far") (param i32) (result i32) (i32.load offset=0xffffffff (local.get 0)))
        (func (export "store") (param i32) (result i32) (i32.store8 (local.get 0) (i32.const 0)) (i32.const 1))
        (func (export "vector") (param i32) (result i32) (i32x4.extract_lane 0 (v128.load (local.get 0))))
        (func (export "div") (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
        (func (export "rem") (param i32 i32) (result i32) (i32.rem_u (local.get 0) (local.get 1)))
        (func (export "trunc") (param i32) (result i32) (i32.trunc_f32_s (f32.reinterpret_i32 (local.get 0))))
        (func (export "indirect") (param i32) (result i32) (call_indirect $t (type $one) (local.get 0)))
        (func (export "wrong") (param i32) (result i32) (call_indirect $t (type $two) (i32.const 0) (local.get 0)))
        (func (export "fill") (param i32 i32) (result i32) (memory.fill (local.get 0) (i32.const 0) (local.get 1)) (i32.const 1))
        (func (export "copy") (param i32 i32) (result i32) (memory.copy (local.get 0) (i32.const 0) (local.get 1)) (i32.const 1))
        (func (export "get") (param i32) (result i32) (ref.is_null (table.get $t (local.get 0)))))"#;
    use TrapCode::*;
    let cases: &[(&str, &[i32], std::result::Result<i32, TrapCode>)] = &[
        ("one", &[], Ok(1)),
        ("unreachable", &[], Err(Unreachable)),
        ("load", &[0xfffc], Ok(0)),
        ("load", &[0xfffd], Err(MemoryOutOfBounds)),
        ("load", &[-4], Err(MemoryOutOfBounds)),
        ("load", &[i32::MIN], Err(MemoryOutOfBounds)),
        ("load_far", &[-1], Err(MemoryOutOfBounds)),
        ("load_far", &[0], Err(MemoryOutOfBounds)),
        ("store", &[0x10000], Err(MemoryOutOfBounds)),
        ("store", &[0xffff], Ok(1)),
        ("vector", &[0xfff1], Err(MemoryOutOfBounds)),
        ("div", &[7, 2], Ok(3)),
        ("div", &[1, 0], Err(IntegerDivisionByZero)),
        ("div", &[i32::MIN, -1], Err(IntegerOverflow)),
        ("rem", &[1, 0], Err(IntegerDivisionByZero)),
        ("trunc", &[0x7fc0_0000], Err(BadConversionToInteger)),
        ("trunc", &[0x7f00_0000], Err(IntegerOverflow)),
        ("trunc", &[0x4000_0000], Ok(2)),
        ("indirect", &[0], Ok(1)),
        ("indirect", &[1], Err(IndirectCallToNull)),
        ("indirect", &[4], Err(UndefinedElement)),
        ("indirect", &[-1], Err(UndefinedElement)),
        ("wrong", &[0], Err(BadSignature)),
        ("fill", &[0xffff, 1], Ok(1)),
        ("fill", &[0xffff, 2], Err(MemoryOutOfBounds)),
        ("copy", &[0xffff, 2], Err(MemoryOutOfBounds)),
        ("get", &[1], Ok(1)),
        ("get", &[4], Err(TableOutOfBounds)),
    ];
    for tier in Tier::ALL {
        let engine = engine(tier);
        let mut store = Store::new(&engine, ());
        let instance = instance(&mut store, WAT);
        for round in 0..2 {
            for (name, args, expected) in cases {
                let result = call(&mut store, &instance, name, args);
                match expected {
                    Ok(v) => assert_eq!(result.unwrap_or_else(|e| panic!("{tier:?} {name}{args:?}: {e:?}")), *v, "{name}{args:?}"),
                    Err(code) => {
                        let trap = trap(result);
                        assert_eq!(trap.code(), *code, "{tier:?} {name}{args:?}, round {round}");
                        assert_eq!(frames(&trap), [name.to_string()], "{tier:?}");
                    }
                }
            }
        }
    }
}

/// Recursion without end is a trap on every tier and across tiers, again and again, on small stacks and large ones.
#[test]
fn the_stack_overflows_as_a_trap() {
    const WAT: &str = r#"(module
        (import "host" "again" (func $again))
        (func $c (export "c") call $c)
        (func $c_large (export "c_large") (local v128 v128 v128 v128) call $c_large
            (i32.store (i32.const 0) (i32x4.extract_lane 0 (local.get 0))))
        (func $c_many (export "c_many") (param i64 i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i64)
            (i64.add (local.get 9)
                (call $c_many (local.get 9) (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5)
                    (local.get 6) (local.get 7) (local.get 8))))
        (func (export "c_many_start") (drop (call $c_many (i64.const 1) (i64.const 1) (i64.const 1) (i64.const 1) (i64.const 1)
            (i64.const 1) (i64.const 1) (i64.const 1) (i64.const 1) (i64.const 1))))
        (func $c_grow (export "c_grow") (drop (memory.grow (i32.const 0))) call $c_grow)
        (func $c_round (export "c_round") (param f64) (result f64) (f64.add (f64.nearest (local.get 0)) (call $c_round (local.get 0))))
        (func (export "c_round_start") (drop (call $c_round (f64.const 1.5))))
        (func $i (export "i") call $i)
        (func $c_mutual (export "c_mutual") call $i_mutual)
        (func $i_mutual (export "i_mutual") call $c_mutual)
        (func $c_host (export "c_host") call $again)
        (func $i_host (export "i_host") call $again)
        (memory 1))"#;
    let names = ["c", "c_large", "c_many_start", "c_grow", "c_round_start", "i", "c_mutual", "i_mutual", "c_host", "i_host"];
    for stack in [64 << 10, 1 << 20, 8 << 20] {
        let jit = || std::sync::Arc::new(wasmc_compiler::Jit::default());
        let interpreted = ["i", "i_mutual", "i_host"].map(|n| wasmc_compiler::Interpret::Name(n.to_owned()));
        for config in [
            config(Tier::Interpreted),
            config(Tier::Compiled),
            config(Tier::Mixed),
            config(Tier::Auto),
            wasmc_runtime::Config::new().compiler(jit()).interpret(interpreted.to_vec()),
        ] {
            let engine = wasmc_runtime::Engine::new(config.stack_size(stack)).unwrap();
            let mut store = Store::new(&engine, None::<&'static str>);
            let module = module(&engine, WAT);
            let mut linker = Linker::new(&engine);
            // The host calls whatever function the test is about.
            linker
                .func_wrap("host", "again", |mut caller: Caller<'_, Option<&'static str>>| -> Result<()> {
                    let name = caller.data().unwrap_or("c");
                    let Some(Extern::Func(f)) = caller.get_export(name) else { panic!("no {name}") };
                    f.typed::<(), ()>(&mut caller)?.call(&mut caller, ())
                })
                .unwrap();
            let instance = linker.instantiate(&mut store, &module).unwrap();
            for _ in 0..2 {
                for name in names {
                    *store.data_mut() = Some(name);
                    let f = instance.get_typed_func::<(), ()>(&mut store, name).unwrap();
                    let trap = trap(f.call(&mut store, ()));
                    assert_eq!(trap.code(), TrapCode::StackOverflow, "{name} with {stack}");
                    // The host's frames are larger than wasm's, so that fewer fit.
                    let least = if name.ends_with("_host") { 20 } else { 90 };
                    assert!(trap.backtrace().frames().len() >= least, "{name} with {stack}: {trap}");
                }
            }
        }
    }
}

/// As much recursion as the stack has room for works.
#[test]
fn deep_recursion_that_fits() {
    const WAT: &str = r#"(module
        (func $down (export "down") (param i32) (result i32)
            (if (result i32) (local.get 0) (then (i32.add (i32.const 1) (call $down (i32.sub (local.get 0) (i32.const 1)))))
                (else (i32.const 0)))))"#;
    for tier in Tier::ALL {
        let mut store = Store::new(&engine(tier), ());
        let instance = instance(&mut store, WAT);
        assert_eq!(call(&mut store, &instance, "down", &[30_000]).unwrap(), 30_000, "{tier:?}");
    }
}

/// A backtrace has the frames of both tiers in order, through the host and through tail calls.
#[test]
fn backtraces_over_both_tiers() {
    const WAT: &str = r#"(module $traces
        (import "host" "call_back" (func $call_back))
        (func $i_bottom (export "i_bottom") unreachable)
        (func $c_mid (export "c_mid") call $i_bottom)
        (func $c_before (export "c_before") (return_call $c_mid))
        (func $i_before (export "i_before") call $c_before)
        (func $c_host (export "c_host") call $call_back)
        (func $i_top (export "i_top") call $c_host)
        (func $c_top (export "c_top") call $i_top))"#;
    for engine in [
        engine_without(&["i_bottom", "i_before", "i_top"]),
        engine(Tier::Interpreted),
        engine(Tier::Compiled),
        engine(Tier::Mixed),
        engine(Tier::Auto),
    ] {
        let module = module(&engine, WAT);
        let mut store = Store::new(&engine, ());
        let mut linker = Linker::new(&engine);
        linker
            .func_wrap("host", "call_back", |mut caller: Caller<'_, ()>| -> Result<()> {
                let Some(Extern::Func(f)) = caller.get_export("i_before") else { panic!("no export") };
                f.typed::<(), ()>(&mut caller)?.call(&mut caller, ())
            })
            .unwrap();
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let top = instance.get_typed_func::<(), ()>(&mut store, "c_top").unwrap();
        let trap = trap(top.call(&mut store, ()));
        assert_eq!(trap.code(), TrapCode::Unreachable);
        // `c_before` is gone: it left its place to `c_mid`.
        assert_eq!(frames(&trap), ["i_bottom", "c_mid", "i_before", "c_host", "i_top", "c_top"]);
        assert!(!trap.backtrace().is_truncated());
        // The offsets point at the instruction: `unreachable` is 0x00, `call` 0x10.
        let wasm = wat::parse_str(WAT).unwrap();
        let ops: Vec<u8> = trap
            .backtrace()
            .frames()
            .iter()
            .map(|f| wasm[f.module_offset().unwrap_or_else(|| panic!("no offset: {trap}")) as usize])
            .collect();
        assert_eq!(ops, [0x00, 0x10, 0x10, 0x10, 0x10, 0x10], "{trap}");
        let text = trap.to_string();
        assert!(text.starts_with("wasm trap: unreachable\nwasm backtrace:\n    0:"), "{text}");
        assert!(text.contains("traces!c_mid"), "{text}");
    }
}

/// The instruction that a backtrace names is the same on every tier, also where the optimiser would like to trap at the
/// branch that leads to it.
#[test]
fn the_same_instruction_on_every_tier() {
    const WAT: &str = r#"(module (memory 1) (table 2 funcref) (table $empty 0 funcref)
        (func (export "if") (param i32) (if (local.get 0) (then unreachable)))
        (func (export "else") (param i32) (if (i32.eqz (local.get 0)) (then nop) (else unreachable)))
        (func (export "br_if") (param i32) (block (br_if 0 (i32.eqz (local.get 0))) unreachable))
        (func (export "br_table") (param i32) (block (block (br_table 0 1 (local.get 0))) (return)) unreachable)
        (func (export "after_a_constant") (param i32) (if (local.get 0) (then (drop (i32.add (local.get 0) (i32.const 1))) unreachable)))
        (func (export "divide") (param i32) (if (local.get 0) (then (drop (i32.div_u (i32.const 1) (i32.sub (local.get 0) (local.get 0)))))))
        (func (export "load") (param i32) (if (local.get 0) (then (drop (i32.load offset=65533 (local.get 0))))))
        (func (export "null") (param i32) (if (local.get 0) (then (call_indirect (local.get 0)))))
        (func (export "empty") (param i32) (if (local.get 0) (then (call_indirect $empty (local.get 0)))))
        (func (export "empty_tail") (param i32) (br_if 0 (i32.eqz (local.get 0))) (return_call_indirect $empty (local.get 0)))
        (func (export "loop") (param i32) (loop (if (i32.eqz (local.get 0)) (then unreachable)) (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br 0))))"#;
    let names = ["if", "else", "br_if", "br_table", "after_a_constant", "divide", "load", "null", "empty", "empty_tail", "loop"];
    let offsets = |tier: Tier| {
        let mut store = Store::new(&engine(tier), ());
        let instance = instance(&mut store, WAT);
        names.map(|name| {
            let f = instance.get_typed_func::<i32, ()>(&mut store, name).unwrap();
            let trap = trap(f.call(&mut store, 1));
            trap.backtrace().frames()[0].module_offset().unwrap_or_else(|| panic!("{tier:?}: {name}: {trap}"))
        })
    };
    let interpreted = offsets(Tier::Interpreted);
    assert_eq!(offsets(Tier::Compiled), interpreted);
    assert_eq!(offsets(Tier::Mixed), interpreted);
    assert_eq!(offsets(Tier::Auto), interpreted);
}

/// A trap in the prologue of a function has its caller in the backtrace.
#[test]
fn overflow_in_a_prologue_has_its_caller() {
    const WAT: &str = r#"(module
        (func $a (export "a") (param i64) (result i64) (i64.add (local.get 0) (call $b (local.get 0))))
        (func $b (param i64) (result i64) (i64.mul (local.get 0) (call $a (local.get 0)))))"#;
    let mut store = Store::new(&engine(Tier::Compiled), ());
    let instance = instance(&mut store, WAT);
    let a = instance.get_typed_func::<i64, i64>(&mut store, "a").unwrap();
    // Stacks of several depths, so that the fault comes at several places.
    for _ in 0..2 {
        let trap = trap(a.call(&mut store, 1));
        let indices: Vec<u32> = trap.backtrace().frames().iter().map(|f| f.func_index()).collect();
        assert!(indices.len() > 50 && indices.windows(2).all(|w| w[0] != w[1]), "{indices:?}");
    }
}

/// A mapped artifact that shrinks while it runs: a trap, if the page is wasm code's, and no crash.
#[test]
fn an_artifact_that_changes_while_it_runs() {
    // 1 MiB of initial memory, of which the program has touched nothing when the file loses its end.
    let data = "\\01".repeat(1 << 20);
    let wat = format!(
        r#"(module (memory 32) (data (i32.const 0) "{data}")
            (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0))))"#
    );
    let wasm = wat::parse_str(&wat).unwrap();
    let artifact = wasmc_compiler::compile_to_artifact(&wasm, &wasmc_compiler::CompileOptions::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("module.so");
    artifact.write_artifact(&path).unwrap();
    let engine = engine(Tier::Interpreted);
    // SAFETY: the artifact was made here; that it changes is what the test is about.
    let module = unsafe { Module::from_artifact(&engine, &path) }.unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    assert_eq!(call(&mut store, &instance, "load", &[0]).unwrap(), 1);
    let image = artifact.meta.images[0].expect("an image of the memory");
    assert!(image.size >= 1 << 20);
    // Everything from the middle of the image on goes away; the sections behind it are not needed any more.
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let position = artifact.bytes.windows(1 << 19).position(|w| w.iter().all(|b| *b == 1)).expect("the image in the file");
    file.set_len(position as u64 + (1 << 19)).unwrap();
    for _ in 0..2 {
        assert_eq!(trap(call(&mut store, &instance, "load", &[(1 << 20) - 1])).code(), TrapCode::ArtifactChanged);
        assert_eq!(call(&mut store, &instance, "load", &[1]).unwrap(), 1);
        assert_eq!(trap(call(&mut store, &instance, "load", &[-1])).code(), TrapCode::MemoryOutOfBounds);
    }
}

/// A fault of the host is not taken for wasm's, also while wasm code is below: the process dies by the signal.
#[test]
fn a_fault_of_the_host_stays_a_fault() {
    use std::os::unix::process::ExitStatusExt;
    if std::env::var_os("WASMC_TEST_FAULT").is_some() {
        let engine = engine(Tier::Compiled);
        let module = module(&engine, r#"(module (import "host" "fault" (func $f)) (func (export "run") call $f))"#);
        let mut store = Store::new(&engine, ());
        let mut linker = Linker::new(&engine);
        linker
            .func_wrap("host", "fault", || {
                let nowhere = std::hint::black_box(std::ptr::without_provenance_mut::<u8>(0x1000));
                // SAFETY: it is not: the test is about what happens then.
                unsafe { nowhere.write_volatile(1) };
            })
            .unwrap();
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let _ = instance.get_typed_func::<(), ()>(&mut store, "run").unwrap().call(&mut store, ());
        std::process::exit(0);
    }
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_fault_of_the_host_stays_a_fault", "--nocapture"])
        .env("WASMC_TEST_FAULT", "1")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(11), "{status:?}");
}

/// A panic of a host function reaches the embedder as an error, whatever frames are in between.
#[test]
fn panics_of_host_functions_are_errors() {
    for tier in Tier::ALL {
        let engine = engine(tier);
        let module = module(&engine, r#"(module (import "host" "f" (func $f)) (func (export "run") call $f) (func (export "ok")))"#);
        let mut store = Store::new(&engine, ());
        let mut linker = Linker::new(&engine);
        linker.func_wrap("host", "f", || -> () { panic!("on purpose") }).unwrap();
        let instance = linker.instantiate(&mut store, &module).unwrap();
        for _ in 0..2 {
            let error = instance.get_typed_func::<(), ()>(&mut store, "run").unwrap().call(&mut store, ()).unwrap_err();
            assert!(format!("{error:?}").contains("on purpose"), "{error:?}");
            instance.get_typed_func::<(), ()>(&mut store, "ok").unwrap().call(&mut store, ()).unwrap();
        }
    }
}

/// Stores of different threads trap at the same time.
#[test]
fn traps_on_many_threads() {
    let engine = engine(Tier::Compiled);
    let module: Module = module(
        &engine,
        r#"(module (memory 1)
            (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
            (func $f (export "deep") (param i32) (result i32) (call $f (local.get 0))))"#,
    );
    std::thread::scope(|scope| {
        for t in 0..8 {
            let (engine, module) = (&engine, &module);
            scope.spawn(move || {
                for i in 0..50 {
                    let mut store = Store::new(engine, ());
                    let instance = Instance::new(&mut store, module, &[]).unwrap();
                    let (name, code) =
                        if (t + i) % 4 == 0 { ("deep", TrapCode::StackOverflow) } else { ("load", TrapCode::MemoryOutOfBounds) };
                    assert_eq!(trap(call(&mut store, &instance, name, &[-8])).code(), code);
                }
            });
        }
    });
}

/// A host function of one store runs wasm code of another: each trap lands in its own store.
#[test]
fn stores_inside_stores() {
    for tier in Tier::ALL {
        let engine = engine(tier);
        let inner = module(&engine, r#"(module (memory 1) (func (export "load") (param i32) (result i32) (i32.load (local.get 0))))"#);
        let outer = module(
            &engine,
            r#"(module (import "host" "inner" (func $inner (param i32) (result i32))) (memory 1)
                (func (export "run") (param i32) (result i32)
                    (i32.add (call $inner (local.get 0)) (i32.load (i32.sub (i32.const 0x20000) (local.get 0))))))"#,
        );
        let mut store = Store::new(&engine, ());
        let mut linker = Linker::new(&engine);
        let for_host = engine.clone();
        linker
            .func_wrap("host", "inner", move |at: i32| -> i32 {
                let mut store = Store::new(&for_host, ());
                let instance = Instance::new(&mut store, &inner, &[]).unwrap();
                match call(&mut store, &instance, "load", &[at]) {
                    Ok(v) => v,
                    Err(e) => {
                        assert_eq!(trap(Err::<i32, _>(e)).code(), TrapCode::MemoryOutOfBounds);
                        7
                    }
                }
            })
            .unwrap();
        let instance = linker.instantiate(&mut store, &outer).unwrap();
        assert_eq!(call(&mut store, &instance, "run", &[0x1fff0]).unwrap(), 7);
        assert_eq!(trap(call(&mut store, &instance, "run", &[0])).code(), TrapCode::MemoryOutOfBounds);
        assert_eq!(call(&mut store, &instance, "run", &[0x1fff0]).unwrap(), 7);
    }
}
