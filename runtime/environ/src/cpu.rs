//! CPU features that generated code may need. One list: the compiler's options, the artifact's header and the
//! loader's check expand it. The position in the list is the bit in the header, so entries are only ever appended.

/// A CPU feature.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct CpuFeature {
    /// Its usual name, as in the standard library's feature detection.
    pub name: &'static str,
    /// The architecture it belongs to, as `target_lexicon` names it.
    pub arch: &'static str,
    /// Cranelift's setting.
    pub setting: &'static str,
}

macro_rules! cpu_features {
    ($($name:literal $arch:literal $setting:literal;)*) => {
        /// All features; the position is the bit number.
        pub const CPU_FEATURES: &[CpuFeature] = &[$(CpuFeature { name: $name, arch: $arch, setting: $setting }),*];
    };
}

cpu_features! {
    "sse3" "x86_64" "has_sse3";
    "ssse3" "x86_64" "has_ssse3";
    "sse4.1" "x86_64" "has_sse41";
    "sse4.2" "x86_64" "has_sse42";
    "popcnt" "x86_64" "has_popcnt";
    "avx" "x86_64" "has_avx";
    "avx2" "x86_64" "has_avx2";
    "fma" "x86_64" "has_fma";
    "bmi1" "x86_64" "has_bmi1";
    "bmi2" "x86_64" "has_bmi2";
    "lzcnt" "x86_64" "has_lzcnt";
    "cmpxchg16b" "x86_64" "has_cmpxchg16b";
    "avx512f" "x86_64" "has_avx512f";
    "avx512dq" "x86_64" "has_avx512dq";
    "avx512vl" "x86_64" "has_avx512vl";
    "avx512vbmi" "x86_64" "has_avx512vbmi";
    "avx512bitalg" "x86_64" "has_avx512bitalg";
    "lse" "aarch64" "has_lse";
    "fp16" "aarch64" "has_fp16";
}

/// Features of the micro-architecture level `x86-64-v3`.
pub const X86_64_V3: &[&str] =
    &["sse3", "ssse3", "sse4.1", "sse4.2", "popcnt", "avx", "avx2", "fma", "bmi1", "bmi2", "lzcnt", "cmpxchg16b"];

/// The bit of a feature, by its name.
pub fn feature_bit(name: &str) -> Option<u64> {
    CPU_FEATURES.iter().position(|f| f.name == name).map(|i| 1 << i)
}

/// The names of the features in a set, in order.
pub fn feature_names(bits: u64) -> impl Iterator<Item = &'static str> {
    CPU_FEATURES.iter().enumerate().filter(move |(i, _)| bits & (1 << i) != 0).map(|(_, f)| f.name)
}
