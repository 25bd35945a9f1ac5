//! Constant expressions: decoded once into a short list of operations, evaluated at instantiation by the runtime.
//! Extended constants are included. What a validated expression cannot contain is an error here all the same.

use crate::error::DecodeError;
use crate::index::{FuncIndex, GlobalIndex};
use crate::types::{HeapType, convert};
use serde::{Deserialize, Serialize};
use wasmparser::Operator;

/// An operation of a constant expression (specification 3.0, "Constant Expressions").
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the variants are the specification's instructions")]
pub enum ConstOp {
    I32Const(i32),
    I64Const(i64),
    /// Bits of the constant.
    F32Const(u32),
    /// Bits of the constant.
    F64Const(u64),
    V128Const(u128),
    GlobalGet(GlobalIndex),
    RefNull(HeapType),
    RefFunc(FuncIndex),
    I32Add,
    I32Sub,
    I32Mul,
    I64Add,
    I64Sub,
    I64Mul,
}

/// A constant expression in postfix order, without its `end`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ConstExpr {
    /// The operations.
    pub ops: Box<[ConstOp]>,
}

impl ConstExpr {
    /// Decodes a validated expression, and adds the functions that it refers to to `refs`.
    pub(crate) fn decode(expr: &wasmparser::ConstExpr<'_>, refs: &mut Vec<FuncIndex>) -> Result<Self, DecodeError> {
        let mut ops = Vec::new();
        let mut reader = expr.get_operators_reader();
        while !reader.eof() {
            let (op, offset) = reader.read_with_offset()?;
            ops.push(match op {
                Operator::I32Const { value } => ConstOp::I32Const(value),
                Operator::I64Const { value } => ConstOp::I64Const(value),
                Operator::F32Const { value } => ConstOp::F32Const(value.bits()),
                Operator::F64Const { value } => ConstOp::F64Const(value.bits()),
                Operator::V128Const { value } => ConstOp::V128Const(u128::from_le_bytes(*value.bytes())),
                Operator::GlobalGet { global_index } => ConstOp::GlobalGet(GlobalIndex::from_u32(global_index)),
                Operator::RefNull { hty } => ConstOp::RefNull(convert::heap(hty, offset)?),
                Operator::RefFunc { function_index } => {
                    let index = FuncIndex::from_u32(function_index);
                    refs.push(index);
                    ConstOp::RefFunc(index)
                }
                Operator::I32Add => ConstOp::I32Add,
                Operator::I32Sub => ConstOp::I32Sub,
                Operator::I32Mul => ConstOp::I32Mul,
                Operator::I64Add => ConstOp::I64Add,
                Operator::I64Sub => ConstOp::I64Sub,
                Operator::I64Mul => ConstOp::I64Mul,
                Operator::End => break,
                other => return Err(DecodeError::unsupported(format!("constant expression with {other:?}"), offset)),
            });
        }
        Ok(Self { ops: ops.into() })
    }

    /// The value, if the expression is a single `i32.const` or `i64.const`. An i32 is taken as unsigned, as offsets are.
    pub fn as_constant_offset(&self) -> Option<u64> {
        match *self.ops {
            [ConstOp::I32Const(v)] => Some(u64::from(v as u32)),
            [ConstOp::I64Const(v)] => Some(v as u64),
            _ => None,
        }
    }
}
