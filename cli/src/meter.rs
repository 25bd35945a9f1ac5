//! Metering on the command line: which code counts, the file with costs, the limit, and the table at the end of a run.

use crate::exit::{ExitCode, usage, with_code};
use crate::timeout::GRACE;
use anyhow::{Error, Result};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wasmc_runtime::{Config, CostTable, InterruptHandle, Module, Stats, Store, Trap, TrapCode};

/// The options of `wasmc compile`.
#[derive(clap::Args)]
#[command(next_help_heading = "Metering")]
pub struct CompileOpts {
    /// Make code that counts instructions, for `wasmc run --fuel` and `--stats`.
    #[arg(long)]
    meter: bool,
    /// What instructions and host functions cost: a TOML file with `default`, `[instructions]` and `[host]`.
    #[arg(long, value_name = "FILE", requires = "meter")]
    costs: Option<PathBuf>,
}

impl CompileOpts {
    /// Whether code counts.
    pub fn meter(&self) -> bool {
        self.meter
    }

    /// The table of costs, if there is one.
    ///
    /// # Errors
    /// If it cannot be read or is not right.
    pub fn costs(&self) -> Result<Option<Arc<CostTable>>> {
        self.costs.as_deref().map(read).transpose()
    }
}

/// The options of `wasmc run`.
#[derive(Default, clap::Args)]
#[command(next_help_heading = "Metering")]
pub struct RunOpts {
    /// Stop the program with a trap when it has executed N instructions, or what costs as much. Artifacts have to be compiled with
    /// --meter for it.
    #[arg(long, value_name = "N")]
    fuel: Option<u64>,
    /// What instructions and host functions cost: a TOML file with `default`, `[instructions]` and `[host]`. An artifact has its own
    /// table, which must be the same.
    #[arg(long, value_name = "FILE")]
    costs: Option<PathBuf>,
    /// Print what the run took to standard error when it ends, however it ends.
    #[arg(long, value_enum, value_name = "FORMAT", num_args = 0..=1, require_equals = true, default_missing_value = "text")]
    stats: Option<Format>,
    /// What the program's other threads counted.
    #[arg(skip)]
    threads: Mutex<Option<ThreadStats>>,
}

impl std::fmt::Debug for RunOpts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { fuel, costs, stats, threads: _ } = self;
        f.debug_struct("RunOpts").field("fuel", fuel).field("costs", costs).field("stats", stats).finish_non_exhaustive()
    }
}

/// What threads that have ended counted.
type ThreadStats = Box<dyn Fn() -> Stats + Send + Sync>;

#[derive(Copy, Clone, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A line for each figure.
    Text,
    /// One object.
    Json,
}

impl RunOpts {
    /// Adds what the options ask of the engine. `file` is the program.
    ///
    /// # Errors
    /// If the costs cannot be read or are not right, or the program cannot be metered as asked.
    pub fn configure(&self, config: Config, file: &Path) -> Result<Config> {
        let asked = self.fuel.is_some() || self.costs.is_some();
        let metered = match Module::is_metered_artifact(file) {
            Some(false) if asked => {
                let what = if self.fuel.is_some() { "--fuel" } else { "--costs" };
                return Err(with_code(
                    ExitCode::MISMATCH,
                    format!(
                        "{what}: the code of {} does not count instructions; make an artifact that does with `wasmc compile --meter`",
                        file.display()
                    ),
                ));
            }
            Some(metered) => metered,
            None => asked || self.stats.is_some(),
        };
        let config = config.meter(metered);
        Ok(match &self.costs {
            Some(path) => config.costs(read(path)?),
            None => config,
        })
    }

    /// Prepares a store for the run.
    ///
    /// # Errors
    /// None that `configure` has not found.
    pub fn begin<T: 'static>(&self, store: &mut Store<T>) -> Result<()> {
        if let Some(fuel) = self.fuel {
            store.set_fuel(fuel)?;
        }
        if self.stats.is_some() {
            store.watch_host_calls();
            store.measure_time();
        }
        Ok(())
    }

    /// How another thread than the first one lets that one report, if a report is wanted.
    ///
    /// # Errors
    /// If the system refuses a signal handler.
    pub fn ending<T: 'static>(&self, store: &Store<T>) -> Result<Option<Arc<Ending>>> {
        let Some(_) = self.stats else { return Ok(None) };
        Ok(Some(Arc::new(Ending { first: store.interrupt_handle()?, error: Mutex::default() })))
    }

    /// Adds what the program's other threads count to the report.
    pub fn add_threads(&self, stats: impl Fn() -> Stats + Send + Sync + 'static) {
        *self.threads.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(stats));
    }

    /// Prints what the run took, if that was asked for.
    pub fn report<T: 'static>(&self, store: &mut Store<T>) {
        let Some(format) = self.stats else { return };
        let mut stats = store.stats();
        if let Some(threads) = &*self.threads.lock().unwrap_or_else(PoisonError::into_inner) {
            stats.add_counts(&threads());
        }
        let text = match format {
            Format::Text => text(&stats, peak_resident()),
            Format::Json => json(&stats, peak_resident()),
        };
        // As in `report.rs`: standard error may be full.
        let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
    }
}

/// The end of a program by another thread than the first one, which knows what is to be reported.
pub struct Ending {
    first: InterruptHandle,
    error: Mutex<Option<Error>>,
}

impl Ending {
    /// Interrupts the first thread and has it end the process for this reason. If it does not, in a host function that cannot be
    /// interrupted, the error comes back after a while, and the process is to be ended without a report.
    pub fn leave_to_first_thread(&self, error: Error) -> Error {
        *self.error() = Some(error);
        self.first.interrupt();
        loop {
            std::thread::sleep(GRACE);
            if let Some(error) = self.error().take() {
                return error;
            }
        }
    }

    /// Why another thread ended the program, if it has interrupted the first one for that.
    pub fn of_other_thread(&self, outcome: &Result<()>) -> Option<Error> {
        let trap = outcome.as_ref().err()?.downcast_ref::<Trap>()?;
        (trap.code() == TrapCode::Interrupt).then(|| self.error().take()).flatten()
    }

    fn error(&self) -> MutexGuard<'_, Option<Error>> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of memory that the process had at most.
fn peak_resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

const NOT_COUNTED: &str = "not counted: the artifact was compiled without --meter";

fn text(s: &Stats, resident: Option<u64>) -> String {
    let count = |n: Option<u64>| n.map_or_else(|| NOT_COUNTED.to_owned(), |n| n.to_string());
    let seconds = |d: Option<Duration>| d.map_or_else(String::new, |d| format!("{:.6}", d.as_secs_f64()));
    let mut out = String::new();
    for (name, value) in [
        ("instructions", count(s.instructions)),
        ("cost", count(s.cost)),
        ("calls", count(s.calls)),
        ("host calls", count(s.host_calls)),
        ("seconds in wasm", seconds(s.wasm_time)),
        ("seconds in host functions", seconds(s.host_time)),
        ("peak linear memory (bytes)", s.memory_bytes.to_string()),
        ("peak resident memory (bytes)", resident.map_or_else(|| "unknown".to_owned(), |n| n.to_string())),
    ] {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{name:<28} {value}");
    }
    out
}

fn json(s: &Stats, resident: Option<u64>) -> String {
    let count = |n: Option<u64>| n.map_or_else(|| "null".to_owned(), |n| n.to_string());
    let seconds = |d: Option<Duration>| d.map_or_else(|| "null".to_owned(), |d| format!("{:.9}", d.as_secs_f64()));
    format!(
        "{{\"instructions\":{},\"cost\":{},\"calls\":{},\"host_calls\":{},\"wasm_seconds\":{},\"host_seconds\":{},\"linear_memory_bytes\":{},\
         \"resident_bytes\":{}}}\n",
        count(s.instructions),
        count(s.cost),
        count(s.calls),
        count(s.host_calls),
        seconds(s.wasm_time),
        seconds(s.host_time),
        s.memory_bytes,
        count(resident)
    )
}

/// The file as it is written.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    default: Option<u64>,
    #[serde(default)]
    instructions: BTreeMap<String, u64>,
    #[serde(default)]
    host: BTreeMap<String, u64>,
}

/// Reads a file with costs.
fn read(path: &Path) -> Result<Arc<CostTable>> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| with_code(ExitCode::NO_INPUT, format!("--costs: cannot read {}: {e}", path.display())))?;
    parse(&text).map(Arc::new).map_err(|e| usage(format!("--costs {}: {e}", path.display())))
}

fn parse(text: &str) -> Result<CostTable, String> {
    let file: File = toml::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())?;
    let mut costs = CostTable::new(file.default.unwrap_or(1)).map_err(|e| e.to_string())?;
    for (name, cost) in &file.instructions {
        costs.set_instruction(name, *cost).map_err(|e| format!("[instructions]: {e}"))?;
    }
    for (name, cost) in &file.host {
        costs.set_host(name, *cost).map_err(|e| format!("[host]: {e}"))?;
    }
    Ok(costs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_with_costs() {
        let costs = parse("default = 2\n[instructions]\n\"i32.add\" = 5\n[host]\n\"wasi_snapshot_preview1.fd_write\" = 100\n").unwrap();
        assert_eq!(costs.host("wasi_snapshot_preview1", "fd_write"), 100);
        assert_eq!(parse("").unwrap(), CostTable::new(1).unwrap());
        let error = |text| parse(text).unwrap_err();
        assert!(error("[instructions]\n\"i32.ad\" = 5").contains("`i32.add`"));
        assert!(error("[instruction]\n").contains("unknown field"));
        assert!(error("default = -1").contains("line 1"));
        assert!(error("[instructions]\n\"nop\" = 1\n\"nop\" = 2").contains("duplicate key"));
        assert!(error("[host]\nfd_write = 1").contains("dot"));
        assert!(error("default = 9999999999").contains("at most"));
    }

    #[test]
    fn what_is_not_counted_is_said() {
        let text = text(&Stats::default(), None);
        assert!(text.contains("instructions                 not counted: the artifact was compiled without --meter"), "{text}");
        assert!(json(&Stats::default(), None).starts_with("{\"instructions\":null,"));
    }
}
