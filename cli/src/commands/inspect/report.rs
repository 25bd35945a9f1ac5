//! What `wasmc inspect` knows about a file, in the form of `--json`. The schema is stable: fields are added, never renamed or
//! given another meaning; `schema` changes if that promise is ever broken. `docs/inspect.md` describes it.

use serde::Serialize;
use std::collections::BTreeMap;

/// The number of the schema.
pub const SCHEMA: u32 = 1;

/// Everything about a file.
#[derive(Debug, Serialize)]
pub struct Report {
    pub schema: u32,
    pub file: String,
    pub size: u64,
    pub kind: Kind,
    /// Why there is less here than the file should have: damage, or another version.
    pub problem: Option<String>,
    /// Absent if the metadata of an artifact cannot be used.
    pub module: Option<ModuleReport>,
    /// Of an artifact.
    pub artifact: Option<ArtifactReport>,
    /// How many instructions can trap, by reason; of an artifact, or of a module that was compiled for this.
    pub traps: Option<BTreeMap<&'static str, u64>>,
    /// The defined functions, by index.
    pub functions: Vec<FunctionReport>,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Module,
    Artifact,
}

/// The WebAssembly module: of a file, or in an artifact.
#[derive(Debug, Serialize)]
pub struct ModuleReport {
    pub name: Option<String>,
    /// Size of the binary; absent if the artifact was stripped of it.
    pub size: Option<u64>,
    pub valid: bool,
    /// Why it is not valid, and where.
    pub error: Option<ErrorReport>,
    /// The proposals without which it is not valid. Absent if it is not valid with all of them, or there is no binary.
    pub features: Option<Vec<&'static str>>,
    /// Sections of the binary in order, custom ones included; none without the binary.
    pub sections: Vec<SectionReport>,
    pub imports: Vec<ImportReport>,
    pub exports: Vec<ExportReport>,
    /// The function that instantiation calls.
    pub start: Option<u32>,
    pub types: u64,
    pub memories: Vec<MemoryReport>,
    pub tables: Vec<TableReport>,
    pub globals: Vec<EntityReport>,
    pub tags: Vec<EntityReport>,
    pub data_segments: Vec<SegmentReport>,
    pub element_segments: Vec<SegmentReport>,
    /// What made it, from the custom section `producers`.
    pub producers: Vec<ProducerReport>,
    /// Whether there is a custom section `name`.
    pub has_names: bool,
    /// Whether there is debug information, by which backtraces could name source lines.
    pub has_dwarf: bool,
}

#[derive(Debug, Serialize)]
pub struct ErrorReport {
    pub offset: u64,
    pub message: String,
}

#[derive(Debug, Serialize)]
pub struct SectionReport {
    pub name: String,
    pub custom: bool,
    /// Where its contents begin in the binary.
    pub offset: u64,
    pub size: u64,
}

#[derive(Debug, Serialize)]
pub struct ImportReport {
    pub module: String,
    pub name: String,
    pub kind: &'static str,
    #[serde(rename = "type")]
    pub ty: String,
}

#[derive(Debug, Serialize)]
pub struct ExportReport {
    pub name: String,
    pub kind: &'static str,
    pub index: u32,
    #[serde(rename = "type")]
    pub ty: String,
}

#[derive(Debug, Serialize)]
pub struct EntityReport {
    pub index: u32,
    pub imported: bool,
    #[serde(rename = "type")]
    pub ty: String,
}

#[derive(Debug, Serialize)]
pub struct MemoryReport {
    #[serde(flatten)]
    pub entity: EntityReport,
    pub minimum_bytes: Option<u64>,
    pub maximum_bytes: Option<u64>,
    /// What an artifact maps instead of applying segments.
    pub image: Option<ImageReport>,
}

#[derive(Debug, Serialize)]
pub struct TableReport {
    #[serde(flatten)]
    pub entity: EntityReport,
    /// Whether its contents are fixed, so that calls through it need no look-up at run time. Only known of artifacts.
    pub closed: Option<bool>,
}

#[derive(Debug, Serialize)]
pub struct ImageReport {
    /// Where it lies in the file.
    pub offset: u64,
    pub size: u64,
    /// Where it begins in the memory.
    pub address: u64,
}

#[derive(Debug, Serialize)]
pub struct SegmentReport {
    pub index: u32,
    pub mode: &'static str,
    /// The memory or table of an active segment.
    pub target: Option<u32>,
    /// Where an active segment begins, if that is a constant.
    pub offset: Option<u64>,
    /// In bytes, or elements.
    pub size: u64,
}

#[derive(Debug, Serialize)]
pub struct ProducerReport {
    pub field: String,
    pub name: String,
    pub version: String,
}

/// The header of an artifact.
#[derive(Debug, Serialize)]
pub struct ArtifactReport {
    pub format_version: u32,
    pub wasmc_version: String,
    pub target: String,
    pub cpu_features: Vec<String>,
    pub tunables: Vec<String>,
    pub features: Vec<String>,
    /// BLAKE3 of the header, which has the digests of all sections.
    pub digest: String,
    /// Whether the original module was left out.
    pub stripped: bool,
    pub stubs: u64,
    pub sections: Vec<ArtifactSectionReport>,
}

#[derive(Debug, Serialize)]
pub struct ArtifactSectionReport {
    pub name: &'static str,
    pub offset: u64,
    pub size: u64,
    pub digest: String,
    /// Whether it matches its digest.
    pub intact: bool,
}

#[derive(Debug, Serialize)]
pub struct FunctionReport {
    pub index: u32,
    pub name: Option<String>,
    #[serde(rename = "type")]
    pub ty: String,
    /// Where its body begins in the binary.
    pub wasm_offset: u64,
    pub wasm_size: u64,
    /// Where its code begins in the text.
    pub code_offset: Option<u64>,
    pub code_size: Option<u64>,
    /// Whether it has native code; absent where nothing was compiled.
    pub compiled: Option<bool>,
    /// How many of its instructions can trap.
    pub traps: Option<u64>,
}
