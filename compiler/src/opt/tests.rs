//! Inlining, seen from inside: which functions may be inlined, which calls are, and what locations lead back to. What the code
//! then does is tested on all tiers (`tests/tests/inlining.rs`).

use super::sites::{FIRST_LOCATION, Sites};
use super::{CallGraph, Inlining, Passes};
use crate::facts::Facts;
use crate::{CompileOptions, compile_to_artifact, emit_clif};
use cranelift_codegen::ir::SourceLoc;
use wasmc_environ::artifact::*;
use wasmc_environ::decode::{Decoded, decode};
use wasmc_environ::features::Features;
use wasmc_environ::{DefinedFuncIndex, FuncIndex};
use zerocopy::FromBytes;

/// Who calls whom, and with which levels.
fn graph(wat: &str, inlining: Inlining, interpreted: &[u32]) -> (CallGraph, usize) {
    let wasm = wat::parse_str(wat).unwrap();
    let Decoded { module, functions } = decode(&wasm, &Features::default()).unwrap();
    let facts = Facts::of(&functions);
    let n = functions.len();
    let interpreted: Vec<bool> = (0..n as u32).map(|i| interpreted.contains(&i)).collect();
    (CallGraph::new(&module, facts.bodies, &interpreted, inlining), n)
}

/// The callees of each function that are inlined, by the sites in an artifact: `caller>callee`, the caller a function index.
fn inlined(wat: &str, inlining: Inlining) -> Vec<(u32, u32)> {
    let wasm = wat::parse_str(wat).unwrap();
    let artifact = compile_to_artifact(&wasm, &CompileOptions { inlining, ..CompileOptions::default() }).unwrap();
    let header = Header::read_from_prefix(&artifact.bytes[HEADER_OFFSET..]).unwrap().0;
    let section = |kind: SectionKind| {
        let s = &header.sections[kind as usize];
        &artifact.bytes[s.offset as usize..(s.offset + s.size) as usize]
    };
    let sites: &[InlineSite] = records(section(SectionKind::InlineSites)).unwrap();
    let bodies = &artifact.meta.module.bodies;
    let imported = artifact.meta.module.num_imported_functions;
    let mut all: Vec<(u32, u32)> = sites
        .iter()
        .map(|s| {
            let caller = bodies.iter().position(|b| b.contains(&u64::from(s.wasm_offset))).unwrap() as u32;
            (imported + caller, s.callee)
        })
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[test]
fn levels_lead_to_no_recursion() {
    let (graph, n) = graph(
        "(module
            (func $0 call $1 call $2)
            (func $1 call $2 call $3)
            (func $2 call $1 call $3)
            (func $3)
            (func $4 call $4 call $0)
            (func $5 call $4))",
        Inlining::Everywhere,
        &[],
    );
    let f = |i: usize| DefinedFuncIndex::from_u32(i as u32);
    for a in 0..n {
        assert!(!graph.allows(f(a), f(a)), "{a}");
        for b in 0..n {
            assert!(!(graph.allows(f(a), f(b)) && graph.allows(f(b), f(a))), "{a} {b}");
        }
    }
    assert!(graph.allows(f(0), f(1)) && graph.allows(f(1), f(3)) && graph.allows(f(5), f(0)));
    // Nobody calls it.
    assert!(!graph.allows(f(4), f(5)));
    assert_eq!(graph.callers(f(1)), 2);
}

#[test]
fn what_is_no_candidate() {
    let (graph, _) = graph(
        "(module
            (func $0 return_call $1)
            (func $1)
            (func $2 call $0 call $1 call $3)
            (func $3))",
        Inlining::Everywhere,
        &[3],
    );
    let candidates: Vec<u32> = graph.levels().iter().flatten().map(|f| f.as_u32()).collect();
    assert_eq!(candidates, [1]);
    let off = graph_of_nothing();
    assert!(off.levels().is_empty());
}

fn graph_of_nothing() -> CallGraph {
    graph("(module (func $0) (func call $0))", Inlining::Off, &[]).0
}

#[test]
fn a_chain_is_as_deep_as_the_levels() {
    use std::fmt::Write as _;
    let mut wat = String::from("(module (func $f0)");
    for i in 1..2_000 {
        let _ = write!(wat, "(func $f{i} call $f{})", i - 1);
    }
    wat.push(')');
    let (graph, _) = graph(&wat, Inlining::Everywhere, &[]);
    assert!(graph.levels().len() < 20);
    assert!(!inlined(&wat, Inlining::Everywhere).is_empty());
}

#[test]
fn small_functions_are_inlined_and_large_ones_are_not() {
    let large = "(local.set 0 (i32.popcnt (i32.add (i32.load (local.get 0)) (i32.load offset=4 (local.get 0)))))".repeat(30);
    let wat = format!(
        "(module (memory 1)
            (import \"host\" \"f\" (func $import))
            (func $get (param i32) (result i32) (i32.load (local.get 0)))
            (func $large (param i32) (result i32) {large} (local.get 0))
            (func $fails (param i32) (if (i32.gt_u (local.get 0) (i32.const 9)) (then (call $panic (local.get 0)) (unreachable))))
            (func $panic (param i32) (i32.store (local.get 0) (i32.const 1)) (call $import))
            (func (export \"f\") (param i32) (result i32)
                (call $fails (local.get 0))
                (i32.add (call $get (local.get 0)) (call $large (call $large (call $get (i32.const 8)))))))"
    )
    .replace("(memory 1)\n            (import \"host\" \"f\" (func $import))", "(import \"host\" \"f\" (func $import)) (memory 1)");
    // Numbers: 0 the import, 1 get, 2 large, 3 fails, 4 panic, 5 f.
    let normal = inlined(&wat, Inlining::Normal);
    assert!(normal.contains(&(5, 1)) && !normal.contains(&(5, 2)), "{normal:?}");
    // The call of `panic` is in code that ends in a trap.
    assert!(!normal.contains(&(3, 4)), "{normal:?}");
    let all = inlined(&wat, Inlining::Everywhere);
    assert!(all.contains(&(5, 2)) && all.contains(&(3, 4)), "{all:?}");
    assert_eq!(inlined(&wat, Inlining::Off), []);
}

#[test]
fn handlers_are_not_merged() {
    let wat = "(module (tag $a)
        (func $catches (block $h (try_table (catch $a $h) (call $throws))))
        (func $throws (throw $a))
        (func (export \"outer\") (block $h (try_table (catch_all $h) (call $catches))))
        (func (export \"plain\") (call $catches)))";
    let all = inlined(wat, Inlining::Everywhere);
    assert!(all.contains(&(0, 1)) && all.contains(&(3, 0)) && !all.contains(&(2, 0)), "{all:?}");
}

#[test]
fn locations_lead_back() {
    let location = |i: u32| SourceLoc::new(i);
    // `b` is inlined into `a` at 110, and `a` into something at 20 and at 30.
    let (mut a, mut top) = (Sites::default(), Sites::default());
    let into_a = a.add(FuncIndex::from_u32(7), 200..250, &Sites::default(), 110).unwrap();
    let first = top.add(FuncIndex::from_u32(6), 100..150, &a, 20).unwrap();
    let second = top.add(FuncIndex::from_u32(6), 100..150, &a, 30).unwrap();
    let in_b = into_a.apply(location(249));
    assert_eq!(a.resolve(in_b.bits()), (0, 249));
    assert_eq!(top.resolve(first.apply(location(100)).bits()), (0, 100));
    assert_eq!(top.resolve(first.apply(in_b).bits()), (1, 249));
    assert_eq!(top.resolve(second.apply(location(150)).bits()), (2, 150));
    assert_eq!(top.resolve(second.apply(in_b).bits()), (3, 249));
    assert_eq!(top.resolve(25), (NO_SITE, 25));
    assert!(second.apply(SourceLoc::default()).is_default());
    // Only what is left is listed, with those around it.
    let (sites, numbers) = top.used([3, NO_SITE].into_iter());
    assert_eq!(*sites, [InlineSite { parent: NO_SITE, callee: 6, wasm_offset: 30 }, InlineSite { parent: 0, callee: 7, wasm_offset: 110 }]);
    assert_eq!(numbers, [NO_SITE, NO_SITE, 0, 1]);
}

#[test]
fn locations_end() {
    let mut sites = Sites::default();
    let mut n = 0;
    while sites.add(FuncIndex::from_u32(0), 0..0x100_0000, &Sites::default(), 1).is_some() {
        n += 1;
    }
    assert_eq!(n, (0x7fff_ffff - FIRST_LOCATION) / 0x100_0001);
    assert!(Sites::default().add(FuncIndex::from_u32(0), std::ops::Range { start: 5, end: 4 }, &Sites::default(), 1).is_none());
    assert!(Sites::default().add(FuncIndex::from_u32(0), 0..4, &Sites::default(), FIRST_LOCATION).is_none());
}

/// The CLIF of a module's functions, with these passes.
fn clif(wat: &str, passes: Passes) -> String {
    emit_clif(&wat::parse_str(wat).unwrap(), &CompileOptions { passes, ..CompileOptions::default() }).unwrap()
}

const NONE: Passes = Passes::NONE;

/// The high half of a product as C makes it, with this in the place of the last mask and of the last shift.
fn high_half(mask: &str, shift: &str) -> String {
    format!(
        "(module (func (param i64 i64) (result i64) (local $t i64)
            (local.set $t (i64.add
                (i64.mul (i64.shr_u (local.get 0) (i64.const 32)) (i64.and (local.get 1) (i64.const 4294967295)))
                (i64.shr_u (i64.mul (i64.and (local.get 0) (i64.const 4294967295)) (i64.and (i64.const 4294967295) (local.get 1))) (i64.const 32))))
            (i64.add
                (i64.shr_u (i64.add
                    (i64.mul (i64.and (local.get 0) (i64.const 4294967295)) (i64.shr_u (local.get 1) (i64.const 32)))
                    (i64.and (local.get $t) (i64.const {mask}))) (i64.const {shift}))
                (i64.add
                    (i64.mul (i64.shr_u (local.get 1) (i64.const 32)) (i64.shr_u (local.get 0) (i64.const 32)))
                    (i64.shr_u (local.get $t) (i64.const 32))))))"
    )
}

#[test]
fn products_are_found() {
    let found = clif(&high_half("4294967295", "32"), Passes::default());
    assert_eq!((found.matches("umulhi").count(), found.matches("imul").count()), (1, 0), "{found}");
    for (mask, shift) in [("4294967294", "32"), ("4294967295", "31"), ("-1", "32")] {
        let other = clif(&high_half(mask, shift), Passes::default());
        assert_eq!((other.matches("umulhi").count(), other.matches("imul").count()), (0, 4), "{other}");
    }
    assert!(!clif(&high_half("4294967295", "32"), NONE).contains("umulhi"));
}

/// A loop with a table of this many targets, and locals that a handler changes, that none changes, and that are new in every round.
fn dispatch(targets: usize) -> String {
    let labels = "(block ".repeat(targets);
    let table: String = (0..targets).map(|k| format!("{k} ")).collect();
    let handlers: String = (0..targets)
        .map(|k| {
            format!(
                ") (local.set $new (i32.add (local.get $op) (i32.const {k}))) (local.set $pc (i32.add (local.get $pc) (local.get $same)))
                (i32.store (local.get $pc) (i32.add (local.get $new) (i32.mul (local.get $same) (i32.const {k})))) (br $next)"
            )
        })
        .collect();
    format!(
        "(module (memory 1) (func (param $same i32) (result i64)
            (local $pc i32) (local $op i32) (local $new i32) (local $x i64) (local $y i64) (local $r externref)
            (block $done (loop $next
                (local.set $op (i32.load8_u (local.get $pc)))
                (if (i32.eq (local.get $op) (i32.const 77))
                    (then (local.set $x (i64.add (local.get $x) (i64.const 3))) (local.set $r (ref.null extern)) (br $next)))
                (if (i32.eq (local.get $op) (i32.const 78)) (then (local.set $y (i64.mul (local.get $y) (local.get $x))) (br $next)))
                (br_if $done (ref.is_null (local.get $r)))
                {labels} (br_table {table} {targets} (local.get $op)) {handlers}))
            (i64.xor (local.get $x) (local.get $y))))"
    )
}

#[test]
fn locals_of_interpreters_are_in_the_frame() {
    let slots = |code: &str| code.lines().filter(|l| l.contains("explicit_slot")).count();
    // $x and $y; $pc is used most, $op and $new have no value at the loop's head that is read, $same does not change, $r is a reference.
    let found = clif(&dispatch(16), Passes::default());
    assert_eq!(slots(&found), 2, "{found}");
    for other in [clif(&dispatch(15), Passes::default()), clif(&dispatch(16), NONE)] {
        assert_eq!(slots(&other), 0, "{other}");
    }
}
