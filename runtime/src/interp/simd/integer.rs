//! Integer arithmetic, comparisons, shifts, tests and bitwise operators.

use std::array::from_fn;

use super::{Lane, V128, compare, map, vector_operators, zip, zip3};

vector_operators! {
    v128_not(a) = map(a, |x: u64| !x);
    v128_and(a, b) = zip(a, b, |x: u64, y| x & y);
    v128_andnot(a, b) = zip(a, b, |x: u64, y| x & !y);
    v128_or(a, b) = zip(a, b, |x: u64, y| x | y);
    v128_xor(a, b) = zip(a, b, |x: u64, y| x ^ y);
    v128_bitselect(a, b, mask) = zip3(a, b, mask, |x: u64, y, m| (x & m) | (y & !m));

    i8x16_eq(a, b) = compare(a, b, i8::eq);
    i8x16_ne(a, b) = compare(a, b, i8::ne);
    i8x16_lt_s(a, b) = compare(a, b, i8::lt);
    i8x16_lt_u(a, b) = compare(a, b, u8::lt);
    i8x16_gt_s(a, b) = compare(a, b, i8::gt);
    i8x16_gt_u(a, b) = compare(a, b, u8::gt);
    i8x16_le_s(a, b) = compare(a, b, i8::le);
    i8x16_le_u(a, b) = compare(a, b, u8::le);
    i8x16_ge_s(a, b) = compare(a, b, i8::ge);
    i8x16_ge_u(a, b) = compare(a, b, u8::ge);
    i16x8_eq(a, b) = compare(a, b, i16::eq);
    i16x8_ne(a, b) = compare(a, b, i16::ne);
    i16x8_lt_s(a, b) = compare(a, b, i16::lt);
    i16x8_lt_u(a, b) = compare(a, b, u16::lt);
    i16x8_gt_s(a, b) = compare(a, b, i16::gt);
    i16x8_gt_u(a, b) = compare(a, b, u16::gt);
    i16x8_le_s(a, b) = compare(a, b, i16::le);
    i16x8_le_u(a, b) = compare(a, b, u16::le);
    i16x8_ge_s(a, b) = compare(a, b, i16::ge);
    i16x8_ge_u(a, b) = compare(a, b, u16::ge);
    i32x4_eq(a, b) = compare(a, b, i32::eq);
    i32x4_ne(a, b) = compare(a, b, i32::ne);
    i32x4_lt_s(a, b) = compare(a, b, i32::lt);
    i32x4_lt_u(a, b) = compare(a, b, u32::lt);
    i32x4_gt_s(a, b) = compare(a, b, i32::gt);
    i32x4_gt_u(a, b) = compare(a, b, u32::gt);
    i32x4_le_s(a, b) = compare(a, b, i32::le);
    i32x4_le_u(a, b) = compare(a, b, u32::le);
    i32x4_ge_s(a, b) = compare(a, b, i32::ge);
    i32x4_ge_u(a, b) = compare(a, b, u32::ge);
    i64x2_eq(a, b) = compare(a, b, i64::eq);
    i64x2_ne(a, b) = compare(a, b, i64::ne);
    i64x2_lt_s(a, b) = compare(a, b, i64::lt);
    i64x2_gt_s(a, b) = compare(a, b, i64::gt);
    i64x2_le_s(a, b) = compare(a, b, i64::le);
    i64x2_ge_s(a, b) = compare(a, b, i64::ge);

    i8x16_abs(a) = map(a, i8::wrapping_abs);
    i8x16_neg(a) = map(a, i8::wrapping_neg);
    i8x16_popcnt(a) = map(a, |x: u8| x.count_ones() as u8);
    i8x16_add(a, b) = zip(a, b, i8::wrapping_add);
    i8x16_add_sat_s(a, b) = zip(a, b, i8::saturating_add);
    i8x16_add_sat_u(a, b) = zip(a, b, u8::saturating_add);
    i8x16_sub(a, b) = zip(a, b, i8::wrapping_sub);
    i8x16_sub_sat_s(a, b) = zip(a, b, i8::saturating_sub);
    i8x16_sub_sat_u(a, b) = zip(a, b, u8::saturating_sub);
    i8x16_min_s(a, b) = zip(a, b, i8::min);
    i8x16_min_u(a, b) = zip(a, b, u8::min);
    i8x16_max_s(a, b) = zip(a, b, i8::max);
    i8x16_max_u(a, b) = zip(a, b, u8::max);
    i8x16_avgr_u(a, b) = zip(a, b, |x: u8, y: u8| ((u16::from(x) + u16::from(y) + 1) >> 1) as u8);

    i16x8_abs(a) = map(a, i16::wrapping_abs);
    i16x8_neg(a) = map(a, i16::wrapping_neg);
    i16x8_add(a, b) = zip(a, b, i16::wrapping_add);
    i16x8_add_sat_s(a, b) = zip(a, b, i16::saturating_add);
    i16x8_add_sat_u(a, b) = zip(a, b, u16::saturating_add);
    i16x8_sub(a, b) = zip(a, b, i16::wrapping_sub);
    i16x8_sub_sat_s(a, b) = zip(a, b, i16::saturating_sub);
    i16x8_sub_sat_u(a, b) = zip(a, b, u16::saturating_sub);
    i16x8_mul(a, b) = zip(a, b, i16::wrapping_mul);
    i16x8_min_s(a, b) = zip(a, b, i16::min);
    i16x8_min_u(a, b) = zip(a, b, u16::min);
    i16x8_max_s(a, b) = zip(a, b, i16::max);
    i16x8_max_u(a, b) = zip(a, b, u16::max);
    i16x8_avgr_u(a, b) = zip(a, b, |x: u16, y: u16| ((u32::from(x) + u32::from(y) + 1) >> 1) as u16);
    // Only -1 * -1 (in Q15) leaves the range.
    i16x8_q15mulr_sat_s(a, b) = zip(a, b, |x: i16, y: i16| {
        ((i32::from(x) * i32::from(y) + 0x4000) >> 15).min(i32::from(i16::MAX)) as i16
    });

    i32x4_abs(a) = map(a, i32::wrapping_abs);
    i32x4_neg(a) = map(a, i32::wrapping_neg);
    i32x4_add(a, b) = zip(a, b, i32::wrapping_add);
    i32x4_sub(a, b) = zip(a, b, i32::wrapping_sub);
    i32x4_mul(a, b) = zip(a, b, i32::wrapping_mul);
    i32x4_min_s(a, b) = zip(a, b, i32::min);
    i32x4_min_u(a, b) = zip(a, b, u32::min);
    i32x4_max_s(a, b) = zip(a, b, i32::max);
    i32x4_max_u(a, b) = zip(a, b, u32::max);

    i64x2_abs(a) = map(a, i64::wrapping_abs);
    i64x2_neg(a) = map(a, i64::wrapping_neg);
    i64x2_add(a, b) = zip(a, b, i64::wrapping_add);
    i64x2_sub(a, b) = zip(a, b, i64::wrapping_sub);
    i64x2_mul(a, b) = zip(a, b, i64::wrapping_mul);

    i32x4_dot_i16x8_s(a, b) = {
        let (a, b) = (i16::split(a), i16::split(b));
        let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
        // Wraps for four times the least lane.
        i32::join(from_fn(|i| product(2 * i).wrapping_add(product(2 * i + 1))))
    };

    i8x16_relaxed_laneselect(a, b, mask) = v128_bitselect(a, b, mask);
    i16x8_relaxed_laneselect(a, b, mask) = v128_bitselect(a, b, mask);
    i32x4_relaxed_laneselect(a, b, mask) = v128_bitselect(a, b, mask);
    i64x2_relaxed_laneselect(a, b, mask) = v128_bitselect(a, b, mask);
    i16x8_relaxed_q15mulr_s(a, b) = i16x8_q15mulr_sat_s(a, b);
    i16x8_relaxed_dot_i8x16_i7x16_s(a, b) = {
        let (a, b) = (i8::split(a), i8::split(b));
        let product = |i: usize| i16::from(a[i]) * i16::from(b[i]);
        i16::join(from_fn(|i| product(2 * i).wrapping_add(product(2 * i + 1))))
    };
    i32x4_relaxed_dot_i8x16_i7x16_add_s(a, b, c) =
        i32x4_add(i32x4_extadd_pairwise_i16x8_s(i16x8_relaxed_dot_i8x16_i7x16_s(a, b)), c);
}

/// The operators from lanes to lanes of twice the width.
macro_rules! widening {
    ($($from:ident $to:ident $half:literal
        $extend_low:ident $extend_high:ident $extmul_low:ident $extmul_high:ident $(extadd $extadd:ident)?;)*) => {$(
        vector_operators! {
            $extend_low(a) = {
                let a = $from::split(a);
                $to::join(from_fn(|i| a[i].into()))
            };
            $extend_high(a) = {
                let a = $from::split(a);
                $to::join(from_fn(|i| a[i + $half].into()))
            };
            $extmul_low(a, b) = {
                let (a, b) = ($from::split(a), $from::split(b));
                $to::join(from_fn(|i| $to::from(a[i]) * $to::from(b[i])))
            };
            $extmul_high(a, b) = {
                let (a, b) = ($from::split(a), $from::split(b));
                $to::join(from_fn(|i| $to::from(a[i + $half]) * $to::from(b[i + $half])))
            };
            $($extadd(a) = {
                let a = $from::split(a);
                $to::join(from_fn(|i| $to::from(a[2 * i]) + $to::from(a[2 * i + 1])))
            };)?
        }
    )*};
}

widening! {
    i8 i16 8 i16x8_extend_low_i8x16_s i16x8_extend_high_i8x16_s i16x8_extmul_low_i8x16_s i16x8_extmul_high_i8x16_s
        extadd i16x8_extadd_pairwise_i8x16_s;
    u8 u16 8 i16x8_extend_low_i8x16_u i16x8_extend_high_i8x16_u i16x8_extmul_low_i8x16_u i16x8_extmul_high_i8x16_u
        extadd i16x8_extadd_pairwise_i8x16_u;
    i16 i32 4 i32x4_extend_low_i16x8_s i32x4_extend_high_i16x8_s i32x4_extmul_low_i16x8_s i32x4_extmul_high_i16x8_s
        extadd i32x4_extadd_pairwise_i16x8_s;
    u16 u32 4 i32x4_extend_low_i16x8_u i32x4_extend_high_i16x8_u i32x4_extmul_low_i16x8_u i32x4_extmul_high_i16x8_u
        extadd i32x4_extadd_pairwise_i16x8_u;
    i32 i64 2 i64x2_extend_low_i32x4_s i64x2_extend_high_i32x4_s i64x2_extmul_low_i32x4_s i64x2_extmul_high_i32x4_s;
    u32 u64 2 i64x2_extend_low_i32x4_u i64x2_extend_high_i32x4_u i64x2_extmul_low_i32x4_u i64x2_extmul_high_i32x4_u;
}

/// The operators from two vectors of signed lanes to one of half the width, with saturation.
macro_rules! narrowing {
    ($($name:ident $from:ident $to:ident $half:literal;)*) => { vector_operators! {$(
        $name(a, b) = {
            let (a, b) = ($from::split(a), $from::split(b));
            $to::join(from_fn(|i| {
                let lane = if i < $half { a[i] } else { b[i - $half] };
                lane.clamp($to::MIN.into(), $to::MAX.into()) as $to
            }))
        };
    )*} };
}

narrowing! {
    i8x16_narrow_i16x8_s i16 i8 8;
    i8x16_narrow_i16x8_u i16 u8 8;
    i16x8_narrow_i32x4_s i32 i16 4;
    i16x8_narrow_i32x4_u i32 u16 4;
}

macro_rules! shifts {
    ($($signed:ident $unsigned:ident $shl:ident $shr_s:ident $shr_u:ident;)*) => {$(
        #[inline(always)]
        pub(crate) fn $shl(a: V128, count: u32) -> V128 {
            map(a, |x: $signed| x.wrapping_shl(count))
        }

        #[inline(always)]
        pub(crate) fn $shr_s(a: V128, count: u32) -> V128 {
            map(a, |x: $signed| x.wrapping_shr(count))
        }

        #[inline(always)]
        pub(crate) fn $shr_u(a: V128, count: u32) -> V128 {
            map(a, |x: $unsigned| x.wrapping_shr(count))
        }
    )*};
}

shifts! {
    i8 u8 i8x16_shl i8x16_shr_s i8x16_shr_u;
    i16 u16 i16x8_shl i16x8_shr_s i16x8_shr_u;
    i32 u32 i32x4_shl i32x4_shr_s i32x4_shr_u;
    i64 u64 i64x2_shl i64x2_shr_s i64x2_shr_u;
}

#[inline(always)]
pub(crate) fn v128_any_true(a: V128) -> i32 {
    let [low, high] = u64::split(a);
    (low | high != 0).into()
}

/// Whether no lane is 0: without an early end, so that it stays one comparison of vectors.
macro_rules! all_true {
    ($($name:ident $lane:ident;)*) => {$(
        #[inline(always)]
        pub(crate) fn $name(a: V128) -> i32 {
            $lane::split(a).iter().fold(true, |all, &lane| all & (lane != 0)).into()
        }
    )*};
}

all_true! {
    i8x16_all_true i8;
    i16x8_all_true i16;
    i32x4_all_true i32;
    i64x2_all_true i64;
}

/// Gathers the top bits of the eight bytes by a multiplication: each product lands on a bit of its own.
#[inline(always)]
pub(crate) fn i8x16_bitmask(a: V128) -> i32 {
    let [low, high] = u64::split(a).map(|half| ((half >> 7 & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080) >> 56) as i32);
    low | high << 8
}

#[inline(always)]
pub(crate) fn i16x8_bitmask(a: V128) -> i32 {
    let [low, high] =
        u64::split(a).map(|half| ((half >> 15 & 0x0001_0001_0001_0001).wrapping_mul(0x0001_0002_0004_0008) >> 48) as i32 & 0xf);
    low | high << 4
}

#[inline(always)]
pub(crate) fn i32x4_bitmask(a: V128) -> i32 {
    let [a, b, c, d] = u32::split(a).map(|lane| (lane >> 31) as i32);
    a | b << 1 | c << 2 | d << 3
}

#[inline(always)]
pub(crate) fn i64x2_bitmask(a: V128) -> i32 {
    let [a, b] = u64::split(a).map(|lane| (lane >> 63) as i32);
    a | b << 1
}
