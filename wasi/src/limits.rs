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
    /// Bytes written to files, streams and sockets in all, and bytes of files that `fd_allocate` asks for; past it, `DQUOT`, and
    /// nothing of that write is done. Default: no limit.
    pub bytes_written: u64,
    /// Random bytes of one `random_get`; past it, `INVAL`. Default: 64 MiB, a quarter of a second of the kernel's time.
    pub random_bytes: u64,
    /// Bytes of a path; past it, `NAMETOOLONG`. Default and most: 4,095, which is what Linux takes.
    pub path_bytes: usize,
    /// Bytes of entries that are read ahead of an open directory. Default: 16 KiB; at least 1 KiB, which any entry fits in.
    pub directory_buffer: usize,
}

impl Default for WasiLimits {
    fn default() -> Self {
        Self {
            open_files: 1 << 16,
            poll_subscriptions: 4096,
            iovecs: 1024,
            bytes_written: u64::MAX,
            random_bytes: 64 << 20,
            path_bytes: PATH_BYTES,
            directory_buffer: 16 << 10,
        }
    }
}

impl WasiLimits {
    /// The names that [`set`](Self::set) knows, in the form of the command line, with what they bound.
    pub const NAMES: &[(&str, &str)] = &[
        ("open-files", "descriptors open at once"),
        ("poll-subscriptions", "subscriptions of one poll"),
        ("iovecs", "buffers of one read or write"),
        ("bytes-written", "bytes written in all"),
        ("random-bytes", "random bytes of one call"),
        ("path-bytes", "bytes of a path"),
        ("directory-buffer", "bytes read ahead of a directory"),
    ];

    /// The value of a limit by its name; `None` for a name that is not in [`NAMES`](Self::NAMES).
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u64> {
        Some(match name {
            "open-files" => self.open_files as u64,
            "poll-subscriptions" => self.poll_subscriptions as u64,
            "iovecs" => self.iovecs as u64,
            "bytes-written" => self.bytes_written,
            "random-bytes" => self.random_bytes,
            "path-bytes" => self.path_bytes as u64,
            "directory-buffer" => self.directory_buffer as u64,
            _ => return None,
        })
    }

    /// Sets a limit by its name; false for a name that is not in [`NAMES`](Self::NAMES).
    #[must_use]
    pub fn set(&mut self, name: &str, value: u64) -> bool {
        let small = usize::try_from(value).unwrap_or(usize::MAX);
        match name {
            "open-files" => self.open_files = small,
            "poll-subscriptions" => self.poll_subscriptions = small,
            "iovecs" => self.iovecs = small,
            "bytes-written" => self.bytes_written = value,
            "random-bytes" => self.random_bytes = value,
            "path-bytes" => self.path_bytes = small,
            "directory-buffer" => self.directory_buffer = small,
            _ => return false,
        }
        true
    }
}

/// The longest path, in bytes, that the host takes (`PATH_MAX` less its NUL).
pub(crate) const PATH_BYTES: usize = 4095;

/// Symbolic links followed in one path, as on Linux.
pub(crate) const SYMLINKS: u32 = 40;

/// How often an open that the kernel calls racy (`EAGAIN` under `RESOLVE_BENEATH`) is tried again before the walk in
/// user space decides.
pub(crate) const RACE_RETRIES: u32 = 64;
