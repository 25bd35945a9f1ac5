//! Command-line cases as dropped-in files: `cases/cli/*.case`. A line is one of
//!
//! ```text
//! # a comment
//! == NAME          a file follows, up to the next line that begins with a mark and a space
//! $ wasmc ARGS     runs wasmc in the case's own folder, which holds the files
//! ? CODE           the exit code that the last command must have had (0 if no such line follows)
//! > TEXT           the next line of its standard output
//! ! TEXT           a line that its standard error must contain, in this order
//! ```
//!
//! `[..]` in an expected line stands for anything. Standard output must match whole, standard error in part. In all lines, `{foreign}`
//! stands for a target that is not the tested wasmc's own, and `{soon}` for a time in which a small program starts but does not end.

use std::path::Path;
use std::time::Duration;
use wasmc_tests::{Outcome, command, is_emulated, run, targets, wasmc, workspace};

fn matches(pattern: &str, line: &str) -> bool {
    let parts: Vec<_> = pattern.split("[..]").collect();
    let [first, middle @ .., last] = parts.as_slice() else { return pattern == line };
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

struct Expected {
    line: usize,
    command: String,
    code: i32,
    stdout: Vec<String>,
    stderr: Vec<String>,
}

fn check(e: &Expected, o: &Outcome) -> Result<(), String> {
    let fail = |what: String| {
        Err(format!("line {}: $ {}: {what}\nstdout:\n{}\nstderr:\n{}", e.line, e.command, String::from_utf8_lossy(&o.stdout), o.stderr))
    };
    if o.code != Some(e.code) {
        return fail(format!("exit code {:?}, expected {}", o.code, e.code));
    }
    let stdout = String::from_utf8_lossy(&o.stdout).into_owned();
    let lines: Vec<_> = stdout.lines().collect();
    if lines.len() != e.stdout.len() || lines.iter().zip(&e.stdout).any(|(l, p)| !matches(p, l)) {
        return fail(format!("standard output differs from\n{}", e.stdout.join("\n")));
    }
    let mut rest = o.stderr.lines();
    for pattern in &e.stderr {
        if !rest.by_ref().any(|l| matches(pattern, l)) {
            return fail(format!("standard error lacks: {pattern}"));
        }
    }
    Ok(())
}

fn run_case(path: &Path) -> Result<usize, String> {
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let text = text.replace("{foreign}", targets()[1]).replace("{soon}", if is_emulated() { "800ms" } else { "50ms" });
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let mut expected: Vec<Expected> = Vec::new();
    let mut file: Option<(String, String)> = None;
    let write = |file: Option<(String, String)>| match file {
        Some((name, text)) => std::fs::write(dir.path().join(name), text).map_err(|e| e.to_string()),
        None => Ok(()),
    };
    for (number, line) in text.lines().enumerate() {
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        let marked = matches!(mark, "#" | "==" | "$" | "?" | ">" | "!");
        if marked {
            write(file.take())?;
        }
        let last = expected.last_mut().ok_or_else(|| format!("line {}: no command yet", number + 1));
        match mark {
            "#" => {}
            "==" => file = Some((rest.to_owned(), String::new())),
            "$" => expected.push(Expected { line: number + 1, command: rest.to_owned(), code: 0, stdout: vec![], stderr: vec![] }),
            "?" => last?.code = rest.parse().map_err(|_| format!("line {}: no code", number + 1))?,
            ">" => last?.stdout.push(rest.to_owned()),
            "!" => last?.stderr.push(rest.to_owned()),
            _ => match &mut file {
                Some((_, text)) => {
                    text.push_str(line);
                    text.push('\n');
                }
                None if line.is_empty() => {}
                None => return Err(format!("line {}: what is this?", number + 1)),
            },
        }
    }
    write(file)?;
    if expected.is_empty() {
        return Err("no command".into());
    }
    for e in &expected {
        let words = shlex::split(&e.command).ok_or("bad quoting")?;
        let Some(("wasmc", args)) = words.split_first().map(|(f, r)| (f.as_str(), r)) else { return Err("only wasmc can be run".into()) };
        let outcome = run(command(wasmc()).args(args).current_dir(dir.path()).env("NO_COLOR", "1"), Duration::from_secs(60));
        check(e, &outcome)?;
    }
    Ok(expected.len())
}

#[test]
fn cases() {
    let mut failures = Vec::new();
    let (mut files, mut commands) = (0, 0);
    let folder = workspace().join("tests/cases/cli");
    let mut paths: Vec<_> = std::fs::read_dir(folder).expect("the cases").flatten().map(|e| e.path()).collect();
    paths.sort();
    for path in paths.iter().filter(|p| p.extension().is_some_and(|e| e == "case")) {
        files += 1;
        match run_case(path) {
            Ok(n) => commands += n,
            Err(e) => failures.push(format!("{}: {e}", path.display())),
        }
    }
    println!("{files} cases, {commands} commands");
    assert!(files > 0, "no case found");
    assert!(failures.is_empty(), "\n{}", failures.join("\n\n"));
}
