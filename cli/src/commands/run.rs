//! `wasmc run`: an artifact by its native code, a module compiled in memory or interpreted, as a WASI program or by one
//! exported function. The program's exit code is wasmc's.

mod auto;
mod modules;
mod quick;

pub use quick::parse;

use crate::exit::{ExitCode, usage, with_code};
use crate::input::{self, Input};
use crate::invoke::InvokeOpts;
use crate::limits::LimitOpts;
use crate::meter::Ending;
use crate::options::{DirGrant, EnvVar, FeatureSwitch, features, parse_interpret, switched};
use crate::timeout::TimeoutOpts;
use crate::{cache, coredump, profile, report, trace};
use anyhow::{Context, Result};
use modules::{ModuleOpts, Named};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use wasmc_environ::jit::Interpret;
use wasmc_plugin::PluginTrap;
use wasmc_runtime::{
    Config, Engine, Exit, ExternType, IncompatibleImport, Instance, Linker, Module, Store, StoreLimits, Tier, Trap, TypedFunc,
    end_process_on_faults,
};
use wasmc_wasi::{BrokenPipe, BuildError, DEFAULT_MAX_THREADS, DirAccess, NetGrant, WasiCtx, WasiCtxBuilder, WasiThreads, needs_threads};

/// Run an artifact or a module as a WASI program.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "wasmc run [OPTIONS] <FILE> [ARGS]...",
    after_help = "\
Examples:
  wasmc run app.so                                   an artifact, by its native code
  wasmc run --dir data::/data --env LANG=C app.so /data/in.txt
  wasmc run --tier interpreted app.wasm              a module, without compiling it
  wasmc run --invoke add lib.wasm 2 3                one exported function
  wasmc run --call 'set 7' --call get lib.wasm       several calls of one instance
  printf 'set 7\nget\n' | wasmc run --call - lib.wasm
  wasmc run --module env=lib.so app.wasm             imports of `env` come from lib.so
  wasmc run --threads app.so                         a program that starts threads
  wasmc run --trace wasi --dir . app.so              what it does with the host
  wasmc run --trace 'calls=main,fd_*' app.wasm       which functions it calls
  wasmc run --no-cache app.wasm                      compile anew, keep nothing (wasmc cache)"
)]
pub struct Opts {
    /// An artifact (.so) or a module, binary or text. All that comes behind it are arguments of the program, also what looks like an
    /// option of wasmc; with --invoke, of the function.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "FILE [ARGS]", value_hint = clap::ValueHint::AnyPath)]
    program: Vec<OsString>,
    /// The first of `program`.
    #[arg(skip)]
    file: PathBuf,
    /// The others.
    #[arg(skip)]
    args: Vec<OsString>,
    /// Make a folder visible to the program, under the name GUEST if one is given; :ro at the end makes it read-only.
    #[arg(long, value_name = "HOST[::GUEST][:ro]")]
    dir: Vec<DirGrant>,
    /// Set an environment variable; without =VALUE it is taken from wasmc's own environment.
    #[arg(long, value_name = "NAME[=VALUE]")]
    env: Vec<EnvVar>,
    /// Listen on this TCP address and hand the socket to the program, behind its folders and behind the sockets that a service
    /// manager passes (LISTEN_FDS).
    #[arg(long, value_name = "ADDR:PORT")]
    tcplisten: Vec<SocketAddr>,
    /// Let the program reach a part of the network with WasmEdge's socket functions: an address or network and its ports, or dns
    /// to look names up. Nothing is reachable otherwise.
    #[arg(long, value_name = "ADDR|CIDR:PORTS|dns")]
    net: Vec<NetGrant>,
    #[command(flatten)]
    limits: LimitOpts,
    /// Make the run repeat itself: a clock that only the program moves, and random numbers from SEED.
    #[arg(long, value_name = "SEED", num_args = 0..=1, require_equals = true, default_missing_value = "0")]
    deterministic: Option<u64>,
    #[command(flatten)]
    trace: trace::TraceOpts,
    #[command(flatten)]
    cache: cache::CacheOpts,
    /// The program's own name, argv[0] [default: FILE's name].
    #[arg(long, value_name = "NAME")]
    argv0: Option<String>,
    #[command(flatten)]
    invoke: InvokeOpts,
    #[command(flatten)]
    modules: ModuleOpts,
    /// How to run a module; an artifact always runs its native code.
    #[arg(long, value_enum)]
    tier: Option<TierOption>,
    /// Leave a function of a module uncompiled, to be interpreted: its name, its index, all, or odd.
    #[arg(long, value_name = "FUNCTION", value_parser = parse_interpret)]
    interpret: Vec<Interpret>,
    /// Switch a proposal on or off.
    #[arg(short = 'W', value_name = "NAME=y|n")]
    wasm: Vec<FeatureSwitch>,
    /// Let the program start threads (wasi-threads); implies -W shared-memory=y.
    #[arg(long)]
    threads: bool,
    /// How many threads the program may have at a time, the first one not counted.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_THREADS, requires = "threads")]
    max_threads: usize,
    #[command(flatten)]
    timeout: TimeoutOpts,
    /// Do not hash an artifact's code before running it: for artifacts in folders that nobody else can write to.
    #[arg(long)]
    trust_artifacts: bool,
    #[command(flatten)]
    profile: profile::ProfileOpts,
    #[command(flatten)]
    coredump: coredump::CoreDumpOpts,
    #[command(flatten)]
    meter: crate::meter::RunOpts,
    #[command(flatten)]
    spectre: crate::spectre::SpectreOpts,
    #[command(flatten)]
    auto: auto::AutoOpts,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, clap::ValueEnum)]
enum TierOption {
    /// Compile in memory, then run native code.
    Compiled,
    /// Interpret, which starts at once.
    Interpreted,
    /// Interpret, and compile what runs often meanwhile. The default, but with --meter, --interpret, --profile, --coredump and traces of
    /// calls everything is compiled first.
    Auto,
}

/// What the store holds.
struct Host {
    wasi: WasiCtx,
}

/// Runs the command.
pub fn run(mut opts: Opts) -> Result<ExitCode> {
    end_process_on_faults(crate::exit::FAULTS);
    (opts.file, opts.args) = program(std::mem::take(&mut opts.program))?;
    let tier = match opts.tier {
        Some(TierOption::Interpreted) => Tier::Interpreted,
        Some(TierOption::Compiled) => Tier::Compiled,
        Some(TierOption::Auto) | None => opts.auto.tier(opts.profile.wanted() || opts.coredump.wanted()),
    };
    let mut features = features(&opts.wasm);
    if opts.threads {
        if switched(&opts.wasm, "shared-memory") == Some(false) {
            return Err(usage("--threads needs shared memories, which -W shared-memory=n switches off"));
        }
        features.shared_memory = true;
    }
    let config = Config::new()
        .tunables(opts.spectre.tunables())
        .features(features)
        .tier(tier)
        .interpret(opts.interpret.clone())
        .verify_text_hash(!opts.trust_artifacts)
        .keep_locals(opts.coredump.wanted())
        .compiler(Arc::new(wasmc_compiler::Jit::default()));
    opts.coredump.check()?;
    let config = opts.auto.configure(config);
    let config = opts.trace.configure(opts.meter.configure(opts.limits.configure(config), &opts.file)?)?;
    let engine = Engine::new(config).map_err(|e| usage(e.to_string()))?;
    let mut linker: Linker<Host> = Linker::new(&engine);
    let plugins = opts.modules.plugins(&mut linker)?;
    let main = load(&engine, &opts, &opts.file)?;
    let named = opts.modules.load(&plugins, |path| load(&engine, &opts, path))?;
    opts.trace.check(named.iter().map(|m| (&m.module, m.path)).chain([(&main, &*opts.file)]))?;

    opts.profile.start(&opts.file, named.iter().map(|m| &m.module).chain([&main]))?;
    let tracer = opts.trace.wasi();
    for module in named.iter().map(|m| &m.module).chain([&main]) {
        wasmc_wasi::add_imports_to_linker(&mut linker, module, |host: &mut Host| &mut host.wasi, tracer.as_ref())?;
    }
    let mut store = Store::new(&engine, Host { wasi: wasi(&opts)? });
    let limits = opts.limits.of_stores();
    if let Some(limits) = &limits {
        store.limiter(limits.clone());
    }
    opts.meter.begin(&mut store)?;
    let _armed = opts.timeout.arm(&store)?;
    let ending = opts.meter.ending(&store)?;
    let outcome = start(&opts, &mut linker, &mut store, &main, &named, limits, ending.clone());
    let (outcome, own) = match ending.and_then(|e| e.of_other_thread(&outcome)) {
        Some(error) => (Err(error), false),
        None => (opts.timeout.explain(outcome), true),
    };
    opts.coredump.write(own.then_some(&store), &outcome, &opts.file);
    opts.meter.report(&mut store);
    if plugins.is_empty() {
        // The process ends here: unmapping what it used would only cost time.
        std::mem::forget((store, linker, main));
    } else {
        // With the last who could call it, a plug-in is told the end.
        drop((store, linker, plugins));
    }
    first_to_end();
    finish(outcome)
}

/// The file and its arguments. One list to the parser, so that it looks for its own options only before the file.
fn program(words: Vec<OsString>) -> Result<(PathBuf, Vec<OsString>)> {
    let mut words = words.into_iter();
    let file = words.next().ok_or_else(|| usage("FILE is missing; `wasmc run --help` says what it can be"))?;
    let text = file.to_string_lossy();
    if text.starts_with('-') && text != "-" {
        return Err(usage(format!("unexpected argument `{text}` before FILE; `wasmc run --help` lists the options")));
    }
    Ok((file.into(), words.collect()))
}

/// Returns on the first thread that ends the program, and never on another: what it reports and the code that it ends with are
/// the program's.
fn first_to_end() {
    static END: Mutex<()> = Mutex::new(());
    std::mem::forget(END.lock());
    profile::finish();
}

/// Lets the program start threads, if it asks for them and it is granted.
fn threads(
    opts: &Opts,
    linker: &mut Linker<Host>,
    main: &Module,
    limits: Option<Arc<StoreLimits>>,
    ending: Option<Arc<Ending>>,
) -> Result<Option<Arc<WasiThreads<Host>>>> {
    if !needs_threads(main) {
        return Ok(None);
    }
    let name = opts.file.display();
    if !opts.threads {
        return Err(with_code(
            ExitCode::UNLINKABLE,
            format!(
                "{name} imports `wasi`.`thread-spawn`, to start threads: pass --threads to let it (at most {} at a time, or as many as \
                 --max-threads says)",
                opts.max_threads
            ),
        ));
    }
    let fork = |host: &mut Host| Host { wasi: host.wasi.share().context() };
    let (coredump, file) = (opts.coredump.clone(), opts.file.clone());
    let on_end = move |error| {
        let error = match &ending {
            Some(ending) => ending.leave_to_first_thread(error),
            None => error,
        };
        first_to_end();
        let outcome = Err(error);
        coredump.write(None::<Store<Host>>, &outcome, &file);
        let code = finish(outcome).unwrap_or_else(|e| {
            report::error(&e);
            ExitCode::of(&e)
        });
        std::process::exit(code.0.into());
    };
    let threads = limits
        .as_ref()
        .map_or(Ok(()), |limits| wasmc_wasi::define_shared_memories(linker, main, Some(limits.clone())))
        .and_then(|()| WasiThreads::new(linker, main, opts.max_threads, fork, on_end));
    let threads = threads.with_context(|| format!("cannot run {name} with threads"))?;
    if let Some(limits) = limits {
        threads.on_store(move |store| store.limiter(limits.clone()));
    }
    Ok(Some(threads))
}

fn load(engine: &Engine, opts: &Opts, path: &Path) -> Result<Module> {
    let name = || format!("cannot load {}", path.display());
    match input::open(path)? {
        Input::Artifact(path) => {
            // Its direct calls are fixed, and a silent fallback would lie about what runs.
            if !opts.interpret.is_empty() {
                return Err(usage(format!(
                    "--interpret does not apply to {}: an artifact's functions are fixed when it is compiled",
                    path.display()
                )));
            }
            if opts.tier == Some(TierOption::Interpreted) {
                return Err(usage(format!(
                    "{} is an artifact and always runs its native code; interpret the module it was made from",
                    path.display()
                )));
            }
            // SAFETY: an artifact is native code, and the user asks for this one to be run; the loader checks that it is whole
            // and fits this machine.
            unsafe { Module::from_artifact(engine, &path) }.with_context(name)
        }
        Input::Wasm(bytes) => {
            let module = opts.cache.module(engine, bytes).with_context(name)?;
            if opts.tier != Some(TierOption::Interpreted) && opts.interpret.is_empty() {
                report::too_large(path, module.interpreted_functions());
            }
            Ok(module)
        }
    }
}

fn wasi(opts: &Opts) -> Result<WasiCtx> {
    let mut builder = WasiCtxBuilder::new();
    builder.inherit_stdio();
    let own_name = opts.file.file_name().unwrap_or(opts.file.as_os_str());
    builder.arg(opts.argv0.as_ref().map_or(own_name, |name| name.as_ref()));
    if !opts.invoke.takes_arguments() {
        builder.args(&opts.args);
    }
    if opts.invoke.reads_stdin() {
        builder.stdin(wasmc_wasi::Input::Null);
    }
    for e in &opts.env {
        builder.env(&e.name, &e.value);
    }
    for d in &opts.dir {
        let access = if d.read_only { DirAccess::ReadOnly } else { DirAccess::ReadWrite };
        builder.preopen_dir(&d.host, &d.guest, access).map_err(build_error)?;
    }
    builder.limits(opts.limits.of_wasi()).broken_pipe(BrokenPipe::End);
    if let Some(seed) = opts.deterministic {
        builder.deterministic(seed);
    }
    // Before sockets are opened here, which could be taken for passed ones.
    builder.preopen_passed_sockets().map_err(build_error)?;
    for address in &opts.tcplisten {
        builder.listen_tcp(*address).map_err(|e| with_code(ExitCode::USAGE, format!("--tcplisten {address}: {e}")))?;
    }
    for grant in &opts.net {
        builder.grant_net(grant.clone());
    }
    builder.build().map_err(build_error)
}

fn build_error(e: BuildError) -> anyhow::Error {
    let code = if matches!(e, BuildError::Directory { .. }) { ExitCode::NO_INPUT } else { ExitCode::USAGE };
    with_code(
        code,
        match e {
            BuildError::Directory { ref path, ref source } => format!("--dir {}: {source}", path.display()),
            other => other.to_string(),
        },
    )
}

fn start(
    opts: &Opts,
    linker: &mut Linker<Host>,
    store: &mut Store<Host>,
    main: &Module,
    named: &[Named<'_>],
    limits: Option<Arc<StoreLimits>>,
    ending: Option<Arc<Ending>>,
) -> Result<()> {
    // What a program with threads imports is complete only once it is given them.
    let checked = (!needs_threads(main)).then_some((opts.file.as_path(), main));
    modules::instantiate(linker, &mut *store, named, checked)?;
    let threads = threads(opts, linker, main, limits, ending)?;
    if let Some(threads) = threads.clone() {
        opts.meter.add_threads(move || threads.stats());
    }
    let instance = linker.instantiate(&mut *store, main).map_err(|e| match e.is::<IncompatibleImport>() {
        true => e.context(format!("cannot link {}", opts.file.display())),
        false => e,
    })?;
    let initialized = entry(opts, store, &instance, "_initialize")?;
    if let Some(f) = &initialized {
        f.call(&mut *store, ())?;
    }
    if opts.invoke.wanted() {
        return opts.invoke.run(store, &instance, &opts.args);
    }
    // As Wasmtime does: the function without a name is the default one.
    for name in ["", "_start"] {
        if let Some(f) = entry(opts, store, &instance, name)? {
            return f.call(&mut *store, ());
        }
    }
    // A reactor without a function to call has only its initialisation.
    if initialized.is_some() {
        return Ok(());
    }
    Err(with_code(
        ExitCode::DATA,
        format!("{} exports no function `_start` to run; call one of its functions with --invoke NAME", opts.file.display()),
    ))
}

/// A function with neither parameters nor results, if something of that name is exported.
fn entry(opts: &Opts, store: &mut Store<Host>, instance: &Instance, name: &str) -> Result<Option<TypedFunc<(), ()>>> {
    let Some(export) = instance.get_export(&mut *store, name) else { return Ok(None) };
    let wrong = |ty: ExternType| {
        let file = opts.file.display();
        with_code(ExitCode::DATA, format!("`{name}` of {file} must be a function () -> () for wasmc to call it, but is a {ty}"))
    };
    match export.clone().into_func().map(|f| f.typed(&*store)) {
        Some(Ok(f)) => Ok(Some(f)),
        // The name without letters is not reserved as the others are.
        _ if name.is_empty() => Ok(None),
        _ => Err(wrong(export.ty(&*store))),
    }
}

fn finish(outcome: Result<()>) -> Result<ExitCode> {
    trace::flush();
    let Err(error) = outcome else { return Ok(ExitCode::OK) };
    if let Some(Exit(code)) = error.downcast_ref() {
        // The process's exit code has 8 bits, as everywhere on Unix.
        return Ok(ExitCode(*code as u8));
    }
    if error.chain().any(|c| c.is::<Trap>() || c.is::<PluginTrap>() || c.is::<wasmc_runtime::ThrownException>()) {
        report::trap(&format!("{error:#}"));
        return Ok(ExitCode::TRAP);
    }
    Err(error)
}
