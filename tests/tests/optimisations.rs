//! wasmc's own optimisations, on every tier and with each of them left out: what programs compute stays what the interpreter, and here Rust's
//! 128-bit integers, say. `compiler/src/opt/tests.rs` shows that they do something at all.

use std::sync::Arc;
use wasmc_compiler::{Inlining, Interpret, Jit, Passes};
use wasmc_runtime::{Config, Engine, Instance, Module, Store, Tier};

/// All ways to run a module.
fn configs() -> Vec<(&'static str, Config)> {
    let jit = |inlining, passes| Config::new().compiler(Arc::new(Jit { inlining, passes, ..Jit::default() }));
    let all = Passes::default();
    vec![
        ("interpreted", Config::new().tier(Tier::Interpreted)),
        ("compiled", jit(Inlining::Normal, all)),
        ("all inlined", jit(Inlining::Everywhere, all)),
        ("every second function", jit(Inlining::Everywhere, all).interpret(vec![Interpret::Odd])),
        ("metered", jit(Inlining::Everywhere, all).meter(true)),
        ("checked accesses", jit(Inlining::Normal, all).static_memory(false)),
        ("without wide products", jit(Inlining::Everywhere, Passes { wide_multiply: false })),
    ]
}

/// `__multi3` as clang and rustc make it, and a function that differs from the first in one place and must stay what it is.
const PRODUCTS: &str = r#"(module (memory (export "memory") 1)
    (func $c (param i32 i64 i64 i64 i64) (local i64)
        (i64.store offset=8 (local.get 0)
            (i64.add (i64.add (i64.add (i64.add
                (i64.mul (local.get 4) (local.get 1)) (i64.mul (local.get 2) (local.get 3)))
                (i64.mul (local.tee 2 (i64.shr_u (local.get 3) (i64.const 32))) (local.tee 4 (i64.shr_u (local.get 1) (i64.const 32)))))
                (i64.shr_u (local.tee 3 (i64.add
                    (i64.shr_u (local.tee 5 (i64.mul
                        (local.tee 3 (i64.and (local.get 3) (i64.const 4294967295)))
                        (local.tee 1 (i64.and (local.get 1) (i64.const 4294967295))))) (i64.const 32))
                    (i64.mul (local.get 3) (local.get 4)))) (i64.const 32)))
                (i64.shr_u (local.tee 1 (i64.add
                    (i64.and (local.get 3) (i64.const 4294967295))
                    (i64.mul (local.get 2) (local.get 1)))) (i64.const 32))))
        (i64.store (local.get 0)
            (i64.or (i64.shl (local.get 1) (i64.const 32)) (i64.and (local.get 5) (i64.const 4294967295)))))
    (func $rust (param i32 i64 i64 i64 i64) (local i64 i64 i64 i64 i64 i64)
        (i64.store (local.get 0) (local.tee 6 (i64.add
            (local.tee 7 (i64.mul
                (local.tee 5 (i64.and (local.get 3) (i64.const 4294967295)))
                (local.tee 6 (i64.and (local.get 1) (i64.const 4294967295)))))
            (i64.shl (local.tee 5 (i64.add
                (local.tee 9 (i64.mul (local.get 5) (local.tee 8 (i64.shr_u (local.get 1) (i64.const 32)))))
                (i64.mul (local.tee 10 (i64.shr_u (local.get 3) (i64.const 32))) (local.get 6)))) (i64.const 32)))))
        (i64.store offset=8 (local.get 0)
            (i64.add (i64.add (i64.add
                (i64.mul (local.get 10) (local.get 8))
                (i64.or
                    (i64.shl (i64.extend_i32_u (i64.lt_u (local.get 5) (local.get 9))) (i64.const 32))
                    (i64.shr_u (local.get 5) (i64.const 32))))
                (i64.extend_i32_u (i64.lt_u (local.get 6) (local.get 7))))
                (i64.add (i64.mul (local.get 4) (local.get 1)) (i64.mul (local.get 3) (local.get 2))))))
    (func (export "c") (param i64 i64 i64 i64) (call $c (i32.const 64) (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
    (func (export "rust") (param i64 i64 i64 i64) (call $rust (i32.const 64) (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
    (func (export "square") (param i64) (call $c (i32.const 64) (local.get 0) (i64.const 0) (local.get 0) (i64.const 0))))"#;

fn halves(n: u128) -> (i64, i64) {
    (n as i64, (n >> 64) as i64)
}

#[test]
fn products_of_128_bits() {
    let wasm = wat::parse_str(PRODUCTS).unwrap();
    let parts: Vec<u64> =
        vec![0, 1, 2, 0xffff_ffff, 1 << 32, 0xffff_ffff_0000_0000, u64::MAX, u64::MAX - 1, 1 << 63, 0x8000_0001, 0x1234_5678_9abc_def0];
    for (way, config) in configs() {
        let engine = Engine::new(config).unwrap();
        let module = Module::new(&engine, &wasm).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let result = |store: &Store<()>| {
            let mut bytes = [0; 16];
            memory.read(store, 64, &mut bytes).unwrap();
            u128::from_le_bytes(bytes)
        };
        for name in ["c", "rust"] {
            let f = instance.get_typed_func::<(i64, i64, i64, i64), ()>(&mut store, name).unwrap();
            for (i, a) in parts.iter().enumerate() {
                for (k, b) in parts.iter().enumerate() {
                    let a = u128::from(*a) | u128::from(parts[(i + k) % parts.len()]) << 64;
                    let b = u128::from(*b) | u128::from(parts[(i * 3 + k) % parts.len()]) << 64;
                    let ((a0, a1), (b0, b1)) = (halves(a), halves(b));
                    f.call(&mut store, (a0, a1, b0, b1)).unwrap();
                    assert_eq!(result(&store), a.wrapping_mul(b), "{way}, {name}: {a:x} * {b:x}");
                }
            }
        }
        let square = instance.get_typed_func::<i64, ()>(&mut store, "square").unwrap();
        for a in parts.iter().copied() {
            square.call(&mut store, a as i64).unwrap();
            assert_eq!(result(&store), u128::from(a) * u128::from(a), "{way}: {a:x} squared");
        }
    }
}

/// Loops that compare their counter before they count: upwards, downwards, in both widths, across the greatest number, with the counter used
/// behind the loop.
#[test]
fn loops_that_compare_first() {
    let one = |ty: &str, first: i64, last: i64, step: i64, cond: &str| {
        format!(
            "(func (export \"f\") (result i64) (local $i {ty}) (local $n i64) (local $old {ty})
                (local.set $i ({ty}.const {first}))
                (loop $l
                    (local.set $n (i64.add (local.get $n) (i64.const 3)))
                    (local.set $old (local.get $i))
                    (local.set $i ({ty}.add (local.get $i) ({ty}.const {step})))
                    (br_if $l ({cond} (local.get $old) ({ty}.const {last}))))
                (i64.add (local.get $n) (i64.mul (i64.const 1000003) {})))",
            if ty == "i32" { "(i64.extend_i32_u (local.get $i))" } else { "(local.get $i)" }
        )
    };
    let cases = [
        one("i32", 0, 7152, 16, "i32.ne"),
        one("i32", 100, 0, -1, "i32.ne"),
        one("i32", 0x7fff_fff0, -0x8000_0000, 1, "i32.ne"),
        one("i32", 5, 5, 1, "i32.eq"),
        one("i32", -3, 2, 1, "i32.ne"),
        one("i64", 0, 7152, 16, "i64.ne"),
        one("i64", i64::MAX - 5, i64::MIN, 1, "i64.ne"),
        one("i64", 3, -4, -1, "i64.ne"),
        one("i64", 0x1_0000_0000, 0x1_0000_0010, 2, "i64.ne"),
        one("i64", 0, 0x7fff_fff0, 0x7fff_fff0, "i64.ne"),
    ];
    for case in cases {
        let wasm = wat::parse_str(format!("(module {case})")).unwrap();
        let mut expected = None;
        for (way, config) in configs() {
            let engine = Engine::new(config).unwrap();
            let module = Module::new(&engine, &wasm).unwrap();
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let f = instance.get_typed_func::<(), i64>(&mut store, "f").unwrap();
            let result = f.call(&mut store, ()).unwrap();
            assert_eq!(*expected.get_or_insert(result), result, "{way}: {case}");
        }
    }
}
