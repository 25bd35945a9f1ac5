//! Which stubs a module gets, and the numbers of its signatures. Less than one set for every type: a stub that no
//! call can reach would cost compile time and text (`docs/abi.md`, "Stubs of a signature").

use crate::facts::Facts;
use crate::symbols::{StubKind, Symbol};
use crate::trampoline::has_exit_typed;
use std::collections::HashMap;
use wasmc_environ::module::ClosedTable;
use wasmc_environ::types::AbiSignature;
use wasmc_environ::{FuncIndex, Module};

/// The signatures with stubs, and all stubs and thunks in the order of the text.
#[derive(Debug, Default)]
pub struct StubPlan {
    /// By the number in `Symbol::Stub`.
    pub signatures: Vec<AbiSignature>,
    /// What to make.
    pub symbols: Vec<Symbol>,
}

/// What a signature is needed for.
#[derive(Copy, Clone, Default)]
struct Need {
    /// Wasm code of this module can call out with it.
    exit: bool,
    /// The runtime can call a function of this module with it.
    entry: bool,
}

impl StubPlan {
    /// The plan for a module whose closed tables are known; `interpreted` says which functions are left uncompiled.
    pub fn new(module: &Module, facts: &Facts, interpreted: &[bool]) -> Self {
        let mut plan = Self::default();
        let mut numbers: HashMap<AbiSignature, usize> = HashMap::new();
        let mut needs: Vec<Need> = Vec::new();
        let mut need = |signature: AbiSignature, exit: bool, entry: bool| {
            let number = *numbers.entry(signature).or_insert_with_key(|s| {
                plan.signatures.push(s.clone());
                needs.push(Need::default());
                needs.len() - 1
            });
            needs[number].exit |= exit;
            needs[number].entry |= entry;
        };
        for i in 0..module.num_imported_functions {
            need(module.type_of(FuncIndex::from_u32(i)).abi(), true, false);
        }
        for (table, ty) in &facts.indirect {
            // The elements of a closed table are this module's own functions and thunks of its imports. A malformed body
            // may name what does not exist; validation will say so.
            if module.closed_table(*table).is_none() && module.types.get(ty.index()).is_some() {
                need(module.func_type(*ty).abi(), true, false);
            }
        }
        for ty in facts.references.iter().filter(|t| module.types.get(t.index()).is_some()) {
            need(module.func_type(*ty).abi(), true, false);
        }
        // The interpreter calls compiled functions of its own module directly, whichever they are.
        if interpreted.contains(&true) {
            for i in 0..module.functions.len() as u32 {
                need(module.type_of(FuncIndex::from_u32(i)).abi(), false, true);
            }
        }
        for f in module.escaping.iter().chain(&module.start) {
            need(module.type_of(*f).abi(), false, true);
        }
        let thunks: std::collections::BTreeSet<FuncIndex> = module
            .closed_tables
            .iter()
            .flatten()
            .flat_map(|t: &ClosedTable| t.elements.iter().flatten().copied())
            .filter(|f| module.defined_func(*f).is_none())
            .collect();
        plan.symbols.extend(thunks.into_iter().map(Symbol::ImportThunk));
        for (number, need) in needs.iter().enumerate() {
            let stub = |kind| Symbol::Stub(number as u32, kind);
            if need.exit {
                plan.symbols.push(stub(StubKind::ExitArray));
                if has_exit_typed(&plan.signatures[number]) {
                    plan.symbols.push(stub(StubKind::ExitTyped));
                }
            }
            if need.entry {
                plan.symbols.push(stub(StubKind::Entry));
            }
            // A tail call can be left to any stub through which an interpreted function was entered.
            plan.symbols.push(stub(StubKind::TailEntry));
        }
        plan
    }
}
