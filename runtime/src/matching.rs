//! Whether what is given for an import has the type that is wanted (specification 3.0, "Matching").

use crate::Result;
use crate::code::Code;
use crate::error::IncompatibleImport;
use crate::extern_::Extern;
use crate::func::AnyHostFunc;
use crate::instantiate::Import;
use crate::module::ModuleInner;
use crate::registry::Registry;
use crate::store::StoreOpaque;
use crate::types::ExternType;
use crate::vm::memory::MemoryStorage;
use anyhow::{bail, ensure};
use std::sync::Arc;
use wasmc_environ::module;
use wasmc_environ::types::*;

/// Whether a host function, of whatever engine, fits what is wanted.
pub(crate) fn host_fits(module: &ModuleInner, wanted: &module::Import, f: &AnyHostFunc) -> bool {
    let registry = module.engine.registry();
    Arc::ptr_eq(f.types.registry(), registry)
        && matches!(wanted.ty, EntityType::Func(ty) if registry.is_subtype(f.type_id, module.type_ids[ty.index()]))
}

/// Whether what is given has the type that is wanted (specification 3.0, "Import Matching").
pub(crate) fn check_import(store: &StoreOpaque, module: &ModuleInner, wanted: &module::Import, given: &Import<'_>) -> Result<()> {
    let registry = store.engine.registry();
    let (fits, found): (bool, ExternType) = match (wanted.ty, given) {
        (_, Import::Host(f)) => {
            ensure!(
                Arc::ptr_eq(f.types.registry(), registry),
                "host function `{}`.`{}` belongs to another engine",
                wanted.module,
                wanted.name
            );
            if host_fits(module, wanted, f) {
                return Ok(());
            }
            (false, ExternType::Func((*f.ty).clone()))
        }
        (ty, Import::Extern(Extern::Func(f))) => {
            let id = f.type_id(store)?;
            let fits = matches!(ty, EntityType::Func(ty) if registry.is_subtype(id, module.type_ids[ty.index()]));
            if fits {
                return Ok(());
            }
            (false, ExternType::Func((*registry.func_type(id)).clone()))
        }
        (ty, Import::Extern(Extern::Table(t))) => {
            t.place(store)?;
            // SAFETY: the table is one of this live store.
            let found = unsafe { t.type_now() };
            let fits = matches!(ty, EntityType::Table(ty) if table_fits(module.engine_table(ty), found));
            (fits, ExternType::Table(found))
        }
        (_, Import::Extern(Extern::Memory(m))) => {
            let (owner, index) = m.place(store)?;
            // SAFETY: the memory is one of this live store.
            let (found, is_static) = unsafe { (m.type_now(), (&(*owner).memories)[index.index()].is_static()) };
            (check_memory(module, wanted, found, is_static)?, ExternType::Memory(found))
        }
        (_, Import::Extern(Extern::SharedMemory(m))) => {
            m.check_engine(&store.engine)?;
            let found = m.ty();
            (check_memory(module, wanted, found, m.is_static())?, ExternType::Memory(found))
        }
        (ty, Import::Extern(Extern::Global(g))) => {
            let found = g.checked(store)?.1;
            let fits = matches!(ty, EntityType::Global(ty) if global_fits(registry, module.engine_global(ty), found));
            (fits, ExternType::Global(found))
        }
        (ty, Import::Extern(Extern::Tag(t))) => {
            let id = t.type_id(store)?;
            let fits = matches!(ty, EntityType::Tag(ty) if module.type_ids[ty.ty.index()] == id);
            (fits, ExternType::Tag((*registry.func_type(id)).clone()))
        }
    };
    if fits { Ok(()) } else { Err(incompatible(module, wanted, found).into()) }
}

/// Whether a memory fits what is wanted.
fn check_memory(module: &ModuleInner, wanted: &module::Import, found: MemoryType, is_static: bool) -> Result<bool> {
    let EntityType::Memory(ty) = wanted.ty else { return Ok(false) };
    let fits = memory_fits(ty, found);
    // Code without checks in a memory without room behind it would reach whatever lies there.
    let relies =
        (matches!(module.code, Code::Loaded(_)) || module.tier.is_some()) && MemoryStorage::is_static_type(&ty, module.static_memory);
    if fits && relies && !is_static {
        bail!(
            "the code relies on address space reserved for the memory `{}`.`{}`, but that memory was made without; use the same \
             setting for both (`--static-memory` of the compiler, `Config::static_memory` of the engine)",
            wanted.module,
            wanted.name
        );
    }
    Ok(fits)
}

/// The error of an import that is given something of another type.
#[cold]
pub(crate) fn incompatible(module: &ModuleInner, wanted: &module::Import, found: ExternType) -> IncompatibleImport {
    let module::Import { module: from, name, ty } = wanted;
    let (importer, wanted) = (module.name.clone(), module.engine_entity(*ty));
    IncompatibleImport { importer, module: from.clone(), name: name.clone(), wanted, found }
}

/// Whether the limits of what is given lie within those wanted (specification 3.0, "Limits" under "Matching").
fn limits_fit(wanted: Limits, found: Limits) -> bool {
    found.min >= wanted.min && wanted.max.is_none_or(|wanted| found.max.is_some_and(|found| found <= wanted))
}

/// Whether a global fits what is wanted; both types are the engine's.
pub(crate) fn global_fits(registry: &Registry, wanted: GlobalType, found: GlobalType) -> bool {
    let content = if wanted.mutable { wanted.content == found.content } else { registry.val_subtype(found.content, wanted.content) };
    wanted.mutable == found.mutable && content
}

fn table_fits(wanted: TableType, found: TableType) -> bool {
    wanted.element == found.element && wanted.table64 == found.table64 && limits_fit(wanted.limits, found.limits)
}

fn memory_fits(wanted: MemoryType, found: MemoryType) -> bool {
    wanted.memory64 == found.memory64
        && wanted.shared == found.shared
        && wanted.page_size_log2 == found.page_size_log2
        && limits_fit(wanted.limits, found.limits)
}
