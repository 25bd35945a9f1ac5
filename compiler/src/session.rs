//! A session: functions of one module are compiled while its program runs, as the runtime asks for them. The module is decoded and
//! scanned once; then come the stubs of all its signatures, and after them pieces of code, each with the functions that were asked
//! for together. What a piece calls outside itself it reaches through a stub that looks where the function is by now
//! (`Symbol::Elsewhere`), so nothing that was published is ever changed.

use crate::facts::Facts;
use crate::function::{CompiledFunction, Keep};
use crate::isa::Target;
use crate::jit;
use crate::opt::sites::FIRST_LOCATION;
use crate::opt::{CallGraph, Inlining, Library, Passes};
use crate::pool::{self, Emit, Options, Shared, Task, Work, Worker};
use crate::stubs::StubPlan;
use crate::symbols::Symbol;
use crate::trampoline::Stubs;
use crate::translate::ModuleEnv;
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::mpsc;
use wasmc_environ::branch_hints::BranchHints;
use wasmc_environ::decode::{Decoded, FunctionToValidate, decode};
use wasmc_environ::jit::{CompileError, JitCode, JitOptions, TierCode, TierEntry, TierHost, TierRequest};
use wasmc_environ::vmoffsets::VMOffsets;
use wasmc_environ::{DecodeError, DefinedFuncIndex, Module};
use wasmparser::{FuncToValidate, FunctionBody, ValidatorResources};

/// Bodies with more bytes than this are compiled on a thread of their own, each apart.
const LARGE: u64 = 8 << 10;

/// Runs a session until the host wants no more.
///
/// # Errors
/// If the module is not valid, or the stubs cannot be made: nothing was published then.
pub fn run(
    target: &Target,
    wasm: &[u8],
    options: &JitOptions,
    inlining: Inlining,
    passes: Passes,
    jobs: Option<usize>,
    host: &dyn TierHost,
) -> Result<(), CompileError> {
    let Decoded { module, functions } = decode(wasm, &options.features)?;
    let mut facts = pool::with_threads(jobs, || Ok(Facts::of(&functions)))?;
    let offsets = VMOffsets::new(&module, options.tunables.static_memory)
        .ok_or_else(|| DecodeError::limit("the module's definitions take more than 2 GiB", 0))?;
    // Any function may be called by the interpreter, and call it.
    let plan = StubPlan::new(&module, &facts, &vec![true; functions.len()]);
    // What is too large for native code on the other tiers is so here.
    let interpreted: Vec<bool> = facts.fits.iter().map(|fits| !fits).collect();
    let inlining = if wasm.len() < FIRST_LOCATION as usize { inlining } else { Inlining::Off };
    let graph = match inlining {
        Inlining::Off => CallGraph::default(),
        _ => CallGraph::new(&module, std::mem::take(&mut facts.bodies), &interpreted, inlining),
    };
    drop(facts);
    let isa = &*target.isa;
    let mut env = ModuleEnv::new(&module, &offsets, &options.tunables, isa);
    if options.features.branch_hinting {
        env.hints = BranchHints::read(wasm);
    }
    let stubs = Stubs { module: &module, offsets: &offsets, env: &env, isa, signatures: &plan.signatures };
    let options = Options {
        target,
        interpret: &[],
        tunables: &options.tunables,
        costs: None,
        inlining,
        passes,
        features: &options.features,
        emit: Emit::Code(Keep::default()),
        progress: None,
    };
    let library = Library::new(inlining, functions.len());
    let bodies: Vec<_> = functions.into_iter().map(|f| (f.validator, f.body)).collect();
    let session = || Session {
        shared: Shared { options: &options, wasm, stubs: &stubs, interpreted: &interpreted, graph: &graph, library: &library },
        bodies: &bodies,
        library: Library::new(inlining, bodies.len()),
        translated: vec![false; bodies.len()],
        jobs,
        host,
    };
    let mut small = session();
    let tasks = plan.symbols.iter().enumerate().map(|(number, s)| Task { number, size: 0, work: Work::Stub(*s) }).collect();
    let items = small.compile(tasks)?;
    let code = jit::piece(target, &module, plan.signatures.clone(), items)?;
    host.publish(TierCode { requests: Vec::new(), code: Ok(code) });
    // Nobody is to wait for what takes long but who needs it.
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel::<TierRequest>();
        let apart = move || {
            let mut large = session();
            receiver.iter().for_each(|r| large.answer_one(r));
        };
        // Where there is no thread for them, they are done in turn.
        let mut apart = Some(apart);
        let mut sender = Some(sender);
        loop {
            let requests = host.next();
            if requests.is_empty() {
                return;
            }
            let (large, requests): (Vec<_>, Vec<_>) = requests.into_iter().partition(|r| small.is_large(r.func));
            if let Some(apart) = apart.take_if(|_| !large.is_empty())
                && std::thread::Builder::new().name("tier-up-large".into()).spawn_scoped(scope, apart).is_err()
            {
                sender = None;
            }
            let left = large.into_iter().filter(|r| sender.as_ref().is_none_or(|s| s.send(*r).is_err())).collect::<Vec<_>>();
            small.answer(requests);
            left.into_iter().for_each(|r| small.answer_one(r));
        }
    });
    Ok(())
}

#[cold]
fn too_large() -> CompileError {
    DecodeError::limit("function too large for native code", 0).into()
}

/// What a session keeps from piece to piece.
struct Session<'a> {
    /// Without the library.
    shared: Shared<'a>,
    bodies: &'a [(FuncToValidate<ValidatorResources>, FunctionBody<'a>)],
    /// What may be inlined, as far as it was needed.
    library: Library,
    /// Which functions were translated for the library, with or without success.
    translated: Vec<bool>,
    jobs: Option<usize>,
    host: &'a dyn TierHost,
}

impl<'a> Session<'a> {
    fn module(&self) -> &'a Module {
        self.shared.stubs.module
    }

    fn body(&self, index: DefinedFuncIndex) -> Option<FunctionToValidate<'a>> {
        let (validator, body) = self.bodies.get(index.index())?;
        let FuncToValidate { resources, index, ty, features } = validator;
        let validator = FuncToValidate { resources: resources.clone(), index: *index, ty: *ty, features: *features };
        Some(FunctionToValidate { validator, body: body.clone() })
    }

    fn compile(&self, tasks: Vec<Task<'_>>) -> Result<Vec<(Symbol, CompiledFunction)>, CompileError> {
        let shared = Shared { library: &self.library, ..self.shared };
        let outcome = pool::with_threads(self.jobs, || pool::run(&shared, tasks))?;
        // It stays interpreted.
        if outcome.too_large.is_empty() { Ok(outcome.items) } else { Err(too_large()) }
    }

    fn is_large(&self, func: DefinedFuncIndex) -> bool {
        self.bodies.get(func.index()).is_some_and(|(_, b)| b.range().end - b.range().start > LARGE)
    }

    /// Compiles what was asked for: the functions together, each loop's code apart.
    fn answer(&mut self, mut requests: Vec<TierRequest>) {
        let beyond = |r: &mut TierRequest| self.shared.interpreted.get(r.func.index()).copied().unwrap_or(true);
        for request in requests.extract_if(.., beyond) {
            self.host.publish(TierCode { requests: vec![request], code: Err(too_large()) });
        }
        let (mut starts, loops): (Vec<_>, Vec<_>) = requests.into_iter().partition(|r| r.entry == TierEntry::Start);
        // Records are searched by function.
        starts.sort_unstable();
        starts.dedup();
        let all: Vec<DefinedFuncIndex> = starts.iter().chain(&loops).map(|r| r.func).collect();
        self.fill_library(&all);
        if !starts.is_empty() {
            let code = self.piece(&starts);
            match code {
                // One of them fails; the others need not.
                Err(_) if starts.len() > 1 => starts.into_iter().for_each(|r| self.publish_one(r)),
                code => self.host.publish(TierCode { requests: starts, code }),
            }
        }
        loops.into_iter().for_each(|r| self.publish_one(r));
    }

    /// Compiles a large function that was asked for. It may well run in this code to the end of the program, so what it calls often is
    /// compiled with it, even if there is code for that: calls by ways took 5 % of the time of Lua's interpreter.
    fn answer_one(&mut self, request: TierRequest) {
        if !self.host.goes_on() {
            return;
        }
        let all = match self.shared.interpreted.get(request.func.index()) {
            Some(false) => self.with_callees(request),
            _ => return self.answer(vec![request]),
        };
        let functions: Vec<_> = all.iter().map(|r| r.func).collect();
        self.fill_library(&functions);
        match self.piece(&all) {
            Err(_) if all.len() > 1 => self.publish_one(request),
            code => self.host.publish(TierCode { requests: all, code }),
        }
    }

    /// A request and those for what the function calls, directly or not, and runs often, by function.
    fn with_callees(&self, request: TierRequest) -> Vec<TierRequest> {
        let size = |f: DefinedFuncIndex| self.bodies.get(f.index()).map_or(0, |(_, b)| b.range().end - b.range().start);
        let mut room = size(request.func).max(4 * LARGE);
        let mut all = BTreeSet::from([request.func]);
        let mut open = VecDeque::from([request.func]);
        while let Some(f) = open.pop_front() {
            let calls = self.shared.graph.body(f).map_or(&[][..], |b| &b.calls);
            for callee in calls.iter().filter_map(|c| self.module().defined_func(c.callee)) {
                let compiled = self.shared.interpreted.get(callee.index()) == Some(&false);
                let size = size(callee);
                if compiled && size <= room.min(LARGE) && !all.contains(&callee) && self.host.is_warm(callee) {
                    room -= size;
                    all.insert(callee);
                    open.push_back(callee);
                }
            }
        }
        let entry = |func| if func == request.func { request.entry } else { TierEntry::Start };
        all.into_iter().map(|func| TierRequest { func, entry: entry(func) }).collect()
    }

    /// Makes a piece for a request, if somebody still wants it.
    fn publish_one(&self, request: TierRequest) {
        if self.host.goes_on() {
            let code = self.piece(&[request]);
            self.host.publish(TierCode { requests: vec![request], code });
        }
    }

    /// The code of functions, sorted by index, with the entries that are asked for.
    fn piece(&self, requests: &[TierRequest]) -> Result<JitCode, CompileError> {
        let module = self.module();
        let mut tasks = Vec::with_capacity(requests.len());
        for (number, request) in requests.iter().enumerate() {
            let Some(f) = self.body(request.func) else {
                return Err(CompileError::Option(format!("there is no function {}", request.func)));
            };
            let range = f.body.range();
            let size = (range.end - range.start) as usize;
            let work = match request.entry {
                TierEntry::Start if self.library.get(request.func).is_some() => Work::Translated(request.func, None),
                TierEntry::Start => Work::Body(request.func, f),
                TierEntry::Loop(offset) => Work::FromLoop(request.func, f, offset),
            };
            tasks.push(Task { number, size, work });
        }
        let mut items = self.compile(tasks)?;
        let here: HashSet<Symbol> = items.iter().map(|(s, _)| *s).collect();
        let mut others = BTreeMap::new();
        for relocation in items.iter_mut().flat_map(|(_, f)| f.relocations.iter_mut()) {
            match relocation.symbol {
                Symbol::Function(f) if !here.contains(&relocation.symbol) => relocation.symbol = Symbol::Elsewhere(f),
                _ => {}
            }
            if matches!(relocation.symbol, Symbol::Elsewhere(_) | Symbol::Builtin(_)) {
                let name = relocation.symbol.to_name();
                others.insert((name.namespace, name.index), relocation.symbol);
            }
        }
        let tasks = others.into_values().enumerate().map(|(number, s)| Task { number, size: 0, work: Work::Stub(s) }).collect();
        items.append(&mut self.compile(tasks)?);
        jit::piece(self.shared.options.target, module, Vec::new(), items)
    }

    /// Translates what may be inlined into these functions, level by level, unless it is there already.
    fn fill_library(&mut self, roots: &[DefinedFuncIndex]) {
        if self.library.inlining() == Inlining::Off {
            return;
        }
        let graph = self.shared.graph;
        let module = self.module();
        let mut needed = BTreeSet::new();
        let mut open: Vec<DefinedFuncIndex> = roots.to_vec();
        while let Some(f) = open.pop() {
            let calls = graph.body(f).map_or(&[][..], |b| &b.calls);
            for callee in calls.iter().filter_map(|c| module.defined_func(c.callee)) {
                let new = graph.allows(f, callee) && !self.translated.get(callee.index()).copied().unwrap_or(true);
                if new && needed.insert(callee) {
                    open.push(callee);
                }
            }
        }
        if needed.is_empty() {
            return;
        }
        let mut bodies: Vec<(DefinedFuncIndex, FunctionToValidate<'_>)> = Vec::with_capacity(needed.len());
        for index in graph.levels().iter().flatten().filter(|i| needed.contains(i)) {
            self.translated[index.index()] = true;
            bodies.extend(self.body(*index).map(|f| (*index, f)));
        }
        let (shared, library) = (self.shared, &mut self.library);
        // On a thread with a stack for the code generator. What cannot be translated is not inlined, and fails when it is asked for.
        let filled = pool::with_threads(self.jobs, || {
            let mut worker = Worker::default();
            for (index, f) in bodies {
                if let Ok(body) = worker.translate_for_library(&Shared { library, ..shared }, index, f) {
                    library.insert(index, body);
                }
            }
            Ok(())
        });
        if let Err(e) = filled {
            tracing::warn!("functions are not inlined: {e}");
        }
    }
}
