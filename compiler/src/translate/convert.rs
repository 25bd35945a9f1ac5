//! Conversions between numeric types.

use super::FuncTranslator;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Type, Value, types};
use cranelift_frontend::FuncInstBuilder;

impl FuncTranslator<'_, '_> {
    /// Replaces the topmost operand by what an instruction makes of it.
    #[inline]
    pub(super) fn unary(&mut self, f: impl FnOnce(FuncInstBuilder<'_, '_>, Value) -> Value) {
        let value = self.pop();
        let value = f(self.builder.ins(), value);
        self.push(value);
    }

    /// Sign-extends the low bits of the topmost operand to its own width.
    pub(super) fn extend_low(&mut self, low: Type) {
        let value = self.pop();
        let ty = self.type_of(value);
        let value = self.builder.ins().ireduce(low, value);
        let value = self.builder.ins().sextend(ty, value);
        self.push(value);
    }

    pub(super) fn reinterpret(&mut self, ty: Type) {
        self.unary(|ins, v| ins.bitcast(ty, MemFlagsData::new(), v));
    }

    /// Pushes a comparison's I8 as the i32 that wasm has for it.
    pub(super) fn push_bool(&mut self, value: Value) {
        let value = self.builder.ins().uextend(types::I32, value);
        self.push(value);
    }
}
