//! The reference heap of a store: host values behind `externref` and exception objects behind `exnref`, named by 32-bit
//! indices (0 is null). Mark-sweep; the roots are told by a callback, and one collection visits every object at most once.
//! Objects never move, because generated code holds addresses of exception objects.
//!
//! An exception that nobody made a reference to (`EXN_ESCAPED` not set) dies at the next throw, which takes its memory
//! over: throwing for an hour allocates nothing.

use std::alloc::{Layout, alloc, dealloc};
use std::any::Any;
use std::ptr::NonNull;
use wasmc_environ::TrapCode;
use wasmc_environ::vmlayout::{EXN_ESCAPED, EXN_PAYLOAD_OFFSET, VMExnObject, VMTagDefinition, ValRaw};

/// A collection is worth it once this many bytes were allocated since the last one.
const COLLECT_THRESHOLD: usize = 1 << 20;
/// Default bound of what the objects of a heap may take.
pub(crate) const DEFAULT_HEAP_BYTES: usize = 1 << 30;
/// Indices stay below this, so that a bit is left for unboxed values.
const MAX_INDEX: usize = i32::MAX as usize;
/// What an object costs besides its own bytes: its entry, its mark, and the allocator's share.
const OBJECT_OVERHEAD: usize = 48;
/// Free payload slots that a new exception object gets, so that the next one of another tag fits into it, too.
const MIN_EXN_SLOTS: u32 = 4;

/// Calls what it is given with every root.
pub(crate) type VisitRoots<'a> = dyn FnMut(&mut dyn FnMut(u32)) + 'a;

enum Entry {
    /// Not in use; the next free index.
    Free(u32),
    /// A host value.
    Extern(Box<dyn Any + Send + Sync>),
    /// An exception.
    Exn(ExnBlock),
}

/// The memory of an exception object: header, `capacity` payload slots, and a bit for each slot that holds a heap
/// reference.
struct ExnBlock {
    object: NonNull<VMExnObject>,
    capacity: u32,
}

/// The reference heap of a store.
pub(crate) struct Heap {
    /// By index; entry 0 is never used.
    entries: Vec<Entry>,
    /// First free index, or 0.
    free: u32,
    /// A bit for each entry, valid during a collection.
    marks: Vec<u64>,
    /// Marked objects whose payload is still to be visited.
    gray: Vec<u32>,
    /// The exception object that was made last and may be taken over by the next throw, or 0.
    last_thrown: u32,
    live: usize,
    bytes: usize,
    max_bytes: usize,
    /// Value of `bytes` at which the next collection is due.
    collect_at: usize,
    collections: u64,
}

impl ExnBlock {
    fn layout(capacity: u32) -> Option<Layout> {
        let payload = (capacity as usize).checked_mul(size_of::<ValRaw>())?;
        let bits = (capacity as usize).div_ceil(64) * size_of::<u64>();
        let size = (EXN_PAYLOAD_OFFSET as usize).checked_add(payload)?.checked_add(bits)?;
        Layout::from_size_align(size, align_of::<VMExnObject>()).ok()
    }

    fn size(capacity: u32) -> usize {
        Self::layout(capacity).map_or(0, |l| l.size())
    }

    fn new(capacity: u32) -> Option<Self> {
        let layout = Self::layout(capacity)?;
        // SAFETY: the layout has at least the size of the header.
        let object = NonNull::new(unsafe { alloc(layout) }.cast::<VMExnObject>())?;
        Some(Self { object, capacity })
    }

    fn slot(&self, i: u32) -> *mut ValRaw {
        debug_assert!(i < self.capacity);
        // SAFETY: the block has `capacity` slots behind the header.
        unsafe { self.object.byte_add(EXN_PAYLOAD_OFFSET as usize).cast::<ValRaw>().add(i as usize) }.as_ptr()
    }

    fn bits(&self, i: u32) -> *mut u64 {
        debug_assert!(i < self.capacity);
        let payload = self.capacity as usize * size_of::<ValRaw>();
        // SAFETY: behind the slots there is a word for every 64 of them; slots are 16 bytes wide, so it is aligned.
        unsafe { self.object.byte_add(EXN_PAYLOAD_OFFSET as usize + payload).cast::<u64>().add(i as usize / 64) }.as_ptr()
    }

    /// Makes it the object of a new exception: no flags, references null.
    fn start(&mut self, tag: *const VMTagDefinition, slots: u32, heap_slots: impl Iterator<Item = bool>) {
        // SAFETY: the block is ours, and nobody refers to what it held before. `slots` is at most the capacity.
        unsafe {
            self.object.write(VMExnObject { tag, flags: 0, slots });
            for word in 0..slots.div_ceil(64) {
                *self.bits(word * 64) = 0;
            }
            for (i, is_reference) in (0..slots).zip(heap_slots) {
                if is_reference {
                    *self.bits(i) |= 1 << (i % 64);
                    *self.slot(i) = ValRaw::default();
                }
            }
        }
    }

    fn escaped(&self) -> bool {
        // SAFETY: the header is initialised since `start`.
        unsafe { (*self.object.as_ptr()).flags & EXN_ESCAPED != 0 }
    }

    /// The heap references in the payload.
    fn references(&self, f: &mut dyn FnMut(u32)) {
        // SAFETY: the header is initialised since `start`, and so are the words of bits of its slots and every slot
        // whose bit is set.
        unsafe {
            let slots = (*self.object.as_ptr()).slots.min(self.capacity);
            for word in 0..slots.div_ceil(64) {
                let mut bits = *self.bits(word * 64);
                while bits != 0 {
                    f((*self.slot(word * 64 + bits.trailing_zeros())).get_u32());
                    bits &= bits - 1;
                }
            }
        }
    }
}

impl Drop for ExnBlock {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.capacity) {
            // SAFETY: the block was allocated with this layout, and the heap hands out its address only for as long as
            // the entry lives.
            unsafe { dealloc(self.object.as_ptr().cast(), layout) };
        }
    }
}

// SAFETY: exception objects are plain data; the tags they point to belong to the same store.
unsafe impl Send for ExnBlock {}
// SAFETY: as above; everything behind `&Heap` only reads.
unsafe impl Sync for ExnBlock {}

impl Default for Heap {
    fn default() -> Self {
        Self::new()
    }
}

impl Heap {
    /// An empty heap.
    pub(crate) fn new() -> Self {
        Self::with_limit(DEFAULT_HEAP_BYTES)
    }

    /// An empty heap whose objects may take `max_bytes`.
    pub(crate) fn with_limit(max_bytes: usize) -> Self {
        let mut heap = Self {
            entries: Vec::new(),
            free: 0,
            marks: Vec::new(),
            gray: Vec::new(),
            last_thrown: 0,
            live: 0,
            bytes: 0,
            max_bytes,
            collect_at: 0,
            collections: 0,
        };
        heap.schedule();
        heap
    }

    /// Decides when the next collection is due: after as much garbage as there is live data, so that the cost of
    /// collecting is in proportion to allocating; near the cap earlier, but never at every allocation.
    fn schedule(&mut self) {
        let room = self.max_bytes.saturating_sub(self.bytes);
        let wait = self.bytes.max(COLLECT_THRESHOLD).min(room.max(self.max_bytes / 64));
        self.collect_at = self.bytes.saturating_add(wait);
    }

    /// Whether enough was allocated that a collection is worth it. Asked before an allocation, by those who know the roots.
    pub(crate) fn should_collect(&self) -> bool {
        self.bytes >= self.collect_at
    }

    /// Accounts for an object and gives it an index.
    fn insert(&mut self, size: usize, entry: impl FnOnce() -> Option<Entry>) -> Result<u32, TrapCode> {
        let bytes = self.bytes.checked_add(size + OBJECT_OVERHEAD).filter(|b| *b <= self.max_bytes).ok_or(TrapCode::HeapExhausted)?;
        let index = if self.free != 0 {
            self.free
        } else {
            let len = self.entries.len().max(1);
            if len > MAX_INDEX || self.entries.try_reserve(2).is_err() {
                return Err(TrapCode::HeapExhausted);
            }
            len as u32
        };
        let entry = entry().ok_or(TrapCode::HeapExhausted)?;
        if self.free != 0 {
            let Some(place) = self.entries.get_mut(index as usize) else { return Err(TrapCode::HeapExhausted) };
            if let Entry::Free(next) = *place {
                self.free = next;
            }
            *place = entry;
        } else {
            if self.entries.is_empty() {
                self.entries.push(Entry::Free(0));
            }
            self.entries.push(entry);
        }
        self.bytes = bytes;
        self.live += 1;
        Ok(index)
    }

    /// Frees an entry that is in use; its host value is dropped last, for its destructor may do anything.
    fn remove(&mut self, index: u32) {
        let Some(place) = self.entries.get_mut(index as usize) else { return };
        let size = match place {
            Entry::Free(_) => return,
            Entry::Extern(value) => size_of_val(&**value),
            Entry::Exn(block) => ExnBlock::size(block.capacity),
        };
        let old = std::mem::replace(place, Entry::Free(self.free));
        self.free = index;
        self.live -= 1;
        self.bytes -= size + OBJECT_OVERHEAD;
        drop(old);
    }

    /// A reference to a host value.
    pub(crate) fn alloc_extern(&mut self, value: Box<dyn Any + Send + Sync>) -> Result<u32, TrapCode> {
        self.insert(size_of_val(&*value), || Some(Entry::Extern(value)))
    }

    /// The host value of a reference; `None` for null and for references to something else.
    pub(crate) fn extern_ref(&self, index: u32) -> Option<&(dyn Any + Send + Sync)> {
        match self.entries.get(index as usize)? {
            Entry::Extern(value) => Some(&**value),
            _ => None,
        }
    }

    /// The object for an exception that is about to be thrown, with its reference. The payload is to be filled next;
    /// slots that hold heap references are null until then. Takes over the object of the last throw if nobody made a
    /// reference to it. `heap_slots` tells for each slot whether it holds a heap reference.
    pub(crate) fn throw_alloc(
        &mut self,
        tag: *const VMTagDefinition,
        slots: u32,
        heap_slots: &[bool],
    ) -> Result<(u32, *mut VMExnObject), TrapCode> {
        self.throw_alloc_iter(tag, slots, heap_slots.iter().copied())
    }

    /// As `throw_alloc`, without a list.
    pub(crate) fn throw_alloc_iter(
        &mut self,
        tag: *const VMTagDefinition,
        slots: u32,
        heap_slots: impl Iterator<Item = bool>,
    ) -> Result<(u32, *mut VMExnObject), TrapCode> {
        let index = self.exn_block(slots)?;
        match self.entries.get_mut(index as usize) {
            Some(Entry::Exn(block)) => {
                block.start(tag, slots, heap_slots);
                Ok((index, block.object.as_ptr()))
            }
            _ => Err(TrapCode::HeapExhausted),
        }
    }

    /// An exception object that nobody refers to, with room for `slots`.
    fn exn_block(&mut self, slots: u32) -> Result<u32, TrapCode> {
        if let Some(Entry::Exn(block)) = self.entries.get(self.last_thrown as usize)
            && !block.escaped()
        {
            if block.capacity >= slots {
                return Ok(self.last_thrown);
            }
            self.remove(self.last_thrown);
        }
        self.last_thrown = 0;
        let capacity = slots.max(MIN_EXN_SLOTS);
        self.last_thrown = self.insert(ExnBlock::size(capacity), || {
            let mut block = ExnBlock::new(capacity)?;
            block.start(std::ptr::null(), 0, std::iter::empty());
            Some(Entry::Exn(block))
        })?;
        Ok(self.last_thrown)
    }

    /// The exception object of a reference; `None` for null and for references to something else.
    pub(crate) fn exn_object(&self, index: u32) -> Option<*mut VMExnObject> {
        match self.entries.get(index as usize)? {
            Entry::Exn(block) => Some(block.object.as_ptr()),
            _ => None,
        }
    }

    /// Notes that a reference to an exception was made, so that the next throw does not take its object over.
    pub(crate) fn escape(&mut self, index: u32) {
        if let Some(object) = self.exn_object(index) {
            // SAFETY: the entry is in use, so its object is initialised.
            unsafe { (*object).flags |= EXN_ESCAPED };
        }
    }

    /// Frees everything that cannot be reached. `roots` is called once, and calls what it is given with every
    /// reference in frames, tables, globals and host handles, and the pending exception; the one thrown last is known here.
    pub(crate) fn collect(&mut self, roots: &mut VisitRoots<'_>) {
        self.begin_collection();
        roots(&mut |index| self.mark(index));
        self.finish_collection();
    }

    /// Clears the marks, and marks what is known here.
    fn begin_collection(&mut self) {
        self.marks.clear();
        self.marks.resize(self.entries.len().div_ceil(64), 0);
        self.gray.clear();
        match self.entries.get(self.last_thrown as usize) {
            // It may still be on its way to a handler.
            Some(Entry::Exn(block)) if !block.escaped() => self.mark(self.last_thrown),
            // Now it lives as long as its references, and its index may come to name something else.
            _ => self.last_thrown = 0,
        }
    }

    /// Marks an object as reachable. Null, and what is not a reference of this heap, is ignored: a frame's slot can
    /// hold an index whose object died.
    fn mark(&mut self, index: u32) {
        let Some(word) = self.marks.get_mut(index as usize / 64) else { return };
        let bit = 1 << (index % 64);
        if *word & bit == 0 {
            *word |= bit;
            if let Some(Entry::Exn(_)) = self.entries.get(index as usize) {
                self.gray.push(index);
            }
        }
    }

    /// Visits what the marked objects refer to, and frees the rest.
    fn finish_collection(&mut self) {
        while let Some(index) = self.gray.pop() {
            let Self { entries, marks, gray, .. } = self;
            let Some(Entry::Exn(block)) = entries.get(index as usize) else { continue };
            block.references(&mut |r| {
                let Some(word) = marks.get_mut(r as usize / 64) else { return };
                let bit = 1 << (r % 64);
                if *word & bit == 0 {
                    *word |= bit;
                    if let Some(Entry::Exn(_)) = entries.get(r as usize) {
                        gray.push(r);
                    }
                }
            });
        }
        for index in 1..self.entries.len() {
            if self.marks[index / 64] & 1 << (index % 64) == 0 {
                self.remove(index as u32);
            }
        }
        self.collections += 1;
        self.schedule();
    }

    /// How many objects there are, dead ones that were not collected yet included.
    #[cfg(test)]
    pub(crate) fn objects(&self) -> usize {
        self.live
    }

    /// What the objects take.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many collections there were.
    #[cfg(test)]
    pub(crate) fn collections(&self) -> u64 {
        self.collections
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static TAGS: [VMTagDefinition; 2] = [VMTagDefinition { type_id: 0, reserved: 0 }, VMTagDefinition { type_id: 1, reserved: 0 }];

    fn nothing(_: &mut dyn FnMut(u32)) {}

    /// Fills a slot as generated code would.
    fn set_slot(object: *mut VMExnObject, i: usize, value: u32) {
        // SAFETY: the tests only name slots that they asked for.
        unsafe { object.byte_add(EXN_PAYLOAD_OFFSET as usize).cast::<ValRaw>().add(i).write(ValRaw { lo: u64::from(value), hi: 0 }) };
    }

    struct Counted<'a>(&'a AtomicUsize);
    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn host_values_live_as_long_as_they_are_reachable() {
        static DROPS: AtomicUsize = AtomicUsize::new(0);
        let mut heap = Heap::default();
        let a = heap.alloc_extern(Box::new(Counted(&DROPS))).unwrap();
        let b = heap.alloc_extern(Box::new(7u32)).unwrap();
        assert!(a != 0 && b != 0 && a != b);
        assert_eq!(heap.extern_ref(b).and_then(|v| v.downcast_ref()), Some(&7u32));
        assert!(heap.extern_ref(0).is_none() && heap.extern_ref(u32::MAX).is_none() && heap.exn_object(b).is_none());
        heap.collect(&mut |f| [a, b].into_iter().for_each(f));
        assert_eq!((heap.objects(), DROPS.load(Ordering::Relaxed)), (2, 0));
        heap.collect(&mut |f| {
            f(b);
            f(0);
            f(12345);
        });
        assert_eq!((heap.objects(), DROPS.load(Ordering::Relaxed)), (1, 1));
        assert_eq!(heap.extern_ref(b).and_then(|v| v.downcast_ref()), Some(&7u32));
        // The index of the dead one is used again.
        assert_eq!(heap.alloc_extern(Box::new(())).unwrap(), a);
    }

    #[test]
    fn a_storm_of_throws_allocates_nothing() {
        let mut heap = Heap::default();
        let (first, object) = heap.throw_alloc(&TAGS[0], 3, &[false; 3]).unwrap();
        let bytes = heap.bytes();
        for i in 0..1_000_000u32 {
            let (index, again) = heap.throw_alloc(&TAGS[(i % 2) as usize], i % 5, &[true; 5]).unwrap();
            assert_eq!((index, again), (first, object));
        }
        assert_eq!((heap.objects(), heap.bytes(), heap.collections()), (1, bytes, 0));
        // SAFETY: the object of the last throw is alive.
        unsafe { assert_eq!(((*object).tag, (*object).slots, (*object).flags), (&raw const TAGS[1], 999_999 % 5, 0)) };
    }

    #[test]
    fn a_storm_of_escaping_throws_is_collected() {
        let mut heap = Heap::default();
        let mut peak = 0;
        for i in 0..1_000_000u32 {
            if heap.should_collect() {
                heap.collect(&mut nothing);
            }
            let (index, _) = heap.throw_alloc(&TAGS[0], 1, &[false]).unwrap();
            heap.escape(index);
            peak = peak.max(heap.bytes());
            assert!(i > 0 || heap.objects() == 1);
        }
        assert!(heap.collections() > 10 && peak < 3 * COLLECT_THRESHOLD, "{} {peak}", heap.collections());
    }

    #[test]
    fn a_larger_payload_gets_a_larger_object() {
        let mut heap = Heap::default();
        for slots in [1u32, 4, 5, 64, 65, 130, 2, 0, 1000] {
            let (index, object) = heap.throw_alloc(&TAGS[0], slots, &vec![true; slots as usize]).unwrap();
            assert!(object.addr().is_multiple_of(16));
            (0..slots as usize).for_each(|i| set_slot(object, i, index));
            heap.collect(&mut nothing);
            assert_eq!(heap.objects(), 1);
        }
    }

    #[test]
    fn payloads_are_traced_through_chains() {
        let mut heap = Heap::default();
        let mut last = heap.alloc_extern(Box::new("end")).unwrap();
        let end = last;
        for _ in 0..100_000 {
            let (index, object) = heap.throw_alloc(&TAGS[0], 70, &[&[false; 69][..], &[true]].concat()).unwrap();
            set_slot(object, 0, 0xdead);
            set_slot(object, 69, last);
            heap.escape(index);
            last = index;
        }
        heap.collect(&mut |f| f(last));
        assert_eq!(heap.objects(), 100_001);
        assert!(heap.extern_ref(end).is_some());
        // A cycle is no obstacle.
        let (a, object) = heap.throw_alloc(&TAGS[0], 1, &[true]).unwrap();
        set_slot(object, 0, a);
        heap.escape(a);
        heap.collect(&mut nothing);
        assert_eq!(heap.objects(), 0);
    }

    #[test]
    fn the_exception_in_flight_survives_and_an_escaped_one_is_not_taken_over() {
        let mut heap = Heap::default();
        let value = heap.alloc_extern(Box::new(3i64)).unwrap();
        let (a, object) = heap.throw_alloc(&TAGS[0], 1, &[true]).unwrap();
        set_slot(object, 0, value);
        heap.collect(&mut nothing);
        assert!(heap.extern_ref(value).is_some() && heap.exn_object(a) == Some(object));
        heap.escape(a);
        let (b, _) = heap.throw_alloc(&TAGS[1], 1, &[true]).unwrap();
        assert_ne!(a, b);
        heap.collect(&mut |f| f(a));
        assert_eq!(heap.objects(), 3);
        heap.collect(&mut nothing);
        assert_eq!(heap.objects(), 1);
        // An index that died while it was the last one thrown is not mistaken for an exception afterwards.
        heap.escape(b);
        heap.collect(&mut nothing);
        let e = heap.alloc_extern(Box::new(0u8)).unwrap();
        let (c, _) = heap.throw_alloc(&TAGS[0], 0, &[]).unwrap();
        assert!(c != e && heap.extern_ref(e).is_some());
    }

    #[test]
    fn the_cap_is_an_error_and_collecting_makes_room() {
        let mut heap = Heap::with_limit(10_000);
        let mut kept = Vec::new();
        let error = loop {
            if heap.should_collect() {
                let roots = kept.clone();
                heap.collect(&mut |f| roots.iter().for_each(|r| f(*r)));
            }
            match heap.alloc_extern(Box::new([0u8; 52])) {
                Ok(index) => kept.push(index),
                Err(e) => break e,
            }
        };
        assert_eq!((error, kept.len()), (TrapCode::HeapExhausted, 100));
        heap.collect(&mut nothing);
        assert_eq!(heap.bytes(), 0);
        assert!(heap.throw_alloc(&TAGS[0], u32::MAX, &[]).is_err());
        assert!(heap.throw_alloc(&TAGS[0], 1, &[true]).is_ok());
    }

    #[test]
    fn a_panic_in_a_destructor_leaves_the_heap_usable() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("in a destructor");
            }
        }
        let mut heap = Heap::default();
        heap.alloc_extern(Box::new(Bomb)).unwrap();
        heap.alloc_extern(Box::new(())).unwrap();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| heap.collect(&mut nothing)));
        assert!(result.is_err());
        heap.collect(&mut nothing);
        assert_eq!((heap.objects(), heap.bytes()), (0, 0));
        assert_ne!(heap.alloc_extern(Box::new(())).unwrap(), heap.alloc_extern(Box::new(())).unwrap());
    }
}
