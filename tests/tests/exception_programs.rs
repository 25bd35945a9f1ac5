//! The programs of `tests/bench/exceptions` on every tier: each prints what its native twin prints. How long they take is
//! what `compare.py` there measures.

use std::time::Duration;
use wasmc_tests::{command, run, wasmc, workspace};

#[test]
fn programs_print_what_their_native_twins_print() {
    let folder = workspace().join("tests/bench/exceptions");
    let expected = std::fs::read_to_string(folder.join("expected.txt")).expect("what native programs print");
    for line in expected.lines() {
        let name = line.split(' ').next().unwrap_or_default();
        let wasm = folder.join(format!("{name}.wasm"));
        for tier in [&["--tier", "compiled"][..], &["--tier", "interpreted"], &["--tier", "compiled", "--interpret", "odd"]] {
            let outcome = run(command(wasmc()).arg("run").args(tier).arg(&wasm), Duration::from_secs(120));
            assert_eq!(outcome.code, Some(0), "{name} {tier:?}: {}", outcome.stderr);
            assert_eq!(String::from_utf8_lossy(&outcome.stdout).trim_end(), line, "{tier:?}");
        }
    }
}
