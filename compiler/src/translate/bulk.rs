//! Growing, copying, filling and initialising memories and tables. All of it is done by builtins, whose semantics the
//! interpreter shares; here the operands are only widened to what the builtins take. Copies and fills of 32-bit memories are
//! what C's `memcpy` and `memset` become: those of a few bytes, known in number, are loads and stores in place, and others
//! are checked in place and done by a routine that needs no checks.

use super::FuncTranslator;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::immediates::Offset32;
use cranelift_codegen::ir::{InstBuilder, InstructionData, Opcode, Type, Value, ValueDef, types};
use smallvec::SmallVec;
use wasmc_environ::builtins::Builtin;
use wasmc_environ::limits::UNINTERRUPTED_BYTES;
use wasmc_environ::{MemoryIndex, TableIndex};

/// The most bytes that are copied or filled in place.
const IN_PLACE: u64 = 64;

/// Pieces that cover `length` bytes: type and offset, rising. They may overlap.
type Pieces = SmallVec<[(Type, i32); 4]>;

fn pieces(length: u64) -> Pieces {
    let length = length as i32;
    let with = |ty: Type| {
        let size = ty.bytes() as i32;
        (0..length / size).map(|i| (ty, i * size)).chain((length % size != 0).then_some((ty, length - size))).collect()
    };
    match length {
        16.. => with(types::I8X16),
        8.. => with(types::I64),
        4.. => with(types::I32),
        3 => [(types::I16, 0), (types::I8, 2)].into_iter().collect(),
        2 => with(types::I16),
        _ => with(types::I8),
    }
}

impl FuncTranslator<'_, '_> {
    fn number(&mut self, n: u32) -> Value {
        self.builder.ins().iconst(types::I32, i64::from(n))
    }

    fn pop64(&mut self) -> Value {
        let value = self.pop();
        self.index64(value)
    }

    pub(super) fn memory_grow(&mut self, memory: u32) {
        let is_64 = self.memory_type(MemoryIndex::from_u32(memory)).memory64;
        let pages = self.pop64();
        let number = self.number(memory);
        if let Some(old) = self.builtin(Builtin::memory_grow, &[number, pages]) {
            let old = self.narrow(old, is_64);
            self.push(old);
        }
    }

    pub(super) fn memory_copy(&mut self, destination: u32, source: u32) {
        let (to_memory, from_memory) = (MemoryIndex::from_u32(destination), MemoryIndex::from_u32(source));
        let (length, from, to) = (self.pop(), self.pop(), self.pop());
        match self.few_bytes(length) {
            Some(bytes) => self.copy_in_place(to_memory, from_memory, to, from, bytes),
            None => {
                let (length, from, to) = (self.index64(length), self.index64(from), self.index64(to));
                let number = |t: &mut Self| [t.number(destination), t.number(source)];
                if !self.has_narrow_addresses(to_memory) || !self.has_narrow_addresses(from_memory) {
                    let [destination, source] = number(self);
                    self.builtin(Builtin::memory_copy, &[destination, source, to, from, length]);
                    return;
                }
                let inside = if to_memory == from_memory {
                    let furthest = self.builder.ins().umax(to, from);
                    self.inside(to_memory, furthest, length)
                } else {
                    let (a, b) = (self.inside(to_memory, to, length), self.inside(from_memory, from, length));
                    self.builder.ins().band(a, b)
                };
                self.quickly_if(
                    inside,
                    |t| {
                        let (to_base, from_base) = (t.memory_base(to_memory), t.memory_base(from_memory));
                        let (to, from) = (t.builder.ins().iadd(to_base, to), t.builder.ins().iadd(from_base, from));
                        t.builtin(Builtin::move_bytes, &[to, from, length]);
                    },
                    |t| {
                        let [destination, source] = number(t);
                        t.builtin(Builtin::memory_copy, &[destination, source, to, from, length]);
                    },
                );
            }
        }
    }

    pub(super) fn memory_fill(&mut self, memory: u32) {
        let number = memory;
        let memory = MemoryIndex::from_u32(memory);
        let (length, value, to) = (self.pop(), self.pop(), self.pop());
        match self.few_bytes(length) {
            Some(bytes) => self.fill_in_place(memory, to, value, bytes),
            None => {
                let (length, to) = (self.index64(length), self.index64(to));
                if !self.has_narrow_addresses(memory) {
                    let number = self.number(number);
                    self.builtin(Builtin::memory_fill, &[number, to, value, length]);
                    return;
                }
                let inside = self.inside(memory, to, length);
                self.quickly_if(
                    inside,
                    |t| {
                        let base = t.memory_base(memory);
                        let to = t.builder.ins().iadd(base, to);
                        t.builtin(Builtin::fill_bytes, &[to, value, length]);
                    },
                    |t| {
                        let number = t.number(number);
                        t.builtin(Builtin::memory_fill, &[number, to, value, length]);
                    },
                );
            }
        }
    }

    /// A length that is known and small enough for instructions in place. Not 0, for which only the bounds are checked.
    fn few_bytes(&self, length: Value) -> Option<u64> {
        let dfg = &self.builder.func.dfg;
        let ValueDef::Result(inst, _) = dfg.value_def(dfg.resolve_aliases(length)) else { return None };
        match dfg.insts[inst] {
            InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => u64::try_from(imm.bits()).ok(),
            _ => None,
        }
        .filter(|bytes| (1..=IN_PLACE).contains(bytes))
    }

    /// Whether sums of an address and a length of the memory fit into 64 bits, and no other thread grows it.
    fn has_narrow_addresses(&self, memory: MemoryIndex) -> bool {
        let ty = self.memory_type(memory);
        !ty.memory64 && !ty.shared
    }

    /// Whether `length` bytes at `index` are memory, and few enough not to be interrupted.
    fn inside(&mut self, memory: MemoryIndex, index: Value, length: Value) -> Value {
        let end = self.builder.ins().iadd(index, length);
        let size = self.memory_length(memory);
        let inside = self.builder.ins().icmp(IntCC::UnsignedLessThanOrEqual, end, size);
        let quick = self.builder.ins().icmp_imm_u(IntCC::UnsignedLessThanOrEqual, length, UNINTERRUPTED_BYTES as i64);
        self.builder.ins().band(inside, quick)
    }

    fn quickly_if(&mut self, condition: Value, quick: impl FnOnce(&mut Self), slow: impl FnOnce(&mut Self)) {
        let (then, otherwise, end) = (self.builder.create_block(), self.builder.create_block(), self.builder.create_block());
        self.builder.set_cold_block(otherwise);
        self.builder.ins().brif(condition, then, &[], otherwise, &[]);
        self.continue_in(otherwise);
        slow(self);
        self.builder.ins().jump(end, &[]);
        self.continue_in(then);
        quick(self);
        self.builder.ins().jump(end, &[]);
        self.continue_in(end);
    }

    /// Everything is read before anything is written, since the ranges may overlap; and written from the end, so that a range
    /// which ends outside the memory faults before anything was changed.
    fn copy_in_place(&mut self, to_memory: MemoryIndex, from_memory: MemoryIndex, to: Value, from: Value, bytes: u64) {
        let (from_flags, from, from_offset) = self.operand_at(from_memory, from, 0, bytes as u32);
        let (to_flags, to, to_offset) = self.operand_at(to_memory, to, 0, bytes as u32);
        let pieces = pieces(bytes);
        let values: SmallVec<[Value; 4]> =
            pieces.iter().map(|(ty, offset)| self.builder.ins().load(*ty, from_flags, from, behind(from_offset, *offset))).collect();
        self.whole_or_nothing(to_flags, to, to_offset, bytes as u32);
        for ((_, offset), value) in pieces.iter().zip(values).rev() {
            self.builder.ins().store(to_flags, value, to, behind(to_offset, *offset));
        }
    }

    /// Written from the end, as above.
    fn fill_in_place(&mut self, memory: MemoryIndex, to: Value, value: Value, bytes: u64) {
        let (flags, to, to_offset) = self.operand_at(memory, to, 0, bytes as u32);
        let pieces = pieces(bytes);
        let byte = self.builder.ins().ireduce(types::I8, value);
        let whole = match pieces.first() {
            Some((types::I8X16, _)) => self.builder.ins().splat(types::I8X16, byte),
            _ => {
                let byte = self.builder.ins().uextend(types::I64, byte);
                self.builder.ins().imul_imm_u(byte, 0x0101_0101_0101_0101)
            }
        };
        self.whole_or_nothing(flags, to, to_offset, bytes as u32);
        for (ty, offset) in pieces.iter().rev() {
            let value = match *ty {
                types::I8X16 | types::I64 => whole,
                narrow => self.builder.ins().ireduce(narrow, whole),
            };
            self.builder.ins().store(flags, value, to, behind(to_offset, *offset));
        }
    }

    pub(super) fn memory_init(&mut self, memory: u32, segment: u32) {
        let (from, length) = self.pop2();
        let to = self.pop64();
        let (memory, segment) = (self.number(memory), self.number(segment));
        self.builtin(Builtin::memory_init, &[memory, segment, to, from, length]);
    }

    pub(super) fn data_drop(&mut self, segment: u32) {
        let segment = self.number(segment);
        self.builtin(Builtin::data_drop, &[segment]);
    }

    pub(super) fn table_grow(&mut self, table: u32) {
        let is_64 = self.env.module.tables[TableIndex::from_u32(table).index()].table64;
        let (delta, value) = (self.pop64(), self.pop64());
        // The operands are: initial value below, number of elements on top.
        let number = self.number(table);
        if let Some(old) = self.builtin(Builtin::table_grow, &[number, delta, value]) {
            let old = self.narrow(old, is_64);
            self.push(old);
        }
    }

    pub(super) fn table_fill(&mut self, table: u32) {
        let (length, value, to) = (self.pop64(), self.pop64(), self.pop64());
        let table = self.number(table);
        self.builtin(Builtin::table_fill, &[table, to, value, length]);
    }

    pub(super) fn table_copy(&mut self, destination: u32, source: u32) {
        let (length, from, to) = (self.pop64(), self.pop64(), self.pop64());
        let (destination, source) = (self.number(destination), self.number(source));
        self.builtin(Builtin::table_copy, &[destination, source, to, from, length]);
    }

    pub(super) fn table_init(&mut self, table: u32, segment: u32) {
        let (from, length) = self.pop2();
        let to = self.pop64();
        let (table, segment) = (self.number(table), self.number(segment));
        self.builtin(Builtin::table_init, &[table, segment, to, from, length]);
    }

    pub(super) fn elem_drop(&mut self, segment: u32) {
        let segment = self.number(segment);
        self.builtin(Builtin::elem_drop, &[segment]);
    }
}

fn behind(offset: Offset32, further: i32) -> Offset32 {
    // The operand of an access of all the bytes: its offset leaves room for them.
    offset.try_add_i64(further.into()).unwrap_or(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_exactly_what_is_copied() {
        for length in 1..=IN_PLACE {
            let mut covered = vec![false; length as usize];
            for (ty, offset) in pieces(length) {
                covered[offset as usize..][..ty.bytes() as usize].fill(true);
            }
            assert!(covered.iter().all(|c| *c), "{length}");
            assert!(pieces(length).is_sorted_by_key(|(_, offset)| *offset));
            // The last piece ends where the range does, and is written first.
            assert_eq!(pieces(length).last().map(|(ty, offset)| u64::from(ty.bytes()) + *offset as u64), Some(length));
        }
    }
}
