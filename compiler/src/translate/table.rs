//! Access to the elements of tables, and their size. A closed table's contents are in the artifact and its
//! `VMTableDefinition` is empty, so nothing here reads one: its size is a constant.

use super::FuncTranslator;
use super::region::Region;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value, types};
use wasmc_environ::types::{AbiType, TableType, ValType};
use wasmc_environ::vmlayout::offsets;
use wasmc_environ::{TableIndex, TrapCode};

const ELEMENT_SIZE_LOG2: i64 = 3;

impl FuncTranslator<'_, '_> {
    fn table_type(&self, table: TableIndex) -> TableType {
        self.env.module.tables[table.index()]
    }

    /// The size of a table that cannot grow.
    fn fixed_size(&self, table: TableIndex) -> Option<u64> {
        let limits = self.table_type(table).limits;
        (limits.max == Some(limits.min) || self.env.module.closed_table(table).is_some()).then_some(limits.min)
    }

    /// Where the `VMTableDefinition` is: a base and an offset.
    fn table_definition(&mut self, table: TableIndex) -> (Value, i32) {
        match self.env.module.defined_table(table) {
            Some(defined) => (self.vmctx, self.env.offsets.table(defined) as i32),
            None => {
                let flags = self.constant();
                let offset = self.env.offsets.imported_table(table) as i32;
                (self.builder.ins().load(types::I64, flags, self.vmctx, offset), 0)
            }
        }
    }

    /// The number of elements, as I64.
    fn table_elements(&mut self, table: TableIndex) -> Value {
        if let Some(size) = self.fixed_size(table) {
            return self.builder.ins().iconst(types::I64, size as i64);
        }
        let (definition, offset) = self.table_definition(table);
        let flags = self.trusted(Region::Runtime);
        self.builder.ins().load(types::I64, flags, definition, offset + offsets::TABLE_ELEMENTS)
    }

    /// Pops an index and gives the address of the element, after a check that it is inside.
    pub(super) fn element_address(&mut self, table: TableIndex, code: TrapCode) -> Value {
        let index = self.pop();
        let index = self.index64(index);
        let size = self.table_elements(table);
        let outside = self.builder.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, index, size);
        self.trap_if(outside, code);
        let (definition, offset) = self.table_definition(table);
        let flags = if self.fixed_size(table).is_some() { self.constant() } else { self.trusted(Region::Runtime) };
        let base = self.builder.ins().load(types::I64, flags, definition, offset + offsets::TABLE_BASE);
        let distance = self.builder.ins().ishl_imm_u(index, ELEMENT_SIZE_LOG2);
        let address = self.builder.ins().iadd(base, distance);
        if self.env.tunables.spectre_tables { self.builder.ins().select_spectre_guard(outside, base, address) } else { address }
    }

    fn element_access(&mut self, table: u32) -> (MemFlagsData, Value, AbiType) {
        let table = TableIndex::from_u32(table);
        let ty = ValType::Ref(self.table_type(table).element).abi();
        let address = self.element_address(table, TrapCode::TableOutOfBounds);
        (self.trusted(Region::Tables), address, ty)
    }

    pub(super) fn table_get(&mut self, table: u32) {
        let (flags, address, ty) = self.element_access(table);
        let value = self.builder.ins().load(super::clif_type(ty), flags, address, 0);
        self.push_typed(value, ty);
    }

    pub(super) fn table_set(&mut self, table: u32) {
        let value = self.pop();
        // The upper half of an element that holds a heap reference is always 0, so the lower half is enough.
        let (flags, address, _) = self.element_access(table);
        self.builder.ins().store(flags, value, address, 0);
    }

    pub(super) fn table_size(&mut self, table: u32) {
        let table = TableIndex::from_u32(table);
        let is_64 = self.table_type(table).table64;
        let size = self.table_elements(table);
        let size = self.narrow(size, is_64);
        self.push(size);
    }
}
