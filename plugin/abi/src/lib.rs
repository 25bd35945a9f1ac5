//! The interface between wasmc and its plug-ins, as `plugin/include/wasmc_plugin.h` has it in C, and what makes a plug-in in
//! Rust of safe functions: [`export!`] writes the descriptor, [`Call`] is a call as a function sees it, and a panic ends as an
//! error of that call. The crate depends on nothing, so a plug-in does not either.
//!
//! ```
//! use wasmc_plugin_abi::{Call, F64, I32, export};
//!
//! /// The mean of so many floats in the program's memory.
//! fn mean(call: &mut Call<'_>) -> Result<(), String> {
//!     let (address, count) = (call.i32(0)? as u32, call.i32(1)? as u32);
//!     let bytes = call.read(address.into(), u64::from(count) * 8)?;
//!     let sum: f64 = bytes.chunks_exact(8).map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])).sum();
//!     call.set_f64(0, sum / f64::from(count))
//! }
//!
//! export! {
//!     module: "statistics",
//!     version: "1.0",
//!     functions: {
//!         "mean": [I32, I32] -> [F64] = mean,
//!     },
//! }
//! # fn main() { assert_eq!(wasmc_plugin_descriptor.function_count, 1); }
//! ```

#![deny(missing_docs)]

use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Changes with every change of the structures here.
pub const ABI_VERSION: u32 = 1;
/// Name of the one symbol that a plug-in exports.
pub const SYMBOL: &str = "wasmc_plugin_descriptor";

/// Code of the type.
pub const I32: u8 = 0x7f;
/// Code of the type.
pub const I64: u8 = 0x7e;
/// Code of the type.
pub const F32: u8 = 0x7d;
/// Code of the type.
pub const F64: u8 = 0x7c;
/// Code of the type.
pub const V128: u8 = 0x7b;

/// The results are set.
pub const OK: i32 = 0;
/// The call failed.
pub const ERROR: i32 = 1;

/// What a value is, by its type.
#[repr(C)]
#[derive(Copy, Clone)]
pub union Payload {
    /// If it is an `i32`.
    pub i32: i32,
    /// If it is an `i64`.
    pub i64: i64,
    /// If it is an `f32`: its bits.
    pub f32: u32,
    /// If it is an `f64`: its bits.
    pub f64: u64,
    /// If it is a vector: its lanes in little-endian order. The widest member.
    pub v128: [u8; 16],
}

/// An argument or a result.
#[repr(C)]
#[derive(Copy, Clone)]
pub struct Value {
    /// Code of the type; 0 in results that were not set.
    pub ty: u8,
    /// Zero.
    pub reserved: [u8; 7],
    /// The value.
    pub of: Payload,
}

impl Value {
    /// No value: what results are before the call.
    pub const NONE: Self = Self { ty: 0, reserved: [0; 7], of: Payload { v128: [0; 16] } };

    /// A value of this type whose low bytes these are.
    pub fn new(ty: u8, bits: u128) -> Self {
        Self { ty, reserved: [0; 7], of: Payload { v128: bits.to_le_bytes() } }
    }

    /// The low bytes, all 16: which of them count depends on the type.
    pub fn bits(&self) -> u128 {
        // SAFETY: all bytes of the union are initialised, since whoever made the value began with all of them.
        u128::from_le_bytes(unsafe { self.of.v128 })
    }
}

/// What a function can ask of the host during a call.
#[repr(C)]
pub struct Host {
    /// Size of this structure.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// Bytes of the memory that the caller exports as `memory`; 0 if there is none.
    pub memory_size: unsafe extern "C" fn(*mut Caller) -> u64,
    /// Copies from that memory; 0, or -1 if not all of it is inside.
    pub memory_read: unsafe extern "C" fn(*mut Caller, u64, *mut c_void, u64) -> i32,
    /// Copies into that memory; 0, or -1 if not all of it is inside.
    pub memory_write: unsafe extern "C" fn(*mut Caller, u64, *const c_void, u64) -> i32,
    /// Says why the call fails; the message is copied.
    pub set_error: unsafe extern "C" fn(*mut Caller, *const c_char, u64),
    /// Whether the program is to end: not 0 if so.
    pub interrupted: unsafe extern "C" fn(*mut Caller) -> i32,
}

/// Whoever called: what follows is the host's own.
#[repr(C)]
pub struct Caller {
    /// What can be asked.
    pub host: *const Host,
}

/// A function of a plug-in.
pub type Callback = unsafe extern "C" fn(caller: *mut Caller, data: *mut c_void, args: *const Value, results: *mut Value) -> i32;

/// The declaration of a function.
#[repr(C)]
pub struct Function {
    /// Its name.
    pub name: *const c_char,
    /// Type codes.
    pub params: *const u8,
    /// How many.
    pub param_count: u64,
    /// Type codes.
    pub results: *const u8,
    /// How many.
    pub result_count: u64,
    /// The function.
    pub callback: Option<Callback>,
    /// What it gets as `data`.
    pub data: *mut c_void,
}

// SAFETY: a declaration is constant; that `data` can be used from any thread is the plug-in's promise.
unsafe impl Sync for Function {}

/// What a plug-in exports.
#[repr(C)]
pub struct Descriptor {
    /// [`ABI_VERSION`].
    pub abi_version: u32,
    /// Size of this structure.
    pub struct_size: u32,
    /// What programs import from.
    pub module: *const c_char,
    /// The plug-in's own version.
    pub version: *const c_char,
    /// The functions.
    pub functions: *const Function,
    /// How many.
    pub function_count: u64,
    /// Called each time the plug-in is loaded; 0 if it can be used.
    pub init: Option<unsafe extern "C" fn() -> i32>,
    /// Called once for each successful `init`, when nobody can call any more.
    pub fini: Option<unsafe extern "C" fn()>,
}

// SAFETY: a descriptor is constant.
unsafe impl Sync for Descriptor {}

/// A call as a function in Rust sees it.
pub struct Call<'a> {
    caller: *mut Caller,
    args: &'a [Value],
    results: &'a mut [Value],
}

macro_rules! accessors {
    ($($get:ident $set:ident $code:ident $ty:ty = |$bits:ident| $from:expr, |$value:ident| $to:expr;)*) => {$(
        #[doc = concat!("Argument `i`, an `", stringify!($get), "`.")]
        ///
        /// # Errors
        /// If there is no such argument, or it has another type.
        pub fn $get(&self, i: usize) -> Result<$ty, String> {
            let $bits = self.arg(i, $code)?;
            Ok($from)
        }

        #[doc = concat!("Makes result `i` this `", stringify!($get), "`.")]
        ///
        /// # Errors
        /// If there is no such result.
        pub fn $set(&mut self, i: usize, $value: $ty) -> Result<(), String> {
            self.set(i, Value::new($code, $to))
        }
    )*};
}

impl Call<'_> {
    accessors! {
        i32 set_i32 I32 i32 = |bits| bits as i32, |value| (value as u32).into();
        i64 set_i64 I64 i64 = |bits| bits as i64, |value| (value as u64).into();
        f32 set_f32 F32 f32 = |bits| f32::from_bits(bits as u32), |value| value.to_bits().into();
        f64 set_f64 F64 f64 = |bits| f64::from_bits(bits as u64), |value| value.to_bits().into();
        v128 set_v128 V128 u128 = |bits| bits, |value| value;
    }

    fn arg(&self, i: usize, ty: u8) -> Result<u128, String> {
        match self.args.get(i) {
            Some(v) if v.ty == ty => Ok(v.bits()),
            Some(_) => Err(format!("argument {i} has another type than the function takes it for")),
            None => Err(format!("the function has no argument {i}")),
        }
    }

    fn set(&mut self, i: usize, value: Value) -> Result<(), String> {
        *self.results.get_mut(i).ok_or_else(|| format!("the function has no result {i}"))? = value;
        Ok(())
    }

    fn host(&self) -> &Host {
        // SAFETY: by the caller of `enter`, the caller is valid during the call, and so is what it points to.
        unsafe { &*(*self.caller).host }
    }

    /// Bytes of the memory that the caller exports as `memory`; 0 if there is none.
    pub fn memory_size(&self) -> u64 {
        // SAFETY: the caller is valid during the call.
        unsafe { (self.host().memory_size)(self.caller) }
    }

    /// Whether the program is to end, because its time is up or somebody has interrupted it: a function that works for long asks
    /// now and then, and returns soon if so, with whatever result.
    pub fn interrupted(&self) -> bool {
        // SAFETY: the caller is valid during the call.
        unsafe { (self.host().interrupted)(self.caller) != 0 }
    }

    /// A copy of bytes of the caller's memory.
    ///
    /// # Errors
    /// If not all of them are inside.
    pub fn read(&self, address: u64, size: u64) -> Result<Vec<u8>, String> {
        let outside = || format!("{size} bytes at {address:#x} are outside the program's memory");
        // Before so many bytes are allocated.
        if address.checked_add(size).is_none_or(|end| end > self.memory_size()) {
            return Err(outside());
        }
        let mut bytes = vec![0; size as usize];
        // SAFETY: the caller is valid during the call, and the buffer has this size.
        let status = unsafe { (self.host().memory_read)(self.caller, address, bytes.as_mut_ptr().cast(), size) };
        if status == 0 { Ok(bytes) } else { Err(outside()) }
    }

    /// Copies bytes into the caller's memory.
    ///
    /// # Errors
    /// If there is not room for all of them; then nothing is copied.
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), String> {
        // SAFETY: the caller is valid during the call, and the buffer has this size.
        let status = unsafe { (self.host().memory_write)(self.caller, address, bytes.as_ptr().cast(), bytes.len() as u64) };
        if status == 0 { Ok(()) } else { Err(format!("{} bytes at {address:#x} are outside the program's memory", bytes.len())) }
    }
}

/// Runs a function in Rust for a callback: what goes wrong, a panic included, becomes the error of the call.
///
/// # Safety
/// The pointers are those of a callback with so many arguments and results.
pub unsafe fn enter(
    caller: *mut Caller,
    args: *const Value,
    arg_count: usize,
    results: *mut Value,
    result_count: usize,
    function: impl FnOnce(&mut Call<'_>) -> Result<(), String>,
) -> i32 {
    let run = AssertUnwindSafe(|| {
        // SAFETY: by the caller; the host gives arrays of these lengths, or at least pointers that are aligned and not null.
        let (args, results) =
            unsafe { (std::slice::from_raw_parts(args, arg_count), std::slice::from_raw_parts_mut(results, result_count)) };
        function(&mut Call { caller, args, results })
    });
    let message = match catch_unwind(run) {
        Ok(Ok(())) => return OK,
        Ok(Err(message)) => message,
        Err(panic) => {
            let said = panic.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
            // Dropping what was thrown may panic again, and that must not leave this function.
            std::mem::forget(panic);
            format!("panicked: {}", said.as_deref().unwrap_or("no message"))
        }
    };
    // SAFETY: by the caller; the message is copied.
    unsafe { ((*(*caller).host).set_error)(caller, message.as_ptr().cast(), message.len() as u64) };
    ERROR
}

/// Exports a plug-in: its module, its version, and its functions with the codes of their types. Names must not contain a
/// zero byte. An optional `init: f, fini: g` at the end are an `unsafe extern "C" fn() -> i32` and an `unsafe extern "C" fn()`.
#[macro_export]
macro_rules! export {
    (
        module: $module:literal,
        version: $version:literal,
        functions: { $($name:literal: [$($param:expr),* $(,)?] -> [$($result:expr),* $(,)?] = $function:path),* $(,)? }
        $(, init: $init:path, fini: $fini:path)? $(,)?
    ) => {
        /// What wasmc looks for.
        #[unsafe(no_mangle)]
        #[allow(non_upper_case_globals, reason = "the name is that of the interface")]
        pub static wasmc_plugin_descriptor: $crate::Descriptor = {
            static FUNCTIONS: &[$crate::Function] = &[$({
                const PARAMS: &[u8] = &[$($param),*];
                const RESULTS: &[u8] = &[$($result),*];
                unsafe extern "C" fn callback(
                    caller: *mut $crate::Caller,
                    _: *mut ::std::ffi::c_void,
                    args: *const $crate::Value,
                    results: *mut $crate::Value,
                ) -> i32 {
                    // SAFETY: wasmc calls with arrays of the declared types.
                    unsafe { $crate::enter(caller, args, PARAMS.len(), results, RESULTS.len(), $function) }
                }
                $crate::Function {
                    name: concat!($name, "\0").as_ptr().cast(),
                    params: PARAMS.as_ptr(),
                    param_count: PARAMS.len() as u64,
                    results: RESULTS.as_ptr(),
                    result_count: RESULTS.len() as u64,
                    callback: Some(callback),
                    data: ::std::ptr::null_mut(),
                }
            }),*];
            #[allow(unused_mut, unused_assignments, reason = "both are optional")]
            let (mut init, mut fini): (Option<unsafe extern "C" fn() -> i32>, Option<unsafe extern "C" fn()>) = (None, None);
            $(init = Some($init); fini = Some($fini);)?
            $crate::Descriptor {
                abi_version: $crate::ABI_VERSION,
                struct_size: size_of::<$crate::Descriptor>() as u32,
                module: concat!($module, "\0").as_ptr().cast(),
                version: concat!($version, "\0").as_ptr().cast(),
                functions: FUNCTIONS.as_ptr(),
                function_count: FUNCTIONS.len() as u64,
                init,
                fini,
            }
        };
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::sync::atomic::{AtomicI32, Ordering};

    static STARTED: AtomicI32 = AtomicI32::new(0);

    unsafe extern "C" fn start() -> i32 {
        STARTED.fetch_add(1, Ordering::Relaxed);
        0
    }

    unsafe extern "C" fn end() {
        STARTED.fetch_sub(1, Ordering::Relaxed);
    }

    /// Gives each argument back, last first.
    fn turn(call: &mut Call<'_>) -> Result<(), String> {
        call.set_v128(0, call.v128(4)?)?;
        call.set_f64(1, call.f64(3)?)?;
        call.set_f32(2, call.f32(2)?)?;
        call.set_i64(3, call.i64(1)?)?;
        call.set_i32(4, call.i32(0)?)
    }

    /// Does what its argument says.
    fn act(call: &mut Call<'_>) -> Result<(), String> {
        match call.i32(0)? {
            0 => call.i64(0).map(drop),
            1 => call.i32(1).map(drop),
            2 => call.set_i32(0, 1),
            3 => call.read(u64::MAX, 2).map(drop),
            4 => call.read(0, u64::MAX).map(drop),
            5 if call.interrupted() => std::panic::panic_any(7),
            6 => {
                let bytes = call.read(2, 3)?;
                call.write(0, &bytes)?;
                call.write(7, &bytes)
            }
            _ => panic!("{}", "said"),
        }
    }

    export! {
        module: "unit",
        version: "2",
        functions: { "turn": [I32, I64, F32, F64, V128] -> [V128, F64, F32, I64, I32] = turn, "act": [I32,] -> [] = act },
        init: start, fini: end,
    }

    thread_local! {
        static MEMORY: RefCell<[u8; 8]> = const { RefCell::new([0, 1, 2, 3, 4, 5, 6, 7]) };
        static SAID: RefCell<String> = const { RefCell::new(String::new()) };
    }

    unsafe extern "C" fn size(_: *mut Caller) -> u64 {
        8
    }

    unsafe extern "C" fn read(_: *mut Caller, address: u64, to: *mut c_void, size: u64) -> i32 {
        MEMORY.with_borrow(|m| {
            let Some(from) = m.get(address as usize..).and_then(|m| m.get(..size as usize)) else { return -1 };
            // SAFETY: the caller gives a buffer of this size.
            unsafe { to.cast::<u8>().copy_from_nonoverlapping(from.as_ptr(), from.len()) };
            0
        })
    }

    unsafe extern "C" fn write(_: *mut Caller, address: u64, from: *const c_void, size: u64) -> i32 {
        MEMORY.with_borrow_mut(|m| {
            let Some(to) = m.get_mut(address as usize..).and_then(|m| m.get_mut(..size as usize)) else { return -1 };
            // SAFETY: the caller gives a buffer of this size.
            unsafe { to.as_mut_ptr().copy_from_nonoverlapping(from.cast(), to.len()) };
            0
        })
    }

    unsafe extern "C" fn say(_: *mut Caller, message: *const c_char, size: u64) {
        // SAFETY: the caller gives a message of this size.
        let bytes = unsafe { std::slice::from_raw_parts(message.cast::<u8>(), size as usize) };
        SAID.set(String::from_utf8_lossy(bytes).into_owned());
    }

    unsafe extern "C" fn late(_: *mut Caller) -> i32 {
        1
    }

    static HOST: Host = Host {
        struct_size: size_of::<Host>() as u32,
        reserved: 0,
        memory_size: size,
        memory_read: read,
        memory_write: write,
        set_error: say,
        interrupted: late,
    };

    fn invoke(function: usize, args: &[Value], results: &mut [Value]) -> Result<(), String> {
        // SAFETY: the descriptor is that of this module.
        let functions =
            unsafe { std::slice::from_raw_parts(wasmc_plugin_descriptor.functions, wasmc_plugin_descriptor.function_count as usize) };
        let callback = functions[function].callback.expect("a function");
        let mut caller = Caller { host: &HOST };
        // SAFETY: the arrays are those of the function's type.
        let status = unsafe { callback(&raw mut caller, functions[function].data, args.as_ptr(), results.as_mut_ptr()) };
        if status == OK { Ok(()) } else { Err(SAID.take()) }
    }

    #[test]
    fn values_come_and_go() {
        let bits = [0xffff_fff9, 0x8000_0000_0000_0001, 0x3fc0_0000, 0x7ff8_0000_0000_0001, u128::MAX - 5];
        let types = [I32, I64, F32, F64, V128];
        let args: Vec<Value> = types.iter().zip(bits).map(|(ty, bits)| Value::new(*ty, bits)).collect();
        let mut results = [Value::NONE; 5];
        invoke(0, &args, &mut results).unwrap();
        for (i, result) in results.iter().enumerate() {
            assert_eq!((result.ty, result.bits()), (types[4 - i], bits[4 - i]));
        }
    }

    #[test]
    fn what_goes_wrong_is_said() {
        let outcome = |what: u32| invoke(1, &[Value::new(I32, what.into())], &mut []);
        for (what, said) in [
            (0, "argument 0 has another type than the function takes it for"),
            (1, "the function has no argument 1"),
            (2, "the function has no result 0"),
            (3, "2 bytes at 0xffffffffffffffff are outside the program's memory"),
            (4, "18446744073709551615 bytes at 0x0 are outside the program's memory"),
            (5, "panicked: no message"),
            (6, "3 bytes at 0x7 are outside the program's memory"),
            (7, "panicked: said"),
        ] {
            assert_eq!(outcome(what), Err(said.to_owned()), "{what}");
        }
        assert_eq!(MEMORY.take(), [2, 3, 4, 3, 4, 5, 6, 7], "what was inside was written, what was not was left");
    }

    #[test]
    fn the_descriptor_is_whole() {
        let d = &wasmc_plugin_descriptor;
        assert_eq!((d.abi_version, d.struct_size as usize, d.function_count), (ABI_VERSION, size_of::<Descriptor>(), 2));
        // SAFETY: the macro ends its strings.
        let names = unsafe { [d.module, d.version, (*d.functions).name, (*d.functions.add(1)).name].map(|s| std::ffi::CStr::from_ptr(s)) };
        assert_eq!(names, [c"unit", c"2", c"turn", c"act"]);
        // SAFETY: they are the functions above.
        unsafe {
            assert_eq!(d.init.map(|f| f()), Some(0));
            assert_eq!(STARTED.load(Ordering::Relaxed), 1);
            d.fini.expect("an end")();
        }
        assert_eq!(STARTED.load(Ordering::Relaxed), 0);
    }
}
