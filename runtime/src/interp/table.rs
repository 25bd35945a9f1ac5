//! Globals, tables, references, and the bulk instructions on memories and tables. Except for globals these are calls of
//! `ops.rs`, whose semantics compiled code shares; they are made out of line, so that their handlers stay small.

use super::call::{CAUGHT, RESUME, defined_at, resume};
use super::dispatch::*;
use super::frame::*;
use crate::ops;
use core::marker::PhantomData;
use wasmc_environ::vmlayout::*;
use wasmc_environ::*;

op! {
    /// `field 0 = global` at the offset (`defined_at`) in the upper half of word 1.
    global_get[T: Val, D: Dst] |r| {
        let v = T::load(defined_at::<u64>((*r.cx).vmctx, high(&r)));
        D::put(&mut r, v);
        next!(r, 2)
    }

    /// `global = field 0`; the bits above an i32 or a heap reference become 0.
    global_set[T: Val, X: Src<T>] |r| {
        T::store(defined_at::<u64>((*r.cx).vmctx, high(&r)), X::get(&r));
        next!(r, 2)
    }

    /// Two slots at field 0 = global.
    global_get_vector[] |r| {
        let v = defined_at::<[u64; 2]>((*r.cx).vmctx, high(&r)).read();
        slot::<0>(&r).cast::<[u64; 2]>().write(v);
        next!(r, 2)
    }

    /// `global = ` two slots at field 0.
    global_set_vector[] |r| {
        let v = slot::<0>(&r).cast::<[u64; 2]>().read();
        defined_at::<[u64; 2]>((*r.cx).vmctx, high(&r)).write(v);
        next!(r, 2)
    }

    /// Traps if the reference in field 0 is null, with the trap code in field 1.
    non_null[] |r| {
        if *slot::<0>(&r) == 0 {
            trap!(r, TrapCode::from_u8(field::<1>(&r) as u8).unwrap_or(TrapCode::NullReference))
        }
        next!(r, 2)
    }

    /// An instruction that works out of line.
    slow[F: Slow] |r| {
        resume!(r, out_of_line::<F>(r.cx, r.ip, r.sp), const { F::WORDS })
    }
}

/// The operands of an instruction that works out of line.
pub(super) struct Operands {
    ip: Ip,
    sp: Sp,
    pub(super) vmctx: *mut VMContextHead,
}

impl Operands {
    /// The slot in a field of word 1.
    fn slot(&self, field: usize) -> *mut u64 {
        // SAFETY: the translator made the instruction with four fields that name slots.
        unsafe { self.sp.offset(*(self.ip as *const i16).add(4 + field) as isize) }
    }

    /// The value of a slot. An i32 is zero-extended.
    pub(super) fn get(&self, field: usize) -> u64 {
        // SAFETY: as `slot`.
        unsafe { *self.slot(field) }
    }

    pub(super) fn set(&self, field: usize, v: u64) {
        // SAFETY: as `slot`.
        unsafe { *self.slot(field) = v }
    }

    /// Lower and upper half of word 2.
    pub(super) fn indices(&self) -> (u32, u32) {
        // SAFETY: the instruction has at least three words.
        let word = unsafe { *self.ip.add(2) };
        (word as u32, (word >> 32) as u32)
    }

    /// Word 3 of an instruction that has one.
    pub(super) fn word3(&self) -> u64 {
        // SAFETY: by `Slow::WORDS` of who asks.
        unsafe { *self.ip.add(3) }
    }
}

/// An instruction that works out of line.
pub(super) trait Slow {
    /// Length of the instruction.
    const WORDS: usize = 3;
    unsafe fn run(o: Operands) -> Result<(), TrapCode>;
}

#[inline(never)]
unsafe extern "C" fn out_of_line<F: Slow>(cx: *mut Cx, ip: Ip, sp: Sp) -> u64 {
    // SAFETY: the handler's: the instruction at `ip` has `F`'s operands.
    unsafe {
        (*cx).leave(ip, sp);
        match F::run(Operands { ip, sp, vmctx: (*cx).vmctx.cast() }) {
            Ok(()) => RESUME,
            Err(code) => {
                (*cx).trap = code;
                EXIT_TRAP
            }
        }
    }
}

/// The handler of an instruction that works out of line.
pub(super) struct SlowForm<F>(PhantomData<F>);

impl<F: Slow> SlowForm<F> {
    pub(super) const HANDLER: Handler = slow::<F>;
}

macro_rules! slow_operators {
    ($($(#[$doc:meta])* $name:ident |$o:ident| $body:expr;)*) => {$(
        $(#[$doc])*
        pub(super) struct $name;
        impl Slow for $name {
            unsafe fn run($o: Operands) -> Result<(), TrapCode> {
                // SAFETY: the translator took indices from a validated instruction, and slots of its types.
                unsafe { $body }
            }
        }
    )*};
}

/// Checks a 64-bit number against the elements of a table.
unsafe fn table_slot(o: &Operands, table: u32, index: u64) -> Result<*mut u64, TrapCode> {
    // SAFETY: the caller's.
    unsafe {
        let definition = ops::table_definition(o.vmctx, TableIndex::from_u32(table));
        if index >= (*definition).current_elements {
            return Err(TrapCode::TableOutOfBounds);
        }
        Ok((*definition).base.add(index as usize))
    }
}

slow_operators! {
    /// `field 0 = size`; word 2: memory, log2 of its page size.
    MemorySize |o| {
        let (memory, page_size) = o.indices();
        let bytes = ops::memory_bytes(o.vmctx, MemoryIndex::from_u32(memory));
        o.set(0, bytes >> page_size);
        Ok(())
    };
    /// `field 0 = grow(field 1)`; word 2: memory, whether it has 64-bit addresses.
    MemoryGrow |o| {
        let (memory, wide) = o.indices();
        let old = ops::memory_grow(o.vmctx, MemoryIndex::from_u32(memory), o.get(1));
        o.set(0, if wide != 0 { old as u64 } else { old as u32 as u64 });
        Ok(())
    };
    /// Fields: destination, source, length; word 2: memories of destination and source.
    MemoryCopy |o| {
        let (dst, src) = o.indices();
        ops::memory_copy(o.vmctx, MemoryIndex::from_u32(dst), MemoryIndex::from_u32(src), o.get(0), o.get(1), o.get(2))
    };
    /// Fields: destination, value, length; word 2: memory.
    MemoryFill |o| {
        ops::memory_fill(o.vmctx, MemoryIndex::from_u32(o.indices().0), o.get(0), o.get(1) as u8, o.get(2))
    };
    /// Fields: destination, source, length; word 2: memory, segment.
    MemoryInit |o| {
        let (memory, segment) = o.indices();
        ops::memory_init(o.vmctx, MemoryIndex::from_u32(memory), DataIndex::from_u32(segment), o.get(0), o.get(1) as u32, o.get(2) as u32)
    };
    /// Word 2: segment.
    DataDrop |o| {
        ops::data_drop(o.vmctx, DataIndex::from_u32(o.indices().0));
        Ok(())
    };
    /// `field 0 = table[field 1]`; word 2: table.
    TableGet |o| {
        let p = table_slot(&o, o.indices().0, o.get(1))?;
        o.set(0, *p);
        Ok(())
    };
    /// `table[field 0] = field 1`; word 2: table.
    TableSet |o| {
        let p = table_slot(&o, o.indices().0, o.get(0))?;
        *p = o.get(1);
        Ok(())
    };
    /// `field 0 = size`; word 2: table.
    TableSize |o| {
        o.set(0, (*ops::table_definition(o.vmctx, TableIndex::from_u32(o.indices().0))).current_elements);
        Ok(())
    };
    /// `field 0 = grow(field 1, initial value field 2)`; word 2: table, whether it has 64-bit indices.
    TableGrow |o| {
        let (table, wide) = o.indices();
        let old = ops::table_grow(o.vmctx, TableIndex::from_u32(table), o.get(1), o.get(2));
        o.set(0, if wide != 0 { old as u64 } else { old as u32 as u64 });
        Ok(())
    };
    /// Fields: destination, value, length; word 2: table.
    TableFill |o| {
        ops::table_fill(o.vmctx, TableIndex::from_u32(o.indices().0), o.get(0), o.get(1), o.get(2))
    };
    /// Fields: destination, source, length; word 2: tables of destination and source.
    TableCopy |o| {
        let (dst, src) = o.indices();
        ops::table_copy(o.vmctx, TableIndex::from_u32(dst), TableIndex::from_u32(src), o.get(0), o.get(1), o.get(2))
    };
    /// Fields: destination, source, length; word 2: table, segment.
    TableInit |o| {
        let (table, segment) = o.indices();
        ops::table_init(o.vmctx, TableIndex::from_u32(table), ElemIndex::from_u32(segment), o.get(0), o.get(1) as u32, o.get(2) as u32)
    };
    /// Word 2: segment.
    ElemDrop |o| {
        ops::elem_drop(o.vmctx, ElemIndex::from_u32(o.indices().0));
        Ok(())
    };
    /// `field 0 = reference to the function` in word 2.
    RefFunc |o| {
        o.set(0, ops::func_ref(o.vmctx, FuncIndex::from_u32(o.indices().0)) as u64);
        Ok(())
    };
}
