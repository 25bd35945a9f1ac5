//! What registers hold at each place: a word of the frame that has the same value, and whether the upper half is zero. With that, reads of a
//! word that a register still has, copies of a register's lower half to itself and writes of what the frame already has are taken out.
//!
//! The register allocator splits the range of a value where registers are short and reads it back at each use; it does not look whether another
//! piece of the range, which ends there, is still in a register. An interpreter written in C reads the base of its memory for every operation so.

use super::decode::{
    ALL, Change, Flow, Function, Inst, PRESERVED, R15, RBP, RSP, Registers, copy, is_whole_vector, number, vector_copy, vector_number,
};
use super::rewrite::wide;
use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};

/// No word.
const NONE: u16 = u16::MAX;
/// Functions with more words than this keep their reads.
const MAX_WORDS: usize = 4096;

/// Registers that may hold words: the general ones, and from here on the vector registers.
const VECTORS: usize = 16;
const REGISTERS: usize = 32;
/// A set of them.
type Holders = u32;

/// What is known at a place.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
struct Known {
    /// For each register the word of the frame that it holds.
    word: [u16; REGISTERS],
    /// General registers whose upper halves are zero.
    short: Registers,
}

impl Known {
    const NOTHING: Self = Self { word: [NONE; REGISTERS], short: 0 };

    /// What holds here and there.
    fn join(&mut self, other: &Self) -> bool {
        let before = *self;
        for (a, b) in self.word.iter_mut().zip(&other.word) {
            if a != b {
                *a = NONE;
            }
        }
        self.short &= other.short;
        *self != before
    }

    fn forget(&mut self, registers: Holders) {
        self.forget_words(registers);
        self.short &= !registers;
    }

    fn forget_words(&mut self, mut registers: Holders) {
        while registers != 0 {
            self.word[registers.trailing_zeros() as usize] = NONE;
            registers &= registers - 1;
        }
    }

    fn forget_word(&mut self, word: u16) {
        for w in &mut self.word {
            if *w == word {
                *w = NONE;
            }
        }
    }

    fn write(&mut self, written: Written) {
        let Written { unknown, short, partly, vectors } = written;
        self.forget_words(Holders::from(unknown | short | partly) | Holders::from(vectors) << VECTORS);
        self.short = self.short & !Registers::from(unknown) | Registers::from(short);
    }

    fn holder(&self, word: u16) -> Option<usize> {
        self.word.iter().position(|w| *w == word)
    }
}

/// What an instruction does with a word of the frame.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Access {
    /// Reads it into a register.
    Load { register: usize, word: u16 },
    /// Writes a register to it.
    Store { register: usize, word: u16 },
    /// Copies a register, of 8 bytes or more if `wide`.
    Copy { to: usize, from: usize, wide: bool },
    /// Writes words that lie in a range of the frame, in any way, and registers.
    Clobber { from: i32, to: i32, written: Written },
    /// Nothing of that, but writes registers.
    Other(Written),
    /// A call.
    Call { catching: bool },
}

/// What an instruction leaves of what is known of the registers that it writes.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
struct Written {
    /// Nothing is known of these.
    unknown: u16,
    /// Nothing but that their upper halves are zero.
    short: u16,
    /// Nothing but that, if it was known before.
    partly: u16,
    /// Nothing is known of these vector registers.
    vectors: u16,
}

/// The words of the frame that are only read and written as a whole: place and size, sorted.
#[derive(Default)]
struct Words {
    places: Vec<(i32, i32)>,
}

/// The place and size of what an instruction reads or writes in the frame, if that is all it does there.
fn place(decoded: &Instruction) -> Option<(i32, i32)> {
    if decoded.memory_base() != Register::RSP || decoded.memory_index() != Register::None {
        return None;
    }
    Some((decoded.memory_displacement64() as i64 as i32, i32::try_from(decoded.memory_size().size()).ok()?))
}

fn has_memory(decoded: &Instruction) -> bool {
    decoded.op0_kind() == OpKind::Memory
        || decoded.op1_kind() == OpKind::Memory
        || (2..decoded.op_count()).any(|i| decoded.op_kind(i) == OpKind::Memory)
}

/// A read or a write of a whole register: its number among those that may hold words, its size, and whether it is a write to memory.
fn transfer(decoded: &Instruction) -> Option<(usize, i32, bool)> {
    if is_whole_vector(decoded) {
        return match (decoded.op0_kind(), decoded.op1_kind()) {
            (OpKind::Register, OpKind::Memory) => Some((VECTORS + vector_number(decoded.op0_register())?, 16, false)),
            (OpKind::Memory, OpKind::Register) => Some((VECTORS + vector_number(decoded.op1_register())?, 16, true)),
            _ => None,
        };
    }
    let (register, size, store) = match decoded.code() {
        Code::Mov_r64_rm64 if decoded.op1_kind() == OpKind::Memory => (decoded.op0_register(), 8, false),
        Code::Mov_r32_rm32 if decoded.op1_kind() == OpKind::Memory => (decoded.op0_register(), 4, false),
        Code::Mov_rm64_r64 if decoded.op0_kind() == OpKind::Memory => (decoded.op1_register(), 8, true),
        Code::Mov_rm32_r32 if decoded.op0_kind() == OpKind::Memory => (decoded.op1_register(), 4, true),
        _ => return None,
    };
    Some((number(register)?, size, store))
}

impl Words {
    /// `None` if the address of a part of the frame is taken, so that it may be read and written by other means. What is in slots for stack is
    /// left out then; an address in one does not lead out of them.
    fn find(function: &Function<'_>) -> Option<Self> {
        // Places and sizes, negative if that is no word of a register.
        let mut uses: Vec<(i32, i32)> = Vec::new();
        let mut lowest = i32::MIN;
        for (inst, decoded) in function.insts.iter().zip(&function.decoded) {
            if !has_memory(decoded) || inst.relocated {
                // An address in a register.
                if inst.reads & (1 << RSP | 1 << RBP) != 0 && inst.writes & ALL & !(1 << RSP | 1 << RBP) != 0 && inst.flow == Flow::Next {
                    return None;
                }
                continue;
            }
            // What the caller left on the stack is above the frame.
            let below = (decoded.memory_displacement64() as i64) < 0;
            if decoded.memory_base() == Register::RBP && (below || decoded.code() == Code::Lea_r64_m)
                || decoded.memory_index() == Register::RBP
            {
                return None;
            }
            if decoded.memory_base() == Register::RSP || decoded.memory_index() == Register::RSP {
                let (at, size) = place(decoded)?;
                if decoded.code() == Code::Lea_r64_m && at < function.slots_end {
                    lowest = function.slots_end;
                    continue;
                }
                if size == 0 || decoded.mnemonic() == Mnemonic::Lea {
                    return None;
                }
                let size = if transfer(decoded).is_some_and(|(_, s, _)| s == size) { size } else { -size };
                uses.push((at, size));
            }
        }
        uses.sort_unstable();
        // Of each place the size, negative if it is used in several ways.
        let mut all: Vec<(i32, i32)> = Vec::with_capacity(uses.len());
        for (at, size) in uses {
            match all.last_mut() {
                Some((last, s)) if *last == at => *s = if *s == size { size } else { -s.abs().max(size.abs()) },
                _ => all.push((at, size)),
            }
        }
        let mut words = Self::default();
        let mut end = i32::MIN;
        for (i, &(at, size)) in all.iter().enumerate() {
            let alone = at >= end && all.get(i + 1).is_none_or(|(next, _)| *next >= at + size.abs());
            end = end.max(at + size.abs());
            if size > 0 && alone && at >= lowest && words.places.len() < MAX_WORDS {
                words.places.push((at, size));
            }
        }
        Some(words)
    }

    fn access(&self, function: &Function<'_>, inst: &Inst, decoded: &Instruction) -> Access {
        if inst.flow == Flow::Call {
            return Access::Call { catching: function.is_catching(inst) };
        }
        if inst.is_copy
            && let Some((to, from, wide)) = copy(decoded)
        {
            return Access::Copy { to, from, wide };
        }
        if let Some((to, from)) = vector_copy(decoded) {
            return Access::Copy { to: VECTORS + to, from: VECTORS + from, wide: true };
        }
        if decoded.memory_base() == Register::RSP
            && inst.flow == Flow::Next
            && has_memory(decoded)
            && let Some((at, size)) = place(decoded)
        {
            let word = self.places.binary_search_by_key(&at, |p| p.0).ok();
            return match (transfer(decoded), word) {
                (Some((register, _, true)), Some(word)) => Access::Store { register, word: word as u16 },
                (Some((register, _, false)), Some(word)) => Access::Load { register, word: word as u16 },
                _ => Access::Clobber { from: at, to: at + size, written: written(inst, decoded) },
            };
        }
        Access::Other(written(inst, decoded))
    }

    fn size(&self, word: u16) -> i32 {
        self.places.get(usize::from(word)).map_or(0, |p| p.1)
    }
}

/// What is known of the words, wherever they are read.
struct Shorts {
    /// Words of 8 bytes into which only registers with an upper half of zero are written.
    short: Vec<bool>,
    /// Words that were read as such.
    used: Vec<bool>,
    /// Whether one of them is not.
    changed: bool,
}

impl Shorts {
    /// Whether the upper half of a word that is read is zero.
    fn read(&mut self, word: u16) -> bool {
        let short = self.short.get(usize::from(word)).copied().unwrap_or(false);
        if let Some(used) = self.used.get_mut(usize::from(word)).filter(|_| short) {
            *used = true;
        }
        short
    }

    /// Something else is written to a word.
    fn write(&mut self, word: u16) {
        if let (Some(short), Some(used)) = (self.short.get_mut(usize::from(word)), self.used.get(usize::from(word))) {
            self.changed |= *short && *used;
            *short = false;
        }
    }
}

/// What holds after an instruction.
fn step(function: &Function<'_>, words: &Words, shorts: &mut Shorts, known: &mut Known, access: Access) {
    let pinned = if function.pinned { 1 << R15 } else { 0 };
    match access {
        Access::Copy { to, from, wide } => {
            let short = from < VECTORS && known.short >> from & 1 != 0;
            let word = if wide || short { known.word[from] } else { NONE };
            known.forget(1 << to);
            known.word[to] = word;
            if short || !wide {
                known.short |= 1 << to;
            }
        }
        Access::Load { register, word } => {
            known.forget(1 << register);
            known.word[register] = word;
            let size = words.size(word);
            if register < VECTORS && (size == 4 || shorts.read(word)) {
                known.short |= 1 << register;
            }
        }
        Access::Store { register, word } => {
            let short = register < VECTORS && known.short >> register & 1 != 0;
            let size = words.size(word);
            // What already holds the word's new value keeps holding it.
            if known.word[register] != word || (size == 4 && !short) {
                known.forget_word(word);
                // Half of a register is not what a read would give, unless the rest is zero.
                if size >= 8 || short {
                    known.word[register] = word;
                }
            }
            if size == 8 && !short {
                shorts.write(word);
            }
        }
        Access::Clobber { from, to, written } => {
            known.write(written);
            let first = words.places.partition_point(|(at, size)| at + size <= from);
            for (word, (at, _)) in words.places.iter().enumerate().skip(first) {
                if *at >= to {
                    break;
                }
                known.forget_word(word as u16);
            }
        }
        Access::Other(written) => {
            known.write(written);
            // The stack pointer only moves where a frame begins and ends, and behind a callee that took its arguments with it.
            if written.unknown >> RSP & 1 != 0 {
                known.word = [NONE; REGISTERS];
            }
        }
        Access::Call { catching: true } => *known = Known::NOTHING,
        Access::Call { catching: false } => known.forget(!PRESERVED),
    }
    known.forget(pinned);
}

/// What an instruction leaves of what is known of the registers that it writes.
fn written(inst: &Inst, decoded: &Instruction) -> Written {
    let mut written = Written { unknown: (inst.writes & ALL) as u16, vectors: inst.vectors, ..Written::default() };
    if decoded.op_count() == 0 || decoded.op0_kind() != OpKind::Register {
        return written;
    }
    let Some(first) = number(decoded.op0_register()).filter(|n| inst.writes >> n & 1 != 0) else { return written };
    let is_source = matches!(
        decoded.code(),
        Code::Mul_rm32
            | Code::Mul_rm64
            | Code::Imul_rm32
            | Code::Imul_rm64
            | Code::Div_rm32
            | Code::Div_rm64
            | Code::Idiv_rm32
            | Code::Idiv_rm64
    );
    match decoded.op0_register().size() {
        _ if is_source => {}
        // Without a bit in its source, these leave their target alone, or half of it.
        4 if matches!(decoded.code(), Code::Bsf_r32_rm32 | Code::Bsr_r32_rm32) => {}
        4 => {
            written.short = 1 << first;
            written.unknown &= !(1 << first);
        }
        8 if is_short(decoded) => {
            written.short = 1 << first;
            written.unknown &= !(1 << first);
        }
        // A part of a register does not touch the upper half.
        1 | 2 if inst.reads >> first & 1 != 0 => {
            written.partly = 1 << first;
            written.unknown &= !(1 << first);
        }
        _ => {}
    }
    written
}

/// Whether the upper half of what an instruction writes to a whole register is zero.
fn is_short(decoded: &Instruction) -> bool {
    match decoded.code() {
        Code::Movzx_r64_rm8 | Code::Movzx_r64_rm16 | Code::Popcnt_r64_rm64 | Code::Lzcnt_r64_rm64 | Code::Tzcnt_r64_rm64 => true,
        Code::Mov_r64_imm64 => decoded.immediate64() <= u64::from(u32::MAX),
        Code::Mov_rm64_imm32 | Code::And_rm64_imm32 | Code::And_RAX_imm32 => decoded.immediate32to64() >= 0,
        Code::And_rm64_imm8 => decoded.immediate8to64() >= 0,
        Code::Shr_rm64_imm8 => (32..64).contains(&decoded.immediate8()),
        _ => false,
    }
}

/// What was found of a function, for the other passes.
pub(super) struct Facts {
    /// Words that were read before, and are not any more: what is written to them is lost.
    pub(super) unread: Vec<(i32, i32)>,
}

/// Finds what registers hold, and takes out what that makes superfluous. `None` if that takes too long.
pub(super) fn take_out(function: &mut Function<'_>) -> Option<Facts> {
    let words = &Words::find(function).unwrap_or_default();
    let accesses: Vec<Access> = function.insts.iter().zip(&function.decoded).map(|(i, d)| words.access(function, i, d)).collect();
    let count = words.places.len();
    let mut shorts = Shorts { short: vec![true; count], used: vec![false; count], changed: false };
    let mut at_start: Vec<Option<Known>>;
    loop {
        shorts.changed = false;
        shorts.used.fill(false);
        at_start = states(function, words, &accesses, &mut shorts)?;
        if !shorts.changed {
            break;
        }
    }
    let mut facts = Facts { unread: Vec::new() };
    // Of each word whether it is read still, and whether it was.
    let mut read = vec![(false, false); words.places.len()];
    for (b, known) in at_start.into_iter().enumerate() {
        let (first, end) = (function.blocks[b].first as usize, function.blocks[b].end as usize);
        let mut known = known.unwrap_or(Known::NOTHING);
        for (i, access) in accesses.iter().copied().enumerate().take(end).skip(first) {
            let mut change = Change::Keep;
            let mut shorter = None;
            if !function.insts[i].relocated {
                match access {
                    Access::Load { register, word } => {
                        if known.word[register] == word {
                            change = Change::Delete;
                        } else if let Some(from) = known.holder(word) {
                            shorter = match (register.checked_sub(VECTORS), from.checked_sub(VECTORS)) {
                                (None, None) => Instruction::with2(Code::Mov_rm64_r64, wide(register), wide(from)).ok(),
                                (Some(to), Some(from)) => {
                                    let vector = |n: usize| Register::XMM0 + n as u32;
                                    Instruction::with2(Code::Movaps_xmm_xmmm128, vector(to), vector(from)).ok()
                                }
                                _ => None,
                            };
                        }
                        if let Some((still, was)) = read.get_mut(usize::from(word)) {
                            *still |= change == Change::Keep && shorter.is_none();
                            *was = true;
                        }
                    }
                    Access::Store { register, word }
                        if known.word[register] == word
                            && (words.size(word) >= 8 || register < VECTORS && known.short >> register & 1 != 0) =>
                    {
                        change = Change::Delete;
                    }
                    _ => {}
                }
                if let Access::Copy { to, from, .. } = access
                    && to >= VECTORS
                    && (to == from || known.word[to] != NONE && known.word[to] == known.word[from])
                {
                    change = Change::Delete;
                }
                if let Access::Copy { to, from, wide } = access
                    && to < VECTORS
                    && to != RSP
                    && to != RBP
                    && from != RSP
                {
                    let short = known.short >> from & 1 != 0;
                    function.insts[i].copies_all = short;
                    if (wide || short) && (to == from || known.word[to] != NONE && known.word[to] == known.word[from]) {
                        change = Change::Delete;
                    }
                }
            }
            step(function, words, &mut shorts, &mut known, access);
            function.insts[i].change = change;
            if let Some(copy) = shorter
                && !function.replace(i, copy)
            {
                return None;
            }
        }
    }
    facts.unread = words.places.iter().zip(read).filter(|(_, (still, was))| *was && !*still).map(|(place, _)| *place).collect();
    Some(facts)
}

/// What is known at the start of each block.
fn states(function: &Function<'_>, words: &Words, accesses: &[Access], shorts: &mut Shorts) -> Option<Vec<Option<Known>>> {
    let count = function.blocks.len();
    let mut states: Vec<Option<Known>> = vec![None; count];
    let mut waiting = vec![false; count];
    for (b, block) in function.blocks.iter().enumerate() {
        if block.root {
            states[b] = Some(Known::NOTHING);
            waiting[b] = true;
        }
    }
    // In the order of the code, again and again until nothing changes.
    let mut rounds = 0;
    let mut more = true;
    while more {
        more = false;
        rounds += 1;
        if rounds > MAX_ROUNDS {
            return None;
        }
        for b in 0..count {
            if !std::mem::replace(&mut waiting[b], false) {
                continue;
            }
            let Some(mut known) = states[b] else { continue };
            let block = &function.blocks[b];
            for access in &accesses[block.first as usize..block.end as usize] {
                step(function, words, shorts, &mut known, *access);
            }
            for next in function.successors(block) {
                let next = *next as usize;
                let changed = match &mut states[next] {
                    Some(state) => state.join(&known),
                    state => {
                        *state = Some(known);
                        true
                    }
                };
                if changed {
                    waiting[next] = true;
                    more |= next <= b;
                }
            }
        }
    }
    Some(states)
}

/// More rounds over a function are not made.
const MAX_ROUNDS: usize = 64;
