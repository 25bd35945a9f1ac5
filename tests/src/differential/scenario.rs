//! What is done with a module, the same on every machine: which functions are called with which arguments, and what the
//! host does when it is called. Everything follows from the seed and from what was observed so far, so that machines
//! which behave alike see the same calls. A [`View`] is what a machine (wasmc on one tier, wasmi) has to offer for that.

use super::shape::{Export, Heap, Shape, Ty};
use std::fmt;
use std::sync::Arc;

/// Pseudo-random numbers from a seed (SplitMix64). A fuzzer can change single ones of them by bytes: each number takes the next two.
#[derive(Clone)]
pub struct Rng {
    state: u64,
    changes: Arc<[u8]>,
    used: usize,
}

impl Rng {
    /// Numbers for one purpose of a seed.
    pub fn new(seed: u64, purpose: u64) -> Self {
        let mut rng = Self { state: seed ^ purpose.wrapping_mul(0xA076_1D64_78BD_642F), changes: Arc::new([]), used: 0 };
        rng.next();
        rng
    }

    /// The same numbers, changed by bytes as far as there are any.
    #[must_use]
    pub fn changed(self, changes: &[u8]) -> Self {
        Self { changes: changes.into(), ..self }
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let change = self.changes.get(self.used..self.used + 2).map_or(0, |b| u64::from(b[0]) | u64::from(b[1]) << 8);
        self.used += 2;
        z ^ (z >> 31) ^ change
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A value as all machines write it.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// Numbers; floats as bits.
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
    V128(u128),
    /// A null reference.
    Null,
    /// A function. As an input the name of an export, observed its type.
    Func(String),
    /// A host reference, made from this number.
    Extern(u32),
    /// An exception.
    Exn(Box<Exn>),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::I32(v) => write!(f, "{v:#x}:i32"),
            Self::I64(v) => write!(f, "{v:#x}:i64"),
            Self::F32(v) => write!(f, "{v:#x}:f32({})", f32::from_bits(*v)),
            Self::F64(v) => write!(f, "{v:#x}:f64({})", f64::from_bits(*v)),
            Self::V128(v) => write!(f, "{v:#x}:v128"),
            Self::Null => write!(f, "null"),
            Self::Func(v) => write!(f, "func {v}"),
            Self::Extern(v) => write!(f, "extern {v}"),
            Self::Exn(v) => write!(f, "{v:?}"),
        }
    }
}

/// An exception: which tag, as far as the machine can name it, and the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exn {
    pub tag: String,
    pub payload: Vec<Value>,
}

/// Why a module stopped, with the names of the specification.
#[derive(Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The results.
    Returned(Vec<Value>),
    /// A trap: its code's name, and the indices of the functions on the stack if the machine knows them.
    Trapped(String, Option<Vec<(u32, Option<u32>)>>),
    /// An exception that nobody caught.
    Threw(Exn),
    /// Anything else; never compared by its text.
    Failed(String),
    /// The stack was used up: what follows cannot be compared.
    Exhausted,
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Returned(v) => write!(f, "returned {v:?}"),
            Self::Trapped(code, Some(frames)) if frames.len() > 12 => {
                write!(f, "trapped: {code}, in functions {:?} and {} more", &frames[..12], frames.len() - 12)
            }
            Self::Trapped(code, Some(frames)) => write!(f, "trapped: {code}, in functions {frames:?}"),
            Self::Trapped(code, None) => write!(f, "trapped: {code}"),
            Self::Threw(e) => write!(f, "threw {e:?}"),
            Self::Failed(e) => write!(f, "failed: {e}"),
            Self::Exhausted => write!(f, "the stack was exhausted"),
        }
    }
}

/// Something that was observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A call of the host, and what it does.
    Host { import: usize, args: Vec<Value>, action: &'static str },
    /// The end of an instantiation or of a call of an export.
    End { what: String, outcome: Outcome },
    /// What a memory, global or table holds.
    State { what: String, state: String },
}

/// What the host does when it is called.
pub enum Reply {
    /// Returns.
    Return(Vec<Value>),
    /// Traps with integer overflow, which hosts do not do otherwise.
    Trap,
    /// Throws an exception of the tag that was imported as number `.0`.
    Throw(usize, Vec<Value>),
    /// Passes on how a call that it made ended.
    Pass,
}

/// The scenario and what was observed. A machine keeps it where its host functions find it.
pub struct Log {
    pub seed: u64,
    pub shape: Arc<Shape>,
    pub events: Vec<Event>,
    /// Whether exports can be used: not before the instance exists.
    pub ready: bool,
    host_calls: u64,
    depth: u32,
}

/// Calls that the host takes part in before it only traps.
const MAX_HOST_CALLS: u64 = 200;
/// Nesting of calls from the host.
const MAX_DEPTH: u32 = 3;
/// Calls of exports in each of the two rounds.
const MAX_CALLS: usize = 12;
/// Elements of a table that are compared.
const MAX_ELEMENTS: u64 = 200;
/// What functions may use up in one call from outside: function entries, turns of loops, bytes of bulk operations.
pub const FUEL: u32 = 1500;

impl Log {
    /// Nothing observed yet.
    pub fn new(seed: u64, shape: Arc<Shape>) -> Self {
        Self { seed, shape, events: Vec::new(), ready: false, host_calls: 0, depth: 0 }
    }

    fn push(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Whether the stack was exhausted: nothing more is observed then.
    pub fn exhausted(&self) -> bool {
        matches!(self.events.last(), Some(Event::End { outcome: Outcome::Exhausted, .. }))
    }
}

/// What a machine offers, from outside and from within a host function.
pub trait View {
    /// The log.
    fn log(&mut self) -> &mut Log;
    /// Calls an export.
    fn call(&mut self, export: &str, args: &[Value]) -> Outcome;
    /// Sets a global.
    fn set_global(&mut self, export: &str, value: &Value);
    /// Reads a global.
    fn global(&mut self, export: &str) -> Value;
    /// Writes to a memory, if the bytes lie in it; tells whether they do.
    fn write_memory(&mut self, export: &str, at: usize, bytes: &[u8]) -> bool;
    /// Grows a memory; its old size if that went well.
    fn grow_memory(&mut self, export: &str, delta: u64) -> Option<u64>;
    /// A memory's size in pages, and its bytes unless they are shared.
    fn memory(&mut self, export: &str, bytes: &mut dyn FnMut(&[u8])) -> u64;
    /// A table's size.
    fn table_size(&mut self, export: &str) -> u64;
    /// Grows a table by nulls; its old size if that went well.
    fn grow_table(&mut self, export: &str, delta: u64) -> Option<u64>;
    /// An element of a table.
    fn element(&mut self, export: &str, index: u64) -> Value;
}

/// A number that finds limits and small offsets.
fn number(rng: &mut Rng) -> u64 {
    const INTERESTING: [u64; 14] =
        [0, 1, u64::MAX, 2, 0x7fff_ffff, 0x8000_0000, 1 << 63, i64::MAX as u64, 0xffff_ffff, 8, 63, 64, 0x7ff0_0000_0000_0000, 65536];
    match rng.below(3) {
        0 => INTERESTING[rng.below(INTERESTING.len() as u64) as usize],
        1 => rng.below(300),
        _ => rng.next(),
    }
}

/// Bits of a float of that width, with numbers that are whole, fractions, infinite, denormal and not a number. NaNs have
/// the canonical payload where payloads cannot be compared.
fn float(rng: &mut Rng, wide: bool, exact_nans: bool) -> u64 {
    let bits = |x: f64| if wide { x.to_bits() } else { u64::from((x as f32).to_bits()) };
    let mask = if wide { u64::MAX } else { u64::from(u32::MAX) };
    let v = match rng.below(6) {
        0 => bits([0.0, -0.0, 1.0, -1.5, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e-310, 4294967296.5][rng.below(9) as usize]),
        1 => bits(rng.next() as i64 as f64),
        2 => bits(rng.below(2000) as f64 / 8.0 - 100.0),
        3 => bits(number(rng) as i64 as f64),
        _ => rng.next() & mask,
    };
    let nan = if wide { f64::from_bits(v).is_nan() } else { f32::from_bits(v as u32).is_nan() };
    if nan && !exact_nans { bits(f64::NAN) } else { v }
}

/// A value of a type that every machine can make; `None` if there is none.
pub fn value(log: &Log, rng: &mut Rng, ty: Ty) -> Option<Value> {
    let exact = log.shape.exact_nans;
    Some(match ty {
        Ty::I32 => Value::I32(number(rng) as i32),
        Ty::I64 => Value::I64(number(rng) as i64),
        Ty::F32 => Value::F32(float(rng, false, exact) as u32),
        Ty::F64 => Value::F64(float(rng, true, exact)),
        Ty::V128 => Value::V128(u128::from(number(rng)) << 64 | u128::from(number(rng))),
        Ty::Ref { heap, nullable } => {
            if nullable && rng.one_in(3) {
                return Some(Value::Null);
            }
            let functions: Vec<&str> = if log.ready { log.shape.exported_functions().map(|(name, _)| name).collect() } else { Vec::new() };
            match heap {
                Heap::Extern => Value::Extern(rng.below(1000) as u32),
                Heap::Func if !functions.is_empty() => Value::Func(functions[rng.below(functions.len() as u64) as usize].to_owned()),
                _ if nullable => Value::Null,
                _ => return None,
            }
        }
    })
}

fn values(log: &Log, rng: &mut Rng, types: &[Ty]) -> Option<Vec<Value>> {
    types.iter().map(|t| value(log, rng, *t)).collect()
}

/// What the host does when the function import `import` is called: decides, does it, and says how to return.
pub fn host(view: &mut dyn View, import: usize, args: Vec<Value>) -> Reply {
    let log = view.log();
    log.host_calls += 1;
    let (number, depth, shape) = (log.host_calls, log.depth, log.shape.clone());
    let mut rng = Rng::new(log.seed, 1000 + number);
    let (_, results) = shape.imported_function(import);
    let returned = values(log, &mut rng, results);
    let note = |view: &mut dyn View, action| view.log().push(Event::Host { import, args: args.clone(), action });
    if number > MAX_HOST_CALLS {
        note(view, "traps, since it was called too often");
        return Reply::Trap;
    }
    let action = if view.log().ready { rng.below(16) } else { 15 };
    match action {
        0 => {
            note(view, "traps");
            return Reply::Trap;
        }
        1 if !shape.imported_tags().is_empty() => {
            let tags = shape.imported_tags();
            let which = rng.below(tags.len() as u64) as usize;
            if let Some(payload) = values(view.log(), &mut rng, &tags[which]) {
                note(view, "throws");
                return Reply::Throw(which, payload);
            }
        }
        2..=4 if depth < MAX_DEPTH => {
            let functions: Vec<_> = shape.exported_functions().collect();
            if !functions.is_empty() {
                let (name, (params, _)) = functions[rng.below(functions.len() as u64) as usize];
                if let Some(args) = values(view.log(), &mut rng, params) {
                    note(view, "calls back");
                    view.log().depth += 1;
                    let outcome = view.call(name, &args);
                    view.log().depth -= 1;
                    let passed = !matches!(outcome, Outcome::Returned(_)) && (rng.one_in(2) || matches!(outcome, Outcome::Exhausted));
                    view.log().push(Event::End { what: format!("{name}{args:?} called by the host"), outcome });
                    if passed {
                        return Reply::Pass;
                    }
                    note(view, "goes on");
                }
            }
        }
        5 | 6 => {
            change(view, &shape, &mut rng);
            note(view, "changes state");
        }
        _ => note(view, "returns"),
    }
    match returned {
        Some(results) => Reply::Return(results),
        None => Reply::Trap,
    }
}

/// The host changes something that the module exports.
fn change(view: &mut dyn View, shape: &Shape, rng: &mut Rng) {
    if shape.exports.is_empty() {
        return;
    }
    let (name, export) = &shape.exports[rng.below(shape.exports.len() as u64) as usize];
    match export {
        Export::Memory if rng.one_in(2) => {
            let grown = view.grow_memory(name, rng.below(3));
            view.log().push(Event::State { what: format!("memory {name}"), state: format!("grown from {grown:?}") });
        }
        Export::Memory => {
            let bytes = rng.next().to_le_bytes();
            let written = view.write_memory(name, rng.below(70_000) as usize, &bytes);
            view.log().push(Event::State { what: format!("memory {name}"), state: format!("written: {written}") });
        }
        Export::Global { ty, mutable: true } if !name.ends_with("fuel") => {
            if let Some(value) = value(view.log(), rng, *ty) {
                view.set_global(name, &value);
            }
        }
        Export::Table => {
            let grown = view.grow_table(name, rng.below(5));
            view.log().push(Event::State { what: format!("table {name}"), state: format!("grown from {grown:?}") });
        }
        _ => {}
    }
}

/// Notes what the instantiations came to, and runs the rest of the scenario if there are instances.
pub fn run(view: &mut dyn View, instantiated: Vec<Outcome>) {
    for outcome in instantiated {
        let failed = !matches!(outcome, Outcome::Returned(_));
        view.log().push(Event::End { what: "instantiation".to_owned(), outcome });
        if failed {
            return;
        }
    }
    view.log().ready = true;
    let shape = view.log().shape.clone();
    let mut rng = Rng::new(view.log().seed, 7);
    state(view, &shape, false);
    let functions: Vec<_> = shape.exported_functions().collect();
    for round in 0..2 {
        let first = rng.below(functions.len().max(1) as u64) as usize;
        for i in 0..functions.len().min(MAX_CALLS) {
            let (name, (params, _)) = functions[(first + i) % functions.len()];
            let Some(args) = values(view.log(), &mut rng, params) else { continue };
            for (name, _) in shape.exports.iter().filter(|(name, _)| name.ends_with("fuel")) {
                view.set_global(name, &Value::I32(FUEL as i32));
            }
            let outcome = view.call(name, &args);
            view.log().push(Event::End { what: format!("round {round}: {name}{args:?}"), outcome });
            if view.log().exhausted() {
                return;
            }
            state(view, &shape, false);
        }
    }
    state(view, &shape, true);
}

/// Notes the state of everything exported; tables' elements only at the end.
fn state(view: &mut dyn View, shape: &Shape, end: bool) {
    for (name, export) in &shape.exports {
        let state = match export {
            Export::Global { .. } => format!("{:?}", view.global(name)),
            Export::Memory => {
                let mut hash = String::new();
                let pages = view.memory(name, &mut |bytes| {
                    // Large memories are hashed at the end only: they would take most of the time.
                    if end || bytes.len() <= 4 << 16 {
                        hash = format!(", {}", &blake3::hash(bytes).to_hex()[..16]);
                    }
                });
                format!("{pages} pages{hash}")
            }
            Export::Table => {
                let size = view.table_size(name);
                let shown = if end { size.min(MAX_ELEMENTS) } else { 0 };
                format!("{size} elements {:?}", (0..shown).map(|i| view.element(name, i)).collect::<Vec<_>>())
            }
            Export::Func(_) | Export::Tag => continue,
        };
        view.log().push(Event::State { what: name.clone(), state });
    }
}
