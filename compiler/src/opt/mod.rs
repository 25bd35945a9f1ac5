//! What happens to CLIF between translation and Cranelift's own optimiser: a pass a file. A pass changes neither what a program
//! computes nor what its traps and backtraces say; whatever it moves keeps its source location.

pub mod call_graph;
pub mod inlining;
mod memory_base;
pub mod model;
pub mod sites;
mod wide_multiply;

#[cfg(test)]
mod tests;

use cranelift_codegen::ir::Function;

pub use call_graph::{BodyFacts, CallGraph, Scanner};
pub use inlining::Library;
pub use memory_base::share_register;
pub use model::Inlining;

/// Which optimisations are made of a body before anything is inlined into it or it into others.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Passes {
    /// Products of 128 bits become one multiplication.
    pub wide_multiply: bool,
    /// Locals of interpreter loops are kept in the frame (`translate/locals.rs`).
    pub frame_locals: bool,
    /// Shifts and sums of small indices are a part of the addresses of accesses (`translate/index.rs`, x86-64).
    pub scaled_indices: bool,
    /// Machine code is gone over once more after registers were allocated (`machine`, x86-64).
    pub machine_code: bool,
}

impl Default for Passes {
    fn default() -> Self {
        Self { wide_multiply: true, frame_locals: true, scaled_indices: true, machine_code: true }
    }
}

impl Passes {
    /// None of them.
    pub const NONE: Self = Self { wide_multiply: false, frame_locals: false, scaled_indices: false, machine_code: false };

    /// What there is of them at this level of optimisation.
    pub(crate) fn at(self, level: crate::OptLevel) -> Self {
        if level == crate::OptLevel::None { Self::NONE } else { self }
    }

    /// Runs those that are passes over the code.
    pub(crate) fn run(self, func: &mut Function) {
        if self.wide_multiply {
            wide_multiply::multiply_wide(func);
        }
    }
}
