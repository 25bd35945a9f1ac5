//! Cross compilation: the artifact for a machine has the same bytes wherever, however often and on however many threads it is made, and it
//! runs there. With `WASMC_EXE` naming a wasmc of another architecture (`tests/run-aarch64`), what both write is compared.

use std::path::{Path, PathBuf};
use std::time::Duration;
use wasmc_tests::{command, host_wasmc, run, shared, wasmc, workspace};

const TARGETS: [&str; 2] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];

/// What changes code, in the combinations that share least. The second is for one target alone.
const OPTIONS: [(&[&str], Option<&str>); 12] = [
    (&[], None),
    (&["-O", "0"], None),
    (&["-O", "s", "--strip"], None),
    (&["--meter"], None),
    (&["--trace"], None),
    (&["--explicit-bounds"], None),
    (&["--interpret", "odd"], None),
    (&["--no-inline"], None),
    (&["--inline-everywhere", "--explicit-bounds", "--meter"], None),
    (&["--cpu", "x86-64-v3"], Some(TARGETS[0])),
    (&["--cpu", "lse,fp16"], Some(TARGETS[1])),
    (&["--cpu", "lse", "--meter", "--trace"], Some(TARGETS[1])),
];

/// A module with what differs most between targets: vectors, floats, divisions, conversions, exceptions, tail calls, tables, atomics.
const FEATURES: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (table $open (export "table") 4 funcref)
  (table $closed funcref (elem $div $float))
  (tag $t (param i32 f64))
  (type $binary (func (param i32 i32) (result i32)))
  (data (i32.const 64) "\50\00\00\00\06\00\00\00")
  (data (i32.const 80) "works\n")
  (func $div (type $binary) (i32.div_s (local.get 0) (local.get 1)))
  (func $float (type $binary)
    (i32.trunc_sat_f64_s (f64.nearest (f64.div (f64.convert_i32_s (local.get 0)) (f64.sqrt (f64.convert_i32_u (local.get 1)))))))
  (func $count (param i32 i64) (result i64)
    (if (result i64) (local.get 0)
      (then (return_call $count (i32.sub (local.get 0) (i32.const 1)) (i64.add (i64.rotl (local.get 1) (i64.const 13)) (i64.popcnt (local.get 1)))))
      (else (local.get 1))))
  (func $throws (param i32) (throw $t (local.get 0) (f64.const 0.5)))
  (func $catches (param i32) (result i32) (local f64)
    (block $caught (result i32 f64)
      (try_table (catch $t $caught) (call $throws (local.get 0)))
      unreachable)
    (local.set 1)
    (i32.add (i32.trunc_f64_s (f64.mul (local.get 1) (f64.const 8)))))
  (func $vector (param i32) (result i32)
    (i32x4.extract_lane 2 (i32x4.dot_i16x8_s
      (i16x8.narrow_i32x4_s (i32x4.splat (local.get 0)) (i32x4.trunc_sat_f32x4_s (f32x4.splat (f32.const 3.5))))
      (i8x16.swizzle (v128.const i8x16 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16) (i8x16.splat (local.get 0))))))
  (func $many (export "many") (param i32 i64 f32 f64 i32 i64 f32 f64 i32 i64 f32 f64 i32 i64 f32 f64 i32 i64 f32 f64 i32 i64 f32 f64 i32 i64 i64 i64)
    (result i32 i64 f32 f64 i32 i64 f32 f64 i32 i64 f32 f64 i64)
    (local.get 24) (local.get 25) (local.get 22) (local.get 23) (local.get 20) (local.get 21) (local.get 18) (local.get 19)
    (local.get 16) (local.get 17) (local.get 14) (local.get 15) (local.get 27))
  (func (export "_start")
    (i32.atomic.store (i32.const 16) (i32.atomic.rmw.add (i32.const 16) (i32.const 3)))
    (if (i32.ne (call_indirect $closed (type $binary) (i32.const -7) (i32.const 2) (i32.const 0)) (i32.const -3)) (then unreachable))
    (if (i32.ne (call_indirect $closed (type $binary) (i32.const 9) (i32.const 4) (i32.const 1)) (i32.const 4)) (then unreachable))
    (if (i32.ne (call $catches (i32.const 5)) (i32.const 9)) (then unreachable))
    (if (i64.eqz (call $count (i32.const 100000) (i64.const 77))) (then unreachable))
    (if (i32.ne (call $vector (i32.const 2)) (i32.const 4626)) (then unreachable))
    (drop (call $write (i32.const 1) (i32.const 64) (i32.const 1) (i32.const 0)))))"#;

/// Modules to compile: one with many features, and real programs.
fn modules(dir: &Path) -> Vec<PathBuf> {
    let features = dir.join("features.wat");
    std::fs::write(&features, FEATURES).expect("a temporary file");
    let mut all = vec![features];
    let programs = workspace().join("tests/programs");
    all.extend(["threads-c/threads-c.wasm", "threads-rust/threads-rust.wasm", "wasi/fileops.wasm"].map(|p| programs.join(p)));
    all
}

fn compile(wasmc: &Path, target: &str, options: &[&str], module: &Path, to: &Path) -> Vec<u8> {
    let mut c = command(wasmc);
    c.args(["compile", "-q", "--target", target, "-o"]).arg(to).args(options).arg(module);
    let o = run(&mut c, Duration::from_secs(300));
    assert_eq!(o.code, Some(0), "{c:?}: {}", o.stderr);
    std::fs::read(to).expect("the artifact")
}

fn options_for(target: &str) -> impl Iterator<Item = &'static [&'static str]> {
    OPTIONS.iter().filter(move |(_, only)| only.is_none_or(|t| t == target)).map(|(options, _)| *options)
}

/// The first place where two artifacts differ, if they do.
fn difference(a: &[u8], b: &[u8]) -> Option<String> {
    let at = a.iter().zip(b).position(|(a, b)| a != b);
    let at = at.or_else(|| (a.len() != b.len()).then_some(a.len().min(b.len())))?;
    Some(format!("{} and {} bytes, which differ from {at:#x} on", a.len(), b.len()))
}

#[test]
fn artifacts_for_any_target_are_reproducible() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let own = host_wasmc();
    for module in modules(dir.path()) {
        for target in TARGETS {
            for options in options_for(target) {
                let one = compile(&own, target, &[options, &["-j", "1"]].concat(), &module, &dir.path().join("one.so"));
                let many = compile(&own, target, &[options, &["-j", "3"]].concat(), &module, &dir.path().join("many.so"));
                assert_eq!(difference(&one, &many), None, "{}: {target} {options:?}", module.display());
            }
        }
    }
}

/// The same options make the same artifact, whether the target is named or is this machine's own.
#[test]
fn a_named_target_does_not_depend_on_this_machine() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let module = modules(dir.path()).swap_remove(0);
    let own = TARGETS.into_iter().find(|t| t.starts_with(std::env::consts::ARCH)).expect("a supported machine");
    let named = compile(&host_wasmc(), own, &[], &module, &dir.path().join("named.so"));
    let baseline = compile(&host_wasmc(), own, &["--cpu", "baseline"], &module, &dir.path().join("baseline.so"));
    assert_eq!(difference(&named, &baseline), None);
}

/// The other architecture's wasmc, if there is one.
fn other() -> Option<PathBuf> {
    let other = wasmc();
    if other == host_wasmc() {
        println!("skipped: WASMC_EXE does not name a wasmc of another architecture (tests/run-aarch64 does)");
        return None;
    }
    Some(other)
}

#[test]
fn both_architectures_write_the_same_artifacts() {
    let Some(other) = other() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut modules = modules(dir.path());
    if let Some(corpus) = shared("corpus") {
        modules.extend(["lua/lua.wasm", "zstd-simd/zstd-simd.wasm"].map(|p| corpus.join(p)).into_iter().filter(|p| p.is_file()));
    }
    let (mut compared, mut problems) = (0, Vec::new());
    for (i, module) in modules.iter().enumerate() {
        for target in TARGETS {
            // All options for the first module; the programs are large, and emulation is slow.
            for options in options_for(target).take(if i == 0 { OPTIONS.len() } else { 1 }) {
                let ours = compile(&host_wasmc(), target, options, module, &dir.path().join("ours.so"));
                let theirs = compile(&other, target, options, module, &dir.path().join("theirs.so"));
                compared += 1;
                problems.extend(difference(&ours, &theirs).map(|d| format!("{}: {target} {options:?}: {d}", module.display())));
            }
        }
    }
    println!("{compared} artifacts compared");
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// What was compiled here runs there, and what was compiled there runs here; what is for the other machine is refused with a command that makes it right.
#[test]
fn artifacts_run_where_they_are_for() {
    let Some(other) = other() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let module = modules(dir.path()).swap_remove(0);
    let so = dir.path().join("program.so");
    let (mine, foreign) = if cfg!(target_arch = "x86_64") { (TARGETS[0], TARGETS[1]) } else { (TARGETS[1], TARGETS[0]) };
    for (maker, target, runner, stranger) in [(&host_wasmc(), foreign, &other, &host_wasmc()), (&other, mine, &host_wasmc(), &other)] {
        for options in options_for(target) {
            compile(maker, target, options, &module, &so);
            let o = run(command(runner).arg("run").arg(&so), Duration::from_secs(60));
            assert_eq!((o.code, o.stdout.as_slice()), (Some(0), b"works\n".as_slice()), "{target} {options:?}: {}", o.stderr);
            let o = run(command(stranger).arg("run").arg(&so), Duration::from_secs(60));
            assert_eq!(o.code, Some(78), "{target} {options:?}: {}", o.stderr);
            assert!(o.stderr.contains("wasmc compile --target"), "{}", o.stderr);
        }
    }
}
