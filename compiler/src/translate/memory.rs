//! Loads, stores and `memory.size`. A memory32 in its reservation needs no check: the index is zero-extended, the static
//! offset is the instruction's own, and whatever lies outside the memory faults. Every other memory goes through
//! `bounds`.

use super::FuncTranslator;
use super::region::Region;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::immediates::Offset32;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Type, Value, types};
use wasmc_environ::MemoryIndex;
use wasmc_environ::types::MemoryType;
use wasmc_environ::vmlayout::offsets;
use wasmc_environ::vmoffsets::{HIDDEN_IN_MEMORY, MemoryPlace};
use wasmparser::{MemArg, MemArgTarget};

/// Greatest offset to which a number that is added to the index is moved: what follows the first byte has offsets of 31 bits, too.
const MAX_FOLDED_OFFSET: u64 = 1 << 30;

/// How the bytes of an access become a value.
#[derive(Copy, Clone)]
pub(super) enum Width {
    /// All bytes of the type.
    Full,
    U8,
    S8,
    U16,
    S16,
    U32,
    S32,
}

impl Width {
    fn bytes(self, ty: Type) -> u32 {
        match self {
            Self::Full => ty.bytes(),
            Self::U8 | Self::S8 => 1,
            Self::U16 | Self::S16 => 2,
            Self::U32 | Self::S32 => 4,
        }
    }
}

impl FuncTranslator<'_, '_> {
    /// Pops an address and gives the operand of an access of `access_bytes` there: flags, address and offset. Where the
    /// memory needs it, the check for the whole access is emitted.
    pub(super) fn memory_operand(&mut self, memarg: &MemArg, access_bytes: u32) -> (MemFlagsData, Value, Offset32) {
        let index = self.pop();
        self.operand_at(memory_of(memarg), index, memarg.offset, access_bytes)
    }

    /// As [`Self::memory_operand`], of `access_bytes` bytes at `index` and an offset.
    pub(super) fn operand_at(
        &mut self,
        memory: MemoryIndex,
        index: Value,
        offset: u64,
        access_bytes: u32,
    ) -> (MemFlagsData, Value, Offset32) {
        let flags = self.memory_flags(memory);
        if !self.is_static(memory) {
            let index = self.index64(index);
            let (address, offset) = self.checked_address(memory, index, offset, access_bytes);
            return (flags, address, offset);
        }
        let (index, added) = self.scaled_index(index, MAX_FOLDED_OFFSET.saturating_sub(offset));
        let offset = offset + added;
        let base = self.memory_base(memory);
        let address = self.builder.ins().iadd(base, index);
        match i32::try_from(offset) {
            Ok(offset) => (flags, address, offset.into()),
            // Offsets of a memory32 are 32 bits wide, so the sum cannot wrap.
            Err(_) => (flags, self.builder.ins().iadd_imm_u(address, offset as i64), 0.into()),
        }
    }

    /// Before the first store of an access of `bytes` bytes: reads its last byte, where the processor may carry out a part of a store that
    /// faults. x86-64 never does. AArch64 may write what lies before the end of the memory of an unaligned store across it, and the
    /// specification wants nothing written. A load that can trap stays where it is, though nobody uses its result.
    pub(super) fn whole_or_nothing(&mut self, flags: MemFlagsData, address: Value, offset: Offset32, bytes: u32) {
        if self.env.is_x86_64 || bytes <= 1 {
            return;
        }
        let last = i64::from(bytes) - 1;
        let (address, offset) = match offset.try_add_i64(last) {
            Some(offset) => (address, offset),
            None => (self.builder.ins().iadd_imm_u(address, i64::from(offset) + last), 0.into()),
        };
        self.builder.ins().load(types::I8, flags, address, offset);
    }

    /// Whether accesses rely on the memory's reservation instead of checks.
    fn is_static(&self, memory: MemoryIndex) -> bool {
        self.env.tunables.static_memory && self.memory_type(memory).can_be_static()
    }

    pub(super) fn memory_type(&self, memory: MemoryIndex) -> &MemoryType {
        &self.env.module.memories[memory.index()]
    }

    /// An index or length as I64, which is zero-extended if it is narrower.
    pub(super) fn index64(&mut self, value: Value) -> Value {
        if self.type_of(value) == types::I64 { value } else { self.builder.ins().uextend(types::I64, value) }
    }

    /// The first byte of a memory. Loaded once, at the head of the function, from where the optimiser moves it to its
    /// uses: that is cheaper than to load it again at every access and have most of the loads merged.
    pub(super) fn memory_base(&mut self, memory: MemoryIndex) -> Value {
        if let Some((_, base)) = self.buffers.memory_bases.iter().find(|(m, _)| *m == memory) {
            return *base;
        }
        let flags = self.constant();
        let (entry, hidden, vmctx, env) = (self.entry(), self.hidden, self.vmctx, self.env);
        let context = self.builder.func.dfg.value_def(vmctx).inst();
        let cursor = FuncCursor::new(self.builder.func);
        let mut cursor = match context {
            Some(inst) => cursor.after_inst(inst),
            None => cursor.at_first_insertion_point(entry),
        };
        let base = match env.offsets.memory_place(env.module, memory) {
            _ if env.offsets.lies_behind(memory) => cursor.ins().iadd_imm_s(hidden, -i64::from(HIDDEN_IN_MEMORY)),
            MemoryPlace::Here(offset) => cursor.ins().load(types::I64, flags, vmctx, offset as i32 + offsets::MEMORY_BASE),
            MemoryPlace::Behind(offset) => {
                let definition = cursor.ins().load(types::I64, flags, vmctx, offset as i32);
                cursor.ins().load(types::I64, flags, definition, offsets::MEMORY_BASE)
            }
        };
        self.buffers.memory_bases.push((memory, base));
        base
    }

    /// The size of a memory in bytes, which is a constant if it cannot grow. Of a shared memory it can be an older, smaller
    /// size, unless something orders this thread after the growth.
    pub(super) fn memory_length(&mut self, memory: MemoryIndex) -> Value {
        let (base, offset) = match self.memory_length_at(memory) {
            Ok(constant) => return constant,
            Err(place) => place,
        };
        let flags = self.trusted(Region::Runtime);
        self.builder.ins().load(types::I64, flags, base, offset)
    }

    /// The size of a memory if it is a constant, else base and offset of where it stands.
    fn memory_length_at(&mut self, memory: MemoryIndex) -> Result<Value, (Value, i32)> {
        let ty = *self.memory_type(memory);
        if ty.limits.max == Some(ty.limits.min)
            && let Some(bytes) = ty.min_bytes()
        {
            return Ok(self.builder.ins().iconst(types::I64, bytes as i64));
        }
        Err(match self.env.offsets.memory_place(self.env.module, memory) {
            MemoryPlace::Here(offset) => (self.vmctx, offset as i32 + offsets::MEMORY_LENGTH),
            MemoryPlace::Behind(offset) => {
                let flags = self.constant();
                (self.builder.ins().load(types::I64, flags, self.vmctx, offset as i32), offsets::MEMORY_LENGTH)
            }
        })
    }

    pub(super) fn memory_size(&mut self, memory: u32) {
        let memory = MemoryIndex::from_u32(memory);
        let ty = *self.memory_type(memory);
        let flags = self.trusted(Region::Runtime);
        let bytes = match self.memory_length_at(memory) {
            Ok(constant) => constant,
            // Another thread may grow it at any time: each time the size is asked for, memory is read.
            Err((base, offset)) if ty.shared => {
                let address = self.builder.ins().iadd_imm_u(base, i64::from(offset));
                self.builder.ins().atomic_load(types::I64, flags, address)
            }
            Err((base, offset)) => self.builder.ins().load(types::I64, flags, base, offset),
        };
        let pages = self.builder.ins().ushr_imm_u(bytes, i64::from(ty.page_size_log2));
        let pages = self.narrow(pages, ty.memory64);
        self.push(pages);
    }

    /// An I64 as the type of sizes of a memory or table.
    pub(super) fn narrow(&mut self, value: Value, is_64: bool) -> Value {
        if is_64 { value } else { self.builder.ins().ireduce(types::I32, value) }
    }

    pub(super) fn load(&mut self, memarg: &MemArg, ty: Type, width: Width) {
        let (flags, address, offset) = self.memory_operand(memarg, width.bytes(ty));
        let ins = self.builder.ins();
        let value = match width {
            Width::Full => ins.load(ty, flags, address, offset),
            Width::U8 => ins.uload8(ty, flags, address, offset),
            Width::S8 => ins.sload8(ty, flags, address, offset),
            Width::U16 => ins.uload16(ty, flags, address, offset),
            Width::S16 => ins.sload16(ty, flags, address, offset),
            Width::U32 => ins.uload32(flags, address, offset),
            Width::S32 => ins.sload32(flags, address, offset),
        };
        self.push(value);
    }

    pub(super) fn store(&mut self, memarg: &MemArg, width: Width) {
        let value = self.pop();
        let bytes = width.bytes(self.type_of(value));
        let (flags, address, offset) = self.memory_operand(memarg, bytes);
        self.whole_or_nothing(flags, address, offset, bytes);
        let ins = self.builder.ins();
        match width {
            Width::Full => ins.store(flags, value, address, offset),
            Width::U8 | Width::S8 => ins.istore8(flags, value, address, offset),
            Width::U16 | Width::S16 => ins.istore16(flags, value, address, offset),
            Width::U32 | Width::S32 => ins.istore32(flags, value, address, offset),
        };
    }
}

/// The memory of an access.
pub(super) fn memory_of(memarg: &MemArg) -> MemoryIndex {
    match memarg.target {
        MemArgTarget::Memory(i) => MemoryIndex::from_u32(i),
        // Only with a proposal that `Features` cannot switch on, so validation has refused it.
        MemArgTarget::Array(_) => MemoryIndex::from_u32(0),
    }
}
