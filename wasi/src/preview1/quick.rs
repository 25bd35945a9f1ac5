//! What most reads and writes are, as a part of the shim that compiled code calls (`wasmc_runtime::Quick`).

use crate::ctx::WasiCtx;
use crate::fdtable::{Fds, Object};
use crate::guest::GuestMemory;
use crate::host;
use crate::position::Turn;
use crate::types::Rights;

/// What nearly every read and write is: one buffer, a descriptor of the host, nothing to imitate and no other thread. Returns whether
/// it is done; if not, either nothing was called, or how the call failed stands in `WasiCtx::failed`, and the general way is to be
/// taken. It is all inline, down to the system call (see docs/RATIONALE.md), and does not panic.
#[inline(always)]
fn quick<const WRITE: bool>(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    fd: u32,
    (iovs, iovs_len): (u64, u64),
    offset: Option<u64>,
    moved: u64,
) -> Option<()> {
    let Fds::Alone(table) = &ctx.fds else { return None };
    let descriptor = table.get(fd).ok()?;
    let right = if WRITE { Rights::FD_WRITE } else { Rights::FD_READ };
    let right = if offset.is_some() { right | Rights::FD_SEEK } else { right };
    if iovs_len != 1 || !descriptor.rights().contains(right) || descriptor.is_special() || mem.check_size(moved).is_err() {
        return None;
    }
    let region = mem.iovec(iovs).ok()?;
    // Whoever has the table to himself has its positions to himself.
    let turn = match &descriptor.object {
        Object::Regular(file) if offset.is_none() => Some(file.turn(true)),
        _ => None,
    };
    let own = turn.as_ref().and_then(Turn::position);
    match host::transfer_one::<WRITE>(descriptor, region, offset.or(own)) {
        Ok(count) => {
            if let Some(turn) = turn {
                turn.advance(own, count);
            }
            // There is room for it, and it is at most a length that the program gave.
            mem.write_size(moved, count as u64).ok()
        }
        Err(failed) => {
            ctx.failed = failed;
            None
        }
    }
}

/// What there may be to do for `fd_read` and `fd_pread`; see [`quick`].
#[inline(always)]
pub(super) fn quick_read(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    fd: u32,
    list: (u64, u64),
    offset: Option<u64>,
    nread: u64,
) -> Option<()> {
    quick::<false>(ctx, mem, fd, list, offset, nread)
}

/// As [`quick_read`], for `fd_write` and `fd_pwrite`.
#[inline(always)]
pub(super) fn quick_write(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    fd: u32,
    list: (u64, u64),
    offset: Option<u64>,
    nwritten: u64,
) -> Option<()> {
    if ctx.common.counts() {
        return None;
    }
    quick::<true>(ctx, mem, fd, list, offset, nwritten)
}

/// See [`quick_read`].
#[inline(always)]
pub(crate) fn fd_read(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, fd: u32, iovs: u64, iovs_len: u64, moved: u64) -> Option<()> {
    quick_read(ctx, mem, fd, (iovs, iovs_len), None, moved)
}

/// See [`quick_read`].
#[inline(always)]
pub(crate) fn fd_pread(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    fd: u32,
    iovs: u64,
    iovs_len: u64,
    offset: u64,
    moved: u64,
) -> Option<()> {
    quick_read(ctx, mem, fd, (iovs, iovs_len), Some(offset), moved)
}

/// See [`quick_write`].
#[inline(always)]
pub(crate) fn fd_write(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, fd: u32, iovs: u64, iovs_len: u64, moved: u64) -> Option<()> {
    quick_write(ctx, mem, fd, (iovs, iovs_len), None, moved)
}

/// See [`quick_write`].
#[inline(always)]
pub(crate) fn fd_pwrite(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    fd: u32,
    iovs: u64,
    iovs_len: u64,
    offset: u64,
    moved: u64,
) -> Option<()> {
    quick_write(ctx, mem, fd, (iovs, iovs_len), Some(offset), moved)
}
