//! Sequences of calls of WASI: the driver of `wasi_calls`, with bytes that decide.

use super::Input;
use crate::wasi_calls::{CALLS, Interruptions, Reached, Scratch, functions, sequence};
use std::cell::OnceCell;

/// Bytes that one call takes, about.
const BYTES: usize = 24;

/// What a thread that runs the target keeps: a folder, and signals that end what blocks.
struct Kept {
    scratch: Scratch,
    _interruptions: Interruptions,
}

thread_local! {
    static KEPT: OnceCell<Kept> = const { OnceCell::new() };
}

/// Nothing is written outside memories and folders, nothing stays open, whatever is called how.
pub fn wasi(bytes: &[u8]) {
    let mut input = Input(bytes);
    let seed = input.number();
    let changes = input.rest();
    let calls = (1 + changes.len() / BYTES).min(CALLS);
    KEPT.with(|kept| {
        let kept = kept.get_or_init(|| Kept { scratch: Scratch::new(), _interruptions: Interruptions::new() });
        sequence(seed, changes, calls, &kept.scratch, &functions(), &mut Reached::new());
    });
}
