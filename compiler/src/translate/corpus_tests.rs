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
