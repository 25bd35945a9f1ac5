//! What the loader accepts, and that it refuses everything else with the right error: headers with every byte changed,
//! files cut at every length, damaged sections, and metadata that makes no sense though all digests match.

use super::testing::{Builder, TempFile, padded, seal};
use super::{ArtifactErrorKind as Kind, HostChecks, open};
use crate::code::LoadedCode;
use crate::vm::memory::{MemoryConfig, MemoryStorage};
use wasmc_environ::artifact::*;
use wasmc_environ::const_expr::{ConstExpr, ConstOp};
use wasmc_environ::module::{EntityIndex, SegmentMode};
use wasmc_environ::*;
use zerocopy::{FromBytes, IntoBytes};

fn load(bytes: &[u8]) -> Result<LoadedCode, Kind> {
    open(TempFile::new(bytes).path(), &HostChecks::native()).map_err(|e| e.kind)
}

fn error(bytes: &[u8]) -> Kind {
    match load(bytes) {
        Ok(_) => panic!("accepted"),
        Err(e) => e,
    }
}

fn header(file: &[u8]) -> Header {
    Header::read_from_bytes(&file[HEADER_OFFSET..HEADER_OFFSET + size_of::<Header>()]).unwrap()
}

/// The error of an artifact whose header was changed and sealed again.
fn with_header(change: impl FnOnce(&mut Header)) -> Kind {
    let mut file = Builder::default().build();
    let mut h = header(&file);
    change(&mut h);
    seal(&mut file, h);
    error(&file)
}

/// The error of an artifact whose contents were changed before it was written.
fn with(change: impl FnOnce(&mut Builder)) -> String {
    let mut b = Builder::default();
    change(&mut b);
    error(&b.build()).to_string()
}

fn random() -> impl FnMut() -> u64 {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

/// Calls everything that reads records, with every offset.
fn use_all(code: &LoadedCode) -> usize {
    let mut found = 0;
    for at in (0..200).chain(u32::MAX - 2..=u32::MAX) {
        found += usize::from(code.trap_at(at).is_some());
        found += usize::from(code.handler_at(at).is_some());
        found += usize::from(code.stack_map_at(at).is_some());
        found += usize::from(code.wasm_offset_at(at).is_some());
        found += usize::from(code.function_at(at).is_some());
        found += code.inlined_at(at).count();
        let defined = DefinedFuncIndex::from_u32(at);
        found += usize::from(code.function_name(defined).is_some());
        found += usize::from(code.is_compiled(defined));
        found += usize::from(code.memory_image(DefinedMemoryIndex::from_u32(at)).is_some());
    }
    for (i, _) in code.functions().iter().enumerate() {
        assert!(code.text().contains(&code.function_code(DefinedFuncIndex::from_u32(i as u32)).addr()));
    }
    for s in &code.meta().module.data {
        found += code.data(s.bytes.clone()).len();
    }
    found
}

#[test]
fn an_artifact_is_opened_and_its_code_runs() {
    let file = TempFile::new(&Builder::default().build());
    let mut code = open(file.path(), &HostChecks::native()).unwrap();
    drop(file);
    for (i, value) in [11, 22, 33].into_iter().enumerate() {
        let f = code.function_code(DefinedFuncIndex::from_u32(i as u32));
        // SAFETY: the test's own code is a function without parameters that returns a number.
        let f: extern "C" fn() -> u32 = unsafe { std::mem::transmute(f) };
        assert_eq!(f(), value);
    }
    assert_eq!((code.trap_at(7), code.trap_at(8)), (Some(TrapCode::MemoryOutOfBounds), None));
    assert_eq!(code.handler_at(10).map(|h| h.handler_offset), Some(12));
    assert!(code.handler_at(11).is_none() && code.handler_at(0).is_none());
    assert_eq!(code.stack_map_at(22).map(|(_, slots)| slots), Some(&[4, 8][..]));
    assert_eq!([0, 17, 18, 31, 32].map(|at| code.wasm_offset_at(at)), [Some(77), Some(77), Some(80), Some(80), None]);
    assert_eq!([0, 15, 16, 47, 48].map(|at| code.function_at(at).map(|f| f.as_u32())), [Some(0), Some(0), Some(1), Some(2), None]);
    let calls = [0, 2, 4, 6].map(|at| code.inlined_at(at).map(|(callee, at)| (callee.as_u32(), at)).collect::<Vec<_>>());
    assert_eq!(calls, [vec![], vec![(2, 70)], vec![(3, 71), (2, 70)], vec![]]);
    let names = [0, 1, 2].map(|i| code.function_name(DefinedFuncIndex::from_u32(i)));
    assert_eq!(names, [Some("first"), Some("secondä"), None]);
    assert_eq!(code.stub_address(48).addr(), code.text().start + 48);
    assert_eq!(code.stubs().len(), 1);
    assert!(code.is_compiled(DefinedFuncIndex::from_u32(0)));
    let wasm = code.wasm().unwrap();
    assert!(wasm.starts_with(b"\0asm"));
    assert_eq!(code.data(code.meta().module.data[0].bytes.clone()), b"hello");
    code.verify_all().unwrap();
    let image = code.memory_image(DefinedMemoryIndex::from_u32(0)).unwrap();
    let memory = MemoryStorage::new(&code.meta().module.memories[0], &MemoryConfig::default(), Some(image)).unwrap();
    // SAFETY: nobody else uses the memory.
    assert_eq!(unsafe { &memory.bytes()[8..13] }, b"hello");
    assert_eq!(code.take_module().functions.len(), 4);
    assert!(use_all(&code) > 0);
}

#[test]
fn text_is_not_writable_and_the_rest_not_executable() {
    let file = TempFile::new(&Builder::default().build());
    let code = open(file.path(), &HostChecks::native()).unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mine: Vec<&str> = maps.lines().filter(|l| l.ends_with(file.path().file_name().unwrap().to_str().unwrap())).collect();
    assert_eq!(mine.len(), 3, "{mine:?}");
    for line in mine {
        let start = usize::from_str_radix(line.split('-').next().unwrap(), 16).unwrap();
        let expected = if code.text().start == start { " r-xp " } else { " r--p " };
        assert!(line.contains(expected), "{line}");
    }
}

#[test]
fn every_byte_of_the_header_counts() {
    let file = Builder::default().build();
    let mut seen = std::collections::HashSet::new();
    for at in HEADER_OFFSET..HEADER_OFFSET + size_of::<Header>() {
        for flip in [0xff, 1] {
            let mut file = file.clone();
            file[at] ^= flip;
            let e = error(&file);
            assert!(!e.to_string().is_empty());
            seen.insert(std::mem::discriminant(&e));
        }
    }
    assert!(seen.len() >= 3);
    // Sealed again, the header is still refused or describes something that can be loaded: never a panic.
    let mut next = random();
    for _ in 0..5000 {
        let mut file = file.clone();
        let mut h = header(&file);
        let bytes = h.as_mut_bytes();
        for _ in 0..1 + next() % 3 {
            let at = 8 + next() as usize % (bytes.len() - 40);
            bytes[at] ^= next() as u8;
        }
        seal(&mut file, h);
        if let Ok(code) = load(&file) {
            use_all(&code);
        }
    }
}

#[test]
fn a_file_cut_at_any_length_is_refused() {
    let file = Builder::default().build();
    let temp = TempFile::new(&file);
    let handle = std::fs::OpenOptions::new().write(true).open(temp.path()).unwrap();
    for len in (0..file.len()).rev().filter(|l| *l < 3000 || l % 97 == 0 || file.len() - l < 300) {
        handle.set_len(len as u64).unwrap();
        let e = open(temp.path(), &HostChecks::native()).err().unwrap();
        match e.kind {
            Kind::FileSize { found, .. } => assert_eq!(found, len as u64),
            Kind::NotAnArtifact(_) => assert!(len < HEADER_OFFSET + 8, "{len}"),
            other => panic!("{len}: {other}"),
        }
    }
    temp.write(&[&file[..], &[0]].concat());
    assert!(matches!(open(temp.path(), &HostChecks::native()).err().unwrap().kind, Kind::FileSize { .. }));
}

#[test]
fn damage_is_found_in_every_section() {
    let file = Builder { data: vec![1, 2, 3], ..Builder::default() }.build();
    let h = header(&file);
    for kind in SectionKind::ALL {
        let entry = &h.sections[*kind as usize];
        assert_ne!(entry.size, 0, "{kind:?}");
        for at in [0, entry.size / 2, entry.size - 1] {
            let mut file = file.clone();
            file[(entry.offset + at) as usize] ^= 0x10;
            use SectionKind::*;
            let late = matches!(kind, MemoryImage | Data | Wasm | Names | Addresses | InlineSites | InlineRanges);
            let e = if late { load(&file).unwrap().verify_all().unwrap_err() } else { error(&file) };
            if matches!(kind, Names | Addresses | InlineSites | InlineRanges) {
                let code = load(&file).unwrap();
                assert!(code.function_name(DefinedFuncIndex::from_u32(0)).is_none() && code.wasm_offset_at(0).is_none());
                assert_eq!(code.inlined_at(4).count(), 0);
            }
            assert!(matches!(e, Kind::Digest { section } if section == kind.elf_name()), "{kind:?}: {e}");
        }
    }
    let mut damaged = file.clone();
    damaged[h.sections[SectionKind::Text as usize].offset as usize + 63] ^= 1;
    let temp = TempFile::new(&damaged);
    let trusting = HostChecks { trust_text: true, ..HostChecks::native() };
    let code = open(temp.path(), &trusting).unwrap();
    assert!(matches!(code.verify_all(), Err(Kind::Digest { section: ".text" })));
    // Where functions are interpreted, so is the module, and then it counts.
    let mut b = Builder::default();
    b.functions[1].flags = 0;
    let mut file = b.build();
    assert!(load(&file).is_ok());
    let at = header(&file).sections[SectionKind::Wasm as usize].offset as usize + 40;
    file[at] ^= 1;
    assert!(matches!(error(&file), Kind::Digest { section: ".wasmc.wasm" }));
}

#[test]
fn foreign_files_are_named() {
    let open = |path: &str| open(path.as_ref(), &HostChecks::native()).err().unwrap().to_string();
    assert!(open("/nonexistent/x.so").starts_with("/nonexistent/x.so: cannot open: No such file"));
    assert!(open("/tmp").starts_with("/tmp: not a regular file"));
    assert!(open("/dev/zero").contains("not a regular file"));
    assert!(open("/proc/self/exe").contains("an ELF file of another program"));
    let fifo = TempFile::new(b"");
    std::fs::remove_file(fifo.path()).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(fifo.path()).status().unwrap().success());
    assert!(open(fifo.path().to_str().unwrap()).contains("not a regular file"));
    assert!(error(b"\0asm\x01\0\0\0").to_string().contains("wasmc compile IN.wasm -o OUT.so"));
    assert!(error(b"").to_string().contains("an empty file"));
    assert!(error(b"#!/bin/sh").to_string().contains("an unknown kind of file"));
}

#[test]
fn foreign_artifacts_say_what_to_do() {
    let say = |change: fn(&mut Header)| with_header(change).to_string();
    let e = say(|h| h.format_version = 77);
    assert!(e.contains("format version 77") && e.contains("recompile"), "{e}");
    let e = say(|h| h.wasmc_version = padded("0.0.9"));
    assert!(e.contains("compiled by wasmc 0.0.9") && e.contains(super::WASMC_VERSION), "{e}");
    let e = say(|h| h.target = padded("riscv64-linux"));
    assert!(e.contains("compiled for riscv64-linux") && e.contains("--target ") && e.contains(std::env::consts::ARCH), "{e}");
    let e = say(|h| h.tunables |= 4);
    assert!(e.contains("compiled with option meter, which this engine is not configured for"), "{e}");
    let e = say(|h| h.tunables |= 1 << 40 | 1 << 41);
    assert!(e.contains("options number 40, number 41"), "{e}");
    let e = say(|h| h.features |= 1 << 50);
    assert!(e.contains("number 50"), "{e}");
    let e = say(|h| h.cpu_features = 1 << 60);
    assert!(e.contains("unknown to this version") && e.contains("--cpu baseline"), "{e}");
    let e = say(|h| h.wasmc_version[3] = 0x1b);
    assert!(e.contains("\\x1b"), "{e}");

    let file = TempFile::new(&{
        let mut b = Builder::default();
        b.header.cpu_features = cpu::feature_bit("avx512f").unwrap() | cpu::feature_bit("sse3").unwrap();
        b.header.target = padded("x86_64-linux");
        b.build()
    });
    let host = |cpu_features| HostChecks { cpu_features: Some(cpu_features), target: "x86_64-linux".into(), ..HostChecks::native() };
    let open = |host: &HostChecks| open(file.path(), host).map_err(|e| e.kind.to_string()).err();
    assert_eq!(open(&host(u64::MAX)), None);
    assert_eq!(
        open(&host(cpu::feature_bit("sse3").unwrap())).as_deref(),
        Some("compiled for cpu feature avx512f, which this machine lacks; recompile it here, or with `wasmc compile --cpu baseline`")
    );
    assert!(open(&host(0)).unwrap().contains("cpu features sse3, avx512f"));
    let e = open(&HostChecks { needed_tunables: 4, ..host(u64::MAX) }).unwrap();
    assert!(e.contains("compiled without option meter"), "{e}");
    let e = open(&HostChecks { features: !1, ..host(u64::MAX) }).unwrap();
    assert!(e.contains("reference-types"), "{e}");
}

#[test]
fn sections_lie_inside_and_apart() {
    use SectionKind::*;
    let e = |kind: SectionKind, change: fn(&mut SectionEntry)| match with_header(|h| change(&mut h.sections[kind as usize])) {
        Kind::Section { section, problem } => format!("{section}: {problem}"),
        other => panic!("{other}"),
    };
    assert!(e(Meta, |s| s.size = u64::MAX).contains("do not lie in the file"));
    assert!(e(Wasm, |s| s.offset = u64::MAX).contains("do not lie in the file"));
    assert!(e(Traps, |s| s.offset = 0x400).contains("inside the header"));
    assert!(e(Traps, |s| s.offset += 2).contains("not at a multiple of 4"));
    assert!(e(Text, |s| s.offset += 4096).contains("not at a multiple of 65536"));
    assert!(e(Names, |s| s.size = 200).contains("behind the mapped part"));
    assert!(e(Functions, |s| s.offset -= 16).contains("inside another one"));
    assert!(matches!(with_header(|h| h.sections[15].size = 1), Kind::HeaderDamaged(_)));
    assert!(matches!(with_header(|h| h.reserved = 1), Kind::HeaderDamaged(_)));
    assert!(matches!(with_header(|h| h.mapped_size = u64::MAX), Kind::HeaderDamaged(_)));
    assert!(matches!(with_header(|h| h.mapped_size = 0), Kind::HeaderDamaged(_)));
    assert!(matches!(with_header(|h| h.header_size += 8), Kind::HeaderDamaged(_)));
    assert!(matches!(with_header(|h| h.sections[Meta as usize] = h.sections[15]), Kind::Invalid(_)));
    assert!(matches!(with_header(|h| h.sections[Functions as usize] = h.sections[15]), Kind::Invalid(_)));
}

#[test]
fn metadata_that_makes_no_sense_is_refused() {
    type Change = fn(&mut Builder);
    let cases: &[(&str, Change)] = &[
        ("canonical types do not match", |b| b.meta.module.canonical.clear()),
        ("canonical type is not", |b| b.meta.module.canonical[0] = TypeIndex::from_u32(1)),
        ("supertype does not come before", |b| b.meta.module.types[0].supertype = Some(TypeIndex::from_u32(0))),
        ("recursion groups do not follow", |b| b.meta.module.rec_groups[0].start = 1),
        ("recursion groups do not cover", |b| b.meta.module.rec_groups.clear()),
        ("numbers of imports", |b| b.meta.module.num_imported_functions = 2),
        ("numbers of imports", |b| b.meta.module.num_imported_memories = u32::MAX),
        ("type of an import", |b| b.meta.module.functions[0] = TypeIndex::from_u32(1)),
        ("function index out of range", |b| b.meta.module.functions.clear()),
        ("type index out of range", |b| b.meta.module.functions[2] = TypeIndex::from_u32(9)),
        ("page size of a memory", |b| b.meta.module.memories[0].page_size_log2 = 200),
        ("least size above", |b| b.meta.module.memories[0].limits.max = Some(0)),
        ("least size above", |b| b.meta.module.tables[0].limits.max = Some(0)),
        ("tag with results", |b| b.meta.module.tags[0].ty = TypeIndex::from_u32(0)),
        ("initial values of tables", |b| b.meta.module.table_inits.clear()),
        ("needs one", |b| b.meta.module.tables[0].element.nullable = false),
        ("initial values of globals", |b| b.meta.module.global_inits.clear()),
        ("type of the start function", |b| b.meta.module.start = Some(FuncIndex::from_u32(0))),
        ("function index out of range", |b| b.meta.module.start = Some(FuncIndex::from_u32(4))),
        ("type of a constant expression", |b| b.meta.module.global_inits[0].ops = [].into()),
        ("type of a constant expression", |b| b.meta.module.global_inits[0].ops = [ConstOp::I32Const(0)].into()),
        ("operands in a constant", |b| b.meta.module.global_inits[0].ops = [ConstOp::I64Add].into()),
        ("global index out of range", |b| b.meta.module.global_inits[0].ops = [ConstOp::GlobalGet(GlobalIndex::from_u32(1))].into()),
        ("is not listed", |b| {
            b.meta.module.global_inits[0].ops = [ConstOp::RefFunc(FuncIndex::from_u32(3))].into();
        }),
        ("table index out of range", |b| {
            let offset = ConstExpr { ops: [ConstOp::I32Const(0)].into() };
            b.meta.module.elements[0].mode = SegmentMode::Active { target: TableIndex::from_u32(2), offset };
        }),
        ("memory index out of range", |b| {
            let offset = ConstExpr { ops: [ConstOp::I32Const(0)].into() };
            b.meta.module.data[0].mode = SegmentMode::Active { target: MemoryIndex::from_u32(1), offset };
        }),
        ("exported memory index", |b| b.meta.module.exports[0].index = EntityIndex::Memory(MemoryIndex::from_u32(1))),
        ("exported table index", |b| b.meta.module.exports[0].index = EntityIndex::Table(TableIndex::from_u32(2))),
        ("exported global index", |b| b.meta.module.exports[0].index = EntityIndex::Global(GlobalIndex::from_u32(2))),
        ("exported tag index", |b| b.meta.module.exports[0].index = EntityIndex::Tag(TagIndex::from_u32(1))),
        ("is not listed", |b| b.meta.module.escaping.clear()),
        ("references is not sorted", |b| b.meta.module.escaping.push(FuncIndex::from_u32(0))),
        ("function index out of range", |b| b.meta.module.escaping.push(FuncIndex::from_u32(99))),
        ("data segment outside", |b| b.meta.module.data[0].bytes.end = 1 << 40),
        ("data segment outside", |b| b.meta.data_section = true),
        ("number of function bodies", |b| b.meta.module.bodies.clear()),
        ("function body outside", |b| b.meta.module.bodies[0].end = 1 << 40),
        ("number of closed tables", |b| b.meta.module.closed_tables.push(None)),
        ("offset of a table that is not closed", |b| b.meta.closed_offsets[1] = 0),
        ("size of a closed table", |b| b.meta.module.tables[0].limits.min = 3),
        ("closed table outside", |b| b.meta.closed_offsets[0] = 16),
        ("closed table outside", |b| b.meta.closed_offsets[0] = u32::MAX),
        ("closed table leads out", |b| b.closed[2].code = -1),
        ("type index out of range", |b| b.closed[2].type_index = 77),
        ("number of memory images", |b| b.meta.images.push(None)),
        ("memory image outside", |b| b.meta.images[0].as_mut().unwrap().target = 2 << 16),
        ("memory image outside", |b| b.meta.images[0].as_mut().unwrap().offset = 1 << 16),
        ("memory image outside", |b| b.meta.images[0].as_mut().unwrap().size = u64::MAX << 16),
        ("stub outside", |b| b.meta.stubs[0].entry = Some(64)),
        ("number of function records", |b| b.functions.truncate(1)),
        ("function outside the text", |b| b.functions[0].code_offset = u32::MAX),
        ("function outside the text", |b| b.functions[0].code_size = 100),
        ("flags of a function", |b| b.functions[0].flags = 3),
        ("module is stripped", |b| {
            b.functions[0].flags = 0;
            b.wasm.clear();
            b.meta.module.data.clear();
        }),
        ("traps are not sorted", |b| b.traps.swap(0, 1)),
        ("trap outside", |b| b.traps[2].code_offset = 64),
        ("unknown trap code", |b| b.traps[0].code = 257),
        ("handlers are not sorted", |b| b.handlers.push(b.handlers[0])),
        ("handler outside", |b| b.handlers[0].handler_offset = 64),
        ("stack maps are not sorted", |b| b.stack_maps.push(b.stack_maps[0])),
        ("stack map outside its section", |b| b.stack_maps[0].num_slots = u32::MAX),
        ("stack map outside its frame", |b| b.slots[1] = 29),
        ("stack map outside its frame", |b| b.slots[1] = u32::MAX),
    ];
    for (expected, change) in cases {
        let e = with(change);
        assert!(e.contains(expected) && e.contains("recompile"), "{expected}: {e}");
    }
}

#[test]
fn names_and_addresses_that_make_no_sense_are_not_used() {
    let changes: [fn(&mut Builder); 9] = [
        |b| b.functions[1].name_size -= 1,
        |b| b.functions[1].name_offset = u32::MAX,
        |b| b.names[0] = 0xff,
        |b| b.addresses.swap(0, 1),
        |b| b.sites[0].parent = 1,
        |b| b.sites[1].parent = 1,
        |b| b.inlined[1].site = 2,
        |b| b.inlined.swap(0, 1),
        // A callee that does not exist costs its frame alone.
        |b| b.sites[1].callee = u32::MAX,
    ];
    let known = changes.map(|change| {
        let mut b = Builder::default();
        change(&mut b);
        let code = load(&b.build()).unwrap();
        use_all(&code);
        (code.function_name(DefinedFuncIndex::from_u32(0)).is_some(), code.wasm_offset_at(0).is_some())
    });
    for (i, known) in known.into_iter().enumerate() {
        assert_eq!(known, (i == 8, i == 8), "{i}");
    }
}

#[test]
fn functions_in_any_order_are_found() {
    let mut b = Builder::default();
    b.functions.swap(0, 2);
    b.wasm.clear();
    b.meta.module.data.clear();
    let code = load(&b.build()).unwrap();
    assert_eq!([0, 16, 32, 47, 48].map(|at| code.function_at(at).map(|f| f.as_u32())), [Some(2), Some(1), Some(0), Some(0), None]);
    assert!(code.wasm().is_none());
}

#[test]
fn mutated_contents_with_matching_digests_never_panic() {
    let mut next = random();
    let original = Builder::default();
    let meta = postcard::to_allocvec(&original.meta).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut bytes = meta.clone();
        for _ in 0..1 + next() % 2 {
            let at = next() as usize % bytes.len();
            match next() % 4 {
                0 => bytes[at] = next() as u8,
                1 => bytes[at] = bytes[at].wrapping_add(1),
                2 => drop(bytes.remove(at)),
                _ => bytes.insert(at, next() as u8),
            }
        }
        let Ok(mutated) = postcard::from_bytes::<ArtifactMeta>(&bytes) else {
            refused += 1;
            continue;
        };
        let mut b = Builder { meta: mutated, ..original.clone() };
        match next() % 8 {
            0 => b.traps[0].code_offset = next() as u32,
            1 => b.functions[1].code_offset = next() as u32 % 128,
            2 => b.stack_maps[0].first_slot = next() as u32 % 8,
            3 => b.closed[next() as usize % 5].code = next() as i32,
            _ => {}
        }
        match load(&b.build()) {
            Ok(code) => {
                use_all(&code);
                accepted += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(accepted > 100 && refused > 1000, "{accepted} {refused}");
}

#[test]
fn code_made_in_memory_has_the_same_accessors() {
    let b = Builder::default();
    let sections = vec![
        (SectionKind::Functions, b.functions.as_bytes().to_vec()),
        (SectionKind::Traps, b.traps.as_bytes().to_vec()),
        (SectionKind::Names, b.names.clone()),
        (SectionKind::MemoryImage, b.image.clone()),
    ];
    let text = b.text.leak();
    let jit = jit::JitCode { text: text.as_ptr().expose_provenance(), text_len: text.len(), meta: b.meta, sections, keep: Box::new(()) };
    let code = LoadedCode::from_jit(jit).unwrap();
    assert_eq!(code.trap_at(3), Some(TrapCode::Unreachable));
    assert_eq!(code.function_name(DefinedFuncIndex::from_u32(0)), Some("first"));
    assert!(code.header().is_none() && code.verify_all().is_ok() && code.wasm().is_none());
    let image = code.memory_image(DefinedMemoryIndex::from_u32(0)).unwrap();
    let memory = MemoryStorage::new(&code.meta().module.memories[0], &MemoryConfig::default(), Some(image)).unwrap();
    // SAFETY: nobody else uses the memory.
    assert_eq!(unsafe { &memory.bytes()[8..13] }, b"hello");
    assert!(use_all(&code) > 0);
}

#[test]
fn opening_a_small_artifact_is_quick() {
    let file = TempFile::new(&Builder::default().build());
    let best = (0..200)
        .map(|_| {
            let start = std::time::Instant::now();
            let code = open(file.path(), &HostChecks::native()).unwrap();
            let elapsed = start.elapsed();
            drop(code);
            elapsed
        })
        .min()
        .unwrap();
    println!("open: {best:?}");
    assert!(best < std::time::Duration::from_millis(2), "{best:?}");
}
