//! wasmc-compiler: wasm -> CLIF -> machine code -> artifact or executable memory. It reads `wasmc-environ` and never
//! sees a store. The pipeline: `pool` validates, translates and compiles the functions in parallel, `text` lays them
//! out, and one of two sinks takes the result: `elf` writes an artifact, `jit` publishes to memory.

#![deny(missing_docs)]

mod accesses;
mod elf;
mod facts;
mod function;
mod fuse;
mod image;
mod interpret;
mod isa;
mod jit;
mod machine;
mod opt;
mod output;
mod pool;
mod sections;
mod session;
mod size;
mod stubs;
pub mod symbols;
mod text;
mod trampoline;
mod translate;

#[cfg(test)]
mod artifact_tests;
#[cfg(test)]
mod run_tests;

pub use isa::{Cpu, OptLevel, SelfChecks, host_features};
pub use jit::Jit;
pub use opt::{Inlining, Passes};
pub use output::write_file;
pub use target_lexicon::Triple;
pub use wasmc_environ::jit::{CompileError, Interpret};

use function::Keep;
use image::Images;
use isa::Target;
use pool::{CompiledModule, Emit};
use sections::Records;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use symbols::Symbol;
use wasmc_environ::artifact::ArtifactMeta;
use wasmc_environ::costs::CostTable;
use wasmc_environ::features::Features;
use wasmc_environ::names::function_names;
use wasmc_environ::{FuncIndex, Tunables};

/// Options of a compilation.
#[derive(Clone, Default)]
pub struct CompileOptions<'a> {
    /// The target; this machine if `None`.
    pub target: Option<Triple>,
    /// CPU features that the code may use.
    pub cpu: Cpu,
    /// How much the code generator optimises.
    pub opt_level: OptLevel,
    /// Number of threads; that of the machine if `None`.
    pub jobs: Option<usize>,
    /// Functions to leave uncompiled.
    pub interpret: Vec<Interpret>,
    /// How much is inlined.
    pub inlining: Inlining,
    /// Which other optimisations of wasmc's own there are.
    pub passes: Passes,
    /// Leave out the original module.
    pub strip: bool,
    /// Options that change code.
    pub tunables: Tunables,
    /// What instructions cost in metered code, if not 1 each. It stands in the artifact.
    pub costs: Option<Arc<CostTable>>,
    /// Proposals that are on.
    pub features: Features,
    /// Whether the code generator checks its own work.
    pub checks: SelfChecks,
    /// Called with the number of finished functions and of all of them, from any thread.
    pub progress: Option<&'a (dyn Fn(usize, usize) + Sync)>,
}

/// What a compilation did.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Number of defined functions.
    pub functions: usize,
    /// How many of them were left to the interpreter.
    pub interpreted: usize,
    /// Size of the text.
    pub code_bytes: usize,
    /// How long it took.
    pub seconds: f64,
}

/// An artifact in memory.
pub struct CompiledArtifact {
    /// The file.
    pub bytes: Vec<u8>,
    /// Its metadata.
    pub meta: ArtifactMeta,
    /// What the compilation did.
    pub stats: Stats,
    /// Functions that were left to the interpreter though nobody asked for it, since they are too large for native code
    /// (`limits::MAX_COMPILED_OPERATORS` and what follows it): index and name.
    pub too_large: Vec<String>,
}

impl CompiledArtifact {
    /// Writes the file: whole, or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_artifact(&self, path: &Path) -> Result<(), CompileError> {
        output::write_file(path, &self.bytes)
    }
}

impl CompileOptions<'_> {
    fn pool<'b>(&'b self, target: &'b Target, emit: Emit) -> pool::Options<'b> {
        pool::Options {
            target,
            interpret: &self.interpret,
            tunables: &self.tunables,
            costs: self.costs.as_deref(),
            inlining: self.inlining.at(self.opt_level),
            passes: self.passes.at(self.opt_level),
            features: &self.features,
            emit,
            progress: self.progress,
        }
    }

    fn target(&self) -> Result<Target, CompileError> {
        Target::new(self.target.as_ref(), &self.cpu, self.opt_level, self.tunables.meter, self.checks)
    }
}

/// Compiles a binary module to an artifact.
///
/// # Errors
/// If the module is not valid, an option does not fit, or the code generator fails.
pub fn compile_to_artifact(wasm: &[u8], options: &CompileOptions<'_>) -> Result<CompiledArtifact, CompileError> {
    let start = Instant::now();
    if options.strip && !options.interpret.is_empty() {
        return Err(CompileError::Option(
            "--strip leaves out the original module, which the interpreter needs for functions that are not compiled: \
             use either --strip or --interpret"
                .into(),
        ));
    }
    if options.strip && options.tunables.meter {
        return Err(CompileError::Option(
            "--strip leaves out the original module, in which metering looks up what a trap left undone: use either --strip or --meter"
                .into(),
        ));
    }
    if options.costs.is_some() && !options.tunables.meter {
        return Err(CompileError::Option("costs are for metered code: compile with --meter as well".into()));
    }
    let target = options.target()?;
    let mut artifact = pool::with_threads(options.jobs, || artifact(wasm, options, &target))?;
    artifact.stats.seconds = start.elapsed().as_secs_f64();
    Ok(artifact)
}

fn artifact(wasm: &[u8], options: &CompileOptions<'_>, target: &Target) -> Result<CompiledArtifact, CompileError> {
    let keep = Keep { unwind: true, disassembly: false };
    let CompiledModule { mut module, interpreted, too_large, signatures, mut items } =
        pool::compile(wasm, &options.pool(target, Emit::Code(keep)))?;
    let (linked, (mut images, names)) =
        pool::join(|| text::link(&module, &mut items, &*target.isa), || (Images::new(&module, wasm), function_names(&module, wasm)));
    let linked = linked?;
    let too_large: Vec<String> = too_large
        .iter()
        .map(|i| match names.get(i) {
            Some(name) => format!("{i} ({name})"),
            None => i.to_string(),
        })
        .collect();
    if let (true, [first, ..]) = (options.strip, &too_large[..]) {
        return Err(CompileError::Option(format!(
            "--strip leaves out the original module, but function {first} is too large for native code, and the interpreter needs it: \
             compile without --strip, or split the function"
        )));
    }
    let records = Records::new(&module, &items, &linked.placements, &interpreted, &names);
    let stubs = text::stub_sets(signatures, &items, &linked.placements);
    let data = match options.strip {
        true => {
            module.name_section = None;
            image::strip_data(&mut module, &images.images, wasm)
        }
        false => Vec::new(),
    };
    let stats = Stats {
        functions: interpreted.len(),
        interpreted: interpreted.iter().filter(|i| **i).count(),
        code_bytes: linked.text.len(),
        seconds: 0.0,
    };
    let meta = ArtifactMeta {
        module,
        images: std::mem::take(&mut images.images),
        stubs,
        data_section: options.strip,
        closed_offsets: linked.closed_offsets.clone(),
        costs: options.costs.as_deref().cloned(),
    };
    let bytes = elf::write(&elf::Input {
        target,
        features: &options.features,
        tunables: &options.tunables,
        meta: &meta,
        items: &items,
        linked: &linked,
        records: &records,
        images: &images,
        names: &names,
        data: &data,
        wasm: if options.strip { &[] } else { wasm },
    })?;
    // Many small pieces of memory, which nobody needs to wait for.
    rayon::spawn(move || drop(items));
    Ok(CompiledArtifact { bytes, meta, stats, too_large })
}

/// The CLIF of all functions that would be compiled, before optimisation.
///
/// # Errors
/// As for `compile_to_artifact`.
pub fn emit_clif(wasm: &[u8], options: &CompileOptions<'_>) -> Result<String, CompileError> {
    listing(wasm, options, Emit::Clif, ";;")
}

/// The machine code of all functions and stubs, disassembled.
///
/// # Errors
/// As for `compile_to_artifact`.
pub fn emit_asm(wasm: &[u8], options: &CompileOptions<'_>) -> Result<String, CompileError> {
    listing(wasm, options, Emit::Code(Keep { unwind: false, disassembly: true }), ";;")
}

fn listing(wasm: &[u8], options: &CompileOptions<'_>, emit: Emit, comment: &str) -> Result<String, CompileError> {
    let target = options.target()?;
    let compiled = pool::with_threads(options.jobs, || pool::compile(wasm, &options.pool(&target, emit)))?;
    let names = function_names(&compiled.module, wasm);
    let mut out = String::new();
    for (symbol, f) in &compiled.items {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{comment} {}", title(*symbol, &names));
        out.push_str(f.text.as_deref().unwrap_or_default().trim_end());
        out.push_str("\n\n");
    }
    Ok(out)
}

fn title(symbol: Symbol, names: &HashMap<FuncIndex, String>) -> String {
    let named = |what: &str, i: &FuncIndex| match names.get(i) {
        Some(name) => format!("{what} {i}: {name}"),
        None => format!("{what} {i}"),
    };
    match symbol {
        Symbol::Function(i) => named("function", &i),
        Symbol::ImportThunk(i) => named("thunk of import", &i),
        Symbol::Builtin(b) => format!("trampoline of {}", b.signature().name),
        Symbol::Stub(number, kind) => format!("{kind:?} of signature {number}"),
        Symbol::ClosedTable(t) => format!("table {t}"),
        Symbol::Elsewhere(i) => named("way to function", &i),
    }
}
