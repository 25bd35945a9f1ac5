//! Typed indices: every index space of a module has a type of its own, so that a function index cannot be used
//! where a table index is meant. Nothing here knows what the indices point to.

use serde::{Deserialize, Serialize};

macro_rules! index_types {
    ($($(#[$doc:meta])* $name:ident $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[repr(transparent)]
        pub struct $name(u32);

        impl $name {
            /// The index with this number.
            #[inline]
            pub const fn from_u32(index: u32) -> Self {
                Self(index)
            }
            /// The number of this index.
            #[inline]
            pub const fn as_u32(self) -> u32 {
                self.0
            }
            /// The number of this index, to index a slice with.
            #[inline]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    )*};
}

index_types! {
    /// A type of the module's type section.
    TypeIndex "type";
    /// A function; imported functions come first.
    FuncIndex "func";
    /// A function with a body in this module, counted from the first body.
    DefinedFuncIndex "defined_func";
    /// A table; imported tables come first.
    TableIndex "table";
    /// A table defined in this module, counted from the first one.
    DefinedTableIndex "defined_table";
    /// A memory; imported memories come first.
    MemoryIndex "memory";
    /// A memory defined in this module, counted from the first one.
    DefinedMemoryIndex "defined_memory";
    /// A global; imported globals come first.
    GlobalIndex "global";
    /// A global defined in this module, counted from the first one.
    DefinedGlobalIndex "defined_global";
    /// A tag; imported tags come first.
    TagIndex "tag";
    /// A tag defined in this module, counted from the first one.
    DefinedTagIndex "defined_tag";
    /// An element segment.
    ElemIndex "elem";
    /// A data segment.
    DataIndex "data";
    /// A slot of the array of `VMFuncRef`s in a `VMContext`.
    FuncRefIndex "func_ref";
    /// A type as the engine interned it: equal in all modules of an engine if and only if the types are equal.
    SharedTypeIndex "shared_type";
}
