//! Defines the functions into a linker: the only file here that knows the runtime, and one expansion of the one list.
//!
//! A host function finds the memory that the calling instance exports as `memory` and the context in the store's data, and has
//! both at once. An instance without a memory has one of no bytes: it can still end, yield and look at nothing.

use wasmc_runtime::{Caller, Extern, Linker};

use crate::ctx::WasiCtx;
use crate::guest::GuestMemory;
use crate::preview1::{self, Complete, Exit, kind};

/// Makes all of `wasi_snapshot_preview1` available to programs that `linker` links. `context` finds the context in the
/// store's data.
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
    macro_rules! define {
        ($($returns:ident $name:ident($($param:ident: $kind:ident),*);)*) => {
            $(linker.func_wrap(
                preview1::MODULE,
                stringify!($name),
                move |mut caller: Caller<'_, T>, $($param: <kind::$kind as kind::Kind>::Wasm),*| -> define!(@$returns) {
                    with(&mut caller, context, |ctx, mem| {
                        preview1::$name(ctx, mem, $(<kind::$kind as kind::Kind>::lift($param)),*).complete(ctx)
                    })
                    // An errno is at most 76.
                    .map(|errno| define!(@$returns errno))
                    .map_err(|Exit(code)| wasmc_runtime::Exit(code.cast_signed()).into())
                },
            )?;)*
        };
        (@errno) => { wasmc_runtime::Result<i32> };
        (@errno $errno:ident) => { $errno.cast_signed() };
        (@exit) => { wasmc_runtime::Result<()> };
        (@exit $errno:ident) => {{ let _: u32 = $errno; }};
    }
    crate::for_each_preview1_function!(define);
    Ok(())
}

/// Runs a function on the caller's context and memory.
#[inline(always)]
fn with<T: 'static, R>(
    caller: &mut Caller<'_, T>,
    context: impl Fn(&mut T) -> &mut WasiCtx,
    function: impl FnOnce(&mut WasiCtx, &mut GuestMemory<'_>) -> R,
) -> R {
    match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => {
            let (bytes, data) = memory.data_and_store_mut(caller);
            function(context(data), &mut GuestMemory::new(bytes))
        }
        Some(Extern::SharedMemory(memory)) => {
            // SAFETY: as many bytes stay accessible as long as the handle lives, and nobody makes references to a shared memory.
            #[allow(unsafe_code, reason = "the memory is reached by address, as in `guest`")]
            let mut guest = unsafe { GuestMemory::from_raw(memory.data_ptr(), memory.data_size()) };
            function(context(caller.data_mut()), &mut guest)
        }
        _ => function(context(caller.data_mut()), &mut GuestMemory::new(&mut [])),
    }
}
