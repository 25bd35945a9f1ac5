//! Translated code and what it refers to: a `Func` for each defined function of a module, whose body is translated at
//! its first call; the shapes of the module's function types in slots; and closed tables resolved to `Func`s.
//! All of it belongs to the module and is shared by its instances in any store, so nothing here names an instance.

use super::control;
use super::dispatch::{Handler, Ip};
use crate::vm::fork::get_or_init;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};
use wasmc_environ::types::{AbiType, FuncType, ValType};
use wasmc_environ::{DefinedFuncIndex, FuncIndex, Module, TableIndex, TagIndex};

/// Slots between a frame's parameters and its `sp`: return address, caller's `sp`, function.
pub(super) const HEADER: i32 = 3;

/// What a slot of a known type holds.
pub(super) type Ty = AbiType;

/// How many slots a value takes.
pub(super) fn slots(ty: Ty) -> u32 {
    if ty == AbiType::V128 { 2 } else { 1 }
}

/// A defined function. Instructions refer to it by address.
#[derive(Debug)]
pub(crate) struct Func {
    /// First instruction; the word before it says how many bytes above `sp` the function needs. Until the first call
    /// is over, an instruction that translates the function.
    pub(super) code: AtomicPtr<u64>,
    pub(super) index: DefinedFuncIndex,
    body: OnceLock<Box<Body>>,
}

/// A translated function.
#[derive(Debug)]
pub(super) struct Body {
    pub words: Box<[u64]>,
    /// Index in `words` of the first instruction.
    pub entry: u32,
    /// Offset of the function's body in the wasm binary.
    pub wasm_start: u32,
    /// Slot of the first local that is no parameter.
    pub first_local: i32,
    /// Instructions that can trap or call: their index in `words` and offset in the wasm binary, sorted.
    pub map: Box<[(u32, u32)]>,
    /// The `try_table`s and `try`s by where they end: inner ones first.
    pub tries: Box<[Try]>,
    /// Slots that may hold heap references.
    pub roots: Box<[i32]>,
    /// In code that reports its calls: the slot with the number of the entry.
    pub trace_slot: Option<i32>,
}

/// A `try_table`, or a `try`.
#[derive(Debug)]
pub(super) struct Try {
    /// The instructions of its body: from the first word to the one past the end.
    pub start: u32,
    pub end: u32,
    /// How many blocks it is in, the function among them.
    pub depth: u32,
    /// With `delegate`: the depth of the block from which on handlers are looked for.
    pub delegate: Option<u32>,
    pub catches: Box<[Catch]>,
}

/// Where among the values a handler gets the reference to the exception.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Reference {
    /// It does not get it.
    None,
    /// Before the others: a `catch` in a function that throws again what it caught.
    First,
    /// After the others: `catch_ref` and `catch_all_ref`.
    Last,
}

/// A clause of a `try_table` or `try`.
#[derive(Debug)]
pub(super) struct Catch {
    /// The tag, or every one.
    pub tag: Option<TagIndex>,
    pub reference: Reference,
    /// Index in `words` of the handler.
    pub target: u32,
    /// Slot of the first value that the handler gets.
    pub slot: i32,
}

impl Func {
    fn new(index: u32) -> Self {
        Self { code: AtomicPtr::new(control::translate_stub().cast_mut()), index: DefinedFuncIndex::from_u32(index), body: OnceLock::new() }
    }

    pub(super) fn body(&self) -> Option<&Body> {
        self.body.get().map(|b| &**b)
    }

    /// The translation, made by `translate` unless another thread was first.
    pub(super) fn publish(&self, translate: Body) -> Ip {
        let body = get_or_init(&self.body, || Box::new(translate));
        // From the whole of the words: the one before the entry is read as well.
        let entry = body.words.as_ptr().wrapping_add(body.entry as usize);
        self.code.store(entry.cast_mut(), Ordering::Release);
        entry
    }
}

impl Body {
    /// The index of the word at `ip`, if it lies in this body.
    pub(super) fn position(&self, ip: Ip) -> Option<u32> {
        let words = (ip as usize).checked_sub(self.words.as_ptr() as usize)? / 8;
        (words < self.words.len()).then_some(words as u32)
    }

    /// The offset in the wasm binary of the instruction with the word at `position`.
    pub(super) fn wasm_offset(&self, position: u32) -> u32 {
        let after = self.map.partition_point(|(p, _)| *p <= position);
        match after.checked_sub(1) {
            Some(i) => self.map[i].1,
            None => self.wasm_start,
        }
    }
}

/// A function type in slots.
#[derive(Debug)]
pub(super) struct Sig {
    pub params: Box<[Ty]>,
    pub results: Box<[Ty]>,
    pub param_slots: u32,
    pub result_slots: u32,
}

impl Sig {
    fn new(ty: &FuncType) -> Self {
        let list = |types: &[ValType]| types.iter().map(|t| t.abi()).collect::<Box<[Ty]>>();
        let (params, results) = (list(&ty.params), list(&ty.results));
        let count = |types: &[Ty]| types.iter().map(|t| slots(*t)).sum();
        Self { param_slots: count(&params), result_slots: count(&results), params, results }
    }

    /// Slots before the header, which parameters and results share.
    pub(super) fn shared_slots(&self) -> u32 {
        self.param_slots.max(self.result_slots)
    }
}

/// An element of a closed table.
#[derive(Debug)]
pub(super) struct ClosedElement {
    /// Canonical type, or `CLOSED_NULL`.
    pub ty: u32,
    /// Function index.
    pub func: FuncIndex,
    /// The function, if it is interpreted and of this module; else null.
    pub target: *const Func,
}

/// Type of a null element.
pub(super) const CLOSED_NULL: u32 = u32::MAX;

/// A closed table.
#[derive(Debug)]
pub(super) struct ClosedElements(pub Box<[ClosedElement]>);

// SAFETY: the pointers are to `Func`s of the same `InterpModule`, which are `Sync` and live as long.
unsafe impl Send for ClosedElements {}
// SAFETY: as above.
unsafe impl Sync for ClosedElements {}

/// The interpreter's side of a module.
#[derive(Debug)]
pub(crate) struct InterpModule {
    pub(super) funcs: Box<[Func]>,
    types: OnceLock<Box<[OnceLock<Box<Sig>>]>>,
    closed: OnceLock<Box<[OnceLock<ClosedElements>]>>,
}

impl InterpModule {
    /// For a module with so many defined functions. Nothing is translated yet.
    pub(crate) fn new(num_defined: u32) -> Self {
        Self { funcs: (0..num_defined).map(Func::new).collect(), types: OnceLock::new(), closed: OnceLock::new() }
    }

    /// A function type in slots. The address is stable.
    pub(super) fn sig(&self, env: &Module, ty: wasmc_environ::TypeIndex) -> &Sig {
        let types = get_or_init(&self.types, || env.types.iter().map(|_| OnceLock::new()).collect());
        get_or_init::<Box<Sig>>(&types[ty.index()], || Box::new(Sig::new(env.func_type(ty))))
    }

    /// The elements of a table if it is closed. The address is stable. `interpreted` says which functions have no native code.
    pub(super) fn closed(
        &self,
        env: &Module,
        table: TableIndex,
        interpreted: impl Fn(DefinedFuncIndex) -> bool,
    ) -> Option<&ClosedElements> {
        let elements = &env.closed_table(table)?.elements;
        let tables = get_or_init(&self.closed, || env.tables.iter().map(|_| OnceLock::new()).collect());
        Some(get_or_init(&tables[table.index()], || {
            let element = |f: &Option<FuncIndex>| match *f {
                None => ClosedElement { ty: CLOSED_NULL, func: FuncIndex::from_u32(0), target: core::ptr::null() },
                Some(func) => ClosedElement {
                    ty: env.canonical[env.functions[func.index()].index()].as_u32(),
                    func,
                    target: match env.defined_func(func) {
                        Some(d) if interpreted(d) => &self.funcs[d.index()],
                        _ => core::ptr::null(),
                    },
                },
            };
            ClosedElements(elements.iter().map(element).collect())
        }))
    }
}

/// Code that belongs to no function.
#[repr(C)]
pub(super) struct Stub {
    /// Bytes that it needs above `sp`.
    pub need: u64,
    pub handler: Handler,
    pub fields: [u64; 2],
}

impl Stub {
    pub(super) const fn new(handler: Handler) -> Self {
        Self { need: 0, handler, fields: [0; 2] }
    }

    /// The instruction.
    pub(super) fn code(&'static self) -> Ip {
        // From the whole of the stub, as `Func::publish` does.
        core::ptr::from_ref(self).cast::<u64>().wrapping_add(1)
    }
}
