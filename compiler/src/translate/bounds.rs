//! Explicit bounds checks of memory accesses: for memory64, for custom page sizes, and for every memory where the
//! address space is too small for reservations.
//!
//! A check is a comparison and a conditional move: an index outside is replaced by one that makes the access fall into the
//! guard before the memory, where it faults, under misspeculation too. The pages behind the memory are a guard as well, so
//! an access with a small offset that begins inside may be left to fault there. Then only the index is compared, and all
//! fields of an object share one check.

use super::{FuncTranslator, trap_code};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::immediates::Offset32;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use wasmc_environ::limits::MEMORY_GUARD;
use wasmc_environ::{MemoryIndex, TrapCode};

impl FuncTranslator<'_, '_> {
    /// Address and offset of an access of `bytes` bytes at `index + offset` (the index as I64): it faults unless all of
    /// it lies in the memory.
    pub(super) fn checked_address(&mut self, memory: MemoryIndex, index: Value, offset: u64, bytes: u32) -> (Value, Offset32) {
        let length = self.memory_length(memory);
        let ty = *self.memory_type(memory);
        let (extent, overflow) = offset.overflowing_add(u64::from(bytes));
        let base = self.memory_base(memory);
        let most = ty.limits.max.and_then(|max| max.checked_mul(1 << ty.page_size_log2));
        if overflow || most.is_some_and(|most| extent > most) {
            // The memory is never that large: always outside.
            let always = self.builder.ins().iconst(types::I8, 1);
            self.trap_if(always, TrapCode::MemoryOutOfBounds);
            return (base, 0.into());
        }
        // In this order, the conditional move reads the carry alone, which takes one micro-operation instead of two.
        let outside = if ty.page_size_log2 == PAGE_LOG2 && extent <= MEMORY_GUARD {
            self.builder.ins().icmp(IntCC::UnsignedLessThan, length, index)
        } else if ty.min_bytes().is_some_and(|least| extent < least) {
            // A memory never shrinks, so the difference does not wrap. Nor is it a constant 0, with which the comparison would become
            // something else, depending on the index, and could not be proved any more.
            let extent = self.builder.ins().iconst(types::I64, extent as i64);
            let limit = self.builder.ins().isub(length, extent);
            self.builder.ins().icmp(IntCC::UnsignedLessThan, limit, index)
        } else {
            let extent = self.builder.ins().iconst(types::I64, extent as i64);
            let end = match ty.memory64 {
                true => self.builder.ins().uadd_overflow_trap(index, extent, trap_code(TrapCode::MemoryOutOfBounds)),
                // A 32-bit index plus a 32-bit offset cannot wrap.
                false => self.builder.ins().iadd(index, extent),
            };
            self.builder.ins().icmp(IntCC::UnsignedLessThan, length, end)
        };
        let own = offset <= MAX_OWN_OFFSET;
        let poison = match own {
            true => 0u64.wrapping_sub(MEMORY_GUARD),
            false => 0u64.wrapping_sub(MEMORY_GUARD).wrapping_sub(offset),
        };
        let poison = self.builder.ins().iconst(types::I64, poison as i64);
        let index = self.builder.ins().select_spectre_guard(outside, poison, index);
        let address = self.builder.ins().iadd(base, index);
        if own {
            return (address, (offset as i32).into());
        }
        (self.builder.ins().iadd_imm_u(address, offset as i64), 0.into())
    }
}

/// Pages of this size are whole pages of the host, so that what follows a memory is inaccessible to the byte.
const PAGE_LOG2: u8 = 16;
/// Greatest offset with which an access from the start of the guard ends in it.
const MAX_OWN_OFFSET: u64 = MEMORY_GUARD - 16;
