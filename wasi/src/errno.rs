//! The error numbers of preview1 and how a host error becomes one.
//!
//! The numbers are WASI's own, not the host's: a program compiled once must see the same number everywhere. A host error
//! that WASI has no word for becomes `IO`, so that no host number ever reaches a program. The numbers from 77 on are
//! WasmEdge's, and only its functions return them.

use std::fmt;

use rustix::io::Errno as HostErrno;

macro_rules! errnos {
    ($($name:ident = $number:literal, $message:literal $(, from $($host:ident)|+)?;)*) => {
        /// An error number of preview1. `SUCCESS` is not among them: success is `Ok`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        #[allow(clippy::upper_case_acronyms)]
        pub enum Errno {
            $(#[doc = $message] $name = $number,)*
        }

        impl Errno {
            /// The name, as the specification spells it but in capitals: `NOENT`, `NOTCAPABLE`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// What it means, in a few words.
            pub const fn message(self) -> &'static str {
                match self {
                    $(Self::$name => $message,)*
                }
            }

            /// The error with this number, if there is one.
            pub const fn from_number(number: u16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }
        }

        impl From<HostErrno> for Errno {
            fn from(error: HostErrno) -> Self {
                match error {
                    $($($(HostErrno::$host)|+ => Self::$name,)?)*
                    _ => Self::IO,
                }
            }
        }
    };
}

errnos! {
    TOOBIG = 1, "argument list too long", from TOOBIG;
    ACCES = 2, "permission denied", from ACCESS;
    ADDRINUSE = 3, "address in use", from ADDRINUSE;
    ADDRNOTAVAIL = 4, "address not available", from ADDRNOTAVAIL;
    AFNOSUPPORT = 5, "address family not supported", from AFNOSUPPORT;
    AGAIN = 6, "resource unavailable, or the operation would block", from AGAIN;
    ALREADY = 7, "connection already in progress", from ALREADY;
    BADF = 8, "bad file descriptor", from BADF;
    BADMSG = 9, "bad message", from BADMSG;
    BUSY = 10, "device or resource busy", from BUSY;
    CANCELED = 11, "operation canceled", from CANCELED;
    CHILD = 12, "no child processes", from CHILD;
    CONNABORTED = 13, "connection aborted", from CONNABORTED;
    CONNREFUSED = 14, "connection refused", from CONNREFUSED;
    CONNRESET = 15, "connection reset", from CONNRESET;
    DEADLK = 16, "resource deadlock would occur", from DEADLK;
    DESTADDRREQ = 17, "destination address required", from DESTADDRREQ;
    DOM = 18, "argument out of the domain of the function", from DOM;
    DQUOT = 19, "disk quota exceeded", from DQUOT;
    EXIST = 20, "file exists", from EXIST;
    FAULT = 21, "bad address", from FAULT;
    FBIG = 22, "file too large", from FBIG;
    HOSTUNREACH = 23, "host is unreachable", from HOSTUNREACH;
    IDRM = 24, "identifier removed", from IDRM;
    ILSEQ = 25, "illegal byte sequence", from ILSEQ;
    INPROGRESS = 26, "operation in progress", from INPROGRESS;
    INTR = 27, "interrupted function", from INTR;
    INVAL = 28, "invalid argument", from INVAL;
    IO = 29, "input or output error", from IO;
    ISCONN = 30, "socket is connected", from ISCONN;
    ISDIR = 31, "is a directory", from ISDIR;
    LOOP = 32, "too many levels of symbolic links", from LOOP;
    MFILE = 33, "file descriptor value too large", from MFILE;
    MLINK = 34, "too many links", from MLINK;
    MSGSIZE = 35, "message too large", from MSGSIZE;
    MULTIHOP = 36, "multihop attempted", from MULTIHOP;
    NAMETOOLONG = 37, "file name too long", from NAMETOOLONG;
    NETDOWN = 38, "network is down", from NETDOWN;
    NETRESET = 39, "connection aborted by network", from NETRESET;
    NETUNREACH = 40, "network unreachable", from NETUNREACH;
    NFILE = 41, "too many files open in system", from NFILE;
    NOBUFS = 42, "no buffer space available", from NOBUFS;
    NODEV = 43, "no such device", from NODEV;
    NOENT = 44, "no such file or directory", from NOENT;
    NOEXEC = 45, "executable file format error", from NOEXEC;
    NOLCK = 46, "no locks available", from NOLCK;
    NOLINK = 47, "link has been severed", from NOLINK;
    NOMEM = 48, "not enough space", from NOMEM;
    NOMSG = 49, "no message of the desired type", from NOMSG;
    NOPROTOOPT = 50, "protocol not available", from NOPROTOOPT;
    NOSPC = 51, "no space left on device", from NOSPC;
    NOSYS = 52, "function not supported", from NOSYS;
    NOTCONN = 53, "the socket is not connected", from NOTCONN;
    NOTDIR = 54, "not a directory", from NOTDIR;
    NOTEMPTY = 55, "directory not empty", from NOTEMPTY;
    NOTRECOVERABLE = 56, "state not recoverable", from NOTRECOVERABLE;
    NOTSOCK = 57, "not a socket", from NOTSOCK;
    NOTSUP = 58, "not supported", from NOTSUP;
    NOTTY = 59, "inappropriate I/O control operation", from NOTTY;
    NXIO = 60, "no such device or address", from NXIO;
    OVERFLOW = 61, "value too large to be stored in data type", from OVERFLOW;
    OWNERDEAD = 62, "previous owner died", from OWNERDEAD;
    PERM = 63, "operation not permitted", from PERM;
    PIPE = 64, "broken pipe", from PIPE;
    PROTO = 65, "protocol error", from PROTO;
    PROTONOSUPPORT = 66, "protocol not supported", from PROTONOSUPPORT;
    PROTOTYPE = 67, "protocol wrong type for socket", from PROTOTYPE;
    RANGE = 68, "result too large", from RANGE;
    ROFS = 69, "read-only file system", from ROFS;
    SPIPE = 70, "invalid seek", from SPIPE;
    SRCH = 71, "no such process", from SRCH;
    STALE = 72, "stale file handle", from STALE;
    TIMEDOUT = 73, "connection timed out", from TIMEDOUT;
    TXTBSY = 74, "text file busy", from TXTBSY;
    XDEV = 75, "cross-device link", from XDEV;
    NOTCAPABLE = 76, "capabilities insufficient";
    AIADDRFAMILY = 77, "address family for the host name not supported";
    AIAGAIN = 78, "temporary failure in name resolution";
    AIBADFLAG = 79, "bad flags for name resolution";
    AIFAIL = 80, "failure in name resolution";
    AIFAMILY = 81, "address family not supported in name resolution";
    AIMEMORY = 82, "not enough space for name resolution";
    AINODATA = 83, "no address for the host name";
    AINONAME = 84, "name or service not known";
    AISERVICE = 85, "service not supported for the socket type";
    AISOCKTYPE = 86, "socket type not supported in name resolution";
    AISYSTEM = 87, "system error in name resolution";
}

impl Errno {
    /// The number that a preview1 function returns.
    pub const fn number(self) -> u16 {
        self as u16
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Errno {}

impl From<std::io::Error> for Errno {
    /// For the embedder's own readers and writers, whose errors need not come from the kernel.
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind;
        if let Some(host) = HostErrno::from_io_error(&error) {
            return host.into();
        }
        match error.kind() {
            ErrorKind::WouldBlock => Self::AGAIN,
            ErrorKind::Interrupted => Self::INTR,
            ErrorKind::BrokenPipe | ErrorKind::WriteZero => Self::PIPE,
            ErrorKind::InvalidInput => Self::INVAL,
            ErrorKind::PermissionDenied => Self::PERM,
            ErrorKind::Unsupported => Self::NOTSUP,
            ErrorKind::StorageFull => Self::NOSPC,
            _ => Self::IO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_host_errors_are_translated() {
        for number in 1..=87 {
            assert_eq!(Errno::from_number(number).unwrap().number(), number);
        }
        assert_eq!(Errno::from_number(0), None);
        assert_eq!(Errno::from_number(88), None);
        assert_eq!(Errno::from(HostErrno::NOENT), Errno::NOENT);
        // No word for it in WASI.
        assert_eq!(Errno::from(HostErrno::KEYEXPIRED), Errno::IO);
    }
}
