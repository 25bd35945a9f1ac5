//! Linking on every tier: modules that import from each other and from the host, what matches and what does not, the
//! text of errors, and what a failed instantiation leaves behind.

mod common;

use common::{func, instance, module, on_every_tier, trap};
use std::sync::{Arc, Mutex};
use wasmc_runtime::environ::jit::{CompileError, JitCode, JitOptions};
use wasmc_runtime::*;

#[test]
fn modules_import_from_each_other_by_name() {
    on_every_tier(|engine| {
        let mut store = Store::new(engine, Vec::<i32>::new());
        let mut linker = Linker::new(engine);
        linker.func_wrap("host", "log", |mut caller: Caller<'_, Vec<i32>>, n: i32| caller.data_mut().push(n)).unwrap();
        let library = module(
            engine,
            r#"(module
                (import "host" "log" (func $log (param i32)))
                (memory (export "memory") 1)
                (table (export "table") 4 funcref)
                (global (export "counter") (mut i32) (i32.const 0))
                (tag (export "tag") (param i32))
                (func (export "store") (param i32 i32) (call $log (local.get 1)) (i32.store (local.get 0) (local.get 1)))
                (func (export "_initialize") (call $log (i32.const -1))))"#,
        );
        linker.module(&mut store, "lib", &library).unwrap();
        assert_eq!(*store.data(), [-1]);
        let program = module(
            engine,
            r#"(module
                (import "lib" "store" (func $store (param i32 i32)))
                (import "lib" "memory" (memory 1))
                (import "lib" "table" (table 4 funcref))
                (import "lib" "counter" (global $counter (mut i32)))
                (import "lib" "tag" (tag $tag (param i32)))
                (elem (i32.const 2) $twice)
                (func $twice (param i32) (result i32) (i32.mul (i32.const 2) (local.get 0)))
                (func (export "run") (param i32) (result i32)
                    (call $store (i32.const 16) (local.get 0))
                    (global.set $counter (i32.add (global.get $counter) (i32.const 1)))
                    (call_indirect (param i32) (result i32) (i32.load (i32.const 16)) (i32.const 2)))
                (func (export "throw") (throw $tag (i32.const 77))))"#,
        );
        let program = linker.instantiate(&mut store, &program).unwrap();
        assert_eq!(func::<_, i32, i32>(&mut store, program, "run").call(&mut store, 21).unwrap(), 42);
        assert_eq!(*store.data(), [-1, 21]);
        linker.instance(&mut store, "program", program).unwrap();
        let counter = linker.get(&mut store, "lib", "counter").and_then(Extern::into_global).unwrap();
        assert_eq!(counter.get(&mut store).i32(), Some(1));
        // A third one catches what the second throws with the tag of the first, and calls through the shared table.
        let third = module(
            engine,
            r#"(module
                (import "program" "throw" (func $throw))
                (import "lib" "tag" (tag $tag (param i32)))
                (import "lib" "table" (table 4 funcref))
                (func (export "catch") (result i32)
                    (block $h (result i32) (try_table (catch $tag $h) (call $throw)) (i32.const 0)))
                (func (export "indirect") (param i32) (result i32)
                    (call_indirect (param i32) (result i32) (local.get 0) (i32.const 2)))
                (func (export "tail") (param i32) (result i32)
                    (return_call_indirect (param i32) (result i32) (local.get 0) (i32.const 2))))"#,
        );
        let third = linker.instantiate(&mut store, &third).unwrap();
        assert_eq!(func::<_, (), i32>(&mut store, third, "catch").call(&mut store, ()).unwrap(), 77);
        for name in ["indirect", "tail"] {
            assert_eq!(func::<_, i32, i32>(&mut store, third, name).call(&mut store, 4).unwrap(), 8, "{name}");
        }
    });
}

#[test]
fn names_are_taken_once_unless_shadowing_is_allowed() {
    on_every_tier(|engine| {
        let mut linker = Linker::<()>::new(engine);
        linker.func_wrap("a", "f", || 1i32).unwrap();
        let error = linker.func_wrap("a", "f", || 2i32).unwrap_err();
        assert!(error.to_string().starts_with("`a`.`f` is defined twice"), "{error}");
        linker.func_wrap("b", "f", || 3i32).unwrap();
        linker.alias("b", "f", "c", "g").unwrap();
        assert!(linker.alias("b", "none", "c", "h").is_err());
        let m = module(engine, r#"(module (import "a" "f" (func (result i32))) (export "f" (func 0)))"#);
        let mut store = Store::new(engine, ());
        let i = linker.instantiate(&mut store, &m).unwrap();
        assert_eq!(func::<_, (), i32>(&mut store, i, "f").call(&mut store, ()).unwrap(), 1);
        assert!(linker.instance(&mut store, "a", i).is_err(), "the instance exports `f`, too");
        linker.allow_shadowing(true).func_wrap("a", "f", || 2i32).unwrap();
        let j = linker.instantiate(&mut store, &m).unwrap();
        assert_eq!(func::<_, (), i32>(&mut store, j, "f").call(&mut store, ()).unwrap(), 2);
        assert_eq!(func::<_, (), i32>(&mut store, i, "f").call(&mut store, ()).unwrap(), 1);
        let mut names: Vec<_> = linker.names().collect();
        names.sort_unstable();
        assert_eq!(names, [("a", "f"), ("b", "f"), ("c", "g")]);
    });
}

#[test]
fn unknown_imports_say_what_is_wanted_and_what_there_is() {
    on_every_tier(|engine| {
        let mut store = Store::new(engine, ());
        let mut linker = Linker::<()>::new(engine);
        linker.func_wrap("wasi_snapshot_preview1", "fd_write", |_: i32, _: i32, _: i32, _: i32| 0i32).unwrap();
        linker.func_wrap("env", "abort", || {}).unwrap();
        let mut unknown = |module_name: &str, name: &str, ty: &str| {
            let m = module(engine, &format!(r#"(module (import "{module_name}" "{name}" {ty}))"#));
            let error = linker.instantiate(&mut store, &m).unwrap_err();
            let unknown = error.downcast_ref::<UnknownImport>().expect("an unknown import");
            assert_eq!((unknown.module(), unknown.name()), (module_name, name));
            error.to_string()
        };
        assert_eq!(
            unknown("wasi_snapshot_preview1", "fd_wirte", "(func (param i32) (result i32))"),
            "unknown import: `wasi_snapshot_preview1`.`fd_wirte` (function (i32) -> (i32)) is not defined; there is \
             `wasi_snapshot_preview1`.`fd_write` (function (i32, i32, i32, i32) -> (i32))"
        );
        assert_eq!(
            unknown("wasi_unstable", "fd_write", "(func)"),
            "unknown import: `wasi_unstable`.`fd_write` (function () -> ()) is not defined; there is \
             `wasi_snapshot_preview1`.`fd_write` (function (i32, i32, i32, i32) -> (i32))"
        );
        assert_eq!(
            unknown("env", "memory", "(memory 1 2)"),
            "unknown import: `env`.`memory` (memory of 1 to 2 pages) is not defined; the module `env` has nothing of a similar name"
        );
        assert_eq!(
            unknown("other", "thing", "(global (mut i64))"),
            "unknown import: `other`.`thing` (mutable global i64) is not defined; there is no module `other`"
        );

        // As traps, they fail when they are called.
        let m = module(
            engine,
            r#"(module (import "x" "y" (func $y (param i32) (result i64))) (func (export "f") (drop (call $y (i32.const 1)))))"#,
        );
        linker.define_unknown_imports_as_traps(&m).unwrap();
        let i = linker.instantiate(&mut store, &m).unwrap();
        let error = func::<_, (), ()>(&mut store, i, "f").call(&mut store, ()).unwrap_err();
        assert!(error.to_string().contains("`x`.`y` was called"), "{error}");
    });
}

#[test]
fn types_must_match() {
    on_every_tier(|engine| {
        let mut store = Store::new(engine, ());
        let exporter = instance(
            &mut store,
            r#"(module
                (func (export "func") (param i32))
                (table (export "table") 2 4 funcref)
                (table (export "externs") 2 externref)
                (memory (export "memory") 1 3)
                (global (export "const") i32 (i32.const 1))
                (global (export "mut") (mut i32) (i32.const 1))
                (tag (export "tag") (param i32)))"#,
        );
        let mut linker = Linker::new(engine);
        linker.instance(&mut store, "m", exporter).unwrap();
        linker.func_wrap("m", "host", |_: i32| {}).unwrap();
        let fits = [
            r#"(import "m" "func" (func (param i32)))"#,
            r#"(import "m" "host" (func (param i32)))"#,
            r#"(import "m" "table" (table 1 funcref))"#,
            r#"(import "m" "table" (table 2 4 funcref))"#,
            r#"(import "m" "table" (table 0 9 funcref))"#,
            r#"(import "m" "externs" (table 2 externref))"#,
            r#"(import "m" "memory" (memory 0))"#,
            r#"(import "m" "memory" (memory 1 3))"#,
            r#"(import "m" "const" (global i32))"#,
            r#"(import "m" "mut" (global (mut i32)))"#,
            r#"(import "m" "tag" (tag (param i32)))"#,
        ];
        for import in fits {
            linker.instantiate(&mut store, &module(engine, &format!("(module {import})"))).expect(import);
        }
        let not = [
            (r#"(import "m" "func" (func (param i64)))"#, "must be a function (i64) -> (), but is a function (i32) -> ()"),
            (r#"(import "m" "host" (func (param i64)))"#, "must be a function (i64) -> (), but is a function (i32) -> ()"),
            (r#"(import "m" "host" (memory 1))"#, "must be a memory of at least 1 pages, but is a function (i32) -> ()"),
            (r#"(import "m" "func" (table 1 funcref))"#, "must be a table of at least 1 funcref, but is a function (i32) -> ()"),
            (r#"(import "m" "table" (table 3 funcref))"#, "must be a table of at least 3 funcref, but is a table of 2 to 4 funcref"),
            (r#"(import "m" "table" (table 1 3 funcref))"#, "must be a table of 1 to 3 funcref, but is a table of 2 to 4 funcref"),
            (r#"(import "m" "table" (table 1 externref))"#, "must be a table of at least 1 externref"),
            (
                r#"(import "m" "externs" (table 1 8 externref))"#,
                "must be a table of 1 to 8 externref, but is a table of at least 2 externref",
            ),
            (r#"(import "m" "memory" (memory 2))"#, "must be a memory of at least 2 pages, but is a memory of 1 to 3 pages"),
            (r#"(import "m" "memory" (memory 1 2))"#, "must be a memory of 1 to 2 pages"),
            (r#"(import "m" "const" (global (mut i32)))"#, "must be a mutable global i32, but is a global i32"),
            (r#"(import "m" "mut" (global i32))"#, "must be a global i32, but is a mutable global i32"),
            (r#"(import "m" "const" (global i64))"#, "must be a global i64"),
            (r#"(import "m" "tag" (tag (param i64)))"#, "must be a tag (i64), but is a tag (i32)"),
        ];
        for (import, text) in not {
            let error = linker.instantiate(&mut store, &module(engine, &format!("(module {import})"))).expect_err(import);
            assert!(error.is::<IncompatibleImport>(), "{import}");
            let error = error.to_string();
            assert!(error.starts_with("incompatible import type: `m`.`") && error.contains(text), "{import}: {error}");
        }
        // Sizes are those of now.
        let memory = exporter.get_memory(&mut store, "memory").unwrap();
        memory.grow(&mut store, 1).unwrap();
        linker.instantiate(&mut store, &module(engine, r#"(module (import "m" "memory" (memory 2)))"#)).unwrap();
        // Number and order, without names.
        let m = module(engine, r#"(module (import "" "" (func)))"#);
        assert_eq!(Instance::new(&mut store, &m, &[]).unwrap_err().to_string(), "the module has 1 imports, but 0 are given");
    });
}

#[test]
fn what_a_failed_instantiation_leaves_behind() {
    on_every_tier(|engine| {
        let mut store = Store::new(engine, 0u32);
        let shared = instance(
            &mut store,
            r#"(module (memory (export "memory") 1) (table (export "table") 10 funcref)
                (func (export "call") (param i32) (result i32) (call_indirect (result i32) (local.get 0)))
                (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0))))"#,
        );
        let mut linker = Linker::new(engine);
        linker.instance(&mut store, "s", shared).unwrap();
        linker.func_wrap("h", "count", |mut caller: Caller<'_, u32>| *caller.data_mut() += 1).unwrap();
        let (call, load) = (func::<_, i32, i32>(&mut store, shared, "call"), func::<_, i32, i32>(&mut store, shared, "load"));

        // The second element segment does not fit: the first was written, the data was not.
        let m = module(
            engine,
            r#"(module (import "s" "memory" (memory 1)) (import "s" "table" (table 10 funcref))
                (func $f (result i32) (i32.const 11))
                (elem (i32.const 0) $f) (elem (i32.const 9) $f $f) (data (i32.const 0) "x"))"#,
        );
        assert_eq!(trap(&linker.instantiate(&mut store, &m).unwrap_err()), TrapCode::TableOutOfBounds);
        assert_eq!((call.call(&mut store, 0).unwrap(), load.call(&mut store, 0).unwrap()), (11, 0));
        assert_eq!(trap(&call.call(&mut store, 9).unwrap_err()), TrapCode::IndirectCallToNull);

        // The second data segment does not fit.
        let m = module(
            engine,
            r#"(module (import "s" "memory" (memory 1)) (data (i32.const 1) "a") (data (i32.const 65535) "bc") (data (i32.const 2) "d"))"#,
        );
        assert_eq!(trap(&linker.instantiate(&mut store, &m).unwrap_err()), TrapCode::MemoryOutOfBounds);
        assert_eq!(
            (load.call(&mut store, 1).unwrap(), load.call(&mut store, 2).unwrap(), load.call(&mut store, 65535).unwrap()),
            (97, 0, 0)
        );

        // The start function traps, and its instance's function stays callable through the table.
        let m = module(
            engine,
            r#"(module (import "s" "table" (table 10 funcref)) (import "h" "count" (func $count))
                (global $g (mut i32) (i32.const 5))
                (func $f (result i32) (global.get $g))
                (elem (i32.const 3) $f)
                (func $start (call $count) (global.set $g (i32.const 6)) unreachable)
                (start $start))"#,
        );
        assert_eq!(trap(&linker.instantiate(&mut store, &m).unwrap_err()), TrapCode::Unreachable);
        assert_eq!((call.call(&mut store, 3).unwrap(), *store.data()), (6, 1));

        // An imported start function.
        let m = module(engine, r#"(module (import "h" "count" (func $count)) (start $count))"#);
        linker.instantiate(&mut store, &m).unwrap();
        assert_eq!(*store.data(), 2);

        // Nothing is written before everything is allocated.
        let m = module(engine, r#"(module (import "s" "memory" (memory 1)) (table 10000001 funcref) (data (i32.const 5) "z"))"#);
        assert!(linker.instantiate(&mut store, &m).is_err());
        assert_eq!(load.call(&mut store, 5).unwrap(), 0);
    });
}

#[test]
fn constant_expressions_and_segments() {
    on_every_tier(|engine| {
        let mut store = Store::new(engine, ());
        let base = Global::new(&mut store, GlobalType { content: ValType::I32, mutable: false }, &Val::I32(8)).unwrap();
        let reference = ExternRef::new(&mut store, "hello").unwrap();
        let ty = GlobalType { content: ValType::Ref(RefType::EXTERNREF), mutable: false };
        let external = Global::new(&mut store, ty, &reference.clone().into()).unwrap();
        drop(reference);
        let m = module(
            engine,
            r#"(module
                (import "" "base" (global $base i32)) (import "" "extern" (global $extern externref))
                (memory (export "memory") 1)
                (table $t 20 funcref)
                (table $e (export "externs") 3 externref)
                (data (offset (i32.add (global.get $base) (i32.const 2))) "ab")
                (data $passive "passive")
                (elem (table $t) (offset (i32.mul (global.get $base) (i32.const 2))) func $one)
                (elem $funcs func $one $two)
                (elem $items externref (global.get $extern) (ref.null extern))
                (func $one (result i32) (i32.const 1))
                (func $two (result i32) (i32.const 2))
                (func (export "init") (param i32 i32 i32) (memory.init $passive (local.get 0) (local.get 1) (local.get 2)))
                (func (export "drop") (data.drop $passive))
                (func (export "fill") (param i32 i32 i32) (memory.fill (local.get 0) (local.get 1) (local.get 2)))
                (func (export "copy") (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2)))
                (func (export "table.init") (param i32 i32 i32) (table.init $t $funcs (local.get 0) (local.get 1) (local.get 2)))
                (func (export "externs.init") (table.init $e $items (i32.const 1) (i32.const 0) (i32.const 2)))
                (func (export "elem.drop") (elem.drop $funcs) (elem.drop $items))
                (func (export "call") (param i32) (result i32) (call_indirect $t (result i32) (local.get 0))))"#,
        );
        let i = Instance::new(&mut store, &m, &[base.into(), external.into()]).unwrap();
        store.collect();
        let memory = i.get_memory(&mut store, "memory").unwrap();
        assert_eq!(&memory.data(&store)[9..13], b"\0ab\0");
        let three = |store: &mut Store<()>, name, args| func::<_, (i32, i32, i32), ()>(store, i, name).call(&mut *store, args);
        let none = |store: &mut Store<()>, name| func::<_, (), ()>(store, i, name).call(&mut *store, ());
        let call = func::<_, i32, i32>(&mut store, i, "call");

        three(&mut store, "init", (20, 1, 4)).unwrap();
        assert_eq!(&memory.data(&store)[20..24], b"assi");
        assert_eq!(trap(&three(&mut store, "init", (20, 4, 4)).unwrap_err()), TrapCode::MemoryOutOfBounds);
        assert_eq!(trap(&three(&mut store, "init", (65533, 0, 4)).unwrap_err()), TrapCode::MemoryOutOfBounds);
        three(&mut store, "init", (65536, 7, 0)).unwrap();
        assert!(three(&mut store, "init", (65537, 7, 0)).is_err());
        none(&mut store, "drop").unwrap();
        three(&mut store, "init", (0, 0, 0)).unwrap();
        assert!(three(&mut store, "init", (0, 0, 1)).is_err());

        three(&mut store, "fill", (30, 0x1ff, 3)).unwrap();
        assert_eq!(&memory.data(&store)[29..34], b"\0\xff\xff\xff\0");
        assert!(three(&mut store, "fill", (-1, 0, 2)).is_err());
        three(&mut store, "copy", (21, 20, 4)).unwrap();
        assert_eq!(&memory.data(&store)[20..25], b"aassi");
        three(&mut store, "copy", (20, 21, 4)).unwrap();
        assert_eq!(&memory.data(&store)[20..25], b"assii");
        assert!(three(&mut store, "copy", (65530, 0, 7)).is_err());

        assert_eq!(call.call(&mut store, 16).unwrap(), 1);
        three(&mut store, "table.init", (0, 1, 1)).unwrap();
        assert_eq!(call.call(&mut store, 0).unwrap(), 2);
        assert_eq!(trap(&three(&mut store, "table.init", (19, 0, 2)).unwrap_err()), TrapCode::TableOutOfBounds);
        none(&mut store, "externs.init").unwrap();
        let externs = i.get_table(&mut store, "externs").unwrap();
        let value = externs.get(&mut store, 1).unwrap();
        assert_eq!(*value.extern_ref().unwrap().unwrap().data(&store).unwrap().downcast_ref::<&str>().unwrap(), "hello");
        none(&mut store, "elem.drop").unwrap();
        assert!(three(&mut store, "table.init", (0, 0, 1)).is_err());
        assert!(none(&mut store, "externs.init").is_err());
    });
}

#[test]
fn instances_of_one_module_are_apart() {
    on_every_tier(|engine| {
        let m = module(
            engine,
            r#"(module (memory (export "m") 1) (data (i32.const 0) "\07") (global $g (mut i32) (i32.const 0))
                (func (export "bump") (result i32)
                    (global.set $g (i32.add (global.get $g) (i32.const 1)))
                    (i32.store8 (i32.const 0) (i32.add (i32.load8_u (i32.const 0)) (i32.const 1)))
                    (i32.add (i32.mul (i32.const 100) (global.get $g)) (i32.load8_u (i32.const 0)))))"#,
        );
        let mut store = Store::new(engine, ());
        let pre = Linker::new(engine).instantiate_pre(&m).unwrap();
        let instances: Vec<_> = (0..20).map(|_| pre.instantiate(&mut store).unwrap()).collect();
        for (n, i) in instances.iter().enumerate() {
            let bump = func::<_, (), i32>(&mut store, *i, "bump");
            for k in 1..=n as i32 + 1 {
                assert_eq!(bump.call(&mut store, ()).unwrap(), 100 * k + 7 + k);
            }
        }
        assert!(Module::same(&instances[3].module(&store), &m));
    });
}

/// What only imports host functions has its bindings prepared; each instance is its own caller all the same, directly, through its
/// table and from outside, and what does not fit is refused as without preparation.
#[test]
fn prepared_instances_call_the_host_as_themselves() {
    on_every_tier(|engine| {
        let mut linker: Linker<u32> = Linker::new(engine);
        linker
            .func_wrap("host", "peek", |caller: Caller<'_, u32>, at: u32| {
                let (base, len) = caller.exported_memory().expect("a memory");
                assert!((at as usize) < len);
                // SAFETY: in bounds, and nobody else uses the memory.
                u32::from(unsafe { *base.add(at as usize) }) + 1000 * *caller.data()
            })
            .unwrap()
            .func_wrap("host", "two", |mut caller: Caller<'_, u32>| {
                *caller.data_mut() += 1;
                let Some(Extern::Global(id)) = caller.get_export("id") else { panic!("the caller exports it") };
                (id.get(&mut caller).i32().expect("a number"), 1_i64 << 40)
            })
            .unwrap()
            .func_wrap("host", "fail", || -> Result<()> { anyhow::bail!("the host says no") })
            .unwrap();
        let text = |id: u32, result: &str| {
            format!(
                r#"(module (import "host" "peek" (func $peek (param i32) (result {result})))
                (import "host" "two" (func $two (result i32 i64)))
                (import "host" "fail" (func $fail))
                (memory (export "memory") 1) (data (i32.const 3) "\{id:02x}")
                (global (export "id") i32 (i32.const {id}))
                (table 2 funcref) (elem (i32.const 0) $peek $two)
                (export "peek_itself" (func $peek))
                (func (export "peek") (result {result}) (call $peek (i32.const 3)))
                (func (export "peek_indirect") (result {result}) (call_indirect (param i32) (result {result}) (i32.const 3) (i32.const 0)))
                (func (export "two") (result i32) (local i64) (call $two) (local.set 0))
                (func (export "fail") (call $fail)))"#
            )
        };
        let pres = [5, 6].map(|id| linker.instantiate_pre(&module(engine, &text(id, "i32"))).unwrap());
        let mut stores = [1, 2].map(|n| Store::new(engine, n));
        for store in &mut stores {
            let made: Vec<_> = [0, 1, 0, 1].map(|n: usize| (n as u32 + 5, pres[n].clone().instantiate(&mut *store).unwrap())).into();
            for (id, instance) in made {
                let before = *store.data();
                for name in ["peek", "peek_indirect"] {
                    assert_eq!(func::<_, (), u32>(store, instance, name).call(&mut *store, ()).unwrap(), id + 1000 * before);
                }
                assert_eq!(func::<_, u32, u32>(store, instance, "peek_itself").call(&mut *store, 3).unwrap(), id + 1000 * before);
                assert_eq!(func::<_, (), u32>(store, instance, "two").call(&mut *store, ()).unwrap(), id);
                assert_eq!(*store.data(), before + 1);
                assert_eq!(func::<_, (), ()>(store, instance, "fail").call(&mut *store, ()).unwrap_err().to_string(), "the host says no");
            }
        }
        let [store, _] = &mut stores;
        let wrong = linker.instantiate_pre(&module(engine, &text(5, "i64"))).unwrap();
        assert!(wrong.instantiate(&mut *store).unwrap_err().downcast_ref::<IncompatibleImport>().is_some());
        let other = Engine::new(Config::new().tier(Tier::Interpreted)).unwrap();
        assert!(pres[0].instantiate(&mut Store::new(&other, 0)).unwrap_err().to_string().contains("another engine"));
    });
}

/// A compiler that leaves to the interpreter what the test says, module by module.
#[derive(Default)]
struct Switch {
    jit: wasmc_compiler::Jit,
    interpret: Mutex<Vec<Interpret>>,
}

impl JitCompiler for Switch {
    fn compile(&self, wasm: &[u8], options: &JitOptions) -> Result<JitCode, CompileError> {
        let interpret = self.interpret.lock().unwrap().clone();
        self.jit.compile(wasm, &JitOptions { interpret, ..options.clone() })
    }
}

const CALLEE: &str = r#"(module (import "h" "inc" (func $inc (param i32) (result i32)))
    (tag $t (export "tag") (param i32))
    (table (export "table") funcref (elem $even $odd $inc $trap $throw))
    (func $even (export "even") (param i32) (result i32) (call $inc (local.get 0)))
    (func $odd (export "odd") (param i32) (result i32) (return_call $inc (local.get 0)))
    (func $trap (export "trap") (param i32) (result i32) unreachable)
    (func $throw (export "throw") (param i32) (result i32) (throw $t (local.get 0)))
    (export "inc" (func $inc)))"#;

/// Each function twice, so that `Interpret::Odd` leaves one of each uncompiled.
const CALLER: &str = r#"(module
    (import "callee" "even" (func $even (param i32) (result i32)))
    (import "callee" "odd" (func $odd (param i32) (result i32)))
    (import "callee" "inc" (func $inc (param i32) (result i32)))
    (import "callee" "table" (table 5 funcref))
    (import "callee" "tag" (tag $t (param i32)))
    (type $t (func (param i32) (result i32)))
    (func (export "direct0") (param i32) (result i32) (call $even (call $odd (call $inc (local.get 0)))))
    (func (export "direct1") (param i32) (result i32) (call $even (call $odd (call $inc (local.get 0)))))
    (func (export "indirect0") (param i32 i32) (result i32) (call_indirect (type $t) (local.get 0) (local.get 1)))
    (func (export "indirect1") (param i32 i32) (result i32) (call_indirect (type $t) (local.get 0) (local.get 1)))
    (func (export "tail0") (param i32 i32) (result i32) (return_call_indirect (type $t) (local.get 0) (local.get 1)))
    (func (export "tail1") (param i32 i32) (result i32) (return_call_indirect (type $t) (local.get 0) (local.get 1)))
    (func (export "catch0") (param i32 i32) (result i32)
        (block $h (result i32)
            (return (try_table (result i32) (catch $t $h) (call_indirect (type $t) (local.get 0) (local.get 1)))))
        (i32.add (i32.const 1000)))
    (func (export "catch1") (param i32 i32) (result i32)
        (block $h (result i32)
            (return (try_table (result i32) (catch $t $h) (call_indirect (type $t) (local.get 0) (local.get 1)))))
        (i32.add (i32.const 1000))))"#;

fn meet(store: &mut Store<()>, callee: &Module, caller: &Module) {
    let mut linker = Linker::new(store.engine());
    linker.func_wrap("h", "inc", |n: i32| n + 1).unwrap();
    linker.module(&mut *store, "callee", callee).unwrap();
    let caller = linker.instantiate(&mut *store, caller).unwrap();
    for name in ["direct0", "direct1"] {
        assert_eq!(func::<_, i32, i32>(store, caller, name).call(&mut *store, 1).unwrap(), 4, "{name}");
    }
    for name in ["indirect0", "indirect1", "tail0", "tail1", "catch0", "catch1"] {
        let f = func::<_, (i32, i32), i32>(store, caller, name);
        for index in 0..3 {
            assert_eq!(f.call(&mut *store, (5, index)).unwrap(), 6, "{name} {index}");
        }
        assert_eq!(trap(&f.call(&mut *store, (5, 3)).unwrap_err()), TrapCode::Unreachable, "{name}");
        assert_eq!(trap(&f.call(&mut *store, (5, 5)).unwrap_err()), TrapCode::UndefinedElement, "{name}");
        match f.call(&mut *store, (5, 4)) {
            Ok(n) => assert_eq!((n, &name[..5]), (1005, "catch")),
            Err(e) => {
                assert!(!name.starts_with("catch"), "{e:?}");
                let exn = e.downcast_ref::<ThrownException>().expect("an exception").exn();
                assert_eq!(exn.payload(&mut *store).unwrap()[0].i32(), Some(5));
            }
        }
    }
}

#[test]
fn modules_of_different_tiers_meet_in_one_store() {
    let tiers = [vec![], vec![Interpret::All], vec![Interpret::Odd]];
    let switch = Arc::new(Switch::default());
    let engine = Engine::new(Config::new().compiler(switch.clone())).unwrap();
    let compile = |text, interpret: &Vec<Interpret>| {
        switch.interpret.lock().unwrap().clone_from(interpret);
        module(&engine, text)
    };
    for callee in &tiers {
        for caller in &tiers {
            eprintln!("callee {callee:?}, caller {caller:?}");
            meet(&mut Store::new(&engine, ()), &compile(CALLEE, callee), &compile(CALLER, caller));
        }
    }
}

#[test]
fn artifacts_and_interpreted_modules_meet_in_one_store() {
    // The interpreted module has no stubs, and what the artifact has may be known only after its functions were made.
    let engine = Engine::new(Config::new().tier(Tier::Interpreted)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let artifact = |text: &str, name: &str| {
        let path = dir.path().join(name);
        let out = wasmc_compiler::compile_to_artifact(&wat::parse_str(text).unwrap(), &wasmc_compiler::CompileOptions::default()).unwrap();
        out.write_artifact(&path).unwrap();
        // SAFETY: the compiler just made it, and nobody changes it.
        unsafe { Module::from_artifact(&engine, &path) }.unwrap()
    };
    let interpreted = |text| module(&engine, text);
    meet(&mut Store::new(&engine, ()), &interpreted(CALLEE), &artifact(CALLER, "caller.so"));
    meet(&mut Store::new(&engine, ()), &artifact(CALLEE, "callee.so"), &interpreted(CALLER));
    meet(&mut Store::new(&engine, ()), &artifact(CALLEE, "callee2.so"), &artifact(CALLER, "caller2.so"));
    meet(&mut Store::new(&engine, ()), &interpreted(CALLEE), &interpreted(CALLER));
}

#[test]
fn code_without_checks_refuses_a_memory_without_room() {
    let engine = |on| {
        let config = Config::new().compiler(Arc::new(wasmc_compiler::Jit::default())).tier(Tier::Compiled).static_memory(on);
        Engine::new(config).unwrap()
    };
    let dir = tempfile::tempdir().unwrap();
    let artifact = |engine: &Engine, on, text: &str, name: &str| {
        let path = dir.path().join(name);
        let tunables = environ::Tunables { static_memory: on, ..Default::default() };
        let options = wasmc_compiler::CompileOptions { tunables, ..Default::default() };
        wasmc_compiler::compile_to_artifact(&wat::parse_str(text).unwrap(), &options).unwrap().write_artifact(&path).unwrap();
        // SAFETY: the compiler just made it, and nobody changes it.
        unsafe { Module::from_artifact(engine, &path) }.unwrap()
    };
    let exports = r#"(module (memory (export "m") 1))"#;
    let imports = r#"(module (import "e" "m" (memory 1))
        (func (export "load") (param i32) (result i32) (i32.load8_u offset=0x7fffffff (local.get 0))))"#;
    for (exporter, importer, fits) in [(true, true, true), (false, true, false), (true, false, true), (false, false, true)] {
        let engine = engine(true);
        let mut store = Store::new(&engine, ());
        let mut linker = Linker::new(&engine);
        let e = artifact(&engine, exporter, exports, &format!("e{exporter}{importer}.so"));
        linker.module(&mut store, "e", &e).unwrap();
        let i = artifact(&engine, importer, imports, &format!("i{exporter}{importer}.so"));
        match linker.instantiate(&mut store, &i) {
            Ok(i) => {
                assert!(fits);
                let load = func::<_, i32, i32>(&mut store, i, "load");
                assert_eq!(trap(&load.call(&mut store, -1).unwrap_err()), TrapCode::MemoryOutOfBounds);
            }
            Err(e) => assert!(!fits && e.to_string().contains("--static-memory"), "{e}"),
        }
    }
    // A memory of the host is made as the engine says.
    let engine = engine(false);
    let mut store = Store::new(&engine, ());
    let ty = MemoryType { limits: Limits { min: 1, max: None }, memory64: false, shared: false, page_size_log2: 16 };
    let memory = Memory::new(&mut store, ty).unwrap();
    assert!(Instance::new(&mut store, &artifact(&engine, true, imports, "h.so"), &[memory.into()]).is_err());
    assert!(Instance::new(&mut store, &module(&engine, imports), &[memory.into()]).is_ok());
}

#[test]
fn host_functions_of_one_name_are_told_apart_by_type() {
    on_every_tier(|engine| {
        let mut linker: Linker<()> = Linker::new(engine);
        linker.func_wrap_overload("env", "f", |x: i32| x + 1).expect("the first");
        linker.func_wrap_overload("env", "f", |x: i64| x + 2).expect("of another type");
        assert!(linker.func_wrap_overload("env", "f", |x: i32| x).is_err());
        assert!(linker.func_wrap("env", "f", || ()).is_err());
        assert!(linker.is_defined("env", "f") && !linker.is_defined("env", "g"));
        let text = r#"(module
            (import "env" "f" (func $narrow (param i32) (result i32)))
            (import "env" "f" (func $wide (param i64) (result i64)))
            (func (export "run") (result i64)
                (i64.add (i64.extend_i32_u (call $narrow (i32.const 10))) (call $wide (i64.const 100)))))"#;
        let mut store = Store::new(engine, ());
        let instance = linker.instantiate(&mut store, &module(engine, text)).expect("both are found");
        assert_eq!(func::<_, (), i64>(&mut store, instance, "run").call(&mut store, ()).expect("a result"), 113);
        let other = module(engine, r#"(module (import "env" "f" (func (param f32))))"#);
        let error = linker.instantiate(&mut store, &other).expect_err("no such type");
        assert!(error.downcast_ref::<IncompatibleImport>().is_some(), "{error:?}");
    });
}

/// Function types that read alike can be different definitions; the error says so.
#[test]
fn types_that_differ_in_their_definition_alone() {
    on_every_tier(|engine| {
        let mut store = Store::new(engine, ());
        let mut linker = Linker::new(engine);
        let exporter = module(engine, r#"(module (func (export "f")))"#);
        let instance = linker.instantiate(&mut store, &exporter).unwrap();
        linker.instance(&mut store, "m", instance).unwrap();
        for ty in ["(type $t (sub (func)))", "(rec (type $t (func)) (type $u (func)))"] {
            let importer = module(engine, &format!(r#"(module {ty} (import "m" "f" (func (type $t))))"#));
            let error = linker.instantiate(&mut store, &importer).expect_err("another type").to_string();
            assert!(error.contains("must be a function () -> (), but is a function () -> () of another type definition"), "{error}");
        }
    });
}
