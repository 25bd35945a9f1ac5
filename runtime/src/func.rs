//! Functions. A handle is a pointer to a `VMFuncRef`; a host function is a closure with the shims through which native
//! and interpreted code call it, and a *binding*, made anew for each instance that imports it, so that it learns who calls.

use crate::Result;
use crate::caller::Caller;
use crate::context::{AsContext, AsContextMut};
use crate::error::{HostPanic, wrong_store};
use crate::exec::{self, Callee};
use crate::fuel;
use crate::into_func::IntoFunc;
use crate::ops;
use crate::registry::{Registry, Stubs, TypeRegistration};
use crate::store::{StoreId, StoreOpaque};
use crate::trace;
use crate::typed::{TypedFunc, WasmParams, WasmResults};
use crate::value::Val;
use crate::vm;
use anyhow::{Context as _, bail, ensure};
use smallvec::SmallVec;
use std::any::Any;
use std::mem::offset_of;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use wasmc_environ::types::*;
use wasmc_environ::vmlayout::*;

/// The shim that takes arguments in an array and leaves the results there; returns a status.
pub(crate) type ArrayFn = unsafe extern "C" fn(*mut VMExitContext, *mut ValRaw) -> u64;
/// The shim that takes arguments in registers; its true type depends on the function's.
pub(crate) type TypedFn = unsafe extern "C" fn();

/// A host function, not bound to a store. `VMExitContext::data` points here.
#[repr(C)]
pub struct HostFunc<F: ?Sized> {
    pub(crate) array_fn: ArrayFn,
    pub(crate) typed_fn: Option<TypedFn>,
    /// `code` of references for which no stub is known.
    pub(crate) lazy_code: usize,
    pub(crate) type_id: u32,
    pub(crate) ty: Arc<FuncType>,
    pub(crate) types: TypeRegistration,
    pub(crate) closure: F,
}

/// A host function with a closure of any type.
pub type AnyHostFunc = HostFunc<dyn Any + Send + Sync>;

impl<F: Any + Send + Sync> HostFunc<F> {
    /// # Errors
    /// If the type names a type that the engine does not know, or is of a proposal that is not supported.
    pub(crate) fn new(
        registry: &Arc<Registry>,
        ty: FuncType,
        closure: F,
        array_fn: ArrayFn,
        typed_fn: Option<TypedFn>,
    ) -> Result<Arc<AnyHostFunc>> {
        for t in ty.params.iter().chain(&ty.results) {
            check_val_type(*t)?;
        }
        let Some((type_id, types)) = registry.intern_func(&ty) else {
            bail!("the function type {ty} names a type that this engine does not have");
        };
        let lazy_code = vm::lazy_exit(&ty.abi()) as usize;
        Ok(Arc::new(Self { array_fn, typed_fn, lazy_code, type_id, ty: Arc::new(ty), types, closure }))
    }
}

/// Whether values of the type can exist.
pub(crate) fn check_val_type(ty: ValType) -> Result<()> {
    use HeapType as H;
    match ty {
        ValType::Ref(RefType { heap: H::Any | H::Eq | H::I31 | H::Struct | H::Array | H::None, .. }) => {
            bail!("type {ty} belongs to garbage collection, which is not supported")
        }
        _ => Ok(()),
    }
}

/// A reference to a host function, with what stubs and shims need to leave WebAssembly for it.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct ExitBinding {
    pub(crate) func_ref: VMFuncRef,
    pub(crate) exit: VMExitContext,
    /// What a call costs.
    pub(crate) cost: i64,
    /// What `exit` leads to as well, by a load or two more: the store, and the memory that the importing instance exports as `memory`
    /// (null if there is none).
    pub(crate) store: *mut StoreOpaque,
    pub(crate) exported_memory: *mut VMMemoryDefinition,
}

impl ExitBinding {
    /// What bindings of a host function that is imported as `func_index` have in common: they lack their store and instance. The stubs
    /// are those that the importing module has for its type.
    pub(crate) fn unbound(host: &HostFunc<impl ?Sized>, func_index: u32, stubs: &Stubs) -> Self {
        let exit = VMExitContext {
            array_fn: host.array_fn as *const u8,
            typed_fn: host.typed_fn.map_or(std::ptr::null(), |f| f as *const u8),
            store: std::ptr::null_mut(),
            vmctx: std::ptr::null_mut(),
            data: std::ptr::from_ref(host).cast_mut().cast(),
            type_id: host.type_id,
            func_index,
        };
        let func_ref = VMFuncRef {
            code: exit_code(&exit, stubs).unwrap_or(host.lazy_code as *const u8),
            ctx: std::ptr::null_mut(),
            vmctx: std::ptr::null_mut(),
            type_id: host.type_id,
            kind: FuncKind::Host as u32,
            func_index,
            reserved: 0,
        };
        Self { func_ref, exit, cost: 0, store: std::ptr::null_mut(), exported_memory: std::ptr::null_mut() }
    }

    /// Binds a host function to an instance (`vmctx`, which imports it as `func_index`), or to the store alone. [`Self::tie`]
    /// must be called where the binding stays.
    ///
    /// # Safety
    /// `store` is alive. `host` lives as long as the binding is used, and is for stores with this type of data.
    pub(crate) unsafe fn new(
        store: *mut StoreOpaque,
        host: *const HostFunc<()>,
        vmctx: *mut VMContextHead,
        func_index: u32,
        stubs: &Stubs,
    ) -> Self {
        // SAFETY: by the caller.
        let mut this = unsafe { Self::unbound(&*host, func_index, stubs) };
        // SAFETY: by the caller.
        unsafe {
            if (*store).trace.is_some() {
                this.exit.array_fn = trace::host as ArrayFn as *const u8;
                this.exit.typed_fn = std::ptr::null();
                this.func_ref.code = exit_code(&this.exit, stubs).unwrap_or((*host).lazy_code as *const u8);
            }
            Self::bind(&raw mut this, store, vmctx);
        }
        this
    }

    /// Gives a binding its store and instance.
    ///
    /// # Safety
    /// As [`Self::new`]; `at` is one.
    #[inline(always)]
    pub(crate) unsafe fn bind(at: *mut Self, store: *mut StoreOpaque, vmctx: *mut VMContextHead) {
        // SAFETY: by the caller.
        unsafe {
            (*at).store = store;
            (*at).exit.store = &raw mut *(*store).vm.context;
            (*at).exit.vmctx = vmctx.cast();
        }
    }

    /// The binding that an exit context is part of.
    ///
    /// # Safety
    /// `exit` is the binding of a host function.
    #[inline(always)]
    pub(crate) unsafe fn of(exit: *mut VMExitContext) -> *mut Self {
        // SAFETY: by the caller, it is a field of one.
        unsafe { exit.byte_sub(offset_of!(ExitBinding, exit)).cast() }
    }

    /// Completes a binding where it stays.
    ///
    /// # Safety
    /// `at` is a binding that does not move from now on.
    pub(crate) unsafe fn tie(at: *mut Self) {
        // SAFETY: by the caller.
        unsafe { (*at).func_ref.ctx = (&raw mut (*at).exit).cast() }
    }
}

/// The code with which WebAssembly leaves through an exit context, if there is a stub for it.
pub(crate) fn exit_code(exit: &VMExitContext, stubs: &Stubs) -> Option<*const u8> {
    let code = if exit.typed_fn.is_null() || stubs.exit_typed.is_null() { stubs.exit_array } else { stubs.exit_typed };
    (!code.is_null()).then_some(code)
}

/// The reference to the function whose exit context this is.
///
/// # Safety
/// `exit` belongs to a function of a live store that references can be made to.
pub(crate) unsafe fn func_ref_of_exit(exit: *mut VMExitContext) -> *mut VMFuncRef {
    // SAFETY: by the caller. A host function's exit context is part of an `ExitBinding`; an interpreted function's has no
    // data and names its owner.
    unsafe {
        if (*exit).data.is_null() {
            ops::func_ref((*exit).vmctx.cast(), wasmc_environ::FuncIndex::from_u32((*exit).func_index))
        } else {
            ExitBinding::of(exit).cast()
        }
    }
}

/// Runs a host function's closure for a shim: a panic ends here, and an error becomes a status. `f` gets the store and
/// the closure, and returns what the shim returns on success.
///
/// # Safety
/// `exit` is the binding of a `HostFunc<F>`, called by its store.
#[inline(always)]
pub(crate) unsafe fn host_call<F, X>(exit: *mut VMExitContext, f: impl FnOnce(*mut StoreOpaque, &F) -> Result<X>) -> Result<X, u64> {
    // SAFETY: by the caller.
    unsafe { if is_watched(exit) { watched_host_call(exit, f) } else { unwatched_host_call(exit, f) } }
}

/// Whether time or calls of host functions are counted.
///
/// # Safety
/// As `host_call`.
#[inline(always)]
pub(crate) unsafe fn is_watched(exit: *mut VMExitContext) -> bool {
    // SAFETY: by the caller.
    unsafe { (*(*exit).store).meter.watch_host != 0 }
}

/// The same where time or calls are counted. By itself, so that the others keep nothing for it in registers or on the stack.
///
/// # Safety
/// As `host_call`.
#[cold]
#[inline(never)]
pub(crate) unsafe fn watched_host_call<F, X>(
    exit: *mut VMExitContext,
    f: impl FnOnce(*mut StoreOpaque, &F) -> Result<X>,
) -> Result<X, u64> {
    // SAFETY: by the caller.
    unsafe {
        let place = fuel::enter_host(exit)?;
        let result = unwatched_host_call(exit, f);
        fuel::leave_host(exit, place);
        result
    }
}

/// # Safety
/// As `host_call`.
#[inline(always)]
pub(crate) unsafe fn unwatched_host_call<F, X>(
    exit: *mut VMExitContext,
    f: impl FnOnce(*mut StoreOpaque, &F) -> Result<X>,
) -> Result<X, u64> {
    // SAFETY: by the caller: the data is the host function, which the store keeps alive.
    let result =
        catch_unwind(AssertUnwindSafe(|| unsafe { f((*ExitBinding::of(exit)).store, &(*(*exit).data.cast::<HostFunc<F>>()).closure) }));
    match result {
        Ok(Ok(x)) => Ok(x),
        // SAFETY: by the caller.
        Ok(Err(e)) => Err(unsafe { host_error(exit, e) }),
        // SAFETY: by the caller.
        Err(panic) => Err(unsafe { host_panic(exit, panic) }),
    }
}

#[cold]
#[inline(never)]
unsafe fn host_error(exit: *mut VMExitContext, error: crate::Error) -> u64 {
    // SAFETY: by the caller, this is an exit context of a live store.
    unsafe { StoreOpaque::set_error((*(*exit).store).store.cast(), error) }
}

#[cold]
#[inline(never)]
unsafe fn host_panic(exit: *mut VMExitContext, payload: Box<dyn Any + Send>) -> u64 {
    let error = HostPanic::new(&*payload);
    // What was thrown may panic again when it is dropped, and this must not leave the shim.
    if catch_unwind(AssertUnwindSafe(|| drop(payload))).is_err() {
        tracing::warn!("the payload of a panic panicked when it was dropped");
    }
    // SAFETY: by the caller.
    unsafe { host_error(exit, error.into()) }
}

/// The closure of [`Func::new`], with its type.
struct Dynamic<F> {
    ty: Arc<FuncType>,
    f: F,
}

unsafe extern "C" fn dynamic_shim<T: 'static, F>(exit: *mut VMExitContext, args: *mut ValRaw) -> u64
where
    F: Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()>,
{
    // SAFETY: the stub or the interpreter gives an array of the type's slots, and an exit context of this function.
    let result = unsafe {
        host_call::<Dynamic<F>, ()>(exit, |store, this| {
            let ty = &*this.ty;
            let params: SmallVec<[Val; 8]> = ty.params.iter().enumerate().map(|(i, t)| Val::from_raw(store, *args.add(i), *t)).collect();
            let mut results: SmallVec<[Val; 4]> = ty.results.iter().map(|t| Val::default_for(t).unwrap_or(Val::I32(0))).collect();
            (this.f)(Caller::new(exit), &params, &mut results)?;
            for (i, (v, t)) in results.iter().zip(&ty.results).enumerate() {
                *args.add(i) = v.to_raw(&*store, *t).with_context(|| format!("result {i} of a host function"))?;
            }
            Ok(())
        })
    };
    result.err().unwrap_or(STATUS_OK)
}

/// A host function from a closure on [`Val`]s.
pub(crate) fn dynamic_func<T: 'static, F>(registry: &Arc<Registry>, ty: FuncType, f: F) -> Result<Arc<AnyHostFunc>>
where
    F: Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
{
    let closure = Dynamic { ty: Arc::new(ty.clone()), f };
    HostFunc::new(registry, ty, closure, dynamic_shim::<T, F>, None)
}

/// A function of a store: WebAssembly's or the host's.
#[derive(Copy, Clone, PartialEq, Eq, Hash)]
pub struct Func {
    store: StoreId,
    func_ref: NonNull<VMFuncRef>,
}

// SAFETY: the pointer is only followed with the store at hand, whose rules hold then.
unsafe impl Send for Func {}
// SAFETY: as above.
unsafe impl Sync for Func {}

impl Func {
    /// A function of the host with a type known only at run time. The closure gets the arguments, and results that are
    /// zero or null to overwrite.
    ///
    /// # Errors
    /// If the type names a type that the engine does not have.
    pub fn new<T: 'static>(
        mut store: impl AsContextMut<Data = T>,
        ty: FuncType,
        f: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Self> {
        let mut store = store.as_context_mut();
        let host = dynamic_func(store.engine().registry(), ty, f)?;
        // SAFETY: the closure is for stores with this type of data.
        Ok(unsafe { Self::from_host(store.raw(), host) })
    }

    /// A function of the host from a closure, whose parameters and results give it its type.
    pub fn wrap<T: 'static, Params, Results>(mut store: impl AsContextMut<Data = T>, f: impl IntoFunc<T, Params, Results>) -> Self {
        let mut store = store.as_context_mut();
        let host = f.into_host_func(store.engine().registry());
        // SAFETY: the closure is for stores with this type of data.
        unsafe { Self::from_host(store.raw(), host) }
    }

    /// # Safety
    /// `store` is alive, and the closure is for stores with this type of data.
    pub(crate) unsafe fn from_host(store: *mut StoreOpaque, host: Arc<AnyHostFunc>) -> Self {
        // SAFETY: by the caller; the store keeps the host function from here on, and the arena does not move the binding.
        unsafe {
            let stubs = (*store).stubs(host.type_id);
            let binding = ExitBinding::new(store, Arc::as_ptr(&host).cast(), std::ptr::null_mut(), 0, &stubs);
            let store = &mut *store;
            store.host_funcs.push(host);
            let binding = store.host_bindings.push(binding);
            ExitBinding::tie(binding);
            Self { store: store.id, func_ref: NonNull::new_unchecked(&raw mut (*binding).func_ref) }
        }
    }

    /// The function behind a reference; `None` if it is null.
    ///
    /// # Safety
    /// The reference is one of that store.
    #[inline]
    pub(crate) unsafe fn from_raw(store: StoreId, func_ref: *mut VMFuncRef) -> Option<Self> {
        Some(Self { store, func_ref: NonNull::new(func_ref)? })
    }

    /// The reference, if the function belongs to `store`.
    #[inline]
    pub(crate) fn checked(&self, store: &StoreOpaque) -> Result<*mut VMFuncRef> {
        if self.store == store.id { Ok(self.func_ref.as_ptr()) } else { Err(wrong_store("function")) }
    }

    #[inline]
    pub(crate) fn type_id(&self, store: &StoreOpaque) -> Result<u32> {
        // SAFETY: the function belongs to this store, which is alive.
        Ok(unsafe { (*self.checked(store)?).type_id })
    }

    /// The function's type.
    ///
    /// # Panics
    /// If the function belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> FuncType {
        let store = store.as_context().opaque();
        match self.type_id(store) {
            Ok(id) => (*store.engine.registry().func_type(id)).clone(),
            Err(_) => crate::error::wrong_store_panic("function"),
        }
    }

    pub(crate) fn result_count(&self, store: impl AsContext) -> Result<usize> {
        let store = store.as_context().opaque();
        Ok(store.engine.registry().func_type(self.type_id(store)?).results.len())
    }

    /// Calls the function: as many arguments as it has parameters, room for as many results as it has.
    ///
    /// # Errors
    /// If the arguments or the room for results do not fit the type, a value or the function belongs to another store,
    /// or the call ends with a `Trap`, an [`Exit`](crate::Exit), a [`ThrownException`](crate::ThrownException), or a host
    /// function's error.
    pub fn call(&self, mut store: impl AsContextMut, args: &[Val], results: &mut [Val]) -> Result<()> {
        let store = store.as_context_mut().raw();
        // SAFETY: the store is borrowed uniquely; the array has the type's slots.
        unsafe {
            let func_ref = self.checked(&*store)?;
            let ty = (*store).engine.registry().func_type((*func_ref).type_id);
            ensure!(args.len() == ty.params.len(), "a function of type {ty} does not take {} arguments", args.len());
            ensure!(results.len() == ty.results.len(), "a function of type {ty} does not have {} results", results.len());
            let mut slots: SmallVec<[ValRaw; 8]> = SmallVec::with_capacity(ty.array_slots());
            for (i, (v, t)) in args.iter().zip(&ty.params).enumerate() {
                slots.push(v.to_raw(&*store, *t).with_context(|| format!("argument {i} of a function of type {ty}"))?);
            }
            slots.resize(ty.array_slots(), ValRaw::default());
            let status = exec::enter_function(store, Callee::FuncRef(func_ref), slots.as_mut_ptr());
            if status != STATUS_OK {
                return Err(StoreOpaque::take_error(store, status));
            }
            for (i, (v, t)) in results.iter_mut().zip(&ty.results).enumerate() {
                *v = Val::from_raw(store, slots[i], *t);
            }
        }
        Ok(())
    }

    /// The function with its type checked once, which makes calls fast.
    ///
    /// # Errors
    /// If the function has another type, or belongs to another store.
    pub fn typed<P: WasmParams, R: WasmResults>(&self, store: impl AsContext) -> Result<TypedFunc<P, R>> {
        TypedFunc::new(*self, store.as_context().opaque())
    }
}

impl std::fmt::Debug for Func {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Func({:p})", self.func_ref)
    }
}
