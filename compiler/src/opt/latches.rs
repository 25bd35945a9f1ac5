//! Ends of loops that compare a counter before it is counted on:
//!
//! ```text
//! v2 = iadd v1, 16; v3 = icmp ne v1, 7152; brif v3, loop(v2), after      becomes      v3 = icmp ne v2, 7168
//! ```
//!
//! Where both values live until the branch they need two registers, a move in a block of its own, and a jump around it. LLVM makes such
//! loops. Adding a constant keeps equality, so the comparison may as well be of what goes on.

use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{BlockArg, BlockCall, Function, Inst, InstBuilder, InstructionData, Opcode, Value};
use smallvec::SmallVec;

/// Rewrites the conditional branches of a function.
pub fn compare_later(func: &mut Function) {
    let found: Vec<(Inst, Later)> =
        func.layout.blocks().filter_map(|b| func.layout.last_inst(b)).filter_map(|i| Some((i, later(func, i)?))).collect();
    for (branch, Later { value, constant, cond }) in found {
        let mut cursor = FuncCursor::new(func).at_inst(branch);
        cursor.use_srcloc(branch);
        let ty = cursor.func.dfg.value_type(value);
        let constant = cursor.ins().iconst(ty, constant);
        let compared = cursor.ins().icmp(cond, value, constant);
        if let InstructionData::Brif { arg, .. } = &mut func.dfg.insts[branch] {
            *arg = compared;
        }
    }
}

/// A comparison with a constant.
struct Later {
    value: Value,
    constant: i64,
    cond: IntCC,
}

fn later(func: &Function, branch: Inst) -> Option<Later> {
    let InstructionData::Brif { arg, blocks, .. } = &func.dfg.insts[branch] else { return None };
    let (value, compared, cond) = comparison(func, *arg)?;
    let ty = func.dfg.value_type(value);
    let passed = |call: &BlockCall| -> SmallVec<[Value; 8]> {
        let args = call.args(&func.dfg.value_lists);
        args.filter_map(|a| if let BlockArg::Value(v) = a { Some(func.dfg.resolve_aliases(v)) } else { None }).collect()
    };
    let passed: SmallVec<[Value; 16]> = blocks.iter().flat_map(passed).collect();
    if passed.contains(&value) {
        return None;
    }
    passed.into_iter().find_map(|next| {
        let step = step(func, next, value)?;
        let constant = compared.wrapping_add(step);
        // In as many bits as the type has, and no longer than before.
        let constant = if ty.bits() == 32 { i64::from(constant as u32) } else { constant };
        (ty.bits() == 32 || i32::try_from(constant).is_ok()).then_some(Later { value: next, constant, cond })
    })
}

/// A comparison for equality with a constant: what is compared, the constant, and how.
fn comparison(func: &Function, mut condition: Value) -> Option<(Value, i64, IntCC)> {
    loop {
        match func.dfg.insts[func.dfg.value_def(condition).inst()?] {
            InstructionData::Unary { opcode: Opcode::Uextend, arg } => condition = arg,
            InstructionData::IntCompare { opcode: Opcode::Icmp, args: [x, y], cond: cond @ (IntCC::Equal | IntCC::NotEqual) } => {
                let (x, y) = (func.dfg.resolve_aliases(x), func.dfg.resolve_aliases(y));
                if !matches!(func.dfg.value_type(x).bits(), 32 | 64) {
                    return None;
                }
                return match (constant(func, x), constant(func, y)) {
                    (None, Some(c)) => Some((x, c, cond)),
                    (Some(c), None) => Some((y, c, cond)),
                    _ => None,
                };
            }
            _ => return None,
        }
    }
}

/// By how much `next` is more than `value`.
fn step(func: &Function, next: Value, value: Value) -> Option<i64> {
    let InstructionData::Binary { opcode: Opcode::Iadd, args: [x, y] } = func.dfg.insts[func.dfg.value_def(next).inst()?] else {
        return None;
    };
    let (x, y) = (func.dfg.resolve_aliases(x), func.dfg.resolve_aliases(y));
    match () {
        () if x == value => constant(func, y),
        () if y == value => constant(func, x),
        () => None,
    }
}

fn constant(func: &Function, value: Value) -> Option<i64> {
    match func.dfg.insts[func.dfg.value_def(value).inst()?] {
        InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => Some(imm.bits()),
        _ => None,
    }
}
