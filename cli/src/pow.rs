//! The one function of C's mathematical library that anything in the executable calls: the estimates of the progress bar. Having it
//! here saves every process from loading that library, which takes as long as running a short program.

/// `x` to the power of `y`.
#[unsafe(no_mangle)]
extern "C" fn pow(x: f64, y: f64) -> f64 {
    libm::pow(x, y)
}
