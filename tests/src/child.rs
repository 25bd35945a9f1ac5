//! Commands under limits of the operating system: address space, processor time, descriptors, sizes of files. What comes
//! back says how the process ended and what it took, so that a test can tell an error from a crash.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// Limits of a process; `None` leaves one as it is.
#[derive(Copy, Clone, Debug, Default)]
pub struct Limits {
    /// Bytes of address space.
    pub address_space: Option<u64>,
    /// Seconds of processor time.
    pub cpu: Option<u64>,
    /// Greatest number of a descriptor, and 1.
    pub descriptors: Option<u64>,
    /// Greatest size of a file that it writes, with SIGXFSZ ignored, so that a write fails as on a full disk.
    pub file_size: Option<u64>,
    /// Threads and processes of this user.
    pub processes: Option<u64>,
}

/// How a command ended, and what it took.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Seconds of processor time.
    pub cpu: f64,
    /// Greatest resident size, in bytes.
    pub resident: u64,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Limits {
    /// Sets the limits for what `command` will start.
    pub fn apply(self, command: &mut Command) {
        let set = move || {
            let one = |resource, value: Option<u64>| {
                let Some(value) = value else { return Ok(()) };
                let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
                // SAFETY: the structure is live.
                match unsafe { libc::setrlimit(resource, &raw const limit) } {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            };
            one(libc::RLIMIT_CORE, Some(0))?;
            one(libc::RLIMIT_AS, self.address_space)?;
            one(libc::RLIMIT_CPU, self.cpu)?;
            one(libc::RLIMIT_NOFILE, self.descriptors)?;
            one(libc::RLIMIT_NPROC, self.processes)?;
            if self.file_size.is_some() {
                // SAFETY: ignoring is inherited by the program.
                unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
            }
            one(libc::RLIMIT_FSIZE, self.file_size)
        };
        // SAFETY: only system calls are made between fork and exec.
        unsafe { command.pre_exec(set) };
    }

    /// Runs a command under these limits; `None` if it does not end in time.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn run(self, command: &mut Command, limit: Duration) -> Option<Ended> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (out, err) = (dir.path().join("stdout"), dir.path().join("stderr"));
        let file = |p: &Path| {
            let file = std::fs::File::create(p).expect("a temporary file");
            // Where sizes of files are limited, a pipe would be better, but nobody prints so much.
            file
        };
        command.stdout(file(&out)).stderr(file(&err));
        self.apply(command);
        let child = command.spawn().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        let (status, usage) = wait(child, limit)?;
        let text = |p: &Path| String::from_utf8_lossy(&std::fs::read(p).unwrap_or_default()).into_owned();
        let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
        Some(Ended {
            code: status.code(),
            signal: status.signal(),
            cpu: seconds(usage.ru_utime) + seconds(usage.ru_stime),
            resident: usage.ru_maxrss as u64 * 1024,
            stdout: text(&out),
            stderr: text(&err),
        })
    }
}

/// Waits for a child with what it took; ends it if it takes longer.
fn wait(mut child: Child, limit: Duration) -> Option<(ExitStatus, libc::rusage)> {
    let start = Instant::now();
    loop {
        let mut status = 0;
        // SAFETY: all zero is a value of the structure.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: the child is ours and was not waited for; both structures are live.
        if unsafe { libc::wait4(child.id() as i32, &raw mut status, libc::WNOHANG, &raw mut usage) } != 0 {
            return Some((ExitStatus::from_raw(status), usage));
        }
        if start.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}
