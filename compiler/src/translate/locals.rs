//! Locals of interpreters in the frame. The loop of an interpreter ends in a `br_table` with a handler for each instruction, and all
//! handlers come together again at the loop's head. A local that some handler changes is a parameter there and at every other place
//! where paths meet, and there are more of them than registers: each becomes several values with stack slots of their own, and every
//! round copies it from one to the other, whether its handler uses it or not. Such a local is kept in one slot here, which is read
//! and written where the local is.
//!
//! Which locals that are, and whether there is such a loop, is known when the function has been translated: then it is translated
//! again with those in slots. The local that is used most, mostly the program counter, stays a value.

use super::FuncTranslator;
use super::region::Region;
use cranelift_codegen::ir::{self, Block, InstBuilder, StackSlot, StackSlotData, StackSlotKind, Value, ValueDef, types};
use std::collections::BTreeMap;
use wasmc_environ::types::ValType;

/// Length of the shortest body that is looked at, in bytes.
pub(super) const MIN_BODY: u64 = 512;
/// How many targets the table of a loop has at least.
const MIN_TARGETS: u32 = 16;
/// How many locals of a function go to the frame at most: each has a region, for which the alias analysis pays in every block.
const MAX_IN_FRAME: usize = 24;
/// How many stay values, of those that could go.
const KEEP: usize = 1;

/// What is seen of a function's loops and locals in its first translation.
#[derive(Default)]
pub(super) struct Watch {
    /// In the order in which they begin.
    loops: Vec<Loop>,
    /// Those that are open.
    open: Vec<usize>,
    uses: Vec<Use>,
}

struct Loop {
    header: Block,
    /// Targets of the largest table directly in it.
    targets: u32,
    /// How many loops it is in, with itself.
    depth: usize,
}

/// A local is read or written in a loop.
struct Use {
    local: u32,
    /// The innermost loop.
    inner: usize,
    /// What is read.
    read: Option<Value>,
}

#[derive(Default)]
struct Score {
    /// Reads and writes; each loop around them makes eight of one.
    uses: u64,
    /// Whether the value at the loop's head is read.
    from_head: bool,
    written: bool,
}

impl Watch {
    pub(super) fn begin_loop(&mut self, header: Block) {
        self.open.push(self.loops.len());
        self.loops.push(Loop { header, targets: 0, depth: self.open.len() });
    }

    pub(super) fn end_loop(&mut self) {
        self.open.pop();
    }

    /// A table of branches in the innermost loop.
    pub(super) fn table(&mut self, targets: u32) {
        if let Some(&inner) = self.open.last() {
            let most = &mut self.loops[inner].targets;
            *most = targets.max(*most);
        }
    }

    fn used(&mut self, local: u32, read: Option<Value>) {
        if let Some(&inner) = self.open.last() {
            self.uses.push(Use { local, inner, read });
        }
    }

    /// The locals that are better in the frame, sorted; `dfg` is that of the translated function.
    pub(super) fn for_frame(&self, dfg: &ir::DataFlowGraph) -> Vec<u32> {
        let Some((head, dispatch)) = self.loops.iter().enumerate().max_by_key(|(_, l)| l.targets) else { return Vec::new() };
        if dispatch.targets < MIN_TARGETS {
            return Vec::new();
        }
        let nested = self.loops[head + 1..].iter().take_while(|l| l.depth > dispatch.depth).count();
        let mut scores: BTreeMap<u32, Score> = BTreeMap::new();
        for u in self.uses.iter().filter(|u| (head..=head + nested).contains(&u.inner)) {
            let score = scores.entry(u.local).or_default();
            let depth = (self.loops[u.inner].depth - dispatch.depth).min(4);
            score.uses = score.uses.saturating_add(8u64.pow(depth as u32));
            match u.read {
                None => score.written = true,
                Some(value) => {
                    let def = dfg.value_def(dfg.resolve_aliases(value));
                    score.from_head |= matches!(def, ValueDef::Param(block, _) if block == dispatch.header);
                }
            }
        }
        let mut locals: Vec<(u64, u32)> =
            scores.iter().filter(|(_, s)| s.written && s.from_head).map(|(local, s)| (s.uses, *local)).collect();
        locals.sort_unstable();
        locals.truncate(locals.len().saturating_sub(KEEP).min(MAX_IN_FRAME));
        let mut locals: Vec<u32> = locals.into_iter().map(|(_, local)| local).collect();
        locals.sort_unstable();
        locals
    }
}

/// The slot of a local in the frame.
#[derive(Copy, Clone)]
pub(super) struct FrameLocal {
    slot: StackSlot,
    ty: ir::Type,
}

impl FuncTranslator<'_, '_> {
    /// Gives the next local its slot if it is to have one. References stay values: the collector has to find them.
    pub(super) fn declare_in_frame(&mut self, ty: ValType) {
        let local = self.in_frame.len() as u32;
        let chosen = !ty.is_heap_ref() && self.for_frame.binary_search(&local).is_ok();
        let place = chosen.then(|| {
            let ty = super::clif_type(ty.abi());
            let size = ty.bytes().max(8);
            let data = StackSlotData::new(StackSlotKind::ExplicitSlot, size, size.trailing_zeros() as u8);
            FrameLocal { slot: self.builder.create_sized_stack_slot(data), ty }
        });
        self.in_frame.push(place);
    }

    /// Where a local is in the frame, if it is there.
    pub(super) fn frame_local(&self, local: u32) -> Option<FrameLocal> {
        self.in_frame.get(local as usize).copied().flatten()
    }

    fn frame_place(&mut self, local: FrameLocal) -> (ir::MemFlagsData, Value) {
        let address = self.builder.ins().stack_addr(types::I64, local.slot, 0);
        (self.trusted(Region::Frame(local.slot.as_u32())), address)
    }

    /// The value of a local.
    pub(super) fn read_local(&mut self, index: u32) -> Value {
        if let Some(local) = self.frame_local(index) {
            let (flags, address) = self.frame_place(local);
            return self.builder.ins().load(local.ty, flags, address, 0);
        }
        let variable = self.local(index);
        let value = self.builder.use_var(variable);
        if let Some(watch) = &mut self.watch {
            watch.used(index, Some(value));
        }
        value
    }

    /// Changes a local.
    pub(super) fn write_local(&mut self, index: u32, value: Value) {
        if let Some(local) = self.frame_local(index) {
            let (flags, address) = self.frame_place(local);
            self.builder.ins().store(flags, value, address, 0);
            return;
        }
        let variable = self.local(index);
        self.builder.def_var(variable, value);
        if let Some(watch) = &mut self.watch {
            watch.used(index, None);
        }
    }
}
