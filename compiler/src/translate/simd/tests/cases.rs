//! The cases: each vector operator in several forms, with what the interpreter's function gives, and the operands to try
//! them with.

use super::lanes::{self, *};

/// Where the operands and the result lie in the memory.
pub(super) const RESULT: usize = 0;
pub(super) const A: usize = 16;
pub(super) const B: usize = 32;
pub(super) const C: usize = 48;

/// The first 64 bytes of the memory.
pub(super) type Operands = [u8; 64];

/// Computes the bytes of a result from the operands.
pub(super) type Expected = Box<dyn Fn(&Operands) -> [u8; 16]>;

/// An operator with what it must compute.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// The body of a function that stores the result.
    pub(super) body: String,
    /// Bytes of the result.
    pub(super) expected: Expected,
}

fn vector(m: &Operands, at: usize) -> V128 {
    V128(std::array::from_fn(|i| m[at + i]))
}

pub(super) fn bytes<const N: usize>(m: &Operands, at: usize) -> [u8; N] {
    std::array::from_fn(|i| m[at + i])
}

fn padded(bytes: &[u8]) -> [u8; 16] {
    std::array::from_fn(|i| bytes.get(i).copied().unwrap_or(0))
}

/// "i8x16_add_sat_s" -> "i8x16.add_sat_s".
fn mnemonic(name: &str) -> String {
    name.replacen('_', ".", 1)
}

fn load(at: usize) -> String {
    format!("(v128.load (i32.const {at}))")
}

fn constant(v: u128) -> String {
    format!("(v128.const i64x2 {:#x} {:#x})", v as u64, (v >> 64) as u64)
}

fn store(op: &str) -> String {
    format!("(v128.store (i32.const {RESULT}) {op})")
}

/// The float lanes of an operator's result, where NaNs may differ.
fn float_lanes(name: &str) -> Option<usize> {
    let (shape, operation) = name.split_once('_')?;
    let exact = ["abs", "neg", "pmin", "pmax", "eq", "ne", "lt", "gt", "le", "ge", "relaxed_min", "relaxed_max", "splat", "extract_lane"];
    match shape {
        _ if exact.contains(&operation) || operation == "replace_lane" => None,
        "f32x4" => Some(4),
        "f64x2" => Some(8),
        _ => None,
    }
}

/// The same bytes; or, where the result is of floats, quiet NaNs in the same lanes.
pub(super) fn same(name: &str, got: [u8; 16], want: [u8; 16]) -> bool {
    let quiet_nan = |lane: &[u8]| match *lane {
        [a, b, c, d] => f32::from_le_bytes([a, b, c, d]).is_nan() && c & 0x40 != 0,
        _ => f64::from_le_bytes(std::array::from_fn(|i| lane[i])).is_nan() && lane[6] & 8 != 0,
    };
    match float_lanes(name) {
        None => got == want,
        Some(n) => got.chunks(n).zip(want.chunks(n)).all(|(g, w)| g == w || quiet_nan(g) && quiet_nan(w)),
    }
}

const CONSTANTS: [u128; 5] = [
    0,
    u128::MAX,
    0x8000_7fff_0001_ffff_8000_7fff_0001_ffff,
    0x7f80_ff01_3f80_0000_c348_0000_8000_0000,
    0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f,
];

const COUNTS: [u32; 12] = [0, 1, 4, 7, 8, 15, 16, 31, 33, 63, 64, 131];

pub(super) fn cases() -> Vec<Case> {
    let mut all: Vec<Case> = Vec::new();
    let mut add = |name, body, expected: Expected| all.push(Case { name, body, expected });
    macro_rules! unary {
        ([] $($variant:ident $f:ident;)*) => {$({
            let (name, op) = (stringify!($f), mnemonic(stringify!($f)));
            add(name, store(&format!("({op} {})", load(A))), Box::new(|m| lanes::$f(vector(m, A)).0));
            // In front of and behind another operator, so that the casts between lanes are left out.
            add(name, store(&format!("(v128.not (v128.not ({op} {})))", load(A))), Box::new(|m| lanes::$f(vector(m, A)).0));
            for c in CONSTANTS {
                add(name, store(&format!("({op} {})", constant(c))), Box::new(move |_| lanes::$f(c.into()).0));
            }
        })*};
    }
    macro_rules! binary {
        ([] $($variant:ident $f:ident;)*) => {$({
            let (name, op) = (stringify!($f), mnemonic(stringify!($f)));
            let (a, b) = (load(A), load(B));
            add(name, store(&format!("({op} {a} {b})")), Box::new(|m| lanes::$f(vector(m, A), vector(m, B)).0));
            add(
                name,
                format!("(local v128) {a} local.set 0 {}", store(&format!("({op} (local.get 0) (local.get 0))"))),
                Box::new(|m| lanes::$f(vector(m, A), vector(m, A)).0),
            );
            for c in CONSTANTS {
                let k = constant(c);
                add(name, store(&format!("({op} {a} {k})")), Box::new(move |m| lanes::$f(vector(m, A), c.into()).0));
                add(name, store(&format!("({op} {k} {a})")), Box::new(move |m| lanes::$f(c.into(), vector(m, A)).0));
            }
        })*};
    }
    macro_rules! ternary {
        ([] $($variant:ident $f:ident;)*) => {$({
            let (name, op) = (stringify!($f), mnemonic(stringify!($f)));
            let (a, b, c) = (load(A), load(B), load(C));
            add(
                name,
                store(&format!("({op} {a} {b} {c})")),
                Box::new(|m| lanes::$f(vector(m, A), vector(m, B), vector(m, C)).0),
            );
            add(
                name,
                store(&format!("({op} {a} {b} (f32x4.lt {a} {b}))")),
                Box::new(|m| {
                    let (a, b) = (vector(m, A), vector(m, B));
                    lanes::$f(a, b, f32x4_lt(a, b)).0
                }),
            );
            for k in CONSTANTS {
                add(
                    name,
                    store(&format!("({op} {a} {b} {})", constant(k))),
                    Box::new(move |m| lanes::$f(vector(m, A), vector(m, B), k.into()).0),
                );
                add(
                    name,
                    store(&format!("({op} {} {b} {c})", constant(k))),
                    Box::new(move |m| lanes::$f(k.into(), vector(m, B), vector(m, C)).0),
                );
            }
        })*};
    }
    macro_rules! shift {
        ([] $($variant:ident $f:ident;)*) => {$({
            let (name, op) = (stringify!($f), mnemonic(stringify!($f)));
            add(
                name,
                store(&format!("({op} {} (i32.load (i32.const {B})))", load(A))),
                Box::new(|m| lanes::$f(vector(m, A), u32::from_le_bytes(bytes(m, B))).0),
            );
            for count in COUNTS {
                let body = store(&format!("({op} {} (i32.const {count}))", load(A)));
                add(name, body, Box::new(move |m| lanes::$f(vector(m, A), count).0));
            }
        })*};
    }
    macro_rules! test {
        ([] $($variant:ident $f:ident;)*) => {$({
            let (name, op) = (stringify!($f), mnemonic(stringify!($f)));
            add(
                name,
                format!("(i32.store (i32.const {RESULT}) ({op} {}))", load(A)),
                Box::new(|m| padded(&lanes::$f(vector(m, A)).to_le_bytes())),
            );
            // As a condition, and of a comparison.
            add(
                name,
                format!(
                    "(if ({op} (i8x16.eq {} {})) (then (i32.store8 (i32.const {RESULT}) (i32.const 1))))",
                    load(A),
                    load(B)
                ),
                Box::new(|m| padded(&[u8::from(lanes::$f(i8x16_eq(vector(m, A), vector(m, B))) != 0)])),
            );
        })*};
    }
    macro_rules! splat {
        ([] $($variant:ident $f:ident $scalar:ident;)*) => {$({
            let op = mnemonic(stringify!($f));
            add(
                stringify!($f),
                store(&format!("({op} ({}.load (i32.const {A})))", stringify!($scalar))),
                Box::new(|m| lanes::$f($scalar::from_le_bytes(bytes(m, A))).0),
            );
        })*};
    }
    macro_rules! extract {
        ([] $($variant:ident $f:ident $scalar:ident;)*) => {$({
            let op = mnemonic(stringify!($f));
            for lane in 0..lane_count(stringify!($f)) {
                add(
                    stringify!($f),
                    format!("({}.store (i32.const {RESULT}) ({op} {lane} {}))", stringify!($scalar), load(A)),
                    Box::new(move |m| padded(&lanes::$f(vector(m, A), lane).to_le_bytes())),
                );
            }
        })*};
    }
    macro_rules! replace {
        ([] $($variant:ident $f:ident $scalar:ident;)*) => {$({
            let op = mnemonic(stringify!($f));
            for lane in 0..lane_count(stringify!($f)) {
                add(
                    stringify!($f),
                    store(&format!("({op} {lane} {} ({}.load (i32.const {B})))", load(A), stringify!($scalar))),
                    Box::new(move |m| lanes::$f(vector(m, A), lane, $scalar::from_le_bytes(bytes(m, B))).0),
                );
            }
        })*};
    }
    macro_rules! memory_load {
        ([] $($variant:ident $f:ident $read:tt;)*) => {$({
            let op = mnemonic(stringify!($f));
            let body = store(&format!("({op} offset=3 (i32.const {}))", A - 3));
            add(stringify!($f), body, Box::new(|m| lanes::$f(from_memory!($read m A)).0));
        })*};
    }
    macro_rules! from_memory {
        ([u8; 8] $m:ident $at:ident) => {
            bytes($m, $at)
        };
        ($scalar:ident $m:ident $at:ident) => {
            $scalar::from_le_bytes(bytes($m, $at))
        };
    }
    macro_rules! load_lane {
        ([] $($variant:ident $f:ident $scalar:ident;)*) => {$({
            let op = mnemonic(stringify!($f));
            for lane in 0..16 / size_of::<$scalar>() as u8 {
                add(
                    stringify!($f),
                    store(&format!("({op} {lane} (i32.const {B}) {})", load(A))),
                    Box::new(move |m| lanes::$f(vector(m, A), lane, $scalar::from_le_bytes(bytes(m, B))).0),
                );
            }
        })*};
    }
    macro_rules! store_lane {
        ([] $($variant:ident $f:ident $scalar:ident;)*) => {$({
            let op = mnemonic(stringify!($f));
            for lane in 0..16 / size_of::<$scalar>() as u8 {
                add(
                    stringify!($f),
                    format!("({op} {lane} (i32.const {RESULT}) {})", load(A)),
                    Box::new(move |m| padded(&lanes::$f(vector(m, A), lane).to_le_bytes())),
                );
            }
        })*};
    }
    for_each_simd_unary! { unary }
    for_each_simd_binary! { binary }
    for_each_simd_ternary! { ternary }
    for_each_simd_shift! { shift }
    for_each_simd_test! { test }
    for_each_simd_splat! { splat }
    for_each_simd_extract! { extract }
    for_each_simd_replace! { replace }
    for_each_simd_load! { memory_load }
    for_each_simd_load_lane! { load_lane }
    for_each_simd_store_lane! { store_lane }
    add("v128_load", store(&load(A)), Box::new(|m| vector(m, A).0));
    for c in CONSTANTS {
        add("v128_const", store(&constant(c)), Box::new(move |_| c.to_le_bytes()));
    }
    // Indices of which the translator knows something, and such of which it only might seem so.
    for mask in [0x0f, 0x07, 0x1f, 0x8f_u8] {
        let k = u128::from_le_bytes([mask; 16]);
        let body = store(&format!("(i8x16.swizzle {} (v128.and {} {}))", load(A), load(B), constant(k)));
        add("i8x16_swizzle", body, Box::new(move |m| i8x16_swizzle(vector(m, A), v128_and(vector(m, B), k.into())).0));
    }
    for count in [3, 4, 7, 8, 12] {
        let shift = |ty| format!("({ty}.shr_u {} (i32.const {count}))", load(B));
        let swizzle = |ty| store(&format!("(i8x16.swizzle {} {})", load(A), shift(ty)));
        add("i8x16_swizzle", swizzle("i8x16"), Box::new(move |m| i8x16_swizzle(vector(m, A), i8x16_shr_u(vector(m, B), count)).0));
        add("i8x16_swizzle", swizzle("i16x8"), Box::new(move |m| i8x16_swizzle(vector(m, A), i16x8_shr_u(vector(m, B), count)).0));
    }
    for lanes in shuffles() {
        let immediates: String = lanes.iter().fold(String::new(), |s, lane| s + &format!(" {lane}"));
        add(
            "i8x16_shuffle",
            store(&format!("(i8x16.shuffle{immediates} {} {})", load(A), load(B))),
            Box::new(move |m| i8x16_shuffle(vector(m, A), vector(m, B), lanes).0),
        );
        add(
            "i8x16_shuffle",
            format!("(local v128) {} local.set 0 {}", load(A), store(&format!("(i8x16.shuffle{immediates} (local.get 0) (local.get 0))"))),
            Box::new(move |m| i8x16_shuffle(vector(m, A), vector(m, A), lanes).0),
        );
    }
    all
}

fn lane_count(name: &str) -> u8 {
    let (shape, _) = name.split_once('_').unwrap();
    shape.split_once('x').unwrap().1.parse().unwrap()
}

/// Shuffles of every granularity: those with an instruction of their own, their neighbours, and random ones.
fn shuffles() -> Vec<[u8; 16]> {
    let mut random = Random::new();
    let mut all = Vec::new();
    let wide = |lanes: &[u8]| -> [u8; 16] {
        let width = 16 / lanes.len();
        std::array::from_fn(|i| lanes[i / width] * width as u8 + (i % width) as u8)
    };
    for interleave in [2, 4, 8, 16_u8] {
        let half = interleave / 2;
        for start in [0, half] {
            let lanes: Vec<u8> = (0..interleave).map(|i| start + i / 2 + if i % 2 == 0 { 0 } else { interleave }).collect();
            all.push(wide(&lanes));
        }
    }
    for start in 0..=16 {
        all.push(std::array::from_fn(|i| start + i as u8));
    }
    for lane in [0, 1, 15, 16, 31] {
        all.push([lane; 16]);
    }
    for i in 0..160 {
        let mut lane = |n: u64| (random.next() % n) as u8;
        all.push(match i % 8 {
            0 => std::array::from_fn(|_| lane(32)),
            1 => std::array::from_fn(|_| lane(16)),
            2 => wide(&[lane(16), lane(16), lane(16), lane(16), lane(16), lane(16), lane(16), lane(16)]),
            3 => wide(&[lane(4), lane(4), lane(4), lane(4), 4, 5, 6, 7]),
            4 => wide(&[8, 9, 10, 11, 12 + lane(4), 12 + lane(4), 12 + lane(4), 12 + lane(4)]),
            5 => wide(&[lane(8), lane(8), lane(8), lane(8)]),
            6 => wide(&[lane(4), lane(4), 4 + lane(4), 4 + lane(4)]),
            _ => wide(&[lane(4), lane(4)]),
        });
    }
    all
}

struct Random(u64);

impl Random {
    fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// Operands of boundary lanes, of lanes near one another, and of anything; the result's bytes are 0.
pub(super) fn operands(count: usize) -> Vec<Operands> {
    let mut random = Random::new();
    let f32s: Vec<u64> = [0.0, 0.5, -1.5, 2.5, -0.7, 8_388_607.5, -8_388_609.0, 3.4e38, 1e-45, -1.1754944e-38, f32::INFINITY, f32::NAN]
        .iter()
        .chain(&[2_147_483_648.0, -2_147_483_648.0, 4_294_967_040.0, 4_294_967_296.0, 1.0 + f32::EPSILON])
        .map(|x: &f32| x.to_bits().into())
        .chain([0x7f80_0001, 0xffff_ffff, 0x8000_0000])
        .collect();
    let f64s: Vec<u64> = [0.0, 0.5, -1.5, 2.5, -0.7, 4_503_599_627_370_495.5, -4_503_599_627_370_497.0, 1.7e308, 5e-324, f64::INFINITY]
        .iter()
        .chain(&[2_147_483_647.5, -2_147_483_649.0, 4_294_967_295.5, 3.4028235e38, -1e39, 1e-46, f64::NAN, 1.0 + f64::EPSILON])
        .map(|x: &f64| x.to_bits())
        .chain([0x7ff0_0000_0000_0001, 0xffff_ffff_ffff_ffff, 0x8000_0000_0000_0000])
        .collect();
    let integers = |width: u32| {
        let max = u64::MAX >> (64 - width);
        vec![0, 1, 2, max, max - 1, max >> 1, (max >> 1) + 1, max >> (width / 2), 15, 16, 17]
    };
    let specials = [(8, integers(8)), (16, integers(16)), (32, integers(32)), (64, integers(64)), (32, f32s), (64, f64s)];
    (0..count)
        .map(|_| {
            let (width, of_width) = &specials[random.next() as usize % specials.len()];
            let mut m = [0; 64];
            for lane in m[A..].chunks_mut(*width as usize / 8) {
                let special = of_width[random.next() as usize % of_width.len()];
                let other = random.next();
                let v = match random.next() % 8 {
                    0 => other,
                    // A float of a size that the integers have.
                    1 if *width == 32 => u64::from(((other as i32) as f32 / 256.0).to_bits()),
                    1 if *width == 64 => ((other as i64 >> 16) as f64 / 65_536.0).to_bits(),
                    2 => special ^ 1 << (*width - 1),
                    _ => special,
                };
                lane.copy_from_slice(&v.to_le_bytes()[..lane.len()]);
            }
            m
        })
        .collect()
}

/// Operands of `f32x4.relaxed_madd` whose exact result lies beside the middle of two floats, by less than a `f64` can
/// tell: `(1 + d)(1 - d) = 1 - d^2`, times half of the last place of `c`.
pub(super) fn near_ties(count: usize) -> Vec<Operands> {
    let mut random = Random::new();
    (0..count)
        .map(|_| {
            let mut m = [0; 64];
            for lane in 0..4 {
                let d = (random.next() % 1_500) as f32 * f32::EPSILON;
                let signs = random.next();
                let sign = |bit: u32| if signs >> bit & 1 == 0 { 1.0 } else { -1.0 };
                let scale = f32::exp2((random.next() % 20) as f32);
                let a = sign(0) * (1.0 + d) * scale;
                let b = sign(1) * (1.0 - d) / scale * f32::EPSILON / 2.0;
                let c = sign(2) * (1.0 + (random.next() % 4) as f32 * f32::EPSILON);
                for (at, v) in [(A, a), (B, b), (C, c)] {
                    m[at + 4 * lane..][..4].copy_from_slice(&v.to_le_bytes());
                }
            }
            m
        })
        .collect()
}
