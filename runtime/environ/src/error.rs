//! The error of decoding and validating a module: what is wrong and at which byte.

/// Why a module was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at offset {offset:#x})")]
pub struct DecodeError {
    /// The phase that refused the module.
    pub kind: DecodeErrorKind,
    /// What is wrong.
    pub message: String,
    /// Byte offset in the binary.
    pub offset: u64,
}

/// The phase that refused a module.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The bytes are not a module, or not a valid one. (`diagnose` tells the two apart.)
    Invalid,
    /// The bytes are not a module: they do not follow the binary format.
    Malformed,
    /// The module is of a kind, or uses a feature, that wasmc does not support.
    Unsupported,
    /// A documented limit of wasmc is exceeded.
    Limit,
}

impl DecodeError {
    /// A feature that wasmc does not support.
    #[cold]
    pub fn unsupported(what: impl Into<String>, offset: u64) -> Self {
        Self { kind: DecodeErrorKind::Unsupported, message: format!("{} is not supported", what.into()), offset }
    }

    /// A limit that is exceeded.
    #[cold]
    pub fn limit(message: impl Into<String>, offset: u64) -> Self {
        Self { kind: DecodeErrorKind::Limit, message: message.into(), offset }
    }

    /// An invalid module.
    #[cold]
    pub fn invalid(message: impl Into<String>, offset: u64) -> Self {
        Self { kind: DecodeErrorKind::Invalid, message: message.into(), offset }
    }
}

impl From<wasmparser::BinaryReaderError> for DecodeError {
    #[cold]
    fn from(e: wasmparser::BinaryReaderError) -> Self {
        Self::invalid(e.message(), e.offset())
    }
}
