//! Functions called by name: `--invoke` with the arguments of the command line, and `--call` as often as one likes, from the
//! command line or from standard input, on one instance, which keeps its state between the calls.

use crate::exit::{ExitCode, usage, with_code};
use crate::values;
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::io::{BufRead, Read, Write};
use wasmc_runtime::{Func, FuncType, Instance, Store, Val};

/// The longest line that is read as a call.
const MAX_LINE: u64 = 1 << 20;
/// As many functions as an error about a missing one lists.
const MAX_LISTED: usize = 20;

/// What is called instead of `_start`.
#[derive(Debug, Default, clap::Args)]
pub struct InvokeOpts {
    /// Call this exported function with the arguments, and print its results, one a line. `_initialize` is called first, if
    /// there is one.
    #[arg(long, value_name = "FUNCTION")]
    invoke: Option<String>,
    /// Call an exported function with arguments, as 'add 2 3', and print call and results in one line. May be given several
    /// times: the calls share one instance. `-` reads calls from standard input, one a line; # begins a comment.
    #[arg(long, value_name = "CALL", conflicts_with = "invoke", allow_hyphen_values = true)]
    call: Vec<String>,
}

impl InvokeOpts {
    /// Whether functions are called by name, rather than `_start`.
    pub fn wanted(&self) -> bool {
        self.invoke.is_some() || !self.call.is_empty()
    }

    /// Whether the arguments behind FILE are the function's and not the program's.
    pub fn takes_arguments(&self) -> bool {
        self.invoke.is_some()
    }

    /// Whether standard input is read for calls, so that the program must not read it.
    pub fn reads_stdin(&self) -> bool {
        self.call.iter().any(|c| c == "-")
    }

    /// Makes the calls.
    ///
    /// # Errors
    /// If a function does not exist, an argument does not fit its type, or a call fails; the error says which one.
    pub fn run<T>(&self, store: &mut Store<T>, instance: &Instance, args: &[OsString]) -> Result<()> {
        if let Some(name) = &self.invoke {
            let args = args.iter().map(|a| a.to_string_lossy().into_owned()).collect();
            let call = Call::new(store, instance, name, args).map_err(|e| at(format!("--invoke {name}"), &e))?;
            let lines = call.run(store)?.iter().map(|v| format!("{v}\n")).collect::<String>();
            return print(&lines);
        }
        // All of the command line is checked before any of it runs.
        let prepare = |(i, text): (usize, &String)| match text.as_str() {
            "-" => Ok(None),
            text => Call::parse(store, instance, text).map_err(|e| at(place("call", i + 1, text), &e)).map(Some),
        };
        let calls = self.call.iter().enumerate().map(prepare).collect::<Result<Vec<_>>>()?;
        for (i, (text, call)) in self.call.iter().zip(&calls).enumerate() {
            match call {
                Some(call) => call.run(store).with_context(|| place("call", i + 1, text)).and_then(|r| print(&call.line(&r)))?,
                None => from_stdin(store, instance)?,
            }
        }
        Ok(())
    }
}

fn place(what: &str, number: usize, text: &str) -> String {
    format!("{what} {number} (`{text}`)")
}

/// What is wrong with a call that was not made, in one line.
fn at(place: String, error: &anyhow::Error) -> anyhow::Error {
    with_code(ExitCode::of(error), format!("{place}: {error}"))
}

/// Calls what each line of standard input says, as it comes.
fn from_stdin<T>(store: &mut Store<T>, instance: &Instance) -> Result<()> {
    let mut input = std::io::stdin().lock();
    for number in 1.. {
        let mut line = Vec::new();
        let read = (&mut input).take(MAX_LINE + 1).read_until(b'\n', &mut line);
        let read = read.map_err(|e| with_code(ExitCode::NO_INPUT, format!("cannot read calls from standard input: {e}")))?;
        if read == 0 {
            break;
        }
        let bad = |what: &str| with_code(ExitCode::DATA, format!("line {number} of standard input {what}"));
        if line.len() as u64 > MAX_LINE {
            return Err(bad(&format!("is longer than {MAX_LINE} bytes")));
        }
        let text = String::from_utf8(line).map_err(|_| bad("is not UTF-8"))?;
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let line = || place("line", number, text);
        let call = Call::parse(store, instance, text).map_err(|e| at(line(), &e))?;
        let results = call.run(store).with_context(line)?;
        print(&call.line(&results))?;
    }
    Ok(())
}

/// A function with arguments of its types.
struct Call {
    func: Func,
    ty: FuncType,
    words: Vec<String>,
    args: Vec<Val>,
}

impl Call {
    /// From one text: a name and arguments, separated by spaces and quoted as in a shell.
    fn parse<T>(store: &mut Store<T>, instance: &Instance, text: &str) -> Result<Self> {
        let words = shlex::split(text).ok_or_else(|| usage("a quote is not closed"))?;
        match words.split_first() {
            Some((name, args)) => Self::new(store, instance, name, args.to_vec()),
            None => Err(usage("expected a function's name and its arguments")),
        }
    }

    fn new<T>(store: &mut Store<T>, instance: &Instance, name: &str, texts: Vec<String>) -> Result<Self> {
        let Some(func) = instance.get_func(&mut *store, name) else { return Err(missing(store, instance, name)) };
        let ty = func.ty(&*store);
        if ty.params.len() != texts.len() {
            return Err(usage(format!("the function has type {ty}, but {} arguments were given", texts.len())));
        }
        let mut args = Vec::new();
        for (i, (text, ty)) in texts.iter().zip(&ty.params).enumerate() {
            let wrong = |e| usage(format!("argument {} is `{text}`, not of type {}: {e}", i + 1, values::kind(ty)));
            args.push(values::parse(text, ty).map_err(wrong)?);
        }
        let words = std::iter::once(name.to_owned()).chain(texts).collect();
        Ok(Self { func, ty, words, args })
    }

    /// Calls the function; its results as they are printed.
    fn run<T>(&self, store: &mut Store<T>) -> Result<Vec<String>> {
        let mut results = vec![Val::I32(0); self.ty.results.len()];
        self.func.call(&mut *store, &self.args, &mut results)?;
        Ok(results.iter().map(values::show).collect())
    }

    /// The line that tells this call's results from those of others.
    fn line(&self, results: &[String]) -> String {
        let results = if results.is_empty() { "()".to_owned() } else { results.join(" ") };
        format!("{} -> {results}\n", self.words.join(" "))
    }
}

#[cold]
fn missing<T>(store: &mut Store<T>, instance: &Instance, name: &str) -> anyhow::Error {
    let module = instance.module(&*store);
    if let Some(other) = module.get_export(name) {
        return with_code(ExitCode::DATA, format!("`{name}` is exported, but it is a {other}, not a function"));
    }
    let functions: Vec<String> =
        module.exports().filter_map(|e| Some(format!("`{}` {}", e.name, e.ty.func()?))).take(MAX_LISTED + 1).collect();
    let known = match functions.as_slice() {
        [] => "the module exports no function".to_owned(),
        all if all.len() > MAX_LISTED => format!("there are {} and more", all[..MAX_LISTED].join(", ")),
        all => format!("there are {}", all.join(", ")),
    };
    with_code(ExitCode::DATA, format!("no function of that name is exported; {known}"))
}

/// Prints at once, so that the order is right between wasmc's lines and the program's.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|e| with_code(ExitCode::CANNOT_CREATE, format!("cannot print results: {e}")))
}
