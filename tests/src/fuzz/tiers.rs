//! Random modules on every tier and on wasmi: the machines of the differential test, with modules that a fuzzer's bytes change.

use super::Input;
use crate::differential::{Machines, Summary, changed_case};
use std::sync::LazyLock;

static MACHINES: LazyLock<Machines> = LazyLock::new(Machines::new);

/// All tiers and wasmi do the same.
pub fn tiers(bytes: &[u8]) {
    let mut input = Input(bytes);
    let seed = input.number();
    let Some(case) = changed_case(seed, input.rest()) else { return };
    let mut summary = Summary::default();
    MACHINES.check_case(&case, &mut summary);
    assert!(summary.failures.is_empty(), "{}", summary.failures.join("\n"));
}
