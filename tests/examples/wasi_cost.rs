//! What a call of WASI costs, beside the same system call of a native program in the same process:
//! `cargo run --release -p wasmc-tests --example wasi_cost`. Nanoseconds, the best of several rounds.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;
use wasmc_runtime::{Config, Engine, Linker, Module, Store, Tier};
use wasmc_wasi::{DirAccess, Input, Output, WasiCtx, WasiCtxBuilder};

const ROUNDS: usize = 500;
const CALLS: i32 = 2_000;
const PAGE: usize = 4096;

/// Loops around one call each. Iovecs: one byte at 0, a page at 8.
const PROGRAM: &str = r#"(module
    (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $args (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_pread" (func $pread (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_seek" (func $seek (param i32 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_filestat_get" (func $fstat (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fdstat (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_filestat_get" (func $stat (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 2)
    (data (i32.const 0) "\00\10\00\00\01\00\00\00\00\10\00\00\00\10\00\00")
    (data (i32.const 64) "page")
    (data (i32.const 72) "none")
    (func (export "open") (result i32)
        (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 4) (i32.const 0) (i64.const 0x200026) (i64.const 0) (i32.const 0)
            (i32.const 32)))
    (func (export "nothing") (param $n i32)
        (loop (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "clock_time_get") (param $n i32)
        (loop (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 32)))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "args_sizes_get") (param $n i32)
        (loop (drop (call $args (i32.const 32) (i32.const 36)))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "fd_write, 1 byte") (param $n i32)
        (loop (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)) (then unreachable))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "fd_write, 4 KiB") (param $n i32)
        (loop (if (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 32)) (then unreachable))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "fd_read, 4 KiB") (param $n i32)
        (loop (if (call $read (i32.const 0) (i32.const 8) (i32.const 1) (i32.const 32)) (then unreachable))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "fd_seek, fd_read") (param $n i32)
        (loop
            (if (call $seek (i32.const 4) (i64.const 0) (i32.const 0) (i32.const 40)) (then unreachable))
            (if (call $read (i32.const 4) (i32.const 8) (i32.const 1) (i32.const 32)) (then unreachable))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "fd_filestat_get") (param $n i32)
        (loop (if (call $fstat (i32.const 4) (i32.const 128)) (then unreachable))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "fd_fdstat_get") (param $n i32)
        (loop (if (call $fdstat (i32.const 4) (i32.const 128)) (then unreachable))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "path_filestat_get") (param $n i32)
        (loop (if (call $stat (i32.const 3) (i32.const 1) (i32.const 64) (i32.const 4) (i32.const 128)) (then unreachable))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "and of no file") (param $n i32)
        (loop (if (i32.ne (call $stat (i32.const 3) (i32.const 1) (i32.const 72) (i32.const 4) (i32.const 128)) (i32.const 44)) (then unreachable))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "fd_pread, 4 KiB") (param $n i32)
        (loop (if (call $pread (i32.const 4) (i32.const 8) (i32.const 1) (i64.const 0) (i32.const 36)) (then unreachable))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#;

fn nanoseconds(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_nanos() as f64 / f64::from(CALLS)
}

fn open(path: &str, write: bool) -> OwnedFd {
    std::fs::File::options().read(!write).write(write).open(path).expect("a device").into()
}

fn main() -> wasmc_runtime::Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("page"), [7; PAGE])?;
    let engine = Engine::new(Config::new().tier(Tier::Compiled).compiler(Arc::new(wasmc_compiler::Jit::default())))?;
    let module = Module::new(&engine, wat::parse_str(PROGRAM)?)?;
    let mut builder = WasiCtxBuilder::new();
    builder.arg("program").stdin(Input::Fd(open("/dev/zero", false))).stdout(Output::Fd(open("/dev/null", true)));
    builder.preopen_dir(folder.path(), "/", DirAccess::ReadWrite)?;
    let mut store = Store::new(&engine, builder.build()?);
    let mut linker: Linker<WasiCtx> = Linker::new(&engine);
    wasmc_wasi::add_imports_to_linker(&mut linker, &module, |ctx| ctx, None)?;
    let instance = linker.instantiate(&mut store, &module)?;
    let opened = instance.get_typed_func::<(), i32>(&mut store, "open")?.call(&mut store, ())?;
    assert_eq!(opened, 0);

    let (zero, null) = (open("/dev/zero", false), open("/dev/null", true));
    let page = open(folder.path().join("page").to_str().unwrap_or_default(), false);
    let mut buffer = [0_u8; PAGE];
    let at = buffer.as_mut_ptr();
    let write = |fd: &OwnedFd, len| {
        // SAFETY: the descriptor is open, and the buffer has a page.
        std::hint::black_box(unsafe { libc::write(fd.as_raw_fd(), at.cast(), len) });
    };
    let clock = || {
        // SAFETY: zeros are a time, and the clock exists.
        unsafe {
            let mut time = std::mem::zeroed::<libc::timespec>();
            libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time);
            std::hint::black_box(time);
        }
    };
    let read = || {
        // SAFETY: as for `write`.
        std::hint::black_box(unsafe { libc::read(zero.as_raw_fd(), at.cast(), PAGE) });
    };
    let pread = || {
        // SAFETY: as for `write`.
        std::hint::black_box(unsafe { libc::pread(page.as_raw_fd(), at.cast(), PAGE, 0) });
    };
    // SAFETY: zeros are attributes.
    let mut attributes = unsafe { std::mem::zeroed::<libc::stat>() };
    let attributes = &raw mut attributes;
    let fstat = || {
        // SAFETY: the descriptor is open, and the kernel writes what it was given.
        std::hint::black_box(unsafe { libc::fstat(page.as_raw_fd(), attributes) });
    };
    let directory = open(folder.path().to_str().unwrap_or_default(), false);
    let stat = |name: &std::ffi::CStr| {
        // SAFETY: as for `fstat`.
        std::hint::black_box(unsafe { libc::fstatat(directory.as_raw_fd(), name.as_ptr(), attributes, 0) });
    };
    let (stat_page, stat_none) = (|| stat(c"page"), || stat(c"none"));
    let nothing = || std::hint::black_box(());
    let (write_byte, write_page) = (|| write(&null, 1), || write(&null, PAGE));
    let native: [(&str, &dyn Fn()); 12] = [
        ("nothing", &nothing),
        ("clock_time_get", &clock),
        ("args_sizes_get", &nothing),
        ("fd_write, 1 byte", &write_byte),
        ("fd_write, 4 KiB", &write_page),
        ("fd_read, 4 KiB", &read),
        ("fd_pread, 4 KiB", &pread),
        ("fd_seek, fd_read", &pread),
        ("fd_filestat_get", &fstat),
        ("fd_fdstat_get", &nothing),
        ("path_filestat_get", &stat_page),
        ("and of no file", &stat_none),
    ];
    println!("{:<20} {:>8} {:>8} {:>8} {:>6}", "ns a call", "native", "wasi", "more", "ratio");
    for (name, native) in native {
        let run = instance.get_typed_func::<i32, ()>(&mut store, name)?;
        let (mut least_native, mut least_wasi) = (f64::MAX, f64::MAX);
        // In turns, so that what else the machine does meets both.
        for _ in 0..ROUNDS {
            least_native = least_native.min(nanoseconds(|| (0..CALLS).for_each(|_| native())));
            let mut result = Ok(());
            least_wasi = least_wasi.min(nanoseconds(|| result = run.call(&mut store, CALLS)));
            result?;
        }
        let ratio = least_wasi / least_native;
        println!("{name:<20} {least_native:>8.1} {least_wasi:>8.1} {:>8.1} {ratio:>6.2}", least_wasi - least_native);
    }
    Ok(())
}
