//! The seam between the runtime and a compiler: the runtime asks for code through this trait and never links Cranelift.

use crate::artifact::{ArtifactMeta, SectionKind};
use crate::costs::CostTable;
use crate::features::Features;
use crate::index::DefinedFuncIndex;
use crate::tunables::Tunables;
use std::any::Any;
use std::sync::Arc;

/// Which functions a compilation leaves to the interpreter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interpret {
    /// All functions.
    All,
    /// Every second function: those whose index is odd.
    Odd,
    /// A function by its index (imports count).
    Index(u32),
    /// A function by its name in the name section or its export name.
    Name(String),
}

/// Options of a compilation in memory.
#[derive(Clone, Debug, Default)]
pub struct JitOptions {
    /// Functions to leave uncompiled.
    pub interpret: Vec<Interpret>,
    /// Proposals that are on.
    pub features: Features,
    /// Options that change code.
    pub tunables: Tunables,
    /// What instructions cost in metered code, if not 1 each.
    pub costs: Option<Arc<CostTable>>,
}

/// Code in executable memory with the same sections as an artifact.
pub struct JitCode {
    /// Address of the text. Read-only data that it refers to lies before it, in the same mapping.
    pub text: usize,
    /// Size of the text in bytes.
    pub text_len: usize,
    /// The decoded metadata.
    pub meta: ArtifactMeta,
    /// The other sections, as in the artifact.
    pub sections: Vec<(SectionKind, Vec<u8>)>,
    /// Keeps the executable memory; dropped when no store uses the code any more.
    pub keep: Box<dyn Any + Send + Sync>,
}

/// Why a compilation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The module was not accepted.
    #[error(transparent)]
    Decode(#[from] crate::DecodeError),
    /// An option does not fit the module or the target.
    #[error("{0}")]
    Option(String),
    /// The code generator failed.
    #[error("cannot compile function {function}: {message}")]
    Codegen {
        /// Index and name of the function.
        function: String,
        /// What went wrong.
        message: String,
    },
    /// The output could not be made.
    #[error("{0}")]
    Output(String),
}

/// Where code that is made while a program runs is entered.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TierEntry {
    /// At its beginning, by a call.
    Start,
    /// At its beginning, or, if `VMStoreContext::at_loop` is not 0, at the head of the loop whose instruction is at this offset of the
    /// binary, with no operands on the stack. The code has the signature of the function and gets its parameters as they are then; the
    /// other locals are behind the parameters in `VMStoreContext::tail.args`.
    Loop(u32),
}

/// A function that is to be compiled while the program runs.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TierRequest {
    /// The function.
    pub func: DefinedFuncIndex,
    /// Where its code is entered.
    pub entry: TierEntry,
}

/// Code that was made while a program runs.
pub struct TierCode {
    /// What it was asked for by; none for the stubs, which come first.
    pub requests: Vec<TierRequest>,
    /// The code: the `FuncRecord`s are those of the requests, in order, and the module in the metadata is empty. An error concerns
    /// these requests alone.
    pub code: Result<JitCode, CompileError>,
}

/// Who asks a compiler for one function after the other.
pub trait TierHost: Sync {
    /// Waits for something to do; none ends the session.
    fn next(&self) -> Vec<TierRequest>;

    /// Whether what was asked for is still wanted. Where it is not, nothing need be published.
    fn goes_on(&self) -> bool {
        true
    }

    /// Whether a function runs often enough that calls of it should be direct.
    fn is_warm(&self, func: DefinedFuncIndex) -> bool {
        let _ = func;
        false
    }

    /// Takes over what was made: a part of what `next` asked for, with what is called there, or the stubs.
    fn publish(&self, code: TierCode);
}

/// A compiler to memory.
pub trait JitCompiler: Send + Sync {
    /// Validates and compiles a binary module.
    ///
    /// # Errors
    /// If the module is invalid, an option does not fit, or code cannot be made or published.
    fn compile(&self, wasm: &[u8], options: &JitOptions) -> Result<JitCode, CompileError>;

    /// Compiles functions of a valid module as the host asks for them, until it wants no more. Calls of functions that are not in the
    /// same piece of code look in `VMContextHead::entries` each time; no table is closed.
    ///
    /// # Errors
    /// If the module cannot be decoded, an option does not fit, or this compiler cannot do it: nothing was published then.
    fn session(&self, wasm: &[u8], options: &JitOptions, host: &dyn TierHost) -> Result<(), CompileError> {
        let _ = (wasm, options, host);
        Err(CompileError::Option("this compiler makes whole modules only".into()))
    }
}
