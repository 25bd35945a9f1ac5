//! Shared memories through the embedding interface: stores on several threads at once, on every tier and with tiers mixed on one
//! memory; waiting and waking from the host; growth by many at once; and what may be imported where.

mod common;

use common::{engines, func, module, trap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};
use wasmc_runtime::*;
use wasmc_tests::workspace;

const THREADS: i32 = 8;
const ROUNDS: i32 = 1000;

fn interpreting() -> Engine {
    engines().swap_remove(0).1
}

fn shared(min: u64, max: u64) -> MemoryType {
    MemoryType { limits: Limits { min, max: Some(max) }, memory64: false, shared: true, page_size_log2: 16 }
}

fn u32_at(memory: &SharedMemory, at: usize) -> u32 {
    let mut bytes = [0; 4];
    memory.read(at, &mut bytes).expect("inside");
    u32::from_le_bytes(bytes)
}

/// Runs the stress program with a module for each thread, all on one memory, and checks that nothing was lost.
fn stress(name: &str, engine: &Engine, module_of: impl Fn(i32) -> Module) {
    let start = Instant::now();
    let memory = SharedMemory::new(engine, shared(1, 200)).expect("a memory");
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|id| {
                let (module, memory) = (module_of(id), memory.clone());
                scope.spawn(move || {
                    let mut store = Store::new(module_engine(&module), ());
                    let instance = Instance::new(&mut store, &module, &[memory.into()]).expect("an instance");
                    let work = func::<_, (i32, i32), i32>(&mut store, instance, "work");
                    let size = func::<_, (), i32>(&mut store, instance, "size");
                    let wrong = work.call(&mut store, (id, ROUNDS)).expect("no trap");
                    (wrong, size.call(&mut store, ()).expect("no trap"))
                })
            })
            .collect();
        for thread in threads {
            // Rounds 0, 8, 16 ... 56 of each 64 grow the memory by a page.
            let pages = 1 + (0..ROUNDS).filter(|r| r % 64 % 8 == 0).count() as i32;
            assert_eq!(thread.join().expect("no panic"), (0, pages), "{name}");
        }
    });
    let all = (THREADS * ROUNDS) as u32;
    assert_eq!(u32_at(&memory, 0), 0, "{name}: the lock is free");
    assert_eq!(u32_at(&memory, 4), all, "{name}: under the lock");
    assert_eq!((u32_at(&memory, 8), u32_at(&memory, 12)), (all, all), "{name}: i64");
    assert_eq!(u32_at(&memory, 28), all & 0xffff, "{name}: 16 bits by cmpxchg");
    assert_eq!(u32_at(&memory, 32), 3 * all, "{name}: i32");
    assert_eq!(u32_at(&memory, 36), all & 0xff, "{name}: 8 bits");
    assert_eq!(u32_at(&memory, 40), if ROUNDS % 2 == 0 { 0 } else { 0xff }, "{name}: xor");
    eprintln!("{name}: {THREADS} threads, {ROUNDS} rounds in {:?}", start.elapsed());
}

fn module_engine(module: &Module) -> &Engine {
    module.engine()
}

fn stress_wasm() -> Vec<u8> {
    wat::parse_file(workspace().join("tests/programs/threads-stress/stress.wat")).expect("valid text")
}

#[test]
fn nothing_is_lost_on_any_tier() {
    let wasm = stress_wasm();
    for (name, engine) in engines() {
        let module = Module::new(&engine, &wasm).expect("a module");
        stress(name, &engine, |_| module.clone());
    }
}

/// Threads on different tiers share one memory: an artifact's native code, code that is half interpreted, and interpreted code.
#[test]
fn nothing_is_lost_between_tiers() {
    let wasm = stress_wasm();
    let engine = interpreting();
    let dir = tempfile::tempdir().expect("a folder");
    let artifact = |name: &str, interpret| {
        let options = wasmc_compiler::CompileOptions { interpret, ..Default::default() };
        let path = dir.path().join(name);
        wasmc_compiler::compile_to_artifact(&wasm, &options).expect("valid").write_artifact(&path).expect("written");
        // SAFETY: it was just made here.
        unsafe { Module::from_artifact(&engine, &path) }.expect("an artifact")
    };
    let modules =
        [Module::new(&engine, &wasm).expect("a module"), artifact("compiled.so", vec![]), artifact("mixed.so", vec![Interpret::Odd])];
    stress("tiers on one memory", &engine, |id| modules[id as usize % modules.len()].clone());
}

#[test]
fn growth_from_many_threads_at_once() {
    let engine = interpreting();
    let memory = SharedMemory::new(&engine, shared(1, 401)).unwrap();
    let olds = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..100 {
                    let Ok(old) = memory.grow(1) else { continue };
                    // The new page is there for whoever knows of it, and zero.
                    let at = old as usize * 65536;
                    let mut bytes = [1; 8];
                    memory.read(at + 65528, &mut bytes).unwrap();
                    assert_eq!(bytes, [0; 8]);
                    memory.write(at, &old.to_le_bytes()).unwrap();
                    olds.lock().unwrap().push(old);
                }
            });
        }
    });
    let mut olds = olds.into_inner().unwrap();
    olds.sort_unstable();
    assert_eq!(olds, (1..=400).collect::<Vec<_>>());
    assert_eq!((memory.size(), memory.data_size()), (401, 401 * 65536));
    assert_eq!(memory.ty().limits, Limits { min: 401, max: Some(401) });
    assert!(memory.grow(1).unwrap_err().to_string().contains("by 1 pages from 401"));
    assert!(memory.grow(u64::MAX).is_err());
    assert_eq!(memory.grow(0).unwrap(), 401);
    for old in olds {
        assert_eq!(u64::from(u32_at(&memory, old as usize * 65536)), old);
    }
}

#[test]
fn the_first_to_come_is_the_first_to_wake() {
    let memory = SharedMemory::new(&interpreting(), shared(1, 1)).unwrap();
    let woken = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for id in 0..5u32 {
            let (memory, woken) = (&memory, &woken);
            scope.spawn(move || {
                assert_eq!(memory.atomic_wait32(64, 0, -1), Ok(WaitResult::Ok));
                woken.lock().unwrap().push(id);
            });
            // There is no way to ask who waits; a thread that is started this much later comes later.
            std::thread::sleep(Duration::from_millis(100));
        }
        // Others wait at another address.
        assert_eq!(memory.atomic_notify(68, u32::MAX), Ok(0));
        assert_eq!(memory.atomic_notify(64, 0), Ok(0));
        for n in 1..=3 {
            assert_eq!(memory.atomic_notify(64, 1), Ok(1));
            while woken.lock().unwrap().len() < n {
                std::thread::yield_now();
            }
        }
        assert_eq!(memory.atomic_notify(64, u32::MAX), Ok(2));
        assert_eq!(memory.atomic_notify(64, u32::MAX), Ok(0));
    });
    assert_eq!(woken.into_inner().unwrap()[..3], [0, 1, 2]);
}

#[test]
fn waiting_from_the_host() {
    let memory = SharedMemory::new(&interpreting(), shared(1, 1)).unwrap();
    memory.write(8, &7u64.to_le_bytes()).unwrap();
    assert_eq!(memory.atomic_wait32(8, 6, -1), Ok(WaitResult::Mismatch));
    assert_eq!(memory.atomic_wait64(8, 7, 0), Ok(WaitResult::TimedOut));
    let start = Instant::now();
    assert_eq!(memory.atomic_wait64(8, 7, 30_000_000), Ok(WaitResult::TimedOut));
    assert!(start.elapsed() >= Duration::from_millis(30));
    assert_eq!(memory.atomic_wait32(2, 0, 0), Err(TrapCode::UnalignedAtomic));
    assert_eq!(memory.atomic_wait64(4, 0, 0), Err(TrapCode::UnalignedAtomic));
    assert_eq!(memory.atomic_wait32(65536, 0, 0), Err(TrapCode::MemoryOutOfBounds));
    assert_eq!(memory.atomic_wait64(u64::MAX - 7, 0, 0), Err(TrapCode::MemoryOutOfBounds));
    assert_eq!(memory.atomic_notify(65536, 1), Err(TrapCode::MemoryOutOfBounds));
    assert_eq!(memory.atomic_notify(1, 1), Err(TrapCode::UnalignedAtomic));
    // The greatest time-out is no overflow.
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| memory.atomic_wait64(8, 7, i64::MAX));
        while memory.atomic_notify(8, 1) == Ok(0) {
            std::thread::yield_now();
        }
        assert_eq!(waiter.join().unwrap(), Ok(WaitResult::Ok));
    });
}

#[test]
fn copies_of_every_alignment() {
    let memory = SharedMemory::new(&interpreting(), shared(1, 1)).unwrap();
    for start in 0..9 {
        for len in 0..40 {
            let bytes: Vec<u8> = (0..len as u8).map(|b| b.wrapping_mul(37) + start as u8 + 1).collect();
            memory.write(start, &[0; 60]).unwrap();
            memory.write(start + 5, &bytes).unwrap();
            let mut back = vec![9; len + 2];
            memory.read(start + 4, &mut back).unwrap();
            assert_eq!(back[1..=len], bytes);
            assert_eq!((back[0], back[len + 1]), (0, 0));
        }
    }
    let mut end = [1; 4];
    memory.read(65532, &mut end).unwrap();
    assert_eq!(end, [0; 4]);
    assert!(memory.read(65533, &mut end).is_err() && memory.write(65533, &end).is_err());
    assert!(memory.read(usize::MAX, &mut end).is_err());
    assert_eq!(memory.data().len(), 65536);
}

/// A program's memory that another thread grows while it runs, without ever being told: no tier may go by what it knew.
#[test]
fn growth_is_seen_without_synchronisation() {
    const TEXT: &str = r#"(module
        (import "m" "m" (memory 1 8 shared))
        (func (export "until") (param $pages i32) (loop $l (br_if $l (i32.lt_u (memory.size) (local.get $pages)))))
        (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
        (func (export "spin") (param $at i32) (result i32)
            ;; The host grows the memory, then sets the word at 0.
            (drop (i32.load (i32.const 4)))
            (loop $l (br_if $l (i32.eqz (i32.atomic.load (i32.const 0)))))
            (v128.store (local.get $at) (v128.const i32x4 7 0 0 0))
            (i32.add (i32.load (local.get $at)) (i32x4.extract_lane 0 (v128.load (local.get $at))))))"#;
    for (name, engine) in engines() {
        let memory = SharedMemory::new(&engine, shared(1, 8)).unwrap();
        let module = module(&engine, TEXT);
        let running = Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut store = Store::new(&engine, ());
                let instance = Instance::new(&mut store, &module, &[memory.clone().into()]).unwrap();
                let (until, load) = (func::<_, i32, ()>(&mut store, instance, "until"), func::<_, i32, i32>(&mut store, instance, "load"));
                let spin = func::<_, i32, i32>(&mut store, instance, "spin");
                assert_eq!(trap(&load.call(&mut store, 65536).unwrap_err()), TrapCode::MemoryOutOfBounds, "{name}");
                running.wait();
                until.call(&mut store, 2).unwrap();
                assert_eq!(load.call(&mut store, 65536).unwrap(), 0, "{name}");
                running.wait();
                assert_eq!(spin.call(&mut store, 3 * 65536).unwrap(), 14, "{name}");
                assert_eq!(trap(&load.call(&mut store, 4 * 65536).unwrap_err()), TrapCode::MemoryOutOfBounds, "{name}");
            });
            running.wait();
            std::thread::sleep(Duration::from_millis(20));
            memory.grow(1).unwrap();
            running.wait();
            std::thread::sleep(Duration::from_millis(20));
            memory.grow(2).unwrap();
            memory.write(0, &[1]).unwrap();
        });
    }
}

#[test]
fn instances_of_one_store_and_of_another() {
    for (name, engine) in engines() {
        let maker = module(&engine, r#"(module (memory (export "m") 1 3 shared) (data (i32.const 8) "hello"))"#);
        let user = module(
            &engine,
            r#"(module
                (import "a" "m" (memory $a 1 3 shared)) (import "b" "m" (memory $b 1 3 shared)) (memory $own 1)
                (export "a" (memory $a)) (export "own" (memory $own))
                (func (export "add") (result i32) (i32.atomic.rmw.add $a (i32.const 0) (i32.const 1)))
                (func (export "other") (result i32) (i32.atomic.load $b (i32.const 0)))
                (func (export "grow") (result i32) (memory.grow $a (i32.const 1)))
                (func (export "size") (result i32) (memory.size $b))
                (func (export "copy") (memory.copy $own $a (i32.const 0) (i32.const 8) (i32.const 5))))"#,
        );
        let mut first = Store::new(&engine, ());
        let made = Instance::new(&mut first, &maker, &[]).unwrap();
        assert!(made.get_memory(&mut first, "m").is_none());
        let memory = made.get_shared_memory(&mut first, "m").unwrap();
        assert_eq!(made.get_export(&mut first, "m").unwrap().ty(&first), ExternType::Memory(shared(1, 3)));
        let mut second = Store::new(&engine, ());
        let imports = [Extern::from(memory.clone()), memory.clone().into()];
        let (here, there) = (Instance::new(&mut first, &user, &imports).unwrap(), Instance::new(&mut second, &user, &imports).unwrap());
        let count = |store: &mut Store<()>, instance, name| func::<_, (), i32>(store, instance, name).call(&mut *store, ()).unwrap();
        assert_eq!((count(&mut first, here, "add"), count(&mut second, there, "add")), (0, 1), "{name}");
        assert_eq!((count(&mut first, here, "other"), count(&mut second, there, "other")), (2, 2), "{name}");
        assert_eq!((count(&mut first, here, "grow"), count(&mut second, there, "size")), (1, 2), "{name}");
        assert_eq!((count(&mut second, there, "grow"), count(&mut first, here, "size"), memory.size()), (2, 3, 3), "{name}");
        assert_eq!(count(&mut first, here, "grow"), -1, "{name}");
        assert!(SharedMemory::same(&memory, &there.get_shared_memory(&mut second, "a").unwrap()));
        func::<_, (), ()>(&mut second, there, "copy").call(&mut second, ()).unwrap();
        assert_eq!(&there.get_memory(&mut second, "own").unwrap().data(&second)[..5], b"hello", "{name}");
        // The memory lives as long as anybody uses it.
        drop(first);
        assert_eq!(count(&mut second, there, "add"), 2, "{name}");
        drop(second);
        assert_eq!(u32_at(&memory, 0), 3, "{name}");
    }
}

#[test]
fn what_cannot_be_made_or_imported() {
    let off = Engine::new(Config::new().tier(Tier::Interpreted)).unwrap();
    let error = SharedMemory::new(&off, shared(1, 2)).unwrap_err().to_string();
    assert!(error.contains("-W shared-memory=y"), "{error}");
    let defines = "(module (memory (export \"m\") 1 2 shared))";
    let error = Instance::new(Store::new(&off, ()), &module(&off, defines), &[]).unwrap_err().to_string();
    assert!(error.contains("-W shared-memory=y"), "{error}");

    let engine = interpreting();
    let new = |ty| SharedMemory::new(&engine, ty).map(|m| m.size());
    assert!(new(MemoryType { shared: false, ..shared(1, 2) }).is_err());
    assert!(new(MemoryType { limits: Limits { min: 1, max: None }, ..shared(1, 2) }).is_err());
    assert!(new(shared(3, 2)).is_err());
    assert!(new(shared(1, 65537)).is_err());
    assert!(new(MemoryType { page_size_log2: 5, ..shared(1, 2) }).is_err());
    assert_eq!(new(MemoryType { page_size_log2: 0, ..shared(5, 9) }).unwrap(), 5);
    assert_eq!(new(MemoryType { memory64: true, ..shared(1, 1 << 40) }).unwrap(), 1);
    assert_eq!(new(shared(0, 65536)).unwrap(), 0);

    let mut store = Store::new(&engine, ());
    let error = Memory::new(&mut store, shared(1, 2)).unwrap_err().to_string();
    assert!(error.contains("SharedMemory::new"), "{error}");
    let memory = SharedMemory::new(&engine, shared(1, 2)).unwrap();
    let wants = |ty: &str| module(&engine, &format!("(module (import \"m\" \"m\" (memory {ty})))"));
    for (ty, fits) in [("1 2 shared", true), ("1 9 shared", true), ("1 2", false), ("2 2 shared", false), ("1 1 shared", false)] {
        let result = Instance::new(&mut store, &wants(ty), &[memory.clone().into()]);
        assert_eq!(result.is_ok(), fits, "{ty}: {result:?}");
        assert!(fits || result.unwrap_err().is::<IncompatibleImport>(), "{ty}");
    }
    let own = Memory::new(&mut store, MemoryType { shared: false, ..shared(1, 2) }).unwrap();
    assert!(Instance::new(&mut store, &wants("1 2 shared"), &[own.into()]).is_err());
    // Another engine, whichever way.
    let other = interpreting();
    let foreign = SharedMemory::new(&other, shared(1, 2)).unwrap();
    assert!(Instance::new(&mut store, &wants("1 2 shared"), &[foreign.clone().into()]).is_err());
    let mut linker: Linker<()> = Linker::new(&engine);
    assert!(linker.define_shared_memory("m", "m", foreign.clone()).is_err());
    assert!(linker.define(&store, "m", "m", foreign).is_err());
    linker.define(&store, "m", "m", memory).unwrap();
    // What the linker has belongs to no store.
    linker.instantiate(Store::new(&engine, ()), &wants("1 2 shared")).unwrap();
    assert!(linker.instantiate_pre(&wants("1 2 shared")).unwrap().bound_to_a_store().is_none());
    // Code that counts on a reservation does not run on a memory without.
    let checked = Engine::new(engine.config().clone().static_memory(false)).unwrap();
    let dynamic = SharedMemory::new(&checked, shared(1, 2)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.so");
    let wasm = wat::parse_str("(module (import \"m\" \"m\" (memory 1 2 shared)))").unwrap();
    wasmc_compiler::compile_to_artifact(&wasm, &Default::default()).unwrap().write_artifact(&path).unwrap();
    // SAFETY: it was just made here.
    if let Ok(module) = unsafe { Module::from_artifact(&checked, &path) } {
        let error = Instance::new(Store::new(&checked, ()), &module, &[dynamic.into()]).unwrap_err().to_string();
        assert!(error.contains("--static-memory"), "{error}");
    }
}

/// Active segments are written by every instance, passive ones by whoever runs `memory.init`: as in the specification.
#[test]
fn data_segments() {
    for (name, engine) in engines() {
        let memory = SharedMemory::new(&engine, shared(1, 2)).unwrap();
        let m = module(
            &engine,
            r#"(module (import "m" "m" (memory 1 2 shared)) (data (i32.const 0) "active") (data $p "passive")
                (func (export "init") (memory.init $p (i32.const 16) (i32.const 0) (i32.const 7)) (data.drop $p)))"#,
        );
        for _ in 0..2 {
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &m, &[memory.clone().into()]).unwrap();
            let mut bytes = [0; 6];
            memory.read(0, &mut bytes).unwrap();
            assert_eq!(&bytes, b"active", "{name}");
            memory.write(0, b"others").unwrap();
            let init = func::<_, (), ()>(&mut store, instance, "init");
            init.call(&mut store, ()).unwrap();
            assert_eq!(trap(&init.call(&mut store, ()).unwrap_err()), TrapCode::MemoryOutOfBounds);
            memory.write(16, &[0; 7]).unwrap();
        }
        let outside = module(&engine, r#"(module (import "m" "m" (memory 1 2 shared)) (data (i32.const 65535) "ab"))"#);
        let error = Instance::new(Store::new(&engine, ()), &outside, &[memory.into()]).unwrap_err();
        assert_eq!(trap(&error), TrapCode::MemoryOutOfBounds, "{name}");
    }
}

/// Host functions in several stores at once, and a trap in one that the others do not notice.
#[test]
fn a_trap_ends_its_own_thread_only() {
    for (name, engine) in engines() {
        let memory = SharedMemory::new(&engine, shared(1, 1)).unwrap();
        let calls = Arc::new(AtomicU32::new(0));
        let mut linker: Linker<i32> = Linker::new(&engine);
        linker.define_shared_memory("m", "m", memory.clone()).unwrap();
        let counted = calls.clone();
        linker
            .func_wrap("h", "id", move |caller: Caller<'_, i32>| {
                counted.fetch_add(1, Ordering::Relaxed);
                *caller.data()
            })
            .unwrap();
        let m = module(
            &engine,
            r#"(module (import "m" "m" (memory 1 1 shared)) (import "h" "id" (func $id (result i32)))
                (func (export "run") (local $i i32)
                    (loop $l
                        (drop (i32.atomic.rmw.add (i32.mul (call $id) (i32.const 8)) (i32.const 1)))
                        (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 500))))))"#,
        );
        let pre = linker.instantiate_pre(&m).unwrap();
        std::thread::scope(|scope| {
            for id in [0, 1, 8191, 8192, 9000, 2] {
                let (pre, engine) = (&pre, &engine);
                scope.spawn(move || {
                    let mut store = Store::new(engine, id);
                    let instance = pre.instantiate(&mut store).unwrap();
                    let result = func::<_, (), ()>(&mut store, instance, "run").call(&mut store, ());
                    assert_eq!(result.is_ok(), id < 8192, "{name}");
                });
            }
        });
        assert_eq!([0, 8, 16, 65528].map(|at| u32_at(&memory, at)), [500; 4], "{name}");
        assert_eq!(calls.load(Ordering::Relaxed), 4 * 500 + 2, "{name}");
    }
}
