//! `wasmc wast`: runs specification scripts on one tier or all, a line for each failing assertion, and counts.

use crate::exit::{ExitCode, with_code};
use crate::wast::{Counts, Tier, run_script};
use anyhow::Result;
use std::path::PathBuf;

/// Run specification scripts (.wast).
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  wasmc wast i32.wast\n  wasmc wast --tier interpreted *.wast")]
pub struct Opts {
    /// Scripts.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Which tier runs them; mixed leaves every second function uncompiled.
    #[arg(long, value_enum, default_value = "all")]
    tier: TierOption,
}

#[derive(Copy, Clone, PartialEq, Eq, clap::ValueEnum)]
enum TierOption {
    Interpreted,
    Compiled,
    Mixed,
    All,
}

/// Runs the command.
pub fn run(opts: Opts) -> Result<ExitCode> {
    let tiers: &[Tier] = match opts.tier {
        TierOption::Interpreted => &[Tier::Interpreted],
        TierOption::Compiled => &[Tier::Compiled],
        TierOption::Mixed => &[Tier::Mixed],
        TierOption::All => &[Tier::Interpreted, Tier::Compiled, Tier::Mixed],
    };
    let mut failed = false;
    for tier in tiers {
        let mut total = Counts::default();
        for file in &opts.files {
            let name = file.display().to_string();
            let source = std::fs::read(file).map_err(|e| with_code(ExitCode::NO_INPUT, format!("cannot read {name}: {e}")))?;
            let counts = run_script(*tier, &source, &mut |line, message| println!("{name}:{line}: {tier}: {message}"));
            println!("{name}: {tier}: {counts}");
            total.add(counts);
        }
        if opts.files.len() > 1 {
            println!("total: {tier}: {total}");
        }
        failed |= total.failed > 0;
    }
    Ok(if failed { ExitCode::DATA } else { ExitCode::OK })
}
