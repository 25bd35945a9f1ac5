//! System calls that fail: a command is traced, and the N-th of the calls that a filter chooses returns an error instead of being
//! made. Tracing sees calls that the runtime makes itself, past the C library, as well as the library's.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// The error that one of the chosen system calls gets.
#[derive(Copy, Clone, Debug)]
pub struct Fault {
    pub name: &'static str,
    pub calls: &'static [libc::c_long],
    pub errno: i32,
}

/// How a traced command ended.
#[derive(Debug)]
#[allow(dead_code, reason = "what is not compared is shown when a test fails")]
pub struct Ended {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// How many of the chosen calls it made or tried.
    pub seen: usize,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command; the `nth` (from 0) of the chosen calls fails, or none. Calls before `main` are not counted.
pub fn run(command: &mut Command, fault: Fault, nth: Option<usize>) -> Ended {
    let dir = tempfile::tempdir().expect("a folder");
    let (out, err) = (dir.path().join("out"), dir.path().join("err"));
    let file = |p: &Path| std::fs::File::create(p).expect("a file");
    command.stdin(Stdio::null()).stdout(file(&out)).stderr(file(&err));
    // SAFETY: two system calls between fork and exec.
    unsafe {
        command.pre_exec(|| {
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
            match libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    #[allow(clippy::zombie_processes, reason = "`trace` waits for it")]
    let child = command.spawn().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
    let (status, seen) = trace(child.id() as i32, fault, nth);
    let text = |p: &Path| String::from_utf8_lossy(&std::fs::read(p).unwrap_or_default()).into_owned();
    let code = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
    let signal = libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
    Ended { code, signal, seen, stdout: text(&out), stderr: text(&err) }
}

/// Follows all threads of the child until it ends.
fn trace(child: i32, fault: Fault, nth: Option<usize>) -> (i32, usize) {
    let mut seen = 0;
    let mut stacks = 0;
    let mut failing: Vec<i32> = Vec::new();
    let mut inside: Vec<i32> = Vec::new();
    let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_EXITKILL;
    let mut first = true;
    loop {
        let mut status = 0;
        // SAFETY: waits for children of this thread; the numbers and structures of all calls below are as ptrace(2) has them.
        let thread = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
        assert!(thread > 0, "waiting for the traced process failed");
        if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
            if thread == child {
                return (status, seen);
            }
            continue;
        }
        let mut deliver = 0;
        // SAFETY: the thread is stopped, and its registers fit the structure.
        unsafe {
            if first {
                first = false;
                libc::ptrace(libc::PTRACE_SETOPTIONS, thread, 0, options);
            } else if libc::WSTOPSIG(status) == libc::SIGTRAP | 0x80 {
                let mut regs: libc::user_regs_struct = std::mem::zeroed();
                libc::ptrace(libc::PTRACE_GETREGS, thread, 0, &raw mut regs);
                if let Some(i) = inside.iter().position(|t| *t == thread) {
                    inside.swap_remove(i);
                    if let Some(i) = failing.iter().position(|t| *t == thread) {
                        failing.swap_remove(i);
                        regs.rax = -i64::from(fault.errno) as u64;
                        libc::ptrace(libc::PTRACE_SETREGS, thread, 0, &raw const regs);
                    }
                } else {
                    inside.push(thread);
                    let call = regs.orig_rax as libc::c_long;
                    // The standard library looks for an alternative stack and makes one just before `main`.
                    stacks += usize::from(call == libc::SYS_sigaltstack);
                    if stacks >= 2 && fault.calls.contains(&call) {
                        if nth == Some(seen) {
                            failing.push(thread);
                            regs.orig_rax = u64::MAX;
                            libc::ptrace(libc::PTRACE_SETREGS, thread, 0, &raw const regs);
                        }
                        seen += 1;
                    }
                }
            } else if status >> 16 == 0 && libc::WSTOPSIG(status) != libc::SIGSTOP && libc::WSTOPSIG(status) != libc::SIGTRAP {
                deliver = libc::WSTOPSIG(status);
            }
            libc::ptrace(libc::PTRACE_SYSCALL, thread, 0, deliver);
        }
    }
}
