//! Branches, moves, selections and returns, and the stubs at which runs end.

use super::code::Stub;
use super::dispatch::*;
use super::frame::*;
use wasmc_environ::TrapCode;

op! {
    /// Branches always.
    branch[const BACK: bool] |r| { branch!(r, BACK) }

    /// `field 0 = field 1`, and branches.
    copy_branch[const BACK: bool] |r| {
        *slot::<0>(&r) = *slot::<1>(&r);
        branch!(r, BACK)
    }

    /// Branches if an integer is zero (`IF` false) or not (`IF` true). Field 0 is the operand.
    branch_if[T: Val + Zero, X: Src<T>, const IF: bool, const BACK: bool] |r| {
        if X::get(&r).is_zero() != IF { branch!(r, BACK) } else { next!(r, 2) }
    }

    /// Branches through the table behind word 1, whose upper half is the number of entries but the last. Field 0 is the index.
    branch_table[X: Src<u32>, const BACK: bool] |r| {
        if BACK && r.sp > (*r.cx).limit {
            trap!(r, TrapCode::Interrupt)
        }
        let index = X::get(&r).min(high(&r)) as usize;
        let entry = r.ip.add(2 + index);
        let relative = *(entry as *const i32).add(1) as isize;
        r.ip = entry.offset(relative);
        go(r)
    }

    /// Traps.
    unreachable[] |r| { trap!(r, TrapCode::Unreachable) }

    /// `field 0 = field 1`, without touching the accumulators.
    copy[] |r| {
        *slot::<0>(&r) = *slot::<1>(&r);
        next!(r, 2)
    }

    /// `field 0 = field 1; field 2 = field 3`, in this order.
    copy_two[] |r| {
        *slot::<0>(&r) = *slot::<1>(&r);
        *slot::<2>(&r) = *slot::<3>(&r);
        next!(r, 2)
    }

    /// `field 0 = field 1`, two slots.
    copy_vector[] |r| {
        let v = slot::<1>(&r).cast::<[u64; 2]>().read();
        slot::<0>(&r).cast::<[u64; 2]>().write(v);
        next!(r, 2)
    }

    /// Copies as many slots as the upper half of word 2 says: word 1 is the first destination, the lower half of word 2 the first source.
    copy_many[] |r| {
        let (to, from) = (word::<1>(&r) as isize, word::<2>(&r) as i32 as isize);
        core::ptr::copy(r.sp.offset(from), r.sp.offset(to), (word::<2>(&r) >> 32) as usize);
        next!(r, 3)
    }

    /// Copies a slot whose number, or the destination's, does not fit a field: word 1 is the destination, word 2 the source.
    copy_far[] |r| {
        *r.sp.offset(word::<1>(&r) as isize) = *r.sp.offset(word::<2>(&r) as isize);
        next!(r, 3)
    }

    /// `field 0 = accumulator`
    copy_acc[T: Val] |r| {
        T::store(slot::<0>(&r), T::acc(&r));
        next!(r, 2)
    }

    /// `field 0 = word 2`, without touching the accumulators.
    set[] |r| {
        *slot::<0>(&r) = word::<2>(&r);
        next!(r, 3)
    }

    /// `field 0 = upper half of word 1`, without touching the accumulators.
    set_small[] |r| {
        *slot::<0>(&r) = high(&r) as u64;
        next!(r, 2)
    }

    /// Two slots at field 0 = words 2 and 3.
    set_vector[] |r| {
        slot::<0>(&r).cast::<[u64; 2]>().write([word::<2>(&r), word::<3>(&r)]);
        next!(r, 4)
    }

    /// Zeroes as many slots as the upper half of word 1 says, from the slot in the lower half on.
    zero[] |r| {
        let first = r.sp.offset(low(&r) as i32 as isize);
        let count = high(&r) as usize;
        if count <= 8 {
            for i in 0..count {
                first.add(i).write_volatile(0);
            }
        } else {
            first.write_bytes(0, count);
        }
        next!(r, 2)
    }

    /// `field 0 = field 3 ? field 1 : field 2`
    select[T: Val, C: Src<u32>, D: Dst] |r| {
        let (a, b) = (<S<1> as Src<T>>::get(&r), <S<2> as Src<T>>::get(&r));
        let v = if C::get(&r) != 0 { a } else { b };
        D::put(&mut r, v);
        next!(r, 2)
    }

    /// `field 0 = field 3 ? field 1 : field 2`, two slots each.
    select_vector[] |r| {
        let (a, b) = (slot::<1>(&r), slot::<2>(&r));
        let from = if *slot::<3>(&r) as u32 != 0 { a } else { b };
        let v = from.cast::<[u64; 2]>().read();
        slot::<0>(&r).cast::<[u64; 2]>().write(v);
        next!(r, 2)
    }

    /// Returns; the results are in place.
    ret[] |r| {
        r.ip = return_ip(r.sp);
        r.sp = caller_sp(r.sp);
        go(r)
    }

    /// Returns a value, to the slot in field 0.
    ret_value[T: Val, X: Src<T>] |r| {
        let v = X::get(&r);
        T::store(slot::<0>(&r), v);
        T::set_acc(&mut r, v);
        r.ip = return_ip(r.sp);
        r.sp = caller_sp(r.sp);
        go(r)
    }

    /// Returns a vector, to the two slots at field 0.
    ret_vector[] |r| {
        let v = slot::<1>(&r).cast::<[u64; 2]>().read();
        slot::<0>(&r).cast::<[u64; 2]>().write(v);
        r.ip = return_ip(r.sp);
        r.sp = caller_sp(r.sp);
        go(r)
    }

    /// The base frame has returned.
    done[] |r| {
        let _ = r;
        EXIT_DONE
    }

    /// A function of another instance has returned to the bridge that is now the frame.
    bridge[] |r| {
        let vmctx = *r.sp as *mut u8;
        let shared = *r.sp.add(1) as usize;
        let to = r.sp.sub(super::code::HEADER as usize + shared);
        let from = r.sp.add(BRIDGE as usize);
        core::ptr::copy(from, to, shared);
        (*r.cx).enter_instance(vmctx);
        reload(&mut r);
        r.ip = return_ip(r.sp);
        r.sp = caller_sp(r.sp);
        set_accumulators(&mut r, *to);
        go(r)
    }
}

/// Puts the bits of a single result into the accumulators of every class: the code that follows uses the one of its type.
#[inline(always)]
pub(super) fn set_accumulators(r: &mut Regs, bits: u64) {
    r.acc = bits;
    r.fd = f64::from_bits(bits);
    r.fs = f32::from_bits(bits as u32);
}

/// Integers that can be tested.
pub(super) trait Zero: Copy {
    fn is_zero(&self) -> bool;
}

impl Zero for u32 {
    #[inline(always)]
    fn is_zero(&self) -> bool {
        *self == 0
    }
}

impl Zero for u64 {
    #[inline(always)]
    fn is_zero(&self) -> bool {
        *self == 0
    }
}

/// Where the base frame of a run returns to.
pub(super) fn done_stub() -> Ip {
    static STUB: Stub = Stub::new(done);
    STUB.code()
}

/// Where a function returns to that was called from another instance.
pub(super) fn bridge_stub() -> Ip {
    static STUB: Stub = Stub::new(bridge);
    STUB.code()
}

/// The code of a function that is not translated yet.
pub(super) fn translate_stub() -> Ip {
    static STUB: Stub = Stub::new(super::call::translate);
    STUB.code()
}

/// The code of a function that has native code by now.
pub(super) fn native_stub() -> Ip {
    static STUB: Stub = Stub::new(super::tier::enter_native);
    STUB.code()
}
