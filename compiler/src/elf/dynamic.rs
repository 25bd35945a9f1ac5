//! The dynamic section and what it needs: tools that look at a shared object start there. The dynamic symbols are the
//! module's exported functions. There is no NEEDED, no relocation and nothing to initialise.

use super::{Input, Layout, progbits};
use crate::elf::symbols::Namer;
use object::Endianness;
use object::elf;
use object::write::elf::{Encoder, SectionHeader, Sym};
use wasmc_environ::module::EntityIndex;

/// The dynamic symbols and strings.
pub struct Dynamic {
    /// For each symbol: offset of its name, of its code in the text, and size of its code.
    symbols: Vec<(u32, u32, u32)>,
    strings: Vec<u8>,
    hashes: Vec<u32>,
    soname: u32,
}

impl Dynamic {
    /// The symbols of the functions that a module exports and defines.
    pub fn new(input: &Input<'_>) -> Self {
        let module = &input.meta.module;
        let mut d = Self { symbols: Vec::new(), strings: vec![0], hashes: vec![0], soname: 0 };
        let mut namer = Namer::default();
        for e in &module.exports {
            let EntityIndex::Func(index) = e.index else { continue };
            let Some(place) = module.defined_func(index).and_then(|i| input.linked.placements.get(i.index())) else { continue };
            let name = namer.unique(&e.name, index.as_u32());
            d.hashes.push(elf::hash(name.as_bytes()));
            let name = d.string(&name);
            d.symbols.push((name, place.offset, place.size));
        }
        let base = module.name.as_deref().unwrap_or("module");
        d.soname = d.string(&format!("{}.so", Namer::default().unique(base, 0)));
        d
    }

    fn string(&mut self, s: &str) -> u32 {
        let offset = self.strings.len() as u32;
        self.strings.extend_from_slice(s.as_bytes());
        self.strings.push(0);
        offset
    }

    fn buckets(&self) -> u32 {
        (self.hashes.len() as u32).div_ceil(2)
    }

    /// Reserves the sections.
    pub fn place<'a>(&'a self, l: &mut Layout<'a>, encoder: Encoder<Endianness>) {
        let count = self.hashes.len() as u32;
        let zeros = |size: u64| vec![0; size as usize];
        let alloc = |h: SectionHeader| SectionHeader { sh_flags: elf::SHF_ALLOC, ..h };
        l.push(".hash", alloc(encoder.hash_section_header(0)), zeros(encoder.hash_size(self.buckets(), count)));
        l.push(".dynsym", alloc(encoder.dynsym_section_header(0, 1)), zeros(encoder.sym_size() * u64::from(count)));
        l.push(".dynstr", SectionHeader { sh_type: elf::SHT_STRTAB, ..progbits(elf::SHF_ALLOC, 1) }, &self.strings[..]);
        let entries = self.entries(l).len() as u64;
        l.push(".dynamic", alloc(encoder.dynamic_section_header(0)), zeros(encoder.dyn_size() * entries));
        l.link(".hash", ".dynsym");
        l.link(".dynsym", ".dynstr");
        l.link(".dynamic", ".dynstr");
    }

    fn entries(&self, l: &Layout<'_>) -> [(elf::DynamicTag, u64); 7] {
        let address = |name| l.get(name).map_or(0, |h| h.sh_addr);
        [
            (elf::DT_SONAME, u64::from(self.soname)),
            (elf::DT_HASH, address(".hash")),
            (elf::DT_STRTAB, address(".dynstr")),
            (elf::DT_SYMTAB, address(".dynsym")),
            (elf::DT_STRSZ, self.strings.len() as u64),
            (elf::DT_SYMENT, 24),
            (elf::DT_NULL, 0),
        ]
    }

    /// Writes what depends on addresses.
    pub fn fill(&self, l: &mut Layout<'_>, encoder: Encoder<Endianness>, text: u64) {
        let mut hash: Vec<u8> = Vec::new();
        encoder.hash_table(&mut hash, self.buckets(), self.hashes.len() as u32, |i| {
            (i != 0).then(|| self.hashes.get(i as usize).copied()).flatten()
        });
        l.fill(".hash", hash);
        let section = l.number(".text");
        let mut symbols: Vec<u8> = Vec::new();
        encoder.null_symbol(&mut symbols);
        for (st_name, offset, size) in &self.symbols {
            encoder.symbol(&mut symbols, &function_symbol(*st_name, elf::STB_GLOBAL, section, text + u64::from(*offset), *size));
        }
        l.fill(".dynsym", symbols);
        let mut dynamic: Vec<u8> = Vec::new();
        for (tag, value) in self.entries(l) {
            // The tags and values are ours, and fit.
            let _ = encoder.dynamic(&mut dynamic, tag, value);
        }
        l.fill(".dynamic", dynamic);
    }
}

/// A function's symbol.
pub fn function_symbol(st_name: u32, binding: elf::SymbolBind, section: u32, st_value: u64, size: u32) -> Sym {
    Sym {
        section: Some(section),
        st_name,
        st_info: elf::SymbolInfo::new(binding, elf::STT_FUNC),
        st_other: elf::SymbolOther(0),
        st_shndx: elf::SymbolSection::new(section),
        st_value,
        st_size: u64::from(size),
    }
}
