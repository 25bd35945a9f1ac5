//! Modules from seeds. Each seed decides which proposals and kinds of instructions its module may use, how large it is,
//! and whether NaN bits are fixed (wasm-smith makes them canonical after every operation) or hidden (`rewrite`).

use super::dense;
use super::rewrite::{self, Options};
use super::scenario::{FUEL, Rng};
use super::shape::{self, Shape};
use std::sync::Arc;
use wasm_encoder::reencode::{Error, Reencode, RoundtripReencoder};
use wasm_smith::{Config, InstructionKind as Kind, InstructionKinds};

/// A module in the two forms that mean the same.
#[derive(Clone)]
pub struct Binary {
    /// The module.
    pub wasm: Arc<[u8]>,
    /// For wasmi.
    pub oracle: Arc<[u8]>,
}

/// A module to run, or two.
pub struct Case {
    /// What the rest follows from.
    pub seed: u64,
    /// The module.
    pub first: Binary,
    /// A module that imports exports of the first.
    pub second: Option<Binary>,
    pub(super) shape: Arc<Shape>,
    /// One line about what was asked of wasm-smith.
    pub about: String,
}

/// The module of a seed; `None` if wasm-smith makes none of it.
///
/// # Panics
/// If what wasm-smith made cannot be rewritten to a valid module.
pub fn case(seed: u64) -> Option<Case> {
    changed_case(seed, &[])
}

/// The module of a seed and of bytes that change it, which a fuzzer has found worth trying: wasm-smith makes the module of them alone,
/// and single decisions of our own generator are changed by them.
///
/// # Panics
/// As above.
pub fn changed_case(seed: u64, changes: &[u8]) -> Option<Case> {
    let mut rng = Rng::new(seed, 1);
    if rng.one_in(3) {
        rng = rng.changed(changes);
        return Some(dense(seed, &mut rng));
    }
    let hide_nans = rng.one_in(4);
    let config = config(&mut rng, hide_nans);
    // wasm-smith takes neither types of recursion groups nor custom page sizes for imports that are available.
    let two = !config.gc_enabled && !config.custom_page_sizes_enabled && rng.one_in(4);
    let about = format!(
        "simd {}, traps {}, exceptions {}, tail calls {}, typed references {}, threads {}, imports {}, NaNs hidden {hide_nans}, two modules {two}",
        config.simd_enabled,
        !config.disallow_traps,
        config.exceptions_enabled,
        config.tail_call_enabled,
        config.gc_enabled,
        config.threads_enabled,
        config.max_imports
    );
    let (first, mut shape) = module(seed, config.clone(), &mut rng, changes, hide_nans)?;
    let mut second = None;
    if two {
        let available = available(&first.wasm).unwrap_or_else(|e| panic!("seed {seed}: exports as imports: {e}"));
        let config = Config { available_imports: Some(available), max_imports: 20, ..config };
        if let Some((binary, other)) = module(seed, config, &mut rng, changes, hide_nans) {
            shape.exports.extend(other.exports.into_iter().map(|(name, e)| (format!("{SECOND}{name}"), e)));
            shape.groups.extend(other.groups);
            second = Some(binary);
        }
    }
    Some(Case { seed, first, second, shape: Arc::new(shape), about })
}

/// A module of the second generator.
fn dense(seed: u64, rng: &mut Rng) -> Case {
    let text = dense::module(rng);
    let bytes = wat::parse_str(&text).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{text}"));
    let options = Options {
        hide_nans: true,
        export_tables: false,
        throws: false,
        legacy_exceptions: rng.one_in(4),
        unshare: true,
        for_oracle: false,
        fuel_global: 0,
    };
    let (first, shape) = rewritten(seed, &bytes, options);
    Case { seed, first, second: None, shape: Arc::new(shape), about: "dense".to_owned() }
}

/// Both forms of a module.
fn rewritten(seed: u64, bytes: &[u8], options: Options) -> (Binary, Shape) {
    let rewritten = |options| rewrite::rewrite(bytes, options).unwrap_or_else(|e| panic!("seed {seed}: rewriting: {e}"));
    let (wasm, groups) = rewritten(&options);
    let (oracle, _) = rewritten(&Options { for_oracle: true, ..options });
    let mut shape = shape::read(&wasm, !options.hide_nans).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    shape.groups = groups;
    (Binary { wasm: wasm.into(), oracle: oracle.into() }, shape)
}

/// What stands before the names of the second module's exports.
pub const SECOND: &str = "second ";

fn module(seed: u64, config: Config, rng: &mut Rng, given: &[u8], hide_nans: bool) -> Option<(Binary, Shape)> {
    let mut bytes = vec![0; 500 + rng.below(12_000) as usize];
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&rng.next().to_le_bytes()[..chunk.len()]);
    }
    let bytes = if given.is_empty() { &bytes } else { given };
    let mut module = wasm_smith::Module::new(config, &mut arbitrary::Unstructured::new(bytes)).ok()?;
    let fuel_global = module.ensure_termination(FUEL).ok()?;
    let options = Options {
        hide_nans,
        export_tables: rng.one_in(2),
        throws: rng.one_in(2),
        legacy_exceptions: rng.one_in(3),
        unshare: rng.one_in(2),
        for_oracle: false,
        fuel_global,
    };
    Some(rewritten(seed, &module.to_bytes(), options))
}

/// A module whose imports are the exports of another, which is how wasm-smith is told what there is to import.
fn available(wasm: &[u8]) -> Result<Vec<u8>, Error> {
    let mut types = wasm_encoder::TypeSection::new();
    let mut imports = wasm_encoder::ImportSection::new();
    let (mut functions, mut tables, mut memories, mut globals, mut tags) = (vec![], vec![], vec![], vec![], vec![]);
    for payload in wasmparser::Parser::new(0).parse_all(wasm) {
        use wasmparser::{Payload as P, TypeRef};
        match payload? {
            P::TypeSection(section) => RoundtripReencoder.parse_type_section(&mut types, section)?,
            P::ImportSection(section) => {
                for import in section.into_imports() {
                    let ty = import?.ty;
                    match ty {
                        TypeRef::Func(_) | TypeRef::FuncExact(_) => functions.push(ty),
                        TypeRef::Table(_) => tables.push(ty),
                        TypeRef::Memory(_) => memories.push(ty),
                        TypeRef::Global(_) => globals.push(ty),
                        TypeRef::Tag(_) => tags.push(ty),
                    }
                }
            }
            P::FunctionSection(section) => {
                for ty in section {
                    functions.push(TypeRef::Func(ty?));
                }
            }
            P::TableSection(section) => {
                for table in section {
                    tables.push(TypeRef::Table(table?.ty));
                }
            }
            P::MemorySection(section) => {
                for ty in section {
                    memories.push(TypeRef::Memory(ty?));
                }
            }
            P::GlobalSection(section) => {
                for global in section {
                    globals.push(TypeRef::Global(global?.ty));
                }
            }
            P::TagSection(section) => {
                for ty in section {
                    tags.push(TypeRef::Tag(ty?));
                }
            }
            P::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    let list = match export.kind {
                        wasmparser::ExternalKind::Func | wasmparser::ExternalKind::FuncExact => &functions,
                        wasmparser::ExternalKind::Table => &tables,
                        wasmparser::ExternalKind::Memory => &memories,
                        wasmparser::ExternalKind::Global => &globals,
                        wasmparser::ExternalKind::Tag => &tags,
                    };
                    // Each module counts for itself what it uses up.
                    if export.name != "fuel" {
                        let ty = RoundtripReencoder.entity_type(list[export.index as usize])?;
                        imports.import("first", export.name, ty);
                    }
                }
            }
            _ => {}
        }
    }
    let mut module = wasm_encoder::Module::new();
    Ok(module.section(&types).section(&imports).clone().finish())
}

fn config(rng: &mut Rng, hide_nans: bool) -> Config {
    let simd = !hide_nans && rng.one_in(2);
    let mut kinds = vec![Kind::Numeric, Kind::Reference, Kind::Parametric, Kind::Variable, Kind::Control, Kind::Memory];
    if !rng.one_in(3) {
        kinds.push(Kind::Table);
    }
    if simd {
        kinds.push(Kind::Vector);
    }
    if rng.one_in(8) {
        // Code that moves around and hardly computes.
        kinds.retain(|k| !matches!(k, Kind::Numeric | Kind::Vector));
        kinds.push(Kind::NumericInt);
    }
    Config {
        allowed_instructions: InstructionKinds::new(&kinds),
        allow_start_export: rng.one_in(6),
        bulk_memory_enabled: true,
        canonicalize_nans: !hide_nans,
        compact_imports_enabled: false,
        custom_page_sizes_enabled: rng.one_in(8),
        disallow_traps: rng.one_in(2),
        exceptions_enabled: rng.one_in(2),
        extended_const_enabled: true,
        gc_enabled: rng.one_in(3),
        max_data_segments: 6,
        max_element_segments: 6,
        max_elements: 60,
        max_exports: 0,
        max_funcs: 2 + rng.below(14) as usize,
        max_globals: 12,
        max_imports: if rng.one_in(2) { 0 } else { 12 },
        max_instructions: 40 + rng.below(400) as usize,
        max_memories: 1 + rng.below(2) as usize,
        max_memory32_bytes: 1 << 20,
        max_memory64_bytes: 1 << 20,
        max_nesting_depth: 3 + rng.below(8) as usize,
        max_table_elements: 300,
        max_tables: 1 + rng.below(3) as usize,
        max_tags: 5,
        max_types: 20,
        memory64_enabled: rng.one_in(4),
        memory_max_size_required: true,
        min_funcs: 2,
        min_memories: 1,
        min_types: 3,
        multi_value_enabled: true,
        reference_types_enabled: true,
        relaxed_simd_enabled: simd && rng.one_in(2),
        simd_enabled: simd,
        table_max_size_required: true,
        tail_call_enabled: rng.one_in(2),
        threads_enabled: rng.one_in(4),
        wide_arithmetic_enabled: rng.one_in(2),
        ..Config::default()
    }
}
