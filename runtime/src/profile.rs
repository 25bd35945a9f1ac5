//! The profiler: a thread that asks every thread running WebAssembly for samples and counts them by stack, on all tiers.
//!
//! Why a thread that signals, and not a timer of CPU time a thread (`timer_create` with `SIGEV_THREAD_ID`): such timers fire at the
//! scheduler's tick, every 4 ms on most servers, whatever was asked for. This thread sleeps for an interval, looks at the CPU clocks of the
//! others, and sends the signal only to those that have used processor time since their last sample. So a thread that waits in a system call is
//! left alone, and each sample has the CPU time since the one before as its weight: where samples are taken late, or not at all on a
//! loaded machine, the times are right within bounds, and the report says how many there should have been.

use crate::Result;
use crate::code::Code;
use crate::interp::sample as interp;
use crate::module::{Module, ModuleInner};
use crate::trap::{FrameInfo, Names};
use crate::vm::fork::Gated;
use crate::vm::profile::{self as vm, Doing, RawFrame, RawSample, Slot};
use anyhow::{Context as _, bail, ensure};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use wasmc_environ::FuncIndex;
use wasmc_environ::types::EntityType;

/// Samples a second if nothing is said.
pub const DEFAULT_FREQUENCY: u32 = 1000;
/// Most samples a second: beyond that the profiler would mostly measure itself.
pub const MAX_FREQUENCY: u32 = 10_000;
/// Samples that are kept; later ones count as lost. Each takes about 24 bytes.
const MAX_SAMPLES: usize = 32 << 20;

/// For how many intervals a sample speaks at most. Where this thread does not get a processor for long, the next sample comes when the other has to
/// wait for something, and says little about what it did before.
const MAX_WEIGHT: u32 = 8;

/// The active profiler's modules.
static MODULES: Mutex<Vec<Arc<ModuleInner>>> = Mutex::new(Vec::new());
fn modules() -> Gated<MutexGuard<'static, Vec<Arc<ModuleInner>>>> {
    Gated::new(|| MODULES.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Whether there is a profiler: there can be one at a time, since samples are taken of the whole process.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Samples what the process does in WebAssembly, from `start` to `stop`.
///
/// ```
/// use wasmc_runtime::Profiler;
///
/// # fn main() -> wasmc_runtime::Result<()> {
/// let profiler = Profiler::start(wasmc_runtime::DEFAULT_FREQUENCY)?;
/// // Instances made from here on are known to it; `add_module` is for modules of earlier ones.
/// let profile = profiler.stop();
/// print!("{}", profile.folded());
/// # Ok(())
/// # }
/// ```
pub struct Profiler {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Collected>>,
    frequency: u32,
    start: SystemTime,
    began: Instant,
}

/// Makes a module known that an instance is made of, if there is a profiler.
#[inline]
pub(crate) fn module_used(module: &Arc<ModuleInner>) {
    if vm::is_active() {
        add(module);
    }
}

#[cold]
fn add(module: &Arc<ModuleInner>) {
    let mut known = modules();
    if known.iter().all(|m| !Arc::ptr_eq(m, module)) && vm::is_active() && vm::add_module(module) {
        known.push(module.clone());
    }
}

impl Profiler {
    /// Starts sampling, so many times a second. Threads are known from their next entry into WebAssembly on.
    ///
    /// # Errors
    /// If the process has a profiler already, or the frequency is not between 1 and [`MAX_FREQUENCY`], or the signal's handler or the
    /// profiler's thread cannot be made.
    pub fn start(frequency: u32) -> Result<Self> {
        ensure!(
            (1..=MAX_FREQUENCY).contains(&frequency),
            "{frequency} samples a second cannot be taken: the frequency is between 1 and {MAX_FREQUENCY}"
        );
        if TAKEN.swap(true, Ordering::SeqCst) {
            bail!("this process is being profiled already: there can be one profiler at a time");
        }
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let interval = Duration::from_secs(1) / frequency;
        let start = SystemTime::now();
        let began = Instant::now();
        let made = vm::activate().context("cannot handle SIGPROF").and_then(|()| {
            let thread = std::thread::Builder::new().name("wasmc-profiler".into());
            thread.spawn(move || Collector::new(interval, began).run(&stopped)).context("cannot start the profiler's thread")
        });
        match made {
            Ok(thread) => Ok(Self { stop, thread: Some(thread), frequency, start, began }),
            Err(e) => {
                release();
                Err(e)
            }
        }
    }

    /// Makes a module known of which there were instances before.
    pub fn add_module(&self, module: &Module) {
        add(&module.inner);
    }

    /// Ends sampling.
    pub fn stop(mut self) -> Profile {
        let collected = self.join();
        let modules = std::mem::take(&mut *modules());
        let duration = self.began.elapsed();
        let mut resolver = Resolver { modules, known: HashMap::new(), functions: HashMap::new(), names: Names::default() };
        let stacks = collected.stacks.iter().map(|s| resolver.stack(s)).collect();
        Profile { start: self.start, duration, frequency: self.frequency, threads: collected.threads, stacks, late: collected.late }
    }

    /// Ends the thread. No handler looks at a module afterwards.
    fn join(&mut self) -> Collected {
        self.stop.store(true, Ordering::SeqCst);
        match self.thread.take() {
            Some(thread) => {
                thread.thread().unpark();
                // It does not panic; if it did, there would be nothing to show.
                thread.join().unwrap_or_default()
            }
            None => Collected::default(),
        }
    }
}

fn release() {
    vm::deactivate();
    TAKEN.store(false, Ordering::SeqCst);
}

impl Drop for Profiler {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.join();
            modules().clear();
        }
        release();
    }
}

/// A stack as it was found.
#[derive(Clone, PartialEq, Eq, Hash)]
struct RawStack {
    doing: Doing,
    truncated: bool,
    frames: Box<[RawFrame]>,
}

#[derive(Default)]
struct Collected {
    threads: Vec<ThreadProfile>,
    stacks: Vec<RawStack>,
    /// Samples for which there was no room.
    late: u64,
}

/// What the profiler's thread knows.
struct Collector {
    interval: Duration,
    began: Instant,
    collected: Collected,
    known: HashMap<RawStack, usize>,
    /// By slot and its generation.
    threads: HashMap<(usize, u32), Watched>,
    samples: usize,
}

struct Watched {
    /// Its place among the threads.
    index: usize,
    thread: libc::pid_t,
    /// CPU time at the last request.
    cpu: Duration,
    /// A request that was not answered yet: when it was made, and the CPU time since the one before.
    asked: Option<(Duration, Duration)>,
}

impl Collector {
    fn new(interval: Duration, began: Instant) -> Self {
        Self { interval, began, collected: Collected::default(), known: HashMap::new(), threads: HashMap::new(), samples: 0 }
    }

    fn run(mut self, stop: &AtomicBool) -> Collected {
        let mut next = Instant::now();
        while !stop.load(Ordering::SeqCst) {
            next += self.interval;
            let now = Instant::now();
            match next.checked_duration_since(now) {
                Some(wait) => std::thread::park_timeout(wait),
                // What was missed is not made up for.
                None => next = now,
            }
            for slot in vm::slots() {
                self.look_at(slot);
            }
        }
        // What was asked for last may still come.
        std::thread::sleep(Duration::from_millis(2).min(self.interval));
        for slot in vm::slots() {
            slot.withdraw();
            if let Some(watched) = self.threads.get_mut(&key(slot)) {
                Self::take(slot, watched, &mut self.collected, &mut self.known, &mut self.samples);
                self.collected.threads[watched.index].end = self.began.elapsed();
            }
        }
        self.collected
    }

    fn look_at(&mut self, slot: &'static Slot) {
        let Some(thread) = slot.thread() else {
            // It has ended; if it has not answered, it never will.
            slot.withdraw();
            if let Some(watched) = self.threads.get_mut(&key(slot)) {
                Self::take(slot, watched, &mut self.collected, &mut self.known, &mut self.samples);
            }
            slot.take(|_| ());
            return;
        };
        let now = self.began.elapsed();
        let cpu = vm::cpu_time(thread);
        let (collected, threads) = (&mut self.collected, &mut self.threads);
        let watched = threads.entry(key(slot)).or_insert_with(|| {
            let name =
                std::fs::read_to_string(format!("/proc/self/task/{thread}/comm")).map_or_else(|_| String::new(), |n| n.trim().to_owned());
            collected.threads.push(ThreadProfile {
                id: thread as u32,
                name,
                start: now,
                end: now,
                cpu: Duration::ZERO,
                samples: Vec::new(),
            });
            // What it has done before is not asked about.
            Watched { index: collected.threads.len() - 1, thread, cpu: cpu.unwrap_or_default(), asked: None }
        });
        debug_assert_eq!(watched.thread, thread);
        Self::take(slot, watched, collected, &mut self.known, &mut self.samples);
        let Some(cpu) = cpu else { return };
        let used = cpu.saturating_sub(watched.cpu);
        let profile = &mut collected.threads[watched.index];
        profile.end = now;
        // Less than a part of an interval is not worth the signal: the thread may be about to wait for something.
        if watched.asked.is_none() && used >= self.interval / 4 && slot.request() {
            watched.asked = Some((now, used.min(self.interval * MAX_WEIGHT)));
            watched.cpu = cpu;
            profile.cpu += used;
        }
    }

    /// Takes an answer, if there is one.
    fn take(slot: &Slot, watched: &mut Watched, collected: &mut Collected, known: &mut HashMap<RawStack, usize>, samples: &mut usize) {
        let Some(stack) = slot.take(RawStack::of) else { return };
        let Some((time, cpu)) = watched.asked.take() else { return };
        if *samples == MAX_SAMPLES {
            collected.late += 1;
            return;
        }
        *samples += 1;
        let stack = *known.entry(stack).or_insert_with_key(|stack| {
            collected.stacks.push(stack.clone());
            collected.stacks.len() - 1
        });
        collected.threads[watched.index].samples.push(ProfileSample { time, cpu, stack: stack as u32 });
    }
}

fn key(slot: &Slot) -> (usize, u32) {
    (std::ptr::from_ref(slot).addr(), slot.generation.load(Ordering::Relaxed))
}

impl RawStack {
    fn of(sample: &RawSample) -> Self {
        Self { doing: sample.doing, truncated: sample.truncated, frames: sample.frames().into() }
    }
}

/// Finds out what addresses mean. Stacks share most of their frames, so what was found is kept.
struct Resolver {
    modules: Vec<Arc<ModuleInner>>,
    known: HashMap<RawFrame, Arc<[ProfileFrame]>>,
    functions: HashMap<(usize, u32), Arc<str>>,
    names: Names,
}

impl Resolver {
    fn stack(&mut self, raw: &RawStack) -> ProfileStack {
        let frames: Vec<_> = raw.frames.iter().flat_map(|f| self.cached(*f).to_vec()).collect();
        let called = || frames.first().and_then(|f: &ProfileFrame| f.info.called_import());
        let leaf = match raw.doing {
            Doing::Nothing => Leaf::Outside,
            Doing::Host => Leaf::Host(called()),
            Doing::Interpreter if self.is_import_call(raw.frames.first()) => Leaf::Host(called()),
            Doing::Interpreter | Doing::Compiled => Leaf::Wasm,
        };
        ProfileStack { frames, leaf, truncated: raw.truncated }
    }

    fn is_import_call(&self, frame: Option<&RawFrame>) -> bool {
        let Some(RawFrame::Interpreted(func, ip)) = frame else { return false };
        self.modules.iter().any(|m| interp::is_import_call(m, *func, *ip))
    }

    fn cached(&mut self, raw: RawFrame) -> Arc<[ProfileFrame]> {
        if let Some(known) = self.known.get(&raw) {
            return known.clone();
        }
        let interpreted = matches!(raw, RawFrame::Interpreted(..));
        let frames = self.frames(raw);
        let frames: Arc<[ProfileFrame]> = frames
            .into_iter()
            .map(|info| {
                let (names, key) = (&mut self.names, (info.module_key(), info.func_index()));
                let name = self.functions.entry(key).or_insert_with(|| match info.look_up_name(names) {
                    Some(name) => name.into(),
                    None => format!("wasm function {}", info.func_index()).into(),
                });
                ProfileFrame { name: name.clone(), info, interpreted }
            })
            .collect();
        self.known.insert(raw, frames.clone());
        frames
    }

    /// The frames that an address stands for, innermost first; none for stubs.
    fn frames(&self, raw: RawFrame) -> SmallVec<[FrameInfo; 4]> {
        let pc = match raw {
            RawFrame::Pc(pc) => pc,
            // The call may be the last instruction of its function.
            RawFrame::Return(pc) => pc.wrapping_sub(1),
            RawFrame::Interpreted(func, ip) => {
                let found = self.modules.iter().find_map(|m| Some((m, interp::resolve(m, func, ip)?)));
                return found.map(|(module, (func, offset))| FrameInfo::new(module.clone(), func, Some(offset))).into_iter().collect();
            }
        };
        let mut with_code = self.modules.iter().filter_map(|m| match &m.code {
            Code::Loaded(code) => Some((m, code)),
            Code::None => None,
        });
        let Some((module, code)) = with_code.find(|(_, code)| code.text().contains(&pc)) else { return SmallVec::new() };
        let offset = (pc - code.text().start) as u32;
        match code.function_at(offset).filter(|f| code.is_compiled(*f)) {
            Some(func) => crate::vm::frames_at(module, code, func, offset),
            None => SmallVec::new(),
        }
    }
}

impl FrameInfo {
    /// The imported function that the instruction of this frame calls, as `module.name`.
    fn called_import(&self) -> Option<String> {
        let wasm = self.module_wasm()?.get(self.module_offset()? as usize..)?;
        // call and return_call: the index follows.
        let (0x10 | 0x12, rest) = (*wasm.first()?, wasm.get(1..)?) else { return None };
        let mut index = 0u32;
        for (i, byte) in rest.iter().take(5).enumerate() {
            index |= u32::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                break;
            }
        }
        let imports = self.env().imports.iter().filter(|i| matches!(i.ty, EntityType::Func(_)));
        let import = imports.into_iter().nth(FuncIndex::from_u32(index).index())?;
        Some(format!("{}.{}", import.module, import.name))
    }
}

/// What a profiler saw.
pub struct Profile {
    start: SystemTime,
    duration: Duration,
    frequency: u32,
    threads: Vec<ThreadProfile>,
    stacks: Vec<ProfileStack>,
    late: u64,
}

/// A thread that ran WebAssembly.
pub struct ThreadProfile {
    id: u32,
    name: String,
    start: Duration,
    end: Duration,
    cpu: Duration,
    samples: Vec<ProfileSample>,
}

/// A sample.
#[derive(Copy, Clone, Debug)]
pub struct ProfileSample {
    time: Duration,
    cpu: Duration,
    stack: u32,
}

/// A stack that samples have.
#[derive(Debug)]
pub struct ProfileStack {
    frames: Vec<ProfileFrame>,
    leaf: Leaf,
    truncated: bool,
}

/// A frame of a stack.
#[derive(Clone, Debug)]
pub struct ProfileFrame {
    info: FrameInfo,
    name: Arc<str>,
    interpreted: bool,
}

/// What was at the end of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// The innermost frame's own code.
    Wasm,
    /// What it called outside of WebAssembly: a host function (`module.name`, where that can be told from the instruction), or a
    /// routine of the runtime.
    Host(Option<String>),
    /// The thread was not in WebAssembly.
    Outside,
}

impl Profile {
    /// When sampling began.
    pub fn start(&self) -> SystemTime {
        self.start
    }

    /// How long it took.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// Samples a second that were to be taken of a running thread.
    pub fn frequency(&self) -> u32 {
        self.frequency
    }

    /// The threads that have run WebAssembly meanwhile.
    pub fn threads(&self) -> &[ThreadProfile] {
        &self.threads
    }

    /// The stacks that samples refer to.
    pub fn stacks(&self) -> &[ProfileStack] {
        &self.stacks
    }

    /// How many samples there are.
    pub fn samples(&self) -> u64 {
        self.threads.iter().map(|t| t.samples.len() as u64).sum()
    }

    /// How many samples were lost, in percent: there are fewer than the CPU time and the frequency say. Most of their time is in the weights
    /// of the others, each of which speaks for a few intervals at most.
    pub fn lost_percent(&self) -> f64 {
        let cpu: Duration = self.threads.iter().map(|t| t.cpu).sum();
        let expected = cpu.as_secs_f64() * f64::from(self.frequency);
        let taken = self.samples() as f64;
        if expected < 1.0 || taken + self.late as f64 >= expected && self.late == 0 {
            0.0
        } else {
            (100.0 * (1.0 - taken / expected)).max(0.0)
        }
    }

    /// The profile as folded stacks, which flame graph tools read: a line a stack, from the thread outwards to the innermost frame, and its
    /// CPU time in microseconds.
    pub fn folded(&self) -> String {
        let names: Vec<Vec<String>> = self.stacks.iter().map(ProfileStack::names).collect();
        let mut lines: HashMap<String, u128> = HashMap::new();
        for thread in &self.threads {
            for sample in &thread.samples {
                let mut line = clean(if thread.name.is_empty() { "thread" } else { &thread.name });
                for name in names.get(sample.stack as usize).into_iter().flatten() {
                    line.push(';');
                    line.push_str(name);
                }
                *lines.entry(line).or_default() += sample.cpu.as_micros();
            }
        }
        let mut lines: Vec<_> = lines.into_iter().collect();
        lines.sort();
        lines.into_iter().fold(String::new(), |mut text, (line, time)| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{line} {time}");
            text
        })
    }
}

/// A name without what separates names and lines.
fn clean(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c == ';' {
                ':'
            } else if c.is_control() {
                '?'
            } else {
                c
            }
        })
        .collect()
}

impl ThreadProfile {
    /// The kernel's number of the thread.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Its name; empty if it has none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When it was seen first, from the start of the profile on.
    pub fn start(&self) -> Duration {
        self.start
    }

    /// When it was seen last.
    pub fn end(&self) -> Duration {
        self.end
    }

    /// The CPU time that it used meanwhile.
    pub fn cpu(&self) -> Duration {
        self.cpu
    }

    /// Its samples in order.
    pub fn samples(&self) -> &[ProfileSample] {
        &self.samples
    }
}

impl ProfileSample {
    /// When it was asked for, from the start of the profile on.
    pub fn time(&self) -> Duration {
        self.time
    }

    /// The CPU time since the sample before: its weight.
    pub fn cpu(&self) -> Duration {
        self.cpu
    }

    /// Its stack: a place in [`Profile::stacks`].
    pub fn stack(&self) -> usize {
        self.stack as usize
    }
}

impl ProfileStack {
    /// The frames, innermost first.
    pub fn frames(&self) -> &[ProfileFrame] {
        &self.frames
    }

    /// What the innermost frame was doing.
    pub fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// Whether there were more frames than a sample holds; the outermost ones are missing.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// The names, outermost first.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::with_capacity(self.frames.len() + 2);
        if self.truncated {
            names.push("[outer frames left out]".into());
        }
        names.extend(self.frames.iter().rev().map(|f| clean(f.name())));
        match &self.leaf {
            Leaf::Wasm => {}
            Leaf::Host(Some(name)) => names.push(format!("[host] {}", clean(name))),
            Leaf::Host(None) => names.push("[runtime]".into()),
            Leaf::Outside => names.push("[outside of WebAssembly]".into()),
        }
        names
    }
}

impl ProfileFrame {
    /// The function, and where in it.
    pub fn info(&self) -> &FrameInfo {
        &self.info
    }

    /// Whether the interpreter ran it.
    pub fn is_interpreted(&self) -> bool {
        self.interpreted
    }

    /// The function's name, or its number.
    pub fn name(&self) -> &str {
        &self.name
    }
}
