//! Scheduling.

use crate::ctx::WasiCtx;
use crate::errno::Errno;
use crate::guest::GuestMemory;

/// Lets other threads of the host run.
///
/// # Errors
///
/// None.
pub fn sched_yield(_ctx: &mut WasiCtx, _mem: &mut GuestMemory<'_>) -> Result<(), Errno> {
    rustix::thread::sched_yield();
    Ok(())
}
