//! Random sequences of all the calls of WASI (`tests/src/wasi_calls.rs`): `cargo run -p wasmc-tests --example fuzz_wasi -- SECONDS [SEED]`.
//! A failure prints the seed of its sequence, which alone repeats it. In the end every function was reached.

use std::time::{Duration, Instant};
use wasmc_tests::wasi_calls::{CALLS, Interruptions, Reached, Scratch, functions, sequence};

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>().expect("a number"));
    let seconds = arguments.next().unwrap_or(10);
    let fixed = arguments.next();
    let scratch = Scratch::new();
    let functions = functions();
    let mut reached = Reached::new();
    let _interruptions = Interruptions::new();
    let start = Instant::now();
    let mut sequences = 0_u64;
    while start.elapsed() < Duration::from_secs(seconds) {
        let seed = fixed.unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |time| time.as_nanos() as u64);
            now.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        let one = std::panic::AssertUnwindSafe(|| sequence(seed, &[], CALLS, &scratch, &functions, &mut reached));
        if std::panic::catch_unwind(one).is_err() {
            eprintln!("failed: repeat it with the seed {seed}");
            std::process::exit(1);
        }
        sequences += 1;
        if fixed.is_some() {
            break;
        }
    }
    let mut silent = Vec::new();
    for (module, function) in &functions {
        let name = format!("{module} {}", function.name);
        let [failed, worked] = [false, true].map(|worked| reached.get(&(name.clone(), worked)).copied().unwrap_or(0));
        println!("{name:<36} {worked:>9} worked {failed:>9} failed");
        if worked + failed == 0 {
            silent.push(name);
        }
    }
    println!("{sequences} sequences of {CALLS} calls");
    assert!(fixed.is_some() || silent.is_empty(), "never reached: {}", silent.join(", "));
}
