//! What happens to CLIF between translation and Cranelift's own optimiser: a pass a file. A pass changes neither what a program
//! computes nor what its traps and backtraces say; whatever it moves keeps its source location.

pub mod call_graph;
pub mod inlining;
mod memory_base;
pub mod model;
pub mod sites;

#[cfg(test)]
mod tests;

pub use call_graph::{BodyFacts, CallGraph, Scanner};
pub use inlining::Library;
pub use memory_base::share_register;
pub use model::Inlining;
