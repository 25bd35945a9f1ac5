//! A module: decoded, validated, and with its code, ready to be instantiated any number of times in any number of
//! stores of its engine.

use crate::Result;
use crate::artifact::{self, ArtifactError, HostChecks};
use crate::code::{Code, LoadedCode};
use crate::config::Tier;
use crate::engine::Engine;
use crate::interp::InterpModule;
use crate::registry::{Stubs, TypeRegistration};
use crate::tiering::Tiering;
use crate::trace::{self, CallPattern};
use crate::types::{ExportType, ExternType, ImportType};
use crate::vm::image::{self, Image, Images};
use crate::vm::memory::Initial;
use crate::vm::{self, fork::get_or_init};
use anyhow::{Context as _, bail};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use wasmc_environ::artifact::{SectionKind, StubSet, feature_bits, tunable_bits};
use wasmc_environ::decode::decode_and_validate;
use wasmc_environ::jit::JitOptions;
use wasmc_environ::module::{EntityIndex, Module as EnvModule, SegmentMode};
use wasmc_environ::types::*;
use wasmc_environ::vmlayout::{FuncKind, VMContextHead};
use wasmc_environ::vmoffsets::VMOffsets;
use wasmc_environ::*;

/// With more exports than this, finding one by name uses a map.
const MAP_EXPORTS_FROM: usize = 8;

/// A module.
#[derive(Clone)]
pub struct Module {
    pub(crate) inner: Arc<ModuleInner>,
}

/// The bytes of the WebAssembly binary, where the interpreter and the data segments find them.
pub(crate) enum WasmBytes {
    /// Read from memory: kept here.
    Owned(Arc<Vec<u8>>),
    /// In the artifact's mapping, if it was not stripped.
    InCode,
}

/// The parts of a `VMFuncRef` that are the same in all instances.
pub(crate) struct FuncRefTemplate {
    /// Address of the code: the body or the stub in the module's own text, or the search for an exit stub.
    pub(crate) code: usize,
    pub(crate) type_id: u32,
    pub(crate) kind: u32,
    pub(crate) func_index: u32,
}

/// The active data segments: programs can have ten thousands, which most instances need not look at one by one.
pub(crate) struct ActiveData {
    /// A bit for each that is active.
    pub(crate) segments: Box<[u64]>,
    /// The memories that they go to.
    pub(crate) memories: Box<[MemoryIndex]>,
}

impl ActiveData {
    /// Whether a segment is one of them.
    pub(crate) fn contains(&self, index: DataIndex) -> bool {
        self.segments[index.index() / 64] & (1 << (index.index() % 64)) != 0
    }

    fn of(env: &EnvModule) -> Self {
        let (mut segments, mut memories) = (vec![0; env.data.len().div_ceil(64)], BTreeSet::new());
        for (i, segment) in env.data.iter().enumerate() {
            if let SegmentMode::Active { target, .. } = segment.mode {
                segments[i / 64] |= 1 << (i % 64);
                memories.insert(target);
            }
        }
        Self { segments: segments.into(), memories: memories.into_iter().collect() }
    }
}

/// What the handles of a module share.
pub(crate) struct ModuleInner {
    pub(crate) engine: Engine,
    pub(crate) env: Arc<EnvModule>,
    pub(crate) offsets: VMOffsets,
    pub(crate) code: Code,
    pub(crate) wasm: WasmBytes,
    /// The interpreter's functions, translated at their first call.
    pub(crate) interp: InterpModule,
    /// If functions are compiled while they run.
    pub(crate) tier: Option<Tiering>,
    /// The `SharedTypeIndex` of each `TypeIndex`.
    pub(crate) type_ids: Box<[u32]>,
    /// Types in `env` name types by `SharedTypeIndex` already: modules that the host's memories and tables stand in.
    engine_types: bool,
    /// Whether 32-bit memories are made with a full reservation, and native code relies on that.
    pub(crate) static_memory: bool,
    /// Native code of this module reports its calls.
    pub(crate) traced: bool,
    /// Own stubs for the type of each imported function.
    pub(crate) import_stubs: Box<[Stubs]>,
    /// By `FuncRefIndex`.
    pub(crate) func_refs: Box<[FuncRefTemplate]>,
    /// From the name section, or from the file's name.
    pub(crate) name: Option<String>,
    exports: OnceLock<HashMap<String, usize>>,
    pub(crate) active_data: ActiveData,
    /// The initial contents of its memories, once there was more than one instance.
    images: Images,
    _types: TypeRegistration,
}

/// What a module is made of.
pub(crate) struct Parts {
    pub(crate) env: EnvModule,
    pub(crate) code: Code,
    pub(crate) wasm: WasmBytes,
    pub(crate) static_memory: bool,
    pub(crate) traced: bool,
    pub(crate) name: Option<String>,
    pub(crate) tier: Option<Tiering>,
}

impl ModuleInner {
    fn new(engine: &Engine, parts: Parts) -> Result<Self> {
        let Parts { env, code, wasm, static_memory, traced, name, tier } = parts;
        let registry = engine.registry();
        let (type_ids, types) = registry.intern_module(&env);
        if let Code::Loaded(code) = &code {
            registry.register_stubs(code);
        }
        let offsets = VMOffsets::new(&env, static_memory).context("the module has more imports, globals and functions than fit 2 GiB")?;
        let import_stubs = import_stubs(&env, &code);
        let func_refs = func_refs(&env, &code, &type_ids);
        let name = env.name.clone().or(name);
        let active_data = ActiveData::of(&env);
        let images = Images::new(engine.pool(), &env);
        let interp = InterpModule::new(env.num_defined_functions(), tier.as_ref().map_or(0, Tiering::after));
        Ok(Self {
            engine: engine.clone(),
            env: Arc::new(env),
            offsets,
            code,
            wasm,
            interp,
            tier,
            type_ids,
            engine_types: false,
            static_memory,
            traced,
            import_stubs,
            func_refs,
            name,
            exports: OnceLock::new(),
            active_data,
            images,
            _types: types,
        })
    }

    /// The module that a memory or table of the host stands in. Its types name types by `SharedTypeIndex`; `types` keeps
    /// them.
    pub(crate) fn for_host(engine: &Engine, env: EnvModule, types: Option<TypeRegistration>) -> Result<Self> {
        let wasm = WasmBytes::Owned(Arc::default());
        let static_memory = engine.config().tunables.static_memory;
        let mut this = Self::new(engine, Parts { env, code: Code::None, wasm, static_memory, traced: false, name: None, tier: None })?;
        this.engine_types = true;
        if let Some(types) = types {
            this._types = types;
        }
        Ok(this)
    }

    /// What the module's code takes as its hidden parameter, in the instance with this `VMContext`.
    #[inline]
    pub(crate) fn hidden(&self, vmctx: *mut VMContextHead) -> *mut u8 {
        vmctx.cast::<u8>().wrapping_add(self.offsets.hidden() as usize)
    }

    /// The WebAssembly binary; `None` if the artifact was stripped of it.
    pub(crate) fn wasm(&self) -> Option<&[u8]> {
        match (&self.wasm, &self.code) {
            (WasmBytes::Owned(bytes), _) => Some(bytes),
            (WasmBytes::InCode, Code::Loaded(code)) => code.wasm(),
            (WasmBytes::InCode, Code::None) => None,
        }
    }

    /// The WebAssembly binary, if it is the module's own.
    pub(crate) fn owned_wasm(&self) -> Option<Arc<Vec<u8>>> {
        match &self.wasm {
            WasmBytes::Owned(bytes) => Some(bytes.clone()),
            WasmBytes::InCode => None,
        }
    }

    /// The bytes of a data segment.
    pub(crate) fn data(&self, index: DataIndex) -> &[u8] {
        let range = &self.env.data[index.index()].bytes;
        match (&self.wasm, &self.code) {
            (WasmBytes::Owned(bytes), Code::None) => bytes.get(range.start as usize..range.end as usize).unwrap_or_default(),
            (WasmBytes::Owned(bytes), Code::Loaded(code)) if !code.meta().data_section => {
                bytes.get(range.start as usize..range.end as usize).unwrap_or_default()
            }
            (_, Code::Loaded(code)) => code.data(range.clone()),
            (WasmBytes::InCode, Code::None) => &[],
        }
    }

    /// The image of a memory that all instances but the first share, if there is one and the engine keeps memories.
    pub(crate) fn image(&self, index: DefinedMemoryIndex) -> Option<&Arc<Image>> {
        let Self { env, offsets, code, .. } = self;
        self.images.get(index, &image::Source { env, offsets, code, data: &|segment| self.data(segment) })
    }

    /// What a memory holds in the beginning that is made without others.
    pub(crate) fn own_image(&self, index: DefinedMemoryIndex) -> Initial<'_> {
        match &self.code {
            Code::Loaded(code) => code.memory_image(index).map_or(Initial::Zeros, Initial::Own),
            Code::None => Initial::Zeros,
        }
    }

    /// The export with this name.
    pub(crate) fn export(&self, name: &str) -> Option<EntityIndex> {
        if self.env.exports.len() < MAP_EXPORTS_FROM {
            return self.env.export(name);
        }
        let map = get_or_init(&self.exports, || self.env.exports.iter().enumerate().map(|(i, e)| (e.name.clone(), i)).collect());
        map.get(name).map(|i| self.env.exports[*i].index)
    }

    /// A reference type of the module in the engine's type space.
    pub(crate) fn engine_ref(&self, ty: RefType) -> RefType {
        match ty.heap {
            HeapType::Concrete(i) if !self.engine_types => {
                RefType { heap: HeapType::Concrete(TypeIndex::from_u32(self.type_ids[i.index()])), ..ty }
            }
            _ => ty,
        }
    }

    /// A value type of the module in the engine's type space.
    pub(crate) fn engine_val(&self, ty: ValType) -> ValType {
        match ty {
            ValType::Ref(r) => ValType::Ref(self.engine_ref(r)),
            other => other,
        }
    }

    /// A global type of the module in the engine's type space.
    pub(crate) fn engine_global(&self, ty: GlobalType) -> GlobalType {
        GlobalType { content: self.engine_val(ty.content), ..ty }
    }

    /// A table type of the module in the engine's type space.
    pub(crate) fn engine_table(&self, ty: TableType) -> TableType {
        TableType { element: self.engine_ref(ty.element), ..ty }
    }

    fn engine_func(&self, ty: &FuncType) -> FuncType {
        let list = |types: &[ValType]| types.iter().map(|t| self.engine_val(*t)).collect();
        FuncType { params: list(&ty.params), results: list(&ty.results) }
    }

    /// The type of an import or export in the engine's type space.
    pub(crate) fn engine_entity(&self, ty: EntityType) -> ExternType {
        match ty {
            EntityType::Func(i) => ExternType::Func(self.engine_func(self.env.func_type(i))),
            EntityType::Table(t) => ExternType::Table(self.engine_table(t)),
            EntityType::Memory(t) => ExternType::Memory(t),
            EntityType::Global(t) => ExternType::Global(self.engine_global(t)),
            EntityType::Tag(t) => ExternType::Tag(self.engine_func(self.env.func_type(t.ty))),
        }
    }
}

/// For each imported function the module's own stubs of its type, so that instantiation needs no search.
fn import_stubs(env: &EnvModule, code: &Code) -> Box<[Stubs]> {
    let count = env.num_imported_functions as usize;
    let Code::Loaded(code) = code else { return vec![Stubs::NONE; count].into() };
    if count == 0 {
        return Box::default();
    }
    let by_signature: HashMap<&AbiSignature, &StubSet> = code.stubs().iter().map(|s| (&s.signature, s)).collect();
    let mut by_type: HashMap<TypeIndex, Stubs> = HashMap::new();
    env.functions[..count]
        .iter()
        .map(|ty| {
            *by_type
                .entry(*ty)
                .or_insert_with(|| by_signature.get(&env.func_type(*ty).abi()).map_or(Stubs::NONE, |set| Stubs::of(code, set)))
        })
        .collect()
}

fn func_refs(env: &EnvModule, code: &Code, type_ids: &[u32]) -> Box<[FuncRefTemplate]> {
    let mut lazy: HashMap<TypeIndex, usize> = HashMap::new();
    env.escaping
        .iter()
        .map(|func| {
            let ty = env.functions[func.index()];
            let (code, kind) = match (env.defined_func(*func), code) {
                // An import's reference is elsewhere: this slot is never used.
                (None, _) => (0, FuncKind::Host),
                (Some(i), Code::Loaded(code)) => {
                    (code.function_code(i) as usize, if code.is_compiled(i) { FuncKind::Compiled } else { FuncKind::Interpreted })
                }
                (Some(_), Code::None) => {
                    let code = *lazy.entry(ty).or_insert_with(|| vm::lazy_exit(&env.func_type(ty).abi()) as usize);
                    (code, FuncKind::Interpreted)
                }
            };
            FuncRefTemplate { code, type_id: type_ids[ty.index()], kind: kind as u32, func_index: func.as_u32() }
        })
        .collect()
}

impl Module {
    /// How many of the module's own functions have no native code, and are interpreted. In a module that was compiled without being
    /// told to leave any out, those are too large for native code (`limits::MAX_COMPILED_OPERATORS` and what follows it). In one that is
    /// compiled while it runs it is not known which will be left, and this is 0.
    pub fn interpreted_functions(&self) -> usize {
        let count = self.inner.env.num_defined_functions();
        match &self.inner.code {
            Code::Loaded(code) => (0..count).filter(|i| !code.is_compiled(DefinedFuncIndex::from_u32(*i))).count(),
            Code::None if self.inner.tier.is_some() => 0,
            Code::None => count as usize,
        }
    }

    /// Makes a module from a WebAssembly binary, as the engine's configuration says: compiled in memory, or interpreted.
    ///
    /// # Errors
    /// If the module is not valid, uses what is off or not supported, or exceeds a limit; if it is to be compiled and the
    /// engine has no compiler, or compiling fails.
    pub fn new(engine: &Engine, bytes: impl AsRef<[u8]>) -> Result<Self> {
        Self::with_name(engine, bytes.as_ref().into(), None)
    }

    /// The same of bytes that are the module's from then on, without a copy of them.
    ///
    /// # Errors
    /// As [`Module::new`].
    pub fn from_vec(engine: &Engine, bytes: Vec<u8>) -> Result<Self> {
        Self::with_name(engine, bytes.into(), None)
    }

    fn with_name(engine: &Engine, bytes: Cow<'_, [u8]>, name: Option<String>) -> Result<Self> {
        if bytes.starts_with(b"\x7fELF") {
            bail!("this is an ELF file, not a WebAssembly module; if it is an artifact of wasmc, load it as one (`Module::from_artifact`)");
        }
        if !bytes.starts_with(b"\0asm") && bytes.trim_ascii_start().starts_with(b"(") {
            bail!("this looks like the text format; a module is made from the binary format");
        }
        let config = engine.config();
        let mut tier = None;
        let (env, code, wasm) = match config.tier_of_modules() {
            Tier::Interpreted => {
                let env = decode_and_validate(&bytes, &config.features)?;
                (env, Code::None, WasmBytes::Owned(Arc::new(bytes.into_owned())))
            }
            Tier::Auto if config.compiler.is_some() => {
                let env = decode_and_validate(&bytes, &config.features)?;
                let functions = env.num_defined_functions();
                tier = config.compiler.clone().map(|compiler| Tiering::new(engine, compiler, functions));
                (env, Code::None, WasmBytes::Owned(Arc::new(bytes.into_owned())))
            }
            Tier::Auto | Tier::Compiled => {
                let Some(compiler) = &config.compiler else {
                    bail!(
                        "this engine has no compiler to run WebAssembly with: give it one (`Config::compiler`), interpret \
                         (`Tier::Interpreted`), or load an artifact (`Module::from_artifact`)"
                    );
                };
                let costs = if config.tunables.meter { engine.costs().get().cloned() } else { None };
                let options = JitOptions { costs, ..config.code_options() };
                let mut code = LoadedCode::from_jit(compiler.compile(&bytes, &options)?).context("code made in memory")?;
                let env = code.take_module();
                let wasm = if code.wasm().is_some() { WasmBytes::InCode } else { WasmBytes::Owned(Arc::new(bytes.into_owned())) };
                (env, Code::Loaded(Arc::new(code)), wasm)
            }
        };
        let Tunables { static_memory, trace: traced, .. } = config.tunables;
        Ok(Self { inner: Arc::new(ModuleInner::new(engine, Parts { env, code, wasm, static_memory, traced, name, tier })?) })
    }

    /// Makes a module from a file with a WebAssembly binary, as [`Module::new`] does. Artifacts are for
    /// [`Module::from_artifact`].
    ///
    /// # Errors
    /// If the file cannot be read, and as [`Module::new`].
    pub fn from_file(engine: &Engine, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::with_name(engine, bytes.into(), file_name(path)).with_context(|| path.display().to_string())
    }

    /// Loads an artifact: a `.so` that `wasmc compile` made. Its functions run as native code, except for those that it
    /// was compiled without.
    ///
    /// # Errors
    /// If the file cannot be read, is damaged or no artifact, or was made for another machine, version or configuration:
    /// the error says what differs and what to do. Nothing is ever interpreted instead.
    ///
    /// # Safety
    /// The file is native code and is trusted as an executable is: it must come from `wasmc compile`, and nobody may
    /// change it while it is in use. The checks find mistakes and damage, not malice.
    pub unsafe fn from_artifact(engine: &Engine, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let code = agreed(engine, artifact::open(path, &host_checks(engine))?, path)?;
        Self::from_code(engine, code, file_name(path)).with_context(|| path.display().to_string())
    }

    /// As [`Module::from_artifact`], from a file that is open for reading: what was found out about it is still true of it
    /// then, whatever became of its name. `path` is for messages; the module has a name only if its name section has one.
    ///
    /// # Errors
    /// As [`Module::from_artifact`].
    ///
    /// # Safety
    /// As [`Module::from_artifact`].
    pub unsafe fn from_artifact_file(engine: &Engine, file: std::fs::File, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let code = agreed(engine, artifact::open_file(file, path, &host_checks(engine))?, path)?;
        Self::from_code(engine, code, None).with_context(|| path.display().to_string())
    }

    fn from_code(engine: &Engine, mut code: LoadedCode, name: Option<String>) -> Result<Self> {
        let bits = |static_memory| tunable_bits(&Tunables { static_memory, ..Tunables::default() });
        let static_bit = bits(true) & !bits(false);
        let static_memory = code.header().is_none_or(|h| h.tunables & static_bit != 0);
        let trace_bit = tunable_bits(&Tunables { trace: true, ..Tunables::default() }) & !tunable_bits(&Tunables::default());
        let traced = code.header().is_some_and(|h| h.tunables & trace_bit != 0);
        let env = code.take_module();
        let parts = Parts { env, code: Code::Loaded(Arc::new(code)), wasm: WasmBytes::InCode, static_memory, traced, name, tier: None };
        Ok(Self { inner: Arc::new(ModuleInner::new(engine, parts)?) })
    }

    /// Whether the code of an artifact is metered, which an engine has to be made for ([`Config::meter`](crate::Config::meter)).
    /// `None` if the file is no artifact; why, loading it will say.
    pub fn is_metered_artifact(path: impl AsRef<Path>) -> Option<bool> {
        artifact::is_metered(path.as_ref())
    }

    /// The engine that the module was made with.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// The module's name: from its name section, or else its file's name.
    pub fn name(&self) -> Option<&str> {
        self.inner.name.as_deref()
    }

    /// The decoded module. Types in it name types by the module's own indices.
    pub fn env(&self) -> &EnvModule {
        &self.inner.env
    }

    /// What the module imports, in order.
    pub fn imports(&self) -> impl ExactSizeIterator<Item = ImportType<'_>> {
        let inner = &self.inner;
        inner.env.imports.iter().map(|i| ImportType { module: &i.module, name: &i.name, ty: inner.engine_entity(i.ty) })
    }

    /// What the module exports, in order.
    pub fn exports(&self) -> impl ExactSizeIterator<Item = ExportType<'_>> {
        let inner = &self.inner;
        inner.env.exports.iter().map(|e| ExportType { name: &e.name, ty: inner.engine_entity(inner.env.entity_type(e.index)) })
    }

    /// The type of the export with this name.
    pub fn get_export(&self, name: &str) -> Option<ExternType> {
        let index = self.inner.export(name)?;
        Some(self.inner.engine_entity(self.inner.env.entity_type(index)))
    }

    /// Compares every section of an artifact with its digest, also those that loading leaves out because only the program
    /// reads them: the original module and the images of memories.
    ///
    /// # Errors
    /// If one differs.
    pub fn verify(&self) -> Result<()> {
        if let Code::Loaded(code) = &self.inner.code {
            code.verify_all().context("the artifact")?;
        }
        Ok(())
    }

    /// The BLAKE3 digest that an artifact has of the module it was made from. `None` for one that was stripped of it, and for
    /// modules that are no artifacts.
    pub fn wasm_digest(&self) -> Option<[u8; 32]> {
        let Code::Loaded(code) = &self.inner.code else { return None };
        let section = &code.header()?.sections[SectionKind::Wasm as usize];
        (section.size > 0).then_some(section.digest)
    }

    /// How many functions the module defines, and how many of them have native code; by now, with [`Tier::Auto`].
    pub fn compiled_functions(&self) -> (u32, u32) {
        let defined = self.inner.env.num_defined_functions();
        let compiled = match &self.inner.code {
            Code::None => self.inner.tier.as_ref().map_or(0, Tiering::compiled),
            Code::Loaded(code) => (0..defined).filter(|i| code.is_compiled(DefinedFuncIndex::from_u32(*i))).count() as u32,
        };
        (defined, compiled)
    }

    /// Whether the module's native code reports its calls to [`Config::call_tracer`](crate::Config::call_tracer). Interpreted
    /// functions always do.
    pub fn reports_calls(&self) -> bool {
        self.inner.traced
    }

    /// How many functions that a pattern means (all without one) have calls that [`Config::call_tracer`](crate::Config::call_tracer)
    /// can report, and of how many it cannot report the calls from other compiled functions. Of the latter, those that
    /// are exported count as both, since calls from the host and from interpreted code are always reported.
    pub fn traceable(&self, pattern: Option<&CallPattern>) -> (usize, usize) {
        trace::traceable(&self.inner, pattern)
    }

    /// Whether two handles are to the same module.
    pub fn same(a: &Self, b: &Self) -> bool {
        Arc::ptr_eq(&a.inner, &b.inner)
    }
}

/// The code, if what its instructions cost is what the engine counts.
fn agreed(engine: &Engine, code: LoadedCode, path: &Path) -> Result<LoadedCode> {
    if engine.config().tunables.meter {
        let agreed = engine.costs().agree(code.meta().costs.as_ref());
        agreed.map_err(|e| ArtifactError { path: path.to_owned(), kind: e.into() })?;
    }
    Ok(code)
}

fn host_checks(engine: &Engine) -> HostChecks {
    let config = engine.config();
    let checks = HostChecks { features: feature_bits(&config.features), trust_text: !config.verify_text, ..HostChecks::native() };
    checks.for_meter(config.tunables.meter)
}

fn file_name(path: &Path) -> Option<String> {
    path.file_stem().map(|s| s.to_string_lossy().into_owned())
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module").field("name", &self.inner.name).finish_non_exhaustive()
    }
}
