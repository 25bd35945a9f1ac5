//! Vector instructions: which handler, and where its operands are. Vectors are only ever in slots; scalars that go into
//! them or come out of them use the accumulators.

use super::super::code::Ty;
use super::super::control as handlers;
use super::super::dispatch::{A, Forms, Handler, S, ToAcc, ToSlot, address};
use super::super::memory::*;
use super::super::simd;
use super::super::vector::{self, operators};
use super::emit::{Last, fields};
use super::{Translator, invalid};
use crate::Result;
use anyhow::bail;
use wasmc_environ::wasmparser::{MemArg, Operator};

impl Translator<'_> {
    /// A vector instruction.
    pub(super) fn vector_operator(&mut self, operator: &Operator<'_>) -> Result<()> {
        self.bounce = false;
        self.emit_vector_operator(operator)?;
        if self.bounce {
            self.code.extend([address(vector::bounce), 0]);
            self.last = Last::NONE;
        }
        Ok(())
    }

    /// Emits the words of a vector instruction; see `vector` for what its handler is tried out for.
    fn vector_words(&mut self, handler: Handler, words: &[u64]) {
        self.code.push(address(handler));
        self.code.extend_from_slice(words);
        self.bounce |= !vector::keeps_stack(handler, 1 + words.len());
    }

    fn emit_vector_operator(&mut self, operator: &Operator<'_>) -> Result<()> {
        match operator {
            Operator::V128Const { value } => {
                let to = self.destination(self.height)?;
                let bits = u128::from_le_bytes(*value.bytes());
                let at = self.code.len();
                self.code.extend([address(handlers::set_vector), fields(to, 0, 0, 0), bits as u64, (bits >> 64) as u64]);
                return self.slot_result(at, Ty::V128);
            }
            Operator::V128Load { memarg } => {
                return self
                    .vector_load([load_vector::<Near<S<1>>>, load_vector::<Near<A>>, load_vector::<Fixed>, load_vector::<Far<1>>], memarg);
            }
            Operator::V128Store { memarg } => {
                return self.vector_store(
                    [store_vector::<Near<S<0>>>, store_vector::<Near<A>>, store_vector::<Fixed>, store_vector::<Far<0>>],
                    memarg,
                );
            }
            Operator::I8x16Shuffle { lanes } => {
                let lanes = u128::from_le_bytes(*lanes);
                return self.vector(vector::shuffle, 2, &[lanes as u64, (lanes >> 64) as u64]);
            }
            _ => {}
        }
        if let Some(handler) = binary_handler(operator) {
            self.vector(handler, 2, &[])
        } else if let Some(handler) = unary_handler(operator) {
            self.vector(handler, 1, &[])
        } else if let Some(handler) = ternary_handler(operator) {
            self.vector(handler, 3, &[])
        } else if let Some([slot, acc]) = shift_handlers(operator) {
            let by = self.pop()?;
            let in_acc = self.in_acc(&by);
            let by = if in_acc { 0 } else { self.settle_field(&by, 2)? };
            let value = self.pop()?;
            let value = self.settle_field(&value, 0)?;
            self.emit_vector(if in_acc { acc } else { slot }, value, by)
        } else if let Some([slot, acc]) = splat_handlers(operator) {
            let value = self.pop()?;
            let in_acc = self.in_acc(&value);
            let value = if in_acc { 0 } else { self.settle_field(&value, 0)? };
            self.emit_vector(if in_acc { acc } else { slot }, value, 0)
        } else if let Some((form, lane, ty)) = scalar_handlers(operator) {
            let value = self.pop()?;
            let value = self.settle_field(&value, 0)?;
            let class = super::class(ty).ok_or_else(invalid)?;
            self.flush(class);
            let held = self.holds[class];
            let to = self.destination(self.height)?;
            let at = self.code.len();
            self.vector_words(form[0], &[fields(to, value, u16::from(lane), 0)]);
            self.bounce |= !vector::keeps_stack(form[1], 2);
            let end = self.code.len();
            self.push_acc(ty, at, form[1])?;
            self.last = Last { result: Some(at), held, ..Last::at(at, end) };
            Ok(())
        } else if let Some(([slot, acc], lane)) = replace_handlers(operator) {
            let value = self.pop()?;
            let in_acc = self.in_acc(&value);
            let value = if in_acc { 0 } else { self.settle_field(&value, 3)? };
            let lanes = self.pop()?;
            let lanes = self.settle_field(&lanes, 0)?;
            let to = self.destination(self.height)?;
            let at = self.code.len();
            self.vector_words(if in_acc { acc } else { slot }, &[fields(to, lanes, u16::from(lane), value)]);
            self.slot_result(at, Ty::V128)
        } else if let Some((forms, memarg)) = load_handlers(operator) {
            self.vector_load(forms, memarg)
        } else if let Some((handler, memarg, lane)) = load_lane_handler(operator) {
            let lanes = self.pop()?;
            let slot = self.settle(&lanes)?;
            let from = self.pop()?;
            let from = self.settle_field(&from, 0)?;
            self.mark();
            let to = self.destination(self.height)?;
            let at = self.code.len();
            let [memory, offset] = self.far_address(memarg)?;
            let last = u64::from(lane) | u64::from(slot as u32) << 32;
            self.vector_words(handler, &[fields(to, from, 0, 0), memory, offset, last]);
            self.slot_result(at, Ty::V128)
        } else if let Some((handler, memarg, lane)) = store_lane_handler(operator) {
            let value = self.pop()?;
            let value = self.settle_field(&value, 1)?;
            let to = self.pop()?;
            let to = self.settle_field(&to, 0)?;
            self.mark();
            let [memory, offset] = self.far_address(memarg)?;
            self.vector_words(handler, &[fields(to, value, 0, 0), memory, offset, u64::from(lane)]);
            self.last = Last::NONE;
            Ok(())
        } else {
            bail!("the interpreter does not have the instruction {operator:?}")
        }
    }

    /// So many vectors to one, with more words.
    fn vector(&mut self, handler: Handler, operands: usize, more: &[u64]) -> Result<()> {
        let mut numbers = [0; 3];
        for i in (0..operands).rev() {
            let operand = self.pop()?;
            numbers[i] = self.settle_field(&operand, i as i32)?;
        }
        let [a, b, c] = numbers;
        let to = self.destination(self.height)?;
        let at = self.code.len();
        let mut words = [fields(to, a, b, c), 0, 0];
        words[1..=more.len()].copy_from_slice(more);
        self.vector_words(handler, &words[..=more.len()]);
        self.slot_result(at, Ty::V128)
    }

    fn emit_vector(&mut self, handler: Handler, a: u16, b: u16) -> Result<()> {
        let to = self.destination(self.height)?;
        let at = self.code.len();
        self.vector_words(handler, &[fields(to, a, b, 0)]);
        self.slot_result(at, Ty::V128)
    }

    /// Handlers for an address in a slot, in the accumulator, fixed, and far.
    fn vector_load(&mut self, [slot, acc, fixed, far]: [Handler; 4], memarg: &MemArg) -> Result<()> {
        let operand = self.pop()?;
        let near = self.near_offset(memarg);
        let constant = operand.constant().and_then(|c| (c as u32).checked_add(near?));
        let in_acc = near.is_some() && self.in_acc(&operand);
        let from = if constant.is_some() || in_acc { 0 } else { self.settle_field(&operand, 0)? };
        self.mark();
        let to = self.destination(self.height)?;
        let at = self.code.len();
        let word = |offset: u32| fields(to, from, 0, 0) | u64::from(offset) << 32;
        match (near, constant) {
            (_, Some(address)) => self.vector_words(fixed, &[word(address)]),
            (Some(offset), None) => self.vector_words(if in_acc { acc } else { slot }, &[word(offset)]),
            (None, None) => {
                let [memory, offset] = self.far_address(memarg)?;
                self.vector_words(far, &[word(0), memory, offset]);
            }
        }
        self.slot_result(at, Ty::V128)
    }

    fn vector_store(&mut self, [slot, acc, fixed, far]: [Handler; 4], memarg: &MemArg) -> Result<()> {
        let value = self.pop()?;
        let value = self.settle_field(&value, 1)?;
        let operand = self.pop()?;
        let near = self.near_offset(memarg);
        let constant = operand.constant().and_then(|c| (c as u32).checked_add(near?));
        let in_acc = near.is_some() && self.in_acc(&operand);
        let to = if constant.is_some() || in_acc { 0 } else { self.settle_field(&operand, 0)? };
        self.mark();
        let word = |offset: u32| fields(to, value, 0, 0) | u64::from(offset) << 32;
        match (near, constant) {
            (_, Some(address)) => self.vector_words(fixed, &[word(address)]),
            (Some(offset), None) => self.vector_words(if in_acc { acc } else { slot }, &[word(offset)]),
            (None, None) => {
                let [memory, offset] = self.far_address(memarg)?;
                self.vector_words(far, &[word(0), memory, offset]);
            }
        }
        self.last = Last::NONE;
        Ok(())
    }
}

fn unary_handler(operator: &Operator<'_>) -> Option<Handler> {
    macro_rules! list {
        ([] $($name:ident $f:ident;)*) => {
            match operator {
                $(Operator::$name => vector::vector_unary::<operators::$name>,)*
                _ => return None,
            }
        };
    }
    Some(simd::for_each_simd_unary!(list))
}

fn binary_handler(operator: &Operator<'_>) -> Option<Handler> {
    macro_rules! list {
        ([] $($name:ident $f:ident;)*) => {
            match operator {
                $(Operator::$name => vector::vector_binary::<operators::$name>,)*
                _ => return None,
            }
        };
    }
    Some(simd::for_each_simd_binary!(list))
}

fn ternary_handler(operator: &Operator<'_>) -> Option<Handler> {
    macro_rules! list {
        ([] $($name:ident $f:ident;)*) => {
            match operator {
                $(Operator::$name => vector::vector_ternary::<operators::$name>,)*
                _ => return None,
            }
        };
    }
    Some(simd::for_each_simd_ternary!(list))
}

/// Handlers for a number of bits in a slot (field 2) and in the accumulator.
fn shift_handlers(operator: &Operator<'_>) -> Option<[Handler; 2]> {
    macro_rules! list {
        ([] $($name:ident $f:ident;)*) => {
            match operator {
                $(Operator::$name => [vector::vector_shift::<operators::$name, S<2>>, vector::vector_shift::<operators::$name, A>],)*
                _ => return None,
            }
        };
    }
    Some(simd::for_each_simd_shift!(list))
}

/// Handlers for a scalar in a slot (field 1) and in the accumulator.
fn splat_handlers(operator: &Operator<'_>) -> Option<[Handler; 2]> {
    macro_rules! list {
        ([] $($name:ident $f:ident $ty:ident;)*) => {
            match operator {
                $(Operator::$name => [vector::splat::<operators::$name, S<1>>, vector::splat::<operators::$name, A>],)*
                _ => return None,
            }
        };
    }
    Some(simd::for_each_simd_splat!(list))
}

/// Instructions from a vector to a scalar: tests, and extractions with their lane.
fn scalar_handlers(operator: &Operator<'_>) -> Option<(Forms, u8, Ty)> {
    macro_rules! tests {
        ([] $($name:ident $f:ident;)*) => {
            match operator {
                $(Operator::$name => Some(([vector::vector_test::<operators::$name, ToAcc>, vector::vector_test::<operators::$name, ToSlot>] as Forms, 0, Ty::I32)),)*
                _ => None,
            }
        };
    }
    macro_rules! ty {
        (i32) => {
            Ty::I32
        };
        (i64) => {
            Ty::I64
        };
        (f32) => {
            Ty::F32
        };
        (f64) => {
            Ty::F64
        };
    }
    macro_rules! extracts {
        ([] $($name:ident $f:ident $ty:ident;)*) => {
            match operator {
                $(Operator::$name { lane } => {
                    Some(([vector::extract::<operators::$name, ToAcc>, vector::extract::<operators::$name, ToSlot>] as Forms, *lane, ty!($ty)))
                })*
                _ => None,
            }
        };
    }
    simd::for_each_simd_test!(tests).or_else(|| simd::for_each_simd_extract!(extracts))
}

/// Handlers for a scalar in a slot (field 3) and in the accumulator.
fn replace_handlers(operator: &Operator<'_>) -> Option<([Handler; 2], u8)> {
    macro_rules! list {
        ([] $($name:ident $f:ident $ty:ident;)*) => {
            match operator {
                $(Operator::$name { lane } => ([vector::replace::<operators::$name, S<3>>, vector::replace::<operators::$name, A>], *lane),)*
                _ => return None,
            }
        };
    }
    Some(simd::for_each_simd_replace!(list))
}

/// As `vector_load` takes them.
fn load_handlers<'a>(operator: &'a Operator<'_>) -> Option<([Handler; 4], &'a MemArg)> {
    macro_rules! list {
        ([] $($name:ident $f:ident $ty:ty;)*) => {
            match operator {
                $(Operator::$name { memarg } => (
                    [
                        vector::vector_load::<operators::$name, Near<S<1>>>,
                        vector::vector_load::<operators::$name, Near<A>>,
                        vector::vector_load::<operators::$name, Fixed>,
                        vector::vector_load::<operators::$name, Far<1>>,
                    ],
                    memarg,
                ),)*
                _ => return None,
            }
        };
    }
    Some(simd::for_each_simd_load!(list))
}

fn load_lane_handler<'a>(operator: &'a Operator<'_>) -> Option<(Handler, &'a MemArg, u8)> {
    macro_rules! list {
        ([] $($name:ident $f:ident $ty:ty;)*) => {
            match operator {
                $(Operator::$name { memarg, lane } => (vector::load_lane::<operators::$name>, memarg, *lane),)*
                _ => return None,
            }
        };
    }
    Some(simd::for_each_simd_load_lane!(list))
}

fn store_lane_handler<'a>(operator: &'a Operator<'_>) -> Option<(Handler, &'a MemArg, u8)> {
    macro_rules! list {
        ([] $($name:ident $f:ident $ty:ty;)*) => {
            match operator {
                $(Operator::$name { memarg, lane } => (vector::store_lane::<operators::$name>, memarg, *lane),)*
                _ => return None,
            }
        };
    }
    Some(simd::for_each_simd_store_lane!(list))
}
