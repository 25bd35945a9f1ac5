//! Growing, copying, filling and initialising memories and tables. All of it is done by builtins, whose semantics the
//! interpreter shares; here the operands are only widened to what the builtins take.

use super::FuncTranslator;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use wasmc_environ::builtins::Builtin;
use wasmc_environ::{MemoryIndex, TableIndex};

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
        let (length, from, to) = (self.pop64(), self.pop64(), self.pop64());
        let (destination, source) = (self.number(destination), self.number(source));
        self.builtin(Builtin::memory_copy, &[destination, source, to, from, length]);
    }

    pub(super) fn memory_fill(&mut self, memory: u32) {
        let length = self.pop64();
        let value = self.pop();
        let to = self.pop64();
        let memory = self.number(memory);
        self.builtin(Builtin::memory_fill, &[memory, to, value, length]);
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
