//! What the metadata says of types must be true, since the proofs of the code rely on it, and so does the runtime: that equal types are
//! equal, that declared supertypes are some, and that the functions which tables and globals begin with have the types that those declare.
//! The loader has checked before that all indices exist and that everything travels in registers of the right kind.

use crate::abi::Ty;
use crate::program::{Finding, Program};
use wasmc_environ::Module;
use wasmc_environ::artifact::ArtifactMeta;
use wasmc_environ::const_expr::{ConstExpr, ConstOp};
use wasmc_environ::module::{ElementItems, SegmentMode};
use wasmc_environ::types::{CompositeType, HeapType, ValType};

/// Checks all of it.
pub fn check(program: &Program<'_>, meta: &ArtifactMeta) -> Result<(), Finding> {
    let module = &meta.module;
    let finding = |problem: String| Err(Finding { offset: None, function: String::new(), problem });
    for (i, ty) in module.types.iter().enumerate() {
        let first = &module.types[module.canonical[i].index()];
        let canonical = |t: Option<wasmc_environ::TypeIndex>| t.map(|t| module.canonical[t.index()]);
        let (CompositeType::Func(own), CompositeType::Func(other)) = (&ty.composite, &first.composite);
        let same = |a: &[ValType], b: &[ValType]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(module, *a, *b));
        if canonical(ty.supertype) != canonical(first.supertype)
            || ty.is_final != first.is_final
            || !same(&own.params, &other.params)
            || !same(&own.results, &other.results)
        {
            return finding(format!("type {i} is said to equal type {}, and does not", module.canonical[i]));
        }
        let Some(CompositeType::Func(above)) = ty.supertype.map(|t| &module.types[t.index()].composite) else { continue };
        let fit = |from: &[ValType], to: &[ValType]| from.len() == to.len() && from.iter().zip(to).all(|(a, b)| fits(program, *a, *b));
        if !fit(&above.params, &own.params) || !fit(&own.results, &above.results) {
            return finding(format!("type {i} is said to be a subtype of one that it does not fit"));
        }
    }
    let imported = module.num_imported_tables as usize;
    for (ty, init) in module.tables[imported..].iter().zip(&module.table_inits) {
        if init.as_ref().is_some_and(|init| !gives(program, init, ValType::Ref(ty.element))) {
            return finding("a table begins with elements of another type than it declares".into());
        }
    }
    for (ty, init) in module.globals[module.num_imported_globals as usize..].iter().zip(&module.global_inits) {
        if !gives(program, init, ty.content) {
            return finding("a global begins with a value of another type than it declares".into());
        }
    }
    for (i, segment) in module.elements.iter().enumerate() {
        if let ElementItems::Expressions(ty, items) = &segment.items
            && !items.iter().all(|item| gives(program, item, ValType::Ref(*ty)))
        {
            return finding(format!("element segment {i} holds elements of another type than it declares"));
        }
        if let SegmentMode::Active { target, .. } = &segment.mode
            && !program.segment_types(i as u32).all(|ty| program.holds(target.as_u32(), Some(ty)))
        {
            return finding(format!("element segment {i} initialises a table with elements of other types"));
        }
    }
    Ok(())
}

/// Whether two types are the same, if all types of functions are that are said to be.
fn equal(module: &Module, a: ValType, b: ValType) -> bool {
    match (a, b) {
        (ValType::Ref(x), ValType::Ref(y)) => match (x.heap, y.heap) {
            (HeapType::Concrete(i), HeapType::Concrete(j)) => {
                x.nullable == y.nullable && module.canonical[i.index()] == module.canonical[j.index()]
            }
            _ => a == b,
        },
        _ => a == b,
    }
}

/// Whether values of the one type can be taken for values of the other. Null is among those of every type of references.
fn fits(program: &Program<'_>, sub: ValType, sup: ValType) -> bool {
    match (Ty::of(program.module, sub), Ty::of(program.module, sup)) {
        (Ty::Func(sub), Ty::Func(sup)) => program.is_subtype(sub, sup),
        (sub, sup) => sub == sup,
    }
}

/// Whether there is no reference of a type but null.
fn only_null(ty: ValType) -> bool {
    matches!(ty, ValType::Ref(r) if r.heap == HeapType::NoFunc)
}

/// Whether an expression gives a value of a type.
fn gives(program: &Program<'_>, expression: &ConstExpr, wanted: ValType) -> bool {
    let module = program.module;
    let Ty::Func(ty) = Ty::of(module, wanted) else { return true };
    match expression.ops.last() {
        Some(ConstOp::RefNull(_)) => true,
        Some(ConstOp::RefFunc(f)) => !only_null(wanted) && program.is_subtype(program.canonical(module.functions[f.index()]), ty),
        Some(ConstOp::GlobalGet(g)) => {
            let global = module.globals[g.index()];
            // What cannot change is null for ever.
            (only_null(global.content) && !global.mutable)
                || (!only_null(wanted) && matches!(Ty::of(module, global.content), Ty::Func(from) if program.is_subtype(from, ty)))
        }
        _ => false,
    }
}
