//! Memories that an engine keeps for the next instances: on every tier, whatever an instance did, the next one finds nothing of it, neither in
//! memories of any kind nor in tables, globals and what lies in front of a memory; and what an instance grew traps again in the next.

#[path = "common/mod.rs"]
mod common;

use common::{engines, func, module, trap};
use std::sync::Arc;
use wasmc_compiler::{CompileOptions, compile_to_artifact};
use wasmc_environ::types::Limits;
use wasmc_runtime::*;

/// Something of everything that an instance can write to.
const PROGRAM: &str = r#"(module
    (memory $m (export "memory") 2 400)
    (memory $far (export "far") 20 40)
    (memory $wide (export "wide") i64 1 40)
    (data (memory $m) (i32.const 1000) "some bytes")
    (data (memory $m) (i32.const 65530) "across two pages")
    (data (memory $far) (i32.const 1200000) "far away")
    (data $passive "passive")
    (table $t (export "table") 3 100 funcref)
    (elem (table $t) (i32.const 1) func $one)
    (global $g (export "global") (mut i64) (i64.const 42))
    (func $one (result i32) (i32.const 1))
    (func $two (result i32) (i32.const 2))
    (func (export "load") (param i32) (result i32) (i32.load8_u $m (local.get 0)))
    (func (export "load_wide") (param i64) (result i32) (i32.load8_u $wide (local.get 0)))
    (func (export "call") (param i32) (result i32) (call_indirect $t (result i32) (local.get 0)))
    (func (export "grow") (result i32)
        (drop (memory.grow $far (i32.const 3)))
        (drop (memory.grow $wide (i64.const 3)))
        (memory.grow $m (i32.const 300)))
    (func (export "soil")
        (memory.fill $m (i32.const 0) (i32.const 0xa5) (i32.shl (memory.size $m) (i32.const 16)))
        (memory.fill $far (i32.const 0) (i32.const 0xa5) (i32.shl (memory.size $far) (i32.const 16)))
        (memory.fill $wide (i64.const 0) (i32.const 0xa5) (i64.shl (memory.size $wide) (i64.const 16)))
        (memory.init $m $passive (i32.const 7) (i32.const 0) (i32.const 7))
        (data.drop $passive)
        (drop (table.grow $t (ref.func $two) (i32.const 20)))
        (table.fill $t (i32.const 0) (ref.func $two) (i32.const 3))
        (global.set $g (i64.const 7))
        (i32.store8 $m (i32.const 65536) (i32.const 1)))
    (func (export "passive") (memory.init $m $passive (i32.const 0) (i32.const 0) (i32.const 7)))
    (elem declare func $two))"#;

/// An engine and a module of this text a tier, the artifact among them.
fn programs(text: &str) -> Vec<(String, Engine, Module)> {
    let mut all: Vec<_> = engines().into_iter().map(|(name, engine)| (name.to_owned(), engine.clone(), module(&engine, text))).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("p.so");
    compile_to_artifact(&wat::parse_str(text).expect("valid text"), &CompileOptions::default())
        .expect("compiled")
        .write_artifact(&path)
        .expect("written");
    for (name, reuse) in
        [("artifact", Reuse::default()), ("artifact, nothing kept", Reuse::none()), ("one kept", Reuse::default().memories(1))]
    {
        let engine = Engine::new(Config::new().stack_size(1 << 20).reuse(reuse)).expect("an engine");
        // SAFETY: the artifact was made here.
        let module = unsafe { Module::from_artifact(&engine, &path) }.expect("loaded");
        all.push((name.to_owned(), engine, module));
    }
    let auto = Config::new().tier(Tier::Auto).compile_after(2, true).compiler(Arc::new(wasmc_compiler::Jit::default()));
    let engine = Engine::new(auto.stack_size(1 << 20)).expect("an engine");
    all.push(("auto".into(), engine.clone(), module(&engine, text)));
    all
}

/// The text of the first difference, in place of two dumps.
fn assert_same(name: &str, found: &[u8], expected: &[u8]) {
    assert_eq!(found.len(), expected.len(), "{name}");
    let at = found.iter().zip(expected).position(|(a, b)| a != b);
    assert_eq!(at, None, "{name}: {:?} instead of {:?}", at.map(|i| found[i]), at.map(|i| expected[i]));
}

fn expected(pages: usize, contents: &[(usize, &str)]) -> Vec<u8> {
    let mut bytes = vec![0; pages << 16];
    for (at, text) in contents {
        bytes[*at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    bytes
}

fn assert_fresh(store: &mut Store<()>, instance: Instance) {
    let memories = [
        ("memory", expected(2, &[(1000, "some bytes"), (65530, "across two pages")])),
        ("far", expected(20, &[(1_200_000, "far away")])),
        ("wide", expected(1, &[])),
    ];
    for (name, expected) in memories {
        let memory = instance.get_memory(&mut *store, name).expect("an exported memory");
        assert_same(name, memory.data(&*store), &expected);
    }
    let load = func::<_, i32, i32>(store, instance, "load");
    assert_eq!(load.call(&mut *store, (2 << 16) - 1).expect("a byte"), 0);
    for beyond in [2 << 16, 3 << 16, 300 << 16, -1] {
        assert_eq!(trap(&load.call(&mut *store, beyond).expect_err("beyond the memory")), TrapCode::MemoryOutOfBounds);
    }
    let wide = func::<_, i64, i32>(store, instance, "load_wide");
    assert_eq!(trap(&wide.call(&mut *store, 1 << 16).expect_err("beyond the memory")), TrapCode::MemoryOutOfBounds);
    let table = instance.get_table(&mut *store, "table").expect("an exported table");
    assert_eq!(table.size(&*store), 3);
    let call = func::<_, i32, i32>(store, instance, "call");
    assert_eq!(call.call(&mut *store, 1).expect("a result"), 1);
    assert_eq!(trap(&call.call(&mut *store, 0).expect_err("null")), TrapCode::IndirectCallToNull);
    assert_eq!(trap(&call.call(&mut *store, 3).expect_err("beyond the table")), TrapCode::UndefinedElement);
    let global = instance.get_global(&mut *store, "global").expect("an exported global");
    assert_eq!(global.get(&mut *store).i64(), Some(42));
}

/// One store: looks, soils all, and goes.
fn cycle(engine: &Engine, module: &Module, grow: bool) {
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, module, &[]).expect("an instance");
    assert_fresh(&mut store, instance);
    if grow {
        assert_eq!(func::<_, (), i32>(&mut store, instance, "grow").call(&mut store, ()).expect("a size"), 2);
    }
    func::<_, (), ()>(&mut store, instance, "passive").call(&mut store, ()).expect("not dropped");
    func::<_, (), ()>(&mut store, instance, "soil").call(&mut store, ()).expect("done");
    assert!(func::<_, (), ()>(&mut store, instance, "passive").call(&mut store, ()).is_err());
}

#[test]
fn the_next_instance_finds_nothing() {
    for (name, engine, module) in programs(PROGRAM) {
        eprintln!("tier: {name}");
        for round in 0..8 {
            cycle(&engine, &module, round % 3 == 1);
        }
        // Several at once, in one store and in several, given back in another order.
        let mut stores: Vec<_> = (0..5).map(|_| Store::new(&engine, ())).collect();
        for store in &mut stores {
            for _ in 0..2 {
                let instance = Instance::new(&mut *store, &module, &[]).expect("an instance");
                assert_fresh(store, instance);
                func::<_, (), ()>(store, instance, "soil").call(&mut *store, ()).expect("done");
            }
        }
        drop(stores.swap_remove(1));
        cycle(&engine, &module, true);
        drop(stores);
        cycle(&engine, &module, false);
    }
}

#[test]
fn threads_share_what_is_kept() {
    for (name, engine, module) in programs(PROGRAM) {
        eprintln!("tier: {name}");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..6).for_each(|round| cycle(&engine, &module, round % 2 == 0)));
            }
        });
    }
}

#[test]
fn a_child_has_what_was_kept() {
    for (name, engine, module) in programs(PROGRAM) {
        if name == "auto" {
            // Its threads are not in the child.
            continue;
        }
        eprintln!("tier: {name}");
        (0..3).for_each(|_| cycle(&engine, &module, true));
        // SAFETY: no other thread of this process is in the midst of anything; the child ends without unwinding.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                let run = || (0..3).for_each(|round| cycle(&engine, &module, round == 1));
                let fine = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_ok();
                libc::_exit(if fine { 0 } else { 1 });
            }
            (0..3).for_each(|_| cycle(&engine, &module, false));
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
            assert_eq!(status, 0, "{name}");
        }
    }
}

#[test]
fn shared_memories_are_zero() {
    for (name, engine) in engines() {
        eprintln!("tier: {name}");
        let text = r#"(module (memory (export "memory") 1 20 shared)
            (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
            (func (export "soil")
                (drop (memory.grow (i32.const 5)))
                (memory.fill (i32.const 0) (i32.const 0xa5) (i32.shl (memory.size) (i32.const 16)))))"#;
        let module = module(&engine, text);
        for _ in 0..4 {
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[]).expect("an instance");
            let memory = instance.get_shared_memory(&mut store, "memory").expect("a shared memory");
            let mut bytes = vec![1; 1 << 16];
            memory.read(0, &mut bytes).expect("inside");
            assert_same("memory", &bytes, &expected(1, &[]));
            let load = func::<_, i32, i32>(&mut store, instance, "load");
            assert_eq!(trap(&load.call(&mut store, 1 << 16).expect_err("beyond")), TrapCode::MemoryOutOfBounds);
            func::<_, (), ()>(&mut store, instance, "soil").call(&mut store, ()).expect("done");
            let of_host = MemoryType { limits: Limits { min: 1, max: Some(20) }, memory64: false, shared: true, page_size_log2: 16 };
            let other = SharedMemory::new(&engine, of_host).expect("a shared memory");
            other.read(0, &mut bytes).expect("inside");
            assert_same("of the host", &bytes, &expected(1, &[]));
            other.write(100, &[1; 1000]).expect("inside");
        }
    }
}

/// The host's memories come from where modules' do.
#[test]
fn memories_of_the_host_are_zero() {
    for (name, engine) in engines() {
        eprintln!("tier: {name}");
        for _ in 0..3 {
            let mut store = Store::new(&engine, ());
            let ty = MemoryType { limits: Limits { min: 2, max: None }, memory64: false, shared: false, page_size_log2: 16 };
            let memory = Memory::new(&mut store, ty).expect("a memory");
            assert_same("of the host", memory.data(&store), &expected(2, &[]));
            memory.grow(&mut store, 2).expect("room");
            memory.data_mut(&mut store).fill(0xa5);
        }
    }
}

/// An instantiation that fails in the middle gives back what it had, and so do those whose start function traps.
#[test]
fn failures_leave_nothing() {
    let text = r#"(module
        (import "host" "g" (global $g i32))
        (memory (export "memory") 1)
        (data (i32.const 0) "before") (data (global.get $g) "here or beyond")
        (func $start (if (i32.eq (global.get $g) (i32.const 7)) (then (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (unreachable))))
        (start $start))"#;
    for (name, engine, module) in programs(text) {
        eprintln!("tier: {name}");
        for offset in [100, 65535, 7, 200, 65535, 300] {
            let mut store = Store::new(&engine, ());
            let ty = GlobalType { content: ValType::I32, mutable: false };
            let global = Global::new(&mut store, ty, &Val::I32(offset)).expect("a global");
            match Instance::new(&mut store, &module, &[global.into()]) {
                Ok(instance) => {
                    let memory = instance.get_memory(&mut store, "memory").expect("a memory");
                    assert_same("memory", memory.data(&store), &expected(1, &[(0, "before"), (offset as usize, "here or beyond")]));
                    memory.data_mut(&mut store).fill(0xa5);
                }
                Err(e) => assert!([65535, 7].contains(&offset), "{offset}: {e:?}"),
            }
        }
    }
}

/// What an instantiation that traps has not written yet is not there, whether the module's memory has an image or not.
#[test]
fn a_trap_comes_before_the_data_behind_it() {
    let text = format!(
        r#"(module
            (import "host" "t" (table $t 2 funcref))
            (memory 1)
            (func $look (export "look") (result i32) (i32.load8_u (i32.const 5)))
            (elem (table $t) (i32.const 0) func $look)
            (elem (table $t) (i32.const 2) func $look)
            (data (i32.const 0) "{}"))"#,
        "x".repeat(40_000)
    );
    for (name, engine, module) in programs(&text) {
        eprintln!("tier: {name}");
        for _ in 0..3 {
            let mut store = Store::new(&engine, ());
            let ty = TableType { element: RefType::FUNCREF, limits: Limits { min: 2, max: None }, table64: false };
            let table = Table::new(&mut store, ty, &Val::FuncRef(None)).expect("a table");
            let error = Instance::new(&mut store, &module, &[table.into()]).expect_err("beyond the table");
            assert_eq!(trap(&error), TrapCode::TableOutOfBounds);
            let Some(Val::FuncRef(Some(look))) = table.get(&mut store, 0) else { panic!("the first segment was written") };
            assert_eq!(look.typed::<(), i32>(&store).expect("its type").call(&mut store, ()).expect("a result"), 0);
        }
    }
}
