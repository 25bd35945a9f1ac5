//! The border to C: every exported function is declared through [`api!`], which catches panics. What a function returns after
//! one is what it returns on failure: null, false, zero, nothing.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::set_last_error;

/// What a function returns that failed.
pub trait Failure {
    /// Null, false, zero, nothing.
    fn failure() -> Self;
}

impl Failure for () {
    fn failure() {}
}

macro_rules! failures {
    ($($ty:ty => $value:expr;)*) => {$(
        impl Failure for $ty {
            fn failure() -> Self {
                $value
            }
        }
    )*};
}

failures! {
    bool => false;
    u8 => 0;
    u32 => 0;
    u64 => 0;
    i32 => 0;
    usize => 0;
}

impl<T> Failure for *mut T {
    fn failure() -> Self {
        std::ptr::null_mut()
    }
}

impl<T> Failure for *const T {
    fn failure() -> Self {
        std::ptr::null()
    }
}

/// Runs the body of an exported function.
pub fn guard<R: Failure>(body: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        panicked(panic);
        R::failure()
    })
}

#[cold]
fn panicked(panic: Box<dyn Any + Send>) {
    let message = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    set_last_error(&anyhow::anyhow!("internal error: {}", message.unwrap_or("a panic without a message")));
    // What was thrown may panic again when it is dropped, and nothing may leave here.
    std::mem::forget(panic);
}

/// Declares exported functions.
macro_rules! api {
    ($($(#[$meta:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block)*) => {$(
        $(#[$meta])*
        ///
        /// # Safety
        /// The arguments are what the header says.
        #[unsafe(no_mangle)]
        #[allow(unused_unsafe, clippy::allow_attributes, reason = "not every body follows a pointer")]
        pub unsafe extern "C" fn $name($($arg: $ty),*) $(-> $ret)? {
            // SAFETY: the caller keeps to the header: pointers are null or to what their types say, owned where it says `own`,
            // and a store with all that belongs to it is used by one thread at a time.
            $crate::guard::guard(|| unsafe { $body })
        }
    )*};
}

pub(crate) use api;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::wasmc_last_error_code;

    #[test]
    fn a_panic_is_a_failure() {
        let quiet = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let returned: *mut u8 = guard(|| panic!("no {}", 1));
        std::panic::set_hook(quiet);
        assert!(returned.is_null());
        // SAFETY: it takes nothing.
        assert_eq!(unsafe { wasmc_last_error_code() }, 70);
    }
}
