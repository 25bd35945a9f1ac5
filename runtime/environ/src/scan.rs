//! Facts about function bodies that must be known before any of them is compiled: which tables an instruction reads
//! or writes. Scanning one body is independent of the others, so the compiler does it in parallel.

use crate::const_expr::{ConstExpr, ConstOp};
use crate::error::DecodeError;
use crate::index::{DefinedTableIndex, FuncIndex, TableIndex};
use crate::limits;
use crate::module::*;
use crate::types::{HeapType, RefKind};
use wasmparser::{BinaryReader, FunctionBody, Operator};

/// The tables that the instructions of a body can observe, `call_indirect` apart. Sorted, without repetition.
///
/// # Errors
/// If the body is malformed.
pub fn touched_tables(body: &FunctionBody<'_>) -> Result<Vec<TableIndex>, DecodeError> {
    let mut touched = Vec::new();
    let mut reader = body.get_operators_reader()?;
    while !reader.eof() {
        match reader.read()? {
            Operator::TableGet { table }
            | Operator::TableSet { table }
            | Operator::TableGrow { table }
            | Operator::TableFill { table }
            | Operator::TableInit { table, .. } => touched.push(TableIndex::from_u32(table)),
            Operator::TableCopy { dst_table, src_table } => {
                touched.push(TableIndex::from_u32(dst_table));
                touched.push(TableIndex::from_u32(src_table));
            }
            _ => {}
        }
    }
    touched.sort_unstable();
    touched.dedup();
    Ok(touched)
}

/// Sets what a decoded module has from its bodies, as the compiler does: its closed tables, and the functions of which a reference can
/// exist.
///
/// # Errors
/// If a body is malformed.
pub fn add_facts_of_bodies(module: &mut Module, wasm: &[u8]) -> Result<(), DecodeError> {
    let (mut touched, mut mentioned) = (vec![false; module.tables.len()], Vec::new());
    for range in &module.bodies {
        let bytes = wasm.get(range.start as usize..range.end as usize).unwrap_or_default();
        let body = FunctionBody::new(BinaryReader::new(bytes, range.start));
        for table in touched_tables(&body)? {
            if let Some(touched) = touched.get_mut(table.index()) {
                *touched = true;
            }
        }
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            if let Operator::RefFunc { function_index } = reader.read()? {
                mentioned.push(FuncIndex::from_u32(function_index));
            }
        }
    }
    module.closed_tables = closed_tables(module, |table| touched.get(table.index()).is_none_or(|touched| *touched));
    module.escaping = escaping(module, mentioned);
    Ok(())
}

/// The closed tables of a module, by `TableIndex`, where `touched` says which tables its instructions observe.
///
/// A table is closed if it is neither imported nor exported nor touched, and its active segments have constant offsets
/// in bounds and hold functions or null.
pub fn closed_tables(module: &Module, touched: impl Fn(TableIndex) -> bool) -> Vec<Option<ClosedTable>> {
    // What a module of a few bytes can make of the artifact is limited for all tables together.
    let mut room = limits::MAX_CLOSED_TABLE;
    let mut closed: Vec<Option<Vec<_>>> = (0..module.tables.len() as u32)
        .map(|i| {
            let index = TableIndex::from_u32(i);
            let ty = &module.tables[index.index()];
            let defined = module.defined_table(index)?;
            let size = ty.limits.min;
            if touched(index) || ty.element.kind() != RefKind::Func || size > room {
                return None;
            }
            let fill = match &module.table_inits[defined.index()] {
                None => None,
                Some(e) => constant_function(e)?,
            };
            room -= size;
            Some(vec![fill; size as usize])
        })
        .collect();
    for e in &module.exports {
        if let EntityIndex::Table(i) = e.index {
            closed[i.index()] = None;
        }
    }
    for segment in &module.elements {
        let SegmentMode::Active { target, offset } = &segment.mode else { continue };
        let slot = &mut closed[target.index()];
        if let Some(table) = slot
            && fill_segment(table, offset.as_constant_offset(), &segment.items).is_none()
        {
            *slot = None;
        }
    }
    closed.into_iter().map(|t| t.map(|elements| ClosedTable { elements: elements.into() })).collect()
}

/// The functions of which a reference can exist, sorted, in a module whose closed tables are known: `mentioned` are those of the
/// `ref.func`s of its bodies. What is only in closed tables is called by its address there, and needs no reference.
pub fn escaping(module: &Module, mentioned: impl IntoIterator<Item = FuncIndex>) -> Vec<FuncIndex> {
    let mut refs: Vec<FuncIndex> = mentioned.into_iter().filter(|f| f.index() < module.functions.len()).collect();
    let in_expression = |refs: &mut Vec<FuncIndex>, e: &ConstExpr| {
        refs.extend(e.ops.iter().filter_map(|op| if let ConstOp::RefFunc(f) = op { Some(*f) } else { None }));
    };
    for e in &module.exports {
        if let EntityIndex::Func(f) = e.index {
            refs.push(f);
        }
    }
    for e in &module.global_inits {
        in_expression(&mut refs, e);
    }
    for (i, e) in module.table_inits.iter().enumerate() {
        let table = module.table_index(DefinedTableIndex::from_u32(i as u32));
        if let (Some(e), None) = (e, module.closed_table(table)) {
            in_expression(&mut refs, e);
        }
    }
    for segment in module.elements.iter().filter(|s| !module.is_in_closed_table(s)) {
        match &segment.items {
            ElementItems::Functions(functions) => refs.extend(functions.iter().copied()),
            ElementItems::Expressions(_, expressions) => expressions.iter().for_each(|e| in_expression(&mut refs, e)),
        }
    }
    refs.sort_unstable();
    refs.dedup();
    refs
}

fn fill_segment(table: &mut [Option<FuncIndex>], offset: Option<u64>, items: &ElementItems) -> Option<()> {
    let start = usize::try_from(offset?).ok()?;
    let slots = table.get_mut(start..start.checked_add(items.len())?)?;
    match items {
        ElementItems::Functions(functions) => {
            for (slot, f) in slots.iter_mut().zip(functions) {
                *slot = Some(*f);
            }
        }
        ElementItems::Expressions(_, expressions) => {
            for (slot, e) in slots.iter_mut().zip(expressions) {
                *slot = constant_function(e)?;
            }
        }
    }
    Some(())
}

/// The function that an expression refers to, `Some(None)` for null, or `None` if it is neither.
fn constant_function(e: &ConstExpr) -> Option<Option<FuncIndex>> {
    match *e.ops {
        [ConstOp::RefFunc(f)] => Some(Some(f)),
        [ConstOp::RefNull(HeapType::Func | HeapType::NoFunc | HeapType::Concrete(_))] => Some(None),
        _ => None,
    }
}
