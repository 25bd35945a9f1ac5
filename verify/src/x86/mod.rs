//! The proof for x86-64: every function and stub is decoded from its first byte along all paths that its own code can take, and
//! interpreted over the lattice of `value` until nothing changes. An instruction that is not proved harmless ends the proof. Bytes
//! that no path reaches are never executed, and may be anything.

mod allowed;
mod call;
mod memory;
mod step;

use crate::abi::{ARGUMENTS, CALLEE_SAVED, Place, RAX, RBP, RDI, RDX, RSI, RSP, Ty};
use crate::program::{Entry, Finding, Program, Role};
use crate::state::{Flags, State};
use crate::value::{ANY_TYPE, ENTRY, Kind, Sym, TOP, Val};
use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, OpKind};
use std::collections::{BTreeSet, HashMap, HashSet};

/// How often a block is looked at with states that grow slowly.
const PATIENCE: u32 = 6;

/// What the proof of one piece of code gives.
#[derive(Clone, Debug, Default)]
pub struct Proved {
    /// Instructions.
    pub instructions: u64,
    /// The builtin that it calls, if it is a trampoline.
    pub builtin: Option<u32>,
    /// First bytes of the instructions that are calls, with the places behind them.
    pub returns: Vec<Return>,
    /// Instructions at which a fault is a trap: they need a record.
    pub faulting: Vec<u32>,
}

/// What holds behind a call.
#[derive(Copy, Clone, Debug)]
pub struct Return {
    /// The place behind it.
    pub offset: u32,
    /// From the frame pointer down to the stack pointer.
    pub frame: i32,
}

/// Where control goes from an instruction.
enum Next {
    Fall,
    /// Nowhere in this function.
    End,
    Jump(u32),
    /// Both are possible; the state of the second is given.
    Branch(u32, Box<State>, bool),
    Table(Vec<u32>),
    /// A call, whose exceptions go to a handler, with this stack pointer.
    Call {
        handler: Option<(u32, i32)>,
        returns: bool,
    },
}

/// An instruction that is not proved harmless.
type Step<T = ()> = Result<T, String>;

/// The proof of one piece of code.
pub(crate) struct Prover<'p> {
    program: &'p Program<'p>,
    start: u32,
    limit: u32,
    entry: Entry,
    /// Nothing has been decoded, an instruction begins, one goes on: by byte.
    marks: Vec<u8>,
    /// Where blocks begin, as far as it is known before.
    leaders: HashSet<u32>,
    blocks: HashMap<u32, (State, u32)>,
    work: BTreeSet<u32>,
    info: Option<Factory>,
    again: bool,
    proved: Proved,
    faulting: BTreeSet<u32>,
    returns: HashMap<u32, i32>,
    /// Accesses through arguments of a trampoline, whose ranges its callers have checked.
    raw: BTreeSet<u32>,
    raw_source: bool,
    /// What the runtime's status is, where the stub calls it.
    status: Option<Sym>,
    /// What its value is.
    given: Option<Sym>,
    /// Whether a trampoline returns something else.
    other_result: bool,
    /// The instruction always faults.
    ends: bool,
}

/// What knows the effects of instructions.
struct Factory(InstructionInfoFactory);

impl Default for Factory {
    fn default() -> Self {
        Self(InstructionInfoFactory::new())
    }
}

/// Proves the code that begins at `start`.
pub fn prove(program: &Program<'_>, start: u32, entry: &Entry) -> Result<Proved, Finding> {
    let limit = program.limit(start);
    let mut prover = Prover {
        program,
        start,
        limit,
        entry: entry.clone(),
        marks: Vec::new(),
        leaders: HashSet::new(),
        blocks: HashMap::new(),
        work: BTreeSet::new(),
        info: None,
        again: false,
        proved: Proved::default(),
        faulting: BTreeSet::new(),
        returns: HashMap::new(),
        raw: BTreeSet::new(),
        raw_source: false,
        status: None,
        given: None,
        other_result: false,
        ends: false,
    };
    prover.find_leaders();
    // A branch into what was taken for the middle of a block makes it two, and everything is done again.
    loop {
        prover.run()?;
        if !std::mem::take(&mut prover.again) {
            break;
        }
    }
    prover.finish()
}

impl Prover<'_> {
    fn finding(&self, offset: u32, problem: String) -> Finding {
        Finding { offset: Some(offset), function: self.program.name(self.start), problem }
    }

    fn decoder(&self, at: u32) -> Decoder<'_> {
        let bytes = self.program.text.get(at as usize..self.limit as usize).unwrap_or_default();
        Decoder::with_ip(64, bytes, u64::from(at), DecoderOptions::NONE)
    }

    /// Targets of what look like branches. What is missed is found later, what is none does no harm.
    fn find_leaders(&mut self) {
        let mut found = HashSet::new();
        for i in &mut self.decoder(self.start) {
            if matches!(i.flow_control(), FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch)
                && i.op0_kind() == OpKind::NearBranch64
                && let Ok(target) = u32::try_from(i.near_branch_target())
                && (self.start + 1..self.limit).contains(&target)
            {
                found.insert(target);
            }
        }
        self.leaders = found;
    }

    fn run(&mut self) -> Result<(), Finding> {
        self.marks = vec![0; (self.limit - self.start) as usize];
        self.blocks.clear();
        self.work.clear();
        self.faulting.clear();
        self.returns.clear();
        self.proved = Proved::default();
        self.status = None;
        self.given = None;
        self.other_result = false;
        self.raw.clear();
        let state = self.initial();
        self.blocks.insert(self.start, (state, 0));
        self.work.insert(self.start);
        while let Some(block) = self.work.pop_first() {
            let Some((state, _)) = self.blocks.get(&block) else { continue };
            let mut state = state.clone();
            let mut at = block;
            loop {
                let i = self.decode(at)?;
                if i.code() == Code::Ud2 {
                    self.faulting.insert(at);
                    break;
                }
                if let Some(end) = self.probe_loop(&mut state, &i) {
                    // The three instructions behind it are its own.
                    let mut inside = at + i.len() as u32;
                    while inside < end {
                        inside += self.decode(inside)?.len() as u32;
                    }
                    at = end;
                    continue;
                }
                let next = self.step(&mut state, &i);
                if std::mem::take(&mut self.ends) {
                    break;
                }
                let next = next.map_err(|problem| self.finding(at, format!("{problem} (`{}`)", crate::show(&i))))?;
                let end = at + i.len() as u32;
                at = match next {
                    Next::Fall => end,
                    Next::End => break,
                    Next::Jump(target) => target,
                    Next::Branch(target, other, fall) => {
                        self.flow(at, target, *other)?;
                        if !fall {
                            break;
                        }
                        end
                    }
                    Next::Table(targets) => {
                        let unique: BTreeSet<u32> = targets.into_iter().collect();
                        for target in unique {
                            self.flow(at, target, state.clone())?;
                        }
                        break;
                    }
                    Next::Call { handler, returns } => {
                        if let Some((handler, rsp)) = handler {
                            let state = handler_state(&state, handler, rsp);
                            self.flow(at, handler, state)?;
                        }
                        if !returns {
                            break;
                        }
                        end
                    }
                };
                let jumped = matches!(next_kind(at, end), Moved::Away);
                if jumped || self.leaders.contains(&at) || self.blocks.contains_key(&at) {
                    self.flow(end - i.len() as u32, at, state)?;
                    break;
                }
            }
        }
        Ok(())
    }

    /// Decodes an instruction and marks its bytes.
    fn decode(&mut self, at: u32) -> Result<Instruction, Finding> {
        if !(self.start..self.limit).contains(&at) {
            return Err(self.finding(at, "control leaves the function without a jump or return".into()));
        }
        let i = self.decoder(at).decode();
        if let Some(reason) = allowed::refused(&i) {
            return Err(self.finding(at, format!("{reason} (`{}`)", crate::show(&i))));
        }
        let from = (at - self.start) as usize;
        let bytes = &mut self.marks[from..from + i.len()];
        let fits = bytes[0] != 2 && bytes[1..].iter().all(|b| *b != 1);
        if !fits {
            return Err(self.finding(at, "instructions overlap".into()));
        }
        if bytes[0] == 0 {
            self.proved.instructions += 1;
        }
        bytes.fill(2);
        bytes[0] = 1;
        Ok(i)
    }

    /// Goes on at `target` in a state, from the instruction at `from`.
    fn flow(&mut self, from: u32, target: u32, mut state: State) -> Result<(), Finding> {
        if !(self.start..self.limit).contains(&target) {
            return Err(self.finding(from, format!("branch to text+{target:#x}, outside the function")));
        }
        // Traps need no state.
        if self.program.text[target as usize..].starts_with(&[0x0f, 0x0b]) {
            self.decode(target)?;
            self.faulting.insert(target);
            return Ok(());
        }
        if self.leaders.insert(target) && self.marks[(target - self.start) as usize] != 0 {
            self.again = true;
        }
        match self.blocks.get_mut(&target) {
            None => {
                self.blocks.insert(target, (state, 0));
                self.work.insert(target);
            }
            Some((known, visits)) => {
                let program = self.program;
                let widen = *visits >= PATIENCE;
                if widen {
                    // Ends what would go on growing.
                    for (v, known) in state.regs.iter_mut().zip(&known.regs) {
                        if matches!(v.kind, Kind::Heap { .. }) && v.kind != known.kind && *visits >= 4 * PATIENCE {
                            v.kind = Kind::Top;
                        }
                    }
                }
                if known.join(&state, u64::from(target), widen, &|a, b| program.is_subtype(a, b)) {
                    *visits += 1;
                    self.work.insert(target);
                }
            }
        }
        Ok(())
    }

    /// What is known at the entry.
    fn initial(&self) -> State {
        let mut s = State::new();
        let s_regs = &mut s.regs;
        for (r, v) in (0u64..).zip(s_regs.iter_mut()) {
            v.sym = ENTRY | (r + 1);
        }
        for r in CALLEE_SAVED {
            s_regs[r as usize].kind = Kind::Init(r);
        }
        s_regs[RSP as usize].kind = Kind::Stack(0);
        let signature = &self.entry.signature;
        let mut set = |r: u8, kind: Kind| s_regs[r as usize].kind = kind;
        match self.entry.role {
            Role::Function(_) | Role::Uncompiled(_) | Role::Thunk(_) => set(signature.hidden, self.own_hidden()),
            Role::ExitArray | Role::ExitTyped => set(signature.hidden, Kind::Exit),
            Role::TailEntry => set(signature.hidden, Kind::Store),
            Role::Entry => {
                set(RDI, Kind::CalleeCode);
                set(RSI, Kind::CalleeContext);
                set(RDX, Kind::Array);
            }
            Role::Builtin => {
                for r in ARGUMENTS {
                    set(r, Kind::Init(r));
                }
                set(RDI, Kind::VmCtx(0));
            }
        }
        s.set_slot(0, 8, Val { kind: Kind::Return, sym: ENTRY | 40 });
        if !matches!(self.entry.role, Role::Entry | Role::Builtin) {
            if signature.area != 0 {
                s.regs[RDI as usize].kind = Kind::Area(0);
            }
            if self.entry.role != Role::TailEntry {
                for (n, (ty, place)) in (0u64..).zip(&signature.params) {
                    let Ty::Func(ty) = ty else { continue };
                    let kind = Kind::Func(*ty);
                    match *place {
                        Place::Gpr(r) => s.regs[r as usize].kind = kind,
                        Place::Memory(at) => s.set_slot(8 + at, 8, Val { kind, sym: ENTRY | (64 + n) }),
                        Place::Vector => {}
                    }
                }
            }
        }
        s
    }

    /// Bytes of arguments above the return address.
    fn incoming(&self) -> i32 {
        match self.entry.role {
            Role::Entry | Role::Builtin | Role::TailEntry => 0,
            _ => self.entry.signature.stack,
        }
    }

    fn finish(mut self) -> Result<Proved, Finding> {
        if self.entry.role == Role::Builtin {
            self.finish_builtin()?;
        }
        self.proved.faulting = self.faulting.into_iter().collect();
        self.proved.returns = self.returns.into_iter().map(|(offset, frame)| Return { offset, frame }).collect();
        Ok(self.proved)
    }

    fn finish_builtin(&mut self) -> Result<(), Finding> {
        use wasmc_environ::builtins::{Builtin, BuiltinType};
        let Some(builtin) = self.proved.builtin else {
            return Err(self.finding(self.start, "it is called, but is no function and no builtin's trampoline".into()));
        };
        let is = |b: Builtin| builtin == b as u32;
        // Who calls it takes the result for what the runtime gave: an exception that there is, a type that fits.
        let result = Builtin::ALL.get(builtin as usize).and_then(|b| b.signature().result);
        if self.other_result && matches!(result, Some(BuiltinType::I32 | BuiltinType::I64)) {
            return Err(self.finding(self.start, "it returns a result that is not the runtime's".into()));
        }
        if self.raw_source && !is(Builtin::move_bytes) {
            return Err(self.finding(self.start, "it reads through an argument that is no address".into()));
        }
        if let Some(at) = self.raw.iter().next().copied()
            && !is(Builtin::move_bytes)
            && !is(Builtin::fill_bytes)
        {
            return Err(self.finding(at, "it writes through an argument that is no address".into()));
        }
        Ok(())
    }
}

/// What is known where an exception is handled: the frame, and the two registers.
fn handler_state(s: &State, handler: u32, rsp: i32) -> State {
    let mut h = s.clone();
    for r in 0..16u8 {
        if r != RSP && r != RBP {
            h.regs[r as usize] = TOP;
        }
    }
    let sym = 1 << 57 | u64::from(handler);
    h.regs[RSP as usize] = Val { kind: Kind::Stack(rsp), sym: 0 };
    h.regs[RDX as usize] = Val { kind: Kind::Exception(ANY_TYPE), sym };
    h.regs[RAX as usize] = Val { kind: Kind::Max(crate::value::U32), sym: 0 };
    h.bytes = [u8::MAX; 16];
    h.flags = Flags::Unknown;
    h
}

enum Moved {
    On,
    Away,
}

fn next_kind(at: u32, end: u32) -> Moved {
    if at == end { Moved::On } else { Moved::Away }
}

/// The identity of what an instruction gives.
pub(crate) fn defined(i: &Instruction, n: u64) -> Sym {
    1 << 58 | i.ip() << 5 | n
}
