//! `wasmc man`: a manual page for wasmc and one for each command, made from the options as they are.

use crate::exit::{ExitCode, with_code};
use crate::report;
use anyhow::Result;
use std::path::PathBuf;

/// Write the manual pages into a folder.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  wasmc man ~/.local/share/man/man1      then: man wasmc, man wasmc-run
  wasmc man . && man -l wasmc-run.1")]
pub struct Opts {
    /// Where to write them; it is made if it is not there.
    folder: PathBuf,
}

/// Runs the command.
pub fn run(opts: Opts, command: clap::Command) -> Result<ExitCode> {
    let written = std::fs::create_dir_all(&opts.folder).and_then(|()| clap_mangen::generate_to(command, &opts.folder));
    written.map_err(|e| with_code(ExitCode::CANNOT_CREATE, format!("cannot write to {}: {e}", opts.folder.display())))?;
    report::summary(&format!("manual pages in {}", opts.folder.display()));
    Ok(ExitCode::OK)
}
