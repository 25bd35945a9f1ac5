//! Which instruction becomes what.

use super::super::code::Ty;
use super::super::control as handlers;
use super::super::convert::*;
use super::super::dispatch::address;
use super::super::memory::*;
use super::super::numeric::*;
use super::super::table::{self, Slow, SlowForm};
use super::emit::{Last, Use, fields};
use super::join::Condition;
use super::operand::Place;
use super::{Translator, invalid};
use crate::Result;
use wasmc_environ::types::HeapType;
use wasmc_environ::wasmparser::Operator;
use wasmc_environ::{MemoryIndex, TableIndex, TrapCode};

/// A match on an operator: numeric instructions by their types, and the arms that are written out.
macro_rules! match_operator {
    (
        $self:ident, $operator:expr;
        binary { $($binary:ident $out:ident;)* }
        unary { $($unary:ident $result:ident;)* }
        load { $($load:ident $loaded:ident;)* }
        store { $($store:ident;)* }
        { $($rest:tt)* }
    ) => {
        match $operator {
            $(Operator::$binary => $self.binary(FormsOf::<$binary>::BINARY, Ty::$out),)*
            $(Operator::$unary => $self.unary(FormsOf::<$unary>::UNARY, Ty::$result),)*
            $(Operator::$load { memarg } => $self.load($load::FORMS, Ty::$loaded, memarg),)*
            $(Operator::$store { memarg } => $self.store($store::FORMS, memarg),)*
            $($rest)*
        }
    };
}

impl Translator<'_> {
    pub(super) fn operator(&mut self, operator: &Operator<'_>) -> Result<()> {
        if !self.reachable {
            return self.unreachable_operator(operator);
        }
        self.acc_in_use = false;
        match_operator! { self, operator;
            binary {
                I32Mul I32; I32DivS I32; I32DivU I32; I32RemS I32; I32RemU I32;
                I32And I32; I32Or I32; I32Xor I32; I32ShrS I32; I32ShrU I32; I32Rotl I32; I32Rotr I32;
                I64Add I64; I64Sub I64; I64Mul I64; I64DivS I64; I64DivU I64; I64RemS I64; I64RemU I64;
                I64And I64; I64Or I64; I64Xor I64; I64Shl I64; I64ShrS I64; I64ShrU I64; I64Rotl I64; I64Rotr I64;
                F32Add F32; F32Sub F32; F32Mul F32; F32Div F32; F32Min F32; F32Max F32; F32Copysign F32;
                F64Add F64; F64Sub F64; F64Mul F64; F64Div F64; F64Min F64; F64Max F64; F64Copysign F64;
                I32Eq I32; I32Ne I32; I32LtS I32; I32LtU I32; I32GtS I32; I32GtU I32; I32LeS I32; I32LeU I32;
                I32GeS I32; I32GeU I32;
                I64Eq I32; I64Ne I32; I64LtS I32; I64LtU I32; I64GtS I32; I64GtU I32; I64LeS I32; I64LeU I32;
                I64GeS I32; I64GeU I32;
                F32Eq I32; F32Ne I32; F32Lt I32; F32Gt I32; F32Le I32; F32Ge I32;
                F64Eq I32; F64Ne I32; F64Lt I32; F64Gt I32; F64Le I32; F64Ge I32;
            }
            unary {
                I32Clz I32; I32Ctz I32; I32Popcnt I32; I32Extend8S I32; I32Extend16S I32; I32WrapI64 I32;
                I64Clz I64; I64Ctz I64; I64Popcnt I64; I64Extend8S I64; I64Extend16S I64; I64Extend32S I64; I64ExtendI32S I64;
                F32Abs F32; F32Neg F32; F32Ceil F32; F32Floor F32; F32Trunc F32; F32Nearest F32; F32Sqrt F32;
                F64Abs F64; F64Neg F64; F64Ceil F64; F64Floor F64; F64Trunc F64; F64Nearest F64; F64Sqrt F64;
                I32TruncF32S I32; I32TruncF32U I32; I32TruncF64S I32; I32TruncF64U I32;
                I64TruncF32S I64; I64TruncF32U I64; I64TruncF64S I64; I64TruncF64U I64;
                I32TruncSatF32S I32; I32TruncSatF32U I32; I32TruncSatF64S I32; I32TruncSatF64U I32;
                I64TruncSatF32S I64; I64TruncSatF32U I64; I64TruncSatF64S I64; I64TruncSatF64U I64;
                F32ConvertI32S F32; F32ConvertI32U F32; F32ConvertI64S F32; F32ConvertI64U F32; F32DemoteF64 F32;
                F64ConvertI32S F64; F64ConvertI32U F64; F64ConvertI64S F64; F64ConvertI64U F64; F64PromoteF32 F64;
                I32ReinterpretF32 I32;
            }
            load {
                I32Load I32; I32Load8S I32; I32Load8U I32; I32Load16S I32; I32Load16U I32; F32Load F32; F64Load F64;
                I64Load I64; I64Load8S I64; I64Load8U I64; I64Load16S I64; I64Load16U I64; I64Load32S I64; I64Load32U I64;
            }
            store {
                I32Store; I64Store; F32Store; F64Store; I32Store8; I32Store16; I64Store8; I64Store16; I64Store32;
            }
            {
                Operator::Nop => Ok(()),
                Operator::I32Add => match self.lazy_add()? || self.add_shifted()? {
                    true => Ok(()),
                    false => self.binary(FormsOf::<I32Add>::BINARY, Ty::I32),
                },
                Operator::I32Sub => if self.lazy_sub()? { Ok(()) } else { self.binary(FormsOf::<I32Sub>::BINARY, Ty::I32) },
                Operator::I32Shl => if self.lazy_shl()? { Ok(()) } else { self.binary(FormsOf::<I32Shl>::BINARY, Ty::I32) },
                Operator::Unreachable => {
                    self.mark();
                    self.code.extend([address(handlers::unreachable), 0]);
                    self.last = Last::NONE;
                    self.stop()
                }
                Operator::Block { blockty } => self.block(*blockty),
                Operator::Loop { blockty } => self.loop_(*blockty),
                Operator::If { blockty } => self.if_(*blockty),
                Operator::Else => self.else_(),
                Operator::End => self.end(),
                Operator::TryTable { try_table } => self.try_table(try_table),
                Operator::Try { blockty } => self.legacy_try(*blockty),
                Operator::Catch { tag_index } => self.legacy_catch(Some(*tag_index)),
                Operator::CatchAll => self.legacy_catch(None),
                Operator::Delegate { relative_depth } => self.delegate(*relative_depth),
                Operator::Rethrow { relative_depth } => self.rethrow(*relative_depth),
                Operator::Br { relative_depth } => self.br(*relative_depth),
                Operator::BrIf { relative_depth } => self.br_if(*relative_depth),
                Operator::BrTable { targets } => self.br_table(targets),
                Operator::Return => {
                    self.emit_return()?;
                    self.stop()
                }
                Operator::Call { function_index } => self.call(*function_index),
                Operator::CallIndirect { type_index, table_index } => self.call_indirect(*type_index, *table_index),
                Operator::CallRef { type_index } => self.call_ref(*type_index),
                Operator::ReturnCall { function_index } => self.return_call(*function_index),
                Operator::ReturnCallIndirect { type_index, table_index } => self.return_call_indirect(*type_index, *table_index),
                Operator::ReturnCallRef { type_index } => self.return_call_ref(*type_index),
                Operator::Throw { tag_index } => self.throw(*tag_index),
                Operator::ThrowRef => self.throw_ref(),
                Operator::Drop => self.pop_as_is().map(|_| ()),
                Operator::Select | Operator::TypedSelect { .. } => self.select(),

                Operator::LocalGet { local_index } => {
                    let (_, ty) = *self.locals.get(*local_index as usize).ok_or_else(invalid)?;
                    self.forwarded[*local_index as usize] += 1;
                    self.push(ty, Place::Local(*local_index));
                    Ok(())
                }
                Operator::LocalSet { local_index } => self.local_set(*local_index, false),
                Operator::LocalTee { local_index } => self.local_set(*local_index, true),
                Operator::GlobalGet { global_index } => self.global_get(*global_index),
                Operator::GlobalSet { global_index } => self.global_set(*global_index),
                Operator::I32Const { value } => self.constant(Ty::I32, u64::from(*value as u32)),
                Operator::I64Const { value } => self.constant(Ty::I64, *value as u64),
                Operator::F32Const { value } => self.constant(Ty::F32, u64::from(value.bits())),
                Operator::F64Const { value } => self.constant(Ty::F64, value.bits()),
                Operator::I32Eqz => self.eqz(false),
                Operator::I64Eqz => self.eqz(true),
                // An i32 is zero-extended wherever it is.
                Operator::I64ExtendI32U => self.reinterpret(FormsOf::<I64ExtendI32U>::UNARY, Ty::I64, true),
                Operator::I64ReinterpretF64 => self.reinterpret(FormsOf::<I64ReinterpretF64>::UNARY, Ty::I64, false),
                Operator::F32ReinterpretI32 => self.reinterpret(FormsOf::<F32ReinterpretI32>::UNARY, Ty::F32, false),
                Operator::F64ReinterpretI64 => self.reinterpret(FormsOf::<F64ReinterpretI64>::UNARY, Ty::F64, false),

                Operator::MemorySize { mem } => {
                    let log2 = self.env.memories.get(*mem as usize).ok_or_else(invalid)?.page_size_log2;
                    let ty = self.memory_index_type(*mem)?;
                    self.slow::<table::MemorySize>(0, Some(ty), (*mem, u32::from(log2)))
                }
                Operator::MemoryGrow { mem } => {
                    let ty = self.memory_index_type(*mem)?;
                    self.slow::<table::MemoryGrow>(1, Some(ty), (*mem, u32::from(ty == Ty::I64)))
                }
                Operator::MemoryCopy { dst_mem, src_mem } => self.slow::<table::MemoryCopy>(3, None, (*dst_mem, *src_mem)),
                Operator::MemoryFill { mem } => self.slow::<table::MemoryFill>(3, None, (*mem, 0)),
                Operator::MemoryInit { data_index, mem } => self.slow::<table::MemoryInit>(3, None, (*mem, *data_index)),
                Operator::DataDrop { data_index } => self.slow::<table::DataDrop>(0, None, (*data_index, 0)),
                Operator::TableGet { table } => {
                    let ty = self.table_type(*table)?;
                    self.slow::<table::TableGet>(1, Some(ty), (*table, 0))
                }
                Operator::TableSet { table } => self.slow::<table::TableSet>(2, None, (*table, 0)),
                Operator::TableSize { table } => {
                    let ty = self.table_index_type(*table)?;
                    if let Some(closed) = self.env.closed_table(TableIndex::from_u32(*table)) {
                        // It has no definition to look at.
                        return self.constant(ty, closed.elements.len() as u64);
                    }
                    self.slow::<table::TableSize>(0, Some(ty), (*table, 0))
                }
                Operator::TableGrow { table } => {
                    let ty = self.table_index_type(*table)?;
                    // The initial value is below the number of elements.
                    self.swap()?;
                    self.slow::<table::TableGrow>(2, Some(ty), (*table, u32::from(ty == Ty::I64)))
                }
                Operator::TableFill { table } => self.slow::<table::TableFill>(3, None, (*table, 0)),
                Operator::TableCopy { dst_table, src_table } => self.slow::<table::TableCopy>(3, None, (*dst_table, *src_table)),
                Operator::TableInit { elem_index, table } => self.slow::<table::TableInit>(3, None, (*table, *elem_index)),
                Operator::ElemDrop { elem_index } => self.slow::<table::ElemDrop>(0, None, (*elem_index, 0)),

                Operator::RefNull { hty } => {
                    let heap = HeapType::from_wasmparser(*hty, u64::from(self.offset))?;
                    let ty = wasmc_environ::types::ValType::Ref(wasmc_environ::types::RefType { nullable: true, heap }).abi();
                    self.constant(ty, 0)
                }
                Operator::RefIsNull => self.eqz(true),
                Operator::RefFunc { function_index } => self.slow::<table::RefFunc>(0, Some(Ty::FuncRef), (*function_index, 0)),
                Operator::RefAsNonNull => {
                    let operand = self.pop()?;
                    let field = self.settle_field(&operand, 0)?;
                    self.mark();
                    self.code.extend([address(table::non_null), fields(field, TrapCode::NullReference as u16, 0, 0)]);
                    self.last = Last::NONE;
                    self.push_settled(operand.ty, operand.place);
                    Ok(())
                }
                Operator::BrOnNull { relative_depth } => {
                    let operand = self.pop()?;
                    let field = self.settle_field(&operand, 0)?;
                    let condition = Condition::Test { wide: true, zero: true, operand: Use::Slot(field) };
                    self.conditional_branch(condition, true, *relative_depth)?;
                    self.push_settled(operand.ty, operand.place);
                    Ok(())
                }
                Operator::BrOnNonNull { relative_depth } => {
                    let operand = self.pop()?;
                    let field = self.settle_field(&operand, 0)?;
                    let condition = Condition::Test { wide: true, zero: false, operand: Use::Slot(field) };
                    self.push_settled(operand.ty, operand.place);
                    self.conditional_branch(condition, true, *relative_depth)?;
                    self.pop().map(|_| ())
                }
                Operator::I64Add128 => self.wide_sum(false),
                Operator::I64Sub128 => self.wide_sum(true),
                Operator::I64MulWideS => self.wide_product(true),
                Operator::I64MulWideU => self.wide_product(false),
                other => match self.atomic(other)? {
                    true => Ok(()),
                    false => self.vector_operator(other),
                },
            }
        }
    }

    /// In unreachable code only the structure of blocks matters.
    fn unreachable_operator(&mut self, operator: &Operator<'_>) -> Result<()> {
        match operator {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } | Operator::TryTable { .. } | Operator::Try { .. } => {
                self.skipped += 1
            }
            Operator::End | Operator::Delegate { .. } if self.skipped > 0 => self.skipped -= 1,
            Operator::End => return self.end(),
            Operator::Delegate { relative_depth } => return self.delegate(*relative_depth),
            Operator::Else if self.skipped == 0 => return self.else_(),
            Operator::Catch { tag_index } if self.skipped == 0 => return self.legacy_catch(Some(*tag_index)),
            Operator::CatchAll if self.skipped == 0 => return self.legacy_catch(None),
            _ => {}
        }
        Ok(())
    }

    fn constant(&mut self, ty: Ty, bits: u64) -> Result<()> {
        self.push(ty, Place::Const(bits));
        Ok(())
    }

    /// Pushes an operand again that was popped and settled.
    fn push_settled(&mut self, ty: Ty, place: Place) {
        if let Place::Local(index) = place {
            self.forwarded[index as usize] += 1;
            self.push(ty, place);
        } else {
            self.push(ty, Place::Slot);
        }
    }

    fn memory_index_type(&self, memory: u32) -> Result<Ty> {
        let index = MemoryIndex::from_u32(memory).index();
        Ok(if self.env.memories.get(index).ok_or_else(invalid)?.memory64 { Ty::I64 } else { Ty::I32 })
    }

    fn table_index_type(&self, table: u32) -> Result<Ty> {
        let index = TableIndex::from_u32(table).index();
        Ok(if self.env.tables.get(index).ok_or_else(invalid)?.table64 { Ty::I64 } else { Ty::I32 })
    }

    fn table_type(&self, table: u32) -> Result<Ty> {
        let index = TableIndex::from_u32(table).index();
        let element = self.env.tables.get(index).ok_or_else(invalid)?.element;
        Ok(wasmc_environ::types::ValType::Ref(element).abi())
    }

    /// Exchanges the two topmost operands, each in its own slot, as far as the next instruction is concerned: only before an instruction that
    /// pops both.
    fn swap(&mut self) -> Result<()> {
        self.materialize_top(2)?;
        let len = self.stack.len();
        let (lower, upper) = (self.stack[len - 2].slot, self.stack[len - 1].slot);
        self.stack.swap(len - 2, len - 1);
        self.stack[len - 2].slot = upper;
        self.stack[len - 1].slot = lower;
        Ok(())
    }

    /// An instruction that works out of line: so many operands, perhaps a result, and the two halves of word 2.
    fn slow<F: Slow>(&mut self, operands: usize, result: Option<Ty>, indices: (u32, u32)) -> Result<()> {
        self.slow_with::<F>(operands, result, indices, None)
    }

    /// The same, with a word 3 if there is one.
    pub(super) fn slow_with<F: Slow>(
        &mut self,
        operands: usize,
        result: Option<Ty>,
        (low, high): (u32, u32),
        more: Option<u64>,
    ) -> Result<()> {
        // The result, if there is one, comes first.
        let first = usize::from(result.is_some());
        let mut numbers = [0; 4];
        let mut bottom = self.height;
        for i in (first..first + operands).rev() {
            let operand = self.pop()?;
            bottom = bottom.min(operand.slot);
            numbers[i] = self.settle_field(&operand, i as i32)?;
        }
        self.height = bottom;
        self.flush_all();
        self.mark();
        if result.is_some() {
            numbers[0] = self.destination(self.height)?;
        }
        let at = self.code.len();
        let [f0, f1, f2, f3] = numbers;
        self.code.extend([address(SlowForm::<F>::HANDLER), fields(f0, f1, f2, f3), u64::from(low) | u64::from(high) << 32]);
        self.code.extend(more);
        self.last = Last::NONE;
        match result {
            Some(ty) => self.slot_result(at, ty),
            None => Ok(()),
        }
    }
}
