//! Modules: from WebAssembly, from artifacts, and to artifacts.

use std::ffi::c_char;

use anyhow::{Context as _, Result, bail};
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use wasmc_runtime::{Engine, Module};

use crate::error::{Coded, boxed, code, done, get, set_last_error, text};
use crate::guard::api;
use crate::object::{InfoCell, Object, What, wasm_module_t};
use crate::store::{StoreRef, store, wasm_store_t};
use crate::types::{release, wasm_exporttype_t, wasm_importtype_t};
use crate::vector::{Vector, wasm_byte_vec_t, wasm_exporttype_vec_t, wasm_importtype_vec_t};

/// What references to a module share.
pub struct ModuleData {
    pub(crate) module: Module,
    pub(crate) info: InfoCell,
}

/// A module that stores of any thread can use.
pub struct wasm_shared_module_t {
    module: Module,
}

fn object(store: &StoreRef, module: Module) -> Object {
    Object::new(store, What::Module(Arc::new(ModuleData { module, info: InfoCell::default() })))
}

/// The module of a reference.
///
/// # Safety
/// The pointer is null or a module.
pub(crate) unsafe fn module<'a>(this: *const wasm_module_t) -> Result<&'a Module> {
    // SAFETY: by the caller.
    match &unsafe { get(this, "the module") }?.0.what {
        What::Module(data) => Ok(&data.module),
        _ => bail!("this reference is not to a module"),
    }
}

/// The artifact of a module.
fn artifact(module: &Module) -> Result<Vec<u8>> {
    if let Some(bytes) = module.artifact() {
        return Ok(bytes.to_vec());
    }
    compile(module)
}

#[cfg(feature = "compiler")]
fn compile(module: &Module) -> Result<Vec<u8>> {
    Ok(compiled(module)?.bytes)
}

#[cfg(not(feature = "compiler"))]
fn compile(_: &Module) -> Result<Vec<u8>> {
    bail!("this library was built without a compiler: only a module that was loaded from an artifact can be serialized")
}

#[cfg(feature = "compiler")]
fn compiled(module: &Module) -> Result<wasmc_compiler::CompiledArtifact> {
    let wasmc_environ::jit::JitOptions { interpret, features, tunables, costs } = module.engine().config().code_options();
    let options = wasmc_compiler::CompileOptions { interpret, features, tunables, costs, ..Default::default() };
    let wasm = module.wasm().context("the module's WebAssembly is not there any more")?;
    Ok(wasmc_compiler::compile_to_artifact(wasm, &options)?)
}

/// A module from the bytes of an artifact. The loader maps files, so they become one that has no name.
fn load(engine: &Engine, bytes: &[u8]) -> Result<Module> {
    let mut file = File::from(memfd_create("wasmc-artifact", MemfdFlags::CLOEXEC).context("cannot make a file in memory")?);
    file.write_all(bytes).context("cannot write a file in memory")?;
    // SAFETY: the header says that these bytes are native code, for whose origin the caller answers; nobody else has the file.
    unsafe { Module::from_artifact_file(engine, file, "serialized module") }
}

api! {
    /// A module from a WebAssembly binary.
    fn wasm_module_new(of: *mut wasm_store_t, binary: *const wasm_byte_vec_t) -> *mut wasm_module_t {
        boxed(store(of).and_then(|store| {
            let bytes = get(binary, "the binary")?.bytes();
            Ok(object(store, Module::new(&store.engine(), bytes)?))
        }))
    }

    /// Whether a WebAssembly binary is valid.
    fn wasm_module_validate(of: *mut wasm_store_t, binary: *const wasm_byte_vec_t) -> bool {
        done(store(of).and_then(|store| {
            let bytes = get(binary, "the binary")?.bytes();
            wasmc_environ::decode::decode_and_validate(bytes, store.engine().config().enabled())?;
            Ok(())
        }))
    }

    /// What a module imports, in order.
    fn wasm_module_imports(this: *const wasm_module_t, out: *mut wasm_importtype_vec_t) {
        let Some(out) = out.as_mut() else { return };
        *out = Vector::EMPTY;
        done(module(this).and_then(|module| {
            let types = module.imports().map(|i| wasm_importtype_t::of(&i)).collect::<Result<Vec<_>>>()?;
            let boxes: Vec<_> = types.into_iter().map(|t| Box::into_raw(Box::new(t))).collect();
            *out = Vector::of(&boxes);
            Ok(())
        }));
    }

    /// What a module exports, in order.
    fn wasm_module_exports(this: *const wasm_module_t, out: *mut wasm_exporttype_vec_t) {
        let Some(out) = out.as_mut() else { return };
        *out = Vector::EMPTY;
        done(module(this).and_then(|module| {
            let types = module.exports().map(|e| wasm_exporttype_t::of(&e)).collect::<Result<Vec<_>>>()?;
            let boxes: Vec<_> = types.into_iter().map(|t| Box::into_raw(Box::new(t))).collect();
            *out = Vector::of(&boxes);
            Ok(())
        }));
    }

    /// The artifact of a module; empty if there can be none.
    fn wasm_module_serialize(this: *const wasm_module_t, out: *mut wasm_byte_vec_t) {
        let Some(out) = out.as_mut() else { return };
        *out = Vector::EMPTY;
        done(module(this).and_then(artifact).map(|bytes| *out = Vector::of_bytes(&bytes)));
    }

    /// A module from an artifact, which is native code.
    fn wasm_module_deserialize(of: *mut wasm_store_t, bytes: *const wasm_byte_vec_t) -> *mut wasm_module_t {
        boxed(store(of).and_then(|store| {
            let bytes = get(bytes, "the serialized module")?.bytes();
            Ok(object(store, load(&store.engine(), bytes)?))
        }))
    }

    /// The module for other stores.
    fn wasm_module_share(this: *const wasm_module_t) -> *mut wasm_shared_module_t {
        boxed(module(this).map(|module| wasm_shared_module_t { module: module.clone() }))
    }

    /// A shared module for a store, which must be of the same engine.
    fn wasm_module_obtain(of: *mut wasm_store_t, shared: *const wasm_shared_module_t) -> *mut wasm_module_t {
        boxed(store(of).and_then(|store| {
            let module = get(shared, "the shared module")?.module.clone();
            if !Engine::same(module.engine(), &store.engine()) {
                bail!(Coded(code::USAGE, "the module belongs to another engine than the store".into()));
            }
            Ok(object(store, module))
        }))
    }

    /// Releases a shared module.
    fn wasm_shared_module_delete(shared: *mut wasm_shared_module_t) {
        release(shared);
    }

    /// A module from the file of an artifact, which is native code.
    fn wasmc_module_load(of: *mut wasm_store_t, path: *const c_char) -> *mut wasm_module_t {
        boxed(store(of).and_then(|store| {
            let path = text(path, "the path")?;
            Ok(object(store, Module::from_artifact(&store.engine(), path)?))
        }))
    }

    /// Writes the artifact of a module that was made from WebAssembly to a file: whole, or not at all.
    fn wasmc_module_compile_to_file(this: *const wasm_module_t, path: *const c_char) -> bool {
        done(module(this).and_then(|module| compile_to_file(module, text(path, "the path")?)))
    }

    /// How many functions a module defines, and how many of them have native code.
    fn wasmc_module_functions(this: *const wasm_module_t, defined: *mut u32, compiled: *mut u32) {
        let counts = module(this).inspect_err(set_last_error).map_or((0, 0), Module::compiled_functions);
        for (at, count) in [(defined, counts.0), (compiled, counts.1)] {
            if let Some(at) = at.as_mut() {
                *at = count;
            }
        }
    }

    /// The WebAssembly binary of a text.
    fn wasmc_wat2wasm(wat: *const wasm_byte_vec_t, out: *mut wasm_byte_vec_t) -> bool {
        let Some(out) = out.as_mut() else { return done(Err(crate::error::null("where the binary goes"))) };
        *out = Vector::EMPTY;
        done(get(wat, "the text").and_then(|wat| binary(wat.bytes())).map(|bytes| *out = Vector::of_bytes(&bytes)))
    }
}

#[cfg(feature = "compiler")]
fn compile_to_file(module: &Module, path: &str) -> Result<()> {
    if module.artifact().is_some() {
        bail!(Coded(code::USAGE, "the module was loaded from an artifact: copy that, or serialize it".into()));
    }
    Ok(compiled(module)?.write_artifact(std::path::Path::new(path))?)
}

#[cfg(not(feature = "compiler"))]
fn compile_to_file(module: &Module, _: &str) -> Result<()> {
    compile(module).map(|_| ())
}

#[cfg(feature = "compiler")]
fn binary(text: &[u8]) -> Result<Vec<u8>> {
    let text = std::str::from_utf8(text).map_err(|_| Coded(code::DATA, "the text is not UTF-8".into()))?;
    wat::parse_str(text).map_err(|e| Coded(code::DATA, e.to_string()).into())
}

#[cfg(not(feature = "compiler"))]
fn binary(_: &[u8]) -> Result<Vec<u8>> {
    bail!("this library was built without a compiler, and so without the text format")
}
