//! WASI preview1 for wasmc: what a program may see of the host, and the 46 functions through which it sees it.
//!
//! The semantics are plain functions over a [`WasiCtx`] (what the program may reach) and a [`GuestMemory`] (the
//! program's memory, checked on every access). They know nothing of a runtime, so they are tested without one.
//! One list, in [`preview1`], names every function with its parameters; linking and tracing expand it.
//!
//! Confinement is the kernel's: a path is resolved beneath the directory that the program named, or not at all.
//! Nothing here trusts a number, a pointer or a path from the program.
//!
//! ```
//! use wasmc_wasi::{GuestMemory, OutputBuffer, Output, WasiCtxBuilder, preview1};
//!
//! # fn main() -> Result<(), wasmc_wasi::BuildError> {
//! let captured = OutputBuffer::new(1 << 20);
//! let mut builder = WasiCtxBuilder::new();
//! builder.arg("program").env("LANG", "C").stdout(Output::Capture(captured.clone()));
//! let mut ctx = builder.build()?;
//!
//! // What a program does when it prints: an iovec at 0 that points to "hi\n" at 8; the count goes to 16.
//! let mut memory = vec![0; 64];
//! memory[0] = 8;
//! memory[4] = 3;
//! memory[8..11].copy_from_slice(b"hi\n");
//! preview1::fd_write(&mut ctx, &mut GuestMemory::new(&mut memory), 1, 0, 1, 16).unwrap();
//! assert_eq!(captured.contents(), b"hi\n");
//! # Ok(())
//! # }
//! ```

#![deny(missing_docs)]
#![deny(unsafe_code)]

mod ctx;
mod errno;
mod fdtable;
mod guest;
mod hooks;
mod host;
mod limits;
mod link;
mod net;
mod position;
pub mod preview1;
mod sandbox;
mod stdio;
mod strings;
#[cfg(test)]
mod testing;
mod threads;
mod trace;
pub mod types;

pub use ctx::{BrokenPipe, BuildError, DirAccess, WasiCtx, WasiCtxBuilder, WasiShared};
pub use errno::Errno;
pub use guest::GuestMemory;
pub use hooks::{SeededRandom, VirtualClock, WasiClocks, WasiRandom};
pub use limits::WasiLimits;
pub use link::{add_imports_to_linker, add_to_linker};
pub use net::NetGrant;
pub use preview1::Exit;
pub use sandbox::PathResolution;
pub use stdio::{Input, InputPipe, Output, OutputBuffer};
pub use threads::{DEFAULT_MAX_THREADS, ThreadsError, WasiThreads, define_shared_memories, needs_threads};
pub use trace::Tracer;
