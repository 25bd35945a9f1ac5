//! What the proof of one function needs of all others: which code begins where and with which signature, and the records that
//! the runtime will act on. Taken from the metadata, which the loader's own checks have found to make sense; what it says
//! about code is what gets proved.

use crate::abi::{Signature, Ty};
use crate::layout::Layout;
use crate::value::ANY_TYPE;
use std::collections::HashMap;
use std::sync::Mutex;
use wasmc_environ::artifact::*;
use wasmc_environ::module::ElementItems;
use wasmc_environ::types::{AbiSignature, HeapType, ValType};
use wasmc_environ::{FuncIndex, Module, TableIndex, TypeIndex};
use wasmc_runtime::ArtifactContents;

/// What a piece of code is for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// A compiled function.
    Function(FuncIndex),
    /// The stub of a function that is left to the interpreter.
    Uncompiled(FuncIndex),
    /// Calls on into an imported function.
    Thunk(FuncIndex),
    /// Leaves through an array of arguments.
    ExitArray,
    /// Leaves through registers.
    ExitTyped,
    /// Enters wasm code.
    Entry,
    /// Makes a call that waits in the store.
    TailEntry,
    /// Calls a builtin; which one, its code says.
    Builtin,
}

/// Code that may be entered.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What for.
    pub role: Role,
    /// How.
    pub signature: Signature,
}

/// A closed table, by its place before the text.
#[derive(Copy, Clone, Debug)]
pub struct Closed {
    /// Number of entries.
    pub len: u64,
    /// The one type of all functions in it, if there is only one.
    pub only: Option<u32>,
    /// Whether any entry is null.
    pub has_null: bool,
}

/// Something that could not be proved.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Offset in the text; `None` if it is not about code.
    pub offset: Option<u32>,
    /// The function or stub it lies in.
    pub function: String,
    /// What is wrong.
    pub problem: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(offset) = self.offset {
            write!(f, "text+{offset:#x}")?;
        }
        if !self.function.is_empty() {
            write!(f, " ({})", self.function)?;
        }
        if self.offset.is_some() || !self.function.is_empty() {
            write!(f, ": ")?;
        }
        write!(f, "{}", self.problem)
    }
}

/// Results of the search for builtins' trampolines, by the offset of their code.
pub type Builtins = Mutex<HashMap<u32, Result<u32, Finding>>>;

/// The program.
pub struct Program<'a> {
    /// The artifact.
    pub contents: &'a ArtifactContents,
    /// Its module.
    pub module: &'a Module,
    /// Where things are in its `VMContext`.
    pub layout: Layout,
    /// The machine code.
    pub text: &'a [u8],
    /// Bytes of closed tables before the text.
    pub rodata: i64,
    /// Code by its first byte.
    pub entries: HashMap<u32, Entry>,
    /// First bytes, sorted.
    pub starts: Vec<u32>,
    /// Closed tables, by place.
    pub closed: HashMap<i64, Closed>,
    /// Trampolines found on the way.
    pub builtins: Builtins,
    /// Whether a memory32 lies in a reservation.
    pub static_memory: bool,
    /// Whether R15 is fuel.
    pub meter: bool,
}

impl<'a> Program<'a> {
    /// Gathers it.
    ///
    /// # Errors
    /// What makes the artifact unfit before any of its code is looked at.
    pub fn new(contents: &'a ArtifactContents, meta: &'a ArtifactMeta) -> Result<Self, Finding> {
        let general = |problem: String| Finding { offset: None, function: String::new(), problem };
        let module = &meta.module;
        let static_memory = contents.tunables().iter().any(|t| t == "static-memory");
        let layout =
            Layout::new(module, static_memory).ok_or_else(|| general("the module needs a `VMContext` of more than 2 GiB".into()))?;
        let header = contents.header();
        let (rodata, text) = (header.sections[SectionKind::RoData as usize], header.sections[SectionKind::Text as usize]);
        let before = match rodata.size {
            // Without code, nothing reads them.
            0 => 0,
            _ if text.size == 0 => 0,
            size => (text.offset.checked_sub(rodata.offset).filter(|d| *d == size))
                .ok_or_else(|| general("the closed tables do not end where the text begins".into()))? as i64,
        };
        let option = |name: &str| contents.tunables().iter().any(|t| t == name);
        let mut program = Self {
            contents,
            module,
            layout,
            text: contents.text(),
            rodata: before,
            entries: HashMap::new(),
            starts: Vec::new(),
            closed: HashMap::new(),
            builtins: Mutex::default(),
            static_memory: option("static-memory"),
            meter: option("meter"),
        };
        program.functions()?;
        program.stubs(meta)?;
        program.closed_tables(meta)?;
        program.starts = program.entries.keys().copied().collect();
        program.starts.sort_unstable();
        Ok(program)
    }

    fn add(&mut self, offset: u32, role: Role, signature: Signature) -> Result<(), Finding> {
        let problem = match self.entries.get(&offset) {
            Some(other) if other.role == role && other.signature == signature => return Ok(()),
            Some(other) => format!("the same code is {role:?} and {:?}", other.role),
            None if offset as usize >= self.text.len() => "code outside the text".into(),
            None => {
                self.entries.insert(offset, Entry { role, signature });
                return Ok(());
            }
        };
        Err(Finding { offset: Some(offset), function: String::new(), problem })
    }

    fn functions(&mut self) -> Result<(), Finding> {
        let records = self.contents.functions();
        for (i, r) in records.iter().enumerate() {
            let index = FuncIndex::from_u32(self.module.num_imported_functions + i as u32);
            let role = if r.flags & FUNC_COMPILED != 0 { Role::Function(index) } else { Role::Uncompiled(index) };
            let signature = Signature::of(self.module, self.module.type_of(index));
            self.add(r.code_offset, role, signature)?;
        }
        Ok(())
    }

    fn stubs(&mut self, meta: &ArtifactMeta) -> Result<(), Finding> {
        for s in &meta.stubs {
            let AbiSignature { params, results } = &s.signature;
            let list = |types: &[wasmc_environ::types::AbiType]| types.iter().map(|t| Ty::of_abi(*t)).collect::<Vec<_>>();
            let signature = Signature::new(&list(params), &list(results));
            for (offset, role) in
                [(s.exit_array, Role::ExitArray), (s.exit_typed, Role::ExitTyped), (s.entry, Role::Entry), (s.tail_entry, Role::TailEntry)]
            {
                if let Some(offset) = offset {
                    self.add(offset, role, signature.clone())?;
                }
            }
        }
        Ok(())
    }

    /// The entries of closed tables: each must be what the metadata says, which is what the module says.
    fn closed_tables(&mut self, meta: &ArtifactMeta) -> Result<(), Finding> {
        let bytes = self.contents.section(SectionKind::RoData);
        for (i, table) in self.module.closed_tables.iter().enumerate() {
            let Some(table) = table else { continue };
            let offset = meta.closed_offsets.get(i).copied().unwrap_or(u32::MAX);
            let place = i64::from(offset) - self.rodata;
            let general =
                |problem: &str| Finding { offset: None, function: String::new(), problem: format!("closed table {i}: {problem}") };
            let mut types = table.elements.iter().flatten().map(|f| self.canonical(self.module.functions[f.index()]));
            let only = types.next().filter(|first| types.all(|t| t == *first));
            let has_null = table.elements.iter().any(Option::is_none);
            self.closed.insert(place, Closed { len: table.elements.len() as u64, only, has_null });
            for (n, element) in table.elements.iter().enumerate() {
                let at = offset as usize + n * size_of::<ClosedTableEntry>();
                let Some([a, b, c, d, e, f, g, h]) = bytes.get(at..at + 8).and_then(|b| <[u8; 8]>::try_from(b).ok()) else {
                    return Err(general("lies outside its section"));
                };
                let (code, ty) = (i64::from(i32::from_le_bytes([a, b, c, d])), u32::from_le_bytes([e, f, g, h]));
                let Some(function) = *element else {
                    if ty != CLOSED_NULL {
                        return Err(general(&format!("element {n} should be null")));
                    }
                    continue;
                };
                let target = u32::try_from(place + code).map_err(|_| general(&format!("element {n} leads before the text")))?;
                let wanted = self.canonical(self.module.functions[function.index()]);
                if ty != wanted {
                    return Err(general(&format!("element {n} has type {ty} instead of {wanted}")));
                }
                match self.module.defined_func(function) {
                    Some(defined) => {
                        let start = self.contents.functions().get(defined.index()).map(|f| f.code_offset);
                        if start != Some(target) {
                            return Err(general(&format!("element {n} does not lead to function {function}")));
                        }
                    }
                    None => {
                        let signature = Signature::of(self.module, self.module.type_of(function));
                        self.add(target, Role::Thunk(function), signature)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The number by which types are compared.
    pub fn canonical(&self, ty: TypeIndex) -> u32 {
        self.module.canonical[ty.index()].as_u32()
    }

    /// Whether values of the one type are values of the other; `ANY_TYPE` is a supertype of all.
    pub fn is_subtype(&self, sub: u32, sup: u32) -> bool {
        sup == ANY_TYPE || sub == sup || (sub != ANY_TYPE && self.module.is_subtype(TypeIndex::from_u32(sub), TypeIndex::from_u32(sup)))
    }

    /// The type of a table's elements, if they are functions.
    pub fn element_type(&self, table: u32) -> Option<Ty> {
        let ty = self.module.tables.get(TableIndex::from_u32(table).index())?;
        Some(Ty::of(self.module, ValType::Ref(ty.element)))
    }

    /// Whether a table may hold elements of a type.
    pub fn holds(&self, table: u32, ty: Option<Ty>) -> bool {
        match (self.element_type(table), ty) {
            (Some(Ty::Func(wanted)), Some(Ty::Func(ty))) => self.is_subtype(ty, wanted),
            (wanted, ty) => wanted.is_some() && wanted == ty,
        }
    }

    /// The types of the elements of a segment, which exists; of those that can only be null, none.
    pub fn segment_types(&self, segment: u32) -> impl Iterator<Item = Ty> {
        let (functions, ty) = match &self.module.elements[segment as usize].items {
            ElementItems::Functions(functions) => (&functions[..], None),
            ElementItems::Expressions(ty, _) => (&[][..], (ty.heap != HeapType::NoFunc).then(|| Ty::of(self.module, ValType::Ref(*ty)))),
        };
        functions.iter().map(|f| Ty::Func(self.canonical(self.module.functions[f.index()]))).chain(ty)
    }

    /// Where the code that begins at `start` must have ended.
    pub fn limit(&self, start: u32) -> u32 {
        let next = self.starts.partition_point(|s| *s <= start);
        self.starts.get(next).copied().unwrap_or(self.text.len() as u32)
    }

    /// What a person would call the code at `start`.
    pub fn name(&self, start: u32) -> String {
        let function = |index: FuncIndex| {
            let record = self.module.defined_func(index).and_then(|d| self.contents.functions().get(d.index()));
            match record.and_then(|r| self.contents.function_name(r)) {
                Some(name) => format!("function {index}, `{name}`"),
                None => format!("function {index}"),
            }
        };
        match self.entries.get(&start).map(|e| e.role) {
            Some(Role::Function(i)) => function(i),
            Some(Role::Uncompiled(i)) => format!("stub of {}", function(i)),
            Some(Role::Thunk(i)) => format!("thunk of imported function {i}"),
            Some(Role::ExitArray) => "exit stub (array)".into(),
            Some(Role::ExitTyped) => "exit stub (registers)".into(),
            Some(Role::Entry) => "entry stub".into(),
            Some(Role::TailEntry) => "tail-entry stub".into(),
            Some(Role::Builtin) | None => "a builtin's trampoline".into(),
        }
    }
}
