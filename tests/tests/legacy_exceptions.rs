//! Exceptions in their older form where a script cannot look: that the collector keeps what a `rethrow` still needs, on
//! every tier and across them, that storms of rethrown exceptions leave nothing behind, and that the host may stand between
//! a throw and its `catch`.

mod support;

use support::*;
use wasmc_runtime::{AsContextMut, Caller, Engine, Extern, ExternRef, Instance, Linker, Result, Store, Val};
use wasmc_tests::Tier;

fn engines(interpreted: &[&str]) -> [Engine; 5] {
    [engine_without(interpreted), engine(Tier::Interpreted), engine(Tier::Compiled), engine(Tier::Mixed), engine(Tier::Auto)]
}

/// An instance with a host function `collect`, and `again`, which calls the export `f` of its caller.
fn linked(store: &mut Store<()>, wat: &str) -> Instance {
    let engine = store.engine().clone();
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "collect", |mut caller: Caller<'_, ()>| caller.as_context_mut().collect()).unwrap();
    linker
        .func_wrap("host", "again", |mut caller: Caller<'_, ()>, n: i32| -> Result<i32> {
            let Some(Extern::Func(f)) = caller.get_export("f") else { panic!("no export") };
            f.typed::<i32, i32>(&mut caller)?.call(&mut caller, n)
        })
        .unwrap();
    linker.instantiate(store, &module(&engine, wat)).unwrap()
}

#[test]
fn the_collector_keeps_what_is_rethrown() {
    const WAT: &str = r#"(module
        (import "host" "collect" (func $collect))
        (tag $r (param externref i32)) (tag $other (param i64))
        (func $i_throw (export "i_throw") (param externref i32) (throw $r (local.get 0) (local.get 1)))
        (func $i_noise (export "i_noise") (local $n i32)
            (loop $l
                try (throw $other (i64.const 1)) catch_all (call $collect) end
                (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 5)))))
        ;; Rethrows after collections and other throws; with 1 out of the handler of another exception.
        (func $c_pass (export "c_pass") (param externref i32)
            try
                (call $i_throw (local.get 0) (local.get 1))
            catch $r
                drop
                drop
                (local.set 0 (ref.null extern))
                (call $i_noise)
                (call $collect)
                try
                    (throw $other (i64.const 7))
                catch $other
                    drop
                    (call $collect)
                    (call $i_noise)
                    (rethrow 1)
                end
            end)
        (func (export "run") (param externref i32) (result externref i32)
            try (result externref i32)
                (call $c_pass (local.get 0) (local.get 1))
                unreachable
            catch $r
                (call $collect)
            end))"#;
    for engine in engines(&["i_throw", "i_noise"]) {
        let mut store = Store::new(&engine, ());
        let instance = linked(&mut store, WAT);
        let run = instance.get_func(&mut store, "run").unwrap();
        for n in 0..20 {
            let reference = ExternRef::new(&mut store, format!("value {n}")).unwrap();
            let mut results = [Val::I32(0), Val::I32(0)];
            run.call(&mut store, &[Val::ExternRef(Some(reference)), Val::I32(n)], &mut results).unwrap();
            let [Val::ExternRef(Some(reference)), Val::I32(m)] = &results else { panic!("{results:?}") };
            assert_eq!((reference.data(&store).unwrap().downcast_ref::<String>().unwrap(), *m), (&format!("value {n}"), n));
        }
        // Out of everything, nobody catches it.
        let pass = instance.get_func(&mut store, "c_pass").unwrap();
        assert!(threw(pass.call(&mut store, &[Val::ExternRef(None), Val::I32(3)], &mut [])));
    }
}

/// Hundreds of thousands of exceptions that handlers keep and rethrow: the heap stays small, or it would be exhausted.
#[test]
fn storms_that_are_rethrown() {
    const WAT: &str = r#"(module
        (tag $e (param i32 i64))
        (func $i_throw (export "i_throw") (param i32)
            try
                (if (local.get 0)
                    (then (call $i_throw (i32.sub (local.get 0) (i32.const 1))))
                    (else (throw $e (i32.const 3) (i64.const 4))))
            catch_all
                (rethrow 0)
            end)
        (func (export "storm") (param $n i32) (param $deep i32) (result i32) (local $sum i32)
            (loop $again
                try
                    (call $i_throw (local.get $deep))
                catch $e
                    drop
                    (local.set $sum (i32.add (local.get $sum)))
                end
                (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (local.get $sum)))"#;
    for engine in engines(&["i_throw"]) {
        let mut store = Store::new(&engine, ());
        let instance = instance(&mut store, WAT);
        assert_eq!(call(&mut store, &instance, "storm", &[100_000, 2]).unwrap(), 300_000);
    }
}

/// Frames of the host between the throw and its handlers, which catch, delegate and rethrow on the way.
#[test]
fn through_the_host() {
    const WAT: &str = r#"(module
        (import "host" "again" (func $again (param i32) (result i32)))
        (tag $a (param i32)) (tag $b)
        (func $i_f (export "f") (param i32) (result i32)
            (if (i32.eqz (local.get 0)) (then (throw $a (i32.const 1000))))
            try $t (result i32)
                try (result i32)
                    try (result i32)
                        (call $again (i32.sub (local.get 0) (i32.const 1)))
                    catch $b
                        (i32.const -1)
                    end
                catch_all
                    (if (i32.and (local.get 0) (i32.const 1)) (then (rethrow 1)))
                    try (result i32) (rethrow 1) delegate $t
                end
            catch $a
                (throw $a (i32.add (i32.const 1)))
            end)
        (func (export "run") (param i32) (result i32)
            try (result i32) (call $i_f (local.get 0)) catch $a end))"#;
    for engine in engines(&["i_f"]) {
        let mut store = Store::new(&engine, ());
        let instance = linked(&mut store, WAT);
        for depth in [0, 1, 2, 3, 20, 21] {
            assert_eq!(call(&mut store, &instance, "run", &[depth]).unwrap(), 1000 + depth, "{depth}");
        }
        assert!(threw(call(&mut store, &instance, "f", &[5])));
    }
}
