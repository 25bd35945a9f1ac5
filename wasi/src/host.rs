//! System calls that take buffers of a program: they get addresses, since the memory may belong to several threads and no
//! Rust reference to it may exist. Everything else calls the host through `rustix`.

#![allow(unsafe_code, reason = "system calls on addresses; regions and descriptors are valid by their types")]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno as HostErrno;
use rustix::net::{RecvFlags, SendFlags};
use smallvec::SmallVec;

use crate::errno::Errno;
use crate::guest::Region;

type Result<T> = std::result::Result<T, HostErrno>;

/// What a call returned: a count, or -1 with the reason elsewhere.
#[inline]
fn count(returned: isize) -> Result<usize> {
    usize::try_from(returned).map_err(|_| last_error())
}

#[cold]
fn last_error() -> HostErrno {
    HostErrno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(HostErrno::IO)
}

/// A position as the host takes it.
#[inline]
fn position(offset: u64) -> Result<libc::off_t> {
    libc::off_t::try_from(offset).map_err(|_| HostErrno::INVAL)
}

/// The list as the host takes it.
pub(crate) type Vectors = SmallVec<[libc::iovec; 16]>;

#[inline]
fn vectors(regions: &[Region<'_>]) -> Vectors {
    regions.iter().map(|region| libc::iovec { iov_base: region.as_ptr().cast(), iov_len: region.len() }).collect()
}

/// Reads into one region or several, at `offset` or where the position is.
#[inline]
pub(crate) fn read(fd: BorrowedFd<'_>, regions: &[Region<'_>], offset: Option<u64>) -> Result<usize> {
    let raw = fd.as_raw_fd();
    // SAFETY: the descriptor is open, and each region is memory that the kernel may write to; so in the arms below.
    let returned = match (regions, offset) {
        ([one], None) => unsafe { libc::read(raw, one.as_ptr().cast(), one.len()) },
        ([one], Some(offset)) => unsafe { libc::pread(raw, one.as_ptr().cast(), one.len(), position(offset)?) },
        (several, offset) => {
            let list = vectors(several);
            // At most as many as `WasiLimits::iovecs`; more than the host takes it refuses itself.
            let len = list.len().min(i32::MAX as usize) as i32;
            match offset {
                None => unsafe { libc::readv(raw, list.as_ptr(), len) },
                Some(offset) => unsafe { libc::preadv(raw, list.as_ptr(), len, position(offset)?) },
            }
        }
    };
    count(returned)
}

/// Writes one region or several, at `offset` or where the position is.
#[inline]
pub(crate) fn write(fd: BorrowedFd<'_>, regions: &[Region<'_>], offset: Option<u64>) -> Result<usize> {
    let raw = fd.as_raw_fd();
    // SAFETY: the descriptor is open, and each region is memory that the kernel may read; so in the arms below.
    let returned = match (regions, offset) {
        ([one], None) => unsafe { libc::write(raw, one.as_ptr().cast(), one.len()) },
        ([one], Some(offset)) => unsafe { libc::pwrite(raw, one.as_ptr().cast(), one.len(), position(offset)?) },
        (several, offset) => {
            let list = vectors(several);
            let len = list.len().min(i32::MAX as usize) as i32;
            match offset {
                None => unsafe { libc::writev(raw, list.as_ptr(), len) },
                Some(offset) => unsafe { libc::pwritev(raw, list.as_ptr(), len, position(offset)?) },
            }
        }
    };
    count(returned)
}

/// Where a message came from or goes to, as the host takes it.
pub(crate) struct Address {
    pub(crate) storage: libc::sockaddr_storage,
    pub(crate) len: libc::socklen_t,
}

impl Address {
    pub(crate) fn empty() -> Self {
        // SAFETY: zeros are a value of this structure of numbers.
        Self { storage: unsafe { std::mem::zeroed() }, len: size_of::<libc::sockaddr_storage>() as libc::socklen_t }
    }
}

fn message(list: &mut Vectors, address: Option<&mut Address>) -> libc::msghdr {
    // SAFETY: zeros are a value of this structure: no name, no buffers, no control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = list.as_mut_ptr();
    message.msg_iovlen = list.len() as _;
    if let Some(address) = address {
        message.msg_name = (&raw mut address.storage).cast();
        message.msg_namelen = address.len;
    }
    message
}

/// Receives; says how many bytes came, and whether there were more. Descriptors that the other side passes are dropped: there
/// is no room for them.
pub(crate) fn receive(
    fd: BorrowedFd<'_>,
    regions: &[Region<'_>],
    flags: RecvFlags,
    mut from: Option<&mut Address>,
) -> Result<(usize, bool)> {
    let mut list = vectors(regions);
    let mut message = message(&mut list, from.as_deref_mut());
    // SAFETY: the descriptor is open, the message points to the list and the address, which live on, and the list to memory
    // that the kernel may write to.
    let received = count(unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, flags.bits() as i32) })?;
    if let Some(address) = from {
        address.len = message.msg_namelen;
    }
    Ok((received, message.msg_flags & libc::MSG_TRUNC != 0))
}

/// Sends; says how many bytes went. No signal comes of it.
pub(crate) fn send(fd: BorrowedFd<'_>, regions: &[Region<'_>], flags: SendFlags, to: Option<&mut Address>) -> Result<usize> {
    let mut list = vectors(regions);
    let message = message(&mut list, to);
    // SAFETY: as for `receive`, and the kernel only reads.
    count(unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, (flags | SendFlags::NOSIGNAL).bits() as i32) })
}

/// Fills a part of a region with random bytes; says how many.
pub(crate) fn random(region: Region<'_>, at: usize) -> Result<usize> {
    let len = region.len().saturating_sub(at);
    // SAFETY: the region from `at` on is memory that the kernel may write to.
    count(unsafe { libc::getrandom(region.as_ptr().wrapping_add(at).cast(), len, 0) })
}

/// Takes ownership of a descriptor that another process passed on to this one by its number.
pub(crate) fn inherited(number: i32) -> std::result::Result<OwnedFd, Errno> {
    // SAFETY: asking for the flags of a number does nothing to it.
    if number <= 2 || unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: it is open; that it was passed on to be used by this process, the caller's protocol says (`LISTEN_FDS`).
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
