//! What the vector operators compute, for the interpreter: one small pure function an operator, on lanes as plain arrays.
//! Nothing here touches memory, an instance or the operand stack, and nothing fails.
//!
//! The functions take and give `V128`, 16 bytes *in memory*, rather than `u128`: LLVM splits an integer of 128 bits into its
//! lanes with shifts and does not find its way back to vector registers (`i8x16.add`: 104 instructions), whereas bytes that
//! are loaded, computed on and stored become one vector instruction each (`i8x16.add`: 3). So read operands as `V128` straight
//! from the slots (`V128::in_slots`) and write results back the same way; conversions to `u128` are for cold paths.
//!
//! Relaxed SIMD is deterministic, and the compiled tier lowers it to the same:
//! `relaxed_swizzle`, `relaxed_trunc`, `relaxed_laneselect` and `relaxed_q15mulr` are the operators without `relaxed`
//! (`laneselect` is `bitselect`); `relaxed_madd` rounds once (`fma`); `relaxed_min`/`relaxed_max` are `pmin`/`pmax`, which are one
//! instruction on x86-64 and allowed; `relaxed_dot` multiplies signed by signed and wraps.

mod convert;
mod float;
mod integer;
mod lanes;
mod operators;
#[cfg(test)]
mod tests;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(crate) use self::convert::*;
pub(crate) use self::float::*;
pub(crate) use self::integer::*;
pub(crate) use self::lanes::*;
#[allow(unused_imports, reason = "each user takes the lists that it needs")]
pub(crate) use self::operators::*;

/// A vector: 16 bytes, the lowest lane first. Alignment 1, so that it can be viewed anywhere.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub(crate) struct V128(pub(crate) [u8; 16]);

#[allow(dead_code, reason = "each user takes the view that fits its slots")]
impl V128 {
    /// The vector in two slots of 64 bits, viewed in place.
    #[inline(always)]
    pub(crate) fn in_slots(slots: &[u64; 2]) -> &Self {
        zerocopy::transmute_ref!(slots)
    }

    /// The vector in two slots of 64 bits, viewed in place for writing.
    #[inline(always)]
    pub(crate) fn in_slots_mut(slots: &mut [u64; 2]) -> &mut Self {
        zerocopy::transmute_mut!(slots)
    }
}

impl From<u128> for V128 {
    #[inline(always)]
    fn from(v: u128) -> Self {
        Self(v.to_le_bytes())
    }
}

impl From<V128> for u128 {
    #[inline(always)]
    fn from(v: V128) -> Self {
        Self::from_le_bytes(v.0)
    }
}

/// A type of lane, of which `N` are in a vector.
trait Lane<const N: usize>: Copy {
    /// What a comparison of such lanes gives: all ones or all zeros.
    type Mask: Lane<N>;

    fn split(v: V128) -> [Self; N];
    fn join(lanes: [Self; N]) -> V128;
    fn mask(b: bool) -> Self::Mask;
}

macro_rules! lane {
    ($($lane:ident $count:literal $mask:ident;)*) => {$(
        impl Lane<$count> for $lane {
            type Mask = $mask;

            #[inline(always)]
            fn split(v: V128) -> [Self; $count] {
                let (chunks, _) = v.0.as_chunks::<{ size_of::<Self>() }>();
                std::array::from_fn(|i| Self::from_le_bytes(chunks[i]))
            }

            #[inline(always)]
            fn join(lanes: [Self; $count]) -> V128 {
                let mut bytes = [0; 16];
                let (chunks, _) = bytes.as_chunks_mut::<{ size_of::<Self>() }>();
                for (chunk, lane) in chunks.iter_mut().zip(lanes) {
                    *chunk = lane.to_le_bytes();
                }
                V128(bytes)
            }

            #[inline(always)]
            fn mask(b: bool) -> $mask {
                -$mask::from(b)
            }
        }
    )*};
}

lane! {
    i8 16 i8;
    u8 16 i8;
    i16 8 i16;
    u16 8 i16;
    i32 4 i32;
    u32 4 i32;
    f32 4 i32;
    i64 2 i64;
    u64 2 i64;
    f64 2 i64;
}

/// A function of every lane.
#[inline(always)]
fn map<T: Lane<N>, R: Lane<N>, const N: usize>(a: V128, f: impl Fn(T) -> R) -> V128 {
    let a = T::split(a);
    R::join(std::array::from_fn(|i| f(a[i])))
}

/// A function of every pair of lanes.
#[inline(always)]
fn zip<T: Lane<N>, R: Lane<N>, const N: usize>(a: V128, b: V128, f: impl Fn(T, T) -> R) -> V128 {
    let (a, b) = (T::split(a), T::split(b));
    R::join(std::array::from_fn(|i| f(a[i], b[i])))
}

/// A function of three lanes each.
#[inline(always)]
fn zip3<T: Lane<N>, R: Lane<N>, const N: usize>(a: V128, b: V128, c: V128, f: impl Fn(T, T, T) -> R) -> V128 {
    let (a, b, c) = (T::split(a), T::split(b), T::split(c));
    R::join(std::array::from_fn(|i| f(a[i], b[i], c[i])))
}

/// A comparison of every pair of lanes.
#[inline(always)]
fn compare<T: Lane<N>, const N: usize>(a: V128, b: V128, f: impl Fn(&T, &T) -> bool) -> V128 {
    zip(a, b, |x, y| T::mask(f(&x, &y)))
}

/// Defines operators of one to three vectors, an expression each.
macro_rules! vector_operators {
    ($($name:ident($($argument:ident),+) = $body:expr;)*) => {$(
        #[inline(always)]
        pub(crate) fn $name($($argument: V128),+) -> V128 {
            $body
        }
    )*};
}
use vector_operators;
