//! `Vm`: the stages of a program on every tier, with registered modules and WASI; and that a wrong order does not compile, for
//! the reasons that the documentation gives. Rustdoc compares those only in its nightly version, so they are compared here.

mod common;

use common::{engines, on_every_tier, trap};
use std::path::{Path, PathBuf};
use std::time::Duration;
use wasmc_runtime::*;
use wasmc_tests::{command, run, workspace};
use wasmc_wasi::{Output, OutputBuffer, WasiCtx, WasiCtxBuilder};

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("valid text")
}

const MATH: &str = r#"(module
    (global $calls (mut i32) (i32.const 0))
    (func (export "_initialize") (global.set $calls (i32.const 100)))
    (func (export "add") (param i32 i32) (result i32)
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (i32.add (local.get 0) (local.get 1)))
    (func (export "calls") (result i32) (global.get $calls))
    (memory (export "memory") 1))"#;

const USER: &str = r#"(module
    (import "math" "add" (func $add (param i32 i32) (result i32)))
    (import "host" "log" (func $log (param i32)))
    (func (export "run") (param i32) (result i32) (call $log (local.get 0)) (call $add (local.get 0) (i32.const 1)))
    (func (export "both") (result i32 f64) (i32.const 7) (f64.const 0.5))
    (func (export "fail") unreachable))"#;

fn names(functions: &[(String, FuncType)]) -> Vec<String> {
    functions.iter().map(|(name, ty)| format!("{name} {ty}")).collect()
}

#[test]
fn stages_on_every_tier() {
    on_every_tier(|engine| {
        let mut vm = Vm::new(engine, Vec::<i32>::new());
        vm.linker_mut().func_wrap("host", "log", |mut caller: Caller<'_, Vec<i32>>, n: i32| caller.data_mut().push(n)).unwrap();
        let loaded = vm.load(wasm(MATH)).unwrap();
        assert_eq!(loaded.declarations().exports.len(), 4);
        let math = loaded.validate().unwrap();
        assert_eq!(names(&math.functions()), ["_initialize () -> ()", "add (i32, i32) -> (i32)", "calls () -> (i32)"]);
        let user = vm.load(wasm(USER)).unwrap().validate().unwrap();
        // What is not there is an error of this stage, and the machine goes on.
        assert!(vm.instantiate(&user).unwrap_err().is::<UnknownImport>());
        vm.register("math", &math).unwrap();
        assert!(vm.register("math", &math).unwrap_err().is::<NameTaken>());
        assert_eq!(vm.registered().collect::<Vec<_>>(), ["math"]);
        assert_eq!(names(&vm.registered_functions("math").unwrap()).len(), 3);
        assert!(vm.registered_functions("nosuch").is_none());

        let mut running = vm.instantiate(&user).unwrap();
        assert_eq!(names(&running.functions()), ["run (i32) -> (i32)", "both () -> (i32, f64)", "fail () -> ()"]);
        assert_eq!(running.call::<i32, i32>("run", 5).unwrap(), 6);
        assert_eq!(running.run("run", &[Val::I32(-1)]).unwrap()[0].i32(), Some(0));
        let both = running.run("both", &[]).unwrap();
        assert_eq!((both[0].i32(), both[1].f64()), (Some(7), Some(0.5)));
        assert_eq!(trap(&running.run("fail", &[]).unwrap_err()), TrapCode::Unreachable);
        assert!(running.run("nosuch", &[]).unwrap_err().to_string().contains("no function `nosuch`"));
        assert!(running.run("run", &[]).is_err() && running.run("run", &[Val::I64(1)]).is_err());
        assert!(running.call::<i64, i32>("run", 5).is_err());
        assert!(running.start().unwrap_err().to_string().contains("_start"));
        let instance = running.instance();
        assert_eq!(*running.store_mut().data(), [5, -1]);

        assert_eq!(vm.run_registered("math", "calls", &[]).unwrap()[0].i32(), Some(102), "after `_initialize`");
        assert!(vm.run_registered("nosuch", "f", &[]).unwrap_err().to_string().contains("no module is registered as `nosuch`"));
        // An instance stays when its stage was left, and another one is apart from it.
        assert!(instance.get_func(vm.store_mut(), "run").is_some());
        let again = vm.instantiate(&user).unwrap().instance();
        assert_ne!(instance, again);
        assert_eq!(vm.run(wasm(r#"(module (func (export "f") (result i32) i32.const 3))"#), "f", &[]).unwrap()[0].i32(), Some(3));
        assert_eq!(vm.linker().instances().len(), 1);
    });
}

#[test]
fn registered_in_any_order() {
    on_every_tier(|engine| {
        let mut vm = Vm::new(engine, Vec::<i32>::new());
        vm.linker_mut().func_wrap("host", "log", |_: i32| {}).unwrap();
        let [math, user] = [MATH, USER].map(|text| vm.load(wasm(text)).unwrap().validate().unwrap());
        vm.register_all(&[("user", &user), ("math", &math)]).unwrap();
        assert_eq!(vm.run_registered("user", "run", &[Val::I32(1)]).unwrap()[0].i32(), Some(2));
    });
}

/// An asynchronous call takes the machine apart and gives it back; a cancelled one leaves a store that says so.
#[test]
fn machines_run_asynchronously() {
    on_every_tier(|engine| {
        let mut vm = Vm::new(engine, ());
        let math = vm.load(wasm(MATH)).unwrap().validate().unwrap();
        vm.register("math", &math).unwrap();
        let endless = wasm(
            r#"(module (import "math" "add" (func $add (param i32 i32) (result i32)))
            (func (export "run") (result i32) (call $add (i32.const 2) (i32.const 3))) (func (export "spin") (loop $l (br $l))))"#,
        );
        let endless = vm.load(endless).unwrap().validate().unwrap();
        let instance = vm.instantiate(&endless).unwrap().instance();
        let [run, spin] = ["run", "spin"].map(|name| instance.get_func(vm.store_mut(), name).unwrap());
        let (store, linker) = vm.into_parts();
        let (store, result) = run.call_async(store, vec![]).unwrap().get().unwrap();
        assert_eq!(result.unwrap()[0].i32(), Some(5));
        let mut vm = Vm::from_parts(store, linker).unwrap();
        assert_eq!(vm.run_registered("math", "calls", &[]).unwrap()[0].i32(), Some(101));
        let (store, linker) = vm.into_parts();
        let call = spin.call_async(store, vec![]).unwrap();
        assert!(!call.wait_for(Duration::from_millis(20)));
        call.cancel();
        let (store, result) = call.get().unwrap();
        assert_eq!(trap(&result.unwrap_err()), TrapCode::Interrupt);
        assert!(store.is_interrupted());
        let mut vm = Vm::from_parts(store, linker.clone()).unwrap();
        assert!(vm.run_registered("math", "calls", &[]).is_err() && vm.registered().len() == 1);
        assert!(Vm::from_parts(Store::new(engine, ()), linker).is_err(), "the linker belongs to another store");
    });
}

/// A valid module is made once, and used by any number of machines, on several threads and after one another.
#[test]
fn a_module_serves_many_machines() {
    on_every_tier(|engine| {
        let math = Vm::new(engine, ()).load(wasm(MATH)).unwrap().validate().unwrap();
        std::thread::scope(|scope| {
            for i in 0..4 {
                let math = &math;
                scope.spawn(move || {
                    for round in 0..3 {
                        let mut vm = Vm::new(engine, ());
                        vm.register("math", math).unwrap();
                        assert_eq!(vm.run_registered("math", "add", &[Val::I32(i), Val::I32(round)]).unwrap()[0].i32(), Some(i + round));
                        assert_eq!(vm.run_registered("math", "calls", &[]).unwrap()[0].i32(), Some(101), "its own state");
                    }
                });
            }
        });
    });
}

/// Each stage refuses what is its own to refuse.
#[test]
fn what_each_stage_refuses() {
    for (name, engine) in engines() {
        eprintln!("tier: {name}");
        let mut vm = Vm::new(&engine, ());
        for bytes in [&b""[..], b"\0asm", b"(module)", b"\x7fELF", &wasm(MATH)[..30]] {
            assert!(vm.load(bytes).is_err(), "{bytes:?}");
        }
        // Its declarations are right, its code is not.
        let mut bad = wasm(r#"(module (func (export "f") (result i32) i32.const 1))"#);
        let constant = bad.iter().rposition(|b| *b == 0x41).expect("the instruction");
        bad[constant] = 0x42;
        let loaded = vm.load(&bad).expect("the code is not looked at yet");
        assert!(loaded.validate().is_err());
        let traps = vm.load(wasm("(module (func $f unreachable) (start $f))")).unwrap().validate().unwrap();
        assert_eq!(trap(&vm.instantiate(&traps).unwrap_err()), TrapCode::Unreachable);
        // A module of another engine.
        let other = Vm::new(&Engine::new(Config::new().tier(Tier::Interpreted)).unwrap(), ());
        let foreign = other.load(wasm("(module)")).unwrap().validate().unwrap();
        assert!(vm.instantiate(&foreign).unwrap_err().to_string().contains("another engine"));
        assert!(vm.load_file("/nosuch").is_err());
    }
}

#[test]
fn artifacts_take_the_same_way() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("math.so");
    let out = wasmc_compiler::compile_to_artifact(&wasm(MATH), &wasmc_compiler::CompileOptions::default()).unwrap();
    out.write_artifact(&path).unwrap();
    let mut vm = Vm::new(&Engine::new(Config::new().tier(Tier::Interpreted)).unwrap(), Vec::<i32>::new());
    // SAFETY: the compiler just made it, and nobody changes it.
    let loaded = unsafe { vm.load_artifact(&path) }.unwrap();
    assert_eq!(loaded.declarations().exports.len(), 4);
    vm.register("math", &loaded.validate().unwrap()).unwrap();
    vm.linker_mut().func_wrap("host", "log", |_: i32| {}).unwrap();
    assert_eq!(vm.run(wasm(USER), "run", &[Val::I32(2)]).unwrap()[0].i32(), Some(3));
    assert!(vm.load_file(&path).unwrap_err().root_cause().to_string().contains("load_artifact"));
}

/// WASI is set up outside and comes in through the linker.
#[test]
fn programs_with_wasi() {
    on_every_tier(|engine| {
        let out = OutputBuffer::new(1 << 10);
        let mut builder = WasiCtxBuilder::new();
        builder.arg("program").stdout(Output::Capture(out.clone()));
        let mut vm = Vm::new(engine, builder.build().unwrap());
        wasmc_wasi::add_to_linker(vm.linker_mut(), |ctx: &mut WasiCtx| ctx).unwrap();
        let program = |end: &str| {
            wasm(&format!(
                r#"(module
                (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
                (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                (memory (export "memory") 1)
                (data (i32.const 0) "\08\00\00\00\03\00\00\00hi\n")
                (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16))) {end}))"#
            ))
        };
        for (end, status) in [("", 0), ("(call $exit (i32.const 3))", 3)] {
            let program = vm.load(program(end)).unwrap().validate().unwrap();
            assert_eq!(vm.instantiate(&program).unwrap().start().unwrap(), status);
        }
        let program = vm.load(program("unreachable")).unwrap().validate().unwrap();
        assert_eq!(trap(&vm.instantiate(&program).unwrap().start().unwrap_err()), TrapCode::Unreachable);
        assert_eq!(out.contents(), b"hi\nhi\nhi\n");
    });
}

/// The code blocks of the documentation: what stands behind the opening mark, and the code.
fn blocks(source: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in source.lines() {
        let Some(line) = line.strip_prefix("///") else { continue };
        let line = line.strip_prefix(' ').unwrap_or(line);
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(kind)) => open = Some((kind.to_owned(), String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some((_, code)), None) => {
                code.push_str(line.strip_prefix("# ").unwrap_or(line));
                code.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

/// The codes of the errors that a piece of code gives.
fn errors(dir: &Path, libraries: &[(&str, PathBuf)], code: &str) -> Vec<String> {
    let source = dir.join("snippet.rs");
    std::fs::write(&source, code).unwrap();
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut rustc = command(rustc);
    rustc.args(["--edition", "2024", "--crate-type", "lib", "--emit", "metadata", "--error-format", "json", "-L"]);
    rustc.arg(format!("dependency={}", deps().display())).arg("--out-dir").arg(dir).arg(&source);
    for (name, path) in libraries {
        rustc.arg("--extern").arg(format!("{name}={}", path.display()));
    }
    let outcome = run(&mut rustc, Duration::from_secs(120));
    let messages = outcome.stderr.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
    let errors = messages.filter(|m| m["level"] == "error");
    // The last one has no code: it says how many there were.
    errors
        .map(|m| m["code"]["code"].as_str().or(m["message"].as_str()).unwrap_or_default().to_owned())
        .filter(|e| !e.starts_with("aborting due to"))
        .collect()
}

/// Where the libraries are that this test is linked with.
fn deps() -> PathBuf {
    let mut path = std::env::current_exe().expect("a test knows its own path");
    path.pop();
    path
}

/// Builds of a library, the newest first: older ones may lie beside it.
fn builds(name: &str) -> Vec<PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(deps())
        .expect("the folder of this test")
        .flatten()
        .filter(|e| e.file_name().to_str().is_some_and(|n| n.starts_with(&format!("lib{name}-")) && n.ends_with(".rlib")))
        .filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path())))
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

#[test]
fn a_wrong_order_does_not_compile() {
    let source = std::fs::read_to_string(workspace().join("runtime/src/workflow.rs")).unwrap();
    let blocks = blocks(&source);
    let dir = tempfile::tempdir().unwrap();
    // What is right compiles, so that what is wrong fails for its own reason; this also finds the build that fits.
    let (right, wrong): (Vec<_>, Vec<_>) = blocks.iter().partition(|(kind, _)| kind.is_empty());
    assert!(right.len() == 1 && wrong.len() >= 6, "{blocks:?}");
    let mut seen = Vec::new();
    let libraries = builds("wasmc_runtime")
        .into_iter()
        .flat_map(|runtime| builds("wat").into_iter().map(move |wat| vec![("wasmc_runtime", runtime.clone()), ("wat", wat)]));
    let fits = libraries.into_iter().find(|libraries| {
        seen = errors(dir.path(), libraries, &right[0].1);
        seen.is_empty()
    });
    let Some(libraries) = fits else { panic!("the example does not compile: {seen:?}") };
    for (kind, code) in wrong {
        let expected = kind.strip_prefix("compile_fail,").unwrap_or_else(|| panic!("a block with `{kind}`"));
        assert_eq!(errors(dir.path(), &libraries, code), [expected], "{code}");
    }
}
