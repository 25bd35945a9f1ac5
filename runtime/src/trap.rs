//! Traps as the embedder sees them: why wasm code stopped, and where. A backtrace names functions of both tiers; the
//! names are looked up when they are asked for, since most traps of programs that expect traps are never printed.

use crate::code::Code;
use crate::interp::LocalValue;
use crate::module::ModuleInner;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;
use wasmc_environ::names::function_names;
use wasmc_environ::{FuncIndex, TrapCode};

/// WebAssembly code stopped for a reason that the specification (or wasmc's limits) gives.
#[derive(Clone, Debug)]
pub struct Trap {
    code: TrapCode,
    backtrace: Backtrace,
}

impl Trap {
    pub(crate) fn new(code: TrapCode, backtrace: Backtrace) -> Self {
        Self { code, backtrace }
    }

    /// Why.
    pub fn code(&self) -> TrapCode {
        self.code
    }

    /// Where. Empty if the trap was made outside of WebAssembly code.
    pub fn backtrace(&self) -> &Backtrace {
        &self.backtrace
    }
}

impl From<TrapCode> for Trap {
    /// A trap for a host function to return; it has no backtrace.
    fn from(code: TrapCode) -> Self {
        Self { code, backtrace: Backtrace::default() }
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wasm trap: {}", self.code)?;
        if self.backtrace.frames.is_empty() { Ok(()) } else { write!(f, "\n{}", self.backtrace) }
    }
}

impl std::error::Error for Trap {}

/// The WebAssembly frames at some moment, innermost first, of compiled and interpreted functions alike.
#[derive(Clone, Debug, Default)]
pub struct Backtrace {
    pub(crate) frames: Vec<FrameInfo>,
    pub(crate) truncated: bool,
}

impl Backtrace {
    /// The frames, innermost first.
    pub fn frames(&self) -> &[FrameInfo] {
        &self.frames
    }

    /// Whether there were more frames than a backtrace holds.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }
}

impl fmt::Display for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wasm backtrace:")?;
        let mut names = Names::default();
        for (i, frame) in self.frames.iter().enumerate() {
            write!(f, "\n{i:>5}: ")?;
            frame.write(f, &mut names)?;
        }
        if self.truncated { f.write_str("\n  ...") } else { Ok(()) }
    }
}

/// Names of functions by module, as far as they were needed: decoding a name section once a frame would take long.
pub(crate) type Names = HashMap<*const ModuleInner, HashMap<FuncIndex, String>>;

/// A frame of a backtrace.
#[derive(Clone)]
pub struct FrameInfo {
    pub(crate) module: Arc<ModuleInner>,
    pub(crate) func: FuncIndex,
    pub(crate) offset: Option<u32>,
    /// Of an interpreted frame, where the configuration asks for it.
    state: Option<Arc<FrameState>>,
}

/// What is known of an interpreted frame beyond where it is.
pub(crate) struct FrameState {
    /// Address of the `InstanceData`, to tell instances of the same module apart.
    pub(crate) instance: usize,
    /// Parameters and locals; `None` where a value cannot be shown.
    pub(crate) locals: Box<[Option<LocalValue>]>,
}

impl FrameInfo {
    pub(crate) fn new(module: Arc<ModuleInner>, func: FuncIndex, offset: Option<u32>) -> Self {
        Self { module, func, offset: offset.filter(|o| *o != u32::MAX), state: None }
    }

    /// Adds what is known of an interpreted frame.
    pub(crate) fn keep_state(&mut self, instance: usize, locals: Box<[Option<LocalValue>]>) {
        self.state = Some(Arc::new(FrameState { instance, locals }));
    }

    pub(crate) fn state(&self) -> Option<&FrameState> {
        self.state.as_deref()
    }

    pub(crate) fn module(&self) -> &Arc<ModuleInner> {
        &self.module
    }

    pub(crate) fn func(&self) -> FuncIndex {
        self.func
    }

    /// The function's index in its module; imports count.
    pub fn func_index(&self) -> u32 {
        self.func.as_u32()
    }

    /// The function's name from the name section, or the name under which it is exported.
    pub fn func_name(&self) -> Option<String> {
        self.look_up_name(&mut Names::default())
    }

    pub(crate) fn look_up_name(&self, names: &mut Names) -> Option<String> {
        let defined = self.module.env.defined_func(self.func)?;
        if let Code::Loaded(code) = &self.module.code
            && let Some(name) = code.function_name(defined)
        {
            return Some(name.to_owned());
        }
        let names = match names.entry(Arc::as_ptr(&self.module)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(function_names(&self.module.env, self.module.wasm()?)),
        };
        names.get(&self.func).cloned()
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, names: &mut Names) -> fmt::Result {
        match self.offset {
            Some(offset) => write!(f, "{offset:#8x} - ")?,
            None => f.write_str("       ? - ")?,
        }
        write!(f, "{}!", self.module_name().unwrap_or("<unknown>"))?;
        match self.look_up_name(names) {
            Some(name) => f.write_str(&name),
            None => write!(f, "<wasm function {}>", self.func.as_u32()),
        }
    }

    /// The WebAssembly binary that offsets refer to; `None` if the artifact was stripped of it.
    pub fn module_wasm(&self) -> Option<&[u8]> {
        self.module.wasm()
    }

    /// What is declared in the module.
    pub(crate) fn env(&self) -> &wasmc_environ::Module {
        &self.module.env
    }

    /// A number that only frames of the same module share, as long as one of them lives.
    pub fn module_key(&self) -> usize {
        Arc::as_ptr(&self.module).addr()
    }

    /// The module's name: the one in its name section, or the one that it was given when it was loaded.
    pub fn module_name(&self) -> Option<&str> {
        self.module.name.as_deref()
    }

    /// Offset of the instruction from the start of the WebAssembly binary: of the trapping one in the innermost frame, of
    /// the call in the others.
    pub fn module_offset(&self) -> Option<u32> {
        self.offset
    }
}

impl fmt::Display for FrameInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, &mut Names::default())
    }
}

impl fmt::Debug for FrameInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
