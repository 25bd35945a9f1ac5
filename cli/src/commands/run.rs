//! `wasmc run`: an artifact by its native code, a module compiled in memory or interpreted, as a WASI program or by one
//! exported function. The program's exit code is wasmc's.

use crate::exit::{ExitCode, usage, with_code};
use crate::input::{self, Input};
use crate::options::{DirGrant, EnvVar, FeatureSwitch, LimitOption, NamedModule, TraceOption, features, parse_interpret, switched};
use crate::{invoke, report};
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use wasmc_environ::jit::Interpret;
use wasmc_runtime::{Config, Engine, Exit, Instance, Linker, Module, Store, Tier, Trap};
use wasmc_wasi::{
    BrokenPipe, BuildError, DEFAULT_MAX_THREADS, DirAccess, NetGrant, Tracer, WasiCtx, WasiCtxBuilder, WasiLimits, WasiThreads,
    needs_threads,
};

/// Run an artifact or a module as a WASI program.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  wasmc run app.so                                   an artifact, by its native code
  wasmc run --dir data::/data --env LANG=C app.so /data/in.txt
  wasmc run --tier interpreted app.wasm              a module, without compiling it
  wasmc run --invoke add lib.wasm 2 3                one exported function
  wasmc run --module env=lib.so app.wasm             imports of `env` come from lib.so
  wasmc run --threads app.so                         a program that starts threads")]
pub struct Opts {
    /// An artifact (.so) or a module, binary or text.
    file: PathBuf,
    #[command(flatten)]
    inline: crate::inlining::InlineOpts,
    /// Arguments of the program; with --invoke, of the function.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
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
    /// Bound what the program may use of the host; an unknown NAME lists all.
    #[arg(long, value_name = "NAME=NUMBER")]
    limit: Vec<LimitOption>,
    /// Make the run repeat itself: a clock that only the program moves, and random numbers from SEED.
    #[arg(long, value_name = "SEED", num_args = 0..=1, require_equals = true, default_missing_value = "0")]
    deterministic: Option<u64>,
    /// Print each call of the program to standard error, as strace does.
    #[arg(long, value_enum, value_name = "WHAT")]
    trace: Option<TraceOption>,
    /// The program's own name, argv[0] [default: FILE's name].
    #[arg(long, value_name = "NAME")]
    argv0: Option<String>,
    /// Call this exported function with the arguments, and print its results.
    #[arg(long, value_name = "FUNCTION")]
    invoke: Option<String>,
    /// Instantiate another file first, under NAME, to import from.
    #[arg(long, value_name = "NAME=FILE")]
    module: Vec<NamedModule>,
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
    /// Do not hash an artifact's code before running it: for artifacts in folders that nobody else can write to.
    #[arg(long)]
    trust_artifacts: bool,
}

#[derive(Copy, Clone, PartialEq, Eq, clap::ValueEnum)]
enum TierOption {
    /// Compile in memory, then run native code.
    Compiled,
    /// Interpret, which starts at once.
    Interpreted,
}

/// What the store holds.
struct Host {
    wasi: WasiCtx,
}

/// Runs the command.
pub fn run(opts: Opts) -> Result<ExitCode> {
    let tier = match opts.tier {
        Some(TierOption::Interpreted) => Tier::Interpreted,
        _ => Tier::Compiled,
    };
    let mut features = features(&opts.wasm);
    if opts.threads {
        if switched(&opts.wasm, "shared-memory") == Some(false) {
            return Err(usage("--threads needs shared memories, which -W shared-memory=n switches off"));
        }
        features.shared_memory = true;
    }
    let config = Config::new()
        .features(features)
        .tier(tier)
        .interpret(opts.interpret.clone())
        .verify_text_hash(!opts.trust_artifacts)
        .compiler(Arc::new(wasmc_compiler::Jit { inlining: (&opts.inline).into(), ..Default::default() }));
    let engine = Engine::new(config)?;
    let main = load(&engine, &opts, &opts.file)?;
    let mut named = Vec::new();
    for m in &opts.module {
        if named.iter().any(|(name, _, _): &(&str, Module, &Path)| *name == m.name) {
            return Err(usage(format!("--module {}: the name is used twice", m.name)));
        }
        named.push((m.name.as_str(), load(&engine, &opts, &m.path)?, m.path.as_path()));
    }

    let mut linker: Linker<Host> = Linker::new(&engine);
    let tracer = opts.trace.map(|TraceOption::Wasi| Arc::new(Tracer::new(std::io::stderr())));
    for module in named.iter().map(|(_, module, _)| module).chain([&main]) {
        wasmc_wasi::add_imports_to_linker(&mut linker, module, |host: &mut Host| &mut host.wasi, tracer.as_ref())?;
    }
    let mut store = Store::new(&engine, Host { wasi: wasi(&opts)? });
    let outcome = start(&opts, &mut linker, &mut store, &main, named);
    // The process ends here: unmapping what it used would only cost time.
    std::mem::forget((store, linker, main));
    first_to_end();
    finish(outcome)
}

/// Returns on the first thread that ends the program, and never on another: what it reports and the code that it ends with are
/// the program's.
fn first_to_end() {
    static END: Mutex<()> = Mutex::new(());
    std::mem::forget(END.lock());
}

/// Lets the program start threads, if it asks for them and it is granted.
fn threads(opts: &Opts, linker: &mut Linker<Host>, main: &Module) -> Result<Option<Arc<WasiThreads<Host>>>> {
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
    let on_end = |error| {
        first_to_end();
        let code = finish(Err(error)).unwrap_or_else(|e| {
            report::error(&e);
            ExitCode::of(&e)
        });
        std::process::exit(code.0.into());
    };
    let threads = WasiThreads::new(linker, main, opts.max_threads, fork, on_end);
    threads.map(Some).with_context(|| format!("cannot run {name} with threads"))
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
        Input::Wasm(bytes) => Module::new(engine, &bytes).with_context(name),
    }
}

fn wasi(opts: &Opts) -> Result<WasiCtx> {
    let mut builder = WasiCtxBuilder::new();
    builder.inherit_stdio();
    let own_name = opts.file.file_name().unwrap_or(opts.file.as_os_str());
    builder.arg(opts.argv0.as_ref().map_or(own_name, |name| name.as_ref()));
    if opts.invoke.is_none() {
        builder.args(&opts.args);
    }
    for e in &opts.env {
        builder.env(&e.name, &e.value);
    }
    for d in &opts.dir {
        let access = if d.read_only { DirAccess::ReadOnly } else { DirAccess::ReadWrite };
        builder.preopen_dir(&d.host, &d.guest, access).map_err(build_error)?;
    }
    let mut limits = WasiLimits::default();
    for l in &opts.limit {
        // The option knows the names.
        let _ = limits.set(&l.name, l.value);
    }
    builder.limits(limits).broken_pipe(BrokenPipe::End);
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

fn start(opts: &Opts, linker: &mut Linker<Host>, store: &mut Store<Host>, main: &Module, named: Vec<(&str, Module, &Path)>) -> Result<()> {
    instantiate_named(linker, store, named)?;
    let _threads = threads(opts, linker, main)?;
    let instance = linker.instantiate(&mut *store, main)?;
    if let Some(name) = &opts.invoke {
        initialize(store, &instance)?;
        return invoke::invoke(store, &instance, name, &opts.args);
    }
    if let Ok(start) = instance.get_typed_func::<(), ()>(&mut *store, "_start") {
        return start.call(&mut *store, ());
    }
    // A reactor without a function to call has only its initialisation.
    if initialize(store, &instance)? {
        return Ok(());
    }
    Err(with_code(
        ExitCode::DATA,
        format!("{} exports no function `_start` to run; call one of its functions with --invoke NAME", opts.file.display()),
    ))
}

/// Calls `_initialize` if it is exported; says whether it is.
fn initialize(store: &mut Store<Host>, instance: &Instance) -> Result<bool> {
    match instance.get_typed_func::<(), ()>(&mut *store, "_initialize") {
        Ok(f) => f.call(&mut *store, ()).map(|()| true),
        Err(_) => Ok(false),
    }
}

/// Instantiates the named modules in an order in which each finds its imports, whatever their order on the command line.
fn instantiate_named(linker: &mut Linker<Host>, store: &mut Store<Host>, mut waiting: Vec<(&str, Module, &Path)>) -> Result<()> {
    while !waiting.is_empty() {
        let names: Vec<String> = waiting.iter().map(|(name, ..)| (*name).to_owned()).collect();
        let ready = waiting.iter().position(|(_, module, _)| !module.imports().any(|i| names.iter().any(|n| n == i.module)));
        let Some(ready) = ready else {
            return Err(with_code(ExitCode::UNLINKABLE, format!("the modules {} import from one another in a circle", names.join(", "))));
        };
        let (name, module, path) = waiting.remove(ready);
        let instance =
            linker.instantiate(&mut *store, &module).with_context(|| format!("cannot instantiate {name} ({})", path.display()))?;
        initialize(store, &instance)?;
        linker.instance(&mut *store, name, instance)?;
    }
    Ok(())
}

fn finish(outcome: Result<()>) -> Result<ExitCode> {
    let Err(error) = outcome else { return Ok(ExitCode::OK) };
    if let Some(Exit(code)) = error.downcast_ref() {
        // The process's exit code has 8 bits, as everywhere on Unix.
        return Ok(ExitCode(*code as u8));
    }
    if error.chain().any(|c| c.is::<Trap>() || c.is::<wasmc_runtime::ThrownException>()) {
        report::trap(&format!("{error:#}"));
        return Ok(ExitCode::TRAP);
    }
    Err(error)
}
