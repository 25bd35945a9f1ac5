//! The programs of the corpus: a program is a folder with `cmd.txt` (`key: value` lines, see the corpus's own README); it runs in
//! a copy of that folder.

#![allow(dead_code, reason = "each test file uses a part")]

use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use wasmc_tests::{AUTO, Outcome, Tier, command, run, run_within, wasmc};

/// A program of the corpus.
pub struct Program {
    /// Its folder, from the corpus's.
    pub name: String,
    folder: PathBuf,
    keys: HashMap<String, Vec<String>>,
}

impl Program {
    fn read(root: &Path, folder: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(folder.join("cmd.txt")).ok()?;
        let mut keys: HashMap<String, Vec<String>> = HashMap::new();
        for line in text.lines() {
            if let Some((key, value)) = line.split_once(':') {
                keys.entry(key.trim().to_owned()).or_default().push(value.trim().to_owned());
            }
        }
        let name = folder.strip_prefix(root).ok()?.display().to_string();
        Some(Self { name, folder: folder.to_owned(), keys })
    }

    fn all(&self, key: &str) -> &[String] {
        self.keys.get(key).map_or(&[], Vec::as_slice)
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.all(key).last().map(String::as_str)
    }

    fn wasm(&self) -> PathBuf {
        let own = format!("{}.wasm", self.folder.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned()));
        self.folder.join(self.get("wasm").unwrap_or(&own))
    }

    /// Runs it on a tier; it must print what is expected.
    pub fn run(&self, tier: Tier) -> Result<(), String> {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let here = dir.path().join("program");
        let limit = Duration::from_secs(240);
        let o = self.run_in(&here, tier, &[], &[], limit)?.ok_or_else(|| format!("did not end within {limit:?}"))?;
        let expected = std::fs::read(self.folder.join("expected.txt")).map_err(|e| e.to_string())?;
        let actual = self.output(&here, &o)?;
        if actual != expected {
            return Err(format!("output differs: {} bytes instead of {}", actual.len(), expected.len()));
        }
        Ok(())
    }

    /// Runs it on a tier with more options for `compile` and `run`; `None` if it does not end in time.
    pub fn try_run(&self, tier: Tier, compile: &[&str], run: &[&str], limit: Duration) -> Result<Option<Outcome>, String> {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        self.run_in(&dir.path().join("program"), tier, compile, run, limit)
    }

    fn run_in(&self, here: &Path, tier: Tier, compile: &[&str], run_options: &[&str], limit: Duration) -> Result<Option<Outcome>, String> {
        copy(&self.folder, here).map_err(|e| e.to_string())?;
        let mut c = command(wasmc());
        let so = here.with_extension("so");
        if !matches!(tier, Tier::Interpreted | Tier::Auto) {
            let mut command = command(wasmc());
            command.args(["compile", "-q", "-o"]).arg(&so).args(compile).arg(self.wasm());
            if tier == Tier::Mixed {
                command.args(["--interpret", "odd"]);
            }
            let o = run(&mut command, Duration::from_secs(300));
            if o.code != Some(0) {
                return Err(format!("compile: {:?}: {}", o.code, o.stderr));
            }
        }
        c.arg("run").args(run_options);
        for d in self.all("dir") {
            c.args(["--dir", d]);
        }
        for e in self.all("env") {
            c.args(["--env", e]);
        }
        match tier {
            Tier::Interpreted => c.args(["--tier", "interpreted"]).arg(self.wasm()),
            Tier::Auto => c.args(AUTO).arg(self.wasm()),
            _ => c.arg(&so),
        };
        c.args(shlex::split(self.get("args").unwrap_or("")).ok_or("bad quoting")?);
        for f in self.all("clean").iter().chain(self.all("out")) {
            let _ = std::fs::remove_file(here.join(f));
        }
        if let Some(stdin) = self.get("stdin") {
            c.stdin(Stdio::from(std::fs::File::open(here.join(stdin)).map_err(|e| e.to_string())?));
        }
        let Some(o) = run_within(c.current_dir(here), limit) else { return Ok(None) };
        let code = self.get("exit").map_or(Ok(0), str::parse).map_err(|_| "bad exit code")?;
        if o.code != Some(code) {
            return Err(format!("exit code {:?}: {}", o.code, o.stderr.chars().take(2000).collect::<String>()));
        }
        Ok(Some(o))
    }

    fn output(&self, here: &Path, o: &Outcome) -> Result<Vec<u8>, String> {
        let mut text = o.stdout.clone();
        for f in self.all("filter") {
            let input = here.join(".filter-input");
            std::fs::write(&input, &text).map_err(|e| e.to_string())?;
            let sed = Command::new("sed").args(["-E", f]).arg(&input).output().map_err(|e| e.to_string())?;
            text = sed.stdout;
        }
        if self.get("hash").is_some() {
            text = format!("stdout {} bytes sha256 {}\n", text.len(), hex(&text)).into_bytes();
        }
        if self.get("stderr").is_some() {
            text.extend_from_slice(o.stderr.as_bytes());
        }
        for f in self.all("out") {
            let digest = std::fs::read(here.join(f)).map_or_else(|_| "missing".to_owned(), |bytes| hex(&bytes));
            text.extend_from_slice(format!("# {f} sha256 {digest}\n").as_bytes());
        }
        Ok(text)
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else if entry.path().extension().is_none_or(|e| e != "wasm" && e != "native") {
            std::fs::copy(entry.path(), &target)?;
            // The corpus may be read-only; programs write to their files.
            let mut permissions = std::fs::metadata(&target)?.permissions();
            #[expect(clippy::permissions_set_readonly_false, reason = "a private copy in a temporary folder")]
            permissions.set_readonly(false);
            std::fs::set_permissions(&target, permissions)?;
        }
    }
    Ok(())
}

/// The programs below a folder, those whose wasm is there.
pub fn programs(root: &Path) -> Vec<Program> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let subfolders = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|e| e.path()).filter(|p| p.is_dir());
        folders.extend(subfolders);
        found.extend(Program::read(root, &folder));
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let (present, missing): (Vec<_>, Vec<_>) = found.into_iter().partition(|p| p.wasm().is_file());
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|p| p.name.as_str()).collect();
        println!("skipped, their wasm is not there: {}", names.join(" "));
    }
    present
}
