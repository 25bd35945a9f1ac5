//! The fuzz targets (`tests/src/fuzz`) without a fuzzer: each tries all of its corpus, and then changed inputs for a time, by a fixed
//! generator. `tests/fuzz` runs the same targets under libFuzzer. The time is `WASMC_FUZZ_SECONDS` for each, `tests/run` sets 30.
//! `WASMC_FUZZ_INPUT=FILE` tries a single input.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use wasmc_tests::fuzz::{TARGETS, Target, target};
use wasmc_tests::workspace;

/// A small generator (xorshift64*): the tests must not depend on the version of a crate for their inputs.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 16) as usize % n.max(1)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| (self.next() >> 32) as u8).collect()
    }
}

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = workspace().join("fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).expect("a readable file"))).collect()
}

/// An input made of others: new bytes, changed places, pieces of two.
fn changed(corpus: &[(PathBuf, Vec<u8>)], random: &mut Random, max_len: usize) -> Vec<u8> {
    let mut bytes = match (corpus, random.below(4)) {
        ([], _) | (_, 0) => {
            let len = 1 + random.below(max_len.min(512));
            random.bytes(len)
        }
        (all, _) => all[random.below(all.len())].1.clone(),
    };
    if bytes.is_empty() {
        bytes.push(0);
    }
    for _ in 0..random.below(9) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, 0x0b, 0x40][random.below(7)],
            3 if bytes.len() > 1 => {
                let end = (at + 1 + random.below(16)).min(bytes.len());
                bytes.drain(at..end);
                if bytes.is_empty() {
                    bytes.push(0);
                }
            }
            4 if !corpus.is_empty() => {
                let other = &corpus[random.below(corpus.len())].1;
                let from = random.below(other.len());
                let piece: Vec<u8> = other[from..].iter().copied().take(1 + random.below(64)).collect();
                bytes.splice(at..at, piece);
            }
            _ => {
                let len = 1 + random.below(8);
                let piece = random.bytes(len);
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes.truncate(max_len);
    bytes
}

/// Tries an input. Where it is kept says the panic's message, and the file if the process ends.
fn try_one(target: Target, bytes: &[u8], kept: &Path) {
    std::fs::write(kept, bytes).expect("a file for the input that is tried");
    let run = std::panic::AssertUnwindSafe(|| (target.run)(bytes));
    if let Err(panic) = std::panic::catch_unwind(run) {
        eprintln!("again: WASMC_FUZZ_INPUT={} cargo nextest run --workspace --test fuzz {}", kept.display(), target.name);
        std::panic::resume_unwind(panic);
    }
}

fn run(name: &str) {
    let target = target(name).expect("a target");
    if let Some(path) = std::env::var_os("WASMC_FUZZ_INPUT") {
        (target.run)(&std::fs::read(path).expect("a readable file"));
        return;
    }
    let seconds = std::env::var("WASMC_FUZZ_SECONDS").map_or(1, |text| text.parse().expect("a number of seconds"));
    let folder = workspace().join("target/fuzz");
    std::fs::create_dir_all(&folder).expect("a folder for inputs");
    let kept = folder.join(name);
    let corpus = corpus(name);
    assert!(corpus.len() >= 5, "the corpus of {name} has only {} inputs", corpus.len());
    for (path, bytes) in &corpus {
        assert!(bytes.len() <= 4096, "{} is large", path.display());
        try_one(target, bytes, &kept);
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (start, mut executions) = (Instant::now(), 0_u64);
    while start.elapsed() < Duration::from_secs(seconds) {
        try_one(target, &changed(&corpus, &mut random, target.max_len), &kept);
        executions += 1;
    }
    println!("{name}: {} inputs of the corpus, {executions} others in {seconds} s", corpus.len());
    let _ = std::fs::remove_file(kept);
}

#[test]
fn decode() {
    run("decode");
}

#[test]
fn text() {
    run("text");
}

#[test]
fn compile() {
    run("compile");
}

#[test]
fn tiers() {
    run("tiers");
}

#[test]
fn artifact() {
    run("artifact");
}

#[test]
fn verify() {
    run("verify");
}

#[test]
fn wasi() {
    run("wasi");
}

#[test]
fn c_api() {
    run("c_api");
}

/// Every target has a program for libFuzzer, a corpus, and a test here.
#[test]
fn every_target_is_everywhere() {
    let manifest = std::fs::read_to_string(workspace().join("fuzz/Cargo.toml")).expect("the manifest");
    let here = std::fs::read_to_string(workspace().join("tests/tests/fuzz.rs")).expect("this file");
    for Target { name, .. } in TARGETS {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is not in fuzz/Cargo.toml");
        let program = std::fs::read_to_string(workspace().join(format!("fuzz/fuzz_targets/{name}.rs"))).expect("the program");
        assert!(program.contains(&format!("wasmc_tests::fuzz::{name}(bytes)")), "fuzz/fuzz_targets/{name}.rs runs another target");
        assert!(here.contains(&format!("run(\"{name}\")")), "{name} has no test");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
}
