//! Translation of what the proposals behind WebAssembly 3.0 add: compiled for every target with the verifier on, and the
//! shape of the code where it matters. What the code does is tested by the scripts in `tests/wast`.

use super::tests::{check, count, isa};
use cranelift_codegen::Context;
use wasmc_environ::decode::{Decoded, decode};
use wasmc_environ::features::Features;
use wasmc_environ::vmoffsets::VMOffsets;
use wasmc_environ::{DefinedFuncIndex, Tunables};

/// The machine code of a module's first function, for x86-64 with all that a recent processor has.
fn assembly(wat: &str) -> String {
    let wasm = wat::parse_str(wat).unwrap();
    let Decoded { module, functions } = decode(&wasm, &Features::all()).unwrap();
    let offsets = VMOffsets::new(&module).unwrap();
    let tunables = Tunables::default();
    let isa = isa("x86_64-unknown-linux", &["has_bmi1", "has_bmi2"], "speed");
    let env = super::ModuleEnv::new(&module, &offsets, &tunables, &*isa);
    let mut codegen = Context::new();
    codegen.set_disasm(true);
    let body = functions.into_iter().next().unwrap();
    super::translate_function(&env, &mut Default::default(), DefinedFuncIndex::from_u32(0), body, &mut codegen.func).unwrap();
    codegen.compile(&*isa, &mut Default::default()).unwrap().vcode.clone().unwrap()
}

#[test]
fn wide_arithmetic() {
    for (op, n) in [("add128", 4), ("sub128", 4), ("mul_wide_s", 2), ("mul_wide_u", 2)] {
        let (params, operands) = ("i64 ".repeat(n), (0..n).map(|i| format!("(local.get {i})")).collect::<String>());
        check(&format!("(module (func (param {params}) (result i64 i64) (i64.{op} {operands})))"));
    }
    let product = assembly("(module (func (param i64 i64) (result i64 i64) (i64.mul_wide_u (local.get 0) (local.get 1))))");
    assert_eq!(count(&product, "mul"), 1, "{product}");
    let carry = assembly(
        "(module (func (param i64 i64) (result i64 i64)
            (i64.add128 (local.get 0) (i64.const 0) (local.get 1) (i64.const 0))))",
    );
    assert_eq!((count(&carry, "add"), count(&carry, "adc")), (1, 0), "{carry}");
}

#[test]
fn atomic_accesses() {
    for memory in ["1", "i64 1", "1 (pagesize 1)"] {
        let index = if memory.starts_with("i64") { "i64" } else { "i32" };
        let one = |ty: &str, params: &str, result: &str, op: &str, operands: &str| {
            for offset in ["", "offset=1", "offset=8", "offset=0xfffffff8"] {
                check(&format!(
                    "(module (memory {memory}) (func (param {index} {params}) {result} ({ty}.atomic.{op} {offset} (local.get 0) {operands})))"
                ));
            }
        };
        for (ty, widths) in [("i32", &["", "8", "16"][..]), ("i64", &["", "8", "16", "32"])] {
            for width in widths {
                let suffix = if width.is_empty() { "" } else { "_u" };
                let result = format!("(result {ty})");
                one(ty, "", &result, &format!("load{width}{suffix}"), "");
                one(ty, ty, "", &format!("store{width}"), "(local.get 1)");
                for op in "add sub and or xor xchg".split(' ') {
                    one(ty, ty, &result, &format!("rmw{width}.{op}{suffix}"), "(local.get 1)");
                }
                one(ty, &format!("{ty} {ty}"), &result, &format!("rmw{width}.cmpxchg{suffix}"), "(local.get 1) (local.get 2)");
            }
        }
    }
    check("(module (func (atomic.fence)))");
    for (memory, index) in [("1", "i32"), ("i64 1", "i64"), ("1 1 shared", "i32"), ("i64 1 2 shared", "i64")] {
        for offset in ["", "offset=4", "offset=0xfffffffc"] {
            check(&format!(
                "(module (memory {memory})
                    (func (param {index} i32 i64) (result i32)
                        (memory.atomic.wait32 {offset} (local.get 0) (local.get 1) (local.get 2)))
                    (func (param {index} i64 i64) (result i32)
                        (memory.atomic.wait64 {offset} (local.get 0) (local.get 1) (local.get 2)))
                    (func (param {index} i32) (result i32) (memory.atomic.notify {offset} (local.get 0) (local.get 1))))"
            ));
        }
    }
    let add = assembly("(module (memory 1) (func (param i32) (result i32) (i32.atomic.rmw.add offset=8 (local.get 0) (i32.const 1))))");
    assert_eq!((count(&add, "xadd"), count(&add, "test"), count(&add, "8(")), (1, 1, 1), "{add}");
    let byte = assembly("(module (memory 1) (func (param i32) (result i32) (i32.atomic.load8_u (local.get 0))))");
    assert_eq!(count(&byte, "test"), 0, "a byte is always aligned: {byte}");
}

#[test]
fn legacy_exceptions() {
    let texts = check(
        r#"(module
        (import "m" "t" (tag $i (param i32))) (import "m" "t" (tag $j (param i32)))
        (tag $a (param i32 externref v128)) (tag $b)
        (func $f (param i32) (result i32) (local.get 0))
        ;; 1: every handler is known.
        (func (result i32)
            try (result i32)
                try (result i32) (throw $b) catch $a drop drop catch_all try (throw $b) delegate 1 (i32.const 1) end
            catch $b (i32.const 2)
            end)
        ;; 2: imported tags may be the same.
        (func (result i32) try (result i32) (throw $i (i32.const 1)) catch $j catch $i end)
        ;; 3
        (func (param externref) (result i32)
            try (result i32)
                (call $f (i32.const 1))
            catch $a
                drop
                (local.set 0)
                (drop (call $f (i32.const 1)))
                (if (ref.is_null (local.get 0)) (then (rethrow 1)))
                try (rethrow 1) catch_all (rethrow 0) end
            catch_all (call $f (i32.const 5))
            end)
        ;; 4
        (func (param i32) (result i32)
            try (param) (result i32)
                try (result i32)
                    try (result i32) (call $f (local.get 0)) delegate 1
                catch_all (i32.const 1) end
            catch_all (i32.const 2)
            end))"#,
    );
    assert_eq!(count(&texts[1], "call"), 0, "{}", texts[1]);
    assert_eq!(count(&texts[2], "try_call"), 1, "{}", texts[2]);
    // The flag that keeps the exception is set in both handlers, and only there.
    assert_eq!(count(&texts[3], "store notrap aligned little region"), 2, "{}", texts[3]);
    assert!(count(&texts[4], "try_call") == 1 && count(&texts[4], "store") == 0, "{}", texts[4]);
}

/// The search for the handler of a `throw` is bounded, or this would take minutes.
#[test]
fn many_throws_and_many_clauses() {
    let tags = "(tag)".repeat(1000);
    let clauses: String = (0..1000).map(|i| format!("catch {i} ")).collect();
    let throws: String = "block (br_if 0 (local.get 0)) (throw 0) end ".repeat(3000);
    let nested = format!("{} {} {}", "try ".repeat(100), throws, "catch 1 catch 2 end ".repeat(100));
    for body in [format!("try {throws} {clauses} end"), nested] {
        let wasm = wat::parse_str(format!("(module {tags} (func (param i32) {body}))")).unwrap();
        super::tests::translate_module(&wasm, &*isa("x86_64-unknown-linux", &[], "none"), false).unwrap();
    }
}
