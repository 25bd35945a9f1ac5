//! Programs that are kept here with their sources or their origin, on every tier: each folder of `tests/programs` named
//! below has a module, its input and `expected.txt`, what a native build of the same sources prints.

use std::time::Duration;
use wasmc_tests::{Tier, command, run, wasmc, workspace};

/// Runs a program's module with its folder as the guest's current one, on a tier; compares standard output.
fn check(name: &str, args: &[&str], tier: Tier) {
    let dir = workspace().join("tests/programs").join(name);
    let mut c = command(wasmc());
    c.current_dir(&dir).args(["run", "--dir", "."]);
    match tier {
        Tier::Interpreted => c.args(["--tier", "interpreted"]),
        Tier::Compiled => c.args(["--tier", "compiled"]),
        Tier::Mixed => c.args(["--tier", "compiled", "--interpret", "odd"]),
    };
    let o = run(c.arg(format!("{name}.wasm")).args(args), Duration::from_secs(120));
    assert_eq!(o.code, Some(0), "{name}: {tier:?}: {}", o.stderr);
    let expected = std::fs::read(dir.join("expected.txt")).expect("the expected output");
    assert!(!expected.is_empty(), "{name}: nothing to compare with");
    assert_eq!(String::from_utf8_lossy(&o.stdout), String::from_utf8_lossy(&expected), "{name}: {tier:?}");
}

/// Lua whose errors are legacy exceptions (`try`, `catch`, `rethrow`).
#[test]
fn lua_with_legacy_exceptions() {
    for tier in Tier::ALL {
        check("lua-legacy", &["errors.lua"], tier);
    }
}
