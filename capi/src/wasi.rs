//! WASI: what the programs of a store may see of the host.

use std::ffi::{c_char, c_int};
use std::sync::Once;

use anyhow::{Result, bail};
use wasmc_wasi::{DirAccess, Input, NetGrant, Output, OutputBuffer, WasiCtxBuilder, WasiLimits};

use crate::error::{Coded, code, done, get, text};
use crate::guard::api;
use crate::store::{HostData, store, wasm_store_t};
use crate::types::{owned, release};
use crate::vector::{Vector, wasm_byte_vec_t};

/// What is granted to a program.
pub struct wasmc_wasi_t {
    builder: WasiCtxBuilder,
    limits: WasiLimits,
    stdout: Option<OutputBuffer>,
    stderr: Option<OutputBuffer>,
}

/// # Safety
/// The pointer is null or a configuration that nobody else uses meanwhile.
unsafe fn change(wasi: *mut wasmc_wasi_t, change: impl FnOnce(&mut wasmc_wasi_t) -> Result<()>) -> bool {
    // SAFETY: by the caller.
    let this = unsafe { wasi.as_mut() }.ok_or_else(|| crate::error::null("the WASI configuration"));
    done(this.and_then(change))
}

/// # Safety
/// As the arguments of the functions below.
unsafe fn captured(of: *mut wasm_store_t, out: *mut wasm_byte_vec_t, which: impl Fn(&HostData) -> &Option<OutputBuffer>) {
    // SAFETY: by the caller.
    unsafe {
        let Some(out) = out.as_mut() else { return };
        *out = Vector::EMPTY;
        done(store(of).map(|store| {
            let buffer = which(store.context().data()).clone();
            if let Some(buffer) = buffer {
                *out = Vector::of_bytes(&buffer.take());
            }
        }));
    }
}

/// A program can write to a pipe that nobody reads any more, on purpose, and the kernel then ends the process unless that has said
/// otherwise. Programs whose main function is Rust's do; for others it is said here. A handler goes away in programs that the process
/// starts, as ignoring the signal would not, and a host's own choice stays.
fn outlive_broken_pipes() {
    extern "C" fn nothing(_: c_int) {}
    static ONCE: Once = Once::new();
    // SAFETY: the structures live as long as the calls; zeros are a value of them; the handler does nothing.
    ONCE.call_once(|| unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGPIPE, std::ptr::null(), &raw mut action) == 0 && action.sa_sigaction == libc::SIG_DFL {
            action.sa_sigaction = nothing as extern "C" fn(c_int) as usize;
            action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
            libc::sigaction(libc::SIGPIPE, &raw const action, std::ptr::null_mut());
        }
    });
}

api! {
    /// A configuration that grants nothing.
    fn wasmc_wasi_new() -> *mut wasmc_wasi_t {
        outlive_broken_pipes();
        let limits = WasiLimits::default();
        Box::into_raw(Box::new(wasmc_wasi_t { builder: WasiCtxBuilder::new(), limits, stdout: None, stderr: None }))
    }

    /// Releases a configuration.
    fn wasmc_wasi_delete(wasi: *mut wasmc_wasi_t) {
        release(wasi);
    }

    /// Adds an argument; the first is the program's name.
    fn wasmc_wasi_arg(wasi: *mut wasmc_wasi_t, arg: *const c_char) -> bool {
        change(wasi, |wasi| {
            wasi.builder.arg(os(arg, "the argument")?);
            Ok(())
        })
    }

    /// Sets an environment variable.
    fn wasmc_wasi_env(wasi: *mut wasmc_wasi_t, name: *const c_char, value: *const c_char) -> bool {
        change(wasi, |wasi| {
            wasi.builder.env(os(name, "the name of the variable")?, os(value, "the value of the variable")?);
            Ok(())
        })
    }

    /// Passes on the environment of the process.
    fn wasmc_wasi_inherit_env(wasi: *mut wasmc_wasi_t) -> bool {
        change(wasi, |wasi| {
            wasi.builder.inherit_env();
            Ok(())
        })
    }

    /// Shows a folder to the program.
    fn wasmc_wasi_dir(wasi: *mut wasmc_wasi_t, host: *const c_char, guest: *const c_char, read_only: bool) -> bool {
        change(wasi, |wasi| {
            let access = if read_only { DirAccess::ReadOnly } else { DirAccess::ReadWrite };
            let opened = wasi.builder.preopen_dir(os(host, "the folder")?, os(guest, "the folder's name")?, access);
            opened.map(|_| ()).map_err(|e| Coded(code::NO_INPUT, e.to_string()).into())
        })
    }

    /// Passes on the three standard streams of the process.
    fn wasmc_wasi_inherit_stdio(wasi: *mut wasmc_wasi_t) -> bool {
        change(wasi, |wasi| {
            wasi.builder.inherit_stdio();
            (wasi.stdout, wasi.stderr) = (None, None);
            Ok(())
        })
    }

    /// Sets what the program reads from its standard input.
    fn wasmc_wasi_stdin_bytes(wasi: *mut wasmc_wasi_t, bytes: *const wasm_byte_vec_t) -> bool {
        change(wasi, |wasi| {
            let bytes = get(bytes, "the input")?.bytes().to_vec();
            wasi.builder.stdin(Input::Bytes(bytes));
            Ok(())
        })
    }

    /// Keeps what the program writes to its standard output, at most `limit` bytes at a time.
    fn wasmc_wasi_capture_stdout(wasi: *mut wasmc_wasi_t, limit: usize) -> bool {
        change(wasi, |wasi| {
            let buffer = wasi.stdout.insert(OutputBuffer::new(limit)).clone();
            wasi.builder.stdout(Output::Capture(buffer));
            Ok(())
        })
    }

    /// Keeps what the program writes to its standard error, at most `limit` bytes at a time.
    fn wasmc_wasi_capture_stderr(wasi: *mut wasmc_wasi_t, limit: usize) -> bool {
        change(wasi, |wasi| {
            let buffer = wasi.stderr.insert(OutputBuffer::new(limit)).clone();
            wasi.builder.stderr(Output::Capture(buffer));
            Ok(())
        })
    }

    /// Listens on a TCP address, and hands the socket to the program.
    fn wasmc_wasi_listen_tcp(wasi: *mut wasmc_wasi_t, address: *const c_char) -> bool {
        change(wasi, |wasi| {
            let name = text(address, "the address")?;
            let address = name.parse().map_err(|_| Coded(code::USAGE, format!("`{name}` is not an address and port")))?;
            wasi.builder.listen_tcp(address).map_err(|e| Coded(code::USAGE, format!("{name}: {e}")))?;
            Ok(())
        })
    }

    /// Lets the program reach a part of the network, as `wasmc run --net` says it.
    fn wasmc_wasi_net(wasi: *mut wasmc_wasi_t, grant: *const c_char) -> bool {
        change(wasi, |wasi| {
            let grant = text(grant, "the grant")?.parse::<NetGrant>().map_err(|e| Coded(code::USAGE, e))?;
            wasi.builder.grant_net(grant);
            Ok(())
        })
    }

    /// Bounds what the program may use of the host, by the names of `wasmc run --limit`.
    fn wasmc_wasi_limit(wasi: *mut wasmc_wasi_t, name: *const c_char, value: u64) -> bool {
        change(wasi, |wasi| {
            let name = text(name, "the name of the limit")?;
            if !wasi.limits.set(name, value) {
                let known: Vec<&str> = WasiLimits::NAMES.iter().map(|(name, _)| *name).collect();
                bail!(Coded(code::USAGE, format!("there is no limit `{name}`; there are {}", known.join(", "))));
            }
            Ok(())
        })
    }

    /// Makes runs repeat themselves: a clock that only the program moves, and random numbers from a seed.
    fn wasmc_wasi_deterministic(wasi: *mut wasmc_wasi_t, seed: u64) -> bool {
        change(wasi, |wasi| {
            wasi.builder.deterministic(seed);
            Ok(())
        })
    }

    /// Grants to the programs of a store what a configuration says, which is used up.
    fn wasmc_store_set_wasi(of: *mut wasm_store_t, wasi: *mut wasmc_wasi_t) -> bool {
        let wasi = owned(wasi, "the WASI configuration");
        done(wasi.and_then(|wasi| {
            let store = store(of)?;
            let wasmc_wasi_t { mut builder, limits, stdout, stderr } = *wasi;
            let built = builder.limits(limits).build().map_err(|e| Coded(code::USAGE, e.to_string()))?;
            let mut context = store.context();
            let data = context.data_mut();
            let old = (std::mem::replace(&mut data.wasi, built), data.stdout.take(), data.stderr.take());
            (data.stdout, data.stderr) = (stdout, stderr);
            drop(old);
            Ok(())
        }))
    }

    /// What the programs of a store have written to a captured standard output since the last time.
    fn wasmc_store_take_stdout(of: *mut wasm_store_t, out: *mut wasm_byte_vec_t) {
        captured(of, out, |data| &data.stdout)
    }

    /// What the programs of a store have written to a captured standard error since the last time.
    fn wasmc_store_take_stderr(of: *mut wasm_store_t, out: *mut wasm_byte_vec_t) {
        captured(of, out, |data| &data.stderr)
    }
}

/// A string of the system, which need not be UTF-8.
///
/// # Safety
/// It is null, or ends with a NUL and is valid during `'a`.
unsafe fn os<'a>(string: *const c_char, what: &str) -> Result<&'a std::ffi::OsStr> {
    use std::os::unix::ffi::OsStrExt;
    if string.is_null() {
        return Err(crate::error::null(what));
    }
    // SAFETY: by the caller.
    Ok(std::ffi::OsStr::from_bytes(unsafe { std::ffi::CStr::from_ptr(string) }.to_bytes()))
}
