//! Copies and fills of memories: every length that compiled code treats in its own way, at all distances from one another and
//! from the end of the memory, against a model; on every tier, with and without checks in the code. What traps changes nothing.

mod support;

use support::*;
use wasmc_runtime::environ::TrapCode;
use wasmc_runtime::environ::features::Features;
use wasmc_runtime::{Engine, Instance, Result, Store, Val};
use wasmc_tests::Tier;

const PAGE: usize = 0x10000;
/// Lengths of the functions with a constant length; beyond 64 they are no different from others.
const KNOWN: std::ops::RangeInclusive<usize> = 0..=67;
/// Lengths given at run time: around all steps, and above what is copied without a place to be interrupted at.
const LENGTHS: &[usize] = &[0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100, 1000, 5000, PAGE];

/// The functions for a memory 0 and a memory 1 whose addresses are of type `ty`.
fn wat(memories: &str, ty: &str) -> String {
    let mut text = format!(
        "(module {memories}
            (func (export \"copy\") (param $d {ty}) (param $s {ty}) (param $n {ty}) (memory.copy (local.get $d) (local.get $s) (local.get $n)))
            (func (export \"across\") (param $d {ty}) (param $s {ty}) (param $n {ty})
                (memory.copy 0 1 (local.get $d) (local.get $s) (local.get $n)))
            (func (export \"fill\") (param $d {ty}) (param $v i32) (param $n {ty})
                (memory.fill (local.get $d) (local.get $v) (local.get $n)))\n"
    );
    for n in KNOWN {
        text += &format!(
            "(func (export \"copy{n}\") (param $d {ty}) (param $s {ty}) (memory.copy (local.get $d) (local.get $s) ({ty}.const {n})))
             (func (export \"across{n}\") (param $d {ty}) (param $s {ty}) (memory.copy 0 1 (local.get $d) (local.get $s) ({ty}.const {n})))
             (func (export \"fill{n}\") (param $d {ty}) (param $v i32) (memory.fill (local.get $d) (local.get $v) ({ty}.const {n})))\n"
        );
    }
    text + ")"
}

/// An instance beside a model of its memories.
struct Twin {
    store: Store<()>,
    instance: Instance,
    wide: bool,
    model: [Vec<u8>; 2],
}

impl Twin {
    fn new(engine: &Engine, text: &str, wide: bool) -> Self {
        let mut store = Store::new(engine, ());
        let instance = instance(&mut store, text);
        let model = ["a", "b"].map(|name| {
            let memory = instance.get_memory(&mut store, name).expect("a memory");
            let bytes = memory.data_mut(&mut store);
            for (i, byte) in bytes.iter_mut().enumerate() {
                *byte = (i * 7 + i / 251 + name.len()) as u8;
            }
            bytes.to_vec()
        });
        Self { store, instance, wide, model }
    }

    fn address(&self, n: usize) -> Val {
        if self.wide { Val::I64(n as i64) } else { Val::I32(n as u32 as i32) }
    }

    fn call(&mut self, name: &str, args: &[Val]) -> Result<()> {
        let f = self.instance.get_func(&mut self.store, name).unwrap_or_else(|| panic!("no export {name}"));
        f.call(&mut self.store, args, &mut [])
    }

    /// Does the same here and to the model. `what` is `copy`, `across` or `fill`; `known` takes the function for that length.
    fn same(&mut self, what: &str, to: usize, second: usize, len: usize, known: bool) {
        let name = if known { format!("{what}{len}") } else { what.to_owned() };
        let second_arg = if what == "fill" { Val::I32(second as i32) } else { self.address(second) };
        let mut args = vec![self.address(to), second_arg];
        if !known {
            args.push(self.address(len));
        }
        let result = self.call(&name, &args);
        let from = usize::from(what == "across");
        let fits = |model: &[u8], at: usize| at.checked_add(len).is_some_and(|end| end <= model.len());
        if !fits(&self.model[0], to) || what != "fill" && !fits(&self.model[from], second) {
            assert_eq!(trap(result).code(), TrapCode::MemoryOutOfBounds, "{name} {to:#x} {second:#x} {len}");
        } else {
            result.unwrap_or_else(|e| panic!("{name} {to:#x} {second:#x} {len}: {e:?}"));
            match what {
                "fill" => self.model[0][to..to + len].fill(second as u8),
                "copy" => self.model[0].copy_within(second..second + len, to),
                _ => {
                    let bytes = self.model[1][second..second + len].to_vec();
                    self.model[0][to..to + len].copy_from_slice(&bytes);
                }
            }
        }
        // What lies around, and now and then everything.
        let memory = self.instance.get_memory(&mut self.store, "a").expect("a memory");
        let data = memory.data(&self.store);
        let around = to.saturating_sub(80).min(data.len())..to.saturating_add(len).saturating_add(80).min(data.len());
        assert_eq!(data[around.clone()], self.model[0][around], "{name} {to:#x} {second:#x} {len}");
    }

    fn finish(mut self) {
        for (name, model) in ["a", "b"].into_iter().zip(&self.model) {
            let memory = self.instance.get_memory(&mut self.store, name).expect("a memory");
            assert!(memory.data(&self.store) == model, "{name}");
        }
    }
}

fn exercise(engine: &Engine, memories: &str, wide: bool, page: usize) {
    let text = wat(memories, if wide { "i64" } else { "i32" });
    let mut twin = Twin::new(engine, &text, wide);
    let size = twin.model[0].len();
    for (len, known) in KNOWN.map(|n| (n, true)).chain(LENGTHS.iter().map(|n| (*n, false))) {
        for distance in [0, 1, 3, 8, 15, 16, 17, 40, 63, 64, 1000] {
            twin.same("copy", 2000, 2000 + distance, len, known);
            twin.same("copy", 2000 + distance, 2000, len, known);
        }
        twin.same("across", 100, 300, len, known);
        twin.same("fill", 150, 0x1a5 + len, len, known);
        // The end of the memory, and addresses whose sum with the length leaves 32 or 64 bits.
        let end = size.saturating_sub(len);
        for at in [end, end + 1, end + len / 2, size, size + 1, size + page, u32::MAX as usize, u32::MAX as usize - len] {
            twin.same("copy", at, 0, len, known);
            twin.same("copy", 0, at, len, known);
            twin.same("across", 0, at, len, known);
            twin.same("fill", at, 7, len, known);
        }
        if wide {
            for at in [1 << 32, 1 << 40, usize::MAX, usize::MAX - len, usize::MAX / 2] {
                twin.same("copy", at, 0, len, known);
                twin.same("copy", 0, at, len, known);
                twin.same("fill", at, 7, len, known);
            }
        }
    }
    for len in [u32::MAX as usize, 1 << 31] {
        twin.same("copy", 1, 0, len, false);
        twin.same("fill", 1, 0, len, false);
    }
    twin.finish();
}

fn engines(features: Features) -> Vec<Engine> {
    let with = |config: wasmc_runtime::Config| Engine::new(config.features(features.clone())).expect("an engine");
    let mut engines: Vec<Engine> = Tier::ALL.into_iter().map(|tier| with(config(tier))).collect();
    engines.push(with(config(Tier::Compiled).static_memory(false)));
    engines
}

#[test]
fn copies_and_fills_of_every_length() {
    for engine in engines(Features::default()) {
        // The first may grow, so that its length is read; the length of the others is known.
        exercise(&engine, "(memory (export \"a\") 1) (memory (export \"b\") 1 1)", false, PAGE);
        exercise(&engine, "(memory (export \"a\") 2 2) (memory (export \"b\") 3)", false, PAGE);
    }
}

#[test]
fn with_64_bit_addresses() {
    for engine in engines(Features::default()) {
        exercise(&engine, "(memory (export \"a\") i64 1) (memory (export \"b\") i64 1 1)", true, PAGE);
    }
}

#[test]
fn with_pages_of_a_byte() {
    for engine in engines(Features { custom_page_sizes: true, ..Features::default() }) {
        let memories = "(memory (export \"a\") 70001 (pagesize 1)) (memory (export \"b\") 69999 69999 (pagesize 1))";
        exercise(&engine, memories, false, 1);
    }
}

#[test]
fn more_than_is_copied_at_once() {
    const MIB: usize = 1 << 20;
    for engine in engines(Features::default()) {
        let mut twin = Twin::new(&engine, &wat("(memory (export \"a\") 80) (memory (export \"b\") 80)", "i32"), false);
        for len in [MIB - 1, MIB, MIB + 1, 3 * MIB] {
            twin.same("copy", 100, 5, len, false);
            twin.same("copy", 5, 100, len, false);
            twin.same("across", 5, 100, len, false);
            twin.same("fill", 77, 0xee, len - 3, false);
        }
        twin.finish();
    }
}
