//! wasmc as a machine: one engine for each tier, and two more ways to the same semantics, checked memory accesses and an
//! artifact that was written and loaded.

use super::generate::{Case, SECOND};
use super::scenario::{self, Event, Exn, Log, Outcome, Reply, Value, View};
use super::shape::Ty;
use std::sync::Arc;
use wasmc_compiler::{CompileOptions, Inlining, Interpret, Jit, SelfChecks};
use wasmc_runtime::*;

/// How a module is run.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// By the interpreter.
    Interpreted,
    /// By native code.
    Compiled,
    /// Functions with odd indices are left uncompiled.
    Mixed,
    /// Interpreted, and compiled at the second call or turn of a loop.
    Auto,
    /// The same at the first call, with every memory access checked.
    AutoChecked,
    /// Compiled, with every memory access checked.
    Checked,
    /// Compiled to a file, loaded from it, functions with odd indices left uncompiled; a second module interpreted.
    Artifact,
}

/// The engines.
pub struct Engines {
    interpreted: Engine,
    compiled: Engine,
    mixed: Engine,
    checked: Engine,
    auto: Engine,
    auto_checked: Engine,
    /// Engines that meter, without costs and with: interpreted, compiled, mixed.
    metered: [[Engine; 3]; 2],
    costs: Arc<CostTable>,
}

/// Fuel and costs of a metered run.
#[derive(Copy, Clone, Debug)]
pub struct Metering {
    pub costs: bool,
    pub fuel: Option<u64>,
}

/// Every proposal, those too that are off by default.
fn features() -> Features {
    Features::all()
}

impl Engines {
    /// # Panics
    /// If an engine cannot be made.
    pub fn new() -> Self {
        let base = || Config::new().features(features()).stack_size(4 << 20);
        // The modules' functions are small: the model alone would inline some, and the whole is to be tested.
        let jit = |inlining| base().compiler(Arc::new(Jit { inlining, checks: SelfChecks::All, ..Jit::default() }));
        let engine = |config: Config| Engine::new(config).expect("an engine");
        let costs = Arc::new(costs());
        let metered = |costs: Option<&Arc<CostTable>>| {
            let meter = |config: Config| {
                let config = config.meter(true);
                engine(match costs {
                    Some(costs) => config.costs(costs.clone()),
                    None => config,
                })
            };
            [
                meter(base().tier(Tier::Interpreted)),
                meter(jit(Inlining::Everywhere)),
                meter(jit(Inlining::Everywhere).interpret(vec![Interpret::Odd])),
            ]
        };
        Self {
            metered: [metered(None), metered(Some(&costs))],
            costs,
            interpreted: engine(base().tier(Tier::Interpreted)),
            compiled: engine(jit(Inlining::Normal)),
            mixed: engine(jit(Inlining::Everywhere).interpret(vec![Interpret::Odd])),
            checked: engine(jit(Inlining::Everywhere).static_memory(false)),
            auto: engine(jit(Inlining::Everywhere).tier(Tier::Auto).compile_after(1, true)),
            auto_checked: engine(jit(Inlining::Normal).static_memory(false).tier(Tier::Auto).compile_after(0, true)),
        }
    }

    /// Runs a case in one way.
    pub fn run(&self, case: &Case, way: Way) -> Vec<Event> {
        let engine = match way {
            Way::Interpreted | Way::Artifact => &self.interpreted,
            Way::Compiled => &self.compiled,
            Way::Mixed => &self.mixed,
            Way::Checked => &self.checked,
            Way::Auto => &self.auto,
            Way::AutoChecked => &self.auto_checked,
        };
        run(engine, case, (way == Way::Artifact).then_some(CompileOptions::default()), None).0
    }

    /// Runs a case in one way with metering; also gives what was counted.
    pub fn run_metered(&self, case: &Case, way: Way, metering: Metering) -> (Vec<Event>, Counts) {
        let [interpreted, compiled, mixed] = &self.metered[usize::from(metering.costs)];
        let engine = match way {
            Way::Interpreted | Way::Artifact => interpreted,
            Way::Compiled | Way::Checked | Way::Auto | Way::AutoChecked => compiled,
            Way::Mixed => mixed,
        };
        let tunables = environ::Tunables { meter: true, ..environ::Tunables::default() };
        let options = CompileOptions { tunables, costs: metering.costs.then(|| self.costs.clone()), ..CompileOptions::default() };
        run(engine, case, (way == Way::Artifact).then_some(options), metering.fuel)
    }
}

/// What a metered run counted.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    pub instructions: Option<u64>,
    pub cost: Option<u64>,
    pub calls: Option<u64>,
    pub host_calls: Option<u64>,
}

/// Costs that differ between instructions that occur together.
fn costs() -> CostTable {
    let mut costs = CostTable::new(3).expect("a small cost");
    for (name, cost) in [("nop", 0), ("local.get", 1), ("loop", 7), ("call", 11), ("i32.const", 2), ("br_if", 5), ("unreachable", 13)] {
        costs.set_instruction(name, cost).expect("an instruction");
    }
    costs
}

/// Runs a case; its first module as an artifact if there are options to compile it with.
fn run(engine: &Engine, case: &Case, options: Option<CompileOptions<'_>>, fuel: Option<u64>) -> (Vec<Event>, Counts) {
    let host = Host { log: Log::new(case.seed, case.shape.clone()), instances: Vec::new(), tags: Vec::new(), last_error: None };
    let mut store = Store::new(engine, host);
    if let Some(fuel) = fuel {
        store.set_fuel(fuel).expect("an engine that meters");
    }
    let mut instantiated = Vec::new();
    for binary in std::iter::once(&case.first).chain(&case.second) {
        let first = store.data().instances.is_empty();
        let module = match &options {
            Some(options) if first => artifact(engine, &binary.wasm, options),
            _ => Module::new(engine, &*binary.wasm),
        };
        match module.and_then(|module| instantiate(&mut store, &module)) {
            Ok(instance) => {
                store.data_mut().instances.push(instance);
                name_tags(&mut store, instance, if first { "" } else { SECOND });
                instantiated.push(Outcome::Returned(Vec::new()));
            }
            Err(error) => {
                instantiated.push(failure(store.as_context_mut(), &error));
                break;
            }
        }
    }
    scenario::run(&mut Machine(store.as_context_mut()), instantiated);
    let Stats { instructions, cost, calls, host_calls, .. } = store.stats();
    (std::mem::take(&mut store.data_mut().log.events), Counts { instructions, cost, calls, host_calls })
}

fn artifact(engine: &Engine, wasm: &[u8], options: &CompileOptions<'_>) -> Result<Module> {
    let options = CompileOptions {
        inlining: Inlining::Everywhere,
        interpret: vec![Interpret::Odd],
        features: features(),
        checks: SelfChecks::All,
        ..options.clone()
    };
    let compiled = wasmc_compiler::compile_to_artifact(wasm, &options)?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("module.so");
    compiled.write_artifact(&path)?;
    // SAFETY: the artifact was just made here. It stays mapped when its name goes away.
    unsafe { Module::from_artifact(engine, &path) }
}

/// What host functions find in the store.
struct Host {
    log: Log,
    /// The instances, the first and the one that imports from it.
    instances: Vec<Instance>,
    /// Tags by name: what the host made for imports, then exports.
    tags: Vec<(String, Tag)>,
    /// How the last call from a host function failed.
    last_error: Option<Error>,
}

fn instantiate(store: &mut Store<Host>, module: &Module) -> Result<Instance> {
    let mut imports = Vec::new();
    for (number, import) in module.imports().enumerate() {
        if let Some(first) = store.data().instances.first().copied() {
            let export = first.get_export(&mut *store, import.name);
            imports.push(export.ok_or_else(|| anyhow("an import that the first module does not export"))?);
            continue;
        }
        let mut rng = scenario::Rng::new(store.data().log.seed, 500 + number as u64);
        imports.push(match import.ty {
            ExternType::Func(ty) => {
                let results: Box<[ValType]> = ty.results.clone();
                Extern::Func(Func::new(&mut *store, ty, move |mut caller, args, out| {
                    let mut machine = Machine(caller.as_context_mut());
                    let args = args.iter().map(|v| machine.observe(v)).collect();
                    match scenario::host(&mut machine, number, args) {
                        Reply::Return(values) => {
                            for ((v, ty), out) in values.iter().zip(&results).zip(out) {
                                *out = machine.value(v, ty);
                            }
                            Ok(())
                        }
                        Reply::Trap => Err(Trap::from(TrapCode::IntegerOverflow).into()),
                        Reply::Throw(which, payload) => Err(machine.exception(which, &payload)),
                        Reply::Pass => Err(machine.0.data_mut().last_error.take().unwrap_or_else(|| anyhow("a call that did not fail"))),
                    }
                })?)
            }
            ExternType::Table(ty) => {
                let null = Val::default_for(&ValType::Ref(ty.element)).ok_or_else(|| anyhow("a table without null"))?;
                Extern::Table(Table::new(&mut *store, ty, &null)?)
            }
            ExternType::Memory(ty) if ty.shared => Extern::SharedMemory(SharedMemory::new(store.engine(), ty)?),
            ExternType::Memory(ty) => Extern::Memory(Memory::new(&mut *store, ty)?),
            ExternType::Global(ty) => {
                let value = scenario::value(&store.data().log, &mut rng, neutral(ty.content)).unwrap_or(Value::Null);
                let value = Machine(store.as_context_mut()).value(&value, &ty.content);
                Extern::Global(Global::new(&mut *store, ty, &value)?)
            }
            ExternType::Tag(ty) => {
                let tag = Tag::new(&mut *store, ty)?;
                store.data_mut().tags.push((format!("import {number}"), tag));
                Extern::Tag(tag)
            }
            other => return Err(anyhow(&format!("an import of kind {other:?}"))),
        });
    }
    Instance::new(store, module, &imports)
}

fn anyhow(message: &str) -> Error {
    Error::msg(message.to_owned())
}

fn neutral(ty: ValType) -> Ty {
    use super::shape::Heap;
    match ty {
        ValType::I32 => Ty::I32,
        ValType::I64 => Ty::I64,
        ValType::F32 => Ty::F32,
        ValType::F64 => Ty::F64,
        ValType::V128 => Ty::V128,
        ValType::Ref(r) => Ty::Ref {
            heap: match r.heap {
                HeapType::Func => Heap::Func,
                HeapType::Extern => Heap::Extern,
                _ => Heap::Other,
            },
            nullable: r.nullable,
        },
    }
}

fn name_tags(store: &mut Store<Host>, instance: Instance, prefix: &str) {
    let tags: Vec<_> = instance.exports(&mut *store).filter_map(|e| Some((e.name().to_owned(), e.into_extern().into_tag()?))).collect();
    store.data_mut().tags.extend(tags.into_iter().map(|(name, tag)| (format!("{prefix}{name}"), tag)));
}

/// How a call ended, from its error.
fn failure(store: StoreContextMut<'_, Host>, error: &Error) -> Outcome {
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return match trap.code() {
            TrapCode::StackOverflow => Outcome::Exhausted,
            code => {
                let frames = trap.backtrace().frames().iter().map(|f| (f.func_index(), f.module_offset())).collect();
                Outcome::Trapped(format!("{code:?}"), Some(frames))
            }
        };
    }
    let mut machine = Machine(store);
    match error.downcast_ref::<ThrownException>() {
        Some(thrown) => Outcome::Threw(machine.exn(thrown.exn())),
        None => Outcome::Failed(format!("{error:#}")),
    }
}

/// A store, from outside or from within a host function.
struct Machine<'a>(StoreContextMut<'a, Host>);

impl Machine<'_> {
    fn export(&mut self, name: &str) -> Extern {
        let (number, plain) = name.strip_prefix(SECOND).map_or((0, name), |plain| (1, plain));
        let instance = self.0.data().instances[number];
        instance.get_export(&mut self.0, plain).unwrap_or_else(|| panic!("no export {name}"))
    }

    /// A neutral value as one of this store. What cannot be made of that type becomes null.
    fn value(&mut self, value: &Value, ty: &ValType) -> Val {
        let null = Val::default_for(ty).unwrap_or(Val::I32(0));
        match value {
            Value::I32(v) => Val::I32(*v),
            Value::I64(v) => Val::I64(*v),
            Value::F32(v) => Val::F32(*v),
            Value::F64(v) => Val::F64(*v),
            Value::V128(v) => Val::V128((*v).into()),
            Value::Func(name) => match self.export(name) {
                Extern::Func(f) => Val::FuncRef(Some(f)),
                _ => null,
            },
            Value::Extern(number) => Val::ExternRef(ExternRef::new(&mut self.0, *number).ok()),
            Value::Null | Value::Exn(_) => null,
        }
    }

    fn observe(&mut self, value: &Val) -> Value {
        let exact = self.0.data().log.shape.exact_nans;
        match value {
            Val::I32(v) => Value::I32(*v),
            Val::I64(v) => Value::I64(*v),
            Val::F32(v) => Value::F32(super::hide_f32(*v, exact)),
            Val::F64(v) => Value::F64(super::hide_f64(*v, exact)),
            Val::V128(v) => Value::V128(v.as_u128()),
            Val::FuncRef(Some(f)) => {
                let ty = f.ty(&self.0);
                Value::Func(super::signature(ty.params.iter().map(|t| neutral(*t)), ty.results.iter().map(|t| neutral(*t))))
            }
            Val::ExternRef(Some(r)) => {
                let number = r.data(&self.0).ok().and_then(|d| d.downcast_ref::<u32>().copied());
                Value::Extern(number.unwrap_or(u32::MAX))
            }
            Val::ExnRef(Some(e)) => Value::Exn(Box::new(self.exn(e))),
            _ => Value::Null,
        }
    }

    fn exn(&mut self, exn: &ExnRef) -> Exn {
        let tag = exn.tag(&self.0).ok();
        let named = self.0.data().tags.iter().find(|(_, t)| Some(*t) == tag);
        let tag = named.map_or_else(|| "unknown".to_owned(), |(name, _)| name.clone());
        let payload = exn.payload(&mut self.0).unwrap_or_default();
        Exn { tag, payload: payload.iter().map(|v| self.observe(v)).collect() }
    }

    fn exception(&mut self, which: usize, payload: &[Value]) -> Error {
        let (_, tag) = self.0.data().tags[which];
        let types = tag.ty(&self.0).params;
        let payload: Vec<Val> = payload.iter().zip(&types).map(|(v, t)| self.value(v, t)).collect();
        match ExnRef::new(&mut self.0, &tag, &payload) {
            Ok(exn) => ThrownException::new(exn).into(),
            Err(error) => error,
        }
    }
}

impl View for Machine<'_> {
    fn log(&mut self) -> &mut Log {
        &mut self.0.data_mut().log
    }

    fn call(&mut self, export: &str, args: &[Value]) -> Outcome {
        let Extern::Func(f) = self.export(export) else { panic!("{export} is no function") };
        let ty = f.ty(&self.0);
        let args: Vec<Val> = args.iter().zip(&ty.params).map(|(v, t)| self.value(v, t)).collect();
        let mut results = vec![Val::I32(0); ty.results.len()];
        match f.call(&mut self.0, &args, &mut results) {
            Ok(()) => Outcome::Returned(results.iter().map(|v| self.observe(v)).collect()),
            Err(error) => {
                let outcome = failure(self.0.as_context_mut(), &error);
                self.0.data_mut().last_error = Some(error);
                outcome
            }
        }
    }

    fn set_global(&mut self, export: &str, value: &Value) {
        let Extern::Global(g) = self.export(export) else { panic!("{export} is no global") };
        let ty = g.ty(&self.0).content;
        let value = self.value(value, &ty);
        g.set(&mut self.0, &value).unwrap_or_else(|e| panic!("{export}: {e:#}"));
    }

    fn global(&mut self, export: &str) -> Value {
        let Extern::Global(g) = self.export(export) else { panic!("{export} is no global") };
        let value = g.get(&mut self.0);
        self.observe(&value)
    }

    fn write_memory(&mut self, export: &str, at: usize, bytes: &[u8]) -> bool {
        match self.export(export) {
            Extern::Memory(m) => m.write(&mut self.0, at, bytes).is_ok(),
            Extern::SharedMemory(m) => m.write(at, bytes).is_ok(),
            _ => panic!("{export} is no memory"),
        }
    }

    fn grow_memory(&mut self, export: &str, delta: u64) -> Option<u64> {
        match self.export(export) {
            Extern::Memory(m) => m.grow(&mut self.0, delta).ok(),
            Extern::SharedMemory(m) => m.grow(delta).ok(),
            _ => panic!("{export} is no memory"),
        }
    }

    fn memory(&mut self, export: &str, bytes: &mut dyn FnMut(&[u8])) -> u64 {
        match self.export(export) {
            Extern::Memory(m) => {
                bytes(m.data(&self.0));
                m.size(&self.0)
            }
            Extern::SharedMemory(m) => {
                let mut copy = vec![0; m.data_size()];
                m.read(0, &mut copy).expect("all of the memory");
                bytes(&copy);
                m.size()
            }
            _ => panic!("{export} is no memory"),
        }
    }

    fn table_size(&mut self, export: &str) -> u64 {
        let Extern::Table(t) = self.export(export) else { panic!("{export} is no table") };
        t.size(&self.0)
    }

    fn grow_table(&mut self, export: &str, delta: u64) -> Option<u64> {
        let Extern::Table(t) = self.export(export) else { panic!("{export} is no table") };
        let null = Val::default_for(&ValType::Ref(t.ty(&self.0).element))?;
        t.grow(&mut self.0, delta, &null).ok()
    }

    fn element(&mut self, export: &str, index: u64) -> Value {
        let Extern::Table(t) = self.export(export) else { panic!("{export} is no table") };
        t.get(&mut self.0, index).map_or(Value::Null, |v| self.observe(&v))
    }
}
