//! `wasmc validate`: says whether files are valid modules.

use crate::exit::ExitCode;
use crate::options::FeatureSwitch;
use crate::{input, options, report};
use anyhow::Result;
use std::path::PathBuf;

/// Check that files are valid WebAssembly modules.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  wasmc validate app.wasm lib.wat\n  wasmc validate -W simd=n app.wasm")]
pub struct Opts {
    /// Modules, binary or text.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Switch a proposal on or off.
    #[arg(short = 'W', value_name = "NAME=y|n")]
    wasm: Vec<FeatureSwitch>,
}

/// Runs the command.
pub fn run(opts: Opts) -> Result<ExitCode> {
    let features = options::features(&opts.wasm);
    let mut worst = ExitCode::OK;
    for file in &opts.files {
        let check = || -> Result<()> {
            let wasm = input::module(file)?;
            wasmc_environ::decode::decode_and_validate(&wasm, &features)?;
            Ok(())
        };
        match check() {
            Ok(()) => println!("{}: valid", file.display()),
            Err(e) => {
                let code = ExitCode::of(&e);
                report::error(&e.context(format!("{} is not valid", file.display())));
                worst = if worst == ExitCode::OK { code } else { worst };
            }
        }
    }
    Ok(worst)
}
