//! Single steps, by what they make of a few instructions. `random_tests.rs` runs what comes of whole functions.

use super::decode::Input;
use super::rewrite_all;
use iced_x86::{BlockEncoder, BlockEncoderOptions, Code, Decoder, DecoderOptions, Instruction, InstructionBlock, MemoryOperand, Register};

pub(super) fn with(code: Code, a: impl Into<Operand>, b: impl Into<Operand>) -> Instruction {
    match (a.into(), b.into()) {
        (Operand::Register(a), Operand::Register(b)) => Instruction::with2(code, a, b),
        (Operand::Register(a), Operand::Number(b)) => Instruction::with2(code, a, b),
        (Operand::Register(a), Operand::Memory(b)) => Instruction::with2(code, a, b),
        (Operand::Memory(a), Operand::Register(b)) => Instruction::with2(code, a, b),
        (Operand::Memory(a), Operand::Number(b)) => Instruction::with2(code, a, b),
        _ => unreachable!(),
    }
    .unwrap()
}

pub(super) enum Operand {
    Register(Register),
    Number(i32),
    Memory(MemoryOperand),
}

impl From<Register> for Operand {
    fn from(r: Register) -> Self {
        Self::Register(r)
    }
}

impl From<i32> for Operand {
    fn from(n: i32) -> Self {
        Self::Number(n)
    }
}

impl From<MemoryOperand> for Operand {
    fn from(m: MemoryOperand) -> Self {
        Self::Memory(m)
    }
}

pub(super) fn frame(at: i64) -> MemoryOperand {
    MemoryOperand::with_base_displ(Register::RSP, at)
}

/// What becomes of instructions between a prologue and an epilogue.
fn improved(middle: &[Instruction]) -> Vec<Code> {
    let mut code = vec![Instruction::with1(Code::Push_r64, Register::RBP).unwrap(), with(Code::Mov_rm64_r64, Register::RBP, Register::RSP)];
    code.extend_from_slice(middle);
    code.push(Instruction::with1(Code::Pop_r64, Register::RBP).unwrap());
    code.push(Instruction::with(Code::Retnq));
    let bytes = BlockEncoder::encode(64, InstructionBlock::new(&code, 0), BlockEncoderOptions::NONE).unwrap().code_buffer;
    let (after, _) = rewrite_all(&Input { bytes: &bytes, ..Input::default() }, true).unwrap();
    let codes: Vec<Code> = Decoder::with_ip(64, &after, 0, DecoderOptions::NONE).iter().map(|i| i.code()).collect();
    codes[2..codes.len() - 2].to_vec()
}

#[test]
fn each_step_takes_out_what_it_should() {
    use Register::*;
    let word = || frame(-0x20 + 0x30);
    // A word that a register still holds, in it and in another one.
    assert_eq!(
        improved(&[with(Code::Mov_rm64_r64, word(), RCX), with(Code::Mov_r64_rm64, RCX, word()), with(Code::Mov_r64_rm64, RDX, word())]),
        [Code::Mov_rm64_r64]
    );
    // The same of a vector.
    assert_eq!(
        improved(&[
            with(Code::Movdqu_xmmm128_xmm, word(), XMM1),
            with(Code::Movdqu_xmm_xmmm128, XMM1, word()),
            with(Code::Paddd_xmm_xmmm128, XMM2, XMM1),
            with(Code::Movdqu_xmm_xmmm128, XMM3, word()),
        ]),
        [Code::Paddd_xmm_xmmm128, Code::Movaps_xmm_xmmm128]
    );
    assert_eq!(
        improved(&[
            with(Code::Movdqu_xmmm128_xmm, word(), XMM1),
            with(Code::Paddd_xmm_xmmm128, XMM1, XMM2),
            with(Code::Movdqu_xmm_xmmm128, XMM1, word()),
        ]),
        [Code::Movdqu_xmmm128_xmm, Code::Paddd_xmm_xmmm128, Code::Movdqu_xmm_xmmm128]
    );
    // Half of a register that has nothing else.
    assert_eq!(
        improved(&[with(Code::Mov_r32_rm32, EAX, MemoryOperand::with_base(RDI)), with(Code::Mov_rm32_r32, EAX, EAX)]),
        [Code::Mov_r32_rm32]
    );
    assert_eq!(improved(&[with(Code::Mov_rm32_r32, EAX, EAX)]), [Code::Mov_rm32_r32]);
    // A byte has zeros above it, to the top, which need no prefix.
    assert_eq!(
        improved(&[with(Code::Movzx_r64_rm8, RAX, MemoryOperand::with_base(RDI)), with(Code::Mov_rm32_r32, EAX, EAX)]),
        [Code::Movzx_r32_rm8]
    );
    for (code, number, is_short) in [(Code::And_rm64_imm8, 7, true), (Code::And_rm64_imm8, -8, false), (Code::Shr_rm64_imm8, 32, true)] {
        let rest = if is_short { vec![code] } else { vec![code, Code::Mov_rm32_r32] };
        assert_eq!(improved(&[with(code, RAX, number), with(Code::Mov_rm32_r32, EAX, EAX)]), rest);
    }
    // An index that is the copy of one.
    assert_eq!(
        improved(&[
            with(Code::Mov_r32_rm32, EAX, MemoryOperand::with_base(RDI)),
            with(Code::Mov_rm32_r32, ECX, EAX),
            with(Code::Mov_r32_rm32, ECX, MemoryOperand::with_base_index(RDI, RCX)),
        ]),
        [Code::Mov_r32_rm32, Code::Mov_r32_rm32]
    );
    // A result where it is wanted.
    assert_eq!(
        improved(&[
            with(Code::Mov_r32_rm32, EAX, MemoryOperand::with_base(RDI)),
            with(Code::Mov_rm64_r64, RCX, RAX),
            with(Code::Mov_r32_imm32, EAX, 1)
        ]),
        [Code::Mov_r32_rm32, Code::Mov_r32_imm32]
    );
    // A sum is an address, unless somebody asks for its flags.
    let sum = [with(Code::Mov_rm64_r64, RCX, RAX), with(Code::Add_rm32_imm32, ECX, 5)];
    assert_eq!(improved(&[&sum[..], &[with(Code::Cmp_rm32_imm8, EAX, 1)]].concat()), [Code::Lea_r32_m]);
    assert_eq!(
        improved(&[&sum[..], &[with(Code::Cmovb_r32_rm32, EDX, EAX)]].concat()),
        [Code::Mov_rm64_r64, Code::Add_rm32_imm8, Code::Cmovb_r32_rm32]
    );
    // The flags of an operation, as far as a test sets them alike.
    let masked = [with(Code::And_rm32_r32, EAX, ECX), with(Code::Test_rm32_r32, EAX, EAX), with(Code::Cmovbe_r32_rm32, EDX, EAX)];
    assert_eq!(improved(&masked), [Code::And_rm32_r32, Code::Cmovbe_r32_rm32]);
    let added = [with(Code::Add_rm32_r32, EAX, ECX), with(Code::Test_rm32_r32, EAX, EAX), with(Code::Cmovbe_r32_rm32, EDX, EAX)];
    assert_eq!(improved(&added).len(), 3);
    // A load that is only compared.
    let load = with(Code::Movzx_r32_rm8, EAX, MemoryOperand::with_base(RDI));
    let rest = [with(Code::Cmp_rm32_imm8, EAX, 5), with(Code::Cmova_r32_rm32, EDX, ECX), with(Code::Mov_r32_imm32, EAX, 1)];
    assert_eq!(improved(&[&[load][..], &rest].concat()), [Code::Cmp_rm8_imm8, Code::Cmova_r32_rm32, Code::Mov_r32_imm32]);
    // As a signed number a byte compares otherwise.
    let rest = [with(Code::Cmp_rm32_imm8, EAX, 5), with(Code::Cmovg_r32_rm32, EDX, ECX), with(Code::Mov_r32_imm32, EAX, 1)];
    assert_eq!(improved(&[&[load][..], &rest].concat()).len(), 4);
    // A write to a word that was read, and is not any more.
    let lost = [with(Code::Mov_rm64_r64, word(), RCX), with(Code::Mov_r64_rm64, RDX, word()), with(Code::Mov_rm64_r64, RAX, RDX)];
    assert!(improved(&lost).iter().all(|c| *c != Code::Mov_r64_rm64));
}

/// What aligns a loop does not belong to the call in front of it: an exception or the collector looks for where the call returns.
#[test]
fn a_call_ends_where_it_returns() {
    let mut head = with(Code::Sub_rm32_imm8, Register::EAX, 1);
    head.set_ip(1);
    let mut code = vec![Instruction::with1(Code::Push_r64, Register::RBP).unwrap(), with(Code::Mov_rm64_r64, Register::RBP, Register::RSP)];
    code.push(Instruction::with1(Code::Call_rm64, Register::RAX).unwrap());
    code.extend([head, Instruction::with_branch(Code::Jne_rel32_64, 1).unwrap()]);
    code.extend([Instruction::with1(Code::Pop_r64, Register::RBP).unwrap(), Instruction::with(Code::Retnq)]);
    let bytes = BlockEncoder::encode(64, InstructionBlock::new(&code, 0), BlockEncoderOptions::DONT_FIX_BRANCHES).unwrap().code_buffer;
    let (after, moves) = rewrite_all(&Input { bytes: &bytes, ..Input::default() }, true).unwrap();
    let call = Decoder::with_ip(64, &bytes, 0, DecoderOptions::NONE).iter().find(|i| i.code() == Code::Call_rm64).unwrap();
    let returns = call.next_ip() as u32;
    assert_eq!((moves.get_end(returns), moves.get(returns)), (returns, 32));
    let heads: Vec<u64> =
        Decoder::with_ip(64, &after, 0, DecoderOptions::NONE).iter().filter(|i| i.code() == Code::Sub_rm32_imm8).map(|i| i.ip()).collect();
    assert_eq!(heads, [32]);
}
