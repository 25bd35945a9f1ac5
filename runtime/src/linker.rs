//! The linker: finds what a module imports by name, among host functions, things of the store, and the exports of
//! instances that were given a name. What it does not find it describes, with what is defined under a similar name.

use crate::Result;
use crate::caller::Caller;
use crate::context::{AsContext, AsContextMut};
use crate::engine::Engine;
use crate::error::UnknownImport;
use crate::extern_::Extern;
use crate::func::{AnyHostFunc, Func, dynamic_func};
use crate::instance::Instance;
use crate::instantiate::{self, Import};
use crate::into_func::IntoFunc;
use crate::module::Module;
use crate::shared_memory::SharedMemory;
use crate::types::ImportType;
use anyhow::{Context as _, bail};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;
use wasmc_environ::types::{EntityType, FuncType};

/// As many similar names as an error lists.
const MAX_SIMILAR: usize = 3;

#[derive(Clone)]
enum Definition {
    Extern(Extern),
    Host(Arc<AnyHostFunc>),
    /// Host functions of different types, at least one, of which an import gets the one of its type.
    Overloads(Vec<Arc<AnyHostFunc>>),
}

/// Names for what modules import, in stores whose data has type `T`.
pub struct Linker<T: 'static> {
    engine: Engine,
    /// By module, then by name.
    modules: HashMap<Box<str>, HashMap<Box<str>, Definition>>,
    allow_shadowing: bool,
    data: PhantomData<fn(T)>,
}

impl<T: 'static> Clone for Linker<T> {
    fn clone(&self) -> Self {
        Self { engine: self.engine.clone(), modules: self.modules.clone(), allow_shadowing: self.allow_shadowing, data: PhantomData }
    }
}

impl<T: 'static> Linker<T> {
    /// An empty linker.
    pub fn new(engine: &Engine) -> Self {
        Self { engine: engine.clone(), modules: HashMap::new(), allow_shadowing: false, data: PhantomData }
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
            bail!("`{module}`.`{name}` is defined twice; `Linker::allow_shadowing` lets the later definition win");
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

    /// Defines all exports of an instance under a module name, so that other modules import from it.
    ///
    /// # Errors
    /// If a name is taken, or the instance belongs to another store.
    pub fn instance(&mut self, mut store: impl AsContextMut<Data = T>, module: &str, instance: Instance) -> Result<&mut Self> {
        let mut store = store.as_context_mut();
        instance.check(store.opaque())?;
        let exports: Vec<(String, Extern)> = instance.exports(&mut store).map(|e| (e.name().to_owned(), e.into_extern())).collect();
        for (name, item) in exports {
            self.insert(module, &name, Definition::Extern(item))?;
        }
        // A module without exports is known all the same.
        self.modules.entry(module.into()).or_default();
        Ok(self)
    }

    /// Instantiates a module and defines its exports under a name. If it exports a function `_initialize`, that is called
    /// first, as WASI's libraries expect.
    ///
    /// # Errors
    /// As [`Linker::instantiate`] and [`Linker::instance`], and if `_initialize` fails.
    pub fn module(&mut self, mut store: impl AsContextMut<Data = T>, name: &str, module: &Module) -> Result<&mut Self> {
        let mut store = store.as_context_mut();
        let instance = self.instantiate(&mut store, module)?;
        if let Some(initialize) = instance.get_func(&mut store, "_initialize") {
            let initialize = initialize.typed::<(), ()>(&store).context("`_initialize` of a library")?;
            initialize.call(&mut store, ())?;
        }
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

    fn resolve(&self, module: &Module) -> Result<Vec<Definition>> {
        let imports = module.inner.env.imports.iter().enumerate();
        let found = imports.map(|(i, import)| match self.lookup(&import.module, &import.name) {
            Some(Definition::Overloads(list)) => {
                let fits =
                    |f: &&Arc<AnyHostFunc>| matches!(import.ty, EntityType::Func(ty) if f.type_id == module.inner.type_ids[ty.index()]);
                let chosen = list.iter().find(fits).or(list.first());
                chosen.map(|f| Definition::Host(f.clone())).ok_or_else(|| self.unknown(module, i))
            }
            Some(definition) => Ok(definition.clone()),
            None => Err(self.unknown(module, i)),
        });
        found.collect()
    }

    /// Instantiates a module with the definitions that have the names of its imports.
    ///
    /// # Errors
    /// An [`UnknownImport`] for what is not defined, and as [`Instance::new`].
    pub fn instantiate(&self, store: impl AsContextMut<Data = T>, module: &Module) -> Result<Instance> {
        instantiate(store, module, &self.resolve(module)?)
    }

    /// Finds what a module imports, so that many instances of it need not look it up again.
    ///
    /// # Errors
    /// An [`UnknownImport`] for what is not defined.
    pub fn instantiate_pre(&self, module: &Module) -> Result<InstancePre<T>> {
        Ok(InstancePre { module: module.clone(), imports: self.resolve(module)?.into(), data: PhantomData })
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

    #[cold]
    fn unknown(&self, module: &Module, import: usize) -> crate::Error {
        let import = &module.inner.env.imports[import];
        let mut similar: Vec<(usize, &str, &str)> =
            self.names().filter_map(|(m, n)| Some((similarity(&import.module, &import.name, m, n)?, m, n))).collect();
        similar.sort_unstable();
        similar.truncate(MAX_SIMILAR);
        UnknownImport {
            module: import.module.clone(),
            name: import.name.clone(),
            ty: module.inner.engine_entity(import.ty),
            module_known: self.modules.contains_key(&*import.module),
            similar: similar.into_iter().map(|(_, m, n)| (m.to_owned(), n.to_owned())).collect(),
        }
        .into()
    }
}

fn instantiate<T: 'static>(mut store: impl AsContextMut<Data = T>, module: &Module, imports: &[Definition]) -> Result<Instance> {
    let imports: SmallVec<[Import<'_>; 16]> = imports
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
    unsafe { instantiate::instantiate(store, module, &imports) }
}

/// A module with what it imports, found by [`Linker::instantiate_pre`].
pub struct InstancePre<T: 'static> {
    module: Module,
    imports: Arc<[Definition]>,
    data: PhantomData<fn(T)>,
}

impl<T: 'static> InstancePre<T> {
    /// Makes an instance.
    ///
    /// # Errors
    /// As [`Instance::new`]; also if the linker had something of another store defined for an import.
    pub fn instantiate(&self, store: impl AsContextMut<Data = T>) -> Result<Instance> {
        instantiate(store, &self.module, &self.imports)
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
        Self { module: self.module.clone(), imports: self.imports.clone(), data: PhantomData }
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

/// How far a definition is from an import, if it is near enough to be meant: the same name in another module, or a name
/// that is at most a third different.
fn similarity(module: &str, name: &str, in_module: &str, defined: &str) -> Option<usize> {
    let far = usize::from(module != in_module);
    if name == defined {
        return Some(far);
    }
    // Names are untrusted and can be huge; a suggestion for one that long helps nobody.
    if name.len() > 256 || defined.len() > 256 {
        return None;
    }
    let same = name.eq_ignore_ascii_case(defined);
    let distance = if same { 1 } else { edit_distance(name, defined) };
    let near = distance <= (name.chars().count() / 3).max(1);
    near.then_some(distance * 2 + far)
}

/// How many characters must be inserted, removed or replaced, or neighbours swapped, to make `b` of `a`.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    let mut previous = None;
    for (i, x) in a.chars().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = above[j] + usize::from(x != *y);
            let mut best = replaced.min(above[j + 1] + 1).min(row[j] + 1);
            if j > 0 && previous == Some(*y) && b[j - 1] == x {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
        previous = Some(x);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_distances() {
        for (a, b, distance) in [("", "", 0), ("abc", "", 3), ("fd_wirte", "fd_write", 1), ("kitten", "sitting", 3), ("ab", "ba", 1)] {
            assert_eq!(edit_distance(a, b), distance, "{a} {b}");
            assert_eq!(edit_distance(b, a), distance, "{b} {a}");
        }
    }

    #[test]
    fn what_is_similar() {
        assert_eq!(similarity("env", "print", "env", "print"), Some(0));
        assert_eq!(similarity("env", "print", "host", "print"), Some(1));
        assert_eq!(similarity("env", "print", "env", "Print"), Some(2));
        assert_eq!(similarity("env", "print", "env", "sqrt"), None);
        assert_eq!(similarity("env", "a", "env", "b"), Some(2));
    }
}
