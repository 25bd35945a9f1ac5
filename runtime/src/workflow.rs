//! The way of a program in stages: load, validate, instantiate, run. Each stage is a type that only has what can come next, so
//! that a wrong order does not compile: what is loaded cannot be instantiated, and what is validated cannot be run. [`Vm`] is the
//! store with its named modules around them; whoever needs more finds [`Store`] and [`Linker`] in it.

use crate::Result;
use crate::config::Config;
use crate::context::AsContext;
use crate::engine::Engine;
use crate::error::Exit;
use crate::func::Func;
use crate::instance::Instance;
use crate::linker::Linker;
use crate::module::Module;
use crate::named::initialize;
use crate::store::Store;
use crate::typed::{WasmParams, WasmResults};
use crate::value::Val;
use anyhow::{Context as _, ensure};
use std::path::Path;
use wasmc_environ::DecodeError;
use wasmc_environ::decode::decode;
use wasmc_environ::module::Module as EnvModule;
use wasmc_environ::types::FuncType;

/// A virtual machine: a store, the modules that are registered in it by name, and the stages of a program.
///
/// ```
/// use wasmc_runtime::{Config, Engine, Tier, Val, Vm};
///
/// # fn main() -> wasmc_runtime::Result<()> {
/// let mut vm = Vm::new(&Engine::new(Config::new().tier(Tier::Interpreted))?, ());
/// // What the host provides goes through the linker; WASI, too: `wasmc_wasi::add_to_linker(vm.linker_mut(), …)`.
/// vm.linker_mut().func_wrap("host", "double", |x: i32| 2 * x)?;
///
/// let math = wat::parse_str(r#"(module (func (export "add") (param i32 i32) (result i32)
///     (i32.add (local.get 0) (local.get 1))))"#)?;
/// let math = vm.load(&math)?.validate()?;
/// vm.register("math", &math)?;
///
/// let program = wat::parse_str(r#"(module
///     (import "host" "double" (func $double (param i32) (result i32)))
///     (import "math" "add" (func $add (param i32 i32) (result i32)))
///     (func (export "run") (param i32) (result i32) (call $double (call $add (local.get 0) (i32.const 1)))))"#)?;
/// let program = vm.load(&program)?.validate()?;
/// let mut running = vm.instantiate(&program)?;
/// assert_eq!(running.call::<i32, i32>("run", 20)?, 42);
/// assert_eq!(running.run("run", &[Val::I32(0)])?[0].i32(), Some(2));
/// for (name, ty) in running.functions() {
///     println!("{name} {ty}");
/// }
///
/// assert_eq!(vm.registered().collect::<Vec<_>>(), ["math"]);
/// assert_eq!(vm.run_registered("math", "add", &[Val::I32(1), Val::I32(2)])?[0].i32(), Some(3));
/// # Ok(())
/// # }
/// ```
///
/// What is loaded must be validated before it is instantiated:
///
/// ```compile_fail,E0308
/// # fn wrong(mut vm: wasmc_runtime::Vm<()>, wasm: &[u8]) -> wasmc_runtime::Result<()> {
/// let program = vm.load(wasm)?;
/// vm.instantiate(&program)?;
/// # Ok(())
/// # }
/// ```
///
/// and registered:
///
/// ```compile_fail,E0308
/// # fn wrong(mut vm: wasmc_runtime::Vm<()>, wasm: &[u8]) -> wasmc_runtime::Result<()> {
/// let library = vm.load(wasm)?;
/// vm.register("library", &library)?;
/// # Ok(())
/// # }
/// ```
///
/// What is validated must be instantiated before it runs:
///
/// ```compile_fail,E0599
/// # fn wrong(mut vm: wasmc_runtime::Vm<()>, wasm: &[u8]) -> wasmc_runtime::Result<()> {
/// let program = vm.load(wasm)?.validate()?;
/// program.run("main", &[])?;
/// # Ok(())
/// # }
/// ```
///
/// Nothing is validated twice, and nothing is left of a stage that was passed:
///
/// ```compile_fail,E0382
/// # fn wrong(mut vm: wasmc_runtime::Vm<()>, wasm: &[u8]) -> wasmc_runtime::Result<()> {
/// let program = vm.load(wasm)?;
/// let validated = program.validate()?;
/// let again = program.validate()?;
/// # Ok(())
/// # }
/// ```
///
/// While a program runs, the machine is its own; and it does not outlive the machine:
///
/// ```compile_fail,E0499
/// # fn wrong(mut vm: wasmc_runtime::Vm<()>, wasm: &[u8]) -> wasmc_runtime::Result<()> {
/// let program = vm.load(wasm)?.validate()?;
/// let mut running = vm.instantiate(&program)?;
/// vm.register("late", &program)?;
/// running.run("main", &[])?;
/// # Ok(())
/// # }
/// ```
///
/// ```compile_fail,E0505
/// # fn wrong(mut vm: wasmc_runtime::Vm<()>, wasm: &[u8]) -> wasmc_runtime::Result<()> {
/// let program = vm.load(wasm)?.validate()?;
/// let mut running = vm.instantiate(&program)?;
/// drop(vm);
/// running.run("main", &[])?;
/// # Ok(())
/// # }
/// ```
pub struct Vm<T: 'static> {
    store: Store<T>,
    linker: Linker<T>,
}

/// A module whose declarations were decoded: the first stage. What it imports and exports is known; its code was not looked at.
#[derive(Debug)]
pub struct Loaded {
    engine: Engine,
    content: Content,
}

enum Content {
    Wasm {
        bytes: Vec<u8>,
        module: Box<EnvModule>,
    },
    /// Its validation was before it was compiled; loading has checked that it is whole.
    Artifact(Module),
}

/// A module that is valid, and compiled if the engine compiles: the second stage. It can be registered and instantiated any
/// number of times, in all machines of its engine.
#[derive(Clone, Debug)]
pub struct Validated {
    module: Module,
}

/// A program that was instantiated, in its machine: the last stage. Dropping it gives the machine back for others; the instance
/// stays in the store.
pub struct Running<'vm, T: 'static> {
    vm: &'vm mut Vm<T>,
    instance: Instance,
}

impl<T: 'static> Vm<T> {
    /// A machine without modules, with the host's data.
    pub fn new(engine: &Engine, data: T) -> Self {
        Self { store: Store::new(engine, data), linker: Linker::new(engine) }
    }

    /// The engine that the machine was made with.
    pub fn engine(&self) -> &Engine {
        self.store.engine()
    }

    /// The store.
    pub fn store(&self) -> &Store<T> {
        &self.store
    }

    /// The store.
    pub fn store_mut(&mut self) -> &mut Store<T> {
        &mut self.store
    }

    /// What modules can import from.
    pub fn linker(&self) -> &Linker<T> {
        &self.linker
    }

    /// What modules can import from: for host functions, WASI, plug-ins.
    pub fn linker_mut(&mut self) -> &mut Linker<T> {
        &mut self.linker
    }

    /// The store and the linker, without the machine around them: to run with them what takes them whole, such as
    /// [`Store::run_async`].
    pub fn into_parts(self) -> (Store<T>, Linker<T>) {
        (self.store, self.linker)
    }

    /// A machine of a store and its linker.
    ///
    /// # Errors
    /// If they were made with different engines, or the linker has an instance of another store.
    pub fn from_parts(store: Store<T>, linker: Linker<T>) -> Result<Self> {
        ensure!(Engine::same(store.engine(), linker.engine()), "the linker was made with another engine than the store");
        for (name, instance) in linker.instances() {
            instance.check(store.as_context().opaque()).with_context(|| format!("the linker's module `{name}`"))?;
        }
        Ok(Self { store, linker })
    }

    /// Loads a WebAssembly binary.
    ///
    /// # Errors
    /// If its declarations cannot be decoded, or use what is off or not supported.
    pub fn load(&self, wasm: impl AsRef<[u8]>) -> Result<Loaded> {
        let bytes = wasm.as_ref();
        ensure!(
            !bytes.starts_with(b"\x7fELF"),
            "this is an ELF file, not a WebAssembly module; if it is an artifact of wasmc, use `Vm::load_artifact`"
        );
        let module = Box::new(decode_declarations(bytes, self.engine().config())?);
        Ok(Loaded { engine: self.engine().clone(), content: Content::Wasm { bytes: bytes.to_owned(), module } })
    }

    /// Loads a file with a WebAssembly binary.
    ///
    /// # Errors
    /// If it cannot be read, and as [`Vm::load`].
    pub fn load_file(&self, path: impl AsRef<Path>) -> Result<Loaded> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        self.load(bytes).with_context(|| path.display().to_string())
    }

    /// Loads an artifact.
    ///
    /// # Errors
    /// As [`Module::from_artifact`].
    ///
    /// # Safety
    /// As [`Module::from_artifact`]: it is native code, and is trusted as an executable is.
    pub unsafe fn load_artifact(&self, path: impl AsRef<Path>) -> Result<Loaded> {
        // SAFETY: by the caller.
        let module = unsafe { Module::from_artifact(self.engine(), path) }?;
        Ok(Loaded { engine: self.engine().clone(), content: Content::Artifact(module) })
    }

    /// Instantiates a module under a name, for others to import from. `_initialize` is called if it is exported.
    ///
    /// # Errors
    /// As [`Linker::modules`].
    pub fn register(&mut self, name: &str, module: &Validated) -> Result<()> {
        self.register_all(&[(name, module)])
    }

    /// Instantiates modules under names, each after those that it imports from, whatever their order.
    ///
    /// # Errors
    /// As [`Linker::modules`].
    pub fn register_all(&mut self, named: &[(&str, &Validated)]) -> Result<()> {
        let named: Vec<(&str, &Module)> = named.iter().map(|(name, module)| (*name, &module.module)).collect();
        self.linker.modules(&mut self.store, &named).map(drop)
    }

    /// The names of the registered modules, in their order.
    pub fn registered(&self) -> impl ExactSizeIterator<Item = &str> {
        self.linker.instances().map(|(name, _)| name)
    }

    /// The functions of a registered module: names and types. `None` if there is no such module.
    pub fn registered_functions(&self, module: &str) -> Option<Vec<(String, FuncType)>> {
        Some(functions(&self.linker.get_instance(module)?.module(&self.store)))
    }

    /// Calls a function of a registered module.
    ///
    /// # Errors
    /// If there is no such module or function, the arguments do not fit, or the call fails.
    pub fn run_registered(&mut self, module: &str, function: &str, args: &[Val]) -> Result<Vec<Val>> {
        let instance = self.linker.get_instance(module).with_context(|| format!("no module is registered as `{module}`"))?;
        run(&mut self.store, instance, function, args)
    }

    /// Instantiates a program with what is registered and what the linker has. `_initialize` is called if it is exported.
    ///
    /// # Errors
    /// As [`Linker::instantiate`], and if `_initialize` fails.
    pub fn instantiate(&mut self, module: &Validated) -> Result<Running<'_, T>> {
        let instance = self.linker.instantiate(&mut self.store, &module.module)?;
        initialize(&mut self.store, instance)?;
        Ok(Running { vm: self, instance })
    }

    /// All stages at once: loads, validates, instantiates, and calls a function.
    ///
    /// # Errors
    /// As those.
    pub fn run(&mut self, wasm: impl AsRef<[u8]>, function: &str, args: &[Val]) -> Result<Vec<Val>> {
        let module = self.load(wasm)?.validate()?;
        self.instantiate(&module)?.run(function, args)
    }
}

impl Loaded {
    /// What the module declares. Types in it name types by the module's own indices.
    pub fn declarations(&self) -> &EnvModule {
        match &self.content {
            Content::Wasm { module, .. } => module,
            Content::Artifact(module) => module.env(),
        }
    }

    /// Validates the code, and compiles it if the engine compiles.
    ///
    /// # Errors
    /// As [`Module::new`].
    pub fn validate(self) -> Result<Validated> {
        let module = match self.content {
            Content::Wasm { bytes, .. } => Module::new(&self.engine, bytes)?,
            Content::Artifact(module) => module,
        };
        Ok(Validated { module })
    }
}

impl Validated {
    /// The module, as the rest of the interface knows it.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// The functions that it exports: names and types.
    pub fn functions(&self) -> Vec<(String, FuncType)> {
        functions(&self.module)
    }
}

impl From<Module> for Validated {
    /// A module is valid, however it was made.
    fn from(module: Module) -> Self {
        Self { module }
    }
}

impl<T: 'static> Running<'_, T> {
    /// The functions that the program exports: names and types.
    pub fn functions(&self) -> Vec<(String, FuncType)> {
        functions(&self.instance.module(&self.vm.store))
    }

    /// Calls a function with values of any type; its results.
    ///
    /// # Errors
    /// If there is no such function, the arguments do not fit, or the call fails.
    pub fn run(&mut self, function: &str, args: &[Val]) -> Result<Vec<Val>> {
        run(&mut self.vm.store, self.instance, function, args)
    }

    /// Calls a function whose type is known here.
    ///
    /// # Errors
    /// If there is no such function, it has another type, or the call fails.
    pub fn call<P: WasmParams, R: WasmResults>(&mut self, function: &str, params: P) -> Result<R> {
        let function = self.instance.get_typed_func::<P, R>(&mut self.vm.store, function)?;
        function.call(&mut self.vm.store, params)
    }

    /// Calls `_start`, as a WASI program wants it; its exit status, 0 if it returns.
    ///
    /// # Errors
    /// If there is no such function, or it fails otherwise than by an exit.
    pub fn start(&mut self) -> Result<i32> {
        match self.call::<(), ()>("_start", ()) {
            Ok(()) => Ok(0),
            Err(error) => error.downcast::<Exit>().map(|Exit(status)| status),
        }
    }

    /// The instance. It may be used with the machine's store for as long as that lives.
    pub fn instance(&self) -> Instance {
        self.instance
    }

    /// The machine's store.
    pub fn store_mut(&mut self) -> &mut Store<T> {
        &mut self.vm.store
    }
}

fn decode_declarations(wasm: &[u8], config: &Config) -> Result<EnvModule, DecodeError> {
    decode(wasm, &config.features).map(|decoded| decoded.module)
}

fn functions(module: &Module) -> Vec<(String, FuncType)> {
    module.exports().filter_map(|e| Some((e.name.to_owned(), e.ty.func()?.clone()))).collect()
}

fn run<T: 'static>(store: &mut Store<T>, instance: Instance, function: &str, args: &[Val]) -> Result<Vec<Val>> {
    let name = function;
    let function: Func = instance.get_func(&mut *store, name).with_context(|| format!("no function `{name}` is exported"))?;
    let mut results = vec![Val::I32(0); function.ty(&*store).results.len()];
    function.call(&mut *store, args, &mut results)?;
    Ok(results)
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Wasm { .. } => "Wasm",
            Self::Artifact(_) => "Artifact",
        })
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for Vm<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vm").field("store", &self.store).field("linker", &self.linker).finish()
    }
}

impl<T: 'static> std::fmt::Debug for Running<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("instance", &self.instance).finish_non_exhaustive()
    }
}
