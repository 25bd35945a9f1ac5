//! What one program may see of the host, and the builder that says so.
//!
//! Nothing is granted that was not asked for: a fresh context has no arguments, no environment, no directories, and streams
//! that lead nowhere. Building one makes no system call besides one open for each preopened directory.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno as HostErrno;

use crate::fdtable::{Descriptor, Directory, FdTable, Object};
use crate::hooks::{WasiClocks, WasiRandom};
use crate::limits::WasiLimits;
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
    /// More preopened descriptors than [`WasiLimits::open_files`] allows.
    #[error("more descriptors are preopened than the limit of {limit} open files allows")]
    TooManyFiles {
        /// The limit.
        limit: usize,
    },
}

/// The state of WASI for one program: what a host function finds in its store.
pub struct WasiCtx {
    pub(crate) args: Strings,
    pub(crate) env: Strings,
    pub(crate) fds: FdTable,
    pub(crate) resolution: PathResolution,
    pub(crate) limits: WasiLimits,
    pub(crate) clocks: Option<Box<dyn WasiClocks>>,
    pub(crate) random: Option<Box<dyn WasiRandom>>,
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
        self.directories.push(Directory {
            fd,
            read_only: access == DirAccess::ReadOnly,
            preopen: Some(guest.as_bytes().into()),
            listing: None,
        });
        Ok(self)
    }

    /// Hands a socket to the program, listening or connected. Sockets get the numbers after all directories, since
    /// programs look for their directories from 3 on and stop at the first number that is none.
    pub fn preopen_socket(&mut self, socket: impl Into<OwnedFd>) -> &mut Self {
        self.sockets.push(socket.into());
        self
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
        let streams =
            streams.into_iter().map(|(stream, not)| Descriptor::new(Object::Stream(stream), Rights::FILE.without(not), Rights::NONE));
        let directories = builder.directories.into_iter().map(|directory| {
            let inheriting = Rights::FILE | Rights::DIRECTORY;
            Descriptor::new(Object::Directory(Box::new(directory)), Rights::DIRECTORY, inheriting)
        });
        let sockets = builder.sockets.into_iter().map(|socket| Descriptor::new(Object::Socket(socket), Rights::SOCKET, Rights::SOCKET));
        let mut fds = FdTable::new(builder.limits.open_files);
        for descriptor in streams.chain(directories).chain(sockets) {
            if fds.insert(descriptor).is_err() {
                return Err(BuildError::TooManyFiles { limit: builder.limits.open_files });
            }
        }
        Ok(WasiCtx {
            args,
            env,
            fds,
            resolution: builder.resolution,
            limits: builder.limits,
            clocks: builder.clocks,
            random: builder.random,
        })
    }
}

impl Descriptor {
    fn new(object: Object, rights: Rights, inheriting: Rights) -> Self {
        Self { object, rights, inheriting, flags: FdFlags::NONE, imitated: FdFlags::NONE }
    }
}
