//! Source lines of wasm instructions, from the debug information that compilers put into custom sections of a module. It may be missing,
//! cut or wrong; then there are no lines, and nothing else happens.

use addr2line::Context;
use addr2line::gimli::{Dwarf, EndianSlice, LittleEndian};
use std::borrow::Cow;
use std::collections::HashMap;
use wasmparser::{Parser, Payload};

type Reader<'a> = EndianSlice<'a, LittleEndian>;

/// A function at an instruction: the one that stands there in the source, or one that it was inlined into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFrame {
    /// From the debug information, demangled.
    pub function: Option<String>,
    pub file: Option<String>,
    pub line: Option<u32>,
}

/// The source lines of a module.
pub struct Lines<'a> {
    context: Context<Reader<'a>>,
    /// Where the contents of the code section begin: addresses count from there.
    code: u64,
}

impl<'a> Lines<'a> {
    /// The lines of a binary; `None` if it has no debug information that can be read.
    pub fn new(wasm: &'a [u8]) -> Option<Self> {
        let mut sections: HashMap<&str, &[u8]> = HashMap::new();
        let mut code = None;
        for payload in Parser::new(0).parse_all(wasm).map_while(Result::ok) {
            match &payload {
                Payload::CodeSectionStart { .. } => code = payload.as_section().map(|(_, range)| range.start),
                Payload::CustomSection(c) if c.name().starts_with(".debug_") => {
                    sections.entry(c.name()).or_insert(c.data());
                }
                _ => {}
            }
        }
        if !sections.contains_key(".debug_info") {
            return None;
        }
        let section = |id: addr2line::gimli::SectionId| {
            Ok::<_, addr2line::gimli::Error>(EndianSlice::new(sections.get(id.name()).copied().unwrap_or_default(), LittleEndian))
        };
        let context = Context::from_dwarf(Dwarf::load(section).ok()?).ok()?;
        Some(Self { context, code: code? })
    }

    /// The functions at the instruction at `offset` of the binary, innermost first: several where calls were inlined.
    pub fn at(&self, offset: u32) -> Vec<SourceFrame> {
        /// Deeper nesting is not believed.
        const MAX_INLINED: usize = 64;
        let Some(address) = u64::from(offset).checked_sub(self.code) else { return Vec::new() };
        let Ok(mut frames) = self.context.find_frames(address).skip_all_loads() else { return Vec::new() };
        let mut found = Vec::new();
        while let (Ok(Some(frame)), true) = (frames.next(), found.len() < MAX_INLINED) {
            let function = frame.function.as_ref().and_then(|f| f.demangle().ok().map(Cow::into_owned));
            let (file, line) = frame.location.map_or((None, None), |l| (l.file.map(str::to_owned), l.line));
            found.push(SourceFrame { function, file, line });
        }
        found
    }
}
