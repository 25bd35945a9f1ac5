//! Making code that was just written visible to the instruction fetch. x86-64 does so by itself. On AArch64 the data cache is cleaned
//! and the instruction cache invalidated line by line, with the line sizes that the processor states; that the kernel does
//! it too when pages become executable is not relied on. Other threads are made to drop what they have fetched by `membarrier`.

use std::io;

/// Makes the bytes that were written to `start..start + len` the ones that are fetched from there as instructions. To be called
/// before anybody runs them, while they can be read.
///
/// # Safety
/// The range is mapped and readable.
#[cfg(target_arch = "aarch64")]
pub(super) unsafe fn synchronise(start: usize, len: usize) {
    use core::arch::asm;
    let control: u64;
    // SAFETY: reads a register that Linux lets user space read.
    unsafe { asm!("mrs {}, ctr_el0", out(reg) control, options(nomem, nostack, preserves_flags)) };
    let Lines { data, instructions } = Lines::of(control);
    let end = start.saturating_add(len);
    let lines = |size: usize| (start - start % size..end).step_by(size);
    for line in data.into_iter().flat_map(lines) {
        // SAFETY: by the caller, the line holds mapped bytes.
        unsafe { asm!("dc cvau, {}", in(reg) line, options(nostack, preserves_flags)) };
    }
    // SAFETY: a barrier: the lines are clean before any of them is invalidated.
    unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
    for line in instructions.into_iter().flat_map(lines) {
        // SAFETY: as for the data cache.
        unsafe { asm!("ic ivau, {}", in(reg) line, options(nostack, preserves_flags)) };
    }
    // SAFETY: barriers: whatever this thread fetches from now on is what was written.
    unsafe { asm!("dsb ish", "isb", options(nostack, preserves_flags)) };
}

/// The processor sees to that itself.
///
/// # Safety
/// None is needed here.
#[cfg(not(target_arch = "aarch64"))]
pub(super) unsafe fn synchronise(_start: usize, _len: usize) {}

/// Makes every thread of the process go on with instructions that it fetches anew.
///
/// # Errors
/// If the kernel has no such barrier, or it is forbidden.
pub(super) fn all_threads() -> io::Result<()> {
    wasmtime_internal_jit_icache_coherence::pipeline_flush_mt().map_err(io::Error::other)
}

/// The sizes of the lines that have to be gone through in each cache; `None` where the hardware keeps it up to date.
#[cfg(any(target_arch = "aarch64", test))]
#[derive(Debug, PartialEq, Eq)]
struct Lines {
    data: Option<usize>,
    instructions: Option<usize>,
}

#[cfg(any(target_arch = "aarch64", test))]
impl Lines {
    /// What the register `CTR_EL0` says: the smallest lines of any cache, as powers of two in words of four bytes, and two bits that
    /// say that a cache needs nothing (IDC, DIC).
    fn of(control: u64) -> Self {
        let size = |shift: u32| 4usize << (control >> shift & 15);
        let needed = |bit: u32| control >> bit & 1 == 0;
        Self { data: needed(28).then(|| size(16)), instructions: needed(29).then(|| size(0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_the_register_says() {
        // Cortex-A72, whose caches need both; Neoverse N1, which only needs the instruction side; Neoverse V2, which needs nothing.
        assert_eq!(Lines::of(0x8444_c004), Lines { data: Some(64), instructions: Some(64) });
        assert_eq!(Lines::of(0x9444_c004), Lines { data: None, instructions: Some(64) });
        assert_eq!(Lines::of(0xb444_c003), Lines { data: None, instructions: None });
        assert_eq!(Lines::of(0x8445_0003), Lines { data: Some(128), instructions: Some(32) });
    }

    #[test]
    fn any_range_can_be_synchronised() {
        let bytes = vec![0u8; 5000];
        for (start, len) in [(0, 0), (0, 1), (3, 1), (63, 130), (1, 4999), (0, 5000)] {
            // SAFETY: the range lies in the vector.
            unsafe { synchronise(bytes.as_ptr().addr() + start, len) };
        }
        all_threads().unwrap();
    }
}
