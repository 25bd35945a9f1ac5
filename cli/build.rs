//! Links the executable at a fixed address on Linux: a position-independent one that contains Cranelift carries about
//! 15,000 relative relocations, which the dynamic loader applies at every start (see docs/RATIONALE.md).

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo:rustc-link-arg-bins=-no-pie");
    }
}
