//! The charge of metered code, made of fewer instructions. Cranelift can only copy the pinned register and work on the copy:
//!
//! ```text
//! mov rcx, r15; cmp rcx, 15; jl trap; sub rcx, 15; mov r15, rcx      three cycles from charge to charge
//! sub r15, 15; jl trap; nop                                          one
//! ```
//!
//! `translate/fuel.rs` marks the instructions of a charge by their source location, so that the code generator says where the first
//! one begins; from there on they are decoded, and replaced only if they are exactly the first form (nothing branches into their midst,
//! since they are of one block). In the second form, the fuel is taken before the trap: it is negative then, by which the runtime knows
//! that it has to be given back.

use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::{Final, MachBufferFinalized};
use target_lexicon::Architecture;

/// Marks the location of a charge; the other bits are the wasm offset.
pub const CHARGE: u32 = 1 << 31;

/// The wasm offset of a source location in metered code.
pub fn wasm_offset(location: u32) -> u32 {
    if location == u32::MAX { location } else { location & !CHARGE }
}

/// Replaces the charges in a function's code.
pub fn fuse_charges(code: &mut [u8], buffer: &MachBufferFinalized<Final>, isa: &dyn TargetIsa) {
    if !isa.flags().enable_pinned_reg() || !matches!(isa.triple().architecture, Architecture::X86_64) {
        return;
    }
    for location in buffer.get_srclocs_sorted() {
        if !location.loc.is_default()
            && location.loc.bits() & CHARGE != 0
            && let Some(code) = code.get_mut(location.start as usize..)
        {
            fuse(code);
        }
    }
}

/// The instructions of one charge.
struct Charge {
    cost: i32,
    /// From the end of the branch to the trap.
    target: i32,
    /// Where the branch ends.
    branch_end: usize,
    /// Length of all.
    len: usize,
}

fn fuse(code: &mut [u8]) {
    let Some(charge) = parse(code) else { return };
    let mut new = Vec::with_capacity(charge.len);
    match i8::try_from(charge.cost) {
        Ok(cost) => new.extend([0x49, 0x83, 0xef, cost as u8]),
        Err(_) => {
            new.extend([0x49, 0x81, 0xef]);
            new.extend(charge.cost.to_le_bytes());
        }
    }
    new.extend([0x0f, 0x8c]);
    // The branch ends earlier now.
    let moved = charge.branch_end - (new.len() + 4);
    new.extend((charge.target + moved as i32).to_le_bytes());
    nops(charge.len - new.len(), &mut new);
    code[..charge.len].copy_from_slice(&new);
}

/// Few instructions that do nothing, so many bytes long.
fn nops(mut len: usize, out: &mut Vec<u8>) {
    const NOPS: [&[u8]; 10] = [
        &[0x90],
        &[0x66, 0x90],
        &[0x0f, 0x1f, 0x00],
        &[0x0f, 0x1f, 0x40, 0x00],
        &[0x0f, 0x1f, 0x44, 0x00, 0x00],
        &[0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
        &[0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00],
        &[0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
        &[0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
        &[0x66, 0x2e, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
    ];
    while len > 0 {
        let n = len.min(NOPS.len());
        out.extend_from_slice(NOPS[n - 1]);
        len -= n;
    }
}

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
    let branch_end = reader.at;
    if reader.immediate(copy, 5)? != cost {
        return None;
    }
    // mov r15, copy
    match reader.rex_opcode_modrm()? {
        (rex, 0x89, modrm) if rex & !4 == 0x49 && modrm == 0xc7 | (copy & 7) << 3 && rex >> 2 & 1 == copy >> 3 => {}
        _ => return None,
    }
    // What is taken away must not overflow the displacement.
    target.checked_add(16)?;
    Some(Charge { cost, target, branch_end, len: reader.at })
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
        fuse(&mut code);
        code
    }

    #[test]
    fn charges_become_shorter() {
        // mov rcx, r15; cmp rcx, 15; jl +256; sub rcx, 15; mov r15, rcx; and what follows.
        let code = [
            0x4c, 0x89, 0xf9, 0x48, 0x83, 0xf9, 15, 0x0f, 0x8c, 0, 1, 0, 0, 0x48, 0x83, 0xe9, 15, 0x49, 0x89, 0xcf, 0x55, //
        ];
        // sub r15, 15; jl +259; nop.
        let expected = [0x49, 0x83, 0xef, 15, 0x0f, 0x8c, 3, 1, 0, 0, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0, 0x55];
        assert_eq!(fused(&code), expected);
        // mov rax, r15; cmp rax, 1000; jl -2; sub rax, 1000; mov r15, rax, in the short form.
        let code =
            [0x4c, 0x89, 0xf8, 0x48, 0x3d, 0xe8, 3, 0, 0, 0x0f, 0x8c, 0xfe, 0xff, 0xff, 0xff, 0x48, 0x2d, 0xe8, 3, 0, 0, 0x49, 0x89, 0xc7];
        let new = fused(&code);
        assert_eq!(new[..13], [0x49, 0x81, 0xef, 0xe8, 3, 0, 0, 0x0f, 0x8c, 0, 0, 0, 0]);
        // mov r11, r15; test r11, r11; jle +11; sub r11, 1; mov r15, r11.
        let code = [0x4d, 0x89, 0xfb, 0x4d, 0x85, 0xdb, 0x0f, 0x8e, 11, 0, 0, 0, 0x49, 0x83, 0xeb, 1, 0x4d, 0x89, 0xdf];
        assert_eq!(fused(&code)[..10], [0x49, 0x83, 0xef, 1, 0x0f, 0x8c, 13, 0, 0, 0]);
        // mov r9, r15; …; mov r15, r9.
        let code = [
            0x4d, 0x89, 0xf9, 0x49, 0x83, 0xf9, 15, 0x0f, 0x8c, 0, 1, 0, 0, 0x49, 0x83, 0xe9, 15, 0x4d, 0x89, 0xcf, //
        ];
        assert_eq!(fused(&code)[..4], [0x49, 0x83, 0xef, 15]);
    }

    #[test]
    fn anything_else_stays() {
        let code = [
            0x4c, 0x89, 0xf9, 0x48, 0x83, 0xf9, 15, 0x0f, 0x8c, 0, 1, 0, 0, 0x48, 0x83, 0xe9, 15, 0x49, 0x89, 0xcf, //
        ];
        for n in 0..code.len() {
            assert_eq!(fused(&code[..n]), code[..n]);
            for bit in 0..8 {
                let mut other = code;
                other[n] ^= 1 << bit;
                // Only the displacement may be another one.
                assert_eq!(fused(&other) == other, !(9..13).contains(&n), "byte {n}, bit {bit}");
            }
        }
    }
}
