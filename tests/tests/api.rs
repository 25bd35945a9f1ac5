//! The embedding interface on every tier: values, host functions, memories, tables, globals, references, errors.

mod common;

use common::{func, instance, module, on_every_tier, trap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wasmc_runtime::*;

const PAGE: usize = 64 << 10;

fn pages(min: u64, max: Option<u64>) -> MemoryType {
    MemoryType { limits: Limits { min, max }, memory64: false, shared: false, page_size_log2: 16 }
}

#[test]
fn calls_with_values_of_every_number_type() {
    on_every_tier(|engine| {
        let mut store = Store::new(engine, ());
        let i = instance(
            &mut store,
            r#"(module
                (func (export "swap") (param i32 i64 f32 f64) (result f64 f32 i64 i32)
                    (local.get 3) (local.get 2) (local.get 1) (local.get 0))
                (func (export "vector") (param v128) (result v128) (i32x4.add (local.get 0) (local.get 0)))
                (func (export "nothing")))"#,
        );
        let swap = func::<_, (i32, i64, f32, f64), (f64, f32, i64, i32)>(&mut store, i, "swap");
        assert_eq!(swap.call(&mut store, (-1, i64::MIN, 1.5, -2.25)).unwrap(), (-2.25, 1.5, i64::MIN, -1));
        let unsigned = func::<_, (u32, u64, f32, f64), (f64, f32, u64, u32)>(&mut store, i, "swap");
        assert_eq!(unsigned.call(&mut store, (u32::MAX, u64::MAX, 0.0, 0.0)).unwrap(), (0.0, 0.0, u64::MAX, u32::MAX));
        let vector = func::<_, V128, V128>(&mut store, i, "vector");
        assert_eq!(vector.call(&mut store, V128::from((7 << 96) | 3)).unwrap().as_u128(), (14 << 96) | 6);
        func::<_, (), ()>(&mut store, i, "nothing").call(&mut store, ()).unwrap();

        let swap = i.get_func(&mut store, "swap").unwrap();
        let mut results = [const { Val::I32(0) }; 4];
        swap.call(&mut store, &[Val::I32(1), Val::I64(2), Val::from(3f32), Val::from(4f64)], &mut results).unwrap();
        assert_eq!((results[0].f64(), results[1].f32(), results[2].i64(), results[3].i32()), (Some(4.0), Some(3.0), Some(2), Some(1)));

        // What does not fit is refused, and says how.
        let text = |e: Error| format!("{e:#}");
        assert!(text(swap.call(&mut store, &[], &mut results).unwrap_err()).contains("(i32, i64, f32, f64) -> (f64, f32, i64, i32)"));
        let wrong = [Val::I64(1), Val::I64(2), Val::F32(0), Val::F64(0)];
        assert_eq!(
            text(swap.call(&mut store, &wrong, &mut results).unwrap_err()),
            "argument 0 of a function of type (i32, i64, f32, f64) -> (f64, f32, i64, i32): i64 is not a value of type i32"
        );
        assert!(swap.call(&mut store, &[Val::I32(1), Val::I64(2), Val::F32(0), Val::F64(0)], &mut results[..2]).is_err());
        assert_eq!(
            text(i.get_typed_func::<i32, ()>(&mut store, "nothing").unwrap_err()),
            "export `nothing`: the function has type () -> (), not (i32) -> ()"
        );
        assert!(text(i.get_typed_func::<(), ()>(&mut store, "none").unwrap_err()).contains("no function `none`"));
    });
}

#[test]
fn host_functions_of_every_shape() {
    on_every_tier(|engine| {
        let mut linker = Linker::<Vec<String>>::new(engine);
        linker.func_wrap("h", "none", || {}).unwrap();
        linker.func_wrap("h", "add", |a: i32, b: i64, c: f32, d: f64| f64::from(a) + b as f64 + f64::from(c) + d).unwrap();
        linker.func_wrap("h", "two", |a: u32| (a + 1, u64::from(a) + 2)).unwrap();
        linker.func_wrap("h", "log", |mut caller: Caller<'_, Vec<String>>, a: i32| caller.data_mut().push(format!("log {a}"))).unwrap();
        linker.func_wrap("h", "fallible", |a: i32| if a < 0 { Err(Error::msg("negative")) } else { Ok(a * 2) }).unwrap();
        linker
            .func_wrap(
                "h",
                "many",
                |a: i32,
                 b: i32,
                 c: i32,
                 d: i32,
                 e: i32,
                 f: i32,
                 g: i32,
                 h: i32,
                 i: i64,
                 j: f64,
                 k: f64,
                 l: f64,
                 m: f64,
                 n: f64,
                 o: f64,
                 p: f32| {
                    let ints = [a, b, c, d, e, f, g, h].iter().fold(0i64, |n, x| n * 10 + i64::from(*x));
                    ints + i + (j + k + l + m + n + o) as i64 + p as i64
                },
            )
            .unwrap();
        linker.func_wrap("h", "vector", |v: V128| V128::from(v.as_u128() ^ 1)).unwrap();
        let ty = FuncType::new([ValType::I32, ValType::F64], [ValType::I64, ValType::F32]);
        linker
            .func_new("h", "dynamic", ty, |_, args, results| {
                results[0] = Val::I64(args[0].i32().unwrap().into());
                results[1] = Val::from(args[1].f64().unwrap() as f32);
                Ok(())
            })
            .unwrap();
        let m = module(
            engine,
            r#"(module
                (import "h" "none" (func $none))
                (import "h" "add" (func $add (param i32 i64 f32 f64) (result f64)))
                (import "h" "two" (func $two (param i32) (result i32 i64)))
                (import "h" "log" (func $log (param i32)))
                (import "h" "fallible" (func $fallible (param i32) (result i32)))
                (import "h" "many" (func $many (param i32 i32 i32 i32 i32 i32 i32 i32 i64 f64 f64 f64 f64 f64 f64 f32) (result i64)))
                (import "h" "vector" (func $vector (param v128) (result v128)))
                (import "h" "dynamic" (func $dynamic (param i32 f64) (result i64 f32)))
                (table funcref (elem $fallible))
                (type $f (func (param i32) (result i32)))
                (func (export "none") call $none)
                (func (export "add") (result f64) (call $add (i32.const -1) (i64.const 2) (f32.const 0.5) (f64.const 0.25)))
                (func (export "two") (result i32 i64) (call $two (i32.const 40)))
                (func (export "log") (call $log (i32.const 3)) (call $log (i32.const 4)))
                (func (export "fallible") (param i32) (result i32) (i32.add (i32.const 1) (call $fallible (local.get 0))))
                (func (export "many") (result i64)
                    (call $many (i32.const 1) (i32.const 2) (i32.const 3) (i32.const 4) (i32.const 5) (i32.const 6) (i32.const 7)
                        (i32.const 8) (i64.const 100000000) (f64.const 1) (f64.const 2) (f64.const 3) (f64.const 4) (f64.const 5)
                        (f64.const 6) (f32.const 1000)))
                (func (export "vector") (param v128) (result v128) (call $vector (local.get 0)))
                (func (export "dynamic") (result i64 f32) (call $dynamic (i32.const -7) (f64.const 1.5)))
                (func (export "indirect") (param i32) (result i32) (call_indirect (type $f) (local.get 0) (i32.const 0)))
                (func (export "tail") (param i32) (result i32) (return_call $fallible (local.get 0)))
                (export "exported again" (func $fallible)))"#,
        );
        let mut store = Store::new(engine, Vec::new());
        let i = linker.instantiate(&mut store, &m).unwrap();
        func::<_, (), ()>(&mut store, i, "none").call(&mut store, ()).unwrap();
        assert_eq!(func::<_, (), f64>(&mut store, i, "add").call(&mut store, ()).unwrap(), 1.75);
        assert_eq!(func::<_, (), (i32, i64)>(&mut store, i, "two").call(&mut store, ()).unwrap(), (41, 42));
        func::<_, (), ()>(&mut store, i, "log").call(&mut store, ()).unwrap();
        assert_eq!(store.data().as_slice(), ["log 3", "log 4"]);
        assert_eq!(func::<_, (), i64>(&mut store, i, "many").call(&mut store, ()).unwrap(), 112_346_699);
        assert_eq!(
            func::<_, V128, V128>(&mut store, i, "vector").call(&mut store, V128::from(1 << 100)).unwrap().as_u128(),
            (1 << 100) | 1
        );
        assert_eq!(func::<_, (), (i64, f32)>(&mut store, i, "dynamic").call(&mut store, ()).unwrap(), (-7, 1.5));
        for (name, result) in [("fallible", 13), ("indirect", 12), ("tail", 12), ("exported again", 12)] {
            let f = func::<_, i32, i32>(&mut store, i, name);
            assert_eq!(f.call(&mut store, 6).unwrap(), result, "{name}");
            assert_eq!(f.call(&mut store, -1).unwrap_err().to_string(), "negative", "{name}");
            // The store is as good as before.
            assert_eq!(f.call(&mut store, 6).unwrap(), result, "{name}");
        }
        assert_eq!(store.into_data().len(), 2);
    });
}

#[test]
fn a_caller_is_the_instance_that_imported_the_function() {
    on_every_tier(|engine| {
        let mut store = Store::new(engine, ());
        let which = Func::wrap(&mut store, |mut caller: Caller<'_, ()>| -> Result<i32> {
            let Some(global) = caller.get_export("id").and_then(Extern::into_global) else { return Ok(-1) };
            Ok(global.get(&mut caller).i32().unwrap())
        });
        let m = |id| {
            format!(
                r#"(module (import "" "" (func $which (result i32)))
                    (global (export "id") i32 (i32.const {id}))
                    (func (export "ask") (result i32) call $which)
                    (export "which" (func $which)))"#
            )
        };
        let one = module(engine, &m(1));
        let two = module(engine, &m(2));
        let one = Instance::new(&mut store, &one, &[which.into()]).unwrap();
        // The second one gets the function as the first one exports it.
        let exported = one.get_export(&mut store, "which").unwrap();
        let two = Instance::new(&mut store, &two, &[exported]).unwrap();
        for (i, id) in [(one, 1), (two, 2)] {
            assert_eq!(func::<_, (), i32>(&mut store, i, "ask").call(&mut store, ()).unwrap(), id);
            assert_eq!(func::<_, (), i32>(&mut store, i, "which").call(&mut store, ()).unwrap(), id);
        }
        assert_eq!(which.typed::<(), i32>(&store).unwrap().call(&mut store, ()).unwrap(), -1);
    });
}

#[test]
fn host_and_wasm_call_each_other_deeply() {
    on_every_tier(|engine| {
        let mut store = Store::new(engine, 0u32);
        let down = Func::wrap(&mut store, |mut caller: Caller<'_, u32>, n: i32| -> Result<i32> {
            *caller.data_mut() += 1;
            let f = caller.get_export("f").and_then(Extern::into_func).unwrap().typed::<i32, i32>(&caller)?;
            Ok(f.call(&mut caller, n - 1)? + 1)
        });
        let m = module(
            engine,
            r#"(module (import "" "" (func $down (param i32) (result i32)))
                (func (export "f") (param i32) (result i32)
                    (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 100)) (else (call $down (local.get 0))))))"#,
        );
        let i = Instance::new(&mut store, &m, &[down.into()]).unwrap();
        let f = func::<_, i32, i32>(&mut store, i, "f");
        assert_eq!(f.call(&mut store, 50).unwrap(), 150);
        assert_eq!(*store.data(), 50);
        // Without an end, it is the stack that ends: a trap, in host functions too, and the store lives on.
        let error = f.call(&mut store, -1).unwrap_err();
        assert_eq!(trap(&error), TrapCode::StackOverflow);
        assert_eq!(f.call(&mut store, 3).unwrap(), 103);
    });
}

#[test]
fn errors_of_host_functions_reach_the_outer_caller() {
    on_every_tier(|engine| {
        let mut store = Store::new(engine, ());
        let fail = Func::wrap(&mut store, |n: i32| -> Result<()> {
            match n {
                0 => Err(Exit(7).into()),
                1 => panic!("on purpose: {n}"),
                2 => Err(Trap::from(TrapCode::IntegerOverflow).into()),
                3 => Err(Error::msg("inner").context("outer")),
                _ => Ok(()),
            }
        });
        let m = module(
            engine,
            r#"(module (import "" "" (func $fail (param i32)))
                (func $g (param i32) (call $fail (local.get 0)))
                (func (export "f") (param i32) (call $g (local.get 0))))"#,
        );
        let i = Instance::new(&mut store, &m, &[fail.into()]).unwrap();
        let f = func::<_, i32, ()>(&mut store, i, "f");
        assert_eq!(f.call(&mut store, 0).unwrap_err().downcast_ref(), Some(&Exit(7)));
        let panicked = f.call(&mut store, 1).unwrap_err();
        assert_eq!(panicked.downcast_ref::<HostPanic>().unwrap().message(), "on purpose: 1");
        assert_eq!(trap(&f.call(&mut store, 2).unwrap_err()), TrapCode::IntegerOverflow);
        assert_eq!(format!("{:#}", f.call(&mut store, 3).unwrap_err()), "outer: inner");
        f.call(&mut store, 4).unwrap();
        // Called by the host directly, it is no different.
        let fail = fail.typed::<i32, ()>(&store).unwrap();
        assert_eq!(fail.call(&mut store, 0).unwrap_err().downcast_ref(), Some(&Exit(7)));
        assert!(fail.call(&mut store, 1).unwrap_err().is::<HostPanic>());
    });
}

#[test]
fn a_host_function_that_returns_what_it_may_not() {
    on_every_tier(|engine| {
        let mut store = Store::new(engine, ());
        let mut other = Store::new(engine, ());
        let foreign = Func::wrap(&mut other, || {});
        let f = Func::new(&mut store, FuncType::new([], [ValType::I32]), |_, _, results| {
            results[0] = Val::I64(1);
            Ok(())
        })
        .unwrap();
        let g = Func::wrap(&mut store, move || Some(foreign));
        let m = module(
            engine,
            r#"(module (import "" "f" (func $f (result i32))) (import "" "g" (func $g (result funcref)))
                (func (export "f") (result i32) call $f) (func (export "g") (result funcref) call $g))"#,
        );
        let i = Instance::new(&mut store, &m, &[f.into(), g.into()]).unwrap();
        let error = func::<_, (), i32>(&mut store, i, "f").call(&mut store, ()).unwrap_err();
        assert_eq!(format!("{error:#}"), "result 0 of a host function: i64 is not a value of type i32");
        let error = func::<_, (), Option<Func>>(&mut store, i, "g").call(&mut store, ()).unwrap_err();
        assert_eq!(error.to_string(), "this function belongs to another store");
    });
}

#[test]
fn traps_carry_their_code_and_the_backtrace() {
    on_every_tier(|engine| {
        let mut store = Store::new(engine, ());
        let i = instance(
            &mut store,
            r#"(module $named
                (memory 1)
                (func $inner (param i32) (result i32) (i32.load (local.get 0)))
                (func $middle (param i32) (result i32) (i32.add (i32.const 1) (call $inner (local.get 0))))
                (func $outer (export "outer") (param i32) (result i32) (i32.add (i32.const 1) (call $middle (local.get 0))))
                (func (export "divide") (param i32) (result i32) (i32.div_s (i32.const 1) (local.get 0)))
                (func (export "unreachable") unreachable))"#,
        );
        let outer = func::<_, i32, i32>(&mut store, i, "outer");
        assert_eq!(outer.call(&mut store, 65532).unwrap(), 2);
        let error = outer.call(&mut store, 65533).unwrap_err();
        let trap_ = error.downcast_ref::<Trap>().unwrap();
        assert_eq!(trap_.code(), TrapCode::MemoryOutOfBounds);
        let names: Vec<_> = trap_.backtrace().frames().iter().map(|f| f.func_name().unwrap_or_default()).collect();
        assert_eq!(names, ["inner", "middle", "outer"]);
        assert!(trap_.backtrace().frames().iter().all(|f| f.module_name() == Some("named") && f.module_offset().is_some()));
        assert!(error.to_string().starts_with("wasm trap: out of bounds memory access\nwasm backtrace:\n"), "{error}");
        assert_eq!(outer.call(&mut store, 0).unwrap(), 2);
        let divide = func::<_, i32, i32>(&mut store, i, "divide");
        assert_eq!(trap(&divide.call(&mut store, 0).unwrap_err()), TrapCode::IntegerDivisionByZero);
        let unreachable = func::<_, (), ()>(&mut store, i, "unreachable");
        assert_eq!(trap(&unreachable.call(&mut store, ()).unwrap_err()), TrapCode::Unreachable);
    });
}

#[test]
fn memories() {
    on_every_tier(|engine| {
        let mut store = Store::new(engine, 5u8);
        let i = instance(
            &mut store,
            r#"(module (memory (export "m") 1 3) (data (i32.const 10) "hello")
                (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
                (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
                (func (export "size") (result i32) memory.size))"#,
        );
        let memory = i.get_memory(&mut store, "m").unwrap();
        assert_eq!(memory.ty(&store), pages(1, Some(3)));
        assert_eq!(&memory.data(&store)[10..15], b"hello");
        let load = func::<_, i32, i32>(&mut store, i, "load");
        memory.write(&mut store, 10, b"J").unwrap();
        assert_eq!(load.call(&mut store, 10).unwrap(), i32::from(b'J'));
        let (bytes, data) = memory.data_and_store_mut(&mut store);
        bytes[11] = *data;
        *data += 1;
        assert_eq!((load.call(&mut store, 11).unwrap(), *store.data()), (5, 6));
        let mut buffer = [0; 4];
        memory.read(&store, PAGE - 4, &mut buffer).unwrap();
        let error = memory.read(&store, PAGE - 3, &mut buffer).unwrap_err();
        assert_eq!(error.to_string(), "4 bytes at 0xfffd are outside the memory of 0x10000 bytes");
        assert!(memory.write(&mut store, usize::MAX, &buffer).is_err());

        assert_eq!(trap(&load.call(&mut store, PAGE as i32).unwrap_err()), TrapCode::MemoryOutOfBounds);
        let base = memory.data_ptr(&store);
        assert_eq!(memory.grow(&mut store, 1).unwrap(), 1);
        assert_eq!((memory.size(&store), memory.data_size(&store)), (2, 2 * PAGE));
        assert_eq!(memory.data_ptr(&store), base);
        assert_eq!(load.call(&mut store, PAGE as i32).unwrap(), 0);
        let (grow, size) = (func::<_, i32, i32>(&mut store, i, "grow"), func::<_, (), i32>(&mut store, i, "size"));
        assert_eq!(size.call(&mut store, ()).unwrap(), 2);
        assert_eq!((grow.call(&mut store, 2).unwrap(), grow.call(&mut store, 1).unwrap(), grow.call(&mut store, 1).unwrap()), (-1, 2, -1));
        assert_eq!(memory.size(&store), 3);
        assert!(memory.grow(&mut store, 1).unwrap_err().to_string().contains("cannot grow by 1 pages from 3"));
        assert_eq!(memory.grow(&mut store, 0).unwrap(), 3);
    });
}

#[test]
fn memories_of_the_host() {
    on_every_tier(|engine| {
        let mut store = Store::new(engine, ());
        let memory = Memory::new(&mut store, pages(1, None)).unwrap();
        memory.write(&mut store, 100, &[42]).unwrap();
        let m = module(
            engine,
            r#"(module (import "" "" (memory 1))
                (func (export "get") (result i32) (i32.load8_u (i32.const 100)))
                (func (export "grow") (result i32) (memory.grow (i32.const 1)))
                (func (export "far") (param i32) (i32.store8 offset=4294967295 (local.get 0) (i32.const 1))))"#,
        );
        let i = Instance::new(&mut store, &m, &[memory.into()]).unwrap();
        assert_eq!(func::<_, (), i32>(&mut store, i, "get").call(&mut store, ()).unwrap(), 42);
        assert_eq!(func::<_, (), i32>(&mut store, i, "grow").call(&mut store, ()).unwrap(), 1);
        assert_eq!(memory.size(&store), 2);
        let far = func::<_, i32, ()>(&mut store, i, "far");
        assert_eq!(trap(&far.call(&mut store, -1).unwrap_err()), TrapCode::MemoryOutOfBounds);
        for bad in [pages(2, Some(1)), pages(65537, None), pages(0, Some(65537)), MemoryType { page_size_log2: 3, ..pages(0, None) }] {
            assert!(Memory::new(&mut store, bad).is_err(), "{bad:?}");
        }
        assert!(Memory::new(&mut store, MemoryType { shared: true, ..pages(1, Some(1)) }).is_err());
        // The unit is the page: of a byte, in this case.
        let bytes = Memory::new(&mut store, MemoryType { page_size_log2: 0, ..pages(10, Some(20)) }).unwrap();
        assert_eq!((bytes.data_size(&store), bytes.grow(&mut store, 5).unwrap(), bytes.data_size(&store)), (10, 10, 15));
    });
}

#[test]
fn tables() {
    on_every_tier(|engine| {
        let mut store = Store::new(engine, ());
        let i = instance(
            &mut store,
            r#"(module
                (table (export "t") 3 5 funcref) (elem (i32.const 1) $one)
                (func $one (result i32) (i32.const 1))
                (func (export "two") (result i32) (i32.const 2))
                (func (export "call") (param i32) (result i32) (call_indirect (result i32) (local.get 0))))"#,
        );
        let table = i.get_table(&mut store, "t").unwrap();
        let call = func::<_, i32, i32>(&mut store, i, "call");
        assert_eq!(call.call(&mut store, 1).unwrap(), 1);
        assert_eq!(trap(&call.call(&mut store, 0).unwrap_err()), TrapCode::IndirectCallToNull);
        assert_eq!(trap(&call.call(&mut store, 3).unwrap_err()), TrapCode::UndefinedElement);
        let one = table.get(&mut store, 1).unwrap().func_ref().unwrap().unwrap();
        assert_eq!(one.typed::<(), i32>(&store).unwrap().call(&mut store, ()).unwrap(), 1);
        assert!(table.get(&mut store, 0).unwrap().func_ref().unwrap().is_none());
        assert!(table.get(&mut store, 3).is_none());
        let two = i.get_func(&mut store, "two").unwrap();
        table.set(&mut store, 0, &two.into()).unwrap();
        assert_eq!(call.call(&mut store, 0).unwrap(), 2);
        let host = Func::wrap(&mut store, || 3i32);
        let wrong = Func::wrap(&mut store, || 3i64);
        assert_eq!(table.grow(&mut store, 2, &host.into()).unwrap(), 3);
        assert_eq!(call.call(&mut store, 4).unwrap(), 3);
        table.set(&mut store, 4, &wrong.into()).unwrap();
        assert_eq!(trap(&call.call(&mut store, 4).unwrap_err()), TrapCode::BadSignature);
        assert!(table.grow(&mut store, 1, &host.into()).is_err());
        assert!(table.set(&mut store, 5, &host.into()).is_err());
        assert!(table.set(&mut store, 0, &Val::I32(1)).is_err());
        assert!(table.fill(&mut store, 3, &Val::FuncRef(None), u64::MAX).is_err());
        table.fill(&mut store, 0, &host.into(), 5).unwrap();
        assert_eq!(call.call(&mut store, 2).unwrap(), 3);
        assert_eq!(table.size(&store), 5);

        // A table of the host, in another instance.
        let ty = TableType { element: RefType::FUNCREF, limits: Limits { min: 1, max: None }, table64: false };
        let shared = Table::new(&mut store, ty, &two.into()).unwrap();
        let m = module(
            engine,
            r#"(module (import "" "" (table $t 1 funcref))
                (func (export "call") (param i32) (result i32) (call_indirect (result i32) (local.get 0)))
                (func (export "grow") (result i32) (table.grow $t (ref.null func) (i32.const 10))))"#,
        );
        let i = Instance::new(&mut store, &m, &[shared.into()]).unwrap();
        let call = func::<_, i32, i32>(&mut store, i, "call");
        assert_eq!(call.call(&mut store, 0).unwrap(), 2);
        assert_eq!(func::<_, (), i32>(&mut store, i, "grow").call(&mut store, ()).unwrap(), 1);
        shared.set(&mut store, 10, &host.into()).unwrap();
        assert_eq!((call.call(&mut store, 10).unwrap(), call.call(&mut store, 0).unwrap()), (3, 2));
    });
}

#[test]
fn globals() {
    on_every_tier(|engine| {
        let mut store = Store::new(engine, ());
        let ty = |content, mutable| GlobalType { content, mutable };
        let host = Global::new(&mut store, ty(ValType::I64, true), &Val::I64(5)).unwrap();
        let constant = Global::new(&mut store, ty(ValType::I32, false), &Val::I32(9)).unwrap();
        assert!(Global::new(&mut store, ty(ValType::I32, false), &Val::I64(9)).is_err());
        let m = module(
            engine,
            r#"(module
                (import "" "" (global $h (mut i64))) (import "" "" (global $c i32))
                (global (export "own") (mut f64) (f64.const 1.5))
                (global (export "sum") i32 (i32.add (global.get $c) (i32.const 1)))
                (export "again" (global $h))
                (func (export "bump") (result i64)
                    (global.set $h (i64.add (global.get $h) (i64.const 1))) (global.get $h)))"#,
        );
        let i = Instance::new(&mut store, &m, &[host.into(), constant.into()]).unwrap();
        let bump = func::<_, (), i64>(&mut store, i, "bump");
        assert_eq!(bump.call(&mut store, ()).unwrap(), 6);
        assert_eq!(host.get(&mut store).i64(), Some(6));
        host.set(&mut store, &Val::I64(40)).unwrap();
        assert_eq!(bump.call(&mut store, ()).unwrap(), 41);
        let again = i.get_global(&mut store, "again").unwrap();
        assert_eq!((again.get(&mut store).i64(), again.ty(&store)), (Some(41), ty(ValType::I64, true)));
        let own = i.get_global(&mut store, "own").unwrap();
        own.set(&mut store, &Val::from(2.5f64)).unwrap();
        assert_eq!(own.get(&mut store).f64(), Some(2.5));
        assert!(own.set(&mut store, &Val::I32(0)).is_err());
        let sum = i.get_global(&mut store, "sum").unwrap();
        assert_eq!(sum.get(&mut store).i32(), Some(10));
        assert!(sum.set(&mut store, &Val::I32(0)).unwrap_err().to_string().contains("not mutable"));
    });
}

/// Counts how many of it are alive.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn references_to_host_values_live_as_long_as_somebody_holds_them() {
    on_every_tier(|engine| {
        let alive = Arc::new(AtomicUsize::new(0));
        let count = || alive.load(Ordering::Relaxed);
        let mut store = Store::new(engine, ());
        let collect = Func::wrap(&mut store, |mut caller: Caller<'_, ()>| caller.as_context_mut().collect());
        let m = module(
            engine,
            r#"(module (import "" "" (func $collect))
                (table $t (export "t") 2 externref)
                (global $g (export "g") (mut externref) (ref.null extern))
                (func (export "same") (param externref) (result externref) (local.get 0))
                (func (export "across") (param externref) (result externref) (call $collect) (local.get 0))
                (func (export "set") (param i32 externref) (table.set $t (local.get 0) (local.get 1)))
                (func (export "get") (param i32) (result externref) (table.get $t (local.get 0)))
                (func (export "keep") (param externref) (global.set $g (local.get 0)))
                (func (export "is null") (param externref) (result i32) (ref.is_null (local.get 0))))"#,
        );
        let i = Instance::new(&mut store, &m, &[collect.into()]).unwrap();
        let same = func::<_, Option<ExternRef>, Option<ExternRef>>(&mut store, i, "same");
        let across = func::<_, Option<ExternRef>, Option<ExternRef>>(&mut store, i, "across");
        let set = func::<_, (i32, Option<ExternRef>), ()>(&mut store, i, "set");
        let get = func::<_, i32, Option<ExternRef>>(&mut store, i, "get");
        let keep = func::<_, Option<ExternRef>, ()>(&mut store, i, "keep");

        let a = ExternRef::new(&mut store, Counted::new(&alive)).unwrap();
        let b = same.call(&mut store, Some(a.clone())).unwrap().unwrap();
        assert!(ExternRef::same(&a, &b));
        assert!(b.data(&store).unwrap().is::<Counted>());
        drop(a);
        store.collect();
        assert_eq!(count(), 1, "a handle keeps the value");
        let c = across.call(&mut store, Some(b)).unwrap().unwrap();
        assert!(c.data(&store).unwrap().is::<Counted>(), "a frame keeps the value");
        drop(c);
        store.collect();
        assert_eq!(count(), 0);

        let a = ExternRef::new(&mut store, Counted::new(&alive)).unwrap();
        set.call(&mut store, (1, Some(a))).unwrap();
        let b = ExternRef::new(&mut store, Counted::new(&alive)).unwrap();
        keep.call(&mut store, Some(b)).unwrap();
        store.collect();
        assert_eq!(count(), 2, "tables and globals keep values");
        assert!(get.call(&mut store, 1).unwrap().unwrap().data(&store).unwrap().is::<Counted>());
        set.call(&mut store, (1, None)).unwrap();
        store.collect();
        assert_eq!(count(), 1);
        let g = i.get_global(&mut store, "g").unwrap();
        g.set(&mut store, &Val::ExternRef(None)).unwrap();
        store.collect();
        assert_eq!(count(), 0);

        // A program that makes references for an hour does not grow.
        for _ in 0..200_000 {
            let r = ExternRef::new(&mut store, Counted::new(&alive)).unwrap();
            same.call(&mut store, Some(r)).unwrap();
        }
        assert!(count() < 100_000, "{} are alive", count());
        let null = func::<_, Option<ExternRef>, i32>(&mut store, i, "is null");
        assert_eq!(null.call(&mut store, None).unwrap(), 1);
        let mut other = Store::new(engine, ());
        let foreign = ExternRef::new(&mut other, 1u8).unwrap();
        assert_eq!(null.call(&mut store, Some(foreign.clone())).unwrap_err().to_string(), "this externref belongs to another store");
        assert!(foreign.data(&store).is_err());
        drop(store);
        assert_eq!(count(), 0, "the store takes all with it");
    });
}

#[test]
fn function_references() {
    on_every_tier(|engine| {
        let mut store = Store::new(engine, ());
        let host = Func::wrap(&mut store, |mut caller: Caller<'_, ()>, f: Option<Func>, n: i32| -> Result<i32> {
            let Some(f) = f else { return Ok(-1) };
            f.typed::<i32, i32>(&caller)?.call(&mut caller, n)
        });
        let m = module(
            engine,
            r#"(module (import "" "" (func $apply (param funcref i32) (result i32)))
                (func $double (param i32) (result i32) (i32.mul (i32.const 2) (local.get 0)))
                (elem declare func $double)
                (func (export "double") (result funcref) (ref.func $double))
                (func (export "run") (param i32) (result i32) (call $apply (ref.func $double) (local.get 0)))
                (func (export "null") (result i32) (call $apply (ref.null func) (i32.const 1))))"#,
        );
        let i = Instance::new(&mut store, &m, &[host.into()]).unwrap();
        assert_eq!(func::<_, i32, i32>(&mut store, i, "run").call(&mut store, 21).unwrap(), 42);
        assert_eq!(func::<_, (), i32>(&mut store, i, "null").call(&mut store, ()).unwrap(), -1);
        let double = func::<_, (), Option<Func>>(&mut store, i, "double").call(&mut store, ()).unwrap().unwrap();
        assert_eq!(double.ty(&store), FuncType::new([ValType::I32], [ValType::I32]));
        let mut results = [Val::I32(0)];
        double.call(&mut store, &[Val::I32(4)], &mut results).unwrap();
        assert_eq!(results[0].i32(), Some(8));
    });
}

#[test]
fn exceptions_cross_the_host() {
    on_every_tier(|engine| {
        let mut store = Store::new(engine, 0i32);
        let tag = Tag::new(&mut store, FuncType::new([ValType::I32, ValType::Ref(RefType::EXTERNREF)], [])).unwrap();
        assert!(Tag::new(&mut store, FuncType::new([], [ValType::I32])).is_err());
        // Throws an exception of its own, or runs `throw` of its caller and lets its exception pass.
        let host = Func::wrap(&mut store, move |mut caller: Caller<'_, i32>, n: i32| -> Result<()> {
            if n < 0 {
                let value = ExternRef::new(&mut caller, format!("value {n}"))?;
                let exn = ExnRef::new(&mut caller, &tag, &[Val::I32(n), value.into()])?;
                return Err(ThrownException::new(exn).into());
            }
            let throw = caller.get_export("throw").and_then(Extern::into_func).unwrap().typed::<i32, ()>(&caller)?;
            let result = throw.call(&mut caller, n);
            if let Err(e) = &result {
                let exn = e.downcast_ref::<ThrownException>().expect("an exception").exn().clone();
                let payload = exn.payload(&mut caller)?;
                *caller.data_mut() += payload[0].i32().unwrap();
                assert_eq!(exn.tag(&caller)?, tag);
                caller.as_context_mut().collect();
            }
            result
        });
        let m = module(
            engine,
            r#"(module
                (import "" "host" (func $host (param i32)))
                (import "" "tag" (tag $t (param i32 externref)))
                (tag $other)
                (func (export "throw") (param i32) (throw $t (local.get 0) (ref.null extern)))
                (func $deep (param i32) (call $host (local.get 0)))
                (func (export "catch") (param i32) (result i32 externref)
                    (block $out
                        (block $h (result i32 externref)
                            (try_table (catch $other $out) (catch $t $h) (call $deep (local.get 0)))
                            (return (i32.const -1000) (ref.null extern)))
                        (return))
                    (unreachable))
                (func (export "uncaught") (param i32) (call $deep (local.get 0)))
                (func (export "catch_ref") (param i32) (result exnref)
                    (block $h (result exnref)
                        (try_table (catch_all_ref $h) (call $deep (local.get 0)))
                        (ref.null exn)))
                (func (export "throw_ref") (param exnref) (throw_ref (local.get 0))))"#,
        );
        let i = Instance::new(&mut store, &m, &[host.into(), tag.into()]).unwrap();
        let catch = func::<_, i32, (i32, Option<ExternRef>)>(&mut store, i, "catch");
        let (n, value) = catch.call(&mut store, -5).unwrap();
        assert_eq!(n, -5);
        assert_eq!(value.unwrap().data(&store).unwrap().downcast_ref::<String>().unwrap(), "value -5");
        let (n, value) = catch.call(&mut store, 17).unwrap();
        assert!(n == 17 && value.is_none());
        assert_eq!(*store.data(), 17);

        let error = func::<_, i32, ()>(&mut store, i, "uncaught").call(&mut store, -3).unwrap_err();
        let exn = error.downcast::<ThrownException>().unwrap().into_exn();
        store.collect();
        let payload = exn.payload(&mut store).unwrap();
        assert_eq!(payload[0].i32(), Some(-3));
        let value = payload[1].extern_ref().unwrap().unwrap();
        assert_eq!(value.data(&store).unwrap().downcast_ref::<String>().unwrap(), "value -3");

        let caught = func::<_, i32, Option<ExnRef>>(&mut store, i, "catch_ref").call(&mut store, -9).unwrap().unwrap();
        store.collect();
        let again = func::<_, Option<ExnRef>, ()>(&mut store, i, "throw_ref");
        let error = again.call(&mut store, Some(caught.clone())).unwrap_err();
        assert!(ExnRef::same(error.downcast_ref::<ThrownException>().unwrap().exn(), &caught));
        assert_eq!(trap(&again.call(&mut store, None).unwrap_err()), TrapCode::NullExceptionReference);

        assert!(ExnRef::new(&mut store, &tag, &[Val::I32(1)]).is_err());
        assert!(ExnRef::new(&mut store, &tag, &[Val::I64(1), Val::ExternRef(None)]).is_err());
    });
}

#[test]
fn handles_of_another_store_are_refused() {
    on_every_tier(|engine| {
        let (mut a, mut b) = (Store::new(engine, ()), Store::new(engine, ()));
        let f = Func::wrap(&mut a, || 1i32);
        let typed = f.typed::<(), i32>(&a).unwrap();
        assert!(typed.call(&mut b, ()).unwrap_err().to_string().contains("another store"));
        assert!(f.call(&mut b, &[], &mut [Val::I32(0)]).is_err());
        assert!(f.typed::<(), i32>(&b).is_err());
        let m = module(engine, r#"(module (import "" "" (func (result i32))))"#);
        assert!(Instance::new(&mut b, &m, &[f.into()]).is_err());
        let mut linker = Linker::new(engine);
        assert!(linker.define(&b, "", "", f).is_err());
        linker.define(&a, "", "", f).unwrap();
        assert!(linker.instantiate(&mut b, &m).is_err());
        let memory = Memory::new(&mut a, pages(1, None)).unwrap();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| memory.data(&b).len()));
        assert!(result.is_err(), "documented as a panic");
        let other = Engine::new(Config::new().tier(Tier::Interpreted)).unwrap();
        assert!(Instance::new(&mut Store::new(&other, ()), &m, &[]).unwrap_err().to_string().contains("another engine"));
    });
}

#[test]
fn stores_and_handles_move_between_threads() {
    fn assert_send_sync<T: Send + Sync>() {}
    assert_send_sync::<Engine>();
    assert_send_sync::<Module>();
    assert_send_sync::<Store<i32>>();
    assert_send_sync::<Linker<i32>>();
    assert_send_sync::<Instance>();
    assert_send_sync::<Extern>();
    assert_send_sync::<Val>();
    assert_send_sync::<TypedFunc<i32, i32>>();
    assert_send_sync::<Trap>();
    on_every_tier(|engine| {
        let m = module(engine, r#"(module (memory 1) (func (export "f") (param i32) (result i32) (i32.load (local.get 0))))"#);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let mut store = Store::new(engine, ());
                        let i = Instance::new(&mut store, &m, &[]).unwrap();
                        let f = func::<_, i32, i32>(&mut store, i, "f");
                        assert_eq!(f.call(&mut store, 0).unwrap(), 0);
                        let mut store = std::thread::scope(|s| {
                            s.spawn(move || {
                                assert_eq!(trap(&f.call(&mut store, -1).unwrap_err()), TrapCode::MemoryOutOfBounds);
                                store
                            })
                            .join()
                            .unwrap()
                        });
                        assert_eq!(f.call(&mut store, 4).unwrap(), 0);
                    }
                });
            }
        });
    });
}

#[test]
fn modules_describe_themselves_and_bad_ones_are_refused() {
    let mut config = Config::new();
    let text = r#"(module $n (import "m" "f" (func (param i32))) (import "m" "t" (tag (param i64)))
        (memory (export "mem") 1 2) (func (export "g") (result f32) unreachable))"#;
    on_every_tier(|engine| {
        let m = module(engine, text);
        assert_eq!(m.name(), Some("n"));
        let imports: Vec<_> = m.imports().map(|i| (i.module.to_owned(), i.name.to_owned(), i.ty.to_string())).collect();
        assert_eq!(
            imports,
            [("m".into(), "f".into(), "function (i32) -> ()".into()), ("m".into(), "t".into(), "tag (i64)".to_owned())]
                as [(String, String, String); 2]
        );
        let exports: Vec<_> = m.exports().map(|e| format!("{}: {}", e.name, e.ty)).collect();
        assert_eq!(exports, ["mem: memory of 1 to 2 pages", "g: function () -> (f32)"]);
        assert!(m.get_export("g").unwrap().func().is_some());
        assert!(m.get_export("h").is_none());
        for bad in [&b""[..], b"\0asm", b"\0asm\x01\0\0\0\xff", b"hello"] {
            assert!(Module::new(engine, bad).is_err());
        }
        let error = Module::new(engine, b"(module)").unwrap_err();
        assert!(error.to_string().contains("text format"), "{error}");
        let error = Module::new(engine, b"\x7fELF").unwrap_err();
        assert!(error.to_string().contains("from_artifact"), "{error}");
        let error = Module::from_file(engine, "/nowhere/x.wasm").unwrap_err();
        assert!(error.to_string().contains("/nowhere/x.wasm"), "{error}");
        // SAFETY: there is no such file.
        let error = unsafe { Module::from_artifact(engine, "/nowhere/x.so") }.unwrap_err();
        assert!(error.to_string().contains("/nowhere/x.so"), "{error}");
    });
    config = config.tier(Tier::Compiled);
    let error = Module::new(&Engine::new(config).unwrap(), b"\0asm\x01\0\0\0").unwrap_err();
    assert!(error.to_string().contains("no compiler"), "never interpreted silently: {error}");
    assert!(Engine::new(Config::new().stack_size(1)).is_err());
}

#[test]
fn many_exports_are_found_by_name() {
    on_every_tier(|engine| {
        let mut store = Store::new(engine, ());
        let functions: String = (0..40).map(|i| format!("(func (export \"f{i}\") (result i32) (i32.const {i}))")).collect();
        let i = instance(&mut store, &format!("(module {functions})"));
        for n in 0..40 {
            assert_eq!(func::<_, (), i32>(&mut store, i, &format!("f{n}")).call(&mut store, ()).unwrap(), n);
        }
        assert!(i.get_func(&mut store, "f40").is_none());
        assert_eq!(i.exports(&mut store).len(), 40);
        assert!(i.exports(&mut store).enumerate().all(|(n, e)| e.name() == format!("f{n}")));
    });
}
