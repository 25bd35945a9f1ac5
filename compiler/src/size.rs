//! Which functions are too large for native code. Cranelift's passes take time and memory in the square of some sizes
//! (nesting of loops, blocks of a function), and a module of a few kilobytes can ask for all of it. What is beyond the
//! limits of `environ::limits` is left to the interpreter, which takes time in proportion: that depends on the
//! function alone, so the same functions are left on every machine and with every number of threads.

use wasmc_environ::limits::{MAX_COMPILED_BRANCHES, MAX_COMPILED_DEPTH, MAX_COMPILED_OPERATORS};
use wasmparser::Operator;

/// What decides how long a body takes to compile, collected operator by operator.
#[derive(Debug, Default)]
pub struct BodySize {
    operators: u32,
    branches: u32,
    depth: u32,
    deepest: u32,
}

impl BodySize {
    /// Adds an operator.
    #[inline]
    pub fn add(&mut self, op: &Operator<'_>) {
        self.operators = self.operators.saturating_add(1);
        // About as many as the blocks that become of it.
        let blocks = match op {
            Operator::Block { .. } | Operator::Try { .. } | Operator::TryTable { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                self.depth = self.depth.saturating_add(1);
                self.deepest = self.deepest.max(self.depth);
                match op {
                    Operator::Loop { .. } | Operator::If { .. } => 2,
                    _ => 1,
                }
            }
            Operator::End | Operator::Delegate { .. } => {
                self.depth = self.depth.saturating_sub(1);
                0
            }
            Operator::BrIf { .. } | Operator::BrOnNull { .. } | Operator::BrOnNonNull { .. } | Operator::Else => 1,
            Operator::BrTable { .. } => 1,
            _ => 0,
        };
        self.branches = self.branches.saturating_add(blocks);
    }

    /// Whether native code is made of the body.
    pub fn fits(&self) -> bool {
        self.operators <= MAX_COMPILED_OPERATORS && self.branches <= MAX_COMPILED_BRANCHES && self.deepest <= MAX_COMPILED_DEPTH
    }
}
