//! `--limit NAME=VALUE`: bounds on what a run may use, of the machine (memory, tables, instances, stack: the runtime's limits) and of
//! the host behind WASI (descriptors, bytes written and so on: those of WASI). One option for all, with sizes in units.

use std::str::FromStr;
use std::sync::Arc;
use wasmc_runtime::{Config, Resource, StoreLimits};
use wasmc_wasi::WasiLimits;

/// Limits of the machine, beside those of `Resource`.
const STACK: (&str, &str) = ("stack", "bytes of stack of each thread [default: 8MiB]");
/// Limits of `Resource`.
const RESOURCES: [(&str, &str, Resource); 5] = [
    ("memory", "bytes of all memories together [default: what their types allow]", Resource::MemoryBytes),
    ("table-elements", "elements of all tables together [default: 10000000 each]", Resource::TableElements),
    ("instances", "instances, those of --module and of threads counted [default: no limit]", Resource::Instances),
    ("memories", "memories of all instances together [default: no limit]", Resource::Memories),
    ("tables", "tables of all instances together [default: no limit]", Resource::Tables),
];
/// Units of sizes.
const UNITS: [(&str, u64); 7] =
    [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("kB", 1000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("B", 1)];

/// The option.
#[derive(Debug, Default, clap::Args)]
pub struct LimitOpts {
    /// Bound what the run may use; an unknown NAME lists all. Sizes can have a unit: memory=256MiB.
    #[arg(long, value_name = "NAME=VALUE")]
    limit: Vec<LimitOption>,
}

/// One limit.
#[derive(Clone, Debug)]
struct LimitOption {
    name: String,
    value: u64,
}

/// All limits: names, and what they bound.
pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    [STACK].into_iter().chain(RESOURCES.iter().map(|r| (r.0, r.1))).chain(WasiLimits::NAMES.iter().copied())
}

impl LimitOpts {
    /// The configuration with these limits.
    pub fn configure(&self, config: Config) -> Config {
        self.limit.iter().filter(|l| l.name == STACK.0).fold(config, |config, l| config.stack_size(l.value))
    }

    /// What all stores of the run may use together, if anything bounds it.
    pub fn of_stores(&self) -> Option<Arc<StoreLimits>> {
        let set = |limits: Option<StoreLimits>, l: &LimitOption| match RESOURCES.iter().find(|r| r.0 == l.name) {
            Some(r) => Some(limits.unwrap_or_default().limit(r.2, l.value)),
            None => limits,
        };
        self.limit.iter().fold(None, set).map(Arc::new)
    }

    /// What WASI may use of the host.
    pub fn of_wasi(&self) -> WasiLimits {
        let mut limits = WasiLimits::default();
        for l in &self.limit {
            // False for those of the machine.
            let _ = limits.set(&l.name, l.value);
        }
        limits
    }
}

impl FromStr for LimitOption {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let (name, value) = s.split_once('=').unwrap_or((s, ""));
        let machine = RESOURCES.iter().map(|r| (r.0, r.1)).chain([STACK]);
        let Some((_, what)) = machine.clone().chain(WasiLimits::NAMES.iter().copied()).find(|(known, _)| *known == name) else {
            let known: Vec<_> = machine.chain(WasiLimits::NAMES.iter().copied()).map(|(n, what)| format!("\n  {n}: {what}")).collect();
            return Err(format!("no limit is called `{name}`; there are{}", known.concat()));
        };
        let value =
            parse(value, what.starts_with("bytes")).map_err(|expected| format!("expected {expected} after {name}=, not `{value}`"))?;
        Ok(Self { name: name.into(), value })
    }
}

/// A number, with a unit if it counts bytes.
fn parse(s: &str, bytes: bool) -> Result<u64, &'static str> {
    let expected = if bytes { "a number of bytes, perhaps with a unit (KiB, MiB, GiB, kB, MB, GB)," } else { "a number" };
    let (number, unit) = match UNITS.iter().find(|u| bytes && s.ends_with(u.0)) {
        Some((name, unit)) => (&s[..s.len() - name.len()], *unit),
        None => (s, 1),
    };
    // Without a sign.
    let number = if number.starts_with(|c: char| c.is_ascii_digit()) { number.parse::<u64>().ok() } else { None };
    number.and_then(|n| n.checked_mul(unit)).ok_or(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_counts_have_none() {
        let value = |s: &str| s.parse::<LimitOption>().map(|l| l.value);
        assert_eq!(value("memory=256MiB"), Ok(256 << 20));
        assert_eq!(value("stack=64KiB"), Ok(65536));
        assert_eq!(value("bytes-written=3MB"), Ok(3_000_000));
        assert_eq!(value("memory=12"), Ok(12));
        assert_eq!(value("memory=12B"), Ok(12));
        assert_eq!(value("instances=3"), Ok(3));
        for wrong in [
            "memory",
            "memory=",
            "memory=-1",
            "memory=+1",
            "memory=1TiB",
            "memory=MiB",
            "memory=99999999999GiB",
            "instances=1KiB",
            "none=1",
        ] {
            assert!(value(wrong).is_err(), "{wrong}");
        }
        assert!(value("help").unwrap_err().contains("table-elements"));
    }
}
