//! `wasmc verify`: what the compiler makes is proved, with every choice of options; what was changed in the machine code, with
//! digests that fit, is refused. Mutations that are not found are counted, and the ones that matter are written out by hand.

use std::path::PathBuf;
use std::time::Duration;
use wasmc_compiler::{CompileOptions, Cpu, Inlining, Interpret, OptLevel, Passes, compile_to_artifact};
use wasmc_environ::Tunables;
use wasmc_environ::artifact::{HEADER_OFFSET, Header, SectionKind};
use wasmc_environ::features::Features;
use wasmc_tests::{command, differential, run, shared, wasmc, workspace};
use wasmc_verify::{Refused, verify};
use zerocopy::{FromBytes, IntoBytes};

/// Random modules. One in twenty seeds makes none.
const SEEDS: u64 = if cfg!(feature = "slow") { 4000 } else { 320 };
/// Parts that run at the same time.
const RANGES: u64 = 4;
/// Mutations of each kind of program.
const MUTATIONS: u64 = if cfg!(feature = "slow") { 20_000 } else { 400 };

/// Options under which code differs.
fn variants() -> Vec<(&'static str, CompileOptions<'static>)> {
    let base = || CompileOptions { features: Features::all(), jobs: Some(1), ..CompileOptions::default() };
    let tunables = |change: fn(&mut Tunables)| {
        let mut tunables = Tunables::default();
        change(&mut tunables);
        CompileOptions { tunables, ..base() }
    };
    vec![
        ("as it is", base()),
        ("inlined", CompileOptions { inlining: Inlining::Everywhere, ..base() }),
        ("mixed", CompileOptions { interpret: vec![Interpret::Odd], ..base() }),
        ("interpreted", CompileOptions { interpret: vec![Interpret::All], ..base() }),
        ("unoptimised", CompileOptions { opt_level: OptLevel::None, ..base() }),
        ("machine code as it comes", CompileOptions { passes: Passes { machine_code: false, ..Passes::default() }, ..base() }),
        ("baseline", CompileOptions { cpu: Cpu::Baseline, ..base() }),
        ("metered", tunables(|t| t.meter = true)),
        ("traced", tunables(|t| t.trace = true)),
        ("unmasked", tunables(|t| t.spectre_tables = false)),
        ("checked", tunables(|t| t.static_memory = false)),
    ]
}

fn compile(wasm: &[u8], options: &CompileOptions<'_>) -> Vec<u8> {
    compile_to_artifact(wasm, options).expect("the module compiles").bytes
}

fn text(source: &str) -> Vec<u8> {
    wat::parse_str(source).expect("the text is right")
}

/// Verifies and says what is wrong.
fn problem(bytes: &[u8]) -> Option<String> {
    verify(bytes).err().map(|e| match e {
        Refused::Unproved(findings) => findings.iter().take(3).map(|f| format!("\n    {f}")).collect(),
        other => other.to_string(),
    })
}

fn random_modules(range: u64) {
    let variants = variants();
    let only = std::env::var("WASMC_DIFF_SEED").ok().map(|s| s.parse::<u64>().expect("a number"));
    let (first, last) = only.map_or((0, SEEDS), |seed| (seed, seed + 1));
    let (mut artifacts, mut problems) = (0, Vec::new());
    for seed in (first..last).filter(|seed| seed % RANGES == range) {
        let Some(case) = differential::case(seed) else { continue };
        for (n, (name, options)) in variants.iter().enumerate() {
            // Each module in two ways; all ways of a single seed.
            if only.is_none() && n as u64 % 5 != seed / RANGES % 5 {
                continue;
            }
            for binary in std::iter::once(&case.first).chain(&case.second) {
                let bytes = compile(&binary.wasm, options);
                artifacts += 1;
                let Some(problem) = problem(&bytes) else { continue };
                problems.push(format!("seed {seed}, {name}: {problem}"));
                if only.is_some() {
                    std::fs::create_dir_all(differential::folder()).expect("a folder for findings");
                    std::fs::write(differential::folder().join(format!("verify-{seed}-{n}.so")), &bytes).expect("a file for a finding");
                }
            }
        }
    }
    println!("{artifacts} artifacts, {} not proved", problems.len());
    assert!(problems.is_empty(), "{} of {artifacts}:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn random_modules_0() {
    random_modules(0);
}

#[test]
fn random_modules_1() {
    random_modules(1);
}

#[test]
fn random_modules_2() {
    random_modules(2);
}

#[test]
fn random_modules_3() {
    random_modules(3);
}

/// A program with something of everything.
fn demo() -> Vec<u8> {
    text(
        r#"(module
            (type $unary (func (param i32) (result i32)))
            (import "host" "log" (func $log (param i32)))
            (import "host" "table" (table $imported 2 funcref))
            (import "host" "global" (global $imported_global (mut i64)))
            (memory (export "memory") 1)
            (memory $fixed 1 1)
            (memory $wide i64 1)
            (table $closed 3 3 funcref)
            (elem (table $closed) (i32.const 0) func $double $log_it)
            (table $open (export "open") 4 10 funcref)
            (global $counter (mut i32) (i32.const 0))
            (global $handler (mut funcref) (ref.null func))
            (tag $odd (param i32))
            (elem declare func $double)
            (func $double (type $unary) (i32.shl (local.get 0) (i32.const 1)))
            (func $log_it (type $unary) (call $log (local.get 0)) (local.get 0))
            (func $memories (export "memories") (param i32 i64) (result i32)
                (i32.store offset=16 (local.get 0) (i32.const 7))
                (i32.store $fixed offset=8 (local.get 0) (i32.load8_u (local.get 0)))
                (i64.store $wide offset=70000 (local.get 1) (i64.const 1))
                (memory.copy (local.get 0) (i32.const 5) (local.get 0))
                (memory.fill $fixed (local.get 0) (i32.const 5) (local.get 0))
                (i32.load offset=100000 (local.get 0)))
            (func $calls (export "calls") (param i32) (result i32)
                (i32.add
                    (call_indirect $closed (type $unary) (local.get 0) (local.get 0))
                    (i32.add
                        (call_indirect $open (type $unary) (local.get 0) (local.get 0))
                        (call_indirect $imported (type $unary) (local.get 0) (local.get 0)))))
            (func $tables (export "tables") (param i32)
                (table.set $open (local.get 0) (ref.func $double))
                (global.set $handler (table.get $open (local.get 0)))
                (global.set $imported_global (i64.const 5))
                (global.set $counter (i32.add (global.get $counter) (i32.const 1)))
                (drop (table.grow $open (ref.null func) (i32.const 1))))
            (func $switch (export "switch") (param i32) (result i32)
                (block $c (block $b (block $a (br_table $a $b $c $b (local.get 0))) (return (i32.const 1))) (return (i32.const 2)))
                (i32.div_u (i32.const 100) (local.get 0)))
            (func $throws (export "throws") (param i32) (result i32)
                (block $caught (result i32)
                    (try_table (result i32) (catch $odd $caught)
                        (if (i32.and (local.get 0) (i32.const 1)) (then (throw $odd (local.get 0))))
                        (call $switch (local.get 0)))))
            (func $many (export "many") (param i64 i64 i64 i64 i64 i64 i64 i64) (result i64 i64 i64 i64 i64 i64 i64 i64 i64 i64)
                (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5) (local.get 6) (local.get 7)
                (local.get 0) (local.get 1))
            (func $tail (export "tail") (param i32) (result i32)
                (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
                (return_call $tail (i32.sub (local.get 0) (i32.const 1))))
            (func $uses_many (export "uses_many") (result i64)
                (call $many (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4) (i64.const 5) (i64.const 6) (i64.const 7) (i64.const 8))
                (drop) (drop) (drop) (drop) (drop) (drop) (drop) (drop) (drop)))"#,
    )
}

#[test]
fn every_option() {
    for (name, options) in variants() {
        let bytes = compile(&demo(), &options);
        assert_eq!(problem(&bytes), None, "{name}");
    }
}

/// Calls of one entry with several types: behind the first, which traps or not, the others are checked as well. Found by fuzzing.
#[test]
fn one_entry_with_several_types() {
    let wasm = text(
        "(module (type $a (func (result f64))) (type $b (func (param f64 f32) (result i32))) (table 9 funcref)
            (elem (i32.const 0) func $f $g)
            (func $f (type $a) (f64.const 1))
            (func $g (type $b) (i32.const 2))
            (func (export \"f\") (param i32) (result f64)
                (drop (call_indirect (type $b) (f64.const 1) (f32.const 2) (local.get 0)))
                (return_call_indirect (type $a) (local.get 0)))
            (func (export \"g\") (param i32) (result i32)
                (drop (call_indirect (type $a) (local.get 0)))
                (return_call_indirect (type $b) (f64.const 1) (f32.const 2) (local.get 0))))",
    );
    for (name, options) in variants() {
        assert_eq!(problem(&compile(&wasm, &options)), None, "{name}");
    }
}

/// A handler of calls with and without arguments on the stack: it runs with the frame as it was at the call, whether or not the callee
/// would have taken its arguments off the stack.
#[test]
fn one_handler_of_calls_with_other_arguments() {
    let wasm = text(
        "(module (tag $t (param i32)) (memory 1)
            (func $many (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (throw $t (local.get 9)))
            (func $one (param i32) (result i32) (if (local.get 0) (then (throw $t (local.get 0)))) (i32.const 5))
            (func (export \"f\") (param i32 i32) (result i32) (local $e exnref) (local $n i32)
                (block $caught (result i32 exnref)
                    (try_table (catch_ref $t $caught)
                        (local.set $n (call $one (local.get 0)))
                        (local.set $n (i32.add (local.get $n) (call $many (local.get 0) (local.get 1) (i32.const 2) (i32.const 3) (i32.const 4)
                            (i32.const 5) (i32.const 6) (i32.const 7) (i32.const 8) (i32.const 9)))))
                    (return (local.get $n)))
                (local.set $e) (drop)
                (i32.store (i32.const 0) (call $one (i32.const 0)))
                (i32.store (i32.const 4) (i32.add (i32.add (local.get $n) (i32.const 1)) (i32.load (local.get 1))))
                (if (local.get 1) (then (throw_ref (local.get $e)))) (local.get $n)))",
    );
    for (name, options) in variants() {
        assert_eq!(problem(&compile(&wasm, &options)), None, "{name}");
    }
}

/// Memories of a constant size into which an access goes at one address or at none: found by fuzzing. Compared with 0, an index that is a
/// count of zeros became a test of a bit.
#[test]
fn memories_of_next_to_nothing() {
    for (memory, load) in
        [("0 0", "i32.load"), ("0 0", "i32.load8_u"), ("4 4 (pagesize 1)", "i32.load"), ("5 5 (pagesize 1)", "i32.load offset=1")]
    {
        let wasm =
            text(&format!("(module (memory {memory}) (func (export \"f\") (param i32) (result i32) ({load} (i32.ctz (local.get 0)))))"));
        for (name, options) in variants() {
            let options = CompileOptions { tunables: Tunables { static_memory: false, ..options.tunables }, ..options };
            assert_eq!(problem(&compile(&wasm, &options)), None, "{memory}, {load}, {name}");
        }
    }
}

/// A constant address and an offset whose sum wraps around: the access always traps, and what the code does behind the check is never
/// run. Found by fuzzing.
#[test]
fn an_address_that_always_wraps() {
    for memory in ["i64 1", "i64 1 4", "i64 0 0"] {
        let wasm = text(&format!(
            "(module (memory {memory})
                (func (export \"f\") (result i32) (i32.load16_s offset=0x6d136 (i64.const -33)))
                (func (export \"g\") (param i32) (i64.store offset=0x1000 (i64.const -1) (i64.extend_i32_u (local.get 0)))))"
        ));
        for (name, options) in variants() {
            assert_eq!(problem(&compile(&wasm, &options)), None, "{memory}, {name}");
            let options = CompileOptions { opt_level: OptLevel::None, passes: Passes::NONE, ..options };
            assert_eq!(problem(&compile(&wasm, &options)), None, "{memory}, {name}, unoptimised");
        }
    }
}

/// The programs and scripts that other tests use, and those of the shared corpus if it is there.
#[test]
fn programs() {
    let mut modules: Vec<PathBuf> = Vec::new();
    let mut folders = vec![workspace().join("examples"), workspace().join("tests/programs")];
    folders.extend(shared("corpus"));
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a readable folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "wasm") {
                modules.push(path);
            }
        }
    }
    modules.sort();
    let most = if cfg!(feature = "slow") { u64::MAX } else { 600 << 10 };
    let mut verified = 0;
    for path in modules {
        if path.metadata().is_ok_and(|m| m.len() > most) {
            continue;
        }
        let wasm = std::fs::read(&path).expect("a readable file");
        let options = CompileOptions { features: Features::all(), ..CompileOptions::default() };
        // What does not compile is another test's.
        let Ok(artifact) = compile_to_artifact(&wasm, &options) else { continue };
        let report = verify(&artifact.bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(report.pieces > 0 && report.instructions > 0);
        verified += 1;
    }
    println!("{verified} programs verified");
    assert!(verified > 5);
}

/// The artifact with another text, all digests right.
fn with_text(bytes: &[u8], change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let place = HEADER_OFFSET..HEADER_OFFSET + size_of::<Header>();
    let mut header = Header::read_from_bytes(&bytes[place.clone()]).expect("a header");
    let text = &mut header.sections[SectionKind::Text as usize];
    let range = text.offset as usize..(text.offset + text.size) as usize;
    change(&mut bytes[range.clone()]);
    text.digest = *blake3::hash(&bytes[range]).as_bytes();
    header.digest = *blake3::hash(&header.as_bytes()[..size_of::<Header>() - 32]).as_bytes();
    bytes[place].copy_from_slice(header.as_bytes());
    bytes
}

/// Where these bytes are in the text, once.
fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    let header = Header::read_from_bytes(&bytes[HEADER_OFFSET..HEADER_OFFSET + size_of::<Header>()]).expect("a header");
    let text = &header.sections[SectionKind::Text as usize];
    let text = &bytes[text.offset as usize..(text.offset + text.size) as usize];
    text.windows(wanted.len()).position(|w| w == wanted).unwrap_or_else(|| panic!("{wanted:02x?} is not in the text"))
}

/// Replaces the first occurrence of some bytes by as many others, and gives what the verifier says.
fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Option<String> {
    assert_eq!(old.len(), new.len());
    let at = find(bytes, old);
    problem(&with_text(bytes, |text| text[at..at + new.len()].copy_from_slice(new)))
}

#[test]
fn attacks_are_refused() {
    // A function whose first instructions stand at the beginning of the text.
    let one = |body: &str| {
        let wasm = text(&format!(
            r#"(module (memory 1) (table $t 4 4 funcref) (elem (table $t) (i32.const 0) func $f)
                (type $u (func (param i32) (result i32)))
                (table $o (export "o") 4 8 funcref) (global $g (mut i64) (i64.const 0))
                (func $f (export "f") (param i32) (result i32) {body}))"#
        ));
        // Branches in their long form, which are looked for below.
        let passes = Passes { machine_code: false, ..Passes::default() };
        compile(&wasm, &CompileOptions { cpu: Cpu::Baseline, passes, ..CompileOptions::default() })
    };
    let prologue = [0x55, 0x48, 0x89, 0xe5];
    let after = |bytes: &[u8], code: &[u8]| {
        let body = find(bytes, &prologue) + prologue.len()..find(bytes, &[0x48, 0x89, 0xec, 0x5d, 0xc3]);
        problem(&with_text(bytes, |text| {
            text[body.clone()].fill(0x90);
            text[body][..code.len()].copy_from_slice(code);
        }))
    };
    let simple = one("(i32.mul (i32.mul (local.get 0) (local.get 0)) (i32.mul (local.get 0) (i32.const 12345678)))");
    assert_eq!(problem(&simple), None);
    assert_eq!(after(&simple, &[]), None);
    let attacks: &[(&str, &[u8], &str)] = &[
        ("syscall", &[0x0f, 0x05], "system call"),
        ("sysenter", &[0x0f, 0x34], "system call"),
        ("int 0x80", &[0xcd, 0x80], "system call"),
        ("int3", &[0xcc], "system call"),
        ("hlt", &[0xf4], "privileged"),
        ("cli", &[0xfa], "privileged"),
        ("in al, dx", &[0xec], "privileged"),
        ("wrfsbase rax", &[0xf3, 0x48, 0x0f, 0xae, 0xd0], ""),
        ("wrpkru", &[0x0f, 0x01, 0xef], "not used"),
        ("mov rax, fs:[0]", &[0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0], "segment prefix"),
        ("mov ds, eax", &[0x8e, 0xd8], "register that programs do not use"),
        ("ldmxcsr [rsp]", &[0x0f, 0xae, 0x14, 0x24], "not used"),
        ("rep stosb", &[0xf3, 0xaa], "string instruction"),
        ("popf", &[0x9d], "not used"),
        ("fldz", &[0xd9, 0xee], "not used"),
        ("mov [rsi], rax", &[0x48, 0x89, 0x06], "write to an unknown address"),
        ("mov [rdi], rax", &[0x48, 0x89, 0x07], "no record of a trap"),
        ("mov [rdi-120], rax", &[0x48, 0x89, 0x47, 0x88], "not the code's"),
        ("mov esi, esi; mov [rdi+rsi-72], eax", &[0x89, 0xf6, 0x89, 0x44, 0x37, 0xb8], "need not lie in the memory"),
        ("mov rax, [rsi]", &[0x48, 0x8b, 0x06], "read of an unknown address"),
        ("mov rax, [rdi-1024]", &[0x48, 0x8b, 0x87, 0, 0xfc, 0xff, 0xff], "need not lie in the memory"),
        ("mov esi, esi; mov eax, [rdi+rsi-72]", &[0x89, 0xf6, 0x8b, 0x44, 0x37, 0xb8], "need not lie in the memory"),
        ("mov [rbp+8], rsi", &[0x48, 0x89, 0x75, 0x08], "not the return address"),
        ("mov [rbp], rsi", &[0x48, 0x89, 0x75, 0x00], "not given back"),
        ("mov [rbp+16], rsi", &[0x48, 0x89, 0x75, 0x10], "outside the function's frame"),
        ("mov rsp, rsi", &[0x48, 0x89, 0xf4], "stack pointer becomes"),
        ("pop rbx", &[0x5b], ""),
        ("mov rbx, rsi", &[0x48, 0x89, 0xf3], "not given back"),
        ("jmp rsi", &[0xff, 0xe6], "an indirect call or jump"),
        ("call rsi", &[0xff, 0xd6], "an indirect call or jump"),
        ("call [rdi-1024]", &[0xff, 0x97, 0, 0xfc, 0xff, 0xff], "need not lie in the memory"),
        ("ret at once", &[0xc3], "not the return address"),
        ("jmp far away", &[0xe9, 0, 0, 0, 0x10], "branch out of the text"),
        ("jne beyond", &[0x0f, 0x85, 0, 0, 1, 0], "outside the function"),
        ("jne into the next instruction", &[0x75, 0x01, 0x48, 0x90], "overlap"),
        ("mov rax, [rip+1 MiB]", &[0x48, 0x8b, 0x05, 0, 0, 0x10, 0], "outside text and tables"),
        ("mov [rip], eax", &[0x89, 0x05, 0, 0, 0, 0], "write to"),
        ("sub rsp, 1 MiB", &[0x48, 0x81, 0xec, 0, 0, 0x10, 0], "grows by more than its guard"),
    ];
    for (name, code, expected) in attacks {
        let said = after(&simple, code).unwrap_or_else(|| panic!("{name} was not refused"));
        assert!(said.contains(expected), "{name}: {said}");
    }

    // Checks that are gone.
    let load = one("(i32.load offset=8 (local.get 0))");
    assert_eq!(problem(&load), None);
    // mov esi, esi; mov eax, [rdi+rsi]: without the zero extension, and with another base.
    let said = replaced(&load, &[0x8b, 0xf6, 0x8b, 0x04, 0x37], &[0x66, 0x90, 0x8b, 0x04, 0x37]).expect("refused");
    assert!(said.contains("read of an unknown address"), "{said}");
    let said = replaced(&load, &[0x8b, 0x04, 0x37], &[0x8b, 0x04, 0x36]).expect("refused");
    assert!(said.contains("read of"), "{said}");
    // The address of a word of a jump table is no word of it: movsxd rax, [rcx+rax*4] becomes lea.
    let table = one(
        "(block $c (block $b (block $a (br_table $a $b $c $b (local.get 0))) (return (i32.const 1))) (return (i32.const 2))) (i32.const 3)",
    );
    assert_eq!(problem(&table), None);
    let at = find(&table, &[0x48, 0x63]);
    let refused = with_text(&table, |text| text[at + 1] = 0x8d);
    assert!(problem(&refused).expect("refused").contains("jump to"));
    let closed = one("(call_indirect $t (type $u) (local.get 0) (local.get 0))");
    assert_eq!(problem(&closed), None);
    // cmp esi, 4 becomes cmp esi, 5: an entry that does not exist. Both places, or the mask still holds.
    let weaker = with_text(&closed, |text| {
        for i in 0..text.len() - 3 {
            if text[i..i + 3] == [0x83, 0xfe, 0x04] {
                text[i + 2] = 5;
            }
        }
    });
    assert!(problem(&weaker).expect("refused").contains("need not exist"));
    let said = replaced(&closed, &[0x85, 0xd2, 0x0f, 0x85], &[0x85, 0xd2, 0x0f, 0x84]).expect("refused");
    assert!(said.contains("check of the type"), "{said}");
    let open = one("(call_indirect $o (type $u) (local.get 0) (local.get 0))");
    assert_eq!(problem(&open), None);
    // jne to the trap becomes je.
    let compare = find(&open, &[0x8b, 0x48, 0x18]);
    let refused = with_text(&open, |text| {
        let branch = (compare..).find(|i| text[*i..*i + 2] == [0x0f, 0x85]).expect("a branch");
        text[branch + 1] = 0x84;
    });
    assert!(problem(&refused).expect("refused").contains("type was not checked"));
    // mov rsp, rbp, where that is so already, becomes mov rax, rcx: what a trampoline returns is not what the runtime gave.
    let throws = compile(
        &text("(module (tag $e (param i32)) (func (export \"f\") (throw $e (i32.const 1))))"),
        &CompileOptions { cpu: Cpu::Baseline, ..CompileOptions::default() },
    );
    assert_eq!(problem(&throws), None);
    let refused = with_text(&throws, |text| {
        for i in 0..text.len() - 9 {
            if text[i..i + 9] == [0x48, 0x83, 0xc4, 0x10, 0x48, 0x89, 0xec, 0x5d, 0xc3] {
                text[i + 6] = 0xc8;
            }
        }
    });
    assert!(problem(&refused).expect("refused").contains("not the runtime's"));
}

/// A small generator of numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        ((self.0 >> 33) % n as u64) as usize
    }
}

/// A program without imports that does something in each of its parts, for changed code to be run.
fn victim() -> Vec<u8> {
    text(
        r#"(module
            (type $unary (func (param i32) (result i32)))
            (memory 1)
            (data (i32.const 0) "some bytes to work on, more than sixty-four of them, so that a copy takes the long way")
            (table $closed 4 4 funcref) (elem (table $closed) (i32.const 0) func $sum $switch $copy $divide)
            (table $open (export "t") 4 8 funcref) (elem (table $open) (i32.const 0) func $sum $switch $copy $divide)
            (global $g (mut i32) (i32.const 0))
            (tag $odd (param i32))
            (func $sum (type $unary) (local $i i32) (local $n i32)
                (loop $l
                    (local.set $n (i32.add (local.get $n) (i32.load8_u (local.get $i))))
                    (i32.store offset=256 (i32.shl (local.get $i) (i32.const 2)) (local.get $n))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $l (i32.lt_u (local.get $i) (i32.const 64))))
                (local.get $n))
            (func $switch (type $unary)
                (block $c (block $b (block $a (br_table $a $b $c $b (local.get 0))) (return (i32.const 1))) (return (i32.const 2)))
                (i32.const 3))
            (func $copy (type $unary)
                (memory.copy (i32.const 1000) (local.get 0) (i32.const 80))
                (memory.fill (i32.const 2000) (local.get 0) (local.get 0))
                (i32.load (i32.const 1004)))
            (func $divide (type $unary) (i32.div_s (i32.const 1000) (local.get 0)))
            (func $throws (type $unary)
                (if (i32.and (local.get 0) (i32.const 1)) (then (throw $odd (local.get 0))))
                (global.set $g (i32.add (global.get $g) (i32.const 1)))
                (global.get $g))
            (func (export "run") (result i32) (local $i i32) (local $n i32)
                (table.set $open (i32.const 3) (table.get $open (i32.const 0)))
                (loop $l
                    (local.set $n (i32.add (local.get $n) (call_indirect $closed (type $unary)
                        (i32.add (local.get $i) (i32.const 1)) (i32.and (local.get $i) (i32.const 3)))))
                    (local.set $n (i32.add (local.get $n) (call_indirect $open (type $unary)
                        (i32.add (local.get $i) (i32.const 1)) (i32.and (local.get $i) (i32.const 3)))))
                    (local.set $n (i32.add (local.get $n)
                        (block $caught (result i32) (try_table (result i32) (catch $odd $caught) (call $throws (local.get $i))))))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $l (i32.lt_u (local.get $i) (i32.const 40))))
                (local.get $n)))"#,
    )
}

/// A copy or fill whose length nobody compares stays in the reservation, which is all that is proved of it. It faults in the stub that
/// copies a few bytes, or in the runtime's routine for more: both are traps.
#[test]
fn a_copy_beyond_the_memory_is_a_trap() {
    let wasm = text(
        r#"(module (memory (export "memory") 1)
            (func (export "copy") (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2)))
            (func (export "fill") (param i32 i32 i32) (memory.fill (local.get 0) (local.get 1) (local.get 2))))"#,
    );
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("mutant.so");
    for meter in [false, true] {
        let tunables = Tunables { meter, ..Tunables::default() };
        let bytes = compile(&wasm, &CompileOptions { cpu: Cpu::Baseline, tunables, ..CompileOptions::default() });
        // `setbe al`, what the end was compared with the size for, becomes `mov al, 1`.
        let mut changed = 0;
        let mutant = with_text(&bytes, |text| {
            while let Some(at) = text.windows(3).position(|w| w == [0x0f, 0x96, 0xc0]) {
                text[at..at + 3].copy_from_slice(&[0xb0, 0x01, 0x90]);
                changed += 1;
            }
        });
        assert_eq!((changed, problem(&mutant)), (2, None));
        std::fs::write(&path, mutant).expect("written");
        for (name, arguments) in [
            ("fill", ["65530", "1", "40"]),
            ("fill", ["65530", "1", "1000"]),
            ("copy", ["65530", "0", "40"]),
            ("copy", ["65530", "0", "1000"]),
            ("copy", ["0", "65530", "40"]),
            ("copy", ["0", "65530", "1000"]),
            ("copy", ["4294967295", "4294967295", "1000000"]),
        ] {
            let mut c = command(wasmc());
            c.args(["run", "--invoke", name]).args(meter.then_some("--stats")).arg(&path).args(arguments);
            let outcome = run(&mut c, Duration::from_secs(30));
            assert!(
                outcome.code == Some(134) && outcome.stderr.contains("out of bounds memory access"),
                "{name} {arguments:?}: {outcome:?}"
            );
            assert!(outcome.stderr.contains(name), "the backtrace has the function: {}", outcome.stderr);
        }
    }
}

/// Single bytes of the text are changed. What is accepted is run: it may give anything, trap or take too long.
#[test]
fn mutations() {
    let chosen = variants().into_iter().filter(|(name, _)| ["as it is", "checked", "metered"].contains(name));
    for (seed, (name, options)) in (1..).zip(chosen) {
        let bytes = compile(&victim(), &CompileOptions { features: Features::default(), ..options });
        assert_eq!(problem(&bytes), None, "{name}");
        let header = Header::read_from_bytes(&bytes[HEADER_OFFSET..HEADER_OFFSET + size_of::<Header>()]).expect("a header");
        let size = header.sections[SectionKind::Text as usize].size as usize;
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("mutant.so");
        let mut random = Random(seed);
        let (mut refused, mut accepted, mut failed) = (0, 0, Vec::new());
        let mut ends = std::collections::BTreeMap::<String, u64>::new();
        let ran = |mutant: &[u8]| {
            std::fs::write(&path, mutant).expect("the mutant can be written");
            let mut c = command(wasmc());
            c.args(["run", "--timeout", "200ms", "--invoke", "run"]).arg(&path);
            run(&mut c, Duration::from_secs(30))
        };
        let outcome = ran(&bytes);
        assert_eq!(outcome.code, Some(0), "{name}: {outcome:?}");
        for _ in 0..MUTATIONS {
            let (at, bit) = (random.below(size), random.below(255) as u8 + 1);
            let mutant = with_text(&bytes, |text| text[at] ^= bit);
            if verify(&mutant).is_err() {
                refused += 1;
                continue;
            }
            accepted += 1;
            let outcome = ran(&mutant);
            *ends.entry(outcome.code.map_or("a signal".into(), |c| c.to_string())).or_default() += 1;
            // 70 would be a panic of the runtime.
            if outcome.code.is_none() || outcome.code == Some(70) {
                let kept = differential::folder().join(format!("mutant-{seed}-{at:x}-{bit:x}.so"));
                std::fs::create_dir_all(differential::folder()).expect("a folder for findings");
                std::fs::write(&kept, &mutant).expect("a file for a finding");
                failed.push(format!("byte {at:#x} ^ {bit:#x}, {}: {outcome:?}", kept.display()));
            }
        }
        println!("{name}: {MUTATIONS} mutations of {size} bytes, {refused} refused, {accepted} accepted, which ended with {ends:?}");
        assert!(failed.is_empty(), "{}", failed.join("\n"));
        assert!(refused > MUTATIONS / 4, "{name}: {refused}");
    }
}
