//! What one program may see of the host, and the builder that says so.
//!
//! Nothing is granted that was not asked for: a fresh context has no arguments, no environment, no directories, and streams
//! that lead nowhere. Building one makes no system call besides one open for each preopened directory.

use std::ffi::OsStr;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno as HostErrno;

use crate::errno::Errno;
use crate::fdtable::{Descriptor, Directory, FdTable, Fds, Object};
use crate::hooks::{SeededRandom, VirtualClock, WasiClocks, WasiRandom};
use crate::limits::WasiLimits;
use crate::net::{NetGrant, NetPolicy};
use crate::preview1::Exit;
use crate::sandbox::PathResolution;
use crate::stdio::{Input, Output, Stream};
use crate::strings::Strings;
use crate::types::{FdFlags, Rights};

/// What a program may do beneath a preopened directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirAccess {
    /// Everything that the process itself may.
    ReadWrite,
    /// Read. Whatever would create, change, rename, link or remove something is `ROFS`.
    ReadOnly,
}

/// Why a context could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A string with a NUL, which no program could receive, or strings that together outgrow 32 bits.
    #[error("{what} {value:?} holds a NUL character, or all of them together are larger than 4 GiB")]
    String {
        /// `argument` or `environment variable`.
        what: &'static str,
        /// The string.
        value: String,
    },
    /// A directory that could not be opened.
    #[error("cannot open directory {} for the program: {source}", path.display())]
    Directory {
        /// The path on the host.
        path: PathBuf,
        /// What the host said.
        source: io::Error,
    },
    /// A descriptor that the environment says was passed, and was not.
    #[error("LISTEN_FDS says that descriptor {number} was passed to this process, but it is no open socket")]
    PassedSocket {
        /// Its number.
        number: u64,
    },
    /// More preopened descriptors than [`WasiLimits::open_files`] allows.
    #[error("more descriptors are preopened than the limit of {limit} open files allows")]
    TooManyFiles {
        /// The limit.
        limit: usize,
    },
}

/// The state of WASI for one program: what a host function finds in its store.
///
/// Each thread of a program has one of its own; [`WasiCtx::share`] makes them reach the same descriptors.
pub struct WasiCtx {
    pub(crate) fds: Fds,
    pub(crate) common: Arc<Common>,
    /// Set by a function that fails because the program is to end.
    pub(crate) ended: Option<Exit>,
    /// How a system call failed that the quick way made, for the general way, which follows at once.
    pub(crate) failed: Option<rustix::io::Errno>,
}

/// What all threads of a program have in common beside its descriptors, and what never changes or changes atomically.
pub(crate) struct Common {
    pub(crate) args: Strings,
    pub(crate) env: Strings,
    pub(crate) resolution: PathResolution,
    pub(crate) limits: WasiLimits,
    pub(crate) clocks: Option<Box<dyn WasiClocks>>,
    pub(crate) random: Option<Box<dyn WasiRandom>>,
    pub(crate) broken_pipe: BrokenPipe,
    pub(crate) net: NetPolicy,
    /// Bytes that may still be written, unless there is no limit.
    writable: AtomicU64,
}

impl Common {
    /// Whether what is written has a limit.
    #[inline]
    pub(crate) fn counts(&self) -> bool {
        self.limits.bytes_written != u64::MAX
    }

    /// Takes `bytes` from what may be written; what is not written in the end is given back with [`Self::refund`].
    #[inline]
    pub(crate) fn charge(&self, bytes: impl FnOnce() -> u64) -> Result<u64, Errno> {
        if !self.counts() {
            return Ok(0);
        }
        let bytes = bytes();
        self.writable.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes)).map_err(|_| Errno::DQUOT)?;
        Ok(bytes)
    }

    /// Gives back what was charged but not used.
    #[inline]
    pub(crate) fn refund(&self, charged: u64, used: u64) {
        if charged > used {
            self.writable.fetch_add(charged - used, Relaxed);
        }
    }
}

/// What all threads of a program share: each makes its own [`WasiCtx`] of a clone of this.
///
/// A thread that blocks in a call holds nothing that another thread's call needs.
#[derive(Clone)]
pub struct WasiShared {
    fds: Arc<Mutex<FdTable>>,
    common: Arc<Common>,
}

impl WasiShared {
    /// A context for one more thread.
    pub fn context(&self) -> WasiCtx {
        WasiCtx { fds: Fds::Shared(self.fds.clone()), common: self.common.clone(), ended: None, failed: None }
    }
}

impl WasiCtx {
    /// Makes what this context reaches available to other threads of the program, and goes on using it itself.
    ///
    /// Lookups of descriptors take a lock from now on; a program that never shares never pays for it.
    pub fn share(&mut self) -> WasiShared {
        WasiShared { fds: self.fds.share(), common: self.common.clone() }
    }
}

// Stores move between threads, and so does what threads share.
const _: () = {
    const fn moves<T: Send>() {}
    const fn shared<T: Send + Sync>() {}
    moves::<WasiCtx>();
    shared::<WasiCtx>();
    shared::<WasiShared>();
};

/// What happens to a program that writes to a standard stream whose reader is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BrokenPipe {
    /// It sees `PIPE`, as a native program that ignores SIGPIPE.
    #[default]
    Errno,
    /// It ends with status 141, as a native program that SIGPIPE kills.
    End,
}

/// Builds a [`WasiCtx`].
pub struct WasiCtxBuilder {
    args: Vec<Vec<u8>>,
    env: Vec<(Vec<u8>, Vec<u8>)>,
    stdin: Input,
    stdout: Output,
    stderr: Output,
    directories: Vec<Directory>,
    sockets: Vec<OwnedFd>,
    resolution: PathResolution,
    limits: WasiLimits,
    clocks: Option<Box<dyn WasiClocks>>,
    random: Option<Box<dyn WasiRandom>>,
    broken_pipe: BrokenPipe,
    net: NetPolicy,
}

impl Default for WasiCtxBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl WasiCtxBuilder {
    /// A builder that grants nothing.
    pub fn new() -> Self {
        Self {
            args: Vec::new(),
            env: Vec::new(),
            stdin: Input::Null,
            stdout: Output::Null,
            stderr: Output::Null,
            directories: Vec::new(),
            sockets: Vec::new(),
            resolution: PathResolution::default(),
            limits: WasiLimits::default(),
            clocks: None,
            random: None,
            broken_pipe: BrokenPipe::default(),
            net: NetPolicy::default(),
        }
    }

    /// Adds an argument. The first is the program's name.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.args.push(arg.as_ref().as_bytes().to_vec());
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        for arg in args {
            self.arg(arg);
        }
        self
    }

    /// Sets an environment variable; the last of a name wins.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        let (name, value) = (name.as_ref().as_bytes(), value.as_ref().as_bytes().to_vec());
        match self.env.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => self.env.push((name.to_vec(), value)),
        }
        self
    }

    /// Passes on the environment of the process.
    pub fn inherit_env(&mut self) -> &mut Self {
        for (name, value) in std::env::vars_os() {
            self.env(name, value);
        }
        self
    }

    /// Sets standard input; it is empty otherwise.
    pub fn stdin(&mut self, input: Input) -> &mut Self {
        self.stdin = input;
        self
    }

    /// Sets standard output; it leads nowhere otherwise.
    pub fn stdout(&mut self, output: Output) -> &mut Self {
        self.stdout = output;
        self
    }

    /// Sets standard error; it leads nowhere otherwise.
    pub fn stderr(&mut self, output: Output) -> &mut Self {
        self.stderr = output;
        self
    }

    /// Passes on the three standard streams of the process.
    pub fn inherit_stdio(&mut self) -> &mut Self {
        self.stdin(Input::Inherit).stdout(Output::Inherit).stderr(Output::Inherit)
    }

    /// Opens `host` and shows it to the program as `guest`. Directories get the numbers from 3 on in the order of these
    /// calls.
    ///
    /// Confinement is per directory: what a program may only read through one, it may change through another that
    /// holds it too.
    ///
    /// # Errors
    ///
    /// [`BuildError::Directory`] if `host` is no directory or cannot be opened, [`BuildError::String`] for a NUL in
    /// `guest`.
    pub fn preopen_dir(&mut self, host: impl AsRef<Path>, guest: impl AsRef<OsStr>, access: DirAccess) -> Result<&mut Self, BuildError> {
        let (host, guest) = (host.as_ref(), guest.as_ref());
        if guest.as_bytes().contains(&0) {
            return Err(BuildError::String { what: "directory name", value: guest.to_string_lossy().into_owned() });
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = match rustix::fs::open(host, flags, Mode::empty()) {
            // A directory that may be passed through but not listed.
            Err(HostErrno::ACCESS) => rustix::fs::open(host, flags | OFlags::PATH, Mode::empty()),
            result => result,
        };
        let fd = opened.map_err(|error| BuildError::Directory { path: host.to_owned(), source: error.into() })?;
        self.directories.push(Directory::new(fd, access == DirAccess::ReadOnly, Some(guest.as_bytes().into())));
        Ok(self)
    }

    /// Hands a socket to the program, listening or connected. Sockets get the numbers after all directories, since
    /// programs look for their directories from 3 on and stop at the first number that is none.
    pub fn preopen_socket(&mut self, socket: impl Into<OwnedFd>) -> &mut Self {
        self.sockets.push(socket.into());
        self
    }

    /// Listens on a TCP address, and hands the socket over as [`preopen_socket`](Self::preopen_socket) does.
    ///
    /// # Errors
    ///
    /// What the host says.
    pub fn listen_tcp(&mut self, address: SocketAddr) -> io::Result<&mut Self> {
        /// Connections that wait to be accepted. Rust's own is 128, too few for a thousand that come at once.
        const BACKLOG: i32 = 4096;
        let listener = TcpListener::bind(address)?;
        rustix::net::listen(&listener, BACKLOG)?;
        Ok(self.preopen_socket(listener))
    }

    /// Says how paths are resolved.
    pub fn path_resolution(&mut self, resolution: PathResolution) -> &mut Self {
        self.resolution = resolution;
        self
    }

    /// Sets the limits.
    pub fn limits(&mut self, limits: WasiLimits) -> &mut Self {
        self.limits = limits;
        self
    }

    /// Puts other clocks in the place of the host's.
    pub fn clocks(&mut self, clocks: impl WasiClocks + 'static) -> &mut Self {
        self.clocks = Some(Box::new(clocks));
        self
    }

    /// Puts another source in the place of the host's random numbers.
    pub fn random(&mut self, random: impl WasiRandom + 'static) -> &mut Self {
        self.random = Some(Box::new(random));
        self
    }

    /// Makes runs repeat themselves: a clock that starts at a fixed moment and is moved by a microsecond at each look and by
    /// each wait, and random numbers from `seed`. What the program reads from outside is still what it is, and so is
    /// the order in which several threads do things.
    pub fn deterministic(&mut self, seed: u64) -> &mut Self {
        self.clocks(VirtualClock::default()).random(SeededRandom::new(seed))
    }

    /// Says what becomes of a program that writes to a standard stream whose reader is gone.
    pub fn broken_pipe(&mut self, broken_pipe: BrokenPipe) -> &mut Self {
        self.broken_pipe = broken_pipe;
        self
    }

    /// Lets the program reach a part of the network, with WasmEdge's socket functions.
    pub fn grant_net(&mut self, grant: NetGrant) -> &mut Self {
        self.net.0.push(grant);
        self
    }

    /// Hands over the sockets that a service manager has passed to this process (systemd's `LISTEN_FDS`), as
    /// [`preopen_socket`](Self::preopen_socket) does; says how many. Call it once in a process, before it opens sockets of its
    /// own: the descriptors are taken.
    ///
    /// # Errors
    ///
    /// [`BuildError::PassedSocket`] if the environment speaks of a descriptor that is no open socket.
    pub fn preopen_passed_sockets(&mut self) -> Result<u32, BuildError> {
        let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
        if number("LISTEN_PID") != Some(std::process::id()) {
            return Ok(0);
        }
        let count = number("LISTEN_FDS").unwrap_or(0);
        for index in 0..count {
            // The first is 3.
            let fd = i32::try_from(3 + u64::from(index)).ok().and_then(|fd| crate::host::inherited_socket(fd).ok());
            self.sockets.push(fd.ok_or(BuildError::PassedSocket { number: 3 + u64::from(index) })?);
        }
        Ok(count)
    }

    /// Builds the context. The builder is empty afterwards.
    ///
    /// # Errors
    ///
    /// [`BuildError::String`] for an argument or variable with a NUL, [`BuildError::TooManyFiles`] past the limit.
    pub fn build(&mut self) -> Result<WasiCtx, BuildError> {
        let builder = std::mem::take(self);
        let mut args = Strings::default();
        for arg in &builder.args {
            if !args.push(&[arg]) {
                let value = String::from_utf8_lossy(arg).into_owned();
                return Err(BuildError::String { what: "argument", value });
            }
        }
        let mut env = Strings::default();
        for (name, value) in &builder.env {
            if !env.push(&[name, b"=", value]) {
                let value = String::from_utf8_lossy(name).into_owned();
                return Err(BuildError::String { what: "environment variable", value });
            }
        }
        // What is handed over as input is not to be changed, even if the host would let us.
        let streams = [
            (Stream::input(builder.stdin), Rights::FILE_MUTATION),
            (Stream::output(builder.stdout, rustix::stdio::stdout()), Rights::FD_READ),
            (Stream::output(builder.stderr, rustix::stdio::stderr()), Rights::FD_READ),
        ];
        let streams = streams
            .into_iter()
            .map(|(stream, not)| Descriptor::new(Object::Stream(stream), Rights::FILE.without(not), Rights::NONE, FdFlags::NONE));
        let directories = builder.directories.into_iter().map(|directory| {
            let inheriting = Rights::FILE | Rights::DIRECTORY;
            Descriptor::new(Object::Directory(directory), Rights::DIRECTORY, inheriting, FdFlags::NONE)
        });
        let sockets = builder
            .sockets
            .into_iter()
            .map(|socket| Descriptor::new(Object::Socket(socket), Rights::SOCKET, Rights::SOCKET, FdFlags::NONE));
        let mut fds = Fds::new(builder.limits.open_files);
        for descriptor in streams.chain(directories).chain(sockets) {
            if fds.insert(descriptor).is_err() {
                return Err(BuildError::TooManyFiles { limit: builder.limits.open_files });
            }
        }
        let common = Common {
            args,
            env,
            resolution: builder.resolution,
            writable: AtomicU64::new(builder.limits.bytes_written),
            limits: builder.limits,
            clocks: builder.clocks,
            random: builder.random,
            broken_pipe: builder.broken_pipe,
            net: builder.net,
        };
        Ok(WasiCtx { fds, common: Arc::new(common), ended: None, failed: None })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::GuestMemory;
    use crate::preview1::{fd_close, fd_read, fd_renumber, fd_write};
    use crate::{OutputBuffer, WasiLimits};

    /// An iovec at 0 that points to 8 bytes at 16.
    fn memory() -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[0] = 16;
        bytes[4] = 8;
        bytes
    }

    #[test]
    fn threads_share_descriptors_and_do_not_wait_for_each_other() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let output = OutputBuffer::new(100);
        let mut builder = WasiCtxBuilder::new();
        builder.stdin(Input::Fd(reader.into())).stdout(Output::Capture(output.clone()));
        let mut ctx = builder.build().unwrap();
        let shared = ctx.share();
        let mut other = shared.context();
        let blocked = std::thread::spawn(move || {
            let mut bytes = memory();
            let result = fd_read(&mut other, &mut GuestMemory::new(&mut bytes), 0, 0, 1, 8);
            (result, bytes[8], bytes[16])
        });
        // While that reads, or is about to, everything else goes on, even with the same descriptor.
        std::thread::sleep(std::time::Duration::from_millis(20));
        let mut bytes = memory();
        let mut mem = GuestMemory::new(&mut bytes);
        assert_eq!(fd_write(&mut ctx, &mut mem, 1, 0, 1, 8), Ok(()));
        let mut third = shared.clone().context();
        assert_eq!(fd_renumber(&mut third, &mut mem, 0, 2), Ok(()));
        assert_eq!(fd_close(&mut ctx, &mut mem, 2), Ok(()));
        assert_eq!(fd_close(&mut third, &mut mem, 2), Err(Errno::BADF));
        writer.write_all(b"x").unwrap();
        assert_eq!(blocked.join().unwrap(), (Ok(()), 1, b'x'));
        assert_eq!(output.contents().len(), 8);
    }

    #[test]
    fn what_was_not_written_is_not_counted() {
        let mut limits = WasiLimits::default();
        assert!(limits.set("bytes-written", 20));
        assert!(!limits.set("bytes-read", 20));
        let output = OutputBuffer::new(12);
        let mut ctx = WasiCtxBuilder::new().limits(limits).stdout(Output::Capture(output)).build().unwrap();
        let mut bytes = memory();
        let mut mem = GuestMemory::new(&mut bytes);
        let mut write = |fd| {
            let result = fd_write(&mut ctx, &mut mem, fd, 0, 1, 8);
            result.and_then(|()| mem.read_u32(8))
        };
        assert_eq!([write(1), write(1), write(1)], [Ok(8), Ok(4), Err(Errno::NOSPC)]);
        // 12 bytes were written; 8 are left.
        assert_eq!([write(2), write(2)], [Ok(8), Err(Errno::DQUOT)]);
    }

    #[test]
    fn a_broken_pipe_can_end_the_program() {
        for broken_pipe in [BrokenPipe::Errno, BrokenPipe::End] {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let mut ctx = WasiCtxBuilder::new().stdout(Output::Fd(writer.into())).broken_pipe(broken_pipe).build().unwrap();
            let mut bytes = memory();
            let result = crate::preview1::call(&mut ctx, &mut GuestMemory::new(&mut bytes), "fd_write", &[1, 0, 1, 8]);
            let expected = if broken_pipe == BrokenPipe::End { Err(Exit(141)) } else { Ok(Errno::PIPE.number().into()) };
            assert_eq!(result, expected);
        }
    }
}
