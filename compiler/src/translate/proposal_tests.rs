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
    let offsets = VMOffsets::new(&module, true).unwrap();
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
    assert_eq!((count(&add, "xadd"), count(&add, "test"), count(&add, ", 8(")), (1, 1, 1), "{add}");
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

/// The blocks of a hinted function, in the order of the machine code, by a constant that each of them stores.
fn layout(body: &str, hints: &[(u32, bool)]) -> Vec<u32> {
    let wasm = wat::parse_str(format!("(module (memory 1) (func (param i32 i32) {body}))")).unwrap();
    let Decoded { module, functions } = decode(&wasm, &Features::all()).unwrap();
    let start = functions[0].body.range().start;
    // A hint is named by the number of its branch.
    let branches: Vec<u64> = functions[0]
        .body
        .get_operators_reader()
        .unwrap()
        .into_iter_with_offsets()
        .filter_map(|op| op.ok().filter(|(op, _)| matches!(op, wasmparser::Operator::If { .. } | wasmparser::Operator::BrIf { .. })))
        .map(|(_, offset)| offset - start)
        .collect();
    let mut section = vec![1, 0, hints.len() as u8];
    for (branch, likely) in hints {
        section.extend([branches[*branch as usize] as u8, 1, u8::from(*likely)]);
    }
    let name = b"metadata.code.branch_hint";
    let mut hinted = wasm[..8].to_vec();
    hinted.extend([0, (1 + name.len() + section.len()) as u8, name.len() as u8]);
    hinted.extend(name);
    hinted.extend(section);
    hinted.extend(&wasm[8..]);
    let (offsets, tunables) = (VMOffsets::new(&module, true).unwrap(), Tunables::default());
    let isa = isa("x86_64-unknown-linux", &[], "speed");
    let mut env = super::ModuleEnv::new(&module, &offsets, &tunables, &*isa);
    if !hints.is_empty() {
        env.hints = wasmc_environ::branch_hints::BranchHints::read(&hinted);
    }
    let mut codegen = Context::new();
    codegen.set_disasm(true);
    let body = functions.into_iter().next().unwrap();
    super::translate_function(&env, &mut Default::default(), DefinedFuncIndex::from_u32(0), body, &mut codegen.func).unwrap();
    let code = codegen.compile(&*isa, &mut Default::default()).unwrap().vcode.clone().unwrap();
    code.split("movl $").skip(1).filter_map(|rest| u32::from_str_radix(rest.split(',').next()?.trim_start_matches("0x"), 16).ok()).collect()
}

/// Fields of an object share a check: the pages behind the memory and those before it are inaccessible.
#[test]
fn checks_of_one_index_are_one() {
    for memory in ["i64 1", "i64 1 1", "i64 1 10 shared"] {
        let code = assembly(&format!(
            "(module (memory {memory}) (func (param i64 i64) (result i64)
                (i64.store offset=24 (local.get 0) (local.get 1))
                (i64.add (i64.load offset=8 (local.get 0)) (i64.load offset=0xff00 (local.get 0)))))"
        ));
        assert_eq!((count(&code, "cmov"), count(&code, "cmpq"), count(&code, "trap=")), (1, 1, 0), "{code}");
    }
    let bytes = assembly("(module (memory i64 100 (pagesize 1)) (func (param i64) (result i32) (i32.load offset=8 (local.get 0))))");
    assert_eq!((count(&bytes, "cmov"), count(&bytes, "trap=")), (1, 0), "{bytes}");
}

/// A null reference is found by the load through it.
#[test]
fn nulls_are_not_compared() {
    let code = assembly("(module (type $t (func)) (func (param (ref null $t)) (call_ref $t (local.get 0))))");
    assert_eq!((count(&code, "test"), count(&code, "cmp")), (0, 0), "{code}");
}

#[test]
fn branch_hints_order_blocks() {
    let store = |n: u32| format!("(i32.store offset={n} (local.get 1) (i32.const {n}))");
    let (a, b, c, d) = (store(111), store(222), store(333), store(444));
    // Hints are about the first branch, and the second.
    let if_else = format!("(if (local.get 0) (then {a}) (else {b})) {c}");
    assert_eq!(layout(&if_else, &[(0, false)]), [222, 333, 111]);
    assert_eq!(layout(&if_else, &[(0, true)]), [111, 333, 222]);
    let if_then = format!("(if (local.get 0) (then {a})) {b}");
    assert_eq!(layout(&if_then, &[(0, false)]), [222, 111]);
    assert_eq!(layout(&if_then, &[(0, true)]), [111, 222]);
    // What is likely skipped.
    let br_if = format!("(block (br_if 0 (local.get 0)) {a} {b}) {c}");
    assert_eq!(layout(&br_if, &[(0, true)]), [333, 111, 222]);
    assert_eq!(layout(&br_if, &[(0, false)]), [111, 222, 333]);
    // A label that only unlikely branches lead to, and all that is reached from there alone.
    let slow = format!("(block (block (br_if 0 (local.get 0)) {a} (br 1)) (if (local.get 1) (then {b}) (else {c}))) {d}");
    let order = layout(&slow, &[(0, false)]);
    assert_eq!(order[..2], [111, 444], "{order:?}");
    assert_eq!(order.len(), 4);
    assert_eq!(layout(&slow, &[(1, false)]).last(), Some(&222));
    // Constructs in cold code.
    let inside = format!("(if (local.get 0) (then (block (loop (br_if 1 (local.get 1)) {a} (br 0))) {b}) (else {c})) {d}");
    assert_eq!(layout(&inside, &[(0, false)])[..2], [333, 444]);
}
