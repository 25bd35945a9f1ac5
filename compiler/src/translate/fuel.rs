//! Metering: counts of instructions, and fuel. The pinned register holds the fuel that is left (`docs/abi.md`). Each region of
//! `environ::meter` begins with a comparison that traps if the region costs more than that, and a subtraction (`fuse.rs` makes one of both); so at any
//! instruction that can trap, throw or call, the register says what is left, and nothing was done that was not paid for.
//! The other counters are in memory: instructions where they are not the same number as the cost, and entered functions.

use super::FuncTranslator;
use super::region::Region as AliasRegion;
use crate::fuse::CHARGE;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, SourceLoc, Value, types};
use std::iter::Peekable;
use std::vec::IntoIter;
use wasmc_environ::TrapCode;
use wasmc_environ::jit::CompileError;
use wasmc_environ::meter::{Region, regions};
use wasmc_environ::vmlayout::offsets;
use wasmparser::{FunctionBody, Operator};

/// The regions of a function that are still to come.
pub(super) struct Meter {
    regions: Peekable<IntoIter<Region>>,
}

impl Default for Meter {
    fn default() -> Self {
        Self { regions: Vec::new().into_iter().peekable() }
    }
}

impl Meter {
    /// The region that begins with the operator at `offset`, if one does.
    fn begins(&mut self, offset: u64) -> Option<Region> {
        // Those passed over begin in code that is reached by the specification's rules, but not in fact.
        while self.regions.next_if(|r| r.start < offset).is_some() {}
        self.regions.next_if(|r| r.start == offset)
    }
}

impl FuncTranslator<'_, '_> {
    /// Cuts the body into regions and counts the call, if the code is to be metered.
    pub(super) fn begin_metering(&mut self, body: &FunctionBody<'_>) {
        if self.env.tunables.meter {
            self.meter.regions = regions(body, self.env.costs).into_iter().peekable();
            self.add_to_counter(self.vmctx, offsets::VMCONTEXT_CALLS, 1);
        }
    }

    /// Translates an operator, after the charge for the region that it begins. A `loop` is charged for in the block to which
    /// the branches lead.
    pub(super) fn metered_operator(&mut self, op: &Operator<'_>) -> Result<(), CompileError> {
        if !self.env.tunables.meter {
            return self.operator(op);
        }
        let in_loop = matches!(op, Operator::Loop { .. });
        if !in_loop {
            self.charge();
        }
        self.operator(op)?;
        if in_loop {
            self.charge();
        }
        Ok(())
    }

    /// Charges for the region that begins with the current operator, if one does.
    fn charge(&mut self) {
        let Some(region) = self.meter.begins(self.offset) else { return };
        if !self.reachable {
            return;
        }
        // The sum of what a body's instructions cost is far below 2^63 (`costs::MAX_INSTRUCTION_COST`).
        let cost = region.cost as i64;
        if cost != 0 {
            let location = self.builder.srcloc();
            // A default location means that there is none.
            if location.bits() & CHARGE == 0 {
                self.builder.set_srcloc(SourceLoc::new(location.bits() | CHARGE));
            }
            let left = self.builder.ins().get_pinned_reg(types::I64);
            let price = self.builder.ins().iconst(types::I64, cost);
            let short = self.builder.ins().icmp(IntCC::SignedLessThan, left, price);
            self.trap_if(short, TrapCode::OutOfFuel);
            let rest = self.builder.ins().isub(left, price);
            self.builder.ins().set_pinned_reg(rest);
            self.builder.set_srcloc(location);
        }
        if self.env.costs.is_some() {
            let constant = self.constant();
            let store = self.builder.ins().load(types::I64, constant, self.vmctx, offsets::VMCONTEXT_STORE);
            self.add_to_counter(store, offsets::STORE_INSTRUCTIONS, region.instructions as i64);
        }
    }

    fn add_to_counter(&mut self, base: Value, offset: i32, n: i64) {
        let flags = self.trusted(AliasRegion::Meter);
        let before = self.builder.ins().load(types::I64, flags, base, offset);
        let n = self.builder.ins().iconst(types::I64, n);
        let after = self.builder.ins().iadd(before, n);
        self.builder.ins().store(flags, after, base, offset);
    }
}
