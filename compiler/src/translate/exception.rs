//! Exceptions. Inside `try_table` every call is a `try_call` whose one handler is the *landing block* of the innermost
//! `try_table`; all calls there share it. When the construct ends, the landing block gets its code: it compares the
//! exception's tag with the clauses in order, and passes on what none of them catches to the landing block of the next
//! `try_table` outwards, or raises it again.

use super::control::TypeList;
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

/// An open `try_table` with clauses.
pub(super) struct TryScope {
    catches: Vec<Catch>,
    /// The height of the stack of constructs without this one.
    control: usize,
    landing: Option<Block>,
}

const SLOT: i32 = size_of::<ValRaw>() as i32;

impl FuncTranslator<'_, '_> {
    pub(super) fn try_table(&mut self, try_table: &TryTable) -> Result<(), CompileError> {
        if self.dead_try_table() {
            return Ok(());
        }
        let control = self.control_height();
        self.try_table_frame(try_table.ty)?;
        if !try_table.catches.is_empty() {
            self.buffers.scopes.push(TryScope { catches: try_table.catches.clone(), control, landing: None });
        }
        Ok(())
    }

    /// Where exceptions go that are thrown here, if they can be caught in this function.
    pub(super) fn landing_block(&mut self) -> Option<Block> {
        let scope = self.buffers.scopes.last_mut()?;
        Some(*scope.landing.get_or_insert_with(|| {
            let block = self.builder.create_block();
            // The reference and the address of the object.
            self.builder.append_block_param(block, types::I64);
            self.builder.append_block_param(block, types::I64);
            self.builder.set_cold_block(block);
            block
        }))
    }

    /// Closes the scope of the `try_table` that ends, which is no longer on the stack of constructs. Returns it if its
    /// landing block is used.
    pub(super) fn close_try_scope(&mut self) -> Option<TryScope> {
        let control = self.control_height();
        self.buffers.scopes.pop_if(|s| s.control == control).filter(|s| s.landing.is_some())
    }

    /// The code of a scope's landing block. The operand stack is that outside the `try_table`.
    pub(super) fn landing(&mut self, scope: TryScope) -> Result<(), CompileError> {
        let Some(block) = scope.landing else { return Ok(()) };
        self.continue_in(block);
        let (reference, object) = match *self.builder.block_params(block) {
            [reference, object, ..] => (reference, object),
            _ => return Ok(()),
        };
        let mut thrown = None;
        for catch in &scope.catches {
            let (tag, label, with_reference) = match *catch {
                Catch::One { tag, label } => (Some(tag), label, false),
                Catch::OneRef { tag, label } => (Some(tag), label, true),
                Catch::All { label } => (None, label, false),
                Catch::AllRef { label } => (None, label, true),
            };
            let Some(tag) = tag else {
                self.catch(TypeList::None, label, with_reference.then_some(reference), object);
                return Ok(());
            };
            self.check_size()?;
            let tag = TagIndex::from_u32(tag);
            let thrown = *thrown.get_or_insert_with(|| {
                let flags = self.trusted(Region::Exceptions);
                self.builder.ins().load(types::I64, flags, object, offsets::EXN_TAG)
            });
            let wanted = self.tag_address(tag);
            let matches = self.builder.ins().icmp(IntCC::Equal, thrown, wanted);
            let caught = self.cold_block();
            let next = self.cold_block();
            self.builder.ins().brif(matches, caught, &[], next, &[]);
            self.continue_in(caught);
            let module = self.env.module;
            self.catch(TypeList::Many(module.tag_params(tag)), label, with_reference.then_some(reference), object);
            self.continue_in(next);
        }
        match self.landing_block() {
            Some(outer) => {
                self.builder.ins().jump(outer, &[BlockArg::Value(reference), BlockArg::Value(object)]);
            }
            None => {
                let reference = self.builder.ins().ireduce(types::I32, reference);
                self.throwing_builtin(Builtin::rethrow, &[reference]);
            }
        }
        Ok(())
    }

    fn cold_block(&mut self) -> Block {
        let block = self.builder.create_block();
        self.builder.set_cold_block(block);
        block
    }

    /// Branches to a clause's label with the payload and, if wanted, the reference.
    fn catch(&mut self, payload: TypeList<'_>, label: u32, reference: Option<Value>, object: Value) {
        let flags = self.trusted(Region::Exceptions);
        self.carried += payload.len() + 1;
        let mut args = Vec::with_capacity(payload.len() + 1);
        for i in 0..payload.len() {
            let ty = payload.get(i);
            let offset = EXN_PAYLOAD_OFFSET as i32 + SLOT * i as i32;
            let value = self.builder.ins().load(clif_type(ty), flags, object, offset);
            self.declare_root(value, ty);
            args.push(BlockArg::Value(value));
        }
        if let Some(reference) = reference {
            // No other flag exists, so the old ones need not be read.
            let escaped = self.builder.ins().iconst(types::I32, i64::from(EXN_ESCAPED));
            self.builder.ins().store(flags, escaped, object, offsets::EXN_FLAGS);
            let reference = self.builder.ins().ireduce(types::I32, reference);
            self.declare_root(reference, AbiType::HeapRef);
            args.push(BlockArg::Value(reference));
        }
        let (target, _) = self.target_at(self.control_height() - 1 - label as usize);
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
        if let Some((label, with_payload)) = self.known_handler(tag) {
            return self.jump_to(label, if with_payload { params.len() } else { 0 });
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

    /// The construct (by its height) whose label handles a `throw` here, and whether it takes the payload, if that is
    /// known now and no reference is wanted. Then no object needs to be made: the throw is a branch.
    fn known_handler(&self, tag: u32) -> Option<(usize, bool)> {
        let module = self.env.module;
        // Two imports may be the same tag.
        let distinct = |other: u32| other != tag && other.max(tag) >= module.num_imported_tags;
        for scope in self.buffers.scopes.iter().rev() {
            for catch in &scope.catches {
                match *catch {
                    Catch::One { tag: t, label } if t == tag => return Some((scope.control - 1 - label as usize, true)),
                    Catch::One { tag: t, .. } | Catch::OneRef { tag: t, .. } if distinct(t) => {}
                    Catch::All { label } => return Some((scope.control - 1 - label as usize, false)),
                    _ => return None,
                }
            }
        }
        None
    }

    pub(super) fn throw_ref(&mut self) {
        let reference = self.pop();
        self.trap_unless(reference, TrapCode::NullExceptionReference);
        self.throwing_builtin(Builtin::throw_ref, &[reference]);
    }
}
