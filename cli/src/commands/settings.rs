//! `wasmc settings`: what can be switched and bounded, with its default; this machine as the compiler sees it; the cache; and the
//! environment variables that wasmc looks at. The lists are those that the validator, the compiler and the command line expand,
//! so that they cannot say anything else than those do.

use crate::exit::{ExitCode, with_code};
use crate::{cache, limits};
use anyhow::Result;
use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use wasmc_environ::cpu::feature_names;
use wasmc_environ::features::Features;
use wasmc_runtime::WASMC_VERSION;
use wasmc_wasi::WasiLimits;

/// List what can be set: proposals, limits, the machine that is compiled for, the cache, environment variables.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  wasmc settings                                      all of it
  wasmc run -W custom-page-sizes=y app.wasm           switch a proposal
  wasmc run --limit bytes-written=1000000 app.so      lower a limit
  wasmc compile app.wasm -o app.so --cpu baseline     for machines with fewer features")]
pub struct Opts {}

/// What wasmc reads of its environment.
const VARIABLES: &[(&str, &str)] = &[
    ("XDG_CACHE_HOME, HOME", "where the cache of compiled modules is"),
    (cache::SIZE_VARIABLE, "how large it may become; 0 switches it off"),
    ("NO_COLOR", "no colours, even on a terminal"),
    ("CI", "a terminal has colours, whatever TERM says"),
    ("CLICOLOR_FORCE", "colours, even where there is no terminal"),
    ("LISTEN_FDS, LISTEN_PID", "sockets that a service manager passes to the program"),
];

/// Runs the command.
pub fn run(_: Opts) -> Result<ExitCode> {
    let text = text();
    match std::io::stdout().write_all(text.as_bytes()) {
        // The reader of a pipe had enough.
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::OK),
        Err(e) => Err(with_code(ExitCode::CANNOT_CREATE, format!("cannot write to standard output: {e}"))),
        Ok(()) => Ok(ExitCode::OK),
    }
}

fn text() -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let mut line = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    line("WebAssembly proposals (-W NAME=y|n):".into());
    for feature in Features::ALL {
        line(format!("  {:<20} {}   {}", feature.name, if feature.default { 'y' } else { 'n' }, feature.description.trim()));
    }
    line("\nLimits of a run (wasmc run --limit NAME=VALUE):".into());
    let wasi = WasiLimits::default();
    for (name, what) in limits::names() {
        let default = match wasi.get(name) {
            // Their text says it.
            None => String::new(),
            Some(u64::MAX) => " [default: no limit]".into(),
            Some(value) => format!(" [default: {value}]"),
        };
        line(format!("  {name:<20} {what}{default}"));
    }
    line("\nThis machine (wasmc compile --target TRIPLE --cpu CPU for others):".into());
    line(format!("  {:<20} {}", "target", target_lexicon::Triple::host()));
    let features: Vec<_> = feature_names(wasmc_compiler::host_features()).collect();
    line(format!("  {:<20} {}", "cpu features", if features.is_empty() { "none".to_owned() } else { features.join(",") }));
    line(format!("  {:<20} {WASMC_VERSION}, code generator {}", "wasmc", env!("WASMC_CODE_GENERATOR")));
    line("\nCache of compiled modules (wasmc cache):".into());
    line(format!("  {:<20} {}", "folder", cache::folder().map_or_else(|e| format!("none: {e}"), |p| p.display().to_string())));
    let limit = match cache::limit() {
        Ok(0) => "0 (off)".to_owned(),
        Ok(limit) => format!("{limit} bytes"),
        Err(e) => format!("none, so that it is not used: {e}"),
    };
    line(format!("  {:<20} {limit}", "limit"));
    line("\nEnvironment variables:".into());
    for (name, what) in VARIABLES {
        line(format!("  {name:<24} {what}"));
    }
    out
}
