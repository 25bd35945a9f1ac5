//! Globals and locals. A global that never changes and whose initial value is known becomes a constant; others are read
//! and written in the `VMContext`, or through the pointer there if they are imported.

use super::FuncTranslator;
use super::region::Region;
use cranelift_codegen::ir::{InstBuilder, Value, immediates, types};
use cranelift_frontend::Variable;
use wasmc_environ::GlobalIndex;
use wasmc_environ::const_expr::ConstOp;
use wasmc_environ::jit::CompileError;

impl FuncTranslator<'_, '_> {
    /// The variable of a local that is read or written.
    pub(super) fn local(&mut self, index: u32) -> Variable {
        // Validation has established that there is such a local.
        if let Some(touched) = self.buffers.touched.get_mut(index as usize)
            && !std::mem::replace(touched, true)
        {
            self.touched += 1;
        }
        Variable::from_u32(index)
    }

    pub(super) fn local_get(&mut self, index: u32) {
        let value = self.read_local(index);
        self.push(value);
    }

    pub(super) fn local_set(&mut self, index: u32) {
        let value = self.pop();
        self.write_local(index, value);
    }

    pub(super) fn local_tee(&mut self, index: u32) {
        let value = self.pop();
        self.write_local(index, value);
        self.push(value);
    }

    /// Where the value of a global is: a base and an offset.
    fn global_place(&mut self, index: GlobalIndex) -> (Value, i32) {
        match self.env.module.defined_global(index) {
            Some(defined) => (self.vmctx, self.env.offsets.global(defined) as i32),
            None => {
                let flags = self.constant();
                let offset = self.env.offsets.imported_global(index) as i32;
                (self.builder.ins().load(types::I64, flags, self.vmctx, offset), 0)
            }
        }
    }

    pub(super) fn global_get(&mut self, index: u32) -> Result<(), CompileError> {
        let index = GlobalIndex::from_u32(index);
        if let Some(constant) = self.env.constant_global(index)
            && let Some(value) = self.constant_value(constant)?
        {
            self.push(value);
            return Ok(());
        }
        let ty = self.env.module.globals[index.index()];
        let (base, offset) = self.global_place(index);
        let abi = ty.content.abi();
        // Globals are set before any function of the instance can run.
        let flags = if ty.mutable { self.trusted(Region::Global(index)) } else { self.constant() };
        let value = self.builder.ins().load(super::clif_type(abi), flags, base, offset);
        self.push_typed(value, abi);
        Ok(())
    }

    pub(super) fn global_set(&mut self, index: u32) {
        let index = GlobalIndex::from_u32(index);
        let value = self.pop();
        let (base, offset) = self.global_place(index);
        let flags = self.trusted(Region::Global(index));
        self.builder.ins().store(flags, value, base, offset);
    }

    fn constant_value(&mut self, constant: ConstOp) -> Result<Option<Value>, CompileError> {
        Ok(Some(match constant {
            ConstOp::I32Const(v) => self.builder.ins().iconst(types::I32, i64::from(v as u32)),
            ConstOp::I64Const(v) => self.builder.ins().iconst(types::I64, v),
            ConstOp::F32Const(v) => self.builder.ins().f32const(immediates::Ieee32::with_bits(v)),
            ConstOp::F64Const(v) => self.builder.ins().f64const(immediates::Ieee64::with_bits(v)),
            ConstOp::V128Const(v) => self.v128_const(v.to_le_bytes()),
            ConstOp::RefNull(heap) => self.null(heap),
            ConstOp::RefFunc(f) => self.function_reference(f)?,
            _ => return Ok(None),
        }))
    }
}
