//! Types: of values, of what modules import and export, and the conversions between them. All kinds of the latter are one
//! structure, so that seeing one as another is a cast. A type that came from the runtime keeps what the header cannot say
//! (64-bit and shared memories, typed references), so that it can be given back whole.

use anyhow::{Result, bail, ensure};
use wasmc_runtime::{ExportType, ExternType, FuncType, GlobalType, HeapType, ImportType, Limits, MemoryType, RefType, TableType, ValType};

use crate::error::{boxed, get, null};
use crate::guard::api;
use crate::vector::*;

/// The kind of a value type.
pub type wasm_valkind_t = u8;
/// Whether a global is mutable.
pub type wasm_mutability_t = u8;
/// The kind of an import or export.
pub type wasm_externkind_t = u8;

/// Kinds of values, with those that `wasmc.h` adds.
pub(crate) mod kind {
    pub const I32: u8 = 0;
    pub const I64: u8 = 1;
    pub const F32: u8 = 2;
    pub const F64: u8 = 3;
    /// A vector: known as a type, but not as a value.
    pub const V128: u8 = 4;
    pub const EXTERNREF: u8 = 128;
    pub const FUNCREF: u8 = 129;
    /// An exception.
    pub const EXNREF: u8 = 130;
}

/// Kinds of imports and exports.
pub(crate) mod extern_kind {
    pub const FUNC: u8 = 0;
    pub const GLOBAL: u8 = 1;
    pub const TABLE: u8 = 2;
    pub const MEMORY: u8 = 3;
    pub const TAG: u8 = 4;
}

/// Sizes of a table or memory.
#[repr(C)]
#[derive(Copy, Clone, Debug)]
pub struct wasm_limits_t {
    /// The initial size.
    pub min: u32,
    /// The greatest size; `UINT32_MAX` if there is none.
    pub max: u32,
}

impl From<Limits> for wasm_limits_t {
    fn from(limits: Limits) -> Self {
        let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Self { min: narrow(limits.min), max: limits.max.map_or(u32::MAX, narrow) }
    }
}

impl From<wasm_limits_t> for Limits {
    fn from(limits: wasm_limits_t) -> Self {
        Self { min: limits.min.into(), max: (limits.max != u32::MAX).then_some(limits.max.into()) }
    }
}

/// A value type.
#[derive(Copy, Clone, Debug)]
pub struct wasm_valtype_t(pub(crate) ValType);

/// The kind of a value type.
pub(crate) fn kind_of(ty: ValType) -> u8 {
    match ty {
        ValType::I32 => kind::I32,
        ValType::I64 => kind::I64,
        ValType::F32 => kind::F32,
        ValType::F64 => kind::F64,
        ValType::V128 => kind::V128,
        ValType::Ref(RefType { heap: HeapType::Func | HeapType::NoFunc | HeapType::Concrete(_), .. }) => kind::FUNCREF,
        ValType::Ref(RefType { heap: HeapType::Exn | HeapType::NoExn, .. }) => kind::EXNREF,
        ValType::Ref(_) => kind::EXTERNREF,
    }
}

fn valtype_of(kind: u8) -> Result<wasm_valtype_t> {
    Ok(wasm_valtype_t(match kind {
        kind::I32 => ValType::I32,
        kind::I64 => ValType::I64,
        kind::F32 => ValType::F32,
        kind::F64 => ValType::F64,
        kind::V128 => ValType::V128,
        kind::EXTERNREF => ValType::Ref(RefType::EXTERNREF),
        kind::FUNCREF => ValType::Ref(RefType::FUNCREF),
        kind::EXNREF => ValType::Ref(RefType::EXNREF),
        other => bail!("there is no kind of values with number {other}"),
    }))
}

/// The type of an import or export; what [`wasm_externtype_t`] and the types of each kind are.
#[derive(Debug)]
pub enum Type {
    /// A function.
    Func {
        /// Its parameters.
        params: wasm_valtype_vec_t,
        /// Its results.
        results: wasm_valtype_vec_t,
    },
    /// A global.
    Global(wasm_valtype_t, bool),
    /// A table: what the runtime calls it, and what the header shows of that.
    Table(TableType, wasm_valtype_t, wasm_limits_t),
    /// A memory, likewise.
    Memory(MemoryType, wasm_limits_t),
    /// A tag, with its function type.
    Tag(Box<wasm_functype_t>),
}

impl Type {
    pub(crate) fn func(ty: &FuncType) -> Self {
        let list = |types: &[ValType]| {
            let boxes: Vec<*mut wasm_valtype_t> = types.iter().map(|t| Box::into_raw(Box::new(wasm_valtype_t(*t)))).collect();
            Vector::of(&boxes)
        };
        Self::Func { params: list(&ty.params), results: list(&ty.results) }
    }

    pub(crate) fn global(ty: GlobalType) -> Self {
        Self::Global(wasm_valtype_t(ty.content), ty.mutable)
    }

    pub(crate) fn table(ty: TableType) -> Self {
        Self::Table(ty, wasm_valtype_t(ValType::Ref(ty.element)), ty.limits.into())
    }

    pub(crate) fn memory(ty: MemoryType) -> Self {
        Self::Memory(ty, ty.limits.into())
    }

    pub(crate) fn of(ty: &ExternType) -> Result<Self> {
        Ok(match ty {
            ExternType::Func(ty) => Self::func(ty),
            ExternType::Global(ty) => Self::global(*ty),
            ExternType::Table(ty) => Self::table(*ty),
            ExternType::Memory(ty) => Self::memory(*ty),
            ExternType::Tag(ty) => Self::Tag(Box::new(wasm_functype_t(Self::func(ty)))),
            other => bail!("the C API does not know the type of {other}"),
        })
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Func { .. } => extern_kind::FUNC,
            Self::Global(..) => extern_kind::GLOBAL,
            Self::Table(..) => extern_kind::TABLE,
            Self::Memory(..) => extern_kind::MEMORY,
            Self::Tag(_) => extern_kind::TAG,
        }
    }

    /// The function type.
    ///
    /// # Safety
    /// C has left the vectors as they were.
    pub(crate) unsafe fn to_func(&self) -> Result<FuncType> {
        let Self::Func { params, results } = self else { bail!("this is not a function type") };
        // SAFETY: by the caller.
        unsafe { Ok(FuncType::new(value_types(params)?, value_types(results)?)) }
    }
}

/// # Safety
/// The vector is valid.
unsafe fn value_types(vec: &wasm_valtype_vec_t) -> Result<Vec<ValType>> {
    // SAFETY: by the caller.
    unsafe { vec.as_slice().iter().map(|t| Ok(get(*t, "a value type")?.0)).collect() }
}

impl Clone for Type {
    fn clone(&self) -> Self {
        match self {
            // SAFETY: the vectors are valid as long as the type is.
            Self::Func { params, results } => unsafe { Self::Func { params: params.duplicate(), results: results.duplicate() } },
            Self::Global(content, mutable) => Self::Global(*content, *mutable),
            Self::Table(ty, element, limits) => Self::Table(*ty, *element, *limits),
            Self::Memory(ty, limits) => Self::Memory(*ty, *limits),
            Self::Tag(ty) => Self::Tag(ty.clone()),
        }
    }
}

impl Drop for Type {
    fn drop(&mut self) {
        if let Self::Func { params, results } = self {
            // SAFETY: the vectors are the type's own.
            unsafe {
                params.release();
                results.release();
            }
        }
    }
}

/// The type of an import or export.
#[repr(transparent)]
#[derive(Clone, Debug)]
pub struct wasm_externtype_t(pub(crate) Type);

impl From<Type> for wasm_externtype_t {
    fn from(ty: Type) -> Self {
        Self(ty)
    }
}

macro_rules! plain {
    ($($ty:ident $copy:ident $delete:ident $what:literal;)*) => {
        api! {$(
            #[doc = concat!("Copies ", $what, ".")]
            fn $copy(ty: *const $ty) -> *mut $ty {
                boxed(get(ty, $what).cloned())
            }

            #[doc = concat!("Releases ", $what, ".")]
            fn $delete(ty: *mut $ty) {
                release(ty);
            }
        )*}
    };
}

plain! {
    wasm_valtype_t wasm_valtype_copy wasm_valtype_delete "a value type";
    wasm_externtype_t wasm_externtype_copy wasm_externtype_delete "a type";
    wasm_importtype_t wasm_importtype_copy wasm_importtype_delete "the type of an import";
    wasm_exporttype_t wasm_exporttype_copy wasm_exporttype_delete "the type of an export";
}

macro_rules! kinds {
    ($($ty:ident $kind:ident $what:literal: $copy:ident $delete:ident $up:ident $up_const:ident $down:ident $down_const:ident;)*) => {$(
        #[doc = concat!("The type of ", $what, ".")]
        #[repr(transparent)]
        #[derive(Clone, Debug)]
        pub struct $ty(pub(crate) Type);

        impl From<Type> for $ty {
            fn from(ty: Type) -> Self {
                Self(ty)
            }
        }

        plain! { $ty $copy $delete $what; }

        api! {
            /// The type as one of any kind.
            fn $up(ty: *mut $ty) -> *mut wasm_externtype_t {
                ty.cast()
            }

            /// The type as one of any kind.
            fn $up_const(ty: *const $ty) -> *const wasm_externtype_t {
                ty.cast()
            }

            /// The type as one of this kind; null if it is not.
            fn $down(ty: *mut wasm_externtype_t) -> *mut $ty {
                if ty.as_ref().is_some_and(|ty| ty.0.kind() == extern_kind::$kind) { ty.cast() } else { std::ptr::null_mut() }
            }

            /// The type as one of this kind; null if it is not.
            fn $down_const(ty: *const wasm_externtype_t) -> *const $ty {
                if ty.as_ref().is_some_and(|ty| ty.0.kind() == extern_kind::$kind) { ty.cast() } else { std::ptr::null() }
            }
        }
    )*};
}

kinds! {
    wasm_functype_t FUNC "a function": wasm_functype_copy wasm_functype_delete wasm_functype_as_externtype
        wasm_functype_as_externtype_const wasm_externtype_as_functype wasm_externtype_as_functype_const;
    wasm_globaltype_t GLOBAL "a global": wasm_globaltype_copy wasm_globaltype_delete wasm_globaltype_as_externtype
        wasm_globaltype_as_externtype_const wasm_externtype_as_globaltype wasm_externtype_as_globaltype_const;
    wasm_tabletype_t TABLE "a table": wasm_tabletype_copy wasm_tabletype_delete wasm_tabletype_as_externtype
        wasm_tabletype_as_externtype_const wasm_externtype_as_tabletype wasm_externtype_as_tabletype_const;
    wasm_memorytype_t MEMORY "a memory": wasm_memorytype_copy wasm_memorytype_delete wasm_memorytype_as_externtype
        wasm_memorytype_as_externtype_const wasm_externtype_as_memorytype wasm_externtype_as_memorytype_const;
    wasm_tagtype_t TAG "a tag": wasm_tagtype_copy wasm_tagtype_delete wasm_tagtype_as_externtype
        wasm_tagtype_as_externtype_const wasm_externtype_as_tagtype wasm_externtype_as_tagtype_const;
}

/// An import of a module.
#[derive(Debug)]
pub struct wasm_importtype_t {
    module: wasm_byte_vec_t,
    name: wasm_byte_vec_t,
    ty: Box<wasm_externtype_t>,
}

/// An export of a module.
#[derive(Debug)]
pub struct wasm_exporttype_t {
    name: wasm_byte_vec_t,
    ty: Box<wasm_externtype_t>,
}

impl wasm_importtype_t {
    pub(crate) fn of(import: &ImportType<'_>) -> Result<Self> {
        let ty = Box::new(wasm_externtype_t(Type::of(&import.ty)?));
        Ok(Self { module: Vector::of_bytes(import.module.as_bytes()), name: Vector::of_bytes(import.name.as_bytes()), ty })
    }
}

impl wasm_exporttype_t {
    pub(crate) fn of(export: &ExportType<'_>) -> Result<Self> {
        Ok(Self { name: Vector::of_bytes(export.name.as_bytes()), ty: Box::new(wasm_externtype_t(Type::of(&export.ty)?)) })
    }
}

impl Clone for wasm_importtype_t {
    fn clone(&self) -> Self {
        // SAFETY: the vectors are valid as long as the type is.
        unsafe { Self { module: self.module.duplicate(), name: self.name.duplicate(), ty: self.ty.clone() } }
    }
}

impl Clone for wasm_exporttype_t {
    fn clone(&self) -> Self {
        // SAFETY: the vector is valid as long as the type is.
        unsafe { Self { name: self.name.duplicate(), ty: self.ty.clone() } }
    }
}

impl Drop for wasm_importtype_t {
    fn drop(&mut self) {
        // SAFETY: the vectors are the type's own.
        unsafe {
            self.module.release();
            self.name.release();
        }
    }
}

impl Drop for wasm_exporttype_t {
    fn drop(&mut self) {
        // SAFETY: the vector is the type's own.
        unsafe { self.name.release() }
    }
}

/// Takes over what C owned.
///
/// # Safety
/// The pointer is null, or to a box of this library that nobody uses afterwards.
pub(crate) unsafe fn owned<T>(pointer: *mut T, what: &str) -> Result<Box<T>> {
    if pointer.is_null() {
        return Err(null(what));
    }
    // SAFETY: by the caller.
    Ok(unsafe { Box::from_raw(pointer) })
}

/// Releases what C owned, or nothing if the pointer is null.
///
/// # Safety
/// As [`owned`].
pub(crate) unsafe fn release<T>(pointer: *mut T) {
    if !pointer.is_null() {
        // SAFETY: by the caller.
        drop(unsafe { Box::from_raw(pointer) });
    }
}

/// Takes over a vector; a null pointer is an empty one.
///
/// # Safety
/// The pointer is null, or to a vector that nobody else uses meanwhile.
unsafe fn taken<T>(vec: *mut Vector<T>) -> Vector<T> {
    // SAFETY: by the caller.
    unsafe { vec.as_mut() }.map_or(Vector::EMPTY, Vector::take)
}

api! {
    /// A value type of a kind.
    fn wasm_valtype_new(kind: wasm_valkind_t) -> *mut wasm_valtype_t {
        boxed(valtype_of(kind))
    }

    /// The kind of a value type.
    fn wasm_valtype_kind(ty: *const wasm_valtype_t) -> wasm_valkind_t {
        ty.as_ref().map_or(0, |ty| kind_of(ty.0))
    }

    /// A function type, of parameters and results that it takes over.
    fn wasm_functype_new(params: *mut wasm_valtype_vec_t, results: *mut wasm_valtype_vec_t) -> *mut wasm_functype_t {
        let ty = Type::Func { params: taken(params), results: taken(results) };
        boxed(ty.to_func().map(|_| ty))
    }

    /// The parameters of a function type.
    fn wasm_functype_params(ty: *const wasm_functype_t) -> *const wasm_valtype_vec_t {
        match ty.as_ref() {
            Some(wasm_functype_t(Type::Func { params, .. })) => params,
            _ => std::ptr::null(),
        }
    }

    /// The results of a function type.
    fn wasm_functype_results(ty: *const wasm_functype_t) -> *const wasm_valtype_vec_t {
        match ty.as_ref() {
            Some(wasm_functype_t(Type::Func { results, .. })) => results,
            _ => std::ptr::null(),
        }
    }

    /// A global type, of a content that it takes over.
    fn wasm_globaltype_new(content: *mut wasm_valtype_t, mutability: wasm_mutability_t) -> *mut wasm_globaltype_t {
        boxed(owned(content, "the content of a global type").and_then(|content| {
            ensure!(mutability <= 1, "there is no mutability with number {mutability}");
            Ok(Type::Global(*content, mutability == 1))
        }))
    }

    /// The type of a global's content.
    fn wasm_globaltype_content(ty: *const wasm_globaltype_t) -> *const wasm_valtype_t {
        match ty.as_ref() {
            Some(wasm_globaltype_t(Type::Global(content, _))) => content,
            _ => std::ptr::null(),
        }
    }

    /// Whether a global is mutable.
    fn wasm_globaltype_mutability(ty: *const wasm_globaltype_t) -> wasm_mutability_t {
        matches!(ty.as_ref(), Some(wasm_globaltype_t(Type::Global(_, true)))).into()
    }

    /// A table type, of an element type that it takes over.
    fn wasm_tabletype_new(element: *mut wasm_valtype_t, limits: *const wasm_limits_t) -> *mut wasm_tabletype_t {
        boxed(owned(element, "the element type of a table type").and_then(|element| {
            let limits = *get(limits, "the limits of a table type")?;
            let ValType::Ref(element) = element.0 else { bail!("a table's elements are references, not {}", element.0) };
            Ok(Type::table(TableType { element, limits: limits.into(), table64: false }))
        }))
    }

    /// The type of a table's elements.
    fn wasm_tabletype_element(ty: *const wasm_tabletype_t) -> *const wasm_valtype_t {
        match ty.as_ref() {
            Some(wasm_tabletype_t(Type::Table(_, element, _))) => element,
            _ => std::ptr::null(),
        }
    }

    /// The sizes of a table.
    fn wasm_tabletype_limits(ty: *const wasm_tabletype_t) -> *const wasm_limits_t {
        match ty.as_ref() {
            Some(wasm_tabletype_t(Type::Table(_, _, limits))) => limits,
            _ => std::ptr::null(),
        }
    }

    /// A memory type.
    fn wasm_memorytype_new(limits: *const wasm_limits_t) -> *mut wasm_memorytype_t {
        boxed(get(limits, "the limits of a memory type").map(|limits| {
            Type::memory(MemoryType { limits: (*limits).into(), memory64: false, shared: false, page_size_log2: 16 })
        }))
    }

    /// The sizes of a memory.
    fn wasm_memorytype_limits(ty: *const wasm_memorytype_t) -> *const wasm_limits_t {
        match ty.as_ref() {
            Some(wasm_memorytype_t(Type::Memory(_, limits))) => limits,
            _ => std::ptr::null(),
        }
    }

    /// A tag type, of a function type that it takes over.
    fn wasm_tagtype_new(ty: *mut wasm_functype_t) -> *mut wasm_tagtype_t {
        boxed(owned(ty, "the function type of a tag type").and_then(|ty| {
            ensure!(ty.0.to_func()?.results.is_empty(), "the type of a tag has no results");
            Ok(Type::Tag(ty))
        }))
    }

    /// The function type of a tag.
    fn wasm_tagtype_functype(ty: *const wasm_tagtype_t) -> *const wasm_functype_t {
        match ty.as_ref() {
            Some(wasm_tagtype_t(Type::Tag(ty))) => &raw const **ty,
            _ => std::ptr::null(),
        }
    }

    /// The kind of a type.
    fn wasm_externtype_kind(ty: *const wasm_externtype_t) -> wasm_externkind_t {
        ty.as_ref().map_or(0, |ty| ty.0.kind())
    }

    /// The type of an import, of parts that it takes over.
    fn wasm_importtype_new(
        module: *mut wasm_byte_vec_t,
        name: *mut wasm_byte_vec_t,
        ty: *mut wasm_externtype_t,
    ) -> *mut wasm_importtype_t {
        let (mut module, mut name) = (taken(module), taken(name));
        boxed(match owned(ty, "the type of an import") {
            Ok(ty) => Ok(wasm_importtype_t { module, name, ty }),
            Err(e) => {
                module.release();
                name.release();
                Err(e)
            }
        })
    }

    /// The module that is imported from.
    fn wasm_importtype_module(ty: *const wasm_importtype_t) -> *const wasm_byte_vec_t {
        ty.as_ref().map_or(std::ptr::null(), |ty| &raw const ty.module)
    }

    /// The name that is imported.
    fn wasm_importtype_name(ty: *const wasm_importtype_t) -> *const wasm_byte_vec_t {
        ty.as_ref().map_or(std::ptr::null(), |ty| &raw const ty.name)
    }

    /// The type of what is imported.
    fn wasm_importtype_type(ty: *const wasm_importtype_t) -> *const wasm_externtype_t {
        ty.as_ref().map_or(std::ptr::null(), |ty| &raw const *ty.ty)
    }

    /// The type of an export, of parts that it takes over.
    fn wasm_exporttype_new(name: *mut wasm_byte_vec_t, ty: *mut wasm_externtype_t) -> *mut wasm_exporttype_t {
        let mut name = taken(name);
        boxed(match owned(ty, "the type of an export") {
            Ok(ty) => Ok(wasm_exporttype_t { name, ty }),
            Err(e) => {
                name.release();
                Err(e)
            }
        })
    }

    /// The name of an export.
    fn wasm_exporttype_name(ty: *const wasm_exporttype_t) -> *const wasm_byte_vec_t {
        ty.as_ref().map_or(std::ptr::null(), |ty| &raw const ty.name)
    }

    /// The type of what is exported.
    fn wasm_exporttype_type(ty: *const wasm_exporttype_t) -> *const wasm_externtype_t {
        ty.as_ref().map_or(std::ptr::null(), |ty| &raw const *ty.ty)
    }
}
