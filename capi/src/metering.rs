//! Metering: what ran in a store, counted the same on every tier, and fuel that limits it.

use std::ffi::c_char;
use std::sync::Arc;

use anyhow::Result;
use wasmc_runtime::{CostTable, Stats};

use crate::config::{change, wasm_config_t};
use crate::error::{Coded, code, done, text};
use crate::guard::api;
use crate::store::{store, wasm_store_t};

/// What a store knows about what ran in it.
#[repr(C)]
#[derive(Copy, Clone, Debug, Default)]
pub struct wasmc_stats_t {
    /// WebAssembly instructions that were executed.
    pub instructions: u64,
    /// What they and the calls of host functions cost.
    pub cost: u64,
    /// WebAssembly functions that were entered.
    pub calls: u64,
    /// Calls of functions of the host.
    pub host_calls: u64,
    /// Bytes of all memories.
    pub memory_bytes: u64,
}

impl From<Stats> for wasmc_stats_t {
    fn from(stats: Stats) -> Self {
        Self {
            instructions: stats.instructions.unwrap_or(0),
            cost: stats.cost.unwrap_or(0),
            calls: stats.calls.unwrap_or(0),
            host_calls: stats.host_calls.unwrap_or(0),
            memory_bytes: stats.memory_bytes,
        }
    }
}

/// # Safety
/// The pointer is null or a configuration that nobody else uses meanwhile.
unsafe fn set_cost(config: *mut wasm_config_t, set: impl FnOnce(&mut CostTable) -> Result<()>) -> bool {
    // SAFETY: by the caller.
    let Some(this) = (unsafe { config.as_mut() }) else { return done(Err(crate::error::null("the configuration"))) };
    done((|| {
        let mut costs = match &this.costs {
            Some(costs) => costs.clone(),
            None => CostTable::new(1)?,
        };
        set(&mut costs).map_err(|e| Coded(code::USAGE, format!("{e:#}")))?;
        this.config = this.config.clone().costs(Arc::new(costs.clone()));
        this.costs = Some(costs);
        Ok(())
    })())
}

api! {
    /// Whether instructions are counted, and fuel limits them.
    fn wasmc_config_set_metering(config: *mut wasm_config_t, on: bool) -> bool {
        change(config, |config| Ok(config.meter(on)))
    }

    /// What an instruction costs where code is metered.
    fn wasmc_config_set_cost(config: *mut wasm_config_t, instruction: *const c_char, cost: u64) -> bool {
        set_cost(config, |costs| Ok(costs.set_instruction(text(instruction, "the name of the instruction")?, cost)?))
    }

    /// What a call of a function of the host costs where code is metered.
    fn wasmc_config_set_host_cost(config: *mut wasm_config_t, name: *const c_char, cost: u64) -> bool {
        set_cost(config, |costs| Ok(costs.set_host(text(name, "the name of the function")?, cost)?))
    }

    /// Limits what runs from now on.
    fn wasmc_store_set_fuel(of: *mut wasm_store_t, fuel: u64) -> bool {
        done(store(of).and_then(|store| store.context().set_fuel(fuel)))
    }

    /// The fuel that is left.
    fn wasmc_store_fuel(of: *mut wasm_store_t, fuel: *mut u64) -> bool {
        done(store(of).and_then(|store| {
            let left = store.context().get_fuel()?;
            if let Some(fuel) = fuel.as_mut() {
                *fuel = left;
            }
            Ok(())
        }))
    }

    /// What is known of what ran in a store.
    fn wasmc_store_stats(of: *mut wasm_store_t, stats: *mut wasmc_stats_t) -> bool {
        done(store(of).map(|store| {
            if let Some(stats) = stats.as_mut() {
                *stats = store.context().stats().into();
            }
        }))
    }
}
