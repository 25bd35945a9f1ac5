//! The records that the runtime acts on when code faults, throws or collects, held against the code that was proved. A record for
//! an instruction that is never executed does no harm; one that is missing, or describes another frame, does.

use crate::program::{Finding, Program};
use crate::x86::Proved;

/// Checks the records that belong to a piece of code.
pub fn check(program: &Program<'_>, start: u32, proved: &Proved) -> Result<(), Finding> {
    let finding = |offset: u32, problem: &str| Finding { offset: Some(offset), function: program.name(start), problem: problem.into() };
    let traps = program.contents.traps();
    for at in &proved.faulting {
        if traps.binary_search_by_key(at, |t| t.code_offset).is_err() {
            return Err(finding(*at, "an instruction that can fault has no record of a trap"));
        }
    }
    let maps = program.contents.stack_maps();
    for r in &proved.returns {
        let Ok(n) = maps.binary_search_by_key(&r.offset, |m| m.return_offset) else { continue };
        let map = maps[n];
        if i64::from(map.frame_size) != i64::from(r.frame) {
            return Err(finding(r.offset, "the record of references on the stack is for another frame"));
        }
        let slots = program.contents.stack_map_slots(&map);
        if slots.iter().any(|s| u64::from(*s) + 4 > u64::from(map.frame_size)) {
            return Err(finding(r.offset, "the record of references on the stack leads out of the frame"));
        }
    }
    Ok(())
}
