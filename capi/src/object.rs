//! References to what lives in stores. All kinds are one structure, so that seeing one as another is a cast; each counts a
//! reference to its store where its kind needs one. What C attaches to a thing (host info) is found by the thing's identity,
//! whichever reference it is attached through.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use wasmc_runtime::{ExnRef, Extern, Func, Global, Instance, Memory, SharedMemory, Table, Tag};

use crate::error::{boxed, get};
use crate::guard::api;
use crate::module::ModuleData;
use crate::store::{Graveyard, StoreRef, store, wasm_store_t};
use crate::trap::TrapData;
use crate::types::release;

/// What releases a host info or an environment.
pub type Finalizer = Option<unsafe extern "C" fn(*mut c_void)>;

/// What C attached to something. Dropping it runs the finalizer.
pub struct HostInfo {
    pub(crate) info: *mut c_void,
    pub(crate) finalizer: Finalizer,
}

// SAFETY: the pointer is C's, who answers for the threads that it hands the thing to.
unsafe impl Send for HostInfo {}
// SAFETY: as above.
unsafe impl Sync for HostInfo {}

impl HostInfo {
    pub(crate) const NONE: Self = Self { info: std::ptr::null_mut(), finalizer: None };
}

impl Drop for HostInfo {
    fn drop(&mut self) {
        if let Some(finalizer) = self.finalizer {
            // SAFETY: C gave the function for this pointer, to be called once.
            unsafe { finalizer(self.info) }
        }
    }
}

/// A place for a host info in things that are counted.
pub struct InfoCell(Mutex<HostInfo>);

impl Default for InfoCell {
    fn default() -> Self {
        Self(Mutex::new(HostInfo::NONE))
    }
}

impl InfoCell {
    fn get(&self) -> *mut c_void {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).info
    }

    fn set(&self, info: HostInfo) -> HostInfo {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), info)
    }
}

/// An object that is only what C attaches to it.
#[derive(Default)]
pub struct ForeignData {
    info: InfoCell,
}

/// What a reference is to.
#[derive(Clone)]
pub enum What {
    /// A function.
    Func(Func),
    /// A global.
    Global(Global),
    /// A table.
    Table(Table),
    /// A memory.
    Memory(Memory),
    /// A memory of no store.
    SharedMemory(SharedMemory),
    /// A tag.
    Tag(Tag),
    /// An instance.
    Instance(Instance),
    /// A module.
    Module(Arc<ModuleData>),
    /// A trap.
    Trap(Arc<TrapData>),
    /// An object of C's.
    Foreign(Arc<ForeignData>),
    /// An exception.
    Exn(ExnRef),
}

/// The identity of what lives as long as its store.
#[derive(PartialEq, Eq, Hash)]
pub enum Key {
    /// By its identity, not its reference.
    Func(usize),
    /// A global.
    Global(Global),
    /// A table.
    Table(Table),
    /// A memory.
    Memory(Memory),
    /// By where its bytes are.
    SharedMemory(usize),
    /// A tag.
    Tag(Tag),
    /// An instance.
    Instance(Instance),
}

impl What {
    /// What an import or export is; `None` for kinds of which this interface knows nothing.
    pub(crate) fn of(item: Extern) -> Option<Self> {
        Some(match item {
            Extern::Func(x) => Self::Func(x),
            Extern::Global(x) => Self::Global(x),
            Extern::Table(x) => Self::Table(x),
            Extern::Memory(x) => Self::Memory(x),
            Extern::SharedMemory(x) => Self::SharedMemory(x),
            Extern::Tag(x) => Self::Tag(x),
            _ => return None,
        })
    }

    /// As an import or export, if it can be one.
    pub(crate) fn to_extern(&self) -> Option<Extern> {
        Some(match self {
            Self::Func(x) => Extern::Func(*x),
            Self::Global(x) => Extern::Global(*x),
            Self::Table(x) => Extern::Table(*x),
            Self::Memory(x) => Extern::Memory(*x),
            Self::SharedMemory(x) => Extern::SharedMemory(x.clone()),
            Self::Tag(x) => Extern::Tag(*x),
            _ => return None,
        })
    }

    /// Whether references to it keep its store.
    fn needs_store(&self) -> bool {
        !matches!(self, Self::Module(_) | Self::Foreign(_))
    }
}

/// The payload of an `externref`: what a reference of C's is to, without its store, which could otherwise never go.
pub(crate) struct HostRef {
    what: Option<What>,
    graveyard: Arc<Graveyard>,
}

impl HostRef {
    pub(crate) fn new(store: &StoreRef, what: What) -> Self {
        Self { what: Some(what), graveyard: store.graveyard().clone() }
    }

    pub(crate) fn what(&self) -> Option<&What> {
        self.what.as_ref()
    }
}

impl Drop for HostRef {
    fn drop(&mut self) {
        // The collector is at work, or the store is being dropped.
        if let Some(what) = self.what.take() {
            self.graveyard.bury(what);
        }
    }
}

/// A reference of C's.
#[derive(Clone)]
pub struct Object {
    store: Option<StoreRef>,
    pub(crate) what: What,
}

impl Object {
    pub(crate) fn new(store: &StoreRef, what: What) -> Self {
        Self { store: what.needs_store().then(|| store.clone()), what }
    }

    /// The store, of kinds that have one.
    pub(crate) fn store(&self) -> Result<&StoreRef> {
        self.store.as_ref().ok_or_else(|| anyhow::anyhow!("this reference belongs to no store"))
    }

    fn key(&self) -> Option<Key> {
        Some(match &self.what {
            What::Func(x) => Key::Func(x.identity(self.store.as_ref()?.context())),
            What::Global(x) => Key::Global(*x),
            What::Table(x) => Key::Table(*x),
            What::Memory(x) => Key::Memory(*x),
            What::SharedMemory(x) => Key::SharedMemory(x.data_ptr().addr()),
            What::Tag(x) => Key::Tag(*x),
            What::Instance(x) => Key::Instance(*x),
            What::Module(_) | What::Trap(_) | What::Foreign(_) | What::Exn(_) => return None,
        })
    }

    fn same(&self, other: &Self) -> bool {
        match (&self.what, &other.what) {
            (What::Module(a), What::Module(b)) => Arc::ptr_eq(a, b),
            (What::Trap(a), What::Trap(b)) => Arc::ptr_eq(a, b),
            (What::Foreign(a), What::Foreign(b)) => Arc::ptr_eq(a, b),
            (What::Exn(a), What::Exn(b)) => ExnRef::same(a, b),
            _ => self.key().is_some_and(|key| Some(key) == other.key()),
        }
    }

    fn cell(&self) -> Option<&InfoCell> {
        match &self.what {
            What::Module(x) => Some(&x.info),
            What::Trap(x) => Some(&x.info),
            What::Foreign(x) => Some(&x.info),
            _ => None,
        }
    }

    fn host_info(&self) -> *mut c_void {
        if let Some(cell) = self.cell() {
            return cell.get();
        }
        let (Some(key), Some(store)) = (self.key(), &self.store) else { return std::ptr::null_mut() };
        store.infos().get(&key).map_or(std::ptr::null_mut(), |info| info.info)
    }

    /// Attaches something in place of what is attached, which is finalized unless it is the same.
    fn set_host_info(&self, info: HostInfo) {
        let pointer = info.info;
        let mut old = if let Some(cell) = self.cell() {
            cell.set(info)
        } else if let (Some(key), Some(store)) = (self.key(), &self.store) {
            store.infos().insert(key, info).unwrap_or(HostInfo::NONE)
        } else {
            info
        };
        if old.info == pointer && self.host_info() == pointer {
            old.finalizer = None;
        }
        // Here the locks are free, and the finalizer may use this interface.
        drop(old);
    }
}

/// Any reference.
#[repr(transparent)]
#[derive(Clone)]
pub struct wasm_ref_t(pub(crate) Object);

impl From<Object> for wasm_ref_t {
    fn from(object: Object) -> Self {
        Self(object)
    }
}

/// The functions that all kinds of references have.
macro_rules! references {
    ($($ty:ident: $copy:ident $delete:ident $same:ident $get_info:ident $set_info:ident $set_info_with_finalizer:ident;)*) => {$(
        api! {
            /// Another reference to the same thing.
            fn $copy(this: *const $ty) -> *mut $ty {
                boxed(get(this, "the reference").cloned())
            }

            /// Releases a reference.
            fn $delete(this: *mut $ty) {
                release(this);
            }

            /// Whether two references are to the same thing.
            fn $same(a: *const $ty, b: *const $ty) -> bool {
                match (a.as_ref(), b.as_ref()) {
                    (Some(a), Some(b)) => a.0.same(&b.0),
                    (a, b) => a.is_none() && b.is_none(),
                }
            }

            /// What was attached to the thing.
            fn $get_info(this: *const $ty) -> *mut c_void {
                this.as_ref().map_or(std::ptr::null_mut(), |this| this.0.host_info())
            }

            /// Attaches something to the thing.
            fn $set_info(this: *mut $ty, info: *mut c_void) {
                $set_info_with_finalizer(this, info, None)
            }

            /// Attaches something to the thing, with a function that releases it when the thing goes.
            fn $set_info_with_finalizer(this: *mut $ty, info: *mut c_void, finalizer: Finalizer) {
                let info = HostInfo { info, finalizer };
                if let Some(this) = this.as_ref() {
                    this.0.set_host_info(info);
                }
            }
        }
    )*};
}

/// The kinds of references, with their conversions.
macro_rules! kinds {
    ($($ty:ident $what:literal $fits:pat => $as_ref:ident $as_ref_const:ident $of_ref:ident $of_ref_const:ident;)*) => {$(
        #[doc = concat!("A reference to ", $what, ".")]
        #[repr(transparent)]
        #[derive(Clone)]
        pub struct $ty(pub(crate) Object);

        impl From<Object> for $ty {
            fn from(object: Object) -> Self {
                Self(object)
            }
        }

        api! {
            /// The reference as one of any kind.
            fn $as_ref(this: *mut $ty) -> *mut wasm_ref_t {
                this.cast()
            }

            /// The reference as one of any kind.
            fn $as_ref_const(this: *const $ty) -> *const wasm_ref_t {
                this.cast()
            }

            /// The reference as one of this kind; null if it is not.
            fn $of_ref(this: *mut wasm_ref_t) -> *mut $ty {
                if matches!(this.as_ref().map(|this| &this.0.what), Some($fits)) { this.cast() } else { std::ptr::null_mut() }
            }

            /// The reference as one of this kind; null if it is not.
            fn $of_ref_const(this: *const wasm_ref_t) -> *const $ty {
                if matches!(this.as_ref().map(|this| &this.0.what), Some($fits)) { this.cast() } else { std::ptr::null() }
            }
        }
    )*};
}

references! {
    wasm_ref_t:
        wasm_ref_copy wasm_ref_delete wasm_ref_same wasm_ref_get_host_info wasm_ref_set_host_info wasm_ref_set_host_info_with_finalizer;
    wasm_trap_t:
        wasm_trap_copy wasm_trap_delete wasm_trap_same wasm_trap_get_host_info wasm_trap_set_host_info wasm_trap_set_host_info_with_finalizer;
    wasm_foreign_t:
        wasm_foreign_copy wasm_foreign_delete wasm_foreign_same wasm_foreign_get_host_info wasm_foreign_set_host_info wasm_foreign_set_host_info_with_finalizer;
    wasm_module_t:
        wasm_module_copy wasm_module_delete wasm_module_same wasm_module_get_host_info wasm_module_set_host_info wasm_module_set_host_info_with_finalizer;
    wasm_func_t:
        wasm_func_copy wasm_func_delete wasm_func_same wasm_func_get_host_info wasm_func_set_host_info wasm_func_set_host_info_with_finalizer;
    wasm_global_t:
        wasm_global_copy wasm_global_delete wasm_global_same wasm_global_get_host_info wasm_global_set_host_info wasm_global_set_host_info_with_finalizer;
    wasm_table_t:
        wasm_table_copy wasm_table_delete wasm_table_same wasm_table_get_host_info wasm_table_set_host_info wasm_table_set_host_info_with_finalizer;
    wasm_memory_t:
        wasm_memory_copy wasm_memory_delete wasm_memory_same wasm_memory_get_host_info wasm_memory_set_host_info wasm_memory_set_host_info_with_finalizer;
    wasm_extern_t:
        wasm_extern_copy wasm_extern_delete wasm_extern_same wasm_extern_get_host_info wasm_extern_set_host_info wasm_extern_set_host_info_with_finalizer;
    wasm_instance_t:
        wasm_instance_copy wasm_instance_delete wasm_instance_same wasm_instance_get_host_info wasm_instance_set_host_info wasm_instance_set_host_info_with_finalizer;
}

kinds! {
    wasm_trap_t "a trap" What::Trap(_) =>
        wasm_trap_as_ref wasm_trap_as_ref_const wasm_ref_as_trap wasm_ref_as_trap_const;
    wasm_foreign_t "an object of C's" What::Foreign(_) =>
        wasm_foreign_as_ref wasm_foreign_as_ref_const wasm_ref_as_foreign wasm_ref_as_foreign_const;
    wasm_module_t "a module" What::Module(_) =>
        wasm_module_as_ref wasm_module_as_ref_const wasm_ref_as_module wasm_ref_as_module_const;
    wasm_func_t "a function" What::Func(_) =>
        wasm_func_as_ref wasm_func_as_ref_const wasm_ref_as_func wasm_ref_as_func_const;
    wasm_global_t "a global" What::Global(_) =>
        wasm_global_as_ref wasm_global_as_ref_const wasm_ref_as_global wasm_ref_as_global_const;
    wasm_table_t "a table" What::Table(_) =>
        wasm_table_as_ref wasm_table_as_ref_const wasm_ref_as_table wasm_ref_as_table_const;
    wasm_memory_t "a memory" What::Memory(_) | What::SharedMemory(_) =>
        wasm_memory_as_ref wasm_memory_as_ref_const wasm_ref_as_memory wasm_ref_as_memory_const;
    wasm_extern_t "an import or export" What::Func(_) | What::Global(_) | What::Table(_) | What::Memory(_) | What::SharedMemory(_) | What::Tag(_) =>
        wasm_extern_as_ref wasm_extern_as_ref_const wasm_ref_as_extern wasm_ref_as_extern_const;
    wasm_instance_t "an instance" What::Instance(_) =>
        wasm_instance_as_ref wasm_instance_as_ref_const wasm_ref_as_instance wasm_ref_as_instance_const;
}

api! {
    /// An object that is only what C attaches to it, to be passed through WebAssembly as an `externref`.
    fn wasm_foreign_new(of: *mut wasm_store_t) -> *mut wasm_foreign_t {
        boxed(store(of).map(|store| Object::new(store, What::Foreign(Arc::default()))))
    }
}
