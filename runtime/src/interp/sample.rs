//! Frames of a run at any moment, for the profiler: while handlers run, `ip` and `sp` are in machine registers, and what `Cx` says
//! is of the last time that the interpreter was left. So candidates are tried: a pair is taken if the frame's header names a function of a
//! profiled module and the instruction lies in its body. Everything on the way outwards is checked like that, since the value stack also
//! holds what the program computes. Nothing here allocates, locks, or follows a pointer that was not checked.

use super::code::{Func, HEADER};
use super::control;
use super::dispatch::{Ip, Sp};
use super::frame::{Cx, caller_sp, frame_func, return_ip};
use crate::module::ModuleInner;
use core::ops::Range;
use core::ptr::with_exposed_provenance;
use wasmc_environ::FuncIndex;

/// The addresses of a module's functions.
pub(crate) fn functions(module: &ModuleInner) -> Range<usize> {
    let funcs = &module.interp.funcs;
    // Frames hold them as numbers.
    let start = funcs.as_ptr().expose_provenance();
    start..start + size_of_val(&**funcs)
}

/// Whether a distance from the first of a module's functions is that of a function.
pub(crate) fn is_aligned(distance: usize) -> bool {
    distance.is_multiple_of(size_of::<Func>())
}

/// The function and the offset in the wasm binary that a frame of `frames` means, if it is one of this module.
pub(crate) fn resolve(module: &ModuleInner, func: usize, ip: usize) -> Option<(FuncIndex, u32)> {
    let distance = func.checked_sub(functions(module).start)?;
    let func = module.interp.funcs.get(distance / size_of::<Func>()).filter(|_| is_aligned(distance))?;
    let offset = match func.body() {
        Some(body) => body.position(with_exposed_provenance(ip)).map_or(body.wasm_start, |p| body.wasm_offset(p)),
        None => module.env.bodies.get(func.index.index())?.start as u32,
    };
    Some((module.env.func_index(func.index), offset))
}

/// What has to be known to check frames.
struct Checks<'a> {
    stack: Range<usize>,
    is_func: &'a dyn Fn(usize) -> bool,
}

impl Checks<'_> {
    /// The function of the frame at `sp`, if there can be one.
    fn func(&self, sp: usize) -> Option<*const Func> {
        if !sp.is_multiple_of(8) || !self.stack.contains(&sp) {
            return None;
        }
        // SAFETY: the header lies in the value stack, since the range leaves out its first words.
        let func = unsafe { frame_func(sp as Sp) };
        (self.is_func)(func.addr()).then_some(func)
    }

    /// Whether an instruction of the frame at `sp` can be at `ip`.
    fn fits(&self, sp: usize, ip: usize) -> bool {
        let Some(func) = self.func(sp) else { return false };
        // SAFETY: `is_func` knows the functions of modules that the profiler keeps alive.
        let body = unsafe { (*func).body() };
        ip.is_multiple_of(8) && body.is_some_and(|b| b.position(with_exposed_provenance(ip)).is_some())
    }

    /// The first pair of these words that fits.
    fn pair(&self, words: &[usize]) -> Option<(usize, usize)> {
        let frames = words.iter().copied().filter(|sp| self.func(*sp).is_some());
        frames.into_iter().find_map(|sp| words.iter().find(|ip| self.fits(sp, **ip)).map(|ip| (sp, *ip)))
    }
}

/// Calls `push` with function and instruction of each frame, innermost first, until it returns false. `registers` may hold the current
/// instruction and frame, `first` most likely; `words` are the top of the native stack. `is_func` says whether an address is that of a `Func` of a
/// module that stays alive. Async-signal-safe.
///
/// # Safety
/// The run is active on this thread.
pub(crate) unsafe fn frames(
    cx: *const Cx,
    first: (usize, usize),
    registers: &[usize],
    words: &[usize],
    is_func: &dyn Fn(usize) -> bool,
    push: &mut dyn FnMut(usize, usize) -> bool,
) {
    // SAFETY: the run is active, and its stack was made before it began.
    let (stack, left) = unsafe { ((*(*cx).stack).range(), ((*cx).sp.addr(), (*cx).ip.addr())) };
    let checks = Checks { stack: stack.start + size_of::<u64>() * HEADER as usize..stack.end, is_func };
    let at = if checks.fits(first.0, first.1) {
        first
    } else if let Some(pair) = checks.pair(registers).or_else(|| checks.pair(words)) {
        pair
    } else {
        left
    };
    let (mut sp, mut ip) = at;
    while let Some(func) = checks.func(sp) {
        if !push(func.addr(), ip) {
            return;
        }
        // SAFETY: the header lies in the value stack (`func`).
        let (ret, caller) = unsafe { (return_ip(sp as Sp), caller_sp(sp as Sp)) };
        let mut next: (Ip, usize) = (ret, caller.addr());
        if ret == control::bridge_stub() {
            if !caller.addr().is_multiple_of(8) || !checks.stack.contains(&caller.addr()) {
                return;
            }
            // SAFETY: as above.
            next = unsafe { (return_ip(caller), caller_sp(caller).addr()) };
        }
        // Callers lie below; anything else is no chain of frames.
        if ret == control::done_stub() || next.1 >= sp {
            return;
        }
        (ip, sp) = (next.0.addr().wrapping_sub(8), next.1);
    }
}

/// Whether the instruction at `ip` calls an imported function. `ip` must be what `frames` gave for this function of the module.
pub(crate) fn is_import_call(module: &ModuleInner, func: usize, ip: usize) -> bool {
    let Some(distance) = func.checked_sub(functions(module).start) else { return false };
    let body = module.interp.funcs.get(distance / size_of::<Func>()).and_then(Func::body);
    let word = body.and_then(|b| b.words.get(b.position(with_exposed_provenance(ip))? as usize));
    word.is_some_and(|w| *w == super::call::call_import as *const () as u64)
}
