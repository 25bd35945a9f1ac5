//! Code that can also be entered at the head of a loop: the interpreter has run the function that far, and hands over its locals. The
//! whole function is translated as always, but before its beginning it is asked which entry is meant: the other one loads the locals
//! and goes to the loop. So whatever comes after the loop is there as well, and the loops around it go on in this code.
//!
//! Locals are variables, for which the SSA construction finds out what meets where. Operands are not, so there may be none on the
//! stack at that loop: compilers leave none there, and the interpreter does not ask for code where there are some.

use super::FuncTranslator;
use super::control::FrameKind;
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, MemFlagsData, types};
use cranelift_frontend::Variable;
use wasmc_environ::FuncIndex;
use wasmc_environ::error::DecodeError;
use wasmc_environ::jit::CompileError;
use wasmc_environ::vmlayout::{ValRaw, offsets};

const SLOT: i32 = size_of::<ValRaw>() as i32;

/// The loop at whose head the code can be entered.
pub(super) struct FromLoop {
    /// Offset of the instruction.
    offset: u32,
    /// The block that goes there.
    landing: Block,
}

impl FuncTranslator<'_, '_> {
    /// If the function is to have an entry at a loop, loads its locals there, and goes on at the usual beginning. All locals are declared.
    pub(super) fn enter_at_loop(&mut self, func: FuncIndex, offset: Option<u32>) {
        let Some(offset) = offset else { return };
        let flags = MemFlagsData::trusted();
        let store = self.builder.ins().load(types::I64, flags, self.vmctx, offsets::VMCONTEXT_STORE);
        let at_loop = self.builder.ins().load(types::I64, flags, store, offsets::STORE_AT_LOOP);
        let (handover, landing, beginning) = (self.builder.create_block(), self.builder.create_block(), self.builder.create_block());
        self.builder.set_cold_block(handover);
        self.builder.ins().brif(at_loop, handover, &[] as &[BlockArg], beginning, &[] as &[BlockArg]);
        self.builder.seal_block(handover);
        self.builder.seal_block(beginning);
        self.builder.switch_to_block(handover);
        let zero = self.builder.ins().iconst(types::I64, 0);
        self.builder.ins().store(flags, zero, store, offsets::STORE_AT_LOOP);
        let array = self.builder.ins().load(types::I64, flags, store, offsets::STORE_TAIL_ARGS);
        let params = self.env.module.type_of(func).params.len();
        // The entry block defines every local already: its definitions say which types they have.
        for local in params..self.buffers.touched.len() {
            let variable = Variable::from_u32(local as u32);
            let zero = self.builder.use_var(variable);
            let ty = self.type_of(zero);
            // There are at most 50,000 locals.
            let value = self.builder.ins().load(ty, flags, array, local as i32 * SLOT);
            self.builder.def_var(variable, value);
            if self.frame_local(local as u32).is_some() {
                self.write_local(local as u32, value);
            }
        }
        self.builder.ins().jump(landing, &[]);
        self.builder.seal_block(landing);
        self.builder.switch_to_block(beginning);
        self.osr = Some(FromLoop { offset, landing });
    }

    /// Lets the second entry lead to a loop, if this is the one. The current block has just been ended by the jump to its header.
    pub(super) fn arrive_at_loop(&mut self, header: Block) {
        let here = |f: &FromLoop| u64::from(f.offset) == self.offset;
        if !self.osr.as_ref().is_some_and(here) || !self.buffers.stack.is_empty() || self.is_in_try() {
            return;
        }
        if let Some(FromLoop { landing, .. }) = self.osr.take() {
            self.builder.switch_to_block(landing);
            self.builder.ins().jump(header, &[]);
        }
    }

    /// Whether a `try` is open, whose handlers keep what they caught.
    fn is_in_try(&self) -> bool {
        self.buffers.control.iter().any(|f| matches!(f.kind, FrameKind::Try(_)))
    }

    /// Fails if the function cannot be entered where it is to be.
    pub(super) fn entered_at_loop(&self) -> Result<(), CompileError> {
        match self.osr {
            None => Ok(()),
            Some(_) => Err(DecodeError::unsupported("entering a function at this loop", self.offset).into()),
        }
    }
}
