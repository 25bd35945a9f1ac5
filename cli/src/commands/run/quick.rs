//! Reads the usual command lines of `wasmc run` without building the parser: the descriptions of a hundred options, most of them of
//! other commands, would take a fifth of the time and a third of the memory of a program that says hello. What is not understood
//! here is left to the parser, errors included.

use super::{Opts, auto, profile, trace};
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use wasmc_wasi::DEFAULT_MAX_THREADS;

impl Default for Opts {
    fn default() -> Self {
        Self {
            program: Vec::new(),
            file: PathBuf::new(),
            args: Vec::new(),
            dir: Vec::new(),
            env: Vec::new(),
            tcplisten: Vec::new(),
            net: Vec::new(),
            limits: crate::limits::LimitOpts::default(),
            deterministic: None,
            trace: trace::TraceOpts::default(),
            cache: crate::cache::CacheOpts::default(),
            argv0: None,
            invoke: crate::invoke::InvokeOpts::default(),
            modules: super::ModuleOpts::default(),
            tier: None,
            interpret: Vec::new(),
            wasm: Vec::new(),
            threads: false,
            max_threads: DEFAULT_MAX_THREADS,
            timeout: crate::timeout::TimeoutOpts::default(),
            trust_artifacts: false,
            profile: profile::ProfileOpts::default(),
            coredump: crate::coredump::CoreDumpOpts::default(),
            meter: crate::meter::RunOpts::default(),
            spectre: crate::spectre::SpectreOpts::default(),
            auto: auto::AutoOpts::default(),
        }
    }
}

/// The options of `wasmc run`, if the words are that command with nothing but folders and environment variables before the file.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Option<Opts> {
    let mut words = words.into_iter().skip(1);
    if words.next()? != "run" {
        return None;
    }
    let mut opts = Opts::default();
    loop {
        let word = words.next()?;
        if !word.as_encoded_bytes().starts_with(b"-") {
            if word.is_empty() {
                return None;
            }
            opts.program.push(word);
            opts.program.extend(words);
            return Some(opts);
        }
        let word = word.into_string().ok()?;
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            // What begins as an option is not taken for a value.
            None => (&*word, words.next()?.into_string().ok().filter(|value| !value.starts_with('-'))?),
        };
        match name {
            "--dir" => push(&mut opts.dir, &value)?,
            "--env" => push(&mut opts.env, &value)?,
            _ => return None,
        }
    }
}

fn push<T: FromStr>(list: &mut Vec<T>, value: &str) -> Option<()> {
    list.push(value.parse().ok()?);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cli, Command};
    use clap::Parser;

    /// What the parser makes of a line; `None` for an error and for another command.
    fn parser(line: &[&str]) -> Option<Opts> {
        match Cli::try_parse_from(line).ok()? {
            Cli { command: Command::Run(opts), quiet: false, verbose: false } => Some(*opts),
            _ => None,
        }
    }

    #[test]
    fn what_is_read_quickly_is_what_the_parser_reads() {
        let lines: &[(bool, &str)] = &[
            (true, "run a.so"),
            (true, "run a.so --dir b -x -- --help é"),
            (true, "run --dir . a.so"),
            (true, "run --dir=. --dir x::/y --dir z:ro --env A=B --env=C=D=E a.so 1 2"),
            (true, "run --env A= a.so --env"),
            (true, "run --dir = a.so"),
            (true, "run run run"),
            (true, "run a=b"),
            (false, "run"),
            (false, "run --dir"),
            (false, "run --dir ."),
            (false, "run --dir= a.so"),
            (false, "run --dir :: a.so"),
            (false, "run --dir --env a.so"),
            (false, "run --dir -x a.so"),
            (false, "run --env =x a.so"),
            (false, "run --env WASMC_NOT_SET_AT_ALL a.so"),
            (false, "run -- a.so"),
            (false, "run --dir . -- a.so -x"),
            (false, "run - a"),
            (false, "run -q a.so"),
            (false, "run --help"),
            (false, "run --threads a.so"),
            (false, "run --di . a.so"),
            (false, "-v run a.so"),
            (false, "compile a.so"),
            (false, ""),
        ];
        for (quick, line) in lines {
            let words: Vec<&str> = ["wasmc"].into_iter().chain(line.split_whitespace()).collect();
            let read = parse(words.iter().map(OsString::from));
            assert_eq!(read.is_some(), *quick, "{line}");
            if let Some(read) = read {
                let expected = parser(&words).map(|opts| format!("{opts:?}"));
                assert_eq!(Some(format!("{read:?}")), expected, "{line}");
            }
        }
        // A word without characters is a file to the parser, whose name it explains; and one that is no text is a file's.
        assert!(parse(["wasmc", "run", ""].map(OsString::from)).is_none());
    }

    #[test]
    fn whatever_is_read_quickly_is_read_the_same() {
        // Three words of these in any order.
        let words = ["--dir", "--dir=a", "--env", "--env=A=b", "a", "-", "--", "", "=", "-x", "--dir=-x", "--env=", "a::b", "A=-"];
        for first in words {
            for second in words {
                for third in words {
                    let line = ["wasmc", "run", first, second, third];
                    if let Some(read) = parse(line.map(OsString::from)) {
                        assert_eq!(Some(format!("{read:?}")), parser(&line).map(|opts| format!("{opts:?}")), "{line:?}");
                    }
                }
            }
        }
    }
}
