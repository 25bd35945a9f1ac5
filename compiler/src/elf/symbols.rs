//! The symbol table: every function and every stub has a symbol, so that `nm`, `gdb` and `perf` can name all code.
//! Names come from the wasm module and may be anything; here they become printable and unique.

use super::dynamic::function_symbol;
use super::{Input, Layout, progbits};
use crate::symbols::{StubKind, Symbol};
use object::Endianness;
use object::elf;
use object::write::elf::{Encoder, SectionHeader};
use std::collections::HashSet;
use wasmc_environ::types::{AbiSignature, AbiType};

/// Makes names printable and unique.
#[derive(Default)]
pub struct Namer {
    used: HashSet<String>,
}

impl Namer {
    /// The name of a symbol: `name` with everything replaced that tools would stumble over, and with `number` behind it
    /// if it is taken.
    pub fn unique(&mut self, name: &str, number: u32) -> String {
        let mut clean: String = name.chars().map(|c| if c.is_ascii_graphic() && c != '@' { c } else { '_' }).collect();
        if clean.is_empty() {
            clean.push('_');
        }
        if self.used.contains(&clean) {
            clean = format!("{clean}.{number}");
            // Another name may look just like that.
            while self.used.contains(&clean) {
                clean.push('_');
            }
        }
        self.used.insert(clean.clone());
        clean
    }
}

/// The symbols of all code.
pub struct SymbolTable {
    /// For each item: offset of its name, of its code in the text, size, and whether it is a function of the module.
    symbols: Vec<(u32, u32, u32, bool)>,
    strings: Vec<u8>,
}

impl SymbolTable {
    /// The symbols of linked items.
    pub fn new(input: &Input<'_>) -> Self {
        let mut namer = Namer::default();
        let mut t = Self { symbols: Vec::with_capacity(input.items.len()), strings: vec![0] };
        for ((symbol, _), place) in input.items.iter().zip(&input.linked.placements) {
            let (name, number) = match symbol {
                Symbol::Function(i) => match input.names.get(i) {
                    Some(name) => (namer.unique(name, i.as_u32()), true),
                    None => (namer.unique(&format!("wasm_function_{i}"), i.as_u32()), true),
                },
                stub => (namer.unique(&stub_name(input, *stub), 0), false),
            };
            t.symbols.push((t.strings.len() as u32, place.offset, place.size, number));
            t.strings.extend_from_slice(name.as_bytes());
            t.strings.push(0);
        }
        t
    }

    /// Adds the sections, which are not mapped.
    pub fn place<'a>(&'a self, l: &mut Layout<'a>, encoder: Encoder<Endianness>, text: u64) {
        let section = l.number(".text");
        let mut bytes: Vec<u8> = Vec::with_capacity((self.symbols.len() + 1) * encoder.sym_size() as usize);
        encoder.null_symbol(&mut bytes);
        // Local symbols come first, as the format demands.
        let mut locals = 1;
        for (binding, functions) in [(elf::STB_LOCAL, false), (elf::STB_GLOBAL, true)] {
            for (name, offset, size, _) in self.symbols.iter().filter(|s| s.3 == functions) {
                encoder.symbol(&mut bytes, &function_symbol(*name, binding, section, text + u64::from(*offset), *size));
                locals += u32::from(!functions);
            }
        }
        l.push(".symtab", encoder.symtab_section_header(0, locals), bytes);
        let strings = SectionHeader { sh_type: elf::SHT_STRTAB, ..progbits(elf::SectionFlags(0), 1) };
        l.push(".strtab", strings, &self.strings[..]);
        l.link(".symtab", ".strtab");
    }
}

fn stub_name(input: &Input<'_>, symbol: Symbol) -> String {
    match symbol {
        Symbol::Function(i) => format!("wasm_function_{i}"),
        Symbol::Builtin(b) => format!("wasmc.builtin.{}", b.signature().name),
        Symbol::ClosedTable(t) => format!("wasmc.table.{t}"),
        Symbol::Elsewhere(i) => format!("wasmc.elsewhere.{i}"),
        Symbol::ImportThunk(i) => match input.names.get(&i) {
            Some(name) => format!("wasmc.import.{name}"),
            None => format!("wasmc.import.{i}"),
        },
        Symbol::Stub(number, kind) => {
            let kind = match kind {
                StubKind::ExitArray => "exit_array",
                StubKind::ExitTyped => "exit_typed",
                StubKind::Entry => "entry",
                StubKind::TailEntry => "tail_entry",
            };
            match input.meta.stubs.get(number as usize) {
                Some(set) => format!("wasmc.{kind}.{}", signature_name(&set.signature)),
                None => format!("wasmc.{kind}.{number}"),
            }
        }
    }
}

/// A signature in short: a letter for each parameter, then for each result (`iI.f`: from i32 and i64 to f32).
fn signature_name(s: &AbiSignature) -> String {
    let letter = |t: &AbiType| match t {
        AbiType::I32 => 'i',
        AbiType::I64 => 'I',
        AbiType::F32 => 'f',
        AbiType::F64 => 'F',
        AbiType::V128 => 'v',
        AbiType::FuncRef => 'p',
        AbiType::HeapRef => 'r',
    };
    s.params.iter().map(letter).chain(['.']).chain(s.results.iter().map(letter)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_clean_and_unique() {
        let mut n = Namer::default();
        assert_eq!(n.unique("main", 1), "main");
        assert_eq!(n.unique("main", 2), "main.2");
        assert_eq!(n.unique("main.3", 5), "main.3");
        assert_eq!(n.unique("main", 3), "main.3_");
        assert_eq!(n.unique("a b\0c@d\u{e9}", 4), "a_b_c_d_");
        assert_eq!(n.unique("", 6), "_");
        assert_eq!(n.unique("operator new(unsigned long)", 7), "operator_new(unsigned_long)");
    }
}
