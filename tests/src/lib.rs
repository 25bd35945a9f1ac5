//! wasmc-tests
