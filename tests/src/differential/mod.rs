//! Differential testing: random modules run on every tier of wasmc and, where it can, on wasmi, with the same inputs; what
//! is observed must be the same. `generate` makes the module of a seed, `scenario` says what is done with it, `tiers` and
//! `oracle` do it, and this file compares and writes down what differs.

mod dense;
mod generate;
mod oracle;
mod rewrite;
mod scenario;
mod shape;
mod tiers;

use crate::fuzz::forgiving;
pub use generate::{Binary, Case, case, changed_case};
pub use scenario::Rng;
use scenario::{Event, Outcome};
use shape::{Heap, Ty};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use tiers::Metering;
pub use tiers::Way;

/// The bits of a float, or those of the canonical NaN for every NaN.
fn hide_f32(bits: u32, exact: bool) -> u32 {
    if !exact && f32::from_bits(bits).is_nan() { 0x7fc0_0000 } else { bits }
}

/// The bits of a float, or those of the canonical NaN for every NaN.
fn hide_f64(bits: u64, exact: bool) -> u64 {
    if !exact && f64::from_bits(bits).is_nan() { 0x7ff8_0000_0000_0000 } else { bits }
}

/// The name of a function type.
fn signature(params: impl Iterator<Item = Ty>, results: impl Iterator<Item = Ty>) -> String {
    let name = |ty| match ty {
        Ty::I32 => 'i',
        Ty::I64 => 'l',
        Ty::F32 => 'f',
        Ty::F64 => 'd',
        Ty::V128 => 'v',
        Ty::Ref { heap: Heap::Func, .. } => 'F',
        Ty::Ref { heap: Heap::Extern, .. } => 'X',
        Ty::Ref { heap: Heap::Other, .. } => 'R',
    };
    params.map(name).chain(['>']).chain(results.map(name)).collect()
}

/// Where failures are written.
pub fn folder() -> PathBuf {
    crate::workspace().join("target/diff")
}

/// What many modules came to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Modules that ran.
    pub modules: u64,
    /// Of these, how many wasmi ran too.
    pub with_oracle: u64,
    /// How calls ended.
    pub ends: BTreeMap<String, u64>,
    /// In how many modules instructions of a proposal occur.
    pub groups: BTreeMap<&'static str, u64>,
    /// What differed: a report each.
    pub failures: Vec<String>,
}

impl Summary {
    /// Adds another one.
    pub fn add(&mut self, other: Self) {
        self.modules += other.modules;
        self.with_oracle += other.with_oracle;
        for (k, v) in other.ends {
            *self.ends.entry(k).or_default() += v;
        }
        for (k, v) in other.groups {
            *self.groups.entry(k).or_default() += v;
        }
        self.failures.extend(other.failures);
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} modules, {} of them on wasmi, {} differ", self.modules, self.with_oracle, self.failures.len())?;
        write!(f, "\n  ends: {:?}\n  modules with: {:?}", self.ends, self.groups)
    }
}

/// The machines, made once.
pub struct Machines {
    engines: tiers::Engines,
    oracle: wasmi::Engine,
}

impl Machines {
    /// All of them.
    ///
    /// # Panics
    /// If an engine cannot be made.
    #[expect(clippy::new_without_default, reason = "it takes long, and can fail")]
    pub fn new() -> Self {
        Self { engines: tiers::Engines::new(), oracle: oracle::engine() }
    }

    /// Runs the module of a seed on all machines and compares.
    ///
    /// # Panics
    /// If a machine does.
    pub fn check(&self, seed: u64, summary: &mut Summary) {
        if let Some(case) = generate::case(seed) {
            self.check_case(&case, summary);
        }
    }

    /// Runs a module on all machines and compares.
    ///
    /// # Panics
    /// If a machine does.
    pub fn check_case(&self, case: &Case, summary: &mut Summary) {
        let seed = case.seed;
        let expected = self.engines.run(case, Way::Interpreted);
        summary.modules += 1;
        for group in &case.shape.groups {
            *summary.groups.entry(group).or_default() += 1;
        }
        for event in &expected {
            if let Event::End { outcome, .. } = event {
                let name = match outcome {
                    Outcome::Returned(_) => "returned".to_owned(),
                    Outcome::Trapped(code, _) => format!("trapped: {code}"),
                    Outcome::Threw(_) => "threw".to_owned(),
                    // What imports and types are called differs from module to module.
                    Outcome::Failed(why) => format!("failed: {}", why.chars().filter(char::is_ascii).take(28).collect::<String>()),
                    Outcome::Exhausted => "exhausted".to_owned(),
                };
                *summary.ends.entry(name).or_default() += 1;
            }
        }
        // The two rarer ways take their turns.
        let extra = if seed.is_multiple_of(2) { [Way::Checked, Way::Auto] } else { [Way::Artifact, Way::AutoChecked] };
        for way in [Way::Compiled, Way::Mixed].into_iter().chain(extra) {
            let found = self.engines.run(case, way);
            if let Some(at) = difference(&expected, &found, false) {
                summary.failures.push(report(case, &format!("{way:?}").to_lowercase(), at, &expected, &found));
                return;
            }
        }
        if seed.is_multiple_of(3) && !self.check_metered(case, &expected, summary) {
            return;
        }
        // wasmi's own assertions can fail: then it has nothing to say.
        let found = forgiving(|| oracle::run(&self.oracle, case)).unwrap_or_else(|| {
            eprintln!("(wasmi panicked on seed {seed}, which is compared without it)");
            *summary.ends.entry("wasmi panicked".to_owned()).or_default() += 1;
            None
        });
        if let Some(found) = found {
            summary.with_oracle += 1;
            if let Some(at) = difference(&expected, &found, true) {
                summary.failures.push(report(case, "wasmi", at, &expected, &found));
            }
        }
    }
}

/// How many limits of fuel a metered module is run with.
const LIMITS: u64 = 3;

impl Machines {
    /// Runs a module with metering: it does the same, counts the same on every tier, and stops at the same place wherever its fuel
    /// ends. Says whether that is so.
    fn check_metered(&self, case: &Case, unmetered: &[Event], summary: &mut Summary) -> bool {
        let costs = case.seed.is_multiple_of(2);
        let mut limits = vec![None];
        let mut at = 0;
        while let Some(fuel) = limits.get(at).copied() {
            at += 1;
            let metering = Metering { costs, fuel };
            let (expected, counts) = self.engines.run_metered(case, Way::Interpreted, metering);
            if fuel.is_none() {
                // How deep a stack is that is exhausted depends on the tier, and so does what is counted until then.
                let exhausted = |e: &Event| matches!(e, Event::End { outcome: Outcome::Exhausted, .. });
                if unmetered.iter().chain(&expected).any(exhausted) {
                    return true;
                }
                if let Some(at) = difference(unmetered, &expected, false) {
                    summary.failures.push(report(case, "metered", at, unmetered, &expected));
                    return false;
                }
                let cost = counts.cost.unwrap_or(0);
                limits.extend((0..LIMITS).map(|i| Some(cost * (2 * i + 1) / (2 * LIMITS) + case.seed % 5)));
                *summary.ends.entry("metered".to_owned()).or_default() += 1;
            }
            for way in [Way::Compiled, Way::Mixed, Way::Artifact] {
                let (found, counted) = self.engines.run_metered(case, way, metering);
                let name = format!("{way:?} metered {metering:?}").to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
                if let Some(at) = difference(&expected, &found, false) {
                    summary.failures.push(report(case, &name, at, &expected, &found));
                    return false;
                }
                if counts != counted {
                    let text = report(case, &name, expected.len(), &expected, &found);
                    summary.failures.push(format!("{text}  interpreted: {counts:?}\n  {way:?}: {counted:?}\n"));
                    return false;
                }
            }
        }
        true
    }
}

/// The first event that differs. What follows the exhaustion of a stack is not compared: stacks differ in size.
fn difference(expected: &[Event], found: &[Event], oracle: bool) -> Option<usize> {
    let exhausted = |e: Option<&Event>| matches!(e, Some(Event::End { outcome: Outcome::Exhausted, .. }));
    for at in 0..expected.len().max(found.len()) {
        let (a, b) = (expected.get(at), found.get(at));
        if exhausted(a) || exhausted(b) {
            return None;
        }
        match (a, b) {
            (Some(a), Some(b)) if same(a, b, oracle) => {}
            _ => return Some(at),
        }
    }
    None
}

fn same(a: &Event, b: &Event, oracle: bool) -> bool {
    let (Event::End { what: wa, outcome: a }, Event::End { what: wb, outcome: b }) = (a, b) else { return a == b };
    wa == wb
        && match (a, b) {
            (Outcome::Failed(_), Outcome::Failed(_)) => true,
            // wasmi knows no stacks, and does not tell an index outside the table of a call from others.
            (Outcome::Trapped(a, _), Outcome::Trapped(b, _)) if oracle => {
                let merged = |c: &str| if c == "UndefinedElement" { "TableOutOfBounds".to_owned() } else { c.to_owned() };
                merged(a) == merged(b)
            }
            _ => a == b,
        }
}

/// Writes the module and what was observed, and says where.
fn report(case: &Case, way: &str, at: usize, expected: &[Event], found: &[Event]) -> String {
    let seed = case.seed;
    let show = |events: &[Event]| events.get(at).map_or_else(|| "nothing".to_owned(), |e| format!("{e:?}"));
    let mut text = format!("seed {seed} ({}): {way} differs from interpreted at event {at}\n", case.about);
    let _ = writeln!(text, "  interpreted: {}\n  {way}: {}", show(expected), show(found));
    let base = folder().join(format!("seed-{seed}"));
    let log = |events: &[Event]| events.iter().fold(String::new(), |all, e| all + &format!("{e:?}\n"));
    let write = |extension: &str, bytes: &[u8]| {
        std::fs::create_dir_all(folder())?;
        std::fs::write(base.with_extension(extension), bytes)
    };
    let mut written = Ok(());
    for (binary, name) in [(Some(&case.first), ""), (case.second.as_ref(), "second.")] {
        let Some(binary) = binary else { continue };
        let wat = wasmprinter::print_bytes(&binary.wasm).unwrap_or_else(|e| format!(";; {e}\n"));
        written =
            written.and_then(|()| write(&format!("{name}wasm"), &binary.wasm)).and_then(|()| write(&format!("{name}wat"), wat.as_bytes()));
    }
    let written = written
        .and_then(|()| write("interpreted.log", log(expected).as_bytes()))
        .and_then(|()| write(&format!("{way}.log"), log(found).as_bytes()));
    match written {
        Ok(()) => {
            let _ = writeln!(text, "  module and logs: {}.*", base.display());
        }
        Err(error) => {
            let _ = writeln!(text, "  module and logs could not be written: {error}");
        }
    }
    let _ = writeln!(
        text,
        "  again: WASMC_DIFF_SEED={seed} cargo nextest run --cargo-profile tested -p wasmc-tests --features slow --test diff"
    );
    text
}
