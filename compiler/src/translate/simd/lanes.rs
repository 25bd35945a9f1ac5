//! What the vector operators are made of: casts between lane types, accesses to the memory, and the operations that come
//! in several widths.

use super::{Half, Sign};
use crate::translate::FuncTranslator;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32X4, I8X16, I16X8, I32, I32X4, I64X2};
use cranelift_codegen::ir::{Endianness, InstBuilder, InstructionData, MemFlagsData, Opcode, Type, Value};
use wasmparser::MemArg;

/// Direction of a rounding to an integer.
#[derive(Copy, Clone)]
pub(super) enum Rounding {
    Up,
    Down,
    Zero,
    Nearest,
}

impl FuncTranslator<'_, '_> {
    /// The value that a cast was made of, else the value itself. Only casts between vectors leave vectors.
    pub(super) fn uncast(&self, v: Value) -> Value {
        let dfg = &self.builder.func.dfg;
        let v = dfg.resolve_aliases(v);
        match dfg.value_def(v).inst().map(|inst| &dfg.insts[inst]) {
            Some(InstructionData::LoadNoOffset { opcode: Opcode::Bitcast, arg, .. }) if dfg.value_type(*arg).is_vector() => *arg,
            _ => v,
        }
    }

    /// A vector, seen as lanes of a type.
    pub(super) fn cast(&mut self, v: Value, ty: Type) -> Value {
        if self.type_of(v) == ty {
            return v;
        }
        let source = self.uncast(v);
        if self.type_of(source) == ty {
            return source;
        }
        if let Some(loaded) = self.load_as(source, ty) {
            return loaded;
        }
        self.builder.ins().bitcast(ty, MemFlagsData::new().with_endianness(Endianness::Little), source)
    }

    /// If a value was loaded, lets the load give lanes of `ty`, and a cast after it the value that it gave before. As
    /// many instructions as a cast of the value would make, but the load can become an operand of the operation.
    fn load_as(&mut self, v: Value, ty: Type) -> Option<Value> {
        let dfg = &mut self.builder.func.dfg;
        let inst = dfg.value_def(v).inst()?;
        // A load that has other lanes already keeps those of its first use.
        if dfg.value_type(v) != I8X16 || !matches!(dfg.insts[inst], InstructionData::Load { opcode: Opcode::Load, .. }) {
            return None;
        }
        dfg.detach_inst_results(inst);
        dfg.make_inst_results(inst, ty);
        let loaded = dfg.first_result(inst);
        let mut cursor = FuncCursor::new(self.builder.func).after_inst(inst);
        cursor.ins().with_result(v).bitcast(I8X16, MemFlagsData::new().with_endianness(Endianness::Little), loaded);
        Some(loaded)
    }

    pub(super) fn pop_lanes(&mut self, ty: Type) -> Value {
        let v = self.pop();
        self.cast(v, ty)
    }

    pub(super) fn pop2_lanes(&mut self, ty: Type) -> (Value, Value) {
        let (a, b) = self.pop2();
        (self.cast(a, ty), self.cast(b, ty))
    }

    /// Pushes a vector of any lanes.
    pub(super) fn push_lanes(&mut self, v: Value) {
        let v = self.cast(v, I8X16);
        self.push(v);
    }

    /// A vector constant of a type.
    pub(super) fn lanes_const(&mut self, ty: Type, bytes: [u8; 16]) -> Value {
        let constant = self.builder.func.dfg.constants.insert(bytes.as_slice().into());
        self.builder.ins().vconst(ty, constant)
    }

    pub(super) fn load_scalar(&mut self, ty: Type, memarg: &MemArg) -> Value {
        let (flags, address, offset) = self.memory_operand(memarg, ty.bytes());
        self.builder.ins().load(ty, flags, address, offset)
    }

    pub(super) fn store_scalar(&mut self, v: Value, memarg: &MemArg) {
        let bytes = self.type_of(v).bytes();
        let (flags, address, offset) = self.memory_operand(memarg, bytes);
        self.whole_or_nothing(flags, address, offset, bytes);
        self.builder.ins().store(flags, v, address, offset);
    }

    /// A load of eight bytes, whose lanes of the type `from` become twice as wide.
    pub(super) fn load_extended(&mut self, from: Type, sign: Sign, memarg: &MemArg) {
        let (flags, p, offset) = self.memory_operand(memarg, 8);
        let ins = self.builder.ins();
        let r = match (from, sign) {
            (I8X16, Sign::Signed) => ins.sload8x8(flags, p, offset),
            (I8X16, Sign::Unsigned) => ins.uload8x8(flags, p, offset),
            (I16X8, Sign::Signed) => ins.sload16x4(flags, p, offset),
            (I16X8, Sign::Unsigned) => ins.uload16x4(flags, p, offset),
            (_, Sign::Signed) => ins.sload32x2(flags, p, offset),
            (_, Sign::Unsigned) => ins.uload32x2(flags, p, offset),
        };
        self.push_lanes(r);
    }

    pub(super) fn load_splat(&mut self, ty: Type, memarg: &MemArg) {
        let v = self.load_scalar(ty.lane_type(), memarg);
        let r = self.builder.ins().splat(ty, v);
        self.push_lanes(r);
    }

    pub(super) fn load_zero(&mut self, ty: Type, memarg: &MemArg) {
        let v = self.load_scalar(ty.lane_type(), memarg);
        let r = self.builder.ins().scalar_to_vector(ty, v);
        self.push_lanes(r);
    }

    pub(super) fn load_lane(&mut self, ty: Type, memarg: &MemArg, lane: u8) {
        let a = self.pop_lanes(ty);
        let v = self.load_scalar(ty.lane_type(), memarg);
        let r = self.builder.ins().insertlane(a, v, lane);
        self.push_lanes(r);
    }

    pub(super) fn store_lane(&mut self, ty: Type, memarg: &MemArg, lane: u8) {
        let a = self.pop_lanes(ty);
        let v = self.builder.ins().extractlane(a, lane);
        self.store_scalar(v, memarg);
    }

    pub(super) fn extract(&mut self, ty: Type, lane: u8) {
        let a = self.pop_lanes(ty);
        let r = self.builder.ins().extractlane(a, lane);
        self.push(r);
    }

    /// Extracts a lane that is narrower than the type of its value.
    pub(super) fn extract_narrow(&mut self, ty: Type, lane: u8, sign: Sign) {
        let a = self.pop_lanes(ty);
        let v = self.builder.ins().extractlane(a, lane);
        let r = match sign {
            Sign::Signed => self.builder.ins().sextend(I32, v),
            Sign::Unsigned => self.builder.ins().uextend(I32, v),
        };
        self.push(r);
    }

    /// Pops a scalar as a lane.
    fn pop_lane(&mut self, ty: Type) -> Value {
        let v = self.pop();
        let lane = ty.lane_type();
        if self.type_of(v) == lane { v } else { self.builder.ins().ireduce(lane, v) }
    }

    pub(super) fn replace(&mut self, ty: Type, lane: u8) {
        let v = self.pop_lane(ty);
        let a = self.pop_lanes(ty);
        let r = self.builder.ins().insertlane(a, v, lane);
        self.push_lanes(r);
    }

    pub(super) fn splat(&mut self, ty: Type) {
        let v = self.pop_lane(ty);
        let r = self.builder.ins().splat(ty, v);
        self.push_lanes(r);
    }

    pub(super) fn shuffle(&mut self, a: Value, b: Value, lanes: [u8; 16]) -> Value {
        if !self.env.has_ssse3 && !super::baseline::is_sse2_shuffle(lanes) {
            return self.shuffle_in_memory(a, b, lanes);
        }
        let mask = self.builder.func.dfg.immediates.push(lanes.as_slice().into());
        self.builder.ins().shuffle(a, b, mask)
    }

    pub(super) fn swizzle(&mut self, a: Value, indices: Value) -> Value {
        if !self.env.has_ssse3 {
            return self.swizzle_in_memory(a, indices);
        }
        if self.env.is_x86_64 {
            // `pshufb` takes the low four bits of an index, unless the top bit is set: then it gives 0. Indices of which
            // enough is known need no saturating addition to set it.
            if let Some(bytes) = self.constant_of(indices) {
                let indices = self.lanes_const(I8X16, bytes.map(|i| if i < 16 { i } else { 0x80 }));
                return self.builder.ins().x86_pshufb(a, indices);
            }
            if self.are_below_16(indices) {
                return self.builder.ins().x86_pshufb(a, indices);
            }
        }
        self.builder.ins().swizzle(a, indices)
    }

    /// The bytes of a vector constant.
    fn constant_of(&self, v: Value) -> Option<[u8; 16]> {
        let dfg = &self.builder.func.dfg;
        match dfg.insts[dfg.value_def(self.uncast(v)).inst()?] {
            InstructionData::UnaryConst { opcode: Opcode::Vconst, constant_handle } => {
                dfg.constants.get(constant_handle).as_slice().try_into().ok()
            }
            _ => None,
        }
    }

    /// Whether it is easy to see that all bytes of a vector are below 16: the usual ways to take half of a byte.
    fn are_below_16(&self, v: Value) -> bool {
        let dfg = &self.builder.func.dfg;
        let v = self.uncast(v);
        let Some(inst) = dfg.value_def(v).inst() else { return false };
        match dfg.insts[inst] {
            InstructionData::Binary { opcode: Opcode::Band, args } => {
                args.iter().any(|arg| self.constant_of(*arg).is_some_and(|bytes| bytes.iter().all(|b| *b < 16)))
            }
            InstructionData::Binary { opcode: Opcode::Ushr, args: [_, count] } if dfg.value_type(v) == I8X16 => {
                let count = dfg.value_def(dfg.resolve_aliases(count)).inst().map(|inst| dfg.insts[inst]);
                matches!(count, Some(InstructionData::UnaryImm { opcode: Opcode::Iconst, imm }) if imm.bits() & 7 >= 4)
            }
            _ => false,
        }
    }

    pub(super) fn compare(&mut self, ty: Type, cc: IntCC) {
        let (a, b) = self.pop2_lanes(ty);
        let r = self.builder.ins().icmp(cc, a, b);
        self.push_lanes(r);
    }

    pub(super) fn compare_floats(&mut self, ty: Type, cc: FloatCC) {
        let (a, b) = self.pop2_lanes(ty);
        let r = self.builder.ins().fcmp(cc, a, b);
        self.push_lanes(r);
    }

    /// Pushes a truth value of Cranelift's as `i32`.
    pub(super) fn push_truth(&mut self, v: Value) {
        let r = self.builder.ins().uextend(I32, v);
        self.push(r);
    }

    pub(super) fn all_true(&mut self, ty: Type) {
        let a = self.pop_lanes(ty);
        let r = self.builder.ins().vall_true(a);
        self.push_truth(r);
    }

    pub(super) fn bitmask(&mut self, ty: Type) {
        let a = self.pop_lanes(ty);
        let r = self.builder.ins().vhigh_bits(I32, a);
        self.push(r);
    }

    /// Half of the lanes, each twice as wide.
    pub(super) fn widen(&mut self, a: Value, half: Half, sign: Sign) -> Value {
        let ins = self.builder.ins();
        match (half, sign) {
            (Half::Low, Sign::Signed) => ins.swiden_low(a),
            (Half::High, Sign::Signed) => ins.swiden_high(a),
            (Half::Low, Sign::Unsigned) => ins.uwiden_low(a),
            (Half::High, Sign::Unsigned) => ins.uwiden_high(a),
        }
    }

    pub(super) fn extend(&mut self, from: Type, half: Half, sign: Sign) {
        let a = self.pop_lanes(from);
        let r = self.widen(a, half, sign);
        self.push_lanes(r);
    }

    pub(super) fn extended_multiply(&mut self, from: Type, half: Half, sign: Sign) {
        let (a, b) = self.pop2_lanes(from);
        let (a, b) = (self.widen(a, half, sign), self.widen(b, half, sign));
        let r = self.builder.ins().imul(a, b);
        self.push_lanes(r);
    }

    pub(super) fn extended_add_pairwise(&mut self, from: Type, sign: Sign) {
        let a = self.pop_lanes(from);
        let (low, high) = (self.widen(a, Half::Low, sign), self.widen(a, Half::High, sign));
        let r = self.builder.ins().iadd_pairwise(low, high);
        self.push_lanes(r);
    }

    /// Sums of two products each, in lanes of twice the width.
    pub(super) fn dot(&mut self, a: Value, b: Value) -> Value {
        let [low, high] = [Half::Low, Half::High].map(|half| {
            let (a, b) = (self.widen(a, half, Sign::Signed), self.widen(b, half, Sign::Signed));
            self.builder.ins().imul(a, b)
        });
        self.builder.ins().iadd_pairwise(low, high)
    }

    /// `b < a ? b : a`, in the form that x86-64 knows as `minps`.
    pub(super) fn pseudo_minimum(&mut self, ty: Type) {
        let (a, b) = self.pop2_lanes(ty);
        self.choose(ty, b, a, b, a);
    }

    /// `a < b ? b : a`.
    pub(super) fn pseudo_maximum(&mut self, ty: Type) {
        let (a, b) = self.pop2_lanes(ty);
        self.choose(ty, a, b, b, a);
    }

    /// Pushes `x < y ? a : b`.
    fn choose(&mut self, ty: Type, x: Value, y: Value, a: Value, b: Value) {
        let less = self.builder.ins().fcmp(FloatCC::LessThan, x, y);
        let mask = self.cast(less, ty);
        let r = self.builder.ins().bitselect(mask, a, b);
        self.push_lanes(r);
    }

    pub(super) fn round_lanes(&mut self, ty: Type, rounding: Rounding) {
        let a = self.pop_lanes(ty);
        let r = if self.env.has_rounding {
            let ins = self.builder.ins();
            match rounding {
                Rounding::Up => ins.ceil(a),
                Rounding::Down => ins.floor(a),
                Rounding::Zero => ins.trunc(a),
                Rounding::Nearest => ins.nearest(a),
            }
        } else {
            self.round_by_adding(a, rounding)
        };
        self.push_lanes(r);
    }

    /// `a * b + c`, or `c - a * b`, rounded once.
    pub(super) fn multiply_add(&mut self, ty: Type, negated: bool) {
        let c = self.pop_lanes(ty);
        let (a, b) = self.pop2_lanes(ty);
        let a = if negated { self.builder.ins().fneg(a) } else { a };
        let r = if self.env.has_fma {
            self.builder.ins().fma(a, b, c)
        } else if ty == F32X4 {
            self.multiply_add_f32(a, b, c)
        } else {
            self.multiply_add_f64(a, b, c)
        };
        self.push_lanes(r);
    }

    /// The integer lanes of the same width.
    pub(super) fn integer_lanes(&self, v: Value) -> Type {
        if self.type_of(v) == F32X4 { I32X4 } else { I64X2 }
    }
}
