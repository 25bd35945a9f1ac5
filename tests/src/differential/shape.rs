//! What a module imports and exports, in words that no machine owns: wasmc and wasmi are driven by the same [`Shape`],
//! so neither decides what the other is asked.

use std::collections::BTreeSet;
use wasmparser as wp;

/// A value type, as far as the host must know it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Ty {
    I32,
    I64,
    F32,
    F64,
    V128,
    Ref { heap: Heap, nullable: bool },
}

/// What a reference refers to.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Heap {
    Func,
    Extern,
    /// Exceptions, functions of a certain type, and what nothing belongs to: the host only makes nulls of these.
    Other,
}

/// A function type.
pub type Signature = (Vec<Ty>, Vec<Ty>);

/// An import, of which the host needs to know functions and tags only.
#[derive(Debug)]
pub enum Import {
    Func(Signature),
    Tag(Vec<Ty>),
    Table,
    Memory,
    Global,
}

/// An export.
#[derive(Debug)]
pub enum Export {
    Func(Signature),
    Global { ty: Ty, mutable: bool },
    Memory,
    Table,
    Tag,
}

/// What a module imports and exports, and which instructions it has.
#[derive(Debug)]
pub struct Shape {
    /// Imports in order.
    pub imports: Vec<Import>,
    /// Exports in order.
    pub exports: Vec<(String, Export)>,
    /// Whether bits of NaNs can be compared.
    pub exact_nans: bool,
    /// Groups of instructions that occur.
    pub groups: BTreeSet<&'static str>,
}

impl Shape {
    /// The exported functions.
    pub fn exported_functions(&self) -> impl Iterator<Item = (&str, &Signature)> {
        self.exports.iter().filter_map(|(name, e)| match e {
            Export::Func(ty) => Some((name.as_str(), ty)),
            _ => None,
        })
    }

    /// The type of a function import.
    ///
    /// # Panics
    /// If the import is not a function.
    pub fn imported_function(&self, import: usize) -> (&[Ty], &[Ty]) {
        match &self.imports[import] {
            Import::Func((params, results)) => (params, results),
            other => panic!("import {import} is no function: {other:?}"),
        }
    }

    /// The payloads of imported tags, in order.
    pub fn imported_tags(&self) -> Vec<Vec<Ty>> {
        self.imports
            .iter()
            .filter_map(|i| match i {
                Import::Tag(payload) => Some(payload.clone()),
                _ => None,
            })
            .collect()
    }
}

/// The type of wasmparser's.
pub fn ty(t: wp::ValType) -> Ty {
    match t {
        wp::ValType::I32 => Ty::I32,
        wp::ValType::I64 => Ty::I64,
        wp::ValType::F32 => Ty::F32,
        wp::ValType::F64 => Ty::F64,
        wp::ValType::V128 => Ty::V128,
        wp::ValType::Ref(r) => {
            use wp::AbstractHeapType as A;
            let heap = match r.heap_type() {
                wp::HeapType::Abstract { ty: A::Func, .. } => Heap::Func,
                wp::HeapType::Abstract { ty: A::Extern, .. } => Heap::Extern,
                _ => Heap::Other,
            };
            Ty::Ref { heap, nullable: r.is_nullable() }
        }
    }
}

/// Reads the shape of a valid module.
///
/// # Errors
/// If it cannot be read.
pub fn read(wasm: &[u8], exact_nans: bool) -> Result<Shape, wp::Error> {
    let (mut types, mut functions, mut globals) = (Vec::<Option<Signature>>::new(), Vec::new(), Vec::new());
    let mut shape = Shape { imports: Vec::new(), exports: Vec::new(), exact_nans, groups: BTreeSet::new() };
    let signature = |types: &[Option<Signature>], index: u32| types[index as usize].clone().expect("a function type");
    for payload in wp::Parser::new(0).parse_all(wasm) {
        match payload? {
            wp::Payload::TypeSection(section) => {
                for group in section {
                    for t in group?.into_types() {
                        types.push(match t.composite_type.inner {
                            wp::CompositeInnerType::Func(f) => {
                                Some((f.params().iter().map(|t| ty(*t)).collect(), f.results().iter().map(|t| ty(*t)).collect()))
                            }
                            _ => None,
                        });
                    }
                }
            }
            wp::Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    shape.imports.push(match import?.ty {
                        wp::TypeRef::Func(index) | wp::TypeRef::FuncExact(index) => {
                            functions.push(index);
                            Import::Func(signature(&types, index))
                        }
                        wp::TypeRef::Tag(tag) => Import::Tag(signature(&types, tag.func_type_idx).0),
                        wp::TypeRef::Global(global) => {
                            globals.push(global);
                            Import::Global
                        }
                        wp::TypeRef::Table(_) => Import::Table,
                        wp::TypeRef::Memory(_) => Import::Memory,
                    });
                }
            }
            wp::Payload::FunctionSection(section) => {
                for index in section {
                    functions.push(index?);
                }
            }
            wp::Payload::GlobalSection(section) => {
                for global in section {
                    globals.push(global?.ty);
                }
            }
            wp::Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    let index = export.index as usize;
                    let what = match export.kind {
                        wp::ExternalKind::Func | wp::ExternalKind::FuncExact => Export::Func(signature(&types, functions[index])),
                        wp::ExternalKind::Table => Export::Table,
                        wp::ExternalKind::Memory => Export::Memory,
                        wp::ExternalKind::Tag => Export::Tag,
                        wp::ExternalKind::Global => Export::Global { ty: ty(globals[index].content_type), mutable: globals[index].mutable },
                    };
                    shape.exports.push((export.name.to_owned(), what));
                }
            }
            _ => {}
        }
    }
    Ok(shape)
}
