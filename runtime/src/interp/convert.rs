//! Conversions between the number types. What truncates without saturating traps outside the range of the result.

use super::numeric::*;
use wasmc_environ::TrapCode;

unary_operators! {
    I32WrapI64 u64 u32 |a| a as u32;
    I64ExtendI32S u32 u64 |a| a as i32 as u64;
    I64ExtendI32U u32 u64 |a| a as u64;
    I32TruncSatF32S f32 u32 |a| a as i32 as u32;
    I32TruncSatF32U f32 u32 |a| a as u32;
    I32TruncSatF64S f64 u32 |a| a as i32 as u32;
    I32TruncSatF64U f64 u32 |a| a as u32;
    I64TruncSatF32S f32 u64 |a| a as i64 as u64;
    I64TruncSatF32U f32 u64 |a| a as u64;
    I64TruncSatF64S f64 u64 |a| a as i64 as u64;
    I64TruncSatF64U f64 u64 |a| a as u64;
    F32ConvertI32S u32 f32 |a| a as i32 as f32;
    F32ConvertI32U u32 f32 |a| a as f32;
    F32ConvertI64S u64 f32 |a| a as i64 as f32;
    F32ConvertI64U u64 f32 |a| a as f32;
    F64ConvertI32S u32 f64 |a| a as i32 as f64;
    F64ConvertI32U u32 f64 |a| a as f64;
    F64ConvertI64S u64 f64 |a| a as i64 as f64;
    F64ConvertI64U u64 f64 |a| a as f64;
    F32DemoteF64 f64 f32 |a| a as f32;
    F64PromoteF32 f32 f64 |a| a as f64;
    I32ReinterpretF32 f32 u32 |a| a.to_bits();
    I64ReinterpretF64 f64 u64 |a| a.to_bits();
    F32ReinterpretI32 u32 f32 |a| f32::from_bits(a);
    F64ReinterpretI64 u64 f64 |a| f64::from_bits(a);
}

// The bounds are the nearest values outside the range, or the least inside; all are exact in the float type.
truncations! {
    I32TruncF32S f32 i32 u32 |a| (-2147483648.0..2147483648.0).contains(&a);
    I32TruncF32U f32 u32 u32 |a| a > -1.0 && a < 4294967296.0;
    I32TruncF64S f64 i32 u32 |a| a > -2147483649.0 && a < 2147483648.0;
    I32TruncF64U f64 u32 u32 |a| a > -1.0 && a < 4294967296.0;
    I64TruncF32S f32 i64 u64 |a| (-9223372036854775808.0..9223372036854775808.0).contains(&a);
    I64TruncF32U f32 u64 u64 |a| a > -1.0 && a < 18446744073709551616.0;
    I64TruncF64S f64 i64 u64 |a| (-9223372036854775808.0..9223372036854775808.0).contains(&a);
    I64TruncF64U f64 u64 u64 |a| a > -1.0 && a < 18446744073709551616.0;
}
