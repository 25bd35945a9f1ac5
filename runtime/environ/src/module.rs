//! A decoded module: everything that its sections declare, except the code. Both tiers and the instantiation read it;
//! it is also what an artifact's metadata holds, so it has no borrowed data.

use crate::const_expr::ConstExpr;
use crate::index::*;
use crate::types::*;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// An import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// Name of the module to import from.
    pub module: String,
    /// Name within that module.
    pub name: String,
    /// Wanted type.
    pub ty: EntityType,
}

/// What an export refers to.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the variants are the specification's names")]
pub enum EntityIndex {
    Func(FuncIndex),
    Table(TableIndex),
    Memory(MemoryIndex),
    Global(GlobalIndex),
    Tag(TagIndex),
}

/// An export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// What it refers to.
    pub index: EntityIndex,
}

/// When a segment is applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SegmentMode<I> {
    /// At instantiation, to `target` at `offset`.
    Active {
        /// The table or memory.
        target: I,
        /// Where to write.
        offset: ConstExpr,
    },
    /// By `table.init` or `memory.init`.
    Passive,
    /// Never: an element segment that only declares functions for `ref.func`.
    Declared,
}

/// The elements of an element segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ElementItems {
    /// Functions.
    Functions(Box<[FuncIndex]>),
    /// Expressions of a reference type.
    Expressions(RefType, Box<[ConstExpr]>),
}

impl ElementItems {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Functions(f) => f.len(),
            Self::Expressions(_, e) => e.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An element segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElementSegment {
    /// When it is applied.
    pub mode: SegmentMode<TableIndex>,
    /// What it holds.
    pub items: ElementItems,
}

/// A data segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSegment {
    /// When it is applied.
    pub mode: SegmentMode<MemoryIndex>,
    /// Where its bytes are: a range of the wasm binary, or, in a stripped artifact, of the section `Data`.
    pub bytes: Range<u64>,
}

/// A table that nothing but `call_indirect` can observe, so that its contents are known when compiling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedTable {
    /// The function at each index; `None` is null. The length is the table's (fixed) size.
    pub elements: Box<[Option<FuncIndex>]>,
}

/// A decoded module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// The module's name from the name section.
    pub name: Option<String>,
    /// Types, in the order of the type section.
    pub types: Vec<SubType>,
    /// Recursion groups: ranges of `types`.
    pub rec_groups: Vec<Range<u32>>,
    /// For each type the first type of this module that is equal to it: two types are equal if and only if these are.
    pub canonical: Vec<TypeIndex>,
    /// Imports, in order.
    pub imports: Vec<Import>,
    /// How many functions are imported.
    pub num_imported_functions: u32,
    /// How many tables are imported.
    pub num_imported_tables: u32,
    /// How many memories are imported.
    pub num_imported_memories: u32,
    /// How many globals are imported.
    pub num_imported_globals: u32,
    /// How many tags are imported.
    pub num_imported_tags: u32,
    /// Type of each function, imports first.
    pub functions: Vec<TypeIndex>,
    /// Type of each table, imports first.
    pub tables: Vec<TableType>,
    /// Initial value of the elements of each defined table; `None` is null.
    pub table_inits: Vec<Option<ConstExpr>>,
    /// Type of each memory, imports first.
    pub memories: Vec<MemoryType>,
    /// Type of each global, imports first.
    pub globals: Vec<GlobalType>,
    /// Initial value of each defined global.
    pub global_inits: Vec<ConstExpr>,
    /// Type of each tag, imports first.
    pub tags: Vec<TagType>,
    /// Exports, in order.
    pub exports: Vec<Export>,
    /// The start function.
    pub start: Option<FuncIndex>,
    /// Element segments.
    pub elements: Vec<ElementSegment>,
    /// Data segments.
    pub data: Vec<DataSegment>,
    /// Functions of which a reference can exist (exported, in an element segment, in a constant expression, declared):
    /// sorted, and the position is the `FuncRefIndex`. Where the code was scanned, what is only in closed tables is left out.
    pub escaping: Vec<FuncIndex>,
    /// Bodies of the defined functions: ranges of the wasm binary, starting at the local declarations.
    pub bodies: Vec<Range<u64>>,
    /// Closed tables, by `TableIndex`; empty if the code was not scanned, and then no table is closed.
    pub closed_tables: Vec<Option<ClosedTable>>,
    /// The payload of the custom section `name`: a range of the wasm binary.
    pub name_section: Option<Range<u64>>,
}

macro_rules! spaces {
    ($($defined_of:ident $defined_to:ident $index:ident $defined:ident $count:ident;)*) => {$(
        /// The index among the definitions, or `None` for an import.
        #[inline]
        pub fn $defined_of(&self, index: $index) -> Option<$defined> {
            index.as_u32().checked_sub(self.$count).map($defined::from_u32)
        }
        /// The index in the whole index space.
        #[inline]
        pub fn $defined_to(&self, index: $defined) -> $index {
            $index::from_u32(index.as_u32() + self.$count)
        }
    )*};
}

impl Module {
    spaces! {
        defined_func func_index FuncIndex DefinedFuncIndex num_imported_functions;
        defined_table table_index TableIndex DefinedTableIndex num_imported_tables;
        defined_memory memory_index MemoryIndex DefinedMemoryIndex num_imported_memories;
        defined_global global_index GlobalIndex DefinedGlobalIndex num_imported_globals;
        defined_tag tag_index TagIndex DefinedTagIndex num_imported_tags;
    }

    /// How many functions have a body here.
    pub fn num_defined_functions(&self) -> u32 {
        self.functions.len() as u32 - self.num_imported_functions
    }

    /// The function type with this index.
    pub fn func_type(&self, index: TypeIndex) -> &FuncType {
        let CompositeType::Func(ty) = &self.types[index.index()].composite;
        ty
    }

    /// The type of a function.
    pub fn type_of(&self, index: FuncIndex) -> &FuncType {
        self.func_type(self.functions[index.index()])
    }

    /// Payload types of a tag.
    pub fn tag_params(&self, index: TagIndex) -> &[ValType] {
        &self.func_type(self.tags[index.index()].ty).params
    }

    /// The slot of a function's `VMFuncRef` in the `VMContext`, if a reference to it can exist.
    pub fn func_ref(&self, index: FuncIndex) -> Option<FuncRefIndex> {
        self.escaping.binary_search(&index).ok().map(|i| FuncRefIndex::from_u32(i as u32))
    }

    /// Whether a segment's elements are in a closed table, and so nowhere else.
    pub fn is_in_closed_table(&self, segment: &ElementSegment) -> bool {
        matches!(segment.mode, SegmentMode::Active { target, .. } if self.closed_table(target).is_some())
    }

    /// The closed table with this index, if it is one.
    pub fn closed_table(&self, index: TableIndex) -> Option<&ClosedTable> {
        self.closed_tables.get(index.index())?.as_ref()
    }

    /// The export with this name.
    pub fn export(&self, name: &str) -> Option<EntityIndex> {
        self.exports.iter().find(|e| e.name == name).map(|e| e.index)
    }

    /// The type of what an export refers to.
    pub fn entity_type(&self, index: EntityIndex) -> EntityType {
        match index {
            EntityIndex::Func(i) => EntityType::Func(self.functions[i.index()]),
            EntityIndex::Table(i) => EntityType::Table(self.tables[i.index()]),
            EntityIndex::Memory(i) => EntityType::Memory(self.memories[i.index()]),
            EntityIndex::Global(i) => EntityType::Global(self.globals[i.index()]),
            EntityIndex::Tag(i) => EntityType::Tag(self.tags[i.index()]),
        }
    }

    /// Whether the declared supertypes of `sub` lead to `sup`; equal types count.
    pub fn is_subtype(&self, sub: TypeIndex, sup: TypeIndex) -> bool {
        let sup = self.canonical[sup.index()];
        let mut at = Some(sub);
        while let Some(i) = at {
            if self.canonical[i.index()] == sup {
                return true;
            }
            at = self.types[i.index()].supertype;
        }
        false
    }
}
