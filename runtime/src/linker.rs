//! The linker: finds what a module imports by name, among host functions, things of the store, and the exports of
//! instances that were given a name. What it does not find it describes, with what is defined under a similar name.

use crate::Result;
use crate::caller::Caller;
use crate::context::{AsContext, AsContextMut};
use crate::engine::Engine;
use crate::error::{NameOwner, NameTaken, SimilarName, UnknownImport};
use crate::extern_::Extern;
use crate::func::{AnyHostFunc, Func, dynamic_func};
use crate::instance::Instance;
use crate::instantiate::{self, HostBindings, Import, Imports};
use crate::into_func::{IntoFunc, IntoFuncAfter, Quick};
use crate::module::{Module, ModuleInner};
use crate::named::initialize;
use crate::shared_memory::SharedMemory;
use crate::similar::nearest;
use crate::types::{ExternType, ImportType};
use anyhow::{Context as _, bail};
use smallvec::SmallVec;
use std::collections::{BTreeMap, HashMap};
use std::marker::PhantomData;
use std::sync::Arc;
use wasmc_environ::types::{EntityType, FuncType};

/// What a name stands for.
#[derive(Clone)]
pub(crate) enum Definition {
    /// Something of a store.
    Extern(Extern),
    /// A host function that is not bound to a store yet.
    Host(Arc<AnyHostFunc>),
    /// Host functions of different types, at least one, of which an import gets the one of its type.
    Overloads(Vec<Arc<AnyHostFunc>>),
}

/// Names for what modules import, in stores whose data has type `T`.
pub struct Linker<T: 'static> {
    engine: Engine,
    /// By module, then by name.
    modules: HashMap<Box<str>, HashMap<Box<str>, Definition>>,
    /// The instances that were given a name, by it.
    named: BTreeMap<Box<str>, Instance>,
    allow_shadowing: bool,
    data: PhantomData<fn(T)>,
}

impl<T: 'static> Clone for Linker<T> {
    fn clone(&self) -> Self {
        let Self { engine, modules, named, allow_shadowing, data } = self;
        Self { engine: engine.clone(), modules: modules.clone(), named: named.clone(), allow_shadowing: *allow_shadowing, data: *data }
    }
}

impl<T: 'static> Linker<T> {
    /// An empty linker.
    pub fn new(engine: &Engine) -> Self {
        let (modules, named) = (HashMap::new(), BTreeMap::new());
        Self { engine: engine.clone(), modules, named, allow_shadowing: false, data: PhantomData }
    }

    /// The engine that the linker was made with.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whether a definition may replace one of the same name. It may not unless this says so: then it is an error.
    pub fn allow_shadowing(&mut self, allow: bool) -> &mut Self {
        self.allow_shadowing = allow;
        self
    }

    fn insert(&mut self, module: &str, name: &str, definition: Definition) -> Result<&mut Self> {
        let names = match self.modules.get_mut(module) {
            Some(names) => names,
            None => self.modules.entry(module.into()).or_default(),
        };
        if !self.allow_shadowing && names.contains_key(name) {
            return Err(taken(module, name));
        }
        names.insert(name.into(), definition);
        Ok(self)
    }

    /// Defines something of a store.
    ///
    /// # Errors
    /// If the name is taken, or it belongs to another store.
    pub fn define(&mut self, store: impl AsContext<Data = T>, module: &str, name: &str, item: impl Into<Extern>) -> Result<&mut Self> {
        let item = item.into();
        belongs(&store, &item).with_context(|| format!("cannot define `{module}`.`{name}`"))?;
        self.insert(module, name, Definition::Extern(item))
    }

    /// Defines a shared memory, which belongs to no store.
    ///
    /// # Errors
    /// If the name is taken, or the memory belongs to another engine.
    pub fn define_shared_memory(&mut self, module: &str, name: &str, memory: SharedMemory) -> Result<&mut Self> {
        memory.check_engine(&self.engine).with_context(|| format!("cannot define `{module}`.`{name}`"))?;
        self.insert(module, name, Definition::Extern(memory.into()))
    }

    /// Defines a host function from a closure, whose parameters and results give it its type. Its first parameter can be
    /// a [`Caller`].
    ///
    /// # Errors
    /// If the name is taken.
    pub fn func_wrap<Params, Results>(&mut self, module: &str, name: &str, f: impl IntoFunc<T, Params, Results>) -> Result<&mut Self> {
        let host = f.into_host_func(self.engine.registry());
        self.insert(module, name, Definition::Host(host))
    }

    /// As [`Linker::func_wrap`], with something that is tried first where compiled code calls; see [`Quick`].
    ///
    /// # Errors
    /// If the name is taken.
    #[doc(hidden)]
    pub fn func_wrap_after<Params, Results>(
        &mut self,
        module: &str,
        name: &str,
        quick: impl Quick<T, Params>,
        f: impl IntoFuncAfter<T, Params, Results>,
    ) -> Result<&mut Self> {
        let host = f.into_host_func_after(quick, self.engine.registry());
        self.insert(module, name, Definition::Host(host))
    }

    /// Defines a host function with a type known only at run time; see [`Func::new`].
    ///
    /// # Errors
    /// If the name is taken, or the type names a type that the engine does not have.
    pub fn func_new(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        f: impl Fn(Caller<'_, T>, &[crate::Val], &mut [crate::Val]) -> Result<()> + Send + Sync + 'static,
    ) -> Result<&mut Self> {
        let host = dynamic_func(self.engine.registry(), ty, f).with_context(|| format!("cannot define `{module}`.`{name}`"))?;
        self.insert(module, name, Definition::Host(host))
    }

    /// As [`Linker::func_wrap`], beside host functions of other types that have the name already: an import gets the one of its
    /// type, and where there is none, the error names the type of the first.
    ///
    /// # Errors
    /// If the name is taken by something else, or by a function of this type.
    pub fn func_wrap_overload<Params, Results>(
        &mut self,
        module: &str,
        name: &str,
        f: impl IntoFunc<T, Params, Results>,
    ) -> Result<&mut Self> {
        let host = f.into_host_func(self.engine.registry());
        self.overload(module, name, host)
    }

    /// As [`Linker::func_new`], beside functions of other types; see [`Linker::func_wrap_overload`].
    ///
    /// # Errors
    /// As for both.
    pub fn func_new_overload(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        f: impl Fn(Caller<'_, T>, &[crate::Val], &mut [crate::Val]) -> Result<()> + Send + Sync + 'static,
    ) -> Result<&mut Self> {
        let host = dynamic_func(self.engine.registry(), ty, f).with_context(|| format!("cannot define `{module}`.`{name}`"))?;
        self.overload(module, name, host)
    }

    fn overload(&mut self, module: &str, name: &str, host: Arc<AnyHostFunc>) -> Result<&mut Self> {
        let known = self.modules.get_mut(module).and_then(|names| names.get_mut(name));
        let known = match known {
            Some(known @ Definition::Host(_)) => {
                if let Definition::Host(first) = known {
                    *known = Definition::Overloads(vec![first.clone()]);
                }
                known
            }
            Some(known) => known,
            None => return self.insert(module, name, Definition::Host(host)),
        };
        match known {
            Definition::Overloads(list) if list.iter().all(|other| other.type_id != host.type_id) => list.push(host),
            _ => bail!("`{module}`.`{name}` is defined twice with the same type"),
        }
        Ok(self)
    }

    /// Defines all exports of an instance under a module name, so that other modules import from it, and enters the instance
    /// under that name: [`Linker::get_instance`] finds it.
    ///
    /// # Errors
    /// A [`NameTaken`] if another instance has the name already; if one of the names within is taken, or the instance belongs to
    /// another store. Then nothing is defined.
    pub fn instance(&mut self, mut store: impl AsContextMut<Data = T>, module: &str, instance: Instance) -> Result<&mut Self> {
        let mut store = store.as_context_mut();
        instance.check(store.opaque())?;
        let exports: Vec<(String, Extern)> = instance.exports(&mut store).map(|e| (e.name().to_owned(), e.into_extern())).collect();
        self.check_free(module, exports.iter().map(|(name, _)| name.as_str()))?;
        // A module without exports is known all the same.
        let names = self.modules.entry(module.into()).or_default();
        names.extend(exports.into_iter().map(|(name, item)| (name.into(), Definition::Extern(item))));
        self.named.insert(module.into(), instance);
        Ok(self)
    }

    /// Whether an instance with these exports can be given a name.
    fn check_free<'a>(&self, module: &str, mut exports: impl Iterator<Item = &'a str>) -> Result<()> {
        if self.allow_shadowing {
            return Ok(());
        }
        if self.named.contains_key(module) {
            return Err(NameTaken { name: module.to_owned(), by: NameOwner::Instance }.into());
        }
        match exports.find(|name| self.is_defined(module, name)) {
            Some(name) => Err(taken(module, name)),
            None => Ok(()),
        }
    }

    /// The instance that was given this name by [`Linker::instance`], [`Linker::module`] or [`Linker::modules`]. It lives as long
    /// as its store, whatever becomes of the linker.
    pub fn get_instance(&self, name: &str) -> Option<Instance> {
        self.named.get(name).copied()
    }

    /// The instances that were given names, in the order of the names.
    pub fn instances(&self) -> impl ExactSizeIterator<Item = (&str, Instance)> {
        self.named.iter().map(|(name, instance)| (&**name, *instance))
    }

    /// Who has a module name, if anybody does.
    pub fn name_owner(&self, module: &str) -> Option<NameOwner> {
        if self.named.contains_key(module) {
            return Some(NameOwner::Instance);
        }
        self.modules.contains_key(module).then_some(NameOwner::Host)
    }

    pub(crate) fn shadows(&self) -> bool {
        self.allow_shadowing
    }

    /// Instantiates a module and defines its exports under a name. If it exports a function `_initialize`, that is called
    /// first, as WASI's libraries expect.
    ///
    /// # Errors
    /// As [`Linker::instantiate`] and [`Linker::instance`], and if `_initialize` fails.
    pub fn module(&mut self, mut store: impl AsContextMut<Data = T>, name: &str, module: &Module) -> Result<&mut Self> {
        let mut store = store.as_context_mut();
        // Before anything of the module runs.
        self.check_free(name, module.inner.env.exports.iter().map(|e| e.name.as_str()))?;
        let instance = self.instantiate(&mut store, module)?;
        initialize(&mut store, instance)?;
        self.instance(&mut store, name, instance)
    }

    /// Gives what is defined as `module`.`name` a second name.
    ///
    /// # Errors
    /// If it is not defined, or the new name is taken.
    pub fn alias(&mut self, module: &str, name: &str, as_module: &str, as_name: &str) -> Result<&mut Self> {
        let Some(definition) = self.lookup(module, name).cloned() else {
            bail!("`{module}`.`{name}` is not defined");
        };
        self.insert(as_module, as_name, definition)
    }

    fn lookup(&self, module: &str, name: &str) -> Option<&Definition> {
        self.modules.get(module)?.get(name)
    }

    /// What is defined under a name. A host function becomes a function of the store; of several, the first.
    pub fn get(&self, mut store: impl AsContextMut<Data = T>, module: &str, name: &str) -> Option<Extern> {
        Some(match self.lookup(module, name)? {
            Definition::Extern(item) => item.clone(),
            // SAFETY: the store is borrowed uniquely, and its data has the type that the linker's functions take.
            Definition::Host(f) => Extern::Func(unsafe { Func::from_host(store.as_context_mut().raw(), f.clone()) }),
            // SAFETY: as above.
            Definition::Overloads(list) => Extern::Func(unsafe { Func::from_host(store.as_context_mut().raw(), list.first()?.clone()) }),
        })
    }

    /// Whether something is defined under a name.
    pub fn is_defined(&self, module: &str, name: &str) -> bool {
        self.lookup(module, name).is_some()
    }

    /// What is defined for an import.
    pub fn get_by_import(&self, store: impl AsContextMut<Data = T>, import: &ImportType<'_>) -> Option<Extern> {
        self.get(store, import.module, import.name)
    }

    /// All names: module and name.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.modules.iter().flat_map(|(m, names)| names.keys().map(move |n| (&**m, &**n)))
    }

    /// Finds what a module imports; `ty` finds types of things of the store, for the error.
    fn resolve(&self, module: &Module, ty: impl Fn(&Extern) -> Option<ExternType>) -> Result<Vec<Definition>> {
        let unknown = |i| self.describe_unknown(module, i, &[], &ty).into();
        let imports = module.inner.env.imports.iter().enumerate();
        let found = imports.map(|(i, import)| match self.lookup(&import.module, &import.name) {
            Some(Definition::Overloads(list)) => {
                let fits =
                    |f: &&Arc<AnyHostFunc>| matches!(import.ty, EntityType::Func(ty) if f.type_id == module.inner.type_ids[ty.index()]);
                let chosen = list.iter().find(fits).or(list.first());
                chosen.map(|f| Definition::Host(f.clone())).ok_or_else(|| unknown(i))
            }
            Some(definition) => Ok(definition.clone()),
            None => Err(unknown(i)),
        });
        found.collect()
    }

    /// Instantiates a module with the definitions that have the names of its imports.
    ///
    /// # Errors
    /// An [`UnknownImport`] for what is not defined, and as [`Instance::new`].
    pub fn instantiate(&self, store: impl AsContextMut<Data = T>, module: &Module) -> Result<Instance> {
        let imports = self.resolve(module, |item| type_in(&store, item))?;
        instantiate(store, module, &imports.into())
    }

    /// Finds what a module imports, so that many instances of it need not look it up again.
    ///
    /// # Errors
    /// An [`UnknownImport`] for what is not defined.
    pub fn instantiate_pre(&self, module: &Module) -> Result<InstancePre<T>> {
        let imports: Arc<[Definition]> = self.resolve(module, |_| None)?.into();
        let hosts = HostBindings::prepare(&module.inner, &imports).map(Arc::new);
        Ok(InstancePre { module: module.clone(), imports, hosts, data: PhantomData })
    }

    /// Defines every function import of a module that is not defined yet as one that fails when it is called.
    ///
    /// # Errors
    /// If a type names a type that the engine does not have.
    pub fn define_unknown_imports_as_traps(&mut self, module: &Module) -> Result<&mut Self> {
        for import in module.imports() {
            let Some(ty) = import.ty.func().filter(|_| self.lookup(import.module, import.name).is_none()) else { continue };
            let message = format!("unknown import: `{}`.`{}` was called, but is not defined", import.module, import.name);
            self.func_new(import.module, import.name, ty.clone(), move |_, _, _| bail!(message.clone()))?;
        }
        Ok(self)
    }

    /// The type of the host function that an import would get, if it is not the one that is wanted.
    pub(crate) fn host_type(&self, module: &ModuleInner, import: &wasmc_environ::module::Import) -> Option<ExternType> {
        let hosts = match self.lookup(&import.module, &import.name)? {
            Definition::Extern(_) => return None,
            Definition::Host(f) => std::slice::from_ref(f),
            Definition::Overloads(list) => list,
        };
        let fits = |f: &Arc<AnyHostFunc>| {
            let registry = self.engine.registry();
            matches!(import.ty, EntityType::Func(ty) if registry.is_subtype(f.type_id, module.type_ids[ty.index()]))
        };
        if hosts.iter().any(fits) {
            return None;
        }
        Some(ExternType::Func((*hosts.first()?.ty).clone()))
    }

    /// What is to be said about an import that nobody provides: also the `named` modules, which are yet to be instantiated, may
    /// have something near. `ty` finds types of things of the store.
    pub(crate) fn describe_unknown(
        &self,
        module: &Module,
        import: usize,
        named: &[(&str, &Module)],
        ty: impl Fn(&Extern) -> Option<ExternType>,
    ) -> UnknownImport {
        let import = &module.inner.env.imports[import];
        let exports = named.iter().flat_map(|(m, module)| module.inner.env.exports.iter().map(|e| (*m, &*e.name)));
        let similar = nearest(&import.module, &import.name, self.names().chain(exports));
        let type_of = |m: &str, n: &str| match self.lookup(m, n) {
            Some(Definition::Extern(item)) => ty(item),
            Some(Definition::Host(f)) => Some(ExternType::Func((*f.ty).clone())),
            Some(Definition::Overloads(list)) => Some(ExternType::Func((*list.first()?.ty).clone())),
            None => named.iter().find(|(name, _)| *name == m)?.1.get_export(n),
        };
        UnknownImport {
            importer: module.name().map(str::to_owned),
            module: import.module.clone(),
            name: import.name.clone(),
            ty: module.inner.engine_entity(import.ty),
            module_known: self.modules.contains_key(&*import.module) || named.iter().any(|(name, _)| *name == import.module),
            similar: similar
                .into_iter()
                .map(|(m, n)| SimilarName { module: m.to_owned(), name: n.to_owned(), ty: type_of(m, n) })
                .collect(),
        }
    }
}

#[cold]
fn taken(module: &str, name: &str) -> crate::Error {
    anyhow::anyhow!("`{module}`.`{name}` is defined twice; `Linker::allow_shadowing` lets the later definition win")
}

fn instantiate<T: 'static>(mut store: impl AsContextMut<Data = T>, module: &Module, given: &Arc<[Definition]>) -> Result<Instance> {
    let imports: SmallVec<[Import<'_>; 64]> = given
        .iter()
        .map(|d| match d {
            Definition::Extern(item) => Import::Extern(item),
            Definition::Host(f) => Import::Host(f),
            // `Linker::resolve` has chosen among them.
            Definition::Overloads(list) => Import::Host(&list[0]),
        })
        .collect();
    let store = store.as_context_mut().raw();
    // SAFETY: the store is borrowed uniquely, and its data has the type that the linker's functions take.
    unsafe { instantiate::instantiate(store, module, Imports::Each(&imports), Some(given)) }
}

/// The type of something, if it belongs to this store.
pub(crate) fn type_in(store: &impl AsContext, item: &Extern) -> Option<ExternType> {
    belongs(store, item).ok().map(|()| item.ty(store))
}

/// A module with what it imports, found by [`Linker::instantiate_pre`].
pub struct InstancePre<T: 'static> {
    module: Module,
    imports: Arc<[Definition]>,
    /// The imports once more, if all are host functions; `imports` keeps these.
    hosts: Option<Arc<HostBindings>>,
    data: PhantomData<fn(T)>,
}

impl<T: 'static> InstancePre<T> {
    /// Makes an instance.
    ///
    /// # Errors
    /// As [`Instance::new`]; also if the linker had something of another store defined for an import.
    pub fn instantiate(&self, mut store: impl AsContextMut<Data = T>) -> Result<Instance> {
        let opaque = store.as_context_mut().raw();
        match &self.hosts {
            // SAFETY: the store is borrowed uniquely, and its data has the type that the linker's functions take; the bindings were
            // prepared for this module and these imports. A tracer has shims of its own.
            Some(hosts) if unsafe { (*opaque).trace.is_none() } => unsafe {
                instantiate::instantiate(opaque, &self.module, Imports::Hosts(hosts), Some(&self.imports))
            },
            _ => instantiate(store, &self.module, &self.imports),
        }
    }

    /// The first import that belongs to a store: with one, instances can only be made there.
    pub fn bound_to_a_store(&self) -> Option<ImportType<'_>> {
        let bound = |d: &Definition| matches!(d, Definition::Extern(e) if !matches!(e, Extern::SharedMemory(_)));
        self.module.imports().zip(&*self.imports).find_map(|(import, d)| bound(d).then_some(import))
    }

    /// The module.
    pub fn module(&self) -> &Module {
        &self.module
    }
}

impl<T: 'static> Clone for InstancePre<T> {
    fn clone(&self) -> Self {
        Self { module: self.module.clone(), imports: self.imports.clone(), hosts: self.hosts.clone(), data: PhantomData }
    }
}

impl<T: 'static> std::fmt::Debug for InstancePre<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InstancePre").field("module", &self.module).finish_non_exhaustive()
    }
}

impl<T: 'static> std::fmt::Debug for Linker<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

fn belongs(store: &impl AsContext, item: &Extern) -> Result<()> {
    let store = store.as_context().opaque();
    match item {
        Extern::Func(f) => f.checked(store).map(drop),
        Extern::Table(t) => t.place(store).map(drop),
        Extern::Memory(m) => m.place(store).map(drop),
        Extern::SharedMemory(m) => m.check_engine(&store.engine),
        Extern::Global(g) => g.checked(store).map(drop),
        Extern::Tag(t) => t.type_id(store).map(drop),
    }
}
