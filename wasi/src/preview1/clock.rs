//! Clocks. The host's are read through the vDSO, without a system call; processor time is the host process's own.

use rustix::time::{ClockId as HostClock, Timespec};

use crate::ctx::WasiCtx;
use crate::errno::Errno;
use crate::guest::GuestMemory;
use crate::types::ClockId;

pub(super) const NANOS: u64 = 1_000_000_000;

#[inline]
fn host(clock: ClockId) -> HostClock {
    match clock {
        ClockId::Realtime => HostClock::Realtime,
        ClockId::Monotonic => HostClock::Monotonic,
        ClockId::ProcessCpuTime => HostClock::ProcessCPUTime,
        ClockId::ThreadCpuTime => HostClock::ThreadCPUTime,
    }
}

/// A host's time as nanoseconds: 0 before 1970, the last instant that fits after 2554.
#[inline]
pub(super) fn nanoseconds(seconds: i64, nanoseconds: u64) -> u64 {
    u64::try_from(seconds).map_or(0, |seconds| seconds.saturating_mul(NANOS).saturating_add(nanoseconds))
}

#[inline]
fn timespec(time: Timespec) -> u64 {
    nanoseconds(time.tv_sec, u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// The time of `clock`.
#[inline]
pub(super) fn now(ctx: &WasiCtx, clock: ClockId) -> Result<u64, Errno> {
    match &ctx.common.clocks {
        None => Ok(timespec(rustix::time::clock_gettime(host(clock)))),
        Some(clocks) => clocks.now(clock),
    }
}

/// Writes the resolution of a clock, in nanoseconds.
///
/// # Errors
///
/// `INVAL` for an unknown clock, `FAULT` for a bad pointer.
pub fn clock_res_get(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, id: u32, resolution: u64) -> Result<(), Errno> {
    let clock = ClockId::from_number(id)?;
    let nanoseconds = match &ctx.common.clocks {
        None => timespec(rustix::time::clock_getres(host(clock))),
        Some(clocks) => clocks.resolution(clock)?,
    };
    mem.write_u64(resolution, nanoseconds)
}

/// Writes the time of a clock, in nanoseconds. The precision that the program would be content with is not looked at: the
/// exact time costs no more.
///
/// # Errors
///
/// `INVAL` for an unknown clock, `FAULT` for a bad pointer.
#[inline]
pub fn clock_time_get(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, id: u32, _precision: u64, time: u64) -> Result<(), Errno> {
    let nanoseconds = now(ctx, ClockId::from_number(id)?)?;
    mem.write_u64(time, nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{WasiClocks, WasiCtxBuilder};

    #[test]
    fn clocks_tick_and_unknown_ones_are_refused() {
        let mut ctx = WasiCtxBuilder::new().build().unwrap();
        let mut bytes = [0; 32];
        let mut mem = GuestMemory::new(&mut bytes);
        for id in 0..4 {
            assert_eq!(clock_time_get(&mut ctx, &mut mem, id, 0, 0), Ok(()));
            let first = mem.read_u64(0).unwrap();
            assert_eq!(clock_time_get(&mut ctx, &mut mem, id, 0, 0), Ok(()));
            assert!(mem.read_u64(0).unwrap() >= first);
            assert_eq!(clock_res_get(&mut ctx, &mut mem, id, 8), Ok(()));
            assert_ne!(mem.read_u64(8), Ok(0));
        }
        assert_eq!(clock_time_get(&mut ctx, &mut mem, 4, 0, 0), Err(Errno::INVAL));
        assert_eq!(clock_res_get(&mut ctx, &mut mem, u32::MAX, 0), Err(Errno::INVAL));
        assert_eq!(clock_time_get(&mut ctx, &mut mem, 0, 0, 25), Err(Errno::FAULT));
        assert_eq!(nanoseconds(-1, 5), 0);
        assert_eq!(nanoseconds(i64::MAX, 5), u64::MAX);
    }

    #[test]
    fn clocks_can_be_replaced() {
        struct Fixed;
        impl WasiClocks for Fixed {
            fn now(&self, clock: ClockId) -> Result<u64, Errno> {
                if clock == ClockId::Realtime { Ok(42) } else { Err(Errno::INVAL) }
            }
            fn resolution(&self, _: ClockId) -> Result<u64, Errno> {
                Ok(7)
            }
        }
        let mut ctx = WasiCtxBuilder::new().clocks(Fixed).build().unwrap();
        let mut bytes = [0; 8];
        let mut mem = GuestMemory::new(&mut bytes);
        assert_eq!(clock_time_get(&mut ctx, &mut mem, 0, 0, 0), Ok(()));
        assert_eq!(mem.read_u64(0), Ok(42));
        assert_eq!(clock_time_get(&mut ctx, &mut mem, 1, 0, 0), Err(Errno::INVAL));
        assert_eq!(clock_res_get(&mut ctx, &mut mem, 1, 0), Ok(()));
        assert_eq!(mem.read_u64(0), Ok(7));
    }
}
