//! `wasmc cache`: where the modules are that `wasmc run` has compiled, how many and how large, and removing them.

use crate::cache::{Cache, folder, limit};
use crate::exit::{ExitCode, with_code};
use crate::report;
use anyhow::Result;
use std::io::Write;

/// Look at or empty the cache of compiled modules.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  wasmc cache info                       where it is, how much is in it
  wasmc cache clean                      remove all of it
  WASMC_CACHE_SIZE=200M wasmc run app.wasm
  wasmc run --no-cache app.wasm          compile anew, keep nothing

`wasmc run` keeps what it compiles of a .wasm in $XDG_CACHE_HOME/wasmc or ~/.cache/wasmc, up to 1 GiB or the size in
WASMC_CACHE_SIZE (bytes, or with K, M or G; 0 switches it off). What was not used for longest goes first.")]
pub struct Opts {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Say where the cache is, how many modules it has, how large they are, and how large they may become.
    #[command(after_help = "Examples:\n  wasmc cache info")]
    Info,
    /// Remove all compiled modules.
    #[command(after_help = "Examples:\n  wasmc cache clean\n  wasmc cache clean --quiet")]
    Clean,
}

/// Runs the command.
pub fn run(opts: Opts) -> Result<ExitCode> {
    let unusable = |e: anyhow::Error| with_code(ExitCode::NO_INPUT, format!("no cache: {e:#}"));
    let cache = Cache::open_existing().map_err(unusable)?;
    match opts.action {
        Action::Info => {
            let usage = cache.as_ref().map(Cache::usage).transpose().map_err(unusable)?;
            let path = cache.as_ref().map_or_else(folder, |c| Ok(c.path().to_owned())).map_err(unusable)?;
            let mut out = std::io::stdout().lock();
            writeln!(out, "path:    {}", path.display())?;
            writeln!(out, "entries: {}", usage.as_ref().map_or(0, |u| u.entries))?;
            writeln!(out, "bytes:   {}", usage.as_ref().map_or(0, |u| u.bytes))?;
            match limit() {
                Ok(0) => writeln!(out, "limit:   0 (off)")?,
                Ok(limit) => writeln!(out, "limit:   {limit}")?,
                Err(e) => writeln!(out, "limit:   none, so that it is not used: {e:#}")?,
            }
        }
        Action::Clean => {
            let removed = cache.map(|c| c.clean()).transpose().map_err(|e| with_code(ExitCode::CANNOT_CREATE, format!("{e:#}")))?;
            let (entries, bytes) = removed.map_or((0, 0), |u| (u.entries, u.bytes));
            report::summary(&format!("removed {entries} compiled modules, {bytes} bytes"));
        }
    }
    Ok(ExitCode::OK)
}
