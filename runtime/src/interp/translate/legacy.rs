//! Exceptions in their first form: `try` with `catch`, `catch_all`, `delegate` and `rethrow`.
//!
//! The body of a `try` is a row of instructions in the list of `Body::tries`, as that of a `try_table` is; its handlers are
//! the instructions behind it. A handler that a `rethrow` may name needs the exception itself: in functions with such an
//! instruction every handler gets the reference as an operand below the values, where the code of the handler does not see it.
//! Since the instruction comes after the handler, such a function is translated a second time.

use super::super::call as handlers;
use super::super::code::{Catch, Reference, Try, Ty};
use super::super::dispatch::address;
use super::control::BlockKind;
use super::emit::{Last, fields};
use super::operand::Place;
use super::{Rethrows, Translator, invalid};
use crate::Result;
use wasmc_environ::TagIndex;
use wasmc_environ::wasmparser::BlockType;

impl Translator<'_> {
    /// `try`.
    pub(super) fn legacy_try(&mut self, ty: BlockType) -> Result<()> {
        self.settle_params(ty)?;
        // Nothing from before may be joined with what is inside.
        self.floor = self.code.len();
        self.last = Last::NONE;
        let start = self.code.len();
        self.begin(BlockKind::LegacyTry(start), ty)
    }

    /// `catch` of a tag, or `catch_all`: ends the body or the handler before it.
    pub(super) fn legacy_catch(&mut self, tag: Option<u32>) -> Result<()> {
        self.finish_part()?;
        let end = self.code.len() as u32;
        let depth = self.blocks.len().checked_sub(1).ok_or_else(invalid)?;
        let rethrows = self.rethrows;
        let block = &mut self.blocks[depth];
        if let BlockKind::LegacyTry(start) = block.kind {
            self.tries.push(Try { start: start as u32, end, depth: depth as u32, delegate: None, catches: Box::default() });
            block.kind = BlockKind::LegacyCatch { index: self.tries.len() - 1, catches: Vec::new(), exception: None };
        }
        let (base, slot) = (block.outer_base(), block.height);
        self.truncate(base)?;
        let label = self.new_label();
        self.labels[label].used = true;
        self.bind(label);
        self.reachable = true;
        if rethrows {
            self.push(Ty::HeapRef, Place::Slot);
        }
        if let Some(tag) = tag {
            let ty = self.env.tags.get(tag as usize).ok_or_else(invalid)?.ty;
            for ty in &self.sig_of(ty)?.params {
                self.push(*ty, Place::Slot);
            }
        }
        let block = &mut self.blocks[depth];
        let BlockKind::LegacyCatch { catches, exception, .. } = &mut block.kind else { return Err(invalid()) };
        *exception = rethrows.then_some(slot);
        let reference = if rethrows { Reference::First } else { Reference::None };
        catches.push(Catch { tag: tag.map(TagIndex::from_u32), reference, target: label as u32, slot });
        block.base = base + usize::from(rethrows);
        Ok(())
    }

    /// Ends the body of a `try` or a handler: its results go to the end of the block.
    fn finish_part(&mut self) -> Result<()> {
        let block = self.blocks.last().ok_or_else(invalid)?;
        let (label, count, height) = (block.label, block.results.len(), block.height);
        if self.reachable {
            self.move_top(count, height, false)?;
            self.emit_branch(label);
        }
        Ok(())
    }

    /// `delegate`: what the body throws is looked for as if the label's block had thrown it.
    pub(super) fn delegate(&mut self, label: u32) -> Result<()> {
        let block = self.blocks.pop().ok_or_else(invalid)?;
        let BlockKind::LegacyTry(start) = block.kind else { return Err(invalid()) };
        let target = self.target(label)? as u32;
        if self.reachable {
            self.materialize_top(block.results.len())?;
        }
        let (end, depth) = (self.code.len() as u32, self.blocks.len() as u32);
        self.tries.push(Try { start: start as u32, end, depth, delegate: Some(target), catches: Box::default() });
        self.join(&block)
    }

    /// `rethrow`.
    pub(super) fn rethrow(&mut self, label: u32) -> Result<()> {
        let target = self.target(label)?;
        let slot = match self.blocks[target].kind {
            BlockKind::LegacyCatch { exception: Some(slot), .. } => slot,
            BlockKind::LegacyCatch { exception: None, .. } if !self.rethrows => return Err(Rethrows.into()),
            _ => return Err(invalid()),
        };
        self.flush_all();
        let field = self.source(slot, Ty::HeapRef, 0)?;
        self.mark();
        self.code.extend([address(handlers::throw_ref), fields(field, 0, 0, 0)]);
        self.last = Last::NONE;
        self.stop()
    }
}
