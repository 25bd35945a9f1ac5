//! A second generator, for what wasm-smith's modules rarely do: compute. Its functions are expression trees over all number
//! and vector instructions, with loops that end, accesses that mostly are in bounds, calls in every form, and exceptions
//! that are mostly caught; so that operations meet in the combinations that a compiler folds and an interpreter joins.

use super::scenario::Rng;
use std::fmt::Write as _;

#[derive(Copy, Clone, PartialEq, Eq)]
enum T {
    I32,
    I64,
    F32,
    F64,
    V128,
}

use T::*;

const ALL: [T; 5] = [I32, I64, F32, F64, V128];

impl T {
    fn name(self) -> &'static str {
        match self {
            I32 => "i32",
            I64 => "i64",
            F32 => "f32",
            F64 => "f64",
            V128 => "v128",
        }
    }
}

const INT_BINARY: &[&str] = &["add", "sub", "mul", "and", "or", "xor", "shl", "shr_s", "shr_u", "rotl", "rotr", "add", "sub", "and"];
const INT_COMPARE: &[&str] = &["eq", "ne", "lt_s", "lt_u", "gt_s", "gt_u", "le_s", "le_u", "ge_s", "ge_u"];
const DIVISIONS: &[&str] = &["div_s", "div_u", "rem_s", "rem_u"];
const FLOAT_BINARY: &[&str] = &["add", "sub", "mul", "div", "min", "max", "copysign"];
const FLOAT_UNARY: &[&str] = &["abs", "neg", "sqrt", "ceil", "floor", "trunc", "nearest"];
const FLOAT_COMPARE: &[&str] = &["eq", "ne", "lt", "gt", "le", "ge"];

/// Vector instructions of two vectors, on integer lanes.
const VECTOR_BINARY: &str = "v128.and v128.or v128.xor v128.andnot i8x16.swizzle \
    i8x16.add i8x16.sub i8x16.add_sat_s i8x16.add_sat_u i8x16.sub_sat_s i8x16.sub_sat_u i8x16.min_s i8x16.min_u i8x16.max_s i8x16.max_u \
    i8x16.avgr_u i8x16.eq i8x16.ne i8x16.lt_s i8x16.lt_u i8x16.gt_s i8x16.le_u i8x16.ge_s i8x16.narrow_i16x8_s i8x16.narrow_i16x8_u \
    i16x8.add i16x8.sub i16x8.mul i16x8.add_sat_s i16x8.sub_sat_u i16x8.min_s i16x8.max_u i16x8.avgr_u i16x8.q15mulr_sat_s i16x8.eq \
    i16x8.lt_s i16x8.gt_u i16x8.extmul_low_i8x16_s i16x8.extmul_high_i8x16_u i16x8.narrow_i32x4_s i16x8.narrow_i32x4_u \
    i32x4.add i32x4.sub i32x4.mul i32x4.min_s i32x4.max_u i32x4.eq i32x4.ne i32x4.lt_s i32x4.gt_u i32x4.dot_i16x8_s \
    i32x4.extmul_low_i16x8_u i32x4.extmul_high_i16x8_s i64x2.add i64x2.sub i64x2.mul i64x2.eq i64x2.lt_s i64x2.ge_s \
    i64x2.extmul_low_i32x4_s i64x2.extmul_high_i32x4_u f32x4.eq f32x4.lt f32x4.ge f64x2.ne f64x2.gt f64x2.le";
const VECTOR_UNARY: &str = "v128.not i8x16.abs i8x16.neg i8x16.popcnt i16x8.abs i16x8.neg i16x8.extend_low_i8x16_s \
    i16x8.extend_high_i8x16_u i16x8.extadd_pairwise_i8x16_s i32x4.abs i32x4.neg i32x4.extend_low_i16x8_u i32x4.extend_high_i16x8_s \
    i32x4.extadd_pairwise_i16x8_u i64x2.abs i64x2.neg i64x2.extend_low_i32x4_s i64x2.extend_high_i32x4_u i32x4.trunc_sat_f32x4_s \
    i32x4.trunc_sat_f32x4_u i32x4.trunc_sat_f64x2_s_zero i32x4.trunc_sat_f64x2_u_zero f32x4.convert_i32x4_s f32x4.convert_i32x4_u \
    f64x2.convert_low_i32x4_s f64x2.convert_low_i32x4_u";
const VECTOR_SHIFT: &str = "i8x16.shl i8x16.shr_s i8x16.shr_u i16x8.shl i16x8.shr_s i16x8.shr_u i32x4.shl i32x4.shr_s i32x4.shr_u \
    i64x2.shl i64x2.shr_s i64x2.shr_u";
/// Vector instructions whose results may be NaNs.
const VECTOR_FLOAT_BINARY: &str = "add sub mul div min max pmin pmax";
const VECTOR_FLOAT_UNARY: &str = "abs neg sqrt ceil floor trunc nearest";

struct Signature {
    params: Vec<T>,
    result: T,
}

struct Generator<'a> {
    rng: &'a mut Rng,
    out: String,
    functions: Vec<Signature>,
    /// Types of the locals of the function in hand, parameters first; the counters of loops come after them.
    locals: Vec<T>,
    counters: usize,
    loops: u32,
    label: u32,
    /// Instructions that this function may still have.
    budget: i32,
    result: T,
    vectors: bool,
    /// Only what wasmi has: no exceptions, no atomic instructions, no typed references.
    plain: bool,
}

/// Globals of each type.
const GLOBALS: u64 = 2;

/// A module in the text format. Global 0 is the fuel.
pub fn module(rng: &mut Rng) -> String {
    let vectors = rng.one_in(2);
    let plain = rng.one_in(2);
    let types = if vectors { 5 } else { 4 };
    let functions = (0..3 + rng.below(5))
        .map(|_| Signature {
            params: (0..rng.below(6)).map(|_| ALL[rng.below(types) as usize]).collect(),
            result: ALL[rng.below(types) as usize],
        })
        .collect();
    let mut g = Generator {
        rng,
        out: String::new(),
        functions,
        locals: Vec::new(),
        counters: 0,
        loops: 0,
        label: 0,
        budget: 0,
        result: I32,
        vectors,
        plain,
    };
    g.module();
    g.out
}

impl Generator<'_> {
    fn pick<'s>(&mut self, list: &[&'s str]) -> &'s str {
        list[self.rng.below(list.len() as u64) as usize]
    }

    fn word<'s>(&mut self, list: &'s str) -> &'s str {
        let words: Vec<&str> = list.split_whitespace().collect();
        self.pick(&words)
    }

    fn ty(&mut self) -> T {
        ALL[self.rng.below(if self.vectors { 5 } else { 4 }) as usize]
    }

    fn put(&mut self, text: impl AsRef<str>) {
        self.out.push_str(text.as_ref());
    }

    fn module(&mut self) {
        let closed = self.rng.one_in(2);
        let count = self.functions.len();
        let fuel = super::scenario::FUEL;
        let _ = write!(self.out, "(module (memory 2 4) (global $fuel (mut i32) (i32.const {fuel}))");
        for ty in ALL {
            for i in 0..GLOBALS {
                let init = if ty == V128 { "i64x2 1 2".to_owned() } else { i.to_string() };
                let name = ty.name();
                let _ = write!(self.out, "(global ${name}{i} (mut {name}) ({name}.const {init}))");
            }
            if !self.plain {
                let _ = write!(self.out, "(tag ${0} (param {0}))", ty.name());
            }
        }
        let names: String = (0..count).map(|i| format!(" $f{i}")).collect();
        let _ = write!(self.out, "(table $table {} funcref) (elem (table $table) (i32.const 0) func{names})", count + 2);
        self.put("(elem declare func");
        self.put(&names);
        self.put(") (data (i32.const 0) \"\\01\\ff\\80\\7f\\00\\00\\c0\\7f some bytes \\ff\\ff\\f0\\7f\")");
        if !closed {
            self.put("(func (export \"look\") (param i32) (result i32) (ref.is_null (table.get $table (local.get 0))))");
        }
        for i in 0..count {
            let f = &self.functions[i];
            let params: String = f.params.iter().map(|t| format!(" {}", t.name())).collect();
            let result = f.result;
            let _ = write!(self.out, "(type $t{i} (func (param{params}) (result {})))", result.name());
            self.locals = f.params.clone();
            self.result = result;
            for _ in 0..self.rng.below(6) {
                let ty = self.ty();
                self.locals.push(ty);
            }
            self.function(i);
        }
        self.put(")");
    }

    fn function(&mut self, i: usize) {
        let params = self.functions[i].params.len();
        let _ = write!(self.out, "\n(func $f{i} (type $t{i})");
        let locals: String = self.locals[params..].iter().map(|t| format!(" (local {})", t.name())).collect();
        self.put(locals);
        // The counters of loops, two levels deep, and a vector whose NaNs are not canonical yet: nothing else uses them.
        self.put("(local i32 i32 v128)");
        self.counters = self.locals.len();
        self.budget = 60 + self.rng.below(400) as i32;
        self.check_fuel();
        while self.budget > 0 {
            self.statement(3);
        }
        let result = self.result;
        match self.rng.below(6) {
            0 => {
                // A tail call of a function with this result.
                let same: Vec<usize> = (0..self.functions.len()).filter(|f| self.functions[*f].result == result).collect();
                let f = same[self.rng.below(same.len() as u64) as usize];
                self.call(f, "return_", 2);
            }
            _ => self.expression(result, 5),
        }
        self.put(")");
    }

    fn check_fuel(&mut self) {
        self.put("(if (i32.eqz (global.get $fuel)) (then unreachable))(global.set $fuel (i32.sub (global.get $fuel) (i32.const 1)))");
    }

    fn fresh(&mut self) -> u32 {
        self.label += 1;
        self.label
    }

    fn statement(&mut self, depth: u32) {
        self.budget -= 1;
        match self.rng.below(14) {
            0..=4 if !self.locals.is_empty() => {
                let l = self.rng.below(self.locals.len() as u64) as usize;
                let _ = write!(self.out, "(local.set {l} ");
                self.expression(self.locals[l], 4);
                self.put(")");
            }
            5 => {
                let (ty, i) = (self.ty(), self.rng.below(GLOBALS));
                let _ = write!(self.out, "(global.set ${}{i} ", ty.name());
                self.expression(ty, 4);
                self.put(")");
            }
            6..=8 => {
                let ty = self.ty();
                let op = match ty {
                    I32 => self.pick(&["i32.store", "i32.store8", "i32.store16"]),
                    I64 => self.pick(&["i64.store", "i64.store8", "i64.store16", "i64.store32"]),
                    F32 => "f32.store",
                    F64 => "f64.store",
                    V128 => "v128.store",
                };
                let offset = self.offset();
                let _ = write!(self.out, "({op} {offset}");
                self.address();
                self.expression(ty, 4);
                self.put(")");
            }
            9 if depth > 0 => {
                self.put("(if ");
                self.condition(2);
                self.put("(then ");
                self.statement(depth - 1);
                self.statement(depth - 1);
                if self.rng.one_in(2) {
                    self.put(")(else ");
                    self.statement(depth - 1);
                }
                self.put("))");
            }
            10 if depth > 0 && self.loops < 2 => {
                let counter = self.counters + self.loops as usize;
                let label = self.fresh();
                let turns = 1 + self.rng.below(6);
                let _ = write!(self.out, "(local.set {counter} (i32.const {turns}))(loop $l{label} ");
                self.check_fuel();
                self.loops += 1;
                for _ in 0..1 + self.rng.below(3) {
                    self.statement(depth - 1);
                }
                self.loops -= 1;
                let _ = write!(self.out, "(br_if $l{label} (local.tee {counter} (i32.sub (local.get {counter}) (i32.const 1)))))");
            }
            11 => match self.rng.below(4) {
                0 => self.put("(drop (memory.grow (i32.const 1)))"),
                1 => {
                    self.put("(memory.fill ");
                    self.address();
                    self.expression(I32, 2);
                    self.put("(i32.const 9))");
                }
                2 => {
                    self.put("(memory.copy ");
                    self.address();
                    self.address();
                    self.put("(i32.const 33))");
                }
                _ if self.plain => {}
                _ => {
                    let op = self.pick(&["i32.atomic.rmw.add", "i32.atomic.rmw.xchg", "i32.atomic.rmw8.xor_u", "i32.atomic.rmw16.sub_u"]);
                    let _ = write!(self.out, "(drop ({op} ");
                    self.address();
                    self.expression(I32, 2);
                    self.put("))");
                }
            },
            12 => {
                // Out of some blocks, a return from the middle.
                self.put("(if (i32.eqz (i32.and (i32.const 63) ");
                self.expression(I32, 2);
                self.put(")) (then (return ");
                self.expression(self.result, 2);
                self.put(")))");
            }
            _ if self.plain => {}
            _ => {
                let ty = self.ty();
                self.put("(if (i32.eqz (i32.and (i32.const 31) ");
                self.expression(I32, 2);
                let _ = write!(self.out, ")) (then (throw ${} ", ty.name());
                self.expression(ty, 2);
                self.put(")))");
            }
        }
    }

    /// An offset; alignment is natural.
    fn offset(&mut self) -> String {
        match self.rng.below(3) {
            0 => String::new(),
            1 => format!("offset={} ", self.rng.below(128)),
            _ => format!("offset={} ", self.rng.below(60_000) & !7),
        }
    }

    /// An address that is in bounds with any such offset, nearly always.
    fn address(&mut self) {
        if self.rng.one_in(60) {
            return self.expression(I32, 2);
        }
        match self.rng.below(3) {
            0 => {
                let _ = write!(self.out, "(i32.const {})", self.rng.below(60_000) & !7);
            }
            1 => {
                self.put("(i32.and (i32.const 0xfff8) ");
                self.expression(I32, 2);
                self.put(")");
            }
            _ => {
                self.put("(i32.add (i32.const 64) (i32.shl (i32.and (i32.const 0xfff) ");
                self.expression(I32, 2);
                self.put(") (i32.const 3)))");
            }
        }
    }

    /// An i32 that is looked at as true or false: comparisons more often than anything else.
    fn condition(&mut self, depth: u32) {
        match self.rng.below(4) {
            0 => self.expression(I32, depth),
            1 => {
                self.put("(i32.eqz ");
                self.expression(I32, depth);
                self.put(")");
            }
            _ => self.comparison(depth),
        }
    }

    fn comparison(&mut self, depth: u32) {
        let ty = ALL[self.rng.below(4) as usize];
        let op = if matches!(ty, I32 | I64) { self.pick(INT_COMPARE) } else { self.pick(FLOAT_COMPARE) };
        self.binary(&format!("{}.{op}", ty.name()), ty, depth);
    }

    fn binary(&mut self, op: &str, operands: T, depth: u32) {
        let _ = write!(self.out, "({op} ");
        self.expression(operands, depth);
        self.expression(operands, depth);
        self.put(")");
    }

    fn unary(&mut self, op: &str, operand: T, depth: u32) {
        let _ = write!(self.out, "({op} ");
        self.expression(operand, depth);
        self.put(")");
    }

    fn constant(&mut self, ty: T) {
        let n = self.rng.next();
        let small = [0, 1, -1, 2, 7, 8, 31, 32, 63, 64, 255, -128, 65535, i64::from(i32::MAX), i64::from(i32::MIN)];
        let v = match n % 4 {
            0 => (n >> 3) as i64,
            1 => 1i64 << ((n >> 4) & 63),
            _ => small[(n >> 5) as usize % small.len()],
        };
        let _ = match ty {
            I32 => write!(self.out, "(i32.const {})", v as i32),
            I64 => write!(self.out, "(i64.const {v})"),
            F32 | F64 => {
                let text = ["0", "-0", "1", "-1.5", "inf", "-inf", "nan", "0x1p-1074", "4294967296.5", "-2147483649", "0.1", "1e30"];
                write!(self.out, "({}.const {})", ty.name(), text[(n >> 5) as usize % text.len()].replace("0x1p-1074", "0x1p-126"))
            }
            V128 => write!(self.out, "(v128.const i64x2 {v} {})", (n.rotate_left(17) as i64).wrapping_mul(v | 1)),
        };
    }

    fn leaf(&mut self, ty: T) {
        let locals: Vec<usize> = (0..self.locals.len()).filter(|l| self.locals[*l] == ty).collect();
        match self.rng.below(8) {
            0..=4 if !locals.is_empty() => {
                let l = locals[self.rng.below(locals.len() as u64) as usize];
                let _ = write!(self.out, "(local.get {l})");
            }
            5 => {
                let i = self.rng.below(GLOBALS);
                let _ = write!(self.out, "(global.get ${}{i})", ty.name());
            }
            _ => self.constant(ty),
        }
    }

    fn expression(&mut self, ty: T, depth: u32) {
        self.budget -= 1;
        if depth == 0 || self.budget < -400 {
            return self.leaf(ty);
        }
        let d = depth - 1;
        match self.rng.below(24) {
            0..=2 => self.leaf(ty),
            3 => {
                let l: Vec<usize> = (0..self.locals.len()).filter(|l| self.locals[*l] == ty).collect();
                if l.is_empty() {
                    return self.leaf(ty);
                }
                let l = l[self.rng.below(l.len() as u64) as usize];
                let _ = write!(self.out, "(local.tee {l} ");
                self.expression(ty, d);
                self.put(")");
            }
            4 => self.load(ty),
            5 => {
                self.put("(select ");
                self.expression(ty, d);
                self.expression(ty, d);
                self.condition(d);
                self.put(")");
            }
            6 => {
                let _ = write!(self.out, "(if (result {}) ", ty.name());
                self.condition(d);
                self.put("(then ");
                self.expression(ty, d);
                self.put(")(else ");
                self.expression(ty, d);
                self.put("))");
            }
            7 => {
                let (label, name) = (self.fresh(), ty.name());
                let _ = write!(self.out, "(block $l{label} (result {name}) (drop (br_if $l{label} ");
                self.expression(ty, d);
                self.condition(d);
                self.put("))");
                self.expression(ty, d);
                self.put(")");
            }
            8 => self.table_of_branches(ty, d),
            9 | 10 if !self.plain => self.guarded(ty, d),
            11 | 12 => {
                let same: Vec<usize> = (0..self.functions.len()).filter(|f| self.functions[*f].result == ty).collect();
                if same.is_empty() || d == 0 {
                    return self.leaf(ty);
                }
                let f = same[self.rng.below(same.len() as u64) as usize];
                self.call(f, "", d.min(2));
            }
            _ => self.operation(ty, d),
        }
    }

    fn table_of_branches(&mut self, ty: T, depth: u32) {
        let (outer, inner, name) = (self.fresh(), self.fresh(), ty.name());
        let op = match ty {
            V128 => "v128.xor".to_owned(),
            _ => format!("{name}.sub"),
        };
        let _ = write!(
            self.out,
            "(block $l{outer} (result {name}) ({op} (block $l{inner} (result {name}) (br_table $l{inner} $l{outer} $l{inner} "
        );
        self.expression(ty, depth);
        self.expression(I32, depth);
        self.put("))");
        self.expression(ty, depth);
        self.put("))");
    }

    /// An expression inside `try_table`, with every kind of handler.
    fn guarded(&mut self, ty: T, depth: u32) {
        let (done, caught, name) = (self.fresh(), self.fresh(), ty.name());
        match self.rng.below(3) {
            0 => {
                let _ = write!(self.out, "(block $l{caught} (result {name}) (try_table (result {name}) (catch ${name} $l{caught}) ");
                self.expression(ty, depth);
                self.put("))");
            }
            1 => {
                let _ = write!(
                    self.out,
                    "(block $l{done} (result {name}) (block $l{caught} (br $l{done} (try_table (result {name}) (catch_all $l{caught}) "
                );
                self.expression(ty, depth);
                self.put(")))");
                self.expression(ty, depth);
                self.put(")");
            }
            _ => {
                // Thrown again, unless it happens to be one that is caught outside.
                let _ = write!(
                    self.out,
                    "(block $l{done} (result {name}) (block $l{caught} (result exnref) (br $l{done} (try_table (result {name}) (catch ${name} $l{done}) (catch_all_ref $l{caught}) "
                );
                self.expression(ty, depth);
                self.put("))) throw_ref)");
            }
        }
    }

    fn call(&mut self, f: usize, tail: &str, depth: u32) {
        let kind = self.rng.below(if self.plain { 3 } else { 4 });
        match kind {
            0 | 1 => {
                let _ = write!(self.out, "({tail}call $f{f} ");
            }
            2 => {
                let _ = write!(self.out, "({tail}call_indirect $table (type $t{f}) ");
            }
            _ => {
                let _ = write!(self.out, "({tail}call_ref $t{f} ");
            }
        }
        for i in 0..self.functions[f].params.len() {
            let ty = self.functions[f].params[i];
            self.expression(ty, depth);
        }
        match kind {
            2 if self.rng.one_in(12) => self.expression(I32, 2),
            2 => {
                let _ = write!(self.out, "(i32.const {f})");
            }
            3 => {
                let _ = write!(self.out, "(ref.func $f{f})");
            }
            _ => {}
        }
        self.put(")");
    }

    fn load(&mut self, ty: T) {
        let op = match ty {
            I32 if !self.plain && self.rng.one_in(6) => "i32.atomic.load",
            I64 if !self.plain && self.rng.one_in(6) => "i64.atomic.load32_u",
            I32 => self.pick(&["i32.load", "i32.load8_s", "i32.load8_u", "i32.load16_s", "i32.load16_u"]),
            I64 => self.pick(&["i64.load", "i64.load8_s", "i64.load16_u", "i64.load32_s", "i64.load32_u"]),
            F32 => "f32.load",
            F64 => "f64.load",
            V128 => self.pick(&[
                "v128.load",
                "v128.load8x8_s",
                "v128.load16x4_u",
                "v128.load32x2_s",
                "v128.load8_splat",
                "v128.load16_splat",
                "v128.load32_splat",
                "v128.load64_splat",
                "v128.load32_zero",
                "v128.load64_zero",
            ]),
        };
        let offset = if op.contains("atomic") { "offset=24 ".to_owned() } else { self.offset() };
        let _ = write!(self.out, "({op} {offset}");
        self.address();
        self.put(")");
    }

    fn operation(&mut self, ty: T, d: u32) {
        let name = ty.name();
        match ty {
            I32 | I64 => self.integer(ty, d),
            F32 | F64 => match self.rng.below(6) {
                0..=2 => {
                    let op = self.pick(FLOAT_BINARY);
                    self.binary(&format!("{name}.{op}"), ty, d);
                }
                3 => {
                    let op = self.pick(FLOAT_UNARY);
                    self.unary(&format!("{name}.{op}"), ty, d);
                }
                4 => {
                    let (op, from) = if self.rng.one_in(2) { ("i32", I32) } else { ("i64", I64) };
                    let sign = self.pick(&["s", "u"]);
                    self.unary(&format!("{name}.convert_{op}_{sign}"), from, d);
                }
                _ => match (ty, self.rng.below(if self.vectors { 3 } else { 2 })) {
                    (F32, 0) => self.unary("f32.demote_f64", F64, d),
                    (F32, 1) => self.unary("f32.reinterpret_i32", I32, d),
                    (F32, _) => self.unary("f32x4.extract_lane 2", V128, d),
                    (_, 0) => self.unary("f64.promote_f32", F32, d),
                    (_, 1) => self.unary("f64.reinterpret_i64", I64, d),
                    _ => self.unary("f64x2.extract_lane 1", V128, d),
                },
            },
            V128 => self.vector(d),
        }
    }

    fn integer(&mut self, ty: T, d: u32) {
        let name = ty.name();
        match self.rng.below(12) {
            0..=4 => {
                let op = self.pick(INT_BINARY);
                self.binary(&format!("{name}.{op}"), ty, d);
            }
            5 => {
                // By a constant, which compilers turn into something else, or by what is not 0.
                let op = self.pick(DIVISIONS);
                let _ = write!(self.out, "({name}.{op} ");
                self.expression(ty, d);
                if self.rng.one_in(2) {
                    let by = [3, 7, 10, 16, -1, -8, 1000, 641][self.rng.below(8) as usize];
                    let _ = write!(self.out, "({name}.const {by}))");
                } else {
                    let _ = write!(self.out, "({name}.or ({name}.const 1) ");
                    self.expression(ty, d);
                    self.put("))");
                }
            }
            6 => {
                let op = self.pick(&["clz", "ctz", "popcnt", "extend8_s", "extend16_s"]);
                self.unary(&format!("{name}.{op}"), ty, d);
            }
            7 | 8 if ty == I32 => self.comparison(d),
            9 => {
                let (from, sign) = (if self.rng.one_in(2) { F32 } else { F64 }, self.pick(&["s", "u"]));
                self.unary(&format!("{name}.trunc_sat_{}_{sign}", from.name()), from, d);
            }
            10 if self.vectors => match ty {
                I32 => {
                    let op = self.pick(&[
                        "i8x16.extract_lane_s 3",
                        "i8x16.extract_lane_u 15",
                        "i16x8.extract_lane_s 5",
                        "i32x4.extract_lane 1",
                        "v128.any_true",
                        "i8x16.all_true",
                        "i16x8.bitmask",
                        "i32x4.all_true",
                        "i64x2.bitmask",
                        "i8x16.bitmask",
                    ]);
                    self.unary(op, V128, d);
                }
                _ => self.unary("i64x2.extract_lane 1", V128, d),
            },
            _ => match ty {
                I32 => match self.rng.below(3) {
                    0 => self.unary("i32.wrap_i64", I64, d),
                    1 => self.unary("i64.eqz", I64, d),
                    _ => self.unary("i32.reinterpret_f32", F32, d),
                },
                _ => match self.rng.below(4) {
                    0 => self.unary("i64.extend_i32_s", I32, d),
                    1 => self.unary("i64.extend_i32_u", I32, d),
                    2 => self.unary("i64.extend32_s", I64, d),
                    _ => self.unary("i64.reinterpret_f64", F64, d),
                },
            },
        }
    }

    fn vector(&mut self, d: u32) {
        match self.rng.below(12) {
            0..=3 => {
                let op = self.word(VECTOR_BINARY);
                self.binary(op, V128, d);
            }
            4 => {
                let op = self.word(VECTOR_UNARY);
                self.unary(op, V128, d);
            }
            5 => {
                let op = self.word(VECTOR_SHIFT);
                let _ = write!(self.out, "({op} ");
                self.expression(V128, d);
                self.expression(I32, d);
                self.put(")");
            }
            6 => {
                let (op, ty) =
                    [("i8x16.splat", I32), ("i16x8.splat", I32), ("i32x4.splat", I32), ("i64x2.splat", I64)][self.rng.below(4) as usize];
                self.unary(op, ty, d);
            }
            7 => {
                let lanes: String = (0..16).map(|_| format!("{} ", self.rng.below(32))).collect();
                self.binary(&format!("i8x16.shuffle {lanes}"), V128, d);
            }
            8 => {
                self.put("(v128.bitselect ");
                for _ in 0..3 {
                    self.expression(V128, d);
                }
                self.put(")");
            }
            9 => {
                let (op, ty) = [("i8x16.replace_lane 9", I32), ("i32x4.replace_lane 3", I32), ("i64x2.replace_lane 0", I64)]
                    [self.rng.below(3) as usize];
                let _ = write!(self.out, "({op} ");
                self.expression(V128, d);
                self.expression(ty, d);
                self.put(")");
            }
            _ => self.float_lanes(d),
        }
    }

    /// Operations on float lanes; NaNs come out canonical, so that the vector can be looked at bit by bit.
    fn float_lanes(&mut self, d: u32) {
        let (shape, scalar) = if self.rng.one_in(2) { ("f32x4", F32) } else { ("f64x2", F64) };
        let temporary = self.counters + 2;
        let _ = write!(self.out, "(local.set {temporary} ");
        match self.rng.below(4) {
            0 | 1 => {
                let op = self.word(VECTOR_FLOAT_BINARY);
                self.binary(&format!("{shape}.{op}"), V128, d);
            }
            2 => {
                let op = self.word(VECTOR_FLOAT_UNARY);
                self.unary(&format!("{shape}.{op}"), V128, d);
            }
            _ => self.unary(&format!("{shape}.splat"), scalar, d),
        }
        let get = format!("(local.get {temporary})");
        let nan = if shape == "f32x4" { "f32x4 nan nan nan nan" } else { "f64x2 nan nan" };
        let _ = write!(self.out, ")(v128.bitselect {get} (v128.const {nan}) ({shape}.eq {get} {get}))");
    }
}
