//! Calls as they happen: which function was entered by which kind of code, with its arguments, how deep, and how it ended. An
//! engine with a tracer binds host functions behind a shim, translates functions for the interpreter with instructions that
//! report, and has its compiler do the same; `exec::traced` reports what native code that does not. Each store keeps the list of
//! calls that are under way; lines go to the tracer's sink whole, so that those of several threads do not mix.
//!
//! A frame of native code that an exception ended, or whose end cannot be seen, is recognised by its frame pointer when the
//! next call is reported: whatever calls now stands below every frame that is still there.

mod pattern;
mod show;

pub use pattern::CallPattern;

use crate::code::Code;
use crate::engine::Engine;
use crate::func::HostFunc;
use crate::instance::InstanceData;
use crate::module::ModuleInner;
use crate::store::StoreOpaque;
use core::ptr::with_exposed_provenance;
use show::{FunctionInfo, Functions};
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use wasmc_environ::FuncIndex;
use wasmc_environ::module::EntityIndex;
use wasmc_environ::vmlayout::*;

/// Where calls are reported to; see [`Config::call_tracer`](crate::Config::call_tracer).
pub struct CallTracer {
    sink: Mutex<Box<dyn Write + Send>>,
    pattern: Option<CallPattern>,
    durations: bool,
    /// How many stores there were.
    stores: AtomicU32,
}

impl CallTracer {
    /// A tracer that writes two lines a call to `sink`: one when the function is entered, one when it ends. What cannot be
    /// written is lost.
    pub fn new(sink: impl Write + Send + 'static) -> Self {
        Self { sink: Mutex::new(Box::new(sink)), pattern: None, durations: false, stores: AtomicU32::new(0) }
    }

    /// Reports only calls of functions that the pattern matches.
    #[must_use]
    pub fn pattern(mut self, pattern: CallPattern) -> Self {
        self.pattern = Some(pattern);
        self
    }

    /// Whether to say of each call how long it took.
    #[must_use]
    pub fn durations(mut self, on: bool) -> Self {
        self.durations = on;
        self
    }

    fn write(&self, line: &str) {
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody is there to be told.
        let _ = sink.write_all(line.as_bytes());
    }
}

/// A function that is called.
#[derive(Copy, Clone)]
pub(crate) enum Function {
    /// A function of an instance.
    Wasm(*mut VMContextHead, FuncIndex),
    /// A host function.
    Host(*mut VMExitContext),
}

/// How a function runs.
#[derive(Copy, Clone)]
pub(crate) enum Kind {
    Host,
    Compiled,
    Interpreted,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Compiled => "compiled",
            Self::Interpreted => "interpreted",
        }
    }
}

/// A call that is under way.
struct Call {
    function: Arc<FunctionInfo>,
    kind: Kind,
    start: Option<Instant>,
    /// If not 0: the call is over once wasm code leaves whose frame pointer is greater.
    frame: usize,
    /// Whether its end can be seen at all, other than by `frame`.
    reports_end: bool,
}

/// The calls of a store that are under way.
pub(crate) struct StoreTrace {
    tracer: Arc<CallTracer>,
    /// Which store of the tracer it is.
    number: u32,
    calls: Vec<Call>,
    /// How many of them are reported.
    shown: usize,
    /// The entry whose place the next call takes.
    tail: Option<u32>,
    modules: HashMap<*const ModuleInner, Functions>,
    hosts: HashMap<u32, Arc<FunctionInfo>>,
    line: String,
}

/// Why a call ended without results.
enum End<'a> {
    Results(*const ValRaw),
    Reason(&'a str),
}

impl StoreTrace {
    /// Of a new store, if the engine has a tracer.
    pub(crate) fn new(engine: &Engine) -> Option<Box<Self>> {
        let tracer = engine.config().call_tracer.clone()?;
        let number = tracer.stores.fetch_add(1, Ordering::Relaxed);
        let (calls, modules, hosts) = (Vec::new(), HashMap::new(), HashMap::new());
        Some(Box::new(Self { tracer, number, calls, shown: 0, tail: None, modules, hosts, line: String::new() }))
    }

    /// How many calls are under way.
    fn depth(&self) -> u32 {
        self.calls.len() as u32
    }

    /// What is known of a function.
    unsafe fn info(&mut self, store: *mut StoreOpaque, function: Function) -> Arc<FunctionInfo> {
        // SAFETY: by the caller, the function belongs to the store. A host function is called by the name under which the instance
        // imports it that called it.
        unsafe {
            let (vmctx, func) = match function {
                Function::Wasm(vmctx, func) => (vmctx, func),
                Function::Host(exit) if (*exit).vmctx.is_null() => {
                    let type_id = (*exit).type_id;
                    let pattern = self.tracer.pattern.as_ref();
                    let known = self.hosts.entry(type_id);
                    return known.or_insert_with(|| FunctionInfo::host(&(*store).engine.registry().func_type(type_id), pattern)).clone();
                }
                Function::Host(exit) => ((*exit).vmctx.cast(), FuncIndex::from_u32((*exit).func_index)),
            };
            let module = &(*(*vmctx).instance.cast::<InstanceData>()).module;
            let functions = self.modules.entry(Arc::as_ptr(module)).or_insert_with(|| Functions::new(module.clone()));
            functions.get(func, self.tracer.pattern.as_ref())
        }
    }

    /// Starts a line.
    fn begin(&mut self, mark: &str, kind: Kind) {
        let Self { line, number, shown, .. } = self;
        line.clear();
        // Writing to a string does not fail.
        if *number > 0 {
            let _ = write!(line, "[{}] ", *number + 1);
        }
        let _ = write!(line, "{mark} {:<13}{:indent$}", kind.name(), "", indent = 2 * (*shown).min(MAX_INDENT));
        if *shown > MAX_INDENT {
            let _ = write!(line, "({shown}) ");
        }
    }

    fn finish(&mut self) {
        self.line.push('\n');
        self.tracer.write(&self.line);
    }

    /// Ends the innermost call.
    unsafe fn pop(&mut self, store: *mut StoreOpaque, end: &End<'_>) {
        let Some(call) = self.calls.pop() else { return };
        if !call.function.shown {
            return;
        }
        self.shown -= 1;
        self.begin("<-", call.kind);
        self.line.push_str(&call.function.name);
        match end {
            // SAFETY: by the caller, the array has the function's results.
            End::Results(results) => unsafe { show::results(self, store, &call.function, *results) },
            End::Reason(reason) => {
                self.line.push_str(": ");
                self.line.push_str(reason);
            }
        }
        if let Some(start) = call.start {
            let time = start.elapsed();
            let _ = write!(self.line, " <{}.{:09}>", time.as_secs(), time.subsec_nanos());
        }
        self.finish();
    }

    /// Ends the calls above a depth.
    unsafe fn end_above(&mut self, store: *mut StoreOpaque, depth: u32, reason: &str) {
        while self.depth() > depth {
            let unseen = self.calls.last().is_some_and(|c| !c.reports_end);
            let reason = if unseen && reason == EXCEPTION { UNSEEN } else { reason };
            // SAFETY: by the caller; no results are read.
            unsafe { self.pop(store, &End::Reason(reason)) };
        }
    }

    /// Ends the calls of native code whose frames are gone.
    unsafe fn prune(&mut self, store: *mut StoreOpaque, by_itself: bool) {
        while let Some(Call { frame, .. }) = self.calls.last()
            && *frame != 0
        {
            // SAFETY: by the caller, wasm code was left, and the frame of the stub through which it was is intact. Compiled code
            // has its own frame already when it reports that it was entered.
            let caller = unsafe {
                let frame = calling_frame(store);
                if by_itself { *with_exposed_provenance::<usize>(frame) } else { frame }
            };
            if caller <= *frame {
                return;
            }
            let depth = self.depth() - 1;
            // SAFETY: by the caller.
            unsafe { self.end_above(store, depth, EXCEPTION) };
        }
    }
}

/// Deeper calls are not indented further; they say how deep they are.
const MAX_INDENT: usize = 30;
const EXCEPTION: &str = "exception";
const UNSEEN: &str = "result not seen";
const TAIL_CALL: &str = "tail call";

/// The frame pointer of the native code that was left last.
unsafe fn calling_frame(store: *mut StoreOpaque) -> usize {
    // SAFETY: by the caller, wasm code was left: at the stub's frame pointer stands that of its caller.
    unsafe { *with_exposed_provenance::<usize>((*store).vm.context.last_exit_fp as usize) }
}

/// How many calls of a store are under way, those left out whose frames are gone or whose place the next call takes.
///
/// # Safety
/// The store is live; so for all functions here.
pub(crate) unsafe fn depth(store: *mut StoreOpaque) -> u32 {
    // SAFETY: by the caller; nothing else refers to the trace, and what is called here does not.
    unsafe {
        let trace = &raw mut (*store).trace;
        let Some(trace) = (*trace).as_deref_mut() else { return 0 };
        if let Some(entry) = trace.tail {
            return entry;
        }
        trace.prune(store, false);
        trace.depth()
    }
}

/// Reports that a function was entered; the number of the entry.
///
/// # Safety
/// The function belongs to the store, and the array has its arguments.
pub(crate) unsafe fn enter(store: *mut StoreOpaque, function: Function, kind: Kind, args: *const ValRaw) -> u32 {
    // SAFETY: by the caller.
    unsafe { enter_call(store, function, kind, args, false) }
}

/// `by_itself`: compiled code says so that stands on its own frame already.
unsafe fn enter_call(store: *mut StoreOpaque, function: Function, kind: Kind, args: *const ValRaw, by_itself: bool) -> u32 {
    // SAFETY: by the caller; nothing else refers to the trace, and what is called here does not.
    unsafe {
        let trace = &raw mut (*store).trace;
        let Some(trace) = (*trace).as_deref_mut() else { return 0 };
        let tail = trace.tail.take();
        if let Some(entry) = tail {
            trace.end_above(store, entry, TAIL_CALL);
        }
        trace.prune(store, by_itself);
        let function = trace.info(store, function);
        if function.shown {
            trace.begin(if tail.is_some() { "=>" } else { "->" }, kind);
            trace.line.push_str(&function.name);
            show::arguments(trace, store, &function, args);
            trace.finish();
            trace.shown += 1;
        }
        let start = (trace.tracer.durations && function.shown).then(Instant::now);
        trace.calls.push(Call { function, kind, start, frame: 0, reports_end: true });
        trace.depth() - 1
    }
}

/// Reports that the function with this entry returns.
///
/// # Safety
/// The entry is one that is under way, and the array has the function's results.
pub(crate) unsafe fn leave(store: *mut StoreOpaque, entry: u32, results: *const ValRaw) {
    // SAFETY: as `enter`.
    unsafe {
        let trace = &raw mut (*store).trace;
        let Some(trace) = (*trace).as_deref_mut() else { return };
        trace.tail = None;
        trace.end_above(store, entry.saturating_add(1), EXCEPTION);
        if trace.depth() > entry {
            trace.pop(store, &End::Results(results));
        }
    }
}

/// Reports that the next call takes the place of the function with this entry.
///
/// # Safety
/// The store is live.
pub(crate) unsafe fn tail(store: *mut StoreOpaque, entry: u32) {
    // SAFETY: as `enter`.
    unsafe {
        let trace = &raw mut (*store).trace;
        if let Some(trace) = (*trace).as_deref_mut() {
            trace.tail = Some(entry);
        }
    }
}

/// Reports that an exception was caught in the function with this entry.
///
/// # Safety
/// The store is live.
pub(crate) unsafe fn caught(store: *mut StoreOpaque, entry: u32) {
    // SAFETY: as `enter`.
    unsafe {
        let trace = &raw mut (*store).trace;
        if let Some(trace) = (*trace).as_deref_mut() {
            trace.tail = None;
            trace.end_above(store, entry.saturating_add(1), EXCEPTION);
        }
    }
}

/// Ends the calls above a depth with the reason behind a status other than `STATUS_OK`.
///
/// # Safety
/// The store is live, and the reason is pending in it.
#[cold]
pub(crate) unsafe fn end(store: *mut StoreOpaque, depth: u32, status: u64) {
    // SAFETY: as `enter`.
    unsafe {
        let trace = &raw mut (*store).trace;
        let Some(trace) = (*trace).as_deref_mut() else { return };
        trace.tail = None;
        if status == STATUS_EXCEPTION {
            return trace.end_above(store, depth, EXCEPTION);
        }
        let pending = &(*store).vm.pending;
        let reason = pending.as_ref().map_or_else(|| "trap".to_owned(), show::reason);
        trace.end_above(store, depth, &reason);
    }
}

/// Whether the native code of an instance reports its calls.
///
/// # Safety
/// The instance is live.
pub(crate) unsafe fn reports_itself(vmctx: *mut VMContextHead) -> bool {
    // SAFETY: by the caller.
    let instance = unsafe { &*(*vmctx).instance.cast::<InstanceData>() };
    instance.module.traced
}

/// The entry of compiled code that reports its calls.
///
/// # Safety
/// As `enter`; called by a builtin's trampoline.
pub(crate) unsafe fn compiled_enter(store: *mut StoreOpaque, vmctx: *mut VMContextHead, func: FuncIndex, args: *const ValRaw) -> u32 {
    // SAFETY: by the caller.
    unsafe {
        if (*store).trace.is_none() {
            return 0;
        }
        let entry = enter_call(store, Function::Wasm(vmctx, func), Kind::Compiled, args, true);
        // Its own frame, which is the caller's; set after the calls whose frames are gone have ended.
        let frame = calling_frame(store);
        let trace = &raw mut (*store).trace;
        if let Some(call) = (*trace).as_deref_mut().and_then(|t| t.calls.get_mut(entry as usize)) {
            call.frame = frame;
        }
        entry
    }
}

/// The tail call of compiled code that reports its calls.
///
/// # Safety
/// The store is live, and the callee a live reference, or null for a function of the caller's module.
pub(crate) unsafe fn compiled_tail(store: *mut StoreOpaque, entry: u32, callee: *const VMFuncRef) {
    // SAFETY: by the caller; as `enter`.
    unsafe {
        let unseen = !callee.is_null() && (*callee).kind == FuncKind::Compiled as u32 && !reports_itself((*callee).vmctx.cast());
        let trace = &raw mut (*store).trace;
        let Some(trace) = (*trace).as_deref_mut() else { return };
        if unseen {
            trace.end_above(store, entry, TAIL_CALL);
        } else {
            trace.tail = Some(entry);
        }
    }
}

/// The interpreter leaves a tail call of compiled code to the stub that waits for it. Code that does not report its calls is
/// reported here; its end cannot be seen.
///
/// # Safety
/// As `enter`; the innermost run of the interpreter was entered from compiled code.
pub(crate) unsafe fn leaving_tail(store: *mut StoreOpaque, vmctx: *mut VMContextHead, func: FuncIndex, args: *const ValRaw) {
    // SAFETY: by the caller.
    unsafe {
        if (*store).trace.is_none() || reports_itself(vmctx) {
            return;
        }
        let entry = enter(store, Function::Wasm(vmctx, func), Kind::Compiled, args);
        // The caller of the stub stays where it is; all that it calls from now on stands below the function.
        let frame = calling_frame(store) - 1;
        let trace = &raw mut (*store).trace;
        if let Some(call) = (*trace).as_deref_mut().and_then(|t| t.calls.get_mut(entry as usize)) {
            call.frame = frame;
            call.reports_end = false;
        }
    }
}

/// What `Module::traceable` says.
pub(crate) fn traceable(module: &Arc<ModuleInner>, pattern: Option<&CallPattern>) -> (usize, usize) {
    let env = &module.env;
    let exported = env.exports.iter().filter_map(|e| if let EntityIndex::Func(func) = e.index { Some(func) } else { None });
    let outside: HashSet<FuncIndex> = exported.chain(env.start).collect();
    let mut functions = Functions::new(module.clone());
    let (mut seen, mut unseen) = (0, 0);
    for func in (0..env.functions.len() as u32).map(FuncIndex::from_u32) {
        if !functions.is_meant(func, pattern) {
            continue;
        }
        let compiled = match (&module.code, env.defined_func(func)) {
            (Code::Loaded(code), Some(defined)) => code.is_compiled(defined) && !module.traced,
            _ => false,
        };
        seen += usize::from(!compiled || outside.contains(&func));
        unseen += usize::from(compiled);
    }
    (seen, unseen)
}

/// `VMExitContext::array_fn` of host functions in stores whose calls are traced.
///
/// # Safety
/// As every `ArrayFn`: called with a host function's binding and an array of its type's slots.
pub(crate) unsafe extern "C" fn host(exit: *mut VMExitContext, args: *mut ValRaw) -> u64 {
    // SAFETY: by the caller.
    unsafe {
        let store = (*(*exit).store).store.cast::<StoreOpaque>();
        let entry = enter(store, Function::Host(exit), Kind::Host, args);
        let status = ((*(*exit).data.cast::<HostFunc<()>>()).array_fn)(exit, args);
        match status {
            STATUS_OK => leave(store, entry, args),
            _ => end(store, entry, status),
        }
        status
    }
}
