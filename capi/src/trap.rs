//! Traps and their frames. A trap is why a call ended without results, whatever the reason: WebAssembly trapped, a function of
//! C's returned a trap of its own, an exception was not caught, the program ended itself, or the call could not be made. On its
//! way through WebAssembly a trap of C's is an error of a host function, and comes out as the same trap.

use std::fmt;
use std::sync::{Arc, OnceLock};

use anyhow::{Error, Result};
use wasmc_runtime::{AsContext, Backtrace, Exit, FrameInfo, ThrownException, Trap, TrapCode};

use crate::error::{boxed, code, exit_code, get, of_trap};
use crate::guard::api;
use crate::instance::wasm_instance_t;
use crate::object::{InfoCell, Object, What, wasm_trap_t};
use crate::store::{HostData, StoreRef, store, wasm_store_t};
use crate::types::release;
use crate::vector::{Vector, wasm_byte_vec_t, wasm_frame_vec_t};

/// Why a call ended.
enum Cause {
    /// A trap of C's.
    Host,
    /// The program ended itself.
    Exit(i32),
    /// WebAssembly trapped.
    Trap(TrapCode),
    /// An exception that nobody caught.
    Thrown(ThrownException),
    /// Anything else, with the exit code of the command line.
    Other(i32),
}

/// What references to a trap share.
pub struct TrapData {
    message: String,
    cause: Cause,
    /// A trap of C's gets its frames when it is thrown.
    trace: OnceLock<Backtrace>,
    pub(crate) info: InfoCell,
}

/// A trap of C's on its way through WebAssembly.
struct Returned(Arc<TrapData>);

impl fmt::Debug for Returned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Returned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Returned {}

impl TrapData {
    fn of_error(error: Error) -> Arc<Self> {
        if let Some(Returned(trap)) = error.chain().find_map(|c| c.downcast_ref()) {
            return trap.clone();
        }
        let known = OnceLock::new();
        let (message, cause) = if let Some(Exit(status)) = error.chain().find_map(|c| c.downcast_ref()) {
            (Exit(*status).to_string(), Cause::Exit(*status))
        } else if let Some(trap) = error.chain().find_map(|c| c.downcast_ref::<Trap>()) {
            let _ = known.set(trap.backtrace().clone());
            (trap.code().to_string(), Cause::Trap(trap.code()))
        } else if let Some(thrown) = error.chain().find_map(|c| c.downcast_ref::<ThrownException>()) {
            (thrown.to_string(), Cause::Thrown(thrown.clone()))
        } else {
            (format!("{error:#}"), Cause::Other(exit_code(&error)))
        };
        Arc::new(Self { message, cause, trace: known, info: InfoCell::default() })
    }

    /// The error with which a function of C's leaves that returned this trap.
    pub(crate) fn to_error(this: &Arc<Self>, context: impl AsContext<Data = HostData>) -> Error {
        match &this.cause {
            Cause::Exit(status) => Exit(*status).into(),
            // So that WebAssembly may catch it.
            Cause::Thrown(thrown) => thrown.clone().into(),
            Cause::Host | Cause::Trap(_) | Cause::Other(_) => {
                this.trace.get_or_init(|| Backtrace::capture(context));
                Returned(this.clone()).into()
            }
        }
    }

    fn frames(&self) -> &[FrameInfo] {
        self.trace.get().map_or(&[], Backtrace::frames)
    }

    fn exit_code(&self) -> i32 {
        match self.cause {
            Cause::Exit(status) => status & 0xff,
            Cause::Trap(code) => of_trap(code),
            Cause::Host | Cause::Thrown(_) => code::TRAP,
            Cause::Other(code) => code,
        }
    }
}

/// The trap of an error, for C to own.
#[cold]
pub(crate) fn trap(store: &StoreRef, error: Error) -> *mut wasm_trap_t {
    let data = TrapData::of_error(error);
    Box::into_raw(Box::new(wasm_trap_t(Object::new(store, What::Trap(data)))))
}

/// What a pointer of C's to a trap is to.
///
/// # Safety
/// It is null or a trap.
pub(crate) unsafe fn data<'a>(trap: *const wasm_trap_t) -> Result<(&'a StoreRef, &'a Arc<TrapData>)> {
    // SAFETY: by the caller.
    let object = &unsafe { get(trap, "the trap") }?.0;
    match &object.what {
        What::Trap(data) => Ok((object.store()?, data)),
        _ => anyhow::bail!("this reference is not to a trap"),
    }
}

/// A frame of a trap.
#[derive(Clone)]
pub struct wasm_frame_t {
    instance: Option<Box<wasm_instance_t>>,
    frame: FrameInfo,
}

impl wasm_frame_t {
    fn boxed(store: &StoreRef, frame: &FrameInfo) -> *mut Self {
        let instance = frame.instance(store.context()).map(|i| Box::new(wasm_instance_t(Object::new(store, What::Instance(i)))));
        Box::into_raw(Box::new(Self { instance, frame: frame.clone() }))
    }
}

api! {
    /// Copies a frame.
    fn wasm_frame_copy(frame: *const wasm_frame_t) -> *mut wasm_frame_t {
        boxed(get(frame, "the frame").cloned())
    }

    /// Releases a frame.
    fn wasm_frame_delete(frame: *mut wasm_frame_t) {
        release(frame);
    }

    /// The instance whose function this is, which lives as long as the frame; null if several instances of the module are in
    /// the store.
    fn wasm_frame_instance(frame: *const wasm_frame_t) -> *mut wasm_instance_t {
        let instance = frame.as_ref().and_then(|frame| frame.instance.as_deref());
        instance.map_or(std::ptr::null_mut(), |instance| std::ptr::from_ref(instance).cast_mut())
    }

    /// The function's index in its module.
    fn wasm_frame_func_index(frame: *const wasm_frame_t) -> u32 {
        frame.as_ref().map_or(0, |frame| frame.frame.func_index())
    }

    /// Where in the function's body.
    fn wasm_frame_func_offset(frame: *const wasm_frame_t) -> usize {
        frame.as_ref().and_then(|frame| frame.frame.func_offset()).map_or(0, |offset| offset as usize)
    }

    /// Where in the module.
    fn wasm_frame_module_offset(frame: *const wasm_frame_t) -> usize {
        frame.as_ref().and_then(|frame| frame.frame.module_offset()).map_or(0, |offset| offset as usize)
    }

    /// A trap for a function to return.
    fn wasm_trap_new(of: *mut wasm_store_t, message: *const wasm_byte_vec_t) -> *mut wasm_trap_t {
        boxed(store(of).map(|store| {
            let bytes = message.as_ref().map_or(&[][..], |message| message.bytes());
            let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
            let message = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let data = TrapData { message, cause: Cause::Host, trace: OnceLock::new(), info: InfoCell::default() };
            Object::new(store, What::Trap(Arc::new(data)))
        }))
    }

    /// What the trap says, with a NUL at the end.
    fn wasm_trap_message(this: *const wasm_trap_t, out: *mut wasm_byte_vec_t) {
        if let Some(out) = out.as_mut() {
            *out = Vector::message(data(this).map_or("", |(_, data)| &data.message).as_bytes());
        }
    }

    /// The innermost frame; null if there is none.
    fn wasm_trap_origin(this: *const wasm_trap_t) -> *mut wasm_frame_t {
        let Ok((store, data)) = data(this) else { return std::ptr::null_mut() };
        data.frames().first().map_or(std::ptr::null_mut(), |frame| wasm_frame_t::boxed(store, frame))
    }

    /// All frames, innermost first.
    fn wasm_trap_trace(this: *const wasm_trap_t, out: *mut wasm_frame_vec_t) {
        let Some(out) = out.as_mut() else { return };
        let frames: Vec<_> = match data(this) {
            Ok((store, data)) => data.frames().iter().map(|frame| wasm_frame_t::boxed(store, frame)).collect(),
            Err(_) => Vec::new(),
        };
        *out = Vector::of(&frames);
    }

    /// Whether the program ended itself, and with which status.
    fn wasmc_trap_exit_status(this: *const wasm_trap_t, status: *mut i32) -> bool {
        let Ok((_, TrapData { cause: Cause::Exit(with), .. })) = data(this).map(|(s, d)| (s, &**d)) else { return false };
        if let Some(status) = status.as_mut() {
            *status = *with;
        }
        true
    }

    /// The number of the reason for which WebAssembly trapped; 0 if the trap is of another kind.
    fn wasmc_trap_code(this: *const wasm_trap_t) -> u8 {
        match data(this).map(|(_, data)| &data.cause) {
            Ok(Cause::Trap(code)) => *code as u8,
            _ => 0,
        }
    }

    /// The exit code with which the command line would end.
    fn wasmc_trap_exit_code(this: *const wasm_trap_t) -> i32 {
        data(this).map_or(code::INTERNAL, |(_, data)| data.exit_code())
    }
}

/// The exit code of the command line for an error, and whether it is the program's own.
pub(crate) fn exit_code_of(error: &Error) -> (i32, bool) {
    if let Some(Returned(trap)) = error.chain().find_map(|c| c.downcast_ref()) {
        return (trap.exit_code(), false);
    }
    (exit_code(error), error.chain().any(|c| c.is::<Exit>()))
}
