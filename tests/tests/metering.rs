//! Metering: the same counts on every tier, to the instruction, however a call ends; fuel that stops a program at the same
//! place with the same state; costs; what the host sees and does.

mod support;

use std::fmt::Write as _;
use std::sync::Arc;
use support::trap;
use wasmc_compiler::{CompileOptions, Interpret, Jit, compile_to_artifact};
use wasmc_runtime::environ::Tunables;
use wasmc_runtime::*;

/// How a module is run.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Way {
    Interpreted,
    Compiled,
    Mixed,
    Artifact,
    /// An artifact that lacks the functions with odd indices.
    MixedArtifact,
}

const WAYS: [Way; 5] = [Way::Interpreted, Way::Compiled, Way::Mixed, Way::Artifact, Way::MixedArtifact];

fn engine(way: Way, costs: Option<&Arc<CostTable>>) -> Engine {
    let config = Config::new().features(Features::all()).meter(true);
    let config = match way {
        Way::Compiled => config.compiler(Arc::new(Jit::default())),
        Way::Mixed => config.compiler(Arc::new(Jit::default())).interpret(vec![Interpret::Odd]),
        _ => config.tier(wasmc_runtime::Tier::Interpreted),
    };
    Engine::new(match costs {
        Some(costs) => config.costs(costs.clone()),
        None => config,
    })
    .unwrap()
}

fn artifact(engine: &Engine, wat: &str, interpret: Vec<Interpret>, tunables: Tunables, costs: Option<Arc<CostTable>>) -> Result<Module> {
    let options = CompileOptions { interpret, features: Features::all(), tunables, costs, ..CompileOptions::default() };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("module.so");
    compile_to_artifact(&wat::parse_str(wat).unwrap(), &options)?.write_artifact(&path)?;
    // SAFETY: it was just made here.
    unsafe { Module::from_artifact(engine, &path) }
}

fn metered() -> Tunables {
    Tunables { meter: true, ..Tunables::default() }
}

fn module(engine: &Engine, way: Way, wat: &str, costs: Option<&Arc<CostTable>>) -> Module {
    match way {
        Way::Artifact => artifact(engine, wat, vec![], metered(), costs.cloned()).unwrap(),
        Way::MixedArtifact => artifact(engine, wat, vec![Interpret::Odd], metered(), costs.cloned()).unwrap(),
        _ => Module::new(engine, wat::parse_str(wat).unwrap()).unwrap(),
    }
}

/// What a run came to, and what it left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    outcome: String,
    consumed: u64,
    stats: Stats,
    /// Digest of the exported memory, and the exported global.
    memory: u64,
    global: i64,
    /// What host functions saw of the counts.
    seen: Vec<u64>,
}

#[derive(Default)]
struct Host {
    seen: Vec<u64>,
    tag: Option<Tag>,
}

/// The functions of the host: each notes the count that it sees.
fn linker(engine: &Engine, store: &mut Store<Host>) -> Linker<Host> {
    fn note(caller: &mut Caller<'_, Host>) {
        let n = caller.instructions_executed().unwrap();
        caller.data_mut().seen.push(n);
    }
    let mut linker: Linker<Host> = Linker::new(engine);
    linker
        .func_wrap("host", "note", |mut caller: Caller<'_, Host>, v: i32| {
            note(&mut caller);
            v
        })
        .unwrap();
    linker
        .func_wrap("host", "back", |mut caller: Caller<'_, Host>, v: i32| -> Result<i32> {
            note(&mut caller);
            let Some(Extern::Func(f)) = caller.get_export("again") else { return Ok(v) };
            let f = f.typed::<i32, i32>(&caller)?;
            let result = f.call(&mut caller, v);
            note(&mut caller);
            result
        })
        .unwrap();
    linker
        .func_wrap("host", "fail", |mut caller: Caller<'_, Host>| -> Result<()> {
            note(&mut caller);
            Err(Trap::from(TrapCode::IntegerOverflow).into())
        })
        .unwrap();
    let tag = Tag::new(&mut *store, FuncType::new([ValType::I32], [])).unwrap();
    store.data_mut().tag = Some(tag);
    linker.define(&mut *store, "host", "tag", tag).unwrap();
    linker
        .func_wrap("host", "throw", |mut caller: Caller<'_, Host>, v: i32| -> Result<()> {
            note(&mut caller);
            let Some(tag) = caller.data().tag else { return Ok(()) };
            let exn = ExnRef::new(&mut caller, &tag, &[Val::I32(v)])?;
            Err(ThrownException::new(exn).into())
        })
        .unwrap();
    linker
}

fn run(engine: &Engine, module: &Module, args: &[i32], fuel: Option<u64>) -> Run {
    let mut store = Store::new(engine, Host::default());
    let linker = linker(engine, &mut store);
    if let Some(fuel) = fuel {
        store.set_fuel(fuel).unwrap();
    }
    let result = linker.instantiate(&mut store, module).map(|instance| {
        let run = instance.get_func(&mut store, "run").unwrap();
        let args: Vec<Val> = args.iter().map(|a| Val::I32(*a)).collect();
        let mut results = vec![Val::I32(0); run.ty(&store).results.len()];
        let result = run.call(&mut store, &args, &mut results).map(|()| format!("{results:?}"));
        (instance, result)
    });
    let (memory, global, outcome) = match result {
        Ok((instance, outcome)) => {
            let memory = instance.get_memory(&mut store, "memory");
            let memory = memory.map_or(0, |m| m.data(&store).iter().fold(17u64, |h, b| h.wrapping_mul(31) ^ u64::from(*b)));
            let global = match instance.get_global(&mut store, "global").map(|g| g.get(&mut store)) {
                Some(Val::I64(v)) => v,
                _ => 0,
            };
            (memory, global, outcome)
        }
        Err(e) => (0, 0, Err(e)),
    };
    let outcome = match outcome {
        Ok(values) => values,
        Err(e) => match e.downcast_ref::<Trap>() {
            Some(t) => {
                let mut text = format!("{:?}", t.code());
                for f in t.backtrace().frames() {
                    let _ = write!(text, " {}@{:?}", f.func_index(), f.module_offset());
                }
                text
            }
            None => format!("{e:#}"),
        },
    };
    let stats = store.stats();
    let consumed = store.fuel_consumed().unwrap();
    if let Some(fuel) = fuel {
        assert_eq!(store.get_fuel().unwrap() + consumed, fuel);
    }
    Run { outcome, consumed, stats, memory, global, seen: std::mem::take(&mut store.data_mut().seen) }
}

/// Runs a program on every tier, without a limit and with every limit up to what it takes (a sample of them if that is a lot), and
/// compares all that can be seen. The run without a limit.
fn same_everywhere(wat: &str, args: &[i32], costs: Option<&Arc<CostTable>>) -> Run {
    let machines: Vec<_> = WAYS
        .iter()
        .map(|way| {
            let engine = engine(*way, costs);
            let module = module(&engine, *way, wat, costs);
            (*way, engine, module)
        })
        .collect();
    let compare = |fuel: Option<u64>| {
        let runs: Vec<_> = machines.iter().map(|(way, engine, module)| (way, run(engine, module, args, fuel))).collect();
        let (_, expected) = &runs[0];
        for (way, run) in &runs[1..] {
            assert_eq!(run, expected, "{way:?} differs from interpreted with fuel {fuel:?}, arguments {args:?}\n{wat}");
        }
        expected.clone()
    };
    let whole = compare(None);
    let step = (whole.consumed / 200).max(1);
    for fuel in (0..whole.consumed).step_by(step as usize) {
        let limited = compare(Some(fuel));
        assert!(limited.outcome.starts_with("OutOfFuel"), "{fuel} of {}: {limited:?}", whole.consumed);
        assert!(limited.consumed <= fuel);
    }
    // What it takes is enough, and no less. A trap comes in the midst of a region, which has to be paid for as a whole.
    let exact = compare(Some(whole.consumed));
    if whole.outcome.starts_with('[') {
        assert_eq!(exact, whole);
    }
    if whole.consumed > 0 {
        assert!(compare(Some(whole.consumed - 1)).outcome.starts_with("OutOfFuel"));
    }
    whole
}

#[test]
fn counts_by_the_rules() {
    let count = |code: &str| {
        let r = same_everywhere(&format!("(module (func (export \"run\") (param i32) (local i32) {code}))"), &[3], None);
        (r.consumed, r.stats.instructions, r.stats.calls)
    };
    let n = |code: &str| count(code).0;
    assert_eq!(count(""), (0, Some(0), Some(1)));
    assert_eq!(n("nop"), 1);
    assert_eq!(n("(drop (i32.add (local.get 0) (i32.const 1)))"), 4);
    // `block`, `if` and `loop` count; `else` and `end` do not.
    assert_eq!(n("(block (block nop))"), 3);
    assert_eq!(n("(if (local.get 0) (then nop) (else nop nop nop))"), 3);
    assert_eq!(n("(if (i32.eqz (local.get 0)) (then nop) (else nop nop nop))"), 6);
    assert_eq!(n("(if (i32.eqz (local.get 0)) (then nop nop nop))"), 3);
    assert_eq!(n("(loop nop)"), 2);
    // A `loop` again with each branch to it: three times here, with seven instructions more each.
    assert_eq!(n("(loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))"), 3 * 6);
    assert_eq!(n("(block (br 0) nop)"), 2);
    assert_eq!(n("return nop"), 1);
    assert_eq!(n("(block (br_table 0 0 (local.get 0)))"), 3);
    assert_eq!(n("unreachable"), 1);
}

#[test]
fn traps_give_back_what_they_left_undone() {
    const WAT: &str = r#"(module
        (memory (export "memory") 1 3)
        (global (export "global") (mut i64) (i64.const 0))
        (table 3 3 funcref) (elem (i32.const 0) $f)
        (type $v (func)) (type $i (func (result i32)))
        (func $f)
        (func $div (param i32) (result i32)
            nop nop (i32.div_u (i32.const 7) (local.get 0)) nop nop (i32.const 1) i32.add)
        (func (export "run") (param i32 i32) (result i32)
            (global.set 0 (i64.const 1))
            (block (block (block (block (block (block (block (br_table 0 1 2 3 4 5 6 (local.get 0)))
                ;; 0: a load at the second argument, with much behind it.
                nop (drop (i32.load (local.get 1))) (global.set 0 (i64.const 2)) nop nop (return (i32.const 1)))
                ;; 1: a store.
                nop (i32.store (local.get 1) (i32.const 5)) (i32.store (i32.const 8) (i32.const 6)) nop (return (i32.const 2)))
                ;; 2: a division in a function that is called.
                (return (i32.add (call $div (local.get 1)) (i32.const 5))))
                ;; 3: a call through a table.
                nop (drop (call_indirect (type $i) (local.get 1))) nop nop)
                ;; 4: a routine of the runtime.
                nop nop (memory.fill (local.get 1) (i32.const 1) (i32.const 100)) nop nop (return (i32.const 3)))
                ;; 5: a conversion.
                nop (drop (i32.trunc_f32_s (f32.reinterpret_i32 (local.get 1)))) nop (return (i32.const 4)))
            ;; 6
            (drop (memory.grow (local.get 1))) nop (drop (v128.load (i32.const 0x1fff8))) nop
            (i32.const 5)))"#;
    for case in 0..7 {
        for operand in [0, 1, 2, 100, 0xfffc, 0xfffe, -1, 0x7fc0_0000] {
            same_everywhere(WAT, &[case, operand], None);
        }
    }
}

#[test]
fn calls_of_all_kinds_keep_the_count() {
    const WAT: &str = r#"(module
        (import "host" "note" (func $note (param i32) (result i32)))
        (import "host" "back" (func $back (param i32) (result i32)))
        (memory (export "memory") 1)
        (table $open (export "table") 4 4 funcref) (elem (table $open) (i32.const 0) func $note $even $odd $fib)
        (table $closed 4 4 funcref) (elem (table $closed) (i32.const 0) func $note $even $odd $fib)
        (type $t (func (param i32) (result i32)))
        (elem declare func $fib $note)
        (func $even (param i32) (result i32)
            (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 1)) (else (return_call $odd (i32.sub (local.get 0) (i32.const 1))))))
        (func $odd (param i32) (result i32)
            (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 0))
                (else (return_call_indirect $open (type $t) (i32.sub (local.get 0) (i32.const 1)) (i32.const 1)))))
        (func $fib (export "again") (param i32) (result i32)
            (if (i32.lt_s (local.get 0) (i32.const 2)) (then (return (call $note (local.get 0)))))
            (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1))) (call $fib (i32.sub (local.get 0) (i32.const 2)))))
        (func (export "run") (param i32) (result i32)
            (local $sum i32)
            (local.set $sum (call $even (local.get 0)))
            (local.set $sum (i32.add (local.get $sum) (call_indirect $closed (type $t) (local.get 0) (i32.const 3))))
            (local.set $sum (i32.add (local.get $sum) (call_indirect $closed (type $t) (local.get 0) (i32.const 0))))
            (local.set $sum (i32.add (local.get $sum) (call_indirect $open (type $t) (local.get 0) (i32.const 0))))
            (local.set $sum (i32.add (local.get $sum) (call_ref $t (local.get 0) (ref.func $note))))
            (local.set $sum (i32.add (local.get $sum) (call $back (local.get 0))))
            (return_call_ref $t (local.get $sum) (ref.func $note))))"#;
    for n in [0, 1, 2, 5] {
        let run = same_everywhere(WAT, &[n], None);
        assert!(run.stats.host_calls > Some(4) && run.seen.is_sorted(), "{run:?}");
        assert_eq!(run.stats.instructions, Some(run.consumed));
    }
}

#[test]
fn exceptions_keep_the_count() {
    const WAT: &str = r#"(module
        (import "host" "throw" (func $throw (param i32)))
        (import "host" "back" (func $back (param i32) (result i32)))
        (import "host" "fail" (func $fail))
        (import "host" "tag" (tag $t (param i32)))
        (tag $other)
        (memory (export "memory") 1)
        (func $deep (param i32 i32)
            (if (i32.eqz (local.get 0)) (then (if (local.get 1) (then (call $throw (local.get 1))) (else (throw $t (i32.const 9))))))
            (call $deep (i32.sub (local.get 0) (i32.const 1)) (local.get 1))
            nop nop nop)
        (func (export "again") (param i32) (result i32)
            (call $deep (i32.const 3) (local.get 0)) (i32.const 1))
        (func $middle (param i32) (result i32)
            (block $h (result i32)
                (block $o (try_table (catch $other $o) (call $deep (i32.const 4) (local.get 0)) nop))
                (try_table (catch $t $h) (call $deep (i32.const 2) (local.get 0)) nop nop)
                (i32.const 4)) nop)
        (func (export "run") (param i32) (result i32)
            (local $sum i32) (local $i i32)
            (loop $again
                (block $h (result i32)
                    (try_table (catch $t $h)
                        (call $deep (local.get $i) (local.get 0))
                        nop)
                    (i32.const 100))
                (local.set $sum (i32.add (local.get $sum)))
                (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4))))
            (block $h (result i32)
                (try_table (catch $t $h) (local.set $sum (i32.add (local.get $sum) (call $back (local.get 0)))))
                (i32.const 7))
            (local.set $sum (i32.add (local.get $sum)))
            try (call $deep (i32.const 1) (local.get 0)) nop
            catch $t local.get $sum i32.add local.set $sum nop
            catch_all nop nop end
            try
                try (throw $other) catch $other nop (rethrow 0) end
            catch_all (local.set $sum (i32.add (local.get $sum) (i32.const 1000))) end
            try
                try (call $deep (i32.const 1) (local.get 0)) nop delegate 0
            catch $t local.get $sum i32.add local.set $sum end
            (block $h (result i32)
                (try_table (catch $t $h) (drop (call $middle (local.get 0))))
                (i32.const 7))
            (drop)
            (if (i32.eq (local.get 0) (i32.const 2)) (then (call $fail)))
            (if (i32.eq (local.get 0) (i32.const 3)) (then (throw $other)))
            (local.get $sum)))"#;
    for n in 0..4 {
        same_everywhere(WAT, &[n], None);
    }
}

#[test]
fn costs_of_instructions_and_host_functions() {
    let mut costs = CostTable::new(2).unwrap();
    costs.set_instruction("i32.add", 10).unwrap();
    costs.set_instruction("nop", 0).unwrap();
    costs.set_instruction("loop", 3).unwrap();
    costs.set_host("host.note", 1000).unwrap();
    let costs = Arc::new(costs);
    const WAT: &str = r#"(module
        (import "host" "note" (func $note (param i32) (result i32)))
        (memory (export "memory") 1)
        (table funcref (elem $note $plain))
        (table $open (export "table") 1 1 funcref) (elem (table $open) (i32.const 0) func $note)
        (type $t (func (param i32) (result i32)))
        (func $plain (param i32) (result i32) nop (i32.add (local.get 0) (i32.const 1)))
        (func (export "run") (param i32) (result i32)
            nop nop
            (loop (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
                (br_if 0 (i32.lt_s (i32.load (i32.const 0)) (local.get 0))))
            (drop (call_indirect (type $t) (local.get 0) (i32.const 1)))
            (drop (call_indirect (type $t) (local.get 0) (i32.const 0)))
            (drop (call_indirect $open (type $t) (local.get 0) (i32.const 0)))
            (call $note (i32.load (i32.mul (local.get 0) (i32.const 0x4000))))))"#;
    let whole = same_everywhere(WAT, &[3], Some(&costs));
    // A loop of 12 instructions, three times: 3 + 10 + 10 * 2. `plain`: 10 + 2 * 2, and a `nop`. Then 3 host functions.
    let around = 4 * 2 + 4 * 2 + 4 * 2 + 5 * 2;
    assert_eq!(whole.consumed, 3 * (3 + 10 + 10 * 2) + 14 + around + 3 * 1000);
    assert_eq!(whole.stats.instructions, Some(2 + 3 * 12 + 4 + 17));
    assert_eq!(whole.stats.host_calls, Some(3));
    same_everywhere(WAT, &[4], Some(&costs));
}

#[test]
fn programs_that_compute() {
    // A sieve and a sort: loops in loops, with memory.
    const WAT: &str = r#"(module
        (memory (export "memory") 1)
        (func (export "run") (param $n i32) (result i32) (local $i i32) (local $j i32) (local $count i32) (local $t i32)
            (local.set $i (i32.const 2))
            (block $done (loop $next
                (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
                (if (i32.eqz (i32.load8_u (local.get $i)))
                    (then
                        (local.set $count (i32.add (local.get $count) (i32.const 1)))
                        (local.set $j (i32.mul (local.get $i) (local.get $i)))
                        (block $out (loop $mark
                            (br_if $out (i32.ge_u (local.get $j) (local.get $n)))
                            (i32.store8 (local.get $j) (i32.const 1))
                            (local.set $j (i32.add (local.get $j) (local.get $i)))
                            (br $mark)))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br $next)))
            (local.set $i (i32.const 0))
            (loop $outer
                (local.set $j (local.get $i))
                (loop $inner
                    (local.set $t (i32.load8_u (local.get $j)))
                    (local.set $t (select (i32.const 3) (local.get $t) (i32.gt_u (local.get $t) (i32.const 5))))
                    (i32.store8 offset=1000 (local.get $j) (i32.xor (local.get $t) (local.get $i)))
                    (br_if $inner (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 7))) (local.get $n))))
                (br_if $outer (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 5))))
            (local.get $count)))"#;
    let run = same_everywhere(WAT, &[200], None);
    assert_eq!(run.outcome, "[I32(46)]");
}

#[test]
fn fuel_is_set_while_it_burns() {
    const WAT: &str = r#"(module (import "host" "refuel" (func $refuel)) (func (export "run") (loop (call $refuel) (br 0))))"#;
    for way in WAYS {
        let engine = engine(way, None);
        let module = module(&engine, way, WAT, None);
        let mut linker: Linker<u32> = Linker::new(&engine);
        linker
            .func_wrap("host", "refuel", |mut caller: Caller<'_, u32>| -> Result<()> {
                *caller.data_mut() += 1;
                assert!(caller.get_fuel()? < 10);
                if *caller.data() < 5 { caller.set_fuel(9) } else { caller.add_fuel(0) }
            })
            .unwrap();
        let mut store = Store::new(&engine, 0);
        store.set_fuel(3).unwrap();
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let run = instance.get_typed_func::<(), ()>(&mut store, "run").unwrap();
        assert_eq!(trap(run.call(&mut store, ())).code(), TrapCode::OutOfFuel);
        // `loop` and `call`, then six times `br` with them: the last call finds nothing left.
        assert_eq!((*store.data(), store.get_fuel().unwrap()), (7, 0), "{way:?}");
        assert_eq!(store.instructions_executed().unwrap(), 2 + 6 * 3, "{way:?}");
        // More fuel, and it runs again.
        store.add_fuel(2).unwrap();
        assert_eq!(trap(run.call(&mut store, ())).code(), TrapCode::OutOfFuel);
        assert_eq!(*store.data(), 8, "{way:?}");
    }
}

#[test]
fn an_exhausted_stack_and_what_follows() {
    const WAT: &str = r#"(module (func $f (export "run") (param i32) (result i32) (i32.add (call $f (local.get 0)) (i32.const 1)))
        (func (export "one") (result i32) (i32.const 1)))"#;
    for way in WAYS {
        let engine = engine(way, None);
        let module = module(&engine, way, WAT, None);
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let run = instance.get_typed_func::<i32, i32>(&mut store, "run").unwrap();
        assert_eq!(trap(run.call(&mut store, 0)).code(), TrapCode::StackOverflow);
        let (calls, instructions) = (store.stats().calls.unwrap(), store.instructions_executed().unwrap());
        assert!(calls > 1000 && instructions.abs_diff(2 * calls) <= 2, "{way:?}: {calls} calls, {instructions} instructions");
        let one = instance.get_typed_func::<(), i32>(&mut store, "one").unwrap();
        one.call(&mut store, ()).unwrap();
        assert_eq!(store.instructions_executed().unwrap(), instructions + 1);
    }
}

#[test]
fn what_does_not_meter_says_so() {
    let wat = r#"(module (func (export "run")))"#;
    let plain = Engine::new(Config::new().tier(wasmc_runtime::Tier::Interpreted)).unwrap();
    let mut store = Store::new(&plain, ());
    assert!(store.set_fuel(1).unwrap_err().is::<NotMetered>());
    assert!(store.get_fuel().is_err() && store.fuel_consumed().is_err() && store.instructions_executed().is_err());
    assert_eq!((store.stats().instructions, store.stats().host_calls), (None, None));

    let engine = engine(Way::Interpreted, None);
    let e = artifact(&engine, wat, vec![], Tunables::default(), None).unwrap_err().to_string();
    assert!(e.contains("without option meter") && e.contains("wasmc compile --meter"), "{e}");
    let e = artifact(&plain, wat, vec![], metered(), None).unwrap_err().to_string();
    assert!(e.contains("with option meter") && e.contains("Config::meter"), "{e}");

    // The first artifact's table is the engine's.
    let table = |default| Some(Arc::new(CostTable::new(default).unwrap()));
    artifact(&engine, wat, vec![], metered(), table(2)).unwrap();
    artifact(&engine, wat, vec![], metered(), table(2)).unwrap();
    let e = artifact(&engine, wat, vec![], metered(), table(3)).unwrap_err().to_string();
    assert!(e.contains("another table of costs") && e.contains("--costs FILE"), "{e}");
    assert!(artifact(&engine, wat, vec![], metered(), None).is_err());

    assert!(Engine::new(Config::new().costs(table(1).unwrap())).is_err());
    let options = CompileOptions { costs: table(1), ..CompileOptions::default() };
    assert!(compile_to_artifact(b"\0asm\x01\0\0\0", &options).err().unwrap().to_string().contains("--meter"));
    let options = CompileOptions { strip: true, tunables: metered(), ..CompileOptions::default() };
    assert!(compile_to_artifact(b"\0asm\x01\0\0\0", &options).err().unwrap().to_string().contains("--strip"));
}

#[test]
fn time_and_memory() {
    const WAT: &str = r#"(module (import "host" "sleep" (func $sleep)) (memory 3) (memory 2)
        (func (export "run") (local i32)
            (call $sleep) (drop (memory.grow 1 (i32.const 5)))
            (loop (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 300000))))))"#;
    for way in WAYS {
        let engine = engine(way, None);
        let module = module(&engine, way, WAT, None);
        let mut linker: Linker<()> = Linker::new(&engine);
        linker.func_wrap("host", "sleep", || std::thread::sleep(std::time::Duration::from_millis(30))).unwrap();
        let mut store = Store::new(&engine, ());
        store.measure_time();
        let instance = linker.instantiate(&mut store, &module).unwrap();
        instance.get_typed_func::<(), ()>(&mut store, "run").unwrap().call(&mut store, ()).unwrap();
        let stats = store.stats();
        assert_eq!((stats.memory_bytes, stats.host_calls, stats.calls), (10 << 16, Some(1), Some(1)));
        let (wasm, host) = (stats.wasm_time.unwrap(), stats.host_time.unwrap());
        assert!(host.as_millis() >= 30 && host.as_millis() < 3000 && wasm.as_micros() > 10, "{way:?}: {wasm:?} {host:?}");
        std::thread::sleep(std::time::Duration::from_millis(5));
        assert_eq!(store.stats().wasm_time, Some(wasm));
    }
}

/// The command line: what it prints to standard error and the exit code.
fn wasmc(args: &[&str], folder: &std::path::Path) -> (i32, String) {
    let mut command = wasmc_tests::command(wasmc_tests::wasmc());
    let outcome = wasmc_tests::run(command.args(args).current_dir(folder), std::time::Duration::from_secs(60));
    (outcome.code.unwrap(), outcome.stderr)
}

fn json(stderr: &str) -> serde_json::Value {
    serde_json::from_str(stderr.lines().find(|l| l.starts_with('{')).unwrap_or_else(|| panic!("no object: {stderr}"))).unwrap()
}

#[test]
fn the_command_line() {
    const WAT: &str = r#"(module (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
        (memory (export "memory") 1)
        (func (export "_start") (local i32)
            (loop (drop (call $yield)) (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 10))))))"#;
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write("p.wat", WAT);
    write("costs.toml", "[instructions]\n\"i32.add\" = 3\n[host]\n\"wasi_snapshot_preview1.sched_yield\" = 100\n");
    write("bad.toml", "[instructions]\n\"i32.ad\" = 3\n");
    let done = |args: &[&str]| assert_eq!(wasmc(args, folder), (0, String::new()), "{args:?}");
    done(&["compile", "-q", "--meter", "p.wat", "-o", "m.so"]);
    done(&["compile", "-q", "--meter", "--interpret", "odd", "p.wat", "-o", "x.so"]);
    done(&["compile", "-q", "--meter", "--costs", "costs.toml", "p.wat", "-o", "c.so"]);
    done(&["compile", "-q", "p.wat", "-o", "plain.so"]);
    let ways: [&[&str]; 4] = [&["m.so"], &["x.so"], &["p.wat"], &["--tier", "interpreted", "p.wat"]];
    for way in ways {
        let run = |options: &[&str]| wasmc(&[&["run"], options, way].concat(), folder);
        // `loop`, `call`, `drop`, and seven more, ten times.
        let (code, text) = run(&["--stats=json"]);
        let figures = json(&text);
        assert_eq!((code, &figures["instructions"], &figures["cost"]), (0, &100.into(), &100.into()), "{way:?}");
        assert_eq!((&figures["calls"], &figures["host_calls"], &figures["linear_memory_bytes"]), (&1.into(), &10.into(), &65536.into()));
        assert!(figures["resident_bytes"].as_u64() > Some(1 << 16) && figures["wasm_seconds"].as_f64() > Some(0.0), "{text}");
        assert_eq!(run(&["--fuel", "100"]), (0, String::new()), "{way:?}");
        let (code, text) = run(&["--fuel", "99", "--stats"]);
        assert!(code == 134 && text.contains("fuel exhausted") && text.contains("instructions                 92\n"), "{code}: {text}");
    }
    for way in [&["c.so"][..], &["--costs", "costs.toml", "c.so"], &["--costs", "costs.toml", "--tier", "interpreted", "p.wat"]] {
        let (code, text) = wasmc(&[&["run", "--stats=json"], way].concat(), folder);
        assert_eq!((code, &json(&text)["instructions"], &json(&text)["cost"]), (0, &100.into(), &1120.into()), "{way:?}: {text}");
    }
    let says = |args: &[&str], code: i32, parts: &[&str]| {
        let (found, text) = wasmc(args, folder);
        assert!(found == code && parts.iter().all(|p| text.contains(p)), "{args:?}: {found}: {text}");
    };
    says(&["run", "--fuel", "5", "plain.so"], 78, &["wasmc compile --meter"]);
    says(
        &["run", "--stats", "plain.so"],
        0,
        &["not counted: the artifact was compiled without --meter", "host calls                   10"],
    );
    says(&["run", "--costs", "costs.toml", "m.so"], 78, &["another table of costs", "--costs FILE"]);
    says(&["run", "--module", "lib=plain.so", "m.so"], 78, &["without option meter", "wasmc compile --meter"]);
    says(&["run", "--module", "lib=m.so", "plain.so"], 78, &["with option meter"]);
    says(&["compile", "--meter", "--costs", "bad.toml", "p.wat"], 64, &["bad.toml", "`i32.ad`", "`i32.add`"]);
    says(&["compile", "--meter", "--costs", "missing.toml", "p.wat"], 66, &["missing.toml"]);
    says(&["compile", "--costs", "costs.toml", "p.wat"], 64, &["--meter"]);
    says(&["compile", "--meter", "--strip", "p.wat"], 64, &["--strip"]);
}

/// The report comes from the first thread, whichever ends the program: by an exit or a trap, while the first one waits or computes.
#[test]
fn another_thread_ends_the_program() {
    let module = |waits: &str, ends: &str| {
        format!(
            r#"(module
        (import "env" "memory" (memory 1 1 shared)) (export "memory" (memory 0))
        (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (func (export "wasi_thread_start") (param i32 i32) {ends})
        (func (export "_start") (drop (call $spawn (i32.const 0))) {waits}))"#
        )
    };
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let waits = ["(loop (br 0))", "(drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))"];
    for (code, ends) in [(7, "(call $exit (i32.const 7))"), (134, "unreachable")] {
        for waits in waits {
            std::fs::write(folder.join("t.wat"), module(waits, ends)).unwrap();
            for tier in ["compiled", "interpreted"] {
                let (found, text) = wasmc(&["run", "--threads", "--stats=json", "--tier", tier, "t.wat"], folder);
                assert_eq!(found, code, "{waits}, {ends}, {tier}: {text}");
                assert_eq!(text.contains("wasm trap") || text.contains("unreachable"), code == 134, "{text}");
                let figures = json(&text);
                assert!(figures["calls"] == 2 && figures["instructions"].as_u64() >= Some(3), "{waits}, {ends}, {tier}: {text}");
            }
        }
    }
}

#[test]
fn threads_share_what_their_parent_has_left() {
    // The thread counts down from its argument, then tells the first one, which waits. With 0 it never ends.
    const WAT: &str = r#"(module
        (import "env" "memory" (memory 1 1 shared)) (export "memory" (memory 0))
        (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
        (func (export "wasi_thread_start") (param i32 i32)
            (loop (br_if 0 (local.tee 1 (i32.sub (local.get 1) (i32.const 1)))))
            (i32.atomic.store (i32.const 0) (i32.const 1))
            (drop (memory.atomic.notify (i32.const 0) (i32.const 1))))
        (func (export "run") (param i32)
            (drop (call $spawn (local.get 0)))
            (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))))"#;
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    std::fs::write(folder.join("t.wat"), WAT).unwrap();
    assert_eq!(wasmc(&["compile", "-q", "--meter", "-W", "shared-memory=y", "t.wat", "-o", "t.so"], folder).0, 0);
    let ways: [&[&str]; 3] = [&["t.so"], &["t.wat"], &["--tier", "interpreted", "t.wat"]];
    for way in ways {
        let run = |fuel: &str, n: &str| wasmc(&[&["run", "--threads", "--fuel", fuel, "--invoke", "run"], way, &[n]].concat(), folder);
        // A hundred times six instructions, and seven; the first thread needs ten. Half of the fuel is the thread's.
        assert_eq!(run("1300", "100"), (0, String::new()), "{way:?}");
        for fuel in ["1200", "100000"] {
            let (code, text) = run(fuel, if fuel == "1200" { "100" } else { "0" });
            assert!(code == 134 && text.contains("fuel exhausted"), "{way:?}, {fuel}: {code}: {text}");
        }
    }
}
