//! Which instructions may be in the text at all. Arithmetic and moves on registers and memory, vector instructions, branches:
//! nothing that enters the kernel, touches devices, segments or control registers, or changes how later instructions compute.

use iced_x86::{Code, CpuidFeature, EncodingKind, Instruction, Mnemonic, OpKind, Register};

/// Why an instruction may not be there.
pub fn refused(i: &Instruction) -> Option<&'static str> {
    if i.is_invalid() {
        return Some("no instruction");
    }
    if i.is_privileged() {
        return Some("privileged instruction");
    }
    let code = i.code();
    if matches!(i.mnemonic(), Mnemonic::Syscall | Mnemonic::Sysenter | Mnemonic::Int | Mnemonic::Int1 | Mnemonic::Int3 | Mnemonic::Into) {
        return Some("system call");
    }
    if i.segment_prefix() != Register::None && i.mnemonic() != Mnemonic::Nop {
        return Some("segment prefix");
    }
    if (0..i.op_count()).any(|n| {
        i.op_kind(n) == OpKind::Register && {
            let r = i.op_register(n);
            r.is_segment_register() || r.is_cr() || r.is_dr() || r.is_tr() || r.is_mm() || r.is_st() || r.is_tmm() || r.is_bnd()
        }
    }) {
        return Some("register that programs do not use");
    }
    if i.is_string_instruction() || i.has_repne_prefix() || i.has_rep_prefix() && i.mnemonic() != Mnemonic::Pause {
        return Some("string instruction");
    }
    if i.is_vsib() {
        return Some("access with a vector of addresses");
    }
    if i.is_save_restore_instruction() || i.is_jmp_far() || i.is_jmp_far_indirect() || i.is_call_far() || i.is_call_far_indirect() {
        return Some("instruction of systems");
    }
    if !code.cpuid_features().iter().all(|f| feature(*f)) {
        return Some("instruction of an extension that is not used");
    }
    if code.encoding() == EncodingKind::Legacy && !i.is_sse() && !general(i.mnemonic(), code) {
        return Some("instruction that is not used");
    }
    if matches!(
        i.mnemonic(),
        Mnemonic::Ldmxcsr | Mnemonic::Vldmxcsr | Mnemonic::Stmxcsr | Mnemonic::Vstmxcsr | Mnemonic::Maskmovdqu | Mnemonic::Vmaskmovdqu
    ) {
        return Some("instruction that is not used");
    }
    None
}

trait IsSse {
    fn is_sse(&self) -> bool;
}

impl IsSse for Instruction {
    /// Whether it is one of the vector extensions' instructions in the old encoding.
    fn is_sse(&self) -> bool {
        use CpuidFeature as F;
        self.cpuid_features().iter().any(|f| matches!(f, F::SSE | F::SSE2 | F::SSE3 | F::SSSE3 | F::SSE4_1 | F::SSE4_2))
    }
}

fn feature(f: CpuidFeature) -> bool {
    use CpuidFeature as F;
    matches!(
        f,
        F::INTEL8086
            | F::INTEL186
            | F::INTEL286
            | F::INTEL386
            | F::INTEL486
            | F::X64
            | F::CMOV
            | F::MULTIBYTENOP
            | F::SSE
            | F::SSE2
            | F::SSE3
            | F::SSSE3
            | F::SSE4_1
            | F::SSE4_2
            | F::POPCNT
            | F::LZCNT
            | F::BMI1
            | F::BMI2
            | F::CX8
            | F::CMPXCHG16B
            | F::AVX
            | F::AVX2
            | F::FMA
            | F::F16C
            | F::AVX512F
            | F::AVX512VL
            | F::AVX512DQ
            | F::AVX512BW
            | F::AVX512CD
            | F::AVX512_VBMI
            | F::AVX512_VBMI2
            | F::AVX512_BITALG
            | F::AVX512_VPOPCNTDQ
            | F::CET_IBT
    )
}

/// The instructions on general registers that are expected.
fn general(m: Mnemonic, code: Code) -> bool {
    use Mnemonic as M;
    if code.is_jcc_short_or_near() || is_conditional_move(m) || is_set(m) {
        return true;
    }
    matches!(
        m,
        M::Adc
            | M::Add
            | M::And
            | M::Bsf
            | M::Bsr
            | M::Bswap
            | M::Bt
            | M::Btc
            | M::Btr
            | M::Bts
            | M::Call
            | M::Cbw
            | M::Cdq
            | M::Cdqe
            | M::Cmp
            | M::Cmpxchg
            | M::Cmpxchg16b
            | M::Cqo
            | M::Cwd
            | M::Cwde
            | M::Dec
            | M::Div
            | M::Endbr64
            | M::Idiv
            | M::Imul
            | M::Inc
            | M::Jmp
            | M::Lea
            | M::Lfence
            | M::Lzcnt
            | M::Mfence
            | M::Mov
            | M::Movsx
            | M::Movsxd
            | M::Movzx
            | M::Mul
            | M::Neg
            | M::Nop
            | M::Not
            | M::Or
            | M::Pause
            | M::Pop
            | M::Popcnt
            | M::Push
            | M::Rcl
            | M::Rcr
            | M::Ret
            | M::Rol
            | M::Ror
            | M::Sar
            | M::Sbb
            | M::Sfence
            | M::Shl
            | M::Shld
            | M::Shr
            | M::Shrd
            | M::Sub
            | M::Test
            | M::Tzcnt
            | M::Ud2
            | M::Xadd
            | M::Xchg
            | M::Xor
    )
}

/// The conditional moves.
pub fn is_conditional_move(m: Mnemonic) -> bool {
    use Mnemonic as M;
    matches!(
        m,
        M::Cmova
            | M::Cmovae
            | M::Cmovb
            | M::Cmovbe
            | M::Cmove
            | M::Cmovg
            | M::Cmovge
            | M::Cmovl
            | M::Cmovle
            | M::Cmovne
            | M::Cmovno
            | M::Cmovnp
            | M::Cmovns
            | M::Cmovo
            | M::Cmovp
            | M::Cmovs
    )
}

/// The instructions that make a byte of a condition.
pub fn is_set(m: Mnemonic) -> bool {
    use Mnemonic as M;
    matches!(
        m,
        M::Seta
            | M::Setae
            | M::Setb
            | M::Setbe
            | M::Sete
            | M::Setg
            | M::Setge
            | M::Setl
            | M::Setle
            | M::Setne
            | M::Setno
            | M::Setnp
            | M::Setns
            | M::Seto
            | M::Setp
            | M::Sets
    )
}

/// Whether an access of 16 bytes must be aligned.
pub fn needs_alignment(i: &Instruction) -> bool {
    use Mnemonic as M;
    match i.code().encoding() {
        EncodingKind::Legacy => !matches!(i.mnemonic(), M::Movdqu | M::Movups | M::Movupd | M::Lddqu),
        _ => matches!(
            i.mnemonic(),
            M::Vmovdqa | M::Vmovaps | M::Vmovapd | M::Vmovdqa32 | M::Vmovdqa64 | M::Vmovntdq | M::Vmovntps | M::Vmovntpd
        ),
    }
}

/// A near branch on 16 bits, or anything else that leaves by an unusual form.
pub fn is_odd_form(i: &Instruction) -> bool {
    matches!(
        i.code(),
        Code::Retnw
            | Code::Retnw_imm16
            | Code::Retnd
            | Code::Retnd_imm16
            | Code::Call_rel16
            | Code::Jmp_rel16
            | Code::Jmp_rel8_16
            | Code::Jmp_rel8_32
    )
}
