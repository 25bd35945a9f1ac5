//! Options that change generated code. The artifact's header records them; the loader refuses an artifact whose
//! tunables the runtime cannot serve.

use serde::{Deserialize, Serialize};

/// Options that change generated code.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tunables {
    /// memory32 accesses rely on a reservation of 8 GiB with guard regions instead of explicit checks.
    pub static_memory: bool,
    /// Table indices are masked under misspeculation.
    pub spectre_tables: bool,
    /// Code counts instructions.
    pub meter: bool,
    /// Code reports function entries and exits.
    pub trace: bool,
}

impl Default for Tunables {
    fn default() -> Self {
        Self { static_memory: true, spectre_tables: true, meter: false, trace: false }
    }
}
