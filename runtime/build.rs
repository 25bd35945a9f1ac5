//! Chooses the interpreter's dispatch. Handlers end in a call of the next handler; only an optimised build turns that
//! call into a jump, so any other build uses the loop. `WASMC_INTERP_DISPATCH=loop|threaded` overrides the choice.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(interp_threaded)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=WASMC_INTERP_DISPATCH");
    // Debug assertions check pointers by calls that take the address of locals, and then the call at the end is no jump.
    let optimised =
        matches!(std::env::var("OPT_LEVEL").as_deref(), Ok("2" | "3")) && std::env::var_os("CARGO_CFG_DEBUG_ASSERTIONS").is_none();
    let threaded = match std::env::var("WASMC_INTERP_DISPATCH").as_deref() {
        Ok("loop") => false,
        Ok("threaded") => true,
        _ => optimised,
    };
    if threaded {
        println!("cargo::rustc-cfg=interp_threaded");
    }
}
