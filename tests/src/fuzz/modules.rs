//! Modules: decoding and validating any bytes, parsing any text, compiling what is valid under all options.

use super::Input;
use crate::differential;
use std::sync::LazyLock;
use wasmc_compiler::{CompileError, CompileOptions, Cpu, Inlining, Interpret, OptLevel, Passes, SelfChecks, Triple, compile_to_artifact};
use wasmc_environ::Tunables;
use wasmc_environ::decode::decode_and_validate;
use wasmc_environ::features::{Feature, Features};
use wasmc_environ::types::{CompositeType, HeapType, ValType};
use wasmc_runtime::{ArtifactContents, Config, Engine, Module, Tier};

/// An engine that interprets, with every proposal.
static INTERPRETER: LazyLock<Engine> =
    LazyLock::new(|| Engine::new(Config::new().tier(Tier::Interpreted).features(Features::all())).expect("an engine"));

fn features(input: &mut Input<'_>) -> Features {
    match input.byte() % 4 {
        0 | 1 => Features::all(),
        2 => Features::default(),
        _ => {
            let mut features = Features::default();
            let bits = input.number();
            for (number, Feature { name, .. }) in Features::ALL.iter().enumerate() {
                features.set(name, bits >> (number % 64) & 1 == 1);
            }
            features
        }
    }
}

/// Any bytes are a module or an error with a text. What is accepted, wasmparser accepts with the same proposals, the interpreter loads and
/// wasmprinter prints; and what wasm-smith makes without garbage collection is accepted.
pub fn decode(bytes: &[u8]) {
    let mut input = Input(bytes);
    let made = input.byte() >= 192;
    if made {
        let Some(wasm) = smith(input.rest()) else { return };
        if let Err(error) = decode_and_validate(&wasm, &Features::all()) {
            panic!("a valid module is refused: {error}");
        }
        look(&wasm);
        return;
    }
    let features = features(&mut input);
    let wasm = input.rest();
    match decode_and_validate(wasm, &features) {
        Ok(_) => {
            let mut validator = wasmparser::Validator::new_with_features(features.to_wasmparser());
            if let Err(error) = validator.validate_all(wasm) {
                panic!("accepted, though it is not valid: {error}");
            }
            if features == Features::all() {
                look(wasm);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A valid module can be loaded and looked at.
fn look(wasm: &[u8]) {
    let module = Module::new(&INTERPRETER, wasm).unwrap_or_else(|e| panic!("validated, but not loaded: {e:#}"));
    for import in module.imports() {
        let _ = (import.ty.to_string(), import.name.len());
    }
    for export in module.exports() {
        assert!(module.get_export(export.name).is_some());
    }
    let _ = wasmc_environ::names::function_names(module.env(), wasm);
    wasmprinter::print_bytes(wasm).unwrap_or_else(|e| panic!("validated, but not printed: {e:#}"));
}

/// A module of wasm-smith's, of any proposals that there are.
fn smith(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut input = arbitrary::Unstructured::new(bytes);
    let mut config: wasm_smith::Config = input.arbitrary().ok()?;
    config.gc_enabled = false;
    config.compact_imports_enabled = false;
    config.max_memory64_bytes = config.max_memory64_bytes.min(1 << 20);
    config.max_memory32_bytes = config.max_memory32_bytes.min(1 << 20);
    Some(wasm_smith::Module::new(config, &mut input).ok()?.to_bytes())
}

/// Any text is a module or an error. What is valid is printed as text that means the same module.
pub fn text(bytes: &[u8]) {
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    let wasm = match wat::parse_str(source) {
        Ok(wasm) => wasm,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    if decode_and_validate(&wasm, &Features::all()).is_err() {
        return;
    }
    look(&wasm);
    let printed = wasmprinter::print_bytes(&wasm).expect("printed above");
    let again = wat::parse_str(&printed).unwrap_or_else(|e| panic!("what was printed is no module: {e}\n{printed}"));
    decode_and_validate(&again, &Features::all()).unwrap_or_else(|e| panic!("what was printed is not valid: {e}\n{printed}"));
}

/// Options of all kinds that go together.
fn options(input: &mut Input<'_>) -> CompileOptions<'static> {
    let bits = u16::from_le_bytes(input.take());
    let on = |bit: u16| bits >> bit & 1 == 1;
    let target = on(0).then(|| if on(1) { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" });
    let target: Option<Triple> = target.map(|t| t.parse().expect("a target"));
    let cpu = match (&target, bits >> 2 & 3) {
        (None, 0) => Cpu::Native,
        (None, 1) => Cpu::X86_64V3,
        _ => Cpu::Baseline,
    };
    let meter = on(8);
    let interpret = match bits >> 4 & 3 {
        0 => vec![Interpret::Odd],
        1 => vec![Interpret::Index(u32::from(bits >> 14))],
        _ => Vec::new(),
    };
    CompileOptions {
        target,
        cpu: if cfg!(target_arch = "x86_64") { cpu } else { Cpu::Baseline },
        opt_level: [OptLevel::Speed, OptLevel::None, OptLevel::SpeedAndSize, OptLevel::Speed][usize::from(bits >> 6 & 3)],
        jobs: Some(1),
        strip: on(9) && !meter && interpret.is_empty(),
        interpret,
        inlining: if on(10) { Inlining::Everywhere } else { Inlining::Normal },
        passes: if on(11) { Passes::NONE } else { Passes::default() },
        tunables: Tunables { static_memory: !on(12), spectre_tables: !on(13), meter, trace: on(14) },
        costs: None,
        features: Features::all(),
        checks: SelfChecks::All,
        progress: None,
    }
}

/// Whether the verifier refuses an artifact for the one thing that it is known to refuse though it is right (docs/verify.md): a type of
/// functions that overrides a `nullfuncref` by another type of references.
fn is_known_refusal(problem: &str, contents: &ArtifactContents) -> bool {
    let is_null = |ty: &ValType| matches!(ty, ValType::Ref(r) if r.heap == HeapType::NoFunc);
    let mentions_null = |CompositeType::Func(f): &CompositeType| f.params.iter().chain(&f.results).any(is_null);
    problem.ends_with("is said to be a subtype of one that it does not fit")
        && contents.meta().is_ok_and(|meta| meta.module.types.iter().any(|ty| mentions_null(&ty.composite)))
}

/// A module is compiled if it is valid, under any options; the artifact makes sense, is proved to stay in its sandbox, and has the same
/// bytes with more threads.
pub fn compile(bytes: &[u8]) {
    let mut input = Input(bytes);
    let options = options(&mut input);
    let compare = input.byte() == 7;
    let wasm = match input.byte() {
        0..64 => input.rest().to_vec(),
        _ => {
            let seed = input.number();
            let Some(case) = differential::changed_case(seed, input.rest()) else { return };
            case.first.wasm.to_vec()
        }
    };
    let valid = decode_and_validate(&wasm, &options.features);
    let artifact = match (compile_to_artifact(&wasm, &options), valid) {
        (Ok(artifact), Ok(_)) => artifact,
        (Ok(_), Err(e)) => panic!("compiled, though it is not valid: {e}"),
        (Err(e), Ok(_)) => return assert!(matches!(e, CompileError::Option(_)), "valid, but not compiled: {e}"),
        (Err(e), Err(_)) => return assert!(!e.to_string().is_empty()),
    };
    let contents = ArtifactContents::new(&artifact.bytes).unwrap_or_else(|e| panic!("the artifact cannot be read: {e}"));
    contents.meta().unwrap_or_else(|e| panic!("the artifact makes no sense: {e}"));
    if contents.target().starts_with("x86_64")
        && let Err(e) = wasmc_verify::verify(&artifact.bytes)
        && !is_known_refusal(&e.to_string(), &contents)
    {
        panic!("the artifact is not proved: {e}");
    }
    if compare {
        let again = compile_to_artifact(&wasm, &CompileOptions { jobs: Some(3), ..options }).expect("it was compiled before");
        assert!(again.bytes == artifact.bytes, "the bytes depend on the number of threads");
    }
}
