//! Metering as the embedder sees it: fuel, counts of instructions and calls, and where the time goes. The counters that
//! running code keeps are in `VMMeter`; this file reads and sets them, charges for host functions, and gives back what a trap
//! left undone of a region that was charged for at its start (`environ::meter`).

use crate::Result;
use crate::engine::Engine;
use crate::func::ExitBinding;
use crate::module::ModuleInner;
use crate::ops;
use crate::shared_memory::current_length;
use crate::store::StoreOpaque;
use crate::trap::FrameInfo;
use crate::vm::{self, fork::get_or_init};
use crate::{AsContextMut, Caller, Store, StoreContextMut};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use wasmc_environ::costs::CostTable;
use wasmc_environ::vmlayout::*;
use wasmc_environ::wasmparser::{BinaryReader, FunctionBody};
use wasmc_environ::{MemoryIndex, TrapCode, meter};

/// The most fuel that a store can have at a time; a store without a limit has so much.
pub const MAX_FUEL: u64 = i64::MAX as u64;

/// A store or engine that does not meter was asked for what metering gives.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine does not meter: make it with `Config::meter(true)`, and artifacts for it with `wasmc compile --meter`")]
pub struct NotMetered;

/// A module was compiled with another table of costs than the engine uses.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it was compiled with another table of costs than the engine uses, and costs are part of the code; recompile it with `wasmc compile \
     --meter --costs FILE`"
)]
pub struct CostsDiffer;

/// What a store knows about what ran in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// WebAssembly instructions that were executed; `None` if the engine does not meter.
    pub instructions: Option<u64>,
    /// What they and the calls of host functions cost by the engine's table; without one, the number of instructions.
    pub cost: Option<u64>,
    /// WebAssembly functions that were entered; `None` if the engine does not meter.
    pub calls: Option<u64>,
    /// Calls of host functions; `None` if they are not counted ([`Store::watch_host_calls`]).
    pub host_calls: Option<u64>,
    /// Time in WebAssembly; `None` if it is not measured ([`Store::measure_time`]).
    pub wasm_time: Option<Duration>,
    /// Time in host functions that WebAssembly called; `None` if it is not measured.
    pub host_time: Option<Duration>,
    /// Bytes of all memories that the store's instances define or share. Memories never shrink and live as long as the store,
    /// so this is also the most that there were.
    pub memory_bytes: u64,
}

impl Stats {
    /// Adds the counts of another store that ran a part of the same program.
    pub fn add_counts(&mut self, other: &Self) {
        let add = |to: &mut Option<u64>, n: Option<u64>| {
            if let Some(n) = n {
                *to = Some(to.unwrap_or(0).saturating_add(n));
            }
        };
        add(&mut self.instructions, other.instructions);
        add(&mut self.cost, other.cost);
        add(&mut self.calls, other.calls);
        add(&mut self.host_calls, other.host_calls);
    }
}

/// Where the time goes at the moment.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Not in the store's calls at all.
    Outside,
    Wasm,
    Host,
}

#[derive(Debug)]
struct Clock {
    place: Place,
    since: Instant,
    wasm: Duration,
    host: Duration,
}

impl Clock {
    fn switch(&mut self, place: Place) -> Place {
        let now = Instant::now();
        let passed = now.saturating_duration_since(self.since);
        match self.place {
            Place::Outside => {}
            Place::Wasm => self.wasm += passed,
            Place::Host => self.host += passed,
        }
        self.since = now;
        std::mem::replace(&mut self.place, place)
    }
}

/// The part of a store's metering that running code does not reach.
#[derive(Debug)]
pub(crate) struct StoreMeter {
    /// Fuel at the last time that it was set.
    given: i64,
    /// What was spent before that.
    spent: u64,
    host_calls: u64,
    clock: Option<Clock>,
}

impl Default for StoreMeter {
    fn default() -> Self {
        Self { given: i64::MAX, spent: 0, host_calls: 0, clock: None }
    }
}

/// The table of costs that all modules of an engine agree on: the configuration's, or that of the first one.
#[derive(Debug, Default)]
pub(crate) struct EngineCosts(OnceLock<Option<Arc<CostTable>>>);

impl EngineCosts {
    pub(crate) fn new(configured: Option<&Arc<CostTable>>) -> Self {
        let this = Self::default();
        if let Some(costs) = configured {
            let _ = this.0.set(Some(costs.clone()));
        }
        this
    }

    /// The table for code that is yet to be made.
    pub(crate) fn get(&self) -> Option<&Arc<CostTable>> {
        get_or_init(&self.0, || None).as_ref()
    }

    /// Takes the table of code that was made already.
    pub(crate) fn agree(&self, costs: Option<&CostTable>) -> Result<(), CostsDiffer> {
        let agreed = get_or_init(&self.0, || costs.cloned().map(Arc::new));
        if agreed.as_deref() == costs { Ok(()) } else { Err(CostsDiffer) }
    }
}

/// Whether an engine's code is metered.
pub(crate) fn is_metered(engine: &Engine) -> bool {
    engine.config().tunables.meter
}

/// What watching host functions is for.
const WATCH_CALLS: u64 = 1;
const WATCH_TIME: u64 = 2;

/// The counters of a new store.
pub(crate) fn initial(engine: &Engine) -> VMMeter {
    VMMeter { watch_host: if is_metered(engine) { WATCH_CALLS } else { 0 }, ..VMMeter::UNLIMITED }
}

/// Before a host function of a store with `watch_host`: counts and charges, or makes a trap of it, whose status is the error. What is
/// returned is for `leave_host`.
///
/// # Safety
/// `exit` is the binding of a host function that its store is calling.
#[cold]
pub(crate) unsafe fn enter_host(exit: *mut VMExitContext) -> Result<Place, u64> {
    // SAFETY: by the caller; a host function's exit context is part of an `ExitBinding`.
    unsafe {
        let store: *mut StoreOpaque = (*(*exit).store).store.cast();
        let cost = (*ExitBinding::of(exit)).cost;
        let counters = &mut (*(*exit).store).meter;
        if counters.fuel < cost {
            return Err(vm::raise_trap(store, TrapCode::OutOfFuel));
        }
        counters.fuel -= cost;
        (*store).meter.host_calls += 1;
        Ok(switch(store, Place::Host))
    }
}

/// After a host function for which `enter_host` was called.
///
/// # Safety
/// As `enter_host`.
#[cold]
pub(crate) unsafe fn leave_host(exit: *mut VMExitContext, before: Place) {
    // SAFETY: by the caller.
    unsafe { switch((*(*exit).store).store.cast(), before) };
}

/// Notes where the time goes from now on; where it went before.
///
/// # Safety
/// `store` is alive and not borrowed.
#[inline]
pub(crate) unsafe fn switch(store: *mut StoreOpaque, place: Place) -> Place {
    // SAFETY: by the caller.
    match unsafe { &mut (*store).meter.clock } {
        Some(clock) => clock.switch(place),
        None => Place::Outside,
    }
}

/// What an import of a host function under these names costs.
pub(crate) fn host_cost(engine: &Engine, module: &str, name: &str) -> i64 {
    if !is_metered(engine) {
        return 0;
    }
    // The greatest cost is below 2^63.
    engine.costs().get().map_or(0, |costs| costs.host(module, name) as i64)
}

/// Gives back what the innermost frame's region was charged for and did not execute because of a trap.
///
/// # Safety
/// `store` is alive, and nothing runs in it: the fuel is in its context.
#[cold]
pub(crate) unsafe fn settle(store: *mut StoreOpaque, code: TrapCode, innermost: Option<&FrameInfo>) {
    // SAFETY: by the caller.
    unsafe {
        if !is_metered(&(*store).engine) {
            return;
        }
        let counters = &mut (*store).vm.context.meter;
        let undone = innermost.and_then(|frame| with_body(frame, meter::undone)).unwrap_or_default();
        let mut back = undone.others;
        if counters.fuel < 0 {
            // Compiled code takes the fuel for a region, and finds then that there was not enough. Instructions were not counted yet.
            counters.fuel = counters.fuel.saturating_add_unsigned(undone.region.cost).max(0);
        } else if !matches!(code, TrapCode::OutOfFuel | TrapCode::StackOverflow | TrapCode::Interrupt) {
            // At an exhausted stack or an interruption, code may stand anywhere in a region, before the charge too; so these count the
            // innermost region as a whole.
            back = back.and(undone.rest);
        }
        counters.fuel = counters.fuel.saturating_add_unsigned(back.cost);
        if (*store).engine.costs().get().is_some() {
            counters.instructions = counters.instructions.saturating_sub(back.instructions);
        }
    }
}

/// Calls `f` with the body of a frame's function, the costs, and the offset of the frame's instruction.
fn with_body<R>(frame: &FrameInfo, f: impl FnOnce(&FunctionBody<'_>, Option<&CostTable>, u64) -> R) -> Option<R> {
    let module = frame.module();
    let offset = u64::from(frame.module_offset()?);
    let defined = module.env.defined_func(frame.func())?;
    let range = module.env.bodies.get(defined.index())?;
    let bytes = module.wasm()?.get(range.start as usize..range.end as usize)?;
    let body = FunctionBody::new(BinaryReader::new(bytes, range.start));
    Some(f(&body, module.engine.costs().get().map(|c| &**c), offset))
}

impl StoreOpaque {
    fn metered(&self) -> Result<()> {
        if is_metered(&self.engine) { Ok(()) } else { Err(NotMetered.into()) }
    }

    fn fuel(&self) -> Result<u64> {
        self.metered()?;
        Ok(self.vm.context.meter.fuel as u64)
    }

    fn set_fuel(&mut self, fuel: u64) -> Result<()> {
        self.metered()?;
        self.meter.spent = self.spent();
        let fuel = fuel.min(MAX_FUEL) as i64;
        self.meter.given = fuel;
        self.vm.context.meter.fuel = fuel;
        Ok(())
    }

    /// Takes half of the fuel away, if it is limited.
    fn split_fuel(&mut self) -> Option<u64> {
        let limited = self.meter.given != i64::MAX || self.meter.spent != 0;
        let half = (is_metered(&self.engine) && limited).then_some(self.vm.context.meter.fuel / 2)?;
        self.meter.given -= half;
        self.vm.context.meter.fuel -= half;
        Some(half as u64)
    }

    fn return_fuel(&mut self, fuel: u64) {
        let fuel = (fuel.min(MAX_FUEL) as i64).min(i64::MAX - self.vm.context.meter.fuel.max(self.meter.given));
        self.meter.given += fuel;
        self.vm.context.meter.fuel += fuel;
    }

    fn spent(&self) -> u64 {
        self.meter.spent.saturating_add(self.meter.given.wrapping_sub(self.vm.context.meter.fuel) as u64)
    }

    fn stats(&self) -> Stats {
        let metered = is_metered(&self.engine);
        let counters = &self.vm.context.meter;
        let spent = self.spent();
        let instructions = if self.engine.costs().get().is_some() { counters.instructions } else { spent };
        let mut clock = self.meter.clock.as_ref().map(|c| (c.place, c.since, c.wasm, c.host));
        if let Some((place, since, wasm, host)) = &mut clock {
            match place {
                Place::Outside => {}
                Place::Wasm => *wasm += since.elapsed(),
                Place::Host => *host += since.elapsed(),
            }
        }
        Stats {
            instructions: metered.then_some(instructions),
            cost: metered.then_some(spent),
            calls: metered.then(|| counters.calls + self.native_calls()),
            host_calls: (counters.watch_host != 0).then_some(self.meter.host_calls),
            wasm_time: clock.map(|c| c.2),
            host_time: clock.map(|c| c.3),
            memory_bytes: self.memory_bytes(),
        }
    }

    /// Functions that were entered in native code.
    fn native_calls(&self) -> u64 {
        // SAFETY: the store keeps its instances and their `VMContext`s.
        self.instances.iter().map(|i| unsafe { (*(*i).vmctx.cast::<VMContextHead>()).calls }).sum()
    }

    fn memory_bytes(&self) -> u64 {
        let mut sum: u64 = self.shared_memories.iter().map(|(memory, _)| memory.data_size() as u64).sum();
        for instance in self.instances.iter() {
            // SAFETY: the store keeps its instances and their `VMContext`s.
            unsafe {
                let instance = &*instance;
                let env = &instance.module.env;
                let shared = self.shared_memories.iter().any(|(_, holder)| std::ptr::eq(*holder, instance));
                for i in env.num_imported_memories..env.memories.len() as u32 {
                    if !shared {
                        let definition = ops::memory_definition(instance.vmctx, MemoryIndex::from_u32(i));
                        sum += current_length(definition);
                    }
                }
            }
        }
        sum
    }

    fn watch_host_calls(&mut self) {
        self.vm.context.meter.watch_host |= WATCH_CALLS;
    }

    fn measure_time(&mut self) {
        self.vm.context.meter.watch_host |= WATCH_TIME;
        let place = if self.vm.activations.is_null() { Place::Outside } else { Place::Host };
        self.meter.clock.get_or_insert_with(|| Clock { place, since: Instant::now(), wasm: Duration::ZERO, host: Duration::ZERO });
    }
}

macro_rules! metering {
    ($($(#[$bound:meta])* impl($($generics:tt)*) for $ty:ty;)*) => {$(
        /// Metering. What it counts is the same on every tier.
        impl<$($generics)*> $ty {
            /// Fuel that is left.
            ///
            /// # Errors
            /// [`NotMetered`], if the engine does not meter.
            pub fn get_fuel(&mut self) -> Result<u64> {
                self.as_context_mut().opaque().fuel()
            }

            /// Limits what runs from now on: each instruction takes 1 from the fuel, or its cost by [`Config::costs`](crate::Config::costs);
            /// what costs more than is left traps as [`TrapCode::OutOfFuel`] before anything of it is done. A store begins with
            /// [`MAX_FUEL`], which is no limit.
            ///
            /// # Errors
            /// [`NotMetered`], if the engine does not meter.
            pub fn set_fuel(&mut self, fuel: u64) -> Result<()> {
                self.as_context_mut().opaque_mut().set_fuel(fuel)
            }

            /// Adds to the fuel that is left.
            ///
            /// # Errors
            /// [`NotMetered`], if the engine does not meter.
            pub fn add_fuel(&mut self, fuel: u64) -> Result<()> {
                let left = self.get_fuel()?;
                self.set_fuel(left.saturating_add(fuel))
            }

            /// Takes half of the fuel that is left away, for another store that runs a part of the same program; `None` if there is no
            /// limit. It does not count as spent here.
            pub fn split_fuel(&mut self) -> Option<u64> {
                self.as_context_mut().opaque_mut().split_fuel()
            }

            /// Gives back what [`Self::split_fuel`] took.
            pub fn return_fuel(&mut self, fuel: u64) {
                self.as_context_mut().opaque_mut().return_fuel(fuel);
            }

            /// What was spent since the store was made, whatever the limits were.
            ///
            /// # Errors
            /// [`NotMetered`], if the engine does not meter.
            pub fn fuel_consumed(&mut self) -> Result<u64> {
                self.as_context_mut().opaque().stats().cost.ok_or_else(|| NotMetered.into())
            }

            /// How many WebAssembly instructions were executed since the store was made. Exact in host functions, after calls and
            /// after traps; after an interruption or an exhausted stack the innermost function's region counts as a whole.
            ///
            /// # Errors
            /// [`NotMetered`], if the engine does not meter.
            pub fn instructions_executed(&mut self) -> Result<u64> {
                self.as_context_mut().opaque().stats().instructions.ok_or_else(|| NotMetered.into())
            }

            /// What is known of what ran in the store.
            pub fn stats(&mut self) -> Stats {
                self.as_context_mut().opaque().stats()
            }

            /// Counts calls of host functions from now on; a store of an engine that meters does so anyway.
            pub fn watch_host_calls(&mut self) {
                self.as_context_mut().opaque_mut().watch_host_calls();
            }

            /// Measures from now on how long WebAssembly and host functions take: two looks at the clock for every call between them.
            pub fn measure_time(&mut self) {
                self.as_context_mut().opaque_mut().measure_time();
            }
        }
    )*};
}

metering! {
    impl(T: 'static) for Store<T>;
    impl(T: 'static) for StoreContextMut<'_, T>;
    impl(T: 'static) for Caller<'_, T>;
}

/// Whether functions that this engine interprets are metered, and how.
pub(crate) fn interpreter_costs(module: &ModuleInner) -> Option<Option<&CostTable>> {
    is_metered(&module.engine).then(|| module.engine.costs().get().map(|c| &**c))
}
