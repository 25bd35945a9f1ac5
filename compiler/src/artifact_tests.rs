//! Artifacts as a reader sees them: what the header says is checked against the bytes, the records against each other,
//! and the file against the usual tools where they are installed.

use crate::{CompileOptions, CompiledArtifact, Cpu, Interpret, compile_to_artifact, emit_asm, emit_clif};
use std::path::{Path, PathBuf};
use std::process::Command;
use wasmc_environ::artifact::*;
use wasmc_environ::features::Features;
use wasmc_environ::limits::SEGMENT_ALIGNMENT;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

const EXAMPLE: &str = r#"(module $example
    (type $unary (func (param i32) (result i32)))
    (import "env" "log" (func $log (param i32)))
    (tag $oops (param i32))
    (memory (export "memory") 2)
    (table 3 funcref)
    (elem (i32.const 0) func $fac $log)
    (data (i32.const 65536) "0123456789abcdef0123456789abcdef")
    (data "passive")
    (func $fac (export "fac") (type $unary)
        (if (result i32) (i32.eqz (local.get 0))
            (then (i32.const 1))
            (else (i32.mul (local.get 0) (call $fac (i32.sub (local.get 0) (i32.const 1)))))))
    (func $"odd name, with (spaces)" (param i32) (result i32)
        (call $log (local.get 0))
        (i32.load (i32.div_u (local.get 0) (i32.const 3))))
    (func $throws (param i32) (throw $oops (local.get 0)))
    (func $catches (export "catches") (param i32) (result i32)
        (block $h (result i32)
            (try_table (catch $oops $h) (call $throws (local.get 0)))
            (call_indirect (type $unary) (i32.const 5) (local.get 0))))
    (func $refs (param externref) (result externref) (call $log (i32.const 1)) (local.get 0))
)"#;

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

fn compile(wasm: &[u8], options: &CompileOptions<'_>) -> CompiledArtifact {
    compile_to_artifact(wasm, options).unwrap_or_else(|e| panic!("{e}"))
}

/// An artifact as the loader would see it.
struct Reader<'a> {
    bytes: &'a [u8],
    header: Header,
}

impl<'a> Reader<'a> {
    /// Checks all that the header promises.
    fn new(bytes: &'a [u8]) -> Self {
        let header = Header::read_from_prefix(&bytes[HEADER_OFFSET..]).unwrap().0;
        assert_eq!(header.magic, MAGIC);
        assert_eq!(header.file_size, bytes.len() as u64);
        let covered = header.header_size as usize - 32;
        assert_eq!(header.digest, *blake3::hash(&header.as_bytes()[..covered]).as_bytes());
        let mut end = HEADER_OFFSET as u64 + u64::from(header.header_size);
        let mut sections: Vec<(SectionKind, SectionEntry)> =
            SectionKind::ALL.iter().map(|k| (*k, header.sections[*k as usize])).filter(|(_, s)| s.size > 0).collect();
        sections.sort_by_key(|(_, s)| s.offset);
        for (kind, s) in sections {
            assert!(s.offset >= end, "{kind:?} overlaps");
            assert!(s.offset.is_multiple_of(16), "{kind:?}");
            if matches!(kind, SectionKind::Text | SectionKind::MemoryImage) {
                assert!(s.offset.is_multiple_of(SEGMENT_ALIGNMENT));
            }
            end = s.offset + s.size;
            assert_eq!(s.digest, *blake3::hash(&bytes[s.offset as usize..end as usize]).as_bytes(), "{kind:?}");
        }
        assert_eq!(header.mapped_size, end);
        for absent in SectionKind::ALL.len()..MAX_SECTIONS {
            assert_eq!(header.sections[absent], SectionEntry::new_zeroed());
        }
        Self { bytes, header }
    }

    fn section(&self, kind: SectionKind) -> &'a [u8] {
        let s = self.header.sections[kind as usize];
        &self.bytes[s.offset as usize..(s.offset + s.size) as usize]
    }

    fn records<T: FromBytes + Immutable + KnownLayout + Clone>(&self, kind: SectionKind) -> Vec<T> {
        let (chunks, rest) = (self.section(kind).chunks_exact(size_of::<T>()), self.section(kind).len() % size_of::<T>());
        assert_eq!(rest, 0);
        chunks.map(|c| T::read_from_bytes(c).unwrap()).collect()
    }

    fn meta(&self) -> ArtifactMeta {
        postcard::from_bytes(self.section(SectionKind::Meta)).unwrap()
    }

    /// Checks the records against the text and each other.
    fn check(&self) {
        let meta = self.meta();
        let text = self.section(SectionKind::Text);
        let size = text.len() as u32;
        let functions = self.records::<FuncRecord>(SectionKind::Functions);
        let names = self.section(SectionKind::Names);
        assert_eq!(functions.len(), meta.module.bodies.len());
        let mut end = 0;
        for (f, body) in functions.iter().zip(&meta.module.bodies) {
            assert!(f.code_offset >= end && f.code_size > 0);
            end = f.code_offset + f.code_size;
            assert_eq!(u64::from(f.wasm_offset), body.start);
            std::str::from_utf8(&names[f.name_offset as usize..(f.name_offset + f.name_size) as usize]).unwrap();
        }
        assert!(end <= size);
        let traps = self.records::<TrapRecord>(SectionKind::Traps);
        assert!(traps.windows(2).all(|w| w[0].code_offset < w[1].code_offset));
        assert!(traps.iter().all(|t| t.code_offset < size && wasmc_environ::TrapCode::from_u8(t.code as u8).is_some()));
        let addresses = self.records::<AddressRecord>(SectionKind::Addresses);
        assert!(addresses.windows(2).all(|w| w[0].code_offset < w[1].code_offset));
        assert!(addresses.windows(2).all(|w| w[0].wasm_offset != w[1].wasm_offset || w[0].wasm_offset != u32::MAX));
        for h in self.records::<HandlerRecord>(SectionKind::Handlers) {
            assert!(h.return_offset < size && h.handler_offset < size);
            let inside = |f: &FuncRecord, at: u32| (f.code_offset..f.code_offset + f.code_size).contains(&at);
            assert!(functions.iter().any(|f| inside(f, h.return_offset - 1) && inside(f, h.handler_offset)));
        }
        let slots = self.records::<u32>(SectionKind::StackMapSlots);
        for m in self.records::<StackMapRecord>(SectionKind::StackMaps) {
            for slot in &slots[m.first_slot as usize..(m.first_slot + m.num_slots) as usize] {
                assert!(slot + 4 <= m.frame_size);
            }
        }
        let text_address = self.header.sections[SectionKind::Text as usize].offset as i64;
        let rodata = self.header.sections[SectionKind::RoData as usize];
        for (table, offset) in meta.module.closed_tables.iter().zip(&meta.closed_offsets) {
            let Some(table) = table else { continue };
            let address = rodata.offset as i64 + i64::from(*offset);
            for (i, f) in table.elements.iter().enumerate() {
                let at = address as usize + 8 * i;
                let entry = ClosedTableEntry::read_from_bytes(&self.bytes[at..at + 8]).unwrap();
                match f {
                    None => assert_eq!(entry.type_index, CLOSED_NULL),
                    Some(f) => {
                        assert_eq!(entry.type_index, meta.module.canonical[meta.module.functions[f.index()].index()].as_u32());
                        let code = address + i64::from(entry.code) - text_address;
                        match meta.module.defined_func(*f) {
                            Some(d) => assert_eq!(code, i64::from(functions[d.index()].code_offset)),
                            None => assert!(code >= i64::from(end) && code < i64::from(size)),
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn records_agree() {
    for target in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"] {
        for opt_level in ["0", "1", "2", "s"] {
            let options = CompileOptions {
                target: Some(target.parse().unwrap()),
                opt_level: opt_level.parse().unwrap(),
                ..CompileOptions::default()
            };
            let artifact = compile(&wasm(EXAMPLE), &options);
            let r = Reader::new(&artifact.bytes);
            r.check();
            assert_eq!(r.meta(), artifact.meta);
            assert!(!r.records::<HandlerRecord>(SectionKind::Handlers).is_empty());
            assert!(!r.records::<StackMapRecord>(SectionKind::StackMaps).is_empty());
            assert_eq!(r.section(SectionKind::Wasm), wasm(EXAMPLE));
            assert_eq!(artifact.stats.functions, 5);
        }
    }
}

#[test]
fn same_bytes_on_any_number_of_threads() {
    let many: String = (0..200).map(|i| format!("(func (export \"f{i}\") (result i32) (i32.const {i}) (i32.popcnt))")).collect();
    for text in [EXAMPLE.to_owned(), format!("(module {many})")] {
        let wasm = wasm(&text);
        let one = compile(&wasm, &CompileOptions { jobs: Some(1), ..CompileOptions::default() });
        let five = compile(&wasm, &CompileOptions { jobs: Some(5), ..CompileOptions::default() });
        assert!(one.bytes == five.bytes);
    }
}

#[test]
fn stripped() {
    let artifact = compile(&wasm(EXAMPLE), &CompileOptions { strip: true, ..CompileOptions::default() });
    let r = Reader::new(&artifact.bytes);
    r.check();
    assert!(r.section(SectionKind::Wasm).is_empty());
    assert!(r.meta().data_section);
    let data = r.section(SectionKind::Data);
    let passive = &r.meta().module.data[1].bytes;
    assert_eq!(&data[passive.start as usize..passive.end as usize], b"passive");
    let options = CompileOptions { strip: true, interpret: vec![Interpret::Odd], ..CompileOptions::default() };
    assert!(compile_to_artifact(&wasm(EXAMPLE), &options).err().unwrap().to_string().contains("--strip"));
}

#[test]
fn uncompiled_functions() {
    let options = CompileOptions { interpret: vec![Interpret::Name("throws".into()), Interpret::Index(1)], ..CompileOptions::default() };
    let artifact = compile(&wasm(EXAMPLE), &options);
    let r = Reader::new(&artifact.bytes);
    r.check();
    let flags: Vec<u32> = r.records::<FuncRecord>(SectionKind::Functions).iter().map(|f| f.flags).collect();
    assert_eq!(flags, [0, 1, 0, 1, 1]);
    assert_eq!(artifact.stats.interpreted, 2);
    // The interpreter can call any function of the module.
    let meta = r.meta();
    for f in 0..meta.module.functions.len() as u32 {
        let signature = meta.module.type_of(wasmc_environ::FuncIndex::from_u32(f)).abi();
        assert!(meta.stubs.iter().any(|s| s.signature == signature && s.entry.is_some()));
    }
}

#[test]
fn empty_modules() {
    for text in ["(module)", "(module (memory 1) (data (i32.const 0) \"x\"))", "(module (import \"a\" \"b\" (func)))"] {
        let artifact = compile(&wasm(text), &CompileOptions::default());
        Reader::new(&artifact.bytes).check();
    }
}

#[test]
fn errors_name_what_is_wrong() {
    let invalid = |bytes: &[u8]| compile_to_artifact(bytes, &CompileOptions::default()).err().unwrap().to_string();
    assert!(invalid(b"").contains("offset"));
    assert!(invalid(b"\0asm\x01\0\0\0\xff").contains("offset"));
    // The first of several invalid functions is reported, whatever the order of the work.
    let text = "(module (func (result i32)) (func (result i64) (i64.const 1) (drop) (nop) (nop) (nop) (nop) (f32.const 0)))";
    let bytes = wasm(text);
    let first = invalid(&bytes);
    for jobs in 1..4 {
        let options = CompileOptions { jobs: Some(jobs), ..CompileOptions::default() };
        assert_eq!(compile_to_artifact(&bytes, &options).err().unwrap().to_string(), first);
    }
    assert!(first.contains("type mismatch"), "{first}");
    // A function that is left to the interpreter is validated too.
    let options = CompileOptions { interpret: vec![Interpret::All], ..CompileOptions::default() };
    assert_eq!(compile_to_artifact(&bytes, &options).err().unwrap().to_string(), first);
}

#[test]
fn truncated_modules_are_errors() {
    let bytes = wasm(EXAMPLE);
    for n in 0..bytes.len() {
        // Cutting off custom sections can leave a valid module.
        let _ = compile_to_artifact(&bytes[..n], &CompileOptions { jobs: Some(1), ..CompileOptions::default() });
    }
}

#[test]
fn cpu_features_are_recorded() {
    let options = CompileOptions {
        target: Some("x86_64-unknown-linux-gnu".parse().unwrap()),
        cpu: Cpu::Features(vec!["sse3".into(), "ssse3".into(), "sse4.1".into()]),
        ..CompileOptions::default()
    };
    let artifact = compile(&wasm(EXAMPLE), &options);
    assert_eq!(Reader::new(&artifact.bytes).header.cpu_features, 0b111);
}

#[test]
fn listings_name_the_functions() {
    let clif = emit_clif(&wasm(EXAMPLE), &CompileOptions::default()).unwrap();
    assert!(clif.contains(";; function 1: fac\nfunction u0:1"), "{clif}");
    let asm = emit_asm(&wasm(EXAMPLE), &CompileOptions::default()).unwrap();
    assert!(asm.contains(";; function 1: fac\n") && asm.contains(";; trampoline of throw_alloc"), "{asm}");
}

/// Runs a tool on a file; `None` if it is not installed.
fn tool(program: &str, args: &[&str], file: &Path) -> Option<String> {
    let out = Command::new(program).args(args).arg(file).env("LC_ALL", "C").output().ok()?;
    assert!(out.status.success(), "{program}: {}", String::from_utf8_lossy(&out.stderr));
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(!errors.to_lowercase().contains("warning") && !errors.to_lowercase().contains("error"), "{program}: {errors}");
    Some(String::from_utf8_lossy(&out.stdout).into_owned())
}

#[test]
fn tools_read_it() {
    let dir = std::env::temp_dir().join(format!("wasmc-tools-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    for target in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"] {
        let options = CompileOptions { target: Some(target.parse().unwrap()), ..CompileOptions::default() };
        let file = dir.join("example.so");
        compile(&wasm(EXAMPLE), &options).write_artifact(&file).unwrap();
        if let Some(out) = tool("readelf", &["-aW"], &file) {
            for unwanted in ["NEEDED", "INIT", "TEXTREL", "Warning", "Error", "RWE"] {
                assert!(!out.contains(unwanted), "{unwanted}: {out}");
            }
            assert!(out.contains("There are no relocations"), "{out}");
            assert!(out.contains("[example.so]"), "{out}");
        }
        if let Some(out) = tool("nm", &[], &file) {
            assert!(
                out.contains(" T fac\n") && out.contains(" T odd_name,_with_(spaces)\n") && out.contains(" t wasmc.entry.i.i\n"),
                "{out}"
            );
        }
        if let Some(out) = tool("nm", &["-D"], &file) {
            assert!(out.contains(" T catches\n"), "{out}");
        }
        if let Some(out) = tool("readelf", &["--debug-dump=frames"], &file) {
            assert!(out.contains("ZERO terminator") && out.matches(" FDE ").count() > 5, "{out}");
        }
        if target.starts_with(std::env::consts::ARCH) {
            if let Some(out) = tool("objdump", &["-d"], &file) {
                assert!(out.contains("<fac>:") && out.contains("<wasmc.builtin.throw>:"), "{out}");
            }
            if let Some(out) = tool("gdb", &["-nx", "-batch", "-ex", "info functions fac"], &file) {
                assert!(out.contains("fac"), "{out}");
            }
        }
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

fn modules(dir: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for path in entries.flatten().map(|e| e.path()) {
        if path.is_dir() {
            modules(&path, found);
        } else if path.extension().is_some_and(|e| e == "wasm") {
            found.push(path);
        }
    }
}

/// Compiles every program of the corpus, which lies outside the repository; without it the test says so and passes.
#[test]
fn corpus() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some(root) = manifest.ancestors().map(|a| a.join("shared/corpus")).find(|p| p.is_dir()) else {
        eprintln!("skipped: there is no corpus");
        return;
    };
    let mut found = Vec::new();
    modules(&root, &mut found);
    found.sort();
    let mut seen = std::collections::HashSet::new();
    for path in found {
        let wasm = std::fs::read(&path).unwrap();
        // The large programs take minutes with the verifier on; they are compiled by the timing runs.
        if wasm.len() > 400_000 || !seen.insert(blake3::hash(&wasm)) {
            continue;
        }
        let compile = |jobs| {
            let options = CompileOptions { jobs: Some(jobs), features: Features::default(), ..CompileOptions::default() };
            compile_to_artifact(&wasm, &options).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        };
        let artifact = compile(2);
        Reader::new(&artifact.bytes).check();
        assert!(artifact.bytes == compile(1).bytes, "{}", path.display());
    }
}
