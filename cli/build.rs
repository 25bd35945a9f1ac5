//! Links the executable at a fixed address on Linux: a position-independent one that contains Cranelift carries about
//! 15,000 relative relocations, which the dynamic loader applies at every start (see docs/RATIONALE.md). And tells the executable which code
//! generator it contains, so that a cache of compiled modules is not shared between builds that would compile differently.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo:rustc-link-arg-bins=-no-pie");
    }
    if std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "gnu") {
        // Found before the shared one, which is then not needed: loading it takes mapping it, and its constructor asks the
        // processor nine times what it is, which takes 50 us on a virtual machine. Linkers that keep to the order use the shared one.
        println!("cargo:rustc-link-lib=static:-bundle=gcc_eh");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut hasher = DefaultHasher::new();
    // Outside of the workspace they are not there, and the version has to do.
    for part in ["compiler/src", "runtime/environ/src", "Cargo.lock"] {
        let path = root.join(part);
        if path.exists() {
            println!("cargo:rerun-if-changed={}", path.display());
            hash(&path, &mut hasher);
        }
    }
    println!("cargo:rustc-env=WASMC_CODE_GENERATOR={:016x}", hasher.finish());
}

/// Names and contents of files, in order.
fn hash(path: &Path, hasher: &mut DefaultHasher) {
    if let Ok(entries) = std::fs::read_dir(path) {
        let mut entries: Vec<_> = entries.flatten().map(|e| e.path()).collect();
        entries.sort();
        for entry in entries {
            entry.file_name().hash(hasher);
            hash(&entry, hasher);
        }
    } else {
        std::fs::read(path).unwrap_or_default().hash(hasher);
    }
}
