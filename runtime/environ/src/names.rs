//! Names of the custom section `name`, for backtraces, symbols and `--interpret NAME`. A broken name section is
//! ignored, as the specification asks: it never makes a module invalid.

use crate::index::FuncIndex;
use crate::module::{EntityIndex, Module};
use std::collections::HashMap;
use wasmparser::{BinaryReader, Name, NameSectionReader};

/// The module's name in the payload of a name section.
pub(crate) fn module_name(section: &[u8]) -> Option<String> {
    NameSectionReader::new(BinaryReader::new(section, 0)).map_while(Result::ok).find_map(|n| match n {
        Name::Module { name, .. } => Some(name.to_owned()),
        _ => None,
    })
}

/// Names of functions: from the name section, else from exports, else from imports (`module.name`).
pub fn function_names(module: &Module, wasm: &[u8]) -> HashMap<FuncIndex, String> {
    let mut names = HashMap::new();
    let mut imports = (0..).map(FuncIndex::from_u32);
    for i in &module.imports {
        if let crate::types::EntityType::Func(_) = i.ty
            && let Some(index) = imports.next()
        {
            names.insert(index, format!("{}.{}", i.module, i.name));
        }
    }
    for e in &module.exports {
        if let EntityIndex::Func(index) = e.index
            && module.defined_func(index).is_some()
        {
            names.entry(index).or_insert_with(|| e.name.clone());
        }
    }
    let Some(section) = module.name_section.as_ref().and_then(|r| wasm.get(r.start as usize..r.end as usize)) else { return names };
    for subsection in NameSectionReader::new(BinaryReader::new(section, 0)).map_while(Result::ok) {
        let Name::Function(map) = subsection else { continue };
        for naming in map.into_iter().map_while(Result::ok) {
            if (naming.index as usize) < module.functions.len() {
                names.insert(FuncIndex::from_u32(naming.index), naming.name.to_owned());
            }
        }
    }
    names
}
