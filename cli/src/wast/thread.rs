//! Threads in scripts: `(thread $T (shared (module $M))? directive*)` runs its directives on a new thread, with a store of its own, in
//! which the shared memories that $M exports can be registered; `(wait $T)` waits for it to end. A thread that nobody waits for
//! is waited for at the end of whoever started it.

use super::{Counts, Report, Runner};
use anyhow::{Context, Result, bail};
use std::collections::HashMap;
use std::thread::{Scope, ScopedJoinHandle};
use wasmc_runtime::{Extern, SharedMemory};
use wast::WastThread;

/// The thread of the operating system that runs the directives: compiling needs more stack than the default.
const STACK: usize = 16 << 20;

/// The shared memories that an instance exports, by name.
pub type SharedExports = Vec<(String, SharedMemory)>;

/// The threads that a thread has started and not yet waited for.
pub struct Threads<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    running: HashMap<String, ScopedJoinHandle<'scope, Report>>,
    /// What a thread may use of its starter's instances.
    pub shared: HashMap<String, SharedExports>,
}

impl<'scope, 'env> Threads<'scope, 'env> {
    pub fn new(scope: &'scope Scope<'scope, 'env>) -> Self {
        Self { scope, running: HashMap::new(), shared: HashMap::new() }
    }
}

impl<'env> Runner<'_, 'env> {
    /// Starts a thread.
    pub(super) fn thread(&mut self, thread: WastThread<'env>) -> Result<()> {
        let name = thread.name.name().to_owned();
        if self.threads.running.contains_key(&name) {
            bail!("there is a thread ${name} already");
        }
        let mut shared = HashMap::new();
        if let Some(module) = thread.shared_module {
            let module = module.name();
            let exports = match self.threads.shared.get(module) {
                Some(exports) => exports.clone(),
                None => self.shared_exports(module)?,
            };
            shared.insert(module.to_owned(), exports);
        }
        let (tier, features, engine, text, scope) = (self.tier, self.features.clone(), self.engine.clone(), self.text, self.threads.scope);
        let directives = thread.directives;
        let run = move || {
            let mut report = Report::default();
            match Runner::new(tier, features, engine, text, Threads { shared, ..Threads::new(scope) }) {
                Ok(mut runner) => runner.run(directives, &mut report),
                Err(e) => report.fail(1, format!("{e:#}")),
            }
            report
        };
        let handle = std::thread::Builder::new().name(name.clone()).stack_size(STACK).spawn_scoped(scope, run)?;
        self.threads.running.insert(name, handle);
        Ok(())
    }

    /// The shared memories that one of this thread's instances exports.
    fn shared_exports(&mut self, name: &str) -> Result<SharedExports> {
        let instance = self.instance(Some(name))?;
        let exports = instance.exports(&mut self.store).filter_map(|e| {
            let name = e.name().to_owned();
            match e.into_extern() {
                Extern::SharedMemory(memory) => Some((name, memory)),
                _ => None,
            }
        });
        Ok(exports.collect())
    }

    /// Waits for a thread, whose directives then count as this one's.
    pub(super) fn wait(&mut self, name: &str, report: &mut Report) -> Result<()> {
        let thread = self.threads.running.remove(name).with_context(|| format!("no thread ${name}"))?;
        join(thread, report)
    }

    /// Waits for all threads.
    pub(super) fn wait_for_all(&mut self, report: &mut Report) {
        for (name, thread) in self.threads.running.drain() {
            if let Err(e) = join(thread, report) {
                report.fail(1, format!("thread ${name}: {e:#}"));
            }
        }
    }
}

fn join(thread: ScopedJoinHandle<'_, Report>, report: &mut Report) -> Result<()> {
    let Ok(of_thread) = thread.join() else { bail!("the thread panicked") };
    report.counts.add(of_thread.counts);
    report.failures.extend(of_thread.failures);
    Ok(())
}

impl Report {
    /// A directive failed.
    pub(super) fn fail(&mut self, line: usize, message: String) {
        self.failures.push((line, message));
        self.counts.add(Counts { passed: 0, failed: 1 });
    }
}
