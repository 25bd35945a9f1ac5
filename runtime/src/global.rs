//! Globals as the embedder sees them.

use crate::Result;
use crate::context::{AsContext, AsContextMut};
use crate::error::{wrong_store, wrong_store_panic};
use crate::func::check_val_type;
use crate::store::{StoreId, StoreOpaque};
use crate::value::Val;
use anyhow::{Context as _, bail, ensure};
use std::ptr::NonNull;
use wasmc_environ::types::{GlobalType, HeapType, RefType, ValType};
use wasmc_environ::vmlayout::VMGlobalDefinition;

/// A global that the host made.
#[repr(C)]
pub(crate) struct HostGlobal {
    pub(crate) definition: VMGlobalDefinition,
    pub(crate) ty: GlobalType,
}

/// A global variable or constant.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Global {
    store: StoreId,
    definition: NonNull<VMGlobalDefinition>,
    /// In the engine's type space; the store keeps the types that it names.
    ty: GlobalType,
}

// SAFETY: the pointer is only followed with the store at hand, whose rules hold then.
unsafe impl Send for Global {}
// SAFETY: as above.
unsafe impl Sync for Global {}

impl Global {
    /// A global that the host makes, for instances to import.
    ///
    /// # Errors
    /// If the type is not supported, or the value is not of that type or belongs to another store.
    pub fn new(mut store: impl AsContextMut, ty: GlobalType, value: &Val) -> Result<Self> {
        check_val_type(ty.content)?;
        let store = store.as_context_mut().raw();
        // SAFETY: the store is borrowed uniquely; the arena does not move the global.
        unsafe {
            (*store).keep_type_of(ty.content)?;
            let value = value.to_raw(&*store, ty.content).context("the value of a global")?;
            let globals = &mut (*store).host_globals;
            let global = globals.push(HostGlobal { definition: VMGlobalDefinition { value }, ty });
            Ok(Self::from_raw((*store).id, NonNull::new_unchecked(&raw mut (*global).definition), ty))
        }
    }

    /// # Safety
    /// The definition is one of that store, with this type.
    pub(crate) unsafe fn from_raw(store: StoreId, definition: NonNull<VMGlobalDefinition>, ty: GlobalType) -> Self {
        Self { store, definition, ty }
    }

    /// The definition and type, if the global belongs to `store`.
    pub(crate) fn checked(&self, store: &StoreOpaque) -> Result<(*mut VMGlobalDefinition, GlobalType)> {
        if self.store == store.id { Ok((self.definition.as_ptr(), self.ty)) } else { Err(wrong_store("global")) }
    }

    /// The global's type.
    ///
    /// # Panics
    /// If the global belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> GlobalType {
        if self.store != store.as_context().opaque().id {
            wrong_store_panic("global");
        }
        self.ty
    }

    /// The value.
    ///
    /// # Panics
    /// If the global belongs to another store.
    pub fn get(&self, mut store: impl AsContextMut) -> Val {
        let store = store.as_context_mut().raw();
        // SAFETY: the store is borrowed uniquely; the value has the global's type.
        unsafe {
            if self.store != (*store).id {
                wrong_store_panic("global");
            }
            Val::from_raw(store, (*self.definition.as_ptr()).value, self.ty.content)
        }
    }

    /// Sets the value.
    ///
    /// # Errors
    /// If the global is a constant, belongs to another store, or the value is not of its type.
    pub fn set(&self, mut store: impl AsContextMut, value: &Val) -> Result<()> {
        let mut store = store.as_context_mut();
        let (definition, ty) = self.checked(store.opaque())?;
        ensure!(ty.mutable, "a global that is not mutable cannot be set");
        let raw = value.to_raw(store.opaque_mut(), ty.content)?;
        // SAFETY: the store is borrowed uniquely, and the value has the global's type.
        unsafe { (*definition).value = raw };
        Ok(())
    }
}

impl StoreOpaque {
    /// Keeps the type that a value type names for as long as the store lives.
    pub(crate) fn keep_type_of(&mut self, ty: ValType) -> Result<()> {
        if let ValType::Ref(RefType { heap: HeapType::Concrete(i), .. }) = ty {
            let Some(types) = self.engine.registry().retain_type(i.as_u32()) else {
                bail!("the type {ty} names a type that this engine does not have")
            };
            self.host_types.push(types);
        }
        Ok(())
    }
}
