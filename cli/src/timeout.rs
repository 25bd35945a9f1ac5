//! `--timeout`: ends a run after a time, whatever it is doing. The clock runs from instantiation to the end of the last function
//! called; compiling and loading come before and do not count, so that the same time means the same for a module and its artifact.

use crate::exit::{ExitCode, with_code};
use crate::report;
use anyhow::Result;
use std::time::Duration;
use wasmc_runtime::{Store, Timeout, Trap, TrapCode};

/// How long the program has to end after its time is up. It takes longer only in a host function that cannot be interrupted (a
/// file system that does not answer, a name server); then the process ends without a backtrace.
pub const GRACE: Duration = Duration::from_secs(2);

/// The option.
#[derive(Debug, Default, clap::Args)]
pub struct TimeoutOpts {
    /// End the run, with exit code 124, if it is not over after this time: 500ms, 2s, 1.5s, 1m, 1h. Compilation does not count.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
}

impl TimeoutOpts {
    /// Starts the clock.
    ///
    /// # Errors
    /// If the system refuses a thread or a signal handler.
    pub fn arm<T: 'static>(&self, store: &Store<T>) -> Result<Option<Timeout>> {
        let Some(time) = self.timeout else { return Ok(None) };
        let timeout = store.interrupt_handle()?.interrupt_after(time);
        let last = std::thread::Builder::new().name("wasmc-timeout".to_owned()).stack_size(64 << 10);
        last.spawn(move || {
            std::thread::sleep(time.saturating_add(GRACE));
            report::error(&with_code(ExitCode::TIMEOUT, format!("{}, and a call of the system did not let it end", message(time))));
            std::process::exit(ExitCode::TIMEOUT.0.into());
        })?;
        Ok(Some(timeout))
    }

    /// Says of a run that was ended by the time-out that it was.
    pub fn explain(&self, outcome: Result<()>) -> Result<()> {
        let (Some(time), Err(error)) = (self.timeout, &outcome) else { return outcome };
        match error.downcast_ref::<Trap>() {
            Some(trap) if trap.code() == TrapCode::Interrupt => {
                let mut message = message(time);
                if !trap.backtrace().frames().is_empty() {
                    message = format!("{message}\n{}", trap.backtrace());
                }
                Err(with_code(ExitCode::TIMEOUT, message))
            }
            _ => outcome,
        }
    }
}

fn message(time: Duration) -> String {
    format!("the program was still running after {time:?}, the time that --timeout gives it")
}

/// A number with a unit.
fn parse_duration(s: &str) -> Result<Duration, String> {
    const EXPECTED: &str = "expected a number and a unit (ms, s, m or h), such as 500ms, 2s or 1.5m";
    let number = s.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &s[number.len()..] {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "" if !number.is_empty() => return Err(format!("{s} has no unit; {EXPECTED}")),
        _ => return Err(EXPECTED.into()),
    };
    if !number.starts_with(|c: char| c.is_ascii_digit()) || number.contains(['e', 'E', '+', '-']) {
        return Err(EXPECTED.into());
    }
    let number: f64 = number.parse().map_err(|_| EXPECTED.to_owned())?;
    match Duration::try_from_secs_f64(number * unit) {
        Ok(Duration::ZERO) => Err("a run cannot end before it begins: the time must be more than 0".into()),
        Ok(time) => Ok(time),
        Err(_) => Err(format!("{s} is more than can be waited for")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        let millis = |s| parse_duration(s).map(|d| d.as_millis());
        assert_eq!(millis("500ms"), Ok(500));
        assert_eq!(millis("2s"), Ok(2000));
        assert_eq!(millis("1.5m"), Ok(90_000));
        assert_eq!(millis("0.25s"), Ok(250));
        assert_eq!(millis("1h"), Ok(3_600_000));
        for wrong in
            ["", "5", "s", "-1s", "+1s", "1e3s", "nans", "infs", "1 s", "5d", "0s", "0.0ms", "1s1", "99999999999999999999999h", ".5s", "é"]
        {
            assert!(millis(wrong).is_err(), "{wrong}");
        }
    }
}
