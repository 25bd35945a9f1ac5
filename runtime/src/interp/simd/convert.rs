//! Conversions between integer and float lanes. Rust's `as` has the semantics that they need: saturation, 0 for NaN, and
//! rounding to the nearest, ties to even.

use super::{Lane, V128, map, vector_operators};

vector_operators! {
    i32x4_trunc_sat_f32x4_s(a) = map(a, |x: f32| x as i32);
    i32x4_trunc_sat_f32x4_u(a) = map(a, |x: f32| x as u32);
    i32x4_trunc_sat_f64x2_s_zero(a) = {
        let [x, y] = f64::split(a);
        i32::join([x as i32, y as i32, 0, 0])
    };
    i32x4_trunc_sat_f64x2_u_zero(a) = {
        let [x, y] = f64::split(a);
        u32::join([x as u32, y as u32, 0, 0])
    };
    f32x4_convert_i32x4_s(a) = map(a, |x: i32| x as f32);
    f32x4_convert_i32x4_u(a) = map(a, |x: u32| x as f32);
    f64x2_convert_low_i32x4_s(a) = {
        let [x, y, ..] = i32::split(a);
        f64::join([x.into(), y.into()])
    };
    f64x2_convert_low_i32x4_u(a) = {
        let [x, y, ..] = u32::split(a);
        f64::join([x.into(), y.into()])
    };
    f32x4_demote_f64x2_zero(a) = {
        let [x, y] = f64::split(a);
        f32::join([x as f32, y as f32, 0.0, 0.0])
    };
    f64x2_promote_low_f32x4(a) = {
        let [x, y, ..] = f32::split(a);
        f64::join([x.into(), y.into()])
    };

    i32x4_relaxed_trunc_f32x4_s(a) = i32x4_trunc_sat_f32x4_s(a);
    i32x4_relaxed_trunc_f32x4_u(a) = i32x4_trunc_sat_f32x4_u(a);
    i32x4_relaxed_trunc_f64x2_s_zero(a) = i32x4_trunc_sat_f64x2_s_zero(a);
    i32x4_relaxed_trunc_f64x2_u_zero(a) = i32x4_trunc_sat_f64x2_u_zero(a);
}
