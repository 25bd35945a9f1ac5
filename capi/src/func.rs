//! Functions: those of C's, and calls.

use std::ffi::c_void;

use anyhow::{Result, bail};
use smallvec::SmallVec;
use wasmc_runtime::{AsContext, Caller, Func, FuncType, Val};

use crate::error::{boxed, get};
use crate::guard::api;
use crate::object::{Finalizer, HostInfo, Object, What, wasm_func_t};
use crate::store::{HostData, StoreRef, store, wasm_store_t};
use crate::trap::{self, TrapData, data};
use crate::types::{Type, release, wasm_functype_t};
use crate::value::{self, Values, wasm_val_t};
use crate::vector::{Vector, wasm_val_vec_t};

pub use crate::object::wasm_trap_t;

/// A function of C's.
pub type wasm_func_callback_t = Option<unsafe extern "C" fn(*const wasm_val_vec_t, *mut wasm_val_vec_t) -> *mut wasm_trap_t>;
/// A function of C's with something that it was made with.
pub type wasm_func_callback_with_env_t =
    Option<unsafe extern "C" fn(*mut c_void, *const wasm_val_vec_t, *mut wasm_val_vec_t) -> *mut wasm_trap_t>;

/// Function and store of a reference.
///
/// # Safety
/// The pointer is null or a function.
pub(crate) unsafe fn parts<'a>(func: *const wasm_func_t) -> Result<(&'a StoreRef, Func)> {
    // SAFETY: by the caller.
    let object = &unsafe { get(func, "the function") }?.0;
    match &object.what {
        What::Func(func) => Ok((object.store()?, *func)),
        _ => bail!("this reference is not to a function"),
    }
}

/// Makes a function of `call`, which is C's.
///
/// # Safety
/// The pointers are null or what they say.
unsafe fn make(
    of: *mut wasm_store_t,
    ty: *const wasm_functype_t,
    call: impl Fn(*const wasm_val_vec_t, *mut wasm_val_vec_t) -> *mut wasm_trap_t + Send + Sync + 'static,
) -> *mut wasm_func_t {
    // SAFETY: by the caller.
    let made = unsafe {
        store(of).and_then(|store| {
            let ty = get(ty, "the type of the function")?.0.to_func()?;
            let results_of = ty.clone();
            let func = Func::new(store.context(), ty, move |caller, args, results| callback(caller, &results_of, &call, args, results))?;
            Ok(Object::new(store, What::Func(func)))
        })
    };
    boxed(made)
}

/// Calls a function of C's for WebAssembly.
fn callback(
    caller: Caller<'_, HostData>,
    ty: &FuncType,
    call: &dyn Fn(*const wasm_val_vec_t, *mut wasm_val_vec_t) -> *mut wasm_trap_t,
    args: &[Val],
    results: &mut [Val],
) -> Result<()> {
    let Some(store) = StoreRef::of(caller.data()) else { bail!("the store is being dropped") };
    let mut args_of_c: SmallVec<[wasm_val_t; 8]> = SmallVec::new();
    value::from_vals(&store, args, &mut args_of_c)?;
    let mut outs: SmallVec<[wasm_val_t; 8]> = SmallVec::new();
    for ty in &ty.results {
        outs.push(wasm_val_t::zero(*ty));
    }
    let view = |values: &mut [wasm_val_t]| match values {
        [] => Vector::EMPTY,
        values => Vector { size: values.len(), data: values.as_mut_ptr() },
    };
    let (given, mut taken) = (view(&mut args_of_c), view(&mut outs));
    // `caller` stays, unused, while C uses the store through its own handles: both are only ways to the same store.
    let returned = call(&raw const given, &raw mut taken);
    // SAFETY: the arguments were made here, and lent; the results are C's to make and ours to release; a trap is ours now.
    unsafe {
        value::release(&mut args_of_c);
        let outcome = if returned.is_null() {
            outs.iter().zip(&ty.results).zip(results).try_for_each(|((v, t), slot)| v.to_val(&store, *t).map(|val| *slot = val))
        } else {
            let error = data(returned).map(|(_, data)| TrapData::to_error(data, caller.as_context()));
            release(returned);
            Err(error.unwrap_or_else(|e| e))
        };
        value::release(&mut outs);
        outcome
    }
}

/// Calls a function for C.
///
/// # Safety
/// The vectors are null or valid.
unsafe fn call(store: &StoreRef, func: Func, args: *const wasm_val_vec_t, results: *mut wasm_val_vec_t) -> Result<()> {
    // SAFETY: by the caller.
    unsafe {
        let ty = func.shared_type(store.context());
        let mut vals = Values::new();
        value::arguments(store, &ty, args, &mut vals)?;
        let room = results.as_ref().map_or(0, |r| if r.data.is_null() { 0 } else { r.size });
        if room != ty.results.len() {
            bail!("a function of type {ty} does not have {room} results");
        }
        let mut returned = Values::new();
        returned.resize(room, Val::I32(0));
        func.call(store.context(), &vals, &mut returned)?;
        let mut made: SmallVec<[wasm_val_t; 8]> = SmallVec::new();
        value::from_vals(store, &returned, &mut made)?;
        for (i, val) in made.iter().enumerate() {
            (*results).data.add(i).write(*val);
        }
        Ok(())
    }
}

api! {
    /// A function of C's.
    fn wasm_func_new(of: *mut wasm_store_t, ty: *const wasm_functype_t, callback: wasm_func_callback_t) -> *mut wasm_func_t {
        let Some(callback) = callback else { return boxed(Err::<Object, _>(crate::error::null("the callback"))) };
        // SAFETY: the pointers are vectors, as the header says.
        make(of, ty, move |args, results| unsafe { callback(args, results) })
    }

    /// A function of C's with something that it is called with, and that is released when the store is.
    fn wasm_func_new_with_env(
        of: *mut wasm_store_t,
        ty: *const wasm_functype_t,
        callback: wasm_func_callback_with_env_t,
        env: *mut c_void,
        finalizer: Finalizer,
    ) -> *mut wasm_func_t {
        // Dropped with the closure, or here if there is to be none.
        let env = HostInfo { info: env, finalizer };
        let Some(callback) = callback else { return boxed(Err::<Object, _>(crate::error::null("the callback"))) };
        make(of, ty, move |args, results| {
            let env = &env;
            // SAFETY: as above, and the environment is what the callback was given with.
            unsafe { callback(env.info, args, results) }
        })
    }

    /// The type of a function.
    fn wasm_func_type(func: *const wasm_func_t) -> *mut wasm_functype_t {
        boxed(parts(func).map(|(store, func)| Type::func(&func.shared_type(store.context()))))
    }

    /// How many parameters a function has.
    fn wasm_func_param_arity(func: *const wasm_func_t) -> usize {
        parts(func).map_or(0, |(store, func)| func.shared_type(store.context()).params.len())
    }

    /// How many results a function has.
    fn wasm_func_result_arity(func: *const wasm_func_t) -> usize {
        parts(func).map_or(0, |(store, func)| func.shared_type(store.context()).results.len())
    }

    /// Calls a function. Returns why it ended without results, or null.
    fn wasm_func_call(func: *const wasm_func_t, args: *const wasm_val_vec_t, results: *mut wasm_val_vec_t) -> *mut wasm_trap_t {
        match parts(func) {
            Ok((store, func)) => {
                // The callee may release the reference through which it was called.
                let store = store.clone();
                let outcome = call(&store, func, args, results);
                store.settle();
                outcome.map_or_else(|e| trap::trap(&store, e), |()| std::ptr::null_mut())
            }
            Err(e) => boxed::<Object, _>(Err(e)),
        }
    }
}
