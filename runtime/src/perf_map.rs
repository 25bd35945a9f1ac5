//! Names for `perf`: code that was made in memory lies in no file that could have symbols, so `perf` reads them from a text file with a line a
//! symbol, `START SIZE NAME` in hexadecimal. Artifacts are mapped files with symbols of their own and need nothing.

use crate::code::{Backing, Code, LoadedCode};
use crate::module::Module;
use std::fmt::Write as _;
use wasmc_environ::names::function_names;

impl Module {
    /// The lines for `/tmp/perf-PID.map` that name this module's code; empty if it was not compiled in memory.
    pub fn perf_map(&self) -> String {
        let mut map = String::new();
        let Code::Loaded(code) = &self.inner.code else { return map };
        if !matches!(code.backing, Backing::Jit { .. }) {
            return map;
        }
        let mut symbols = stubs(code);
        let env = &self.inner.env;
        let names = function_names(env, self.inner.wasm().unwrap_or_default());
        for (i, f) in code.functions().iter().enumerate() {
            let index = env.func_index(wasmc_environ::DefinedFuncIndex::from_u32(i as u32));
            let name = names.get(&index).cloned().unwrap_or_else(|| format!("wasm_function_{index}"));
            symbols.push((f.code_offset, Some(f.code_size), name));
        }
        symbols.sort();
        for (i, (offset, size, name)) in symbols.iter().enumerate() {
            // A stub ends where the next symbol begins.
            let end = symbols.get(i + 1).map_or(code.text().len(), |next| next.0 as usize);
            let size = size.unwrap_or(end.saturating_sub(*offset as usize) as u32);
            let name: String = name.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
            // Writing to a string does not fail.
            let _ = writeln!(map, "{:x} {size:x} {name}", code.text().start + *offset as usize);
        }
        map
    }
}

fn stubs(code: &LoadedCode) -> Vec<(u32, Option<u32>, String)> {
    let kinds = |s: &wasmc_environ::artifact::StubSet| {
        [("exit_array", s.exit_array), ("exit_typed", s.exit_typed), ("entry", s.entry), ("tail_entry", s.tail_entry)]
    };
    let all = code
        .stubs()
        .iter()
        .enumerate()
        .flat_map(|(i, set)| kinds(set).map(|(kind, at)| at.map(|at| (at, None, format!("wasmc.{kind}.{i}")))));
    all.flatten().collect()
}
