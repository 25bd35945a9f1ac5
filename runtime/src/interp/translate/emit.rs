//! Choosing the form of an instruction by where its operands are, and joining instructions: a comparison with the branch
//! or selection that uses it, an addition with the load that it addresses.

use super::super::code::Ty;
use super::super::control as handlers;
use super::super::dispatch::{A, Forms, Handler, S, ToAcc, ToSlot, address};
use super::super::memory::{LoadForms, StoreForms};
use super::super::numeric::{BinaryForms, CompareForms, FormsOf, I32Add, I32Eqz, I64Eqz, UnaryForms};
use super::super::table::{global_get, global_get_vector, global_set, global_set_vector};
use super::operand::{Operand, Place};
use super::{Translator, class, invalid};
use crate::Result;
use wasmc_environ::wasmparser::{MemArg, MemArgTarget};
use wasmc_environ::{GlobalIndex, MemoryIndex};

/// Word 1 from its four fields.
pub(super) fn fields(f0: u16, f1: u16, f2: u16, f3: u16) -> u64 {
    u64::from(f0) | u64::from(f1) << 16 | u64::from(f2) << 32 | u64::from(f3) << 48
}

/// What the instruction emitted last is, as far as it matters for the next one.
#[derive(Copy, Clone)]
pub(super) enum Kind {
    /// Nothing that can be joined.
    Other,
    /// A copy between slots.
    Copy,
    /// A result that is only in a slot.
    Slot,
    /// A comparison, or an `and`, with its operands; the result is negated if `negate`.
    Compare { forms: &'static CompareForms, negate: bool, operands: Operands },
    /// A test for zero of a 32-bit or 64-bit operand; its opposite if not `zero`.
    Test { wide: bool, zero: bool, operand: Use },
    /// An addition of i32s that are not constants.
    Add { operands: Operands },
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        core::mem::discriminant(self) == core::mem::discriminant(other)
    }
}

/// The operands of an instruction as it was emitted.
#[derive(Copy, Clone)]
pub(super) enum Operands {
    SlotSlot(u16, u16),
    SlotConst(u16, u64),
    SlotAcc(u16),
    AccSlot(u16),
    AccConst(u64),
}

/// An operand as it was emitted.
#[derive(Copy, Clone)]
pub(super) enum Use {
    Slot(u16),
    Acc,
}

/// The instructions emitted last that may be replaced by one.
#[derive(Copy, Clone)]
pub(super) struct Last {
    pub start: usize,
    pub end: usize,
    pub kind: Kind,
    /// The instruction whose field 0 is the result's slot.
    pub result: Option<usize>,
    /// Which slot's value the integer accumulator had before.
    pub held: Option<i32>,
}

impl Last {
    pub(super) const NONE: Self = Self { start: 0, end: usize::MAX, kind: Kind::Other, result: None, held: None };

    pub(super) fn at(start: usize, end: usize) -> Self {
        Self { start, end, kind: Kind::Other, result: None, held: None }
    }
}

/// A condition that is still to be emitted, with the branch or selection that uses it.
#[derive(Copy, Clone)]
pub(super) enum Condition {
    Compare { forms: &'static CompareForms, negate: bool, operands: Operands },
    Test { wide: bool, zero: bool, operand: Use },
}

impl Translator<'_> {
    /// Two operands of type `input`, a result of type `output`.
    pub(super) fn binary(&mut self, forms: &'static BinaryForms, input: Ty, output: Ty) -> Result<()> {
        let mut right = self.pop()?;
        let mut left = self.pop()?;
        if forms.commutative && left.constant().is_some() && right.constant().is_none() {
            core::mem::swap(&mut left, &mut right);
        }
        // The stack's order decided the slots; from here on only the places matter.
        let slot = left.slot.min(right.slot);
        let operands = self.binary_operands(forms, &left, &right)?;
        self.height = slot;
        self.emit_binary(forms, operands, input, output)
    }

    fn binary_operands(&mut self, forms: &BinaryForms, left: &Operand, right: &Operand) -> Result<Operands> {
        if let Some(bits) = right.constant() {
            return Ok(match self.in_acc(left) {
                true => Operands::AccConst(bits),
                false => Operands::SlotConst(self.settle_field(left, 0)?, bits),
            });
        }
        let (left_acc, right_acc) = (self.in_acc(left), self.in_acc(right));
        if left_acc && !(right.place == Place::Acc) {
            return Ok(Operands::AccSlot(self.settle_field(right, 1)?));
        }
        if right_acc && !(left.place == Place::Acc) {
            let left = self.settle_field(left, 0)?;
            return Ok(if forms.commutative { Operands::AccSlot(left) } else { Operands::SlotAcc(left) });
        }
        Ok(Operands::SlotSlot(self.settle_field(left, 0)?, self.settle_field(right, 1)?))
    }

    fn emit_binary(&mut self, forms: &'static BinaryForms, operands: Operands, input: Ty, output: Ty) -> Result<()> {
        let result_class = class(output).ok_or_else(invalid)?;
        self.flush(result_class);
        let held = self.holds[0];
        if forms.can_trap {
            self.mark();
        }
        let to = self.destination(self.height)?;
        let at = self.code.len();
        let (form, word, imm) = match operands {
            Operands::SlotSlot(a, b) => (&forms.ss, fields(to, a, b, 0), None),
            Operands::SlotConst(a, bits) => (&forms.si, fields(to, a, 0, 0), Some(bits)),
            Operands::SlotAcc(a) => (&forms.sa, fields(to, a, 0, 0), None),
            Operands::AccSlot(b) => (&forms.as_, fields(to, 0, b, 0), None),
            Operands::AccConst(bits) => (&forms.ai, fields(to, 0, 0, 0), Some(bits)),
        };
        self.code.push(address(form[0]));
        match imm {
            Some(bits) if forms.imm_words == 2 => self.code.push(word | bits << 32),
            Some(bits) => self.code.extend([word, bits]),
            None => self.code.push(word),
        }
        let end = self.code.len();
        self.push_acc(output, at, form[1])?;
        let kind = match forms.compare {
            Some(compare) => Kind::Compare { forms: compare, negate: false, operands },
            None if core::ptr::eq(forms, FormsOf::<I32Add>::BINARY) && input == Ty::I32 => Kind::Add { operands },
            None => Kind::Other,
        };
        self.last = Last { start: at, end, kind, result: Some(at), held };
        Ok(())
    }

    /// An operand of type `input` (which the forms know), a result of type `output`.
    pub(super) fn unary(&mut self, forms: &'static UnaryForms, output: Ty) -> Result<()> {
        let operand = self.pop()?;
        let result_class = class(output).ok_or_else(invalid)?;
        let acc = self.in_acc(&operand);
        let from = if acc { 0 } else { self.settle_field(&operand, 0)? };
        self.flush(result_class);
        let held = self.holds[0];
        if forms.can_trap {
            self.mark();
        }
        let to = self.destination(self.height)?;
        let at = self.code.len();
        let form = if acc { &forms.a } else { &forms.s };
        self.code.extend([address(form[0]), fields(to, from, 0, 0)]);
        let end = self.code.len();
        self.push_acc(output, at, form[1])?;
        self.last = Last { result: Some(at), held, ..Last::at(at, end) };
        Ok(())
    }

    /// Gives the topmost operand another type with the same bits, where a slot or constant is enough for that.
    pub(super) fn reinterpret(&mut self, forms: &'static UnaryForms, output: Ty, same_class: bool) -> Result<()> {
        let entry = self.stack.last_mut().ok_or_else(invalid)?;
        if entry.place == Place::Acc && !same_class {
            return self.unary(forms, output);
        }
        entry.ty = output;
        Ok(())
    }

    /// `i32.eqz` and `i64.eqz`: negates the comparison before it if there is one.
    pub(super) fn eqz(&mut self, wide: bool) -> Result<()> {
        let top = *self.stack.last().ok_or_else(invalid)?;
        let joined = match top.place {
            Place::Acc if self.is_last_open() && self.last.result == self.pending[0].map(|p| p.at) => Some(self.last),
            _ => None,
        };
        let Some(last) = joined else {
            let operand = self.pop()?;
            let used = match self.in_acc(&operand) {
                true => Use::Acc,
                false => Use::Slot(self.settle_field(&operand, 0)?),
            };
            self.push_operand(operand);
            self.unary(if wide { FormsOf::<I64Eqz>::UNARY } else { FormsOf::<I32Eqz>::UNARY }, Ty::I32)?;
            self.last.kind = Kind::Test { wide, zero: true, operand: used };
            return Ok(());
        };
        if let Kind::Compare { forms, negate: false, operands } = last.kind
            && let Some(inverse) = forms.inverse
        {
            self.pop()?;
            self.unwind(&last);
            return self.emit_binary(inverse(), operands, Ty::I32, Ty::I32);
        }
        self.unary(if wide { FormsOf::<I64Eqz>::UNARY } else { FormsOf::<I32Eqz>::UNARY }, Ty::I32)?;
        let kind = match last.kind {
            Kind::Compare { forms, negate, operands } => Kind::Compare { forms, negate: !negate, operands },
            Kind::Test { wide, zero, operand } => Kind::Test { wide, zero: !zero, operand },
            _ => {
                self.last.kind = Kind::Test { wide, zero: true, operand: Use::Acc };
                // The operand must then be in the accumulator when only this instruction is replaced.
                self.last.held = None;
                return Ok(());
            }
        };
        let end = self.code.len();
        self.last = Last { start: last.start, end, kind, result: self.last.result, held: last.held };
        Ok(())
    }

    /// Puts an operand back that was popped and not used.
    pub(super) fn push_operand(&mut self, o: Operand) {
        if let Place::Local(index) = o.place {
            self.forwarded[index as usize] += 1;
        }
        if let (Some(pending), Some(class)) = (o.pending, class(o.ty))
            && self.code[pending.at] != pending.to_slot
        {
            self.pending[class] = Some(pending);
        }
        self.push(o.ty, o.place);
    }

    /// Removes the instructions emitted last.
    fn unwind(&mut self, last: &Last) {
        self.code.truncate(last.start);
        while self.map.last().is_some_and(|(p, _)| *p as usize >= last.start) {
            self.map.pop();
        }
        self.holds[0] = last.held;
        self.last = Last::NONE;
    }

    /// Pops a condition. Afterwards the accumulators have to be left alone until `branch_on` or `select_on`.
    pub(super) fn pop_condition(&mut self, for_select: bool) -> Result<Condition> {
        let operand = self.pop()?;
        if let (Some(pending), true) = (operand.pending, self.is_last_open())
            && self.last.result == Some(pending.at)
        {
            let last = self.last;
            match last.kind {
                Kind::Compare { forms, negate, operands } if !for_select || fits_select(forms, operands) => {
                    self.unwind(&last);
                    return Ok(Condition::Compare { forms, negate, operands });
                }
                Kind::Test { wide, zero, operand } if !(for_select && wide) => {
                    self.unwind(&last);
                    return Ok(Condition::Test { wide, zero, operand });
                }
                _ => {}
            }
        }
        let used = match self.in_acc(&operand) {
            true => Use::Acc,
            false => Use::Slot(self.settle_field(&operand, 0)?),
        };
        Ok(Condition::Test { wide: false, zero: false, operand: used })
    }

    /// Branches to a label if a condition holds, or if it does not hold.
    pub(super) fn branch_on(&mut self, condition: Condition, holds: bool, label: usize) {
        match condition {
            Condition::Compare { forms, negate, operands } => {
                let forms = &forms.branch[usize::from(holds != negate)];
                let (handler, word, imm) = match operands {
                    Operands::SlotSlot(a, b) => (forms.ss, fields(a, b, 0, 0), None),
                    Operands::SlotConst(a, bits) => (forms.si, fields(a, 0, 0, 0), Some(bits)),
                    Operands::SlotAcc(a) => (forms.sa, fields(a, 0, 0, 0), None),
                    Operands::AccSlot(b) => (forms.as_, fields(0, b, 0, 0), None),
                    Operands::AccConst(bits) => (forms.ai, 0, Some(bits)),
                };
                self.code.extend([address(handler), word]);
                self.site(self.code.len() - 1, label);
                self.code.extend(imm);
            }
            Condition::Test { wide, zero, operand } => {
                let if_set = holds != zero;
                let (handler, field): (Handler, u16) = match (wide, if_set, operand) {
                    (false, true, Use::Slot(s)) => (handlers::branch_if::<u32, S<0>, true>, s),
                    (false, false, Use::Slot(s)) => (handlers::branch_if::<u32, S<0>, false>, s),
                    (true, true, Use::Slot(s)) => (handlers::branch_if::<u64, S<0>, true>, s),
                    (true, false, Use::Slot(s)) => (handlers::branch_if::<u64, S<0>, false>, s),
                    (false, true, Use::Acc) => (handlers::branch_if::<u32, A, true>, 0),
                    (false, false, Use::Acc) => (handlers::branch_if::<u32, A, false>, 0),
                    (true, true, Use::Acc) => (handlers::branch_if::<u64, A, true>, 0),
                    (true, false, Use::Acc) => (handlers::branch_if::<u64, A, false>, 0),
                };
                self.code.extend([address(handler), fields(field, 0, 0, 0)]);
                self.site(self.code.len() - 1, label);
            }
        }
        self.last = Last::NONE;
    }

    /// `select`.
    pub(super) fn select(&mut self) -> Result<()> {
        let under = self.stack.len().checked_sub(2).ok_or_else(invalid)?;
        if self.stack[under].ty == Ty::V128 {
            return self.select_vector();
        }
        let condition = self.pop_condition(true)?;
        let b = self.pop()?;
        let a = self.pop()?;
        let (ty, slot) = (a.ty, a.slot);
        let (field_a, field_b) = (self.settle_field(&a, 2)?, self.settle_field(&b, 3)?);
        let negate = match condition {
            Condition::Compare { negate, .. } => negate,
            Condition::Test { zero, .. } => zero,
        };
        let (field_a, field_b) = if negate { (field_b, field_a) } else { (field_a, field_b) };
        let class = class(ty).ok_or_else(invalid)?;
        self.height = slot;
        self.flush(class);
        let to = self.destination(slot)?;
        let at = self.code.len();
        let form: Forms = match condition {
            Condition::Compare { forms, operands, .. } => {
                let forms = &forms.select[class];
                let (form, word) = match operands {
                    Operands::SlotSlot(l, r) => (forms.ss, fields(l, r, 0, 0)),
                    Operands::SlotConst(l, bits) => (forms.si, fields(l, 0, 0, 0) | bits << 32),
                    Operands::AccSlot(r) => (forms.as_, fields(0, r, 0, 0)),
                    Operands::AccConst(bits) => (forms.ai, bits << 32),
                    Operands::SlotAcc(_) => return Err(invalid()),
                };
                self.code.extend([address(form[0]), fields(to, field_a, field_b, 0), word]);
                form
            }
            Condition::Test { operand, .. } => {
                let (form, field) = match operand {
                    Use::Acc => (select_forms::<A>(class), 0),
                    Use::Slot(s) => (select_forms::<S<3>>(class), s),
                };
                self.code.extend([address(form[0]), fields(to, field_a, field_b, field)]);
                form
            }
        };
        let end = self.code.len();
        self.push_acc(ty, at, form[1])?;
        self.last = Last { result: Some(at), ..Last::at(at, end) };
        Ok(())
    }

    fn select_vector(&mut self) -> Result<()> {
        let (condition, b, a) = (self.pop()?, self.pop()?, self.pop()?);
        let c = self.settle_field(&condition, 3)?;
        let (left, right) = (self.settle_field(&a, 1)?, self.settle_field(&b, 2)?);
        let to = self.destination(a.slot)?;
        let at = self.code.len();
        self.code.extend([address(handlers::select_vector), fields(to, left, right, c)]);
        self.slot_result(at, Ty::V128)
    }

    /// The offset of a memory's definition in the `VMContext`, as `defined_at` takes it.
    fn memory_offset(&self, memory: MemoryIndex) -> u32 {
        let offsets = &self.module.offsets;
        match self.env.defined_memory(memory) {
            Some(defined) => offsets.memory(defined),
            None => offsets.imported_memory(memory) | super::super::call::IMPORTED,
        }
    }

    /// The offset of a memory access if its address fits the short forms: an i32 in memory 0.
    pub(super) fn near_offset(&self, memarg: &MemArg) -> Option<u32> {
        match memarg.target {
            MemArgTarget::Memory(0) if !self.env.memories.first()?.memory64 => u32::try_from(memarg.offset).ok(),
            _ => None,
        }
    }

    /// Words 2 and 3 of a memory access with a far address.
    pub(super) fn far_address(&self, memarg: &MemArg) -> Result<[u64; 2]> {
        let MemArgTarget::Memory(memory) = memarg.target else { return Err(invalid()) };
        Ok([u64::from(self.memory_offset(MemoryIndex::from_u32(memory))), memarg.offset])
    }

    /// A load with a result of type `ty`.
    pub(super) fn load(&mut self, forms: &'static LoadForms, ty: Ty, memarg: &MemArg) -> Result<()> {
        let operand = self.pop()?;
        let result_class = class(ty).ok_or_else(invalid)?;
        let near = self.near_offset(memarg);
        if let (Some(offset), Some(pending)) = (near.and_then(|o| u16::try_from(o).ok()), operand.pending)
            && self.last.result == Some(pending.at)
            && self.is_last_open()
            && let Kind::Add { operands } = self.last.kind
        {
            let indexed = match operands {
                Operands::SlotSlot(a, b) => Some((&forms.indexed[0], a, b)),
                Operands::AccSlot(b) => Some((&forms.indexed[1], 0, b)),
                _ => None,
            };
            if let Some((form, a, b)) = indexed {
                let last = self.last;
                self.unwind(&last);
                self.flush(result_class);
                return self.emit_load(form, ty, |to| fields(to, a, b, offset), &[]);
            }
        }
        let Some(offset) = near else {
            let from = self.settle_field(&operand, 0)?;
            self.flush(result_class);
            let far = self.far_address(memarg)?;
            return self.emit_load(&forms.far, ty, |to| fields(to, from, 0, 0), &far);
        };
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
        let held = self.holds[0];
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
        let value = self.pop()?;
        let to = self.pop()?;
        let Some(offset) = self.near_offset(memarg) else {
            let (a, v) = (self.settle_field(&to, 0)?, self.settle_field(&value, 1)?);
            self.mark();
            self.code.extend([address(forms.far_s), fields(a, v, 0, 0)]);
            let far = self.far_address(memarg)?;
            self.code.extend(far);
            self.last = Last::NONE;
            return Ok(());
        };
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

    /// The offset of a global in the `VMContext`, as `defined_at` takes it, and its type.
    fn global(&self, index: u32) -> Result<(u32, Ty)> {
        let index = GlobalIndex::from_u32(index);
        let ty = self.env.globals.get(index.index()).ok_or_else(invalid)?.content.abi();
        let offsets = &self.module.offsets;
        let offset = match self.env.defined_global(index) {
            Some(defined) => offsets.global(defined),
            None => offsets.imported_global(index) | super::super::call::IMPORTED,
        };
        Ok((offset, ty))
    }

    pub(super) fn global_get(&mut self, index: u32) -> Result<()> {
        let (offset, ty) = self.global(index)?;
        let word = |to| fields(to, 0, 0, 0) | u64::from(offset) << 32;
        let form: Forms = match ty {
            Ty::V128 => {
                let slot = self.height;
                let to = self.destination(slot)?;
                let at = self.code.len();
                self.code.extend([address(global_get_vector), word(to)]);
                return self.slot_result(at, Ty::V128);
            }
            Ty::F64 => [global_get::<f64, ToAcc>, global_get::<f64, ToSlot>],
            Ty::F32 => [global_get::<f32, ToAcc>, global_get::<f32, ToSlot>],
            Ty::I32 | Ty::HeapRef => [global_get::<u32, ToAcc>, global_get::<u32, ToSlot>],
            Ty::I64 | Ty::FuncRef => [global_get::<u64, ToAcc>, global_get::<u64, ToSlot>],
        };
        let result_class = class(ty).ok_or_else(invalid)?;
        self.flush(result_class);
        let held = self.holds[0];
        let to = self.destination(self.height)?;
        let at = self.code.len();
        self.code.extend([address(form[0]), word(to)]);
        let end = self.code.len();
        self.push_acc(ty, at, form[1])?;
        self.last = Last { result: Some(at), held, ..Last::at(at, end) };
        Ok(())
    }

    pub(super) fn global_set(&mut self, index: u32) -> Result<()> {
        let (offset, ty) = self.global(index)?;
        let operand = self.pop()?;
        let acc = self.in_acc(&operand);
        let from = if acc { 0 } else { self.settle_field(&operand, 0)? };
        let handler: Handler = match (ty, acc) {
            (Ty::V128, _) => global_set_vector,
            (Ty::F64, false) => global_set::<f64, S<0>>,
            (Ty::F64, true) => global_set::<f64, A>,
            (Ty::F32, false) => global_set::<f32, S<0>>,
            (Ty::F32, true) => global_set::<f32, A>,
            (_, false) => global_set::<u64, S<0>>,
            (_, true) => global_set::<u64, A>,
        };
        self.code.extend([address(handler), fields(from, 0, 0, 0) | u64::from(offset) << 32]);
        self.last = Last::NONE;
        Ok(())
    }

    /// Pushes the result of the instruction at `at` that only goes to the slot in its field 0.
    pub(super) fn slot_result(&mut self, at: usize, ty: Ty) -> Result<()> {
        let end = self.code.len();
        let slot = self.height;
        self.push_slot(ty);
        self.last = Last { kind: Kind::Slot, result: Some(at), ..Last::at(at, end) };
        self.finish_far(slot, ty)
    }
}

fn fits_select(forms: &CompareForms, operands: Operands) -> bool {
    match operands {
        Operands::SlotSlot(..) | Operands::AccSlot(_) => true,
        Operands::SlotAcc(_) => false,
        Operands::SlotConst(_, bits) | Operands::AccConst(bits) => forms.integer && (!forms.wide || bits as i64 == i64::from(bits as i32)),
    }
}

fn select_forms<C>(class: usize) -> Forms
where
    C: super::super::dispatch::Src<u32>,
{
    match class {
        0 => [handlers::select::<u64, C, ToAcc>, handlers::select::<u64, C, ToSlot>],
        1 => [handlers::select::<f64, C, ToAcc>, handlers::select::<f64, C, ToSlot>],
        _ => [handlers::select::<f32, C, ToAcc>, handlers::select::<f32, C, ToSlot>],
    }
}
