//! How one instruction leads to the next. The interpreter's state lives in the argument registers of the handlers, and
//! a handler ends by calling the handler of the next instruction with that state. An optimised build makes this call a
//! jump (every handler has the same signature, and none keeps anything on its native frame at that point); stable Rust
//! does not promise it, so the same handlers can also return to a loop after every instruction (see `build.rs`).
//!
//! An instruction is a row of 64-bit words: the handler's address, a word of four 16-bit fields, then what else it
//! needs. Registers are 64-bit slots of the value stack, numbered from the frame's `sp` by signed 16-bit fields. The
//! last result of each class (integer or reference, f64, f32) is also in an accumulator, which lives in a machine
//! register: an instruction that uses the result of the one before it neither stores nor loads it.

use super::frame::Cx;
use wasmc_environ::TrapCode;

#[cfg(target_endian = "big")]
compile_error!("the interpreter's instruction words are little endian");

/// Address of an instruction.
pub(super) type Ip = *const u64;
/// Slot 0 of a frame.
pub(super) type Sp = *mut u64;

/// What executes an instruction. The result is one of the `EXIT_` codes.
pub(super) type Handler = unsafe extern "C" fn(Ip, Sp, *mut u8, usize, *mut Cx, u64, f64, f32) -> u64;

/// Go on at `Cx::regs`: every handler returns it in the loop, and `bounce` in any case.
pub(super) const EXIT_CONTINUE: u64 = 0;
/// The base frame returned.
pub(super) const EXIT_DONE: u64 = 1;
/// A trap: `Cx::trap`.
pub(super) const EXIT_TRAP: u64 = 2;
/// A status of `vmlayout` other than OK, which the caller of the run gets: `Cx::status`.
pub(super) const EXIT_STATUS: u64 = 3;

/// The state of a run between two instructions.
#[derive(Copy, Clone)]
pub(super) struct Regs {
    /// The current instruction.
    pub ip: Ip,
    /// The current frame.
    pub sp: Sp,
    /// First byte of memory 0.
    pub mem: *mut u8,
    /// Size of memory 0 in bytes.
    pub len: usize,
    /// Everything else.
    pub cx: *mut Cx,
    /// Accumulator of integers (an i32 is zero-extended) and references.
    pub acc: u64,
    /// Accumulator of f64.
    pub fd: f64,
    /// Accumulator of f32.
    pub fs: f32,
}

/// Defines handlers: `op! { name[generic parameters] |r| { body } }`. The body ends in one of the macros below.
macro_rules! op {
    ($($(#[$m:meta])* $name:ident [$($g:tt)*] |$r:ident| $body:block)*) => {$(
        $(#[$m])*
        #[allow(unused_mut, unused_unsafe, reason = "some bodies change no state, or do nothing that is unsafe")]
        pub(super) unsafe extern "C" fn $name<$($g)*>(
            ip: $crate::interp::dispatch::Ip,
            sp: $crate::interp::dispatch::Sp,
            mem: *mut u8,
            len: usize,
            cx: *mut $crate::interp::frame::Cx,
            acc: u64,
            fd: f64,
            fs: f32,
        ) -> u64 {
            let mut $r = $crate::interp::dispatch::Regs { ip, sp, mem, len, cx, acc, fd, fs };
            // SAFETY: the translator made the instruction at `ip` for this handler from a validated body: fields name
            // slots of the frame at `sp`, which was checked to lie within the value stack, and the instruction that
            // follows is complete. `mem`, `len` and `cx` are kept by the handlers as `Regs` says.
            unsafe { $body }
        }
    )*};
}
pub(super) use op;

/// Goes on at `r.ip`.
#[cfg(interp_threaded)]
#[inline(always)]
pub(super) unsafe fn go(r: Regs) -> u64 {
    // SAFETY: the first word of every instruction is the address of a handler.
    unsafe {
        let handler = core::mem::transmute::<u64, Handler>(*r.ip);
        handler(r.ip, r.sp, r.mem, r.len, r.cx, r.acc, r.fd, r.fs)
    }
}

/// Goes on at `r.ip`.
#[cfg(not(interp_threaded))]
#[inline(always)]
pub(super) unsafe fn go(r: Regs) -> u64 {
    // SAFETY: as below.
    unsafe { pause(r) }
}

/// Returns to `execute`, which goes on at `r.ip`.
#[inline(always)]
pub(super) unsafe fn pause(r: Regs) -> u64 {
    // SAFETY: `cx` is valid during the run.
    unsafe { (*r.cx).regs = r };
    EXIT_CONTINUE
}

/// Runs from `r` until the base frame returns or the run ends otherwise.
///
/// # Safety
/// `r` describes an instruction of translated code and a frame set up for it.
#[inline(never)]
pub(super) unsafe fn execute(r: Regs) -> u64 {
    let cx = r.cx;
    let mut r = r;
    loop {
        // SAFETY: the caller's; a handler that returns `EXIT_CONTINUE` leaves such registers behind.
        unsafe {
            let handler = core::mem::transmute::<u64, Handler>(*r.ip);
            let exit = handler(r.ip, r.sp, r.mem, r.len, r.cx, r.acc, r.fd, r.fs);
            if exit != EXIT_CONTINUE {
                return exit;
            }
            r = (*cx).regs;
        }
    }
}

/// Goes on with the instruction `$words` words further.
macro_rules! next {
    ($r:ident, $words:expr) => {{
        $r.ip = $r.ip.add($words);
        return $crate::interp::dispatch::go($r);
    }};
}
pub(super) use next;

/// Goes on at the branch target in the upper half of word 1, which is relative to that word.
macro_rules! jump {
    ($r:ident) => {{
        let relative = *($r.ip as *const i32).add(3) as isize;
        $r.ip = $r.ip.add(1).offset(relative);
        return $crate::interp::dispatch::go($r);
    }};
}
pub(super) use jump;

/// Goes on at the branch target, which lies behind the instruction if `$back`. Only such branches (and calls) can be repeated for
/// ever, so they see whether the run was interrupted: no frame is below the limit then.
macro_rules! branch {
    ($r:ident, $back:expr) => {{
        if $back && $r.sp > (*$r.cx).limit {
            $crate::interp::dispatch::trap!($r, TrapCode::Interrupt)
        }
        $crate::interp::dispatch::jump!($r)
    }};
}
pub(super) use branch;

/// Ends the run with a trap.
macro_rules! trap {
    ($r:ident, $code:expr) => {
        return $crate::interp::dispatch::raise($r.cx, $r.ip, $r.sp, $code)
    };
}
pub(super) use trap;

/// Out of line, and `extern "C"` so that it cannot unwind: handlers then end in a jump to it and have no native frame.
#[cold]
#[inline(never)]
pub(super) unsafe extern "C" fn raise(cx: *mut Cx, ip: Ip, sp: Sp, code: TrapCode) -> u64 {
    // SAFETY: `cx` is valid during the run.
    unsafe {
        (*cx).leave(ip, sp);
        (*cx).trap = code;
    }
    EXIT_TRAP
}

/// A 16-bit field of word 1.
#[inline(always)]
pub(super) unsafe fn field<const F: usize>(r: &Regs) -> isize {
    // SAFETY: word 1 exists in every instruction that has fields.
    unsafe { *(r.ip as *const i16).add(4 + F) as isize }
}

/// The slot that a field names.
#[inline(always)]
pub(super) unsafe fn slot<const F: usize>(r: &Regs) -> *mut u64 {
    // SAFETY: fields name slots of the frame.
    unsafe { r.sp.offset(field::<F>(r)) }
}

/// The upper half of word 1.
#[inline(always)]
pub(super) unsafe fn high(r: &Regs) -> u32 {
    // SAFETY: as `field`.
    unsafe { *(r.ip as *const u32).add(3) }
}

/// The lower half of word 1.
#[inline(always)]
pub(super) unsafe fn low(r: &Regs) -> u32 {
    // SAFETY: as `field`.
    unsafe { *(r.ip as *const u32).add(2) }
}

/// Word `W` of the instruction.
#[inline(always)]
pub(super) unsafe fn word<const W: usize>(r: &Regs) -> u64 {
    // SAFETY: the handler's instruction is that long.
    unsafe { *r.ip.add(W) }
}

/// A type of value with an accumulator.
pub(super) trait Val: Copy {
    /// Length of an instruction with an immediate of this type: a 32-bit one lies in word 1, a 64-bit one in word 2.
    const IMM_WORDS: usize;
    unsafe fn load(p: *const u64) -> Self;
    unsafe fn store(p: *mut u64, v: Self);
    fn acc(r: &Regs) -> Self;
    fn set_acc(r: &mut Regs, v: Self);
    fn from_bits(bits: u64) -> Self;
    unsafe fn imm(r: &Regs) -> Self;
}

macro_rules! vals {
    ($($ty:ident $imm_words:literal $acc:ident |$v:ident| $from:expr, |$w:ident| $to:expr, |$b:ident| $bits:expr, $imm:expr, $cell:ty, |$c:ident| $store:expr;)*) => {$(
        impl Val for $ty {
            const IMM_WORDS: usize = $imm_words;
            #[inline(always)]
            unsafe fn load(p: *const u64) -> Self {
                // SAFETY: `p` is a slot.
                unsafe { *p.cast::<$ty>() }
            }
            #[inline(always)]
            unsafe fn store(p: *mut u64, $c: Self) {
                // SAFETY: `p` is a slot.
                unsafe { *p.cast::<$cell>() = $store }
            }
            #[inline(always)]
            fn acc(r: &Regs) -> Self {
                let $v = r.$acc;
                $from
            }
            #[inline(always)]
            fn set_acc(r: &mut Regs, $w: Self) {
                r.$acc = $to;
            }
            #[inline(always)]
            fn from_bits($b: u64) -> Self {
                $bits
            }
            #[inline(always)]
            unsafe fn imm(r: &Regs) -> Self {
                let fetch: unsafe fn(&Regs) -> u64 = $imm;
                // SAFETY: the instruction has an immediate of this type.
                let $b = unsafe { fetch(r) };
                $bits
            }
        }
    )*};
}

#[inline(always)]
unsafe fn imm_high(r: &Regs) -> u64 {
    // SAFETY: as `field`.
    unsafe { high(r) as u64 }
}

vals! {
    u32 2 acc |v| v as u32, |w| w as u64, |b| b as u32, imm_high, u64, |c| c as u64;
    u64 3 acc |v| v, |w| w, |b| b, word::<2>, u64, |c| c;
    f32 2 fs |v| v, |w| w, |b| f32::from_bits(b as u32), imm_high, f32, |c| c;
    f64 3 fd |v| v, |w| w, |b| f64::from_bits(b), word::<2>, f64, |c| c;
}

/// Where an operand comes from.
pub(super) trait Src<T: Val> {
    /// Least length of an instruction with this operand.
    const WORDS: usize;
    unsafe fn get(r: &Regs) -> T;
}

/// The slot named by field `F`.
pub(super) struct S<const F: usize>;
/// The accumulator.
pub(super) struct A;
/// The immediate (see `Val::IMM_WORDS`).
pub(super) struct I;
/// Word 2.
pub(super) struct W;

impl<T: Val, const F: usize> Src<T> for S<F> {
    const WORDS: usize = 2;
    #[inline(always)]
    unsafe fn get(r: &Regs) -> T {
        // SAFETY: the field names a slot with a value of this type.
        unsafe { T::load(slot::<F>(r)) }
    }
}

impl<T: Val> Src<T> for A {
    const WORDS: usize = 2;
    #[inline(always)]
    unsafe fn get(r: &Regs) -> T {
        T::acc(r)
    }
}

impl<T: Val> Src<T> for I {
    const WORDS: usize = T::IMM_WORDS;
    #[inline(always)]
    unsafe fn get(r: &Regs) -> T {
        // SAFETY: the instruction has an immediate of this type.
        unsafe { T::imm(r) }
    }
}

impl<T: Val> Src<T> for W {
    const WORDS: usize = 3;
    #[inline(always)]
    unsafe fn get(r: &Regs) -> T {
        // SAFETY: the instruction has a word 2.
        T::from_bits(unsafe { word::<2>(r) })
    }
}

/// Where a result goes: always to the accumulator, and perhaps to the slot in field 0.
pub(super) trait Dst {
    unsafe fn put<T: Val>(r: &mut Regs, v: T);
}

/// Only the accumulator.
pub(super) struct ToAcc;
/// The accumulator and the slot in field 0.
pub(super) struct ToSlot;

/// Only the slot in field 0: for what must not disturb an accumulator.
pub(super) struct Quiet;

impl Dst for Quiet {
    #[inline(always)]
    unsafe fn put<T: Val>(r: &mut Regs, v: T) {
        // SAFETY: field 0 names a slot of the frame.
        unsafe { T::store(slot::<0>(r), v) };
    }
}

impl Dst for ToAcc {
    #[inline(always)]
    unsafe fn put<T: Val>(r: &mut Regs, v: T) {
        T::set_acc(r, v);
    }
}

impl Dst for ToSlot {
    #[inline(always)]
    unsafe fn put<T: Val>(r: &mut Regs, v: T) {
        // SAFETY: field 0 names a slot of the frame.
        unsafe { T::store(slot::<0>(r), v) };
        T::set_acc(r, v);
    }
}

/// The longer of two instruction lengths.
pub(super) const fn longer(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

/// Both forms of a handler: [only to the accumulator, to the slot as well].
pub(super) type Forms = [Handler; 2];

/// A handler's address as an instruction's first word.
pub(super) fn address(h: Handler) -> u64 {
    h as usize as u64
}
