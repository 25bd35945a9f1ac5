//! Errors. The interface's error is `anyhow::Error`; what callers want to tell apart can be had by `downcast_ref`:
//! `Trap`, [`Exit`], [`ThrownException`], [`HostPanic`], [`UnknownImport`], [`IncompatibleImport`], `DecodeError`.

use crate::types::ExternType;
use crate::value::ExnRef;
use std::fmt;

/// The interface's error.
pub use anyhow::Error;

/// A result with the interface's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The program asked to end with this status. Host functions return it as an error; it passes all WebAssembly frames.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Exit(pub i32);

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exited with status {}", self.0)
    }
}

impl std::error::Error for Exit {}

/// An exception that no WebAssembly frame caught. A host function that returns it as its error throws it (again).
#[derive(Clone, Debug)]
pub struct ThrownException {
    exn: ExnRef,
}

impl ThrownException {
    /// The error that throws an exception.
    pub fn new(exn: ExnRef) -> Self {
        Self { exn }
    }

    /// The exception.
    pub fn exn(&self) -> &ExnRef {
        &self.exn
    }

    /// The exception, without the error around it.
    pub fn into_exn(self) -> ExnRef {
        self.exn
    }
}

impl fmt::Display for ThrownException {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("uncaught WebAssembly exception")
    }
}

impl std::error::Error for ThrownException {}

/// A host function panicked. The panic ended there: the WebAssembly frames were left as by a trap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPanic {
    message: String,
}

impl HostPanic {
    pub(crate) fn new(payload: &(dyn std::any::Any + Send)) -> Self {
        let message = payload.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| payload.downcast_ref::<String>().cloned());
        Self { message: message.unwrap_or_else(|| "no message".to_owned()) }
    }

    /// What the panic said.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for HostPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a host function panicked: {}", self.message)
    }
}

impl std::error::Error for HostPanic {}

/// A module imports something that nobody defined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownImport {
    pub(crate) importer: Option<String>,
    pub(crate) module: String,
    pub(crate) name: String,
    pub(crate) ty: ExternType,
    /// Whether anything is defined for the import's module.
    pub(crate) module_known: bool,
    /// What is defined under a similar name, most similar first.
    pub(crate) similar: Vec<SimilarName>,
}

/// Something that has nearly the name that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SimilarName {
    /// Name of the module that has it.
    pub module: String,
    /// Its name there.
    pub name: String,
    /// Its type, where that is known.
    pub ty: Option<ExternType>,
}

impl UnknownImport {
    /// Name of the module that imports it, if that has a name.
    pub fn importer(&self) -> Option<&str> {
        self.importer.as_deref()
    }

    /// Name of the module that was to be imported from.
    pub fn module(&self) -> &str {
        &self.module
    }

    /// Name within that module.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type that was wanted.
    pub fn ty(&self) -> &ExternType {
        &self.ty
    }

    /// Whether a module of that name is known at all.
    pub fn module_known(&self) -> bool {
        self.module_known
    }

    /// What is defined under a similar name, most similar first.
    pub fn similar(&self) -> &[SimilarName] {
        &self.similar
    }
}

impl fmt::Display for UnknownImport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { importer, module, name, ty, module_known, similar } = self;
        write!(f, "unknown import: `{module}`.`{name}` ({ty})")?;
        if let Some(importer) = importer {
            write!(f, ", imported by `{importer}`,")?;
        }
        f.write_str(" is not defined; ")?;
        if similar.is_empty() {
            return if *module_known {
                write!(f, "the module `{module}` has nothing of a similar name")
            } else {
                write!(f, "there is no module `{module}`")
            };
        }
        for (i, SimilarName { module, name, ty }) in similar.iter().enumerate() {
            write!(f, "{} `{module}`.`{name}`", if i == 0 { "there is" } else { "," })?;
            if let Some(ty) = ty {
                write!(f, " ({ty})")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for UnknownImport {}

/// Who has a name that was to be given to a module.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameOwner {
    /// An instance that was given it.
    Instance,
    /// The host, which defines functions or other things under it.
    Host,
    /// Another module that is to be instantiated at the same time.
    Sibling,
}

/// A name for a module is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameTaken {
    pub(crate) name: String,
    pub(crate) by: NameOwner,
}

impl NameTaken {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who has it.
    pub fn by(&self) -> NameOwner {
        self.by
    }
}

impl fmt::Display for NameTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.by {
            NameOwner::Instance => "an instance has it already",
            NameOwner::Host => "the host defines a module of that name",
            NameOwner::Sibling => "it is given to two modules",
        };
        write!(f, "the module name `{}` is taken: {who}", self.name)
    }
}

impl std::error::Error for NameTaken {}

/// What is defined for an import has another type than the importing module wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncompatibleImport {
    pub(crate) importer: Option<String>,
    pub(crate) module: String,
    pub(crate) name: String,
    pub(crate) wanted: ExternType,
    pub(crate) found: ExternType,
}

impl IncompatibleImport {
    /// Name of the module that imports it, if that has a name.
    pub fn importer(&self) -> Option<&str> {
        self.importer.as_deref()
    }

    /// Name of the module that was to be imported from.
    pub fn module(&self) -> &str {
        &self.module
    }

    /// Name within that module.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type that the importing module wants.
    pub fn wanted(&self) -> &ExternType {
        &self.wanted
    }

    /// The type of what is defined.
    pub fn found(&self) -> &ExternType {
        &self.found
    }
}

impl fmt::Display for IncompatibleImport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { importer, module, name, wanted, found } = self;
        write!(f, "incompatible import type: `{module}`.`{name}` must be a {wanted}, but is a {found}")?;
        if wanted.to_string() == found.to_string() {
            f.write_str(" of another type definition: the recursion groups, supertypes or `final` differ")?;
        }
        if let Some(importer) = importer {
            write!(f, " (imported by `{importer}`)")?;
        }
        Ok(())
    }
}

impl std::error::Error for IncompatibleImport {}

/// A handle was used with another store than the one that it belongs to.
#[cold]
pub(crate) fn wrong_store(what: &str) -> Error {
    anyhow::anyhow!("this {what} belongs to another store")
}

/// As [`wrong_store`], where there is no result to put it in.
#[cold]
#[track_caller]
pub(crate) fn wrong_store_panic(what: &str) -> ! {
    panic!("this {what} belongs to another store")
}
