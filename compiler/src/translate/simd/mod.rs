//! Vector operators. On the operand stack and in locals a vector is `I8X16`; an operator casts its operands to the lanes
//! that it works on, and its result back. A cast is no instruction, and one that would only undo another is not made.
//!
//! Relaxed SIMD is deterministic, the same on every target and in the interpreter (`interp/simd`):
//! `relaxed_swizzle`, `relaxed_trunc`, `relaxed_laneselect` and `relaxed_q15mulr` are the operators without `relaxed`
//! (`laneselect` is `bitselect`); `relaxed_madd` rounds once; `relaxed_min` and `relaxed_max` are `pmin` and `pmax`;
//! `relaxed_dot` multiplies signed by signed and wraps.
//!
//! On x86-64 without SSSE3, SSE4.1 or FMA, Cranelift would call library functions for some operators. They know no
//! `vmctx` and nothing would resolve them, so `baseline` lowers these operators to others.

mod baseline;
mod lanes;
#[cfg(test)]
mod tests;

use super::FuncTranslator;
use cranelift_codegen::ir::InstBuilder;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32X4, F64X2, I8X16, I16X8, I32X4, I64X2};
use lanes::Rounding;
use wasmc_environ::jit::CompileError;
use wasmparser::Operator;

/// Whether an operator is one of this file's.
pub(super) fn is_simd(op: &Operator<'_>) -> bool {
    macro_rules! any_of {
        ($(@$proposal:ident $operator:ident $({ $($field:ident: $type:ty),* })? => $visit:ident ($($arity:tt)*))*) => {
            matches!(op, $(Operator::$operator { .. })|*)
        };
    }
    wasmparser::for_each_visit_simd_operator! { any_of }
}

/// Which half of the lanes an operator reads.
#[derive(Copy, Clone)]
enum Half {
    Low,
    High,
}

/// How narrow integers become wide ones.
#[derive(Copy, Clone)]
enum Sign {
    Signed,
    Unsigned,
}

use Half::{High, Low};
use Sign::{Signed, Unsigned};

/// A method of Cranelift's builder with one operand.
macro_rules! unary {
    ($t:ident $ty:ident $method:ident) => {{
        let a = $t.pop_lanes($ty);
        let r = $t.builder.ins().$method(a);
        $t.push_lanes(r);
    }};
}

/// A method of Cranelift's builder with two operands.
macro_rules! binary {
    ($t:ident $ty:ident $method:ident) => {{
        let (a, b) = $t.pop2_lanes($ty);
        let r = $t.builder.ins().$method(a, b);
        $t.push_lanes(r);
    }};
}

/// A bitwise method with two operands, on the lanes that the first one has already.
macro_rules! bitwise {
    ($t:ident $method:ident) => {{
        let (a, b) = $t.pop2();
        let a = $t.uncast(a);
        let b = $t.cast(b, $t.type_of(a));
        let r = $t.builder.ins().$method(a, b);
        $t.push_lanes(r);
    }};
}

/// A shift of every lane; Cranelift too takes the count modulo the lane's width.
macro_rules! shift {
    ($t:ident $ty:ident $method:ident) => {{
        let count = $t.pop();
        let a = $t.pop_lanes($ty);
        let r = $t.builder.ins().$method(a, count);
        $t.push_lanes(r);
    }};
}

/// Translates a vector operator.
///
/// # Errors
/// If the operator is not one of `is_simd`.
pub(super) fn translate(t: &mut FuncTranslator<'_, '_>, op: &Operator<'_>) -> Result<(), CompileError> {
    match op {
        Operator::V128Load { memarg } => {
            let r = t.load_scalar(I8X16, memarg);
            t.push(r);
        }
        Operator::V128Load8x8S { memarg } => t.load_extended(I8X16, Signed, memarg),
        Operator::V128Load8x8U { memarg } => t.load_extended(I8X16, Unsigned, memarg),
        Operator::V128Load16x4S { memarg } => t.load_extended(I16X8, Signed, memarg),
        Operator::V128Load16x4U { memarg } => t.load_extended(I16X8, Unsigned, memarg),
        Operator::V128Load32x2S { memarg } => t.load_extended(I32X4, Signed, memarg),
        Operator::V128Load32x2U { memarg } => t.load_extended(I32X4, Unsigned, memarg),
        Operator::V128Load8Splat { memarg } => t.load_splat(I8X16, memarg),
        Operator::V128Load16Splat { memarg } => t.load_splat(I16X8, memarg),
        Operator::V128Load32Splat { memarg } => t.load_splat(I32X4, memarg),
        Operator::V128Load64Splat { memarg } => t.load_splat(I64X2, memarg),
        Operator::V128Load32Zero { memarg } => t.load_zero(I32X4, memarg),
        Operator::V128Load64Zero { memarg } => t.load_zero(I64X2, memarg),
        Operator::V128Load8Lane { memarg, lane } => t.load_lane(I8X16, memarg, *lane),
        Operator::V128Load16Lane { memarg, lane } => t.load_lane(I16X8, memarg, *lane),
        Operator::V128Load32Lane { memarg, lane } => t.load_lane(I32X4, memarg, *lane),
        Operator::V128Load64Lane { memarg, lane } => t.load_lane(I64X2, memarg, *lane),
        Operator::V128Store { memarg } => {
            // The bytes are the same under any type, so whatever the value was before its cast is stored.
            let a = t.pop();
            let a = t.uncast(a);
            t.store_scalar(a, memarg);
        }
        Operator::V128Store8Lane { memarg, lane } => t.store_lane(I8X16, memarg, *lane),
        Operator::V128Store16Lane { memarg, lane } => t.store_lane(I16X8, memarg, *lane),
        Operator::V128Store32Lane { memarg, lane } => t.store_lane(I32X4, memarg, *lane),
        Operator::V128Store64Lane { memarg, lane } => t.store_lane(I64X2, memarg, *lane),

        Operator::V128Const { value } => {
            let r = t.v128_const(*value.bytes());
            t.push(r);
        }
        Operator::I8x16Shuffle { lanes } => {
            let (a, b) = t.pop2();
            let r = t.shuffle(a, b, *lanes);
            t.push(r);
        }
        Operator::I8x16Swizzle | Operator::I8x16RelaxedSwizzle => {
            let (a, indices) = t.pop2();
            let r = t.swizzle(a, indices);
            t.push(r);
        }

        Operator::I8x16ExtractLaneS { lane } => t.extract_narrow(I8X16, *lane, Signed),
        Operator::I8x16ExtractLaneU { lane } => t.extract_narrow(I8X16, *lane, Unsigned),
        Operator::I16x8ExtractLaneS { lane } => t.extract_narrow(I16X8, *lane, Signed),
        Operator::I16x8ExtractLaneU { lane } => t.extract_narrow(I16X8, *lane, Unsigned),
        Operator::I32x4ExtractLane { lane } => t.extract(I32X4, *lane),
        Operator::I64x2ExtractLane { lane } => t.extract(I64X2, *lane),
        Operator::F32x4ExtractLane { lane } => t.extract(F32X4, *lane),
        Operator::F64x2ExtractLane { lane } => t.extract(F64X2, *lane),
        Operator::I8x16ReplaceLane { lane } => t.replace(I8X16, *lane),
        Operator::I16x8ReplaceLane { lane } => t.replace(I16X8, *lane),
        Operator::I32x4ReplaceLane { lane } => t.replace(I32X4, *lane),
        Operator::I64x2ReplaceLane { lane } => t.replace(I64X2, *lane),
        Operator::F32x4ReplaceLane { lane } => t.replace(F32X4, *lane),
        Operator::F64x2ReplaceLane { lane } => t.replace(F64X2, *lane),
        Operator::I8x16Splat => t.splat(I8X16),
        Operator::I16x8Splat => t.splat(I16X8),
        Operator::I32x4Splat => t.splat(I32X4),
        Operator::I64x2Splat => t.splat(I64X2),
        Operator::F32x4Splat => t.splat(F32X4),
        Operator::F64x2Splat => t.splat(F64X2),

        Operator::I8x16Eq => t.compare(I8X16, IntCC::Equal),
        Operator::I8x16Ne => t.compare(I8X16, IntCC::NotEqual),
        Operator::I8x16LtS => t.compare(I8X16, IntCC::SignedLessThan),
        Operator::I8x16LtU => t.compare(I8X16, IntCC::UnsignedLessThan),
        Operator::I8x16GtS => t.compare(I8X16, IntCC::SignedGreaterThan),
        Operator::I8x16GtU => t.compare(I8X16, IntCC::UnsignedGreaterThan),
        Operator::I8x16LeS => t.compare(I8X16, IntCC::SignedLessThanOrEqual),
        Operator::I8x16LeU => t.compare(I8X16, IntCC::UnsignedLessThanOrEqual),
        Operator::I8x16GeS => t.compare(I8X16, IntCC::SignedGreaterThanOrEqual),
        Operator::I8x16GeU => t.compare(I8X16, IntCC::UnsignedGreaterThanOrEqual),
        Operator::I16x8Eq => t.compare(I16X8, IntCC::Equal),
        Operator::I16x8Ne => t.compare(I16X8, IntCC::NotEqual),
        Operator::I16x8LtS => t.compare(I16X8, IntCC::SignedLessThan),
        Operator::I16x8LtU => t.compare(I16X8, IntCC::UnsignedLessThan),
        Operator::I16x8GtS => t.compare(I16X8, IntCC::SignedGreaterThan),
        Operator::I16x8GtU => t.compare(I16X8, IntCC::UnsignedGreaterThan),
        Operator::I16x8LeS => t.compare(I16X8, IntCC::SignedLessThanOrEqual),
        Operator::I16x8LeU => t.compare(I16X8, IntCC::UnsignedLessThanOrEqual),
        Operator::I16x8GeS => t.compare(I16X8, IntCC::SignedGreaterThanOrEqual),
        Operator::I16x8GeU => t.compare(I16X8, IntCC::UnsignedGreaterThanOrEqual),
        Operator::I32x4Eq => t.compare(I32X4, IntCC::Equal),
        Operator::I32x4Ne => t.compare(I32X4, IntCC::NotEqual),
        Operator::I32x4LtS => t.compare(I32X4, IntCC::SignedLessThan),
        Operator::I32x4LtU => t.compare(I32X4, IntCC::UnsignedLessThan),
        Operator::I32x4GtS => t.compare(I32X4, IntCC::SignedGreaterThan),
        Operator::I32x4GtU => t.compare(I32X4, IntCC::UnsignedGreaterThan),
        Operator::I32x4LeS => t.compare(I32X4, IntCC::SignedLessThanOrEqual),
        Operator::I32x4LeU => t.compare(I32X4, IntCC::UnsignedLessThanOrEqual),
        Operator::I32x4GeS => t.compare(I32X4, IntCC::SignedGreaterThanOrEqual),
        Operator::I32x4GeU => t.compare(I32X4, IntCC::UnsignedGreaterThanOrEqual),
        Operator::I64x2Eq => t.compare(I64X2, IntCC::Equal),
        Operator::I64x2Ne => t.compare(I64X2, IntCC::NotEqual),
        Operator::I64x2LtS => t.compare(I64X2, IntCC::SignedLessThan),
        Operator::I64x2GtS => t.compare(I64X2, IntCC::SignedGreaterThan),
        Operator::I64x2LeS => t.compare(I64X2, IntCC::SignedLessThanOrEqual),
        Operator::I64x2GeS => t.compare(I64X2, IntCC::SignedGreaterThanOrEqual),
        Operator::F32x4Eq => t.compare_floats(F32X4, FloatCC::Equal),
        Operator::F32x4Ne => t.compare_floats(F32X4, FloatCC::NotEqual),
        Operator::F32x4Lt => t.compare_floats(F32X4, FloatCC::LessThan),
        Operator::F32x4Gt => t.compare_floats(F32X4, FloatCC::GreaterThan),
        Operator::F32x4Le => t.compare_floats(F32X4, FloatCC::LessThanOrEqual),
        Operator::F32x4Ge => t.compare_floats(F32X4, FloatCC::GreaterThanOrEqual),
        Operator::F64x2Eq => t.compare_floats(F64X2, FloatCC::Equal),
        Operator::F64x2Ne => t.compare_floats(F64X2, FloatCC::NotEqual),
        Operator::F64x2Lt => t.compare_floats(F64X2, FloatCC::LessThan),
        Operator::F64x2Gt => t.compare_floats(F64X2, FloatCC::GreaterThan),
        Operator::F64x2Le => t.compare_floats(F64X2, FloatCC::LessThanOrEqual),
        Operator::F64x2Ge => t.compare_floats(F64X2, FloatCC::GreaterThanOrEqual),

        Operator::V128Not => {
            let a = t.pop();
            let a = t.uncast(a);
            // Not `bnot` of floats: a comparison's mask, which can be inverted, is of integers.
            let a = if t.type_of(a).lane_type().is_float() { t.cast(a, I8X16) } else { a };
            let r = t.builder.ins().bnot(a);
            t.push_lanes(r);
        }
        Operator::V128And => bitwise!(t band),
        Operator::V128AndNot => bitwise!(t band_not),
        Operator::V128Or => bitwise!(t bor),
        Operator::V128Xor => bitwise!(t bxor),
        Operator::V128Bitselect
        | Operator::I8x16RelaxedLaneselect
        | Operator::I16x8RelaxedLaneselect
        | Operator::I32x4RelaxedLaneselect
        | Operator::I64x2RelaxedLaneselect => {
            let mask = t.pop();
            let (a, b) = t.pop2();
            // On the mask's own lanes: Cranelift sees there if it is a comparison, whose lanes are all ones or zeros.
            let mask = t.uncast(mask);
            let ty = t.type_of(mask);
            let (a, b) = (t.cast(a, ty), t.cast(b, ty));
            let r = t.builder.ins().bitselect(mask, a, b);
            t.push_lanes(r);
        }
        Operator::V128AnyTrue => {
            let a = t.pop();
            let r = t.builder.ins().vany_true(a);
            t.push_truth(r);
        }
        Operator::I8x16AllTrue => t.all_true(I8X16),
        Operator::I16x8AllTrue => t.all_true(I16X8),
        Operator::I32x4AllTrue => t.all_true(I32X4),
        Operator::I64x2AllTrue => t.all_true(I64X2),
        Operator::I8x16Bitmask => t.bitmask(I8X16),
        Operator::I16x8Bitmask => t.bitmask(I16X8),
        Operator::I32x4Bitmask => t.bitmask(I32X4),
        Operator::I64x2Bitmask => t.bitmask(I64X2),

        Operator::I8x16Abs => unary!(t I8X16 iabs),
        Operator::I8x16Neg => unary!(t I8X16 ineg),
        Operator::I8x16Popcnt => unary!(t I8X16 popcnt),
        Operator::I8x16Shl => shift!(t I8X16 ishl),
        Operator::I8x16ShrS => shift!(t I8X16 sshr),
        Operator::I8x16ShrU => shift!(t I8X16 ushr),
        Operator::I8x16Add => binary!(t I8X16 iadd),
        Operator::I8x16AddSatS => binary!(t I8X16 sadd_sat),
        Operator::I8x16AddSatU => binary!(t I8X16 uadd_sat),
        Operator::I8x16Sub => binary!(t I8X16 isub),
        Operator::I8x16SubSatS => binary!(t I8X16 ssub_sat),
        Operator::I8x16SubSatU => binary!(t I8X16 usub_sat),
        Operator::I8x16MinS => binary!(t I8X16 smin),
        Operator::I8x16MinU => binary!(t I8X16 umin),
        Operator::I8x16MaxS => binary!(t I8X16 smax),
        Operator::I8x16MaxU => binary!(t I8X16 umax),
        Operator::I8x16AvgrU => binary!(t I8X16 avg_round),
        Operator::I8x16NarrowI16x8S => binary!(t I16X8 snarrow),
        Operator::I8x16NarrowI16x8U => binary!(t I16X8 unarrow),

        Operator::I16x8Abs => unary!(t I16X8 iabs),
        Operator::I16x8Neg => unary!(t I16X8 ineg),
        Operator::I16x8Shl => shift!(t I16X8 ishl),
        Operator::I16x8ShrS => shift!(t I16X8 sshr),
        Operator::I16x8ShrU => shift!(t I16X8 ushr),
        Operator::I16x8Add => binary!(t I16X8 iadd),
        Operator::I16x8AddSatS => binary!(t I16X8 sadd_sat),
        Operator::I16x8AddSatU => binary!(t I16X8 uadd_sat),
        Operator::I16x8Sub => binary!(t I16X8 isub),
        Operator::I16x8SubSatS => binary!(t I16X8 ssub_sat),
        Operator::I16x8SubSatU => binary!(t I16X8 usub_sat),
        Operator::I16x8Mul => binary!(t I16X8 imul),
        Operator::I16x8MinS => binary!(t I16X8 smin),
        Operator::I16x8MinU => binary!(t I16X8 umin),
        Operator::I16x8MaxS => binary!(t I16X8 smax),
        Operator::I16x8MaxU => binary!(t I16X8 umax),
        Operator::I16x8AvgrU => binary!(t I16X8 avg_round),
        Operator::I16x8Q15MulrSatS | Operator::I16x8RelaxedQ15mulrS => binary!(t I16X8 sqmul_round_sat),
        Operator::I16x8NarrowI32x4S => binary!(t I32X4 snarrow),
        Operator::I16x8NarrowI32x4U => binary!(t I32X4 unarrow),
        Operator::I16x8ExtendLowI8x16S => t.extend(I8X16, Low, Signed),
        Operator::I16x8ExtendHighI8x16S => t.extend(I8X16, High, Signed),
        Operator::I16x8ExtendLowI8x16U => t.extend(I8X16, Low, Unsigned),
        Operator::I16x8ExtendHighI8x16U => t.extend(I8X16, High, Unsigned),
        Operator::I16x8ExtMulLowI8x16S => t.extended_multiply(I8X16, Low, Signed),
        Operator::I16x8ExtMulHighI8x16S => t.extended_multiply(I8X16, High, Signed),
        Operator::I16x8ExtMulLowI8x16U => t.extended_multiply(I8X16, Low, Unsigned),
        Operator::I16x8ExtMulHighI8x16U => t.extended_multiply(I8X16, High, Unsigned),
        Operator::I16x8ExtAddPairwiseI8x16S => t.extended_add_pairwise(I8X16, Signed),
        Operator::I16x8ExtAddPairwiseI8x16U => t.extended_add_pairwise(I8X16, Unsigned),
        Operator::I16x8RelaxedDotI8x16I7x16S => {
            let (a, b) = t.pop2_lanes(I8X16);
            let r = t.dot(a, b);
            t.push_lanes(r);
        }

        Operator::I32x4Abs => unary!(t I32X4 iabs),
        Operator::I32x4Neg => unary!(t I32X4 ineg),
        Operator::I32x4Shl => shift!(t I32X4 ishl),
        Operator::I32x4ShrS => shift!(t I32X4 sshr),
        Operator::I32x4ShrU => shift!(t I32X4 ushr),
        Operator::I32x4Add => binary!(t I32X4 iadd),
        Operator::I32x4Sub => binary!(t I32X4 isub),
        Operator::I32x4Mul => binary!(t I32X4 imul),
        Operator::I32x4MinS => binary!(t I32X4 smin),
        Operator::I32x4MinU => binary!(t I32X4 umin),
        Operator::I32x4MaxS => binary!(t I32X4 smax),
        Operator::I32x4MaxU => binary!(t I32X4 umax),
        Operator::I32x4DotI16x8S => {
            let (a, b) = t.pop2_lanes(I16X8);
            let r = t.dot(a, b);
            t.push_lanes(r);
        }
        Operator::I32x4ExtendLowI16x8S => t.extend(I16X8, Low, Signed),
        Operator::I32x4ExtendHighI16x8S => t.extend(I16X8, High, Signed),
        Operator::I32x4ExtendLowI16x8U => t.extend(I16X8, Low, Unsigned),
        Operator::I32x4ExtendHighI16x8U => t.extend(I16X8, High, Unsigned),
        Operator::I32x4ExtMulLowI16x8S => t.extended_multiply(I16X8, Low, Signed),
        Operator::I32x4ExtMulHighI16x8S => t.extended_multiply(I16X8, High, Signed),
        Operator::I32x4ExtMulLowI16x8U => t.extended_multiply(I16X8, Low, Unsigned),
        Operator::I32x4ExtMulHighI16x8U => t.extended_multiply(I16X8, High, Unsigned),
        Operator::I32x4ExtAddPairwiseI16x8S => t.extended_add_pairwise(I16X8, Signed),
        Operator::I32x4ExtAddPairwiseI16x8U => t.extended_add_pairwise(I16X8, Unsigned),
        Operator::I32x4RelaxedDotI8x16I7x16AddS => {
            let c = t.pop_lanes(I32X4);
            let (a, b) = t.pop2_lanes(I8X16);
            let dot = t.dot(a, b);
            let low = t.widen(dot, Low, Signed);
            let high = t.widen(dot, High, Signed);
            let sum = t.builder.ins().iadd_pairwise(low, high);
            let r = t.builder.ins().iadd(sum, c);
            t.push_lanes(r);
        }

        Operator::I64x2Abs => unary!(t I64X2 iabs),
        Operator::I64x2Neg => unary!(t I64X2 ineg),
        Operator::I64x2Shl => shift!(t I64X2 ishl),
        Operator::I64x2ShrS => shift!(t I64X2 sshr),
        Operator::I64x2ShrU => shift!(t I64X2 ushr),
        Operator::I64x2Add => binary!(t I64X2 iadd),
        Operator::I64x2Sub => binary!(t I64X2 isub),
        Operator::I64x2Mul => binary!(t I64X2 imul),
        Operator::I64x2ExtendLowI32x4S => t.extend(I32X4, Low, Signed),
        Operator::I64x2ExtendHighI32x4S => t.extend(I32X4, High, Signed),
        Operator::I64x2ExtendLowI32x4U => t.extend(I32X4, Low, Unsigned),
        Operator::I64x2ExtendHighI32x4U => t.extend(I32X4, High, Unsigned),
        Operator::I64x2ExtMulLowI32x4S => t.extended_multiply(I32X4, Low, Signed),
        Operator::I64x2ExtMulHighI32x4S => t.extended_multiply(I32X4, High, Signed),
        Operator::I64x2ExtMulLowI32x4U => t.extended_multiply(I32X4, Low, Unsigned),
        Operator::I64x2ExtMulHighI32x4U => t.extended_multiply(I32X4, High, Unsigned),

        Operator::F32x4Ceil => t.round_lanes(F32X4, Rounding::Up),
        Operator::F32x4Floor => t.round_lanes(F32X4, Rounding::Down),
        Operator::F32x4Trunc => t.round_lanes(F32X4, Rounding::Zero),
        Operator::F32x4Nearest => t.round_lanes(F32X4, Rounding::Nearest),
        Operator::F32x4Abs => unary!(t F32X4 fabs),
        Operator::F32x4Neg => unary!(t F32X4 fneg),
        Operator::F32x4Sqrt => unary!(t F32X4 sqrt),
        Operator::F32x4Add => binary!(t F32X4 fadd),
        Operator::F32x4Sub => binary!(t F32X4 fsub),
        Operator::F32x4Mul => binary!(t F32X4 fmul),
        Operator::F32x4Div => binary!(t F32X4 fdiv),
        Operator::F32x4Min => binary!(t F32X4 fmin),
        Operator::F32x4Max => binary!(t F32X4 fmax),
        Operator::F32x4PMin | Operator::F32x4RelaxedMin => t.pseudo_minimum(F32X4),
        Operator::F32x4PMax | Operator::F32x4RelaxedMax => t.pseudo_maximum(F32X4),
        Operator::F32x4RelaxedMadd => t.multiply_add(F32X4, false),
        Operator::F32x4RelaxedNmadd => t.multiply_add(F32X4, true),
        Operator::F64x2Ceil => t.round_lanes(F64X2, Rounding::Up),
        Operator::F64x2Floor => t.round_lanes(F64X2, Rounding::Down),
        Operator::F64x2Trunc => t.round_lanes(F64X2, Rounding::Zero),
        Operator::F64x2Nearest => t.round_lanes(F64X2, Rounding::Nearest),
        Operator::F64x2Abs => unary!(t F64X2 fabs),
        Operator::F64x2Neg => unary!(t F64X2 fneg),
        Operator::F64x2Sqrt => unary!(t F64X2 sqrt),
        Operator::F64x2Add => binary!(t F64X2 fadd),
        Operator::F64x2Sub => binary!(t F64X2 fsub),
        Operator::F64x2Mul => binary!(t F64X2 fmul),
        Operator::F64x2Div => binary!(t F64X2 fdiv),
        Operator::F64x2Min => binary!(t F64X2 fmin),
        Operator::F64x2Max => binary!(t F64X2 fmax),
        Operator::F64x2PMin | Operator::F64x2RelaxedMin => t.pseudo_minimum(F64X2),
        Operator::F64x2PMax | Operator::F64x2RelaxedMax => t.pseudo_maximum(F64X2),
        Operator::F64x2RelaxedMadd => t.multiply_add(F64X2, false),
        Operator::F64x2RelaxedNmadd => t.multiply_add(F64X2, true),

        Operator::I32x4TruncSatF32x4S | Operator::I32x4RelaxedTruncF32x4S => {
            let a = t.pop_lanes(F32X4);
            let r = t.builder.ins().fcvt_to_sint_sat(I32X4, a);
            t.push_lanes(r);
        }
        Operator::I32x4TruncSatF32x4U | Operator::I32x4RelaxedTruncF32x4U => {
            let a = t.pop_lanes(F32X4);
            let r = t.builder.ins().fcvt_to_uint_sat(I32X4, a);
            t.push_lanes(r);
        }
        // x86-64 knows the two conversions below, and those from the low half, in exactly these combinations.
        Operator::I32x4TruncSatF64x2SZero | Operator::I32x4RelaxedTruncF64x2SZero => {
            let a = t.pop_lanes(F64X2);
            let wide = t.builder.ins().fcvt_to_sint_sat(I64X2, a);
            let zero = t.lanes_const(I64X2, [0; 16]);
            let r = t.builder.ins().snarrow(wide, zero);
            t.push_lanes(r);
        }
        Operator::I32x4TruncSatF64x2UZero | Operator::I32x4RelaxedTruncF64x2UZero => {
            let a = t.pop_lanes(F64X2);
            let r = if t.env.has_rounding {
                let wide = t.builder.ins().fcvt_to_uint_sat(I64X2, a);
                let zero = t.lanes_const(I64X2, [0; 16]);
                t.builder.ins().uunarrow(wide, zero)
            } else {
                t.saturate_to_u32_by_adding(a)
            };
            t.push_lanes(r);
        }
        Operator::F32x4ConvertI32x4S => {
            let a = t.pop_lanes(I32X4);
            let r = t.builder.ins().fcvt_from_sint(F32X4, a);
            t.push_lanes(r);
        }
        Operator::F32x4ConvertI32x4U => {
            let a = t.pop_lanes(I32X4);
            let r = t.builder.ins().fcvt_from_uint(F32X4, a);
            t.push_lanes(r);
        }
        Operator::F64x2ConvertLowI32x4S => {
            let a = t.pop_lanes(I32X4);
            let wide = t.builder.ins().swiden_low(a);
            let r = t.builder.ins().fcvt_from_sint(F64X2, wide);
            t.push_lanes(r);
        }
        Operator::F64x2ConvertLowI32x4U => {
            let a = t.pop_lanes(I32X4);
            let wide = t.builder.ins().uwiden_low(a);
            let r = t.builder.ins().fcvt_from_uint(F64X2, wide);
            t.push_lanes(r);
        }
        Operator::F32x4DemoteF64x2Zero => unary!(t F64X2 fvdemote),
        Operator::F64x2PromoteLowF32x4 => unary!(t F32X4 fvpromote_low),

        _ => return Err(t.unsupported(format!("{op:?}"))),
    }
    Ok(())
}
