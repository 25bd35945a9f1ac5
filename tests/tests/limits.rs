//! Limits of what stores may use, on every tier: growth beyond them is -1, creation beyond them an error that names the limit, the
//! count is right whatever fails on the way, and threads share it.

mod common;

use common::{engines, func, module};
use std::sync::Arc;
use wasmc_runtime::*;

const PAGE: u64 = 65536;

fn limited<T>(engine: &Engine, data: T, limits: &StoreLimits) -> Store<T> {
    let mut store = Store::new(engine, data);
    store.limiter(Arc::new(limits.clone()));
    store
}

fn exceeded<R: std::fmt::Debug>(result: Result<R>) -> LimitExceeded {
    *result.expect_err("a limit").downcast_ref::<LimitExceeded>().expect("a limit")
}

#[test]
fn growth_beyond_a_limit_is_minus_one() {
    let wat = r#"(module (memory $a 1) (memory $b 2) (table $t 3 funcref)
        (func (export "a") (param i32) (result i32) (memory.grow $a (local.get 0)))
        (func (export "b") (param i32) (result i32) (memory.grow $b (local.get 0)))
        (func (export "t") (param i32) (result i32) (table.grow $t (ref.null func) (local.get 0))))"#;
    for (tier, engine) in engines() {
        let limits = StoreLimits::new().limit(Resource::MemoryBytes, 5 * PAGE).limit(Resource::TableElements, 10);
        let mut store = limited(&engine, (), &limits);
        let instance = Instance::new(&mut store, &module(&engine, wat), &[]).unwrap();
        let [a, b, t] = ["a", "b", "t"].map(|name| func::<_, i32, i32>(&mut store, instance, name));
        let mut grow = |f: &TypedFunc<i32, i32>, by| f.call(&mut store, by).unwrap();
        assert_eq!([grow(&a, 3), grow(&b, 1), grow(&a, 2), grow(&a, 1), grow(&b, 1), grow(&b, 0)], [-1, 2, -1, 1, -1, 3], "{tier}");
        assert_eq!([grow(&t, 8), grow(&t, 7), grow(&t, 1), grow(&t, 0), grow(&t, -1)], [-1, 3, -1, 10, -1], "{tier}");
        // What the type forbids was not counted.
        assert_eq!(grow(&a, 65536), -1);
        assert_eq!((limits.used(Resource::MemoryBytes), limits.used(Resource::TableElements)), (5 * PAGE, 10), "{tier}");
        drop(store);
        for resource in Resource::ALL {
            assert_eq!(limits.used(resource), 0, "{tier}: {resource:?}");
        }
        assert_eq!(limits.peak(Resource::MemoryBytes), 5 * PAGE);
    }
}

#[test]
fn creation_beyond_a_limit_is_an_error_that_names_it() {
    for (tier, engine) in engines() {
        let two = module(&engine, "(module (memory 2) (table 5 funcref) (elem (i32.const 0) func 0) (func))");
        let limits = StoreLimits::new()
            .limit(Resource::MemoryBytes, 3 * PAGE)
            .limit(Resource::TableElements, 12)
            .limit(Resource::Instances, 3)
            .limit(Resource::Memories, 3)
            .limit(Resource::Tables, 3);
        let mut store = limited(&engine, (), &limits);
        Instance::new(&mut store, &two, &[]).unwrap();
        let error = exceeded(Instance::new(&mut store, &two, &[]));
        assert_eq!(error, LimitExceeded { resource: Resource::MemoryBytes, limit: 3 * PAGE, needed: 4 * PAGE }, "{tier}");
        assert_eq!(limits.used(Resource::Instances), 1, "{tier}: nothing of it is left");
        let tables = module(&engine, "(module (memory 0) (table 8 funcref))");
        assert_eq!(exceeded(Instance::new(&mut store, &tables, &[])).resource, Resource::TableElements, "{tier}");
        let empty = module(&engine, "(module)");
        for _ in 0..2 {
            Instance::new(&mut store, &empty, &[]).unwrap();
        }
        assert_eq!(exceeded(Instance::new(&mut store, &empty, &[])).needed, 4, "{tier}");
        // The host's own count as well.
        let ty = |min| MemoryType { limits: Limits { min, max: None }, memory64: false, shared: false, page_size_log2: 16 };
        assert_eq!(exceeded(Memory::new(&mut store, ty(2))).resource, Resource::MemoryBytes);
        let memory = Memory::new(&mut store, ty(1)).unwrap();
        memory.grow(&mut store, 1).unwrap_err();
        Memory::new(&mut store, ty(0)).unwrap();
        assert_eq!(exceeded(Memory::new(&mut store, ty(0))).resource, Resource::Memories);
        let used = [Resource::MemoryBytes, Resource::TableElements, Resource::Instances, Resource::Memories, Resource::Tables];
        assert_eq!(used.map(|r| limits.used(r)), [3 * PAGE, 5, 3, 3, 1], "{tier}");
    }
}

/// One count over stores on several threads, and the memory that they share.
#[test]
fn stores_share_a_count() {
    let wat = r#"(module (import "" "" (memory $shared 1 100 shared)) (memory $own 0)
        (func (export "grow") (result i32) (local $n i32)
            (loop $l
                (if (i32.ne (memory.grow $shared (i32.const 1)) (i32.const -1)) (then (local.set $n (i32.add (local.get $n) (i32.const 1))) (br $l)))
                (if (i32.ne (memory.grow $own (i32.const 1)) (i32.const -1)) (then (local.set $n (i32.add (local.get $n) (i32.const 1))) (br $l))))
            (local.get $n)))"#;
    for (tier, engine) in engines() {
        let limits = StoreLimits::new().limit(Resource::MemoryBytes, 500 * PAGE);
        let ty = MemoryType { limits: Limits { min: 1, max: Some(100) }, memory64: false, shared: true, page_size_log2: 16 };
        let memory = SharedMemory::with_limiter(&engine, ty, Arc::new(limits.clone())).unwrap();
        let module = module(&engine, wat);
        let grown: i32 = std::thread::scope(|scope| {
            let grow = || {
                let mut store = limited(&engine, (), &limits);
                let instance = Instance::new(&mut store, &module, &[memory.clone().into()]).unwrap();
                let n = func::<_, (), i32>(&mut store, instance, "grow").call(&mut store, ()).unwrap();
                (store, n)
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(grow)).collect();
            let done: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
            assert_eq!(limits.used(Resource::MemoryBytes), 500 * PAGE, "{tier}");
            done.iter().map(|(_, n)| n).sum()
        });
        assert_eq!((grown, memory.size()), (499, 100), "{tier}");
        assert_eq!(limits.used(Resource::MemoryBytes), 100 * PAGE, "{tier}");
        drop(memory);
        drop(module);
        assert_eq!(limits.used(Resource::MemoryBytes), 0, "{tier}");
    }
}
