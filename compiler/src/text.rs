//! The layout of the code: all functions and stubs in one text, with the closed tables right before it at a distance that
//! is fixed before anything is placed. Calls go through the ISA's text-section builder, which makes veneers where a
//! branch does not reach; everything else is patched here. Nothing is left for a loader to relocate.

use crate::function::CompiledFunction;
use crate::symbols::{StubKind, Symbol};
use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::isa::TargetIsa;
use std::collections::HashMap;
use wasmc_environ::artifact::{CLOSED_NULL, ClosedTableEntry, StubSet};
use wasmc_environ::jit::CompileError;
use wasmc_environ::types::AbiSignature;
use wasmc_environ::{Module, TableIndex, limits};
use zerocopy::IntoBytes;

/// Alignment of a closed table, and of the distance between the tables and the text.
const TABLE_ALIGNMENT: u64 = 16;

/// Where an item lies in the text.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Offset of its first byte.
    pub offset: u32,
    /// Size of its code.
    pub size: u32,
}

/// Linked code.
pub struct Linked {
    /// The text. Its address must be a multiple of 4 KiB.
    pub text: Vec<u8>,
    /// The closed tables; their last byte is the one before the text.
    pub rodata: Vec<u8>,
    /// Where each closed table begins in `rodata`, by `TableIndex`; `u32::MAX` where there is none.
    pub closed_offsets: Vec<u32>,
    /// Where the items are, in their order.
    pub placements: Vec<Placement>,
}

/// Lays out the items and resolves all their references. The code is taken out of the items.
///
/// # Errors
/// If the text or the tables are too large, or a reference cannot be resolved.
pub fn link(module: &Module, items: &mut [(Symbol, CompiledFunction)], isa: &dyn TargetIsa) -> Result<Linked, CompileError> {
    let tables = place_tables(module)?;
    let size: u64 = items.iter().map(|(_, f)| f.code.len() as u64 + u64::from(f.alignment)).sum();
    // Veneers come on top, one for a call at most.
    let veneers: u64 = items.iter().map(|(_, f)| 32 * f.relocations.len() as u64).sum::<u64>() * u64::from(size > 100 << 20);
    if size + veneers + tables.size > limits::MAX_TEXT_BYTES {
        return Err(CompileError::Output(format!(
            "the module's code would take {size} bytes and its tables {}: the limit for both is {}",
            tables.size,
            limits::MAX_TEXT_BYTES
        )));
    }

    let labels: HashMap<Symbol, usize> = items.iter().enumerate().map(|(i, (s, _))| (*s, i)).collect();
    let mut control = ControlPlane::default();
    let mut builder = isa.text_section_builder(items.len());
    let mut placements = Vec::with_capacity(items.len());
    let mut later: Vec<Reference> = Vec::new();
    for (symbol, f) in items.iter_mut() {
        let code = std::mem::take(&mut f.code);
        let offset = builder.append(true, &code, f.alignment.max(1), &mut control);
        placements.push(Placement { offset: offset as u32, size: code.len() as u32 });
        for r in f.relocations.iter() {
            let at = offset + u64::from(r.offset);
            match r.symbol {
                Symbol::ClosedTable(t) => match tables.offset(t) {
                    Some(table) => {
                        let target = Target::Table(table as i64 - tables.size as i64);
                        later.push(Reference { at, kind: r.kind, target, addend: r.addend });
                    }
                    None => return Err(unresolved(*symbol, r.symbol)),
                },
                other => match labels.get(&other) {
                    Some(label) if builder.resolve_reloc(at, r.kind, r.addend, *label) => {}
                    Some(label) => later.push(Reference { at, kind: r.kind, target: Target::Item(*label), addend: r.addend }),
                    None => return Err(unresolved(*symbol, other)),
                },
            }
        }
    }
    let mut text = builder.finish(&mut control);
    for r in later {
        let target = match r.target {
            Target::Table(offset) => offset,
            Target::Item(i) => i64::from(placements[i].offset),
        };
        patch(&mut text, &r, target + r.addend)
            .ok_or_else(|| CompileError::Output(format!("the reference {:?} at {:#x} of the text cannot be resolved", r.kind, r.at)))?;
    }
    let rodata =
        tables.fill(module, |f| labels.get(&Symbol::Function(f)).or(labels.get(&Symbol::ImportThunk(f))).map(|i| placements[*i]))?;
    Ok(Linked { text, rodata, closed_offsets: tables.offsets, placements })
}

/// The stubs as the metadata lists them.
pub fn stub_sets(signatures: Vec<AbiSignature>, items: &[(Symbol, CompiledFunction)], placements: &[Placement]) -> Vec<StubSet> {
    let mut sets: Vec<StubSet> = signatures
        .into_iter()
        .map(|signature| StubSet { signature, exit_array: None, exit_typed: None, entry: None, tail_entry: None })
        .collect();
    for ((symbol, _), p) in items.iter().zip(placements) {
        if let Symbol::Stub(number, kind) = symbol
            && let Some(set) = sets.get_mut(*number as usize)
        {
            *match kind {
                StubKind::ExitArray => &mut set.exit_array,
                StubKind::ExitTyped => &mut set.exit_typed,
                StubKind::Entry => &mut set.entry,
                StubKind::TailEntry => &mut set.tail_entry,
            } = Some(p.offset);
        }
    }
    sets
}

struct Reference {
    at: u64,
    kind: Reloc,
    target: Target,
    addend: i64,
}

enum Target {
    /// An address from the start of the text (negative: before it).
    Table(i64),
    /// An item, whose place is known when all are placed.
    Item(usize),
}

#[cold]
fn unresolved(from: Symbol, to: Symbol) -> CompileError {
    CompileError::Output(format!("{from:?} refers to {to:?}, which does not exist"))
}

/// Writes a reference to `target`, an address from the start of the text like `r.at`.
fn patch(text: &mut [u8], r: &Reference, target: i64) -> Option<()> {
    let at = usize::try_from(r.at).ok()?;
    let field: &mut [u8; 4] = text.get_mut(at..at + 4)?.try_into().ok()?;
    let word = u32::from_le_bytes(*field);
    let new = match r.kind {
        Reloc::X86PCRel4 | Reloc::X86CallPCRel4 => i32::try_from(target - r.at as i64).ok()? as u32,
        Reloc::Aarch64AdrPrelPgHi21 => {
            // 21 bits, the low two in bits 29 and 30, the others from bit 5.
            let pages = (target >> 12) - (r.at as i64 >> 12);
            if !(-(1 << 20)..1 << 20).contains(&pages) {
                return None;
            }
            word & 0x9f00_001f | (pages as u32 & 3) << 29 | ((pages >> 2) as u32 & 0x7_ffff) << 5
        }
        Reloc::Aarch64AddAbsLo12Nc => word & 0xffc0_03ff | (target as u32 & 0xfff) << 10,
        _ => return None,
    };
    *field = new.to_le_bytes();
    Some(())
}

/// The closed tables before their code is known.
struct Tables {
    offsets: Vec<u32>,
    size: u64,
}

fn place_tables(module: &Module) -> Result<Tables, CompileError> {
    let mut size = 0;
    let mut offsets = Vec::with_capacity(module.closed_tables.len());
    for table in &module.closed_tables {
        offsets.push(match table {
            Some(t) => {
                let offset = u32::try_from(size).ok().filter(|o| u64::from(*o) < limits::MAX_TEXT_BYTES);
                let entries = t.elements.len() as u64 * size_of::<ClosedTableEntry>() as u64;
                size += entries.max(1).next_multiple_of(TABLE_ALIGNMENT);
                offset.ok_or_else(|| CompileError::Output("the module's tables take more than 2 GiB".into()))?
            }
            None => u32::MAX,
        });
    }
    Ok(Tables { offsets, size })
}

impl Tables {
    fn offset(&self, table: TableIndex) -> Option<u32> {
        self.offsets.get(table.index()).copied().filter(|o| *o != u32::MAX)
    }

    fn fill(&self, module: &Module, code: impl Fn(wasmc_environ::FuncIndex) -> Option<Placement>) -> Result<Vec<u8>, CompileError> {
        let mut bytes = vec![0; self.size as usize];
        for (table, offset) in module.closed_tables.iter().zip(&self.offsets) {
            let Some(table) = table else { continue };
            // From the table to the text.
            let distance = self.size as i64 - i64::from(*offset);
            let slots = bytes[*offset as usize..].chunks_exact_mut(size_of::<ClosedTableEntry>());
            for (slot, f) in slots.zip(&table.elements) {
                let entry = match f {
                    None => ClosedTableEntry { code: 0, type_index: CLOSED_NULL },
                    Some(f) => {
                        let place = code(*f).ok_or_else(|| CompileError::Output(format!("function {f} in a table has no code")))?;
                        let code = i32::try_from(distance + i64::from(place.offset))
                            .map_err(|_| CompileError::Output("the module's tables are too far from its code".into()))?;
                        ClosedTableEntry { code, type_index: module.canonical[module.functions[f.index()].index()].as_u32() }
                    }
                };
                slot.copy_from_slice(entry.as_bytes());
            }
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(kind: Reloc, at: u64, word: u32, target: i64) -> Option<u32> {
        let mut text = vec![0; 0x3000];
        if let Some(field) = text.get_mut(at as usize..at as usize + 4) {
            field.copy_from_slice(&word.to_le_bytes());
        }
        patch(&mut text, &Reference { at, kind, target: Target::Item(0), addend: 0 }, target)?;
        Some(u32::from_le_bytes(text[at as usize..at as usize + 4].try_into().unwrap()))
    }

    #[test]
    fn relocations() {
        assert_eq!(patched(Reloc::X86PCRel4, 0x10, 0, -0x20 - 4).unwrap() as i32, -0x34);
        // adrp x0, one page back; add x0, x0, #0xff0.
        assert_eq!(patched(Reloc::Aarch64AdrPrelPgHi21, 0x10, 0x9000_0000, -0x10), Some(0xf0ff_ffe0));
        assert_eq!(patched(Reloc::Aarch64AdrPrelPgHi21, 0x2010, 0x9000_0000, 0x10), Some(0xd0ff_ffe0));
        assert_eq!(patched(Reloc::Aarch64AddAbsLo12Nc, 0x14, 0x9100_0000, -0x10), Some(0x913f_c000));
        assert_eq!(patched(Reloc::Abs8, 0x10, 0, 0), None);
        assert_eq!(patched(Reloc::X86PCRel4, 0x2fff, 0, 0), None);
    }
}
