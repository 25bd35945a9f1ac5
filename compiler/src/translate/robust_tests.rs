//! What must never happen, whatever the input is: a panic, native stack used up by nesting, memory filled by a small
//! module, code that cannot be reached taken for code that can.

use super::tests::{isa, isas, translate_module};
use super::{ModuleEnv, TranslateContext, translate_function};
use cranelift_codegen::ir;
use wasmc_environ::decode::{Decoded, decode};
use wasmc_environ::features::Features;
use wasmc_environ::vmoffsets::VMOffsets;
use wasmc_environ::{DefinedFuncIndex, Tunables};

/// After an instruction that does not return, every construct, in every position.
#[test]
fn unreachable_code() {
    let ends = [
        "unreachable",
        "(br 0)",
        "(return)",
        "(br_table 0 0 (i32.const 0))",
        "(loop (br 0))",
        "(return_call 0)",
        "(throw 0)",
        "(throw_ref (ref.null exn))",
        "(block (br 1))",
        "(if (local.get 0) (then (return)) (else (br 0 (return))))",
        "try (throw 0) catch_all (rethrow 0) end",
        "try (call 0) catch 0 (br 0) catch_all unreachable end",
    ];
    let dead = [
        "",
        "nop",
        "(block)",
        "(block (br 0))",
        "(loop (br 0))",
        "(if (i32.const 0) (then (br 0)) (else (br 1)))",
        "(if (then) (else))",
        "(drop (i32.add))",
        "(drop (select))",
        "(block (result i32) (i32.const 1)) drop",
        "(br_if 0 (i32.const 1))",
        "(call 0)",
        "(drop (i32.load (i32.const 0)))",
        "(block (block (loop (if (i32.const 1) (then unreachable)))))",
        "(br_table 0 0 0)",
        "(try_table (catch_all 0) (call 0))",
        "(try_table (catch_all 0))",
        "(local.set 0)",
        "(drop (f64.add (f64.const 1)))",
        "(block (result i64) (br 0) (br_if 0)) drop",
        "unreachable unreachable",
        "(loop (result i32) (i32.const 1) (br 0)) drop",
        "(drop (ref.is_null (ref.null func)))",
        "(return_call 0)",
        "(throw 0)",
        "(i64.store)",
        "(drop (memory.grow))",
        "try (call 0) end",
        "try (throw 0) catch 0 (rethrow 0) catch_all end",
        "try (call 0) delegate 0",
        "(i32.atomic.store)",
        "(drop (memory.atomic.notify))",
    ];
    let around = [
        "{}",
        "(block {})",
        "(loop {})",
        "(if (local.get 0) (then {}))",
        "(if (local.get 0) (then {}) (else nop))",
        "(if (local.get 0) (then nop) (else {}))",
        "(if (local.get 0) (then {}) (else {}))",
        "(block (block (block {} ) {}) nop)",
        "(try_table (catch_all 0) {})",
        "(block (try_table (catch_all 0) (call 0) {}))",
        "(loop (block {}) (br_if 0 (local.get 0)))",
        "try {} end",
        "try {} delegate 0",
        "try {} catch 0 {} catch_all {} end",
        "try (call 0) catch_all {} end",
        "try (call 0) catch_all try {} delegate 0 (rethrow 0) end",
        "(block try try {} catch 0 end delegate 1 (br_if 0 (local.get 0)))",
    ];
    let wasm_of = |code: &str| {
        wat::parse_str(format!("(module (memory 1) (func) (tag) (func (param i32) {code}) (func (param i32) {code} (call 0)))")).unwrap()
    };
    let isa = isa("x86_64-unknown-linux", &[], "none");
    for end in ends {
        for dead in dead {
            for around in around {
                let code = around.replace("{}", &format!("{end} {dead}"));
                let wasm = wasm_of(&code);
                // A combination that the validator refuses says nothing about the translator.
                if wasmc_environ::decode::decode_and_validate(&wasm, &Features::default()).is_ok() {
                    translate_module(&wasm, &*isa, true).unwrap_or_else(|e| panic!("{e}\n{code}"));
                }
            }
        }
    }
}

#[test]
fn nesting_costs_no_native_stack() {
    // Cranelift takes time in the square of the depth, though no stack either, so only a shallower one is compiled.
    let cases = [(wasmc_environ::limits::MAX_COMPILED_DEPTH - 1, false), (4_000, true)];
    let hex = |s: &str| s.split_ascii_whitespace().map(|b| u8::from_str_radix(b, 16).unwrap()).collect::<Vec<u8>>();
    // Each innermost construct calls the function itself and writes a local, which the end of the function reads.
    for (open, close) in [
        ("02 40", ""),
        ("03 40", ""),
        ("41 00 04 40", ""),
        ("20 00 04 40", "05 20 00 0d 01"),
        ("1f 40 01 02 00", ""),
        ("06 40", "19"),
        ("06 40", "07 00 09 00"),
        ("02 40 06 40", "18 00"),
        ("02 40 20 00 0d 00", "20 00 0d 01"),
    ] {
        for (depth, compile) in cases {
            let mut code = hex("01 01 7f");
            (0..depth).for_each(|_| code.extend(hex(open)));
            code.extend(hex("10 00 20 00 41 01 6a 21 00"));
            (0..depth).for_each(|_| {
                code.extend(hex(close));
                code.push(0x0b);
            });
            code.extend(hex("20 00 1a 0b"));
            let wasm = module_with_body(&code);
            std::thread::scope(|s| {
                // The size that worker threads have.
                let run = move || translate_module(&wasm, &*isa("x86_64-unknown-linux", &[], "speed"), compile).unwrap();
                std::thread::Builder::new().stack_size(2 << 20).spawn_scoped(s, run).unwrap().join().unwrap();
            });
        }
    }
}

/// A module with one function without parameters and results, from the bytes of its body.
fn module_with_body(code: &[u8]) -> Vec<u8> {
    let leb = |mut n: usize| {
        let mut bytes = Vec::new();
        while n >= 0x80 {
            bytes.push(n as u8 | 0x80);
            n >>= 7;
        }
        bytes.push(n as u8);
        bytes
    };
    let mut wasm = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0d\x03\x01\0\0\x0a".to_vec();
    let mut section = vec![1];
    section.extend(leb(code.len()));
    section.extend(code);
    wasm.extend(leb(section.len()));
    wasm.extend(section);
    wasm
}

#[test]
fn hostile_sizes_are_an_error() {
    let i32s = "i32 ".repeat(1000);
    let gets = (0..1000).map(|i| format!("(local.get {i})")).collect::<String>();
    let locals = format!("(local {})", "i32 ".repeat(49_000));
    let sets = (0..49_000).map(|i| format!("(local.set {i} (i32.const 1))")).collect::<String>();
    for function in [
        // A thousand operands on the stack, and many branches that carry them all.
        format!("(func (param {i32s}) (result {i32s}) (block (result {i32s}) {gets} {}))", "(br_if 0 (i32.const 1))".repeat(20_000)),
        // Many blocks with a thousand results.
        format!(
            "(type $r (func (result {i32s}))) (func {} unreachable {} unreachable)",
            "block (type $r) ".repeat(20_000),
            "end ".repeat(20_000)
        ),
        // Many locals that are all written in a late block.
        format!("(func {locals} {} {sets})", "(if (i32.const 1) (then))".repeat(20_000)),
    ] {
        let wasm = wat::parse_str(format!("(module {function})")).unwrap();
        let error = translate_module(&wasm, &*isa("x86_64-unknown-linux", &[], "none"), false).unwrap_err();
        assert!(error.to_string().contains("too large"), "{error}");
    }
}

#[test]
fn invalid_and_unsupported_functions_are_errors() {
    let bodies: [(&[u8], bool); 6] = [
        (b"\0", true),
        (b"\0\x0b\x0b", true),
        (b"\0\x41\0\x0b", true),
        (b"\0\x6a\x0b", true),
        (b"\x01\xff\xff\xff\xff\x0f\x7f\x0b", true),
        (b"\0\x0b", false),
    ];
    let isa = isa("x86_64-unknown-linux", &[], "none");
    for (code, fails) in bodies {
        assert_eq!(translate_module(&module_with_body(code), &*isa, true).is_err(), fails, "{code:?}");
    }
    // The context stays usable after an error.
    let (bad, good) = (module_with_body(b"\0\x02\x40\x41\0\x0b\x0b"), module_with_body(b"\0\x0b"));
    let mut cx = TranslateContext::default();
    let mut func = ir::Function::new();
    for (wasm, fails) in [(&bad, true), (&good, false), (&bad, true), (&good, false)] {
        let Decoded { module, functions } = decode(wasm, &Features::default()).unwrap();
        let (offsets, tunables) = (VMOffsets::new(&module, true).unwrap(), Tunables::default());
        let env = ModuleEnv::new(&module, &offsets, &tunables, &*isa);
        let f = functions.into_iter().next().unwrap();
        assert_eq!(translate_function(&env, &mut cx, DefinedFuncIndex::from_u32(0), f, &mut func).is_err(), fails);
    }
}

/// Bytes of the code of small programs changed at random: always an error or valid CLIF, never a panic.
#[test]
fn mutated_code() {
    let modules: Vec<Vec<u8>> = SEEDS.iter().map(|wat| wat::parse_str(wat).unwrap()).collect();
    let isa = &isas()[2];
    let mut state = 0x1234_5678_9abc_def1_u64;
    let mut random = move |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % n as u64) as usize
    };
    let mut valid = 0;
    for _ in 0..20_000 {
        let mut wasm = modules[random(modules.len())].clone();
        // The code is the last section, and the longest.
        let start = wasm.len() / 4;
        for _ in 0..1 + random(4) {
            let at = start + random(wasm.len() - start);
            wasm[at] = match random(3) {
                0 => random(256) as u8,
                // Opcodes of control, calls and variables are the most interesting.
                1 => random(0x28) as u8,
                _ => wasm[start + random(wasm.len() - start)],
            };
        }
        valid += usize::from(translate_module(&wasm, &**isa, false).is_ok());
    }
    assert!(valid > 500, "{valid}");
}

const SEEDS: &[&str] = &[
    r#"(module (memory 1) (table 4 funcref) (type $t (func (param i32) (result i32))) (func $f (type $t)
        (block (result i32) (block (br_table 0 1 0 (local.get 0))) (i32.const 1))
        (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 2)) (else (call $f (i32.const 3)))) i32.add
        (loop $l (param i32) (result i32) (i32.const 1) i32.sub (local.tee 0) (local.get 0) (br_if $l) (i32.load (i32.const 8)) i32.mul)
        (call_indirect (type $t) (i32.const 1)) (return_call $f)))"#,
    r#"(module (tag $t (param i32 i64)) (tag $u) (func $g (param i32) (result i32) (local i64 externref exnref)
        (block $h (result i32 i64)
            (block $r (result exnref)
                (try_table (result i32 i64) (catch $t $h) (catch_ref $u $r)
                    (call $g (local.get 0)) (i64.extend_i32_u) (local.set 1)
                    (try_table (catch_all 0) (throw $t (i32.const 1) (i64.const 2)))
                    (if (local.get 0) (then (throw $u)))
                    (i32.const 5) (local.get 1))
                (br $h))
            (local.set 3) (throw_ref (local.get 3)))
        drop))"#,
    r#"(module (memory 1 2) (global $g (mut f64) (f64.const 1)) (table $e 2 externref) (func (param f32 f64 externref v128) (result f64)
        (table.set $e (i32.const 0) (local.get 2)) (global.set $g (f64.add (local.get 1) (f64.promote_f32 (local.get 0))))
        (v128.store (i32.const 16) (i32x4.add (local.get 3) (v128.load offset=3 (i32.const 1))))
        (memory.fill (i32.const 0) (i32.const 1) (memory.grow (i32.const 1)))
        (drop (select (result externref) (local.get 2) (table.get $e (i32.const 1)) (memory.size)))
        (f64.store (i32.const 8) (f64.floor (global.get $g))) (f64.load (i32.trunc_sat_f64_s (global.get $g)))))"#,
];
