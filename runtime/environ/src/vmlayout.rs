//! What generated code reads and writes at run time, as `repr(C)` structures with their offsets. The compiler uses the
//! offsets, the runtime the structures; neither writes a number of its own. The variable part of a `VMContext` is
//! described by `vmoffsets`. Register roles and who calls whom: `docs/abi.md`.

use core::mem::{offset_of, size_of};

/// A slot of an argument array: 16 bytes, little endian, the value in the low bytes. References: `funcref` is a
/// `VMFuncRef` pointer in 64 bits, heap references are indices in 32 bits. The bytes above the value are unspecified.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[repr(C, align(16))]
pub struct ValRaw {
    /// Low 64 bits.
    pub lo: u64,
    /// High 64 bits.
    pub hi: u64,
}

#[expect(missing_docs, reason = "conversions named after their types")]
impl ValRaw {
    #[inline]
    pub const fn i32(v: i32) -> Self {
        Self { lo: v as u32 as u64, hi: 0 }
    }
    #[inline]
    pub const fn i64(v: i64) -> Self {
        Self { lo: v as u64, hi: 0 }
    }
    #[inline]
    pub const fn u32(v: u32) -> Self {
        Self { lo: v as u64, hi: 0 }
    }
    #[inline]
    pub const fn u64(v: u64) -> Self {
        Self { lo: v, hi: 0 }
    }
    #[inline]
    pub const fn f32_bits(v: u32) -> Self {
        Self { lo: v as u64, hi: 0 }
    }
    #[inline]
    pub const fn f64_bits(v: u64) -> Self {
        Self { lo: v, hi: 0 }
    }
    #[inline]
    pub const fn v128(v: u128) -> Self {
        Self { lo: v as u64, hi: (v >> 64) as u64 }
    }
    #[inline]
    pub const fn get_i32(self) -> i32 {
        self.lo as i32
    }
    #[inline]
    pub const fn get_u32(self) -> u32 {
        self.lo as u32
    }
    #[inline]
    pub const fn get_i64(self) -> i64 {
        self.lo as i64
    }
    #[inline]
    pub const fn get_u64(self) -> u64 {
        self.lo
    }
    #[inline]
    pub const fn get_v128(self) -> u128 {
        self.lo as u128 | (self.hi as u128) << 64
    }
}

/// Kind of a function, in a `VMFuncRef`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FuncKind {
    /// A Rust closure.
    Host = 0,
    /// Native code.
    Compiled = 1,
    /// No native code.
    Interpreted = 2,
}

/// A function as wasm code refers to it. A `funcref` is a pointer to one.
#[derive(Copy, Clone, Debug)]
#[repr(C)]
pub struct VMFuncRef {
    /// Code with the wasm calling convention: the function's body, or a stub. Never null.
    pub code: *const u8,
    /// What `code` takes as its hidden parameter: the callee's `VMContext` where `code` stands in the callee's own
    /// artifact, a `VMExitContext` where it is an exit stub.
    pub ctx: *mut u8,
    /// The instance that owns the function; null for a host function.
    pub vmctx: *mut u8,
    /// The function's type (`SharedTypeIndex`).
    pub type_id: u32,
    /// A `FuncKind`.
    pub kind: u32,
    /// The function's index in its owner's index space.
    pub func_index: u32,
    /// Always 0.
    pub reserved: u32,
}

/// An import as the importing instance calls it: `code` and `ctx` as in the `VMFuncRef`, which is kept for `ref.func`.
#[derive(Copy, Clone, Debug)]
#[repr(C)]
pub struct VMFunctionImport {
    /// As in `VMFuncRef`.
    pub code: *const u8,
    /// As in `VMFuncRef`.
    pub ctx: *mut u8,
    /// The function's reference.
    pub func_ref: *mut VMFuncRef,
}

/// What an exit stub takes as its hidden parameter: how to leave wasm code for a host function, or for an interpreted
/// function of an instance without native code.
#[derive(Copy, Clone, Debug)]
#[repr(C)]
pub struct VMExitContext {
    /// `extern "C" fn(exit: *mut VMExitContext, args: *mut ValRaw) -> u64` (a status). Never null.
    pub array_fn: *const u8,
    /// `extern "C" fn(exit: *mut VMExitContext, params...) -> HostRet`, or null if there is none. There can only be one
    /// if no parameter or result is a vector and there is at most one result.
    pub typed_fn: *const u8,
    /// The store.
    pub store: *mut VMStoreContext,
    /// The instance that imported the host function (null if none did), or that owns the interpreted function.
    pub vmctx: *mut u8,
    /// For the callee alone.
    pub data: *mut u8,
    /// The function's type (`SharedTypeIndex`).
    pub type_id: u32,
    /// The function's index in the index space of `vmctx`, if that is not null.
    pub func_index: u32,
}

/// What a typed host function and every fallible builtin return, in two integer registers.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct HostRet {
    /// Bits of the result.
    pub value: u64,
    /// A status.
    pub status: u64,
}

/// Everything went well.
pub const STATUS_OK: u64 = 0;
/// A trap, an exit or another error waits in the store: unwind the whole activation.
pub const STATUS_TRAP: u64 = 1;
/// An exception waits in the store (`pending_exn`): unwind to its handler.
pub const STATUS_EXCEPTION: u64 = 2;
/// A tail call waits in the store (`tail`): the stub that gets this status calls on in its own place.
pub const STATUS_TAIL_CALL: u64 = 3;

/// A call that an interpreted function left to the stub it was entered from.
#[derive(Copy, Clone, Debug)]
#[repr(C)]
pub struct VMTailCall {
    /// The tail-entry stub for the callee's type.
    pub entry: *const u8,
    /// The callee's code.
    pub code: *const u8,
    /// The callee's hidden parameter.
    pub ctx: *mut u8,
    /// The arguments.
    pub args: *mut ValRaw,
}

/// The part of a store that generated code reads and writes.
#[derive(Debug)]
#[repr(C)]
pub struct VMStoreContext {
    /// Frame pointer of the stub through which wasm code was last left: at it stand the frame pointer of the wasm
    /// function and the return address into it.
    pub last_exit_fp: u64,
    /// Stubs that leave wasm code raise `StackOverflow` if the stack pointer is below this.
    pub host_stack_limit: u64,
    /// A pending tail call.
    pub tail: VMTailCall,
    /// The pending exception: its reference.
    pub pending_exn: u64,
    /// The pending exception: its object.
    pub pending_exn_object: *mut VMExnObject,
    /// The runtime's own data.
    pub store: *mut u8,
    /// The routine `raise`: `extern "C" fn(store: *mut VMStoreContext, status: u64) -> !`. It stands here as well as among
    /// the builtins because an exit stub may have no `VMContext` to find those through.
    pub raise: *const u8,
    /// What metered code keeps.
    pub meter: VMMeter,
    /// Not 0 while code is entered that has a second entry at a loop (`TierEntry::Loop`), if that entry is meant. The code makes it 0
    /// before it does anything else, and whoever ends an activation does so, where it did not come to that.
    pub at_loop: u64,
}

/// The counters of metered code. While native code runs, the pinned register holds `fuel`, and stubs that leave native code
/// bring this one up to date; the other counters are always here.
#[derive(Copy, Clone, Debug)]
#[repr(C)]
pub struct VMMeter {
    /// Fuel that is left. Never negative.
    pub fuel: i64,
    /// Instructions that were charged for, if they are counted apart from their cost.
    pub instructions: u64,
    /// Interpreted functions that were entered.
    pub calls: u64,
    /// Not 0 if the host's functions are counted, charged for or timed.
    pub watch_host: u64,
}

impl VMMeter {
    /// Nothing is counted yet, and fuel never ends: counting and limiting are the same code.
    pub const UNLIMITED: Self = Self { fuel: i64::MAX, instructions: 0, calls: 0, watch_host: 0 };
}

/// Header of an exception object; the payload follows in 16-byte `ValRaw` slots at `EXN_PAYLOAD_OFFSET`.
#[derive(Debug)]
#[repr(C, align(16))]
pub struct VMExnObject {
    /// The tag: the address is its identity.
    pub tag: *const VMTagDefinition,
    /// `EXN_ESCAPED`, or 0.
    pub flags: u32,
    /// How many payload slots follow.
    pub slots: u32,
}

/// Flag of an exception object: a reference to it was made (`catch_ref`, `catch_all_ref`), so that only the collector
/// may free it. Without the flag it dies at the next throw.
pub const EXN_ESCAPED: u32 = 1;
/// Offset of the first payload slot from the header.
pub const EXN_PAYLOAD_OFFSET: u32 = size_of::<VMExnObject>() as u32;

/// A memory. That of a shared memory is read by all threads while one of them grows it: see `current_length`.
#[derive(Copy, Clone, Debug)]
#[repr(C)]
pub struct VMMemoryDefinition {
    /// First byte. Never changes.
    pub base: *mut u8,
    /// Size in bytes. Never shrinks. Of a shared memory it is written and read atomically.
    pub current_length: u64,
}

/// A table. Elements are 8 bytes wide: `VMFuncRef` pointers, or heap references in the low 4 bytes with 0 above.
#[derive(Copy, Clone, Debug)]
#[repr(C)]
pub struct VMTableDefinition {
    /// First element. Never changes if the table cannot grow.
    pub base: *mut u64,
    /// Size in elements.
    pub current_elements: u64,
}

/// A global. The value lies in its low bytes as in a `ValRaw`, with 0 above a heap reference.
#[derive(Copy, Clone, Debug, Default)]
#[repr(C, align(16))]
pub struct VMGlobalDefinition {
    /// The value.
    pub value: ValRaw,
}

/// A tag; its address is its identity.
#[derive(Copy, Clone, Debug)]
#[repr(C)]
pub struct VMTagDefinition {
    /// Its function type (`SharedTypeIndex`).
    pub type_id: u32,
    /// Always 0.
    pub reserved: u32,
}

/// The fixed head of a `VMContext`; `vmoffsets::VMOffsets` places the rest behind it.
#[derive(Debug)]
#[repr(C, align(16))]
pub struct VMContextHead {
    /// `VMCONTEXT_MAGIC`, to tell a `VMContext` from anything else in assertions.
    pub magic: u64,
    /// The store.
    pub store: *mut VMStoreContext,
    /// Addresses of the builtins, by `Builtin`.
    pub builtins: *const *const u8,
    /// The `SharedTypeIndex` of each of the module's types, by `TypeIndex`.
    pub type_ids: *const u32,
    /// The runtime's own data of the instance.
    pub instance: *mut u8,
    /// The native code of each function that has any by now, by `DefinedFuncIndex`; null before there is some, and in instances of
    /// modules that are not compiled while they run. Only the store's own thread writes to it.
    pub entries: *const *const u8,
    /// How many functions of the instance were entered in metered native code. It stands here and not in the store's `VMMeter`
    /// because an instruction more at each call can be felt.
    pub calls: u64,
}

/// First word of every `VMContext`.
pub const VMCONTEXT_MAGIC: u64 = u64::from_le_bytes(*b"vmctx\0\0\0");

macro_rules! offsets {
    ($($(#[$doc:meta])* $name:ident = $ty:ident . $($field:ident).+;)*) => {$(
        $(#[$doc])*
        pub const $name: i32 = offset_of!($ty, $($field).+) as i32;
    )*};
}

/// Offsets of the fields that generated code uses.
#[expect(missing_docs, reason = "named after their fields")]
pub mod offsets {
    use super::*;
    offsets! {
        VMCONTEXT_STORE = VMContextHead.store;
        VMCONTEXT_CALLS = VMContextHead.calls;
        VMCONTEXT_BUILTINS = VMContextHead.builtins;
        VMCONTEXT_TYPE_IDS = VMContextHead.type_ids;
        VMCONTEXT_ENTRIES = VMContextHead.entries;
        FUNC_REF_CODE = VMFuncRef.code;
        FUNC_REF_CTX = VMFuncRef.ctx;
        FUNC_REF_TYPE_ID = VMFuncRef.type_id;
        IMPORT_CODE = VMFunctionImport.code;
        IMPORT_CTX = VMFunctionImport.ctx;
        IMPORT_FUNC_REF = VMFunctionImport.func_ref;
        EXIT_ARRAY_FN = VMExitContext.array_fn;
        EXIT_TYPED_FN = VMExitContext.typed_fn;
        EXIT_STORE = VMExitContext.store;
        STORE_LAST_EXIT_FP = VMStoreContext.last_exit_fp;
        STORE_HOST_STACK_LIMIT = VMStoreContext.host_stack_limit;
        STORE_RAISE = VMStoreContext.raise;
        STORE_FUEL = VMStoreContext.meter.fuel;
        STORE_INSTRUCTIONS = VMStoreContext.meter.instructions;
        STORE_TAIL_ENTRY = VMStoreContext.tail.entry;
        STORE_TAIL_CODE = VMStoreContext.tail.code;
        STORE_TAIL_CTX = VMStoreContext.tail.ctx;
        STORE_TAIL_ARGS = VMStoreContext.tail.args;
        STORE_AT_LOOP = VMStoreContext.at_loop;
        EXN_TAG = VMExnObject.tag;
        EXN_FLAGS = VMExnObject.flags;
        MEMORY_BASE = VMMemoryDefinition.base;
        MEMORY_LENGTH = VMMemoryDefinition.current_length;
        TABLE_BASE = VMTableDefinition.base;
        TABLE_ELEMENTS = VMTableDefinition.current_elements;
    }
}
