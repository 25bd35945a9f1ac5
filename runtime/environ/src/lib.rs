//! wasmc-environ
