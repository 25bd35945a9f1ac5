//! Input files: read once, told apart by their first bytes and not by their names. Text is turned into a binary here,
//! with its errors pointing at line and column.

use crate::exit::{ExitCode, with_code};
use anyhow::Result;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What a file is.
pub enum Input {
    /// A native shared object; it is opened by its path, since it is mapped.
    Artifact(PathBuf),
    /// A binary module.
    Wasm(Vec<u8>),
}

/// Opens a file and finds out what it is.
///
/// # Errors
/// If it cannot be read (with its path), or is text that is not a module.
pub fn open(path: &Path) -> Result<Input> {
    let cannot = |e: std::io::Error| with_code(ExitCode::NO_INPUT, format!("cannot read {}: {e}", path.display()));
    let mut file = std::fs::File::open(path).map_err(cannot)?;
    if file.metadata().map_err(cannot)?.is_dir() {
        return Err(with_code(ExitCode::NO_INPUT, format!("cannot read {}: it is a directory", path.display())));
    }
    let mut bytes = Vec::new();
    // Enough to tell what it is: an artifact can be large and is mapped, not read.
    (&mut file).take(4).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.starts_with(b"\x7fELF") {
        return Ok(Input::Artifact(path.to_owned()));
    }
    file.read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.starts_with(b"\0asm") {
        return Ok(Input::Wasm(bytes));
    }
    text(path, bytes).map(Input::Wasm)
}

/// Reads a module to compile: a binary or text, but not an artifact.
///
/// # Errors
/// As [`open`], and if the file is an artifact.
pub fn module(path: &Path) -> Result<Vec<u8>> {
    match open(path)? {
        Input::Wasm(bytes) => Ok(bytes),
        Input::Artifact(path) => Err(with_code(
            ExitCode::DATA,
            format!("{} is an ELF file, not a WebAssembly module (run an artifact with `wasmc run`)", path.display()),
        )),
    }
}

fn text(path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>> {
    let neither = || {
        with_code(
            ExitCode::DATA,
            format!("{} is neither a WebAssembly binary (first bytes 00 61 73 6d) nor WebAssembly text nor an artifact", path.display()),
        )
    };
    let Ok(source) = String::from_utf8(bytes) else { return Err(neither()) };
    // The text format begins with a parenthesis, perhaps after space, comments or annotations.
    if !source.trim_start().starts_with(['(', ';']) {
        return Err(neither());
    }
    wat::parse_str(&source).map_err(|mut e| {
        e.set_path(path);
        with_code(ExitCode::DATA, e.to_string())
    })
}
