//! Products of 128 bits. WebAssembly has no instruction for the high half of a product, so compilers make it from four products of halves:
//! in `__multi3` of C and of Rust, and open-coded elsewhere. With `a = aH * 2^32 + aL`, `b` likewise, all sums modulo 2^64:
//!
//! ```text
//! C                                          Rust
//! p  = aL * bL                               p  = aL * bL
//! t1 = (p >> 32) + aH * bL                   q  = aL * bH
//! t2 = (t1 & M) + aL * bH                    s  = q + aH * bL
//! hi = aH * bH + (t1 >> 32) + (t2 >> 32)     lo = p + (s << 32)
//! lo = (t2 << 32) | (p & M)                  hi = aH * bH + ((s < q) << 32 | s >> 32) + (lo < p)
//! ```
//!
//! Both `hi` are the high half of `a * b` and both `lo` its low half (Knuth, The Art of Computer Programming 2, 4.3.1, algorithm M; Warren,
//! Hacker's Delight, 8-2). The pattern is found in any function, whatever its name, with operands in any order and with other terms in the sum.

use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Function, Inst, InstBuilder, InstructionData, Opcode, Value, types};
use smallvec::SmallVec;

/// Most terms of a sum that are looked at.
const MAX_TERMS: usize = 8;
/// How deep sums are followed.
const MAX_DEPTH: usize = 6;

/// What takes the place of an instruction.
enum Rewrite {
    /// The low half of a product.
    Low(Value, Value),
    /// The high half of a product, and other terms.
    High(Value, Value, Terms),
}

type Terms = SmallVec<[Value; MAX_TERMS]>;

/// Replaces the products of a function. Says whether there were any.
pub fn multiply_wide(func: &mut Function) -> bool {
    let products = func.layout.blocks().flat_map(|b| func.layout.block_insts(b)).filter(|i| is_product(func, *i)).take(4).count();
    if products < 4 {
        return false;
    }
    let found: Vec<(Inst, Rewrite)> =
        func.layout.blocks().flat_map(|b| func.layout.block_insts(b)).filter_map(|i| Some((i, rewrite(func, i)?))).collect();
    for (inst, rewrite) in &found {
        let mut cursor = FuncCursor::new(func).at_inst(*inst);
        cursor.use_srcloc(*inst);
        let (opcode, args) = match rewrite {
            Rewrite::Low(a, b) => (Opcode::Imul, [*a, *b]),
            Rewrite::High(a, b, terms) => match terms.split_first() {
                None => (Opcode::Umulhi, [*a, *b]),
                Some((first, others)) => {
                    let rest = others.iter().fold(*first, |sum, term| cursor.ins().iadd(sum, *term));
                    (Opcode::Iadd, [rest, cursor.ins().umulhi(*a, *b)])
                }
            },
        };
        func.dfg.insts[*inst] = InstructionData::Binary { opcode, args };
    }
    if !found.is_empty() {
        remove_unused(func);
    }
    !found.is_empty()
}

fn is_product(func: &Function, inst: Inst) -> bool {
    func.dfg.insts[inst].opcode() == Opcode::Imul && func.dfg.ctrl_typevar(inst) == types::I64
}

/// The operands of an instruction of this kind that makes an I64.
fn binary(func: &Function, value: Value, opcode: Opcode) -> Option<[Value; 2]> {
    let inst = func.dfg.value_def(value).inst()?;
    match func.dfg.insts[inst] {
        InstructionData::Binary { opcode: o, args } if o == opcode && func.dfg.value_type(value) == types::I64 => {
            Some(args.map(|a| func.dfg.resolve_aliases(a)))
        }
        _ => None,
    }
}

fn constant(func: &Function, value: Value) -> Option<i64> {
    match func.dfg.insts[func.dfg.value_def(value).inst()?] {
        InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => Some(imm.bits()),
        _ => None,
    }
}

/// `x`, if the value is `x` and this constant in this operation.
fn with_constant(func: &Function, value: Value, opcode: Opcode, wanted: i64) -> Option<Value> {
    let [x, c] = binary(func, value, opcode)?;
    match opcode {
        Opcode::Band if constant(func, x) == Some(wanted) => Some(c),
        _ => (constant(func, c) == Some(wanted)).then_some(x),
    }
}

/// `x`, if the value is the low half of `x`.
fn low(func: &Function, value: Value) -> Option<Value> {
    with_constant(func, value, Opcode::Band, 0xffff_ffff)
}

/// `x`, if the value is the high half of `x`.
fn high(func: &Function, value: Value) -> Option<Value> {
    with_constant(func, value, Opcode::Ushr, 32)
}

/// `x`, if the value is the low half of `x` as its high half.
fn raised(func: &Function, value: Value) -> Option<Value> {
    with_constant(func, value, Opcode::Ishl, 32)
}

/// Both orders of the operands.
fn orders(pair: Option<[Value; 2]>) -> impl Iterator<Item = (Value, Value)> {
    pair.into_iter().flat_map(|[x, y]| [(x, y), (y, x)])
}

/// A product of two halves.
#[derive(Copy, Clone, PartialEq, Eq)]
struct Halves {
    x: Value,
    x_high: bool,
    y: Value,
    y_high: bool,
}

impl Halves {
    fn of(func: &Function, value: Value) -> Option<Self> {
        let [x, y] = binary(func, value, Opcode::Imul)?;
        let half = |v| low(func, v).map(|w| (w, false)).or_else(|| high(func, v).map(|w| (w, true)));
        let ((x, x_high), (y, y_high)) = (half(x)?, half(y)?);
        Some(Self { x, x_high, y, y_high })
    }

    /// Whether it is the product of these halves, in any order.
    fn is(self, a: Value, a_high: bool, b: Value, b_high: bool) -> bool {
        self == Self { x: a, x_high: a_high, y: b, y_high: b_high } || self == Self { x: b, x_high: b_high, y: a, y_high: a_high }
    }
}

fn is_half_product(func: &Function, value: Value, a: Value, a_high: bool, b: Value, b_high: bool) -> bool {
    Halves::of(func, value).is_some_and(|h| h.is(a, a_high, b, b_high))
}

/// `(a, b, t1, p)`, if the value is the `t2` of C's form. Which of the factors is `a` decides which cross product comes first.
fn second_sum(func: &Function, t2: Value) -> Option<(Value, Value, Value, Value)> {
    for (masked, cross) in orders(binary(func, t2, Opcode::Iadd)) {
        let (Some(t1), Some(cross)) = (low(func, masked), Halves::of(func, cross)) else { continue };
        let (a, b) = match (cross.x_high, cross.y_high) {
            (false, true) => (cross.x, cross.y),
            (true, false) => (cross.y, cross.x),
            _ => continue,
        };
        for (carried, other) in orders(binary(func, t1, Opcode::Iadd)) {
            let Some(p) = high(func, carried) else { continue };
            if is_half_product(func, other, a, true, b, false) && is_half_product(func, p, a, false, b, false) {
                return Some((a, b, t1, p));
            }
        }
    }
    None
}

/// `(a, b, p, s)`, if the value is the `lo` of Rust's form.
fn low_sum(func: &Function, lo: Value) -> Option<(Value, Value, Value, Value)> {
    for (p, shifted) in orders(binary(func, lo, Opcode::Iadd)) {
        let (Some(s), Some(half)) = (raised(func, shifted), Halves::of(func, p)) else { continue };
        if half.x_high || half.y_high {
            continue;
        }
        let (a, b) = (half.x, half.y);
        for (q, r) in orders(binary(func, s, Opcode::Iadd)) {
            if is_half_product(func, q, a, false, b, true) && is_half_product(func, r, a, true, b, false) {
                return Some((a, b, p, s));
            }
        }
    }
    None
}

/// `(x, y)`, if the value is 1 where `x < y` without sign and 0 elsewhere.
fn less(func: &Function, mut value: Value) -> Option<(Value, Value)> {
    loop {
        match func.dfg.insts[func.dfg.value_def(value).inst()?] {
            InstructionData::Unary { opcode: Opcode::Uextend, arg } => value = arg,
            InstructionData::IntCompare { opcode: Opcode::Icmp, args: [x, y], cond } => {
                let (x, y) = (func.dfg.resolve_aliases(x), func.dfg.resolve_aliases(y));
                return match cond {
                    IntCC::UnsignedLessThan => Some((x, y)),
                    IntCC::UnsignedGreaterThan => Some((y, x)),
                    _ => None,
                };
            }
            _ => return None,
        }
    }
}

/// What an instruction can be replaced by.
fn rewrite(func: &Function, inst: Inst) -> Option<Rewrite> {
    let InstructionData::Binary { opcode, .. } = func.dfg.insts[inst] else { return None };
    let value = func.dfg.first_result(inst);
    match opcode {
        Opcode::Bor => orders(binary(func, value, Opcode::Bor)).find_map(|(x, y)| {
            let (a, b, _, p) = second_sum(func, raised(func, x)?)?;
            (low(func, y) == Some(p)).then_some(Rewrite::Low(a, b))
        }),
        Opcode::Iadd if func.dfg.value_type(value) == types::I64 => {
            if let Some((a, b, ..)) = low_sum(func, value) {
                return Some(Rewrite::Low(a, b));
            }
            let mut terms = Terms::new();
            gather(func, value, 0, &mut terms).then_some(())?;
            terms.iter().find_map(|term| in_c(func, *term, &terms).or_else(|| in_rust(func, *term, &terms)))
        }
        _ => None,
    }
}

/// The terms of a sum. Says whether there are few enough.
fn gather(func: &Function, value: Value, depth: usize, terms: &mut Terms) -> bool {
    if depth < MAX_DEPTH
        && let Some([x, y]) = binary(func, value, Opcode::Iadd)
    {
        return gather(func, x, depth + 1, terms) && gather(func, y, depth + 1, terms);
    }
    terms.push(value);
    terms.len() <= MAX_TERMS
}

/// The terms without one that fits, or `None` if none does.
fn without(terms: &Terms, fits: impl FnMut(&Value) -> bool) -> Option<Terms> {
    let mut terms = terms.clone();
    let at = terms.iter().position(fits)?;
    terms.remove(at);
    Some(terms)
}

/// C's form, if the term is its `t2 >> 32`.
fn in_c(func: &Function, term: Value, terms: &Terms) -> Option<Rewrite> {
    let (a, b, t1, _) = second_sum(func, high(func, term)?)?;
    let rest = without(terms, |t| *t == term)?;
    let rest = without(&rest, |t| high(func, *t) == Some(t1))?;
    let rest = without(&rest, |t| is_half_product(func, *t, a, true, b, true))?;
    Some(Rewrite::High(a, b, rest))
}

/// Rust's form, if the term is its `lo < p`.
fn in_rust(func: &Function, term: Value, terms: &Terms) -> Option<Rewrite> {
    let (lo, p) = less(func, term)?;
    let (a, b, product, s) = low_sum(func, lo)?;
    if p != product {
        return None;
    }
    let carries = |value: Value| {
        orders(binary(func, value, Opcode::Bor)).any(|(carry, shifted)| {
            high(func, shifted) == Some(s)
                && raised(func, carry)
                    .and_then(|c| less(func, c))
                    // A sum is below one of its terms exactly if it is below the other: it has wrapped.
                    .is_some_and(|(sum, part)| sum == s && binary(func, s, Opcode::Iadd).is_some_and(|parts| parts.contains(&part)))
        })
    };
    let rest = without(terms, |t| *t == term)?;
    let rest = without(&rest, |t| carries(*t))?;
    let rest = without(&rest, |t| is_half_product(func, *t, a, true, b, true))?;
    Some(Rewrite::High(a, b, rest))
}

/// Removes what only made the products: the size of the function decides whether it is inlined.
fn remove_unused(func: &mut Function) {
    let mut uses = vec![0u32; func.dfg.num_values()];
    for inst in func.layout.blocks().flat_map(|b| func.layout.block_insts(b)) {
        for value in func.dfg.inst_values(inst) {
            uses[func.dfg.resolve_aliases(value).as_u32() as usize] += 1;
        }
    }
    let blocks: Vec<_> = func.layout.blocks().collect();
    for block in blocks.into_iter().rev() {
        let mut next = func.layout.last_inst(block);
        while let Some(inst) = next {
            next = func.layout.prev_inst(inst);
            let pure = matches!(
                func.dfg.insts[inst].opcode(),
                Opcode::Iadd
                    | Opcode::Imul
                    | Opcode::Band
                    | Opcode::Bor
                    | Opcode::Ushr
                    | Opcode::Ishl
                    | Opcode::Iconst
                    | Opcode::Icmp
                    | Opcode::Uextend
            );
            if pure && func.dfg.inst_results(inst).iter().all(|r| uses[r.as_u32() as usize] == 0) {
                for value in func.dfg.inst_values(inst).collect::<SmallVec<[Value; 2]>>() {
                    uses[func.dfg.resolve_aliases(value).as_u32() as usize] -= 1;
                }
                func.layout.remove_inst(inst);
            }
        }
    }
}
