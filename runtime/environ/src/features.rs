//! The proposals that can be switched on and off by name. One list: the command line, the validator and the
//! artifact's header expand it.

use serde::{Deserialize, Serialize};
use wasmparser::WasmFeatures;

macro_rules! features {
    ($($(#[$doc:meta])* $field:ident $name:literal $flag:ident $default:literal;)*) => {
        /// Which proposals are on.
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub struct Features {
            $($(#[$doc])* pub $field: bool,)*
        }

        impl Default for Features {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl Features {
            /// Names and defaults, in order.
            pub const ALL: &'static [(&'static str, bool)] = &[$(($name, $default)),*];

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
                    | WasmFeatures::GC_TYPES
                    | WasmFeatures::MULTI_VALUE
                    | WasmFeatures::BULK_MEMORY;
                $(f.set(WasmFeatures::$flag, self.$field);)*
                f
            }
        }
    };
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
    relaxed_simd "relaxed-simd" RELAXED_SIMD false;
}
