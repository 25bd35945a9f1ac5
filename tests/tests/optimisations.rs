//! wasmc's own optimisations, on every tier and with each of them left out: what programs compute stays what the interpreter, and here Rust's
//! 128-bit integers, say. `compiler/src/opt/tests.rs` shows that they do something at all.

use std::sync::Arc;
use wasmc_compiler::{Inlining, Interpret, Jit, Passes};
use wasmc_runtime::{Config, Engine, ExternRef, Func, Instance, Module, Store, Tier};

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
        ("compiled at the second call or turn", jit(Inlining::Normal, all).tier(Tier::Auto).compile_after(1, true)),
        ("compiled at the eighth", jit(Inlining::Normal, all).tier(Tier::Auto).compile_after(7, true)),
        ("locals as values", jit(Inlining::Everywhere, Passes { frame_locals: false, ..all })),
        ("without wide products", jit(Inlining::Everywhere, Passes { wide_multiply: false, ..all })),
        ("indices as they come", jit(Inlining::Everywhere, Passes { scaled_indices: false, ..all })),
        ("machine code as it comes", jit(Inlining::Everywhere, Passes { machine_code: false, ..all })),
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

/// An interpreter with locals of all types, which only some of its handlers change: arithmetic, loops inside of handlers, calls of itself,
/// calls of a host function, exceptions that are caught in the loop, results of blocks, traps. Its program is the memory.
fn interpreter() -> String {
    let mut handlers = vec![
        "(local.set $a (i32.add (local.get $a) (i32.mul (local.get $op) (i32.const 7919))))".to_owned(),
        "(local.set $l (i64.rotl (i64.xor (local.get $l) (i64.extend_i32_u (local.get $a))) (i64.const 7)))".into(),
        "(local.set $f (f32.add (f32.mul (local.get $f) (f32.const 0.5)) (f32.convert_i32_s (local.get $op))))".into(),
        "(local.set $d (f64.sub (f64.const 1.5) (f64.mul (local.get $d) (f64.const 0.25))))".into(),
        "(local.set $v (i32x4.add (local.get $v) (i32x4.splat (local.get $a))))".into(),
        "(local.set $v (f32x4.mul (f32x4.splat (local.get $f)) (v128.const f32x4 1 2 3 4)))".into(),
        "(local.set $r (select (result externref) (local.get $r) (ref.null extern) (local.get $op)))".into(),
        "(local.set $g (select (result funcref) (ref.func $run) (ref.null func) (local.get $op)))".into(),
        // The old value is used after the new one is there.
        "(local.set $a (i32.sub (local.tee $b (i32.add (local.get $a) (i32.const 3))) (local.get $a)))".into(),
        "(local.get $a) (local.set $a (local.get $b)) (local.set $b)".into(),
        "(local.set $n (i32.const 5))
         (loop $again
            (local.set $l (i64.add (local.get $l) (i64.extend_i32_u (local.get $n))))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"
            .into(),
        "(br_if $done (i32.and (local.get $op) (i32.const 1)))".into(),
        "(if (local.get $depth) (then
            (local.set $l (i64.add (local.get $l)
                (call $run (i32.add (local.get $pc) (i32.const 1)) (i32.sub (local.get $depth) (i32.const 1)) (local.get $r))))))"
            .into(),
        "(local.set $a (call $host (local.get $a) (local.get $b)))".into(),
        "(block $caught (result i32)
            (try_table (catch $e $caught) (throw $e (i32.xor (local.tee $b (local.get $op)) (local.get $a))))
            (i32.const 0))
         (local.set $a)"
            .into(),
        "(local.set $b (i32.add (local.get $b)
            (block $x (result i32) (drop (br_if $x (local.get $a) (i32.and (local.get $a) (i32.const 1)))) (i32.const 17))))"
            .into(),
        "(i32.store8 (i32.and (local.get $a) (i32.const 0xfff)) (local.get $b))".into(),
        "(local.set $depth (i32.const 0)) (local.set $pc (i32.add (local.get $pc) (i32.and (local.get $op) (i32.const 3))))".into(),
        "(local.set $a (i32.div_s (local.get $a) (i32.and (local.get $b) (i32.const 31))))".into(),
    ];
    for k in 0..5 {
        handlers.push(format!("(local.set $u{k} (i32.add (local.get $u{k}) (local.get $u{})))", (k + 1) % 5));
    }
    let count = handlers.len();
    let labels: String = (0..count).rev().map(|k| format!("(block $h{k} ")).collect();
    let table: String = (0..count).map(|k| format!("$h{k} ")).collect();
    let bodies: String = handlers.iter().map(|h| format!(") {h} (br $next)\n")).collect();
    format!(
        "(module
            (import \"\" \"host\" (func $host (param i32 i32) (result i32)))
            (memory (export \"memory\") 1) (tag $e (param i32)) (elem declare func $run)
            (func $run (export \"run\") (param $pc i32) (param $depth i32) (param $r externref) (result i64)
                (local $op i32) (local $a i32) (local $b i32) (local $l i64) (local $f f32) (local $d f64) (local $v v128) (local $n i32)
                (local $g funcref) (local $u0 i32) (local $u1 i32) (local $u2 i32) (local $u3 i32) (local $u4 i32)
                (local.set $u1 (local.get $pc)) (local.set $b (i32.const 1))
                (block $done
                    (loop $next
                        (br_if $done (i32.ge_u (local.get $pc) (i32.const 4096)))
                        (local.set $op (i32.load8_u (local.get $pc)))
                        (local.set $pc (i32.add (local.get $pc) (i32.const 1)))
                        {labels} (br_table {table} $h0 (i32.rem_u (local.get $op) (i32.const {count})))
                        {bodies}))
                (i64.xor (local.get $l) (i64.xor
                    (i64.xor
                        (i64.xor (i64.extend_i32_u (local.get $a)) (i64.shl (i64.extend_i32_u (local.get $b)) (i64.const 32)))
                        (i64.xor (i64.extend_i32_u (i32.reinterpret_f32 (local.get $f))) (i64.reinterpret_f64 (local.get $d))))
                    (i64.xor
                        (i64.xor (i64x2.extract_lane 0 (local.get $v)) (i64x2.extract_lane 1 (local.get $v)))
                        (i64.extend_i32_u (i32.add (ref.is_null (local.get $r)) (i32.add (i32.shl (ref.is_null (local.get $g)) (i32.const 1))
                            (i32.add (local.get $u0) (i32.add (local.get $u1) (i32.add (local.get $u2)
                                (i32.add (local.get $u3) (local.get $u4))))))))))))
            )"
    )
}

#[test]
fn interpreters_with_locals_in_the_frame() {
    let wasm = wat::parse_str(interpreter()).unwrap();
    let mut expected: Vec<Result<i64, String>> = Vec::new();
    for (way, config) in configs() {
        let engine = Engine::new(config).unwrap();
        let module = Module::new(&engine, &wasm).unwrap();
        let mut seen = Vec::new();
        for seed in 1..60u64 {
            let mut store = Store::new(&engine, ());
            let host = Func::wrap(&mut store, |a: i32, b: i32| a.rotate_left(5).wrapping_sub(b));
            let instance = Instance::new(&mut store, &module, &[host.into()]).unwrap();
            let memory = instance.get_memory(&mut store, "memory").unwrap();
            let mut x = seed;
            let program: Vec<u8> = (0..4096)
                .map(|_| {
                    x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    // Few programs would get far if each could leave at once.
                    let op = (x >> 40) as u8;
                    if op % 24 == 11 && x >> 50 & 0x3f != 0 { op.wrapping_add(1) } else { op }
                })
                .collect();
            memory.write(&mut store, 0, &program).unwrap();
            let run = instance.get_typed_func::<(i32, i32, Option<ExternRef>), i64>(&mut store, "run").unwrap();
            for pc in [0, 1000, 4000] {
                seen.push(run.call(&mut store, (pc, 2, None)).map_err(|e| e.to_string().lines().next().unwrap_or_default().to_owned()));
            }
        }
        let ended = seen.iter().filter(|r| r.is_ok()).count();
        assert!((20..seen.len() - 5).contains(&ended), "{way}: {ended} of {} programs end without a trap", seen.len());
        if expected.is_empty() {
            expected = seen;
        } else {
            assert_eq!(expected, seen, "{way}");
        }
    }
}

/// Indices that are shifted or added to: just small enough to be part of an address, and just too large, where bits are lost or sums
/// wrap. What is read is the address itself.
#[test]
fn small_and_large_indices() {
    // What the index is made of `x` (a local), and what that is.
    type Index = (&'static str, fn(u32) -> u32);
    let indices: &[Index] = &[
        ("(i32.shl (i32.and (local.get 0) (i32.const 0xff)) (i32.const 2))", |x| (x & 0xff) << 2),
        ("(i32.shl (i32.and (i32.const 0x1fff) (local.get 0)) (i32.const 35))", |x| (x & 0x1fff) << 3),
        ("(i32.shl (i32.and (local.get 0) (i32.const 0x20003fff)) (i32.const 3))", |x| (x & 0x2000_3fff) << 3),
        ("(i32.shl (i32.and (local.get 0) (i32.const 0x40003fff)) (i32.const 2))", |x| (x & 0x4000_3fff) << 2),
        ("(i32.shl (i32.and (local.get 0) (i32.const 0x7fff)) (i32.const 1))", |x| (x & 0x7fff) << 1),
        ("(i32.shl (i32.and (local.get 0) (i32.const 0x80003fff)) (i32.const 1))", |x| (x & 0x8000_3fff) << 1),
        ("(i32.shl (local.get 0) (i32.const 3))", |x| x << 3),
        ("(i32.shl (i32.and (local.get 0) (i32.const 0xfff)) (i32.const 4))", |x| (x & 0xfff) << 4),
        ("(i32.shl (i32.and (local.get 0) (i32.const 0xffff)) (i32.const 0))", |x| x & 0xffff),
        ("(i32.add (i32.shl (i32.and (local.get 0) (i32.const 0xff)) (i32.const 3)) (i32.const 40))", |x| ((x & 0xff) << 3) + 40),
        ("(i32.add (i32.const -8) (i32.shl (i32.and (local.get 0) (i32.const 0xff)) (i32.const 3)))", |x| {
            ((x & 0xff) << 3).wrapping_sub(8)
        }),
        ("(i32.add (i32.and (local.get 0) (i32.const 0xffff)) (i32.const 0xffff0001))", |x| (x & 0xffff).wrapping_add(0xffff_0001)),
        ("(i32.add (i32.and (local.get 0) (i32.const 0xffff)) (i32.const 0xffff0000))", |x| (x & 0xffff).wrapping_add(0xffff_0000)),
        ("(i32.add (i32.add (i32.shr_u (local.get 0) (i32.const 18)) (i32.const 7)) (i32.const 9))", |x| (x >> 18) + 16),
        ("(i32.add (local.get 0) (i32.const 16))", |x| x.wrapping_add(16)),
        ("(i32.shl (i32.shr_u (local.get 0) (i32.const 29)) (i32.const 3))", |x| (x >> 29) << 3),
        ("(i32.shl (i32.shr_u (local.get 0) (i32.const 33)) (i32.const 1))", |x| (x >> 1) << 1),
        ("(i32.shl (i32.or (i32.and (local.get 0) (i32.const 0x80)) (i32.and (local.get 0) (i32.const 0x7f))) (i32.const 3))", |x| {
            (x & 0xff) << 3
        }),
        ("(i32.shl (i32.xor (i32.and (local.get 0) (i32.const 0xff)) (i32.const -1)) (i32.const 1))", |x| ((x & 0xff) ^ u32::MAX) << 1),
        ("(i32.shl (i32.eqz (local.get 0)) (i32.const 3))", |x| u32::from(x == 0) << 3),
        ("(i32.shl (i32.load8_u (i32.and (local.get 0) (i32.const 0xffff))) (i32.const 3))", |x| {
            let at = x & 0xffff;
            ((at & !3) >> (8 * (at & 3)) & 0xff) << 3
        }),
        (
            "(i32.shl (select (i32.const 5) (i32.and (local.get 0) (i32.const 0xf)) (i32.and (local.get 0) (i32.const 1))) (i32.const 2))",
            |x| {
                if x & 1 == 1 { 20 } else { (x & 0xf) << 2 }
            },
        ),
        ("(i32.shl (i32.add (i32.and (local.get 0) (i32.const 0xff)) (i32.const -1)) (i32.const 2))", |x| (x & 0xff).wrapping_sub(1) << 2),
        ("(i32.shl (i32.shl (i32.and (local.get 0) (i32.const 0xff)) (i32.const 24)) (i32.const 2))", |x| ((x & 0xff) << 24) << 2),
    ];
    const OFFSETS: [u32; 4] = [0, 12, 0x4000_0000, 0xffff_fff0];
    const BYTES: u64 = 2 << 16;
    let mut text = String::from(
        "(module (memory 2) (func (export \"fill\") (local i32) (loop
        (i32.store (local.get 0) (local.get 0)) (local.set 0 (i32.add (local.get 0) (i32.const 4)))
        (br_if 0 (i32.lt_u (local.get 0) (i32.const 131072)))))",
    );
    for (i, (index, _)) in indices.iter().enumerate() {
        for (j, offset) in OFFSETS.iter().enumerate() {
            text += &format!("(func (export \"{i} {j}\") (param i32) (result i32) (i32.load8_u offset={offset} {index}))");
        }
    }
    text += ")";
    let wasm = wat::parse_str(&text).expect("valid text");
    let xs = [
        0,
        1,
        2,
        3,
        0x7f,
        0x80,
        0xff,
        0x100,
        0x1234,
        0xffff,
        0x1_0000,
        0x1fff_ffff,
        0x2000_0000,
        0x2000_0001,
        0x4000_0001,
        0x8000_0000,
        0x8000_0003,
        u32::MAX,
    ];
    for (name, config) in configs() {
        let engine = Engine::new(config).expect("a valid configuration");
        let module = Module::new(&engine, &wasm).expect("a valid module");
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).expect("an instance");
        instance.get_typed_func::<(), ()>(&mut store, "fill").expect("a function").call(&mut store, ()).expect("no trap");
        for (i, (index, expected)) in indices.iter().enumerate() {
            for (j, offset) in OFFSETS.iter().enumerate() {
                let f = instance.get_typed_func::<u32, u32>(&mut store, &format!("{i} {j}")).expect("a function");
                for x in xs {
                    let at = u64::from(expected(x)) + u64::from(*offset);
                    let found = f.call(&mut store, x).ok();
                    let wanted = (at < BYTES).then(|| (at as u32 & !3) >> (8 * (at as u32 & 3)) & 0xff);
                    assert_eq!(found, wanted, "{name}: {index} with {x:#x} and offset {offset}");
                }
            }
        }
    }
}
