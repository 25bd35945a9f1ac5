//! Modules that import from each other: they are instantiated under their names in an order in which each finds what it
//! imports, whatever their order was. A circle has no such order, and is refused with the imports that close it; nothing runs
//! before all names and imports are known to be there.
//!
//! Lifetimes need no bookkeeping. An instance lives as long as its store, so whatever it uses of another one does too; the
//! instance keeps its module, and the module its engine. Dropping a linker or a handle of a module takes nothing from anybody.

use crate::Result;
use crate::context::{AsContext, AsContextMut};
use crate::engine::Engine;
use crate::error::{NameOwner, NameTaken, UnknownImport};
use crate::instance::Instance;
use crate::linker::{Linker, type_in};
use crate::matching::{global_fits, incompatible};
use crate::module::{Module, ModuleInner};
use crate::types::ExternType;
use anyhow::{Context as _, ensure};
use std::collections::HashMap;
use std::fmt;
use wasmc_environ::types::{EntityType, FuncType};

/// As many imports of a link as the error about a circle lists.
const MAX_LISTED: usize = 3;
/// As many missing imports of a module as are described: a description looks at all names.
const MAX_MISSING: usize = 16;

/// A module of a circle, and what it imports from the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircleLink {
    importer: String,
    from: String,
    imports: Vec<(String, ExternType)>,
}

impl CircleLink {
    /// Name of the importing module.
    pub fn importer(&self) -> &str {
        &self.importer
    }

    /// Name of the module that it imports from.
    pub fn from(&self) -> &str {
        &self.from
    }

    /// What it imports from there: names and types.
    pub fn imports(&self) -> impl ExactSizeIterator<Item = (&str, &ExternType)> {
        self.imports.iter().map(|(name, ty)| (name.as_str(), ty))
    }
}

/// Modules import from each other in a circle, so that none of them can be instantiated before the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportCircle {
    links: Vec<CircleLink>,
}

impl ImportCircle {
    /// The modules of the circle: each imports from the next, and the last from the first.
    pub fn links(&self) -> &[CircleLink] {
        &self.links
    }
}

impl fmt::Display for ImportCircle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("modules import from each other in a circle, so that none can be instantiated first: ")?;
        for (i, CircleLink { importer, from, imports }) in self.links.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}`{importer}` imports from `{from}`")?;
            for (i, (name, ty)) in imports.iter().take(MAX_LISTED).enumerate() {
                write!(f, "{} `{name}` ({ty})", if i == 0 { "" } else { "," })?;
            }
            if let Some(more) = imports.len().checked_sub(MAX_LISTED + 1) {
                write!(f, " and {} more", more + 1)?;
            }
        }
        f.write_str("; break the circle by moving what both sides need into a module of its own, or by passing functions in a table")
    }
}

impl std::error::Error for ImportCircle {}

impl<T: 'static> Linker<T> {
    /// Instantiates modules under names, each after those that it imports from; returns the instances in the order in which the
    /// modules were given. As [`Linker::module`] does, it calls `_initialize` of each right after its instantiation.
    ///
    /// # Errors
    /// A [`NameTaken`] if two have one name, or the linker knows a module of that name; an [`ImportCircle`]; an
    /// [`InvalidInitialize`]; an [`UnknownImport`] for what neither the linker nor one of the modules provides; an
    /// [`IncompatibleImport`](crate::IncompatibleImport), as [`Linker::check_imports`]. In these cases nothing was instantiated. Otherwise as
    /// [`Linker::module`]; then those that were instantiated before stay.
    pub fn modules(&mut self, mut store: impl AsContextMut<Data = T>, named: &[(&str, &Module)]) -> Result<Vec<Instance>> {
        let mut store = store.as_context_mut();
        let order = self.order(named)?;
        for (_, module) in named {
            if let Some(unknown) = self.missing_imports(&store, named, module).into_iter().next() {
                return Err(unknown.into());
            }
            self.check_imports(named, module)?;
        }
        let mut instances: Vec<Option<Instance>> = vec![None; named.len()];
        for i in order {
            let (name, module) = named[i];
            self.module(&mut store, name, module).with_context(|| format!("cannot instantiate the module `{name}`"))?;
            instances[i] = self.get_instance(name);
        }
        Ok(instances.into_iter().flatten().collect())
    }

    /// What a module imports that would be missing even once the `named` modules are instantiated: neither they nor the linker
    /// provide it. At most the first 16.
    pub fn missing_imports(&self, store: impl AsContext<Data = T>, named: &[(&str, &Module)], module: &Module) -> Vec<UnknownImport> {
        let by_name: HashMap<&str, &Module> = named.iter().copied().collect();
        let imports = module.inner.env.imports.iter().enumerate();
        let missing = imports.filter(|(_, import)| match by_name.get(import.module.as_str()) {
            Some(module) if module.inner.export(&import.name).is_some() => false,
            Some(_) if !self.shadows() => true,
            _ => !self.is_defined(&import.module, &import.name),
        });
        missing.take(MAX_MISSING).map(|(i, _)| self.describe_unknown(module, i, named, |item| type_in(&store, item))).collect()
    }

    /// Whether what a module imports from the `named` modules, or as host functions, has the types that it wants, as far as
    /// that is known before anything is instantiated: the sizes of tables and memories are not.
    ///
    /// # Errors
    /// An [`IncompatibleImport`](crate::IncompatibleImport) for the first one that has not.
    pub fn check_imports(&self, named: &[(&str, &Module)], module: &Module) -> Result<()> {
        let by_name: HashMap<&str, &Module> = named.iter().copied().collect();
        for import in &module.inner.env.imports {
            let exported = by_name.get(import.module.as_str()).and_then(|m| Some((*m, m.inner.export(&import.name)?)));
            let found = match exported {
                Some((exporter, index)) => {
                    let found = exporter.inner.env.entity_type(index);
                    if fits(&module.inner, import.ty, &exporter.inner, found) {
                        continue;
                    }
                    exporter.inner.engine_entity(found)
                }
                None => match self.host_type(&module.inner, import) {
                    Some(found) => found,
                    None => continue,
                },
            };
            return Err(incompatible(&module.inner, import, found).into());
        }
        Ok(())
    }

    /// Whether modules can be given their names and be instantiated one after the other, as far as that can be known before.
    ///
    /// # Errors
    /// A [`NameTaken`], an [`ImportCircle`] or an [`InvalidInitialize`], as [`Linker::modules`].
    pub fn check_modules(&self, named: &[(&str, &Module)]) -> Result<()> {
        self.order(named).map(drop)
    }

    fn order(&self, named: &[(&str, &Module)]) -> Result<Vec<usize>> {
        self.check_names(named)?;
        for (name, module) in named {
            ensure!(Engine::same(module.engine(), self.engine()), "the module `{name}` was made with another engine than the linker");
            has_initialize(module).with_context(|| format!("cannot instantiate the module `{name}`"))?;
        }
        Ok(order(named)?)
    }

    fn check_names(&self, named: &[(&str, &Module)]) -> Result<(), NameTaken> {
        let taken = |name: &str, by| Err(NameTaken { name: name.to_owned(), by });
        for (i, (name, _)) in named.iter().enumerate() {
            if named[..i].iter().any(|(other, _)| other == name) {
                return taken(name, NameOwner::Sibling);
            }
            if let Some(by) = self.name_owner(name).filter(|_| !self.shadows()) {
                return taken(name, by);
            }
        }
        Ok(())
    }
}

/// A library exports something as `_initialize` that is not a function without parameters and results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidInitialize {
    found: ExternType,
}

impl InvalidInitialize {
    /// The type of what is exported.
    pub fn found(&self) -> &ExternType {
        &self.found
    }
}

impl fmt::Display for InvalidInitialize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`_initialize` of a library must be a function () -> (), but is a {}", self.found)
    }
}

impl std::error::Error for InvalidInitialize {}

/// Whether a module is prepared by a function `_initialize`, as WASI's convention for reactors has it.
fn has_initialize(module: &Module) -> Result<bool, InvalidInitialize> {
    let Some(found) = module.get_export("_initialize") else { return Ok(false) };
    if found == ExternType::Func(FuncType::new([], [])) { Ok(true) } else { Err(InvalidInitialize { found }) }
}

/// Calls `_initialize`, if the instance exports it.
///
/// # Errors
/// If it has parameters or results, or fails.
pub(crate) fn initialize(mut store: impl AsContextMut, instance: Instance) -> Result<()> {
    let mut store = store.as_context_mut();
    if !has_initialize(&instance.module(&store))? {
        return Ok(());
    }
    match instance.get_func(&mut store, "_initialize") {
        Some(function) => function.call(&mut store, &[], &mut []),
        None => Ok(()),
    }
}

/// Whether an export has the type that an import wants (specification 3.0, "Import Matching"), sizes left out.
fn fits(importer: &ModuleInner, wanted: EntityType, exporter: &ModuleInner, found: EntityType) -> bool {
    let registry = importer.engine.registry();
    match (wanted, found) {
        (EntityType::Func(wanted), EntityType::Func(found)) => {
            registry.is_subtype(exporter.type_ids[found.index()], importer.type_ids[wanted.index()])
        }
        (EntityType::Tag(wanted), EntityType::Tag(found)) => exporter.type_ids[found.ty.index()] == importer.type_ids[wanted.ty.index()],
        (EntityType::Global(wanted), EntityType::Global(found)) => {
            global_fits(registry, importer.engine_global(wanted), exporter.engine_global(found))
        }
        (EntityType::Table(wanted), EntityType::Table(found)) => {
            let (wanted, found) = (importer.engine_table(wanted), exporter.engine_table(found));
            wanted.element == found.element && wanted.table64 == found.table64
        }
        (EntityType::Memory(wanted), EntityType::Memory(found)) => {
            (wanted.memory64, wanted.shared, wanted.page_size_log2) == (found.memory64, found.shared, found.page_size_log2)
        }
        _ => false,
    }
}

/// The order in which modules can be instantiated: depth first, so that it is the given one wherever that is possible.
fn order(named: &[(&str, &Module)]) -> Result<Vec<usize>, ImportCircle> {
    let by_name: HashMap<&str, usize> = named.iter().enumerate().map(|(i, (name, _))| (*name, i)).collect();
    let needs: Vec<Vec<usize>> = named
        .iter()
        .map(|(_, module)| {
            let mut needs: Vec<usize> = module.inner.env.imports.iter().filter_map(|i| by_name.get(i.module.as_str()).copied()).collect();
            needs.sort_unstable();
            needs.dedup();
            needs
        })
        .collect();
    #[derive(Copy, Clone, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let mut state = vec![State::New; named.len()];
    let mut order = Vec::with_capacity(named.len());
    for root in 0..named.len() {
        if state[root] != State::New {
            continue;
        }
        // A path from the root, with the next dependency to look at: a stack of our own, since there may be many modules.
        let mut path = vec![(root, 0)];
        state[root] = State::Open;
        while let Some((module, next)) = path.last_mut() {
            let Some(need) = needs[*module].get(*next).copied() else {
                state[*module] = State::Done;
                order.push(*module);
                path.pop();
                continue;
            };
            *next += 1;
            match state[need] {
                State::Done => {}
                State::New => {
                    state[need] = State::Open;
                    path.push((need, 0));
                }
                State::Open => {
                    let start = path.iter().position(|(module, _)| *module == need).unwrap_or(0);
                    let circle: Vec<usize> = path[start..].iter().map(|(module, _)| *module).collect();
                    return Err(circle_of(named, &circle));
                }
            }
        }
    }
    Ok(order)
}

#[cold]
fn circle_of(named: &[(&str, &Module)], circle: &[usize]) -> ImportCircle {
    let links = circle.iter().enumerate().map(|(i, importer)| {
        let from = named[circle[(i + 1) % circle.len()]].0;
        let (importer, module) = named[*importer];
        let imports = module.imports().filter(|i| i.module == from).map(|i| (i.name.to_owned(), i.ty)).collect();
        CircleLink { importer: importer.to_owned(), from: from.to_owned(), imports }
    });
    ImportCircle { links: links.collect() }
}
