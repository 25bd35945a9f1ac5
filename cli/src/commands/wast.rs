//! `wasmc wast`: runs specification scripts on one tier or all, a line for each failing assertion, and counts.

use crate::exit::{ExitCode, with_code};
use crate::options::{self, FeatureSwitch};
use crate::wast::{Counts, Tier, run_script};
use anyhow::Result;
use std::path::PathBuf;
use wasmc_environ::features::Features;

/// Run specification scripts (.wast).
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  wasmc wast i32.wast\n  wasmc wast --tier interpreted *.wast\n  wasmc wast -W multi-memory=n old/memory.wast"
)]
pub struct Opts {
    /// Scripts.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Which tier runs them; mixed leaves every second function uncompiled, auto compiles each at its second call or turn of a loop.
    #[arg(long, value_enum, default_value = "all")]
    tier: TierOption,
    /// Switch a proposal off or on; all are on at first, whatever `wasmc settings` says.
    #[arg(short = 'W', value_name = "NAME=y|n")]
    wasm: Vec<FeatureSwitch>,
}

#[derive(Copy, Clone, PartialEq, Eq, clap::ValueEnum)]
enum TierOption {
    Interpreted,
    Compiled,
    Mixed,
    Auto,
    All,
}

/// Runs the command.
pub fn run(opts: Opts) -> Result<ExitCode> {
    let tiers: &[Tier] = match opts.tier {
        TierOption::Interpreted => &[Tier::Interpreted],
        TierOption::Compiled => &[Tier::Compiled],
        TierOption::Mixed => &[Tier::Mixed],
        TierOption::Auto => &[Tier::Auto],
        TierOption::All => &[Tier::Interpreted, Tier::Compiled, Tier::Mixed, Tier::Auto],
    };
    let features = options::apply(Features::all(), &opts.wasm);
    let mut failed = false;
    for tier in tiers {
        let mut total = Counts::default();
        for file in &opts.files {
            let name = file.display().to_string();
            let source = std::fs::read(file).map_err(|e| with_code(ExitCode::NO_INPUT, format!("cannot read {name}: {e}")))?;
            let counts = run_script(*tier, &features, &source, &mut |line, message| println!("{name}:{line}: {tier}: {message}"));
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
