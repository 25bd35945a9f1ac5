//! Calls: direct, of imports, through tables, through references, and of builtins; each also as a tail call, and as a
//! `try_call` inside `try_table`. What stands in the registers is described in `docs/abi.md`.

use super::FuncTranslator;
use super::region::Region;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{BlockArg, ExceptionTableData, ExceptionTableItem, FuncRef, InstBuilder, MemFlagsData, SigRef, Value, types};
use smallvec::SmallVec;
use std::mem::offset_of;
use wasmc_environ::artifact::{CLOSED_NULL, ClosedTableEntry};
use wasmc_environ::builtins::Builtin;
use wasmc_environ::types::HeapType;
use wasmc_environ::vmlayout::offsets;
use wasmc_environ::{FuncIndex, TableIndex, TrapCode, TypeIndex};

/// The code to call.
#[derive(Copy, Clone)]
enum Code {
    Symbol(FuncRef),
    Address(Value),
}

/// The code to call and its hidden parameter.
#[derive(Copy, Clone)]
struct Callee {
    code: Code,
    ctx: Value,
    /// The reference that the callee was found by, if it was.
    reference: Option<Value>,
}

/// Whether the caller's frame stays.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(super) enum CallKind {
    Normal,
    Tail,
}

type Results = SmallVec<[Value; 4]>;

const ENTRY_CODE: i32 = offset_of!(ClosedTableEntry, code) as i32;
const ENTRY_TYPE: i32 = offset_of!(ClosedTableEntry, type_index) as i32;
const ENTRY_SIZE_LOG2: i64 = size_of::<ClosedTableEntry>().trailing_zeros() as i64;

impl FuncTranslator<'_, '_> {
    pub(super) fn call(&mut self, index: u32, kind: CallKind) {
        let index = FuncIndex::from_u32(index);
        let module = self.env.module;
        let callee = if module.defined_func(index).is_some() {
            Callee { code: Code::Symbol(self.defined_function(index)), ctx: self.hidden, reference: None }
        } else {
            let import = self.env.offsets.imported_function(index) as i32;
            let flags = self.constant();
            let code = self.builder.ins().load(types::I64, flags, self.vmctx, import + offsets::IMPORT_CODE);
            let ctx = self.builder.ins().load(types::I64, flags, self.vmctx, import + offsets::IMPORT_CTX);
            let traced = self.is_traced() && kind == CallKind::Tail;
            let reference = traced.then(|| self.builder.ins().load(types::I64, flags, self.vmctx, import + offsets::IMPORT_FUNC_REF));
            Callee { code: Code::Address(code), ctx, reference }
        };
        self.call_callee(callee, module.functions[index.index()], kind);
    }

    pub(super) fn call_indirect(&mut self, ty: u32, table: u32, kind: CallKind) {
        let ty = TypeIndex::from_u32(ty);
        let table = TableIndex::from_u32(table);
        let callee = match self.env.module.closed_table(table) {
            Some(closed) => self.closed_element(table, closed.elements.len(), ty),
            None => Some(self.open_element(table, ty)),
        };
        // Without a callee, the code has already trapped.
        if let Some(callee) = callee {
            self.call_callee(callee, ty, kind);
        }
    }

    pub(super) fn call_ref(&mut self, ty: u32, kind: CallKind) {
        let reference = self.pop();
        let callee = self.reference_callee(reference, Some(TrapCode::NullFunctionReference));
        self.call_callee(callee, TypeIndex::from_u32(ty), kind);
    }

    /// What a reference leads to. Where it can be null, nobody compares it: the first load through it faults, and both have
    /// the trap, whichever that will be.
    fn reference_callee(&mut self, reference: Value, null: Option<TrapCode>) -> Callee {
        // Not read-only: the code of a function whose stub is made at its first call changes then.
        let flags = self.trusted(Region::Runtime);
        let flags = null.map_or(flags, |code| flags.with_trap_code(Some(super::trap_code(code))));
        let code = self.builder.ins().load(types::I64, flags, reference, offsets::FUNC_REF_CODE);
        let ctx = self.builder.ins().load(types::I64, flags.with_readonly(), reference, offsets::FUNC_REF_CTX);
        Callee { code: Code::Address(code), ctx, reference: Some(reference) }
    }

    /// Pops an index into a closed table and finds the function there, or traps.
    fn closed_element(&mut self, table: TableIndex, size: usize, ty: TypeIndex) -> Option<Callee> {
        let index = self.pop();
        if size == 0 {
            self.trap(TrapCode::UndefinedElement);
            return None;
        }
        let wanted = self.env.module.canonical[ty.index()];
        let outside = self.builder.ins().icmp_imm_u(IntCC::UnsignedGreaterThanOrEqual, index, size as i64);
        self.trap_if(outside, TrapCode::UndefinedElement);
        let mut index = self.index64(index);
        if self.env.tunables.spectre_tables {
            let zero = self.builder.ins().iconst(types::I64, 0);
            index = self.builder.ins().select_spectre_guard(outside, zero, index);
        }
        let base = self.closed_table_address(table);
        let offset = self.builder.ins().ishl_imm_u(index, ENTRY_SIZE_LOG2);
        let entry = self.builder.ins().iadd(base, offset);
        let flags = self.trusted(Region::Runtime).with_readonly();
        if !self.env.uniform_table(table).is_some_and(|all| self.env.module.is_subtype(all, wanted)) {
            self.check_closed_type(entry, flags, wanted);
        }
        let code = self.builder.ins().sload32(flags, entry, ENTRY_CODE);
        let code = self.builder.ins().iadd(base, code);
        Some(Callee { code: Code::Address(code), ctx: self.hidden, reference: None })
    }

    fn check_closed_type(&mut self, entry: Value, flags: MemFlagsData, wanted: TypeIndex) {
        let actual = self.builder.ins().load(types::I32, flags, entry, ENTRY_TYPE);
        let same = self.builder.ins().icmp_imm_u(IntCC::Equal, actual, i64::from(wanted.as_u32()));
        let go_on = self.builder.create_block();
        let other = self.builder.create_block();
        self.builder.set_cold_block(other);
        self.builder.ins().brif(same, go_on, &[], other, &[]);
        self.continue_in(other);
        let null = self.builder.ins().icmp_imm_u(IntCC::Equal, actual, i64::from(CLOSED_NULL));
        self.trap_if(null, TrapCode::IndirectCallToNull);
        if self.env.module.types[wanted.index()].is_final {
            self.builder.ins().trap(super::trap_code(TrapCode::BadSignature));
        } else {
            let constant = self.constant();
            let ids = self.builder.ins().load(types::I64, constant, self.vmctx, offsets::VMCONTEXT_TYPE_IDS);
            let actual = self.builder.ins().uextend(types::I64, actual);
            let actual = self.builder.ins().ishl_imm_u(actual, 2);
            let actual = self.builder.ins().iadd(ids, actual);
            let actual = self.builder.ins().load(types::I32, flags, actual, 0);
            self.check_subtype(actual, wanted);
            self.builder.ins().jump(go_on, &[]);
        }
        self.continue_in(go_on);
    }

    /// Pops an index into a table of references and finds the function there, or traps.
    fn open_element(&mut self, table: TableIndex, ty: TypeIndex) -> Callee {
        let address = self.element_address(table, TrapCode::UndefinedElement);
        let flags = self.trusted(Region::Tables);
        let reference = self.builder.ins().load(types::I64, flags, address, 0);
        let module = self.env.module;
        let element = module.tables[table.index()].element;
        let null = element.nullable.then_some(TrapCode::IndirectCallToNull);
        let wanted = module.canonical[ty.index()];
        let known = matches!(element.heap, HeapType::Concrete(t) if module.is_subtype(t, wanted));
        if known {
            return self.reference_callee(reference, null);
        }
        let flags = self.trusted(Region::Runtime).with_readonly();
        let flags = null.map_or(flags, |code| flags.with_trap_code(Some(super::trap_code(code))));
        let actual = self.builder.ins().load(types::I32, flags, reference, offsets::FUNC_REF_TYPE_ID);
        let expected = self.type_id(wanted);
        let same = self.builder.ins().icmp(IntCC::Equal, actual, expected);
        if module.types[wanted.index()].is_final {
            self.trap_unless(same, TrapCode::BadSignature);
        } else {
            let go_on = self.builder.create_block();
            let other = self.builder.create_block();
            self.builder.set_cold_block(other);
            self.builder.ins().brif(same, go_on, &[], other, &[]);
            self.continue_in(other);
            self.check_subtype(actual, wanted);
            self.builder.ins().jump(go_on, &[]);
            self.continue_in(go_on);
        }
        self.reference_callee(reference, None)
    }

    /// The interned number of one of the module's types.
    fn type_id(&mut self, ty: TypeIndex) -> Value {
        let constant = self.constant();
        let ids = self.builder.ins().load(types::I64, constant, self.vmctx, offsets::VMCONTEXT_TYPE_IDS);
        // The list of types is limited so that this does not overflow.
        let offset = ty.as_u32() as i32 * 4;
        self.builder.ins().load(types::I32, constant, ids, offset)
    }

    /// Traps if the type with the interned number `actual` is not a subtype of `wanted`.
    fn check_subtype(&mut self, actual: Value, wanted: TypeIndex) {
        let wanted = self.type_id(wanted);
        if let Some(is_subtype) = self.builtin(Builtin::is_subtype, &[actual, wanted]) {
            self.trap_unless(is_subtype, TrapCode::BadSignature);
        }
    }

    /// Calls with the topmost operands as arguments.
    fn call_callee(&mut self, callee: Callee, ty: TypeIndex, kind: CallKind) {
        let func_type = self.env.module.func_type(ty);
        let signature = self.signature(ty);
        let mut args = std::mem::take(&mut self.buffers.args);
        args.clear();
        args.push(callee.ctx);
        let from = self.buffers.stack.len() - func_type.params.len();
        args.extend(self.buffers.stack.drain(from..));
        match kind {
            CallKind::Normal => {
                let results = self.emit_call(callee.code, signature, &args, true);
                for (value, ty) in results.into_iter().zip(&func_type.results) {
                    self.push_typed(value, ty.abi());
                }
            }
            CallKind::Tail => {
                self.trace_tail(callee.reference);
                match callee.code {
                    Code::Symbol(f) => self.builder.ins().return_call(f, &args),
                    Code::Address(code) => self.builder.ins().return_call_indirect(signature, code, &args),
                };
                self.reachable = false;
            }
        }
        self.buffers.args = args;
    }

    /// Emits a call. If it can throw and stands in a `try_table`, the exception goes to the landing block there.
    fn emit_call(&mut self, code: Code, signature: SigRef, args: &[Value], throws: bool) -> Results {
        let landing = if throws { self.landing_block() } else { None };
        let Some(landing) = landing else {
            let call = match code {
                Code::Symbol(f) => self.builder.ins().call(f, args),
                Code::Address(code) => self.builder.ins().call_indirect(signature, code, args),
            };
            return self.builder.inst_results(call).iter().copied().collect();
        };
        let normal = self.builder.create_block();
        let returns = self.builder.func.dfg.signatures[signature].returns.len();
        let mut rets: SmallVec<[BlockArg; 4]> = SmallVec::new();
        for i in 0..returns {
            let ty = self.builder.func.dfg.signatures[signature].returns[i].value_type;
            self.builder.append_block_param(normal, ty);
            rets.push(BlockArg::TryCallRet(i as u32));
        }
        let dfg = &mut self.builder.func.dfg;
        let normal_call = dfg.block_call(normal, &rets);
        let landing_call = dfg.block_call(landing, &[BlockArg::TryCallExn(0), BlockArg::TryCallExn(1)]);
        let table = ExceptionTableData::new(signature, normal_call, [ExceptionTableItem::Default(landing_call)]);
        let table = dfg.exception_tables.push(table);
        match code {
            Code::Symbol(f) => self.builder.ins().try_call(f, args, table),
            Code::Address(code) => self.builder.ins().try_call_indirect(code, args, table),
        };
        self.continue_in(normal);
        self.builder.block_params(normal).iter().copied().collect()
    }

    /// Calls a builtin that throws no exception; `args` come after `vmctx`. The value, if it has one.
    pub(super) fn builtin(&mut self, builtin: Builtin, args: &[Value]) -> Option<Value> {
        self.emit_builtin(builtin, args, false)
    }

    /// Calls a builtin that does not return normally, but may throw into this function.
    pub(super) fn throwing_builtin(&mut self, builtin: Builtin, args: &[Value]) {
        self.emit_builtin(builtin, args, true);
        self.trap(TrapCode::Unreachable);
    }

    fn emit_builtin(&mut self, builtin: Builtin, args: &[Value], throws: bool) -> Option<Value> {
        let f = self.builtin_function(builtin);
        let signature = self.builder.func.dfg.ext_funcs[f].signature;
        let mut all: SmallVec<[Value; 8]> = SmallVec::new();
        all.push(self.vmctx);
        all.extend_from_slice(args);
        self.emit_call(Code::Symbol(f), signature, &all, throws).first().copied()
    }
}
