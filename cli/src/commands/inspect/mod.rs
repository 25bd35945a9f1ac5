//! `wasmc inspect`: what is in a module or an artifact, for a person, for a tool, or as a page that shows wasm and machine
//! code side by side. Nothing of the file is executed, and a file for another machine is as welcome as one for this.
//! `read` gathers what is known into a `report`; each view is a file.

mod code;
mod disasm;
mod html;
mod read;
mod report;
mod text;

use crate::exit::{ExitCode, usage, with_code};
use crate::input;
use anyhow::{Context, Result};
use code::Listing;
use read::Inspected;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use target_lexicon::Triple;
use wasmc_compiler::{CompileOptions, Cpu, OptLevel};
use wasmc_environ::features::Features;

/// Show what is in a module or an artifact.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  wasmc inspect app.so                      header, sections, imports, exports, largest functions
  wasmc inspect app.wasm --disasm main      the machine code of a function, under the wasm it came from
  wasmc inspect app.so --wat                the module inside an artifact, as text
  wasmc inspect app.wasm --html app.html    a page with wasm and machine code side by side
  wasmc inspect app.so --json | jq .functions")]
pub struct Opts {
    /// A module, binary or text, or an artifact.
    file: Option<PathBuf>,
    /// How many functions to list, largest first.
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
    /// Print the module in the text format.
    #[arg(long, group = "view")]
    wat: bool,
    /// Print the machine code of a function, by its name or index, or of all; a module is compiled for that.
    #[arg(long, group = "view", value_name = "FUNC", num_args = 0..=1)]
    disasm: Option<Option<String>>,
    /// List the instructions that can trap; a module is compiled for that.
    #[arg(long, group = "view")]
    traps: bool,
    /// Print everything as JSON, for tools.
    #[arg(long, group = "view")]
    json: bool,
    /// Write a page that shows wasm and machine code side by side.
    #[arg(long, group = "view", value_name = "OUT")]
    html: Option<PathBuf>,
    /// A function that the page of --html shows with its code, by name or index; repeatable [default: as many as fit].
    #[arg(long, value_name = "FUNC", requires = "html")]
    func: Vec<String>,
    /// Compile a module, so that sizes of machine code and traps are shown with any view.
    #[arg(long)]
    code: bool,
    /// Machine to compile a module for [default: this one].
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
    /// CPU features that the code may use.
    #[arg(long, value_name = "CPU")]
    cpu: Option<Cpu>,
    /// How much to optimise: 0, 1, 2, or s for size.
    #[arg(short = 'O', value_name = "LEVEL", default_value = "2")]
    opt_level: OptLevel,
}

/// Runs the command.
pub fn run(mut opts: Opts) -> Result<ExitCode> {
    // `--disasm FILE`: what looks like the option's value is the file.
    let file = match (opts.file.take(), &mut opts.disasm) {
        (Some(file), _) => file,
        (None, Some(disasm)) if disasm.is_some() => PathBuf::from(disasm.take().unwrap_or_default()),
        _ => return Err(usage("a file to inspect is missing: wasmc inspect FILE")),
    };
    if opts.wat {
        return wat(&file);
    }
    let target = match &opts.target {
        Some(t) => Some(Triple::from_str(t).map_err(|e| usage(format!("--target {t}: {e}; an example is aarch64-unknown-linux-gnu")))?),
        None => None,
    };
    let compile = CompileOptions {
        target,
        cpu: opts.cpu.clone().unwrap_or_default(),
        opt_level: opts.opt_level,
        features: Features::all(),
        ..CompileOptions::default()
    };
    let wants_code = opts.code || opts.disasm.is_some() || opts.traps || opts.html.is_some();
    let inspected = read::read(&file, wants_code.then_some(&compile))?;
    view(&opts, &file, &inspected)?;
    match &inspected.report.module {
        // The report is there, and says it too; whoever only looks at the code shall not take it for a good module.
        Some(m) if m.error.is_some() => {
            let error = m.error.as_ref().map_or_else(String::new, |e| format!("{:#x}: {}", e.offset, e.message));
            Err(with_code(ExitCode::DATA, format!("{} is not a valid module: {error}", file.display())))
        }
        _ => Ok(ExitCode::OK),
    }
}

fn view(opts: &Opts, file: &Path, inspected: &Inspected) -> Result<()> {
    if let Some(to) = &opts.html {
        let page = html::page(inspected, &listing(file, inspected)?, &opts.func)?;
        return write_page(to, &page);
    }
    let mut out = io::BufWriter::new(anstream::stdout());
    let written = if opts.json {
        json(&mut out, inspected)
    } else if let Some(wanted) = &opts.disasm {
        disasm::print(&mut out, inspected, &listing(file, inspected)?, wanted.as_deref())
    } else if opts.traps {
        disasm::print_traps(&mut out, inspected, &listing(file, inspected)?)
    } else {
        text::print(&mut out, &inspected.report, opts.top).map_err(Into::into)
    };
    printed(written.and_then(|()| Ok(out.flush()?)))
}

fn listing<'a>(file: &Path, inspected: &'a Inspected) -> Result<Listing<'a>> {
    match &inspected.code {
        Some(code) => Listing::new(code, &inspected.names).with_context(|| file.display().to_string()),
        None => Err(with_code(ExitCode::INTERNAL, "internal error: the module was not compiled")),
    }
}

fn json(out: &mut dyn Write, inspected: &Inspected) -> Result<()> {
    serde_json::to_writer_pretty(&mut *out, &inspected.report).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

/// What printing came to: a reader of a pipe that has seen enough is no error.
fn printed(written: Result<()>) -> Result<()> {
    match written {
        Err(e) => match e.downcast_ref::<io::Error>() {
            Some(io) if io.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Some(io) => Err(with_code(ExitCode::CANNOT_CREATE, format!("cannot write standard output: {io}"))),
            None => Err(e),
        },
        ok => ok,
    }
}

fn write_page(to: &Path, page: &str) -> Result<()> {
    std::fs::write(to, page).map_err(|e| with_code(ExitCode::CANNOT_CREATE, format!("cannot write {}: {e}", to.display())))
}

/// `--wat`: printed as it is read, since the text of a large module is many times its size.
fn wat(file: &Path) -> Result<ExitCode> {
    let name = || file.display().to_string();
    let wasm = match input::open(file)? {
        input::Input::Wasm(wasm) => wasm,
        input::Input::Artifact(_) => {
            let inspected = read::read(file, None)?;
            inspected.wasm.ok_or_else(|| {
                let stripped = inspected.report.artifact.is_some_and(|a| a.stripped);
                let why =
                    if stripped { "it was compiled with --strip, which leaves the module out" } else { "the module inside it is damaged" };
                with_code(ExitCode::DATA, format!("{} has no text to print: {why}", name()))
            })?
        }
    };
    let mut out = io::BufWriter::new(io::stdout());
    let mut printer = wasmprinter::Config::new();
    printer.features(Features::all().to_wasmparser());
    let written = printer.print(&wasm, &mut wasmprinter::PrintIoWrite(&mut out));
    match printed(written.and_then(|()| Ok(out.flush()?))) {
        Err(e) if !e.is::<crate::exit::WithCode>() => Err(with_code(ExitCode::DATA, format!("{}: {e:#}", name()))),
        other => other.map(|()| ExitCode::OK),
    }
}
