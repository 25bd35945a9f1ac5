//! `wasmc run --profile`: samples the program with the runtime's profiler and writes what it saw for the Firefox Profiler or as folded stacks; or
//! names code in memory for `perf`. The program can end on any of its threads, so the session is the process's, and whoever ends
//! the program ends it.

mod firefox;

use crate::exit::{ExitCode, with_code};
use crate::report;
use anyhow::{Context, Result};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use wasmc_runtime::{DEFAULT_FREQUENCY, MAX_FREQUENCY, Module, Profile, Profiler};

/// Options of profiling.
#[derive(Clone, Debug, clap::Args)]
pub struct ProfileOpts {
    /// Sample the program and write a profile: OUT.json for profiler.firefox.com, OUT.folded for flame graphs; `perf` writes no
    /// profile, but lets `perf record` name code that was compiled in memory.
    #[arg(long, value_name = "OUT.json|OUT.folded|perf")]
    profile: Option<PathBuf>,
    /// Samples a second of each running thread.
    #[arg(long, value_name = "HZ", default_value_t = DEFAULT_FREQUENCY, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_FREQUENCY)), requires = "profile")]
    profile_frequency: u32,
}

/// A profile being taken.
struct Session {
    profiler: Profiler,
    to: PathBuf,
    program: String,
}

static SESSION: Mutex<Option<Session>> = Mutex::new(None);

impl Default for ProfileOpts {
    fn default() -> Self {
        Self { profile: None, profile_frequency: DEFAULT_FREQUENCY }
    }
}

impl ProfileOpts {
    /// Whether there is to be a profile.
    pub fn wanted(&self) -> bool {
        self.profile.is_some()
    }

    /// Begins what the options ask for. To be called before anything is instantiated, with the modules that will be.
    ///
    /// # Errors
    /// If sampling is not possible, or there is no place for the file.
    pub fn start<'a>(&self, program: &Path, modules: impl IntoIterator<Item = &'a Module>) -> Result<()> {
        let Some(to) = &self.profile else { return Ok(()) };
        if to.as_os_str() == "perf" {
            return write_perf_map(modules);
        }
        // Better now than after an hour.
        let folder = to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() || to.is_dir() {
            let what = if to.is_dir() { "it is a folder" } else { "its folder does not exist" };
            return Err(with_code(ExitCode::CANNOT_CREATE, format!("cannot write the profile {}: {what}", to.display())));
        }
        let profiler = Profiler::start(self.profile_frequency).context("cannot profile")?;
        let program = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
        *SESSION.lock().unwrap_or_else(PoisonError::into_inner) = Some(Session { profiler, to: to.clone(), program });
        Ok(())
    }
}

/// Ends the profile, if one is being taken, and writes it. What goes wrong is said, and does not hide how the program ended.
pub fn finish() {
    let Some(session) = SESSION.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    let profile = session.profiler.stop();
    match write(&profile, &session.to, &session.program) {
        Ok(()) => report::summary(&format!(
            "{}: {} samples of {:.2} s on the CPU, {:.1} % lost{}",
            session.to.display(),
            profile.samples(),
            profile.threads().iter().map(|t| t.cpu().as_secs_f64()).sum::<f64>(),
            profile.lost_percent(),
            if is_folded(&session.to) { "" } else { "; open it at https://profiler.firefox.com" }
        )),
        Err(e) => report::error(&e),
    }
}

fn is_folded(to: &Path) -> bool {
    to.extension().is_some_and(|e| e == "folded")
}

fn write(profile: &Profile, to: &Path, program: &str) -> Result<()> {
    let bytes = if is_folded(to) { folded(profile).into_bytes() } else { firefox::json(profile, program)? };
    wasmc_compiler::write_file(to, &bytes).context("the profile is lost")
}

/// A function's name as its source has it, without control characters.
fn readable(name: &str) -> String {
    addr2line::demangle_auto(name.into(), None).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// The folded stacks, with names for people.
fn folded(profile: &Profile) -> String {
    let mut text = String::new();
    for line in profile.folded().lines() {
        let Some((stack, time)) = line.rsplit_once(' ') else { continue };
        let names: Vec<String> = stack.split(';').map(|name| readable(name).replace(';', ":")).collect();
        text.push_str(&names.join(";"));
        text.push(' ');
        text.push_str(time);
        text.push('\n');
    }
    text
}

/// Names the code of modules for `perf`, which looks for this file when it reports.
fn write_perf_map<'a>(modules: impl IntoIterator<Item = &'a Module>) -> Result<()> {
    let path = PathBuf::from(format!("/tmp/perf-{}.map", std::process::id()));
    let mut map = String::new();
    for line in modules.into_iter().map(Module::perf_map).collect::<String>().lines() {
        // Start, size, name.
        let mut parts = line.splitn(3, ' ');
        let (Some(start), Some(size), Some(name)) = (parts.next(), parts.next(), parts.next()) else { continue };
        map.push_str(&format!("{start} {size} {}\n", readable(name)));
    }
    if map.is_empty() {
        return Ok(());
    }
    // Everybody can write to this folder: a file that somebody else has put there, or a link, is not written to.
    let open = || -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
            .open(&path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.uid() != rustix::process::geteuid().as_raw() || metadata.nlink() != 1 {
            return Err(std::io::Error::other("it belongs to somebody else"));
        }
        file.set_len(0)?;
        file.write_all(map.as_bytes())
    };
    open().map_err(|e| with_code(ExitCode::CANNOT_CREATE, format!("cannot write {} for perf: {e}", path.display())))
}
