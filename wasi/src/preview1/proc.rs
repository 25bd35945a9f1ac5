//! The end of the program.

use crate::ctx::WasiCtx;
use crate::errno::Errno;
use crate::guest::GuestMemory;

/// The program has asked to end, with this status. It is no error, and no frame of the program may catch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(
    /// The status, as the program gave it.
    pub u32,
);

/// Ends the program.
pub fn proc_exit(_ctx: &mut WasiCtx, _mem: &mut GuestMemory<'_>, code: u32) -> Exit {
    Exit(code)
}

/// The signals, by their numbers in preview1: name, number on the host, and what happens to a process that has made no
/// arrangement for it.
const SIGNALS: [(&str, u32, Action); 31] = {
    use Action::{Continue, End, Ignore, Stop};
    [
        ("NONE", 0, Ignore),
        ("HUP", 1, End),
        ("INT", 2, End),
        ("QUIT", 3, End),
        ("ILL", 4, End),
        ("TRAP", 5, End),
        ("ABRT", 6, End),
        ("BUS", 7, End),
        ("FPE", 8, End),
        ("KILL", 9, End),
        ("USR1", 10, End),
        ("SEGV", 11, End),
        ("USR2", 12, End),
        ("PIPE", 13, End),
        ("ALRM", 14, End),
        ("TERM", 15, End),
        ("CHLD", 17, Ignore),
        ("CONT", 18, Continue),
        ("STOP", 19, Stop),
        ("TSTP", 20, Stop),
        ("TTIN", 21, Stop),
        ("TTOU", 22, Stop),
        ("URG", 23, Ignore),
        ("XCPU", 24, End),
        ("XFSZ", 25, End),
        ("VTALRM", 26, End),
        ("PROF", 27, End),
        ("WINCH", 28, Ignore),
        ("POLL", 29, End),
        ("PWR", 30, End),
        ("SYS", 31, End),
    ]
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    End,
    Ignore,
    Continue,
    Stop,
}

/// The name of a signal, for people.
pub(crate) fn signal_name(signal: u32) -> Option<&'static str> {
    SIGNALS.get(signal as usize).map(|(name, ..)| *name)
}

/// Does to the program what the signal does to a process that has made no arrangement for it, which no program of preview1
/// can: it ends with the status that shells show for it (128 and the signal's number on the host), or nothing happens. No
/// signal is sent: it would reach the host's whole process, with other programs in it.
///
/// # Errors
///
/// `INVAL` for an unknown signal, `NOTSUP` for one that stops.
pub fn proc_raise(ctx: &mut WasiCtx, _mem: &mut GuestMemory<'_>, signal: u32) -> Result<(), Errno> {
    let &(_, number, action) = SIGNALS.get(signal as usize).ok_or(Errno::INVAL)?;
    match action {
        Action::Ignore | Action::Continue => Ok(()),
        Action::Stop => Err(Errno::NOTSUP),
        Action::End => {
            ctx.ended = Some(Exit(128 + number));
            Err(Errno::INTR)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::preview1::{Exit, call};
    use crate::{GuestMemory, WasiCtxBuilder};

    #[test]
    fn signals_do_what_they_do_by_default() {
        let mut ctx = WasiCtxBuilder::new().build().unwrap();
        let mut raise = |signal| call(&mut ctx, &mut GuestMemory::new(&mut []), "proc_raise", &[signal]);
        assert_eq!([raise(0), raise(16), raise(22), raise(27)], [Ok(0); 4]);
        assert_eq!([raise(6), raise(15), raise(30)], [Err(Exit(134)), Err(Exit(143)), Err(Exit(159))]);
        assert_eq!([raise(18), raise(31), raise(0)], [Ok(58), Ok(28), Ok(0)]);
    }
}
