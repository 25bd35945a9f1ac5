//! wasmc-runtime
