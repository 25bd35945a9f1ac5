//! What instances and calls cost inside one process: wasmc and Wasmtime, with its pooling allocator and copy-on-write images, in turns.
//!
//! ```text
//! cargo run --release -- [--runs N] [--only ROW] [--keep BYTES] [--cpython FILE]
//! ```
//!
//! Prints nanoseconds, the best of N runs each, and the ratio. With the module of CPython, instances of it are made as well. `--keep` lets
//! Wasmtime keep that much of each memory and table resident between instances, which is not its default.

mod modules;
mod table;

use anyhow::{Context, Result, bail, ensure};
use modules::{BETWEEN, CALLS, filled};
use std::sync::Arc;
use table::{Row, alive, print_head, timed};

/// Both crates that a program takes of wasmc, under one name.
mod wasmc {
    pub use wasmc_compiler::Jit;
    pub use wasmc_runtime::*;
}

fn main() -> Result<()> {
    let (mut runs, mut keep) = (7, 0);
    let (mut python, mut only) = (None, String::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--runs" => runs = args.next().context("--runs takes a number")?.parse()?,
            "--keep" => keep = args.next().context("--keep takes a number of bytes")?.parse()?,
            "--only" => only = args.next().context("--only takes a part of a row's name")?,
            "--cpython" => match args.next().context("--cpython takes a path").map(|path| (std::fs::read(&path), path))? {
                (Ok(wasm), _) => python = Some(wasm),
                (Err(e), path) => eprintln!("skipped CPython: cannot read {path}: {e}"),
            },
            other => bail!("unknown option {other}: there are --runs N, --only ROW, --keep BYTES and --cpython FILE"),
        }
    }
    let config = || wasmc::Config::new().compiler(Arc::new(wasmc::Jit::default())).tier(wasmc::Tier::Compiled);
    let engine = wasmc::Engine::new(config())?;
    let peers = {
        let mut pool = wasmtime::PoolingAllocationConfig::new();
        pool.total_memories(11_000).total_tables(11_000).total_core_instances(11_000).max_memory_size(1 << 28).table_elements(10_000);
        pool.max_core_instance_size(8 << 20).linear_memory_keep_resident(keep).table_keep_resident(keep);
        let mut config = wasmtime::Config::new();
        config.allocation_strategy(wasmtime::InstanceAllocationStrategy::Pooling(pool)).memory_reservation(1 << 32);
        wasmtime::Engine::new(&config).map_err(|e| anyhow::anyhow!("{e}"))?
    };
    let both = |text: &str| -> Result<(wasmc::Module, wasmtime::Module)> {
        let wasm = wat::parse_str(text)?;
        Ok((wasmc::Module::new(&engine, &wasm)?, wasmtime::Module::new(&peers, &wasm).map_err(|e| anyhow::anyhow!("{e}"))?))
    };
    let empty = both("(module)")?;
    let full = both(&filled())?;
    let calls = both(CALLS)?;
    let between = {
        let engine = wasmc::Engine::new(config().interpret(vec![wasmc::Interpret::Odd]))?;
        wasmc::Module::new(&engine, wat::parse_str(BETWEEN)?)?
    };
    let alone = wasmc::Module::new(&engine, wat::parse_str(BETWEEN)?)?;

    let mine = |module: &wasmc::Module| -> Result<(wasmc::Store<()>, wasmc::Instance)> {
        let mut store = wasmc::Store::new(module.engine(), ());
        let mut linker = wasmc::Linker::new(module.engine());
        linker.func_wrap("host", "add", |a: i32, b: i32| a.wrapping_add(b))?;
        let instance = linker.instantiate(&mut store, module)?;
        Ok((store, instance))
    };
    let theirs = |module: &wasmtime::Module| -> wasmtime::Result<(wasmtime::Store<()>, wasmtime::Instance)> {
        let mut store = wasmtime::Store::new(module.engine(), ());
        let mut linker = wasmtime::Linker::new(module.engine());
        linker.func_wrap("host", "add", |a: i32, b: i32| a.wrapping_add(b))?;
        let instance = linker.instantiate(&mut store, module)?;
        Ok((store, instance))
    };
    let error = |e: wasmtime::Error| anyhow::anyhow!("{e}");
    let pre = |m: &wasmc::Module| wasmc::Linker::<()>::new(m.engine()).instantiate_pre(m);
    let pre_peer = |m: &wasmtime::Module| wasmtime::Linker::<()>::new(m.engine()).instantiate_pre(m).map_err(error);

    let (empty_pre, empty_peer) = (pre(&empty.0)?, pre_peer(&empty.1)?);
    let (full_pre, full_peer) = (pre(&full.0)?, pre_peer(&full.1)?);
    let (mut store, instance) = mine(&calls.0)?;
    let (mut peer_store, peer_instance) = theirs(&calls.1).map_err(error)?;
    let nothing = instance.get_typed_func::<i32, i32>(&mut store, "nothing")?;
    let host = instance.get_typed_func::<i32, i32>(&mut store, "calls")?;
    let peer_nothing = peer_instance.get_typed_func::<i32, i32>(&mut peer_store, "nothing").map_err(error)?;
    let peer_host = peer_instance.get_typed_func::<i32, i32>(&mut peer_store, "calls").map_err(error)?;
    let (mut between_store, between_instance) = mine(&between)?;
    let mixed = between_instance.get_typed_func::<i32, i32>(&mut between_store, "calls")?;
    let (mut alone_store, alone_instance) = mine(&alone)?;
    let compiled = alone_instance.get_typed_func::<i32, i32>(&mut alone_store, "calls")?;
    {
        // Both compute the same.
        let (mut store, mut peer) = (wasmc::Store::new(&engine, ()), wasmtime::Store::new(&peers, ()));
        let f = full_pre.instantiate(&mut store)?.get_typed_func::<i32, i32>(&mut store, "f")?;
        let instance = full_peer.instantiate(&mut peer).map_err(error)?;
        let g = instance.get_typed_func::<i32, i32>(&mut peer, "f").map_err(error)?;
        for i in 0..2000 {
            ensure!(f.call(&mut store, i)? == g.call(&mut peer, i).map_err(error)?, "the two disagree");
        }
    }
    let (store, peer_store) = (std::cell::RefCell::new(store), std::cell::RefCell::new(peer_store));

    let large = match &python {
        Some(wasm) => {
            let module = wasmc::Module::new(&engine, wasm)?;
            let peer = wasmtime::Module::new(&peers, wasm).map_err(error)?;
            let mut linker = wasmc::Linker::<()>::new(&engine);
            linker.define_unknown_imports_as_traps(&module)?;
            let mut peer_linker = wasmtime::Linker::<()>::new(&peers);
            peer_linker.define_unknown_imports_as_traps(&peer).map_err(error)?;
            Some((linker.instantiate_pre(&module)?, peer_linker.instantiate_pre(&peer).map_err(error)?))
        }
        None => None,
    };
    let mut rows = vec![
        Row {
            name: "instance of an empty module",
            goal: "0.5",
            wasmc: Box::new(|| {
                timed(20_000, || {
                    empty_pre.instantiate(&mut wasmc::Store::new(&engine, ()))?;
                    Ok(())
                })
            }),
            wasmtime: Some(Box::new(|| {
                timed(20_000, || empty_peer.instantiate(&mut wasmtime::Store::new(&peers, ())).map(drop).map_err(error))
            })),
        },
        Row {
            name: "instance with 64 KiB of data and a table of 1,000",
            goal: "0.5",
            wasmc: Box::new(|| {
                timed(10_000, || {
                    full_pre.instantiate(&mut wasmc::Store::new(&engine, ()))?;
                    Ok(())
                })
            }),
            wasmtime: Some(Box::new(|| {
                timed(10_000, || full_peer.instantiate(&mut wasmtime::Store::new(&peers, ())).map(drop).map_err(error))
            })),
        },
        Row {
            name: "the same, and a call that touches memory and table",
            goal: "0.5",
            wasmc: Box::new(|| {
                timed(10_000, || {
                    let mut store = wasmc::Store::new(&engine, ());
                    let instance = full_pre.instantiate(&mut store)?;
                    instance.get_typed_func::<i32, i32>(&mut store, "f")?.call(&mut store, 7)?;
                    Ok(())
                })
            }),
            wasmtime: Some(Box::new(|| {
                timed(10_000, || {
                    let mut store = wasmtime::Store::new(&peers, ());
                    let instance = full_peer.instantiate(&mut store).map_err(error)?;
                    let f = instance.get_typed_func::<i32, i32>(&mut store, "f").map_err(error)?;
                    f.call(&mut store, 7).map(drop).map_err(error)
                })
            })),
        },
        Row {
            name: "host calls wasm, typed",
            goal: "0.5",
            wasmc: Box::new(|| timed(2_000_000, || nothing.call(&mut *store.borrow_mut(), 1).map(drop))),
            wasmtime: Some(Box::new(|| timed(2_000_000, || peer_nothing.call(&mut *peer_store.borrow_mut(), 1).map(drop).map_err(error)))),
        },
        Row {
            name: "wasm calls host, typed",
            goal: "0.6",
            wasmc: Box::new(|| Ok(timed(1, || host.call(&mut *store.borrow_mut(), 10_000_000).map(drop))? / 1e7)),
            wasmtime: Some(Box::new(|| {
                Ok(timed(1, || peer_host.call(&mut *peer_store.borrow_mut(), 10_000_000).map(drop).map_err(error))? / 1e7)
            })),
        },
        Row {
            name: "compiled calls interpreted, and back",
            goal: "30 ns",
            wasmc: Box::new(|| Ok(timed(1, || mixed.call(&mut between_store, 10_000_000).map(drop))? / 1e7)),
            wasmtime: None,
        },
        Row {
            name: "compiled calls compiled, for comparison",
            goal: "",
            wasmc: Box::new(|| Ok(timed(1, || compiled.call(&mut alone_store, 10_000_000).map(drop))? / 1e7)),
            wasmtime: None,
        },
    ];
    if let Some((mine, theirs)) = &large {
        rows.push(Row {
            name: "instance of CPython",
            goal: "0.5",
            wasmc: Box::new(|| {
                timed(2_000, || {
                    mine.instantiate(&mut wasmc::Store::new(&engine, ()))?;
                    Ok(())
                })
            }),
            wasmtime: Some(Box::new(|| {
                timed(2_000, || theirs.instantiate(&mut wasmtime::Store::new(&peers, ())).map(drop).map_err(error))
            })),
        });
    }

    print_head();
    for row in rows.iter_mut().filter(|row| row.name.contains(&only)) {
        row.print(runs)?;
    }
    drop(rows);

    const MANY: usize = 10_000;
    let mine = alive(MANY, || {
        let mut store = wasmc::Store::new(&engine, ());
        full_pre.instantiate(&mut store)?;
        Ok(store)
    })?;
    let theirs = alive(MANY, || {
        let mut store = wasmtime::Store::new(&peers, ());
        full_peer.instantiate(&mut store).map_err(error)?;
        Ok(store)
    })?;
    println!(
        "{:52}{:12.0}{:12.0}{:9.2}{:>8}",
        "resident bytes of each of 10,000 instances",
        mine.bytes,
        theirs.bytes,
        mine.bytes / theirs.bytes,
        "1.0"
    );
    println!("{:52}{:12.1}{:12.1}{:>9}{:>8}", "mappings of each", mine.mappings, theirs.mappings, "", "3");
    Ok(())
}
