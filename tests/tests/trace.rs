//! Traces of calls: the same lines on every tier but for the kind of code; what an artifact that reports nothing still shows; how
//! calls end that do not return; lines of several threads; and the example in `docs/tracing.md`, which is what the command prints.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wasmc_compiler::{CompileOptions, compile_to_artifact};
use wasmc_environ::Tunables;
use wasmc_runtime::*;
use wasmc_tests::{Outcome, command, run, wasmc, workspace};

/// A sink that a test can look into.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }
}

/// How a module is run.
#[derive(Clone, Debug)]
enum Way {
    Interpreted,
    InMemory(Vec<Interpret>),
    Artifact(Vec<Interpret>),
    /// An artifact that does not report its calls.
    Silent(Vec<Interpret>),
}

fn ways() -> Vec<Way> {
    let odd = || vec![Interpret::Odd];
    vec![
        Way::Interpreted,
        Way::InMemory(vec![]),
        Way::InMemory(odd()),
        Way::InMemory(vec![Interpret::All]),
        Way::Artifact(vec![]),
        Way::Artifact(odd()),
    ]
}

fn features() -> Features {
    Features { legacy_exceptions: true, ..Features::default() }
}

fn engine(way: &Way, lines: &Lines) -> Engine {
    let config = Config::new().features(features()).call_tracer(Arc::new(CallTracer::new(lines.clone())));
    let config = match way {
        Way::Interpreted => config.tier(Tier::Interpreted),
        Way::InMemory(interpret) => config.compiler(Arc::new(wasmc_compiler::Jit::default())).interpret(interpret.clone()),
        Way::Artifact(_) | Way::Silent(_) => config,
    };
    Engine::new(config).unwrap()
}

fn module(engine: &Engine, way: &Way, text: &str) -> Module {
    let wasm = wat::parse_str(text).unwrap();
    let (interpret, trace) = match way {
        Way::Artifact(interpret) => (interpret.clone(), true),
        Way::Silent(interpret) => (interpret.clone(), false),
        _ => return Module::new(engine, wasm).unwrap(),
    };
    let tunables = Tunables { trace, ..Tunables::default() };
    let artifact = compile_to_artifact(&wasm, &CompileOptions { interpret, tunables, features: features(), ..Default::default() }).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.so");
    artifact.write_artifact(&path).unwrap();
    // SAFETY: this test has just made it.
    let module = unsafe { Module::from_artifact(engine, &path) }.unwrap();
    assert_eq!(module.reports_calls(), trace);
    module
}

/// Without the column that says which kind of code runs.
fn without_kinds(lines: &[String]) -> Vec<String> {
    let strip = |line: &String| match line.get(..3) {
        Some("-> " | "<- " | "=> ") => {
            let rest = line[3..].trim_start_matches(|c: char| c.is_ascii_lowercase());
            let width = "interpreted".len() + 2 - (line.len() - 3 - rest.len());
            format!("{}{}", &line[..3], &rest[width..])
        }
        _ => line.clone(),
    };
    lines.iter().map(strip).collect()
}

/// Runs a scenario in every way and compares the traces; the first, without kinds.
fn same_everywhere(text: &str, scenario: impl Fn(&mut Store<()>, &Linker<()>, &Module)) -> Vec<String> {
    let mut first: Option<Vec<String>> = None;
    for way in ways() {
        let lines = Lines::default();
        let engine = engine(&way, &lines);
        let module = module(&engine, &way, text);
        let mut store = Store::new(&engine, ());
        scenario(&mut store, &linker(&engine), &module);
        let trace = without_kinds(&lines.take());
        match &first {
            None => first = Some(trace),
            Some(first) => assert_eq!(*first, trace, "{way:?}"),
        }
    }
    first.unwrap()
}

/// Host functions that do what host functions do.
fn linker(engine: &Engine) -> Linker<()> {
    let mut linker = Linker::new(engine);
    linker.func_wrap("host", "add", |a: i32, b: i32| a.wrapping_add(b)).unwrap();
    linker.func_wrap("host", "pair", |a: i64| (a, 1.5f32)).unwrap();
    linker
        .func_wrap("host", "back", |mut caller: Caller<'_, ()>, n: i32| -> Result<i32> {
            let Some(Extern::Func(f)) = caller.get_export("again") else { return Ok(-1) };
            Ok(f.typed::<i32, i32>(&caller)?.call(&mut caller, n).unwrap_or(-2))
        })
        .unwrap();
    linker.func_wrap("host", "fail", || -> Result<()> { Err(Error::msg("no\nmore")) }).unwrap();
    linker.func_wrap("host", "exit", || -> Result<()> { Err(Exit(7).into()) }).unwrap();
    linker.func_wrap("host", "panic", || -> () { panic!("on purpose") }).unwrap();
    linker
}

fn call(store: &mut Store<()>, instance: &Instance, name: &str, args: &[Val]) -> Result<()> {
    let func = instance.get_func(&mut *store, name).unwrap();
    let mut results = vec![Val::I32(0); func.ty(&*store).results.len()];
    func.call(store, args, &mut results)
}

const MODULE: &str = r#"(module $m
    (import "host" "add" (func $add (param i32 i32) (result i32)))
    (import "host" "pair" (func $pair (param i64) (result i64 f32)))
    (import "host" "back" (func $back (param i32) (result i32)))
    (import "host" "fail" (func $fail))
    (import "host" "exit" (func $exit))
    (import "host" "panic" (func $panic))
    (tag $t (param i32))
    (type $unary (func (param i32) (result i32)))
    (table $closed funcref (elem $double $back $tail_host))
    (table $open (export "table") 4 funcref)
    (elem (table $open) (i32.const 0) func $double $down $back)
    (func $double (export "double") (param i32) (result i32) (i32.add (local.get 0) (local.get 0)))
    (func $values (export "values") (param i32 i64 f32 f64 v128 funcref externref) (result f64 v128 funcref i32)
        (local.get 3) (local.get 4) (local.get 5) (local.get 0))
    (func $down (export "down") (param i32) (result i32)
        (if (i32.eqz (local.get 0)) (then (return_call $double (i32.const 21))))
        (return_call_indirect $open (type $unary) (i32.sub (local.get 0) (i32.const 1)) (i32.const 1)))
    (func $tail_host (export "tail_host") (param i32) (result i32) (return_call $add (local.get 0) (i32.const 1)))
    (func $tail_ref (export "tail_ref") (param i32) (result i32) (return_call_ref $unary (local.get 0) (ref.func $double)))
    (func $again (export "again") (param i32) (result i32)
        (if (result i32) (local.get 0) (then (call $back (i32.sub (local.get 0) (i32.const 1)))) (else (i32.const 100))))
    (func $throw (param i32) (drop (call $double (i32.const 1))) (throw $t (local.get 0)))
    (func $through (param i32) (call $throw (local.get 0)) (drop (call $double (i32.const 2))))
    (func $catch (export "catch") (param i32) (result i32)
        (block $h (result i32)
            (try_table (result i32) (catch $t $h) (call $through (local.get 0)) (i32.const 0)))
        (call $double))
    (func $legacy (export "legacy") (param i32) (result i32)
        try (result i32) (call $through (local.get 0)) (i32.const 0) catch $t end
        (call $double))
    (func $uncaught (export "uncaught") (call $through (i32.const 3)))
    (func $branches (export "branches") (param i32) (result i32)
        (drop (call $double (local.get 0)))
        (br_if 0 (i32.const 5) (i32.eq (local.get 0) (i32.const 1)))
        (drop)
        (block $a (block $b (br_table $a $b (local.get 0))))
        (return (i32.const 6)))
    (func $trap (export "trap") (param i32) (result i32) (i32.div_u (call $double (i32.const 4)) (local.get 0)))
    (func $indirect (export "indirect") (param i32) (result i32)
        (i32.add (call_indirect $closed (type $unary) (i32.const 0) (local.get 0))
            (call_indirect $open (type $unary) (i32.const 0) (local.get 0))))
    (func (export "nameless") (result i64 f32) (call $pair (i64.const -5)))
    (func (export "fails") (call $fail))
    (func (export "exits") (call $exit))
    (func (export "panics") (call $panic))
    (elem declare func $double)
)"#;

#[test]
fn every_tier_shows_the_same_calls() {
    let trace = same_everywhere(MODULE, |store, linker, module| {
        let instance = linker.instantiate(&mut *store, module).unwrap();
        let double = instance.get_func(&mut *store, "double");
        let values = [
            Val::I32(-1),
            Val::I64(i64::MIN),
            Val::F32(0.1f32.to_bits()),
            Val::F64(f64::NAN.to_bits()),
            Val::V128(0x0123_4567u128.into()),
            Val::FuncRef(double),
            Val::ExternRef(None),
        ];
        call(store, &instance, "values", &values).unwrap();
        let extern_ref = ExternRef::new(&mut *store, 1).unwrap();
        let values = [
            Val::I32(0),
            Val::I64(0),
            Val::F32((-0.0f32).to_bits()),
            Val::F64(f64::INFINITY.to_bits()),
            Val::V128(0u128.into()),
            Val::FuncRef(None),
            Val::ExternRef(Some(extern_ref)),
        ];
        call(store, &instance, "values", &values).unwrap();
        for n in [0, 1, 3] {
            call(store, &instance, "branches", &[Val::I32(n)]).unwrap();
        }
        for (name, n) in [("down", 2), ("tail_host", 8), ("tail_ref", 4), ("again", 2), ("catch", 11), ("legacy", 12), ("indirect", 0)] {
            call(store, &instance, name, &[Val::I32(n)]).unwrap();
        }
        call(store, &instance, "nameless", &[]).unwrap();
        call(store, &instance, "trap", &[Val::I32(0)]).unwrap_err();
        for name in ["uncaught", "fails", "exits", "panics"] {
            call(store, &instance, name, &[]).unwrap_err();
        }
        call(store, &instance, "double", &[Val::I32(1)]).unwrap();
    });
    let expected = "\
-> values(-1, -9223372036854775808, 0.1, nan:0x7ff8000000000000, 0x00000000000000000000000001234567, func double, null)
<- values = nan:0x7ff8000000000000, 0x00000000000000000000000001234567, func double, -1
-> values(0, 0, -0.0, inf, 0x00000000000000000000000000000000, null, externref)
<- values = inf, 0x00000000000000000000000000000000, null, 0
-> branches(0)
->   double(0)
<-   double = 0
<- branches = 6
-> branches(1)
->   double(1)
<-   double = 2
<- branches = 5
-> branches(3)
->   double(3)
<-   double = 6
<- branches = 6
-> down(2)
<- down: tail call
=> down(1)
<- down: tail call
=> down(0)
<- down: tail call
=> double(21)
<- double = 42
-> tail_host(8)
<- tail_host: tail call
=> host.add(8, 1)
<- host.add = 9
-> tail_ref(4)
<- tail_ref: tail call
=> double(4)
<- double = 8
-> again(2)
->   host.back(1)
->     again(1)
->       host.back(0)
->         again(0)
<-         again = 100
<-       host.back = 100
<-     again = 100
<-   host.back = 100
<- again = 100
-> catch(11)
->   through(11)
->     throw(11)
->       double(1)
<-       double = 2
<-     throw: exception
<-   through: exception
->   double(11)
<-   double = 22
<- catch = 22
-> legacy(12)
->   through(12)
->     throw(12)
->       double(1)
<-       double = 2
<-     throw: exception
<-   through: exception
->   double(12)
<-   double = 24
<- legacy = 24
-> indirect(0)
->   double(0)
<-   double = 0
->   double(0)
<-   double = 0
<- indirect = 0
-> nameless()
->   host.pair(-5)
<-   host.pair = -5, 1.5
<- nameless = -5, 1.5
-> trap(0)
->   double(4)
<-   double = 8
<- trap: trap: integer divide by zero
-> uncaught()
->   through(3)
->     throw(3)
->       double(1)
<-       double = 2
<-     throw: exception
<-   through: exception
<- uncaught: exception
-> fails()
->   host.fail()
<-   host.fail: error: no
<- fails: error: no
-> exits()
->   host.exit()
<-   host.exit: exit(7)
<- exits: exit(7)
-> panics()
->   host.panic()
<-   host.panic: a host function panicked: on purpose
<- panics: a host function panicked: on purpose
-> double(1)
<- double = 2";
    assert_eq!(trace.join("\n"), expected);
}

#[test]
fn instances_hosts_and_patterns() {
    let library = r#"(module $lib
        (func (export "twice") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
        (func $helper (param i32) (result i32) (local.get 0))
        (func (export "tail") (param i32) (result i32) (return_call $helper (local.get 0))))"#;
    let user = r#"(module $user
        (import "lib" "twice" (func $twice (param i32) (result i32)))
        (import "lib" "tail" (func $tail (param i32) (result i32)))
        (import "lib" "host" (func $host (param i32) (result i32)))
        (func (export "run") (param i32) (result i32)
            (call $host (call $tail (call $twice (local.get 0)))))
        (func (export "run_tail") (param i32) (result i32) (return_call $tail (local.get 0))))"#;
    for (pattern, expected) in [
        (
            None,
            "-> run(4)\n->   twice(4)\n<-   twice = 8\n->   tail(8)\n<-   tail: tail call\n=>   helper(8)\n<-   helper = 8\n\
             ->   lib.host(8)\n<-   lib.host = 9\n<- run = 9\n\
             -> run_tail(5)\n<- run_tail: tail call\n=> tail(5)\n<- tail: tail call\n=> helper(5)\n<- helper = 5",
        ),
        (
            Some("lib.*"),
            "-> twice(4)\n<- twice = 8\n-> tail(8)\n<- tail: tail call\n=> helper(8)\n<- helper = 8\n-> lib.host(8)\n<- lib.host = 9\n=> tail(5)\n<- tail: tail call\n=> helper(5)\n<- helper = 5",
        ),
        (Some("r?n,lib.host"), "-> run(4)\n->   lib.host(8)\n<-   lib.host = 9\n<- run = 9"),
        (Some("3"), "-> run(4)\n<- run = 9"),
    ] {
        // Each module in a way of its own.
        for (first, second) in ways().iter().flat_map(|a| ways().into_iter().map(move |b| (a.clone(), b))) {
            let lines = Lines::default();
            let mut tracer = CallTracer::new(lines.clone());
            if let Some(pattern) = pattern {
                tracer = tracer.pattern(pattern.parse().unwrap());
            }
            let tier = if matches!((&first, &second), (Way::Interpreted, Way::Interpreted)) { Tier::Interpreted } else { Tier::Compiled };
            let config = Config::new().features(features()).call_tracer(Arc::new(tracer)).tier(tier);
            let engine = Engine::new(config.compiler(Arc::new(wasmc_compiler::Jit::default())).interpret(vec![Interpret::Odd])).unwrap();
            let mut linker = Linker::new(&engine);
            let mut store = Store::new(&engine, ());
            let lib = Instance::new(&mut store, &module(&engine, &first, library), &[]).unwrap();
            linker.instance(&mut store, "lib", lib).unwrap();
            let host = Func::wrap(&mut store, |n: i32| n + 1);
            linker.define(&store, "lib", "host", host).unwrap();
            let user = linker.instantiate(&mut store, &module(&engine, &second, user)).unwrap();
            call(&mut store, &user, "run", &[Val::I32(4)]).unwrap();
            call(&mut store, &user, "run_tail", &[Val::I32(5)]).unwrap();
            assert_eq!(without_kinds(&lines.take()).join("\n"), expected, "{pattern:?} {first:?} {second:?}");
            assert_eq!(host.typed::<i32, i32>(&store).unwrap().call(&mut store, 1).unwrap(), 2);
            let shown =
                if pattern.is_none() { vec!["-> host         host function(1)", "<- host         host function = 2"] } else { vec![] };
            assert_eq!(lines.take(), shown);
        }
    }
}

/// An artifact that reports nothing: what crosses from one kind of code to another is shown, nested as it is.
#[test]
fn crossings_are_always_shown() {
    let text = r#"(module
        (import "host" "add" (func $add (param i32 i32) (result i32)))
        (tag $t)
        (func $inner (param i32) (result i32) (call $add (local.get 0) (i32.const 1)))
        (func $native (param i32) (result i32) (call $add (call $inner (local.get 0)) (i32.const 10)))
        (func $throws (throw $t))
        (func $slow (param i32) (result i32) (call $native (local.get 0)))
        (func $slow_tail (param i32 i32) (result i32) (return_call $native (local.get 0)))
        (func (export "run") (result i32)
            (block $h (try_table (catch $t $h) (call $throws)))
            (drop (call $slow (i32.const 1)))
            (drop (call $slow_tail (i32.const 2) (i32.const 0)))
            (block $h (try_table (catch $t $h) (call $throws)))
            (call $inner (i32.const 3))))"#;
    let interpret = ["throws", "slow", "slow_tail"].map(|n| Interpret::Name(n.into())).to_vec();
    let way = Way::Silent(interpret);
    let lines = Lines::default();
    let engine = engine(&way, &lines);
    let module = module(&engine, &way, text);
    let mut store = Store::new(&engine, ());
    let instance = linker(&engine).instantiate(&mut store, &module).unwrap();
    for _ in 0..2 {
        call(&mut store, &instance, "run", &[]).unwrap();
        let expected = "\
-> compiled     run()
-> interpreted    throws()
<- interpreted    throws: exception
-> interpreted    slow(1)
-> compiled         native(1)
-> host               host.add(1, 1)
<- host               host.add = 2
-> host               host.add(2, 10)
<- host               host.add = 12
<- compiled         native = 12
<- interpreted    slow = 12
-> interpreted    slow_tail(2, 0)
<- interpreted    slow_tail: tail call
=> compiled       native(2)
-> host             host.add(2, 1)
<- host             host.add = 3
-> host             host.add(3, 10)
<- host             host.add = 13
<- compiled       native: result not seen
-> interpreted    throws()
<- interpreted    throws: exception
-> host           host.add(3, 1)
<- host           host.add = 4
<- compiled     run = 4";
        assert_eq!(lines.take().join("\n"), expected);
    }
    // Typed calls come the same way.
    assert_eq!(instance.get_typed_func::<(), i32>(&mut store, "run").unwrap().call(&mut store, ()).unwrap(), 4);
    assert_eq!(lines.take().len(), 24);
    assert_eq!(module.traceable(None), (5, 3));
    assert_eq!(module.traceable(Some(&"inner,native".parse().unwrap())), (0, 2));
    assert_eq!(module.traceable(Some(&"run,add".parse().unwrap())), (2, 1));
}

/// Long chains of tail calls between the tiers stay in their place, and deep recursion ends as ever.
#[test]
fn tracing_does_not_change_what_runs() {
    let text = r#"(module
        (func $odd (param i32) (result i32)
            (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
            (return_call $even (i32.sub (local.get 0) (i32.const 1))))
        (func $even (export "even") (param i32) (result i32)
            (if (i32.eqz (local.get 0)) (then (return (i32.const 1))))
            (return_call $odd (i32.sub (local.get 0) (i32.const 1))))
        (func $deep (export "deep") (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))
        (func (export "one") (result i32) (i32.const 1)))"#;
    let mut all = ways();
    all.extend([Way::Silent(vec![]), Way::Silent(vec![Interpret::Odd]), Way::Silent(vec![Interpret::All])]);
    for way in all {
        let lines = Lines::default();
        let config = Config::new().stack_size(256 << 10).compiler(Arc::new(wasmc_compiler::Jit::default()));
        let config = match &way {
            Way::Interpreted => config.tier(Tier::Interpreted),
            Way::InMemory(interpret) => config.interpret(interpret.clone()),
            _ => config,
        };
        let engine = Engine::new(config.call_tracer(Arc::new(CallTracer::new(lines.clone())))).unwrap();
        let module = module(&engine, &way, text);
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let even = instance.get_typed_func::<i32, i32>(&mut store, "even").unwrap();
        assert_eq!(even.call(&mut store, 100_000).unwrap(), 1, "{way:?}");
        let trace = lines.take();
        // Where tail calls of compiled code are not seen, what takes its place is shown inside it: once.
        let allowed = if matches!(way, Way::Silent(_)) { 2 } else { 0 };
        let deepest = trace.iter().map(|l| l[16..].len() - l[16..].trim_start().len()).max();
        assert!(deepest <= Some(allowed), "{way:?}: a tail call is not deeper than its caller: {deepest:?}");
        let deep = instance.get_typed_func::<i32, i32>(&mut store, "deep").unwrap();
        let error = deep.call(&mut store, 1).unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>().unwrap().code(), TrapCode::StackOverflow, "{way:?}");
        let trace = lines.take();
        assert!(trace.last().unwrap().ends_with("deep: trap: call stack exhausted"), "{way:?}: {:?}", trace.last());
        assert_eq!(trace.len() % 2, 0, "{way:?}: what began has ended");
        let one = instance.get_typed_func::<(), i32>(&mut store, "one").unwrap();
        assert_eq!(one.call(&mut store, ()).unwrap(), 1);
        assert_eq!(without_kinds(&lines.take()), ["-> one()", "<- one = 1"]);
    }
}

/// Code that reports its calls can be made for every target, and is the same each time.
#[test]
fn code_for_other_machines() {
    let wasm = wat::parse_str(MODULE).unwrap();
    for target in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"] {
        let compile = |trace| {
            let tunables = Tunables { trace, ..Tunables::default() };
            let target = Some(target.parse().unwrap());
            compile_to_artifact(&wasm, &CompileOptions { target, tunables, features: features(), ..Default::default() }).unwrap()
        };
        let (traced, plain) = (compile(true), compile(false));
        assert!(traced.stats.code_bytes > plain.stats.code_bytes, "{target}");
        assert_eq!(traced.bytes, compile(true).bytes, "{target}");
    }
}

/// A module can call its functions what it wants; it does not get to draw on a terminal.
#[test]
fn names_stay_on_their_line() {
    let long = "x".repeat(1000);
    let text = format!(
        r#"(module (import "a\n" "\1b[31m" (func $i))
            (func (export "f\r\n-> host") (call $i)) (func (export "{long}")))"#
    );
    let trace = same_everywhere(&text, |store, linker, module| {
        let mut linker = linker.clone();
        linker.func_wrap("a\n", "\x1b[31m", || ()).unwrap();
        let instance = linker.instantiate(&mut *store, module).unwrap();
        call(store, &instance, "f\r\n-> host", &[]).unwrap();
        call(store, &instance, &long, &[]).unwrap();
    });
    let cut = "x".repeat(200) + "...";
    let name = "f\\r\\n-> host";
    let import = "a\\n.\\u{1b}[31m";
    let expected = [
        format!("-> {name}()"),
        format!("->   {import}()"),
        format!("<-   {import}"),
        format!("<- {name}"),
        format!("-> {cut}()"),
        format!("<- {cut}"),
    ];
    assert_eq!(trace, expected);
}

fn wasmc_run(args: &[&str], dir: &Path) -> Outcome {
    run(command(wasmc()).args(args).current_dir(dir).env("NO_COLOR", "1"), Duration::from_secs(60))
}

fn compile(input: &Path, output: &Path, options: &[&str]) {
    let mut args = vec!["compile", "-q", input.to_str().unwrap(), "-o", output.to_str().unwrap()];
    args.extend(options);
    assert_eq!(wasmc_run(&args, output.parent().unwrap()).code, Some(0));
}

/// Lines of the command's trace, without durations.
fn trace_lines(o: &Outcome) -> Vec<String> {
    let cut = |l: &str| l.rsplit_once(" <").filter(|(_, t)| t.ends_with('>')).map_or(l, |(l, _)| l).to_owned();
    o.stderr.lines().filter(|l| !l.starts_with("note: ")).map(cut).collect()
}

#[test]
fn programs_trace_alike_on_every_tier() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("words");
    std::fs::write(&input, "to be or not to be\n").unwrap();
    for (example, args) in [("hello/hello.wasm", &[][..]), ("wordfreq/wordfreq.wasm", &["-n", "2", "words"])] {
        let wasm = workspace().join("examples").join(example);
        let artifact = |name: &str, options: &[&str]| {
            let path = dir.path().join(name);
            compile(&wasm, &path, options);
            path.to_str().unwrap().to_owned()
        };
        let wasm = wasm.to_str().unwrap();
        let (compiled, mixed) = (artifact("c.so", &["--trace"]), artifact("m.so", &["--trace", "--interpret", "odd"]));
        let mut first: Option<Vec<String>> = None;
        for options in [
            &["--tier", "interpreted", wasm][..],
            &[wasm],
            &["--interpret", "odd", wasm],
            &["--interpret", "all", wasm],
            &[&compiled],
            &[&mixed],
        ] {
            let mut all = vec!["run", "--deterministic", "--argv0", "p", "--dir", ".", "--trace", "calls", "--trace", "wasi"];
            all.extend(options);
            all.extend(args);
            let outcome = wasmc_run(&all, dir.path());
            assert_eq!(outcome.code, Some(0), "{options:?}: {}", outcome.stderr);
            let lines = without_kinds(&trace_lines(&outcome));
            assert!(lines.len() > 20 && lines.iter().any(|l| l.contains("wasi_snapshot_preview1.fd_write(")), "{options:?}");
            match &first {
                None => first = Some(lines),
                Some(first) => assert!(*first == lines, "{options:?}"),
            }
        }
    }
}

#[test]
fn what_cannot_be_shown_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let artifact = dir.path().join("hello.so");
    compile(&workspace().join("examples/hello/hello.wasm"), &artifact, &[]);
    let plain = wasmc_run(&["run", "--trace", "calls", "hello.so"], dir.path());
    assert_eq!(plain.code, Some(0));
    assert_eq!(plain.stderr.matches("note: ").count(), 1);
    assert!(plain.stderr.contains("note: hello.so was compiled without --trace: calls inside its compiled code are not shown"));
    assert!(plain.stderr.contains("`wasmc compile --trace`"));
    let kinds: Vec<_> = trace_lines(&plain).iter().map(|l| l.split_whitespace().nth(1).unwrap().to_owned()).collect();
    assert_eq!(kinds, ["compiled", "host", "host", "host", "host", "compiled"]);
    let quiet = wasmc_run(&["-q", "run", "--trace", "calls", "hello.so"], dir.path());
    assert!(!quiet.stderr.contains("note"));

    let inner = wasmc_run(&["run", "--trace", "calls=puts,*write*v*,main", "hello.so"], dir.path());
    assert_eq!(inner.code, Some(78));
    assert!(inner.stderr.contains("compiled without --trace") && inner.stderr.contains("`wasmc compile --trace`"), "{}", inner.stderr);
    let crossing = wasmc_run(&["run", "--trace", "calls=*fd_write", "hello.so"], dir.path());
    assert_eq!((crossing.code, trace_lines(&crossing).len()), (Some(0), 2));
    let nothing = wasmc_run(&["run", "--trace", "calls=nothing", "hello.so"], dir.path());
    assert_eq!(nothing.code, Some(64));
    for bad in ["call", "calls=", "calls=a,", "wasi=x"] {
        assert_eq!(wasmc_run(&["run", "--trace", bad, "hello.so"], dir.path()).code, Some(64), "{bad}");
    }
    assert_eq!(wasmc_run(&["run", "--trace", "calls", "--trace", "calls=a", "hello.so"], dir.path()).code, Some(64));
    assert_eq!(wasmc_run(&["run", "--trace-times", "hello.so"], dir.path()).code, Some(64));
    let times = wasmc_run(&["run", "--trace", "calls", "--trace-times", "hello.so"], dir.path());
    assert_eq!(times.stderr.lines().filter(|l| l.starts_with("<- ") && l.ends_with('>')).count(), 3);
}

/// The trace comes before what is said about the end, and is all there.
#[test]
fn the_trace_is_there_however_the_run_ends() {
    let dir = tempfile::tempdir().unwrap();
    let text = r#"(module
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (func $spin (param i32) (if (local.get 0) (then (call $spin (i32.sub (local.get 0) (i32.const 1))))))
        (func (export "_start") (call $spin (i32.const 500)) (call $END)))"#;
    for (end, code, last) in [("spin (i32.const 0)", 0, ""), ("exit (i32.const 9)", 9, ": exit(9)"), ("trap", 134, ": trap: unreachable")] {
        let text = text.replace("$END", &format!("${end}")).replace("(call $trap)", "(unreachable)");
        std::fs::write(dir.path().join("p.wat"), text).unwrap();
        for tier in ["interpreted", "compiled"] {
            let outcome = wasmc_run(&["run", "--trace", "calls", "--tier", tier, "p.wat"], dir.path());
            assert_eq!(outcome.code, Some(code), "{}", outcome.stderr);
            let lines: Vec<_> = outcome.stderr.lines().filter(|l| l.starts_with("-> ") || l.starts_with("<- ")).collect();
            assert_eq!(lines.len() % 2, 0);
            assert!(lines.len() >= 1004 && lines.last().unwrap().ends_with(&format!("_start{last}")), "{tier} {end}: {:?}", lines.last());
            if code == 134 {
                assert!(outcome.stderr.find("trap: wasm trap") > outcome.stderr.rfind("_start: trap"), "{}", outcome.stderr);
            }
        }
    }
}

/// Each thread's lines are whole, nested on their own, and say whose they are.
#[test]
fn threads_do_not_mix_their_lines() {
    let dir = tempfile::tempdir().unwrap();
    let text = r#"(module
        (import "env" "memory" (memory 1 1 shared))
        (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
        (func $work (param i32 i32) (result i32)
            (if (result i32) (local.get 0) (then (call $work (i32.sub (local.get 0) (i32.const 1)) (local.get 1))) (else (local.get 1))))
        (func (export "wasi_thread_start") (param i32 i32)
            (drop (call $work (i32.const 300) (local.get 1)))
            (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
            (drop (memory.atomic.notify (i32.const 0) (i32.const 1))))
        (func (export "_start") (local $i i32) (local $done i32)
            (loop (drop (call $spawn (local.get $i))) (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if 0 (i32.lt_u (local.get $i) (i32.const 4))))
            (drop (call $work (i32.const 300) (i32.const 9)))
            (loop
                (local.set $done (i32.atomic.load (i32.const 0)))
                (if (i32.lt_u (local.get $done) (i32.const 4)) (then
                    (drop (memory.atomic.wait32 (i32.const 0) (local.get $done) (i64.const 1000000000)))
                    (br 1)))))
        (export "memory" (memory 0)))"#;
    std::fs::write(dir.path().join("t.wat"), text).unwrap();
    for options in [&["--tier", "interpreted"][..], &[], &["--interpret", "odd"]] {
        let mut args = vec!["run", "--threads", "--trace", "calls=work"];
        args.extend(options);
        args.push("t.wat");
        let outcome = wasmc_run(&args, dir.path());
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        for thread in ["", "[2] ", "[3] ", "[4] ", "[5] "] {
            let mut depth = 0;
            let mut calls = 0;
            for line in outcome.stderr.lines() {
                let Some(rest) = line.strip_prefix(thread).filter(|r| r.starts_with("-> ") || r.starts_with("<- ")) else { continue };
                calls += 1;
                depth -= usize::from(rest.starts_with("<- "));
                let shown = rest[16..].trim_start();
                let nesting = if depth > 30 { format!("{}({depth}) ", "  ".repeat(30)) } else { "  ".repeat(depth) };
                assert!(rest[16..].starts_with(&format!("{nesting}work")), "{line}: {shown}, depth {depth}");
                depth += usize::from(rest.starts_with("-> "));
            }
            assert_eq!((depth, calls), (0, 602), "{thread}{options:?}");
        }
    }
}

/// The document shows what the command prints.
#[test]
fn the_document_shows_what_is_printed() {
    let text = std::fs::read_to_string(workspace().join("docs/tracing.md")).unwrap();
    let mut checked = 0;
    for block in text.split("```").skip(1).step_by(2) {
        let Some((first, shown)) = block.trim_start_matches("console").trim().split_once('\n') else { continue };
        let Some(line) = first.strip_prefix("$ wasmc ") else { continue };
        let dir = tempfile::tempdir().unwrap();
        compile(&workspace().join("examples/hello/hello.wasm"), &dir.path().join("hello.so"), &[]);
        compile(&workspace().join("examples/hello/hello.wasm"), &dir.path().join("hello-traced.so"), &["--trace"]);
        std::fs::copy(workspace().join("examples/hello/hello.wasm"), dir.path().join("hello.wasm")).unwrap();
        let words = shlex::split(line).unwrap();
        let args: Vec<&str> = words.iter().map(String::as_str).filter(|w| *w != ">" && *w != "/dev/null").collect();
        let outcome = wasmc_run(&args, dir.path());
        let cut = |l: &str| l.rsplit_once(" <").filter(|(_, t)| t.ends_with('>')).map_or(l, |(l, _)| l).to_owned();
        // What kind of file standard output is differs here.
        let kind = |l: String| l.replace("REGULAR_FILE", "FILE").replace("CHARACTER_DEVICE", "FILE").replace("UNKNOWN", "FILE");
        let printed: Vec<_> = outcome.stderr.lines().map(cut).map(kind).collect();
        let shown: Vec<_> = shown.trim_end().lines().map(cut).map(kind).collect();
        assert_eq!(printed, shown, "{line}");
        checked += 1;
    }
    assert!(checked >= 2, "docs/tracing.md shows no command");
}
