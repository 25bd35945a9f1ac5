//! What a function refers to by name or signature, declared in its CLIF once and found again by number.

use super::FuncTranslator;
use crate::symbols::Symbol;
use cranelift_codegen::ir::{ExtFuncData, ExternalName, FuncRef, GlobalValue, GlobalValueData, SigRef, Value, types};
use cranelift_codegen::ir::{InstBuilder, UserExternalName};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use wasmc_environ::builtins::Builtin;
use wasmc_environ::{FuncIndex, TableIndex, TypeIndex};

/// What is declared so far.
#[derive(Default)]
pub(super) struct Symbols {
    functions: IndexMap<FuncRef>,
    tables: IndexMap<GlobalValue>,
    signatures: IndexMap<SigRef>,
}

impl Symbols {
    pub(super) fn clear(&mut self) {
        self.functions.clear();
        self.tables.clear();
        self.signatures.clear();
    }
}

type IndexMap<T> = HashMap<u64, T, BuildHasherDefault<IndexHasher>>;

/// A hasher for small numbers. The keys are indices of the module, bounded by its size, so an attacker gains nothing
/// by collisions that a longer module would not give.
#[derive(Default)]
pub(super) struct IndexHasher(u64);

impl Hasher for IndexHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.write_u64(u64::from(*b));
        }
    }
    fn write_u64(&mut self, i: u64) {
        // The table takes its position from the low bits and its tag from the high ones.
        self.0 = (self.0 ^ i).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}

fn key(name: &UserExternalName) -> u64 {
    u64::from(name.namespace) << 32 | u64::from(name.index)
}

impl FuncTranslator<'_, '_> {
    fn function_symbol(&mut self, symbol: Symbol, signature: impl FnOnce(&mut Self) -> SigRef) -> FuncRef {
        let name = symbol.to_name();
        if let Some(f) = self.buffers.symbols.functions.get(&key(&name)) {
            return *f;
        }
        let signature = signature(self);
        let name_ref = self.builder.func.declare_imported_user_function(name.clone());
        let data = ExtFuncData { name: ExternalName::user(name_ref), signature, colocated: true, patchable: false };
        let f = self.builder.import_function(data);
        self.buffers.symbols.functions.insert(key(&name), f);
        f
    }

    /// A function that is defined in this module.
    pub(super) fn defined_function(&mut self, index: FuncIndex) -> FuncRef {
        let ty = self.env.module.functions[index.index()];
        self.function_symbol(Symbol::Function(index), |t| t.signature(ty))
    }

    /// The trampoline of a builtin.
    pub(super) fn builtin_function(&mut self, builtin: Builtin) -> FuncRef {
        self.function_symbol(Symbol::Builtin(builtin), |t| {
            let signature = t.env.builtin_signature(builtin);
            t.builder.import_signature(signature)
        })
    }

    /// The signature of a function type.
    pub(super) fn signature(&mut self, ty: TypeIndex) -> SigRef {
        let canonical = self.env.module.canonical[ty.index()];
        let key = u64::from(canonical.as_u32());
        if let Some(s) = self.buffers.symbols.signatures.get(&key) {
            return *s;
        }
        let signature = self.env.signature(self.env.module.func_type(canonical));
        let s = self.builder.import_signature(signature);
        self.buffers.symbols.signatures.insert(key, s);
        s
    }

    /// The address of a closed table.
    pub(super) fn closed_table_address(&mut self, index: TableIndex) -> Value {
        let name = Symbol::ClosedTable(index).to_name();
        let global = match self.buffers.symbols.tables.get(&key(&name)) {
            Some(g) => *g,
            None => {
                let name_ref = self.builder.func.declare_imported_user_function(name.clone());
                let data = GlobalValueData::Symbol { name: ExternalName::user(name_ref), offset: 0.into(), colocated: true, tls: false };
                let g = self.builder.create_global_value(data);
                self.buffers.symbols.tables.insert(key(&name), g);
                g
            }
        };
        self.builder.ins().symbol_value(types::I64, global)
    }
}
