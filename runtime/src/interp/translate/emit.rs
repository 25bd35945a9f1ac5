//! Choosing the form of an instruction by where its operands are, and joining arithmetic: a product with the sum that it is
//! part of, a shift with the operator that uses it.

use super::super::call::IMPORTED;
use super::super::code::Ty;
use super::super::dispatch::{A, Forms, Handler, S, ToAcc, ToSlot, address};
use super::super::numeric::{BinaryForms, CompareForms, FormsOf, I32Eqz, I64Eqz, Join, ProductForms, UnaryForms};
use super::super::table::{global_get, global_get_vector, global_set, global_set_vector};
use super::address::Lea;
use super::operand::{Operand, Place};
use super::{Translator, class, invalid};
use crate::Result;
use wasmc_environ::GlobalIndex;

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
    /// An addition of two i32s that are not constants, the second one shifted left.
    Add { operands: Operands, shift: u8 },
    /// A sum of locals and constants.
    Lea(Lea),
    /// An addition of a constant to an i64 in a slot.
    AddConst { slot: i32, by: i32 },
    /// A product of floats.
    Product { forms: &'static ProductForms, operands: Operands },
    /// A shift or rotation, by number, by so many bits.
    Inner { number: usize, operand: Use, bits: u16 },
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
    ConstSlot(u64, u16),
    ConstAcc(u64),
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
    /// Which slot's value the result's accumulator had before.
    pub held: Option<i32>,
}

impl Last {
    pub(super) const NONE: Self = Self { start: 0, end: usize::MAX, kind: Kind::Other, result: None, held: None };

    pub(super) fn at(start: usize, end: usize) -> Self {
        Self { start, end, kind: Kind::Other, result: None, held: None }
    }
}

impl Translator<'_> {
    /// Two operands of the forms' type, a result of type `output`.
    pub(super) fn binary(&mut self, forms: &'static BinaryForms, output: Ty) -> Result<()> {
        let mut right = self.pop()?;
        let mut left = self.pop()?;
        // The stack's order decided the slots; from here on only the places matter.
        let height = left.slot;
        if self.joined(forms, &left, &right, output)? {
            return Ok(());
        }
        if forms.commutative && left.constant().is_some() && right.constant().is_none() {
            core::mem::swap(&mut left, &mut right);
        }
        let operands = self.binary_operands(forms, &left, &right)?;
        self.height = height;
        self.emit_binary(forms, operands, output)
    }

    fn binary_operands(&mut self, forms: &BinaryForms, left: &Operand, right: &Operand) -> Result<Operands> {
        if let Some(bits) = right.constant() {
            return Ok(match self.in_acc(left) {
                true => Operands::AccConst(bits),
                false => Operands::SlotConst(self.settle_field(left, 0)?, bits),
            });
        }
        if let (Some(bits), Some(_)) = (left.constant(), forms.reversed) {
            return Ok(match self.in_acc(right) {
                true => Operands::ConstAcc(bits),
                false => Operands::ConstSlot(bits, self.settle_field(right, 1)?),
            });
        }
        let (left_acc, right_acc) = (self.in_acc(left), self.in_acc(right));
        if left_acc && right.place != Place::Acc {
            return Ok(Operands::AccSlot(self.settle_field(right, 1)?));
        }
        if right_acc && left.place != Place::Acc {
            let left = self.settle_field(left, 0)?;
            return Ok(if forms.commutative { Operands::AccSlot(left) } else { Operands::SlotAcc(left) });
        }
        Ok(Operands::SlotSlot(self.settle_field(left, 0)?, self.settle_field(right, 1)?))
    }

    fn emit_binary(&mut self, forms: &'static BinaryForms, operands: Operands, output: Ty) -> Result<()> {
        let result_class = class(output).ok_or_else(invalid)?;
        self.flush(result_class);
        let held = self.holds[result_class];
        if forms.can_trap {
            self.mark();
        }
        let to = self.destination(self.height)?;
        let at = self.code.len();
        let (form, word, imm) = match (operands, &forms.reversed) {
            (Operands::SlotSlot(a, b), _) => (&forms.ss, fields(to, a, b, 0), None),
            (Operands::SlotConst(a, bits), _) => (&forms.si, fields(to, a, 0, 0), Some(bits)),
            (Operands::SlotAcc(a), _) => (&forms.sa, fields(to, a, 0, 0), None),
            (Operands::AccSlot(b), _) => (&forms.as_, fields(to, 0, b, 0), None),
            (Operands::AccConst(bits), _) => (&forms.ai, fields(to, 0, 0, 0), Some(bits)),
            // An immediate of 32 bits takes the place of fields 2 and 3.
            (Operands::ConstSlot(bits, b), Some(reversed)) => (&reversed[0], fields(to, b, 0, 0), Some(bits)),
            (Operands::ConstAcc(bits), Some(reversed)) => (&reversed[1], fields(to, 0, 0, 0), Some(bits)),
            (Operands::ConstSlot(..) | Operands::ConstAcc(_), None) => return Err(invalid()),
        };
        self.code.push(address(form[0]));
        match imm {
            Some(bits) if forms.imm_words == 2 => self.code.push(word | bits << 32),
            Some(bits) => self.code.extend([word, bits]),
            None => self.code.push(word),
        }
        let end = self.code.len();
        self.push_acc(output, at, form[1])?;
        self.last = Last { start: at, end, kind: kind(forms, operands), result: Some(at), held };
        Ok(())
    }

    /// Joins an operator with the one before it that made one of its operands, if there is an instruction for both.
    fn joined(&mut self, forms: &'static BinaryForms, left: &Operand, right: &Operand, output: Ty) -> Result<bool> {
        if !self.is_last_open() {
            return Ok(false);
        }
        let last = self.last;
        let is_last = |o: &Operand| o.pending.is_some_and(|p| last.result == Some(p.at));
        let right_is_last = is_last(right);
        if !right_is_last && !is_last(left) {
            return Ok(false);
        }
        let other = if right_is_last { left } else { right };
        let result_class = class(output).ok_or_else(invalid)?;
        match (forms.join, last.kind) {
            (Join::Plus | Join::Minus, Kind::Product { forms: products, operands }) if other.constant().is_none() => {
                let minus = matches!(forms.join, Join::Minus);
                let row = &products[2 * usize::from(minus) + usize::from(right_is_last)];
                let (form, a, b) = match operands {
                    Operands::SlotSlot(a, b) => (&row[0], a, b),
                    Operands::AccSlot(b) => (&row[1], 0, b),
                    Operands::SlotAcc(a) => (&row[2], a, 0),
                    _ => return Ok(false),
                };
                self.unwind(&last, result_class);
                let c = self.settle_field(other, 2)?;
                self.emit_joined(form, output, left.slot, |to| fields(to, a, b, c), None)
            }
            (Join::Outer(outer) | Join::AddressAndOuter(outer), Kind::Inner { number, operand, bits }) => {
                let forms = &outer[number];
                self.unwind(&last, result_class);
                if let Some(constant) = other.constant() {
                    let (form, x) = match operand {
                        Use::Slot(x) => (&forms.constant[0], x),
                        Use::Acc => (&forms.constant[1], 0),
                    };
                    return self.emit_joined(form, output, left.slot, |to| fields(to, x, 0, bits), Some(constant));
                }
                let (form, l, x) = match operand {
                    Use::Slot(x) if self.in_acc(other) => (&forms.as_, 0, x),
                    Use::Slot(x) => (&forms.ss, self.settle_field(other, 2)?, x),
                    Use::Acc => (&forms.sa, self.settle_field(other, 2)?, 0),
                };
                self.emit_joined(form, output, left.slot, |to| fields(to, l, x, bits), None)
            }
            _ => Ok(false),
        }
    }

    fn emit_joined(&mut self, form: &Forms, output: Ty, slot: i32, word: impl Fn(u16) -> u64, more: Option<u64>) -> Result<bool> {
        let result_class = class(output).ok_or_else(invalid)?;
        self.height = slot;
        self.flush(result_class);
        let held = self.holds[result_class];
        let to = self.destination(slot)?;
        let at = self.code.len();
        self.code.extend([address(form[0]), word(to)]);
        self.code.extend(more);
        let end = self.code.len();
        self.push_acc(output, at, form[1])?;
        self.last = Last { result: Some(at), held, ..Last::at(at, end) };
        Ok(true)
    }

    /// An operand of type `input` (which the forms know), a result of type `output`.
    pub(super) fn unary(&mut self, forms: &'static UnaryForms, output: Ty) -> Result<()> {
        let operand = self.pop()?;
        let result_class = class(output).ok_or_else(invalid)?;
        let acc = self.in_acc(&operand);
        let from = if acc { 0 } else { self.settle_field(&operand, 0)? };
        self.flush(result_class);
        let held = self.holds[result_class];
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
        self.force_top()?;
        let entry = self.stack.last_mut().ok_or_else(invalid)?;
        if entry.place == Place::Acc && !same_class {
            return self.unary(forms, output);
        }
        entry.ty = output;
        Ok(())
    }

    /// `i32.eqz` and `i64.eqz`: negates the comparison before it if there is one.
    pub(super) fn eqz(&mut self, wide: bool) -> Result<()> {
        self.force_top()?;
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
            self.unwind(&last, 0);
            return self.emit_binary(inverse(), operands, Ty::I32);
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

    /// Removes the instructions emitted last, whose result has this class.
    pub(super) fn unwind(&mut self, last: &Last, class: usize) {
        self.code.truncate(last.start);
        while self.map.last().is_some_and(|(p, _)| *p as usize >= last.start) {
            self.map.pop();
        }
        self.holds[class] = last.held;
        self.last = Last::NONE;
    }

    /// The offset of a global in the `VMContext`, as `defined_at` takes it, and its type.
    fn global(&self, index: u32) -> Result<(u32, Ty)> {
        let index = GlobalIndex::from_u32(index);
        let ty = self.env.globals.get(index.index()).ok_or_else(invalid)?.content.abi();
        let offsets = &self.module.offsets;
        let offset = match self.env.defined_global(index) {
            Some(defined) => offsets.global(defined),
            None => offsets.imported_global(index) | IMPORTED,
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
        let held = self.holds[result_class];
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

/// What an instruction is that was emitted for an operator.
fn kind(forms: &'static BinaryForms, operands: Operands) -> Kind {
    if let Some(compare) = forms.compare {
        return Kind::Compare { forms: compare, negate: false, operands };
    }
    match (forms.join, operands) {
        (Join::Product(products), _) => Kind::Product { forms: products, operands },
        (Join::Inner(number), Operands::SlotConst(a, bits)) => {
            Kind::Inner { number, operand: Use::Slot(a), bits: bits as u16 & forms.shift_mask() }
        }
        (Join::Inner(number), Operands::AccConst(bits)) => {
            Kind::Inner { number, operand: Use::Acc, bits: bits as u16 & forms.shift_mask() }
        }
        (Join::AddressAndOuter(_), Operands::SlotSlot(..) | Operands::AccSlot(_)) => Kind::Add { operands, shift: 0 },
        (Join::Outer(_), Operands::SlotConst(a, bits)) if forms.is_wide_add() => match i32::try_from(bits as i64) {
            Ok(by) => Kind::AddConst { slot: i32::from(a as i16), by },
            Err(_) => Kind::Other,
        },
        _ => Kind::Other,
    }
}
