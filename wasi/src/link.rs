//! Defines the functions into a linker: the only file here that knows the runtime, and the expansion of the lists.
//!
//! A host function finds the memory that the calling instance exports as `memory` and the context in the store's data, and has
//! both at once. An instance without a memory has one of no bytes: it can still end, yield and look at nothing. The functions
//! of preview1 for 32-bit memories, which nearly every program uses, are called with their arguments in registers; those for
//! 64-bit memories, `wasi_unstable` and WasmEdge's extension, and whatever is traced, take the general way.

use std::sync::Arc;

use anyhow::ensure;
use wasmc_runtime::{Caller, FuncType, Linker, Module, Never, Val, ValType};

use crate::ctx::WasiCtx;
use crate::errno::Errno;
use crate::guest::GuestMemory;
use crate::preview1::{self, Complete, Completion, Exit, FunctionInfo, kind, quick, unstable, wasmedge};
use crate::trace::Tracer;

/// Makes all of WASI available to programs that `linker` links: `wasi_snapshot_preview1` with WasmEdge's socket functions, for
/// 32-bit and 64-bit memories, and `wasi_unstable`. `context` finds the context in the store's data.
///
/// A program that ends itself leaves its outermost call with the error [`wasmc_runtime::Exit`].
///
/// # Errors
///
/// If the linker already has a definition of one of the names.
pub fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    context: impl Fn(&mut T) -> &mut WasiCtx + Copy + Send + Sync + 'static,
) -> wasmc_runtime::Result<()> {
    let names = || preview1::FUNCTIONS.iter().chain(wasmedge::FUNCTIONS).map(|function| (preview1::MODULE, function.name));
    let older = unstable::functions().map(|function| (unstable::MODULE, function.name));
    for (module, name) in names().chain(older) {
        ensure!(!linker.is_defined(module, name), "`{module}`.`{name}` is defined already; add WASI first");
    }
    for (_, name) in names() {
        add_preview1(linker, name, context, None)?;
    }
    for function in unstable::functions() {
        define(linker, unstable::MODULE, function, false, context, None)?;
    }
    Ok(())
}

/// As [`add_to_linker`], but only what `module` imports and nobody has defined: to link one program, it takes a fraction of the
/// time. With a tracer, each call is reported to it.
///
/// # Errors
///
/// None that the modules of WASI give rise to; those of the linker.
pub fn add_imports_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    module: &Module,
    context: impl Fn(&mut T) -> &mut WasiCtx + Copy + Send + Sync + 'static,
    tracer: Option<&Arc<Tracer>>,
) -> wasmc_runtime::Result<()> {
    for import in module.imports() {
        let wasi = [preview1::MODULE, unstable::MODULE].contains(&import.module);
        if !wasi || linker.is_defined(import.module, import.name) {
            continue;
        }
        if import.module == preview1::MODULE {
            add_preview1(linker, import.name, context, tracer)?;
        } else if let Some(function) = unstable::function(import.name) {
            define(linker, unstable::MODULE, function, false, context, tracer)?;
        }
    }
    Ok(())
}

/// Defines everything that has this name in `wasi_snapshot_preview1`, unless something has it already.
fn add_preview1<T: 'static>(
    linker: &mut Linker<T>,
    name: &str,
    context: impl Fn(&mut T) -> &mut WasiCtx + Copy + Send + Sync + 'static,
    tracer: Option<&Arc<Tracer>>,
) -> wasmc_runtime::Result<()> {
    if linker.is_defined(preview1::MODULE, name) {
        return Ok(());
    }
    if let Some(function) = preview1::FUNCTIONS.iter().find(|function| function.name == name) {
        match tracer {
            None => define_typed(linker, name, context)?,
            Some(_) => define(linker, preview1::MODULE, function, false, context, tracer)?,
        }
        if function.has_addresses() {
            define(linker, preview1::MODULE, function, true, context, tracer)?;
        }
    }
    for function in wasmedge::FUNCTIONS.iter().filter(|function| function.name == name) {
        define(linker, preview1::MODULE, function, false, context, tracer)?;
    }
    Ok(())
}

/// Defines a function of preview1 with its arguments in registers.
fn define_typed<T: 'static>(
    linker: &mut Linker<T>,
    name: &str,
    context: impl Fn(&mut T) -> &mut WasiCtx + Copy + Send + Sync + 'static,
) -> wasmc_runtime::Result<()> {
    macro_rules! define {
        ($($returns:ident $name:ident($($param:ident: $kind:ident),*);)*) => {
            match name {
                $(stringify!($name) => drop(linker.func_wrap_after(
                    preview1::MODULE,
                    stringify!($name),
                    define!(@quick $name $($param: $kind),*),
                    move |mut caller: Caller<'_, T>, $($param: <kind::$kind as kind::Kind>::Wasm),*| -> define!(@$returns) {
                        with(&mut caller, context, false, |ctx, mem| {
                            preview1::$name(ctx, mem, $(<kind::$kind as kind::Kind>::lift($param)),*).complete(ctx)
                        })
                        .map_err(exit)
                        .and_then(|errno| not_interrupted(&caller, errno))
                        // An errno is at most 87.
                        .map(|errno| define!(@$returns errno))
                    },
                )?),)*
                _ => {}
            }
        };
        (@quick fd_read $($params:tt)*) => { define!(@attempt fd_read $($params)*) };
        (@quick fd_pread $($params:tt)*) => { define!(@attempt fd_pread $($params)*) };
        (@quick fd_write $($params:tt)*) => { define!(@attempt fd_write $($params)*) };
        (@quick fd_pwrite $($params:tt)*) => { define!(@attempt fd_pwrite $($params)*) };
        (@quick $other:ident $($params:tt)*) => { Never };
        (@attempt $name:ident $($param:ident: $kind:ident),*) => {
            move |mut caller: Caller<'_, T>, $($param: <kind::$kind as kind::Kind>::Wasm),*| -> Option<i32> {
                with(&mut caller, context, false, |ctx, mem| {
                    quick::$name(ctx, mem, $(<kind::$kind as kind::Kind>::lift($param)),*).map(|()| 0)
                })
            }
        };
        (@errno) => { wasmc_runtime::Result<i32> };
        (@errno $errno:ident) => { $errno.cast_signed() };
        (@exit) => { wasmc_runtime::Result<()> };
        (@exit $errno:ident) => {{ let _: u32 = $errno; }};
    }
    crate::for_each_preview1_function!(define);
    Ok(())
}

#[cold]
fn exit(Exit(code): Exit) -> wasmc_runtime::Error {
    wasmc_runtime::Exit(code.cast_signed()).into()
}

/// A call that a signal ended, because the store was interrupted, does not return to the program.
#[inline(always)]
fn not_interrupted<T: 'static>(caller: &Caller<'_, T>, errno: u32) -> wasmc_runtime::Result<u32> {
    if errno == u32::from(Errno::INTR.number()) {
        caller.check_interrupt()?;
    }
    Ok(errno)
}

/// Defines a function by its description.
fn define<T: 'static>(
    linker: &mut Linker<T>,
    module: &str,
    function: &'static FunctionInfo,
    wide: bool,
    context: impl Fn(&mut T) -> &mut WasiCtx + Copy + Send + Sync + 'static,
    tracer: Option<&Arc<Tracer>>,
) -> wasmc_runtime::Result<()> {
    let i64_param = |kind: preview1::ParamKind| if wide { kind.is_i64_in_wide_memories() } else { kind.is_i64() };
    let params = function.params.iter().map(|(_, kind)| if i64_param(*kind) { ValType::I64 } else { ValType::I32 });
    let results = function.returns_errno.then_some(ValType::I32);
    let ty = FuncType::new(params, results);
    let tracer = tracer.cloned();
    linker.func_new_overload(module, function.name, ty, move |mut caller: Caller<'_, T>, params, results| {
        let mut cells = [0; 16];
        for (cell, value) in cells.iter_mut().zip(params) {
            *cell = match value {
                Val::I32(value) => u64::from(value.cast_unsigned()),
                Val::I64(value) => value.cast_unsigned(),
                _ => 0,
            };
        }
        let cells = cells.get(..params.len()).unwrap_or_default();
        let completion: Completion = with(&mut caller, context, wide, |ctx, mem| match &tracer {
            None => (function.call)(ctx, mem, cells),
            Some(tracer) => tracer.call(function, ctx, mem, cells),
        });
        let errno = not_interrupted(&caller, completion.map_err(exit)?)?;
        if let Some(result) = results.first_mut() {
            *result = Val::I32(errno.cast_signed());
        }
        Ok(())
    })?;
    Ok(())
}

/// Runs a function on the caller's context and memory.
#[inline(always)]
#[allow(unsafe_code, reason = "the memory is reached by address")]
fn with<T: 'static, R>(
    caller: &mut Caller<'_, T>,
    context: impl Fn(&mut T) -> &mut WasiCtx,
    wide: bool,
    function: impl FnOnce(&mut WasiCtx, &mut GuestMemory<'_>) -> R,
) -> R {
    let (base, len) = caller.exported_memory().unwrap_or((std::ptr::dangling_mut(), 0));
    // SAFETY: the store is borrowed as long as the caller is, so that nobody refers to the memory, which does not shrink or
    // move, and is not grown by what runs here; the host's data do not lie in it.
    let memory = unsafe { GuestMemory::from_raw(base, len) };
    let mut memory = if wide { memory.with_64_bit_addresses() } else { memory };
    function(context(caller.data_mut()), &mut memory)
}
