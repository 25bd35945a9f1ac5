//! Inlining: the bodies of small functions in the place of calls, with Cranelift's inliner and a model of our own
//! (`model.rs`). The functions that may be inlined are translated first, level by level, each in parallel, and have those of the
//! levels below inlined themselves; then they are only read. Every other function is translated, gets its calls replaced, is
//! compiled and forgotten, as without inlining.
//!
//! What an inlined instruction came from is in its source location (`sites.rs`); Cranelift's inliner copies none, so they are
//! set afterwards.

use super::call_graph::CallGraph;
use super::model::{Choice, Inlining, choose};
use super::sites::Sites;
use crate::fuse::is_charge;
use cranelift_codegen::Context;
use cranelift_codegen::inline::{Inline, InlineCommand};
use cranelift_codegen::ir::{ExternalName, FuncRef, Function, GlobalValue, GlobalValueData, Inst, Opcode, SourceLoc};
use cranelift_codegen::traversals::Dfs;
use std::borrow::Cow;
use wasmc_environ::{DefinedFuncIndex, Module};

/// A function that may be inlined.
pub struct Body {
    func: Function,
    /// What was inlined into it.
    sites: Sites,
    /// The locations of the instructions that can be reached, in the order in which Cranelift's inliner copies them.
    locations: Box<[SourceLoc]>,
    /// How many instructions of it the code generator makes code of, about.
    pub cost: u32,
    /// Whether it makes no calls.
    pub leaf: bool,
    /// Whether it handles exceptions.
    handles: bool,
    /// Whether it makes tail calls: the frame from which one is made goes away, and the caller's must not.
    tail_calls: bool,
}

impl Body {
    /// The body for what was translated, and had calls inlined.
    pub fn new(func: &Function, sites: Sites) -> Self {
        let mut body =
            Self { func: func.clone(), sites, locations: Box::default(), cost: 0, leaf: true, handles: false, tail_calls: false };
        let mut locations = Vec::new();
        let mut dfs = Dfs::new();
        for block in dfs.pre_order_iter(func) {
            for inst in func.layout.block_insts(block) {
                locations.push(func.srcloc(inst));
                let opcode = func.dfg.insts[inst].opcode();
                body.leaf &= !opcode.is_call();
                body.tail_calls |= matches!(opcode, Opcode::ReturnCall | Opcode::ReturnCallIndirect);
                body.handles |= matches!(opcode, Opcode::TryCall | Opcode::TryCallIndirect);
                body.cost += match opcode {
                    // Metered code is inlined as other code is.
                    _ if is_charge(func.srcloc(inst)) => 0,
                    Opcode::Iconst | Opcode::F32const | Opcode::F64const | Opcode::Nop | Opcode::Jump | Opcode::Return => 0,
                    o if o.is_call() => 3 + func.dfg.inst_args(inst).len() as u32,
                    _ => 1,
                };
            }
        }
        body.locations = locations.into();
        body
    }

    /// The function with what was inlined into it, to be compiled.
    pub fn code(&self) -> (Function, Sites) {
        (self.func.clone(), self.sites.clone())
    }

    /// Whether the body can stand in the place of a call.
    pub fn fits(&self, caller: &Function, call: Inst, callee: FuncRef) -> bool {
        // Handlers of both would have to be merged, and our handlers catch everything.
        let merges = self.handles && caller.dfg.insts[call].opcode() == Opcode::TryCall;
        !merges && !self.tail_calls && caller.dfg.signatures[caller.dfg.ext_funcs[callee].signature] == self.func.signature
    }
}

/// The functions that may be inlined.
pub struct Library {
    inlining: Inlining,
    bodies: Vec<Option<Body>>,
}

impl Library {
    /// An empty library for a module.
    pub fn new(inlining: Inlining, functions: usize) -> Self {
        let mut bodies = Vec::new();
        if inlining != Inlining::Off {
            bodies.resize_with(functions, || None);
        }
        Self { inlining, bodies }
    }

    /// How much is inlined.
    pub fn inlining(&self) -> Inlining {
        self.inlining
    }

    /// Adds a function.
    pub fn insert(&mut self, index: DefinedFuncIndex, body: Body) {
        if let Some(slot) = self.bodies.get_mut(index.index()) {
            *slot = Some(body);
        }
    }

    /// A function.
    pub fn get(&self, index: DefinedFuncIndex) -> Option<&Body> {
        self.bodies.get(index.index())?.as_ref()
    }
}

/// Inlines into the function in `context` what is worth it, and says what was.
///
/// # Errors
/// If Cranelift's inliner fails, or did not do what it is known to do: the function is lost then.
pub fn inline(
    module: &Module,
    graph: &CallGraph,
    library: &Library,
    index: DefinedFuncIndex,
    context: &mut Context,
) -> Result<Sites, String> {
    let mut sites = Sites::default();
    let chosen = choose(module, graph, library, index, &context.func);
    if chosen.is_empty() {
        return Ok(sites);
    }
    let mut inliner = Inliner { module, library, chosen: &chosen, sites: &mut sites, done: Vec::with_capacity(chosen.len()) };
    context.inline(&mut inliner).map_err(|e| e.to_string())?;
    let done = inliner.done;
    let func = &mut context.func;
    for (i, d) in done.iter().enumerate() {
        let end = done.get(i + 1).map_or(func.dfg.num_insts(), |next| next.first);
        // A `try_call` may get a block of its own from which to go on, which a jump leaves.
        let extra = (end - d.first).checked_sub(d.body.locations.len());
        let Some(extra) = extra.filter(|e| *e == 0 || (*e == 1 && d.is_try)) else {
            return Err(format!("inlining made {} instructions of {}", end - d.first, d.body.locations.len()));
        };
        // Cranelift's inliner (0.135) copies the number that stands for a symbol's name, which means another name in the caller.
        for (i, data) in d.body.func.global_values.values().enumerate() {
            if let GlobalValueData::Symbol { name: ExternalName::User(name), .. } = data {
                let name = func.declare_imported_user_function(d.body.func.params.user_named_funcs()[*name].clone());
                let copy = GlobalValue::from_u32((d.first_global + i) as u32);
                func.global_values[copy] = match data.clone() {
                    GlobalValueData::Symbol { offset, colocated, tls, .. } => {
                        GlobalValueData::Symbol { name: ExternalName::User(name), offset, colocated, tls }
                    }
                    other => other,
                };
            }
        }
        for (i, location) in d.body.locations.iter().enumerate().filter(|(_, l)| !l.is_default()) {
            func.set_srcloc(Inst::from_u32((d.first + extra + i) as u32), d.shift.apply(*location));
        }
    }
    Ok(sites)
}

struct Inliner<'a> {
    module: &'a Module,
    library: &'a Library,
    chosen: &'a [Choice],
    sites: &'a mut Sites,
    done: Vec<Done<'a>>,
}

/// A call that was inlined.
struct Done<'a> {
    body: &'a Body,
    /// How many instructions there were.
    first: usize,
    /// How many global values there were.
    first_global: usize,
    is_try: bool,
    shift: super::sites::Shift,
}

impl Inline for Inliner<'_> {
    fn inline(
        &mut self,
        caller: &Function,
        call: Inst,
        opcode: Opcode,
        _: FuncRef,
        _: &[cranelift_codegen::ir::Value],
    ) -> InlineCommand<'_> {
        let Ok(i) = self.chosen.binary_search_by_key(&call, |c| c.call) else { return InlineCommand::KeepCall };
        let callee = self.chosen[i].callee;
        let Some(body) = self.library.get(callee) else { return InlineCommand::KeepCall };
        let Some(bytes) = self.module.bodies.get(callee.index()) else { return InlineCommand::KeepCall };
        let location = caller.srcloc(call).bits();
        let Some(shift) = self.sites.add(self.module.func_index(callee), bytes.clone(), &body.sites, location) else {
            return InlineCommand::KeepCall;
        };
        self.done.push(Done {
            body,
            first: caller.dfg.num_insts(),
            first_global: caller.global_values.len(),
            is_try: opcode == Opcode::TryCall,
            shift,
        });
        InlineCommand::Inline { callee: Cow::Borrowed(&body.func), visit_callee: false }
    }
}
