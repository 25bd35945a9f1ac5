//! `wasmc verify` as a command: its exit codes and messages for artifacts that are proved, unproved, damaged, for another machine, or no
//! artifacts, for files that are none, and for several at once.

use std::path::Path;
use std::time::Duration;
use wasmc_environ::artifact::{HEADER_OFFSET, Header, SectionKind};
use wasmc_tests::{Outcome, command, run, wasmc};
use zerocopy::{FromBytes, IntoBytes};

const PROGRAM: &str = r#"(module $program
    (memory (export "memory") 1) (data (i32.const 8) "data")
    (table 2 2 funcref) (elem (i32.const 0) func $f $f)
    (func $f (export "f") (param i32) (result i32) (i32.load (i32.mul (local.get 0) (local.get 0))))
    (func (export "g") (param i32) (result i32) (call_indirect (param i32) (result i32) (local.get 0) (local.get 0))))"#;

fn wasmc_in(dir: &Path, args: &[&str]) -> Outcome {
    run(command(wasmc()).args(args).current_dir(dir), Duration::from_secs(60))
}

/// A folder with the module and its artifact.
fn prepared() -> (tempfile::TempDir, Vec<u8>) {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("p.wat"), PROGRAM).expect("written");
    let compiled = wasmc_in(dir.path(), &["compile", "-q", "--target", "x86_64-unknown-linux-gnu", "p.wat", "-o", "p.so"]);
    assert_eq!(compiled.code, Some(0), "{}", compiled.stderr);
    let bytes = std::fs::read(dir.path().join("p.so")).expect("a file");
    (dir, bytes)
}

fn header(bytes: &[u8]) -> Header {
    Header::read_from_bytes(&bytes[HEADER_OFFSET..HEADER_OFFSET + size_of::<Header>()]).expect("a header")
}

/// The artifact with another text, all digests right.
fn with_text(bytes: &[u8], change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let (mut bytes, mut header) = (bytes.to_vec(), header(bytes));
    let text = &mut header.sections[SectionKind::Text as usize];
    let range = text.offset as usize..(text.offset + text.size) as usize;
    change(&mut bytes[range.clone()]);
    text.digest = *blake3::hash(&bytes[range]).as_bytes();
    header.digest = *blake3::hash(&header.as_bytes()[..size_of::<Header>() - 32]).as_bytes();
    bytes[HEADER_OFFSET..HEADER_OFFSET + size_of::<Header>()].copy_from_slice(header.as_bytes());
    bytes
}

/// What an error looks like: one that names the file, and says so.
fn refused(outcome: &Outcome, code: i32, file: &str, why: &str) {
    assert_eq!(outcome.code, Some(code), "{outcome:?}");
    let first = outcome.stderr.lines().next().unwrap_or_default();
    assert!(first.starts_with("error: ") && first.contains(file) && outcome.stderr.contains(why), "{outcome:?}");
    assert!(outcome.stdout.is_empty() && !outcome.stderr.contains("panic"), "{outcome:?}");
}

#[test]
fn what_is_proved() {
    let (dir, _) = prepared();
    let outcome = wasmc_in(dir.path(), &["verify", "p.so"]);
    let said = String::from_utf8_lossy(&outcome.stdout);
    assert!(outcome.code == Some(0) && outcome.stderr.is_empty(), "{outcome:?}");
    assert!(said.starts_with("p.so: verified, ") && said.contains(" functions and stubs") && said.lines().count() == 1, "{said}");
    let several = wasmc_in(dir.path(), &["verify", "p.so", "p.so"]);
    assert!(several.code == Some(0) && String::from_utf8_lossy(&several.stdout).lines().count() == 2, "{several:?}");
    for options in [&["--explicit-bounds"][..], &["--strip"], &["--interpret", "all"], &["--spectre-mitigations", "off"], &["--meter"]] {
        let target = ["compile", "-q", "--target", "x86_64-unknown-linux-gnu", "p.wat", "-o", "other.so"];
        assert_eq!(wasmc_in(dir.path(), &[&target, options].concat()).code, Some(0), "{options:?}");
        let outcome = wasmc_in(dir.path(), &["verify", "other.so"]);
        assert_eq!(outcome.code, Some(0), "{options:?}: {outcome:?}");
    }
}

#[test]
fn what_is_not_proved() {
    let (dir, bytes) = prepared();
    // System calls in the place of all code: a finding for each function and stub.
    std::fs::write(dir.path().join("bad.so"), with_text(&bytes, |text| text.fill(0x0f))).expect("written");
    std::fs::write(
        dir.path().join("calls.so"),
        with_text(&bytes, |text| text.chunks_exact_mut(2).for_each(|c| c.copy_from_slice(&[15, 5]))),
    )
    .expect("written");
    let outcome = wasmc_in(dir.path(), &["verify", "calls.so"]);
    refused(&outcome, 65, "calls.so is not verified", "system call");
    let all = outcome.stderr.lines().count();
    let one = wasmc_in(dir.path(), &["verify", "--max-findings", "1", "calls.so"]);
    refused(&one, 65, "calls.so is not verified (the first 1 of ", "system call");
    assert!(all > 3 && one.stderr.lines().count() < all, "{one:?}");
    assert_eq!(wasmc_in(dir.path(), &["verify", "bad.so"]).code, Some(65));
    assert_eq!(wasmc_in(dir.path(), &["verify", "--max-findings", "0", "p.so"]).code, Some(64));
    assert_eq!(wasmc_in(dir.path(), &["verify"]).code, Some(64));
    // Each file has its say, and the first that is refused decides the code.
    let several = wasmc_in(dir.path(), &["verify", "p.so", "calls.so", "nothing.so", "p.so"]);
    assert_eq!((several.code, String::from_utf8_lossy(&several.stdout).lines().count()), (Some(65), 2), "{several:?}");
    assert!(several.stderr.contains("calls.so") && several.stderr.contains("nothing.so"), "{several:?}");
    assert_eq!(wasmc_in(dir.path(), &["verify", "nothing.so", "calls.so"]).code, Some(66));
}

#[test]
fn what_is_damaged() {
    let (dir, bytes) = prepared();
    let bad = dir.path().join("bad.so");
    let try_it = |contents: &[u8]| {
        std::fs::write(&bad, contents).expect("written");
        wasmc_in(dir.path(), &["verify", "bad.so"])
    };
    // Every kind of length: around the headers, the sections' borders, and all over the file.
    let sections = header(&bytes).sections;
    let borders = sections.iter().flat_map(|s| [s.offset, s.offset + s.size]).map(|n| n as usize);
    let anywhere = (0..40).map(|i| bytes.len() * i / 40);
    for length in [0, 1, 4, 16, 63, 64, HEADER_OFFSET, HEADER_OFFSET + 100].into_iter().chain(borders).chain(anywhere) {
        if length < bytes.len() {
            let outcome = try_it(&bytes[..length]);
            // What lies behind everything that is mapped is for other tools.
            refused(&outcome, 65, "bad.so", "");
        }
    }
    for (i, section) in sections.iter().enumerate().filter(|(_, s)| s.size != 0) {
        for at in [section.offset, section.offset + section.size / 2, section.offset + section.size - 1] {
            let mut changed = bytes.clone();
            changed[at as usize] ^= 0x40;
            let outcome = try_it(&changed);
            refused(&outcome, 65, "bad.so", "does not match its digest");
            assert!(!outcome.stderr.is_empty(), "section {i}");
        }
    }
    // What is no artifact at all.
    refused(&try_it(b"something else, long enough to be a header"), 65, "bad.so", "no artifact");
    refused(&try_it(&wat::parse_str(PROGRAM).expect("valid text")), 65, "bad.so", "wasmc compile");
}

#[test]
fn what_is_for_another_machine_or_cannot_be_read() {
    let (dir, _) = prepared();
    let compile = ["compile", "-q", "--target", "aarch64-unknown-linux-gnu", "p.wat", "-o", "arm.so"];
    assert_eq!(wasmc_in(dir.path(), &compile).code, Some(0));
    refused(&wasmc_in(dir.path(), &["verify", "arm.so"]), 78, "arm.so is not verified", "aarch64");
    refused(&wasmc_in(dir.path(), &["verify", "nothing.so"]), 66, "nothing.so", "No such file");
    for other in [".", "/dev/zero", "/dev/null"] {
        refused(&wasmc_in(dir.path(), &["verify", other]), 66, other, "not a regular file");
    }
    let pipe = dir.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().is_ok_and(|s| s.success()));
    refused(&wasmc_in(dir.path(), &["verify", "pipe"]), 66, "pipe", "not a regular file");
}
