//! Standard streams: the process's own, a descriptor of the embedder's, or bytes in memory.
//!
//! A stream that has a descriptor is read and written directly. One that has none is for tests and embedding; it is
//! always ready unless it is a pipe, and never the fast path.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::errno::Errno;
use crate::guest::{COPY_CHUNK, Region};

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

    /// Adds what fits of `bytes`, and says how much.
    fn write(&self, bytes: &[u8]) -> usize {
        let mut held = self.lock();
        let fits = bytes.len().min(self.limit.saturating_sub(held.len()));
        held.extend_from_slice(&bytes[..fits]);
        fits
    }
}

/// A standard stream in the descriptor table.
pub(crate) enum Stream {
    /// Of the process.
    Inherited(BorrowedFd<'static>),
    /// Of the embedder.
    Fd(OwnedFd),
    /// Without a descriptor.
    Virtual(Mutex<Virtual>),
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
        Self::Virtual(Mutex::new(Virtual::Null))
    }

    pub(crate) fn input(input: Input) -> Self {
        match input {
            Input::Inherit => Self::Inherited(rustix::stdio::stdin()),
            Input::Null => Self::null(),
            Input::Bytes(bytes) => Self::Virtual(Mutex::new(Virtual::Bytes { bytes, at: 0 })),
            Input::Fd(fd) => Self::Fd(fd),
            Input::Reader(reader) => Self::Virtual(Mutex::new(Virtual::Reader(reader))),
        }
    }

    pub(crate) fn output(output: Output, inherited: BorrowedFd<'static>) -> Self {
        match output {
            Output::Inherit => Self::Inherited(inherited),
            Output::Null => Self::null(),
            Output::Capture(buffer) => Self::Virtual(Mutex::new(Virtual::Capture(buffer))),
            Output::Fd(fd) => Self::Fd(fd),
            Output::Writer(writer) => Self::Virtual(Mutex::new(Virtual::Writer(writer))),
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

    /// Reads from a stream without a descriptor into the first buffer with room, which a stream may leave half full.
    #[cold]
    pub(crate) fn read(stream: &Mutex<Virtual>, regions: &[Region<'_>]) -> Result<usize, Errno> {
        let Some(region) = regions.iter().find(|region| region.len() > 0) else { return Ok(0) };
        let mut stream = lock(stream);
        match &mut *stream {
            Virtual::Null => Ok(0),
            Virtual::Bytes { bytes, at } => {
                let mut read = 0;
                for region in regions {
                    read += region.copy_in(0, bytes.get(*at + read..).unwrap_or_default());
                }
                *at += read;
                Ok(read)
            }
            Virtual::Reader(reader) => {
                // The memory may change while the embedder's code runs, so it never sees it.
                let mut buffer = vec![0; region.len().min(COPY_CHUNK)];
                let read = reader.read(&mut buffer)?;
                Ok(region.copy_in(0, buffer.get(..read).ok_or(Errno::IO)?))
            }
            Virtual::Capture(_) | Virtual::Writer(_) => Err(Errno::BADF),
        }
    }

    /// Writes to a stream without a descriptor, until all is written or it takes no more.
    #[cold]
    pub(crate) fn write(stream: &Mutex<Virtual>, regions: &[Region<'_>]) -> Result<usize, Errno> {
        let mut stream = lock(stream);
        let mut buffer = Vec::new();
        let mut written = 0;
        for region in regions {
            let mut at = 0;
            while at < region.len() {
                buffer.resize((region.len() - at).min(COPY_CHUNK), 0);
                region.copy_out(at, &mut buffer);
                let step = match &mut *stream {
                    Virtual::Null => Ok(buffer.len()),
                    Virtual::Capture(capture) => match capture.write(&buffer) {
                        0 => Err(Errno::NOSPC),
                        step => Ok(step),
                    },
                    Virtual::Writer(writer) => match writer.write(&buffer) {
                        Ok(0) => Err(Errno::PIPE),
                        result => result.map_err(Errno::from),
                    },
                    Virtual::Bytes { .. } | Virtual::Reader(_) => Err(Errno::BADF),
                };
                match step {
                    // More than it got it cannot have taken.
                    Ok(step) => at += step.min(buffer.len()),
                    Err(error) if written + at == 0 => return Err(error),
                    Err(_) => return Ok(written + at),
                }
            }
            written += at;
        }
        Ok(written)
    }
}

fn lock(stream: &Mutex<Virtual>) -> std::sync::MutexGuard<'_, Virtual> {
    // If the embedder's code panicked, what it left is its own affair.
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}
