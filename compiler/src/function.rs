//! The seam between compiling and the two outputs: a compiled function that borrows nothing of Cranelift's contexts, so
//! that it can be made on any thread and kept until the text is laid out. All offsets are from the start of the function.

use crate::accesses::{Accesses, is_access};
use crate::fuse::{CHARGE, fuse_charges, without_subtractions};
use crate::machine::{self, Moves};
use crate::opt::sites::Sites;
use crate::symbols::Symbol;
use crate::translate::from_clif;
use cranelift_codegen::binemit::{CodeOffset, Reloc};
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{self, ExternalName};
use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::isa::unwind::{UnwindInfo, systemv};
use cranelift_codegen::{
    CodegenError, CompiledCode, Context, FinalizedMachExceptionHandler, FinalizedMachReloc, FinalizedRelocTarget, MachBufferFinalized,
};
use target_lexicon::Architecture;
use wasmc_environ::artifact::{AddressRecord, HandlerRecord, InlineRange, InlineSite, NO_SITE, StackMapRecord, TrapRecord};

/// `wasm_offset` of code that comes from no instruction.
pub const NO_WASM_OFFSET: u32 = u32::MAX;

/// A place in the code that refers to a symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relocation {
    /// Where.
    pub offset: u32,
    /// How.
    pub kind: Reloc,
    /// To what.
    pub symbol: Symbol,
    /// What is added to the symbol's address.
    pub addend: i64,
}

/// A compiled function or stub.
#[derive(Clone, Debug, Default)]
pub struct CompiledFunction {
    /// The machine code with its constants.
    pub code: Box<[u8]>,
    /// The alignment that it needs.
    pub alignment: u32,
    /// References to symbols.
    pub relocations: Box<[Relocation]>,
    /// Instructions that can trap, sorted.
    pub traps: Box<[TrapRecord]>,
    /// Ranges of wasm instructions, sorted; the first begins at 0.
    pub addresses: Box<[AddressRecord]>,
    /// Calls in whose place their callees' bodies stand.
    pub sites: Box<[InlineSite]>,
    /// Ranges of inlined code, sorted; `site` counts from this function's `sites`.
    pub inlined: Box<[InlineRange]>,
    /// Calls with a handler for exceptions, sorted.
    pub handlers: Box<[HandlerRecord]>,
    /// Calls across which heap references live in the frame, sorted; `first_slot` counts from this function's `slots`.
    pub stack_maps: Box<[StackMapRecord]>,
    /// The slots of `stack_maps`.
    pub slots: Box<[u32]>,
    /// How a debugger unwinds the frame.
    pub unwind: Option<systemv::UnwindInfo>,
    /// The disassembly or the CLIF, if that was asked for.
    pub text: Option<String>,
}

/// Why a function was not compiled.
#[derive(Debug)]
pub enum Failure {
    /// It is beyond what the code generator can take.
    TooLarge,
    /// Anything else.
    Other(String),
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Other(message)
    }
}

/// What is kept beside the code.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Unwind information, for `.eh_frame`.
    pub unwind: bool,
    /// The disassembly.
    pub disassembly: bool,
}

/// Compiles the function in `context`, which can be reused afterwards. `sites` says what its source locations mean; `improve`, whether
/// `machine` goes over its code.
///
/// # Errors
/// What the code generator says, or what this file finds that the outputs cannot express.
pub fn compile(context: &mut Context, isa: &dyn TargetIsa, keep: Keep, sites: &Sites, improve: bool) -> Result<CompiledFunction, Failure> {
    let accesses = Accesses::number(&mut context.func, !CHARGE);
    if let Some(shorter) = without_subtractions(&context.func, isa) {
        let whole = std::mem::replace(&mut context.func, shorter);
        let compiled = make_code(context, isa, keep)?;
        let mut code: Box<[u8]> = compiled.buffer.data().into();
        if fuse_charges(&mut code, &compiled.buffer) {
            return Ok(output(context, isa, keep, sites, &accesses, code, improve)?);
        }
        context.clear();
        context.func = whole;
    }
    let code = make_code(context, isa, keep)?.buffer.data().into();
    Ok(output(context, isa, keep, sites, &accesses, code, improve)?)
}

fn make_code<'a>(context: &'a mut Context, isa: &dyn TargetIsa, keep: Keep) -> Result<&'a CompiledCode, Failure> {
    context.set_disasm(keep.disassembly);
    if let Err(e) = context.compile(isa, &mut ControlPlane::default()) {
        return Err(match e.inner {
            CodegenError::ImplLimitExceeded | CodegenError::CodeTooLarge => Failure::TooLarge,
            inner => Failure::Other(cranelift_codegen::print_errors::pretty_error(e.func, inner)),
        });
    }
    context.compiled_code().ok_or_else(|| Failure::Other("the code generator made no code".into()))
}

/// What the outputs need of the code in `context`; `code` are its bytes as they are to be.
fn output(
    context: &Context,
    isa: &dyn TargetIsa,
    keep: Keep,
    sites: &Sites,
    accesses: &Accesses,
    code: Box<[u8]>,
    improve: bool,
) -> Result<CompiledFunction, String> {
    let Some(compiled) = context.compiled_code() else { return Err("the code generator made no code".into()) };
    let unwind = match keep.unwind {
        true => match compiled.create_unwind_info(isa).map_err(|e| e.to_string())? {
            Some(UnwindInfo::SystemV(info)) => Some(info),
            _ => None,
        },
        false => None,
    };
    let buffer = &compiled.buffer;
    let (stack_maps, slots) = stack_maps(buffer)?;
    let (addresses, inlined) = addresses(&exact(locations(buffer), buffer, accesses), buffer.total_size(), sites);
    let (sites, inlined) = inlined_code(sites, inlined);
    let mut function = CompiledFunction {
        code,
        alignment: buffer.alignment.max(isa.function_alignment().preferred),
        relocations: buffer.relocs().iter().map(|r| relocation(r, &context.func)).collect::<Result<_, _>>()?,
        traps: traps(buffer),
        addresses: addresses.into(),
        sites,
        inlined,
        handlers: handlers(buffer)?,
        stack_maps,
        slots,
        unwind,
        text: compiled.vcode.clone(),
    };
    if improve
        && isa.triple().architecture == Architecture::X86_64
        && let Some((code, moves)) = machine::improve(&function.code, context, isa.flags().enable_pinned_reg())
    {
        function.relocate(code, &moves);
        if keep.disassembly {
            let symbols: Vec<(u32, String)> = function.relocations.iter().map(|r| (r.offset, format!("{:?}", r.symbol))).collect();
            function.text = Some(machine::listing(&function.code, &moves, &symbols));
        }
    }
    Ok(function)
}

impl CompiledFunction {
    /// Gives it code whose bytes are elsewhere.
    fn relocate(&mut self, code: Vec<u8>, moves: &Moves) {
        self.code = code.into();
        for offset in (self.relocations.iter_mut().map(|r| &mut r.offset))
            .chain(self.traps.iter_mut().map(|t| &mut t.code_offset))
            .chain(self.handlers.iter_mut().map(|h| &mut h.handler_offset))
        {
            *offset = moves.get(*offset);
        }
        let returns =
            self.handlers.iter_mut().map(|h| &mut h.return_offset).chain(self.stack_maps.iter_mut().map(|m| &mut m.return_offset));
        for offset in returns {
            *offset = moves.get_end(*offset);
        }
        // Of those whose code is gone, the last one begins here.
        let mut addresses: Vec<AddressRecord> = Vec::with_capacity(self.addresses.len());
        let mut near = 0;
        for a in self.addresses.iter() {
            let moved = AddressRecord { code_offset: moves.get_near(a.code_offset, &mut near), ..*a };
            addresses.pop_if(|last| last.code_offset == moved.code_offset);
            addresses.push(moved);
        }
        self.addresses = addresses.into();
        let mut inlined: Vec<InlineRange> = Vec::with_capacity(self.inlined.len());
        for range in self.inlined.iter() {
            let moved = InlineRange { code_offset: moves.get(range.code_offset), ..*range };
            inlined.pop_if(|last| last.code_offset == moved.code_offset);
            inlined.push(moved);
        }
        self.inlined = inlined.into();
    }
}

fn relocation(r: &FinalizedMachReloc, func: &ir::Function) -> Result<Relocation, String> {
    let symbol = match &r.target {
        FinalizedRelocTarget::ExternalName(ExternalName::User(name)) => {
            let name = &func.params.user_named_funcs()[*name];
            Symbol::from_name(name).ok_or_else(|| format!("it refers to the unknown symbol {name}"))?
        }
        // Library calls have no `vmctx` and no address here: the translator must lower what would become one.
        other => return Err(format!("it needs {}, which code here cannot reach", other.display(Some(&func.params)))),
    };
    Ok(Relocation { offset: r.offset, kind: r.kind, symbol, addend: r.addend })
}

fn traps(buffer: &MachBufferFinalized<cranelift_codegen::Final>) -> Box<[TrapRecord]> {
    let mut traps: Vec<TrapRecord> = Vec::with_capacity(buffer.traps().len());
    // A trap that is not in our list marks code that cannot be reached: without a record it is a crash, as it should be.
    traps.extend(buffer.traps().iter().filter_map(|t| Some(TrapRecord { code_offset: t.offset, code: from_clif(t.code)? as u32 })));
    if !traps.is_sorted_by_key(|t| t.code_offset) {
        traps.sort_by_key(|t| t.code_offset);
    }
    traps.into()
}

/// Where code with a source location begins.
type Location = (CodeOffset, u32);

/// The source locations of the code, without marks; `NO_WASM_OFFSET` where it has none.
fn locations(buffer: &MachBufferFinalized<cranelift_codegen::Final>) -> Vec<Location> {
    let mut locations = Vec::with_capacity(buffer.get_srclocs_sorted().len() + 2);
    let mut end = 0;
    for l in buffer.get_srclocs_sorted().iter().filter(|l| l.end > l.start) {
        if l.start > end {
            locations.push((end, NO_WASM_OFFSET));
        }
        locations.push((l.start, if l.loc.is_default() { NO_WASM_OFFSET } else { l.loc.bits() & !CHARGE }));
        end = l.end;
    }
    if end < buffer.total_size() {
        locations.push((end, NO_WASM_OFFSET));
    }
    locations
}

/// Gives each access to a memory that can trap the place of its own wasm instruction.
fn exact(locations: Vec<Location>, buffer: &MachBufferFinalized<cranelift_codegen::Final>, accesses: &Accesses) -> Vec<Location> {
    let mut traps: Vec<_> = buffer.traps().iter().filter(|t| is_access(t.code)).collect();
    if accesses.is_empty() || traps.is_empty() {
        return locations;
    }
    traps.sort_by_key(|t| t.offset);
    let mut exact: Vec<Location> = Vec::with_capacity(locations.len());
    let mut rest = locations.into_iter().peekable();
    let mut near = 0;
    let mut current = NO_WASM_OFFSET;
    // One for the same place is replaced.
    let push = |exact: &mut Vec<Location>, location: Location| {
        exact.pop_if(|last| last.0 == location.0);
        exact.push(location);
    };
    for trap in traps {
        while let Some(location) = rest.next_if(|l| l.0 <= trap.offset) {
            current = location.1;
            if current != NO_WASM_OFFSET {
                near = current;
            }
            push(&mut exact, location);
        }
        if let Some(own) = accesses.find(trap.code, near).filter(|own| *own != current) {
            push(&mut exact, (trap.offset, own));
            // No instruction is shorter than a byte.
            if rest.peek().is_none_or(|l| l.0 > trap.offset + 1) {
                push(&mut exact, (trap.offset + 1, current));
            }
        }
    }
    exact.extend(rest);
    exact
}

/// Which wasm instruction code comes from, and which inlined body: the latter without an entry where there is none.
fn addresses(locations: &[Location], size: CodeOffset, sites: &Sites) -> (Vec<AddressRecord>, Vec<InlineRange>) {
    let mut records: Vec<AddressRecord> = Vec::with_capacity(locations.len());
    let mut ranges: Vec<InlineRange> = Vec::new();
    for (code_offset, location) in locations.iter().copied() {
        // What comes from no instruction (moves, jumps) belongs to the body that it follows: a profiler looks at any address.
        let (site, wasm_offset) = match location {
            NO_WASM_OFFSET => (ranges.last().map_or(NO_SITE, |r| r.site), location),
            location => sites.resolve(location),
        };
        if records.last().is_none_or(|r| r.wasm_offset != wasm_offset) {
            records.push(AddressRecord { code_offset, wasm_offset });
        }
        if ranges.last().map_or(NO_SITE, |r| r.site) != site {
            ranges.push(InlineRange { code_offset, site });
        }
    }
    // What follows is another function.
    if ranges.last().is_some_and(|r| r.site != NO_SITE) {
        ranges.push(InlineRange { code_offset: size, site: NO_SITE });
    }
    (records, ranges)
}

/// The sites of which code is left, and the ranges with their numbers.
fn inlined_code(sites: &Sites, mut ranges: Vec<InlineRange>) -> (Box<[InlineSite]>, Box<[InlineRange]>) {
    if ranges.is_empty() {
        return Default::default();
    }
    let (sites, numbers) = sites.used(ranges.iter().map(|r| r.site));
    for r in &mut ranges {
        r.site = numbers.get(r.site as usize).copied().unwrap_or(NO_SITE);
    }
    (sites, ranges.into())
}

fn handlers(buffer: &MachBufferFinalized<cranelift_codegen::Final>) -> Result<Box<[HandlerRecord]>, String> {
    let mut records = Vec::new();
    for site in buffer.call_sites() {
        match site.exception_handlers {
            [] => {}
            [FinalizedMachExceptionHandler::Default(handler_offset)] => records.push(HandlerRecord {
                return_offset: site.ret_addr,
                handler_offset: *handler_offset,
                frame_size: site.frame_offset.ok_or("a call with a handler has no known frame")?,
            }),
            _ => return Err("a call has other handlers than a single default one".into()),
        }
    }
    records.sort_by_key(|r| r.return_offset);
    Ok(records.into())
}

type StackMaps = (Box<[StackMapRecord]>, Box<[u32]>);

fn stack_maps(buffer: &MachBufferFinalized<cranelift_codegen::Final>) -> Result<StackMaps, String> {
    if buffer.user_stack_maps().is_empty() {
        return Ok(StackMaps::default());
    }
    let frame_size = buffer.frame_layout().ok_or("a function with references has no known frame")?.frame_to_fp_offset;
    let mut records = Vec::with_capacity(buffer.user_stack_maps().len());
    let mut slots: Vec<u32> = Vec::new();
    for (return_offset, _, map) in buffer.user_stack_maps() {
        let first_slot = slots.len() as u32;
        for (ty, offset) in map.entries() {
            if ty != ir::types::I32 {
                return Err(format!("a reference of type {ty} is in a stack map"));
            }
            slots.push(offset);
        }
        let num_slots = slots.len() as u32 - first_slot;
        if num_slots != 0 {
            records.push(StackMapRecord { return_offset: *return_offset, frame_size, first_slot, num_slots });
        }
    }
    records.sort_by_key(|r| r.return_offset);
    Ok((records.into(), slots.into()))
}
