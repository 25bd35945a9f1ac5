//! wasmc: the command line. Each command is a file with its options and a `run`; this file parses, dispatches, and turns
//! the outcome into an exit code. Errors are reported in one place, so that all look alike.

mod commands;
mod exit;
mod inlining;
mod input;
mod invoke;
mod options;
mod report;
mod wast;

use clap::{Parser, Subcommand};
use exit::ExitCode;

/// Compile WebAssembly to native shared objects and run them.
#[derive(Parser)]
#[command(name = "wasmc", version, max_term_width = 100, arg_required_else_help = true, after_help = EXAMPLES, styles = report::STYLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  wasmc compile app.wasm -o app.so       compile ahead of time for this machine
  wasmc run --dir . app.so input.txt     run it with the current folder visible to it
  wasmc run app.wasm                     compile in memory and run
  wasmc run --tier interpreted app.wasm  start at once, without compiling

Exit codes: the program's own; 134 trap or uncaught exception; 64 usage, 65 bad input, 66 missing input,
69 import that nothing provides, 70 internal error, 73 output cannot be written, 78 artifact that does not fit this machine.";

#[derive(Subcommand)]
enum Command {
    Compile(commands::compile::Opts),
    Run(commands::run::Opts),
    Settings(commands::settings::Opts),
    Validate(commands::validate::Opts),
    Wast(commands::wast::Opts),
}

fn main() -> std::process::ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version are not errors; everything else is a usage error.
            let code = if e.use_stderr() { ExitCode::USAGE } else { ExitCode::OK };
            let _ = e.print();
            return code.into();
        }
    };
    let outcome = match cli.command {
        Command::Compile(opts) => commands::compile::run(opts),
        Command::Run(opts) => commands::run::run(opts),
        Command::Settings(opts) => commands::settings::run(opts),
        Command::Validate(opts) => commands::validate::run(opts),
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
