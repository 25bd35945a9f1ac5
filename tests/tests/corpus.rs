//! The corpus of real programs, on every tier: each prints what is expected.

#[path = "common/program.rs"]
mod program;

use program::programs;
use rayon::prelude::*;
use wasmc_tests::{Tier, is_emulated, shared};

/// What runs on every tier under emulation, where the others run as compiled code only: interpreted, they would take minutes each.
const PART: [&str; 14] = [
    "bunzip2",
    "bzip2",
    "kernels/crc32",
    "kernels/hashmap",
    "kernels/icall",
    "kernels/libm",
    "kernels/mandelbrot-simd",
    "kernels/memops-simd",
    "kernels/recurse",
    "kernels/sort",
    "lua-closures",
    "lua-errors",
    "zstd-c19",
    "zstd-simd-c12",
];

fn corpus(tier: Tier) {
    let Some(root) = shared("corpus") else { return };
    let mut programs = programs(&root);
    if is_emulated() && tier != Tier::Compiled {
        programs.retain(|p| PART.contains(&p.name.as_str()));
        assert_eq!(programs.len(), PART.len(), "the corpus has other programs now");
    }
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
