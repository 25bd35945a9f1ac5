//! `wasmc inspect`: what its views say of modules and artifacts, this machine's and another's, that a tool can rely on the JSON, and
//! that broken files of every kind give an error instead of anything worse.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wasmc_compiler::{CompileOptions, Triple, compile_to_artifact};
use wasmc_tests::{Outcome, command, run, wasmc};

const WAT: &str = r#"(module $demo
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "env" "limit" (global $limit i32))
    (memory (export "memory") 2 4)
    (data (i32.const 16) "hello")
    (data "passive")
    (table 2 funcref)
    (elem (i32.const 0) $div $fib)
    (func $div (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
    (func $fib (export "fib") (param i32) (result i32)
        (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
            (then (local.get 0))
            (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1))) (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
    (func $vector (result v128) (i8x16.splat (i32.load8_u (i32.const 0))))
    (func (export "_start")
        (drop (call $fd_write (i32.const 1) (i32.const 8) (i32.const 1) (global.get $limit)))
        (drop (call_indirect (param i32) (result i32) (i32.const 3) (i32.const 1)))))"#;

struct Files {
    dir: tempfile::TempDir,
    wasm: Vec<u8>,
}

impl Files {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a folder"), wasm: wat::parse_str(WAT).expect("valid text") }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    }

    fn artifact(&self, options: &CompileOptions<'_>) -> Vec<u8> {
        compile_to_artifact(&self.wasm, options).expect("a valid module").bytes
    }
}

fn inspect(file: &Path, args: &[&str]) -> Outcome {
    run(command(wasmc()).arg("inspect").arg(file).args(args), Duration::from_secs(60))
}

fn printed(file: &Path, args: &[&str]) -> String {
    let o = inspect(file, args);
    assert_eq!(o.code, Some(0), "{args:?}: {}", o.stderr);
    String::from_utf8(o.stdout).expect("UTF-8")
}

fn json(file: &Path, args: &[&str]) -> Value {
    let mut all = vec!["--json"];
    all.extend(args);
    serde_json::from_str(&printed(file, &all)).expect("JSON")
}

fn keys(v: &Value) -> Vec<&str> {
    v.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// The schema is a promise: fields may be added (here too), and none may go or change its meaning.
#[test]
fn the_schema_holds() {
    let files = Files::new();
    let module = json(&files.file("m.wasm", &files.wasm), &["--code"]);
    let artifact = json(&files.file("m.so", &files.artifact(&CompileOptions::default())), &[]);
    for report in [&module, &artifact] {
        assert_eq!(keys(report), ["artifact", "file", "functions", "kind", "module", "problem", "schema", "size", "traps"]);
        assert_eq!(report["schema"], 1);
        let m = &report["module"];
        assert_eq!(
            keys(m),
            [
                "data_segments",
                "element_segments",
                "error",
                "exports",
                "features",
                "globals",
                "has_dwarf",
                "has_names",
                "imports",
                "memories",
                "name",
                "producers",
                "sections",
                "size",
                "start",
                "tables",
                "tags",
                "types",
                "valid"
            ]
        );
        assert_eq!(
            (&m["name"], &m["valid"], &m["has_names"], &m["has_dwarf"]),
            (&"demo".into(), &true.into(), &true.into(), &false.into())
        );
        assert_eq!(m["features"], serde_json::json!(["simd", "bulk-memory"]));
        let import = serde_json::json!(
            {"module": "wasi_snapshot_preview1", "name": "fd_write", "kind": "function", "type": "(i32, i32, i32, i32) -> (i32)"}
        );
        assert_eq!(m["imports"][0], import);
        assert_eq!(m["exports"][1], serde_json::json!({"name": "fib", "kind": "function", "index": 2, "type": "(i32) -> (i32)"}));
        assert_eq!(keys(&m["memories"][0]), ["image", "imported", "index", "maximum_bytes", "minimum_bytes", "type"]);
        assert_eq!((&m["memories"][0]["minimum_bytes"], &m["memories"][0]["maximum_bytes"]), (&131_072.into(), &262_144.into()));
        assert_eq!(keys(&m["tables"][0]), ["closed", "imported", "index", "type"]);
        let segment = serde_json::json!({"index": 0, "mode": "active", "target": 0, "offset": 16, "size": 5});
        assert_eq!(m["data_segments"][0], segment);
        assert_eq!(m["data_segments"][1]["mode"], "passive");
        assert_eq!(keys(&m["sections"][0]), ["custom", "name", "offset", "size"]);
        let f = &report["functions"][1];
        assert_eq!(keys(f), ["code_offset", "code_size", "compiled", "index", "name", "traps", "type", "wasm_offset", "wasm_size"]);
        assert_eq!((&f["index"], &f["name"], &f["compiled"]), (&2.into(), &"fib".into(), &true.into()));
        assert_eq!(report["traps"]["integer divide by zero"], 1);
    }
    assert_eq!((&module["kind"], &artifact["kind"]), (&"module".into(), &"artifact".into()));
    assert_eq!(module["artifact"], Value::Null);
    let a = &artifact["artifact"];
    assert_eq!(
        keys(a),
        ["cpu_features", "digest", "features", "format_version", "sections", "stripped", "stubs", "target", "tunables", "wasmc_version"]
    );
    assert_eq!(a["stripped"], false);
    assert_eq!(keys(&a["sections"][0]), ["digest", "intact", "name", "offset", "size"]);
    assert!(a["sections"].as_array().expect("a list").iter().all(|s| s["intact"] == true));
    assert_eq!(artifact["module"]["tables"][0]["closed"], true);
    // Without --code nothing is compiled.
    let plain = json(&files.file("m.wasm", &files.wasm), &[]);
    assert_eq!((&plain["traps"], &plain["functions"][1]["code_size"]), (&Value::Null, &Value::Null));
}

/// A proposal is needed if the module is not valid without it.
#[test]
fn needed_proposals() {
    let files = Files::new();
    for (text, needed) in [
        ("(module)", vec![]),
        ("(module (func (result i32 i32) i32.const 1 i32.const 2))", vec!["multi-value"]),
        ("(module (func $f return_call $f))", vec!["tail-call"]),
        ("(module (memory i64 1))", vec!["memory64"]),
        ("(module (memory 1 1 shared))", vec!["threads", "shared-memory"]),
        ("(module (memory 1) (memory 1))", vec!["multi-memory"]),
        ("(module (func (param exnref)))", vec!["reference-types", "exceptions"]),
    ] {
        let file = files.file("f.wat", text.as_bytes());
        let found = json(&file, &[])["module"]["features"].clone();
        let found: Vec<_> = found.as_array().expect("a list").iter().map(|f| f.as_str().expect("a name").to_owned()).collect();
        assert_eq!(found, needed, "{text}");
    }
}

#[test]
fn the_text_format_comes_back() {
    let files = Files::new();
    let expected = wasmprinter::print_bytes(&files.wasm).expect("a module");
    assert_eq!(printed(&files.file("m.wasm", &files.wasm), &["--wat"]), expected);
    assert_eq!(printed(&files.file("m.so", &files.artifact(&CompileOptions::default())), &["--wat"]), expected);
    let stripped = files.file("s.so", &files.artifact(&CompileOptions { strip: true, ..CompileOptions::default() }));
    let o = inspect(&stripped, &["--wat"]);
    assert_eq!(o.code, Some(65));
    assert!(o.stderr.contains("--strip"), "{}", o.stderr);
    // What is left is shown all the same.
    let report = json(&stripped, &[]);
    assert_eq!((&report["artifact"]["stripped"], &report["module"]["size"]), (&true.into(), &Value::Null));
    assert_eq!(report["module"]["exports"][1]["name"], "fib");
    assert!(printed(&stripped, &["--disasm", "fib"]).contains("<fib>"));
}

#[test]
fn machine_code_stands_under_its_wasm() {
    let files = Files::new();
    for (target, divide, recursion) in [("x86_64-unknown-linux-gnu", "idiv", "call"), ("aarch64-unknown-linux-gnu", "sdiv", "bl")] {
        let options = CompileOptions { target: Some(target.parse::<Triple>().expect("a target")), ..CompileOptions::default() };
        let so = files.file("m.so", &files.artifact(&options));
        let text = printed(&so, &["--disasm", "div"]);
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{target}: no {what} in\n{text}"));
        assert!(at("i32.div_s") < at(divide), "{text}");
        at("; trap: integer divide by zero");
        at("; trap: integer overflow");
        // By index, and of a module that is compiled for it.
        let text = printed(&files.file("m.wasm", &files.wasm), &["--disasm", "2", "--target", target]);
        assert!(text.lines().any(|l| l.contains(recursion) && l.ends_with("<fib>")), "{text}");
        let all = printed(&so, &["--disasm"]);
        for part in ["function 1 <div>", "function 2 <fib>", "stub <wasmc."] {
            assert!(all.contains(part), "{target}: no {part}");
        }
        let traps = printed(&so, &["--traps"]);
        assert!(traps.contains("indirect call") || traps.contains("uninitialized element"), "{traps}");
    }
    // The file behind the option is not a function's name.
    let wasm = files.file("m.wasm", &files.wasm);
    let o = run(command(wasmc()).args(["inspect", "--disasm"]).arg(&wasm), Duration::from_secs(60));
    assert_eq!(o.code, Some(0), "{}", o.stderr);
    let o = inspect(&wasm, &["--disasm", "fi"]);
    assert_eq!(o.code, Some(64));
    assert!(o.stderr.contains("did you mean `fib`"), "{}", o.stderr);
}

#[test]
fn the_page_needs_nothing_else() {
    let files = Files::new();
    let evil = WAT.replace("\"fib\"", "\"</script><script>alert(1)</script>\"").replace("$fib", "$fib</script>");
    let evil = wat::parse_str(evil).unwrap_or_else(|_| files.wasm.clone());
    let to = files.dir.path().join("page.html");
    let to_arg = to.to_str().expect("UTF-8");
    printed(&files.file("m.wasm", &evil), &["--html", to_arg]);
    let page = std::fs::read_to_string(&to).expect("a page");
    assert_eq!(page.matches("</script>").count(), 2, "the data ends its element");
    for outside in ["src=", "href=", "url(", "@import", "http:", "https:"] {
        assert!(!page.contains(outside), "the page refers to {outside}");
    }
    let data = page.split("id=\"data\">").nth(1).and_then(|p| p.split("</script>").next()).expect("data");
    let data: Value = serde_json::from_str(data).expect("JSON");
    let first = &data["functions"][0];
    assert_eq!((&first["index"], &first["name"]), (&1.into(), &"div".into()));
    assert!(first["code"].as_str().expect("code").contains("idiv") || cfg!(not(target_arch = "x86_64")));
    assert!(first["wasm"].as_str().expect("wasm").contains("i32.div_s"));
    // With --func only that one has its code.
    printed(&files.file("m.wasm", &files.wasm), &["--html", to_arg, "--func", "fib"]);
    let page = std::fs::read_to_string(&to).expect("a page");
    assert!(page.contains("call $fib") && !page.contains("i32.div_s"));
    assert_eq!(inspect(&files.file("m.wasm", &files.wasm), &["--html", to_arg, "--func", "none"]).code, Some(64));
    assert_eq!(inspect(&files.file("m.wasm", &files.wasm), &["--html", "/nowhere/page.html"]).code, Some(73));
}

/// A small generator (xorshift64*), so that a failure is the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % n as u64) as usize
    }
}

fn survives(file: &Path, what: &str) {
    for view in [&["--json"][..], &["--disasm"], &["--wat"]] {
        let o = inspect(file, view);
        assert!(matches!(o.code, Some(0 | 65 | 66 | 70 | 78)), "{what}, {view:?}: {:?}\n{}", o.code, o.stderr);
        assert!(!o.stderr.contains("panicked"), "{what}, {view:?}: {}", o.stderr);
        assert!(o.code == Some(0) || o.stderr.contains("error"), "{what}, {view:?}: no error is printed");
    }
}

#[test]
fn broken_files_give_errors() {
    let files = Files::new();
    let so = files.artifact(&CompileOptions::default());
    let mut random = Random(0x1234_5678_9abc_def1);
    for (name, bytes) in [("m.wasm", &files.wasm), ("m.so", &so)] {
        for i in 0..40 {
            // Shorter files more often: that is where the headers are.
            let len = random.below(bytes.len().min(if i % 2 == 0 { 2000 } else { usize::MAX }));
            survives(&files.file(name, &bytes[..len]), &format!("{name}, {len} bytes"));
            let mut changed = bytes.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(changed.len());
                changed[at] = random.below(256) as u8;
            }
            survives(&files.file(name, &changed), &format!("{name}, change {i}"));
        }
    }
    let noise: Vec<u8> = (0..5000).map(|_| random.below(256) as u8).collect();
    survives(&files.file("noise", &noise), "noise");
    survives(&files.file("elf", &[b"\x7fELF".as_slice(), &noise].concat()), "noise behind ELF");
    survives(&files.file("wasm", &[b"\0asm\x01\0\0\0".as_slice(), &noise].concat()), "noise behind a module's magic");
    survives(&files.file("empty", b""), "an empty file");
    assert_eq!(inspect(Path::new("/nowhere.wasm"), &[]).code, Some(66));
    assert_eq!(inspect(files.dir.path(), &[]).code, Some(66));
    let o = inspect(&files.file("bad.wasm", b"\0asm\x01\0\0\0\x01\x02\x01\xff"), &[]);
    assert!(o.code == Some(65) && o.stderr.contains("0x"), "the offset is missing: {}", o.stderr);
}

/// A header that is intact is shown whatever the rest is like; what is damaged is named.
#[test]
fn damage_and_other_versions_are_shown() {
    let files = Files::new();
    let mut so = files.artifact(&CompileOptions::default());
    let report = json(&files.file("m.so", &so), &[]);
    let sections = report["artifact"]["sections"].as_array().expect("a list");
    let offset =
        |name: &str| sections.iter().find(|s| s["name"] == name).expect("a section")["offset"].as_u64().expect("a number") as usize;
    let (text, meta) = (offset(".text"), offset(".wasmc.meta"));
    so[text] ^= 1;
    let report = json(&files.file("m.so", &so), &[]);
    let intact = |report: &Value, name: &str| {
        report["artifact"]["sections"].as_array().expect("a list").iter().find(|s| s["name"] == name).expect("a section")["intact"].clone()
    };
    assert_eq!((intact(&report, ".text"), intact(&report, ".wasmc.meta")), (false.into(), true.into()));
    assert_eq!(report["module"]["name"], "demo");
    so[meta] ^= 1;
    let damaged = files.file("m.so", &so);
    let report = json(&damaged, &[]);
    assert_eq!((&report["module"], &report["functions"]), (&Value::Null, &serde_json::json!([])));
    assert!(report["problem"].as_str().expect("a problem").contains(".wasmc.meta"));
    assert_eq!(inspect(&damaged, &["--disasm"]).code, Some(65));
    // Of another version, with a digest that fits.
    let mut other = files.artifact(&CompileOptions::default());
    other[0x400 + 16..0x400 + 21].copy_from_slice(b"9.8.7");
    let digest = *blake3::hash(&other[0x400..0x400 + 896]).as_bytes();
    other[0x400 + 896..0x400 + 928].copy_from_slice(&digest);
    let report = json(&files.file("o.so", &other), &[]);
    assert_eq!(report["artifact"]["wasmc_version"], "9.8.7");
    // Of another format, of which not even the header is known.
    other[0x400 + 8] = 77;
    let o = inspect(&files.file("o.so", &other), &[]);
    assert!(o.code == Some(78) && o.stderr.contains("format version 77"), "{:?} {}", o.code, o.stderr);
}
