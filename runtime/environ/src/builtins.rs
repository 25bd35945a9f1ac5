//! Builtins: the runtime routines that generated code calls. One list: the compiler makes a trampoline for each, the
//! runtime a function for each, and the interpreter calls the same semantics directly.
//!
//! A builtin is `extern "C"`, takes `vmctx` and integers, and returns a `HostRet` if it is fallible, else its plain
//! value. Generated code calls the trampoline, which records the exit, checks the host's stack, and raises a status.

/// Type of a builtin's parameter or result.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are the types' names")]
pub enum BuiltinType {
    I32,
    I64,
    F32,
    F64,
}

/// Signature of a builtin; `vmctx` comes before `params`.
#[derive(Copy, Clone, Debug)]
pub struct BuiltinSignature {
    /// Its name.
    pub name: &'static str,
    /// Types of the parameters after `vmctx`.
    pub params: &'static [BuiltinType],
    /// Type of the result.
    pub result: Option<BuiltinType>,
    /// Whether it returns a `HostRet` and can raise.
    pub fallible: bool,
}

macro_rules! builtins {
    ($($(#[$doc:meta])* $kind:ident $name:ident($($param:ident),*) $(-> $result:ident)?;)*) => {
        /// A builtin; the number is its place in the array that `vmctx` points to.
        #[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
        #[allow(non_camel_case_types, reason = "the routines' names")]
        #[repr(u32)]
        pub enum Builtin {
            $($(#[$doc])* $name,)*
        }

        /// Signatures, by `Builtin`.
        pub const BUILTINS: &[BuiltinSignature] = &[$(BuiltinSignature {
            name: stringify!($name),
            params: &[$(BuiltinType::$param),*],
            result: [$(Some(BuiltinType::$result),)? None][0],
            fallible: builtins!(@$kind),
        }),*];

        impl Builtin {
            /// All builtins, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }

        /// Expands a macro with the list of builtins, for the runtime's array of addresses.
        #[macro_export]
        macro_rules! for_each_builtin {
            ($mac:ident) => { $mac! { $($name,)* } };
        }
    };
    (@fallible) => { true };
    (@infallible) => { false };
}

impl Builtin {
    /// The signature.
    pub fn signature(self) -> &'static BuiltinSignature {
        &BUILTINS[self as usize]
    }
}

builtins! {
    /// `memory.grow`: memory, pages; the old size in pages, or -1.
    fallible memory_grow(I32, I64) -> I64;
    /// `memory.copy`: destination and source memory, destination, source, length.
    fallible memory_copy(I32, I32, I64, I64, I64);
    /// `memory.fill`: memory, destination, value, length.
    fallible memory_fill(I32, I64, I32, I64);
    /// `memory.init`: memory, segment, destination, source, length.
    fallible memory_init(I32, I32, I64, I32, I32);
    /// `data.drop`: segment.
    infallible data_drop(I32);
    /// `table.grow`: table, delta, initial element; the old size, or -1.
    fallible table_grow(I32, I64, I64) -> I64;
    /// `table.fill`: table, destination, element, length.
    fallible table_fill(I32, I64, I64, I64);
    /// `table.copy`: destination and source table, destination, source, length.
    fallible table_copy(I32, I32, I64, I64, I64);
    /// `table.init`: table, segment, destination, source, length.
    fallible table_init(I32, I32, I64, I32, I32);
    /// `elem.drop`: segment.
    infallible elem_drop(I32);
    /// Makes the exception object for a `throw` of a tag the pending one; its address. Fill the payload, then call `throw`.
    fallible throw_alloc(I32) -> I64;
    /// Throws the pending exception. Does not return normally.
    fallible throw();
    /// `throw_ref`: throws the exception with this reference; traps on null. Does not return normally.
    fallible throw_ref(I32);
    /// Goes on throwing an exception that a handler of a frame did not match: its reference. Does not return normally.
    fallible rethrow(I32);
    /// Runs a function of this module that has no native code: its `FuncIndex`, address of the argument array. The
    /// status can be `STATUS_TAIL_CALL`; the stubs that call it (not through a trampoline) handle all of them.
    fallible interp_call(I32, I64);
    /// Ends the activation (`STATUS_TRAP`) or goes to the handler of the pending exception (`STATUS_EXCEPTION`): the
    /// status. Never returns. Stubs call it directly, after recording the exit.
    infallible raise(I64);
    /// Raises a trap: its `TrapCode`. Does not return normally.
    fallible trap(I32);
    /// Whether the type with the first `SharedTypeIndex` is a subtype of the second: 1 or 0.
    infallible is_subtype(I32, I32) -> I32;
    /// `f32.ceil` where the target has no instruction for it; so the seven below.
    infallible ceil_f32(F32) -> F32;
    /// `f32.floor`.
    infallible floor_f32(F32) -> F32;
    /// `f32.trunc`.
    infallible trunc_f32(F32) -> F32;
    /// `f32.nearest`.
    infallible nearest_f32(F32) -> F32;
    /// `f64.ceil`.
    infallible ceil_f64(F64) -> F64;
    /// `f64.floor`.
    infallible floor_f64(F64) -> F64;
    /// `f64.trunc`.
    infallible trunc_f64(F64) -> F64;
    /// `f64.nearest`.
    infallible nearest_f64(F64) -> F64;
    /// `memory.atomic.wait32`: memory, address with the static offset in it, expected value, timeout in nanoseconds (negative:
    /// for ever); 0 woken, 1 another value was there, 2 timed out. Checks alignment, then bounds, then that the memory is shared.
    fallible memory_atomic_wait32(I32, I64, I32, I64) -> I32;
    /// `memory.atomic.wait64`.
    fallible memory_atomic_wait64(I32, I64, I64, I64) -> I32;
    /// `memory.atomic.notify`: memory, address with the static offset in it, how many to wake; how many were woken. Checks
    /// alignment, then bounds; in a memory that is not shared nobody waits.
    fallible memory_atomic_notify(I32, I64, I32) -> I32;
    /// Fused multiply-add (`f64x2.relaxed_madd`), a lane at a time, where the target has no instruction for it.
    infallible fma_f64(F64, F64, F64) -> F64;
    /// Copies between ranges that were checked and may overlap: address of the destination, of the source, length.
    infallible move_bytes(I64, I64, I64);
    /// Fills a range that was checked: its address, the byte, length.
    infallible fill_bytes(I64, I32, I64);
    /// Code compiled with `Tunables::trace` was entered: its `FuncIndex`, the address of its arguments in an array. The result
    /// names this entry to the two below.
    fallible trace_enter(I32, I64) -> I32;
    /// It is about to return: the entry, the address of its results.
    fallible trace_leave(I32, I64);
    /// It is about to make a tail call: the entry, and the callee's `VMFuncRef` unless that is 0 for a function of the same module.
    fallible trace_tail(I32, I64);
}
