//! Translation of every program of the corpus, with the verifier on. The corpus lies outside the repository; without it
//! the test says so and passes.

use super::tests::{isas, translate_module};
use std::path::{Path, PathBuf};

fn modules(dir: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for path in entries.flatten().map(|e| e.path()) {
        if path.is_dir() {
            modules(&path, found);
        } else if path.extension().is_some_and(|e| e == "wasm") {
            found.push(path);
        }
    }
}

#[test]
fn corpus() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some(root) = manifest.ancestors().map(|a| a.join("shared/corpus")).find(|p| p.is_dir()) else {
        eprintln!("skipped: there is no corpus");
        return;
    };
    let mut found = Vec::new();
    modules(&root, &mut found);
    found.sort();
    let isas = isas();
    for path in found {
        let wasm = std::fs::read(&path).unwrap();
        // The large programs are only translated and verified: compiling them takes minutes without optimisation.
        let compile = wasm.len() < 200_000;
        for isa in [&isas[1], &isas[3]] {
            translate_module(&wasm, &**isa, compile).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
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
