//! Several operators in one instruction: a comparison with its branch or selection, an increment with the branch that
//! follows it, sums of indices, products with sums, and a shift with the operator that uses it.

use super::dispatch::*;
use super::numeric::*;
use wasmc_environ::TrapCode;

op! {
    /// Branches if `left op right` is `IF`. Fields 0 and 1 are the operands.
    branch_compare[O: Binary<Out = u32>, L: Src<O::In>, R: Src<O::In>, const IF: bool, const BACK: bool] |r| {
        if (O::eval(L::get(&r), R::get(&r)) != 0) == IF {
            branch!(r, BACK)
        } else {
            next!(r, const { longer(L::WORDS, R::WORDS) })
        }
    }

    /// Adds the lower half of word 2 to field 0, and branches if the sum `op` the right operand is `IF`. That is field 1,
    /// or the upper half of word 2.
    branch_increment[O: Binary<In: Integer, Out = u32>, R: Limit<O::In>, const IF: bool, const BACK: bool] |r| {
        let p = slot::<0>(&r);
        let sum = O::In::load(p).add_signed(word::<2>(&r) as i32);
        O::In::store(p, sum);
        O::In::set_acc(&mut r, sum);
        if (O::eval(sum, R::limit(&r)) != 0) == IF {
            branch!(r, BACK)
        } else {
            next!(r, 3)
        }
    }

    /// Adds word 2 to field 0, and branches if the sum is zero (`IF` false) or not.
    branch_count[T: Integer, const IF: bool, const BACK: bool] |r| {
        let p = slot::<0>(&r);
        let sum = T::load(p).add_signed(word::<2>(&r) as i32);
        T::store(p, sum);
        T::set_acc(&mut r, sum);
        if (sum != T::from_bits(0)) == IF {
            branch!(r, BACK)
        } else {
            next!(r, 3)
        }
    }

    /// `field 0 = field 2 (which may be absent) + (field 1 << K) + immediate`, in 32 bits: base and index, or index and immediate.
    lea[B: Base, const K: u32, D: Dst] |r| {
        let v = B::base(&r).wrapping_add(<S<1> as Src<u32>>::get(&r) << K);
        D::put(&mut r, v);
        next!(r, 2)
    }

    /// Adds field 2 to the i32 in field 0, and field 3 to the one in field 1.
    increment_two[] |r| {
        let (p, q) = (slot::<0>(&r), slot::<1>(&r));
        let first = u32::load(p).wrapping_add_signed(field::<2>(&r) as i32);
        u32::store(p, first);
        let second = u32::load(q).wrapping_add_signed(field::<3>(&r) as i32);
        u32::store(q, second);
        u32::set_acc(&mut r, second);
        next!(r, 2)
    }

    /// `field 0 = left + (field 2 << K)`, in 32 bits.
    add_shifted[L: Src<u32>, const K: u32, D: Dst] |r| {
        let v = L::get(&r).wrapping_add(<S<2> as Src<u32>>::get(&r) << K);
        D::put(&mut r, v);
        next!(r, 2)
    }

    /// A product of fields 1 and 2, of which one may be in the accumulator, combined with field 3; rounded twice.
    product[C: Combine<T>, T: Float, L: Src<T>, R: Src<T>, D: Dst] |r| {
        let (a, b) = (L::get(&r), R::get(&r));
        let v = C::combine(T::mul(a, b), <S<3> as Src<T>>::get(&r));
        D::put(&mut r, v);
        next!(r, 2)
    }

    /// `field 0 = left outer (right inner field 3)`
    composed[P: Binary, Q: Binary<In = P::In, Out = P::In>, L: Src<P::In>, R: Src<P::In>, D: Dst] |r| {
        let inner = Q::eval(R::get(&r), P::In::from_bits(field::<3>(&r) as u64));
        let v = P::eval(L::get(&r), inner);
        D::put(&mut r, v);
        next!(r, 2)
    }

    /// `field 0 = (right inner field 3) outer word 2`
    composed_constant[P: Binary, Q: Binary<In = P::In, Out = P::In>, R: Src<P::In>, D: Dst] |r| {
        let inner = Q::eval(R::get(&r), P::In::from_bits(field::<3>(&r) as u64));
        let v = P::eval(inner, P::In::from_bits(word::<2>(&r)));
        D::put(&mut r, v);
        next!(r, 3)
    }

    /// `field 0 = left op right ? field 1 : field 2`, with the operands of the comparison in word 2.
    select_compare[O: Binary<Out = u32>, X: Val, L: Word2<O::In>, R: Word2<O::In>, D: Dst] |r| {
        let (a, b) = (<S<1> as Src<X>>::get(&r), <S<2> as Src<X>>::get(&r));
        let v = if O::eval(L::get2(&r), R::get2(&r)) != 0 { a } else { b };
        D::put(&mut r, v);
        next!(r, 3)
    }
}

/// The part of an address that is added to a shifted index.
pub(super) trait Base {
    unsafe fn base(r: &Regs) -> u32;
}

/// The upper half of word 1.
pub(super) struct Immediate;

impl Base for Immediate {
    #[inline(always)]
    unsafe fn base(r: &Regs) -> u32 {
        // SAFETY: the instruction has a word 1.
        unsafe { high(r) }
    }
}

impl Base for S<2> {
    #[inline(always)]
    unsafe fn base(r: &Regs) -> u32 {
        // SAFETY: the field names a slot with an i32.
        unsafe { <Self as Src<u32>>::get(r) }
    }
}

/// Integers that loops count with.
pub(super) trait Integer: Val + PartialEq {
    fn add_signed(self, v: i32) -> Self;
}

impl Integer for u32 {
    #[inline(always)]
    fn add_signed(self, v: i32) -> Self {
        self.wrapping_add_signed(v)
    }
}

impl Integer for u64 {
    #[inline(always)]
    fn add_signed(self, v: i32) -> Self {
        self.wrapping_add_signed(v.into())
    }
}

/// What a counted value is compared with.
pub(super) trait Limit<T: Val> {
    unsafe fn limit(r: &Regs) -> T;
}

impl<T: Val> Limit<T> for S<1> {
    #[inline(always)]
    unsafe fn limit(r: &Regs) -> T {
        // SAFETY: the field names a slot with a value of this type.
        unsafe { <Self as Src<T>>::get(r) }
    }
}

impl<T: Val> Limit<T> for I {
    #[inline(always)]
    unsafe fn limit(r: &Regs) -> T {
        // SAFETY: the instruction has a word 2.
        T::from_bits((unsafe { word::<2>(r) } as i64 >> 32) as u64)
    }
}

/// Floats.
pub(super) trait Float: Val {
    fn mul(self, o: Self) -> Self;
    fn add(self, o: Self) -> Self;
    fn sub(self, o: Self) -> Self;
}

macro_rules! floats {
    ($($ty:ident)*) => {$(
        impl Float for $ty {
            #[inline(always)]
            fn mul(self, o: Self) -> Self {
                self * o
            }
            #[inline(always)]
            fn add(self, o: Self) -> Self {
                self + o
            }
            #[inline(always)]
            fn sub(self, o: Self) -> Self {
                self - o
            }
        }
    )*};
}

floats! { f32 f64 }

/// What becomes of a product and another value.
pub(super) trait Combine<T> {
    fn combine(product: T, other: T) -> T;
}

macro_rules! combinations {
    ($($name:ident |$p:ident, $o:ident| $body:expr;)*) => {$(
        pub(super) struct $name;
        impl<T: Float> Combine<T> for $name {
            #[inline(always)]
            fn combine($p: T, $o: T) -> T {
                $body
            }
        }
    )*};
}

combinations! {
    ProductPlus |p, o| p.add(o);
    PlusProduct |p, o| o.add(p);
    ProductMinus |p, o| p.sub(o);
    MinusProduct |p, o| o.sub(p);
}

/// Handlers of products, by the other operation: `product + x`, `x + product`, `product - x`, `x - product`; each with
/// factors in two slots, in the accumulator and a slot, in a slot and the accumulator.
pub(super) type ProductForms = [[Forms; 3]; 4];

pub(super) const fn product_row<C: Combine<T>, T: Float>() -> [Forms; 3] {
    [
        [product::<C, T, S<1>, S<2>, ToAcc>, product::<C, T, S<1>, S<2>, ToSlot>],
        [product::<C, T, A, S<2>, ToAcc>, product::<C, T, A, S<2>, ToSlot>],
        [product::<C, T, S<1>, A, ToAcc>, product::<C, T, S<1>, A, ToSlot>],
    ]
}

pub(super) const fn product_forms<T: Float>() -> ProductForms {
    [product_row::<ProductPlus, T>(), product_row::<PlusProduct, T>(), product_row::<ProductMinus, T>(), product_row::<MinusProduct, T>()]
}

/// Which instructions the translator may join an operator with.
#[derive(Copy, Clone)]
pub(super) enum Join {
    Nothing,
    /// A product, whose sum or difference with something is one instruction.
    Product(&'static ProductForms),
    /// `+` of floats.
    Plus,
    /// `-` of floats.
    Minus,
    /// A shift or rotation by a constant, by its number, below an operator with `Outer`.
    Inner(usize),
    /// Has forms in which its right operand is a shift or rotation, by number.
    Outer(&'static [ComposedForms; INNERS]),
    /// `i32.add`: as `Outer`, and its sum may be an address.
    AddressAndOuter(&'static [ComposedForms; INNERS]),
}

/// How many shifts and rotations `Join::Inner` numbers.
pub(super) const INNERS: usize = 3;

/// Handlers of a composition, by left operand and operand of the shift: slot and slot, accumulator and slot, slot and
/// accumulator; and with a constant on the right of the outer operator: slot, accumulator.
pub(super) struct ComposedForms {
    pub ss: Forms,
    pub as_: Forms,
    pub sa: Forms,
    pub constant: [Forms; 2],
}

pub(super) const fn composed_forms<P: Binary<Out = <P as Binary>::In>, Q: Binary<In = P::In, Out = P::In>>() -> ComposedForms {
    ComposedForms {
        ss: [composed::<P, Q, S<1>, S<2>, ToAcc>, composed::<P, Q, S<1>, S<2>, ToSlot>],
        as_: [composed::<P, Q, A, S<2>, ToAcc>, composed::<P, Q, A, S<2>, ToSlot>],
        sa: [composed::<P, Q, S<1>, A, ToAcc>, composed::<P, Q, S<1>, A, ToSlot>],
        constant: [
            [composed_constant::<P, Q, S<1>, ToAcc>, composed_constant::<P, Q, S<1>, ToSlot>],
            [composed_constant::<P, Q, A, ToAcc>, composed_constant::<P, Q, A, ToSlot>],
        ],
    }
}

macro_rules! outer {
    ($op:ident, 32) => {
        &[composed_forms::<$op, I32Rotl>(), composed_forms::<$op, I32Shl>(), composed_forms::<$op, I32ShrU>()]
    };
    ($op:ident, 64) => {
        &[composed_forms::<$op, I64Rotl>(), composed_forms::<$op, I64Shl>(), composed_forms::<$op, I64ShrU>()]
    };
}
pub(super) use outer;

/// `lea` by its kind of base (immediate, slot) and shift, to [accumulator, accumulator and slot, slot].
pub(super) static LEA: [[[Handler; 3]; 4]; 2] = {
    const fn row<B: Base, const K: u32>() -> [Handler; 3] {
        [lea::<B, K, ToAcc>, lea::<B, K, ToSlot>, lea::<B, K, Quiet>]
    }
    [
        [row::<Immediate, 0>(), row::<Immediate, 1>(), row::<Immediate, 2>(), row::<Immediate, 3>()],
        [row::<S<2>, 0>(), row::<S<2>, 1>(), row::<S<2>, 2>(), row::<S<2>, 3>()],
    ]
};

/// `add_shifted` by its left operand (slot, accumulator) and shift less 1.
pub(super) static ADD_SHIFTED: [[Forms; 3]; 2] = {
    const fn row<L: Src<u32>, const K: u32>() -> Forms {
        [add_shifted::<L, K, ToAcc>, add_shifted::<L, K, ToSlot>]
    }
    [[row::<S<1>, 1>(), row::<S<1>, 2>(), row::<S<1>, 3>()], [row::<A, 1>(), row::<A, 2>(), row::<A, 3>()]]
};

/// Operands in the fields of word 2.
pub(super) trait Word2<T: Val> {
    unsafe fn get2(r: &Regs) -> T;
}

impl<T: Val, const F: usize> Word2<T> for S<F> {
    #[inline(always)]
    unsafe fn get2(r: &Regs) -> T {
        // SAFETY: the field names a slot with a value of this type.
        unsafe { T::load(r.sp.offset(*(r.ip as *const i16).add(8 + F) as isize)) }
    }
}

impl<T: Val> Word2<T> for A {
    #[inline(always)]
    unsafe fn get2(r: &Regs) -> T {
        T::acc(r)
    }
}

/// The upper half of word 2, sign-extended.
impl<T: Val> Word2<T> for I {
    #[inline(always)]
    unsafe fn get2(r: &Regs) -> T {
        // SAFETY: the instruction has a word 2.
        T::from_bits(unsafe { *(r.ip as *const i32).add(5) } as i64 as u64)
    }
}
