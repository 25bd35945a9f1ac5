//! Who calls whom, and which functions may be inlined: found by the one scan that all bodies get before any is compiled. The
//! functions that may be inlined are put into levels: one is inlined only where a function of a higher level, or one that is
//! not inlined itself, calls it. So there is no recursion, and all of a level can be translated at the same time.
//!
//! Everything here takes time in proportion to the module, and depends on nothing but the module and the options.

use super::model::{Inlining, Limits};
use wasmc_environ::{DefinedFuncIndex, FuncIndex, Module};
use wasmparser::Operator;

/// A direct call.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct CallFact {
    /// Byte offset of the instruction in the module.
    pub offset: u32,
    /// The function that is called.
    pub callee: FuncIndex,
    /// How many loops are around it.
    pub loops: u32,
}

/// What is known of a body before it is translated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodyFacts {
    /// How many operators do something, in contrast to those that only name a value or a place.
    pub work: u32,
    /// Its direct calls, in order.
    pub calls: Box<[CallFact]>,
    /// Whether it has a tail call: in whatever frame that is made, the frame goes away.
    pub tail_calls: bool,
}

/// Collects the facts of a body, operator by operator.
#[derive(Debug, Default)]
pub struct Scanner {
    facts: BodyFacts,
    calls: Vec<CallFact>,
    /// For each open construct whether it is a loop.
    open: Vec<bool>,
    loops: u32,
}

impl Scanner {
    /// Adds an operator at this offset.
    pub fn add(&mut self, op: &Operator<'_>, offset: u64) {
        match op {
            Operator::Loop { .. } => {
                self.open.push(true);
                self.loops += 1;
                return;
            }
            Operator::Block { .. } | Operator::Try { .. } | Operator::TryTable { .. } => {
                self.open.push(false);
                return;
            }
            Operator::If { .. } => self.open.push(false),
            Operator::End | Operator::Delegate { .. } => {
                self.loops -= u32::from(self.open.pop() == Some(true));
                return;
            }
            Operator::LocalGet { .. }
            | Operator::LocalSet { .. }
            | Operator::LocalTee { .. }
            | Operator::I32Const { .. }
            | Operator::I64Const { .. }
            | Operator::F32Const { .. }
            | Operator::F64Const { .. }
            | Operator::Else
            | Operator::Nop
            | Operator::Drop
            | Operator::Return => return,
            Operator::BrTable { targets } => self.facts.work = self.facts.work.saturating_add(targets.len()),
            Operator::Call { function_index } => {
                let callee = FuncIndex::from_u32(*function_index);
                self.calls.push(CallFact { offset: u32::try_from(offset).unwrap_or(u32::MAX), callee, loops: self.loops });
                self.facts.work = self.facts.work.saturating_add(3);
            }
            Operator::ReturnCall { .. } | Operator::ReturnCallIndirect { .. } | Operator::ReturnCallRef { .. } => {
                self.facts.tail_calls = true;
            }
            _ => {}
        }
        self.facts.work = self.facts.work.saturating_add(1);
    }

    /// The facts.
    pub fn finish(self) -> BodyFacts {
        BodyFacts { calls: self.calls.into(), ..self.facts }
    }
}

/// Level of a function that is not inlined.
const NO_LEVEL: u8 = u8::MAX;
/// Deepest level: what lies deeper is called.
const MAX_LEVEL: u8 = 12;

/// The call graph.
#[derive(Debug, Default)]
pub struct CallGraph {
    /// By `DefinedFuncIndex`.
    bodies: Vec<BodyFacts>,
    /// How many direct calls there are of each defined function.
    callers: Vec<u32>,
    levels: Vec<u8>,
    /// The functions of each level.
    by_level: Vec<Vec<DefinedFuncIndex>>,
}

impl CallGraph {
    /// The graph of a module's bodies.
    pub fn new(module: &Module, bodies: Vec<BodyFacts>, interpreted: &[bool], inlining: Inlining) -> Self {
        let mut callers = vec![0u32; bodies.len()];
        for call in bodies.iter().flat_map(|b| &b.calls) {
            // Bodies are not validated yet.
            if let Some(n) = defined(module, call.callee).and_then(|d| callers.get_mut(d.index())) {
                *n = n.saturating_add(1);
            }
        }
        let limits = inlining.limits();
        let candidates = candidates(module, &bodies, &callers, interpreted, &limits);
        let levels = levels(module, &bodies, &candidates);
        let mut by_level: Vec<Vec<DefinedFuncIndex>> = Vec::new();
        for (i, level) in levels.iter().enumerate().filter(|(_, l)| **l != NO_LEVEL) {
            let level = usize::from(*level);
            if by_level.len() <= level {
                by_level.resize_with(level + 1, Vec::new);
            }
            by_level[level].push(DefinedFuncIndex::from_u32(i as u32));
        }
        Self { bodies, callers, levels, by_level }
    }

    /// The functions that may be inlined, by level.
    pub fn levels(&self) -> &[Vec<DefinedFuncIndex>] {
        &self.by_level
    }

    /// How many direct calls there are of a function.
    pub fn callers(&self, f: DefinedFuncIndex) -> u32 {
        self.callers.get(f.index()).copied().unwrap_or(0)
    }

    /// The facts of a body.
    pub fn body(&self, f: DefinedFuncIndex) -> Option<&BodyFacts> {
        self.bodies.get(f.index())
    }

    /// Whether `callee` may be inlined into `caller`.
    pub fn allows(&self, caller: DefinedFuncIndex, callee: DefinedFuncIndex) -> bool {
        let level = |f: DefinedFuncIndex| self.levels.get(f.index()).copied().unwrap_or(NO_LEVEL);
        level(callee) < level(caller)
    }
}

fn defined(module: &Module, f: FuncIndex) -> Option<DefinedFuncIndex> {
    module.defined_func(f).filter(|d| d.index() < module.bodies.len())
}

fn candidates(module: &Module, bodies: &[BodyFacts], callers: &[u32], interpreted: &[bool], limits: &Limits) -> Vec<bool> {
    let mut room = limits.library;
    let mut order: Vec<u32> = (0..bodies.len() as u32)
        .filter(|i| {
            let i = *i as usize;
            let (body, callers) = (&bodies[i], callers[i]);
            let work = if callers == 1 { limits.single } else { limits.candidate };
            let ty = module.type_of(module.func_index(DefinedFuncIndex::from_u32(i as u32)));
            callers > 0
                && body.work <= work
                && !body.tail_calls
                && !interpreted.get(i).copied().unwrap_or(true)
                && ty.params.len() + ty.results.len() <= limits.operands
                && module.bodies.get(i).is_some_and(|r| r.end - r.start <= limits.bytes)
        })
        .collect();
    // The smallest are worth the most.
    order.sort_by_key(|i| (bodies[*i as usize].work, *i));
    let mut candidates = vec![false; bodies.len()];
    for i in order {
        let size = u64::from(bodies[i as usize].work) + 16;
        if size > room {
            break;
        }
        room -= size;
        candidates[i as usize] = true;
    }
    candidates
}

/// The level of each candidate: above those of the candidates that it calls, where they do not lead back to it.
fn levels(module: &Module, bodies: &[BodyFacts], candidates: &[bool]) -> Vec<u8> {
    let mut levels = vec![NO_LEVEL; bodies.len()];
    let mut state = vec![State::New; bodies.len()];
    // Depth first, with a stack of our own: a function and how many of its calls were followed. A call that leads to a
    // function that is still on the stack closes a cycle and counts for nothing; the levels then forbid inlining it.
    let mut stack: Vec<(u32, u32, u8)> = Vec::new();
    for root in 0..bodies.len() {
        if !candidates[root] || state[root] != State::New {
            continue;
        }
        state[root] = State::Open;
        stack.push((root as u32, 0, 0));
        while let Some((f, next, level)) = stack.last_mut() {
            let calls = &bodies[*f as usize].calls;
            let Some(call) = calls.get(*next as usize) else {
                let (f, level) = (*f as usize, *level);
                levels[f] = level;
                state[f] = State::Done;
                stack.pop();
                if let Some((_, _, above)) = stack.last_mut() {
                    *above = (*above).max((level + 1).min(MAX_LEVEL));
                }
                continue;
            };
            *next += 1;
            let Some(callee) = defined(module, call.callee).map(DefinedFuncIndex::index).filter(|c| candidates[*c]) else { continue };
            match state[callee] {
                State::Done => *level = (*level).max((levels[callee] + 1).min(MAX_LEVEL)),
                State::Open => {}
                State::New => {
                    state[callee] = State::Open;
                    stack.push((callee as u32, 0, 0));
                }
            }
        }
    }
    levels
}

#[derive(Copy, Clone, PartialEq, Eq)]
enum State {
    New,
    Open,
    Done,
}
