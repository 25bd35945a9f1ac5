//! Signal handlers, installed once for the process, and the alternate stack of each thread that runs wasm code.
//! A signal that is not ours goes to whatever handler was there before, exactly as the kernel would have called it.

use super::threads::{self, ThreadSlot};
use super::{interrupt, traphandlers};
use crate::Result;
use anyhow::{anyhow, ensure};
use core::cell::Cell;
use core::mem::{MaybeUninit, zeroed};
use core::ptr::null_mut;
use libc::{c_int, c_void, siginfo_t};
use std::io::Error as IoError;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

/// The signals that wasm code can cause.
const SIGNALS: [c_int; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];
/// Stack for the handlers beyond what the kernel needs to save registers: ours take little, those that they call may not.
const HANDLER_STACK: usize = 64 << 10;
/// `AT_MINSIGSTKSZ` of `getauxval`.
const AT_MINSIGSTKSZ: libc::c_ulong = 51;

/// The signal that interrupts is this many below the last real-time signal, unless it is configured: no kernel, C library,
/// language runtime, profiler or debugger known to us uses it, valgrind takes the last one, and most programs count from the first.
const INTERRUPT_BELOW_LAST: c_int = 5;

/// What was installed before us, by the position in `SIGNALS`.
static PREVIOUS: OnceLock<std::result::Result<[libc::sigaction; SIGNALS.len()], i32>> = OnceLock::new();
/// The signal that interrupts: one for the process, from the first use on.
static INTERRUPT: OnceLock<c_int> = OnceLock::new();
/// What was installed before us for that one.
static PREVIOUS_INTERRUPT: OnceLock<std::result::Result<libc::sigaction, i32>> = OnceLock::new();

thread_local! {
    /// Freed when the thread ends.
    static ALTERNATE: Cell<Option<AlternateStack>> = const { Cell::new(None) };
}

/// Makes sure that this thread can be interrupted.
///
/// # Errors
/// If the thread is about to end.
#[inline]
pub(crate) fn thread() -> Result<&'static ThreadSlot> {
    match threads::present() {
        Some(slot) => Ok(slot),
        None => {
            super::fork::prepare();
            threads::make(interrupt_signal())
        }
    }
}

/// Makes sure that this thread can take faults of wasm code and be interrupted.
///
/// # Errors
/// If the handlers or the alternate stack cannot be installed, or the thread is about to end.
#[inline]
pub(crate) fn prepare_thread() -> Result<&'static ThreadSlot> {
    match threads::present() {
        Some(slot) if slot.takes_faults.load(Ordering::Relaxed) => Ok(slot),
        _ => prepare_thread_slow(),
    }
}

#[cold]
fn prepare_thread_slow() -> Result<&'static ThreadSlot> {
    let slot = thread()?;
    if let Err(errno) = PREVIOUS.get_or_init(install) {
        return Err(anyhow!("cannot install signal handlers: {}", IoError::from_raw_os_error(*errno)));
    }
    let alternate = AlternateStack::install().map_err(|e| anyhow!("cannot install an alternate signal stack: {e}"))?;
    ALTERNATE.try_with(|a| a.set(alternate)).map_err(|_| anyhow!("WebAssembly cannot be called by a thread that is ending"))?;
    slot.takes_faults.store(true, Ordering::Relaxed);
    Ok(slot)
}

/// The signal that interrupts.
pub(crate) fn interrupt_signal() -> c_int {
    *INTERRUPT.get_or_init(|| libc::SIGRTMAX() - INTERRUPT_BELOW_LAST)
}

/// Chooses the signal that interrupts.
///
/// # Errors
/// If it is none that can be caught, or faults use it, or the process uses another one already.
pub(crate) fn choose_interrupt_signal(signal: c_int) -> Result<()> {
    let usable =
        (1..=libc::SIGRTMAX()).contains(&signal) && ![libc::SIGKILL, libc::SIGSTOP].contains(&signal) && !SIGNALS.contains(&signal);
    ensure!(usable, "signal {signal} cannot be used to interrupt: it cannot be caught, or WebAssembly's traps need it");
    let used = *INTERRUPT.get_or_init(|| signal);
    ensure!(used == signal, "signal {signal} cannot be used to interrupt: this process uses signal {used} for that already");
    Ok(())
}

/// Makes sure that the signal that interrupts is handled.
///
/// # Errors
/// If the handler cannot be installed.
pub(crate) fn prepare_interrupts() -> Result<()> {
    let installed = PREVIOUS_INTERRUPT.get_or_init(|| {
        // System calls shall end, so there is no SA_RESTART.
        // SAFETY: the handler is async-signal-safe.
        unsafe { set_handler(interrupt_signal(), interrupt_handler as *const () as usize, 0) }
    });
    match installed {
        Ok(_) => Ok(()),
        Err(errno) => Err(anyhow!("cannot install a handler for signal {}: {}", interrupt_signal(), IoError::from_raw_os_error(*errno))),
    }
}

/// Runs a function while this thread takes no signals: a thread that it starts never will.
pub(crate) fn without_signals<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: only this thread's mask changes, and it is put back.
    unsafe {
        let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
        let result = f();
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), null_mut());
        result
    }
}

/// Installs a handler on the alternate stack, during which the signal that interrupts is blocked; returns what was there before.
///
/// # Safety
/// The handler takes three arguments and is async-signal-safe.
unsafe fn set_handler(signal: c_int, handler: usize, flags: c_int) -> std::result::Result<libc::sigaction, i32> {
    // SAFETY: `sigaction` is plain data for which all zero is a value; both structures are live.
    unsafe {
        let (mut new, mut previous): (libc::sigaction, libc::sigaction) = (zeroed(), zeroed());
        new.sa_sigaction = handler;
        new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | flags;
        libc::sigemptyset(&raw mut new.sa_mask);
        // An interruption in the middle of a trap would see what that is about to change.
        libc::sigaddset(&raw mut new.sa_mask, interrupt_signal());
        match libc::sigaction(signal, &raw const new, &raw mut previous) {
            0 => Ok(previous),
            _ => Err(IoError::last_os_error().raw_os_error().unwrap_or(0)),
        }
    }
}

fn install() -> std::result::Result<[libc::sigaction; SIGNALS.len()], i32> {
    // SAFETY: `sigaction` is plain data for which all zero is a value.
    let mut previous: [libc::sigaction; SIGNALS.len()] = unsafe { zeroed() };
    for (signal, previous) in SIGNALS.into_iter().zip(&mut previous) {
        // SA_NODEFER is left out: a fault in the handler itself shall end the process instead of recursing.
        // SAFETY: the handler is async-signal-safe.
        *previous = unsafe { set_handler(signal, handler as *const () as usize, libc::SA_RESTART)? };
    }
    Ok(previous)
}

unsafe extern "C" fn handler(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // `errno` belongs to the interrupted code.
    // SAFETY: the location is the thread's own.
    let errno = unsafe { *libc::__errno_location() };
    // SAFETY: the kernel passes valid structures.
    if !unsafe { traphandlers::handle_fault(signal, info, context) } {
        // SAFETY: as above.
        unsafe { chain(signal, info, context) };
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

unsafe extern "C" fn interrupt_handler(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: as in `handler`.
    unsafe {
        let errno = *libc::__errno_location();
        if interrupt::is_ours(info) {
            interrupt::handle(context);
        } else {
            chain(signal, info, context);
        }
        *libc::__errno_location() = errno;
    }
}

/// Does what the previous action would have done.
unsafe fn chain(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let previous = match (PREVIOUS.get(), SIGNALS.iter().position(|s| *s == signal), PREVIOUS_INTERRUPT.get()) {
        (Some(Ok(all)), Some(i), _) => all[i],
        (_, None, Some(Ok(action))) => *action,
        // Another thread is still installing: what was there is not known yet, and the default is what a fault gets.
        // SAFETY: all zero is the default action.
        _ => unsafe { zeroed() },
    };
    // SAFETY: the structure is the kernel's.
    let sent = unsafe { (*info).si_code } <= 0;
    // SAFETY: the previous action was installed with this type of function; the mask that it asked for is set as the
    // kernel would have, and undone when this handler returns, with the context's.
    unsafe {
        match previous.sa_sigaction {
            // A fault of this thread cannot be ignored: the kernel takes the default then.
            libc::SIG_IGN if sent => {}
            libc::SIG_DFL | libc::SIG_IGN => {
                let mut default: libc::sigaction = zeroed();
                default.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &raw const default, null_mut());
                if sent {
                    // Blocked now, delivered when the handler returns. A fault simply happens again.
                    libc::raise(signal);
                }
            }
            action => {
                let mut mask = previous.sa_mask;
                if previous.sa_flags & libc::SA_NODEFER == 0 {
                    libc::sigaddset(&raw mut mask, signal);
                } else {
                    let mut own = MaybeUninit::uninit();
                    libc::sigemptyset(own.as_mut_ptr());
                    libc::sigaddset(own.as_mut_ptr(), signal);
                    libc::pthread_sigmask(libc::SIG_UNBLOCK, own.as_ptr(), null_mut());
                }
                libc::pthread_sigmask(libc::SIG_BLOCK, &raw const mask, null_mut());
                if previous.sa_flags & libc::SA_SIGINFO != 0 {
                    let action: unsafe extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = core::mem::transmute(action);
                    action(signal, info, context);
                } else {
                    let action: unsafe extern "C" fn(c_int) = core::mem::transmute(action);
                    action(signal);
                }
            }
        }
    }
}

/// A thread's alternate signal stack: a guard page, then the stack.
struct AlternateStack {
    base: usize,
    size: usize,
    guard: usize,
}

impl AlternateStack {
    /// Installs one, unless the thread has one that is large enough (Rust's own, for instance, is not).
    fn install() -> std::io::Result<Option<Self>> {
        // SAFETY: asks for a number.
        let least = unsafe { libc::getauxval(AT_MINSIGSTKSZ) } as usize;
        let guard = rustix::param::page_size();
        let wanted = (least.max(libc::MINSIGSTKSZ) + HANDLER_STACK).next_multiple_of(guard);
        // SAFETY: asks for the present stack.
        let present = unsafe {
            let mut present: libc::stack_t = zeroed();
            if libc::sigaltstack(core::ptr::null(), &raw mut present) != 0 {
                return Err(IoError::last_os_error());
            }
            present
        };
        if present.ss_flags & libc::SS_DISABLE == 0 && present.ss_size >= wanted {
            return Ok(None);
        }
        let size = guard + wanted;
        // SAFETY: a new mapping, placed by the kernel, whose upper part becomes accessible; then it is the thread's.
        unsafe {
            let base = libc::mmap(null_mut(), size, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
            if base == libc::MAP_FAILED {
                return Err(IoError::last_os_error());
            }
            let stack = Self { base: base.expose_provenance(), size, guard };
            let start = base.byte_add(guard);
            let new = libc::stack_t { ss_sp: start, ss_flags: 0, ss_size: wanted };
            if libc::mprotect(start, wanted, libc::PROT_READ | libc::PROT_WRITE) != 0 || libc::sigaltstack(&raw const new, null_mut()) != 0
            {
                return Err(IoError::last_os_error());
            }
            Ok(Some(stack))
        }
    }
}

impl Drop for AlternateStack {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours. It is only taken out of service if it is in service: whoever installed another one
        // has not asked us.
        unsafe {
            let mut present: libc::stack_t = zeroed();
            if libc::sigaltstack(core::ptr::null(), &raw mut present) == 0 && present.ss_sp.addr() == self.base + self.guard {
                if present.ss_flags & libc::SS_ONSTACK != 0 {
                    return;
                }
                let mut none: libc::stack_t = zeroed();
                none.ss_flags = libc::SS_DISABLE;
                // Some kernels check the size even then.
                none.ss_size = self.size - self.guard;
                libc::sigaltstack(&raw const none, null_mut());
            }
            libc::munmap(core::ptr::with_exposed_provenance_mut(self.base), self.size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, ExitStatus, Stdio};

    const ROLE: &str = "WASMC_SIGNALS_TEST";

    fn role() -> Option<String> {
        std::env::var(ROLE).ok()
    }

    /// Runs this test again in a process of its own, with a role.
    fn in_child(test: &str, role: &str) -> ExitStatus {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("vm::signals::tests::{test}"), "--nocapture"])
            .env(ROLE, role)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
    }

    fn set_action(signal: c_int, action: usize, flags: c_int) {
        // SAFETY: installs a handler of this test.
        unsafe {
            let mut new: libc::sigaction = zeroed();
            new.sa_sigaction = action;
            new.sa_flags = flags;
            assert_eq!(libc::sigaction(signal, &raw const new, null_mut()), 0);
        }
    }

    fn fault() {
        let nowhere = std::hint::black_box(std::ptr::without_provenance_mut::<u8>(0x1000));
        // SAFETY: it is not: the test is about what happens then.
        unsafe { nowhere.write_volatile(1) };
    }

    #[test]
    fn faults_that_are_not_ours_go_to_the_previous_handler() {
        extern "C" fn plain(signal: c_int) {
            std::process::exit(100 + signal);
        }
        extern "C" fn full(_: c_int, info: *mut siginfo_t, _: *mut c_void) {
            // SAFETY: the kernel's structure, passed on.
            let address = unsafe { (*info).si_addr().addr() };
            std::process::exit(if address == 0x1000 { 77 } else { 78 });
        }
        let Some(role) = role() else {
            let code = |role| in_child("faults_that_are_not_ours_go_to_the_previous_handler", role).code();
            let signal = |role| in_child("faults_that_are_not_ours_go_to_the_previous_handler", role).signal();
            assert_eq!(code("plain"), Some(100 + libc::SIGSEGV));
            assert_eq!(code("full"), Some(77));
            assert_eq!(signal("default"), Some(libc::SIGSEGV));
            assert_eq!(signal("ignored fault"), Some(libc::SIGSEGV));
            assert_eq!(code("ignored"), Some(5));
            assert_eq!(signal("sent"), Some(libc::SIGFPE));
            return;
        };
        match role.as_str() {
            "plain" => set_action(libc::SIGSEGV, plain as *const () as usize, 0),
            "full" => set_action(libc::SIGSEGV, full as *const () as usize, libc::SA_SIGINFO | libc::SA_NODEFER),
            "default" => set_action(libc::SIGSEGV, libc::SIG_DFL, 0),
            "sent" => set_action(libc::SIGFPE, libc::SIG_DFL, 0),
            _ => set_action(libc::SIGSEGV, libc::SIG_IGN, 0),
        }
        prepare_thread().unwrap();
        match role.as_str() {
            // SAFETY: sends a signal to this thread.
            "ignored" => _ = unsafe { libc::raise(libc::SIGSEGV) },
            // SAFETY: as above.
            "sent" => _ = unsafe { libc::raise(libc::SIGFPE) },
            _ => fault(),
        }
        std::process::exit(5);
    }

    #[test]
    fn alternate_stacks_are_freed_with_their_threads() {
        let present = || {
            // SAFETY: asks for the present stack.
            unsafe {
                let mut present: libc::stack_t = zeroed();
                assert_eq!(libc::sigaltstack(core::ptr::null(), &raw mut present), 0);
                present
            }
        };
        let mapped = |address: usize| {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            maps.lines().any(|l| l.starts_with(&format!("{address:x}-")))
        };
        let start = std::thread::spawn(move || {
            prepare_thread().unwrap();
            prepare_thread().unwrap();
            let stack = present();
            assert!(stack.ss_flags & libc::SS_DISABLE == 0 && stack.ss_size >= HANDLER_STACK);
            // SAFETY: the lowest byte of the stack can be written.
            unsafe { stack.ss_sp.cast::<u8>().write_volatile(1) };
            assert!(mapped(stack.ss_sp.addr()));
            stack.ss_sp.addr()
        })
        .join()
        .unwrap();
        assert!(!mapped(start));
    }
}
