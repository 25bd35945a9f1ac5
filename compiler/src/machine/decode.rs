//! Machine code taken apart: instructions with what they read and write, the blocks that they form, jump tables and constants. Whatever
//! is not understood makes the whole function one that is left as it is.

use super::rewrite::effects;
use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, OpKind, Register};

/// A set of general registers by their numbers in instructions, and `FLAGS`.
pub(super) type Registers = u32;

/// The flags, as a member of `Registers`.
pub(super) const FLAGS: Registers = 1 << 16;
pub(super) const RCX: usize = 1;
pub(super) const RDX: usize = 2;
pub(super) const RBX: usize = 3;
pub(super) const RSP: usize = 4;
pub(super) const RBP: usize = 5;
pub(super) const RSI: usize = 6;
pub(super) const RDI: usize = 7;
pub(super) const R15: usize = 15;
/// All general registers.
pub(super) const ALL: Registers = 0xffff;
/// Registers that a callee leaves as they are.
pub(super) const PRESERVED: Registers = 1 << RBX | 1 << RSP | 1 << RBP | 0xf << 12;
/// Registers that arguments travel in.
const ARGUMENTS: Registers = 1 << RDI | 1 << RSI | 1 << RDX | 1 << RCX | 1 << 8 | 1 << 9;

/// What becomes of an instruction.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It stays as it is; a branch may get a shorter form.
    Keep,
    /// It goes.
    Delete,
    /// These bytes stand in its place.
    Replace([u8; 15], u8),
}

/// How control leaves an instruction.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// To the next one.
    Next,
    /// To the next one, after a call.
    Call,
    /// To an instruction (by index).
    Jump(u32),
    /// To an instruction (by index), or to the next one.
    Branch(u32),
    /// Through a jump table (by index).
    Table(u32),
    /// Out of the function.
    Leave,
    /// Nowhere: a trap.
    Stop,
}

/// An instruction.
#[derive(Clone, Debug)]
pub(super) struct Inst {
    /// Its first byte.
    pub(super) offset: u32,
    pub(super) len: u8,
    pub(super) flow: Flow,
    /// Registers that it reads, wholly or partly, also if it may leave what it writes as it was.
    pub(super) reads: Registers,
    /// Registers that it may change.
    pub(super) writes: Registers,
    /// Vector registers that it may change, by their numbers.
    pub(super) vectors: u16,
    /// The condition of a branch, as in its opcode.
    pub(super) condition: u8,
    /// Where in it the distance to data of the function is; 0 if it has none.
    pub(super) distance: u8,
    /// Whether it is a copy between two general registers (`copy`).
    pub(super) is_copy: bool,
    /// Whether it is a copy of 4 bytes of a register with nothing in the upper half.
    pub(super) copies_all: bool,
    /// Whether there is a reference to a symbol in it.
    pub(super) relocated: bool,
    pub(super) change: Change,
}

impl Inst {
    pub(super) fn end(&self) -> u32 {
        self.offset + u32::from(self.len)
    }
}

/// A sequence of instructions that is entered at its first and left at its last one.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) first: u32,
    /// Behind the last one.
    pub(super) end: u32,
    /// Where its successors are in `Code::edges`.
    pub(super) edges: std::ops::Range<u32>,
    /// Whether it may be entered from where nothing is known: the start of the function, and handlers of exceptions.
    pub(super) root: bool,
}

/// A piece of the function.
#[derive(Copy, Clone, Debug)]
pub(super) enum Piece {
    /// Instructions from one index to before another.
    Code(u32, u32),
    /// A jump table, by index.
    Table(u32),
    /// Bytes from one offset to before another.
    Data(u32, u32),
}

/// A jump table: distances of instructions from its first byte, 4 bytes each.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) offset: u32,
    /// The instructions that it leads to (by index).
    pub(super) targets: Vec<u32>,
}

/// A function's machine code.
pub(super) struct Function<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) insts: Vec<Inst>,
    /// The instructions as the decoder gives them.
    pub(super) decoded: Vec<Instruction>,
    pub(super) pieces: Vec<Piece>,
    pub(super) tables: Vec<Table>,
    pub(super) blocks: Vec<Block>,
    pub(super) edges: Vec<u32>,
    /// Whether the pinned register holds something.
    pub(super) pinned: bool,
    /// Where the slots of the frame that addresses may be taken of end, from the stack pointer.
    pub(super) slots_end: i32,
    /// Returns of calls with a handler, sorted.
    pub(super) catching: Vec<u32>,
}

impl Function<'_> {
    /// The blocks that follow one.
    pub(super) fn successors(&self, block: &Block) -> &[u32] {
        self.edges.get(block.edges.start as usize..block.edges.end as usize).unwrap_or_default()
    }

    /// Whether an instruction is a call that an exception may leave to a handler.
    pub(super) fn is_catching(&self, inst: &Inst) -> bool {
        inst.flow == Flow::Call && self.catching.binary_search(&inst.end()).is_ok()
    }
}

/// A function's machine code, and what is known of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Input<'a> {
    pub(super) bytes: &'a [u8],
    /// Where blocks begin, in any order; those that only a branch leads to may be missing.
    pub(super) starts: Vec<u32>,
    /// Where references to symbols are, in any order.
    pub(super) relocations: Vec<u32>,
    /// Returns of calls and where exceptions that leave these go.
    pub(super) handlers: Vec<(u32, u32)>,
    /// As in `Function`.
    pub(super) slots_end: i32,
    pub(super) pinned: bool,
}

/// Takes a function apart.
pub(super) fn decode<'a>(input: &Input<'a>) -> Option<Function<'a>> {
    let roots: Vec<u32> = input.handlers.iter().map(|h| h.1).collect();
    let mut catching: Vec<u32> = input.handlers.iter().map(|h| h.0).collect();
    catching.sort_unstable();
    let mut starts: Vec<u32> = input.starts.iter().chain(&roots).copied().collect();
    starts.sort_unstable();
    let mut relocated = input.relocations.clone();
    relocated.sort_unstable();
    let mut function = Function {
        bytes: input.bytes,
        insts: Vec::with_capacity(input.bytes.len() / 4),
        decoded: Vec::with_capacity(input.bytes.len() / 4),
        pieces: Vec::new(),
        tables: Vec::new(),
        blocks: Vec::new(),
        edges: Vec::new(),
        pinned: input.pinned,
        slots_end: input.slots_end,
        catching,
    };
    // A block that became empty is not among those that are known, but what it ran into may be reached by a branch.
    for _ in 0..ATTEMPTS {
        function.instructions(&starts, &relocated)?;
        let unknown = function.unknown_targets();
        if unknown.is_empty() {
            break;
        }
        starts.extend(unknown);
        starts.sort_unstable();
    }
    function.references()?;
    function.blocks(&roots)?;
    Some(function)
}

/// How often a function is decoded, each time with more of its blocks known.
const ATTEMPTS: usize = 4;

/// The number of a general register, whatever part of it.
pub(super) fn number(register: Register) -> Option<usize> {
    register.is_gpr().then(|| register.full_register().number())
}

impl Function<'_> {
    fn instructions(&mut self, starts: &[u32], relocated: &[u32]) -> Option<()> {
        let bytes = self.bytes;
        self.insts.clear();
        self.decoded.clear();
        self.pieces.clear();
        let mut decoder = Decoder::new(64, bytes, DecoderOptions::NONE);
        let mut facts = InstructionInfoFactory::new();
        let mut at = 0usize;
        let mut relocations = relocated.iter().copied().peekable();
        let mut decoded = Instruction::new();
        loop {
            // Code up to an instruction that is not followed by another.
            let first = self.insts.len() as u32;
            decoder.set_position(at).ok()?;
            decoder.set_ip(at as u64);
            loop {
                if !decoder.can_decode() {
                    return None;
                }
                decoder.decode_out(&mut decoded);
                if decoded.is_invalid() {
                    return None;
                }
                let mut inst = self.effects(&mut facts, &decoded)?;
                while relocations.next_if(|r| *r < inst.offset).is_some() {}
                if let Flow::Branch(_) = inst.flow {
                    // The low half of the last byte of the opcode.
                    inst.condition = bytes.get(if inst.len == 2 { at } else { at + 1 })? & 0xf;
                }
                if decoded.is_ip_rel_memory_operand() {
                    inst.distance = decoder.get_constant_offsets(&decoded).displacement_offset() as u8;
                }
                inst.relocated = relocations.peek().is_some_and(|r| *r < inst.end());
                at = inst.end() as usize;
                let ends = matches!(inst.flow, Flow::Jump(_) | Flow::Leave | Flow::Stop);
                self.insts.push(inst);
                self.decoded.push(decoded);
                if ends {
                    break;
                }
            }
            self.pieces.push(Piece::Code(first, self.insts.len() as u32));
            // What lies before the next start is no code.
            let next = match starts.get(starts.partition_point(|s| (*s as usize) < at)) {
                Some(start) => *start as usize,
                None => bytes.len(),
            };
            if next > at {
                self.pieces.push(Piece::Data(at as u32, next as u32));
            }
            if next >= bytes.len() {
                return Some(());
            }
            at = next;
        }
    }

    /// What an instruction reads and writes, and where it leads: branches to offsets for now.
    fn effects(&self, facts: &mut InstructionInfoFactory, decoded: &Instruction) -> Option<Inst> {
        let mut inst = Inst {
            offset: decoded.ip() as u32,
            len: decoded.len() as u8,
            flow: Flow::Next,
            reads: 0,
            writes: 0,
            vectors: 0,
            condition: 0,
            distance: 0,
            is_copy: copy(decoded).is_some(),
            copies_all: false,
            relocated: false,
            change: Change::Keep,
        };
        (inst.reads, inst.writes, inst.vectors) = effects(facts, decoded);
        match decoded.flow_control() {
            FlowControl::Next => {}
            FlowControl::UnconditionalBranch => inst.flow = Flow::Jump(u32::try_from(decoded.near_branch_target()).unwrap_or(u32::MAX)),
            FlowControl::ConditionalBranch if decoded.is_jcc_short_or_near() => {
                inst.flow = Flow::Branch(u32::try_from(decoded.near_branch_target()).unwrap_or(u32::MAX));
            }
            FlowControl::Call | FlowControl::IndirectCall => {
                inst.flow = Flow::Call;
                inst.reads |= ARGUMENTS | if self.pinned { 1 << R15 } else { 0 };
                inst.writes |= ALL & !PRESERVED | FLAGS | if self.pinned { 1 << R15 } else { 0 };
                inst.vectors = u16::MAX;
            }
            FlowControl::IndirectBranch | FlowControl::Return => {
                inst.flow = Flow::Leave;
                inst.reads |= ALL;
            }
            FlowControl::Exception => {
                inst.flow = Flow::Stop;
                inst.reads |= 1 << RSP | 1 << RBP | if self.pinned { 1 << R15 } else { 0 };
            }
            _ => return None,
        }
        // String instructions are in no function.
        (!decoded.has_rep_prefix() && !decoded.has_repne_prefix()).then_some(inst)
    }

    /// The index of the instruction at an offset.
    fn at(&self, offset: u32) -> Option<u32> {
        self.insts.binary_search_by_key(&offset, |i| i.offset).ok().map(|i| i as u32)
    }

    /// Targets of branches in what was taken for data.
    fn unknown_targets(&self) -> Vec<u32> {
        let targets = self.insts.iter().filter(|i| !i.relocated).filter_map(|i| match i.flow {
            Flow::Jump(target) | Flow::Branch(target) => Some(target),
            _ => None,
        });
        let is_data = |t: &u32| self.pieces.iter().any(|p| matches!(p, Piece::Data(start, end) if (start..end).contains(&t)));
        targets.filter(|t| self.at(*t).is_none()).filter(is_data).collect()
    }

    /// Finds what branches and addresses lead to, and the jump tables.
    fn references(&mut self) -> Option<()> {
        // Addresses of data; code has none.
        let mut addressed: Vec<u32> = Vec::new();
        for (inst, decoded) in self.insts.iter().zip(&self.decoded) {
            if decoded.is_ip_rel_memory_operand() && !inst.relocated {
                addressed.push(u32::try_from(decoded.ip_rel_memory_address()).ok().filter(|a| (*a as usize) < self.bytes.len())?);
            }
        }
        addressed.sort_unstable();
        addressed.dedup();
        let mut pieces = Vec::with_capacity(self.pieces.len());
        for piece in std::mem::take(&mut self.pieces) {
            let Piece::Data(start, end) = piece else {
                pieces.push(piece);
                continue;
            };
            let from = addressed.partition_point(|a| *a < start);
            let to = addressed.partition_point(|a| *a < end);
            let inside = addressed.get(from..to)?;
            let mut rest = start;
            // A jump table follows the jump through it.
            let jump = self.insts.partition_point(|i| i.offset < start).checked_sub(1)?;
            let is_table = self.insts[jump].end() == start
                && self.insts[jump].flow == Flow::Leave
                && self.decoded[jump].code() == Code::Jmp_rm64
                && self.decoded[jump].op0_kind() == OpKind::Register
                && inside.first() == Some(&start);
            if is_table {
                let limit = inside.get(1).copied().unwrap_or(end);
                let mut targets = Vec::new();
                while rest + 4 <= limit {
                    let word: [u8; 4] = self.bytes.get(rest as usize..rest as usize + 4)?.try_into().ok()?;
                    let target = i64::from(start) + i64::from(i32::from_le_bytes(word));
                    // Behind the last entry there can be bytes that align a constant.
                    let Some(target) = u32::try_from(target).ok().and_then(|t| self.at(t)) else { break };
                    targets.push(target);
                    rest += 4;
                }
                if targets.is_empty() || rest + 64 < limit {
                    return None;
                }
                let table = self.tables.len() as u32;
                self.insts[jump].flow = Flow::Table(table);
                self.insts[jump].reads &= number(self.decoded[jump].op0_register()).map_or(0, |n| 1 << n);
                self.tables.push(Table { offset: start, targets });
                pieces.push(Piece::Table(table));
            }
            if rest < end {
                pieces.push(Piece::Data(rest, end));
            }
        }
        // Whatever is addressed must be data, or the start of a table.
        let is_data = |a: u32| {
            pieces.iter().any(|p| match *p {
                Piece::Data(start, end) => (start..end).contains(&a),
                Piece::Table(t) => self.tables[t as usize].offset == a,
                Piece::Code(..) => false,
            })
        };
        if !addressed.iter().all(|a| is_data(*a)) {
            return None;
        }
        self.pieces = pieces;
        for i in 0..self.insts.len() {
            let flow = match self.insts[i].flow {
                // A jump to a symbol is a tail call.
                Flow::Jump(_) if self.insts[i].relocated => {
                    self.insts[i].reads |= ALL;
                    Flow::Leave
                }
                Flow::Jump(target) => Flow::Jump(self.at(target)?),
                Flow::Branch(_) if self.insts[i].relocated => return None,
                Flow::Branch(target) => Flow::Branch(self.at(target)?),
                other => other,
            };
            self.insts[i].flow = flow;
        }
        Some(())
    }

    fn blocks(&mut self, roots: &[u32]) -> Option<()> {
        // A handler may need whatever there is.
        for i in 0..self.insts.len() {
            if self.is_catching(&self.insts[i]) {
                self.insts[i].reads |= ALL;
            }
        }
        let count = self.insts.len();
        // 1: a block begins here; 2: nothing is known there.
        let mut marks = vec![0u8; count + 1];
        *marks.first_mut()? = 3;
        for root in roots {
            marks[self.at(*root)? as usize] = 3;
        }
        for (i, inst) in self.insts.iter().enumerate() {
            match inst.flow {
                Flow::Next | Flow::Call => {}
                Flow::Jump(target) | Flow::Branch(target) => {
                    marks[target as usize] |= 1;
                    marks[i + 1] |= 1;
                }
                Flow::Table(_) | Flow::Leave | Flow::Stop => marks[i + 1] |= 1,
            }
        }
        for table in &self.tables {
            for target in &table.targets {
                marks[*target as usize] |= 1;
            }
        }
        let firsts: Vec<u32> = (0..count as u32).filter(|i| marks[*i as usize] != 0).collect();
        let mut of = vec![0u32; count];
        for (b, first) in firsts.iter().enumerate() {
            let end = firsts.get(b + 1).copied().unwrap_or(count as u32);
            of[*first as usize..end as usize].fill(b as u32);
        }
        for (b, first) in firsts.iter().enumerate() {
            let end = firsts.get(b + 1).copied().unwrap_or(count as u32);
            let start = self.edges.len() as u32;
            let last = &self.insts[end as usize - 1];
            // Code never runs into a table or constants.
            let next = || (end < count as u32 && self.insts[end as usize].offset == last.end()).then_some(b as u32 + 1);
            match last.flow {
                Flow::Next | Flow::Call => self.edges.push(next()?),
                Flow::Jump(target) => self.edges.push(of[target as usize]),
                Flow::Branch(target) => {
                    self.edges.push(next()?);
                    self.edges.push(of[target as usize]);
                }
                Flow::Table(table) => {
                    let mut targets: Vec<u32> = self.tables[table as usize].targets.iter().map(|t| of[*t as usize]).collect();
                    targets.sort_unstable();
                    targets.dedup();
                    self.edges.extend(targets);
                }
                Flow::Leave | Flow::Stop => {}
            }
            self.blocks.push(Block { first: *first, end, edges: start..self.edges.len() as u32, root: marks[*first as usize] & 2 != 0 });
        }
        Some(())
    }
}

/// The number of a vector register, of which 16 bytes are looked at; the code generator uses 16 of them.
pub(super) fn vector_number(register: Register) -> Option<usize> {
    (register.is_vector_register() && register.number() < 16).then(|| register.number())
}

/// Whether an instruction is a copy of 16 bytes between two vector registers: target and source.
pub(super) fn vector_copy(decoded: &Instruction) -> Option<(usize, usize)> {
    if !is_whole_vector(decoded) || decoded.op0_kind() != OpKind::Register || decoded.op1_kind() != OpKind::Register {
        return None;
    }
    Some((vector_number(decoded.op0_register())?, vector_number(decoded.op1_register())?))
}

/// Whether an instruction moves 16 bytes from or to a vector register and does nothing else.
pub(super) fn is_whole_vector(decoded: &Instruction) -> bool {
    use Code as C;
    matches!(
        decoded.code(),
        C::Movdqu_xmm_xmmm128
            | C::Movdqu_xmmm128_xmm
            | C::Movdqa_xmm_xmmm128
            | C::Movdqa_xmmm128_xmm
            | C::Movups_xmm_xmmm128
            | C::Movups_xmmm128_xmm
            | C::Movaps_xmm_xmmm128
            | C::Movaps_xmmm128_xmm
            | C::Movupd_xmm_xmmm128
            | C::Movupd_xmmm128_xmm
            | C::Movapd_xmm_xmmm128
            | C::Movapd_xmmm128_xmm
            | C::VEX_Vmovdqu_xmm_xmmm128
            | C::VEX_Vmovdqu_xmmm128_xmm
            | C::VEX_Vmovdqa_xmm_xmmm128
            | C::VEX_Vmovdqa_xmmm128_xmm
            | C::VEX_Vmovups_xmm_xmmm128
            | C::VEX_Vmovups_xmmm128_xmm
            | C::VEX_Vmovaps_xmm_xmmm128
            | C::VEX_Vmovaps_xmmm128_xmm
    )
}

/// Whether an instruction is a copy between two general registers of 8 bytes (`true`) or 4 (`false`): target and source.
pub(super) fn copy(decoded: &Instruction) -> Option<(usize, usize, bool)> {
    let wide = match decoded.code() {
        Code::Mov_rm64_r64 | Code::Mov_r64_rm64 => true,
        Code::Mov_rm32_r32 | Code::Mov_r32_rm32 => false,
        _ => return None,
    };
    if decoded.op0_kind() != OpKind::Register || decoded.op1_kind() != OpKind::Register {
        return None;
    }
    Some((number(decoded.op0_register())?, number(decoded.op1_register())?, wide))
}
