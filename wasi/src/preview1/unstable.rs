//! `wasi_unstable`, the snapshot before preview1: the same functions but `sock_accept`, four of them with other layouts. The
//! order of `whence` differs, a filestat is 56 bytes, since its link count has 32 bits, and a clock subscription has an
//! identifier of its own.

use super::poll::{UNSTABLE_LAYOUT, poll};
use super::{FUNCTIONS as PREVIEW1, FunctionInfo, define_list};
use crate::ctx::WasiCtx;
use crate::errno::Errno;
use crate::guest::GuestMemory;
use crate::types::size;

/// The module name under which programs import these functions.
pub const MODULE: &str = "wasi_unstable";

/// As in preview1, with the numbers of this version's `whence`: the position, the end, the start.
fn fd_seek(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, fd: u32, offset: i64, whence: u32, newoffset: u64) -> Result<(), Errno> {
    let whence = match whence {
        0 => 1,
        1 => 2,
        2 => 0,
        _ => return Err(Errno::INVAL),
    };
    super::fd_seek(ctx, mem, fd, offset, whence, newoffset)
}

/// Bytes of a filestat here.
const FILESTAT: u64 = 56;

/// Runs a function that writes a filestat of preview1, and writes that of this version to `stat`.
fn narrowed(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    stat: u64,
    get: impl FnOnce(&mut WasiCtx, &mut GuestMemory<'_>, &mut [u8; size::FILESTAT as usize]) -> Result<(), Errno>,
) -> Result<(), Errno> {
    mem.check(stat, FILESTAT)?;
    let mut wide = [0; size::FILESTAT as usize];
    get(ctx, mem, &mut wide)?;
    let mut bytes = [0; FILESTAT as usize];
    bytes[..17].copy_from_slice(&wide[..17]);
    let links: [u8; 8] = wide[24..32].try_into().map_err(|_| Errno::OVERFLOW)?;
    let links = u32::try_from(u64::from_le_bytes(links)).unwrap_or(u32::MAX);
    bytes[20..24].copy_from_slice(&links.to_le_bytes());
    bytes[24..].copy_from_slice(&wide[32..]);
    mem.write(stat, &bytes)
}

fn fd_filestat_get(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, fd: u32, stat: u64) -> Result<(), Errno> {
    narrowed(ctx, mem, stat, |ctx, _, wide| super::fd_filestat_get(ctx, &mut GuestMemory::new(wide), fd, 0))
}

fn path_filestat_get(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    fd: u32,
    flags: u32,
    path: u64,
    path_len: u64,
    stat: u64,
) -> Result<(), Errno> {
    narrowed(ctx, mem, stat, |ctx, mem, wide| {
        let attributes = super::path::attributes(ctx, mem, fd, flags, path, path_len)?;
        let file_type = rustix::fs::FileType::from_raw_mode(attributes.st_mode).into();
        super::fdstat::write_filestat(&mut GuestMemory::new(wide), 0, file_type, &attributes)
    })
}

fn poll_oneoff(
    ctx: &mut WasiCtx,
    mem: &mut GuestMemory<'_>,
    subscriptions: u64,
    events: u64,
    nsubscriptions: u64,
    nevents: u64,
) -> Result<(), Errno> {
    poll(ctx, mem, &UNSTABLE_LAYOUT, subscriptions, events, nsubscriptions, nevents)
}

/// The functions that differ.
static OWN: &[FunctionInfo] = &[
    define_list!(@info errno fd_filestat_get "fd_filestat_get", fd: Fd, stat: Pointer),
    define_list!(@info errno fd_seek "fd_seek", fd: Fd, offset: SignedLong, whence: Word, newoffset: Pointer),
    define_list!(@info errno path_filestat_get "path_filestat_get",
        fd: Fd, flags: Flags, path: Pointer, path_len: Size, stat: Pointer),
    define_list!(@info errno poll_oneoff "poll_oneoff",
        subscriptions: Pointer, events: Pointer, nsubscriptions: Size, nevents: Pointer),
];

/// A function by its name.
pub fn function(name: &str) -> Option<&'static FunctionInfo> {
    let own = OWN.iter().find(|function| function.name == name);
    own.or_else(|| PREVIEW1.iter().find(|function| function.name == name && name != "sock_accept"))
}

/// All functions.
pub fn functions() -> impl Iterator<Item = &'static FunctionInfo> {
    PREVIEW1.iter().filter_map(|known| function(known.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{CREATE, ROOT, TestDir, WRITE};

    fn call(guest: &mut crate::testing::Guest, name: &str, arguments: &[u64]) -> u32 {
        let (ctx, mut mem) = guest.parts();
        (function(name).unwrap().call)(ctx, &mut mem, arguments).unwrap()
    }

    #[test]
    fn layouts_of_the_older_version() {
        let dir = TestDir::new();
        let mut guest = dir.guest();
        let fd = guest.open(ROOT, 0, "file", CREATE, WRITE).unwrap();
        guest.write(fd, b"0123456789").unwrap();
        assert_eq!(functions().count(), 45);
        assert_eq!(call(&mut guest, "fd_seek", &[fd.into(), 3, 2, 0]), 0);
        assert_eq!(guest.read(fd, 1).unwrap(), b"3");
        assert_eq!(call(&mut guest, "fd_seek", &[fd.into(), 1, 0, 0]), 0);
        assert_eq!(guest.read(fd, 1).unwrap(), b"5");
        assert_eq!(call(&mut guest, "fd_seek", &[fd.into(), u64::MAX, 1, 0]), 0);
        assert_eq!(guest.read(fd, 9).unwrap(), b"9");
        assert_eq!(call(&mut guest, "fd_seek", &[fd.into(), 0, 3, 0]), 28);
        guest.memory[512..600].fill(0xff);
        assert_eq!(call(&mut guest, "fd_filestat_get", &[fd.into(), 512]), 0);
        let (_, mem) = guest.parts();
        assert_eq!(mem.slice(528, 4), Ok(&[4, 0, 0, 0][..]));
        assert_eq!((mem.read_u32(532), mem.read_u64(536), mem.read_u8(568)), (Ok(1), Ok(10), Ok(0xff)));
        let first = mem.slice(512, 56).unwrap().to_vec();
        guest.memory[600..604].copy_from_slice(b"file");
        assert_eq!(call(&mut guest, "path_filestat_get", &[ROOT.into(), 0, 600, 4, 512]), 0);
        let (_, mem) = guest.parts();
        assert_eq!(mem.slice(512, 56), Ok(&first[..]));
        assert_eq!(call(&mut guest, "fd_filestat_get", &[fd.into(), u64::from(u32::MAX)]), 21);
    }

    #[test]
    fn clocks_have_identifiers() {
        let dir = TestDir::new();
        let mut guest = dir.guest();
        let (_, mut mem) = guest.parts();
        mem.write(512, &[0; 112]).unwrap();
        // The monotonic clock, a millisecond; then one that is not there.
        for (at, clock) in [(512, 1), (568, 9)] {
            mem.write_u64(at, u64::from(clock)).unwrap();
            mem.write_u64(at + 16, 77).unwrap();
            mem.write_u32(at + 24, clock).unwrap();
            mem.write_u64(at + 32, 1_000_000).unwrap();
        }
        assert_eq!(call(&mut guest, "poll_oneoff", &[512, 1024, 2, 0]), 0);
        let (_, mem) = guest.parts();
        assert_eq!((mem.read_u32(0), mem.read_u64(1024), mem.read_u16(1032)), (Ok(1), Ok(9), Ok(28)));
    }
}
