//! Operators for which x86-64 has no instruction before SSSE3 (`pshufb`), SSE4.1 (`roundps`) or FMA, made of those that
//! SSE2 has. The results are the same to the bit (a NaN's payload aside).

use super::lanes::Rounding;
use crate::translate::FuncTranslator;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32X4, F64, I8, I8X16, I16, I32, I64, I64X2};
use cranelift_codegen::ir::{InstBuilder, StackSlot, StackSlotData, StackSlotKey, StackSlotKind, Type, Value};
use wasmc_environ::builtins::Builtin;

/// Marks the stack slot through which shuffles go; a function has at most one.
const SCRATCH_KEY: u64 = 0x7363_7261_7463_6800;

/// Offsets in the scratch slot: the first operand, the second, the result.
const FIRST: i32 = 0;
const SECOND: i32 = 16;
const RESULT: i32 = 32;

/// The lanes as wider ones of `N` bytes, if whole ones are moved.
fn whole_lanes<const BYTES: usize, const COUNT: usize>(lanes: [u8; 16]) -> Option<[u8; COUNT]> {
    let (chunks, _) = lanes.as_chunks::<BYTES>();
    let mut wide = [0; COUNT];
    for (wide, chunk) in wide.iter_mut().zip(chunks) {
        let aligned = usize::from(chunk[0]).is_multiple_of(BYTES);
        if !aligned || !chunk.windows(2).all(|w| w[0].checked_add(1) == Some(w[1])) {
            return None;
        }
        *wide = chunk[0] / BYTES as u8;
    }
    Some(wide)
}

/// Whether Cranelift has one SSE2 instruction for a shuffle: `punpck*`, `pshufd`, `shufps`, `pshuflw`, `pshufhw`.
pub(super) fn is_sse2_shuffle(lanes: [u8; 16]) -> bool {
    if let Some(d) = whole_lanes::<4, 4>(lanes) {
        let of_second = d.map(|lane| lane >= 4);
        return of_second[0] == of_second[1] && of_second[2] == of_second[3] || matches!(d, [0, 4, 1, 5] | [2, 6, 3, 7]);
    }
    if let Some(w) = whole_lanes::<2, 8>(lanes) {
        let within = |lanes: &[u8], from: u8| lanes.iter().all(|&lane| (from..from + 4).contains(&lane));
        return matches!(w, [0, 8, 1, 9, 2, 10, 3, 11] | [4, 12, 5, 13, 6, 14, 7, 15])
            || w[4..] == [4, 5, 6, 7] && within(&w[..4], 0)
            || w[..4] == [0, 1, 2, 3] && within(&w[4..], 4)
            || w[..4] == [8, 9, 10, 11] && within(&w[4..], 12);
    }
    matches!(
        lanes,
        [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23] | [8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31]
    )
}

impl FuncTranslator<'_, '_> {
    fn scratch(&mut self) -> StackSlot {
        let key = Some(StackSlotKey::new(SCRATCH_KEY));
        let found = self.builder.func.sized_stack_slots.iter().find(|(_, slot)| slot.key == key);
        match found {
            Some((slot, _)) => slot,
            None => {
                let mut data = StackSlotData::new(StackSlotKind::ExplicitSlot, 48, 4);
                data.key = key;
                self.builder.create_sized_stack_slot(data)
            }
        }
    }

    /// A shuffle through the frame, in moves as wide as its lanes allow.
    pub(super) fn shuffle_in_memory(&mut self, a: Value, b: Value, lanes: [u8; 16]) -> Value {
        let ty = if whole_lanes::<8, 2>(lanes).is_some() {
            I64
        } else if whole_lanes::<4, 4>(lanes).is_some() {
            I32
        } else if whole_lanes::<2, 8>(lanes).is_some() {
            I16
        } else {
            I8
        };
        let slot = self.scratch();
        self.builder.ins().stack_store(I64, a, slot, FIRST);
        self.builder.ins().stack_store(I64, b, slot, SECOND);
        for (i, lane) in lanes.iter().enumerate().step_by(ty.bytes() as usize) {
            let v = self.builder.ins().stack_load(I64, ty, slot, i32::from(*lane));
            self.builder.ins().stack_store(I64, v, slot, RESULT + i as i32);
        }
        self.builder.ins().stack_load(I64, I8X16, slot, RESULT)
    }

    /// A swizzle through the frame: a byte at a time, and zeros where the index is too large.
    pub(super) fn swizzle_in_memory(&mut self, a: Value, indices: Value) -> Value {
        let fifteen = self.lanes_const(I8X16, [15; 16]);
        let inside = self.builder.ins().icmp(IntCC::UnsignedLessThanOrEqual, indices, fifteen);
        let masked = self.builder.ins().band(indices, fifteen);
        let slot = self.scratch();
        self.builder.ins().stack_store(I64, a, slot, FIRST);
        self.builder.ins().stack_store(I64, masked, slot, SECOND);
        let base = self.builder.ins().stack_addr(I64, slot, FIRST);
        for i in 0..16 {
            let index = self.builder.ins().stack_load(I64, I8, slot, SECOND + i);
            let index = self.builder.ins().uextend(I64, index);
            let address = self.builder.ins().iadd(base, index);
            let v = self.builder.ins().load(I8, cranelift_codegen::ir::MemFlagsData::trusted(), address, FIRST);
            self.builder.ins().stack_store(I64, v, slot, RESULT + i);
        }
        let r = self.builder.ins().stack_load(I64, I8X16, slot, RESULT);
        self.builder.ins().band(r, inside)
    }

    /// A float in every lane.
    fn float_const(&mut self, ty: Type, v: f64) -> Value {
        let bytes = match ty {
            F32X4 => std::array::from_fn(|i| (v as f32).to_le_bytes()[i % 4]),
            _ => std::array::from_fn(|i| v.to_le_bytes()[i % 8]),
        };
        self.lanes_const(ty, bytes)
    }

    /// Rounds to integers by adding and taking away the number from which on floats have no bits for a fraction.
    pub(super) fn round_by_adding(&mut self, x: Value, rounding: Rounding) -> Value {
        let ty = self.type_of(x);
        let integers = self.float_const(ty, if ty == F32X4 { 8_388_608.0 } else { 4_503_599_627_370_496.0 });
        let one = self.float_const(ty, 1.0);
        let zero = self.float_const(ty, 0.0);
        let sign = self.float_const(ty, -0.0);

        let size = self.builder.ins().fabs(x);
        let sum = self.builder.ins().fadd(size, integers);
        let nearest = self.builder.ins().fsub(sum, integers);
        let sign = self.builder.ins().band(x, sign);
        let signed = self.builder.ins().bor(nearest, sign);
        let rounded = match rounding {
            Rounding::Nearest => signed,
            Rounding::Zero => {
                let correction = self.one_if(one, FloatCC::GreaterThan, nearest, size);
                let r = self.builder.ins().fsub(nearest, correction);
                self.builder.ins().bor(r, sign)
            }
            Rounding::Up => {
                let correction = self.one_if(one, FloatCC::LessThan, signed, x);
                let r = self.builder.ins().fadd(signed, correction);
                // From -0.7: -1 + 1 is +0.
                self.builder.ins().bor(r, sign)
            }
            Rounding::Down => {
                let correction = self.one_if(one, FloatCC::GreaterThan, signed, x);
                self.builder.ins().fsub(signed, correction)
            }
        };
        // What is an integer anyway stays; the addition makes a NaN quiet.
        let unchanged = self.builder.ins().fadd(x, zero);
        let small = self.builder.ins().fcmp(FloatCC::LessThan, size, integers);
        let small = self.cast(small, ty);
        self.builder.ins().bitselect(small, rounded, unchanged)
    }

    /// `f64` lanes to `u32` with saturation, in the low lanes; the others are 0.
    pub(super) fn saturate_to_u32_by_adding(&mut self, x: Value) -> Value {
        const EVEN_LANES: [u8; 16] = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 16, 17, 18, 19];
        let ty = self.type_of(x);
        let zero = self.float_const(ty, 0.0);
        let positive = self.builder.ins().fcmp(FloatCC::LessThan, zero, x);
        let positive = self.cast(positive, ty);
        let x = self.builder.ins().band(x, positive);
        let max = self.float_const(ty, u32::MAX.into());
        let below = self.builder.ins().fcmp(FloatCC::LessThan, x, max);
        let below = self.cast(below, ty);
        let x = self.builder.ins().bitselect(below, x, max);
        let x = self.round_by_adding(x, Rounding::Zero);
        // From 2^52 on the last bit of a float counts ones, so the low half of its bits is the integer.
        let integers = self.float_const(ty, 4_503_599_627_370_496.0);
        let x = self.builder.ins().fadd(x, integers);
        let x = self.cast(x, I8X16);
        let zero = self.cast(zero, I8X16);
        self.shuffle(x, zero, EVEN_LANES)
    }

    /// 1 where a comparison holds, else 0.
    fn one_if(&mut self, one: Value, cc: FloatCC, x: Value, y: Value) -> Value {
        let ty = self.type_of(x);
        let mask = self.builder.ins().fcmp(cc, x, y);
        let mask = self.cast(mask, ty);
        self.builder.ins().band(mask, one)
    }

    /// `a * b + c` of `f32` lanes, in `f64`: the product is exact, the sum is rounded to odd, so that rounding it once
    /// more, to `f32`, gives what rounding the exact value would have given.
    pub(super) fn multiply_add_f32(&mut self, a: Value, b: Value, c: Value) -> Value {
        const HIGH_HALF: [u8; 16] = [8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15];
        const LOW_HALVES: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23];
        let [low, high] = [false, true].map(|high| {
            let [a, b, c] = [a, b, c].map(|v| {
                let v = if high {
                    let bytes = self.cast(v, I8X16);
                    let half = self.shuffle(bytes, bytes, HIGH_HALF);
                    self.cast(half, F32X4)
                } else {
                    v
                };
                self.builder.ins().fvpromote_low(v)
            });
            let product = self.builder.ins().fmul(a, b);
            let sum = self.add_to_odd(product, c);
            let r = self.builder.ins().fvdemote(sum);
            self.cast(r, I8X16)
        });
        let r = self.shuffle(low, high, LOW_HALVES);
        self.cast(r, F32X4)
    }

    /// The sum of `f64` lanes, where inexact rounded to the neighbour whose last bit is 1.
    fn add_to_odd(&mut self, a: Value, b: Value) -> Value {
        let sum = self.builder.ins().fadd(a, b);
        // The error of the addition, which is a float (Knuth's two-sum); NaN if the sum is not finite.
        let b_part = self.builder.ins().fsub(sum, a);
        let a_part = self.builder.ins().fsub(sum, b_part);
        let a_error = self.builder.ins().fsub(a, a_part);
        let b_error = self.builder.ins().fsub(b, b_part);
        let error = self.builder.ins().fadd(a_error, b_error);

        let ty = self.integer_lanes(sum);
        let ty_sum = self.type_of(sum);
        let zero = self.float_const(ty_sum, 0.0);
        let size = self.builder.ins().fabs(error);
        let inexact = self.builder.ins().fcmp(FloatCC::LessThan, zero, size);
        // One step towards the exact value: to greater bits if the error has the sum's sign, else to smaller ones.
        let one = self.lanes_const(I64X2, std::array::from_fn(|i| u8::from(i % 8 == 0)));
        let bits = self.cast(sum, ty);
        let error_bits = self.cast(error, ty);
        let signs = self.builder.ins().bxor(bits, error_bits);
        let none = self.lanes_const(I64X2, [0; 16]);
        let differ = self.builder.ins().icmp(IntCC::SignedLessThan, signs, none);
        let step = self.builder.ins().bor(differ, one);
        let last_bit = self.builder.ins().band(bits, one);
        let even = self.builder.ins().isub(last_bit, one);
        let step = self.builder.ins().band(step, even);
        let step = self.builder.ins().band(step, inexact);
        let r = self.builder.ins().iadd(bits, step);
        self.cast(r, ty_sum)
    }

    /// `a * b + c` of `f64` lanes: a routine of the runtime, since nothing wider is at hand.
    pub(super) fn multiply_add_f64(&mut self, a: Value, b: Value, c: Value) -> Value {
        let ty = self.type_of(a);
        let mut r = a;
        for lane in 0..2_u8 {
            let args = [a, b, c].map(|v| self.builder.ins().extractlane(v, lane));
            // It has a result; without one the first factor would be left.
            if let Some(v) = self.builtin(Builtin::fma_f64, &args) {
                r = self.builder.ins().insertlane(r, v, lane);
            }
        }
        debug_assert_eq!(ty.lane_type(), F64);
        r
    }
}
