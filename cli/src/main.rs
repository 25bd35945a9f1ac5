//! wasmc: the command line. Each command is a file with its options and a `run`; this file parses, dispatches, and turns
//! the outcome into an exit code. Errors are reported in one place, so that all look alike.

mod cache;
mod commands;
mod coredump;
mod dwarf;
mod exit;
mod inlining;
mod input;
mod invoke;
mod limits;
mod meter;
mod options;
mod pow;
mod profile;
mod report;
mod spectre;
mod timeout;
mod trace;
mod values;
mod wast;

use clap::{CommandFactory, Parser, Subcommand};
use exit::ExitCode;

/// Compile WebAssembly to native shared objects and run them.
#[derive(Parser)]
#[command(name = "wasmc", version, max_term_width = 100, arg_required_else_help = true, after_help = EXAMPLES, styles = report::STYLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print nothing but errors and traps (and what the program itself prints).
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Say on standard error how things are done: what comes from the cache, and why not.
    #[arg(short, long, global = true)]
    verbose: bool,
}

const EXAMPLES: &str = "\
Examples:
  wasmc compile app.wasm -o app.so       compile ahead of time for this machine
  wasmc run --dir . app.so input.txt     run it with the current folder visible to it
  wasmc run app.wasm                     run it at once, compile what runs often meanwhile
  wasmc run --tier compiled app.wasm     compile in memory, then run
  wasmc --verbose run app.wasm           say what comes from the cache of compiled modules
  wasmc man ~/.local/share/man/man1      manual pages; wasmc completions bash: completions

Exit codes: the program's own; 134 trap or uncaught exception; 124 time-out; 64 usage, 65 bad input, 66 missing input,
69 import that nothing provides, 70 internal error, 73 output cannot be written, 77 beyond a --limit, 78 artifact that does not fit this machine.";

#[derive(Subcommand)]
enum Command {
    Cache(commands::cache::Opts),
    Compile(commands::compile::Opts),
    Inspect(commands::inspect::Opts),
    Completions(commands::completions::Opts),
    Man(commands::man::Opts),
    // By far the largest.
    Run(Box<commands::run::Opts>),
    Settings(commands::settings::Opts),
    Validate(commands::validate::Opts),
    Verify(commands::verify::Opts),
    Wast(commands::wast::Opts),
}

fn main() -> std::process::ExitCode {
    let parsed = match commands::run::parse(std::env::args_os()) {
        Some(opts) => Ok(Cli { command: Command::Run(Box::new(opts)), quiet: false, verbose: false }),
        None => Cli::try_parse(),
    };
    let cli = match parsed {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version are not errors; everything else is a usage error.
            let code = if e.use_stderr() { ExitCode::USAGE } else { ExitCode::OK };
            let _ = e.print();
            return code.into();
        }
    };
    if cli.quiet {
        report::set_level(report::Level::Quiet);
    } else if cli.verbose {
        report::set_level(report::Level::Verbose);
    }
    let outcome = match cli.command {
        Command::Cache(opts) => commands::cache::run(opts),
        Command::Compile(opts) => commands::compile::run(opts),
        Command::Inspect(opts) => commands::inspect::run(opts),
        Command::Completions(opts) => commands::completions::run(opts, Cli::command()),
        Command::Man(opts) => commands::man::run(opts, Cli::command()),
        Command::Run(opts) => commands::run::run(*opts),
        Command::Settings(opts) => commands::settings::run(opts),
        Command::Validate(opts) => commands::validate::run(opts),
        Command::Verify(opts) => commands::verify::run(opts),
        Command::Wast(opts) => commands::wast::run(opts),
    };
    match outcome {
        Ok(code) => code.into(),
        Err(e) => {
            report::error(&e);
            ExitCode::of(&e).into()
        }
    }
}
