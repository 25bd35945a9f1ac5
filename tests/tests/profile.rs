//! The profiler on every tier: who ran, who called whom, host functions, several threads; what it writes; and that samples at
//! any moment disturb nothing.

mod common;

use common::*;
use serde_json::Value;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use wasmc_runtime::*;
use wasmc_tests::{command, run, wasmc};

/// There is one profiler a process, and the tests of a file may share one.
static ONE: Mutex<()> = Mutex::new(());

const WAT: &str = r#"(module
    (import "host" "busy" (func $busy (param i32)))
    (memory 1)
    (func $spin (param i32) (result i32) (local i32)
        (loop $l
            (local.set 1 (i32.add (i32.mul (local.get 1) (i32.const 31)) (i32.load (i32.and (local.get 0) (i32.const 0xfffc)))))
            (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (local.get 1))
    (func $middle (param i32) (result i32) (i32.add (call $spin (local.get 0)) (i32.const 1)))
    (func (export "outer") (param i32) (result i32)
        (call $busy (i32.const 5))
        (i32.add (call $middle (local.get 0)) (i32.const 1)))
    (func $recurse (export "recurse") (param i32) (result i32)
        (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
            (then (local.get 0))
            (else (i32.add (call $recurse (i32.sub (local.get 0) (i32.const 1))) (call $recurse (i32.sub (local.get 0) (i32.const 2)))))))
    (func (export "throws") (param i32) (result i32) (local i32)
        (loop $l
            (block $h (try_table (catch_all $h) (throw $t)))
            (local.set 1 (i32.add (local.get 1) (i32.const 1)))
            (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (local.get 1))
    (tag $t))"#;

/// The CPU time of this thread: how busy the machine is shall not matter.
fn cpu_time() -> Duration {
    // SAFETY: writes to the structure.
    let time = unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        assert_eq!(libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time), 0);
        time
    };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn linker(engine: &Engine) -> Linker<()> {
    let mut linker = Linker::new(engine);
    let busy = |milliseconds: i32| {
        let start = cpu_time();
        while cpu_time() - start < Duration::from_millis(milliseconds as u64) {
            std::hint::spin_loop();
        }
    };
    linker.func_wrap("host", "busy", busy).expect("a function");
    linker
}

fn names(stack: &ProfileStack) -> Vec<&str> {
    stack.frames().iter().map(ProfileFrame::name).collect()
}

/// Microseconds of CPU time in stacks of some kind, and in all.
fn time(profile: &Profile, is: impl Fn(&ProfileStack) -> bool) -> (u128, u128) {
    let samples = profile.threads().iter().flat_map(ThreadProfile::samples);
    samples.fold((0, 0), |(some, all), s| {
        let time = s.cpu().as_micros();
        (some + if is(&profile.stacks()[s.stack()]) { time } else { 0 }, all + time)
    })
}

#[test]
fn who_ran_and_who_called() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    on_every_tier(|engine| {
        let profiler = Profiler::start(2000).expect("a profiler");
        assert!(Profiler::start(1000).is_err(), "there is one a process");
        let module = module(engine, WAT);
        let mut store = Store::new(engine, ());
        let instance = linker(engine).instantiate(&mut store, &module).expect("an instance");
        let outer = instance.get_typed_func::<i32, i32>(&mut store, "outer").expect("a function");
        let start = cpu_time();
        while cpu_time() - start < Duration::from_millis(300) {
            outer.call(&mut store, 3_000_000).expect("no trap");
        }
        let profile = profiler.stop();
        assert!(profile.samples() > 20, "{} samples", profile.samples());
        let (spin, all) = time(&profile, |s| names(s) == ["spin", "middle", "outer"] && *s.leaf() == Leaf::Wasm);
        assert!(spin * 5 > all, "{spin} of {all} µs in spin:\n{}", profile.folded());
        let (host, all) = time(&profile, |s| names(s) == ["outer"] && *s.leaf() == Leaf::Host(Some("host.busy".into())));
        assert!(host * 50 > all, "{host} of {all} µs in the host function:\n{}", profile.folded());
        let folded = profile.folded();
        assert!(folded.lines().any(|l| l.contains(";outer;middle;spin ")), "{folded}");
        assert!(folded.contains(";outer;[host] host.busy "), "{folded}");
    });
}

#[test]
fn deep_stacks_and_several_threads() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    on_every_tier(|engine| {
        let profiler = Profiler::start(1000).expect("a profiler");
        let module = module(engine, WAT);
        std::thread::scope(|scope| {
            for n in 0..3 {
                let module = &module;
                let thread = std::thread::Builder::new().name(format!("worker {n}"));
                let work = move || {
                    let mut store = Store::new(engine, ());
                    let instance = linker(engine).instantiate(&mut store, module).expect("an instance");
                    let f = instance.get_typed_func::<i32, i32>(&mut store, "recurse").expect("a function");
                    let start = cpu_time();
                    while cpu_time() - start < Duration::from_millis(100) {
                        assert_eq!(f.call(&mut store, 22).expect("no trap"), 17711);
                    }
                };
                thread.spawn_scoped(scope, work).expect("a thread");
            }
        });
        let profile = profiler.stop();
        let workers = profile.threads().iter().filter(|t| t.name().starts_with("worker") && !t.samples().is_empty()).count();
        assert!(workers >= 2, "{:?}", profile.threads().iter().map(ThreadProfile::name).collect::<Vec<_>>());
        let (right, all) = time(&profile, |s| !s.frames().is_empty() && names(s).iter().all(|n| *n == "recurse"));
        assert!(right * 10 > all * 4, "{right} of {all} µs:\n{}", profile.folded());
        assert!(profile.stacks().iter().any(|s| s.frames().len() > 8));
    });
}

/// At the highest frequency, while exceptions, traps and calls of all kinds go on: results are right, and nothing breaks.
#[test]
fn samples_disturb_nothing() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    on_every_tier(|engine| {
        let profiler = Profiler::start(MAX_FREQUENCY).expect("a profiler");
        let start = cpu_time();
        while cpu_time() - start < Duration::from_millis(200) {
            let module = module(engine, WAT);
            let mut store = Store::new(engine, ());
            let instance = linker(engine).instantiate(&mut store, &module).expect("an instance");
            let f = |store: &mut Store<()>, name: &str| instance.get_typed_func::<i32, i32>(store, name).expect("a function");
            assert_eq!(f(&mut store, "throws").call(&mut store, 500).expect("no trap"), 500);
            assert_eq!(f(&mut store, "recurse").call(&mut store, 12).expect("no trap"), 144);
            assert!(f(&mut store, "outer").call(&mut store, 0x7fff_fff0 >> 18).is_ok());
        }
        drop(profiler);
        // And again, after one that was dropped.
        Profiler::start(10).expect("a profiler").stop();
    });
    assert!(Profiler::start(0).is_err() && Profiler::start(MAX_FREQUENCY + 1).is_err());
}

#[test]
fn the_command_line() {
    let dir = tempfile::tempdir().expect("a folder");
    let wat = WAT
        .replace(
            r#"(import "host" "busy" (func $busy (param i32)))"#,
            r#"(import "wasi_snapshot_preview1" "sched_yield" (func $busy (result i32)))"#,
        )
        .replace("(call $busy (i32.const 5))", "(drop (call $busy))")
        .replace(
            "(tag $t)",
            r#"(tag $t) (func (export "_start") (drop (call $recurse (i32.const 30))) (drop (call $middle (i32.const 30000000))))"#,
        );
    std::fs::write(dir.path().join("p.wat"), wat).expect("a file");
    let wasmc = |args: &[&str]| run(command(wasmc()).current_dir(dir.path()).args(args), Duration::from_secs(60));
    let o = wasmc(&["compile", "-q", "p.wat", "-o", "p.so"]);
    assert_eq!(o.code, Some(0), "{}", o.stderr);
    for args in [&["p.so"][..], &["p.wat"], &["--tier", "interpreted", "p.wat"], &["--interpret", "odd", "p.wat"]] {
        let o = wasmc(&[&["run", "--profile-frequency", "4000", "--profile", "p.json"], args].concat());
        assert_eq!(o.code, Some(0), "{args:?}: {}", o.stderr);
        assert!(o.stderr.contains("samples") && o.stderr.contains("% lost"), "{}", o.stderr);
        let profile: Value = serde_json::from_slice(&std::fs::read(dir.path().join("p.json")).expect("a profile")).expect("JSON");
        assert!(profile["meta"]["preprocessedProfileVersion"].is_u64() && profile["meta"]["interval"].is_number());
        let thread = &profile["threads"][0];
        let list = |v: &Value| v.as_array().expect("a list").clone();
        let strings =
            list(if profile["shared"]["stringArray"].is_array() { &profile["shared"]["stringArray"] } else { &thread["stringArray"] });
        let functions = list(&thread["funcTable"]["name"]);
        let names: Vec<&str> = functions.iter().filter_map(|n| strings.get(n.as_u64()? as usize)?.as_str()).collect();
        assert!(names.contains(&"_start") && (names.contains(&"recurse") || names.contains(&"spin")), "{args:?}: {names:?}");
        assert!(names.iter().all(|n| !n.contains(char::is_control)));
        // Every index leads somewhere.
        let length = |table: &str| thread[table]["length"].as_u64().expect("a length");
        for (table, column, to) in
            [("frameTable", "func", "funcTable"), ("stackTable", "frame", "frameTable"), ("samples", "stack", "stackTable")]
        {
            let column_values = list(&thread[table][column]);
            assert_eq!(column_values.len() as u64, length(table), "{table}.{column}");
            assert!(column_values.iter().all(|i| i.is_null() || i.as_u64().is_some_and(|i| i < length(to))), "{table}.{column}");
        }
        assert_eq!(list(&thread["frameTable"]["line"]).len() as u64, length("frameTable"));
        assert!(length("samples") > 0, "{args:?}");
    }
    let o = wasmc(&["run", "--profile", "p.folded", "p.so"]);
    assert_eq!(o.code, Some(0), "{}", o.stderr);
    let folded = std::fs::read_to_string(dir.path().join("p.folded")).expect("a profile");
    assert!(folded.lines().all(|l| l.rsplit_once(' ').is_some_and(|(s, n)| s.contains(';') && n.parse::<u64>().is_ok())), "{folded}");
    assert!(folded.contains(";_start;"), "{folded}");
    // Names for perf, in a file that has the process's number.
    let mut child = command(wasmc_tests::wasmc())
        .current_dir(dir.path())
        .args(["run", "--no-cache", "--profile", "perf", "p.wat"])
        .spawn()
        .expect("a process");
    let map = format!("/tmp/perf-{}.map", child.id());
    assert!(child.wait().expect("its end").success());
    let names = std::fs::read_to_string(&map).expect("names");
    assert!(names.lines().any(|l| l.ends_with(" recurse")), "{names}");
    std::fs::remove_file(&map).expect("the file");
    assert_eq!(wasmc(&["run", "--profile", "none/p.json", "p.so"]).code, Some(73));
    assert_eq!(wasmc(&["run", "--profile", "p.json", "--profile-frequency", "0", "p.so"]).code, Some(64));
}

/// Code in memory has its names in a form that `perf` reads; artifacts need none.
#[test]
fn names_for_perf() {
    on_every_tier(|engine| {
        let map = module(engine, WAT).perf_map();
        let lines: Vec<Vec<&str>> = map.lines().map(|l| l.splitn(3, ' ').collect()).collect();
        assert!(lines.iter().all(|l| u64::from_str_radix(l[0], 16).is_ok() && u64::from_str_radix(l[1], 16).is_ok()), "{map}");
        if !map.is_empty() {
            assert!(lines.iter().any(|l| l[2] == "spin") && lines.iter().any(|l| l[2].starts_with("wasmc.entry")), "{map}");
        }
    });
}
