//! All directions of calls between host, compiled and interpreted functions: directly, through open and closed tables,
//! through imports, as tail calls; with results, traps and exceptions crossing each of them.

mod support;

use support::*;
use wasmc_runtime::environ::TrapCode;
use wasmc_runtime::{Caller, Config, Engine, Extern, ExternType, Func, FuncType, Instance, Linker, Module, Result, Store, Val, ValType};
use wasmc_tests::Tier;

const HOST_IMPORTS: &str = r#"
    (type $t (func (param i32) (result i32)))
    (import "host" "e" (tag $e (param i32)))
    (import "host" "add" (func $h_add (type $t)))
    (import "host" "trap" (func $h_trap (type $t)))
    (import "host" "throw" (func $h_throw (type $t)))"#;

/// What a call of `act` by a callee of kind `callee` must come to, for a caller that catches or not.
fn check(what: &str, result: Result<i32>, callee: char, act: &str, catches: bool) {
    match act {
        "add" => assert_eq!(result.unwrap_or_else(|e| panic!("{what}: {e:?}")), 42, "{what}"),
        "trap" => {
            let expected = if callee == 'h' { TrapCode::IntegerOverflow } else { TrapCode::Unreachable };
            assert_eq!(trap(result).code(), expected, "{what}");
        }
        _ if catches => assert_eq!(result.unwrap_or_else(|e| panic!("{what}: {e:?}")), 141, "{what}"),
        _ => assert!(threw(result), "{what}"),
    }
}

/// Every caller against every callee, twice, so that nothing is left behind by the first.
fn check_all(store: &mut Store<()>, instance: &Instance, kinds: &[char]) {
    for round in 0..2 {
        for caller in kinds {
            for callee in KINDS {
                for act in ACTS {
                    for way in WAYS {
                        let name = format!("{caller}_{way}_{callee}_{act}");
                        let result = call(store, instance, &name, &[41]);
                        check(&format!("{name}, round {round}"), result, callee, act, false);
                        if !way.starts_with("tail_") {
                            let name = format!("{caller}_catch_{way}_{callee}_{act}");
                            let result = call(store, instance, &name, &[41]);
                            check(&format!("{name}, round {round}"), result, callee, act, true);
                        }
                    }
                }
            }
        }
    }
}

fn one_instance() -> String {
    format!(
        r#"(module {HOST_IMPORTS}
            (table $open (export "open") 9 funcref)
            (elem (table $open) (i32.const 0) func {elements})
            (table $closed 9 funcref)
            (elem (table $closed) (i32.const 0) func {elements})
            {} {} {} {})"#,
        callees('c'),
        callees('i'),
        callers('c'),
        callers('i'),
        elements = elements(),
    )
}

fn link(store: &mut Store<()>, module: &Module) -> Instance {
    let mut linker = Linker::new(&store.engine().clone());
    host(store, &mut linker).unwrap();
    linker.instantiate(store, module).unwrap()
}

#[test]
fn all_directions_within_an_instance() {
    let names = interpreted_names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for engine in [engine_without(&names), engine(Tier::Interpreted), engine(Tier::Compiled), engine(Tier::Mixed), engine(Tier::Auto)] {
        let module = module(&engine, &one_instance());
        let mut store = Store::new(&engine, ());
        let instance = link(&mut store, &module);
        check_all(&mut store, &instance, &['c', 'i']);
    }
}

#[test]
fn all_directions_between_instances() {
    // Two modules on tiers of their own export callees, and callers on a third import all of them.
    for tiers in [
        [Tier::Compiled, Tier::Interpreted, Tier::Compiled],
        [Tier::Compiled, Tier::Interpreted, Tier::Interpreted],
        [Tier::Compiled, Tier::Interpreted, Tier::Mixed],
        [Tier::Interpreted, Tier::Compiled, Tier::Mixed],
    ] {
        let engine = engine(Tier::Interpreted);
        let mut store = Store::new(&engine, ());
        let mut linker = Linker::new(&engine);
        host(&mut store, &mut linker).unwrap();
        for (name, kind, tier) in [("c", 'c', tiers[0]), ("i", 'i', tiers[1])] {
            let wat = format!("(module {HOST_IMPORTS} {})", callees(kind));
            let module = module_on(&engine, tier, &wat);
            let instance = linker.instantiate(&mut store, &module).unwrap();
            linker.instance(&mut store, name, instance).unwrap();
        }
        let mut imports = HOST_IMPORTS.to_owned();
        for kind in ['c', 'i'] {
            for act in ACTS {
                imports += &format!("(import \"{kind}\" \"{kind}_{act}\" (func ${kind}_{act} (type $t)))\n");
            }
        }
        let wat = format!(
            r#"(module {imports}
                (table $open (export "open") 9 funcref)
                (elem (table $open) (i32.const 0) func {elements})
                (table $closed 9 funcref)
                (elem (table $closed) (i32.const 0) func {elements})
                {} {})"#,
            callers('c'),
            callers('i'),
            elements = elements(),
        );
        let module = module_on(&engine, tiers[2], &wat);
        let instance = linker.instantiate(&mut store, &module).unwrap();
        check_all(&mut store, &instance, &['c', 'i']);
    }
}

#[test]
fn the_host_calls_all_kinds_from_a_host_function() {
    // wasm -> host -> wasm: what the inner call does passes the host's frame, in both directions of tiers.
    let wat = r#"(module
        (type $t (func (param i32) (result i32)))
        (import "host" "e" (tag $e (param i32)))
        (import "host" "by_index" (func $by_index (param i32 i32) (result i32)))
        (table (export "table") 6 funcref)
        (elem (i32.const 0) func $c_add $c_trap $c_throw $i_add $i_trap $i_throw)
        CALLEES
        (func $c_ask (export "c_ask") (param i32 i32) (result i32) (call $by_index (local.get 0) (local.get 1)))
        (func $i_ask (export "i_ask") (param i32 i32) (result i32) (call $by_index (local.get 0) (local.get 1)))
        (func $c_catch (export "c_catch") (param i32 i32) (result i32)
            (block $caught (result i32)
                (return (try_table (result i32) (catch $e $caught) (call $c_ask (local.get 0) (local.get 1)))))
            (i32.add (i32.const 100)))
        (func $i_catch (export "i_catch") (param i32 i32) (result i32)
            (block $caught (result i32)
                (return (try_table (result i32) (catch $e $caught) (call $i_ask (local.get 0) (local.get 1)))))
            (i32.add (i32.const 100))))"#
        .replace("CALLEES", &(callees('c') + &callees('i')));
    for engine in [
        engine_without(&["i_add", "i_trap", "i_throw", "i_ask", "i_catch"]),
        engine(Tier::Interpreted),
        engine(Tier::Compiled),
        engine(Tier::Mixed),
        engine(Tier::Auto),
    ] {
        let module = module(&engine, &wat);
        let mut store = Store::new(&engine, ());
        let mut linker = Linker::new(&engine);
        host(&mut store, &mut linker).unwrap();
        linker
            .func_wrap("host", "by_index", |mut caller: Caller<'_, ()>, index: i32, x: i32| -> Result<i32> {
                let Some(Extern::Table(table)) = caller.get_export("table") else { panic!("no table") };
                let Some(Val::FuncRef(Some(f))) = table.get(&mut caller, index as u64) else { panic!("no function {index}") };
                f.typed::<i32, i32>(&mut caller)?.call(&mut caller, x)
            })
            .unwrap();
        let instance = linker.instantiate(&mut store, &module).unwrap();
        for round in 0..3 {
            for (k, callee) in ['c', 'i'].into_iter().enumerate() {
                for (a, act) in ACTS.into_iter().enumerate() {
                    for caller in ['c', 'i'] {
                        let index = (k * 3 + a) as i32;
                        let what = format!("{caller} -> host -> {callee}_{act}, round {round}");
                        let result = call(&mut store, &instance, &format!("{caller}_ask"), &[index, 41]);
                        check(&what, result, callee, act, false);
                        let result = call(&mut store, &instance, &format!("{caller}_catch"), &[index, 41]);
                        check(&what, result, callee, act, true);
                    }
                }
            }
        }
    }
}

#[test]
fn host_functions_through_references() {
    // A host function that no module imports: it meets compiled code through a table and `call_indirect` alone.
    for tier in Tier::ALL {
        let engine = engine(tier);
        let module = module(
            &engine,
            r#"(module
                (type $t (func (param i32 f64 i64 f32) (result f64)))
                (table $t (export "table") 2 funcref)
                (func (export "run") (param i32) (result f64)
                    (call_indirect $t (type $t) (i32.const 3) (f64.const 0.5) (i64.const 7) (f32.const 0.25) (local.get 0)))
                (func (export "run2") (param i32) (result f64)
                    (return_call_indirect $t (type $t) (i32.const 3) (f64.const 0.5) (i64.const 7) (f32.const 0.25) (local.get 0))))"#,
        );
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let typed = Func::wrap(&mut store, |a: i32, b: f64, c: i64, d: f32| f64::from(a) + b + c as f64 + f64::from(d));
        let ty = FuncType::new([ValType::I32, ValType::F64, ValType::I64, ValType::F32], [ValType::F64]);
        let dynamic = Func::new(&mut store, ty, |_, args, results| {
            let [Val::I32(a), Val::F64(b), Val::I64(c), Val::F32(d)] = args else { panic!("{args:?}") };
            let sum = f64::from(*a) + f64::from_bits(*b) + *c as f64 + f64::from(f32::from_bits(*d));
            results[0] = Val::F64((sum * 2.0).to_bits());
            Ok(())
        })
        .unwrap();
        let table = instance.get_table(&mut store, "table").unwrap();
        table.set(&mut store, 0, &Val::FuncRef(Some(typed))).unwrap();
        table.set(&mut store, 1, &Val::FuncRef(Some(dynamic))).unwrap();
        for name in ["run", "run2"] {
            let run = instance.get_typed_func::<i32, f64>(&mut store, name).unwrap();
            for _ in 0..3 {
                assert_eq!(run.call(&mut store, 0).unwrap(), 10.75, "{tier:?} {name}");
                assert_eq!(run.call(&mut store, 1).unwrap(), 21.5, "{tier:?} {name}");
            }
        }
    }
}

/// Many parameters and results of all types, so that registers run out, in every direction.
#[test]
fn many_parameters_and_results() {
    const SIGNATURE: &str = "(param i32 i64 f32 f64 v128 i32 i64 f32 f64 v128 i32 i64 f32 f64 i32 i64 i32 f64 f64 f64 f64 f64 f64)
        (result f64 i64 f32 i32 v128 i32 i64 i32 i64 i32 i64 i32 i64 f64 f64 f64 f64 f64 f64 f64 f64 f32 v128)";
    // The results are the parameters, rearranged.
    const ORDER: [usize; 23] = [3, 1, 2, 0, 4, 5, 6, 10, 11, 14, 15, 16, 1, 8, 13, 17, 18, 19, 20, 21, 22, 7, 9];
    let gets: String = ORDER.iter().map(|i| format!("(local.get {i})")).collect();
    let all: String = (0..23).map(|i| format!("(local.get {i})")).collect();
    let wat = format!(
        r#"(module
            (type $t (func {SIGNATURE}))
            (import "host" "rearrange" (func $h (type $t)))
            (table $open (export "table") 3 funcref)
            (elem (table $open) (i32.const 0) func $h $c $i)
            (func $c (export "c") (type $t) {gets})
            (func $i (export "i") (type $t) {gets})
            {})"#,
        ['c', 'i']
            .into_iter()
            .flat_map(|caller| ['h', 'c', 'i'].into_iter().enumerate().map(move |(n, callee)| (caller, n, callee)))
            .map(|(caller, n, callee)| format!(
                r#"(func (export "{caller}_call_{callee}") (type $t) {all} (call ${callee}))
                   (func (export "{caller}_tail_{callee}") (type $t) {all} (return_call ${callee}))
                   (func (export "{caller}_open_{callee}") (type $t) {all} (call_indirect $open (type $t) (i32.const {n})))
                   (func (export "{caller}_tailopen_{callee}") (type $t) {all} (return_call_indirect $open (type $t) (i32.const {n})))"#
            ))
            .collect::<String>()
    );
    let args: Vec<Val> = (0..23u32)
        .map(|i| match i {
            0 | 5 | 10 | 14 | 16 => Val::I32(-(i as i32) - 1),
            1 | 6 | 11 | 15 => Val::I64(-(i64::from(i)) - (1 << 40)),
            2 | 7 | 12 => Val::F32((i as f32 + 0.5).to_bits()),
            4 | 9 => Val::V128((u128::from(i) << 100 | 0x1234_5678_9abc_def0).into()),
            _ => Val::F64((f64::from(i) + 0.25).to_bits()),
        })
        .collect();
    let bits = |v: &Val| match v {
        Val::I32(v) => *v as u32 as u128,
        Val::I64(v) => *v as u64 as u128,
        Val::F32(v) => *v as u128,
        Val::F64(v) => *v as u128,
        Val::V128(v) => v.as_u128(),
        other => panic!("{other:?}"),
    };
    let expected: Vec<u128> = ORDER.iter().map(|i| bits(&args[*i])).collect();
    let interpreted: Vec<String> = ["call", "tail", "open", "tailopen"]
        .iter()
        .flat_map(|way| ['h', 'c', 'i'].map(|callee| format!("i_{way}_{callee}")))
        .chain(["i".to_owned()])
        .collect();
    let interpreted: Vec<&str> = interpreted.iter().map(String::as_str).collect();
    for engine in [engine_without(&interpreted), engine(Tier::Interpreted), engine(Tier::Compiled), engine(Tier::Mixed), engine(Tier::Auto)]
    {
        let module = module(&engine, &wat);
        let mut store = Store::new(&engine, ());
        let mut linker = Linker::new(&engine);
        let Some(ExternType::Func(ty)) = module.imports().next().map(|i| i.ty) else { panic!("no import") };
        linker
            .func_new("host", "rearrange", ty, |_, args, results| {
                for (r, i) in results.iter_mut().zip(ORDER) {
                    *r = args[i].clone();
                }
                Ok(())
            })
            .unwrap();
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let mut names = vec!["c".to_owned(), "i".to_owned()];
        for caller in ['c', 'i'] {
            for way in ["call", "tail", "open", "tailopen"] {
                names.extend(['h', 'c', 'i'].map(|callee| format!("{caller}_{way}_{callee}")));
            }
        }
        for name in names {
            let f = instance.get_func(&mut store, &name).unwrap();
            let mut results = vec![Val::I32(0); 23];
            f.call(&mut store, &args, &mut results).unwrap_or_else(|e| panic!("{name}: {e:?}"));
            assert_eq!(results.iter().map(bits).collect::<Vec<_>>(), expected, "{name}");
        }
    }
}

/// A million tail calls between functions of both tiers need no stack: within an instance, and between two.
#[test]
fn tail_calls_in_constant_stack() {
    const WAT: &str = r#"(module
        (type $t (func (param i64 i64) (result i64)))
        (table $open (export "table") 3 funcref)
        (elem (table $open) (i32.const 0) func $i_step $c_step $i_step)
        (func $c_step (export "c_step") (type $t)
            (if (i64.eqz (local.get 0)) (then (return (local.get 1))))
            (return_call $i_step (i64.sub (local.get 0) (i64.const 1)) (i64.add (local.get 1) (i64.const 1))))
        (func $i_step (export "i_step") (type $t)
            (if (i64.eqz (local.get 0)) (then (return (local.get 1))))
            (return_call $c_step (i64.sub (local.get 0) (i64.const 1)) (i64.add (local.get 1) (i64.const 1))))
        (func $c_table (export "c_table") (type $t)
            (if (i64.eqz (local.get 0)) (then (return (local.get 1))))
            (return_call_indirect $open (type $t) (i64.sub (local.get 0) (i64.const 1)) (i64.add (local.get 1) (i64.const 1)) (i32.const 2)))
        (func $i_nested (export "i_nested") (type $t)
            (i64.add (i64.const 1000) (call $i_step (local.get 0) (local.get 1)))))"#;
    for engine in [
        Engine::new(with_small_stack(&["i_step", "i_nested"])).unwrap(),
        engine(Tier::Interpreted),
        engine(Tier::Compiled),
        engine(Tier::Mixed),
        engine(Tier::Auto),
    ] {
        let module = module(&engine, WAT);
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        for (name, extra) in [("c_step", 0), ("i_step", 0), ("c_table", 0), ("i_nested", 1000)] {
            let f = instance.get_typed_func::<(i64, i64), i64>(&mut store, name).unwrap();
            assert_eq!(f.call(&mut store, (1_000_000, 5)).unwrap(), 1_000_005 + extra, "{name}");
        }
    }
}

fn with_small_stack(interpreted: &[&str]) -> Config {
    use std::sync::Arc;
    let interpret = interpreted.iter().map(|n| wasmc_compiler::Interpret::Name((*n).to_owned())).collect();
    Config::new().compiler(Arc::new(wasmc_compiler::Jit::default())).interpret(interpret).stack_size(64 << 10)
}

#[test]
fn tail_calls_between_instances_in_constant_stack() {
    // Each calls the other through a table that both have: native code in one, none in the other.
    const WAT: &str = r#"(module
        (type $t (func (param i32 i32 i64 i64 i64 i64 i64 i64 i64) (result i32)))
        (import "" "table" (table $t 2 funcref))
        (func (export "step") (type $t)
            (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
            (return_call_indirect $t (type $t)
                (i32.sub (local.get 0) (i32.const 1)) (i32.add (local.get 1) (i32.const 1))
                (local.get 2) (local.get 3) (local.get 4) (local.get 5) (local.get 6) (local.get 7) (local.get 8)
                (i32.and (local.get 0) (i32.const 1)))))"#;
    for tiers in [[Tier::Compiled, Tier::Interpreted], [Tier::Interpreted, Tier::Compiled], [Tier::Interpreted; 2], [Tier::Compiled; 2]] {
        let engine = Engine::new(config(Tier::Interpreted).stack_size(64 << 10)).unwrap();
        let mut store = Store::new(&engine, ());
        let mut linker = Linker::new(&engine);
        let tables = module(&engine, r#"(module (table (export "table") 2 funcref))"#);
        let tables = linker.instantiate(&mut store, &tables).unwrap();
        linker.instance(&mut store, "", tables).unwrap();
        let table = tables.get_table(&mut store, "table").unwrap();
        let mut steps = Vec::new();
        for (i, tier) in tiers.into_iter().enumerate() {
            let module = module_on(&engine, tier, WAT);
            let instance = linker.instantiate(&mut store, &module).unwrap();
            let step = instance.get_func(&mut store, "step").unwrap();
            table.set(&mut store, i as u64, &Val::FuncRef(Some(step))).unwrap();
            steps.push(step);
        }
        for step in steps {
            let mut args = vec![Val::I32(1_000_000), Val::I32(0)];
            args.extend((0..7).map(Val::I64));
            let mut results = [Val::I32(0)];
            step.call(&mut store, &args, &mut results).unwrap_or_else(|e| panic!("{tiers:?}: {e:?}"));
            assert!(matches!(results, [Val::I32(1_000_000)]), "{tiers:?}: {results:?}");
        }
    }
}

/// Two instances of a module whose functions end in tail calls of each other: directly, through a table and through
/// references, to both tiers of both instances in turn, with a call of the host at every step and a tail call of the
/// host at the end. None of it may use stack.
#[test]
fn tail_calls_of_every_form_in_constant_stack() {
    const STEPS: i64 = 1_000_000;
    let step = |own: &str, other: &str| {
        format!(
            r#"(func ${own} (export "{own}") (type $t)
                (if (i64.eqz (local.get 0)) (then (return_call $end (local.get 0) (local.get 1))))
                (local.set 1 (call $tick (local.get 1)))
                (local.set 0 (i64.sub (local.get 0) (i64.const 1)))
                (block $ref (block $refs (block $indirect (block $direct
                    (br_table $direct $indirect $refs $ref $indirect (i32.wrap_i64 (i64.rem_u (local.get 0) (i64.const 5)))))
                    (return_call ${other} (local.get 0) (local.get 1)))
                    (return_call_indirect $all (type $t) (local.get 0) (local.get 1)
                        (i32.wrap_i64 (i64.rem_u (i64.mul (local.get 0) (i64.const 7)) (i64.const 4)))))
                    (return_call_ref $t (local.get 0) (local.get 1)
                        (table.get $typed (i32.wrap_i64 (i64.rem_u (i64.mul (local.get 0) (i64.const 3)) (i64.const 4))))))
                (return_call_ref $t (local.get 0) (local.get 1) (ref.func ${other})))"#
        )
    };
    let wat = format!(
        r#"(module
            (type $t (func (param i64 i64) (result i64)))
            (import "host" "tick" (func $tick (param i64) (result i64)))
            (import "host" "end" (func $end (type $t)))
            (import "tables" "all" (table $all 4 funcref))
            (import "tables" "typed" (table $typed 4 (ref null $t)))
            (elem declare func $i_step $c_step)
            {} {}
            (func (export "i_nested") (type $t) (i64.add (i64.const 1000) (call $c_step (local.get 0) (local.get 1)))))"#,
        step("i_step", "c_step"),
        step("c_step", "i_step")
    );
    let tables = r#"(module
        (type $t (func (param i64 i64) (result i64)))
        (table (export "all") 4 funcref) (table (export "typed") 4 (ref null $t)))"#;
    // `Mixed` engines leave every second function uncompiled: one of the two steps.
    for tiers in [[Tier::Mixed; 2], [Tier::Compiled, Tier::Interpreted], [Tier::Interpreted; 2], [Tier::Compiled; 2]] {
        let engine = Engine::new(config(Tier::Interpreted).stack_size(64 << 10)).unwrap();
        let mut store = Store::new(&engine, ());
        let mut linker = Linker::new(&engine);
        linker.func_wrap("host", "tick", |x: i64| x + 1).unwrap();
        linker.func_wrap("host", "end", |n: i64, sum: i64| sum * 2 + n).unwrap();
        let tables = linker.instantiate(&mut store, &module(&engine, tables)).unwrap();
        linker.instance(&mut store, "tables", tables).unwrap();
        let mut starts = Vec::new();
        for (number, tier) in tiers.into_iter().enumerate() {
            let module = module_on(&engine, tier, &wat);
            let instance = linker.instantiate(&mut store, &module).unwrap();
            for (k, name) in ["c_step", "i_step"].into_iter().enumerate() {
                let f = instance.get_func(&mut store, name).unwrap();
                for table in ["all", "typed"] {
                    let table = tables.get_table(&mut store, table).unwrap();
                    table.set(&mut store, (number * 2 + k) as u64, &Val::FuncRef(Some(f))).unwrap();
                }
                starts.push((f, 0));
            }
            starts.push((instance.get_func(&mut store, "i_nested").unwrap(), 1000));
        }
        for (f, extra) in starts {
            let f = f.typed::<(i64, i64), i64>(&mut store).unwrap();
            let result = f.call(&mut store, (STEPS, 5)).unwrap_or_else(|e| panic!("{tiers:?}: {e:?}"));
            assert_eq!(result, 2 * (STEPS + 5) + extra, "{tiers:?}");
        }
    }
}

/// What a host function tries first has its result, or the rest is called; where calls are counted, nothing goes uncounted.
#[test]
fn what_a_host_function_tries_first() {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    for (tier, watched) in [(Tier::Compiled, false), (Tier::Compiled, true), (Tier::Interpreted, false), (Tier::Interpreted, true)] {
        let engine = engine(Tier::Interpreted);
        let counts = std::sync::Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
        let mut linker: Linker<i32> = Linker::new(&engine);
        let (first, second) = (counts.clone(), counts.clone());
        linker
            .func_wrap_after(
                "host",
                "half",
                move |caller: Caller<'_, i32>, n: i32| {
                    first[0].fetch_add(1, Relaxed);
                    (n % 2 == 0).then(|| n / 2 + *caller.data())
                },
                move |caller: Caller<'_, i32>, n: i32| {
                    second[1].fetch_add(1, Relaxed);
                    anyhow::ensure!(n > 0, "not positive");
                    Ok(n / 2 + *caller.data())
                },
            )
            .expect("defined");
        let module = module_on(
            &engine,
            tier,
            r#"(module (import "host" "half" (func $half (param i32) (result i32)))
                (func (export "run") (param i32) (result i32) (call $half (local.get 0))))"#,
        );
        let mut store = Store::new(&engine, 100);
        if watched {
            store.watch_host_calls();
        }
        let instance = linker.instantiate(&mut store, &module).expect("an instance");
        let run = instance.get_typed_func::<i32, i32>(&mut store, "run").expect("a function");
        assert_eq!(run.call(&mut store, 8).expect("a result"), 104);
        assert_eq!(run.call(&mut store, -7).expect_err("an error").to_string(), "not positive");
        assert_eq!(run.call(&mut store, 7).expect("a result"), 103);
        let quick = tier == Tier::Compiled && !watched;
        let expected = if quick { [3, 2] } else { [0, 3] };
        assert_eq!([counts[0].load(Relaxed), counts[1].load(Relaxed)], expected, "{tier:?} {watched}");
        assert_eq!(store.stats().host_calls, watched.then_some(3));
    }
}
