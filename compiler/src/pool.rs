//! From bytes to compiled functions: decode, find the facts that all bodies share, then validate, translate and compile
//! every body once, on as many threads as asked for. The largest bodies go first, results are placed by index, and of
//! several errors the one with the lowest index is reported, so the outcome does not depend on the number of threads.

use crate::facts::Facts;
use crate::function::{self, CompiledFunction, Failure, Keep};
use crate::interpret;
use crate::isa::Target;
use crate::opt::inlining::Body;
use crate::opt::sites::{FIRST_LOCATION, Sites};
use crate::opt::{self, CallGraph, Inlining, Library, Passes};
use crate::stubs::StubPlan;
use crate::symbols::Symbol;
use crate::trampoline::Stubs;
use crate::translate::{self, ModuleEnv, TranslateContext};
use cranelift_codegen::Context;
use cranelift_frontend::FunctionBuilderContext;
use rayon::ThreadPool;
use rayon::prelude::*;
use std::any::Any;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use wasmc_environ::branch_hints::BranchHints;
use wasmc_environ::builtins::Builtin;
use wasmc_environ::costs::CostTable;
use wasmc_environ::decode::{Decoded, FunctionToValidate, decode, validate_body};
use wasmc_environ::error::DecodeErrorKind;
use wasmc_environ::features::Features;
use wasmc_environ::jit::{CompileError, Interpret};
use wasmc_environ::names::function_names;
use wasmc_environ::types::AbiSignature;
use wasmc_environ::vmoffsets::VMOffsets;
use wasmc_environ::{DecodeError, DefinedFuncIndex, FuncIndex, Module, Tunables, scan};
use wasmparser::FuncValidatorAllocations;

/// A stack for the code generator's recursion over deeply nested input.
const WORKER_STACK: usize = 16 << 20;
/// More threads than this are not started, whatever is asked for.
const MAX_JOBS: usize = 1024;
/// Modules with less code than this are compiled on the calling thread: starting others would take longer.
const SMALL_MODULE: usize = 2 << 10;

/// Fewer functions than this are translated on one thread.
const SMALL_LEVEL: usize = 64;

/// What to make of each function.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Emit {
    /// Code, and what `Keep` says.
    Code(Keep),
    /// Only the CLIF, as text; no stubs.
    Clif,
}

/// What a compilation depends on.
pub struct Options<'a> {
    /// The target.
    pub target: &'a Target,
    /// Functions to leave uncompiled.
    pub interpret: &'a [Interpret],
    /// Options that change code.
    pub tunables: &'a Tunables,
    /// What instructions cost in metered code, if not 1 each.
    pub costs: Option<&'a CostTable>,
    /// How much is inlined.
    pub inlining: Inlining,
    /// Which other optimisations of wasmc's own there are.
    pub passes: Passes,
    /// Proposals that are on.
    pub features: &'a Features,
    /// What to make.
    pub emit: Emit,
    /// Called with the number of finished functions and of all of them, from any thread.
    pub progress: Option<&'a (dyn Fn(usize, usize) + Sync)>,
}

/// A compiled module.
pub struct CompiledModule {
    /// The module, with its closed tables.
    pub module: Module,
    /// For each defined function whether it was left uncompiled.
    pub interpreted: Vec<bool>,
    /// Which of them nobody asked for: they are too large for native code.
    pub too_large: Vec<FuncIndex>,
    /// The signatures with stubs, by the number in `Symbol::Stub`.
    pub signatures: Vec<AbiSignature>,
    /// The defined functions in order, then the stubs.
    pub items: Vec<(Symbol, CompiledFunction)>,
}

/// The threads for compilations that do not ask for a number: started once, since a server may compile often.
/// They belong to the process that started them: the child of a fork does not have them.
static THREADS: OnceLock<(u32, ThreadPool)> = OnceLock::new();

fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(MAX_JOBS)
}

/// Runs `work` with as many threads as asked for.
///
/// # Errors
/// That of `work`, or if the threads cannot be started. A panic is an error too: what catches those of single
/// functions does not see the rest of the pipeline.
pub fn with_threads<R: Send>(jobs: Option<usize>, work: impl FnOnce() -> Result<R, CompileError> + Send) -> Result<R, CompileError> {
    let start = |threads: usize| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .stack_size(WORKER_STACK)
            .thread_name(|i| format!("compile-{i}"))
            .build()
            .map_err(|e| CompileError::Output(format!("cannot start {threads} threads: {e}")))
    };
    let work = || catch_unwind(AssertUnwindSafe(work));
    let outcome = match (jobs, THREADS.get()) {
        (Some(n), _) => start(n.clamp(1, MAX_JOBS))?.install(work),
        (None, Some((process, shared))) if *process == std::process::id() => shared.install(work),
        (None, Some(_)) => start(default_threads())?.install(work),
        (None, None) => {
            let pool = start(default_threads())?;
            THREADS.get_or_init(|| (std::process::id(), pool)).1.install(work)
        }
    };
    outcome.unwrap_or_else(|panic| Err(CompileError::Output(format!("the compiler panicked: {}", panic_message(&*panic)))))
}

/// Does two things, at the same time where this is a thread of `with_threads`. Elsewhere, `rayon::join` would start threads that nobody
/// asked for, and that the child of a fork waits for in vain.
pub fn join<A: Send, B: Send>(a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
    if rayon::current_thread_index().is_some() { rayon::join(a, b) } else { (a(), b()) }
}

/// How often a module is compiled anew, each time with more functions left to the interpreter, since they were found to be too
/// large. One time finds all of them but for what inlining adds.
const ATTEMPTS: usize = 4;

/// Decodes, validates and compiles a module. To be called in `with_threads`.
///
/// # Errors
/// If the module is not valid, an option does not fit it, or the code generator fails.
pub fn compile(wasm: &[u8], options: &Options<'_>) -> Result<CompiledModule, CompileError> {
    let mut too_large = BTreeSet::new();
    for _ in 0..ATTEMPTS {
        match attempt(wasm, options, &too_large)? {
            Attempt::Done(module) => return Ok(*module),
            Attempt::TooLarge(more) => too_large.extend(more),
        }
    }
    Err(CompileError::Output("the module's functions are too large for native code; interpret it (--interpret all)".into()))
}

/// The outcome of compiling a module.
enum Attempt {
    Done(Box<CompiledModule>),
    /// These must be left to the interpreter.
    TooLarge(Vec<DefinedFuncIndex>),
}

fn attempt(wasm: &[u8], options: &Options<'_>, found: &BTreeSet<DefinedFuncIndex>) -> Result<Attempt, CompileError> {
    let Decoded { mut module, functions } = decode(wasm, options.features)?;
    let mut interpreted = interpret::resolve(&module, options.interpret, &|| function_names(&module, wasm))?;
    let mut facts = Facts::of(&functions);
    let mut too_large = Vec::new();
    for (i, interpreted) in interpreted.iter_mut().enumerate() {
        let index = DefinedFuncIndex::from_u32(i as u32);
        if !*interpreted && (facts.fits.get(i) == Some(&false) || found.contains(&index)) {
            *interpreted = true;
            too_large.push(index);
        }
    }
    module.closed_tables = scan::closed_tables(&module, |t| facts.touched.contains(&t));
    module.escaping = scan::escaping(&module, facts.functions.iter().copied());
    let offsets = VMOffsets::new(&module, options.tunables.static_memory)
        .ok_or_else(|| DecodeError::limit("the module's definitions take more than 2 GiB", 0))?;
    let plan = match options.emit {
        Emit::Clif => StubPlan::default(),
        Emit::Code(_) => StubPlan::new(&module, &facts, &interpreted),
    };
    let inlining = match options.emit {
        // Traces are of functions as they are written.
        Emit::Code(_) if !options.tunables.trace && wasm.len() < FIRST_LOCATION as usize => options.inlining,
        _ => Inlining::Off,
    };
    let graph = match inlining {
        Inlining::Off => CallGraph::default(),
        _ => CallGraph::new(&module, std::mem::take(&mut facts.bodies), &interpreted, inlining),
    };
    drop(facts);

    let isa = &*options.target.isa;
    let mut env = ModuleEnv::new(&module, &offsets, options.tunables, isa);
    env.costs = options.costs;
    env.frame_locals = options.passes.frame_locals;
    env.scaled_indices &= options.passes.scaled_indices;
    if options.features.branch_hinting {
        env.hints = BranchHints::read(wasm);
    }
    let env = env;
    let stubs = Stubs { module: &module, offsets: &offsets, env: &env, isa, signatures: &plan.signatures };
    let mut shared = Shared { options, wasm, stubs: &stubs, interpreted: &interpreted, graph: &graph, library: &Library::new(inlining, 0) };
    let mut tasks: Vec<Task<'_>> = functions
        .into_iter()
        .enumerate()
        .map(|(i, f)| {
            let range = f.body.range();
            Task { number: i, size: (range.end - range.start) as usize, work: Work::Body(DefinedFuncIndex::from_u32(i as u32), f) }
        })
        .collect();
    let first_stub = tasks.len();
    let library = fill_library(&shared, inlining, &mut tasks);
    shared.library = &library;
    tasks.extend(plan.symbols.iter().enumerate().map(|(i, s)| Task { number: first_stub + i, size: 0, work: Work::Stub(*s) }));
    let mut items = match run(&shared, tasks)? {
        Outcome { too_large, .. } if !too_large.is_empty() => return Ok(Attempt::TooLarge(too_large)),
        Outcome { items, .. } => items,
    };

    // The trampolines of builtins are made for what the code turned out to call.
    let used: BTreeSet<u32> = items
        .iter()
        .flat_map(|(_, f)| f.relocations.iter())
        .filter_map(|r| if let Symbol::Builtin(b) = r.symbol { Some(b as u32) } else { None })
        .collect();
    let tasks = used
        .into_iter()
        .filter_map(|b| Builtin::ALL.get(b as usize))
        .enumerate()
        .map(|(i, b)| Task { number: i, size: 0, work: Work::Stub(Symbol::Builtin(*b)) })
        .collect();
    items.append(&mut run(&Shared { options: &Options { progress: None, ..*options }, ..shared }, tasks)?.items);
    let too_large = too_large.into_iter().map(|i| module.func_index(i)).collect();
    Ok(Attempt::Done(Box::new(CompiledModule { signatures: plan.signatures, interpreted, too_large, items, module })))
}

/// Something to compile.
pub(crate) struct Task<'a> {
    /// Place among the results.
    pub(crate) number: usize,
    /// Bytes of wasm.
    pub(crate) size: usize,
    pub(crate) work: Work<'a>,
}

pub(crate) enum Work<'a> {
    Body(DefinedFuncIndex, FunctionToValidate<'a>),
    /// A function that is entered at the loop at an offset.
    FromLoop(DefinedFuncIndex, FunctionToValidate<'a>, u32),
    /// A function that was translated for the library, or why it could not be.
    Translated(DefinedFuncIndex, Option<CompileError>),
    Stub(Symbol),
}

/// What all threads read.
#[derive(Copy, Clone)]
pub(crate) struct Shared<'a> {
    pub(crate) options: &'a Options<'a>,
    pub(crate) wasm: &'a [u8],
    pub(crate) stubs: &'a Stubs<'a>,
    pub(crate) interpreted: &'a [bool],
    pub(crate) graph: &'a CallGraph,
    pub(crate) library: &'a Library,
}

/// Translates the functions that may be inlined, level by level, so that their tasks have only code left to make.
fn fill_library(shared: &Shared<'_>, inlining: Inlining, tasks: &mut [Task<'_>]) -> Library {
    let mut library = Library::new(inlining, tasks.len());
    for level in shared.graph.levels() {
        let bodies: Vec<(DefinedFuncIndex, FunctionToValidate<'_>)> = level
            .iter()
            .filter_map(|i| match std::mem::replace(&mut tasks.get_mut(i.index())?.work, Work::Translated(*i, None)) {
                Work::Body(_, f) => Some((*i, f)),
                _ => None,
            })
            .collect();
        let shared = Shared { library: &library, ..*shared };
        let translate = |worker: &mut Worker, (index, f)| (index, worker.translate_for_library(&shared, index, f));
        let translated: Vec<_> = if bodies.len() < SMALL_LEVEL {
            let mut worker = Worker::default();
            bodies.into_iter().map(|b| translate(&mut worker, b)).collect()
        } else {
            bodies.into_par_iter().with_min_len(SMALL_LEVEL / 4).map_init(Worker::default, translate).collect()
        };
        for (index, outcome) in translated {
            match outcome {
                Ok(body) => library.insert(index, body),
                Err(e) => {
                    if let Some(task) = tasks.get_mut(index.index()) {
                        task.work = Work::Translated(index, Some(e));
                    }
                }
            }
        }
    }
    library
}

/// Where tasks come from and where results go.
struct Queue<'a> {
    tasks: Mutex<std::vec::IntoIter<Task<'a>>>,
    /// The lowest number that failed; tasks above it need not be done.
    failed: AtomicUsize,
    done: AtomicUsize,
    total: usize,
    finished: Mutex<Vec<Results>>,
}

#[derive(Default)]
struct Results {
    items: Vec<(usize, Symbol, CompiledFunction)>,
    errors: Vec<(usize, CompileError)>,
    too_large: Vec<DefinedFuncIndex>,
}

/// What became of all tasks.
pub(crate) struct Outcome {
    pub(crate) items: Vec<(Symbol, CompiledFunction)>,
    /// Functions that are too large for native code; if there are any, the items are not complete.
    pub(crate) too_large: Vec<DefinedFuncIndex>,
}

pub(crate) fn run(shared: &Shared<'_>, mut tasks: Vec<Task<'_>>) -> Result<Outcome, CompileError> {
    let total = tasks.len();
    let bytes: usize = tasks.iter().map(|t| t.size.max(16)).sum();
    tasks.sort_by_key(|t| (std::cmp::Reverse(t.size), t.number));
    let queue = Queue {
        tasks: Mutex::new(tasks.into_iter()),
        failed: AtomicUsize::new(usize::MAX),
        done: AtomicUsize::new(0),
        total,
        finished: Mutex::new(Vec::new()),
    };
    let threads = rayon::current_num_threads().min(total);
    if threads <= 1 || bytes < SMALL_MODULE {
        work_off(shared, &queue);
    } else {
        rayon::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|_| work_off(shared, &queue));
            }
        });
    }
    let finished = queue.finished.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut slots: Vec<Option<(Symbol, CompiledFunction)>> = Vec::new();
    slots.resize_with(total, || None);
    let mut first_error: Option<(usize, CompileError)> = None;
    let mut too_large = Vec::new();
    for results in finished {
        too_large.extend(results.too_large);
        for (number, symbol, f) in results.items {
            slots[number] = Some((symbol, f));
        }
        for (number, e) in results.errors {
            if first_error.as_ref().is_none_or(|(n, _)| number < *n) {
                first_error = Some((number, e));
            }
        }
    }
    match first_error {
        Some((_, e)) => Err(e),
        None => Ok(Outcome { items: slots.into_iter().flatten().collect(), too_large }),
    }
}

/// Takes tasks until there are none.
fn work_off(shared: &Shared<'_>, queue: &Queue<'_>) {
    let mut worker = Worker::default();
    let mut results = Results::default();
    loop {
        let task = queue.tasks.lock().unwrap_or_else(PoisonError::into_inner).next();
        let Some(Task { number, work, .. }) = task else { break };
        if number > queue.failed.load(Relaxed) {
            continue;
        }
        let (symbol, function) = match &work {
            Work::Body(index, _) | Work::FromLoop(index, ..) | Work::Translated(index, _) => {
                (Symbol::Function(shared.stubs.module.func_index(*index)), Some(*index))
            }
            Work::Stub(symbol) => (*symbol, None),
        };
        // A panic of the code generator must not take a server down. Its contexts may be broken then and are replaced.
        let outcome = catch_unwind(AssertUnwindSafe(|| worker.compile(shared, symbol, work)));
        let outcome = outcome.unwrap_or_else(|panic| {
            worker = Worker::default();
            Err(codegen_error(shared, symbol, format!("the code generator panicked: {}", panic_message(&*panic))))
        });
        match (outcome, function) {
            (Ok(f), _) => results.items.push((number, symbol, f)),
            (Err(e), Some(index)) if is_too_large(&e) && !shared.interpreted[index.index()] => results.too_large.push(index),
            (Err(e), _) => {
                queue.failed.fetch_min(number, Relaxed);
                results.errors.push((number, e));
            }
        }
        let done = 1 + queue.done.fetch_add(1, Relaxed);
        if let Some(progress) = shared.options.progress {
            progress(done, queue.total);
        }
    }
    queue.finished.lock().unwrap_or_else(PoisonError::into_inner).push(results);
}

/// Whether a function must be left to the interpreter. Decoding is over, so this limit is none of the module's.
fn is_too_large(e: &CompileError) -> bool {
    matches!(e, CompileError::Decode(DecodeError { kind: DecodeErrorKind::Limit, .. }))
}

/// What a thread keeps from function to function.
pub(crate) struct Worker {
    context: Context,
    translate: TranslateContext,
    builder: FunctionBuilderContext,
    allocations: FuncValidatorAllocations,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            context: Context::new(),
            translate: TranslateContext::default(),
            builder: FunctionBuilderContext::new(),
            allocations: FuncValidatorAllocations::default(),
        }
    }
}

impl Worker {
    fn compile(&mut self, shared: &Shared<'_>, symbol: Symbol, work: Work<'_>) -> Result<CompiledFunction, CompileError> {
        self.clear();
        let mut sites = Sites::default();
        let is_body = !matches!(work, Work::Stub(_));
        match work {
            Work::Body(index, f) if shared.interpreted[index.index()] => {
                self.allocations = validate_body(f, std::mem::take(&mut self.allocations))?;
                self.stub(shared, symbol)?;
            }
            Work::Body(index, f) => {
                translate::translate_function(shared.stubs.env, &mut self.translate, index, f, &mut self.context.func)?;
                shared.options.passes.run(&mut self.context.func);
                sites = self.inline(shared, index)?;
            }
            Work::FromLoop(index, f, offset) => {
                translate::translate_from_loop(shared.stubs.env, &mut self.translate, index, f, offset, &mut self.context.func)?;
                shared.options.passes.run(&mut self.context.func);
                sites = self.inline(shared, index)?;
            }
            Work::Translated(_, Some(e)) => return Err(e),
            Work::Translated(index, None) => {
                let Some(body) = shared.library.get(index) else {
                    return Err(codegen_error(shared, symbol, "it was translated and lost".into()));
                };
                (self.context.func, sites) = body.code();
            }
            Work::Stub(symbol) => self.stub(shared, symbol)?,
        }
        if is_body {
            opt::share_register(&mut self.context.func, shared.stubs.offsets, shared.stubs.env.is_x86_64);
        }
        match shared.options.emit {
            Emit::Clif => Ok(CompiledFunction { text: Some(self.context.func.display().to_string()), ..CompiledFunction::default() }),
            Emit::Code(keep) => {
                function::compile(&mut self.context, shared.stubs.isa, keep, &sites, is_body && shared.options.passes.machine_code).map_err(
                    |e| match e {
                        Failure::TooLarge => DecodeError::limit("function too large for native code", 0).into(),
                        Failure::Other(m) => codegen_error(shared, symbol, m),
                    },
                )
            }
        }
    }

    /// Makes the context as good as new.
    fn clear(&mut self) {
        self.context.clear();
        // `clear` leaves these behind (Cranelift 0.135), and a pass looks at all of them: with 46,000 functions of C++,
        // a third of which have handlers, that took 40 % of the compile time.
        self.context.func.dfg.exception_tables.clear();
    }

    /// Translates a function that may be inlined, and inlines those of lower levels into it.
    pub(crate) fn translate_for_library(
        &mut self,
        shared: &Shared<'_>,
        index: DefinedFuncIndex,
        f: FunctionToValidate<'_>,
    ) -> Result<Body, CompileError> {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            self.clear();
            translate::translate_function(shared.stubs.env, &mut self.translate, index, f, &mut self.context.func)?;
            shared.options.passes.run(&mut self.context.func);
            let sites = self.inline(shared, index)?;
            Ok(Body::new(&self.context.func, sites))
        }));
        outcome.unwrap_or_else(|panic| {
            *self = Self::default();
            let symbol = Symbol::Function(shared.stubs.module.func_index(index));
            Err(codegen_error(shared, symbol, format!("the code generator panicked: {}", panic_message(&*panic))))
        })
    }

    fn inline(&mut self, shared: &Shared<'_>, index: DefinedFuncIndex) -> Result<Sites, CompileError> {
        let module = shared.stubs.module;
        opt::inlining::inline(module, shared.graph, shared.library, index, &mut self.context)
            .map_err(|m| codegen_error(shared, Symbol::Function(module.func_index(index)), m))
    }

    fn stub(&mut self, shared: &Shared<'_>, symbol: Symbol) -> Result<(), CompileError> {
        shared.stubs.build(symbol, &mut self.context.func, &mut self.builder).map_err(|m| codegen_error(shared, symbol, m))
    }
}

#[cold]
fn codegen_error(shared: &Shared<'_>, symbol: Symbol, message: String) -> CompileError {
    let function = match symbol {
        Symbol::Function(index) => match function_names(shared.stubs.module, shared.wasm).get(&index) {
            Some(name) => format!("{index} ({name})"),
            None => index.to_string(),
        },
        stub => format!("{stub:?}"),
    };
    CompileError::Codegen { function, message }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(s), _) => s,
        (None, Some(s)) => s,
        (None, None) => "no message",
    }
}
