//! Values as the embedder handles them, and the handles that keep objects of a store's heap alive. A handle is a counted
//! reference to a slot that the store lists as a root: cloning and dropping need no store, and the store drops the slots
//! that only it still holds when it collects, or when the list has doubled.

use crate::Result;
use crate::context::{AsContext, AsContextMut, StoreContext};
use crate::error::wrong_store;
use crate::func::Func;
use crate::store::{StoreId, StoreOpaque};
use crate::tag::Tag;
use anyhow::{bail, ensure};
use std::any::Any;
use std::sync::Arc;
use wasmc_environ::TypeIndex;
use wasmc_environ::types::*;
use wasmc_environ::vmlayout::*;

/// Length from which the list of roots is searched for abandoned ones.
const FIRST_PURGE: usize = 64;

struct RootSlot {
    store: StoreId,
    index: u32,
}

/// A handle of the host to an object in a store's heap.
#[derive(Clone)]
pub(crate) struct Root(Arc<RootSlot>);

impl Root {
    /// The object's index, if the handle belongs to that store.
    #[inline]
    pub(crate) fn index(&self, store: StoreId) -> Option<u32> {
        (self.0.store == store).then_some(self.0.index)
    }

    fn same(&self, other: &Self) -> bool {
        self.index(other.0.store) == Some(other.0.index)
    }
}

impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{}", self.0.index)
    }
}

/// The objects that the host's handles keep alive.
#[derive(Default)]
pub(crate) struct Roots {
    slots: Vec<Root>,
    purge_at: usize,
}

impl Roots {
    fn add(&mut self, store: StoreId, index: u32) -> Root {
        if self.slots.len() >= self.purge_at {
            self.purge();
        }
        let root = Root(Arc::new(RootSlot { store, index }));
        self.slots.push(root.clone());
        root
    }

    fn purge(&mut self) {
        // A count of one is ours alone, and nobody can clone what nobody else holds.
        self.slots.retain(|r| Arc::strong_count(&r.0) > 1);
        self.purge_at = (self.slots.len() * 2).max(FIRST_PURGE);
    }

    pub(crate) fn visit(&mut self, mark: &mut dyn FnMut(u32)) {
        self.purge();
        for r in &self.slots {
            mark(r.0.index);
        }
    }
}

impl StoreOpaque {
    /// A handle to an object of the heap, which keeps it alive.
    ///
    /// # Safety
    /// `store` is alive, and `index` is an object of its heap.
    pub(crate) unsafe fn root(store: *mut Self, index: u32) -> Root {
        // SAFETY: by the caller; no reference to heap or roots is held anywhere while the host runs.
        unsafe {
            let heap = &mut (*store).heap;
            heap.escape(index);
            let roots = &mut (*store).roots;
            roots.add((*store).id, index)
        }
    }
}

/// A 128-bit vector, its lanes in little-endian order.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct V128(u128);

impl V128 {
    /// The vector as a number.
    pub fn as_u128(self) -> u128 {
        self.0
    }
}

impl From<u128> for V128 {
    fn from(v: u128) -> Self {
        Self(v)
    }
}

impl From<V128> for u128 {
    fn from(v: V128) -> Self {
        v.0
    }
}

/// A value of the host in a store's heap, as WebAssembly passes it around. The handle keeps it alive.
#[derive(Clone, Debug)]
pub struct ExternRef(pub(crate) Root);

impl ExternRef {
    /// Puts a value into the store's heap.
    ///
    /// # Errors
    /// If the heap is full.
    pub fn new(mut store: impl AsContextMut, value: impl Any + Send + Sync) -> Result<Self> {
        let store = store.as_context_mut().raw();
        // SAFETY: the store is borrowed uniquely; whoever runs in it has called the host, and so stands at a call.
        unsafe {
            StoreOpaque::collect_if_due(store);
            let index = (*store).heap.alloc_extern(Box::new(value))?;
            Ok(Self(StoreOpaque::root(store, index)))
        }
    }

    /// The value.
    ///
    /// # Errors
    /// If the reference belongs to another store.
    pub fn data<'a, T: 'static>(&self, store: impl Into<StoreContext<'a, T>>) -> Result<&'a (dyn Any + Send + Sync)> {
        let store = store.into().opaque();
        let value = self.0.index(store.id).and_then(|i| store.heap.extern_ref(i));
        value.ok_or_else(|| wrong_store("externref"))
    }

    /// Whether two references are to the same value.
    pub fn same(a: &Self, b: &Self) -> bool {
        a.0.same(&b.0)
    }
}

/// An exception: a tag and its payload. The handle keeps it alive.
#[derive(Clone, Debug)]
pub struct ExnRef(pub(crate) Root);

impl ExnRef {
    /// Makes an exception; [`ThrownException`](crate::ThrownException) throws it.
    ///
    /// # Errors
    /// If the payload does not have the tag's types, a value or the tag belongs to another store, or the heap is full.
    pub fn new(mut store: impl AsContextMut, tag: &Tag, payload: &[Val]) -> Result<Self> {
        let store = store.as_context_mut().raw();
        // SAFETY: the store is borrowed uniquely; whoever runs in it has called the host, and so stands at a call.
        unsafe {
            let ty = tag.func_type(&*store)?;
            ensure!(
                payload.len() == ty.params.len(),
                "the tag takes {} values as payload, not the {} that are given",
                ty.params.len(),
                payload.len()
            );
            let raw = payload.iter().zip(&ty.params).map(|(v, t)| v.to_raw(&*store, *t)).collect::<Result<Vec<_>>>()?;
            let heap_slots: Vec<bool> = ty.params.iter().map(|t| t.is_heap_ref()).collect();
            // The payload's own handles keep it alive meanwhile.
            StoreOpaque::collect_if_due(store);
            let (index, object) = (*store).heap.throw_alloc(tag.definition(), raw.len() as u32, &heap_slots)?;
            (*object).flags |= EXN_ESCAPED;
            object.byte_add(EXN_PAYLOAD_OFFSET as usize).cast::<ValRaw>().copy_from_nonoverlapping(raw.as_ptr(), raw.len());
            Ok(Self(StoreOpaque::root(store, index)))
        }
    }

    fn object(&self, store: &StoreOpaque) -> Result<*mut VMExnObject> {
        self.0.index(store.id).and_then(|i| store.heap.exn_object(i)).ok_or_else(|| wrong_store("exception"))
    }

    /// The exception's tag.
    ///
    /// # Errors
    /// If the exception belongs to another store.
    pub fn tag(&self, store: impl AsContext) -> Result<Tag> {
        let store = store.as_context().opaque();
        let object = self.object(store)?;
        // SAFETY: the handle keeps the object alive.
        Ok(Tag::from_raw(store.id, unsafe { (*object).tag }))
    }

    /// The exception's payload.
    ///
    /// # Errors
    /// If the exception belongs to another store.
    pub fn payload(&self, mut store: impl AsContextMut) -> Result<Vec<Val>> {
        let store = store.as_context_mut().raw();
        // SAFETY: the store is borrowed uniquely, and the handle keeps the object alive: it has a slot for each parameter
        // of its tag's type.
        unsafe {
            let object = self.object(&*store)?;
            let ty = (*store).engine.registry().func_type((*(*object).tag).type_id);
            let slots = object.byte_add(EXN_PAYLOAD_OFFSET as usize).cast::<ValRaw>();
            Ok(ty.params.iter().enumerate().map(|(i, t)| Val::from_raw(store, *slots.add(i), *t)).collect())
        }
    }

    /// Whether two references are to the same exception.
    pub fn same(a: &Self, b: &Self) -> bool {
        a.0.same(&b.0)
    }
}

/// A WebAssembly value.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Val {
    /// A 32-bit integer.
    I32(i32),
    /// A 64-bit integer.
    I64(i64),
    /// Bits of a 32-bit float.
    F32(u32),
    /// Bits of a 64-bit float.
    F64(u64),
    /// A vector.
    V128(V128),
    /// A function, or null.
    FuncRef(Option<Func>),
    /// A value of the host, or null.
    ExternRef(Option<ExternRef>),
    /// An exception, or null.
    ExnRef(Option<ExnRef>),
}

macro_rules! accessors {
    ($($(#[$doc:meta])* $name:ident $variant:ident -> $ty:ty = |$v:ident| $e:expr;)*) => {$(
        $(#[$doc])*
        pub fn $name(&self) -> Option<$ty> {
            match self {
                Self::$variant($v) => Some($e),
                _ => None,
            }
        }
    )*};
}

impl Val {
    accessors! {
        /// The value, if it is an i32.
        i32 I32 -> i32 = |v| *v;
        /// The value, if it is an i64.
        i64 I64 -> i64 = |v| *v;
        /// The value, if it is an f32.
        f32 F32 -> f32 = |v| f32::from_bits(*v);
        /// The value, if it is an f64.
        f64 F64 -> f64 = |v| f64::from_bits(*v);
        /// The value, if it is a vector.
        v128 V128 -> V128 = |v| *v;
        /// The value, if it is a function reference.
        func_ref FuncRef -> Option<Func> = |v| *v;
        /// The value, if it is an `externref`.
        extern_ref ExternRef -> Option<&ExternRef> = |v| v.as_ref();
        /// The value, if it is an `exnref`.
        exn_ref ExnRef -> Option<&ExnRef> = |v| v.as_ref();
    }

    /// The zero of a number type, or the null of a reference type; `None` for references that cannot be null.
    pub fn default_for(ty: &ValType) -> Option<Self> {
        Some(match ty {
            ValType::I32 => Self::I32(0),
            ValType::I64 => Self::I64(0),
            ValType::F32 => Self::F32(0),
            ValType::F64 => Self::F64(0),
            ValType::V128 => Self::V128(V128(0)),
            ValType::Ref(r) if !r.nullable => return None,
            ValType::Ref(r) => match r.heap {
                HeapType::Extern | HeapType::NoExtern => Self::ExternRef(None),
                HeapType::Exn | HeapType::NoExn => Self::ExnRef(None),
                HeapType::Func | HeapType::NoFunc | HeapType::Concrete(_) => Self::FuncRef(None),
                _ => return None,
            },
        })
    }

    /// The value's own type; that of a null is the nullable type above all in its hierarchy.
    ///
    /// # Errors
    /// If the value belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> Result<ValType> {
        let store = store.as_context().opaque();
        let nonnull = |heap| ValType::Ref(RefType { nullable: false, heap });
        Ok(match self {
            Self::I32(_) => ValType::I32,
            Self::I64(_) => ValType::I64,
            Self::F32(_) => ValType::F32,
            Self::F64(_) => ValType::F64,
            Self::V128(_) => ValType::V128,
            Self::FuncRef(None) => ValType::Ref(RefType::FUNCREF),
            Self::FuncRef(Some(f)) => nonnull(HeapType::Concrete(TypeIndex::from_u32(f.type_id(store)?))),
            Self::ExternRef(None) => ValType::Ref(RefType::EXTERNREF),
            Self::ExternRef(Some(_)) => nonnull(HeapType::Extern),
            Self::ExnRef(None) => ValType::Ref(RefType::EXNREF),
            Self::ExnRef(Some(_)) => nonnull(HeapType::Exn),
        })
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::I32(_) => "i32",
            Self::I64(_) => "i64",
            Self::F32(_) => "f32",
            Self::F64(_) => "f64",
            Self::V128(_) => "v128",
            Self::FuncRef(None) | Self::ExternRef(None) | Self::ExnRef(None) => "a null reference",
            Self::FuncRef(Some(_)) => "a function",
            Self::ExternRef(Some(_)) => "an externref",
            Self::ExnRef(Some(_)) => "an exnref",
        }
    }

    /// The slot for a value that must have type `ty`.
    pub(crate) fn to_raw(&self, store: &StoreOpaque, ty: ValType) -> Result<ValRaw> {
        use HeapType as H;
        Ok(match (self, ty) {
            (Self::I32(v), ValType::I32) => ValRaw::i32(*v),
            (Self::I64(v), ValType::I64) => ValRaw::i64(*v),
            (Self::F32(v), ValType::F32) => ValRaw::f32_bits(*v),
            (Self::F64(v), ValType::F64) => ValRaw::f64_bits(*v),
            (Self::V128(v), ValType::V128) => ValRaw::v128(v.0),
            (Self::FuncRef(None), ValType::Ref(RefType { nullable: true, heap: H::Func | H::NoFunc | H::Concrete(_) }))
            | (Self::ExternRef(None), ValType::Ref(RefType { nullable: true, heap: H::Extern | H::NoExtern }))
            | (Self::ExnRef(None), ValType::Ref(RefType { nullable: true, heap: H::Exn | H::NoExn })) => ValRaw::u64(0),
            (Self::FuncRef(Some(f)), ValType::Ref(RefType { heap: H::Func, .. })) => ValRaw::u64(f.checked(store)? as u64),
            (Self::FuncRef(Some(f)), ValType::Ref(RefType { heap: H::Concrete(wanted), .. })) => {
                let id = f.type_id(store)?;
                ensure!(
                    store.engine.registry().is_subtype(id, wanted.as_u32()),
                    "a function of type {} is not a value of type {ty}",
                    store.engine.registry().func_type(id)
                );
                ValRaw::u64(f.checked(store)? as u64)
            }
            (Self::ExternRef(Some(r)), ValType::Ref(RefType { heap: H::Extern, .. })) => {
                ValRaw::u32(r.0.index(store.id).ok_or_else(|| wrong_store("externref"))?)
            }
            (Self::ExnRef(Some(r)), ValType::Ref(RefType { heap: H::Exn, .. })) => {
                ValRaw::u32(r.0.index(store.id).ok_or_else(|| wrong_store("exception"))?)
            }
            (other, ty) => bail!("{} is not a value of type {ty}", other.kind()),
        })
    }

    /// The value in a slot.
    ///
    /// # Safety
    /// `store` is alive, and the slot holds a value of type `ty`.
    pub(crate) unsafe fn from_raw(store: *mut StoreOpaque, raw: ValRaw, ty: ValType) -> Self {
        // SAFETY: by the caller.
        let root = |index: u32| (index != 0).then(|| unsafe { StoreOpaque::root(store, index) });
        match ty {
            ValType::I32 => Self::I32(raw.get_i32()),
            ValType::I64 => Self::I64(raw.get_i64()),
            ValType::F32 => Self::F32(raw.get_u32()),
            ValType::F64 => Self::F64(raw.get_u64()),
            ValType::V128 => Self::V128(V128(raw.get_v128())),
            ValType::Ref(RefType { heap: HeapType::Extern | HeapType::NoExtern, .. }) => {
                Self::ExternRef(root(raw.get_u32()).map(ExternRef))
            }
            ValType::Ref(RefType { heap: HeapType::Exn | HeapType::NoExn, .. }) => Self::ExnRef(root(raw.get_u32()).map(ExnRef)),
            // SAFETY: by the caller, this is a pointer to a function of the store, or null.
            ValType::Ref(_) => Self::FuncRef(unsafe { Func::from_raw((*store).id, raw.get_u64() as *mut VMFuncRef) }),
        }
    }
}

macro_rules! from {
    ($($ty:ty => |$v:ident| $e:expr;)*) => {$(
        impl From<$ty> for Val {
            fn from($v: $ty) -> Self {
                $e
            }
        }
    )*};
}

from! {
    i32 => |v| Self::I32(v);
    u32 => |v| Self::I32(v as i32);
    i64 => |v| Self::I64(v);
    u64 => |v| Self::I64(v as i64);
    f32 => |v| Self::F32(v.to_bits());
    f64 => |v| Self::F64(v.to_bits());
    V128 => |v| Self::V128(v);
    Func => |v| Self::FuncRef(Some(v));
    Option<Func> => |v| Self::FuncRef(v);
    ExternRef => |v| Self::ExternRef(Some(v));
    Option<ExternRef> => |v| Self::ExternRef(v);
    ExnRef => |v| Self::ExnRef(Some(v));
    Option<ExnRef> => |v| Self::ExnRef(v);
}
