//! Memory accesses and their addresses. A sum of a local and a constant, or of two locals of which one may be shifted, is
//! not computed when it is pushed: as an address it becomes part of the access, and for anything else it is computed
//! when it is popped, or before one of its locals changes.

use super::super::code::Ty;
use super::super::dispatch::{Forms, address};
use super::super::memory::{LoadForms, StoreForms};
use super::super::numeric::{ADD_SHIFTED, LEA, increment_two};
use super::emit::{Kind, Last, Operands, fields};
use super::join::Increment;
use super::operand::{Operand, Place};
use super::{Translator, class, invalid};
use crate::Result;
use wasmc_environ::MemoryIndex;
use wasmc_environ::vmoffsets::MemoryPlace;
use wasmc_environ::wasmparser::{MemArg, MemArgTarget};

/// An i32 that is not computed yet: `base + (index << shift) + imm`. With a base there is no immediate.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Lea {
    pub base: Option<u32>,
    pub index: u32,
    pub shift: u8,
    pub imm: u32,
}

/// Greatest shift in an address: elements of 8 bytes.
const MAX_SHIFT: u64 = 3;

impl Lea {
    /// How often a local occurs in it.
    pub(super) fn uses(self, local: u32) -> u32 {
        u32::from(self.index == local) + u32::from(self.base == Some(local))
    }
}

impl Translator<'_> {
    /// `i32.add`, of which only the topmost two operands' places matter here. Whether it was put off.
    pub(super) fn lazy_add(&mut self) -> Result<bool> {
        let Some([left, right]) = self.top_places() else { return Err(invalid()) };
        let sum = match (left, right) {
            (Place::Local(index), Place::Const(c)) | (Place::Const(c), Place::Local(index)) => {
                Lea { base: None, index, shift: 0, imm: c as u32 }
            }
            (Place::Lea(lea @ Lea { base: None, .. }), Place::Const(c)) | (Place::Const(c), Place::Lea(lea @ Lea { base: None, .. })) => {
                Lea { imm: lea.imm.wrapping_add(c as u32), ..lea }
            }
            (Place::Local(base), Place::Local(index)) => Lea { base: Some(base), index, shift: 0, imm: 0 },
            (Place::Local(base), Place::Lea(lea @ Lea { base: None, imm: 0, .. }))
            | (Place::Lea(lea @ Lea { base: None, imm: 0, .. }), Place::Local(base)) => Lea { base: Some(base), ..lea },
            _ => return Ok(false),
        };
        self.replace_two(sum)
    }

    /// `i32.sub`, likewise.
    pub(super) fn lazy_sub(&mut self) -> Result<bool> {
        let Some([left, right]) = self.top_places() else { return Err(invalid()) };
        let sum = match (left, right) {
            (Place::Local(index), Place::Const(c)) => Lea { base: None, index, shift: 0, imm: (c as u32).wrapping_neg() },
            (Place::Lea(lea @ Lea { base: None, .. }), Place::Const(c)) => Lea { imm: lea.imm.wrapping_sub(c as u32), ..lea },
            _ => return Ok(false),
        };
        self.replace_two(sum)
    }

    /// `i32.shl`, likewise.
    pub(super) fn lazy_shl(&mut self) -> Result<bool> {
        match self.top_places() {
            Some([Place::Local(index), Place::Const(shift @ 1..=MAX_SHIFT)]) => {
                self.replace_two(Lea { base: None, index, shift: shift as u8, imm: 0 })
            }
            Some(_) => Ok(false),
            None => Err(invalid()),
        }
    }

    fn top_places(&self) -> Option<[Place; 2]> {
        let at = self.stack.len().checked_sub(2)?;
        Some([self.stack[at].place, self.stack[at + 1].place])
    }

    fn replace_two(&mut self, lea: Lea) -> Result<bool> {
        self.pop_as_is()?;
        self.pop_as_is()?;
        self.forwarded[lea.index as usize] += 1;
        if let Some(base) = lea.base {
            self.forwarded[base as usize] += 1;
        }
        self.push(Ty::I32, Place::Lea(lea));
        Ok(true)
    }

    /// An operand that used these locals is gone.
    pub(super) fn forget(&mut self, lea: Lea) {
        self.forwarded[lea.index as usize] -= 1;
        if let Some(base) = lea.base {
            self.forwarded[base as usize] -= 1;
        }
    }

    /// Word 1 of a `lea` without its destination, and the row of its handlers.
    fn lea_word(&mut self, lea: Lea) -> Result<(u64, usize)> {
        let index = self.source(self.locals[lea.index as usize].0, Ty::I32, 1)?;
        Ok(match lea.base {
            None => (fields(0, index, 0, 0) | u64::from(lea.imm) << 32, 0),
            Some(base) => (fields(0, index, self.source(self.locals[base as usize].0, Ty::I32, 2)?, 0), 1),
        })
    }

    /// Computes an address to a slot. Leaves the accumulators alone.
    pub(super) fn emit_lea_quietly(&mut self, lea: Lea, slot: i32) -> Result<()> {
        let (word, row) = self.lea_word(lea)?;
        let to = self.destination(slot)?;
        self.code.extend([address(LEA[row][usize::from(lea.shift)][2]), word | u64::from(to)]);
        self.last = Last::NONE;
        self.finish_far(slot, Ty::I32)?;
        self.wrote(slot, Ty::I32);
        Ok(())
    }

    /// Computes the topmost operand if that was put off.
    pub(super) fn force_top(&mut self) -> Result<()> {
        let Some(position) = self.stack.len().checked_sub(1) else { return Ok(()) };
        let Place::Lea(lea) = self.stack[position].place else { return Ok(()) };
        if self.acc_in_use {
            return self.materialize(position);
        }
        self.pop_as_is()?;
        self.flush(0);
        let held = self.holds[0];
        let (word, row) = self.lea_word(lea)?;
        let to = self.destination(self.height)?;
        let at = self.code.len();
        let forms = &LEA[row][usize::from(lea.shift)];
        self.code.extend([address(forms[0]), word | u64::from(to)]);
        let end = self.code.len();
        self.push_acc(Ty::I32, at, forms[1])?;
        self.last = Last { kind: Kind::Lea(lea), result: Some(at), held, ..Last::at(at, end) };
        Ok(())
    }

    /// Notes that the instruction emitted last, which was just redirected to a slot, adds a constant to that slot.
    pub(super) fn note_increment(&mut self, slot: i32) {
        let (by, wide) = match self.last.kind {
            Kind::Lea(Lea { base: None, index, shift: 0, imm }) if self.locals[index as usize].0 == slot => (imm as i32, false),
            Kind::AddConst { slot: from, by } if from == slot => (by, true),
            _ => return,
        };
        let increment = Increment { start: self.last.start, end: self.last.end, slot, by, wide };
        if !self.pair_increments(&increment) {
            self.increment = Some(increment);
        }
    }

    /// Makes one instruction of two increments that follow each other.
    fn pair_increments(&mut self, second: &Increment) -> bool {
        let Some(first) = self.increment else { return false };
        let (Ok(by), Ok(then)) = (i16::try_from(first.by), i16::try_from(second.by)) else { return false };
        if first.end != second.start || first.start < self.floor || first.wide || second.wide || first.slot == second.slot {
            return false;
        }
        self.increment = None;
        self.code.truncate(first.start);
        let word = fields(first.slot as u16, second.slot as u16, by as u16, then as u16);
        self.code.extend([address(increment_two), word]);
        self.last = Last::NONE;
        true
    }

    /// `i32.add` of something to a shifted index that was not computed yet, if that is among the topmost two operands.
    pub(super) fn add_shifted(&mut self) -> Result<bool> {
        let Some([left, right]) = self.top_places() else { return Err(invalid()) };
        let lea = match (left, right) {
            (_, Place::Lea(lea @ Lea { base: None, shift: 1.., imm: 0, .. })) => lea,
            (Place::Lea(lea @ Lea { base: None, shift: 1.., imm: 0, .. }), _) => lea,
            _ => return Ok(false),
        };
        let (right, left) = (self.pop_as_is()?, self.pop_as_is()?);
        let height = self.height;
        let other = if left.place == Place::Lea(lea) { right } else { left };
        if let Place::Lea(_) = other.place {
            // Both are shifted: the other one is computed first.
            self.push_again(left);
            self.push_again(right);
            return Ok(false);
        }
        let index = self.source(self.locals[lea.index as usize].0, Ty::I32, 1)?;
        let (row, operands, word) = match self.in_acc(&other) {
            true => (1, Operands::AccSlot(index), fields(0, 0, index, 0)),
            false => {
                let base = self.settle_field(&other, 0)?;
                (0, Operands::SlotSlot(base, index), fields(0, base, index, 0))
            }
        };
        self.height = height;
        self.flush(0);
        let held = self.holds[0];
        let to = self.destination(height)?;
        let at = self.code.len();
        let form: &Forms = &ADD_SHIFTED[row][usize::from(lea.shift) - 1];
        self.code.extend([address(form[0]), word | u64::from(to)]);
        let end = self.code.len();
        self.push_acc(Ty::I32, at, form[1])?;
        self.last = Last { kind: Kind::Add { operands, shift: lea.shift }, result: Some(at), held, ..Last::at(at, end) };
        Ok(true)
    }

    fn push_again(&mut self, o: Operand) {
        if let Place::Lea(lea) = o.place {
            self.forwarded[lea.index as usize] += 1;
            if let Some(base) = lea.base {
                self.forwarded[base as usize] += 1;
            }
            self.push(o.ty, o.place);
        } else {
            self.push_operand(o);
        }
    }

    /// The offset of a memory's definition in the `VMContext`, as `defined_at` takes it.
    fn memory_offset(&self, memory: MemoryIndex) -> u32 {
        match self.module.offsets.memory_place(self.env, memory) {
            MemoryPlace::Here(offset) => offset,
            MemoryPlace::Behind(offset) => offset | super::super::call::IMPORTED,
        }
    }

    /// The offset of a memory access if its address fits the short forms: an i32 in memory 0.
    pub(super) fn near_offset(&self, memarg: &MemArg) -> Option<u32> {
        match memarg.target {
            MemArgTarget::Memory(0) if !self.env.memories.first()?.memory64 => u32::try_from(memarg.offset).ok(),
            _ => None,
        }
    }

    /// The offset of a memory access if its address is an i64 in memory 0.
    fn wide_offset(&self, memarg: &MemArg) -> Option<u64> {
        match memarg.target {
            MemArgTarget::Memory(0) if self.env.memories.first()?.memory64 => Some(memarg.offset),
            _ => None,
        }
    }

    /// Words 2 and 3 of a memory access with a far address.
    pub(super) fn far_address(&self, memarg: &MemArg) -> Result<[u64; 2]> {
        let MemArgTarget::Memory(memory) = memarg.target else { return Err(invalid()) };
        Ok([u64::from(self.memory_offset(MemoryIndex::from_u32(memory))), memarg.offset])
    }

    /// Pops an address. It may still be a `Place::Lea` that fits the short forms of an access.
    fn pop_address(&mut self, near: Option<u32>) -> Result<Operand> {
        let top = self.stack.last().ok_or_else(invalid)?;
        match (top.place, near) {
            // A sum that wraps in 32 bits cannot be joined with an offset that does not.
            (Place::Lea(Lea { base: None, imm, shift, .. }), Some(offset)) if offset == 0 || imm == 0 && shift > 0 => self.pop_as_is(),
            (Place::Lea(Lea { base: Some(_), .. }), Some(offset)) if offset <= u32::from(u16::MAX) => self.pop_as_is(),
            _ => self.pop(),
        }
    }

    /// A load with a result of type `ty`.
    pub(super) fn load(&mut self, forms: &'static LoadForms, ty: Ty, memarg: &MemArg) -> Result<()> {
        let result_class = class(ty).ok_or_else(invalid)?;
        let near = self.near_offset(memarg);
        let operand = self.pop_address(near)?;
        if let (Some(offset), Some(pending)) = (near.and_then(|o| u16::try_from(o).ok()), operand.pending)
            && self.last.result == Some(pending.at)
            && self.is_last_open()
            && let Kind::Add { operands, shift } = self.last.kind
        {
            let last = self.last;
            let (row, a, b) = match operands {
                Operands::SlotSlot(a, b) => (0, a, b),
                Operands::AccSlot(b) => (1, 0, b),
                _ => return Err(invalid()),
            };
            self.unwind(&last, 0);
            self.flush(result_class);
            return self.emit_load(&forms.indexed[row][usize::from(shift)], ty, |to| fields(to, a, b, offset), &[]);
        }
        if let Some(offset) = self.wide_offset(memarg) {
            let acc = self.in_acc(&operand);
            let from = if acc { 0 } else { self.settle_field(&operand, 0)? };
            self.flush(result_class);
            return self.emit_load(&forms.wide[usize::from(acc)], ty, |to| fields(to, from, 0, 0), &[offset]);
        }
        let Some(offset) = near else {
            let from = self.settle_field(&operand, 0)?;
            self.flush(result_class);
            let far = self.far_address(memarg)?;
            return self.emit_load(&forms.far, ty, |to| fields(to, from, 0, 0), &far);
        };
        if let Place::Lea(lea) = operand.place {
            let index = self.source(self.locals[lea.index as usize].0, Ty::I32, 1)?;
            let shift = usize::from(lea.shift);
            if let Some(base) = lea.base {
                let base = self.source(self.locals[base as usize].0, Ty::I32, 2)?;
                self.flush(result_class);
                return self.emit_load(&forms.indexed[0][shift], ty, |to| fields(to, base, index, offset as u16), &[]);
            }
            self.flush(result_class);
            let (form, upper) = match lea.imm {
                0 if shift > 0 => (&forms.scaled[shift - 1], offset),
                imm => (&forms.wrapped[shift], imm),
            };
            return self.emit_load(form, ty, |to| fields(to, index, 0, 0) | u64::from(upper) << 32, &[]);
        }
        if let Some(fixed) = operand.constant().and_then(|c| (c as u32).checked_add(offset)) {
            self.flush(result_class);
            return self.emit_load(&forms.fixed, ty, |to| fields(to, 0, 0, 0) | u64::from(fixed) << 32, &[]);
        }
        let (form, from) = match self.in_acc(&operand) {
            true => (&forms.a, 0),
            false => (&forms.s, self.settle_field(&operand, 0)?),
        };
        self.flush(result_class);
        self.emit_load(form, ty, |to| fields(to, from, 0, 0) | u64::from(offset) << 32, &[])
    }

    fn emit_load(&mut self, form: &Forms, ty: Ty, word: impl Fn(u16) -> u64, more: &[u64]) -> Result<()> {
        let held = class(ty).and_then(|c| self.holds[c]);
        self.mark();
        let to = self.destination(self.height)?;
        let at = self.code.len();
        self.code.extend([address(form[0]), word(to)]);
        self.code.extend_from_slice(more);
        let end = self.code.len();
        self.push_acc(ty, at, form[1])?;
        self.last = Last { result: Some(at), held, ..Last::at(at, end) };
        Ok(())
    }

    /// A store.
    pub(super) fn store(&mut self, forms: &'static StoreForms, memarg: &MemArg) -> Result<()> {
        let near = self.near_offset(memarg);
        let value = self.pop()?;
        let to = self.pop_address(near)?;
        if let Some(offset) = self.wide_offset(memarg) {
            return self.store_wide(forms, &to, &value, offset);
        }
        let Some(offset) = near else {
            let (a, v) = (self.settle_field(&to, 0)?, self.settle_field(&value, 1)?);
            self.mark();
            self.code.extend([address(forms.far_s), fields(a, v, 0, 0)]);
            let far = self.far_address(memarg)?;
            self.code.extend(far);
            self.last = Last::NONE;
            return Ok(());
        };
        if let Place::Lea(lea) = to.place {
            return self.store_lea(forms, lea, &value, offset);
        }
        let fixed = to.constant().and_then(|c| (c as u32).checked_add(offset));
        let same_class = class(value.ty) == Some(0);
        let value_acc = self.in_acc(&value) && !(same_class && to.place == Place::Acc);
        let to_acc = fixed.is_none() && self.in_acc(&to) && !(same_class && value_acc);
        let offset = fixed.unwrap_or(offset);
        let a = if fixed.is_some() || to_acc { 0 } else { self.settle_field(&to, 0)? };
        let (v, imm) = match value.constant() {
            Some(bits) => (0, Some(bits)),
            None if value_acc => (0, None),
            None => (self.settle_field(&value, 1)?, None),
        };
        let handler = match (fixed.is_some(), to_acc, imm.is_some(), value_acc) {
            (true, _, true, _) => forms.fixed_i,
            (true, _, false, true) => forms.fixed_a,
            (true, _, false, false) => forms.fixed_s,
            (false, true, true, _) => forms.ai,
            (false, true, false, true) => forms.aa,
            (false, true, false, false) => forms.as_,
            (false, false, true, _) => forms.si,
            (false, false, false, true) => forms.sa,
            (false, false, false, false) => forms.ss,
        };
        self.mark();
        self.code.extend([address(handler), fields(a, v, 0, 0) | u64::from(offset) << 32]);
        self.code.extend(imm);
        self.last = Last::NONE;
        Ok(())
    }

    /// A store to an i64 in memory 0.
    fn store_wide(&mut self, forms: &'static StoreForms, to: &Operand, value: &Operand, offset: u64) -> Result<()> {
        let same_class = class(value.ty) == Some(0);
        let value_acc = self.in_acc(value) && !(same_class && to.place == Place::Acc);
        let to_acc = self.in_acc(to) && !(same_class && value_acc);
        let a = if to_acc { 0 } else { self.settle_field(to, 0)? };
        let v = if value_acc { 0 } else { self.settle_field(value, 1)? };
        self.mark();
        let handler = forms.wide[usize::from(to_acc)][usize::from(value_acc)];
        self.code.extend([address(handler), fields(a, v, 0, 0), offset]);
        self.last = Last::NONE;
        Ok(())
    }

    /// A store to an address that was not computed yet.
    fn store_lea(&mut self, forms: &'static StoreForms, lea: Lea, value: &Operand, offset: u32) -> Result<()> {
        let index = self.source(self.locals[lea.index as usize].0, Ty::I32, 1)?;
        let shift = usize::from(lea.shift);
        let acc = self.in_acc(value);
        if let Some(base) = lea.base {
            let base = self.source(self.locals[base as usize].0, Ty::I32, 2)?;
            let v = if acc { 0 } else { self.settle_field(value, 0)? };
            self.mark();
            self.code.extend([address(forms.indexed[shift][usize::from(acc)]), fields(base, index, v, offset as u16)]);
            self.last = Last::NONE;
            return Ok(());
        }
        let (row, upper) = match lea.imm {
            0 if shift > 0 => (&forms.scaled[shift - 1], offset),
            imm => (&forms.wrapped[shift], imm),
        };
        let (handler, v, imm) = match value.constant() {
            Some(bits) => (row[2], 0, Some(bits)),
            None if acc => (row[1], 0, None),
            None => (row[0], self.settle_field(value, 0)?, None),
        };
        self.mark();
        self.code.extend([address(handler), fields(index, v, 0, 0) | u64::from(upper) << 32]);
        self.code.extend(imm);
        self.last = Last::NONE;
        Ok(())
    }
}
