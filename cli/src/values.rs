//! Values of WebAssembly as a person writes and reads them on a command line. What is printed can be read back.
//!
//! Integers are decimal or, after `0x`, hexadecimal, and signed or unsigned. Floats are decimal, hexadecimal (`0x1.8p3`), `inf`,
//! `nan` or `nan:0x…` with a payload. A vector is a number of 128 bits (`0x…`) or lanes after their shape (`i32x4:1,2,3,4`). Of
//! references only `null` can be written.

use wasmc_runtime::{HeapType, Val, ValType};
use wast::parser::{ParseBuffer, parse as parse_token};
use wast::token::{F32, F64};

/// The value that a text stands for, or what is wrong with it.
pub fn parse(text: &str, ty: &ValType) -> Result<Val, String> {
    Ok(match ty {
        ValType::I32 => Val::I32(integer(text, 32)? as i32),
        ValType::I64 => Val::I64(integer(text, 64)? as i64),
        ValType::F32 => Val::F32(f32_bits(text)?),
        ValType::F64 => Val::F64(f64_bits(text)?),
        ValType::V128 => Val::V128(vector(text)?.into()),
        ValType::Ref(r) if !r.nullable => {
            return Err("a reference that cannot be null has no form on a command line; call the function from a host program".into());
        }
        ValType::Ref(_) if text != "null" => {
            return Err("of references only `null` can be written; what the host or a module gives out takes a host program".into());
        }
        ValType::Ref(_) => Val::default_for(ty).ok_or("of a type that is not supported")?,
    })
}

/// An integer of so many bits: signed or unsigned, decimal or hexadecimal.
fn integer(text: &str, bits: u32) -> Result<u64, String> {
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let digits = digits.replace('_', "");
    let number = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        // `from_str_radix` would take a second sign.
        _ if digits.contains(['-', '+']) => None,
        Some(hex) => u128::from_str_radix(hex, 16).ok(),
        None => digits.parse().ok(),
    };
    let number = number.ok_or_else(|| format!("not an integer of {bits} bits (such as 7, -7 or 0xff)"))?;
    let most = if negative { 1 << (bits - 1) } else { u128::MAX >> (128 - bits) };
    if number > most {
        return Err(format!("out of the range of {bits} bits (from -{} to {})", 1u128 << (bits - 1), u128::MAX >> (128 - bits)));
    }
    // At most 64 bits, as was just checked.
    Ok(if negative { (number as u64).wrapping_neg() } else { number as u64 })
}

const NOT_A_FLOAT: &str = "not a float (such as 1.5, -2e10, 0x1.8p3, inf, nan or nan:0x200000)";

/// A token of the text format, which also has hexadecimal floats and payloads.
macro_rules! float {
    ($name:ident, $bits:ty, $token:ty, $float:ty) => {
        fn $name(text: &str) -> Result<$bits, String> {
            let token = ParseBuffer::new(text).ok().and_then(|b| parse_token::<$token>(&b).ok()).map(|t| t.bits);
            // Forms that the text format does not have: `.5`, `-inf` with other letters, what rounds to infinity.
            token.or_else(|| text.parse::<$float>().ok().map(<$float>::to_bits)).ok_or_else(|| NOT_A_FLOAT.into())
        }
    };
}

float!(f32_bits, u32, F32, f32);
float!(f64_bits, u64, F64, f64);

/// A vector: 128 bits as one number, or lanes, the first one lowest.
fn vector(text: &str) -> Result<u128, String> {
    const FORMS: &str = "not a vector (such as 0x0f, i32x4:1,2,3,4 or f64x2:1.5,nan; also i8x16, i16x8, i64x2, f32x4)";
    if let Some(hex) = text.strip_prefix("0x") {
        let digits = hex.replace('_', "");
        let sign = digits.starts_with(['-', '+']);
        return u128::from_str_radix(&digits, 16).ok().filter(|_| !sign).ok_or_else(|| FORMS.into());
    }
    let (shape, lanes) = text.split_once(':').ok_or(FORMS)?;
    let (count, bits) = match shape {
        "i8x16" => (16, 8),
        "i16x8" => (8, 16),
        "i32x4" | "f32x4" => (4, 32),
        "i64x2" | "f64x2" => (2, 64),
        _ => return Err(FORMS.into()),
    };
    let lanes: Vec<&str> = lanes.split(',').collect();
    if lanes.len() != count {
        return Err(format!("{shape} has {count} lanes, but {} are given", lanes.len()));
    }
    let mut vector = 0;
    for (i, lane) in lanes.into_iter().enumerate() {
        let lane = lane.trim();
        let value = match shape {
            "f32x4" => f32_bits(lane).map(u64::from),
            "f64x2" => f64_bits(lane),
            _ => integer(lane, bits),
        };
        let value = value.map_err(|e| format!("lane {i} is `{lane}`: {e}"))?;
        let mask = u64::MAX >> (64 - bits);
        vector |= u128::from(value & mask) << (i as u32 * bits);
    }
    Ok(vector)
}

/// A value as it is printed.
pub fn show(value: &Val) -> String {
    match value {
        Val::I32(v) => v.to_string(),
        Val::I64(v) => v.to_string(),
        Val::F32(v) => {
            let payload = u64::from(*v & 0x007f_ffff);
            show_float(f32::from_bits(*v).into(), f32::from_bits(*v).to_string(), format!("{:e}", f32::from_bits(*v)), payload, 1 << 22)
        }
        Val::F64(v) => {
            let float = f64::from_bits(*v);
            show_float(float, float.to_string(), format!("{float:e}"), v & 0x000f_ffff_ffff_ffff, 1 << 51)
        }
        Val::V128(v) => format!("{:#034x}", v.as_u128()),
        Val::FuncRef(None) | Val::ExternRef(None) | Val::ExnRef(None) => "null".into(),
        Val::FuncRef(Some(_)) => "a function".into(),
        Val::ExternRef(Some(_)) => "a value of the host".into(),
        Val::ExnRef(Some(_)) => "an exception".into(),
        other => format!("{other:?}"),
    }
}

/// The plain form as long as it is short, `canonical` NaNs without their payload.
fn show_float(value: f64, plain: String, scientific: String, payload: u64, canonical: u64) -> String {
    let sign = if value.is_sign_negative() { "-" } else { "" };
    if value.is_nan() {
        return if payload == canonical { format!("{sign}nan") } else { format!("{sign}nan:{payload:#x}") };
    }
    if value.is_infinite() {
        return format!("{sign}inf");
    }
    if plain.len() <= 24 { plain } else { scientific }
}

/// What a person is told about a type of argument that has no obvious form.
pub fn kind(ty: &ValType) -> String {
    match ty {
        ValType::Ref(r) if matches!(r.heap, HeapType::Extern) => format!("{ty}, a reference to something of the host"),
        ValType::Ref(_) => format!("{ty}, a reference"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmc_runtime::RefType;

    fn shown(text: &str, ty: ValType) -> String {
        parse(text, &ty).map_or_else(|e| format!("error: {e}"), |v| show(&v))
    }

    #[test]
    fn integers() {
        let good = [
            ("0", "0"),
            ("-1", "-1"),
            ("+7", "7"),
            ("4294967295", "-1"),
            ("0xffffffff", "-1"),
            ("-0x80000000", "-2147483648"),
            ("0x7FFF_FFFF", "2147483647"),
            ("1_000", "1000"),
        ];
        for (text, value) in good {
            assert_eq!(shown(text, ValType::I32), value, "{text}");
        }
        for text in ["", "-", "0x", "x", "1.0", "--1", "-+1", "0x-1", "4294967296", "-2147483649", "1e3", " 1", "_", &"9".repeat(100)] {
            assert!(parse(text, &ValType::I32).is_err(), "{text}");
        }
        assert_eq!(shown("18446744073709551615", ValType::I64), "-1");
        assert_eq!(shown("-9223372036854775808", ValType::I64), "-9223372036854775808");
        assert!(parse("18446744073709551616", &ValType::I64).is_err());
    }

    #[test]
    fn floats() {
        let both = [
            ("2.5", "2.5"),
            ("-0", "-0"),
            ("1", "1"),
            ("0x1.8p3", "12"),
            ("-0x0.8", "-0.5"),
            (".5", "0.5"),
            ("inf", "inf"),
            ("-inf", "-inf"),
            ("nan", "nan"),
            ("-nan", "-nan"),
            ("nan:0x1", "nan:0x1"),
            ("1e30", "1e30"),
            ("1e-30", "1e-30"),
        ];
        for (text, value) in both {
            assert_eq!(shown(text, ValType::F32), value, "{text} as f32");
            assert_eq!(shown(text, ValType::F64), value, "{text} as f64");
        }
        assert_eq!(shown("nan:0x400000", ValType::F32), "nan");
        assert_eq!(shown("0.1", ValType::F32), "0.1");
        assert_eq!(shown("0x1p-149", ValType::F32), "1e-45");
        assert_eq!(parse("0x1.000001p0", &ValType::F32).unwrap().f32().map(f32::to_bits), Some(0x3f80_0000), "ties to even");
        for text in ["", "x", "0x", "nan:0x0", "nan:0x1000000000000000000", "1e", "1 2", "(f32)", "0x1p99999999999999", "\"1\"", ";;"] {
            assert!(parse(text, &ValType::F64).is_err(), "{text}");
        }
    }

    #[test]
    fn vectors() {
        for (text, value) in [
            ("0x0f", "0x0000000000000000000000000000000f"),
            ("i32x4:1,2,3,-1", "0xffffffff000000030000000200000001"),
            ("i8x16:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,255", "0xff0e0d0c0b0a09080706050403020100"),
            ("i16x8:-1,0,0,0,0,0,0,1", "0x0001000000000000000000000000ffff"),
            ("i64x2:1,-1", "0xffffffffffffffff0000000000000001"),
            ("f32x4:1,0,0,-0", "0x8000000000000000000000003f800000"),
            ("f64x2:1,nan", "0x7ff80000000000003ff0000000000000"),
        ] {
            assert_eq!(shown(text, ValType::V128), value, "{text}");
            assert_eq!(shown(value, ValType::V128), value);
        }
        for text in
            ["", "1", "0x", "0x-1", "i32x4:1,2,3", "i32x4:1,2,3,4,5", "i8x16:256", "i32x5:1", "i64x2:1,x", &format!("0x{}", "f".repeat(33))]
        {
            assert!(parse(text, &ValType::V128).is_err(), "{text}");
        }
        assert!(shown("i8x16:0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,256", ValType::V128).contains("lane 15 is `256`: out of the range of 8 bits"));
    }

    #[test]
    fn references() {
        for ty in [RefType::FUNCREF, RefType::EXTERNREF, RefType::EXNREF] {
            assert_eq!(shown("null", ValType::Ref(ty)), "null");
            assert!(shown("0", ValType::Ref(ty)).contains("only `null`"));
            assert!(shown("null", ValType::Ref(RefType { nullable: false, ..ty })).contains("cannot be null"));
        }
    }

    /// Whatever a function returns can be given to it again.
    #[test]
    fn what_is_shown_is_read_back() {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // The low bits of such a generator are poor.
            state ^ (state >> 29)
        };
        for _ in 0..20_000 {
            let (a, b) = (next(), next());
            // Floats of all sizes, and many that are not numbers.
            let special = a | 0x7ff0_0000_0000_0000 | 0x7f80_0000;
            let vector = u128::from(a) << 64 | u128::from(b);
            for (value, ty) in [
                (Val::I32(a as i32), ValType::I32),
                (Val::I64(a as i64), ValType::I64),
                (Val::F32(a as u32), ValType::F32),
                (Val::F32(special as u32), ValType::F32),
                (Val::F64(a), ValType::F64),
                (Val::F64(special), ValType::F64),
                (Val::V128(vector.into()), ValType::V128),
            ] {
                let text = show(&value);
                let read = parse(&text, &ty).unwrap_or_else(|e| panic!("{value:?} is shown as {text}: {e}"));
                assert_eq!(format!("{read:?}"), format!("{value:?}"), "{text}");
            }
        }
    }
}
