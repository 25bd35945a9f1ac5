//! wasmc-environ: the contract that the compiler and the runtime both read. Decoded modules, the layout of what
//! generated code reads, the lists of traps and builtins, and the format of artifacts. No unsafe code and no Cranelift.

#![deny(missing_docs)]
#![forbid(unsafe_code)]

pub mod artifact;
pub mod branch_hints;
pub mod builtins;
pub mod const_expr;
pub mod costs;
pub mod cpu;
pub mod decode;
pub mod diagnose;
pub mod error;
pub mod features;
pub mod image;
pub mod index;
pub mod jit;
pub mod limits;
pub mod meter;
pub mod module;
pub mod names;
pub mod scan;
pub mod trap;
pub mod tunables;
pub mod types;
pub mod vmlayout;
pub mod vmoffsets;

pub use error::{DecodeError, DecodeErrorKind};
pub use index::*;
pub use module::Module;
pub use trap::TrapCode;
pub use tunables::Tunables;
pub use wasmparser;
