//! Trap codes in CLIF. Every reason for a trap has a user code of its own; Cranelift's reserved codes, which the
//! lowering of division and conversion uses by itself, are understood on the way back.

use super::FuncTranslator;
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
        other => match other.as_raw().get() {
            ACCESS_CODES..ACCESS_CODES_END => Some(TrapCode::MemoryOutOfBounds),
            code => TrapCode::from_u8(code),
        },
    }
}

/// The codes from here on stand for accesses to memories in metered code: by them `accesses` tells one from the others.
const ACCESS_CODES: u8 = 100;
const ACCESS_CODES_END: u8 = ACCESS_CODES + 100;

/// Which access to a memory a trap is, where metered code has to know exactly: a load can become part of the instruction that uses
/// its result, and stands at that instruction's place then, or at none. `accesses` are the offsets of all, in order, and `near` is
/// an offset close to it.
pub fn access_of(code: ir::TrapCode, accesses: &[u32], near: u32) -> Option<u32> {
    let (cycle, class) = (usize::from(ACCESS_CODES_END - ACCESS_CODES), code.as_raw().get());
    if !(ACCESS_CODES..ACCESS_CODES_END).contains(&class) {
        return None;
    }
    let class = usize::from(class - ACCESS_CODES);
    let last = accesses.partition_point(|a| *a <= near);
    // The first of its class at or behind half a cycle before.
    let first = last.saturating_sub(cycle * 3 / 4);
    let number = first + (class + cycle - first % cycle) % cycle;
    accesses.get(number).copied()
}

impl FuncTranslator<'_, '_> {
    /// Traps here; what follows in the wasm code is unreachable.
    pub(super) fn trap(&mut self, code: TrapCode) {
        self.builder.ins().trap(trap_code(code));
        self.reachable = false;
    }

    /// The code of an access to a memory that is out of bounds.
    pub(super) fn access_code(&mut self) -> ir::TrapCode {
        if !self.env.tunables.meter {
            return trap_code(TrapCode::MemoryOutOfBounds);
        }
        let number = self.accesses.len() % usize::from(ACCESS_CODES_END - ACCESS_CODES);
        self.accesses.push(u32::try_from(self.offset).unwrap_or(u32::MAX));
        ir::TrapCode::user(ACCESS_CODES + number as u8).unwrap_or(trap_code(TrapCode::MemoryOutOfBounds))
    }

    /// The instruction `unreachable`. Whoever comes here does so at most once, so the block is moved out of the way.
    pub(super) fn unreachable(&mut self) {
        if let Some(block) = self.builder.current_block().filter(|b| *b != self.entry()) {
            self.builder.set_cold_block(block);
        }
        // The optimiser turns a branch to a block that only traps into a conditional trap, which stands at the branch: the
        // backtrace would name another instruction than the interpreter's does.
        self.builder.ins().nop();
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
    fn accesses_are_found_again() {
        let accesses: Vec<u32> = (0..1000).map(|i| i * 10).collect();
        for (number, access) in accesses.iter().enumerate() {
            let code = ir::TrapCode::user(ACCESS_CODES + (number % 100) as u8).unwrap();
            for later in [0, 1, 7, 100, 500] {
                assert_eq!(access_of(code, &accesses, access + later), Some(*access));
            }
            assert_eq!(access_of(code, &accesses, access.saturating_sub(100)), Some(*access));
        }
        assert_eq!(access_of(trap_code(TrapCode::Unreachable), &accesses, 5), None);
        assert_eq!(access_of(ir::TrapCode::user(ACCESS_CODES).unwrap(), &[], 5), None);
    }

    #[test]
    fn codes_round_trip() {
        for code in TrapCode::ALL {
            assert_eq!(from_clif(trap_code(*code)), Some(*code));
        }
        assert!(TrapCode::ALL.iter().all(|c| (*c as u8) < ACCESS_CODES));
        assert!((ACCESS_CODES..ACCESS_CODES_END).all(|c| ir::TrapCode::user(c).is_some()));
        for code in ir::TrapCode::non_user_traps() {
            assert!(from_clif(*code).is_some());
        }
    }
}
