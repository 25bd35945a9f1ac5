//! `--trace`: what is shown, of which functions, and where to. A trace of calls goes through one buffered writer, that of WASI with it, so
//! that lines keep their order and do not mix; it is flushed when the run ends, however it does.

use crate::exit::{ExitCode, usage, with_code};
use crate::report;
use anyhow::Result;
use std::io::{BufWriter, IsTerminal, LineWriter, Write};
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use wasmc_runtime::{CallPattern, CallTracer, Config, Module};
use wasmc_wasi::Tracer;

/// The options of `wasmc run`.
#[derive(Debug, Default, clap::Args)]
pub struct TraceOpts {
    /// Print what the program does to standard error: `wasi`, its calls of WASI as strace would show them; `calls`, each call of a
    /// function, with the kind of code that it enters; `calls=PATTERN`, only of functions whose name, index or `module.name` matches
    /// (* and ? stand for any characters and for one; patterns are separated by commas). Can be given twice.
    #[arg(long, value_name = "wasi|calls[=PATTERN]")]
    trace: Vec<TraceOption>,
    /// Say in the trace of calls how long each took.
    #[arg(long)]
    trace_times: bool,
}

/// What `--trace` can show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceOption {
    /// Each call of WASI: arguments, result, duration.
    Wasi,
    /// Each call of a function, or of some.
    Calls(Option<CallPattern>),
}

impl FromStr for TraceOption {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s.split_once('=') {
            None if s == "wasi" => Ok(Self::Wasi),
            None if s == "calls" => Ok(Self::Calls(None)),
            Some(("calls", pattern)) => Ok(Self::Calls(Some(pattern.parse()?))),
            _ => Err("expected wasi, calls or calls=PATTERN".into()),
        }
    }
}

impl TraceOpts {
    fn calls(&self) -> Option<&Option<CallPattern>> {
        self.trace.iter().find_map(|t| if let TraceOption::Calls(pattern) = t { Some(pattern) } else { None })
    }

    /// The configuration of an engine that traces what is asked for.
    ///
    /// # Errors
    /// If the options contradict each other.
    pub fn configure(&self, config: Config) -> Result<Config> {
        if self.trace.iter().filter(|t| matches!(t, TraceOption::Calls(_))).count() > 1 {
            return Err(usage("--trace calls was given twice; separate patterns by commas: --trace calls=main,fd_*"));
        }
        let Some(pattern) = self.calls() else {
            return if self.trace_times { Err(usage("--trace-times needs --trace calls")) } else { Ok(config) };
        };
        let mut tracer = CallTracer::new(Output).durations(self.trace_times);
        if let Some(pattern) = pattern {
            tracer = tracer.pattern(pattern.clone());
        }
        Ok(config.call_tracer(Arc::new(tracer)))
    }

    /// What shows the calls of WASI, if they are to be shown: among the other calls; alone, each as it happens, since they are few
    /// and somebody may be watching.
    pub fn wasi(&self) -> Option<Arc<Tracer>> {
        let tracer = || if self.calls().is_some() { Tracer::new(Output) } else { Tracer::new(std::io::stderr()) };
        self.trace.contains(&TraceOption::Wasi).then(|| Arc::new(tracer()))
    }

    /// Looks whether what is to be shown can be seen in these modules: calls inside compiled code only if it was made for that.
    ///
    /// # Errors
    /// If the pattern matches nothing, or only functions whose calls cannot be seen.
    pub fn check<'a>(&self, modules: impl Iterator<Item = (&'a Module, &'a Path)>) -> Result<()> {
        let Some(pattern) = self.calls() else { return Ok(()) };
        let (mut visible, mut hidden) = (0, Vec::new());
        for (module, path) in modules {
            let (seen, unseen) = module.traceable(pattern.as_ref());
            visible += seen;
            if unseen > 0 {
                hidden.push(path);
            }
        }
        let first = hidden.first();
        match (pattern, first) {
            (Some(pattern), None) if visible == 0 => Err(usage(format!("--trace calls={pattern}: no function has such a name or index"))),
            (Some(pattern), Some(path)) if visible == 0 => Err(with_code(
                ExitCode::MISMATCH,
                format!(
                    "--trace calls={pattern}: calls inside compiled code are not reported by {}, which was compiled without --trace; make \
                     one that does with `wasmc compile --trace`",
                    path.display()
                ),
            )),
            (_, Some(path)) => {
                report::note(&format!(
                    "{} was compiled without --trace: calls inside its compiled code are not shown; `wasmc compile --trace` makes code that \
                     shows them",
                    path.display()
                ));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Standard error behind a buffer: whole lines at once on a terminal, otherwise as much as is worth a system call.
static BUFFER: OnceLock<Mutex<Box<dyn Write + Send>>> = OnceLock::new();

/// The one place that all traces go to.
struct Output;

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let buffer = BUFFER.get_or_init(|| {
            let stderr = std::io::stderr();
            let writer: Box<dyn Write + Send> =
                if stderr.is_terminal() { Box::new(LineWriter::new(stderr)) } else { Box::new(BufWriter::with_capacity(64 << 10, stderr)) };
            // What a panic would leave behind shows where it came from.
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                // A thread that panics in the middle of writing must not wait for itself.
                if let Some(Ok(mut buffer)) = BUFFER.get().map(Mutex::try_lock) {
                    let _ = buffer.flush();
                }
                usual(info);
            }));
            Mutex::new(writer)
        });
        buffer.lock().unwrap_or_else(PoisonError::into_inner).write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        flush();
        Ok(())
    }
}

/// Writes out what is in the buffer. To be called before the process ends, and before anything else is said on standard error.
pub fn flush() {
    if let Some(buffer) = BUFFER.get() {
        // Nobody is there to be told.
        let _ = buffer.lock().unwrap_or_else(PoisonError::into_inner).flush();
    }
}
