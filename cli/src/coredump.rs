//! `wasmc run --coredump FILE`: what the program held when it trapped, as a wasm core dump.

use crate::exit::{ExitCode, with_code};
use crate::report;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use wasmc_runtime::{AsContext, CoreDump, Error, Trap};

/// Options of core dumps.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct CoreDumpOpts {
    /// If the program traps, write its frames, memories and globals to FILE, as a wasm core dump for debuggers.
    #[arg(long, value_name = "FILE")]
    coredump: Option<PathBuf>,
}

impl CoreDumpOpts {
    /// Whether there is to be one.
    pub fn wanted(&self) -> bool {
        self.coredump.is_some()
    }

    /// Whether there will be a place for the file.
    ///
    /// # Errors
    /// If its folder does not exist.
    pub fn check(&self) -> Result<()> {
        let Some(to) = &self.coredump else { return Ok(()) };
        let folder = to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if folder.is_dir() && !to.is_dir() {
            return Ok(());
        }
        let what = if to.is_dir() { "it is a folder" } else { "its folder does not exist" };
        Err(with_code(ExitCode::CANNOT_CREATE, format!("cannot write the core dump {}: {what}", to.display())))
    }

    /// Writes the dump if the run ended in a trap. `store` is that of the thread; where it is not to be had, the dump has no memories and
    /// globals. What goes wrong is said, and does not hide the trap.
    pub fn write(&self, store: Option<impl AsContext>, outcome: &Result<(), Error>, program: &Path) {
        let (Some(to), Err(error)) = (&self.coredump, outcome) else { return };
        let Some(trap) = error.chain().find_map(|c| c.downcast_ref::<Trap>()) else { return };
        let write = || -> Result<()> {
            let dump = match store {
                Some(store) => CoreDump::new(store, trap)?,
                None => CoreDump::without_store(trap),
            };
            let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
            Ok(wasmc_compiler::write_file(to, &dump.to_wasm(&name))?)
        };
        match write().context("there is no core dump") {
            Ok(()) => report::summary(&format!("{}: core dump", to.display())),
            Err(e) => report::error(&e),
        }
    }
}
