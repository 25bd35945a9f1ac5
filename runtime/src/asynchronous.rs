//! Calls on a thread of their own: the store goes there, and comes back with the result. Whoever started one waits for it, for
//! as long as it takes or for a time, or cancels it, which interrupts the store. No executor is needed, and none is started.

use crate::Result;
use crate::func::Func;
use crate::interrupt::InterruptHandle;
use crate::store::Store;
use crate::typed::{TypedFunc, WasmParams, WasmResults};
use crate::value::Val;
use anyhow::{Context as _, anyhow};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Stack of the thread: WebAssembly has its own, so this carries host functions that are called from outside, and little else.
const HOST_STACK: usize = 2 << 20;

/// Something that runs in a store, on a thread of its own. Dropping this cancels it, and does not wait for its end.
pub struct AsyncCall<T: 'static, R> {
    /// Taken by `get`.
    thread: Option<JoinHandle<(Store<T>, Result<R>)>>,
    done: Arc<Done>,
    handle: InterruptHandle,
}

#[derive(Default)]
struct Done {
    done: Mutex<bool>,
    changed: Condvar,
}

/// Says that the thread is done, even if it panics.
struct Announce(Arc<Done>);

impl Drop for Announce {
    fn drop(&mut self) {
        *self.0.done.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.changed.notify_all();
    }
}

impl<T: 'static, R> AsyncCall<T, R> {
    /// Waits for the end; the store and what the call returned.
    ///
    /// # Errors
    /// The `Result` beside the store is that of the call. The outer one is an error only if the store was lost: dropping one of the
    /// call's values panicked.
    pub fn get(mut self) -> Result<(Store<T>, Result<R>)> {
        let thread = self.thread.take().context("internal error: a call without a thread")?;
        thread.join().map_err(|_| anyhow!("the thread of an asynchronous call panicked, and its store is lost"))
    }

    /// Waits for the end, at most so long; says whether it has come.
    pub fn wait_for(&self, time: Duration) -> bool {
        let until = Instant::now().checked_add(time);
        let mut done = self.done.done.lock().unwrap_or_else(PoisonError::into_inner);
        while !*done {
            done = match until {
                None => self.done.changed.wait(done).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    self.done.changed.wait_timeout(done, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }

    /// Whether the end has come.
    pub fn is_finished(&self) -> bool {
        self.wait_for(Duration::ZERO)
    }

    /// Interrupts the store ([`InterruptHandle::interrupt`]): the call ends soon, and `get` says how.
    pub fn cancel(&self) {
        self.handle.interrupt();
    }

    /// A handle that cancels the call, for other threads.
    pub fn interrupt_handle(&self) -> InterruptHandle {
        self.handle.clone()
    }
}

impl<T: 'static, R> Drop for AsyncCall<T, R> {
    fn drop(&mut self) {
        if self.thread.is_some() && !self.is_finished() {
            self.cancel();
        }
    }
}

impl<T: 'static, R> std::fmt::Debug for AsyncCall<T, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsyncCall").field("finished", &self.is_finished()).finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Store<T> {
    /// Runs a function with this store on a new thread: a call, or instantiation with all that follows. A panic of it is an error
    /// of [`AsyncCall::get`] beside the store.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wasmc_runtime::{Config, Engine, Instance, Module, Store, Tier};
    ///
    /// # fn main() -> wasmc_runtime::Result<()> {
    /// let engine = Engine::new(Config::new().tier(Tier::Interpreted))?;
    /// let module = Module::new(&engine, &wat::parse_str(r#"(module (func (export "run") (loop $l (br $l))))"#)?)?;
    /// let mut store = Store::new(&engine, ());
    /// let instance = Instance::new(&mut store, &module, &[])?;
    /// let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
    ///
    /// let call = run.call_async(store, ())?;
    /// assert!(!call.wait_for(Duration::from_millis(10)));
    /// call.cancel();
    /// let (store, result) = call.get()?;
    /// assert!(result.is_err() && store.is_interrupted());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the system refuses a thread, or what interruptions need.
    pub fn run_async<R: Send + 'static>(mut self, f: impl FnOnce(&mut Self) -> Result<R> + Send + 'static) -> Result<AsyncCall<T, R>> {
        let handle = self.interrupt_handle()?;
        let done = Arc::new(Done::default());
        let announce = Announce(done.clone());
        let thread = std::thread::Builder::new().name("wasmc-async".to_owned()).stack_size(HOST_STACK);
        let thread = thread
            .spawn(move || {
                let announce = announce;
                let result = catch_unwind(AssertUnwindSafe(|| f(&mut self)));
                let result = result.unwrap_or_else(|payload| Err(crate::error::HostPanic::new(&*payload).into()));
                drop(announce);
                (self, result)
            })
            .context("cannot start a thread for an asynchronous call")?;
        Ok(AsyncCall { thread: Some(thread), done, handle })
    }
}

impl<P: WasmParams + Send + 'static, R: WasmResults + Send + 'static> TypedFunc<P, R> {
    /// Calls the function on a new thread, to which the store goes.
    ///
    /// # Errors
    /// As [`Store::run_async`]; what the call returns is the result beside the store.
    pub fn call_async<T: Send + 'static>(&self, store: Store<T>, params: P) -> Result<AsyncCall<T, R>> {
        let this = *self;
        store.run_async(move |store| this.call(store, params))
    }
}

impl Func {
    /// Calls the function on a new thread, to which the store goes; its results are those of the call.
    ///
    /// # Errors
    /// As [`Store::run_async`]; what the call returns is the result beside the store.
    pub fn call_async<T: Send + 'static>(&self, store: Store<T>, args: Vec<Val>) -> Result<AsyncCall<T, Vec<Val>>> {
        let this = *self;
        store.run_async(move |store| {
            let mut results = vec![Val::I32(0); this.result_count(&*store)?];
            this.call(store, &args, &mut results)?;
            Ok(results)
        })
    }
}
