//! `wasmc completions`: what a shell needs to complete command lines, made from the options as they are.

use crate::exit::{ExitCode, with_code};
use anyhow::Result;
use clap_complete::Shell;
use std::io::{ErrorKind, Write};

/// Print what a shell needs to complete wasmc's command lines.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  wasmc completions bash > ~/.local/share/bash-completion/completions/wasmc
  wasmc completions zsh > ~/.zfunc/_wasmc          with ~/.zfunc in fpath
  wasmc completions fish > ~/.config/fish/completions/wasmc.fish")]
pub struct Opts {
    /// The shell.
    shell: Shell,
}

/// Runs the command.
pub fn run(opts: Opts, mut command: clap::Command) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(opts.shell, &mut command, "wasmc", &mut script);
    match std::io::stdout().write_all(&script) {
        // The reader of a pipe had enough.
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::OK),
        Err(e) => Err(with_code(ExitCode::CANNOT_CREATE, format!("cannot write to standard output: {e}"))),
        Ok(()) => Ok(ExitCode::OK),
    }
}
