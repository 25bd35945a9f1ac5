//! The switch for what guards table accesses against misspeculation, of `wasmc compile` and `wasmc run`. It is one of the options that
//! change code: artifacts record it, `wasmc inspect` shows it, and the cache keeps code that was made with it apart.

use wasmc_environ::Tunables;

/// Mitigations of misspeculation.
#[derive(Debug, Default, clap::Args)]
pub struct SpectreOpts {
    /// Mask the indices of tables, so that misspeculation does not read past them. Explicit checks of memories are masks anyway.
    #[arg(long, value_enum, value_name = "on|off", default_value = "on", hide_possible_values = true)]
    spectre_mitigations: Switch,
}

#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Switch {
    #[default]
    On,
    Off,
}

impl SpectreOpts {
    /// The default options that change code, with this one as it was chosen.
    pub fn tunables(&self) -> Tunables {
        Tunables { spectre_tables: self.spectre_mitigations == Switch::On, ..Tunables::default() }
    }
}
