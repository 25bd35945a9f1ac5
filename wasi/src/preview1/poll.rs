//! Waiting for clocks and descriptors: one `ppoll`, with the earliest clock as its timeout.
//!
//! A subscription that cannot be waited for (a bad descriptor, an unknown clock) is an event with an error, at once; the others
//! are then looked at without waiting. Streams without a descriptor are always ready.

use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use smallvec::SmallVec;

use super::clock::{NANOS, now};
use crate::ctx::WasiCtx;
use crate::errno::Errno;
use crate::fdtable::Held;
use crate::guest::GuestMemory;
use crate::types::{ClockId, Rights, SubscriptionClockFlags, size};

const EVENTTYPE_CLOCK: u8 = 0;
const EVENTTYPE_FD_READ: u8 = 1;
const EVENTTYPE_FD_WRITE: u8 = 2;
const EVENT_HANGUP: u16 = 1;

/// The longest wait before a deadline on the wall clock is looked at again, since that clock can be set.
const REALTIME_STEP: u64 = NANOS;

/// Where the parts of a subscription lie.
pub(crate) struct SubscriptionLayout {
    size: u64,
    clock: u64,
    timeout: u64,
    flags: u64,
}

/// Of preview1.
const LAYOUT: SubscriptionLayout = SubscriptionLayout { size: size::SUBSCRIPTION, clock: 16, timeout: 24, flags: 40 };

/// Of `wasi_unstable`, where a clock subscription has an identifier of its own, which nothing reads.
pub(crate) const UNSTABLE_LAYOUT: SubscriptionLayout = SubscriptionLayout { size: 56, clock: 24, timeout: 32, flags: 48 };

struct Subscription<'a> {
    userdata: u64,
    event: u8,
    source: Source<'a>,
}

enum Source<'a> {
    /// Until `clock` shows `deadline`.
    Clock { clock: ClockId, deadline: u64 },
    /// Until the descriptor is ready.
    Fd(Held<'a>),
    /// Nothing to wait for.
    Failed(Errno),
}

/// What is reported of one subscription.
struct Event {
    error: Option<Errno>,
    bytes: u64,
    flags: u16,
}

impl Event {
    const PLAIN: Self = Self { error: None, bytes: 0, flags: 0 };
}

/// Reads the subscription at `pointer`.
fn subscription<'a>(ctx: &'a WasiCtx, mem: &GuestMemory<'_>, pointer: u64, layout: &SubscriptionLayout) -> Result<Subscription<'a>, Errno> {
    let userdata = mem.read_u64(pointer)?;
    let event = mem.read_u8(pointer + 8)?;
    let source = match event {
        EVENTTYPE_CLOCK => {
            let id = mem.read_u32(pointer + layout.clock)?;
            let timeout = mem.read_u64(pointer + layout.timeout)?;
            let flags = SubscriptionClockFlags::from_bits(mem.read_u16(pointer + layout.flags)?.into())?;
            let deadline = deadline(ctx, id, timeout, flags.contains(SubscriptionClockFlags::ABSTIME));
            deadline.map_or_else(Source::Failed, |(clock, deadline)| Source::Clock { clock, deadline })
        }
        EVENTTYPE_FD_READ | EVENTTYPE_FD_WRITE => {
            let fd = mem.read_u32(pointer + 16)?;
            let right = if event == EVENTTYPE_FD_READ { Rights::FD_READ } else { Rights::FD_WRITE };
            let held = ctx.fds.with(fd, right).and_then(|held| held.require(Rights::POLL_FD_READWRITE).map(|()| held));
            held.map_or_else(Source::Failed, Source::Fd)
        }
        _ => return Err(Errno::INVAL),
    };
    Ok(Subscription { userdata, event, source })
}

/// When a clock subscription ends, and on which clock.
fn deadline(ctx: &WasiCtx, id: u32, timeout: u64, absolute: bool) -> Result<(ClockId, u64), Errno> {
    let hosts = ctx.common.clocks.is_none();
    let clock = match ClockId::from_number(id)? {
        // A duration is not to change when somebody sets the wall clock.
        ClockId::Realtime if !absolute && hosts => ClockId::Monotonic,
        ClockId::ProcessCpuTime | ClockId::ThreadCpuTime if hosts => return Err(Errno::NOTSUP),
        clock => clock,
    };
    Ok((clock, if absolute { timeout } else { now(ctx, clock)?.saturating_add(timeout) }))
}

type Subscriptions<'a> = SmallVec<[Subscription<'a>; 8]>;
/// Which subscription, and what of it.
type Ready = SmallVec<[(usize, Event); 8]>;

/// Waits until at least one subscription has something to report, and writes an event for each that has.
///
/// # Errors
///
/// `INVAL` for no subscription, too many, or one of an unknown type; `FAULT`; `INTR` if a signal came first.
pub fn poll_oneoff(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    subscriptions: u64,
    events: u64,
    nsubscriptions: u64,
    nevents: u64,
) -> Result<(), Errno> {
    poll(ctx, mem, &LAYOUT, subscriptions, events, nsubscriptions, nevents)
}

/// As [`poll_oneoff`], with subscriptions of any layout.
pub(crate) fn poll(
    ctx: &WasiCtx,
    mem: &mut GuestMemory<'_>,
    layout: &SubscriptionLayout,
    subscriptions: u64,
    events: u64,
    nsubscriptions: u64,
    nevents: u64,
) -> Result<(), Errno> {
    if nsubscriptions == 0 || nsubscriptions > ctx.common.limits.poll_subscriptions as u64 {
        return Err(Errno::INVAL);
    }
    // Both products are small if the limit is; a limit that is not cannot make them wrap.
    mem.check(subscriptions, nsubscriptions.saturating_mul(layout.size))?;
    mem.check(events, nsubscriptions.saturating_mul(size::EVENT))?;
    mem.check_size(nevents)?;
    let mut list = Subscriptions::new();
    for index in 0..nsubscriptions {
        list.push(subscription(ctx, mem, subscriptions + index * layout.size, layout)?);
    }
    let ready = loop {
        let ready = poll_once(ctx, &list)?;
        if !ready.is_empty() {
            break ready;
        }
    };
    for (at, (index, event)) in ready.iter().enumerate() {
        let subscription = &list[*index];
        let mut bytes = [0; size::EVENT as usize];
        bytes[..8].copy_from_slice(&subscription.userdata.to_le_bytes());
        bytes[8..10].copy_from_slice(&event.error.map_or(0, Errno::number).to_le_bytes());
        bytes[10] = subscription.event;
        bytes[16..24].copy_from_slice(&event.bytes.to_le_bytes());
        bytes[24..26].copy_from_slice(&event.flags.to_le_bytes());
        mem.write(events + at as u64 * size::EVENT, &bytes)?;
    }
    mem.write_size(nevents, ready.len() as u64)
}

/// Waits once. Nothing is ready afterwards only if a deadline on the wall clock has to be looked at again.
fn poll_once(ctx: &WasiCtx, list: &Subscriptions<'_>) -> Result<Ready, Errno> {
    // How long each clock has to run, and the shortest of them.
    let mut remaining: SmallVec<[u64; 8]> = SmallVec::new();
    let mut timeout = None::<u64>;
    for subscription in list {
        let left = match subscription.source {
            Source::Clock { clock, deadline } => {
                let left = deadline.saturating_sub(now(ctx, clock)?);
                // A clock of the embedder's is moved by the wait, or stands still for ever.
                let steps = clock == ClockId::Realtime && ctx.common.clocks.is_none();
                let step = if steps { REALTIME_STEP } else { u64::MAX };
                let wait = left.min(step);
                timeout = Some(timeout.map_or(wait, |timeout| timeout.min(wait)));
                left
            }
            Source::Failed(_) => {
                timeout = Some(0);
                u64::MAX
            }
            Source::Fd(_) => u64::MAX,
        };
        remaining.push(left);
    }
    if let Some(clocks) = &ctx.common.clocks
        && let Some(timeout) = timeout
        && !list.iter().any(|subscription| matches!(subscription.source, Source::Fd(_)))
    {
        clocks.sleep(Duration::from_nanos(timeout));
        return Ok(collect(list, &remaining, timeout, &[]));
    }

    let mut fds: SmallVec<[PollFd<'_>; 8]> = SmallVec::new();
    for subscription in list {
        if let Source::Fd(held) = &subscription.source {
            match held.pollable() {
                Some(host) => fds.push(PollFd::from_borrowed_fd(host, interest(subscription.event))),
                None => timeout = Some(0),
            }
        }
    }
    let until = timeout.map(|timeout| Timespec { tv_sec: (timeout / NANOS) as _, tv_nsec: (timeout % NANOS) as _ });
    let count = rustix::event::poll(&mut fds, until.as_ref())?;
    // If a descriptor became ready, the wait was shorter than the timeout, and only clocks that had run out count.
    let waited = if count == 0 { timeout.unwrap_or(0) } else { 0 };
    if let Some(clocks) = &ctx.common.clocks {
        clocks.waited(Duration::from_nanos(waited));
    }
    let results: SmallVec<[PollFlags; 8]> = fds.iter().map(PollFd::revents).collect();
    Ok(collect(list, &remaining, waited, &results))
}

fn interest(event: u8) -> PollFlags {
    if event == EVENTTYPE_FD_READ { PollFlags::IN } else { PollFlags::OUT }
}

/// What there is to report after a wait of `waited`, with what the host said of each of its descriptors.
fn collect(list: &Subscriptions<'_>, remaining: &[u64], waited: u64, results: &[PollFlags]) -> Ready {
    let mut results = results.iter().copied();
    let mut ready = Ready::new();
    for (index, (subscription, remaining)) in list.iter().zip(remaining).enumerate() {
        let event = match &subscription.source {
            Source::Failed(error) => Some(Event { error: Some(*error), ..Event::PLAIN }),
            Source::Clock { .. } => (*remaining <= waited).then_some(Event::PLAIN),
            Source::Fd(held) => match held.pollable() {
                None => Some(Event { bytes: 1, ..Event::PLAIN }),
                Some(_) => {
                    let result = results.next().unwrap_or(PollFlags::empty());
                    (!result.is_empty()).then(|| Event {
                        error: result.contains(PollFlags::NVAL).then_some(Errno::BADF),
                        bytes: if subscription.event == EVENTTYPE_FD_READ { held.readable() } else { 1 },
                        flags: hangup(subscription.event, result),
                    })
                }
            },
        };
        if let Some(event) = event {
            ready.push((index, event));
        }
    }
    ready
}

/// Whether the other end is gone: Linux says so by `HUP` to readers, and by `ERR` to the writer of a pipe.
fn hangup(event: u8, result: PollFlags) -> u16 {
    let gone = result.contains(PollFlags::HUP) || event == EVENTTYPE_FD_WRITE && result.contains(PollFlags::ERR);
    if gone { EVENT_HANGUP } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Instant;

    use super::*;
    use crate::{Input, VirtualClock, WasiCtxBuilder};

    fn clock(mem: &mut GuestMemory<'_>, at: u64, userdata: u64, id: u32, timeout: u64, flags: u16) {
        mem.write(at, &[0; 48]).unwrap();
        mem.write_u64(at, userdata).unwrap();
        mem.write_u32(at + 16, id).unwrap();
        mem.write_u64(at + 24, timeout).unwrap();
        mem.write(at + 40, &flags.to_le_bytes()).unwrap();
    }

    fn descriptor(mem: &mut GuestMemory<'_>, at: u64, userdata: u64, event: u8, fd: u32) {
        mem.write(at, &[0; 48]).unwrap();
        mem.write_u64(at, userdata).unwrap();
        mem.write(at + 8, &[event]).unwrap();
        mem.write_u32(at + 16, fd).unwrap();
    }

    #[test]
    fn clocks_end_in_order_and_not_early() {
        let mut ctx = WasiCtxBuilder::new().build().unwrap();
        let mut bytes = vec![0; 1024];
        let mut mem = GuestMemory::new(&mut bytes);
        clock(&mut mem, 0, 11, 1, 5_000_000, 0);
        clock(&mut mem, 48, 22, 1, 60_000_000_000, 0);
        let start = Instant::now();
        assert_eq!(poll_oneoff(&mut ctx, &mut mem, 0, 512, 2, 1000), Ok(()));
        assert!(start.elapsed() >= Duration::from_millis(5));
        assert_eq!(mem.read_u32(1000), Ok(1));
        assert_eq!(mem.read_u64(512), Ok(11));
        assert_eq!(mem.read_u64(520), Ok(0));

        // A moment that has passed, on the wall clock; and clocks that cannot be waited for.
        clock(&mut mem, 0, 33, 0, 1, 1);
        clock(&mut mem, 48, 44, 2, 1, 0);
        clock(&mut mem, 96, 55, 9, 1, 0);
        assert_eq!(poll_oneoff(&mut ctx, &mut mem, 0, 512, 3, 1000), Ok(()));
        assert_eq!(mem.read_u32(1000), Ok(3));
        assert_eq!((mem.read_u64(512), mem.read_u16(520)), (Ok(33), Ok(0)));
        assert_eq!((mem.read_u64(544), mem.read_u16(552)), (Ok(44), Ok(58)));
        assert_eq!((mem.read_u64(576), mem.read_u16(584)), (Ok(55), Ok(28)));
    }

    #[test]
    fn descriptors_wake_it_up() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut ctx = WasiCtxBuilder::new().stdin(Input::Fd(reader.into())).build().unwrap();
        let mut bytes = vec![0; 1024];
        let mut mem = GuestMemory::new(&mut bytes);
        descriptor(&mut mem, 0, 1, EVENTTYPE_FD_READ, 0);
        clock(&mut mem, 48, 2, 1, 1_000_000, 0);
        assert_eq!(poll_oneoff(&mut ctx, &mut mem, 0, 512, 2, 1000), Ok(()));
        assert_eq!((mem.read_u32(1000), mem.read_u64(512)), (Ok(1), Ok(2)));
        writer.write_all(b"abc").unwrap();
        clock(&mut mem, 48, 2, 1, 60_000_000_000, 0);
        assert_eq!(poll_oneoff(&mut ctx, &mut mem, 0, 512, 2, 1000), Ok(()));
        assert_eq!((mem.read_u32(1000), mem.read_u64(512), mem.read_u64(528)), (Ok(1), Ok(1), Ok(3)));
        drop(writer);
        assert_eq!(poll_oneoff(&mut ctx, &mut mem, 0, 512, 2, 1000), Ok(()));
        assert_eq!(mem.read_u16(536), Ok(EVENT_HANGUP));
        // A stream without a descriptor, a direction that is not allowed, a number that is not open.
        descriptor(&mut mem, 0, 1, EVENTTYPE_FD_WRITE, 1);
        descriptor(&mut mem, 48, 2, EVENTTYPE_FD_WRITE, 0);
        descriptor(&mut mem, 96, 3, EVENTTYPE_FD_READ, 77);
        assert_eq!(poll_oneoff(&mut ctx, &mut mem, 0, 512, 3, 1000), Ok(()));
        assert_eq!(mem.read_u32(1000), Ok(3));
        assert_eq!([mem.read_u16(520), mem.read_u16(552), mem.read_u16(584)], [Ok(0), Ok(8), Ok(8)]);
    }

    #[test]
    fn bad_lists_are_refused() {
        let mut ctx = WasiCtxBuilder::new().build().unwrap();
        let mut bytes = vec![0; 1024];
        let mut mem = GuestMemory::new(&mut bytes);
        assert_eq!(poll_oneoff(&mut ctx, &mut mem, 0, 512, 0, 1000), Err(Errno::INVAL));
        assert_eq!(poll_oneoff(&mut ctx, &mut mem, 0, 512, u64::MAX, 1000), Err(Errno::INVAL));
        assert_eq!(poll_oneoff(&mut ctx, &mut mem, 0, 512, 22, 1000), Err(Errno::FAULT));
        mem.write(8, &[3]).unwrap();
        assert_eq!(poll_oneoff(&mut ctx, &mut mem, 0, 512, 1, 1000), Err(Errno::INVAL));
    }

    #[test]
    fn a_virtual_clock_does_not_wait() {
        let mut ctx = WasiCtxBuilder::new().clocks(VirtualClock::new(5)).build().unwrap();
        let mut bytes = vec![0; 1024];
        let mut mem = GuestMemory::new(&mut bytes);
        clock(&mut mem, 0, 1, 0, 3_600 * NANOS, 0);
        let start = Instant::now();
        assert_eq!(poll_oneoff(&mut ctx, &mut mem, 0, 512, 1, 1000), Ok(()));
        assert!(start.elapsed() < Duration::from_secs(60));
        assert!(now(&ctx, ClockId::Realtime).unwrap() > 3_600 * NANOS);
        // A point in time that is centuries away.
        clock(&mut mem, 0, 1, 0, u64::MAX, 1);
        assert_eq!(poll_oneoff(&mut ctx, &mut mem, 0, 512, 1, 1000), Ok(()));
        assert_eq!(mem.read_u32(1000), Ok(1));
    }
}
