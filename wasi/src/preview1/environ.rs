//! Environment variables, as `NAME=value`.

use crate::ctx::WasiCtx;
use crate::errno::Errno;
use crate::guest::GuestMemory;

/// Copies the environment to `environ_buf`, NUL-terminated, and a pointer to each variable to the array at `environ`.
///
/// # Errors
///
/// `FAULT` if either does not fit in memory.
pub fn environ_get(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, environ: u64, environ_buf: u64) -> Result<(), Errno> {
    ctx.common.env.write(mem, environ, environ_buf)
}

/// Writes the number of variables and the bytes that they take.
///
/// # Errors
///
/// `FAULT` if either result is not in memory.
#[inline]
pub fn environ_sizes_get(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, environc: u64, environ_buf_size: u64) -> Result<(), Errno> {
    ctx.common.env.write_sizes(mem, environc, environ_buf_size)
}
