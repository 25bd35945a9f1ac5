//! Atomic instructions: see the handlers in `atomic`. Operands are in slots only, and so is the result: whoever
//! synchronises threads through an interpreter does not wait for a slot.

use super::super::atomic::*;
use super::super::code::Ty;
use super::super::dispatch::{Handler, address};
use super::super::table::Slow;
use super::emit::{Last, fields};
use super::{Translator, invalid};
use crate::Result;
use wasmc_environ::wasmparser::{MemArg, MemArgTarget, Operator};

/// An atomic access: its handler, how many operands it has besides the address, and the type of its result.
struct Access<'a> {
    handler: Handler,
    operands: usize,
    result: Option<Ty>,
    memarg: &'a MemArg,
}

impl Translator<'_> {
    /// Translates an operator if it is atomic; returns whether it was.
    pub(super) fn atomic(&mut self, operator: &Operator<'_>) -> Result<bool> {
        match operator {
            Operator::AtomicFence { .. } => {
                self.code.extend([address(atomic_fence), 0]);
                self.last = Last::NONE;
            }
            Operator::MemoryAtomicWait32 { memarg } => self.atomic_call::<Wait32>(3, memarg)?,
            Operator::MemoryAtomicWait64 { memarg } => self.atomic_call::<Wait64>(3, memarg)?,
            Operator::MemoryAtomicNotify { memarg } => self.atomic_call::<Notify>(2, memarg)?,
            _ => match access(operator) {
                Some(access) => self.atomic_access(&access)?,
                None => return Ok(false),
            },
        }
        Ok(true)
    }

    fn atomic_access(&mut self, access: &Access<'_>) -> Result<()> {
        let mut numbers = [0; 4];
        for i in (1..=1 + access.operands).rev() {
            let operand = self.pop()?;
            numbers[i] = self.settle_field(&operand, i as i32)?;
        }
        let far = self.far_address(access.memarg)?;
        self.mark();
        if access.result.is_some() {
            numbers[0] = self.destination(self.height)?;
        }
        let at = self.code.len();
        let [f0, f1, f2, f3] = numbers;
        self.code.extend([address(access.handler), fields(f0, f1, f2, f3), far[0], far[1]]);
        self.last = Last::NONE;
        match access.result {
            Some(ty) => self.slot_result(at, ty),
            None => Ok(()),
        }
    }

    /// An atomic instruction that works out of line.
    fn atomic_call<F: Slow>(&mut self, operands: usize, memarg: &MemArg) -> Result<()> {
        let MemArgTarget::Memory(memory) = memarg.target else { return Err(invalid()) };
        self.slow_with::<F>(operands, Some(Ty::I32), (memory, 0), Some(memarg.offset))
    }
}

fn access<'a>(operator: &'a Operator<'_>) -> Option<Access<'a>> {
    macro_rules! list {
        (
            load { $($load:ident $loaded:ident $load_cell:ident;)* }
            store { $($store:ident $store_cell:ident;)* }
            update { $($update:ident $updated:ident $f:ident $update_cell:ident;)* }
            compare_exchange { $($exchange:ident $exchanged:ident $exchange_cell:ident;)* }
        ) => {
            match operator {
                $(Operator::$load { memarg } => {
                    Access { handler: atomic_load::<$load_cell>, operands: 0, result: Some(Ty::$loaded), memarg }
                })*
                $(Operator::$store { memarg } => Access { handler: atomic_store::<$store_cell>, operands: 1, result: None, memarg },)*
                $(Operator::$update { memarg } => {
                    Access { handler: atomic_update::<$f, $update_cell>, operands: 1, result: Some(Ty::$updated), memarg }
                })*
                $(Operator::$exchange { memarg } => {
                    Access { handler: atomic_compare_exchange::<$exchange_cell>, operands: 2, result: Some(Ty::$exchanged), memarg }
                })*
                _ => return None,
            }
        };
    }
    Some(list! {
        load {
            I32AtomicLoad I32 u32; I32AtomicLoad8U I32 u8; I32AtomicLoad16U I32 u16;
            I64AtomicLoad I64 u64; I64AtomicLoad8U I64 u8; I64AtomicLoad16U I64 u16; I64AtomicLoad32U I64 u32;
        }
        store {
            I32AtomicStore u32; I32AtomicStore8 u8; I32AtomicStore16 u16;
            I64AtomicStore u64; I64AtomicStore8 u8; I64AtomicStore16 u16; I64AtomicStore32 u32;
        }
        update {
            I32AtomicRmwAdd I32 Add u32; I32AtomicRmw8AddU I32 Add u8; I32AtomicRmw16AddU I32 Add u16;
            I64AtomicRmwAdd I64 Add u64; I64AtomicRmw8AddU I64 Add u8; I64AtomicRmw16AddU I64 Add u16; I64AtomicRmw32AddU I64 Add u32;
            I32AtomicRmwSub I32 Sub u32; I32AtomicRmw8SubU I32 Sub u8; I32AtomicRmw16SubU I32 Sub u16;
            I64AtomicRmwSub I64 Sub u64; I64AtomicRmw8SubU I64 Sub u8; I64AtomicRmw16SubU I64 Sub u16; I64AtomicRmw32SubU I64 Sub u32;
            I32AtomicRmwAnd I32 And u32; I32AtomicRmw8AndU I32 And u8; I32AtomicRmw16AndU I32 And u16;
            I64AtomicRmwAnd I64 And u64; I64AtomicRmw8AndU I64 And u8; I64AtomicRmw16AndU I64 And u16; I64AtomicRmw32AndU I64 And u32;
            I32AtomicRmwOr I32 Or u32; I32AtomicRmw8OrU I32 Or u8; I32AtomicRmw16OrU I32 Or u16;
            I64AtomicRmwOr I64 Or u64; I64AtomicRmw8OrU I64 Or u8; I64AtomicRmw16OrU I64 Or u16; I64AtomicRmw32OrU I64 Or u32;
            I32AtomicRmwXor I32 Xor u32; I32AtomicRmw8XorU I32 Xor u8; I32AtomicRmw16XorU I32 Xor u16;
            I64AtomicRmwXor I64 Xor u64; I64AtomicRmw8XorU I64 Xor u8; I64AtomicRmw16XorU I64 Xor u16; I64AtomicRmw32XorU I64 Xor u32;
            I32AtomicRmwXchg I32 Xchg u32; I32AtomicRmw8XchgU I32 Xchg u8; I32AtomicRmw16XchgU I32 Xchg u16;
            I64AtomicRmwXchg I64 Xchg u64; I64AtomicRmw8XchgU I64 Xchg u8; I64AtomicRmw16XchgU I64 Xchg u16;
            I64AtomicRmw32XchgU I64 Xchg u32;
        }
        compare_exchange {
            I32AtomicRmwCmpxchg I32 u32; I32AtomicRmw8CmpxchgU I32 u8; I32AtomicRmw16CmpxchgU I32 u16;
            I64AtomicRmwCmpxchg I64 u64; I64AtomicRmw8CmpxchgU I64 u8; I64AtomicRmw16CmpxchgU I64 u16; I64AtomicRmw32CmpxchgU I64 u32;
        }
    })
}
