//! wasi-threads: a program that imports `wasi`.`thread-spawn` starts threads of its own. Each is a new instance of the same
//! module, in a store of its own, on a new thread of the host, and shares nothing with the others but the memory that the module
//! imports as shared and what is behind the WASI context. Nothing is spawned that was not granted: without
//! [`WasiThreads::new`], the import is one that nobody provides.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use wasmc_runtime::{
    Caller, Engine, Error, ExternType, FuncType, InstancePre, InterruptHandle, Linker, MemoryType, Module, ResourceLimiter, Result,
    SharedMemory, Stats, Store, ValType,
};

/// The module and the name that programs import.
const SPAWN: (&str, &str) = ("wasi", "thread-spawn");
/// What a new thread calls with its number and the argument of `thread-spawn`.
const ENTRY: &str = "wasi_thread_start";
/// Numbers of threads are below this, so that languages can use the other bits.
const MAX_ID: u32 = 1 << 29;
/// What `thread-spawn` returns if there is no new thread: as errno, negated, `AGAIN`.
const REFUSED: i32 = -6;
/// Threads that a program may have at a time, the first one not counted, unless it is given another limit.
pub const DEFAULT_MAX_THREADS: usize = 1024;
/// How long `thread-spawn` waits for a place at the limit: a thread that was joined a moment ago, by means of the memory, may still
/// be on its way out of the host.
const PATIENCE: Duration = Duration::from_millis(100);
/// Stack of a host thread: WebAssembly has its own, so this carries only what makes and drops the instance.
const HOST_STACK: usize = 1 << 20;

/// The threads of one program.
///
/// The host functions of the linker hold it weakly: a program can spawn as long as somebody keeps what [`WasiThreads::new`]
/// returned.
pub struct WasiThreads<T: 'static> {
    engine: Engine,
    program: OnceLock<InstancePre<T>>,
    limit: usize,
    ids: Mutex<Ids>,
    /// A number was given back.
    freed: Condvar,
    ended: AtomicBool,
    counted: Mutex<Stats>,
    fork: Box<dyn Fn(&mut T) -> T + Send + Sync>,
    on_end: Box<dyn Fn(Error) + Send + Sync>,
    /// What is done with the store of each new thread.
    on_store: OnceLock<OnStore<T>>,
    /// How the threads that run are interrupted, by their numbers.
    handles: Mutex<HashMap<u32, InterruptHandle>>,
}

type OnStore<T> = Box<dyn Fn(&mut Store<T>) + Send + Sync>;

/// Why a program cannot have threads.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ThreadsError {
    /// It has no function for a thread to begin with.
    #[error("a program with threads exports `wasi_thread_start` as {wanted}, but this one {}", match found {
        Some(other) => format!("exports {other}"),
        None => "does not".to_owned(),
    })]
    Entry {
        /// The type that the export must have.
        wanted: ExternType,
        /// What is exported.
        found: Option<ExternType>,
    },
    /// Its threads would share nothing.
    #[error("a program with threads imports a shared memory, but this one does not")]
    NoSharedMemory,
    /// It imports something that only one store can use.
    #[error(
        "each thread of the program has an instance of its own in a store of its own, but the {import} that it imports belongs to one store"
    )]
    Bound {
        /// Type and names of the import.
        import: String,
    },
}

/// The numbers that are in use.
#[derive(Default)]
struct Ids {
    live: HashSet<u32>,
    last: u32,
}

impl Ids {
    /// A number that no living thread has, not used as long ago as possible.
    fn take(&mut self, limit: usize) -> Option<u32> {
        if self.live.len() >= limit.min(MAX_ID as usize - 1) {
            return None;
        }
        loop {
            self.last = if self.last + 1 < MAX_ID { self.last + 1 } else { 1 };
            if self.live.insert(self.last) {
                return Some(self.last);
            }
        }
    }
}

/// Whether a module asks for threads.
pub fn needs_threads(module: &Module) -> bool {
    module.imports().any(|i| (i.module, i.name) == SPAWN)
}

/// The shared memories that a module imports.
fn shared_imports(module: &Module) -> impl Iterator<Item = (&str, &str, MemoryType)> {
    module.imports().filter_map(|i| match i.ty {
        ExternType::Memory(ty) if ty.shared => Some((i.module, i.name, ty)),
        _ => None,
    })
}

/// Defines the shared memories that a module imports and nobody has defined yet. Their size counts to the limits, if there are any.
///
/// # Errors
///
/// If shared memories are not enabled, there is no room, or a limit does not allow them.
pub fn define_shared_memories<T: 'static>(
    linker: &mut Linker<T>,
    module: &Module,
    limiter: Option<Arc<dyn ResourceLimiter>>,
) -> Result<()> {
    let engine = linker.engine().clone();
    for (from, name, ty) in shared_imports(module) {
        if !linker.is_defined(from, name) {
            let memory = match &limiter {
                Some(limiter) => SharedMemory::with_limiter(&engine, ty, limiter.clone()),
                None => SharedMemory::new(&engine, ty),
            };
            let memory = memory.with_context(|| format!("cannot make the memory `{from}`.`{name}`"))?;
            linker.define_shared_memory(from, name, memory)?;
        }
    }
    Ok(())
}

impl<T: Send + 'static> WasiThreads<T> {
    /// Lets instances of `module` that `linker` makes start threads: defines `thread-spawn`, and makes the shared memory that
    /// the module imports, unless it is defined already. Whatever else the module imports must be defined before.
    ///
    /// At most `limit` threads live at a time, the first one not counted; another `thread-spawn` returns a negative number then,
    /// after a tenth of a second in which none ended, as when the host has no thread to give. `fork` makes the data of a new thread's store of that of the spawning one.
    ///
    /// The program ends when its first thread returns, and when any thread traps or exits. `on_end` gets the error of the
    /// first other thread that does, a [`wasmc_runtime::Exit`] for `proc_exit`, and has to end the others: it is called on
    /// the thread that failed.
    ///
    /// # Errors
    ///
    /// If the module does not export `wasi_thread_start` or imports no shared memory, if shared memories are not enabled, if
    /// something it imports is not defined, or belongs to one store, so that no other thread could use it.
    pub fn new(
        linker: &mut Linker<T>,
        module: &Module,
        limit: usize,
        fork: impl Fn(&mut T) -> T + Send + Sync + 'static,
        on_end: impl Fn(Error) + Send + Sync + 'static,
    ) -> Result<Arc<Self>> {
        let entry = module.exports().find(|e| e.name == ENTRY).map(|e| e.ty);
        let wanted = FuncType::new([ValType::I32, ValType::I32], []);
        let wanted = ExternType::Func(wanted);
        ensure!(entry.as_ref() == Some(&wanted), ThreadsError::Entry { wanted, found: entry });
        let engine = linker.engine().clone();
        define_shared_memories(linker, module, None)?;
        ensure!(shared_imports(module).next().is_some(), ThreadsError::NoSharedMemory);
        let this = Arc::new(Self {
            engine,
            program: OnceLock::new(),
            limit,
            ids: Mutex::default(),
            freed: Condvar::new(),
            ended: AtomicBool::new(false),
            counted: Mutex::default(),
            fork: Box::new(fork),
            on_end: Box::new(on_end),
            on_store: OnceLock::new(),
            handles: Mutex::default(),
        });
        // Weak: the program's imports, which `this` keeps, keep this function.
        let threads = Arc::downgrade(&this);
        linker.func_wrap(SPAWN.0, SPAWN.1, move |mut caller: Caller<'_, T>, argument: i32| {
            // A thread burns half of what its parent has left, so that all of them together cannot burn more than was given.
            let fuel = caller.split_fuel();
            let spawned = Weak::upgrade(&threads).and_then(|threads| threads.spawn(caller.data_mut(), argument, fuel));
            if let (None, Some(fuel)) = (spawned, fuel) {
                caller.return_fuel(fuel);
            }
            spawned.unwrap_or(REFUSED)
        })?;
        let program = linker.instantiate_pre(module)?;
        if let Some(import) = program.bound_to_a_store() {
            return Err(ThreadsError::Bound { import: format!("{} `{}`.`{}`", import.ty, import.module, import.name) }.into());
        }
        // It was made here, and nobody has set it.
        let _ = this.program.set(program);
        Ok(this)
    }

    /// Sets what is done with the store of each thread that is started from now on, before anything runs in it: to give it limits,
    /// for instance. The first call counts.
    pub fn on_store(&self, f: impl Fn(&mut Store<T>) + Send + Sync + 'static) {
        let _ = self.on_store.set(Box::new(f));
    }

    /// Interrupts all threads but the first one, whose store is the embedder's, and lets no more be started. `on_end` is not called
    /// for them.
    pub fn interrupt(&self) {
        self.ended.store(true, Ordering::SeqCst);
        for handle in self.handles.lock().unwrap_or_else(PoisonError::into_inner).values() {
            handle.interrupt();
        }
    }

    /// What the threads that have ended counted, the first one not among them.
    pub fn stats(&self) -> Stats {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many threads live, the first one not counted.
    pub fn running(&self) -> usize {
        self.ids().live.len()
    }

    fn ids(&self) -> MutexGuard<'_, Ids> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a new thread; if there are too many, after a while, and only if one has ended by then.
    fn take_id(&self) -> Option<u32> {
        let mut ids = self.ids();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let id = ids.take(self.limit);
            if id.is_some() || left.is_zero() || self.limit == 0 {
                return id;
            }
            ids = self.freed.wait_timeout(ids, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Starts a thread; its number.
    fn spawn(self: Arc<Self>, data: &mut T, argument: i32, fuel: Option<u64>) -> Option<i32> {
        if self.ended.load(Ordering::Relaxed) {
            return None;
        }
        let id = self.take_id()?;
        // Gives the number back when the thread ends, however it does, or if there is none.
        let live = Live { threads: self, id };
        let data = (live.threads.fork)(data);
        let thread = std::thread::Builder::new().name(format!("wasi-thread-{id}")).stack_size(HOST_STACK);
        let spawned = thread.spawn(move || {
            let run = AssertUnwindSafe(|| live.threads.run(data, id, argument, fuel));
            // A panic would otherwise end this thread alone, and the program would wait for it.
            let result = catch_unwind(run).unwrap_or_else(|_| Err(Error::msg("internal error: a thread of the program panicked")));
            if let Err(error) = result
                && !live.threads.ended.swap(true, Ordering::AcqRel)
            {
                (live.threads.on_end)(error);
            }
        });
        // Below `MAX_ID`.
        spawned.is_ok().then_some(id as i32)
    }

    /// What a thread does.
    fn run(&self, data: T, id: u32, argument: i32, fuel: Option<u64>) -> Result<()> {
        // `new` has set it before anybody could spawn.
        let Some(program) = self.program.get() else { return Ok(()) };
        let mut store = Store::new(&self.engine, data);
        if let Some(f) = self.on_store.get() {
            f(&mut store);
        }
        if let Some(fuel) = fuel {
            store.set_fuel(fuel)?;
        }
        let handle = store.interrupt_handle()?;
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).insert(id, handle.clone());
        // `interrupt` either sees the handle, or has said this before.
        if self.ended.load(Ordering::SeqCst) {
            handle.interrupt();
        }
        let outcome = program.instantiate(&mut store).and_then(|instance| {
            let entry = instance.get_typed_func::<(i32, i32), ()>(&mut store, ENTRY)?;
            entry.call(&mut store, (id as i32, argument))
        });
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).add_counts(&store.stats());
        outcome
    }
}

/// A number in use.
struct Live<T: Send + 'static> {
    threads: Arc<WasiThreads<T>>,
    id: u32,
}

impl<T: Send + 'static> Drop for Live<T> {
    fn drop(&mut self) {
        self.threads.handles.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
        self.threads.ids().live.remove(&self.id);
        self.threads.freed.notify_one();
    }
}

impl<T: 'static> std::fmt::Debug for WasiThreads<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WasiThreads").field("limit", &self.limit).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_bounded() {
        let mut ids = Ids::default();
        assert_eq!((1..=3).map(|_| ids.take(3)).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
        assert_eq!(ids.take(3), None);
        ids.live.remove(&2);
        // Not at once again: whoever still waits for the old thread shall not meet the new one.
        assert_eq!(ids.take(3), Some(4));
        ids.live.clear();
        ids.live.insert(1);
        ids.last = MAX_ID - 2;
        assert_eq!((ids.take(9), ids.take(9)), (Some(MAX_ID - 1), Some(2)));
        assert_eq!(Ids::default().take(0), None);
    }
}
