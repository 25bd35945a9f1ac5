//! How functions, values and reasons are written in a trace.

use super::{CallPattern, Function, StoreTrace};
use crate::code::Code;
use crate::error::{Exit, HostPanic, ThrownException};
use crate::module::ModuleInner;
use crate::store::StoreOpaque;
use crate::trap::Trap;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use wasmc_environ::module::EntityIndex;
use wasmc_environ::names::function_names;
use wasmc_environ::types::*;
use wasmc_environ::vmlayout::*;
use wasmc_environ::{FuncIndex, TrapCode};

/// What is known of a function.
pub(super) struct FunctionInfo {
    /// What it is called.
    pub name: String,
    /// Whether its calls are reported.
    pub shown: bool,
    ty: FuncType,
}

impl FunctionInfo {
    /// A host function that no instance imported.
    pub(super) fn host(ty: &FuncType, pattern: Option<&CallPattern>) -> Arc<Self> {
        const NAME: &str = "host function";
        Arc::new(Self { name: NAME.into(), shown: pattern.is_none_or(|p| p.matches(NAME)), ty: ty.clone() })
    }
}

/// The functions of a module, as far as they were called.
pub(super) struct Functions {
    module: Arc<ModuleInner>,
    /// For each imported function its import.
    imports: Vec<usize>,
    names: Option<HashMap<FuncIndex, String>>,
    /// The exports of each function.
    exports: Option<HashMap<FuncIndex, Vec<usize>>>,
    known: HashMap<FuncIndex, Arc<FunctionInfo>>,
}

impl Functions {
    pub(super) fn new(module: Arc<ModuleInner>) -> Self {
        let imports = module.env.imports.iter().enumerate();
        let imports = imports.filter(|(_, i)| matches!(i.ty, EntityType::Func(_))).map(|(at, _)| at).collect();
        Self { module, imports, names: None, exports: None, known: HashMap::new() }
    }

    pub(super) fn get(&mut self, func: FuncIndex, pattern: Option<&CallPattern>) -> Arc<FunctionInfo> {
        if let Some(known) = self.known.get(&func) {
            return known.clone();
        }
        let shown = self.is_meant(func, pattern);
        let name = match self.import_names(func) {
            Some((module, name)) => format!("{module}.{name}"),
            None => self.name(func).unwrap_or_else(|| format!("func[{}]", func.as_u32())),
        };
        let info = Arc::new(FunctionInfo { name: printable(&name), shown, ty: self.module.env.type_of(func).clone() });
        self.known.insert(func, info.clone());
        info
    }

    /// The names under which a function is imported.
    fn import_names(&self, func: FuncIndex) -> Option<(&str, &str)> {
        let import = &self.module.env.imports[*self.imports.get(func.index())?];
        Some((&import.module, &import.name))
    }

    /// The name of a function that is not imported.
    fn name(&mut self, func: FuncIndex) -> Option<String> {
        let module = &*self.module;
        if let (Code::Loaded(code), Some(defined)) = (&module.code, module.env.defined_func(func))
            && let Some(name) = code.function_name(defined)
        {
            return Some(name.to_owned());
        }
        let names = self.names.get_or_insert_with(|| function_names(&module.env, module.wasm().unwrap_or_default()));
        names.get(&func).cloned()
    }

    /// Whether a pattern means a function.
    pub(super) fn is_meant(&mut self, func: FuncIndex, pattern: Option<&CallPattern>) -> bool {
        let Some(pattern) = pattern else { return true };
        if pattern.matches(&func.as_u32().to_string()) {
            return true;
        }
        if let Some((module, name)) = self.import_names(func) {
            return pattern.matches(name) || pattern.matches(&format!("{module}.{name}"));
        }
        let name = self.name(func);
        let env = &self.module.env;
        let exports = self.exports.get_or_insert_with(|| {
            let mut exports: HashMap<FuncIndex, Vec<usize>> = HashMap::new();
            for (at, export) in env.exports.iter().enumerate() {
                if let EntityIndex::Func(func) = export.index {
                    exports.entry(func).or_default().push(at);
                }
            }
            exports
        });
        let exported = exports.get(&func).into_iter().flatten().map(|at| &*env.exports[*at].name);
        name.as_deref()
            .into_iter()
            .chain(exported)
            .any(|name| pattern.matches(name) || env.name.as_deref().is_some_and(|module| pattern.matches(&format!("{module}.{name}"))))
    }
}

/// Text of the program on one line of bounded length: what is no letter to a terminal is escaped.
fn printable(text: &str) -> String {
    const MOST: usize = 200;
    let mut out = String::new();
    for (i, c) in text.chars().enumerate() {
        if i == MOST {
            out.push_str("...");
            break;
        }
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Appends the arguments, in parentheses.
///
/// # Safety
/// The array has values of the function's parameters.
pub(super) unsafe fn arguments(trace: &mut StoreTrace, store: *mut StoreOpaque, function: &FunctionInfo, args: *const ValRaw) {
    trace.line.push('(');
    // SAFETY: by the caller.
    unsafe { values(trace, store, &function.ty.params, args) };
    trace.line.push(')');
}

/// Appends the results, if there are any.
///
/// # Safety
/// The array has values of the function's results.
pub(super) unsafe fn results(trace: &mut StoreTrace, store: *mut StoreOpaque, function: &FunctionInfo, results: *const ValRaw) {
    if !function.ty.results.is_empty() {
        trace.line.push_str(" = ");
        // SAFETY: by the caller.
        unsafe { values(trace, store, &function.ty.results, results) };
    }
}

unsafe fn values(trace: &mut StoreTrace, store: *mut StoreOpaque, types: &[ValType], array: *const ValRaw) {
    for (i, ty) in types.iter().enumerate() {
        if i > 0 {
            trace.line.push_str(", ");
        }
        // SAFETY: by the caller.
        unsafe { value(trace, store, *ty, *array.add(i)) };
    }
}

/// Appends a value: integers signed, floats exactly, vectors in hexadecimal, functions by name.
unsafe fn value(trace: &mut StoreTrace, store: *mut StoreOpaque, ty: ValType, v: ValRaw) {
    let line = &mut trace.line;
    // Writing to a string does not fail.
    let _ = match ty {
        ValType::I32 => write!(line, "{}", v.get_i32()),
        ValType::I64 => write!(line, "{}", v.get_i64()),
        ValType::F32 if f32::from_bits(v.get_u32()).is_nan() => write!(line, "nan:{:#x}", v.get_u32()),
        ValType::F32 => write!(line, "{:?}", f32::from_bits(v.get_u32())),
        ValType::F64 if f64::from_bits(v.get_u64()).is_nan() => write!(line, "nan:{:#x}", v.get_u64()),
        ValType::F64 => write!(line, "{:?}", f64::from_bits(v.get_u64())),
        ValType::V128 => write!(line, "{:#034x}", v.get_v128()),
        ValType::Ref(_) if ty.abi() == AbiType::FuncRef => {
            let reference = v.get_u64() as *mut VMFuncRef;
            if reference.is_null() {
                write!(line, "null")
            } else {
                // SAFETY: by the caller, a live reference of this store.
                let name = unsafe {
                    let function = match (*reference).kind == FuncKind::Host as u32 {
                        true => Function::Host((*reference).ctx.cast()),
                        false => Function::Wasm((*reference).vmctx.cast(), FuncIndex::from_u32((*reference).func_index)),
                    };
                    trace.info(store, function).name.clone()
                };
                write!(trace.line, "func {name}")
            }
        }
        // Their numbers in the heap differ from run to run.
        ValType::Ref(_) if v.get_u32() == 0 => write!(line, "null"),
        ValType::Ref(RefType { heap: HeapType::Exn | HeapType::NoExn, .. }) => write!(line, "exnref"),
        ValType::Ref(_) => write!(line, "externref"),
    };
}

/// Why a call ended: the first line of the error.
pub(super) fn reason(error: &crate::Error) -> String {
    if let Some(Exit(code)) = error.downcast_ref() {
        return format!("exit({code})");
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return format!("trap: {}", trap.code());
    }
    if let Some(code) = error.downcast_ref::<TrapCode>() {
        return format!("trap: {code}");
    }
    if error.is::<ThrownException>() {
        return super::EXCEPTION.into();
    }
    let text = error.to_string();
    let first = printable(text.lines().next().unwrap_or_default());
    if error.is::<HostPanic>() { first } else { format!("error: {first}") }
}
