//! The translator: a function's wasm operators -> CLIF, validated on the way in the same pass. It works on one function
//! at a time and shares nothing mutable with others, so functions are translated in parallel and the result does not
//! depend on the order. It never recurses on the nesting of the input, and never panics on it.
//!
//! `FuncTranslator` holds the state: the operand stack of CLIF values, the stack of control constructs, and what was
//! already declared in the function. Each file adds the operators of one family to it.

mod atomic;
mod bounds;
mod bulk;
mod call;
mod control;
mod convert;
mod env;
mod exception;
mod fuel;
mod global;
mod index;
mod legacy;
mod locals;
mod memory;
mod numeric;
mod operator;
mod osr;
mod reference;
mod region;
mod simd;
mod symbol;
mod table;
mod trace;
mod trap;

#[cfg(test)]
mod corpus_tests;
#[cfg(test)]
mod proposal_tests;
#[cfg(test)]
mod robust_tests;
#[cfg(test)]
mod tests;

pub use env::{ModuleEnv, clif_type, context_of};
pub use trap::{from_clif, trap_code};

use crate::symbols::Symbol;
use control::Frame;
use cranelift_codegen::ir::{self, BlockArg, InstBuilder, SourceLoc, Type, UserFuncName, Value, types};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use exception::TryScope;
use wasmc_environ::branch_hints::BranchHint;
use wasmc_environ::decode::FunctionToValidate;
use wasmc_environ::error::DecodeError;
use wasmc_environ::jit::CompileError;
use wasmc_environ::types::{AbiType, ValType};
use wasmc_environ::{DefinedFuncIndex, FuncIndex, MemoryIndex};
use wasmparser::{
    FuncToValidate, FuncValidator, FuncValidatorAllocations, FunctionBody, OperatorsReader, OperatorsReaderAllocations, ValidatorResources,
};

/// What a thread reuses from one function to the next.
#[derive(Default)]
pub struct TranslateContext {
    builder: FunctionBuilderContext,
    validator: FuncValidatorAllocations,
    operators: OperatorsReaderAllocations,
    buffers: Buffers,
}

#[derive(Default)]
struct Buffers {
    stack: Vec<Value>,
    control: Vec<Frame>,
    scopes: Vec<TryScope>,
    symbols: symbol::Symbols,
    args: Vec<Value>,
    block_args: Vec<BlockArg>,
    memory_bases: Vec<(MemoryIndex, Value)>,
    /// For each local whether it was read or written.
    touched: Vec<bool>,
}

/// Validates a function and translates it to CLIF in `out`, which is cleared first.
///
/// # Errors
/// If the function is not valid, or uses an operator that is not supported.
pub fn translate_function(
    env: &ModuleEnv<'_>,
    cx: &mut TranslateContext,
    index: DefinedFuncIndex,
    f: FunctionToValidate<'_>,
    out: &mut ir::Function,
) -> Result<(), CompileError> {
    translate(env, cx, index, f, None, out)
}

/// The same for code that is entered at the head of the loop at `offset`, as `TierEntry::Loop` says.
///
/// # Errors
/// As [`translate_function`], and if the function cannot be entered there.
pub fn translate_from_loop(
    env: &ModuleEnv<'_>,
    cx: &mut TranslateContext,
    index: DefinedFuncIndex,
    f: FunctionToValidate<'_>,
    offset: u32,
    out: &mut ir::Function,
) -> Result<(), CompileError> {
    translate(env, cx, index, f, Some(offset), out)
}

fn translate(
    env: &ModuleEnv<'_>,
    cx: &mut TranslateContext,
    index: DefinedFuncIndex,
    f: FunctionToValidate<'_>,
    from_loop: Option<u32>,
    out: &mut ir::Function,
) -> Result<(), CompileError> {
    let FunctionToValidate { validator, body } = f;
    let FuncToValidate { resources, index: number, ty, features } = &validator;
    let again = FuncToValidate { resources: resources.clone(), index: *number, ty: *ty, features: *features };
    let mut validator = validator.into_validator(std::mem::take(&mut cx.validator));
    let mut result = translate_body(env, cx, index, &mut validator, &body, from_loop, Vec::new(), out);
    cx.validator = validator.into_allocations();
    if let Ok(for_frame) = &mut result
        && !for_frame.is_empty()
    {
        let for_frame = std::mem::take(for_frame);
        let mut validator = again.into_validator(std::mem::take(&mut cx.validator));
        result = translate_body(env, cx, index, &mut validator, &body, from_loop, for_frame, out);
        cx.validator = validator.into_allocations();
    }
    result.map(|_| ())
}

/// Translates with the locals of `for_frame` in the frame; if there are none, returns those that are better there.
#[expect(clippy::too_many_arguments, reason = "called by one function only, which passes on its own")]
fn translate_body(
    env: &ModuleEnv<'_>,
    cx: &mut TranslateContext,
    index: DefinedFuncIndex,
    validator: &mut FuncValidator<ValidatorResources>,
    body: &FunctionBody<'_>,
    from_loop: Option<u32>,
    for_frame: Vec<u32>,
    out: &mut ir::Function,
) -> Result<Vec<u32>, CompileError> {
    let start = body.range().start;
    let func = env.module.func_index(index);
    out.clear();
    out.name = UserFuncName::User(Symbol::Function(func).to_name());
    out.signature = env.signature(env.module.type_of(func));

    // The builder's context is only put back if it was emptied by `finalize`: after an error it is dropped.
    let mut builder_cx = std::mem::take(&mut cx.builder);
    let buffers = std::mem::take(&mut cx.buffers);
    let mut t = FuncTranslator::new(env, FunctionBuilder::new(out, &mut builder_cx), buffers, body);
    t.offset = start;
    t.hints = env.hints.of(func);
    if env.frame_locals && for_frame.is_empty() && body.range().end - start >= locals::MIN_BODY {
        t.watch = Some(locals::Watch::default());
    }
    t.for_frame = for_frame;
    t.begin(func);

    let mut locals = body.get_locals_reader().map_err(DecodeError::from)?;
    for _ in 0..locals.get_count() {
        let offset = locals.original_position();
        let (count, ty) = locals.read().map_err(DecodeError::from)?;
        validator.define_locals(offset, count, ty).map_err(DecodeError::from)?;
        t.declare_locals(count, ValType::from_wasmparser(ty, offset)?);
    }

    t.enter_at_loop(func, from_loop);
    t.trace_enter(func)?;
    t.begin_metering(body);

    let mut reader = locals.get_binary_reader();
    reader.set_features(*validator.features());
    let mut operators = OperatorsReader::new_with_allocs(reader, std::mem::take(&mut cx.operators));
    while !operators.eof() {
        let (op, offset) = operators.read_with_offset().map_err(DecodeError::from)?;
        validator.op(offset, &op).map_err(DecodeError::from)?;
        t.set_offset(offset)?;
        t.metered_operator(&op)?;
    }
    operators.finish().map_err(DecodeError::from)?;
    cx.operators = operators.into_allocations();

    t.entered_at_loop()?;
    let FuncTranslator { builder, mut buffers, watch, .. } = t;
    let for_frame = watch.map_or_else(Vec::new, |w| w.for_frame(&builder.func.dfg));
    // What the locals add to blocks is known only now that all are sealed.
    let dfg = &builder.func.dfg;
    let params: usize = builder.func.layout.blocks().map(|b| dfg.num_block_params(b)).sum();
    if params > MAX_BLOCK_PARAMS {
        return Err(DecodeError::limit("function too large for native code", start).into());
    }
    builder.finalize(env.isa.frontend_config());
    buffers.clear();
    cx.builder = builder_cx;
    cx.buffers = buffers;
    Ok(for_frame)
}

impl Buffers {
    fn clear(&mut self) {
        self.stack.clear();
        self.control.clear();
        self.scopes.clear();
        self.symbols.clear();
        self.args.clear();
        self.block_args.clear();
        self.memory_bases.clear();
        self.touched.clear();
    }
}

/// The state of a function's translation.
pub(super) struct FuncTranslator<'a, 'm> {
    /// The function under construction. The current block is never filled while `reachable`.
    pub(super) builder: FunctionBuilder<'a>,
    /// What all functions of the module share.
    pub(super) env: &'a ModuleEnv<'m>,
    /// The function's body, for reading ahead.
    body: &'a FunctionBody<'a>,
    /// Byte offset of the current operator in the module.
    pub(super) offset: u64,
    /// The hidden parameter: `VMOffsets::hidden` bytes behind the start of the `VMContext`.
    pub(super) hidden: Value,
    /// The instance's `VMContext`.
    pub(super) vmctx: Value,
    /// Whether the current operator can be reached. If not, only the control constructs are followed.
    pub(super) reachable: bool,
    /// How many constructs were opened in unreachable code; they have no `Frame`.
    dead_depth: u32,
    /// What comes after the bodies of the `try`s that are still to come, once there is one.
    tries: Option<std::vec::IntoIter<legacy::TryShape>>,
    /// The hints for the branches to come.
    hints: &'a [BranchHint],
    /// What metered code charges for.
    meter: fuel::Meter,
    /// Whether the current block is only reached by branches that are unlikely.
    cold: bool,
    /// How many operands all branches so far carry and all blocks take.
    carried: usize,
    /// How many locals were read or written.
    touched: usize,
    /// In code that is entered at the head of a loop: where that is, until it is found.
    osr: Option<osr::FromLoop>,
    /// In code that reports its calls: this entry of the function, and where arguments and results are written for the report.
    trace: Option<trace::Traced>,
    /// In the first translation of a function: what decides which locals are better in the frame.
    watch: Option<locals::Watch>,
    /// The locals that are to be there, sorted.
    for_frame: Vec<u32>,
    /// Where each local is there, if it is.
    in_frame: Vec<Option<locals::FrameLocal>>,
    buffers: Buffers,
}

// A function beyond one of these is left to the interpreter, as one that is beyond the limits of `size.rs`; what is counted
// here is only known when it is translated. They keep a small hostile module from filling time and memory.

/// Greatest number of CLIF instructions in a function.
const MAX_INSTRUCTIONS: usize = 2 << 20;
/// Greatest number of values, among them the parameters that the locals add to blocks.
const MAX_VALUES: usize = 2 << 20;
/// Greatest number of parameters of all blocks. The register allocator takes time in the square where they are many: 5 s for this many.
const MAX_BLOCK_PARAMS: usize = 100_000;
/// Greatest number of operands that all branches of a function carry and all blocks take: two bytes of wasm can be a
/// branch with a thousand operands.
const MAX_CARRIED: usize = 2 << 20;
/// Greatest product of the number of locals that are used and the number of blocks: the SSA construction keeps a table
/// of that size, with four bytes for each entry. A large interpreter loop reaches less than half of it.
const MAX_LOCALS_IN_BLOCKS: usize = 128 << 20;

impl<'a, 'm> FuncTranslator<'a, 'm> {
    fn new(env: &'a ModuleEnv<'m>, mut builder: FunctionBuilder<'a>, buffers: Buffers, body: &'a FunctionBody<'a>) -> Self {
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        builder.seal_block(entry);
        builder.ensure_inserted_block();
        let hidden = builder.block_params(entry)[0];
        let vmctx = context_of(&mut builder, env.offsets, hidden);
        // Without a region, the stores before each call would hide every other store from the alias analysis.
        builder.make_stack_map_alias_region(Box::new(|set, _, _, _| Some(region::Region::roots(set))));
        Self {
            builder,
            env,
            body,
            offset: 0,
            hidden,
            vmctx,
            reachable: true,
            dead_depth: 0,
            tries: None,
            hints: &[],
            meter: fuel::Meter::default(),
            cold: false,
            carried: 0,
            touched: 0,
            osr: None,
            trace: None,
            watch: None,
            for_frame: Vec::new(),
            in_frame: Vec::new(),
            buffers,
        }
    }

    /// Opens the function: its parameters become locals, its body a construct that branches can leave.
    fn begin(&mut self, func: FuncIndex) {
        let ty = self.env.module.type_of(func);
        for (i, param) in ty.params.iter().enumerate() {
            let value = self.builder.func.dfg.block_params(self.entry())[i + 1];
            self.declare_local(*param, value);
        }
        self.push_function_frame(&ty.results);
    }

    fn entry(&self) -> ir::Block {
        // The entry block is the first that is created.
        ir::Block::from_u32(0)
    }

    fn declare_local(&mut self, ty: ValType, value: Value) {
        let variable = self.builder.declare_var(clif_type(ty.abi()));
        self.buffers.touched.push(false);
        if ty.is_heap_ref() {
            self.builder.declare_var_needs_stack_map(variable);
        }
        self.builder.def_var(variable, value);
        self.declare_in_frame(ty);
        let index = variable.as_u32();
        if self.frame_local(index).is_some() {
            self.write_local(index, value);
        }
    }

    /// Declares locals that start as 0 or null. Variables are numbered as the locals are.
    fn declare_locals(&mut self, count: u32, ty: ValType) {
        if count == 0 {
            return;
        }
        let zero = self.zero(ty.abi());
        for _ in 0..count {
            self.declare_local(ty, zero);
        }
    }

    /// 0 or null.
    pub(super) fn zero(&mut self, ty: AbiType) -> Value {
        match ty {
            AbiType::I32 | AbiType::HeapRef => self.builder.ins().iconst(types::I32, 0),
            AbiType::I64 | AbiType::FuncRef => self.builder.ins().iconst(types::I64, 0),
            AbiType::F32 => self.builder.ins().f32const(0.0),
            AbiType::F64 => self.builder.ins().f64const(0.0),
            AbiType::V128 => self.v128_const([0; 16]),
        }
    }

    /// A vector constant, as `I8X16`.
    pub(super) fn v128_const(&mut self, bytes: [u8; 16]) -> Value {
        let constant = self.builder.func.dfg.constants.insert(bytes.as_slice().into());
        self.builder.ins().vconst(types::I8X16, constant)
    }

    fn set_offset(&mut self, offset: u64) -> Result<(), CompileError> {
        self.offset = offset;
        let location = u32::try_from(offset).unwrap_or(u32::MAX);
        self.builder.set_srcloc(SourceLoc::new(location));
        self.check_size()
    }

    /// Fails if the function outgrows what a code generator can take.
    pub(super) fn check_size(&self) -> Result<(), CompileError> {
        let dfg = &self.builder.func.dfg;
        if dfg.num_insts() > MAX_INSTRUCTIONS
            || dfg.num_values() > MAX_VALUES
            || self.carried > MAX_CARRIED
            || self.touched.saturating_mul(dfg.num_blocks()) > MAX_LOCALS_IN_BLOCKS
        {
            return Err(self.too_large());
        }
        Ok(())
    }

    #[cold]
    fn too_large(&self) -> CompileError {
        DecodeError::limit("function too large for native code", self.offset).into()
    }

    /// Pushes an operand.
    #[inline]
    pub(super) fn push(&mut self, value: Value) {
        self.buffers.stack.push(value);
    }

    /// Pushes an operand of a type; references are declared to the stack maps.
    pub(super) fn push_typed(&mut self, value: Value, ty: AbiType) {
        self.declare_root(value, ty);
        self.buffers.stack.push(value);
    }

    /// Declares a value to the stack maps if it is a reference into the store's heap.
    pub(super) fn declare_root(&mut self, value: Value, ty: AbiType) {
        if ty == AbiType::HeapRef {
            self.builder.declare_value_needs_stack_map(value);
        }
    }

    /// Pops an operand. Validation has established that there is one.
    #[inline]
    #[track_caller]
    pub(super) fn pop(&mut self) -> Value {
        self.buffers.stack.pop().expect("a validated function's operand stack")
    }

    /// Pops the last two operands, in the order in which they were pushed.
    #[inline]
    pub(super) fn pop2(&mut self) -> (Value, Value) {
        let b = self.pop();
        let a = self.pop();
        (a, b)
    }

    /// The CLIF type of a value.
    pub(super) fn type_of(&self, value: Value) -> Type {
        self.builder.func.dfg.value_type(value)
    }

    /// The error of an operator that is not supported.
    #[cold]
    pub(super) fn unsupported(&self, what: impl Into<String>) -> CompileError {
        DecodeError::unsupported(what, self.offset).into()
    }
}
