//! Closures as host functions. For each closure type there is a shim on argument arrays, and, if only numbers are passed
//! and there is at most one result, a shim with the arguments in registers, which compiled code calls without touching memory.

use crate::Result;
use crate::caller::Caller;
use crate::error::wrong_store;
use crate::func::{AnyHostFunc, ArrayFn, Func, HostFunc, TypedFn, host_call, is_watched, unwatched_host_call, watched_host_call};
use crate::registry::Registry;
use crate::store::StoreOpaque;
use crate::value::{ExnRef, ExternRef, V128};
use std::sync::Arc;
use wasmc_environ::types::*;
use wasmc_environ::vmlayout::*;

/// A Rust type that stands for one WebAssembly value: `i32`, `u32`, `i64`, `u64`, `f32`, `f64`, [`V128`], [`Func`],
/// [`ExternRef`], [`ExnRef`], and `Option`s of the last three for references that can be null.
///
/// # Safety
/// Only this crate implements it: slots must hold what the type says.
pub unsafe trait WasmTy: Sized {
    /// How the value travels in registers, if it does.
    #[doc(hidden)]
    type Abi: Copy;
    /// Whether it does.
    #[doc(hidden)]
    const IN_REGISTER: bool;
    /// The WebAssembly type.
    #[doc(hidden)]
    fn val_type() -> ValType;
    /// From a register; only if `IN_REGISTER`.
    #[doc(hidden)]
    fn from_abi(abi: Self::Abi) -> Self;
    /// To the bits in `HostRet::value`; only if `IN_REGISTER`.
    #[doc(hidden)]
    fn into_bits(self) -> u64;
    /// # Safety
    /// The store is alive, and the slot holds a value of this type.
    #[doc(hidden)]
    unsafe fn load(store: *mut StoreOpaque, raw: ValRaw) -> Self;
    /// # Safety
    /// The store is alive.
    #[doc(hidden)]
    unsafe fn store(self, store: *mut StoreOpaque) -> Result<ValRaw>;
}

macro_rules! numbers {
    ($($ty:ident $abi:ident $val:ident |$v:ident| $from:expr, $bits:expr;)*) => {$(
        // SAFETY: a number's bits are in the low bytes of its slot.
        unsafe impl WasmTy for $ty {
            type Abi = $abi;
            const IN_REGISTER: bool = true;
            #[inline(always)]
            fn val_type() -> ValType {
                ValType::$val
            }
            #[inline(always)]
            fn from_abi($v: $abi) -> Self {
                $from
            }
            #[inline(always)]
            fn into_bits(self) -> u64 {
                let $v = self;
                $bits
            }
            #[inline(always)]
            unsafe fn load(_: *mut StoreOpaque, raw: ValRaw) -> Self {
                number_from_slot!($ty, raw)
            }
            #[inline(always)]
            unsafe fn store(self, _: *mut StoreOpaque) -> Result<ValRaw> {
                Ok(ValRaw::u64(WasmTy::into_bits(self)))
            }
        }
    )*};
}

macro_rules! number_from_slot {
    (f32, $raw:ident) => {
        f32::from_bits($raw.get_u32())
    };
    (f64, $raw:ident) => {
        f64::from_bits($raw.get_u64())
    };
    ($ty:ident, $raw:ident) => {
        $raw.get_u64() as $ty
    };
}

numbers! {
    i32 i32 I32 |v| v, u64::from(v as u32);
    u32 i32 I32 |v| v as u32, u64::from(v);
    i64 i64 I64 |v| v, v as u64;
    u64 i64 I64 |v| v as u64, v;
    f32 f32 F32 |v| v, u64::from(v.to_bits());
    f64 f64 F64 |v| v, v.to_bits();
}

/// What is not passed in registers has no use for the methods that do so; they are never called.
macro_rules! not_in_register {
    () => {
        type Abi = u64;
        const IN_REGISTER: bool = false;
        fn from_abi(_: u64) -> Self {
            unreachable!("only values in registers are taken from there")
        }
        fn into_bits(self) -> u64 {
            unreachable!("only values in registers are put there")
        }
    };
}

// SAFETY: the slot holds the vector.
unsafe impl WasmTy for V128 {
    not_in_register!();
    fn val_type() -> ValType {
        ValType::V128
    }
    unsafe fn load(_: *mut StoreOpaque, raw: ValRaw) -> Self {
        raw.get_v128().into()
    }
    unsafe fn store(self, _: *mut StoreOpaque) -> Result<ValRaw> {
        Ok(ValRaw::v128(self.as_u128()))
    }
}

// SAFETY: the slot holds a `VMFuncRef` pointer or null.
unsafe impl WasmTy for Option<Func> {
    not_in_register!();
    fn val_type() -> ValType {
        ValType::Ref(RefType::FUNCREF)
    }
    unsafe fn load(store: *mut StoreOpaque, raw: ValRaw) -> Self {
        // SAFETY: by the caller.
        unsafe { Func::from_raw((*store).id, raw.get_u64() as *mut VMFuncRef) }
    }
    unsafe fn store(self, store: *mut StoreOpaque) -> Result<ValRaw> {
        // SAFETY: by the caller.
        Ok(ValRaw::u64(self.map_or(Ok(std::ptr::null_mut()), |f| f.checked(unsafe { &*store }))? as u64))
    }
}

macro_rules! heap_references {
    ($($ty:ident $nullable:ident $what:literal;)*) => {$(
        // SAFETY: the slot holds the index of such an object or 0.
        unsafe impl WasmTy for Option<$ty> {
            not_in_register!();
            fn val_type() -> ValType {
                ValType::Ref(RefType::$nullable)
            }
            unsafe fn load(store: *mut StoreOpaque, raw: ValRaw) -> Self {
                let index = raw.get_u32();
                // SAFETY: by the caller.
                (index != 0).then(|| $ty(unsafe { StoreOpaque::root(store, index) }))
            }
            unsafe fn store(self, store: *mut StoreOpaque) -> Result<ValRaw> {
                let Some(r) = self else { return Ok(ValRaw::u32(0)) };
                // SAFETY: by the caller.
                let id = unsafe { (*store).id };
                Ok(ValRaw::u32(r.0.index(id).ok_or_else(|| wrong_store($what))?))
            }
        }
    )*};
}

heap_references! {
    ExternRef EXTERNREF "externref";
    ExnRef EXNREF "exception";
}

macro_rules! not_null {
    ($($ty:ident)*) => {$(
        // SAFETY: as the nullable reference; validation keeps null out.
        unsafe impl WasmTy for $ty {
            not_in_register!();
            fn val_type() -> ValType {
                match Option::<$ty>::val_type() {
                    ValType::Ref(r) => ValType::Ref(RefType { nullable: false, ..r }),
                    other => other,
                }
            }
            unsafe fn load(store: *mut StoreOpaque, raw: ValRaw) -> Self {
                // SAFETY: by the caller.
                match unsafe { Option::<$ty>::load(store, raw) } {
                    Some(r) => r,
                    None => unreachable!("null in a reference that cannot be null"),
                }
            }
            unsafe fn store(self, store: *mut StoreOpaque) -> Result<ValRaw> {
                // SAFETY: by the caller.
                unsafe { WasmTy::store(Some(self), store) }
            }
        }
    )*};
}

not_null!(Func ExternRef ExnRef);

/// What a host function's closure can return: nothing, a [`WasmTy`], a tuple of them, or a [`Result`] of these.
///
/// # Safety
/// Only this crate implements it: slots must hold what the types say.
pub unsafe trait WasmRet: Sized {
    /// Whether there is at most one result, which is returned in a register.
    #[doc(hidden)]
    const IN_REGISTER: bool;
    /// The types of the results.
    #[doc(hidden)]
    fn val_types() -> Vec<ValType>;
    /// To the bits in `HostRet::value`; only if `IN_REGISTER`.
    #[doc(hidden)]
    fn into_bits(self) -> Result<u64>;
    /// # Safety
    /// The store is alive, and the array has a slot for each result.
    #[doc(hidden)]
    unsafe fn store(self, store: *mut StoreOpaque, args: *mut ValRaw) -> Result<()>;
}

// SAFETY: as `WasmTy`.
unsafe impl<V: WasmTy> WasmRet for V {
    const IN_REGISTER: bool = V::IN_REGISTER;
    fn val_types() -> Vec<ValType> {
        vec![V::val_type()]
    }
    #[inline(always)]
    fn into_bits(self) -> Result<u64> {
        Ok(WasmTy::into_bits(self))
    }
    #[inline(always)]
    unsafe fn store(self, store: *mut StoreOpaque, args: *mut ValRaw) -> Result<()> {
        // SAFETY: by the caller.
        unsafe { *args = WasmTy::store(self, store)? };
        Ok(())
    }
}

// SAFETY: as what is in the result.
unsafe impl<V: WasmRet> WasmRet for Result<V> {
    const IN_REGISTER: bool = V::IN_REGISTER;
    fn val_types() -> Vec<ValType> {
        V::val_types()
    }
    #[inline(always)]
    fn into_bits(self) -> Result<u64> {
        self?.into_bits()
    }
    #[inline(always)]
    unsafe fn store(self, store: *mut StoreOpaque, args: *mut ValRaw) -> Result<()> {
        // SAFETY: by the caller.
        unsafe { self?.store(store, args) }
    }
}

macro_rules! tuple_results {
    ($($name:ident $i:tt)*) => {
        // SAFETY: as its members, each in its slot.
        unsafe impl<$($name: WasmTy),*> WasmRet for ($($name,)*) {
            const IN_REGISTER: bool = one_in_register!($($name)*);
            fn val_types() -> Vec<ValType> {
                vec![$($name::val_type()),*]
            }
            #[inline(always)]
            fn into_bits(self) -> Result<u64> {
                one_into_bits!(self $($name)*)
            }
            #[inline(always)]
            #[allow(unused_variables, unused_unsafe, reason = "no results")]
            unsafe fn store(self, store: *mut StoreOpaque, args: *mut ValRaw) -> Result<()> {
                // SAFETY: by the caller.
                unsafe {
                    $(*args.add($i) = WasmTy::store(self.$i, store)?;)*
                }
                Ok(())
            }
        }
    };
}

macro_rules! one_in_register {
    () => {
        true
    };
    ($one:ident) => {
        $one::IN_REGISTER
    };
    ($($several:ident)*) => {
        false
    };
}

macro_rules! one_into_bits {
    ($self:ident) => {
        Ok(0)
    };
    ($self:ident $one:ident) => {
        Ok(WasmTy::into_bits($self.0))
    };
    ($self:ident $($several:ident)*) => {
        unreachable!("several results are not in a register")
    };
}

/// A closure that can be a host function. Its parameters are up to 16 [`WasmTy`]s, optionally after a [`Caller`]; its
/// result is a [`WasmRet`].
pub trait IntoFunc<T: 'static, Params, Results>: Send + Sync + 'static {
    /// The host function.
    #[doc(hidden)]
    fn into_host_func(self, registry: &Arc<Registry>) -> Arc<AnyHostFunc>;
}

/// What a host function whose result is an `i32` tries first. It becomes part of the shim that compiled code calls, so that nothing
/// is saved, caught or returned through on its account; the rest of the host function is called if this has no result.
/// It must not panic, which would end the process.
pub trait Quick<T: 'static, Params>: Send + Sync + 'static {
    /// Whether it never has a result.
    #[doc(hidden)]
    const NEVER: bool = false;
    /// The result, if it has one.
    #[doc(hidden)]
    fn attempt(&self, caller: Caller<'_, T>, params: Params) -> Option<i32>;
}

/// Nothing is tried first.
#[derive(Debug)]
pub struct Never;

impl<T: 'static, Params> Quick<T, Params> for Never {
    const NEVER: bool = true;
    fn attempt(&self, _: Caller<'_, T>, _: Params) -> Option<i32> {
        None
    }
}

/// A closure that can be the rest of a host function after a [`Quick`] one.
pub trait IntoFuncAfter<T: 'static, Params, Results>: Send + Sync + 'static {
    /// The host function.
    #[doc(hidden)]
    fn into_host_func_after(self, quick: impl Quick<T, Params>, registry: &Arc<Registry>) -> Arc<AnyHostFunc>;
}

#[inline(always)]
fn host_ret(result: std::result::Result<u64, u64>) -> HostRet {
    match result {
        Ok(value) => HostRet { value, status: STATUS_OK },
        Err(status) => HostRet { value: 0, status },
    }
}

/// The closures of a host function.
struct Closures<Q, F> {
    quick: Q,
    rest: F,
}

macro_rules! into_func {
    ($($a:ident $i:tt)*) => {
        #[allow(non_snake_case, reason = "parameters are named after their types")]
        impl<T: 'static, Q, $($a: WasmTy),*> Quick<T, ($($a,)*)> for Q
        where
            Q: for<'a> Fn(Caller<'a, T>, $($a),*) -> Option<i32> + Send + Sync + 'static,
        {
            #[inline(always)]
            fn attempt(&self, caller: Caller<'_, T>, ($($a,)*): ($($a,)*)) -> Option<i32> {
                self(caller, $($a),*)
            }
        }

        #[allow(non_snake_case, reason = "parameters are named after their types")]
        impl<T: 'static, F, R, $($a),*> IntoFuncAfter<T, ($($a,)*), R> for F
        where
            F: for<'a> Fn(Caller<'a, T>, $($a),*) -> R + Send + Sync + 'static,
            R: WasmRet,
            $($a: WasmTy,)*
        {
            fn into_host_func_after(self, quick: impl Quick<T, ($($a,)*)>, registry: &Arc<Registry>) -> Arc<AnyHostFunc> {
                unsafe extern "C" fn array<T: 'static, Q, F, R, $($a),*>(exit: *mut VMExitContext, args: *mut ValRaw) -> u64
                where
                    F: for<'a> Fn(Caller<'a, T>, $($a),*) -> R,
                    R: WasmRet,
                    $($a: WasmTy,)*
                {
                    // SAFETY: the stub or the interpreter gives an array of the type's slots and this function's binding.
                    let result = unsafe {
                        host_call::<Closures<Q, F>, ()>(exit, |store, f| {
                            $(let $a = <$a as WasmTy>::load(store, *args.add($i));)*
                            (f.rest)(Caller::new(exit), $($a),*).store(store, args)
                        })
                    };
                    result.err().unwrap_or(STATUS_OK)
                }
                #[inline(always)]
                #[allow(clippy::too_many_arguments, reason = "the closure has as many")]
                unsafe fn body<T: 'static, Q, F, R, $($a),*>(f: &Closures<Q, F>, exit: *mut VMExitContext, $($a: $a::Abi),*) -> Result<u64>
                where
                    F: for<'a> Fn(Caller<'a, T>, $($a),*) -> R,
                    R: WasmRet,
                    $($a: WasmTy,)*
                {
                    // SAFETY: as for `typed`.
                    (f.rest)(unsafe { Caller::new(exit) }, $(<$a as WasmTy>::from_abi($a)),*).into_bits()
                }
                // By itself, so that what is tried first saves no registers for it.
                #[inline(never)]
                unsafe extern "C" fn typed<T: 'static, Q, F, R, $($a),*>(exit: *mut VMExitContext, $($a: $a::Abi),*) -> HostRet
                where
                    F: for<'a> Fn(Caller<'a, T>, $($a),*) -> R,
                    R: WasmRet,
                    $($a: WasmTy,)*
                {
                    // SAFETY: the stub gives arguments of the types and this function's binding.
                    unsafe {
                        if is_watched(exit) {
                            return watched::<T, Q, F, R, $($a),*>(exit, $($a),*);
                        }
                        host_ret(unwatched_host_call(exit, |_, f| body::<T, Q, F, R, $($a),*>(f, exit, $($a),*)))
                    }
                }
                // As `typed`, where time or calls are counted. By itself, so that the others keep nothing for it in registers or on the stack;
                // with the same arguments, so that the compiler jumps to it.
                #[cold]
                #[inline(never)]
                unsafe extern "C" fn watched<T: 'static, Q, F, R, $($a),*>(exit: *mut VMExitContext, $($a: $a::Abi),*) -> HostRet
                where
                    F: for<'a> Fn(Caller<'a, T>, $($a),*) -> R,
                    R: WasmRet,
                    $($a: WasmTy,)*
                {
                    // SAFETY: as for `typed`.
                    unsafe { host_ret(watched_host_call(exit, |_, f| body::<T, Q, F, R, $($a),*>(f, exit, $($a),*))) }
                }
                /// Tries `Q` first; the rest is `typed` with the same arguments, which the compiler jumps to.
                unsafe extern "C" fn quick_typed<T: 'static, Q, F, R, $($a),*>(exit: *mut VMExitContext, $($a: $a::Abi),*) -> HostRet
                where
                    Q: Quick<T, ($($a,)*)>,
                    F: for<'a> Fn(Caller<'a, T>, $($a),*) -> R,
                    R: WasmRet,
                    $($a: WasmTy,)*
                {
                    // SAFETY: as for `typed`.
                    unsafe {
                        if !is_watched(exit) {
                            let closures = &(*(*exit).data.cast::<HostFunc<Closures<Q, F>>>()).closure;
                            if let Some(result) = closures.quick.attempt(Caller::new(exit), ($(<$a as WasmTy>::from_abi($a),)*)) {
                                return HostRet { value: WasmTy::into_bits(result), status: STATUS_OK };
                            }
                        }
                        typed::<T, Q, F, R, $($a),*>(exit, $($a),*)
                    }
                }
                fn shims<T: 'static, Q, F, R, $($a),*>(_: &Closures<Q, F>) -> (ArrayFn, Option<TypedFn>)
                where
                    Q: Quick<T, ($($a,)*)>,
                    F: for<'a> Fn(Caller<'a, T>, $($a),*) -> R,
                    R: WasmRet,
                    $($a: WasmTy,)*
                {
                    let typed_fn = (R::IN_REGISTER $(&& $a::IN_REGISTER)*).then(|| {
                        let f: unsafe extern "C" fn(*mut VMExitContext, $($a::Abi),*) -> HostRet =
                            if Q::NEVER { typed::<T, Q, F, R, $($a),*> } else { quick_typed::<T, Q, F, R, $($a),*> };
                        // SAFETY: a function pointer that is only called after it was cast back, by the stub for its type.
                        unsafe { std::mem::transmute::<_, TypedFn>(f) }
                    });
                    (array::<T, Q, F, R, $($a),*>, typed_fn)
                }
                let closures = Closures { quick, rest: self };
                let (array_fn, typed_fn) = shims::<T, _, F, R, $($a),*>(&closures);
                let ty = FuncType::new([$($a::val_type()),*], R::val_types());
                match HostFunc::new(registry, ty, closures, array_fn, typed_fn) {
                    Ok(f) => f,
                    Err(_) => unreachable!("the types of closures name no other types"),
                }
            }
        }

        #[allow(non_snake_case, reason = "parameters are named after their types")]
        impl<T: 'static, F, R, $($a),*> IntoFunc<T, (Caller<'_, T>, $($a,)*), R> for F
        where
            F: for<'a> Fn(Caller<'a, T>, $($a),*) -> R + Send + Sync + 'static,
            R: WasmRet,
            $($a: WasmTy,)*
        {
            fn into_host_func(self, registry: &Arc<Registry>) -> Arc<AnyHostFunc> {
                IntoFuncAfter::<T, ($($a,)*), R>::into_host_func_after(self, Never, registry)
            }
        }

        #[allow(non_snake_case, reason = "parameters are named after their types")]
        impl<T: 'static, F, R, $($a),*> IntoFunc<T, ($($a,)*), R> for F
        where
            F: Fn($($a),*) -> R + Send + Sync + 'static,
            R: WasmRet,
            $($a: WasmTy,)*
        {
            fn into_host_func(self, registry: &Arc<Registry>) -> Arc<AnyHostFunc> {
                let f = move |_: Caller<'_, T>, $($a: $a),*| self($($a),*);
                IntoFuncAfter::<T, ($($a,)*), R>::into_host_func_after(f, Never, registry)
            }
        }
    };
}

macro_rules! for_each_arity {
    ($mac:ident) => {
        $mac!();
        $mac!(A0 0);
        $mac!(A0 0 A1 1);
        $mac!(A0 0 A1 1 A2 2);
        $mac!(A0 0 A1 1 A2 2 A3 3);
        $mac!(A0 0 A1 1 A2 2 A3 3 A4 4);
        $mac!(A0 0 A1 1 A2 2 A3 3 A4 4 A5 5);
        $mac!(A0 0 A1 1 A2 2 A3 3 A4 4 A5 5 A6 6);
        $mac!(A0 0 A1 1 A2 2 A3 3 A4 4 A5 5 A6 6 A7 7);
        $mac!(A0 0 A1 1 A2 2 A3 3 A4 4 A5 5 A6 6 A7 7 A8 8);
        $mac!(A0 0 A1 1 A2 2 A3 3 A4 4 A5 5 A6 6 A7 7 A8 8 A9 9);
        $mac!(A0 0 A1 1 A2 2 A3 3 A4 4 A5 5 A6 6 A7 7 A8 8 A9 9 A10 10);
        $mac!(A0 0 A1 1 A2 2 A3 3 A4 4 A5 5 A6 6 A7 7 A8 8 A9 9 A10 10 A11 11);
        $mac!(A0 0 A1 1 A2 2 A3 3 A4 4 A5 5 A6 6 A7 7 A8 8 A9 9 A10 10 A11 11 A12 12);
        $mac!(A0 0 A1 1 A2 2 A3 3 A4 4 A5 5 A6 6 A7 7 A8 8 A9 9 A10 10 A11 11 A12 12 A13 13);
        $mac!(A0 0 A1 1 A2 2 A3 3 A4 4 A5 5 A6 6 A7 7 A8 8 A9 9 A10 10 A11 11 A12 12 A13 13 A14 14);
        $mac!(A0 0 A1 1 A2 2 A3 3 A4 4 A5 5 A6 6 A7 7 A8 8 A9 9 A10 10 A11 11 A12 12 A13 13 A14 14 A15 15);
    };
}
pub(crate) use for_each_arity;

for_each_arity!(tuple_results);
for_each_arity!(into_func);
