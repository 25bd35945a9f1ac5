//! Exit codes. The program's own code passes through; wasmc's own codes follow sysexits.h, far from what programs
//! usually return. The table in the README and `--help` say the same.

use wasmc_environ::jit::CompileError;
use wasmc_plugin::PluginError;
use wasmc_runtime::{
    ArtifactError, ArtifactErrorKind, FaultCodes, ImportCircle, IncompatibleImport, InvalidInitialize, LimitExceeded, NameTaken,
    SharedMemoryDisabled, UnknownImport,
};
use wasmc_wasi::ThreadsError;

/// The exit code of the process.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct ExitCode(pub u8);

impl ExitCode {
    pub const OK: Self = Self(0);
    /// The command line is wrong.
    pub const USAGE: Self = Self(64);
    /// The input is not a valid module or artifact.
    pub const DATA: Self = Self(65);
    /// The input cannot be read.
    pub const NO_INPUT: Self = Self(66);
    /// An import that nothing provides, or of another type; a plug-in that cannot start.
    pub const UNLINKABLE: Self = Self(69);
    /// A fault of wasmc.
    pub const INTERNAL: Self = Self(70);
    /// The output cannot be written.
    pub const CANNOT_CREATE: Self = Self(73);
    /// Something would be beyond a limit that was set.
    pub const LIMIT: Self = Self(77);
    /// An artifact that was made for another machine, version or set of options, or a plug-in for another version.
    pub const MISMATCH: Self = Self(78);
    /// The run took longer than it was given: as `timeout(1)`.
    pub const TIMEOUT: Self = Self(124);
    /// A trap or an uncaught exception.
    pub const TRAP: Self = Self(134);

    /// The code for an error.
    pub fn of(error: &anyhow::Error) -> Self {
        for cause in error.chain() {
            if let Some(WithCode { code, .. }) = cause.downcast_ref() {
                return *code;
            }
            if let Some(e) = cause.downcast_ref::<CompileError>() {
                return match e {
                    CompileError::Decode(_) => Self::DATA,
                    CompileError::Option(_) => Self::USAGE,
                    CompileError::Output(_) => Self::CANNOT_CREATE,
                    _ => Self::INTERNAL,
                };
            }
            if let Some(e) = cause.downcast_ref::<ThreadsError>() {
                return if matches!(e, ThreadsError::Bound { .. }) { Self::UNLINKABLE } else { Self::DATA };
            }
            // As a module that uses a proposal that is off.
            if cause.is::<wasmc_environ::DecodeError>() || cause.is::<SharedMemoryDisabled>() || cause.is::<InvalidInitialize>() {
                return Self::DATA;
            }
            if cause.is::<LimitExceeded>() {
                return Self::LIMIT;
            }
            if cause.is::<UnknownImport>() || cause.is::<IncompatibleImport>() || cause.is::<ImportCircle>() {
                return Self::UNLINKABLE;
            }
            if cause.is::<NameTaken>() {
                return Self::USAGE;
            }
            if let Some(e) = cause.downcast_ref::<PluginError>() {
                return match e {
                    PluginError::Missing { .. } => Self::NO_INPUT,
                    PluginError::AbiVersion { .. } => Self::MISMATCH,
                    PluginError::Init { .. } => Self::UNLINKABLE,
                    PluginError::NameTaken { .. } => Self::USAGE,
                    _ => Self::DATA,
                };
            }
            if let Some(e) = cause.downcast_ref::<ArtifactError>() {
                return Self::of_artifact(&e.kind);
            }
        }
        Self::INTERNAL
    }

    fn of_artifact(kind: &ArtifactErrorKind) -> Self {
        use ArtifactErrorKind as K;
        match kind {
            K::Io { .. } | K::NotAFile => Self::NO_INPUT,
            K::FormatVersion(_)
            | K::Version { .. }
            | K::Target { .. }
            | K::CpuFeatures { .. }
            | K::TunablesUnsupported { .. }
            | K::TunablesMissing { .. }
            | K::Features { .. }
            | K::Costs(_)
            | K::NotExecutable(_) => Self::MISMATCH,
            _ => Self::DATA,
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        code.0.into()
    }
}

/// Where no error can be made.
pub const FAULTS: FaultCodes =
    FaultCodes { artifact_changed: ExitCode::TRAP.0, stack_overflow: ExitCode::INTERNAL.0, aborted: ExitCode::INTERNAL.0 };

/// An error that knows its exit code.
#[derive(Debug)]
pub struct WithCode {
    code: ExitCode,
    message: String,
}

impl core::fmt::Display for WithCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for WithCode {}

/// A usage error.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    with_code(ExitCode::USAGE, message)
}

/// An error with this exit code.
pub fn with_code(code: ExitCode, message: impl Into<String>) -> anyhow::Error {
    WithCode { code, message: message.into() }.into()
}
