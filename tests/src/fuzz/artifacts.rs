//! Artifacts: any bytes in the place of one, and right ones with changes whose digests are right too. The loader must refuse them or
//! load what makes sense; `wasmc verify` must come to an end, and whatever it accepts is run here, in this process.

use super::Input;
use std::io::Write as _;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use wasmc_compiler::{CompileOptions, Cpu, Inlining, Interpret, OptLevel, SelfChecks, compile_to_artifact};
use wasmc_environ::Tunables;
use wasmc_environ::artifact::{HEADER_OFFSET, Header, SectionKind};
use wasmc_runtime::{ArtifactContents, Config, Engine, Extern, Instance, Module, Resource, Store, StoreLimits, Val};
use zerocopy::{FromBytes, IntoBytes};

/// A module without imports, with something for every section.
const MODULE: &str = r#"(module $fuzzed
    (type $unary (func (param i32) (result i32)))
    (memory (export "memory") 2 4)
    (memory $wide i64 1 2)
    (data (i32.const 0) "abcdefghijklmnopqrstuvwxyz")
    (data (i32.const 70000) "more")
    (data $passive "passive")
    (table $closed 4 4 funcref)
    (elem (table $closed) (i32.const 0) func $double $divide $throws)
    (table $open (export "table") 5 8 funcref)
    (elem (table $open) (i32.const 0) func $double $throws)
    (elem $later funcref (ref.func $divide) (ref.null func))
    (table $references 3 9 externref)
    (tag $odd (export "odd") (param i32))
    (global $g (export "global") (mut i32) (i32.const 7))
    (global $reference (mut externref) (ref.null extern))
    (func $double (type $unary)
        (i32.store offset=1000 (i32.shl (local.get 0) (i32.const 2)) (local.get 0))
        (i32.add (i32.load offset=1000 (i32.shl (local.get 0) (i32.const 2))) (local.get 0)))
    (func $divide (type $unary) (i32.div_s (i32.const 1000) (local.get 0)))
    (func $throws (type $unary)
        (if (i32.and (local.get 0) (i32.const 1)) (then (throw $odd (local.get 0))))
        (global.set $g (i32.add (global.get $g) (i32.const 1)))
        (global.get $g))
    (func $bulk (export "bulk") (param i32 i64)
        (memory.init $passive (local.get 0) (i32.const 0) (i32.const 4))
        (memory.copy (local.get 0) (i32.const 5) (i32.const 50))
        (memory.fill (local.get 0) (i32.const 5) (i32.const 9))
        (i64.store $wide offset=16 (local.get 1) (i64.const 1))
        (table.init $open $later (i32.const 1) (i32.const 0) (i32.const 2))
        (table.set $references (i32.const 1) (global.get $reference))
        (drop (table.grow $open (ref.func $double) (i32.const 1)))
        (drop (memory.grow (i32.const 1))))
    (func $floats (export "floats") (param f64 v128) (result f64 v128)
        (f64.sqrt (f64.mul (local.get 0) (f64.const 3.5)))
        (i8x16.shuffle 0 2 4 6 8 10 12 14 16 18 20 22 24 26 28 30 (local.get 1) (i32x4.splat (i32.const 5))))
    (func (export "deep") (param i32) (result i32)
        (if (result i32) (local.get 0)
            (then (i32.add (i32.const 1) (call 5 (i32.sub (local.get 0) (i32.const 1)))))
            (else (i32.const 0))))
    (func (export "switch") (param i32) (result i32)
        (block $c (block $b (block $a (br_table $a $b $c $b (local.get 0))) (return (i32.const 1))) (return (i32.const 2)))
        (i32.const 3))
    (func (export "run") (result i32) (local $i i32) (local $n i32)
        (loop $l
            (local.set $n (i32.add (local.get $n) (call_indirect $closed (type $unary)
                (i32.add (local.get $i) (i32.const 1)) (i32.and (local.get $i) (i32.const 3)))))
            (local.set $n (i32.add (local.get $n) (call_indirect $open (type $unary)
                (i32.add (local.get $i) (i32.const 1)) (i32.and (local.get $i) (i32.const 3)))))
            (local.set $n (i32.add (local.get $n)
                (block $caught (result i32) (try_table (result i32) (catch $odd $caught) (call $throws (local.get $i))))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $i) (i32.const 20))))
        (local.get $n)))"#;

/// The module compiled with options under which artifacts differ, all for any x86-64 machine.
static ARTIFACTS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let wasm = wat::parse_str(MODULE).expect("the text is right");
    let base = || CompileOptions { cpu: Cpu::Baseline, jobs: Some(1), checks: SelfChecks::All, ..CompileOptions::default() };
    let tunables = |change: fn(&mut Tunables)| {
        let mut tunables = Tunables::default();
        change(&mut tunables);
        CompileOptions { tunables, ..base() }
    };
    [
        base(),
        CompileOptions { inlining: Inlining::Everywhere, ..base() },
        CompileOptions { strip: true, opt_level: OptLevel::None, ..base() },
        tunables(|t| t.meter = true),
        tunables(|t| t.static_memory = false),
        tunables(|t| t.trace = true),
        CompileOptions { interpret: vec![Interpret::Odd], ..base() },
    ]
    .iter()
    .map(|options| compile_to_artifact(&wasm, options).expect("the module compiles").bytes)
    .collect()
});

/// The artifact that is metered.
const METERED: usize = 3;

static ENGINES: LazyLock<[Engine; 2]> =
    LazyLock::new(|| [false, true].map(|meter| Engine::new(Config::new().meter(meter).stack_size(1 << 20)).expect("an engine")));

/// Changes some places of an artifact, and makes the digests right if `mend` says so. Says which sections changed.
fn change(bytes: &mut [u8], input: &mut Input<'_>, sections: &[SectionKind], mend: bool, most: usize) -> Vec<SectionKind> {
    let place = HEADER_OFFSET..HEADER_OFFSET + size_of::<Header>();
    let mut header = Header::read_from_bytes(&bytes[place.clone()]).expect("a header");
    let mut changed = Vec::new();
    for _ in 0..most {
        if input.is_empty() {
            break;
        }
        let kind = input.of(sections);
        let entry = header.sections[kind as usize];
        if entry.size == 0 {
            continue;
        }
        let at = entry.offset as usize + usize::from(u16::from_le_bytes(input.take())) % entry.size as usize;
        let end = (entry.offset + entry.size) as usize;
        let how = input.byte();
        match how % 8 {
            0 => bytes[at] ^= 1 << (how >> 3 & 7),
            1 => bytes[at] = bytes[at].wrapping_add(1),
            2 => bytes[at] = bytes[at].wrapping_sub(1),
            3 | 4 => bytes[at] = input.byte(),
            5 => {
                let word = input.of(&[0_u32, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1000, 0xffff]);
                for (byte, new) in bytes[at..end].iter_mut().zip(word.to_le_bytes()) {
                    *byte = new;
                }
            }
            6 => {
                // A piece of the same section.
                let from = entry.offset as usize + usize::from(u16::from_le_bytes(input.take())) % entry.size as usize;
                let len = (1 + usize::from(how >> 3)).min(end - at).min(end - from);
                bytes.copy_within(from..from + len, at);
            }
            _ => {
                let new: [u8; 4] = input.take();
                for (byte, new) in bytes[at..end].iter_mut().zip(new) {
                    *byte = new;
                }
            }
        }
        changed.push(kind);
    }
    // Now and then the header itself: sizes, offsets, flags.
    if sections.len() > 1 && input.byte() >= 224 {
        let at = usize::from(u16::from_le_bytes(input.take())) % (size_of::<Header>() - 32);
        header.as_mut_bytes()[at] = input.byte();
    }
    if mend {
        for entry in &mut header.sections {
            let range = entry.offset.checked_add(entry.size).map(|end| entry.offset as usize..end as usize);
            if entry.size != 0
                && let Some(contents) = range.and_then(|range| bytes.get(range))
            {
                entry.digest = *blake3::hash(contents).as_bytes();
            }
        }
        header.digest = *blake3::hash(&header.as_bytes()[..size_of::<Header>() - 32]).as_bytes();
    }
    bytes[place].copy_from_slice(header.as_bytes());
    changed
}

/// A file in memory with these bytes.
fn file(bytes: &[u8]) -> std::fs::File {
    use std::os::fd::FromRawFd;
    // SAFETY: the name ends with a NUL; the descriptor is new, and nobody else's.
    let mut file = unsafe {
        let descriptor = libc::memfd_create(c"fuzzed".as_ptr(), libc::MFD_CLOEXEC);
        assert!(descriptor >= 0, "no file in memory");
        std::fs::File::from_raw_fd(descriptor)
    };
    file.write_all(bytes).expect("a file in memory can be written");
    file
}

fn load(engine: &Engine, bytes: &[u8]) -> wasmc_runtime::Result<Module> {
    // SAFETY: its code is what the compiler made, or is proved to stay in its sandbox, or does not run.
    unsafe { Module::from_artifact_file(engine, file(bytes), "fuzzed.so") }
}

/// A store that cannot take much.
fn store(engine: &Engine) -> Store<()> {
    let mut store = Store::new(engine, ());
    let limits = StoreLimits::new().limit(Resource::MemoryBytes, 64 << 20).limit(Resource::TableElements, 100_000);
    store.limiter(Arc::new(limits));
    store
}

/// An artifact is loaded or refused with a text, whatever its bytes are; what `wasmc inspect` reads can be read.
pub fn artifact(bytes: &[u8]) {
    let mut input = Input(bytes);
    let which = usize::from(input.byte());
    if which >= 240 {
        let bytes = input.rest();
        if let Err(e) = ArtifactContents::new(bytes) {
            assert!(!e.to_string().is_empty());
        }
        let error = load(&ENGINES[0], bytes).expect_err("too short for an artifact");
        assert!(!format!("{error:#}").is_empty());
        return;
    }
    let which = which % ARTIFACTS.len();
    let mut bytes = ARTIFACTS[which].clone();
    let mend = input.byte() < 240;
    // The code is left alone: whoever changes it can do anything.
    let sections: Vec<SectionKind> = SectionKind::ALL.iter().copied().filter(|k| *k != SectionKind::Text).collect();
    change(&mut bytes, &mut input, &sections, mend, 24);
    // The file can be shorter too.
    if !input.is_empty() && input.byte() == 1 {
        let cut = usize::from(u16::from_le_bytes(input.take()));
        bytes.truncate(bytes.len().saturating_sub(cut));
    }
    match ArtifactContents::new(&bytes) {
        Ok(contents) => inspect(&contents),
        Err(e) => assert!(!e.to_string().is_empty()),
    }
    let engine = &ENGINES[usize::from(which == METERED)];
    match load(engine, &bytes) {
        Ok(module) => {
            let _ = module.verify();
            for import in module.imports() {
                let _ = import.ty.to_string();
            }
            for export in module.exports() {
                let _ = export.ty.to_string();
            }
            // The code may not fit the metadata any more, so none of it runs.
            if module.env().start.is_none() {
                let _ = Instance::new(&mut store(engine), &module, &[]);
            }
        }
        Err(e) => assert!(!format!("{e:#}").is_empty()),
    }
}

fn inspect(contents: &ArtifactContents) {
    let _ = (contents.version(), contents.target(), contents.cpu_features(), contents.tunables(), contents.features());
    let _ = (contents.traps().len(), contents.addresses().len(), contents.handlers().len(), contents.text().len());
    for function in contents.functions() {
        let _ = contents.function_name(function);
    }
    for map in contents.stack_maps() {
        let _ = contents.stack_map_slots(map);
    }
    if let Err(why) = contents.meta() {
        assert!(!why.is_empty());
    }
}

/// Any artifact is proved or refused. What is proved is run: it may give anything, trap or take too long, and nothing else.
pub fn verify(bytes: &[u8]) {
    let mut input = Input(bytes);
    let which = usize::from(input.byte());
    // Functions that are interpreted come from the module, whose digest would be right although it was never validated.
    let which = which % (ARTIFACTS.len() - 1);
    let mut bytes = ARTIFACTS[which].clone();
    let everything = input.byte() >= 192;
    let sections = if everything { SectionKind::ALL } else { &[SectionKind::Text] };
    let changed = change(&mut bytes, &mut input, sections, true, if everything { 4 } else { 3 });
    match wasmc_verify::verify(&bytes) {
        Ok(report) => assert!(report.pieces > 0),
        Err(refused) => return assert!(!refused.to_string().is_empty()),
    }
    if changed.contains(&SectionKind::Wasm) {
        return;
    }
    run(&ENGINES[usize::from(which == METERED)], &bytes);
}

/// Calls all exports of an artifact.
fn run(engine: &Engine, bytes: &[u8]) {
    let Ok(module) = load(engine, bytes) else { return };
    let mut store = store(engine);
    let handle = store.interrupt_handle().expect("a handle");
    let _timeout = handle.interrupt_after(Duration::from_millis(200));
    let Ok(instance) = Instance::new(&mut store, &module, &[]) else { return };
    let functions: Vec<_> = instance.exports(&mut store).filter_map(|e| e.into_extern().into_func()).collect();
    for (number, function) in functions.into_iter().enumerate() {
        let ty = function.ty(&store);
        let arguments: Vec<Val> = ty
            .params
            .iter()
            .map(|ty| match Val::default_for(ty) {
                Some(Val::I32(_)) => Val::I32(number as i32 * 3),
                Some(other) => other,
                None => Val::I32(0),
            })
            .collect();
        let mut results = vec![Val::I32(0); ty.results.len()];
        if let Err(e) = function.call(&mut store, &arguments, &mut results) {
            assert!(!format!("{e:#}").is_empty());
        }
    }
    for export in instance.exports(&mut store).map(|e| e.into_extern()).collect::<Vec<Extern>>() {
        if let Extern::Memory(memory) = export {
            let _ = memory.data(&store).iter().fold(0_u8, |a, b| a ^ b);
        }
    }
}
