//! `tests/src/fuzz` says what this target does.

#![no_main]

libfuzzer_sys::fuzz_target!(init: wasmc_tests::fuzz::abort_on_panic(), |bytes: &[u8]| wasmc_tests::fuzz::wasi(bytes));
