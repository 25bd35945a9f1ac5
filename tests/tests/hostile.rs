//! Hostile modules: truncated at every length, and mutated at random. Each is refused with a clear error or compiled;
//! nothing panics. The seed is fixed, so that a failure is the same every time.

use wasmc_compiler::{CompileOptions, compile_to_artifact};
use wasmc_environ::features::Features;
use wasmc_runtime::{Config, Engine, Module, Tier};
use wasmc_tests::workspace;

/// A small generator (xorshift64*): the tests must not depend on the version of a crate for their inputs.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// Changes 1 to 8 places: a bit, a byte, an interesting byte, a repeated or removed stretch.
fn mutate(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut m = bytes.to_vec();
    for _ in 0..=random.below(8) {
        let at = random.below(m.len().max(1)).min(m.len() - 1);
        match random.below(6) {
            0 => m[at] ^= 1 << random.below(8),
            1 => m[at] = random.next() as u8,
            2 => m[at] = [0, 1, 0x7f, 0x80, 0xff, 0x0b, 0x40][random.below(7)],
            3 => {
                let end = (at + 1 + random.below(16)).min(m.len());
                if end - at < m.len() {
                    m.drain(at..end);
                }
            }
            4 => {
                let end = (at + 1 + random.below(16)).min(m.len());
                let stretch = m[at..end].to_vec();
                m.splice(at..at, stretch);
            }
            _ => {
                let other = random.below(m.len());
                m.swap(at, other);
            }
        }
    }
    m
}

fn example() -> Vec<u8> {
    std::fs::read(workspace().join("examples/wordfreq/wordfreq.wasm")).expect("the example")
}

/// A module with something in every section, small enough to be compiled thousands of times.
fn small() -> Vec<u8> {
    wat::parse_str(
        r#"(module $small
            (type $t (func (param i32) (result i32)))
            (import "env" "f" (func $f (param i32) (result i32)))
            (import "env" "g" (global $g i32))
            (memory (export "memory") 1 4)
            (table $table 4 4 funcref)
            (table $open (export "table") 2 funcref)
            (tag $tag (param i32))
            (global $counter (mut i32) (i32.const 3))
            (elem (table $table) (i32.const 0) func $a $b $f)
            (elem $passive funcref (ref.func $a) (ref.null func))
            (data (i32.const 8) "some data")
            (data $passive_data "more")
            (func $a (type $t) (i32.add (local.get 0) (global.get $counter)))
            (func $b (type $t) (local i64 f64 v128)
                (local.set 1 (i64.extend_i32_u (local.get 0)))
                (loop $l (br_if $l (i32.lt_u (local.tee 0 (i32.sub (local.get 0) (i32.const 1))) (i32.const 9))))
                (local.set 3 (i32x4.splat (local.get 0)))
                (i32.store offset=4 (i32.const 16) (i32x4.extract_lane 2 (local.get 3)))
                (block $h (result i32)
                    (try_table (result i32) (catch $tag $h)
                        (throw $tag (call $a (i32.const 1))))))
            (func (export "run") (param i32) (result i32)
                (memory.init $passive_data (i32.const 0) (i32.const 0) (i32.const 4))
                (table.init $open $passive (i32.const 0) (i32.const 0) (i32.const 1))
                (block (block (br_table 0 1 (local.get 0))) (return (i32.const 1)))
                (call_indirect $table (type $t) (i32.const 7) (local.get 0)))
            (func (export "tail") (param i32) (result i32) (return_call $b (local.get 0))))"#,
    )
    .expect("the text is right")
}

fn interpreted() -> Engine {
    Engine::new(Config::new().tier(Tier::Interpreted)).expect("an engine")
}

/// Both ways into wasmc: an ahead-of-time compilation and an interpreted module. They accept the same modules.
fn try_both(engine: &Engine, bytes: &[u8]) -> bool {
    let compiled = compile_to_artifact(bytes, &CompileOptions { jobs: Some(1), ..CompileOptions::default() });
    let loaded = Module::new(engine, bytes);
    assert_eq!(compiled.is_ok(), loaded.is_ok(), "the tiers disagree: {:?} and {:?}", compiled.err(), loaded.err());
    if let Err(e) = &compiled {
        assert!(!e.to_string().is_empty());
    }
    compiled.is_ok()
}

#[test]
fn truncated_at_every_length() {
    let engine = interpreted();
    let bytes = small();
    assert!(try_both(&engine, &bytes), "the module itself is valid");
    let accepted = (0..bytes.len()).filter(|n| try_both(&engine, &bytes[..*n])).count();
    println!("{} lengths, {accepted} of them valid modules", bytes.len());
    // A larger real program: decoding and validation alone.
    let bytes = example();
    for n in 0..bytes.len() {
        // A module may end after any whole section.
        let _ = wasmc_environ::decode::decode_and_validate(&bytes[..n], &Features::default());
    }
}

#[test]
fn mutated_modules() {
    let engine = interpreted();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let bytes = small();
    let accepted = (0..8_000).filter(|_| try_both(&engine, &mutate(&bytes, &mut random))).count();
    println!("8000 mutations of a small module, {accepted} of them valid");
    let bytes = example();
    for _ in 0..2_000 {
        let _ = wasmc_environ::decode::decode_and_validate(&mutate(&bytes, &mut random), &Features::default());
    }
}
