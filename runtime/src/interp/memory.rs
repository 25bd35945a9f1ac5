//! Loads and stores. Every access is checked against the memory's current length; for memory 0 base and length are in
//! machine registers. An address is an i32 in a slot or the accumulator with a 32-bit offset in the instruction, or for a
//! memory 0 with 64-bit addresses an i64 with a 64-bit offset; whatever does not fit that (another memory, larger offsets,
//! vectors at 64-bit addresses) takes the `Far` form.
//!
//! Other threads may access a shared memory at the same time. Each handler makes one access, whose value it only hands on, so
//! what such a race can give is what the machine gives, as with compiled code.

use super::call::defined_at;
use super::dispatch::*;
use super::frame::reload;
use crate::shared_memory::current_length;
use core::marker::PhantomData;
use wasmc_environ::TrapCode;
use wasmc_environ::vmlayout::VMMemoryDefinition;

/// How an instruction names the bytes that it accesses.
pub(super) trait Address {
    /// Least length of an instruction with this address.
    const WORDS: usize;
    /// The first of `size` bytes, or `None` if they are not all in the memory.
    unsafe fn find(r: &Regs, size: usize) -> Option<*mut u8>;
}

/// Memory 0, an i32 from `X`, offset in the upper half of word 1.
pub(super) struct Near<X>(PhantomData<X>);
/// Memory 0, the i32 in the slot in field `F` shifted left by `K`, offset in the upper half of word 1.
pub(super) struct Scaled<const F: usize, const K: u32>;
/// As `Scaled`, but the sum of shifted index and immediate wraps in 32 bits: it is an addition before the access.
pub(super) struct Wrapped<const F: usize, const K: u32>;
/// Memory 0, the sum in 32 bits of an i32 from `B` and the one in the slot in field `F` shifted left by `K`, with an
/// offset of 16 bits in field 3.
pub(super) struct Indexed<B, const F: usize, const K: u32>(PhantomData<B>);
/// Memory 0, address in the upper half of word 1.
pub(super) struct Fixed;
/// Memory 0, an i64 from `X`, offset in word 2.
pub(super) struct Wide<X>(PhantomData<X>);
/// Address in the slot in field `F`, word 2 the offset of the memory's definition (`defined_at`), word 3 the offset.
pub(super) struct Far<const F: usize>;

impl<X: Src<u32>> Address for Near<X> {
    const WORDS: usize = 2;
    #[inline(always)]
    unsafe fn find(r: &Regs, size: usize) -> Option<*mut u8> {
        // SAFETY: an address within the memory's length is within its allocation. The sum of two 32-bit numbers and a size cannot overflow.
        unsafe {
            let at = X::get(r) as usize + high(r) as usize;
            if at + size > r.len { None } else { Some(r.mem.add(at)) }
        }
    }
}

impl<const F: usize, const K: u32> Address for Scaled<F, K> {
    const WORDS: usize = 2;
    #[inline(always)]
    unsafe fn find(r: &Regs, size: usize) -> Option<*mut u8> {
        // SAFETY: as `Near`.
        unsafe {
            let at = (<S<F> as Src<u32>>::get(r) << K) as usize + high(r) as usize;
            if at + size > r.len { None } else { Some(r.mem.add(at)) }
        }
    }
}

impl<const F: usize, const K: u32> Address for Wrapped<F, K> {
    const WORDS: usize = 2;
    #[inline(always)]
    unsafe fn find(r: &Regs, size: usize) -> Option<*mut u8> {
        // SAFETY: as `Near`.
        unsafe {
            let at = (<S<F> as Src<u32>>::get(r) << K).wrapping_add(high(r)) as usize;
            if at + size > r.len { None } else { Some(r.mem.add(at)) }
        }
    }
}

impl<B: Src<u32>, const F: usize, const K: u32> Address for Indexed<B, F, K> {
    const WORDS: usize = 2;
    #[inline(always)]
    unsafe fn find(r: &Regs, size: usize) -> Option<*mut u8> {
        // SAFETY: as `Near`.
        unsafe {
            let at = B::get(r).wrapping_add(<S<F> as Src<u32>>::get(r) << K) as usize + field::<3>(r) as u16 as usize;
            if at + size > r.len { None } else { Some(r.mem.add(at)) }
        }
    }
}

impl Address for Fixed {
    const WORDS: usize = 2;
    #[inline(always)]
    unsafe fn find(r: &Regs, size: usize) -> Option<*mut u8> {
        // SAFETY: as `Near`.
        unsafe {
            let at = high(r) as usize;
            if at + size > r.len { None } else { Some(r.mem.add(at)) }
        }
    }
}

impl<X: Src<u64>> Address for Wide<X> {
    const WORDS: usize = 3;
    #[inline(always)]
    unsafe fn find(r: &Regs, size: usize) -> Option<*mut u8> {
        // SAFETY: as `Near`, with sums that are checked.
        unsafe {
            let at = X::get(r).checked_add(word::<2>(r))?;
            let end = at.checked_add(size as u64)?;
            if end > r.len as u64 { None } else { Some(r.mem.add(at as usize)) }
        }
    }
}

impl<const F: usize> Address for Far<F> {
    const WORDS: usize = 4;
    #[inline(always)]
    unsafe fn find(r: &Regs, size: usize) -> Option<*mut u8> {
        // SAFETY: as `Near`; an i32 in a slot is zero-extended.
        unsafe {
            let memory = defined_at::<VMMemoryDefinition>((*r.cx).vmctx, word::<2>(r) as u32);
            let at = (*slot::<F>(r)).checked_add(word::<3>(r))?;
            let end = at.checked_add(size as u64)?;
            if end > current_length(memory) { None } else { Some((*memory).base.add(at as usize)) }
        }
    }
}

/// Ends an access that did not find its bytes in memory 0 as the registers know it.
macro_rules! outside {
    ($r:ident) => {
        return $crate::interp::memory::look_again($r.ip, $r.sp, $r.mem, $r.len, $r.cx, $r.acc, $r.fd, $r.fs)
    };
}
pub(super) use outside;

op! {
    /// Another thread can have grown a shared memory since its length came into a register: then the instruction runs again,
    /// else it traps. As long as an access finds its bytes, it need not ask.
    #[cold]
    #[inline(never)]
    look_again[] |r| {
        let known = r.len;
        reload(&mut r);
        if r.len > known {
            return go(r);
        }
        trap!(r, TrapCode::MemoryOutOfBounds)
    }
}

/// A load: how many bytes, and what becomes of them.
pub(super) trait Load {
    type Raw: Copy;
    type Out: Val;
    fn extend(raw: Self::Raw) -> Self::Out;
}

/// A store.
pub(super) trait Store {
    type Raw: Copy;
    type In: Val;
    fn wrap(v: Self::In) -> Self::Raw;
}

op! {
    /// Loads to field 0, from the address in field 1.
    load[L: Load, X: Address, D: Dst] |r| {
        match X::find(&r, const { size_of::<L::Raw>() }) {
            Some(p) => {
                let v = L::extend(p.cast::<L::Raw>().read_unaligned());
                D::put(&mut r, v);
                next!(r, const { X::WORDS })
            }
            None => outside!(r),
        }
    }

    /// Stores field 1, to the address in field 0.
    store[T: Store, X: Address, V: Src<T::In>] |r| {
        let v = T::wrap(V::get(&r));
        match X::find(&r, const { size_of::<T::Raw>() }) {
            Some(p) => {
                p.cast::<T::Raw>().write_unaligned(v);
                next!(r, const { longer(X::WORDS, V::WORDS) })
            }
            None => outside!(r),
        }
    }

    /// Loads 16 bytes to two slots at field 0.
    load_vector[X: Address] |r| {
        match X::find(&r, 16) {
            Some(p) => {
                let v = p.cast::<[u64; 2]>().read_unaligned();
                slot::<0>(&r).cast::<[u64; 2]>().write(v);
                next!(r, const { X::WORDS })
            }
            None => outside!(r),
        }
    }

    /// Stores 16 bytes from two slots at field 1.
    store_vector[X: Address] |r| {
        match X::find(&r, 16) {
            Some(p) => {
                let v = slot::<1>(&r).cast::<[u64; 2]>().read();
                p.cast::<[u64; 2]>().write_unaligned(v);
                next!(r, const { X::WORDS })
            }
            None => outside!(r),
        }
    }
}

/// The handlers of a load, by its address: `s`lot, `a`ccumulator, fixed, far; wide ones in a slot and in the accumulator.
pub(super) struct LoadForms {
    pub s: Forms,
    pub a: Forms,
    pub fixed: Forms,
    pub far: Forms,
    pub wide: [Forms; 2],
    /// By shift less 1.
    pub scaled: [Forms; 3],
    /// By shift.
    pub wrapped: [Forms; 4],
    /// By base (slot, accumulator) and shift.
    pub indexed: [[Forms; 4]; 2],
}

/// The handlers of a store, by its address and value: `s`lot, `a`ccumulator, `i`mmediate in word 2.
pub(super) struct StoreForms {
    pub ss: Handler,
    pub sa: Handler,
    pub si: Handler,
    pub as_: Handler,
    pub ai: Handler,
    /// Only where address and value have different accumulators.
    pub aa: Handler,
    pub fixed_s: Handler,
    pub fixed_a: Handler,
    pub fixed_i: Handler,
    pub far_s: Handler,
    /// By address (slot, accumulator) and value (slot, accumulator).
    pub wide: [[Handler; 2]; 2],
    /// By shift less 1, and value: slot, accumulator, immediate.
    pub scaled: [[Handler; 3]; 3],
    /// By shift and value.
    pub wrapped: [[Handler; 3]; 4],
    /// By shift and value, which is a slot in field 2 or the accumulator; the index is field 1.
    pub indexed: [[Handler; 2]; 4],
}

pub(super) trait HasLoadForms {
    const FORMS: &'static LoadForms;
}

pub(super) trait HasStoreForms {
    const FORMS: &'static StoreForms;
}

const fn both<L: Load, X: Address>() -> Forms {
    [load::<L, X, ToAcc>, load::<L, X, ToSlot>]
}

const fn indexed<L: Load, B: Src<u32>>() -> [Forms; 4] {
    [both::<L, Indexed<B, 2, 0>>(), both::<L, Indexed<B, 2, 1>>(), both::<L, Indexed<B, 2, 2>>(), both::<L, Indexed<B, 2, 3>>()]
}

const fn load_forms<L: Load>() -> LoadForms {
    LoadForms {
        s: both::<L, Near<S<1>>>(),
        a: both::<L, Near<A>>(),
        fixed: both::<L, Fixed>(),
        far: both::<L, Far<1>>(),
        wide: [both::<L, Wide<S<1>>>(), both::<L, Wide<A>>()],
        scaled: [both::<L, Scaled<1, 1>>(), both::<L, Scaled<1, 2>>(), both::<L, Scaled<1, 3>>()],
        wrapped: [both::<L, Wrapped<1, 0>>(), both::<L, Wrapped<1, 1>>(), both::<L, Wrapped<1, 2>>(), both::<L, Wrapped<1, 3>>()],
        indexed: [indexed::<L, S<1>>(), indexed::<L, A>()],
    }
}

const fn store_forms<T: Store>() -> StoreForms {
    StoreForms {
        ss: store::<T, Near<S<0>>, S<1>>,
        sa: store::<T, Near<S<0>>, A>,
        si: store::<T, Near<S<0>>, W>,
        as_: store::<T, Near<A>, S<1>>,
        ai: store::<T, Near<A>, W>,
        aa: store::<T, Near<A>, A>,
        fixed_s: store::<T, Fixed, S<1>>,
        fixed_a: store::<T, Fixed, A>,
        fixed_i: store::<T, Fixed, W>,
        far_s: store::<T, Far<0>, S<1>>,
        wide: [[store::<T, Wide<S<0>>, S<1>>, store::<T, Wide<S<0>>, A>], [store::<T, Wide<A>, S<1>>, store::<T, Wide<A>, A>]],
        scaled: [values::<T, Scaled<0, 1>>(), values::<T, Scaled<0, 2>>(), values::<T, Scaled<0, 3>>()],
        wrapped: [values::<T, Wrapped<0, 0>>(), values::<T, Wrapped<0, 1>>(), values::<T, Wrapped<0, 2>>(), values::<T, Wrapped<0, 3>>()],
        indexed: [
            [store::<T, Indexed<S<0>, 1, 0>, S<2>>, store::<T, Indexed<S<0>, 1, 0>, A>],
            [store::<T, Indexed<S<0>, 1, 1>, S<2>>, store::<T, Indexed<S<0>, 1, 1>, A>],
            [store::<T, Indexed<S<0>, 1, 2>, S<2>>, store::<T, Indexed<S<0>, 1, 2>, A>],
            [store::<T, Indexed<S<0>, 1, 3>, S<2>>, store::<T, Indexed<S<0>, 1, 3>, A>],
        ],
    }
}

const fn values<T: Store, X: Address>() -> [Handler; 3] {
    [store::<T, X, S<1>>, store::<T, X, A>, store::<T, X, W>]
}

macro_rules! loads {
    ($($name:ident $raw:ty => $out:ident |$v:ident| $body:expr;)*) => {$(
        pub(super) struct $name;
        impl Load for $name {
            type Raw = $raw;
            type Out = $out;
            #[inline(always)]
            fn extend($v: $raw) -> $out {
                $body
            }
        }
        impl HasLoadForms for $name {
            const FORMS: &'static LoadForms = &load_forms::<$name>();
        }
    )*};
}

macro_rules! stores {
    ($($name:ident $in:ident => $raw:ty;)*) => {$(
        pub(super) struct $name;
        impl Store for $name {
            type Raw = $raw;
            type In = $in;
            #[inline(always)]
            fn wrap(v: $in) -> $raw {
                v as $raw
            }
        }
        impl HasStoreForms for $name {
            const FORMS: &'static StoreForms = &store_forms::<$name>();
        }
    )*};
}

loads! {
    I32Load u32 => u32 |v| v;
    I64Load u64 => u64 |v| v;
    F32Load f32 => f32 |v| v;
    F64Load f64 => f64 |v| v;
    I32Load8S i8 => u32 |v| v as u32;
    I32Load8U u8 => u32 |v| v as u32;
    I32Load16S i16 => u32 |v| v as u32;
    I32Load16U u16 => u32 |v| v as u32;
    I64Load8S i8 => u64 |v| v as u64;
    I64Load8U u8 => u64 |v| v as u64;
    I64Load16S i16 => u64 |v| v as u64;
    I64Load16U u16 => u64 |v| v as u64;
    I64Load32S i32 => u64 |v| v as u64;
    I64Load32U u32 => u64 |v| v as u64;
}

stores! {
    I32Store u32 => u32;
    I64Store u64 => u64;
    F32Store f32 => f32;
    F64Store f64 => f64;
    I32Store8 u32 => u8;
    I32Store16 u32 => u16;
    I64Store8 u64 => u8;
    I64Store16 u64 => u16;
    I64Store32 u64 => u32;
}
