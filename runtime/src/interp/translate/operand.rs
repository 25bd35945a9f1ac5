//! The operand stack while translating: where each operand is, which results are only in an accumulator, and moving
//! operands to slots.

use super::super::code::{Ty, slots};
use super::super::control as handlers;
use super::super::dispatch::{Handler, address};
use super::super::frame::shared_base;
use super::address::Lea;
use super::emit::{Kind, Last, fields};
use super::{TooFar, Translator, class, invalid};
use crate::Result;

/// Slots to copy through in functions with very many slots: four of two slots each.
pub(super) const TEMPORARY_SLOTS: i32 = 8;

/// Where an operand is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In its own slot.
    Slot,
    /// In a local, by index.
    Local(u32),
    /// Bits of a constant.
    Const(u64),
    /// Only in the accumulator of its class.
    Acc,
    /// Not computed yet: an address made of locals and constants.
    Lea(Lea),
}

/// An operand.
#[derive(Copy, Clone, Debug)]
pub(super) struct Entry {
    pub ty: Ty,
    /// Its own slot.
    pub slot: i32,
    pub place: Place,
}

/// An operand that is only in an accumulator.
#[derive(Copy, Clone, Debug)]
pub(super) struct Pending {
    /// The instruction that made it, whose field 0 is the operand's own slot.
    pub at: usize,
    /// The handler that stores it as well.
    pub to_slot: u64,
    /// Its position in the stack.
    pub position: usize,
}

/// An operand that was popped.
#[derive(Copy, Clone, Debug)]
pub(super) struct Operand {
    pub ty: Ty,
    pub slot: i32,
    pub place: Place,
    /// With `Place::Acc`.
    pub pending: Option<Pending>,
}

impl Operand {
    pub(super) fn constant(&self) -> Option<u64> {
        match self.place {
            Place::Const(bits) => Some(bits),
            _ => None,
        }
    }
}

/// Whether a field can name a slot, and the one after it, which belongs to it if it holds a vector.
fn fits(slot: i32) -> bool {
    i16::try_from(slot).is_ok() && i16::try_from(slot + 1).is_ok()
}

impl Translator<'_> {
    /// Pushes an operand and makes sure that the frame has its slot.
    pub(super) fn push(&mut self, ty: Ty, place: Place) {
        let slot = self.height;
        self.height += slots(ty) as i32;
        self.max = self.max.max(self.height);
        if ty == Ty::HeapRef {
            self.add_root(slot);
        }
        self.stack.push(Entry { ty, slot, place });
    }

    /// Notes that a slot may hold a heap reference.
    pub(super) fn add_root(&mut self, slot: i32) {
        let bit = (slot - self.lowest_slot()) as usize;
        if bit / 64 >= self.roots.len() {
            self.roots.resize(bit / 64 + 1, 0);
        }
        self.roots[bit / 64] |= 1 << (bit % 64);
    }

    /// The slots that may hold heap references.
    pub(super) fn root_slots(&self) -> Box<[i32]> {
        let lowest = self.lowest_slot();
        let bits = |(i, word): (usize, &u64)| {
            let word = *word;
            (0..64).filter(move |bit| word >> bit & 1 != 0).map(move |bit| (i * 64) as i32 + bit)
        };
        self.roots.iter().enumerate().flat_map(bits).map(|bit| lowest + bit).collect()
    }

    fn lowest_slot(&self) -> i32 {
        shared_base(self.sig.shared_slots())
    }

    /// Pushes the result of the instruction at `at`, which goes to its accumulator only, with its slot in field 0 (`dst`).
    pub(super) fn push_acc(&mut self, ty: Ty, at: usize, to_slot: Handler) -> Result<()> {
        let class = class(ty).ok_or_else(invalid)?;
        let to_slot = address(to_slot);
        let slot = self.height;
        if fits(slot) {
            self.pending[class] = Some(Pending { at, to_slot, position: self.stack.len() });
            self.holds[class] = None;
            // The slot is written if this is stored later on, and nobody will look at the others then.
            self.wrote(slot, ty);
            self.push(ty, Place::Acc);
        } else {
            self.code[at] = to_slot;
            self.push(ty, Place::Slot);
            self.finish_far(slot, ty)?;
            self.note(class, slot);
        }
        Ok(())
    }

    /// Pushes a result that is in the next operand's own slot.
    pub(super) fn push_slot(&mut self, ty: Ty) {
        let slot = self.height;
        self.push(ty, Place::Slot);
        self.wrote(slot, ty);
    }

    /// Pops an operand. What was not computed yet is computed now; if an operand that this operator has popped before is in the
    /// integer accumulator, without touching that.
    pub(super) fn pop(&mut self) -> Result<Operand> {
        self.force_top()?;
        self.pop_as_is()
    }

    /// Pops an operand that may not be computed yet.
    pub(super) fn pop_as_is(&mut self) -> Result<Operand> {
        let base = self.blocks.last().map_or(0, |b| b.base);
        if self.stack.len() <= base {
            return Err(invalid());
        }
        let entry = self.stack.pop().ok_or_else(invalid)?;
        self.settled = self.settled.min(self.stack.len());
        self.height = entry.slot;
        let mut pending = None;
        match entry.place {
            Place::Acc => {
                let class = class(entry.ty).ok_or_else(invalid)?;
                self.acc_in_use |= class == 0;
                pending = self.pending[class].take();
            }
            Place::Local(index) => self.forwarded[index as usize] -= 1,
            Place::Lea(lea) => self.forget(lea),
            _ => {}
        }
        Ok(Operand { ty: entry.ty, slot: entry.slot, place: entry.place, pending })
    }

    /// Forgets the operands above a position.
    pub(super) fn truncate(&mut self, len: usize) -> Result<()> {
        while self.stack.len() > len {
            let entry = self.stack.pop().ok_or_else(invalid)?;
            self.height = entry.slot;
            match entry.place {
                Place::Acc => {
                    if let Some(class) = class(entry.ty) {
                        self.pending[class] = None;
                    }
                }
                Place::Local(index) => self.forwarded[index as usize] -= 1,
                Place::Lea(lea) => self.forget(lea),
                _ => {}
            }
        }
        self.settled = self.settled.min(len);
        Ok(())
    }

    /// Whether an operand's value is in the accumulator of its class.
    /// If it is, the integer accumulator is not touched any more by this operator's other operands.
    pub(super) fn in_acc(&mut self, o: &Operand) -> bool {
        let Some(class) = class(o.ty) else { return false };
        let acc = match o.place {
            Place::Acc => true,
            Place::Slot => self.holds[class] == Some(o.slot),
            Place::Local(index) => self.holds[class] == Some(self.locals[index as usize].0),
            Place::Const(_) | Place::Lea(_) => false,
        };
        self.acc_in_use |= acc && class == 0;
        acc
    }

    /// The slot of an operand, to which it is moved if it is in none. Leaves the accumulators alone.
    pub(super) fn settle(&mut self, o: &Operand) -> Result<i32> {
        match o.place {
            Place::Slot => Ok(o.slot),
            Place::Local(index) => Ok(self.locals[index as usize].0),
            Place::Const(bits) => {
                self.emit_set(o.slot, o.ty, bits)?;
                Ok(o.slot)
            }
            Place::Acc => {
                let pending = o.pending.ok_or_else(invalid)?;
                self.code[pending.at] = pending.to_slot;
                if let Some(class) = class(o.ty) {
                    self.note(class, o.slot);
                }
                Ok(o.slot)
            }
            Place::Lea(lea) => {
                self.emit_lea_quietly(lea, o.slot)?;
                Ok(o.slot)
            }
        }
    }

    /// The slot of an operand as a field. `index` tells the operands of an instruction apart.
    pub(super) fn settle_field(&mut self, o: &Operand, index: i32) -> Result<u16> {
        let slot = self.settle(o)?;
        self.source(slot, o.ty, index)
    }

    /// A slot to read as a field. `index` tells the operands of an instruction apart.
    pub(super) fn source(&mut self, slot: i32, ty: Ty, index: i32) -> Result<u16> {
        if fits(slot) {
            return Ok(slot as u16);
        }
        let temporary = self.temporaries.ok_or(TooFar)? + 2 * index;
        self.copy_far(temporary, slot, ty);
        Ok(temporary as u16)
    }

    /// A slot to write as a field. If it is too far away, `finish_far` has to follow the instruction.
    pub(super) fn destination(&mut self, slot: i32) -> Result<u16> {
        if fits(slot) {
            return Ok(slot as u16);
        }
        Ok(self.temporaries.ok_or(TooFar)? as u16)
    }

    /// Moves a result to a slot that is too far away for a field.
    pub(super) fn finish_far(&mut self, slot: i32, ty: Ty) -> Result<()> {
        if !fits(slot) {
            let temporary = self.temporaries.ok_or(TooFar)?;
            self.copy_far(slot, temporary, ty);
        }
        Ok(())
    }

    fn copy_far(&mut self, to: i32, from: i32, ty: Ty) {
        for i in 0..slots(ty) as i32 {
            self.code.extend([address(handlers::copy_far), (to + i) as i64 as u64, (from + i) as i64 as u64]);
        }
        self.last = Last::NONE;
    }

    /// Stores what is only in an accumulator.
    pub(super) fn flush(&mut self, class: usize) {
        if let Some(pending) = self.pending[class].take() {
            self.code[pending.at] = pending.to_slot;
            let entry = &mut self.stack[pending.position];
            entry.place = Place::Slot;
            let slot = entry.slot;
            self.note(class, slot);
        }
    }

    /// Stores what is only in an accumulator, for all of them.
    pub(super) fn flush_all(&mut self) {
        for class in 0..super::CLASSES {
            self.flush(class);
        }
    }

    /// Notes that an accumulator has the value of a slot.
    pub(super) fn note(&mut self, class: usize, slot: i32) {
        for holds in &mut self.holds {
            if *holds == Some(slot) {
                *holds = None;
            }
        }
        self.holds[class] = Some(slot);
    }

    /// Notes that a slot was written without its accumulator.
    pub(super) fn wrote(&mut self, slot: i32, ty: Ty) {
        for holds in &mut self.holds {
            if holds.is_some_and(|s| s >= slot && s < slot + slots(ty) as i32) {
                *holds = None;
            }
        }
    }

    /// Moves the operand at a position to its own slot. Leaves the accumulators alone.
    pub(super) fn materialize(&mut self, position: usize) -> Result<()> {
        let entry = self.stack[position];
        match entry.place {
            Place::Slot => {}
            Place::Const(bits) => self.emit_set(entry.slot, entry.ty, bits)?,
            Place::Local(index) => {
                self.forwarded[index as usize] -= 1;
                let from = self.locals[index as usize].0;
                self.emit_copy(entry.slot, from, entry.ty)?;
            }
            Place::Acc => {
                if let Some(class) = class(entry.ty) {
                    self.flush(class);
                }
            }
            Place::Lea(lea) => {
                self.forget(lea);
                self.emit_lea_quietly(lea, entry.slot)?;
            }
        }
        self.stack[position].place = Place::Slot;
        Ok(())
    }

    /// Moves the `count` topmost operands to their own slots.
    pub(super) fn materialize_top(&mut self, count: usize) -> Result<()> {
        let len = self.stack.len();
        for position in len.checked_sub(count).ok_or_else(invalid)?..len {
            self.materialize(position)?;
        }
        Ok(())
    }

    /// Makes every operand one that stays valid on all paths through a block: constants, and what is in its own slot.
    pub(super) fn settle_all(&mut self) -> Result<()> {
        self.flush_all();
        for position in self.settled..self.stack.len() {
            if let Place::Local(_) | Place::Lea(_) = self.stack[position].place {
                self.materialize(position)?;
            }
        }
        self.settled = self.stack.len();
        Ok(())
    }

    /// Emits a constant to a slot. Leaves the accumulators alone.
    pub(super) fn emit_set(&mut self, slot: i32, ty: Ty, bits: u64) -> Result<()> {
        let to = self.destination(slot)?;
        match u32::try_from(bits) {
            Ok(small) => self.code.extend([address(handlers::set_small), fields(to, 0, 0, 0) | u64::from(small) << 32]),
            Err(_) => self.code.extend([address(handlers::set), fields(to, 0, 0, 0), bits]),
        }
        self.last = Last::NONE;
        self.finish_far(slot, ty)?;
        self.wrote(slot, ty);
        Ok(())
    }

    /// Emits a copy between slots. Leaves the accumulators alone.
    pub(super) fn emit_copy(&mut self, to: i32, from: i32, ty: Ty) -> Result<()> {
        if to == from {
            return Ok(());
        }
        if let Some(class) = class(ty)
            && self.holds[class] == Some(from)
        {
            return self.emit_copy_acc(to, ty);
        }
        let read = self.source(from, ty, 1)?;
        let write = self.destination(to)?;
        let at = self.code.len();
        if ty == Ty::V128 {
            self.code.extend([address(handlers::copy_vector), fields(write, read, 0, 0)]);
            self.last = Last::NONE;
        } else if self.last.kind == Kind::Copy && self.last.end == at && self.last.start >= self.floor {
            // Two copies in one instruction.
            self.code[at - 2] = address(handlers::copy_two);
            self.code[at - 1] |= fields(0, 0, write, read);
            self.last = Last::NONE;
        } else {
            self.code.extend([address(handlers::copy), fields(write, read, 0, 0)]);
            self.last = Last { kind: Kind::Copy, ..Last::at(at, self.code.len()) };
        }
        self.finish_far(to, ty)?;
        self.wrote(to, ty);
        Ok(())
    }

    /// Emits a store of an accumulator to a slot.
    pub(super) fn emit_copy_acc(&mut self, to: i32, ty: Ty) -> Result<()> {
        let handler = match ty {
            Ty::F64 => handlers::copy_acc::<f64>,
            Ty::F32 => handlers::copy_acc::<f32>,
            _ => handlers::copy_acc::<u64> as Handler,
        };
        let write = self.destination(to)?;
        self.code.extend([address(handler), fields(write, 0, 0, 0)]);
        self.last = Last::NONE;
        self.finish_far(to, ty)?;
        Ok(())
    }

    /// Puts an operand into a slot that is not its own: a local, or where a branch target expects it.
    pub(super) fn assign(&mut self, slot: i32, o: &Operand, may_redirect: bool) -> Result<()> {
        let redirect = may_redirect && fits(slot);
        match o.place {
            Place::Acc => {
                let pending = o.pending.ok_or_else(invalid)?;
                let class = class(o.ty).ok_or_else(invalid)?;
                if redirect && self.last.result == Some(pending.at) && self.is_last_open() {
                    self.code[pending.at] = pending.to_slot;
                    self.set_destination(pending.at, slot);
                    self.note_increment(slot);
                    self.last.kind = Kind::Other;
                } else {
                    self.emit_copy_acc(slot, o.ty)?;
                }
                self.wrote(slot, o.ty);
                self.note(class, slot);
                Ok(())
            }
            Place::Const(bits) => self.emit_set(slot, o.ty, bits),
            Place::Lea(lea) => self.emit_lea_quietly(lea, slot),
            Place::Local(index) => {
                let from = self.locals[index as usize].0;
                self.emit_copy(slot, from, o.ty)
            }
            Place::Slot => {
                if let (true, Kind::Slot, Some(at)) = (redirect, self.last.kind, self.last.result)
                    && self.is_last_open()
                    && self.destination_of(at) == o.slot
                {
                    self.set_destination(at, slot);
                    self.last.kind = Kind::Other;
                    self.wrote(slot, o.ty);
                    Ok(())
                } else {
                    self.emit_copy(slot, o.slot, o.ty)
                }
            }
        }
    }

    /// `local.set` and `local.tee`.
    pub(super) fn local_set(&mut self, index: u32, tee: bool) -> Result<()> {
        let o = self.pop()?;
        let (slot, ty) = *self.locals.get(index as usize).ok_or_else(invalid)?;
        if o.place != Place::Local(index) {
            let preserve = self.forwarded[index as usize];
            if preserve > 0 {
                self.preserve(index, preserve)?;
            }
            self.assign(slot, &o, preserve == 0)?;
        }
        if tee {
            self.forwarded[index as usize] += 1;
            self.push(ty, Place::Local(index));
        }
        Ok(())
    }

    /// Copies a local to the slots of the operands that stand for it, before it changes.
    #[cold]
    fn preserve(&mut self, index: u32, mut count: u32) -> Result<()> {
        let mut position = self.stack.len();
        while count > 0 {
            position = position.checked_sub(1).ok_or_else(invalid)?;
            let uses = match self.stack[position].place {
                Place::Local(i) => u32::from(i == index),
                Place::Lea(lea) => lea.uses(index),
                _ => 0,
            };
            if uses > 0 {
                self.materialize(position)?;
                count = count.saturating_sub(uses);
            }
        }
        Ok(())
    }

    fn destination_of(&self, at: usize) -> i32 {
        i32::from(self.code[at + 1] as u16 as i16)
    }

    fn set_destination(&mut self, at: usize, slot: i32) {
        self.code[at + 1] = self.code[at + 1] & !0xffff | u64::from(slot as u16);
    }

    /// Whether the last instruction may still be changed.
    pub(super) fn is_last_open(&self) -> bool {
        self.last.end == self.code.len() && self.last.start >= self.floor
    }
}
