//! A plug-in in Rust: the module `dice` throws dice. Its functions are safe; a panic ends the call as an error.
//!
//! ```sh
//! cargo build --release --manifest-path examples/plugin-rust/Cargo.toml
//! wasmc run --plugin examples/plugin-rust/target/release/libdice.so --call 'roll 6' examples/plugin-rust/game.wat
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use wasmc_plugin_abi::{Call, I32, I64, V128, export};

/// The state of the generator. Threads of a program may call at the same time.
static STATE: AtomicU64 = AtomicU64::new(1);

/// The next number of an LCG: not random, but enough for a game.
fn next() -> u64 {
    let step = |state: u64| state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let before = STATE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| Some(step(state)));
    step(before.unwrap_or_else(|state| state)) >> 33
}

/// `seed(i64)`: what follows is the same after the same seed.
fn seed(call: &mut Call<'_>) -> Result<(), String> {
    STATE.store(call.i64(0)? as u64, Ordering::Relaxed);
    Ok(())
}

/// `roll(i32) -> i32`: a number from 1 to so many. A die without sides divides by zero, which panics.
fn roll(call: &mut Call<'_>) -> Result<(), String> {
    let sides = u64::from(call.i32(0)? as u32);
    call.set_i32(0, (next() % sides + 1) as i32)
}

/// `fill(i32, i32)`: random bytes into the program's memory.
fn fill(call: &mut Call<'_>) -> Result<(), String> {
    let (address, size) = (call.i32(0)? as u32, call.i32(1)? as u32);
    if u64::from(size) > call.memory_size() {
        return Err(format!("{size} bytes are more than the memory has"));
    }
    let bytes: Vec<u8> = (0..size).map(|_| next() as u8).collect();
    call.write(address.into(), &bytes)
}

/// `swap(v128) -> v128`: the halves of a vector, exchanged.
fn swap(call: &mut Call<'_>) -> Result<(), String> {
    let vector = call.v128(0)?;
    call.set_v128(0, vector.rotate_left(64))
}

export! {
    module: "dice",
    version: "0.1.0",
    functions: {
        "seed": [I64] -> [] = seed,
        "roll": [I32] -> [I32] = roll,
        "fill": [I32, I32] -> [] = fill,
        "swap": [V128] -> [V128] = swap,
    },
}
