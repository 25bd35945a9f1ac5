//! Opening artifacts. A file is checked before any of it can run: the header, then the digests of what is mapped, then
//! the meaning of the metadata; only then does its text become executable. Every way to fail is an error of its own that
//! says what differs and what to do. What cannot be checked is the machine code itself: an artifact is trusted as an
//! executable is, and the checks find mistakes, damage and foreign files.

mod contents;
mod digest;
mod header;
mod load;
mod stamp;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod validate;

pub use contents::ArtifactContents;
pub(crate) use header::HostChecks;
pub(crate) use load::{is_metered, is_section_intact, open, open_file, verify_all, verify_messages};
pub(crate) use stamp::Stamp;
pub(crate) use validate::{Invalid, validate, validate_messages, validate_piece};

use std::path::PathBuf;
use wasmc_environ::artifact::FORMAT_VERSION;

/// The version of wasmc that made this runtime; artifacts of other versions are refused.
pub const WASMC_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Why an artifact was not accepted.
#[derive(Debug, thiserror::Error)]
#[error("{}: {kind}", path.display())]
pub struct ArtifactError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub kind: ArtifactErrorKind,
}

/// What is wrong with an artifact.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactErrorKind {
    /// The file cannot be opened, read or mapped.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text cannot be made executable.
    #[error(
        "cannot make the code executable: {0}; a file system mounted with `noexec` or a security policy forbids it: \
         put the artifact on another file system"
    )]
    NotExecutable(std::io::Error),
    /// A directory, a pipe or a device.
    #[error("not a regular file")]
    NotAFile,
    /// A WebAssembly binary.
    #[error("a WebAssembly module, not an artifact; make one with `wasmc compile IN.wasm -o OUT.so`")]
    IsWasm,
    /// Something else.
    #[error("{0}, and no artifact of wasmc; artifacts are made with `wasmc compile IN.wasm -o OUT.so`")]
    NotAnArtifact(&'static str),
    /// The file ends early, or was written over while it was read.
    #[error("the header says {expected} bytes, the file has {found}: it is incomplete or was changed; recompile it")]
    FileSize {
        /// Size in the header.
        expected: u64,
        /// Size of the file.
        found: u64,
    },
    /// The header does not match its digest, or contradicts itself.
    #[error("the header is damaged ({0}); recompile it with `wasmc compile`")]
    HeaderDamaged(String),
    /// Another format.
    #[error("the artifact has format version {0}, this wasmc reads version {FORMAT_VERSION}; recompile it with this version")]
    FormatVersion(u32),
    /// Another version of wasmc.
    #[error("compiled by wasmc {found}, this is wasmc {WASMC_VERSION}; recompile it with this version")]
    Version {
        /// The version in the header.
        found: String,
    },
    /// Another machine.
    #[error("compiled for {found}, this machine is {host}; recompile it with `wasmc compile --target {triple}`")]
    Target {
        /// The target in the header.
        found: String,
        /// This machine.
        host: String,
        /// The usual name of this machine as a target.
        triple: String,
    },
    /// Code needs instructions that this processor does not have.
    #[error(
        "compiled for cpu feature{} {}, which this machine lacks; recompile it here, or with `wasmc compile --cpu baseline`",
        plural(missing), missing.join(", ")
    )]
    CpuFeatures {
        /// Their names.
        missing: Vec<String>,
    },
    /// Options that changed the code and that this runtime does not serve.
    #[error("compiled with option{} {}, which this engine is not configured for (a metered artifact needs `Config::meter`); configure it so, or recompile it without", plural(options), options.join(", "))]
    TunablesUnsupported {
        /// Their names.
        options: Vec<String>,
    },
    /// Options that this engine needs and the code was compiled without.
    #[error("compiled without option{} {}, which this engine is configured to need; recompile it with `wasmc compile --{}`", plural(options), options.join(", "), options.join(" --"))]
    TunablesMissing {
        /// Their names.
        options: Vec<String>,
    },
    /// Another table of costs.
    #[error(transparent)]
    Costs(#[from] crate::fuel::CostsDiffer),
    /// Proposals that are off in this engine.
    #[error("compiled with the proposal{} {}, which are not enabled in this engine; enable them or recompile without", plural(names), names.join(", "))]
    Features {
        /// Their names.
        names: Vec<String>,
    },
    /// A section does not lie where it may.
    #[error("section {section}: {problem}; the artifact is damaged: recompile it with `wasmc compile`")]
    Section {
        /// Its name.
        section: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A section does not match its digest.
    #[error("section {section} does not match its digest: the artifact is damaged; recompile it with `wasmc compile`")]
    Digest {
        /// Its name.
        section: &'static str,
    },
    /// The metadata does not make sense.
    #[error("invalid artifact: {0}; recompile it with `wasmc compile`")]
    Invalid(String),
}

fn plural(list: &[String]) -> &'static str {
    if list.len() == 1 { "" } else { "s" }
}

impl From<Invalid> for ArtifactErrorKind {
    fn from(e: Invalid) -> Self {
        Self::Invalid(e.0)
    }
}
