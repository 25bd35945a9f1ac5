//! Taking a sample of a thread that runs wasm code: the profiler's thread (`profile.rs` of the crate) asks for one by a signal, and the
//! handler writes the frames of that moment into the thread's slot. Between them is one atomic word, so that neither waits for the other.
//!
//! A sample can be taken at any instruction, in the middle of whatever the runtime does. So the handler reads only what is whole at any
//! moment: the slot, the store's list of activations, its stack (made before the first entry), frame pointers and the interpreter's
//! frames, each of them checked to lie where frames can lie; and which addresses are code it takes from tables that only grow while samples are
//! taken. It does not look at the store's registries, does not allocate, does not lock. What an address means is found out later.

use super::ActivationKind;
use super::frameless::Place;
use super::signals;
use super::traphandlers::Frames;
use crate::interp::sample as interp;
use crate::module::ModuleInner;
use crate::store::StoreOpaque;
use core::cell::{Cell, UnsafeCell};
use core::mem::zeroed;
use core::ptr::{null, null_mut, with_exposed_provenance};
use libc::{c_int, c_void, siginfo_t};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering, compiler_fence};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// The signal that asks for a sample.
const SIGNAL: c_int = libc::SIGPROF;
/// How many frames a sample has at most, from the innermost.
pub(crate) const MAX_SAMPLE_FRAMES: usize = 256;
/// How many modules can be profiled at a time.
const MAX_MODULES: usize = 4096;
/// How many words of the native stack are looked at for the interpreter's registers.
const STACK_WORDS: usize = 48;

/// Whether threads that enter wasm code have to make themselves known.
static ACTIVE: AtomicBool = AtomicBool::new(false);
/// What was installed before us.
static PREVIOUS: OnceLock<Result<libc::sigaction, i32>> = OnceLock::new();
/// The threads that have run wasm code while a profiler was active. Slots are never freed, and used again after their threads end.
static SLOTS: Mutex<Vec<&'static Slot>> = Mutex::new(Vec::new());
/// Native code of the profiled modules.
static TEXTS: Ranges = Ranges::new();
/// Functions of the profiled modules, as the interpreter knows them.
static FUNCTIONS: Ranges = Ranges::new();

thread_local! {
    /// Without a destructor, so that reading it in the handler is a plain load.
    static SLOT: Cell<*const Slot> = const { Cell::new(null()) };
    static AT_END: Cell<Option<AtEnd>> = const { Cell::new(None) };
}

/// Address ranges that the handler can search at any moment. They are only added to while samples can be taken.
struct Ranges {
    count: AtomicUsize,
    ranges: [[AtomicUsize; 2]; MAX_MODULES],
}

impl Ranges {
    const fn new() -> Self {
        Self { count: AtomicUsize::new(0), ranges: [const { [AtomicUsize::new(0), AtomicUsize::new(0)] }; MAX_MODULES] }
    }

    /// Adds a range; says whether there was room. Only one thread does so at a time.
    fn add(&self, start: usize, end: usize) -> bool {
        let n = self.count.load(Ordering::Relaxed);
        let Some(range) = self.ranges.get(n) else { return false };
        range[0].store(start, Ordering::Relaxed);
        range[1].store(end, Ordering::Relaxed);
        self.count.store(n + 1, Ordering::Release);
        true
    }

    /// Where the range begins that an address lies in.
    fn find(&self, address: usize) -> Option<usize> {
        let ranges = self.ranges.get(..self.count.load(Ordering::Acquire)).unwrap_or_default();
        let ranges = ranges.iter().map(|[start, end]| (start.load(Ordering::Relaxed), end.load(Ordering::Relaxed)));
        ranges.into_iter().find(|(start, end)| (*start..*end).contains(&address)).map(|(start, _)| start)
    }
}

/// What the thread was doing.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Doing {
    /// Nothing of wasm.
    Nothing,
    /// Native code of a module.
    Compiled,
    /// The interpreter, or what it called.
    Interpreter,
    /// What native code called: a host function, or the runtime.
    Host,
}

/// A frame as it was found.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RawFrame {
    /// In native code, at this instruction.
    Pc(usize),
    /// In native code, called from the instruction before this one.
    Return(usize),
    /// Interpreted: the address of the function, and of a word of the instruction.
    Interpreted(usize, usize),
}

/// A sample.
pub(crate) struct RawSample {
    pub(crate) doing: Doing,
    len: usize,
    pub(crate) truncated: bool,
    frames: [RawFrame; MAX_SAMPLE_FRAMES],
}

impl RawSample {
    /// The frames, innermost first.
    pub(crate) fn frames(&self) -> &[RawFrame] {
        &self.frames[..self.len]
    }

    fn push(&mut self, frame: RawFrame) -> bool {
        match self.frames.get_mut(self.len) {
            Some(slot) => {
                *slot = frame;
                self.len += 1;
                true
            }
            None => {
                self.truncated = true;
                false
            }
        }
    }
}

/// The slot belongs to the profiler's thread, except in `WRITING`.
const IDLE: u32 = 0;
/// A sample is asked for.
const REQUESTED: u32 = 1;
/// The handler writes it.
const WRITING: u32 = 2;
/// It is there.
const FILLED: u32 = 3;

/// What the profiler and a thread share.
pub(crate) struct Slot {
    state: AtomicU32,
    /// The innermost store that the thread is in. Only the thread writes it.
    store: AtomicPtr<StoreOpaque>,
    /// The kernel's number of the thread, 0 if it has ended. Locked while a signal is sent, so that the number cannot come to mean
    /// another thread meanwhile.
    thread: Mutex<libc::pid_t>,
    /// Counts the threads that have had this slot.
    pub(crate) generation: AtomicU32,
    sample: UnsafeCell<RawSample>,
}

// SAFETY: the sample is written only in `WRITING`, by the thread that the slot belongs to, and read only in `FILLED`, by the profiler's.
unsafe impl Sync for Slot {}
// SAFETY: as above; the pointer in it is only followed by the thread itself.
unsafe impl Send for Slot {}

/// Gives the thread's slot back.
struct AtEnd(&'static Slot);

impl Drop for AtEnd {
    fn drop(&mut self) {
        SLOT.set(null());
        *lock(&self.0.thread) = 0;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a thread is in a store: until this is dropped.
pub(crate) struct Entered {
    outer: *mut StoreOpaque,
    slot: Option<&'static Slot>,
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            slot.store.store(self.outer, Ordering::Relaxed);
        }
    }
}

/// The thread enters wasm code of a store, or goes on there. Without a profiler this is a load and a branch.
#[inline]
pub(crate) fn enter(store: *mut StoreOpaque) -> Entered {
    if ACTIVE.load(Ordering::Relaxed) { enter_slow(store) } else { Entered { outer: null_mut(), slot: None } }
}

#[cold]
fn enter_slow(store: *mut StoreOpaque) -> Entered {
    // SAFETY: slots are never freed.
    let slot = unsafe { SLOT.get().as_ref() }.or_else(make_slot);
    let outer = slot.map_or(null_mut(), |slot| slot.store.swap(store, Ordering::Relaxed));
    Entered { outer, slot }
}

/// Makes this thread known. A thread that is about to end, or that cannot have an alternate stack, is not sampled.
fn make_slot() -> Option<&'static Slot> {
    signals::prepare_thread().ok()?;
    let mut slots = lock(&SLOTS);
    let free = slots.iter().copied().find(|s| *lock(&s.thread) == 0 && s.state.load(Ordering::Acquire) == IDLE);
    let slot = free.unwrap_or_else(|| {
        let sample = RawSample { doing: Doing::Nothing, len: 0, truncated: false, frames: [RawFrame::Pc(0); MAX_SAMPLE_FRAMES] };
        let slot: &'static Slot = Box::leak(Box::new(Slot {
            state: AtomicU32::new(IDLE),
            store: AtomicPtr::new(null_mut()),
            thread: Mutex::new(0),
            generation: AtomicU32::new(0),
            sample: UnsafeCell::new(sample),
        }));
        slots.push(slot);
        slot
    });
    AT_END.try_with(|end| end.set(Some(AtEnd(slot)))).ok()?;
    slot.store.store(null_mut(), Ordering::Relaxed);
    slot.generation.fetch_add(1, Ordering::Relaxed);
    // SAFETY: asks for a number.
    *lock(&slot.thread) = unsafe { libc::gettid() };
    SLOT.set(slot);
    compiler_fence(Ordering::SeqCst);
    Some(slot)
}

/// Lets threads make themselves known, and handles the signal from now on: it stays handled, since one that is late would end the process.
///
/// # Errors
/// If the handler cannot be installed.
pub(crate) fn activate() -> Result<(), std::io::Error> {
    let installed = PREVIOUS.get_or_init(|| {
        // SAFETY: both structures are live, and the handler is async-signal-safe. It runs on the alternate stack: wasm code may have used
        // up its own.
        unsafe {
            let (mut new, mut previous): (libc::sigaction, libc::sigaction) = (zeroed(), zeroed());
            new.sa_sigaction = handler as *const () as usize;
            new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
            libc::sigfillset(&raw mut new.sa_mask);
            // A fault in the handler would be a fault of ours, and shall not wait.
            for fault in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE] {
                libc::sigdelset(&raw mut new.sa_mask, fault);
            }
            match libc::sigaction(SIGNAL, &raw const new, &raw mut previous) {
                0 => Ok(previous),
                _ => Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)),
            }
        }
    });
    match installed {
        Ok(_) => {
            ACTIVE.store(true, Ordering::SeqCst);
            Ok(())
        }
        Err(errno) => Err(std::io::Error::from_raw_os_error(*errno)),
    }
}

/// Ends what `activate` began. Afterwards no handler looks at the modules any more.
pub(crate) fn deactivate() {
    ACTIVE.store(false, Ordering::SeqCst);
    for slot in slots() {
        slot.withdraw();
    }
    TEXTS.count.store(0, Ordering::SeqCst);
    FUNCTIONS.count.store(0, Ordering::SeqCst);
}

/// Whether a profiler is active.
#[inline]
pub(crate) fn is_active() -> bool {
    ACTIVE.load(Ordering::Relaxed)
}

/// Makes the addresses of a module known; says whether there was room. The caller keeps the module alive, and calls this for one module at a
/// time.
pub(crate) fn add_module(module: &ModuleInner) -> bool {
    let functions = interp::functions(module);
    let text = match &module.code {
        crate::code::Code::Loaded(code) => code.text(),
        crate::code::Code::None => 0..0,
    };
    FUNCTIONS.add(functions.start, functions.end) && (text.is_empty() || TEXTS.add(text.start, text.end))
}

/// The threads that are known.
pub(crate) fn slots() -> Vec<&'static Slot> {
    lock(&SLOTS).clone()
}

impl Slot {
    /// The kernel's number of the thread; `None` if it has ended.
    pub(crate) fn thread(&self) -> Option<libc::pid_t> {
        Some(*lock(&self.thread)).filter(|t| *t != 0)
    }

    /// Asks for a sample; says whether that was possible: it is not while one that was asked for has not been taken away.
    pub(crate) fn request(&self) -> bool {
        let thread = lock(&self.thread);
        if *thread == 0 || self.state.compare_exchange(IDLE, REQUESTED, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return false;
        }
        // SAFETY: sends a signal to a thread of this process, which has not ended as long as its number is locked.
        let sent = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), *thread, SIGNAL) };
        if sent != 0 {
            self.state.store(IDLE, Ordering::Release);
        }
        sent == 0
    }

    /// Takes the sample away, if it is there.
    pub(crate) fn take<R>(&self, read: impl FnOnce(&RawSample) -> R) -> Option<R> {
        if self.state.load(Ordering::Acquire) != FILLED {
            return None;
        }
        // SAFETY: the handler has written it and does not touch it before the next request, which this thread makes.
        let result = read(unsafe { &*self.sample.get() });
        self.state.store(IDLE, Ordering::Release);
        Some(result)
    }

    /// Gives up a request. A handler that has begun is waited for: it takes microseconds.
    pub(crate) fn withdraw(&self) {
        let _ = self.state.compare_exchange(REQUESTED, IDLE, Ordering::AcqRel, Ordering::Relaxed);
        while self.state.load(Ordering::Acquire) == WRITING {
            std::thread::yield_now();
        }
    }
}

unsafe extern "C" fn handler(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: slots are never freed.
    let slot = unsafe { SLOT.get().as_ref() };
    if let Some(slot) = slot
        && slot.state.compare_exchange(REQUESTED, WRITING, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    {
        // SAFETY: the state says that the sample is this handler's. The kernel passes a valid context.
        unsafe { capture(&mut *slot.sample.get(), slot.store.load(Ordering::Relaxed), &*context.cast()) };
        slot.state.store(FILLED, Ordering::Release);
        return;
    }
    // SAFETY: the structure is the kernel's.
    let ours = unsafe { (*info).si_code == libc::SI_TKILL && (*info).si_pid() == libc::getpid() };
    if let (false, Some(Ok(previous))) = (ours, PREVIOUS.get())
        && previous.sa_sigaction != libc::SIG_DFL
        && previous.sa_sigaction != libc::SIG_IGN
    {
        // SAFETY: it was installed with this type of function.
        unsafe {
            if previous.sa_flags & libc::SA_SIGINFO != 0 {
                let f: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = core::mem::transmute(previous.sa_sigaction);
                f(signal, info, context);
            } else {
                let f: extern "C" fn(c_int) = core::mem::transmute(previous.sa_sigaction);
                f(signal);
            }
        }
    }
}

/// The CPU time that a thread of this process has used.
pub(crate) fn cpu_time(thread: libc::pid_t) -> Option<Duration> {
    // The kernel's encoding of "CPU clock of this thread" (`clock_getcpuclockid` has it for processes).
    let clock = (!thread << 3) | 6;
    // SAFETY: writes to the structure.
    let time = unsafe {
        let mut time: libc::timespec = zeroed();
        (libc::clock_gettime(clock, &raw mut time) == 0).then_some(time)
    }?;
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

/// The registers of the interrupted code.
struct Registers {
    pc: usize,
    fp: usize,
    sp: usize,
    /// The arguments that handlers of the interpreter have their frame and instruction in.
    interp: (usize, usize),
    all: [usize; 31],
}

impl Registers {
    #[cfg(target_arch = "x86_64")]
    fn of(context: &libc::ucontext_t) -> Self {
        let g = |r: c_int| context.uc_mcontext.gregs[r as usize] as usize;
        let mut all = [0; 31];
        for (to, from) in all.iter_mut().zip(&context.uc_mcontext.gregs[..16]) {
            *to = *from as usize;
        }
        let (pc, fp, sp) = (g(libc::REG_RIP), g(libc::REG_RBP), g(libc::REG_RSP));
        Self { pc, fp, sp, interp: (g(libc::REG_RSI), g(libc::REG_RDI)), all }
    }

    #[cfg(target_arch = "aarch64")]
    fn of(context: &libc::ucontext_t) -> Self {
        let all = context.uc_mcontext.regs.map(|r| r as usize);
        Self { pc: context.uc_mcontext.pc as usize, fp: all[29], sp: context.uc_mcontext.sp as usize, interp: (all[1], all[0]), all }
    }

    fn place(&self) -> Place {
        #[cfg(target_arch = "x86_64")]
        return Place { pc: self.pc, sp: self.sp };
        #[cfg(target_arch = "aarch64")]
        return Place { pc: self.pc, link: self.all[30] };
    }
}

/// Whether an address is that of a function as the interpreter knows it.
fn is_function(address: usize) -> bool {
    FUNCTIONS.find(address).is_some_and(|start| interp::is_aligned(address - start))
}

/// Writes the frames of this moment.
///
/// # Safety
/// On the interrupted thread; `store` is null or the store that it is in.
unsafe fn capture(sample: &mut RawSample, store: *mut StoreOpaque, context: &libc::ucontext_t) {
    (sample.doing, sample.len, sample.truncated) = (Doing::Nothing, 0, false);
    if store.is_null() {
        return;
    }
    let registers = Registers::of(context);
    // SAFETY: the store is alive while the thread is in it. What is read of it is whole at any moment: single words, and the stack, which was
    // made before anything ran. Activations are linked when they are complete and unlinked before they end.
    unsafe {
        let vm = &raw const (*store).vm;
        let mut at = (&raw const (*vm).activations).read_volatile();
        let mut exit_fp = (*vm).context.last_exit_fp as usize;
        let Some(stack) = &(*vm).stack else { return };
        match at.as_ref().map(|a| a.kind) {
            None => return,
            Some(ActivationKind::Interp(_)) => sample.doing = Doing::Interpreter,
            Some(ActivationKind::Native) if TEXTS.find(registers.pc).is_some() => {
                sample.doing = Doing::Compiled;
                exit_fp = registers.fp;
                sample.push(RawFrame::Pc(registers.pc));
                if let Some(caller) = registers.place().return_address(stack) {
                    sample.push(RawFrame::Return(caller));
                }
            }
            Some(ActivationKind::Native) => sample.doing = Doing::Host,
        }
        let mut innermost = true;
        while let Some(activation) = at.as_ref() {
            match activation.kind {
                ActivationKind::Native => {
                    let mut frames = Frames::of_exit(activation, exit_fp);
                    while stack.holds_frame(frames.fp) {
                        let Some((return_address, _)) = frames.next() else { break };
                        if !sample.push(RawFrame::Return(return_address)) {
                            return;
                        }
                    }
                    exit_fp = activation.outer_exit_fp;
                }
                ActivationKind::Interp(run) => {
                    let mut words = [0; STACK_WORDS];
                    let registers = if innermost { Some(&registers) } else { None };
                    if let Some(r) = registers
                        && r.sp.is_multiple_of(8)
                        && stack.usable().contains(&r.sp)
                    {
                        let readable = (stack.top() - r.sp) / 8;
                        for (i, word) in words.iter_mut().take(readable).enumerate() {
                            *word = *with_exposed_provenance::<usize>(r.sp + i * 8);
                        }
                    }
                    let first = registers.map_or((0, 0), |r| r.interp);
                    let all = registers.map_or(&[][..], |r| &r.all);
                    let words = if registers.is_some() { &words[..] } else { &[] };
                    interp::frames(run, first, all, words, &is_function, &mut |func, ip| sample.push(RawFrame::Interpreted(func, ip)));
                    if sample.truncated {
                        return;
                    }
                }
            }
            innermost = false;
            at = activation.prev;
        }
    }
}
