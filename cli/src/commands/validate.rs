//! `wasmc validate`: says whether files are valid modules, and of those that are not every function with an error, with the
//! byte offset and the text of the instruction.

use crate::exit::ExitCode;
use crate::options::FeatureSwitch;
use crate::{input, options, report};
use anyhow::Result;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use wasmc_environ::diagnose::{Diagnostic, diagnose};
use wasmc_environ::error::DecodeErrorKind;
use wasmc_environ::features::Features;
use wasmc_environ::names::function_names;
use wasmc_environ::{DecodeError, FuncIndex};

/// Check that files are valid WebAssembly modules.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  wasmc validate app.wasm lib.wat\n  wasmc validate -W simd=n app.wasm")]
pub struct Opts {
    /// Modules, binary or text.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Switch a proposal on or off (`wasmc settings` lists them).
    #[arg(short = 'W', value_name = "NAME=y|n")]
    wasm: Vec<FeatureSwitch>,
    /// Say at most this many errors a file.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    max_errors: u32,
}

/// Runs the command.
pub fn run(opts: Opts) -> Result<ExitCode> {
    let features = options::features(&opts.wasm);
    let mut worst = ExitCode::OK;
    for file in &opts.files {
        let code = match input::module(file) {
            Ok(wasm) => check(file, &wasm, &features, opts.max_errors as usize),
            Err(e) => {
                let code = ExitCode::of(&e);
                report::error(&e.context(format!("{} is not valid", file.display())));
                code
            }
        };
        worst = if worst == ExitCode::OK { code } else { worst };
    }
    Ok(worst)
}

fn check(file: &Path, wasm: &[u8], features: &Features, most: usize) -> ExitCode {
    let found = diagnose(wasm, features, most);
    if found.is_empty() {
        println!("{}: valid", file.display());
        return ExitCode::OK;
    }
    let names = wasmc_environ::decode::decode(wasm, features).map_or_else(|_| HashMap::new(), |d| function_names(&d.module, wasm));
    let texts = instructions(wasm, features, &found);
    let lines: Vec<_> = found.iter().map(|d| line(d, &names, &texts)).collect();
    let limit = if found.len() == most { " (there may be more: --max-errors)" } else { "" };
    report::errors(&format!("{} is not valid{limit}", file.display()), &lines);
    ExitCode::DATA
}

fn line(d: &Diagnostic, names: &HashMap<FuncIndex, String>, texts: &HashMap<u64, String>) -> String {
    let DecodeError { kind, message, offset } = &d.error;
    let mut line = format!("{offset:#x}: ");
    if let Some(f) = d.function {
        line += &format!("function {}", f.as_u32());
        if let Some(name) = names.get(&f) {
            line += &format!(" `{}`", name.escape_debug());
        }
        line += ": ";
    }
    if let Some(text) = texts.get(offset).or(d.operator.as_ref()) {
        line += &format!("`{text}`: ");
    }
    if *kind == DecodeErrorKind::Malformed {
        line += "malformed: ";
    }
    line + message
}

/// The text of the instructions at the errors' offsets, as far as the module can be printed.
fn instructions(wasm: &[u8], features: &Features, found: &[Diagnostic]) -> HashMap<u64, String> {
    /// Keeps only the lines of wanted offsets, so that a large module's text is never held.
    struct Lines {
        wanted: HashMap<u64, String>,
        current: Option<u64>,
    }
    impl wasmprinter::Print for Lines {
        fn write_str(&mut self, s: &str) -> io::Result<()> {
            if let Some(offset) = self.current {
                let text = self.wanted.entry(offset).or_default();
                // A constant or a `br_table` can be as long as the module.
                let room = 120usize.saturating_sub(text.len());
                text.extend(s.chars().take(room));
            }
            Ok(())
        }
        fn start_line(&mut self, binary_offset: Option<u64>) {
            self.current = binary_offset.filter(|o| self.wanted.contains_key(o));
        }
    }
    let wanted = found.iter().filter(|d| d.operator.is_some()).map(|d| (d.error.offset, String::new())).collect();
    let mut lines = Lines { wanted, current: None };
    // It fails where the module cannot be printed; what was printed until then is good.
    let _ = wasmprinter::Config::new().features(features.to_wasmparser()).print(wasm, &mut lines);
    let texts = lines.wanted.into_iter().map(|(offset, text)| (offset, text.trim().to_owned()));
    // The printer closes a construct where the binary has an `end`.
    texts.map(|(offset, text)| (offset, if text == ")" { "end".to_owned() } else { text })).filter(|(_, text)| !text.is_empty()).collect()
}
