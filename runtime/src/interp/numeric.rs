//! Arithmetic and comparisons on numbers: what each instruction computes, and its handlers in every form of operands
//! that the translator uses. One line an operator.

use super::dispatch::*;
use core::marker::PhantomData;
use wasmc_environ::TrapCode;

/// An operator of two operands that cannot trap.
pub(super) trait Binary {
    type In: Val;
    type Out: Val;
    fn eval(a: Self::In, b: Self::In) -> Self::Out;
}

/// An operator of one operand that cannot trap.
pub(super) trait Unary {
    type In: Val;
    type Out: Val;
    fn eval(a: Self::In) -> Self::Out;
}

/// A division or remainder.
pub(super) trait Division {
    type In: Val;
    /// Why it traps.
    fn trap(a: Self::In, b: Self::In) -> Option<TrapCode>;
    /// The result if it does not.
    fn eval(a: Self::In, b: Self::In) -> Self::In;
}

/// A conversion that traps where the result does not fit.
pub(super) trait Truncation {
    type In: Val;
    type Out: Val;
    fn fits(a: Self::In) -> bool;
    /// Why it traps if the value does not fit.
    fn trap(a: Self::In) -> TrapCode;
    /// # Safety
    /// The value fits.
    unsafe fn eval(a: Self::In) -> Self::Out;
}

op! {
    /// `field 0 = left op right`
    binary[O: Binary, L: Src<O::In>, R: Src<O::In>, D: Dst] |r| {
        let v = O::eval(L::get(&r), R::get(&r));
        D::put(&mut r, v);
        next!(r, const { longer(L::WORDS, R::WORDS) })
    }

    /// `field 0 = op field 1`
    unary[O: Unary, X: Src<O::In>, D: Dst] |r| {
        let v = O::eval(X::get(&r));
        D::put(&mut r, v);
        next!(r, 2)
    }

    /// `field 0 = left op right`, or a trap
    division[O: Division, L: Src<O::In>, R: Src<O::In>, D: Dst] |r| {
        let (a, b) = (L::get(&r), R::get(&r));
        if let Some(code) = O::trap(a, b) {
            trap!(r, code)
        }
        let v = O::eval(a, b);
        D::put(&mut r, v);
        next!(r, const { longer(L::WORDS, R::WORDS) })
    }

    /// `field 0 = op field 1`, or a trap
    truncation[O: Truncation, X: Src<O::In>, D: Dst] |r| {
        let a = X::get(&r);
        if !O::fits(a) {
            trap!(r, O::trap(a))
        }
        let v = O::eval(a);
        D::put(&mut r, v);
        next!(r, 2)
    }

    /// Branches if `left op right` is `IF`. Fields 0 and 1 are the operands.
    branch_compare[O: Binary<Out = u32>, L: Src<O::In>, R: Src<O::In>, const IF: bool] |r| {
        if (O::eval(L::get(&r), R::get(&r)) != 0) == IF {
            jump!(r)
        } else {
            next!(r, const { longer(L::WORDS, R::WORDS) })
        }
    }

    /// Adds the lower half of word 2 to field 0, and branches if the sum `op` the right operand is `IF`. That is field 1,
    /// or the upper half of word 2.
    branch_increment[O: Binary<In: Integer, Out = u32>, R: Limit<O::In>, const IF: bool] |r| {
        let p = slot::<0>(&r);
        let sum = O::In::load(p).add_signed(word::<2>(&r) as i32);
        O::In::store(p, sum);
        O::In::set_acc(&mut r, sum);
        if (O::eval(sum, R::limit(&r)) != 0) == IF {
            jump!(r)
        } else {
            next!(r, 3)
        }
    }

    /// Adds word 2 to field 0, and branches if the sum is zero (`IF` false) or not.
    branch_count[T: Integer, const IF: bool] |r| {
        let p = slot::<0>(&r);
        let sum = T::load(p).add_signed(word::<2>(&r) as i32);
        T::store(p, sum);
        T::set_acc(&mut r, sum);
        if (sum != T::from_bits(0)) == IF {
            jump!(r)
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

const fn product_row<C: Combine<T>, T: Float>() -> [Forms; 3] {
    [
        [product::<C, T, S<1>, S<2>, ToAcc>, product::<C, T, S<1>, S<2>, ToSlot>],
        [product::<C, T, A, S<2>, ToAcc>, product::<C, T, A, S<2>, ToSlot>],
        [product::<C, T, S<1>, A, ToAcc>, product::<C, T, S<1>, A, ToSlot>],
    ]
}

const fn product_forms<T: Float>() -> ProductForms {
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

const fn composed_forms<P: Binary<Out = <P as Binary>::In>, Q: Binary<In = P::In, Out = P::In>>() -> ComposedForms {
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

/// The handlers of an operator of two operands, by where the operands are: `s`lot, `a`ccumulator, `i`mmediate.
pub(super) struct BinaryForms {
    pub ss: Forms,
    pub si: Forms,
    pub sa: Forms,
    pub as_: Forms,
    pub ai: Forms,
    /// Immediate on the left, where that is worth a form.
    pub reversed: Option<[Forms; 2]>,
    /// Length of an instruction with an immediate.
    pub imm_words: usize,
    pub commutative: bool,
    pub join: Join,
    pub can_trap: bool,
    pub compare: Option<&'static CompareForms>,
}

impl BinaryForms {
    /// The bits of a shift's right operand that count.
    pub(super) fn shift_mask(&self) -> u16 {
        if self.imm_words == 2 { 31 } else { 63 }
    }

    /// Whether this is `i64.add`.
    pub(super) fn is_wide_add(&self) -> bool {
        core::ptr::eq(self, FormsOf::<I64Add>::BINARY)
    }
}

/// Handlers of a branch by where the operands are; the immediate is word 2.
pub(super) struct BranchForms {
    pub ss: Handler,
    pub si: Handler,
    pub sa: Handler,
    pub as_: Handler,
    pub ai: Handler,
}

/// What a comparison becomes when a branch or a selection uses its result.
pub(super) struct CompareForms {
    /// Branches taken if the comparison is [false, true].
    pub branch: [BranchForms; 2],
    /// Selections of 64-bit integers (or references), f64 and f32, to a slot and the accumulator.
    pub select: [SelectForms; 3],
    /// Branches as in `branch`, after an increment of the left operand: the right one in a slot, and as an immediate.
    pub increment: Option<[[Handler; 2]; 2]>,
    /// The comparison with the opposite result, where there is one.
    pub inverse: Option<fn() -> &'static BinaryForms>,
    /// Whether operands are integers, so that a selection's immediate can be sign-extended.
    pub integer: bool,
    /// Whether operands have 64 bits.
    pub wide: bool,
}

/// Handlers of a selection by where the operands of the comparison are; the immediate has 32 bits.
pub(super) struct SelectForms {
    pub ss: Forms,
    pub si: Forms,
    pub as_: Forms,
    pub ai: Forms,
}

/// The handlers of an operator of one operand, by where it is.
pub(super) struct UnaryForms {
    pub s: Forms,
    pub a: Forms,
    pub can_trap: bool,
}

pub(super) trait HasBinaryForms {
    const FORMS: BinaryForms;
}

pub(super) trait HasUnaryForms {
    const FORMS: UnaryForms;
}

const fn reversed_forms<O: Binary>() -> [Forms; 2] {
    [[binary::<O, I, S<1>, ToAcc>, binary::<O, I, S<1>, ToSlot>], [binary::<O, I, A, ToAcc>, binary::<O, I, A, ToSlot>]]
}

const fn binary_forms<O: Binary>(
    commutative: bool,
    reversed: Option<[Forms; 2]>,
    join: Join,
    compare: Option<&'static CompareForms>,
) -> BinaryForms {
    BinaryForms {
        ss: [binary::<O, S<1>, S<2>, ToAcc>, binary::<O, S<1>, S<2>, ToSlot>],
        si: [binary::<O, S<1>, I, ToAcc>, binary::<O, S<1>, I, ToSlot>],
        sa: [binary::<O, S<1>, A, ToAcc>, binary::<O, S<1>, A, ToSlot>],
        as_: [binary::<O, A, S<2>, ToAcc>, binary::<O, A, S<2>, ToSlot>],
        ai: [binary::<O, A, I, ToAcc>, binary::<O, A, I, ToSlot>],
        reversed,
        imm_words: <O::In as Val>::IMM_WORDS,
        commutative,
        join,
        can_trap: false,
        compare,
    }
}

const fn division_forms<O: Division>() -> BinaryForms {
    BinaryForms {
        ss: [division::<O, S<1>, S<2>, ToAcc>, division::<O, S<1>, S<2>, ToSlot>],
        si: [division::<O, S<1>, I, ToAcc>, division::<O, S<1>, I, ToSlot>],
        sa: [division::<O, S<1>, A, ToAcc>, division::<O, S<1>, A, ToSlot>],
        as_: [division::<O, A, S<2>, ToAcc>, division::<O, A, S<2>, ToSlot>],
        ai: [division::<O, A, I, ToAcc>, division::<O, A, I, ToSlot>],
        reversed: None,
        imm_words: <O::In as Val>::IMM_WORDS,
        commutative: false,
        join: Join::Nothing,
        can_trap: true,
        compare: None,
    }
}

const fn branch_forms<O: Binary<Out = u32>, const IF: bool>() -> BranchForms {
    BranchForms {
        ss: branch_compare::<O, S<0>, S<1>, IF>,
        si: branch_compare::<O, S<0>, W, IF>,
        sa: branch_compare::<O, S<0>, A, IF>,
        as_: branch_compare::<O, A, S<1>, IF>,
        ai: branch_compare::<O, A, W, IF>,
    }
}

const fn select_forms<O: Binary<Out = u32>, X: Val>() -> SelectForms {
    SelectForms {
        ss: [select_compare::<O, X, S<0>, S<1>, ToAcc>, select_compare::<O, X, S<0>, S<1>, ToSlot>],
        si: [select_compare::<O, X, S<0>, I, ToAcc>, select_compare::<O, X, S<0>, I, ToSlot>],
        as_: [select_compare::<O, X, A, S<1>, ToAcc>, select_compare::<O, X, A, S<1>, ToSlot>],
        ai: [select_compare::<O, X, A, I, ToAcc>, select_compare::<O, X, A, I, ToSlot>],
    }
}

const fn increment_forms<O: Binary<In: Integer, Out = u32>>() -> [[Handler; 2]; 2] {
    [
        [branch_increment::<O, S<1>, false>, branch_increment::<O, I, false>],
        [branch_increment::<O, S<1>, true>, branch_increment::<O, I, true>],
    ]
}

const fn compare_forms<O: Binary<Out = u32>>(
    inverse: Option<fn() -> &'static BinaryForms>,
    increment: Option<[[Handler; 2]; 2]>,
    integer: bool,
) -> CompareForms {
    CompareForms {
        branch: [branch_forms::<O, false>(), branch_forms::<O, true>()],
        select: [select_forms::<O, u64>(), select_forms::<O, f64>(), select_forms::<O, f32>()],
        increment,
        inverse,
        integer,
        wide: <O::In as Val>::IMM_WORDS == 3,
    }
}

const fn unary_forms<O: Unary>() -> UnaryForms {
    UnaryForms { s: [unary::<O, S<1>, ToAcc>, unary::<O, S<1>, ToSlot>], a: [unary::<O, A, ToAcc>, unary::<O, A, ToSlot>], can_trap: false }
}

const fn truncation_forms<O: Truncation>() -> UnaryForms {
    UnaryForms {
        s: [truncation::<O, S<1>, ToAcc>, truncation::<O, S<1>, ToSlot>],
        a: [truncation::<O, A, ToAcc>, truncation::<O, A, ToSlot>],
        can_trap: true,
    }
}

/// The forms of an operator, as a promoted constant.
pub(super) struct FormsOf<O>(PhantomData<O>);

impl<O: HasBinaryForms> FormsOf<O> {
    pub(super) const BINARY: &'static BinaryForms = &O::FORMS;
}

impl<O: HasUnaryForms> FormsOf<O> {
    pub(super) const UNARY: &'static UnaryForms = &O::FORMS;
}

macro_rules! binary_operators {
    ($($name:ident $kind:ident $in:ident $out:ident [$($join:tt)*] |$a:ident, $b:ident| $body:expr;)*) => {$(
        pub(super) struct $name;
        impl Binary for $name {
            type In = $in;
            type Out = $out;
            #[inline(always)]
            fn eval($a: $in, $b: $in) -> $out {
                $body
            }
        }
        impl HasBinaryForms for $name {
            const FORMS: BinaryForms =
                binary_forms::<$name>(binary_operators!(@ $kind), binary_operators!(@ $kind $name), binary_operators!(@join $($join)*), None);
        }
    )*};
    (@ commutative) => { true };
    (@ ordered) => { false };
    (@ reversible) => { false };
    (@ commutative $name:ident) => { None };
    (@ ordered $name:ident) => { None };
    (@ reversible $name:ident) => { Some(reversed_forms::<$name>()) };
    (@join) => { Join::Nothing };
    (@join $($join:tt)+) => { Join::$($join)+ };
}

macro_rules! comparisons {
    (@ true $name:ident) => { Some(increment_forms::<$name>()) };
    (@ false $name:ident) => { None };
    ($($name:ident $kind:ident $in:ident $inverse:expr, $integer:tt |$a:ident, $b:ident| $body:expr;)*) => {$(
        pub(super) struct $name;
        impl Binary for $name {
            type In = $in;
            type Out = u32;
            #[inline(always)]
            fn eval($a: $in, $b: $in) -> u32 {
                ($body) as u32
            }
        }
        impl $name {
            const COMPARE: &'static CompareForms = &compare_forms::<$name>($inverse, comparisons!(@ $integer $name), $integer);
        }
        impl HasBinaryForms for $name {
            const FORMS: BinaryForms = binary_forms::<$name>(binary_operators!(@ $kind), None, Join::Nothing, Some(Self::COMPARE));
        }
    )*};
}

macro_rules! unary_operators {
    ($($name:ident $in:ident $out:ident |$a:ident| $body:expr;)*) => {$(
        pub(super) struct $name;
        impl Unary for $name {
            type In = $in;
            type Out = $out;
            #[inline(always)]
            fn eval($a: $in) -> $out {
                $body
            }
        }
        impl HasUnaryForms for $name {
            const FORMS: UnaryForms = unary_forms_of::<$name>();
        }
    )*};
}
pub(super) use unary_operators;

macro_rules! truncations {
    ($($name:ident $in:ident $int:ident $out:ident |$a:ident| $fits:expr;)*) => {$(
        pub(super) struct $name;
        impl Truncation for $name {
            type In = $in;
            type Out = $out;
            #[inline(always)]
            fn fits($a: $in) -> bool {
                $fits
            }
            #[inline(always)]
            fn trap(a: $in) -> TrapCode {
                if a.is_nan() { TrapCode::BadConversionToInteger } else { TrapCode::IntegerOverflow }
            }
            #[inline(always)]
            unsafe fn eval(a: $in) -> $out {
                // SAFETY: by the caller, the value fits.
                (unsafe { a.to_int_unchecked::<$int>() }) as $out
            }
        }
        impl HasUnaryForms for $name {
            const FORMS: UnaryForms = truncation_forms_of::<$name>();
        }
    )*};
}
pub(super) use truncations;

macro_rules! divisions {
    ($($name:ident $in:ident $int:ident |$a:ident, $b:ident| $overflow:expr, $body:expr;)*) => {$(
        pub(super) struct $name;
        impl Division for $name {
            type In = $in;
            #[inline(always)]
            fn trap($a: $in, $b: $in) -> Option<TrapCode> {
                if $b == 0 {
                    return Some(TrapCode::IntegerDivisionByZero);
                }
                let ($a, $b) = ($a as $int, $b as $int);
                let _ = ($a, $b);
                if $overflow { Some(TrapCode::IntegerOverflow) } else { None }
            }
            #[inline(always)]
            fn eval($a: $in, $b: $in) -> $in {
                let ($a, $b) = ($a as $int, $b as $int);
                ($body) as $in
            }
        }
        impl HasBinaryForms for $name {
            const FORMS: BinaryForms = division_forms::<$name>();
        }
    )*};
}

pub(super) const fn truncation_forms_of<O: Truncation>() -> UnaryForms {
    truncation_forms::<O>()
}

pub(super) const fn unary_forms_of<O: Unary>() -> UnaryForms {
    unary_forms::<O>()
}

binary_operators! {
    I32Add commutative u32 u32 [AddressAndOuter(outer!(I32Add, 32))] |a, b| a.wrapping_add(b);
    I32Sub reversible u32 u32 [] |a, b| a.wrapping_sub(b);
    I32Mul commutative u32 u32 [] |a, b| a.wrapping_mul(b);
    I32Or commutative u32 u32 [Outer(outer!(I32Or, 32))] |a, b| a | b;
    I32Xor commutative u32 u32 [Outer(outer!(I32Xor, 32))] |a, b| a ^ b;
    I32Shl reversible u32 u32 [Inner(1)] |a, b| a.wrapping_shl(b);
    I32ShrS ordered u32 u32 [] |a, b| (a as i32).wrapping_shr(b) as u32;
    I32ShrU ordered u32 u32 [Inner(2)] |a, b| a.wrapping_shr(b);
    I32Rotl ordered u32 u32 [Inner(0)] |a, b| a.rotate_left(b & 31);
    I32Rotr ordered u32 u32 [] |a, b| a.rotate_right(b & 31);

    I64Add commutative u64 u64 [Outer(outer!(I64Add, 64))] |a, b| a.wrapping_add(b);
    I64Sub reversible u64 u64 [] |a, b| a.wrapping_sub(b);
    I64Mul commutative u64 u64 [] |a, b| a.wrapping_mul(b);
    I64Or commutative u64 u64 [Outer(outer!(I64Or, 64))] |a, b| a | b;
    I64Xor commutative u64 u64 [Outer(outer!(I64Xor, 64))] |a, b| a ^ b;
    I64Shl reversible u64 u64 [Inner(1)] |a, b| a.wrapping_shl(b as u32);
    I64ShrS ordered u64 u64 [] |a, b| (a as i64).wrapping_shr(b as u32) as u64;
    I64ShrU ordered u64 u64 [Inner(2)] |a, b| a.wrapping_shr(b as u32);
    I64Rotl ordered u64 u64 [Inner(0)] |a, b| a.rotate_left(b as u32 & 63);
    I64Rotr ordered u64 u64 [] |a, b| a.rotate_right(b as u32 & 63);

    // Not marked commutative: which NaN a sum of two NaNs is may depend on the order, and compiled code keeps it.
    F32Add ordered f32 f32 [Plus] |a, b| a + b;
    F32Sub reversible f32 f32 [Minus] |a, b| a - b;
    F32Mul ordered f32 f32 [Product(&product_forms::<f32>())] |a, b| a * b;
    F32Div reversible f32 f32 [] |a, b| a / b;
    F32Min ordered f32 f32 [] |a, b| minimum_f32(a, b);
    F32Max ordered f32 f32 [] |a, b| maximum_f32(a, b);
    F32Copysign ordered f32 f32 [] |a, b| a.copysign(b);

    F64Add ordered f64 f64 [Plus] |a, b| a + b;
    F64Sub reversible f64 f64 [Minus] |a, b| a - b;
    F64Mul ordered f64 f64 [Product(&product_forms::<f64>())] |a, b| a * b;
    F64Div reversible f64 f64 [] |a, b| a / b;
    F64Min ordered f64 f64 [] |a, b| minimum_f64(a, b);
    F64Max ordered f64 f64 [] |a, b| maximum_f64(a, b);
    F64Copysign ordered f64 f64 [] |a, b| a.copysign(b);
}

comparisons! {
    I32Eq commutative u32 Some(|| &I32Ne::FORMS), true |a, b| a == b;
    I32Ne commutative u32 Some(|| &I32Eq::FORMS), true |a, b| a != b;
    I32LtS ordered u32 Some(|| &I32GeS::FORMS), true |a, b| (a as i32) < (b as i32);
    I32LtU ordered u32 Some(|| &I32GeU::FORMS), true |a, b| a < b;
    I32GtS ordered u32 Some(|| &I32LeS::FORMS), true |a, b| (a as i32) > (b as i32);
    I32GtU ordered u32 Some(|| &I32LeU::FORMS), true |a, b| a > b;
    I32LeS ordered u32 Some(|| &I32GtS::FORMS), true |a, b| (a as i32) <= (b as i32);
    I32LeU ordered u32 Some(|| &I32GtU::FORMS), true |a, b| a <= b;
    I32GeS ordered u32 Some(|| &I32LtS::FORMS), true |a, b| (a as i32) >= (b as i32);
    I32GeU ordered u32 Some(|| &I32LtU::FORMS), true |a, b| a >= b;

    I64Eq commutative u64 Some(|| &I64Ne::FORMS), true |a, b| a == b;
    I64Ne commutative u64 Some(|| &I64Eq::FORMS), true |a, b| a != b;
    I64LtS ordered u64 Some(|| &I64GeS::FORMS), true |a, b| (a as i64) < (b as i64);
    I64LtU ordered u64 Some(|| &I64GeU::FORMS), true |a, b| a < b;
    I64GtS ordered u64 Some(|| &I64LeS::FORMS), true |a, b| (a as i64) > (b as i64);
    I64GtU ordered u64 Some(|| &I64LeU::FORMS), true |a, b| a > b;
    I64LeS ordered u64 Some(|| &I64GtS::FORMS), true |a, b| (a as i64) <= (b as i64);
    I64LeU ordered u64 Some(|| &I64GtU::FORMS), true |a, b| a <= b;
    I64GeS ordered u64 Some(|| &I64LtS::FORMS), true |a, b| (a as i64) >= (b as i64);
    I64GeU ordered u64 Some(|| &I64LtU::FORMS), true |a, b| a >= b;

    F32Eq commutative f32 Some(|| &F32Ne::FORMS), false |a, b| a == b;
    F32Ne commutative f32 Some(|| &F32Eq::FORMS), false |a, b| a != b;
    F32Lt ordered f32 None, false |a, b| a < b;
    F32Gt ordered f32 None, false |a, b| a > b;
    F32Le ordered f32 None, false |a, b| a <= b;
    F32Ge ordered f32 None, false |a, b| a >= b;

    F64Eq commutative f64 Some(|| &F64Ne::FORMS), false |a, b| a == b;
    F64Ne commutative f64 Some(|| &F64Eq::FORMS), false |a, b| a != b;
    F64Lt ordered f64 None, false |a, b| a < b;
    F64Gt ordered f64 None, false |a, b| a > b;
    F64Le ordered f64 None, false |a, b| a <= b;
    F64Ge ordered f64 None, false |a, b| a >= b;
}

/// `and` whose result is tested: not instructions of WebAssembly, but what `and` becomes before a branch or selection.
pub(super) struct I32Test;
pub(super) struct I64Test;

macro_rules! ands {
    ($($name:ident $test:ident $ty:ident $width:tt;)*) => {$(
        pub(super) struct $name;
        impl Binary for $name {
            type In = $ty;
            type Out = $ty;
            #[inline(always)]
            fn eval(a: $ty, b: $ty) -> $ty {
                a & b
            }
        }
        impl Binary for $test {
            type In = $ty;
            type Out = u32;
            #[inline(always)]
            fn eval(a: $ty, b: $ty) -> u32 {
                (a & b != 0) as u32
            }
        }
        impl $test {
            pub(super) const COMPARE: &'static CompareForms = &compare_forms::<$test>(None, None, true);
        }
        impl HasBinaryForms for $name {
            const FORMS: BinaryForms = binary_forms::<$name>(true, None, Join::Outer(outer!($name, $width)), Some($test::COMPARE));
        }
    )*};
}

ands! {
    I32And I32Test u32 32;
    I64And I64Test u64 64;
}

divisions! {
    I32DivS u32 i32 |a, b| a == i32::MIN && b == -1, a.wrapping_div(b);
    I32DivU u32 u32 |a, b| false, a / b;
    I32RemS u32 i32 |a, b| false, a.wrapping_rem(b);
    I32RemU u32 u32 |a, b| false, a % b;
    I64DivS u64 i64 |a, b| a == i64::MIN && b == -1, a.wrapping_div(b);
    I64DivU u64 u64 |a, b| false, a / b;
    I64RemS u64 i64 |a, b| false, a.wrapping_rem(b);
    I64RemU u64 u64 |a, b| false, a % b;
}

unary_operators! {
    I32Eqz u32 u32 |a| (a == 0) as u32;
    I64Eqz u64 u32 |a| (a == 0) as u32;
    I32Clz u32 u32 |a| a.leading_zeros();
    I32Ctz u32 u32 |a| a.trailing_zeros();
    I32Popcnt u32 u32 |a| a.count_ones();
    I64Clz u64 u64 |a| a.leading_zeros() as u64;
    I64Ctz u64 u64 |a| a.trailing_zeros() as u64;
    I64Popcnt u64 u64 |a| a.count_ones() as u64;
    I32Extend8S u32 u32 |a| a as i8 as u32;
    I32Extend16S u32 u32 |a| a as i16 as u32;
    I64Extend8S u64 u64 |a| a as i8 as u64;
    I64Extend16S u64 u64 |a| a as i16 as u64;
    I64Extend32S u64 u64 |a| a as i32 as u64;

    F32Abs f32 f32 |a| a.abs();
    F32Neg f32 f32 |a| -a;
    F32Ceil f32 f32 |a| quiet_f32(a.ceil());
    F32Floor f32 f32 |a| quiet_f32(a.floor());
    F32Trunc f32 f32 |a| quiet_f32(a.trunc());
    F32Nearest f32 f32 |a| quiet_f32(a.round_ties_even());
    F32Sqrt f32 f32 |a| a.sqrt();
    F64Abs f64 f64 |a| a.abs();
    F64Neg f64 f64 |a| -a;
    F64Ceil f64 f64 |a| quiet_f64(a.ceil());
    F64Floor f64 f64 |a| quiet_f64(a.floor());
    F64Trunc f64 f64 |a| quiet_f64(a.trunc());
    F64Nearest f64 f64 |a| quiet_f64(a.round_ties_even());
    F64Sqrt f64 f64 |a| a.sqrt();
}

macro_rules! min_max {
    ($($float:ident $bits:ident $quiet_bit:literal $min:ident $max:ident $quiet:ident;)*) => {$(
        #[inline(always)]
        fn $min(a: $float, b: $float) -> $float {
            if a < b {
                a
            } else if b < a {
                b
            } else if a == b {
                // Equal but perhaps zeros of different sign: the negative one is the smaller.
                $float::from_bits(a.to_bits() | b.to_bits())
            } else {
                a + b
            }
        }

        #[inline(always)]
        fn $max(a: $float, b: $float) -> $float {
            if a > b {
                a
            } else if b > a {
                b
            } else if a == b {
                $float::from_bits(a.to_bits() & b.to_bits())
            } else {
                a + b
            }
        }

        /// The C library's rounding functions may return a signalling NaN as it is.
        #[inline(always)]
        fn $quiet(a: $float) -> $float {
            if a.is_nan() { $float::from_bits(a.to_bits() | $quiet_bit) } else { a }
        }
    )*};
}

min_max! {
    f32 u32 0x0040_0000 minimum_f32 maximum_f32 quiet_f32;
    f64 u64 0x0008_0000_0000_0000 minimum_f64 maximum_f64 quiet_f64;
}
