//! What the tests of calls, traps and exceptions share: engines on every tier, the module generator for the matrix of
//! calls, and the host's side of it.

#![allow(dead_code, reason = "each test crate uses its part")]

use std::fmt::Write as _;
use std::sync::Arc;
use wasmc_compiler::{Inlining, Interpret, Jit};
use wasmc_runtime::environ::TrapCode;
use wasmc_runtime::{Config, Engine, Func, Instance, Linker, Module, Result, Store, ThrownException, Trap, Val};
use wasmc_tests::Tier;

/// An engine on a tier.
pub fn engine(tier: Tier) -> Engine {
    Engine::new(config(tier)).expect("an engine")
}

/// The configuration of a tier.
pub fn config(tier: Tier) -> Config {
    match tier {
        Tier::Interpreted => Config::new().tier(wasmc_runtime::Tier::Interpreted),
        // What is inlined in programs is chosen; here it is whatever can be.
        Tier::Compiled => Config::new().compiler(Arc::new(Jit { inlining: Inlining::Everywhere, ..Jit::default() })),
        Tier::Mixed => Config::new().compiler(Arc::new(Jit::default())).interpret(vec![Interpret::Odd]),
        Tier::Auto => {
            let jit = Jit { inlining: Inlining::Everywhere, ..Jit::default() };
            Config::new().tier(wasmc_runtime::Tier::Auto).compiler(Arc::new(jit)).compile_after(1, true)
        }
    }
}

/// An engine that compiles everything but the functions with these names.
pub fn engine_without(names: &[&str]) -> Engine {
    let interpret = names.iter().map(|n| Interpret::Name((*n).to_owned())).collect();
    Engine::new(Config::new().compiler(Arc::new(Jit::default())).interpret(interpret)).expect("an engine")
}

/// A module from text.
pub fn module(engine: &Engine, wat: &str) -> Module {
    let wasm = wat::parse_str(wat).unwrap_or_else(|e| panic!("{e}\n{wat}"));
    Module::new(engine, &wasm).unwrap_or_else(|e| panic!("{e:?}\n{wat}"))
}

/// A module on a tier of its own, in an engine whose tier is `Interpreted`: an artifact always runs its native code.
pub fn module_on(engine: &Engine, tier: Tier, wat: &str) -> Module {
    let interpret = match tier {
        // What comes of code that is made later is the engine's matter.
        Tier::Interpreted | Tier::Auto => return module(engine, wat),
        Tier::Compiled => Vec::new(),
        Tier::Mixed => vec![Interpret::Odd],
    };
    let wasm = wat::parse_str(wat).unwrap_or_else(|e| panic!("{e}\n{wat}"));
    let options = wasmc_compiler::CompileOptions { interpret, ..Default::default() };
    let artifact = wasmc_compiler::compile_to_artifact(&wasm, &options).unwrap_or_else(|e| panic!("{e}\n{wat}"));
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("module.so");
    artifact.write_artifact(&path).expect("an artifact");
    // SAFETY: the artifact was just made here. It stays mapped when its name goes away.
    unsafe { Module::from_artifact(engine, &path) }.unwrap_or_else(|e| panic!("{e:?}\n{wat}"))
}

/// An instance of a module that imports nothing.
pub fn instance(store: &mut Store<()>, wat: &str) -> Instance {
    let module = module(&store.engine().clone(), wat);
    Instance::new(store, &module, &[]).expect("an instance")
}

/// Calls an exported function with i32 arguments for an i32.
pub fn call(store: &mut Store<()>, instance: &Instance, name: &str, args: &[i32]) -> Result<i32> {
    let f = instance.get_func(&mut *store, name).unwrap_or_else(|| panic!("no export {name}"));
    let args: Vec<Val> = args.iter().map(|a| Val::I32(*a)).collect();
    let mut results = [Val::I32(0)];
    f.call(store, &args, &mut results)?;
    match results[0] {
        Val::I32(v) => Ok(v),
        ref other => panic!("{name} returned {other:?}"),
    }
}

/// The trap that a call must have ended with.
pub fn trap<T: std::fmt::Debug>(result: Result<T>) -> Trap {
    match result {
        Ok(v) => panic!("returned {v:?} instead of trapping"),
        Err(e) => e.downcast_ref::<Trap>().unwrap_or_else(|| panic!("not a trap: {e:?}")).clone(),
    }
}

/// The names of a trap's frames, innermost first.
pub fn frames(trap: &Trap) -> Vec<String> {
    trap.backtrace().frames().iter().map(|f| f.func_name().unwrap_or_else(|| format!("#{}", f.func_index()))).collect()
}

/// Whether a call ended with an exception.
pub fn threw<T: std::fmt::Debug>(result: Result<T>) -> bool {
    match result {
        Ok(v) => panic!("returned {v:?} instead of throwing"),
        Err(e) => e.is::<ThrownException>(),
    }
}

/// The kinds of function: host, compiled, interpreted.
pub const KINDS: [char; 3] = ['h', 'c', 'i'];
/// What a callee does.
pub const ACTS: [&str; 3] = ["add", "trap", "throw"];
/// How it is called.
pub const WAYS: [&str; 6] = ["call", "open", "closed", "tail_call", "tail_open", "tail_closed"];

/// The callees of one kind. `add` returns its argument plus one, `trap` traps, `throw` throws `$e` with its argument.
pub fn callees(kind: char) -> String {
    format!(
        r#"
        (func ${kind}_add (export "{kind}_add") (type $t) (i32.add (local.get 0) (i32.const 1)))
        (func ${kind}_trap (export "{kind}_trap") (type $t) unreachable)
        (func ${kind}_throw (export "{kind}_throw") (type $t) (throw $e (local.get 0)))"#
    )
}

/// The callers of one kind: `KIND_WAY_CALLEEKIND_ACT`, and `KIND_catch_WAY_...` that catch `$e` and return its payload
/// plus 100. They expect the callees in `$open` and `$closed` in the order of `KINDS` and `ACTS`.
pub fn callers(kind: char) -> String {
    let mut wat = String::new();
    for (k, callee) in KINDS.into_iter().enumerate() {
        for (a, act) in ACTS.into_iter().enumerate() {
            let index = k * ACTS.len() + a;
            for way in WAYS {
                let (prefix, target) = match way.strip_prefix("tail_") {
                    Some(target) => ("return_", target),
                    None => ("", way),
                };
                let call = match target {
                    "call" => format!("({prefix}call ${callee}_{act} (local.get 0))"),
                    table => format!("({prefix}call_indirect ${table} (type $t) (local.get 0) (i32.const {index}))"),
                };
                let name = format!("{kind}_{way}_{callee}_{act}");
                let _ = write!(wat, "\n(func ${name} (export \"{name}\") (type $t) {call})");
                if prefix.is_empty() {
                    let name = format!("{kind}_catch_{way}_{callee}_{act}");
                    let _ = write!(
                        wat,
                        "\n(func ${name} (export \"{name}\") (type $t)
                            (block $caught (result i32)
                                (return (try_table (result i32) (catch $e $caught) {call})))
                            (i32.add (i32.const 100)))"
                    );
                }
            }
        }
    }
    wat
}

/// The elements of the tables.
pub fn elements() -> String {
    KINDS.iter().flat_map(|k| ACTS.iter().map(move |a| format!(" ${k}_{a}"))).collect()
}

/// Names of the interpreted functions of the matrix.
pub fn interpreted_names() -> Vec<String> {
    let mut names: Vec<String> = ACTS.iter().map(|a| format!("i_{a}")).collect();
    for callee in KINDS {
        for act in ACTS {
            for way in WAYS {
                names.push(format!("i_{way}_{callee}_{act}"));
                if !way.starts_with("tail_") {
                    names.push(format!("i_catch_{way}_{callee}_{act}"));
                }
            }
        }
    }
    names
}

/// The tag with which the host throws, and the host's functions, as the module `host`.
pub fn host(store: &mut Store<()>, linker: &mut Linker<()>) -> Result<()> {
    use wasmc_runtime::{FuncType, Tag, ValType};
    let tag = Tag::new(&mut *store, FuncType::new([ValType::I32], []))?;
    linker.define(&mut *store, "host", "e", tag)?;
    linker.func_wrap("host", "add", |x: i32| x + 1)?;
    linker.func_wrap("host", "trap", |_: i32| -> Result<i32> { Err(Trap::from(TrapCode::IntegerOverflow).into()) })?;
    linker.func_wrap("host", "throw", move |mut caller: wasmc_runtime::Caller<'_, ()>, x: i32| -> Result<i32> {
        let exn = wasmc_runtime::ExnRef::new(&mut caller, &tag, &[Val::I32(x)])?;
        Err(ThrownException::new(exn).into())
    })?;
    Ok(())
}

/// Calls a `Func` of type i32 -> i32.
pub fn call_func(store: &mut Store<()>, f: Func, arg: i32) -> Result<i32> {
    f.typed::<i32, i32>(&mut *store)?.call(store, arg)
}
