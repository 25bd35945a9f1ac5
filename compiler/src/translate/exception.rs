//! Exceptions. Inside a construct with handlers every call is a `try_call` whose one handler is the *landing block* of the
//! innermost such construct; all calls there share it. When the construct ends, the landing block gets its code: it compares the
//! exception's tag with the clauses in order, and passes on what none of them catches to the landing block of the next
//! construct outwards, or raises it again. The older form (`try` and `catch`) differs in where a clause leads: `legacy`.

use super::control::{FrameKind, TypeList};
use super::region::Region;
use super::{FuncTranslator, clif_type};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, Value, types};
use wasmc_environ::builtins::Builtin;
use wasmc_environ::jit::CompileError;
use wasmc_environ::types::AbiType;
use wasmc_environ::vmlayout::{EXN_ESCAPED, EXN_PAYLOAD_OFFSET, ValRaw, offsets};
use wasmc_environ::{TagIndex, TrapCode};
use wasmparser::{Catch, TryTable};

/// An open construct whose body is handled: exceptions that leave it are caught there or go on to another one.
pub(super) struct TryScope {
    /// The height of the stack of constructs without this one; greater than that of the scope around it.
    pub(super) control: usize,
    pub(super) kind: ScopeKind,
}

pub(super) enum ScopeKind {
    Catching {
        clauses: Vec<Clause>,
        landing: Option<Block>,
    },
    /// `delegate`: the scope in whose place it stands, by its height in the stack of scopes and itself one that catches.
    Delegating(Option<usize>),
}

/// What is caught, and where to.
#[derive(Copy, Clone)]
pub(super) struct Clause {
    /// The tag; `None` for all.
    pub(super) tag: Option<TagIndex>,
    /// Whether the target takes the reference behind the payload.
    pub(super) with_reference: bool,
    pub(super) target: Target,
}

/// Where a clause leads.
#[derive(Copy, Clone)]
pub(super) enum Target {
    /// The label of the construct at this height.
    Label(usize),
    /// The `catch` of a `try`: its block, once something leads there. It takes the payload; after that, with a reference,
    /// the reference as I32 and the address of the object.
    Handler(Option<Block>),
}

/// A caught exception: its reference, as I64, and the address of the object.
#[derive(Copy, Clone)]
pub(super) struct Caught {
    pub(super) reference: Value,
    pub(super) object: Value,
}

const SLOT: i32 = size_of::<ValRaw>() as i32;

/// How many clauses are looked at to find the handler of a `throw`; bounds the time that a function with many of both
/// takes to compile.
const MAX_SEARCH: usize = 64;

impl FuncTranslator<'_, '_> {
    pub(super) fn try_table(&mut self, try_table: &TryTable) -> Result<(), CompileError> {
        if self.dead_construct() {
            return Ok(());
        }
        let control = self.control_height();
        self.try_frame(try_table.ty, FrameKind::TryTable)?;
        let clause = |catch: &Catch| {
            let (tag, label, with_reference) = match *catch {
                Catch::One { tag, label } => (Some(tag), label, false),
                Catch::OneRef { tag, label } => (Some(tag), label, true),
                Catch::All { label } => (None, label, false),
                Catch::AllRef { label } => (None, label, true),
            };
            Clause { tag: tag.map(TagIndex::from_u32), with_reference, target: Target::Label(control - 1 - label as usize) }
        };
        if !try_table.catches.is_empty() {
            let clauses = try_table.catches.iter().map(clause).collect();
            self.buffers.scopes.push(TryScope { control, kind: ScopeKind::Catching { clauses, landing: None } });
        }
        Ok(())
    }

    /// The scope that catches what leaves the first `n` scopes' innermost one: it, or the one it delegates to.
    fn catching_scope(&self, n: usize) -> Option<usize> {
        let i = n.checked_sub(1)?;
        match self.buffers.scopes[i].kind {
            ScopeKind::Catching { .. } => Some(i),
            ScopeKind::Delegating(to) => to,
        }
    }

    /// The same for exceptions that are thrown at the end of the construct at this height.
    pub(super) fn scope_of_construct(&self, height: usize) -> Option<usize> {
        self.catching_scope(self.buffers.scopes.partition_point(|s| s.control <= height))
    }

    /// Where exceptions go that are thrown here, if they can be caught in this function.
    pub(super) fn landing_block(&mut self) -> Option<Block> {
        let i = self.catching_scope(self.buffers.scopes.len())?;
        let ScopeKind::Catching { landing, .. } = &mut self.buffers.scopes[i].kind else { return None };
        Some(*landing.get_or_insert_with(|| {
            let block = self.builder.create_block();
            // The reference and the address of the object.
            self.builder.append_block_param(block, types::I64);
            self.builder.append_block_param(block, types::I64);
            self.builder.set_cold_block(block);
            block
        }))
    }

    /// Removes the scope of the construct at this height, if it has one, and returns its clauses and landing block.
    pub(super) fn close_scope(&mut self, height: usize) -> (Vec<Clause>, Option<Block>) {
        match self.buffers.scopes.pop_if(|s| s.control == height).map(|s| s.kind) {
            Some(ScopeKind::Catching { clauses, landing }) => (clauses, landing),
            Some(ScopeKind::Delegating(_)) | None => (Vec::new(), None),
        }
    }

    /// The code of a landing block, with the clauses of its scope, which is closed. Gives handlers their blocks.
    pub(super) fn landing(&mut self, block: Block, clauses: &mut [Clause]) -> Result<(), CompileError> {
        self.continue_in(block);
        let caught = match *self.builder.block_params(block) {
            [reference, object, ..] => Caught { reference, object },
            _ => return Ok(()),
        };
        let mut thrown = None;
        for clause in clauses {
            let Some(tag) = clause.tag else {
                self.catch(clause, caught);
                return Ok(());
            };
            self.check_size()?;
            let thrown = *thrown.get_or_insert_with(|| {
                let flags = self.trusted(Region::Exceptions);
                self.builder.ins().load(types::I64, flags, caught.object, offsets::EXN_TAG)
            });
            let wanted = self.tag_address(tag);
            let matches = self.builder.ins().icmp(IntCC::Equal, thrown, wanted);
            let here = self.cold_block();
            let next = self.cold_block();
            self.builder.ins().brif(matches, here, &[], next, &[]);
            self.continue_in(here);
            self.catch(clause, caught);
            self.continue_in(next);
        }
        self.pass_on(caught);
        Ok(())
    }

    /// Goes on throwing an exception that was caught: to the landing block outwards, or out of the function.
    pub(super) fn pass_on(&mut self, caught: Caught) {
        match self.landing_block() {
            Some(outer) => {
                self.builder.ins().jump(outer, &[BlockArg::Value(caught.reference), BlockArg::Value(caught.object)]);
                self.reachable = false;
            }
            None => {
                let reference = self.builder.ins().ireduce(types::I32, caught.reference);
                self.throwing_builtin(Builtin::rethrow, &[reference]);
            }
        }
    }

    fn cold_block(&mut self) -> Block {
        let block = self.builder.create_block();
        self.builder.set_cold_block(block);
        block
    }

    /// Branches to where a clause leads with the payload and, if wanted, the reference.
    fn catch(&mut self, clause: &mut Clause, caught: Caught) {
        let module = self.env.module;
        let payload = clause.tag.map_or(TypeList::None, |tag| TypeList::Many(module.tag_params(tag)));
        let flags = self.trusted(Region::Exceptions);
        self.carried += payload.len() + 2;
        let mut args = Vec::with_capacity(payload.len() + 2);
        for i in 0..payload.len() {
            let ty = payload.get(i);
            let offset = EXN_PAYLOAD_OFFSET as i32 + SLOT * i as i32;
            let value = self.builder.ins().load(clif_type(ty), flags, caught.object, offset);
            self.declare_root(value, ty);
            args.push(BlockArg::Value(value));
        }
        if clause.with_reference {
            // No other flag exists, so the old ones need not be read.
            let escaped = self.builder.ins().iconst(types::I32, i64::from(EXN_ESCAPED));
            self.builder.ins().store(flags, escaped, caught.object, offsets::EXN_FLAGS);
            let reference = self.builder.ins().ireduce(types::I32, caught.reference);
            self.declare_root(reference, AbiType::HeapRef);
            args.push(BlockArg::Value(reference));
        }
        let target = match clause.target {
            Target::Label(height) => self.target_at(height).0,
            Target::Handler(_) => {
                if clause.with_reference {
                    args.push(BlockArg::Value(caught.object));
                }
                self.handler_block(clause)
            }
        };
        self.builder.ins().jump(target, &args);
    }

    /// The identity of a tag.
    fn tag_address(&mut self, tag: TagIndex) -> Value {
        match self.env.module.defined_tag(tag) {
            Some(defined) => self.builder.ins().iadd_imm_u(self.vmctx, i64::from(self.env.offsets.tag(defined))),
            None => {
                let flags = self.constant();
                self.builder.ins().load(types::I64, flags, self.vmctx, self.env.offsets.imported_tag(tag) as i32)
            }
        }
    }

    pub(super) fn throw(&mut self, tag: u32) {
        let module = self.env.module;
        let params = module.tag_params(TagIndex::from_u32(tag));
        if self.throw_to_known_handler(TagIndex::from_u32(tag), params.len()) {
            return;
        }
        let number = self.builder.ins().iconst(types::I32, i64::from(tag));
        let Some(object) = self.builtin(Builtin::throw_alloc, &[number]) else { return };
        let flags = self.trusted(Region::Exceptions);
        for i in (0..params.len()).rev() {
            let value = self.pop();
            self.builder.ins().store(flags, value, object, EXN_PAYLOAD_OFFSET as i32 + SLOT * i as i32);
        }
        self.throwing_builtin(Builtin::throw, &[]);
    }

    /// Branches to the handler of a `throw` here, if that is known now and no reference is wanted: then no object needs to
    /// be made. Returns whether it did.
    fn throw_to_known_handler(&mut self, tag: TagIndex, arity: usize) -> bool {
        let Some((scope, index)) = self.known_handler(tag) else { return false };
        let ScopeKind::Catching { clauses, .. } = &self.buffers.scopes[scope].kind else { return false };
        let mut clause = clauses[index];
        let arity = if clause.tag.is_some() { arity } else { 0 };
        match clause.target {
            Target::Label(height) => self.jump_to(height, arity),
            Target::Handler(_) => {
                let block = self.handler_block(&mut clause);
                if let ScopeKind::Catching { clauses, .. } = &mut self.buffers.scopes[scope].kind {
                    clauses[index] = clause;
                }
                self.jump(block, arity);
                self.reachable = false;
            }
        }
        true
    }

    /// The scope and clause that handle a `throw` here.
    fn known_handler(&self, tag: TagIndex) -> Option<(usize, usize)> {
        let module = self.env.module;
        // Two imports may be the same tag.
        let distinct = |other: TagIndex| other != tag && other.max(tag).as_u32() >= module.num_imported_tags;
        let mut steps = 0;
        let mut scope = self.catching_scope(self.buffers.scopes.len())?;
        loop {
            let ScopeKind::Catching { clauses, .. } = &self.buffers.scopes[scope].kind else { return None };
            for (i, clause) in clauses.iter().enumerate() {
                steps += 1;
                match clause.tag {
                    _ if steps > MAX_SEARCH => return None,
                    Some(other) if distinct(other) => {}
                    Some(other) if other != tag => return None,
                    Some(_) | None => return (!clause.with_reference).then_some((scope, i)),
                }
            }
            steps += 1;
            scope = self.catching_scope(scope)?;
        }
    }

    pub(super) fn throw_ref(&mut self) {
        let reference = self.pop();
        self.trap_unless(reference, TrapCode::NullExceptionReference);
        self.throwing_builtin(Builtin::throw_ref, &[reference]);
    }
}
