//! The engine: a configuration, and what all modules and stores made with it share: the interned types and the stubs.
//! Cheap to clone; usable from every thread.

use crate::Result;
use crate::config::Config;
use crate::fuel::EngineCosts;
use crate::registry::Registry;
use crate::reuse::Reuse;
use crate::vm::pool::Pool;
use std::sync::Arc;

/// Greatest stack that a store can be given.
const MAX_STACK: u64 = 4 << 30;
/// Least stack that a store can be given.
const MIN_STACK: u64 = 64 << 10;

/// What modules and stores are made with.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<EngineInner>,
}

struct EngineInner {
    config: Config,
    registry: Arc<Registry>,
    costs: EngineCosts,
    /// Memories that are kept for the next instances.
    pool: Arc<Pool>,
}

impl Engine {
    /// Makes an engine.
    ///
    /// # Errors
    /// If the configuration contradicts itself or asks for what this machine cannot give.
    pub fn new(mut config: Config) -> Result<Self> {
        anyhow::ensure!(
            (MIN_STACK..=MAX_STACK).contains(&config.stack_size),
            "a stack of {} bytes is not possible: choose between {MIN_STACK} and {MAX_STACK} bytes",
            config.stack_size
        );
        // Code that is made here is made so that the tracer sees all of its calls.
        config.tunables.trace |= config.call_tracer.is_some();
        if let Some(signal) = config.interrupt_signal {
            crate::vm::signals::choose_interrupt_signal(signal)?;
        }
        anyhow::ensure!(
            config.costs.is_none() || config.tunables.meter,
            "costs are for an engine that meters: set `Config::meter` as well"
        );
        let costs = EngineCosts::new(config.costs.as_ref());
        let pool = Arc::new(Pool::new(config.reuse));
        Ok(Self { inner: Arc::new(EngineInner { config, registry: Arc::new(Registry::default()), costs, pool }) })
    }

    /// The configuration that the engine was made with.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Whether two handles are to the same engine: only then modules of one can run in stores of the other.
    pub fn same(a: &Self, b: &Self) -> bool {
        Arc::ptr_eq(&a.inner, &b.inner)
    }

    /// What code that is metered costs.
    pub(crate) fn costs(&self) -> &EngineCosts {
        &self.inner.costs
    }

    /// The memories that are kept.
    #[inline]
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.inner.pool
    }

    #[inline]
    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.inner.registry
    }
}

impl Default for Engine {
    /// An engine with the default configuration.
    fn default() -> Self {
        Self {
            inner: Arc::new(EngineInner {
                config: Config::default(),
                registry: Arc::new(Registry::default()),
                costs: EngineCosts::default(),
                pool: Arc::new(Pool::new(Reuse::default())),
            }),
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("config", &self.inner.config).finish_non_exhaustive()
    }
}
