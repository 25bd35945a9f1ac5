//! WebAssembly types as both tiers and the runtime see them: the specification's value types, composite types with
//! their place in recursion groups, and the types of tables, memories, globals and tags.
//! Conversion from wasmparser's types stands here too; an unsupported type is an error, never a panic.

use crate::error::DecodeError;
use crate::index::TypeIndex;
use serde::{Deserialize, Serialize};

/// A heap type (specification 3.0, "Heap Types").
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the variants are the specification's names")]
pub enum HeapType {
    Func,
    NoFunc,
    Extern,
    NoExtern,
    Exn,
    NoExn,
    Any,
    Eq,
    I31,
    Struct,
    Array,
    None,
    /// A defined type of this module.
    Concrete(TypeIndex),
}

/// A reference type: nullable or not, to a heap type.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RefType {
    /// Whether null is a value of this type.
    pub nullable: bool,
    /// What a non-null value refers to.
    pub heap: HeapType,
}

/// How a reference is represented in registers, memory and tables.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum RefKind {
    /// A pointer to a `VMFuncRef`, 64 bits wide; null is 0.
    Func,
    /// An index into the store's heap, 32 bits wide, kept alive by roots; null is 0.
    Heap,
}

/// A value type.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the variants are the specification's names")]
pub enum ValType {
    I32,
    I64,
    F32,
    F64,
    V128,
    Ref(RefType),
}

/// How a value of some type travels between functions: what decides the signature of compiled code and of the stubs.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the variants are the representations' names")]
pub enum AbiType {
    I32,
    I64,
    F32,
    F64,
    V128,
    /// A `VMFuncRef` pointer.
    FuncRef,
    /// An index into the store's heap.
    HeapRef,
}

impl RefType {
    /// `funcref`, that is `(ref null func)`.
    pub const FUNCREF: Self = Self { nullable: true, heap: HeapType::Func };
    /// `externref`, that is `(ref null extern)`.
    pub const EXTERNREF: Self = Self { nullable: true, heap: HeapType::Extern };
    /// `exnref`, that is `(ref null exn)`.
    pub const EXNREF: Self = Self { nullable: true, heap: HeapType::Exn };

    /// How a value of this type is represented. `Concrete` types are function types until garbage collection comes.
    pub fn kind(self) -> RefKind {
        match self.heap {
            HeapType::Func | HeapType::NoFunc | HeapType::Concrete(_) => RefKind::Func,
            _ => RefKind::Heap,
        }
    }
}

impl ValType {
    /// How a value of this type travels between functions.
    pub fn abi(self) -> AbiType {
        match self {
            Self::I32 => AbiType::I32,
            Self::I64 => AbiType::I64,
            Self::F32 => AbiType::F32,
            Self::F64 => AbiType::F64,
            Self::V128 => AbiType::V128,
            Self::Ref(r) => match r.kind() {
                RefKind::Func => AbiType::FuncRef,
                RefKind::Heap => AbiType::HeapRef,
            },
        }
    }

    /// Whether a value of this type is an index into the store's heap, and so a root for its collector.
    pub fn is_heap_ref(self) -> bool {
        self.abi() == AbiType::HeapRef
    }
}

impl core::fmt::Display for HeapType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Func => "func",
            Self::NoFunc => "nofunc",
            Self::Extern => "extern",
            Self::NoExtern => "noextern",
            Self::Exn => "exn",
            Self::NoExn => "noexn",
            Self::Any => "any",
            Self::Eq => "eq",
            Self::I31 => "i31",
            Self::Struct => "struct",
            Self::Array => "array",
            Self::None => "none",
            Self::Concrete(i) => return write!(f, "{i}"),
        })
    }
}

impl core::fmt::Display for RefType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match (self.nullable, self.heap) {
            (true, HeapType::Func) => f.write_str("funcref"),
            (true, HeapType::Extern) => f.write_str("externref"),
            (true, HeapType::Exn) => f.write_str("exnref"),
            (true, h) => write!(f, "(ref null {h})"),
            (false, h) => write!(f, "(ref {h})"),
        }
    }
}

impl core::fmt::Display for ValType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::I32 => f.write_str("i32"),
            Self::I64 => f.write_str("i64"),
            Self::F32 => f.write_str("f32"),
            Self::F64 => f.write_str("f64"),
            Self::V128 => f.write_str("v128"),
            Self::Ref(r) => r.fmt(f),
        }
    }
}

/// A function type.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FuncType {
    /// Types of the parameters.
    pub params: Box<[ValType]>,
    /// Types of the results.
    pub results: Box<[ValType]>,
}

impl FuncType {
    /// The function type from `params` to `results`.
    pub fn new(params: impl IntoIterator<Item = ValType>, results: impl IntoIterator<Item = ValType>) -> Self {
        Self { params: params.into_iter().collect(), results: results.into_iter().collect() }
    }

    /// How many 16-byte slots an argument array for this type has: arguments and results share it.
    pub fn array_slots(&self) -> usize {
        self.params.len().max(self.results.len())
    }

    /// What two functions must share to be called by the same stubs.
    pub fn abi(&self) -> AbiSignature {
        AbiSignature { params: self.params.iter().map(|t| t.abi()).collect(), results: self.results.iter().map(|t| t.abi()).collect() }
    }
}

impl core::fmt::Display for FuncType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let list = |f: &mut core::fmt::Formatter<'_>, types: &[ValType]| {
            f.write_str("(")?;
            for (i, t) in types.iter().enumerate() {
                write!(f, "{}{t}", if i == 0 { "" } else { ", " })?;
            }
            f.write_str(")")
        };
        list(f, &self.params)?;
        f.write_str(" -> ")?;
        list(f, &self.results)
    }
}

/// The representation of a function type's parameters and results: the key of a set of stubs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AbiSignature {
    /// Representations of the parameters.
    pub params: Box<[AbiType]>,
    /// Representations of the results.
    pub results: Box<[AbiType]>,
}

/// A composite type. Garbage collection will add structures and arrays here.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CompositeType {
    /// A function type.
    Func(FuncType),
}

/// A type definition: a composite type with its finality and declared supertype.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SubType {
    /// Whether no other type may declare this one as its supertype.
    pub is_final: bool,
    /// The declared supertype.
    pub supertype: Option<TypeIndex>,
    /// The type itself.
    pub composite: CompositeType,
}

/// Limits of a table or memory, in elements or pages.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits {
    /// Initial and least size.
    pub min: u64,
    /// Greatest size, if one is declared.
    pub max: Option<u64>,
}

/// A table type.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TableType {
    /// Element type.
    pub element: RefType,
    /// Size in elements.
    pub limits: Limits,
    /// Whether indices are i64.
    pub table64: bool,
}

/// A memory type.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MemoryType {
    /// Size in pages.
    pub limits: Limits,
    /// Whether addresses are i64.
    pub memory64: bool,
    /// Whether threads may share it.
    pub shared: bool,
    /// Base-2 logarithm of the page size in bytes: 16, or 0 with custom page sizes.
    pub page_size_log2: u8,
}

impl MemoryType {
    /// Initial size in bytes, if it can be expressed.
    pub fn min_bytes(&self) -> Option<u64> {
        self.limits.min.checked_shl(self.page_size_log2.into()).filter(|b| b >> self.page_size_log2 == self.limits.min)
    }

    /// Whether code may rely on the memory's reservation instead of checks, if it is made to.
    pub fn can_be_static(&self) -> bool {
        !self.memory64 && self.page_size_log2 == 16
    }

    /// The greatest number of pages that the type and its address width allow.
    pub fn max_pages(&self) -> u64 {
        let bits = if self.memory64 { 64 } else { 32 };
        let address_space = if self.page_size_log2 as u32 >= bits { 0 } else { 1u128 << (bits - u32::from(self.page_size_log2)) };
        let cap = u64::try_from(address_space).unwrap_or(u64::MAX);
        self.limits.max.map_or(cap, |max| max.min(cap))
    }
}

/// A global type.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GlobalType {
    /// Type of the value.
    pub content: ValType,
    /// Whether it can be set.
    pub mutable: bool,
}

/// A tag type: the function type whose parameters are the exception's payload.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TagType {
    /// The function type.
    pub ty: TypeIndex,
}

/// The type of an import or export.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the variants are the specification's names")]
pub enum EntityType {
    Func(TypeIndex),
    Table(TableType),
    Memory(MemoryType),
    Global(GlobalType),
    Tag(TagType),
}

/// Conversions from wasmparser. `offset` is the byte offset for errors.
pub(crate) mod convert {
    use super::*;
    use wasmparser as wp;

    fn unsupported(what: impl core::fmt::Display, offset: u64) -> DecodeError {
        DecodeError::unsupported(what.to_string(), offset)
    }

    pub(crate) fn heap(t: wp::HeapType, offset: u64) -> Result<HeapType, DecodeError> {
        use wp::AbstractHeapType as A;
        match t {
            wp::HeapType::Abstract { shared: false, ty } => Ok(match ty {
                A::Func => HeapType::Func,
                A::NoFunc => HeapType::NoFunc,
                A::Extern => HeapType::Extern,
                A::NoExtern => HeapType::NoExtern,
                A::Exn => HeapType::Exn,
                A::NoExn => HeapType::NoExn,
                other => return Err(unsupported(format!("heap type {other:?} (garbage collection)"), offset)),
            }),
            wp::HeapType::Concrete(i) | wp::HeapType::Exact(i) => match i.as_module_index() {
                Some(i) => Ok(HeapType::Concrete(TypeIndex::from_u32(i))),
                None => Err(unsupported("type index that is not one of the module's", offset)),
            },
            other => Err(unsupported(format!("heap type {other:?}"), offset)),
        }
    }

    pub(crate) fn reference(t: wp::RefType, offset: u64) -> Result<RefType, DecodeError> {
        Ok(RefType { nullable: t.is_nullable(), heap: heap(t.heap_type(), offset)? })
    }

    pub(crate) fn value(t: wp::ValType, offset: u64) -> Result<ValType, DecodeError> {
        Ok(match t {
            wp::ValType::I32 => ValType::I32,
            wp::ValType::I64 => ValType::I64,
            wp::ValType::F32 => ValType::F32,
            wp::ValType::F64 => ValType::F64,
            wp::ValType::V128 => ValType::V128,
            wp::ValType::Ref(r) => ValType::Ref(reference(r, offset)?),
        })
    }

    pub(crate) fn sub_type(t: &wp::SubType, offset: u64) -> Result<SubType, DecodeError> {
        if t.composite_type.shared {
            return Err(unsupported("shared composite type", offset));
        }
        let composite = match &t.composite_type.inner {
            wp::CompositeInnerType::Func(f) => {
                let list = |types: &[wp::ValType]| types.iter().map(|t| value(*t, offset)).collect::<Result<Box<[_]>, _>>();
                CompositeType::Func(FuncType { params: list(f.params())?, results: list(f.results())? })
            }
            wp::CompositeInnerType::Array(_) => return Err(unsupported("array type (garbage collection)", offset)),
            wp::CompositeInnerType::Struct(_) => return Err(unsupported("structure type (garbage collection)", offset)),
            wp::CompositeInnerType::Cont(_) => return Err(unsupported("continuation type (stack switching)", offset)),
        };
        let supertype = t.supertype_idxs.first().and_then(|i| i.as_module_index()).map(TypeIndex::from_u32);
        Ok(SubType { is_final: t.is_final, supertype, composite })
    }

    pub(crate) fn table(t: wp::TableType, offset: u64) -> Result<TableType, DecodeError> {
        if t.shared {
            return Err(unsupported("shared table", offset));
        }
        Ok(TableType { element: reference(t.element_type, offset)?, limits: Limits { min: t.initial, max: t.maximum }, table64: t.table64 })
    }

    pub(crate) fn memory(t: wp::MemoryType) -> MemoryType {
        MemoryType {
            limits: Limits { min: t.initial, max: t.maximum },
            memory64: t.memory64,
            shared: t.shared,
            page_size_log2: t.page_size_log2.unwrap_or(16) as u8,
        }
    }

    pub(crate) fn global(t: wp::GlobalType, offset: u64) -> Result<GlobalType, DecodeError> {
        if t.shared {
            return Err(unsupported("shared global", offset));
        }
        Ok(GlobalType { content: value(t.content_type, offset)?, mutable: t.mutable })
    }

    pub(crate) fn entity(t: wp::TypeRef, offset: u64) -> Result<EntityType, DecodeError> {
        Ok(match t {
            wp::TypeRef::Func(i) => EntityType::Func(TypeIndex::from_u32(i)),
            wp::TypeRef::Table(t) => EntityType::Table(table(t, offset)?),
            wp::TypeRef::Memory(t) => EntityType::Memory(memory(t)),
            wp::TypeRef::Global(t) => EntityType::Global(global(t, offset)?),
            wp::TypeRef::Tag(t) => EntityType::Tag(TagType { ty: TypeIndex::from_u32(t.func_type_idx) }),
            wp::TypeRef::FuncExact(i) => EntityType::Func(TypeIndex::from_u32(i)),
        })
    }
}

impl RefType {
    /// The type of a wasmparser reference type; `offset` is the byte offset for the error.
    ///
    /// # Errors
    /// If the type belongs to a proposal that wasmc does not support.
    pub fn from_wasmparser(t: wasmparser::RefType, offset: u64) -> Result<Self, DecodeError> {
        convert::reference(t, offset)
    }
}

impl HeapType {
    /// The type of a wasmparser heap type; `offset` is the byte offset for the error.
    ///
    /// # Errors
    /// If the type belongs to a proposal that wasmc does not support.
    pub fn from_wasmparser(t: wasmparser::HeapType, offset: u64) -> Result<Self, DecodeError> {
        convert::heap(t, offset)
    }
}

impl ValType {
    /// The type of a wasmparser value type; `offset` is the byte offset for the error.
    ///
    /// # Errors
    /// If the type belongs to a proposal that wasmc does not support.
    pub fn from_wasmparser(t: wasmparser::ValType, offset: u64) -> Result<Self, DecodeError> {
        convert::value(t, offset)
    }
}
