//! Control: blocks, loops, conditionals and branches. The stack of constructs is explicit, so nesting costs no native
//! stack. Code that cannot be reached is not translated at all: constructs that are opened there are only counted.
//!
//! A construct's `next` block carries its results as block parameters. It comes into being as an entity at once, but
//! stands in the function only if something branches to it; otherwise the code simply goes on in the current block.
//!
//! Branch hints make blocks cold, which the code generator puts behind all others. What is only reached from cold code is
//! cold as well, so each construct remembers whether any likely branch goes to its end.

use super::FuncTranslator;
use super::legacy::LegacyTry;
use cranelift_codegen::ir::{self, Block, BlockArg, Inst, InstBuilder, Value};
use wasmc_environ::TypeIndex;
use wasmc_environ::jit::CompileError;
use wasmc_environ::types::{AbiType, ValType};
use wasmparser::{BlockType, BrTable};

/// A construct that is open.
pub(super) struct Frame {
    pub(super) kind: FrameKind,
    /// Where branches go that leave the construct. Not used by loops.
    pub(super) next: Block,
    /// Whether something branches to `next`.
    pub(super) next_used: bool,
    /// Whether something does that is not cold.
    pub(super) next_hot: bool,
    /// Whether the construct was opened in cold code.
    pub(super) cold: bool,
    /// Height of the operand stack below the parameters.
    pub(super) height: usize,
    /// How many parameters.
    params: usize,
    /// How many results.
    pub(super) results: usize,
}

pub(super) enum FrameKind {
    Function,
    Block,
    Loop {
        header: Block,
    },
    /// The first arm of a conditional. Its parameters lie twice on the operand stack: the lower copies are for `else`.
    If {
        /// The branch on the condition.
        branch: Inst,
        /// Where it goes on false; if there is none yet it goes to `next`, and `else` changes that.
        alternative: Option<Block>,
        /// Whether that is cold.
        cold: bool,
    },
    Else,
    TryTable,
    /// `try`, in its body or in one of its catches.
    Try(Box<LegacyTry>),
}

/// Types of a block's parameters or results, as wasm orders them.
#[derive(Copy, Clone)]
pub(super) enum TypeList<'m> {
    None,
    One(AbiType),
    Many(&'m [ValType]),
}

impl TypeList<'_> {
    pub(super) fn len(self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Many(types) => types.len(),
        }
    }

    pub(super) fn get(self, i: usize) -> AbiType {
        match self {
            Self::One(ty) => ty,
            Self::Many(types) => types[i].abi(),
            Self::None => AbiType::I32,
        }
    }
}

impl<'m> FuncTranslator<'_, 'm> {
    /// Parameter and result types of a block.
    fn block_type(&self, ty: BlockType) -> Result<(TypeList<'m>, TypeList<'m>), CompileError> {
        Ok(match ty {
            BlockType::Empty => (TypeList::None, TypeList::None),
            BlockType::Type(t) => (TypeList::None, TypeList::One(ValType::from_wasmparser(t, self.offset)?.abi())),
            BlockType::FuncType(i) => {
                let module = self.env.module;
                let ty = module.func_type(TypeIndex::from_u32(i));
                (TypeList::Many(&ty.params), TypeList::Many(&ty.results))
            }
        })
    }

    /// A block with parameters of these types.
    pub(super) fn create_block(&mut self, types: TypeList<'_>) -> Block {
        let block = self.builder.create_block();
        self.carried += types.len();
        for i in 0..types.len() {
            let ty = types.get(i);
            let value = self.builder.append_block_param(block, super::clif_type(ty));
            self.declare_root(value, ty);
        }
        block
    }

    pub(super) fn push_function_frame(&mut self, results: &'m [ValType]) {
        let next = self.create_block(TypeList::Many(results));
        self.buffers.control.push(Frame {
            kind: FrameKind::Function,
            next,
            next_used: false,
            next_hot: false,
            cold: false,
            height: 0,
            params: 0,
            results: results.len(),
        });
    }

    fn push_frame(&mut self, kind: FrameKind, next: Block, params: usize, results: usize) {
        let height = self.buffers.stack.len() - params;
        self.buffers.control.push(Frame { kind, next, next_used: false, next_hot: false, cold: self.cold, height, params, results });
    }

    /// How many constructs are open.
    pub(super) fn control_height(&self) -> usize {
        self.buffers.control.len()
    }

    /// Opens a construct in unreachable code; returns whether that was so.
    pub(super) fn dead_construct(&mut self) -> bool {
        if !self.reachable {
            self.dead_depth += 1;
        }
        !self.reachable
    }

    pub(super) fn block(&mut self, ty: BlockType) -> Result<(), CompileError> {
        if self.dead_construct() {
            return Ok(());
        }
        let (params, results) = self.block_type(ty)?;
        let next = self.create_block(results);
        self.push_frame(FrameKind::Block, next, params.len(), results.len());
        Ok(())
    }

    pub(super) fn loop_(&mut self, ty: BlockType) -> Result<(), CompileError> {
        if self.dead_construct() {
            return Ok(());
        }
        let (params, results) = self.block_type(ty)?;
        let header = self.create_block(params);
        let height = self.buffers.stack.len() - params.len();
        self.jump(header, params.len());
        self.arrive_at_loop(header);
        self.start(header);
        if let Some(watch) = &mut self.watch {
            watch.begin_loop(header);
        }
        self.buffers.stack.truncate(height);
        self.push_block_params(header);
        self.push_frame(FrameKind::Loop { header }, header, params.len(), results.len());
        Ok(())
    }

    pub(super) fn if_(&mut self, ty: BlockType) -> Result<(), CompileError> {
        if self.dead_construct() {
            return Ok(());
        }
        let (params, results) = self.block_type(ty)?;
        let condition = self.pop_condition();
        let hint = self.hint();
        let next = self.create_block(results);
        let then = self.builder.create_block();
        // Without `else`, parameters and results are the same. If there are none, the branch can go straight to the
        // end, and is turned aside if an `else` comes.
        let alternative = (params.len() + results.len() > 0).then(|| self.builder.create_block());
        let branch = self.builder.ins().brif(condition, then, &[], alternative.unwrap_or(next), &[]);
        self.builder.seal_block(then);
        if let Some(block) = alternative {
            self.builder.seal_block(block);
        }
        let from = self.buffers.stack.len() - params.len();
        self.buffers.stack.extend_from_within(from..);
        let cold = self.cold || hint == Some(true);
        self.push_frame(FrameKind::If { branch, alternative, cold }, next, 2 * params.len(), results.len());
        self.cold |= hint == Some(false);
        self.start(then);
        Ok(())
    }

    pub(super) fn else_(&mut self) {
        if self.dead_depth > 0 {
            return;
        }
        let Some(frame) = self.buffers.control.last_mut() else { return };
        let FrameKind::If { branch, alternative, cold } = std::mem::replace(&mut frame.kind, FrameKind::Else) else { return };
        let (next, height, params, results) = (frame.next, frame.height, frame.params / 2, frame.results);
        if self.reachable {
            frame.next_used = true;
            frame.next_hot |= !self.cold;
            self.jump(next, results);
        }
        let alternative = alternative.unwrap_or_else(|| {
            let block = self.builder.create_block();
            self.builder.change_jump_destination(branch, next, block);
            self.builder.seal_block(block);
            block
        });
        self.cold = cold;
        self.start(alternative);
        self.buffers.stack.truncate(height + params);
        self.reachable = true;
    }

    /// Opens a `try_table` or a `try`; what it catches is in the scope that the caller pushes.
    pub(super) fn try_frame(&mut self, ty: BlockType, kind: FrameKind) -> Result<(), CompileError> {
        let (params, results) = self.block_type(ty)?;
        let next = self.create_block(results);
        self.push_frame(kind, next, params.len(), results.len());
        Ok(())
    }

    /// Closes a construct that was opened in unreachable code; returns whether that was so.
    pub(super) fn end_dead_construct(&mut self) -> bool {
        let dead = self.dead_depth > 0;
        self.dead_depth -= u32::from(dead);
        dead
    }

    /// The innermost construct that is open, unless it was opened in unreachable code.
    pub(super) fn innermost(&mut self) -> Option<&mut Frame> {
        if self.dead_depth > 0 { None } else { self.buffers.control.last_mut() }
    }

    /// The construct that a label stands for.
    pub(super) fn construct(&self, depth: u32) -> Option<&Frame> {
        self.buffers.control.len().checked_sub(1 + depth as usize).and_then(|i| self.buffers.control.get(i))
    }

    pub(super) fn end(&mut self) -> Result<(), CompileError> {
        if self.end_dead_construct() {
            return Ok(());
        }
        let Some(mut frame) = self.buffers.control.pop() else { return Ok(()) };
        match frame.kind {
            FrameKind::Loop { header } => {
                self.builder.seal_block(header);
                if let Some(watch) = &mut self.watch {
                    watch.end_loop();
                }
                if !self.reachable {
                    self.buffers.stack.truncate(frame.height);
                }
                return Ok(());
            }
            FrameKind::If { alternative, cold, .. } => {
                if self.reachable {
                    self.leave(&mut frame);
                }
                self.cold = cold;
                if let Some(block) = alternative {
                    self.start(block);
                    self.buffers.stack.truncate(frame.height + frame.params / 2);
                    self.leave(&mut frame);
                }
                frame.next_used = true;
                frame.next_hot |= !cold;
            }
            FrameKind::TryTable => {
                let (mut clauses, landing) = self.close_scope(self.control_height());
                if let Some(landing) = landing {
                    if self.reachable {
                        self.leave(&mut frame);
                    }
                    self.buffers.stack.truncate(frame.height);
                    self.cold = frame.cold;
                    self.landing(landing, &mut clauses)?;
                    self.reachable = false;
                    if !frame.next_used {
                        return Ok(());
                    }
                } else if self.reachable && frame.next_used {
                    self.leave(&mut frame);
                }
            }
            FrameKind::Function | FrameKind::Block | FrameKind::Else | FrameKind::Try(_) => {
                if self.reachable && frame.next_used {
                    self.leave(&mut frame);
                }
            }
        }
        if frame.next_used {
            self.cold = !frame.next_hot;
            self.continue_in(frame.next);
            self.buffers.stack.truncate(frame.height);
            self.push_block_params(frame.next);
            self.reachable = true;
        } else if self.reachable {
            // The copies of a conditional's parameters for `else` lie below the results.
            let results = self.buffers.stack.len() - frame.results;
            self.buffers.stack.drain(frame.height..results);
        } else {
            self.buffers.stack.truncate(frame.height);
        }
        if matches!(frame.kind, FrameKind::Function) && self.reachable {
            self.return_();
        }
        Ok(())
    }

    /// Goes on behind a construct that ends.
    fn leave(&mut self, frame: &mut Frame) {
        frame.next_used = true;
        frame.next_hot |= !self.cold;
        self.jump(frame.next, frame.results);
    }

    /// Returns the topmost operands, as many as the function has results.
    pub(super) fn return_(&mut self) {
        let results = self.builder.func.signature.returns.len();
        self.trace_leave(results);
        let from = self.buffers.stack.len() - results;
        self.builder.ins().return_(&self.buffers.stack[from..]);
        self.reachable = false;
    }

    pub(super) fn push_block_params(&mut self, block: Block) {
        self.buffers.stack.extend_from_slice(self.builder.func.dfg.block_params(block));
    }

    /// Jumps with the topmost `n` operands, which stay on the stack.
    pub(super) fn jump(&mut self, block: Block, n: usize) {
        let args = self.block_args(n);
        self.builder.ins().jump(block, &args);
        self.buffers.block_args = args;
    }

    /// The topmost `n` operands as block arguments, in a buffer that the caller gives back.
    fn block_args(&mut self, n: usize) -> Vec<BlockArg> {
        let mut args = std::mem::take(&mut self.buffers.block_args);
        args.clear();
        let from = self.buffers.stack.len() - n;
        self.carried += n;
        args.extend(self.buffers.stack[from..].iter().map(|v| BlockArg::Value(*v)));
        args
    }

    /// The block that a branch to this label goes to, and how many operands it takes.
    fn target(&mut self, depth: u32) -> (Block, usize) {
        let i = self.buffers.control.len() - 1 - depth as usize;
        self.target_at(i)
    }

    /// The same for a construct by its height in the stack of constructs.
    pub(super) fn target_at(&mut self, i: usize) -> (Block, usize) {
        let cold = self.cold;
        let frame = &mut self.buffers.control[i];
        match frame.kind {
            FrameKind::Loop { header } => (header, frame.params),
            _ => {
                frame.next_used = true;
                frame.next_hot |= !cold;
                (frame.next, frame.results)
            }
        }
    }

    pub(super) fn br(&mut self, depth: u32) {
        if depth as usize + 1 == self.buffers.control.len() {
            return self.return_();
        }
        let (block, arity) = self.target(depth);
        self.jump(block, arity);
        self.reachable = false;
    }

    /// Branches to the label of the construct at this height with the topmost `n` operands.
    pub(super) fn jump_to(&mut self, height: usize, n: usize) {
        let (block, _) = self.target_at(height);
        self.jump(block, n);
        self.reachable = false;
    }

    pub(super) fn br_if(&mut self, depth: u32) {
        let condition = self.pop_condition();
        let hint = self.hint();
        self.branch_if(condition, depth, hint);
    }

    /// Branches if `condition` is not 0, and goes on in a new block otherwise. The hint says whether it is likely.
    fn branch_if(&mut self, condition: Value, depth: u32, hint: Option<bool>) {
        let cold = self.cold;
        self.cold |= hint == Some(false);
        let (block, arity) = self.target(depth);
        let args = self.block_args(arity);
        let go_on = self.builder.create_block();
        self.builder.ins().brif(condition, block, &args, go_on, &[]);
        self.buffers.block_args = args;
        self.cold = cold || hint == Some(true);
        self.continue_in(go_on);
    }

    /// The hint for the current operator.
    fn hint(&mut self) -> Option<bool> {
        if self.hints.is_empty() {
            return None;
        }
        let at = self.offset - self.body.range().start;
        let passed = self.hints.partition_point(|h| u64::from(h.offset) < at);
        self.hints = &self.hints[passed..];
        self.hints.first().filter(|h| u64::from(h.offset) == at).map(|h| h.likely)
    }

    /// Goes on in a block all of whose predecessors are known.
    pub(super) fn continue_in(&mut self, block: Block) {
        self.builder.seal_block(block);
        self.start(block);
    }

    /// Goes on in a block.
    fn start(&mut self, block: Block) {
        self.builder.switch_to_block(block);
        if self.cold {
            self.builder.set_cold_block(block);
        }
    }

    pub(super) fn br_on_null(&mut self, depth: u32) {
        let reference = self.pop();
        let is_null = self.is_null(reference);
        self.branch_if(is_null, depth, None);
        self.push(reference);
    }

    pub(super) fn br_on_non_null(&mut self, depth: u32) {
        // The reference is the last of the operands that the branch takes with it.
        let reference = self.pop();
        self.push(reference);
        self.branch_if(reference, depth, None);
        self.pop();
    }

    pub(super) fn br_table(&mut self, targets: &BrTable<'_>) -> Result<(), CompileError> {
        let index = self.pop();
        if targets.is_empty() {
            self.br(targets.default());
            return Ok(());
        }
        if let Some(watch) = &mut self.watch {
            watch.table(targets.len());
        }
        let (_, arity) = self.target(targets.default());
        // With operands, each label gets one block that passes them on, so that a table of many equal entries does
        // not repeat them. Entries are looked up by depth.
        let mut via: Vec<(u32, Block)> = Vec::new();
        let mut known = std::collections::HashMap::new();
        let mut entry = |t: &mut Self, depth: u32| {
            let block = if arity == 0 {
                t.target(depth).0
            } else {
                *known.entry(depth).or_insert_with(|| {
                    let block = t.builder.create_block();
                    via.push((depth, block));
                    block
                })
            };
            t.builder.func.dfg.block_call(block, &[])
        };
        let default = entry(self, targets.default());
        let mut table = Vec::with_capacity(targets.len() as usize);
        for depth in targets.targets() {
            let depth = depth.map_err(wasmc_environ::DecodeError::from)?;
            table.push(entry(self, depth));
        }
        let table = self.builder.create_jump_table(ir::JumpTableData::new(default, &table));
        self.builder.ins().br_table(index, table);
        for (depth, block) in via {
            self.check_size()?;
            self.continue_in(block);
            let (target, _) = self.target(depth);
            self.jump(target, arity);
        }
        self.reachable = false;
        Ok(())
    }
}
