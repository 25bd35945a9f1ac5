//! Calls, jumps and returns: each leads to code that is proved itself, with what that code relies on.

use super::memory::show;
use super::step::register;
use super::{Next, Prover, Step, defined};
use crate::abi::{ARGUMENTS, CALLEE_SAVED, Place, R15, RAX, RBP, RDI, RDX, RSI, RSP, Signature, Ty};
use crate::program::Role;
use crate::state::{Fact, Flags, State};
use crate::value::{ANY_TYPE, Kind, NUMBER, TOP, Val};
use iced_x86::{Instruction, OpKind};
use wasmc_environ::builtins::Builtin;
use wasmc_environ::limits::STATIC_MEMORY_RESERVATION;
use wasmc_environ::{FuncIndex, TypeIndex};

/// What is called.
enum Callee {
    /// Code with the wasm convention.
    Wasm(Signature),
    /// The trampoline of a builtin.
    Trampoline(Builtin),
    /// The runtime, with the C convention.
    Runtime,
    /// The routine that raises.
    Raise,
}

impl Prover<'_> {
    fn signature_of(&self, ty: u32) -> Step<Signature> {
        if ty == ANY_TYPE {
            return Err("a call through a reference whose type was not checked".into());
        }
        let module = self.program.module;
        Ok(Signature::of(module, module.func_type(TypeIndex::from_u32(ty))))
    }

    /// The function that code at an address leads to, and whether the hidden parameter is right.
    fn indirect(&self, s: &State, code: Val) -> Step<Callee> {
        let hidden = |signature: &Signature| s.regs[signature.hidden as usize].kind;
        let wrong = || Err("a call with another hidden parameter than the code's".to_owned());
        match code.kind {
            Kind::CodeOf(of, known) => {
                // The check that was made last. Where an earlier one says something else, nothing gets here.
                let checked = s.facts.iter().rev().find_map(|f| match f {
                    Fact::Typed(sym, ty) if *sym == of && of != 0 => Some(*ty),
                    _ => None,
                });
                let signature = self.signature_of(checked.unwrap_or(known))?;
                if of == 0 || hidden(&signature) != Kind::ContextOf(of) {
                    return wrong();
                }
                Ok(Callee::Wasm(signature))
            }
            Kind::EntryCode { table, index, max } => {
                let closed = self.program.closed.get(&table).ok_or("no closed table is there")?;
                if max >= closed.len {
                    return Err("a call through a closed table without a check of the index".into());
                }
                let ty = s.facts.iter().rev().find_map(|f| match f {
                    Fact::EntryTyped(t, sym, ty) if (*t, *sym) == (table, index) && index != 0 => Some(*ty),
                    _ => None,
                });
                // Where all functions are of one type, nothing has to be compared.
                let is_function = !closed.has_null || s.knows(|f| *f == Fact::EntryNotNull(table, index));
                let ty = ty.or(closed.only.filter(|_| is_function)).ok_or("a call through a closed table without a check of the type")?;
                if ty as usize >= self.program.module.types.len() {
                    return Err("a check for a type that does not exist".into());
                }
                let signature = self.signature_of(ty)?;
                if hidden(&signature) != self.own_hidden() {
                    return wrong();
                }
                Ok(Callee::Wasm(signature))
            }
            Kind::ImportCode(f) => {
                let module = self.program.module;
                let signature = Signature::of(module, module.type_of(FuncIndex::from_u32(f)));
                if hidden(&signature) != Kind::ImportContext(f) {
                    return wrong();
                }
                Ok(Callee::Wasm(signature))
            }
            Kind::CalleeCode if matches!(self.entry.role, Role::Entry | Role::TailEntry) => {
                let signature = self.entry.signature.clone();
                if hidden(&signature) != Kind::CalleeContext {
                    return wrong();
                }
                Ok(Callee::Wasm(signature))
            }
            Kind::ExitArray if self.entry.role == Role::ExitArray => {
                self.runtime_call(s, true)?;
                if s.regs[RDI as usize].kind != Kind::Exit {
                    return wrong();
                }
                self.stack_array(s, s.regs[RSI as usize].kind)?;
                Ok(Callee::Runtime)
            }
            Kind::ExitTyped if self.entry.role == Role::ExitTyped => {
                self.runtime_call(s, true)?;
                if s.regs[RDI as usize].kind != Kind::Exit {
                    return wrong();
                }
                Ok(Callee::Runtime)
            }
            Kind::Raise => {
                self.runtime_call(s, true)?;
                if s.regs[RDI as usize].kind != Kind::Store {
                    return wrong();
                }
                Ok(Callee::Raise)
            }
            Kind::Builtin(n) => {
                self.runtime_call(s, false)?;
                if s.regs[RDI as usize].kind != Kind::VmCtx(0) {
                    return wrong();
                }
                self.builtin(s, n)
            }
            kind => Err(format!("an indirect call or jump to {}", show(kind))),
        }
    }

    /// What must be before the runtime is called.
    fn runtime_call(&self, s: &State, records: bool) -> Step {
        if !s.has_room {
            return Err("the runtime is called without a check that its stack has room".into());
        }
        if records && !s.recorded {
            return Err("wasm code is left without a record of the frame".into());
        }
        Ok(())
    }

    /// The call of a builtin in its trampoline, or of the interpreter in a stub.
    fn builtin(&self, s: &State, n: u32) -> Step<Callee> {
        let builtin = *Builtin::ALL.get(n as usize).ok_or("a builtin that does not exist")?;
        match self.entry.role {
            Role::Uncompiled(index) if builtin == Builtin::interp_call => {
                if s.regs[RSI as usize].kind != Kind::Const(index.as_u32().into()) {
                    return Err("the interpreter is called for another function".into());
                }
                self.runtime_call(s, true)?;
                self.stack_array(s, s.regs[RDX as usize].kind)?;
                Ok(Callee::Runtime)
            }
            Role::Builtin if builtin != Builtin::interp_call && builtin != Builtin::raise => {
                let signature = builtin.signature();
                if (signature.fallible || signature.result.is_none()) && !matches!(builtin, Builtin::move_bytes | Builtin::fill_bytes) {
                    self.runtime_call(s, true)?;
                }
                use wasmc_environ::builtins::BuiltinType as T;
                let ints = signature.params.iter().filter(|t| matches!(t, T::I32 | T::I64)).count();
                for r in ARGUMENTS.iter().skip(1).take(ints) {
                    let kind = s.regs[*r as usize];
                    let entry = crate::value::ENTRY | (u64::from(*r) + 1);
                    if kind.sym & !crate::value::LOW_HALF != entry {
                        return Err("a builtin is called with other arguments than its trampoline".into());
                    }
                }
                if self.proved.builtin.is_some_and(|b| b != n) {
                    return Err("a trampoline calls two builtins".into());
                }
                Ok(Callee::Runtime)
            }
            _ => Err("a builtin is called without its trampoline".into()),
        }
    }

    /// An argument array on the frame.
    fn stack_array(&self, s: &State, at: Kind) -> Step {
        let signature = &self.entry.signature;
        let slots = signature.params.len().max(signature.results.len()).max(1) as i32;
        self.on_frame(s, at, slots * 16)
    }

    fn on_frame(&self, s: &State, at: Kind, size: i32) -> Step {
        let frame = match s.regs[RBP as usize].kind {
            Kind::Stack(frame) => frame,
            _ => return Err("there is no frame".into()),
        };
        match at {
            Kind::Stack(at) if s.rsp().is_some_and(|rsp| at >= rsp) && at.checked_add(size).is_some_and(|end| end <= frame) => Ok(()),
            kind => Err(format!("{} where an array on the frame is expected", show(kind))),
        }
    }

    /// Arguments of a call with the wasm convention; `base` is where those on the stack begin.
    fn arguments(&self, s: &State, signature: &Signature, base: i32) -> Step {
        for (ty, place) in &signature.params {
            let val = match *place {
                Place::Gpr(r) => s.regs[r as usize],
                Place::Memory(at) => s.slot(base + at, 8),
                Place::Vector => continue,
            };
            self.fits(*ty, val)?;
        }
        Ok(())
    }

    /// The trampoline or function at an offset of the text.
    fn direct(&self, s: &State, target: u32) -> Step<Callee> {
        if self.entry.role == Role::Builtin {
            return Err("a direct call or jump in a trampoline".into());
        }
        let entry = match self.program.entries.get(&target) {
            Some(e) => e,
            None => {
                let n = crate::builtin_at(self.program, target).map_err(|f| format!("call of text+{target:#x}: {f}"))?;
                let builtin = Builtin::ALL.get(n as usize).ok_or("a builtin that does not exist")?;
                return Ok(Callee::Trampoline(*builtin));
            }
        };
        match entry.role {
            Role::Function(_) | Role::Uncompiled(_) | Role::Thunk(_) => {
                if s.regs[entry.signature.hidden as usize].kind != self.own_hidden() {
                    return Err("a call with another hidden parameter than the instance".into());
                }
                Ok(Callee::Wasm(entry.signature.clone()))
            }
            role => Err(format!("a call of a stub ({role:?})")),
        }
    }

    fn callee(&mut self, s: &State, i: &Instruction) -> Step<Callee> {
        match i.op0_kind() {
            OpKind::NearBranch64 => {
                let target = u32::try_from(i.near_branch_target()).ok().filter(|t| (*t as usize) < self.program.text.len());
                self.direct(s, target.ok_or("a branch out of the text")?)
            }
            OpKind::Register => self.indirect(s, register(s, i.op0_register())),
            OpKind::Memory => {
                let address = self.address(s, i)?;
                let mut code = self.read(s, i, address, 8)?;
                if code.sym == 0 {
                    code.sym = defined(i, 1);
                }
                self.indirect(s, code)
            }
            _ => Err("instruction that is not used".into()),
        }
    }

    pub(super) fn call(&mut self, s: &mut State, i: &Instruction) -> Step<Next> {
        if super::allowed::is_odd_form(i) {
            return Err("instruction that is not used".into());
        }
        let rsp = s.rsp().ok_or("the place of the stack pointer is not known")?;
        if (rsp - 8) % 16 != 0 {
            return Err("a call with a stack that is not aligned".into());
        }
        if !s.has_frame() {
            return Err("a call before the frame is complete".into());
        }
        let callee = self.callee(s, i)?;
        let mut popped = 0;
        let mut results: Vec<(Ty, Place)> = Vec::new();
        let mut area = None;
        let mut result_kind = None;
        match &callee {
            Callee::Wasm(signature) => {
                self.arguments(s, signature, rsp)?;
                if signature.area != 0 {
                    match s.regs[RDI as usize].kind {
                        Kind::Stack(at) => {
                            self.on_frame(s, Kind::Stack(at), signature.area)?;
                            if at < rsp + signature.stack {
                                return Err("the area for results overlaps the arguments".into());
                            }
                            area = Some((at, signature.area));
                        }
                        kind => return Err(format!("{} where an area for results is expected", show(kind))),
                    }
                }
                popped = signature.stack;
                results.clone_from(&signature.results);
            }
            Callee::Trampoline(builtin) => {
                if s.regs[RDI as usize].kind != Kind::VmCtx(0) {
                    return Err("a builtin with another hidden parameter than the instance".into());
                }
                result_kind = self.builtin_arguments(s, *builtin)?;
            }
            Callee::Runtime => {
                if let Kind::Builtin(n) = self.called(s, i)? {
                    self.proved.builtin = Some(n);
                }
            }
            Callee::Raise => {}
        }
        if rsp + popped > 0 {
            return Err("the callee takes more arguments than there are".into());
        }
        // Arguments on the stack belong to the callee.
        let written = s.rsp().map_or(0, |rsp| rsp + popped);
        s.clear(rsp - 8, written - rsp + 8);
        if let Some((at, size)) = area {
            s.clear(at, size);
        }
        if matches!(callee, Callee::Runtime)
            && let Some(array) = self.array_of(s, i)
        {
            let slots = self.entry.signature.params.len().max(self.entry.signature.results.len()).max(1) as i32;
            s.clear(array, slots * 16);
            for (n, (ty, _)) in self.entry.signature.results.iter().enumerate() {
                if let Ty::Func(ty) = ty {
                    s.set_slot(array + 16 * n as i32, 8, Val { kind: Kind::Func(*ty), sym: defined(i, 20 + (n as u64 & 7)) & !0x1f | 31 });
                }
            }
        }
        s.touched = s.touched.min(rsp - 8);
        let keep = |r: u8| r == RSP || (CALLEE_SAVED.contains(&r) && !(self.program.meter && r == R15));
        for r in 0..16u8 {
            if !keep(r) {
                s.regs[r as usize] = Val { kind: Kind::Top, sym: defined(i, 2 + u64::from(r)) };
            }
        }
        s.bytes = [u8::MAX; 16];
        s.regs[RSP as usize] = Val { kind: Kind::Stack(rsp + popped), sym: 0 };
        s.flags = Flags::Unknown;
        s.has_room &= !matches!(callee, Callee::Wasm(_));
        for (ty, place) in results {
            if let Ty::Func(ty) = ty {
                match place {
                    Place::Gpr(r) => s.regs[r as usize].kind = Kind::Func(ty),
                    Place::Memory(at) => {
                        if let Some((base, _)) = area {
                            s.set_slot(base + at, 8, Val { kind: Kind::Func(ty), sym: 0 });
                        }
                    }
                    Place::Vector => {}
                }
            }
        }
        if matches!(callee, Callee::Runtime) {
            self.runtime_results(s);
        }
        if let Some(kind) = result_kind {
            s.regs[RAX as usize].kind = kind;
        }
        let behind = i.next_ip() as u32;
        let handler = self.handler(s, behind, &callee)?;
        if let Kind::Stack(frame) = s.regs[RBP as usize].kind {
            // The callee has taken its arguments when the frame is as the records say.
            self.returns.insert(behind, frame - rsp);
        }
        let returns = !matches!(callee, Callee::Raise);
        Ok(Next::Call { handler, returns })
    }

    /// What the runtime gives: a status, which must be looked at, and a value.
    fn runtime_results(&mut self, s: &mut State) {
        self.given = Some(s.regs[RAX as usize].sym);
        let fallible = |n: u32| Builtin::ALL.get(n as usize).is_some_and(|b| b.signature().fallible);
        let status = match self.entry.role {
            Role::ExitArray => RAX,
            Role::Builtin if !self.proved.builtin.is_some_and(fallible) => return,
            _ => RDX,
        };
        self.status = Some(s.regs[status as usize].sym);
        if self.entry.role == Role::ExitTyped
            && let Some((Ty::Func(ty), Place::Gpr(r))) = self.entry.signature.results.first()
        {
            s.regs[*r as usize].kind = Kind::Func(*ty);
        }
    }

    /// The kind of what an indirect call goes to.
    fn called(&mut self, s: &State, i: &Instruction) -> Step<Kind> {
        match i.op0_kind() {
            OpKind::Register => Ok(register(s, i.op0_register()).kind),
            OpKind::Memory => {
                let address = self.address(s, i)?;
                Ok(self.read(s, i, address, 8)?.kind)
            }
            _ => Ok(Kind::Top),
        }
    }

    /// Where the array of a stub is.
    fn array_of(&self, s: &State, _: &Instruction) -> Option<i32> {
        let r = match self.entry.role {
            Role::ExitArray => RSI,
            Role::Uncompiled(_) => RDX,
            _ => return None,
        };
        match s.regs[r as usize].kind {
            Kind::Stack(at) => Some(at),
            _ => None,
        }
    }

    /// The handler of exceptions of a call and the stack pointer there, from the records. The frame is as they say: as at the call,
    /// with the arguments that the callee takes off the stack when it returns.
    fn handler(&self, s: &State, behind: u32, callee: &Callee) -> Step<Option<(u32, i32)>> {
        let records = self.program.contents.handlers();
        let Ok(n) = records.binary_search_by_key(&behind, |r| r.return_offset) else { return Ok(None) };
        let r = records[n];
        if matches!(callee, Callee::Runtime | Callee::Raise) {
            return Err("a stub that handles exceptions".into());
        }
        let (Kind::Stack(frame), Some(rsp)) = (s.regs[RBP as usize].kind, s.rsp()) else { return Err("there is no frame".into()) };
        let popped = match callee {
            Callee::Wasm(signature) => signature.stack,
            _ => 0,
        };
        if i64::from(frame) - i64::from(rsp - popped) != i64::from(r.frame_size) {
            return Err("the record of an exception's handler is for another frame".into());
        }
        if !(self.start..self.limit).contains(&r.handler_offset) {
            return Err("the handler of an exception is in another function".into());
        }
        Ok(Some((r.handler_offset, rsp - popped)))
    }

    /// Arguments of a builtin; what it gives, if that is more than a number.
    fn builtin_arguments(&self, s: &State, builtin: Builtin) -> Step<Option<Kind>> {
        use Builtin as B;
        let module = self.program.module;
        let argument = |n: usize| ARGUMENTS.get(n + 1).map_or(TOP, |r| s.regs[*r as usize]);
        let index = |n: usize, count: usize| match crate::value::low_half(argument(n)).kind {
            Kind::Const(c) if c < count as u64 => Ok(c as u32),
            _ => Err(format!("argument {n} of the builtin {} is no index that exists", builtin.signature().name)),
        };
        let element = |table: u32, n: usize| match self.program.element_type(table) {
            Some(ty @ Ty::Func(_)) => self.fits(ty, argument(n)),
            _ => Ok(()),
        };
        let memories = module.memories.len();
        // The runtime's definition of a closed table has a size, and no elements.
        let table = |n: usize| match index(n, module.tables.len())? {
            t if module.closed_table(wasmc_environ::TableIndex::from_u32(t)).is_some() => {
                Err(format!("the builtin {} for a closed table", builtin.signature().name))
            }
            t => Ok(t),
        };
        match builtin {
            B::memory_grow | B::memory_fill | B::memory_atomic_wait32 | B::memory_atomic_wait64 | B::memory_atomic_notify => {
                index(0, memories)?;
            }
            B::memory_copy => {
                index(0, memories)?;
                index(1, memories)?;
            }
            B::memory_init => {
                index(0, memories)?;
                index(1, module.data.len())?;
            }
            B::data_drop => {
                index(0, module.data.len())?;
            }
            B::table_grow | B::table_fill => {
                element(table(0)?, 2)?;
            }
            B::table_copy => {
                let (to, from) = (table(0)?, table(1)?);
                if !self.program.holds(to, self.program.element_type(from)) {
                    return Err("a copy between tables with elements of other types".into());
                }
            }
            B::table_init => {
                let (to, from) = (table(0)?, index(1, module.elements.len())?);
                if !self.program.segment_types(from).all(|ty| self.program.holds(to, Some(ty))) {
                    return Err("a table is initialised with elements of other types".into());
                }
            }
            B::elem_drop => {
                index(0, module.elements.len())?;
            }
            B::throw_alloc => return index(0, module.tags.len()).map(|t| Some(Kind::Exception(t))),
            B::is_subtype => {
                return match (argument(0).kind, argument(1).kind) {
                    (Kind::TypeIdOf(of), Kind::TypeId(ty)) => Ok(Some(Kind::IsSubtype(of, ty))),
                    (Kind::EntryTypeId { table, index }, Kind::TypeId(ty)) => Ok(Some(Kind::IsEntrySubtype { table, index, ty })),
                    _ => Err("a comparison of what are no types".into()),
                };
            }
            B::move_bytes => {
                self.range(s, argument(0), argument(2))?;
                self.range(s, argument(1), argument(2))?;
            }
            B::fill_bytes => self.range(s, argument(0), argument(2))?,
            B::trace_enter | B::trace_leave => {
                if builtin == B::trace_enter {
                    let Role::Function(f) = self.entry.role else { return Err("a report by what is no function".into()) };
                    if crate::value::low_half(argument(0)).kind != Kind::Const(f.as_u32().into()) {
                        return Err("a report of another function".into());
                    }
                }
                self.stack_array(s, argument(1).kind)?;
            }
            B::trace_tail => self.fits(Ty::Func(ANY_TYPE), argument(1))?,
            B::interp_call | B::raise => return Err("a builtin that has no trampoline".into()),
            B::throw
            | B::throw_ref
            | B::rethrow
            | B::trap
            | B::ceil_f32
            | B::floor_f32
            | B::trunc_f32
            | B::nearest_f32
            | B::ceil_f64
            | B::floor_f64
            | B::trunc_f64
            | B::nearest_f64
            | B::fma_f64 => {}
        }
        Ok(None)
    }

    /// A range of a memory that a routine works on without checks. In a reservation it may fault, but not leave it; elsewhere the
    /// check of its end must be there.
    fn range(&self, s: &State, address: Val, length: Val) -> Step {
        let Some(most) = length.kind.max().and_then(|m| i64::try_from(m).ok()) else {
            return Err("a copy or fill of a length without a bound".into());
        };
        match address.kind {
            Kind::Heap { memory, low, high }
                if self.is_static(memory)
                    && low >= 0
                    && high.checked_add(most).is_some_and(|end| end <= STATIC_MEMORY_RESERVATION as i64) =>
            {
                Ok(())
            }
            Kind::Heap { memory, low, high } if low == high && low >= 0 => {
                self.checked_range(s, memory, Val { kind: Kind::Const(low as u64), sym: 0 }, length)
            }
            Kind::HeapAt { memory, index, max } => self.checked_range(s, memory, Val { kind: Kind::Max(max), sym: index }, length),
            kind => Err(format!("a copy or fill at {}", show(kind))),
        }
    }

    /// Whether it was checked that `length` bytes from an index on are in a memory.
    fn checked_range(&self, s: &State, memory: u32, index: Val, length: Val) -> Step {
        let least = self.program.module.memories[memory as usize].min_bytes().unwrap_or(0);
        let (first, len) = (index.identity(), length.identity());
        let number = |v: u64| (v >> 55 == 1).then_some(v ^ NUMBER);
        // Whether a value is not below the index.
        let reaches = |x: u64, to: u64| {
            x == to || number(x).zip(number(to)).is_some_and(|(x, to)| x >= to) || s.knows(|f| *f == Fact::NotBelow(x, to))
        };
        let is = |a: u64, b: u64| (reaches(a, first) && reaches(b, len)) || (reaches(b, first) && reaches(a, len));
        let end = |a: Option<u64>, b: Option<u64>| a.zip(b).and_then(|(a, b)| a.checked_add(b));
        let checked = s.knows(|f| match *f {
            Fact::SumInMemory(a, b, m) => m == memory && is(a, b),
            Fact::SumAtMost(a, b, n) => n <= least && is(a, b),
            // One of the two is a number.
            Fact::InMemory(a, m, extent) => {
                m == memory
                    && (is(a, NUMBER | extent)
                        || number(a)
                            .and_then(|e| e.checked_add(extent))
                            .is_some_and(|e| end(number(first), number(len)).is_some_and(|w| w <= e)))
            }
            _ => false,
        });
        let fits = end(index.kind.max(), length.kind.max()).is_some_and(|e| e <= least);
        if first != 0 && len != 0 && (checked || fits) { Ok(()) } else { Err("a copy or fill whose end was not checked".into()) }
    }

    pub(super) fn jump(&mut self, s: &mut State, i: &Instruction) -> Step<Next> {
        if super::allowed::is_odd_form(i) {
            return Err("instruction that is not used".into());
        }
        if i.op0_kind() == OpKind::NearBranch64 {
            let target = u32::try_from(i.near_branch_target()).map_err(|_| "branch out of the text")?;
            if (self.start + 1..self.limit).contains(&target) {
                return Ok(Next::Jump(target));
            }
        }
        if i.op0_kind() == OpKind::Register
            && let Kind::JumpTarget { table, max } = register(s, i.op0_register()).kind
        {
            return self.jump_table(table, max).map(Next::Table);
        }
        // A tail call.
        if let OpKind::Register = i.op0_kind()
            && register(s, i.op0_register()).kind == Kind::TailEntry
        {
            self.frame_is_gone(s, 0)?;
            let hidden = if self.entry.signature.area != 0 { RSI } else { RDI };
            if s.regs[hidden as usize].kind != Kind::Store {
                return Err("a tail call without the store".into());
            }
            self.passes_area(s, &self.entry.signature)?;
            return Ok(Next::End);
        }
        match self.callee(s, i)? {
            Callee::Wasm(signature) => {
                self.frame_is_gone(s, signature.stack)?;
                let rsp = s.rsp().ok_or("the place of the stack pointer is not known")?;
                self.arguments(s, &signature, rsp + 8)?;
                if signature.area > self.entry.signature.area || !self.same_results(&signature) {
                    return Err("a tail call of a function with other results".into());
                }
                self.passes_area(s, &signature)?;
                Ok(Next::End)
            }
            _ => Err("a tail call of what is no function".into()),
        }
    }

    fn passes_area(&self, s: &State, signature: &Signature) -> Step {
        if signature.area != 0 && s.regs[RDI as usize].kind != Kind::Area(0) {
            return Err("a tail call with another area for results".into());
        }
        Ok(())
    }

    /// Whether the results of a callee are where this function's would be, with types that fit.
    fn same_results(&self, other: &Signature) -> bool {
        let own = &self.entry.signature.results;
        own.len() == other.results.len()
            && own.iter().zip(&other.results).all(|((a, at), (b, bt))| {
                at == bt
                    && match (a, b) {
                        (Ty::Func(a), Ty::Func(b)) => self.program.is_subtype(*b, *a),
                        (a, b) => a == b,
                    }
            })
    }

    fn jump_table(&self, table: i64, max: u64) -> Step<Vec<u32>> {
        let entries = max.checked_add(1).filter(|n| *n < 1 << 24).ok_or("index of a jump table without a bound")?;
        let start = usize::try_from(table).map_err(|_| "a jump table outside the text")?;
        let bytes = self.program.text.get(start..).and_then(|b| b.get(..entries as usize * 4)).ok_or("a jump table outside the text")?;
        let targets = bytes.chunks_exact(4).map(|b| {
            let offset = i32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            u32::try_from(table + i64::from(offset)).ok().filter(|t| (self.start + 1..self.limit).contains(t))
        });
        targets.collect::<Option<Vec<u32>>>().ok_or_else(|| "a jump table leads out of the function".into())
    }

    /// Before a tail call or return: the caller's registers are back, and the return address is on top.
    fn frame_is_gone(&self, s: &State, arguments: i32) -> Step {
        let rsp = s.rsp().ok_or("the place of the stack pointer is not known")?;
        if s.slot(rsp, 8).kind != Kind::Return {
            return Err("what lies on the stack is not the return address".into());
        }
        if rsp + arguments != self.incoming() {
            return Err("the caller's stack would be displaced".into());
        }
        for r in CALLEE_SAVED {
            if !(self.program.meter && r == R15) && s.regs[r as usize].kind != Kind::Init(r) {
                return Err("a register of the caller's is not given back".into());
            }
        }
        Ok(())
    }

    pub(super) fn leave(&mut self, s: &State, i: &Instruction) -> Step {
        if super::allowed::is_odd_form(i) {
            return Err("instruction that is not used".into());
        }
        let pops = if i.op_count() == 1 { i32::from(i.immediate16()) } else { 0 };
        self.frame_is_gone(s, pops)?;
        if let Some(status) = self.status
            && !s.knows(|f| *f == Fact::AtMost(status, 0))
        {
            return Err("a return although the runtime may have failed".into());
        }
        if self.entry.role == Role::Entry {
            return Ok(());
        }
        if self.entry.role == Role::Builtin {
            // Which builtin it is, and so whether it has a result, is known when all of it has been seen.
            self.other_result |= self.given != Some(s.regs[RAX as usize].sym);
            return Ok(());
        }
        for (n, (ty, place)) in self.entry.signature.results.iter().enumerate() {
            match (ty, *place) {
                (_, Place::Gpr(r)) => self.fits(*ty, s.regs[r as usize])?,
                (Ty::Func(_), Place::Memory(_)) if n >= 64 || s.written & 1 << n == 0 => {
                    return Err("a result that is a function reference is not written".into());
                }
                _ => {}
            }
        }
        Ok(())
    }
}
