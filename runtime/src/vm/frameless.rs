//! Code that has no frame of its own yet, or not any more: the first instructions of a prologue and the last ones of an epilogue. The frame
//! pointer is the caller's there, so a walk over frames would miss the caller; its return address is still at the top of the
//! stack or in the link register. Read inside signal handlers: nothing here allocates or locks.

use super::stack::Stack;
use core::ptr::with_exposed_provenance;

/// The registers of interrupted code that tell where it returns to.
#[derive(Copy, Clone, Debug)]
pub(super) struct Place {
    pub(super) pc: usize,
    #[cfg(target_arch = "x86_64")]
    pub(super) sp: usize,
    #[cfg(target_arch = "aarch64")]
    pub(super) link: usize,
}

impl Place {
    /// The return address, if the function at this place has no frame of its own at the moment.
    ///
    /// # Safety
    /// The PC must be in code that the compiler made, which can be read.
    #[cfg(target_arch = "x86_64")]
    pub(super) unsafe fn return_address(self, stack: &Stack) -> Option<usize> {
        // SAFETY: the instruction is readable; the first byte decides whether more is read.
        let at = unsafe {
            let pc = with_exposed_provenance::<u8>(self.pc);
            match *pc {
                // push rbp
                0x55 => self.sp,
                // mov rbp, rsp
                0x48 if *pc.add(1) == 0x89 && *pc.add(2) == 0xe5 => self.sp + 8,
                // ret, when the frame is gone already: a fault never, but an interruption may be here.
                0xc3 | 0xc2 => self.sp,
                _ => return None,
            }
        };
        let readable = at.is_multiple_of(8) && at >= stack.usable().start && at <= stack.top() - 8;
        // SAFETY: the word lies in the readable part of the stack.
        readable.then(|| unsafe { *with_exposed_provenance::<usize>(at) })
    }

    /// As above: the link register, until the prologue is done and after the epilogue has restored it.
    ///
    /// # Safety
    /// As above.
    #[cfg(target_arch = "aarch64")]
    pub(super) unsafe fn return_address(self, _: &Stack) -> Option<usize> {
        let code = with_exposed_provenance::<u32>(self.pc);
        // SAFETY: the instruction is readable, and so is the next one wherever this is not the end of the function.
        let outside = (0..).map(|i| unsafe { *code.add(i) });
        is_outside_frame(outside).then_some(self.link)
    }
}

/// Whether a function of AArch64 has no frame of its own at the first of these instructions. No instruction behind the function's last is
/// looked at.
#[cfg(any(target_arch = "aarch64", test))]
fn is_outside_frame(mut code: impl Iterator<Item = u32>) -> bool {
    const RET: u32 = 0xd65f_03c0;
    match code.next() {
        // bti c; stp x29, x30, [sp, #-16]!; mov x29, sp. Where a tail call needs more room for arguments than there was, the frame
        // moves: stp x29, x30, [sp]; mov x29, sp.
        Some(0xd503_245f | 0xa9bf_7bfd | 0xa900_7bfd | 0x9100_03fd) | Some(RET) => true,
        // Behind the epilogue's load of x29 and x30, the area of stack arguments is given back: add sp, sp, #n, or n in x16 by movz and
        // movk (movn) and add sp, sp, x16, uxtx. In the midst of a function, something else than ret follows.
        Some(first) => {
            let mut next = Some(first);
            while let Some(i) = next {
                let gives_back = i & 0xff80_03ff == 0x9100_03ff || i == 0x8b30_63ff;
                let constant = i & 0x1f == 16 && matches!(i & 0xff80_0000, 0xd280_0000 | 0xf280_0000 | 0x9280_0000);
                // `orr` of the zero register with an immediate makes some constants.
                let constant = constant || i & 0xff80_03ff == 0xb200_03f0;
                if i == RET {
                    return true;
                }
                if !gives_back && !constant {
                    return false;
                }
                next = code.next();
            }
            false
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prologues_and_epilogues_of_aarch64() {
        let outside = |code: &[u32]| is_outside_frame(code.iter().copied());
        let (ret, restore, body) = (0xd65f_03c0, 0xa8c1_7bfd, 0x8b01_0000);
        for first in [0xd503_245f, 0xa9bf_7bfd, 0xa900_7bfd, 0x9100_03fd, ret] {
            assert!(outside(&[first, body]));
        }
        // add sp, sp, #32; ret, and with movz x16, #0x12, lsl #16; movk x16, #4.
        assert!(outside(&[0x9100_83ff, ret]));
        assert!(outside(&[0xd2a0_0250, 0xf280_0090, 0x8b30_63ff, ret]));
        // The frame itself is given back before x29 and x30 are restored.
        assert!(!outside(&[0x9100_83ff, restore, ret]));
        assert!(!outside(&[restore, ret]));
        assert!(!outside(&[body, ret]));
        assert!(!outside(&[0x9100_83ff, body]));
        assert!(!outside(&[]));
    }
}
