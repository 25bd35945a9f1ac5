//! `wasmc verify`: what the compiler makes is proved, with every choice of options; what was changed in the machine code, with
//! digests that fit, is refused. Mutations that are not found are counted, and the ones that matter are written out by hand.

#[allow(dead_code, reason = "only the generator is used here")]
mod differential;

use std::path::{Path, PathBuf};
use std::time::Duration;
use wasmc_compiler::{CompileOptions, Cpu, Inlining, Interpret, OptLevel, compile_to_artifact};
use wasmc_environ::Tunables;
use wasmc_environ::artifact::{HEADER_OFFSET, Header, SectionKind};
use wasmc_environ::features::Features;
use wasmc_tests::{command, run, shared, wasmc, workspace};
use wasmc_verify::{Refused, verify};
use zerocopy::{FromBytes, IntoBytes};

/// Random modules. One in twenty seeds makes none.
const SEEDS: u64 = if cfg!(feature = "slow") { 4000 } else { 1200 };
/// Parts that run at the same time.
const RANGES: u64 = 4;
/// Mutations of each kind of program.
const MUTATIONS: u64 = if cfg!(feature = "slow") { 20_000 } else { 1500 };

/// Options under which code differs.
fn variants() -> Vec<(&'static str, CompileOptions<'static>)> {
    let base = || CompileOptions { features: Features::all(), jobs: Some(1), ..CompileOptions::default() };
    let tunables = |change: fn(&mut Tunables)| {
        let mut tunables = Tunables::default();
        change(&mut tunables);
        CompileOptions { tunables, ..base() }
    };
    vec![
        ("as it is", base()),
        ("inlined", CompileOptions { inlining: Inlining::Everywhere, ..base() }),
        ("mixed", CompileOptions { interpret: vec![Interpret::Odd], ..base() }),
        ("interpreted", CompileOptions { interpret: vec![Interpret::All], ..base() }),
        ("unoptimised", CompileOptions { opt_level: OptLevel::None, ..base() }),
        ("baseline", CompileOptions { cpu: Cpu::Baseline, ..base() }),
        ("metered", tunables(|t| t.meter = true)),
        ("traced", tunables(|t| t.trace = true)),
        ("unmasked", tunables(|t| t.spectre_tables = false)),
        ("checked", tunables(|t| t.static_memory = false)),
    ]
}

fn compile(wasm: &[u8], options: &CompileOptions<'_>) -> Vec<u8> {
    compile_to_artifact(wasm, options).expect("the module compiles").bytes
}

fn text(source: &str) -> Vec<u8> {
    wat::parse_str(source).expect("the text is right")
}

/// Verifies and says what is wrong.
fn problem(bytes: &[u8]) -> Option<String> {
    verify(bytes).err().map(|e| match e {
        Refused::Unproved(findings) => findings.iter().take(3).map(|f| format!("\n    {f}")).collect(),
        other => other.to_string(),
    })
}

fn random_modules(range: u64) {
    let variants = variants();
    let only = std::env::var("WASMC_DIFF_SEED").ok().map(|s| s.parse::<u64>().expect("a number"));
    let (first, last) = only.map_or((0, SEEDS), |seed| (seed, seed + 1));
    let (mut artifacts, mut problems) = (0, Vec::new());
    for seed in (first..last).filter(|seed| seed % RANGES == range) {
        let Some(case) = differential::case(seed) else { continue };
        for (n, (name, options)) in variants.iter().enumerate() {
            // Each module in two ways; all ways of a single seed.
            if only.is_none() && n as u64 % 5 != seed / RANGES % 5 {
                continue;
            }
            for binary in std::iter::once(&case.first).chain(&case.second) {
                let bytes = compile(&binary.wasm, options);
                artifacts += 1;
                let Some(problem) = problem(&bytes) else { continue };
                problems.push(format!("seed {seed}, {name}: {problem}"));
                if only.is_some() {
                    std::fs::create_dir_all(differential::folder()).expect("a folder for findings");
                    std::fs::write(differential::folder().join(format!("verify-{seed}-{n}.so")), &bytes).expect("a file for a finding");
                }
            }
        }
    }
    println!("{artifacts} artifacts, {} not proved", problems.len());
    assert!(problems.is_empty(), "{} of {artifacts}:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn random_modules_0() {
    random_modules(0);
}

#[test]
fn random_modules_1() {
    random_modules(1);
}

#[test]
fn random_modules_2() {
    random_modules(2);
}

#[test]
fn random_modules_3() {
    random_modules(3);
}
