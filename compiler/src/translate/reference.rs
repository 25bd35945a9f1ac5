//! References: null, tests for null, and references to functions.

use super::FuncTranslator;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use wasmc_environ::error::DecodeError;
use wasmc_environ::jit::CompileError;
use wasmc_environ::types::{HeapType, RefKind, RefType};
use wasmc_environ::vmlayout::offsets;
use wasmc_environ::{FuncIndex, TrapCode};

impl FuncTranslator<'_, '_> {
    pub(super) fn null(&mut self, heap: HeapType) -> Value {
        let ty = match (RefType { nullable: true, heap }).kind() {
            RefKind::Func => types::I64,
            RefKind::Heap => types::I32,
        };
        self.builder.ins().iconst(ty, 0)
    }

    pub(super) fn ref_null(&mut self, heap: wasmparser::HeapType) -> Result<(), CompileError> {
        let heap = HeapType::from_wasmparser(heap, self.offset)?;
        let null = self.null(heap);
        self.push(null);
        Ok(())
    }

    /// Whether a reference is null, as I8.
    pub(super) fn is_null(&mut self, reference: Value) -> Value {
        self.builder.ins().icmp_imm_u(IntCC::Equal, reference, 0)
    }

    pub(super) fn ref_is_null(&mut self) {
        let reference = self.pop();
        let is_null = self.is_null(reference);
        self.push_bool(is_null);
    }

    pub(super) fn ref_as_non_null(&mut self) {
        let reference = self.pop();
        self.trap_unless(reference, TrapCode::NullReference);
        self.push(reference);
    }

    pub(super) fn ref_func(&mut self, index: u32) -> Result<(), CompileError> {
        let value = self.function_reference(FuncIndex::from_u32(index))?;
        self.push(value);
        Ok(())
    }

    /// The reference to a function: the one in its import, or the address of its `VMFuncRef`.
    pub(super) fn function_reference(&mut self, index: FuncIndex) -> Result<Value, CompileError> {
        let env = self.env;
        if env.module.defined_func(index).is_none() {
            let flags = self.constant();
            let offset = env.offsets.imported_function(index) as i32 + offsets::IMPORT_FUNC_REF;
            return Ok(self.builder.ins().load(types::I64, flags, self.vmctx, offset));
        }
        // Validation has established that the function is declared.
        let slot = env.module.func_ref(index).ok_or_else(|| DecodeError::invalid("undeclared function reference", self.offset))?;
        Ok(self.builder.ins().iadd_imm_u(self.vmctx, i64::from(env.offsets.func_ref(slot))))
    }
}
