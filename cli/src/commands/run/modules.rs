//! `--module` and `--plugin`: modules that are instantiated under names for the program, and for each other, to import from, and
//! native libraries that define some. Everything that can be known to be wrong is found before anything runs: names that are
//! taken, circles, imports that nothing provides.

use crate::exit::{ExitCode, usage, with_code};
use crate::options::NamedModule;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use wasmc_plugin::Plugin;
use wasmc_runtime::{AsContextMut, Engine, Linker, Module, Store, UnknownImport};
use wasmc_wasi::{WasiCtx, WasiCtxBuilder};

/// Names that only wasmc itself defines.
const HOST_MODULES: [&str; 3] = ["wasi_snapshot_preview1", "wasi_unstable", "wasi"];

/// Where imports come from, beside WASI.
#[derive(Debug, Default, clap::Args)]
pub struct ModuleOpts {
    /// Instantiate another file under NAME, to import from; `_initialize` is called if it is exported. Such modules may import
    /// from each other in any order, but not in a circle.
    #[arg(long, value_name = "NAME=FILE")]
    module: Vec<NamedModule>,
    /// Load a plug-in, a native library that defines a module to import from. It is code in wasmc's own process, with all of
    /// wasmc's rights: load only what you trust. Nothing is ever searched or loaded without this option.
    #[arg(long, value_name = "FILE")]
    plugin: Vec<PathBuf>,
}

/// A module that is given a name.
pub struct Named<'a> {
    name: &'a str,
    /// Its file.
    pub path: &'a Path,
    /// The module.
    pub module: Module,
}

impl ModuleOpts {
    /// Loads the plug-ins and defines their functions.
    ///
    /// # Errors
    /// If one cannot be loaded, or its name is taken.
    pub fn plugins<T: 'static>(&self, linker: &mut Linker<T>) -> Result<Vec<Plugin>> {
        let mut plugins = Vec::new();
        for path in &self.plugin {
            // SAFETY: a plug-in is native code, and the user asks for this one to be run.
            let plugin = unsafe { Plugin::load(path) }?;
            if HOST_MODULES.contains(&plugin.module()) {
                let (path, module) = (path.display(), plugin.module());
                return Err(usage(format!("--plugin {path}: it defines the module `{module}`, which wasmc itself provides")));
            }
            plugin.add_to_linker(linker)?;
            plugins.push(plugin);
        }
        Ok(plugins)
    }

    /// Loads the files.
    ///
    /// # Errors
    /// If a name is taken, or a file cannot be loaded.
    pub fn load(&self, plugins: &[Plugin], mut load: impl FnMut(&Path) -> Result<Module>) -> Result<Vec<Named<'_>>> {
        let mut named: Vec<Named<'_>> = Vec::new();
        for NamedModule { name, path } in &self.module {
            if HOST_MODULES.contains(&name.as_str()) {
                return Err(usage(format!(
                    "--module {name}={}: wasmc itself provides `{name}`, and nothing may take its place; choose another name",
                    path.display()
                )));
            }
            if let Some(other) = named.iter().find(|m| m.name == name) {
                return Err(usage(format!(
                    "--module {name}={}: the name is used twice; {} has it already",
                    path.display(),
                    other.path.display()
                )));
            }
            if let Some(plugin) = plugins.iter().find(|p| p.module() == name) {
                let (path, other) = (path.display(), plugin.path().display());
                return Err(usage(format!("--module {name}={path}: the plug-in {other} defines a module of that name")));
            }
            named.push(Named { name, path, module: load(path)? });
        }
        Ok(named)
    }
}

/// Instantiates the named modules, each after those that it imports from. `main` is the program with its path, if it is
/// already known what it imports from the host: then what nobody provides for it is found here, too.
///
/// # Errors
/// As `Linker::modules`, with the paths of the files; all missing imports are in one error.
pub fn instantiate<T: 'static>(
    linker: &mut Linker<T>,
    mut store: impl AsContextMut<Data = T>,
    named: &[Named<'_>],
    main: Option<(&Path, &Module)>,
) -> Result<()> {
    let list: Vec<(&str, &Module)> = named.iter().map(|m| (m.name, &m.module)).collect();
    let files = || {
        let files: Vec<String> = named.iter().map(|m| format!("{} ({})", m.name, m.path.display())).collect();
        format!("cannot link {}", files.join(", "))
    };
    linker.check_modules(&list).with_context(files)?;
    let mut lines = Vec::new();
    for (path, module) in named.iter().map(|m| (m.path, &m.module)).chain(main) {
        let missing = linker.missing_imports(&store, &list, module);
        if !missing.is_empty() {
            describe(path, module, &missing, &mut lines);
        }
    }
    if !lines.is_empty() {
        return Err(with_code(ExitCode::UNLINKABLE, lines.join("\n  ")));
    }
    for (path, module) in named.iter().map(|m| (m.path, &m.module)).chain(main) {
        linker.check_imports(&list, module).with_context(|| format!("cannot link {}", path.display()))?;
    }
    linker.modules(&mut store, &list).map(drop).with_context(files)
}

/// Says of every missing import what is wanted by whom, what there is, and what to do.
#[cold]
fn describe(path: &Path, module: &Module, missing: &[UnknownImport], lines: &mut Vec<String>) {
    let wasi = match missing.iter().any(|m| HOST_MODULES.contains(&m.module())) {
        true => missing_of_wasi(module.engine(), module),
        false => Vec::new(),
    };
    for unknown in missing {
        let same = |u: &&UnknownImport| (u.module(), u.name(), u.ty()) == (unknown.module(), unknown.name(), unknown.ty());
        let unknown = wasi.iter().find(same).filter(|u| HOST_MODULES.contains(&u.module())).unwrap_or(unknown);
        lines.push(format!("cannot link {}: {unknown}", path.display()));
        lines.push(advice(unknown));
    }
}

fn advice(unknown: &UnknownImport) -> String {
    let module = unknown.module();
    if module == "wasi" {
        return "threads are started by the program itself, with --threads, and not by a module that it imports from".to_owned();
    }
    if HOST_MODULES.contains(&module) {
        return format!("`{module}` is wasmc's own, and has no such function; the program may be made for another version of WASI");
    }
    if unknown.module_known() {
        return format!("the file behind `{module}` does not have it; is it another version, or is the import misspelt?");
    }
    match unknown.similar().iter().find(|s| s.name == unknown.name()) {
        Some(s) => format!("if what `{}` has is meant, give it the name `{module}`; otherwise pass --module {module}=FILE", s.module),
        None => format!("pass --module {module}=FILE with a module that exports it, or --plugin FILE"),
    }
}

/// What of WASI is missing, described with all that WASI has: the linker has only what is imported.
fn missing_of_wasi(engine: &Engine, module: &Module) -> Vec<UnknownImport> {
    let mut linker = Linker::<WasiCtx>::new(engine);
    let full = wasmc_wasi::add_to_linker(&mut linker, |ctx| ctx);
    match (full, WasiCtxBuilder::new().build()) {
        (Ok(()), Ok(ctx)) => linker.missing_imports(Store::new(engine, ctx), &[], module),
        // Then the description has no suggestions.
        _ => Vec::new(),
    }
}
