//! Alias regions: what Cranelift's alias analysis may take as disjoint. Two accesses in different regions must never
//! touch the same byte, so whatever can be reached by two names shares a region: imported memories may be one memory,
//! imported globals one global. A definition of this module cannot be one of its imports.
//!
//! The numbers are the same in all functions of a module, so that one function can be inlined into another.

use super::FuncTranslator;
use cranelift_codegen::ir::{AliasRegion, AliasRegionData, AliasRegionSet, Endianness, MemFlagsData};
use wasmc_environ::{GlobalIndex, MemoryIndex};

/// A disjoint part of the state.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Region {
    /// `VMContext`s apart from globals, definitions of memories and tables, `VMFuncRef`s: written by the runtime only.
    Runtime,
    /// Elements of tables.
    Tables,
    /// Exception objects.
    Exceptions,
    /// Slots of the frame that hold references across calls.
    Roots,
    /// Counters of metered code.
    Meter,
    /// A local in the frame, by its slot. Inlined code has slots of other numbers than its regions: two slots may share one.
    Frame(u32),
    /// A memory, by its index; imported ones and those above a limit share one.
    Memory(MemoryIndex),
    /// A global, by its index; imported ones and those above a limit share one.
    Global(GlobalIndex),
}

/// Each block of a function costs the alias analysis time in proportion to the regions, so only the first few
/// definitions have their own. The stack pointer of C programs is among them.
const MAX_OWN: u32 = 16;
const MEMORIES: u32 = 0x100;
const GLOBALS: u32 = 0x200;
const FRAME: u32 = 0x300;

impl Region {
    fn id(self, imported: u32) -> u32 {
        let own = |base: u32, index: u32| match index.checked_sub(imported) {
            None => base,
            Some(defined) => base + 1 + defined.min(MAX_OWN),
        };
        match self {
            Self::Runtime => 1,
            Self::Tables => 2,
            Self::Exceptions => 3,
            Self::Roots => 4,
            Self::Meter => 5,
            Self::Frame(slot) => FRAME + slot,
            Self::Memory(i) => own(MEMORIES, i.as_u32()),
            Self::Global(i) => own(GLOBALS, i.as_u32()),
        }
    }

    fn description(id: u32) -> &'static str {
        match id {
            1 => "runtime",
            2 => "tables",
            3 => "exceptions",
            4 => "roots",
            5 => "counters",
            MEMORIES => "imported memories",
            id if id < GLOBALS => "memory",
            GLOBALS => "imported globals",
            id if id < FRAME => "global",
            _ => "local",
        }
    }

    fn insert(id: u32, set: &mut AliasRegionSet) -> AliasRegion {
        set.insert(AliasRegionData { user_id: id, description: Self::description(id).into() })
    }

    /// The region of the slots that hold references across calls.
    pub(super) fn roots(set: &mut AliasRegionSet) -> AliasRegion {
        Self::insert(Self::Roots.id(0), set)
    }
}

impl FuncTranslator<'_, '_> {
    fn alias_region(&mut self, region: Region) -> Option<AliasRegion> {
        let module = self.env.module;
        let imported = match region {
            Region::Memory(_) => module.num_imported_memories,
            Region::Global(_) => module.num_imported_globals,
            _ => 0,
        };
        Some(Region::insert(region.id(imported), &mut self.builder.func.dfg.alias_regions))
    }

    /// Flags of an access that cannot fault and is aligned.
    pub(super) fn trusted(&mut self, region: Region) -> MemFlagsData {
        MemFlagsData::trusted().with_endianness(Endianness::Little).with_alias_region(self.alias_region(region))
    }

    /// Flags of a load from what the runtime never changes while a function of the instance runs, and which is there
    /// whatever the function does first: the load may be moved anywhere and done once.
    pub(super) fn constant(&mut self) -> MemFlagsData {
        self.trusted(Region::Runtime).with_readonly().with_can_move()
    }

    /// Flags of an access to a memory, of any alignment, where a fault means an access out of bounds.
    pub(super) fn memory_flags(&mut self, memory: MemoryIndex) -> MemFlagsData {
        let code = super::trap_code(wasmc_environ::TrapCode::MemoryOutOfBounds);
        MemFlagsData::new()
            .with_endianness(Endianness::Little)
            .with_trap_code(Some(code))
            .with_alias_region(self.alias_region(Region::Memory(memory)))
    }
}
