//! Options on inlining of `wasmc compile`. `run` has none, since what it compiles is kept for later runs.

use wasmc_compiler::Inlining;

/// How much is inlined.
#[derive(clap::Args)]
pub struct InlineOpts {
    /// Compile every function by itself, without putting small ones in the place of their calls.
    #[arg(long)]
    no_inline: bool,
    /// Inline whatever can be, for tests of the compiler.
    #[arg(long, hide = true, conflicts_with = "no_inline")]
    inline_everywhere: bool,
}

impl From<&InlineOpts> for Inlining {
    fn from(opts: &InlineOpts) -> Self {
        match opts {
            InlineOpts { no_inline: true, .. } => Self::Off,
            InlineOpts { inline_everywhere: true, .. } => Self::Everywhere,
            _ => Self::Normal,
        }
    }
}
