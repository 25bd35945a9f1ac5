//! Limits of what stores may use: memory, elements of tables, instances. Whoever is to be asked is given to a store
//! ([`Store::limiter`](crate::Store::limiter)) or a shared memory; [`StoreLimits`] counts over all that it was given to, which may be on several threads.
//! Growth that is refused is what the specification says, -1; making something beyond a limit is the error [`LimitExceeded`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wasmc_environ::types::{MemoryType, TableType};

/// What is limited. The names are those of the command line.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Resource {
    /// Bytes of memories that programs can access, whether touched or not.
    MemoryBytes,
    /// Elements of tables.
    TableElements,
    /// Instances of modules.
    Instances,
    /// Memories, however large.
    Memories,
    /// Tables, however large.
    Tables,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::MemoryBytes, Self::TableElements, Self::Instances, Self::Memories, Self::Tables];

    /// The name of its limit.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MemoryBytes => "memory",
            Self::TableElements => "table-elements",
            Self::Instances => "instances",
            Self::Memories => "memories",
            Self::Tables => "tables",
        }
    }

    /// What a limit counts.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::MemoryBytes => "bytes of memories",
            Self::TableElements => "elements of tables",
            Self::Instances => "instances",
            Self::Memories => "memories",
            Self::Tables => "tables",
        }
    }
}

/// Something would be beyond a limit.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limit `{}` allows {limit} {}, and {needed} would be needed", resource.name(), resource.unit())]
pub struct LimitExceeded {
    /// Which limit.
    pub resource: Resource,
    /// How much it allows.
    pub limit: u64,
    /// How much there would be.
    pub needed: u64,
}

/// Decides what stores may use. Called by whatever thread runs the store; it must not use the store.
pub trait ResourceLimiter: Send + Sync {
    /// So much more is about to be used, by something of which there is `current` (a memory's bytes, a table's elements) and
    /// can be at most `maximum`; both are 0 and `None` where something new is made. What is allowed counts as used until `release`.
    ///
    /// # Errors
    /// If it is not allowed.
    fn acquire(&self, resource: Resource, more: u64, current: u64, maximum: Option<u64>) -> Result<(), LimitExceeded>;

    /// So much is not used any more, or could not be had although it was allowed.
    fn release(&self, resource: Resource, amount: u64);
}

/// Limits with fixed numbers, over everything that they are given to together. Clones share what they count.
///
/// ```
/// use std::sync::Arc;
/// use wasmc_runtime::{Config, Engine, Memory, MemoryType, Limits, Resource, Store, StoreLimits, Tier};
///
/// # fn main() -> wasmc_runtime::Result<()> {
/// let engine = Engine::new(Config::new().tier(Tier::Interpreted))?;
/// let limits = StoreLimits::new().limit(Resource::MemoryBytes, 128 << 10);
/// let mut store = Store::new(&engine, ());
/// store.limiter(Arc::new(limits.clone()));
/// let ty = MemoryType { limits: Limits { min: 1, max: None }, memory64: false, shared: false, page_size_log2: 16 };
/// let memory = Memory::new(&mut store, ty)?;
/// assert_eq!(memory.grow(&mut store, 1)?, 1);
/// assert!(memory.grow(&mut store, 1).is_err());
/// assert_eq!(limits.used(Resource::MemoryBytes), 128 << 10);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct StoreLimits {
    limits: [u64; Resource::ALL.len()],
    used: Arc<[Used; Resource::ALL.len()]>,
}

#[derive(Debug, Default)]
struct Used {
    now: AtomicU64,
    peak: AtomicU64,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self { limits: [u64::MAX; _], used: Arc::default() }
    }
}

impl StoreLimits {
    /// No limit at all: it only counts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a limit.
    #[must_use]
    pub fn limit(mut self, resource: Resource, most: u64) -> Self {
        self.limits[resource as usize] = most;
        self
    }

    /// How much is used now.
    pub fn used(&self, resource: Resource) -> u64 {
        self.used[resource as usize].now.load(Ordering::Relaxed)
    }

    /// The most that was used at a time.
    pub fn peak(&self, resource: Resource) -> u64 {
        self.used[resource as usize].peak.load(Ordering::Relaxed)
    }
}

impl ResourceLimiter for StoreLimits {
    fn acquire(&self, resource: Resource, more: u64, _: u64, _: Option<u64>) -> Result<(), LimitExceeded> {
        let (used, limit) = (&self.used[resource as usize], self.limits[resource as usize]);
        let fits = |now: u64| now.checked_add(more).filter(|n| *n <= limit);
        match used.now.try_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(before) => {
                used.peak.fetch_max(before + more, Ordering::Relaxed);
                Ok(())
            }
            Err(now) => Err(LimitExceeded { resource, limit, needed: now.saturating_add(more) }),
        }
    }

    fn release(&self, resource: Resource, amount: u64) {
        // Saturating: a limiter can be given to a store that was made without it.
        let less = |now: u64| Some(now.saturating_sub(amount));
        let _ = self.used[resource as usize].now.try_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

/// What a store or a shared memory has acquired; given back when it is dropped.
#[derive(Default)]
pub(crate) struct Account {
    limiter: Option<Arc<dyn ResourceLimiter>>,
    acquired: [u64; Resource::ALL.len()],
}

/// How much an account had acquired at some moment.
pub(crate) struct Mark([u64; Resource::ALL.len()]);

impl Account {
    /// With nothing acquired.
    pub(crate) fn new(limiter: Option<Arc<dyn ResourceLimiter>>) -> Self {
        Self { limiter, acquired: [0; _] }
    }

    /// Who is asked.
    pub(crate) fn limiter(&self) -> Option<Arc<dyn ResourceLimiter>> {
        self.limiter.clone()
    }

    /// Asks for something new, or more of what there is.
    pub(crate) fn acquire(&mut self, resource: Resource, more: u64, current: u64, maximum: Option<u64>) -> Result<(), LimitExceeded> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        if more > 0 {
            limiter.acquire(resource, more, current, maximum)?;
            self.acquired[resource as usize] = self.acquired[resource as usize].saturating_add(more);
        }
        Ok(())
    }

    /// Asks for a new memory of its initial size.
    pub(crate) fn acquire_memory(&mut self, ty: &MemoryType) -> Result<(), LimitExceeded> {
        self.acquire(Resource::Memories, 1, 0, None)?;
        // What cannot be expressed is refused for another reason.
        self.acquire(Resource::MemoryBytes, ty.min_bytes().unwrap_or(0), 0, None)
    }

    /// Asks for a new table of its initial size.
    pub(crate) fn acquire_table(&mut self, ty: &TableType) -> Result<(), LimitExceeded> {
        self.acquire(Resource::Tables, 1, 0, None)?;
        self.acquire(Resource::TableElements, ty.limits.min, 0, None)
    }

    /// Gives back what was acquired in vain.
    pub(crate) fn release(&mut self, resource: Resource, amount: u64) {
        let amount = amount.min(self.acquired[resource as usize]);
        if let (Some(limiter), true) = (&self.limiter, amount > 0) {
            self.acquired[resource as usize] -= amount;
            limiter.release(resource, amount);
        }
    }

    /// This moment, to come back to.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.acquired)
    }

    /// Gives back what was acquired since.
    pub(crate) fn release_since(&mut self, mark: &Mark) {
        for resource in Resource::ALL {
            self.release(resource, self.acquired[resource as usize].saturating_sub(mark.0[resource as usize]));
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.release_since(&Mark([0; _]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_give_back_what_they_took() {
        let limits = StoreLimits::new().limit(Resource::TableElements, 10);
        let mut account = Account::new(Some(Arc::new(limits.clone())));
        account.acquire(Resource::TableElements, 4, 0, None).unwrap();
        let mark = account.mark();
        account.acquire(Resource::TableElements, 6, 4, None).unwrap();
        account.acquire(Resource::Instances, 1, 0, None).unwrap();
        let error = account.acquire(Resource::TableElements, u64::MAX, 10, None).unwrap_err();
        assert_eq!(error, LimitExceeded { resource: Resource::TableElements, limit: 10, needed: u64::MAX });
        assert_eq!(
            Account::new(Some(Arc::new(limits.clone()))).acquire(Resource::TableElements, 1, 0, None).unwrap_err().to_string(),
            "the limit `table-elements` allows 10 elements of tables, and 11 would be needed"
        );
        account.release_since(&mark);
        assert_eq!((limits.used(Resource::TableElements), limits.used(Resource::Instances)), (4, 0));
        drop(account);
        assert_eq!((limits.used(Resource::TableElements), limits.peak(Resource::TableElements)), (0, 10));
    }
}
