//! The records of an artifact's sections, gathered from the compiled functions: the same for both outputs. Functions
//! are in the order of the text, so that everything is sorted by code offset without sorting.

use crate::function::{CompiledFunction, NO_WASM_OFFSET};
use crate::symbols::Symbol;
use crate::text::Placement;
use std::collections::HashMap;
use wasmc_environ::artifact::{
    AddressRecord, FUNC_COMPILED, FuncRecord, HandlerRecord, InlineRange, InlineSite, NO_SITE, SectionKind, StackMapRecord, TrapRecord,
};
use wasmc_environ::{DefinedFuncIndex, FuncIndex, Module};
use zerocopy::IntoBytes;

/// The sections that describe the code.
#[derive(Debug, Default)]
pub struct Records {
    functions: Vec<FuncRecord>,
    traps: Vec<TrapRecord>,
    addresses: Vec<AddressRecord>,
    sites: Vec<InlineSite>,
    inlined: Vec<InlineRange>,
    handlers: Vec<HandlerRecord>,
    stack_maps: Vec<StackMapRecord>,
    slots: Vec<u32>,
    names: Vec<u8>,
}

impl Records {
    /// The records of linked items. `interpreted` is by `DefinedFuncIndex`.
    pub fn new(
        module: &Module,
        items: &[(Symbol, CompiledFunction)],
        placements: &[Placement],
        interpreted: &[bool],
        names: &HashMap<FuncIndex, String>,
    ) -> Self {
        let (mut r, addresses) =
            crate::pool::join(|| Self::without_addresses(module, items, placements, interpreted, names), || addresses(items, placements));
        r.addresses = addresses;
        r
    }

    fn without_addresses(
        module: &Module,
        items: &[(Symbol, CompiledFunction)],
        placements: &[Placement],
        interpreted: &[bool],
        names: &HashMap<FuncIndex, String>,
    ) -> Self {
        let mut r = Self::default();
        r.traps.reserve(items.iter().map(|(_, f)| f.traps.len()).sum());
        r.functions.reserve(interpreted.len());
        for ((symbol, f), place) in items.iter().zip(placements) {
            let base = place.offset;
            r.traps.extend(f.traps.iter().map(|t| TrapRecord { code_offset: base + t.code_offset, ..*t }));
            let first = r.sites.len() as u32;
            let number = |site: u32| if site == NO_SITE { NO_SITE } else { first + site };
            r.sites.extend(f.sites.iter().map(|s| InlineSite { parent: number(s.parent), ..*s }));
            r.inlined.extend(f.inlined.iter().map(|i| InlineRange { code_offset: base + i.code_offset, site: number(i.site) }));
            r.handlers.extend(f.handlers.iter().map(|h| HandlerRecord {
                return_offset: base + h.return_offset,
                handler_offset: base + h.handler_offset,
                frame_size: h.frame_size,
            }));
            let first = r.slots.len() as u32;
            r.stack_maps.extend(f.stack_maps.iter().map(|m| StackMapRecord {
                return_offset: base + m.return_offset,
                first_slot: first + m.first_slot,
                ..*m
            }));
            r.slots.extend(&f.slots);
            if let Symbol::Function(index) = symbol
                && let Some(defined) = module.defined_func(*index)
            {
                r.function(module, defined, *place, interpreted[defined.index()], names.get(index));
            }
        }
        r
    }

    fn function(&mut self, module: &Module, index: DefinedFuncIndex, place: Placement, interpreted: bool, name: Option<&String>) {
        let name_offset = self.names.len() as u32;
        if let Some(n) = name {
            self.names.extend_from_slice(n.as_bytes());
        }
        self.functions.push(FuncRecord {
            code_offset: place.offset,
            code_size: place.size,
            wasm_offset: module.bodies[index.index()].start as u32,
            name_offset,
            name_size: self.names.len() as u32 - name_offset,
            flags: if interpreted { 0 } else { FUNC_COMPILED },
        });
    }

    /// The sections in the order of the file: those that are read at load first, those for errors last.
    pub fn sections(&self) -> [(SectionKind, &[u8]); 9] {
        [
            (SectionKind::Functions, self.functions.as_bytes()),
            (SectionKind::Handlers, self.handlers.as_bytes()),
            (SectionKind::StackMaps, self.stack_maps.as_bytes()),
            (SectionKind::StackMapSlots, self.slots.as_bytes()),
            (SectionKind::Names, &self.names),
            (SectionKind::Traps, self.traps.as_bytes()),
            (SectionKind::Addresses, self.addresses.as_bytes()),
            (SectionKind::InlineSites, self.sites.as_bytes()),
            (SectionKind::InlineRanges, self.inlined.as_bytes()),
        ]
    }
}

/// The section `Addresses`, which is as large as all others together.
fn addresses(items: &[(Symbol, CompiledFunction)], placements: &[Placement]) -> Vec<AddressRecord> {
    let mut all: Vec<AddressRecord> = Vec::with_capacity(items.iter().map(|(_, f)| f.addresses.len()).sum());
    for ((_, f), place) in items.iter().zip(placements) {
        for a in &f.addresses {
            // What follows code without an instruction is the same, across the functions' borders too.
            if a.wasm_offset != NO_WASM_OFFSET || all.last().is_none_or(|l| l.wasm_offset != NO_WASM_OFFSET) {
                all.push(AddressRecord { code_offset: place.offset + a.code_offset, ..*a });
            }
        }
    }
    all
}
