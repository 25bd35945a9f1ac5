//! Named modules and their registry, on every tier: any order, circles, names, what is left after a failure, and that nothing
//! an instance uses goes before it does. And calls that are read from standard input.

mod common;

use common::{func, module, on_every_tier};
use std::io::Write;
use std::process::Stdio;
use wasmc_runtime::*;
use wasmc_tests::{command, wasmc};

const A: &str = r#"(module
    (import "host" "log" (func $log (param i32)))
    (global $n (export "n") (mut i32) (i32.const 0))
    (memory (export "memory") 1)
    (table (export "table") 2 funcref)
    (func (export "_initialize") (call $log (i32.const 1)))
    (func (export "next") (result i32) (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n)))"#;
const B: &str = r#"(module
    (import "host" "log" (func $log (param i32)))
    (import "a" "next" (func $next (result i32)))
    (import "a" "memory" (memory 1))
    (import "a" "table" (table 2 funcref))
    (elem (i32.const 1) $ten)
    (func $ten (result i32) i32.const 10)
    (func (export "_initialize") (call $log (i32.const 2)))
    (func (export "store") (i32.store (i32.const 8) (call $next))))"#;
const C: &str = r#"(module
    (import "host" "log" (func $log (param i32)))
    (import "b" "store" (func $store))
    (import "a" "memory" (memory 1))
    (import "a" "table" (table 2 funcref))
    (func (export "_initialize") (call $log (i32.const 3)))
    (func (export "run") (result i32)
        (call $store)
        (i32.add (i32.load (i32.const 8)) (call_indirect (result i32) (i32.const 1)))))"#;

fn linker(engine: &Engine) -> Linker<Vec<i32>> {
    let mut linker = Linker::new(engine);
    linker.func_wrap("host", "log", |mut caller: Caller<'_, Vec<i32>>, n: i32| caller.data_mut().push(n)).unwrap();
    linker
}

#[test]
fn any_order_will_do() {
    on_every_tier(|engine| {
        let [a, b, c] = [A, B, C].map(|text| module(engine, text));
        let named = [("a", &a), ("b", &b), ("c", &c)];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut store = Store::new(engine, Vec::new());
            let mut linker = linker(engine);
            let instances = linker.modules(&mut store, &order.map(|i| named[i])).unwrap();
            assert_eq!(*store.data(), [1, 2, 3], "{order:?}");
            let run = func::<_, (), i32>(&mut store, linker.get_instance("c").unwrap(), "run");
            assert_eq!((run.call(&mut store, ()).unwrap(), run.call(&mut store, ()).unwrap()), (11, 12));
            let names: Vec<&str> = linker.instances().map(|(name, _)| name).collect();
            assert_eq!(names, ["a", "b", "c"]);
            let given = order.map(|i| linker.get_instance(named[i].0).unwrap());
            assert_eq!(instances, given);
        }
    });
}

#[test]
fn circles_and_names() {
    on_every_tier(|engine| {
        let a = module(engine, r#"(module (import "b" "g" (func (param i64))) (start $s) (func $s unreachable) (func (export "f")))"#);
        let b = module(engine, r#"(module (import "c" "h" (func)) (func (export "g") (param i64)))"#);
        let c = module(engine, r#"(module (import "a" "f" (func)) (func (export "h")))"#);
        let free = module(engine, r#"(module (func (export "f") (result i32) i32.const 1) (start $s) (func $s unreachable))"#);
        let mut store = Store::new(engine, Vec::new());
        let mut linker = linker(engine);
        let error = linker.modules(&mut store, &[("x", &free), ("c", &c), ("b", &b), ("a", &a)]).unwrap_err();
        let circle = error.downcast_ref::<ImportCircle>().expect("a circle");
        let links: Vec<_> =
            circle.links().iter().map(|l| (l.importer(), l.from(), l.imports().map(|(n, _)| n).collect::<Vec<_>>())).collect();
        assert_eq!(links, [("c", "a", vec!["f"]), ("a", "b", vec!["g"]), ("b", "c", vec!["h"])]);
        assert!(error.to_string().contains("`a` imports from `b` `g` (function (i64) -> ())"), "{error}");

        let taken = |error: Error| error.downcast_ref::<NameTaken>().map(|t| (t.name().to_owned(), t.by())).expect("a taken name");
        let error = linker.modules(&mut store, &[("x", &free), ("x", &free)]).unwrap_err();
        assert_eq!(taken(error), ("x".into(), NameOwner::Sibling));
        let error = linker.modules(&mut store, &[("host", &free)]).unwrap_err();
        assert_eq!(taken(error), ("host".into(), NameOwner::Host));
        assert_eq!(linker.instances().len(), 0, "nothing was instantiated, or the start functions would have trapped");

        let empty = module(engine, "(module)");
        linker.module(&mut store, "lib", &empty).unwrap();
        let again = linker.modules(&mut store, &[("lib", &empty)]).unwrap_err();
        assert_eq!(taken(again), ("lib".into(), NameOwner::Instance));
        let clash = module(engine, r#"(module (func (export "log")) (func $s unreachable) (start $s))"#);
        let error = linker.module(&mut store, "host", &clash).unwrap_err();
        assert!(error.to_string().starts_with("`host`.`log` is defined twice"), "before it runs: {error:?}");
        assert_eq!(taken(linker.module(&mut store, "lib", &free).unwrap_err()), ("lib".into(), NameOwner::Instance));
        let instance = linker.get_instance("lib").unwrap();
        assert_eq!(taken(linker.instance(&mut store, "lib", instance).unwrap_err()), ("lib".into(), NameOwner::Instance));
        // A conflict within leaves nothing behind either.
        let clash = module(engine, r#"(module (func (export "other")) (func (export "log")))"#);
        let clash = linker.instantiate(&mut store, &clash).unwrap();
        assert!(linker.instance(&mut store, "host", clash).is_err());
        assert!(!linker.is_defined("host", "other") && linker.get_instance("host").is_none());

        let odd = module(engine, r#"(module (func (export "_initialize") (param i32)))"#);
        let error = linker.modules(&mut store, &[("odd", &odd)]).unwrap_err();
        assert!(error.downcast_ref::<InvalidInitialize>().is_some(), "{error:?}");
    });
}

#[test]
fn missing_imports_are_known_before_anything_runs() {
    on_every_tier(|engine| {
        let text =
            r#"(module $user (import "lib" "ad" (func (param i32))) (import "lib" "add" (func (param i64))) (import "libs" "add" (func)))"#;
        let user = module(engine, text);
        let lib = module(engine, r#"(module (func (export "add") (param i32)) (start $s) (func $s unreachable))"#);
        let store = &mut Store::new(engine, Vec::new());
        let mut linker = linker(engine);
        let missing = linker.missing_imports(&*store, &[("lib", &lib)], &user);
        let texts: Vec<String> = missing.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "unknown import: `lib`.`ad` (function (i32) -> ()), imported by `user`, is not defined; there is `lib`.`add` (function (i32) -> ())",
                "unknown import: `libs`.`add` (function () -> ()), imported by `user`, is not defined; there is `lib`.`add` (function (i32) -> ())",
            ]
        );
        assert_eq!((missing[0].module_known(), missing[1].module_known()), (true, false));
        assert_eq!(missing[0].importer(), Some("user"));
        let error = linker.modules(&mut *store, &[("user", &user), ("lib", &lib)]).unwrap_err();
        assert!(error.is::<UnknownImport>(), "not the trap of the start function: {error:?}");
        // Another type is found before anything runs, too, as far as types are known then.
        let exports = r#"(module (func $f (export "f") (param i32)) (tag (export "t") (param i32))
            (global (export "c") i32 (i32.const 0)) (global (export "m") (mut i32) (i32.const 0)) (global (export "r") (ref func) (ref.func $f))
            (table (export "table") 2 funcref) (memory (export "memory") 1 2) (start $s) (func $s unreachable))"#;
        let exports = module(engine, exports);
        for wrong in [
            r#""e" "f" (func (param i64))"#,
            r#""e" "f" (global i32)"#,
            r#""e" "t" (tag (param i64))"#,
            r#""e" "c" (global (mut i32))"#,
            r#""e" "c" (global i64)"#,
            r#""e" "m" (global i32)"#,
            r#""e" "table" (table 1 externref)"#,
            r#""e" "memory" (memory i64 1)"#,
            r#""host" "log" (func (param i64))"#,
            r#""host" "log" (memory 1)"#,
        ] {
            let user = module(engine, &format!("(module (import {wrong}))"));
            let error = linker.modules(&mut *store, &[("user", &user), ("e", &exports)]).unwrap_err();
            assert!(error.is::<IncompatibleImport>(), "{wrong}: {error:?}");
        }
        for right in [
            r#""e" "f" (func (param i32))"#,
            r#""e" "t" (tag (param i32))"#,
            r#""e" "c" (global i32)"#,
            r#""e" "m" (global (mut i32))"#,
            r#""e" "r" (global funcref)"#,
            r#""e" "table" (table 9 funcref)"#,
            r#""e" "memory" (memory 9)"#,
            r#""host" "log" (func (param i32))"#,
        ] {
            let user = module(engine, &format!("(module (import {right}))"));
            linker.check_imports(&[("e", &exports)], &user).expect(right);
        }
        let foreign = Engine::new(Config::new().tier(Tier::Interpreted)).unwrap();
        let error = linker.modules(&mut *store, &[("foreign", &module(&foreign, "(module)"))]).unwrap_err();
        assert!(error.to_string().contains("another engine"), "{error}");
        // And where it is imported; both are printed.
        let lib = module(engine, r#"(module (func (export "add") (param i32)))"#);
        linker.module(&mut *store, "lib", &lib).unwrap();
        let user = module(engine, r#"(module $user (import "lib" "add" (func (param i64))))"#);
        let error = linker.instantiate(&mut *store, &user).unwrap_err().to_string();
        assert_eq!(
            error,
            "incompatible import type: `lib`.`add` must be a function (i64) -> (), but is a function (i32) -> () (imported by `user`)"
        );
    });
}

/// An instance keeps all that it uses, however little of it anybody else still holds.
#[test]
fn nothing_goes_before_those_who_use_it() {
    // Engine, modules and linker are dropped as early as can be.
    for (name, engine) in common::engines() {
        eprintln!("tier: {name}");
        let mut store = Store::new(&engine, Vec::new());
        let run = {
            let mut linker = linker(&engine);
            for (name, text) in [("a", A), ("b", B), ("c", C)] {
                linker.module(&mut store, name, &module(&engine, text)).unwrap();
            }
            drop(engine);
            let last = linker.get_instance("c").unwrap();
            func::<_, (), i32>(&mut store, last, "run")
        };
        // What was freed would be used again by these.
        let other = Engine::new(Config::new().tier(Tier::Interpreted)).unwrap();
        let _rooms: Vec<Module> = (0..8).map(|_| module(&other, A)).collect();
        assert_eq!((run.call(&mut store, ()).unwrap(), run.call(&mut store, ()).unwrap()), (11, 12));
    }
    // A linker that outlives its store has names for what is gone: using them is an error, not an access.
    on_every_tier(|engine| {
        let mut linker = linker(engine);
        let mut gone = Store::new(engine, Vec::new());
        linker.module(&mut gone, "a", &module(engine, A)).unwrap();
        drop(gone);
        let mut store = Store::new(engine, Vec::new());
        let error = linker.instantiate(&mut store, &module(engine, B)).unwrap_err();
        assert!(format!("{error:#}").contains("belongs to another store"), "{error:#}");
        let similar = module(engine, r#"(module (import "a" "nex" (func)))"#);
        let error = linker.instantiate(&mut store, &similar).unwrap_err().to_string();
        assert!(error.ends_with("there is `a`.`next`"), "the type of what is gone is not known: {error}");
        // With the engine gone, too, only names are left.
        let pre = linker.instantiate_pre(&module(engine, C)).expect_err("`b` is not defined").to_string();
        assert!(pre.contains("`b`.`store`"), "{pre}");
    });
}

/// An instance whose instantiation failed at its last step may be in use by others; it and what it uses stay with the store.
#[test]
fn a_trap_in_a_start_function_leaves_what_others_hold() {
    on_every_tier(|engine| {
        let mut store = Store::new(engine, Vec::new());
        let mut linker = linker(engine);
        linker.module(&mut store, "a", &module(engine, A)).unwrap();
        let failing = r#"(module (import "a" "table" (table 2 funcref)) (import "a" "next" (func $next (result i32)))
            (elem (i32.const 0) $f) (func $f (result i32) (call $next)) (start $s) (func $s unreachable))"#;
        assert!(linker.module(&mut store, "failing", &module(engine, failing)).is_err());
        assert!(linker.get_instance("failing").is_none());
        let user = r#"(module (import "a" "table" (table 2 funcref))
            (func (export "run") (result i32) (call_indirect (result i32) (i32.const 0))))"#;
        let user = linker.instantiate(&mut store, &module(engine, user)).unwrap();
        assert_eq!(func::<_, (), i32>(&mut store, user, "run").call(&mut store, ()).unwrap(), 1);
    });
}

/// Calls from standard input: state is kept, an error says which line it was, and the program does not see the input.
#[test]
fn calls_come_from_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.wat");
    let text = r#"(module
        (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (global $n (mut i32) (i32.const 0))
        (func (export "add") (param i32) (result i32)
            (global.set $n (i32.add (global.get $n) (local.get 0))) (global.get $n))
        (func (export "fail") unreachable)
        (func (export "read") (result i32 i32)
            (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 100))
            (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (i32.load (i32.const 8))))"#;
    std::fs::write(&file, text).unwrap();
    let run = |tier: &[&str], input: &[u8]| {
        let mut child = command(wasmc())
            .arg("run")
            .args(tier)
            .args(["--call", "-", "--call", "add 1000"])
            .arg(&file)
            .env("NO_COLOR", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may end before it has read all.
        let _ = child.stdin.take().unwrap().write_all(input);
        let out = child.wait_with_output().unwrap();
        (out.status.code(), String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap())
    };
    let artifact = dir.path().join("m.so");
    let compiled = command(wasmc()).args(["compile", "-q"]).arg(&file).arg("-o").arg(&artifact).status().unwrap();
    assert!(compiled.success());
    for tier in [&["--tier", "interpreted"][..], &["--tier", "compiled"], &["--interpret", "odd"]] {
        let (code, out, err) = run(tier, b"add 1\n\n  # a comment\nread\nadd 0x10");
        assert_eq!((code, out.as_str()), (Some(0), "add 1 -> 1\nread -> 0 0\nadd 0x10 -> 17\nadd 1000 -> 1017\n"), "{err}");
        let (code, out, err) = run(tier, b"add 1\nfail\nadd 1\n");
        assert_eq!((code, out.as_str()), (Some(134), "add 1 -> 1\n"));
        assert!(err.starts_with("trap: line 2 (`fail`): wasm trap: unreachable"), "{err}");
        let (code, out, err) = run(tier, b"add 1\n\nadd x\n");
        assert_eq!((code, out.as_str()), (Some(64), "add 1 -> 1\n"));
        assert!(err.starts_with("error: line 3 (`add x`): argument 1 is `x`, not of type i32"), "{err}");
    }
    for (input, code, text) in [
        (&b"add 1\n\xff\n"[..], 65, "line 2 of standard input is not UTF-8"),
        (&[b'a'; (1 << 20) + 2], 65, "line 1 of standard input is longer than"),
        (b"nosuch 'x\n", 64, "a quote is not closed"),
    ] {
        let (got, _, err) = run(&[], input);
        assert!(got == Some(code) && err.contains(text), "{got:?} {err}");
    }
    std::fs::copy(&artifact, &file).unwrap();
    assert_eq!(run(&[], b"add 5\n").1, "add 5 -> 5\nadd 1000 -> 1005\n");
}
