//! Which access to a memory a trap is. Cranelift can make a load part of the instruction that uses its result, and simplified
//! instructions lose their source location: the machine instruction that traps then stands at another wasm instruction, perhaps of another
//! inlined body, or at none. So accesses get a hundred trap codes in turn, and the code says at compile time which of those near the
//! place is meant. Nothing of it is stored.

use cranelift_codegen::ir::{Function, TrapCode};
use wasmc_environ::TrapCode as WasmTrap;

/// How many codes there are.
const CYCLE: usize = 100;
/// The first of them.
const FIRST: u8 = 100;

/// Whether a code stands for an access to a memory.
pub fn is_access(code: TrapCode) -> bool {
    number_of(code).is_some()
}

fn number_of(code: TrapCode) -> Option<usize> {
    usize::from(code.as_raw().get()).checked_sub(usize::from(FIRST)).filter(|n| *n < CYCLE)
}

/// The accesses of a function that can trap.
#[derive(Debug, Default)]
pub struct Accesses {
    /// Source location of each, in the order of the function's blocks.
    locations: Vec<u32>,
    /// For each source location how many accesses come before its first instruction, by location.
    places: Vec<(u32, u32)>,
}

impl Accesses {
    /// Gives the accesses of a function their codes. `mask` is of the bits that are a place. To be called after inlining, before the
    /// optimiser.
    pub fn number(func: &mut Function, mask: u32) -> Self {
        let mut accesses = Self::default();
        let plain = crate::translate::trap_code(WasmTrap::MemoryOutOfBounds);
        let mut last = None;
        let mut block = func.layout.entry_block();
        while let Some(b) = block {
            let mut inst = func.layout.first_inst(b);
            while let Some(i) = inst {
                let location = func.srcloc(i);
                let bits = location.bits() & mask;
                if !location.is_default() && last != Some(bits) {
                    accesses.places.push((bits, accesses.locations.len() as u32));
                    last = Some(bits);
                }
                if let Some(data) = func.dfg.insts[i].memflags_data(&func.dfg)
                    && data.trap_code() == Some(plain)
                    && !location.is_default()
                    && let Some(code) = TrapCode::user(FIRST + (accesses.locations.len() % CYCLE) as u8)
                    // There is room for thousands, of which a few hundred are used.
                    && let Ok(numbered) = func.dfg.mem_flags.insert(data.with_trap_code(Some(code)))
                    && let Some(flags) = func.dfg.insts[i].memflags_mut()
                {
                    *flags = numbered;
                    accesses.locations.push(bits);
                }
                inst = func.layout.next_inst(i);
            }
            block = func.layout.next_block(b);
        }
        accesses.places.sort_unstable();
        accesses.places.dedup_by_key(|(location, _)| *location);
        accesses
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.locations.is_empty()
    }

    /// The source location of the access that trapped with this code in an instruction at or near `near`.
    pub fn find(&self, code: TrapCode, near: u32) -> Option<u32> {
        let class = number_of(code)?;
        let after = self.places.partition_point(|(location, _)| *location <= near);
        let last = after.checked_sub(1).and_then(|i| self.places.get(i)).map_or(0, |(_, n)| *n as usize);
        // The first of its class at or behind three quarters of a cycle before: an access moves to where its result is used, mostly.
        let first = (last + 1).saturating_sub(CYCLE * 3 / 4);
        let number = first + (class + CYCLE - first % CYCLE) % CYCLE;
        self.locations.get(number).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_are_found_again() {
        let accesses = Accesses { locations: (0..1000).map(|i| i * 10).collect(), places: (0..1000).map(|i| (i * 10, i)).collect() };
        for (number, access) in accesses.locations.iter().enumerate() {
            let code = TrapCode::user(FIRST + (number % CYCLE) as u8).unwrap();
            for later in [0, 1, 7, 100, 500] {
                assert_eq!(accesses.find(code, access + later), Some(*access));
            }
            assert_eq!(accesses.find(code, access.saturating_sub(100)), Some(*access));
        }
        assert_eq!(accesses.find(crate::translate::trap_code(WasmTrap::Unreachable), 5), None);
        assert_eq!(Accesses::default().find(TrapCode::user(FIRST).unwrap(), 5), None);
    }
}
