//! Attacks on the confinement, each with both ways of resolving paths.

use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rustix::fs::{Mode, OFlags, RenameFlags};
use rustix::io::Errno as HostErrno;

use super::PathResolution;
use crate::preview1::{path_create_directory, path_remove_directory, path_unlink_file};
use crate::testing::{CREATE, DIRECTORY, EXCLUSIVE, FOLLOW, Guest, READ, ROOT, TRUNCATE, TestDir, WRITE};
use crate::{DirAccess, Errno};

const BOTH: [PathResolution; 2] = [PathResolution::Kernel, PathResolution::Walk];

/// `outside/secret` is what no program may reach; the program has `inside`.
fn scene(resolution: PathResolution) -> (TestDir, Guest) {
    let dir = TestDir::new();
    dir.dir("outside").dir("inside/a/b").file("outside/secret", "secret").file("inside/a/file", "inside");
    let secret = dir.path("outside/secret");
    dir.link("inside/absolute", secret.to_str().unwrap())
        .link("inside/up", "../outside/secret")
        .link("inside/up-dir", "..")
        .link("inside/up-slash", "../")
        .link("inside/out-dir", "../outside/")
        .link("inside/a/b/up3", "../../../outside")
        .link("inside/chain", "a/b/up3/secret")
        .link("inside/loop", "loop")
        .link("inside/good", "a/./b/../file")
        .link("inside/good-dir", "a/")
        .link("inside/a/b/root", "../..")
        .link("inside/dangling", "nothing");
    let guest = Guest::new(&dir.path("inside"), DirAccess::ReadWrite, resolution);
    (dir, guest)
}

#[test]
fn nothing_outside_is_opened() {
    for resolution in BOTH {
        let (dir, mut guest) = scene(resolution);
        let secret = dir.path("outside/secret");
        for path in [
            "../outside/secret",
            "a/../../outside/secret",
            "a/b/../../../outside/secret",
            "./..",
            "..",
            "../",
            "a/../..",
            "a/../../inside",
            secret.to_str().unwrap(),
            "/",
            "//a",
            "absolute",
            "up",
            "up-dir",
            "up-slash",
            "up-dir/outside/secret",
            "up-slash/outside/secret",
            "out-dir",
            "out-dir/",
            "out-dir/secret",
            "a/b/up3/secret",
            "a/b/up3/../outside/secret",
            "chain",
            "good-dir/../../outside/secret",
            "a/b/root/../outside/secret",
            "a/b/root/..",
        ] {
            for oflags in [0, DIRECTORY, TRUNCATE] {
                let opened = guest.open(ROOT, FOLLOW, path, oflags, READ);
                assert_eq!(opened, Err(Errno::PERM), "{resolution:?} {path} {oflags}");
            }
            // What cannot be a new file is refused before it is followed.
            let created = guest.open(ROOT, FOLLOW, path, CREATE, READ);
            assert!(matches!(created, Err(Errno::PERM | Errno::ISDIR)), "{resolution:?} {path} {created:?}");
            assert_eq!(guest.stat(ROOT, FOLLOW, path), Err(Errno::PERM), "{resolution:?} {path}");
            assert_eq!(guest.set_mtime(ROOT, FOLLOW, path, 1), Err(Errno::PERM), "{resolution:?} {path}");
        }
        assert_eq!(std::fs::read(&secret).unwrap(), b"secret");
        assert_ne!(std::fs::metadata(&secret).unwrap().mtime(), 0);
    }
}

#[test]
fn nothing_outside_is_changed() {
    for resolution in BOTH {
        let (dir, mut guest) = scene(resolution);
        for path in ["../new", "up-dir/new", "out-dir/new", "a/b/up3/new", "a/../../new", "/tmp/new", ".."] {
            assert_eq!(guest.path(path_create_directory, ROOT, path), Err(Errno::PERM), "{path}");
            assert_eq!(guest.path(path_remove_directory, ROOT, path), Err(Errno::PERM), "{path}");
            assert_eq!(guest.path(path_unlink_file, ROOT, path), Err(Errno::PERM), "{path}");
            assert_eq!(guest.symlink("x", ROOT, path), Err(Errno::PERM), "{path}");
            assert_eq!(guest.rename((ROOT, "a/file"), (ROOT, path)), Err(Errno::PERM), "{path}");
            assert_eq!(guest.rename((ROOT, path), (ROOT, "a/stolen")), Err(Errno::PERM), "{path}");
            assert_eq!(guest.link(0, (ROOT, "a/file"), (ROOT, path)), Err(Errno::PERM), "{path}");
            assert_eq!(guest.link(0, (ROOT, path), (ROOT, "a/stolen")), Err(Errno::PERM), "{path}");
            assert_eq!(guest.readlink(ROOT, path, 99), Err(Errno::PERM), "{path}");
        }
        assert_eq!(guest.path(path_unlink_file, ROOT, "out-dir/secret"), Err(Errno::PERM));
        // A link that leads out can be removed, renamed and read, but not made if it is absolute.
        assert_eq!(guest.symlink("/etc/passwd", ROOT, "new"), Err(Errno::PERM));
        assert_eq!(guest.rename((ROOT, "up"), (ROOT, "down")), Ok(()));
        assert_eq!(guest.readlink(ROOT, "down", 99).as_deref(), Ok("../outside/secret"));
        assert_eq!(guest.link(0, (ROOT, "down"), (ROOT, "down2")), Ok(()));
        assert_eq!(guest.link(FOLLOW, (ROOT, "down"), (ROOT, "down3")), Err(Errno::INVAL));
        assert_eq!(guest.path(path_unlink_file, ROOT, "down"), Ok(()));
        assert_eq!(guest.path(path_unlink_file, ROOT, "down2"), Ok(()));
        // A slash after a link to a directory outside does not look through it either.
        assert_eq!(guest.path(path_remove_directory, ROOT, "out-dir/"), Err(Errno::NOTDIR));
        assert_eq!(guest.path(path_unlink_file, ROOT, "out-dir/"), Err(Errno::NOTDIR));
        assert_eq!(guest.rename((ROOT, "out-dir/"), (ROOT, "x")), Err(Errno::NOTDIR));
        assert_eq!(guest.rename((ROOT, "a"), (ROOT, "out-dir/")), Err(Errno::NOTDIR));
        assert_eq!(guest.path(path_create_directory, ROOT, "out-dir/"), Err(Errno::EXIST));
        assert_eq!(guest.readlink(ROOT, "out-dir/", 99), Err(Errno::PERM));
        assert_eq!(std::fs::read_dir(dir.path("outside")).unwrap().count(), 1);
        assert!(dir.path("inside/a/file").exists());
    }
}

#[test]
fn links_inside_work() {
    for resolution in BOTH {
        let (_dir, mut guest) = scene(resolution);
        let fd = guest.open(ROOT, FOLLOW, "good", 0, READ).unwrap();
        assert_eq!(guest.read(fd, 99).unwrap(), b"inside");
        guest.close(fd).unwrap();
        for path in ["good-dir/file", "a/b/root/a/file", "a/b/../file", "./a//file", "good-dir/b/root/good"] {
            assert_eq!(guest.stat(ROOT, FOLLOW, path).map(|stat| stat.1), Ok(6), "{resolution:?} {path}");
        }
        for path in ["good-dir", "good-dir/", "a/b/root", "a/b/root/", "a/b/..", ".", "./", "a/."] {
            assert_eq!(guest.stat(ROOT, FOLLOW, path).map(|stat| stat.0), Ok(3), "{resolution:?} {path}");
            let fd = guest.open(ROOT, FOLLOW, path, DIRECTORY, READ).unwrap();
            assert_eq!(guest.fdstat(fd).unwrap().0, 3);
            guest.close(fd).unwrap();
        }
        for (path, error) in [
            ("loop", Errno::LOOP),
            ("loop/x", Errno::LOOP),
            ("dangling", Errno::NOENT),
            ("nothing", Errno::NOENT),
            ("", Errno::NOENT),
            ("a/file/", Errno::NOTDIR),
            ("a/file/x", Errno::NOTDIR),
            ("a/file/..", Errno::NOTDIR),
            ("a/file/.", Errno::NOTDIR),
            ("good/", Errno::NOTDIR),
            ("a\0", Errno::ILSEQ),
        ] {
            assert_eq!(guest.open(ROOT, FOLLOW, path, 0, READ), Err(error), "{resolution:?} {path}");
        }
        // Not followed.
        assert_eq!(guest.open(ROOT, 0, "good", 0, READ), Err(Errno::LOOP));
        assert_eq!(guest.open(ROOT, 0, "good-dir", DIRECTORY, READ), Err(Errno::NOTDIR));
        assert_eq!(guest.stat(ROOT, 0, "good").map(|stat| stat.0), Ok(7));
        assert_eq!(guest.stat(ROOT, 0, "loop").map(|stat| stat.0), Ok(7));
        assert_eq!(guest.set_mtime(ROOT, 0, "loop", 7), Ok(()));
        assert_eq!(guest.set_mtime(ROOT, FOLLOW, "good", 1_000_000_009), Ok(()));
        assert_eq!(guest.stat(ROOT, 0, "a/file").map(|stat| stat.2), Ok(1_000_000_009));
        assert_eq!(guest.stat(ROOT, 0, "loop").map(|stat| stat.2), Ok(7));
    }
}

#[test]
fn creating_through_links_stays_inside() {
    for resolution in BOTH {
        let (dir, mut guest) = scene(resolution);
        dir.link("inside/new-inside", "a/new").link("inside/new-outside", "../outside/new");
        let fd = guest.open(ROOT, FOLLOW, "new-inside", CREATE, WRITE).unwrap();
        guest.write(fd, b"x").unwrap();
        assert!(dir.path("inside/a/new").exists());
        assert_eq!(guest.open(ROOT, FOLLOW, "new-outside", CREATE, WRITE), Err(Errno::PERM));
        assert_eq!(guest.open(ROOT, FOLLOW, "dangling", CREATE | EXCLUSIVE, WRITE), Err(Errno::EXIST));
        assert_eq!(guest.open(ROOT, FOLLOW, "a/new2/", CREATE, WRITE), Err(Errno::ISDIR));
        assert_eq!(guest.open(ROOT, 0, "dangling", CREATE, WRITE), Err(Errno::LOOP));
        assert_eq!(guest.open(ROOT, FOLLOW, "a", CREATE, WRITE), Err(Errno::ISDIR));
        assert_eq!(guest.open(ROOT, FOLLOW, ".", CREATE, WRITE), Err(Errno::ISDIR));
        assert!(!dir.path("outside/new").exists());
    }
}

#[test]
fn magic_links_lead_nowhere() {
    for resolution in BOTH {
        // The process's own descriptors, among them one that is outside every preopened directory.
        let outside = std::fs::File::open("/etc").unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&outside);
        let mut guest = Guest::new("/proc/self".as_ref(), DirAccess::ReadWrite, resolution);
        for path in [format!("fd/{number}"), format!("fd/{number}/passwd"), "cwd".into(), "root/etc".into(), "exe".into()] {
            let opened = guest.open(ROOT, FOLLOW, &path, 0, READ);
            assert!(matches!(opened, Err(Errno::PERM | Errno::LOOP)), "{resolution:?} {path} {opened:?}");
            let stat = guest.stat(ROOT, FOLLOW, &path);
            assert!(matches!(stat, Err(Errno::PERM | Errno::LOOP)), "{resolution:?} {path} {stat:?}");
        }
    }
}

/// Ends the other thread also when a check fails, so that the failure is seen.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_race_of_renames_wins_nothing() {
    for resolution in BOTH {
        let (dir, mut guest) = scene(resolution);
        // `flip` is a directory with a file of the same name in it, and a moment later a link to the outside.
        dir.dir("inside/flip").file("inside/flip/secret", "decoy!").link("inside/other", "../outside");
        let (stop, flips) = (AtomicBool::new(false), AtomicU32::new(0));
        let inside = std::fs::File::open(dir.path("inside")).unwrap();
        let (mut reached, mut refused) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    rustix::fs::renameat_with(&inside, "flip", &inside, "other", RenameFlags::EXCHANGE).unwrap();
                    flips.fetch_add(1, Ordering::Relaxed);
                }
            });
            let _stop = StopAtEnd(&stop);
            for round in 0.. {
                let path = ["flip/secret", "flip/../flip/secret", "a/../flip/secret"][round % 3];
                match guest.open(ROOT, FOLLOW, path, 0, READ) {
                    Ok(fd) => {
                        reached += 1;
                        let contents = guest.read(fd, 99).unwrap();
                        assert_eq!(contents, b"decoy!", "{resolution:?}");
                        guest.close(fd).unwrap();
                    }
                    Err(_) => refused += 1,
                }
                let removed = guest.path(path_unlink_file, ROOT, "flip/nothing");
                let created = guest.path(path_create_directory, ROOT, "flip/new");
                if created.is_ok() {
                    let _ = guest.path(path_remove_directory, ROOT, "flip/new");
                    let _ = guest.path(path_remove_directory, ROOT, "other/new");
                }
                assert!(removed.is_err());
                if flips.load(Ordering::Relaxed) >= 100_000 && round >= 5000 && reached > 0 && refused > 0 {
                    break;
                }
            }
        });
        assert_eq!(std::fs::read_dir(dir.path("outside")).unwrap().count(), 1);
    }
}

#[test]
fn long_and_deep_paths_are_bounded() {
    for resolution in BOTH {
        let (_dir, mut guest) = scene(resolution);
        assert_eq!(guest.open(ROOT, FOLLOW, &"a/".repeat(3000), 0, READ), Err(Errno::NAMETOOLONG));
        assert_eq!(guest.open(ROOT, FOLLOW, &"x".repeat(300), 0, READ), Err(Errno::NAMETOOLONG));
        assert!(guest.open(ROOT, FOLLOW, &"a/../".repeat(800), 0, READ).is_ok());
        for index in 0..41 {
            let text = if index == 0 { "a/file".into() } else { format!("hop{}", index - 1) };
            guest.symlink(&text, ROOT, &format!("hop{index}")).unwrap();
        }
        assert!(guest.open(ROOT, FOLLOW, "hop39", 0, READ).is_ok());
        assert_eq!(guest.open(ROOT, FOLLOW, "hop40", 0, READ), Err(Errno::LOOP));
    }
}

#[test]
fn a_read_only_directory_stays_as_it_is() {
    for resolution in BOTH {
        let (dir, _) = scene(resolution);
        let mut builder = crate::WasiCtxBuilder::new();
        builder.path_resolution(resolution);
        builder.preopen_dir(dir.path("inside"), "/ro", DirAccess::ReadOnly).unwrap();
        builder.preopen_dir(dir.path("outside"), "/rw", DirAccess::ReadWrite).unwrap();
        let mut guest = Guest::with(builder.build().unwrap());
        let rw = ROOT + 1;
        let fd = guest.open(ROOT, FOLLOW, "good", 0, READ).unwrap();
        assert_eq!(guest.read(fd, 99).unwrap(), b"inside");
        assert_eq!(guest.write(fd, b"x"), Err(Errno::BADF));
        let sub = guest.open(ROOT, 0, "a", DIRECTORY, READ).unwrap();
        for (at, file) in [(ROOT, "a/file"), (sub, "file")] {
            assert_eq!(guest.open(at, 0, file, 0, WRITE), Err(Errno::ROFS));
            assert_eq!(guest.open(at, 0, file, TRUNCATE, READ), Err(Errno::ROFS));
            assert!(guest.open(at, 0, file, CREATE, READ).is_ok());
            assert_eq!(guest.open(at, 0, file, CREATE | EXCLUSIVE, READ), Err(Errno::EXIST));
            assert_eq!(guest.open(at, 0, "new", CREATE, READ), Err(Errno::ROFS));
            assert_eq!(guest.open(at, 0, "new", CREATE | EXCLUSIVE, READ), Err(Errno::ROFS));
            assert_eq!(guest.open(at, 0, "new", 0, READ), Err(Errno::NOENT));
            assert_eq!(guest.path(path_create_directory, at, "new"), Err(Errno::ROFS));
            assert_eq!(guest.path(path_remove_directory, at, "b"), Err(Errno::ROFS));
            assert_eq!(guest.path(path_unlink_file, at, file), Err(Errno::ROFS));
            assert_eq!(guest.symlink("x", at, "new"), Err(Errno::ROFS));
            assert_eq!(guest.set_mtime(at, 0, file, 1), Err(Errno::ROFS));
            assert_eq!(guest.rename((at, file), (rw, "new")), Err(Errno::ROFS));
            assert_eq!(guest.rename((rw, "secret"), (at, "new")), Err(Errno::ROFS));
            assert_eq!(guest.link(0, (at, file), (rw, "new")), Err(Errno::ROFS));
            assert_eq!(guest.link(0, (rw, "secret"), (at, "new")), Err(Errno::ROFS));
        }
        let (ctx, mut mem) = guest.parts();
        assert_eq!(crate::preview1::fd_filestat_set_times(ctx, &mut mem, sub, 0, 1, 4), Err(Errno::ROFS));
        assert_eq!(crate::preview1::fd_filestat_set_times(ctx, &mut mem, fd, 0, 1, 4), Err(Errno::NOTCAPABLE));
        assert_eq!(crate::preview1::fd_filestat_set_size(ctx, &mut mem, fd, 0), Err(Errno::NOTCAPABLE));
        assert_eq!(std::fs::read(dir.path("inside/a/file")).unwrap(), b"inside");
    }
}

#[test]
fn devices_and_pipes_do_not_hold_it_up() {
    for resolution in BOTH {
        let (dir, mut guest) = scene(resolution);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            dir.path("inside/pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        // Nobody has the other end.
        assert!(guest.open(ROOT, 0, "pipe", 0, READ).is_ok());
        let write_only = crate::types::Rights::FD_WRITE.bits();
        let fd = guest.open(ROOT, 0, "pipe", 0, write_only).unwrap();
        assert_eq!(guest.write(fd, b"x"), Ok(1));
    }
}

/// Makes the kernel say that it has no `openat2`, to this thread and those that it starts.
#[allow(unsafe_code, reason = "a filter of system calls")]
fn forget_openat2() {
    const fn instruction(code: u32, jump_true: u8, jump_false: u8, value: u32) -> libc::sock_filter {
        libc::sock_filter { code: code as u16, jt: jump_true, jf: jump_false, k: value }
    }
    let mut program = [
        // The number of the call; on this kernel's other architectures it is the same.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, std::mem::offset_of!(libc::seccomp_data, nr) as u32),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_openat2 as u32),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the first call takes numbers; the second reads the program, which lives on.
    let installed = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) == 0
    };
    assert!(installed, "the filter: {}", std::io::Error::last_os_error());
    let root = std::fs::File::open("/").unwrap();
    let error = rustix::fs::openat2(&root, ".", OFlags::PATH, Mode::empty(), super::RESOLVE).unwrap_err();
    assert_eq!(error, HostErrno::NOSYS);
}

/// Everything above, on a kernel that has no `openat2`.
#[test]
fn without_openat2_the_walk_is_as_strict() {
    std::thread::spawn(|| {
        forget_openat2();
        nothing_outside_is_opened();
        links_inside_work();
        nothing_outside_is_changed();
        creating_through_links_stays_inside();
        magic_links_lead_nowhere();
        devices_and_pipes_do_not_hold_it_up();
        a_read_only_directory_stays_as_it_is();
        a_race_of_renames_wins_nothing();
        long_and_deep_paths_are_bounded();
    })
    .join()
    .unwrap();
}
