//! Functions whose type was checked once: a call writes the parameters straight into an array on the stack and enters. For
//! native code with a known entry stub that is all; everything else goes through `exec::enter_function`.

use crate::Result;
use crate::context::AsContextMut;
use crate::exec::{self, Callee};
use crate::func::Func;
use crate::into_func::{WasmTy, for_each_arity};
use crate::store::StoreOpaque;
use crate::vm;
use anyhow::bail;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use wasmc_environ::types::*;
use wasmc_environ::vmlayout::*;

/// The parameters of a typed call: a [`WasmTy`], or a tuple of up to 16.
///
/// # Safety
/// Only this crate implements it: slots must hold what the types say.
pub unsafe trait WasmParams: Sized {
    /// Room for them.
    #[doc(hidden)]
    type Slots: Copy;
    #[doc(hidden)]
    fn val_types() -> Vec<ValType>;
    /// # Safety
    /// The store is alive, and the array has a slot for each.
    #[doc(hidden)]
    unsafe fn store(self, store: *mut StoreOpaque, args: *mut ValRaw) -> Result<()>;
}

/// The results of a typed call: a [`WasmTy`], or a tuple of up to 16.
///
/// # Safety
/// Only this crate implements it: slots must hold what the types say.
pub unsafe trait WasmResults: WasmParams {
    /// # Safety
    /// The store is alive, and the array holds values of the types.
    #[doc(hidden)]
    unsafe fn load(store: *mut StoreOpaque, args: *const ValRaw) -> Self;
}

// SAFETY: as `WasmTy`.
unsafe impl<V: WasmTy> WasmParams for V {
    type Slots = [ValRaw; 1];
    fn val_types() -> Vec<ValType> {
        vec![V::val_type()]
    }
    #[inline(always)]
    unsafe fn store(self, store: *mut StoreOpaque, args: *mut ValRaw) -> Result<()> {
        // SAFETY: by the caller.
        unsafe { *args = WasmTy::store(self, store)? };
        Ok(())
    }
}

// SAFETY: as `WasmTy`.
unsafe impl<V: WasmTy> WasmResults for V {
    #[inline(always)]
    unsafe fn load(store: *mut StoreOpaque, args: *const ValRaw) -> Self {
        // SAFETY: by the caller.
        unsafe { WasmTy::load(store, *args) }
    }
}

macro_rules! tuples {
    ($($name:ident $i:tt)*) => {
        // SAFETY: as its members, each in its slot.
        unsafe impl<$($name: WasmTy),*> WasmParams for ($($name,)*) {
            type Slots = [ValRaw; <[usize]>::len(&[$($i),*])];
            fn val_types() -> Vec<ValType> {
                vec![$($name::val_type()),*]
            }
            #[inline(always)]
            #[allow(unused_variables, unused_unsafe, reason = "no members")]
            unsafe fn store(self, store: *mut StoreOpaque, args: *mut ValRaw) -> Result<()> {
                // SAFETY: by the caller.
                unsafe {
                    $(*args.add($i) = WasmTy::store(self.$i, store)?;)*
                }
                Ok(())
            }
        }

        // SAFETY: as its members, each in its slot.
        unsafe impl<$($name: WasmTy),*> WasmResults for ($($name,)*) {
            #[inline(always)]
            #[allow(unused_variables, unused_unsafe, clippy::unused_unit, reason = "no members")]
            unsafe fn load(store: *mut StoreOpaque, args: *const ValRaw) -> Self {
                // SAFETY: by the caller.
                unsafe { ($(<$name as WasmTy>::load(store, *args.add($i)),)*) }
            }
        }
    };
}

for_each_arity!(tuples);

/// Parameters and results share their array.
#[repr(C)]
union Slots<P: Copy, R: Copy> {
    params: P,
    results: R,
}

/// A function with parameters `P` and results `R`.
pub struct TypedFunc<P, R> {
    func: Func,
    /// The entry stub, if this is native code and the store knew one. The store keeps its code.
    entry: *const u8,
    signature: PhantomData<fn(P) -> R>,
}

// SAFETY: the pointers are only followed with the store at hand, whose rules hold then.
unsafe impl<P, R> Send for TypedFunc<P, R> {}
// SAFETY: as above.
unsafe impl<P, R> Sync for TypedFunc<P, R> {}

impl<P, R> Copy for TypedFunc<P, R> {}

impl<P, R> Clone for TypedFunc<P, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P, R> std::fmt::Debug for TypedFunc<P, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TypedFunc").field(&self.func).finish()
    }
}

impl<P: WasmParams, R: WasmResults> TypedFunc<P, R> {
    pub(crate) fn new(func: Func, store: &StoreOpaque) -> Result<Self> {
        let registry = store.engine.registry();
        let ty = registry.func_type(func.type_id(store)?);
        let (params, results) = (P::val_types(), R::val_types());
        let fits = params.len() == ty.params.len()
            && results.len() == ty.results.len()
            && params.iter().zip(&ty.params).all(|(given, wanted)| registry.val_subtype(*given, *wanted))
            && results.iter().zip(&ty.results).all(|(wanted, given)| registry.val_subtype(*given, *wanted));
        if !fits {
            bail!("the function has type {ty}, not {}", FuncType::new(params, results));
        }
        // SAFETY: the function belongs to this store, which is alive.
        let compiled = unsafe { (*func.checked(store)?).kind == FuncKind::Compiled as u32 };
        let entry = if compiled && store.trace.is_none() { store.known_entry_stub(func.type_id(store)?) } else { std::ptr::null() };
        Ok(Self { func, entry, signature: PhantomData })
    }

    /// The function without its static type.
    pub fn func(&self) -> &Func {
        &self.func
    }

    /// Calls the function.
    ///
    /// # Errors
    /// If the function or a reference among the parameters belongs to another store, or the call ends with a `Trap`, an
    /// [`Exit`](crate::Exit), a [`ThrownException`](crate::ThrownException), or a host function's error.
    #[inline]
    pub fn call(&self, mut store: impl AsContextMut, params: P) -> Result<R> {
        let store = store.as_context_mut().raw();
        let mut slots = MaybeUninit::<Slots<P::Slots, R::Slots>>::uninit();
        let args: *mut ValRaw = slots.as_mut_ptr().cast();
        // SAFETY: the store is borrowed uniquely; the function has this type, so the array has its slots.
        unsafe {
            let func_ref = self.func.checked(&*store)?;
            params.store(store, args)?;
            let status = if self.entry.is_null() {
                exec::enter_function(store, Callee::FuncRef(func_ref), args)
            } else {
                vm::enter(store, self.entry, (*func_ref).code, (*func_ref).ctx, args)
            };
            if status != STATUS_OK {
                return Err(StoreOpaque::take_error(store, status));
            }
            Ok(R::load(store, args))
        }
    }
}
