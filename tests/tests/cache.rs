//! The cache of compiled modules: what is found again and what is not, many processes at once, processes that are killed in the
//! middle, damaged and foreign files, eviction, and folders that cannot or must not be used. Never an error to the user.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};
use wasmc_tests::{Outcome, command, run, wasmc};

/// A cache of its own, and a folder for modules.
struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let fixture = Self { dir: tempfile::tempdir().unwrap() };
        fixture.module("m", 1, 0);
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where the cache is.
    fn folder(&self) -> PathBuf {
        self.path("cache/wasmc")
    }

    /// A module that prints a number. It has this many more functions, and a memory with an image.
    fn module(&self, name: &str, number: u32, functions: u32) {
        let more: String =
            (0..functions).map(|i| format!("(func (param i32) (result i32) (i32.mul (local.get 0) (i32.const {i})))")).collect();
        let text = format!(
            r#"(module
                (memory 2) (data (i32.const 65536) "\07")
                (func (export "f") (result i32) (i32.add (i32.const {number}) (i32.sub (i32.load8_u (i32.const 65536)) (i32.const 7)))) {more})"#
        );
        fs::write(self.path(&format!("{name}.wat")), text).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut c = command(wasmc());
        c.args(args)
            .current_dir(self.dir.path())
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env_remove("WASMC_CACHE_SIZE")
            .env("NO_COLOR", "1");
        c
    }

    fn wasmc(&self, args: &[&str]) -> Outcome {
        run(&mut self.command(args), Duration::from_secs(60))
    }

    /// Runs a module, which must print its number; what was said about the cache.
    fn run(&self, name: &str, number: u32, options: &[&str]) -> String {
        let file = format!("{name}.wat");
        let mut args = vec!["--verbose", "run", "--invoke", "f"];
        args.extend(options);
        args.push(&file);
        let outcome = self.wasmc(&args);
        assert_eq!((outcome.code, String::from_utf8_lossy(&outcome.stdout).trim()), (Some(0), &*number.to_string()), "{}", outcome.stderr);
        outcome.stderr
    }

    /// Names of the files in the folder that are no lock.
    fn entries(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.folder()) else { return vec![] };
        let mut names: Vec<_> = entries.flatten().map(|e| e.file_name().into_string().unwrap()).filter(|n| n != "lock").collect();
        names.sort();
        names
    }

    fn entry(&self) -> PathBuf {
        match &*self.entries() {
            [one] => self.folder().join(one),
            other => panic!("{other:?}"),
        }
    }
}

const HIT: &str = "wasmc: from the cache: ";
const MISS: &str = "compiled into the cache: ";

#[test]
fn what_was_compiled_is_found_again() {
    let f = Fixture::new();
    assert!(f.run("m", 1, &[]).contains(MISS));
    let entry = f.entry();
    let (folder, file) = (fs::metadata(f.folder()).unwrap(), fs::metadata(&entry).unwrap());
    assert_eq!((folder.mode() & 0o777, file.mode() & 0o777), (0o700, 0o600));
    assert!(f.run("m", 1, &[]).contains(&format!("{HIT}{}", entry.display())));
    // By content: another name is the same module.
    fs::copy(f.path("m.wat"), f.path("other.wat")).unwrap();
    assert!(f.run("other", 1, &[]).contains(HIT));
    // Without being asked it says nothing.
    let outcome = f.wasmc(&["run", "--invoke", "f", "m.wat"]);
    assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""));

    // Everything that changes the code is a module of its own.
    for options in [&["--interpret", "all"][..], &["--interpret", "0"], &["--interpret", "odd"], &["-W", "simd=n"], &["--trace", "calls"]] {
        assert!(f.run("m", 1, options).contains(MISS), "{options:?}");
        assert!(f.run("m", 1, options).contains(HIT), "{options:?}");
    }
    assert_eq!(f.entries().len(), 6);
    f.module("m", 2, 0);
    assert!(f.run("m", 2, &[]).contains(MISS));
    // What does not is not.
    assert!(f.run("m", 2, &["--deterministic"]).contains(HIT));

    let kept = f.entries();
    let said = f.run("m", 2, &["--no-cache"]);
    assert!(!said.contains("cache"), "{said}");
    assert!(!f.run("m", 2, &["--tier", "interpreted"]).contains("cache"));
    f.module("m", 3, 0);
    f.run("m", 3, &["--no-cache"]);
    f.run("m", 3, &["--tier", "interpreted"]);
    assert_eq!(f.entries(), kept);
}

#[test]
fn errors_are_those_of_the_module() {
    let f = Fixture::new();
    fs::write(f.path("bad.wat"), "(module (func (export \"f\") (result i32)))").unwrap();
    let with = f.wasmc(&["run", "bad.wat"]);
    let without = f.wasmc(&["run", "--no-cache", "bad.wat"]);
    assert_eq!((with.code, &with.stderr), (without.code, &without.stderr));
    assert_eq!(with.code, Some(65));
    assert_eq!(f.entries(), Vec::<String>::new(), "nothing is left behind");
    // A trap's backtrace reads the same from either.
    fs::write(f.path("trap.wat"), "(module (func $f (export \"f\") unreachable))").unwrap();
    let outcomes = [&["run"][..], &["run"], &["run", "--no-cache"]].map(|a| f.wasmc(&[a, &["--invoke", "f", "trap.wat"]].concat()).stderr);
    assert_eq!((&outcomes[0], &outcomes[1]), (&outcomes[2], &outcomes[2]));
}

#[test]
fn info_and_clean() {
    let f = Fixture::new();
    let info = |env: &[(&str, &str)]| {
        let outcome = run(f.command(&["cache", "info"]).envs(env.iter().copied()), Duration::from_secs(60));
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        String::from_utf8(outcome.stdout).unwrap()
    };
    let folder = f.folder();
    assert_eq!(info(&[]), format!("path:    {}\nentries: 0\nbytes:   0\nlimit:   1073741824\n", folder.display()));
    assert!(!folder.exists(), "looking makes nothing");
    f.run("m", 1, &[]);
    let bytes = fs::metadata(f.entry()).unwrap().len();
    // What somebody put there is not counted, and not removed.
    fs::write(folder.join("notes.txt"), "mine").unwrap();
    assert_eq!(
        info(&[("WASMC_CACHE_SIZE", "5M")]),
        format!("path:    {}\nentries: 1\nbytes:   {bytes}\nlimit:   5242880\n", folder.display())
    );
    assert!(info(&[("WASMC_CACHE_SIZE", "0")]).contains("limit:   0 (off)"));
    assert!(info(&[("WASMC_CACHE_SIZE", "many")]).contains("expected a number"));
    let clean = f.wasmc(&["cache", "clean"]);
    assert_eq!(clean.code, Some(0));
    assert!(clean.stderr.contains(&format!("removed 1 compiled modules, {bytes} bytes")), "{}", clean.stderr);
    assert_eq!(f.entries(), ["notes.txt"]);
    assert!(f.wasmc(&["cache", "clean", "--quiet"]).stderr.is_empty());
    assert!(f.run("m", 1, &[]).contains(MISS));
    // Without a folder there is nothing to say.
    let outcome = run(f.command(&["cache", "info"]).env_remove("XDG_CACHE_HOME").env_remove("HOME"), Duration::from_secs(60));
    assert_eq!(outcome.code, Some(66));
    assert!(outcome.stderr.contains("neither XDG_CACHE_HOME nor HOME"), "{}", outcome.stderr);
}

#[test]
fn many_processes_at_once() {
    let f = Fixture::new();
    f.module("big", 5, 300);
    let children: Vec<Child> = (0..16)
        .map(|_| f.command(&["-v", "run", "--invoke", "f", "big.wat"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    for child in children {
        let outcome = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&outcome.stderr);
        assert!(outcome.status.success() && outcome.stdout == b"5\n", "{said}");
        assert!(said.contains(HIT) || said.contains(MISS), "{said}");
        assert!(!said.contains("removed") && !said.contains("no cache"), "{said}");
    }
    assert_eq!(f.entries().len(), 1, "one entry, and nothing left behind");
    assert!(f.run("big", 5, &[]).contains(HIT));
}

/// Processes that die at any moment leave either nothing, a temporary file, or the whole entry.
#[test]
fn processes_that_are_killed() {
    let f = Fixture::new();
    f.module("big", 6, 200);
    let start = std::time::Instant::now();
    f.run("big", 6, &[]);
    let whole = start.elapsed();
    for round in 0..60u32 {
        if round % 3 == 0 {
            f.wasmc(&["cache", "clean", "-q"]);
        }
        let mut child = f.command(&["run", "--invoke", "f", "big.wat"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole.mul_f64(f64::from(round % 20) / 18.0));
        let _ = child.kill();
        child.wait().unwrap();
        let said = f.run("big", 6, &[]);
        assert!(!said.contains("removed from the cache"), "{said}");
    }
    let temporaries = |f: &Fixture| f.entries().iter().filter(|n| n.starts_with("tmp-")).count();
    // What a killed process left goes when it is old, at the next eviction.
    let old = f.folder().join("tmp-1-0011223344556677");
    fs::write(&old, [0; 100]).unwrap();
    fs::File::open(&old).unwrap().set_modified(SystemTime::now() - Duration::from_secs(7200)).unwrap();
    let young = f.folder().join("tmp-1-7766554433221100");
    fs::write(&young, "").unwrap();
    f.module("m", 9, 0);
    f.run("m", 9, &[]);
    assert!(!old.exists() && young.exists());
    f.wasmc(&["cache", "clean"]);
    assert_eq!(temporaries(&f), 0);
}

/// A file that is not what it was is noticed wherever it was changed, removed, and made anew.
#[test]
fn damaged_files() {
    let f = Fixture::new();
    f.run("m", 1, &[]);
    let entry = f.entry();
    let good = fs::read(&entry).unwrap();
    let mut damages: Vec<Vec<u8>> =
        vec![vec![], good[..100].to_vec(), good[..good.len() - 1].to_vec(), b"\x7fELF".to_vec(), vec![0; good.len()]];
    damages.push([&good[..], b"more"].concat());
    // Every part of the file that means something: damage in the padding between changes nothing.
    for at in (0..good.len()).step_by(good.len() / 97) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        damages.push(bytes);
    }
    let mut noticed = 0;
    for (i, bytes) in damages.iter().enumerate() {
        // As a crash leaves it, not as an editor: in place would be a change while somebody runs it.
        fs::remove_file(&entry).unwrap();
        fs::write(&entry, bytes).unwrap();
        fs::set_permissions(&entry, Permissions::from_mode(0o600)).unwrap();
        let said = f.run("m", 1, &[]);
        assert!(said.contains("removed from the cache") == said.contains(MISS), "{said}");
        noticed += usize::from(said.contains(MISS));
        assert!(i > 5 || said.contains(MISS), "{i}: {said}");
        assert!(f.run("m", 1, &[]).contains(HIT));
    }
    assert!(noticed > 6, "{noticed}");
}

#[test]
fn foreign_files() {
    let f = Fixture::new();
    f.run("m", 1, &[]);
    let entry = f.entry();
    // Another module's artifact, which is whole.
    f.module("other", 2, 0);
    let outcome = f.wasmc(&["compile", "-q", "other.wat", "-o", "other.so"]);
    assert_eq!(outcome.code, Some(0));
    let put = |bytes: &[u8], mode| {
        let _ = fs::remove_file(&entry);
        fs::write(&entry, bytes).unwrap();
        fs::set_permissions(&entry, Permissions::from_mode(mode)).unwrap();
    };
    put(&fs::read(f.path("other.so")).unwrap(), 0o600);
    assert!(f.run("m", 1, &[]).contains("was made from another module"));
    // One that others may write to; one that is somewhere else; things that are no files.
    let good = fs::read(&entry).unwrap();
    put(&good, 0o622);
    assert!(f.run("m", 1, &[]).contains("only this user can write to"));
    fs::rename(&entry, f.path("elsewhere")).unwrap();
    symlink(f.path("elsewhere"), &entry).unwrap();
    assert!(f.run("m", 1, &[]).contains(MISS));
    assert!(fs::symlink_metadata(&entry).unwrap().is_file());
    fs::remove_file(&entry).unwrap();
    make_pipe(&entry);
    assert!(f.run("m", 1, &[]).contains(MISS));
    assert!(f.run("m", 1, &[]).contains(HIT));
    // A folder in its place cannot be removed as a file is; the module is compiled all the same.
    fs::remove_file(&entry).unwrap();
    fs::create_dir(&entry).unwrap();
    f.run("m", 1, &[]);
}

fn make_pipe(path: &Path) {
    let made = Command::new("mkfifo").arg("-m").arg("600").arg(path).status().unwrap();
    assert!(made.success());
}

#[test]
fn the_least_recently_used_goes_first() {
    let f = Fixture::new();
    f.run("m", 1, &[]);
    let size = fs::metadata(f.entry()).unwrap().len();
    f.wasmc(&["cache", "clean"]);
    let limit = (size * 7 / 2).to_string();
    let run_limited = |name: &str, number: u32| {
        let outcome = run(
            f.command(&["-v", "run", "--invoke", "f", &format!("{name}.wat")]).env("WASMC_CACHE_SIZE", &limit),
            Duration::from_secs(60),
        );
        assert_eq!((outcome.code, String::from_utf8_lossy(&outcome.stdout).trim()), (Some(0), &*number.to_string()), "{}", outcome.stderr);
        outcome.stderr
    };
    for n in 1..=3 {
        f.module(&format!("m{n}"), n, 0);
        run_limited(&format!("m{n}"), n);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(f.entries().len(), 3);
    // The first is used again, so the second one goes.
    assert!(run_limited("m1", 1).contains(HIT));
    std::thread::sleep(Duration::from_millis(20));
    f.module("m4", 4, 0);
    let said = run_limited("m4", 4);
    assert_eq!(said.matches("evicted").count(), 1, "{said}");
    assert_eq!(f.entries().len(), 3);
    for (name, number, there) in [("m1", 1, true), ("m3", 3, true), ("m4", 4, true), ("m2", 2, false)] {
        assert_eq!(run_limited(name, number).contains(HIT), there, "{name}");
    }
    // What alone is larger than the limit is not kept.
    let outcome = run(f.command(&["-v", "run", "--invoke", "f", "m.wat"]).env("WASMC_CACHE_SIZE", "1K"), Duration::from_secs(60));
    assert_eq!((outcome.code, &*outcome.stdout), (Some(0), &b"1\n"[..]));
    assert!(outcome.stderr.contains("not kept"), "{}", outcome.stderr);
    assert_eq!(f.entries(), Vec::<String>::new(), "and the others had to go: {}", outcome.stderr);
    let off = run(f.command(&["-v", "run", "--invoke", "f", "m.wat"]).env("WASMC_CACHE_SIZE", "0"), Duration::from_secs(60));
    assert!(off.stderr.contains("no cache: WASMC_CACHE_SIZE is 0"), "{}", off.stderr);
}

/// Processes that fill a small cache while others read from it: entries come and go under their eyes.
#[test]
fn evicting_while_others_read() {
    let f = Fixture::new();
    for n in 0..6 {
        f.module(&format!("n{n}"), n, 0);
    }
    f.run("n0", 0, &[]);
    let limit = (fs::metadata(f.entry()).unwrap().len() * 2).to_string();
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let (f, limit) = (&f, &limit);
            scope.spawn(move || {
                for i in 0..15u32 {
                    let n = (i * 7 + thread * 3) % 6;
                    let outcome = run(
                        f.command(&["-v", "run", "--invoke", "f", &format!("n{n}.wat")]).env("WASMC_CACHE_SIZE", limit),
                        Duration::from_secs(60),
                    );
                    assert_eq!(
                        (outcome.code, String::from_utf8_lossy(&outcome.stdout).trim()),
                        (Some(0), &*n.to_string()),
                        "{}",
                        outcome.stderr
                    );
                    assert!(!outcome.stderr.contains("removed from"), "{}", outcome.stderr);
                }
            });
        }
    });
    f.module("last", 7, 0);
    run(f.command(&["run", "--invoke", "f", "last.wat"]).env("WASMC_CACHE_SIZE", &limit), Duration::from_secs(60));
    assert!((1..=2).contains(&f.entries().len()), "{:?}", f.entries());
}

#[test]
fn folders_that_cannot_or_must_not_be_used() {
    let f = Fixture::new();
    let said = |setup: &dyn Fn(&mut Command)| {
        let mut c = f.command(&["-v", "run", "--invoke", "f", "m.wat"]);
        setup(&mut c);
        let outcome = run(&mut c, Duration::from_secs(60));
        assert_eq!((outcome.code, &*outcome.stdout), (Some(0), &b"1\n"[..]), "{}", outcome.stderr);
        outcome.stderr
    };
    // Nowhere to look; relative paths do not count.
    for home in [None, Some(""), Some("relative")] {
        let text = said(&|c| {
            c.env_remove("XDG_CACHE_HOME").env_remove("HOME");
            if let Some(home) = home {
                c.env("HOME", home).env("XDG_CACHE_HOME", home);
            }
        });
        assert!(text.contains("no cache: neither XDG_CACHE_HOME nor HOME names a folder"), "{text}");
    }
    let text = said(&|c| _ = c.env_remove("XDG_CACHE_HOME").env("HOME", f.path("home")));
    assert!(text.contains(MISS) && f.path("home/.cache/wasmc").is_dir(), "{text}");
    // A file where the folder should be; a place where nothing can be made.
    fs::write(f.path("file"), "").unwrap();
    let text = said(&|c| _ = c.env("XDG_CACHE_HOME", f.path("file")));
    assert!(text.contains("no cache: "), "{text}");
    let text = said(&|c| _ = c.env("XDG_CACHE_HOME", "/proc/self"));
    assert!(text.contains("no cache: "), "{text}");
    // Others may write to it: what is there may be theirs.
    f.run("m", 1, &[]);
    for mode in [0o770, 0o707, 0o777] {
        fs::set_permissions(f.folder(), Permissions::from_mode(mode)).unwrap();
        assert!(said(&|_| {}).contains("others may write to it (chmod 700 it)"));
        let info = f.wasmc(&["cache", "info"]);
        assert_eq!(info.code, Some(66));
        assert!(info.stderr.contains("chmod 700"), "{}", info.stderr);
    }
    fs::set_permissions(f.folder(), Permissions::from_mode(0o700)).unwrap();
    assert!(said(&|_| {}).contains(HIT));
    // A link to a folder of this user is not followed.
    fs::rename(f.folder(), f.path("moved")).unwrap();
    symlink(f.path("moved"), f.folder()).unwrap();
    assert!(said(&|_| {}).contains("no cache: "));
    fs::remove_file(f.folder()).unwrap();
    fs::rename(f.path("moved"), f.folder()).unwrap();
    // Somebody else's, and one without permission to write; root is not held back by the latter.
    if fs::metadata(f.folder()).unwrap().uid() == 0 {
        std::os::unix::fs::chown(f.folder(), Some(65534), None).unwrap();
        assert!(said(&|_| {}).contains("belongs to another user"));
        std::os::unix::fs::chown(f.folder(), Some(0), None).unwrap();
    } else {
        fs::set_permissions(f.folder(), Permissions::from_mode(0o500)).unwrap();
        f.module("m", 1, 1);
        assert!(said(&|_| {}).contains("no cache: cannot write to"));
        fs::set_permissions(f.folder(), Permissions::from_mode(0o700)).unwrap();
    }
    // A wrong size is said, and nothing is kept.
    let text = said(&|c| _ = c.env("WASMC_CACHE_SIZE", "lots"));
    assert!(text.contains("no cache: WASMC_CACHE_SIZE=lots: expected a number of bytes"), "{text}");
}

/// A module that would take a while is compiled while it runs; only one that is run again goes into the cache.
#[test]
fn a_large_module_is_kept_at_its_second_run() {
    let f = Fixture::new();
    f.module("large", 3, 4000);
    assert!(f.run("large", 3, &[]).contains("compiled while it runs"));
    let note = f.entry();
    assert_eq!(fs::metadata(&note).unwrap().len(), 0);
    // Other options are other entries, and what is not for the cache changes nothing there.
    f.run("large", 3, &["--no-cache"]);
    f.run("large", 3, &["--tier", "interpreted"]);
    assert_eq!(f.entry(), note);
    assert!(f.run("large", 3, &[]).contains("compiled into the cache"));
    assert!(f.run("large", 3, &[]).contains("from the cache"));
    assert_ne!(f.entry(), note);
    // Who wants everything compiled gets it at once.
    f.module("other", 4, 4000);
    assert!(f.run("other", 4, &["--tier", "compiled"]).contains("compiled into the cache"));
    assert!(f.run("other", 4, &[]).contains("from the cache"));
    // A note is no entry, and goes with the others.
    f.module("third", 5, 4000);
    f.run("third", 5, &[]);
    let usage = f.wasmc(&["cache", "info"]);
    assert_eq!((usage.code, f.entries().len()), (Some(0), 3));
    assert_eq!(f.wasmc(&["cache", "clean"]).code, Some(0));
    assert!(f.entries().is_empty());
}
