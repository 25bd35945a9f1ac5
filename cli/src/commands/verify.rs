//! `wasmc verify`: whether the machine code of an artifact stays in its sandbox, proved from the code itself.

use crate::exit::{ExitCode, with_code};
use crate::report;
use anyhow::Result;
use std::path::{Path, PathBuf};
use wasmc_runtime::ArtifactError;
use wasmc_verify::Refused;

/// Prove that the machine code of artifacts stays in its sandbox.
///
/// Every instruction that can be reached is decoded and must be proved harmless: branches and direct calls go to instructions and
/// functions of the text, indirect calls to functions whose type and place were checked, memory accesses to the program's memories
/// with their guards, its globals and tables, and its own stack frame; there are no system calls and no privileged instructions.
/// Not proved: that the code computes what the module says, how long it runs, and what it reads through misspeculation. The file
/// `docs/verify.md` says all of it.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  wasmc verify app.so
  wasmc verify --max-findings 100 plugins/*.so

Only code for x86-64 can be verified; an artifact for another machine is refused with exit code 78. Other exit codes: 0 all of it is
proved, 65 something is not or the file is damaged, 66 the file cannot be read.")]
pub struct Opts {
    /// Artifacts, as `wasmc compile` makes them.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Say at most this many findings a file.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    max_findings: u32,
}

/// Runs the command.
pub fn run(opts: Opts) -> Result<ExitCode> {
    let mut worst = ExitCode::OK;
    for file in &opts.files {
        let code = match verify(file, opts.max_findings as usize) {
            Ok(code) => code,
            Err(e) => {
                let code = ExitCode::of(&e);
                report::error(&e.context(format!("{} is not verified", file.display())));
                code
            }
        };
        worst = if worst == ExitCode::OK { code } else { worst };
    }
    Ok(worst)
}

fn verify(file: &Path, most: usize) -> Result<ExitCode> {
    let cannot = |e: std::io::Error| with_code(ExitCode::NO_INPUT, format!("cannot read {}: {e}", file.display()));
    let bytes = std::fs::read(file).map_err(cannot)?;
    match wasmc_verify::verify(&bytes) {
        Ok(r) => {
            println!(
                "{}: verified, {} instructions in {} functions and stubs, {} bytes of code",
                file.display(),
                r.instructions,
                r.pieces,
                r.text
            );
            Ok(ExitCode::OK)
        }
        Err(Refused::Artifact(kind)) => Err(ArtifactError { path: file.to_owned(), kind }.into()),
        Err(e @ Refused::Unsupported(_)) => Err(with_code(ExitCode::MISMATCH, e.to_string())),
        Err(e @ Refused::Damaged(_)) => Err(with_code(ExitCode::DATA, e.to_string())),
        Err(Refused::Unproved(findings)) => {
            let limit =
                if findings.len() > most { format!(" (the first {most} of {}: --max-findings)", findings.len()) } else { String::new() };
            let lines: Vec<String> = findings.iter().take(most).map(ToString::to_string).collect();
            report::errors(&format!("{} is not verified{limit}", file.display()), &lines);
            Ok(ExitCode::DATA)
        }
    }
}
