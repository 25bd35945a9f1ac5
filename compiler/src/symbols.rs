//! Names of everything that generated code refers to: the namespaces of Cranelift's `UserExternalName`. The translator
//! makes them, the text layout resolves them; `docs/abi.md` says what each is.

use cranelift_codegen::ir::UserExternalName;
use wasmc_environ::builtins::Builtin;
use wasmc_environ::{FuncIndex, TableIndex};

/// What a symbol is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Symbol {
    /// Code of a defined function: its body or its interpreter stub.
    Function(FuncIndex),
    /// Trampoline of a builtin.
    Builtin(Builtin),
    /// A closed table, in the read-only data.
    ClosedTable(TableIndex),
    /// Thunk of an imported function.
    ImportThunk(FuncIndex),
    /// A stub of a signature (a number that the compilation gives to each `AbiSignature`).
    Stub(u32, StubKind),
    /// A defined function that is not in the same piece of code: a stub that finds where it is now.
    Elsewhere(FuncIndex),
}

/// Kind of a signature's stub.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum StubKind {
    /// Wasm registers -> array.
    ExitArray = 0,
    /// Wasm registers -> C registers.
    ExitTyped = 1,
    /// Array -> wasm registers.
    Entry = 2,
    /// Makes the pending tail call.
    TailEntry = 3,
}

impl Symbol {
    /// The name in CLIF.
    pub fn to_name(self) -> UserExternalName {
        let (namespace, index) = match self {
            Self::Function(i) => (0, i.as_u32()),
            Self::Builtin(b) => (1, b as u32),
            Self::ClosedTable(t) => (2, t.as_u32()),
            Self::ImportThunk(i) => (3, i.as_u32()),
            Self::Stub(signature, kind) => (4, 4 * signature + kind as u32),
            Self::Elsewhere(i) => (5, i.as_u32()),
        };
        UserExternalName { namespace, index }
    }

    /// The symbol with this name, if it is one of ours.
    pub fn from_name(name: &UserExternalName) -> Option<Self> {
        let i = name.index;
        Some(match name.namespace {
            0 => Self::Function(FuncIndex::from_u32(i)),
            1 => Self::Builtin(*Builtin::ALL.get(i as usize)?),
            2 => Self::ClosedTable(TableIndex::from_u32(i)),
            3 => Self::ImportThunk(FuncIndex::from_u32(i)),
            4 => Self::Stub(i / 4, [StubKind::ExitArray, StubKind::ExitTyped, StubKind::Entry, StubKind::TailEntry][(i % 4) as usize]),
            5 => Self::Elsewhere(FuncIndex::from_u32(i)),
            _ => return None,
        })
    }
}
