//! Code in memory: the same pipeline as for an artifact, published through `cranelift-jit`. The text is linked already,
//! so the module gets two definitions, the closed tables and the text, and a memory provider of ours puts them into
//! one arena at exactly the distance for which they were linked. Memory is written first and made executable then; it is
//! never both.

mod coherence;

use crate::function::{CompiledFunction, Keep};
use crate::image::Images;
use crate::isa::{Cpu, OptLevel, SelfChecks, Target};
use crate::opt::{Inlining, Passes};
use crate::pool::{self, CompiledModule, Emit, Options};
use crate::sections::Records;
use crate::session;
use crate::symbols::Symbol;
use crate::text::{self, Linked};
use cranelift_jit::{BranchProtection, JITBuilder, JITMemoryKind, JITMemoryProvider, JITModule};
use cranelift_module::{DataDescription, Linkage, Module as _, ModuleError, ModuleResult, default_libcall_names};
use std::collections::HashMap;
use std::ffi::c_void;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use wasmc_environ::Module;
use wasmc_environ::artifact::ArtifactMeta;
use wasmc_environ::jit::{CompileError, JitCode, JitCompiler, JitOptions, TierHost};
use wasmc_environ::names::function_names;
use wasmc_environ::types::AbiSignature;

/// A compiler to memory, for this machine.
#[derive(Clone, Debug, Default)]
pub struct Jit {
    /// CPU features that the code may use.
    pub cpu: Cpu,
    /// How much the code generator optimises.
    pub opt_level: OptLevel,
    /// Number of threads; that of the machine if `None`.
    pub jobs: Option<usize>,
    /// How much is inlined.
    pub inlining: Inlining,
    /// Which other optimisations of wasmc's own there are.
    pub passes: Passes,
    /// Whether the code generator checks its own work.
    pub checks: SelfChecks,
}

impl JitCompiler for Jit {
    fn compile(&self, wasm: &[u8], options: &JitOptions) -> Result<JitCode, CompileError> {
        let target = Target::new(None, &self.cpu, self.opt_level, options.tunables.meter, self.checks)?;
        pool::with_threads(self.jobs, || compile(&target, wasm, options, self.inlining.at(self.opt_level), self.passes.at(self.opt_level)))
    }

    fn session(&self, wasm: &[u8], options: &JitOptions, host: &dyn TierHost) -> Result<(), CompileError> {
        let target = Target::new(None, &self.cpu, self.opt_level, options.tunables.meter, self.checks)?;
        session::run(&target, wasm, options, self.inlining.at(self.opt_level), self.passes.at(self.opt_level), self.jobs, host)
    }
}

fn compile(target: &Target, wasm: &[u8], options: &JitOptions, inlining: Inlining, passes: Passes) -> Result<JitCode, CompileError> {
    let CompiledModule { module, interpreted, signatures, mut items, .. } = pool::compile(
        wasm,
        &Options {
            target,
            interpret: &options.interpret,
            tunables: &options.tunables,
            costs: options.costs.as_deref(),
            inlining,
            passes,
            features: &options.features,
            emit: Emit::Code(Keep::default()),
            progress: None,
        },
    )?;
    let linked = text::link(&module, &mut items, &*target.isa)?;
    let names = function_names(&module, wasm);
    let records = Records::new(&module, &items, &linked.placements, &interpreted, &names);
    let stubs = text::stub_sets(signatures, &items, &linked.placements);
    // An image is worth something if it can be mapped from a file; here the segments are copied.
    let images = Images::none(&module);
    let arena = publish(target, &linked)?;
    Ok(JitCode {
        text: arena.text(),
        text_len: linked.text.len(),
        sections: records.sections().into_iter().map(|(kind, bytes)| (kind, bytes.to_vec())).collect(),
        meta: ArtifactMeta {
            module,
            images: images.images,
            stubs,
            data_section: false,
            closed_offsets: linked.closed_offsets,
            costs: options.costs.as_deref().cloned(),
        },
        keep: Box::new(arena),
    })
}

/// Links and publishes a piece of a module's code: everything that it refers to is among the items.
///
/// # Errors
/// If it cannot be linked, or memory is not to be had.
pub(crate) fn piece(
    target: &Target,
    module: &Module,
    signatures: Vec<AbiSignature>,
    mut items: Vec<(Symbol, CompiledFunction)>,
) -> Result<JitCode, CompileError> {
    let linked = text::link(module, &mut items, &*target.isa)?;
    let compiled = vec![false; module.bodies.len()];
    let records = Records::new(module, &items, &linked.placements, &compiled, &HashMap::new());
    let stubs = text::stub_sets(signatures, &items, &linked.placements);
    let arena = publish(target, &linked)?;
    Ok(JitCode {
        text: arena.text(),
        text_len: linked.text.len(),
        sections: records.sections().into_iter().map(|(kind, bytes)| (kind, bytes.to_vec())).collect(),
        meta: ArtifactMeta {
            module: Module::default(),
            images: Vec::new(),
            stubs,
            data_section: false,
            closed_offsets: Vec::new(),
            costs: None,
        },
        keep: Box::new(arena),
    })
}

/// Puts linked code into executable memory.
fn publish(target: &Target, linked: &Linked) -> Result<Arc<Arena>, CompileError> {
    let arena = Arc::new(Arena::new(linked.rodata.len(), linked.text.len()).map_err(|e| failed(&e))?);
    let mut builder = JITBuilder::with_isa(target.isa.clone(), default_libcall_names());
    builder.memory_provider(Box::new(Provider { arena: arena.clone() }));
    let mut module = JITModule::new(builder);
    if !linked.rodata.is_empty() {
        let id = module.declare_data("rodata", Linkage::Local, false, false).map_err(|e| failed(&e))?;
        let mut data = DataDescription::new();
        data.define(linked.rodata.as_slice().into());
        module.define_data(id, &data).map_err(|e| failed(&e))?;
    }
    if !linked.text.is_empty() {
        let signature = module.make_signature();
        let id = module.declare_function("text", Linkage::Local, &signature).map_err(|e| failed(&e))?;
        module.define_function_bytes(id, 1, &linked.text, &[]).map_err(|e| failed(&e))?;
        module.finalize_definitions().map_err(|e| failed(&e))?;
    }
    Ok(arena)
}

#[cold]
fn failed(e: &dyn std::error::Error) -> CompileError {
    CompileError::Output(format!("cannot publish the code: {e}"))
}

/// One mapping: closed tables, then text at a page boundary. It is freed when the last user of the code drops it.
struct Arena {
    base: NonNull<u8>,
    length: usize,
    rodata: usize,
    text_offset: usize,
    text: usize,
}

// SAFETY: the arena is written only through its provider, which `publish` owns alone; afterwards it is read-only memory
// that every thread may read and execute.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    fn new(rodata: usize, text: usize) -> io::Result<Self> {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
        let page = region::page::size();
        let text_offset = rodata.next_multiple_of(page);
        let length = text_offset + text.max(1).next_multiple_of(page);
        // SAFETY: a new anonymous mapping at an address that the kernel chooses touches no other memory.
        let base = unsafe { mmap_anonymous(std::ptr::null_mut(), length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)? };
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, length, rodata, text_offset, text })
    }

    fn text(&self) -> usize {
        self.base.as_ptr() as usize + self.text_offset
    }

    fn at(&self, offset: usize) -> *mut u8 {
        self.base.as_ptr().wrapping_add(offset)
    }

    /// Makes the text executable and everything read-only.
    fn seal(&self) -> io::Result<()> {
        use rustix::mm::{MprotectFlags, mprotect};
        let text = self.at(self.text_offset).cast::<c_void>();
        // SAFETY: the range lies in this arena's mapping.
        unsafe { coherence::synchronise(self.text(), self.text) };
        // SAFETY: the mapping is this arena's own, and nobody writes to it any more: `publish` finalizes once, last.
        unsafe {
            if self.text_offset > 0 {
                mprotect(self.base.as_ptr().cast(), self.text_offset, MprotectFlags::READ)?;
            }
            mprotect(text, self.length - self.text_offset, MprotectFlags::READ | MprotectFlags::EXEC)?;
        }
        coherence::all_threads()
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: the mapping is this arena's own, and who drops the last reference vouches that no store uses the code.
        // A failure can only be a wrong range, which it is not.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.length) };
    }
}

/// Gives out the two places of an arena.
struct Provider {
    arena: Arc<Arena>,
}

impl JITMemoryProvider for Provider {
    fn allocate(&mut self, size: usize, align: u64, kind: JITMemoryKind) -> io::Result<*mut u8> {
        let a = &self.arena;
        // Both ends are fixed: the tables end, and the text begins, at the page boundary.
        let (offset, room) = match kind {
            JITMemoryKind::ReadOnly => (a.text_offset - a.rodata, a.rodata),
            JITMemoryKind::Executable => (a.text_offset, a.text),
            JITMemoryKind::Writable => return Err(io::ErrorKind::Unsupported.into()),
        };
        if size > room || !(a.at(offset) as u64).is_multiple_of(align.max(1)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the code is not as large as it was laid out"));
        }
        Ok(a.at(offset))
    }

    unsafe fn free_memory(&mut self) {
        // `Arena` frees itself: the module goes away as soon as the code is published.
    }

    fn finalize(&mut self, _: BranchProtection) -> ModuleResult<()> {
        self.arena.seal().map_err(|err| ModuleError::Allocation { err })
    }
}
