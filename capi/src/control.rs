//! What runs in a store, limited and interrupted.

use std::ffi::c_char;
use std::time::Duration;

use anyhow::{Result, bail};
use wasmc_runtime::{InterruptHandle, Resource, Timeout};

use crate::config::{change, wasm_config_t};
use crate::error::{Coded, boxed, code, done, get, text};
use crate::guard::api;
use crate::store::{store, wasm_store_t};
use crate::types::release;

/// Interrupts a store, from any thread.
pub struct wasmc_interrupt_t {
    handle: InterruptHandle,
}

/// An interruption that will come, unless this is released before.
pub struct wasmc_timeout_t {
    _timeout: Timeout,
}

/// # Safety
/// The name is null or a C string.
unsafe fn resource(name: *const c_char) -> Result<Resource> {
    // SAFETY: by the caller.
    let name = unsafe { text(name, "the name of the limit") }?;
    let found = Resource::ALL.into_iter().find(|r| r.name() == name);
    found.ok_or_else(|| {
        let known: Vec<&str> = Resource::ALL.iter().map(|r| r.name()).collect();
        Coded(code::USAGE, format!("there is no limit `{name}`; there are {}", known.join(", "))).into()
    })
}

api! {
    /// Which signal interrupts, in the whole process.
    fn wasmc_config_set_interrupt_signal(config: *mut wasm_config_t, signal: i32) -> bool {
        change(config, |config| Ok(config.interrupt_signal(signal)))
    }

    /// A handle with which other threads interrupt what runs in a store.
    fn wasmc_store_interrupt_handle(of: *mut wasm_store_t) -> *mut wasmc_interrupt_t {
        boxed(store(of).and_then(|store| {
            let context = store.context();
            Ok(wasmc_interrupt_t { handle: wasmc_runtime::AsContext::as_context(&context).interrupt_handle()? })
        }))
    }

    /// Whether a store was interrupted.
    fn wasmc_store_is_interrupted(of: *const wasm_store_t) -> bool {
        store(of).is_ok_and(|store| store.context().is_interrupted())
    }

    /// Releases a handle. What it armed stays armed.
    fn wasmc_interrupt_delete(interrupt: *mut wasmc_interrupt_t) {
        release(interrupt);
    }

    /// Interrupts the store, soon.
    fn wasmc_interrupt(interrupt: *const wasmc_interrupt_t) {
        if let Some(interrupt) = interrupt.as_ref() {
            interrupt.handle.interrupt();
        }
    }

    /// Interrupts the store after a time, unless the result is released before.
    fn wasmc_interrupt_after(interrupt: *const wasmc_interrupt_t, nanoseconds: u64) -> *mut wasmc_timeout_t {
        boxed(get(interrupt, "the handle").map(|interrupt| {
            wasmc_timeout_t { _timeout: interrupt.handle.interrupt_after(Duration::from_nanos(nanoseconds)) }
        }))
    }

    /// Disarms a time-out.
    fn wasmc_timeout_delete(timeout: *mut wasmc_timeout_t) {
        release(timeout);
    }

    /// Limits what a store may use.
    fn wasmc_store_set_limit(of: *mut wasm_store_t, name: *const c_char, most: u64) -> bool {
        done(store(of).and_then(|store| {
            let resource = resource(name)?;
            if !store.set_limit(resource, most) {
                bail!(Coded(code::USAGE, "limits are set before there is anything in the store".into()));
            }
            Ok(())
        }))
    }

    /// How much a store uses of what is limited, and the most that it has used at a time.
    fn wasmc_store_usage(of: *mut wasm_store_t, name: *const c_char, now: *mut u64, peak: *mut u64) -> bool {
        done(store(of).and_then(|store| {
            let resource = resource(name)?;
            let limits = store.limits();
            for (at, amount) in [(now, limits.used(resource)), (peak, limits.peak(resource))] {
                if let Some(at) = at.as_mut() {
                    *at = amount;
                }
            }
            Ok(())
        }))
    }
}
