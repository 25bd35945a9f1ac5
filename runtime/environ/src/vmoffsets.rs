//! Where the parts of a module's `VMContext` lie. The head is fixed (`vmlayout::VMContextHead`); what follows depends
//! on how many imports and definitions the module has.
//!
//! If the module defines a static memory 0, that memory begins right where the `VMContext` ends, so that code needs one register to reach
//! both. Globals and memories come last, because offsets of up to 128 bytes before the memory take a byte.

use crate::index::*;
use crate::module::Module;
use crate::vmlayout::*;
use core::mem::size_of;

/// Offsets of the parts of a `VMContext`, in bytes from its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VMOffsets {
    memories: u32,
    imported_memories: u32,
    tables: u32,
    imported_functions: u32,
    imported_tables: u32,
    imported_globals: u32,
    imported_tags: u32,
    globals: u32,
    tags: u32,
    func_refs: u32,
    size: u32,
    memory_behind: bool,
}

/// How far into memory 0 the hidden parameter of code points, if the memory lies right behind the `VMContext`. It is not 0 so that the base
/// that code keeps and the parameter that it hands on are two values: the register allocator ties whatever is a parameter of calls to that
/// parameter's register.
pub const HIDDEN_IN_MEMORY: u32 = 8;

/// Where a memory's `VMMemoryDefinition` is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum MemoryPlace {
    /// In the `VMContext`, at this offset.
    Here(u32),
    /// Behind the pointer that is in the `VMContext` at this offset.
    Behind(u32),
}

macro_rules! accessors {
    ($($(#[$doc:meta])* $name:ident $field:ident $index:ident $ty:ty;)*) => {$(
        $(#[$doc])*
        #[inline]
        pub fn $name(&self, index: $index) -> u32 {
            self.$field + index.as_u32() * size_of::<$ty>() as u32
        }
    )*};
}

impl VMOffsets {
    /// The layout for a module whose code relies on reservations of memories if `static_memory` says so
    /// (`Tunables::static_memory`); `None` if it would exceed 2 GiB.
    pub fn new(module: &Module, static_memory: bool) -> Option<Self> {
        let mut at = size_of::<VMContextHead>() as u64;
        let mut place = |count: usize, size: usize, align: u64| {
            at = at.next_multiple_of(align);
            let start = at;
            at += count as u64 * size as u64;
            start as u32
        };
        let imported = |n: u32| n as usize;
        let func_refs = place(module.escaping.len(), size_of::<VMFuncRef>(), 8);
        let tags = place(module.tags.len() - imported(module.num_imported_tags), size_of::<VMTagDefinition>(), 8);
        let imported_functions = place(imported(module.num_imported_functions), size_of::<VMFunctionImport>(), 8);
        let imported_tables = place(imported(module.num_imported_tables), 8, 8);
        let imported_globals = place(imported(module.num_imported_globals), 8, 8);
        let imported_tags = place(imported(module.num_imported_tags), 8, 8);
        let imported_memories = place(imported(module.num_imported_memories), 8, 8);
        let tables = place(module.tables.len() - imported(module.num_imported_tables), size_of::<VMTableDefinition>(), 8);
        let memories = place(module.memories.len() - imported(module.num_imported_memories), size_of::<VMMemoryDefinition>(), 8);
        let globals = place(module.globals.len() - imported(module.num_imported_globals), size_of::<VMGlobalDefinition>(), 16);
        let end = at.next_multiple_of(16);
        let size = u32::try_from(end).ok().filter(|s| *s <= i32::MAX as u32 - HIDDEN_IN_MEMORY)?;
        let memory_behind =
            module.num_imported_memories == 0 && module.memories.first().is_some_and(|m| static_memory && m.can_be_static() && !m.shared);
        Some(Self {
            memories,
            imported_memories,
            tables,
            imported_functions,
            imported_tables,
            imported_globals,
            imported_tags,
            globals,
            tags,
            func_refs,
            size,
            memory_behind,
        })
    }

    accessors! {
        /// The slot of a defined memory: its `VMMemoryDefinition`, or, if the memory is shared, a pointer to the one that all
        /// stores and threads share. `memory_place` tells them apart.
        memory memories DefinedMemoryIndex VMMemoryDefinition;
        /// The `*mut VMMemoryDefinition` of an imported memory.
        imported_memory imported_memories MemoryIndex u64;
        /// The `VMTableDefinition` of a defined table. A closed table's is all zero.
        table tables DefinedTableIndex VMTableDefinition;
        /// The `VMFunctionImport` of an imported function.
        imported_function imported_functions FuncIndex VMFunctionImport;
        /// The `*mut VMTableDefinition` of an imported table.
        imported_table imported_tables TableIndex u64;
        /// The `*mut VMGlobalDefinition` of an imported global.
        imported_global imported_globals GlobalIndex u64;
        /// The `*const VMTagDefinition` of an imported tag.
        imported_tag imported_tags TagIndex u64;
        /// The `VMGlobalDefinition` of a defined global.
        global globals DefinedGlobalIndex VMGlobalDefinition;
        /// The `VMTagDefinition` of a defined tag.
        tag tags DefinedTagIndex VMTagDefinition;
        /// The `VMFuncRef` of a function of which a reference can exist. Those of imported functions are not used:
        /// an import's reference is the one in its `VMFunctionImport`.
        func_ref func_refs FuncRefIndex VMFuncRef;
    }

    /// Where the `VMMemoryDefinition` of a memory is: imported memories and shared ones are behind a pointer.
    pub fn memory_place(&self, module: &Module, index: MemoryIndex) -> MemoryPlace {
        match module.defined_memory(index) {
            Some(defined) if module.memories[index.index()].shared => MemoryPlace::Behind(self.memory(defined)),
            Some(defined) => MemoryPlace::Here(self.memory(defined)),
            None => MemoryPlace::Behind(self.imported_memory(index)),
        }
    }

    /// Size of the whole `VMContext`.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// How far behind the start of the `VMContext` the hidden parameter of the module's code points: 0, or `HIDDEN_IN_MEMORY` bytes into
    /// memory 0, if that lies right behind it.
    pub fn hidden(&self) -> u32 {
        self.memory_behind().map_or(0, |distance| distance + HIDDEN_IN_MEMORY)
    }

    /// How far behind the start of the `VMContext` memory 0 begins, if it lies right behind it: the size.
    pub fn memory_behind(&self) -> Option<u32> {
        self.memory_behind.then_some(self.size)
    }

    /// Whether a memory is the one that lies right behind the `VMContext`.
    pub fn lies_behind(&self, memory: MemoryIndex) -> bool {
        self.memory_behind && memory.as_u32() == 0
    }
}
