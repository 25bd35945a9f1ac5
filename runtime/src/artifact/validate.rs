//! Whether an artifact's metadata and records make sense: every index in range, every range inside its section, all
//! that is searched sorted. Everything that the runtime later takes for granted about a module from an artifact is
//! established here, so that a damaged file gives an error where it is opened and nothing can panic afterwards.

use crate::code::Sections;
use std::ops::Range;
use wasmc_environ::artifact::*;
use wasmc_environ::const_expr::{ConstExpr, ConstOp};
use wasmc_environ::limits::{MAX_TYPES, SEGMENT_ALIGNMENT};
use wasmc_environ::module::{ElementItems, EntityIndex, SegmentMode};
use wasmc_environ::types::*;
use wasmc_environ::{FuncIndex, Module, TableIndex, TrapCode, TypeIndex};

/// What does not make sense.
#[derive(Debug)]
pub(crate) struct Invalid(pub String);

type Check<T = ()> = Result<T, Invalid>;

/// What was found out on the way.
pub(crate) struct Checked {
    /// Indices of the function records by code offset, where the records are not in that order themselves.
    pub order: Option<Box<[u32]>>,
    /// Whether some functions are left to the interpreter.
    pub uncompiled: Uncompiled,
}

/// Whether functions have no native code.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Uncompiled {
    None,
    Some,
}

#[cold]
fn invalid<T>(what: impl Into<String>) -> Check<T> {
    Err(Invalid(what.into()))
}

fn require(condition: bool, what: &str) -> Check {
    if condition { Ok(()) } else { invalid(what) }
}

/// Validates metadata and records. `header` is that of an artifact file, whose read-only data can be checked, too.
pub(crate) fn validate(meta: &ArtifactMeta, sections: &Sections, text_len: usize, header: Option<&Header>) -> Check<Checked> {
    let module = &meta.module;
    types(module)?;
    escaping(module)?;
    imports(module)?;
    definitions(module)?;
    segments(module)?;
    exports(module)?;
    ranges(meta, sections, header.is_some())?;
    closed_tables(meta, sections, text_len, header)?;
    images(meta, sections)?;
    stubs(meta, text_len)?;
    let checked = functions(module, sections, text_len)?;
    tables_of_code(sections, text_len)?;
    // A JIT keeps the module elsewhere.
    if header.is_some() && checked.uncompiled == Uncompiled::Some {
        require(!sections.bytes(SectionKind::Wasm).is_empty(), "functions are left to the interpreter, but the module is stripped")?;
    }
    Ok(checked)
}

fn types(m: &Module) -> Check {
    require(m.types.len() <= MAX_TYPES, "too many types")?;
    require(m.canonical.len() == m.types.len(), "canonical types do not match the types")?;
    for (i, (ty, canonical)) in m.types.iter().zip(&m.canonical).enumerate() {
        let first = canonical.index();
        require(first <= i && m.canonical[first].index() == first, "canonical type is not the first of its kind")?;
        require(ty.supertype.is_none_or(|s| s.index() < i), "supertype does not come before its subtype")?;
        let CompositeType::Func(f) = &ty.composite;
        for t in f.params.iter().chain(&f.results) {
            value_type(m, *t)?;
        }
    }
    let mut at = 0;
    for group in &m.rec_groups {
        require(group.start == at && group.end >= at, "recursion groups do not follow each other")?;
        at = group.end;
    }
    require(at as usize == m.types.len(), "recursion groups do not cover the types")
}

fn type_index(m: &Module, i: TypeIndex) -> Check {
    require(i.index() < m.types.len(), "type index out of range")
}

fn function_index(m: &Module, i: FuncIndex) -> Check {
    require(i.index() < m.functions.len(), "function index out of range")
}

fn ref_type(m: &Module, r: RefType) -> Check {
    match r.heap {
        HeapType::Concrete(i) => type_index(m, i),
        _ => Ok(()),
    }
}

fn value_type(m: &Module, t: ValType) -> Check {
    match t {
        ValType::Ref(r) => ref_type(m, r),
        _ => Ok(()),
    }
}

fn limits(l: &Limits) -> Check {
    require(l.max.is_none_or(|max| l.min <= max), "least size above the greatest")
}

fn table_type(m: &Module, t: &TableType) -> Check {
    ref_type(m, t.element)?;
    limits(&t.limits)
}

fn memory_type(t: &MemoryType) -> Check {
    require(matches!(t.page_size_log2, 0 | 16), "page size of a memory")?;
    limits(&t.limits)
}

fn tag_type(m: &Module, t: &TagType) -> Check {
    type_index(m, t.ty)?;
    require(m.func_type(t.ty).results.is_empty(), "tag with results")
}

/// The list is searched from here on.
fn escaping(m: &Module) -> Check {
    require(m.escaping.is_sorted_by(|a, b| a < b), "list of references is not sorted")?;
    m.escaping.last().map_or(Ok(()), |last| function_index(m, *last))
}

fn imports(m: &Module) -> Check {
    let mut counts = [0u32; 5];
    for import in &m.imports {
        let (space, same) = match import.ty {
            EntityType::Func(t) => (0, m.functions.get(counts[0] as usize) == Some(&t)),
            EntityType::Table(t) => (1, m.tables.get(counts[1] as usize) == Some(&t)),
            EntityType::Memory(t) => (2, m.memories.get(counts[2] as usize) == Some(&t)),
            EntityType::Global(t) => (3, m.globals.get(counts[3] as usize) == Some(&t)),
            EntityType::Tag(t) => (4, m.tags.get(counts[4] as usize) == Some(&t)),
        };
        require(same, "type of an import differs from that of its index")?;
        counts[space] += 1;
    }
    let said = [m.num_imported_functions, m.num_imported_tables, m.num_imported_memories, m.num_imported_globals, m.num_imported_tags];
    require(counts == said, "numbers of imports")
}

fn definitions(m: &Module) -> Check {
    for t in &m.functions {
        type_index(m, *t)?;
    }
    for t in &m.tables {
        table_type(m, t)?;
    }
    for t in &m.memories {
        memory_type(t)?;
    }
    for t in &m.globals {
        value_type(m, t.content)?;
    }
    for t in &m.tags {
        tag_type(m, t)?;
    }
    let defined = |all: usize, imported: u32| all - imported as usize;
    require(m.table_inits.len() == defined(m.tables.len(), m.num_imported_tables), "initial values of tables")?;
    for (i, init) in (m.num_imported_tables..).zip(&m.table_inits) {
        let t = &m.tables[i as usize];
        let listed = if m.closed_table(TableIndex::from_u32(i)).is_some() { function_index } else { escaping_function };
        match init {
            Some(e) => expression_with(m, e, ValType::Ref(t.element), m.globals.len(), listed)?,
            None => require(t.element.nullable, "table without an initial value that needs one")?,
        }
    }
    require(m.global_inits.len() == defined(m.globals.len(), m.num_imported_globals), "initial values of globals")?;
    for (i, init) in (m.num_imported_globals as usize..).zip(&m.global_inits) {
        expression(m, init, m.globals[i].content, i)?;
    }
    if let Some(start) = m.start {
        function_index(m, start)?;
        let ty = m.type_of(start);
        require(ty.params.is_empty() && ty.results.is_empty(), "type of the start function")?;
    }
    Ok(())
}

/// Runs a constant expression over types: it must leave one value represented as `expected`, and refer to the first
/// `globals` globals only.
fn expression(m: &Module, e: &ConstExpr, expected: ValType, globals: usize) -> Check {
    expression_with(m, e, expected, globals, escaping_function)
}

/// The same; `function` checks the functions that it refers to.
fn expression_with(m: &Module, e: &ConstExpr, expected: ValType, globals: usize, function: fn(&Module, FuncIndex) -> Check) -> Check {
    let mut stack: Vec<AbiType> = Vec::with_capacity(4);
    for op in &e.ops {
        let pushed = match *op {
            ConstOp::I32Const(_) => AbiType::I32,
            ConstOp::I64Const(_) => AbiType::I64,
            ConstOp::F32Const(_) => AbiType::F32,
            ConstOp::F64Const(_) => AbiType::F64,
            ConstOp::V128Const(_) => AbiType::V128,
            ConstOp::GlobalGet(i) => match m.globals.get(i.index()).filter(|_| i.index() < globals) {
                Some(g) => g.content.abi(),
                None => return invalid("global index out of range in a constant expression"),
            },
            ConstOp::RefNull(heap) => {
                let r = RefType { nullable: true, heap };
                ref_type(m, r)?;
                ValType::Ref(r).abi()
            }
            ConstOp::RefFunc(i) => {
                function(m, i)?;
                AbiType::FuncRef
            }
            ConstOp::I32Add | ConstOp::I32Sub | ConstOp::I32Mul => binary(&mut stack, AbiType::I32)?,
            ConstOp::I64Add | ConstOp::I64Sub | ConstOp::I64Mul => binary(&mut stack, AbiType::I64)?,
        };
        stack.push(pushed);
    }
    require(*stack == [expected.abi()], "type of a constant expression")
}

fn binary(stack: &mut Vec<AbiType>, ty: AbiType) -> Check<AbiType> {
    let operands = (stack.pop(), stack.pop());
    require(operands == (Some(ty), Some(ty)), "operands in a constant expression")?;
    Ok(ty)
}

/// A function to which a reference can be made has a slot for it.
fn escaping_function(m: &Module, i: FuncIndex) -> Check {
    function_index(m, i)?;
    require(m.func_ref(i).is_some(), "function with a reference that is not listed")
}

fn segments(m: &Module) -> Check {
    let address = |is_64| if is_64 { ValType::I64 } else { ValType::I32 };
    for s in &m.elements {
        // What is only in closed tables needs no slot: no reference to it is made.
        let listed: fn(&Module, FuncIndex) -> Check = if m.is_in_closed_table(s) { function_index } else { escaping_function };
        let element = match &s.items {
            ElementItems::Functions(functions) => {
                functions.iter().try_for_each(|f| listed(m, *f))?;
                RefKind::Func
            }
            ElementItems::Expressions(ty, expressions) => {
                ref_type(m, *ty)?;
                expressions.iter().try_for_each(|e| expression_with(m, e, ValType::Ref(*ty), m.globals.len(), listed))?;
                ty.kind()
            }
        };
        if let SegmentMode::Active { target, offset } = &s.mode {
            let Some(table) = m.tables.get(target.index()) else { return invalid("table index out of range") };
            require(table.element.kind() == element, "type of an element segment")?;
            expression(m, offset, address(table.table64), m.globals.len())?;
        }
    }
    for s in &m.data {
        if let SegmentMode::Active { target, offset } = &s.mode {
            let Some(memory) = m.memories.get(target.index()) else { return invalid("memory index out of range") };
            expression(m, offset, address(memory.memory64), m.globals.len())?;
        }
    }
    Ok(())
}

fn exports(m: &Module) -> Check {
    for e in &m.exports {
        match e.index {
            EntityIndex::Func(i) => escaping_function(m, i)?,
            EntityIndex::Table(i) => require(i.index() < m.tables.len(), "exported table index out of range")?,
            EntityIndex::Memory(i) => require(i.index() < m.memories.len(), "exported memory index out of range")?,
            EntityIndex::Global(i) => require(i.index() < m.globals.len(), "exported global index out of range")?,
            EntityIndex::Tag(i) => require(i.index() < m.tags.len(), "exported tag index out of range")?,
        }
    }
    Ok(())
}

/// Ranges of the wasm binary, or of the section for data.
fn ranges(meta: &ArtifactMeta, sections: &Sections, is_file: bool) -> Check {
    let m = &meta.module;
    let wasm = sections.bytes(SectionKind::Wasm).len() as u64;
    let data = if meta.data_section { sections.bytes(SectionKind::Data).len() as u64 } else { wasm };
    let inside = |r: &Range<u64>, len: u64| r.start <= r.end && r.end <= len;
    // Code made in memory may leave out the module, which the runtime has elsewhere and checks there.
    if is_file || data != 0 {
        require(m.data.iter().all(|s| inside(&s.bytes, data)), "data segment outside its section")?;
    }
    require(m.bodies.len() == m.num_defined_functions() as usize, "number of function bodies")?;
    // Without the module, the ranges are only numbers for messages.
    let wasm = if wasm == 0 { u64::MAX } else { wasm };
    require(m.bodies.iter().chain(&m.name_section).all(|r| inside(r, wasm)), "function body outside the module")
}

fn closed_tables(meta: &ArtifactMeta, sections: &Sections, text_len: usize, header: Option<&Header>) -> Check {
    let m = &meta.module;
    let is_list = |len: usize| len == 0 || len == m.tables.len();
    require(is_list(m.closed_tables.len()) && is_list(meta.closed_offsets.len()), "number of closed tables")?;
    for (i, (closed, ty)) in m.closed_tables.iter().zip(&m.tables).enumerate() {
        let offset = meta.closed_offsets.get(i).copied().unwrap_or(u32::MAX);
        let Some(closed) = closed else {
            require(offset == u32::MAX, "offset of a table that is not closed")?;
            continue;
        };
        let index = TableIndex::from_u32(i as u32);
        require(m.defined_table(index).is_some() && ty.element.kind() == RefKind::Func, "closed table of a wrong kind")?;
        require(ty.limits.min == closed.elements.len() as u64, "size of a closed table")?;
        closed.elements.iter().flatten().try_for_each(|f| function_index(m, *f))?;
        if let Some(header) = header {
            closed_entries(m, sections, text_len, header, offset, closed.elements.len())?;
        }
    }
    Ok(())
}

/// The entries that code reads: each leads into the text, or is null.
fn closed_entries(m: &Module, sections: &Sections, text_len: usize, header: &Header, offset: u32, len: usize) -> Check {
    // No code refers to an empty table's entries.
    if len == 0 {
        return Ok(());
    }
    let bytes = sections.bytes(SectionKind::RoData).get(offset as usize..).and_then(|b| b.get(..len * size_of::<ClosedTableEntry>()));
    let Some(entries) = bytes.and_then(records::<ClosedTableEntry>) else { return invalid("closed table outside its section") };
    let address = |kind: SectionKind| header.sections[kind as usize].offset as i64;
    let to_text = address(SectionKind::RoData) + i64::from(offset) - address(SectionKind::Text);
    for e in entries.iter().filter(|e| e.type_index != CLOSED_NULL) {
        require((0..text_len as i64).contains(&(to_text + i64::from(e.code))), "closed table leads out of the text")?;
        type_index(m, TypeIndex::from_u32(e.type_index))?;
    }
    Ok(())
}

fn images(meta: &ArtifactMeta, sections: &Sections) -> Check {
    let m = &meta.module;
    let memories = &m.memories[m.num_imported_memories as usize..];
    require(meta.images.is_empty() || meta.images.len() == memories.len(), "number of memory images")?;
    let section = sections.bytes(SectionKind::MemoryImage).len() as u64;
    for (image, ty) in meta.images.iter().zip(memories) {
        let Some(i) = image else { continue };
        let aligned = [i.offset, i.size, i.target].iter().all(|n| n.is_multiple_of(SEGMENT_ALIGNMENT));
        let in_section = i.offset.checked_add(i.size).is_some_and(|end| end <= section);
        let in_memory = i.target.checked_add(i.size).is_some_and(|end| ty.min_bytes().is_some_and(|min| end <= min));
        require(aligned && in_section && in_memory, "memory image outside its section or memory")?;
        require(!ty.shared, "memory image of a shared memory")?;
    }
    Ok(())
}

fn stubs(meta: &ArtifactMeta, text_len: usize) -> Check {
    for s in &meta.stubs {
        for offset in [s.exit_array, s.exit_typed, s.entry, s.tail_entry].into_iter().flatten() {
            require((offset as usize) < text_len, "stub outside the text")?;
        }
    }
    Ok(())
}

/// The records of a section, or an error if its size does not fit.
fn whole<T: zerocopy::FromBytes + zerocopy::Immutable + zerocopy::KnownLayout>(sections: &Sections, kind: SectionKind) -> Check<&[T]> {
    match records(sections.bytes(kind)) {
        Some(r) => Ok(r),
        None => invalid(format!("size of section {}", kind.elf_name())),
    }
}

/// Validates a piece of a module's code with so many functions.
pub(crate) fn validate_piece(meta: &ArtifactMeta, sections: &Sections, text_len: usize, functions: usize) -> Check {
    stubs(meta, text_len)?;
    let checked = function_records(functions, sections, text_len)?;
    require(checked.order.is_none(), "functions of a piece are not in the order of their code")?;
    tables_of_code(sections, text_len)
}

fn functions(m: &Module, sections: &Sections, text_len: usize) -> Check<Checked> {
    function_records(m.num_defined_functions() as usize, sections, text_len)
}

fn function_records(count: usize, sections: &Sections, text_len: usize) -> Check<Checked> {
    let functions: &[FuncRecord] = whole(sections, SectionKind::Functions)?;
    require(functions.len() == count, "number of function records")?;
    let mut uncompiled = Uncompiled::None;
    for f in functions {
        require(f.code_offset as usize + f.code_size as usize <= text_len && f.code_size != 0, "function outside the text")?;
        require(f.flags & !FUNC_COMPILED == 0, "flags of a function")?;
        if f.flags & FUNC_COMPILED == 0 {
            uncompiled = Uncompiled::Some;
        }
    }
    let order = (!functions.is_sorted_by_key(|f| f.code_offset)).then(|| {
        let mut order: Box<[u32]> = (0..functions.len() as u32).collect();
        order.sort_by_key(|i| functions[*i as usize].code_offset);
        order
    });
    Ok(Checked { order, uncompiled })
}

/// What only messages need: names and addresses.
pub(crate) fn validate_messages(sections: &Sections) -> Check {
    let functions: &[FuncRecord] = whole(sections, SectionKind::Functions)?;
    let Ok(names) = std::str::from_utf8(sections.bytes(SectionKind::Names)) else { return invalid("names are not UTF-8") };
    for f in functions {
        let name = f.name_offset as usize..f.name_offset as usize + f.name_size as usize;
        require(f.name_size == 0 || names.get(name).is_some(), "name of a function")?;
    }
    let addresses: &[AddressRecord] = whole(sections, SectionKind::Addresses)?;
    require(addresses.is_sorted_by_key(|a| a.code_offset), "addresses are not sorted")?;
    let sites: &[InlineSite] = whole(sections, SectionKind::InlineSites)?;
    // Whoever follows parents comes to an end.
    let parents_first = sites.iter().enumerate().all(|(i, s)| s.parent == NO_SITE || (s.parent as usize) < i);
    require(parents_first, "inlined call before the one that contains it")?;
    let ranges: &[InlineRange] = whole(sections, SectionKind::InlineRanges)?;
    require(ranges.is_sorted_by_key(|r| r.code_offset), "ranges of inlined code are not sorted")?;
    require(ranges.iter().all(|r| r.site == NO_SITE || (r.site as usize) < sites.len()), "range of an inlined call that is not listed")
}

/// The tables that are searched by code offset.
fn tables_of_code(sections: &Sections, text_len: usize) -> Check {
    let traps: &[TrapRecord] = whole(sections, SectionKind::Traps)?;
    require(traps.is_sorted_by_key(|t| t.code_offset), "traps are not sorted")?;
    require(traps.last().is_none_or(|t| (t.code_offset as usize) < text_len), "trap outside the text")?;
    let known = |t: &TrapRecord| u8::try_from(t.code).ok().and_then(TrapCode::from_u8).is_some();
    require(traps.iter().all(known), "unknown trap code")?;

    let handlers: &[HandlerRecord] = whole(sections, SectionKind::Handlers)?;
    require(handlers.is_sorted_by(|a, b| a.return_offset < b.return_offset), "exception handlers are not sorted")?;
    let inside = |h: &HandlerRecord| (h.return_offset as usize) <= text_len && (h.handler_offset as usize) < text_len;
    require(handlers.iter().all(inside), "exception handler outside the text")?;

    let slots: &[u32] = whole(sections, SectionKind::StackMapSlots)?;
    let maps: &[StackMapRecord] = whole(sections, SectionKind::StackMaps)?;
    require(maps.is_sorted_by(|a, b| a.return_offset < b.return_offset), "stack maps are not sorted")?;
    for map in maps {
        let range = map.first_slot as usize..map.first_slot as usize + map.num_slots as usize;
        let Some(slots) = slots.get(range) else { return invalid("stack map outside its section") };
        let inside = |s: &u32| s.checked_add(4).is_some_and(|end| end <= map.frame_size);
        require(slots.iter().all(inside), "stack map outside its frame")?;
    }
    Ok(())
}
