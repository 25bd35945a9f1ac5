//! A small writer of artifacts for unit tests: no linkable ELF file, only what the loader reads. It lets a test put
//! anything into any section and still have digests that match.

use super::WASMC_VERSION;
use std::path::{Path, PathBuf};
use wasmc_environ::artifact::*;
use wasmc_environ::features::Features;
use wasmc_environ::limits::SEGMENT_ALIGNMENT;
use wasmc_environ::module::ClosedTable;
use wasmc_environ::types::AbiSignature;
use wasmc_environ::{FuncIndex, Tunables};
use zerocopy::IntoBytes;

/// The parts of an artifact.
#[derive(Clone)]
pub(crate) struct Builder {
    pub meta: ArtifactMeta,
    pub functions: Vec<FuncRecord>,
    pub traps: Vec<TrapRecord>,
    pub addresses: Vec<AddressRecord>,
    pub sites: Vec<InlineSite>,
    pub inlined: Vec<InlineRange>,
    pub handlers: Vec<HandlerRecord>,
    pub stack_maps: Vec<StackMapRecord>,
    pub slots: Vec<u32>,
    pub names: Vec<u8>,
    pub closed: Vec<ClosedTableEntry>,
    pub text: Vec<u8>,
    pub image: Vec<u8>,
    pub data: Vec<u8>,
    pub wasm: Vec<u8>,
    pub header: Header,
}

const NO_SECTION: SectionEntry = SectionEntry { offset: 0, size: 0, digest: [0; 32] };

/// A string padded with zeros.
pub(crate) fn padded(s: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..s.len()].copy_from_slice(s.as_bytes());
    bytes
}

/// Machine code that returns `value` to a caller with the platform's convention, padded to 16 bytes.
pub(crate) fn returns(value: u16) -> Vec<u8> {
    let [lo, hi] = value.to_le_bytes();
    let mut code = if cfg!(target_arch = "x86_64") {
        vec![0xb8, lo, hi, 0, 0, 0xc3]
    } else {
        let movz = 0x5280_0000u32 | u32::from(value) << 5;
        [movz.to_le_bytes(), 0xd65f_03c0u32.to_le_bytes()].concat()
    };
    code.resize(16, 0);
    code
}

const WAT: &str = r#"(module
    (type $t (func (param i32) (result i32)))
    (import "m" "f" (func $import (type $t)))
    (import "m" "g" (global $g i32))
    (memory (export "memory") 2)
    (data (i32.const 8) "hello")
    (table $closed 4 4 funcref)
    (table $open (export "table") 4 funcref)
    (global (mut i64) (i64.add (i64.const 1) (i64.const 2)))
    (tag $e (param externref))
    (elem (table $closed) (i32.const 1) func 1 2)
    (elem (table $open) (i32.const 0) funcref (ref.func $import) (ref.null func))
    (func $first (export "first") (type $t) local.get 0)
    (func $second (type $t) local.get 0)
    (func $start)
    (start $start)
)"#;

impl Default for Builder {
    fn default() -> Self {
        let wasm = wat::parse_str(WAT).unwrap();
        let mut module = wasmc_environ::decode::decode_and_validate(&wasm, &Features::default()).unwrap();
        let func = |i| Some(FuncIndex::from_u32(i));
        module.closed_tables = vec![Some(ClosedTable { elements: [None, func(1), func(2), None].into() }), None];
        let stub = StubSet {
            signature: AbiSignature { params: [].into(), results: [].into() },
            exit_array: None,
            exit_typed: Some(48),
            entry: Some(52),
            tail_entry: None,
        };
        let names = b"firstsecond\xc3\xa4".to_vec();
        let function = |code_offset, name_offset, name_size| FuncRecord {
            code_offset,
            code_size: 16,
            wasm_offset: 1,
            name_offset,
            name_size,
            flags: FUNC_COMPILED,
        };
        let entry = |code| ClosedTableEntry { code, type_index: 0 };
        let null = ClosedTableEntry { code: 0, type_index: CLOSED_NULL };
        let image = MemoryImage { offset: 0, size: SEGMENT_ALIGNMENT, target: 0 };
        let mut image_bytes = vec![0; SEGMENT_ALIGNMENT as usize];
        image_bytes[8..13].copy_from_slice(b"hello");
        Self {
            meta: ArtifactMeta {
                module,
                images: vec![Some(image)],
                stubs: vec![stub],
                data_section: false,
                closed_offsets: vec![8, u32::MAX],
                costs: None,
            },
            functions: vec![function(0, 0, 5), function(16, 5, 8), function(32, 0, 0)],
            traps: vec![
                TrapRecord { code_offset: 3, code: 1 },
                TrapRecord { code_offset: 7, code: 2 },
                TrapRecord { code_offset: 20, code: 8 },
            ],
            // In function 0, a call of function 1 at 70; in that body, one of function 2 at 71.
            sites: vec![InlineSite { parent: NO_SITE, callee: 2, wasm_offset: 70 }, InlineSite { parent: 0, callee: 3, wasm_offset: 71 }],
            inlined: vec![
                InlineRange { code_offset: 2, site: 0 },
                InlineRange { code_offset: 4, site: 1 },
                InlineRange { code_offset: 6, site: NO_SITE },
            ],
            addresses: vec![
                AddressRecord { code_offset: 0, wasm_offset: 77 },
                AddressRecord { code_offset: 18, wasm_offset: 80 },
                AddressRecord { code_offset: 32, wasm_offset: u32::MAX },
            ],
            handlers: vec![HandlerRecord { return_offset: 10, handler_offset: 12, frame_size: 32 }],
            stack_maps: vec![StackMapRecord { return_offset: 22, frame_size: 32, first_slot: 1, num_slots: 2 }],
            slots: vec![0, 4, 8],
            names,
            closed: vec![null, null, entry(0), entry(16), null],
            text: [returns(11), returns(22), returns(33), returns(44)].concat(),
            image: image_bytes,
            data: Vec::new(),
            wasm,
            header: Header {
                magic: MAGIC,
                format_version: FORMAT_VERSION,
                header_size: size_of::<Header>() as u32,
                wasmc_version: padded(WASMC_VERSION),
                target: padded(&format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)),
                cpu_features: 0,
                tunables: tunable_bits(&Tunables::default()),
                features: feature_bits(&Features::default()),
                file_size: 0,
                mapped_size: 0,
                reserved: 0,
                sections: [NO_SECTION; MAX_SECTIONS],
                digest: [0; 32],
            },
        }
    }
}

impl Builder {
    /// The file.
    pub(crate) fn build(mut self) -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(HEADER_OFFSET + size_of::<Header>(), 0);
        // Where the text will be is known before the read-only data is written.
        let rodata = Self::place(&mut file, &mut self.header, SectionKind::RoData, self.closed.as_bytes());
        let text = Self::place(&mut file, &mut self.header, SectionKind::Text, &self.text);
        let to_text = text as i32 - rodata as i32;
        let offset = self.meta.closed_offsets.first().copied().filter(|o| *o != u32::MAX).unwrap_or(0);
        for e in self.closed.iter_mut().filter(|e| e.type_index != CLOSED_NULL) {
            e.code = e.code.wrapping_add(to_text - offset as i32);
        }
        file[rodata..rodata + self.closed.as_bytes().len()].copy_from_slice(self.closed.as_bytes());
        self.header.sections[SectionKind::RoData as usize].digest = *blake3::hash(self.closed.as_bytes()).as_bytes();
        Self::place(&mut file, &mut self.header, SectionKind::MemoryImage, &self.image);
        let meta = postcard::to_allocvec(&self.meta).unwrap();
        for (kind, bytes) in [
            (SectionKind::Meta, &meta[..]),
            (SectionKind::Functions, self.functions.as_bytes()),
            (SectionKind::Traps, self.traps.as_bytes()),
            (SectionKind::Addresses, self.addresses.as_bytes()),
            (SectionKind::InlineSites, self.sites.as_bytes()),
            (SectionKind::InlineRanges, self.inlined.as_bytes()),
            (SectionKind::Handlers, self.handlers.as_bytes()),
            (SectionKind::StackMaps, self.stack_maps.as_bytes()),
            (SectionKind::StackMapSlots, self.slots.as_bytes()),
            (SectionKind::Names, &self.names),
        ] {
            Self::place(&mut file, &mut self.header, kind, bytes);
        }
        self.header.mapped_size = file.len() as u64;
        Self::place(&mut file, &mut self.header, SectionKind::Data, &self.data);
        Self::place(&mut file, &mut self.header, SectionKind::Wasm, &self.wasm);
        self.header.file_size = file.len() as u64;
        seal(&mut file, self.header);
        file
    }

    fn place(file: &mut Vec<u8>, header: &mut Header, kind: SectionKind, bytes: &[u8]) -> usize {
        if bytes.is_empty() {
            return 0;
        }
        let alignment = if matches!(kind, SectionKind::Text | SectionKind::MemoryImage) { SEGMENT_ALIGNMENT as usize } else { 8 };
        // Nothing else may share the text's pages.
        let previous_is_text = header.sections[SectionKind::Text as usize].size != 0
            && header.sections[SectionKind::Text as usize].offset + header.sections[SectionKind::Text as usize].size == file.len() as u64;
        let at = file.len().next_multiple_of(if previous_is_text { SEGMENT_ALIGNMENT as usize } else { alignment });
        file.resize(at, 0);
        file.extend_from_slice(bytes);
        header.sections[kind as usize] =
            SectionEntry { offset: at as u64, size: bytes.len() as u64, digest: *blake3::hash(bytes).as_bytes() };
        at
    }
}

/// Writes a header with its digest into a file.
pub(crate) fn seal(file: &mut [u8], mut header: Header) {
    let digested = std::mem::offset_of!(Header, digest);
    header.digest = *blake3::hash(&header.as_bytes()[..digested]).as_bytes();
    file[HEADER_OFFSET..HEADER_OFFSET + size_of::<Header>()].copy_from_slice(header.as_bytes());
}

/// A file that is removed again.
pub(crate) struct TempFile(PathBuf);

impl TempFile {
    pub(crate) fn new(contents: &[u8]) -> Self {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("wasmc-artifact-{}-{}.so", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let file = Self(std::env::temp_dir().join(name));
        file.write(contents);
        file
    }

    pub(crate) fn write(&self, contents: &[u8]) {
        std::fs::write(&self.0, contents).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
