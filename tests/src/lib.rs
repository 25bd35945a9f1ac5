//! What the tests share: where the wasmc executable and the optional shared material are, and a small runner of
//! commands. Tests of behaviour run on every tier; `Tier` names them.

pub mod child;
pub mod differential;
pub mod fuzz;
pub mod maps;
pub mod wasi_calls;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A tier, as the tests name it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Everything interpreted.
    Interpreted,
    /// Everything compiled ahead of time.
    Compiled,
    /// Every second function left uncompiled.
    Mixed,
    /// Interpreted first, and compiled at the second call or turn of a loop.
    Auto,
}

impl Tier {
    /// All tiers.
    pub const ALL: [Self; 4] = [Self::Interpreted, Self::Compiled, Self::Mixed, Self::Auto];
}

/// The options of `wasmc run` for [`Tier::Auto`] as tests want it: what happens when does not depend on the machine.
pub const AUTO: [&str; 5] = ["--tier", "auto", "--compile-after", "1", "--compile-waits"];

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_owned)
}

/// A folder of the optional shared material beside the workspace, if it is there. Says so in one line if it is not.
pub fn shared(name: &str) -> Option<PathBuf> {
    let base = std::env::var_os("WASMC_SHARED").map_or_else(|| workspace().join("../shared"), PathBuf::from);
    let path = base.join(name);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("skipped: {} is not there", path.display());
    None
}

/// The wasmc executable of the profile that the tests were built with, or the one that `WASMC_EXE` names: `tests/run-aarch64` tests one
/// for another architecture so, with these tests as they are.
///
/// # Panics
/// If it was not built.
pub fn wasmc() -> PathBuf {
    if let Some(other) = std::env::var_os("WASMC_EXE") {
        return other.into();
    }
    host_wasmc()
}

/// Whether the wasmc that is tested is for another architecture, and runs under emulation: an order of magnitude slower.
pub fn is_emulated() -> bool {
    std::env::var_os("WASMC_EXE").is_some()
}

/// The targets that wasmc has, the one of the wasmc that is tested first.
pub fn targets() -> [&'static str; 2] {
    let mut targets = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];
    if cfg!(target_arch = "aarch64") != is_emulated() {
        targets.reverse();
    }
    targets
}

/// The wasmc executable for this machine, whatever `WASMC_EXE` says.
///
/// # Panics
/// If it was not built.
pub fn host_wasmc() -> PathBuf {
    let mut path = std::env::current_exe().expect("a test knows its own path");
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    let path = path.join("wasmc");
    assert!(path.is_file(), "{} is missing: build the workspace first (`cargo build`)", path.display());
    path
}

/// What a command did.
#[derive(Debug)]
pub struct Outcome {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error, as text.
    pub stderr: String,
}

/// Runs a command with a time limit. Its input is empty unless set.
///
/// # Panics
/// If the command cannot be started or does not end in time.
pub fn run(command: &mut Command, limit: Duration) -> Outcome {
    run_within(command, limit).unwrap_or_else(|| panic!("{command:?} did not end within {limit:?}"))
}

/// The same; `None` if the command does not end in time.
///
/// # Panics
/// If the command cannot be started.
pub fn run_within(command: &mut Command, limit: Duration) -> Option<Outcome> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (out, err) = (dir.path().join("stdout"), dir.path().join("stderr"));
    let file = |p: &Path| std::fs::File::create(p).expect("a temporary file");
    command.stdout(file(&out)).stderr(file(&err));
    let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("the child can be waited for") {
            break status;
        }
        if start.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    Some(Outcome {
        code: status.code(),
        stdout: std::fs::read(&out).unwrap_or_default(),
        stderr: String::from_utf8_lossy(&std::fs::read(&err).unwrap_or_default()).into_owned(),
    })
}

/// A command with empty standard input.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut c = Command::new(program);
    // What a module compiled in memory does is tested, not what was compiled of it at some time.
    c.stdin(Stdio::null()).env_remove("RUST_BACKTRACE").env("WASMC_CACHE_SIZE", "0");
    c
}
