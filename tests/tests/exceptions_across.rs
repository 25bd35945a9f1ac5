//! Exceptions across boundaries, on every tier: host functions that throw, catch, change and throw again; tags that
//! several modules and instances have, or only seem to have; references that wander between modules and the host.

mod support;

use support::*;
use wasmc_runtime::environ::TrapCode;
use wasmc_runtime::*;
use wasmc_tests::Tier as On;

/// Calls an export with one i32 for one i32, from a host function.
fn call_export(caller: &mut Caller<'_, ()>, name: &str, arg: i32) -> Result<i32> {
    let Some(Extern::Func(f)) = caller.get_export(name) else { panic!("no export {name}") };
    f.typed::<i32, i32>(&mut *caller)?.call(caller, arg)
}

/// What a host function does with an exception that ends its own call into WebAssembly.
#[test]
fn the_host_catches_and_throws_again() {
    // The functions with odd and even indices do the same, so that `Mixed` has every direction.
    const WAT: &str = r#"(module
        (import "host" "again" (func $again (param i32) (result i32)))
        (import "host" "swallow" (func $swallow (param i32) (result i32)))
        (import "host" "change" (func $change (param i32) (result i32)))
        (import "host" "trap" (func $trap (param i32) (result i32)))
        (tag $e (export "e") (param i32 i64))
        (tag $other (export "other") (param i32))
        (func (export "throw") (param i32) (result i32) (throw $e (local.get 0) (i64.const 7)))
        (func (export "throw2") (param i32) (result i32) (throw $e (local.get 0) (i64.const 7)))
        FUNCTIONS)"#;
    let functions: String = ["again", "swallow", "change", "trap"]
        .into_iter()
        .flat_map(|act| [0, 1].map(|n| (act, n)))
        .map(|(act, n)| {
            format!(
                r#"(func (export "{act}{n}") (param i32) (result i32)
                    (block $other (result i32)
                        (block $e (result i32 i64)
                            (return (try_table (result i32) (catch $e $e) (catch $other $other) (call ${act} (local.get 0)))))
                        (drop) (i32.add (i32.const 1000)) (return))
                    (i32.add (i32.const 2000)))"#
            )
        })
        .collect();
    let wat = WAT.replace("FUNCTIONS", &functions);
    for tier in On::ALL {
        let engine = engine(tier);
        let module = module(&engine, &wat);
        let mut store = Store::new(&engine, ());
        let mut linker = Linker::new(&engine);
        let inner = |caller: &mut Caller<'_, ()>, arg: i32| call_export(caller, if arg % 2 == 0 { "throw" } else { "throw2" }, arg);
        linker
            .func_wrap("host", "again", move |mut caller: Caller<'_, ()>, arg: i32| -> Result<i32> {
                let error = inner(&mut caller, arg).unwrap_err();
                let thrown = error.downcast::<ThrownException>()?;
                let payload = thrown.exn().payload(&mut caller)?;
                assert!(matches!(payload[..], [Val::I32(x), Val::I64(7)] if x == arg), "{payload:?}");
                Err(ThrownException::new(thrown.into_exn()).into())
            })
            .unwrap();
        linker
            .func_wrap("host", "swallow", move |mut caller: Caller<'_, ()>, arg: i32| -> Result<i32> {
                assert!(threw(inner(&mut caller, arg)));
                Ok(arg - 1)
            })
            .unwrap();
        linker
            .func_wrap("host", "change", move |mut caller: Caller<'_, ()>, arg: i32| -> Result<i32> {
                assert!(threw(inner(&mut caller, arg)));
                let Some(Extern::Tag(other)) = caller.get_export("other") else { panic!("no tag") };
                let exn = ExnRef::new(&mut caller, &other, &[Val::I32(arg + 5)])?;
                Err(ThrownException::new(exn).into())
            })
            .unwrap();
        linker
            .func_wrap("host", "trap", move |mut caller: Caller<'_, ()>, arg: i32| -> Result<i32> {
                assert!(threw(inner(&mut caller, arg)));
                Err(Trap::from(TrapCode::Unreachable).into())
            })
            .unwrap();
        let instance = linker.instantiate(&mut store, &module).unwrap();
        for arg in [4, 5, 4] {
            for n in [0, 1] {
                let mut get = |act: &str| call(&mut store, &instance, &format!("{act}{n}"), &[arg]);
                assert_eq!(get("again").unwrap(), 1000 + arg, "{tier:?}");
                assert_eq!(get("swallow").unwrap(), arg - 1, "{tier:?}");
                assert_eq!(get("change").unwrap(), 2000 + arg + 5, "{tier:?}");
                assert_eq!(trap(get("trap")).code(), TrapCode::Unreachable, "{tier:?}");
            }
        }
    }
}

/// The identity of a tag is neither its type nor its name: two imports can be one tag, and two instances of a module have
/// two of what stands there once.
#[test]
fn tags_are_told_apart_by_where_they_come_from() {
    const MAKER: &str = r#"(module
        (tag $e (export "e") (param i32))
        (func (export "throw") (param i32) (result i32) (throw $e (local.get 0))))"#;
    // Catches the first tag with 100 more, the second with 200 more, anything else with -1.
    const CATCHER: &str = r#"(module
        (import "" "throw" (func $throw (param i32) (result i32)))
        (import "" "first" (tag $first (param i32)))
        (import "" "second" (tag $second (param i32)))
        (tag $own (param i32))
        (func $catch (export "catch0") (param i32) (result i32)
            (block $all (block $s (result i32) (block $f (result i32)
                (return (try_table (result i32) (catch $own $f) (catch $first $f) (catch $second $s) (catch_all $all)
                    (call $throw (local.get 0)))))
                (return (i32.add (i32.const 100))))
                (return (i32.add (i32.const 200))))
            (i32.const -1))
        (func (export "catch1") (param i32) (result i32)
            (block $all (block $s (result i32) (block $f (result i32)
                (return (try_table (result i32) (catch $own $f) (catch $first $f) (catch $second $s) (catch_all $all)
                    (call $throw (local.get 0)))))
                (return (i32.add (i32.const 100))))
                (return (i32.add (i32.const 200))))
            (i32.const -1))
        ;; Thrown and caught here: the handler is $second's only if it is the same tag as $first.
        (func (export "local0") (param i32) (result i32)
            (block $all (block $s (result i32)
                (return (try_table (result i32) (catch $own $s) (catch $second $s) (catch_all $all) (throw $first (local.get 0)))))
                (return (i32.add (i32.const 200))))
            (i32.const -1))
        (func (export "local1") (param i32) (result i32)
            (block $all (block $s (result i32)
                (return (try_table (result i32) (catch $own $s) (catch $second $s) (catch_all $all) (throw $first (local.get 0)))))
                (return (i32.add (i32.const 200))))
            (i32.const -1)))"#;
    for tier in On::ALL {
        for catcher_tier in On::ALL {
            let engine = engine(On::Interpreted);
            let mut store = Store::new(&engine, ());
            let maker = module_on(&engine, tier, MAKER);
            let catcher = module_on(&engine, catcher_tier, CATCHER);
            let makers = [0, 1].map(|_| Instance::new(&mut store, &maker, &[]).unwrap());
            let [a, b] = makers.map(|m| m.get_tag(&mut store, "e").unwrap());
            let throw = makers[0].get_func(&mut store, "throw").unwrap();
            let host = Tag::new(&mut store, FuncType::new([ValType::I32], [])).unwrap();
            assert_eq!(a, makers[0].get_tag(&mut store, "e").unwrap());
            assert!(a != b && a != host);
            // The two imports, and what `catch` and `local` come to.
            for (first, second, caught, local) in [
                (a, b, 100, -1),
                (b, a, 200, -1),
                (a, a, 100, 200),
                (b, b, -1, 200),
                (host, b, -1, -1),
                (host, a, 200, -1),
                (host, host, -1, 200),
            ] {
                let instance = Instance::new(&mut store, &catcher, &[throw.into(), first.into(), second.into()]).unwrap();
                for n in [0, 1] {
                    let got = call(&mut store, &instance, &format!("catch{n}"), &[7]).unwrap();
                    assert_eq!(got, if caught > 0 { caught + 7 } else { caught }, "{tier:?} {catcher_tier:?} {first:?} {second:?}");
                    let got = call(&mut store, &instance, &format!("local{n}"), &[7]).unwrap();
                    assert_eq!(got, if local > 0 { local + 7 } else { local }, "{tier:?} {catcher_tier:?} {first:?} {second:?}");
                }
            }
        }
    }
}

/// References to exceptions as parameters, results, in globals and tables, of one module and another and the host's:
/// whoever throws them, the payload and the tag are those of the first throw.
#[test]
fn references_wander_between_modules_and_the_host() {
    const HOLDER: &str = r#"(module
        (tag $e (export "e") (param i32 externref))
        (table $kept (export "kept") 4 exnref)
        (global $last (export "last") (mut exnref) (ref.null exn))
        (func $make (export "make") (param i32 externref) (result exnref)
            (block $caught (result exnref)
                (try_table (catch_all_ref $caught) (throw $e (local.get 0) (local.get 1)))
                unreachable))
        (func (export "keep") (param i32 i32 externref)
            (global.set $last (call $make (local.get 1) (local.get 2)))
            (table.set $kept (local.get 0) (global.get $last))))"#;
    const THROWER: &str = r#"(module
        (import "holder" "e" (tag $e (param i32 externref)))
        (import "holder" "kept" (table $kept 4 exnref))
        (import "holder" "make" (func $make (param i32 externref) (result exnref)))
        (import "host" "pass" (func $pass (param exnref) (result exnref)))
        (func $throw0 (param exnref) (throw_ref (local.get 0)))
        (func $throw1 (param exnref) (throw_ref (local.get 0)))
        (func (export "throw") (param i32) (throw_ref (table.get $kept (local.get 0))))
        (func (export "caught0") (param i32) (result i32 externref exnref)
            (block $caught (result i32 externref exnref)
                (try_table (catch_ref $e $caught) (call $throw0 (call $pass (table.get $kept (local.get 0)))))
                unreachable))
        (func (export "caught1") (param i32) (result i32 externref exnref)
            (block $caught (result i32 externref exnref)
                (try_table (catch_ref $e $caught) (call $throw1 (call $pass (table.get $kept (local.get 0)))))
                unreachable))
        (func (export "made") (param i32 externref) (result i32 externref exnref)
            (block $caught (result i32 externref exnref)
                (try_table (catch_ref $e $caught) (call $throw1 (call $make (local.get 0) (local.get 1))))
                unreachable)))"#;
    for tier in On::ALL {
        for thrower_tier in On::ALL {
            let engine = engine(On::Interpreted);
            let mut store = Store::new(&engine, ());
            let mut linker = Linker::new(&engine);
            let holder = module_on(&engine, tier, HOLDER);
            let holder = linker.instantiate(&mut store, &holder).unwrap();
            linker.instance(&mut store, "holder", holder).unwrap();
            let exnref = ValType::Ref(RefType::EXNREF);
            linker
                .func_new("host", "pass", FuncType::new([exnref], [exnref]), |_, args, results| {
                    results[0] = args[0].clone();
                    Ok(())
                })
                .unwrap();
            let thrower = linker.instantiate(&mut store, &module_on(&engine, thrower_tier, THROWER)).unwrap();
            let number = |store: &Store<()>, v: &Val| match v {
                Val::ExternRef(Some(r)) => *r.data(store).unwrap().downcast_ref::<i32>().expect("a number"),
                other => panic!("{other:?}"),
            };
            for i in 0..4 {
                let extern_ref = ExternRef::new(&mut store, i * 10).unwrap();
                let keep = holder.get_func(&mut store, "keep").unwrap();
                keep.call(&mut store, &[Val::I32(i), Val::I32(i + 100), Val::ExternRef(Some(extern_ref))], &mut []).unwrap();
            }
            store.collect();
            for i in [0, 3, 1, 1] {
                for name in ["caught0", "caught1"] {
                    let mut results = [Val::I32(0), Val::I32(0), Val::I32(0)];
                    thrower.get_func(&mut store, name).unwrap().call(&mut store, &[Val::I32(i)], &mut results).unwrap();
                    store.collect();
                    assert!(matches!(results[0], Val::I32(x) if x == i + 100), "{results:?}");
                    assert_eq!(number(&store, &results[1]), i * 10);
                    // It is the one in the table.
                    let table = holder.get_table(&mut store, "kept").unwrap();
                    let (Val::ExnRef(Some(got)), Some(Val::ExnRef(Some(kept)))) = (&results[2], table.get(&mut store, i as u64)) else {
                        panic!("{results:?}")
                    };
                    assert_eq!(got.payload(&mut store).unwrap().len(), 2);
                    assert_eq!(got.tag(&store).unwrap(), kept.tag(&store).unwrap());
                    assert!(matches!(got.payload(&mut store).unwrap()[0], Val::I32(x) if x == i + 100));
                }
                let throw = thrower.get_typed_func::<i32, ()>(&mut store, "throw").unwrap();
                let error = throw.call(&mut store, i).unwrap_err();
                let thrown = error.downcast_ref::<ThrownException>().expect("an exception");
                assert_eq!(Some(thrown.exn().tag(&store).unwrap()), holder.get_tag(&mut store, "e"));
                let payload = thrown.exn().payload(&mut store).unwrap();
                assert_eq!(number(&store, &payload[1]), i * 10);
            }
            let made = thrower.get_func(&mut store, "made").unwrap();
            let mut results = [Val::I32(0), Val::I32(0), Val::I32(0)];
            made.call(&mut store, &[Val::I32(9), Val::ExternRef(None)], &mut results).unwrap();
            assert!(matches!(results, [Val::I32(9), Val::ExternRef(None), Val::ExnRef(Some(_))]), "{results:?}");
            // What the host made, and null.
            let tag = holder.get_tag(&mut store, "e").unwrap();
            let exn = ExnRef::new(&mut store, &tag, &[Val::I32(-1), Val::ExternRef(None)]).unwrap();
            let table = holder.get_table(&mut store, "kept").unwrap();
            table.set(&mut store, 2, &Val::ExnRef(Some(exn))).unwrap();
            let caught = thrower.get_func(&mut store, "caught0").unwrap();
            caught.call(&mut store, &[Val::I32(2)], &mut results).unwrap();
            assert!(matches!(results, [Val::I32(-1), Val::ExternRef(None), Val::ExnRef(Some(_))]), "{results:?}");
            table.set(&mut store, 2, &Val::ExnRef(None)).unwrap();
            assert_eq!(trap(caught.call(&mut store, &[Val::I32(2)], &mut results)).code(), TrapCode::NullExceptionReference);
        }
    }
}

/// A recursion deep enough to be passed over several frames at a time, with handlers at all distances from the throw, in
/// functions whose frames are as large and in others: each exception arrives where it has to.
#[test]
fn handlers_between_repeated_frames() {
    const WAT: &str = r#"(module
        (tag $e (param i32)) (tag $never)
        (func $down (export "down") (param $n i32) (param $with_handler i32) (result i32)
            (if (i32.eqz (local.get $n)) (then (throw $e (i32.const 5))))
            (if (i32.eq (local.get $n) (local.get $with_handler)) (then
                (return (call $guarded (local.get $n) (local.get $with_handler)))))
            (i32.add (i32.const 1) (call $down (i32.sub (local.get $n) (i32.const 1)) (local.get $with_handler))))
        (func $guarded (param $n i32) (param $with_handler i32) (result i32)
            (block $caught (result i32)
                (return (try_table (result i32) (catch $e $caught)
                    (i32.add (i32.const 1) (call $down (i32.sub (local.get $n) (i32.const 1)) (local.get $with_handler))))))
            (i32.add (i32.mul (local.get $n) (i32.const 1000))))
        ;; Handlers in every frame, of another tag.
        (func $wrong (export "wrong") (param $n i32) (param $m i32) (result i32)
            (block $caught
                (return (try_table (result i32) (catch $never $caught)
                    (if (result i32) (local.get $n)
                        (then (i32.add (i32.const 1) (call $wrong (i32.sub (local.get $n) (i32.const 1)) (local.get $m))))
                        (else (call $down (local.get $m) (i32.const -1)))))))
            (i32.const 0))
        (func (export "catch_wrong") (param $n i32) (param $m i32) (result i32)
            (block $caught (result i32)
                (return (try_table (result i32) (catch $e $caught) (call $wrong (local.get $n) (local.get $m)))))))"#;
    for tier in On::ALL {
        let mut store = Store::new(&engine(tier), ());
        let instance = instance(&mut store, WAT);
        for depth in [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 100, 1000] {
            for handler in [1, 2, 3, 4, 5, 6, 9, depth / 2, depth - 1, depth] {
                if (1..=depth).contains(&handler) {
                    // What the handler gives, and one for every frame outside it.
                    let expected = handler * 1000 + 5 + (depth - handler);
                    assert_eq!(call(&mut store, &instance, "down", &[depth, handler]).unwrap(), expected, "{tier:?} {depth} {handler}");
                }
            }
            assert!(threw(call(&mut store, &instance, "down", &[depth, -1])), "{tier:?} {depth}");
            assert_eq!(call(&mut store, &instance, "catch_wrong", &[depth % 50, depth]).unwrap(), 5, "{tier:?} {depth}");
        }
    }
}
