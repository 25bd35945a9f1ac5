//! Conditions: what branches and selections use. A comparison, a test for zero or an `and` that was emitted just before is
//! taken back, and becomes part of the branch or selection; so does the increment of a loop's counter before it.

use super::super::code::Ty;
use super::super::control as handlers;
use super::super::dispatch::{A, Forms, Handler, S, ToAcc, ToSlot, address};
use super::super::numeric::{CompareForms, branch_count};
use super::emit::{Kind, Last, Operands, Use, fields};
use super::{Translator, class, invalid};
use crate::Result;

/// A condition that is still to be emitted, with the branch or selection that uses it.
#[derive(Copy, Clone)]
pub(super) enum Condition {
    Compare { forms: &'static CompareForms, negate: bool, operands: Operands },
    Test { wide: bool, zero: bool, operand: Use },
}

/// An addition of a constant to a local that was emitted last.
#[derive(Copy, Clone)]
pub(super) struct Increment {
    pub start: usize,
    pub end: usize,
    pub slot: i32,
    pub by: i32,
    pub wide: bool,
}

impl Translator<'_> {
    /// Pops a condition. Afterwards the accumulators have to be left alone until `branch_on` or `select_on`.
    pub(super) fn pop_condition(&mut self, for_select: bool) -> Result<Condition> {
        let operand = self.pop()?;
        // Whatever becomes of the other operands, the accumulators stay as they are.
        self.acc_in_use = true;
        if let (Some(pending), true) = (operand.pending, self.is_last_open())
            && self.last.result == Some(pending.at)
        {
            let last = self.last;
            match last.kind {
                Kind::Compare { forms, negate, operands } if !for_select || fits_select(forms, operands) => {
                    self.unwind(&last, 0);
                    return Ok(Condition::Compare { forms, negate, operands });
                }
                Kind::Test { wide, zero, operand } if !(for_select && wide) => {
                    self.unwind(&last, 0);
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
        if self.branch_after_increment(condition, holds, label) {
            return;
        }
        let back = self.is_behind(label);
        match condition {
            Condition::Compare { forms, negate, operands } => {
                let forms = &forms.branch[usize::from(back)][usize::from(holds != negate)];
                let (handler, word, imm) = match operands {
                    Operands::SlotSlot(a, b) => (forms.ss, fields(a, b, 0, 0), None),
                    Operands::SlotConst(a, bits) => (forms.si, fields(a, 0, 0, 0), Some(bits)),
                    Operands::SlotAcc(a) => (forms.sa, fields(a, 0, 0, 0), None),
                    Operands::AccSlot(b) => (forms.as_, fields(0, b, 0, 0), None),
                    Operands::AccConst(bits) => (forms.ai, 0, Some(bits)),
                    // Comparisons have no form with a constant on the left.
                    Operands::ConstSlot(..) | Operands::ConstAcc(_) => return,
                };
                self.code.extend([address(handler), word]);
                self.site(self.code.len() - 1, label);
                self.code.extend(imm);
            }
            Condition::Test { wide, zero, operand } => {
                let if_set = holds != zero;
                let (handlers, field): ([Handler; 2], u16) = match (wide, if_set, operand) {
                    (false, true, Use::Slot(s)) => (branches_if::<u32, S<0>, true>(), s),
                    (false, false, Use::Slot(s)) => (branches_if::<u32, S<0>, false>(), s),
                    (true, true, Use::Slot(s)) => (branches_if::<u64, S<0>, true>(), s),
                    (true, false, Use::Slot(s)) => (branches_if::<u64, S<0>, false>(), s),
                    (false, true, Use::Acc) => (branches_if::<u32, A, true>(), 0),
                    (false, false, Use::Acc) => (branches_if::<u32, A, false>(), 0),
                    (true, true, Use::Acc) => (branches_if::<u64, A, true>(), 0),
                    (true, false, Use::Acc) => (branches_if::<u64, A, false>(), 0),
                };
                let handler = handlers[usize::from(back)];
                self.code.extend([address(handler), fields(field, 0, 0, 0)]);
                self.site(self.code.len() - 1, label);
            }
        }
        self.last = Last::NONE;
    }

    /// Branches on a counter whose increment is the instruction emitted last, as one instruction with it.
    fn branch_after_increment(&mut self, condition: Condition, holds: bool, label: usize) -> bool {
        let Some(increment) = self.increment.take() else { return false };
        if increment.end != self.code.len() || increment.start < self.floor || self.holds[0] != Some(increment.slot) {
            return false;
        }
        let counter = increment.slot as u16;
        let by = u64::from(increment.by as u32);
        let back = usize::from(self.is_behind(label));
        let (handler, word, operands): (Handler, u64, u64) = match condition {
            Condition::Compare { forms, negate, operands } if forms.wide == increment.wide => {
                let Some(handlers) = &forms.increment else { return false };
                let handlers = &handlers[back][usize::from(holds != negate)];
                match operands {
                    Operands::AccSlot(limit) => (handlers[0], fields(counter, limit, 0, 0), by),
                    Operands::AccConst(bits) if !forms.wide || bits as i64 == i64::from(bits as i32) => {
                        (handlers[1], fields(counter, 0, 0, 0), by | bits << 32)
                    }
                    _ => return false,
                }
            }
            Condition::Test { wide, zero, operand: Use::Acc } if wide == increment.wide => {
                let handlers: [Handler; 2] = match (wide, holds != zero) {
                    (false, false) => [branch_count::<u32, false, false>, branch_count::<u32, false, true>],
                    (false, true) => [branch_count::<u32, true, false>, branch_count::<u32, true, true>],
                    (true, false) => [branch_count::<u64, false, false>, branch_count::<u64, false, true>],
                    (true, true) => [branch_count::<u64, true, false>, branch_count::<u64, true, true>],
                };
                (handlers[back], fields(counter, 0, 0, 0), by)
            }
            _ => return false,
        };
        self.code.truncate(increment.start);
        self.code.extend([address(handler), word]);
        self.site(self.code.len() - 1, label);
        self.code.push(operands);
        self.last = Last::NONE;
        true
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
        let held = self.holds[class];
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
                    _ => return Err(invalid()),
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
        self.last = Last { result: Some(at), held, ..Last::at(at, end) };
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
}

/// `branch_if` [forwards, backwards].
fn branches_if<T: super::super::dispatch::Val + handlers::Zero, X: super::super::dispatch::Src<T>, const IF: bool>() -> [Handler; 2] {
    [handlers::branch_if::<T, X, IF, false>, handlers::branch_if::<T, X, IF, true>]
}

fn fits_select(forms: &CompareForms, operands: Operands) -> bool {
    match operands {
        Operands::SlotSlot(..) | Operands::AccSlot(_) => true,
        Operands::SlotAcc(_) | Operands::ConstSlot(..) | Operands::ConstAcc(_) => false,
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
