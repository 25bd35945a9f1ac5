//! How programs reach WASI on every tier: preview1 for memories of either width, `wasi_unstable`, functions of one name and two
//! types, shared memories, programs without a memory, and several threads on one set of descriptors.

mod common;

use common::{module, on_every_tier};
use std::sync::Arc;
use wasmc_runtime::*;
use wasmc_wasi::{Input, Output, OutputBuffer, WasiCtx, WasiCtxBuilder, add_imports_to_linker, add_to_linker};

fn context() -> (WasiCtx, OutputBuffer) {
    let output = OutputBuffer::new(1 << 16);
    let mut builder = WasiCtxBuilder::new();
    builder.arg("program").stdin(Input::Bytes(b"input".to_vec())).stdout(Output::Capture(output.clone()));
    (builder.build().expect("a context"), output)
}

/// Runs `_start`, linked in both ways; what it prints is the same.
fn start(engine: &Engine, text: &str) -> (Result<()>, Vec<u8>) {
    let module = module(engine, text);
    let runs = [true, false].map(|everything| {
        let mut linker: Linker<WasiCtx> = Linker::new(engine);
        if everything {
            add_to_linker(&mut linker, |ctx| ctx).expect("linked");
        } else {
            add_imports_to_linker(&mut linker, &module, |ctx| ctx, None).expect("linked");
        }
        let (ctx, output) = context();
        let mut store = Store::new(engine, ctx);
        let result = linker.instantiate(&mut store, &module).and_then(|instance| {
            let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
            start.call(&mut store, ())
        });
        (result, output.contents())
    });
    let [first, second] = runs;
    assert_eq!(first.1, second.1);
    assert_eq!(first.0.is_ok(), second.0.is_ok());
    first
}

fn exit_code(result: &Result<()>) -> Option<i32> {
    result.as_ref().err()?.downcast_ref::<Exit>().map(|exit| exit.0)
}

#[test]
fn narrow_and_wide_memories() {
    on_every_tier(|engine| {
        let narrow = r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "\10\00\00\00\06\00\00\00")
            (data (i32.const 16) "narrow")
            (func (export "_start")
                (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)) (then unreachable))
                (call $exit (i32.load (i32.const 32)))))"#;
        let (result, output) = start(engine, narrow);
        assert_eq!((exit_code(&result), &output[..]), (Some(6), &b"narrow"[..]));
        let wide = r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i64 i64 i64) (result i32)))
            (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i64 i64) (result i32)))
            (import "wasi_snapshot_preview1" "args_get" (func $args (param i64 i64) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") i64 1)
            (data (i64.const 0) "\20\00\00\00\00\00\00\00\04\00\00\00\00\00\00\00")
            (data (i64.const 32) "wide")
            (func (export "_start")
                (if (call $write (i32.const 1) (i64.const 0) (i64.const 1) (i64.const 64)) (then unreachable))
                (if (call $sizes (i64.const 72) (i64.const 80)) (then unreachable))
                (if (call $args (i64.const 88) (i64.const 128)) (then unreachable))
                ;; Addresses whose upper halves count.
                (if (i32.ne (call $write (i32.const 1) (i64.const 0x1_0000_0000) (i64.const 1) (i64.const 64)) (i32.const 21))
                    (then unreachable))
                (if (i64.ne (i64.load (i64.const 88)) (i64.const 128)) (then unreachable))
                (if (i64.ne (i64.load (i64.const 64)) (i64.const 4)) (then unreachable))
                (call $exit (i32.wrap_i64 (i64.load (i64.const 80))))))"#;
        let (result, output) = start(engine, wide);
        assert_eq!((exit_code(&result), &output[..]), (Some(8), &b"wide"[..]), "{result:?}");
    });
}

#[test]
fn the_snapshot_before_preview1() {
    on_every_tier(|engine| {
        let text = r#"(module
            (import "wasi_unstable" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_unstable" "fd_seek" (func $seek (param i32 i64 i32 i32) (result i32)))
            (import "wasi_unstable" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "\10\00\00\00\03\00\00\00")
            (data (i32.const 16) "old")
            (func (export "_start")
                (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)) (then unreachable))
                ;; Streams have no positions.
                (call $exit (call $seek (i32.const 1) (i64.const 0) (i32.const 2) (i32.const 32)))))"#;
        let (result, output) = start(engine, text);
        assert_eq!((exit_code(&result), &output[..]), (Some(70), &b"old"[..]));
    });
}

#[test]
fn the_type_of_an_import_chooses() {
    on_every_tier(|engine| {
        for (ty, arguments, errno) in [
            ("(param i32 i32)", "(i32.const 1) (i32.const 0)", 57),
            ("(param i32 i32 i32)", "(i32.const 1) (i32.const 0) (i32.const 0)", 57),
        ] {
            let text = format!(
                r#"(module
                (import "wasi_snapshot_preview1" "sock_accept" (func $accept {ty} (result i32)))
                (import "wasi_snapshot_preview1" "sock_open" (func $open (param i32 i32 i32) (result i32)))
                (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                (memory (export "memory") 1)
                (func (export "_start")
                    ;; No network was granted.
                    (if (i32.ne (call $open (i32.const 1) (i32.const 2) (i32.const 0)) (i32.const 2)) (then unreachable))
                    (call $exit (call $accept {arguments}))))"#
            );
            let (result, _) = start(engine, &text);
            assert_eq!(exit_code(&result), Some(errno), "{result:?}");
        }
        let text = r#"(module (import "wasi_snapshot_preview1" "sock_accept" (func (param f32))) (func (export "_start")))"#;
        let (result, _) = start(engine, text);
        assert!(result.expect_err("no such type").to_string().contains("sock_accept"));
    });
}

#[test]
fn programs_without_a_memory() {
    on_every_tier(|engine| {
        let text = r#"(module
            (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
            (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_raise" (func $raise (param i32) (result i32)))
            (func (export "_start")
                (if (call $yield) (then unreachable))
                (if (i32.ne (call $sizes (i32.const 0) (i32.const 0)) (i32.const 21)) (then unreachable))
                (drop (call $raise (i32.const 6)))
                unreachable))"#;
        let (result, _) = start(engine, text);
        assert_eq!(exit_code(&result), Some(134), "{result:?}");
    });
}

#[test]
fn memories_that_grow_and_memories_of_others() {
    on_every_tier(|engine| {
        let text = r#"(module
            (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (func (export "_start")
                (if (i32.ne (call $random (i32.const 65536) (i32.const 8)) (i32.const 21)) (then unreachable))
                (drop (memory.grow (i32.const 1)))
                (call $exit (call $random (i32.const 65536) (i32.const 8)))))"#;
        assert_eq!(exit_code(&start(engine, text).0), Some(0));
    });
}

#[test]
fn threads_on_a_shared_memory_write_to_one_stream() {
    let mut features = Features::default();
    assert!(features.set("shared-memory", true) && features.set("threads", true));
    let jit = || Config::new().compiler(Arc::new(wasmc_compiler::Jit::default()));
    let interpreted = Config::new().tier(Tier::Interpreted);
    for config in [interpreted, jit().tier(Tier::Compiled), jit().tier(Tier::Compiled).interpret(vec![Interpret::Odd])] {
        let engine = &Engine::new(config.features(features.clone())).expect("a valid configuration");
        let module = module(
            engine,
            r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (import "env" "memory" (memory 1 1 shared))
            (export "memory" (memory 0))
            (func (export "run") (param $at i32) (param $count i32)
                (loop
                    (if (call $write (i32.const 1) (local.get $at) (i32.const 1) (i32.add (local.get $at) (i32.const 8)))
                        (then unreachable))
                    (local.set $count (i32.sub (local.get $count) (i32.const 1)))
                    (br_if 0 (local.get $count)))))"#,
        );
        let limits = Limits { min: 1, max: Some(1) };
        let ty = MemoryType { limits, memory64: false, shared: true, page_size_log2: 16 };
        let memory = SharedMemory::new(engine, ty).expect("a memory");
        let (mut ctx, output) = context();
        let shared = ctx.share();
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let (engine, module, memory, shared) = (engine.clone(), module.clone(), memory.clone(), shared.clone());
                scope.spawn(move || {
                    let at = usize::from(thread) * 64;
                    memory.write(at, &(at as u32 + 16).to_le_bytes()).expect("in bounds");
                    memory.write(at + 4, &3_u32.to_le_bytes()).expect("in bounds");
                    memory.write(at + 16, &[b'a' + thread; 3]).expect("in bounds");
                    let mut store = Store::new(&engine, shared.context());
                    let mut linker: Linker<WasiCtx> = Linker::new(&engine);
                    add_imports_to_linker(&mut linker, &module, |ctx| ctx, None).expect("linked");
                    linker.define(&store, "env", "memory", memory).expect("defined");
                    let instance = linker.instantiate(&mut store, &module).expect("an instance");
                    let run = instance.get_typed_func::<(i32, i32), ()>(&mut store, "run").expect("a function");
                    run.call(&mut store, (at as i32, 200)).expect("no trap");
                });
            }
        });
        let written = output.contents();
        assert_eq!(written.len(), 4 * 200 * 3);
        assert!(written.chunks(3).all(|three| three.iter().all(|byte| *byte == three[0])));
    }
}

/// What is tried first inside the shim and fails on the host goes on from there in the general way: no call is made twice, and one
/// that would block on a descriptor that somebody else made non-blocking waits.
#[test]
fn calls_that_fail_on_the_host_at_first() {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    on_every_tier(|engine| {
        let module = module(
            engine,
            r#"(module
            (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_pread" (func $pread (param i32 i32 i32 i64 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_pwrite" (func $pwrite (param i32 i32 i32 i64 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "\10\00\00\00\06\00\00\00")
            (func (export "call_read") (param i32) (result i32)
                (call $read (local.get 0) (i32.const 0) (i32.const 1) (i32.const 32)))
            (func (export "call_write") (param i32) (result i32)
                (call $write (local.get 0) (i32.const 0) (i32.const 1) (i32.const 32)))
            (func (export "call_pread") (param i32 i64) (result i32)
                (call $pread (local.get 0) (i32.const 0) (i32.const 1) (local.get 1) (i32.const 32)))
            (func (export "call_pwrite") (param i32 i64) (result i32)
                (call $pwrite (local.get 0) (i32.const 0) (i32.const 1) (local.get 1) (i32.const 32)))
            (func (export "moved") (result i32) (i32.load (i32.const 32))))"#,
        );
        let (reader, mut writer) = UnixStream::pair().expect("sockets");
        reader.set_nonblocking(true).expect("non-blocking");
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a device");
        let file = tempfile::tempfile().expect("a file");
        let kept = file.try_clone().expect("a file");
        let mut builder = WasiCtxBuilder::new();
        builder.stdin(Input::Fd(reader.into())).stdout(Output::Fd(full.into())).stderr(Output::Fd(file.into()));
        let mut linker: Linker<WasiCtx> = Linker::new(engine);
        add_to_linker(&mut linker, |ctx| ctx).expect("linked");
        let mut store = Store::new(engine, builder.build().expect("a context"));
        let instance = linker.instantiate(&mut store, &module).expect("an instance");
        let mut call = |name: &str, fd: i32, offset: Option<i64>| {
            let errno = match offset {
                None => instance.get_typed_func::<i32, i32>(&mut store, name).expect("a function").call(&mut store, fd),
                Some(at) => instance.get_typed_func::<(i32, i64), i32>(&mut store, name).expect("a function").call(&mut store, (fd, at)),
            };
            let moved =
                instance.get_typed_func::<(), i32>(&mut store, "moved").expect("a function").call(&mut store, ()).expect("a number");
            (errno.expect("no trap"), moved)
        };
        // NOSPC from the device, BADF for the wrong side, SPIPE for what has no positions, INVAL before and beyond what positions there are.
        assert_eq!(call("call_write", 1, None), (51, 0));
        assert_eq!(call("call_read", 1, None).0, 8);
        assert_eq!(call("call_pread", 0, Some(0)).0, 70);
        assert_eq!(call("call_pwrite", 2, Some(-1)).0, 28);
        assert_eq!(call("call_pwrite", 2, Some(i64::MIN)).0, 28);
        assert_eq!(call("call_write", 2, None), (0, 6));
        assert_eq!(call("call_pwrite", 2, Some(100)), (0, 6));
        assert_eq!(kept.metadata().expect("a length").len(), 106);
        // Nobody has written yet.
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(std::time::Duration::from_millis(30));
                writer.write_all(b"abc").expect("written");
                std::thread::sleep(std::time::Duration::from_millis(30));
                writer.write_all(b"defg").expect("written");
            });
            assert_eq!(call("call_read", 0, None), (0, 3));
            assert_eq!(call("call_read", 0, None), (0, 4));
            assert_eq!(call("call_read", 0, None), (0, 0));
        });
    });
}
