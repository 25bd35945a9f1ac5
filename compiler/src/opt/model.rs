//! Which calls are worth inlining. A body costs about as many instructions as it has; a call costs some as well, all of
//! which go away, and what the arguments say may make the body smaller. Against that stand code size and compile time, which
//! are limited for each caller.

use super::call_graph::CallGraph;
use super::inlining::{Body, Library};
use crate::OptLevel;
use crate::symbols::Symbol;
use cranelift_codegen::ir::{ExternalName, FuncRef, Function, Inst, InstructionData, Opcode, Value, ValueDef};
use wasmc_environ::{DefinedFuncIndex, Module};

/// How much is inlined.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Inlining {
    /// Nothing.
    Off,
    /// What pays.
    #[default]
    Normal,
    /// Whatever can be, for tests.
    Everywhere,
}

/// The numbers of the model.
#[derive(Copy, Clone, Debug)]
pub struct Limits {
    /// Greatest work of a function that may be inlined.
    pub candidate: u32,
    /// The same if there is only one call of it.
    pub single: u32,
    /// Greatest number of parameters and results: more of them than registers are passed in memory, and bodies are made of moves.
    pub operands: usize,
    /// Greatest size of the body in bytes.
    pub bytes: u64,
    /// Greatest work of all functions that may be inlined: their CLIF is kept in memory.
    pub library: u64,
    /// Largest cost of a body that is inlined, whatever speaks for it.
    body: u32,
    /// A body of this cost is not larger than a call of it.
    call: u32,
    /// What each argument adds to the cost of a call.
    argument: u32,
    /// What each loop around the call is worth, up to `MAX_LOOPS`.
    in_loop: u32,
    /// What an argument is worth that is a constant.
    constant: u32,
    /// What it is worth that the call is the only one of its callee.
    only: u32,
    /// What it is worth that the body makes no calls: the function may become a leaf.
    leaf: u32,
    /// How much any caller may grow.
    least_growth: u32,
    /// By how many hundredths of its size a caller may grow beyond that. More than none made large interpreter loops slower.
    growth: u32,
}

/// What a call takes that goes away with it, about.
const CALL: u32 = 6;
/// Loops that count.
const MAX_LOOPS: u32 = 3;
/// Callers with more instructions than this stay as they are: they are near what a code generator can take.
const MAX_CALLER: usize = 400_000;
/// Greatest product of the number of calls that are inlined and of instructions of the caller: Cranelift's inliner splits a block at
/// each call, which takes time in proportion to what stands behind it. 100,000 calls of an empty function took minutes.
const MAX_SPLITTING: usize = 64 << 20;

impl Inlining {
    /// What there is of it at this level of optimisation.
    pub(crate) fn at(self, level: OptLevel) -> Self {
        if level == OptLevel::None { Self::Off } else { self }
    }

    /// The numbers.
    pub(crate) fn limits(self) -> Limits {
        let normal = Limits {
            candidate: 60,
            single: 160,
            operands: 12,
            bytes: 4096,
            library: 1 << 20,
            body: 260,
            call: 10,
            argument: 1,
            in_loop: 10,
            constant: 4,
            only: 40,
            leaf: 6,
            least_growth: 60,
            growth: 0,
        };
        match self {
            Self::Off => Limits { candidate: 0, single: 0, library: 0, ..normal },
            Self::Normal => normal,
            Self::Everywhere => Limits {
                candidate: 400,
                single: 1_000,
                operands: 1_000,
                bytes: 1 << 16,
                body: 400,
                call: 1_000,
                least_growth: 2_000,
                growth: 100,
                ..normal
            },
        }
    }
}

/// A call that is to be inlined.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The call.
    pub call: Inst,
    /// What it calls.
    pub callee: DefinedFuncIndex,
}

/// The calls in `func` that are to be inlined, sorted by instruction.
pub fn choose(module: &Module, graph: &CallGraph, library: &Library, index: DefinedFuncIndex, func: &Function) -> Vec<Choice> {
    let Some(facts) = graph.body(index) else { return Vec::new() };
    let possible = |callee| module.defined_func(callee).is_some_and(|c| graph.allows(index, c) && library.get(c).is_some());
    if func.dfg.num_insts() > MAX_CALLER || !facts.calls.iter().any(|c| possible(c.callee)) {
        return Vec::new();
    }
    let limits = library.inlining().limits();
    let mut sites: Vec<(i64, u32, Choice)> = Vec::new();
    let mut size = 0;
    for block in func.layout.blocks() {
        // Whoever comes to such a block comes once.
        let cold = library.inlining() == Inlining::Normal
            && (func.layout.is_cold(block) || func.layout.last_inst(block).is_some_and(|i| func.dfg.insts[i].opcode() == Opcode::Trap));
        for inst in func.layout.block_insts(block) {
            size += 1;
            let Some(f) = direct_call(func, inst).filter(|_| !cold) else { continue };
            let Some(callee) = called(func, f).and_then(|c| module.defined_func(c)).filter(|c| graph.allows(index, *c)) else { continue };
            let Some(body) = library.get(callee).filter(|b| b.fits(func, inst, f)) else { continue };
            let offset = func.srcloc(inst).bits();
            let loops = facts.calls.binary_search_by_key(&offset, |c| c.offset).map_or(0, |i| facts.calls[i].loops);
            let args = func.dfg.inst_args(inst);
            if let Some(score) = score(&limits, body, loops, args.len(), constants(func, args), graph.callers(callee)) {
                sites.push((score, body.cost, Choice { call: inst, callee }));
            }
        }
    }
    // What is worth most first; what is worth the same in the order of the code.
    sites.sort_by_key(|(score, _, choice)| (-score, choice.call));
    let mut room = limits.least_growth + (size as u64 * u64::from(limits.growth) / 100) as u32;
    let mut chosen: Vec<Choice> = Vec::with_capacity(sites.len());
    let most = MAX_SPLITTING / (size as usize).max(1);
    for (_, cost, choice) in sites {
        if chosen.len() >= most {
            break;
        }
        let growth = cost.saturating_sub(CALL);
        if growth <= room {
            room -= growth;
            chosen.push(choice);
        }
    }
    chosen.sort_by_key(|c| c.call);
    chosen
}

/// What a call is worth being inlined, or `None` if it is not.
fn score(limits: &Limits, body: &Body, loops: u32, args: usize, constants: usize, callers: u32) -> Option<i64> {
    let cost = body.cost;
    if cost > limits.body {
        return None;
    }
    let worth = limits.call
        + limits.argument * args as u32
        + limits.in_loop * loops.min(MAX_LOOPS)
        + limits.constant * constants as u32
        + if callers == 1 { limits.only } else { 0 }
        + if body.leaf { limits.leaf } else { 0 };
    // In the budget, a call in a loop comes before all others.
    (cost <= worth).then(|| i64::from(worth) - i64::from(cost) + 64 * i64::from(loops.min(MAX_LOOPS)))
}

/// The function that an instruction calls directly, if the inliner can replace it.
fn direct_call(func: &Function, inst: Inst) -> Option<FuncRef> {
    match func.dfg.insts[inst] {
        InstructionData::Call { opcode: Opcode::Call, func_ref, .. } | InstructionData::TryCall { func_ref, .. } => Some(func_ref),
        _ => None,
    }
}

/// The function of this module that a reference means.
fn called(func: &Function, f: FuncRef) -> Option<wasmc_environ::FuncIndex> {
    let ExternalName::User(name) = func.dfg.ext_funcs[f].name else { return None };
    match Symbol::from_name(&func.params.user_named_funcs()[name])? {
        Symbol::Function(index) => Some(index),
        _ => None,
    }
}

fn constants(func: &Function, args: &[Value]) -> usize {
    let constant = |v: &&Value| match func.dfg.value_def(**v) {
        ValueDef::Result(inst, _) => matches!(func.dfg.insts[inst].opcode(), Opcode::Iconst | Opcode::F32const | Opcode::F64const),
        _ => false,
    };
    args.iter().filter(constant).count()
}
