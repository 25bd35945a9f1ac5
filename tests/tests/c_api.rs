//! The C API: that the library is what the headers declare, and that programs in C work with it: those of `capi/examples`,
//! linked with the shared and with the static library, on every tier that the library has.

mod c_api {
    pub mod header;
}

use c_api::header;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use wasmc_tests::{command, run, wasmc, workspace};

/// Whether there is a C compiler. Says so in one line if there is none.
fn has_cc() -> bool {
    let there = Command::new("cc").arg("--version").output().is_ok_and(|o| o.status.success());
    if !there {
        eprintln!("skipped: there is no C compiler (cc)");
    }
    there
}

fn include() -> PathBuf {
    workspace().join("capi/include")
}

/// The folder with the libraries of the profile that the tests were built with.
fn libraries() -> PathBuf {
    let folder = wasmc().parent().map(Path::to_owned).expect("the executable is in a folder");
    for name in ["libwasmc.so", "libwasmc.a"] {
        assert!(folder.join(name).is_file(), "{name} is missing: build the workspace first (`cargo build --workspace`)");
    }
    folder
}

fn stdout(mut command: Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn declared() -> header::Declared {
    let mut preprocess = Command::new("cc");
    preprocess.args(["-E", "-P", "-x", "c"]).arg(include().join("wasmc.h"));
    header::parse(&stdout(preprocess))
}

#[test]
fn the_library_is_what_the_headers_declare() {
    if !has_cc() {
        return;
    }
    let declared = declared();
    let path = workspace().join("capi/src/declared.rs");
    let made = tempfile::tempdir().expect("a temporary folder");
    let at = made.path().join("declared.rs");
    std::fs::write(&at, header::assertions(&declared)).expect("a file");
    // It is written as `cargo fmt` would leave it.
    let mut format = Command::new("rustfmt");
    stdout({
        format.args(["--edition", "2024", "--config-path"]).arg(workspace().join("rustfmt.toml")).arg(&at);
        format
    });
    let text = std::fs::read_to_string(&at).expect("text");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &text).expect("a file that can be written");
    }
    let there = std::fs::read_to_string(&path).expect("text");
    assert!(there == text, "capi/src/declared.rs is not what the headers declare: run this test with BLESS=1, then build");

    let mut nm = Command::new("nm");
    nm.args(["-D", "--defined-only", "--format=posix"]).arg(libraries().join("libwasmc.so"));
    if nm.output().is_err() {
        eprintln!("skipped: there is no nm, so the exported symbols are not compared");
        return;
    }
    let symbols = stdout(nm);
    let exported: BTreeSet<&str> = symbols.lines().filter_map(|l| l.split(' ').next()).filter(|s| s.starts_with("wasm")).collect();
    let declared: BTreeSet<&str> = declared.functions.iter().map(|f| &*f.name).collect();
    assert!(declared.len() > 300, "only {} functions were found in the headers", declared.len());
    assert_eq!(declared.difference(&exported).collect::<Vec<_>>(), [""; 0].iter().collect::<Vec<_>>(), "declared, but not exported");
    assert_eq!(exported.difference(&declared).collect::<Vec<_>>(), [""; 0].iter().collect::<Vec<_>>(), "exported, but not declared");
}

/// The header's numbers of traps are the runtime's.
#[test]
fn trap_codes_are_the_runtimes() {
    let text = std::fs::read_to_string(include().join("wasmc.h")).expect("text");
    let there: Vec<&str> = text.lines().filter_map(|l| l.trim().strip_prefix("WASMC_TRAP_")).collect();
    let codes = wasmc_environ::TrapCode::ALL.iter().map(|code| {
        let words = format!("{code:?}").chars().fold(String::new(), |mut words, c| {
            if c.is_uppercase() && !words.is_empty() {
                words.push('_');
            }
            words.extend(c.to_uppercase());
            words
        });
        format!("{words} = {},", *code as u8)
    });
    assert_eq!(there, codes.collect::<Vec<_>>());
}

/// Exit codes are those of the command line.
#[test]
fn exit_codes_are_the_command_lines() {
    let of = |path: &str, ty: &str, end: &str| -> Vec<(String, u8)> {
        let text = std::fs::read_to_string(workspace().join(path)).expect("a source");
        let constant = |line: &str| {
            let (name, number) = line.trim().strip_prefix("pub const ")?.split_once(ty)?;
            Some((name.to_owned(), number.strip_suffix(end)?.parse().ok()?))
        };
        text.lines().filter_map(constant).collect()
    };
    let command_line = of("cli/src/exit.rs", ": Self = Self(", ");");
    let here = of("capi/src/error.rs", ": i32 = ", ";");
    assert!(here.len() >= 10, "{here:?}");
    for code in here {
        assert!(command_line.contains(&code), "{code:?} is not one of {command_line:?}");
    }
}

#[test]
fn the_headers_are_c_and_cxx() {
    if !has_cc() {
        return;
    }
    for (language, standard) in [("c", "c99"), ("c", "c11"), ("c++", "c++11")] {
        let mut check = command("cc");
        check.args(["-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-x", language, &format!("-std={standard}")]);
        // `static_assert` is C11's, and macro of <assert.h> there; older C needs a name for it.
        if standard == "c99" {
            check.arg("-Dstatic_assert(a,b)=");
        }
        let outcome = run(check.arg(include().join("wasmc.h")), Duration::from_secs(60));
        assert_eq!(outcome.code, Some(0), "{language} {standard}: {}", outcome.stderr);
    }
}

/// How an example is linked.
#[derive(Copy, Clone, Debug, PartialEq)]
enum Link {
    Shared,
    Static,
    /// With the shared library, and with the address sanitizer, for which a leak is a failure.
    Sanitized,
}

/// Compiles an example. `None` if this compiler cannot do that, which is said in one line.
fn build(name: &str, link: Link, folder: &Path) -> Option<PathBuf> {
    let libraries = libraries();
    let program = folder.join(format!("{name}-{link:?}"));
    let mut cc = command("cc");
    cc.args(["-std=c11", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-D_GNU_SOURCE", "-I"]).arg(include());
    cc.arg(workspace().join(format!("capi/examples/{name}.c"))).arg("-o").arg(&program);
    match link {
        Link::Static => {
            // What `rustc --print native-static-libs` says, as in docs/c-api.md.
            cc.arg(libraries.join("libwasmc.a")).args(["-s", "-Wl,--gc-sections", "-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl"]);
        }
        Link::Shared | Link::Sanitized => {
            cc.arg("-L").arg(&libraries).arg("-lwasmc").arg(format!("-Wl,-rpath,{}", libraries.display()));
        }
    }
    if link == Link::Sanitized {
        cc.arg("-fsanitize=address,undefined");
    }
    let outcome = run(&mut cc, Duration::from_secs(300));
    if link == Link::Sanitized && outcome.code != Some(0) && outcome.stderr.contains("asan") {
        eprintln!("skipped: this C compiler has no address sanitizer");
        return None;
    }
    assert_eq!(outcome.code, Some(0), "{cc:?}: {}", outcome.stderr);
    Some(program)
}

/// Runs an example on both tiers, linked in every way, and compares what it prints.
fn example(name: &str) {
    if !has_cc() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let expected = std::fs::read_to_string(workspace().join(format!("capi/examples/{name}.txt"))).expect("the expected output");
    for link in [Link::Shared, Link::Static, Link::Sanitized] {
        let Some(program) = build(name, link, folder.path()) else { continue };
        for tier in ["compiled", "interpreted", "auto"] {
            let mut c = command(&program);
            // Functions of C's run on the store's stack, which the sanitizer's own stacks would get in the way of.
            c.env("TIER", tier).env("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=0").current_dir(folder.path());
            let outcome = run(&mut c, Duration::from_secs(120));
            let at = format!("{name}, {link:?}, {tier}");
            assert_eq!(outcome.code, Some(0), "{at}: {}\n{}", outcome.stderr, String::from_utf8_lossy(&outcome.stdout));
            assert_eq!(String::from_utf8_lossy(&outcome.stdout), expected, "{at}");
        }
    }
}

macro_rules! examples {
    ($($name:ident)*) => {
        mod examples {
            $(
                #[test]
                fn $name() {
                    super::example(stringify!($name));
                }
            )*

            /// Every example is run.
            #[test]
            fn none_is_forgotten() {
                let folder = std::fs::read_dir(wasmc_tests::workspace().join("capi/examples")).expect("a readable folder");
                let mut there: Vec<String> = folder.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
                there.retain(|name| name.ends_with(".c"));
                there.sort();
                let mut run = [$(concat!(stringify!($name), ".c")),*];
                run.sort_unstable();
                assert_eq!(there, run);
            }
        }
    };
}

examples! {
    artifact
    callback
    exceptions
    finalize
    fuel
    global
    hello
    hostref
    interrupt
    limits
    memory
    multi
    reflect
    serialize
    start
    table
    threads
    trap
    wasi
}

/// Every function takes null pointers and zeros without a crash.
#[test]
fn null_pointers_are_no_crash() {
    if !has_cc() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut source = String::from("#include <stdio.h>\n#include <wasmc.h>\nint main(void) {\n");
    let declared = declared();
    for function in &declared.functions {
        let zeros = vec!["0"; function.params].join(", ");
        let name = &function.name;
        source += &format!("  puts(\"{name}\"); fflush(stdout); {name}({zeros});\n");
    }
    source += "  return 0;\n}\n";
    let (file, program) = (folder.path().join("null.c"), folder.path().join("null"));
    std::fs::write(&file, source).expect("a file");
    let libraries = libraries();
    let mut cc = command("cc");
    cc.args(["-std=c11", "-I"]).arg(include()).arg(&file).arg("-o").arg(&program).arg("-L").arg(&libraries);
    let outcome = run(cc.arg("-lwasmc").arg(format!("-Wl,-rpath,{}", libraries.display())), Duration::from_secs(60));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let outcome = run(&mut command(&program), Duration::from_secs(60));
    let called = String::from_utf8_lossy(&outcome.stdout).into_owned();
    assert_eq!(outcome.code, Some(0), "after {:?}: {}", called.lines().last(), outcome.stderr);
    assert_eq!(called.lines().count(), declared.functions.len());
}

/// A program that writes to a pipe without a reader gets an error, and its host lives on. What the host has chosen itself stays.
#[test]
fn a_broken_pipe_does_not_end_the_host() {
    if !has_cc() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let source = r#"
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <wasmc.h>

static const char TEXT[] =
  "(module (import \"wasi_snapshot_preview1\" \"fd_write\" (func $w (param i32 i32 i32 i32) (result i32)))"
  "  (memory (export \"memory\") 1) (data (i32.const 0) \"\\10\\00\\00\\00\\01\\00\\00\\00\")"
  "  (func (export \"write\") (result i32) (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32))))";

int main(int argc, char** argv) {
  if (argc > 1) signal(SIGPIPE, SIG_DFL);
  int ends[2];
  if (pipe(ends) != 0 || dup2(ends[1], 1) < 0 || close(ends[0]) != 0) return 1;
  wasm_engine_t* engine = wasm_engine_new();
  wasm_store_t* store = wasm_store_new(engine);
  wasm_byte_vec_t text = { sizeof TEXT - 1, (char*)TEXT }, binary;
  if (!wasmc_wat2wasm(&text, &binary)) return 2;
  wasm_module_t* module = wasm_module_new(store, &binary);
  wasmc_wasi_t* wasi = wasmc_wasi_new();
  if (!module || !wasmc_wasi_inherit_stdio(wasi) || !wasmc_store_set_wasi(store, wasi)) return 3;
  wasmc_linker_t* linker = wasmc_linker_new(store);
  wasmc_linker_define_wasi(linker);
  wasm_trap_t* trap = NULL;
  wasm_instance_t* instance = wasmc_linker_instantiate(linker, module, &trap);
  if (!instance) return 4;
  wasm_func_t* func = wasm_extern_as_func(wasmc_instance_export(instance, "write"));
  if (argc > 1) signal(SIGPIPE, SIG_DFL);
  wasm_val_t result = WASM_INIT_VAL;
  wasm_val_vec_t args = WASM_EMPTY_VEC, results = { 1, &result };
  trap = wasm_func_call(func, &args, &results);
  fprintf(stderr, "%s %d", trap ? "trap" : "returned", result.of.i32);
  return 0;
}
"#;
    let (file, program) = (folder.path().join("pipe.c"), folder.path().join("pipe"));
    std::fs::write(&file, source).expect("a file");
    let libraries = libraries();
    let mut cc = command("cc");
    cc.args(["-std=c11", "-I"]).arg(include()).arg(&file).arg("-o").arg(&program).arg("-L").arg(&libraries);
    let outcome = run(cc.arg("-lwasmc").arg(format!("-Wl,-rpath,{}", libraries.display())), Duration::from_secs(60));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    // The handler that this process has is none that the program inherits, but ignoring the signal would be.
    let outcome = run(command("env").arg("--default-signal=PIPE").arg(&program), Duration::from_secs(60));
    assert_eq!((outcome.code, &*outcome.stderr), (Some(0), "returned 64"));
    let outcome = run(command("env").arg("--default-signal=PIPE").arg(&program).arg("by choice"), Duration::from_secs(60));
    assert_eq!(outcome.code, None, "{}", outcome.stderr);
}

/// The programs in the documents work, with what `capi/install` installs.
#[test]
fn documented_programs_work() {
    if !has_cc() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let prefix = folder.path().join("prefix");
    let outcome = run(command(workspace().join("capi/install")).arg(&prefix).arg(libraries()), Duration::from_secs(60));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let app = workspace().join("examples/wordfreq/wordfreq.wasm");
    let mut compile = command(wasmc());
    compile.arg("compile").arg(app).arg("-o").arg(folder.path().join("app.so"));
    let outcome = run(&mut compile, Duration::from_secs(120));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);

    let mut flags = command("pkg-config");
    flags.args(["--cflags", "--libs", "wasmc"]).env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig"));
    let flags = match flags.output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).expect("text")
        }
        Err(_) => {
            eprintln!("skipped: there is no pkg-config, so the file for it is not tried");
            format!("-I{0}/include -L{0}/lib -lwasmc", prefix.display())
        }
    };
    for (document, arguments) in [("README.md", &[][..]), ("docs/c-api.md", &["app.so"])] {
        let text = std::fs::read_to_string(workspace().join(document)).expect("a readable document");
        let program = text.split("```c\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a program in the document");
        let source = folder.path().join("program.c");
        std::fs::write(&source, program).expect("a file");
        let mut cc = command("cc");
        cc.args(["-std=c11", "-Wall", "-Wextra", "-Werror"]).arg(&source).arg("-o").arg(folder.path().join("program"));
        let outcome = run(cc.args(flags.split_whitespace()), Duration::from_secs(60));
        assert_eq!(outcome.code, Some(0), "{document}: {}", outcome.stderr);
        let mut c = command(folder.path().join("program"));
        c.args(arguments).current_dir(folder.path()).env("LD_LIBRARY_PATH", prefix.join("lib"));
        let outcome = run(&mut c, Duration::from_secs(60));
        // It counts the words of an empty input.
        assert_eq!(outcome.code, Some(0), "{document}: {}", outcome.stderr);
    }
}
