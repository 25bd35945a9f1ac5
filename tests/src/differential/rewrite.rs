//! What a generated module needs before it is run. Exports are chosen here (wasm-smith exports either too little or
//! everything, and an exported table is never a closed one). What belongs to garbage collection is replaced, since
//! wasm-smith makes typed function references only together with it: structures, arrays and `any` become `extern`, casts
//! fail or do nothing. Exceptions get more frequent: `unreachable` becomes a throw, and `try_table` becomes `try` in some
//! modules, since wasm-smith does not make exceptions in their first form. Waiting gets a timeout of 0. Where NaNs are not canonical, they are made so right before their
//! bits can be seen (in memory, in an integer, as the sign that `copysign` takes).

use std::collections::BTreeSet;
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    AbstractHeapType, CodeSection, ConstExpr, ExportKind, ExportSection, Function, HeapType, Instruction, SectionId, ValType,
};
use wasmparser::{self as wp, Operator};

/// What to change.
#[derive(Clone, Debug)]
pub struct Options {
    /// Make NaNs canonical where their bits can be seen.
    pub hide_nans: bool,
    /// Export tables too.
    pub export_tables: bool,
    /// Throw where the code says `unreachable`.
    pub throws: bool,
    /// Make `try` of `try_table` where no reference to the exception is caught.
    pub legacy_exceptions: bool,
    /// Make shared memories usual ones.
    pub unshare: bool,
    /// Work around what wasmi 2.0.0 gets wrong (see `emit`). Means the same.
    pub for_oracle: bool,
    /// The global that counts what functions use up; exported as `fuel`.
    pub fuel_global: u32,
}

/// A module rewritten, and the proposals whose instructions it has, by wasmparser's names.
pub type Rewritten = (Vec<u8>, BTreeSet<&'static str>);

/// Rewrites a valid module.
///
/// # Errors
/// If the module cannot be read or written.
pub fn rewrite(wasm: &[u8], options: &Options) -> Result<Rewritten, Error> {
    let counts = Counts::read(wasm)?;
    let mut module = wasm_encoder::Module::new();
    let mut pass = Pass { counts, options, exported: false, body: 0, open: Vec::new(), fuel_check: 0, picks: 0, groups: BTreeSet::new() };
    utils::parse_core_module(&mut pass, &mut module, wp::Parser::new(0), wasm)?;
    pass.export(&mut module);
    Ok((module.finish(), pass.groups))
}

/// What is declared before the code.
#[derive(Default)]
struct Counts {
    /// For each type its parameters if it is a function type.
    types: Vec<Option<Box<[wp::ValType]>>>,
    /// The type of each function.
    functions: Vec<u32>,
    imported_functions: u32,
    tables: u32,
    memories: u32,
    globals: u32,
    /// The type of each tag.
    tags: Vec<u32>,
}

impl Counts {
    fn read(wasm: &[u8]) -> Result<Self, wp::Error> {
        let mut c = Self::default();
        for payload in wp::Parser::new(0).parse_all(wasm) {
            match payload? {
                wp::Payload::TypeSection(section) => {
                    for group in section {
                        c.types.extend(group?.into_types().map(|t| match t.composite_type.inner {
                            wp::CompositeInnerType::Func(f) => Some(f.params().into()),
                            _ => None,
                        }));
                    }
                }
                wp::Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        match import?.ty {
                            wp::TypeRef::Func(t) | wp::TypeRef::FuncExact(t) => {
                                c.functions.push(t);
                                c.imported_functions += 1;
                            }
                            wp::TypeRef::Table(_) => c.tables += 1,
                            wp::TypeRef::Memory(_) => c.memories += 1,
                            wp::TypeRef::Global(_) => c.globals += 1,
                            wp::TypeRef::Tag(t) => c.tags.push(t.func_type_idx),
                        }
                    }
                }
                wp::Payload::FunctionSection(section) => {
                    for t in section {
                        c.functions.push(t?);
                    }
                }
                wp::Payload::TableSection(s) => c.tables += s.count(),
                wp::Payload::MemorySection(s) => c.memories += s.count(),
                wp::Payload::GlobalSection(s) => c.globals += s.count(),
                wp::Payload::TagSection(section) => {
                    for t in section {
                        c.tags.push(t?.func_type_idx);
                    }
                }
                _ => {}
            }
        }
        Ok(c)
    }
}

struct Pass<'a> {
    counts: Counts,
    options: &'a Options,
    exported: bool,
    body: usize,
    /// The open constructs of the body; the clauses of those that became `try`.
    open: Vec<Option<Vec<wp::Catch>>>,
    /// How many instructions of wasm-smith's check of the fuel came last: what ends it must remain a trap.
    fuel_check: u32,
    /// Choices made.
    picks: u32,
    groups: BTreeSet<&'static str>,
}

/// Tables of branches with more targets are left to wasmi as they are.
const MAX_COMPARISONS: u32 = 64;

/// The locals that a function gets to hold an index or a float while it is looked at.
#[derive(Copy, Clone)]
struct Scratch {
    i32: u32,
    f32: u32,
    f64: u32,
}

impl Pass<'_> {
    /// Writes the section of exports where the module has none.
    fn export(&mut self, module: &mut wasm_encoder::Module) {
        if !self.exported {
            let mut exports = ExportSection::new();
            self.fill(&mut exports);
            module.section(&exports);
        }
    }

    fn fill(&mut self, exports: &mut ExportSection) {
        self.exported = true;
        let c = &self.counts;
        for i in 0..c.functions.len() as u32 {
            exports.export(&format!("f{i}"), ExportKind::Func, i);
        }
        for i in (0..c.tables).filter(|_| self.options.export_tables) {
            exports.export(&format!("t{i}"), ExportKind::Table, i);
        }
        for i in 0..c.memories {
            exports.export(&format!("m{i}"), ExportKind::Memory, i);
        }
        for i in 0..c.globals {
            let name = if i == self.options.fuel_global { "fuel".to_owned() } else { format!("g{i}") };
            exports.export(&name, ExportKind::Global, i);
        }
        for i in 0..c.tags.len() as u32 {
            exports.export(&format!("e{i}"), ExportKind::Tag, i);
        }
    }

    fn is_function_type(&self, index: u32) -> bool {
        self.counts.types.get(index as usize).is_some_and(Option::is_some)
    }

    /// One of `n`, each in turn.
    fn pick(&mut self, n: u32) -> u32 {
        self.picks += 1;
        self.picks % n
    }

    /// A throw of some tag with zeros; false if a value cannot be made.
    fn throw(&mut self, f: &mut Function) -> Result<bool, Error> {
        use Instruction as I;
        if self.counts.tags.is_empty() {
            return Ok(false);
        }
        let tag = self.pick(self.counts.tags.len() as u32);
        let params = self.counts.types[self.counts.tags[tag as usize] as usize].clone().unwrap_or_default();
        if params.iter().any(|t| matches!(t, wp::ValType::Ref(r) if !r.is_nullable())) {
            return Ok(false);
        }
        for (i, ty) in params.iter().enumerate() {
            f.instruction(&match ty {
                wp::ValType::I32 => I::I32Const(i as i32 - 3),
                wp::ValType::I64 => I::I64Const(i as i64 + 5),
                wp::ValType::F32 => I::F32Const((i as f32 + 0.5).into()),
                wp::ValType::F64 => I::F64Const((i as f64 - 0.25).into()),
                wp::ValType::V128 => I::V128Const(i as i128 + 77),
                wp::ValType::Ref(r) => I::RefNull(self.heap_type(r.heap_type())?),
            });
        }
        f.instruction(&I::Throw(tag));
        Ok(true)
    }

    /// Keeps account of constructs, and turns some into `try`. True if the operator is done with.
    fn control(&mut self, f: &mut Function, op: &Operator<'_>) -> Result<bool, Error> {
        use Instruction as I;
        match op {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => self.open.push(None),
            Operator::TryTable { try_table } => {
                let plain = |c: &wp::Catch| matches!(c, wp::Catch::One { .. } | wp::Catch::All { .. });
                if self.options.legacy_exceptions && try_table.catches.iter().all(plain) {
                    let ty = self.block_type(try_table.ty)?;
                    f.instruction(&I::Try(ty));
                    self.groups.insert("legacy_exceptions");
                    self.open.push(Some(try_table.catches.clone()));
                    return Ok(true);
                }
                self.open.push(None);
            }
            Operator::End => {
                let Some(Some(catches)) = self.open.pop() else { return Ok(false) };
                if catches.is_empty() && self.pick(2) == 0 {
                    let depth = self.open.len() as u32;
                    let to = self.pick(depth);
                    f.instruction(&I::Delegate(to));
                    return Ok(true);
                }
                for catch in catches {
                    let label = match catch {
                        wp::Catch::One { tag, label } => {
                            f.instruction(&I::Catch(tag));
                            label
                        }
                        wp::Catch::All { label } => {
                            f.instruction(&I::CatchAll);
                            label
                        }
                        _ => unreachable!("only such clauses were taken"),
                    };
                    // Inside the clause, the construct itself is one more label.
                    f.instruction(&if self.pick(5) == 0 { I::Rethrow(0) } else { I::Br(label + 1) });
                    if matches!(catch, wp::Catch::All { .. }) {
                        break;
                    }
                }
                f.instruction(&I::End);
                return Ok(true);
            }
            _ => {}
        }
        Ok(false)
    }

    fn emit(&mut self, f: &mut Function, op: Operator<'_>, scratch: Scratch) -> Result<(), Error> {
        use Instruction as I;
        if proposal(&op) != "gc" {
            self.groups.insert(proposal(&op));
        }
        self.fuel_check = match (self.fuel_check, &op) {
            (_, Operator::GlobalGet { global_index }) if *global_index == self.options.fuel_global => 1,
            (1, Operator::I32Eqz) => 2,
            (2, Operator::If { .. }) => 3,
            _ if matches!(op, Operator::I32GeU) => 2,
            (3, Operator::Unreachable) => 4,
            _ => 0,
        };
        if self.control(f, &op)? {
            return Ok(());
        }
        if self.options.throws && matches!(op, Operator::Unreachable) && self.fuel_check != 4 && self.throw(f)? {
            return Ok(());
        }
        if self.options.hide_nans {
            match op {
                Operator::I32ReinterpretF32 | Operator::F32Store { .. } | Operator::F32Copysign => hide_nan(f, scratch.f32, false),
                Operator::I64ReinterpretF64 | Operator::F64Store { .. } | Operator::F64Copysign => hide_nan(f, scratch.f64, true),
                _ => {}
            }
        }
        // wasmi drops the spill of a value that lies below a comparison with 0 when it fuses that with a selection:
        // `memory.size; select(1, x, eqz x)` is wrong. What it does not recognise, it does not fuse.
        if self.options.for_oracle && matches!(op, Operator::Select | Operator::TypedSelect { .. }) {
            f.instruction(&I::I32Const(0)).instruction(&I::I32Or);
        }
        match op {
            Operator::BrTable { targets } if self.options.for_oracle && targets.len() <= MAX_COMPARISONS => {
                compare_instead(f, &targets, scratch.i32)?;
            }
            Operator::MemoryAtomicWait32 { .. } | Operator::MemoryAtomicWait64 { .. } => {
                f.instruction(&I::Drop).instruction(&I::I64Const(0));
                f.instruction(&self.instruction(op)?);
            }
            Operator::RefEq => {
                f.instruction(&I::Drop).instruction(&I::Drop).instruction(&I::I32Const(1));
            }
            Operator::RefI31 | Operator::RefI31Shared => {
                f.instruction(&I::Drop).instruction(&I::RefNull(extern_heap())).instruction(&I::RefAsNonNull);
            }
            Operator::I31GetS | Operator::I31GetU | Operator::RefTestNonNull { .. } | Operator::RefTestNullable { .. } => {
                f.instruction(&I::Drop).instruction(&I::I32Const(i32::from(matches!(op, Operator::RefTestNullable { .. }))));
            }
            Operator::AnyConvertExtern | Operator::ExternConvertAny => {}
            Operator::RefCastNonNull { hty } => self.cast(f, hty, false)?,
            Operator::RefCastNullable { hty } => self.cast(f, hty, true)?,
            // Never taken. What stays is not null if a null would have been taken.
            Operator::BrOnCast { to_ref_type, .. } => {
                if to_ref_type.is_nullable() {
                    f.instruction(&I::RefAsNonNull);
                }
            }
            // Never taken either, so what stays has the type of the cast.
            Operator::BrOnCastFail { to_ref_type, .. } => self.cast(f, to_ref_type.heap_type(), to_ref_type.is_nullable())?,
            op => {
                f.instruction(&self.instruction(op)?);
            }
        }
        Ok(())
    }

    /// A cast that only lets null pass: what the types allow without a test.
    fn cast(&mut self, f: &mut Function, to: wp::HeapType, nullable: bool) -> Result<(), Error> {
        f.instruction(&Instruction::Drop).instruction(&Instruction::RefNull(self.heap_type(to)?));
        if !nullable {
            f.instruction(&Instruction::RefAsNonNull);
        }
        Ok(())
    }
}

fn extern_heap() -> HeapType {
    HeapType::Abstract { shared: false, ty: AbstractHeapType::Extern }
}

/// A `br_table` as comparisons, one after the other. wasmi copies the operands of a branch wrongly where a table branches with several of
/// them, or one vector, and others lie below: `i64.const 7; v128.const ..; br_table`.
fn compare_instead(f: &mut Function, targets: &wp::BrTable<'_>, local: u32) -> Result<(), Error> {
    use Instruction as I;
    f.instruction(&I::LocalSet(local));
    for (i, target) in targets.targets().enumerate() {
        f.instruction(&I::LocalGet(local)).instruction(&I::I32Const(i as i32)).instruction(&I::I32Eq).instruction(&I::BrIf(target?));
    }
    f.instruction(&I::Br(targets.default()));
    Ok(())
}

/// Replaces the float on the stack by the canonical NaN if it is any NaN.
fn hide_nan(f: &mut Function, local: u32, wide: bool) {
    use Instruction as I;
    f.instruction(&I::LocalTee(local));
    f.instruction(&if wide { I::F64Const(f64::NAN.into()) } else { I::F32Const(f32::NAN.into()) });
    f.instruction(&I::LocalGet(local)).instruction(&I::LocalGet(local));
    f.instruction(if wide { &I::F64Eq } else { &I::F32Eq }).instruction(&I::Select);
}

impl Reencode for Pass<'_> {
    type Error = std::convert::Infallible;

    fn heap_type(&mut self, heap: wp::HeapType) -> Result<HeapType, Error> {
        use wp::AbstractHeapType as A;
        match heap {
            wp::HeapType::Abstract { ty: A::Any | A::Eq | A::I31 | A::Struct | A::Array, .. } => Ok(extern_heap()),
            wp::HeapType::Abstract { ty: A::None, .. } => Ok(HeapType::Abstract { shared: false, ty: AbstractHeapType::NoExtern }),
            wp::HeapType::Concrete(i) | wp::HeapType::Exact(i) if i.as_module_index().is_some_and(|i| !self.is_function_type(i)) => {
                Ok(extern_heap())
            }
            other => utils::heap_type(self, other),
        }
    }

    fn memory_type(&mut self, ty: wp::MemoryType) -> Result<wasm_encoder::MemoryType, Error> {
        let ty = utils::memory_type(self, ty);
        let shared = ty.shared && !self.options.unshare && !self.options.for_oracle;
        if shared {
            self.groups.insert("shared memories");
        }
        Ok(wasm_encoder::MemoryType { shared, ..ty })
    }

    fn sub_type(&mut self, ty: wp::SubType) -> Result<wasm_encoder::SubType, Error> {
        if matches!(ty.composite_type.inner, wp::CompositeInnerType::Func(_)) {
            return utils::sub_type(self, ty);
        }
        // Keeps the place of a structure or array, to which nothing refers any more.
        Ok(wasm_encoder::SubType {
            is_final: true,
            supertype_idxs: Vec::new(),
            composite_type: wasm_encoder::CompositeType {
                inner: wasm_encoder::CompositeInnerType::Func(wasm_encoder::FuncType::new([], [])),
                shared: false,
                descriptor: None,
                describes: None,
            },
        })
    }

    fn const_expr(&mut self, expr: wp::ConstExpr<'_>) -> Result<ConstExpr, Error> {
        let mut reader = expr.get_operators_reader();
        while !reader.eof() {
            if proposal(&reader.read()?) == "gc" {
                return Ok(ConstExpr::ref_null(extern_heap()));
            }
        }
        utils::const_expr(self, expr)
    }

    fn parse_export_section(&mut self, exports: &mut ExportSection, _: wp::ExportSectionReader<'_>) -> Result<(), Error> {
        self.fill(exports);
        Ok(())
    }

    fn intersperse_section_hook(
        &mut self,
        module: &mut wasm_encoder::Module,
        _after: Option<SectionId>,
        before: Option<SectionId>,
    ) -> Result<(), Error> {
        if matches!(before, Some(SectionId::Start | SectionId::Element | SectionId::DataCount | SectionId::Code | SectionId::Data)) {
            self.export(module);
        }
        Ok(())
    }

    fn parse_function_body(&mut self, code: &mut CodeSection, body: wp::FunctionBody<'_>) -> Result<(), Error> {
        let ty = self.counts.functions[self.counts.imported_functions as usize + self.body];
        self.body += 1;
        let mut next = self.counts.types[ty as usize].as_ref().map_or(0, |params| params.len() as u32);
        self.open = vec![None];
        let mut locals = Vec::new();
        for local in body.get_locals_reader()? {
            let (count, ty) = local?;
            next += count;
            locals.push((count, self.val_type(ty)?));
        }
        let scratch = Scratch { i32: next, f32: next + 1, f64: next + 2 };
        if self.options.hide_nans || self.options.for_oracle {
            locals.extend([(1, ValType::I32), (1, ValType::F32), (1, ValType::F64)]);
        }
        let mut f = Function::new(locals);
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            let op = reader.read()?;
            self.emit(&mut f, op, scratch)?;
        }
        code.function(&f);
        Ok(())
    }
}

macro_rules! proposals {
    ($(@$proposal:ident $op:ident $({ $($payload:tt)* })? => $visit:ident ($($ann:tt)*))*) => {
        /// The proposal that brought an operator, by wasmparser's name.
        fn proposal(op: &Operator<'_>) -> &'static str {
            match op {
                $(Operator::$op { .. } => stringify!($proposal),)*
                _ => "later",
            }
        }
    };
}
wp::for_each_operator!(proposals);
