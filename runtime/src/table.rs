//! Tables as the embedder sees them.

use crate::Result;
use crate::context::{AsContext, AsContextMut};
use crate::error::{wrong_store, wrong_store_panic};
use crate::func::check_val_type;
use crate::instance::InstanceData;
use crate::instantiate;
use crate::ops;
use crate::store::{StoreId, StoreOpaque};
use crate::value::Val;
use anyhow::{Context as _, ensure};
use std::ptr::NonNull;
use wasmc_environ::DefinedTableIndex;
use wasmc_environ::types::{Limits, TableType, ValType};
use wasmc_environ::vmlayout::{VMTableDefinition, ValRaw};

/// A table of references.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    store: StoreId,
    /// The instance that defines it.
    owner: NonNull<InstanceData>,
    index: DefinedTableIndex,
}

// SAFETY: the pointer is only followed with the store at hand, whose rules hold then.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

impl Table {
    /// A table that the host makes, for instances to import, with every element `init`.
    ///
    /// # Errors
    /// If the type contradicts itself or is not supported, `init` is not of its element type, or there is no room.
    pub fn new(mut store: impl AsContextMut, ty: TableType, init: &Val) -> Result<Self> {
        check_val_type(ValType::Ref(ty.element))?;
        ensure!(ty.limits.max.is_none_or(|max| ty.limits.min <= max), "a table's greatest size is below its initial size");
        let store = store.as_context_mut().raw();
        // SAFETY: the store is borrowed uniquely.
        unsafe {
            let init = init.to_raw(&*store, ValType::Ref(ty.element)).context("the initial element of a table")?;
            let owner = instantiate::host_table(store, ty, init.lo)?;
            Ok(Self::from_raw((*store).id, owner, DefinedTableIndex::from_u32(0)))
        }
    }

    /// # Safety
    /// `owner` is an instance of that store and defines this table, which is not closed.
    pub(crate) unsafe fn from_raw(store: StoreId, owner: NonNull<InstanceData>, index: DefinedTableIndex) -> Self {
        Self { store, owner, index }
    }

    /// Owner and place there, if the table belongs to `store`.
    pub(crate) fn place(&self, store: &StoreOpaque) -> Result<(*mut InstanceData, DefinedTableIndex)> {
        if self.store == store.id { Ok((self.owner.as_ptr(), self.index)) } else { Err(wrong_store("table")) }
    }

    #[track_caller]
    fn check(&self, store: &StoreOpaque) {
        if self.store != store.id {
            wrong_store_panic("table");
        }
    }

    /// # Safety
    /// The store is alive.
    pub(crate) unsafe fn definition(&self) -> *mut VMTableDefinition {
        // SAFETY: by the caller.
        unsafe {
            let owner = self.owner.as_ref();
            ops::at(owner.vmctx, owner.module.offsets.table(self.index))
        }
    }

    /// # Safety
    /// The store is alive.
    pub(crate) unsafe fn type_now(&self) -> TableType {
        // SAFETY: by the caller.
        unsafe {
            let module = &(*self.owner.as_ptr()).module;
            let declared = module.engine_table(module.env.tables[module.env.table_index(self.index).index()]);
            TableType { limits: Limits { min: (*self.definition()).current_elements, ..declared.limits }, ..declared }
        }
    }

    /// The table's type; the least size is that of now.
    ///
    /// # Panics
    /// If the table belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> TableType {
        self.check(store.as_context().opaque());
        // SAFETY: the store keeps its instances.
        unsafe { self.type_now() }
    }

    /// The size in elements.
    ///
    /// # Panics
    /// If the table belongs to another store.
    pub fn size(&self, store: impl AsContext) -> u64 {
        self.ty(store).limits.min
    }

    /// The address of an element.
    unsafe fn element(&self, index: u64) -> Option<*mut u64> {
        // SAFETY: by the caller, the store is alive; the definition is the table's.
        unsafe {
            let VMTableDefinition { base, current_elements } = *self.definition();
            (index < current_elements).then(|| base.add(index as usize))
        }
    }

    /// The element at an index; `None` outside the table.
    ///
    /// # Panics
    /// If the table belongs to another store.
    pub fn get(&self, mut store: impl AsContextMut, index: u64) -> Option<Val> {
        let mut store = store.as_context_mut();
        self.check(store.opaque());
        // SAFETY: the store is borrowed uniquely; an element has the table's type.
        unsafe {
            let raw = ValRaw::u64(*self.element(index)?);
            Some(Val::from_raw(store.raw(), raw, ValType::Ref(self.type_now().element)))
        }
    }

    /// Sets the element at an index.
    ///
    /// # Errors
    /// If the index is outside the table, or the value is not of its element type or belongs to another store.
    pub fn set(&self, store: impl AsContextMut, index: u64, value: &Val) -> Result<()> {
        self.fill(store, index, value, 1)
    }

    /// Sets `len` elements from an index on.
    ///
    /// # Errors
    /// If they are not all in the table, or the value is not of its element type or belongs to another store.
    pub fn fill(&self, mut store: impl AsContextMut, start: u64, value: &Val, len: u64) -> Result<()> {
        let store = store.as_context_mut().raw();
        // SAFETY: the store is borrowed uniquely; the elements are checked to be in the table.
        unsafe {
            self.place(&*store)?;
            let raw = value.to_raw(&*store, ValType::Ref(self.type_now().element))?;
            let VMTableDefinition { base, current_elements } = *self.definition();
            let inside = start.checked_add(len).is_some_and(|end| end <= current_elements);
            ensure!(inside, "{len} elements at {start} are outside the table of {current_elements}");
            std::slice::from_raw_parts_mut(base.add(start as usize), len as usize).fill(raw.lo);
        }
        Ok(())
    }

    /// Grows the table by so many elements, which become `init`; returns the old size.
    ///
    /// # Errors
    /// If the table's type or a limit does not allow it, there is no room, or `init` is not of its element type.
    pub fn grow(&self, mut store: impl AsContextMut, delta: u64, init: &Val) -> Result<u64> {
        let store = store.as_context_mut().raw();
        // SAFETY: the store is borrowed uniquely.
        unsafe {
            let (owner, index) = self.place(&*store)?;
            let raw = init.to_raw(&*store, ValType::Ref(self.type_now().element))?;
            ops::grow_table(owner, index, delta, raw.lo)
                .with_context(|| format!("a table cannot grow by {delta} elements from {}", self.type_now().limits.min))
        }
    }
}
