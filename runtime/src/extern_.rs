//! What instances export and import: one of six kinds of things, each a handle.

use crate::context::AsContext;
use crate::func::Func;
use crate::global::Global;
use crate::memory::Memory;
use crate::shared_memory::SharedMemory;
use crate::table::Table;
use crate::tag::Tag;
use crate::types::ExternType;

/// Something that can be exported and imported.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Extern {
    /// A function.
    Func(Func),
    /// A table.
    Table(Table),
    /// A memory of the store.
    Memory(Memory),
    /// A memory that several stores can use at once. It belongs to no store.
    SharedMemory(SharedMemory),
    /// A global.
    Global(Global),
    /// A tag.
    Tag(Tag),
}

macro_rules! kinds {
    ($($name:ident $variant:ident $what:literal;)*) => {
        impl Extern {
            $(
                #[doc = concat!("The ", $what, ", if it is one.")]
                pub fn $name(self) -> Option<$variant> {
                    match self {
                        Self::$variant(x) => Some(x),
                        _ => None,
                    }
                }
            )*

            /// Its type; sizes are those of now.
            ///
            /// # Panics
            /// If it belongs to another store.
            pub fn ty(&self, store: impl AsContext) -> ExternType {
                match self {
                    $(Self::$variant(x) => ExternType::$variant(x.ty(store)),)*
                    Self::SharedMemory(x) => ExternType::Memory(x.ty()),
                }
            }
        }

        $(
            impl From<$variant> for Extern {
                fn from(x: $variant) -> Self {
                    Self::$variant(x)
                }
            }
        )*
    };
}

impl Extern {
    /// The shared memory, if it is one.
    pub fn into_shared_memory(self) -> Option<SharedMemory> {
        match self {
            Self::SharedMemory(x) => Some(x),
            _ => None,
        }
    }
}

impl From<SharedMemory> for Extern {
    fn from(x: SharedMemory) -> Self {
        Self::SharedMemory(x)
    }
}

kinds! {
    into_func Func "function";
    into_table Table "table";
    into_memory Memory "memory";
    into_global Global "global";
    into_tag Tag "tag";
}

/// An export of an instance.
#[derive(Clone, Debug)]
pub struct Export<'a> {
    name: &'a str,
    value: Extern,
}

impl<'a> Export<'a> {
    pub(crate) fn new(name: &'a str, value: Extern) -> Self {
        Self { name, value }
    }

    /// Its name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// What is exported.
    pub fn into_extern(self) -> Extern {
        self.value
    }
}
