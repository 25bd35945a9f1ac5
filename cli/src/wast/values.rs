//! Arguments of and results expected by specification scripts, and how a value fits a pattern: NaN patterns stand for
//! sets of values (specification 3.0, "NaN propagation").

use anyhow::{Context, Result, bail};
use wasmc_runtime::{ExternRef, Store, Val};
use wast::core::{AbstractHeapType, HeapType, NanPattern, V128Pattern, WastArgCore, WastRetCore};
use wast::token::{F32, F64};

/// The value of an argument.
pub fn argument(store: &mut Store<()>, arg: &WastArgCore<'_>) -> Result<Val> {
    Ok(match arg {
        WastArgCore::I32(v) => Val::I32(*v),
        WastArgCore::I64(v) => Val::I64(*v),
        WastArgCore::F32(v) => Val::F32(v.bits),
        WastArgCore::F64(v) => Val::F64(v.bits),
        WastArgCore::V128(v) => Val::V128(u128::from_le_bytes(v.to_le_bytes()).into()),
        WastArgCore::RefNull(HeapType::Abstract { ty: AbstractHeapType::Extern | AbstractHeapType::NoExtern, .. }) => Val::ExternRef(None),
        WastArgCore::RefNull(HeapType::Abstract { ty: AbstractHeapType::Exn | AbstractHeapType::NoExn, .. }) => Val::ExnRef(None),
        WastArgCore::RefNull(HeapType::Abstract { ty: AbstractHeapType::Func | AbstractHeapType::NoFunc, .. } | HeapType::Concrete(_)) => {
            Val::FuncRef(None)
        }
        WastArgCore::RefExtern(v) => Val::ExternRef(Some(ExternRef::new(store, *v)?)),
        other => bail!("no value of this kind: {other:?}"),
    })
}

/// Whether a value is one that a script expects.
pub fn check(store: &mut Store<()>, value: &Val, want: &WastRetCore<'_>) -> Result<()> {
    if fits(store, value, want)? {
        return Ok(());
    }
    bail!("got {value:?}, expected {want:?}")
}

fn fits(store: &mut Store<()>, value: &Val, want: &WastRetCore<'_>) -> Result<bool> {
    Ok(match (value, want) {
        (Val::I32(v), WastRetCore::I32(w)) => v == w,
        (Val::I64(v), WastRetCore::I64(w)) => v == w,
        (Val::F32(v), WastRetCore::F32(w)) => f32_fits(*v, w),
        (Val::F64(v), WastRetCore::F64(w)) => f64_fits(*v, w),
        (Val::V128(v), WastRetCore::V128(w)) => v128_fits(v.as_u128(), w),
        (Val::FuncRef(None) | Val::ExternRef(None) | Val::ExnRef(None), WastRetCore::RefNull(None)) => true,
        (Val::FuncRef(None), WastRetCore::RefNull(Some(HeapType::Abstract { ty, .. }))) => {
            matches!(ty, AbstractHeapType::Func | AbstractHeapType::NoFunc)
        }
        (Val::FuncRef(None), WastRetCore::RefNull(Some(HeapType::Concrete(_)))) => true,
        (Val::ExternRef(None), WastRetCore::RefNull(Some(HeapType::Abstract { ty, .. }))) => {
            matches!(ty, AbstractHeapType::Extern | AbstractHeapType::NoExtern)
        }
        (Val::ExnRef(None), WastRetCore::RefNull(Some(HeapType::Abstract { ty, .. }))) => {
            matches!(ty, AbstractHeapType::Exn | AbstractHeapType::NoExn)
        }
        (Val::FuncRef(Some(_)), WastRetCore::RefFunc(_)) => true,
        (Val::ExternRef(Some(_)), WastRetCore::RefExtern(None)) => true,
        (Val::ExternRef(Some(r)), WastRetCore::RefExtern(Some(w))) => {
            let data = r.data(&*store)?;
            data.downcast_ref::<u32>().context("an external reference of the script holds a number")? == w
        }
        (_, WastRetCore::Either(cases)) => {
            for case in cases {
                if fits(store, value, case)? {
                    return Ok(true);
                }
            }
            false
        }
        _ => false,
    })
}

fn f32_fits(v: u32, want: &NanPattern<F32>) -> bool {
    match want {
        NanPattern::CanonicalNan => v & 0x7fff_ffff == 0x7fc0_0000,
        NanPattern::ArithmeticNan => v & 0x7fc0_0000 == 0x7fc0_0000,
        NanPattern::Value(w) => v == w.bits,
    }
}

fn f64_fits(v: u64, want: &NanPattern<F64>) -> bool {
    match want {
        NanPattern::CanonicalNan => v & 0x7fff_ffff_ffff_ffff == 0x7ff8_0000_0000_0000,
        NanPattern::ArithmeticNan => v & 0x7ff8_0000_0000_0000 == 0x7ff8_0000_0000_0000,
        NanPattern::Value(w) => v == w.bits,
    }
}

fn v128_fits(v: u128, want: &V128Pattern) -> bool {
    fn lane<const N: usize>(v: u128, i: usize) -> [u8; N] {
        let bytes = v.to_le_bytes();
        core::array::from_fn(|b| bytes[i * N + b])
    }
    match want {
        V128Pattern::I8x16(w) => w.iter().enumerate().all(|(i, w)| i8::from_le_bytes(lane(v, i)) == *w),
        V128Pattern::I16x8(w) => w.iter().enumerate().all(|(i, w)| i16::from_le_bytes(lane(v, i)) == *w),
        V128Pattern::I32x4(w) => w.iter().enumerate().all(|(i, w)| i32::from_le_bytes(lane(v, i)) == *w),
        V128Pattern::I64x2(w) => w.iter().enumerate().all(|(i, w)| i64::from_le_bytes(lane(v, i)) == *w),
        V128Pattern::F32x4(w) => w.iter().enumerate().all(|(i, w)| f32_fits(u32::from_le_bytes(lane(v, i)), w)),
        V128Pattern::F64x2(w) => w.iter().enumerate().all(|(i, w)| f64_fits(u64::from_le_bytes(lane(v, i)), w)),
    }
}
