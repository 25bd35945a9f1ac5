//! Options on the optimisations of `wasmc compile`. `run` has none, since what it compiles is kept for later runs.

use wasmc_compiler::{Inlining, Passes};

/// How much is inlined.
#[derive(clap::Args)]
pub struct InlineOpts {
    /// Compile every function by itself, without putting small ones in the place of their calls.
    #[arg(long)]
    no_inline: bool,
    /// Inline whatever can be, for tests of the compiler.
    #[arg(long, hide = true, conflicts_with = "no_inline")]
    inline_everywhere: bool,
    /// Leave out an optimisation, to look for its effect; can be given several times.
    #[arg(long, value_name = "PASS")]
    without: Vec<Pass>,
}

/// An optimisation that can be left out.
#[derive(Copy, Clone, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Pass {
    /// Products of 128 bits as one multiplication.
    WideMultiply,
    /// Locals of interpreter loops in the frame.
    FrameLocals,
    /// Shifts and sums of small indices in the addresses of accesses.
    ScaledIndices,
    /// The pass over machine code.
    MachineCode,
}

impl From<&InlineOpts> for Passes {
    fn from(opts: &InlineOpts) -> Self {
        let with = |pass| !opts.without.contains(&pass);
        Self {
            wide_multiply: with(Pass::WideMultiply),
            frame_locals: with(Pass::FrameLocals),
            scaled_indices: with(Pass::ScaledIndices),
            machine_code: with(Pass::MachineCode),
        }
    }
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
