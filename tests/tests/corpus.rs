//! The corpus of real programs, on every tier: each prints what is expected.

#[path = "common/program.rs"]
mod program;

use program::programs;
use rayon::prelude::*;
use wasmc_tests::{Tier, shared};

fn corpus(tier: Tier) {
    let Some(root) = shared("corpus") else { return };
    let programs = programs(&root);
    assert!(!programs.is_empty(), "the corpus is empty");
    let failures: Vec<_> = programs.par_iter().filter_map(|p| p.run(tier).err().map(|e| format!("{}: {e}", p.name))).collect();
    println!("{tier:?}: {} of {} programs right", programs.len() - failures.len(), programs.len());
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn compiled() {
    corpus(Tier::Compiled);
}

#[test]
fn interpreted() {
    corpus(Tier::Interpreted);
}

#[test]
fn mixed() {
    corpus(Tier::Mixed);
}

#[test]
fn auto() {
    corpus(Tier::Auto);
}
