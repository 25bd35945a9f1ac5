//! The 46 functions of `wasi_snapshot_preview1`, a file a family, and the one list that names them all.
//!
//! Each is a plain function: context, memory, then the parameters of the specification with pointers and lengths as 64-bit
//! numbers. `Ok(())` is the errno 0. Linking, calling by number and tracing expand the list and nothing else, so
//! that none of them can disagree about a parameter.

// The specification decides how many parameters a function has.
#![allow(clippy::too_many_arguments)]

mod args;
mod clock;
mod environ;
mod fd;
mod fdstat;
mod path;
mod poll;
mod proc;
pub(crate) mod quick;
mod random;
mod readdir;
mod sched;
mod sock;
pub mod unstable;
pub mod wasmedge;

pub use args::{args_get, args_sizes_get};
pub use clock::{clock_res_get, clock_time_get};
pub use environ::{environ_get, environ_sizes_get};
pub use fd::{fd_close, fd_datasync, fd_pread, fd_pwrite, fd_read, fd_renumber, fd_seek, fd_sync, fd_tell, fd_write};
pub use fdstat::{
    fd_advise, fd_allocate, fd_fdstat_get, fd_fdstat_set_flags, fd_fdstat_set_rights, fd_filestat_get, fd_filestat_set_size,
    fd_filestat_set_times, fd_prestat_dir_name, fd_prestat_get,
};
pub use path::{
    path_create_directory, path_filestat_get, path_filestat_set_times, path_link, path_open, path_readlink, path_remove_directory,
    path_rename, path_symlink, path_unlink_file,
};
pub use poll::poll_oneoff;
pub use proc::{Exit, proc_exit, proc_raise};
pub use random::random_get;
pub use readdir::fd_readdir;
pub use sched::sched_yield;
pub use sock::{sock_accept, sock_recv, sock_send, sock_shutdown};

pub(crate) use proc::signal_name;
pub(crate) use readdir::Listing;

use crate::ctx::WasiCtx;
use crate::errno::Errno;
use crate::guest::GuestMemory;

/// The module name under which programs import these functions.
pub const MODULE: &str = "wasi_snapshot_preview1";

/// The list: `returns name(parameter: Kind, …);` where `returns` is `errno`, or `exit` for the one function that does not
/// return. Expands `$expand!` with what stands before the list, then the list.
#[macro_export]
macro_rules! for_each_preview1_function {
    ($expand:path $(, $before:tt)*) => {
        $expand! {
            $($before)*
            errno args_get(argv: Pointer, argv_buf: Pointer);
            errno args_sizes_get(argc: Pointer, argv_buf_size: Pointer);
            errno environ_get(environ: Pointer, environ_buf: Pointer);
            errno environ_sizes_get(environc: Pointer, environ_buf_size: Pointer);
            errno clock_res_get(id: Word, resolution: Pointer);
            errno clock_time_get(id: Word, precision: Long, time: Pointer);
            errno fd_advise(fd: Fd, offset: Long, len: Long, advice: Word);
            errno fd_allocate(fd: Fd, offset: Long, len: Long);
            errno fd_close(fd: Fd);
            errno fd_datasync(fd: Fd);
            errno fd_fdstat_get(fd: Fd, stat: Pointer);
            errno fd_fdstat_set_flags(fd: Fd, flags: Flags);
            errno fd_fdstat_set_rights(fd: Fd, fs_rights_base: Long, fs_rights_inheriting: Long);
            errno fd_filestat_get(fd: Fd, stat: Pointer);
            errno fd_filestat_set_size(fd: Fd, size: Long);
            errno fd_filestat_set_times(fd: Fd, atim: Long, mtim: Long, fst_flags: Flags);
            errno fd_pread(fd: Fd, iovs: Pointer, iovs_len: Size, offset: Long, nread: Pointer);
            errno fd_prestat_get(fd: Fd, prestat: Pointer);
            errno fd_prestat_dir_name(fd: Fd, path: Pointer, path_len: Size);
            errno fd_pwrite(fd: Fd, iovs: Pointer, iovs_len: Size, offset: Long, nwritten: Pointer);
            errno fd_read(fd: Fd, iovs: Pointer, iovs_len: Size, nread: Pointer);
            errno fd_readdir(fd: Fd, buf: Pointer, buf_len: Size, cookie: Long, bufused: Pointer);
            errno fd_renumber(fd: Fd, to: Fd);
            errno fd_seek(fd: Fd, offset: SignedLong, whence: Word, newoffset: Pointer);
            errno fd_sync(fd: Fd);
            errno fd_tell(fd: Fd, offset: Pointer);
            errno fd_write(fd: Fd, iovs: Pointer, iovs_len: Size, nwritten: Pointer);
            errno path_create_directory(fd: Fd, path: Pointer, path_len: Size);
            errno path_filestat_get(fd: Fd, flags: Flags, path: Pointer, path_len: Size, stat: Pointer);
            errno path_filestat_set_times(
                fd: Fd, flags: Flags, path: Pointer, path_len: Size, atim: Long, mtim: Long, fst_flags: Flags
            );
            errno path_link(
                old_fd: Fd, old_flags: Flags, old_path: Pointer, old_path_len: Size,
                new_fd: Fd, new_path: Pointer, new_path_len: Size
            );
            errno path_open(
                fd: Fd, dirflags: Flags, path: Pointer, path_len: Size, oflags: Flags,
                fs_rights_base: Long, fs_rights_inheriting: Long, fdflags: Flags, opened_fd: Pointer
            );
            errno path_readlink(
                fd: Fd, path: Pointer, path_len: Size, buf: Pointer, buf_len: Size, bufused: Pointer
            );
            errno path_remove_directory(fd: Fd, path: Pointer, path_len: Size);
            errno path_rename(
                fd: Fd, old_path: Pointer, old_path_len: Size, new_fd: Fd, new_path: Pointer, new_path_len: Size
            );
            errno path_symlink(
                old_path: Pointer, old_path_len: Size, fd: Fd, new_path: Pointer, new_path_len: Size
            );
            errno path_unlink_file(fd: Fd, path: Pointer, path_len: Size);
            errno poll_oneoff(subscriptions: Pointer, events: Pointer, nsubscriptions: Size, nevents: Pointer);
            exit proc_exit(code: Word);
            errno proc_raise(signal: Word);
            errno sched_yield();
            errno random_get(buf: Pointer, buf_len: Size);
            errno sock_accept(fd: Fd, flags: Flags, connection: Pointer);
            errno sock_recv(
                fd: Fd, ri_data: Pointer, ri_data_len: Size, ri_flags: Flags, ro_datalen: Pointer, ro_flags: Pointer
            );
            errno sock_send(fd: Fd, si_data: Pointer, si_data_len: Size, si_flags: Flags, so_datalen: Pointer);
            errno sock_shutdown(fd: Fd, how: Flags);
        }
    };
}

/// What a parameter is, which decides its WebAssembly type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamKind {
    /// A descriptor: `i32`.
    Fd,
    /// An address: `i32`, or `i64` in a 64-bit memory.
    Pointer,
    /// A number of bytes or elements in memory, typed as an address.
    Size,
    /// A set of flags: `i32`.
    Flags,
    /// A number or the case of an enumeration: `i32`.
    Word,
    /// An unsigned number: `i64`.
    Long,
    /// A signed number: `i64`.
    SignedLong,
}

impl ParamKind {
    /// Whether it is an `i64` where memories are 32-bit; otherwise it is an `i32`.
    pub const fn is_i64(self) -> bool {
        matches!(self, Self::Long | Self::SignedLong)
    }

    /// Whether it is an `i64` where memories are 64-bit.
    pub const fn is_i64_in_wide_memories(self) -> bool {
        matches!(self, Self::Long | Self::SignedLong | Self::Pointer | Self::Size)
    }
}

/// The types by which the list's kinds are known in expansions: `Wasm` is what crosses the boundary, `Host` what the
/// functions here take.
pub mod kind {
    /// How a value crosses the boundary.
    pub trait Kind {
        /// The WebAssembly type.
        type Wasm;
        /// The type here.
        type Host;
        /// From there to here.
        fn lift(value: Self::Wasm) -> Self::Host;
        /// From a cell of an array call. The upper half of what is an `i32` in every program is undefined; pointers and sizes
        /// come extended with zeros.
        fn lift_cell(cell: u64) -> Self::Host;
    }

    macro_rules! kinds {
        ($($(#[$doc:meta])* $name:ident: $wasm:ty as $unsigned:ty, $cell:ty => $host:ty;)*) => {
            $($(#[$doc])*
            #[derive(Debug)]
            pub enum $name {}
            impl Kind for $name {
                type Wasm = $wasm;
                type Host = $host;
                #[inline(always)]
                fn lift(value: $wasm) -> $host {
                    value as $unsigned as $host
                }
                #[inline(always)]
                fn lift_cell(cell: u64) -> $host {
                    cell as $cell as $host
                }
            })*
        };
    }

    kinds! {
        /// See [`ParamKind::Fd`](super::ParamKind::Fd).
        Fd: i32 as u32, u32 => u32;
        /// See [`ParamKind::Pointer`](super::ParamKind::Pointer).
        Pointer: i32 as u32, u64 => u64;
        /// See [`ParamKind::Size`](super::ParamKind::Size).
        Size: i32 as u32, u64 => u64;
        /// See [`ParamKind::Flags`](super::ParamKind::Flags).
        Flags: i32 as u32, u32 => u32;
        /// See [`ParamKind::Word`](super::ParamKind::Word).
        Word: i32 as u32, u32 => u32;
        /// See [`ParamKind::Long`](super::ParamKind::Long).
        Long: i64 as u64, u64 => u64;
        /// See [`ParamKind::SignedLong`](super::ParamKind::SignedLong).
        SignedLong: i64 as u64, u64 => i64;
    }
}

/// A function of the list.
#[derive(Debug)]
pub struct FunctionInfo {
    /// Its name, which programs import.
    pub name: &'static str,
    /// Its parameters, each with its name.
    pub params: &'static [(&'static str, ParamKind)],
    /// Whether it returns an errno; `proc_exit` returns nothing.
    pub returns_errno: bool,
    /// Calls it with its arguments as cells of 64 bits; too few are `INVAL`.
    pub call: fn(&mut WasiCtx, &mut GuestMemory<'_>, &[u64]) -> Completion,
}

impl FunctionInfo {
    /// Whether it has another type in programs with 64-bit memories.
    pub(crate) fn has_addresses(&self) -> bool {
        self.params.iter().any(|(_, kind)| matches!(kind, ParamKind::Pointer | ParamKind::Size))
    }
}

/// What a call came to: an errno (0 for success), or the end of the program.
pub type Completion = Result<u32, Exit>;

/// How each kind of function ends.
pub(crate) trait Complete {
    fn complete(self, ctx: &mut WasiCtx) -> Completion;
}

impl Complete for Result<(), Errno> {
    #[inline(always)]
    fn complete(self, ctx: &mut WasiCtx) -> Completion {
        match self {
            Ok(()) => Ok(0),
            Err(errno) => failed(ctx, errno),
        }
    }
}

/// A call that failed, perhaps because the program is to end.
#[cold]
fn failed(ctx: &mut WasiCtx, errno: Errno) -> Completion {
    match ctx.ended.take() {
        Some(exit) => Err(exit),
        None => Ok(errno.number().into()),
    }
}

impl Complete for Exit {
    fn complete(self, _: &mut WasiCtx) -> Completion {
        Err(self)
    }
}

/// Makes the table of a list.
macro_rules! define_list {
    ($($returns:ident $name:ident($($param:ident: $kind:ident),*);)*) => {
        /// All functions, in the order of the list.
        pub static FUNCTIONS: &[FunctionInfo] = &[
            $(define_list!(@info $returns $name stringify!($name), $($param: $kind),*)),*
        ];
    };
    (@info $returns:ident $name:ident $import:expr, $($param:ident: $kind:ident),*) => {
        $crate::preview1::FunctionInfo {
            name: $import,
            params: &[$((stringify!($param), $crate::preview1::ParamKind::$kind)),*],
            returns_errno: $crate::preview1::define_list!(@$returns),
            call: {
                fn call(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, arguments: &[u64]) -> $crate::preview1::Completion {
                    let Some(&[$($param),*]) = arguments.first_chunk() else {
                        return Ok(Errno::INVAL.number().into());
                    };
                    let result = $name(ctx, mem, $(<$crate::preview1::kind::$kind as $crate::preview1::kind::Kind>::lift_cell($param)),*);
                    $crate::preview1::Complete::complete(result, ctx)
                }
                call
            },
        }
    };
    (@errno) => { true };
    (@exit) => { false };
}
pub(crate) use define_list;

/// Calls a function by its name with its arguments as cells of 64 bits: for engines whose host calls carry no types, for
/// replaying a trace, for fuzzing.
///
/// # Errors
///
/// [`Exit`] if the program asked to end. A name that is not in the list is the errno `NOSYS`, too few arguments are `INVAL`.
pub fn call(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, name: &str, arguments: &[u64]) -> Completion {
    match FUNCTIONS.iter().find(|function| function.name == name) {
        Some(function) => (function.call)(ctx, mem, arguments),
        None => Ok(Errno::NOSYS.number().into()),
    }
}

for_each_preview1_function!(define_list);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctx::WasiCtxBuilder;

    #[test]
    fn the_list_is_the_specification() {
        assert_eq!(FUNCTIONS.len(), 46);
        let signatures = |name: &str| {
            let function = FUNCTIONS.iter().find(|function| function.name == name).unwrap();
            function.params.iter().map(|(_, kind)| if kind.is_i64() { 'I' } else { 'i' }).collect::<String>()
        };
        assert_eq!(signatures("path_open"), "iiiiiIIii");
        assert_eq!(signatures("fd_seek"), "iIii");
        assert_eq!(signatures("fd_readdir"), "iiiIi");
        assert_eq!(signatures("path_filestat_set_times"), "iiiiIIi");
        assert_eq!(signatures("clock_time_get"), "iIi");
        assert_eq!(signatures("fd_pread"), "iiiIi");
    }

    #[test]
    fn no_argument_of_any_function_panics() {
        let mut ctx = WasiCtxBuilder::new().build().unwrap();
        let mut memory = vec![0; 256];
        let interesting = [0, 1, 2, 3, 8, 255, 256, u64::from(u32::MAX), 1 << 31, 1 << 63, u64::MAX];
        for function in FUNCTIONS {
            for first in interesting {
                for rest in interesting {
                    let mut arguments = vec![rest; function.params.len()];
                    if let Some(argument) = arguments.first_mut() {
                        *argument = first;
                    }
                    // Whatever it says, it says it.
                    let _ = call(&mut ctx, &mut GuestMemory::new(&mut memory), function.name, &arguments);
                }
            }
        }
    }

    #[test]
    fn no_sequence_of_calls_panics() {
        struct NoWaiting;
        impl crate::WasiClocks for NoWaiting {
            fn now(&self, _: crate::types::ClockId) -> Result<u64, Errno> {
                Ok(5)
            }
            fn resolution(&self, _: crate::types::ClockId) -> Result<u64, Errno> {
                Ok(1)
            }
            fn sleep(&self, _: std::time::Duration) {}
        }
        let dir = crate::testing::TestDir::new();
        dir.dir("inside/a").file("inside/a/file", "text").link("inside/a/link", "../../outside").file("outside", "secret");
        let mut builder = WasiCtxBuilder::new();
        builder.clocks(NoWaiting).stdin(crate::Input::Bytes(vec![1; 1000]));
        for access in [crate::DirAccess::ReadWrite, crate::DirAccess::ReadOnly] {
            builder.preopen_dir(dir.path("inside"), "/", access).unwrap();
        }
        let mut ctx = builder.build().unwrap();
        // Paths, lists and buffers lie where small numbers point.
        let mut memory = vec![0; 4096];
        let words: &[&[u8]] = &[b"a/link", b"a/file", b"a/new", b"..", b"/", b"a/../b", b"c/", b"\0", b"a"];
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..30_000 {
            let function = &FUNCTIONS[random() as usize % FUNCTIONS.len()];
            // It could fill the disk.
            if function.name == "fd_allocate" {
                continue;
            }
            let word = words[random() as usize % words.len()];
            let at = random() as usize % 64;
            memory[at..at + word.len()].copy_from_slice(word);
            memory[64 + random() as usize % 64] = random() as u8;
            let arguments: Vec<u64> = (0..function.params.len())
                .map(|_| match random() % 8 {
                    0..4 => random() % 8,
                    4..6 => random() % 128,
                    6 => random() % 8192,
                    _ => random(),
                })
                .collect();
            let _ = call(&mut ctx, &mut GuestMemory::new(&mut memory), function.name, &arguments);
        }
        assert_eq!(std::fs::read(dir.path("outside")).unwrap(), b"secret");
        let mut names: Vec<_> = std::fs::read_dir(dir.path(".")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["inside", "outside"]);
    }

    #[test]
    fn calls_by_name_end_in_all_three_ways() {
        let mut ctx = WasiCtxBuilder::new().build().unwrap();
        let mut memory = [];
        assert_eq!(call(&mut ctx, &mut GuestMemory::new(&mut memory), "fd_close", &[]), Ok(28));
        assert_eq!(call(&mut ctx, &mut GuestMemory::new(&mut memory), "fd_dup", &[]), Ok(52));
        assert_eq!(call(&mut ctx, &mut GuestMemory::new(&mut memory), "proc_exit", &[7]), Err(Exit(7)));
    }
}
