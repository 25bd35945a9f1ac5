//! Operators that move lanes: splats, extraction and replacement, shuffles, and what loads and stores of less than a
//! vector do with the bits that they read or write. Validation has bounded every lane; a lane number is masked all the
//! same, which costs nothing and cannot panic.

use std::array::from_fn;

use super::{Lane, V128, vector_operators};

macro_rules! lane_access {
    ($($lane:ident $count:literal $scalar:ident $splat:ident $replace:ident $($extract:ident $extracted:ident)+;)*) => {$(
        #[inline(always)]
        pub(crate) fn $splat(v: $scalar) -> V128 {
            $lane::join([v as $lane; $count])
        }

        #[inline(always)]
        pub(crate) fn $replace(a: V128, lane: u8, v: $scalar) -> V128 {
            let mut lanes = $lane::split(a);
            lanes[usize::from(lane) % $count] = v as $lane;
            $lane::join(lanes)
        }

        $(
            #[inline(always)]
            pub(crate) fn $extract(a: V128, lane: u8) -> $scalar {
                $extracted::split(a)[usize::from(lane) % $count] as $scalar
            }
        )+
    )*};
}

lane_access! {
    i8 16 i32 i8x16_splat i8x16_replace_lane i8x16_extract_lane_s i8 i8x16_extract_lane_u u8;
    i16 8 i32 i16x8_splat i16x8_replace_lane i16x8_extract_lane_s i16 i16x8_extract_lane_u u16;
    i32 4 i32 i32x4_splat i32x4_replace_lane i32x4_extract_lane i32;
    i64 2 i64 i64x2_splat i64x2_replace_lane i64x2_extract_lane i64;
    f32 4 f32 f32x4_splat f32x4_replace_lane f32x4_extract_lane f32;
    f64 2 f64 f64x2_splat f64x2_replace_lane f64x2_extract_lane f64;
}

vector_operators! {
    // A lane beyond the vector is 0.
    i8x16_swizzle(a, indices) = V128(from_fn(|i| {
        let index = indices.0[i];
        a.0[usize::from(index % 16)] & u8::from(index >= 16).wrapping_sub(1)
    }));
    i8x16_relaxed_swizzle(a, indices) = i8x16_swizzle(a, indices);
}

#[inline(always)]
pub(crate) fn i8x16_shuffle(a: V128, b: V128, lanes: [u8; 16]) -> V128 {
    let mut both = [0; 32];
    both[..16].copy_from_slice(&a.0);
    both[16..].copy_from_slice(&b.0);
    V128(lanes.map(|lane| both[usize::from(lane) % 32]))
}

macro_rules! extending_loads {
    ($($name:ident $from:ident $bytes:literal $to:ident;)*) => {$(
        #[inline(always)]
        pub(crate) fn $name(read: [u8; 8]) -> V128 {
            let (chunks, _) = read.as_chunks::<$bytes>();
            $to::join(from_fn(|i| $from::from_le_bytes(chunks[i]).into()))
        }
    )*};
}

extending_loads! {
    v128_load8x8_s i8 1 i16;
    v128_load8x8_u u8 1 u16;
    v128_load16x4_s i16 2 i32;
    v128_load16x4_u u16 2 u32;
    v128_load32x2_s i32 4 i64;
    v128_load32x2_u u32 4 u64;
}

macro_rules! lane_loads_and_stores {
    ($($lane:ident $count:literal $splat:ident $load_lane:ident $store_lane:ident;)*) => {$(
        #[inline(always)]
        pub(crate) fn $splat(read: $lane) -> V128 {
            $lane::join([read; $count])
        }

        #[inline(always)]
        pub(crate) fn $load_lane(a: V128, lane: u8, read: $lane) -> V128 {
            let mut lanes = $lane::split(a);
            lanes[usize::from(lane) % $count] = read;
            $lane::join(lanes)
        }

        #[inline(always)]
        pub(crate) fn $store_lane(a: V128, lane: u8) -> $lane {
            $lane::split(a)[usize::from(lane) % $count]
        }
    )*};
}

lane_loads_and_stores! {
    u8 16 v128_load8_splat v128_load8_lane v128_store8_lane;
    u16 8 v128_load16_splat v128_load16_lane v128_store16_lane;
    u32 4 v128_load32_splat v128_load32_lane v128_store32_lane;
    u64 2 v128_load64_splat v128_load64_lane v128_store64_lane;
}

#[inline(always)]
pub(crate) fn v128_load32_zero(read: u32) -> V128 {
    u32::join([read, 0, 0, 0])
}

#[inline(always)]
pub(crate) fn v128_load64_zero(read: u64) -> V128 {
    u64::join([read, 0])
}
