//! Activations: each entry into wasm code, and each run of the interpreter, is linked into its store's list, innermost
//! first. Backtraces, roots and unwinding walk this list; the thread's innermost native one is where faults land.
//! The assembly is a file an architecture; this one is the same for all.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
use aarch64 as arch;
#[cfg(target_arch = "x86_64")]
use x86_64 as arch;

pub(crate) use arch::{land, lazy_exit, lazy_exit_area, raise, resume};

use super::interrupt::Inside;
use super::stack::Stack;
use super::{VmStore, backtrace, profile, signals};
use crate::Result;
use crate::fuel;
use crate::interp::InterpActivation;
use crate::store::StoreOpaque;
use anyhow::{Context as _, anyhow};
use core::cell::Cell;
use core::mem::{ManuallyDrop, MaybeUninit, offset_of};
use core::ptr::null_mut;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{Ordering, compiler_fence};
use wasmc_environ::vmlayout::*;

/// Distance from a `StoreOpaque` to the address of its stack for `raise`.
const CONTEXT_RAISE_STACK: usize = offset_of!(StoreOpaque, vm) + offset_of!(VmStore, raise_stack);

thread_local! {
    /// The thread's innermost native activation, of whatever store. Without a destructor, so that reading it in a signal
    /// handler is a plain load.
    static CURRENT: Cell<*mut Activation> = const { Cell::new(null_mut()) };
}

/// The thread's innermost native activation; null if there is none.
#[inline]
pub(crate) fn current() -> *mut Activation {
    CURRENT.get()
}

/// What an activation runs.
#[derive(Copy, Clone, Debug)]
pub(crate) enum ActivationKind {
    /// Native code, entered by `enter`.
    Native,
    /// The interpreter.
    Interp(*mut InterpActivation),
}

/// An entry into wasm code, or a run of the interpreter. Lives in the frame of the Rust function that made it.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Activation {
    /// Stack pointer in `enter`, behind the saved registers.
    sp: usize,
    /// Frame pointer in `enter`: where walks over frames end.
    pub(crate) fp: usize,
    /// Stack to switch to, or 0 to stay.
    stack: usize,
    /// The store's next outer activation.
    pub(crate) prev: *mut Self,
    /// The thread's next outer native activation, of whatever store.
    prev_of_thread: *mut Self,
    pub(crate) store: *mut StoreOpaque,
    /// The store's `last_exit_fp` before: where the next outer native activation was left.
    pub(crate) outer_exit_fp: usize,
    pub(crate) kind: ActivationKind,
    /// The pinned register: fuel that is left, where it matters (`docs/abi.md`).
    fuel: i64,
}

/// A run of the interpreter in its store's list; leaves it when dropped.
pub(crate) struct InterpLink<'a> {
    activation: &'a mut Activation,
    /// Dropped after the activation has left the list.
    _profiled: profile::Entered,
}

impl Activation {
    /// An activation for a run of the interpreter, to be linked with `link_interp`.
    ///
    /// # Safety
    /// `store` must be live.
    pub(crate) unsafe fn interp(store: *mut StoreOpaque, run: *mut InterpActivation) -> Self {
        let none = null_mut();
        Self {
            sp: 0,
            fp: 0,
            stack: 0,
            prev: none,
            prev_of_thread: none,
            store,
            outer_exit_fp: 0,
            kind: ActivationKind::Interp(run),
            fuel: 0,
        }
    }

    /// Puts an interpreter's activation at the head of its store's list until the result is dropped.
    ///
    /// # Safety
    /// The store and the `InterpActivation` must outlive the result, which must be dropped before whatever is linked
    /// before it.
    pub(crate) unsafe fn link_interp(&mut self) -> InterpLink<'_> {
        // SAFETY: the store is live (`interp`), and nobody else refers to its list now.
        unsafe {
            self.prev = (*self.store).vm.activations;
            // An interruption reads the head of the list: it is complete by then, and leaves before its frame does.
            compiler_fence(Ordering::SeqCst);
            (*self.store).vm.activations = self;
            compiler_fence(Ordering::SeqCst);
        }
        InterpLink { _profiled: profile::enter(self.store), activation: self }
    }
}

impl Drop for InterpLink<'_> {
    fn drop(&mut self) {
        // SAFETY: as in `link_interp`; this activation is the head again, since inner ones have left.
        unsafe { (*self.activation.store).vm.activations = self.activation.prev };
        compiler_fence(Ordering::SeqCst);
    }
}

/// The stack pointer, roughly: good enough to tell which stack it is on and how much of it is left.
#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: reads a register.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        core::arch::asm!("mov {}, rsp", out(reg) sp, options(nomem, nostack, preserves_flags));
        #[cfg(target_arch = "aarch64")]
        core::arch::asm!("mov {}, sp", out(reg) sp, options(nomem, nostack, preserves_flags));
    }
    sp
}

/// The stack to switch to for a run in this store: 0 if the thread is on it already.
///
/// # Safety
/// `store` must be live and belong to this thread.
#[inline]
unsafe fn stack_for_entry(store: *mut StoreOpaque) -> Result<usize> {
    // SAFETY: the store is live; only its stack is borrowed, and nothing changes it meanwhile.
    match unsafe { &(*store).vm.stack } {
        // Nobody is on it, this thread neither.
        // SAFETY: as above.
        Some(stack) if !unsafe { (*store).vm.stack_in_use } => Ok(stack.top()),
        Some(stack) if stack.usable().contains(&stack_pointer()) => Ok(0),
        // SAFETY: as above.
        _ => unsafe { prepare_stack(store) },
    }
}

/// The first entry in a store makes its stack; an entry that comes from another stack while this one is in use is an
/// error (a host function of another store has kept access to this one).
///
/// # Safety
/// As `stack_for_entry`.
#[cold]
unsafe fn prepare_stack(store: *mut StoreOpaque) -> Result<usize> {
    // SAFETY: the store is live and nothing else borrows its `vm` now.
    let vm = unsafe { &mut (*store).vm };
    if vm.stack_in_use {
        return Err(anyhow!("the store is entered again from the stack of another store"));
    }
    let stack = Stack::new(vm.stack_size).with_context(|| format!("cannot make a stack of {} bytes for wasm code", vm.stack_size))?;
    let top = stack.top();
    vm.context.host_stack_limit = stack.host_limit() as u64;
    vm.raise_stack = stack.raise_top();
    vm.captured.get_or_insert_default();
    vm.stack = Some(stack);
    Ok(top)
}

/// Enters native code: calls `entry(code, ctx, args)` on the store's stack. Returns `STATUS_OK`, `STATUS_TRAP` (the error
/// is `pending`) or `STATUS_EXCEPTION` (the exception is `context.pending_exn`).
///
/// # Safety
/// The store is live and not borrowed; `entry` is the entry stub for the type of `code`, `ctx` is its hidden parameter,
/// and `args` has the slots of that type, filled.
pub(crate) unsafe fn enter(store: *mut StoreOpaque, entry: *const u8, code: *const u8, ctx: *mut u8, args: *mut ValRaw) -> u64 {
    // SAFETY: the caller vouches for the store, the code and the arguments. The activation stays in this frame until it is
    // unlinked; nothing unwinds through here, since `enter` of the assembly returns in every case.
    unsafe {
        let prepared = signals::prepare_thread().and_then(|thread| {
            let stack = stack_for_entry(store)?;
            // On the stack already, the thread is in the store.
            let inside = if stack == 0 { None } else { Some(Inside::enter(store, thread)?) };
            Ok((stack, inside))
        });
        let (stack, inside) = match prepared {
            Ok(prepared) => prepared,
            Err(e) => return super::raise_error(store, e),
        };
        let vm = &raw mut (*store).vm;
        if stack == 0 && (stack_pointer() as u64) < (*vm).context.host_stack_limit {
            return super::raise_trap(store, (*vm).overflow_code());
        }
        let _profiled = profile::enter(store);
        let mut activation = Activation {
            sp: 0,
            fp: 0,
            stack,
            prev: (*vm).activations,
            prev_of_thread: CURRENT.get(),
            store,
            outer_exit_fp: (*vm).context.last_exit_fp as usize,
            kind: ActivationKind::Native,
            fuel: (*vm).context.meter.fuel,
        };
        let this = &raw mut activation;
        compiler_fence(Ordering::SeqCst);
        (*vm).activations = this;
        (*vm).context.last_exit_fp = 0;
        (*vm).stack_in_use = true;
        CURRENT.set(this);
        let place = fuel::switch(store, fuel::Place::Wasm);
        let status = arch::enter(this, entry, code, ctx, args);
        fuel::switch(store, place);
        if status == STATUS_OK {
            // Whoever ended the activation otherwise has brought it up to date.
            (*vm).context.meter.fuel = (*this).fuel;
        } else {
            // Code may have been ended before it knew where it was entered.
            (*vm).context.at_loop = 0;
        }
        CURRENT.set((*this).prev_of_thread);
        (*vm).stack_in_use = stack == 0;
        (*vm).activations = (*this).prev;
        compiler_fence(Ordering::SeqCst);
        (*vm).context.last_exit_fp = (*this).outer_exit_fp as u64;
        drop(inside);
        if status == STATUS_TRAP {
            let captured = &(*vm).captured;
            if captured.as_ref().is_some_and(|c| c.code.is_some()) {
                backtrace::finish_trap(store);
            }
        }
        status
    }
}

/// Runs `f` on the store's stack: switches to it if the thread is not on it yet. A panic of `f` goes on in the caller.
///
/// # Safety
/// The store is live and not borrowed.
pub(crate) unsafe fn on_store_stack<R>(store: *mut StoreOpaque, f: impl FnOnce() -> R) -> Result<R> {
    struct Call<F, R> {
        f: ManuallyDrop<F>,
        result: MaybeUninit<std::thread::Result<R>>,
    }
    unsafe extern "C" fn run<F: FnOnce() -> R, R>(data: *mut u8) {
        // SAFETY: `data` is the `Call` below, and `f` is taken this once.
        let call = unsafe { &mut *data.cast::<Call<F, R>>() };
        // SAFETY: as above.
        let f = unsafe { ManuallyDrop::take(&mut call.f) };
        call.result.write(catch_unwind(AssertUnwindSafe(f)));
    }
    fn address<F: FnOnce() -> R, R>(_: &Call<F, R>) -> unsafe extern "C" fn(*mut u8) {
        run::<F, R>
    }
    // SAFETY: the caller vouches for the store.
    let stack = unsafe { stack_for_entry(store)? };
    if stack == 0 {
        return Ok(f());
    }
    // SAFETY: the caller vouches for the store.
    let inside = unsafe { Inside::enter(store, signals::thread()?)? };
    let mut call = Call { f: ManuallyDrop::new(f), result: MaybeUninit::uninit() };
    let run = address(&call);
    // SAFETY: nobody is on the stack (`stack_in_use` was false); `run` fits the data and does not unwind. It has written
    // the result when it returns.
    let result = unsafe {
        (*store).vm.stack_in_use = true;
        arch::call_on(stack, run, (&raw mut call).cast());
        (*store).vm.stack_in_use = false;
        call.result.assume_init()
    };
    drop(inside);
    match result {
        Ok(r) => Ok(r),
        Err(payload) => resume_unwind(payload),
    }
}

/// The thread enters a store to call a host function, unless it is in there already.
///
/// # Errors
/// If the store was interrupted.
///
/// # Safety
/// `store` must be live as long as the result.
#[inline]
pub(crate) unsafe fn enter_host(store: *mut StoreOpaque) -> Result<Option<Inside>> {
    // SAFETY: the caller vouches for the store.
    unsafe { if (*store).vm.stack_in_use { Ok(None) } else { Inside::enter(store, signals::thread()?).map(Some) } }
}

/// Whether the thread is on the store's stack with less than the host's reserve left.
///
/// # Safety
/// `store` must be live.
#[inline]
pub(crate) unsafe fn stack_is_exhausted(store: *mut StoreOpaque) -> bool {
    // SAFETY: the caller vouches for the store; nothing changes its stack meanwhile.
    let vm = unsafe { &(*store).vm };
    let sp = stack_pointer();
    (sp as u64) < vm.context.host_stack_limit && vm.stack.as_ref().is_some_and(|s| s.usable().contains(&sp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assembly_calls_on_another_stack() {
        unsafe extern "C" fn note(data: *mut u8) {
            // SAFETY: the test passes the address of a `usize`.
            unsafe { data.cast::<usize>().write(stack_pointer()) };
        }
        let stack = Stack::new(1 << 20).unwrap();
        let mut seen = 0usize;
        // SAFETY: the stack is fresh, and `note` does not unwind.
        unsafe { arch::call_on(stack.top(), note, (&raw mut seen).cast()) };
        // A function without a frame is at the very top.
        assert!(stack.usable().contains(&(seen - 1)));
        assert!(!stack.usable().contains(&stack_pointer()));
    }

    #[test]
    fn landing_restores_what_enter_saved() {
        // An entry "stub" that lands instead of returning: it takes (code, ctx, args), and ctx is the activation.
        unsafe extern "C" fn stub(_code: *const u8, ctx: *mut u8, args: *mut ValRaw) {
            // SAFETY: the test passes its activation.
            unsafe {
                if !args.is_null() {
                    land(ctx.cast(), 77)
                }
            }
        }
        let stack = Stack::new(1 << 20).unwrap();
        let none = null_mut();
        let mut activation = Activation {
            sp: 0,
            fp: 0,
            stack: stack.top(),
            prev: none,
            prev_of_thread: none,
            store: null_mut(),
            outer_exit_fp: 0,
            kind: ActivationKind::Native,
            fuel: 5,
        };
        let this = &raw mut activation;
        let mut sum = 0u64;
        for i in 0..10u64 {
            let mut slot = ValRaw::default();
            let args = if i % 2 == 0 { null_mut() } else { &raw mut slot };
            // SAFETY: the stub fits its arguments; it lands in this activation.
            sum += i * 1000 + unsafe { arch::enter(this, stub as *const u8, core::ptr::null(), this.cast(), args) };
        }
        assert_eq!(sum, 45_000 + 5 * 77);
    }
}
