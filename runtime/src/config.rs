//! What an engine is made from: which proposals are on, how code is made, how large stacks are. Plain data: the engine
//! checks it, everything else only reads it.

use crate::reuse::Reuse;
use crate::tiering::Policy;
use crate::trace::CallTracer;
use std::sync::Arc;
use wasmc_environ::Tunables;
use wasmc_environ::costs::CostTable;
use wasmc_environ::features::Features;
use wasmc_environ::jit::{Interpret, JitCompiler, JitOptions};
use wasmc_environ::limits;

/// How the functions of a module that is loaded from WebAssembly run.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Tier {
    /// As native code, made in memory by [`Config::compiler`].
    #[default]
    Compiled,
    /// By the interpreter: starts at once and needs no compiler.
    Interpreted,
    /// By the interpreter first; functions that run often are compiled by [`Config::compiler`] in the background, and entered at calls and
    /// at the heads of loops as soon as they are. Engines that meter or trace, or leave functions to the interpreter, compile
    /// everything first instead ([`Tier::Compiled`]).
    Auto,
}

/// The configuration of an [`Engine`](crate::Engine).
///
/// ```
/// use wasmc_runtime::{Config, Engine, Tier};
/// let engine = Engine::new(Config::new().tier(Tier::Interpreted).stack_size(1 << 20))?;
/// # Ok::<(), wasmc_runtime::Error>(())
/// ```
#[derive(Clone)]
pub struct Config {
    pub(crate) stack_size: u64,
    pub(crate) tunables: Tunables,
    pub(crate) features: Features,
    pub(crate) compiler: Option<Arc<dyn JitCompiler>>,
    pub(crate) tier: Tier,
    pub(crate) interpret: Vec<Interpret>,
    pub(crate) verify_text: bool,
    pub(crate) keep_locals: bool,
    pub(crate) call_tracer: Option<Arc<CallTracer>>,
    pub(crate) interrupt_signal: Option<i32>,
    pub(crate) costs: Option<Arc<CostTable>>,
    pub(crate) tier_up: Policy,
    pub(crate) reuse: Reuse,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            stack_size: limits::DEFAULT_STACK_SIZE,
            tunables: Tunables::default(),
            features: Features::default(),
            compiler: None,
            tier: Tier::default(),
            interpret: Vec::new(),
            verify_text: true,
            keep_locals: false,
            call_tracer: None,
            interrupt_signal: None,
            costs: None,
            tier_up: Policy::default(),
            reuse: Reuse::default(),
        }
    }
}

impl Config {
    /// The default configuration: no compiler, the default proposals, 8 MiB of stack.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of stack that WebAssembly may use in a store, on every tier. What host functions need comes on top.
    #[must_use]
    pub fn stack_size(mut self, bytes: u64) -> Self {
        self.stack_size = bytes;
        self
    }

    /// Whether 32-bit memories reserve 8 GiB of address space each, so that no access needs a check (the default), or
    /// every access is checked: slower, but many more memories fit under a limit on address space.
    #[must_use]
    pub fn static_memory(mut self, on: bool) -> Self {
        self.tunables.static_memory = on;
        self
    }

    /// Whether instructions are counted, and fuel limits them ([`Store::set_fuel`](crate::Store::set_fuel)). All code of an engine is
    /// metered, or none: artifacts for one that meters are compiled with `wasmc compile --meter`.
    #[must_use]
    pub fn meter(mut self, on: bool) -> Self {
        self.tunables.meter = on;
        self
    }

    /// What instructions and host functions cost where code is metered; without it, 1 and nothing. Artifacts bring the table
    /// that they were compiled with: if none is set here, that of the first one holds for the engine.
    #[must_use]
    pub fn costs(mut self, costs: Arc<CostTable>) -> Self {
        self.costs = Some(costs);
        self
    }

    /// All options that change generated code at once.
    #[must_use]
    pub fn tunables(mut self, tunables: Tunables) -> Self {
        self.tunables = tunables;
        self
    }

    /// Which proposals are on.
    #[must_use]
    pub fn features(mut self, features: Features) -> Self {
        self.features = features;
        self
    }

    /// The options with which modules are compiled in memory. What is compiled with the same ones elsewhere is the same code.
    pub fn code_options(&self) -> JitOptions {
        JitOptions {
            interpret: self.interpret.clone(),
            features: self.features.clone(),
            tunables: self.tunables.clone(),
            costs: self.costs.clone().filter(|_| self.tunables.meter),
        }
    }

    /// How modules that are loaded from WebAssembly run.
    pub fn chosen_tier(&self) -> Tier {
        self.tier
    }

    /// How modules run that are loaded from WebAssembly: what was chosen, unless something else was that decides.
    pub fn tier_of_modules(&self) -> Tier {
        let fixed = self.tunables.meter || self.tunables.trace || self.call_tracer.is_some() || !self.interpret.is_empty();
        if self.tier == Tier::Auto && fixed { Tier::Compiled } else { self.tier }
    }

    /// After how many calls and turns of its loops [`Tier::Auto`] compiles a function (2,000 if this is not set). With `wait` the program
    /// stands still meanwhile, so that what happens when does not depend on the machine: for tests.
    #[must_use]
    pub fn compile_after(mut self, count: u32, wait: bool) -> Self {
        self.tier_up = Policy { after: count, wait };
        self
    }

    /// How many memories of dropped stores are kept, cleaned, for the next instances, and how much of them.
    #[must_use]
    pub fn reuse(mut self, reuse: Reuse) -> Self {
        self.reuse = reuse;
        self
    }

    /// The proposals that are on.
    pub fn enabled(&self) -> &Features {
        &self.features
    }

    /// What makes native code from WebAssembly in memory, for [`Tier::Compiled`].
    #[must_use]
    pub fn compiler(mut self, compiler: Arc<dyn JitCompiler>) -> Self {
        self.compiler = Some(compiler);
        self
    }

    /// Whether traps keep the locals of interpreted functions, for a [`CoreDump`](crate::CoreDump). Native code's cannot be had.
    #[must_use]
    pub fn keep_locals(mut self, on: bool) -> Self {
        self.keep_locals = on;
        self
    }

    /// How modules that are loaded from WebAssembly run. Artifacts always run their native code.
    #[must_use]
    pub fn tier(mut self, tier: Tier) -> Self {
        self.tier = tier;
        self
    }

    /// Functions that [`Tier::Compiled`] leaves to the interpreter.
    #[must_use]
    pub fn interpret(mut self, functions: Vec<Interpret>) -> Self {
        self.interpret = functions;
        self
    }

    /// Whether the digest of an artifact's machine code is checked when it is loaded (the default). Without it, loading
    /// does not read the code; only for folders that nobody else can write to.
    #[must_use]
    pub fn verify_text_hash(mut self, on: bool) -> Self {
        self.verify_text = on;
        self
    }

    /// Reports calls to this tracer: those between host, compiled and interpreted functions, those inside interpreted code, and
    /// those inside compiled code that was made for it. Modules compiled in memory are; artifacts if `wasmc compile --trace` made
    /// them ([`Module::reports_calls`](crate::Module::reports_calls)).
    #[must_use]
    pub fn call_tracer(mut self, tracer: Arc<CallTracer>) -> Self {
        self.call_tracer = Some(tracer);
        self
    }

    /// The number of the signal that is sent to threads to interrupt them, where the default (`SIGRTMAX` less 5) is used for
    /// something else. The process has one for all engines: [`Engine::new`](crate::Engine::new) refuses another than the one
    /// that is in use. Signals of this number that somebody else sends go to the handler that was there before.
    #[must_use]
    pub fn interrupt_signal(mut self, signal: i32) -> Self {
        self.interrupt_signal = Some(signal);
        self
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("stack_size", &self.stack_size)
            .field("tunables", &self.tunables)
            .field("features", &self.features)
            .field("compiler", &self.compiler.is_some())
            .field("tier", &self.tier)
            .field("interpret", &self.interpret)
            .field("verify_text", &self.verify_text)
            .field("call_tracer", &self.call_tracer.is_some())
            .field("interrupt_signal", &self.interrupt_signal)
            .field("costs", &self.costs)
            .field("reuse", &self.reuse)
            .finish()
    }
}
