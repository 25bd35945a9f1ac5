//! Specification scripts: parses a `.wast` file and runs its directives against the embedding interface. A directive
//! either passes, fails with a message, or belongs to something that wasmc does not have; then it fails too, so that nothing
//! is skipped in silence. Each module gets the store of its script; a fresh store is made for each script.

mod spectest;
mod thread;
mod values;

use anyhow::{Context, Result, anyhow, bail};
use std::collections::HashMap;
use std::sync::Arc;
use thread::Threads;
use wasmc_environ::diagnose::malformed;
use wasmc_environ::features::Features;
use wasmc_environ::jit::{CompileError, Interpret};
use wasmc_environ::{DecodeError, DecodeErrorKind};
use wasmc_runtime::{Config, Engine, IncompatibleImport, Instance, Linker, Module, Store, ThrownException, Trap, UnknownImport, Val};
use wast::core::WastArgCore;
use wast::lexer::Lexer;
use wast::parser::{self, ParseBuffer};
use wast::{QuoteWat, QuoteWatTest, Wast, WastArg, WastDirective, WastExecute, WastInvoke, WastRet, Wat};

/// The tier that runs a script.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Tier {
    Interpreted,
    Compiled,
    Mixed,
    Auto,
}

impl core::fmt::Display for Tier {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Interpreted => "interpreted",
            Self::Compiled => "compiled",
            Self::Mixed => "mixed",
            Self::Auto => "auto",
        })
    }
}

/// How many directives passed and failed.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: usize,
    pub failed: usize,
}

impl Counts {
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl core::fmt::Display for Counts {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// Runs a script with these proposals; `report` gets the line (from 1) and message of each failing directive.
pub fn run_script(tier: Tier, features: &Features, source: &[u8], report: &mut dyn FnMut(usize, String)) -> Counts {
    let mut counts = Counts::default();
    let mut fail = |line: usize, message: String| {
        report(line, message);
        counts.failed += 1;
    };
    let Ok(text) = std::str::from_utf8(source) else {
        fail(1, "the script is not UTF-8".into());
        return counts;
    };
    let mut lexer = Lexer::new(text);
    lexer.allow_confusing_unicode(true);
    let parsed = ParseBuffer::new_with_lexer(lexer);
    let buffer = match parsed {
        Ok(b) => b,
        Err(e) => {
            fail(e.span().linecol_in(text).0 + 1, e.message());
            return counts;
        }
    };
    let script = match parser::parse::<Wast<'_>>(&buffer) {
        Ok(s) => s,
        Err(e) => {
            fail(e.span().linecol_in(text).0 + 1, e.message());
            return counts;
        }
    };
    let mut outcome = Report::default();
    std::thread::scope(|scope| {
        let runner = engine(tier, features).and_then(|engine| Runner::new(tier, features.clone(), engine, text, Threads::new(scope)));
        match runner {
            Ok(mut runner) => runner.run(script.directives, &mut outcome),
            Err(e) => outcome.fail(1, format!("{e:#}")),
        }
    });
    for (line, message) in outcome.failures {
        report(line, message);
    }
    outcome.counts
}

/// What running directives came to.
#[derive(Debug, Default)]
struct Report {
    counts: Counts,
    /// Line (from 1) and message of each directive that failed.
    failures: Vec<(usize, String)>,
}

fn engine(tier: Tier, features: &Features) -> Result<Engine> {
    let config = Config::new().features(features.clone()).compiler(Arc::new(wasmc_compiler::Jit::default()));
    Engine::new(match tier {
        Tier::Interpreted => config.tier(wasmc_runtime::Tier::Interpreted),
        Tier::Compiled => config.tier(wasmc_runtime::Tier::Compiled),
        Tier::Mixed => config.tier(wasmc_runtime::Tier::Compiled).interpret(vec![Interpret::Odd]),
        Tier::Auto => config.tier(wasmc_runtime::Tier::Auto).compile_after(1, true),
    })
}

/// What an invocation came to.
enum Outcome {
    Values(Vec<Val>),
    Error(anyhow::Error),
}

/// A thread of a script, with its own store.
struct Runner<'scope, 'env> {
    tier: Tier,
    features: Features,
    engine: Engine,
    /// The whole script, for the lines of directives.
    text: &'env str,
    store: Store<()>,
    linker: Linker<()>,
    /// The last instance.
    current: Option<Instance>,
    named: HashMap<String, Instance>,
    definitions: HashMap<Option<String>, Module>,
    threads: Threads<'scope, 'env>,
}

impl<'scope, 'env> Runner<'scope, 'env> {
    fn new(tier: Tier, features: Features, engine: Engine, text: &'env str, threads: Threads<'scope, 'env>) -> Result<Self> {
        let mut store = Store::new(&engine, ());
        let mut linker = Linker::new(&engine);
        linker.allow_shadowing(true);
        spectest::define(&mut linker, &mut store)?;
        let (current, named, definitions) = (None, HashMap::new(), HashMap::new());
        Ok(Self { tier, features, engine, text, store, linker, current, named, definitions, threads })
    }

    /// Runs directives, and waits for the threads that they start.
    fn run(&mut self, directives: Vec<WastDirective<'env>>, report: &mut Report) {
        for directive in directives {
            let line = directive.span().linecol_in(self.text).0 + 1;
            let result = match directive {
                WastDirective::Thread(thread) => self.thread(thread),
                WastDirective::Wait { thread, .. } => self.wait(thread.name(), report),
                other => self.directive(other),
            };
            match result {
                Ok(()) => report.counts.passed += 1,
                Err(e) => report.fail(line, format!("{e:#}")),
            }
        }
        self.wait_for_all(report);
    }

    fn directive(&mut self, directive: WastDirective<'_>) -> Result<()> {
        match directive {
            WastDirective::Module(mut wat) => {
                let name = wat.name().map(|id| id.name().to_owned());
                let module = self.module(&mut wat)?;
                let instance = self.instantiate(&module)?;
                self.set_current(name, instance);
                Ok(())
            }
            WastDirective::ModuleDefinition(mut wat) => {
                let name = wat.name().map(|id| id.name().to_owned());
                let module = self.module(&mut wat)?;
                self.definitions.insert(None, module.clone());
                self.definitions.insert(name, module);
                Ok(())
            }
            WastDirective::ModuleInstance { instance, module, .. } => {
                let key = module.map(|id| id.name().to_owned());
                let module = self.definitions.get(&key).cloned().context("no module definition of that name")?;
                let new = self.instantiate(&module)?;
                self.set_current(instance.map(|id| id.name().to_owned()), new);
                Ok(())
            }
            WastDirective::Register { name, module, .. } => {
                if let Some(exports) = module.and_then(|id| self.threads.shared.get(id.name())) {
                    for (export, memory) in exports {
                        self.linker.define_shared_memory(name, export, memory.clone())?;
                    }
                    return Ok(());
                }
                let instance = self.instance(module.map(|id| id.name()))?;
                self.linker.instance(&mut self.store, name, instance)?;
                Ok(())
            }
            WastDirective::Invoke(invoke) => match self.invoke(&invoke)? {
                Outcome::Values(_) => Ok(()),
                Outcome::Error(e) => Err(e),
            },
            WastDirective::AssertReturn { exec, results, .. } => match self.execute(exec)? {
                Outcome::Values(values) => self.check_results(&values, &results),
                Outcome::Error(e) => Err(e.context("expected results")),
            },
            WastDirective::AssertTrap { exec, message, .. } => {
                let outcome = self.execute(exec)?;
                expect_trap(outcome, message)
            }
            WastDirective::AssertExhaustion { call, message, .. } => {
                let outcome = self.invoke(&call)?;
                expect_trap(outcome, message)
            }
            WastDirective::AssertException { exec, .. } => match self.execute(exec)? {
                Outcome::Error(e) if e.is::<ThrownException>() => Ok(()),
                Outcome::Error(e) => Err(e.context("expected an exception")),
                Outcome::Values(v) => bail!("expected an exception, got {v:?}"),
            },
            WastDirective::AssertMalformed { module, message, .. } => self.expect_refused(module, message, Phase::Malformed),
            WastDirective::AssertInvalid { module, message, .. } => self.expect_refused(module, message, Phase::Invalid),
            WastDirective::AssertUnlinkable { module, message, .. } => {
                let mut wat = QuoteWat::Wat(module);
                let module = self.module(&mut wat)?;
                match self.linker.instantiate(&mut self.store, &module) {
                    Ok(_) => bail!("expected a link error: {message}"),
                    Err(e) if e.is::<UnknownImport>() || e.is::<IncompatibleImport>() => Ok(()),
                    Err(e) => Err(e.context("expected a link error")),
                }
            }
            // Errors in custom sections never make a module invalid, but the text parser may refuse an annotation.
            WastDirective::AssertMalformedCustom { mut module, message, .. }
            | WastDirective::AssertInvalidCustom { mut module, message, .. } => match module.encode() {
                Err(_) => Ok(()),
                Ok(_) => bail!("expected a malformed custom annotation: {message}"),
            },
            WastDirective::AssertSuspension { .. } => bail!("stack switching is not supported"),
            WastDirective::Thread(_) | WastDirective::Wait { .. } => bail!("a directive for `run`"),
        }
    }

    fn module(&self, wat: &mut QuoteWat<'_>) -> Result<Module> {
        let bytes = wat.encode().map_err(|e| anyhow!("{}", e.message()))?;
        Module::new(&self.engine, &bytes)
    }

    fn instantiate(&mut self, module: &Module) -> Result<Instance> {
        self.linker.instantiate(&mut self.store, module)
    }

    fn set_current(&mut self, name: Option<String>, instance: Instance) {
        self.current = Some(instance);
        if let Some(name) = name {
            self.named.insert(name, instance);
        }
    }

    fn instance(&self, name: Option<&str>) -> Result<Instance> {
        match name {
            Some(name) => self.named.get(name).copied().with_context(|| format!("no instance ${name}")),
            None => self.current.context("no instance yet"),
        }
    }

    fn execute(&mut self, exec: WastExecute<'_>) -> Result<Outcome> {
        match exec {
            WastExecute::Invoke(invoke) => self.invoke(&invoke),
            WastExecute::Wat(wat) => {
                let wat: Wat<'_> = wat;
                let module = self.module(&mut QuoteWat::Wat(wat))?;
                Ok(match self.instantiate(&module) {
                    Ok(_) => Outcome::Values(Vec::new()),
                    Err(e) => Outcome::Error(e),
                })
            }
            WastExecute::Get { module, global, .. } => {
                let instance = self.instance(module.map(|id| id.name()))?;
                let global = instance.get_global(&mut self.store, global).with_context(|| format!("no global {global}"))?;
                Ok(Outcome::Values(vec![global.get(&mut self.store)]))
            }
        }
    }

    fn invoke(&mut self, invoke: &WastInvoke<'_>) -> Result<Outcome> {
        let instance = self.instance(invoke.module.map(|id| id.name()))?;
        let func = instance.get_func(&mut self.store, invoke.name).with_context(|| format!("no function {}", invoke.name))?;
        let mut args = Vec::new();
        for arg in &invoke.args {
            let WastArg::Core(arg) = arg else { bail!("not a core value") };
            args.push(self.argument(arg)?);
        }
        let results = func.ty(&self.store).results.len();
        let mut values = vec![Val::I32(0); results];
        Ok(match func.call(&mut self.store, &args, &mut values) {
            Ok(()) => Outcome::Values(values),
            Err(e) => Outcome::Error(e),
        })
    }

    fn argument(&mut self, arg: &WastArgCore<'_>) -> Result<Val> {
        values::argument(&mut self.store, arg)
    }

    fn check_results(&mut self, values: &[Val], expected: &[WastRet<'_>]) -> Result<()> {
        if values.len() != expected.len() {
            bail!("{} results instead of {}: {values:?}", values.len(), expected.len());
        }
        for (value, want) in values.iter().zip(expected) {
            let WastRet::Core(want) = want else { bail!("not a core value") };
            values::check(&mut self.store, value, want)?;
        }
        Ok(())
    }

    /// A module must be refused in the right phase: by the text or binary format, or by validation.
    fn expect_refused(&self, mut module: QuoteWat<'_>, message: &str, phase: Phase) -> Result<()> {
        let bytes = match module.to_test() {
            Ok(QuoteWatTest::Binary(bytes)) => Ok(bytes),
            Ok(QuoteWatTest::Text(text)) => wast_text(&text),
            Err(e) => Err(e.message()),
        };
        let bytes = match (bytes, phase) {
            (Ok(bytes), _) => bytes,
            (Err(_), Phase::Malformed) => return Ok(()),
            (Err(e), Phase::Invalid) => bail!("expected to be invalid ({message}), but it is malformed: {e}"),
        };
        let malformed = malformed(&bytes, &self.features);
        match (Module::new(&self.engine, &bytes), malformed, phase) {
            (Ok(_), ..) => bail!("expected to be refused: {message}"),
            (Err(e), ..) if decode_error(&e).is_none_or(|e| e.kind != DecodeErrorKind::Invalid) => {
                Err(e.context(format!("expected to be refused: {message}")))
            }
            (Err(_), Some(_), Phase::Malformed) | (Err(_), None, Phase::Invalid) => Ok(()),
            (Err(_), Some(e), Phase::Invalid) => bail!("expected to be invalid ({message}), but it is malformed: {e}"),
            (Err(e), None, Phase::Malformed) => bail!("expected to be malformed ({message}), but it is only invalid: {e:#}"),
        }
    }
}

fn decode_error(e: &anyhow::Error) -> Option<&DecodeError> {
    e.chain().find_map(|cause| match cause.downcast_ref::<CompileError>() {
        Some(CompileError::Decode(e)) => Some(e),
        _ => cause.downcast_ref::<DecodeError>(),
    })
}

#[derive(Copy, Clone, PartialEq, Eq)]
enum Phase {
    Malformed,
    Invalid,
}

fn wast_text(text: &[u8]) -> Result<Vec<u8>, String> {
    let text = std::str::from_utf8(text).map_err(|e| e.to_string())?;
    let mut lexer = Lexer::new(text);
    lexer.allow_confusing_unicode(true);
    let buffer = ParseBuffer::new_with_lexer(lexer).map_err(|e| e.message())?;
    let mut wat = parser::parse::<Wat<'_>>(&buffer).map_err(|e| e.message())?;
    wat.encode().map_err(|e| e.message())
}

fn expect_trap(outcome: Outcome, message: &str) -> Result<()> {
    match outcome {
        Outcome::Values(v) => bail!("expected the trap `{message}`, got {v:?}"),
        Outcome::Error(e) => {
            let Some(trap) = e.downcast_ref::<Trap>() else { return Err(e.context(format!("expected the trap `{message}`"))) };
            let text = trap.code().message();
            // The specification's text is a prefix of ours or the other way round (`uninitialized element 2`).
            if text.starts_with(message) || message.starts_with(text) {
                return Ok(());
            }
            bail!("expected the trap `{message}`, got `{text}`")
        }
    }
}
