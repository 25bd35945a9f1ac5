//! Branch hints: the custom section `metadata.code.branch_hint`, which says of conditional branches whether they are likely.
//! A custom section never makes a module invalid, so a broken one is ignored as a whole.

use crate::index::FuncIndex;
use wasmparser::{BranchHintSectionReader, Parser, Payload};

/// A hint.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct BranchHint {
    /// Where the `if` or `br_if` is, from the start of the function's body, where its locals are declared.
    pub offset: u32,
    /// Whether the condition is likely to be true. If not, it is likely to be false.
    pub likely: bool,
}

/// The hints of a module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BranchHints {
    /// Sorted by function.
    functions: Vec<(FuncIndex, Box<[BranchHint]>)>,
}

impl BranchHints {
    /// Reads the hints of a binary module; none if it has no such section before its code, or a broken one.
    pub fn read(wasm: &[u8]) -> Self {
        for payload in Parser::new(0).parse_all(wasm) {
            match payload {
                Ok(Payload::CustomSection(custom)) if custom.name() == "metadata.code.branch_hint" => {
                    let reader = wasmparser::BinaryReader::new(custom.data(), custom.data_offset());
                    return BranchHintSectionReader::new(reader).ok().and_then(Self::section).unwrap_or_default();
                }
                Ok(Payload::CodeSectionStart { .. } | Payload::End(_)) | Err(_) => break,
                Ok(_) => {}
            }
        }
        Self::default()
    }

    fn section(reader: BranchHintSectionReader<'_>) -> Option<Self> {
        let mut functions: Vec<(FuncIndex, Box<[BranchHint]>)> = Vec::new();
        for function in reader {
            let function = function.ok()?;
            let index = FuncIndex::from_u32(function.func);
            let mut hints: Vec<BranchHint> = Vec::new();
            for hint in function.hints {
                let hint = hint.ok()?;
                if hints.last().is_some_and(|last| last.offset >= hint.func_offset) {
                    return None;
                }
                hints.push(BranchHint { offset: hint.func_offset, likely: hint.taken });
            }
            if functions.last().is_some_and(|(last, _)| *last >= index) {
                return None;
            }
            functions.push((index, hints.into()));
        }
        Some(Self { functions })
    }

    /// The hints for a function, in the order of their offsets.
    pub fn of(&self, function: FuncIndex) -> &[BranchHint] {
        match self.functions.binary_search_by_key(&function, |(f, _)| *f) {
            Ok(i) => &self.functions[i].1,
            Err(_) => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module with this payload of the section, before or behind an empty code section.
    fn module(payload: &[u8], behind: bool) -> Vec<u8> {
        let name = b"metadata.code.branch_hint";
        let mut wasm = b"\0asm\x01\0\0\0".to_vec();
        if behind {
            wasm.extend([10, 1, 0]);
        }
        wasm.extend([0, (payload.len() + name.len() + 1) as u8, name.len() as u8]);
        wasm.extend(name);
        wasm.extend(payload);
        wasm
    }

    #[test]
    fn hints_are_read() {
        let hints = BranchHints::read(&module(&[2, 1, 2, 5, 1, 0, 9, 1, 1, 4, 1, 7, 1, 1], false));
        assert_eq!(hints.of(FuncIndex::from_u32(1)), [BranchHint { offset: 5, likely: false }, BranchHint { offset: 9, likely: true }]);
        assert_eq!(hints.of(FuncIndex::from_u32(4)), [BranchHint { offset: 7, likely: true }]);
        assert!(hints.of(FuncIndex::from_u32(2)).is_empty());
    }

    #[test]
    fn broken_sections_are_ignored() {
        let good = [1, 1, 2, 5, 1, 0, 9, 1, 1];
        assert_ne!(BranchHints::read(&module(&good, false)), BranchHints::default());
        assert_eq!(BranchHints::read(&module(&good, true)), BranchHints::default(), "it must come before the code");
        for n in 0..good.len() {
            assert_eq!(BranchHints::read(&module(&good[..n], false)), BranchHints::default(), "{n}");
        }
        for broken in [
            &[1, 1, 2, 9, 1, 0, 5, 1, 1][..],
            &[1, 1, 2, 5, 1, 0, 5, 1, 1],
            &[1, 1, 1, 5, 1, 2],
            &[1, 1, 1, 5, 2, 0, 0],
            &[2, 1, 1, 5, 1, 0, 1, 1, 6, 1, 0],
            &[2, 2, 1, 5, 1, 0, 1, 1, 6, 1, 0],
            &[0xff, 0xff, 0xff, 0xff, 0x0f],
            &[1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f],
        ] {
            assert_eq!(BranchHints::read(&module(broken, false)), BranchHints::default(), "{broken:?}");
        }
        assert_eq!(BranchHints::read(b"\0asm"), BranchHints::default());
    }
}
