//! Programs that are kept here with their sources or their origin, on every tier: each folder of `tests/programs` named
//! below has a module, its input and `expected.txt`, what a native build of the same sources prints.

use std::time::Duration;
use wasmc_tests::{AUTO, Outcome, Tier, command, run, wasmc, workspace};

/// Runs a program's module with its folder as the guest's current one, on a tier.
fn run_program(name: &str, options: &[&str], args: &[&str], tier: Tier) -> Outcome {
    let dir = workspace().join("tests/programs").join(name);
    let mut c = command(wasmc());
    c.current_dir(&dir).args(["run", "--dir", "."]).args(options);
    match tier {
        Tier::Interpreted => c.args(["--tier", "interpreted"]),
        Tier::Compiled => c.args(["--tier", "compiled"]),
        Tier::Mixed => c.args(["--tier", "compiled", "--interpret", "odd"]),
        Tier::Auto => c.args(AUTO),
    };
    run(c.arg(format!("{name}.wasm")).args(args), Duration::from_secs(120))
}

/// The same, and compares standard output.
fn check(name: &str, options: &[&str], args: &[&str], tier: Tier) {
    let o = run_program(name, options, args, tier);
    assert_eq!(o.code, Some(0), "{name}: {tier:?}: {}", o.stderr);
    let expected = std::fs::read(workspace().join("tests/programs").join(name).join("expected.txt")).expect("the expected output");
    assert!(!expected.is_empty(), "{name}: nothing to compare with");
    assert_eq!(String::from_utf8_lossy(&o.stdout), String::from_utf8_lossy(&expected), "{name}: {tier:?}");
}

/// Lua whose errors are legacy exceptions (`try`, `catch`, `rethrow`).
#[test]
fn lua_with_legacy_exceptions() {
    for tier in Tier::ALL {
        check("lua-legacy", &[], &["errors.lua"], tier);
    }
}

/// POSIX threads of C and threads of Rust's standard library.
#[test]
fn threads() {
    for tier in Tier::ALL {
        check("threads-c", &["--threads"], &[], tier);
        check("threads-rust", &["--threads"], &[], tier);
    }
}

/// A program ends when its first thread returns, or any thread traps or exits, whatever the others do.
#[test]
fn threads_end_together() {
    for tier in Tier::ALL {
        let run = |name, arg| run_program(name, &["--threads"], &[arg], tier);
        let text = |o: &Outcome| String::from_utf8_lossy(&o.stdout).into_owned();
        for name in ["threads-c", "threads-rust"] {
            let o = run(name, "trap");
            assert_eq!(o.code, Some(134), "{name}: {tier:?}: {}", o.stderr);
            assert!(o.stderr.contains("wasm trap: unreachable") && o.stderr.matches("trap:").count() == 2, "{}", o.stderr);
        }
        let o = run("threads-rust", "exit");
        assert_eq!((o.code, text(&o).as_str(), o.stderr.as_str()), (Some(42), "before\n", ""), "{tier:?}");
        let o = run("threads-rust", "main");
        assert_eq!((o.code, text(&o).as_str(), o.stderr.as_str()), (Some(0), "main returns\n", ""), "{tier:?}");
    }
}

/// No threads without the grant, and no more than are granted.
#[test]
fn threads_are_granted() {
    let o = run_program("threads-rust", &[], &[], Tier::Compiled);
    assert_eq!(o.code, Some(69), "{}", o.stderr);
    assert!(o.stderr.contains("`wasi`.`thread-spawn`") && o.stderr.contains("--threads"), "{}", o.stderr);
    for limit in ["1", "9"] {
        let o = run_program("threads-rust", &["--threads", "--max-threads", limit], &["many"], Tier::Compiled);
        assert_eq!(String::from_utf8_lossy(&o.stdout), format!("{limit} threads, then WouldBlock\n"), "{}", o.stderr);
    }
    let o = run_program("threads-rust", &["--max-threads", "9"], &["many"], Tier::Compiled);
    assert_eq!(o.code, Some(64), "{}", o.stderr);
    let o = run_program("threads-rust", &["--threads", "-W", "shared-memory=n"], &[], Tier::Compiled);
    assert_eq!(o.code, Some(64), "{}", o.stderr);
}
