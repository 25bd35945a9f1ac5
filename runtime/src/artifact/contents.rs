//! An artifact as data: read into memory and checked, but never mapped executable, so that one for another machine or
//! another version can be looked at. What the header says can be had whenever it is intact; the metadata and the records
//! only if their digests match and they make sense, and otherwise the reason why not.

use super::digest::digest_of;
use super::header::{HEADER_END, TUNABLE_NAMES, bit_names, check_layout, identify, padded};
use super::{ArtifactErrorKind as Kind, WASMC_VERSION, validate, validate_messages};
use crate::code::{Section, Sections};
use wasmc_environ::artifact::*;
use wasmc_environ::cpu::CPU_FEATURES;
use wasmc_environ::features::Features;
use zerocopy::IntoBytes;

/// The contents of an artifact, to be inspected. Nothing of it can run.
pub struct ArtifactContents {
    /// The file, in words, so that the records are aligned.
    words: Box<[u64]>,
    len: usize,
    header: Header,
    sections: Sections,
    damaged: Vec<SectionKind>,
    meta: Result<ArtifactMeta, String>,
}

impl ArtifactContents {
    /// Takes the bytes of an artifact apart. For which machine and by which version it was made does not matter, as long as this
    /// version knows the format.
    ///
    /// # Errors
    /// If it is no artifact, or of another format, or its header is damaged, or the file is not as long as the header says.
    pub fn new(bytes: &[u8]) -> Result<Self, Kind> {
        let header = identify(bytes.get(..HEADER_END).unwrap_or(bytes), bytes.len() as u64)?;
        check_layout(&header, bytes.len() as u64)?;
        let mut words = vec![0u64; bytes.len().div_ceil(8)].into_boxed_slice();
        words.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
        let mut sections = Sections::default();
        let mut damaged = Vec::new();
        for kind in SectionKind::ALL.iter().copied() {
            let entry = &header.sections[kind as usize];
            // `check_layout` made sure that the section lies in the file.
            let Some(contents) = words.as_bytes().get(entry.offset as usize..(entry.offset + entry.size) as usize) else { continue };
            if entry.size == 0 {
                continue;
            }
            if digest_of(contents) != entry.digest {
                damaged.push(kind);
            }
            // SAFETY: the bytes are those of the words, which live as long as the sections, in a box that does not move them.
            sections.set(kind, unsafe { Section::new(contents.as_ptr(), contents.len()) });
        }
        let meta = metadata(&header, &sections, &damaged);
        Ok(Self { words, len: bytes.len(), header, sections, damaged, meta })
    }

    /// The whole file.
    pub fn file(&self) -> &[u8] {
        &self.words.as_bytes()[..self.len]
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The version of wasmc that made it.
    pub fn version(&self) -> String {
        padded(&self.header.wasmc_version)
    }

    /// The machine that it is for, as `arch-os`.
    pub fn target(&self) -> String {
        padded(&self.header.target)
    }

    /// The CPU features that its code needs.
    pub fn cpu_features(&self) -> Vec<String> {
        bit_names(self.header.cpu_features, |i| CPU_FEATURES.get(i).map(|f| f.name))
    }

    /// The options that changed its code.
    pub fn tunables(&self) -> Vec<String> {
        bit_names(self.header.tunables, |i| TUNABLE_NAMES.get(i).copied())
    }

    /// The proposals that were on when it was made.
    pub fn features(&self) -> Vec<String> {
        bit_names(self.header.features, |i| Features::ALL.get(i).map(|f| f.name))
    }

    /// The bytes of a section; empty if it is absent.
    pub fn section(&self, kind: SectionKind) -> &[u8] {
        self.sections.bytes(kind)
    }

    /// Whether a section matches its digest.
    pub fn is_intact(&self, kind: SectionKind) -> bool {
        !self.damaged.contains(&kind)
    }

    /// The metadata. Together with the records it makes sense: all indices and offsets are in range.
    ///
    /// # Errors
    /// Why it cannot be used: damage, or another version.
    pub fn meta(&self) -> Result<&ArtifactMeta, &str> {
        self.meta.as_ref().map_err(String::as_str)
    }

    fn records<T: zerocopy::FromBytes + zerocopy::Immutable + zerocopy::KnownLayout>(&self, kind: SectionKind) -> &[T] {
        if self.meta.is_ok() { self.sections.records(kind) } else { &[] }
    }

    /// The defined functions, by `DefinedFuncIndex`; none if there is no metadata.
    pub fn functions(&self) -> &[FuncRecord] {
        self.records(SectionKind::Functions)
    }

    /// The instructions that can trap, sorted by code offset; none if there is no metadata.
    pub fn traps(&self) -> &[TrapRecord] {
        self.records(SectionKind::Traps)
    }

    /// From which wasm instruction code comes, sorted by code offset; none if there is no metadata, or if the section is damaged.
    pub fn addresses(&self) -> &[AddressRecord] {
        if self.is_intact(SectionKind::Addresses) { self.records(SectionKind::Addresses) } else { &[] }
    }

    /// The calls that exception handlers belong to, sorted by return offset; none if there is no metadata.
    pub fn handlers(&self) -> &[HandlerRecord] {
        self.records(SectionKind::Handlers)
    }

    /// The calls across which references live in frames, sorted by return offset; none if there is no metadata.
    pub fn stack_maps(&self) -> &[StackMapRecord] {
        self.records(SectionKind::StackMaps)
    }

    /// Where in the frame those references are.
    pub fn stack_map_slots(&self, map: &StackMapRecord) -> &[u32] {
        let slots: &[u32] = self.records(SectionKind::StackMapSlots);
        slots.get(map.first_slot as usize..).and_then(|s| s.get(..map.num_slots as usize)).unwrap_or_default()
    }

    /// The name of a function, if it has one.
    pub fn function_name(&self, function: &FuncRecord) -> Option<&str> {
        if function.name_size == 0 || !self.is_intact(SectionKind::Names) {
            return None;
        }
        let names = self.section(SectionKind::Names).get(function.name_offset as usize..)?.get(..function.name_size as usize)?;
        std::str::from_utf8(names).ok()
    }

    /// The machine code.
    pub fn text(&self) -> &[u8] {
        self.section(SectionKind::Text)
    }

    /// The original module; `None` if it was left out, or if it is damaged.
    pub fn wasm(&self) -> Option<&[u8]> {
        let wasm = self.section(SectionKind::Wasm);
        (!wasm.is_empty() && self.is_intact(SectionKind::Wasm)).then_some(wasm)
    }
}

/// Metadata that makes sense, or the reason why there is none.
fn metadata(header: &Header, sections: &Sections, damaged: &[SectionKind]) -> Result<ArtifactMeta, String> {
    use SectionKind as K;
    let needed = [K::Meta, K::Functions, K::Traps, K::Handlers, K::StackMaps, K::StackMapSlots, K::RoData];
    if let Some(kind) = needed.iter().find(|k| damaged.contains(k)) {
        return Err(format!("section {} does not match its digest", kind.elf_name()));
    }
    let version = padded(&header.wasmc_version);
    let foreign = |e: String| match version == WASMC_VERSION {
        true => e,
        false => format!("{e} (made by wasmc {version}, this is {WASMC_VERSION})"),
    };
    let (meta, rest): (ArtifactMeta, _) =
        postcard::take_from_bytes(sections.bytes(K::Meta)).map_err(|e| foreign(format!("the metadata cannot be decoded: {e}")))?;
    if !rest.is_empty() {
        return Err(foreign(format!("{} bytes behind the metadata", rest.len())));
    }
    let text_len = sections.bytes(K::Text).len();
    validate(&meta, sections, text_len, Some(header)).map_err(|e| foreign(format!("the metadata makes no sense: {}", e.0)))?;
    if !damaged.contains(&K::Names) && !damaged.contains(&K::Addresses) {
        validate_messages(sections).map_err(|e| foreign(format!("the metadata makes no sense: {}", e.0)))?;
    }
    Ok(meta)
}
