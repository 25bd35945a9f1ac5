//! A million of each kind of definition, or as many as the limits allow: whatever wasmc makes of such a module takes time and memory that
//! grow with their number and not faster, and what is beyond a limit is refused at once, with the byte. Times are compared with those of a
//! tenth as many, memory with a bound for each definition.

use std::path::Path;
use std::time::Duration;
use wasm_encoder::{
    CodeSection, ConstExpr, CustomSection, DataSection, ElementSection, Elements, EntityType, ExportKind, ExportSection, Function,
    FunctionSection, GlobalSection, GlobalType, ImportSection, IndirectNameMap, MemorySection, MemoryType, Module, NameMap, NameSection,
    RefType, TableSection, TableType, TagKind, TagSection, TagType, TypeSection, ValType,
};
use wasmc_tests::child::{Ended, Limits};
use wasmc_tests::{command, wasmc};

const MILLION: usize = 1_000_000;
/// Resident bytes for a definition, beside those of its module's own bytes.
const BYTES_EACH: u64 = 2_500;
/// Resident bytes for each byte of a module.
const BYTES_A_BYTE: u64 = 30;
/// What a command takes for ten times as many definitions may be so much more, when it takes at least a moment.
const TIMES: f64 = 30.0;
const MOMENT: f64 = 0.4;

/// A kind of definition.
struct Kind {
    name: &'static str,
    /// How many of them a module may have: `docs/limits.md`.
    most: usize,
    make: fn(usize) -> Vec<u8>,
    /// What running it ends with; 69 where it imports what nobody has.
    ends: i32,
    /// Whether so many, and compiling them, are for `--features slow`.
    long: bool,
}

/// A module with `_start`, and sections that a kind adds.
#[derive(Default)]
struct Parts {
    types: TypeSection,
    imports: ImportSection,
    functions: usize,
    tables: TableSection,
    memories: MemorySection,
    tags: TagSection,
    globals: GlobalSection,
    exports: ExportSection,
    elements: ElementSection,
    data: DataSection,
}

impl Parts {
    fn new() -> Self {
        let mut parts = Self { functions: 1, ..Self::default() };
        parts.types.ty().function([], []);
        parts
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Vec<u8> {
        change(&mut self);
        self.module().finish()
    }

    fn module(mut self) -> Module {
        let imported = self.imports.len();
        self.exports.export("_start", ExportKind::Func, imported);
        let (mut functions, mut code) = (FunctionSection::new(), CodeSection::new());
        let mut body = Function::new([]);
        body.instructions().end();
        for _ in 0..self.functions {
            functions.function(0);
            code.function(&body);
        }
        let mut module = Module::new();
        module.section(&self.types).section(&self.imports).section(&functions);
        module.section(&self.tables).section(&self.memories).section(&self.tags).section(&self.globals);
        module.section(&self.exports).section(&self.elements).section(&code).section(&self.data);
        module
    }
}

fn one_table(limits: u64) -> TableType {
    TableType { element_type: RefType::FUNCREF, table64: false, minimum: limits, maximum: None, shared: false }
}

fn one_memory() -> MemoryType {
    MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None }
}

fn kinds() -> Vec<Kind> {
    let kind = |name, most, make| Kind { name, most, make, ends: 0, long: false };
    vec![
        kind("types", MILLION, |n| Parts::new().with(|p| (1..n).for_each(|_| p.types.ty().function([], [])))),
        Kind {
            long: true,
            ..kind("distinct types", MILLION, |n| {
                const ALL: [ValType; 4] = [ValType::I32, ValType::I64, ValType::F32, ValType::F64];
                Parts::new().with(|p| {
                    (1..n).for_each(|i| p.types.ty().function((0..10).map(|s| ALL[i >> (2 * s) & 3]), []));
                })
            })
        },
        Kind {
            ends: 69,
            ..kind("imports", 300_000, |n| {
                Parts::new().with(|p| {
                    (0..n).for_each(|_| _ = p.imports.import("", "", EntityType::Function(0)));
                })
            })
        },
        Kind { long: true, ..kind("functions", MILLION, |n| Parts::new().with(|p| p.functions = n)) },
        kind("tables", 100_000, |n| Parts::new().with(|p| (0..n).for_each(|_| _ = p.tables.table(one_table(1))))),
        kind("memories", 100, |n| Parts::new().with(|p| (0..n).for_each(|_| _ = p.memories.memory(one_memory())))),
        kind("globals", MILLION, |n| {
            let ty = GlobalType { val_type: ValType::I64, mutable: true, shared: false };
            Parts::new().with(|p| (0..n).for_each(|i| _ = p.globals.global(ty, &ConstExpr::i64_const(i as i64))))
        }),
        kind("exports", 150_000, |n| {
            Parts::new().with(|p| (1..n).for_each(|i| _ = p.exports.export(&format!("{i:x}"), ExportKind::Func, 0)))
        }),
        kind("elements", 100_000, |n| {
            Parts::new().with(|p| {
                p.tables.table(one_table(10));
                (0..n).for_each(|_| _ = p.elements.active(None, &ConstExpr::i32_const(3), Elements::Functions([0][..].into())));
            })
        }),
        kind("data", 100_000, |n| {
            Parts::new().with(|p| {
                p.memories.memory(one_memory());
                (0..n).for_each(|i| _ = p.data.active(0, &ConstExpr::i32_const((i % 60_000) as i32), *b"data"));
            })
        }),
        kind("tags", MILLION, |n| {
            Parts::new().with(|p| (0..n).for_each(|_| _ = p.tags.tag(TagType { kind: TagKind::Exception, func_type_idx: 0 })))
        }),
        Kind {
            long: true,
            ..kind("names", MILLION, |n| {
                let mut parts = Parts::new();
                parts.functions = n;
                let (mut names, mut functions) = (NameSection::new(), NameMap::new());
                (0..n).for_each(|i| functions.append(i as u32, &format!("function {i}")));
                names.functions(&functions);
                let mut module = parts.module();
                module.section(&names).clone().finish()
            })
        },
        kind("names of nothing", MILLION, |n| {
            let (mut names, mut locals, mut all) = (NameSection::new(), NameMap::new(), IndirectNameMap::new());
            (0..n).for_each(|i| locals.append(i as u32, "local"));
            all.append(0, &locals);
            names.locals(&all);
            names.functions(&locals);
            Parts::new().module().section(&names).clone().finish()
        }),
        kind("custom sections", MILLION, |n| {
            let mut module = Parts::new().module();
            (0..n).for_each(|_| _ = module.section(&CustomSection { name: "name".into(), data: (&[][..]).into() }));
            module.finish()
        }),
    ]
}

/// The ways through wasmc that look at all definitions.
fn ways(kind: &Kind) -> Vec<&'static [&'static str]> {
    let mut ways: Vec<&[&str]> = vec![&["validate", "m.wasm"], &["run", "--tier", "interpreted", "m.wasm"]];
    if !kind.long || cfg!(feature = "slow") {
        ways.push(&["compile", "-q", "m.wasm", "-o", "m.so"]);
        ways.push(&["run", "m.so"]);
        ways.push(&["inspect", "m.so"]);
        ways.push(&["verify", "m.so"]);
    }
    ways
}

fn go(dir: &Path, args: &[&str]) -> Ended {
    let mut c = command(wasmc());
    c.args(args).current_dir(dir);
    let limits = Limits { cpu: Some(600), address_space: Some(1 << 40), ..Limits::default() };
    limits.run(&mut c, Duration::from_secs(900)).unwrap_or_else(|| panic!("{args:?} does not end"))
}

fn try_kind(kind: &Kind) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut empty = None;
    let mut small: Vec<f64> = Vec::new();
    let most = if kind.long && !cfg!(feature = "slow") { kind.most / 4 } else { kind.most };
    for count in [1, (most / 10).max(1), most] {
        let wasm = (kind.make)(count);
        std::fs::write(dir.path().join("m.wasm"), &wasm).expect("written");
        for (way, args) in ways(kind).into_iter().enumerate() {
            let ended = go(dir.path(), args);
            let what = format!("{count} {}, {args:?}", kind.name);
            println!("{what}: {:?}, {:.2} s, {} MB", ended.code, ended.cpu, ended.resident >> 20);
            let expected = if args[0] == "run" { kind.ends } else { 0 };
            assert_eq!(ended.code, Some(expected), "{what}: {}", ended.stderr.chars().take(500).collect::<String>());
            assert!(ended.stderr.len() < 20_000, "{what}: {} bytes of messages", ended.stderr.len());
            let base = *empty.get_or_insert(ended.resident);
            let bound = base + (64 << 20) + BYTES_EACH * count as u64 + BYTES_A_BYTE * wasm.len() as u64;
            assert!(ended.resident < bound, "{what}: {} MB instead of {} MB", ended.resident >> 20, bound >> 20);
            match small.get(way) {
                Some(tenth) if count == most => {
                    assert!(
                        ended.cpu < TIMES * tenth.max(MOMENT / 10.0) + MOMENT,
                        "{what}: {:.2} s, and {tenth:.2} for a tenth",
                        ended.cpu
                    );
                }
                _ if count > 1 => small.push(ended.cpu),
                _ => {}
            }
        }
    }
    if kind.most < MILLION {
        std::fs::write(dir.path().join("m.wasm"), (kind.make)(MILLION)).expect("written");
        for args in [&["validate", "m.wasm"][..], &["run", "m.wasm"], &["run", "--tier", "interpreted", "m.wasm"], &["compile", "m.wasm"]] {
            let ended = go(dir.path(), args);
            assert!(
                ended.code == Some(65) && ["at offset 0x", "\n  0x"].iter().any(|p| ended.stderr.contains(p)),
                "a million {}, {args:?}: {ended:?}",
                kind.name
            );
        }
    }
}

/// A test for each half, so that they run at the same time.
fn try_all(half: usize) {
    let only = std::env::var("WASMC_DEFINITIONS").ok();
    for kind in kinds().iter().skip(half).step_by(2).filter(|k| only.as_ref().is_none_or(|o| o == k.name)) {
        try_kind(kind);
    }
}

#[test]
fn every_second_kind() {
    try_all(0);
}

#[test]
fn the_other_kinds() {
    try_all(1);
}
