//! What no error can be made of, since it happens in the middle of the host's own code: a page of an artifact's file that is
//! gone when the runtime reads it, a host function that has used up its stack, an allocation that fails where the standard
//! library takes it for granted. It is said on standard error, and whoever owns the process decides what follows: `wasmc` ends
//! with an exit code; otherwise the signal goes to the handler that was there before.

use core::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use libc::{c_int, c_void, siginfo_t};
use std::ops::Range;

/// Exit codes of a process that ends by itself where no error can be made: see [`end_process_on_faults`].
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct FaultCodes {
    /// An artifact's file was truncated, or cannot be read any more.
    pub artifact_changed: u8,
    /// A host function has overflowed the stack of its store.
    pub stack_overflow: u8,
    /// The process was aborted, usually since an allocation failed.
    pub aborted: u8,
}

/// No code was set.
const NONE: i32 = -1;
static ARTIFACT_CHANGED: AtomicI32 = AtomicI32::new(NONE);
static STACK_OVERFLOW: AtomicI32 = AtomicI32::new(NONE);
static ABORTED: AtomicI32 = AtomicI32::new(NONE);

const CHANGED: &str = "error: artifact changed while running: a page of its file cannot be read any more (was it truncated or overwritten? \
    `wasmc compile` writes a new file and renames it)\n";
const OVERFLOW: &str = "error: a host function has overflowed the stack of its store: \
    it has 256 KiB beyond what WebAssembly may use (limits::HOST_STACK_RESERVE)\n";
const _: () = assert!(wasmc_environ::limits::HOST_STACK_RESERVE == 256 << 10);
const ABORT: &str = "error: wasmc has to end: what stands above says why; usually there is not enough memory\n";

/// For executables, not for libraries: the process ends with these exit codes where no error can be made, instead of by a signal. What
/// happened is on standard error. An embedder that does not call this gets the signals (`SIGBUS`, `SIGSEGV`, `SIGABRT`), after the same text.
pub fn end_process_on_faults(codes: FaultCodes) {
    ARTIFACT_CHANGED.store(codes.artifact_changed.into(), Ordering::Relaxed);
    STACK_OVERFLOW.store(codes.stack_overflow.into(), Ordering::Relaxed);
    ABORTED.store(codes.aborted.into(), Ordering::Relaxed);
    // SAFETY: the handler makes two system calls; `sigaction` is plain data for which all zero is a value.
    unsafe {
        let mut new: libc::sigaction = core::mem::zeroed();
        new.sa_sigaction = aborted as *const () as usize;
        new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND;
        libc::sigemptyset(&raw mut new.sa_mask);
        libc::sigaction(libc::SIGABRT, &raw const new, core::ptr::null_mut());
    }
}

unsafe extern "C" fn aborted(_: c_int, info: *mut siginfo_t, _: *mut c_void) {
    // SAFETY: the structure is the kernel's. A signal that another process sends is none of ours; it was reset to the default.
    unsafe {
        if (*info).si_code == libc::SI_TKILL || (*info).si_pid() == libc::getpid() {
            end(ABORT, &ABORTED);
        }
        libc::raise(libc::SIGABRT);
    }
}

/// Says what happened, and ends the process if there is a code for it. Async-signal-safe.
fn end(text: &str, code: &AtomicI32) {
    // SAFETY: system calls that are safe in handlers.
    unsafe {
        libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len());
        match code.load(Ordering::Relaxed) {
            NONE => {}
            code => libc::_exit(code),
        }
    }
}

/// A page of an artifact is gone while the host reads it. Async-signal-safe.
pub(super) fn artifact_changed() {
    end(CHANGED, &ARTIFACT_CHANGED);
}

/// A host function has used up the stack. Async-signal-safe.
pub(super) fn host_overflow() {
    end(OVERFLOW, &STACK_OVERFLOW);
}

/// Mappings of files, where a handler can look them up: start and end of each. Those that find no place are faults of nobody.
static FILES: [[AtomicUsize; 2]; 1024] = [const { [const { AtomicUsize::new(0) }; 2] }; 1024];
/// A place that is taken but not filled in.
const TAKEN: usize = 1;

/// Makes a mapping of a file known.
pub(super) fn add_file(range: &Range<usize>) {
    for [start, end] in &FILES {
        if start.load(Ordering::Relaxed) == 0 && start.compare_exchange(0, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            end.store(range.end, Ordering::Relaxed);
            start.store(range.start, Ordering::Release);
            return;
        }
    }
}

/// Forgets it, before it is unmapped.
pub(super) fn remove_file(range: &Range<usize>) {
    if let Some([start, end]) = FILES.iter().find(|[start, _]| start.load(Ordering::Relaxed) == range.start) {
        end.store(0, Ordering::Relaxed);
        start.store(0, Ordering::Release);
    }
}

/// Whether an address lies in a mapping of a file. Async-signal-safe.
pub(super) fn is_in_file(address: usize) -> bool {
    FILES.iter().any(|[start, end]| {
        let start = start.load(Ordering::Acquire);
        start > TAKEN && (start..end.load(Ordering::Relaxed)).contains(&address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_found_until_they_are_removed() {
        let range = 0x7000_0000_0000usize..0x7000_0001_0000;
        add_file(&range);
        assert!(is_in_file(range.start) && is_in_file(range.end - 1));
        assert!(!is_in_file(range.end) && !is_in_file(TAKEN) && !is_in_file(0));
        remove_file(&range);
        assert!(!is_in_file(range.start));
    }
}
