//! Pairs of instructions that one can do the work of, and comparisons that were already made.

use super::decode::{ALL, Change, FLAGS, Flow, Function, R15, RBP, RSP, Registers, copy, number};
use super::rewrite::{narrow, wide};
use iced_x86::{Code, ConditionCode, Instruction, MemoryOperand, Mnemonic, OpKind, Register};

/// Looks at each block. `live` is what is read behind the last instruction of each, and stays true.
pub(super) fn take_out(function: &mut Function<'_>, live: &[Registers]) {
    let mut after = Vec::new();
    for (b, at_end) in live.iter().enumerate() {
        let (first, end) = (function.blocks[b].first as usize, function.blocks[b].end as usize);
        flags_after(function, first, end, *at_end, &mut after);
        for i in first..end {
            if function.insts[i].change == Change::Delete || function.insts[i].relocated {
                continue;
            }
            let Some(next) = next(function, i, end) else { break };
            let _ = frame_end(function, i, next, after[next - first])
                || address(function, i, next, after[next - first])
                || tested(function, first, i, end, &after);
        }
        flags_after(function, first, end, *at_end, &mut after);
        for i in first..end {
            shorten(function, i);
            compared(function, first, i, end, &after);
        }
    }
}

/// Fills `after` with what is read behind each instruction.
fn flags_after(function: &Function<'_>, first: usize, end: usize, at_end: Registers, after: &mut Vec<Registers>) {
    after.clear();
    after.resize(end - first, 0);
    let mut live = at_end;
    for i in (first..end).rev() {
        after[i - first] = live;
        let inst = &function.insts[i];
        if inst.change != Change::Delete {
            live = live & !inst.writes | inst.reads;
        }
    }
}

/// The next instruction that is left.
fn next(function: &Function<'_>, i: usize, end: usize) -> Option<usize> {
    (i + 1..end).find(|j| function.insts[*j].change != Change::Delete)
}

/// `add rsp, n; mov rsp, rbp`: the first is of no use.
fn frame_end(function: &mut Function<'_>, i: usize, next: usize, live: Registers) -> bool {
    let (add, set) = (&function.decoded[i], &function.decoded[next]);
    let found = matches!(add.code(), Code::Add_rm64_imm8 | Code::Add_rm64_imm32)
        && add.op0_kind() == OpKind::Register
        && add.op0_register() == Register::RSP
        && copy(set) == Some((RSP, RBP, true))
        && live & FLAGS == 0;
    if found {
        function.insts[i].change = Change::Delete;
    }
    found
}

/// `mov a, b; add a, c`: the sum is an address.
fn address(function: &mut Function<'_>, i: usize, next: usize, live: Registers) -> bool {
    if !function.insts[i].is_copy {
        return false;
    }
    let Some((to, from, whole)) = copy(&function.decoded[i]) else { return false };
    let (inst, op) = (&function.insts[next], function.decoded[next]);
    if to == from || live & FLAGS != 0 || inst.relocated || op.op0_kind() != OpKind::Register || number(op.op0_register()) != Some(to) {
        return false;
    }
    let fixed = 1 << RSP | 1 << RBP | if function.pinned { 1 << R15 } else { 0 };
    if (1u32 << to | 1 << from) & fixed != 0 {
        return false;
    }
    let size = op.op0_register().size();
    // Of half a copy, half a sum.
    if size != 4 && !(size == 8 && whole) {
        return false;
    }
    let constant = |op: &Instruction| match op.op1_kind() {
        OpKind::Immediate8to32 => Some(i64::from(op.immediate8to32())),
        OpKind::Immediate8to64 => Some(op.immediate8to64()),
        OpKind::Immediate32 => Some(i64::from(op.immediate32() as i32)),
        OpKind::Immediate32to64 => Some(op.immediate32to64()),
        _ => None,
    };
    let base = wide(from);
    let memory = match (op.mnemonic(), op.op1_kind()) {
        (Mnemonic::Add, OpKind::Register) => match number(op.op1_register()) {
            Some(n) if n != to && n != RSP => MemoryOperand::with_base_index(base, wide(n)),
            _ => return false,
        },
        (Mnemonic::Add, _) => match constant(&op) {
            Some(n) => MemoryOperand::with_base_displ(base, n),
            None => return false,
        },
        (Mnemonic::Sub, _) => match constant(&op).filter(|n| *n != i64::from(i32::MIN)) {
            Some(n) => MemoryOperand::with_base_displ(base, -n),
            None => return false,
        },
        (Mnemonic::Shl, OpKind::Immediate8) if op.immediate8() == 1 => MemoryOperand::with_base_index(base, base),
        _ => return false,
    };
    let sum = match size {
        4 => Instruction::with2(Code::Lea_r32_m, narrow(to), memory),
        _ => Instruction::with2(Code::Lea_r64_m, wide(to), memory),
    };
    let Ok(sum) = sum else { return false };
    if !function.replace(next, sum) {
        return false;
    }
    function.insts[i].change = Change::Delete;
    true
}

/// Whether all that read the flags behind instruction `i`, before they are written again, ask for one of these.
pub(super) fn asks_only(
    function: &Function<'_>,
    first: usize,
    i: usize,
    end: usize,
    after: &[Registers],
    allowed: &[ConditionCode],
) -> bool {
    for j in i + 1..end {
        let inst = &function.insts[j];
        if inst.change == Change::Delete {
            continue;
        }
        if inst.reads & FLAGS != 0 && !allowed.contains(&function.decoded[j].condition_code()) {
            return false;
        }
        if inst.writes & FLAGS != 0 {
            return true;
        }
        if after[j - first] & FLAGS == 0 {
            return true;
        }
    }
    // The next block reads them.
    false
}

const OF_RESULT: [ConditionCode; 4] = [ConditionCode::e, ConditionCode::ne, ConditionCode::s, ConditionCode::ns];
pub(super) const EQUAL: [ConditionCode; 2] = [ConditionCode::e, ConditionCode::ne];
const UNSIGNED: [ConditionCode; 6] =
    [ConditionCode::e, ConditionCode::ne, ConditionCode::b, ConditionCode::ae, ConditionCode::a, ConditionCode::be];
const SIGNED: [ConditionCode; 6] =
    [ConditionCode::e, ConditionCode::ne, ConditionCode::l, ConditionCode::ge, ConditionCode::g, ConditionCode::le];
const ANY: [ConditionCode; 16] = [
    ConditionCode::o,
    ConditionCode::no,
    ConditionCode::b,
    ConditionCode::ae,
    ConditionCode::e,
    ConditionCode::ne,
    ConditionCode::be,
    ConditionCode::a,
    ConditionCode::s,
    ConditionCode::ns,
    ConditionCode::p,
    ConditionCode::np,
    ConditionCode::l,
    ConditionCode::ge,
    ConditionCode::le,
    ConditionCode::g,
];

/// `test a, a` behind what computed `a` and set the flags by it.
fn tested(function: &mut Function<'_>, first: usize, i: usize, end: usize, after: &[Registers]) -> bool {
    let Some((register, size)) = is_test(&function.decoded[i]) else { return false };
    for j in (first..i).rev() {
        let inst = &function.insts[j];
        if inst.change == Change::Delete {
            continue;
        }
        let writes_it = inst.writes >> register & 1 != 0;
        if inst.writes & FLAGS == 0 {
            if writes_it {
                return false;
            }
            continue;
        }
        let op = &function.decoded[j];
        if !writes_it
            || op.op0_kind() != OpKind::Register
            || number(op.op0_register()) != Some(register)
            || op.op0_register().size() != size
        {
            return false;
        }
        let allowed: &[ConditionCode] = match op.mnemonic() {
            Mnemonic::And | Mnemonic::Or | Mnemonic::Xor => &ANY,
            Mnemonic::Add | Mnemonic::Sub => &OF_RESULT,
            _ => return false,
        };
        if !asks_only(function, first, i, end, after, allowed) {
            return false;
        }
        function.insts[i].change = Change::Delete;
        return true;
    }
    false
}

/// The register that an instruction tests against itself, and its size.
fn is_test(decoded: &Instruction) -> Option<(usize, usize)> {
    let is_test = matches!(decoded.code(), Code::Test_rm32_r32 | Code::Test_rm64_r64)
        && decoded.op0_kind() == OpKind::Register
        && decoded.op0_register() == decoded.op1_register();
    if !is_test {
        return None;
    }
    Some((number(decoded.op0_register())?, decoded.op0_register().size()))
}

/// A constant in one byte where it fits, where the code generator writes four; zeros above a byte or two without a prefix.
fn shorten(function: &mut Function<'_>, i: usize) {
    let decoded = function.decoded[i];
    let half = match decoded.code() {
        Code::Movzx_r64_rm8 => Some(Code::Movzx_r32_rm8),
        Code::Movzx_r64_rm16 => Some(Code::Movzx_r32_rm16),
        _ => None,
    };
    if let (Some(code), Some(register)) = (half, number(decoded.op0_register())) {
        let inst = &function.insts[i];
        if inst.change != Change::Delete && !inst.relocated && inst.distance == 0 {
            let mut new = decoded;
            new.set_code(code);
            new.set_op0_register(narrow(register));
            function.replace(i, new);
        }
        return;
    }
    let code = match decoded.code() {
        Code::Add_rm32_imm32 | Code::Add_EAX_imm32 => Code::Add_rm32_imm8,
        Code::Add_rm64_imm32 | Code::Add_RAX_imm32 => Code::Add_rm64_imm8,
        Code::Sub_rm32_imm32 | Code::Sub_EAX_imm32 => Code::Sub_rm32_imm8,
        Code::Sub_rm64_imm32 | Code::Sub_RAX_imm32 => Code::Sub_rm64_imm8,
        Code::And_rm32_imm32 | Code::And_EAX_imm32 => Code::And_rm32_imm8,
        Code::And_rm64_imm32 | Code::And_RAX_imm32 => Code::And_rm64_imm8,
        Code::Or_rm32_imm32 | Code::Or_EAX_imm32 => Code::Or_rm32_imm8,
        Code::Or_rm64_imm32 | Code::Or_RAX_imm32 => Code::Or_rm64_imm8,
        Code::Xor_rm32_imm32 | Code::Xor_EAX_imm32 => Code::Xor_rm32_imm8,
        Code::Xor_rm64_imm32 | Code::Xor_RAX_imm32 => Code::Xor_rm64_imm8,
        Code::Cmp_rm32_imm32 | Code::Cmp_EAX_imm32 => Code::Cmp_rm32_imm8,
        Code::Cmp_rm64_imm32 | Code::Cmp_RAX_imm32 => Code::Cmp_rm64_imm8,
        _ => return,
    };
    let number = match decoded.op1_kind() {
        OpKind::Immediate32 => decoded.immediate32() as i32,
        OpKind::Immediate32to64 => decoded.immediate32to64() as i32,
        _ => return,
    };
    let fixed = if function.pinned { 1 << R15 } else { 0 };
    let inst = &function.insts[i];
    if inst.change != Change::Keep || inst.writes & (1 << RSP | 1 << RBP | fixed) != 0 || i8::try_from(number).is_err() {
        return;
    }
    if decoded.op0_kind() == OpKind::Register
        && let Ok(new) = Instruction::with2(code, decoded.op0_register(), number)
    {
        function.replace(i, new);
    }
}

/// A load whose value is only compared: the comparison reads the memory.
fn compared(function: &mut Function<'_>, first: usize, i: usize, end: usize, after: &[Registers]) {
    let load = &function.decoded[i];
    let inst = &function.insts[i];
    if inst.change == Change::Delete || inst.relocated || inst.distance != 0 || load.op1_kind() != OpKind::Memory {
        return;
    }
    // The size of what is read, and whether the register has its sign.
    let (size, signed) = match load.code() {
        Code::Mov_r32_rm32 => (4, None),
        Code::Mov_r64_rm64 => (8, None),
        Code::Movzx_r32_rm8 | Code::Movzx_r64_rm8 => (1, Some(false)),
        Code::Movsx_r32_rm8 => (1, Some(true)),
        _ => return,
    };
    // The frame's words are read by the register's name elsewhere.
    if load.memory_base() == Register::RSP {
        return;
    }
    let Some(register) = number(load.op0_register()) else { return };
    if after[i - first] & FLAGS != 0 {
        return;
    }
    // The comparison: nothing before it may touch the flags, fault, or read what was loaded.
    let Some(j) = (i + 1..end).find(|j| {
        let inst = &function.insts[*j];
        let is_harmless = inst.flow == Flow::Next && (inst.reads | inst.writes) & (1 << register | FLAGS) == 0 && {
            let decoded = &function.decoded[*j];
            copy(decoded).is_some()
                || matches!(decoded.code(), Code::Mov_r32_imm32 | Code::Mov_r64_imm64 | Code::Lea_r32_m | Code::Lea_r64_m)
        };
        inst.change != Change::Delete && !is_harmless
    }) else {
        return;
    };
    let compare = function.decoded[j];
    if function.insts[j].relocated || function.insts[j].distance != 0 || after[j - first] >> register & 1 != 0 {
        return;
    }
    if compare.op0_kind() != OpKind::Register || number(compare.op0_register()) != Some(register) {
        return;
    }
    let memory = MemoryOperand::new(
        load.memory_base(),
        load.memory_index(),
        load.memory_index_scale(),
        load.memory_displacement64() as i64,
        load.memory_displ_size(),
        false,
        Register::None,
    );
    let wanted = if size == 1 { 4 } else { size };
    let other = match (is_test(&compare), compare.code()) {
        (Some((_, s)), _) if s == wanted || (size == 1 && s == 8 && signed == Some(false)) => Other::Number(0),
        (None, Code::Cmp_rm32_imm8) if wanted == 4 => Other::Number(compare.immediate8to32()),
        (None, Code::Cmp_rm32_imm32 | Code::Cmp_EAX_imm32) if wanted == 4 => Other::Number(compare.immediate32() as i32),
        (None, Code::Cmp_rm64_imm8) if size == 8 => Other::Number(compare.immediate8to64() as i32),
        (None, Code::Cmp_rm32_r32 | Code::Cmp_r32_rm32) if size == 4 && compare.op1_kind() == OpKind::Register => {
            Other::Register(compare.op1_register())
        }
        (None, Code::Cmp_rm64_r64 | Code::Cmp_r64_rm64) if size == 8 && compare.op1_kind() == OpKind::Register => {
            Other::Register(compare.op1_register())
        }
        _ => return,
    };
    let new = match other {
        // Written behind the load, it would be read before.
        Other::Register(r) => {
            let Some(n) = number(r).filter(|n| *n != register) else { return };
            if (i + 1..j).any(|k| function.insts[k].change != Change::Delete && function.insts[k].writes >> n & 1 != 0) {
                return;
            }
            Instruction::with2(if size == 4 { Code::Cmp_rm32_r32 } else { Code::Cmp_rm64_r64 }, memory, r)
        }
        Other::Number(n) => match size {
            4 if i8::try_from(n).is_ok() => Instruction::with2(Code::Cmp_rm32_imm8, memory, n),
            4 => Instruction::with2(Code::Cmp_rm32_imm32, memory, n),
            8 if i8::try_from(n).is_ok() => Instruction::with2(Code::Cmp_rm64_imm8, memory, n),
            1 if (0..=127).contains(&n) => {
                // Bytes compare like what they were made into, in their own sense.
                let allowed: &[ConditionCode] = match (is_test(&compare), signed) {
                    (_, Some(true)) => &SIGNED,
                    (Some(_), _) => &EQUAL,
                    _ => &UNSIGNED,
                };
                if !asks_only(function, first, j, end, after, allowed) {
                    return;
                }
                Instruction::with2(Code::Cmp_rm8_imm8, memory, n)
            }
            _ => return,
        },
    };
    let Ok(new) = new else { return };
    debug_assert_eq!(function.insts[i].writes & ALL, 1 << register);
    if function.replace(i, new) {
        function.insts[j].change = Change::Delete;
    }
}

/// What a value is compared with.
enum Other {
    Number(i32),
    Register(Register),
}
