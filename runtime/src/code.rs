//! Code that can run, with what the runtime needs to know about it: an artifact's mapping, or what a compiler put into
//! memory. Records are read in place. The lookups by code offset neither allocate nor lock nor panic, so that signal
//! handlers may use them, except where they say otherwise.

use crate::artifact::{
    ArtifactErrorKind, Stamp, is_section_intact, validate, validate_messages, validate_piece, verify_all, verify_messages,
};
use crate::vm::fork::get_or_init;
use crate::vm::memory::{ImageBytes, MemoryImageSource};
use crate::vm::mmap::Mmap;
use std::any::Any;
use std::fs::File;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::OnceLock;
use wasmc_environ::artifact::*;
use wasmc_environ::jit::JitCode;
use wasmc_environ::{DefinedFuncIndex, DefinedMemoryIndex, FuncIndex, Module, TrapCode};
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// The native code of a module.
#[derive(Clone)]
pub(crate) enum Code {
    /// None: every function is interpreted.
    None,
    /// An artifact, or code made in memory.
    Loaded(std::sync::Arc<LoadedCode>),
}

/// The bytes of a section, in memory that the owner of the `Sections` keeps.
#[derive(Copy, Clone)]
pub(crate) struct Section {
    start: *const u8,
    len: usize,
}

impl Section {
    /// # Safety
    /// The bytes must be readable and unchanged for as long as whoever keeps the section lives.
    pub(crate) unsafe fn new(start: *const u8, len: usize) -> Self {
        Self { start, len }
    }
}

/// All sections; absent ones are empty.
#[derive(Copy, Clone)]
pub(crate) struct Sections([Section; MAX_SECTIONS]);

impl Default for Sections {
    fn default() -> Self {
        // Aligned for every record.
        Self([Section { start: std::ptr::dangling::<u64>().cast(), len: 0 }; MAX_SECTIONS])
    }
}

// SAFETY: sections are only read, and never written by anybody while they exist.
unsafe impl Send for Sections {}
// SAFETY: as above.
unsafe impl Sync for Sections {}

impl Sections {
    pub(crate) fn set(&mut self, kind: SectionKind, section: Section) {
        self.0[kind as usize] = section;
    }

    /// The bytes of a section.
    #[inline]
    pub(crate) fn bytes(&self, kind: SectionKind) -> &[u8] {
        let Section { start, len } = self.0[kind as usize];
        // SAFETY: who made the section (`Section::new`) answers for the bytes living as long as `self`.
        unsafe { std::slice::from_raw_parts(start, len) }
    }

    /// The records of a section: none if its size is no multiple of theirs, which loading refuses.
    #[inline]
    pub(crate) fn records<T: FromBytes + Immutable + KnownLayout>(&self, kind: SectionKind) -> &[T] {
        records(self.bytes(kind)).unwrap_or(&[])
    }
}

/// What keeps code and sections in memory.
pub(crate) enum Backing {
    /// A mapped file.
    Artifact {
        /// The whole file.
        map: Mmap,
        /// The file, if images of memories are to be mapped from it.
        file: Option<File>,
        /// Its header.
        header: Box<Header>,
        /// When it was written to last, before it was loaded.
        stamp: Option<Stamp>,
    },
    /// Made in memory.
    Jit {
        /// The sections, in words, so that they are aligned for every record.
        _sections: Vec<Box<[u64]>>,
        /// The executable memory.
        _keep: Box<dyn Any + Send + Sync>,
    },
}

/// Native code of one module, ready to run.
pub(crate) struct LoadedCode {
    pub(crate) text: Range<usize>,
    pub(crate) meta: ArtifactMeta,
    pub(crate) sections: Sections,
    /// Indices of the function records by code offset, where the records are not in that order themselves.
    pub(crate) order: Option<Box<[u32]>>,
    /// In a piece of a module's code: the functions of the records, sorted. Else there is a record for each function.
    pub(crate) piece: Option<Box<[DefinedFuncIndex]>>,
    /// Whether the sections that only messages need are intact, once that was asked.
    pub(crate) messages: OnceLock<bool>,
    pub(crate) backing: Backing,
}

/// The last of the records, sorted by `key`, whose key is at most `at`.
#[inline]
fn last_at_or_before<T>(records: &[T], at: u32, key: impl Fn(&T) -> u32) -> Option<&T> {
    records.get(records.partition_point(|r| key(r) <= at).checked_sub(1)?)
}

/// The record, sorted by `key`, whose key is `at`.
#[inline]
fn exactly_at<T>(records: &[T], at: u32, key: impl Fn(&T) -> u32) -> Option<&T> {
    last_at_or_before(records, at, &key).filter(|r| key(r) == at)
}

impl LoadedCode {
    /// Takes over code that a compiler made in memory.
    pub(crate) fn from_jit(code: JitCode) -> Result<Self, ArtifactErrorKind> {
        Self::made_in_memory(code, None)
    }

    /// Takes over a piece of a module's code, with these functions.
    pub(crate) fn from_piece(code: JitCode, functions: Box<[DefinedFuncIndex]>) -> Result<Self, ArtifactErrorKind> {
        Self::made_in_memory(code, Some(functions))
    }

    fn made_in_memory(code: JitCode, piece: Option<Box<[DefinedFuncIndex]>>) -> Result<Self, ArtifactErrorKind> {
        let JitCode { text, text_len, meta, sections: given, keep } = code;
        let mut kept = Vec::with_capacity(given.len());
        let mut sections = Sections::default();
        for (kind, bytes) in given {
            let mut words = vec![0u64; bytes.len().div_ceil(8)].into_boxed_slice();
            zerocopy::IntoBytes::as_mut_bytes(&mut *words)[..bytes.len()].copy_from_slice(&bytes);
            // SAFETY: the words live as long as the code, and their box does not move them.
            sections.set(kind, unsafe { Section::new(words.as_ptr().cast(), bytes.len()) });
            kept.push(words);
        }
        let order = match &piece {
            None => validate(&meta, &sections, text_len, None)?.order,
            Some(piece) => {
                validate_piece(&meta, &sections, text_len, piece.len())?;
                None
            }
        };
        let end = text.checked_add(text_len).ok_or_else(|| ArtifactErrorKind::Invalid("text beyond the address space".into()))?;
        let backing = Backing::Jit { _sections: kept, _keep: keep };
        Ok(Self { text: text..end, meta, sections, order, piece, messages: OnceLock::new(), backing })
    }

    /// The functions of a piece of a module's code, sorted; none if this is no piece.
    pub(crate) fn piece_functions(&self) -> &[DefinedFuncIndex] {
        self.piece.as_deref().unwrap_or_default()
    }

    /// The record of a function, if it has one.
    #[inline]
    fn record(&self, index: DefinedFuncIndex) -> Option<&FuncRecord> {
        match &self.piece {
            None => self.functions().get(index.index()),
            Some(piece) => self.functions().get(piece.binary_search(&index).ok()?),
        }
    }

    /// The addresses of the code.
    pub(crate) fn text(&self) -> Range<usize> {
        self.text.clone()
    }

    /// The metadata. Its module is empty after `take_module`.
    pub(crate) fn meta(&self) -> &ArtifactMeta {
        &self.meta
    }

    /// Moves the module out of the metadata, so that it need not be copied; nothing here uses it.
    pub(crate) fn take_module(&mut self) -> Module {
        std::mem::take(&mut self.meta.module)
    }

    /// The header of an artifact; `None` for code made in memory.
    pub(crate) fn header(&self) -> Option<&Header> {
        match &self.backing {
            Backing::Artifact { header, .. } => Some(header),
            Backing::Jit { .. } => None,
        }
    }

    /// Whether the file of an artifact was written to since it was loaded. Async-signal-safe.
    pub(crate) fn was_written(&self) -> bool {
        matches!(&self.backing, Backing::Artifact { stamp: Some(stamp), .. } if stamp.differs())
    }

    /// Whether the original module is what it was when it was hashed.
    pub(crate) fn wasm_is_intact(&self) -> bool {
        match &self.backing {
            Backing::Artifact { header, stamp: Some(stamp), .. } => {
                stamp.is_unchanged(|| is_section_intact(header, &self.sections, SectionKind::Wasm))
            }
            _ => true,
        }
    }

    /// Compares all sections of an artifact with their digests, also those that opening it leaves out.
    pub(crate) fn verify_all(&self) -> Result<(), ArtifactErrorKind> {
        self.header().map_or(Ok(()), |header| verify_all(header, &self.sections))
    }

    /// The defined functions, by `DefinedFuncIndex`.
    #[inline]
    pub(crate) fn functions(&self) -> &[FuncRecord] {
        self.sections.records(SectionKind::Functions)
    }

    /// The code of a function: its body, or the stub that has it interpreted.
    #[inline]
    pub(crate) fn function_code(&self, index: DefinedFuncIndex) -> *const u8 {
        // Whoever asks knows that there is one.
        self.record(index).map_or(std::ptr::null(), |f| self.stub_address(f.code_offset))
    }

    /// Whether a function has native code.
    #[inline]
    pub(crate) fn is_compiled(&self, index: DefinedFuncIndex) -> bool {
        self.record(index).is_some_and(|f| f.flags & FUNC_COMPILED != 0)
    }

    /// Why the instruction at this offset traps, if it is one that can.
    pub(crate) fn trap_at(&self, text_offset: u32) -> Option<TrapCode> {
        let record = exactly_at(self.sections.records::<TrapRecord>(SectionKind::Traps), text_offset, |r| r.code_offset)?;
        TrapCode::from_u8(u8::try_from(record.code).ok()?)
    }

    /// The handler of the call that returns to this offset.
    pub(crate) fn handler_at(&self, return_offset: u32) -> Option<&HandlerRecord> {
        exactly_at(self.sections.records(SectionKind::Handlers), return_offset, |r: &HandlerRecord| r.return_offset)
    }

    /// The heap references in the frame of the call that returns to this offset: offsets from SP.
    pub(crate) fn stack_map_at(&self, return_offset: u32) -> Option<(&StackMapRecord, &[u32])> {
        let maps = self.sections.records(SectionKind::StackMaps);
        let record = exactly_at(maps, return_offset, |r: &StackMapRecord| r.return_offset)?;
        let slots: &[u32] = self.sections.records(SectionKind::StackMapSlots);
        let slots = slots.get(record.first_slot as usize..)?.get(..record.num_slots as usize)?;
        Some((record, slots))
    }

    /// Whether names and addresses can be used. They are checked at their first use, since most runs never need them, and
    /// they are large; damage costs the messages their details, nothing else.
    fn has_messages(&self) -> bool {
        *get_or_init(&self.messages, || {
            let digests = self.header().map_or(Ok(()), |header| verify_messages(header, &self.sections));
            match digests.and_then(|()| validate_messages(&self.sections).map_err(Into::into)) {
                Ok(()) => true,
                Err(e) => {
                    tracing::warn!("backtraces have no names and offsets: {e}");
                    false
                }
            }
        })
    }

    /// The wasm instruction that the code at this offset was made for. Not for signal handlers.
    pub(crate) fn wasm_offset_at(&self, text_offset: u32) -> Option<u32> {
        if !self.has_messages() {
            return None;
        }
        let records = self.sections.records(SectionKind::Addresses);
        last_at_or_before(records, text_offset, |r: &AddressRecord| r.code_offset).map(|r| r.wasm_offset).filter(|w| *w != u32::MAX)
    }

    /// The calls in whose place the code at this offset stands, innermost first: each callee, as `FuncIndex`, and the
    /// offset of the call in the wasm binary. Not for signal handlers.
    pub(crate) fn inlined_at(&self, text_offset: u32) -> impl Iterator<Item = (FuncIndex, u32)> + '_ {
        let known = self.has_messages();
        let ranges: &[InlineRange] = if known { self.sections.records(SectionKind::InlineRanges) } else { &[] };
        let sites: &[InlineSite] = if known { self.sections.records(SectionKind::InlineSites) } else { &[] };
        let mut site = last_at_or_before(ranges, text_offset, |r| r.code_offset).map_or(NO_SITE, |r| r.site);
        // Parents come before their children, so this ends; `NO_SITE` is no index.
        std::iter::from_fn(move || {
            let s = sites.get(site as usize)?;
            site = s.parent;
            Some((FuncIndex::from_u32(s.callee), s.wasm_offset))
        })
    }

    /// The function whose code this offset lies in; stubs of signatures belong to none.
    pub(crate) fn function_at(&self, text_offset: u32) -> Option<DefinedFuncIndex> {
        let functions = self.functions();
        let index = match &self.order {
            None => functions.partition_point(|f| f.code_offset <= text_offset).checked_sub(1)?,
            Some(order) => {
                let start = |i: &u32| functions.get(*i as usize).map_or(u32::MAX, |f| f.code_offset);
                *last_at_or_before(order, text_offset, start)? as usize
            }
        };
        let function = functions.get(index)?;
        if text_offset.checked_sub(function.code_offset)? >= function.code_size {
            return None;
        }
        match &self.piece {
            None => Some(DefinedFuncIndex::from_u32(index as u32)),
            Some(piece) => piece.get(index).copied(),
        }
    }

    /// The name of a function. Not for signal handlers.
    pub(crate) fn function_name(&self, index: DefinedFuncIndex) -> Option<&str> {
        if !self.has_messages() {
            return None;
        }
        let f = self.record(index)?;
        let names = self.sections.bytes(SectionKind::Names);
        let name = names.get(f.name_offset as usize..)?.get(..f.name_size as usize)?;
        std::str::from_utf8(name).ok().filter(|n| !n.is_empty())
    }

    /// The stubs, sorted by nothing in particular.
    pub(crate) fn stubs(&self) -> &[StubSet] {
        &self.meta.stubs
    }

    /// The address of an offset in the text.
    #[inline]
    pub(crate) fn stub_address(&self, offset: u32) -> *const u8 {
        std::ptr::with_exposed_provenance(self.text.start + offset as usize)
    }

    /// The original module, if it is there. Opening an artifact hashes it only if functions are left to the interpreter.
    pub(crate) fn wasm(&self) -> Option<&[u8]> {
        Some(self.sections.bytes(SectionKind::Wasm)).filter(|w| !w.is_empty())
    }

    /// The bytes of a data segment, by `DataSegment::bytes`; empty if this code has neither the module nor its data.
    pub(crate) fn data(&self, range: Range<u64>) -> &[u8] {
        let kind = if self.meta.data_section { SectionKind::Data } else { SectionKind::Wasm };
        self.sections.bytes(kind).get(range.start as usize..range.end as usize).unwrap_or_default()
    }

    /// The initial contents of a memory, if its active segments are in an image.
    pub(crate) fn memory_image(&self, memory: DefinedMemoryIndex) -> Option<MemoryImageSource<'_>> {
        let image = (*self.meta.images.get(memory.index())?)?;
        let bytes = match &self.backing {
            Backing::Artifact { file, header, .. } => {
                let section = &header.sections[SectionKind::MemoryImage as usize];
                ImageBytes::File(file.as_ref()?.as_fd(), section.offset + image.offset)
            }
            Backing::Jit { .. } => {
                let section = self.sections.bytes(SectionKind::MemoryImage);
                ImageBytes::Memory(section.get(image.offset as usize..)?.get(..image.size as usize)?)
            }
        };
        Some(MemoryImageSource { bytes, size: image.size, target: image.target })
    }
}
