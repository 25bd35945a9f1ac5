//! From a function's WebAssembly to the interpreter's instructions, in one pass.
//!
//! Every local has a slot, and so has every position of the operand stack. Pushing a local or a constant emits nothing:
//! the instruction that pops it names the local's slot or takes the constant as an immediate. A result stays in the
//! accumulator of its class; the instruction that made it is patched to store it as well if something needs the
//! accumulator before the result is used. `local.set` redirects the instruction before it to the local's slot, and a
//! comparison before a branch or a selection becomes part of it.
//!
//! * `operand`: the operand stack, accumulators, moving values to slots
//! * `emit`: the forms of instructions by where their operands are
//! * `join`: conditions of branches and selections
//! * `address`, `atomic`: memory accesses
//! * `control`: blocks, branches, returns, exceptions
//! * `fuel`: metering
//! * `legacy`: exceptions in their first form
//! * `call`: calls
//! * `operator`: which instruction becomes what
//! * `vector`, `wide`: the same for vectors and 128-bit integers
//!
//! Bodies were validated when the module was decoded. What validation rules out is an error all the same, never a panic.

mod address;
mod atomic;
mod call;
mod control;
mod emit;
mod fuel;
mod join;
mod legacy;
mod operand;
mod operator;
mod vector;
mod wide;

use super::code::{Body, Catch, Func, HEADER, Sig, Try, Ty, slots};
use super::control as handlers;
use super::dispatch::{Ip, address};
use crate::Result;
use crate::code::Code;
use crate::module::ModuleInner;
use anyhow::{Context as _, anyhow, bail};
use control::{Block, Label, Pad};
use emit::Last;
use join::Increment;
use operand::{Entry, Pending};
use wasmc_environ::module::Module;
use wasmc_environ::wasmparser::{BinaryReader, FunctionBody};
use wasmc_environ::{DefinedFuncIndex, FuncIndex};

/// Greatest frame in slots: as large as the largest stack of values.
const MAX_FRAME: i32 = 1 << 27;

/// Numbers of the accumulators by class of type: integers and references, f64, f32.
const CLASSES: usize = 3;

/// The accumulator of a type; `None` for vectors.
fn class(ty: Ty) -> Option<usize> {
    match ty {
        Ty::I32 | Ty::I64 | Ty::FuncRef | Ty::HeapRef => Some(0),
        Ty::F64 => Some(1),
        Ty::F32 => Some(2),
        Ty::V128 => None,
    }
}

/// Something that validation rules out.
fn invalid() -> crate::Error {
    anyhow!("internal error: the interpreter met a function body that is not valid")
}

/// A slot's number does not fit a field: translate again, with slots to copy through.
#[derive(Debug)]
struct TooFar;

impl core::fmt::Display for TooFar {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("internal error: a frame of the interpreter is too large")
    }
}

impl core::error::Error for TooFar {}

/// The function throws again what it caught: translate again, with handlers that keep it.
#[derive(Debug)]
struct Rethrows;

impl core::fmt::Display for Rethrows {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("internal error: the interpreter does not have an exception that it caught")
    }
}

impl core::error::Error for Rethrows {}

/// State of the translation of one function.
struct Translator<'a> {
    module: &'a ModuleInner,
    env: &'a Module,
    sig: &'a Sig,
    /// Instructions.
    code: Vec<u64>,
    /// See `Body::map`.
    map: Vec<(u32, u32)>,
    /// Offset of the current operator in the wasm binary.
    offset: u32,
    /// Slot and type of each local.
    locals: Vec<(i32, Ty)>,
    /// How many operands are just the local with this index.
    forwarded: Vec<u32>,
    /// Operands.
    stack: Vec<Entry>,
    /// No operand below this position is a local or in an accumulator.
    settled: usize,
    /// Slot of the next operand.
    height: i32,
    /// Slots that the frame needs.
    max: i32,
    /// Operands that are only in an accumulator.
    pending: [Option<Pending>; CLASSES],
    /// The slot whose value an accumulator has.
    holds: [Option<i32>; CLASSES],
    /// The instruction emitted last.
    last: Last,
    /// The instruction emitted last, if it counts in a local.
    increment: Option<Increment>,
    /// An operand that the current operator has popped is in the integer accumulator.
    acc_in_use: bool,
    /// The current operator's instructions leave something on the native stack (see `vector`).
    bounce: bool,
    /// Instructions before this index may not be changed: a branch leads here.
    floor: usize,
    /// First of the slots to copy through, in a function with very many slots.
    temporaries: Option<i32>,
    /// Handlers of `try` keep the exception.
    rethrows: bool,
    blocks: Vec<Block<'a>>,
    labels: Vec<Label>,
    tries: Vec<Try>,
    pads: Vec<Pad>,
    /// A bit for each slot that may hold a heap reference.
    roots: Vec<u64>,
    reachable: bool,
    /// Blocks begun in unreachable code.
    skipped: u32,
    /// If calls are traced: the slot with the number of the entry.
    trace_slot: Option<i32>,
    /// If the engine meters.
    meter: Option<fuel::Meter>,
}

/// Translates a function; the result is its first instruction.
///
/// # Errors
/// If the module does not have its WebAssembly any more, or the body is not valid.
pub(super) fn function(module: &ModuleInner, func: &Func) -> Result<Ip> {
    if func.body().is_some() {
        // Another thread did it.
        return Ok(func.code.load(core::sync::atomic::Ordering::Acquire));
    }
    let env = &*module.env;
    intact(module)?;
    let wasm = module.wasm().context("cannot interpret: the artifact was stripped of its WebAssembly")?;
    let range = env.bodies.get(func.index.index()).ok_or_else(invalid)?;
    let bytes = wasm.get(range.start as usize..range.end as usize).ok_or_else(invalid)?;
    let index = env.func_index(func.index);
    let (mut far, mut rethrows) = (false, false);
    let body = loop {
        match Translator::new(module, index, far, rethrows).run(bytes, range.start as usize) {
            Err(e) if !far && e.is::<TooFar>() => far = true,
            Err(e) if !rethrows && e.is::<Rethrows>() => rethrows = true,
            other => break other?,
        }
    };
    // Written to meanwhile, perhaps: nothing of it has run.
    intact(module)?;
    Ok(func.publish(body))
}

/// The file of an artifact was written to since it was loaded: its functions are not those that were validated.
#[derive(Debug, thiserror::Error)]
#[error("artifact changed while running")]
pub(super) struct Changed;

fn intact(module: &ModuleInner) -> Result<()> {
    match &module.code {
        Code::Loaded(code) if !code.wasm_is_intact() => Err(Changed.into()),
        _ => Ok(()),
    }
}

/// Whether a function of a module has no native code.
pub(super) fn is_interpreted(module: &ModuleInner, func: DefinedFuncIndex) -> bool {
    match &module.code {
        Code::None => true,
        Code::Loaded(code) => !code.is_compiled(func),
    }
}

impl<'a> Translator<'a> {
    fn new(module: &'a ModuleInner, index: FuncIndex, far: bool, rethrows: bool) -> Self {
        let env = &*module.env;
        Self {
            module,
            env,
            sig: module.interp.sig(env, env.functions[index.index()]),
            code: Vec::new(),
            map: Vec::new(),
            offset: 0,
            locals: Vec::new(),
            forwarded: Vec::new(),
            stack: Vec::new(),
            settled: 0,
            height: 0,
            max: 0,
            pending: [None; CLASSES],
            holds: [None; CLASSES],
            last: Last::NONE,
            increment: None,
            acc_in_use: false,
            bounce: false,
            floor: 0,
            temporaries: far.then_some(0),
            rethrows,
            blocks: Vec::new(),
            labels: Vec::new(),
            tries: Vec::new(),
            pads: Vec::new(),
            roots: Vec::new(),
            reachable: true,
            skipped: 0,
            trace_slot: None,
            meter: None,
        }
    }

    fn run(mut self, bytes: &'a [u8], start: usize) -> Result<Body> {
        let body = FunctionBody::new(BinaryReader::new(bytes, start as u64));
        let mut reader = body.get_locals_reader()?;
        let mut at = super::frame::shared_base(self.sig.shared_slots());
        for ty in &self.sig.params {
            self.add_local(at, *ty);
            at += slots(*ty) as i32;
        }
        at = self.temporaries.map_or(0, |_| operand::TEMPORARY_SLOTS);
        let first = at;
        for _ in 0..reader.get_count() {
            let (count, ty) = reader.read()?;
            let ty = value_type(ty)?;
            for _ in 0..count {
                self.add_local(at, ty);
                at += slots(ty) as i32;
            }
        }
        self.code.reserve(bytes.len());
        // Filled in at the end: the bytes that the frame needs.
        self.code.push(0);
        if at > first {
            self.code.push(address(handlers::zero));
            self.code.push(u64::from(first as u32) | ((at - first) as u64) << 32);
        }
        if self.module.engine.config().call_tracer.is_some() {
            self.code.extend([address(super::trace::trace_enter), u64::from(at as u32)]);
            self.trace_slot = Some(at);
            at += 1;
        }
        self.height = at;
        self.max = at;
        self.floor = self.code.len();
        if self.module.tier.is_some() {
            self.code.push(address(super::tier::count_call));
            self.floor = self.code.len();
        }
        self.begin_function();
        self.begin_metering(&body);

        let mut operators = wasmc_environ::wasmparser::OperatorsReader::new(reader.get_binary_reader());
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset()?;
            self.offset = offset as u32;
            self.metered_operator(&operator)?;
            if self.max > MAX_FRAME {
                bail!("a function needs {} MiB of stack for one frame", MAX_FRAME >> 17);
            }
            if self.blocks.is_empty() {
                break;
            }
        }
        self.finish(start as u32)
    }

    fn add_local(&mut self, slot: i32, ty: Ty) {
        self.locals.push((slot, ty));
        self.forwarded.push(0);
        if ty == Ty::HeapRef {
            self.add_root(slot);
        }
    }

    fn finish(mut self, wasm_start: u32) -> Result<Body> {
        if !self.blocks.is_empty() {
            return Err(invalid());
        }
        self.emit_pads()?;
        self.code[0] = (self.max as u64 + 1) * 8;
        let tries = core::mem::take(&mut self.tries);
        let tries = tries.into_iter().map(|t| self.resolve(t)).collect::<Result<Box<[Try]>>>()?;
        let roots = self.root_slots();
        let first_local = self.temporaries.map_or(0, |_| operand::TEMPORARY_SLOTS);
        let (words, map, trace_slot) = (self.code.into_boxed_slice(), self.map.into_boxed_slice(), self.trace_slot);
        let locals = if self.module.tier.is_some() { self.locals.into() } else { Box::default() };
        Ok(Body { words, entry: 1, wasm_start, first_local, map, tries, roots, trace_slot, locals })
    }

    /// Replaces the labels in the clauses of a `try_table` by their positions.
    fn resolve(&self, t: Try) -> Result<Try> {
        let resolve = |c: Catch| {
            let target = self.labels.get(c.target as usize).and_then(|l| l.position).ok_or_else(invalid)?;
            Ok(Catch { target, ..c })
        };
        Ok(Try { catches: t.catches.into_vec().into_iter().map(resolve).collect::<Result<_>>()?, ..t })
    }

    /// Notes that the instruction to be emitted next may trap or call.
    fn mark(&mut self) {
        self.map.push((self.code.len() as u32, self.offset));
    }
}

/// The representation of a value type.
fn value_type(ty: wasmc_environ::wasmparser::ValType) -> Result<Ty> {
    use wasmc_environ::types::ValType;
    use wasmc_environ::wasmparser::ValType as Wp;
    Ok(match ty {
        Wp::I32 => Ty::I32,
        Wp::I64 => Ty::I64,
        Wp::F32 => Ty::F32,
        Wp::F64 => Ty::F64,
        Wp::V128 => Ty::V128,
        Wp::Ref(r) => ValType::Ref(wasmc_environ::types::RefType::from_wasmparser(r, 0)?).abi(),
    })
}

/// Distance from a callee's first shared slot to its `sp`.
fn frame_distance(sig: &Sig) -> i32 {
    sig.shared_slots() as i32 + HEADER
}
