//! The types of what modules import and export, as the embedder sees them. Value and function types are those of
//! `environ`. One rule: in types that this interface gives and takes, `HeapType::Concrete` holds the engine's number of
//! a type, which is the same in all modules of the engine, not the index of a type in some module.

use std::fmt;
use wasmc_environ::types::*;

/// The type of an import or export.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExternType {
    /// A function.
    Func(FuncType),
    /// A table.
    Table(TableType),
    /// A memory.
    Memory(MemoryType),
    /// A global.
    Global(GlobalType),
    /// A tag: the parameters of the function type are the payload of its exceptions.
    Tag(FuncType),
}

impl ExternType {
    /// The function type, if this is a function.
    pub fn func(&self) -> Option<&FuncType> {
        match self {
            Self::Func(ty) => Some(ty),
            _ => None,
        }
    }

    /// The table type, if this is a table.
    pub fn table(&self) -> Option<&TableType> {
        match self {
            Self::Table(ty) => Some(ty),
            _ => None,
        }
    }

    /// The memory type, if this is a memory.
    pub fn memory(&self) -> Option<&MemoryType> {
        match self {
            Self::Memory(ty) => Some(ty),
            _ => None,
        }
    }

    /// The global type, if this is a global.
    pub fn global(&self) -> Option<&GlobalType> {
        match self {
            Self::Global(ty) => Some(ty),
            _ => None,
        }
    }

    /// The tag's function type, if this is a tag.
    pub fn tag(&self) -> Option<&FuncType> {
        match self {
            Self::Tag(ty) => Some(ty),
            _ => None,
        }
    }
}

fn limits(f: &mut fmt::Formatter<'_>, limits: Limits) -> fmt::Result {
    match limits.max {
        Some(max) => write!(f, "{} to {max}", limits.min),
        None => write!(f, "at least {}", limits.min),
    }
}

impl fmt::Display for ExternType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Func(ty) => write!(f, "function {ty}"),
            Self::Table(ty) => {
                write!(f, "{}table of ", if ty.table64 { "64-bit " } else { "" })?;
                limits(f, ty.limits)?;
                write!(f, " {}", ty.element)
            }
            Self::Memory(ty) => {
                write!(f, "{}{}memory of ", if ty.shared { "shared " } else { "" }, if ty.memory64 { "64-bit " } else { "" })?;
                limits(f, ty.limits)?;
                match ty.page_size_log2 {
                    16 => f.write_str(" pages"),
                    log2 => write!(f, " pages of {} bytes", 1u64 << log2.min(63)),
                }
            }
            Self::Global(ty) => write!(f, "{}global {}", if ty.mutable { "mutable " } else { "" }, ty.content),
            Self::Tag(ty) => {
                f.write_str("tag (")?;
                for (i, t) in ty.params.iter().enumerate() {
                    write!(f, "{}{t}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
        }
    }
}

/// An import of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportType<'a> {
    /// Name of the module to import from.
    pub module: &'a str,
    /// Name within that module.
    pub name: &'a str,
    /// Type that the module wants.
    pub ty: ExternType,
}

/// An export of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportType<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its type.
    pub ty: ExternType,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_read_as_words() {
        let memory = MemoryType { limits: Limits { min: 1, max: Some(4) }, memory64: false, shared: false, page_size_log2: 16 };
        assert_eq!(ExternType::Memory(memory).to_string(), "memory of 1 to 4 pages");
        let table = TableType { element: RefType::FUNCREF, limits: Limits { min: 3, max: None }, table64: false };
        assert_eq!(ExternType::Table(table).to_string(), "table of at least 3 funcref");
        assert_eq!(ExternType::Func(FuncType::new([ValType::I32, ValType::F64], [])).to_string(), "function (i32, f64) -> ()");
        assert_eq!(ExternType::Global(GlobalType { content: ValType::I64, mutable: true }).to_string(), "mutable global i64");
        assert_eq!(ExternType::Tag(FuncType::new([ValType::I32], [])).to_string(), "tag (i32)");
    }
}
