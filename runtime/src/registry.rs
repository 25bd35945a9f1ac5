//! What the modules of an engine share. Types: recursion groups are interned by structure, so that two types are equal
//! if and only if their numbers are; a group lives as long as somebody holds a registration of it. Stubs: for each
//! signature, the code that has stubs for it, as long as that code lives.

use crate::code::LoadedCode;
use crate::store::StoreOpaque;
use crate::vm::fork::Gated;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use wasmc_environ::TypeIndex;
use wasmc_environ::artifact::StubSet;
use wasmc_environ::decode::map_type;
use wasmc_environ::module::Module as EnvModule;
use wasmc_environ::types::*;

/// References inside a recursion group are numbered from here in its key: above any number of a type.
const INSIDE: u32 = 0x8000_0000;
/// Sweep the map of stubs when it has this many signatures, and then whenever it has doubled.
const FIRST_SWEEP: usize = 256;

/// Addresses of the stubs for a signature; null where there is none.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Stubs {
    pub(crate) exit_array: *const u8,
    pub(crate) exit_typed: *const u8,
    pub(crate) entry: *const u8,
    pub(crate) tail_entry: *const u8,
}

// SAFETY: the addresses are only read, and who calls them keeps the code alive.
unsafe impl Send for Stubs {}
// SAFETY: as above.
unsafe impl Sync for Stubs {}

impl Stubs {
    pub(crate) const NONE: Self =
        Self { exit_array: std::ptr::null(), exit_typed: std::ptr::null(), entry: std::ptr::null(), tail_entry: std::ptr::null() };

    /// The addresses of a set of stubs in the code that holds it.
    pub(crate) fn of(code: &LoadedCode, set: &StubSet) -> Self {
        let address = |offset: Option<u32>| offset.map_or(std::ptr::null(), |o| code.stub_address(o));
        Self {
            exit_array: address(set.exit_array),
            exit_typed: address(set.exit_typed),
            entry: address(set.entry),
            tail_entry: address(set.tail_entry),
        }
    }

    /// Whether WebAssembly can be left with them. A module has the stubs that it needs itself: exits for what it calls,
    /// entries for what can be called in it.
    pub(crate) fn has_exit(&self) -> bool {
        !self.exit_array.is_null()
    }

    /// Whether nothing is missing that another module could add.
    fn is_complete(&self) -> bool {
        self.has_exit() && !self.entry.is_null() && !self.tail_entry.is_null()
    }

    /// Takes from `other` what is missing; returns whether there was something.
    fn fill(&mut self, other: &Self) -> bool {
        let mut filled = false;
        for (mine, theirs) in [(&mut self.entry, other.entry), (&mut self.tail_entry, other.tail_entry)] {
            if mine.is_null() && !theirs.is_null() {
                *mine = theirs;
                filled = true;
            }
        }
        // Whether there is a typed exit depends on the signature alone: both exits come from one module.
        if !self.has_exit() && other.has_exit() {
            self.exit_array = other.exit_array;
            self.exit_typed = other.exit_typed;
            filled = true;
        }
        filled
    }
}

/// The types and stubs of an engine.
#[derive(Default)]
pub struct Registry {
    types: RwLock<Types>,
    stubs: RwLock<StubMap>,
    /// Counts the registrations of stubs: who looked at the same count need not look again.
    stubs_version: AtomicU64,
}

#[derive(Default)]
struct Types {
    by_key: HashMap<Arc<[SubType]>, u32>,
    /// By number of the group; `None` where it is free.
    groups: Vec<Option<Group>>,
    free_groups: Vec<u32>,
    /// By `SharedTypeIndex`; `None` where it is free.
    types: Vec<Option<TypeEntry>>,
    /// Free runs of types: their starts, by length.
    free_runs: HashMap<u32, Vec<u32>>,
}

struct Group {
    key: Arc<[SubType]>,
    first: u32,
    len: u32,
    /// How many registrations and other groups refer to it.
    uses: usize,
    /// The groups that it refers to.
    deps: Vec<u32>,
}

struct TypeEntry {
    group: u32,
    func: Arc<FuncType>,
    /// The declared supertypes, nearest first.
    supers: Box<[u32]>,
}

#[derive(Default)]
struct StubMap {
    by_signature: HashMap<AbiSignature, Vec<(Weak<LoadedCode>, Stubs)>>,
    sweep_at: usize,
}

/// Keeps types interned.
pub(crate) struct TypeRegistration {
    registry: Arc<Registry>,
    groups: Vec<u32>,
}

impl TypeRegistration {
    /// The registry that holds the types: that of the engine.
    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }
}

impl Drop for TypeRegistration {
    fn drop(&mut self) {
        let mut types = self.registry.write_types();
        for g in &self.groups {
            types.release(*g);
        }
    }
}

impl Types {
    fn entry(&self, id: u32) -> Option<&TypeEntry> {
        self.types.get(id as usize)?.as_ref()
    }

    fn retain(&mut self, group: u32) {
        if let Some(Some(g)) = self.groups.get_mut(group as usize) {
            g.uses += 1;
        }
    }

    fn release(&mut self, group: u32) {
        // A chain of groups can be as long as a module has types: a list, not recursion.
        let mut todo = vec![group];
        while let Some(group) = todo.pop() {
            let Some(slot) = self.groups.get_mut(group as usize) else { continue };
            let Some(g) = slot else { continue };
            g.uses -= 1;
            if g.uses > 0 {
                continue;
            }
            let Some(g) = slot.take() else { continue };
            self.by_key.remove(&g.key);
            for id in g.first..g.first + g.len {
                self.types[id as usize] = None;
            }
            self.free_runs.entry(g.len).or_default().push(g.first);
            self.free_groups.push(group);
            todo.extend(g.deps);
        }
    }

    /// The group with this key, which is made if there is none; one more use of it. Returns the group and its first type.
    fn intern(&mut self, key: Vec<SubType>) -> (u32, u32) {
        if let Some(&group) = self.by_key.get(key.as_slice())
            && let Some(g) = &mut self.groups[group as usize]
        {
            g.uses += 1;
            return (group, g.first);
        }
        let key: Arc<[SubType]> = key.into();
        let len = key.len() as u32;
        let first = self.free_runs.get_mut(&len).and_then(Vec::pop).unwrap_or_else(|| {
            let first = self.types.len() as u32;
            self.types.resize_with(self.types.len() + key.len(), || None);
            first
        });
        let group = self.free_groups.pop().unwrap_or_else(|| {
            self.groups.push(None);
            self.groups.len() as u32 - 1
        });
        let mut deps = Vec::new();
        for (i, ty) in key.iter().enumerate() {
            let real = map_type(ty, &|t| match t.as_u32().checked_sub(INSIDE) {
                Some(inside) => TypeIndex::from_u32(first + inside),
                None => t,
            });
            for_each_reference(&real, |t| {
                if !(first..first + len).contains(&t)
                    && let Some(entry) = self.entry(t)
                {
                    deps.push(entry.group);
                }
            });
            let supers = real.supertype.map_or_else(Box::default, |s| {
                let further = self.entry(s.as_u32()).map_or(&[][..], |e| &e.supers);
                std::iter::once(s.as_u32()).chain(further.iter().copied()).collect()
            });
            let CompositeType::Func(func) = real.composite;
            self.types[first as usize + i] = Some(TypeEntry { group, func: Arc::new(func), supers });
        }
        deps.sort_unstable();
        deps.dedup();
        for d in &deps {
            self.retain(*d);
        }
        self.by_key.insert(key.clone(), group);
        self.groups[group as usize] = Some(Group { key, first, len, uses: 1, deps });
        (group, first)
    }
}

fn for_each_reference(ty: &SubType, mut f: impl FnMut(u32)) {
    if let Some(s) = ty.supertype {
        f(s.as_u32());
    }
    let CompositeType::Func(func) = &ty.composite;
    for t in func.params.iter().chain(&func.results) {
        if let ValType::Ref(RefType { heap: HeapType::Concrete(i), .. }) = t {
            f(i.as_u32());
        }
    }
}

impl Registry {
    // A thread that panicked while it held a lock leaves whole entries behind: nothing in between can panic on them.
    fn read_types(&self) -> Gated<RwLockReadGuard<'_, Types>> {
        Gated::new(|| self.types.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write_types(&self) -> Gated<RwLockWriteGuard<'_, Types>> {
        Gated::new(|| self.types.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Interns a module's types: the `SharedTypeIndex` of each `TypeIndex`.
    pub(crate) fn intern_module(self: &Arc<Self>, module: &EnvModule) -> (Box<[u32]>, TypeRegistration) {
        let mut ids: Vec<u32> = Vec::with_capacity(module.types.len());
        let mut groups = Vec::new();
        if module.types.is_empty() {
            return (Box::default(), TypeRegistration { registry: self.clone(), groups });
        }
        let mut types = self.write_types();
        for range in &module.rec_groups {
            // Equal to an earlier group of the module: that one keeps it alive.
            let canonical = &module.canonical[range.start as usize..range.end as usize];
            if canonical.iter().all(|c| c.as_u32() < range.start) {
                ids.extend_from_slice(&canonical.iter().map(|c| ids[c.index()]).collect::<SmallVec<[u32; 8]>>());
                continue;
            }
            let key = module.types[range.start as usize..range.end as usize]
                .iter()
                .map(|ty| {
                    map_type(ty, &|i| match i.as_u32().checked_sub(range.start) {
                        Some(inside) => TypeIndex::from_u32(INSIDE + inside),
                        None => TypeIndex::from_u32(ids[i.index()]),
                    })
                })
                .collect();
            let (group, first) = types.intern(key);
            ids.extend((0..range.end - range.start).map(|i| first + i));
            groups.push(group);
        }
        drop(types);
        (ids.into(), TypeRegistration { registry: self.clone(), groups })
    }

    /// Interns a host function's type, in which types are named by `SharedTypeIndex`. `None` if one of them does not exist.
    pub(crate) fn intern_func(self: &Arc<Self>, ty: &FuncType) -> Option<(u32, TypeRegistration)> {
        let mut types = self.write_types();
        let sub = SubType { is_final: true, supertype: None, composite: CompositeType::Func(ty.clone()) };
        let mut known = true;
        for_each_reference(&sub, |t| known &= types.entry(t).is_some());
        if !known {
            return None;
        }
        let (group, first) = types.intern(vec![sub]);
        drop(types);
        Some((first, TypeRegistration { registry: self.clone(), groups: vec![group] }))
    }

    /// Keeps a type alive that is alive now. `None` if it is not.
    pub(crate) fn retain_type(self: &Arc<Self>, id: u32) -> Option<TypeRegistration> {
        let mut types = self.write_types();
        let group = types.entry(id)?.group;
        types.retain(group);
        drop(types);
        Some(TypeRegistration { registry: self.clone(), groups: vec![group] })
    }

    /// The function type with this number; it must be held by a registration.
    pub(crate) fn func_type(&self, id: u32) -> Arc<FuncType> {
        let types = self.read_types();
        types.entry(id).map_or_else(|| Arc::new(FuncType::new([], [])), |e| e.func.clone())
    }

    /// Whether the declared supertypes of `sub` lead to `sup`; equal types count.
    pub(crate) fn is_subtype(&self, sub: u32, sup: u32) -> bool {
        sub == sup || self.read_types().entry(sub).is_some_and(|e| e.supers.contains(&sup))
    }

    /// Subtyping of heap types in the engine's type space (specification 3.0, "Heap Types" under "Matching").
    pub(crate) fn heap_subtype(&self, sub: HeapType, sup: HeapType) -> bool {
        use HeapType as H;
        match (sub, sup) {
            (H::Concrete(a), H::Concrete(b)) => self.is_subtype(a.as_u32(), b.as_u32()),
            (a, b) if a == b => true,
            (H::Concrete(_) | H::NoFunc, H::Func) | (H::NoFunc, H::Concrete(_)) => true,
            (H::NoExtern, H::Extern) | (H::NoExn, H::Exn) => true,
            (H::Eq | H::I31 | H::Struct | H::Array | H::None, H::Any) => true,
            (H::I31 | H::Struct | H::Array | H::None, H::Eq) => true,
            (H::None, H::I31 | H::Struct | H::Array) => true,
            _ => false,
        }
    }

    /// Subtyping of reference types in the engine's type space.
    pub(crate) fn ref_subtype(&self, sub: RefType, sup: RefType) -> bool {
        (sup.nullable || !sub.nullable) && self.heap_subtype(sub.heap, sup.heap)
    }

    /// Subtyping of value types in the engine's type space.
    pub(crate) fn val_subtype(&self, sub: ValType, sup: ValType) -> bool {
        match (sub, sup) {
            (ValType::Ref(a), ValType::Ref(b)) => self.ref_subtype(a, b),
            (a, b) => a == b,
        }
    }

    /// Makes the stubs of newly loaded code known.
    pub(crate) fn register_stubs(&self, code: &Arc<LoadedCode>) {
        let sets = code.stubs();
        if sets.is_empty() {
            return;
        }
        let weak = Arc::downgrade(code);
        let mut map = Gated::new(|| self.stubs.write().unwrap_or_else(PoisonError::into_inner));
        for set in sets {
            let stubs = Stubs::of(code, set);
            match map.by_signature.get_mut(&set.signature) {
                Some(list) => {
                    list.retain(|(code, _)| code.strong_count() > 0);
                    list.push((weak.clone(), stubs));
                }
                None => _ = map.by_signature.insert(set.signature.clone(), vec![(weak.clone(), stubs)]),
            }
        }
        if map.by_signature.len() >= map.sweep_at.max(FIRST_SWEEP) {
            map.by_signature.retain(|_, list| {
                list.retain(|(code, _)| code.strong_count() > 0);
                !list.is_empty()
            });
            map.sweep_at = map.by_signature.len() * 2;
        }
        drop(map);
        self.stubs_version.fetch_add(1, Ordering::Release);
    }

    /// Adds what is missing of the stubs for a type, from whichever code has it; returns the code to keep alive.
    fn find_stubs(&self, type_id: u32, stubs: &mut Stubs) -> Vec<Arc<LoadedCode>> {
        let signature = self.func_type(type_id).abi();
        let map = Gated::new(|| self.stubs.read().unwrap_or_else(PoisonError::into_inner));
        let list = map.by_signature.get(&signature).map_or(&[][..], |l| l);
        list.iter().filter_map(|(code, found)| code.upgrade().filter(|_| stubs.fill(found))).collect()
    }

    #[cfg(test)]
    fn live_types(&self) -> usize {
        self.read_types().types.iter().flatten().count()
    }
}

/// The stubs for a type as a store knows them.
#[derive(Copy, Clone)]
pub(crate) struct KnownStubs {
    stubs: Stubs,
    /// `Registry::stubs_version` when they were looked for.
    version: u64,
}

impl StoreOpaque {
    /// The stubs for a type, from whichever live module of the engine has them; from then on the store keeps that code.
    #[inline]
    pub(crate) fn stubs(&mut self, type_id: u32) -> Stubs {
        match self.stubs.get(type_id as usize) {
            Some(known) if known.stubs.is_complete() => known.stubs,
            _ => self.find_stubs(type_id),
        }
    }

    /// The entry stub for a type; null if there is none.
    #[inline]
    pub(crate) fn entry_stub(&mut self, type_id: u32) -> *const u8 {
        match self.stubs.get(type_id as usize) {
            Some(known) if !known.stubs.entry.is_null() => known.stubs.entry,
            _ => self.find_stubs(type_id).entry,
        }
    }

    /// The entry stub for a type, if it was asked for before; else null.
    pub(crate) fn known_entry_stub(&self, type_id: u32) -> *const u8 {
        self.stubs.get(type_id as usize).map_or(std::ptr::null(), |known| known.stubs.entry)
    }

    /// The tail-entry stub for a type; null if there is none.
    #[inline]
    pub(crate) fn tail_entry_stub(&mut self, type_id: u32) -> *const u8 {
        match self.stubs.get(type_id as usize) {
            Some(known) if !known.stubs.tail_entry.is_null() => known.stubs.tail_entry,
            _ => self.find_stubs(type_id).tail_entry,
        }
    }

    #[cold]
    fn find_stubs(&mut self, type_id: u32) -> Stubs {
        let slot = type_id as usize;
        let version = self.engine.registry().stubs_version.load(Ordering::Acquire);
        if self.stubs.len() <= slot {
            // At version 0 there is nothing to find.
            self.stubs.resize(slot + 1, KnownStubs { stubs: Stubs::NONE, version: 0 });
        }
        let known = &mut self.stubs[slot];
        if known.version != version {
            known.version = version;
            for code in self.engine.registry().find_stubs(type_id, &mut known.stubs) {
                self.vm.code.register(code);
            }
        }
        known.stubs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn func(params: &[ValType], results: &[ValType]) -> FuncType {
        FuncType::new(params.iter().copied(), results.iter().copied())
    }

    fn module(types: Vec<SubType>, rec_groups: Vec<std::ops::Range<u32>>) -> EnvModule {
        let canonical = (0..types.len() as u32).map(TypeIndex::from_u32).collect();
        EnvModule { types, rec_groups, canonical, ..EnvModule::default() }
    }

    fn sub(is_final: bool, supertype: Option<u32>, ty: FuncType) -> SubType {
        SubType { is_final, supertype: supertype.map(TypeIndex::from_u32), composite: CompositeType::Func(ty) }
    }

    fn concrete(i: u32) -> ValType {
        ValType::Ref(RefType { nullable: true, heap: HeapType::Concrete(TypeIndex::from_u32(i)) })
    }

    #[test]
    fn equal_types_have_equal_numbers_and_die_with_the_last_user() {
        let registry = Arc::new(Registry::default());
        let a = module(vec![sub(true, None, func(&[ValType::I32], &[])), sub(true, None, func(&[], &[]))], vec![0..1, 1..2]);
        let b = module(vec![sub(true, None, func(&[], &[])), sub(true, None, func(&[ValType::I32], &[]))], vec![0..1, 1..2]);
        let (ids_a, reg_a) = registry.intern_module(&a);
        let (ids_b, reg_b) = registry.intern_module(&b);
        assert_eq!([ids_a[0], ids_a[1]], [ids_b[1], ids_b[0]]);
        let (host, reg_host) = registry.intern_func(&func(&[ValType::I32], &[])).unwrap();
        assert_eq!(host, ids_a[0]);
        drop((reg_a, reg_b));
        assert_eq!(registry.live_types(), 1);
        drop(reg_host);
        assert_eq!(registry.live_types(), 0);
    }

    #[test]
    fn subtypes_and_references_keep_their_groups() {
        let registry = Arc::new(Registry::default());
        // 0: open; 1: below 0; 2: takes a reference to 1; 3, 4: one group, each taking the other.
        let types = vec![
            sub(false, None, func(&[], &[])),
            sub(false, Some(0), func(&[], &[])),
            sub(true, None, func(&[concrete(1)], &[])),
            sub(true, None, func(&[concrete(4)], &[])),
            sub(true, None, func(&[concrete(3)], &[])),
        ];
        let (ids, reg) = registry.intern_module(&module(types, vec![0..1, 1..2, 2..3, 3..5]));
        assert!(registry.is_subtype(ids[1], ids[0]));
        assert!(!registry.is_subtype(ids[0], ids[1]));
        assert_ne!(ids[3], ids[4]);
        assert_eq!(*registry.func_type(ids[3]).params, [concrete(ids[4])]);
        let kept = registry.retain_type(ids[2]).unwrap();
        drop(reg);
        assert_eq!(registry.live_types(), 3, "a type keeps what it refers to");
        drop(kept);
        assert_eq!(registry.live_types(), 0);
        assert!(registry.retain_type(ids[2]).is_none());
        assert!(registry.intern_func(&func(&[concrete(7)], &[])).is_none());
        // Freed numbers are used again.
        let (again, _reg) = registry.intern_func(&func(&[], &[])).unwrap();
        assert!(again < 5);
    }

    #[test]
    fn matching_of_references() {
        let r = Registry::default();
        let null = |heap| RefType { nullable: true, heap };
        let nonnull = |heap| RefType { nullable: false, heap };
        assert!(r.ref_subtype(nonnull(HeapType::Func), null(HeapType::Func)));
        assert!(!r.ref_subtype(null(HeapType::Func), nonnull(HeapType::Func)));
        assert!(r.ref_subtype(null(HeapType::NoExtern), null(HeapType::Extern)));
        assert!(!r.ref_subtype(null(HeapType::Extern), null(HeapType::Func)));
        assert!(!r.val_subtype(ValType::I32, ValType::I64));
    }
}
