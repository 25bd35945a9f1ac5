//! What an instruction does to the state. The few that compute addresses, compare, and move words are interpreted; of all others
//! only the memory is checked that they read and write, and what they write is unknown afterwards.

use super::memory::show;
use super::{Next, Prover, Step, defined};
use crate::abi::{R11, RSP};
use crate::state::{Fact, Flags, State};
use crate::value::{Kind, LOW_BYTE, NUMBER, OWN, Sym, TOP, U32, Val, low_half};
use iced_x86::{Code, ConditionCode, FlowControl, Instruction, Mnemonic, OpAccess, OpKind, Register};
use wasmc_environ::limits::STACK_GUARD;

/// Whether an operand is read, written or both.
fn access(a: OpAccess) -> (bool, bool) {
    match a {
        OpAccess::Read | OpAccess::CondRead => (true, false),
        OpAccess::Write | OpAccess::CondWrite => (false, true),
        OpAccess::ReadWrite | OpAccess::ReadCondWrite => (true, true),
        OpAccess::None | OpAccess::NoMemAccess => (false, false),
    }
}

impl Prover<'_> {
    pub(super) fn step(&mut self, s: &mut State, i: &Instruction) -> Step<Next> {
        match i.flow_control() {
            FlowControl::Next => {}
            FlowControl::ConditionalBranch => return self.branch(s, i),
            FlowControl::UnconditionalBranch | FlowControl::IndirectBranch => return self.jump(s, i),
            FlowControl::Return => return self.leave(s, i).map(|()| Next::End),
            FlowControl::Call | FlowControl::IndirectCall => return self.call(s, i),
            FlowControl::Interrupt | FlowControl::XbeginXabortXend | FlowControl::Exception => {
                return Err("instruction that is not used".into());
            }
        }
        if super::allowed::is_odd_form(i) {
            return Err("instruction that is not used".into());
        }
        self.straight(s, i)?;
        Ok(Next::Fall)
    }

    fn straight(&mut self, s: &mut State, i: &Instruction) -> Step {
        use Mnemonic as M;
        let is_gpr = |n: u32| i.op_kind(n) == OpKind::Register && i.op_register(n).is_gpr();
        match i.mnemonic() {
            M::Push => self.push(s, i),
            M::Pop => self.pop(s, i),
            M::Mov if is_gpr(0) || i.op_kind(0) == OpKind::Memory => {
                let value = self.operand(s, i, 1)?;
                self.set(s, i, 0, value)
            }
            M::Movzx | M::Movsx | M::Movsxd => {
                let value = self.operand(s, i, 1)?;
                let bits = operand_size(i, 1) * 8;
                let kind = match (i.mnemonic(), value.kind) {
                    (M::Movzx, kind) => Kind::Max(kind.max().unwrap_or(u64::MAX).min((1u64 << bits) - 1)),
                    // Offsets, of code and of blocks.
                    (M::Movsxd, kind @ (Kind::EntryOffset { .. } | Kind::JumpOffset { .. })) => kind,
                    (_, kind) if kind.max().is_some_and(|m| m < 1 << (bits - 1)) => kind,
                    _ => Kind::Top,
                };
                let zero_extends = i.mnemonic() == M::Movzx && value.sym != 0 && i.op1_kind() == OpKind::Register;
                let sym = if zero_extends { value.sym } else { defined(i, 0) };
                let val = s.with_facts(Val { kind, sym });
                self.set(s, i, 0, val)
            }
            M::Lea => {
                let before = s.regs;
                let address = self.address(s, i)?;
                let kind = self.effective(address);
                let kind = if operand_size(i, 0) == 8 { kind } else { kind.max().filter(|m| *m <= U32).map_or(Kind::Max(U32), |_| kind) };
                let sym = match self.own_function(address) {
                    Some(own) => own,
                    None if address.offset == 0 && address.base.sym != 0 => address.base.sym,
                    None => defined(i, 0),
                };
                self.set(s, i, 0, Val { kind, sym })?;
                self.learn_sum(s, i, address, &before);
                Ok(())
            }
            M::Add | M::Sub if is_gpr(0) => self.sum(s, i),
            M::And | M::Or | M::Xor | M::Shl | M::Shr | M::Imul if is_gpr(0) && i.op_count() == 2 => self.logic(s, i),
            M::Andn => {
                let masked = self.operand(s, i, 2)?;
                let kind = match (operand_size(i, 0), masked.kind.max()) {
                    (4, max) => Kind::Max(max.map_or(U32, |m| m.min(U32))),
                    (_, Some(max)) => Kind::Max(max),
                    _ => Kind::Top,
                };
                s.flags = Flags::Unknown;
                self.set(s, i, 0, Val { kind, sym: defined(i, 0) })
            }
            M::Cmp | M::Test => self.compare(s, i),
            m if super::allowed::is_conditional_move(m) => self.conditional_move(s, i),
            m if super::allowed::is_set(m) => self.set_byte(s, i),
            M::Nop | M::Endbr64 | M::Lfence | M::Mfence | M::Sfence | M::Pause => Ok(()),
            _ => self.other(s, i),
        }
    }

    /// The value of an operand, as wide as the instruction.
    fn operand(&mut self, s: &State, i: &Instruction, n: u32) -> Step<Val> {
        Ok(match i.op_kind(n) {
            OpKind::Register => register(s, i.op_register(n)),
            OpKind::Memory => {
                let size = i.memory_size().size() as i64;
                let address = self.address(s, i)?;
                let mut val = self.read(s, i, address, size)?;
                if val.sym == 0 {
                    val.sym = defined(i, 1);
                }
                val
            }
            _ => {
                let value = i.immediate(n);
                let size = operand_size(i, 0);
                Val { kind: Kind::Const(if size >= 8 { value } else { value & ((1u64 << (8 * size)) - 1) }), sym: 0 }
            }
        })
    }

    /// Writes to an operand.
    fn set(&mut self, s: &mut State, i: &Instruction, n: u32, val: Val) -> Step {
        match i.op_kind(n) {
            OpKind::Register => self.set_register(s, i.op_register(n), val),
            OpKind::Memory => {
                let address = self.address(s, i)?;
                let size = i.memory_size().size() as i64;
                self.write(s, i, address, size, val)
            }
            _ => Ok(()),
        }
    }

    fn set_register(&self, s: &mut State, r: Register, val: Val) -> Step {
        if !r.is_gpr() {
            return Ok(());
        }
        let number = r.full_register().number();
        let val = match r.size() {
            8 => val,
            4 => s.with_facts(low_half(val)),
            // A part of the register: what is above stays.
            n => {
                let mask = (1u64 << (8 * n)) - 1;
                let old = s.regs[number].kind.max();
                let high = matches!(r, Register::AH | Register::BH | Register::CH | Register::DH);
                let kind = old.filter(|m| *m <= U32).map_or(Kind::Top, |m| Kind::Max(m | mask | 0xffff));
                Val { kind, sym: if n == 1 && !high { val.sym } else { 0 } }
            }
        };
        if number == RSP as usize {
            return self.set_stack(s, val);
        }
        s.regs[number] = val;
        Ok(())
    }

    /// Moves the stack pointer: to a place in the frame, and never further from what was written than the guard is wide.
    pub(super) fn set_stack(&self, s: &mut State, val: Val) -> Step {
        let Kind::Stack(at) = val.kind else { return Err(format!("the stack pointer becomes {}", show(val.kind))) };
        if at > self.incoming() {
            return Err("the stack pointer leaves the function's frame".into());
        }
        if i64::from(s.touched) - i64::from(at) > STACK_GUARD as i64 {
            return Err("the stack grows by more than its guard without being touched".into());
        }
        s.regs[RSP as usize] = val;
        // What is below may be overwritten at any time.
        let gone = s.slots.partition_point(|slot| slot.at < at);
        if gone != 0 {
            std::sync::Arc::make_mut(&mut s.slots).drain(..gone);
        }
        Ok(())
    }

    fn push(&mut self, s: &mut State, i: &Instruction) -> Step {
        if i.op_kind(0) != OpKind::Register || i.op_register(0).size() != 8 {
            return Err("instruction that is not used".into());
        }
        let val = register(s, i.op_register(0));
        let at = s.rsp().ok_or("the place of the stack pointer is not known")? - 8;
        self.set_stack(s, Val { kind: Kind::Stack(at), sym: 0 })?;
        s.set_slot(at, 8, val);
        s.touched = s.touched.min(at);
        Ok(())
    }

    fn pop(&mut self, s: &mut State, i: &Instruction) -> Step {
        if i.op_kind(0) != OpKind::Register || i.op_register(0).size() != 8 {
            return Err("instruction that is not used".into());
        }
        let at = s.rsp().ok_or("the place of the stack pointer is not known")?;
        let val = s.slot(at, 8);
        self.set_stack(s, Val { kind: Kind::Stack(at + 8), sym: 0 })?;
        self.set_register(s, i.op_register(0), val)
    }

    fn sum(&mut self, s: &mut State, i: &Instruction) -> Step {
        let (left, right) = (self.operand(s, i, 0)?, self.operand(s, i, 1)?);
        let wide = operand_size(i, 0) == 8;
        let subtract = i.mnemonic() == Mnemonic::Sub;
        let own = match (subtract, left.kind, right.kind) {
            (_, Kind::VmCtx(_) | Kind::Heap { .. }, Kind::Const(c)) => {
                let offset = if subtract { (c as i64).wrapping_neg() } else { c as i64 };
                self.own_function(super::memory::Address { base: left, offset })
            }
            _ => None,
        };
        let kind = match (subtract, right.kind) {
            (false, _) => self.add(left, right),
            (true, Kind::Const(c)) => self.offset(left.kind, (c as i64).wrapping_neg()),
            (true, _) => Kind::Top,
        };
        let kind = match wide {
            true => kind,
            false => Kind::Max(kind.max().filter(|m| *m <= U32).unwrap_or(U32)),
        };
        s.flags = match right.kind {
            Kind::Const(c)
                if wide
                    && !subtract
                    && let Kind::Const(l) = left.kind =>
            {
                Flags::Carry(l.checked_add(c).is_none())
            }
            Kind::Const(c) if wide && !subtract => Flags::Add { of: left.sym, add: c },
            _ => Flags::Unknown,
        };
        self.set(s, i, 0, Val { kind, sym: own.unwrap_or(defined(i, 0)) })?;
        if wide && self.has_checks() && i.op0_kind() == OpKind::Register && !subtract {
            self.learn_parts(s, defined(i, 0), left, right);
        }
        Ok(())
    }

    /// Whether accesses rely on checks, which are on sums.
    fn has_checks(&self) -> bool {
        (0..self.program.module.memories.len() as u32).any(|m| !self.is_static(m))
    }

    /// Remembers that a value is a sum.
    fn learn_parts(&self, s: &mut State, sum: Sym, left: Val, right: Val) {
        let is_half = |v: Val| v.kind.max().is_some_and(|m| m <= U32);
        match (left.kind, right.kind) {
            (_, Kind::Const(add)) if left.sym != 0 => {
                let exact = left.kind.max().is_some_and(|m| m.checked_add(add).is_some());
                s.learn(Fact::Plus { sum, of: left.sym, add, exact });
            }
            _ if left.sym != 0 && right.sym != 0 && is_half(left) && is_half(right) => s.learn(Fact::Sum(sum, left.sym, right.sym)),
            _ => {}
        }
    }

    /// The same for what `lea` computes.
    fn learn_sum(&self, s: &mut State, i: &Instruction, address: super::memory::Address, before: &[Val; 16]) {
        if !self.has_checks() || operand_size(i, 0) != 8 || i.is_ip_rel_memory_operand() {
            return;
        }
        let base = before[i.memory_base().number() & 15];
        match i.memory_index() {
            Register::None if i.memory_base().is_gpr64() => {
                let add = Val { kind: Kind::Const(address.offset as u64), sym: 0 };
                self.learn_parts(s, defined(i, 0), base, add);
            }
            index if i.memory_base().is_gpr64() && i.memory_index_scale() == 1 && i.memory_displacement64() == 0 => {
                self.learn_parts(s, defined(i, 0), base, before[index.number() & 15]);
            }
            _ => {}
        }
    }

    /// A byte that says whether a condition holds.
    fn set_byte(&mut self, s: &mut State, i: &Instruction) -> Step {
        let implied = s.implied(i.condition_code()).unwrap_or_default();
        self.set(s, i, 0, Val { kind: Kind::Max(1), sym: defined(i, 0) })?;
        if i.op0_kind() != OpKind::Register || !self.has_checks() {
            return Ok(());
        }
        let byte = defined(i, 0) | LOW_BYTE;
        for f in implied {
            match f {
                Fact::InMemory(a, memory, extent) if extent < OWN => s.learn(Fact::IfInMemory(byte, a, NUMBER | extent, memory)),
                Fact::AtMost(a, n) => s.learn(Fact::IfAtMost(byte, a, NUMBER, n)),
                Fact::SumInMemory(a, b, memory) => s.learn(Fact::IfInMemory(byte, a, b, memory)),
                Fact::SumAtMost(a, b, n) => s.learn(Fact::IfAtMost(byte, a, b, n)),
                _ => {}
            }
        }
        Ok(())
    }

    fn logic(&mut self, s: &mut State, i: &Instruction) -> Step {
        use Mnemonic as M;
        let (left, right) = (self.operand(s, i, 0)?, self.operand(s, i, 1)?);
        let same = i.op_kind(1) == OpKind::Register
            && (i.op_register(0) == i.op_register(1)
                || operand_size(i, 0) >= 4
                    && (left.sym != 0 && left.sym == right.sym || matches!(left.kind, Kind::Const(_)) && left.kind == right.kind));
        let bits = 8 * operand_size(i, 0) as u64;
        let narrow = if bits >= 64 { u64::MAX } else { (1u64 << bits) - 1 };
        let (l, r) = (left.kind.max(), right.kind.max());
        let constant = match right.kind {
            Kind::Const(c) => Some(c & (bits - 1).max(31)),
            _ => None,
        };
        let kind = match i.mnemonic() {
            M::Xor if same => Kind::Const(0),
            M::And => match (l, r) {
                (Some(a), Some(b)) => Kind::Max(a.min(b)),
                (Some(a), None) | (None, Some(a)) => Kind::Max(a),
                _ => Kind::Top,
            },
            M::Or | M::Xor => match (l, r) {
                (Some(a), Some(b)) if a.max(b) < 1 << 62 => Kind::Max((a.max(b) + 1).next_power_of_two() - 1),
                _ => Kind::Top,
            },
            M::Shr => constant
                .and_then(|c| u32::try_from(c).ok())
                .map_or(Kind::Top, |c| Kind::Max(l.unwrap_or(narrow).checked_shr(c).unwrap_or(0))),
            M::Shl if bits == 64 => match constant {
                Some(c @ 1..=3) => self.scaled(left, 1 << c),
                Some(c) => l.filter(|m| c < 32 && *m <= U32).map_or(Kind::Top, |m| Kind::Max(m << c)),
                None => Kind::Top,
            },
            _ => Kind::Top,
        };
        let kind = if bits == 64 { kind } else { Kind::Max(kind.max().filter(|m| *m <= narrow).unwrap_or(narrow)) };
        let kind = if i.mnemonic() == M::Xor && same { Kind::Const(0) } else { kind };
        s.flags = Flags::Unknown;
        self.set(s, i, 0, Val { kind, sym: defined(i, 0) })
    }

    fn compare(&mut self, s: &mut State, i: &Instruction) -> Step {
        let (left, right) = (self.operand(s, i, 0)?, self.operand(s, i, 1)?);
        let size = operand_size(i, 0).max(operand_size(i, 1));
        let zero = Val { kind: Kind::Const(0), sym: 0 };
        let same = i.op_kind(1) == OpKind::Register && i.op0_kind() == OpKind::Register && i.op_register(0) == i.op_register(1);
        s.flags = match i.mnemonic() {
            Mnemonic::Test if size < 4 && same && matches!(left.kind, Kind::Const(_)) => Flags::Compare { left, right: zero },
            Mnemonic::Test if size == 1 && left.sym != 0 && right.sym != 0 => Flags::Both(left.sym, right.sym),
            _ if size < 4 => Flags::Unknown,
            Mnemonic::Cmp => Flags::Compare { left, right },
            _ if same => Flags::Compare { left, right: zero },
            _ => Flags::Unknown,
        };
        Ok(())
    }

    fn conditional_move(&mut self, s: &mut State, i: &Instruction) -> Step {
        let (old, new) = (self.operand(s, i, 0)?, self.operand(s, i, 1)?);
        let (kept, moved) = (s.assuming(old, negated(i.condition_code())), s.assuming(new, i.condition_code()));
        let program = self.program;
        let val = match (kept, moved) {
            (Some(a), Some(b)) if a.sym == b.sym && a.sym != 0 => a,
            (Some(a), Some(b)) => Val {
                kind: self.select(s, a.kind, b.kind).unwrap_or_else(|| a.kind.join(b.kind, false, |x, y| program.is_subtype(x, y))),
                sym: defined(i, 0),
            },
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => TOP,
        };
        let val = Val { sym: if val.sym == 0 { defined(i, 0) } else { val.sym }, ..val };
        self.set(s, i, 0, val)?;
        // The greater of two.
        if let Flags::Compare { left, right } = s.flags
            && matches!(i.condition_code(), ConditionCode::a | ConditionCode::ae)
            && (left.identity(), right.identity()) == (new.identity(), old.identity())
            && self.has_checks()
        {
            s.learn(Fact::NotBelow(val.sym, left.identity()));
            s.learn(Fact::NotBelow(val.sym, right.identity()));
        }
        Ok(())
    }

    /// An element that exists, or the table's first one where there is none: only misspeculation gets there.
    fn select(&self, s: &State, a: Kind, b: Kind) -> Option<Kind> {
        let inside = |kind| match kind {
            Kind::Element { table, index, max } if self.is_inside(s, table, index, max) => Kind::Inside(table),
            other => other,
        };
        match (inside(a), inside(b)) {
            (Kind::Inside(t), Kind::TableBase(u)) | (Kind::TableBase(u), Kind::Inside(t)) if t == u => Some(Kind::Inside(t)),
            _ => None,
        }
    }

    /// Any other instruction.
    fn other(&mut self, s: &mut State, i: &Instruction) -> Step {
        let mut factory = self.info.take().unwrap_or_default();
        let result = self.effects(s, i, factory.0.info(i));
        self.info = Some(factory);
        result
    }

    fn effects(&mut self, s: &mut State, i: &Instruction, info: &iced_x86::InstructionInfo) -> Step {
        let bytes = self.greatest_byte(s, i);
        let memory = (0..i.op_count()).find(|n| i.op_kind(*n) == OpKind::Memory);
        // Accesses that are not an operand's are none that are used.
        if info.used_memory().len() > usize::from(memory.is_some()) {
            return Err("instruction that accesses memory by itself".into());
        }
        if let Some(n) = memory {
            let address = self.address(s, i)?;
            let size = i.memory_size().size() as i64;
            if size == 0 {
                return Err("an access of unknown size".into());
            }
            // The old vector instructions fault on what is not aligned; in a memory that is a trap.
            if size == 16 && super::allowed::needs_alignment(i) {
                let aligned = match self.effective(address) {
                    Kind::Stack(at) => (at + 8) % 16 == 0,
                    Kind::Text(at) => at % 16 == 0,
                    Kind::VmCtx(at) => at % 16 == 0,
                    _ if matches!(address.base.kind, Kind::Global(_) | Kind::Array | Kind::Exception(_)) => address.offset % 16 == 0,
                    kind => matches!(
                        kind,
                        Kind::Heap { .. }
                            | Kind::HeapAt { .. }
                            | Kind::HeapChecked { .. }
                            | Kind::HeapGuarded { .. }
                            | Kind::Constants { .. }
                    ),
                };
                if !aligned {
                    return Err("an access that must be aligned and need not be".into());
                }
            }
            let (read, written) = access(info.op_access(n));
            if read {
                self.read(s, i, address, size)?;
            }
            if written {
                let val = match bytes {
                    Some(max) if size == 16 && max != u8::MAX => Val { kind: Kind::Max(max.into()), sym: 0 },
                    _ => TOP,
                };
                self.write(s, i, address, size, val)?;
            }
        }
        for used in info.used_registers() {
            let (_, written) = access(used.access());
            let r = used.register();
            if written && r.is_vector_register() {
                let known = bytes.filter(|_| i.op0_kind() == OpKind::Register && i.op0_register() == r);
                if let Some(own) = s.bytes.get_mut(r.number()) {
                    *own = known.unwrap_or(u8::MAX);
                }
            }
            if written && r.is_gpr() {
                if r.full_register() == Register::RSP {
                    return Err("the stack pointer becomes an unknown value".into());
                }
                // A write to half a register is reported as one to all of it, since it clears the rest.
                let half = |n| i.op_kind(n) == OpKind::Register && i.op_register(n).is_gpr32() && i.op_register(n).full_register() == r;
                let implicit = matches!(i.mnemonic(), Mnemonic::Mul | Mnemonic::Div | Mnemonic::Idiv | Mnemonic::Imul) && i.op_count() == 1;
                // How many bits of some kind there are.
                let is_count = matches!(i.mnemonic(), Mnemonic::Popcnt | Mnemonic::Lzcnt | Mnemonic::Tzcnt) && operand_size(i, 0) >= 4;
                let bound = match (0..i.op_count()).any(half) || r.size() == 4 || (implicit && operand_size(i, 0) == 4) {
                    _ if is_count => Kind::Max(64),
                    true => Kind::Max(U32),
                    false => Kind::Top,
                };
                let number = r.full_register().number() as u64;
                self.set_register(s, r, Val { kind: bound, sym: defined(i, 2 + number) })?;
            }
        }
        if matches!(i.mnemonic(), Mnemonic::Div | Mnemonic::Idiv) {
            self.faulting.insert(i.ip() as u32);
        }
        if i.rflags_modified() != 0 {
            s.flags = Flags::Unknown;
        }
        Ok(())
    }

    /// The greatest byte of what a move or conjunction of 16 bytes gives: indices of bytes are bounded so.
    fn greatest_byte(&self, s: &State, i: &Instruction) -> Option<u8> {
        use Mnemonic as M;
        let (from, conjunction) = match (i.mnemonic(), i.op_count()) {
            (M::Movdqu | M::Movdqa | M::Movups | M::Movaps | M::Vmovdqu | M::Vmovdqa | M::Vmovups | M::Vmovaps, 2) => (1..2, false),
            (M::Pand | M::Andps | M::Andpd, 2) => (0..2, true),
            (M::Vpand | M::Vandps | M::Vandpd, 3) => (1..3, true),
            _ => return None,
        };
        let of = |n: u32| match i.op_kind(n) {
            OpKind::Register if i.op_register(n).is_xmm() => s.bytes.get(i.op_register(n).number()).copied().unwrap_or(u8::MAX),
            OpKind::Memory if i.is_ip_rel_memory_operand() && i.memory_size().size() == 16 => {
                let at = usize::try_from(i.ip_rel_memory_address()).ok();
                let constant = at.and_then(|at| self.program.text.get(at..at.checked_add(16)?));
                constant.and_then(|c| c.iter().copied().max()).unwrap_or(u8::MAX)
            }
            OpKind::Memory if i.memory_size().size() == 16 => match self.address(s, i).map(|a| self.effective(a)) {
                Ok(Kind::Stack(at)) => u8::try_from(s.slot(at, 16).kind.max().unwrap_or(255)).unwrap_or(u8::MAX),
                _ => u8::MAX,
            },
            _ => u8::MAX,
        };
        let all = from.map(of);
        if conjunction { all.min() } else { all.max() }
    }

    fn branch(&mut self, s: &mut State, i: &Instruction) -> Step<Next> {
        if i.op0_kind() != OpKind::NearBranch64 || !i.code().is_jcc_short_or_near() {
            return Err("instruction that is not used".into());
        }
        let target = u32::try_from(i.near_branch_target()).map_err(|_| "branch out of the text")?;
        let condition = i.condition_code();
        let (taken, fall) = (s.implied(condition), s.implied(negated(condition)));
        let mut other = s.clone();
        for f in taken.iter().flatten() {
            other.learn(*f);
        }
        // The check that the host has room: below the limit it goes to a trap.
        if let Flags::Compare { left, right } = s.flags
            && right.kind == Kind::StackLimit
            && condition == ConditionCode::b
            && matches!(left.kind, Kind::Stack(at) if s.rsp().is_some_and(|rsp| rsp >= at))
        {
            s.has_room = true;
        }
        for f in fall.iter().flatten() {
            s.learn(*f);
        }
        // Even what cannot be taken must lead to an instruction of the function.
        if taken.is_none() {
            if !(self.start..self.limit).contains(&target) {
                return Err("branch outside the function".into());
            }
            return Ok(Next::Fall);
        }
        Ok(Next::Branch(target, Box::new(other), fall.is_some()))
    }

    /// Whether this is the loop that touches the pages of a large frame; if so, interprets all of it and gives where it ends.
    pub(super) fn probe_loop(&self, s: &mut State, i: &Instruction) -> Option<u32> {
        // sub rsp, GUARD; mov [rsp], 0; cmp rsp, r11; jne back
        let end_of_loop = match s.regs[R11 as usize].kind {
            Kind::Stack(at) => at,
            _ => return None,
        };
        if i.code() != Code::Sub_rm64_imm32 || i.op0_register() != Register::RSP || i.immediate(1) != STACK_GUARD {
            return None;
        }
        let mut decoder = self.decoder(i.next_ip() as u32);
        let (write, compare, back) = (decoder.decode(), decoder.decode(), decoder.decode());
        let is_write = write.code() == Code::Mov_rm32_imm32
            && write.memory_base() == Register::RSP
            && write.memory_index() == Register::None
            && write.memory_displacement64() == 0
            && write.segment_prefix() == Register::None;
        let is_compare = matches!(compare.code(), Code::Cmp_r64_rm64 | Code::Cmp_rm64_r64)
            && compare.op0_kind() == OpKind::Register
            && compare.op1_kind() == OpKind::Register
            && [compare.op0_register(), compare.op1_register()].contains(&Register::R11)
            && [compare.op0_register(), compare.op1_register()].contains(&Register::RSP);
        let is_back = matches!(back.code(), Code::Jne_rel32_64 | Code::Jne_rel8_64) && back.near_branch_target() == i.ip();
        let distance = i64::from(s.rsp()?) - i64::from(end_of_loop);
        if !is_write || !is_compare || !is_back || distance <= 0 || distance % STACK_GUARD as i64 != 0 {
            return None;
        }
        s.touched = end_of_loop;
        s.regs[RSP as usize] = Val { kind: Kind::Stack(end_of_loop), sym: 0 };
        s.flags = Flags::Unknown;
        Some(back.next_ip() as u32)
    }
}

/// What a register holds, of which only as much counts as is named.
pub(super) fn register(s: &State, r: Register) -> Val {
    if !r.is_gpr() {
        return TOP;
    }
    let val = s.regs[r.full_register().number()];
    match r.size() {
        8 => val,
        4 => s.with_facts(low_half(val)),
        n => {
            let mask = (1u64 << (8 * n)) - 1;
            let high = matches!(r, Register::AH | Register::BH | Register::CH | Register::DH);
            let sym = if n == 1 && !high && val.sym != 0 { val.sym | LOW_BYTE } else { 0 };
            let kind = match val.kind {
                Kind::Const(c) if !high => Kind::Const(c & mask),
                kind => Kind::Max(kind.max().filter(|m| *m <= mask && !high).unwrap_or(mask)),
            };
            Val { kind, sym }
        }
    }
}

/// The size of an operand in bytes.
fn operand_size(i: &Instruction, n: u32) -> usize {
    match i.op_kind(n) {
        OpKind::Register => i.op_register(n).size(),
        OpKind::Memory => i.memory_size().size(),
        _ => 0,
    }
}

fn negated(c: ConditionCode) -> ConditionCode {
    use ConditionCode as C;
    match c {
        C::None => C::None,
        C::o => C::no,
        C::no => C::o,
        C::b => C::ae,
        C::ae => C::b,
        C::e => C::ne,
        C::ne => C::e,
        C::be => C::a,
        C::a => C::be,
        C::s => C::ns,
        C::ns => C::s,
        C::p => C::np,
        C::np => C::p,
        C::l => C::ge,
        C::ge => C::l,
        C::le => C::g,
        C::g => C::le,
    }
}
