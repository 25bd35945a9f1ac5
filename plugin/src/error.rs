//! What can be wrong with a plug-in: when it is loaded, and when one of its functions is called.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// A plug-in that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// There is no such file, or it cannot be reached.
    #[error("cannot load the plug-in {}: {source}", path.display())]
    Missing {
        /// The path, as it was given.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The dynamic loader refused it.
    #[error("cannot load the plug-in {}: {source}", path.display())]
    Open {
        /// The path, as it was given.
        path: PathBuf,
        /// What the dynamic loader said.
        source: libloading::Error,
    },
    /// The library exports no descriptor.
    #[error(
        "{} is not a plug-in of wasmc: it exports no `{}` (see wasmc_plugin.h)",
        path.display(), wasmc_plugin_abi::SYMBOL
    )]
    NoDescriptor {
        /// The path, as it was given.
        path: PathBuf,
    },
    /// It was made for another version of the interface.
    #[error(
        "the plug-in {} was made for version {found} of the plug-in interface, but this wasmc has version {}: build it again with this \
         wasmc's wasmc_plugin.h",
        path.display(), wasmc_plugin_abi::ABI_VERSION
    )]
    AbiVersion {
        /// The path, as it was given.
        path: PathBuf,
        /// The version that the descriptor says.
        found: u32,
    },
    /// The descriptor makes no sense.
    #[error("the plug-in {} describes itself wrongly: {problem}", path.display())]
    Descriptor {
        /// The path, as it was given.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Its `init` failed.
    #[error("the plug-in {} cannot start: its `init` returned {status}", path.display())]
    Init {
        /// The path, as it was given.
        path: PathBuf,
        /// What `init` returned.
        status: i32,
    },
    /// The name of its module is taken.
    #[error("the plug-in {} defines the module `{module}`, but there is one of that name already", path.display())]
    NameTaken {
        /// The path, as it was given.
        path: PathBuf,
        /// The name.
        module: String,
    },
}

/// A function of a plug-in failed, or did what it must not. The program ends as by a trap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginTrap {
    module: Arc<str>,
    function: Arc<str>,
    message: String,
}

impl PluginTrap {
    pub(crate) fn new(module: Arc<str>, function: Arc<str>, message: String) -> Self {
        Self { module, function, message }
    }

    /// The plug-in's module.
    pub fn module(&self) -> &str {
        &self.module
    }

    /// The function.
    pub fn function(&self) -> &str {
        &self.function
    }

    /// What it said, or what it did.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for PluginTrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { module, function, message } = self;
        write!(f, "plug-in function `{module}`.`{function}`: {message}")
    }
}

impl std::error::Error for PluginTrap {}
