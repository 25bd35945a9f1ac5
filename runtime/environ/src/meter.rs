//! Which instructions metered code charges for at once. A body is cut into *regions*: instructions that are executed all, once
//! each and in the order of the code or, if one of them traps, up to that one. Both tiers charge for a region at its start, as
//! this file says, so they count alike; what a trap left undone is found by cutting the body again (`after`).
//!
//! A region goes on behind a construct that can be left only by its end, if it contains no call: what comes before it and behind it
//! is executed equally often. So host functions see exact counts, and nobody pays in advance for what a call may never return to.
//!
//! Every instruction of the specification counts, `nop`, `unreachable`, `block`, `if` and `try_table` among them; a `loop`
//! counts again with each branch to it. `else`, `end`, `catch` and `delegate` only delimit. Only what can be reached
//! belongs to a region.

use crate::costs::CostTable;
use wasmparser::{Catch, FunctionBody, Operator};

/// A row of instructions that are charged for at its start.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Byte offset of its first instruction in the module. If that is a `loop`, branches to it charge again.
    pub start: u64,
    /// How many instructions.
    pub instructions: u64,
    /// What they cost together.
    pub cost: u64,
}

/// Instructions, and what they cost.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    /// How many instructions.
    pub instructions: u64,
    /// What they cost together.
    pub cost: u64,
}

/// The regions of a body, by `start`. Without a table, every instruction costs 1. Of a body that is not valid, what comes
/// before the mistake; nobody runs such a body.
pub fn regions(body: &FunctionBody<'_>, costs: Option<&CostTable>) -> Vec<Region> {
    let mut regions: Vec<Region> = Vec::new();
    walk(body, |_, op, offset, number| {
        let cost = costs.map_or(1, |c| u64::from(c.instruction(op)));
        match regions.get_mut(number) {
            Some(region) => {
                region.instructions += 1;
                region.cost += cost;
            }
            None => regions.push(Region { start: offset, instructions: 1, cost }),
        }
    });
    regions
}

/// What was charged for and is not executed when a call ends at the instruction at `offset`.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Undone {
    /// All of the instruction's own region.
    pub region: Charge,
    /// What comes behind the instruction in its region.
    pub rest: Charge,
    /// What comes behind it in other regions that have begun.
    pub others: Charge,
}

/// What a trap of the instruction at `offset` leaves undone; nothing if there is none.
pub fn undone(body: &FunctionBody<'_>, costs: Option<&CostTable>, offset: u64) -> Undone {
    // The region of the instruction, and those that go on behind the constructs around it.
    let mut own = None;
    let mut others: Vec<usize> = Vec::new();
    let mut all: Vec<(usize, u64, u64)> = Vec::new();
    walk(body, |cutter, op, at, number| {
        if at == offset {
            own = Some(number);
            others = cutter.frames.iter().filter_map(|f| f.entry).filter(|n| *n != number).collect();
            others.sort_unstable();
            others.dedup();
        }
        all.push((number, at, costs.map_or(1, |c| u64::from(c.instruction(op)))));
    });
    let mut undone = Undone::default();
    for (number, at, cost) in all {
        let behind = at > offset;
        let is_own = own == Some(number);
        if is_own {
            undone.region.add(cost);
        }
        if is_own && behind {
            undone.rest.add(cost);
        }
        if behind && others.binary_search(&number).is_ok() {
            undone.others.add(cost);
        }
    }
    undone
}

impl Charge {
    fn add(&mut self, cost: u64) {
        self.instructions += 1;
        self.cost += cost;
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { instructions: self.instructions + other.instructions, cost: self.cost + other.cost }
    }
}

/// Calls `each` with every instruction that counts, its offset, and the number of its region: the next one if it begins one.
fn walk(body: &FunctionBody<'_>, mut each: impl FnMut(&Cutter, &Operator<'_>, u64, usize)) {
    let Ok(mut reader) = body.get_operators_reader() else { return };
    let mut cutter = Cutter { frames: vec![Frame::new(Kind::Block, true, None)], live: true, current: None, count: 0 };
    while !reader.eof() && !cutter.frames.is_empty() {
        let Ok((op, offset)) = reader.read_with_offset() else { return };
        if let Some(region) = cutter.step(&op) {
            each(&cutter, &op, offset, region);
        }
    }
}

#[derive(Copy, Clone, PartialEq, Eq)]
enum Kind {
    /// Also the function, `try_table`, and a `try` before its first handler.
    Block,
    Loop,
    If,
    Else,
    /// A `try` in one of its handlers.
    Handler,
}

/// An open construct.
struct Frame {
    kind: Kind,
    /// Whether a branch leads to its end.
    targeted: bool,
    /// Whether its beginning can be reached.
    live: bool,
    /// The region in which it begins, not that of a `loop` itself.
    entry: Option<usize>,
    /// From which frame on, counted from the outermost, something in this one leads out of frames otherwise than by their ends, or
    /// may have somebody look at the counts.
    left: usize,
}

impl Frame {
    fn new(kind: Kind, live: bool, entry: Option<usize>) -> Self {
        Self { kind, targeted: false, live, entry, left: usize::MAX }
    }
}

/// Follows the constructs of a body.
struct Cutter {
    frames: Vec<Frame>,
    /// Whether the current place can be reached.
    live: bool,
    /// The region that goes on here.
    current: Option<usize>,
    /// How many there are.
    count: usize,
}

impl Cutter {
    /// Takes the next operator. If it is an instruction that can be reached: the number of its region.
    fn step(&mut self, op: &Operator<'_>) -> Option<usize> {
        match op {
            Operator::Else => self.alternative(Kind::Else),
            Operator::Catch { .. } | Operator::CatchAll => {
                self.alternative(Kind::Handler);
                self.leave_frames(self.frames.len().saturating_sub(1));
            }
            Operator::End | Operator::Delegate { .. } => self.end(),
            _ if !self.live => {
                if let Some(kind) = opens(op) {
                    self.frames.push(Frame::new(kind, false, None));
                }
            }
            _ => return Some(self.instruction(op)),
        }
        None
    }

    fn instruction(&mut self, op: &Operator<'_>) -> usize {
        let before = self.current;
        let region = match before {
            // Branches lead to the `loop` itself.
            Some(region) if !matches!(op, Operator::Loop { .. }) => region,
            _ => {
                self.count += 1;
                self.count - 1
            }
        };
        self.current = Some(region);
        match op {
            Operator::Br { relative_depth } => {
                self.target(*relative_depth);
                self.stop();
            }
            Operator::BrTable { targets } => {
                self.target(targets.default());
                for depth in targets.targets().flatten() {
                    self.target(depth);
                }
                self.stop();
            }
            Operator::BrIf { relative_depth }
            | Operator::BrOnNull { relative_depth }
            | Operator::BrOnNonNull { relative_depth }
            | Operator::BrOnCast { relative_depth, .. }
            | Operator::BrOnCastFail { relative_depth, .. } => {
                self.target(*relative_depth);
                self.current = None;
            }
            Operator::TryTable { try_table } => {
                for catch in &try_table.catches {
                    let (Catch::One { label, .. } | Catch::OneRef { label, .. } | Catch::All { label } | Catch::AllRef { label }) = catch;
                    self.target(*label);
                }
            }
            Operator::If { .. } => self.current = None,
            Operator::Call { .. } | Operator::CallIndirect { .. } | Operator::CallRef { .. } => {
                self.leave_frames(0);
                self.current = None;
            }
            // A trap gives back what it leaves undone.
            Operator::Unreachable => self.stop(),
            Operator::Return
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. }
            | Operator::Throw { .. }
            | Operator::ThrowRef
            | Operator::Rethrow { .. } => {
                self.leave_frames(0);
                self.stop();
            }
            _ => {}
        }
        if let Some(kind) = opens(op) {
            let entry = if kind == Kind::Loop { before } else { Some(region) };
            self.frames.push(Frame::new(kind, true, entry));
        }
        region
    }

    /// What follows is not reached from here.
    fn stop(&mut self) {
        self.current = None;
        self.live = false;
    }

    /// A branch to a label.
    fn target(&mut self, depth: u32) {
        let Some(number) = self.frames.len().checked_sub(1 + depth as usize) else { return };
        self.leave_frames(number + 1);
        if let Some(frame) = self.frames.get_mut(number) {
            frame.targeted = true;
        }
    }

    /// Notes that the frames from this one on are left otherwise than by their ends.
    fn leave_frames(&mut self, from: usize) {
        if let Some(frame) = self.frames.last_mut() {
            frame.left = frame.left.min(from);
        }
    }

    /// `else`, or a handler of a `try`: what came before goes to the end.
    fn alternative(&mut self, kind: Kind) {
        let Some(frame) = self.frames.last_mut() else { return };
        frame.kind = kind;
        frame.targeted |= self.live;
        self.live = frame.live;
        self.current = None;
    }

    fn end(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        self.leave_frames(frame.left);
        // A branch to a loop leads to its beginning. The condition of an `if` can lead past it.
        let joins = match frame.kind {
            Kind::Loop => false,
            Kind::If => frame.live,
            Kind::Block | Kind::Else | Kind::Handler => frame.targeted,
        };
        if joins {
            self.live = true;
            self.current = None;
        }
        // Who comes in comes here.
        if self.live && self.current.is_none() && frame.left > self.frames.len() {
            self.current = frame.entry;
        }
    }
}

fn opens(op: &Operator<'_>) -> Option<Kind> {
    match op {
        Operator::Block { .. } | Operator::TryTable { .. } | Operator::Try { .. } => Some(Kind::Block),
        Operator::Loop { .. } => Some(Kind::Loop),
        Operator::If { .. } => Some(Kind::If),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmparser::{Parser, Payload};

    fn with_body<R>(code: &str, f: impl FnOnce(&FunctionBody<'_>) -> R) -> R {
        let text = format!("(module (memory 1) (tag $t) (func $f (param i32) (local i32) {code}))");
        let wasm = wat::parse_str(text).unwrap();
        let body = Parser::new(0).parse_all(&wasm).find_map(|p| match p.unwrap() {
            Payload::CodeSectionEntry(body) => Some(body),
            _ => None,
        });
        f(&body.unwrap())
    }

    /// Lengths of the regions.
    fn cut(code: &str) -> Vec<u64> {
        with_body(code, |body| regions(body, None).iter().map(|r| r.instructions).collect())
    }

    #[test]
    fn straight_lines() {
        assert_eq!(cut(""), [0; 0]);
        assert_eq!(cut("nop nop (block nop)"), [4]);
        assert_eq!(cut("nop (drop (i32.load (local.get 0))) return nop nop"), [5]);
        assert_eq!(cut("unreachable (loop nop) nop"), [1]);
    }

    #[test]
    fn calls_end_regions() {
        assert_eq!(cut("nop (call $f (i32.const 1)) nop nop"), [3, 2]);
        assert_eq!(cut("(throw $t) nop"), [1]);
    }

    #[test]
    fn labels_begin_regions_if_something_leads_there() {
        assert_eq!(cut("(block (block nop) nop) nop"), [5]);
        assert_eq!(cut("(block (block (br_table 0 1 (local.get 0))) nop) nop"), [5, 1]);
        assert_eq!(cut("(block (block (br_if 1 (local.get 0))) nop) nop"), [5, 1]);
    }

    #[test]
    fn regions_go_on_behind_what_is_left_by_its_end() {
        assert_eq!(cut("(block nop (br_if 0 (local.get 0)) nop) nop"), [5, 1]);
        assert_eq!(cut("(block nop (br 0) nop) nop"), [4]);
        assert_eq!(cut("(block (br_if 0 (local.get 0)) (block (br_if 0 (local.get 0)) nop) nop) nop"), [4, 4, 1]);
        // What the outer block is left by is nothing to the inner one's region.
        assert_eq!(cut("(block (br_if 0 (local.get 0)) (block (br_if 0 (local.get 0)) (br 1)) nop) nop"), [4, 3, 1, 1]);
        // A trap gives back.
        assert_eq!(cut("(if (local.get 0) (then unreachable)) nop"), [3, 1]);
        assert_eq!(cut("(if (local.get 0) (then return)) nop"), [2, 1, 1]);
        assert_eq!(cut("(if (local.get 0) (then (throw $t))) nop"), [2, 1, 1]);
        assert_eq!(cut("(if (local.get 0) (then (call $f (i32.const 1)))) nop"), [2, 2, 1]);
        assert_eq!(cut("(if (local.get 0) (then (block (call $f (i32.const 1)))) (else)) nop"), [2, 3, 1]);
        assert_eq!(cut("(block (if (local.get 0) (then (br 1))) nop) nop"), [4, 1, 1]);
    }

    #[test]
    fn loops_count_with_each_branch_to_them() {
        assert_eq!(cut("nop (loop nop (br_if 0 (local.get 0)) nop) nop"), [1, 4, 2]);
        assert_eq!(cut("nop (loop nop (br_if 0 (local.get 0))) nop"), [2, 4]);
        assert_eq!(cut("(loop (loop (br 1)))"), [1, 2]);
        assert_eq!(cut("nop (block (loop (br_if 1 (local.get 0)) (br 0))) nop"), [3, 3, 1]);
        assert_eq!(cut("(loop (if (local.get 0) (then nop)) nop (br_if 0 (local.get 0))) nop"), [6, 1, 1]);
        assert_eq!(cut("(loop (if (local.get 0) (then (br 1))) nop) nop"), [3, 1, 2]);
    }

    #[test]
    fn conditionals() {
        assert_eq!(cut("(if (local.get 0) (then nop)) nop"), [3, 1]);
        assert_eq!(cut("(if (local.get 0) (then nop) (else nop nop)) nop"), [3, 1, 2]);
        assert_eq!(cut("(if (local.get 0) (then return) (else nop nop)) nop"), [2, 1, 3]);
        assert_eq!(cut("(if (local.get 0) (then return) (else return)) nop"), [2, 1, 1]);
    }

    #[test]
    fn handlers() {
        assert_eq!(cut("(block (try_table (catch_all 0) (throw $t)) nop) nop"), [3, 1]);
        assert_eq!(cut("(block (try_table (catch_all 0) (call $f (i32.const 1)) nop) nop) nop"), [4, 2, 1]);
    }

    #[test]
    fn what_a_trap_leaves_undone() {
        with_body(
            "nop (if (local.get 0) (then (drop (i32.load (local.get 0))) nop (br_if 0 (local.get 0)) nop)) nop (loop (br_if 0 (local.get 0))) nop",
            |body| {
                let mut offsets = Vec::new();
                walk(body, |_, _, offset, _| offsets.push(offset));
                let numbers = |f: fn(Undone) -> Charge| -> Vec<u64> {
                    let undone = offsets.iter().map(|o| f(undone(body, None, *o)));
                    undone.map(|c| c.instructions).collect()
                };
                // Regions: 0 0 0 | 1 1 1 1 1 1 | 2 | 0 | 3 3 3 | 0
                assert_eq!(numbers(|u| u.region), [5, 5, 5, 6, 6, 6, 6, 6, 6, 1, 5, 3, 3, 3, 5]);
                assert_eq!(numbers(|u| u.rest), [4, 3, 2, 5, 4, 3, 2, 1, 0, 0, 1, 2, 1, 0, 0]);
                assert_eq!(numbers(|u| u.others), [0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 0, 1, 1, 1, 0]);
                assert_eq!(undone(body, None, offsets[0] + 1000), Undone::default());
                let mut costs = CostTable::new(1).unwrap();
                costs.set_instruction("br_if", 10).unwrap();
                assert_eq!(undone(body, Some(&costs), offsets[4]).rest, Charge { instructions: 4, cost: 13 });
            },
        );
    }
}
