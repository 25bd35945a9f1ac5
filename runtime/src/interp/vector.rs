//! Handlers of the vector instructions. What they compute is in `simd`; a vector takes two slots, and there is no
//! accumulator for it. Each operator is a type here, made from the lists of `simd`.
//!
//! Handlers may only end in a jump if nothing of theirs is on the native stack. For most that is plain; here it depends on
//! whether all of an operator's implementation was inlined, which builds differ in. So each handler is tried out
//! before it is used, and where the stack grows the translator has the run return to its loop after the instruction.

use super::dispatch::*;
use super::frame::Cx;
use super::memory::{Address, outside};
use super::simd::{self, V128};
use wasmc_environ::TrapCode;
use wasmc_environ::vmlayout::VMMemoryDefinition;

pub(super) trait VectorUnary {
    fn eval(a: V128) -> V128;
}
pub(super) trait VectorBinary {
    fn eval(a: V128, b: V128) -> V128;
}
pub(super) trait VectorTernary {
    fn eval(a: V128, b: V128, c: V128) -> V128;
}
pub(super) trait VectorShift {
    fn eval(a: V128, by: u32) -> V128;
}
pub(super) trait VectorTest {
    fn eval(a: V128) -> u32;
}
pub(super) trait Splat {
    type In: Val;
    fn eval(a: Self::In) -> V128;
}
pub(super) trait Extract {
    type Out: Val;
    fn eval(a: V128, lane: u8) -> Self::Out;
}
pub(super) trait Replace {
    type In: Val;
    fn eval(a: V128, lane: u8, v: Self::In) -> V128;
}
pub(super) trait VectorLoad {
    type Raw: Copy;
    fn eval(read: Self::Raw) -> V128;
}
pub(super) trait LoadLane {
    type Raw: Copy;
    fn eval(a: V128, lane: u8, read: Self::Raw) -> V128;
}
pub(super) trait StoreLane {
    type Raw: Copy;
    fn eval(a: V128, lane: u8) -> Self::Raw;
}

/// The vector in the two slots that field `F` names.
#[inline(always)]
unsafe fn get<const F: usize>(r: &Regs) -> V128 {
    // SAFETY: the field names a slot with a vector.
    unsafe { slot::<F>(r).cast::<V128>().read() }
}

/// Sets the two slots that field 0 names.
#[inline(always)]
unsafe fn set(r: &Regs, v: V128) {
    // SAFETY: as `get`.
    unsafe { slot::<0>(r).cast::<V128>().write(v) }
}

op! {
    vector_unary[O: VectorUnary] |r| {
        set(&r, O::eval(get::<1>(&r)));
        next!(r, 2)
    }
    vector_binary[O: VectorBinary] |r| {
        set(&r, O::eval(get::<1>(&r), get::<2>(&r)));
        next!(r, 2)
    }
    vector_ternary[O: VectorTernary] |r| {
        set(&r, O::eval(get::<1>(&r), get::<2>(&r), get::<3>(&r)));
        next!(r, 2)
    }
    vector_shift[O: VectorShift, X: Src<u32>] |r| {
        set(&r, O::eval(get::<1>(&r), X::get(&r)));
        next!(r, 2)
    }
    vector_test[O: VectorTest, D: Dst] |r| {
        let v = O::eval(get::<1>(&r));
        D::put(&mut r, v);
        next!(r, 2)
    }
    splat[O: Splat, X: Src<O::In>] |r| {
        set(&r, O::eval(X::get(&r)));
        next!(r, 2)
    }
    /// The lane's number is field 2; likewise below.
    extract[O: Extract, D: Dst] |r| {
        let v = O::eval(get::<1>(&r), field::<2>(&r) as u8);
        D::put(&mut r, v);
        next!(r, 2)
    }
    replace[O: Replace, X: Src<O::In>] |r| {
        set(&r, O::eval(get::<1>(&r), field::<2>(&r) as u8, X::get(&r)));
        next!(r, 2)
    }
    shuffle[] |r| {
        let lanes = r.ip.add(2).cast::<[u8; 16]>().read();
        set(&r, simd::i8x16_shuffle(get::<1>(&r), get::<2>(&r), lanes));
        next!(r, 4)
    }
    vector_load[O: VectorLoad, X: Address] |r| {
        match X::find(&r, const { size_of::<O::Raw>() }) {
            Some(p) => {
                set(&r, O::eval(p.cast::<O::Raw>().read_unaligned()));
                next!(r, const { X::WORDS })
            }
            None => outside!(r),
        }
    }
    /// Word 4 is the lane's number and the slot of the other lanes.
    load_lane[O: LoadLane] |r| {
        match super::memory::Far::<1>::find(&r, const { size_of::<O::Raw>() }) {
            Some(p) => {
                let a = r.sp.offset((word::<4>(&r) >> 32) as i32 as isize).cast::<V128>().read();
                set(&r, O::eval(a, word::<4>(&r) as u8, p.cast::<O::Raw>().read_unaligned()));
                next!(r, 5)
            }
            None => trap!(r, TrapCode::MemoryOutOfBounds),
        }
    }
    /// Word 4 is the lane's number.
    store_lane[O: StoreLane] |r| {
        match super::memory::Far::<0>::find(&r, const { size_of::<O::Raw>() }) {
            Some(p) => {
                let v = O::eval(get::<1>(&r), word::<4>(&r) as u8);
                p.cast::<O::Raw>().write_unaligned(v);
                next!(r, 5)
            }
            None => trap!(r, TrapCode::MemoryOutOfBounds),
        }
    }
}

op! {
    /// Returns to the loop in `execute`, so that the native stack is what it was there.
    bounce[] |r| {
        r.ip = r.ip.add(2);
        pause(r)
    }

    /// Ends a trial: the native stack pointer.
    probe[] |r| {
        let _ = r;
        crate::vm::activation::stack_pointer() as u64
    }
}

/// Whether the native stack is the same before and after an instruction of this file, which has so many words.
/// In the loop it always is.
pub(super) fn keeps_stack(handler: Handler, words: usize) -> bool {
    if !cfg!(interp_threaded) {
        return true;
    }
    let (mut slots, mut memory) = ([0u64; 16], [0u64; 16]);
    let (sp, mem, len) = (slots.as_mut_ptr(), memory.as_mut_ptr().cast::<u8>(), size_of_val(&memory));
    let mut definition = VMMemoryDefinition { base: mem, current_length: len as u64 };
    // All fields and further words are 0: slot 0, address 0, lane 0, and the definition at the start of the `VMContext`.
    let mut code = [0u64; 8];
    code[0] = address(handler);
    code[words] = address(probe);
    let mut cx = Cx::idle((&raw mut definition).cast());
    let cx = &raw mut cx;
    let run = |code: &[u64]| {
        let r = Regs { ip: code.as_ptr(), sp, mem, len, cx, acc: 0, fd: 0.0, fs: 0.0 };
        // SAFETY: operands are within the arrays, a vector at slot 0 included, and the last instruction is `probe`.
        unsafe { execute(r) }
    };
    let with = run(&code);
    let without = run(&code[words..]);
    with == without
}

/// Operators as types, named as wasmparser names them.
pub(super) mod operators {
    use super::*;

    macro_rules! unary {
        ([] $($name:ident $f:ident;)*) => {$(
            pub(in crate::interp) struct $name;
            impl VectorUnary for $name {
                #[inline(always)]
                fn eval(a: V128) -> V128 { simd::$f(a) }
            }
        )*};
    }
    macro_rules! binary {
        ([] $($name:ident $f:ident;)*) => {$(
            pub(in crate::interp) struct $name;
            impl VectorBinary for $name {
                #[inline(always)]
                fn eval(a: V128, b: V128) -> V128 { simd::$f(a, b) }
            }
        )*};
    }
    macro_rules! ternary {
        ([] $($name:ident $f:ident;)*) => {$(
            pub(in crate::interp) struct $name;
            impl VectorTernary for $name {
                #[inline(always)]
                fn eval(a: V128, b: V128, c: V128) -> V128 { simd::$f(a, b, c) }
            }
        )*};
    }
    macro_rules! shift {
        ([] $($name:ident $f:ident;)*) => {$(
            pub(in crate::interp) struct $name;
            impl VectorShift for $name {
                #[inline(always)]
                fn eval(a: V128, by: u32) -> V128 { simd::$f(a, by) }
            }
        )*};
    }
    macro_rules! test {
        ([] $($name:ident $f:ident;)*) => {$(
            pub(in crate::interp) struct $name;
            impl VectorTest for $name {
                #[inline(always)]
                fn eval(a: V128) -> u32 { simd::$f(a) as u32 }
            }
        )*};
    }
    macro_rules! val {
        (i32) => {
            u32
        };
        (i64) => {
            u64
        };
        (f32) => {
            f32
        };
        (f64) => {
            f64
        };
    }
    macro_rules! splat {
        ([] $($name:ident $f:ident $ty:ident;)*) => {$(
            pub(in crate::interp) struct $name;
            impl Splat for $name {
                type In = val!($ty);
                #[inline(always)]
                fn eval(a: val!($ty)) -> V128 { simd::$f(a as $ty) }
            }
        )*};
    }
    macro_rules! extract {
        ([] $($name:ident $f:ident $ty:ident;)*) => {$(
            pub(in crate::interp) struct $name;
            impl Extract for $name {
                type Out = val!($ty);
                #[inline(always)]
                fn eval(a: V128, lane: u8) -> val!($ty) { simd::$f(a, lane) as val!($ty) }
            }
        )*};
    }
    macro_rules! replace {
        ([] $($name:ident $f:ident $ty:ident;)*) => {$(
            pub(in crate::interp) struct $name;
            impl Replace for $name {
                type In = val!($ty);
                #[inline(always)]
                fn eval(a: V128, lane: u8, v: val!($ty)) -> V128 { simd::$f(a, lane, v as $ty) }
            }
        )*};
    }
    macro_rules! load {
        ([] $($name:ident $f:ident $ty:ty;)*) => {$(
            pub(in crate::interp) struct $name;
            impl VectorLoad for $name {
                type Raw = $ty;
                #[inline(always)]
                fn eval(read: $ty) -> V128 { simd::$f(read) }
            }
        )*};
    }
    macro_rules! load_lane {
        ([] $($name:ident $f:ident $ty:ty;)*) => {$(
            pub(in crate::interp) struct $name;
            impl LoadLane for $name {
                type Raw = $ty;
                #[inline(always)]
                fn eval(a: V128, lane: u8, read: $ty) -> V128 { simd::$f(a, lane, read) }
            }
        )*};
    }
    macro_rules! store_lane {
        ([] $($name:ident $f:ident $ty:ty;)*) => {$(
            pub(in crate::interp) struct $name;
            impl StoreLane for $name {
                type Raw = $ty;
                #[inline(always)]
                fn eval(a: V128, lane: u8) -> $ty { simd::$f(a, lane) }
            }
        )*};
    }

    simd::for_each_simd_unary!(unary);
    simd::for_each_simd_binary!(binary);
    simd::for_each_simd_ternary!(ternary);
    simd::for_each_simd_shift!(shift);
    simd::for_each_simd_test!(test);
    simd::for_each_simd_splat!(splat);
    simd::for_each_simd_extract!(extract);
    simd::for_each_simd_replace!(replace);
    simd::for_each_simd_load!(load);
    simd::for_each_simd_load_lane!(load_lane);
    simd::for_each_simd_store_lane!(store_lane);
}
