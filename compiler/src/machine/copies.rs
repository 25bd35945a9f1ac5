//! Copies between registers that nobody needs: of a value that is only read, where the original is still there (an index made 64 bits wide is
//! one, if its upper half is zero anyway); and of a result to where it is wanted, where it can be computed in the first place. Then what
//! nobody reads goes, as far as it cannot fault.

use super::decode::{ALL, Change, FLAGS, Flow, Function, R15, RBP, RSP, Registers, copy, is_whole_vector};
use super::known::Facts;
use super::latches::is_comparison;
use super::peephole::{EQUAL, asks_only};
use super::rewrite::{Occurrences, registers, with_register};
use iced_x86::{Code, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register};

/// A copy is followed through so many instructions.
const MAX_DISTANCE: usize = 128;

/// Takes copies out.
pub(super) fn take_out(function: &mut Function<'_>) {
    let live = at_ends(function);
    let mut info = InstructionInfoFactory::new();
    let mut after = Vec::new();
    for (b, live) in live.iter().enumerate() {
        let (first, end) = (function.blocks[b].first as usize, function.blocks[b].end as usize);
        lives(function, first, end, *live, &mut after);
        let mut changed = false;
        for i in first..end {
            changed |= forward(function, &mut info, &mut after, first, i, end);
        }
        if changed {
            lives(function, first, end, *live, &mut after);
        }
        for i in first..end {
            if backward(function, &mut info, &after, first, i) {
                lives(function, first, end, *live, &mut after);
            }
        }
    }
}

/// Computes values where copies put them, in some blocks.
pub(super) fn move_up(function: &mut Function<'_>, blocks: &[usize]) {
    let live = at_ends(function);
    let mut info = InstructionInfoFactory::new();
    let mut after = Vec::new();
    for b in blocks {
        let (first, end) = (function.blocks[*b].first as usize, function.blocks[*b].end as usize);
        lives(function, first, end, live[*b], &mut after);
        for i in first..end {
            if backward(function, &mut info, &after, first, i) {
                lives(function, first, end, live[*b], &mut after);
            }
        }
    }
}

/// Takes out what nobody reads.
pub(super) fn sweep(function: &mut Function<'_>, live: &[Registers]) {
    let mut after = Vec::new();
    for (b, live) in live.iter().enumerate() {
        let (first, end) = (function.blocks[b].first as usize, function.blocks[b].end as usize);
        lives(function, first, end, *live, &mut after);
    }
}

/// What is read later, behind the last instruction of each block.
pub(super) fn at_ends(function: &Function<'_>) -> Vec<Registers> {
    let count = function.blocks.len();
    let effects: Vec<(Registers, Registers)> = function
        .blocks
        .iter()
        .map(|block| {
            let (mut reads, mut writes) = (0, 0);
            for inst in function.insts[block.first as usize..block.end as usize].iter().rev() {
                if inst.change != Change::Delete {
                    reads = reads & !inst.writes | inst.reads;
                    writes |= inst.writes;
                }
            }
            (reads, writes)
        })
        .collect();
    let mut at_start: Vec<Registers> = vec![0; count];
    let mut at_end: Vec<Registers> = vec![0; count];
    let mut more = true;
    while more {
        more = false;
        for b in (0..count).rev() {
            let live = function.successors(&function.blocks[b]).iter().fold(0, |live, next| live | at_start[*next as usize]);
            let (reads, writes) = effects[b];
            at_end[b] = live;
            let start = live & !writes | reads;
            // A block before this one has been looked at in this round only if it comes later in the code.
            more |= start != at_start[b];
            at_start[b] = start;
        }
    }
    at_end
}

/// Fills `after` with what is read behind each instruction of a block, and takes out those that do nothing but write what is not.
fn lives(function: &mut Function<'_>, first: usize, end: usize, at_end: Registers, after: &mut Vec<Registers>) {
    after.clear();
    after.resize(end - first, 0);
    let mut live = at_end;
    for i in (first..end).rev() {
        after[i - first] = live;
        let inst = &function.insts[i];
        if inst.change == Change::Delete {
            continue;
        }
        if inst.writes & live == 0 && can_go(function, i) {
            function.insts[i].change = Change::Delete;
            continue;
        }
        live = live & !inst.writes | inst.reads;
    }
}

/// Whether an instruction does nothing but write registers, and has no others to note.
fn can_go(function: &Function<'_>, i: usize) -> bool {
    let (inst, decoded) = (&function.insts[i], &function.decoded[i]);
    let pinned = if function.pinned { 1 << R15 } else { 0 };
    if inst.relocated || inst.flow != Flow::Next || inst.writes & (1 << RSP | 1 << RBP | pinned) != 0 {
        return false;
    }
    let registers_only = (0..decoded.op_count()).all(|n| decoded.op_kind(n) != OpKind::Memory);
    match decoded.code() {
        Code::Lea_r64_m | Code::Lea_r32_m => true,
        Code::Mov_r64_rm64 | Code::Mov_r32_rm32 | Code::Mov_rm64_r64 | Code::Mov_rm32_r32 => {
            decoded.op0_kind() == OpKind::Register && (decoded.op1_kind() == OpKind::Register || decoded.memory_base() == Register::RSP)
        }
        Code::Mov_r32_imm32 | Code::Mov_r64_imm64 | Code::Mov_rm64_imm32 => decoded.op0_kind() == OpKind::Register,
        Code::Movzx_r32_rm8 | Code::Movzx_r32_rm16 | Code::Movsx_r32_rm8 | Code::Movsx_r32_rm16 | Code::Movsxd_r64_rm32 => {
            decoded.op1_kind() == OpKind::Register
        }
        code if (Code::Seto_rm8..=Code::Setg_rm8).contains(&code) => registers_only,
        _ => {
            registers_only
                && matches!(
                    decoded.mnemonic(),
                    Mnemonic::Add
                        | Mnemonic::Sub
                        | Mnemonic::And
                        | Mnemonic::Or
                        | Mnemonic::Xor
                        | Mnemonic::Cmp
                        | Mnemonic::Test
                        | Mnemonic::Shl
                        | Mnemonic::Shr
                        | Mnemonic::Sar
                )
        }
    }
}

/// A copy at `i` that may be done without: target, source, and whether only the lower half is the same.
fn candidate(function: &Function<'_>, i: usize) -> Option<(usize, usize, bool)> {
    let inst = &function.insts[i];
    if !inst.is_copy || inst.change == Change::Delete || inst.relocated {
        return None;
    }
    let (to, from, wide) = copy(&function.decoded[i])?;
    let fixed = 1 << RSP | 1 << RBP | if function.pinned { 1 << R15 } else { 0 };
    if (1u32 << to | 1 << from) & fixed != 0 || to == from {
        return None;
    }
    Some((to, from, !wide && !inst.copies_all))
}

/// Reads the original in the place of its copy, if that makes the copy superfluous.
fn forward(
    function: &mut Function<'_>,
    info: &mut InstructionInfoFactory,
    after: &mut [Registers],
    first: usize,
    i: usize,
    end: usize,
) -> bool {
    let Some((to, from, narrow)) = candidate(function, i) else { return false };
    let mut changes: Vec<(usize, Instruction)> = Vec::new();
    let mut last = i;
    let mut is_over = false;
    for j in i + 1..end.min(i + MAX_DISTANCE) {
        let inst = &function.insts[j];
        if inst.change == Change::Delete {
            continue;
        }
        if inst.reads >> to & 1 != 0 {
            if inst.flow != Flow::Next || inst.relocated {
                return false;
            }
            let Some(new) = with_register(info, &function.decoded[j], to, from, Occurrences::Read, narrow) else { return false };
            // Nothing else may have changed: an operand that cannot be chosen, or one that is written too.
            let (reads, writes) = registers(info, &new);
            if reads >> to & 1 != 0 || writes != inst.writes || reads & !(1 << from) != inst.reads & !(1 << to | 1 << from) {
                return false;
            }
            changes.push((j, new));
            last = j;
        }
        if inst.writes >> to & 1 != 0 {
            is_over = true;
            break;
        }
        if inst.writes >> from & 1 != 0 {
            if after[j - first] >> to & 1 != 0 {
                return false;
            }
            is_over = true;
            break;
        }
        if after[j - first] >> to & 1 == 0 {
            is_over = true;
            break;
        }
    }
    if !is_over {
        return false;
    }
    apply(function, changes, |function| {
        function.insts[i].change = Change::Delete;
        for live in &mut after[i - first..last - first] {
            *live |= 1 << from;
        }
    })
}

/// Makes all the changes, or none.
fn apply(function: &mut Function<'_>, changes: Vec<(usize, Instruction)>, done: impl FnOnce(&mut Function<'_>)) -> bool {
    let before: Vec<_> = changes.iter().map(|(j, _)| (*j, function.insts[*j].clone(), function.decoded[*j])).collect();
    for (n, (j, new)) in changes.into_iter().enumerate() {
        if !function.replace(j, new) {
            for (j, inst, decoded) in before.into_iter().take(n) {
                function.insts[j] = inst;
                function.decoded[j] = decoded;
            }
            return false;
        }
    }
    done(function);
    true
}

/// Computes a value where a copy at `i` puts it, if nobody needs it anywhere else.
fn backward(function: &mut Function<'_>, info: &mut InstructionInfoFactory, after: &[Registers], first: usize, i: usize) -> bool {
    let Some((to, from, narrow)) = candidate(function, i) else { return false };
    if narrow || after[i - first] >> from & 1 != 0 {
        return false;
    }
    let mut changes: Vec<(usize, Instruction)> = Vec::new();
    // A comparison that still needs what is overwritten, and could as well be made before.
    let mut comparison = None;
    for j in (first.max(i.saturating_sub(MAX_DISTANCE))..i).rev() {
        let inst = &function.insts[j];
        if inst.change == Change::Delete {
            continue;
        }
        let (reads_it, writes_it) = (inst.reads >> from & 1 != 0, inst.writes >> from & 1 != 0);
        let is_definition = writes_it && inst.writes >> to & 1 == 0 && {
            let target = with_register(info, &function.decoded[j], from, to, Occurrences::Target, false);
            match target {
                // The first operand alone is written, and what is read of the register is its value before.
                Some(new) if new != function.decoded[j] && inst.flow == Flow::Next && !inst.relocated => {
                    let (reads, writes) = registers(info, &new);
                    if reads == inst.reads && writes == inst.writes & !(1 << from) | 1 << to {
                        changes.push((j, new));
                        true
                    } else {
                        false
                    }
                }
                _ => false,
            }
        };
        if is_definition {
            if let Some(k) = comparison {
                let between = function.insts[j + 1..k].iter().any(|i| i.change != Change::Delete);
                let (definition, compared) = (changes.pop().map(|c| c.1), function.decoded[k]);
                match definition {
                    Some(new) if !between && matches!(new.code(), Code::Lea_r32_m | Code::Lea_r64_m) => {
                        if let Some(compared) = with_sum(function, k, &new, &compared, end_of(function, k), after, first) {
                            changes.extend([(j, new), (k, compared)]);
                            return apply(function, changes, |function| function.insts[i].change = Change::Delete);
                        }
                        changes.extend([(j, compared), (k, new)]);
                    }
                    _ => return false,
                }
            }
            return apply(function, changes, |function| function.insts[i].change = Change::Delete);
        }
        if (inst.reads | inst.writes) >> to & 1 != 0 {
            if comparison.is_none() && !reads_it && is_comparison(function, j) {
                comparison = Some(j);
                continue;
            }
            return false;
        }
        if reads_it || writes_it {
            if inst.flow != Flow::Next || inst.relocated {
                return false;
            }
            let Some(new) = with_register(info, &function.decoded[j], from, to, Occurrences::All, false) else { return false };
            let (reads, writes) = registers(info, &new);
            let renamed = |set: Registers| if set >> from & 1 != 0 { set & !(1 << from) | 1 << to } else { set };
            if reads != renamed(inst.reads) || writes != renamed(inst.writes) {
                return false;
            }
            changes.push((j, new));
        }
    }
    false
}

/// The end of the block of an instruction.
fn end_of(function: &Function<'_>, i: usize) -> usize {
    let next = function.blocks.partition_point(|b| b.first as usize <= i);
    function.blocks.get(next - 1).map_or(i, |b| b.end as usize)
}

/// The comparison at `k` for equality of a register with a number, as one of the register's sum with another number.
fn with_sum(
    function: &Function<'_>,
    k: usize,
    sum: &Instruction,
    compared: &Instruction,
    end: usize,
    after: &[Registers],
    first: usize,
) -> Option<Instruction> {
    let register = sum.op0_register();
    let is_sum = sum.code() == Code::Lea_r32_m
        && sum.memory_index() == Register::None
        && sum.memory_base().is_gpr64()
        && sum.memory_base().full_register32() == register;
    let is_number = matches!(compared.code(), Code::Cmp_rm32_imm8 | Code::Cmp_rm32_imm32 | Code::Cmp_EAX_imm32);
    if !is_sum || !is_number || compared.op0_register() != register || !asks_only(function, first, k, end, after, &EQUAL) {
        return None;
    }
    let number = if compared.code() == Code::Cmp_rm32_imm8 { compared.immediate8to32() } else { compared.immediate32() as i32 };
    let number = number.wrapping_add(sum.memory_displacement64() as i32);
    let code = if i8::try_from(number).is_ok() { Code::Cmp_rm32_imm8 } else { Code::Cmp_rm32_imm32 };
    Instruction::with2(code, register, number).ok()
}

/// Takes out writes to words of the frame that are not read any more.
pub(super) fn take_out_writes(function: &mut Function<'_>, facts: &Facts) {
    if facts.unread.is_empty() {
        return;
    }
    for (inst, decoded) in function.insts.iter_mut().zip(&function.decoded) {
        if inst.flow == Flow::Next
            && !inst.relocated
            && inst.writes & (ALL | FLAGS) == 0
            && (matches!(decoded.code(), Code::Mov_rm64_r64 | Code::Mov_rm32_r32) || is_whole_vector(decoded))
            && decoded.op0_kind() == OpKind::Memory
            && decoded.memory_base() == Register::RSP
            && facts.unread.binary_search_by_key(&(decoded.memory_displacement64() as i64), |(at, _)| i64::from(*at)).is_ok()
        {
            inst.change = Change::Delete;
        }
    }
}
