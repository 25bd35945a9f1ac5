//! Float arithmetic and comparisons. Where an operand is NaN the result is quiet, with the payload that the hardware
//! gives; the specification leaves it open which.
//!
//! Rounding is written with additions, not with `f32::ceil` and its like: without SSE4.1, which is not part of x86-64's
//! baseline, those are a call of the C library for every lane.

use super::{V128, compare, map, vector_operators, zip, zip3};

macro_rules! float_operators {
    ($($lane:ident $shape:ident $bits:ident $integers_from:literal
        $eq:ident $ne:ident $lt:ident $gt:ident $le:ident $ge:ident
        $abs:ident $neg:ident $sqrt:ident $ceil:ident $floor:ident $trunc:ident $nearest:ident
        $add:ident $sub:ident $mul:ident $div:ident $min:ident $max:ident $pmin:ident $pmax:ident
        $relaxed_min:ident $relaxed_max:ident $madd:ident $nmadd:ident;)*) => {$(
        vector_operators! {
            $eq(a, b) = compare(a, b, $lane::eq);
            $ne(a, b) = compare(a, b, $lane::ne);
            $lt(a, b) = compare(a, b, $lane::lt);
            $gt(a, b) = compare(a, b, $lane::gt);
            $le(a, b) = compare(a, b, $lane::le);
            $ge(a, b) = compare(a, b, $lane::ge);

            // Bit operations: they keep NaNs as they are.
            $abs(a) = map(a, |x: $bits| x & !$shape::SIGN);
            $neg(a) = map(a, |x: $bits| x ^ $shape::SIGN);
            $sqrt(a) = map(a, $lane::sqrt);

            $ceil(a) = map(a, $shape::ceil);
            $floor(a) = map(a, $shape::floor);
            $trunc(a) = map(a, $shape::trunc);
            $nearest(a) = map(a, $shape::nearest);

            $add(a, b) = zip(a, b, |x: $lane, y| x + y);
            $sub(a, b) = zip(a, b, |x: $lane, y| x - y);
            $mul(a, b) = zip(a, b, |x: $lane, y| x * y);
            $div(a, b) = zip(a, b, |x: $lane, y| x / y);
            // Of zeros the negative is the less.
            $min(a, b) = zip(a, b, |x: $lane, y| $shape::pick(x < y, y < x, x, y, x.to_bits() | y.to_bits()));
            $max(a, b) = zip(a, b, |x: $lane, y| $shape::pick(y < x, x < y, x, y, x.to_bits() & y.to_bits()));
            $pmin(a, b) = zip(a, b, |x: $lane, y| if y < x { y } else { x });
            $pmax(a, b) = zip(a, b, |x: $lane, y| if x < y { y } else { x });

            $relaxed_min(a, b) = $pmin(a, b);
            $relaxed_max(a, b) = $pmax(a, b);
            $madd(a, b, c) = zip3(a, b, c, |x: $lane, y, z| x.mul_add(y, z));
            $nmadd(a, b, c) = zip3(a, b, c, |x: $lane, y, z| (-x).mul_add(y, z));
        }

        /// Rounding, and the choice of a minimum or maximum, of one lane.
        mod $shape {
            pub(super) const SIGN: $bits = (-0.0 as $lane).to_bits();

            /// `x` or `y`; or `equal` if they are equal, and a quiet NaN if one is NaN. Written with masks, since LLVM makes
            /// branches of conditions in this number, lane by lane.
            #[inline(always)]
            pub(super) fn pick(take_x: bool, take_y: bool, x: $lane, y: $lane, equal: $bits) -> $lane {
                let mask = |b: bool| $bits::from(b).wrapping_neg();
                $lane::from_bits(
                    mask(take_x) & x.to_bits()
                        | mask(take_y) & y.to_bits()
                        | mask(x == y) & equal
                        | mask(x.is_nan() | y.is_nan()) & (x + y).to_bits(),
                )
            }

            /// From here on every value is an integer.
            const INTEGERS: $lane = $integers_from;

            /// Ties to even, of a value that is not negative and below `INTEGERS`: the addition leaves no bits for a fraction.
            #[inline(always)]
            fn to_integer(x: $lane) -> $lane {
                (x + INTEGERS) - INTEGERS
            }

            /// `rounded` with the sign of `x`; `x` itself where it is an integer anyway, and a quiet NaN for NaN.
            #[inline(always)]
            fn finish(x: $lane, rounded: $lane) -> $lane {
                let signed = $lane::from_bits(rounded.to_bits() & !SIGN | x.to_bits() & SIGN);
                // Not `x + 0.0` for the NaN: the compiler may take that for `x`, whose NaN can be a signalling one.
                let quiet = $lane::from_bits(x.to_bits() | 1 << ($lane::MANTISSA_DIGITS - 2));
                let kept = if x.is_nan() { quiet } else { x };
                if x.abs() < INTEGERS { signed } else { kept }
            }

            #[inline(always)]
            pub(super) fn nearest(x: $lane) -> $lane {
                finish(x, to_integer(x.abs()))
            }

            #[inline(always)]
            pub(super) fn trunc(x: $lane) -> $lane {
                let r = to_integer(x.abs());
                finish(x, if r > x.abs() { r - 1.0 } else { r })
            }

            #[inline(always)]
            pub(super) fn ceil(x: $lane) -> $lane {
                let r = to_integer(x.abs()).copysign(x);
                finish(x, if r < x { r + 1.0 } else { r })
            }

            #[inline(always)]
            pub(super) fn floor(x: $lane) -> $lane {
                let r = to_integer(x.abs()).copysign(x);
                finish(x, if r > x { r - 1.0 } else { r })
            }
        }
    )*};
}

float_operators! {
    f32 f32_lane u32 8_388_608.0
        f32x4_eq f32x4_ne f32x4_lt f32x4_gt f32x4_le f32x4_ge
        f32x4_abs f32x4_neg f32x4_sqrt f32x4_ceil f32x4_floor f32x4_trunc f32x4_nearest
        f32x4_add f32x4_sub f32x4_mul f32x4_div f32x4_min f32x4_max f32x4_pmin f32x4_pmax
        f32x4_relaxed_min f32x4_relaxed_max f32x4_relaxed_madd f32x4_relaxed_nmadd;
    f64 f64_lane u64 4_503_599_627_370_496.0
        f64x2_eq f64x2_ne f64x2_lt f64x2_gt f64x2_le f64x2_ge
        f64x2_abs f64x2_neg f64x2_sqrt f64x2_ceil f64x2_floor f64x2_trunc f64x2_nearest
        f64x2_add f64x2_sub f64x2_mul f64x2_div f64x2_min f64x2_max f64x2_pmin f64x2_pmax
        f64x2_relaxed_min f64x2_relaxed_max f64x2_relaxed_madd f64x2_relaxed_nmadd;
}
