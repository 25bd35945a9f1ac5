//! Explicit bounds checks of memory accesses: for memory64, for custom page sizes, and for every memory where the
//! address space is too small for reservations. The check covers the whole access, so a partly outside store writes
//! nothing; under misspeculation the address becomes 0.

use super::FuncTranslator;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use wasmc_environ::{MemoryIndex, TrapCode};

impl FuncTranslator<'_, '_> {
    /// The address of byte `index + offset` of a memory, after a check that `bytes` bytes from there lie inside.
    pub(super) fn checked_address(&mut self, memory: MemoryIndex, index: Value, offset: u64, bytes: u32) -> Value {
        let is_64 = self.memory_type(memory).memory64;
        let length = self.memory_length(memory);
        let end = match offset.checked_add(u64::from(bytes)) {
            // A 32-bit index plus a 32-bit offset cannot wrap.
            Some(extent) if !is_64 => self.builder.ins().iadd_imm_u(index, extent as i64),
            Some(extent) => {
                let extent = self.builder.ins().iconst(types::I64, extent as i64);
                self.builder.ins().uadd_overflow_trap(index, extent, super::trap_code(TrapCode::MemoryOutOfBounds))
            }
            // No memory is that large: always outside.
            None => self.builder.ins().iconst(types::I64, -1),
        };
        let outside = self.builder.ins().icmp(IntCC::UnsignedGreaterThan, end, length);
        self.trap_if(outside, TrapCode::MemoryOutOfBounds);
        let base = self.memory_base(memory);
        let mut address = self.builder.ins().iadd(base, index);
        if offset != 0 {
            address = self.builder.ins().iadd_imm_u(address, offset as i64);
        }
        let zero = self.builder.ins().iconst(types::I64, 0);
        self.builder.ins().select_spectre_guard(outside, zero, address)
    }
}
