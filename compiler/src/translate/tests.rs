//! Translation of small modules: each is compiled for every target and set of options below, with Cranelift's verifier
//! on, so a wrong type or a block without an end is found here. What the code does is tested in `tests/`, where there is
//! a runtime; here some modules are also checked for the shape of their CLIF.

use super::{ModuleEnv, TranslateContext, translate_function};
use cranelift_codegen::isa::{OwnedTargetIsa, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{Context, ir};
use wasmc_environ::decode::{Decoded, decode};
use wasmc_environ::features::Features;
use wasmc_environ::jit::CompileError;
use wasmc_environ::vmoffsets::VMOffsets;
use wasmc_environ::{DefinedFuncIndex, Tunables, scan};

pub(super) fn isa(triple: &str, features: &[&str], opt_level: &str) -> OwnedTargetIsa {
    let mut flags = settings::builder();
    for (name, value) in [
        ("opt_level", opt_level),
        ("enable_verifier", "true"),
        ("is_pic", "false"),
        ("enable_multi_ret_implicit_sret", "true"),
        ("preserve_frame_pointers", "true"),
        ("enable_probestack", "true"),
        ("probestack_strategy", "inline"),
        ("probestack_size_log2", "16"),
    ] {
        flags.set(name, value).unwrap();
    }
    let mut builder = cranelift_codegen::isa::lookup(triple.parse().unwrap()).unwrap();
    for f in features {
        builder.enable(f).unwrap();
    }
    builder.finish(settings::Flags::new(flags)).unwrap()
}

const V3: &[&str] = &[
    "has_sse3",
    "has_ssse3",
    "has_sse41",
    "has_sse42",
    "has_popcnt",
    "has_avx",
    "has_avx2",
    "has_fma",
    "has_bmi1",
    "has_bmi2",
    "has_lzcnt",
];

pub(super) fn isas() -> Vec<OwnedTargetIsa> {
    vec![
        isa("x86_64-unknown-linux", &[], "speed"),
        isa("x86_64-unknown-linux", V3, "speed"),
        isa("x86_64-unknown-linux", V3, "none"),
        isa("aarch64-unknown-linux", &[], "speed"),
    ]
}

/// How a module is translated.
#[derive(Clone)]
pub(super) struct Options {
    pub(super) tunables: Tunables,
    pub(super) scan_tables: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { tunables: Tunables::default(), scan_tables: true }
    }
}

/// Translates all functions of a module and compiles them; the CLIF of each before it is optimised.
pub(super) fn translate_module(wasm: &[u8], isa: &dyn TargetIsa, compile: bool) -> Result<Vec<String>, CompileError> {
    translate_with(wasm, isa, compile, &Options::default())
}

pub(super) fn translate_with(wasm: &[u8], isa: &dyn TargetIsa, compile: bool, options: &Options) -> Result<Vec<String>, CompileError> {
    let Decoded { mut module, functions } = decode(wasm, &Features::all())?;
    if options.scan_tables {
        let mut touched = Vec::new();
        for f in &functions {
            touched.extend(scan::touched_tables(&f.body)?);
        }
        module.closed_tables = scan::closed_tables(&module, |t| touched.contains(&t));
    }
    let offsets = VMOffsets::new(&module, true).unwrap();
    let env = ModuleEnv::new(&module, &offsets, &options.tunables, isa);
    let mut cx = TranslateContext::default();
    let mut codegen = Context::new();
    let mut texts = Vec::new();
    for (i, f) in functions.into_iter().enumerate() {
        codegen.clear();
        translate_function(&env, &mut cx, DefinedFuncIndex::from_u32(i as u32), f, &mut codegen.func)?;
        texts.push(if compile { codegen.func.display().to_string() } else { String::new() });
        check_names(&codegen.func);
        if let Err(e) = cranelift_codegen::verify_function(&codegen.func, isa) {
            panic!("function {i}: {e}\n{}", codegen.func.display());
        }
        if compile {
            match codegen.compile(isa, &mut Default::default()) {
                Ok(code) => check_relocations(code),
                Err(e) => panic!("function {i}: {:?}\n{}", e.inner, e.func.display()),
            }
        }
    }
    Ok(texts)
}

/// Everything that a function refers to is one of our symbols: no library call that the runtime does not know.
fn check_names(func: &ir::Function) {
    for (_, name) in func.params.user_named_funcs() {
        assert!(crate::symbols::Symbol::from_name(name).is_some(), "{name}");
    }
    for f in func.dfg.ext_funcs.values() {
        assert!(matches!(f.name, ir::ExternalName::User(_)) && f.colocated, "{:?}", f.name);
    }
}

/// Nor did the lowering add any.
fn check_relocations(code: &cranelift_codegen::CompiledCode) {
    for r in code.buffer.relocs() {
        use cranelift_codegen::FinalizedRelocTarget as T;
        assert!(matches!(r.target, T::ExternalName(ir::ExternalName::User(_)) | T::Func(_)), "{:?}", r.target);
    }
}

/// Translates a module in every way; the CLIF of its functions on x86-64 with the usual options.
pub(super) fn check_with(wat: &str, options: &Options) -> Vec<String> {
    let wasm = wat::parse_str(wat).unwrap_or_else(|e| panic!("{e}\n{wat}"));
    let mut first = None;
    for isa in isas() {
        for (static_memory, spectre_tables, scan_tables) in
            [(true, true, true), (false, false, true), (true, true, false), (false, false, false)]
        {
            let tunables = Tunables { static_memory, spectre_tables, ..options.tunables.clone() };
            let options = Options { tunables, scan_tables };
            let texts = translate_with(&wasm, &*isa, true, &options).unwrap_or_else(|e| panic!("{e}\n{wat}"));
            first.get_or_insert(texts);
        }
    }
    first.unwrap()
}

pub(super) fn check(wat: &str) -> Vec<String> {
    check_with(wat, &Options::default())
}

/// A function of these types around a body.
fn body(types: &str, body: &str) -> Vec<String> {
    check(&format!("(module (memory 1) (func {types} {body}))"))
}

pub(super) fn count(text: &str, what: &str) -> usize {
    text.matches(what).count()
}

#[test]
fn integer_operators() {
    for ty in ["i32", "i64"] {
        for op in ["clz", "ctz", "popcnt", "eqz", "extend8_s", "extend16_s"] {
            let result = if op == "eqz" { "i32" } else { ty };
            body(&format!("(param {ty}) (result {result})"), &format!("({ty}.{op} (local.get 0))"));
        }
        for op in "add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr".split(' ') {
            body(&format!("(param {ty} {ty}) (result {ty})"), &format!("({ty}.{op} (local.get 0) (local.get 1))"));
        }
        for op in "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u".split(' ') {
            body(&format!("(param {ty} {ty}) (result i32)"), &format!("({ty}.{op} (local.get 0) (local.get 1))"));
        }
    }
    body("(param i64) (result i64)", "(i64.extend32_s (local.get 0))");
}

#[test]
fn float_operators() {
    for ty in ["f32", "f64"] {
        for op in "abs neg ceil floor trunc nearest sqrt".split(' ') {
            body(&format!("(param {ty}) (result {ty})"), &format!("({ty}.{op} (local.get 0))"));
        }
        for op in "add sub mul div min max copysign".split(' ') {
            body(&format!("(param {ty} {ty}) (result {ty})"), &format!("({ty}.{op} (local.get 0) (local.get 1))"));
        }
        for op in "eq ne lt gt le ge".split(' ') {
            body(&format!("(param {ty} {ty}) (result i32)"), &format!("({ty}.{op} (local.get 0) (local.get 1))"));
        }
    }
}

#[test]
fn rounding_without_sse41_calls_a_builtin() {
    let wasm = wat::parse_str("(module (func (param f32) (result f32) (f32.ceil (local.get 0))))").unwrap();
    let baseline = translate_module(&wasm, &*isa("x86_64-unknown-linux", &[], "speed"), true).unwrap();
    assert_eq!(count(&baseline[0], "call "), 1, "{}", baseline[0]);
    for isa in [isa("x86_64-unknown-linux", V3, "speed"), isa("aarch64-unknown-linux", &[], "speed")] {
        assert_eq!(count(&translate_module(&wasm, &*isa, true).unwrap()[0], "call "), 0);
    }
}

#[test]
fn conversions() {
    for (from, to, ops) in [
        ("i64", "i32", "wrap_i64"),
        ("i32", "i64", "extend_i32_s extend_i32_u"),
        ("f32", "i32", "trunc_f32_s trunc_f32_u trunc_sat_f32_s trunc_sat_f32_u reinterpret_f32"),
        ("f64", "i32", "trunc_f64_s trunc_f64_u trunc_sat_f64_s trunc_sat_f64_u"),
        ("f32", "i64", "trunc_f32_s trunc_f32_u trunc_sat_f32_s trunc_sat_f32_u"),
        ("f64", "i64", "trunc_f64_s trunc_f64_u trunc_sat_f64_s trunc_sat_f64_u reinterpret_f64"),
        ("i32", "f32", "convert_i32_s convert_i32_u reinterpret_i32"),
        ("i64", "f32", "convert_i64_s convert_i64_u"),
        ("i32", "f64", "convert_i32_s convert_i32_u"),
        ("i64", "f64", "convert_i64_s convert_i64_u reinterpret_i64"),
        ("f64", "f32", "demote_f64"),
        ("f32", "f64", "promote_f32"),
    ] {
        for op in ops.split(' ') {
            body(&format!("(param {from}) (result {to})"), &format!("({to}.{op} (local.get 0))"));
        }
    }
}

#[test]
fn constants() {
    body("(result i32)", "(i32.const -1)");
    body("(result i32)", "(i32.const 0x80000000)");
    body("(result i64)", "(i64.const -1)");
    body("(result f32)", "(f32.const nan:0x200000)");
    body("(result f64)", "(f64.const -nan:0x4000000000000)");
}

#[test]
fn memory_accesses() {
    for offset in ["", "offset=8", "offset=0x7fffffff", "offset=0x80000000", "offset=0xffffffff"] {
        for op in "i32.load i64.load f32.load f64.load i32.load8_s i32.load8_u i32.load16_s i32.load16_u i64.load8_s i64.load8_u \
                   i64.load16_s i64.load16_u i64.load32_s i64.load32_u"
            .split_ascii_whitespace()
        {
            body(&format!("(param i32) (result {})", &op[..3]), &format!("({op} {offset} (local.get 0))"));
        }
        for op in "i32.store i64.store f32.store f64.store i32.store8 i32.store16 i64.store8 i64.store16 i64.store32".split(' ') {
            body(&format!("(param i32 {})", &op[..3]), &format!("({op} {offset} (local.get 0) (local.get 1))"));
        }
    }
    let text = &body("(param i32) (result i32)", "(i32.add (i32.load offset=8 (local.get 0)) (i32.load (local.get 0)))")[0];
    assert_eq!(count(text, "trapnz"), 0);
    assert_eq!((count(text, "readonly"), count(text, "iconst.i64 -8\n")), (0, 1), "one base, which is not read: {text}");
}

/// A comparison and a conditional move an access, whatever the offset; only a sum that wraps traps by itself.
#[test]
fn checked_memory() {
    for (memory, index) in [("i64 1", "i64"), ("1 (pagesize 1)", "i32"), ("i64 2 0x100000000000 (pagesize 1)", "i64")] {
        let text = &check(&format!(
            "(module (memory {memory}) (func (param {index} i64) (result i64)
                (i64.store offset=0xffffffff (local.get 0) (local.get 1)) (i64.load (local.get 0))))"
        ))[0];
        assert_eq!(count(text, "select_spectre_guard"), 2);
        assert_eq!(count(text, "trapnz"), 0);
        assert_eq!(
            count(text, "uadd_overflow_trap"),
            if index == "i64" { 1 + usize::from(memory.contains("pagesize")) } else { 0 },
            "{text}"
        );
    }
    // Where no size of the memory has room for an access, nothing is compared.
    let text = &check("(module (memory i64 2 2 (pagesize 1)) (func (param i64) (result i64) (i64.load (local.get 0))))")[0];
    assert_eq!((count(text, "select_spectre_guard"), count(text, "trapnz")), (0, 1), "{text}");
}

#[test]
fn bulk_memory_and_multi_memory() {
    check(
        r#"(module
        (import "m" "a" (memory 1)) (memory $b 2 2) (memory $c 0 100)
        (data $d "abc")
        (func (param i32 i32 i32)
            (memory.copy $b $c (local.get 0) (local.get 1) (local.get 2))
            (memory.copy 0 $b (local.get 0) (local.get 1) (local.get 2))
            (memory.fill $c (local.get 0) (local.get 1) (local.get 2))
            (memory.init $b $d (local.get 0) (local.get 1) (local.get 2))
            (data.drop $d))
        (func (result i32 i32 i32) (memory.size 0) (memory.size $b) (memory.size $c))
        (func (param i32) (result i32) (memory.grow $c (local.get 0)))
        (func (param i32) (result i32)
            (i32.store $b (local.get 0) (i32.load 0 (local.get 0)))
            (i32.store8 $c (local.get 0) (i32.load16_u $b offset=5 (local.get 0)))
            (i32.load $c (local.get 0))))"#,
    );
}

#[test]
fn globals() {
    let texts = check(
        r#"(module
        (import "m" "i" (global $i i32)) (import "m" "j" (global $j (mut i64))) (import "m" "e" (global $e (mut externref)))
        (global $a i32 (i32.const 7))
        (global $b i32 (i32.add (i32.const 7) (i32.mul (i32.const 3) (i32.const -5))))
        (global $c (mut f64) (f64.const 1)) (global $d externref (ref.null extern))
        (global $f funcref (ref.func 0)) (global $n i32 (global.get $i)) (global $v (mut v128) (v128.const i64x2 1 2))
        (global $k i64 (i64.sub (i64.const 3) (i64.const 5)))
        (func (result i32) (global.get $b))
        (func (result i32 i64 i32 f64) (global.get $i) (global.get $j) (global.get $n) (global.get $c))
        (func (result externref funcref externref i64) (global.get $d) (global.get $f) (global.get $e) (global.get $k))
        (func (param f64 i64 externref)
            (global.set $c (local.get 0)) (global.set $j (local.get 1)) (global.set $e (local.get 2)))
        (func (result v128) (global.get $v)))"#,
    );
    assert!(texts[0].contains("iconst.i32 -8"), "{}", texts[0]);
}

#[test]
fn tables() {
    check(
        r#"(module
        (import "m" "t" (table $i 3 funcref)) (table $f 10 20 funcref) (table $e 1 externref) (table $x 5 5 funcref)
        (elem $s func 0)
        (func (param i32) (result funcref) (table.get $i (local.get 0)))
        (func (param i32 externref) (table.set $e (local.get 0) (local.get 1)))
        (func (param i32 externref) (result externref) (table.get $e (local.get 0)))
        (func (param i32 funcref) (table.set $x (local.get 0) (local.get 1)))
        (func (result i32 i32 i32 i32) (table.size $i) (table.size $f) (table.size $e) (table.size $x))
        (func (param funcref i32) (result i32) (table.grow $f (local.get 0) (local.get 1)))
        (func (param externref i32) (result i32) (table.grow $e (local.get 0) (local.get 1)))
        (func (param i32 externref i32) (table.fill $e (local.get 0) (local.get 1) (local.get 2)))
        (func (param i32 i32 i32) (table.copy $i $f (local.get 0) (local.get 1) (local.get 2))
            (table.init $f $s (local.get 0) (local.get 1) (local.get 2)) (elem.drop $s)))"#,
    );
}

#[test]
fn references() {
    check(
        r#"(module
        (import "m" "f" (func $f)) (func $g) (elem declare func $f $g)
        (func (result funcref funcref) (ref.func $f) (ref.func $g))
        (func (result funcref externref) (ref.null func) (ref.null extern))
        (func (param externref funcref) (result i32) (i32.add (ref.is_null (local.get 0)) (ref.is_null (local.get 1))))
        (func (param externref externref i32) (result externref)
            (call $g) (select (result externref) (local.get 0) (local.get 1) (local.get 2)) (call $g))
        (func (param externref) (result externref) (local externref)
            (loop $l (local.set 1 (local.get 0)) (call $g) (br_if $l (ref.is_null (local.get 1)))) (local.get 1)))"#,
    );
}

#[test]
fn typed_function_references() {
    check(
        r#"(module
        (type $t (func (param i32) (result i32)))
        (func $f (type $t) (local.get 0)) (elem declare func $f)
        (func (result i32) (call_ref $t (i32.const 1) (ref.func $f)))
        (func (result i32) (return_call_ref $t (i32.const 1) (ref.func $f)))
        (func (param funcref) (result i32)
            (block $null (br_on_null $null (local.get 0)) drop (return (i32.const 1))) (i32.const 0))
        (func (param funcref) (result funcref)
            (block $ok (result (ref func)) (br_on_non_null $ok (local.get 0)) (unreachable)))
        (func (param externref) (drop (ref.as_non_null (local.get 0)))))"#,
    );
}

#[test]
fn calls() {
    let texts = check(
        r#"(module
        (import "m" "f" (func $f (param i32 f64) (result i64)))
        (func $g (param i32 i64 f32 f64) (result i32 i64 f32 f64) (local.get 0) (local.get 1) (local.get 2) (local.get 3))
        (func (result i64) (call $f (i32.const 1) (f64.const 2)))
        (func (result i32 i64 f32 f64) (call $g (call $g (i32.const 1) (i64.const 2) (f32.const 3) (f64.const 4))))
        (func $self (param i32) (result i32) (if (result i32) (local.get 0)
            (then (call $self (i32.sub (local.get 0) (i32.const 1)))) (else (i32.const 0)))))"#,
    );
    assert_eq!(count(&texts[1], "call_indirect"), 1);
    assert_eq!(count(&texts[3], "colocated"), 1);
}

/// A list of `n` types in turn.
fn types(n: usize) -> String {
    ["i32", "i64", "f32", "f64", "v128", "externref", "funcref"].iter().cycle().take(n).copied().collect::<Vec<_>>().join(" ")
}

fn zeros(n: usize) -> String {
    ["(i32.const 1)", "(i64.const 2)", "(f32.const 3)", "(f64.const 4)", "(v128.const i64x2 1 2)", "(ref.null extern)", "(ref.null func)"]
        .iter()
        .cycle()
        .take(n)
        .copied()
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn calls_and_tail_calls_with_many_parameters_and_results() {
    for (params, results) in [(0, 0), (1, 1), (0, 20), (20, 0), (30, 30), (3, 100), (200, 5)] {
        let (p, r, z) = (types(params), types(results), zeros(params));
        check(&format!(
            r#"(module
            (type $t (func (param {p}) (result {r})))
            (import "m" "f" (func $f (type $t))) (table 5 funcref) (elem (i32.const 1) func $g $f)
            (table $open 5 funcref) (export "t" (table $open))
            (func $g (type $t) unreachable)
            (func (result {r}) (call $f {z}))
            (func (result {r}) (call $g {z}))
            (func (result {r}) (call_indirect (type $t) {z} (i32.const 1)))
            (func (result {r}) (call_indirect $open (type $t) {z} (i32.const 1)))
            (func (param i32 i64) (result {r}) (return_call $f {z}))
            (func (param i32 i64) (result {r}) (return_call $g {z}))
            (func (param i32) (result {r}) (return_call_indirect (type $t) {z} (local.get 0)))
            (func (param i32) (result {r}) (return_call_indirect $open (type $t) {z} (local.get 0)))
            (func (param i32) (result {r})
                (block $h (result exnref)
                    (block $b (result {r}) (try_table (result {r}) (catch_all_ref $h) (call $g {z})) (br $b))
                    return)
                unreachable))"#
        ));
    }
}

#[test]
fn closed_and_open_tables() {
    let texts = check(
        r#"(module
        (type $a (func (param i32) (result i32))) (type $b (func (param i64)))
        (import "m" "f" (func $f (type $a)))
        (table $closed 4 funcref) (elem (table $closed) (i32.const 1) func $f $g $h)
        (table $uniform 2 funcref) (elem (table $uniform) (i32.const 0) func $f $g)
        (table $empty 0 funcref)
        (table $open 4 funcref) (export "o" (table $open))
        (func $g (type $a) (local.get 0)) (func $h (type $b))
        (func (param i32) (result i32) (call_indirect $closed (type $a) (i32.const 1) (local.get 0)))
        (func (param i32) (result i32) (call_indirect $uniform (type $a) (i32.const 1) (local.get 0)))
        (func (param i32) (call_indirect $uniform (type $b) (i64.const 1) (local.get 0)))
        (func (param i32) (result i32) (call_indirect $empty (type $a) (i32.const 1) (local.get 0)) (i32.const 1) i32.add)
        (func (param i32) (result i32) (return_call_indirect $empty (type $a) (i32.const 1) (local.get 0)))
        (func (param i32) (result i32) (call_indirect $open (type $a) (i32.const 1) (local.get 0)))
        (func (result i32) (table.size $closed)))"#,
    );
    let (closed, uniform, open) = (&texts[2], &texts[3], &texts[7]);
    assert_eq!((count(closed, "symbol_value"), count(closed, "load."), count(closed, "sload32")), (1, 1, 1), "{closed}");
    assert_eq!((count(uniform, "load."), count(uniform, "sload32")), (0, 1), "{uniform}");
    assert_eq!(count(open, "symbol_value"), 0);
    assert!(texts[8].contains("iconst.i64 4"), "{}", texts[8]);
}

#[test]
fn subtypes_ask_the_runtime() {
    let texts = check(
        r#"(module (type $a (sub (func))) (type $b (sub (func (param i32)))) (func $f (type $b))
        (table $c 3 funcref) (elem (table $c) (i32.const 0) func $f) (table $o 3 funcref) (export "o" (table $o))
        (func (call_indirect $c (type $a) (i32.const 0))) (func (call_indirect $o (type $a) (i32.const 0))))"#,
    );
    assert_eq!(count(&texts[1], "  call ") + count(&texts[1], "= call "), 1, "{}", texts[1]);
    assert_eq!(count(&texts[2], "= call "), 1, "{}", texts[2]);
}

#[test]
fn blocks() {
    for code in [
        "(block (result i32) (i32.const 1))",
        "(block (result i32) (br 0 (i32.const 1)))",
        "(block (result i32) (br_if 0 (i32.const 1) (local.get 0)))",
        "(block (result i32) (i32.const 1) (block (br_if 0 (local.get 0))))",
        "(loop (result i32) (i32.const 1))",
        "(loop (result i32) (br_if 0 (local.get 0)) (i32.const 1))",
        "(loop (br 0)) (i32.const 1)",
        "(loop (br 0)) unreachable",
        "(loop (result i32) (br 0))",
        "(i32.const 1) (loop (param i32) (result i32) (br_if 0 (local.get 0)))",
        "(i32.const 1) (i64.const 2) (loop (param i32 i64) (result i32) (drop) (i64.const 2) (br_if 0 (local.get 0)) drop)",
        "(if (local.get 0) (then nop)) (i32.const 1)",
        "(if (local.get 0) (then (i32.const 1) return)) (i32.const 1)",
        "(if (local.get 0) (then (return (i32.const 1)))) (i32.const 1)",
        "(if (local.get 0) (then (return (i32.const 1))) (else nop)) (i32.const 1)",
        "(if (local.get 0) (then nop) (else (return (i32.const 1)))) (i32.const 1)",
        "(if (local.get 0) (then (return (i32.const 1))) (else (return (i32.const 2)))) unreachable",
        "(if (result i32) (local.get 0) (then (i32.const 1)) (else (i32.const 2)))",
        "(if (result i32) (local.get 0) (then (unreachable)) (else (unreachable)))",
        "(if (result i32) (local.get 0) (then (br 0 (i32.const 1))) (else (unreachable)))",
        "(if (result i32) (local.get 0) (then (unreachable)) (else (br 1 (i32.const 1))))",
        "(i32.const 5) (if (param i32) (result i32) (local.get 0) (then))",
        "(i32.const 5) (if (param i32) (result i32) (local.get 0) (then (br 0)))",
        "(i32.const 5) (if (param i32) (result i32) (local.get 0) (then drop unreachable))",
        "(i32.const 5) (if (param i32) (result i32) (local.get 0) (then (i32.const 1) i32.add) (else (drop) (i32.const 2)))",
        "(i32.const 5) (if (param i32) (result i32) (local.get 0) (then (drop) unreachable) (else (i32.const 2) i32.add))",
        "(i32.const 5) (if (param i32) (result i32) (local.get 0) (then (return)) (else (return)))",
        "(i32.const 5) (i64.const 6) (if (param i32 i64) (result i64 i32) (local.get 0)
            (then (drop) (drop) (i64.const 1) (i32.const 2)) (else (drop) (drop) (i64.const 1) (i32.const 2))) (drop) (drop) (i32.const 1)",
        "(i32.const 7) (i32.const 5) (if (param i32) (local.get 0) (then (return)) (else (drop))) ",
        "(if (local.get 0) (then (if (local.get 0) (then (return (i32.const 1))) (else (return (i32.const 2)))))) (i32.const 3)",
        "(block (block (block (br_table 0 1 2 (local.get 0)))) (return (i32.const 1))) (i32.const 2)",
        "(block (result i32) (block (result i32) (br_table 0 1 0 1 (i32.const 7) (local.get 0))) (i32.const 1) (i32.add))",
        "(block (result i32) (br_table 0 1 0 1 1 (i32.const 7) (local.get 0)))",
        "(block (br_table 0 (local.get 0))) (i32.const 1)",
        "(loop $l (block (br_table 0 $l 0 (local.get 0)))) (i32.const 1)",
        "(loop $l (result i32) (i32.const 1) (loop (param i32) (result i32) (block (param i32) (result i32) (br_table 0 1 (local.get 0)))))",
        "(block (br_if 0 (i32.eqz (local.get 0)))) (i32.const 1)",
        "(select (i32.const 1) (i32.const 2) (i32.lt_s (local.get 0) (i32.const 3)))",
        "(local.tee 0 (i32.const 1))",
        "(local.set 0 (i32.const 1)) (local.get 0)",
        "(return (i32.const 1))",
        "(br 0 (i32.const 1))",
        "(br_if 0 (i32.const 1) (local.get 0))",
        "(br_table 0 0 (i32.const 1) (local.get 0))",
        "(nop) (unreachable)",
    ] {
        body("(param i32) (result i32)", code);
    }
}

#[test]
fn exceptions() {
    let texts = check(
        r#"(module
        (import "m" "t" (tag $t (param i32))) (tag $u (param i64 f32 v128 externref)) (tag $v)
        (import "m" "g" (func $g))
        (func $f (param i32) (result i32) (local.get 0))
        ;; 1: calls of one try_table share the handler
        (func (export "a") (param i32) (result i32)
            (block $h (result i32)
                (try_table (catch $t $h) (drop (call $f (local.get 0))) (call $g) (drop (call $f (i32.const 2))))
                (i32.const 1)))
        ;; 2: all kinds of clauses
        (func (param externref) (result externref)
            (block $all
                (block $all_ref (result exnref)
                    (block $u_ref (result i64 f32 v128 externref exnref)
                        (block $t (result i32)
                            (try_table (catch $t $t) (catch_ref $u $u_ref) (catch_all_ref $all_ref) (call $g))
                            (return (local.get 0)))
                        drop
                        (return (local.get 0)))
                    drop (call $g) (return))
                throw_ref)
            (local.get 0))
        ;; 3: nested
        (func (param i32) (result i32)
            (block $a (result i32)
                (block $b
                    (try_table (catch $t $a) (catch_all $b)
                        (block $c
                            (try_table (catch $v $c)
                                (call $g)
                                (block $d (try_table (catch $v $d) (call $g) (throw $t (i32.const 1))))
                                (call $g)))
                        (call $g))
                    (return (i32.const 1)))
                (i32.const 3)))
        ;; 4: to the function's own label, with a loop
        (func (param i32) (result i32)
            (loop $l
                (try_table (catch $t 1) (call $g) (br_if $l (local.get 0))))
            (i32.const 1))
        ;; 5: a handler that starts a loop again
        (func
            (loop $l (try_table (catch_all $l) (call $g) (return))))
        ;; 6: no clauses, no calls
        (func (result i32) (try_table (result i32) (i32.const 1)))
        (func (result i32) (block $h (result i32) (try_table (result i32) (catch $t $h) (i32.const 1))))
        ;; 8: throws
        (func (throw $u (i64.const 1) (f32.const 2) (v128.const i64x2 1 2) (ref.null extern)))
        (func (param exnref) (throw_ref (local.get 0)))
        ;; 10: throw inside a try_table, result values, a tail call inside
        (func (param i32 exnref) (result i32)
            (block $h (result exnref)
                (try_table (catch_all_ref $h)
                    (if (local.get 0) (then (throw $v)))
                    (if (local.get 0) (then (throw_ref (local.get 1))))
                    (return_call $f (local.get 0)))
                unreachable)
            (local.set 1)
            (throw_ref (local.get 1)))
        ;; 11: locals change between calls
        (func (param i32) (result i32)
            (block $h
                (try_table (catch_all $h)
                    (local.set 0 (call $f (local.get 0)))
                    (local.set 0 (i32.add (local.get 0) (call $f (local.get 0))))
                    (call $g)))
            (local.get 0))
        ;; 12: references live across calls that throw
        (func (param externref exnref) (result externref exnref)
            (block $h
                (try_table (catch_all $h) (call $g) (local.set 0 (ref.null extern)) (call $g)))
            (local.get 0) (local.get 1))
        ;; 13: try_table with parameters
        (func (param i32) (result i32)
            (block $h (result i32)
                (local.get 0) (i32.const 1)
                (try_table (param i32 i32) (result i32) (catch $t $h) (call $f) (i32.add))))
        ;; 14: call_indirect inside
        (func (param i32)
            (block $h (try_table (catch_all $h) (call_indirect (local.get 0)))))
        (table 1 funcref)
        )"#,
    );
    assert_eq!(count(&texts[1], "try_call"), 3, "{}", texts[1]);
    assert_eq!(count(&texts[1], "[ default: block"), 3, "{}", texts[1]);
    let handlers: std::collections::BTreeSet<_> =
        texts[1].match_indices("default: ").map(|(i, _)| texts[1][i..].split('(').next().unwrap().to_owned()).collect();
    assert_eq!(handlers.len(), 1, "{}", texts[1]);
    assert_eq!(count(&texts[6], "try_call"), 0);
    assert_eq!(count(&texts[7], "try_call"), 0);
}

#[test]
fn a_throw_with_a_known_handler_is_a_branch() {
    let texts = check(
        r#"(module (import "m" "t" (tag $i)) (import "m" "u" (tag $j)) (tag $t (param i32)) (tag $u (param i64))
        (func (param i32) (result i32)
            (block $h (result i32) (try_table (catch $t $h) (throw $t (local.get 0))) unreachable) return)
        (func (block $h (try_table (catch_all $h) (throw $t (i32.const 1)))))
        (func (param i32) (block $h (try_table (catch $i $h) (try_table (catch $j $h) (throw $i)))))
        (func (param i32) (block $h (try_table (catch $i $h) (try_table (catch $j $h) (throw $j)))))
        (func (result exnref) (block $h (result exnref) (try_table (catch_all_ref $h) (throw $i)) unreachable))
        (func (result i32) (try_table (catch $t 0) (throw $t (i32.const 1))) (unreachable)))"#,
    );
    for (i, calls) in [(0, 0), (1, 0), (2, 3), (3, 0), (4, 2), (5, 0)] {
        assert_eq!(count(&texts[i], "call fn"), calls, "{}", texts[i]);
    }
}

#[test]
fn references_across_calls_that_throw_are_in_stack_maps() {
    let wasm = wat::parse_str(
        r#"(module (import "m" "g" (func $g))
        (func (param externref exnref) (result externref exnref)
            (block $h (try_table (catch_all $h) (call $g) (local.set 0 (ref.null extern)) (call $g)))
            (local.get 0) (local.get 1)))"#,
    )
    .unwrap();
    let text = &translate_module(&wasm, &*isa("x86_64-unknown-linux", &[], "speed"), true).unwrap()[0];
    assert_eq!(count(text, "stack_map=[i32 @ "), 2, "{text}");
}

#[test]
fn heap_references_are_in_stack_maps() {
    let wasm = wat::parse_str(
        r#"(module (import "m" "g" (func $g (result externref)))
        (func (param externref i32) (result externref) (local externref)
            (local.set 2 (call $g)) (drop (call $g)) (local.get 2))
        (func (param i32) (result i32) (drop (call $g)) (local.get 0)))"#,
    )
    .unwrap();
    let texts = translate_module(&wasm, &*isa("x86_64-unknown-linux", &[], "speed"), true).unwrap();
    assert_eq!(count(&texts[0], "stack_map=[i32 @ "), 1, "{}", texts[0]);
    assert_eq!(count(&texts[1], "stack_map"), 0, "{}", texts[1]);
}

#[test]
fn stores_of_globals_do_not_hide_loads_of_memory() {
    // The alias analysis only sees this through the regions: the second load is the first one.
    let wasm = wat::parse_str(
        r#"(module (memory 1) (global $g (mut i32) (i32.const 0)) (global $h (mut i32) (i32.const 0))
        (func (param i32) (result i32)
            (i32.load (local.get 0)) (global.set $g (local.get 0)) (global.get $h) i32.add
            (i32.load (local.get 0)) (global.set $g (i32.const 1)) (global.get $h) i32.add i32.add))"#,
    )
    .unwrap();
    let isa = isa("x86_64-unknown-linux", &[], "speed");
    let Decoded { module, functions } = decode(&wasm, &Features::default()).unwrap();
    let (offsets, tunables) = (VMOffsets::new(&module, true).unwrap(), Tunables::default());
    let env = ModuleEnv::new(&module, &offsets, &tunables, &*isa);
    let mut cx = Context::new();
    let f = functions.into_iter().next().unwrap();
    translate_function(&env, &mut TranslateContext::default(), DefinedFuncIndex::from_u32(0), f, &mut cx.func).unwrap();
    cx.optimize(&*isa, &mut Default::default()).unwrap();
    let text = cx.func.display().to_string();
    assert_eq!(count(&text, "load.i32"), 2, "{text}");
}

#[test]
fn locations_are_offsets_in_the_module() {
    let wasm = wat::parse_str("(module (func (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1))))").unwrap();
    let isa = isa("x86_64-unknown-linux", &[], "none");
    let Decoded { module, functions } = decode(&wasm, &Features::default()).unwrap();
    let (offsets, tunables) = (VMOffsets::new(&module, true).unwrap(), Tunables::default());
    let env = ModuleEnv::new(&module, &offsets, &tunables, &*isa);
    let f = functions.into_iter().next().unwrap();
    let mut func = ir::Function::new();
    translate_function(&env, &mut TranslateContext::default(), DefinedFuncIndex::from_u32(0), f, &mut func).unwrap();
    let block = func.layout.entry_block().unwrap();
    let division = func.layout.block_insts(block).find(|i| func.dfg.insts[*i].opcode() == ir::Opcode::Sdiv).unwrap();
    let at = func.srcloc(division).bits() as usize;
    assert_eq!(wasm[at], 0x6d, "the opcode of i32.div_s");
}
