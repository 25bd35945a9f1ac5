//! One register for the `VMContext` and for memory 0 that lies right behind it: the base of the memory, which differs from the hidden
//! parameter by a constant. The translation expresses everything by the parameter; here a function that accesses the memory and calls others
//! gets the base as a value that Cranelift cannot take for a sum, and the parameter becomes a sum of that.
//!
//! It is not the parameter that is kept, because the parameter has to be in its own register at every call, and the register allocator
//! splits its life there: it lived on the stack and was read from it before nearly every access (Lua's interpreter: 651 such reads in the
//! place of 168). And it is not read from the `VMContext`, as it was before, because then a function cannot begin with anything before that,
//! and its callees wait for it, too: CPython took 4 % longer than with two registers, and takes 8 % less this way.

use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{Function, Inst, InstBuilder, InstructionData, Opcode, Value, types};
use wasmc_environ::vmoffsets::{HIDDEN_IN_MEMORY, VMOffsets};

const DISTANCE: i64 = HIDDEN_IN_MEMORY as i64;

/// Rewrites a function whose callees are inlined already. `offsets_are_free`: whether an address can have an offset beside its index, so
/// that the base need not be a value of its own where nothing is called.
pub fn share_register(func: &mut Function, offsets: &VMOffsets, offsets_are_free: bool) {
    if offsets.memory_behind().is_none() {
        return;
    }
    let Some(entry) = func.layout.entry_block() else { return };
    let Some(hidden) = func.dfg.block_params(entry).first().copied() else { return };
    let (mut accesses, mut calls) = (false, !offsets_are_free);
    for inst in func.layout.blocks().flat_map(|block| func.layout.block_insts(block)) {
        accesses |= is_base(func, inst, hidden);
        calls |= func.dfg.insts[inst].opcode().is_call();
        if accesses && calls {
            break;
        }
    }
    if !accesses || !calls {
        return;
    }
    let parameter = func.dfg.replace_block_param(hidden, types::I64);
    let mut cursor = FuncCursor::new(func).at_first_insertion_point(entry);
    let distance = cursor.ins().iconst(types::I64, -DISTANCE);
    // An instruction with two results is not simplified. The second one is not used.
    let (base, _) = cursor.ins().uadd_overflow(parameter, distance);
    let sum = cursor.ins().iadd_imm_s(base, DISTANCE);
    func.dfg.change_to_alias(hidden, sum);
}

/// Whether an instruction is the base of the memory by the hidden parameter.
fn is_base(func: &Function, inst: Inst, hidden: Value) -> bool {
    let InstructionData::Binary { opcode: Opcode::Iadd, args } = func.dfg.insts[inst] else { return false };
    func.dfg.resolve_aliases(args[0]) == hidden
        && func.dfg.value_def(args[1]).inst().is_some_and(|constant| {
            matches!(func.dfg.insts[constant], InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } if imm.bits() == -DISTANCE)
        })
}
