//! Which field of a `VMContext` lies where, from the module's declarations: what code may read there, and the little that it may write.

use wasmc_environ::vmlayout::{
    VMContextHead, VMFuncRef, VMFunctionImport, VMGlobalDefinition, VMMemoryDefinition, VMTableDefinition, VMTagDefinition, offsets,
};
use wasmc_environ::vmoffsets::VMOffsets;
use wasmc_environ::{
    DefinedGlobalIndex, DefinedMemoryIndex, DefinedTableIndex, DefinedTagIndex, FuncIndex, FuncRefIndex, GlobalIndex, MemoryIndex, Module,
    TableIndex, TagIndex,
};

/// A field, by what stands there.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Field {
    Store,
    Builtins,
    TypeIds,
    /// How many functions were entered, in metered code.
    Calls,
    /// A `VMMemoryDefinition`.
    Memory(u32),
    /// A pointer to one.
    MemoryPointer(u32),
    Table(u32),
    TablePointer(u32),
    Import(u32),
    Global(u32),
    GlobalPointer(u32),
    Tag(u32),
    TagPointer(u32),
    /// The `VMFuncRef` of a function.
    Func(u32),
}

/// Fields of one kind, one behind the other.
struct Group {
    start: u32,
    step: u32,
    count: u32,
    field: fn(&Module, u32) -> Field,
}

/// The layout of a module's `VMContext`.
pub struct Layout {
    groups: Vec<Group>,
    /// How far behind the start of the `VMContext` memory 0 begins, if it lies right behind it.
    pub memory_behind: Option<i32>,
}

impl Layout {
    /// The layout, or `None` if the module is too large to have one.
    pub fn new(m: &Module, static_memory: bool) -> Option<Self> {
        let o = VMOffsets::new(m, static_memory)?;
        let defined = |all: usize, imported: u32| all as u32 - imported;
        let size = |n: usize| n as u32;
        let head = |offset: i32, field: fn(&Module, u32) -> Field| Group { start: offset as u32, step: 8, count: 1, field };
        let mut groups = vec![
            head(offsets::VMCONTEXT_STORE, |_, _| Field::Store),
            head(offsets::VMCONTEXT_BUILTINS, |_, _| Field::Builtins),
            head(offsets::VMCONTEXT_TYPE_IDS, |_, _| Field::TypeIds),
            head(offsets::VMCONTEXT_CALLS, |_, _| Field::Calls),
        ];
        let mut group = |start: u32, step: usize, count: u32, field: fn(&Module, u32) -> Field| {
            groups.push(Group { start, step: size(step), count, field });
        };
        group(
            o.memory(DefinedMemoryIndex::from_u32(0)),
            size_of::<VMMemoryDefinition>(),
            defined(m.memories.len(), m.num_imported_memories),
            |m, i| {
                let index = i + m.num_imported_memories;
                if m.memories[index as usize].shared { Field::MemoryPointer(index) } else { Field::Memory(index) }
            },
        );
        group(o.imported_memory(MemoryIndex::from_u32(0)), 8, m.num_imported_memories, |_, i| Field::MemoryPointer(i));
        group(
            o.table(DefinedTableIndex::from_u32(0)),
            size_of::<VMTableDefinition>(),
            defined(m.tables.len(), m.num_imported_tables),
            |m, i| Field::Table(i + m.num_imported_tables),
        );
        group(o.imported_table(TableIndex::from_u32(0)), 8, m.num_imported_tables, |_, i| Field::TablePointer(i));
        group(o.imported_function(FuncIndex::from_u32(0)), size_of::<VMFunctionImport>(), m.num_imported_functions, |_, i| {
            Field::Import(i)
        });
        group(o.imported_global(GlobalIndex::from_u32(0)), 8, m.num_imported_globals, |_, i| Field::GlobalPointer(i));
        group(o.imported_tag(TagIndex::from_u32(0)), 8, m.num_imported_tags, |_, i| Field::TagPointer(i));
        group(
            o.global(DefinedGlobalIndex::from_u32(0)),
            size_of::<VMGlobalDefinition>(),
            defined(m.globals.len(), m.num_imported_globals),
            |m, i| Field::Global(i + m.num_imported_globals),
        );
        group(o.tag(DefinedTagIndex::from_u32(0)), size_of::<VMTagDefinition>(), defined(m.tags.len(), m.num_imported_tags), |m, i| {
            Field::Tag(i + m.num_imported_tags)
        });
        group(o.func_ref(FuncRefIndex::from_u32(0)), size_of::<VMFuncRef>(), m.escaping.len() as u32, |m, i| {
            Field::Func(m.escaping[i as usize].as_u32())
        });
        groups.retain(|g| g.count != 0);
        groups.sort_by_key(|g| g.start);
        Some(Self { groups, memory_behind: o.memory_behind().map(|at| at as i32) })
    }

    /// The field at an offset, and how far into it that is.
    pub fn field(&self, module: &Module, offset: i32) -> Option<(Field, i32)> {
        let offset = u32::try_from(offset).ok()?;
        let g = self.groups.get(self.groups.partition_point(|g| g.start <= offset).checked_sub(1)?)?;
        let (index, inside) = ((offset - g.start) / g.step, (offset - g.start) % g.step);
        (index < g.count).then(|| ((g.field)(module, index), inside as i32))
    }
}

const _: () = assert!(size_of::<VMContextHead>() == 64);
