//! The locals of a frame, for core dumps: a local has a slot of its own, which holds its value wherever a function can trap or call.

use super::code::{HEADER, slots};
use crate::module::ModuleInner;
use wasmc_environ::FuncIndex;
use wasmc_environ::types::{AbiType, ValType};
use wasmc_environ::wasmparser::{BinaryReader, FunctionBody};

/// The value of a local.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum LocalValue {
    I32(u32),
    I64(u64),
    /// The bits.
    F32(u32),
    /// The bits.
    F64(u64),
}

/// The types of a function's locals beside the parameters; none where the binary is not there.
pub(crate) fn declared_locals(module: &ModuleInner, func: FuncIndex) -> Vec<(u32, Option<AbiType>)> {
    let body = module.env.defined_func(func).and_then(|d| module.env.bodies.get(d.index()));
    let bytes = body.zip(module.wasm()).and_then(|(body, wasm)| wasm.get(body.start as usize..body.end as usize));
    let reader = bytes.and_then(|b| FunctionBody::new(BinaryReader::new(b, 0)).get_locals_reader().ok());
    let groups = reader.into_iter().flatten().map_while(Result::ok);
    groups.map(|(count, ty)| (count, ValType::from_wasmparser(ty, 0).ok().map(|t| t.abi()))).collect()
}

/// The locals of the frame at `sp`, parameters first.
///
/// # Safety
/// The frame is one of an active run, and belongs to this function of the module.
pub(crate) unsafe fn locals(module: &ModuleInner, func: FuncIndex, sp: *const u64) -> Box<[Option<LocalValue>]> {
    let mut locals = Vec::new();
    let value = |at: isize, ty: AbiType| {
        // SAFETY: by the caller; the slot is one of the frame's.
        let bits = unsafe { *sp.offset(at) };
        match ty {
            AbiType::I32 => Some(LocalValue::I32(bits as u32)),
            AbiType::I64 => Some(LocalValue::I64(bits)),
            AbiType::F32 => Some(LocalValue::F32(bits as u32)),
            AbiType::F64 => Some(LocalValue::F64(bits)),
            AbiType::V128 | AbiType::FuncRef | AbiType::HeapRef => None,
        }
    };
    let sig = module.interp.sig(&module.env, module.env.functions[func.index()]);
    let mut at = -(HEADER as isize) - sig.shared_slots() as isize;
    for ty in &sig.params {
        locals.push(value(at, *ty));
        at += slots(*ty) as isize;
    }
    let body = module.env.defined_func(func).and_then(|d| module.interp.funcs.get(d.index())?.body());
    // A frame that was never begun (the stack was exhausted) has no locals yet.
    let Some(body) = body else { return locals.into() };
    at = body.first_local as isize;
    for (count, ty) in declared_locals(module, func) {
        // Every slot behind it would be guessed.
        let Some(ty) = ty else { break };
        for _ in 0..count {
            locals.push(value(at, ty));
            at += slots(ty) as isize;
        }
    }
    locals.into()
}
