//! Tags: what tells one kind of exception from another.

use crate::Result;
use crate::context::{AsContext, AsContextMut};
use crate::error::{wrong_store, wrong_store_panic};
use crate::func::check_val_type;
use crate::store::{StoreId, StoreOpaque};
use anyhow::{bail, ensure};
use std::sync::Arc;
use wasmc_environ::types::FuncType;
use wasmc_environ::vmlayout::VMTagDefinition;

/// A tag. Two tags are the same only if one came from the other by import and export.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    store: StoreId,
    definition: *const VMTagDefinition,
}

// SAFETY: the pointer is only followed with the store at hand, whose rules hold then.
unsafe impl Send for Tag {}
// SAFETY: as above.
unsafe impl Sync for Tag {}

impl Tag {
    /// A tag that the host makes. The parameters of the type are the payload of its exceptions.
    ///
    /// # Errors
    /// If the type has results, is not supported, or names a type that the engine does not have.
    pub fn new(mut store: impl AsContextMut, ty: FuncType) -> Result<Self> {
        ensure!(ty.results.is_empty(), "the type of a tag has no results");
        for t in &ty.params {
            check_val_type(*t)?;
        }
        let mut store = store.as_context_mut();
        let store = store.opaque_mut();
        let Some((type_id, types)) = store.engine.registry().intern_func(&ty) else {
            bail!("the tag's type {ty} names a type that this engine does not have");
        };
        store.host_types.push(types);
        let definition = store.host_tags.push(VMTagDefinition { type_id, reserved: 0 });
        Ok(Self::from_raw(store.id, definition))
    }

    /// The tag with this definition, which is one of that store.
    pub(crate) fn from_raw(store: StoreId, definition: *const VMTagDefinition) -> Self {
        Self { store, definition }
    }

    pub(crate) fn definition(&self) -> *const VMTagDefinition {
        self.definition
    }

    /// The definition's type, if the tag belongs to `store`.
    pub(crate) fn type_id(&self, store: &StoreOpaque) -> Result<u32> {
        ensure!(self.store == store.id, wrong_store("tag"));
        // SAFETY: the store keeps its tags.
        Ok(unsafe { (*self.definition).type_id })
    }

    /// The tag's function type, if the tag belongs to `store`.
    pub(crate) fn func_type(&self, store: &StoreOpaque) -> Result<Arc<FuncType>> {
        Ok(store.engine.registry().func_type(self.type_id(store)?))
    }

    /// The tag's type: its parameters are the payload.
    ///
    /// # Panics
    /// If the tag belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> FuncType {
        match self.func_type(store.as_context().opaque()) {
            Ok(ty) => (*ty).clone(),
            Err(_) => wrong_store_panic("tag"),
        }
    }
}
