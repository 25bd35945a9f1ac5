//! Entering and leaving wasm code on x86-64: everything that must be written in assembly. The structures' offsets come
//! from `offset_of!`; `docs/abi.md` says who calls what with which registers.

use super::{Activation, CONTEXT_RAISE_STACK};
use core::arch::naked_asm;
use core::mem::offset_of;
use wasmc_environ::vmlayout::{STATUS_TRAP, ValRaw, offsets};

/// Calls an entry stub with `(code, ctx, args)`, on the activation's stack if it names one. Returns `STATUS_OK`, or what
/// `land` was given.
///
/// The pinned register is loaded from the activation, and what it is in the end is stored there.
///
/// The frame pointer chain leads from the stub's frame to this one, whose address is `Activation::fp`.
///
/// # Safety
/// The stub, its code, context and arguments must fit each other, and the stack must have room.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn enter(_: *mut Activation, _stub: *const u8, _code: *const u8, _ctx: *mut u8, _args: *mut ValRaw) -> u64 {
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa rsp, 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "push rbx",
        ".cfi_offset rbx, -24",
        "push r12",
        ".cfi_offset r12, -32",
        "push r13",
        ".cfi_offset r13, -40",
        "push r14",
        ".cfi_offset r14, -48",
        "push r15",
        ".cfi_offset r15, -56",
        // The activation, also to align the stack.
        "push rdi",
        "mov [rdi + {sp}], rsp",
        "mov [rdi + {fp}], rbp",
        "mov rax, [rdi + {stack}]",
        "test rax, rax",
        "cmovnz rsp, rax",
        "mov r15, [rdi + {fuel}]",
        "mov rax, rsi",
        "mov rdi, rdx",
        "mov rsi, rcx",
        "mov rdx, r8",
        "call rax",
        "mov rcx, [rbp - 48]",
        "mov [rcx + {fuel}], r15",
        "xor eax, eax",
        "lea rsp, [rbp - 40]",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
        sp = const offset_of!(Activation, sp),
        fp = const offset_of!(Activation, fp),
        stack = const offset_of!(Activation, stack),
        fuel = const offset_of!(Activation, fuel),
    )
}

/// The landing pad: leaves the `enter` of this activation with this status, whatever frames are below it.
///
/// # Safety
/// The activation must be the thread's innermost, and all frames below its `enter` must be wasm code and stubs.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn land(_: *mut Activation, _status: u64) -> ! {
    naked_asm!(
        "mov rax, rsi",
        "mov rsp, [rdi + {sp}]",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        sp = const offset_of!(Activation, sp),
    )
}

/// Calls `f(data)` on the stack that begins at `stack`. `f` must not unwind.
///
/// # Safety
/// The stack must be a mapped one that nobody uses, aligned to 16 bytes.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn call_on(_stack: usize, _f: unsafe extern "C" fn(*mut u8), _data: *mut u8) {
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa rsp, 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "mov rsp, rdi",
        "mov rdi, rdx",
        "call rsi",
        "mov rsp, rbp",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
    )
}

/// Goes on at an exception handler: code, frame pointer, stack pointer, the two payload values of the Tail convention, and the
/// pinned register.
///
/// # Safety
/// The values must come from a `HandlerRecord` for a frame of the innermost activation.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn resume(_pc: usize, _fp: usize, _sp: usize, _payload0: u64, _payload1: u64, _fuel: i64) -> ! {
    naked_asm!("mov rbp, rsi", "mov rsp, rdx", "mov rax, rcx", "mov rdx, r8", "mov r15, r9", "jmp rdi")
}

/// The builtin `raise(store, status) -> !`: goes to `unwind::raise` on the store's stack for it, since there may be no
/// room left on the one it was called on, and since the frames there are still needed.
///
/// # Safety
/// To be called by stubs that have recorded the exit.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn raise() -> ! {
    naked_asm!(
        "mov rax, [rdi + {store}]",
        "mov rsp, [rax + {raise_stack}]",
        "call {raise}",
        "ud2",
        store = const offset_of!(wasmc_environ::vmlayout::VMStoreContext, store),
        raise_stack = const CONTEXT_RAISE_STACK,
        raise = sym crate::vm::unwind::raise,
    )
}

/// `code` of a function for whose type no exit stub was known: finds the stub, and jumps to it with the arguments
/// untouched. All argument registers of the Tail convention are saved: six integer ones and eight vector ones.
///
/// `$ctx` is the register of the hidden parameter: the second one if the results need an area in memory, whose
/// address then comes first.
macro_rules! lazy_exit {
    ($(#[$doc:meta])* $name:ident, $ctx:literal) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// To be called by wasm code as the `code` of a `VMFuncRef`.
        #[unsafe(naked)]
        pub(crate) unsafe extern "C" fn $name() {
            naked_asm!(
                ".cfi_startproc",
                concat!("mov rax, [", $ctx, " + {exit_store}]"),
                // For `raise`.
                "mov [rax + {fuel}], r15",
                "cmp rsp, [rax + {limit}]",
                "jb 3f",
                "push rbp",
                ".cfi_def_cfa rsp, 16",
                ".cfi_offset rbp, -16",
                "mov rbp, rsp",
                ".cfi_def_cfa_register rbp",
                "mov [rax + {last_exit}], rbp",
                "sub rsp, 192",
                "mov [rsp], rdi",
                "mov [rsp + 8], rsi",
                "mov [rsp + 16], rdx",
                "mov [rsp + 24], rcx",
                "mov [rsp + 32], r8",
                "mov [rsp + 40], r9",
                "mov [rsp + 48], rax",
                "movups [rsp + 64], xmm0",
                "movups [rsp + 80], xmm1",
                "movups [rsp + 96], xmm2",
                "movups [rsp + 112], xmm3",
                "movups [rsp + 128], xmm4",
                "movups [rsp + 144], xmm5",
                "movups [rsp + 160], xmm6",
                "movups [rsp + 176], xmm7",
                concat!("mov rdi, ", $ctx),
                "call {resolve}",
                "test rax, rax",
                "jz 2f",
                "mov rdi, [rsp]",
                "mov rsi, [rsp + 8]",
                "mov rdx, [rsp + 16]",
                "mov rcx, [rsp + 24]",
                "mov r8, [rsp + 32]",
                "mov r9, [rsp + 40]",
                "movups xmm0, [rsp + 64]",
                "movups xmm1, [rsp + 80]",
                "movups xmm2, [rsp + 96]",
                "movups xmm3, [rsp + 112]",
                "movups xmm4, [rsp + 128]",
                "movups xmm5, [rsp + 144]",
                "movups xmm6, [rsp + 160]",
                "movups xmm7, [rsp + 176]",
                "mov rsp, rbp",
                "pop rbp",
                ".cfi_def_cfa rsp, 8",
                ".cfi_remember_state",
                "jmp rax",
                // There is no such stub: `resolve` has left the error in the store.
                ".cfi_restore_state",
                "2:",
                "mov rdi, [rsp + 48]",
                "mov esi, {trap}",
                "call {raise}",
                "ud2",
                // No room: a frame on the stack for `raise` takes the place of the one that cannot be pushed.
                "3:",
                "mov rdx, [rax + {store}]",
                "mov rdx, [rdx + {raise_stack}]",
                "mov [rdx], rbp",
                "mov rcx, [rsp]",
                "mov [rdx + 8], rcx",
                "mov [rax + {last_exit}], rdx",
                "mov rsp, rdx",
                "mov rdi, rax",
                "mov esi, {trap}",
                "call {raise}",
                "ud2",
                ".cfi_endproc",
                exit_store = const offsets::EXIT_STORE,
                limit = const offsets::STORE_HOST_STACK_LIMIT,
                fuel = const offsets::STORE_FUEL,
                last_exit = const offsets::STORE_LAST_EXIT_FP,
                store = const offset_of!(wasmc_environ::vmlayout::VMStoreContext, store),
                raise_stack = const CONTEXT_RAISE_STACK,
                trap = const STATUS_TRAP,
                resolve = sym crate::vm::lazy::resolve,
                raise = sym raise,
            )
        }
    };
}

lazy_exit! {
    /// For types whose results fit registers.
    lazy_exit, "rdi"
}
lazy_exit! {
    /// For types whose results do not fit registers.
    lazy_exit_area, "rsi"
}
