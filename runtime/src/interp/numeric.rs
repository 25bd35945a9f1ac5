//! Arithmetic and comparisons on numbers: what each instruction computes. One line an operator; `forms` makes its handlers in
//! every form of operands that the translator uses, `joined` those of several operators in one instruction.

use super::dispatch::*;
pub(super) use super::forms::*;
pub(super) use super::joined::*;
use wasmc_environ::TrapCode;

/// An operator of two operands that cannot trap.
pub(super) trait Binary {
    type In: Val;
    type Out: Val;
    fn eval(a: Self::In, b: Self::In) -> Self::Out;
}

/// An operator of one operand that cannot trap.
pub(super) trait Unary {
    type In: Val;
    type Out: Val;
    fn eval(a: Self::In) -> Self::Out;
}

/// A division or remainder.
pub(super) trait Division {
    type In: Val;
    /// Why it traps.
    fn trap(a: Self::In, b: Self::In) -> Option<TrapCode>;
    /// The result if it does not.
    fn eval(a: Self::In, b: Self::In) -> Self::In;
}

/// A conversion that traps where the result does not fit.
pub(super) trait Truncation {
    type In: Val;
    type Out: Val;
    fn fits(a: Self::In) -> bool;
    /// Why it traps if the value does not fit.
    fn trap(a: Self::In) -> TrapCode;
    /// # Safety
    /// The value fits.
    unsafe fn eval(a: Self::In) -> Self::Out;
}

op! {
    /// `field 0 = left op right`
    binary[O: Binary, L: Src<O::In>, R: Src<O::In>, D: Dst] |r| {
        let v = O::eval(L::get(&r), R::get(&r));
        D::put(&mut r, v);
        next!(r, const { longer(L::WORDS, R::WORDS) })
    }

    /// `field 0 = op field 1`
    unary[O: Unary, X: Src<O::In>, D: Dst] |r| {
        let v = O::eval(X::get(&r));
        D::put(&mut r, v);
        next!(r, 2)
    }

    /// `field 0 = left op right`, or a trap
    division[O: Division, L: Src<O::In>, R: Src<O::In>, D: Dst] |r| {
        let (a, b) = (L::get(&r), R::get(&r));
        if let Some(code) = O::trap(a, b) {
            trap!(r, code)
        }
        let v = O::eval(a, b);
        D::put(&mut r, v);
        next!(r, const { longer(L::WORDS, R::WORDS) })
    }

    /// `field 0 = op field 1`, or a trap
    truncation[O: Truncation, X: Src<O::In>, D: Dst] |r| {
        let a = X::get(&r);
        if !O::fits(a) {
            trap!(r, O::trap(a))
        }
        let v = O::eval(a);
        D::put(&mut r, v);
        next!(r, 2)
    }

}

macro_rules! binary_operators {
    ($($name:ident $kind:ident $in:ident $out:ident [$($join:tt)*] |$a:ident, $b:ident| $body:expr;)*) => {$(
        pub(super) struct $name;
        impl Binary for $name {
            type In = $in;
            type Out = $out;
            #[inline(always)]
            fn eval($a: $in, $b: $in) -> $out {
                $body
            }
        }
        impl HasBinaryForms for $name {
            const FORMS: BinaryForms =
                binary_forms::<$name>(binary_operators!(@ $kind), binary_operators!(@ $kind $name), binary_operators!(@join $($join)*), None);
        }
    )*};
    (@ commutative) => { true };
    (@ ordered) => { false };
    (@ reversible) => { false };
    (@ commutative $name:ident) => { None };
    (@ ordered $name:ident) => { None };
    (@ reversible $name:ident) => { Some(reversed_forms::<$name>()) };
    (@join) => { Join::Nothing };
    (@join $($join:tt)+) => { Join::$($join)+ };
}

macro_rules! comparisons {
    (@ true $name:ident) => { Some(increment_forms::<$name>()) };
    (@ false $name:ident) => { None };
    ($($name:ident $kind:ident $in:ident $inverse:expr, $integer:tt |$a:ident, $b:ident| $body:expr;)*) => {$(
        pub(super) struct $name;
        impl Binary for $name {
            type In = $in;
            type Out = u32;
            #[inline(always)]
            fn eval($a: $in, $b: $in) -> u32 {
                ($body) as u32
            }
        }
        impl $name {
            const COMPARE: &'static CompareForms = &compare_forms::<$name>($inverse, comparisons!(@ $integer $name), $integer);
        }
        impl HasBinaryForms for $name {
            const FORMS: BinaryForms = binary_forms::<$name>(binary_operators!(@ $kind), None, Join::Nothing, Some(Self::COMPARE));
        }
    )*};
}

macro_rules! unary_operators {
    ($($name:ident $in:ident $out:ident |$a:ident| $body:expr;)*) => {$(
        pub(super) struct $name;
        impl Unary for $name {
            type In = $in;
            type Out = $out;
            #[inline(always)]
            fn eval($a: $in) -> $out {
                $body
            }
        }
        impl HasUnaryForms for $name {
            const FORMS: UnaryForms = unary_forms::<$name>();
        }
    )*};
}
pub(super) use unary_operators;

macro_rules! truncations {
    ($($name:ident $in:ident $int:ident $out:ident |$a:ident| $fits:expr;)*) => {$(
        pub(super) struct $name;
        impl Truncation for $name {
            type In = $in;
            type Out = $out;
            #[inline(always)]
            fn fits($a: $in) -> bool {
                $fits
            }
            #[inline(always)]
            fn trap(a: $in) -> TrapCode {
                if a.is_nan() { TrapCode::BadConversionToInteger } else { TrapCode::IntegerOverflow }
            }
            #[inline(always)]
            unsafe fn eval(a: $in) -> $out {
                // SAFETY: by the caller, the value fits.
                (unsafe { a.to_int_unchecked::<$int>() }) as $out
            }
        }
        impl HasUnaryForms for $name {
            const FORMS: UnaryForms = truncation_forms::<$name>();
        }
    )*};
}
pub(super) use truncations;

macro_rules! divisions {
    ($($name:ident $in:ident $int:ident |$a:ident, $b:ident| $overflow:expr, $body:expr;)*) => {$(
        pub(super) struct $name;
        impl Division for $name {
            type In = $in;
            #[inline(always)]
            fn trap($a: $in, $b: $in) -> Option<TrapCode> {
                if $b == 0 {
                    return Some(TrapCode::IntegerDivisionByZero);
                }
                let ($a, $b) = ($a as $int, $b as $int);
                let _ = ($a, $b);
                if $overflow { Some(TrapCode::IntegerOverflow) } else { None }
            }
            #[inline(always)]
            fn eval($a: $in, $b: $in) -> $in {
                let ($a, $b) = ($a as $int, $b as $int);
                ($body) as $in
            }
        }
        impl HasBinaryForms for $name {
            const FORMS: BinaryForms = division_forms::<$name>();
        }
    )*};
}

binary_operators! {
    I32Add commutative u32 u32 [AddressAndOuter(outer!(I32Add, 32))] |a, b| a.wrapping_add(b);
    I32Sub reversible u32 u32 [] |a, b| a.wrapping_sub(b);
    I32Mul commutative u32 u32 [] |a, b| a.wrapping_mul(b);
    I32Or commutative u32 u32 [Outer(outer!(I32Or, 32))] |a, b| a | b;
    I32Xor commutative u32 u32 [Outer(outer!(I32Xor, 32))] |a, b| a ^ b;
    I32Shl reversible u32 u32 [Inner(1)] |a, b| a.wrapping_shl(b);
    I32ShrS ordered u32 u32 [] |a, b| (a as i32).wrapping_shr(b) as u32;
    I32ShrU ordered u32 u32 [Inner(2)] |a, b| a.wrapping_shr(b);
    I32Rotl ordered u32 u32 [Inner(0)] |a, b| a.rotate_left(b & 31);
    I32Rotr ordered u32 u32 [] |a, b| a.rotate_right(b & 31);

    I64Add commutative u64 u64 [Outer(outer!(I64Add, 64))] |a, b| a.wrapping_add(b);
    I64Sub reversible u64 u64 [] |a, b| a.wrapping_sub(b);
    I64Mul commutative u64 u64 [] |a, b| a.wrapping_mul(b);
    I64Or commutative u64 u64 [Outer(outer!(I64Or, 64))] |a, b| a | b;
    I64Xor commutative u64 u64 [Outer(outer!(I64Xor, 64))] |a, b| a ^ b;
    I64Shl reversible u64 u64 [Inner(1)] |a, b| a.wrapping_shl(b as u32);
    I64ShrS ordered u64 u64 [] |a, b| (a as i64).wrapping_shr(b as u32) as u64;
    I64ShrU ordered u64 u64 [Inner(2)] |a, b| a.wrapping_shr(b as u32);
    I64Rotl ordered u64 u64 [Inner(0)] |a, b| a.rotate_left(b as u32 & 63);
    I64Rotr ordered u64 u64 [] |a, b| a.rotate_right(b as u32 & 63);

    // Not marked commutative: which NaN a sum of two NaNs is may depend on the order, and compiled code keeps it.
    F32Add ordered f32 f32 [Plus] |a, b| a + b;
    F32Sub reversible f32 f32 [Minus] |a, b| a - b;
    F32Mul ordered f32 f32 [Product(&product_forms::<f32>())] |a, b| a * b;
    F32Div reversible f32 f32 [] |a, b| a / b;
    F32Min ordered f32 f32 [] |a, b| minimum_f32(a, b);
    F32Max ordered f32 f32 [] |a, b| maximum_f32(a, b);
    F32Copysign ordered f32 f32 [] |a, b| a.copysign(b);

    F64Add ordered f64 f64 [Plus] |a, b| a + b;
    F64Sub reversible f64 f64 [Minus] |a, b| a - b;
    F64Mul ordered f64 f64 [Product(&product_forms::<f64>())] |a, b| a * b;
    F64Div reversible f64 f64 [] |a, b| a / b;
    F64Min ordered f64 f64 [] |a, b| minimum_f64(a, b);
    F64Max ordered f64 f64 [] |a, b| maximum_f64(a, b);
    F64Copysign ordered f64 f64 [] |a, b| a.copysign(b);
}

comparisons! {
    I32Eq commutative u32 Some(|| &I32Ne::FORMS), true |a, b| a == b;
    I32Ne commutative u32 Some(|| &I32Eq::FORMS), true |a, b| a != b;
    I32LtS ordered u32 Some(|| &I32GeS::FORMS), true |a, b| (a as i32) < (b as i32);
    I32LtU ordered u32 Some(|| &I32GeU::FORMS), true |a, b| a < b;
    I32GtS ordered u32 Some(|| &I32LeS::FORMS), true |a, b| (a as i32) > (b as i32);
    I32GtU ordered u32 Some(|| &I32LeU::FORMS), true |a, b| a > b;
    I32LeS ordered u32 Some(|| &I32GtS::FORMS), true |a, b| (a as i32) <= (b as i32);
    I32LeU ordered u32 Some(|| &I32GtU::FORMS), true |a, b| a <= b;
    I32GeS ordered u32 Some(|| &I32LtS::FORMS), true |a, b| (a as i32) >= (b as i32);
    I32GeU ordered u32 Some(|| &I32LtU::FORMS), true |a, b| a >= b;

    I64Eq commutative u64 Some(|| &I64Ne::FORMS), true |a, b| a == b;
    I64Ne commutative u64 Some(|| &I64Eq::FORMS), true |a, b| a != b;
    I64LtS ordered u64 Some(|| &I64GeS::FORMS), true |a, b| (a as i64) < (b as i64);
    I64LtU ordered u64 Some(|| &I64GeU::FORMS), true |a, b| a < b;
    I64GtS ordered u64 Some(|| &I64LeS::FORMS), true |a, b| (a as i64) > (b as i64);
    I64GtU ordered u64 Some(|| &I64LeU::FORMS), true |a, b| a > b;
    I64LeS ordered u64 Some(|| &I64GtS::FORMS), true |a, b| (a as i64) <= (b as i64);
    I64LeU ordered u64 Some(|| &I64GtU::FORMS), true |a, b| a <= b;
    I64GeS ordered u64 Some(|| &I64LtS::FORMS), true |a, b| (a as i64) >= (b as i64);
    I64GeU ordered u64 Some(|| &I64LtU::FORMS), true |a, b| a >= b;

    F32Eq commutative f32 Some(|| &F32Ne::FORMS), false |a, b| a == b;
    F32Ne commutative f32 Some(|| &F32Eq::FORMS), false |a, b| a != b;
    F32Lt ordered f32 None, false |a, b| a < b;
    F32Gt ordered f32 None, false |a, b| a > b;
    F32Le ordered f32 None, false |a, b| a <= b;
    F32Ge ordered f32 None, false |a, b| a >= b;

    F64Eq commutative f64 Some(|| &F64Ne::FORMS), false |a, b| a == b;
    F64Ne commutative f64 Some(|| &F64Eq::FORMS), false |a, b| a != b;
    F64Lt ordered f64 None, false |a, b| a < b;
    F64Gt ordered f64 None, false |a, b| a > b;
    F64Le ordered f64 None, false |a, b| a <= b;
    F64Ge ordered f64 None, false |a, b| a >= b;
}

/// `and` whose result is tested: not instructions of WebAssembly, but what `and` becomes before a branch or selection.
pub(super) struct I32Test;
pub(super) struct I64Test;

macro_rules! ands {
    ($($name:ident $test:ident $ty:ident $width:tt;)*) => {$(
        pub(super) struct $name;
        impl Binary for $name {
            type In = $ty;
            type Out = $ty;
            #[inline(always)]
            fn eval(a: $ty, b: $ty) -> $ty {
                a & b
            }
        }
        impl Binary for $test {
            type In = $ty;
            type Out = u32;
            #[inline(always)]
            fn eval(a: $ty, b: $ty) -> u32 {
                (a & b != 0) as u32
            }
        }
        impl $test {
            pub(super) const COMPARE: &'static CompareForms = &compare_forms::<$test>(None, None, true);
        }
        impl HasBinaryForms for $name {
            const FORMS: BinaryForms = binary_forms::<$name>(true, None, Join::Outer(outer!($name, $width)), Some($test::COMPARE));
        }
    )*};
}

ands! {
    I32And I32Test u32 32;
    I64And I64Test u64 64;
}

divisions! {
    I32DivS u32 i32 |a, b| a == i32::MIN && b == -1, a.wrapping_div(b);
    I32DivU u32 u32 |a, b| false, a / b;
    I32RemS u32 i32 |a, b| false, a.wrapping_rem(b);
    I32RemU u32 u32 |a, b| false, a % b;
    I64DivS u64 i64 |a, b| a == i64::MIN && b == -1, a.wrapping_div(b);
    I64DivU u64 u64 |a, b| false, a / b;
    I64RemS u64 i64 |a, b| false, a.wrapping_rem(b);
    I64RemU u64 u64 |a, b| false, a % b;
}

unary_operators! {
    I32Eqz u32 u32 |a| (a == 0) as u32;
    I64Eqz u64 u32 |a| (a == 0) as u32;
    I32Clz u32 u32 |a| a.leading_zeros();
    I32Ctz u32 u32 |a| a.trailing_zeros();
    I32Popcnt u32 u32 |a| a.count_ones();
    I64Clz u64 u64 |a| a.leading_zeros() as u64;
    I64Ctz u64 u64 |a| a.trailing_zeros() as u64;
    I64Popcnt u64 u64 |a| a.count_ones() as u64;
    I32Extend8S u32 u32 |a| a as i8 as u32;
    I32Extend16S u32 u32 |a| a as i16 as u32;
    I64Extend8S u64 u64 |a| a as i8 as u64;
    I64Extend16S u64 u64 |a| a as i16 as u64;
    I64Extend32S u64 u64 |a| a as i32 as u64;

    F32Abs f32 f32 |a| a.abs();
    F32Neg f32 f32 |a| -a;
    F32Ceil f32 f32 |a| quiet_f32(a.ceil());
    F32Floor f32 f32 |a| quiet_f32(a.floor());
    F32Trunc f32 f32 |a| quiet_f32(a.trunc());
    F32Nearest f32 f32 |a| quiet_f32(a.round_ties_even());
    F32Sqrt f32 f32 |a| a.sqrt();
    F64Abs f64 f64 |a| a.abs();
    F64Neg f64 f64 |a| -a;
    F64Ceil f64 f64 |a| quiet_f64(a.ceil());
    F64Floor f64 f64 |a| quiet_f64(a.floor());
    F64Trunc f64 f64 |a| quiet_f64(a.trunc());
    F64Nearest f64 f64 |a| quiet_f64(a.round_ties_even());
    F64Sqrt f64 f64 |a| a.sqrt();
}

macro_rules! min_max {
    ($($float:ident $bits:ident $quiet_bit:literal $min:ident $max:ident $quiet:ident;)*) => {$(
        #[inline(always)]
        fn $min(a: $float, b: $float) -> $float {
            if a < b {
                a
            } else if b < a {
                b
            } else if a == b {
                // Equal but perhaps zeros of different sign: the negative one is the smaller.
                $float::from_bits(a.to_bits() | b.to_bits())
            } else {
                a + b
            }
        }

        #[inline(always)]
        fn $max(a: $float, b: $float) -> $float {
            if a > b {
                a
            } else if b > a {
                b
            } else if a == b {
                $float::from_bits(a.to_bits() & b.to_bits())
            } else {
                a + b
            }
        }

        /// The C library's rounding functions may return a signalling NaN as it is.
        #[inline(always)]
        fn $quiet(a: $float) -> $float {
            if a.is_nan() { $float::from_bits(a.to_bits() | $quiet_bit) } else { a }
        }
    )*};
}

min_max! {
    f32 u32 0x0040_0000 minimum_f32 maximum_f32 quiet_f32;
    f64 u64 0x0008_0000_0000_0000 minimum_f64 maximum_f64 quiet_f64;
}
