//! An instance: what the store keeps of it beside its `VMContext`, the ways from one to the other, and the handle that
//! the embedder holds.

use crate::Result;
use crate::context::{AsContext, AsContextMut, StoreContextMut};
use crate::error::{wrong_store, wrong_store_panic};
use crate::extern_::{Export, Extern};
use crate::func::{ExitBinding, Func};
use crate::global::Global;
use crate::instantiate::{self, Import};
use crate::linker::Definition;
use crate::memory::Memory;
use crate::module::{Module, ModuleInner};
use crate::ops;
use crate::shared_memory::SharedMemory;
use crate::store::{StoreId, StoreOpaque};
use crate::table::Table;
use crate::tag::Tag;
use crate::typed::{TypedFunc, WasmParams, WasmResults};
use crate::vm::memory::{MemoryStorage, Reservation};
use crate::vm::table::TableStorage;
use anyhow::Context as _;
use std::alloc::{Layout, dealloc};
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;
use wasmc_environ::module::EntityIndex;
use wasmc_environ::types::{GlobalType, RefKind};
use wasmc_environ::vmlayout::*;
use wasmc_environ::*;

/// What the store keeps of an instance. The `VMContext` lies in front of memory 0 or is an allocation of its own: it starts with a
/// `VMContextHead`, and `module.offsets` says what follows.
#[repr(C)]
pub(crate) struct InstanceData {
    pub(crate) vmctx: *mut VMContextHead,
    pub(crate) module: Arc<ModuleInner>,
    pub(crate) store: *mut StoreOpaque,
    /// The address space of memory 0 and of the `VMContext` in front of it, until that memory is made.
    pub(crate) reservation: Option<Reservation>,
    /// By `DefinedMemoryIndex`.
    pub(crate) memories: Vec<InstanceMemory>,
    /// By `DefinedTableIndex`; `None` where the table is closed.
    pub(crate) tables: Vec<Option<TableStorage>>,
    /// Who owns each imported memory.
    pub(crate) imported_memories: Vec<(*mut InstanceData, DefinedMemoryIndex)>,
    /// Who owns each imported table.
    pub(crate) imported_tables: Vec<(*mut InstanceData, DefinedTableIndex)>,
    /// The types that the imported globals were made with, in the engine's type space.
    pub(crate) imported_globals: Vec<GlobalType>,
    /// The data segments that were dropped.
    pub(crate) dropped_data: DroppedData,
    /// Elements of the passive segments, by `ElemIndex`; empty for the others and when dropped.
    pub(crate) elem_segments: Vec<Box<[u64]>>,
    /// If the module has no native code: how native code elsewhere calls its functions, by `FuncRefIndex`.
    pub(crate) exit_contexts: Vec<VMExitContext>,
    /// If the module is compiled while it runs: the native code of each function that was adopted, by `DefinedFuncIndex`; empty before
    /// there is some. `VMContextHead::entries` points here.
    pub(crate) entries: Box<[*const u8]>,
    /// The host functions that it imports, bound to it so that their `Caller` is this instance. Reserved at once: never moves.
    pub(crate) bindings: Vec<ExitBinding>,
    /// Keeps the functions behind `bindings`, where nobody else does.
    pub(crate) host_funcs: Option<Arc<[Definition]>>,
}

/// Which data segments of an instance were dropped.
pub(crate) enum DroppedData {
    /// None yet.
    None,
    /// The active ones of its module, and no others: so it is after instantiation.
    Active,
    /// A bit for each that was.
    These(Vec<u64>),
}

/// A memory that an instance defines.
pub(crate) enum InstanceMemory {
    /// The instance's slot in the `VMContext` holds its definition.
    Own(MemoryStorage),
    /// The slot points to the definition that the memory has.
    Shared(SharedMemory),
}

impl InstanceMemory {
    /// Size in pages.
    pub(crate) fn pages(&self) -> u64 {
        match self {
            Self::Own(memory) => memory.pages(),
            Self::Shared(memory) => memory.size(),
        }
    }

    /// Whether code without checks may access it.
    pub(crate) fn is_static(&self) -> bool {
        match self {
            Self::Own(memory) => memory.is_static(),
            Self::Shared(memory) => memory.is_static(),
        }
    }

    /// The addresses at which a fault is an access of this memory: guards included.
    pub(crate) fn reserved(&self) -> Range<usize> {
        match self {
            Self::Own(memory) => memory.reserved(),
            Self::Shared(memory) => memory.reserved(),
        }
    }
}

impl Drop for InstanceData {
    fn drop(&mut self) {
        if self.module.offsets.memory_behind().is_some() {
            // It goes with the memory behind it.
            return;
        }
        // SAFETY: instantiation allocated it with this layout, and only this frees it.
        unsafe { dealloc(self.vmctx.cast(), vmctx_layout(&self.module)) }
    }
}

/// The layout of a module's `VMContext`s.
pub(crate) fn vmctx_layout(module: &ModuleInner) -> Layout {
    let size = module.offsets.size() as usize;
    // `VMOffsets::new` keeps the size below 2 GiB, far from where this can fail.
    Layout::from_size_align(size, align_of::<VMContextHead>()).unwrap_or(Layout::new::<VMContextHead>())
}

/// What the store keeps of the instance whose `VMContext` this is.
///
/// # Safety
/// `vmctx` belongs to an instance of a live store.
#[inline]
pub(crate) unsafe fn instance(vmctx: *mut VMContextHead) -> *mut InstanceData {
    // SAFETY: by the caller.
    unsafe {
        debug_assert_eq!((*vmctx).magic, VMCONTEXT_MAGIC);
        (*vmctx).instance.cast()
    }
}

impl InstanceData {
    /// The bytes of a data segment; none if it was dropped.
    pub(crate) fn data_segment(&self, index: DataIndex) -> &[u8] {
        let dropped = match &self.dropped_data {
            DroppedData::None => false,
            DroppedData::Active => self.module.active_data.contains(index),
            DroppedData::These(segments) => segments[index.index() / 64] & (1 << (index.index() % 64)) != 0,
        };
        if dropped { &[] } else { self.module.data(index) }
    }

    /// Drops a data segment.
    pub(crate) fn drop_data(&mut self, index: DataIndex) {
        let active = &self.module.active_data;
        let segments = match &mut self.dropped_data {
            DroppedData::Active if active.contains(index) => return,
            DroppedData::These(segments) => segments,
            some => {
                let all = if matches!(some, DroppedData::Active) { active.segments.to_vec() } else { vec![0; active.segments.len()] };
                *some = DroppedData::These(all);
                let DroppedData::These(segments) = some else { return };
                segments
            }
        };
        segments[index.index() / 64] |= 1 << (index.index() % 64);
    }

    /// Shows the collector all references that the instance holds.
    ///
    /// # Safety
    /// `this` is an instance of a live store, whole or in the middle of its instantiation.
    pub(crate) unsafe fn visit_roots(this: *mut Self, mark: &mut dyn FnMut(u32)) {
        // SAFETY: by the caller; what is not yet filled is zero, which is null.
        unsafe {
            let Self { module, vmctx, tables, elem_segments, .. } = &*this;
            let env = &module.env;
            for (i, ty) in env.globals.iter().enumerate().skip(env.num_imported_globals as usize) {
                if ty.content.is_heap_ref() {
                    mark((*ops::global(*vmctx, GlobalIndex::from_u32(i as u32))).value.get_u32());
                }
            }
            for table in tables.iter().flatten() {
                table.visit_roots(mark);
            }
            for (items, segment) in elem_segments.iter().zip(&env.elements) {
                let heap = matches!(&segment.items, module::ElementItems::Expressions(ty, _) if ty.kind() == RefKind::Heap);
                for item in items.iter().filter(|_| heap) {
                    mark(*item as u32);
                }
            }
        }
    }

    /// What an index of the module refers to in this instance.
    ///
    /// # Safety
    /// `this` is an instance of a live store.
    pub(crate) unsafe fn entity(this: *mut Self, index: EntityIndex) -> Extern {
        // SAFETY: by the caller; exported functions have references.
        unsafe {
            let Self { module, vmctx, store, .. } = &*this;
            let id = (**store).id;
            let data = NonNull::new_unchecked(this);
            match index {
                EntityIndex::Func(i) => match Func::from_raw(id, ops::func_ref(*vmctx, i)) {
                    Some(f) => Extern::Func(f),
                    None => unreachable!("a function that is exported has a reference"),
                },
                EntityIndex::Memory(i) => {
                    let (owner, i) = match module.env.defined_memory(i) {
                        Some(i) => (this, i),
                        None => (&(*this).imported_memories)[i.index()],
                    };
                    match &(&(*owner).memories)[i.index()] {
                        InstanceMemory::Own(_) => Extern::Memory(Memory::from_raw(id, NonNull::new_unchecked(owner), i)),
                        InstanceMemory::Shared(memory) => Extern::SharedMemory(memory.clone()),
                    }
                }
                EntityIndex::Table(i) => Extern::Table(match module.env.defined_table(i) {
                    Some(i) => Table::from_raw(id, data, i),
                    None => {
                        let (owner, i) = (&(*this).imported_tables)[i.index()];
                        Table::from_raw(id, NonNull::new_unchecked(owner), i)
                    }
                }),
                EntityIndex::Global(i) => {
                    let ty = match module.env.defined_global(i) {
                        Some(_) => module.engine_global(module.env.globals[i.index()]),
                        None => (&(*this).imported_globals)[i.index()],
                    };
                    Extern::Global(Global::from_raw(id, NonNull::new_unchecked(ops::global(*vmctx, i)), ty))
                }
                EntityIndex::Tag(i) => Extern::Tag(Tag::from_raw(id, ops::tag(*vmctx, i))),
            }
        }
    }
}

/// An instance of a module in a store.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Instance {
    store: StoreId,
    data: NonNull<InstanceData>,
}

// SAFETY: the pointer is only followed with the store at hand, whose rules hold then.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

impl Instance {
    /// Instantiates a module with what it imports, in the order of its imports. `Linker` finds imports by name.
    ///
    /// # Errors
    /// If number or types of the imports do not fit, an import belongs to another store, the module to another engine,
    /// a memory or table cannot be made, a segment does not fit, or the start function traps.
    pub fn new(mut store: impl AsContextMut, module: &Module, imports: &[Extern]) -> Result<Self> {
        let store = store.as_context_mut().raw();
        let imports: Vec<Import<'_>> = imports.iter().map(Import::Extern).collect();
        // SAFETY: the store is borrowed uniquely.
        unsafe { instantiate::instantiate(store, module, instantiate::Imports::Each(&imports), None) }
    }

    pub(crate) fn from_raw(store: StoreId, data: NonNull<InstanceData>) -> Self {
        Self { store, data }
    }

    fn checked(&self, store: &StoreOpaque) -> *mut InstanceData {
        if self.store != store.id {
            wrong_store_panic("instance");
        }
        self.data.as_ptr()
    }

    pub(crate) fn check(&self, store: &StoreOpaque) -> Result<()> {
        if self.store == store.id { Ok(()) } else { Err(wrong_store("instance")) }
    }

    /// The module that this is an instance of.
    ///
    /// # Panics
    /// If the instance belongs to another store.
    pub fn module(&self, store: impl AsContext) -> Module {
        let data = self.checked(store.as_context().opaque());
        // SAFETY: the store keeps its instances.
        Module { inner: unsafe { (*data).module.clone() } }
    }

    /// The export with this name.
    ///
    /// # Panics
    /// If the instance belongs to another store.
    pub fn get_export(&self, mut store: impl AsContextMut, name: &str) -> Option<Extern> {
        let data = self.checked(store.as_context_mut().opaque());
        // SAFETY: the store keeps its instances.
        unsafe { Some(InstanceData::entity(data, (*data).module.export(name)?)) }
    }

    /// The exported function with this name.
    ///
    /// # Panics
    /// If the instance belongs to another store.
    pub fn get_func(&self, store: impl AsContextMut, name: &str) -> Option<Func> {
        self.get_export(store, name)?.into_func()
    }

    /// The exported function with this name, with its type checked.
    ///
    /// # Errors
    /// If there is no such function, it has another type, or the instance belongs to another store.
    pub fn get_typed_func<P: WasmParams, R: WasmResults>(&self, mut store: impl AsContextMut, name: &str) -> Result<TypedFunc<P, R>> {
        let mut store = store.as_context_mut();
        self.check(store.opaque())?;
        let func = self.get_func(&mut store, name).with_context(|| format!("the instance exports no function `{name}`"))?;
        // Asked for here, where the store can be changed, it makes the typed function's calls short.
        let type_id = func.type_id(store.opaque())?;
        store.opaque_mut().entry_stub(type_id);
        func.typed(&store).with_context(|| format!("export `{name}`"))
    }

    /// The exported memory with this name.
    ///
    /// # Panics
    /// If the instance belongs to another store.
    pub fn get_memory(&self, store: impl AsContextMut, name: &str) -> Option<Memory> {
        self.get_export(store, name)?.into_memory()
    }

    /// The exported shared memory with this name.
    ///
    /// # Panics
    /// If the instance belongs to another store.
    pub fn get_shared_memory(&self, store: impl AsContextMut, name: &str) -> Option<SharedMemory> {
        self.get_export(store, name)?.into_shared_memory()
    }

    /// The exported table with this name.
    ///
    /// # Panics
    /// If the instance belongs to another store.
    pub fn get_table(&self, store: impl AsContextMut, name: &str) -> Option<Table> {
        self.get_export(store, name)?.into_table()
    }

    /// The exported global with this name.
    ///
    /// # Panics
    /// If the instance belongs to another store.
    pub fn get_global(&self, store: impl AsContextMut, name: &str) -> Option<Global> {
        self.get_export(store, name)?.into_global()
    }

    /// The exported tag with this name.
    ///
    /// # Panics
    /// If the instance belongs to another store.
    pub fn get_tag(&self, store: impl AsContextMut, name: &str) -> Option<Tag> {
        self.get_export(store, name)?.into_tag()
    }

    /// All exports, in the order of the module.
    ///
    /// # Panics
    /// If the instance belongs to another store.
    pub fn exports<'a, T: 'static, S>(&self, store: S) -> impl ExactSizeIterator<Item = Export<'a>> + use<'a, T, S>
    where
        S: Into<StoreContextMut<'a, T>>,
    {
        let data = self.checked(store.into().opaque());
        // SAFETY: the store keeps its instances, and an instance its module, during 'a.
        let module: &'a ModuleInner = unsafe { &(*data).module };
        let exports = &module.env.exports;
        // SAFETY: as above.
        exports.iter().map(move |e| Export::new(&e.name, unsafe { InstanceData::entity(data, e.index) }))
    }
}
