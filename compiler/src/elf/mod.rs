//! The artifact as a file: an ELF64 shared object that is mapped as it is. Sections lie at file offsets equal to their
//! addresses and in the order in which a loader reads them; what `docs/artifact.md` calls the header says where. The ELF
//! structure around it is for tools. `object`'s encoder writes the records; the layout is made here in one pass, because
//! every size is known before the first byte is written.

mod dynamic;
mod eh_frame;
mod symbols;

use crate::function::CompiledFunction;
use crate::image::Images;
use crate::isa::Target;
use crate::sections::Records;
use crate::symbols::Symbol;
use crate::text::Linked;
use dynamic::Dynamic;
use eh_frame::EhFrame;
use object::Endianness;
use object::elf;
use object::write::elf::{Encoder, FileHeader, FileHeaderLayout, ProgramHeader, SectionHeader};
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::HashMap;
use symbols::SymbolTable;
use wasmc_environ::artifact::{
    ArtifactMeta, FORMAT_VERSION, HEADER_OFFSET, Header, MAGIC, MAX_SECTIONS, SectionEntry, SectionKind, feature_bits, tunable_bits,
};
use wasmc_environ::features::Features;
use wasmc_environ::jit::CompileError;
use wasmc_environ::limits::SEGMENT_ALIGNMENT;
use wasmc_environ::{FuncIndex, Tunables};
use zerocopy::{FromZeros, IntoBytes};

/// Alignment of the sections that are read in place.
const SECTION_ALIGNMENT: u64 = 16;
/// From this size on, a digest is computed on several threads.
const LARGE_DIGEST: usize = 1 << 20;

/// So many bytes are copied on one thread.
const LARGE_COPY: usize = 1 << 20;

/// What an artifact is made of.
pub struct Input<'a> {
    /// The target.
    pub target: &'a Target,
    /// Proposals that were on.
    pub features: &'a Features,
    /// Options that changed the code.
    pub tunables: &'a Tunables,
    /// The metadata.
    pub meta: &'a ArtifactMeta,
    /// The functions and stubs, in the order of the text.
    pub items: &'a [(Symbol, CompiledFunction)],
    /// The code.
    pub linked: &'a Linked,
    /// The records that describe the code.
    pub records: &'a Records,
    /// The memory images.
    pub images: &'a Images,
    /// Names of functions.
    pub names: &'a HashMap<FuncIndex, String>,
    /// The section `Data`; empty unless the original module is left out.
    pub data: &'a [u8],
    /// The original module; empty if it is left out.
    pub wasm: &'a [u8],
}

/// A section of the file.
struct Section<'a> {
    name: &'static str,
    kind: Option<SectionKind>,
    /// Name, offset and size are filled in.
    header: SectionHeader,
    /// The name of the section that `sh_link` means.
    link: Option<&'static str>,
    data: Cow<'a, [u8]>,
}

/// The sections in the order of the file.
struct Layout<'a> {
    sections: Vec<Section<'a>>,
    at: u64,
}

impl<'a> Layout<'a> {
    /// Places a section behind the others. Empty ones are left out, as far as the file is concerned.
    fn push(&mut self, name: &'static str, header: SectionHeader, data: impl Into<Cow<'a, [u8]>>) -> u64 {
        let data = data.into();
        if data.is_empty() {
            return 0;
        }
        let offset = self.at.next_multiple_of(header.sh_addralign.max(1));
        let mapped = header.sh_flags.0 & elf::SHF_ALLOC.0 != 0;
        let header = SectionHeader { sh_offset: offset, sh_addr: if mapped { offset } else { 0 }, sh_size: data.len() as u64, ..header };
        self.at = offset + data.len() as u64;
        let kind = SectionKind::ALL.iter().copied().find(|k| k.elf_name() == name);
        self.sections.push(Section { name, kind, header, link: None, data });
        offset
    }

    /// Places one of the artifact's own sections.
    fn push_kind(&mut self, kind: SectionKind, alignment: u64, data: impl Into<Cow<'a, [u8]>>) -> u64 {
        let flags = if kind == SectionKind::Text { elf::SHF_ALLOC | elf::SHF_EXECINSTR } else { elf::SHF_ALLOC };
        self.push(kind.elf_name(), progbits(flags, alignment), data)
    }

    fn link(&mut self, name: &str, to: &'static str) {
        if let Some(s) = self.sections.iter_mut().find(|s| s.name == name) {
            s.link = Some(to);
        }
    }

    /// Number of a section in the table of section headers.
    fn number(&self, name: &str) -> u32 {
        self.sections.iter().position(|s| s.name == name).map_or(0, |i| i as u32 + 1)
    }

    fn fill(&mut self, name: &str, data: Vec<u8>) {
        if let Some(s) = self.sections.iter_mut().find(|s| s.name == name) {
            debug_assert_eq!(s.data.len(), data.len(), "the layout counts on the size of {name}");
            s.data = data.into();
        }
    }

    fn get(&self, name: &str) -> Option<&SectionHeader> {
        self.sections.iter().find(|s| s.name == name).map(|s| &s.header)
    }
}

fn progbits(flags: elf::SectionFlags, alignment: u64) -> SectionHeader {
    SectionHeader {
        sh_name: 0,
        sh_type: elf::SHT_PROGBITS,
        sh_flags: flags,
        sh_addr: 0,
        sh_offset: 0,
        sh_size: 0,
        sh_link: 0,
        sh_info: 0,
        sh_addralign: alignment,
        sh_entsize: 0,
    }
}

/// Writes an artifact to memory. The bytes depend on nothing but the input.
///
/// # Errors
/// If the metadata cannot be encoded, or the unwind information not be expressed.
pub fn write(input: &Input<'_>) -> Result<Vec<u8>, CompileError> {
    let encoder = Encoder::new(Endianness::Little, true, machine(input.target)?);
    let meta = postcard::to_stdvec(input.meta).map_err(|e| CompileError::Output(format!("cannot encode the metadata: {e}")))?;
    let (eh_frame, symbols) =
        crate::pool::join(|| EhFrame::new(&*input.target.isa, input.items, &input.linked.placements), || SymbolTable::new(input));
    let mut eh_frame = eh_frame?;
    let dynamic = Dynamic::new(input);

    let mut l = Layout { sections: Vec::new(), at: (HEADER_OFFSET + size_of::<Header>()) as u64 };
    l.push(".note.gnu.build-id", SectionHeader { sh_type: elf::SHT_NOTE, ..progbits(elf::SHF_ALLOC, 4) }, vec![0; NOTE_SIZE]);
    l.push_kind(SectionKind::Meta, SECTION_ALIGNMENT, meta);
    for (kind, bytes) in input.records.sections() {
        l.push_kind(kind, SECTION_ALIGNMENT, bytes);
    }
    dynamic.place(&mut l, encoder);
    let hdr = l.push(".eh_frame_hdr", progbits(elf::SHF_ALLOC, 4), vec![0; eh_frame.header_size()]);
    let frames = l.push(".eh_frame", progbits(elf::SHF_ALLOC, 8), vec![0; eh_frame.size()]);
    // The read-only data ends where the text begins, as the linked code expects it.
    let rodata = &input.linked.rodata;
    let text = (l.at.next_multiple_of(SECTION_ALIGNMENT) + rodata.len() as u64).next_multiple_of(SEGMENT_ALIGNMENT);
    if !rodata.is_empty() {
        l.at = text - rodata.len() as u64;
    }
    l.push_kind(SectionKind::RoData, SECTION_ALIGNMENT, &rodata[..]);
    let end_of_data = l.at;
    l.at = text;
    l.push_kind(SectionKind::Text, SEGMENT_ALIGNMENT, &input.linked.text[..]);
    let end_of_text = l.at;
    let rest = if input.linked.text.is_empty() { text } else { l.at.next_multiple_of(SEGMENT_ALIGNMENT) };
    l.at = rest;
    l.push_kind(SectionKind::MemoryImage, SEGMENT_ALIGNMENT, &input.images.bytes[..]);
    l.push_kind(SectionKind::Data, SECTION_ALIGNMENT, input.data);
    l.push_kind(SectionKind::Wasm, SECTION_ALIGNMENT, input.wasm);
    let end_of_rest = l.at;
    let mapped_size = l.sections.iter().map(|s| s.header.sh_offset + s.header.sh_size).max().unwrap_or(l.at);

    dynamic.fill(&mut l, encoder, text);
    let (header, table) = eh_frame.locate(hdr, frames, text);
    l.fill(".eh_frame_hdr", header);
    l.fill(".eh_frame", table);
    symbols.place(&mut l, encoder, text);
    // The table of names holds its own name too, so it is placed before it is made.
    let size = l.sections.iter().map(|s| s.name.len() + 1).sum::<usize>() + ".shstrtab".len() + 2;
    l.push(".shstrtab", SectionHeader { sh_type: elf::SHT_STRTAB, ..progbits(elf::SectionFlags(0), 1) }, vec![0; size]);
    let names = section_names(&mut l);
    l.fill(".shstrtab", names);

    let section_headers = l.at.next_multiple_of(8);
    let file_size = section_headers + (l.sections.len() as u64 + 1) * encoder.section_header_size();
    let header = artifact_header(input, &l, file_size, mapped_size);
    l.fill(".note.gnu.build-id", build_id(&header));

    let mut segments = vec![segment(elf::PT_LOAD, elf::PF_R, 0, end_of_data, SEGMENT_ALIGNMENT)];
    if end_of_text > text {
        segments.push(segment(elf::PT_LOAD, elf::PF_R | elf::PF_X, text, end_of_text, SEGMENT_ALIGNMENT));
    }
    if end_of_rest > rest {
        segments.push(segment(elf::PT_LOAD, elf::PF_R, rest, end_of_rest, SEGMENT_ALIGNMENT));
    }
    for (name, kind) in [(".dynamic", elf::PT_DYNAMIC), (".note.gnu.build-id", elf::PT_NOTE), (".eh_frame_hdr", elf::PT_GNU_EH_FRAME)] {
        if let Some(s) = l.get(name) {
            segments.push(segment(kind, elf::PF_R, s.sh_offset, s.sh_offset + s.sh_size, s.sh_addralign));
        }
    }
    segments.push(segment(elf::PT_GNU_STACK, elf::PF_R | elf::PF_W, 0, 0, 16));

    let mut out: Vec<u8> = Vec::with_capacity(file_size as usize);
    let elf_header = FileHeader { e_type: elf::ET_DYN, e_machine: machine(input.target)?, ..FileHeader::default() };
    let elf_layout = FileHeaderLayout {
        e_phoff: encoder.file_header_size(),
        segment_num: segments.len() as u32,
        e_shoff: section_headers,
        section_num: l.sections.len() as u32 + 1,
        shstrtab_index: l.number(".shstrtab"),
    };
    encoder.file_header(&mut out, &elf_header, &elf_layout).map_err(|e| CompileError::Output(e.to_string()))?;
    for s in &segments {
        encoder.program_header(&mut out, s);
    }
    debug_assert!(out.len() <= HEADER_OFFSET);
    let mut table: Vec<u8> = Vec::new();
    encoder.null_section_header(&mut table, &elf_layout);
    for s in &l.sections {
        let sh_link = s.link.map_or(0, |name| l.number(name));
        encoder.section_header(&mut table, &SectionHeader { sh_link, ..s.header.clone() });
    }
    // Memory that the system has not mapped yet is mapped where it is written to, on several threads.
    let start = std::mem::replace(&mut out, vec![0; file_size as usize]);
    let pieces: Vec<(usize, &[u8])> = [(0, &start[..]), (HEADER_OFFSET, header.as_bytes())]
        .into_iter()
        .chain(l.sections.iter().map(|s| (s.header.sh_offset as usize, &*s.data)))
        .chain([(section_headers as usize, &table[..])])
        .collect();
    fill(&mut out, 0, &pieces);
    debug_assert_eq!(section_headers + table.len() as u64, file_size);
    Ok(out)
}

/// Copies pieces, sorted by their offsets and apart from each other, to where they belong in a file; `out` begins at an offset.
fn fill(out: &mut [u8], from: usize, pieces: &[(usize, &[u8])]) {
    let half = out.len() / 2;
    if out.len() <= LARGE_COPY {
        for (at, bytes) in pieces {
            // What lies in this part of the file.
            let (start, end) = ((*at).max(from), (at + bytes.len()).min(from + out.len()));
            if start < end {
                out[start - from..end - from].copy_from_slice(&bytes[start - at..end - at]);
            }
        }
        return;
    }
    let (low, high) = out.split_at_mut(half);
    crate::pool::join(|| fill(low, from, pieces), || fill(high, from + half, pieces));
}

fn machine(target: &Target) -> Result<elf::Machine, CompileError> {
    use target_lexicon::Architecture;
    match target.isa.triple().architecture {
        Architecture::X86_64 => Ok(elf::EM_X86_64),
        Architecture::Aarch64(_) => Ok(elf::EM_AARCH64),
        other => Err(CompileError::Output(format!("no ELF machine for `{other}`"))),
    }
}

fn segment(p_type: elf::ProgramType, p_flags: elf::ProgramFlags, start: u64, end: u64, p_align: u64) -> ProgramHeader {
    ProgramHeader { p_type, p_flags, p_offset: start, p_vaddr: start, p_paddr: start, p_filesz: end - start, p_memsz: end - start, p_align }
}

/// The contents of `.shstrtab`; the sections' headers get their names.
fn section_names(l: &mut Layout<'_>) -> Vec<u8> {
    let mut names = vec![0];
    for s in &mut l.sections {
        s.header.sh_name = names.len() as u32;
        names.extend_from_slice(s.name.as_bytes());
        names.push(0);
    }
    names
}

fn artifact_header(input: &Input<'_>, l: &Layout<'_>, file_size: u64, mapped_size: u64) -> Header {
    let entries: Vec<(SectionKind, SectionEntry)> = l
        .sections
        .par_iter()
        .filter_map(|s| {
            let entry = SectionEntry { offset: s.header.sh_offset, size: s.header.sh_size, digest: digest(&s.data) };
            Some((s.kind?, entry))
        })
        .collect();
    let mut sections = [SectionEntry::new_zeroed(); MAX_SECTIONS];
    for (kind, entry) in entries {
        sections[kind as usize] = entry;
    }
    let mut header = Header {
        magic: MAGIC,
        format_version: FORMAT_VERSION,
        header_size: size_of::<Header>() as u32,
        wasmc_version: padded(env!("CARGO_PKG_VERSION")),
        target: padded(&input.target.name),
        cpu_features: input.target.cpu_features,
        tunables: tunable_bits(input.tunables),
        features: feature_bits(input.features),
        file_size,
        mapped_size,
        reserved: 0,
        sections,
        digest: [0; 32],
    };
    let covered = size_of::<Header>() - header.digest.len();
    header.digest = digest(&header.as_bytes()[..covered]);
    header
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    if bytes.len() >= LARGE_DIGEST {
        hasher.update_rayon(bytes);
    } else {
        hasher.update(bytes);
    }
    *hasher.finalize().as_bytes()
}

fn padded(text: &str) -> [u8; 32] {
    let mut field = [0; 32];
    // One byte at least stays 0.
    let n = text.len().min(31);
    field[..n].copy_from_slice(&text.as_bytes()[..n]);
    field
}

const BUILD_ID_SIZE: usize = 20;
const NOTE_SIZE: usize = 16 + BUILD_ID_SIZE;

/// A build id that is different whenever anything that the header covers is.
fn build_id(header: &Header) -> Vec<u8> {
    let mut note = Vec::with_capacity(NOTE_SIZE);
    for word in [4, BUILD_ID_SIZE as u32, elf::NT_GNU_BUILD_ID.0] {
        note.extend_from_slice(&word.to_le_bytes());
    }
    note.extend_from_slice(b"GNU\0");
    note.extend_from_slice(&header.digest[..BUILD_ID_SIZE]);
    note
}
