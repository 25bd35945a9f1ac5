//! Compiling functions while their program runs (`Tier::Auto`). Whoever finds that a function is hot asks for its code here; a thread
//! of the module's own runs a session of the compiler that makes it, and publishes it: the interpreter's `Func` leads to
//! native code from then on. A store takes such code over (`adopt`) on its own thread, when it first comes to it: only then may
//! addresses in it stand in the store's instances. Nothing here makes a difference to what a program computes: without the code, or
//! before it is there, the interpreter goes on.

use crate::code::LoadedCode;
use crate::engine::Engine;
use crate::func::exit_code;
use crate::instance::InstanceData;
use crate::module::ModuleInner;
use crate::ops::{self, at};
use crate::vm::signals;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;
use wasmc_environ::jit::{JitCompiler, JitOptions, TierCode, TierEntry, TierHost, TierRequest};
use wasmc_environ::limits::{MAX_LOOP_ENTRIES, MAX_PIECES};
use wasmc_environ::vmlayout::*;
use wasmc_environ::{DefinedFuncIndex, FuncIndex};

/// Functions that are asked for meanwhile are compiled together, so many at most.
const BATCH: usize = 32;
/// Functions with more bytes than this are compiled once, with an entry at a loop if it was one that made them hot.
const LARGE: u64 = 8 << 10;
/// A session that has nothing to do for so long ends: it holds the decoded module.
const IDLE: Duration = Duration::from_secs(10);

/// When functions are compiled while they run.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// After so many calls and turns of loops.
    pub(crate) after: u32,
    /// Whether the program waits for the code.
    pub(crate) wait: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { after: 2_000, wait: false }
    }
}

/// Native code of a function.
#[derive(Clone)]
pub(crate) struct Native {
    /// Where it is entered.
    pub(crate) code: *const u8,
    /// What it is a part of.
    piece: Arc<LoadedCode>,
    /// Whether calls are to lead to this rather than to other code of the function.
    starts: bool,
}

// SAFETY: the address is that of code which `piece` keeps.
unsafe impl Send for Native {}
// SAFETY: as above.
unsafe impl Sync for Native {}

/// What a module keeps that is compiled while it runs.
pub(crate) struct Tiering {
    engine: Engine,
    compiler: Arc<dyn JitCompiler>,
    options: JitOptions,
    policy: Policy,
    /// By `DefinedFuncIndex`.
    functions: Box<[OnceLock<Native>]>,
    /// The process that `work` is of.
    process: AtomicU32,
    work: Mutex<Arc<Work>>,
}

/// What is shared with the thread of the session. It is of one process: the child of a fork has no such thread, and may find locks held
/// that nobody will release, so it begins with work of its own.
#[derive(Default)]
struct Work {
    state: Mutex<State>,
    loops: Mutex<HashMap<(DefinedFuncIndex, u32), Native>>,
    /// Stubs are found by signature, and nobody else keeps them.
    stubs: Mutex<Vec<Arc<LoadedCode>>>,
    /// That of the process that this one was forked from: it keeps what was made there.
    _before: Option<Arc<Work>>,
    /// There is something to do.
    asked: Condvar,
    /// Something was done.
    answered: Condvar,
}

#[derive(Default)]
struct State {
    /// What was asked for, and whether it was answered.
    requests: HashMap<TierRequest, bool>,
    /// How many loops of each function were asked for.
    loops: HashMap<DefinedFuncIndex, usize>,
    /// How many pieces were published.
    pieces: usize,
    /// What is still to be done.
    queue: Vec<TierRequest>,
    session: Session,
}

#[derive(Copy, Clone, Default, PartialEq, Eq)]
enum Session {
    /// None runs.
    #[default]
    None,
    Running,
    /// It failed, or the module is gone: there will be none.
    Over,
}

impl Work {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up: what was asked for will not be there.
    fn over(&self) {
        let mut state = self.lock();
        state.session = Session::Over;
        state.queue.clear();
        state.requests.values_mut().for_each(|answered| *answered = true);
        self.asked.notify_all();
        self.answered.notify_all();
    }
}

/// What is published is so as a whole, for a process that is forked: nothing is half done there.
static PUBLISHING: Mutex<()> = Mutex::new(());

/// Nobody publishes while this lives.
pub(crate) struct Stopped(#[expect(dead_code, reason = "held")] MutexGuard<'static, ()>);

/// Lets nobody publish during a fork.
pub(crate) fn stop() -> Stopped {
    Stopped(PUBLISHING.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Drop for Tiering {
    fn drop(&mut self) {
        // In the child of a fork there is nobody to tell, and locks may be held for ever.
        if *self.process.get_mut() == std::process::id() {
            self.work.get_mut().unwrap_or_else(PoisonError::into_inner).over();
        }
    }
}

impl Tiering {
    /// For a module with so many functions.
    pub(crate) fn new(engine: &Engine, compiler: Arc<dyn JitCompiler>, functions: u32) -> Self {
        let config = engine.config();
        Self {
            engine: engine.clone(),
            compiler,
            options: config.code_options(),
            policy: config.tier_up,
            functions: (0..functions).map(|_| OnceLock::new()).collect(),
            process: AtomicU32::new(std::process::id()),
            work: Mutex::default(),
        }
    }

    /// The work of this process; none if it cannot be had now.
    fn work(&self) -> Option<Arc<Work>> {
        let process = std::process::id();
        if self.process.load(Ordering::Acquire) == process {
            return Some(self.work.lock().unwrap_or_else(PoisonError::into_inner).clone());
        }
        // Forked. Whoever held the lock then is not here.
        let mut work = self.work.try_lock().ok()?;
        if self.process.load(Ordering::Acquire) != process {
            *work = Arc::new(Work { _before: Some(work.clone()), ..Work::default() });
            self.process.store(process, Ordering::Release);
        }
        Some(work.clone())
    }

    /// After how many calls and turns of loops a function is looked at.
    pub(crate) fn after(&self) -> u32 {
        self.policy.after
    }

    /// After how many more it is looked at again, while its code is being made.
    pub(crate) fn again(&self) -> i32 {
        if self.policy.wait { 0 } else { 1_000 }
    }

    /// The native code of a function, if it has some.
    #[inline]
    pub(crate) fn function(&self, func: DefinedFuncIndex) -> Option<&Native> {
        self.functions.get(func.index())?.get()
    }

    /// The native code that begins at a loop.
    pub(crate) fn loop_code(&self, func: DefinedFuncIndex, offset: u32) -> Option<Native> {
        self.work()?.loops.lock().unwrap_or_else(PoisonError::into_inner).get(&(func, offset)).cloned()
    }

    /// How many functions have native code by now.
    pub(crate) fn compiled(&self) -> u32 {
        self.functions.iter().filter(|f| f.get().is_some()).count() as u32
    }

    /// Whether a function takes so long to compile that it should be done once. Where tests wait for code, others are taken as such, so
    /// that both is seen.
    pub(crate) fn is_large(&self, module: &ModuleInner, func: DefinedFuncIndex) -> bool {
        let size = module.env.bodies.get(func.index()).map_or(0, |b| b.end - b.start);
        size > LARGE || (self.policy.wait && !size.is_multiple_of(2))
    }

    /// Whether a function has code, or has run for a part of what makes it hot.
    fn is_warm(&self, module: &ModuleInner, func: DefinedFuncIndex) -> bool {
        let part = (self.policy.after / 16).max(1);
        self.function(func).is_some() || module.interp.has_run(func, i64::from(self.policy.after) - i64::from(part))
    }

    /// Asks for code, once; waits for it if that is the policy. Whether it was answered, with code or without.
    pub(crate) fn ask(&self, module: &Arc<ModuleInner>, func: DefinedFuncIndex, entry: TierEntry) -> bool {
        let Some(work) = self.work() else { return false };
        let request = TierRequest { func, entry };
        let mut state = work.lock();
        if state.session == Session::Over {
            return true;
        }
        if !state.requests.contains_key(&request) {
            if state.pieces > MAX_PIECES {
                return true;
            }
            if let TierEntry::Loop(_) = entry {
                let loops = state.loops.entry(func).or_default();
                if *loops >= MAX_LOOP_ENTRIES {
                    return true;
                }
                *loops += 1;
                // The code can be called as well. If there will be none, the function is asked for again.
                let start = TierRequest { func, entry: TierEntry::Start };
                if let Some(i) = state.queue.iter().position(|r| *r == start) {
                    state.queue.remove(i);
                    state.requests.remove(&start);
                    work.answered.notify_all();
                }
            }
            state.requests.insert(request, false);
            state.queue.push(request);
            if state.session == Session::None {
                state.session = Session::Running;
                drop(state);
                self.start(module, &work);
                state = work.lock();
            }
            work.asked.notify_one();
        }
        if self.policy.wait {
            let waiting = |state: &mut State| state.requests.get(&request).is_some_and(|answered| !answered);
            state = work.answered.wait_while(state, waiting).unwrap_or_else(PoisonError::into_inner);
        }
        state.requests.get(&request).is_some_and(|answered| *answered)
    }

    #[cold]
    fn start(&self, module: &Arc<ModuleInner>, work: &Arc<Work>) {
        let host = Host { module: Arc::downgrade(module), work: work.clone() };
        let (compiler, options) = (self.compiler.clone(), self.options.clone());
        let Some(wasm) = module.owned_wasm() else { return work.over() };
        let session = move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| compiler.session(&wasm, &options, &host)));
            let failed = match outcome {
                Ok(Ok(())) => false,
                Ok(Err(e)) => {
                    tracing::warn!("functions stay interpreted: {e}");
                    true
                }
                Err(_) => {
                    tracing::warn!("functions stay interpreted: the compiler panicked");
                    true
                }
            };
            if failed {
                host.work.over();
            }
        };
        // Signals are for the host's threads, and its handlers need not run on these stacks.
        if let Err(e) = signals::without_signals(|| std::thread::Builder::new().name("tier-up".into()).spawn(session)) {
            tracing::warn!("functions stay interpreted: cannot start a thread: {e}");
            work.over();
        }
    }

    /// Takes over what the session made.
    fn publish(&self, module: &ModuleInner, work: &Work, requests: &[TierRequest], piece: &Arc<LoadedCode>) {
        // First, as a fork takes them: it waits for whoever is behind the gate, and who publishes goes through it.
        let _gate = crate::vm::fork::Gate::enter();
        let _whole = PUBLISHING.lock().unwrap_or_else(PoisonError::into_inner);
        for request in requests {
            let code = piece.function_code(request.func);
            let Some(slot) = self.functions.get(request.func.index()) else { continue };
            if code.is_null() {
                continue;
            }
            // Code for a loop can be called. If there is none yet for that, it is.
            let is_first = slot.set(Native { code, piece: piece.clone(), starts: true }).is_ok();
            if let TierEntry::Loop(offset) = request.entry {
                let native = Native { code, piece: piece.clone(), starts: is_first };
                work.loops.lock().unwrap_or_else(PoisonError::into_inner).insert((request.func, offset), native);
            }
            if is_first {
                module.interp.go_native(request.func);
            }
        }
        if requests.is_empty() {
            self.engine.registry().register_stubs(piece);
            work.stubs.lock().unwrap_or_else(PoisonError::into_inner).push(piece.clone());
        }
    }
}

/// The session's side.
struct Host {
    module: Weak<ModuleInner>,
    work: Arc<Work>,
}

impl TierHost for Host {
    fn next(&self) -> Vec<TierRequest> {
        let nothing = |state: &mut State| state.queue.is_empty() && state.session == Session::Running;
        let waited = self.work.asked.wait_timeout_while(self.work.lock(), IDLE, nothing);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.queue.is_empty() && state.session == Session::Running {
            // Whoever asks next starts another one.
            state.session = Session::None;
        }
        let count = state.queue.len().min(BATCH);
        state.queue.drain(..count).collect()
    }

    fn is_warm(&self, func: DefinedFuncIndex) -> bool {
        let module = self.module.upgrade();
        module.is_some_and(|module| module.tier.as_ref().is_some_and(|tier| tier.is_warm(&module, func)))
    }

    fn goes_on(&self) -> bool {
        self.work.lock().session != Session::Over
    }

    fn publish(&self, made: TierCode) {
        let TierCode { requests, code } = made;
        let functions = requests.iter().map(|r| r.func).collect();
        let code = code.map_err(crate::Error::from).and_then(|code| Ok(LoadedCode::from_piece(code, functions)?));
        match (code, self.module.upgrade()) {
            (Ok(code), Some(module)) => {
                if let Some(tier) = &module.tier {
                    tier.publish(&module, &self.work, &requests, &Arc::new(code));
                }
            }
            (Err(e), _) => tracing::debug!("stays interpreted: {requests:?}: {e}"),
            (Ok(_), None) => {}
        }
        let mut state = self.work.lock();
        state.pieces += 1;
        state.queue.retain(|r| !requests.contains(r));
        for request in requests {
            state.requests.insert(request, true);
        }
        self.work.answered.notify_all();
    }
}

/// Makes code known in an instance's store, and its functions in the instance, if that was not done before: calls of compiled code,
/// references and imports lead to it from then on.
///
/// # Safety
/// The instance is one of a live store, whose thread this is, of the module that the code is of.
pub(crate) unsafe fn adopt(this: *mut InstanceData, func: DefinedFuncIndex, native: &Native) {
    // SAFETY: by the caller; nobody else uses the instance.
    unsafe {
        let entries = &(*this).entries;
        let known = match entries.get(func.index()) {
            None => false,
            // Another instance may have made the piece known, and another piece may have the function as well.
            Some(entry) if entry.is_null() => false,
            Some(entry) => *entry == native.code || (*(*this).store).vm.code.find(native.code.addr()).is_some(),
        };
        if !known {
            let module = (*this).module.clone();
            adopt_new(this, &module, native);
        }
    }
}

#[cold]
unsafe fn adopt_new(this: *mut InstanceData, module: &Arc<ModuleInner>, native: &Native) {
    // SAFETY: by the caller.
    unsafe {
        let (store, vmctx) = ((*this).store, (*this).vmctx);
        let entries = &mut (*this).entries;
        if entries.is_empty() {
            *entries = vec![std::ptr::null(); module.env.num_defined_functions().max(1) as usize].into();
            (*vmctx).entries = entries.as_ptr();
        }
        let code = &mut (*store).vm.code;
        code.insert_piece(native.piece.clone(), module);
        for func in native.piece.piece_functions() {
            // Code with an entry at a loop is called only where there is nothing better.
            if !native.starts && !entries[func.index()].is_null() {
                continue;
            }
            let code = native.piece.function_code(*func);
            entries[func.index()] = code;
            let index = module.env.func_index(*func);
            if module.env.func_ref(index).is_some() {
                let reference = ops::func_ref(vmctx, index);
                (*reference).code = code;
                (*reference).ctx = module.hidden(vmctx);
                (*reference).kind = FuncKind::Compiled as u32;
            }
        }
        // Imports are copies of references; those of this store may be to what was just adopted, or have stubs now.
        let instances: Vec<*mut InstanceData> = (*store).instances.iter().collect();
        for instance in instances {
            let importer = &(*instance).module;
            for i in 0..importer.env.num_imported_functions {
                let import: *mut VMFunctionImport = at((*instance).vmctx, importer.offsets.imported_function(FuncIndex::from_u32(i)));
                let reference = (*import).func_ref;
                if reference.is_null() {
                    continue;
                }
                if (*reference).kind != FuncKind::Compiled as u32 {
                    let stubs = (*store).stubs((*reference).type_id);
                    if let Some(code) = exit_code(&*(*reference).ctx.cast::<VMExitContext>(), &stubs) {
                        (*reference).code = code;
                    }
                }
                (*import).code = (*reference).code;
                (*import).ctx = (*reference).ctx;
            }
        }
    }
}
