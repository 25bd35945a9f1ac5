//! The last error: functions of the header that fail return null, false or nothing. Each thread keeps what went wrong with the
//! last of them, as a message and as the exit code that the command line would end with.

use std::cell::RefCell;

use anyhow::Error;
use wasmc_environ::DecodeError;
use wasmc_environ::jit::CompileError;
use wasmc_runtime::{
    ArtifactError, ArtifactErrorKind, Exit, ImportCircle, IncompatibleImport, InvalidInitialize, LimitExceeded, NameTaken,
    SharedMemoryDisabled, ThrownException, Trap, TrapCode, UnknownImport,
};

use crate::guard::api;
use crate::vector::{Vector, wasm_byte_vec_t};

thread_local! {
    static LAST: RefCell<Option<(i32, String)>> = const { RefCell::new(None) };
}

/// Exit codes, as in the README.
pub(crate) mod code {
    /// A module or artifact that is not valid.
    pub const DATA: i32 = 65;
    /// What was passed makes no sense.
    pub const USAGE: i32 = 64;
    /// A file that cannot be read.
    pub const NO_INPUT: i32 = 66;
    /// An import that nothing provides, or of another type.
    pub const UNLINKABLE: i32 = 69;
    /// Anything else.
    pub const INTERNAL: i32 = 70;
    /// A file that cannot be written.
    pub const CANNOT_CREATE: i32 = 73;
    /// Something beyond a limit.
    pub const LIMIT: i32 = 77;
    /// An artifact for something else.
    pub const MISMATCH: i32 = 78;
    /// The run was interrupted.
    pub const TIMEOUT: i32 = 124;
    /// A trap or an uncaught exception.
    pub const TRAP: i32 = 134;
}

/// An error with its exit code.
#[derive(Debug)]
pub(crate) struct Coded(pub(crate) i32, pub(crate) String);

impl std::fmt::Display for Coded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.1)
    }
}

impl std::error::Error for Coded {}

/// The exit code that the command line would end with.
pub(crate) fn exit_code(error: &Error) -> i32 {
    for cause in error.chain() {
        if let Some(Coded(code, _)) = cause.downcast_ref() {
            return *code;
        }
        if let Some(Exit(status)) = cause.downcast_ref() {
            return *status & 0xff;
        }
        if let Some(trap) = cause.downcast_ref::<Trap>() {
            return of_trap(trap.code());
        }
        if cause.is::<ThrownException>() {
            return code::TRAP;
        }
        if let Some(e) = cause.downcast_ref::<CompileError>() {
            return match e {
                CompileError::Decode(_) => code::DATA,
                CompileError::Option(_) => code::USAGE,
                CompileError::Output(_) => code::CANNOT_CREATE,
                _ => code::INTERNAL,
            };
        }
        if cause.is::<DecodeError>() || cause.is::<SharedMemoryDisabled>() || cause.is::<InvalidInitialize>() {
            return code::DATA;
        }
        if cause.is::<LimitExceeded>() {
            return code::LIMIT;
        }
        if cause.is::<UnknownImport>() || cause.is::<IncompatibleImport>() || cause.is::<ImportCircle>() {
            return code::UNLINKABLE;
        }
        if cause.is::<NameTaken>() {
            return code::USAGE;
        }
        if let Some(e) = cause.downcast_ref::<ArtifactError>() {
            return of_artifact(&e.kind);
        }
    }
    code::INTERNAL
}

/// The exit code for a trap of WebAssembly's.
pub(crate) fn of_trap(code: TrapCode) -> i32 {
    if code == TrapCode::Interrupt { code::TIMEOUT } else { code::TRAP }
}

fn of_artifact(kind: &ArtifactErrorKind) -> i32 {
    use ArtifactErrorKind as K;
    match kind {
        K::Io { .. } | K::NotAFile => code::NO_INPUT,
        K::FormatVersion(_)
        | K::Version { .. }
        | K::Target { .. }
        | K::CpuFeatures { .. }
        | K::TunablesUnsupported { .. }
        | K::TunablesMissing { .. }
        | K::Features { .. }
        | K::NotExecutable(_) => code::MISMATCH,
        _ => code::DATA,
    }
}

/// Keeps an error as this thread's last one.
#[cold]
pub(crate) fn set_last_error(error: &Error) {
    let last = (exit_code(error), format!("{error:#}"));
    // At the end of a thread there is nowhere to keep it, and nobody left to ask.
    let _ = LAST.try_with(|at| at.replace(Some(last)));
}

/// The value, or null with the error kept.
pub(crate) fn boxed<T, U>(result: Result<T, Error>) -> *mut U
where
    U: From<T>,
{
    match result {
        Ok(value) => Box::into_raw(Box::new(U::from(value))),
        Err(error) => {
            set_last_error(&error);
            std::ptr::null_mut()
        }
    }
}

/// Whether it went well; if not, the error is kept.
pub(crate) fn done(result: Result<(), Error>) -> bool {
    result.inspect_err(set_last_error).is_ok()
}

/// The error of a null pointer where the header allows none.
#[cold]
pub(crate) fn null(what: &str) -> Error {
    Coded(code::USAGE, format!("{what} is a null pointer")).into()
}

/// What a pointer points to.
///
/// # Safety
/// It is null, or valid for reading during `'a`.
pub(crate) unsafe fn get<'a, T>(pointer: *const T, what: &str) -> Result<&'a T, Error> {
    // SAFETY: by the caller.
    unsafe { pointer.as_ref() }.ok_or_else(|| null(what))
}

/// The text of a C string.
///
/// # Safety
/// It is null, or ends with a NUL and is valid during `'a`.
pub(crate) unsafe fn text<'a>(string: *const std::ffi::c_char, what: &str) -> Result<&'a str, Error> {
    if string.is_null() {
        return Err(null(what));
    }
    // SAFETY: by the caller.
    unsafe { std::ffi::CStr::from_ptr(string) }.to_str().map_err(|_| Coded(code::USAGE, format!("{what} is not UTF-8")).into())
}

api! {
    /// The message of the last error in this thread, which ends with a NUL; empty if there was none.
    fn wasmc_last_error_message(out: *mut wasm_byte_vec_t) {
        if let Some(out) = out.as_mut() {
            let message = LAST.with(|last| last.borrow().as_ref().map(|(_, message)| message.clone()));
            *out = Vector::message(message.unwrap_or_default().as_bytes());
        }
    }

    /// The exit code of the last error in this thread; 0 if there was none.
    fn wasmc_last_error_code() -> i32 {
        LAST.with(|last| last.borrow().as_ref().map_or(0, |(code, _)| *code))
    }

    /// Forgets the last error of this thread.
    fn wasmc_last_error_clear() {
        LAST.with(|last| last.replace(None));
    }
}
