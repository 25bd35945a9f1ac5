//! Exceptions on every tier: which handler takes them, what they carry, how they pass frames of the other tiers and of
//! the host, and that storms of them leave nothing behind.

mod support;

use support::*;
use wasmc_runtime::environ::TrapCode;
use wasmc_runtime::{AsContextMut, Caller, Extern, Linker, Result, Store, ThrownException, Val};
use wasmc_tests::Tier;

fn engines(interpreted: &[&str]) -> [wasmc_runtime::Engine; 5] {
    [engine_without(interpreted), engine(Tier::Interpreted), engine(Tier::Compiled), engine(Tier::Mixed), engine(Tier::Auto)]
}

#[test]
fn handlers_are_tried_from_the_inside_out() {
    const WAT: &str = r#"(module
        (tag $a (param i32)) (tag $b (param i32 i64 f64)) (tag $none) (tag $v (param v128))
        (func $i_throw (export "i_throw") (param i32) (result i32)
            (block $b0 (block $b1 (block $b2 (block $b3
                (br_table $b0 $b1 $b2 $b3 (local.get 0)))
                (throw $v (v128.const i32x4 1 2 3 4)))
                (throw $none))
                (throw $b (i32.const 20) (i64.const 300) (f64.const 4000)))
            (throw $a (i32.const 10)))
        (func $c_pass (export "c_pass") (param i32) (result i32) (i32.add (call $i_throw (local.get 0)) (i32.const 1)))
        ;; Catches $a; lets the rest pass.
        (func $c_inner (export "c_inner") (param i32) (result i32)
            (block $caught (result i32)
                (return (try_table (result i32) (catch $a $caught) (call $c_pass (local.get 0))))))
        ;; Catches $b in one try_table and $v in one around it.
        (func $i_middle (export "i_middle") (param i32) (result i32)
            (block $on_v (result v128)
                (try_table (result i32) (catch $v $on_v)
                    (block $on_b (result i32 i64 f64)
                        (return (try_table (result i32) (catch $b $on_b) (call $c_inner (local.get 0)))))
                    (i32.trunc_f64_s)
                    (i32.add (i32.wrap_i64 (i64.const 0)))
                    (drop)
                    (i32.wrap_i64)
                    (i32.add))
                (return))
            (i32x4.extract_lane 3))
        (func (export "all") (param i32) (result i32)
            (block $any
                (return (try_table (result i32) (catch_all $any) (call $i_middle (local.get 0)))))
            (i32.const -1)))"#;
    for engine in engines(&["i_throw", "i_middle"]) {
        let mut store = Store::new(&engine, ());
        let instance = instance(&mut store, WAT);
        for _ in 0..3 {
            // The br_table's order: 0 throws $a, 1 $b, 2 $none, others $v.
            for (which, expected) in [(0, 10), (1, 320), (2, -1), (3, 4)] {
                assert_eq!(call(&mut store, &instance, "all", &[which]).unwrap(), expected, "{which}");
            }
            assert!(threw(call(&mut store, &instance, "i_middle", &[2])));
            assert!(threw(call(&mut store, &instance, "c_pass", &[0])));
        }
    }
}

#[test]
fn references_to_exceptions_are_thrown_again() {
    const WAT: &str = r#"(module
        (tag $e (param i32))
        (global $kept (mut exnref) (ref.null exn))
        (func $throw (export "throw") (param i32) (throw $e (local.get 0)))
        (func $keep (export "keep") (param i32) (result i32)
            (block $caught (result exnref)
                (try_table (catch_all_ref $caught) (call $throw (local.get 0)))
                unreachable)
            (global.set $kept)
            (i32.const 0))
        (func $again (export "again") (result i32) (throw_ref (global.get $kept)))
        (func (export "catch") (result i32)
            (block $caught (result i32 exnref)
                (return (try_table (result i32) (catch_ref $e $caught) (call $again))))
            (global.set $kept))
        (func (export "null") (result i32) (throw_ref (ref.null exn))))"#;
    for engine in engines(&["keep", "again"]) {
        let mut store = Store::new(&engine, ());
        let instance = instance(&mut store, WAT);
        call(&mut store, &instance, "keep", &[5]).unwrap();
        for _ in 0..3 {
            // Other exceptions in between must not take the kept one's place.
            for other in 0..5 {
                assert!(threw(instance.get_typed_func::<i32, ()>(&mut store, "throw").unwrap().call(&mut store, other)));
            }
            store.collect();
            assert_eq!(call(&mut store, &instance, "catch", &[]).unwrap(), 5);
        }
        assert!(threw(call(&mut store, &instance, "again", &[])));
        let code = trap(call(&mut store, &instance, "null", &[])).code();
        assert!(matches!(code, TrapCode::NullExceptionReference | TrapCode::NullReference), "{code:?}");
    }
}

#[test]
fn traps_are_never_caught() {
    const WAT: &str = r#"(module
        (func $c_trap (param i32) (result i32) (i32.div_u (i32.const 1) (local.get 0)))
        (func $i_trap (export "i_trap") (param i32) (result i32) (i32.div_u (i32.const 1) (local.get 0)))
        (func $deep (export "deep") (result i32) (i32.add (call $deep) (i32.const 1)))
        (func (export "c_catch") (param i32) (result i32)
            (block $any
                (return (try_table (result i32) (catch_all $any) (call $c_trap (local.get 0)))))
            (i32.const -1))
        (func (export "i_catch") (param i32) (result i32)
            (block $any
                (return (try_table (result i32) (catch_all $any) (call $i_trap (local.get 0)))))
            (i32.const -1))
        (func (export "c_catch_deep") (result i32)
            (block $any
                (return (try_table (result i32) (catch_all $any) (call $deep))))
            (i32.const -1)))"#;
    for engine in engines(&["i_trap", "i_catch"]) {
        let mut store = Store::new(&engine, ());
        let instance = instance(&mut store, WAT);
        for name in ["c_catch", "i_catch"] {
            assert_eq!(call(&mut store, &instance, name, &[1]).unwrap(), 1);
            assert_eq!(trap(call(&mut store, &instance, name, &[0])).code(), TrapCode::IntegerDivisionByZero);
        }
        assert_eq!(trap(call(&mut store, &instance, "c_catch_deep", &[])).code(), TrapCode::StackOverflow);
    }
}

/// Exceptions cross deep stacks of frames of both tiers and of the host, with locals intact in the catching frame.
#[test]
fn through_deep_stacks_of_all_kinds() {
    const WAT: &str = r#"(module
        (import "host" "down" (func $h_down (param i32) (result i32)))
        (tag $e (export "e") (param i32))
        (table $t (export "t") 3 funcref)
        (elem (table $t) (i32.const 0) func $c_down $i_down $h_down)
        (type $d (func (param i32) (result i32)))
        (func $c_down (export "c_down") (type $d)
            (if (i32.eqz (local.get 0)) (then (throw $e (i32.const 77))))
            (i32.add (i32.const 1)
                (call_indirect $t (type $d) (i32.sub (local.get 0) (i32.const 1)) (i32.rem_u (local.get 0) (i32.const 3)))))
        (func $i_down (export "i_down") (type $d)
            (if (i32.eqz (local.get 0)) (then (throw $e (i32.const 77))))
            (i32.add (i32.const 1)
                (call_indirect $t (type $d) (i32.sub (local.get 0) (i32.const 1)) (i32.rem_u (local.get 0) (i32.const 3)))))
        (func $c_catch (export "c_catch") (param i32) (result i32) (local $kept i64)
            (local.set $kept (i64.mul (i64.extend_i32_s (local.get 0)) (i64.const 1000)))
            (block $caught (result i32)
                (return (try_table (result i32) (catch $e $caught) (call $c_down (local.get 0)))))
            (i32.add (i32.wrap_i64 (local.get $kept))))
        (func $i_catch (export "i_catch") (param i32) (result i32) (local $kept i64)
            (local.set $kept (i64.mul (i64.extend_i32_s (local.get 0)) (i64.const 1000)))
            (block $caught (result i32)
                (return (try_table (result i32) (catch $e $caught) (call $i_down (local.get 0)))))
            (i32.add (i32.wrap_i64 (local.get $kept)))))"#;
    for engine in engines(&["i_down", "i_catch"]) {
        let module = module(&engine, WAT);
        let mut store = Store::new(&engine, ());
        let mut linker = Linker::new(&engine);
        linker
            .func_wrap("host", "down", |mut caller: Caller<'_, ()>, n: i32| -> Result<i32> {
                let name = if n % 2 == 0 { "c_down" } else { "i_down" };
                let Some(Extern::Func(f)) = caller.get_export(name) else { panic!("no export") };
                f.typed::<i32, i32>(&mut caller)?.call(&mut caller, n)
            })
            .unwrap();
        let instance = linker.instantiate(&mut store, &module).unwrap();
        for depth in [0, 1, 2, 3, 50, 500] {
            for name in ["c_catch", "i_catch"] {
                assert_eq!(call(&mut store, &instance, name, &[depth]).unwrap(), depth * 1000 + 77, "{name} {depth}");
            }
            // Nobody catches: the host gets the exception with its payload, and can throw it again.
            let error = call(&mut store, &instance, "c_down", &[depth]).unwrap_err();
            let thrown = error.downcast_ref::<ThrownException>().expect("an exception");
            let payload = thrown.exn().payload(&mut store).unwrap();
            assert!(matches!(payload[..], [Val::I32(77)]), "{payload:?}");
        }
    }
}

/// Hundreds of thousands of throws: the heap stays small and it does not take long.
#[test]
fn storms_of_exceptions() {
    const WAT: &str = r#"(module
        (tag $e (param i32 i64))
        (func $throw (export "throw") (param i32) (if (local.get 0)
            (then (call $throw (i32.sub (local.get 0) (i32.const 1))))
            (else (throw $e (i32.const 3) (i64.const 4)))))
        (func (export "storm") (param $n i32) (param $deep i32) (result i32) (local $sum i32)
            (loop $again
                (block $caught (result i32 i64)
                    (try_table (catch $e $caught) (call $throw (local.get $deep)))
                    unreachable)
                drop
                (local.set $sum (i32.add (local.get $sum)))
                (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (local.get $sum))
        (func (export "storm_ref") (param $n i32) (param $deep i32) (result i32) (local $sum i32) (local $last exnref)
            (loop $again
                (block $caught (result exnref)
                    (try_table (catch_all_ref $caught) (call $throw (local.get $deep)))
                    unreachable)
                (local.set $last)
                (local.set $sum (i32.add (local.get $sum) (i32.const 3)))
                (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (drop (local.get $last))
            (local.get $sum)))"#;
    for engine in engines(&["throw"]) {
        let mut store = Store::new(&engine, ());
        let instance = instance(&mut store, WAT);
        for name in ["storm", "storm_ref"] {
            assert_eq!(call(&mut store, &instance, name, &[100_000, 3]).unwrap(), 300_000);
        }
    }
}

/// Heap references in the frames of both tiers are roots: objects that only locals refer to survive collections that
/// happen deeper in the stack, and die when nobody refers to them.
#[test]
fn references_in_frames_are_roots() {
    use wasmc_runtime::ExternRef;
    const WAT: &str = r#"(module
        (import "host" "new" (func $new (param i32) (result externref)))
        (import "host" "collect" (func $collect))
        (import "host" "value" (func $value (param externref) (result i32)))
        (func $c_down (export "c_down") (param $n i32) (result i32) (local $r externref)
            (if (i32.eqz (local.get $n)) (then (call $collect) (return (i32.const 0))))
            (local.set $r (call $new (local.get $n)))
            (i32.add (call $i_down (i32.sub (local.get $n) (i32.const 1))) (call $value (local.get $r))))
        (func $i_down (export "i_down") (param $n i32) (result i32) (local $r externref)
            (if (i32.eqz (local.get $n)) (then (call $collect) (return (i32.const 0))))
            (local.set $r (call $new (local.get $n)))
            (i32.add (call $c_down (i32.sub (local.get $n) (i32.const 1))) (call $value (local.get $r)))))"#;
    for engine in engines(&["i_down"]) {
        let module = module(&engine, WAT);
        let mut store = Store::new(&engine, ());
        let mut linker = Linker::new(&engine);
        let live = std::sync::Arc::new(());
        let count = live.clone();
        linker
            .func_wrap("host", "new", move |mut caller: Caller<'_, ()>, n: i32| -> Result<Option<ExternRef>> {
                Ok(Some(ExternRef::new(&mut caller, (n, count.clone()))?))
            })
            .unwrap();
        linker.func_wrap("host", "collect", |mut caller: Caller<'_, ()>| caller.as_context_mut().collect()).unwrap();
        linker
            .func_wrap("host", "value", |caller: Caller<'_, ()>, r: Option<ExternRef>| -> Result<i32> {
                let r = r.expect("not null");
                let data = r.data(&caller)?.downcast_ref::<(i32, std::sync::Arc<()>)>().expect("the host's own");
                Ok(data.0)
            })
            .unwrap();
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let before = std::sync::Arc::strong_count(&live);
        for name in ["c_down", "i_down"] {
            assert_eq!(call(&mut store, &instance, name, &[100]).unwrap(), 5050, "{name}");
        }
        store.collect();
        assert_eq!(std::sync::Arc::strong_count(&live), before, "all objects are dead");
    }
}
