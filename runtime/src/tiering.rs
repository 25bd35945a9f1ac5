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
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;
use wasmc_environ::jit::{JitCompiler, JitOptions, TierCode, TierEntry, TierHost, TierRequest};
use wasmc_environ::limits::{MAX_LOOP_ENTRIES, MAX_PIECES};
use wasmc_environ::vmlayout::*;
use wasmc_environ::{DefinedFuncIndex, FuncIndex};

/// Functions that are asked for meanwhile are compiled together, so many at most.
const BATCH: usize = 32;
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
    /// Whether the functions of that piece are entered by calls.
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
    loops: Mutex<HashMap<(DefinedFuncIndex, u32), Native>>,
    /// Stubs are found by signature, and nobody else keeps them.
    stubs: Mutex<Vec<Arc<LoadedCode>>>,
    work: Arc<Work>,
}

/// What is shared with the thread of the session.
struct Work {
    state: Mutex<State>,
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

impl Drop for Tiering {
    fn drop(&mut self) {
        self.work.over();
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
            loops: Mutex::default(),
            stubs: Mutex::default(),
            work: Arc::new(Work { state: Mutex::default(), asked: Condvar::new(), answered: Condvar::new() }),
        }
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
        self.loops.lock().unwrap_or_else(PoisonError::into_inner).get(&(func, offset)).cloned()
    }

    /// How many functions have native code by now.
    pub(crate) fn compiled(&self) -> u32 {
        self.functions.iter().filter(|f| f.get().is_some()).count() as u32
    }

    /// Asks for code, once; waits for it if that is the policy.
    pub(crate) fn ask(&self, module: &Arc<ModuleInner>, func: DefinedFuncIndex, entry: TierEntry) {
        let request = TierRequest { func, entry };
        let mut state = self.work.lock();
        if state.session == Session::Over {
            return;
        }
        if !state.requests.contains_key(&request) {
            if state.pieces > MAX_PIECES {
                return;
            }
            if let TierEntry::Loop(_) = entry {
                let loops = state.loops.entry(func).or_default();
                if *loops >= MAX_LOOP_ENTRIES {
                    return;
                }
                *loops += 1;
            }
            state.requests.insert(request, false);
            state.queue.push(request);
            if state.session == Session::None {
                state.session = Session::Running;
                drop(state);
                self.start(module);
                state = self.work.lock();
            }
            self.work.asked.notify_one();
        }
        if self.policy.wait {
            let waiting = |state: &mut State| state.requests.get(&request).is_some_and(|answered| !answered);
            drop(self.work.answered.wait_while(state, waiting));
        }
    }

    #[cold]
    fn start(&self, module: &Arc<ModuleInner>) {
        let host = Host { module: Arc::downgrade(module), work: self.work.clone() };
        let (compiler, options) = (self.compiler.clone(), self.options.clone());
        let Some(wasm) = module.owned_wasm() else { return self.work.over() };
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
        if let Err(e) = std::thread::Builder::new().name("tier-up".into()).spawn(session) {
            tracing::warn!("functions stay interpreted: cannot start a thread: {e}");
            self.work.over();
        }
    }

    /// Takes over what the session made.
    fn publish(&self, module: &ModuleInner, requests: &[TierRequest], piece: &Arc<LoadedCode>) {
        let starts = requests.first().is_some_and(|r| r.entry == TierEntry::Start);
        for request in requests {
            let native = Native { code: piece.function_code(request.func), piece: piece.clone(), starts };
            if native.code.is_null() {
                continue;
            }
            match request.entry {
                TierEntry::Start => {
                    if let Some(slot) = self.functions.get(request.func.index())
                        && slot.set(native).is_ok()
                    {
                        module.interp.go_native(request.func);
                    }
                }
                TierEntry::Loop(offset) => {
                    self.loops.lock().unwrap_or_else(PoisonError::into_inner).insert((request.func, offset), native);
                }
            }
        }
        if requests.is_empty() {
            self.engine.registry().register_stubs(piece);
            self.stubs.lock().unwrap_or_else(PoisonError::into_inner).push(piece.clone());
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

    fn publish(&self, made: TierCode) {
        let TierCode { requests, code } = made;
        let functions = requests.iter().map(|r| r.func).collect();
        let code = code.map_err(crate::Error::from).and_then(|code| Ok(LoadedCode::from_piece(code, functions)?));
        match (code, self.module.upgrade()) {
            (Ok(code), Some(module)) => {
                if let Some(tier) = &module.tier {
                    tier.publish(&module, &requests, &Arc::new(code));
                }
            }
            (Err(e), _) => tracing::debug!("stays interpreted: {requests:?}: {e}"),
            (Ok(_), None) => {}
        }
        let mut state = self.work.lock();
        state.pieces += 1;
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
            Some(entry) if native.starts => !entry.is_null(),
            Some(_) => (*(*this).store).vm.code.find(native.code.addr()).is_some(),
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
        if native.starts {
            for func in native.piece.piece_functions() {
                let code = native.piece.function_code(*func);
                entries[func.index()] = code;
                let index = module.env.func_index(*func);
                if module.env.func_ref(index).is_some() {
                    let reference = ops::func_ref(vmctx, index);
                    (*reference).code = code;
                    (*reference).ctx = vmctx.cast();
                    (*reference).kind = FuncKind::Compiled as u32;
                }
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
