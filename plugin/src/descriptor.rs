//! Reading a plug-in's descriptor: the version first, then everything else, checked and copied, so that nothing depends on
//! memory of the plug-in later. Checks find mistakes; a pointer to nowhere cannot be found by any.

use crate::error::PluginError;
use std::collections::HashSet;
use std::ffi::c_char;
use std::path::Path;
use std::sync::Arc;
use wasmc_plugin_abi::{self as abi, Callback, Descriptor};
use wasmc_runtime::{FuncType, ValType};

/// The longest name, in bytes: what is not ended by then is not a string.
const MAX_NAME: usize = 4096;
/// The most functions of a plug-in.
const MAX_FUNCTIONS: u64 = 100_000;
/// The most parameters, and the most results, of a function: those of the specification's JavaScript embedding.
const MAX_TYPES: u64 = 1000;

/// A function of a plug-in.
pub(crate) struct Function {
    pub(crate) name: Arc<str>,
    pub(crate) ty: FuncType,
    pub(crate) callback: Callback,
    pub(crate) data: *mut std::ffi::c_void,
}

// SAFETY: that functions can be called from any thread, with their data, is what a plug-in promises.
unsafe impl Send for Function {}
// SAFETY: as above; also from several at once.
unsafe impl Sync for Function {}

/// What a descriptor says.
pub(crate) struct Described {
    pub(crate) module: String,
    pub(crate) version: String,
    pub(crate) functions: Vec<Function>,
    pub(crate) init: Option<unsafe extern "C" fn() -> i32>,
    pub(crate) fini: Option<unsafe extern "C" fn()>,
}

/// Checks and copies a descriptor.
///
/// # Safety
/// If the memory at `at` begins with the version and size of our structure, it is one that keeps the header's promises.
pub(crate) unsafe fn read(path: &Path, at: *const Descriptor) -> Result<Described, PluginError> {
    let wrong = |problem: String| PluginError::Descriptor { path: path.to_owned(), problem };
    if at.is_null() || !at.is_aligned() {
        return Err(wrong(format!("`{}` is not at an address where a structure can be", abi::SYMBOL)));
    }
    // SAFETY: an exported symbol's first aligned 8 bytes can be read, whatever it is.
    let (version, size) = unsafe { ((&raw const (*at).abi_version).read(), (&raw const (*at).struct_size).read()) };
    if version != abi::ABI_VERSION {
        return Err(PluginError::AbiVersion { path: path.to_owned(), found: version });
    }
    if size as usize != size_of::<Descriptor>() {
        return Err(wrong(format!("it says that it has {size} bytes, but it has {}", size_of::<Descriptor>())));
    }
    // SAFETY: by the caller, it is one of ours.
    let descriptor = unsafe { &*at };
    // SAFETY: by the caller, strings are null or end with a zero.
    let module = unsafe { name(descriptor.module) }.map_err(|e| wrong(format!("the module's name {e}")))?;
    // SAFETY: as above.
    let version = unsafe { name(descriptor.version) }.map_err(|e| wrong(format!("the version {e}")))?;
    let what = format!("the list of functions of `{module}`");
    // SAFETY: by the caller, there are so many functions.
    let list =
        unsafe { array(descriptor.functions, descriptor.function_count, MAX_FUNCTIONS) }.map_err(|e| wrong(format!("{what} {e}")))?;
    let mut names = HashSet::new();
    let mut functions = Vec::with_capacity(list.len());
    for (i, f) in list.iter().enumerate() {
        // SAFETY: by the caller, the function's strings and arrays are what the header says.
        let function = unsafe { function(f) }.map_err(|e| wrong(format!("function {i}: {e}")))?;
        if !names.insert(function.name.clone()) {
            return Err(wrong(format!("function {i}: the name `{}` is used twice", function.name)));
        }
        functions.push(function);
    }
    Ok(Described { module, version, functions, init: descriptor.init, fini: descriptor.fini })
}

unsafe fn function(f: &abi::Function) -> Result<Function, String> {
    // SAFETY: by the caller.
    let name = unsafe { name(f.name) }.map_err(|e| format!("its name {e}"))?;
    let of = |e: String| format!("`{name}`: {e}");
    // SAFETY: by the caller.
    let params = unsafe { types(f.params, f.param_count) }.map_err(|e| of(format!("parameters: {e}")))?;
    // SAFETY: by the caller.
    let results = unsafe { types(f.results, f.result_count) }.map_err(|e| of(format!("results: {e}")))?;
    let callback = f.callback.ok_or_else(|| of("the callback is null".into()))?;
    Ok(Function { ty: FuncType::new(params, results), callback, data: f.data, name: name.into() })
}

unsafe fn types(at: *const u8, count: u64) -> Result<Vec<ValType>, String> {
    // SAFETY: by the caller.
    let codes = unsafe { array(at, count, MAX_TYPES) }.map_err(|e| format!("the list of types {e}"))?;
    codes.iter().enumerate().map(|(i, code)| val_type(*code).ok_or_else(|| format!("{i} has the unknown type code {code:#04x}"))).collect()
}

fn val_type(code: u8) -> Option<ValType> {
    Some(match code {
        abi::I32 => ValType::I32,
        abi::I64 => ValType::I64,
        abi::F32 => ValType::F32,
        abi::F64 => ValType::F64,
        abi::V128 => ValType::V128,
        _ => return None,
    })
}

/// A list that may be null only if it is empty.
unsafe fn array<'a, T>(at: *const T, count: u64, most: u64) -> Result<&'a [T], String> {
    if count == 0 {
        return Ok(&[]);
    }
    if at.is_null() {
        return Err(format!("is null, but should have {count} members"));
    }
    if !at.is_aligned() {
        return Err("is not aligned".into());
    }
    if count > most {
        return Err(format!("has {count} members, more than {most}"));
    }
    // SAFETY: by the caller; at most so many that the size does not overflow.
    Ok(unsafe { std::slice::from_raw_parts(at, count as usize) })
}

/// A name, which is not empty and not endless.
unsafe fn name(at: *const c_char) -> Result<String, String> {
    if at.is_null() {
        return Err("is null".into());
    }
    let mut bytes = Vec::new();
    for i in 0..=MAX_NAME {
        // SAFETY: by the caller, the string goes on until the zero.
        match unsafe { at.add(i).read() } as u8 {
            0 if bytes.is_empty() => return Err("is empty".into()),
            0 => return String::from_utf8(bytes).map_err(|_| "is not UTF-8".into()),
            byte => bytes.push(byte),
        }
    }
    Err(format!("is longer than {MAX_NAME} bytes"))
}
