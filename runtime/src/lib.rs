//! wasmc-runtime: runs WebAssembly, compiled or interpreted, and embeds it in Rust programs. The embedding interface has
//! the shape that users of Wasmtime know; inside, `exec::enter_function` is the one place that tells host, compiled and
//! interpreted functions apart. The crate never links a compiler: [`Config::compiler`] takes one, and artifacts need none.
//!
//! ```
//! use wasmc_runtime::{Caller, Config, Engine, Linker, Module, Store, Tier};
//!
//! # fn main() -> wasmc_runtime::Result<()> {
//! let engine = Engine::new(Config::new().tier(Tier::Interpreted))?;
//! let wasm = wat::parse_str(
//!     r#"(module
//!         (import "host" "count" (func $count (param i32) (result i32)))
//!         (func (export "run") (result i32) (call $count (i32.const 5))))"#,
//! )?;
//! let module = Module::new(&engine, &wasm)?;
//!
//! let mut linker = Linker::new(&engine);
//! linker.func_wrap("host", "count", |mut caller: Caller<'_, u32>, n: i32| {
//!     *caller.data_mut() += 1;
//!     n * 2
//! })?;
//!
//! let mut store = Store::new(&engine, 0);
//! let instance = linker.instantiate(&mut store, &module)?;
//! let run = instance.get_typed_func::<(), i32>(&mut store, "run")?;
//! assert_eq!(run.call(&mut store, ())?, 10);
//! assert_eq!(*store.data(), 1);
//! # Ok(())
//! # }
//! ```

#![deny(missing_docs)]

mod artifact;
mod asynchronous;
mod caller;
mod code;
mod config;
mod context;
mod coredump;
mod engine;
mod error;
mod exec;
mod extern_;
mod fuel;
mod func;
mod global;
mod instance;
mod instantiate;
mod interp;
mod interrupt;
mod into_func;
mod limiter;
mod linker;
mod matching;
mod memory;
mod module;
mod named;
mod ops;
mod perf_map;
mod profile;
mod reflect;
mod registry;
mod reuse;
mod shared_memory;
mod similar;
mod store;
mod sync;
mod table;
mod tag;
mod tiering;
mod trace;
mod trap;
mod typed;
mod types;
mod value;
mod vm;
mod waiters;
mod workflow;

pub use artifact::{ArtifactContents, ArtifactError, ArtifactErrorKind, WASMC_VERSION};
pub use asynchronous::AsyncCall;
pub use caller::Caller;
pub use config::{Config, Tier};
pub use context::{AsContext, AsContextMut, StoreContext, StoreContextMut};
pub use coredump::CoreDump;
pub use engine::Engine;
pub use error::{Error, Exit, HostPanic, IncompatibleImport, NameOwner, NameTaken, Result, SimilarName, ThrownException, UnknownImport};
pub use extern_::{Export, Extern};
pub use fuel::{CostsDiffer, MAX_FUEL, NotMetered, Stats};
pub use func::Func;
pub use global::Global;
pub use instance::Instance;
pub use interrupt::{InterruptHandle, Timeout};
pub use into_func::{IntoFunc, WasmRet, WasmTy};
#[doc(hidden)]
pub use into_func::{IntoFuncAfter, Never, Quick};
pub use limiter::{LimitExceeded, Resource, ResourceLimiter, StoreLimits};
pub use linker::{InstancePre, Linker};
pub use memory::{Memory, MemoryAccessError};
pub use module::Module;
pub use named::{CircleLink, ImportCircle, InvalidInitialize};
pub use profile::{DEFAULT_FREQUENCY, Leaf, MAX_FREQUENCY, Profile, ProfileFrame, ProfileSample, ProfileStack, Profiler, ThreadProfile};
pub use reuse::Reuse;
pub use shared_memory::{SharedMemory, SharedMemoryDisabled};
pub use store::Store;
pub use table::Table;
pub use tag::Tag;
pub use trace::{CallPattern, CallTracer};
pub use trap::{Backtrace, FrameInfo, Trap};
pub use typed::{TypedFunc, WasmParams, WasmResults};
pub use types::{ExportType, ExternType, ImportType};
pub use value::{ExnRef, ExternRef, V128, Val};
pub use vm::fatal::{FaultCodes, end_process_on_faults};
pub use waiters::WaitResult;
pub use workflow::{Loaded, Running, Validated, Vm};

pub use wasmc_environ as environ;
pub use wasmc_environ::TrapCode;
pub use wasmc_environ::costs::{CostError, CostTable};
pub use wasmc_environ::features::Features;
pub use wasmc_environ::jit::{Interpret, JitCompiler};
pub use wasmc_environ::types::{FuncType, GlobalType, HeapType, Limits, MemoryType, RefType, TableType, ValType};
