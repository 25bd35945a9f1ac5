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

/// Does not raise a signal: it would reach the host's whole process, with other programs in it.
///
/// # Errors
///
/// `NOTSUP`.
pub fn proc_raise(_ctx: &mut WasiCtx, _mem: &mut GuestMemory<'_>, _signal: u32) -> Result<(), Errno> {
    Err(Errno::NOTSUP)
}
