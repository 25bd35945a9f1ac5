//! Our own specification scripts: every `.wast` file below `tests/wast`, a folder a proposal, on every tier. They hold what
//! the suites of the specification leave out. To add one, drop a file there.

use std::path::{Path, PathBuf};
use std::time::Duration;
use wasmc_tests::{command, run, wasmc, workspace};

fn scripts(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.expect("an entry of the folder").path();
        if path.is_dir() {
            scripts(&path, found);
        } else if path.extension().is_some_and(|e| e == "wast") {
            found.push(path);
        }
    }
}

fn on_tier(tier: &str) {
    let root = workspace().join("tests/wast");
    let mut files = Vec::new();
    scripts(&root, &mut files);
    files.sort();
    assert!(files.len() >= 5, "only {} scripts below {}", files.len(), root.display());
    let mut problems = Vec::new();
    for file in files {
        let name = file.strip_prefix(&root).expect("a path below the root");
        let o = run(command(wasmc()).args(["wast", "--tier", tier]).arg(name).current_dir(&root), Duration::from_secs(120));
        let stdout = String::from_utf8_lossy(&o.stdout);
        let counts = stdout.lines().last().unwrap_or_default();
        // A script that passes nothing was not run.
        if o.code != Some(0) || !counts.ends_with(" passed, 0 failed") || counts.ends_with(" 0 passed, 0 failed") {
            problems.push(format!("exit code {:?}\n{stdout}{}", o.code, o.stderr));
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn interpreted() {
    on_tier("interpreted");
}

#[test]
fn compiled() {
    on_tier("compiled");
}

#[test]
fn mixed() {
    on_tier("mixed");
}

#[test]
fn auto() {
    on_tier("auto");
}
