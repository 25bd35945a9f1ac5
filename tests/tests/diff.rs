//! Random modules on every tier and on wasmi: same results, traps, exceptions, memories, globals and tables. The seeds are
//! fixed, so that the test finds what it found before; `cargo run --profile tested -p wasmc-tests --example difffuzz` tries new ones.
//! `WASMC_DIFF_SEED=N` runs one seed.

use wasmc_tests::differential::{self, Machines, Summary};

/// Seeds of the whole test, in ranges that run at the same time. One in twenty makes no module.
const SEEDS: u64 = if cfg!(feature = "slow") { 2120 } else { 80 };
const RANGES: u64 = 4;

/// Proposals whose instructions must occur, by wasmparser's names.
const PROPOSALS: [&str; 12] = [
    "bulk_memory",
    "exceptions",
    "function_references",
    "legacy_exceptions",
    "reference_types",
    "relaxed_simd",
    "saturating_float_to_int",
    "sign_extension",
    "simd",
    "tail_call",
    "threads",
    "wide_arithmetic",
];

fn range(number: u64) {
    if let Ok(seed) = std::env::var("WASMC_DIFF_SEED") {
        if number == 0 {
            let seed = seed.parse().unwrap_or_else(|_| panic!("WASMC_DIFF_SEED is a number, not {seed}"));
            seeds(&mut std::iter::once(seed));
        }
        return;
    }
    seeds(&mut (0..SEEDS).filter(|seed| seed % RANGES == number));
}

fn seeds(seeds: &mut dyn Iterator<Item = u64>) {
    std::fs::create_dir_all(differential::folder()).expect("a folder for findings");
    let at = differential::folder().join(format!("at-{}", std::process::id()));
    let machines = Machines::new();
    let mut summary = Summary::default();
    let mut tried = 0;
    for seed in seeds {
        tried += 1;
        // If the process dies, this is the seed.
        std::fs::write(&at, seed.to_string()).expect("a file that says which seed is tried");
        let mut one = Summary::default();
        machines.check(seed, &mut one);
        for failure in &one.failures {
            eprintln!("{failure}");
        }
        summary.add(one);
    }
    let _ = std::fs::remove_file(&at);
    println!("{summary}");
    if cfg!(feature = "slow") && summary.modules > 1 {
        // The test is worth something only if modules run, on the oracle too, and have instructions of every proposal.
        assert!(summary.modules * 10 >= tried * 9, "{} modules of {tried} seeds", summary.modules);
        assert!(summary.with_oracle * 5 >= summary.modules, "wasmi ran {} of {} modules", summary.with_oracle, summary.modules);
        for group in PROPOSALS {
            assert!(summary.groups.get(group).is_some_and(|n| *n >= 5), "hardly any module has instructions of {group}");
        }
    }
    assert!(summary.failures.is_empty(), "{} modules differ", summary.failures.len());
}

#[test]
fn range_0() {
    range(0);
}

#[test]
fn range_1() {
    range(1);
}

#[test]
fn range_2() {
    range(2);
}

#[test]
fn range_3() {
    range(3);
}
