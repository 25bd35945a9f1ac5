//! The charge of metered code, made of two instructions. Cranelift can only copy the pinned register and work on the copy:
//!
//! ```text
//! mov rcx, r15; cmp rcx, 15; jl trap; sub rcx, 15; mov r15, rcx      20 bytes, three cycles from charge to charge
//! sub r15, 15; jl trap                                               13 bytes, one cycle
//! ```
//!
//! `translate/fuel.rs` writes the first form in CLIF. Here, the subtraction is taken out again before code is made (`without_subtractions`), and
//! the copy and the comparison, which are as long as the subtraction with a 32-bit constant, become that in the machine code. They are
//! found by the location that marks a charge, decoded, and compared with the list of traps: unless each trap has its charge, nothing is
//! changed, and the function is compiled as it was written. In the second form, the fuel is taken before the trap: it is negative then,
//! by which the runtime knows that it has to be given back.

use crate::translate::from_clif;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{Function, Inst, InstructionData, Opcode, SourceLoc};
use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::{Final, MachBufferFinalized};
use target_lexicon::Architecture;
use wasmc_environ::TrapCode;

/// Marks the location of a charge; the other bits are the wasm offset.
pub const CHARGE: u32 = 1 << 31;

/// Whether a source location is that of a charge.
pub fn is_charge(location: SourceLoc) -> bool {
    !location.is_default() && location.bits() & CHARGE != 0
}

/// A function without the subtractions of its charges, if it has charges that can be fused.
pub fn without_subtractions(func: &Function, isa: &dyn TargetIsa) -> Option<Function> {
    if !isa.flags().enable_pinned_reg() || !matches!(isa.triple().architecture, Architecture::X86_64) {
        return None;
    }
    func.layout.blocks().flat_map(|b| func.layout.block_insts(b)).find(|i| takes_fuel(func, *i))?;
    let mut shorter = func.clone();
    let mut cursor = FuncCursor::new(&mut shorter);
    while cursor.next_block().is_some() {
        while let Some(inst) = cursor.next_inst() {
            if takes_fuel(cursor.func, inst) {
                cursor.remove_inst_and_step_back();
            }
        }
    }
    Some(shorter)
}

/// Whether an instruction sets the fuel to what it was before, less something.
fn takes_fuel(func: &Function, inst: Inst) -> bool {
    let InstructionData::Unary { opcode: Opcode::SetPinnedReg, arg } = func.dfg.insts[inst] else { return false };
    func.dfg.value_def(arg).inst().is_some_and(|i| func.dfg.insts[i].opcode() == Opcode::Isub)
}

/// Puts the subtractions into the code of a function from `without_subtractions`. Says whether that was possible.
#[must_use]
pub fn fuse_charges(code: &mut [u8], buffer: &MachBufferFinalized<Final>) -> bool {
    let mut charges = Vec::new();
    for location in buffer.get_srclocs_sorted() {
        let start = location.start as usize;
        if is_charge(location.loc)
            && let Some(charge) = code.get(start..).and_then(parse)
        {
            charges.push((start, charge));
        }
    }
    // A charge that was not found would be a gift.
    let traps = buffer.traps().iter().filter(|t| from_clif(t.code) == Some(TrapCode::OutOfFuel)).map(|t| i64::from(t.offset));
    if !are_equal(charges.iter().map(|(start, c)| (start + c.len) as i64 + i64::from(c.target)), traps) {
        return false;
    }
    for (start, charge) in charges {
        code[start..start + charge.len].copy_from_slice(&charge.fused());
    }
    true
}

/// Whether both are the same numbers, in any order, none twice.
fn are_equal(a: impl Iterator<Item = i64>, b: impl Iterator<Item = i64>) -> bool {
    let sorted = |numbers: &mut Vec<i64>| numbers.sort_unstable();
    let (mut a, mut b): (Vec<i64>, Vec<i64>) = (a.collect(), b.collect());
    sorted(&mut a);
    sorted(&mut b);
    a == b && a.windows(2).all(|w| w[0] != w[1])
}

/// The instructions of one charge, but for the subtraction.
struct Charge {
    cost: i32,
    /// From their end to the trap.
    target: i32,
    /// Length of all.
    len: usize,
}

impl Charge {
    /// What takes their place: `sub r15, cost`, `jl trap`, and what fills it.
    fn fused(&self) -> Vec<u8> {
        let mut new = vec![0x49, 0x81, 0xef];
        new.extend(self.cost.to_le_bytes());
        if self.len < new.len() + 6
            && let Ok(cost) = i8::try_from(self.cost)
        {
            new = vec![0x49, 0x83, 0xef, cost as u8];
        }
        new.extend_from_slice(NOPS[(self.len - 6).saturating_sub(new.len()).min(3)]);
        new.extend([0x0f, 0x8c]);
        new.extend(self.target.to_le_bytes());
        new
    }
}

/// What fills a place of so many bytes.
const NOPS: [&[u8]; 4] = [&[], &[0x90], &[0x66, 0x90], &[0x0f, 0x1f, 0x00]];

/// The charge at the beginning of `code`, if that is one.
fn parse(code: &[u8]) -> Option<Charge> {
    let mut reader = Reader { code, at: 0 };
    // mov copy, r15
    let copy = match reader.rex_opcode_modrm()? {
        (rex, 0x89, modrm) if rex & !1 == 0x4c && modrm & 0xf8 == 0xf8 => modrm & 7 | (rex & 1) << 3,
        _ => return None,
    };
    // Less than 1 is written as not above 0.
    let (cost, branch) = match reader.test_itself(copy) {
        true => (1, 0x8e),
        false => (reader.immediate(copy, 7)?, 0x8c),
    };
    if reader.take::<2>()? != [0x0f, branch] {
        return None;
    }
    let target = i32::from_le_bytes(reader.take()?);
    let charge = Charge { cost, target, len: reader.at };
    (charge.fused().len() == charge.len).then_some(charge)
}

struct Reader<'a> {
    code: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = self.code.get(self.at..self.at + N)?.try_into().ok()?;
        self.at += N;
        Some(bytes)
    }

    fn rex_opcode_modrm(&mut self) -> Option<(u8, u8, u8)> {
        self.take::<3>().map(|[rex, opcode, modrm]| (rex, opcode, modrm))
    }

    /// Skips `test` of a register with itself, if that comes next.
    fn test_itself(&mut self, register: u8) -> bool {
        let low = register & 7;
        let found = self.code.get(self.at..self.at + 3) == Some(&[0x48 | (5 * (register >> 3)), 0x85, 0xc0 | (low << 3) | low]);
        self.at += if found { 3 } else { 0 };
        found
    }

    /// The constant of an instruction of the group `cmp`, `sub`, … (by its number in it) on a 64-bit register.
    fn immediate(&mut self, register: u8, operation: u8) -> Option<i32> {
        let rex = 0x48 | register >> 3;
        let start = self.at;
        let (r, opcode, modrm) = self.rex_opcode_modrm()?;
        if r != rex {
            return None;
        }
        // The short form for rax.
        if register == 0 && opcode == operation << 3 | 5 {
            self.at = start + 2;
            return self.take().map(i32::from_le_bytes);
        }
        if modrm != 0xc0 | operation << 3 | register & 7 {
            return None;
        }
        match opcode {
            0x83 => self.take().map(|[byte]| i32::from(byte as i8)),
            0x81 => self.take().map(i32::from_le_bytes),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fused(code: &[u8]) -> Vec<u8> {
        let mut code = code.to_vec();
        if let Some(charge) = parse(&code) {
            code[..charge.len].copy_from_slice(&charge.fused());
        }
        code
    }

    #[test]
    fn charges_become_shorter() {
        // mov rcx, r15; cmp rcx, 15; jl +256; and what follows.
        let code = [0x4c, 0x89, 0xf9, 0x48, 0x83, 0xf9, 15, 0x0f, 0x8c, 0, 1, 0, 0, 0x55];
        assert_eq!(fused(&code), [0x49, 0x81, 0xef, 15, 0, 0, 0, 0x0f, 0x8c, 0, 1, 0, 0, 0x55]);
        // mov rax, r15; cmp rax, 1000; jl -2, in the short form: a nop of two bytes is left.
        let code = [0x4c, 0x89, 0xf8, 0x48, 0x3d, 0xe8, 3, 0, 0, 0x0f, 0x8c, 0xfe, 0xff, 0xff, 0xff];
        assert_eq!(fused(&code), [0x49, 0x81, 0xef, 0xe8, 3, 0, 0, 0x66, 0x90, 0x0f, 0x8c, 0xfe, 0xff, 0xff, 0xff]);
        // mov r9, r15; cmp r9, 1000; jl +1.
        let code = [0x4d, 0x89, 0xf9, 0x49, 0x81, 0xf9, 0xe8, 3, 0, 0, 0x0f, 0x8c, 1, 0, 0, 0];
        assert_eq!(fused(&code), [0x49, 0x81, 0xef, 0xe8, 3, 0, 0, 0x0f, 0x1f, 0, 0x0f, 0x8c, 1, 0, 0, 0]);
        // mov r11, r15; test r11, r11; jle +11.
        let code = [0x4d, 0x89, 0xfb, 0x4d, 0x85, 0xdb, 0x0f, 0x8e, 11, 0, 0, 0];
        assert_eq!(fused(&code), [0x49, 0x83, 0xef, 1, 0x66, 0x90, 0x0f, 0x8c, 11, 0, 0, 0]);
    }

    #[test]
    fn anything_else_stays() {
        let code = [0x4c, 0x89, 0xf9, 0x48, 0x83, 0xf9, 15, 0x0f, 0x8c, 0, 1, 0, 0];
        for n in 0..code.len() {
            assert_eq!(fused(&code[..n]), code[..n]);
            for bit in 0..8 {
                let mut other = code;
                other[n] ^= 1 << bit;
                // Only the displacement and the cost may be others.
                assert_eq!(fused(&other) == other, !(9..13).contains(&n) && n != 6, "byte {n}, bit {bit}");
            }
        }
    }

    #[test]
    fn charges_and_traps_are_the_same() {
        let same = |a: &[i64], b: &[i64]| are_equal(a.iter().copied(), b.iter().copied());
        assert!(same(&[], &[]) && same(&[3, 1], &[1, 3]));
        assert!(!same(&[1], &[]) && !same(&[], &[1]) && !same(&[1, 2], &[1, 3]) && !same(&[1, 1], &[1, 1]) && !same(&[1, 1], &[1]));
    }
}
