//! The target: Cranelift's ISA for a triple, a choice of CPU features and an optimisation level. Features are limited to
//! the list in `environ::cpu`, so that whatever the code may use can be written into an artifact's header and checked
//! by the loader before anything runs.

use cranelift_codegen::isa::{self, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use std::str::FromStr;
use target_lexicon::{Architecture, OperatingSystem, Triple};
use wasmc_environ::cpu;
use wasmc_environ::jit::CompileError;

/// Which CPU features the code may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cpu {
    /// `Native` if no target is named, `Baseline` if one is, this machine's among them: the same options make the same code on every
    /// machine.
    #[default]
    Default,
    /// All features of this machine.
    Native,
    /// What every machine of the architecture has.
    Baseline,
    /// The micro-architecture level `x86-64-v3`.
    X86_64V3,
    /// These features, by the names in `environ::cpu`.
    Features(Vec<String>),
}

impl FromStr for Cpu {
    type Err = CompileError;

    /// `native`, `baseline`, `x86-64-v3`, or names of features with commas between.
    fn from_str(s: &str) -> Result<Self, CompileError> {
        Ok(match s {
            "native" => Self::Native,
            "baseline" => Self::Baseline,
            "x86-64-v3" => Self::X86_64V3,
            list => {
                let names: Vec<String> = list.split(',').map(|n| n.trim().to_owned()).collect();
                if let Some(unknown) = names.iter().find(|n| cpu::feature_bit(n).is_none()) {
                    let known: Vec<&str> = cpu::CPU_FEATURES.iter().map(|f| f.name).collect();
                    return Err(CompileError::Option(format!(
                        "unknown CPU `{unknown}`: expected `native`, `baseline`, `x86-64-v3` or a list of {}",
                        known.join(", ")
                    )));
                }
                Self::Features(names)
            }
        })
    }
}

/// How much the code generator optimises.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum OptLevel {
    /// Fast compilation.
    None,
    /// The default.
    #[default]
    Speed,
    /// At present the same as `Speed`: the highest level.
    Most,
    /// Also smaller code.
    SpeedAndSize,
}

impl FromStr for OptLevel {
    type Err = CompileError;

    /// `0`, `1`, `2` or `s`.
    fn from_str(s: &str) -> Result<Self, CompileError> {
        Ok(match s {
            "0" => Self::None,
            "1" => Self::Speed,
            "2" => Self::Most,
            "s" => Self::SpeedAndSize,
            _ => return Err(CompileError::Option(format!("unknown optimisation level `{s}`: expected 0, 1, 2 or s"))),
        })
    }
}

/// Whether the code generator checks its own work. Neither check changes the code; a failing one is an error of the compilation.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum SelfChecks {
    /// It does not.
    Off,
    /// It verifies its intermediate form before each pass that relies on it: finds mistakes of the translator and of the passes.
    Verifier,
    /// That, and what the register allocator made is executed symbolically and compared with what it was given.
    All,
}

impl Default for SelfChecks {
    /// All in builds with debug assertions, which tests and fuzzing are; none otherwise. `docs/RATIONALE.md` has what they cost.
    fn default() -> Self {
        if cfg!(debug_assertions) { Self::All } else { Self::Off }
    }
}

impl FromStr for SelfChecks {
    type Err = CompileError;

    /// `off`, `verifier` or `all`.
    fn from_str(s: &str) -> Result<Self, CompileError> {
        Ok(match s {
            "off" => Self::Off,
            "verifier" => Self::Verifier,
            "all" => Self::All,
            _ => return Err(CompileError::Option(format!("unknown self-checks `{s}`: expected off, verifier or all"))),
        })
    }
}

/// A target that code is made for.
#[derive(Clone)]
pub struct Target {
    /// Cranelift's ISA.
    pub isa: OwnedTargetIsa,
    /// The CPU features that the code may use: bits by `environ::cpu::CPU_FEATURES`.
    pub cpu_features: u64,
    /// The target as it stands in an artifact's header: `arch-os`.
    pub name: String,
}

impl Target {
    /// The target for `triple` (this machine's if `None`). Metered code has a register set aside for fuel (`docs/abi.md`).
    ///
    /// # Errors
    /// If wasmc has no code generator for it, or `cpu` does not fit it.
    pub fn new(triple: Option<&Triple>, cpu: &Cpu, opt_level: OptLevel, meter: bool, checks: SelfChecks) -> Result<Self, CompileError> {
        let host = Triple::host();
        let cpu = match (cpu, triple) {
            (Cpu::Default, Some(_)) => &Cpu::Baseline,
            (Cpu::Default, None) => &Cpu::Native,
            (cpu, _) => cpu,
        };
        let triple = triple.unwrap_or(&host).clone();
        let arch = match triple.architecture {
            Architecture::X86_64 => "x86_64",
            Architecture::Aarch64(_) => "aarch64",
            other => return Err(CompileError::Option(format!("no code generator for `{other}`: expected x86_64 or aarch64"))),
        };
        if triple.operating_system != OperatingSystem::Linux {
            return Err(CompileError::Option(format!("no support for the target `{triple}`: only Linux is supported")));
        }
        let native = triple.architecture == host.architecture && triple.operating_system == host.operating_system;
        let wanted = wanted_features(cpu, arch, native, &triple)?;
        let mut builder =
            isa::lookup(triple.clone()).map_err(|e| CompileError::Option(format!("no code generator for the target `{triple}`: {e}")))?;
        for f in cpu::feature_names(wanted) {
            if let Some(f) = cpu::CPU_FEATURES.iter().find(|c| c.name == f) {
                builder.enable(f.setting).map_err(|e| internal(f.setting, e))?;
            }
        }
        let isa = builder
            .finish(flags(opt_level, meter, checks)?)
            .map_err(|e| CompileError::Option(format!("the options do not fit the target `{triple}`: {e}")))?;
        Ok(Self { isa, cpu_features: wanted, name: format!("{arch}-linux") })
    }
}

/// The bits of the features that `cpu` stands for.
fn wanted_features(cpu: &Cpu, arch: &str, native: bool, triple: &Triple) -> Result<u64, CompileError> {
    let named = |names: &mut dyn Iterator<Item = &str>| {
        let mut bits = 0;
        for name in names {
            let Some(f) = cpu::CPU_FEATURES.iter().find(|f| f.name == name) else {
                return Err(CompileError::Option(format!("unknown CPU feature `{name}`")));
            };
            if f.arch != arch {
                return Err(CompileError::Option(format!("the CPU feature `{name}` is one of {}, not of the target `{triple}`", f.arch)));
            }
            bits |= cpu::feature_bit(name).unwrap_or(0);
        }
        Ok(bits)
    };
    match cpu {
        Cpu::Baseline => Ok(0),
        Cpu::Default | Cpu::Native if native => Ok(host_features()),
        Cpu::Default | Cpu::Native => Err(CompileError::Option(format!(
            "`--cpu native` stands for this machine, but the target is `{triple}`: use `--cpu baseline` or name the features"
        ))),
        Cpu::X86_64V3 => named(&mut cpu::X86_64_V3.iter().copied()),
        Cpu::Features(names) => named(&mut names.iter().map(String::as_str)),
    }
}

/// The features of this machine that are in the list.
pub fn host_features() -> u64 {
    /// Collects the settings that Cranelift's own detection enables.
    struct Collect(u64);
    impl Configurable for Collect {
        fn set(&mut self, _: &str, _: &str) -> settings::SetResult<()> {
            Ok(())
        }
        fn enable(&mut self, name: &str) -> settings::SetResult<()> {
            if let Some(i) = cpu::CPU_FEATURES.iter().position(|f| f.setting == name && f.arch == std::env::consts::ARCH) {
                self.0 |= 1 << i;
            }
            Ok(())
        }
    }
    let mut collect = Collect(0);
    match cranelift_native::infer_native_flags(&mut collect) {
        Ok(()) => collect.0,
        // A machine that Cranelift does not know: the baseline is right there too.
        Err(_) => 0,
    }
}

fn flags(opt_level: OptLevel, meter: bool, checks: SelfChecks) -> Result<settings::Flags, CompileError> {
    let mut b = settings::builder();
    let opt = match opt_level {
        OptLevel::None => "none",
        OptLevel::Speed | OptLevel::Most => "speed",
        OptLevel::SpeedAndSize => "speed_and_size",
    };
    let on = |yes: bool| if yes { "true" } else { "false" };
    for (name, value) in [
        ("opt_level", opt),
        ("enable_verifier", on(checks != SelfChecks::Off)),
        ("regalloc_checker", on(checks == SelfChecks::All)),
        ("is_pic", "false"),
        ("use_colocated_libcalls", "true"),
        ("enable_multi_ret_implicit_sret", "true"),
        ("preserve_frame_pointers", "true"),
        ("unwind_info", "true"),
        // Where blocks begin: `machine` needs it to tell code from jump tables.
        ("machine_code_cfg_info", "true"),
        // Metered code keeps its fuel there.
        ("enable_pinned_reg", on(meter)),
        // A frame larger than the guard must not step over it (`limits::STACK_GUARD`).
        ("enable_probestack", "true"),
        ("probestack_strategy", "inline"),
        ("probestack_size_log2", "16"),
        // Only Wasmtime's own translator reads the first; ours has a tunable. The second adds a barrier to `br_table` on aarch64 where
        // `use_csdb` is set too; its index is clamped by a conditional move, on both targets, whatever is set.
        ("enable_heap_access_spectre_mitigation", "false"),
        ("enable_table_access_spectre_mitigation", "false"),
    ] {
        b.set(name, value).map_err(|e| internal(name, e))?;
    }
    Ok(settings::Flags::new(b))
}

#[cold]
fn internal(setting: &str, e: settings::SetError) -> CompileError {
    CompileError::Option(format!("the code generator refuses the setting {setting}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_of_cpu() {
        assert_eq!("native".parse::<Cpu>().unwrap(), Cpu::Native);
        assert_eq!("sse4.2, avx2".parse::<Cpu>().unwrap(), Cpu::Features(vec!["sse4.2".into(), "avx2".into()]));
        assert!("sse9".parse::<Cpu>().unwrap_err().to_string().contains("sse9"));
        assert!("3".parse::<OptLevel>().is_err());
    }

    #[test]
    fn every_listed_feature_is_a_setting() {
        for arch in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"] {
            let triple: Triple = arch.parse().unwrap();
            let name = if arch.starts_with("x86") { "x86_64" } else { "aarch64" };
            let all: Vec<String> = cpu::CPU_FEATURES.iter().filter(|f| f.arch == name).map(|f| f.name.to_owned()).collect();
            let t = Target::new(Some(&triple), &Cpu::Features(all.clone()), OptLevel::Speed, false, SelfChecks::All).unwrap();
            assert_eq!(t.cpu_features.count_ones() as usize, all.len());
            assert_eq!(t.name, format!("{name}-linux"));
        }
    }

    #[test]
    fn tests_check_what_the_code_generator_does() {
        // Both are on if nobody says otherwise, in every build that has assertions.
        let expected = if cfg!(debug_assertions) { SelfChecks::All } else { SelfChecks::Off };
        assert_eq!(SelfChecks::default(), expected);
        assert_eq!((crate::CompileOptions::default().checks, crate::Jit::default().checks), (expected, expected));
        for (checks, verifier, allocator) in
            [(SelfChecks::Off, false, false), (SelfChecks::Verifier, true, false), (SelfChecks::All, true, true)]
        {
            let target = Target::new(None, &Cpu::Native, OptLevel::Speed, false, checks).unwrap();
            assert_eq!((target.isa.flags().enable_verifier(), target.isa.flags().regalloc_checker()), (verifier, allocator));
        }
        for (name, checks) in [("off", SelfChecks::Off), ("verifier", SelfChecks::Verifier), ("all", SelfChecks::All)] {
            assert_eq!(name.parse::<SelfChecks>().unwrap(), checks);
        }
        assert!("most".parse::<SelfChecks>().unwrap_err().to_string().contains("most"));
    }

    #[test]
    fn a_function_that_makes_no_sense_is_an_error_of_the_compilation() {
        use crate::function::{Failure, Keep, compile};
        use cranelift_codegen::cursor::{Cursor, FuncCursor};
        use cranelift_codegen::ir::{self, InstBuilder};
        // It returns 32 bits and promises 64.
        let mut signature = ir::Signature::new(isa::CallConv::Tail);
        signature.returns.push(ir::AbiParam::new(ir::types::I64));
        let mut context = cranelift_codegen::Context::new();
        context.func = ir::Function::with_name_signature(ir::UserFuncName::default(), signature);
        let block = context.func.dfg.make_block();
        context.func.layout.append_block(block);
        let mut cursor = FuncCursor::new(&mut context.func).at_bottom(block);
        let narrow = cursor.ins().iconst(ir::types::I32, 1);
        cursor.ins().return_(&[narrow]);
        let target = Target::new(None, &Cpu::Native, OptLevel::Speed, false, SelfChecks::Verifier).unwrap();
        match compile(&mut context, &*target.isa, Keep::default(), &crate::opt::sites::Sites::default(), false) {
            Err(Failure::Other(message)) => assert!(message.contains("return"), "{message}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn native_of_a_foreign_target_is_an_error() {
        let foreign = if cfg!(target_arch = "x86_64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };
        let triple: Triple = foreign.parse().unwrap();
        assert!(Target::new(Some(&triple), &Cpu::Native, OptLevel::Speed, false, SelfChecks::All).is_err());
        for named in [triple, Triple::host()] {
            assert_eq!(Target::new(Some(&named), &Cpu::Default, OptLevel::Speed, false, SelfChecks::All).unwrap().cpu_features, 0);
        }
        assert_eq!(Target::new(None, &Cpu::Default, OptLevel::Speed, false, SelfChecks::All).unwrap().cpu_features, host_features());
        let windows: Triple = "x86_64-pc-windows-msvc".parse().unwrap();
        assert!(Target::new(Some(&windows), &Cpu::Default, OptLevel::Speed, false, SelfChecks::All).is_err());
        let riscv: Triple = "riscv64gc-unknown-linux-gnu".parse().unwrap();
        assert!(Target::new(Some(&riscv), &Cpu::Default, OptLevel::Speed, false, SelfChecks::All).is_err());
    }
}
