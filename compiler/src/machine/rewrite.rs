//! Instructions in the place of others: encoded by a library, decoded again, and compared, before they are believed.

use super::decode::{ALL, Change, FLAGS, Function, RSP, Registers, copy, number, vector_number};
use iced_x86::{
    Code, Decoder, DecoderOptions, Encoder, Instruction, InstructionInfoFactory, InstructionInfoOptions, OpAccess, OpKind, Register,
    RflagsBits,
};

const WIDE: [Register; 16] = [
    Register::RAX,
    Register::RCX,
    Register::RDX,
    Register::RBX,
    Register::RSP,
    Register::RBP,
    Register::RSI,
    Register::RDI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
    Register::R12,
    Register::R13,
    Register::R14,
    Register::R15,
];
const BYTES: [Register; 16] = [
    Register::AL,
    Register::CL,
    Register::DL,
    Register::BL,
    Register::SPL,
    Register::BPL,
    Register::SIL,
    Register::DIL,
    Register::R8L,
    Register::R9L,
    Register::R10L,
    Register::R11L,
    Register::R12L,
    Register::R13L,
    Register::R14L,
    Register::R15L,
];

/// A general register of 8 bytes by its number.
pub(super) fn wide(number: usize) -> Register {
    WIDE.get(number).copied().unwrap_or(Register::None)
}

/// Its lower half.
pub(super) fn narrow(number: usize) -> Register {
    wide(number).full_register32()
}

/// The part of another register that corresponds to a register.
fn sized(like: Register, number: usize) -> Option<Register> {
    let whole = wide(number);
    Some(match like.size() {
        8 => whole,
        4 => whole.full_register32(),
        2 => Register::AX + number as u32,
        1 if !(Register::AH..=Register::BH).contains(&like) => *BYTES.get(number)?,
        _ => return None,
    })
}

/// The bytes of an instruction that stands anywhere.
fn encode(instruction: &Instruction) -> Option<Change> {
    let mut encoder = Encoder::new(64);
    let len = encoder.encode(instruction, 0).ok()?;
    let buffer = encoder.take_buffer();
    let mut bytes = [0; 15];
    bytes.get_mut(..len)?.copy_from_slice(buffer.get(..len)?);
    let again = Decoder::new(64, &bytes[..len], DecoderOptions::NONE).decode();
    (again == *instruction && again.len() == len).then_some(Change::Replace(bytes, len as u8))
}

/// The flags that conditions ask for.
const CONDITIONS: u32 = RflagsBits::OF | RflagsBits::SF | RflagsBits::ZF | RflagsBits::CF | RflagsBits::PF;

/// What an instruction does with the general registers and the flags: what it reads, and what it may change.
pub(super) fn registers(facts: &mut InstructionInfoFactory, decoded: &Instruction) -> (Registers, Registers) {
    let (reads, writes, _) = effects(facts, decoded);
    (reads, writes)
}

/// The same, and the vector registers that it may change.
pub(super) fn effects(facts: &mut InstructionInfoFactory, decoded: &Instruction) -> (Registers, Registers, u16) {
    let Some((reads, writes)) = common(decoded) else { return uncommon(facts, decoded) };
    debug_assert_eq!((reads, writes, 0), uncommon(facts, decoded), "{:?}", decoded.code());
    (reads, writes, 0)
}

/// The same for the most frequent instructions, which the library takes ten times as long for as for all the rest of decoding.
fn common(decoded: &Instruction) -> Option<(Registers, Registers)> {
    use Code as C;
    // Whether the first operand is read, and written; flags.
    let (read, written, flags) = match decoded.code() {
        C::Mov_r32_rm32
        | C::Mov_r64_rm64
        | C::Mov_rm32_r32
        | C::Mov_rm64_r64
        | C::Mov_r32_imm32
        | C::Mov_r64_imm64
        | C::Mov_rm32_imm32
        | C::Mov_rm64_imm32
        | C::Movzx_r32_rm8
        | C::Movzx_r64_rm8
        | C::Movzx_r32_rm16
        | C::Movzx_r64_rm16
        | C::Movsx_r32_rm8
        | C::Movsx_r64_rm8
        | C::Movsx_r32_rm16
        | C::Movsx_r64_rm16
        | C::Movsxd_r64_rm32
        | C::Lea_r32_m
        | C::Lea_r64_m => (false, true, 0),
        C::Add_rm32_r32
        | C::Add_rm64_r64
        | C::Add_r32_rm32
        | C::Add_r64_rm64
        | C::Add_rm32_imm8
        | C::Add_rm64_imm8
        | C::Add_rm32_imm32
        | C::Add_rm64_imm32
        | C::Sub_rm32_r32
        | C::Sub_rm64_r64
        | C::Sub_r32_rm32
        | C::Sub_r64_rm64
        | C::Sub_rm32_imm8
        | C::Sub_rm64_imm8
        | C::Sub_rm32_imm32
        | C::Sub_rm64_imm32
        | C::And_rm32_r32
        | C::And_rm64_r64
        | C::And_r32_rm32
        | C::And_r64_rm64
        | C::And_rm32_imm8
        | C::And_rm64_imm8
        | C::And_rm32_imm32
        | C::And_rm64_imm32
        | C::Or_rm32_r32
        | C::Or_rm64_r64
        | C::Or_r32_rm32
        | C::Or_r64_rm64
        | C::Xor_rm32_r32
        | C::Xor_rm64_r64
        | C::Xor_r32_rm32
        | C::Xor_r64_rm64 => (true, true, FLAGS),
        C::Cmp_rm32_r32
        | C::Cmp_rm64_r64
        | C::Cmp_r32_rm32
        | C::Cmp_r64_rm64
        | C::Cmp_rm8_imm8
        | C::Cmp_rm32_imm8
        | C::Cmp_rm64_imm8
        | C::Cmp_rm32_imm32
        | C::Cmp_rm64_imm32
        | C::Test_rm8_imm8
        | C::Test_rm32_r32
        | C::Test_rm64_r64
        | C::Test_rm32_imm32 => (true, false, FLAGS),
        C::Jmp_rel8_64 | C::Jmp_rel32_64 => return Some((0, 0)),
        C::Call_rel32_64 => return Some((1 << RSP, 1 << RSP)),
        _ if decoded.is_jcc_short_or_near() => return Some((FLAGS, 0)),
        _ => return None,
    };
    let of = |register| number(register).map_or(0, |n| 1 << n);
    let mut reads = of(decoded.memory_base()) | of(decoded.memory_index());
    let mut writes = flags;
    if decoded.op0_kind() == OpKind::Register {
        let target = of(decoded.op0_register());
        reads |= if read { target } else { 0 };
        writes |= if written { target } else { 0 };
    }
    if decoded.op1_kind() == OpKind::Register {
        // A register that is combined with itself may not count as read.
        if read && written && decoded.op0_kind() == OpKind::Register && decoded.op0_register() == decoded.op1_register() {
            return None;
        }
        reads |= of(decoded.op1_register());
    }
    Some((reads, writes))
}

fn uncommon(facts: &mut InstructionInfoFactory, decoded: &Instruction) -> (Registers, Registers, u16) {
    let (mut reads, mut writes, mut vectors) = (0, 0, 0);
    for used in facts.info_options(decoded, InstructionInfoOptions::NO_MEMORY_USAGE).used_registers() {
        let Some(n) = number(used.register()) else {
            if !matches!(used.access(), OpAccess::Read | OpAccess::CondRead | OpAccess::None) {
                vectors |= vector_number(used.register()).map_or(0, |n| 1 << n);
            }
            continue;
        };
        match used.access() {
            OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess => reads |= 1 << n,
            OpAccess::Write if used.register().size() >= 4 => writes |= 1 << n,
            OpAccess::None => {}
            _ => {
                reads |= 1 << n;
                writes |= 1 << n;
            }
        }
    }
    if decoded.rflags_read() != 0 {
        reads |= FLAGS;
    }
    match decoded.rflags_modified() & CONDITIONS {
        0 => {}
        CONDITIONS => writes |= FLAGS,
        // Others stay as they were (`inc` and the carry).
        _ => {
            reads |= FLAGS;
            writes |= FLAGS;
        }
    }
    (reads, writes, vectors)
}

/// Which occurrences of a register are meant.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Occurrences {
    /// Those that are read only.
    Read,
    /// The first operand, which is written and not read.
    Target,
    /// All.
    All,
}

/// The instruction with another register. `narrow`: no more than the lower half of the register is of use.
pub(super) fn with_register(
    facts: &mut InstructionInfoFactory,
    decoded: &Instruction,
    from: usize,
    to: usize,
    which: Occurrences,
    narrow: bool,
) -> Option<Instruction> {
    let mut new = *decoded;
    let accesses: [OpAccess; 5] = {
        let info = facts.info(decoded);
        [info.op0_access(), info.op1_access(), info.op2_access(), info.op3_access(), info.op4_access()]
    };
    for (i, access) in (0..decoded.op_count()).zip(accesses) {
        if decoded.op_kind(i) != OpKind::Register || number(decoded.op_register(i)) != Some(from) {
            continue;
        }
        let register = decoded.op_register(i);
        let meant = match which {
            Occurrences::Read => access == OpAccess::Read,
            Occurrences::Target => i == 0 && access == OpAccess::Write && register.size() >= 4,
            Occurrences::All => true,
        };
        if meant {
            if narrow && register.size() == 8 {
                return None;
            }
            new.set_op_register(i, sized(register, to)?);
        }
    }
    if which != Occurrences::Target {
        if number(decoded.memory_base()) == Some(from) {
            new.set_memory_base(sized(decoded.memory_base(), to).filter(|_| !narrow)?);
        }
        if number(decoded.memory_index()) == Some(from) {
            new.set_memory_index(sized(decoded.memory_index(), to).filter(|_| !narrow)?);
        }
    }
    Some(new)
}

impl Function<'_> {
    /// Puts an instruction in the place of another that it does the work of. `false` if it cannot be encoded, or if the other
    /// one addresses something by its distance.
    pub(super) fn replace(&mut self, i: usize, mut new: Instruction) -> bool {
        let Some(inst) = self.insts.get_mut(i).filter(|i| !i.relocated && i.distance == 0) else { return false };
        // Neither matters to what is encoded, and both would be compared.
        new.set_ip(0);
        let Some(change) = encode(&new) else { return false };
        inst.change = change;
        inst.is_copy = copy(&new).is_some();
        (inst.reads, inst.writes, inst.vectors) = effects(&mut InstructionInfoFactory::new(), &new);
        debug_assert_eq!(inst.writes & !(ALL | FLAGS), 0);
        self.decoded[i] = new;
        true
    }
}
