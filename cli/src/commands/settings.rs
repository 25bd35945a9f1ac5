//! `wasmc settings`: what can be switched, with its default and what it is. The list is the one that the validator and the
//! command line expand, so that it cannot say anything else than they do.

use crate::exit::ExitCode;
use anyhow::Result;
use std::io::Write;
use wasmc_environ::features::Features;

/// List the proposals that -W switches, with their defaults.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  wasmc settings\n  wasmc run -W custom-page-sizes=y app.wasm")]
pub struct Opts {}

/// Runs the command.
pub fn run(_: Opts) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "WebAssembly proposals (-W NAME=y|n):")?;
    for feature in Features::ALL {
        writeln!(out, "  {:<20} {}   {}", feature.name, if feature.default { 'y' } else { 'n' }, feature.description.trim())?;
    }
    Ok(ExitCode::OK)
}
