//! Every operator against a reference that knows it only by its *name* ("i16x8_add_sat_s": shape, operation, signedness),
//! works on `u128` with shifts and in wide integers, and shares nothing with the functions. An operator in the lists whose
//! name the reference does not understand fails the test, so none is left out.

use super::*;

/// A lane's type as the names write it.
#[derive(Copy, Clone, Debug, PartialEq)]
struct Shape {
    float: bool,
    width: u32,
}

impl Shape {
    fn parse(name: &str) -> Self {
        let shape = match name {
            "i8x16" => (false, 8),
            "i16x8" => (false, 16),
            "i32x4" => (false, 32),
            "i64x2" => (false, 64),
            "f32x4" => (true, 32),
            "f64x2" => (true, 64),
            "v128" => (false, 128),
            _ => panic!("shape {name}"),
        };
        Self { float: shape.0, width: shape.1 }
    }

    fn lanes(self) -> u32 {
        128 / self.width
    }

    fn mask(self) -> u128 {
        u128::MAX >> (128 - self.width)
    }

    fn unsigned(self, v: u128, lane: u32) -> i128 {
        (v >> (lane * self.width) & self.mask()) as i128
    }

    fn signed(self, v: u128, lane: u32) -> i128 {
        self.unsigned(v, lane) << (128 - self.width) >> (128 - self.width)
    }

    fn lane(self, v: u128, lane: u32, signed: bool) -> i128 {
        if signed { self.signed(v, lane) } else { self.unsigned(v, lane) }
    }

    fn float(self, v: u128, lane: u32) -> f64 {
        let bits = self.unsigned(v, lane);
        if self.width == 32 { f32::from_bits(bits as u32).into() } else { f64::from_bits(bits as u64) }
    }

    fn float_bits(self, v: f64) -> i128 {
        // Rounding a result of one operation on f32s from f64 to f32 is rounding once: 53 >= 2 * 24 + 2.
        if self.width == 32 { (v as f32).to_bits().into() } else { v.to_bits().into() }
    }

    fn build(self, lane: impl Fn(u32) -> i128) -> u128 {
        (0..self.lanes()).map(|i| (lane(i) as u128 & self.mask()) << (i * self.width)).fold(0, |a, b| a | b)
    }

    fn limits(self, signed: bool) -> (i128, i128) {
        if signed { (-(1 << (self.width - 1)), (1 << (self.width - 1)) - 1) } else { (0, (1 << self.width) - 1) }
    }

    fn saturate(self, v: i128, signed: bool) -> i128 {
        let (min, max) = self.limits(signed);
        v.max(min).min(max)
    }
}

fn signedness(operation: &str) -> (&str, bool) {
    match operation.strip_suffix("_s") {
        Some(o) => (o, true),
        None => (operation.strip_suffix("_u").unwrap_or(operation), false),
    }
}

fn split_name(name: &str) -> (Shape, &str) {
    let (shape, operation) = name.split_once('_').unwrap();
    (Shape::parse(shape), operation)
}

fn round(operation: &str, x: f64) -> f64 {
    match operation {
        "ceil" => x.ceil(),
        "floor" => x.floor(),
        "trunc" => x.trunc(),
        "nearest" => x.round_ties_even(),
        _ => panic!("{operation}"),
    }
}

fn unary(name: &str, a: u128) -> u128 {
    let (to, operation) = split_name(name);
    let (operation, signed) = signedness(operation);
    // "extend_low_i8x16", "trunc_sat_f64x2_s_zero", ...
    let parts: Vec<&str> = operation.split('_').collect();
    match (parts.as_slice(), to.float) {
        (["not"], _) => !a,
        (["abs"], false) => to.build(|i| to.signed(a, i).abs()),
        (["neg"], false) => to.build(|i| -to.signed(a, i)),
        (["popcnt"], _) => to.build(|i| to.unsigned(a, i).count_ones().into()),
        (["extadd", "pairwise", from], _) => {
            let from = Shape::parse(from);
            to.build(|i| from.lane(a, 2 * i, signed) + from.lane(a, 2 * i + 1, signed))
        }
        (["extend", half, from], _) => {
            let start = if *half == "low" { 0 } else { to.lanes() };
            to.build(|i| Shape::parse(from).lane(a, start + i, signed))
        }
        (["abs"], true) => to.build(|i| to.unsigned(a, i) & !(1 << (to.width - 1))),
        (["neg"], true) => to.build(|i| to.unsigned(a, i) ^ 1 << (to.width - 1)),
        (["sqrt"], _) => to.build(|i| to.float_bits(to.float(a, i).sqrt())),
        ([rounding @ ("ceil" | "floor" | "trunc" | "nearest")], _) => to.build(|i| to.float_bits(round(rounding, to.float(a, i)))),
        (["trunc", "sat", from @ ..] | ["relaxed", "trunc", from @ ..], _) => {
            let signed = signed || from.contains(&"s");
            let from = Shape::parse(from[0]);
            to.build(|i| {
                if i >= from.lanes() || from.float(a, i).is_nan() {
                    return 0;
                }
                let (min, max) = to.limits(signed);
                let x = from.float(a, i);
                if x <= min as f64 {
                    min
                } else if x >= max as f64 {
                    max
                } else {
                    x as i128
                }
            })
        }
        (["convert", from] | ["convert", "low", from], _) => to.build(|i| to.float_bits(Shape::parse(from).lane(a, i, signed) as f64)),
        (["demote", from, "zero"], _) => to.build(|i| if i < 2 { to.float_bits(Shape::parse(from).float(a, i)) } else { 0 }),
        (["promote", "low", from], _) => to.build(|i| to.float_bits(Shape::parse(from).float(a, i))),
        _ => panic!("{name}"),
    }
}

fn float_binary(name: &str, to: Shape, operation: &str, a: u128, b: u128) -> u128 {
    let truth = |f: fn(f64, f64) -> bool| to.build(|i| -i128::from(f(to.float(a, i), to.float(b, i))));
    let value = |f: fn(f64, f64) -> f64| to.build(|i| to.float_bits(f(to.float(a, i), to.float(b, i))));
    // Of a minimum and a maximum, NaN wins, and -0 is less than +0.
    fn least(x: f64, y: f64) -> f64 {
        match (x.is_nan() || y.is_nan(), x == y) {
            (true, _) => f64::NAN,
            (_, true) => [x, y][usize::from(y.is_sign_negative())],
            _ => [x, y][usize::from(y < x)],
        }
    }
    // The pseudo-minimum is a choice of bits.
    let choose =
        |f: fn(f64, f64) -> bool| to.build(|i| if f(to.float(a, i), to.float(b, i)) { to.unsigned(b, i) } else { to.unsigned(a, i) });
    match operation {
        "eq" => truth(|x, y| x == y),
        "ne" => truth(|x, y| x != y),
        "lt" => truth(|x, y| x < y),
        "gt" => truth(|x, y| x > y),
        "le" => truth(|x, y| x <= y),
        "ge" => truth(|x, y| x >= y),
        "add" => value(|x, y| x + y),
        "sub" => value(|x, y| x - y),
        "mul" => value(|x, y| x * y),
        "div" => value(|x, y| x / y),
        "min" => value(least),
        "max" => value(|x, y| -least(-x, -y)),
        "pmin" | "relaxed_min" => choose(|x, y| y < x),
        "pmax" | "relaxed_max" => choose(|x, y| x < y),
        _ => panic!("{name}"),
    }
}

fn binary(name: &str, a: u128, b: u128) -> u128 {
    let (to, full) = split_name(name);
    if to.float {
        return float_binary(name, to, full, a, b);
    }
    let (operation, signed) = signedness(full);
    let each = |f: &dyn Fn(i128, i128) -> i128| to.build(|i| f(to.lane(a, i, signed), to.lane(b, i, signed)));
    let truth = |f: fn(&i128, &i128) -> bool| each(&|x, y| -i128::from(f(&x, &y)));
    let q15 = |x: i128, y: i128| to.saturate((x * y + (1 << 14)) >> 15, true);
    let parts: Vec<&str> = operation.split('_').collect();
    match parts.as_slice() {
        ["swizzle"] | ["relaxed", "swizzle"] => to.build(|i| match to.unsigned(b, i) {
            lane @ 0..16 => to.unsigned(a, lane as u32),
            _ => 0,
        }),
        ["eq"] => truth(i128::eq),
        ["ne"] => truth(i128::ne),
        ["lt"] => truth(i128::lt),
        ["gt"] => truth(i128::gt),
        ["le"] => truth(i128::le),
        ["ge"] => truth(i128::ge),
        ["and"] => a & b,
        ["andnot"] => a & !b,
        ["or"] => a | b,
        ["xor"] => a ^ b,
        ["add"] => each(&|x, y| x + y),
        ["sub"] => each(&|x, y| x - y),
        ["mul"] => each(&|x, y| x.wrapping_mul(y)),
        ["add", "sat"] => each(&|x, y| to.saturate(x + y, signed)),
        ["sub", "sat"] => each(&|x, y| to.saturate(x - y, signed)),
        ["min"] => each(&|x, y| x.min(y)),
        ["max"] => each(&|x, y| x.max(y)),
        ["avgr"] => each(&|x, y| (x + y + 1) / 2),
        ["q15mulr", "sat"] | ["relaxed", "q15mulr"] => each(&q15),
        ["narrow", from] => {
            let from = Shape::parse(from);
            let lane = |i| if i < from.lanes() { from.signed(a, i) } else { from.signed(b, i - from.lanes()) };
            to.build(|i| to.saturate(lane(i), signed))
        }
        ["extmul", half, from] => {
            let (from, start) = (Shape::parse(from), if *half == "low" { 0 } else { to.lanes() });
            to.build(|i| from.lane(a, start + i, signed) * from.lane(b, start + i, signed))
        }
        ["dot", from] | ["relaxed", "dot", from, "i7x16"] => {
            let from = Shape::parse(from);
            let product = |i| from.signed(a, i) * from.signed(b, i);
            to.build(|i| product(2 * i) + product(2 * i + 1))
        }
        _ => panic!("{name}"),
    }
}

fn shift(name: &str, a: u128, count: u32) -> u128 {
    let (to, operation) = split_name(name);
    let count = count % to.width;
    to.build(|i| match operation {
        "shl" => to.unsigned(a, i) << count,
        "shr_s" => to.signed(a, i) >> count,
        "shr_u" => to.unsigned(a, i) >> count,
        _ => panic!("{name}"),
    })
}

fn test(name: &str, a: u128) -> i32 {
    let (to, operation) = split_name(name);
    match operation {
        "any_true" => (a != 0).into(),
        "all_true" => (0..to.lanes()).all(|i| to.unsigned(a, i) != 0).into(),
        "bitmask" => (0..to.lanes()).map(|i| i32::from(to.signed(a, i) < 0) << i).sum(),
        _ => panic!("{name}"),
    }
}

/// The same bits; or, in a float result, quiet NaNs in the same lanes.
fn same(name: &str, got: u128, want: u128) -> bool {
    let (to, operation) = split_name(name);
    let bits = ["abs", "neg", "pmin", "pmax", "eq", "ne", "lt", "gt", "le", "ge", "relaxed_min", "relaxed_max"];
    if !to.float || bits.contains(&operation) {
        return got == want;
    }
    (0..to.lanes()).all(|i| {
        let quiet = if to.width == 32 { 1 << 22 } else { 1 << 51 };
        let nan = to.float(got, i).is_nan() && to.unsigned(got, i) & quiet != 0;
        to.unsigned(got, i) == to.unsigned(want, i) || nan && to.float(want, i).is_nan()
    })
}

/// Vectors whose lanes are boundaries of their types, or anything.
fn vectors() -> Vec<u128> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    let f32s = [0.0, 0.5, 1.0, 1.5, 2.5, 0.499_999_97, 8_388_607.5, 8_388_608.0, 16_777_215.0, 3.4e38, 1e-45, 1.1754944e-38, f32::INFINITY]
        .iter()
        .chain(&[2_147_483_648.0, 2_147_483_520.0, 4_294_967_296.0, 4_294_967_040.0, f32::NAN])
        .map(|x: &f32| x.to_bits())
        .chain([0x7f80_0001, 0x7fff_ffff]);
    let f64s = [0.0, 0.5, 1.5, 2.5, 0.499_999_999_999_999_94, 4_503_599_627_370_495.5, 4_503_599_627_370_496.0, 1.7e308, 5e-324]
        .iter()
        .chain(&[2_147_483_647.5, 2_147_483_648.0, 4_294_967_295.5, 4_294_967_296.0, 3.4028235e38, 1e39, 1e-46, f64::INFINITY, f64::NAN])
        .map(|x: &f64| x.to_bits())
        .chain([0x7ff0_0000_0000_0001, 0x7fff_ffff_ffff_ffff]);
    let either_sign = |bits: u64, width: u32| [bits, bits | 1 << (width - 1)];
    let mut specials: Vec<(u32, u64)> = Vec::new();
    specials.extend(f32s.flat_map(|x| either_sign(x.into(), 32)).map(|x| (32, x)));
    specials.extend(f64s.flat_map(|x| either_sign(x, 64)).map(|x| (64, x)));
    for width in [8, 16, 32, 64] {
        let max = u64::MAX >> (64 - width);
        specials.extend([0, 1, 2, max, max - 1, max >> 1, (max >> 1) + 1, (max >> 1) + 2, max >> (width / 2)].map(|x| (width, x)));
    }
    let mut all = vec![0, u128::MAX, 1, 1 << 127, u128::MAX >> 1];
    for _ in 0..600 {
        let width = [8, 16, 32, 64][random() as usize % 4];
        let of_width: Vec<u64> = specials.iter().filter(|s| s.0 == width).map(|s| s.1).collect();
        let lane = |r: u64, s: u64| if r.is_multiple_of(5) { s } else { of_width[s as usize % of_width.len()] };
        let lanes: Vec<u128> = (0..128 / width).map(|_| (lane(random(), random()) & (u64::MAX >> (64 - width))).into()).collect();
        all.push(lanes.iter().fold(0, |v, lane| if width == 128 { *lane } else { v << width | lane }));
    }
    all
}

/// All vectors beside a shuffled copy: pairs, of which many have the same kind of lanes.
fn pairs() -> Vec<(u128, u128)> {
    let all = vectors();
    let n = all.len();
    (0..n).flat_map(|i| [1, 7, 31, 64, 101].map(|step| (all[i], all[(i * 3 + step) % n]))).chain(all.iter().map(|&v| (v, v))).collect()
}

#[test]
fn unary_operators() {
    macro_rules! check {
        ([] $($variant:ident $name:ident;)*) => {$(
            for v in vectors() {
                let (got, want) = (u128::from($name(v.into())), unary(stringify!($name), v));
                assert!(same(stringify!($name), got, want), "{}({v:#034x}) = {got:#034x}, not {want:#034x}", stringify!($name));
            }
        )*};
    }
    for_each_simd_unary! { check }
}

#[test]
fn binary_operators() {
    let pairs = pairs();
    macro_rules! check {
        ([] $($variant:ident $name:ident;)*) => {$(
            for &(v, w) in &pairs {
                let (got, want) = (u128::from($name(v.into(), w.into())), binary(stringify!($name), v, w));
                assert!(same(stringify!($name), got, want), "{}({v:#034x}, {w:#034x}) = {got:#034x}, not {want:#034x}", stringify!($name));
            }
        )*};
    }
    for_each_simd_binary! { check }
}

#[test]
fn shifts_and_tests() {
    macro_rules! check_shift {
        ([] $($variant:ident $name:ident;)*) => {$(
            for v in vectors() {
                for count in [0, 1, 3, 7, 8, 9, 15, 16, 31, 32, 33, 63, 64, 127, u32::MAX] {
                    assert_eq!(u128::from($name(v.into(), count)), shift(stringify!($name), v, count), "{}({v:#x}, {count})", stringify!($name));
                }
            }
        )*};
    }
    macro_rules! check_test {
        ([] $($variant:ident $name:ident;)*) => {$(
            for v in vectors() {
                assert_eq!($name(v.into()), test(stringify!($name), v), "{}({v:#x})", stringify!($name));
            }
        )*};
    }
    for_each_simd_shift! { check_shift }
    for_each_simd_test! { check_test }
}

#[test]
fn lanes_are_replaced_and_extracted() {
    macro_rules! check_splat {
        ([] $($variant:ident $name:ident $scalar:ident;)*) => {$(
            let (shape, _) = split_name(stringify!($name));
            let v = $scalar::from_le_bytes(std::array::from_fn(|i| 0x85 + i as u8));
            let bits = u128::from_le_bytes(std::array::from_fn(|i| v.to_le_bytes().get(i).copied().unwrap_or(0)));
            assert_eq!(u128::from($name(v)), shape.build(|_| bits as i128));
        )*};
    }
    macro_rules! check_replace {
        ([] $($variant:ident $name:ident $scalar:ident;)*) => {$(
            let (shape, _) = split_name(stringify!($name));
            let v = $scalar::from_le_bytes(std::array::from_fn(|i| 0x85 + i as u8));
            let bits = u128::from_le_bytes(std::array::from_fn(|i| v.to_le_bytes().get(i).copied().unwrap_or(0)));
            let a = 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff_u128;
            for lane in 0..shape.lanes() {
                let want = shape.build(|i| if i == lane { bits as i128 } else { shape.unsigned(a, i) });
                assert_eq!(u128::from($name(a.into(), lane as u8, v)), want);
            }
        )*};
    }
    macro_rules! check_extract {
        ([] $($variant:ident $name:ident $scalar:ident;)*) => {$(
            let (shape, operation) = split_name(stringify!($name));
            for a in vectors() {
                for lane in 0..shape.lanes() {
                    let want = shape.lane(a, lane, signedness(operation).1);
                    let got = $name(a.into(), lane as u8).to_le_bytes();
                    assert_eq!(&got[..], &want.to_le_bytes()[..got.len()], "{} of {a:#x}, {lane}", stringify!($name));
                }
            }
        )*};
    }
    for_each_simd_splat! { check_splat }
    for_each_simd_replace! { check_replace }
    for_each_simd_extract! { check_extract }
}

#[test]
fn loads_and_stores_of_lanes() {
    let a = 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff_u128;
    let read = [0x80, 0x01, 0xff, 0x7f, 0x02, 0xfe, 0x03, 0x84_u8];
    let low = u64::from_le_bytes(read).into();
    for (name, got) in [
        ("i16x8_extend_low_i8x16_s", v128_load8x8_s(read)),
        ("i16x8_extend_low_i8x16_u", v128_load8x8_u(read)),
        ("i32x4_extend_low_i16x8_s", v128_load16x4_s(read)),
        ("i32x4_extend_low_i16x8_u", v128_load16x4_u(read)),
        ("i64x2_extend_low_i32x4_s", v128_load32x2_s(read)),
        ("i64x2_extend_low_i32x4_u", v128_load32x2_u(read)),
    ] {
        assert_eq!(u128::from(got), unary(name, low), "{name}");
    }
    assert_eq!(v128_load8_splat(0x81).0, [0x81; 16]);
    assert_eq!(u128::from(v128_load16_splat(0x8123)), 0x8123_8123_8123_8123_8123_8123_8123_8123);
    assert_eq!(u128::from(v128_load32_splat(0x8123_4567)), 0x8123_4567_8123_4567_8123_4567_8123_4567);
    assert_eq!(u128::from(v128_load64_splat(0x8123_4567_89ab_cdef)), 0x8123_4567_89ab_cdef_8123_4567_89ab_cdef);
    assert_eq!(u128::from(v128_load32_zero(0x8123_4567)), 0x8123_4567);
    assert_eq!(u128::from(v128_load64_zero(0x8123_4567_89ab_cdef)), 0x8123_4567_89ab_cdef);
    assert_eq!(u128::from(v128_load8_lane(a.into(), 1, 0x12)), 0x0011_2233_4455_6677_8899_aabb_ccdd_12ff);
    assert_eq!(u128::from(v128_load16_lane(a.into(), 7, 0x1234)), 0x1234_2233_4455_6677_8899_aabb_ccdd_eeff);
    assert_eq!(u128::from(v128_load32_lane(a.into(), 2, 0x1234_5678)), 0x0011_2233_1234_5678_8899_aabb_ccdd_eeff);
    assert_eq!(u128::from(v128_load64_lane(a.into(), 0, 0x1234)), 0x0011_2233_4455_6677_0000_0000_0000_1234);
    assert_eq!(v128_store8_lane(a.into(), 15), 0x00);
    assert_eq!(v128_store16_lane(a.into(), 6), 0x2233);
    assert_eq!(v128_store32_lane(a.into(), 1), 0x8899_aabb);
    assert_eq!(v128_store64_lane(a.into(), 1), 0x0011_2233_4455_6677);
    // A lane number that validation would refuse does not panic either.
    assert_eq!(v128_store8_lane(a.into(), 255), 0x00);
}

#[test]
fn shuffle_takes_from_both() {
    let (a, b) = (V128(std::array::from_fn(|i| i as u8)), V128(std::array::from_fn(|i| 16 + i as u8)));
    let lanes = [31, 0, 16, 15, 1, 30, 2, 29, 3, 28, 4, 27, 5, 26, 6, 25];
    assert_eq!(i8x16_shuffle(a, b, lanes).0, lanes);
}

#[test]
fn ternary_operators() {
    let all = vectors();
    for (i, &a) in all.iter().enumerate() {
        let (b, mask) = (all[(i * 5 + 1) % all.len()], all[(i * 7 + 3) % all.len()]);
        let want = (a & mask) | (b & !mask);
        for f in [v128_bitselect, i8x16_relaxed_laneselect, i16x8_relaxed_laneselect, i32x4_relaxed_laneselect, i64x2_relaxed_laneselect] {
            assert_eq!(u128::from(f(a.into(), b.into(), mask.into())), want);
        }
        let dot = binary("i16x8_relaxed_dot_i8x16_i7x16_s", a, b);
        let want = binary("i32x4_add", unary("i32x4_extadd_pairwise_i16x8_s", dot), mask);
        assert_eq!(u128::from(i32x4_relaxed_dot_i8x16_i7x16_add_s(a.into(), b.into(), mask.into())), want);
    }
}

#[test]
fn multiply_add_rounds_once() {
    // (1 + e)^2 = 1 + 2e + e^2: rounding the product first would lose e^2, and the sum would be 0.
    let x = 1.0 + f32::EPSILON;
    let [a, c] = [x, -(1.0 + 2.0 * f32::EPSILON)].map(f32x4_splat);
    let squared = f32::EPSILON * f32::EPSILON;
    assert_eq!(f32x4_relaxed_madd(a, a, c), f32x4_splat(squared));
    assert_eq!(f32x4_relaxed_nmadd(a, a, f32x4_neg(c)), f32x4_splat(-squared));
    let x = 1.0 + f64::EPSILON;
    let [a, c] = [x, -(1.0 + 2.0 * f64::EPSILON)].map(f64x2_splat);
    let squared = f64::EPSILON * f64::EPSILON;
    assert_eq!(f64x2_relaxed_madd(a, a, c), f64x2_splat(squared));
    assert_eq!(f64x2_relaxed_nmadd(a, a, f64x2_neg(c)), f64x2_splat(-squared));
}

#[test]
fn saturation_at_the_corners() {
    let min = i16x8_splat(i16::MIN.into());
    assert_eq!(i16x8_q15mulr_sat_s(min, min), i16x8_splat(i16::MAX.into()));
    assert_eq!(i32x4_dot_i16x8_s(min, min), i32x4_splat(i32::MIN));
    assert_eq!(i8x16_abs(i8x16_splat(-128)), i8x16_splat(-128));
    assert_eq!(i8x16_avgr_u(i8x16_splat(-1), i8x16_splat(-1)), i8x16_splat(-1));
    assert_eq!(f64x2_ceil(f64x2_splat(-0.7)), f64x2_splat(-0.0));
    assert_eq!(f32x4_trunc(f32x4_splat(-0.7)), f32x4_splat(-0.0));
}

#[test]
fn lists_hold_every_operator() {
    let mut ours = vec!["V128Const", "I8x16Shuffle", "V128Load", "V128Store"];
    macro_rules! names {
        ([] $($variant:ident $name:ident $($scalar:ident)? $([$($array:tt)*])?;)*) => { ours.extend([$(stringify!($variant)),*]); };
    }
    for_each_simd_unary! { names }
    for_each_simd_binary! { names }
    for_each_simd_ternary! { names }
    for_each_simd_shift! { names }
    for_each_simd_test! { names }
    for_each_simd_splat! { names }
    for_each_simd_extract! { names }
    for_each_simd_replace! { names }
    for_each_simd_load! { names }
    for_each_simd_load_lane! { names }
    for_each_simd_store_lane! { names }
    let mut theirs = Vec::new();
    macro_rules! wasmparser_names {
        ($(@$proposal:ident $variant:ident $({ $($field:ident: $type:ty),* })? => $visit:ident ($($_:tt)*))*) => {
            theirs.extend([$(stringify!($variant)),*]);
        };
    }
    wasmparser::for_each_visit_simd_operator! { wasmparser_names }
    ours.sort_unstable();
    theirs.sort_unstable();
    assert_eq!(ours, theirs);
}
