//! wasmc-compiler
