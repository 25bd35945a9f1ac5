//! Calls that report themselves: with `Tunables::trace`, a function tells the runtime when it is entered, with its arguments,
//! when it returns, with its results, and when a tail call is about to take its place. The runtime gives each entry a number,
//! which the function hands back; frames that an exception ended it finds by their frame pointers. Without the option nothing of
//! this is in the code.

use super::FuncTranslator;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, StackSlot, StackSlotData, StackSlotKind, Value, types};
use wasmc_environ::FuncIndex;
use wasmc_environ::builtins::Builtin;
use wasmc_environ::jit::CompileError;
use wasmc_environ::vmlayout::ValRaw;

const SLOT: u32 = size_of::<ValRaw>() as u32;

/// What a function that reports its calls keeps.
#[derive(Copy, Clone)]
pub(super) struct Traced {
    /// The runtime's number of this entry.
    entry: Value,
    /// Room for arguments and results.
    array: StackSlot,
}

impl FuncTranslator<'_, '_> {
    /// Whether the function reports its calls.
    pub(super) fn is_traced(&self) -> bool {
        self.trace.is_some()
    }

    /// Reports that the function was entered, if it is to report its calls. The parameters are defined.
    pub(super) fn trace_enter(&mut self, func: FuncIndex) -> Result<(), CompileError> {
        if !self.env.tunables.trace {
            return Ok(());
        }
        self.set_offset(self.offset)?;
        let ty = self.env.module.type_of(func);
        let slots = ty.params.len().max(ty.results.len()).max(1) as u32;
        let array = self.builder.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, slots * SLOT, 4));
        let params: Vec<Value> = self.builder.block_params(self.entry())[1..].to_vec();
        let address = self.trace_array(array, &params);
        let number = self.builder.ins().iconst(types::I32, i64::from(func.as_u32()));
        let entry = self.builtin(Builtin::trace_enter, &[number, address]);
        self.trace = entry.map(|entry| Traced { entry, array });
        Ok(())
    }

    /// Writes values to the array; its address.
    fn trace_array(&mut self, array: StackSlot, values: &[Value]) -> Value {
        let address = self.builder.ins().stack_addr(types::I64, array, 0);
        for (i, value) in values.iter().enumerate() {
            self.builder.ins().store(MemFlagsData::trusted(), *value, address, (i as u32 * SLOT) as i32);
        }
        address
    }

    /// Reports that the function returns the topmost operands, as many as it has results.
    pub(super) fn trace_leave(&mut self, results: usize) {
        let Some(Traced { entry, array }) = self.trace else { return };
        let from = self.buffers.stack.len() - results;
        let values: Vec<Value> = self.buffers.stack[from..].to_vec();
        let address = self.trace_array(array, &values);
        self.builtin(Builtin::trace_leave, &[entry, address]);
    }

    /// Reports that a tail call takes the function's place; the callee's reference, unless it is of this module.
    pub(super) fn trace_tail(&mut self, callee: Option<Value>) {
        let Some(Traced { entry, .. }) = self.trace else { return };
        let callee = callee.unwrap_or_else(|| self.builder.ins().iconst(types::I64, 0));
        self.builtin(Builtin::trace_tail, &[entry, callee]);
    }
}
