//! The one match over the operators. It only says which method translates an operator, and skips what cannot be
//! reached; vector operators go to `simd`.

use super::call::CallKind;
use super::memory::Width;
use super::numeric::Rounding;
use super::{FuncTranslator, simd};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, immediates, types};
use wasmc_environ::decode::check_supported;
use wasmc_environ::jit::CompileError;
use wasmc_environ::types::ValType;
use wasmparser::Operator;

impl FuncTranslator<'_, '_> {
    /// Translates a validated operator.
    pub(super) fn operator(&mut self, op: &Operator<'_>) -> Result<(), CompileError> {
        match op {
            Operator::Block { blockty } => return self.block(*blockty),
            Operator::Loop { blockty } => return self.loop_(*blockty),
            Operator::If { blockty } => return self.if_(*blockty),
            Operator::TryTable { try_table } => return self.try_table(try_table),
            Operator::Try { blockty } => return self.legacy_try(*blockty),
            Operator::Catch { .. } | Operator::CatchAll => return self.legacy_catch(),
            Operator::Delegate { .. } => return self.delegate(),
            Operator::Else => {
                self.else_();
                return Ok(());
            }
            Operator::End => return self.end(),
            // What is not supported is refused here, too: a module is valid or not, on every tier.
            _ if !self.reachable => return Ok(check_supported(op, self.offset)?),
            _ => {}
        }
        match op {
            Operator::Unreachable => self.unreachable(),
            Operator::Nop => {}
            Operator::Br { relative_depth } => self.br(*relative_depth),
            Operator::BrIf { relative_depth } => self.br_if(*relative_depth),
            Operator::BrTable { targets } => return self.br_table(targets),
            Operator::Return => self.return_(),
            Operator::Call { function_index } => self.call(*function_index, CallKind::Normal),
            Operator::CallIndirect { type_index, table_index } => self.call_indirect(*type_index, *table_index, CallKind::Normal),
            Operator::CallRef { type_index } => self.call_ref(*type_index, CallKind::Normal),
            Operator::ReturnCall { function_index } => self.call(*function_index, CallKind::Tail),
            Operator::ReturnCallIndirect { type_index, table_index } => self.call_indirect(*type_index, *table_index, CallKind::Tail),
            Operator::ReturnCallRef { type_index } => self.call_ref(*type_index, CallKind::Tail),
            Operator::Throw { tag_index } => self.throw(*tag_index),
            Operator::ThrowRef => self.throw_ref(),
            Operator::Rethrow { relative_depth } => self.rethrow(*relative_depth),

            Operator::Drop => {
                self.pop();
            }
            Operator::Select => self.select(),
            Operator::TypedSelect { ty } => {
                self.select();
                let value = self.pop();
                self.push_typed(value, ValType::from_wasmparser(*ty, self.offset)?.abi());
            }

            Operator::RefNull { hty } => return self.ref_null(*hty),
            Operator::RefIsNull => self.ref_is_null(),
            Operator::RefFunc { function_index } => return self.ref_func(*function_index),
            Operator::RefAsNonNull => self.ref_as_non_null(),
            Operator::BrOnNull { relative_depth } => self.br_on_null(*relative_depth),
            Operator::BrOnNonNull { relative_depth } => self.br_on_non_null(*relative_depth),

            Operator::LocalGet { local_index } => self.local_get(*local_index),
            Operator::LocalSet { local_index } => self.local_set(*local_index),
            Operator::LocalTee { local_index } => self.local_tee(*local_index),
            Operator::GlobalGet { global_index } => return self.global_get(*global_index),
            Operator::GlobalSet { global_index } => self.global_set(*global_index),

            Operator::TableGet { table } => self.table_get(*table),
            Operator::TableSet { table } => self.table_set(*table),
            Operator::TableSize { table } => self.table_size(*table),
            Operator::TableGrow { table } => self.table_grow(*table),
            Operator::TableFill { table } => self.table_fill(*table),
            Operator::TableCopy { dst_table, src_table } => self.table_copy(*dst_table, *src_table),
            Operator::TableInit { elem_index, table } => self.table_init(*table, *elem_index),
            Operator::ElemDrop { elem_index } => self.elem_drop(*elem_index),

            Operator::I32Load { memarg } => self.load(memarg, types::I32, Width::Full),
            Operator::I64Load { memarg } => self.load(memarg, types::I64, Width::Full),
            Operator::F32Load { memarg } => self.load(memarg, types::F32, Width::Full),
            Operator::F64Load { memarg } => self.load(memarg, types::F64, Width::Full),
            Operator::I32Load8S { memarg } => self.load(memarg, types::I32, Width::S8),
            Operator::I32Load8U { memarg } => self.load(memarg, types::I32, Width::U8),
            Operator::I32Load16S { memarg } => self.load(memarg, types::I32, Width::S16),
            Operator::I32Load16U { memarg } => self.load(memarg, types::I32, Width::U16),
            Operator::I64Load8S { memarg } => self.load(memarg, types::I64, Width::S8),
            Operator::I64Load8U { memarg } => self.load(memarg, types::I64, Width::U8),
            Operator::I64Load16S { memarg } => self.load(memarg, types::I64, Width::S16),
            Operator::I64Load16U { memarg } => self.load(memarg, types::I64, Width::U16),
            Operator::I64Load32S { memarg } => self.load(memarg, types::I64, Width::S32),
            Operator::I64Load32U { memarg } => self.load(memarg, types::I64, Width::U32),
            Operator::I32Store { memarg }
            | Operator::I64Store { memarg }
            | Operator::F32Store { memarg }
            | Operator::F64Store { memarg } => self.store(memarg, Width::Full),
            Operator::I32Store8 { memarg } | Operator::I64Store8 { memarg } => self.store(memarg, Width::U8),
            Operator::I32Store16 { memarg } | Operator::I64Store16 { memarg } => self.store(memarg, Width::U16),
            Operator::I64Store32 { memarg } => self.store(memarg, Width::U32),
            Operator::MemorySize { mem } => self.memory_size(*mem),
            Operator::MemoryGrow { mem } => self.memory_grow(*mem),
            Operator::MemoryCopy { dst_mem, src_mem } => self.memory_copy(*dst_mem, *src_mem),
            Operator::MemoryFill { mem } => self.memory_fill(*mem),
            Operator::MemoryInit { data_index, mem } => self.memory_init(*mem, *data_index),
            Operator::DataDrop { data_index } => self.data_drop(*data_index),

            Operator::I32Const { value } => {
                let value = self.builder.ins().iconst(types::I32, i64::from(*value as u32));
                self.push(value);
            }
            Operator::I64Const { value } => {
                let value = self.builder.ins().iconst(types::I64, *value);
                self.push(value);
            }
            Operator::F32Const { value } => {
                let value = self.builder.ins().f32const(immediates::Ieee32::with_bits(value.bits()));
                self.push(value);
            }
            Operator::F64Const { value } => {
                let value = self.builder.ins().f64const(immediates::Ieee64::with_bits(value.bits()));
                self.push(value);
            }

            Operator::I32Eqz | Operator::I64Eqz => self.eqz(),
            Operator::I32Eq | Operator::I64Eq => self.icmp(IntCC::Equal),
            Operator::I32Ne | Operator::I64Ne => self.icmp(IntCC::NotEqual),
            Operator::I32LtS | Operator::I64LtS => self.icmp(IntCC::SignedLessThan),
            Operator::I32LtU | Operator::I64LtU => self.icmp(IntCC::UnsignedLessThan),
            Operator::I32GtS | Operator::I64GtS => self.icmp(IntCC::SignedGreaterThan),
            Operator::I32GtU | Operator::I64GtU => self.icmp(IntCC::UnsignedGreaterThan),
            Operator::I32LeS | Operator::I64LeS => self.icmp(IntCC::SignedLessThanOrEqual),
            Operator::I32LeU | Operator::I64LeU => self.icmp(IntCC::UnsignedLessThanOrEqual),
            Operator::I32GeS | Operator::I64GeS => self.icmp(IntCC::SignedGreaterThanOrEqual),
            Operator::I32GeU | Operator::I64GeU => self.icmp(IntCC::UnsignedGreaterThanOrEqual),
            Operator::F32Eq | Operator::F64Eq => self.fcmp(FloatCC::Equal),
            Operator::F32Ne | Operator::F64Ne => self.fcmp(FloatCC::NotEqual),
            Operator::F32Lt | Operator::F64Lt => self.fcmp(FloatCC::LessThan),
            Operator::F32Gt | Operator::F64Gt => self.fcmp(FloatCC::GreaterThan),
            Operator::F32Le | Operator::F64Le => self.fcmp(FloatCC::LessThanOrEqual),
            Operator::F32Ge | Operator::F64Ge => self.fcmp(FloatCC::GreaterThanOrEqual),

            Operator::I32Clz | Operator::I64Clz => self.unary(|ins, v| ins.clz(v)),
            Operator::I32Ctz | Operator::I64Ctz => self.unary(|ins, v| ins.ctz(v)),
            Operator::I32Popcnt | Operator::I64Popcnt => self.unary(|ins, v| ins.popcnt(v)),
            Operator::I32Add | Operator::I64Add => self.binary(|ins, a, b| ins.iadd(a, b)),
            Operator::I32Sub | Operator::I64Sub => self.binary(|ins, a, b| ins.isub(a, b)),
            Operator::I32Mul | Operator::I64Mul => self.binary(|ins, a, b| ins.imul(a, b)),
            Operator::I32DivS | Operator::I64DivS => self.binary(|ins, a, b| ins.sdiv(a, b)),
            Operator::I32DivU | Operator::I64DivU => self.binary(|ins, a, b| ins.udiv(a, b)),
            Operator::I32RemS | Operator::I64RemS => self.binary(|ins, a, b| ins.srem(a, b)),
            Operator::I32RemU | Operator::I64RemU => self.binary(|ins, a, b| ins.urem(a, b)),
            Operator::I32And | Operator::I64And => self.binary(|ins, a, b| ins.band(a, b)),
            Operator::I32Or | Operator::I64Or => self.binary(|ins, a, b| ins.bor(a, b)),
            Operator::I32Xor | Operator::I64Xor => self.binary(|ins, a, b| ins.bxor(a, b)),
            Operator::I32Shl | Operator::I64Shl => self.binary(|ins, a, b| ins.ishl(a, b)),
            Operator::I32ShrS | Operator::I64ShrS => self.binary(|ins, a, b| ins.sshr(a, b)),
            Operator::I32ShrU | Operator::I64ShrU => self.binary(|ins, a, b| ins.ushr(a, b)),
            Operator::I32Rotl | Operator::I64Rotl => self.binary(|ins, a, b| ins.rotl(a, b)),
            Operator::I32Rotr | Operator::I64Rotr => self.binary(|ins, a, b| ins.rotr(a, b)),

            Operator::F32Abs | Operator::F64Abs => self.unary(|ins, v| ins.fabs(v)),
            Operator::F32Neg | Operator::F64Neg => self.unary(|ins, v| ins.fneg(v)),
            Operator::F32Ceil | Operator::F64Ceil => self.round(Rounding::Ceil),
            Operator::F32Floor | Operator::F64Floor => self.round(Rounding::Floor),
            Operator::F32Trunc | Operator::F64Trunc => self.round(Rounding::Trunc),
            Operator::F32Nearest | Operator::F64Nearest => self.round(Rounding::Nearest),
            Operator::F32Sqrt | Operator::F64Sqrt => self.unary(|ins, v| ins.sqrt(v)),
            Operator::F32Add | Operator::F64Add => self.binary(|ins, a, b| ins.fadd(a, b)),
            Operator::F32Sub | Operator::F64Sub => self.binary(|ins, a, b| ins.fsub(a, b)),
            Operator::F32Mul | Operator::F64Mul => self.binary(|ins, a, b| ins.fmul(a, b)),
            Operator::F32Div | Operator::F64Div => self.binary(|ins, a, b| ins.fdiv(a, b)),
            Operator::F32Min | Operator::F64Min => self.binary(|ins, a, b| ins.fmin(a, b)),
            Operator::F32Max | Operator::F64Max => self.binary(|ins, a, b| ins.fmax(a, b)),
            Operator::F32Copysign | Operator::F64Copysign => self.binary(|ins, a, b| ins.fcopysign(a, b)),

            Operator::I32WrapI64 => self.unary(|ins, v| ins.ireduce(types::I32, v)),
            Operator::I64ExtendI32S => self.unary(|ins, v| ins.sextend(types::I64, v)),
            Operator::I64ExtendI32U => self.unary(|ins, v| ins.uextend(types::I64, v)),
            Operator::I32Extend8S | Operator::I64Extend8S => self.extend_low(types::I8),
            Operator::I32Extend16S | Operator::I64Extend16S => self.extend_low(types::I16),
            Operator::I64Extend32S => self.extend_low(types::I32),
            Operator::I32TruncF32S | Operator::I32TruncF64S => self.unary(|ins, v| ins.fcvt_to_sint(types::I32, v)),
            Operator::I32TruncF32U | Operator::I32TruncF64U => self.unary(|ins, v| ins.fcvt_to_uint(types::I32, v)),
            Operator::I64TruncF32S | Operator::I64TruncF64S => self.unary(|ins, v| ins.fcvt_to_sint(types::I64, v)),
            Operator::I64TruncF32U | Operator::I64TruncF64U => self.unary(|ins, v| ins.fcvt_to_uint(types::I64, v)),
            Operator::I32TruncSatF32S | Operator::I32TruncSatF64S => self.unary(|ins, v| ins.fcvt_to_sint_sat(types::I32, v)),
            Operator::I32TruncSatF32U | Operator::I32TruncSatF64U => self.unary(|ins, v| ins.fcvt_to_uint_sat(types::I32, v)),
            Operator::I64TruncSatF32S | Operator::I64TruncSatF64S => self.unary(|ins, v| ins.fcvt_to_sint_sat(types::I64, v)),
            Operator::I64TruncSatF32U | Operator::I64TruncSatF64U => self.unary(|ins, v| ins.fcvt_to_uint_sat(types::I64, v)),
            Operator::F32ConvertI32S | Operator::F32ConvertI64S => self.unary(|ins, v| ins.fcvt_from_sint(types::F32, v)),
            Operator::F32ConvertI32U | Operator::F32ConvertI64U => self.unary(|ins, v| ins.fcvt_from_uint(types::F32, v)),
            Operator::F64ConvertI32S | Operator::F64ConvertI64S => self.unary(|ins, v| ins.fcvt_from_sint(types::F64, v)),
            Operator::F64ConvertI32U | Operator::F64ConvertI64U => self.unary(|ins, v| ins.fcvt_from_uint(types::F64, v)),
            Operator::F32DemoteF64 => self.unary(|ins, v| ins.fdemote(types::F32, v)),
            Operator::F64PromoteF32 => self.unary(|ins, v| ins.fpromote(types::F64, v)),
            Operator::I32ReinterpretF32 => self.reinterpret(types::I32),
            Operator::I64ReinterpretF64 => self.reinterpret(types::I64),
            Operator::F32ReinterpretI32 => self.reinterpret(types::F32),
            Operator::F64ReinterpretI64 => self.reinterpret(types::F64),

            Operator::I64Add128 => self.wide(|ins, a, b| ins.iadd(a, b)),
            Operator::I64Sub128 => self.wide(|ins, a, b| ins.isub(a, b)),
            Operator::I64MulWideS => self.mul_wide(true),
            Operator::I64MulWideU => self.mul_wide(false),

            op if simd::is_simd(op) => return simd::translate(self, op),
            op if self.atomic(op) => {}
            other => return Err(self.unsupported(format!("the operator {}", operator_name(other)))),
        }
        Ok(())
    }
}

/// An operator's name without its operands, which can be long.
fn operator_name(op: &Operator<'_>) -> String {
    let text = format!("{op:?}");
    text.split([' ', '{', '(']).next().unwrap_or_default().to_owned()
}
