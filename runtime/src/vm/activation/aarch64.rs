//! Entering and leaving wasm code on AArch64: everything that must be written in assembly. The structures' offsets come
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
        "stp x29, x30, [sp, #-176]!",
        ".cfi_def_cfa_offset 176",
        ".cfi_offset x29, -176",
        ".cfi_offset x30, -168",
        "mov x29, sp",
        ".cfi_def_cfa x29, 176",
        "stp x19, x20, [sp, #16]",
        "stp x21, x22, [sp, #32]",
        "stp x23, x24, [sp, #48]",
        "stp x25, x26, [sp, #64]",
        "stp x27, x28, [sp, #80]",
        "stp d8, d9, [sp, #96]",
        "stp d10, d11, [sp, #112]",
        "stp d12, d13, [sp, #128]",
        "stp d14, d15, [sp, #144]",
        "str x0, [sp, #160]",
        "ldr x21, [x0, #{fuel}]",
        "mov x9, sp",
        "str x9, [x0, #{sp}]",
        "str x29, [x0, #{fp}]",
        "ldr x10, [x0, #{stack}]",
        "cmp x10, #0",
        "csel x9, x9, x10, eq",
        "mov sp, x9",
        "mov x9, x1",
        "mov x0, x2",
        "mov x1, x3",
        "mov x2, x4",
        "blr x9",
        "mov sp, x29",
        "ldr x9, [sp, #160]",
        "str x21, [x9, #{fuel}]",
        "mov x0, #0",
        "ldp x19, x20, [sp, #16]",
        "ldp x21, x22, [sp, #32]",
        "ldp x23, x24, [sp, #48]",
        "ldp x25, x26, [sp, #64]",
        "ldp x27, x28, [sp, #80]",
        "ldp d8, d9, [sp, #96]",
        "ldp d10, d11, [sp, #112]",
        "ldp d12, d13, [sp, #128]",
        "ldp d14, d15, [sp, #144]",
        "ldp x29, x30, [sp], #176",
        ".cfi_def_cfa sp, 0",
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
        "ldr x9, [x0, #{sp}]",
        "mov sp, x9",
        "mov x0, x1",
        "ldp x19, x20, [sp, #16]",
        "ldp x21, x22, [sp, #32]",
        "ldp x23, x24, [sp, #48]",
        "ldp x25, x26, [sp, #64]",
        "ldp x27, x28, [sp, #80]",
        "ldp d8, d9, [sp, #96]",
        "ldp d10, d11, [sp, #112]",
        "ldp d12, d13, [sp, #128]",
        "ldp d14, d15, [sp, #144]",
        "ldp x29, x30, [sp], #176",
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
        "stp x29, x30, [sp, #-16]!",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset x29, -16",
        ".cfi_offset x30, -8",
        "mov x29, sp",
        ".cfi_def_cfa x29, 16",
        "mov sp, x0",
        "mov x0, x2",
        "blr x1",
        "mov sp, x29",
        "ldp x29, x30, [sp], #16",
        ".cfi_def_cfa sp, 0",
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
    naked_asm!("mov x29, x1", "mov sp, x2", "mov x9, x0", "mov x0, x3", "mov x1, x4", "mov x21, x5", "br x9")
}

/// The builtin `raise(store, status) -> !`: goes to `unwind::raise` on the store's stack for it, since there may be no
/// room left on the one it was called on, and since the frames there are still needed.
///
/// # Safety
/// To be called by stubs that have recorded the exit.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn raise() -> ! {
    naked_asm!(
        "ldr x9, [x0, #{store}]",
        "mov x10, #{raise_stack}",
        "ldr x9, [x9, x10]",
        "mov sp, x9",
        "bl {raise}",
        "udf #0",
        store = const offset_of!(wasmc_environ::vmlayout::VMStoreContext, store),
        raise_stack = const CONTEXT_RAISE_STACK,
        raise = sym crate::vm::unwind::raise,
    )
}

/// `code` of a function for whose type no exit stub was known: finds the stub, and jumps to it with the arguments
/// untouched. All argument registers of the Tail convention are saved: x2 to x7, of which x2 is the hidden parameter,
/// x8 (the area for results in memory) and eight vector ones.
///
/// # Safety
/// To be called by wasm code as the `code` of a `VMFuncRef`.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn lazy_exit() {
    naked_asm!(
        ".cfi_startproc",
        "ldr x9, [x2, #{exit_store}]",
        // For `raise`.
        "str x21, [x9, #{fuel}]",
        "ldr x10, [x9, #{limit}]",
        "mov x11, sp",
        "cmp x11, x10",
        "b.lo 3f",
        "stp x29, x30, [sp, #-16]!",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset x29, -16",
        ".cfi_offset x30, -8",
        "mov x29, sp",
        ".cfi_def_cfa x29, 16",
        "str x29, [x9, #{last_exit}]",
        "sub sp, sp, #192",
        "stp x2, x3, [sp]",
        "stp x4, x5, [sp, #16]",
        "stp x6, x7, [sp, #32]",
        "stp x8, x9, [sp, #48]",
        "stp q0, q1, [sp, #64]",
        "stp q2, q3, [sp, #96]",
        "stp q4, q5, [sp, #128]",
        "stp q6, q7, [sp, #160]",
        "mov x0, x2",
        "bl {resolve}",
        "cbz x0, 2f",
        "mov x9, x0",
        "ldp x2, x3, [sp]",
        "ldp x4, x5, [sp, #16]",
        "ldp x6, x7, [sp, #32]",
        "ldr x8, [sp, #48]",
        "ldp q0, q1, [sp, #64]",
        "ldp q2, q3, [sp, #96]",
        "ldp q4, q5, [sp, #128]",
        "ldp q6, q7, [sp, #160]",
        "mov sp, x29",
        "ldp x29, x30, [sp], #16",
        "br x9",
        // There is no such stub: `resolve` has left the error in the store.
        "2:",
        "ldr x0, [sp, #56]",
        "mov x1, #{trap}",
        "bl {raise}",
        "udf #0",
        // No room: a frame on the stack for `raise` takes the place of the one that cannot be pushed.
        "3:",
        "ldr x10, [x9, #{store}]",
        "mov x11, #{raise_stack}",
        "ldr x10, [x10, x11]",
        "stp x29, x30, [x10]",
        "str x10, [x9, #{last_exit}]",
        "mov sp, x10",
        "mov x0, x9",
        "mov x1, #{trap}",
        "bl {raise}",
        "udf #0",
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

/// Where the results do not fit registers, x8 has the address of their area and the hidden parameter stays in x2.
pub(crate) use lazy_exit as lazy_exit_area;
