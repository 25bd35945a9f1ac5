//! Threads of Rust's standard library over wasi-threads: mutexes, condition variables, channels, barriers, thread locals, scoped
//! threads, allocation from all of them, and what happens when one panics or ends the program.
//!
//! rustc --edition 2024 -O -C strip=symbols --target wasm32-wasip1-threads main.rs -o threads-rust.wasm   (rustc 1.95)

use std::cell::Cell;
use std::collections::HashMap;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, RwLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

thread_local!(static LOCAL: Cell<u64> = const { Cell::new(1) });

fn main() {
    let mode = std::env::args().nth(1).unwrap_or_default();
    match mode.as_str() {
        "exit" => end(|| std::process::exit(42)),
        "trap" => end(|| std::process::abort()),
        "main" => {
            // The end of the first thread is the end of the program.
            thread::spawn(|| loop {
                thread::sleep(Duration::from_secs(3600));
            });
            println!("main returns");
            return;
        }
        "many" => return many(),
        _ => {}
    }
    counters();
    channels();
    condition();
    allocation();
    locals();
    timeouts();
    println!("done");
}

fn end(how: impl Fn() + Send + 'static) {
    println!("before");
    std::io::stdout().flush().unwrap();
    thread::spawn(move || how());
    loop {
        thread::park();
    }
}

fn many() {
    let mut threads = Vec::new();
    let refused = loop {
        match thread::Builder::new().stack_size(16 << 10).spawn(|| thread::park()) {
            Ok(t) => threads.push(t),
            Err(e) => break e.kind(),
        }
    };
    let n = threads.len();
    for t in threads {
        t.thread().unpark();
        t.join().unwrap();
    }
    // Their places are free again.
    thread::spawn(|| ()).join().unwrap();
    println!("{n} threads, then {refused:?}");
}

fn counters() {
    let (atomic, locked, shared) = (AtomicU64::new(0), Mutex::new(0u64), RwLock::new(HashMap::new()));
    let barrier = Barrier::new(8);
    thread::scope(|s| {
        for id in 0..8u64 {
            let (atomic, locked, shared, barrier) = (&atomic, &locked, &shared, &barrier);
            s.spawn(move || {
                barrier.wait();
                for i in 0..1000 {
                    atomic.fetch_add(i, Ordering::Relaxed);
                    *locked.lock().unwrap() += 1;
                    if i % 100 == 0 {
                        shared.write().unwrap().insert((id, i), i * id);
                    } else {
                        std::hint::black_box(shared.read().unwrap().len());
                    }
                }
            });
        }
    });
    let sum: u64 = shared.read().unwrap().values().sum();
    println!("counters {} {} {sum}", atomic.into_inner(), locked.into_inner().unwrap());
}

fn channels() {
    let (to, from) = mpsc::sync_channel(4);
    let producers: Vec<_> = (0..4u64)
        .map(|id| {
            let to = to.clone();
            thread::spawn(move || (0..250).for_each(|i| to.send(id * 1000 + i).unwrap()))
        })
        .collect();
    drop(to);
    let (mut n, mut sum) = (0, 0);
    for value in from {
        n += 1;
        sum += value;
    }
    producers.into_iter().for_each(|p| p.join().unwrap());
    println!("channels {n} {sum}");
}

fn condition() {
    let state = Arc::new((Mutex::new(0u32), Condvar::new()));
    let players: Vec<_> = (0..3u32)
        .map(|me| {
            let state = state.clone();
            thread::spawn(move || {
                for _ in 0..100 {
                    let mut turn = state.1.wait_while(state.0.lock().unwrap(), |turn| *turn % 3 != me).unwrap();
                    *turn += 1;
                    state.1.notify_all();
                }
            })
        })
        .collect();
    players.into_iter().for_each(|p| p.join().unwrap());
    println!("turns {}", state.0.lock().unwrap());
}

fn allocation() {
    let threads: Vec<_> = (0..6usize)
        .map(|id| {
            thread::spawn(move || {
                let mut kept = Vec::new();
                let mut sum = 0;
                for i in 0..200usize {
                    let block = vec![id as u8 + 1; (i * 7919 + id * 104_729) % 60_000 + 1];
                    if i % 3 == 0 {
                        kept.push(block);
                    } else {
                        sum += block.iter().map(|b| usize::from(*b)).sum::<usize>() / block.len();
                    }
                }
                assert!(kept.iter().all(|b| b.iter().all(|b| *b == id as u8 + 1)));
                sum
            })
        })
        .collect();
    let sums: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    println!("allocation {sums:?}");
}

fn locals() {
    LOCAL.set(10);
    let in_threads: Vec<_> = (0..3)
        .map(|i| {
            thread::spawn(move || {
                let before = LOCAL.get();
                LOCAL.set(100 + i);
                (before, LOCAL.get(), thread::current().id() == thread::current().id())
            })
            .join()
            .unwrap()
        })
        .collect();
    println!("locals {} {in_threads:?}", LOCAL.get());
}

fn timeouts() {
    let (mutex, condvar) = (Mutex::new(()), Condvar::new());
    let start = Instant::now();
    let (_guard, result) = condvar.wait_timeout(mutex.lock().unwrap(), Duration::from_millis(20)).unwrap();
    thread::park_timeout(Duration::from_millis(20));
    println!("timed out {} {}", result.timed_out(), start.elapsed() >= Duration::from_millis(40));
}
