//! Machine code as instructions, each with the wasm instruction that it came from, the trap that it can raise, and the symbol
//! that it calls or jumps to. It is read from an artifact's bytes, for every target that wasmc compiles for, whatever
//! machine this is. Code is data here: whatever the bytes are, the result is text.

use super::read::trap_name;
use crate::exit::{ExitCode, with_code};
use anyhow::{Result, anyhow};
use capstone::Capstone;
use capstone::arch::{BuildsCapstone, BuildsCapstoneSyntax, arm64, x86};
use object::{Object, ObjectSymbol};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Range;
use wasmc_environ::FuncIndex;
use wasmc_environ::artifact::SectionKind;
use wasmc_environ::features::Features;
use wasmc_runtime::ArtifactContents;

/// Longest text of a wasm instruction: a constant or a `br_table` can be as long as the module.
const MAX_WASM_TEXT: usize = 160;

/// An instruction.
pub struct Instruction {
    /// Where it begins in the text.
    pub offset: u32,
    pub size: u32,
    /// Mnemonic and operands.
    pub text: String,
    /// Offset of the wasm instruction that it came from.
    pub wasm: Option<u32>,
    /// Why it traps, if it can.
    pub trap: Option<&'static str>,
    /// Where in the text it calls or jumps to, if that is fixed.
    pub target: Option<u32>,
}

/// A named range of the text.
pub struct Symbol {
    pub name: String,
    pub range: Range<u32>,
    /// The function, if it is none of the stubs.
    pub function: Option<FuncIndex>,
}

/// The code of an artifact.
pub struct Listing<'a> {
    code: &'a ArtifactContents,
    engine: Capstone,
    /// By offset. Functions and stubs.
    pub symbols: BTreeMap<u32, Symbol>,
    is_arm: bool,
}

impl<'a> Listing<'a> {
    /// Prepares the code of an artifact for disassembling.
    ///
    /// # Errors
    /// If its metadata cannot be used, or it is for a machine that is not known.
    pub fn new(code: &'a ArtifactContents, names: &HashMap<FuncIndex, String>) -> Result<Self> {
        let meta = code.meta().map_err(|e| with_code(ExitCode::DATA, format!("the code cannot be told apart: {e}")))?;
        let target = code.target();
        let is_arm = target.starts_with("aarch64-");
        let failed = |e: capstone::Error| anyhow!("internal error: the disassembler cannot be made: {e}");
        let mut engine = match target.split_once('-') {
            Some(("x86_64", _)) => {
                Capstone::new().x86().mode(x86::ArchMode::Mode64).syntax(x86::ArchSyntax::Intel).build().map_err(failed)?
            }
            Some(("aarch64", _)) => Capstone::new().arm64().mode(arm64::ArchMode::Arm).build().map_err(failed)?,
            _ => return Err(with_code(ExitCode::MISMATCH, format!("code for {target} cannot be disassembled"))),
        };
        // Constants stand between the instructions.
        engine.set_skipdata(true).map_err(failed)?;
        let mut symbols = stub_symbols(code);
        for (i, f) in code.functions().iter().enumerate() {
            let index = FuncIndex::from_u32(meta.module.num_imported_functions + i as u32);
            let name = names.get(&index).cloned().unwrap_or_else(|| format!("function {index}"));
            let range = f.code_offset..f.code_offset.saturating_add(f.code_size);
            symbols.insert(f.code_offset, Symbol { name, range, function: Some(index) });
        }
        Ok(Self { code, engine, symbols, is_arm })
    }

    /// The bytes of a range of the text; fewer where the text ends.
    pub fn bytes(&self, range: Range<u32>) -> &'a [u8] {
        let text = self.code.text();
        let end = (range.end as usize).min(text.len());
        text.get(range.start as usize..end).unwrap_or_default()
    }

    /// The instructions in a range of the text.
    pub fn instructions(&self, range: Range<u32>) -> Vec<Instruction> {
        let bytes = self.bytes(range.clone());
        let mut instructions = Vec::with_capacity(bytes.len() / 4);
        let Ok(decoded) = self.engine.disasm_iter(bytes, range.start.into()) else { return instructions };
        let (mut decoded, addresses, traps) = (decoded, self.code.addresses(), self.code.traps());
        let mut address = addresses.partition_point(|a| a.code_offset <= range.start);
        let mut trap = traps.partition_point(|t| t.code_offset < range.start);
        while let Some(i) = decoded.next() {
            let offset = i.address() as u32;
            while addresses.get(address).is_some_and(|a| a.code_offset <= offset) {
                address += 1;
            }
            while traps.get(trap).is_some_and(|t| t.code_offset < offset) {
                trap += 1;
            }
            let (mnemonic, operands) = (i.mnemonic().unwrap_or("?"), i.op_str().unwrap_or_default());
            let target = self.branches(mnemonic).then(|| last_number(operands)).flatten();
            instructions.push(Instruction {
                offset,
                size: i.bytes().len() as u32,
                text: format!("{mnemonic} {operands}").trim_end().to_owned(),
                wasm: address.checked_sub(1).and_then(|i| addresses.get(i)).map(|a| a.wasm_offset).filter(|w| *w != u32::MAX),
                trap: traps.get(trap).filter(|t| t.code_offset == offset).map(|t| trap_name(t.code)),
                target,
            });
        }
        instructions
    }

    fn branches(&self, mnemonic: &str) -> bool {
        match self.is_arm {
            true => mnemonic.starts_with("b.") || matches!(mnemonic, "b" | "bl" | "cbz" | "cbnz" | "tbz" | "tbnz"),
            false => mnemonic.starts_with(['j', 'l']) && !mnemonic.starts_with("le") || mnemonic == "call",
        }
    }

    /// The symbol that a target lies in and the distance from its start, seen from an instruction in `from`; `None` within the same
    /// symbol, its start apart.
    pub fn target(&self, from: &Range<u32>, target: u32) -> Option<(u32, u32)> {
        let (start, symbol) = self.symbols.range(..=target).next_back()?;
        let outside = symbol.range.contains(&target) && (!from.contains(&target) || *start == target);
        outside.then_some((*start, target - start))
    }

    /// What a target is called.
    pub fn target_name(&self, from: &Range<u32>, target: u32) -> Option<String> {
        let (start, distance) = self.target(from, target)?;
        let name = &self.symbols.get(&start)?.name;
        Some(if distance == 0 { name.clone() } else { format!("{name}+{distance:#x}") })
    }
}

/// The number at the end of an instruction's operands.
fn last_number(operands: &str) -> Option<u32> {
    let last = operands.rsplit([' ', ',']).next()?.trim_start_matches('#');
    match last.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => last.parse().ok(),
    }
}

/// The stubs, named by the symbol table. Tools use it and the runtime does not, so it may be anything.
fn stub_symbols(code: &ArtifactContents) -> BTreeMap<u32, Symbol> {
    let text = code.header().sections[SectionKind::Text as usize];
    let mut symbols = BTreeMap::new();
    let Ok(file) = object::read::elf::ElfFile64::<object::Endianness>::parse(code.file()) else { return symbols };
    for symbol in file.symbols() {
        let Some(start) = symbol.address().checked_sub(text.offset) else { continue };
        let Some(end) = start.checked_add(symbol.size()).filter(|e| *e <= text.size) else { continue };
        if let (true, Ok(name), Ok(start), Ok(end)) = (end > start, symbol.name(), u32::try_from(start), u32::try_from(end)) {
            symbols.insert(start, Symbol { name: name.to_owned(), range: start..end, function: None });
        }
    }
    symbols
}

/// The text of the wasm instructions in a range of the binary, by their offsets, indented as they are nested.
pub fn wasm_lines(wasm: &[u8], range: Range<u64>) -> BTreeMap<u64, String> {
    struct Lines {
        wanted: Range<u64>,
        current: Option<u64>,
        lines: BTreeMap<u64, String>,
    }
    impl wasmprinter::Print for Lines {
        fn write_str(&mut self, s: &str) -> io::Result<()> {
            if let Some(offset) = self.current {
                let text = self.lines.entry(offset).or_default();
                let room = MAX_WASM_TEXT.saturating_sub(text.len());
                text.extend(s.chars().filter(|c| !c.is_control()).take(room));
            }
            Ok(())
        }
        fn newline(&mut self) -> io::Result<()> {
            Ok(())
        }
        fn start_line(&mut self, binary_offset: Option<u64>) {
            self.current = binary_offset.filter(|o| self.wanted.contains(o));
        }
    }
    let mut lines = Lines { wanted: range, current: None, lines: BTreeMap::new() };
    // It fails where the module cannot be printed; what was printed until then is good.
    let _ = wasmprinter::Config::new().features(Features::all().to_wasmparser()).print(wasm, &mut lines);
    for text in lines.lines.values_mut() {
        // The printer closes a function where the binary has an `end`.
        if text.trim() == ")" {
            *text = text.replace(')', "end");
        }
        text.truncate(text.trim_end().len());
    }
    lines.lines
}

#[cfg(test)]
mod tests {
    use super::last_number;

    #[test]
    fn targets_are_read_from_operands() {
        assert_eq!(last_number("0x1234"), Some(0x1234));
        assert_eq!(last_number("#0x40"), Some(0x40));
        assert_eq!(last_number("x0, #0x40"), Some(0x40));
        assert_eq!(last_number("w1, #3, #0x18"), Some(0x18));
        assert_eq!(last_number("4"), Some(4));
        assert_eq!(last_number("rax"), None);
        assert_eq!(last_number("qword ptr [rip + 0x10]"), None);
        assert_eq!(last_number(""), None);
    }
}
