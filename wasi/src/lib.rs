//! wasmc-wasi
