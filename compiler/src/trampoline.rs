//! The stubs of `docs/abi.md`, made with the same code generator as the functions: between wasm registers and argument
//! arrays, between wasm registers and C registers, for builtins, for imports in closed tables, and for functions that are
//! left uncompiled. Each function here fills `func`, whose name and signature are set by `begin`.

use crate::symbols::{StubKind, Symbol};
use crate::translate::{ModuleEnv, clif_type as abi_type, context_of, trap_code};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    self, AbiParam, BlockArg, InstBuilder, MemFlagsData, SigRef, Signature, StackSlotData, StackSlotKind, Type, UserFuncName, Value, types,
};
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use wasmc_environ::builtins::{Builtin, BuiltinType};
use wasmc_environ::types::{AbiSignature, AbiType};
use wasmc_environ::vmlayout::{STATUS_TAIL_CALL, ValRaw, offsets};
use wasmc_environ::vmoffsets::VMOffsets;
use wasmc_environ::{FuncIndex, Module, TrapCode};

/// Size of a slot of an argument array.
const SLOT: u32 = size_of::<ValRaw>() as u32;
/// The structures that stubs read and write are always mapped and aligned.
const TRUSTED: MemFlagsData = MemFlagsData::trusted();
/// Bytes of memories, in ranges that were checked.
const BYTES: MemFlagsData = MemFlagsData::new().with_notrap();
/// Behind a call that does not return. It is none of the codes that get a trap record: to come here is a crash.
const UNREACHABLE: ir::TrapCode = ir::TrapCode::unwrap_user(250);

/// What the stubs of a module are made from.
pub struct Stubs<'a> {
    /// The module.
    pub module: &'a Module,
    /// Places in its `VMContext`.
    pub offsets: &'a VMOffsets,
    /// Its types as the translator sees them.
    pub env: &'a ModuleEnv<'a>,
    /// The target.
    pub isa: &'a dyn TargetIsa,
    /// The signatures, by the number in `Symbol::Stub`.
    pub signatures: &'a [AbiSignature],
}

impl Stubs<'_> {
    /// Fills `func` with the code of a symbol that is a stub.
    ///
    /// # Errors
    /// If the symbol is not a stub that can be made.
    pub fn build(&self, symbol: Symbol, func: &mut ir::Function, context: &mut FunctionBuilderContext) -> Result<(), String> {
        let unknown = || format!("there is no stub for {symbol:?}");
        match symbol {
            Symbol::Function(index) => self.interpreted(Symbol::Function(index), index, func, context),
            Symbol::Elsewhere(index) => self.interpreted(symbol, index, func, context),
            Symbol::Builtin(Builtin::raise | Builtin::interp_call) | Symbol::ClosedTable(_) => return Err(unknown()),
            Symbol::Builtin(builtin @ (Builtin::move_bytes | Builtin::fill_bytes)) => self.bytes(builtin, func, context),
            Symbol::Builtin(builtin) => self.builtin(builtin, func, context),
            Symbol::ImportThunk(index) => self.import_thunk(index, func, context),
            Symbol::Stub(number, kind) => {
                let signature = self.signatures.get(number as usize).ok_or_else(unknown)?;
                match kind {
                    StubKind::ExitArray => self.exit_array(symbol, signature, func, context),
                    StubKind::ExitTyped if has_exit_typed(signature) => self.exit_typed(symbol, signature, func, context),
                    StubKind::ExitTyped => return Err(unknown()),
                    StubKind::Entry => self.entry(symbol, signature, func, context),
                    StubKind::TailEntry => self.tail_entry(symbol, signature, func, context),
                }
            }
        }
        Ok(())
    }

    /// Wasm registers -> array: leaves for `VMExitContext::array_fn`.
    fn exit_array(&self, symbol: Symbol, signature: &AbiSignature, func: &mut ir::Function, context: &mut FunctionBuilderContext) {
        let mut b = begin(func, context, symbol, self.env.abi_signature(signature));
        let params = params(&b);
        let exit = params[0];
        let store = b.load_pointer(exit, offsets::EXIT_STORE);
        self.leave(&mut b, store, true);
        let array = b.store_array(signature, &params[1..]);
        let callee = b.load_pointer(exit, offsets::EXIT_ARRAY_FN);
        let c_signature = b.c_signature(self.isa, &[types::I64, types::I64], &[types::I64]);
        let call = b.0.ins().call_indirect(c_signature, callee, &[exit, array]);
        let status = b.0.inst_results(call)[0];
        self.come_back(&mut b, store);
        self.finish_array(b, signature, store, status, array);
    }

    /// A function without native code: leaves for the interpreter. If it may get some while the program runs
    /// (`Symbol::Elsewhere`) the instance knows where that is.
    fn interpreted(&self, symbol: Symbol, index: FuncIndex, func: &mut ir::Function, context: &mut FunctionBuilderContext) {
        let signature = self.module.type_of(index).abi();
        let mut b = begin(func, context, symbol, self.env.abi_signature(&signature));
        let params = params(&b);
        let vmctx = context_of(&mut b.0, self.offsets, params[0]);
        if let (Symbol::Elsewhere(_), Some(defined)) = (symbol, self.module.defined_func(index)) {
            let (native, none) = (b.0.create_block(), b.0.create_block());
            b.0.set_cold_block(none);
            let entries = b.load_pointer(vmctx, offsets::VMCONTEXT_ENTRIES);
            // A module has at most a million functions.
            let code = b.load_pointer(entries, defined.as_u32() as i32 * 8);
            b.0.ins().brif(code, native, &[] as &[BlockArg], none, &[] as &[BlockArg]);
            b.0.switch_to_block(native);
            let callee = b.0.import_signature(self.env.abi_signature(&signature));
            b.0.ins().return_call_indirect(callee, code, &params);
            b.0.switch_to_block(none);
        }
        let store = b.load_pointer(vmctx, offsets::VMCONTEXT_STORE);
        self.leave(&mut b, store, true);
        let array = b.store_array(&signature, &params[1..]);
        let callee = b.load_builtin(vmctx, Builtin::interp_call);
        let c_signature = b.c_signature(self.isa, &[types::I64, types::I32, types::I64], &[types::I64, types::I64]);
        let number = b.0.ins().iconst(types::I32, i64::from(index.as_u32()));
        let call = b.0.ins().call_indirect(c_signature, callee, &[vmctx, number, array]);
        let status = b.0.inst_results(call)[1];
        self.come_back(&mut b, store);
        self.finish_array(b, &signature, store, status, array);
    }

    /// Leaves wasm code, as `Builder::leave`; metered code leaves its fuel in the store.
    fn leave(&self, b: &mut Builder<'_>, store: Value, record: bool) {
        b.leave(store, record);
        if record && self.env.tunables.meter {
            let fuel = b.0.ins().get_pinned_reg(types::I64);
            b.0.ins().store(TRUSTED, fuel, store, offsets::STORE_FUEL);
        }
    }

    /// Goes on in metered code with the fuel that is in the store now.
    fn come_back(&self, b: &mut Builder<'_>, store: Value) {
        if self.env.tunables.meter {
            let fuel = b.0.ins().load(types::I64, TRUSTED, store, offsets::STORE_FUEL);
            b.0.ins().set_pinned_reg(fuel);
        }
    }

    /// What follows a call with an argument array: the results, the pending tail call, or the status is raised.
    fn finish_array(&self, mut b: Builder<'_>, signature: &AbiSignature, store: Value, status: Value, array: Value) {
        let (ok, other, tail, bad) = (b.0.create_block(), b.0.create_block(), b.0.create_block(), b.0.create_block());
        b.0.set_cold_block(other);
        b.0.set_cold_block(tail);
        b.0.set_cold_block(bad);
        b.0.ins().brif(status, other, &[] as &[BlockArg], ok, &[] as &[BlockArg]);

        b.0.switch_to_block(ok);
        let results = b.load_array(&signature.results, array);
        b.0.ins().return_(&results);

        b.0.switch_to_block(other);
        let is_tail = b.0.ins().icmp_imm_u(IntCC::Equal, status, STATUS_TAIL_CALL as i64);
        b.0.ins().brif(is_tail, tail, &[] as &[BlockArg], bad, &[] as &[BlockArg]);

        b.0.switch_to_block(tail);
        let entry = b.load_pointer(store, offsets::STORE_TAIL_ENTRY);
        let tail_signature = b.0.import_signature(self.tail_entry_signature(signature));
        b.0.ins().return_call_indirect(tail_signature, entry, &[store]);

        b.0.switch_to_block(bad);
        b.raise(self.isa, store, status);
        b.finish(self.isa);
    }

    /// Wasm registers -> C registers: leaves for `VMExitContext::typed_fn`.
    fn exit_typed(&self, symbol: Symbol, signature: &AbiSignature, func: &mut ir::Function, context: &mut FunctionBuilderContext) {
        let mut b = begin(func, context, symbol, self.env.abi_signature(signature));
        let params = params(&b);
        let exit = params[0];
        let store = b.load_pointer(exit, offsets::EXIT_STORE);
        self.leave(&mut b, store, true);
        let callee = b.load_pointer(exit, offsets::EXIT_TYPED_FN);
        let mut c_params = vec![types::I64];
        c_params.extend(signature.params.iter().map(|t| abi_type(*t)));
        let c_signature = b.c_signature(self.isa, &c_params, &[types::I64, types::I64]);
        let call = b.0.ins().call_indirect(c_signature, callee, &params);
        let (value, status) = (b.0.inst_results(call)[0], b.0.inst_results(call)[1]);
        self.come_back(&mut b, store);
        b.raise_if(self.isa, store, status);
        let results: Vec<Value> = signature.results.iter().map(|t| b.value_of_bits(value, abi_type(*t))).collect();
        b.0.ins().return_(&results);
        b.finish(self.isa);
    }

    /// Array -> wasm registers: how the runtime calls wasm code.
    fn entry(&self, symbol: Symbol, signature: &AbiSignature, func: &mut ir::Function, context: &mut FunctionBuilderContext) {
        let mut b = begin(func, context, symbol, c_signature(self.isa, &[types::I64; 3], &[]));
        let [code, ctx, array] = params(&b)[..] else { return b.finish(self.isa) };
        let mut arguments = vec![ctx];
        arguments.extend(b.load_array(&signature.params, array));
        let callee = b.0.import_signature(self.env.abi_signature(signature));
        let call = b.0.ins().call_indirect(callee, code, &arguments);
        let results = b.0.inst_results(call).to_vec();
        b.write_array(array, &results);
        b.0.ins().return_(&[]);
        b.finish(self.isa);
    }

    fn tail_entry_signature(&self, signature: &AbiSignature) -> Signature {
        // The results must be passed exactly as the callee passes them, so only the parameters are replaced.
        let mut s = self.env.abi_signature(signature);
        s.params.truncate(1);
        s
    }

    /// Makes the tail call that waits in the store.
    fn tail_entry(&self, symbol: Symbol, signature: &AbiSignature, func: &mut ir::Function, context: &mut FunctionBuilderContext) {
        let mut b = begin(func, context, symbol, self.tail_entry_signature(signature));
        let store = params(&b)[0];
        let code = b.load_pointer(store, offsets::STORE_TAIL_CODE);
        let ctx = b.load_pointer(store, offsets::STORE_TAIL_CTX);
        let array = b.load_pointer(store, offsets::STORE_TAIL_ARGS);
        let mut arguments = vec![ctx];
        arguments.extend(b.load_array(&signature.params, array));
        let callee = b.0.import_signature(self.env.abi_signature(signature));
        b.0.ins().return_call_indirect(callee, code, &arguments);
        b.finish(self.isa);
    }

    /// Calls on into an imported function.
    fn import_thunk(&self, index: FuncIndex, func: &mut ir::Function, context: &mut FunctionBuilderContext) {
        let signature = self.env.signature(self.module.type_of(index));
        let mut b = begin(func, context, Symbol::ImportThunk(index), signature.clone());
        let mut arguments = params(&b);
        let import = self.offsets.imported_function(index) as i32;
        let vmctx = context_of(&mut b.0, self.offsets, arguments[0]);
        let code = b.load_pointer(vmctx, import + offsets::IMPORT_CODE);
        arguments[0] = b.load_pointer(vmctx, import + offsets::IMPORT_CTX);
        let callee = b.0.import_signature(signature);
        b.0.ins().return_call_indirect(callee, code, &arguments);
        b.finish(self.isa);
    }

    /// Leaves wasm code for a routine of the runtime.
    fn builtin(&self, builtin: Builtin, func: &mut ir::Function, context: &mut FunctionBuilderContext) {
        let mut b = begin(func, context, Symbol::Builtin(builtin), self.env.builtin_signature(builtin));
        let signature = builtin.signature();
        let params = params(&b);
        let vmctx = params[0];
        let store = b.load_pointer(vmctx, offsets::VMCONTEXT_STORE);
        self.leave(&mut b, store, records_exit(builtin));
        let mut c_params = vec![types::I64];
        c_params.extend(signature.params.iter().map(|t| builtin_type(*t)));
        let result = signature.result.map(builtin_type);
        let callee = b.load_builtin(vmctx, builtin);
        if signature.fallible {
            let c_signature = b.c_signature(self.isa, &c_params, &[types::I64, types::I64]);
            let call = b.0.ins().call_indirect(c_signature, callee, &params);
            let (value, status) = (b.0.inst_results(call)[0], b.0.inst_results(call)[1]);
            self.come_back(&mut b, store);
            b.raise_if(self.isa, store, status);
            let results: Vec<Value> = result.iter().map(|t| b.value_of_bits(value, *t)).collect();
            b.0.ins().return_(&results);
        } else {
            let c_signature = b.c_signature(self.isa, &c_params, result.as_slice());
            let call = b.0.ins().call_indirect(c_signature, callee, &params);
            let results = b.0.inst_results(call).to_vec();
            b.0.ins().return_(&results);
        }
        b.finish(self.isa);
    }
}

impl Stubs<'_> {
    /// Copies or fills bytes: up to `SHORT` of them here, more by a routine of the runtime, which neither looks at the store
    /// nor fails. Most copies of C programs are short, and a call into the runtime costs more than they do.
    fn bytes(&self, builtin: Builtin, func: &mut ir::Function, context: &mut FunctionBuilderContext) {
        const SHORT: i64 = 64;
        let mut b = begin(func, context, Symbol::Builtin(builtin), self.env.builtin_signature(builtin));
        let all = params(&b);
        let [vmctx, to, from, length] = all[..] else { return b.finish(self.isa) };
        let (short, long) = (b.0.create_block(), b.0.create_block());
        let is_short = b.0.ins().icmp_imm_u(IntCC::UnsignedLessThanOrEqual, length, SHORT);
        b.0.ins().brif(is_short, short, &[] as &[BlockArg], long, &[] as &[BlockArg]);
        b.0.switch_to_block(short);
        let filler = (builtin == Builtin::fill_bytes).then(|| {
            let byte = b.0.ins().ireduce(types::I8, from);
            let wide = b.0.ins().uextend(types::I64, byte);
            (b.0.ins().splat(types::I8X16, byte), b.0.ins().imul_imm_u(wide, 0x0101_0101_0101_0101))
        });
        // Pieces of a type, from this many bytes on, so many from each end.
        for (ty, least, each) in
            [(types::I8X16, 33, 2), (types::I8X16, 16, 1), (types::I64, 8, 1), (types::I32, 4, 1), (types::I16, 2, 1), (types::I8, 1, 1)]
        {
            let (here, next) = (b.0.create_block(), b.0.create_block());
            let enough = b.0.ins().icmp_imm_u(IntCC::UnsignedGreaterThanOrEqual, length, least);
            b.0.ins().brif(enough, here, &[] as &[BlockArg], next, &[] as &[BlockArg]);
            b.0.switch_to_block(here);
            let size = ty.bytes() as i32;
            let to_end = b.0.ins().iadd(to, length);
            let places = |start, end| (0..each).map(move |i| (start, i * size)).chain((1..=each).map(move |i| (end, -i * size)));
            let values: Vec<Value> = match filler {
                Some((vector, _)) if ty == types::I8X16 => places(to, to_end).map(|_| vector).collect(),
                Some((_, word)) => {
                    let value = if ty == types::I64 { word } else { b.0.ins().ireduce(ty, word) };
                    places(to, to_end).map(|_| value).collect()
                }
                None => {
                    let from_end = b.0.ins().iadd(from, length);
                    places(from, from_end).map(|(base, offset)| b.0.ins().load(ty, BYTES, base, offset)).collect()
                }
            };
            for ((base, offset), value) in places(to, to_end).zip(values) {
                b.0.ins().store(BYTES, value, base, offset);
            }
            b.0.ins().return_(&[]);
            b.0.switch_to_block(next);
        }
        b.0.ins().return_(&[]);

        b.0.switch_to_block(long);
        let store = b.load_pointer(vmctx, offsets::VMCONTEXT_STORE);
        b.leave(store, false);
        let mut c_params = vec![types::I64];
        c_params.extend(builtin.signature().params.iter().map(|t| builtin_type(*t)));
        let callee = b.load_builtin(vmctx, builtin);
        let c_signature = b.c_signature(self.isa, &c_params, &[]);
        b.0.ins().call_indirect(c_signature, callee, &[vmctx, to, from, length]);
        b.0.ins().return_(&[]);
        b.finish(self.isa);
    }
}

/// Whether a signature has the stub `exit_typed`.
pub fn has_exit_typed(signature: &AbiSignature) -> bool {
    signature.results.len() <= 1 && !signature.params.iter().chain(&signature.results).any(|t| *t == AbiType::V128)
}

/// Whether a builtin can look at the stack or end the activation. Those that only compute a value cannot.
fn records_exit(builtin: Builtin) -> bool {
    let s = builtin.signature();
    s.fallible || s.result.is_none()
}

fn builtin_type(t: BuiltinType) -> Type {
    match t {
        BuiltinType::I32 => types::I32,
        BuiltinType::I64 => types::I64,
        BuiltinType::F32 => types::F32,
        BuiltinType::F64 => types::F64,
    }
}

fn c_signature(isa: &dyn TargetIsa, params: &[Type], results: &[Type]) -> Signature {
    let mut s = Signature::new(isa.default_call_conv());
    s.params.extend(params.iter().map(|t| AbiParam::new(*t)));
    s.returns.extend(results.iter().map(|t| AbiParam::new(*t)));
    s
}

/// Starts a stub: sets its name and signature and enters its first block.
fn begin<'a>(func: &'a mut ir::Function, context: &'a mut FunctionBuilderContext, symbol: Symbol, signature: Signature) -> Builder<'a> {
    func.name = UserFuncName::User(symbol.to_name());
    func.signature = signature;
    let mut b = FunctionBuilder::new(func, context);
    let block = b.create_block();
    b.append_block_params_for_function_params(block);
    b.switch_to_block(block);
    Builder(b)
}

fn params(b: &Builder<'_>) -> Vec<Value> {
    b.0.current_block().map(|block| b.0.block_params(block).to_vec()).unwrap_or_default()
}

/// The steps that stubs have in common.
struct Builder<'a>(FunctionBuilder<'a>);

impl Builder<'_> {
    fn load_pointer(&mut self, base: Value, offset: i32) -> Value {
        self.0.ins().load(types::I64, TRUSTED, base, offset)
    }

    fn load_builtin(&mut self, vmctx: Value, builtin: Builtin) -> Value {
        let builtins = self.load_pointer(vmctx, offsets::VMCONTEXT_BUILTINS);
        self.load_pointer(builtins, builtin as i32 * 8)
    }

    fn c_signature(&mut self, isa: &dyn TargetIsa, params: &[Type], results: &[Type]) -> SigRef {
        self.0.import_signature(c_signature(isa, params, results))
    }

    /// Checks that the host has room on the stack, and records through which frame wasm code is left. Without room this
    /// is a trapping instruction, not a call: the signal handler has a stack of its own, and a routine would need room too.
    fn leave(&mut self, store: Value, record: bool) {
        let sp = self.0.ins().get_stack_pointer(types::I64);
        let limit = self.load_pointer(store, offsets::STORE_HOST_STACK_LIMIT);
        let low = self.0.ins().icmp(IntCC::UnsignedLessThan, sp, limit);
        self.0.ins().trapnz(low, trap_code(TrapCode::StackOverflow));
        if record {
            let fp = self.0.ins().get_frame_pointer(types::I64);
            self.0.ins().store(TRUSTED, fp, store, offsets::STORE_LAST_EXIT_FP);
        }
    }

    /// Raises the status, which does not return.
    fn raise(&mut self, isa: &dyn TargetIsa, store: Value, status: Value) {
        let raise = self.load_pointer(store, offsets::STORE_RAISE);
        let signature = self.c_signature(isa, &[types::I64, types::I64], &[]);
        self.0.ins().call_indirect(signature, raise, &[store, status]);
        self.0.ins().trap(UNREACHABLE);
    }

    /// Raises the status unless it is 0, and goes on in a new block.
    fn raise_if(&mut self, isa: &dyn TargetIsa, store: Value, status: Value) {
        let (ok, bad) = (self.0.create_block(), self.0.create_block());
        self.0.set_cold_block(bad);
        self.0.ins().brif(status, bad, &[] as &[BlockArg], ok, &[] as &[BlockArg]);
        self.0.switch_to_block(bad);
        self.raise(isa, store, status);
        self.0.switch_to_block(ok);
    }

    /// Makes an argument array on the frame and fills it.
    fn store_array(&mut self, signature: &AbiSignature, values: &[Value]) -> Value {
        let slots = signature.params.len().max(signature.results.len()).max(1) as u32;
        let slot = self.0.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, slots * SLOT, SLOT.ilog2() as u8));
        let array = self.0.ins().stack_addr(types::I64, slot, 0);
        self.write_array(array, values);
        array
    }

    fn write_array(&mut self, array: Value, values: &[Value]) {
        for (i, v) in values.iter().enumerate() {
            self.0.ins().store(TRUSTED, *v, array, i as i32 * SLOT as i32);
        }
    }

    fn load_array(&mut self, list: &[AbiType], array: Value) -> Vec<Value> {
        list.iter().enumerate().map(|(i, t)| self.0.ins().load(abi_type(*t), TRUSTED, array, i as i32 * SLOT as i32)).collect()
    }

    /// The value of type `ty` whose bits are the low ones of `bits`.
    fn value_of_bits(&mut self, bits: Value, ty: Type) -> Value {
        match ty {
            types::I64 => bits,
            types::F64 => self.0.ins().bitcast(types::F64, MemFlagsData::new(), bits),
            types::F32 => {
                let low = self.0.ins().ireduce(types::I32, bits);
                self.0.ins().bitcast(types::F32, MemFlagsData::new(), low)
            }
            narrow => self.0.ins().ireduce(narrow, bits),
        }
    }

    fn finish(mut self, isa: &dyn TargetIsa) {
        self.0.seal_all_blocks();
        self.0.finalize(isa.frontend_config());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreachable_is_no_trap() {
        assert_eq!(crate::translate::from_clif(UNREACHABLE), None);
    }
}
