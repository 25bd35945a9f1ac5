//! Calls as a person wants to see them: what `wasmc run --trace wasi` prints, in the form of strace. A line a call, with
//! the names of flags, paths, the first bytes of buffers, what was written back, the result and how long it took.
//!
//! What a parameter means is told by its name in the list; a name that is not known here is printed as a number. Everything is
//! read with the program's own pointers, checked as in the calls, after the call as well as before.

use std::fmt::Write as _;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ctx::WasiCtx;
use crate::errno::Errno;
use crate::guest::GuestMemory;
use crate::preview1::{Completion, Exit, FunctionInfo, signal_name};
use crate::types::{FdFlags, FstFlags, LookupFlags, OpenFlags, RecvFlags, Rights, ShutdownFlags, size};

/// Bytes of a buffer or a string that are shown.
const SHOWN: usize = 32;
/// Buffers of a list, or subscriptions of a poll, that are shown.
const SHOWN_ELEMENTS: u64 = 4;
/// Rights that are named; more are a number.
const SHOWN_RIGHTS: u32 = 4;

/// Where calls are reported to.
pub struct Tracer {
    sink: Mutex<Box<dyn Write + Send>>,
}

impl Tracer {
    /// A tracer that writes a line a call to `sink`. What cannot be written is lost.
    pub fn new(sink: impl Write + Send + 'static) -> Self {
        Self { sink: Mutex::new(Box::new(sink)) }
    }

    /// Calls a function and reports it.
    pub(crate) fn call(&self, function: &FunctionInfo, ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, cells: &[u64]) -> Completion {
        let view = View { function, cells };
        let before = view.before(mem);
        let start = Instant::now();
        let completion = (function.call)(ctx, mem, cells);
        let line = view.line(&before, mem, completion, start.elapsed());
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody is there to be told.
        let _ = sink.write_all(line.as_bytes());
        completion
    }
}

/// One call.
struct View<'a> {
    function: &'a FunctionInfo,
    cells: &'a [u64],
}

impl View<'_> {
    /// The argument with this name.
    fn argument(&self, name: &str) -> Option<u64> {
        let index = self.function.params.iter().position(|(known, _)| *known == name)?;
        self.cells.get(index).copied()
    }

    /// What has to be looked at before the call: the data that are written, paths, and subscriptions, whose place the results
    /// may take.
    fn before(&self, mem: &GuestMemory<'_>) -> Vec<Option<String>> {
        self.function.params.iter().zip(self.cells).map(|((name, _), value)| self.input(mem, name, *value)).collect()
    }

    fn input(&self, mem: &GuestMemory<'_>, name: &str, value: u64) -> Option<String> {
        let name_of = self.function.name;
        Some(match name {
            "path" | "old_path" | "new_path" | "node" | "service" if name_of != "fd_prestat_dir_name" => {
                let len = self.argument(&format!("{name}_len"))?;
                text(mem, value, len)
            }
            "iovs" if name_of.contains("write") => self.list(mem, value, u64::MAX),
            "si_data" => self.list(mem, value, u64::MAX),
            "subscriptions" => self.subscriptions(mem, value),
            _ => return None,
        })
    }

    /// A list of buffers, of which `filled` bytes are worth showing.
    fn list(&self, mem: &GuestMemory<'_>, pointer: u64, mut filled: u64) -> String {
        let count = ["iovs_len", "si_data_len", "ri_data_len"].iter().find_map(|name| self.argument(name)).unwrap_or(0);
        let mut out = String::from("[");
        for index in 0..count.min(SHOWN_ELEMENTS) {
            let Some(region) = pointer.checked_add(index * 2 * mem.pointer_size()).and_then(|at| mem.iovec(at).ok()) else {
                let _ = write!(out, "{}{pointer:#x}", if index > 0 { ", " } else { "" });
                break;
            };
            let shown = (region.len() as u64).min(filled);
            filled -= shown;
            let mut bytes = vec![0; (shown as usize).min(SHOWN)];
            region.copy_out(0, &mut bytes);
            let more = shown > bytes.len() as u64;
            let _ = write!(out, "{}{{{}, {}}}", if index > 0 { ", " } else { "" }, quoted(&bytes, more), region.len());
        }
        if count > SHOWN_ELEMENTS {
            out.push_str(", ...");
        }
        out.push(']');
        out
    }

    fn subscriptions(&self, mem: &GuestMemory<'_>, pointer: u64) -> String {
        let count = self.argument("nsubscriptions").unwrap_or(0);
        let mut out = String::from("[");
        for index in 0..count.min(SHOWN_ELEMENTS) {
            let one = pointer.checked_add(index * size::SUBSCRIPTION).map(|at| subscription(mem, at));
            let Some(Ok(one)) = one else { break };
            let _ = write!(out, "{}{one}", if index > 0 { ", " } else { "" });
        }
        out.push_str(if count > SHOWN_ELEMENTS { ", ...]" } else { "]" });
        out
    }

    fn line(&self, before: &[Option<String>], mem: &GuestMemory<'_>, completion: Completion, time: Duration) -> String {
        let worked = completion == Ok(0);
        let mut out = format!("{}(", self.function.name);
        let mut first = true;
        for (((name, _), value), input) in self.function.params.iter().zip(self.cells).zip(before) {
            // Lengths are shown with what they belong to.
            if matches!(*name, "path_len" | "old_path_len" | "new_path_len" | "node_len" | "service_len")
                && self.function.name != "fd_prestat_dir_name"
            {
                continue;
            }
            if !std::mem::take(&mut first) {
                out.push_str(", ");
            }
            let shown = input.clone().or_else(|| self.number(name, *value)).or_else(|| worked.then(|| self.output(mem, name, *value))?);
            match shown {
                Some(shown) => out.push_str(&shown),
                // A place in memory, or a plain number.
                None if matches!(*name, "fd" | "to" | "old_fd" | "new_fd") => drop(write!(out, "{}", *value as u32)),
                None if self.is_place(name) => drop(write!(out, "{value:#x}")),
                None => drop(write!(out, "{value}")),
            }
        }
        out.push_str(") = ");
        match completion {
            Ok(0) => out.push('0'),
            Ok(number) => match u16::try_from(number).ok().and_then(Errno::from_number) {
                Some(errno) => drop(write!(out, "{} ({})", errno.name(), errno.message())),
                None => drop(write!(out, "{number}")),
            },
            Err(Exit(status)) => drop(write!(out, "? (exits with {status})")),
        }
        let _ = writeln!(out, " <{}.{:09}>", time.as_secs(), time.subsec_nanos());
        out
    }

    fn is_place(&self, name: &str) -> bool {
        use crate::preview1::ParamKind;
        self.function.params.iter().any(|(known, kind)| *known == name && *kind == ParamKind::Pointer)
    }

    /// Flags and enumerations.
    fn number(&self, name: &str, value: u64) -> Option<String> {
        let word = value as u32;
        let flags16 = u16::try_from(word).ok();
        let named = |names: &[&str]| names.get(word as usize).map(|name| (*name).to_owned());
        let of = self.function.name;
        match name {
            "oflags" => Some(format!("{:?}", OpenFlags::from_bits(word).ok()?)),
            "fdflags" => Some(format!("{:?}", FdFlags::from_bits(word).ok()?)),
            "dirflags" | "old_flags" => Some(format!("{:?}", LookupFlags::from_bits(word).ok()?)),
            "flags" if of.starts_with("path_filestat") => Some(format!("{:?}", LookupFlags::from_bits(word).ok()?)),
            "flags" => Some(format!("{:?}", FdFlags::from_bits(word).ok()?)),
            "fst_flags" => Some(format!("{:?}", FstFlags::from_bits(word).ok()?)),
            "ri_flags" => Some(format!("{:?}", RecvFlags::from_bits(word).ok()?)),
            "how" => flags16.map(|bits| format!("{:?}", ShutdownFlags::from_bits_truncate(bits))),
            "fs_rights_base" | "fs_rights_inheriting" => {
                let rights = Rights::from_bits_truncate(value);
                let few = value.count_ones() <= SHOWN_RIGHTS && rights.bits() == value;
                Some(if few { format!("{rights:?}") } else { format!("{value:#x}") })
            }
            "whence" if of == "fd_seek" => named(&["SEEK_SET", "SEEK_CUR", "SEEK_END"]),
            "id" => named(&["REALTIME", "MONOTONIC", "PROCESS_CPUTIME", "THREAD_CPUTIME"]),
            "advice" => named(&["NORMAL", "SEQUENTIAL", "RANDOM", "WILLNEED", "DONTNEED", "NOREUSE"]),
            "signal" => signal_name(word).map(str::to_owned),
            "family" => named(&["UNSPEC", "INET4", "INET6"]),
            "kind" => named(&["ANY", "DGRAM", "STREAM"]),
            "offset" if of == "fd_seek" => Some(value.cast_signed().to_string()),
            "code" => Some(word.cast_signed().to_string()),
            "addr" => None,
            _ => None,
        }
    }

    /// What a call that worked wrote.
    fn output(&self, mem: &GuestMemory<'_>, name: &str, value: u64) -> Option<String> {
        let size = || mem.read_size(value).ok();
        match name {
            "nread" | "nwritten" | "bufused" | "nevents" | "ro_datalen" | "so_datalen" | "argc" | "argv_buf_size" | "environc"
            | "environ_buf_size" => Some(format!("{name}={}", size()?)),
            "opened_fd" | "connection" => Some(format!("{name}={}", mem.read_u32(value).ok()?)),
            "fd" if self.function.name.starts_with("sock_open") => Some(format!("{name}={}", mem.read_u32(value).ok()?)),
            "time" | "resolution" | "newoffset" => Some(format!("{name}={}", mem.read_u64(value).ok()?)),
            "offset" if self.function.name == "fd_tell" => Some(format!("{name}={}", mem.read_u64(value).ok()?)),
            "ro_flags" => Some(format!("{name}={}", mem.read_u16(value).ok()?)),
            "iovs" => {
                let filled = mem.read_size(self.argument("nread")?).ok()?;
                Some(self.list(mem, value, filled))
            }
            "ri_data" => {
                let filled = mem.read_size(self.argument("ro_datalen")?).ok()?;
                Some(self.list(mem, value, filled))
            }
            "path" => Some(text(mem, value, self.argument("path_len")?)),
            "buf" if self.function.name == "path_readlink" => {
                let used = mem.read_size(self.argument("bufused")?).ok()?;
                Some(text(mem, value, used))
            }
            "prestat" => Some(format!("{{dir, len={}}}", mem.read_size(value.checked_add(mem.pointer_size())?).ok()?)),
            "stat" if self.function.name == "fd_fdstat_get" => fdstat(mem, value).ok(),
            "stat" => filestat(mem, value).ok(),
            _ => None,
        }
    }
}

const TYPES: [&str; 8] =
    ["UNKNOWN", "BLOCK_DEVICE", "CHARACTER_DEVICE", "DIRECTORY", "REGULAR_FILE", "SOCKET_DGRAM", "SOCKET_STREAM", "SYMBOLIC_LINK"];

fn type_name(number: u8) -> &'static str {
    TYPES.get(usize::from(number)).copied().unwrap_or("?")
}

fn fdstat(mem: &GuestMemory<'_>, at: u64) -> Result<String, Errno> {
    mem.check(at, size::FDSTAT)?;
    let kind = type_name(mem.read_u8(at)?);
    let flags = FdFlags::from_bits_truncate(mem.read_u16(at + 2)?);
    Ok(format!("{{{kind}, {flags:?}, rights={:#x}}}", mem.read_u64(at + 8)?))
}

fn filestat(mem: &GuestMemory<'_>, at: u64) -> Result<String, Errno> {
    mem.check(at, size::FILESTAT)?;
    // The snapshot before preview1 has another layout; there is enough in common.
    Ok(format!("{{{}, ino={}, size={}}}", type_name(mem.read_u8(at + 16)?), mem.read_u64(at + 8)?, mem.read_u64(at + 32)?))
}

fn subscription(mem: &GuestMemory<'_>, at: u64) -> Result<String, Errno> {
    mem.check(at, size::SUBSCRIPTION)?;
    Ok(match mem.read_u8(at + 8)? {
        0 => {
            let absolute = if mem.read_u16(at + 40)? & 1 != 0 { "until" } else { "for" };
            format!("{{clock {} {absolute} {} ns}}", mem.read_u32(at + 16)?, mem.read_u64(at + 24)?)
        }
        1 => format!("{{read {}}}", mem.read_u32(at + 16)?),
        2 => format!("{{write {}}}", mem.read_u32(at + 16)?),
        other => format!("{{type {other}}}"),
    })
}

/// The text at `pointer`, or its address where that is no memory.
fn text(mem: &GuestMemory<'_>, pointer: u64, len: u64) -> String {
    // Paths are shown whole unless they are absurd.
    const WHOLE: u64 = 256;
    let mut bytes = vec![0; len.min(WHOLE) as usize];
    match mem.check(pointer, len).and_then(|()| mem.read(pointer, &mut bytes)) {
        Ok(()) => quoted(&bytes, len > WHOLE),
        Err(_) => format!("{pointer:#x}"),
    }
}

/// Bytes between quotation marks, what cannot be printed as an escape.
fn quoted(bytes: &[u8], more: bool) -> String {
    let mut out = String::from("\"");
    for byte in bytes {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b'"' | b'\\' => out.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => out.push(char::from(*byte)),
            0 => out.push_str("\\0"),
            _ => drop(write!(out, "\\x{byte:02x}")),
        }
    }
    out.push('"');
    if more {
        out.push_str("...");
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::preview1::FUNCTIONS;
    use crate::testing::TestDir;

    /// A sink that a test can look into.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn calls_are_shown_with_what_they_did() {
        let dir = TestDir::new();
        let mut guest = dir.guest();
        let lines = Lines::default();
        let tracer = Tracer::new(lines.clone());
        let mut call = |name: &str, cells: &[u64]| {
            let function = FUNCTIONS.iter().find(|function| function.name == name).unwrap();
            let (ctx, mut mem) = guest.parts();
            mem.write(256, b"sub/a\"b").unwrap();
            mem.write(512, &[0, 3, 0, 0, 6, 0, 0, 0]).unwrap();
            let _ = tracer.call(function, ctx, &mut mem, cells);
            let text = String::from_utf8(std::mem::take(&mut *lines.0.lock().unwrap())).unwrap();
            // Less the time.
            text.rsplit_once(" <").unwrap().0.to_owned()
        };
        assert_eq!(call("path_create_directory", &[3, 256, 3]), "path_create_directory(3, \"sub\") = 0");
        assert_eq!(
            call("path_open", &[3, 1, 256, 7, 1, 0x66, 0x1fff_ffff, 1, 0]),
            "path_open(3, SYMLINK_FOLLOW, \"sub/a\\\"b\", CREATE, FD_READ|FD_SEEK|FD_TELL|FD_WRITE, 0x1fffffff, APPEND, opened_fd=4) = 0"
        );
        guest.memory[768..774].copy_from_slice(b"hello\n");
        let mut call = |name: &str, cells: &[u64]| {
            let function = FUNCTIONS.iter().find(|function| function.name == name).unwrap();
            let (ctx, mut mem) = guest.parts();
            let _ = tracer.call(function, ctx, &mut mem, cells);
            let text = String::from_utf8(std::mem::take(&mut *lines.0.lock().unwrap())).unwrap();
            text.rsplit_once(" <").unwrap().0.to_owned()
        };
        assert_eq!(call("fd_write", &[4, 512, 1, 0]), "fd_write(4, [{\"hello\\n\", 6}], 1, nwritten=6) = 0");
        assert_eq!(call("fd_pread", &[4, 512, 1, 2, 0]), "fd_pread(4, [{\"llo\\n\", 6}], 1, 2, nread=4) = 0");
        assert_eq!(call("fd_seek", &[4, u64::MAX, 2, 0]), "fd_seek(4, -1, SEEK_END, newoffset=5) = 0");
        assert_eq!(call("fd_close", &[9]), "fd_close(9) = BADF (bad file descriptor)");
        assert_eq!(call("fd_read", &[4, u64::from(u32::MAX), 1, 0]), "fd_read(4, 0xffffffff, 1, 0x0) = FAULT (bad address)");
        assert_eq!(call("proc_exit", &[3]), "proc_exit(3) = ? (exits with 3)");
        assert_eq!(call("fd_prestat_get", &[3, 0]), "fd_prestat_get(3, {dir, len=1}) = 0");
        assert_eq!(call("fd_prestat_dir_name", &[3, 0, 1]), "fd_prestat_dir_name(3, \"/\", 1) = 0");
        assert!(call("fd_filestat_get", &[3, 1024]).starts_with("fd_filestat_get(3, {DIRECTORY, ino="));
        assert!(call("clock_time_get", &[1, 1, 1024]).starts_with("clock_time_get(MONOTONIC, 1, time="));
        assert_eq!(call("proc_raise", &[6]), "proc_raise(ABRT) = ? (exits with 134)");
    }

    #[test]
    fn nothing_that_a_program_passes_stops_it() {
        let dir = TestDir::new();
        let mut guest = dir.guest();
        let tracer = Tracer::new(std::io::sink());
        for function in FUNCTIONS.iter().filter(|function| function.name != "fd_allocate") {
            for value in [0, 1, 7, 512, u64::from(u32::MAX), u64::MAX] {
                for memory in [&mut guest.memory[..], &mut []] {
                    let cells = vec![value; function.params.len()];
                    let _ = tracer.call(function, &mut guest.ctx, &mut GuestMemory::new(memory), &cells);
                }
            }
        }
    }
}
