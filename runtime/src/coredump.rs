//! Core dumps: what a store held when a trap ended its run, as a WebAssembly module that debuggers read (tool-conventions, "Coredump.md"): the
//! frames of the trap's backtrace, innermost first, with the locals of interpreted functions if [`Config::keep_locals`] was set;
//! the contents of all memories, without the pages that are zero; and the values of all globals.
//!
//! Between the trap and the dump nothing may run in the store, or the dump shows that. Frames of native code do not say of which
//! instance of their module they are: the first one in the store is taken.
//!
//! [`Config::keep_locals`]: crate::Config::keep_locals

use crate::Result;
use crate::context::AsContext;
use crate::instance::{InstanceData, InstanceMemory};
use crate::interp::{LocalValue, declared_locals};
use crate::module::ModuleInner;
use crate::ops;
use crate::shared_memory::current_length;
use crate::store::StoreOpaque;
use crate::trap::{FrameInfo, Trap};
use anyhow::ensure;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use wasm_encoder::*;
use wasmc_environ::types::{self as ty, ValType as Ty};
use wasmc_environ::vmlayout::ValRaw;
use wasmc_environ::{FuncIndex, GlobalIndex, MemoryIndex};

/// What is left out where it is zero: a page of the host.
const PAGE: usize = 4096;
/// Most data segments that a module can have for its readers.
const MAX_SEGMENTS: usize = 90_000;
/// A section's size has 32 bits.
const MAX_CONTENTS: u64 = u32::MAX as u64 - (64 << 20);
/// Locals of native code are only named as missing up to so many a frame.
const MAX_MISSING: u32 = 10_000;

/// What a store held at a trap.
pub struct CoreDump {
    frames: Vec<FrameInfo>,
    modules: Vec<Arc<ModuleInner>>,
    instances: Vec<DumpInstance>,
    memories: Vec<DumpMemory>,
    globals: Vec<(ty::GlobalType, ValRaw)>,
}

struct DumpInstance {
    address: usize,
    module: u32,
    memories: Vec<u32>,
    globals: Vec<u32>,
}

struct DumpMemory {
    ty: ty::MemoryType,
    /// What is not zero: addresses, and the bytes there.
    contents: Vec<(u64, Vec<u8>)>,
}

impl CoreDump {
    /// Takes the frames of a trap, and what the store holds.
    ///
    /// # Errors
    /// If the memories hold more than the format can: 4 GiB that are not zero.
    pub fn new(store: impl AsContext, trap: &Trap) -> Result<Self> {
        let mut dump = Self::without_store(trap);
        let context = store.as_context();
        // SAFETY: the store is borrowed, so nothing in it changes; shared memories are copied as such.
        unsafe { dump.collect(context.opaque())? };
        Ok(dump)
    }

    /// Takes the frames of a trap alone, where its store is not to be had.
    pub fn without_store(trap: &Trap) -> Self {
        let frames = trap.backtrace().frames().to_vec();
        let mut dump = Self { frames, modules: Vec::new(), instances: Vec::new(), memories: Vec::new(), globals: Vec::new() };
        for i in 0..dump.frames.len() {
            let module = dump.frames[i].module().clone();
            dump.module(&module);
        }
        dump
    }

    fn module(&mut self, module: &Arc<ModuleInner>) -> u32 {
        let known = self.modules.iter().position(|m| Arc::ptr_eq(m, module));
        known.unwrap_or_else(|| {
            self.modules.push(module.clone());
            self.modules.len() - 1
        }) as u32
    }

    /// # Safety
    /// Nothing changes the store meanwhile.
    unsafe fn collect(&mut self, store: &StoreOpaque) -> Result<()> {
        let mut memories: HashMap<(usize, u32), u32> = HashMap::new();
        let mut globals: HashMap<usize, u32> = HashMap::new();
        let mut size = 0;
        // SAFETY: the store's instances are alive as long as it is, and by the caller nothing changes them.
        unsafe {
            for instance in store.instances.iter() {
                for (i, memory) in (*instance).memories.iter().enumerate() {
                    let module = &(*instance).module;
                    let index = module.env.num_imported_memories + i as u32;
                    let declared = module.env.memories[index as usize];
                    let limits = ty::Limits { min: memory.pages(), ..declared.limits };
                    let contents = contents(instance, memory, i as u32);
                    size += contents.iter().map(|(_, bytes)| bytes.len() as u64 + 24).sum::<u64>();
                    ensure!(size <= MAX_CONTENTS, "the memories hold more than 4 GiB that is not zero, which a core dump cannot hold");
                    memories.insert((instance.addr(), i as u32), self.memories.len() as u32);
                    self.memories.push(DumpMemory { ty: ty::MemoryType { limits, ..declared }, contents });
                }
            }
            for instance in store.instances.iter() {
                let InstanceData { module, vmctx, imported_memories, .. } = &*instance;
                let imported = imported_memories.iter().map(|(owner, i)| (owner.addr(), i.as_u32()));
                let own = (0..(*instance).memories.len() as u32).map(|i| (instance.addr(), i));
                let memories = imported.chain(own).filter_map(|key| memories.get(&key).copied()).collect();
                let mut own_globals = Vec::new();
                for (i, global) in module.env.globals.iter().enumerate() {
                    let definition = ops::global(*vmctx, GlobalIndex::from_u32(i as u32));
                    own_globals.push(*globals.entry(definition.addr()).or_insert_with(|| {
                        self.globals.push((*global, (*definition).value));
                        self.globals.len() as u32 - 1
                    }));
                }
                let module = self.module(module);
                self.instances.push(DumpInstance { address: instance.addr(), module, memories, globals: own_globals });
            }
        }
        Ok(())
    }

    /// The dump as a WebAssembly module. `name` is the program's.
    pub fn to_wasm(&self, name: &str) -> Vec<u8> {
        let mut module = Module::new();
        module.section(&CoreDumpSection::new(name));
        let mut modules = CoreDumpModulesSection::new();
        for m in &self.modules {
            modules.module(m.name.as_deref().unwrap_or("<unnamed>"));
        }
        module.section(&modules);
        let mut instances = CoreDumpInstancesSection::new();
        for i in &self.instances {
            instances.instance(i.module, i.memories.iter().copied(), i.globals.iter().copied());
        }
        // Frames without a store need something that their modules are instances of.
        if self.instances.is_empty() {
            for m in 0..self.modules.len() as u32 {
                instances.instance(m, [], []);
            }
        }
        module.section(&instances);
        let mut stack = CoreDumpStackSection::new("main");
        for frame in &self.frames {
            self.frame(&mut stack, frame);
        }
        module.section(&stack);
        let mut memories = MemorySection::new();
        let mut data = DataSection::new();
        for (index, memory) in (0u32..).zip(&self.memories) {
            memories.memory(memory_type(&memory.ty));
            for (address, bytes) in &memory.contents {
                let offset =
                    if memory.ty.memory64 { ConstExpr::i64_const(*address as i64) } else { ConstExpr::i32_const(*address as u32 as i32) };
                data.active(index, &offset, bytes.iter().copied());
            }
        }
        let mut globals = GlobalSection::new();
        for (ty, value) in &self.globals {
            let (content, init) = constant(ty.content, *value);
            globals.global(GlobalType { val_type: content, mutable: ty.mutable, shared: false }, &init);
        }
        if !memories.is_empty() {
            module.section(&memories);
        }
        if !globals.is_empty() {
            module.section(&globals);
        }
        if !data.is_empty() {
            module.section(&data);
        }
        module.finish()
    }

    fn frame(&self, stack: &mut CoreDumpStackSection, frame: &FrameInfo) {
        let module = frame.module();
        let of_frame = |i: &DumpInstance| match frame.state() {
            Some(state) => state.instance == i.address,
            None => self.modules.get(i.module as usize).is_some_and(|m| Arc::ptr_eq(m, module)),
        };
        let by_module = || self.modules.iter().position(|m| Arc::ptr_eq(m, module)).unwrap_or(0);
        let instance = self.instances.iter().position(of_frame).unwrap_or_else(by_module);
        let func = FuncIndex::from_u32(frame.func_index());
        let body = module.env.defined_func(func).and_then(|d| module.env.bodies.get(d.index()));
        let start = body.map_or(0, |b| b.start as u32);
        let offset = frame.module_offset().unwrap_or(start).saturating_sub(start);
        let locals = match frame.state() {
            Some(state) => state.locals.iter().map(|l| l.map_or(CoreDumpValue::Missing, value)).collect(),
            None => vec![CoreDumpValue::Missing; missing(module, func)],
        };
        stack.frame(instance as u32, frame.func_index(), offset, locals, []);
    }
}

/// How many locals a function has, whose values are not known.
fn missing(module: &ModuleInner, func: FuncIndex) -> usize {
    let params = module.env.type_of(func).params.len() as u32;
    let declared = declared_locals(module, func).iter().fold(0u32, |n, (count, _)| n.saturating_add(*count));
    params.saturating_add(declared).min(MAX_MISSING) as usize
}

fn value(local: LocalValue) -> CoreDumpValue {
    match local {
        LocalValue::I32(v) => CoreDumpValue::I32(v as i32),
        LocalValue::I64(v) => CoreDumpValue::I64(v as i64),
        LocalValue::F32(v) => CoreDumpValue::F32(Ieee32::new(v)),
        LocalValue::F64(v) => CoreDumpValue::F64(Ieee64::new(v)),
    }
}

/// What is not zero in a memory.
///
/// # Safety
/// The instance is alive, and nothing but other threads, if it is shared, changes the memory.
unsafe fn contents(instance: *mut InstanceData, memory: &InstanceMemory, index: u32) -> Vec<(u64, Vec<u8>)> {
    match memory {
        InstanceMemory::Own(_) => {
            // SAFETY: by the caller; the definition is in the instance's `VMContext`.
            let bytes = unsafe {
                let index = MemoryIndex::from_u32((&(*instance).module).env.num_imported_memories + index);
                let definition = ops::memory_definition((*instance).vmctx, index);
                let length = current_length(definition) as usize;
                if length == 0 {
                    return Vec::new();
                }
                std::slice::from_raw_parts((*definition).base, length)
            };
            let runs = runs(bytes.chunks(PAGE).map(|page| page.iter().any(|b| *b != 0)));
            runs.into_iter().map(|pages| (pages.start as u64 * PAGE as u64, bytes[bytes_of(&pages, bytes.len())].to_vec())).collect()
        }
        InstanceMemory::Shared(shared) => {
            let size = shared.data_size();
            let page = |i: usize| {
                let mut page = vec![0; PAGE.min(size - i * PAGE)];
                // It is inside: memories never shrink.
                let _ = shared.read(i * PAGE, &mut page);
                page
            };
            let runs = runs((0..size.div_ceil(PAGE)).map(|i| page(i).iter().any(|b| *b != 0)));
            let read = |pages: Range<usize>| {
                let range = bytes_of(&pages, size);
                let mut bytes = vec![0; range.len()];
                let _ = shared.read(range.start, &mut bytes);
                (range.start as u64, bytes)
            };
            runs.into_iter().map(read).collect()
        }
    }
}

fn bytes_of(pages: &Range<usize>, size: usize) -> Range<usize> {
    pages.start * PAGE..(pages.end * PAGE).min(size)
}

/// Ranges of pages that hold something, joined over gaps until there are not too many.
fn runs(pages: impl Iterator<Item = bool>) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (i, _) in pages.enumerate().filter(|(_, used)| *used) {
        match runs.last_mut() {
            Some(last) if last.end == i => last.end = i + 1,
            _ => runs.push(i..i + 1),
        }
    }
    let mut gap = 1;
    while runs.len() > MAX_SEGMENTS {
        gap *= 4;
        runs.dedup_by(|next, last| {
            let joined = next.start - last.end <= gap;
            if joined {
                last.end = next.end;
            }
            joined
        });
    }
    runs
}

fn memory_type(t: &ty::MemoryType) -> MemoryType {
    MemoryType {
        minimum: t.limits.min,
        maximum: t.limits.max,
        memory64: t.memory64,
        shared: t.shared,
        page_size_log2: (t.page_size_log2 != 16).then_some(t.page_size_log2.into()),
    }
}

/// Type and initial value of a global. References mean nothing outside of their store, and become null.
fn constant(t: Ty, value: ValRaw) -> (ValType, ConstExpr) {
    let null = |heap| {
        let heap = HeapType::Abstract { shared: false, ty: heap };
        (ValType::Ref(RefType { nullable: true, heap_type: heap }), ConstExpr::ref_null(heap))
    };
    match t {
        Ty::I32 => (ValType::I32, ConstExpr::i32_const(value.get_i32())),
        Ty::I64 => (ValType::I64, ConstExpr::i64_const(value.get_i64())),
        Ty::F32 => (ValType::F32, ConstExpr::f32_const(Ieee32::new(value.get_u32()))),
        Ty::F64 => (ValType::F64, ConstExpr::f64_const(Ieee64::new(value.get_i64() as u64))),
        Ty::V128 => (ValType::V128, ConstExpr::v128_const((u128::from(value.hi) << 64 | u128::from(value.lo)) as i128)),
        Ty::Ref(r) => match r.heap {
            ty::HeapType::Extern | ty::HeapType::NoExtern => null(AbstractHeapType::Extern),
            ty::HeapType::Exn | ty::HeapType::NoExn => null(AbstractHeapType::Exn),
            _ => null(AbstractHeapType::Func),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_joined_when_there_are_too_many() {
        assert_eq!(runs([true, true, false, true].into_iter()), [0..2, 3..4]);
        assert_eq!(runs(std::iter::empty()), Vec::<Range<usize>>::new());
        let many = runs((0..400_000).map(|i| i % 2 == 0));
        assert!(many.len() <= MAX_SEGMENTS && many[0].start == 0 && many[many.len() - 1].end == 399_999);
        // Far from each other, they are still found.
        let sparse = runs((0..2_000_000).map(|i| i % 16 == 0));
        assert!(sparse.len() <= MAX_SEGMENTS);
    }
}
