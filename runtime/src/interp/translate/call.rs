//! Calls. Arguments go to their own slots, which are the callee's parameters; results come back in the same slots.

use super::super::call as handlers;
use super::super::code::{ClosedElements, Sig};
use super::super::dispatch::{A, Handler, S, address};
use super::super::trace;
use super::emit::{Last, fields};
use super::operand::Operand;
use super::{Translator, class, frame_distance, invalid, is_interpreted};
use crate::Result;
use wasmc_environ::{FuncIndex, TableIndex, TypeIndex};

/// Where a tail call takes its callee from.
enum Tail {
    Function(FuncIndex),
    Reference(i32),
    Table { index: i32, table: TableIndex, ty: TypeIndex },
}

impl<'a> Translator<'a> {
    pub(super) fn sig_of(&self, ty: TypeIndex) -> Result<&'a Sig> {
        if ty.index() >= self.env.types.len() {
            return Err(invalid());
        }
        Ok(self.module.interp.sig(self.env, ty))
    }

    fn sig_of_function(&self, func: FuncIndex) -> Result<&'a Sig> {
        self.sig_of(*self.env.functions.get(func.index()).ok_or_else(invalid)?)
    }

    /// Moves the arguments to their slots and pops them; the first one's slot. Nothing is in an accumulator only afterwards.
    fn arguments(&mut self, sig: &Sig) -> Result<i32> {
        let count = sig.params.len();
        self.materialize_top(count)?;
        self.flush_all();
        let base = self.stack.len().checked_sub(count).ok_or_else(invalid)?;
        let first = self.stack.get(base).map_or(self.height, |e| e.slot);
        self.truncate(base)?;
        self.max = self.max.max(first + sig.shared_slots() as i32);
        Ok(first)
    }

    /// Pushes the results of a call.
    fn results(&mut self, sig: &Sig) {
        self.holds = [None; super::CLASSES];
        self.last = Last::NONE;
        let slot = self.height;
        for ty in &sig.results {
            self.push(*ty, super::operand::Place::Slot);
        }
        if let [ty] = *sig.results
            && let Some(class) = class(ty)
        {
            // The instruction that returned it left it in the accumulator as well.
            self.holds[class] = Some(slot);
        }
    }

    pub(super) fn call(&mut self, index: u32) -> Result<()> {
        let func = FuncIndex::from_u32(index);
        let sig = self.sig_of_function(func)?;
        let first = self.arguments(sig)?;
        let upper = u64::from((first + frame_distance(sig)) as u32) << 32;
        self.mark();
        match self.env.defined_func(func) {
            Some(defined) if is_interpreted(self.module, defined) => {
                let target = &raw const self.module.interp.funcs[defined.index()];
                self.code.extend([address(handlers::call), upper, target as u64]);
            }
            Some(_) => {
                self.code.extend([address(handlers::call_compiled), upper | u64::from(index), core::ptr::from_ref(sig) as u64]);
            }
            None => {
                let offset = self.module.offsets.imported_function(func);
                self.code.extend([address(handlers::call_import), upper | u64::from(offset), core::ptr::from_ref(sig) as u64]);
            }
        }
        self.results(sig);
        Ok(())
    }

    fn closed(&self, table: TableIndex) -> Option<&'a ClosedElements> {
        let module = self.module;
        module.interp.closed(self.env, table, |f| is_interpreted(module, f))
    }

    /// Elements, and their number with the canonical type.
    fn closed_words(&self, elements: &ClosedElements, ty: TypeIndex) -> [u64; 2] {
        let canonical = self.env.canonical[ty.index()].as_u32();
        [elements.0.as_ptr() as u64, elements.0.len() as u64 | u64::from(canonical) << 32]
    }

    /// The offset of a table's definition (as `defined_at` takes it) with a type.
    fn open_word(&self, table: TableIndex, ty: TypeIndex) -> u64 {
        let offsets = &self.module.offsets;
        let offset = match self.env.defined_table(table) {
            Some(defined) => offsets.table(defined),
            None => offsets.imported_table(table) | handlers::IMPORTED,
        };
        u64::from(offset) | u64::from(ty.as_u32()) << 32
    }

    pub(super) fn call_indirect(&mut self, ty: u32, table: u32) -> Result<()> {
        let (ty, table) = (TypeIndex::from_u32(ty), TableIndex::from_u32(table));
        let sig = self.sig_of(ty)?;
        if table.index() >= self.env.tables.len() {
            return Err(invalid());
        }
        let index = self.pop()?;
        let acc = self.in_acc(&index);
        // Arguments are only copied, stored and set after this, which leaves the accumulator alone.
        let field = if acc { 0 } else { self.settle_field(&index, 0)? };
        let first = self.arguments(sig)?;
        let word = fields(field, 0, 0, 0) | u64::from((first + frame_distance(sig)) as u32) << 32;
        self.mark();
        let sig_word = core::ptr::from_ref(sig) as u64;
        match self.closed(table) {
            Some(elements) => {
                let [first, second] = self.closed_words(elements, ty);
                let handler: Handler = if acc { handlers::call_closed::<A> } else { handlers::call_closed::<S<0>> };
                self.code.extend([address(handler), word, sig_word, first, second]);
            }
            None => {
                let handler: Handler = if acc { handlers::call_indirect::<A> } else { handlers::call_indirect::<S<0>> };
                let table = self.open_word(table, ty);
                self.code.extend([address(handler), word, sig_word, table]);
            }
        }
        self.results(sig);
        Ok(())
    }

    pub(super) fn call_ref(&mut self, ty: u32) -> Result<()> {
        let sig = self.sig_of(TypeIndex::from_u32(ty))?;
        let reference = self.pop()?;
        let field = self.settle_field(&reference, 0)?;
        let first = self.arguments(sig)?;
        self.mark();
        let word = fields(field, 0, 0, 0) | u64::from((first + frame_distance(sig)) as u32) << 32;
        self.code.extend([address(handlers::call_ref), word, core::ptr::from_ref(sig) as u64]);
        self.results(sig);
        Ok(())
    }

    pub(super) fn return_call(&mut self, index: u32) -> Result<()> {
        let func = FuncIndex::from_u32(index);
        let sig = self.sig_of_function(func)?;
        self.tail_call(sig, Tail::Function(func))
    }

    pub(super) fn return_call_indirect(&mut self, ty: u32, table: u32) -> Result<()> {
        let (ty, table) = (TypeIndex::from_u32(ty), TableIndex::from_u32(table));
        let sig = self.sig_of(ty)?;
        let index = self.pop()?;
        let index = self.keep(&index)?;
        self.tail_call(sig, Tail::Table { index, table, ty })
    }

    pub(super) fn return_call_ref(&mut self, ty: u32) -> Result<()> {
        let sig = self.sig_of(TypeIndex::from_u32(ty))?;
        let reference = self.pop()?;
        let reference = self.keep(&reference)?;
        self.tail_call(sig, Tail::Reference(reference))
    }

    /// The slot of the operand behind the arguments of a tail call. Word 4 has room for every slot.
    fn keep(&mut self, o: &Operand) -> Result<i32> {
        self.settle(o)
    }

    fn tail_call(&mut self, sig: &'a Sig, callee: Tail) -> Result<()> {
        let first = self.arguments(sig)?;
        if let Some(slot) = self.trace_slot {
            self.code.extend([address(trace::trace_tail), u64::from(slot as u32)]);
        }
        self.mark();
        let slots = u64::from(first as u32) | u64::from(sig.param_slots) << 32;
        let shared = u64::from(self.sig.shared_slots()) | u64::from(sig.shared_slots()) << 32;
        let sig_word = core::ptr::from_ref(sig) as u64;
        match callee {
            Tail::Function(func) => match self.env.defined_func(func) {
                Some(defined) if is_interpreted(self.module, defined) => {
                    let target = &raw const self.module.interp.funcs[defined.index()];
                    self.code.extend([address(handlers::tail_call), slots, target as u64, shared]);
                }
                Some(_) => {
                    let index = u64::from(func.as_u32());
                    self.code.extend([address(handlers::tail_call_compiled), slots, sig_word, shared, index]);
                }
                None => {
                    let offset = u64::from(self.module.offsets.imported_function(func));
                    let handler: Handler = handlers::tail_call_reference::<handlers::FromImport>;
                    self.code.extend([address(handler), slots, sig_word, shared, offset]);
                }
            },
            Tail::Reference(slot) => {
                let handler: Handler = handlers::tail_call_reference::<handlers::FromSlot>;
                self.code.extend([address(handler), slots, sig_word, shared, slot as i64 as u64]);
            }
            Tail::Table { index, table, ty } => {
                if table.index() >= self.env.tables.len() {
                    return Err(invalid());
                }
                let index = index as i64 as u64;
                match self.closed(table) {
                    Some(elements) => {
                        let [first, second] = self.closed_words(elements, ty);
                        let handler: Handler = handlers::tail_call_closed;
                        self.code.extend([address(handler), slots, sig_word, shared, index, first, second]);
                    }
                    None => {
                        let handler: Handler = handlers::tail_call_reference::<handlers::FromTable>;
                        let table = self.open_word(table, ty);
                        self.code.extend([address(handler), slots, sig_word, shared, index, table]);
                    }
                }
            }
        }
        self.last = Last::NONE;
        self.stop()
    }

    /// `throw`.
    pub(super) fn throw(&mut self, tag: u32) -> Result<()> {
        let ty = self.env.tags.get(tag as usize).ok_or_else(invalid)?.ty;
        let sig = self.sig_of(ty)?;
        let first = self.arguments(sig)?;
        self.mark();
        self.code.extend([address(handlers::throw), u64::from(first as u32) | u64::from(tag) << 32]);
        self.last = Last::NONE;
        self.stop()
    }

    /// `throw_ref`.
    pub(super) fn throw_ref(&mut self) -> Result<()> {
        let operand = self.pop()?;
        let field = self.settle_field(&operand, 0)?;
        self.flush_all();
        self.mark();
        self.code.extend([address(handlers::throw_ref), fields(field, 0, 0, 0)]);
        self.last = Last::NONE;
        self.stop()
    }
}
