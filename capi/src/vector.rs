//! Vectors, all of one shape. Their memory is C's (`malloc`), so that a vector is released rightly whatever C made of its size,
//! and one that C allocated itself can be handed over.

use std::ffi::c_char;
use std::ptr;

use crate::externs::{wasm_extern_copy, wasm_extern_delete, wasm_extern_t};
use crate::guard::api;
use crate::trap::{wasm_frame_copy, wasm_frame_delete, wasm_frame_t};
use crate::types::*;
use crate::value::{wasm_val_copy, wasm_val_delete, wasm_val_t};

/// A vector of any of the header's kinds.
#[repr(C)]
#[derive(Debug)]
pub struct Vector<T> {
    /// Number of elements.
    pub size: usize,
    /// The elements; null if there are none.
    pub data: *mut T,
}

/// What vectors hold.
pub trait Element: Copy {
    /// A copy of the element.
    ///
    /// # Safety
    /// The element is valid.
    unsafe fn duplicate(&self) -> Self;
    /// Releases the element.
    ///
    /// # Safety
    /// The element is valid, and not used afterwards.
    unsafe fn release(&mut self);
}

impl Element for c_char {
    unsafe fn duplicate(&self) -> Self {
        *self
    }
    unsafe fn release(&mut self) {}
}

impl Element for wasm_val_t {
    unsafe fn duplicate(&self) -> Self {
        let mut copy = Self::default();
        // SAFETY: by the caller.
        unsafe { wasm_val_copy(&raw mut copy, self) };
        copy
    }
    unsafe fn release(&mut self) {
        // SAFETY: by the caller.
        unsafe { wasm_val_delete(self) }
    }
}

macro_rules! pointers {
    ($($ty:ident $copy:ident $delete:ident;)*) => {$(
        impl Element for *mut $ty {
            unsafe fn duplicate(&self) -> Self {
                // SAFETY: by the caller.
                unsafe { $copy(*self) }
            }
            unsafe fn release(&mut self) {
                // SAFETY: by the caller.
                unsafe { $delete(*self) }
            }
        }
    )*};
}

pointers! {
    wasm_valtype_t wasm_valtype_copy wasm_valtype_delete;
    wasm_functype_t wasm_functype_copy wasm_functype_delete;
    wasm_globaltype_t wasm_globaltype_copy wasm_globaltype_delete;
    wasm_tabletype_t wasm_tabletype_copy wasm_tabletype_delete;
    wasm_memorytype_t wasm_memorytype_copy wasm_memorytype_delete;
    wasm_tagtype_t wasm_tagtype_copy wasm_tagtype_delete;
    wasm_externtype_t wasm_externtype_copy wasm_externtype_delete;
    wasm_importtype_t wasm_importtype_copy wasm_importtype_delete;
    wasm_exporttype_t wasm_exporttype_copy wasm_exporttype_delete;
    wasm_frame_t wasm_frame_copy wasm_frame_delete;
    wasm_extern_t wasm_extern_copy wasm_extern_delete;
}

impl<T> Vector<T> {
    /// No elements.
    pub(crate) const EMPTY: Self = Self { size: 0, data: ptr::null_mut() };

    /// The elements.
    ///
    /// # Safety
    /// The vector is valid during `'a`.
    pub(crate) unsafe fn as_slice<'a>(&self) -> &'a [T] {
        if self.data.is_null() || self.size == 0 {
            return &[];
        }
        // SAFETY: by the caller.
        unsafe { std::slice::from_raw_parts(self.data, self.size) }
    }

    /// Takes the vector over from C, which finds an empty one in its place.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::EMPTY)
    }
}

impl<T: Copy> Vector<T> {
    /// A vector of zeros; empty if there is no memory for it.
    fn zeroed(size: usize) -> Self {
        if size == 0 {
            return Self::EMPTY;
        }
        // SAFETY: no condition.
        let data: *mut T = unsafe { libc::calloc(size, size_of::<T>()) }.cast();
        if data.is_null() {
            crate::error::set_last_error(&anyhow::anyhow!("no memory for a vector of {size} elements"));
            return Self::EMPTY;
        }
        Self { size, data }
    }

    /// A vector of these elements, which it owns from here on.
    pub(crate) fn of(elements: &[T]) -> Self {
        let this = Self::zeroed(elements.len());
        if !this.data.is_null() {
            // SAFETY: there is room for them in the new vector.
            unsafe { ptr::copy_nonoverlapping(elements.as_ptr(), this.data, elements.len()) };
        }
        this
    }
}

impl<T: Element> Vector<T> {
    /// # Safety
    /// The vector is valid.
    pub(crate) unsafe fn duplicate(&self) -> Self {
        // SAFETY: by the caller.
        let elements: Vec<T> = unsafe { self.as_slice().iter().map(|e| e.duplicate()).collect() };
        Self::of(&elements)
    }

    /// # Safety
    /// The vector is valid, and its elements are not used afterwards.
    pub(crate) unsafe fn release(&mut self) {
        let Self { size, data } = self.take();
        if data.is_null() {
            return;
        }
        // SAFETY: by the caller; all vectors come from `malloc`.
        unsafe {
            for i in 0..size {
                (*data.add(i)).release();
            }
            libc::free(data.cast());
        }
    }
}

impl Vector<c_char> {
    /// The bytes.
    ///
    /// # Safety
    /// The vector is valid during `'a`.
    pub(crate) unsafe fn bytes<'a>(&self) -> &'a [u8] {
        // SAFETY: by the caller; a `char` is a byte.
        unsafe {
            let chars = self.as_slice();
            std::slice::from_raw_parts(chars.as_ptr().cast(), chars.len())
        }
    }

    /// A vector of these bytes.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        // SAFETY: a `char` is a byte.
        Self::of(unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) })
    }

    /// These bytes up to the first NUL, and a NUL.
    pub(crate) fn message(bytes: &[u8]) -> Self {
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        let mut message = bytes[..end].to_vec();
        message.push(0);
        Self::of_bytes(&message)
    }
}

macro_rules! vectors {
    ($($vec:ident $element:ty: $empty:ident $uninitialized:ident $new:ident $copy:ident $delete:ident;)*) => {$(
        #[doc = concat!("A vector of the header, with elements `", stringify!($element), "`.")]
        pub type $vec = Vector<$element>;

        api! {
            /// Makes an empty vector.
            fn $empty(out: *mut $vec) {
                if let Some(out) = out.as_mut() {
                    *out = Vector::EMPTY;
                }
            }

            /// Makes a vector for the caller to fill. Until then its elements are zero, so it may be released half filled.
            fn $uninitialized(out: *mut $vec, size: usize) {
                if let Some(out) = out.as_mut() {
                    *out = Vector::zeroed(size);
                }
            }

            /// Makes a vector of elements that it owns from here on.
            fn $new(out: *mut $vec, size: usize, data: *const $element) {
                if let Some(out) = out.as_mut() {
                    *out = if data.is_null() { Vector::EMPTY } else { Vector::of(std::slice::from_raw_parts(data, size)) };
                }
            }

            /// Copies a vector with its elements.
            fn $copy(out: *mut $vec, from: *const $vec) {
                if let Some(out) = out.as_mut() {
                    *out = from.as_ref().map_or(Vector::EMPTY, |from| from.duplicate());
                }
            }

            /// Releases a vector with its elements. What is left of it is empty.
            fn $delete(vec: *mut $vec) {
                if let Some(vec) = vec.as_mut() {
                    vec.release();
                }
            }
        }
    )*};
}

vectors! {
    wasm_byte_vec_t c_char:
        wasm_byte_vec_new_empty wasm_byte_vec_new_uninitialized wasm_byte_vec_new wasm_byte_vec_copy wasm_byte_vec_delete;
    wasm_valtype_vec_t *mut wasm_valtype_t:
        wasm_valtype_vec_new_empty wasm_valtype_vec_new_uninitialized wasm_valtype_vec_new wasm_valtype_vec_copy wasm_valtype_vec_delete;
    wasm_functype_vec_t *mut wasm_functype_t:
        wasm_functype_vec_new_empty wasm_functype_vec_new_uninitialized wasm_functype_vec_new wasm_functype_vec_copy wasm_functype_vec_delete;
    wasm_globaltype_vec_t *mut wasm_globaltype_t:
        wasm_globaltype_vec_new_empty wasm_globaltype_vec_new_uninitialized wasm_globaltype_vec_new wasm_globaltype_vec_copy wasm_globaltype_vec_delete;
    wasm_tabletype_vec_t *mut wasm_tabletype_t:
        wasm_tabletype_vec_new_empty wasm_tabletype_vec_new_uninitialized wasm_tabletype_vec_new wasm_tabletype_vec_copy wasm_tabletype_vec_delete;
    wasm_memorytype_vec_t *mut wasm_memorytype_t:
        wasm_memorytype_vec_new_empty wasm_memorytype_vec_new_uninitialized wasm_memorytype_vec_new wasm_memorytype_vec_copy wasm_memorytype_vec_delete;
    wasm_tagtype_vec_t *mut wasm_tagtype_t:
        wasm_tagtype_vec_new_empty wasm_tagtype_vec_new_uninitialized wasm_tagtype_vec_new wasm_tagtype_vec_copy wasm_tagtype_vec_delete;
    wasm_externtype_vec_t *mut wasm_externtype_t:
        wasm_externtype_vec_new_empty wasm_externtype_vec_new_uninitialized wasm_externtype_vec_new wasm_externtype_vec_copy wasm_externtype_vec_delete;
    wasm_importtype_vec_t *mut wasm_importtype_t:
        wasm_importtype_vec_new_empty wasm_importtype_vec_new_uninitialized wasm_importtype_vec_new wasm_importtype_vec_copy wasm_importtype_vec_delete;
    wasm_exporttype_vec_t *mut wasm_exporttype_t:
        wasm_exporttype_vec_new_empty wasm_exporttype_vec_new_uninitialized wasm_exporttype_vec_new wasm_exporttype_vec_copy wasm_exporttype_vec_delete;
    wasm_val_vec_t wasm_val_t:
        wasm_val_vec_new_empty wasm_val_vec_new_uninitialized wasm_val_vec_new wasm_val_vec_copy wasm_val_vec_delete;
    wasm_frame_vec_t *mut wasm_frame_t:
        wasm_frame_vec_new_empty wasm_frame_vec_new_uninitialized wasm_frame_vec_new wasm_frame_vec_copy wasm_frame_vec_delete;
    wasm_extern_vec_t *mut wasm_extern_t:
        wasm_extern_vec_new_empty wasm_extern_vec_new_uninitialized wasm_extern_vec_new wasm_extern_vec_copy wasm_extern_vec_delete;
}
