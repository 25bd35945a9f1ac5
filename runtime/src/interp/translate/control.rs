//! Blocks, branches, returns, and the handlers of `try_table`.
//!
//! A block's parameters and results lie in the slots from its base upwards. Entering a block settles every operand,
//! since on the paths through it locals may change; at a label that is branched to, results are in their slots and
//! nothing is known of the accumulators.

use super::super::code::{Catch, Reference, Sig, Try, Ty, slots};
use super::super::control as handlers;
use super::super::dispatch::{A, Handler, I, S, address};
use super::super::trace;
use super::emit::{Kind, Last, fields};
use super::join::Condition;
use super::operand::{Entry, Operand, Place};
use super::{Translator, invalid, value_type};
use crate::Result;
use std::collections::HashMap;
use wasmc_environ::wasmparser::{BlockType, BrTable, Catch as WpCatch, TryTable};
use wasmc_environ::{TagIndex, TypeIndex};

/// As many values are copied one by one.
const MANY: usize = 4;

/// A position in the instructions, perhaps not yet known.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Label {
    pub position: Option<u32>,
    /// The word that was last emitted to branch here; its upper half is the one before, until the position is known.
    sites: u32,
    /// Whether anything leads here but falling through.
    pub used: bool,
}

/// What kind of block.
#[derive(Debug)]
pub(super) enum BlockKind {
    Function,
    Block,
    Loop,
    /// With the label of `else`.
    If(usize),
    Else,
    /// Where it begins, and its clauses.
    Try(usize, Vec<Catch>),
    /// The body of a `try` of the first form, and where it begins.
    LegacyTry(usize),
    /// A handler of one: its position in `Translator::tries`, the clauses so far, and the slot of the exception that the current
    /// one caught.
    LegacyCatch {
        index: usize,
        catches: Vec<Catch>,
        exception: Option<i32>,
    },
}

/// A block that is open.
#[derive(Debug)]
pub(super) struct Block<'a> {
    pub kind: BlockKind,
    pub label: usize,
    params: &'a [Ty],
    pub results: &'a [Ty],
    /// Operands below it.
    pub base: usize,
    /// Slot of its first parameter or result.
    pub height: i32,
}

/// A handler to be emitted at the end of the function: a clause whose label is the function itself.
#[derive(Debug)]
pub(super) struct Pad {
    label: usize,
    slot: i32,
}

impl<'a> Block<'a> {
    fn label_types(&self) -> &'a [Ty] {
        if matches!(self.kind, BlockKind::Loop) { self.params } else { self.results }
    }

    /// Operands below it, without the exception that a handler keeps.
    pub(super) fn outer_base(&self) -> usize {
        self.base - usize::from(matches!(self.kind, BlockKind::LegacyCatch { exception: Some(_), .. }))
    }
}

fn one(ty: Ty) -> &'static [Ty] {
    match ty {
        Ty::I32 => &[Ty::I32],
        Ty::I64 => &[Ty::I64],
        Ty::F32 => &[Ty::F32],
        Ty::F64 => &[Ty::F64],
        Ty::V128 => &[Ty::V128],
        Ty::FuncRef => &[Ty::FuncRef],
        Ty::HeapRef => &[Ty::HeapRef],
    }
}

impl<'a> Translator<'a> {
    pub(super) fn new_label(&mut self) -> usize {
        self.labels.push(Label::default());
        self.labels.len() - 1
    }

    /// Makes the upper half of the word at `at` lead to a label.
    pub(super) fn site(&mut self, at: usize, label: usize) {
        let label = &mut self.labels[label];
        label.used = true;
        let upper = match label.position {
            Some(position) => position.wrapping_sub(at as u32),
            None => core::mem::replace(&mut label.sites, at as u32),
        };
        self.code[at] = self.code[at] & 0xffff_ffff | u64::from(upper) << 32;
    }

    /// Says that a label is here. Does not change what is known of operands.
    fn place_label(&mut self, label: usize) {
        let here = self.code.len() as u32;
        let label = &mut self.labels[label];
        label.position = Some(here);
        let mut at = core::mem::take(&mut label.sites);
        while at != 0 {
            let word = &mut self.code[at as usize];
            let before = (*word >> 32) as u32;
            *word = *word & 0xffff_ffff | u64::from(here.wrapping_sub(at)) << 32;
            at = before;
        }
        self.floor = self.code.len();
        self.last = Last::NONE;
    }

    /// Says that a label is here to which other paths lead.
    pub(super) fn bind(&mut self, label: usize) {
        self.flush_all();
        self.holds = [None; super::CLASSES];
        self.place_label(label);
    }

    fn block_type(&self, ty: BlockType) -> Result<(&'a [Ty], &'a [Ty])> {
        Ok(match ty {
            BlockType::Empty => (&[], &[]),
            BlockType::Type(ty) => (&[], one(value_type(ty)?)),
            BlockType::FuncType(index) => {
                if index as usize >= self.env.types.len() {
                    return Err(invalid());
                }
                let sig: &'a Sig = self.module.interp.sig(self.env, TypeIndex::from_u32(index));
                (&sig.params, &sig.results)
            }
        })
    }

    pub(super) fn begin_function(&mut self) {
        let label = self.new_label();
        let sig = self.sig;
        let height = self.height;
        self.blocks.push(Block { kind: BlockKind::Function, label, params: &[], results: &sig.results, base: 0, height });
    }

    pub(super) fn begin(&mut self, kind: BlockKind, ty: BlockType) -> Result<()> {
        let (params, results) = self.block_type(ty)?;
        let base = self.stack.len().checked_sub(params.len()).ok_or_else(invalid)?;
        let height = self.stack.get(base).map_or(self.height, |e| e.slot);
        let label = self.new_label();
        if matches!(kind, BlockKind::Loop) {
            self.bind(label);
            self.count_turns();
        }
        // A branch may fill the slots of results that no instruction pushes.
        self.reserve(height, results);
        self.blocks.push(Block { kind, label, params, results, base, height });
        Ok(())
    }

    /// In a module that is compiled while it runs, counts the turns of the loop that begins here. Native code can be entered here if
    /// there are no operands (`TierEntry::Loop`).
    fn count_turns(&mut self) {
        if self.module.tier.is_some() {
            let enters = u64::from(self.stack.is_empty());
            self.code.extend([address(super::super::tier::count_turn), enters | u64::from(self.offset) << 32]);
            self.floor = self.code.len();
        }
    }

    /// Makes sure that the frame has the slots of these values from `slot` on.
    fn reserve(&mut self, mut slot: i32, types: &[Ty]) {
        for ty in types {
            if *ty == Ty::HeapRef {
                self.add_root(slot);
            }
            slot += slots(*ty) as i32;
        }
        self.max = self.max.max(slot);
    }

    pub(super) fn block(&mut self, ty: BlockType) -> Result<()> {
        self.settle_params(ty)?;
        self.begin(BlockKind::Block, ty)
    }

    pub(super) fn loop_(&mut self, ty: BlockType) -> Result<()> {
        self.settle_params(ty)?;
        self.begin(BlockKind::Loop, ty)
    }

    /// Settles operands; parameters of the block go to their slots even if they are constants.
    pub(super) fn settle_params(&mut self, ty: BlockType) -> Result<()> {
        let count = self.block_type(ty)?.0.len();
        self.settle_all()?;
        self.materialize_top(count)
    }

    pub(super) fn if_(&mut self, ty: BlockType) -> Result<()> {
        let condition = self.pop_condition(false)?;
        self.settle_params(ty)?;
        let otherwise = self.new_label();
        self.branch_on(condition, false, otherwise);
        self.begin(BlockKind::If(otherwise), ty)
    }

    pub(super) fn else_(&mut self) -> Result<()> {
        let (otherwise, label, params, results, base) = match self.blocks.last() {
            Some(Block { kind: BlockKind::If(otherwise), label, params, results, base, .. }) => {
                (*otherwise, *label, *params, *results, *base)
            }
            _ => return Err(invalid()),
        };
        if self.reachable {
            self.materialize_top(results.len())?;
            self.emit_branch(label);
        }
        self.truncate(base)?;
        self.bind(otherwise);
        for ty in params {
            self.push(*ty, Place::Slot);
        }
        if let Some(block) = self.blocks.last_mut() {
            block.kind = BlockKind::Else;
        }
        self.reachable = true;
        Ok(())
    }

    pub(super) fn end(&mut self) -> Result<()> {
        let Some(mut block) = self.blocks.pop() else { return Err(invalid()) };
        if let BlockKind::Function = block.kind {
            if self.reachable {
                self.emit_return()?;
            }
            self.truncate(0)?;
            return Ok(());
        }
        let joins = match block.kind {
            BlockKind::If(_) | BlockKind::Else | BlockKind::Try(..) | BlockKind::LegacyCatch { .. } => true,
            BlockKind::Loop => false,
            _ => self.labels[block.label].used,
        };
        if !joins {
            if !self.reachable {
                // Nothing leads here; the operands have to have the right shape all the same.
                self.truncate(block.base)?;
                for ty in block.results {
                    self.push(*ty, Place::Slot);
                }
            }
            return Ok(());
        }
        if self.reachable {
            match block.kind {
                // The exception may be where the first result has to go.
                BlockKind::LegacyCatch { .. } => self.move_top(block.results.len(), block.height, false)?,
                _ => self.materialize_top(block.results.len())?,
            }
        }
        let base = block.outer_base();
        match &mut block.kind {
            BlockKind::Try(start, catches) => {
                let (start, end, depth) = (*start as u32, self.code.len() as u32, self.blocks.len() as u32);
                self.tries.push(Try { start, end, depth, delegate: None, catches: core::mem::take(catches).into() });
            }
            BlockKind::LegacyCatch { index, catches, .. } => self.tries[*index].catches = core::mem::take(catches).into(),
            BlockKind::If(otherwise) => {
                self.bind(*otherwise);
                self.reachable = true;
            }
            _ => {}
        }
        block.base = base;
        self.join(&block)
    }

    /// Goes on behind a block, to whose end other paths may lead.
    pub(super) fn join(&mut self, block: &Block<'a>) -> Result<()> {
        self.truncate(block.base)?;
        self.bind(block.label);
        self.reachable |= self.labels[block.label].used;
        for ty in block.results {
            self.push(*ty, Place::Slot);
        }
        Ok(())
    }

    /// What follows is not reached.
    pub(super) fn stop(&mut self) -> Result<()> {
        self.reachable = false;
        let base = self.blocks.last().map_or(0, |b| b.base);
        self.truncate(base)
    }

    /// Whether a branch to a label leads backwards.
    pub(super) fn is_behind(&self, label: usize) -> bool {
        self.labels[label].position.is_some()
    }

    pub(super) fn emit_branch(&mut self, label: usize) {
        let back = self.is_behind(label);
        if let (Kind::Copy, true) = (self.last.kind, self.is_last_open()) {
            let at = self.last.start;
            self.code[at] = address(if back { handlers::copy_branch::<true> } else { handlers::copy_branch::<false> });
            self.site(at + 1, label);
            self.last = Last::NONE;
            return;
        }
        self.code.extend([address(if back { handlers::branch::<true> } else { handlers::branch::<false> }), 0]);
        self.site(self.code.len() - 1, label);
        self.last = Last::NONE;
    }

    /// The block that a branch leads to: position in `blocks`.
    pub(super) fn target(&self, depth: u32) -> Result<usize> {
        self.blocks.len().checked_sub(1 + depth as usize).ok_or_else(invalid)
    }

    /// Slot of the first of the `count` topmost operands.
    fn top_slot(&self, count: usize) -> Result<i32> {
        let position = self.stack.len().checked_sub(count).ok_or_else(invalid)?;
        Ok(self.stack.get(position).map_or(self.height, |e| e.slot))
    }

    /// Puts the `count` topmost operands where a label expects them. They are not popped, but may not be used any more.
    pub(super) fn move_top(&mut self, count: usize, mut to: i32, redirect: bool) -> Result<()> {
        let first = self.stack.len().checked_sub(count).ok_or_else(invalid)?;
        if count > MANY {
            // Few instructions for many values: a branch is two bytes of WebAssembly, and there may be thousands.
            self.materialize_top(count)?;
            let from = self.top_slot(count)?;
            if from != to {
                let slots = (self.height - from) as u32;
                self.code.extend([address(handlers::copy_many), to as i64 as u64, u64::from(from as u32) | u64::from(slots) << 32]);
                self.last = Last::NONE;
                self.holds = [None; super::CLASSES];
            }
            return Ok(());
        }
        for position in first..self.stack.len() {
            let Entry { ty, slot, place } = self.stack[position];
            if slot == to {
                self.materialize(position)?;
            } else {
                let pending = match place {
                    Place::Acc => super::class(ty).and_then(|c| self.pending[c]),
                    _ => None,
                };
                self.assign(to, &Operand { ty, slot, place, pending }, redirect && count == 1)?;
            }
            to += slots(ty) as i32;
        }
        Ok(())
    }

    pub(super) fn br(&mut self, depth: u32) -> Result<()> {
        let target = self.target(depth)?;
        let block = &self.blocks[target];
        if let BlockKind::Function = block.kind {
            self.emit_return()?;
            return self.stop();
        }
        let (label, count, height) = (block.label, block.label_types().len(), block.height);
        self.move_top(count, height, true)?;
        self.emit_branch(label);
        self.stop()
    }

    pub(super) fn br_if(&mut self, depth: u32) -> Result<()> {
        let condition = self.pop_condition(false)?;
        self.conditional_branch(condition, true, depth)
    }

    /// Branches if the condition holds (or does not), with the topmost operands, which stay.
    pub(super) fn conditional_branch(&mut self, condition: Condition, holds: bool, depth: u32) -> Result<()> {
        let target = self.target(depth)?;
        let block = &self.blocks[target];
        let (label, count, height) = (block.label, block.label_types().len(), block.height);
        let is_return = matches!(block.kind, BlockKind::Function);
        self.materialize_top(count)?;
        if !is_return && (count == 0 || self.top_slot(count)? == height) {
            self.branch_on(condition, holds, label);
            return Ok(());
        }
        // Around what is only done if the branch is taken. That does not fall through, so what is known stays known.
        let around = self.new_label();
        self.branch_on(condition, !holds, around);
        let known = self.holds;
        if is_return {
            self.emit_return()?;
        } else {
            self.move_top(count, height, false)?;
            self.emit_branch(label);
        }
        self.holds = known;
        self.place_label(around);
        Ok(())
    }

    pub(super) fn br_table(&mut self, table: &BrTable<'_>) -> Result<()> {
        let index = self.pop()?;
        let acc = self.in_acc(&index);
        let field = if acc { 0 } else { self.settle_field(&index, 0)? };
        let count = self.blocks[self.target(table.default())?].label_types().len();
        self.materialize_top(count)?;
        let from = self.top_slot(count)?;
        let handlers: [Handler; 2] = match acc {
            true => [handlers::branch_table::<A, false>, handlers::branch_table::<A, true>],
            false => [handlers::branch_table::<S<0>, false>, handlers::branch_table::<S<0>, true>],
        };
        let at = self.code.len();
        self.code.extend([address(handlers[0]), fields(field, 0, 0, 0) | u64::from(table.len()) << 32]);
        // Branches that have to move something first go through an instruction sequence behind the table, one for each target.
        let mut stubs: Vec<(u32, usize)> = Vec::new();
        let mut known: HashMap<u32, usize> = HashMap::new();
        for depth in table.targets().chain(core::iter::once(Ok(table.default()))) {
            let depth = depth?;
            let block = &self.blocks[self.target(depth)?];
            let direct = !matches!(block.kind, BlockKind::Function) && (count == 0 || block.height == from);
            let label = match direct {
                true => block.label,
                false => match known.get(&depth) {
                    Some(label) => *label,
                    None => {
                        let label = self.new_label();
                        known.insert(depth, label);
                        stubs.push((depth, label));
                        label
                    }
                },
            };
            if self.is_behind(label) {
                self.code[at] = address(handlers[1]);
            }
            self.code.push(0);
            self.site(self.code.len() - 1, label);
        }
        self.last = Last::NONE;
        for (depth, label) in stubs {
            self.holds = [None; super::CLASSES];
            self.place_label(label);
            let block = &self.blocks[self.target(depth)?];
            if let BlockKind::Function = block.kind {
                self.emit_return()?;
            } else {
                let (label, height) = (block.label, block.height);
                self.move_top(count, height, false)?;
                self.emit_branch(label);
            }
        }
        self.stop()
    }

    /// Returns the topmost operands, which are not popped.
    pub(super) fn emit_return(&mut self) -> Result<()> {
        if let Some(slot) = self.trace_slot {
            let count = self.sig.results.len();
            self.materialize_top(count)?;
            let from = self.top_slot(count)?;
            self.code.extend([address(trace::trace_leave), u64::from(slot as u32) | u64::from(from as u32) << 32]);
            self.last = Last::NONE;
        }
        if !self.sig.results.is_empty() {
            self.force_top()?;
        }
        let sig = self.sig;
        let to = super::super::frame::shared_base(sig.shared_slots());
        match *sig.results {
            [] => self.code.push(address(handlers::ret)),
            [ty] => {
                let Entry { slot, place, .. } = *self.stack.last().ok_or_else(invalid)?;
                let pending = match place {
                    Place::Acc => super::class(ty).and_then(|c| self.pending[c]),
                    _ => None,
                };
                let operand = Operand { ty, slot, place, pending };
                return self.emit_return_one(ty, &operand, to);
            }
            _ => {
                // Results may overlap parameters: what is in one of them moves out of the way first.
                self.materialize_top(sig.results.len())?;
                self.move_top(sig.results.len(), to, false)?;
                self.code.push(address(handlers::ret));
            }
        }
        self.code.push(0);
        self.last = Last::NONE;
        Ok(())
    }

    fn emit_return_one(&mut self, ty: Ty, operand: &Operand, to: i32) -> Result<()> {
        if let Some(bits) = operand.constant() {
            let (handler, word, imm): (Handler, u64, Option<u64>) = match ty {
                Ty::I32 | Ty::HeapRef => (handlers::ret_value::<u32, I>, bits << 32, None),
                Ty::F32 => (handlers::ret_value::<f32, I>, bits << 32, None),
                Ty::F64 => (handlers::ret_value::<f64, I>, 0, Some(bits)),
                _ => (handlers::ret_value::<u64, I>, 0, Some(bits)),
            };
            self.code.extend([address(handler), fields(to as u16, 0, 0, 0) | word]);
            self.code.extend(imm);
        } else {
            let acc = self.in_acc(operand);
            let from = if acc { 0 } else { self.settle_field(operand, 0)? };
            let handler: Handler = match (ty, acc) {
                (Ty::V128, _) => handlers::ret_vector,
                (Ty::F64, false) => handlers::ret_value::<f64, S<1>>,
                (Ty::F64, true) => handlers::ret_value::<f64, A>,
                (Ty::F32, false) => handlers::ret_value::<f32, S<1>>,
                (Ty::F32, true) => handlers::ret_value::<f32, A>,
                (_, false) => handlers::ret_value::<u64, S<1>>,
                (_, true) => handlers::ret_value::<u64, A>,
            };
            self.code.extend([address(handler), fields(to as u16, from, 0, 0)]);
        }
        self.last = Last::NONE;
        Ok(())
    }

    pub(super) fn try_table(&mut self, table: &TryTable) -> Result<()> {
        self.settle_params(table.ty)?;
        let mut catches = Vec::with_capacity(table.catches.len());
        for clause in &table.catches {
            let (tag, reference, depth) = match *clause {
                WpCatch::One { tag, label } => (Some(tag), Reference::None, label),
                WpCatch::OneRef { tag, label } => (Some(tag), Reference::Last, label),
                WpCatch::All { label } => (None, Reference::None, label),
                WpCatch::AllRef { label } => (None, Reference::Last, label),
            };
            let target = self.target(depth)?;
            let block = &self.blocks[target];
            let (label, slot) = match block.kind {
                BlockKind::Function => {
                    let slot = self.height;
                    let types = block.label_types();
                    let label = self.new_label();
                    self.reserve(slot, types);
                    self.pads.push(Pad { label, slot });
                    (label, slot)
                }
                _ => {
                    let (label, slot, types) = (block.label, block.height, block.label_types());
                    self.reserve(slot, types);
                    (label, slot)
                }
            };
            self.labels[label].used = true;
            catches.push(Catch { tag: tag.map(TagIndex::from_u32), reference, target: label as u32, slot });
        }
        // Nothing from before may be joined with what is inside.
        self.floor = self.code.len();
        self.last = Last::NONE;
        let start = self.code.len();
        self.begin(BlockKind::Try(start, catches), table.ty)
    }

    /// Emits the handlers whose label is the function.
    pub(super) fn emit_pads(&mut self) -> Result<()> {
        let sig = self.sig;
        for Pad { label, slot } in core::mem::take(&mut self.pads) {
            self.holds = [None; super::CLASSES];
            self.place_label(label);
            self.stack.clear();
            self.height = slot;
            for ty in &sig.results {
                self.push(*ty, Place::Slot);
            }
            self.emit_return()?;
        }
        Ok(())
    }
}
