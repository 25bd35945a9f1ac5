//! `wasmc verify` against forgers who know the format: builtins called for the wrong table, metadata that lies about types, and functions
//! left to the interpreter that were never valid. All digests are right.

use wasmc_compiler::{CompileOptions, Cpu, Interpret, compile_to_artifact};
use wasmc_environ::TypeIndex;
use wasmc_environ::artifact::{ArtifactMeta, HEADER_OFFSET, Header, SectionKind};
use wasmc_environ::const_expr::ConstOp;
use wasmc_environ::module::{ElementItems, Module};
use wasmc_environ::types::{CompositeType, HeapType, ValType};
use wasmc_verify::verify;
use zerocopy::{FromBytes, IntoBytes};

fn compile(source: &str, interpret: Vec<Interpret>) -> Vec<u8> {
    let wasm = wat::parse_str(source).expect("the text is right");
    let options = CompileOptions { cpu: Cpu::Baseline, interpret, ..CompileOptions::default() };
    compile_to_artifact(&wasm, &options).expect("the module compiles").bytes
}

/// What the verifier says; nothing if it accepts.
fn problem(bytes: &[u8]) -> String {
    verify(bytes).err().map(|e| e.to_string()).unwrap_or_default()
}

/// The artifact with one section changed, all digests right.
fn forged(bytes: &[u8], kind: SectionKind, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let place = HEADER_OFFSET..HEADER_OFFSET + size_of::<Header>();
    let mut header = Header::read_from_bytes(&bytes[place.clone()]).expect("a header");
    let section = &mut header.sections[kind as usize];
    let range = section.offset as usize..(section.offset + section.size) as usize;
    change(&mut bytes[range.clone()]);
    section.digest = *blake3::hash(&bytes[range]).as_bytes();
    header.digest = *blake3::hash(&header.as_bytes()[..size_of::<Header>() - 32]).as_bytes();
    bytes[place].copy_from_slice(header.as_bytes());
    bytes
}

const TABLES: &str = r#"(module
    (type $u (func (param i32) (result i32)))
    (type $v (func (param i32) (result i32 i32)))
    (table (export "references") 3 9 externref)
    (table $one (export "one") 3 9 funcref)
    (table $two (export "two") 3 9 funcref)
    (table $closed 2 2 funcref)
    (table (export "typed") 3 9 (ref null $v))
    (elem (table $closed) (i32.const 0) func $f $f)
    (elem $segment funcref (ref.func $f) (ref.null func))
    (func $f (export "f") (type $u) (call_indirect $closed (type $u) (local.get 0) (i32.const 0)))
    (func (export "copy") (param i32 i32 i32) (table.copy $one $two (local.get 0) (local.get 1) (local.get 2)))
    (func (export "init") (param i32 i32 i32) (table.init $one $segment (local.get 0) (local.get 1) (local.get 2)))
    (func (export "fill") (param i32 i32) (table.fill $two (local.get 0) (ref.func $f) (local.get 1)))
    (func (export "grow") (param i32) (result i32) (table.grow $two (ref.func $f) (local.get 0))))"#;

/// The runtime trusts the indices that a builtin gets, so each table must be one that the builtin may be called for.
#[test]
fn builtins_for_the_wrong_table() {
    let bytes = compile(TABLES, Vec::new());
    assert_eq!(problem(&bytes), "");
    let header = Header::read_from_bytes(&bytes[HEADER_OFFSET..HEADER_OFFSET + size_of::<Header>()]).expect("a header");
    let text = header.sections[SectionKind::Text as usize];
    let text = &bytes[text.offset as usize..(text.offset + text.size) as usize];
    let mut said = Vec::new();
    for at in 0..text.len() - 5 {
        // mov r32, 1 or 2
        if !(0xb8..=0xbf).contains(&text[at]) || !matches!(text[at + 1..at + 5], [1 | 2, 0, 0, 0]) {
            continue;
        }
        for other in [0, 3, 4] {
            said.push(problem(&forged(&bytes, SectionKind::Text, |text| text[at + 1] = other)));
        }
    }
    for expected in [
        "the builtin table_copy for a closed table",
        "the builtin table_init for a closed table",
        "the builtin table_fill for a closed table",
        "the builtin table_grow for a closed table",
        "a copy between tables with elements of other types",
        "a table is initialised with elements of other types",
        "a function reference of another type than declared",
    ] {
        assert!(said.iter().any(|s| s.contains(expected)), "nothing was refused with `{expected}`: {said:#?}");
    }
}

/// Typed tables and globals are called through without a check of the type, and types are compared by number.
#[test]
fn lies_about_types() {
    let bytes = compile(
        r#"(module
            (type $u (func (param i32) (result i32)))
            (type $v (func (param i64) (result i32)))
            (type $above (sub (func (param i32))))
            (type $below (sub $above (func (param i32))))
            (table $typed 2 2 (ref null $u))
            (table $filled 2 2 (ref null $u) (ref.func $f))
            (global (ref null $u) (ref.func $f))
            (elem (table $typed) (i32.const 0) (ref null $u) (ref.func $f))
            (elem (table $typed) (i32.const 1) (ref null $u) (ref.func $f))
            (func $f (export "f") (type $u) (local.get 0))
            (func $g (export "g") (type $v) (i32.const 1))
            (func (export "call") (result i32) (call_indirect $typed (type $u) (i32.const 1) (i32.const 0))))"#,
        Vec::new(),
    );
    assert_eq!(problem(&bytes), "");
    // Function 1 in the place of function 0.
    let other = |op: &mut ConstOp| match op {
        ConstOp::RefFunc(f) => *f = wasmc_environ::FuncIndex::from_u32(1),
        _ => panic!("no reference"),
    };
    type Lie<'a> = &'a dyn Fn(&mut Module);
    let lies: &[(&str, Lie<'_>)] = &[
        ("type 1 is said to equal type 0", &|m| m.canonical[1] = TypeIndex::from_u32(0)),
        ("type 3 is said to be a subtype", &|m| {
            let CompositeType::Func(f) = &mut m.types[3].composite;
            f.params[0] = ValType::I64;
        }),
        ("a table begins with elements of another type", &|m| {
            m.table_inits.iter_mut().flatten().for_each(|init| other(&mut init.ops[0]));
        }),
        ("a global begins with a value of another type", &|m| other(&mut m.global_inits[0].ops[0])),
        ("segment 0 holds elements of another type", &|m| match &mut m.elements[0].items {
            ElementItems::Expressions(_, items) => other(&mut items[0].ops[0]),
            ElementItems::Functions(_) => panic!("no expressions"),
        }),
        ("segment 1 initialises a table with elements of other types", &|m| match &mut m.elements[1].items {
            ElementItems::Expressions(ty, items) => {
                ty.heap = HeapType::Concrete(TypeIndex::from_u32(1));
                other(&mut items[0].ops[0]);
            }
            ElementItems::Functions(_) => panic!("no expressions"),
        }),
    ];
    for (expected, lie) in lies {
        let lying = forged(&bytes, SectionKind::Meta, |section| {
            let mut meta: ArtifactMeta = postcard::from_bytes(section).expect("metadata");
            lie(&mut meta.module);
            let encoded = postcard::to_allocvec(&meta).expect("metadata");
            section.copy_from_slice(&encoded);
        });
        let said = problem(&lying);
        assert!(said.contains(expected), "instead of `{expected}`: {said}");
    }
}

/// What is interpreted must be valid, and belong to the metadata; only then it may be anything.
#[test]
fn interpreted_functions_are_validated() {
    let source = r#"(module (memory 1) (table $t 1 1 funcref) (elem (table $t) (i32.const 0) func $f)
        (func $f (export "f") (param i32) (result i32) (i32.add (local.get 0) (i32.const 77)))
        (func (export "g") (param i32) (result i32) (i32.xor (local.get 0) (i32.const 99)))
        (func (export "h") (param i32) (result i32) (call_indirect (param i32) (result i32) (local.get 0) (i32.const 0))))"#;
    let bytes = compile(source, vec![Interpret::Odd]);
    assert_eq!(problem(&bytes), "");
    let find = |wasm: &[u8], wanted: &[u8]| wasm.windows(wanted.len()).position(|w| w == wanted).expect("the bytes are there");
    let changed = |old: &'static [u8], new: &'static [u8]| {
        let forged = forged(&bytes, SectionKind::Wasm, |wasm| {
            let at = find(wasm, old);
            wasm[at..at + new.len()].copy_from_slice(new);
        });
        problem(&forged)
    };
    // i32.xor becomes i64.xor; another constant; a memory of two pages; a table that an instruction reads is not closed.
    assert!(changed(&[0x41, 0xe3, 0x00, 0x73], &[0x41, 0xe3, 0x00, 0x85]).contains("is not valid"));
    assert_eq!(changed(&[0x41, 0xe3, 0x00, 0x73], &[0x41, 0xe2, 0x00, 0x73]), "");
    assert!(changed(&[0x05, 0x03, 0x01, 0x00, 0x01], &[0x05, 0x03, 0x01, 0x00, 0x02]).contains("is not the one"));
    let touching = changed(&[0x20, 0x00, 0x41, 0xe3, 0x00, 0x73], &[0x41, 0x00, 0x25, 0x00, 0xd1, 0x01]);
    assert!(touching.contains("is not the one"), "{touching}");
    // With native code alone, nobody reads it.
    let native = compile(source, Vec::new());
    assert_eq!(problem(&forged(&native, SectionKind::Wasm, |wasm| wasm.fill(0))), "");
}
