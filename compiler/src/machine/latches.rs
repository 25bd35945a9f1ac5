//! The ends of loops. Where a value of the loop changes, the code generator leaves the loop by a conditional branch, copies what changes and jumps
//! to its head. The copies go in front of the branch if whatever follows the loop does not need what they overwrite; then the branch can lead
//! to the head itself.

use super::copies::at_ends;
use super::decode::{Change, FLAGS, Flow, Function, Inst, RBP, RSP, Registers, copy};
use iced_x86::{Code, Instruction, Mnemonic, OpKind};

/// Turns the ends of loops around. Gives the blocks that it changed.
pub(super) fn turn(function: &mut Function<'_>) -> Vec<usize> {
    let count = function.blocks.len();
    let mut entries = vec![0u32; count];
    for block in &function.blocks {
        for next in function.successors(block) {
            entries[*next as usize] += 1;
        }
    }
    let mut changed = Vec::new();
    let mut live: Option<Vec<Registers>> = None;
    for b in 0..count.saturating_sub(1) {
        let Some(found) = candidate(function, &entries, b) else { continue };
        let live = live.get_or_insert_with(|| at_starts(function));
        let overwritten = found.copies.iter().fold(0, |set, i| set | function.insts[*i].writes);
        if overwritten & live[found.exit as usize] == 0 {
            apply(function, b, &found);
            changed.push(b);
        }
    }
    changed
}

/// A block that leaves a loop, or goes on with its head.
struct Found {
    /// Its branch, and the jump of the next block.
    branch: usize,
    jump: usize,
    /// What is copied before the jump.
    copies: Vec<usize>,
    /// The blocks that the branch and the jump lead to.
    exit: u32,
    head: u32,
}

fn candidate(function: &Function<'_>, entries: &[u32], b: usize) -> Option<Found> {
    let (block, latch) = (&function.blocks[b], function.blocks.get(b + 1)?);
    let branch = block.end as usize - 1;
    let jump = latch.end as usize - 1;
    let (Flow::Branch(_), Flow::Jump(_)) = (function.insts[branch].flow, function.insts[jump].flow) else { return None };
    let (&[_, exit], &[head]) = (function.successors(block), function.successors(latch)) else { return None };
    if entries[b + 1] != 1 || latch.root || head as usize > b || exit as usize == b + 1 {
        return None;
    }
    let mut copies = Vec::new();
    for i in latch.first as usize..jump {
        let (inst, decoded) = (&function.insts[i], &function.decoded[i]);
        if inst.change == Change::Delete {
            continue;
        }
        let is_constant = matches!(decoded.code(), Code::Mov_r32_imm32 | Code::Mov_r64_imm64) && decoded.op0_kind() == OpKind::Register;
        if inst.relocated || !(copy(decoded).is_some() || is_constant) || inst.writes & (1 << RSP | 1 << RBP) != 0 {
            return None;
        }
        copies.push(i);
    }
    Some(Found { branch, jump, copies, exit, head })
}

/// What is read later, at the start of each block.
fn at_starts(function: &Function<'_>) -> Vec<Registers> {
    let ends = at_ends(function);
    let start = |(block, live): (&super::decode::Block, &Registers)| {
        let insts = function.insts[block.first as usize..block.end as usize].iter().rev();
        insts.filter(|i| i.change != Change::Delete).fold(*live, |live, i| live & !i.writes | i.reads)
    };
    function.blocks.iter().zip(&ends).map(start).collect()
}

/// Whether an instruction does nothing but compare registers and constants.
pub(super) fn is_comparison(function: &Function<'_>, i: usize) -> bool {
    let (inst, decoded) = (&function.insts[i], &function.decoded[i]);
    inst.writes == FLAGS
        && !inst.relocated
        && matches!(decoded.mnemonic(), Mnemonic::Cmp | Mnemonic::Test)
        && (0..decoded.op_count()).all(|n| decoded.op_kind(n) != OpKind::Memory)
}

/// Copies, the branch with the opposite condition to the head, and a jump out of the loop, in the places from the branch to the jump.
fn apply(function: &mut Function<'_>, b: usize, found: &Found) {
    let (branch, jump) = (found.branch, found.jump);
    let first_of = |block: u32| function.blocks[block as usize].first;
    let (head, exit) = (first_of(found.head), first_of(found.exit));
    let mut contents: Vec<(Inst, Instruction)> = Vec::with_capacity(jump + 1 - branch);
    for i in &found.copies {
        contents.push((function.insts[*i].clone(), function.decoded[*i]));
    }
    // A comparison right before a branch is one with it in the machine.
    let mut start = branch;
    let before = (function.blocks[b].first as usize..branch).rev().find(|i| function.insts[*i].change != Change::Delete);
    if let Some(compare) = before.filter(|i| is_comparison(function, *i)) {
        let inst = &function.insts[compare];
        if found.copies.iter().all(|c| function.insts[*c].writes & inst.reads == 0) {
            contents.push((inst.clone(), function.decoded[compare]));
            start = compare;
        }
    }
    let mut turned = function.insts[branch].clone();
    turned.flow = Flow::Branch(head);
    turned.condition ^= 1;
    let mut leave = function.insts[jump].clone();
    leave.flow = Flow::Jump(exit);
    let turned_at = jump - 1;
    let (turned_code, leave_code) = (function.decoded[branch], function.decoded[jump]);
    // What is between the last copy and the branch is gone.
    let place = |function: &mut Function<'_>, at: usize, mut inst: Inst, decoded: Instruction| {
        // Bytes that stay are those of where it was.
        if inst.change == Change::Keep && matches!(inst.flow, Flow::Next) {
            let mut bytes = [0; 15];
            let old = &function.bytes[inst.offset as usize..inst.end() as usize];
            bytes[..old.len()].copy_from_slice(old);
            inst.change = Change::Replace(bytes, inst.len);
        }
        (inst.offset, inst.len) = (function.insts[at].offset, function.insts[at].len);
        function.insts[at] = inst;
        function.decoded[at] = decoded;
    };
    let moved = contents.len();
    for (n, (inst, decoded)) in contents.into_iter().enumerate() {
        place(function, start + n, inst, decoded);
    }
    for i in start + moved..turned_at {
        function.insts[i].change = Change::Delete;
        function.insts[i].flow = Flow::Next;
        (function.insts[i].reads, function.insts[i].writes, function.insts[i].vectors) = (0, 0, 0);
    }
    place(function, turned_at, turned, turned_code);
    place(function, jump, leave, leave_code);
    function.blocks[b].end = jump as u32;
    function.blocks[b + 1].first = jump as u32;
    let (edges, latch) = (function.blocks[b].edges.start as usize, function.blocks[b + 1].edges.start as usize);
    function.edges[edges] = b as u32 + 1;
    function.edges[edges + 1] = found.head;
    function.edges[latch] = found.exit;
}
