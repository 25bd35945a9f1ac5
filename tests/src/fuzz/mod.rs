//! Fuzz targets: each is a function of bytes that panics if a promise is broken. The bytes come from libFuzzer (`fuzz/`, `tests/fuzz`),
//! from the corpus in `fuzz/corpus`, or from the generator of `tests/tests/fuzz.rs`; what they mean is each target's own business. Nothing
//! here knows how bytes are made, and no target keeps anything from one input to the next but engines.

mod artifacts;
mod c_api;
mod modules;
mod tiers;
mod wasi;

use std::cell::Cell;

/// A target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name: of the function, of the program in `fuzz/fuzz_targets`, of the folder in `fuzz/corpus`.
    pub name: &'static str,
    /// Tries an input.
    pub run: fn(&[u8]),
    /// Longer inputs are not worth their time.
    pub max_len: usize,
    /// Longer than these seconds takes no input.
    pub timeout: u32,
}

macro_rules! targets {
    ($($name:ident = $function:path, $max_len:literal, $timeout:literal;)*) => {
        /// All targets.
        pub const TARGETS: &[Target] =
            &[$(Target { name: stringify!($name), run: $function, max_len: $max_len, timeout: $timeout }),*];
        $(
            #[doc = concat!("The target `", stringify!($name), "`, for its program.")]
            pub fn $name(bytes: &[u8]) {
                $function(bytes);
            }
        )*
    };
}

targets! {
    decode = modules::decode, 8192, 10;
    text = modules::text, 8192, 10;
    compile = modules::compile, 8192, 30;
    tiers = tiers::tiers, 4096, 60;
    artifact = artifacts::artifact, 4096, 10;
    verify = artifacts::verify, 1024, 20;
    wasi = wasi::wasi, 4096, 20;
    c_api = c_api::calls, 4096, 20;
}

/// The target with this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().copied().find(|target| target.name == name)
}

thread_local! {
    static FORGIVEN: Cell<bool> = const { Cell::new(false) };
}

/// What `body` gives; `None` if it panics, which is nobody's fault here. Only the oracle is run so.
pub(crate) fn forgiving<T>(body: impl FnOnce() -> T) -> Option<T> {
    let before = FORGIVEN.replace(true);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
    FORGIVEN.set(before);
    result.ok()
}

/// Lets every panic end the process, those too that would be caught, except for those of the oracle. A broken pipe is an error as in every
/// program whose main function is Rust's.
pub fn abort_on_panic() {
    // SAFETY: nothing else has set this signal's disposition.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !FORGIVEN.get() {
            before(info);
            std::process::abort();
        }
    }));
}

/// What a target takes decisions from. Where there are no bytes any more it gives zeros, so that a short input is a simple one.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut taken = [0; N];
        let there = self.0.len().min(N);
        let (bytes, rest) = self.0.split_at(there);
        taken[..there].copy_from_slice(bytes);
        self.0 = rest;
        taken
    }

    fn byte(&mut self) -> u8 {
        let [byte] = self.take();
        byte
    }

    /// A number below `bound`, which is at most 65,536 and not 0.
    fn below(&mut self, bound: usize) -> usize {
        let number = if bound <= 256 { usize::from(self.byte()) } else { usize::from(u16::from_le_bytes(self.take())) };
        number % bound
    }

    fn number(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One of these.
    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn rest(self) -> &'a [u8] {
        self.0
    }
}
