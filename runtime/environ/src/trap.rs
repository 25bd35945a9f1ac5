//! The reasons for which wasm code stops. One list: compiled code's trap table, the interpreter, the runtime's errors
//! and the documentation all expand it.

macro_rules! traps {
    ($($(#[$doc:meta])* $name:ident = $code:literal $text:literal;)*) => {
        /// Why wasm code trapped.
        #[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum TrapCode {
            $($(#[$doc])* $name = $code,)*
        }

        impl TrapCode {
            /// All codes, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The code with this number.
            pub const fn from_u8(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The specification's wording.
            pub const fn message(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

traps! {
    /// An `unreachable` instruction was executed.
    Unreachable = 1 "unreachable";
    /// A load, store or bulk operation outside a memory.
    MemoryOutOfBounds = 2 "out of bounds memory access";
    /// A table access outside the table.
    TableOutOfBounds = 3 "out of bounds table access";
    /// `call_indirect` with an index outside the table.
    UndefinedElement = 4 "undefined element";
    /// `call_indirect` of a null element.
    IndirectCallToNull = 5 "uninitialized element";
    /// `call_indirect` of a function of another type.
    BadSignature = 6 "indirect call type mismatch";
    /// Signed division whose result does not fit, or conversion of a too large float.
    IntegerOverflow = 7 "integer overflow";
    /// Integer division by zero.
    IntegerDivisionByZero = 8 "integer divide by zero";
    /// Conversion of NaN to an integer.
    BadConversionToInteger = 9 "invalid conversion to integer";
    /// The call stack is exhausted.
    StackOverflow = 10 "call stack exhausted";
    /// `call_ref` or `ref.as_non_null` of null, or `throw_ref` of null.
    NullReference = 11 "null reference";
    /// An atomic access at an address that is not a multiple of its size.
    UnalignedAtomic = 12 "unaligned atomic";
    /// `memory.atomic.wait` on a memory that is not shared.
    AtomicWaitNonShared = 13 "expected shared memory";
    /// Fuel is used up.
    OutOfFuel = 14 "fuel exhausted";
    /// The run was interrupted from outside.
    Interrupt = 15 "interrupted";
    /// The store's heap cannot take another object.
    HeapExhausted = 16 "reference heap exhausted";
    /// The memory of an artifact's mapping could not be read: the file changed while it ran.
    ArtifactChanged = 17 "artifact changed while running";
    /// A `null` in `call_ref` or `return_call_ref`.
    NullFunctionReference = 18 "null function reference";
    /// `throw_ref` of null.
    NullExceptionReference = 19 "null exception reference";
}

impl core::fmt::Display for TrapCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.message())
    }
}

impl core::error::Error for TrapCode {}
