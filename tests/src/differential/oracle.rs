//! wasmi as a machine: an interpreter that shares nothing with wasmc but the decoder, for modules whose proposals it has.

use super::generate::{Case, SECOND};
use super::scenario::{self, Event, Log, Outcome, Reply, Rng, Value, View};
use super::shape::{Heap, Import, Ty};
use wasmi::{
    AsContext, AsContextMut, Caller, Config, Engine, Error, Extern, ExternRef, ExternType, Func, Global, Instance, Memory, Module,
    Mutability, Nullable, Ref, Store, StoreContextMut, Table, TrapCode, V128, Val, ValType,
};

/// The engine.
pub fn engine() -> Engine {
    let mut config = Config::default();
    config.set_max_recursion_depth(20_000).set_max_stack_height(64 << 20);
    config.wasm_custom_page_sizes(true).wasm_memory64(true).wasm_wide_arithmetic(true).wasm_simd(true).wasm_multi_memory(true);
    Engine::new(&config)
}

/// Runs a case; `None` if wasmi does not have what the module needs.
pub fn run(engine: &Engine, case: &Case) -> Option<Vec<Event>> {
    // What relaxed instructions compute is every implementation's own choice.
    if case.shape.groups.contains("relaxed_simd") {
        return None;
    }
    let host = Host { log: Log::new(case.seed, case.shape.clone()), instances: Vec::new(), last_error: None };
    let mut store = Store::new(engine, host);
    let modules: Vec<Module> =
        std::iter::once(&case.first).chain(&case.second).map(|binary| Module::new(engine, &*binary.oracle).ok()).collect::<Option<_>>()?;
    let mut instantiated = Vec::new();
    for module in &modules {
        let imports = match store.data().instances.first().copied() {
            Some(first) => module.imports().map(|i| first.get_export(&store, i.name())).collect::<Option<Vec<_>>>()?,
            None => imports(&mut store, module)?,
        };
        match Instance::new(&mut store, module, &imports) {
            Ok(instance) => {
                store.data_mut().instances.push(instance);
                instantiated.push(Outcome::Returned(Vec::new()));
            }
            Err(error) => {
                instantiated.push(failure(&error));
                break;
            }
        }
    }
    scenario::run(&mut Machine(store.as_context_mut()), instantiated);
    Some(std::mem::take(&mut store.data_mut().log.events))
}

struct Host {
    log: Log,
    instances: Vec<Instance>,
    last_error: Option<Error>,
}

fn imports(store: &mut Store<Host>, module: &Module) -> Option<Vec<Extern>> {
    let mut imports = Vec::new();
    // wasmi lists imports by kind.
    let shape = store.data().log.shape.clone();
    let numbers = |kind: fn(&Import) -> bool| {
        let numbers: Vec<usize> = (0..shape.imports.len()).filter(|i| kind(&shape.imports[*i])).collect();
        numbers.into_iter()
    };
    let mut functions = numbers(|i| matches!(i, Import::Func(_)));
    let mut tables = numbers(|i| matches!(i, Import::Table));
    let mut memories = numbers(|i| matches!(i, Import::Memory));
    let mut globals = numbers(|i| matches!(i, Import::Global));
    for import in module.imports() {
        let number = match import.ty() {
            ExternType::Func(_) => functions.next(),
            ExternType::Table(_) => tables.next(),
            ExternType::Memory(_) => memories.next(),
            ExternType::Global(_) => globals.next(),
        }?;
        let mut rng = Rng::new(store.data().log.seed, 500 + number as u64);
        imports.push(match import.ty() {
            ExternType::Func(ty) => {
                let results: Vec<ValType> = ty.results().to_vec();
                let f = move |mut caller: Caller<'_, Host>, args: &[Val], out: &mut [Val]| {
                    let mut machine = Machine(caller.as_context_mut());
                    let args = args.iter().map(|v| machine.observe(v)).collect();
                    match scenario::host(&mut machine, number, args) {
                        Reply::Return(values) => {
                            for ((v, ty), out) in values.iter().zip(&results).zip(out) {
                                *out = machine.value(v, *ty);
                            }
                            Ok(())
                        }
                        Reply::Trap => Err(TrapCode::IntegerOverflow.into()),
                        Reply::Throw(..) => Err(Error::new("wasmi has no exceptions")),
                        Reply::Pass => {
                            Err(machine.0.data_mut().last_error.take().unwrap_or_else(|| Error::new("a call that did not fail")))
                        }
                    }
                };
                Extern::Func(Func::new(&mut *store, ty.clone(), f))
            }
            ExternType::Table(ty) => Extern::Table(Table::new(&mut *store, *ty, Ref::default_for_ty(ty.element())).ok()?),
            ExternType::Memory(ty) => Extern::Memory(Memory::new(&mut *store, *ty).ok()?),
            ExternType::Global(ty) => {
                let value = scenario::value(&store.data().log, &mut rng, neutral(ty.content())).unwrap_or(Value::Null);
                let value = Machine(store.as_context_mut()).value(&value, ty.content());
                let mutability = if ty.mutability().is_mut() { Mutability::Var } else { Mutability::Const };
                Extern::Global(Global::new(&mut *store, value, mutability))
            }
        });
    }
    Some(imports)
}

fn neutral(ty: ValType) -> Ty {
    match ty {
        ValType::I32 => Ty::I32,
        ValType::I64 => Ty::I64,
        ValType::F32 => Ty::F32,
        ValType::F64 => Ty::F64,
        ValType::V128 => Ty::V128,
        ValType::FuncRef => Ty::Ref { heap: Heap::Func, nullable: true },
        ValType::ExternRef => Ty::Ref { heap: Heap::Extern, nullable: true },
    }
}

/// How a call ended, with wasmc's names of traps.
fn failure(error: &Error) -> Outcome {
    match error.as_trap_code() {
        Some(TrapCode::StackOverflow) => Outcome::Exhausted,
        Some(code) => {
            let name = match code {
                TrapCode::UnreachableCodeReached => "Unreachable",
                TrapCode::MemoryOutOfBounds => "MemoryOutOfBounds",
                TrapCode::TableOutOfBounds => "TableOutOfBounds",
                TrapCode::IndirectCallToNull => "IndirectCallToNull",
                TrapCode::IntegerDivisionByZero => "IntegerDivisionByZero",
                TrapCode::IntegerOverflow => "IntegerOverflow",
                TrapCode::BadConversionToInteger => "BadConversionToInteger",
                TrapCode::BadSignature => "BadSignature",
                other => return Outcome::Failed(format!("{other:?}")),
            };
            Outcome::Trapped(name.to_owned(), None)
        }
        // An element segment that does not fit is no trap to wasmi.
        None if error.to_string().starts_with("out of bounds table access") => Outcome::Trapped("TableOutOfBounds".to_owned(), None),
        None => Outcome::Failed(error.to_string()),
    }
}

struct Machine<'a>(StoreContextMut<'a, Host>);

impl Machine<'_> {
    fn export(&mut self, name: &str) -> Extern {
        let (number, plain) = name.strip_prefix(SECOND).map_or((0, name), |plain| (1, plain));
        let instance = self.0.data().instances[number];
        instance.get_export(self.0.as_context(), plain).unwrap_or_else(|| panic!("no export {name}"))
    }

    fn value(&mut self, value: &Value, ty: ValType) -> Val {
        match value {
            Value::I32(v) => Val::I32(*v),
            Value::I64(v) => Val::I64(*v),
            Value::F32(v) => Val::F32(wasmi::F32::from_bits(*v)),
            Value::F64(v) => Val::F64(wasmi::F64::from_bits(*v)),
            Value::V128(v) => Val::V128(V128::from(*v)),
            Value::Func(name) => match self.export(name) {
                Extern::Func(f) => Val::FuncRef(Nullable::Val(f)),
                _ => Val::default_for_ty(ty),
            },
            Value::Extern(number) => Val::ExternRef(Nullable::Val(ExternRef::new(&mut self.0, *number))),
            Value::Null | Value::Exn(_) => Val::default_for_ty(ty),
        }
    }

    fn observe(&mut self, value: &Val) -> Value {
        let exact = self.0.data().log.shape.exact_nans;
        match value {
            Val::I32(v) => Value::I32(*v),
            Val::I64(v) => Value::I64(*v),
            Val::F32(v) => Value::F32(super::hide_f32(v.to_bits(), exact)),
            Val::F64(v) => Value::F64(super::hide_f64(v.to_bits(), exact)),
            Val::V128(v) => Value::V128(v.as_u128()),
            Val::FuncRef(Nullable::Val(f)) => {
                let ty = f.ty(&self.0);
                Value::Func(super::signature(ty.params().iter().map(|t| neutral(*t)), ty.results().iter().map(|t| neutral(*t))))
            }
            Val::ExternRef(Nullable::Val(r)) => Value::Extern(r.data(&self.0).downcast_ref::<u32>().copied().unwrap_or(u32::MAX)),
            Val::FuncRef(Nullable::Null) | Val::ExternRef(Nullable::Null) => Value::Null,
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
        let args: Vec<Val> = args.iter().zip(ty.params()).map(|(v, t)| self.value(v, *t)).collect();
        let mut results: Vec<Val> = ty.results().iter().map(|t| Val::default_for_ty(*t)).collect();
        match f.call(&mut self.0, &args, &mut results) {
            Ok(()) => Outcome::Returned(results.iter().map(|v| self.observe(v)).collect()),
            Err(error) => {
                let outcome = failure(&error);
                self.0.data_mut().last_error = Some(error);
                outcome
            }
        }
    }

    fn set_global(&mut self, export: &str, value: &Value) {
        let Extern::Global(g) = self.export(export) else { panic!("{export} is no global") };
        let ty = g.ty(&self.0).content();
        let value = self.value(value, ty);
        g.set(&mut self.0, value).unwrap_or_else(|e| panic!("{export}: {e}"));
    }

    fn global(&mut self, export: &str) -> Value {
        let Extern::Global(g) = self.export(export) else { panic!("{export} is no global") };
        let value = g.get(&self.0);
        self.observe(&value)
    }

    fn write_memory(&mut self, export: &str, at: usize, bytes: &[u8]) -> bool {
        let Extern::Memory(m) = self.export(export) else { panic!("{export} is no memory") };
        m.write(&mut self.0, at, bytes).is_ok()
    }

    fn grow_memory(&mut self, export: &str, delta: u64) -> Option<u64> {
        let Extern::Memory(m) = self.export(export) else { panic!("{export} is no memory") };
        m.grow(&mut self.0, delta).ok()
    }

    fn memory(&mut self, export: &str, bytes: &mut dyn FnMut(&[u8])) -> u64 {
        let Extern::Memory(m) = self.export(export) else { panic!("{export} is no memory") };
        bytes(m.data(&self.0));
        m.size(&self.0)
    }

    fn table_size(&mut self, export: &str) -> u64 {
        let Extern::Table(t) = self.export(export) else { panic!("{export} is no table") };
        t.size(&self.0)
    }

    fn grow_table(&mut self, export: &str, delta: u64) -> Option<u64> {
        let Extern::Table(t) = self.export(export) else { panic!("{export} is no table") };
        let null = Ref::default_for_ty(t.ty(&self.0).element());
        t.grow(&mut self.0, delta, null).ok()
    }

    fn element(&mut self, export: &str, index: u64) -> Value {
        let Extern::Table(t) = self.export(export) else { panic!("{export} is no table") };
        match t.get(&self.0, index) {
            Some(Ref::Func(f)) => self.observe(&Val::FuncRef(f)),
            Some(Ref::Extern(r)) => self.observe(&Val::ExternRef(r)),
            None => Value::Null,
        }
    }
}
