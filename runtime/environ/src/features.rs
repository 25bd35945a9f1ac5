//! The proposals that can be switched on and off by name. One list: the command line, the validator and the
//! artifact's header expand it.

use serde::{Deserialize, Serialize};
use wasmparser::WasmFeatures;

/// A proposal that can be switched.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name on the command line.
    pub name: &'static str,
    /// Whether it is on if nothing is said.
    pub default: bool,
    /// What it is, in a sentence.
    pub description: &'static str,
}

macro_rules! features {
    ($($(#[doc = $doc:literal])* $field:ident $name:literal $flag:ident $default:literal;)*) => {
        /// Which proposals are on.
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub struct Features {
            $($(#[doc = $doc])* pub $field: bool,)*
        }

        impl Default for Features {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl Features {
            /// All of them, in the order of their bits in an artifact's header.
            pub const ALL: &'static [Feature] = &[$(Feature { name: $name, default: $default, description: concat!($($doc),*) }),*];

            /// All of them on.
            pub fn all() -> Self {
                Self { $($field: true,)* }
            }

            /// Switches a proposal on or off by its name; returns whether there is such a proposal.
            pub fn set(&mut self, name: &str, on: bool) -> bool {
                match name {
                    $($name => self.$field = on,)*
                    _ => return false,
                }
                true
            }

            /// Whether a proposal is on, by its name.
            pub fn get(&self, name: &str) -> Option<bool> {
                match name {
                    $($name => Some(self.$field),)*
                    _ => None,
                }
            }

            /// The flags for wasmparser's validator.
            pub fn to_wasmparser(&self) -> WasmFeatures {
                let mut f = WasmFeatures::MUTABLE_GLOBAL
                    | WasmFeatures::SATURATING_FLOAT_TO_INT
                    | WasmFeatures::SIGN_EXTENSION
                    | WasmFeatures::FLOATS
                    | WasmFeatures::GC_TYPES;
                $(features!(@flag f, self.$field, $flag);)*
                // A proposal that builds on one that is off is off as well.
                if !self.reference_types {
                    f.remove(WasmFeatures::FUNCTION_REFERENCES | WasmFeatures::EXCEPTIONS);
                }
                // Recursion groups and declared subtypes of function types are what the specification 3.0 compares
                // types by, but wasmparser counts them to garbage collection. `decode` refuses the rest of that.
                f.set(WasmFeatures::GC, f.contains(WasmFeatures::FUNCTION_REFERENCES));
                f
            }
        }
    };
    // Nothing that wasmparser knows.
    (@flag $set:ident, $on:expr, NONE) => {};
    (@flag $set:ident, $on:expr, $flag:ident) => { $set.set(WasmFeatures::$flag, $on) };
}

features! {
    /// Reference types.
    reference_types "reference-types" REFERENCE_TYPES true;
    /// 128-bit SIMD.
    simd "simd" SIMD true;
    /// Tail calls.
    tail_call "tail-call" TAIL_CALL true;
    /// Exceptions in their final form (`try_table`, `exnref`).
    exceptions "exceptions" EXCEPTIONS true;
    /// Arithmetic in constant expressions.
    extended_const "extended-const" EXTENDED_CONST true;
    /// Several memories.
    multi_memory "multi-memory" MULTI_MEMORY true;
    /// Relaxed SIMD, with one deterministic choice for all targets and tiers.
    relaxed_simd "relaxed-simd" RELAXED_SIMD true;
    /// Bulk memory operations.
    bulk_memory "bulk-memory" BULK_MEMORY true;
    /// Several results and block parameters.
    multi_value "multi-value" MULTI_VALUE true;
    /// Typed function references, recursion groups and declared subtypes of function types.
    function_references "function-references" FUNCTION_REFERENCES true;
    /// Memories and tables with 64-bit indices.
    memory64 "memory64" MEMORY64 true;
    /// Pages of one byte.
    custom_page_sizes "custom-page-sizes" CUSTOM_PAGE_SIZES false;
    /// Types of shared memories and the atomic instructions.
    threads "threads" THREADS true;
    /// Making shared memories. Without it a module that defines one can be compiled, but not instantiated.
    shared_memory "shared-memory" NONE false;
    /// 128-bit addition, subtraction and multiplication of 64-bit integers.
    wide_arithmetic "wide-arithmetic" WIDE_ARITHMETIC true;
    /// Exceptions in their first form (`try`, `catch`, `delegate`, `rethrow`).
    legacy_exceptions "legacy-exceptions" LEGACY_EXCEPTIONS true;
    /// Use of the section `metadata.code.branch_hint` for the layout of code.
    branch_hinting "branch-hinting" NONE false;
}
