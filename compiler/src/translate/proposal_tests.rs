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
    let add = assembly("(module (memory 1) (func (param i32) (result i32) (i32.atomic.rmw.add offset=8 (local.get 0) (i32.const 1))))");
    assert_eq!((count(&add, "xadd"), count(&add, "test"), count(&add, "8(")), (1, 1, 1), "{add}");
    let byte = assembly("(module (memory 1) (func (param i32) (result i32) (i32.atomic.load8_u (local.get 0))))");
    assert_eq!(count(&byte, "test"), 0, "a byte is always aligned: {byte}");
}
