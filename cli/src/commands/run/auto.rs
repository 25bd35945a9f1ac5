//! `--tier auto`: when functions are compiled while the program runs.

use wasmc_runtime::{Config, Tier};

/// Options of the tier.
#[derive(Debug, Default, clap::Args)]
pub struct AutoOpts {
    /// With --tier auto: compile a function after this many calls and turns of its loops.
    #[arg(long, value_name = "N")]
    compile_after: Option<u32>,
    /// Let the program wait for the code, for tests.
    #[arg(long, hide = true, requires = "compile_after")]
    compile_waits: bool,
}

impl AutoOpts {
    /// The tier that this means for a program. Profiles and core dumps are of one kind of code, so that they can be compared.
    pub fn tier(&self, examined: bool) -> Tier {
        if examined { Tier::Compiled } else { Tier::Auto }
    }

    /// Sets what the options say.
    pub fn configure(&self, config: Config) -> Config {
        match self.compile_after {
            Some(count) => config.compile_after(count, self.compile_waits),
            None => config,
        }
    }
}
