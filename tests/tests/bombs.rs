//! Resource bombs: short modules that ask for much, of everything that can be declared, nested or repeated. Whatever wasmc
//! makes of one, it ends by itself, says what is wrong if anything is, and takes time and memory that the size of the module
//! bounds (`docs/limits.md`); and all tiers make the same of it.

#[path = "bombs/modules.rs"]
mod modules;

use modules::{Bomb, Expect};
use std::path::Path;
use std::time::Duration;
use wasmc_tests::child::{Ended, Limits};
use wasmc_tests::{command, wasmc};

/// Processor seconds for a bomb, and for each megabyte of it: about five times what they take.
const SECONDS: f64 = 25.0;
const SECONDS_PER_MB: f64 = 12.0;
/// Resident bytes for a bomb, and for each byte of it.
const RESIDENT: u64 = 1 << 30;
const RESIDENT_PER_BYTE: u64 = 600;
/// Address space: enough for a few static memories, not for a hundred.
const ADDRESS_SPACE: u64 = 64 << 30;

/// The ways into wasmc.
const WAYS: [&str; 5] = ["interpreted", "in memory", "artifact", "mixed", "auto"];

fn try_bomb(bomb: &Bomb) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (wasm, so) = (dir.path().join("bomb.wasm"), dir.path().join("bomb.so"));
    std::fs::write(&wasm, &bomb.wasm).expect("the module is written");
    let run = |args: &[&str], file: Option<&Path>| {
        let mut c = command(wasmc());
        c.args(args).args(file).current_dir(dir.path());
        let limits = Limits { cpu: Some(300), address_space: Some(ADDRESS_SPACE), ..Limits::default() };
        let ended = limits.run(&mut c, Duration::from_secs(600)).unwrap_or_else(|| panic!("{}: {args:?} did not end", bomb.name));
        bounded(bomb, args, &ended);
        ended
    };
    // Of what ends by itself, only the CPU time is limited: the machine may be busy.
    let timeout = if matches!(bomb.expect, Expect::TimeOut) { "2s" } else { "5m" };
    let mut outcomes = Vec::new();
    for way in WAYS {
        let ended = match way {
            "interpreted" => run(&["run", "--timeout", timeout, "--tier", "interpreted"], Some(&wasm)),
            "in memory" => run(&["run", "--timeout", timeout, "--tier", "compiled"], Some(&wasm)),
            "auto" => run(&["run", "--timeout", timeout, "--compile-after", "0"], Some(&wasm)),
            _ => {
                let mut args = vec!["compile", "bomb.wasm", "-o", "bomb.so"];
                args.extend((way == "mixed").then_some("--interpret=odd"));
                let compiled = run(&args, None);
                if compiled.code == Some(0) { run(&["run", "--timeout", timeout], Some(&so)) } else { compiled }
            }
        };
        outcomes.push((way, ended));
    }
    let (_, first) = &outcomes[0];
    for (way, ended) in &outcomes {
        assert_eq!(ended.code, first.code, "{}: {way} differs from interpreted: {} / {}", bomb.name, ended.stderr, first.stderr);
        let fits = match bomb.expect {
            Expect::Runs => ended.code == Some(0),
            Expect::Invalid => ended.code == Some(65) && ended.stderr.contains("at offset"),
            Expect::Trap => ended.code == Some(134),
            Expect::TimeOut => ended.code == Some(124),
            Expect::Refused => matches!(ended.code, Some(70 | 77)) && ended.stderr.starts_with("error: "),
        };
        assert!(fits, "{}: {way}: code {:?}, {}", bomb.name, ended.code, ended.stderr);
    }
}

/// Whether a command ended by itself, within what the bomb's size allows.
fn bounded(bomb: &Bomb, args: &[&str], ended: &Ended) {
    let mb = bomb.wasm.len() as f64 / 1e6;
    println!("{}: {} bytes, {args:?}: {:?}, {:.1} s, {} MB", bomb.name, bomb.wasm.len(), ended.code, ended.cpu, ended.resident >> 20);
    assert_eq!(ended.signal, None, "{}: {args:?}: {}", bomb.name, ended.stderr);
    assert!(!ended.stderr.contains("panic"), "{}: {args:?}: {}", bomb.name, ended.stderr);
    assert!(ended.cpu < SECONDS + SECONDS_PER_MB * mb, "{}: {args:?} took {:.1} s", bomb.name, ended.cpu);
    let most = RESIDENT + RESIDENT_PER_BYTE * bomb.wasm.len() as u64;
    assert!(ended.resident < most || bomb.fills, "{}: {args:?} took {} MB", bomb.name, ended.resident >> 20);
}

fn try_all(bombs: Vec<Bomb>) {
    assert!(!bombs.is_empty());
    bombs.iter().for_each(try_bomb);
}

#[test]
fn counts_that_a_short_file_only_declares() {
    try_all(modules::declared_counts());
}

#[test]
fn nested_constructs() {
    try_all(modules::nested(if cfg!(feature = "slow") { 50_000 } else { 30_000 }));
}

#[test]
fn long_functions() {
    try_all(modules::long(if cfg!(feature = "slow") { 1_000_000 } else { 100_000 }));
}

#[test]
fn many_operands_and_locals() {
    try_all(modules::wide());
}

#[test]
fn many_definitions() {
    try_all(modules::many(if cfg!(feature = "slow") { 1_000_000 } else { 50_000 }));
}

#[test]
fn types_of_types() {
    try_all(modules::types(if cfg!(feature = "slow") { 1_000_000 } else { 100_000 }));
}

#[test]
fn large_memories_and_tables() {
    try_all(modules::storage());
}

#[test]
fn what_never_ends() {
    try_all(modules::endless());
}
