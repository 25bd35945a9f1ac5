//! Standard streams: the process's own, a descriptor of the embedder's, or bytes in memory.
//!
//! A stream that has a descriptor is read and written directly. One that has none is for tests and embedding; it is
//! always ready, and never the fast path.

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::errno::Errno;

/// Where standard input comes from.
#[non_exhaustive]
pub enum Input {
    /// The process's own standard input.
    Inherit,
    /// Nothing: always at its end.
    Null,
    /// These bytes.
    Bytes(Vec<u8>),
    /// A descriptor of the host.
    Fd(OwnedFd),
    /// A reader of the embedder's. A poll takes it to be ready.
    Reader(Box<dyn Read + Send>),
}

/// Where standard output or standard error goes.
#[non_exhaustive]
pub enum Output {
    /// The process's own stream of the same name.
    Inherit,
    /// Nowhere.
    Null,
    /// Into memory, to be looked at later.
    Capture(OutputBuffer),
    /// A descriptor of the host.
    Fd(OwnedFd),
    /// A writer of the embedder's. A poll takes it to be ready.
    Writer(Box<dyn Write + Send>),
}

/// Output captured in memory, up to a limit. Clones share the bytes.
#[derive(Clone)]
pub struct OutputBuffer {
    bytes: Arc<Mutex<Vec<u8>>>,
    limit: usize,
}

impl OutputBuffer {
    /// An empty buffer; a program that writes more than `limit` bytes to it gets `NOSPC`.
    pub fn new(limit: usize) -> Self {
        Self { bytes: Arc::default(), limit }
    }

    /// A copy of what has been written.
    pub fn contents(&self) -> Vec<u8> {
        self.lock().clone()
    }

    /// What has been written since the last `take`.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        // Bytes cannot be half-written.
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, buffers: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let mut bytes = self.lock();
        let mut written = 0;
        for buffer in buffers {
            let fits = buffer.len().min(self.limit.saturating_sub(bytes.len()));
            bytes.extend_from_slice(&buffer[..fits]);
            written += fits;
        }
        if written == 0 && buffers.iter().any(|buffer| !buffer.is_empty()) { Err(Errno::NOSPC) } else { Ok(written) }
    }
}

/// A standard stream in the descriptor table.
pub(crate) enum Stream {
    /// Of the process.
    Inherited(BorrowedFd<'static>),
    /// Of the embedder.
    Fd(OwnedFd),
    /// Without a descriptor.
    Virtual(Box<Virtual>),
}

/// A stream without a descriptor.
pub(crate) enum Virtual {
    Null,
    Bytes { bytes: Vec<u8>, at: usize },
    Reader(Box<dyn Read + Send>),
    Capture(OutputBuffer),
    Writer(Box<dyn Write + Send>),
}

impl Stream {
    pub(crate) fn null() -> Self {
        Self::Virtual(Box::new(Virtual::Null))
    }

    pub(crate) fn input(input: Input) -> Self {
        match input {
            Input::Inherit => Self::Inherited(rustix::stdio::stdin()),
            Input::Null => Self::null(),
            Input::Bytes(bytes) => Self::Virtual(Box::new(Virtual::Bytes { bytes, at: 0 })),
            Input::Fd(fd) => Self::Fd(fd),
            Input::Reader(reader) => Self::Virtual(Box::new(Virtual::Reader(reader))),
        }
    }

    pub(crate) fn output(output: Output, inherited: BorrowedFd<'static>) -> Self {
        match output {
            Output::Inherit => Self::Inherited(inherited),
            Output::Null => Self::null(),
            Output::Capture(buffer) => Self::Virtual(Box::new(Virtual::Capture(buffer))),
            Output::Fd(fd) => Self::Fd(fd),
            Output::Writer(writer) => Self::Virtual(Box::new(Virtual::Writer(writer))),
        }
    }

    #[inline]
    pub(crate) fn host(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Inherited(fd) => Some(*fd),
            Self::Fd(fd) => Some(fd.as_fd()),
            Self::Virtual(_) => None,
        }
    }

    pub(crate) fn read(&mut self, buffers: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
        let Self::Virtual(stream) = self else { return Err(Errno::BADF) };
        match &mut **stream {
            Virtual::Null => Ok(0),
            Virtual::Bytes { bytes, at } => {
                let mut rest = bytes.get(*at..).unwrap_or_default();
                let read = rest.read_vectored(buffers)?;
                *at += read;
                Ok(read)
            }
            Virtual::Reader(reader) => Ok(reader.read_vectored(buffers)?),
            Virtual::Capture(_) | Virtual::Writer(_) => Err(Errno::BADF),
        }
    }

    pub(crate) fn write(&mut self, buffers: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let Self::Virtual(stream) = self else { return Err(Errno::BADF) };
        match &mut **stream {
            Virtual::Null => Ok(buffers.iter().map(|buffer| buffer.len()).sum()),
            Virtual::Capture(buffer) => buffer.write(buffers),
            Virtual::Writer(writer) => Ok(writer.write_vectored(buffers)?),
            Virtual::Bytes { .. } | Virtual::Reader(_) => Err(Errno::BADF),
        }
    }
}
