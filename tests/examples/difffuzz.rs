//! Fresh random modules for a number of minutes, with the machines of the test `diff`. The work is done by child
//! processes, so that a crash of one costs a line and not the run: each tells in a file which seed it is at.
//!
//! ```text
//! cargo run --profile tested -p wasmc-tests --example difffuzz -- [--minutes N] [--jobs N] [--from SEED]
//! ```

use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant, SystemTime};
use wasmc_tests::differential::{Machines, Summary, folder};

/// Seeds of one child process.
const SEEDS: u64 = 500;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| -> Option<u64> {
        let value = args.iter().position(|a| a == name).and_then(|i| args.get(i + 1))?;
        Some(value.parse().unwrap_or_else(|_| panic!("{name} takes a number, not {value}")))
    };
    if let Some(first) = number("--child") {
        child(first, number("--seeds").unwrap_or(SEEDS));
    } else {
        let from = number("--from").unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            now.as_secs() * 1_000_000
        });
        let jobs = number("--jobs").unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get() as u64));
        parent(from, number("--minutes").unwrap_or(1), jobs.max(1));
    }
}

fn at(first: u64) -> PathBuf {
    folder().join(format!("at-{first}"))
}

/// Checks a range of seeds, prints what differs and the counts.
fn child(first: u64, seeds: u64) {
    let machines = Machines::new();
    let mut total = Summary::default();
    for seed in first..first + seeds {
        std::fs::write(at(first), seed.to_string()).expect("a file that says which seed is tried");
        let mut one = Summary::default();
        machines.check(seed, &mut one);
        for failure in &one.failures {
            println!("{failure}");
        }
        total.add(one);
    }
    println!("seeds {first} to {}: {total}", first + seeds - 1);
    std::process::exit(i32::from(!total.failures.is_empty()));
}

/// Keeps `jobs` children busy until the time is over.
fn parent(from: u64, minutes: u64, jobs: u64) {
    std::fs::create_dir_all(folder()).expect("a folder for findings");
    println!("seeds from {from}; findings in {}", folder().display());
    let end = Instant::now() + Duration::from_secs(minutes * 60);
    let program = std::env::current_exe().expect("a program knows its own path");
    let start = |first: u64| -> Child {
        let mut command = Command::new(&program);
        command.args(["--child", &first.to_string(), "--seeds", &SEEDS.to_string()]);
        command.spawn().expect("a child process")
    };
    let mut next = from;
    let mut running: Vec<(u64, Child)> = Vec::new();
    let (mut good, mut bad) = (0, 0);
    loop {
        while running.len() < jobs as usize && Instant::now() < end {
            running.push((next, start(next)));
            next += SEEDS;
        }
        let mut still = Vec::new();
        for (first, mut child) in running {
            match child.try_wait().expect("a child can be waited for") {
                None => still.push((first, child)),
                Some(status) if status.success() => good += 1,
                Some(status) => {
                    bad += 1;
                    if status.code() != Some(1) {
                        let seed = std::fs::read_to_string(at(first)).unwrap_or_default();
                        println!("seed {seed}: the process ended with {status}");
                    }
                }
            }
        }
        running = still;
        if running.is_empty() && Instant::now() >= end {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("{good} ranges of {SEEDS} seeds agree, {bad} do not");
    std::process::exit(i32::from(bad > 0));
}
