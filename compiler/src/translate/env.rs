//! What the translation of every function of a module shares: the decoded module, the layout of its `VMContext`, the
//! options that change code, and facts about the target. Read-only, so that all threads use the same one. The
//! signatures of `docs/abi.md` are made here, for the translator as well as for the stubs.

use cranelift_codegen::ir::{self, AbiParam, InstBuilder, Value, types};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use cranelift_frontend::FunctionBuilder;
use wasmc_environ::branch_hints::BranchHints;
use wasmc_environ::builtins::{Builtin, BuiltinType};
use wasmc_environ::const_expr::{ConstExpr, ConstOp};
use wasmc_environ::costs::CostTable;
use wasmc_environ::types::{AbiSignature, AbiType, FuncType};
use wasmc_environ::vmoffsets::VMOffsets;
use wasmc_environ::{FuncIndex, GlobalIndex, Module, TableIndex, Tunables, TypeIndex};

/// What the translation of every function of a module shares.
pub struct ModuleEnv<'a> {
    /// The decoded module, closed tables included.
    pub module: &'a Module,
    /// The layout of its `VMContext`.
    pub offsets: &'a VMOffsets,
    /// Options that change code.
    pub tunables: &'a Tunables,
    /// What instructions cost in metered code, if not 1 each.
    pub costs: Option<&'a CostTable>,
    /// The target.
    pub isa: &'a dyn TargetIsa,
    /// Whether `f32.ceil` and its like are instructions; else Cranelift would call library functions that know no
    /// `vmctx`, so the builtins are called. On x86-64 they come with SSE4.1.
    pub has_rounding: bool,
    /// Whether the x86-64 target has SSSE3; true on every other architecture.
    pub has_ssse3: bool,
    /// Whether the target fuses multiplication and addition in one instruction.
    pub has_fma: bool,
    /// Whether the target is x86-64.
    pub is_x86_64: bool,
    /// Whether locals of interpreter loops are kept in the frame (`locals.rs`).
    pub frame_locals: bool,
    /// Whether shifts and sums of small indices become a part of addresses (`index.rs`); only x86-64 has scales and offsets together.
    pub scaled_indices: bool,
    /// Which branches are likely; none unless `pool` was asked to read them.
    pub hints: BranchHints,
    /// The value of each immutable global, by `GlobalIndex`, where it is known now.
    constants: Vec<Option<ConstOp>>,
    /// For each closed table the canonical type that all its elements have, if it is one and none is null.
    uniform: Vec<Option<TypeIndex>>,
}

impl<'a> ModuleEnv<'a> {
    /// The environment of a module for one target.
    pub fn new(module: &'a Module, offsets: &'a VMOffsets, tunables: &'a Tunables, isa: &'a dyn TargetIsa) -> Self {
        let is_x86_64 = matches!(isa.triple().architecture, target_lexicon::Architecture::X86_64);
        // `isa_flags` makes a list of all settings, so it is asked once here and never per function.
        let flags = isa.isa_flags();
        let has = |name: &str| !is_x86_64 || flags.iter().any(|f| f.name == name && f.as_bool() == Some(true));
        Self {
            module,
            offsets,
            tunables,
            costs: None,
            isa,
            has_rounding: has("has_sse41"),
            has_ssse3: has("has_ssse3"),
            has_fma: has("has_fma"),
            is_x86_64,
            frame_locals: false,
            scaled_indices: is_x86_64,
            hints: BranchHints::default(),
            constants: constant_globals(module),
            uniform: uniform_tables(module),
        }
    }

    /// The value of a global that never changes, if it is known now: an operation without operands.
    pub(super) fn constant_global(&self, index: GlobalIndex) -> Option<ConstOp> {
        self.constants.get(index.index()).copied().flatten()
    }

    /// The canonical type that all elements of a closed table have, if it is one and none is null.
    pub(super) fn uniform_table(&self, index: TableIndex) -> Option<TypeIndex> {
        self.uniform.get(index.index()).copied().flatten()
    }

    /// The signature of a wasm function: hidden parameter, parameters, results.
    pub fn signature(&self, ty: &FuncType) -> ir::Signature {
        wasm_signature(ty.params.iter().map(|t| t.abi()), ty.results.iter().map(|t| t.abi()))
    }

    /// The same, for what the functions that one stub serves have in common.
    pub fn abi_signature(&self, signature: &AbiSignature) -> ir::Signature {
        wasm_signature(signature.params.iter().copied(), signature.results.iter().copied())
    }

    /// The signature of a builtin's trampoline.
    pub fn builtin_signature(&self, builtin: Builtin) -> ir::Signature {
        let s = builtin.signature();
        let mut signature = ir::Signature::new(CallConv::Tail);
        signature.params.push(AbiParam::new(types::I64));
        signature.params.extend(s.params.iter().map(|t| AbiParam::new(builtin_type(*t))));
        signature.returns.extend(s.result.map(|t| AbiParam::new(builtin_type(t))));
        signature
    }
}

/// The `VMContext` that the hidden parameter of a function of the module leads to. The difference becomes part of the offsets of what is
/// read and written there.
pub fn context_of(builder: &mut FunctionBuilder<'_>, offsets: &VMOffsets, hidden: Value) -> Value {
    match offsets.hidden() {
        0 => hidden,
        distance => builder.ins().iadd_imm_s(hidden, -i64::from(distance)),
    }
}

fn wasm_signature(params: impl Iterator<Item = AbiType>, results: impl Iterator<Item = AbiType>) -> ir::Signature {
    let mut signature = ir::Signature::new(CallConv::Tail);
    signature.params.push(AbiParam::new(types::I64));
    signature.params.extend(params.map(|t| AbiParam::new(clif_type(t))));
    signature.returns.extend(results.map(|t| AbiParam::new(clif_type(t))));
    signature
}

/// The CLIF type of a value that travels between functions in this way. Vectors are `I8X16` wherever they stand on the
/// operand stack or in a local; instructions cast them to the lanes that they work on.
pub fn clif_type(ty: AbiType) -> ir::Type {
    match ty {
        AbiType::I32 | AbiType::HeapRef => types::I32,
        AbiType::I64 | AbiType::FuncRef => types::I64,
        AbiType::F32 => types::F32,
        AbiType::F64 => types::F64,
        AbiType::V128 => types::I8X16,
    }
}

fn builtin_type(ty: BuiltinType) -> ir::Type {
    match ty {
        BuiltinType::I32 => types::I32,
        BuiltinType::I64 => types::I64,
        BuiltinType::F32 => types::F32,
        BuiltinType::F64 => types::F64,
    }
}

/// Initial values refer to earlier globals only, so one pass in order finds all.
fn constant_globals(module: &Module) -> Vec<Option<ConstOp>> {
    let mut constants: Vec<Option<ConstOp>> = vec![None; module.num_imported_globals as usize];
    for (init, ty) in module.global_inits.iter().zip(module.globals.iter().skip(module.num_imported_globals as usize)) {
        constants.push(if ty.mutable { None } else { evaluate(init, &constants) });
    }
    constants
}

fn evaluate(expr: &ConstExpr, constants: &[Option<ConstOp>]) -> Option<ConstOp> {
    let mut stack = Vec::new();
    for op in &expr.ops {
        let value = match *op {
            ConstOp::GlobalGet(i) => (*constants.get(i.index())?)?,
            ConstOp::I32Add | ConstOp::I32Sub | ConstOp::I32Mul | ConstOp::I64Add | ConstOp::I64Sub | ConstOp::I64Mul => {
                let (b, a) = (stack.pop()?, stack.pop()?);
                arithmetic(*op, a, b)?
            }
            value => value,
        };
        stack.push(value);
    }
    stack.pop().filter(|_| stack.is_empty())
}

fn arithmetic(op: ConstOp, a: ConstOp, b: ConstOp) -> Option<ConstOp> {
    Some(match (op, a, b) {
        (ConstOp::I32Add, ConstOp::I32Const(a), ConstOp::I32Const(b)) => ConstOp::I32Const(a.wrapping_add(b)),
        (ConstOp::I32Sub, ConstOp::I32Const(a), ConstOp::I32Const(b)) => ConstOp::I32Const(a.wrapping_sub(b)),
        (ConstOp::I32Mul, ConstOp::I32Const(a), ConstOp::I32Const(b)) => ConstOp::I32Const(a.wrapping_mul(b)),
        (ConstOp::I64Add, ConstOp::I64Const(a), ConstOp::I64Const(b)) => ConstOp::I64Const(a.wrapping_add(b)),
        (ConstOp::I64Sub, ConstOp::I64Const(a), ConstOp::I64Const(b)) => ConstOp::I64Const(a.wrapping_sub(b)),
        (ConstOp::I64Mul, ConstOp::I64Const(a), ConstOp::I64Const(b)) => ConstOp::I64Const(a.wrapping_mul(b)),
        _ => return None,
    })
}

fn uniform_tables(module: &Module) -> Vec<Option<TypeIndex>> {
    let canonical = |f: FuncIndex| module.canonical[module.functions[f.index()].index()];
    let uniform = |elements: &[Option<FuncIndex>]| {
        let first = canonical((*elements.first()?)?);
        elements.iter().all(|e| e.is_some_and(|f| canonical(f) == first)).then_some(first)
    };
    module.closed_tables.iter().map(|t| uniform(&t.as_ref()?.elements)).collect()
}
