//! Test programs in the form of the WASI test suite, on every tier: beside each `NAME.wasm` there may be a `NAME.json` that
//! says how to run it (`args`, `env`, `root`, `dirs`, `stdin`) and what to expect (`exit_code`, `stdout`, `stderr`). Each run
//! has its own copy of the folders that it names.

use rayon::prelude::*;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use wasmc_tests::{AUTO, Tier, command, run, shared, wasmc};

/// What the JSON file may hold. A key that is not here would change what the test means.
const KEYS: &[&str] = &["args", "env", "root", "dirs", "stdin", "exit_code", "stdout", "stderr"];

struct Case {
    wasm: PathBuf,
    spec: Value,
}

impl Case {
    fn read(wasm: PathBuf) -> Result<Self, String> {
        let spec = match std::fs::read_to_string(wasm.with_extension("json")) {
            Ok(text) => serde_json::from_str(&text).map_err(|e| format!("{}: {e}", wasm.display()))?,
            Err(_) => Value::Object(serde_json::Map::new()),
        };
        let unknown = spec.as_object().and_then(|keys| keys.keys().find(|key| !KEYS.contains(&key.as_str())));
        match unknown {
            Some(key) => Err(format!("{}: the runner does not know the key `{key}`", wasm.display())),
            None => Ok(Self { wasm, spec }),
        }
    }

    fn name(&self, tier: Tier) -> String {
        format!("{} {tier:?}", self.wasm.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned()))
    }

    fn strings(&self, key: &str) -> Vec<&str> {
        self.spec[key].as_array().map_or_else(Vec::new, |list| list.iter().filter_map(Value::as_str).collect())
    }

    /// The folders to preopen, each with its name for the program.
    fn folders(&self) -> Vec<(&str, &str)> {
        let root = self.spec["root"].as_str().map(|folder| (folder, "/"));
        root.into_iter().chain(self.strings("dirs").into_iter().map(|folder| (folder, folder))).collect()
    }

    fn run(&self, tier: Tier) -> Result<(), String> {
        let scratch = tempfile::tempdir().map_err(|e| e.to_string())?;
        let artifact = scratch.path().join("program.so");
        if !matches!(tier, Tier::Interpreted | Tier::Auto) {
            let mut compile = command(wasmc());
            compile.args(["compile", "-q", "-o"]).arg(&artifact).arg(&self.wasm);
            if tier == Tier::Mixed {
                compile.args(["--interpret", "odd"]);
            }
            let outcome = run(&mut compile, Duration::from_secs(120));
            if outcome.code != Some(0) {
                return Err(format!("compile: {:?}: {}", outcome.code, outcome.stderr));
            }
        }
        let mut c = command(wasmc());
        c.arg("run").current_dir(scratch.path());
        for (index, (folder, guest)) in self.folders().iter().enumerate() {
            let host = scratch.path().join(index.to_string());
            let from = self.wasm.parent().unwrap_or(Path::new("")).join(folder);
            copy(&from, &host).map_err(|e| format!("{}: {e}", from.display()))?;
            c.arg("--dir").arg(format!("{index}::{guest}"));
        }
        for (name, value) in self.spec["env"].as_object().into_iter().flatten() {
            c.arg("--env").arg(format!("{name}={}", value.as_str().unwrap_or_default()));
        }
        match tier {
            Tier::Interpreted => c.args(["--tier", "interpreted"]).arg(&self.wasm),
            Tier::Auto => c.args(AUTO).arg(&self.wasm),
            _ => c.arg(&artifact),
        };
        c.args(self.strings("args"));
        if let Some(stdin) = self.spec["stdin"].as_str() {
            let path = scratch.path().join("stdin");
            std::fs::write(&path, stdin).map_err(|e| e.to_string())?;
            c.stdin(Stdio::from(std::fs::File::open(path).map_err(|e| e.to_string())?));
        }
        let outcome = run(&mut c, Duration::from_secs(120));
        let code = self.spec["exit_code"].as_i64().unwrap_or(0);
        if outcome.code.map(i64::from) != Some(code) {
            return Err(format!("exit code {:?}, expected {code}\n{}", outcome.code, outcome.stderr));
        }
        for (stream, got) in [("stdout", String::from_utf8_lossy(&outcome.stdout)), ("stderr", outcome.stderr.as_str().into())] {
            if let Some(expected) = self.spec[stream].as_str()
                && got != expected
            {
                return Err(format!("{stream} is {got:?}, expected {expected:?}"));
            }
        }
        Ok(())
    }
}

/// Copies a folder with its folders, files and links; where there is none, the copy is empty.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir(to)?;
    if !from.is_dir() {
        return Ok(());
    }
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        match entry.file_type()? {
            kind if kind.is_dir() => copy(&entry.path(), &to)?,
            kind if kind.is_symlink() => std::os::unix::fs::symlink(std::fs::read_link(entry.path())?, &to)?,
            _ => drop(std::fs::copy(entry.path(), &to)?),
        }
    }
    Ok(())
}

fn programs(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            programs(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "wasm") {
            found.push(path);
        }
    }
}

#[test]
fn every_program_passes_on_every_tier() {
    let Some(folder) = shared("wasi-testsuite") else { return };
    let mut found = Vec::new();
    programs(&folder, &mut found);
    found.sort();
    assert!(!found.is_empty(), "{} holds no program", folder.display());
    let total = found.len();
    let failures: Vec<String> = found
        .into_par_iter()
        .flat_map(|wasm| match Case::read(wasm) {
            Ok(case) => {
                Tier::ALL.iter().filter_map(|tier| case.run(*tier).err().map(|error| format!("{}: {error}", case.name(*tier)))).collect()
            }
            Err(error) => vec![error],
        })
        .collect();
    println!("{total} programs on {} tiers, {} failures", Tier::ALL.len(), failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
