//! How functions take a store: by `impl AsContext` or `impl AsContextMut`, which a `Store`, a `Caller` and references to
//! them are. A context is a raw pointer with the lifetime of a borrow. A Rust reference in its place would claim that
//! nobody else reaches the store while WebAssembly runs, which is not so.

use crate::engine::Engine;
use crate::store::{StoreInner, StoreOpaque};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// A shared borrow of a store.
pub struct StoreContext<'a, T: 'static> {
    inner: NonNull<StoreInner<T>>,
    borrow: PhantomData<&'a StoreInner<T>>,
}

/// A unique borrow of a store.
pub struct StoreContextMut<'a, T: 'static> {
    inner: NonNull<StoreInner<T>>,
    borrow: PhantomData<&'a mut StoreInner<T>>,
}

// SAFETY: as a `&Store<T>`.
unsafe impl<T: Sync> Send for StoreContext<'_, T> {}
// SAFETY: as a `&Store<T>`.
unsafe impl<T: Sync> Sync for StoreContext<'_, T> {}
// SAFETY: as a `&mut Store<T>`.
unsafe impl<T: Send> Send for StoreContextMut<'_, T> {}
// SAFETY: as a `&mut Store<T>`.
unsafe impl<T: Sync> Sync for StoreContextMut<'_, T> {}

/// What a store can be read through.
pub trait AsContext {
    /// Type of the host's data.
    type Data: 'static;

    /// A shared borrow of the store.
    fn as_context(&self) -> StoreContext<'_, Self::Data>;
}

/// What a store can be changed through.
pub trait AsContextMut: AsContext {
    /// A unique borrow of the store.
    fn as_context_mut(&mut self) -> StoreContextMut<'_, Self::Data>;
}

impl<'a, T: 'static> StoreContext<'a, T> {
    /// # Safety
    /// The store is alive and not changed during `'a`.
    #[inline]
    pub(crate) unsafe fn new(inner: NonNull<StoreInner<T>>) -> Self {
        Self { inner, borrow: PhantomData }
    }

    /// The store's engine.
    pub fn engine(&self) -> &'a Engine {
        &self.opaque().engine
    }

    /// The host's data.
    #[inline]
    pub fn data(&self) -> &'a T {
        // SAFETY: the context is a shared borrow for 'a.
        unsafe { &(*self.inner.as_ptr()).data }
    }

    #[inline]
    pub(crate) fn opaque(&self) -> &'a StoreOpaque {
        // SAFETY: the context is a shared borrow for 'a.
        unsafe { &(*self.inner.as_ptr()).opaque }
    }
}

impl<'a, T: 'static> StoreContextMut<'a, T> {
    /// # Safety
    /// The store is alive, and only reached through this context (or what is called with it) during `'a`.
    #[inline]
    pub(crate) unsafe fn new(inner: NonNull<StoreInner<T>>) -> Self {
        Self { inner, borrow: PhantomData }
    }

    /// The store's engine.
    pub fn engine(&self) -> &Engine {
        &self.opaque().engine
    }

    /// The host's data.
    #[inline]
    pub fn data(&self) -> &T {
        // SAFETY: `self` is borrowed, and with it the store.
        unsafe { &(*self.inner.as_ptr()).data }
    }

    /// The host's data.
    #[inline]
    pub fn data_mut(&mut self) -> &mut T {
        // SAFETY: `self` is borrowed uniquely, and with it the store.
        unsafe { &mut (*self.inner.as_ptr()).data }
    }

    /// Frees the objects that no reference leads to any more. Happens by itself as they become many.
    pub fn collect(&mut self) {
        // SAFETY: the store is borrowed uniquely. Whoever runs in it has called the host, and so stands at a call.
        unsafe { StoreOpaque::collect(self.raw()) }
    }

    /// The borrowed data for as long as the context's borrow.
    #[inline]
    pub(crate) fn into_data_mut(self) -> &'a mut T {
        // SAFETY: the context is a unique borrow for 'a, and is used up.
        unsafe { &mut (*self.inner.as_ptr()).data }
    }

    #[inline]
    pub(crate) fn opaque(&self) -> &StoreOpaque {
        // SAFETY: `self` is borrowed, and with it the store.
        unsafe { &(*self.inner.as_ptr()).opaque }
    }

    #[inline]
    pub(crate) fn opaque_mut(&mut self) -> &mut StoreOpaque {
        // SAFETY: `self` is borrowed uniquely, and with it the store.
        unsafe { &mut (*self.inner.as_ptr()).opaque }
    }

    /// The store as running code knows it.
    #[inline]
    pub(crate) fn raw(&mut self) -> *mut StoreOpaque {
        self.inner.as_ptr().cast()
    }
}

impl<T: 'static> AsContext for StoreContext<'_, T> {
    type Data = T;
    #[inline]
    fn as_context(&self) -> StoreContext<'_, T> {
        StoreContext { inner: self.inner, borrow: PhantomData }
    }
}

impl<T: 'static> AsContext for StoreContextMut<'_, T> {
    type Data = T;
    #[inline]
    fn as_context(&self) -> StoreContext<'_, T> {
        StoreContext { inner: self.inner, borrow: PhantomData }
    }
}

impl<T: 'static> AsContextMut for StoreContextMut<'_, T> {
    #[inline]
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        StoreContextMut { inner: self.inner, borrow: PhantomData }
    }
}

impl<C: AsContext> AsContext for &C {
    type Data = C::Data;
    #[inline]
    fn as_context(&self) -> StoreContext<'_, C::Data> {
        C::as_context(self)
    }
}

impl<C: AsContext> AsContext for &mut C {
    type Data = C::Data;
    #[inline]
    fn as_context(&self) -> StoreContext<'_, C::Data> {
        C::as_context(self)
    }
}

impl<C: AsContextMut> AsContextMut for &mut C {
    #[inline]
    fn as_context_mut(&mut self) -> StoreContextMut<'_, C::Data> {
        C::as_context_mut(self)
    }
}

impl<'a, T: 'static, C: AsContext<Data = T>> From<&'a C> for StoreContext<'a, T> {
    fn from(c: &'a C) -> Self {
        c.as_context()
    }
}

impl<'a, T: 'static, C: AsContextMut<Data = T>> From<&'a mut C> for StoreContextMut<'a, T> {
    fn from(c: &'a mut C) -> Self {
        c.as_context_mut()
    }
}
