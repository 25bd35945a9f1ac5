//! The store: owns everything that instances are made of, and the host's data. Everything lives in one allocation that
//! never moves, reached through raw pointers, because native code, host functions and the embedder all reach it at once:
//! no Rust reference to the whole store exists while WebAssembly runs.

use crate::context::{AsContext, AsContextMut, StoreContext, StoreContextMut};
use crate::engine::Engine;
use crate::error::{Error, ThrownException};
use crate::fuel::{self, StoreMeter};
use crate::func::{AnyHostFunc, ExitBinding};
use crate::global::HostGlobal;
use crate::instance::InstanceData;
use crate::interp::InterpStack;
use crate::limiter::{Account, ResourceLimiter};
use crate::registry::{KnownStubs, TypeRegistration};
use crate::shared_memory::SharedMemory;
use crate::trace::StoreTrace;
use crate::value::{ExnRef, Roots};
use crate::vm::heap::Heap;
use crate::vm::{self, VmStore};
use std::marker::PhantomData;
use std::num::NonZeroU64;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wasmc_environ::TrapCode;
use wasmc_environ::vmlayout::*;

/// Tells stores apart, so that a handle is never used with a store that it does not belong to.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StoreId(NonZeroU64);

impl StoreId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // 2^64 stores are not reached: at one a nanosecond that takes 584 years.
        Self(NonZeroU64::new(NEXT.fetch_add(1, Ordering::Relaxed)).unwrap_or(NonZeroU64::MAX))
    }
}

/// Values with stable addresses that live as long as their owner. Not `Vec<Box<T>>`: a box claims to be the only way to
/// its contents, and here raw pointers to them are everywhere.
pub(crate) struct Arena<T>(Vec<NonNull<T>>);

impl<T> Arena<T> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn push(&mut self, value: T) -> *mut T {
        let at = NonNull::from(Box::leak(Box::new(value)));
        self.0.push(at);
        at.as_ptr()
    }

    /// Takes the last value out again.
    pub(crate) fn pop(&mut self) -> Option<T> {
        // SAFETY: `push` leaked this box, and after this nobody else frees it.
        self.0.pop().map(|p| *unsafe { Box::from_raw(p.as_ptr()) })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = *mut T> + '_ {
        self.0.iter().map(|p| p.as_ptr())
    }
}

impl<T> Drop for Arena<T> {
    fn drop(&mut self) {
        for p in self.0.drain(..) {
            // SAFETY: `push` leaked this box, and nobody else frees it.
            drop(unsafe { Box::from_raw(p.as_ptr()) });
        }
    }
}

/// The part of a store that does not depend on the type of the host's data. `VMStoreContext::store` points here. Fields
/// are dropped in order: instances before the heap that they refer to, code and stack last.
pub struct StoreOpaque {
    pub(crate) id: StoreId,
    /// Never removed while the store lives: references to their functions may be anywhere.
    pub(crate) instances: Arena<InstanceData>,
    /// References of host functions that no instance imported (those that one did import are in its `InstanceData`).
    pub(crate) host_bindings: Arena<ExitBinding>,
    /// The instances of the host that hold the shared memories that were imported.
    pub(crate) shared_memories: Vec<(SharedMemory, *mut InstanceData)>,
    /// Globals that the host made.
    pub(crate) host_globals: Arena<HostGlobal>,
    /// Tags that the host made.
    pub(crate) host_tags: Arena<VMTagDefinition>,
    /// Objects behind `externref` and `exnref`.
    pub(crate) heap: Heap,
    /// What the host's handles keep alive in the heap.
    pub(crate) roots: Roots,
    /// The value stack of interpreted functions.
    pub(crate) interp: InterpStack,
    /// Host functions whose addresses are in bindings.
    pub(crate) host_funcs: Vec<Arc<AnyHostFunc>>,
    /// Types that host functions, globals and tags of this store have.
    pub(crate) host_types: Vec<TypeRegistration>,
    /// Stubs by `SharedTypeIndex`, as far as they were asked for.
    pub(crate) stubs: Vec<KnownStubs>,
    /// Stack, activations, code ranges, the pending error: what running code needs.
    pub(crate) vm: VmStore,
    /// Metering beside the counters in `vm`.
    pub(crate) meter: StoreMeter,
    pub(crate) engine: Engine,
    /// What limits what the store may use, and how much it does.
    pub(crate) account: Account,
    /// The host's data (`*mut T`), for `Caller`.
    pub(crate) data: *mut u8,
    /// If the engine has a tracer of calls: the calls that are under way.
    pub(crate) trace: Option<Box<StoreTrace>>,
}

/// A store: instances with all that belongs to them, and the host's own data.
///
/// Instances, functions, memories and so on live until the store is dropped; the values of their types are only handles.
pub struct Store<T: 'static> {
    inner: NonNull<StoreInner<T>>,
    owns: PhantomData<StoreInner<T>>,
}

/// `opaque` comes first: a pointer to one is a pointer to the other. It is dropped first, too.
#[repr(C)]
pub(crate) struct StoreInner<T> {
    pub(crate) opaque: StoreOpaque,
    pub(crate) data: T,
}

// SAFETY: a store is only used through `&mut` (then by one thread) or for reading through `&`; what it owns (mappings,
// code, host functions, heap objects) is usable from any thread, and `T` says so for the data.
unsafe impl<T: Send> Send for Store<T> {}
// SAFETY: as above; nothing is written through a shared reference.
unsafe impl<T: Sync> Sync for Store<T> {}

impl<T: 'static> Store<T> {
    /// An empty store with the host's data.
    pub fn new(engine: &Engine, data: T) -> Self {
        let opaque = StoreOpaque {
            id: StoreId::next(),
            instances: Arena::new(),
            host_bindings: Arena::new(),
            shared_memories: Vec::new(),
            host_globals: Arena::new(),
            host_tags: Arena::new(),
            heap: Heap::new(),
            roots: Roots::default(),
            interp: InterpStack::new(),
            host_funcs: Vec::new(),
            host_types: Vec::new(),
            stubs: Vec::new(),
            vm: VmStore::new(engine.config(), fuel::initial(engine)),
            meter: StoreMeter::default(),
            engine: engine.clone(),
            account: Account::default(),
            data: std::ptr::null_mut(),
            trace: StoreTrace::new(engine),
        };
        let inner = NonNull::from(Box::leak(Box::new(StoreInner { opaque, data })));
        let at = inner.as_ptr();
        // SAFETY: `at` is the store that was just made; nobody else knows it yet.
        unsafe {
            (*at).opaque.data = (&raw mut (*at).data).cast();
            (*at).opaque.vm.context.store = at.cast();
            (*at).opaque.vm.interrupt.set_store(at.cast());
        }
        Self { inner, owns: PhantomData }
    }

    /// The engine that the store was made with.
    pub fn engine(&self) -> &Engine {
        // SAFETY: the store is alive, and borrowed.
        unsafe { &(*self.inner.as_ptr()).opaque.engine }
    }

    /// The host's data.
    pub fn data(&self) -> &T {
        // SAFETY: the store is alive, and borrowed.
        unsafe { &(*self.inner.as_ptr()).data }
    }

    /// The host's data.
    pub fn data_mut(&mut self) -> &mut T {
        // SAFETY: the store is alive, and borrowed uniquely.
        unsafe { &mut (*self.inner.as_ptr()).data }
    }

    /// The host's data, without the store around it.
    pub fn into_data(self) -> T {
        let at = std::mem::ManuallyDrop::new(self).inner.as_ptr();
        // SAFETY: the store is not used after this: its parts are moved out or dropped once each, and then the
        // allocation is freed without dropping them again.
        unsafe {
            let data = std::ptr::read(&raw const (*at).data);
            std::ptr::drop_in_place(&raw mut (*at).opaque);
            drop(Box::from_raw(at.cast::<std::mem::MaybeUninit<StoreInner<T>>>()));
            data
        }
    }

    /// Sets who decides how much the store may use. What it uses already does not count.
    pub fn limiter(&mut self, limiter: Arc<dyn ResourceLimiter>) {
        // SAFETY: the store is alive, and borrowed uniquely.
        unsafe { (*self.inner.as_ptr()).opaque.account = Account::new(Some(limiter)) };
    }

    /// Frees the objects that no reference leads to any more. Happens by itself as they become many.
    pub fn collect(&mut self) {
        // SAFETY: the store is alive, and borrowed uniquely.
        unsafe { StoreOpaque::collect(self.inner.as_ptr().cast()) }
    }
}

impl<T: 'static> Drop for Store<T> {
    fn drop(&mut self) {
        // SAFETY: `new` leaked this box, and nobody else frees it.
        drop(unsafe { Box::from_raw(self.inner.as_ptr()) });
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("data", self.data()).finish_non_exhaustive()
    }
}

impl<T: 'static> AsContext for Store<T> {
    type Data = T;
    #[inline]
    fn as_context(&self) -> StoreContext<'_, T> {
        // SAFETY: the store is alive, and borrowed for as long as the context.
        unsafe { StoreContext::new(self.inner) }
    }
}

impl<T: 'static> AsContextMut for Store<T> {
    #[inline]
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        // SAFETY: the store is alive, and borrowed uniquely for as long as the context.
        unsafe { StoreContextMut::new(self.inner) }
    }
}

impl StoreOpaque {
    /// Collects the heap's garbage. Every reference that somebody holds is found from the running activations,
    /// the instances, the host's globals and handles, and the pending exception.
    ///
    /// # Safety
    /// `store` is alive and nobody holds a Rust reference into it. Native code in the store's activations stands at calls.
    pub(crate) unsafe fn collect(store: *mut Self) {
        // SAFETY: by the caller; the heap and what the closure visits are different fields.
        unsafe {
            let heap = &mut (*store).heap;
            heap.collect(&mut |mark| {
                vm::visit_roots(store, mark);
                let pending = (*store).vm.context.pending_exn as u32;
                if pending != 0 {
                    mark(pending);
                }
                let roots = &mut (*store).roots;
                roots.visit(mark);
                let instances = &(*store).instances;
                for instance in instances.iter() {
                    InstanceData::visit_roots(instance, mark);
                }
                let globals = &(*store).host_globals;
                for global in globals.iter() {
                    if (*global).ty.content.is_heap_ref() {
                        mark((*global).definition.value.get_u32());
                    }
                }
            });
        }
    }

    /// Collects garbage if it is time to, before something is allocated in the heap.
    ///
    /// # Safety
    /// As [`Self::collect`].
    #[inline]
    pub(crate) unsafe fn collect_if_due(store: *mut Self) {
        // SAFETY: by the caller.
        unsafe {
            if (*store).heap.should_collect() {
                Self::collect(store);
            }
        }
    }

    /// The error behind a status that ended a call.
    ///
    /// # Safety
    /// `store` is alive, and `status` is what an activation of it just ended with.
    #[cold]
    pub(crate) unsafe fn take_error(store: *mut Self, status: u64) -> Error {
        // SAFETY: by the caller.
        unsafe {
            match status {
                STATUS_EXCEPTION => {
                    let context = &mut (*store).vm.context;
                    let exn = std::mem::take(&mut context.pending_exn) as u32;
                    let object = std::mem::replace(&mut context.pending_exn_object, std::ptr::null_mut());
                    if exn == 0 || object.is_null() {
                        return Error::msg("internal error: an exception without a reference");
                    }
                    (*object).flags |= EXN_ESCAPED;
                    ThrownException::new(ExnRef(StoreOpaque::root(store, exn))).into()
                }
                STATUS_TRAP => (*store).vm.pending.take().unwrap_or_else(|| Error::msg("internal error: a trap without a reason")),
                other => Error::msg(format!("internal error: a call ended with status {other}")),
            }
        }
    }

    /// Makes an error pending: the status with which a host function returns it.
    ///
    /// # Safety
    /// `store` is alive.
    #[cold]
    pub(crate) unsafe fn set_error(store: *mut Self, error: Error) -> u64 {
        // SAFETY: by the caller.
        unsafe {
            if let Some(thrown) = error.downcast_ref::<ThrownException>() {
                match Self::set_exception(store, thrown.exn()) {
                    Ok(()) => return STATUS_EXCEPTION,
                    Err(e) => (*store).vm.pending = Some(e),
                }
            } else {
                (*store).vm.pending = Some(error);
            }
            STATUS_TRAP
        }
    }

    /// Makes an exception the pending one.
    unsafe fn set_exception(store: *mut Self, exn: &ExnRef) -> Result<(), Error> {
        // SAFETY: by the caller, `store` is alive.
        unsafe {
            let index = exn.0.index((*store).id).ok_or_else(|| crate::error::wrong_store("exception"))?;
            let object = (*store).heap.exn_object(index).ok_or(TrapCode::NullExceptionReference)?;
            let context = &mut (*store).vm.context;
            context.pending_exn = index.into();
            context.pending_exn_object = object;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, ExternRef, Func, FuncType, Tag, Tier};
    use std::sync::Mutex;

    fn engine() -> Engine {
        Engine::new(Config::new().tier(Tier::Interpreted)).unwrap()
    }

    struct Noisy(&'static str, Arc<Mutex<Vec<&'static str>>>);

    impl Drop for Noisy {
        fn drop(&mut self) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    #[test]
    fn what_the_store_owns_goes_before_the_data() {
        let log = Arc::new(Mutex::new(Vec::new()));
        let fill = || {
            let mut store = Store::new(&engine(), Noisy("data", log.clone()));
            let in_closure = Noisy("closure", log.clone());
            Func::wrap(&mut store, move || _ = &in_closure);
            ExternRef::new(&mut store, Noisy("object", log.clone())).unwrap();
            store
        };
        drop(fill());
        assert_eq!(*log.lock().unwrap(), ["object", "closure", "data"]);
        log.lock().unwrap().clear();
        let data = fill().into_data();
        assert_eq!(*log.lock().unwrap(), ["object", "closure"]);
        drop(data);
        assert_eq!(log.lock().unwrap().len(), 3);
    }

    #[test]
    fn handles_are_roots_until_the_last_is_dropped() {
        let mut store = Store::new(&engine(), ());
        let objects = |store: &Store<()>| store.as_context().opaque().heap.objects();
        let kept: Vec<_> = (0..1000).map(|i| ExternRef::new(&mut store, i).unwrap()).collect();
        let clone = kept[500].clone();
        store.collect();
        assert_eq!(objects(&store), 1000);
        drop(kept);
        store.collect();
        assert_eq!(objects(&store), 1);
        assert_eq!(clone.data(&store).unwrap().downcast_ref(), Some(&500));
        std::thread::spawn(move || drop(clone)).join().unwrap();
        store.collect();
        assert_eq!(objects(&store), 0);
    }

    #[test]
    fn exceptions_that_are_pending_stay() {
        let mut store = Store::new(&engine(), ());
        let tag = Tag::new(&mut store, FuncType::new([], [])).unwrap();
        let exn = ExnRef::new(&mut store, &tag, &[]).unwrap();
        let raw = store.as_context_mut().raw();
        // SAFETY: the store is alive, and nobody else uses it.
        let status = unsafe { StoreOpaque::set_error(raw, ThrownException::new(exn).into()) };
        assert_eq!(status, STATUS_EXCEPTION);
        store.collect();
        // SAFETY: as above; the status is the one that was returned.
        let error = unsafe { StoreOpaque::take_error(raw, status) };
        let exn = error.downcast::<ThrownException>().unwrap().into_exn();
        assert_eq!(exn.tag(&store).unwrap(), tag);
        drop(exn);
        store.collect();
        assert_eq!(store.as_context().opaque().heap.objects(), 0);
    }
}
