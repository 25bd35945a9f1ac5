//! From a file to the report: the sections of the binary by a pass of wasmparser, everything declared by the decoder that the
//! compiler uses, code by the records of an artifact. A module that is to be shown with its code is compiled to an artifact
//! in memory first, so that there is one way for both kinds.

use super::report::*;
use crate::exit::{ExitCode, with_code};
use crate::input::{self, Input};
use anyhow::{Context, Result, anyhow};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use wasmc_compiler::CompileOptions;
use wasmc_environ::artifact::{ArtifactMeta, FUNC_COMPILED, SectionKind};
use wasmc_environ::const_expr::ConstOp;
use wasmc_environ::decode::{decode, decode_and_validate};
use wasmc_environ::features::Features;
use wasmc_environ::module::{EntityIndex, Module, SegmentMode};
use wasmc_environ::names::function_names;
use wasmc_environ::types::{EntityType, MemoryType};
use wasmc_environ::{DecodeError, FuncIndex, TrapCode};
use wasmc_runtime::{ArtifactContents, ArtifactError, ArtifactErrorKind, ExternType};
use wasmparser::{Parser, Payload};

/// A file, read.
pub struct Inspected {
    pub report: Report,
    /// The artifact, or what the module was compiled to.
    pub code: Option<ArtifactContents>,
    /// The binary, unless an artifact was stripped of it.
    pub wasm: Option<Vec<u8>>,
    /// Names of functions, imported ones included.
    pub names: HashMap<FuncIndex, String>,
}

/// Reads a file. `compile` says how a module is compiled, if its code is wanted.
///
/// # Errors
/// If it cannot be read, or is neither a module nor an artifact, with the byte at which that is seen.
pub fn read(path: &Path, compile: Option<&CompileOptions<'_>>) -> Result<Inspected> {
    match input::open(path)? {
        Input::Wasm(wasm) => module(path, wasm, compile),
        Input::Artifact(_) => artifact(path),
    }
}

fn empty_report(path: &Path, kind: Kind, size: u64) -> Report {
    let file = path.display().to_string();
    Report { schema: SCHEMA, file, size, kind, problem: None, module: None, artifact: None, traps: None, functions: Vec::new() }
}

fn module(path: &Path, wasm: Vec<u8>, compile: Option<&CompileOptions<'_>>) -> Result<Inspected> {
    let name = || path.display().to_string();
    let features = Features::all();
    let decoded = decode(&wasm, &features).map_err(|e| anyhow!(e)).with_context(name)?.module;
    let code = match compile {
        Some(options) => {
            let compiled = wasmc_compiler::compile_to_artifact(&wasm, options).with_context(name)?;
            let contents = ArtifactContents::new(&compiled.bytes).map_err(|kind| ArtifactError { path: path.to_owned(), kind })?;
            contents.meta().map_err(|e| anyhow!("internal error: what was just compiled cannot be read: {e}"))?;
            Some(contents)
        }
        None => None,
    };
    let mut report = empty_report(path, Kind::Module, wasm.len() as u64);
    let names = function_names(&decoded, &wasm);
    report.module = Some(module_report(&decoded, Some(&wasm), None));
    report.functions = functions(&decoded, &names, code.as_ref());
    report.traps = code.as_ref().map(traps);
    Ok(Inspected { report, code, wasm: Some(wasm), names })
}

fn artifact(path: &Path) -> Result<Inspected> {
    let cannot = |e: std::io::Error| with_code(ExitCode::NO_INPUT, format!("cannot read {}: {e}", path.display()));
    if !std::fs::metadata(path).map_err(cannot)?.is_file() {
        return Err(ArtifactError { path: path.to_owned(), kind: ArtifactErrorKind::NotAFile }.into());
    }
    let bytes = std::fs::read(path).map_err(cannot)?;
    let contents = ArtifactContents::new(&bytes).map_err(|kind| ArtifactError { path: path.to_owned(), kind })?;
    let mut report = empty_report(path, Kind::Artifact, bytes.len() as u64);
    drop(bytes);
    let wasm = contents.wasm().map(<[u8]>::to_vec);
    report.artifact = Some(artifact_report(&contents));
    let mut names = HashMap::new();
    match contents.meta() {
        Ok(meta) => {
            names = artifact_names(&meta.module, wasm.as_deref(), &contents);
            report.module = Some(module_report(&meta.module, wasm.as_deref(), Some((meta, &contents))));
            report.functions = functions(&meta.module, &names, Some(&contents));
            report.traps = Some(traps(&contents));
        }
        Err(e) => report.problem = Some(e.to_owned()),
    }
    Ok(Inspected { report, code: Some(contents), wasm, names })
}

/// Names of functions. Those of the sections of the artifact are there when it was stripped, too.
fn artifact_names(module: &Module, wasm: Option<&[u8]>, code: &ArtifactContents) -> HashMap<FuncIndex, String> {
    let mut names = function_names(module, wasm.unwrap_or_default());
    for (i, f) in code.functions().iter().enumerate() {
        if let Some(name) = code.function_name(f) {
            names.insert(FuncIndex::from_u32(module.num_imported_functions + i as u32), name.to_owned());
        }
    }
    names
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn artifact_report(a: &ArtifactContents) -> ArtifactReport {
    let header = a.header();
    let sections = SectionKind::ALL.iter().map(|kind| (*kind, &header.sections[*kind as usize])).filter(|(_, e)| e.size != 0);
    ArtifactReport {
        format_version: header.format_version,
        wasmc_version: a.version(),
        target: a.target(),
        cpu_features: a.cpu_features(),
        tunables: a.tunables(),
        features: a.features(),
        digest: hex(&header.digest),
        stripped: header.sections[SectionKind::Wasm as usize].size == 0,
        stubs: a.meta().map_or(0, |m| m.stubs.iter().map(stub_count).sum()),
        sections: sections
            .map(|(kind, e)| ArtifactSectionReport {
                name: kind.elf_name(),
                offset: e.offset,
                size: e.size,
                digest: hex(&e.digest),
                intact: a.is_intact(kind),
            })
            .collect(),
    }
}

fn stub_count(s: &wasmc_environ::artifact::StubSet) -> u64 {
    [s.exit_array, s.exit_typed, s.entry, s.tail_entry].iter().flatten().count() as u64
}

fn traps(code: &ArtifactContents) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for t in code.traps() {
        *counts.entry(trap_name(t.code)).or_insert(0) += 1;
    }
    counts
}

/// The wording of a trap's number.
pub fn trap_name(code: u32) -> &'static str {
    u8::try_from(code).ok().and_then(TrapCode::from_u8).map_or("unknown", TrapCode::message)
}

fn functions(m: &Module, names: &HashMap<FuncIndex, String>, code: Option<&ArtifactContents>) -> Vec<FunctionReport> {
    let records = code.map(ArtifactContents::functions).unwrap_or_default();
    let traps = code.map(ArtifactContents::traps).unwrap_or_default();
    m.bodies
        .iter()
        .enumerate()
        .map(|(i, body)| {
            let index = m.num_imported_functions + i as u32;
            let record = records.get(i);
            let traps_in = record.map(|r| {
                let before = |at: u32| traps.partition_point(|t| t.code_offset < at) as u64;
                before(r.code_offset.saturating_add(r.code_size)) - before(r.code_offset)
            });
            FunctionReport {
                index,
                name: names.get(&FuncIndex::from_u32(index)).cloned(),
                ty: m.type_of(FuncIndex::from_u32(index)).to_string(),
                wasm_offset: body.start,
                wasm_size: body.end.saturating_sub(body.start),
                code_offset: record.map(|r| r.code_offset.into()),
                code_size: record.map(|r| r.code_size.into()),
                compiled: record.map(|r| r.flags & FUNC_COMPILED != 0),
                traps: traps_in,
            }
        })
        .collect()
}

/// Kind and type of something that is imported or exported.
fn entity(m: &Module, ty: EntityType) -> (&'static str, String) {
    let (kind, ty) = match ty {
        EntityType::Func(i) => return ("function", m.func_type(i).to_string()),
        EntityType::Table(t) => ("table", ExternType::Table(t)),
        EntityType::Memory(t) => ("memory", ExternType::Memory(t)),
        EntityType::Global(t) => ("global", ExternType::Global(t)),
        EntityType::Tag(t) => ("tag", ExternType::Tag(m.func_type(t.ty).clone())),
    };
    (kind, ty.to_string())
}

fn entities(m: &Module, imported: u32, types: impl Iterator<Item = EntityType>) -> Vec<EntityReport> {
    (0..).zip(types).map(|(index, ty)| EntityReport { index, imported: index < imported, ty: entity(m, ty).1 }).collect()
}

fn module_report(m: &Module, wasm: Option<&[u8]>, artifact: Option<(&ArtifactMeta, &ArtifactContents)>) -> ModuleReport {
    let outline = wasm.map(Outline::of).unwrap_or_default();
    let validity = wasm.map_or(Ok(()), |w| decode_and_validate(w, &Features::all()).map(drop));
    let features = match (wasm, &validity) {
        (Some(w), Ok(())) => Some(needed_features(m, w)),
        _ => None,
    };
    let kind_of = |index: EntityIndex| match index {
        EntityIndex::Func(i) => i.as_u32(),
        EntityIndex::Table(i) => i.as_u32(),
        EntityIndex::Memory(i) => i.as_u32(),
        EntityIndex::Global(i) => i.as_u32(),
        EntityIndex::Tag(i) => i.as_u32(),
    };
    let import = |i: &wasmc_environ::module::Import| {
        let (kind, ty) = entity(m, i.ty);
        ImportReport { module: i.module.clone(), name: i.name.clone(), kind, ty }
    };
    let export = |e: &wasmc_environ::module::Export| {
        let (kind, ty) = entity(m, m.entity_type(e.index));
        ExportReport { name: e.name.clone(), kind, index: kind_of(e.index), ty }
    };
    let tables = entities(m, m.num_imported_tables, m.tables.iter().map(|t| EntityType::Table(*t)));
    ModuleReport {
        name: m.name.clone(),
        size: wasm.map(|w| w.len() as u64),
        valid: validity.is_ok(),
        error: validity.err().map(|e: DecodeError| ErrorReport { offset: e.offset, message: e.message }),
        features,
        sections: outline.sections,
        imports: m.imports.iter().map(import).collect(),
        exports: m.exports.iter().map(export).collect(),
        start: m.start.map(FuncIndex::as_u32),
        types: m.types.len() as u64,
        memories: memories(m, artifact),
        tables: tables
            .into_iter()
            .zip(0..)
            .map(|(entity, i)| TableReport {
                entity,
                closed: artifact.map(|_| m.closed_table(wasmc_environ::TableIndex::from_u32(i)).is_some()),
            })
            .collect(),
        globals: entities(m, m.num_imported_globals, m.globals.iter().map(|t| EntityType::Global(*t))),
        tags: entities(m, m.num_imported_tags, m.tags.iter().map(|t| EntityType::Tag(*t))),
        data_segments: segments(m.data.iter().map(|s| (&s.mode, s.bytes.end.saturating_sub(s.bytes.start))), |i| i.as_u32()),
        element_segments: segments(m.elements.iter().map(|s| (&s.mode, s.items.len() as u64)), |i| i.as_u32()),
        producers: outline.producers,
        has_names: m.name_section.is_some(),
        has_dwarf: outline.has_dwarf,
    }
}

fn memories(m: &Module, artifact: Option<(&ArtifactMeta, &ArtifactContents)>) -> Vec<MemoryReport> {
    let bytes = |t: &MemoryType, pages: u64| pages.checked_shl(t.page_size_log2.into()).filter(|b| b >> t.page_size_log2 == pages);
    let reports = entities(m, m.num_imported_memories, m.memories.iter().map(|t| EntityType::Memory(*t)));
    reports
        .into_iter()
        .zip(&m.memories)
        .map(|(entity, t)| {
            let image = entity.index.checked_sub(m.num_imported_memories).zip(artifact).and_then(|(defined, (meta, code))| {
                let image = meta.images.get(defined as usize)?.as_ref()?;
                let section = code.header().sections[SectionKind::MemoryImage as usize].offset;
                Some(ImageReport { offset: section + image.offset, size: image.size, address: image.target })
            });
            let maximum_bytes = t.limits.max.and_then(|p| bytes(t, p));
            MemoryReport { entity, minimum_bytes: bytes(t, t.limits.min), maximum_bytes, image }
        })
        .collect()
}

fn segments<'a, I: Copy + 'a>(all: impl Iterator<Item = (&'a SegmentMode<I>, u64)>, number: impl Fn(I) -> u32) -> Vec<SegmentReport> {
    (0..)
        .zip(all)
        .map(|(index, (mode, size))| {
            let (mode, target, offset) = match mode {
                SegmentMode::Active { target, offset } => {
                    let constant = match *offset.ops {
                        [ConstOp::I32Const(n)] => Some(u64::from(n as u32)),
                        [ConstOp::I64Const(n)] => Some(n as u64),
                        _ => None,
                    };
                    ("active", Some(number(*target)), constant)
                }
                SegmentMode::Passive => ("passive", None, None),
                SegmentMode::Declared => ("declared", None, None),
            };
            SegmentReport { index, mode, target, offset, size }
        })
        .collect()
}

/// The proposals that have to be on: without each of them the module is not valid. What is valid without several of them needs none of
/// these, so they are tried together first, and by halves where that is refused, which is found out at the first byte that needs one.
fn needed_features(m: &Module, wasm: &[u8]) -> Vec<&'static str> {
    let mut needed = vec![false; Features::ALL.len()];
    let mut groups: Vec<_> = std::iter::once(0..Features::ALL.len()).collect();
    while let Some(group) = groups.pop() {
        let mut features = Features::all();
        Features::ALL[group.clone()].iter().for_each(|f| _ = features.set(f.name, false));
        if decode_and_validate(wasm, &features).is_ok() {
            continue;
        }
        match group.len() {
            1 => needed[group.start] = true,
            n => groups.extend([group.start..group.start + n / 2, group.start + n / 2..group.end]),
        }
    }
    // Making a shared memory is no question of validity.
    let shared = m.memories.iter().skip(m.num_imported_memories as usize).any(|t| t.shared);
    let is_needed =
        |(i, f): (usize, &wasmc_environ::features::Feature)| (needed[i] || (f.name == "shared-memory" && shared)).then_some(f.name);
    Features::ALL.iter().enumerate().filter_map(is_needed).collect()
}

/// What a pass over the sections shows beside what the decoder keeps.
#[derive(Default)]
struct Outline {
    sections: Vec<SectionReport>,
    producers: Vec<ProducerReport>,
    has_dwarf: bool,
}

impl Outline {
    fn of(wasm: &[u8]) -> Self {
        let mut outline = Self::default();
        for payload in Parser::new(0).parse_all(wasm) {
            // What is malformed is reported by the decoder.
            let Ok(payload) = payload else { break };
            if let Payload::CustomSection(c) = &payload {
                outline.has_dwarf |= c.name() == ".debug_info";
                if let wasmparser::KnownCustom::Producers(fields) = c.as_known() {
                    outline.producers(fields);
                }
                outline.push(c.name(), true, c.data_offset(), c.data().len() as u64);
            } else if let Some((id, range)) = payload.as_section() {
                outline.push(section_name(id), false, range.start, range.end - range.start);
            }
        }
        outline
    }

    fn push(&mut self, name: &str, custom: bool, offset: u64, size: u64) {
        self.sections.push(SectionReport { name: name.to_owned(), custom, offset, size });
    }

    fn producers(&mut self, fields: wasmparser::ProducersSectionReader<'_>) {
        for field in fields.into_iter().map_while(Result::ok) {
            for value in field.values.into_iter().map_while(Result::ok) {
                let (field, name, version) = (field.name.to_owned(), value.name.to_owned(), value.version.to_owned());
                self.producers.push(ProducerReport { field, name, version });
            }
        }
    }
}

fn section_name(id: u8) -> &'static str {
    const NAMES: [&str; 14] = [
        "custom",
        "type",
        "import",
        "function",
        "table",
        "memory",
        "global",
        "export",
        "start",
        "element",
        "code",
        "data",
        "data count",
        "tag",
    ];
    NAMES.get(usize::from(id)).copied().unwrap_or("unknown")
}
