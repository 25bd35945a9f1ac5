//! Metering: which regions of a body are charged for (`environ::meter`), and the instructions that do it.

use super::super::dispatch::{Handler, address};
use super::super::meter as handlers;
use super::Translator;
use super::emit::Last;
use crate::Result;
use crate::fuel;
use std::iter::Peekable;
use std::vec::IntoIter;
use wasmc_environ::meter::{Region, regions};
use wasmc_environ::wasmparser::{FunctionBody, Operator};

/// The regions of a function that are still to come.
pub(super) struct Meter {
    regions: Peekable<IntoIter<Region>>,
    /// Whether instructions are counted apart from their cost.
    apart: bool,
}

impl Translator<'_> {
    /// Cuts the body into regions and counts the call, if the engine meters.
    pub(super) fn begin_metering(&mut self, body: &FunctionBody<'_>) {
        if let Some(costs) = fuel::interpreter_costs(self.module) {
            self.meter = Some(Meter { regions: regions(body, costs).into_iter().peekable(), apart: costs.is_some() });
            self.code.extend([address(handlers::count_call), 0]);
            self.settle_meter();
        }
    }

    /// Translates an operator, after the charge for the region that it begins. A `loop` is charged for behind its label.
    pub(super) fn metered_operator(&mut self, operator: &Operator<'_>) -> Result<()> {
        if self.meter.is_none() {
            return self.operator(operator);
        }
        let in_loop = matches!(operator, Operator::Loop { .. });
        if !in_loop {
            self.charge();
        }
        self.operator(operator)?;
        if in_loop {
            self.charge();
        }
        Ok(())
    }

    /// Charges for the region that begins with the current operator, if one does.
    fn charge(&mut self) {
        let Some(meter) = &mut self.meter else { return };
        let offset = u64::from(self.offset);
        let Some(region) = meter.regions.next_if(|r| r.start == offset) else { return };
        let apart = meter.apart;
        if !self.reachable {
            return;
        }
        self.mark();
        let handler: Handler = if apart { handlers::charge_apart } else { handlers::charge };
        self.code.extend([address(handler), region.cost]);
        self.code.extend(apart.then_some(region.instructions));
        self.settle_meter();
    }

    /// What was emitted before stays as it is, and nothing is joined with it. The accumulators keep their values.
    fn settle_meter(&mut self) {
        self.floor = self.code.len();
        self.last = Last::NONE;
    }
}
