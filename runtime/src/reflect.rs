//! What interfaces in other languages need to know of handles, beside what programs in Rust do: which handles are to the
//! same thing, where frames lie, what a module was made from.

use crate::code::{Backing, Code};
use crate::context::AsContext;
use crate::error::wrong_store_panic;
use crate::func::Func;
use crate::instance::Instance;
use crate::module::Module;
use crate::trap::{Backtrace, FrameInfo};
use crate::vm;
use std::ptr::NonNull;
use std::sync::Arc;
use wasmc_environ::types::FuncType;
use wasmc_environ::vmlayout::{FuncKind, VMExitContext};

impl Func {
    /// A number that two handles of a store have in common if and only if they are to the same function. A host function has a
    /// reference of its own for each instance that imports it, so the handles themselves need not be equal.
    ///
    /// # Panics
    /// If the function belongs to another store.
    pub fn identity(&self, store: impl AsContext) -> usize {
        let store = store.as_context();
        let Ok(func_ref) = self.checked(store.opaque()) else { wrong_store_panic("function") };
        // SAFETY: the function belongs to this store, which is alive; a host function's context is a `VMExitContext`, whose
        // data is the closure that all its references share.
        unsafe {
            match (*func_ref).kind == FuncKind::Host as u32 {
                true => (*(*func_ref).ctx.cast::<VMExitContext>()).data.addr(),
                false => func_ref.addr(),
            }
        }
    }
}

impl Func {
    /// The function's type, shared: what [`Func::ty`] copies.
    ///
    /// # Panics
    /// If the function belongs to another store.
    pub fn shared_type(&self, store: impl AsContext) -> Arc<FuncType> {
        let store = store.as_context();
        match self.type_id(store.opaque()) {
            Ok(id) => store.engine().registry().func_type(id),
            Err(_) => wrong_store_panic("function"),
        }
    }
}

impl Backtrace {
    /// The frames of WebAssembly that are being executed in a store: for a host function, those from its caller outwards.
    pub fn capture(store: impl AsContext) -> Self {
        vm::backtrace(store.as_context().opaque(), None)
    }
}

impl FrameInfo {
    /// The instance whose function this is, as far as it can be told: a frame knows its module, so this is `None` if the store
    /// has several instances of it, or none.
    pub fn instance(&self, store: impl AsContext) -> Option<Instance> {
        let store = store.as_context();
        let store = store.opaque();
        // SAFETY: the store keeps its instances.
        let mut found = store.instances.iter().filter(|data| unsafe { Arc::ptr_eq(&(**data).module, &self.module) });
        let only = found.next().filter(|_| found.next().is_none())?;
        Some(Instance::from_raw(store.id, NonNull::new(only)?))
    }

    /// Offset of the instruction from the start of its function's body, which are the declarations of its locals.
    pub fn func_offset(&self) -> Option<u32> {
        let defined = self.module.env.defined_func(self.func)?;
        let start = self.module.env.bodies.get(defined.index())?.start;
        self.offset?.checked_sub(u32::try_from(start).ok()?)
    }
}

impl Module {
    /// The WebAssembly binary that the module was made from; `None` if its artifact was stripped of it.
    pub fn wasm(&self) -> Option<&[u8]> {
        self.inner.wasm()
    }

    /// The artifact that the module was loaded from, whole; `None` if it was made from WebAssembly.
    pub fn artifact(&self) -> Option<&[u8]> {
        match &self.inner.code {
            Code::Loaded(code) => match &code.backing {
                // SAFETY: the whole file is mapped for reading as long as the code lives.
                Backing::Artifact { map, .. } => Some(unsafe { std::slice::from_raw_parts(map.as_ptr(), map.range().len()) }),
                Backing::Jit { .. } => None,
            },
            Code::None => None,
        }
    }
}
