//! Configurations and engines.

use std::ffi::c_char;

use anyhow::{Result, bail};
use wasmc_runtime::{Config, CostTable, Engine, Features, Tier};

use crate::error::{Coded, boxed, code, done, set_last_error, text};
use crate::guard::api;
use crate::types::{owned, release};

/// How modules that are made from WebAssembly run.
pub type wasmc_tier_t = u8;

/// What an engine is made from.
#[derive(Clone, Debug)]
pub struct wasm_config_t {
    pub(crate) config: Config,
    /// What instructions and functions of the host cost, if that was said.
    pub(crate) costs: Option<CostTable>,
}

/// What stores are made with.
#[derive(Clone, Debug)]
pub struct wasm_engine_t {
    pub(crate) engine: Engine,
}

fn new_config() -> wasm_config_t {
    let config = Config::new();
    #[cfg(feature = "compiler")]
    let config = config.compiler(std::sync::Arc::new(wasmc_compiler::Jit::default()));
    wasm_config_t { config, costs: None }
}

/// # Safety
/// `config` is null or a configuration that nobody else uses meanwhile.
pub(crate) unsafe fn change(config: *mut wasm_config_t, change: impl FnOnce(Config) -> Result<Config>) -> bool {
    // SAFETY: by the caller.
    let Some(this) = (unsafe { config.as_mut() }) else {
        set_last_error(&crate::error::null("the configuration"));
        return false;
    };
    done(change(this.config.clone()).map(|config| this.config = config))
}

api! {
    /// The default configuration.
    fn wasm_config_new() -> *mut wasm_config_t {
        Box::into_raw(Box::new(new_config()))
    }

    /// Releases a configuration.
    fn wasm_config_delete(config: *mut wasm_config_t) {
        release(config);
    }

    /// An engine of the default configuration.
    fn wasm_engine_new() -> *mut wasm_engine_t {
        boxed(Engine::new(new_config().config).map(|engine| wasm_engine_t { engine }))
    }

    /// An engine of a configuration that it takes over; null if the configuration contradicts itself.
    fn wasm_engine_new_with_config(config: *mut wasm_config_t) -> *mut wasm_engine_t {
        let engine = owned(config, "the configuration").and_then(|config| Engine::new(config.config));
        boxed(engine.map(|engine| wasm_engine_t { engine }))
    }

    /// Releases an engine. Stores go on using it.
    fn wasm_engine_delete(engine: *mut wasm_engine_t) {
        release(engine);
    }

    /// Whether the library has a compiler.
    fn wasmc_has_compiler() -> bool {
        cfg!(feature = "compiler")
    }

    /// How modules that are made from WebAssembly run.
    fn wasmc_config_set_tier(config: *mut wasm_config_t, tier: wasmc_tier_t) -> bool {
        change(config, |config| {
            Ok(config.tier(match tier {
                0 => Tier::Compiled,
                1 => Tier::Interpreted,
                2 => Tier::Auto,
                other => bail!(Coded(code::USAGE, format!("there is no tier with number {other}"))),
            }))
        })
    }

    /// Switches a proposal on or off by its name.
    fn wasmc_config_set_feature(config: *mut wasm_config_t, name: *const c_char, on: bool) -> bool {
        change(config, |config| {
            let name = text(name, "the name of the proposal")?;
            let mut features = config.enabled().clone();
            if !features.set(name, on) {
                let known: Vec<&str> = Features::ALL.iter().map(|f| f.name).collect();
                bail!(Coded(code::USAGE, format!("there is no proposal `{name}`; there are {}", known.join(", "))));
            }
            Ok(config.features(features))
        })
    }

    /// Bytes of stack for WebAssembly in each store.
    fn wasmc_config_set_stack_size(config: *mut wasm_config_t, bytes: u64) -> bool {
        change(config, |config| Ok(config.stack_size(bytes)))
    }

    /// Whether 32-bit memories reserve their address space, so that accesses need no checks.
    fn wasmc_config_set_static_memory(config: *mut wasm_config_t, on: bool) -> bool {
        change(config, |config| Ok(config.static_memory(on)))
    }

    /// Whether the code of artifacts is hashed when they are loaded.
    fn wasmc_config_set_verify_artifacts(config: *mut wasm_config_t, on: bool) -> bool {
        change(config, |config| Ok(config.verify_text_hash(on)))
    }
}
