//! A call of a plug-in's function: values in and out, and what the function may ask of its caller meanwhile.

use crate::descriptor::Function;
use smallvec::SmallVec;
use std::ffi::{c_char, c_void};
use wasmc_plugin_abi::{self as abi, Value};
use wasmc_runtime::{AsContext, Caller, Error, Extern, Memory, SharedMemory, V128, Val, ValType};

/// The longest message of an error; the rest is cut off.
const MAX_MESSAGE: u64 = 64 << 10;

/// The host's side of `wasmc_plugin_caller`.
#[repr(C)]
struct State<'a> {
    /// First, so that a pointer to it is one to the whole.
    public: abi::Caller,
    memory: &'a mut dyn GuestMemory,
    error: Option<String>,
}

/// The memory of the calling instance, whatever the type of the store's data is.
trait GuestMemory {
    fn size(&mut self) -> u64;
    fn read(&mut self, address: usize, to: &mut [u8]) -> bool;
    fn write(&mut self, address: usize, from: &[u8]) -> bool;
    fn interrupted(&self) -> bool;
}

/// What the caller exports as `memory`.
#[derive(Clone)]
enum Exported {
    None,
    Own(Memory),
    Shared(SharedMemory),
}

struct Guest<'a, T: 'static> {
    caller: Caller<'a, T>,
    /// Looked for when the function first asks.
    memory: Option<Exported>,
}

impl<T: 'static> Guest<'_, T> {
    fn memory(&mut self) -> Exported {
        let Self { caller, memory } = self;
        let find = || match caller.get_export("memory") {
            Some(Extern::Memory(memory)) => Exported::Own(memory),
            Some(Extern::SharedMemory(memory)) => Exported::Shared(memory),
            _ => Exported::None,
        };
        memory.get_or_insert_with(find).clone()
    }
}

impl<T: 'static> GuestMemory for Guest<'_, T> {
    fn size(&mut self) -> u64 {
        match self.memory() {
            Exported::None => 0,
            Exported::Own(memory) => memory.data(self.caller.as_context()).len() as u64,
            Exported::Shared(memory) => memory.data_size() as u64,
        }
    }

    fn read(&mut self, address: usize, to: &mut [u8]) -> bool {
        match self.memory() {
            Exported::None => to.is_empty() && address == 0,
            Exported::Own(memory) => memory.read(&self.caller, address, to).is_ok(),
            Exported::Shared(memory) => memory.read(address, to).is_ok(),
        }
    }

    fn write(&mut self, address: usize, from: &[u8]) -> bool {
        match self.memory() {
            Exported::None => from.is_empty() && address == 0,
            Exported::Own(memory) => memory.write(&mut self.caller, address, from).is_ok(),
            Exported::Shared(memory) => memory.write(address, from).is_ok(),
        }
    }

    fn interrupted(&self) -> bool {
        self.caller.as_context().is_interrupted()
    }
}

static HOST: abi::Host =
    abi::Host { struct_size: size_of::<abi::Host>() as u32, reserved: 0, memory_size, memory_read, memory_write, set_error, interrupted };

/// The state behind a caller that a plug-in gives back.
///
/// # Safety
/// The caller is null or that of a running call, on its thread.
unsafe fn state<'a>(caller: *mut abi::Caller) -> Option<&'a mut State<'a>> {
    // SAFETY: by the caller: a call's `public` is the first member of its state, and only the plug-in reaches it meanwhile.
    unsafe { caller.cast::<State<'a>>().as_mut() }
}

unsafe extern "C" fn memory_size(caller: *mut abi::Caller) -> u64 {
    // SAFETY: the plug-in gives the caller that it got.
    unsafe { state(caller) }.map_or(0, |s| s.memory.size())
}

/// Whether a buffer of the plug-in can be one.
fn is_buffer(at: *const c_void, size: u64) -> bool {
    !at.is_null() && isize::try_from(size).is_ok()
}

unsafe extern "C" fn memory_read(caller: *mut abi::Caller, address: u64, to: *mut c_void, size: u64) -> i32 {
    // SAFETY: the plug-in gives the caller that it got.
    let Some(state) = (unsafe { state(caller) }) else { return -1 };
    let copied = match size {
        0 => state.memory.read(address as usize, &mut []),
        // Checked before a slice of a size that cannot be is made.
        _ if !is_buffer(to, size) || size > state.memory.size() => false,
        // SAFETY: the plug-in gives a buffer of this size.
        _ => state.memory.read(address as usize, unsafe { std::slice::from_raw_parts_mut(to.cast(), size as usize) }),
    };
    if copied { 0 } else { -1 }
}

unsafe extern "C" fn memory_write(caller: *mut abi::Caller, address: u64, from: *const c_void, size: u64) -> i32 {
    // SAFETY: the plug-in gives the caller that it got.
    let Some(state) = (unsafe { state(caller) }) else { return -1 };
    let copied = match size {
        0 => state.memory.write(address as usize, &[]),
        _ if !is_buffer(from, size) || size > state.memory.size() => false,
        // SAFETY: the plug-in gives a buffer of this size.
        _ => state.memory.write(address as usize, unsafe { std::slice::from_raw_parts(from.cast(), size as usize) }),
    };
    if copied { 0 } else { -1 }
}

unsafe extern "C" fn set_error(caller: *mut abi::Caller, message: *const c_char, size: u64) {
    // SAFETY: the plug-in gives the caller that it got.
    let Some(state) = (unsafe { state(caller) }) else { return };
    let size = size.min(MAX_MESSAGE);
    let bytes = match message.is_null() {
        true => &[][..],
        // SAFETY: the plug-in gives a message of this size.
        false => unsafe { std::slice::from_raw_parts(message.cast(), size as usize) },
    };
    state.error = Some(String::from_utf8_lossy(bytes).into_owned());
}

unsafe extern "C" fn interrupted(caller: *mut abi::Caller) -> i32 {
    // SAFETY: the plug-in gives the caller that it got.
    unsafe { state(caller) }.map_or(0, |s| s.memory.interrupted().into())
}

/// Why a call has no results.
pub(crate) enum Failure {
    /// What the function said or did wrong.
    Message(String),
    /// The program was interrupted meanwhile, which counts more than what the function returned.
    Interrupted(Error),
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Message(message)
    }
}

/// Calls a function.
pub(crate) fn call<T: 'static>(function: &Function, caller: Caller<'_, T>, args: &[Val], results: &mut [Val]) -> Result<(), Failure> {
    let args: SmallVec<[Value; 8]> = args.iter().map(to_plugin).collect();
    let mut out: SmallVec<[Value; 4]> = SmallVec::from_elem(Value::NONE, results.len());
    let mut guest = Guest { caller, memory: None };
    let mut state = State { public: abi::Caller { host: &HOST }, memory: &mut guest, error: None };
    // SAFETY: the callback is one of a plug-in that keeps the header's promises, and the arrays are those of its type.
    let status = unsafe { (function.callback)((&raw mut state).cast(), function.data, args.as_ptr(), out.as_mut_ptr()) };
    let error = state.error;
    guest.caller.check_interrupt().map_err(Failure::Interrupted)?;
    match status {
        abi::OK => {}
        abi::ERROR => return Err(error.unwrap_or_else(|| "failed, and did not say why".into()).into()),
        other => return Err(format!("returned {other}, which is neither WASMC_PLUGIN_OK nor WASMC_PLUGIN_ERROR").into()),
    }
    for (i, ((result, value), ty)) in results.iter_mut().zip(&out).zip(&function.ty.results).enumerate() {
        *result = from_plugin(value, ty).ok_or_else(|| match value.ty {
            0 => format!("result {i} was not set"),
            other => format!("result {i} has the type code {other:#04x}, but {ty} is declared"),
        })?;
    }
    Ok(())
}

fn to_plugin(value: &Val) -> Value {
    match value {
        Val::I32(v) => Value::new(abi::I32, (*v as u32).into()),
        Val::I64(v) => Value::new(abi::I64, (*v as u64).into()),
        Val::F32(v) => Value::new(abi::F32, (*v).into()),
        Val::F64(v) => Value::new(abi::F64, (*v).into()),
        Val::V128(v) => Value::new(abi::V128, v.as_u128()),
        // No function of a plug-in takes a reference.
        _ => Value::NONE,
    }
}

fn from_plugin(value: &Value, ty: &ValType) -> Option<Val> {
    let bits = value.bits();
    Some(match (value.ty, ty) {
        (abi::I32, ValType::I32) => Val::I32(bits as i32),
        (abi::I64, ValType::I64) => Val::I64(bits as i64),
        (abi::F32, ValType::F32) => Val::F32(bits as u32),
        (abi::F64, ValType::F64) => Val::F64(bits as u64),
        (abi::V128, ValType::V128) => Val::V128(V128::from(bits)),
        _ => return None,
    })
}
