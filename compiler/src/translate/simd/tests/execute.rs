//! Running the code of the cases on x86-64, and comparing what it stores with what the case expects.

use super::cases::{A, B, C, Case, RESULT, bytes, near_ties, operands, same};
use super::{Compiled, module_features};
use cranelift_codegen::Context;
use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{AbiParam, Function, InstBuilder, Signature, UserFuncName, types};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use wasmc_environ::MemoryIndex;
use wasmc_environ::vmoffsets::VMOffsets;

extern "C" fn fma_f64(_vmctx: u64, a: f64, b: f64, c: f64) -> f64 {
    a.mul_add(b, c)
}

pub(super) fn has_features(features: &[&str]) -> bool {
    features.iter().all(|f| match *f {
        "sse3" => is_x86_feature_detected!("sse3"),
        "ssse3" => is_x86_feature_detected!("ssse3"),
        "sse4.1" => is_x86_feature_detected!("sse4.1"),
        "sse4.2" => is_x86_feature_detected!("sse4.2"),
        "popcnt" => is_x86_feature_detected!("popcnt"),
        "avx" => is_x86_feature_detected!("avx"),
        "avx2" => is_x86_feature_detected!("avx2"),
        "fma" => is_x86_feature_detected!("fma"),
        "bmi1" => is_x86_feature_detected!("bmi1"),
        "bmi2" => is_x86_feature_detected!("bmi2"),
        "lzcnt" => is_x86_feature_detected!("lzcnt"),
        "cmpxchg16b" => is_x86_feature_detected!("cmpxchg16b"),
        "avx512f" => is_x86_feature_detected!("avx512f"),
        "avx512dq" => is_x86_feature_detected!("avx512dq"),
        "avx512vl" => is_x86_feature_detected!("avx512vl"),
        "avx512vbmi" => is_x86_feature_detected!("avx512vbmi"),
        "avx512bitalg" => is_x86_feature_detected!("avx512bitalg"),
        _ => false,
    })
}

/// A function that only calls an address, from one calling convention to another.
fn bridge(isa: &dyn TargetIsa, outer: Signature, inner: Signature, callee: Option<u64>) -> Vec<u8> {
    let mut func = Function::with_name_signature(UserFuncName::default(), outer);
    let mut cx = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut func, &mut cx);
    let block = builder.create_block();
    builder.append_block_params_for_function_params(block);
    builder.switch_to_block(block);
    builder.seal_block(block);
    let mut args = builder.block_params(block).to_vec();
    let callee = match callee {
        Some(address) => builder.ins().iconst(types::I64, address as i64),
        None => args.remove(0),
    };
    let inner = builder.import_signature(inner);
    let call = builder.ins().call_indirect(inner, callee, &args);
    let results = builder.inst_results(call).to_vec();
    builder.ins().return_(&results);
    builder.finalize(isa.frontend_config());
    let mut context = Context::for_function(func);
    context.compile(isa, &mut ControlPlane::default()).unwrap().code_buffer().to_vec()
}

fn signature(conv: CallConv, params: &[types::Type], results: &[types::Type]) -> Signature {
    let mut s = Signature::new(conv);
    s.params.extend(params.iter().map(|t| AbiParam::new(*t)));
    s.returns.extend(results.iter().map(|t| AbiParam::new(*t)));
    s
}

pub(super) fn check(isa: &dyn TargetIsa, compiled: &Compiled, cases: &[Case], wasm: &[u8]) {
    use types::{F64, I64};
    let fma = [I64, F64, F64, F64];
    let enter = bridge(isa, signature(CallConv::SystemV, &[I64, I64], &[]), signature(CallConv::Tail, &[I64], &[]), None);
    let fma =
        bridge(isa, signature(CallConv::Tail, &fma, &[F64]), signature(CallConv::SystemV, &fma, &[F64]), Some(fma_f64 as *const () as u64));
    // Lay out, resolve the calls of the builtin, and make it executable.
    let mut text = Vec::new();
    let mut place = |code: &[u8]| {
        text.resize(text.len().next_multiple_of(64), 0xcc);
        let at = text.len();
        text.extend_from_slice(code);
        at
    };
    let enter = place(&enter);
    let fma = place(&fma);
    let starts: Vec<usize> = compiled.functions.iter().map(|f| place(&f.0)).collect();
    for ((_, relocs), start) in compiled.functions.iter().zip(&starts) {
        for reloc in relocs {
            assert_eq!(reloc.kind, Reloc::X86CallPCRel4);
            let at = start + reloc.offset as usize;
            let relative = fma as i64 + reloc.addend - at as i64;
            text[at..at + 4].copy_from_slice(&(relative as i32).to_le_bytes());
        }
    }
    let mut code = region::alloc(text.len(), region::Protection::READ_WRITE).unwrap();
    // SAFETY: the allocation is at least as long as the text, and nothing else refers to it.
    unsafe { code.as_mut_ptr::<u8>().copy_from_nonoverlapping(text.as_ptr(), text.len()) };
    // SAFETY: the range is the allocation's own, and no reference to it is alive.
    unsafe { region::protect(code.as_ptr::<u8>(), code.len(), region::Protection::READ_EXECUTE) }.unwrap();

    // A context with nothing in it, and the memory behind it.
    let decoded = wasmc_environ::decode::decode(wasm, &module_features()).unwrap();
    let layout = VMOffsets::new(&decoded.module, true).unwrap();
    assert!(layout.lies_behind(MemoryIndex::from_u32(0)));
    let mut vmctx = vec![0_u128; layout.size() as usize / 16 + 4];
    let memory: *mut [u8; 64] = vmctx.as_mut_ptr().wrapping_add(layout.size() as usize / 16).cast();

    let inputs = [operands(300), near_ties(40)].concat();
    let start = code.as_ptr::<u8>() as u64;
    // SAFETY: the code at `enter` was compiled for this signature.
    let enter: extern "C" fn(u64, u64) = unsafe { std::mem::transmute(start as usize + enter) };
    for (case, at) in cases.iter().zip(&starts) {
        for input in &inputs {
            // SAFETY: the 64 bytes behind the context are the memory, which nothing but the code accesses meanwhile.
            let after = unsafe {
                memory.write_volatile(*input);
                enter(start + *at as u64, vmctx.as_mut_ptr() as u64 + u64::from(layout.hidden()));
                memory.read_volatile()
            };
            let (got, want) = (bytes(&after, RESULT), (case.expected)(input));
            assert!(
                same(case.name, got, want),
                "{} with {:?}\n{}\na {:x?}\nb {:x?}\nc {:x?}\ngot {got:x?}\nnot {want:x?}",
                case.name,
                isa.isa_flags().iter().filter(|f| f.as_bool() == Some(true)).map(|f| f.name).collect::<Vec<_>>(),
                case.body,
                &input[A..B],
                &input[B..C],
                &input[C..],
            );
            assert_eq!(after[A..], input[A..], "{} wrote elsewhere", case.body);
        }
    }
}
