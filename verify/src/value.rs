//! What is known of a value: the lattice of the proof. A value has a kind, what it can be, and an identity, by which a check of
//! one copy holds for all others. `Top` is anything at all; nothing may be reached through it.

/// Identity of a value; 0 has none. Two places with the same identity hold the same value.
pub type Sym = u64;

/// Marks the identity of the low half of the value with the rest of the number.
pub const LOW_HALF: Sym = 1 << 63;
/// Marks identities that a join of control flow made.
pub const JOINED: Sym = 1 << 62;
/// Marks the values at the entry of a function.
pub const ENTRY: Sym = 1 << 61;

/// Marks the identity of the low byte of the value with the rest of the number.
pub const LOW_BYTE: Sym = 1 << 60;

/// Marks numbers, which are their own identity.
pub const NUMBER: Sym = 1 << 55;
/// Marks the references to the module's own functions, by index.
pub const OWN: Sym = 1 << 54;

/// No type is known of a function reference.
pub const ANY_TYPE: u32 = u32::MAX;

/// What a value can be.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything.
    Top,
    /// This number.
    Const(u64),
    /// A number up to this one, without sign.
    Max(u64),
    /// What the register held at the entry.
    Init(u8),
    /// The address that the function returns to.
    Return,
    /// The address so many bytes from where the return address was at the entry.
    Stack(i32),
    /// The instance's `VMContext` and so many bytes.
    VmCtx(i32),
    /// The store's `VMStoreContext`.
    Store,
    /// The array of builtins.
    Builtins,
    /// The array of interned types.
    TypeIds,
    /// A builtin.
    Builtin(u32),
    /// The routine that raises.
    Raise,
    /// Down to where the host's stack may be used.
    StackLimit,
    /// The interned number of a canonical type.
    TypeId(u32),
    /// The interned type of the function behind the reference with this identity.
    TypeIdOf(Sym),
    /// Whether that function's type is a subtype of the canonical type.
    IsSubtype(Sym, u32),
    /// A `VMMemoryDefinition`.
    Memory(u32),
    /// From the base of a memory, between these numbers of bytes.
    Heap { memory: u32, low: i64, high: i64 },
    /// From the base of a memory: the value with this identity, which is at most `max`.
    HeapAt { memory: u32, index: Sym, max: u64 },
    /// The size of a memory in bytes, less this.
    Length { memory: u32, less: u64 },
    /// A number such that it and `extent` are within the memory's size, or the (negative) `poison`.
    Checked { memory: u32, extent: u64, poison: i64 },
    /// A number up to `max`, or the (negative) `poison`.
    Guarded { max: u64, poison: i64 },
    /// From the base of a memory: a `Checked` number and `offset`.
    HeapChecked { memory: u32, extent: u64, poison: i64, offset: i64 },
    /// From the base of a memory: a `Guarded` number and `offset`.
    HeapGuarded { memory: u32, max: u64, poison: i64, offset: i64 },
    /// A `VMTableDefinition`.
    Table(u32),
    /// The first element of a table.
    TableBase(u32),
    /// Its size.
    TableSize(u32),
    /// The element of a table with an index by its identity, which is at most `max`.
    Element { table: u32, index: Sym, max: u64 },
    /// Eight times the index.
    Times8 { index: Sym, max: u64 },
    /// An element that exists, or the first one while the processor guesses.
    Inside(u32),
    /// A `VMGlobalDefinition`.
    Global(u32),
    /// A `VMTagDefinition`.
    Tag(u32),
    /// A reference to a function of this canonical type (or `ANY_TYPE`), or null.
    Func(u32),
    /// The code of the function behind the reference with this identity, which has this type.
    CodeOf(Sym, u32),
    /// What its code takes as hidden parameter.
    ContextOf(Sym),
    /// The code of an imported function.
    ImportCode(u32),
    /// What it takes as hidden parameter.
    ImportContext(u32),
    /// An address from the start of the text; negative: in the closed tables.
    Text(i64),
    /// An address up to `max` bytes above a place of the frame.
    StackSpan { at: i32, max: i32 },
    /// An address up to `max` bytes behind a place of the text.
    Constants { at: i64, max: u64 },
    /// The entry of a closed table (by its place) with an index by its identity.
    Entry { table: i64, index: Sym, max: u64 },
    /// The first word of that entry.
    EntryOffset { table: i64, index: Sym, max: u64 },
    /// Its second word, the type.
    EntryType { table: i64, index: Sym, max: u64 },
    /// Where in the array of interned types that type is.
    EntryTypePlace { table: i64, index: Sym },
    /// The interned number of that type.
    EntryTypeId { table: i64, index: Sym },
    /// Whether that is a subtype of the canonical type.
    IsEntrySubtype { table: i64, index: Sym, ty: u32 },
    /// The code that it leads to.
    EntryCode { table: i64, index: Sym, max: u64 },
    /// The address of a word of a jump table at this place of the text, with this many entries at most.
    JumpPlace { table: i64, max: u64 },
    /// Such a word, with its sign.
    JumpOffset { table: i64, max: u64 },
    /// Where that leads.
    JumpTarget { table: i64, max: u64 },
    /// A `VMExitContext`.
    Exit,
    /// Its array function.
    ExitArray,
    /// Its typed function.
    ExitTyped,
    /// An exception object, with this tag or `ANY_TYPE`.
    Exception(u32),
    /// The tag of the exception with this identity.
    TagOf(Sym),
    /// An argument array of the runtime's.
    Array,
    /// The code that an entry stub is to call, and its hidden parameter.
    CalleeCode,
    /// See `CalleeCode`.
    CalleeContext,
    /// The tail-entry stub in the store.
    TailEntry,
    /// The area for results in memory, and so many bytes.
    Area(i32),
    /// The address in a parameter of `move_bytes` and `fill_bytes`; `end`: where its bytes end.
    Raw { register: u8, end: bool },
}

/// A value.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Val {
    /// What it can be.
    pub kind: Kind,
    /// Which one it is.
    pub sym: Sym,
}

/// Anything.
pub const TOP: Val = Val { kind: Kind::Top, sym: 0 };
/// The greatest 32-bit number.
pub const U32: u64 = u32::MAX as u64;

impl Val {
    /// The identity, also of a number.
    pub fn identity(self) -> Sym {
        match self.kind {
            Kind::Const(n) if n < OWN => NUMBER | n,
            _ => self.sym,
        }
    }
}

impl Kind {
    /// The same with an index that is known to be at most `n`.
    pub fn with_index(self, sym: Sym, n: u64) -> Self {
        let mut kind = self;
        match &mut kind {
            Self::Element { index, max, .. }
            | Self::Times8 { index, max }
            | Self::HeapAt { index, max, .. }
            | Self::Entry { index, max, .. }
            | Self::EntryOffset { index, max, .. }
            | Self::EntryType { index, max, .. }
            | Self::EntryCode { index, max, .. }
                if *index == sym =>
            {
                *max = n.min(*max);
            }
            _ => {}
        }
        kind
    }

    /// Up to which number it can be, if it is one.
    pub fn max(self) -> Option<u64> {
        match self {
            Self::Const(n) | Self::Max(n) => Some(n),
            Self::Times8 { max, .. } if max <= U32 => Some(8 * max),
            _ => None,
        }
    }

    /// Whether it is an address, which a program must not learn.
    pub fn is_address(self) -> bool {
        !matches!(
            self,
            Self::Top
                | Self::Const(_)
                | Self::Max(_)
                | Self::Init(_)
                | Self::TypeId(_)
                | Self::TypeIdOf(_)
                | Self::IsSubtype(..)
                | Self::EntryTypeId { .. }
                | Self::IsEntrySubtype { .. }
                | Self::Length { .. }
                | Self::Checked { .. }
                | Self::Guarded { .. }
                | Self::TableSize(_)
                | Self::Times8 { .. }
                | Self::EntryOffset { .. }
                | Self::EntryType { .. }
                | Self::JumpOffset { .. }
        )
    }

    /// The identities that it refers to.
    pub fn refers_to(self, f: impl Fn(Sym) -> bool) -> bool {
        match self {
            Self::TypeIdOf(s) | Self::IsSubtype(s, _) | Self::CodeOf(s, _) | Self::ContextOf(s) | Self::TagOf(s) => f(s),
            Self::Element { index, .. } | Self::Times8 { index, .. } | Self::HeapAt { index, .. } => f(index),
            Self::EntryTypePlace { index, .. } | Self::EntryTypeId { index, .. } | Self::IsEntrySubtype { index, .. } => f(index),
            Self::Entry { index, .. } | Self::EntryOffset { index, .. } | Self::EntryType { index, .. } | Self::EntryCode { index, .. } => {
                f(index)
            }
            _ => false,
        }
    }

    /// What holds of both.
    pub fn join(self, other: Self, widen: bool, is_subtype: impl Fn(u32, u32) -> bool) -> Self {
        if self == other {
            return self;
        }
        match (self, other) {
            (Self::Func(a), Self::Func(b)) => Self::Func(match () {
                () if is_subtype(a, b) => b,
                () if is_subtype(b, a) => a,
                () => ANY_TYPE,
            }),
            // Null.
            (Self::Func(a), Self::Const(0)) | (Self::Const(0), Self::Func(a)) => Self::Func(a),
            (Self::Checked { memory, extent, poison: 0 }, Self::Const(c))
            | (Self::Const(c), Self::Checked { memory, extent, poison: 0 })
                if (c as i64) < 0 =>
            {
                Self::Checked { memory, extent, poison: c as i64 }
            }
            (Self::Exception(a), Self::Exception(b)) if a != b => Self::Exception(ANY_TYPE),
            (a, b) => match (a.max(), b.max()) {
                (Some(x), Some(y)) => match (x.max(y), widen) {
                    (n, false) if n < 1 << 63 => Self::Max(n),
                    (n, true) if n <= U32 => Self::Max(U32),
                    _ => match (a, b) {
                        // The conditional move of a check.
                        (Self::Const(c), other) | (other, Self::Const(c)) if (c as i64) < 0 && other.max().is_some_and(|m| m < 1 << 62) => {
                            Self::Guarded { max: other.max().unwrap_or(0), poison: c as i64 }
                        }
                        _ => Self::Top,
                    },
                },
                _ => Self::Top,
            },
        }
    }
}

/// The identity of the low half of a value, which is the value's own where the high half is 0.
pub fn low_half(v: Val) -> Val {
    match v.kind {
        Kind::Const(n) if n <= U32 => v,
        Kind::Const(n) => Val { kind: Kind::Const(n & U32), sym: 0 },
        Kind::Max(n) if n <= U32 => v,
        // Types are loaded by half a register.
        Kind::TypeId(_)
        | Kind::TypeIdOf(_)
        | Kind::EntryType { .. }
        | Kind::IsSubtype(..)
        | Kind::EntryTypeId { .. }
        | Kind::IsEntrySubtype { .. } => v,
        _ if v.sym == 0 => Val { kind: Kind::Max(U32), sym: 0 },
        _ => Val { kind: Kind::Max(U32), sym: v.sym | LOW_HALF },
    }
}
