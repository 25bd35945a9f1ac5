//! Indices of accesses in the form that the machine's addresses take. WebAssembly computes an index in 32 bits, where a shift can lose
//! bits and a sum can wrap; an address has 64. Where the index is known to be small enough for neither to happen, `x << k` is
//! shifted after it is extended, so that the shift becomes the scale of the address, and a number that is added goes to its offset.

use super::FuncTranslator;
use cranelift_codegen::ir::{DataFlowGraph, InstBuilder, InstructionData, Opcode, Value, types};

/// Greatest shift that is a scale of an address.
const MAX_SCALE_LOG2: u64 = 3;
/// How many operations deep a bound is looked for.
const DEPTH: u32 = 4;

impl FuncTranslator<'_, '_> {
    /// An index, and a number to be added to it, which is not more than `room`: their sum is the index as a number of 64 bits.
    pub(super) fn scaled_index(&mut self, index: Value, room: u64) -> (Value, u64) {
        let dfg = &self.builder.func.dfg;
        if dfg.value_type(index) == types::I64 || !self.env.scaled_indices {
            return (self.index64(index), 0);
        }
        match operation(dfg, index) {
            Some((Opcode::Iadd, x, added)) if added <= room && upper_bound(dfg, x, DEPTH) + added <= u64::from(u32::MAX) => {
                let (index, more) = self.scaled_index(x, room - added);
                (index, added + more)
            }
            Some((Opcode::Ishl, x, shift))
                if (1..=MAX_SCALE_LOG2).contains(&(shift & 31)) && upper_bound(dfg, x, DEPTH) << (shift & 31) <= u64::from(u32::MAX) =>
            {
                let x = self.builder.ins().uextend(types::I64, x);
                (self.builder.ins().ishl_imm_u(x, (shift & 31) as i64), 0)
            }
            _ => (self.builder.ins().uextend(types::I64, index), 0),
        }
    }
}

/// What a value is the result of, if that is an operation on an I32 with a number: the opcode, the operand and the number (unsigned).
fn operation(dfg: &DataFlowGraph, value: Value) -> Option<(Opcode, Value, u64)> {
    let inst = dfg.value_def(dfg.resolve_aliases(value)).inst()?;
    match dfg.insts[inst] {
        InstructionData::Binary { opcode, args: [x, y] } => match (number(dfg, x), number(dfg, y)) {
            (_, Some(y)) => Some((opcode, x, y)),
            (Some(x), None) if opcode == Opcode::Iadd => Some((opcode, y, x)),
            _ => None,
        },
        _ => None,
    }
}

/// The number that an I32 is.
fn number(dfg: &DataFlowGraph, value: Value) -> Option<u64> {
    let inst = dfg.value_def(dfg.resolve_aliases(value)).inst()?;
    match dfg.insts[inst] {
        InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => Some(u64::from(imm.bits() as u32)),
        _ => None,
    }
}

/// What an I32 (or I8) is at most, as an unsigned number.
fn upper_bound(dfg: &DataFlowGraph, value: Value, depth: u32) -> u64 {
    let value = dfg.resolve_aliases(value);
    let any = match dfg.value_type(value) {
        types::I8 => u64::from(u8::MAX),
        _ => u64::from(u32::MAX),
    };
    let Some(inst) = dfg.value_def(value).inst() else { return any };
    if depth == 0 {
        return any;
    }
    if let Some(number) = number(dfg, value) {
        return number.min(any);
    }
    let bound = |v| upper_bound(dfg, v, depth - 1);
    let found = match (dfg.insts[inst].opcode(), dfg.inst_args(inst)) {
        (Opcode::Uload8, _) => u64::from(u8::MAX),
        (Opcode::Uload16, _) => u64::from(u16::MAX),
        (Opcode::Icmp | Opcode::Fcmp, _) => 1,
        (Opcode::Uextend, &[x]) => bound(x),
        (Opcode::Band, &[x, y]) => bound(x).min(bound(y)),
        // No bit above the highest of both.
        (Opcode::Bor | Opcode::Bxor, &[x, y]) => (bound(x) | bound(y)).checked_next_power_of_two().map_or(any, |p| 2 * p - 1),
        (Opcode::Select, &[_, x, y]) => bound(x).max(bound(y)),
        (Opcode::Ushr, &[x, y]) => bound(x) >> number(dfg, y).map_or(0, |shift| shift & 31),
        (Opcode::Ishl, &[x, y]) => number(dfg, y).map_or(any, |shift| bound(x) << (shift & 31)),
        (Opcode::Iadd, &[x, y]) => bound(x) + bound(y),
        _ => any,
    };
    // More than fits may have lost bits.
    if found > any { any } else { found }
}
