//! Addresses: which memory an operand can mean, what is read there, and whether it may be written.

use super::{Prover, Step};
use crate::abi::{Place, RCX, RDX, RSI, Ty};
use crate::layout::Field;
use crate::program::Role;
use crate::state::{Fact, State};
use crate::value::{ANY_TYPE, Kind, NUMBER, OWN, TOP, U32, Val, low_half};
use iced_x86::{Instruction, Register};
use wasmc_environ::builtins::BUILTINS;
use wasmc_environ::limits::{MEMORY_GUARD, STATIC_MEMORY_RESERVATION};
use wasmc_environ::vmlayout::{EXN_PAYLOAD_OFFSET, VMFuncRef, offsets};
use wasmc_environ::vmoffsets::HIDDEN_IN_MEMORY;
use wasmc_environ::{MemoryIndex, TagIndex, TrapCode, TypeIndex};

/// An address: a value and a distance.
#[derive(Copy, Clone, Debug)]
pub struct Address {
    pub base: Val,
    pub offset: i64,
}

const GUARD: i64 = MEMORY_GUARD as i64;

impl Prover<'_> {
    /// The sum of two values.
    pub(super) fn add(&self, a: Val, b: Val) -> Kind {
        self.add_ordered(a, b).or_else(|| self.add_ordered(b, a)).unwrap_or(Kind::Top)
    }

    fn add_ordered(&self, a: Val, b: Val) -> Option<Kind> {
        if let (Some(x), Some(y)) = (a.kind.max(), b.kind.max()) {
            if let (Kind::Const(x), Kind::Const(y)) = (a.kind, b.kind) {
                return Some(Kind::Const(x.wrapping_add(y)));
            }
            return Some(x.checked_add(y).filter(|n| *n < 1 << 62).map_or(Kind::Top, Kind::Max));
        }
        if let Kind::Const(c) = b.kind {
            return Some(self.offset(a.kind, c as i64));
        }
        Some(match (a.kind, b.kind) {
            (Kind::Heap { memory, low: 0, high: 0 }, n) if b.sym != 0 && !self.is_static(memory) && n.max().is_some() => {
                Kind::HeapAt { memory, index: b.sym, max: n.max()? }
            }
            (Kind::Heap { memory, low, high }, n) if n.max().is_some() => {
                Kind::Heap { memory, low, high: high.checked_add(i64::try_from(n.max()?).ok()?)? }
            }
            (Kind::Heap { memory, low, high }, Kind::Checked { memory: m, extent, poison }) if low == high && m == memory => {
                Kind::HeapChecked { memory, extent, poison, offset: low }
            }
            (Kind::Heap { memory, low, high }, Kind::Guarded { max, poison }) if low == high => {
                Kind::HeapGuarded { memory, max, poison, offset: low }
            }
            (Kind::TableBase(table), Kind::Times8 { index, max }) => Kind::Element { table, index, max },
            (Kind::Text(table), Kind::Times8 { index, max }) => Kind::Entry { table, index, max },
            (Kind::Text(t), Kind::EntryOffset { table, index, max }) if t == table => Kind::EntryCode { table, index, max },
            (Kind::Text(t), Kind::JumpOffset { table, max }) if t == table => Kind::JumpTarget { table, max },
            (Kind::Stack(at), n) if n.max().is_some_and(|m| m < 256) => Kind::StackSpan { at, max: n.max()? as i32 },
            (Kind::Text(at), n) if n.max().is_some_and(|m| m < 1 << 32) => Kind::Constants { at, max: n.max()? },
            (Kind::Init(r @ (RSI | RDX)), Kind::Init(RCX)) if self.entry.role == Role::Builtin => Kind::Raw { register: r, end: true },
            _ => return None,
        })
    }

    /// A value and a number.
    pub(super) fn offset(&self, kind: Kind, n: i64) -> Kind {
        let sum = |a: i32| i64::from(a).checked_add(n).and_then(|s| i32::try_from(s).ok());
        if n == 0 {
            return kind;
        }
        match kind {
            Kind::Const(c) => Kind::Const(c.wrapping_add(n as u64)),
            Kind::Max(m) if n > 0 => m.checked_add(n as u64).filter(|m| *m < 1 << 62).map_or(Kind::Top, Kind::Max),
            Kind::Stack(at) => sum(at).map_or(Kind::Top, Kind::Stack),
            Kind::VmCtx(at) => sum(at).map_or(Kind::Top, |at| self.field_address(at)),
            Kind::Area(at) => sum(at).map_or(Kind::Top, Kind::Area),
            Kind::Text(at) => at.checked_add(n).map_or(Kind::Top, Kind::Text),
            Kind::TableBase(table) if n > 0 && n % 8 == 0 => {
                let index = n as u64 / 8;
                Kind::Element { table, index: NUMBER | index, max: index }
            }
            // A single address is exact, whatever the sums on the way to it are.
            Kind::Heap { memory, low, high } if low == high => {
                let at = low.wrapping_add(n);
                match self.in_context(memory, at) {
                    Some(field) => self.field_address(field),
                    None => Kind::Heap { memory, low: at, high: at },
                }
            }
            Kind::Heap { memory, low, high } => match (low.checked_add(n), high.checked_add(n)) {
                (Some(low), Some(high)) => Kind::Heap { memory, low, high },
                _ => Kind::Top,
            },
            Kind::HeapAt { memory, max, .. } => self.offset(Kind::Heap { memory, low: 0, high: i64::try_from(max).unwrap_or(i64::MAX) }, n),
            Kind::HeapChecked { memory, extent, poison, offset } => {
                offset.checked_add(n).map_or(Kind::Top, |offset| Kind::HeapChecked { memory, extent, poison, offset })
            }
            Kind::HeapGuarded { memory, max, poison, offset } => {
                offset.checked_add(n).map_or(Kind::Top, |offset| Kind::HeapGuarded { memory, max, poison, offset })
            }
            Kind::Length { memory, less } if n < 0 => {
                let less = less.saturating_add(n.unsigned_abs());
                // Only what the memory always has may be taken away without wrapping.
                let ty = self.program.module.memories[MemoryIndex::from_u32(memory).index()];
                if ty.min_bytes().is_some_and(|min| less <= min) { Kind::Length { memory, less } } else { Kind::Top }
            }
            _ => Kind::Top,
        }
    }

    /// What the module's functions take as their hidden parameter.
    pub(super) fn own_hidden(&self) -> Kind {
        let at = i64::from(HIDDEN_IN_MEMORY);
        self.program.layout.memory_behind.map_or(Kind::VmCtx(0), |_| Kind::Heap { memory: 0, low: at, high: at })
    }

    /// What place of the `VMContext` it is that lies before the base of a memory, if the memory lies right behind it.
    fn in_context(&self, memory: u32, at: i64) -> Option<i32> {
        let distance = self.program.layout.memory_behind.filter(|_| memory == 0)?;
        i32::try_from(i64::from(distance) + at).ok().filter(|field| (0..distance).contains(field))
    }

    /// The address, from the `VMContext` if it lies there.
    fn addressed_from_context(&self, a: Address) -> Address {
        match a.base.kind {
            Kind::Heap { memory, low, high } if low == high => match self.in_context(memory, low.wrapping_add(a.offset)) {
                Some(field) => Address { base: Val { kind: Kind::VmCtx(0), sym: 0 }, offset: field.into() },
                None => a,
            },
            _ => a,
        }
    }

    /// The address of a field of the `VMContext`: of those that stand for something by themselves, that.
    fn field_address(&self, at: i32) -> Kind {
        match self.program.layout.field(self.program.module, at) {
            Some((Field::Func(f), 0)) => Kind::Func(self.program.canonical(self.program.module.functions[f as usize])),
            Some((Field::Tag(tag), 0)) => Kind::Tag(tag),
            _ => Kind::VmCtx(at),
        }
    }

    /// A value times a power of two.
    pub(super) fn scaled(&self, v: Val, factor: u64) -> Kind {
        match v.kind {
            _ if factor == 1 => v.kind,
            Kind::Const(c) => Kind::Const(c.wrapping_mul(factor)),
            kind if factor == 8 => Kind::Times8 { index: v.identity(), max: kind.max().unwrap_or(u64::MAX) },
            kind => kind.max().and_then(|m| m.checked_mul(factor)).map_or(Kind::Top, Kind::Max),
        }
    }

    /// The address of an instruction's memory operand.
    pub(super) fn address(&self, s: &State, i: &Instruction) -> Step<Address> {
        if i.is_ip_rel_memory_operand() {
            return Ok(Address { base: Val { kind: Kind::Text(i.ip_rel_memory_address() as i64), sym: 0 }, offset: 0 });
        }
        let register = |r: Register| (r != Register::None).then_some(r);
        let displacement = i.memory_displacement64() as i64;
        for r in [register(i.memory_base()), register(i.memory_index())].into_iter().flatten() {
            if !r.is_gpr64() {
                return Err("address of less than 64 bits".into());
            }
        }
        let zero = Val { kind: Kind::Const(0), sym: 0 };
        let base = register(i.memory_base()).map_or(zero, |r| s.regs[r.number()]);
        let Some(index) = register(i.memory_index()) else {
            return Ok(self.addressed_from_context(Address { base, offset: displacement }));
        };
        let index = s.regs[index.number()];
        let factor = u64::from(i.memory_index_scale());
        // The index of a jump table, and types by the number in a closed table.
        if factor == 4
            && let Kind::Text(table) = base.kind
            && displacement == 0
        {
            let max = index.kind.max().ok_or("index of a jump table without a bound")?;
            return Ok(Address { base: Val { kind: Kind::JumpPlace { table, max }, sym: 0 }, offset: 0 });
        }
        if factor == 4
            && base.kind == Kind::TypeIds
            && displacement == 0
            && let Kind::EntryType { table, index, .. } = index.kind
        {
            return Ok(Address { base: Val { kind: Kind::EntryTypePlace { table, index }, sym: 0 }, offset: 0 });
        }
        let index = Val { kind: self.scaled(index, factor), sym: if factor == 1 { index.sym } else { 0 } };
        // A field is found by the whole sum.
        if let Kind::Const(c) = index.kind
            && !matches!(base.kind, Kind::Const(_))
        {
            return Ok(self.addressed_from_context(Address { base, offset: displacement.wrapping_add(c as i64) }));
        }
        let kind = self.add(base, index);
        Ok(self.addressed_from_context(Address { base: Val { kind, sym: 0 }, offset: displacement }))
    }

    /// The address as a value.
    pub(super) fn effective(&self, a: Address) -> Kind {
        self.offset(a.base.kind, a.offset)
    }

    /// Whether the memory lies in a reservation that holds whatever 32-bit index and offset give.
    pub(super) fn is_static(&self, memory: u32) -> bool {
        let ty = self.program.module.memories[memory as usize];
        self.program.static_memory && ty.can_be_static()
    }

    fn heap_limit(&self, memory: u32) -> i64 {
        match self.is_static(memory) {
            true => STATIC_MEMORY_RESERVATION as i64,
            // What it has at least.
            false => self.program.module.memories[memory as usize].min_bytes().and_then(|b| i64::try_from(b).ok()).unwrap_or(0),
        }
    }

    /// Whether an access lies in a memory with its guards; `None` if the address is in none.
    fn in_heap(&self, kind: Kind, size: i64) -> Option<bool> {
        let behind = |memory: u32, end: i64| end <= self.heap_limit(memory) + GUARD;
        // Where the `VMContext` lies in front of a memory, nothing may be reached there as if it were the guard.
        let front = |memory: u32| if memory == 0 && self.program.layout.memory_behind.is_some() { 0 } else { -GUARD };
        Some(match kind {
            Kind::Heap { memory, low, high } => low >= front(memory) && high.checked_add(size).is_some_and(|end| behind(memory, end)),
            Kind::HeapAt { memory, max, .. } => {
                i64::try_from(max).ok().and_then(|m| m.checked_add(size)).is_some_and(|end| behind(memory, end))
            }
            Kind::HeapChecked { memory, extent, poison, offset } => {
                let fits = offset >= front(memory) && i128::from(offset) + i128::from(size) - i128::from(extent) <= i128::from(GUARD);
                fits && (poison == 0 || poison.checked_add(offset).is_some_and(|at| (front(memory)..=0).contains(&at)))
            }
            Kind::HeapGuarded { memory, max, poison, offset } => {
                let end = i64::try_from(max).ok().and_then(|m| m.checked_add(offset)?.checked_add(size));
                offset >= 0
                    && end.is_some_and(|end| behind(memory, end))
                    && poison.checked_add(offset).is_some_and(|at| (front(memory)..=0).contains(&at))
            }
            _ => return None,
        })
    }

    /// What a read of `size` bytes gives.
    pub(super) fn read(&mut self, s: &State, i: &Instruction, a: Address, size: i64) -> Step<Val> {
        let program = self.program;
        let module = program.module;
        let at = self.effective(a);
        if let Some(inside) = self.in_heap(at, size) {
            self.faulting.insert(i.ip() as u32);
            let kind = if size <= 4 { Kind::Max(if size == 4 { U32 } else { (1 << (8 * size)) - 1 }) } else { Kind::Top };
            return self.heap_access(s, inside).map(|()| Val { kind, sym: 0 });
        }
        if let Kind::VmCtx(start) = a.base.kind {
            let kind = self.read_field(i64::from(start) + a.offset, size)?;
            return Ok(if size == 4 { low_half(Val { kind, sym: 0 }) } else { Val { kind, sym: 0 } });
        }
        let unproved = || format!("read of {}", show(at));
        let sized = |kind: Kind| Val { kind, sym: 0 };
        let field = |offset: i64, size: i64| (offset, size);
        match at {
            Kind::Stack(place) => {
                self.in_stack(s, place, size)?;
                return Ok(match size {
                    4 | 8 => s.slot(place, size as i32),
                    1 | 16 => Val { kind: s.slot(place, size as i32).kind, sym: 0 },
                    _ => TOP,
                });
            }
            Kind::Text(place) => {
                if size == 4
                    && let Some((table, index)) = self.entry_at(place)
                {
                    let (index, max) = (NUMBER | index, index);
                    return Ok(sized(match (place - table) % 8 {
                        0 => Kind::EntryOffset { table, index, max },
                        _ => Kind::EntryType { table, index, max },
                    }));
                }
                let constant = usize::try_from(place).ok().and_then(|at| program.text.get(at..at.checked_add(size as usize)?));
                match constant {
                    Some(bytes) if matches!(size, 4 | 8) => {
                        let n = bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b));
                        return Ok(sized(Kind::Const(n)));
                    }
                    _ => {}
                }
                return match place >= -program.rodata && place + size <= program.text.len() as i64 {
                    true => Ok(TOP),
                    false => Err("read outside text and tables".into()),
                };
            }
            Kind::StackSpan { at, max } => {
                self.in_stack(s, at, i64::from(max) + size)?;
                return Ok(TOP);
            }
            Kind::Constants { at, max } => {
                return match at >= -program.rodata && at + max as i64 + size <= program.text.len() as i64 {
                    true => Ok(TOP),
                    false => Err("read outside text and tables".into()),
                };
            }
            Kind::Inside(table) => return self.read_element(table, size).map(sized),
            Kind::TableBase(table) => {
                return match self.is_inside(s, table, NUMBER, 0) {
                    true => self.read_element(table, size).map(sized),
                    false => Err("read of a table's element that need not exist".into()),
                };
            }
            Kind::Element { table, index, max } => {
                return match self.is_inside(s, table, index, max) {
                    true => self.read_element(table, size).map(sized),
                    false => Err("read of a table's element that need not exist".into()),
                };
            }
            Kind::JumpPlace { table, max } if size == 4 => return Ok(sized(Kind::JumpOffset { table, max })),
            _ => {}
        }
        // No address that low is ever mapped.
        if let Kind::Const(n) = at
            && n < size_of::<VMFuncRef>() as u64
            && self.is_null_trap(i.ip() as u32)
        {
            self.ends = true;
            return Ok(TOP);
        }
        // Structures, of which only some fields may be read.
        let offset = a.offset;
        let kind = match (a.base.kind, field(offset, size)) {
            (Kind::Store, (o, 8)) if o == i64::from(offsets::STORE_HOST_STACK_LIMIT) => Kind::StackLimit,
            (Kind::Store, (o, 8)) if o == i64::from(offsets::STORE_RAISE) => Kind::Raise,
            (Kind::Store, (o, 8)) if o == i64::from(offsets::STORE_TAIL_ENTRY) && self.is_leaving() => Kind::TailEntry,
            (Kind::Store, (o, 8)) if o == i64::from(offsets::STORE_TAIL_CODE) && self.entry.role == Role::TailEntry => Kind::CalleeCode,
            (Kind::Store, (o, 8)) if o == i64::from(offsets::STORE_TAIL_CTX) && self.entry.role == Role::TailEntry => Kind::CalleeContext,
            (Kind::Store, (o, 8)) if o == i64::from(offsets::STORE_TAIL_ARGS) && self.entry.role == Role::TailEntry => Kind::Array,
            (Kind::Store, (o, 8)) if is_counter(o) => Kind::Top,
            (Kind::Builtins, (o, 8)) if o % 8 == 0 && (0..BUILTINS.len() as i64).contains(&(o / 8)) => Kind::Builtin((o / 8) as u32),
            (Kind::TypeIds, (o, 4)) if o % 4 == 0 && (0..module.types.len() as i64).contains(&(o / 4)) => {
                Kind::TypeId(program.canonical(TypeIndex::from_u32((o / 4) as u32)))
            }
            (Kind::EntryTypePlace { table, index }, (0, 4)) => {
                if !s.knows(|f| *f == Fact::EntryNotNull(table, index)) {
                    return Err("the type of an entry that can be null".into());
                }
                Kind::EntryTypeId { table, index }
            }
            (Kind::Memory(memory), (o, 8)) => self.memory_field(memory, o).ok_or_else(unproved)?,
            (Kind::Table(table), (o, 8)) => table_field(table, o).ok_or_else(unproved)?,
            (Kind::Global(g), (o, size)) => self.global_field(g, o, size).ok_or_else(unproved)?,
            (Kind::Func(ty), (o, size)) => {
                let of = a.base.sym;
                match (o, size) {
                    (o, 8) if o == i64::from(offsets::FUNC_REF_CODE) => Kind::CodeOf(of, ty),
                    (o, 8) if o == i64::from(offsets::FUNC_REF_CTX) => Kind::ContextOf(of),
                    (o, 4) if o == i64::from(offsets::FUNC_REF_TYPE_ID) => Kind::TypeIdOf(of),
                    _ => return Err(unproved()),
                }
            }
            (Kind::Entry { table, index, max }, (o @ (0 | 4), 4)) => {
                let closed = program.closed.get(&table).ok_or("no closed table is there")?;
                if max >= closed.len {
                    return Err("read of a closed table's entry that need not exist".into());
                }
                if o == 0 { Kind::EntryOffset { table, index, max } } else { Kind::EntryType { table, index, max } }
            }
            (Kind::Exit, (o, 8)) => match o as i32 {
                offsets::EXIT_ARRAY_FN => Kind::ExitArray,
                offsets::EXIT_TYPED_FN => Kind::ExitTyped,
                offsets::EXIT_STORE => Kind::Store,
                _ => return Err(unproved()),
            },
            (Kind::Exception(_), (o, 8)) if o == i64::from(offsets::EXN_TAG) => Kind::TagOf(a.base.sym),
            (Kind::Exception(_), (o, size)) => match self.payload(s, a.base, o, size)? {
                Ty::Func(ty) => Kind::Func(ty),
                _ => Kind::Top,
            },
            (Kind::Array, (o, size)) => match self.array_slot(&self.entry.signature.params, o, size)? {
                Ty::Func(ty) => Kind::Func(ty),
                _ => Kind::Top,
            },
            (kind @ (Kind::Init(_) | Kind::Raw { .. }), (o, size)) if self.entry.role == Role::Builtin => {
                if self.raw_access(s, kind, o, size)? == RDX {
                    self.raw_source = true;
                }
                self.raw.insert(i.ip() as u32);
                Kind::Top
            }
            _ => return Err(unproved()),
        };
        let val = Val { kind, sym: 0 };
        Ok(if size == 4 && !matches!(kind, Kind::EntryOffset { .. }) { low_half(val) } else { val })
    }

    /// Checks a write of `size` bytes.
    pub(super) fn write(&mut self, s: &mut State, i: &Instruction, a: Address, size: i64, val: Val) -> Step {
        let at = self.effective(a);
        if let Some(inside) = self.in_heap(at, size) {
            self.faulting.insert(i.ip() as u32);
            if val.kind.is_address() {
                return Err(format!("{} is written to a memory", show(val.kind)));
            }
            return self.heap_access(s, inside);
        }
        if let Kind::VmCtx(start) = a.base.kind {
            let field = i32::try_from(i64::from(start) + a.offset).ok().and_then(|at| self.program.layout.field(self.program.module, at));
            return match field {
                Some((Field::Calls, 0)) if size == 8 && self.program.meter && !val.kind.is_address() => Ok(()),
                Some((Field::Global(g), inside)) => self.write_global(g, i64::from(inside), size, val),
                _ => Err("a write to a part of the `VMContext` that is not the code's".into()),
            };
        }
        let unproved = || format!("write to {}", show(at));
        match at {
            Kind::Stack(place) => {
                self.in_stack(s, place, size)?;
                s.set_slot(place, size as i32, val);
                s.touched = s.touched.min(place);
                return Ok(());
            }
            Kind::TableBase(table) => {
                return match self.is_inside(s, table, NUMBER, 0) {
                    true => self.write_element(table, size, val),
                    false => Err("write to a table's element that need not exist".into()),
                };
            }
            Kind::Area(place) => return self.write_area(s, place, size, val),
            Kind::Inside(table) => return self.write_element(table, size, val),
            Kind::Element { table, index, max } => {
                return match self.is_inside(s, table, index, max) {
                    true => self.write_element(table, size, val),
                    false => Err("write to a table's element that need not exist".into()),
                };
            }
            _ => {}
        }
        let o = a.offset;
        match a.base.kind {
            Kind::Store if o == i64::from(offsets::STORE_LAST_EXIT_FP) && size == 8 => {
                if !s.has_frame() || val.kind != s.regs[crate::abi::RBP as usize].kind {
                    return Err("another frame is recorded than the one that is left".into());
                }
                s.recorded = true;
                Ok(())
            }
            Kind::Store if is_counter(o) && size == 8 && self.program.meter && !val.kind.is_address() => Ok(()),
            Kind::Global(g) => self.write_global(g, o, size, val),
            Kind::Exception(tag) => {
                if o == i64::from(offsets::EXN_FLAGS) && size == 4 {
                    return match val.kind {
                        Kind::Const(1) => Ok(()),
                        _ => Err("other flags of an exception".into()),
                    };
                }
                if tag == ANY_TYPE {
                    return Err("the payload of an exception is changed".into());
                }
                let ty = self.payload(s, a.base, o, size)?;
                self.fits(ty, val)
            }
            Kind::Array => {
                let ty = self.array_slot(&self.entry.signature.results, o, size)?;
                self.fits(ty, val)
            }
            kind @ (Kind::Init(_) | Kind::Raw { .. }) if self.entry.role == Role::Builtin => {
                if self.raw_access(s, kind, o, size)? != RSI {
                    return Err("a write to the source of a copy".into());
                }
                self.raw.insert(i.ip() as u32);
                Ok(())
            }
            _ => Err(unproved()),
        }
    }

    fn heap_access(&self, s: &State, inside: bool) -> Step {
        if !inside {
            return Err("an access that need not lie in the memory or its guards".into());
        }
        if !s.has_frame() {
            return Err("an access that may fault before the frame is complete".into());
        }
        Ok(())
    }

    fn in_stack(&self, s: &State, place: i32, size: i64) -> Step {
        let rsp = s.rsp().ok_or("the place of the stack pointer is not known")?;
        let end = i64::from(place) + size;
        if place < rsp || end > i64::from(8 + self.incoming()) {
            return Err("an access to the stack outside the function's frame".into());
        }
        Ok(())
    }

    /// Whether a fault at this instruction is the trap of a reference that is null.
    fn is_null_trap(&self, at: u32) -> bool {
        let traps = self.program.contents.traps();
        let null = [TrapCode::IndirectCallToNull, TrapCode::NullFunctionReference, TrapCode::NullReference];
        traps.binary_search_by_key(&at, |t| t.code_offset).is_ok_and(|n| null.iter().any(|code| *code as u32 == traps[n].code))
    }

    fn is_leaving(&self) -> bool {
        matches!(self.entry.role, Role::ExitArray | Role::ExitTyped | Role::Uncompiled(_))
    }

    /// The closed table with an entry at a place of the text, and which one.
    fn entry_at(&self, place: i64) -> Option<(i64, u64)> {
        let inside = |start: i64, len: u64| u64::try_from(place - start).ok().map(|d| d / 8).filter(|n| *n < len);
        self.program.closed.iter().find_map(|(start, t)| Some((*start, inside(*start, t.len)?)))
    }

    /// The identity of a reference to an own function, if the address is that of one.
    pub(super) fn own_function(&self, a: Address) -> Option<u64> {
        let a = self.addressed_from_context(a);
        let Kind::VmCtx(start) = a.base.kind else { return None };
        let at = i32::try_from(i64::from(start) + a.offset).ok()?;
        match self.program.layout.field(self.program.module, at)? {
            (Field::Func(f), 0) => Some(OWN | u64::from(f)),
            _ => None,
        }
    }

    fn read_field(&self, place: i64, size: i64) -> Step<Kind> {
        let module = self.program.module;
        let field = i32::try_from(place).ok().and_then(|place| self.program.layout.field(module, place));
        let (field, inside) = field.ok_or("read of a part of the `VMContext` that is not the code's")?;
        let kind = match (field, inside, size) {
            (Field::Store, 0, 8) => Kind::Store,
            (Field::Builtins, 0, 8) => Kind::Builtins,
            (Field::TypeIds, 0, 8) => Kind::TypeIds,
            (Field::Calls, 0, 8) if self.program.meter => Kind::Top,
            (Field::Memory(m), inside, 8) => self.memory_field(m, inside.into()).ok_or("read inside a field")?,
            (Field::MemoryPointer(m), 0, 8) => Kind::Memory(m),
            // Its entries are beside the text, and here is nothing: a base that is null.
            (Field::Table(t), ..) if module.closed_table(wasmc_environ::TableIndex::from_u32(t)).is_some() => {
                return Err("read of the empty definition of a closed table".into());
            }
            (Field::Table(t), inside, 8) => table_field(t, inside.into()).ok_or("read inside a field")?,
            (Field::TablePointer(t), 0, 8) => Kind::Table(t),
            (Field::Import(f), offsets::IMPORT_CODE, 8) => Kind::ImportCode(f),
            (Field::Import(f), offsets::IMPORT_CTX, 8) => Kind::ImportContext(f),
            (Field::Import(f), offsets::IMPORT_FUNC_REF, 8) => Kind::Func(self.program.canonical(module.functions[f as usize])),
            (Field::Func(f), offsets::FUNC_REF_CODE, 8) => {
                Kind::CodeOf(OWN | u64::from(f), self.program.canonical(module.functions[f as usize]))
            }
            (Field::Func(f), offsets::FUNC_REF_CTX, 8) => Kind::ContextOf(OWN | u64::from(f)),
            (Field::Func(f), offsets::FUNC_REF_TYPE_ID, 4) => Kind::TypeIdOf(OWN | u64::from(f)),
            (Field::Global(g), inside, size) => self.global_field(g, inside.into(), size).ok_or("read inside a field")?,
            (Field::GlobalPointer(g), 0, 8) => Kind::Global(g),
            (Field::TagPointer(t), 0, 8) => Kind::Tag(t),
            _ => return Err("read of a part of the `VMContext` that is not the code's".into()),
        };
        Ok(kind)
    }

    fn memory_field(&self, memory: u32, offset: i64) -> Option<Kind> {
        match offset as i32 {
            offsets::MEMORY_BASE => Some(Kind::Heap { memory, low: 0, high: 0 }),
            offsets::MEMORY_LENGTH => Some(Kind::Length { memory, less: 0 }),
            _ => None,
        }
    }

    fn global_type(&self, g: u32) -> Ty {
        Ty::of(self.program.module, self.program.module.globals[g as usize].content)
    }

    fn global_field(&self, g: u32, offset: i64, size: i64) -> Option<Kind> {
        match self.global_type(g) {
            Ty::Func(ty) => (offset == 0 && size == 8).then_some(Kind::Func(ty)),
            _ => (offset >= 0 && offset + size <= 16).then_some(Kind::Top),
        }
    }

    fn write_global(&self, g: u32, offset: i64, size: i64, val: Val) -> Step {
        if !self.program.module.globals[g as usize].mutable {
            return Err("write to a global that does not change".into());
        }
        let bytes = match self.global_type(g) {
            Ty::Func(_) => 8,
            Ty::Int { bytes } | Ty::Vector { bytes } => i64::from(bytes),
        };
        if offset != 0 || size != bytes {
            return Err("write to a part of a global".into());
        }
        self.fits(self.global_type(g), val)
    }

    /// Whether a value may stand where one of a type is expected.
    pub(super) fn fits(&self, ty: Ty, val: Val) -> Step {
        match ty {
            Ty::Func(wanted) => match val.kind {
                Kind::Func(known) if self.program.is_subtype(known, wanted) => Ok(()),
                Kind::Const(0) => Ok(()),
                Kind::Func(_) => Err("a function reference of another type than declared".into()),
                kind => Err(format!("{} in the place of a function reference", show(kind))),
            },
            _ if val.kind.is_address() => Err(format!("{} in the place of a number", show(val.kind))),
            _ => Ok(()),
        }
    }

    pub(super) fn is_inside(&self, s: &State, table: u32, index: u64, max: u64) -> bool {
        let ty = self.program.module.tables[table as usize];
        max < ty.limits.min || (index != 0 && s.knows(|f| *f == Fact::InTable(index, table)))
    }

    fn read_element(&self, table: u32, size: i64) -> Step<Kind> {
        match (self.program.element_type(table), size) {
            (Some(Ty::Func(ty)), 8) => Ok(Kind::Func(ty)),
            (Some(Ty::Int { .. }), 4) => Ok(Kind::Max(U32)),
            _ => Err("read of a part of a table's element".into()),
        }
    }

    fn write_element(&self, table: u32, size: i64, val: Val) -> Step {
        match (self.program.element_type(table), size) {
            (Some(ty @ Ty::Func(_)), 8) | (Some(ty @ Ty::Int { .. }), 4) => self.fits(ty, val),
            _ => Err("write to a part of a table's element".into()),
        }
    }

    fn write_area(&self, s: &mut State, place: i32, size: i64, val: Val) -> Step {
        let signature = &self.entry.signature;
        if place < 0 || i64::from(place) + size > i64::from(signature.area) {
            return Err("write outside the area for results".into());
        }
        for (n, (ty, at)) in signature.results.iter().enumerate() {
            let Place::Memory(at) = *at else { continue };
            if place + size as i32 <= at || at + 8 <= place {
                continue;
            }
            if let Ty::Func(_) = ty {
                if place != at || size != 8 {
                    return Err("write to a part of a result".into());
                }
                self.fits(*ty, val)?;
                s.written |= 1u64.checked_shl(n as u32).unwrap_or(0);
            } else if val.kind.is_address() {
                return Err(format!("{} as a result", show(val.kind)));
            }
        }
        Ok(())
    }

    /// The type of what is at an offset of an exception.
    fn payload(&self, s: &State, exception: Val, offset: i64, size: i64) -> Step<Ty> {
        let tag = match exception.kind {
            Kind::Exception(tag) if tag != ANY_TYPE => tag,
            _ => s
                .facts
                .iter()
                .find_map(|f| match f {
                    Fact::Tagged(of, tag) if *of == exception.sym && *of != 0 => Some(*tag),
                    _ => None,
                })
                .ok_or("the payload of an exception whose tag is not known")?,
        };
        let params = self.program.module.tag_params(TagIndex::from_u32(tag));
        let params: Vec<(Ty, Place)> = params.iter().map(|t| (Ty::of(self.program.module, *t), Place::Vector)).collect();
        self.array_slot(&params, offset - i64::from(EXN_PAYLOAD_OFFSET), size)
    }

    /// The type of what is at an offset of an array of values.
    fn array_slot(&self, types: &[(Ty, Place)], offset: i64, size: i64) -> Step<Ty> {
        let slot = usize::try_from(offset / 16).ok().filter(|_| offset >= 0).and_then(|n| types.get(n));
        let Some((ty, _)) = slot else { return Err("an access outside an array of values".into()) };
        let inside = offset % 16;
        if inside + size > 16 || (matches!(ty, Ty::Func(_)) && (inside, size) != (0, 8)) {
            return Err("an access to a part of a value".into());
        }
        Ok(*ty)
    }

    /// Which of the arguments of `move_bytes` is accessed, within its length.
    fn raw_access(&self, s: &State, kind: Kind, offset: i64, size: i64) -> Step<u8> {
        let length = Val { kind: Kind::Top, sym: crate::value::ENTRY | (u64::from(RCX) + 1) };
        let (register, needed) = match kind {
            Kind::Init(r @ (RSI | RDX)) if offset >= 0 => (r, offset + size),
            Kind::Raw { register, end: true } if offset < 0 && offset + size <= 0 => (register, -offset),
            _ => return Err("an access outside the bytes of a copy".into()),
        };
        match s.is_at_least(length, needed as u64) {
            true => Ok(register),
            false => Err("an access that need not lie in the bytes of a copy".into()),
        }
    }
}

fn table_field(table: u32, offset: i64) -> Option<Kind> {
    match offset as i32 {
        offsets::TABLE_BASE => Some(Kind::TableBase(table)),
        offsets::TABLE_ELEMENTS => Some(Kind::TableSize(table)),
        _ => None,
    }
}

fn is_counter(offset: i64) -> bool {
    [offsets::STORE_FUEL, offsets::STORE_INSTRUCTIONS].iter().any(|o| i64::from(*o) == offset)
}

/// A kind in a message.
pub(super) fn show(kind: Kind) -> String {
    match kind {
        Kind::Top => "an unknown address or value".into(),
        other => format!("{other:?}"),
    }
}
