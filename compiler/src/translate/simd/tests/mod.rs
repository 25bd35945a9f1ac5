//! Every vector operator, compiled for every level of x86-64 that Cranelift lowers differently and for aarch64: none may
//! leave a relocation to a library function. What this machine can run is run, on boundary and random lanes, and must
//! give what the interpreter's function gives. Operators whose operand is a constant, or twice the same, have lowerings of
//! their own, so they are tried in these forms too.

use crate::symbols::Symbol;
use crate::translate::{ModuleEnv, TranslateContext, translate_function};
use cases::{Case, cases};
use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::ExternalName;
use cranelift_codegen::isa::{self, OwnedTargetIsa, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{FinalizedMachReloc, FinalizedRelocTarget};
use std::fmt::Write;
use wasmc_environ::builtins::Builtin;
use wasmc_environ::cpu::{CPU_FEATURES, X86_64_V3};
use wasmc_environ::features::Features;
use wasmc_environ::vmoffsets::VMOffsets;
use wasmc_environ::{DefinedFuncIndex, Tunables};

mod cases;
#[cfg(all(target_arch = "x86_64", unix))]
mod execute;

/// The interpreter's functions. Their own tests come along and run here once more.
#[path = "../../../../../runtime/src/interp/simd/mod.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "only what a test needs is used")]
#[expect(clippy::module_inception, reason = "the interpreter has a file of the same name in it")]
mod lanes;

/// The code of all cases for one target.
struct Compiled {
    functions: Vec<(Vec<u8>, Vec<FinalizedMachReloc>)>,
}

fn target(triple: &str, features: &[&str], opt_level: &str) -> OwnedTargetIsa {
    let mut flags = settings::builder();
    for (name, value) in [("opt_level", opt_level), ("enable_verifier", "true"), ("preserve_frame_pointers", "true"), ("is_pic", "false")] {
        flags.set(name, value).unwrap();
    }
    let mut builder = isa::lookup(triple.parse().unwrap()).unwrap();
    for name in features {
        let feature = CPU_FEATURES.iter().find(|f| f.name == *name).unwrap();
        builder.enable(feature.setting).unwrap();
    }
    builder.finish(settings::Flags::new(flags)).unwrap()
}

fn module_features() -> Features {
    let mut features = Features::default();
    assert!(features.set("relaxed-simd", true));
    features
}

fn module_text(cases: &[Case]) -> Vec<u8> {
    let mut text = String::from("(module (memory 1)\n");
    for case in cases {
        writeln!(text, "(func {})", case.body).unwrap();
    }
    text.push(')');
    wat::parse_str(&text).unwrap()
}

fn compile(wasm: &[u8], isa: &dyn TargetIsa, cases: &[Case]) -> Compiled {
    let decoded = wasmc_environ::decode::decode(wasm, &module_features()).unwrap();
    let (offsets, tunables) = (VMOffsets::new(&decoded.module, true).unwrap(), Tunables::default());
    let env = ModuleEnv::new(&decoded.module, &offsets, &tunables, isa);
    let mut cx = TranslateContext::default();
    let mut context = Context::new();
    let mut functions = Vec::new();
    for (i, f) in decoded.functions.into_iter().enumerate() {
        let case = &cases[i];
        context.clear();
        translate_function(&env, &mut cx, DefinedFuncIndex::from_u32(i as u32), f, &mut context.func).unwrap();
        let compiled = context.compile(isa, &mut ControlPlane::default());
        let compiled = compiled.unwrap_or_else(|e| panic!("{} {}: {:?}\n{}", case.name, case.body, e.inner, e.func));
        let (code, relocs) = (compiled.code_buffer().to_vec(), compiled.buffer.relocs().to_vec());
        for reloc in &relocs {
            let FinalizedRelocTarget::ExternalName(name) = &reloc.target else { continue };
            let ExternalName::User(user) = name else { panic!("{} {} refers to {name:?}", case.name, case.body) };
            let symbol = Symbol::from_name(&context.func.params.user_named_funcs()[*user]);
            assert_eq!(symbol, Some(Symbol::Builtin(Builtin::fma_f64)), "{} {}", case.name, case.body);
        }
        functions.push((code, relocs));
    }
    Compiled { functions }
}

/// Levels of x86-64 at which Cranelift lowers vectors differently.
const X86_64_LEVELS: [&[&str]; 5] = [
    &[],
    &["sse3", "ssse3"],
    &["sse3", "ssse3", "sse4.1", "sse4.2", "popcnt"],
    X86_64_V3,
    &[
        "sse3",
        "ssse3",
        "sse4.1",
        "sse4.2",
        "popcnt",
        "avx",
        "avx2",
        "fma",
        "bmi1",
        "bmi2",
        "lzcnt",
        "cmpxchg16b",
        "avx512f",
        "avx512dq",
        "avx512vl",
        "avx512vbmi",
        "avx512bitalg",
    ],
];

#[test]
fn list_and_translation_agree() {
    // Whatever the list calls a vector operator is translated: the cases hold each of them (which the interpreter's tests
    // establish), and compile. Here: nothing else is in the list.
    use wasmparser::Operator;
    assert!(super::is_simd(&Operator::I8x16Add) && super::is_simd(&Operator::I8x16RelaxedSwizzle));
    assert!(!super::is_simd(&Operator::I32Add) && !super::is_simd(&Operator::End));
}

#[test]
fn aarch64_has_every_operator() {
    let cases = cases();
    let wasm = module_text(&cases);
    compile(&wasm, &*target("aarch64-unknown-linux-gnu", &[], "speed"), &cases);
    compile(&wasm, &*target("aarch64-unknown-linux-gnu", &["lse", "fp16"], "none"), &cases);
}

#[test]
fn x86_64_levels_compute_what_the_interpreter_does() {
    let cases = cases();
    let wasm = module_text(&cases);
    for features in X86_64_LEVELS {
        for opt_level in ["speed", "none"] {
            let isa = target("x86_64-unknown-linux-gnu", features, opt_level);
            let compiled = compile(&wasm, &*isa, &cases);
            #[cfg(all(target_arch = "x86_64", unix))]
            if execute::has_features(features) {
                execute::check(&*isa, &compiled, &cases, &wasm);
            }
        }
    }
}

/// The CLIF of one function with the features of x86-64-v3.
fn clif(function: &str) -> String {
    let wasm = wat::parse_str(format!("(module (memory 1) {function})")).unwrap();
    let isa = target("x86_64-unknown-linux-gnu", X86_64_V3, "speed");
    let decoded = wasmc_environ::decode::decode(&wasm, &module_features()).unwrap();
    let (offsets, tunables) = (VMOffsets::new(&decoded.module, true).unwrap(), Tunables::default());
    let env = ModuleEnv::new(&decoded.module, &offsets, &tunables, &*isa);
    let mut context = Context::new();
    for (i, f) in decoded.functions.into_iter().enumerate() {
        translate_function(&env, &mut TranslateContext::default(), DefinedFuncIndex::from_u32(i as u32), f, &mut context.func).unwrap();
    }
    context.func.display().to_string()
}

#[test]
fn loads_take_the_lanes_of_their_first_use() {
    let text = clif("(func (param i32) (result v128) (f32x4.add (v128.load (local.get 0)) (v128.load offset=16 (local.get 0))))");
    assert_eq!(text.matches("load.f32x4").count(), 2, "{text}");
    // A load that is used in two ways, also through a local, is still one load.
    let text = clif(
        "(func (param i32) (result v128) (local v128)
            (local.set 1 (v128.load (local.get 0)))
            (v128.xor (local.get 1) (f32x4.add (f64x2.mul (local.get 1) (local.get 1)) (local.get 1))))",
    );
    assert_eq!(text.matches(" load.f64x2 ").count(), 1, "{text}");
    assert_eq!(text.matches(" load.f32x4 ").count() + text.matches(" load.i8x16 ").count(), 0, "{text}");
}

#[test]
fn swizzle_by_half_bytes_needs_no_saturation() {
    let plain = clif("(func (param v128 v128) (result v128) (i8x16.swizzle (local.get 0) (local.get 1)))");
    assert!(plain.contains("swizzle"), "{plain}");
    for indices in ["(i8x16.shr_u (local.get 1) (i32.const 4))", "(v128.and (v128.const i64x2 0x0f0f 15) (local.get 1))"] {
        let text = clif(&format!("(func (param v128 v128) (result v128) (i8x16.swizzle (local.get 0) {indices}))"));
        assert!(text.contains("x86_pshufb"), "{text}");
    }
}
