//! Compiled modules, kept for the next `wasmc run x.wasm`: artifacts in the user's cache folder, each under the digest of everything
//! that decides what it contains. An entry appears whole or not at all, by a rename; whoever has it open keeps it when it is
//! evicted. Nothing here is ever an error to the user: where the cache cannot be used or an entry is not what it should be, the
//! module is compiled.
//!
//! An artifact is native code, so whoever can write to the folder can run code as its owner. It is used only if it belongs to this
//! user and nobody else can write to it, and that is asked of the open folder and the open file, not of names.

use crate::report;
use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use rustix::io::Errno;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use wasmc_compiler::CompileOptions;
use wasmc_environ::jit::{CompileError, JitOptions};
use wasmc_runtime::{ArtifactError, ArtifactErrorKind, Engine, Module, Tier, WASMC_VERSION};

/// The environment variable with the greatest size; 0 switches the cache off.
pub const SIZE_VARIABLE: &str = "WASMC_CACHE_SIZE";
/// The greatest size, if nothing else is said.
pub const DEFAULT_SIZE: u64 = 1 << 30;
/// Files that were being written for longer than this were left behind.
const ABANDONED: Duration = Duration::from_secs(3600);
/// Modules up to this size are compiled before they run: it takes milliseconds.
const SMALL_MODULE: usize = 16 << 10;
const LOCK: &str = "lock";
const TEMPORARY: &str = "tmp-";

/// The options of `wasmc run`.
#[derive(Debug, Default, clap::Args)]
pub struct CacheOpts {
    /// Compile modules anew, and keep nothing of them for the next run.
    #[arg(long)]
    no_cache: bool,
}

impl CacheOpts {
    /// Makes a module from WebAssembly: of what was compiled earlier, if it is there and native code is wanted.
    ///
    /// # Errors
    /// As [`Module::new`].
    pub fn module(&self, engine: &Engine, wasm: Vec<u8>) -> Result<Module> {
        let tier = engine.config().tier_of_modules();
        if self.no_cache || tier == Tier::Interpreted {
            return Module::from_vec(engine, wasm);
        }
        let module = |cache: Cache| match tier {
            Tier::Auto => cache.module_if_worth_it(engine, &wasm),
            _ => cache.module(engine, &wasm).map(Some),
        };
        match Cache::open().and_then(module) {
            Ok(Some(module)) => Ok(module),
            Ok(None) => Module::from_vec(engine, wasm),
            // Another attempt would say the same.
            Err(why) if matches!(why.downcast_ref(), Some(CompileError::Decode(_) | CompileError::Codegen { .. })) => Err(why),
            Err(why) => {
                report::verbose(|| format!("no cache: {why:#}"));
                Module::from_vec(engine, wasm)
            }
        }
    }
}

/// The cache of this user.
pub struct Cache {
    folder: OwnedFd,
    path: PathBuf,
    limit: u64,
}

/// What is in the cache.
pub struct Usage {
    /// Compiled modules.
    pub entries: usize,
    /// Their size, and that of files that are being written.
    pub bytes: u64,
}

/// Something in the folder.
struct Item {
    name: String,
    bytes: u64,
    used: SystemTime,
    temporary: bool,
}

/// The folder, by the XDG base directory specification.
pub fn folder() -> Result<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    Ok(base.context("neither XDG_CACHE_HOME nor HOME names a folder")?.join("wasmc"))
}

/// The greatest size of the cache.
pub fn limit() -> Result<u64> {
    let Some(text) = std::env::var_os(SIZE_VARIABLE) else { return Ok(DEFAULT_SIZE) };
    let text = text.to_string_lossy();
    let (digits, unit) = match text.char_indices().next_back() {
        Some((at, 'K')) => (&text[..at], 1 << 10),
        Some((at, 'M')) => (&text[..at], 1 << 20),
        Some((at, 'G')) => (&text[..at], 1 << 30),
        _ => (&*text, 1u64),
    };
    let size = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    size.with_context(|| format!("{SIZE_VARIABLE}={text}: expected a number of bytes, perhaps with K, M or G behind it"))
}

fn modified(stat: &Stat) -> SystemTime {
    let (seconds, nanos) = (u64::try_from(stat.st_mtime).unwrap_or(0), u32::try_from(stat.st_mtime_nsec).unwrap_or(0));
    SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos.min(999_999_999))
}

/// Whether only this user can change a file or folder.
fn is_private(stat: &Stat) -> bool {
    stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & 0o022 == 0
}

impl Cache {
    /// Opens the cache; makes its folder if it is not there.
    ///
    /// # Errors
    /// If it is switched off, or the folder cannot be used or is not safe to use.
    pub fn open() -> Result<Self> {
        let limit = limit()?;
        ensure!(limit > 0, "{SIZE_VARIABLE} is 0");
        let path = folder()?;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Self::open_at(path, limit)
    }

    /// Opens the cache only if it exists.
    ///
    /// # Errors
    /// If there is no telling where it is, or it cannot be used or is not safe to use.
    pub fn open_existing() -> Result<Option<Self>> {
        let path = folder()?;
        // Whatever it is, it can be looked at and emptied.
        let limit = limit().unwrap_or(DEFAULT_SIZE);
        if path.symlink_metadata().is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
            return Ok(None);
        }
        Self::open_at(path, limit).map(Some)
    }

    fn open_at(path: PathBuf, limit: u64) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::open(&path, flags, Mode::empty()).with_context(|| format!("cannot open {}", path.display()))?;
        if !is_private(&rustix::fs::fstat(&folder)?) {
            bail!("{} belongs to another user, or others may write to it (chmod 700 it)", path.display());
        }
        Ok(Self { folder, path, limit })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A module, from the cache or else into it.
    ///
    /// # Errors
    /// If the cache cannot be used, or the module not compiled.
    fn module(&self, engine: &Engine, wasm: &[u8]) -> Result<Module> {
        let options = engine.config().code_options();
        let digest = *blake3::hash(wasm).as_bytes();
        let name = entry_name(&digest, &options);
        match self.load(engine, &name, &digest) {
            Ok(Some(module)) => {
                report::verbose(|| format!("from the cache: {}", self.path.join(&name).display()));
                return Ok(module);
            }
            Ok(None) => {}
            Err(e) if is_not_executable(&e) => return Err(e),
            Err(e) => {
                report::verbose(|| format!("removed from the cache: {e:#}"));
                self.remove(&name);
            }
        }
        // Before the work, so that it is not done twice where nothing can be written.
        let mut temporary = Temporary::new(self)?;
        let JitOptions { interpret, features, tunables, costs } = options;
        let options = CompileOptions { interpret, features, tunables, costs, ..CompileOptions::default() };
        let artifact = wasmc_compiler::compile_to_artifact(wasm, &options)?;
        let size = artifact.bytes.len() as u64;
        temporary.file.write_all(&artifact.bytes).with_context(|| format!("cannot write to {}", self.path.display()))?;
        let file = temporary.file.try_clone()?;
        let kept = if size <= self.limit { temporary.rename(&name) } else { Err(Errno::FBIG) };
        // SAFETY: this process has just made the file, and nobody else can write to it: it is new, and has no permissions for others.
        let module = unsafe { Module::from_artifact_file(engine, file, self.path.join(&name)) };
        match kept {
            Ok(()) => report::verbose(|| format!("compiled into the cache: {}", self.path.join(&name).display())),
            Err(e) => report::verbose(|| format!("compiled, but not kept in {}: {e}", self.path.display())),
        }
        if module.as_ref().is_err_and(|e| !is_not_executable(e)) {
            self.remove(&name);
        }
        let module = module?;
        self.evict(self.limit);
        Ok(module)
    }

    /// As [`Cache::module`] where that costs little, or the module was run not long ago and so may be again: otherwise it is compiled
    /// while it runs (`None`), and that it was run is noted.
    ///
    /// # Errors
    /// As [`Cache::module`].
    fn module_if_worth_it(&self, engine: &Engine, wasm: &[u8]) -> Result<Option<Module>> {
        if wasm.len() <= SMALL_MODULE {
            return self.module(engine, wasm).map(Some);
        }
        let digest = *blake3::hash(wasm).as_bytes();
        let name = entry_name(&digest, &engine.config().code_options());
        let seen = format!("{TEMPORARY}seen-{name}");
        let exists = |name: &str| rustix::fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        if exists(&name) || self.remove(&seen) {
            return self.module(engine, wasm).map(Some);
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // If it cannot be noted, the next run is like this one.
        if let Err(e) = rustix::fs::openat(&self.folder, &seen, flags, Mode::RUSR | Mode::WUSR) {
            report::verbose(|| format!("cannot write to {}: {e}", self.path.display()));
        }
        report::verbose(|| "compiled while it runs; into the cache if it is run again soon".to_owned());
        Ok(None)
    }

    /// The module under a name, if it is there.
    ///
    /// # Errors
    /// If what is there is damaged, or not what it should be.
    fn load(&self, engine: &Engine, name: &str, digest: &[u8; 32]) -> Result<Option<Module>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.folder, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            opened => opened.with_context(|| format!("cannot open {name}"))?,
        };
        let stat = rustix::fs::fstat(&file)?;
        ensure!(
            FileType::from_raw_mode(stat.st_mode).is_file() && is_private(&stat),
            "{name} is not a file that only this user can write to"
        );
        let file = File::from(file);
        let for_use = file.try_clone()?;
        // SAFETY: only this user can write to the file and to its folder, and what this user's programs put there is trusted as
        // what they would put into an executable's place. That it is the module's is checked below, before anything of it runs.
        let module = unsafe { Module::from_artifact_file(engine, file, self.path.join(name)) }?;
        ensure!(module.wasm_digest() == Some(*digest), "{name} was made from another module");
        // Also what loading leaves out: a file can be damaged anywhere, and it takes less time than compiling.
        module.verify()?;
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let unchanged = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        // If it cannot be marked as used it goes earlier.
        let _ = rustix::fs::futimens(&for_use, &Timestamps { last_access: unchanged, last_modification: now });
        Ok(Some(module))
    }

    fn remove(&self, name: &str) -> bool {
        rustix::fs::unlinkat(&self.folder, name, AtFlags::empty()).is_ok()
    }

    /// What is there, whatever else may be in the folder left out.
    fn items(&self) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        for entry in Dir::read_from(&self.folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            let temporary = name.starts_with(TEMPORARY);
            if !temporary && !is_entry_name(name) {
                continue;
            }
            // Somebody else may have removed it by now.
            let Ok(stat) = rustix::fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let bytes = u64::try_from(stat.st_size).unwrap_or(0);
            items.push(Item { name: name.to_owned(), bytes, used: modified(&stat), temporary });
        }
        Ok(items)
    }

    /// How much is there.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn usage(&self) -> Result<Usage> {
        let items = self.items()?;
        Ok(Usage { entries: items.iter().filter(|i| !i.temporary).count(), bytes: items.iter().map(|i| i.bytes).sum() })
    }

    /// Only one process evicts at a time; another one need not wait for it, since it does the same.
    fn lock(&self, operation: FlockOperation) -> Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock = rustix::fs::openat(&self.folder, LOCK, flags, Mode::RUSR | Mode::WUSR)?;
        rustix::fs::flock(&lock, operation)?;
        Ok(lock)
    }

    /// Removes what was not used for longest until the rest is at most this large, and what was left behind.
    fn evict(&self, limit: u64) {
        let _lock = match self.lock(FlockOperation::NonBlockingLockExclusive) {
            Err(e) if e.downcast_ref() == Some(&Errno::WOULDBLOCK) => return,
            // Where there are no locks, two may do the same work.
            lock => lock,
        };
        let Ok(mut items) = self.items() else { return };
        let now = SystemTime::now();
        items.retain(|item| {
            let abandoned = item.temporary && now.duration_since(item.used).is_ok_and(|age| age > ABANDONED);
            if abandoned {
                self.remove(&item.name);
            }
            !abandoned
        });
        let mut total: u64 = items.iter().map(|i| i.bytes).sum();
        items.sort_unstable_by_key(|i| i.used);
        for item in items.iter().filter(|i| !i.temporary) {
            if total <= limit {
                break;
            }
            if self.remove(&item.name) {
                report::verbose(|| format!("evicted from the cache: {}", item.name));
            }
            total -= item.bytes;
        }
    }

    /// Removes everything; says what was there.
    ///
    /// # Errors
    /// If the folder cannot be read or locked, or something cannot be removed.
    pub fn clean(&self) -> Result<Usage> {
        let _lock = self.lock(FlockOperation::LockExclusive)?;
        let mut removed = Usage { entries: 0, bytes: 0 };
        for item in self.items()? {
            match rustix::fs::unlinkat(&self.folder, &item.name, AtFlags::empty()) {
                Ok(()) => {
                    removed.entries += usize::from(!item.temporary);
                    removed.bytes += item.bytes;
                }
                Err(Errno::NOENT) => {}
                Err(e) => bail!("cannot remove {}: {e}", self.path.join(&item.name).display()),
            }
        }
        Ok(removed)
    }
}

/// Whether code cannot run from the file system that the cache is on. The entry stays there: it tells the next run before that has
/// compiled anything.
fn is_not_executable(e: &anyhow::Error) -> bool {
    e.chain().any(|c| c.downcast_ref().is_some_and(|e: &ArtifactError| matches!(e.kind, ArtifactErrorKind::NotExecutable(_))))
}

/// The name of the entry for a module: a digest of all that decides what its artifact contains.
fn entry_name(digest: &[u8; 32], options: &JitOptions) -> String {
    let mut hasher = blake3::Hasher::new();
    // Debug output quotes strings and names fields, so that different options never read the same.
    let key = (
        digest,
        WASMC_VERSION,
        env!("WASMC_CODE_GENERATOR"),
        std::env::consts::ARCH,
        std::env::consts::OS,
        wasmc_compiler::host_features(),
        options,
    );
    hasher.update(format!("wasmc cache 1: {key:?}").as_bytes());
    format!("{}.so", hasher.finalize().to_hex())
}

fn is_entry_name(name: &str) -> bool {
    name.strip_suffix(".so").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A file that is being written; removed unless it gets its name.
struct Temporary<'a> {
    cache: &'a Cache,
    name: Option<String>,
    file: File,
}

impl<'a> Temporary<'a> {
    fn new(cache: &'a Cache) -> Result<Self> {
        let mut random = [0; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let mut name = format!("{TEMPORARY}{}-", std::process::id());
        for byte in random {
            // Writing to a string does not fail.
            let _ = write!(name, "{byte:02x}");
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&cache.folder, &name, flags, Mode::RUSR | Mode::WUSR)
            .with_context(|| format!("cannot write to {}", cache.path.display()))?;
        Ok(Self { cache, name: Some(name), file: file.into() })
    }

    /// Gives the file its name.
    fn rename(&mut self, to: &str) -> Result<(), Errno> {
        if let Some(name) = &self.name {
            rustix::fs::renameat(&self.cache.folder, name, &self.cache.folder, to)?;
        }
        self.name = None;
        Ok(())
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            self.cache.remove(name);
        }
    }
}
