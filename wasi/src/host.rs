//! System calls that take buffers of a program: they get addresses, since the memory may belong to several threads and no
//! Rust reference to it may exist. Everything else calls the host through `rustix`.

#![allow(unsafe_code, reason = "system calls on addresses; regions and descriptors are valid by their types")]

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno as HostErrno;
use rustix::net::{RecvFlags, SendFlags};
use smallvec::SmallVec;

use crate::errno::Errno;
use crate::fdtable::Descriptor;
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
    let offset = offset.map(position).transpose()?;
    // SAFETY: the descriptor is open, and each region is memory that the kernel may write to; the list lives on. It has at most
    // as many elements as `WasiLimits::iovecs`; more than the host takes it refuses itself.
    let returned = unsafe {
        match (regions, offset) {
            ([one], None) => libc::read(raw, one.as_ptr().cast(), one.len()),
            ([one], Some(offset)) => libc::pread(raw, one.as_ptr().cast(), one.len(), offset),
            (several, offset) => {
                let list = vectors(several);
                let len = list.len().min(i32::MAX as usize) as i32;
                match offset {
                    None => libc::readv(raw, list.as_ptr(), len),
                    Some(offset) => libc::preadv(raw, list.as_ptr(), len, offset),
                }
            }
        }
    };
    count(returned)
}

/// Writes one region or several, at `offset` or where the position is.
#[inline]
pub(crate) fn write(fd: BorrowedFd<'_>, regions: &[Region<'_>], offset: Option<u64>) -> Result<usize> {
    let raw = fd.as_raw_fd();
    let offset = offset.map(position).transpose()?;
    // SAFETY: the descriptor is open, and each region is memory that the kernel may read; the list lives on. It has at most
    // as many elements as `WasiLimits::iovecs`; more than the host takes it refuses itself.
    let returned = unsafe {
        match (regions, offset) {
            ([one], None) => libc::write(raw, one.as_ptr().cast(), one.len()),
            ([one], Some(offset)) => libc::pwrite(raw, one.as_ptr().cast(), one.len(), offset),
            (several, offset) => {
                let list = vectors(several);
                let len = list.len().min(i32::MAX as usize) as i32;
                match offset {
                    None => libc::writev(raw, list.as_ptr(), len),
                    Some(offset) => libc::pwritev(raw, list.as_ptr(), len, offset),
                }
            }
        }
    };
    count(returned)
}

/// Makes a system call in place, where the C library's functions would be called, and what lives across a call saved.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn in_place(number: libc::c_long, fd: RawFd, region: Region<'_>, offset: i64) -> isize {
    let returned: isize;
    // SAFETY: the caller names a call that does nothing but move bytes between the descriptor and the region, which is memory
    // that the kernel may read and write. Registers as the Linux ABI for x86-64 has them (`man 2 syscall`).
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => returned,
            in("rdi") fd as isize,
            in("rsi") region.as_ptr(),
            in("rdx") region.len(),
            in("r10") offset,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    returned
}

/// As above.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
unsafe fn in_place(number: libc::c_long, fd: RawFd, region: Region<'_>, offset: i64) -> isize {
    let returned: isize;
    // SAFETY: as above, with the registers of the ABI for aarch64.
    unsafe {
        std::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") fd as isize => returned,
            in("x1") region.as_ptr(),
            in("x2") region.len(),
            in("x3") offset,
            options(nostack),
        );
    }
    returned
}

/// As [`write`] or [`read`], of one region, in place. Without an error where the descriptor is none of the host's.
#[inline(always)]
pub(crate) fn transfer_one<const WRITE: bool>(
    descriptor: &Descriptor,
    region: Region<'_>,
    offset: Option<u64>,
) -> std::result::Result<usize, Option<HostErrno>> {
    let fd = descriptor.raw().ok_or(None)?;
    let (number, offset) = match offset {
        None => (if WRITE { libc::SYS_write } else { libc::SYS_read }, 0),
        Some(offset) => (if WRITE { libc::SYS_pwrite64 } else { libc::SYS_pread64 }, position(offset)?),
    };
    // SAFETY: these calls read into the region or write what is in it, and the descriptor is open as long as it is borrowed.
    let returned = unsafe { in_place(number, fd, region, offset) };
    // The kernel returns a count, or an error number as a negative one.
    usize::try_from(returned).map_err(|_| Some(HostErrno::from_raw_os_error(returned.unsigned_abs() as i32)))
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

    /// The address, if the host wrote one of either version.
    pub(crate) fn get(&self) -> Option<SocketAddr> {
        let len = self.len as usize;
        match i32::from(self.storage.ss_family) {
            libc::AF_INET if len >= size_of::<libc::sockaddr_in>() => {
                // SAFETY: the storage is larger than either structure and aligned for both; any bits are a value of them.
                let v4 = unsafe { *(&raw const self.storage).cast::<libc::sockaddr_in>() };
                Some(SocketAddr::new(Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes()).into(), u16::from_be(v4.sin_port)))
            }
            libc::AF_INET6 if len >= size_of::<libc::sockaddr_in6>() => {
                // SAFETY: as above.
                let v6 = unsafe { *(&raw const self.storage).cast::<libc::sockaddr_in6>() };
                Some(SocketAddr::new(Ipv6Addr::from(v6.sin6_addr.s6_addr).into(), u16::from_be(v6.sin6_port)))
            }
            _ => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        let mut this = Self::empty();
        match address {
            SocketAddr::V4(v4) => {
                let to = (&raw mut this.storage).cast::<libc::sockaddr_in>();
                // SAFETY: the storage is larger than either structure and aligned for both.
                unsafe {
                    (*to).sin_family = libc::AF_INET as libc::sa_family_t;
                    (*to).sin_port = v4.port().to_be();
                    (*to).sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
                }
                this.len = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            }
            SocketAddr::V6(v6) => {
                let to = (&raw mut this.storage).cast::<libc::sockaddr_in6>();
                // SAFETY: as above.
                unsafe {
                    (*to).sin6_family = libc::AF_INET6 as libc::sa_family_t;
                    (*to).sin6_port = v6.port().to_be();
                    (*to).sin6_addr.s6_addr = v6.ip().octets();
                }
                this.len = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            }
        }
        this
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
    if let Some(from) = from.as_deref_mut() {
        *from = Address::empty();
    }
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

/// Takes ownership of a socket that another process passed on to this one by its number; `NOTSOCK` for anything else, which
/// could be a file of this process's own.
pub(crate) fn inherited_socket(number: i32) -> std::result::Result<OwnedFd, Errno> {
    if number <= 2 {
        return Err(Errno::BADF);
    }
    let mut kind = 0_i32;
    let mut len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: asking a number for an option does nothing to it, whatever it is; the answer fits.
    let returned = unsafe { libc::getsockopt(number, libc::SOL_SOCKET, libc::SO_TYPE, (&raw mut kind).cast(), &raw mut len) };
    count(returned as isize)?;
    // SAFETY: it is an open socket; that it was passed on to be used by this process, the caller's protocol says.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Writes an option's value to all of `value`; `INVAL` if it has another length.
pub(crate) fn socket_option(fd: BorrowedFd<'_>, name: i32, value: &mut [u8]) -> Result<()> {
    let mut len = value.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `value`.
    let returned = unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, name, value.as_mut_ptr().cast(), &raw mut len) };
    count(returned as isize)?;
    if len as usize == value.len() { Ok(()) } else { Err(HostErrno::INVAL) }
}

/// Sets an option.
pub(crate) fn set_socket_option(fd: BorrowedFd<'_>, name: i32, value: &[u8]) -> Result<()> {
    let len = value.len() as libc::socklen_t;
    // SAFETY: the kernel reads `len` bytes of `value`.
    let returned = unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, name, value.as_ptr().cast(), len) };
    count(returned as isize).map(drop)
}
