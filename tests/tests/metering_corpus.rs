//! The corpus of real programs, metered: each executes as many instructions on every tier, as far as a few seconds of
//! interpretation can finish it, and prints the same. `WASMC_CORPUS_SECONDS=60` gives them a minute. Clocks and random numbers are the program's own (`--deterministic`), since some
//! programs look at them.

#[path = "common/program.rs"]
mod program;

use program::{Program, programs};
use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use wasmc_tests::{Outcome, Tier, shared};

/// One name for the program, since some look at its length, and the file's differs from tier to tier.
const OPTIONS: [&str; 3] = ["--stats=json", "--deterministic=1", "--argv0=program"];

/// Seconds that an interpreted run may take, unless the environment says otherwise.
const SECONDS: u64 = 5;

fn seconds() -> u64 {
    std::env::var("WASMC_CORPUS_SECONDS").map_or(SECONDS, |s| s.parse().expect("WASMC_CORPUS_SECONDS is a number of seconds"))
}

/// What `--stats=json` counts, and what the program prints.
#[derive(PartialEq, Eq)]
struct Counts {
    instructions: u64,
    cost: u64,
    calls: u64,
    host_calls: u64,
    printed: Vec<u8>,
}

impl Counts {
    fn read(Outcome { stderr, stdout, .. }: Outcome) -> Result<Self, String> {
        let line = stderr.lines().rev().find(|l| l.starts_with('{')).ok_or_else(|| format!("no counts: {stderr}"))?;
        let json: serde_json::Value = serde_json::from_str(line).map_err(|e| e.to_string())?;
        let field = |name: &str| json[name].as_u64().ok_or_else(|| format!("no {name}: {line}"));
        Ok(Self {
            instructions: field("instructions")?,
            cost: field("cost")?,
            calls: field("calls")?,
            host_calls: field("host_calls")?,
            printed: stdout,
        })
    }
}

/// The counts of a program on a tier; `None` if it takes longer than it may.
fn counts(program: &Program, tier: Tier) -> Result<Option<Counts>, String> {
    let limit = if tier == Tier::Interpreted { seconds() } else { 240 };
    let Some(outcome) = program.try_run(tier, &["--meter"], &OPTIONS, Duration::from_secs(limit))? else {
        return Ok(None);
    };
    Counts::read(outcome).map(Some)
}

fn compare(program: &Program) -> Result<Option<u64>, String> {
    let Some(expected) = counts(program, Tier::Interpreted)? else { return Ok(None) };
    for tier in [Tier::Compiled, Tier::Mixed] {
        let found = counts(program, tier)?.ok_or_else(|| format!("{tier:?} takes too long"))?;
        if found != expected {
            let show = |c: &Counts| {
                format!("{} instructions, {} calls, {} of the host, {} bytes", c.instructions, c.calls, c.host_calls, c.printed.len())
            };
            return Err(format!("{tier:?}: {}; interpreted: {}", show(&found), show(&expected)));
        }
    }
    Ok(Some(expected.instructions))
}

#[test]
fn the_same_counts_on_every_tier() {
    let Some(root) = shared("corpus") else { return };
    let programs = programs(&root);
    assert!(!programs.is_empty(), "the corpus is empty");
    let compared = AtomicUsize::new(0);
    let failures: Vec<_> = programs
        .par_iter()
        .filter_map(|p| match compare(p) {
            Ok(Some(instructions)) => {
                compared.fetch_add(1, Ordering::Relaxed);
                println!("{}: {instructions} instructions", p.name);
                None
            }
            Ok(None) => {
                println!("{}: takes longer than {} s interpreted", p.name, seconds());
                None
            }
            Err(e) => Some(format!("{}: {e}", p.name)),
        })
        .collect();
    let compared = compared.into_inner();
    println!("{compared} of {} programs compared", programs.len());
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert!(compared * 5 >= programs.len(), "hardly any program ends in time");
}
