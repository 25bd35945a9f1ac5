//! Enforces what taste can be enforced: the floors, documents that name only what exists, no unfinished work, no unsafe
//! code outside the rooms meant for it.

use std::path::{Path, PathBuf};
use wasmc_tests::workspace;

fn files(root: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a readable folder").flatten() {
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| extensions.contains(&e.to_string_lossy().as_ref())) {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no file found below {}", root.display());
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(workspace()).unwrap_or(path).display().to_string()
}

fn check(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// Every arrow between the crates points down.
#[test]
fn floors() {
    let allowed: &[(&str, &[&str])] = &[
        ("runtime/environ", &[]),
        ("runtime", &["wasmc-environ"]),
        ("compiler", &["wasmc-environ"]),
        ("wasi", &["wasmc-runtime"]),
        ("capi", &["wasmc-compiler", "wasmc-environ", "wasmc-runtime", "wasmc-wasi"]),
        ("plugin/abi", &[]),
        ("plugin", &["wasmc-plugin-abi", "wasmc-runtime"]),
        ("verify", &["wasmc-environ", "wasmc-runtime"]),
        ("cli", &["wasmc-compiler", "wasmc-environ", "wasmc-plugin", "wasmc-runtime", "wasmc-verify", "wasmc-wasi"]),
    ];
    let forbidden = ["wasmtime", "wasmer", "wasmi", "wasi-common"];
    let mut problems = Vec::new();
    for (krate, down) in allowed {
        let text = std::fs::read_to_string(workspace().join(krate).join("Cargo.toml")).expect("a manifest");
        let dependencies = text.split("[dependencies]").nth(1).expect("a section of dependencies").split("\n[").next().unwrap_or("");
        for line in dependencies.lines() {
            let name = line.split(['.', '=', ' ']).next().unwrap_or("");
            if (name.starts_with("wasmc") && !down.contains(&name)) || forbidden.contains(&name) {
                problems.push(format!("{krate} must not depend on {name}"));
            }
            if *krate != "compiler" && *krate != "cli" && name.starts_with("cranelift") {
                problems.push(format!("{krate} must not depend on {name}: only the compiler links Cranelift"));
            }
        }
    }
    check(problems);
}

/// A path in backquotes in a document is a file or folder that exists.
#[test]
fn documents_name_what_exists() {
    let mut problems = Vec::new();
    let root = workspace();
    for doc in files(&root, &["md"]) {
        let text = std::fs::read_to_string(&doc).expect("a readable document");
        for (number, line) in text.lines().enumerate() {
            for word in line.split('`').skip(1).step_by(2) {
                let looks_like_path = word.contains('/')
                    && ["rs", "md", "toml", "wat", "wasm", "c"].iter().any(|e| word.ends_with(&format!(".{e}")))
                    && !word.contains([' ', '*', '{', '$', '<'])
                    && !word.starts_with(['/', '.', '~']);
                if looks_like_path && !root.join(word).exists() {
                    problems.push(format!("{}:{}: `{word}` does not exist", relative(&doc), number + 1));
                }
            }
        }
    }
    check(problems);
}

/// Files open with their idea, and hold no unfinished work.
#[test]
fn sources() {
    let mut problems = Vec::new();
    // In pieces, so that this file does not find itself.
    let unfinished =
        [concat!("FIX", "ME"), concat!("TO", "DO"), concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!(")];
    for file in files(&workspace(), &["rs"]) {
        let name = relative(&file);
        let text = std::fs::read_to_string(&file).expect("a readable source");
        if !text.trim_start().starts_with("//!") {
            problems.push(format!("{name}: does not open with its idea (//!)"));
        }
        for (number, line) in text.lines().enumerate() {
            let at = format!("{name}:{}", number + 1);
            problems.extend(unfinished.iter().filter(|w| line.contains(**w)).map(|w| format!("{at}: {w}")));
            if line.trim_start().starts_with(concat!("#[ign", "ore]")) {
                problems.push(format!("{at}: a test is ignored without a reason"));
            }
        }
    }
    check(problems);
}

/// Unsafe code lives where it is meant to.
/// What is built does not belong into the history.
#[test]
fn no_native_code_is_kept() {
    let listed = std::process::Command::new("git").args(["ls-files", "-z"]).current_dir(workspace()).output();
    let Some(listed) = listed.ok().filter(|o| o.status.success()) else {
        println!("skipped: this is no checkout of git");
        return;
    };
    let names = String::from_utf8(listed.stdout).expect("names in UTF-8");
    let is_native = |name: &&str| {
        let mut magic = [0; 4];
        let read = std::fs::File::open(workspace().join(name)).and_then(|mut f| std::io::Read::read_exact(&mut f, &mut magic));
        read.is_ok() && magic == *b"\x7fELF"
    };
    let names: Vec<&str> = names.split_terminator('\0').collect();
    assert!(names.len() > 100, "{} files are known to git", names.len());
    check(names.into_iter().filter(is_native).map(|n| format!("{n}: an ELF file")).collect());
}

#[test]
fn unsafe_rooms() {
    // The compiler runs code only in its own tests.
    let rooms = [
        "runtime/src/",
        "capi/src/",
        "cli/src/commands/run.rs",
        "cli/src/cache.rs",
        "cli/src/commands/run/modules.rs",
        "plugin/",
        "wasi/src/",
        "compiler/src/jit",
        "compiler/src/machine/random_tests.rs",
        "compiler/src/run_tests.rs",
        "compiler/src/translate/simd/tests/",
        "tests/",
        "examples/",
    ];
    let mut problems = Vec::new();
    for file in files(&workspace(), &["rs"]) {
        let name = relative(&file);
        if rooms.iter().any(|r| name.starts_with(r)) {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("a readable source");
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            if code.contains(concat!("unsafe", " {"))
                || code.contains(concat!("unsafe", " fn"))
                || code.contains(concat!("unsafe", " impl"))
            {
                problems.push(format!("{name}:{}: unsafe code outside {}", number + 1, rooms.join(", ")));
            }
        }
    }
    check(problems);
}

/// The table for users of WasmEdge names a test in every row, and each of them exists.
#[test]
fn tests_of_the_table_for_wasmedge_users() {
    let mut problems = Vec::new();
    let doc = std::fs::read_to_string(workspace().join("docs/wasmedge.md")).expect("the document");
    let mut rows = 0;
    for (number, line) in doc.lines().enumerate().filter(|(_, l)| l.starts_with('|') && !l.starts_with("|---")) {
        let last = line.trim_end_matches('|').rsplit('|').next().unwrap_or("");
        if last.trim() == "shown by" {
            continue;
        }
        rows += 1;
        let at = format!("docs/wasmedge.md:{}", number + 1);
        let names: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            problems.push(format!("{at}: the row names no test"));
        }
        for name in names {
            let exists = match name.split_once("::") {
                None => workspace().join(name).is_file(),
                Some((file, test)) => std::fs::read_to_string(workspace().join(format!("tests/tests/{file}.rs")))
                    .is_ok_and(|text| text.contains(&format!("#[test]\nfn {test}()"))),
            };
            if !exists {
                problems.push(format!("{at}: there is no test `{name}`"));
            }
        }
    }
    assert!(rows > 40, "the table has {rows} rows");
    check(problems);
}
