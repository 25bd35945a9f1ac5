//! Core dumps on every tier: frames, locals where they can be had, memories and globals, in a module that readers accept.

mod common;

use common::*;
use std::time::Duration;
use wasmc_runtime::*;
use wasmc_tests::{command, run, wasmc};
use wasmparser::{CoreDumpStackSection, CoreDumpValue, DataKind, KnownCustom, Operator, Parser, Payload, Validator, WasmFeatures};

const WAT: &str = r#"(module $demo
    (import "env" "counter" (global $counter (mut i32)))
    (memory (export "memory") 200)
    (memory $second i64 1 1)
    (global $inner (mut i64) (i64.const 7))
    (global $pi f64 (f64.const 3.5))
    (global $vector v128 (v128.const i64x2 1 2))
    (global $null externref (ref.null extern))
    (data (i32.const 0x100000) "hello")
    (func $deep (param $x i32) (param $y f64) (result i32)
        (local $a i64) (local $v v128) (local $b f32) (local $c i32)
        (local.set $a (i64.const -9))
        (local.set $b (f32.const 1.5))
        (local.set $c (i32.add (local.get $x) (i32.const 1)))
        (i64.store $second (i64.const 40) (i64.const 0x1122334455667788))
        (global.set $inner (i64.const 99))
        (global.set $counter (i32.const 5))
        (local.set $x (i32.div_u (local.get $c) (i32.const 0)))
        (i32.add (local.get $x) (local.get $c)))
    (func (export "run") (param i32) (result i32)
        (i32.add (call $deep (local.get 0) (f64.const 2.25)) (i32.const 1))))"#;

/// What a reader finds in a dump.
#[derive(Default)]
struct Dump {
    name: String,
    modules: Vec<String>,
    instances: Vec<(u32, Vec<u32>, Vec<u32>)>,
    frames: Vec<(u32, u32, u32, Vec<CoreDumpValue>)>,
    memories: Vec<wasmparser::MemoryType>,
    globals: Vec<String>,
    data: Vec<(u32, u64, Vec<u8>)>,
}

fn stack(section: CoreDumpStackSection<'_>) -> Vec<(u32, u32, u32, Vec<CoreDumpValue>)> {
    section.frames.into_iter().map(|f| (f.instanceidx, f.funcidx, f.codeoffset, f.locals)).collect()
}

fn read(wasm: &[u8]) -> Dump {
    Validator::new_with_features(WasmFeatures::all()).validate_all(wasm).expect("a valid module");
    let mut dump = Dump::default();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.expect("a module") {
            Payload::CustomSection(c) => match c.as_known() {
                KnownCustom::CoreDump(s) => dump.name = s.name.to_owned(),
                KnownCustom::CoreDumpModules(s) => dump.modules = s.modules.iter().map(|m| (*m).to_owned()).collect(),
                KnownCustom::CoreDumpInstances(s) => {
                    dump.instances = s.instances.into_iter().map(|i| (i.module_index, i.memories, i.globals)).collect();
                }
                KnownCustom::CoreDumpStack(s) => dump.frames = stack(s),
                _ => panic!("a section {} that cannot be read", c.name()),
            },
            Payload::MemorySection(s) => dump.memories = s.into_iter().map(|m| m.expect("a memory")).collect(),
            Payload::GlobalSection(s) => {
                let init = |g: wasmparser::Global<'_>| format!("{:?}", g.init_expr.get_operators_reader().read().expect("a constant"));
                dump.globals = s.into_iter().map(|g| init(g.expect("a global"))).collect();
            }
            Payload::DataSection(s) => {
                for d in s {
                    let d = d.expect("a segment");
                    let DataKind::Active { memory_index, offset_expr } = d.kind else { panic!("a passive segment") };
                    let at = match offset_expr.get_operators_reader().read().expect("an offset") {
                        Operator::I32Const { value } => u64::from(value as u32),
                        Operator::I64Const { value } => value as u64,
                        other => panic!("{other:?}"),
                    };
                    dump.data.push((memory_index, at, d.data.to_vec()));
                }
            }
            _ => {}
        }
    }
    dump
}

impl Dump {
    /// Bytes of a memory.
    fn bytes(&self, memory: u32, at: u64, len: usize) -> Vec<u8> {
        (at..at + len as u64)
            .map(|at| {
                let holds = |(m, start, bytes): &&(u32, u64, Vec<u8>)| *m == memory && (*start..*start + bytes.len() as u64).contains(&at);
                self.data.iter().find(holds).map_or(0, |(_, start, bytes)| bytes[(at - start) as usize])
            })
            .collect()
    }
}

fn engines_with_locals() -> Vec<(&'static str, Engine)> {
    let compiled = |interpret| {
        Config::new()
            .tier(Tier::Compiled)
            .compiler(std::sync::Arc::new(wasmc_compiler::Jit::default()))
            .interpret(interpret)
            .keep_locals(true)
    };
    [
        ("interpreted", Config::new().tier(Tier::Interpreted).keep_locals(true)),
        ("compiled", compiled(vec![])),
        ("mixed", compiled(vec![Interpret::Name("deep".into())])),
    ]
    .map(|(name, config)| (name, Engine::new(config).expect("a configuration")))
    .into()
}

#[test]
fn what_a_trap_leaves() {
    for (tier, engine) in engines_with_locals() {
        let module = module(&engine, WAT);
        let mut store = Store::new(&engine, ());
        let counter = Global::new(&mut store, GlobalType { content: ValType::I32, mutable: true }, &Val::I32(1)).expect("a global");
        // A first instance of the same module, which has no part in it.
        for _ in 0..2 {
            Instance::new(&mut store, &module, &[counter.into()]).expect("an instance");
        }
        let instance = Instance::new(&mut store, &module, &[counter.into()]).expect("an instance");
        let f = instance.get_typed_func::<i32, i32>(&mut store, "run").expect("a function");
        let error = f.call(&mut store, 41).expect_err("a trap");
        let trap = error.downcast_ref::<Trap>().expect("a trap");
        let wasm = CoreDump::new(&store, trap).expect("a dump").to_wasm("demo.wasm");
        let dump = read(&wasm);
        assert_eq!((dump.name.as_str(), dump.modules.as_slice()), ("demo.wasm", &["demo".to_owned()][..]), "{tier}");
        assert_eq!(dump.instances.len(), 3, "{tier}");
        assert_eq!(dump.instances.iter().map(|i| i.1.clone()).collect::<Vec<_>>(), [[0, 1], [2, 3], [4, 5]]);
        // The imported global is one.
        assert!(dump.instances.iter().all(|i| i.2.len() == 5 && i.2[0] == dump.instances[0].2[0]), "{tier}");
        assert_eq!(dump.frames.iter().map(|f| f.1).collect::<Vec<_>>(), [0, 1], "{tier}: innermost first");
        assert!(dump.frames.iter().all(|f| f.2 > 0), "{tier}: offsets in the function");
        let interpreted = tier != "compiled";
        let locals = &dump.frames[0].3;
        assert_eq!(locals.len(), 6, "{tier}");
        if interpreted {
            assert_eq!(dump.frames[0].0, 2, "{tier}: which instance it was");
            use CoreDumpValue as V;
            assert!(matches!(locals[0], V::I32(41)), "{tier}: {:?}", locals[0]);
            assert!(matches!(&locals[1], V::F64(v) if v.bits() == 2.25f64.to_bits()), "{tier}: {:?}", locals[1]);
            assert!(matches!(locals[2], V::I64(-9)), "{tier}: {:?}", locals[2]);
            assert!(matches!(locals[3], V::Missing), "{tier}: vectors cannot be written");
            assert!(matches!(&locals[4], V::F32(v) if v.bits() == 1.5f32.to_bits()), "{tier}: {:?}", locals[4]);
            assert!(matches!(locals[5], V::I32(42)), "{tier}: {:?}", locals[5]);
        } else {
            assert!(locals.iter().all(|l| matches!(l, CoreDumpValue::Missing)), "{tier}");
        }
        assert_eq!((dump.memories[4].initial, dump.memories[5].initial, dump.memories[5].memory64), (200, 1, true));
        assert_eq!(dump.bytes(4, 0x10_0000, 6), b"hello\0", "{tier}");
        assert_eq!(dump.bytes(5, 40, 8), 0x1122_3344_5566_7788u64.to_le_bytes(), "{tier}");
        assert_eq!(dump.bytes(3, 40, 8), [0; 8], "{tier}");
        assert!(wasm.len() < 64 << 10, "{tier}: pages of zeros are left out, not {} bytes", wasm.len());
        let global = |i: usize| dump.globals[dump.instances[2].2[i] as usize].clone();
        assert_eq!(global(0), "I32Const { value: 5 }", "{tier}");
        assert_eq!(global(1), "I64Const { value: 99 }", "{tier}");
        assert!(global(2).contains("F64Const") && global(3).contains("V128Const") && global(4).contains("RefNull"), "{tier}");
        // Frames alone.
        let frames = read(&CoreDump::without_store(trap).to_wasm("demo"));
        assert_eq!((frames.frames.len(), frames.memories.len()), (2, 0), "{tier}");
    }
}

/// Every kind of stop leaves something that readers accept.
#[test]
fn stacks_of_every_depth() {
    const DEEP: &str = r#"(module
        (memory 1 1 shared)
        (data (i32.const 70) "x")
        (func $f (export "run") (param i32) (result i32) (local i32 i64)
            (i32.store8 (i32.const 9) (i32.const 3))
            (i32.add (call $f (local.get 0)) (local.get 1))))"#;
    on_every_tier(|engine| {
        let mut store = Store::new(engine, ());
        let instance = instance(&mut store, DEEP);
        let f = instance.get_typed_func::<i32, i32>(&mut store, "run").expect("a function");
        let error = f.call(&mut store, 1).expect_err("a trap");
        let trap = error.downcast_ref::<Trap>().expect("a trap");
        assert_eq!(trap.code(), TrapCode::StackOverflow);
        let dump = read(&CoreDump::new(&store, trap).expect("a dump").to_wasm("deep"));
        assert_eq!(dump.frames.len(), 100);
        assert!(dump.memories[0].shared);
        assert_eq!((dump.bytes(0, 70, 1), dump.bytes(0, 9, 1)), (b"x".to_vec(), vec![3]));
    });
    // A host function's trap has no frames; a store can be empty.
    let engine = Engine::new(Config::new().tier(Tier::Interpreted)).expect("an engine");
    let store = Store::new(&engine, ());
    let dump = read(&CoreDump::new(&store, &Trap::from(TrapCode::Unreachable)).expect("a dump").to_wasm(""));
    assert!(dump.frames.is_empty() && dump.instances.is_empty());
}

#[test]
fn the_command_line() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name);
    let wat = r#"(module (memory 1) (func $main (export "_start") (i32.store (i32.const 8) (i32.const 77)) unreachable))"#;
    std::fs::write(path("t.wat"), wat).expect("a file");
    let wasmc_run = |args: &[&str]| {
        let mut c = command(wasmc());
        run(c.current_dir(dir.path()).arg("run").args(args), Duration::from_secs(30))
    };
    let compiled = run(command(wasmc()).current_dir(dir.path()).args(["compile", "-q", "t.wat", "-o", "t.so"]), Duration::from_secs(30));
    assert_eq!(compiled.code, Some(0), "{}", compiled.stderr);
    for args in [&["t.so"][..], &["t.wat"], &["--tier", "interpreted", "t.wat"]] {
        let o = wasmc_run(&[&["--coredump", "core.wasm"], args].concat());
        assert_eq!(o.code, Some(134), "{args:?}: {}", o.stderr);
        assert!(o.stderr.contains("unreachable") && o.stderr.contains("core.wasm"), "{}", o.stderr);
        let dump = read(&std::fs::read(path("core.wasm")).expect("a dump"));
        assert_eq!((dump.frames.len(), dump.bytes(0, 8, 1)), (1, vec![77]), "{args:?}");
        std::fs::remove_file(path("core.wasm")).expect("the dump");
    }
    // A dump that cannot be written hides nothing.
    let o = wasmc_run(&["--coredump", "/dev/full", "t.so"]);
    assert!(o.code == Some(134) && o.stderr.contains("unreachable") && o.stderr.contains("core dump"), "{:?} {}", o.code, o.stderr);
    assert_eq!(wasmc_run(&["--coredump", "none/core.wasm", "t.so"]).code, Some(73));
    // Without a trap there is none.
    std::fs::write(path("fine.wat"), r#"(module (func (export "_start")))"#).expect("a file");
    assert_eq!(wasmc_run(&["--coredump", "core.wasm", "fine.wat"]).code, Some(0));
    assert!(!path("core.wasm").exists());
}
