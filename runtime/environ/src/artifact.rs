//! The format of artifacts: the fixed header and the records of the sections, which are read in place. `docs/artifact.md`
//! has the byte pictures. The ELF structure around it is for tools; the loader reads only what stands here.
//!
//! All numbers are little endian. Section offsets equal addresses from the start of the mapping.

use crate::costs::CostTable;
use crate::index::SharedTypeIndex;
use crate::module::Module;
use crate::types::AbiSignature;
use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First bytes of the header.
pub const MAGIC: [u8; 8] = *b"\x7fwasmc\0\x01";
/// Version of this format: changed with every change of what generated code and the loader must agree on.
pub const FORMAT_VERSION: u32 = 6;
/// File offset of the header: behind the ELF header and the program headers.
pub const HEADER_OFFSET: usize = 0x400;
/// Number of entries in the header's section table.
pub const MAX_SECTIONS: usize = 16;

macro_rules! sections {
    ($($(#[$doc:meta])* $name:ident = $number:literal $elf:literal;)*) => {
        /// The sections of an artifact; the number is the place in the header's table.
        #[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(usize)]
        pub enum SectionKind {
            $($(#[$doc])* $name = $number,)*
        }

        impl SectionKind {
            /// All kinds, in the order of the header's table.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The name of the ELF section.
            pub const fn elf_name(self) -> &'static str {
                match self {
                    $(Self::$name => $elf,)*
                }
            }
        }
    };
}

sections! {
    /// `ArtifactMeta`, encoded with postcard.
    Meta = 0 ".wasmc.meta";
    /// `FuncRecord`s of the defined functions, by `DefinedFuncIndex`.
    Functions = 1 ".wasmc.funcs";
    /// `TrapRecord`s, sorted by code offset.
    Traps = 2 ".wasmc.traps";
    /// `AddressRecord`s, sorted by code offset.
    Addresses = 3 ".wasmc.addrs";
    /// `HandlerRecord`s, sorted by return offset.
    Handlers = 4 ".wasmc.handlers";
    /// `StackMapRecord`s, sorted by return offset.
    StackMaps = 5 ".wasmc.stackmaps";
    /// The `u32` slots that `StackMapRecord`s refer to.
    StackMapSlots = 6 ".wasmc.slots";
    /// Names of functions, UTF-8, that `FuncRecord`s refer to.
    Names = 7 ".wasmc.names";
    /// Closed tables: `ClosedTableEntry`s. Code refers to it relative to the PC.
    RoData = 8 ".rodata";
    /// Machine code.
    Text = 9 ".text";
    /// Images of initial memories, each aligned for the largest page size.
    MemoryImage = 10 ".wasmc.image";
    /// Bytes of data segments, where the original module is left out.
    Data = 11 ".wasmc.data";
    /// The original module.
    Wasm = 12 ".wasmc.wasm";
    /// `InlineSite`s, parents before their children.
    InlineSites = 13 ".wasmc.sites";
    /// `InlineRange`s, sorted by code offset.
    InlineRanges = 14 ".wasmc.inlined";
}

/// An entry of the header's section table. An absent section is all zero.
#[derive(Copy, Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SectionEntry {
    /// File offset, and address from the start of the mapping.
    pub offset: u64,
    /// Size in bytes.
    pub size: u64,
    /// BLAKE3 of the contents.
    pub digest: [u8; 32],
}

/// The header.
#[derive(Copy, Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// `MAGIC`.
    pub magic: [u8; 8],
    /// `FORMAT_VERSION`.
    pub format_version: u32,
    /// Size of this structure.
    pub header_size: u32,
    /// Version of wasmc that made the file, padded with 0.
    pub wasmc_version: [u8; 32],
    /// Target as `arch-os`, padded with 0.
    pub target: [u8; 32],
    /// CPU features that the code needs (bits by `cpu::CPU_FEATURES`).
    pub cpu_features: u64,
    /// Options that changed the code (bits, see `tunable_bits`).
    pub tunables: u64,
    /// Proposals that were on (bits by `Features::ALL`).
    pub features: u64,
    /// Size of the whole file.
    pub file_size: u64,
    /// End of the part that is mapped.
    pub mapped_size: u64,
    /// Always 0.
    pub reserved: u64,
    /// The sections, by `SectionKind`.
    pub sections: [SectionEntry; MAX_SECTIONS],
    /// BLAKE3 of all bytes of this structure before this field.
    pub digest: [u8; 32],
}

/// A defined function.
#[derive(Copy, Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FuncRecord {
    /// Offset of its code in the text: its body, or the stub that has it interpreted.
    pub code_offset: u32,
    /// Size of the code.
    pub code_size: u32,
    /// Offset of its body in the wasm binary.
    pub wasm_offset: u32,
    /// Offset of its name in `Names`.
    pub name_offset: u32,
    /// Size of its name; 0 if it has none.
    pub name_size: u32,
    /// `FUNC_COMPILED`, or 0.
    pub flags: u32,
}

/// Flag of a `FuncRecord`: the function has native code.
pub const FUNC_COMPILED: u32 = 1;

/// An instruction that can trap.
#[derive(Copy, Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TrapRecord {
    /// Offset of the instruction in the text, in the low 32 bits shifted left by 0.
    pub code_offset: u32,
    /// A `TrapCode`.
    pub code: u32,
}

/// From here to the next record, code comes from this wasm instruction.
#[derive(Copy, Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct AddressRecord {
    /// Offset in the text.
    pub code_offset: u32,
    /// Byte offset in the wasm binary; `u32::MAX` where the code comes from no instruction.
    pub wasm_offset: u32,
}

/// A call in whose place the callee's body stands.
#[derive(Copy, Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct InlineSite {
    /// Number of the site in whose callee the call stands, which is less than this one's; `NO_SITE` if it stands in the
    /// function that the code was made for.
    pub parent: u32,
    /// `FuncIndex` of the callee.
    pub callee: u32,
    /// Byte offset of the call in the wasm binary.
    pub wasm_offset: u32,
}

/// From here to the next range, code comes from the callee of this site.
#[derive(Copy, Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct InlineRange {
    /// Offset in the text.
    pub code_offset: u32,
    /// Number of an `InlineSite`; `NO_SITE` for code of the function itself.
    pub site: u32,
}

/// Stands for no `InlineSite`.
pub const NO_SITE: u32 = u32::MAX;

/// A call in a frame that handles exceptions.
#[derive(Copy, Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct HandlerRecord {
    /// Offset of the return address in the text.
    pub return_offset: u32,
    /// Offset of the handler in the text. It is entered with SP = FP - `frame_size` and the payload registers set to
    /// the exception's reference and the address of its `VMExnObject`.
    pub handler_offset: u32,
    /// Distance from FP down to SP at the call.
    pub frame_size: u32,
}

/// A call across which heap references live in the frame.
#[derive(Copy, Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct StackMapRecord {
    /// Offset of the return address in the text.
    pub return_offset: u32,
    /// Distance from FP down to SP.
    pub frame_size: u32,
    /// First slot in `StackMapSlots`: byte offsets from SP at which a heap reference (32 bits) lies.
    pub first_slot: u32,
    /// Number of slots.
    pub num_slots: u32,
}

/// An element of a closed table.
#[derive(Copy, Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ClosedTableEntry {
    /// Address of the code, from the start of this table. All take the module's own `vmctx`.
    pub code: i32,
    /// The function's canonical `TypeIndex` in this module, or `CLOSED_NULL`.
    pub type_index: u32,
}

/// `type_index` of a null element.
pub const CLOSED_NULL: u32 = u32::MAX;

/// The stubs for one signature: offsets in the text, 0 where there is none. See `docs/abi.md`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StubSet {
    /// What they serve.
    pub signature: AbiSignature,
    /// Wasm registers -> array: calls `VMExitContext::array_fn`.
    pub exit_array: Option<u32>,
    /// Wasm registers -> C registers: calls `VMExitContext::typed_fn`.
    pub exit_typed: Option<u32>,
    /// Array -> wasm registers: `extern "C" fn(code, ctx, args: *mut ValRaw)`.
    pub entry: Option<u32>,
    /// Makes the call that waits in `VMStoreContext::tail`.
    pub tail_entry: Option<u32>,
}

/// Image of a defined memory.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryImage {
    /// Offset from the start of the section `MemoryImage`; a multiple of `SEGMENT_ALIGNMENT`.
    pub offset: u64,
    /// Size in bytes; a multiple of `SEGMENT_ALIGNMENT`.
    pub size: u64,
    /// Where it begins in the memory; a multiple of `SEGMENT_ALIGNMENT`.
    pub target: u64,
}

/// The metadata of an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactMeta {
    /// The module, with its closed tables.
    pub module: Module,
    /// Images of memories, by `DefinedMemoryIndex`: where there is one, the active segments of that memory have been
    /// applied in it and are not applied again.
    pub images: Vec<Option<MemoryImage>>,
    /// The stubs.
    pub stubs: Vec<StubSet>,
    /// Whether the data segments' ranges refer to the section `Data` instead of `Wasm`.
    pub data_section: bool,
    /// Offset of each closed table in `RoData`, by `TableIndex`; `u32::MAX` where there is none.
    pub closed_offsets: Vec<u32>,
    /// What instructions cost in metered code, if not 1 each.
    pub costs: Option<CostTable>,
}

/// The bits of the header's `tunables`.
pub fn tunable_bits(t: &crate::Tunables) -> u64 {
    [t.static_memory, t.spectre_tables, t.meter, t.trace].into_iter().enumerate().map(|(i, on)| u64::from(on) << i).sum()
}

/// The bits of the header's `features`.
pub fn feature_bits(f: &crate::features::Features) -> u64 {
    crate::features::Features::ALL.iter().enumerate().map(|(i, p)| u64::from(f.get(p.name).unwrap_or(false)) << i).sum()
}

/// The records of a section, or `None` if its size or alignment does not fit.
pub fn records<T: FromBytes + Immutable + KnownLayout>(bytes: &[u8]) -> Option<&[T]> {
    <[T]>::ref_from_bytes(bytes).ok()
}

/// A reserved value that no interned type has.
pub const NO_SHARED_TYPE: SharedTypeIndex = SharedTypeIndex::from_u32(u32::MAX);
