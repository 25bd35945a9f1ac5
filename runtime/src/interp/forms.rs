//! The handlers of the numeric operators by where their operands are, as tables that the translator chooses from.

use super::dispatch::*;
use super::numeric::*;
use core::marker::PhantomData;

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

/// Branches after an increment of the left operand, if the comparison is [false, true]: the right one in a slot, and as an immediate.
pub(super) type IncrementForms = [[Handler; 2]; 2];

/// What a comparison becomes when a branch or a selection uses its result.
pub(super) struct CompareForms {
    /// Branches [forwards, backwards], taken if the comparison is [false, true].
    pub branch: [[BranchForms; 2]; 2],
    /// Selections of 64-bit integers (or references), f64 and f32, to a slot and the accumulator.
    pub select: [SelectForms; 3],
    /// [forwards, backwards]
    pub increment: Option<[IncrementForms; 2]>,
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

pub(super) const fn reversed_forms<O: Binary>() -> [Forms; 2] {
    [[binary::<O, I, S<1>, ToAcc>, binary::<O, I, S<1>, ToSlot>], [binary::<O, I, A, ToAcc>, binary::<O, I, A, ToSlot>]]
}

pub(super) const fn binary_forms<O: Binary>(
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

pub(super) const fn division_forms<O: Division>() -> BinaryForms {
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

pub(super) const fn branch_forms<O: Binary<Out = u32>, const IF: bool, const BACK: bool>() -> BranchForms {
    BranchForms {
        ss: branch_compare::<O, S<0>, S<1>, IF, BACK>,
        si: branch_compare::<O, S<0>, W, IF, BACK>,
        sa: branch_compare::<O, S<0>, A, IF, BACK>,
        as_: branch_compare::<O, A, S<1>, IF, BACK>,
        ai: branch_compare::<O, A, W, IF, BACK>,
    }
}

pub(super) const fn select_forms<O: Binary<Out = u32>, X: Val>() -> SelectForms {
    SelectForms {
        ss: [select_compare::<O, X, S<0>, S<1>, ToAcc>, select_compare::<O, X, S<0>, S<1>, ToSlot>],
        si: [select_compare::<O, X, S<0>, I, ToAcc>, select_compare::<O, X, S<0>, I, ToSlot>],
        as_: [select_compare::<O, X, A, S<1>, ToAcc>, select_compare::<O, X, A, S<1>, ToSlot>],
        ai: [select_compare::<O, X, A, I, ToAcc>, select_compare::<O, X, A, I, ToSlot>],
    }
}

pub(super) const fn increment_forms<O: Binary<In: Integer, Out = u32>>() -> [IncrementForms; 2] {
    const fn direction<O: Binary<In: Integer, Out = u32>, const BACK: bool>() -> IncrementForms {
        [
            [branch_increment::<O, S<1>, false, BACK>, branch_increment::<O, I, false, BACK>],
            [branch_increment::<O, S<1>, true, BACK>, branch_increment::<O, I, true, BACK>],
        ]
    }
    [direction::<O, false>(), direction::<O, true>()]
}

pub(super) const fn compare_forms<O: Binary<Out = u32>>(
    inverse: Option<fn() -> &'static BinaryForms>,
    increment: Option<[IncrementForms; 2]>,
    integer: bool,
) -> CompareForms {
    CompareForms {
        branch: [
            [branch_forms::<O, false, false>(), branch_forms::<O, true, false>()],
            [branch_forms::<O, false, true>(), branch_forms::<O, true, true>()],
        ],
        select: [select_forms::<O, u64>(), select_forms::<O, f64>(), select_forms::<O, f32>()],
        increment,
        inverse,
        integer,
        wide: <O::In as Val>::IMM_WORDS == 3,
    }
}

pub(super) const fn unary_forms<O: Unary>() -> UnaryForms {
    UnaryForms { s: [unary::<O, S<1>, ToAcc>, unary::<O, S<1>, ToSlot>], a: [unary::<O, A, ToAcc>, unary::<O, A, ToSlot>], can_trap: false }
}

pub(super) const fn truncation_forms<O: Truncation>() -> UnaryForms {
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
