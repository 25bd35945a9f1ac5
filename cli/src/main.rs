//! wasmc
fn main() {}
