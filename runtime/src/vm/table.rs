//! The storage of a table: 8 bytes an element, function references as `VMFuncRef` pointers and heap references as
//! indices. A table that cannot grow never moves; growing another one may, and its `VMTableDefinition` is then renewed.

use std::alloc::{Layout, alloc_zeroed, dealloc, realloc};
use std::ptr::NonNull;
use wasmc_environ::limits::MAX_TABLE_ELEMENTS;
use wasmc_environ::types::{RefKind, TableType};
use wasmc_environ::vmlayout::VMTableDefinition;

/// Why a table could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TableError {
    /// Above the limit.
    #[error("a table with {elements} initial elements exceeds the limit of {limit}")]
    TooLarge {
        /// The initial size.
        elements: u64,
        /// The limit.
        limit: u64,
    },
    /// Out of memory.
    #[error("cannot allocate a table of {elements} elements: out of memory")]
    OutOfMemory {
        /// The initial size.
        elements: u64,
    },
}

/// A table.
pub(crate) struct TableStorage {
    elements: NonNull<u64>,
    len: usize,
    capacity: usize,
    max: usize,
    kind: RefKind,
}

// SAFETY: the elements are plain words; what they refer to belongs to the store, which guards its use.
unsafe impl Send for TableStorage {}
// SAFETY: as above; writing takes `&mut` or goes through generated code of the one store that owns the table.
unsafe impl Sync for TableStorage {}

impl TableStorage {
    /// A table of the initial size with every element `init`.
    pub(crate) fn new(ty: &TableType, init: u64) -> Result<Self, TableError> {
        Self::with_limit(ty, init, MAX_TABLE_ELEMENTS)
    }

    /// The same with a limit for its size, which `MAX_TABLE_ELEMENTS` bounds.
    pub(crate) fn with_limit(ty: &TableType, init: u64, limit: u64) -> Result<Self, TableError> {
        let limit = limit.min(MAX_TABLE_ELEMENTS);
        let elements = ty.limits.min;
        if elements > limit {
            return Err(TableError::TooLarge { elements, limit });
        }
        let max = ty.limits.max.map_or(limit, |m| m.min(limit)).max(elements);
        let mut table = Self { elements: NonNull::dangling(), len: 0, capacity: 0, max: max as usize, kind: ty.element.kind() };
        table.grow(elements, init).ok_or(TableError::OutOfMemory { elements })?;
        Ok(table)
    }

    fn layout(capacity: usize) -> Option<Layout> {
        Layout::array::<u64>(capacity).ok()
    }

    /// Makes room for `needed` elements, at most `max`.
    fn reserve(&mut self, needed: usize) -> Option<()> {
        if needed <= self.capacity {
            return Some(());
        }
        // The first allocation is exact, since most tables never grow; growing doubles, so that it is amortised.
        let capacity = if self.capacity == 0 { needed } else { needed.max(self.capacity * 2).min(self.max) };
        let layout = Self::layout(capacity)?;
        // SAFETY: `capacity` is not 0, since it is above the old one; the old block was allocated with the layout of the
        // old capacity, and the new size does not overflow, since `layout` could be made.
        let block = unsafe {
            if self.capacity == 0 {
                alloc_zeroed(layout)
            } else {
                realloc(self.elements.as_ptr().cast(), Self::layout(self.capacity)?, layout.size())
            }
        };
        self.elements = NonNull::new(block.cast())?;
        self.capacity = capacity;
        Some(())
    }

    /// Adds elements; returns the old size, or `None` if the table cannot grow so far. Then nothing changes.
    /// The base may be another one afterwards.
    pub(crate) fn grow(&mut self, delta: u64, init: u64) -> Option<u64> {
        let old = self.len;
        let new = usize::try_from(delta).ok()?.checked_add(old).filter(|n| *n <= self.max)?;
        let fresh = self.capacity == 0;
        self.reserve(new)?;
        // A fresh block is zero already, and its pages stay untouched.
        if !(fresh && init == 0) {
            for i in old..new {
                // SAFETY: `i` is below the capacity; writing through a raw pointer, as the element has no value yet.
                unsafe { self.elements.add(i).write(init) };
            }
        }
        self.len = new;
        Some(old as u64)
    }

    /// What generated code reads.
    pub(crate) fn definition(&self) -> VMTableDefinition {
        VMTableDefinition { base: self.elements.as_ptr(), current_elements: self.len as u64 }
    }

    /// How many elements there are.
    pub(crate) fn len(&self) -> u64 {
        self.len as u64
    }

    /// How many there can be.
    pub(crate) fn max(&self) -> u64 {
        self.max as u64
    }

    /// The elements. Generated code of the store must not run while the slice lives.
    pub(crate) fn elements(&self) -> &[u64] {
        // SAFETY: `len` elements are initialised. Only generated code writes to them behind our back, and it runs only
        // while the store is borrowed as a whole.
        unsafe { std::slice::from_raw_parts(self.elements.as_ptr(), self.len) }
    }

    /// The elements, to write.
    #[cfg(test)]
    pub(crate) fn elements_mut(&mut self) -> &mut [u64] {
        // SAFETY: as in `elements`, and the table is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.elements.as_ptr(), self.len) }
    }

    /// The heap references among the elements.
    pub(crate) fn visit_roots(&self, f: &mut dyn FnMut(u32)) {
        if self.kind == RefKind::Heap {
            self.elements().iter().filter(|e| **e != 0).for_each(|e| f(*e as u32));
        }
    }
}

impl Drop for TableStorage {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.capacity)
            && self.capacity != 0
        {
            // SAFETY: the block was allocated with this layout.
            unsafe { dealloc(self.elements.as_ptr().cast(), layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmc_environ::types::{Limits, RefType};

    fn ty(min: u64, max: Option<u64>) -> TableType {
        TableType { element: RefType::EXTERNREF, limits: Limits { min, max }, table64: false }
    }

    #[test]
    fn elements_start_as_asked_and_survive_growth() {
        let mut t = TableStorage::new(&ty(3, Some(10_000)), 7).unwrap();
        assert_eq!(t.elements(), [7, 7, 7]);
        t.elements_mut()[1] = 1;
        for i in 0..100 {
            assert_eq!(t.grow(10, i), Some(3 + 10 * i));
        }
        assert_eq!((t.elements()[1], t.elements()[2], t.elements()[3], t.elements()[1002]), (1, 7, 0, 99));
        assert_eq!(t.len(), 1003);
        assert_eq!(t.grow(8998, 0), None);
        assert_eq!(t.grow(u64::MAX, 0), None);
        assert_eq!(t.grow(8997, 5), Some(1003));
        let mut roots = Vec::new();
        t.visit_roots(&mut |r| roots.push(r));
        assert_eq!(roots.iter().filter(|r| **r == 5).count(), 8997 + 10);
    }

    #[test]
    fn a_table_that_cannot_grow_does_not_move() {
        let mut t = TableStorage::new(&ty(100, Some(100)), 0).unwrap();
        let base = t.definition().base;
        assert_eq!((t.grow(0, 1), t.grow(1, 1)), (Some(100), None));
        assert_eq!((t.definition().base, t.definition().current_elements), (base, 100));
        assert!(t.elements().iter().all(|e| *e == 0));
    }

    #[test]
    fn empty_tables_and_limits() {
        let mut t = TableStorage::new(&ty(0, None), 9).unwrap();
        assert!(t.elements().is_empty());
        assert_eq!((t.grow(0, 0), t.grow(2, 4)), (Some(0), Some(0)));
        assert_eq!(t.elements(), [4, 4]);
        assert_eq!(t.grow(MAX_TABLE_ELEMENTS, 0), None);
        let error = TableStorage::new(&ty(MAX_TABLE_ELEMENTS + 1, None), 0).err().unwrap().to_string();
        assert!(error.contains("10000001"), "{error}");
        assert!(TableStorage::with_limit(&ty(11, None), 0, 10).is_err());
        assert_eq!(TableStorage::with_limit(&ty(1, None), 0, 10).unwrap().grow(10, 0), None);
    }
}
