//! The unsafe heart of the runtime: mappings, the store's stack, entering and leaving native code, faults, unwinding,
//! backtraces, and what is kept of a store for all of them. What wasm instructions mean is not here: that is `ops.rs`.

pub(crate) mod activation;
pub(crate) mod backtrace;
mod bytes;
mod dirty;
pub(crate) mod fatal;
pub(crate) mod fork;
mod frameless;
pub(crate) mod heap;
pub(crate) mod image;
pub(crate) mod interrupt;
pub(crate) mod lazy;
pub(crate) mod libcalls;
pub(crate) mod memory;
pub(crate) mod mmap;
pub(crate) mod pool;
pub(crate) mod processor;
pub(crate) mod profile;
pub(crate) mod signals;
pub(crate) mod stack;
pub(crate) mod table;
pub(crate) mod threads;
pub(crate) mod traphandlers;
pub(crate) mod unwind;

pub(crate) use activation::{Activation, ActivationKind, enter, enter_host, on_store_stack, stack_is_exhausted};
pub(crate) use backtrace::{backtrace, frames_at};
pub(crate) use lazy::lazy_exit;
pub(crate) use libcalls::builtin_addresses;
pub(crate) use unwind::visit_roots;

use crate::code::{Code, LoadedCode};
use crate::config::Config;
use crate::module::ModuleInner;
use crate::store::StoreOpaque;
use crate::trap::Trap;
use bytes::BytesInProgress;
use core::cell::Cell;
use core::ops::Range;
use core::ptr::null_mut;
use interrupt::InterruptState;
use stack::Stack;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, compiler_fence};
use traphandlers::Captured;
use unwind::HandlerCache;
use wasmc_environ::TrapCode;
use wasmc_environ::vmlayout::*;

/// What running code needs of a store.
pub(crate) struct VmStore {
    /// What generated code reads and writes; its address is in every `VMContext`. `context.store` is set by the store.
    pub(crate) context: Box<VMStoreContext>,
    /// Innermost first, native and interpreted.
    pub(crate) activations: *mut Activation,
    /// Made at the first entry.
    pub(crate) stack: Option<Stack>,
    /// Bytes that wasm code may use of the stack.
    stack_size: u64,
    /// Whether an entry has switched to the stack and not come back.
    stack_in_use: bool,
    /// Where `raise` runs: the top of the stack's part for it. Read by the assembly.
    raise_stack: usize,
    /// The native code that can run in this store.
    pub(crate) code: CodeRegistry,
    /// Address ranges that belong to memories, guards included: a fault elsewhere is not wasm's.
    reserved: Vec<Range<usize>>,
    /// The error behind `STATUS_TRAP`.
    pub(crate) pending: Option<crate::Error>,
    /// The buffer behind `context.tail.args`.
    pub(crate) tail_args: Vec<ValRaw>,
    /// What the signal handler (or `raise`) saw of a trap, until the landing makes an error of it. Made with the stack: it is larger than
    /// all else that a store has from the start.
    captured: Option<Box<Captured>>,
    /// A copy or fill that the host does for compiled code.
    bytes: BytesInProgress,
    /// Handlers by return address, as far as they were looked for.
    handlers: HandlerCache,
    /// What those share who may interrupt the store.
    pub(crate) interrupt: Arc<InterruptState>,
}

// SAFETY: the pointers are to parts of the store, which moves between threads as a whole and only while nothing runs in it.
unsafe impl Send for VmStore {}
// SAFETY: no method with a shared reference changes anything but caches that only the thread that runs the store reaches.
unsafe impl Sync for VmStore {}

impl VmStore {
    /// For a store of an engine with this configuration.
    pub(crate) fn new(config: &Config, meter: VMMeter) -> Self {
        let tail = VMTailCall { entry: core::ptr::null(), code: core::ptr::null(), ctx: null_mut(), args: null_mut() };
        let context = VMStoreContext {
            last_exit_fp: 0,
            host_stack_limit: 0,
            tail,
            pending_exn: 0,
            pending_exn_object: null_mut(),
            store: null_mut(),
            raise: activation::raise as *const u8,
            meter,
            at_loop: 0,
        };
        Self {
            context: Box::new(context),
            activations: null_mut(),
            stack: None,
            stack_size: config.stack_size,
            stack_in_use: false,
            raise_stack: 0,
            code: CodeRegistry::default(),
            reserved: Vec::new(),
            pending: None,
            tail_args: Vec::new(),
            captured: None,
            bytes: BytesInProgress::default(),
            handlers: HandlerCache::default(),
            interrupt: InterruptState::new(),
        }
    }

    /// What it means that a limit of a stack is crossed: an interruption makes them all appear so.
    pub(crate) fn overflow_code(&self) -> TrapCode {
        if self.interrupt.is_interrupted() { TrapCode::Interrupt } else { TrapCode::StackOverflow }
    }

    /// Bytes that wasm code may use of the stack; the interpreter's own is as large.
    pub(crate) fn stack_size(&self) -> u64 {
        self.stack_size
    }

    /// Makes the address range of a memory known, guards included. Ranges stay as long as the store.
    pub(crate) fn add_reserved(&mut self, range: Range<usize>) {
        let at = self.reserved.partition_point(|r| r.start < range.start);
        self.reserved.insert(at, range);
    }

    /// Whether an address lies in a memory or its guards. Async-signal-safe.
    fn is_reserved(&self, address: usize) -> bool {
        let after = self.reserved.partition_point(|r| r.start <= address);
        after.checked_sub(1).and_then(|i| self.reserved.get(i)).is_some_and(|r| r.contains(&address))
    }
}

/// The native code that can run in a store, by address. Only instantiation changes it; the signal handler reads it.
#[derive(Default)]
pub(crate) struct CodeRegistry {
    ranges: Vec<CodeRange>,
    /// Index of the range that was found last.
    last: Cell<usize>,
    /// Set while `ranges` changes: an interruption may come at any moment.
    changing: AtomicBool,
}

/// The text of a module.
pub(crate) struct CodeRange {
    pub(crate) text: Range<usize>,
    pub(crate) code: Arc<LoadedCode>,
    /// The module, if it was instantiated; else only its stubs are used.
    pub(crate) module: Option<Arc<ModuleInner>>,
}

impl CodeRange {
    /// The offset of an address in the text.
    pub(crate) fn offset(&self, pc: usize) -> u32 {
        // A text is smaller than 4 GiB (`limits::MAX_TEXT_BYTES`).
        (pc - self.text.start) as u32
    }
}

impl CodeRegistry {
    /// Makes the code of a module that is instantiated known, if it has any. Doing it again changes nothing.
    pub(crate) fn insert(&mut self, module: &Arc<ModuleInner>) {
        if let Code::Loaded(code) = &module.code
            && let Some(range) = self.register(code.clone())
        {
            range.module.get_or_insert_with(|| module.clone());
        }
    }

    /// Makes a piece of a module's code known.
    pub(crate) fn insert_piece(&mut self, piece: Arc<LoadedCode>, module: &Arc<ModuleInner>) {
        if let Some(range) = self.register(piece) {
            range.module.get_or_insert_with(|| module.clone());
        }
    }

    /// Makes code known of which stubs are used, and keeps it. `None` if it is empty.
    pub(crate) fn register(&mut self, code: Arc<LoadedCode>) -> Option<&mut CodeRange> {
        let text = code.text();
        if text.is_empty() {
            return None;
        }
        let at = self.ranges.partition_point(|r| r.text.start < text.start);
        if self.ranges.get(at).is_none_or(|r| r.text != text) {
            self.changing.store(true, Ordering::Relaxed);
            compiler_fence(Ordering::SeqCst);
            self.ranges.insert(at, CodeRange { text, code, module: None });
            compiler_fence(Ordering::SeqCst);
            self.changing.store(false, Ordering::Relaxed);
        }
        self.ranges.get_mut(at)
    }

    /// Whether the thread was interrupted while it added code. Async-signal-safe.
    fn is_changing(&self) -> bool {
        self.changing.load(Ordering::Relaxed)
    }

    /// Whether something is true of any code. Async-signal-safe if the question is.
    fn any(&self, question: impl Fn(&LoadedCode) -> bool) -> bool {
        self.ranges.iter().any(|r| question(&r.code))
    }

    /// The code at an address. Async-signal-safe.
    #[inline]
    pub(crate) fn find(&self, pc: usize) -> Option<&CodeRange> {
        if let Some(range) = self.ranges.get(self.last.get())
            && range.text.contains(&pc)
        {
            return Some(range);
        }
        let i = self.ranges.partition_point(|r| r.text.start <= pc).checked_sub(1)?;
        let range = self.ranges.get(i).filter(|r| r.text.contains(&pc))?;
        self.last.set(i);
        Some(range)
    }
}

/// Records a trap with the backtrace of this moment as the store's pending error; returns `STATUS_TRAP`.
pub(crate) fn raise_trap(store: *mut StoreOpaque, code: TrapCode) -> u64 {
    // SAFETY: callers are builtins, host shims and the interpreter, which hold the store alive and have left wasm code.
    unsafe {
        if code == TrapCode::ArtifactChanged {
            // The tables that would say where are in the same file.
            return raise_error(store, Trap::new(code, Default::default()).into());
        }
        let trace = backtrace(&*store, None);
        crate::fuel::settle(store, code, trace.frames.first());
        let trap = Trap::new(code, trace);
        raise_error(store, trap.into())
    }
}

/// Records an error as the store's pending one; returns `STATUS_TRAP`.
///
/// # Safety
/// `store` must be live.
pub(crate) unsafe fn raise_error(store: *mut StoreOpaque, error: crate::Error) -> u64 {
    // SAFETY: the caller vouches for the store.
    unsafe { (*store).vm.pending = Some(error) };
    STATUS_TRAP
}
