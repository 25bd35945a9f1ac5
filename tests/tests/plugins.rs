//! Plug-ins: the examples in C and Rust on every tier, directly, through tables and in tail calls; plug-ins that are refused,
//! each with its reason; what functions do wrong at run time; and the command line, with its exit codes.

mod common;

use common::{func, module, on_every_tier};
use std::fmt::Write as _;
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use wasmc_plugin::{Plugin, PluginError, PluginTrap};
use wasmc_plugin_abi as abi;
use wasmc_runtime::*;
use wasmc_tests::{Outcome, command, run, wasmc, workspace};

const LIMIT: Duration = Duration::from_secs(60);

/// Whether there is a C compiler; says so in one line if there is not.
fn have_cc() -> bool {
    let found = Command::new("cc").arg("--version").output().is_ok_and(|o| o.status.success());
    if !found {
        eprintln!("skipped: there is no C compiler");
    }
    found
}

fn cc(source: &Path, out: &Path, options: &[&str]) {
    let mut command = command("cc");
    command.args(["-O1", "-Wall", "-Wextra", "-Werror", "-I"]).arg(workspace().join("plugin/include"));
    let outcome = run(command.args(options).arg(source).arg("-o").arg(out), LIMIT);
    assert_eq!(outcome.code, Some(0), "{options:?}: {}", outcome.stderr);
}

fn library(source: &str, dir: &TempDir, name: &str, options: &[&str]) -> PathBuf {
    let out = dir.path().join(name);
    cc(&workspace().join(source), &out, &[&["-shared", "-fPIC"], options].concat());
    out
}

const TEXT: &str = "examples/plugin-c/text.c";
const ODD: &str = "tests/programs/plugins/odd.c";

/// The example in Rust, built as its comment says, but without optimisation.
fn dice() -> PathBuf {
    // Beside the tests' own files, so that it is built once.
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("plugin-rust");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = command(cargo);
    build.args(["build", "--quiet", "--offline", "--manifest-path"]).arg(workspace().join("examples/plugin-rust/Cargo.toml"));
    let outcome = run(build.arg("--target-dir").arg(&target), Duration::from_secs(300));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    target.join("debug/libdice.so")
}

fn load(path: &Path) -> Result<Plugin, PluginError> {
    // SAFETY: the tests' own plug-ins; what they do wrong is what is checked.
    unsafe { Plugin::load(path) }
}

fn linker<T: 'static>(engine: &Engine, plugins: &[&Plugin]) -> Linker<T> {
    let mut linker = Linker::new(engine);
    for plugin in plugins {
        plugin.add_to_linker(&mut linker).unwrap();
    }
    linker
}

fn plugin_trap(error: &Error) -> &PluginTrap {
    error.downcast_ref().unwrap_or_else(|| panic!("not an error of a plug-in: {error:?}"))
}

#[test]
fn the_example_in_c() {
    if !have_cc() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let plugin = load(&library(TEXT, &dir, "libtext.so", &[])).unwrap();
    wasmc_tests::maps::assert_none_is_writable_and_executable("self", "after a plug-in was loaded");
    assert_eq!((plugin.module(), plugin.version()), ("text", "1.0"));
    let functions: Vec<String> = plugin.functions().map(|(name, ty)| format!("{name} {ty}")).collect();
    assert_eq!(functions, ["upper (i32, i32) -> ()", "both (i64, f64) -> (f64, i64)", "count () -> (i32)"]);
    let mut calls = 0;
    let mut next = || {
        calls += 1;
        calls
    };
    let text = r#"(module
        (import "text" "upper" (func $upper (param i32 i32)))
        (import "text" "both" (func $both (param i64 f64) (result f64 i64)))
        (import "text" "count" (func $count (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 16) "hello, World")
        (table 3 funcref) (elem (i32.const 0) $upper $both $count)
        (func (export "upper") (param i32 i32) (call $upper (local.get 0) (local.get 1)))
        (func (export "both") (param i64 f64) (result f64 i64) (return_call $both (local.get 0) (local.get 1)))
        (func (export "indirect") (param i64 f64) (result f64 i64)
            (call_indirect (param i64 f64) (result f64 i64) (local.get 0) (local.get 1) (i32.const 1)))
        (func (export "tail") (result i32) (return_call_indirect (result i32) (i32.const 2)))
        (func (export "count") (result i32) (call $count))
        (export "itself" (func $count)))"#;
    let cell = std::cell::RefCell::new(&mut next);
    on_every_tier(|engine| {
        let mut store = Store::new(engine, ());
        let instance = linker(engine, &[&plugin]).instantiate(&mut store, &module(engine, text)).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let upper = func::<_, (i32, i32), ()>(&mut store, instance, "upper");
        upper.call(&mut store, (16, 7)).unwrap();
        assert_eq!(&memory.data(&store)[16..28], b"HELLO, World");
        memory.write(&mut store, 1000, &[b'x'; 600]).unwrap();
        upper.call(&mut store, (1000, 599)).unwrap();
        assert_eq!(memory.data(&store)[1000..1600], [[b'X'; 599].as_slice(), b"x"].concat());
        for (at, size) in [(65536, 1), (65535, 2), (-1, 1), (0, -1)] {
            let error = upper.call(&mut store, (at, size)).unwrap_err();
            let trap = plugin_trap(&error);
            assert_eq!((trap.module(), trap.function(), trap.message()), ("text", "upper", "the string is not in the memory"));
        }
        for name in ["both", "indirect"] {
            let both = func::<_, (i64, f64), (f64, i64)>(&mut store, instance, name);
            assert_eq!(both.call(&mut store, (3, 4.5)).unwrap(), (7.5, 4), "{name}");
            assert_eq!(both.call(&mut store, (-3, -4.5)).unwrap(), (-7.5, -3), "{name}");
        }
        for name in ["count", "tail", "itself"] {
            let count = func::<_, (), i32>(&mut store, instance, name);
            assert_eq!(count.call(&mut store, ()).unwrap(), (cell.borrow_mut())(), "{name}");
        }
    });
}

#[test]
fn the_example_in_rust() {
    let plugin = load(&dice()).unwrap();
    assert_eq!((plugin.module(), plugin.version(), plugin.functions().len()), ("dice", "0.1.0", 4));
    let text = r#"(module
        (import "dice" "seed" (func $seed (param i64)))
        (import "dice" "roll" (func $roll (param i32) (result i32)))
        (import "dice" "fill" (func $fill (param i32 i32)))
        (import "dice" "swap" (func $swap (param v128) (result v128)))
        (memory (export "memory") 1)
        (export "seed" (func $seed))
        (func (export "roll") (param i32) (result i32) (call $roll (local.get 0)))
        (func (export "fill") (param i32 i32) (call $fill (local.get 0) (local.get 1)))
        (func (export "swap") (param i64 i64) (result i64)
            (i64x2.extract_lane 1 (call $swap (i64x2.replace_lane 1 (i64x2.splat (local.get 0)) (local.get 1))))))"#;
    let mut seen: Vec<(Vec<i32>, Vec<u8>)> = Vec::new();
    let all = std::cell::RefCell::new(&mut seen);
    on_every_tier(|engine| {
        let mut store = Store::new(engine, ());
        let instance = linker(engine, &[&plugin]).instantiate(&mut store, &module(engine, text)).unwrap();
        func::<_, i64, ()>(&mut store, instance, "seed").call(&mut store, 42).unwrap();
        let roll = func::<_, i32, i32>(&mut store, instance, "roll");
        let rolls: Vec<i32> = (0..20).map(|_| roll.call(&mut store, 6).unwrap()).collect();
        assert!(rolls.iter().all(|r| (1..=6).contains(r)), "{rolls:?}");
        let fill = func::<_, (i32, i32), ()>(&mut store, instance, "fill");
        fill.call(&mut store, (100, 64)).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        all.borrow_mut().push((rolls, memory.data(&store)[90..180].to_vec()));
        // A panic stays in the plug-in, and the store goes on.
        let error = roll.call(&mut store, 0).unwrap_err();
        assert!(plugin_trap(&error).message().starts_with("panicked: attempt to calculate the remainder"), "{error}");
        let error = fill.call(&mut store, (65530, 64)).unwrap_err();
        assert_eq!(plugin_trap(&error).message(), "64 bytes at 0xfffa are outside the program's memory");
        assert_eq!(plugin_trap(&fill.call(&mut store, (0, -1)).unwrap_err()).message(), "4294967295 bytes are more than the memory has");
        assert!((1..=6).contains(&roll.call(&mut store, 6).unwrap()));
        let swap = func::<_, (i64, i64), i64>(&mut store, instance, "swap");
        assert_eq!(swap.call(&mut store, (-7, 9)).unwrap(), -7);
    });
    assert!(seen.windows(2).all(|w| w[0] == w[1]), "the tiers agree");
}

/// A function reached through another instance's table works on the memory of the instance that imported it.
#[test]
fn the_caller_is_the_importer() {
    if !have_cc() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let plugin = load(&library(TEXT, &dir, "libtext.so", &[])).unwrap();
    on_every_tier(|engine| {
        let mut store = Store::new(engine, ());
        let mut linker = linker(engine, &[&plugin]);
        let owner = r#"(module (import "text" "upper" (func $upper (param i32 i32)))
            (memory (export "memory") 1) (data (i32.const 0) "owner")
            (table (export "table") funcref (elem $upper)))"#;
        linker.module(&mut store, "owner", &module(engine, owner)).unwrap();
        let user = r#"(module (import "owner" "table" (table 1 funcref)) (memory (export "memory") 1) (data (i32.const 0) "user!")
            (func (export "run") (call_indirect (param i32 i32) (i32.const 0) (i32.const 5) (i32.const 0))))"#;
        let user = linker.instantiate(&mut store, &module(engine, user)).unwrap();
        func::<_, (), ()>(&mut store, user, "run").call(&mut store, ()).unwrap();
        let owner = linker.get_instance("owner").unwrap().get_memory(&mut store, "memory").unwrap();
        assert_eq!(&owner.data(&store)[..5], b"OWNER");
        assert_eq!(&user.get_memory(&mut store, "memory").unwrap().data(&store)[..5], b"user!");
        // The host that calls has no memory.
        let upper = linker.get(&mut store, "text", "upper").and_then(Extern::into_func).unwrap();
        assert!(upper.call(&mut store, &[Val::I32(0), Val::I32(1)], &mut []).is_err());
        upper.call(&mut store, &[Val::I32(0), Val::I32(0)], &mut []).unwrap();
    });
}

#[test]
fn what_functions_must_not_do() {
    if !have_cc() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let plugin = load(&library(ODD, &dir, "libodd.so", &[])).unwrap();
    let text = r#"(module
        (import "odd" "status" (func $status (param i32) (result i32)))
        (import "odd" "kind" (func $kind (param i32) (result i64)))
        (import "odd" "half" (func $half (result i32 i32)))
        (import "odd" "touch" (func $touch (param i64 i64) (result i32)))
        (import "odd" "mumble" (func $mumble))
        (memory (export "memory") 1)
        (func (export "status") (param i32) (result i32) (call $status (local.get 0)))
        (func (export "kind") (param i32) (result i64) (call $kind (local.get 0)))
        (func (export "half") (result i32 i32) (call $half))
        (func (export "touch") (param i64 i64) (result i32) (call $touch (local.get 0) (local.get 1)))
        (func (export "mumble") (call $mumble)))"#;
    on_every_tier(|engine| {
        let mut store = Store::new(engine, ());
        let instance = linker(engine, &[&plugin]).instantiate(&mut store, &module(engine, text)).unwrap();
        let status = func::<_, i32, i32>(&mut store, instance, "status");
        assert_eq!(status.call(&mut store, 0).unwrap(), 1);
        for (given, message) in [
            (1, "failed, and did not say why"),
            (2, "returned 2, which is neither WASMC_PLUGIN_OK nor WASMC_PLUGIN_ERROR"),
            (-5, "returned -5, which is neither WASMC_PLUGIN_OK nor WASMC_PLUGIN_ERROR"),
        ] {
            assert_eq!(plugin_trap(&status.call(&mut store, given).unwrap_err()).message(), message);
        }
        let kind = func::<_, i32, i64>(&mut store, instance, "kind");
        assert_eq!(kind.call(&mut store, abi::I64.into()).unwrap(), 5);
        for (code, message) in [
            (0, "result 0 was not set"),
            (i32::from(abi::F64), "result 0 has the type code 0x7c, but i64 is declared"),
            (0x70, "result 0 has the type code 0x70, but i64 is declared"),
        ] {
            assert_eq!(plugin_trap(&kind.call(&mut store, code).unwrap_err()).message(), message);
        }
        let half = func::<_, (), (i32, i32)>(&mut store, instance, "half");
        assert_eq!(plugin_trap(&half.call(&mut store, ()).unwrap_err()).message(), "result 1 was not set");
        let mumble = func::<_, (), ()>(&mut store, instance, "mumble");
        assert_eq!(plugin_trap(&mumble.call(&mut store, ()).unwrap_err()).message(), "caf\u{fffd}");
        let touch = func::<_, (i64, i64), i32>(&mut store, instance, "touch");
        let inside = [(0, 0), (0, 65536), (65536, 0), (65535, 1), (17, 4000)];
        let outside = [(0, 65537), (65536, 1), (65537, 0), (-1, 1), (-1, 0), (1, -1), (i64::MIN, 8), (0, i64::MAX), (0, i64::MIN)];
        for (i, (address, size)) in inside.into_iter().chain(outside).enumerate() {
            let expected = if i < inside.len() { 0 } else { 3 };
            assert_eq!(touch.call(&mut store, (address, size)).unwrap(), expected, "{size} bytes at {address}");
        }
    });
}

/// As many parameters and results as WebAssembly has, in registers and in memory.
#[test]
fn a_thousand_parameters_and_results() {
    if !have_cc() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let plugin = load(&library(ODD, &dir, "libmany.so", &["-DMANY"])).unwrap();
    let list = "i32 ".repeat(1000);
    let gets: String = (0..1000).map(|i| format!("(local.get {i})")).collect();
    let text = format!(
        r#"(module (type $many (func (param {list}) (result {list})))
            (import "odd" "sum" (func $sum (type $many)))
            (table funcref (elem $sum))
            (func (export "direct") (type $many) (call $sum {gets}))
            (func (export "tail") (type $many) (return_call $sum {gets}))
            (func (export "indirect") (type $many) (call_indirect (type $many) {gets} (i32.const 0))))"#
    );
    let args: Vec<Val> = (0..1000).map(|i| Val::I32(i * 7 - 3)).collect();
    let sum = (0..1000).map(|i: i32| (i + 1).wrapping_mul(i * 7 - 3)).fold(0, i32::wrapping_add);
    on_every_tier(|engine| {
        let mut store = Store::new(engine, ());
        let instance = linker(engine, &[&plugin]).instantiate(&mut store, &module(engine, &text)).unwrap();
        for name in ["direct", "tail", "indirect"] {
            let mut results = vec![Val::I32(0); 1000];
            instance.get_func(&mut store, name).unwrap().call(&mut store, &args, &mut results).unwrap();
            assert_eq!(results[0].i32(), Some(sum), "{name}");
            assert_eq!((results[1].i32(), results[999].i32()), (args[998].i32(), args[0].i32()), "{name}");
        }
    });
}

/// On memories that several threads use, and called by several at once.
#[test]
fn several_threads() {
    if !have_cc() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // A copy of its own, so that nobody else counts.
    let plugin = load(&library(TEXT, &dir, "libtext-threads.so", &[])).unwrap();
    on_every_tier(|engine| {
        let ty = MemoryType { limits: Limits { min: 1, max: Some(1) }, memory64: false, shared: true, page_size_log2: 16 };
        let memory = SharedMemory::new(engine, ty).unwrap();
        memory.write(0, &[b'a'; 4096]).unwrap();
        let text = r#"(module (import "env" "memory" (memory 1 1 shared)) (export "memory" (memory 0))
            (import "text" "upper" (func $upper (param i32 i32))) (import "text" "count" (func $count (result i32)))
            (func (export "run") (param i32) (result i32) (local $i i32) (local $sum i32)
                (loop $l
                    (call $upper (local.get 0) (i32.const 1024))
                    (local.set $sum (i32.add (local.get $sum) (i32.ne (call $count) (i32.const 0))))
                    (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 200))))
                (local.get $sum)))"#;
        let module = module(engine, text);
        let before = count(&plugin, engine);
        std::thread::scope(|scope| {
            for i in 0..4 {
                let (module, plugin, memory) = (&module, &plugin, memory.clone());
                scope.spawn(move || {
                    let mut linker = linker(engine, &[plugin]);
                    linker.define_shared_memory("env", "memory", memory).unwrap();
                    let mut store = Store::new(engine, ());
                    let instance = linker.instantiate(&mut store, module).unwrap();
                    assert_eq!(func::<_, i32, i32>(&mut store, instance, "run").call(&mut store, i * 1024).unwrap(), 200);
                });
            }
        });
        assert_eq!(count(&plugin, engine), before + 801);
        let mut bytes = [0; 4096];
        memory.read(0, &mut bytes).unwrap();
        assert_eq!(bytes, [b'A'; 4096]);
    });
}

fn count(plugin: &Plugin, engine: &Engine) -> i32 {
    let mut store = Store::new(engine, ());
    let count = linker(engine, &[plugin]).get(&mut store, "text", "count").and_then(Extern::into_func).unwrap();
    count.typed::<(), i32>(&store).unwrap().call(&mut store, ()).unwrap()
}

#[test]
fn plugins_that_are_refused() {
    if !have_cc() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let long = format!("-DFIRST=\"{}\"", "x".repeat(5000));
    let wrong: &[(&str, &str)] = &[
        ("-DSIZE=8", "it says that it has 8 bytes, but it has 56"),
        ("-DMODULE=0", "the module's name is null"),
        ("-DMODULE=\"\"", "the module's name is empty"),
        ("-DMODULE=\"\\xff\"", "the module's name is not UTF-8"),
        ("-DVERSION=0", "the version is null"),
        ("-DFUNCTIONS=0", "the list of functions of `odd` is null, but should have 6 members"),
        ("-DCOUNT=100001", "the list of functions of `odd` has 100001 members, more than 100000"),
        ("-DCOUNT=~0ull", "the list of functions of `odd` has 18446744073709551615 members, more than 100000"),
        ("-DFUNCTIONS=(const void*)((const char*)functions+1)", "the list of functions of `odd` is not aligned"),
        ("-DFIRST=0", "function 0: its name is null"),
        ("-DFIRST=\"\"", "function 0: its name is empty"),
        ("-DFIRST=\"\\xc3(\"", "function 0: its name is not UTF-8"),
        (&long, "function 0: its name is longer than 4096 bytes"),
        ("-DFIRST=\"half\"", "function 2: the name `half` is used twice"),
        ("-DCALLBACK=0", "function 0: `status`: the callback is null"),
        ("-DPARAMS=0", "function 0: `status`: parameters: the list of types is null, but should have 1 members"),
        ("-DPARAM_COUNT=1001", "function 0: `status`: parameters: the list of types has 1001 members, more than 1000"),
        ("-DTYPE=0x70", "function 0: `status`: parameters: 0 has the unknown type code 0x70"),
        ("-DTYPE=0", "function 0: `status`: parameters: 0 has the unknown type code 0x00"),
    ];
    let unused = "-Wno-unused-function";
    for (i, (option, expected)) in wrong.iter().enumerate() {
        let path = library(ODD, &dir, &format!("wrong{i}.so"), &[option, unused, "-Wno-unused-const-variable"]);
        match load(&path) {
            Err(PluginError::Descriptor { problem, .. }) => assert_eq!(problem, *expected),
            other => panic!("{option}: {other:?}"),
        }
    }
    for version in ["0", "2", "0x10001", "0xffffffff"] {
        let path = library(ODD, &dir, &format!("version{version}.so"), &[&format!("-DABI={version}")]);
        let error = load(&path).unwrap_err();
        assert!(matches!(error, PluginError::AbiVersion { .. }), "{error}");
        assert!(error.to_string().contains("but this wasmc has version 1: build it again"), "{error}");
    }
    let error = load(&library(ODD, &dir, "nosymbol.so", &["-DNO_SYMBOL"])).unwrap_err();
    assert!(matches!(error, PluginError::NoDescriptor { .. }), "{error}");
    let error = load(&library(ODD, &dir, "init.so", &["-DINIT=7"])).unwrap_err();
    assert!(matches!(error, PluginError::Init { status: 7, .. }), "{error}");
    std::fs::write(dir.path().join("text"), "not a library").unwrap();
    for (path, missing) in [("text", false), (".", false), ("nosuch.so", true)] {
        let error = load(&dir.path().join(path)).unwrap_err();
        assert_eq!(matches!(error, PluginError::Missing { .. }), missing, "{error}");
    }
    // A bare name is a file of this folder, and nothing that the dynamic loader would search for.
    assert!(matches!(load(Path::new("libc.so.6")), Err(PluginError::Missing { .. })));
    assert!(matches!(load(Path::new("")), Err(PluginError::Missing { .. })));

    let plugin = load(&library(ODD, &dir, "libodd.so", &[])).unwrap();
    let mut linker = linker::<()>(&Engine::default(), &[&plugin]);
    let error = plugin.add_to_linker(&mut linker).unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(PluginError::NameTaken { .. })), "{error}");
}

/// The header and the crate describe the same structures.
#[test]
fn the_header_is_the_crate() {
    if !have_cc() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("layout");
    cc(&workspace().join("tests/programs/plugins/layout.c"), &program, &[]);
    let printed = String::from_utf8(run(&mut command(&program), LIMIT).stdout).unwrap();
    // Old C and C++ take the header, too.
    for language in [&["-x", "c", "-std=c99", "-pedantic"][..], &["-x", "c++", "-std=c++11", "-pedantic"]] {
        let header = workspace().join("plugin/include/wasmc_plugin.h");
        let mut check = command("cc");
        check.args(["-fsyntax-only", "-Wall", "-Wextra", "-Werror"]).args(language).arg(&header);
        let outcome = run(&mut check, LIMIT);
        if outcome.stderr.contains("cc1plus") && language.contains(&"c++") {
            eprintln!("skipped: there is no C++ compiler");
            continue;
        }
        assert_eq!(outcome.code, Some(0), "{language:?}: {}", outcome.stderr);
    }
    let mut expected = String::new();
    macro_rules! layout {
        ($($ty:ident $name:literal { $($member:ident)* })*) => {$(
            let _ = writeln!(expected, "{} {}", $name, size_of::<abi::$ty>());
            $(let _ = writeln!(expected, "{}.{} {}", $name, stringify!($member), offset_of!(abi::$ty, $member));)*
        )*};
    }
    layout! {
        Value "wasmc_plugin_value" { of }
        Host "wasmc_plugin_host" { memory_size memory_read memory_write set_error interrupted }
        Caller "wasmc_plugin_caller" {}
        Function "wasmc_plugin_function" { params param_count results result_count callback data }
        Descriptor "wasmc_plugin_descriptor_t" { struct_size module version functions function_count init fini }
    }
    let _ = writeln!(expected, "codes {} {} {} {} {} {}", abi::ABI_VERSION, abi::I32, abi::I64, abi::F32, abi::F64, abi::V128);
    assert_eq!(printed, expected);
}

fn wasmc_run(dir: &Path, args: &[&str]) -> Outcome {
    run(command(wasmc()).arg("run").args(args).current_dir(dir).env("NO_COLOR", "1"), LIMIT)
}

#[test]
fn on_the_command_line() {
    if !have_cc() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    library(TEXT, &dir, "libtext.so", &[]);
    let shout = workspace().join("examples/plugin-c/shout.wat");
    let shout = shout.to_str().unwrap();
    let compiled = command(wasmc()).args(["compile", "-q", shout, "-o"]).arg(dir.path().join("shout.so")).status().unwrap();
    assert!(compiled.success());
    let go = |args: &[&str]| wasmc_run(dir.path(), args);
    for program in [&[shout][..], &["shout.so"], &["--tier", "interpreted", shout], &["--interpret", "all", shout]] {
        let outcome = go(&[&["--plugin", "libtext.so"], program].concat());
        assert_eq!((outcome.code, outcome.stdout.as_slice()), (Some(0), &b"HELLO\n"[..]), "{program:?} {}", outcome.stderr);
    }
    let outcome = go(&[shout]);
    assert_eq!(outcome.code, Some(69));
    assert!(
        outcome.stderr.contains("there is no module `text`\n  pass --module text=FILE with a module that exports it, or --plugin FILE")
    );

    // Several; each is told its end when the program has ended, even by a trap.
    library(ODD, &dir, "a.so", &["-DMODULE=\"a\"", "-DLOUD"]);
    library(ODD, &dir, "b.so", &["-DMODULE=\"b\"", "-DLOUD"]);
    let both = r#"(module (import "a" "status" (func $a (param i32) (result i32))) (import "b" "status" (func $b (param i32) (result i32)))
        (func (export "run") (param i32) (result i32) (i32.add (call $a (i32.const 0)) (call $b (local.get 0)))))"#;
    std::fs::write(dir.path().join("both.wat"), both).unwrap();
    let outcome = go(&["--plugin", "a.so", "--plugin", "./b.so", "--invoke", "run", "both.wat", "0"]);
    assert_eq!((outcome.code, outcome.stdout.as_slice()), (Some(0), &b"2\n"[..]), "{}", outcome.stderr);
    let mut lines: Vec<&str> = outcome.stderr.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["fini of a", "fini of b", "init of a", "init of b"]);
    let outcome = go(&["--plugin", "a.so", "--plugin", "./b.so", "--call", "run 7", "both.wat"]);
    assert_eq!(outcome.code, Some(134));
    assert!(outcome.stderr.contains("trap: call 1 (`run 7`): plug-in function `b`.`status`: returned 7"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("fini of a") && outcome.stderr.contains("fini of b"), "{}", outcome.stderr);

    library(ODD, &dir, "wasi.so", &["-DMODULE=\"wasi_snapshot_preview1\""]);
    library(ODD, &dir, "old.so", &["-DABI=0"]);
    library(ODD, &dir, "null.so", &["-DFIRST=0"]);
    library(ODD, &dir, "init.so", &["-DINIT=1"]);
    std::fs::write(dir.path().join("not.so"), "no library").unwrap();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["--plugin", "nosuch.so"], 66, "cannot load the plug-in nosuch.so: No such file or directory"),
        (&["--plugin", "not.so"], 65, "cannot load the plug-in not.so: "),
        (&["--plugin", "shout.so"], 65, "shout.so is not a plug-in of wasmc: it exports no `wasmc_plugin_descriptor`"),
        (&["--plugin", "null.so"], 65, "the plug-in null.so describes itself wrongly: function 0: its name is null"),
        (&["--plugin", "old.so"], 78, "old.so was made for version 0 of the plug-in interface, but this wasmc has version 1"),
        (&["--plugin", "init.so"], 69, "the plug-in init.so cannot start: its `init` returned 1"),
        (&["--plugin", "wasi.so"], 64, "defines the module `wasi_snapshot_preview1`, which wasmc itself provides"),
        (&["--plugin", "a.so", "--plugin", "a.so"], 64, "the plug-in a.so defines the module `a`, but there is one of that name already"),
        (&["--plugin", "a.so", "--module", "a=both.wat"], 64, "--module a=both.wat: the plug-in a.so defines a module of that name"),
    ];
    for (args, code, text) in cases {
        let outcome = go(&[args, &["both.wat"][..]].concat());
        assert!(outcome.code == Some(*code) && outcome.stderr.contains(text), "{args:?}: {:?} {}", outcome.code, outcome.stderr);
    }
}

/// A function that works or waits ends when the program's time is up, whatever it returns then.
#[test]
fn time_is_up_in_a_plugin() {
    if !have_cc() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    library(ODD, &dir, "odd.so", &[]);
    let text = r#"(module (import "odd" "wait" (func $wait (param i32))) (func (export "run") (param i32) (call $wait (local.get 0))))"#;
    std::fs::write(dir.path().join("wait.wat"), text).unwrap();
    for tier in [&["--tier", "interpreted"][..], &["--tier", "compiled"]] {
        for how in ["0", "1"] {
            let outcome =
                wasmc_run(dir.path(), &[tier, &["--timeout", "100ms", "--plugin", "odd.so", "--invoke", "run", "wait.wat", how]].concat());
            assert!(
                outcome.code == Some(124) && outcome.stderr.contains("still running after 100ms"),
                "{how}: {:?} {}",
                outcome.code,
                outcome.stderr
            );
        }
    }
}

/// Threads of a program call plug-ins, too; `fini` comes when the program has ended by its first thread.
#[test]
fn programs_with_threads() {
    if !have_cc() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    library(TEXT, &dir, "libtext.so", &[]);
    library(ODD, &dir, "odd.so", &["-DLOUD"]);
    let text = r#"(module
        (import "env" "memory" (memory 1 1 shared))
        (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (import "text" "count" (func $count (result i32)))
        (import "odd" "status" (func $status (param i32) (result i32)))
        (export "memory" (memory 0))
        (func (export "wasi_thread_start") (param i32 i32) (local $i i32)
            (drop (call $status (local.get 1)))
            (loop $l
                (drop (call $count))
                (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000))))
            (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
            (drop (memory.atomic.notify (i32.const 0) (i32.const 1))))
        (func $join (param $n i32) (local $seen i32)
            (loop $l
                (if (i32.ne (local.tee $seen (i32.atomic.load (i32.const 0))) (local.get $n))
                    (then (drop (memory.atomic.wait32 (i32.const 0) (local.get $seen) (i64.const -1))) (br $l)))))
        (func (export "good") (result i32)
            (drop (call $spawn (i32.const 0))) (drop (call $spawn (i32.const 0))) (drop (call $spawn (i32.const 0)))
            (call $join (i32.const 3))
            (call $count))
        (func (export "bad") (drop (call $spawn (i32.const 9))) (call $join (i32.const 3))))"#;
    std::fs::write(dir.path().join("threads.wat"), text).unwrap();
    for tier in [&["--tier", "interpreted"][..], &["--tier", "compiled"], &["--interpret", "odd"]] {
        let go = |name: &str| {
            let options = ["--threads", "--plugin", "libtext.so", "--plugin", "odd.so", "--invoke", name, "threads.wat"];
            wasmc_run(dir.path(), &[tier, &options].concat())
        };
        let outcome = go("good");
        assert_eq!((outcome.code, outcome.stdout.as_slice()), (Some(0), &b"3001\n"[..]), "{}", outcome.stderr);
        assert!(outcome.stderr.starts_with("init of odd\n"), "{}", outcome.stderr);
        let outcome = go("bad");
        assert_eq!(outcome.code, Some(134));
        assert!(outcome.stderr.contains("trap: plug-in function `odd`.`status`: returned 9"), "{}", outcome.stderr);
    }
}

#[test]
fn the_example_in_rust_on_the_command_line() {
    let dice = dice();
    let game = workspace().join("examples/plugin-rust/game.wat");
    let args =
        ["--plugin", dice.to_str().unwrap(), "--call", "roll 6", "--call", "swap i64x2:1,2", "--call", "roll 0", game.to_str().unwrap()];
    let outcome = wasmc_run(&workspace(), &args);
    assert_eq!(outcome.code, Some(134));
    let out = String::from_utf8(outcome.stdout).unwrap();
    assert!(out.starts_with("roll 6 -> ") && out.ends_with("\nswap i64x2:1,2 -> 0x00000000000000010000000000000002\n"), "{out}");
    assert!(outcome.stderr.contains("trap: call 3 (`roll 0`): plug-in function `dice`.`roll`: panicked: "), "{}", outcome.stderr);
}

/// A plug-in lives as long as somebody can call it.
#[test]
fn functions_keep_their_plugin() {
    let path = dice();
    on_every_tier(|engine| {
        let mut store = Store::new(engine, ());
        let roll = {
            let plugin = load(&path).unwrap();
            let text = r#"(module (import "dice" "roll" (func $roll (param i32) (result i32)))
                (func (export "roll") (param i32) (result i32) (call $roll (local.get 0))))"#;
            let instance = linker(engine, &[&plugin]).instantiate(&mut store, &module(engine, text)).unwrap();
            func::<_, i32, i32>(&mut store, instance, "roll")
        };
        assert_eq!(roll.call(&mut store, 1).unwrap(), 1);
    });
    let shared = Arc::new(load(&path).unwrap());
    std::thread::spawn(move || drop(shared)).join().unwrap();
}
