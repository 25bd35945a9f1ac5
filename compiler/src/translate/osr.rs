//! Code that is entered at the head of a loop: the interpreter has run the function that far, and hands over its locals. The whole
//! function is translated as always, but its beginning is a block that nothing leads to, and the real entry loads the locals and
//! goes to the loop. So whatever comes after the loop is there as well, and the loops around it go on in this code.
//!
//! Locals are variables, for which the SSA construction finds out what meets where. Operands are not, so there may be none on the
//! stack at that loop: compilers leave none there, and the interpreter does not ask for code where there are some.

use super::FuncTranslator;
use super::control::FrameKind;
use cranelift_codegen::ir::{Block, InstBuilder, MemFlagsData, types};
use cranelift_frontend::Variable;
use wasmc_environ::FuncIndex;
use wasmc_environ::error::DecodeError;
use wasmc_environ::jit::CompileError;
use wasmc_environ::vmlayout::{ValRaw, offsets};

const SLOT: i32 = size_of::<ValRaw>() as i32;

/// The loop at whose head the code is entered.
pub(super) struct FromLoop {
    /// Offset of the instruction.
    offset: u32,
    /// The block that goes there.
    landing: Block,
}

impl FuncTranslator<'_, '_> {
    /// If the function is to be entered at a loop, loads its locals and ends the entry. All locals are declared.
    pub(super) fn enter_at_loop(&mut self, func: FuncIndex, offset: Option<u32>) {
        let Some(offset) = offset else { return };
        let flags = MemFlagsData::trusted();
        let store = self.builder.ins().load(types::I64, flags, self.vmctx, offsets::VMCONTEXT_STORE);
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
        }
        let (landing, never) = (self.builder.create_block(), self.builder.create_block());
        self.builder.ins().jump(landing, &[]);
        self.builder.seal_block(landing);
        self.builder.switch_to_block(never);
        self.builder.seal_block(never);
        self.osr = Some(FromLoop { offset, landing });
    }

    /// Lets the entry lead to a loop, if this is the one. The current block has just been ended by the jump to its header.
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
