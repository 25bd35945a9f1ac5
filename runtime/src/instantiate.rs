//! Instantiation, in the order of the specification (3.0, "Instantiation"): check the imports; allocate the instance with
//! functions, memories, globals, tables; then run what can be seen from outside: element segments, data segments, the start
//! function. Up to there a failure leaves nothing behind. From there the instance stays in the store even if it traps,
//! because other instances may hold its functions by then; and what was written before the trap stays written.

use crate::Result;
use crate::code::Code;
use crate::error::wrong_store;
use crate::exec::{self, Callee};
use crate::extern_::Extern;
use crate::fuel;
use crate::func::{AnyHostFunc, ExitBinding, HostFunc, exit_code};
use crate::instance::{DroppedData, Instance, InstanceData, InstanceMemory, vmctx_layout};
use crate::limiter::Resource;
use crate::linker::Definition;
use crate::matching;
use crate::module::{Module, ModuleInner};
use crate::ops::{self, at};
use crate::shared_memory::SharedMemory;
use crate::store::StoreOpaque;
use crate::trap::Trap;
use crate::vm::memory::{Initial, MemoryConfig, MemoryStorage, Reservation};
use crate::vm::table::TableStorage;
use crate::vm::{self};
use anyhow::{Context as _, ensure};
use smallvec::SmallVec;
use std::alloc::alloc_zeroed;
use std::ptr::NonNull;
use std::sync::Arc;
use wasmc_environ::const_expr::{ConstExpr, ConstOp};
use wasmc_environ::module::{ElementItems, EntityIndex, Module as EnvModule, SegmentMode};
use wasmc_environ::types::*;
use wasmc_environ::vmlayout::*;
use wasmc_environ::*;

/// What an import gets.
#[derive(Copy, Clone)]
pub(crate) enum Import<'a> {
    /// Something of the store.
    Extern(&'a Extern),
    /// A host function that is not bound to a store yet.
    Host(&'a Arc<AnyHostFunc>),
}

/// The imports of a module.
#[derive(Copy, Clone)]
pub(crate) enum Imports<'a> {
    /// One after the other.
    Each(&'a [Import<'a>]),
    /// All of them are host functions whose types fit.
    Hosts(&'a HostBindings),
}

/// The bindings of all imports of a module that imports nothing but host functions, as far as they are the same in each instance.
pub(crate) struct HostBindings(Box<[ExitBinding]>);

// SAFETY: the addresses are those of code and of host functions, which whoever has the bindings keeps; both can be used by any thread.
unsafe impl Send for HostBindings {}
// SAFETY: as above.
unsafe impl Sync for HostBindings {}

impl HostBindings {
    /// Prepares the bindings; `None` if something else is imported, a type does not fit, calls cost fuel, or the module has no stubs of
    /// its own for one of the types.
    pub(crate) fn prepare(module: &ModuleInner, imports: &[Definition]) -> Option<Self> {
        if imports.len() != module.env.imports.len() || fuel::is_metered(&module.engine) {
            return None;
        }
        let bindings =
            imports.iter().zip(&module.env.imports).zip(&module.import_stubs).enumerate().map(|(i, ((given, wanted), stubs))| {
                let Definition::Host(host) = given else { return None };
                (matching::host_fits(module, wanted, host) && stubs.has_exit()).then(|| ExitBinding::unbound(host, i as u32, stubs))
            });
        let bindings: Box<[ExitBinding]> = bindings.collect::<Option<_>>()?;
        (bindings.len() == imports.len()).then_some(Self(bindings))
    }
}

/// Instantiates a module. `given` keeps the host functions among the imports, if there are any.
///
/// # Safety
/// `store` is alive and nobody holds a Rust reference into it; host functions are for stores with this type of data. `Hosts` were
/// prepared for this module, with what is `given`.
pub(crate) unsafe fn instantiate(
    store: *mut StoreOpaque,
    module: &Module,
    imports: Imports<'_>,
    given: Option<&Arc<[Definition]>>,
) -> Result<Instance> {
    let module = &module.inner;
    // SAFETY: by the caller.
    unsafe {
        ensure!(
            Arc::ptr_eq(module.engine.registry(), (*store).engine.registry()),
            "the module was made with another engine than the store"
        );
        if (*store).vm.interrupt.is_interrupted() {
            return Err(vm::interrupt::interrupted_before());
        }
        if let Imports::Each(imports) = imports {
            let wanted = &module.env.imports;
            ensure!(wanted.len() == imports.len(), "the module has {} imports, but {} are given", wanted.len(), imports.len());
            for (wanted, given) in wanted.iter().zip(imports) {
                matching::check_import(&*store, module, wanted, given)?;
            }
            // Before the instance, so that it is the last one if it has to go again.
            for import in imports {
                if let Import::Extern(Extern::SharedMemory(memory)) = import {
                    shared_memory_instance(store, memory)?;
                }
            }
        }
        let account = &raw mut (*store).account;
        let before = (*account).mark();
        (*account).acquire(Resource::Instances, 1, 0, None)?;
        let this = match allocate(store, module.clone()) {
            Ok(this) => this,
            Err(e) => {
                (*store).account.release_since(&before);
                return Err(e);
            }
        };
        (*this).host_funcs = given.cloned();
        if let Err(e) = define(this, imports) {
            let store = &mut *store;
            store.instances.pop();
            store.account.release_since(&before);
            return Err(e);
        }
        if let Some(EntityIndex::Memory(index)) = module.export("memory") {
            let definition = ops::memory_definition((*this).vmctx, index);
            for binding in &mut (*this).bindings {
                binding.exported_memory = definition;
            }
        }
        initialize(this)?;
        Ok(Instance::from_raw((*store).id, NonNull::new_unchecked(this)))
    }
}

/// The instance that a memory of the host stands in.
///
/// # Safety
/// As [`instantiate`].
pub(crate) unsafe fn host_memory(store: *mut StoreOpaque, ty: MemoryType) -> Result<NonNull<InstanceData>> {
    let env = EnvModule { memories: vec![ty], ..EnvModule::default() };
    // SAFETY: by the caller.
    unsafe { host_instance(store, ModuleInner::for_host(&(*store).engine, env, None)?, 0) }
}

/// The instance that a shared memory stands in, in this store; the same one for all that import it.
unsafe fn shared_memory_instance(store: *mut StoreOpaque, memory: &SharedMemory) -> Result<*mut InstanceData> {
    // SAFETY: by the caller.
    unsafe {
        let known = &(*store).shared_memories;
        if let Some((_, instance)) = known.iter().find(|(m, _)| SharedMemory::same(m, memory)) {
            return Ok(*instance);
        }
        let env = EnvModule { memories: vec![memory.ty()], ..EnvModule::default() };
        let this = allocate(store, Arc::new(ModuleInner::for_host(&(*store).engine, env, None)?))?;
        define_shared(this, DefinedMemoryIndex::from_u32(0), memory.clone());
        reserve(this);
        let known = &mut (*store).shared_memories;
        known.push((memory.clone(), this));
        Ok(this)
    }
}

/// Gives a new instance its next memory, which is a shared one.
unsafe fn define_shared(this: *mut InstanceData, index: DefinedMemoryIndex, memory: SharedMemory) {
    // SAFETY: by the caller; the instance keeps the memory alive.
    unsafe {
        let module = &*Arc::as_ptr(&(*this).module);
        *at((*this).vmctx, module.offsets.memory(index)) = memory.definition();
        let memories = &mut (*this).memories;
        debug_assert_eq!(memories.len(), index.index());
        memories.push(InstanceMemory::Shared(memory));
    }
}

/// The instance that a table of the host stands in; `init` is a reference of its type.
///
/// # Safety
/// As [`instantiate`].
pub(crate) unsafe fn host_table(store: *mut StoreOpaque, ty: TableType, init: u64) -> Result<NonNull<InstanceData>> {
    // SAFETY: by the caller.
    unsafe {
        let types = match ty.element.heap {
            HeapType::Concrete(i) => {
                let types = (*store).engine.registry().retain_type(i.as_u32());
                Some(types.context("the type of a table names a type that this engine does not have")?)
            }
            _ => None,
        };
        let env = EnvModule { tables: vec![ty], table_inits: vec![None], ..EnvModule::default() };
        host_instance(store, ModuleInner::for_host(&(*store).engine, env, types)?, init)
    }
}

unsafe fn host_instance(store: *mut StoreOpaque, module: ModuleInner, init: u64) -> Result<NonNull<InstanceData>> {
    // SAFETY: by the caller.
    unsafe {
        let account = &raw const (*store).account;
        let before = (*account).mark();
        let this = allocate(store, Arc::new(module))?;
        if let Err(e) = memories(this).and_then(|()| tables(this, |_| init)) {
            let store = &mut *store;
            store.instances.pop();
            store.account.release_since(&before);
            return Err(e);
        }
        reserve(this);
        Ok(NonNull::new_unchecked(this))
    }
}

/// An instance in the store, with nothing in it but the head of its `VMContext`.
unsafe fn allocate(store: *mut StoreOpaque, module: Arc<ModuleInner>) -> Result<*mut InstanceData> {
    let layout = vmctx_layout(&module);
    let reservation = match module.offsets.memory_behind() {
        None => None,
        Some(size) => {
            let (ty, initial) = (&module.env.memories[0], initial(&module, DefinedMemoryIndex::from_u32(0)));
            Some(Reservation::new(size as usize, ty, &memory_config(&module), initial)?)
        }
    };
    let vmctx = match &reservation {
        Some(reservation) => reservation.memory().wrapping_sub(layout.size()).cast::<VMContextHead>(),
        // SAFETY: the layout has at least the size of the head.
        None => unsafe { alloc_zeroed(layout) }.cast::<VMContextHead>(),
    };
    ensure!(!vmctx.is_null(), "cannot allocate {} bytes for an instance: out of memory", layout.size());
    let env = module.env.clone();
    let type_ids = module.type_ids.as_ptr();
    let data = InstanceData {
        vmctx,
        module,
        store,
        reservation,
        memories: Vec::new(),
        tables: Vec::new(),
        imported_memories: Vec::new(),
        imported_tables: Vec::new(),
        imported_globals: Vec::new(),
        dropped_data: DroppedData::None,
        elem_segments: vec![Box::default(); env.elements.len()],
        exit_contexts: Vec::new(),
        entries: Box::default(),
        bindings: Vec::new(),
        host_funcs: None,
    };
    // SAFETY: by the caller; the `VMContext` was just made, and the module keeps its types.
    unsafe {
        let instances = &mut (*store).instances;
        let this = instances.push(data);
        vmctx.write(VMContextHead {
            magic: VMCONTEXT_MAGIC,
            store: &raw mut *(*store).vm.context,
            builtins: vm::builtin_addresses(),
            type_ids,
            instance: this.cast(),
            entries: std::ptr::null(),
            calls: 0,
        });
        Ok(this)
    }
}

/// All that cannot be seen from outside.
unsafe fn define(this: *mut InstanceData, imports: Imports<'_>) -> Result<()> {
    // SAFETY: by the caller, `this` is a new instance, and the imports fit.
    unsafe {
        let code = &mut (*(*this).store).vm.code;
        code.insert(&(*this).module);
        crate::profile::module_used(&(*this).module);
        match imports {
            Imports::Each(imports) => bind_imports(this, imports)?,
            Imports::Hosts(hosts) => bind_hosts(this, hosts),
        }
        func_refs(this);
        memories(this)?;
        let module = &*Arc::as_ptr(&(*this).module);
        let imported = module.env.num_imported_tags as usize;
        for (i, ty) in module.env.tags.iter().enumerate().skip(imported) {
            let type_id = module.type_ids[ty.ty.index()];
            *at((*this).vmctx, module.offsets.tag(DefinedTagIndex::from_u32((i - imported) as u32))) =
                VMTagDefinition { type_id, reserved: 0 };
        }
        for (i, init) in module.env.global_inits.iter().enumerate() {
            let value = evaluate(this, init);
            *at((*this).vmctx, module.offsets.global(DefinedGlobalIndex::from_u32(i as u32))) = VMGlobalDefinition { value };
        }
        tables(this, |i| module.env.table_inits[i].as_ref().map_or(0, |e| evaluate(this, e).lo))?;
        reserve(this);
    }
    Ok(())
}

/// Writes the imports into the `VMContext`. Each kind has its own index space, numbered in the order of the imports.
unsafe fn bind_imports(this: *mut InstanceData, imports: &[Import<'_>]) -> Result<()> {
    // SAFETY: by the caller.
    unsafe {
        let (vmctx, store) = ((*this).vmctx, (*this).store);
        let module = &*Arc::as_ptr(&(*this).module);
        let is_host = |i: &&Import<'_>| match i {
            Import::Host(_) => true,
            Import::Extern(Extern::Func(f)) => f.checked(&*store).is_ok_and(|f| (*f).kind == FuncKind::Host as u32),
            Import::Extern(_) => false,
        };
        let hosts = imports.iter().filter(is_host).count();
        (*this).bindings.reserve_exact(hosts);
        let (mut funcs, mut tables, mut memories, mut globals, mut tags) = (0, 0, 0, 0, 0);
        let cost = |import: &module::Import| fuel::host_cost(&module.engine, &import.module, &import.name);
        for (import, wanted) in imports.iter().zip(&module.env.imports) {
            match import {
                Import::Host(f) => {
                    // Who gave the imports has given what keeps them, too.
                    debug_assert!((*this).host_funcs.is_some());
                    bind_host(this, Arc::as_ptr(f).cast(), FuncIndex::from_u32(funcs), cost(wanted));
                    funcs += 1;
                }
                Import::Extern(Extern::Func(f)) => {
                    let index = FuncIndex::from_u32(funcs);
                    let func_ref = f.checked(&*store)?;
                    if (*func_ref).kind == FuncKind::Host as u32 {
                        // The store keeps the function already. It learns of its new importer by a binding of its own.
                        bind_host(this, (*(*func_ref).ctx.cast::<VMExitContext>()).data.cast(), index, cost(wanted));
                    } else {
                        let stubs = &module.import_stubs[index.index()];
                        let owner = (*func_ref).vmctx.cast::<VMContextHead>();
                        let owners = &(*crate::instance::instance(owner)).module;
                        if (*func_ref).ctx != owners.hidden(owner)
                            && let Some(code) = exit_code(&*(*func_ref).ctx.cast(), stubs)
                        {
                            // A function without native code: from now on there are stubs for it.
                            (*func_ref).code = code;
                        }
                        let VMFuncRef { code, ctx, .. } = *func_ref;
                        *at(vmctx, module.offsets.imported_function(index)) = VMFunctionImport { code, ctx, func_ref };
                    }
                    funcs += 1;
                }
                Import::Extern(Extern::Table(t)) => {
                    let place = t.place(&*store)?;
                    *at(vmctx, module.offsets.imported_table(TableIndex::from_u32(tables))) = t.definition();
                    (*this).imported_tables.push(place);
                    tables += 1;
                }
                Import::Extern(Extern::Memory(m)) => {
                    let place = m.place(&*store)?;
                    *at(vmctx, module.offsets.imported_memory(MemoryIndex::from_u32(memories))) = m.definition();
                    (*this).imported_memories.push(place);
                    memories += 1;
                }
                Import::Extern(Extern::SharedMemory(m)) => {
                    let owner = shared_memory_instance(store, m)?;
                    *at(vmctx, module.offsets.imported_memory(MemoryIndex::from_u32(memories))) = m.definition();
                    (*this).imported_memories.push((owner, DefinedMemoryIndex::from_u32(0)));
                    memories += 1;
                }
                Import::Extern(Extern::Global(g)) => {
                    let (definition, ty) = g.checked(&*store)?;
                    *at(vmctx, module.offsets.imported_global(GlobalIndex::from_u32(globals))) = definition;
                    (*this).imported_globals.push(ty);
                    globals += 1;
                }
                Import::Extern(Extern::Tag(t)) => {
                    ensure!(t.type_id(&*store).is_ok(), wrong_store("tag"));
                    *at(vmctx, module.offsets.imported_tag(TagIndex::from_u32(tags))) = t.definition();
                    tags += 1;
                }
            }
        }
    }
    Ok(())
}

/// Binds the host functions that are all that the instance imports.
unsafe fn bind_hosts(this: *mut InstanceData, hosts: &HostBindings) {
    // SAFETY: by the caller, the bindings are those of this module's imports.
    unsafe {
        let (store, vmctx, module) = ((*this).store, (*this).vmctx, &*Arc::as_ptr(&(*this).module));
        // Who gave the imports has given what keeps them, too.
        debug_assert!((*this).host_funcs.is_some());
        (*this).bindings = hosts.0.to_vec();
        let imports: *mut VMFunctionImport = at(vmctx, module.offsets.imported_function(FuncIndex::from_u32(0)));
        let bindings = (*this).bindings.as_mut_ptr();
        for i in 0..hosts.0.len() {
            let binding = bindings.add(i);
            ExitBinding::bind(binding, store, vmctx);
            ExitBinding::tie(binding);
            let VMFuncRef { code, ctx, .. } = (*binding).func_ref;
            imports.add(i).write(VMFunctionImport { code, ctx, func_ref: &raw mut (*binding).func_ref });
        }
    }
}

/// Binds a host function to the instance that imports it.
unsafe fn bind_host(this: *mut InstanceData, host: *const HostFunc<()>, index: FuncIndex, cost: i64) {
    // SAFETY: by the caller; `bindings` has the capacity for all, so that none moves.
    unsafe {
        let (store, vmctx, module) = ((*this).store, (*this).vmctx, &*Arc::as_ptr(&(*this).module));
        let mut stubs = module.import_stubs[index.index()];
        if !stubs.has_exit() {
            stubs = (*store).stubs((*host).type_id);
        }
        let bindings = &mut (*this).bindings;
        debug_assert!(bindings.len() < bindings.capacity());
        bindings.push(ExitBinding::new(store, host, vmctx, index.as_u32(), &stubs));
        if let Some(binding) = bindings.last_mut() {
            binding.cost = cost;
        }
        let binding = bindings.as_mut_ptr().add(bindings.len() - 1);
        ExitBinding::tie(binding);
        let VMFuncRef { code, ctx, .. } = (*binding).func_ref;
        let func_ref = &raw mut (*binding).func_ref;
        *at(vmctx, module.offsets.imported_function(index)) = VMFunctionImport { code, ctx, func_ref };
    }
}

/// Fills the references to the module's own functions.
unsafe fn func_refs(this: *mut InstanceData) {
    // SAFETY: by the caller; `exit_contexts` has its size from the start, so that none moves.
    unsafe {
        let (vmctx, store, module) = ((*this).vmctx, (*this).store, &*Arc::as_ptr(&(*this).module));
        if module.func_refs.is_empty() {
            return;
        }
        let refs: *mut VMFuncRef = at(vmctx, module.offsets.func_ref(FuncRefIndex::from_u32(0)));
        for (i, t) in module.func_refs.iter().enumerate() {
            let code = std::ptr::with_exposed_provenance(t.code);
            let (type_id, kind, func_index) = (t.type_id, t.kind, t.func_index);
            refs.add(i).write(VMFuncRef { code, ctx: module.hidden(vmctx), vmctx: vmctx.cast(), type_id, kind, func_index, reserved: 0 });
        }
        if matches!(module.code, Code::Loaded(_)) {
            return;
        }
        let exits = &mut (*this).exit_contexts;
        let context: *mut VMStoreContext = &raw mut *(*store).vm.context;
        exits.extend(module.func_refs.iter().map(|t| VMExitContext {
            array_fn: exec::interpreted_exit_fn(),
            typed_fn: std::ptr::null(),
            store: context,
            vmctx: vmctx.cast(),
            data: std::ptr::null_mut(),
            type_id: t.type_id,
            func_index: t.func_index,
        }));
        let exits = exits.as_mut_ptr();
        for (i, t) in module.func_refs.iter().enumerate() {
            let (func_ref, exit) = (refs.add(i), exits.add(i));
            (*func_ref).ctx = exit.cast();
            if let Some(code) = exit_code(&*exit, &(*store).stubs(t.type_id)) {
                (*func_ref).code = code;
            }
        }
    }
}

/// How the memories of a module are made.
fn memory_config(module: &ModuleInner) -> MemoryConfig<'_> {
    MemoryConfig { static_memory: module.static_memory, pool: Some(module.engine.pool()), ..MemoryConfig::default() }
}

/// What a new instance's memory holds in the beginning. To be asked once for each.
fn initial(module: &ModuleInner, index: DefinedMemoryIndex) -> Initial<'_> {
    match module.image(index) {
        Some(image) => Initial::Image(image),
        None => module.own_image(index),
    }
}

/// Makes the memories, with their images.
unsafe fn memories(this: *mut InstanceData) -> Result<()> {
    // SAFETY: by the caller.
    unsafe {
        let module = &*Arc::as_ptr(&(*this).module);
        let config = memory_config(module);
        let account = &raw mut (*(*this).store).account;
        let imported = module.env.num_imported_memories as usize;
        for (i, ty) in module.env.memories[imported..].iter().enumerate() {
            let index = DefinedMemoryIndex::from_u32(i as u32);
            if ty.shared {
                // Never with an image: a private mapping of a file is a copy for each instance that maps it.
                let limiter = (*account).limiter();
                define_shared(this, index, SharedMemory::with_config(&module.engine, *ty, &config, limiter)?);
                continue;
            }
            (*account).acquire_memory(ty)?;
            let reservation = module.offsets.lies_behind(module.env.memory_index(index)).then(|| (*this).reservation.take()).flatten();
            let initial = match &reservation {
                // Whether it has the image of all instances was decided when it was made.
                Some(_) => module.own_image(index),
                None => initial(module, index),
            };
            let memory = MemoryStorage::place(ty, &config, initial, reservation)?;
            *at((*this).vmctx, module.offsets.memory(index)) = memory.definition();
            (*this).memories.push(InstanceMemory::Own(memory));
        }
    }
    Ok(())
}

/// Makes the tables that are not closed; `init` gives the first value of the elements of each.
unsafe fn tables(this: *mut InstanceData, init: impl Fn(usize) -> u64) -> Result<()> {
    // SAFETY: by the caller.
    unsafe {
        let module = &*Arc::as_ptr(&(*this).module);
        let imported = module.env.num_imported_tables as usize;
        for (i, ty) in module.env.tables[imported..].iter().enumerate() {
            let index = DefinedTableIndex::from_u32(i as u32);
            // A closed table counts as any other: how it is kept must not decide what may be used.
            let account = &mut (*(*this).store).account;
            account.acquire_table(ty)?;
            // A few bytes declare a table that takes a while to fill.
            if (*(*this).store).vm.interrupt.is_interrupted() {
                return Err(vm::interrupt::interrupted_before());
            }
            let (table, definition) = match module.env.closed_table(module.env.table_index(index)) {
                // Interpreted code still asks for the size.
                Some(closed) => (None, VMTableDefinition { base: std::ptr::null_mut(), current_elements: closed.elements.len() as u64 }),
                None => {
                    let table = TableStorage::new(ty, init(i))?;
                    let definition = table.definition();
                    (Some(table), definition)
                }
            };
            *at((*this).vmctx, module.offsets.table(index)) = definition;
            (*this).tables.push(table);
        }
    }
    Ok(())
}

/// Tells the handler of faults where the memories are.
unsafe fn reserve(this: *mut InstanceData) {
    // SAFETY: by the caller.
    unsafe {
        let vm = &mut (*(*this).store).vm;
        for memory in &(*this).memories {
            vm.add_reserved(memory.reserved());
        }
    }
}

/// The value of a constant expression. Validation has seen to types and indices.
///
/// # Safety
/// `this` is an instance whose imports, and the globals that come before the expression, are filled in.
unsafe fn evaluate(this: *mut InstanceData, expr: &ConstExpr) -> ValRaw {
    // SAFETY: the caller's.
    let vmctx = unsafe { (*this).vmctx };
    let mut stack: SmallVec<[ValRaw; 8]> = SmallVec::new();
    for op in &expr.ops {
        let mut binary = |f: fn(u64, u64) -> ValRaw| {
            let (b, a) = (stack.pop().unwrap_or_default(), stack.pop().unwrap_or_default());
            f(a.lo, b.lo)
        };
        let value = match *op {
            ConstOp::I32Const(v) => ValRaw::i32(v),
            ConstOp::I64Const(v) => ValRaw::i64(v),
            ConstOp::F32Const(v) => ValRaw::f32_bits(v),
            ConstOp::F64Const(v) => ValRaw::f64_bits(v),
            ConstOp::V128Const(v) => ValRaw::v128(v),
            // SAFETY: by the caller; earlier globals and all imports are there.
            ConstOp::GlobalGet(i) => unsafe { (*ops::global(vmctx, i)).value },
            ConstOp::RefNull(_) => ValRaw::u64(0),
            // SAFETY: by the caller; the references are there.
            ConstOp::RefFunc(i) => ValRaw::u64(unsafe { ops::func_ref(vmctx, i) } as u64),
            ConstOp::I32Add => binary(|a, b| ValRaw::u32((a as u32).wrapping_add(b as u32))),
            ConstOp::I32Sub => binary(|a, b| ValRaw::u32((a as u32).wrapping_sub(b as u32))),
            ConstOp::I32Mul => binary(|a, b| ValRaw::u32((a as u32).wrapping_mul(b as u32))),
            ConstOp::I64Add => binary(|a, b| ValRaw::u64(a.wrapping_add(b))),
            ConstOp::I64Sub => binary(|a, b| ValRaw::u64(a.wrapping_sub(b))),
            ConstOp::I64Mul => binary(|a, b| ValRaw::u64(a.wrapping_mul(b))),
        };
        stack.push(value);
    }
    stack.pop().unwrap_or_default()
}

/// The elements of a segment.
unsafe fn items(this: *mut InstanceData, items: &ElementItems) -> Box<[u64]> {
    // SAFETY: by the caller; the references are there.
    unsafe {
        match items {
            ElementItems::Functions(f) => f.iter().map(|i| ops::func_ref((*this).vmctx, *i) as u64).collect(),
            ElementItems::Expressions(_, e) => e.iter().map(|e| evaluate(this, e).lo).collect(),
        }
    }
}

/// An offset in a memory or table: an i32 is unsigned.
unsafe fn offset(this: *mut InstanceData, expr: &ConstExpr) -> u64 {
    // SAFETY: by the caller.
    expr.as_constant_offset().unwrap_or_else(|| unsafe { evaluate(this, expr).lo })
}

/// All that can be seen from outside.
unsafe fn initialize(this: *mut InstanceData) -> Result<()> {
    // SAFETY: by the caller.
    unsafe {
        let (vmctx, store, module) = ((*this).vmctx, (*this).store, &*Arc::as_ptr(&(*this).module));
        let trap = |code: TrapCode| crate::Error::from(Trap::from(code));
        // Passive segments first: an active one that traps does not keep them from being there for who calls later.
        for (i, segment) in module.env.elements.iter().enumerate() {
            if let SegmentMode::Passive = segment.mode {
                (&mut (*this).elem_segments)[i] = items(this, &segment.items);
            }
        }
        for segment in &module.env.elements {
            if let SegmentMode::Active { target, offset: at } = &segment.mode {
                // The elements of a closed table are in the code already.
                if module.env.closed_table(*target).is_some() {
                    continue;
                }
                let items = items(this, &segment.items);
                let to = ops::elements(ops::table_definition(vmctx, *target), offset(this, at), items.len() as u64).map_err(trap)?;
                to.copy_from_nonoverlapping(items.as_ptr(), items.len());
            }
        }
        if module.active_data.memories.iter().all(|m| in_image(this, *m)) {
            (*this).dropped_data = DroppedData::Active;
        } else {
            for (i, segment) in module.env.data.iter().enumerate() {
                if let SegmentMode::Active { target, offset: at } = &segment.mode {
                    let index = DataIndex::from_u32(i as u32);
                    if !in_image(this, *target) {
                        let data = module.data(index);
                        ops::write_data(vmctx, *target, offset(this, at), data).map_err(trap)?;
                    }
                    ops::data_drop(vmctx, index);
                }
            }
        }
        if let Some(func) = module.env.start {
            let mut args = [ValRaw::default()];
            let status = exec::enter_function(store, Callee::Direct { vmctx, func }, args.as_mut_ptr());
            if status != STATUS_OK {
                return Err(StoreOpaque::take_error(store, status));
            }
        }
    }
    Ok(())
}

/// Whether the active segments of a memory are part of its image.
unsafe fn in_image(this: *mut InstanceData, memory: MemoryIndex) -> bool {
    // SAFETY: by the caller, `this` is an instance that has its memories.
    unsafe {
        let index = (*Arc::as_ptr(&(*this).module)).env.defined_memory(memory);
        let memories = &(*this).memories;
        let own = index.and_then(|i| memories.get(i.index()));
        matches!(own, Some(InstanceMemory::Own(memory)) if memory.has_image())
    }
}

#[cfg(test)]
mod tests {
    use crate::*;

    fn engine() -> Engine {
        Engine::new(Config::new().tier(Tier::Interpreted)).unwrap()
    }

    fn module(engine: &Engine, text: &str) -> Module {
        Module::new(engine, wat::parse_str(text).unwrap()).unwrap()
    }

    fn instances(store: &Store<()>) -> usize {
        store.as_context().opaque().instances.iter().count()
    }

    #[test]
    fn an_instance_stays_once_others_may_refer_to_it() {
        let engine = engine();
        let mut store = Store::new(&engine, ());
        let cannot_allocate = module(&engine, "(module (memory 1) (table 10000001 funcref))");
        Instance::new(&mut store, &cannot_allocate, &[]).unwrap_err();
        assert_eq!(instances(&store), 0);
        let traps = module(&engine, "(module (func $f unreachable) (start $f))");
        Instance::new(&mut store, &traps, &[]).unwrap_err();
        assert_eq!(instances(&store), 1);
        let works = module(&engine, r#"(module (func (export "f") (result i32) (i32.const 3)))"#);
        let i = Instance::new(&mut store, &works, &[]).unwrap();
        assert_eq!(i.get_typed_func::<(), i32>(&mut store, "f").unwrap().call(&mut store, ()).unwrap(), 3);
    }

    #[test]
    fn constant_expressions_wrap() {
        let engine = engine();
        let mut store = Store::new(&engine, ());
        let m = module(
            &engine,
            r#"(module
                (global (export "a") i32 (i32.add (i32.const 0x7fffffff) (i32.const 1)))
                (global (export "b") i32 (i32.sub (i32.const -0x80000000) (i32.const 1)))
                (global (export "c") i64 (i64.mul (i64.const 0x4000000000000000) (i64.const 2)))
                (global (export "d") i64 (i64.sub (i64.add (i64.const 5) (i64.const 6)) (i64.const 12))))"#,
        );
        let i = Instance::new(&mut store, &m, &[]).unwrap();
        let mut get = |name| i.get_global(&mut store, name).unwrap().get(&mut store);
        assert_eq!((get("a").i32(), get("b").i32()), (Some(i32::MIN), Some(i32::MAX)));
        assert_eq!((get("c").i64(), get("d").i64()), (Some(i64::MIN), Some(-1)));
    }
}
