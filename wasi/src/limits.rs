//! Every bound on what one program can make the host hold or do, in one place, with its default and the reason for it.

/// Bounds on a program's use of host resources. The defaults suit one program in a process of its own; a server
/// that runs many should lower `open_files`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WasiLimits {
    /// Descriptors that are open at once, preopened ones included; past it, `MFILE`. Each is a descriptor of the host,
    /// so the host's own limit may come first. Default: 65,536.
    pub open_files: usize,
    /// Subscriptions of one `poll_oneoff`; past it, `INVAL`. Default: 4,096.
    pub poll_subscriptions: usize,
    /// Elements of one scatter or gather list; past it, `INVAL`. Default: 1,024, which is what POSIX systems take.
    pub iovecs: usize,
}

impl Default for WasiLimits {
    fn default() -> Self {
        Self { open_files: 1 << 16, poll_subscriptions: 4096, iovecs: 1024 }
    }
}

/// The longest path, in bytes, that the host takes (`PATH_MAX` less its NUL).
pub(crate) const PATH_BYTES: usize = 4095;

/// Symbolic links followed in one path, as on Linux.
pub(crate) const SYMLINKS: u32 = 40;

/// How often an open that the kernel calls racy (`EAGAIN` under `RESOLVE_BENEATH`) is tried again before the walk in
/// user space decides.
pub(crate) const RACE_RETRIES: u32 = 64;
