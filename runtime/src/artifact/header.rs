//! The checks of an artifact's header, in the order that gives the most useful error: what kind of file, which format,
//! intact, for this version, this machine and this engine, and sections that lie inside the file and apart.

use super::{ArtifactErrorKind as Kind, WASMC_VERSION};
use std::mem::offset_of;
use std::ops::Range;
use wasmc_environ::artifact::{FORMAT_VERSION, HEADER_OFFSET, Header, MAGIC, MAX_SECTIONS, SectionEntry, SectionKind};
use wasmc_environ::cpu::{CPU_FEATURES, feature_bit, feature_names};
use wasmc_environ::features::Features;
use wasmc_environ::limits::{MAX_TEXT_BYTES, SEGMENT_ALIGNMENT};
use zerocopy::{FromBytes, IntoBytes};

/// Where the header ends.
pub(super) const HEADER_END: usize = HEADER_OFFSET + size_of::<Header>();

/// Names of the bits of `artifact::tunable_bits`, in order.
pub(super) const TUNABLE_NAMES: &[&str] = &["static-memory", "spectre-tables", "meter", "trace"];

/// What an artifact is held against: this machine and the engine's configuration.
#[derive(Clone, Debug)]
pub(crate) struct HostChecks {
    /// `arch-os` of the code that can run.
    pub target: String,
    /// Features of the processor, by `cpu::CPU_FEATURES`. `None`: asked of the processor, and only for those needed.
    pub cpu_features: Option<u64>,
    /// Tunables (`artifact::tunable_bits`) that the runtime can serve.
    pub served_tunables: u64,
    /// Tunables that the engine needs.
    pub needed_tunables: u64,
    /// Proposals (`artifact::feature_bits`) that are on.
    pub features: u64,
    /// Leaves out the digest of the text: for folders that only trusted users can write to. It saves reading all of
    /// the code at the start.
    pub trust_text: bool,
}

impl HostChecks {
    /// This machine, and an engine that serves every artifact that the runtime can run.
    pub(crate) fn native() -> Self {
        let tunables = |static_memory, spectre_tables| {
            let t = wasmc_environ::Tunables { static_memory, spectre_tables, meter: false, trace: true };
            wasmc_environ::artifact::tunable_bits(&t)
        };
        Self {
            target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
            cpu_features: None,
            served_tunables: tunables(true, true),
            needed_tunables: 0,
            features: u64::MAX,
            trust_text: false,
        }
    }
}

impl HostChecks {
    /// The same for an engine that meters, or does not: all its code has to.
    pub(crate) fn for_meter(self, on: bool) -> Self {
        if !on {
            return self;
        }
        Self { served_tunables: self.served_tunables | METER_BIT, needed_tunables: self.needed_tunables | METER_BIT, ..self }
    }
}

/// The bit of `Tunables::meter` in a header.
pub(super) const METER_BIT: u64 = 1 << 2;

macro_rules! detect {
    ($name:expr, $mac:ident: $($feature:tt)*) => {
        match $name {
            $($feature => Some(std::arch::$mac!($feature)),)*
            _ => None,
        }
    };
}

/// Whether this processor has a feature of `cpu::CPU_FEATURES`; `None` if it is none of this architecture.
fn host_has(name: &str) -> Option<bool> {
    #[cfg(target_arch = "x86_64")]
    return detect!(name, is_x86_feature_detected:
        "sse3" "ssse3" "sse4.1" "sse4.2" "popcnt" "avx" "avx2" "fma" "bmi1" "bmi2" "lzcnt" "cmpxchg16b"
        "avx512f" "avx512dq" "avx512vl" "avx512vbmi" "avx512bitalg");
    #[cfg(target_arch = "aarch64")]
    return detect!(name, is_aarch64_feature_detected: "lse" "fp16");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return None;
}

/// The processor features of a set that this machine lacks.
fn missing_cpu_features(needed: u64, available: Option<u64>) -> Vec<String> {
    let has = |name| match available {
        Some(bits) => feature_bit(name).is_some_and(|b| bits & b != 0),
        None => crate::vm::processor::is_known_to_have(name) || host_has(name) == Some(true),
    };
    let mut missing: Vec<String> = feature_names(needed).filter(|n| !has(n)).map(str::to_owned).collect();
    let unknown = needed & !low_bits(CPU_FEATURES.len());
    if unknown != 0 {
        missing.push(format!("bits {unknown:#x} (unknown to this version)"));
    }
    missing
}

fn low_bits(count: usize) -> u64 {
    1u64.checked_shl(count as u32).map_or(u64::MAX, |b| b - 1)
}

/// Names of the bits that are set; one that has no name is called by its number.
pub(super) fn bit_names(bits: u64, name: impl Fn(usize) -> Option<&'static str>) -> Vec<String> {
    (0..64usize).filter(|i| bits & (1 << i) != 0).map(|i| name(i).map_or_else(|| format!("number {i}"), str::to_owned)).collect()
}

/// A string that is padded with zeros; control characters, which only a damaged header has, are escaped.
pub(super) fn padded(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    bytes[..end].escape_ascii().to_string()
}

/// What the first bytes of a file that is no artifact suggest.
fn foreign(start: &[u8]) -> Kind {
    match start {
        [0, b'a', b's', b'm', ..] => Kind::IsWasm,
        [0x7f, b'E', b'L', b'F', ..] => Kind::NotAnArtifact("an ELF file of another program"),
        [] => Kind::NotAnArtifact("an empty file"),
        _ => Kind::NotAnArtifact("an unknown kind of file"),
    }
}

/// The header in the first `HEADER_END` bytes (fewer if the file is shorter) of a file of `file_size` bytes, once it has
/// passed every check.
pub(super) fn check(start: &[u8], file_size: u64, host: &HostChecks) -> Result<Header, Kind> {
    let header = identify(start, file_size)?;
    check_host(&header, host)?;
    check_layout(&header, file_size)?;
    Ok(header)
}

/// The header, if the file is an artifact of this format and the header is intact; for which machine it is, and whether the rest
/// of the file is there, is not looked at.
pub(super) fn identify(start: &[u8], file_size: u64) -> Result<Header, Kind> {
    let bytes = start.get(HEADER_OFFSET..).unwrap_or_default();
    if !start.starts_with(b"\x7fELF") || !bytes.starts_with(&MAGIC) {
        return Err(foreign(start));
    }
    let too_short = Kind::FileSize { expected: HEADER_END as u64, found: file_size };
    // The version decides what follows it, the digest included.
    match bytes.get(offset_of!(Header, format_version)..).and_then(|b| u32::read_from_prefix(b).ok()) {
        Some((version, _)) if u32::from_le(version) == FORMAT_VERSION => {}
        Some((version, _)) => return Err(Kind::FormatVersion(u32::from_le(version))),
        None => return Err(too_short),
    }
    let Ok((header, _)) = Header::read_from_prefix(bytes) else { return Err(too_short) };
    if header.header_size as usize != size_of::<Header>() {
        return Err(Kind::HeaderDamaged(format!("its size is {}, not {}", header.header_size, size_of::<Header>())));
    }
    if *blake3::hash(&header.as_bytes()[..offset_of!(Header, digest)]).as_bytes() != header.digest {
        return Err(Kind::HeaderDamaged("it does not match its digest".into()));
    }
    Ok(header)
}

/// Whether sizes and sections fit the file.
pub(super) fn check_layout(header: &Header, file_size: u64) -> Result<(), Kind> {
    if header.file_size != file_size {
        return Err(Kind::FileSize { expected: header.file_size, found: file_size });
    }
    if header.reserved != 0 || header.mapped_size > file_size || header.mapped_size < HEADER_END as u64 {
        return Err(Kind::HeaderDamaged("sizes contradict each other".into()));
    }
    check_sections(header)
}

fn check_host(header: &Header, host: &HostChecks) -> Result<(), Kind> {
    let version = padded(&header.wasmc_version);
    if version != WASMC_VERSION {
        return Err(Kind::Version { found: version });
    }
    let target = padded(&header.target);
    if target != host.target {
        let (arch, os) = host.target.split_once('-').unwrap_or((&host.target, "unknown"));
        let triple = format!("{arch}-unknown-{os}{}", if os == "linux" { "-gnu" } else { "" });
        return Err(Kind::Target { found: target, host: host.target.clone(), triple });
    }
    let missing = missing_cpu_features(header.cpu_features, host.cpu_features);
    if !missing.is_empty() {
        return Err(Kind::CpuFeatures { missing });
    }
    let tunable = |i: usize| TUNABLE_NAMES.get(i).copied();
    let unsupported = header.tunables & !host.served_tunables;
    if unsupported != 0 {
        return Err(Kind::TunablesUnsupported { options: bit_names(unsupported, tunable) });
    }
    let lacking = host.needed_tunables & !header.tunables;
    if lacking != 0 {
        return Err(Kind::TunablesMissing { options: bit_names(lacking, tunable) });
    }
    let off = header.features & !(host.features & low_bits(Features::ALL.len()));
    if off != 0 {
        return Err(Kind::Features { names: bit_names(off, |i| Features::ALL.get(i).map(|f| f.name)) });
    }
    Ok(())
}

/// Alignment that a section needs in the file, and so in memory.
fn alignment(kind: SectionKind) -> u64 {
    match kind {
        SectionKind::Text | SectionKind::MemoryImage => SEGMENT_ALIGNMENT,
        SectionKind::Meta | SectionKind::Names | SectionKind::Data | SectionKind::Wasm => 1,
        _ => 4,
    }
}

/// Sections that may lie behind the part that tools map.
fn may_be_unmapped(kind: SectionKind) -> bool {
    matches!(kind, SectionKind::MemoryImage | SectionKind::Data | SectionKind::Wasm)
}

fn check_sections(header: &Header) -> Result<(), Kind> {
    let absent = SectionEntry { offset: 0, size: 0, digest: [0; 32] };
    let mut ranges: Vec<(Range<u64>, SectionKind)> = Vec::with_capacity(MAX_SECTIONS);
    for kind in SectionKind::ALL.iter().copied() {
        let error = |problem: String| Err(Kind::Section { section: kind.elf_name(), problem });
        let entry = &header.sections[kind as usize];
        if *entry == absent {
            continue;
        }
        let Some(end) = entry.offset.checked_add(entry.size).filter(|e| *e <= header.file_size) else {
            return error(format!("{} bytes at {:#x} do not lie in the file", entry.size, entry.offset));
        };
        if entry.offset < HEADER_END as u64 {
            return error(format!("begins at {:#x}, inside the header", entry.offset));
        }
        if !entry.offset.is_multiple_of(alignment(kind)) {
            return error(format!("begins at {:#x}, not at a multiple of {}", entry.offset, alignment(kind)));
        }
        if !may_be_unmapped(kind) && end > header.mapped_size {
            return error(format!("ends at {end:#x}, behind the mapped part"));
        }
        if kind == SectionKind::Text && entry.size > MAX_TEXT_BYTES {
            return error(format!("has {} bytes, more than {MAX_TEXT_BYTES}", entry.size));
        }
        if entry.size != 0 {
            // No other section may share pages with the text, since those become executable.
            let end = if kind == SectionKind::Text { end.next_multiple_of(SEGMENT_ALIGNMENT) } else { end };
            ranges.push((entry.offset..end, kind));
        }
    }
    if header.sections[SectionKind::ALL.len()..].iter().any(|e| *e != absent) {
        return Err(Kind::HeaderDamaged("it has a section of an unknown kind".into()));
    }
    ranges.sort_unstable_by_key(|(r, _)| r.start);
    for pair in ranges.windows(2) {
        let [(before, _), (after, kind)] = pair else { continue };
        if after.start < before.end {
            return Err(Kind::Section { section: kind.elf_name(), problem: format!("begins at {:#x}, inside another one", after.start) });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmc_environ::Tunables;
    use wasmc_environ::artifact::tunable_bits;

    #[test]
    fn every_feature_of_this_architecture_can_be_asked() {
        for f in CPU_FEATURES {
            assert_eq!(host_has(f.name).is_some(), f.arch == std::env::consts::ARCH, "{}", f.name);
        }
    }

    #[test]
    fn tunables_have_the_names_of_their_bits() {
        let off = Tunables { static_memory: false, spectre_tables: false, meter: false, trace: false };
        let bits = [
            Tunables { static_memory: true, ..off.clone() },
            Tunables { spectre_tables: true, ..off.clone() },
            Tunables { meter: true, ..off.clone() },
            Tunables { trace: true, ..off.clone() },
        ];
        assert_eq!(bits.map(|t| tunable_bits(&t)), [1, 2, METER_BIT, 8]);
        assert_eq!((TUNABLE_NAMES.len(), tunable_bits(&off)), (4, 0));
    }

    #[test]
    fn missing_features_are_named() {
        let avx512 = feature_bit("avx512f").unwrap();
        assert_eq!(missing_cpu_features(avx512 | 1, Some(1)), ["avx512f"]);
        assert_eq!(missing_cpu_features(1, Some(1)), Vec::<String>::new());
        assert!(missing_cpu_features(1 << 63, Some(u64::MAX))[0].contains("0x8000000000000000"));
        let foreign = if cfg!(target_arch = "x86_64") { "lse" } else { "avx" };
        assert_eq!(missing_cpu_features(feature_bit(foreign).unwrap(), None), [foreign]);
    }
}
