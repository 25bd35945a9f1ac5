//! `wasmc compile`: a module to a native shared object, or to the text of its intermediate or machine code.

use crate::exit::{ExitCode, usage, with_code};
use crate::inlining::InlineOpts;
use crate::options::{FeatureSwitch, features, parse_interpret};
use crate::{input, report};
use anyhow::{Context, Result};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use target_lexicon::Triple;
use wasmc_compiler::{CompileOptions, Cpu, OptLevel, SelfChecks, Stats};
use wasmc_environ::Tunables;
use wasmc_environ::jit::Interpret;

/// Compile a module to a native shared object.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  wasmc compile app.wasm -o app.so
  wasmc compile app.wasm -o app.so --cpu x86-64-v3            for all machines of that level
  wasmc compile app.wasm -o app.so --target aarch64-unknown-linux-gnu
  wasmc compile app.wasm -o app.so --interpret rare_function  leave it to the interpreter
  wasmc compile app.wasm -o app.so --trace                    for wasmc run --trace calls
  wasmc compile app.wat --emit asm                            show the machine code")]
pub struct Opts {
    /// The module, binary or text.
    input: PathBuf,
    /// Where to write [default: the input's name with .so; standard output for --emit clif|asm].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Machine to compile for, like aarch64-unknown-linux-gnu [default: this one].
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
    /// CPU features that the code may use: native, baseline, x86-64-v3, or a list like sse4.2,avx
    /// [default: native; baseline with --target].
    #[arg(long, value_name = "CPU")]
    cpu: Option<Cpu>,
    /// How much to optimise: 0, 1, 2, or s for size.
    #[arg(short = 'O', value_name = "LEVEL", default_value = "2")]
    opt_level: OptLevel,
    /// Threads to compile with [default: all cores].
    #[arg(short, long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
    /// Leave a function uncompiled, to be interpreted: its name, its index, all, or odd (every second one).
    #[arg(long, value_name = "FUNCTION", value_parser = parse_interpret)]
    interpret: Vec<Interpret>,
    /// What to write.
    #[arg(long, value_enum, default_value = "so")]
    emit: Emit,
    /// Leave out the original module: a smaller file, which cannot be inspected or recompiled.
    #[arg(long)]
    strip: bool,
    /// Switch a proposal on or off.
    #[arg(short = 'W', value_name = "NAME=y|n")]
    wasm: Vec<FeatureSwitch>,
    /// Check every memory access explicitly instead of relying on 8 GiB of reserved address space.
    #[arg(long)]
    explicit_bounds: bool,
    #[command(flatten)]
    spectre: crate::spectre::SpectreOpts,
    #[command(flatten)]
    inline: InlineOpts,
    /// Make code that reports its calls to `wasmc run --trace calls`. It is slower, also when nobody asks.
    #[arg(long)]
    trace: bool,
    /// How far the code generator checks its own work: off, verifier or all; for tests.
    #[arg(long, value_name = "HOW", hide = true)]
    self_checks: Option<SelfChecks>,
    #[command(flatten)]
    meter: crate::meter::CompileOpts,
}

#[derive(Copy, Clone, PartialEq, Eq, clap::ValueEnum)]
enum Emit {
    /// A native shared object.
    So,
    /// Cranelift's intermediate representation.
    Clif,
    /// Machine code as text.
    Asm,
}

/// Runs the command.
pub fn run(opts: Opts) -> Result<ExitCode> {
    wasmc_runtime::end_process_on_faults(crate::exit::FAULTS);
    let target = match &opts.target {
        Some(t) => Some(Triple::from_str(t).map_err(|e| usage(format!("--target {t}: {e}; an example is aarch64-unknown-linux-gnu")))?),
        None => None,
    };
    if opts.strip && !opts.interpret.is_empty() {
        return Err(usage("--strip drops the original module, which --interpret needs: leave one of them out"));
    }
    let wasm = input::module(&opts.input)?;
    let progress = report::Progress::new();
    let update = |done, total| progress.update(done, total);
    let options = CompileOptions {
        target,
        cpu: opts.cpu.clone().unwrap_or_default(),
        opt_level: opts.opt_level,
        jobs: opts.jobs.map(Into::into),
        interpret: opts.interpret.clone(),
        inlining: (&opts.inline).into(),
        passes: (&opts.inline).into(),
        strip: opts.strip,
        tunables: Tunables {
            static_memory: !opts.explicit_bounds,
            trace: opts.trace,
            meter: opts.meter.meter(),
            ..opts.spectre.tunables()
        },
        costs: opts.meter.costs()?,
        features: features(&opts.wasm),
        checks: opts.self_checks.unwrap_or_default(),
        progress: Some(&update),
    };
    let name = || format!("cannot compile {}", opts.input.display());
    match opts.emit {
        Emit::So => {
            let output = opts.output.clone().unwrap_or_else(|| default_output(&opts.input));
            if output == opts.input {
                return Err(usage(format!("the output {} is the input", output.display())));
            }
            let result = wasmc_compiler::compile_to_artifact(&wasm, &options);
            progress.finish();
            let artifact = result.with_context(name)?;
            artifact.write_artifact(&output)?;
            too_large(&artifact.too_large);
            report::summary(&format!("{}: {}", output.display(), sum_up(&artifact.stats)));
        }
        Emit::Clif => write_text(&opts, &wasmc_compiler::emit_clif(&wasm, &options).with_context(name)?)?,
        Emit::Asm => write_text(&opts, &wasmc_compiler::emit_asm(&wasm, &options).with_context(name)?)?,
    }
    Ok(ExitCode::OK)
}

/// Says which functions have no native code though it was asked for.
fn too_large(functions: &[String]) {
    const SHOWN: usize = 5;
    for f in functions.iter().take(SHOWN) {
        report::note(&format!("function {f} is too large for native code and will be interpreted (docs/limits.md)"));
    }
    if functions.len() > SHOWN {
        report::note(&format!("so are {} other functions", functions.len() - SHOWN));
    }
}

fn sum_up(s: &Stats) -> String {
    let interpreted = match s.interpreted {
        0 => String::new(),
        n => format!(" ({n} left to the interpreter)"),
    };
    format!("{} functions{interpreted}, {} bytes of code, {:.2} s", s.functions, s.code_bytes, s.seconds)
}

fn default_output(input: &Path) -> PathBuf {
    let stem = input.file_stem().unwrap_or(input.as_os_str());
    Path::new(stem).with_extension("so")
}

fn write_text(opts: &Opts, text: &str) -> Result<()> {
    let cannot = |to: &str, e: std::io::Error| with_code(ExitCode::CANNOT_CREATE, format!("cannot write {to}: {e}"));
    match &opts.output {
        Some(path) => std::fs::write(path, text).map_err(|e| cannot(&path.display().to_string(), e)),
        None => match std::io::stdout().write_all(text.as_bytes()) {
            // The reader of a pipe had enough.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(|e| cannot("standard output", e)),
        },
    }
}
