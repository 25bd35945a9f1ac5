//! Which instructions metered code charges for at once. A body is cut into *regions*: straight-line code whose
//! instructions are executed all or, if one of them traps, up to that one. Both tiers charge for a region at its start, as
//! this file says, so they count alike; what a trap left undone is found by cutting the body again (`after`).
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
    walk(body, |op, offset, begins| {
        let cost = costs.map_or(1, |c| u64::from(c.instruction(op)));
        match regions.last_mut() {
            Some(region) if !begins => {
                region.instructions += 1;
                region.cost += cost;
            }
            _ => regions.push(Region { start: offset, instructions: 1, cost }),
        }
        true
    });
    regions
}

/// The region of the instruction at `offset`.
pub fn region_of(body: &FunctionBody<'_>, costs: Option<&CostTable>, offset: u64) -> Option<Region> {
    let regions = regions(body, costs);
    let after = regions.partition_point(|r| r.start <= offset);
    after.checked_sub(1).map(|i| regions[i])
}

/// What comes behind the instruction at `offset` in its region: charged for, but not executed if that instruction traps.
pub fn after(body: &FunctionBody<'_>, costs: Option<&CostTable>, offset: u64) -> Charge {
    let mut found = false;
    let mut rest = Charge::default();
    walk(body, |op, at, begins| {
        if found && !begins {
            rest.instructions += 1;
            rest.cost += costs.map_or(1, |c| u64::from(c.instruction(op)));
        }
        // The region is over.
        if found && begins {
            return false;
        }
        found |= at == offset;
        at <= offset || found
    });
    rest
}

/// Calls `each` with every instruction that counts, its offset, and whether it begins a region, until that says no.
fn walk(body: &FunctionBody<'_>, mut each: impl FnMut(&Operator<'_>, u64, bool) -> bool) {
    let Ok(mut reader) = body.get_operators_reader() else { return };
    let mut cutter = Cutter { frames: vec![Frame::new(Kind::Block, true)], live: true, open: false };
    while !reader.eof() && !cutter.frames.is_empty() {
        let Ok((op, offset)) = reader.read_with_offset() else { return };
        if let Some(begins) = cutter.step(&op)
            && !each(&op, offset, begins)
        {
            return;
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
}

impl Frame {
    fn new(kind: Kind, live: bool) -> Self {
        Self { kind, targeted: false, live }
    }
}

/// Follows the constructs of a body.
struct Cutter {
    frames: Vec<Frame>,
    /// Whether the current place can be reached.
    live: bool,
    /// Whether the last instruction's region goes on.
    open: bool,
}

impl Cutter {
    /// Takes the next operator. If it is an instruction that can be reached: whether it begins a region.
    fn step(&mut self, op: &Operator<'_>) -> Option<bool> {
        match op {
            Operator::Else => self.alternative(Kind::Else),
            Operator::Catch { .. } | Operator::CatchAll => self.alternative(Kind::Handler),
            Operator::End | Operator::Delegate { .. } => self.end(),
            _ if !self.live => {
                if let Some(kind) = opens(op) {
                    self.frames.push(Frame::new(kind, false));
                }
            }
            _ => return Some(self.instruction(op)),
        }
        None
    }

    fn instruction(&mut self, op: &Operator<'_>) -> bool {
        // Branches lead to the `loop` itself.
        let begins = !self.open || matches!(op, Operator::Loop { .. });
        self.open = true;
        match op {
            Operator::Br { relative_depth } => {
                self.target(*relative_depth);
                self.leave();
            }
            Operator::BrTable { targets } => {
                self.target(targets.default());
                for depth in targets.targets().flatten() {
                    self.target(depth);
                }
                self.leave();
            }
            Operator::BrIf { relative_depth } | Operator::BrOnNull { relative_depth } | Operator::BrOnNonNull { relative_depth } => {
                self.target(*relative_depth);
                self.open = false;
            }
            Operator::TryTable { try_table } => {
                for catch in &try_table.catches {
                    let (Catch::One { label, .. } | Catch::OneRef { label, .. } | Catch::All { label } | Catch::AllRef { label }) = catch;
                    self.target(*label);
                }
            }
            Operator::If { .. } | Operator::Call { .. } | Operator::CallIndirect { .. } | Operator::CallRef { .. } => self.open = false,
            Operator::Return
            | Operator::Unreachable
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. }
            | Operator::Throw { .. }
            | Operator::ThrowRef
            | Operator::Rethrow { .. } => self.leave(),
            _ => {}
        }
        if let Some(kind) = opens(op) {
            self.frames.push(Frame::new(kind, true));
        }
        begins
    }

    /// What follows is not reached from here.
    fn leave(&mut self) {
        self.open = false;
        self.live = false;
    }

    /// A branch to a label.
    fn target(&mut self, depth: u32) {
        if let Some(frame) = self.frames.len().checked_sub(1 + depth as usize).and_then(|i| self.frames.get_mut(i)) {
            frame.targeted = true;
        }
    }

    /// `else`, or a handler of a `try`: what came before goes to the end.
    fn alternative(&mut self, kind: Kind) {
        let Some(frame) = self.frames.last_mut() else { return };
        frame.kind = kind;
        frame.targeted |= self.live;
        self.live = frame.live;
        self.open = false;
    }

    fn end(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        // A branch to a loop leads to its beginning. The condition of an `if` can lead past it.
        let joins = match frame.kind {
            Kind::Loop => false,
            Kind::If => frame.live,
            Kind::Block | Kind::Else | Kind::Handler => frame.targeted,
        };
        if joins {
            self.live = true;
            self.open = false;
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
        assert_eq!(cut("(block nop (br_if 0 (local.get 0)) nop) nop"), [4, 1, 1]);
        assert_eq!(cut("(block nop (br 0) nop) nop"), [3, 1]);
        assert_eq!(cut("(block (block nop) nop) nop"), [5]);
        assert_eq!(cut("(block (block (br_table 0 1 (local.get 0))) nop) nop"), [4, 1, 1]);
    }

    #[test]
    fn loops_count_with_each_branch_to_them() {
        assert_eq!(cut("nop (loop nop (br_if 0 (local.get 0)) nop) nop"), [1, 4, 2]);
        assert_eq!(cut("(loop (loop (br 1)))"), [1, 2]);
    }

    #[test]
    fn conditionals() {
        assert_eq!(cut("(if (local.get 0) (then nop)) nop"), [2, 1, 1]);
        assert_eq!(cut("(if (local.get 0) (then nop) (else nop nop)) nop"), [2, 1, 2, 1]);
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
        with_body("nop (drop (i32.load (local.get 0))) nop (br_if 0 (local.get 0)) nop", |body| {
            let mut offsets = Vec::new();
            walk(body, |_, offset, _| {
                offsets.push(offset);
                true
            });
            let rest: Vec<u64> = offsets.iter().map(|o| after(body, None, *o).instructions).collect();
            assert_eq!(rest, [6, 5, 4, 3, 2, 1, 0, 0]);
            assert_eq!(after(body, None, offsets[0] + 1000), Charge::default());
            let mut costs = CostTable::new(1).unwrap();
            costs.set_instruction("br_if", 10).unwrap();
            assert_eq!(after(body, Some(&costs), offsets[2]), Charge { instructions: 4, cost: 13 });
        });
    }
}
