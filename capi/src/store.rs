//! Stores, and how they are reached. Every handle that C holds counts a reference to its store, so the order in which C releases
//! things does not matter: the store goes with the last of them.
//!
//! The header gives callbacks no store, and lets them use any handle while WebAssembly is running. So nothing here holds a Rust
//! reference to a store across a call: each operation makes a [`StoreContextMut`], which is a raw pointer to the store, uses it,
//! and lets go of it. This is how the runtime's own host functions reach the store through their `Caller`. References to the
//! store's data are never kept beyond one expression.

use std::cell::UnsafeCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use anyhow::Result;
use wasmc_runtime::{AsContextMut, Engine, Resource, Store, StoreContextMut, StoreLimits};
use wasmc_wasi::{OutputBuffer, WasiCtx, WasiCtxBuilder};

use crate::config::wasm_engine_t;
use crate::error::{boxed, get};
use crate::guard::api;
use crate::object::{HostInfo, Key, What};
use crate::types::release;

/// What a store holds for this interface.
pub struct HostData {
    me: Weak<StoreInner>,
    pub(crate) wasi: WasiCtx,
    pub(crate) stdout: Option<OutputBuffer>,
    pub(crate) stderr: Option<OutputBuffer>,
    limits: StoreLimits,
}

/// A store with what this interface keeps for it. Its parts are dropped in order: what the store drops may still go to the
/// graveyard.
pub struct StoreInner {
    store: UnsafeCell<Store<HostData>>,
    /// What C attached to things that live as long as the store.
    infos: Mutex<HashMap<Key, HostInfo>>,
    graveyard: Arc<Graveyard>,
}

// SAFETY: by the header's contract, one thread at a time uses a store and whatever belongs to it; stores may move.
unsafe impl Send for StoreInner {}
// SAFETY: as above.
unsafe impl Sync for StoreInner {}

/// What references in a store's heap were to, when the collector has found them unreachable. Dropping it can run finalizers of
/// C's, which must not be while the heap is being collected.
#[derive(Default)]
pub struct Graveyard {
    filled: AtomicBool,
    dead: Mutex<Vec<What>>,
}

impl Graveyard {
    pub(crate) fn bury(&self, what: What) {
        self.dead.lock().unwrap_or_else(PoisonError::into_inner).push(what);
        self.filled.store(true, Ordering::Release);
    }

    fn clear(&self) {
        while self.filled.swap(false, Ordering::AcqRel) {
            let dead = std::mem::take(&mut *self.dead.lock().unwrap_or_else(PoisonError::into_inner));
            // The lock is free again when finalizers run.
            drop(dead);
        }
    }
}

/// A counted reference to a store.
#[derive(Clone)]
pub struct StoreRef(Arc<StoreInner>);

impl StoreRef {
    fn new(engine: &Engine) -> Result<Self> {
        let data =
            HostData { me: Weak::new(), wasi: WasiCtxBuilder::new().build()?, stdout: None, stderr: None, limits: StoreLimits::new() };
        let store = UnsafeCell::new(Store::new(engine, data));
        let this = Self(Arc::new(StoreInner { store, infos: Mutex::default(), graveyard: Arc::default() }));
        let me = Arc::downgrade(&this.0);
        this.context().data_mut().me = me;
        Ok(this)
    }

    /// The store in whose callback this is. It can only run while somebody holds it.
    pub(crate) fn of(data: &HostData) -> Option<Self> {
        data.me.upgrade().map(Self)
    }

    /// The store, for one operation.
    pub(crate) fn context(&self) -> StoreContextMut<'_, HostData> {
        // SAFETY: by the header's contract no other thread uses the store now. The reference to the handle of the store ends
        // with this expression, and the context is a raw pointer: contexts of operations that WebAssembly code has interrupted
        // may exist meanwhile, but are not used.
        unsafe { (*self.0.store.get()).as_context_mut() }
    }

    /// Sets a limit, if the store uses nothing yet of what can be limited.
    pub(crate) fn set_limit(&self, resource: Resource, most: u64) -> bool {
        let limits = self.limits();
        if Resource::ALL.iter().any(|r| limits.used(*r) != 0) {
            return false;
        }
        let limits = limits.limit(resource, most);
        self.context().data_mut().limits = limits.clone();
        // SAFETY: as in `context`.
        unsafe { (*self.0.store.get()).limiter(Arc::new(limits)) };
        true
    }

    /// The limits, with what they have counted.
    pub(crate) fn limits(&self) -> StoreLimits {
        self.context().data().limits.clone()
    }

    pub(crate) fn engine(&self) -> Engine {
        self.context().engine().clone()
    }

    pub(crate) fn infos(&self) -> MutexGuard<'_, HashMap<Key, HostInfo>> {
        self.0.infos.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn graveyard(&self) -> &Arc<Graveyard> {
        &self.0.graveyard
    }

    /// Finalizes what the collector has found. Called after whatever may have collected, where nothing of the store is in use
    /// but by callers further out.
    pub(crate) fn settle(&self) {
        self.0.graveyard.clear();
    }

    pub(crate) fn same(a: &Self, b: &Self) -> bool {
        Arc::ptr_eq(&a.0, &b.0)
    }
}

/// A store.
pub struct wasm_store_t {
    pub(crate) store: StoreRef,
}

impl From<StoreRef> for wasm_store_t {
    fn from(store: StoreRef) -> Self {
        Self { store }
    }
}

/// The store behind a pointer of C's.
///
/// # Safety
/// It is null or a store.
pub(crate) unsafe fn store<'a>(store: *const wasm_store_t) -> Result<&'a StoreRef> {
    // SAFETY: by the caller.
    Ok(&unsafe { get(store, "the store") }?.store)
}

api! {
    /// An empty store.
    fn wasm_store_new(engine: *mut wasm_engine_t) -> *mut wasm_store_t {
        boxed(get(engine, "the engine").and_then(|engine| StoreRef::new(&engine.engine)))
    }

    /// Releases a store. What belongs to it lives on as long as there is a reference to any of it.
    fn wasm_store_delete(store: *mut wasm_store_t) {
        release(store);
    }

    /// Frees what no reference leads to any more. Happens by itself as it becomes much.
    fn wasmc_store_gc(store: *mut wasm_store_t) {
        if let Some(store) = store.as_ref() {
            let store = store.store.clone();
            store.context().collect();
            store.settle();
        }
    }
}
