//! Wide arithmetic: see the handlers in `wide`.

use super::super::code::Ty;
use super::super::dispatch::{Handler, address};
use super::super::wide::{wide_product, wide_sum};
use super::Translator;
use super::emit::{Last, fields};
use crate::Result;

impl Translator<'_> {
    /// `i64.add128` and `i64.sub128`.
    pub(super) fn wide_sum(&mut self, subtract: bool) -> Result<()> {
        let operand = self.pop()?;
        let last = self.settle(&operand)?;
        let mut numbers = [0; 3];
        for i in (0..3).rev() {
            let operand = self.pop()?;
            numbers[i] = self.settle_field(&operand, i as i32)?;
        }
        let handler: Handler = if subtract { wide_sum::<true> } else { wide_sum::<false> };
        let [low, high, right] = numbers;
        let to = self.destination(self.height)?;
        self.code.extend([address(handler), fields(to, low, high, right), last as i64 as u64]);
        self.wide_result()
    }

    /// `i64.mul_wide_s` and `i64.mul_wide_u`.
    pub(super) fn wide_product(&mut self, signed: bool) -> Result<()> {
        let right = self.pop()?;
        let right = self.settle_field(&right, 1)?;
        let left = self.pop()?;
        let left = self.settle_field(&left, 0)?;
        let handler: Handler = if signed { wide_product::<true> } else { wide_product::<false> };
        let to = self.destination(self.height)?;
        self.code.extend([address(handler), fields(to, left, right, 0)]);
        self.wide_result()
    }

    /// Pushes the two halves that the last instruction has made.
    fn wide_result(&mut self) -> Result<()> {
        self.last = Last::NONE;
        let slot = self.height;
        self.push_slot(Ty::I64);
        self.push_slot(Ty::I64);
        // Two slots, as a vector is.
        self.finish_far(slot, Ty::V128)
    }
}
