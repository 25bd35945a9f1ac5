//! Decoding: wasm bytes -> `Module`, with every section but the code validated on the way. Function bodies are handed
//! out with what is needed to validate each of them, so that the compiler does that in parallel.

use crate::const_expr::ConstExpr;
use crate::error::DecodeError;
use crate::features::Features;
use crate::index::*;
use crate::limits;
use crate::module::*;
use crate::types::{CompositeType, HeapType, RefType, SubType, ValType, convert};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use wasmparser::{
    DataKind, ElementItems as WpItems, ElementKind, Encoding, ExternalKind, FrameKind, FrameStack, FuncToValidate,
    FuncValidatorAllocations, FunctionBody, Operator, Parser, Payload, TableInit, ValidPayload, Validator, ValidatorResources,
    VisitOperator, VisitSimdOperator,
};

/// A function body that is still to be validated.
pub struct FunctionToValidate<'a> {
    /// What wasmparser needs to validate it; `into_validator(allocations).validate(&body)` does.
    pub validator: FuncToValidate<ValidatorResources>,
    /// The body.
    pub body: FunctionBody<'a>,
}

/// The result of decoding.
pub struct Decoded<'a> {
    /// The module, without closed tables (see `scan`).
    pub module: Module,
    /// The bodies, in order.
    pub functions: Vec<FunctionToValidate<'a>>,
}

/// Decodes a binary module and validates all of it but the function bodies.
///
/// # Errors
/// If the bytes are not a valid module, use a feature that is off or not supported, or exceed a limit.
pub fn decode<'a>(wasm: &'a [u8], features: &Features) -> Result<Decoded<'a>, DecodeError> {
    let mut validator = Validator::new_with_features(features.to_wasmparser());
    let mut module = Module::default();
    let mut functions = Vec::new();
    let mut refs = Vec::new();
    let mut parser = Parser::new(0);
    parser.set_features(features.to_wasmparser());
    for payload in parser.parse_all(wasm) {
        let payload = payload?;
        if let Payload::Version { encoding: Encoding::Component, .. } = payload {
            return Err(DecodeError::unsupported("a component (only core modules are)", 0));
        }
        if let ValidPayload::Func(validator, body) = validator.payload(&payload)? {
            let range = body.range();
            module.bodies.push(range.start..range.end);
            functions.push(FunctionToValidate { validator, body });
            continue;
        }
        section(&mut module, &mut refs, payload, wasm)?;
    }
    for e in &module.exports {
        if let EntityIndex::Func(i) = e.index {
            refs.push(i);
        }
    }
    for e in &module.elements {
        if let ElementItems::Functions(f) = &e.items {
            refs.extend(f.iter().copied());
        }
    }
    refs.sort_unstable();
    refs.dedup();
    module.escaping = refs;
    Ok(Decoded { module, functions })
}

/// Decodes and validates a whole module, bodies included: large ones on several threads.
///
/// # Errors
/// As [`decode`], and if a body is not valid: of several the first.
pub fn decode_and_validate(wasm: &[u8], features: &Features) -> Result<Module, DecodeError> {
    let Decoded { module, functions } = decode(wasm, features)?;
    let bytes: u64 = module.bodies.iter().map(|b| b.end - b.start).sum();
    let threads = match bytes / VALIDATED_BY_A_THREAD {
        0 | 1 => 1,
        most => most.min(std::thread::available_parallelism().map_or(1, |n| n.get() as u64)),
    };
    validate_bodies(functions, threads)?;
    Ok(module)
}

/// Bytes of bodies for which another thread is worth its start.
const VALIDATED_BY_A_THREAD: u64 = 256 << 10;
/// Functions that a thread takes at once.
const TAKEN_AT_ONCE: usize = 64;

/// Validates bodies on this thread and others. Where no other can be had, this one does it all.
fn validate_bodies(functions: Vec<FunctionToValidate<'_>>, threads: u64) -> Result<(), DecodeError> {
    let mut rest = functions.into_iter();
    // Parts are taken in order, so all before one with an error are somebody's, who finishes them or finds an error in them.
    let shared = Mutex::new((&mut rest, None::<DecodeError>));
    let work = || {
        let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
        let mut allocations = FuncValidatorAllocations::default();
        loop {
            let part: Vec<_> = {
                let (rest, failed) = &mut *lock();
                if failed.is_some() {
                    return;
                }
                rest.take(TAKEN_AT_ONCE).collect()
            };
            if part.is_empty() {
                return;
            }
            for f in part {
                match validate_body(f, std::mem::take(&mut allocations)) {
                    Ok(used) => allocations = used,
                    Err(e) => {
                        let (_, failed) = &mut *lock();
                        if failed.as_ref().is_none_or(|other| e.offset < other.offset) {
                            *failed = Some(e);
                        }
                        return;
                    }
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            if std::thread::Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    match shared.into_inner().unwrap_or_else(PoisonError::into_inner).1 {
        Some(e) => Err(e),
        None => Ok(()),
    }
}

/// Validates a function's body; gives the allocations back.
///
/// # Errors
/// If the body is not valid, or uses what wasmc does not support.
pub fn validate_body(f: FunctionToValidate<'_>, allocations: FuncValidatorAllocations) -> Result<FuncValidatorAllocations, DecodeError> {
    let mut validator = f.validator.into_validator(allocations);
    let mut locals = f.body.get_locals_reader()?;
    for _ in 0..locals.get_count() {
        let offset = locals.original_position();
        let (count, ty) = locals.read()?;
        validator.define_locals(offset, count, ty)?;
        convert::value(ty, offset)?;
    }
    let mut reader = locals.get_binary_reader();
    reader.set_features(*validator.features());
    while !reader.eof() {
        let offset = reader.original_position();
        reader.visit_operator(&mut Supported { validator: validator.visitor(offset), offset })??;
    }
    reader.finish_expression(&validator.visitor(reader.original_position()))?;
    Ok(validator.into_allocations())
}

/// Validates an instruction and refuses it if it is none of ours: what `check_supported` does, without making an `Operator` of it.
struct Supported<V> {
    validator: V,
    offset: u64,
}

impl<V: FrameStack> FrameStack for Supported<V> {
    fn current_frame(&self) -> Option<FrameKind> {
        self.validator.current_frame()
    }
}

macro_rules! validate_and_check {
    ($(@$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {$(
        #[inline]
        fn $visit(&mut self $(, $($arg: $argty),*)?) -> Self::Output {
            validate_and_check!(@check $proposal $visit self $($($arg)*)?)
        }
    )*};
    (@check gc $visit:ident $this:ident $($arg:ident)*) => {{
        $this.validator.$visit($($arg),*)?;
        Err(DecodeError::unsupported(GARBAGE_COLLECTION, $this.offset))
    }};
    (@check $proposal:ident visit_ref_null $this:ident $arg:ident) => {{
        $this.validator.visit_ref_null($arg)?;
        convert::heap($arg, $this.offset).map(drop)
    }};
    (@check simd $($rest:tt)*) => { validate_and_check!(@vector $($rest)*) };
    (@check relaxed_simd $($rest:tt)*) => { validate_and_check!(@vector $($rest)*) };
    (@check $proposal:ident $visit:ident $this:ident $($arg:ident)*) => {{
        $this.validator.$visit($($arg),*)?;
        Ok(())
    }};
    (@vector $visit:ident $this:ident $($arg:ident)*) => {
        match $this.validator.simd_visitor() {
            Some(validator) => Ok(validator.$visit($($arg),*)?),
            None => Err(DecodeError::unsupported("an instruction on vectors", $this.offset)),
        }
    };
}

impl<'a, V: VisitOperator<'a, Output = wasmparser::Result<()>>> VisitOperator<'a> for Supported<V> {
    type Output = Result<(), DecodeError>;

    fn simd_visitor(&mut self) -> Option<&mut dyn VisitSimdOperator<'a, Output = Self::Output>> {
        Some(self)
    }

    wasmparser::for_each_visit_operator!(validate_and_check);
}

impl<'a, V: VisitOperator<'a, Output = wasmparser::Result<()>>> VisitSimdOperator<'a> for Supported<V> {
    wasmparser::for_each_visit_simd_operator!(validate_and_check);
}

const GARBAGE_COLLECTION: &str = "an instruction of the garbage-collection proposal";

/// Refuses the instructions that validation accepts for the sake of recursion groups (see `Features::to_wasmparser`).
///
/// # Errors
/// If the instruction, found at `offset`, is one of them.
#[inline]
pub fn check_supported(op: &Operator<'_>, offset: u64) -> Result<(), DecodeError> {
    macro_rules! of_garbage_collection {
        ($(@$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
            match op {
                $(Operator::$op $({ $($arg: _),* })? => of_garbage_collection!(@$proposal),)*
                _ => false,
            }
        };
        (@gc) => { true };
        (@$proposal:ident) => { false };
    }
    if wasmparser::for_each_operator!(of_garbage_collection) {
        return Err(DecodeError::unsupported(GARBAGE_COLLECTION, offset));
    }
    if let Operator::RefNull { hty } = op {
        convert::heap(*hty, offset)?;
    }
    Ok(())
}

fn section(module: &mut Module, refs: &mut Vec<FuncIndex>, payload: Payload<'_>, wasm: &[u8]) -> Result<(), DecodeError> {
    match payload {
        Payload::TypeSection(reader) => types(module, reader),
        Payload::ImportSection(reader) => {
            for import in reader.into_imports_with_offsets() {
                let (offset, i) = import?;
                let ty = convert::entity(i.ty, offset)?;
                add_entity(module, ty);
                module.imports.push(Import { module: i.module.to_owned(), name: i.name.to_owned(), ty });
            }
            module.num_imported_functions = module.functions.len() as u32;
            module.num_imported_tables = module.tables.len() as u32;
            module.num_imported_memories = module.memories.len() as u32;
            module.num_imported_globals = module.globals.len() as u32;
            module.num_imported_tags = module.tags.len() as u32;
            Ok(())
        }
        Payload::FunctionSection(reader) => {
            for ty in reader {
                module.functions.push(TypeIndex::from_u32(ty?));
            }
            Ok(())
        }
        Payload::TableSection(reader) => {
            for table in reader.into_iter_with_offsets() {
                let (offset, table) = table?;
                module.tables.push(convert::table(table.ty, offset)?);
                module.table_inits.push(match &table.init {
                    TableInit::RefNull => None,
                    TableInit::Expr(e) => Some(ConstExpr::decode(e, refs)?),
                });
            }
            Ok(())
        }
        Payload::MemorySection(reader) => {
            for memory in reader {
                module.memories.push(convert::memory(memory?));
            }
            Ok(())
        }
        Payload::TagSection(reader) => {
            for tag in reader {
                module.tags.push(crate::types::TagType { ty: TypeIndex::from_u32(tag?.func_type_idx) });
            }
            Ok(())
        }
        Payload::GlobalSection(reader) => {
            for global in reader.into_iter_with_offsets() {
                let (offset, global) = global?;
                module.globals.push(convert::global(global.ty, offset)?);
                module.global_inits.push(ConstExpr::decode(&global.init_expr, refs)?);
            }
            Ok(())
        }
        Payload::ExportSection(reader) => {
            for export in reader.into_iter_with_offsets() {
                let (offset, e) = export?;
                let index = match e.kind {
                    ExternalKind::Func | ExternalKind::FuncExact => EntityIndex::Func(FuncIndex::from_u32(e.index)),
                    ExternalKind::Table => EntityIndex::Table(TableIndex::from_u32(e.index)),
                    ExternalKind::Memory => EntityIndex::Memory(MemoryIndex::from_u32(e.index)),
                    ExternalKind::Global => EntityIndex::Global(GlobalIndex::from_u32(e.index)),
                    ExternalKind::Tag => EntityIndex::Tag(TagIndex::from_u32(e.index)),
                    #[allow(unreachable_patterns)]
                    other => return Err(DecodeError::unsupported(format!("export of kind {other:?}"), offset)),
                };
                module.exports.push(Export { name: e.name.to_owned(), index });
            }
            Ok(())
        }
        Payload::StartSection { func, .. } => {
            module.start = Some(FuncIndex::from_u32(func));
            Ok(())
        }
        Payload::ElementSection(reader) => {
            for segment in reader.into_iter_with_offsets() {
                let (offset, segment) = segment?;
                let segment = element(segment, offset, refs)?;
                module.elements.push(segment);
            }
            Ok(())
        }
        Payload::DataSection(reader) => {
            for segment in reader {
                let segment = segment?;
                let end = segment.range.end;
                let mode = match segment.kind {
                    DataKind::Passive => SegmentMode::Passive,
                    DataKind::Active { memory_index, offset_expr } => {
                        SegmentMode::Active { target: MemoryIndex::from_u32(memory_index), offset: ConstExpr::decode(&offset_expr, refs)? }
                    }
                };
                // The data ends where the segment does.
                module.data.push(DataSegment { mode, bytes: end - segment.data.len() as u64..end });
            }
            Ok(())
        }
        Payload::CustomSection(custom) if custom.name() == "name" && module.name_section.is_none() => {
            let start = custom.data_offset();
            let range = start..start + custom.data().len() as u64;
            module.name = crate::names::module_name(&wasm[range.start as usize..range.end as usize]);
            module.name_section = Some(range);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn add_entity(module: &mut Module, ty: crate::types::EntityType) {
    use crate::types::EntityType as E;
    match ty {
        E::Func(t) => module.functions.push(t),
        E::Table(t) => module.tables.push(t),
        E::Memory(t) => module.memories.push(t),
        E::Global(t) => module.globals.push(t),
        E::Tag(t) => module.tags.push(t),
    }
}

fn element(segment: wasmparser::Element<'_>, offset: u64, refs: &mut Vec<FuncIndex>) -> Result<ElementSegment, DecodeError> {
    let items = match segment.items {
        WpItems::Functions(reader) => {
            let functions = reader.into_iter().map(|f| Ok(FuncIndex::from_u32(f?))).collect::<Result<Box<[_]>, DecodeError>>()?;
            ElementItems::Functions(functions)
        }
        WpItems::Expressions(ty, reader) => {
            let ty = convert::reference(ty, offset)?;
            let mut expressions = Vec::new();
            for e in reader {
                expressions.push(ConstExpr::decode(&e?, refs)?);
            }
            ElementItems::Expressions(ty, expressions.into())
        }
    };
    let mode = match segment.kind {
        ElementKind::Passive => SegmentMode::Passive,
        ElementKind::Declared => SegmentMode::Declared,
        ElementKind::Active { table_index, offset_expr } => {
            SegmentMode::Active { target: TableIndex::from_u32(table_index.unwrap_or(0)), offset: ConstExpr::decode(&offset_expr, refs)? }
        }
    };
    Ok(ElementSegment { mode, items })
}

/// The structure of a recursion group with references outside it by canonical index and inside it by position: two
/// groups are equal if and only if these are (specification 3.0, "Type Equivalence").
#[derive(PartialEq, Eq, Hash)]
struct RecGroupKey(Vec<SubType>);

/// References inside a group are numbered from here, far above any index that a module can have.
const INSIDE: u32 = 0x8000_0000;

fn types(module: &mut Module, reader: wasmparser::TypeSectionReader<'_>) -> Result<(), DecodeError> {
    let mut seen: HashMap<RecGroupKey, u32> = HashMap::new();
    for group in reader.into_iter_with_offsets() {
        let (offset, group) = group?;
        let start = module.types.len() as u32;
        for ty in group.types() {
            module.types.push(convert::sub_type(ty, offset)?);
        }
        let end = module.types.len() as u32;
        if module.types.len() > limits::MAX_TYPES {
            return Err(DecodeError::limit(format!("more than {} types", limits::MAX_TYPES), offset));
        }
        let canonical = &module.canonical;
        let key = rec_group_key(&module.types[start as usize..], start, |i| canonical[i.index()]);
        let first = *seen.entry(key).or_insert(start);
        module.canonical.extend((0..end - start).map(|i| TypeIndex::from_u32(first + i)));
        module.rec_groups.push(start..end);
    }
    Ok(())
}

fn rec_group_key(group: &[SubType], start: u32, canonical: impl Fn(TypeIndex) -> TypeIndex) -> RecGroupKey {
    let map = |i: TypeIndex| match i.as_u32().checked_sub(start) {
        Some(inside) => TypeIndex::from_u32(INSIDE + inside),
        None => canonical(i),
    };
    RecGroupKey(group.iter().map(|ty| map_type(ty, &map)).collect())
}

/// A type with every type index in it replaced.
pub fn map_type(ty: &SubType, map: &impl Fn(TypeIndex) -> TypeIndex) -> SubType {
    let value = |t: &ValType| match *t {
        ValType::Ref(RefType { nullable, heap: HeapType::Concrete(i) }) => {
            ValType::Ref(RefType { nullable, heap: HeapType::Concrete(map(i)) })
        }
        other => other,
    };
    let CompositeType::Func(f) = &ty.composite;
    SubType {
        is_final: ty.is_final,
        supertype: ty.supertype.map(map),
        composite: CompositeType::Func(crate::types::FuncType {
            params: f.params.iter().map(value).collect(),
            results: f.results.iter().map(value).collect(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module with many functions of about 60 bytes, of which some are invalid.
    fn module(count: usize, invalid: &[usize]) -> Vec<u8> {
        let mut text = String::from("(module (memory 1)");
        for i in 0..count {
            text.push_str("(func (param i32) (result i32) (local i64)");
            for n in 0..6 {
                text.push_str(&format!("(i32.store offset={i} (local.get 0) (i32.const {}))", n * 1_000_003));
            }
            text.push_str(if invalid.contains(&i) { "(local.get 1))" } else { "(local.get 0))" });
        }
        text.push(')');
        wat::parse_str(&text).unwrap()
    }

    #[test]
    fn several_threads_find_the_first_error() {
        let features = Features::default();
        let count = 12_000;
        let valid = module(count, &[]);
        assert!(valid.len() as u64 > 2 * VALIDATED_BY_A_THREAD);
        assert_eq!(decode_and_validate(&valid, &features).unwrap().functions.len(), count);
        for invalid in [&[0][..], &[count - 1], &[70, 140, 11_000], &[127, 128, 129], &[5_000, 6_000]] {
            let wasm = module(count, invalid);
            let one = validate_bodies(decode(&wasm, &features).unwrap().functions, 1).unwrap_err();
            let range = decode(&wasm, &features).unwrap().functions[invalid[0]].body.range();
            assert!((range.start..range.end).contains(&one.offset), "{one}");
            for threads in [2, 3, 8] {
                for _ in 0..5 {
                    let functions = decode(&wasm, &features).unwrap().functions;
                    assert_eq!(validate_bodies(functions, threads), Err(one.clone()), "{threads} threads");
                }
            }
        }
    }

    #[test]
    fn instructions_of_garbage_collection_are_refused_where_they_are() {
        for body in ["(drop (ref.i31 (i32.const 1)))", "(drop (ref.null i31))"] {
            let wasm = wat::parse_str(format!("(module (func nop {body}))")).unwrap();
            let range = decode(&wasm, &Features::all()).unwrap().functions[0].body.range();
            let e = decode_and_validate(&wasm, &Features::all()).unwrap_err();
            assert_eq!(e.kind, crate::error::DecodeErrorKind::Unsupported, "{e}");
            assert!((range.start..range.end).contains(&e.offset), "{e}");
        }
    }
}
