//! Standard streams: the process's own, a descriptor of the embedder's, or bytes in memory.
//!
//! A stream that has a descriptor is read and written directly. One that has none is for tests and embedding; it is
//! always ready unless it is a pipe, and never the fast path.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{EventfdFlags, PollFd, PollFlags};
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
    /// What the embedder writes to a pipe in memory, until it closes it. It blocks and can be polled.
    Pipe(InputPipe),
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

/// A pipe in memory from the embedder to a program's standard input. Clones are the same pipe.
#[derive(Clone)]
pub struct InputPipe(Arc<Pipe>);

struct Pipe {
    state: Mutex<PipeState>,
    /// Readable as long as there are bytes or the pipe is closed, so that it can be waited for together with what the host
    /// has descriptors of.
    ready: OwnedFd,
}

#[derive(Default)]
struct PipeState {
    bytes: VecDeque<u8>,
    closed: bool,
}

impl InputPipe {
    /// An empty pipe.
    ///
    /// # Errors
    ///
    /// If the host has no more descriptors.
    pub fn new() -> std::io::Result<Self> {
        let ready = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(Pipe { state: Mutex::default(), ready })))
    }

    /// Adds bytes; wakes whoever waits for them. Bytes behind the end are dropped.
    pub fn write(&self, bytes: &[u8]) {
        let mut state = self.lock();
        if bytes.is_empty() || state.closed {
            return;
        }
        if state.bytes.is_empty() {
            self.announce();
        }
        state.bytes.extend(bytes);
    }

    /// Ends the input: when everything is read, there is nothing more.
    pub fn close(&self) {
        let mut state = self.lock();
        if !state.closed && state.bytes.is_empty() {
            self.announce();
        }
        state.closed = true;
    }

    /// Bytes that nobody has read.
    pub fn unread(&self) -> usize {
        self.lock().bytes.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, PipeState> {
        // Nothing in here panics between two states that fit together.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self) {
        // It counts to 1 and no further, so it cannot be full.
        let _ = rustix::io::write(&self.0.ready, &1_u64.to_ne_bytes());
    }

    /// Reads what there is; waits until there is something, or is `AGAIN`.
    pub(crate) fn read(&self, regions: &[Region<'_>], wait: bool) -> Result<usize, Errno> {
        if regions.iter().all(|region| region.len() == 0) {
            return Ok(0);
        }
        loop {
            let mut state = self.lock();
            if !state.bytes.is_empty() || state.closed {
                let mut read = 0;
                for region in regions {
                    let len = region.len().min(state.bytes.len());
                    let bytes: Vec<u8> = state.bytes.drain(..len).collect();
                    read += region.copy_in(0, &bytes);
                }
                if state.bytes.is_empty() && !state.closed {
                    // Nothing else reads it, and it does not block.
                    let _ = rustix::io::read(&self.0.ready, &mut [0_u8; 8]);
                }
                return Ok(read);
            }
            drop(state);
            if !wait {
                return Err(Errno::AGAIN);
            }
            rustix::event::poll(&mut [PollFd::new(&self.0.ready, PollFlags::IN)], None)?;
        }
    }

    pub(crate) fn ready(&self) -> BorrowedFd<'_> {
        self.0.ready.as_fd()
    }
}

/// A standard stream in the descriptor table.
pub(crate) enum Stream {
    /// Of the process.
    Inherited(BorrowedFd<'static>),
    /// Of the embedder.
    Fd(OwnedFd),
    /// In memory, from the embedder.
    Pipe(InputPipe),
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
            Input::Pipe(pipe) => Self::Pipe(pipe),
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
            Self::Pipe(_) | Self::Virtual(_) => None,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WasiCtxBuilder;
    use crate::preview1::{call, fd_fdstat_set_flags};
    use crate::testing::Guest;

    #[test]
    fn a_pipe_blocks_ends_and_is_polled() {
        let pipe = InputPipe::new().unwrap();
        let mut guest = Guest::with(WasiCtxBuilder::new().stdin(Input::Pipe(pipe.clone())).build().unwrap());
        pipe.write(b"");
        pipe.write(b"abc");
        pipe.write(b"def");
        assert_eq!(guest.read(0, 4).unwrap(), b"abcd");
        assert_eq!((pipe.unread(), guest.read(0, 4).unwrap()), (2, b"ef".to_vec()));
        let (ctx, mut mem) = guest.parts();
        assert_eq!(fd_fdstat_set_flags(ctx, &mut mem, 0, 4), Ok(()));
        assert_eq!(guest.read(0, 4), Err(Errno::AGAIN));
        // A read and a clock of a millisecond.
        let poll = |guest: &mut Guest| {
            let (ctx, mut mem) = guest.parts();
            mem.write(1024, &[0; 96]).unwrap();
            mem.write(1024, &[7]).unwrap();
            mem.write(1032, &[1]).unwrap();
            mem.write_u32(1072 + 16, 1).unwrap();
            mem.write_u64(1072 + 24, 1_000_000).unwrap();
            assert_eq!(call(ctx, &mut mem, "poll_oneoff", &[1024, 2048, 2, 0]), Ok(0));
            (mem.read_u32(0).unwrap(), mem.read_u8(2048).unwrap(), mem.read_u64(2064).unwrap())
        };
        assert_eq!(poll(&mut guest), (1, 0, 0));
        pipe.write(b"xyz");
        assert_eq!(poll(&mut guest), (1, 7, 3));
        assert_eq!(guest.read(0, 9).unwrap(), b"xyz");
        let (ctx, mut mem) = guest.parts();
        assert_eq!(fd_fdstat_set_flags(ctx, &mut mem, 0, 0), Ok(()));
        let late = std::thread::spawn({
            let pipe = pipe.clone();
            move || {
                std::thread::sleep(std::time::Duration::from_millis(20));
                pipe.write(b"late");
                std::thread::sleep(std::time::Duration::from_millis(20));
                pipe.close();
                pipe.write(b"lost");
            }
        });
        assert_eq!(guest.read(0, 9).unwrap(), b"late");
        assert_eq!(guest.read(0, 9).unwrap(), b"");
        late.join().unwrap();
        assert_eq!(guest.read(0, 9).unwrap(), b"");
        assert_eq!(poll(&mut guest).1, 7);
        assert_eq!(guest.write(0, b"x"), Err(Errno::BADF));
    }

    #[test]
    fn runs_of_one_seed_see_one_clock() {
        let times = |guest: &mut Guest| {
            (0..4)
                .map(|_| {
                    let (ctx, mut mem) = guest.parts();
                    assert_eq!(call(ctx, &mut mem, "clock_time_get", &[0, 0, 0]), Ok(0));
                    mem.read_u64(0).unwrap()
                })
                .collect::<Vec<_>>()
        };
        let mut guests = [1, 1].map(|seed| Guest::with(WasiCtxBuilder::new().deterministic(seed).build().unwrap()));
        let [first, second] = guests.each_mut().map(times);
        assert_eq!(first, second);
        assert_eq!(first[0], crate::VirtualClock::START);
        assert!(first.is_sorted() && first[0] < first[3]);
    }
}
