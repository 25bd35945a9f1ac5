//! What every command has in common: help with examples that work, completions and manual pages made of the same options, colours
//! only where they are wanted, quiet and verbose; and that the documents' tables of codes are those of the source.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::fd::FromRawFd;
use std::process::{Command, Stdio};
use std::time::Duration;
use wasmc_environ::TrapCode;
use wasmc_tests::{Outcome, command, run, wasmc, workspace};

fn wasmc_run(args: &[&str]) -> Outcome {
    run(command(wasmc()).args(args).env("NO_COLOR", "1"), Duration::from_secs(60))
}

fn help(path: &[&str]) -> String {
    let outcome = wasmc_run(&[path, &["--help"]].concat());
    assert_eq!(outcome.code, Some(0), "{path:?}: {}", outcome.stderr);
    String::from_utf8(outcome.stdout).unwrap()
}

/// The commands in a help text.
fn subcommands(text: &str) -> Vec<String> {
    let Some((_, list)) = text.split_once("\nCommands:\n") else { return vec![] };
    let names = list.lines().take_while(|l| !l.is_empty()).filter(|l| l.starts_with("  ") && !l.starts_with("   "));
    names.filter_map(|l| l.split_whitespace().next()).filter(|n| *n != "help").map(str::to_owned).collect()
}

/// All commands, with those inside others.
fn commands() -> Vec<Vec<String>> {
    let mut found = vec![vec![]];
    let mut next = 0;
    while next < found.len() {
        let path: Vec<String> = found[next].clone();
        let text = help(&path.iter().map(String::as_str).collect::<Vec<_>>());
        for name in subcommands(&text) {
            found.push([&path[..], &[name]].concat());
        }
        next += 1;
    }
    assert!(found.len() > 9, "{found:?}");
    found
}

#[test]
fn every_command_has_examples_with_options_that_exist() {
    let all = commands();
    let mut checked = 0;
    for path in &all {
        let text = help(&path.iter().map(String::as_str).collect::<Vec<_>>());
        let (_, examples) = text.split_once("\nExamples:\n").unwrap_or_else(|| panic!("{path:?}: no examples in\n{text}"));
        let lines: Vec<_> = examples.lines().take_while(|l| !l.is_empty()).collect();
        assert!(!lines.is_empty(), "{path:?}");
        for line in lines {
            // What comes behind two spaces is an explanation.
            let example = line.trim_start().split("  ").next().unwrap();
            for part in example.split(['|', '&', ';']).map(str::trim).filter(|p| p.contains("wasmc ")) {
                let words = shlex::split(part).unwrap_or_else(|| panic!("{line}"));
                let start = words.iter().position(|w| w == "wasmc").unwrap_or_else(|| panic!("{line}"));
                let words: Vec<&str> = words[start + 1..].iter().map(String::as_str).take_while(|w| *w != ">").collect();
                let named: Vec<&str> = words.iter().copied().filter(|w| !w.starts_with('-')).collect();
                let longest =
                    (0..=named.len()).rev().find(|n| all.iter().any(|c| c.iter().map(String::as_str).eq(named[..*n].iter().copied())));
                let of = &named[..longest.unwrap()];
                assert!(!of.is_empty(), "{line}: which command?");
                let known = help(of);
                for option in words.iter().filter(|w| w.starts_with('-') && w.len() > 1) {
                    let option = option.split('=').next().unwrap();
                    let exists = known.split(|c: char| c.is_whitespace() || matches!(c, ',' | '[' | '=' | '<')).any(|w| w == option);
                    assert!(exists, "{line}: `wasmc {}` has no option {option}", of.join(" "));
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 20, "{checked}");
}

/// The long options in a help text.
fn options(text: &str) -> BTreeSet<String> {
    let lines = text.lines().map(str::trim_start).filter(|l| l.starts_with('-'));
    let words = lines.flat_map(|l| l.split([' ', ',', '[', '=', '<'])).filter(|w| w.starts_with("--") && w.len() > 2);
    words.map(str::to_owned).collect()
}

#[test]
fn completions_know_every_command_and_option() {
    let shells = ["bash", "zsh", "fish", "elvish", "powershell"];
    let scripts = shells.map(|shell| {
        let outcome = wasmc_run(&["completions", shell]);
        assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""));
        String::from_utf8(outcome.stdout).unwrap()
    });
    for path in commands() {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        for (shell, script) in shells.iter().zip(&scripts) {
            for word in path.iter().copied().map(str::to_owned).chain(options(&help(&path))) {
                // fish names long options without their dashes.
                let word = if *shell == "fish" { word.trim_start_matches('-') } else { &word };
                assert!(script.contains(word), "{shell}: {path:?} {word}");
            }
        }
    }
    assert_eq!(wasmc_run(&["completions", "csh"]).code, Some(64));
    // The shell itself has the last word.
    let script = "eval \"$(\"$0\" completions bash)\"; COMP_WORDS=(wasmc ru); COMP_CWORD=1; _wasmc wasmc ru wasmc; echo \"${COMPREPLY[*]}\"; \
                  COMP_WORDS=(wasmc run --trace-t); COMP_CWORD=2; _wasmc wasmc --trace-t run; echo \"${COMPREPLY[*]}\"";
    let Ok(output) = Command::new("bash").args(["-c", script]).arg(wasmc()).output() else {
        eprintln!("skipped: there is no bash");
        return;
    };
    assert_eq!(String::from_utf8_lossy(&output.stdout), "run\n--trace-times\n", "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn manual_pages_for_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("man/man1");
    let outcome = wasmc_run(&["-q", "man", folder.to_str().unwrap()]);
    assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""));
    let all = commands();
    for path in &all {
        let name = ["wasmc"].into_iter().chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join("-");
        let page = folder.join(format!("{name}.1"));
        let text = fs::read_to_string(&page).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
        for section in ["NAME", "SYNOPSIS", "OPTIONS"] {
            assert!(text.contains(&format!(".SH {section}")), "{name}: {section}");
        }
        assert!(text.contains("Examples:"), "{name}");
        let plain = text.replace("\\-", "-");
        for option in options(&help(&path.iter().map(String::as_str).collect::<Vec<_>>())) {
            assert!(plain.contains(&option), "{name}: {option}");
        }
        // Warnings of the formatter are on its standard error.
        match Command::new("groff").args(["-man", "-Tutf8", "-ww", "-z"]).arg(&page).output() {
            Ok(output) => {
                assert!(output.status.success() && output.stderr.is_empty(), "{name}: {}", String::from_utf8_lossy(&output.stderr))
            }
            Err(_) => eprintln!("skipped: there is no groff"),
        }
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), all.len());
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert_eq!(wasmc_run(&["man", file.to_str().unwrap()]).code, Some(73));
}

/// Takes away what decides about colours in the environment of whoever runs the tests: CI among them, which counts as a terminal
/// with colours whatever TERM says.
fn plain(c: &mut Command) -> &mut Command {
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
        c.env_remove(name);
    }
    c
}

/// Runs a command with its output on a terminal.
fn on_terminal(args: &[&str], variables: &[(&str, &str)]) -> String {
    let (mut parent, mut child) = (0, 0);
    // SAFETY: the two places are this function's own; nothing else is asked for.
    let opened = unsafe { libc::openpty(&mut parent, &mut child, std::ptr::null_mut(), std::ptr::null(), std::ptr::null()) };
    assert_eq!(opened, 0);
    // SAFETY: both were just opened, and nobody else has them.
    let (mut parent, child) = unsafe { (fs::File::from_raw_fd(parent), fs::File::from_raw_fd(child)) };
    let mut c = command(wasmc());
    plain(&mut c);
    c.env("TERM", "xterm-256color").envs(variables.iter().copied()).args(args);
    let mut process = c.stdout(Stdio::from(child.try_clone().unwrap())).stderr(Stdio::from(child)).spawn().unwrap();
    drop(c);
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // The end is an error on a terminal.
        let _ = parent.read_to_end(&mut bytes);
        bytes
    });
    process.wait().unwrap();
    String::from_utf8_lossy(&reader.join().unwrap()).into_owned()
}

#[test]
fn colours_where_they_are_wanted() {
    let bad = ["run", "does-not-exist"];
    for args in [&["--help"][..], &["run", "--help"], &bad, &["run"]] {
        let coloured = |text: &str| text.contains('\x1b');
        assert!(coloured(&on_terminal(args, &[])), "{args:?} on a terminal");
        assert!(!coloured(&on_terminal(args, &[("NO_COLOR", "1")])), "{args:?} with NO_COLOR");
        assert!(!coloured(&on_terminal(args, &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")])), "{args:?} with both");
        assert!(!coloured(&on_terminal(args, &[("TERM", "dumb")])), "{args:?} on a dumb terminal");
        let piped = |variables: &[(&str, &str)]| {
            let mut c = command(wasmc());
            plain(&mut c).envs(variables.iter().copied()).args(args);
            let outcome = run(&mut c, Duration::from_secs(60));
            String::from_utf8_lossy(&outcome.stdout).into_owned() + &outcome.stderr
        };
        assert!(!coloured(&piped(&[])), "{args:?} in a file");
        assert!(coloured(&piped(&[("CLICOLOR_FORCE", "1")])), "{args:?} with CLICOLOR_FORCE");
    }
}

#[test]
fn quiet_and_verbose() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.wat");
    fs::write(&file, "(module (func (export \"_start\") (if (i32.const 0) (then unreachable))) (func (export \"t\") unreachable))")
        .unwrap();
    let (file, out) = (file.to_str().unwrap(), dir.path().join("m.so"));
    let out = out.to_str().unwrap();
    let compile = ["compile", file, "-o", out];
    let said = |before: &[&str], after: &[&str], args: &[&str]| {
        let outcome = wasmc_run(&[before, args, after].concat());
        (outcome.code.unwrap(), outcome.stderr)
    };
    let (code, normal) = said(&[], &[], &compile);
    assert!(code == 0 && normal.starts_with("done: "), "{normal}");
    // Before the command and behind it, short and long.
    for (before, after) in [(&["-q"][..], &[][..]), (&["--quiet"], &[]), (&[], &["-q"]), (&[], &["--quiet"])] {
        assert_eq!(said(before, after, &compile), (0, String::new()));
        assert_eq!(said(before, &[], &["run", out]), (0, String::new()));
    }
    assert!(said(&[], &[], &["run", "--trace", "calls", out]).1.contains("note: "));
    assert!(!said(&["-q"], &[], &["run", "--trace", "calls", out]).1.contains("note: "));
    // Errors and traps stay.
    let (code, trap) = said(&["-q"], &[], &["run", "--invoke", "t", out]);
    assert!(code == 134 && trap.contains("trap: "), "{trap}");
    let (code, error) = said(&["-q"], &[], &["run", "nothing.wasm"]);
    assert!(code == 66 && error.starts_with("error: "), "{error}");
    // What is behind the file is the program's.
    assert_eq!(said(&[], &["-q", "--verbose"], &["run", out]), (0, String::new()));
    let (code, verbose) = said(&["-v"], &[], &["run", file]);
    assert!(code == 0 && verbose.contains("wasmc: no cache: WASMC_CACHE_SIZE is 0"), "{verbose}");
    assert_eq!(said(&["-q", "-v"], &[], &compile).0, 64);
}

fn document(name: &str) -> String {
    fs::read_to_string(workspace().join(name)).unwrap()
}

/// The cells of the tables in a document, row by row.
fn rows(text: &str) -> Vec<Vec<String>> {
    let cells = |l: &str| l.trim_matches('|').split('|').map(|c| c.trim().to_owned()).collect();
    text.lines().filter(|l| l.starts_with('|') && !l.starts_with("|---")).map(cells).collect()
}

/// The variants of an enum in a source file.
fn variants(file: &str, name: &str) -> Vec<String> {
    let text = document(file);
    let (_, body) = text.split_once(&format!("pub enum {name} {{\n")).unwrap_or_else(|| panic!("{file} has no {name}"));
    let body = body.split("\n}\n").next().unwrap();
    let first = body.lines().filter(|l| l.starts_with("    ") && l.as_bytes().get(4).is_some_and(u8::is_ascii_uppercase));
    first.map(|l| l.trim().split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned()).collect()
}

#[test]
fn the_tables_of_codes_are_complete() {
    let errors = document("docs/errors.md");
    let table = rows(&errors);
    let has = |cells: &[String]| table.iter().any(|row| row.starts_with(cells));
    for code in TrapCode::ALL {
        assert!(has(&[(*code as u8).to_string(), format!("`{}`", code.message())]), "trap {}: {code}", *code as u8);
    }
    let traps = table.iter().filter(|r| r.len() == 4 && r[0].parse::<u8>().is_ok() && r[1].chars().any(char::is_lowercase));
    assert_eq!(traps.count(), TrapCode::ALL.len(), "a trap too many");
    for (file, name) in [
        ("runtime/src/artifact/mod.rs", "ArtifactErrorKind"),
        ("runtime/environ/src/error.rs", "DecodeErrorKind"),
        ("runtime/environ/src/jit.rs", "CompileError"),
    ] {
        let known = variants(file, name);
        assert!(known.len() >= 3, "{name}");
        let (_, section) = errors.split_once(&format!("\n`{name}`")).unwrap_or_else(|| panic!("no section for {name}"));
        let listed: BTreeSet<_> = rows(section.split("\n## ").next().unwrap()).into_iter().skip(1).map(|r| r[0].clone()).collect();
        assert_eq!(listed, known.iter().map(|v| format!("`{v}`")).collect(), "{name}");
    }
    // The exit codes are in three places.
    let source = document("cli/src/exit.rs");
    let codes: Vec<(&str, &str)> =
        source.lines().filter_map(|l| l.trim().strip_prefix("pub const ")?.strip_suffix(");")?.split_once(": Self = Self(")).collect();
    assert!(codes.len() >= 9, "{codes:?}");
    let (readme, top) = (document("README.md"), help(&[]));
    for (name, code) in codes {
        assert!(has(&[code.to_owned(), format!("`{name}`")]), "docs/errors.md: {code} {name}");
        if code != "0" {
            assert!(readme.contains(&format!("\n| {code} | ")), "README.md: {code}");
            assert!(top.contains(&format!("{code} ")), "wasmc --help: {code}");
        }
    }
}
