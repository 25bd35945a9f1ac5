//! Values, and how they become the runtime's and back. Which type is wanted decides: a null reference is one of any type, and a
//! reference to a function is a `funcref` or, where that is wanted, an `externref`.

use anyhow::{Context as _, Result, bail};
use smallvec::SmallVec;
use wasmc_runtime::{ExternRef, FuncType, HeapType, RefType, Val, ValType};

use crate::guard::api;
use crate::object::{HostRef, Object, What, wasm_ref_copy, wasm_ref_delete, wasm_ref_t};
use crate::store::StoreRef;
use crate::types::{kind, kind_of, wasm_valkind_t};
use crate::vector::wasm_val_vec_t;

/// The contents of a value.
#[repr(C)]
#[derive(Copy, Clone)]
pub union Of {
    /// An i32.
    pub i32: i32,
    /// An i64.
    pub i64: i64,
    /// An f32.
    pub f32: f32,
    /// An f64.
    pub f64: f64,
    /// A reference, or null.
    pub r#ref: *mut wasm_ref_t,
}

/// A value.
#[repr(C)]
#[derive(Copy, Clone)]
pub struct wasm_val_t {
    /// Its kind.
    pub kind: wasm_valkind_t,
    /// Its contents.
    pub of: Of,
}

impl Default for wasm_val_t {
    fn default() -> Self {
        Self { kind: kind::I32, of: Of { i64: 0 } }
    }
}

/// Values of one call.
pub(crate) type Values = SmallVec<[Val; 8]>;

impl wasm_val_t {
    fn is_ref(&self) -> bool {
        self.kind >= kind::EXTERNREF
    }

    /// The zero or null of a type.
    pub(crate) fn zero(ty: ValType) -> Self {
        Self { kind: kind_of(ty), of: Of { i64: 0 } }
    }

    /// The value as the runtime's, of the wanted type.
    ///
    /// # Safety
    /// The value is valid.
    pub(crate) unsafe fn to_val(self, store: &StoreRef, wanted: ValType) -> Result<Val> {
        // SAFETY: by the caller: the kind says which field is there.
        unsafe {
            Ok(match (wanted, self.kind) {
                (ValType::I32, kind::I32) => Val::I32(self.of.i32),
                (ValType::I64, kind::I64) => Val::I64(self.of.i64),
                // Through the bits: a signalling NaN stays what it is.
                (ValType::F32, kind::F32) => Val::F32(self.of.i32 as u32),
                (ValType::F64, kind::F64) => Val::F64(self.of.i64 as u64),
                (ValType::Ref(ty), kind::EXTERNREF..) => to_ref(self.of.r#ref.as_ref(), store, ty)?,
                (ValType::V128, _) => bail!("vectors (v128) are not values of the C API"),
                (wanted, given) => bail!("a value of kind {given} is not one of type {wanted}"),
            })
        }
    }

    /// The runtime's value as one of C's.
    pub(crate) fn from_val(store: &StoreRef, val: &Val) -> Result<Self> {
        Ok(match val {
            Val::I32(v) => Self { kind: kind::I32, of: Of { i32: *v } },
            Val::I64(v) => Self { kind: kind::I64, of: Of { i64: *v } },
            Val::F32(bits) => Self { kind: kind::F32, of: Of { i32: *bits as i32 } },
            Val::F64(bits) => Self { kind: kind::F64, of: Of { i64: *bits as i64 } },
            Val::FuncRef(_) => Self { kind: kind::FUNCREF, of: Of { r#ref: from_ref(store, val)? } },
            Val::ExternRef(_) => Self { kind: kind::EXTERNREF, of: Of { r#ref: from_ref(store, val)? } },
            Val::ExnRef(_) => Self { kind: kind::EXNREF, of: Of { r#ref: from_ref(store, val)? } },
            Val::V128(_) => bail!("vectors (v128) are not values of the C API"),
            _ => bail!("a value of a kind that the C API does not know"),
        })
    }
}

/// A reference of C's, or null, as a value of the wanted type.
pub(crate) fn to_ref(reference: Option<&wasm_ref_t>, store: &StoreRef, wanted: RefType) -> Result<Val> {
    let Some(wasm_ref_t(object)) = reference else {
        return Val::default_for(&ValType::Ref(RefType { nullable: true, ..wanted }))
            .context("a reference of a type that is not supported");
    };
    Ok(match (wanted.heap, &object.what) {
        (HeapType::Extern, what) => {
            // A handle in the heap does not say of which store it is, so that is checked here.
            if object.store().is_ok_and(|of| !StoreRef::same(of, store)) {
                bail!("this reference belongs to another store");
            }
            Val::ExternRef(Some(ExternRef::new(store.context(), HostRef::new(store, what.clone()))?))
        }
        (HeapType::Func | HeapType::Concrete(_), What::Func(func)) => Val::FuncRef(Some(*func)),
        (HeapType::Exn, What::Exn(exn)) => Val::ExnRef(Some(exn.clone())),
        (wanted, _) => bail!("this reference is not one of type {wanted}"),
    })
}

/// A reference of the runtime's for C to own; null if it is null.
pub(crate) fn from_ref(store: &StoreRef, val: &Val) -> Result<*mut wasm_ref_t> {
    let what = match val {
        Val::FuncRef(None) | Val::ExternRef(None) | Val::ExnRef(None) => return Ok(std::ptr::null_mut()),
        Val::FuncRef(Some(func)) => What::Func(*func),
        Val::ExnRef(Some(exn)) => What::Exn(exn.clone()),
        Val::ExternRef(Some(reference)) => {
            let context = store.context();
            let payload = reference.data(&context)?.downcast_ref::<HostRef>().and_then(HostRef::what);
            payload.context("an externref that this library did not make")?.clone()
        }
        _ => bail!("this value is not a reference"),
    };
    Ok(Box::into_raw(Box::new(wasm_ref_t(Object::new(store, what)))))
}

/// C's arguments of a function. They are written in place: moving values about took a quarter of a short call.
///
/// # Safety
/// `args` is null or valid.
pub(crate) unsafe fn arguments(store: &StoreRef, ty: &FuncType, args: *const wasm_val_vec_t, out: &mut Values) -> Result<()> {
    // SAFETY: by the caller.
    let args = unsafe { args.as_ref().map_or(&[][..], |args| args.as_slice()) };
    if args.len() != ty.params.len() {
        bail!("a function of type {ty} does not take {} arguments", args.len());
    }
    for (i, (value, wanted)) in args.iter().zip(&ty.params).enumerate() {
        // SAFETY: by the caller.
        match unsafe { value.to_val(store, *wanted) } {
            Ok(val) => out.push(val),
            Err(e) => return Err(e.context(format!("argument {i} of a function of type {ty}"))),
        }
    }
    Ok(())
}

/// The runtime's values for C to own. If one cannot be C's, there are none.
pub(crate) fn from_vals(store: &StoreRef, vals: &[Val], out: &mut SmallVec<[wasm_val_t; 8]>) -> Result<()> {
    for val in vals {
        match wasm_val_t::from_val(store, val) {
            Ok(val) => out.push(val),
            Err(e) => {
                // SAFETY: nobody has seen these yet.
                unsafe { release(out) };
                out.clear();
                return Err(e);
            }
        }
    }
    Ok(())
}

/// Releases the references among values.
///
/// # Safety
/// The values are valid, and not used afterwards.
pub(crate) unsafe fn release(vals: &mut [wasm_val_t]) {
    for val in vals {
        // SAFETY: by the caller.
        unsafe { wasm_val_delete(val) }
    }
}

api! {
    /// Releases a value. What is left of it is null.
    fn wasm_val_delete(val: *mut wasm_val_t) {
        if let Some(val) = val.as_mut()
            && val.is_ref()
        {
            wasm_ref_delete(std::mem::replace(&mut val.of.r#ref, std::ptr::null_mut()));
        }
    }

    /// Copies a value.
    fn wasm_val_copy(out: *mut wasm_val_t, from: *const wasm_val_t) {
        let (Some(out), Some(from)) = (out.as_mut(), from.as_ref()) else { return };
        *out = *from;
        if from.is_ref() && !from.of.r#ref.is_null() {
            out.of.r#ref = wasm_ref_copy(from.of.r#ref);
        }
    }
}
