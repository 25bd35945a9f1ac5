//! Where arguments and results are when a function is entered and left, computed from its type alone: the `Tail` convention of
//! `docs/abi.md`, and the C convention of x86-64 where code calls the runtime. Written after the convention, not after the
//! code generator, whose work it checks.

use crate::value::ANY_TYPE;
use wasmc_environ::Module;
use wasmc_environ::types::{AbiType, FuncType, HeapType, RefKind, ValType};

/// Registers by their number in instructions.
pub const RAX: u8 = 0;
pub const RCX: u8 = 1;
pub const RDX: u8 = 2;
pub const RBX: u8 = 3;
pub const RSP: u8 = 4;
pub const RBP: u8 = 5;
pub const RSI: u8 = 6;
pub const RDI: u8 = 7;
pub const R8: u8 = 8;
pub const R9: u8 = 9;
pub const R10: u8 = 10;
pub const R11: u8 = 11;
pub const R15: u8 = 15;

/// The registers that a callee gives back unchanged, beside RSP; R15 is not among them in metered code.
pub const CALLEE_SAVED: [u8; 6] = [RBX, RBP, 12, 13, 14, R15];
/// Integer arguments.
pub const ARGUMENTS: [u8; 6] = [RDI, RSI, RDX, RCX, R8, R9];
/// Integer results.
const RESULTS: [u8; 8] = [RAX, RCX, RDX, RSI, RDI, R8, R9, R10];
const VECTORS: usize = 8;

/// What the verifier tells apart among values.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Ty {
    /// A number, or an index into the store's heap.
    Int { bytes: u8 },
    /// A float or vector.
    Vector { bytes: u8 },
    /// A pointer to a `VMFuncRef`, of a function with this canonical type or `ANY_TYPE`.
    Func(u32),
}

impl Ty {
    /// How a value of a representation travels.
    pub fn of_abi(t: AbiType) -> Self {
        match t {
            AbiType::I32 | AbiType::HeapRef => Self::Int { bytes: 4 },
            AbiType::I64 => Self::Int { bytes: 8 },
            AbiType::F32 => Self::Vector { bytes: 4 },
            AbiType::F64 => Self::Vector { bytes: 8 },
            AbiType::V128 => Self::Vector { bytes: 16 },
            AbiType::FuncRef => Self::Func(ANY_TYPE),
        }
    }

    /// The same of a type, with what is known of function references.
    pub fn of(module: &Module, t: ValType) -> Self {
        match t {
            ValType::Ref(r) if r.kind() == RefKind::Func => Self::Func(match r.heap {
                HeapType::Concrete(i) => module.canonical[i.index()].as_u32(),
                _ => ANY_TYPE,
            }),
            other => Self::of_abi(other.abi()),
        }
    }

    fn is_int(self) -> bool {
        !matches!(self, Self::Vector { .. })
    }

    fn stack_bytes(self) -> u32 {
        match self {
            Self::Vector { bytes: 16 } => 16,
            _ => 8,
        }
    }
}

/// Where a value is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An integer register.
    Gpr(u8),
    /// A vector register.
    Vector,
    /// Argument: bytes above the return address. Result: bytes into the area for results.
    Memory(i32),
}

/// A signature with its places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Parameters behind the hidden one.
    pub params: Vec<(Ty, Place)>,
    /// Results.
    pub results: Vec<(Ty, Place)>,
    /// Bytes of arguments on the stack, which the callee takes away.
    pub stack: i32,
    /// Bytes of results in memory; then RDI holds the address of the area.
    pub area: i32,
    /// Where the hidden parameter is.
    pub hidden: u8,
}

impl Signature {
    /// Of a function type.
    pub fn of(module: &Module, ty: &FuncType) -> Self {
        let list = |types: &[ValType]| types.iter().map(|t| Ty::of(module, *t)).collect::<Vec<_>>();
        Self::new(&list(&ty.params), &list(&ty.results))
    }

    /// Of a function with these parameters behind the hidden one.
    pub fn new(params: &[Ty], results: &[Ty]) -> Self {
        let (results, area) = places(results, 0, &RESULTS);
        let first = usize::from(area != 0);
        let (params, stack) = places(params, first + 1, &ARGUMENTS);
        Self { params, results, stack, area, hidden: ARGUMENTS[first] }
    }
}

/// Gives out registers, then memory.
fn places(types: &[Ty], first: usize, registers: &[u8]) -> (Vec<(Ty, Place)>, i32) {
    let (mut ints, mut vectors, mut memory) = (first, 0, 0u32);
    let places = types
        .iter()
        .map(|t| {
            let place = if t.is_int() {
                ints += 1;
                registers.get(ints - 1).map(|r| Place::Gpr(*r))
            } else {
                vectors += 1;
                (vectors <= VECTORS).then_some(Place::Vector)
            };
            let place = place.unwrap_or_else(|| {
                let size = t.stack_bytes();
                memory = memory.next_multiple_of(size) + size;
                Place::Memory((memory - size) as i32)
            });
            (*t, place)
        })
        .collect();
    (places, memory.next_multiple_of(16) as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_arguments_and_results() {
        let int = Ty::Int { bytes: 8 };
        let s = Signature::new(&[int; 7], &[int; 2]);
        assert_eq!((s.hidden, s.stack, s.area), (RDI, 16, 0));
        assert_eq!(s.params[4].1, Place::Gpr(R9));
        assert_eq!(s.params[5].1, Place::Memory(0));
        assert_eq!(s.params[6].1, Place::Memory(8));
        assert_eq!(s.results[1].1, Place::Gpr(RCX));
        let s = Signature::new(&[int], &[int; 9]);
        assert_eq!((s.hidden, s.area, s.params[0].1), (RSI, 16, Place::Gpr(RDX)));
        let v = Ty::Vector { bytes: 16 };
        assert_eq!(Signature::new(&[v, v, v, v, v, v, v, v, int, v], &[]).stack, 16);
    }
}
