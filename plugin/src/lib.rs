//! Plug-ins: host modules in native shared libraries, described by one exported constant (`plugin/include/wasmc_plugin.h`). A
//! plug-in is loaded from the path that it is given by, and nothing is ever searched. The descriptor is checked whole and
//! copied; its functions then are host functions like others, on every tier and through tables.
//!
//! ```no_run
//! use wasmc_plugin::Plugin;
//! use wasmc_runtime::{Engine, Linker};
//!
//! # fn main() -> wasmc_runtime::Result<()> {
//! let mut linker = Linker::<()>::new(&Engine::default());
//! // SAFETY: the library is ours, and keeps the promises of the header.
//! let plugin = unsafe { Plugin::load("./libtext.so") }?;
//! plugin.add_to_linker(&mut linker)?;
//! for (name, ty) in plugin.functions() {
//!     println!("{}.{name} {ty}", plugin.module());
//! }
//! # Ok(())
//! # }
//! ```

#![deny(missing_docs)]

mod call;
mod descriptor;
mod error;

pub use error::{PluginError, PluginTrap};

use call::Failure;
use descriptor::Function;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wasmc_plugin_abi as abi;
use wasmc_runtime::{FuncType, Linker, Result};

/// A plug-in that was loaded. Its `fini` is called when this and all linkers, stores and instances that have its functions are
/// gone. The library itself stays: threads and thread-local destructors may still need its code.
#[derive(Clone)]
pub struct Plugin {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    module: Arc<str>,
    version: String,
    functions: Vec<Function>,
    fini: Option<unsafe extern "C" fn()>,
}

impl Plugin {
    /// Loads a plug-in: the library, its descriptor, `init`.
    ///
    /// # Errors
    /// If the file cannot be loaded as a library, exports no descriptor or one of another version of the interface, the
    /// descriptor makes no sense, or `init` fails.
    ///
    /// # Safety
    /// The library is native code: its constructors run before anything can be checked, and it must keep what the header says
    /// that a plug-in promises.
    pub unsafe fn load(path: impl AsRef<Path>) -> Result<Self, PluginError> {
        let given = path.as_ref();
        // Absolute, so that the dynamic loader searches nowhere.
        let path = std::fs::canonicalize(given).map_err(|source| PluginError::Missing { path: given.to_owned(), source })?;
        let open = |source| PluginError::Open { path: given.to_owned(), source };
        // All symbols at once: one that is missing is an error here, and not in the middle of a call.
        // SAFETY: by the caller.
        let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_LOCAL) }.map_err(open)?;
        // SAFETY: by the caller; what is read through the address is checked there.
        let found = unsafe { library.get::<*const abi::Descriptor>(abi::SYMBOL) }.map(|symbol| *symbol);
        let Ok(descriptor) = found else { return Err(PluginError::NoDescriptor { path: given.to_owned() }) };
        // Never unloaded; see above.
        std::mem::forget(library);
        // SAFETY: by the caller, this is a descriptor if it has our version.
        let described = unsafe { descriptor::read(given, descriptor) }?;
        if let Some(init) = described.init {
            // SAFETY: by the caller.
            let status = unsafe { init() };
            if status != 0 {
                return Err(PluginError::Init { path: given.to_owned(), status });
            }
        }
        let descriptor::Described { module, version, functions, fini, .. } = described;
        Ok(Self { inner: Arc::new(Inner { path: given.to_owned(), module: module.into(), version, functions, fini }) })
    }

    /// The path that it was loaded from, as it was given.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The name of the module that programs import from.
    pub fn module(&self) -> &str {
        &self.inner.module
    }

    /// The plug-in's own version.
    pub fn version(&self) -> &str {
        &self.inner.version
    }

    /// The functions, in the plug-in's order: names and types.
    pub fn functions(&self) -> impl ExactSizeIterator<Item = (&str, &FuncType)> {
        self.inner.functions.iter().map(|f| (&*f.name, &f.ty))
    }

    /// Defines the functions, for modules to import.
    ///
    /// # Errors
    /// If the linker knows a module of that name already.
    pub fn add_to_linker<T: 'static>(&self, linker: &mut Linker<T>) -> Result<()> {
        let inner = &self.inner;
        if linker.name_owner(&inner.module).is_some() {
            return Err(PluginError::NameTaken { path: inner.path.clone(), module: inner.module.to_string() }.into());
        }
        for (i, function) in inner.functions.iter().enumerate() {
            let inner = inner.clone();
            linker.func_new(&self.inner.module, &function.name, function.ty.clone(), move |caller, args, results| {
                let function = &inner.functions[i];
                call::call(function, caller, args, results).map_err(|failure| match failure {
                    Failure::Message(message) => PluginTrap::new(inner.module.clone(), function.name.clone(), message).into(),
                    Failure::Interrupted(error) => error,
                })
            })?;
        }
        Ok(())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(fini) = self.fini {
            // SAFETY: `load` has called `init`, and nobody has a function of the plug-in any more.
            unsafe { fini() }
        }
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Inner { path, module, version, .. } = &*self.inner;
        f.debug_struct("Plugin").field("path", path).field("module", module).field("version", version).finish_non_exhaustive()
    }
}
