//! The table: what is measured in turns, and what the process has of memory and mappings.

use anyhow::{Context, Result};
use std::time::Instant;

/// Does its work many times, and gives the nanoseconds of one.
pub type Measure<'a> = Box<dyn FnMut() -> Result<f64> + 'a>;

/// A line of the table.
pub struct Row<'a> {
    pub name: &'static str,
    /// What it should be: a ratio, or nanoseconds.
    pub goal: &'static str,
    pub wasmc: Measure<'a>,
    pub wasmtime: Option<Measure<'a>>,
}

/// The nanoseconds of one of so many.
pub fn timed(times: u32, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..times {
        work()?;
    }
    Ok(start.elapsed().as_nanos() as f64 / f64::from(times))
}

pub fn print_head() {
    println!("{:52}{:>12}{:>12}{:>9}{:>8}", "nanoseconds", "wasmc", "Wasmtime", "ratio", "goal");
}

impl Row<'_> {
    /// Measures in turns, and prints the best of each.
    pub fn print(&mut self, runs: usize) -> Result<()> {
        let (mut best, mut peer) = (f64::MAX, f64::MAX);
        for _ in 0..runs {
            best = best.min((self.wasmc)()?);
            if let Some(measure) = &mut self.wasmtime {
                peer = peer.min(measure()?);
            }
        }
        match self.wasmtime {
            Some(_) => println!("{:52}{best:12.1}{peer:12.1}{:9.2}{:>8}", self.name, best / peer, self.goal),
            None => println!("{:52}{best:12.1}{:>12}{:>9}{:>8}", self.name, "", "", self.goal),
        }
        Ok(())
    }
}

/// What one of many live instances takes.
pub struct Taken {
    pub bytes: f64,
    pub mappings: f64,
}

/// Makes that many, and drops them when they were looked at.
pub fn alive<T>(count: usize, mut make: impl FnMut() -> Result<T>) -> Result<Taken> {
    let mut keep = Vec::with_capacity(count);
    let (bytes, maps) = (resident()?, mappings()?);
    for _ in 0..count {
        keep.push(make()?);
    }
    let each = |now: f64, before: f64| (now - before) / count as f64;
    Ok(Taken { bytes: each(resident()?, bytes), mappings: each(mappings()?, maps) })
}

fn resident() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let all = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("a size")?;
    Ok(all.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
}

fn mappings() -> Result<f64> {
    Ok(std::fs::read_to_string("/proc/self/maps")?.lines().count() as f64)
}
