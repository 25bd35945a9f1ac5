//! What a host function knows about its caller: the store, and the instance that imported it.

use crate::context::{AsContext, AsContextMut, StoreContext, StoreContextMut};
use crate::engine::Engine;
use crate::extern_::Extern;
use crate::func::ExitBinding;
use crate::instance::{Instance, InstanceData};
use crate::shared_memory::current_length;
use crate::store::StoreInner;
use std::ptr::NonNull;
use wasmc_environ::vmlayout::*;

/// The store, as a host function gets it, and the instance that imported the host function.
pub struct Caller<'a, T: 'static> {
    store: StoreContextMut<'a, T>,
    binding: *mut ExitBinding,
}

impl<'a, T: 'static> Caller<'a, T> {
    /// # Safety
    /// `exit` is the binding of a host function that its store, whose data has this type, is calling; `'a` ends with the call.
    #[inline(always)]
    pub(crate) unsafe fn new(exit: *mut VMExitContext) -> Self {
        // SAFETY: by the caller.
        unsafe {
            let binding = ExitBinding::of(exit);
            Self { store: StoreContextMut::new(NonNull::new_unchecked((*binding).store.cast::<StoreInner<T>>())), binding }
        }
    }

    /// The host's data in the store.
    #[inline]
    pub fn data(&self) -> &T {
        self.store.data()
    }

    /// The host's data in the store.
    #[inline]
    pub fn data_mut(&mut self) -> &mut T {
        self.store.data_mut()
    }

    /// The store's engine.
    pub fn engine(&self) -> &Engine {
        self.store.engine()
    }

    /// The instance that imported the host function; `None` if the host called it itself.
    pub fn instance(&self) -> Option<Instance> {
        // SAFETY: the binding lives as long as the store; its instance, too.
        let data = unsafe {
            let vmctx: *mut VMContextHead = (*self.binding).exit.vmctx.cast();
            if vmctx.is_null() { None } else { NonNull::new((*vmctx).instance.cast::<InstanceData>()) }
        };
        data.map(|data| Instance::from_raw(self.store.opaque().id, data))
    }

    /// An export of the instance that imported the host function.
    pub fn get_export(&mut self, name: &str) -> Option<Extern> {
        self.instance()?.get_export(&mut self.store, name)
    }

    /// The first byte and the size of the memory that the calling instance exports as `memory`, shared or not: what
    /// [`Caller::get_export`] would find, without looking for it. Valid until the memory grows, and as long as the store
    /// lives; other threads may use a shared memory meanwhile.
    #[inline]
    pub fn exported_memory(&self) -> Option<(*mut u8, usize)> {
        // SAFETY: the store keeps the instance, and with it the memories that it exports.
        unsafe {
            let definition = NonNull::new((*self.binding).exported_memory)?.as_ptr();
            Some(((*definition).base, current_length(definition) as usize))
        }
    }
}

impl<T: 'static> AsContext for Caller<'_, T> {
    type Data = T;
    #[inline]
    fn as_context(&self) -> StoreContext<'_, T> {
        self.store.as_context()
    }
}

impl<T: 'static> AsContextMut for Caller<'_, T> {
    #[inline]
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        self.store.as_context_mut()
    }
}
