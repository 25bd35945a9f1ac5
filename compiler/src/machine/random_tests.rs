//! Random functions, as they are and gone over, run on this processor (x86-64): registers and memory are the same afterwards.

use super::decode::{Input, PRESERVED, RBP, RDI, RSP};
use super::rewrite::{narrow, wide};
use super::rewrite_all;
use super::tests::{frame, with};
use iced_x86::{BlockEncoder, BlockEncoderOptions, Code, Decoder, DecoderOptions, Instruction, InstructionBlock, MemoryOperand, Register};

/// Numbers from a seed (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n
    }

    fn register(&mut self) -> usize {
        loop {
            let n = self.below(16);
            if ![RSP, RBP, RDI].contains(&n) {
                return n;
            }
        }
    }

    fn condition<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// Words of 8 bytes and of 4 in the frame, and where registers are saved.
const WIDE_WORDS: i64 = 0x20;
const NARROW_WORDS: i64 = 0x60;
const SAVED: i64 = 0x80;
/// Words of 16 bytes.
const VECTOR_WORDS: i64 = 0xb0;
const FRAME: i32 = 0xf8;
/// How many vector registers are used.
const VECTORS: usize = 4;
/// The memory at rdi.
const MEMORY: usize = 4096;
/// What vector registers hold in the end, and counters of loops, in the memory.
const VECTOR_RESULTS: i64 = 1024;
const COUNTERS: i64 = 2048;

fn vector(number: usize) -> Register {
    Register::XMM0 + number as u32
}

/// A function. Branches lead to labels, which are numbers of instructions' addresses until they are encoded.
struct Writer {
    random: Random,
    code: Vec<Instruction>,
    labels: u64,
    pending: Option<u64>,
    counters: i64,
}

impl Writer {
    fn push(&mut self, mut instruction: Instruction) {
        // The encoder finds branch targets by the address of an instruction.
        match self.pending.take() {
            Some(label) => instruction.set_ip(label),
            None => {
                self.labels += 1;
                instruction.set_ip(self.labels);
            }
        }
        self.code.push(instruction);
    }

    fn label(&mut self) -> u64 {
        self.labels += 1;
        self.labels
    }

    fn place(&mut self, label: u64) {
        if self.pending.is_some() {
            self.push(Instruction::with(Code::Nopd));
        }
        self.pending = Some(label);
    }

    fn branch(&mut self, code: Code, label: u64) {
        self.push(Instruction::with_branch(code, label).unwrap());
    }

    fn any_branch(&mut self) -> Code {
        self.random.condition(&[
            Code::Je_rel32_64,
            Code::Jne_rel32_64,
            Code::Jb_rel32_64,
            Code::Jae_rel32_64,
            Code::Jl_rel32_64,
            Code::Jge_rel32_64,
            Code::Jg_rel32_64,
            Code::Ja_rel32_64,
            Code::Js_rel32_64,
            Code::Jo_rel32_64,
        ])
    }

    /// An instruction or two that neither jump nor call.
    fn simple(&mut self) {
        let (a, b) = (self.random.register(), self.random.register());
        let number = match self.random.below(3) {
            0 => self.random.below(16) as i32,
            1 => self.random.next() as i8 as i32,
            _ => self.random.next() as i32,
        };
        let wide_word = frame(WIDE_WORDS + 8 * self.random.below(6) as i64);
        let narrow_word = frame(NARROW_WORDS + 4 * self.random.below(4) as i64);
        let (x, y) = (self.random.below(VECTORS), self.random.below(VECTORS));
        let vector_word = frame(VECTOR_WORDS + 16 * self.random.below(4) as i64);
        let instruction = match self.random.below(44) {
            33..=35 => with(self.random.condition(&[Code::Movdqu_xmm_xmmm128, Code::VEX_Vmovdqu_xmm_xmmm128]), vector(x), vector_word),
            36..=38 => with(self.random.condition(&[Code::Movdqu_xmmm128_xmm, Code::Movups_xmmm128_xmm]), vector_word, vector(x)),
            39 | 40 => with(Code::Movaps_xmm_xmmm128, vector(x), vector(y)),
            41 => with(
                self.random.condition(&[Code::Paddd_xmm_xmmm128, Code::Movss_xmm_xmmm32, Code::Movsd_xmm_xmmm64]),
                vector(x),
                vector(y),
            ),
            42 => with(Code::Movq_xmm_rm64, vector(x), wide(a)),
            43 => with(Code::Movq_rm64_xmm, wide(a), vector(x)),
            0..=2 => with(Code::Mov_rm64_r64, wide(a), wide(b)),
            3 | 4 => with(Code::Mov_rm32_r32, narrow(a), narrow(b)),
            5 | 6 => with(Code::Mov_rm32_r32, narrow(a), narrow(a)),
            7..=9 => with(Code::Mov_r64_rm64, wide(a), wide_word),
            10 | 11 => with(Code::Mov_rm64_r64, wide_word, wide(a)),
            12 => with(Code::Mov_r32_rm32, narrow(a), narrow_word),
            13 => with(Code::Mov_rm32_r32, narrow_word, narrow(a)),
            14 => {
                let code = self.random.condition(&[
                    Code::Add_rm32_r32,
                    Code::Sub_rm32_r32,
                    Code::And_rm32_r32,
                    Code::Or_rm32_r32,
                    Code::Xor_rm32_r32,
                ]);
                with(code, narrow(a), narrow(b))
            }
            15 => {
                let code = self.random.condition(&[
                    Code::Add_rm64_r64,
                    Code::Sub_rm64_r64,
                    Code::And_rm64_r64,
                    Code::Or_rm64_r64,
                    Code::Xor_rm64_r64,
                ]);
                with(code, wide(a), wide(b))
            }
            16 => {
                let code = self.random.condition(&[Code::Add_rm32_imm32, Code::Sub_rm32_imm32, Code::And_rm32_imm32, Code::Xor_rm32_imm32]);
                with(code, narrow(a), number)
            }
            17 => with(self.random.condition(&[Code::Add_rm64_imm32, Code::Sub_rm64_imm32, Code::And_rm64_imm32]), wide(a), number),
            18 => with(Code::Lea_r32_m, narrow(a), MemoryOperand::with_base_displ(wide(b), i64::from(number))),
            19 => with(Code::Lea_r64_m, wide(a), MemoryOperand::with_base_index(wide(b), wide(a))),
            20 => with(self.random.condition(&[Code::Shl_rm32_imm8, Code::Shr_rm32_imm8, Code::Sar_rm32_imm8]), narrow(a), number & 31),
            21 => with(Code::Mov_r32_imm32, narrow(a), number),
            22 | 23 => with(self.random.condition(&[Code::Cmp_rm32_r32, Code::Test_rm32_r32]), narrow(a), narrow(b)),
            24 => with(Code::Test_rm32_r32, narrow(a), narrow(a)),
            25 => with(Code::Test_rm64_r64, wide(a), wide(a)),
            26 => with(Code::Cmp_rm32_imm32, narrow(a), number),
            27 => with(Code::Imul_r32_rm32, narrow(a), narrow(b)),
            28 => with(Code::Cmovb_r32_rm32, narrow(a), narrow(b)),
            29 => match self.random.below(4) {
                0 => with(Code::Movsxd_r64_rm32, wide(a), narrow(b)),
                1 => with(Code::Shr_rm64_imm8, wide(a), number & 63),
                2 => with(Code::And_rm64_imm8, wide(a), i32::from(number as i8)),
                _ => with(Code::Popcnt_r64_rm64, wide(a), wide(b)),
            },
            // A byte, and what it becomes.
            30 => {
                let byte = Register::R8L;
                let set = self.random.condition(&[Code::Setb_rm8, Code::Sete_rm8, Code::Setg_rm8]);
                self.push(Instruction::with1(set, byte).unwrap());
                with(self.random.condition(&[Code::Movzx_r32_rm8, Code::Movsx_r32_rm8]), narrow(a), byte)
            }
            // Memory at an index.
            31 => {
                self.index(b);
                let memory = MemoryOperand::with_base_index_scale_displ_size(Register::RDI, wide(b), 1, i64::from(number & 0xff), 1);
                let (code, register) = self.random.condition(&[
                    (Code::Mov_r32_rm32, narrow(a)),
                    (Code::Mov_r64_rm64, wide(a)),
                    (Code::Movzx_r32_rm8, narrow(a)),
                    (Code::Movsx_r32_rm8, narrow(a)),
                    (Code::Movzx_r64_rm8, wide(a)),
                ]);
                self.push(with(code, register, memory));
                match self.random.below(4) {
                    0 => with(Code::Test_rm32_r32, narrow(a), narrow(a)),
                    1 => with(Code::Cmp_rm32_imm8, narrow(a), number & 0x7f),
                    2 => with(Code::Cmp_rm32_r32, narrow(a), narrow(b)),
                    _ => with(Code::Mov_rm32_r32, narrow(a), narrow(a)),
                }
            }
            32 => {
                self.index(b);
                let memory = MemoryOperand::with_base_index(Register::RDI, wide(b));
                with(Code::Mov_rm32_r32, memory, narrow(a))
            }
            _ => {
                self.push(with(Code::Mov_rm64_r64, Register::RAX, wide(b)));
                Instruction::with1(Code::Mul_rm64, wide(a)).unwrap()
            }
        };
        self.push(instruction);
    }

    /// Makes a register an index of the memory.
    fn index(&mut self, register: usize) {
        self.push(with(Code::And_rm32_imm32, narrow(register), 0x3f8));
    }

    fn body(&mut self, depth: usize) {
        for _ in 0..2 + self.random.below(5) {
            for _ in 0..self.random.below(7) {
                self.simple();
            }
            match self.random.below(if depth == 0 { 1 } else { 8 }) {
                // A branch over something.
                1 | 2 => {
                    let (other, end) = (self.label(), self.label());
                    let branch = self.any_branch();
                    self.branch(branch, other);
                    self.body(depth - 1);
                    self.branch(Code::Jmp_rel32_64, end);
                    self.place(other);
                    self.body(depth - 1);
                    self.place(end);
                }
                // A loop that ends in one of the ways of the code generator.
                3 | 4 => {
                    let (head, exit) = (self.label(), self.label());
                    let counter = MemoryOperand::with_base_displ(Register::RDI, COUNTERS + 8 * self.counters);
                    self.counters += 1;
                    self.push(with(Code::Mov_rm64_imm32, counter, 3));
                    self.place(head);
                    self.body(depth - 1);
                    let (a, b) = (self.random.register(), self.random.register());
                    self.push(with(Code::Lea_r32_m, narrow(a), MemoryOperand::with_base_displ(wide(b), 8)));
                    self.push(Instruction::with1(Code::Dec_rm64, counter).unwrap());
                    self.branch(Code::Je_rel32_64, exit);
                    if self.random.below(2) == 0 {
                        let number = self.random.next() as i32 & 0xff;
                        self.push(with(Code::Cmp_rm32_imm32, narrow(b), number));
                        let branch = self.any_branch();
                        self.branch(branch, exit);
                    }
                    if self.random.below(4) != 0 {
                        self.push(with(Code::Mov_rm64_r64, wide(b), wide(a)));
                    }
                    self.branch(Code::Jmp_rel32_64, head);
                    self.place(exit);
                }
                // A call of what clobbers all that it may.
                // Flags are nothing then.
                5 => {
                    self.push(Instruction::with1(Code::Call_rm64, MemoryOperand::with_base_displ(Register::RDI, -8)).unwrap());
                    self.push(with(Code::Cmp_rm32_r32, Register::EAX, Register::R12D));
                }
                _ => {}
            }
        }
    }
}

const SAVED_REGISTERS: [Register; 5] = [Register::RBX, Register::R12, Register::R13, Register::R14, Register::R15];

/// A random function, and its encoding.
fn random_function(seed: u64) -> Vec<u8> {
    let mut w = Writer { random: Random(seed | 1), code: Vec::new(), labels: 0, pending: None, counters: 0 };
    w.random.next();
    w.push(Instruction::with1(Code::Push_r64, Register::RBP).unwrap());
    w.push(with(Code::Mov_rm64_r64, Register::RBP, Register::RSP));
    w.push(with(Code::Sub_rm64_imm32, Register::RSP, FRAME));
    for (i, r) in SAVED_REGISTERS.into_iter().enumerate() {
        w.push(with(Code::Mov_rm64_r64, frame(SAVED + 8 * i as i64), r));
    }
    // Words that nobody has written are the same in both.
    w.push(with(Code::Mov_r32_imm32, Register::EAX, 5));
    for i in 0..6 {
        w.push(with(Code::Mov_rm64_r64, frame(WIDE_WORDS + 8 * i), Register::RAX));
    }
    for i in 0..4 {
        w.push(with(Code::Mov_rm32_r32, frame(NARROW_WORDS + 4 * i), Register::EAX));
    }
    for n in 0..VECTORS {
        w.push(with(Code::Movq_xmm_rm64, vector(n), wide(n)));
    }
    for n in 0..4 {
        w.push(with(Code::Movdqu_xmmm128_xmm, frame(VECTOR_WORDS + 16 * n), vector(1)));
    }
    w.push(with(Code::Cmp_rm32_r32, Register::ECX, Register::EDX));
    let depth = w.random.below(4);
    w.body(depth);
    // Values that are lost, and others that are not.
    for _ in 0..w.random.below(10) {
        let r = w.random.register();
        w.push(with(Code::Mov_r32_imm32, narrow(r), 7));
    }
    for n in 0..VECTORS {
        let memory = MemoryOperand::with_base_displ(Register::RDI, VECTOR_RESULTS + 16 * n as i64);
        w.push(with(Code::Movdqu_xmmm128_xmm, memory, vector(n)));
    }
    for (i, r) in SAVED_REGISTERS.into_iter().enumerate() {
        w.push(with(Code::Mov_r64_rm64, r, frame(SAVED + 8 * i as i64)));
    }
    w.push(with(Code::Add_rm64_imm32, Register::RSP, FRAME));
    w.push(with(Code::Mov_rm64_r64, Register::RSP, Register::RBP));
    w.push(Instruction::with1(Code::Pop_r64, Register::RBP).unwrap());
    w.push(Instruction::with(Code::Retnq));
    let options = BlockEncoderOptions::DONT_FIX_BRANCHES;
    BlockEncoder::encode(64, InstructionBlock::new(&w.code, 0), options).unwrap().code_buffer
}

/// What a callee does: all registers that it may change are others afterwards.
fn callee() -> Vec<u8> {
    let mut code: Vec<Instruction> = Vec::new();
    for n in (0..16).filter(|n| PRESERVED >> n & 1 == 0 && *n != RDI) {
        code.push(with(Code::Mov_rm64_imm32, wide(n), -(n as i32) - 1));
    }
    for n in 0..VECTORS {
        // Of what was written just now: what others hold is nobody's business.
        code.push(with(Code::Movq_xmm_rm64, vector(n), wide(8 + n)));
    }
    code.push(Instruction::with(Code::Retnq));
    BlockEncoder::encode(64, InstructionBlock::new(&code, 0), BlockEncoderOptions::NONE).unwrap().code_buffer
}

/// Memory for code.
struct Place(region::Allocation);

impl Place {
    fn new() -> Self {
        Self(region::alloc(1 << 20, region::Protection::READ_WRITE).unwrap())
    }

    /// Copies a callee and a function there, and gives their addresses.
    fn put(&mut self, callee: &[u8], code: &[u8]) -> (usize, usize) {
        let start = self.0.as_mut_ptr::<u8>();
        let length = self.0.len();
        assert!(code.len() + 256 <= length && callee.len() <= 256);
        // SAFETY: the allocation is this long, and nothing else refers to it.
        unsafe {
            region::protect(start, length, region::Protection::READ_WRITE).unwrap();
            std::ptr::copy_nonoverlapping(callee.as_ptr(), start, callee.len());
            std::ptr::copy_nonoverlapping(code.as_ptr(), start.add(256), code.len());
            region::protect(start, length, region::Protection::READ_EXECUTE).unwrap();
        }
        (start as usize, start as usize + 256)
    }
}

/// Runs a function with these registers (by number; rdi: the memory) and gives what they are afterwards.
fn run(code: usize, registers: &mut [u64; 16]) {
    // SAFETY: the function is one of `random_function`, which keeps to its frame and the memory and returns; whatever it changes is listed or
    // restored.
    unsafe {
        std::arch::asm!(
            "push rbp", "push rbx", "push rdi", "push rax",
            "mov rax, [rdi]", "mov rcx, [rdi+8]", "mov rdx, [rdi+16]", "mov rbx, [rdi+24]", "mov rsi, [rdi+48]",
            "mov r8, [rdi+64]", "mov r9, [rdi+72]", "mov r10, [rdi+80]", "mov r11, [rdi+88]",
            "mov r12, [rdi+96]", "mov r13, [rdi+104]", "mov r14, [rdi+112]", "mov r15, [rdi+120]",
            "mov rdi, [rdi+56]",
            "call [rsp]",
            "xchg rdi, [rsp+8]",
            "mov [rdi], rax", "mov [rdi+8], rcx", "mov [rdi+16], rdx", "mov [rdi+24], rbx", "mov [rdi+48], rsi",
            "mov [rdi+64], r8", "mov [rdi+72], r9", "mov [rdi+80], r10", "mov [rdi+88], r11",
            "mov [rdi+96], r12", "mov [rdi+104], r13", "mov [rdi+112], r14", "mov [rdi+120], r15",
            "pop rax", "pop rcx", "mov [rdi+56], rcx", "pop rbx", "pop rbp",
            inout("rax") code => _, inout("rdi") registers.as_mut_ptr() => _,
            out("rcx") _, out("rdx") _, out("rsi") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
        );
    }
}

fn listing(code: &[u8]) -> String {
    let mut text = String::new();
    for i in Decoder::with_ip(64, code, 0, DecoderOptions::NONE).iter() {
        text.push_str(&format!(
            "{:4x} {:?} {:?} {:?} {:#x}\n",
            i.ip(),
            i.code(),
            i.op0_register(),
            i.op1_register(),
            i.memory_displacement64()
        ));
    }
    text
}

#[test]
fn random_functions_do_the_same() {
    let functions = if cfg!(debug_assertions) { 6_000 } else { 60_000 };
    let (mut before_place, mut after_place) = (Place::new(), Place::new());
    let callee = callee();
    let (mut saved, mut total) = (0, 0);
    for seed in 1..=functions {
        let seed = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed);
        let before = random_function(seed);
        let all = Decoder::with_ip(64, &before, 0, DecoderOptions::NONE);
        let starts = all.into_iter().filter(|i| i.code() == Code::Jmp_rel32_64).map(|i| i.next_ip() as u32).collect();
        let (after, _) = rewrite_all(&Input { bytes: &before, starts, ..Input::default() }, true).expect("all of it is understood");
        total += before.len();
        saved += before.len() as i64 - after.len() as i64;
        let mut outcomes = Vec::new();
        for (place, code) in [(&mut before_place, &before), (&mut after_place, &after)] {
            let (callee, code) = place.put(&callee, code);
            let mut random = Random(seed);
            let mut memory: Vec<u64> = (0..MEMORY / 8 + 1).map(|_| random.next()).collect();
            memory[0] = callee as u64;
            let mut registers = [0; 16];
            for r in &mut registers {
                *r = random.next() >> (random.next() & 63);
            }
            registers[RDI] = memory.as_mut_ptr() as u64 + 8;
            run(code, &mut registers);
            registers[RDI] = 0;
            memory[0] = 0;
            outcomes.push((registers, memory));
        }
        assert!(outcomes[0] == outcomes[1], "seed {seed:#x}\n{}\nbecame\n{}", listing(&before), listing(&after));
    }
    assert!(saved as f64 > 0.05 * total as f64, "{saved} of {total} bytes are gone");
}
