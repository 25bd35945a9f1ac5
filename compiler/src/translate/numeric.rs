//! Arithmetic and comparisons of numbers. Cranelift's instructions have WebAssembly's semantics: shift amounts are taken
//! modulo the width, division traps, minimum and maximum propagate NaN.

use super::FuncTranslator;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, InstructionData, Opcode, Value, ValueDef, types};
use cranelift_frontend::FuncInstBuilder;
use wasmc_environ::builtins::Builtin;

/// A rounding instruction.
#[derive(Copy, Clone)]
pub(super) enum Rounding {
    Ceil,
    Floor,
    Trunc,
    Nearest,
}

impl FuncTranslator<'_, '_> {
    #[inline]
    pub(super) fn binary(&mut self, f: impl FnOnce(FuncInstBuilder<'_, '_>, Value, Value) -> Value) {
        let (a, b) = self.pop2();
        let value = f(self.builder.ins(), a, b);
        self.push(value);
    }

    /// An operation on numbers of 128 bits, whose halves are operands of their own, the lower one below.
    pub(super) fn wide(&mut self, f: impl FnOnce(FuncInstBuilder<'_, '_>, Value, Value) -> Value) {
        let (b_low, b_high) = self.pop2();
        let (a_low, a_high) = self.pop2();
        let a = self.builder.ins().iconcat(a_low, a_high);
        let b = self.builder.ins().iconcat(b_low, b_high);
        let value = f(self.builder.ins(), a, b);
        self.push_halves(value);
    }

    /// The whole product of two i64. The lowering sees that the operands are extended, and makes one multiplication of
    /// it; `umulhi` and `imul` apart would be two.
    pub(super) fn mul_wide(&mut self, signed: bool) {
        let (a, b) = self.pop2();
        let mut extend = |v| if signed { self.builder.ins().sextend(types::I128, v) } else { self.builder.ins().uextend(types::I128, v) };
        let (a, b) = (extend(a), extend(b));
        let value = self.builder.ins().imul(a, b);
        self.push_halves(value);
    }

    fn push_halves(&mut self, value: Value) {
        let (low, high) = self.builder.ins().isplit(value);
        self.push(low);
        self.push(high);
    }

    pub(super) fn icmp(&mut self, condition: IntCC) {
        let (a, b) = self.pop2();
        let value = self.builder.ins().icmp(condition, a, b);
        self.push_bool(value);
    }

    pub(super) fn eqz(&mut self) {
        let value = self.pop();
        let value = self.builder.ins().icmp_imm_u(IntCC::Equal, value, 0);
        self.push_bool(value);
    }

    pub(super) fn fcmp(&mut self, condition: FloatCC) {
        let (a, b) = self.pop2();
        let value = self.builder.ins().fcmp(condition, a, b);
        self.push_bool(value);
    }

    /// Pops an i32 that is only tested for 0. The result of a comparison is taken before it was widened.
    pub(super) fn pop_condition(&mut self) -> Value {
        let value = self.pop();
        let dfg = &self.builder.func.dfg;
        if let ValueDef::Result(inst, _) = dfg.value_def(value)
            && let InstructionData::Unary { opcode: Opcode::Uextend, arg } = dfg.insts[inst]
            && dfg.value_type(arg) == types::I8
        {
            return arg;
        }
        value
    }

    pub(super) fn select(&mut self) {
        let condition = self.pop_condition();
        let (a, b) = self.pop2();
        let value = self.builder.ins().select(condition, a, b);
        self.push(value);
    }

    pub(super) fn round(&mut self, rounding: Rounding) {
        let value = self.pop();
        let value = self.rounded(rounding, value);
        self.push(value);
    }

    /// A float rounded to an integral value.
    pub(super) fn rounded(&mut self, rounding: Rounding, value: Value) -> Value {
        if !self.env.has_rounding {
            let is_f32 = self.type_of(value) == types::F32;
            let builtin = match (rounding, is_f32) {
                (Rounding::Ceil, true) => Builtin::ceil_f32,
                (Rounding::Ceil, false) => Builtin::ceil_f64,
                (Rounding::Floor, true) => Builtin::floor_f32,
                (Rounding::Floor, false) => Builtin::floor_f64,
                (Rounding::Trunc, true) => Builtin::trunc_f32,
                (Rounding::Trunc, false) => Builtin::trunc_f64,
                (Rounding::Nearest, true) => Builtin::nearest_f32,
                (Rounding::Nearest, false) => Builtin::nearest_f64,
            };
            if let Some(rounded) = self.builtin(builtin, &[value]) {
                return rounded;
            }
        }
        let ins = self.builder.ins();
        match rounding {
            Rounding::Ceil => ins.ceil(value),
            Rounding::Floor => ins.floor(value),
            Rounding::Trunc => ins.trunc(value),
            Rounding::Nearest => ins.nearest(value),
        }
    }
}
