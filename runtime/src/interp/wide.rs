//! Wide arithmetic: sums, differences and products of 128 bits, each of two i64s with the low one first. Operands and results
//! are in slots only; the result's slots are field 0 and the one after it.

use super::dispatch::*;

/// The two slots of a result.
#[inline(always)]
unsafe fn set(r: &Regs, v: u128) {
    // SAFETY: field 0 names a slot, and the one after it belongs to the result as well.
    unsafe { slot::<0>(r).cast::<[u64; 2]>().write([v as u64, (v >> 64) as u64]) }
}

fn join(low: u64, high: u64) -> u128 {
    u128::from(low) | u128::from(high) << 64
}

op! {
    /// Fields 1 and 2 are the left operand; field 3 is the low half of the right one, whose high half is in the slot in word 2.
    wide_sum[const SUBTRACT: bool] |r| {
        let left = join(*slot::<1>(&r), *slot::<2>(&r));
        let right = join(*slot::<3>(&r), *r.sp.offset(word::<2>(&r) as isize));
        let v = if SUBTRACT { left.wrapping_sub(right) } else { left.wrapping_add(right) };
        set(&r, v);
        next!(r, 3)
    }

    /// Fields 1 and 2 are the operands.
    wide_product[const SIGNED: bool] |r| {
        let (left, right) = (*slot::<1>(&r), *slot::<2>(&r));
        let v = match SIGNED {
            true => i128::from(left as i64).wrapping_mul(i128::from(right as i64)) as u128,
            false => u128::from(left).wrapping_mul(u128::from(right)),
        };
        set(&r, v);
        next!(r, 2)
    }
}
