//! What is known at one place of the code: of the registers, of the words of the frame, of the flags, and facts about values that
//! checks have established. Joining two states keeps what holds in both.

use crate::abi::{RBP, RSP};
use crate::value::{ANY_TYPE, JOINED, Kind, LOW_BYTE, LOW_HALF, NUMBER, Sym, TOP, Val, low_half};
use iced_x86::ConditionCode;
use std::sync::Arc;

/// More facts are not kept; the oldest go.
const MAX_FACTS: usize = 96;

/// No memory or table is as large as this.
const LARGEST: u64 = 1 << 48;

/// A word, or less, of the frame.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// From where the return address was at the entry.
    pub at: i32,
    /// Its bytes, 4 or 8.
    pub size: i32,
    /// What it holds.
    pub val: Val,
}

/// What a check has established.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The value is at most this.
    AtMost(Sym, u64),
    /// The value is at least this.
    AtLeast(Sym, u64),
    /// The value is an index of the table.
    InTable(Sym, u32),
    /// The value and so many bytes are within the memory's size.
    InMemory(Sym, u32, u64),
    /// The sum with this number does not wrap.
    NoWrap(Sym, u64),
    /// The value is the sum of another one and a number, which does not wrap if that is said.
    Plus { sum: Sym, of: Sym, add: u64, exact: bool },
    /// The value is the sum of two others, of 32 bits each.
    Sum(Sym, Sym, Sym),
    /// The sum of two values is within the memory's size.
    SumInMemory(Sym, Sym, u32),
    /// The sum of two values is at most this.
    SumAtMost(Sym, Sym, u64),
    /// The first value is not below the second.
    NotBelow(Sym, Sym),
    /// If this byte is not 0, then `SumInMemory`.
    IfInMemory(Sym, Sym, Sym, u32),
    /// If this byte is not 0, then `SumAtMost`.
    IfAtMost(Sym, Sym, Sym, u64),
    /// The reference is to a function of this type.
    Typed(Sym, u32),
    /// The entry of the closed table (by its place) is of this type.
    EntryTyped(i64, Sym, u32),
    /// The entry of the closed table is not null.
    EntryNotNull(i64, Sym),
    /// The exception has this tag.
    Tagged(Sym, u32),
}

impl Fact {
    /// The values that it is about; 0 where there are fewer than three.
    fn syms(self) -> [Sym; 3] {
        match self {
            Self::AtMost(s, _)
            | Self::AtLeast(s, _)
            | Self::InTable(s, _)
            | Self::InMemory(s, ..)
            | Self::NoWrap(s, _)
            | Self::Typed(s, _)
            | Self::EntryTyped(_, s, _)
            | Self::EntryNotNull(_, s)
            | Self::Tagged(s, _) => [s, 0, 0],
            Self::Plus { sum, of, .. } => [sum, of, 0],
            Self::SumInMemory(a, b, _) | Self::SumAtMost(a, b, _) | Self::NotBelow(a, b) => [a, b, 0],
            Self::Sum(a, b, c) | Self::IfInMemory(a, b, c, _) | Self::IfAtMost(a, b, c, _) => [a, b, c],
        }
    }

    /// The value with what the fact says of it.
    fn apply(self, v: Val) -> Val {
        match (self, v.kind) {
            // What is compared may be the end of an access, and the number its beginning.
            (Self::InMemory(s, memory, extent), Kind::Const(c)) if s & NUMBER != 0 && s >> 56 == 0 && c <= s ^ NUMBER => {
                let extent = extent.saturating_add((s ^ NUMBER) - c);
                Val { kind: Kind::Checked { memory, extent, poison: 0 }, ..v }
            }
            (Self::AtMost(s, n), Kind::Length { .. } | Kind::TableSize(_)) if s == v.sym => Val { kind: Kind::Max(n), ..v },
            (Self::InMemory(s, memory, extent), Kind::Length { .. } | Kind::TableSize(_)) if s == v.sym => {
                Val { kind: Kind::Checked { memory, extent, poison: 0 }, ..v }
            }
            _ => self.apply_to_unknown(v),
        }
    }

    /// The same, but a number stays one.
    fn apply_to_unknown(self, v: Val) -> Val {
        let kind = match (self, v.kind) {
            (Self::AtMost(s, n), Kind::Top) if s == v.sym => Kind::Max(n),
            (Self::AtMost(s, n), Kind::Max(m)) if s == v.sym => Kind::Max(n.min(m)),
            (Self::AtMost(s, n), kind) => kind.with_index(s, n),
            (Self::InMemory(s, memory, extent), Kind::Top | Kind::Max(_)) if s == v.sym => Kind::Checked { memory, extent, poison: 0 },
            (Self::InTable(s, t), Kind::Element { table, index, .. }) if s == index && t == table => Kind::Inside(table),
            _ => return v,
        };
        Val { kind, ..v }
    }
}

/// What the flags were set by.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Flags {
    /// Something that says nothing.
    Unknown,
    /// The comparison of two values; of their low halves if `wide` is not set.
    Compare { left: Val, right: Val },
    /// The sum of a value and a number.
    Add { of: Sym, add: u64 },
    /// The sum of two numbers, which has a carry or not.
    Carry(bool),
    /// Both bytes, and not at the same time 0.
    Both(Sym, Sym),
}

/// The state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The registers.
    pub regs: [Val; 16],
    /// The greatest byte of each vector register.
    pub bytes: [u8; 16],
    /// What is known of the frame, by place.
    pub slots: Arc<Vec<Slot>>,
    /// The flags.
    pub flags: Flags,
    /// What was established.
    pub facts: Arc<Vec<Fact>>,
    /// The lowest place of the stack that was written to, at most.
    pub touched: i32,
    /// Whether it was checked that the host has room on the stack.
    pub has_room: bool,
    /// Whether the store knows through which frame wasm code is left.
    pub recorded: bool,
    /// Which function references of the area for results were written.
    pub written: u64,
}

impl State {
    /// The state at an entry: nothing is known but what the caller adds.
    pub fn new() -> Self {
        Self {
            regs: [TOP; 16],
            bytes: [u8::MAX; 16],
            slots: Arc::default(),
            flags: Flags::Unknown,
            facts: Arc::default(),
            touched: 0,
            has_room: false,
            recorded: false,
            written: 0,
        }
    }

    /// The place of the stack pointer.
    pub fn rsp(&self) -> Option<i32> {
        match self.regs[RSP as usize].kind {
            Kind::Stack(at) => Some(at),
            _ => None,
        }
    }

    /// Whether the frame pointer leads to the caller's frame pointer and the return address, as backtraces need it.
    pub fn has_frame(&self) -> bool {
        let Kind::Stack(at) = self.regs[RBP as usize].kind else { return false };
        self.slot(at, 8).kind == Kind::Init(RBP) && self.slot(at + 8, 8).kind == Kind::Return
    }

    /// What is in the frame.
    pub fn slot(&self, at: i32, size: i32) -> Val {
        match self.slots.binary_search_by_key(&at, |s| s.at) {
            Ok(i) if self.slots[i].size == size => self.slots[i].val,
            Ok(i) if self.slots[i].size == 8 && size == 4 => low_half(self.slots[i].val),
            // A byte of a vector.
            Ok(i) if self.slots[i].size == 16 && size == 1 => self.slots[i].val,
            Err(i) if size == 1 && i > 0 && self.slots[i - 1].size == 16 && at < self.slots[i - 1].at + 16 => self.slots[i - 1].val,
            _ => TOP,
        }
    }

    /// Forgets what is in a range of the frame.
    pub fn clear(&mut self, at: i32, size: i32) {
        let from = self.slots.partition_point(|s| s.at + s.size <= at);
        let to = self.slots.partition_point(|s| s.at < at + size);
        if from < to {
            Arc::make_mut(&mut self.slots).drain(from..to);
        }
    }

    /// Writes to the frame; the value of a vector is `TOP`.
    pub fn set_slot(&mut self, at: i32, size: i32, val: Val) {
        self.clear(at, size);
        if val != TOP && matches!(size, 4 | 8 | 16) {
            let i = self.slots.partition_point(|s| s.at < at);
            Arc::make_mut(&mut self.slots).insert(i, Slot { at, size, val });
        }
    }

    /// Adds what is known already to a new value.
    pub fn with_facts(&self, mut val: Val) -> Val {
        if val.sym != 0 {
            for f in self.facts.iter() {
                val = f.apply_to_unknown(val);
            }
        }
        val
    }

    /// Whether a fact is known.
    pub fn knows(&self, f: impl Fn(&Fact) -> bool) -> bool {
        self.facts.iter().any(f)
    }

    /// Whether a value is at least `n`.
    pub fn is_at_least(&self, v: Val, n: u64) -> bool {
        n == 0
            || match v.kind {
                Kind::Const(c) => c >= n,
                _ => self.knows(|f| matches!(f, Fact::AtLeast(s, least) if *s == v.sym && *least >= n)),
            }
    }

    /// Takes over what a check has established.
    pub fn learn(&mut self, fact: Fact) {
        if fact.syms()[0] == 0 || self.facts.contains(&fact) {
            return;
        }
        for v in &mut self.regs {
            *v = fact.apply_to_unknown(*v);
        }
        if self.slots.iter().any(|s| fact.apply_to_unknown(s.val) != s.val) {
            for s in Arc::make_mut(&mut self.slots) {
                s.val = fact.apply_to_unknown(s.val);
            }
        }
        let facts = Arc::make_mut(&mut self.facts);
        if facts.len() == MAX_FACTS {
            facts.remove(0);
        }
        facts.push(fact);
    }

    /// What holds where a condition does. `None`: it cannot.
    pub fn implied(&self, condition: ConditionCode) -> Option<Vec<Fact>> {
        use ConditionCode as C;
        let (left, right) = match self.flags {
            Flags::Compare { left, right } => (left, right),
            Flags::Add { of, add } if condition == C::ae => return Some(vec![Fact::NoWrap(of, add)]),
            Flags::Carry(carry) => {
                let holds = match condition {
                    C::b => carry,
                    C::ae => !carry,
                    _ => true,
                };
                return holds.then(Vec::new);
            }
            Flags::Both(a, b) if condition == C::ne => {
                let facts = self.facts.iter().filter_map(|f| match *f {
                    Fact::IfInMemory(s, x, y, memory) if s == a || s == b => Some(Fact::SumInMemory(x, y, memory)),
                    Fact::IfAtMost(s, x, NUMBER, n) if s == a || s == b => Some(Fact::AtMost(x, n)),
                    Fact::IfAtMost(s, x, y, n) if s == a || s == b => Some(Fact::SumAtMost(x, y, n)),
                    _ => None,
                });
                return Some(facts.collect());
            }
            _ => return Some(Vec::new()),
        };
        if let (Kind::Const(l), Kind::Const(r)) = (left.kind, right.kind) {
            let holds = match condition {
                C::b => l < r,
                C::be => l <= r,
                C::a => l > r,
                C::ae => l >= r,
                C::e => l == r,
                C::ne => l != r,
                _ => true,
            };
            return holds.then(Vec::new);
        }
        let mut facts = Vec::new();
        let possible = match condition {
            C::b => self.less(left, right, false, &mut facts),
            C::be => self.less(left, right, true, &mut facts),
            C::a => self.less(right, left, false, &mut facts),
            C::ae => self.less(right, left, true, &mut facts),
            C::e => {
                equal(left, right, &mut facts);
                equal(right, left, &mut facts);
                let differ = |size, n| matches!((size, n), (Kind::Length { .. } | Kind::TableSize(_), Kind::Const(c)) if c >= LARGEST);
                !differ(left.kind, right.kind) && !differ(right.kind, left.kind)
            }
            C::ne => {
                if let (Kind::IsSubtype(of, ty), Kind::Const(0)) = (left.kind, right.kind) {
                    facts.push(Fact::Typed(of, ty));
                }
                match (left.kind, right.kind) {
                    (Kind::IsEntrySubtype { table, index, ty }, Kind::Const(0)) => facts.push(Fact::EntryTyped(table, index, ty)),
                    (Kind::EntryType { table, index, .. }, Kind::Const(c)) if c == u64::from(ANY_TYPE) => {
                        facts.push(Fact::EntryNotNull(table, index));
                    }
                    (Kind::TableSize(t), Kind::Const(0)) => facts.push(Fact::InTable(crate::value::NUMBER, t)),
                    (_, Kind::Const(0)) => facts.push(Fact::AtLeast(left.sym, 1)),
                    _ => {}
                }
                true
            }
            _ => true,
        };
        possible.then_some(facts)
    }

    /// What follows from `a < b` or `a <= b`, and whether that can be.
    fn less(&self, a: Val, b: Val, or_equal: bool, facts: &mut Vec<Fact>) -> bool {
        let one = u64::from(!or_equal);
        if let Some(n) = b.kind.max() {
            let Some(n) = n.checked_sub(one) else { return false };
            facts.push(Fact::AtMost(a.sym, n));
            if let Kind::Const(c) = a.kind
                && c > n
            {
                return false;
            }
        }
        if let Kind::Const(c) = a.kind
            && let Some(c) = c.checked_add(one)
        {
            facts.push(Fact::AtLeast(b.sym, c));
            if b.kind.max().is_some_and(|m| m < c) {
                return false;
            }
        }
        match (a.kind, b.kind) {
            (Kind::Const(c), Kind::Length { .. } | Kind::TableSize(_)) if c >= LARGEST => return false,
            (_, Kind::TableSize(t)) if !or_equal => facts.push(Fact::InTable(a.identity(), t)),
            // The other way round of what is known.
            (Kind::TableSize(t), _) if or_equal && self.knows(|f| *f == Fact::InTable(b.identity(), t)) => return false,
            (_, Kind::Length { memory, less }) => {
                facts.push(Fact::InMemory(a.identity(), memory, less));
                let part = |of, add: u64| (add < LARGEST).then(|| Fact::InMemory(of, memory, add.saturating_add(less)));
                return self.sums(a.sym, facts, part, |x, y| Fact::SumInMemory(x, y, memory));
            }
            (_, Kind::Const(n)) => {
                let n = n.saturating_sub(one);
                let part = |of, add| n.checked_sub(add).map(|n| Fact::AtMost(of, n));
                return self.sums(a.sym, facts, part, |x, y| Fact::SumAtMost(x, y, n));
            }
            _ => {}
        }
        true
    }

    /// What is known of the parts of a sum that is bounded, and whether it can be.
    fn sums(&self, sum: Sym, facts: &mut Vec<Fact>, part: impl Fn(Sym, u64) -> Option<Fact>, parts: impl Fn(Sym, Sym) -> Fact) -> bool {
        if sum == 0 {
            return true;
        }
        for f in self.facts.iter() {
            match *f {
                Fact::Plus { sum: s, of, add, exact } if s == sum && (exact || self.knows(|f| *f == Fact::NoWrap(of, add))) => {
                    match part(of, add) {
                        Some(fact) => facts.push(fact),
                        None => return false,
                    }
                }
                Fact::Sum(s, x, y) if s == sum => facts.push(parts(x, y)),
                _ => {}
            }
        }
        true
    }

    /// What is known of a value where a condition holds.
    pub fn assuming(&self, val: Val, condition: ConditionCode) -> Option<Val> {
        Some(self.implied(condition)?.into_iter().fold(val, |v, f| f.apply(v)))
    }

    /// Joins another state into this one, at the block with this number; whether that changed it.
    pub fn join(&mut self, other: &Self, block: u64, widen: bool, is_subtype: &impl Fn(u32, u32) -> bool) -> bool {
        if self == other {
            return false;
        }
        let tag = JOINED | block << 24;
        let is_own = |s: Sym| s & !(LOW_HALF | LOW_BYTE) & !0xff_ffff == tag;
        let before = self.clone();
        // Pairs of identities that were given one of the join's own, with the first place of each.
        let mut groups: Vec<(Sym, Sym, Sym)> = Vec::new();
        let mut merge = |a: Val, b: Val, place: u64| -> Val {
            // What the other state says about values of this join is of the last time around.
            let b_kind = if b.kind.refers_to(is_own) { Kind::Top } else { b.kind };
            let kind = a.kind.join(b_kind, widen, is_subtype);
            if a.sym == b.sym && !is_own(a.sym) && a.sym != 0 {
                return Val { kind, sym: a.sym };
            }
            if kind == Kind::Top && a.sym == 0 {
                return TOP;
            }
            let sym = match groups.iter().find(|g| (g.0, g.1) == (a.sym, b.sym) && a.sym != 0 && b.sym != 0) {
                Some(g) => g.2,
                None => {
                    let sym = tag | place;
                    groups.push((a.sym, b.sym, sym));
                    sym
                }
            };
            Val { kind, sym }
        };
        for i in 0..16 {
            self.regs[i] = merge(before.regs[i], other.regs[i], i as u64);
        }
        if before.slots != other.slots {
            let mut slots = Vec::with_capacity(before.slots.len().min(other.slots.len()));
            let mut rest = other.slots.iter().peekable();
            for s in before.slots.iter() {
                while rest.next_if(|o| o.at < s.at).is_some() {}
                if let Some(o) = rest.peek()
                    && o.at == s.at
                    && o.size == s.size
                {
                    let val = merge(s.val, o.val, 16 + (-(i64::from(s.at)) as u64 & 0xf_ffff));
                    if val != TOP {
                        slots.push(Slot { val, ..*s });
                    }
                }
            }
            self.slots = Arc::new(slots);
        } else if before.slots.iter().any(|s| is_own(s.val.sym) || s.val.kind.refers_to(is_own)) {
            let slots = before.slots.iter().map(|s| {
                let val = merge(s.val, s.val, 16 + (-(i64::from(s.at)) as u64 & 0xf_ffff));
                Slot { val, ..*s }
            });
            self.slots = Arc::new(slots.filter(|s| s.val != TOP).collect());
        }
        if self.flags != other.flags {
            self.flags = Flags::Unknown;
        }
        let refers = |f: &Fact| f.syms().into_iter().any(is_own);
        if self.facts != other.facts || self.facts.iter().any(refers) {
            let facts: Vec<Fact> = self.facts.iter().copied().filter(|f| !refers(f) && holds(f, &other.facts)).collect();
            self.facts = Arc::new(facts);
        }
        for (own, other) in self.bytes.iter_mut().zip(&other.bytes) {
            *own = (*own).max(*other);
        }
        self.touched = self.touched.max(other.touched);
        self.has_room &= other.has_room;
        self.recorded &= other.recorded;
        self.written &= other.written;
        *self != before
    }
}

/// Whether a fact follows from others.
fn holds(fact: &Fact, facts: &[Fact]) -> bool {
    facts.iter().any(|f| match (f, fact) {
        (Fact::AtMost(a, n), Fact::AtMost(b, m)) => a == b && n <= m,
        (Fact::AtLeast(a, n), Fact::AtLeast(b, m)) => a == b && n >= m,
        (a, b) => a == b,
    })
}

/// What follows from two values being equal.
fn equal(a: Val, b: Val, facts: &mut Vec<Fact>) {
    match (a.kind, b.kind) {
        (Kind::TypeIdOf(of), Kind::TypeId(ty)) => facts.push(Fact::Typed(of, ty)),
        (Kind::EntryType { table, index, .. }, Kind::Const(ty)) if ty < u64::from(ANY_TYPE) => {
            facts.push(Fact::EntryTyped(table, index, ty as u32));
        }
        (Kind::TagOf(of), Kind::Tag(tag)) => facts.push(Fact::Tagged(of, tag)),
        (_, Kind::Const(n)) => facts.extend([Fact::AtMost(a.sym, n), Fact::AtLeast(a.sym, n)]),
        _ => {}
    }
}
