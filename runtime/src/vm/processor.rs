//! What the processor can do, as the C library found out when the process started. Asking the processor itself (`cpuid`) ends in the
//! hypervisor on a virtual machine, several microseconds for each of the eight questions of the standard library.

/// Whether the C library says that a feature of `cpu::CPU_FEATURES` can be used. Where it does not, others have to be asked.
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
pub(crate) fn is_known_to_have(name: &str) -> bool {
    const EBX: usize = 1;
    const ECX: usize = 2;
    // Leaf 1, leaf 7 and leaf 0x80000001, as the library numbers them in <sys/platform/x86.h>; register; bit.
    let (leaf, register, bit) = match name {
        "sse3" => (0, ECX, 0),
        "ssse3" => (0, ECX, 9),
        "fma" => (0, ECX, 12),
        "cmpxchg16b" => (0, ECX, 13),
        "sse4.1" => (0, ECX, 19),
        "sse4.2" => (0, ECX, 20),
        "popcnt" => (0, ECX, 23),
        "avx" => (0, ECX, 28),
        "bmi1" => (1, EBX, 3),
        "avx2" => (1, EBX, 5),
        "bmi2" => (1, EBX, 8),
        "avx512f" => (1, EBX, 16),
        "avx512dq" => (1, EBX, 17),
        "avx512vl" => (1, EBX, 31),
        "avx512vbmi" => (1, ECX, 1),
        "avx512bitalg" => (1, ECX, 12),
        "lzcnt" => (2, ECX, 5),
        _ => return false,
    };
    leaf_of_library(leaf).is_some_and(|leaf| leaf.active[register] & (1 << bit) != 0)
}

/// As above: no library that knows.
#[cfg(not(all(target_arch = "x86_64", target_env = "gnu")))]
pub(crate) fn is_known_to_have(_name: &str) -> bool {
    false
}

/// `struct cpuid_feature` of the library: registers `eax` to `edx` as the processor said, and what of it processor, kernel and the
/// library's own settings allow to use.
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
#[repr(C)]
struct Leaf {
    _said: [u32; 4],
    active: [u32; 4],
}

/// What the library knows of a leaf; nothing before glibc 2.33.
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
fn leaf_of_library(number: u32) -> Option<&'static Leaf> {
    use std::sync::OnceLock;
    type LeafOf = unsafe extern "C" fn(u32) -> *const Leaf;
    static FUNCTION: OnceLock<Option<LeafOf>> = OnceLock::new();
    let function = FUNCTION.get_or_init(|| {
        // SAFETY: looking a name up among the libraries that are loaded has no effect.
        let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__x86_get_cpuid_feature_leaf".as_ptr()) };
        // SAFETY: a function of this name is the library's, which has this type since it exists; a null pointer is `None`.
        unsafe { std::mem::transmute::<*mut libc::c_void, Option<LeafOf>>(found) }
    });
    // SAFETY: it returns the address of a structure of the library that is written before `main` and never after, or of one of zeros
    // for numbers that it does not know.
    function.and_then(|function| unsafe { function(number).as_ref() })
}

#[cfg(all(test, target_arch = "x86_64", target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn the_library_says_what_the_processor_says() {
        macro_rules! compare {
            ($($name:tt)*) => {
                $(assert!(!is_known_to_have($name) || is_x86_feature_detected!($name), $name);)*
                if leaf_of_library(0).is_some() && std::env::var_os("GLIBC_TUNABLES").is_none() {
                    $(assert_eq!(is_known_to_have($name), is_x86_feature_detected!($name), $name);)*
                }
            };
        }
        compare!("sse3" "ssse3" "sse4.1" "sse4.2" "popcnt" "avx" "avx2" "fma" "bmi1" "bmi2" "lzcnt" "cmpxchg16b"
            "avx512f" "avx512dq" "avx512vl" "avx512vbmi" "avx512bitalg");
        assert!(!is_known_to_have("sse5") && leaf_of_library(1000).is_none_or(|leaf| leaf.active == [0; 4]));
    }
}
