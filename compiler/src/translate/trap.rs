//! Trap codes in CLIF. Every reason for a trap has a user code of its own; Cranelift's reserved codes, which the
//! lowering of division and conversion uses by itself, are understood on the way back.

use super::FuncTranslator;
use crate::accesses::is_access;
use cranelift_codegen::ir::{self, InstBuilder, Value};
use wasmc_environ::TrapCode;

/// The code that stands for a reason in CLIF.
pub fn trap_code(code: TrapCode) -> ir::TrapCode {
    // The numbers are small and not 0, and Cranelift reserves only the highest five.
    const FALLBACK: ir::TrapCode = ir::TrapCode::unwrap_user(TrapCode::Unreachable as u8);
    ir::TrapCode::user(code as u8).unwrap_or(FALLBACK)
}

/// The reason that a code in CLIF stands for.
pub fn from_clif(code: ir::TrapCode) -> Option<TrapCode> {
    match code {
        ir::TrapCode::STACK_OVERFLOW => Some(TrapCode::StackOverflow),
        ir::TrapCode::INTEGER_OVERFLOW => Some(TrapCode::IntegerOverflow),
        ir::TrapCode::HEAP_OUT_OF_BOUNDS => Some(TrapCode::MemoryOutOfBounds),
        ir::TrapCode::INTEGER_DIVISION_BY_ZERO => Some(TrapCode::IntegerDivisionByZero),
        ir::TrapCode::BAD_CONVERSION_TO_INTEGER => Some(TrapCode::BadConversionToInteger),
        other if is_access(other) => Some(TrapCode::MemoryOutOfBounds),
        other => TrapCode::from_u8(other.as_raw().get()),
    }
}

impl FuncTranslator<'_, '_> {
    /// Traps here; what follows in the wasm code is unreachable.
    pub(super) fn trap(&mut self, code: TrapCode) {
        // The optimiser turns a branch to a block that only traps into a conditional trap, which stands at the branch: the
        // backtrace would name another instruction than the interpreter's does.
        self.builder.ins().nop();
        self.builder.ins().trap(trap_code(code));
        self.reachable = false;
    }

    /// The instruction `unreachable`. Whoever comes here does so at most once, so the block is moved out of the way.
    pub(super) fn unreachable(&mut self) {
        if let Some(block) = self.builder.current_block().filter(|b| *b != self.entry()) {
            self.builder.set_cold_block(block);
        }
        self.trap(TrapCode::Unreachable);
    }

    /// Traps if `condition` is not 0.
    pub(super) fn trap_if(&mut self, condition: Value, code: TrapCode) {
        self.builder.ins().trapnz(condition, trap_code(code));
    }

    /// Traps if `condition` is 0.
    pub(super) fn trap_unless(&mut self, condition: Value, code: TrapCode) {
        self.builder.ins().trapz(condition, trap_code(code));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip() {
        for code in TrapCode::ALL {
            assert_eq!(from_clif(trap_code(*code)), Some(*code));
        }
        assert!(TrapCode::ALL.iter().all(|c| !is_access(trap_code(*c))));
        for code in ir::TrapCode::non_user_traps() {
            assert!(from_clif(*code).is_some());
        }
    }
}
