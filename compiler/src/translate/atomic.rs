//! Atomic accesses, all sequentially consistent, on shared and unshared memories alike. An address that is not a
//! multiple of the access's width traps before it is looked at whether it lies in the memory: compiled code finds
//! accesses beyond a reservation by their fault, which comes last. The interpreter keeps the same order.

use super::memory::memory_of;
use super::{FuncTranslator, trap_code};
use cranelift_codegen::ir::{AtomicRmwOp, InstBuilder, MemFlagsData, Type, Value, types};
use smallvec::SmallVec;
use wasmc_environ::TrapCode;
use wasmc_environ::builtins::Builtin;
use wasmparser::{MemArg, Operator};

/// What an atomic operator does to the memory.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Kind {
    Load,
    Store,
    Rmw(AtomicRmwOp),
    Cmpxchg,
}

/// An atomic access.
struct Access<'a> {
    kind: Kind,
    /// Type of the operands and the result.
    ty: Type,
    /// Type in memory, of at most the same width. Wider operands are cut off, and what is read is zero-extended.
    width: Type,
    memarg: &'a MemArg,
}

impl FuncTranslator<'_, '_> {
    /// Translates an operator if it is one of the atomic ones; returns whether it was.
    pub(super) fn atomic(&mut self, op: &Operator<'_>) -> bool {
        match op {
            Operator::AtomicFence { .. } => {
                self.builder.ins().fence();
            }
            Operator::MemoryAtomicWait32 { memarg } => self.wait_or_notify(Builtin::memory_atomic_wait32, memarg, 4),
            Operator::MemoryAtomicWait64 { memarg } => self.wait_or_notify(Builtin::memory_atomic_wait64, memarg, 8),
            Operator::MemoryAtomicNotify { memarg } => self.wait_or_notify(Builtin::memory_atomic_notify, memarg, 4),
            op => {
                let Some(access) = access(op) else { return false };
                self.atomic_access(&access);
            }
        }
        true
    }

    fn atomic_access(&mut self, access: &Access<'_>) {
        let replacement = if access.kind == Kind::Cmpxchg { Some(self.atomic_operand(access.width)) } else { None };
        let operand = if access.kind == Kind::Load { None } else { Some(self.atomic_operand(access.width)) };
        let (flags, address) = self.atomic_address(access.memarg, access.width.bytes());
        let ins = self.builder.ins();
        let value = match (access.kind, operand, replacement) {
            (Kind::Load, ..) => ins.atomic_load(access.width, flags, address),
            (Kind::Rmw(op), Some(operand), _) => ins.atomic_rmw(access.width, flags, op, address, operand),
            (Kind::Cmpxchg, Some(expected), Some(replacement)) => ins.atomic_cas(flags, address, expected, replacement),
            // A sequentially consistent store is a plain one with `mfence` behind it or one `xchg`, which takes half the
            // the time (100 million: 1.20 s and 0.43 s).
            (_, Some(value), _) if self.env.is_x86_64 => {
                ins.atomic_rmw(access.width, flags, AtomicRmwOp::Xchg, address, value);
                return;
            }
            (_, Some(value), _) => {
                ins.atomic_store(flags, value, address);
                return;
            }
            // Only a load has no operand.
            (_, None, _) => return,
        };
        let value = if access.width == access.ty { value } else { self.builder.ins().uextend(access.ty, value) };
        self.push(value);
    }

    /// Pops an operand, cut to the width of the access.
    fn atomic_operand(&mut self, width: Type) -> Value {
        let value = self.pop();
        if self.type_of(value) == width { value } else { self.builder.ins().ireduce(width, value) }
    }

    /// Pops an address and gives that of an atomic access, after a check that it is aligned. Atomic instructions have
    /// no offset of their own, but the lowering folds an addition of a constant into its addressing mode.
    fn atomic_address(&mut self, memarg: &MemArg, bytes: u32) -> (MemFlagsData, Value) {
        let index = self.pop();
        self.check_aligned(index, memarg.offset, bytes);
        self.push(index);
        let (flags, address, offset) = self.memory_operand(memarg, bytes);
        let offset = i64::from(i32::from(offset));
        let address = if offset == 0 { address } else { self.builder.ins().iadd_imm_u(address, offset) };
        (flags, address)
    }

    /// Traps if `index + offset` is not a multiple of `bytes`, a power of two. Where the sum wraps, its low bits are
    /// right all the same.
    fn check_aligned(&mut self, index: Value, offset: u64, bytes: u32) {
        let mask = u64::from(bytes - 1);
        if mask == 0 {
            return;
        }
        let low = match offset & mask {
            0 => index,
            odd => self.builder.ins().iadd_imm_u(index, odd as i64),
        };
        let misaligned = self.builder.ins().band_imm_u(low, mask as i64);
        self.trap_if(misaligned, TrapCode::UnalignedAtomic);
    }

    /// `memory.atomic.wait32`, `wait64` and `notify`: builtins that check alignment and bounds by themselves.
    fn wait_or_notify(&mut self, builtin: Builtin, memarg: &MemArg, bytes: u32) {
        let wait = builtin != Builtin::memory_atomic_notify;
        let timeout = if wait { Some(self.pop()) } else { None };
        // The expected value, or how many to wake.
        let operand = self.pop();
        let address = self.atomic_index(memarg, bytes);
        let memory = self.builder.ins().iconst(types::I32, i64::from(memory_of(memarg).as_u32()));
        let args: SmallVec<[Value; 4]> = [memory, address, operand].into_iter().chain(timeout).collect();
        if let Some(result) = self.builtin(builtin, &args) {
            self.push(result);
        }
    }

    /// Pops an address and gives `index + offset` as I64 for a builtin that checks alignment and bounds by itself. A sum
    /// beyond 64 bits traps here, in the same order.
    fn atomic_index(&mut self, memarg: &MemArg, bytes: u32) -> Value {
        let index = self.pop();
        let offset = memarg.offset;
        if offset == 0 {
            return self.index64(index);
        }
        if !self.memory_type(memory_of(memarg)).memory64 {
            // 32 bits each.
            let index = self.index64(index);
            return self.builder.ins().iadd_imm_u(index, offset as i64);
        }
        let offset_value = self.builder.ins().iconst(types::I64, offset as i64);
        self.check_aligned(index, offset, bytes);
        self.builder.ins().uadd_overflow_trap(index, offset_value, trap_code(TrapCode::MemoryOutOfBounds))
    }
}

/// The access that an operator makes, if it is an atomic one.
fn access<'a>(op: &'a Operator<'_>) -> Option<Access<'a>> {
    use Operator as O;
    use types::{I8, I16, I32, I64};
    macro_rules! accesses {
        ($($kind:expr => [$($name:ident $ty:ident $width:ident),* $(,)?];)*) => {
            match op {
                $($(O::$name { memarg } => (Kind::from($kind), $ty, $width, memarg),)*)*
                _ => return None,
            }
        };
    }
    let (kind, ty, width, memarg) = accesses! {
        Kind::Load => [
            I32AtomicLoad I32 I32, I64AtomicLoad I64 I64, I32AtomicLoad8U I32 I8, I32AtomicLoad16U I32 I16,
            I64AtomicLoad8U I64 I8, I64AtomicLoad16U I64 I16, I64AtomicLoad32U I64 I32,
        ];
        Kind::Store => [
            I32AtomicStore I32 I32, I64AtomicStore I64 I64, I32AtomicStore8 I32 I8, I32AtomicStore16 I32 I16,
            I64AtomicStore8 I64 I8, I64AtomicStore16 I64 I16, I64AtomicStore32 I64 I32,
        ];
        AtomicRmwOp::Add => [
            I32AtomicRmwAdd I32 I32, I64AtomicRmwAdd I64 I64, I32AtomicRmw8AddU I32 I8, I32AtomicRmw16AddU I32 I16,
            I64AtomicRmw8AddU I64 I8, I64AtomicRmw16AddU I64 I16, I64AtomicRmw32AddU I64 I32,
        ];
        AtomicRmwOp::Sub => [
            I32AtomicRmwSub I32 I32, I64AtomicRmwSub I64 I64, I32AtomicRmw8SubU I32 I8, I32AtomicRmw16SubU I32 I16,
            I64AtomicRmw8SubU I64 I8, I64AtomicRmw16SubU I64 I16, I64AtomicRmw32SubU I64 I32,
        ];
        AtomicRmwOp::And => [
            I32AtomicRmwAnd I32 I32, I64AtomicRmwAnd I64 I64, I32AtomicRmw8AndU I32 I8, I32AtomicRmw16AndU I32 I16,
            I64AtomicRmw8AndU I64 I8, I64AtomicRmw16AndU I64 I16, I64AtomicRmw32AndU I64 I32,
        ];
        AtomicRmwOp::Or => [
            I32AtomicRmwOr I32 I32, I64AtomicRmwOr I64 I64, I32AtomicRmw8OrU I32 I8, I32AtomicRmw16OrU I32 I16,
            I64AtomicRmw8OrU I64 I8, I64AtomicRmw16OrU I64 I16, I64AtomicRmw32OrU I64 I32,
        ];
        AtomicRmwOp::Xor => [
            I32AtomicRmwXor I32 I32, I64AtomicRmwXor I64 I64, I32AtomicRmw8XorU I32 I8, I32AtomicRmw16XorU I32 I16,
            I64AtomicRmw8XorU I64 I8, I64AtomicRmw16XorU I64 I16, I64AtomicRmw32XorU I64 I32,
        ];
        AtomicRmwOp::Xchg => [
            I32AtomicRmwXchg I32 I32, I64AtomicRmwXchg I64 I64, I32AtomicRmw8XchgU I32 I8, I32AtomicRmw16XchgU I32 I16,
            I64AtomicRmw8XchgU I64 I8, I64AtomicRmw16XchgU I64 I16, I64AtomicRmw32XchgU I64 I32,
        ];
        Kind::Cmpxchg => [
            I32AtomicRmwCmpxchg I32 I32, I64AtomicRmwCmpxchg I64 I64, I32AtomicRmw8CmpxchgU I32 I8,
            I32AtomicRmw16CmpxchgU I32 I16, I64AtomicRmw8CmpxchgU I64 I8, I64AtomicRmw16CmpxchgU I64 I16,
            I64AtomicRmw32CmpxchgU I64 I32,
        ];
    };
    Some(Access { kind, ty, width, memarg })
}

impl From<AtomicRmwOp> for Kind {
    fn from(op: AtomicRmwOp) -> Self {
        Self::Rmw(op)
    }
}
