//! The mappings of a process, as the kernel lists them: what each page may be used for.

use std::ops::Range;

/// A mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Its addresses.
    pub range: Range<usize>,
    /// Like `r-xp`.
    pub permissions: String,
    /// The file, or what the kernel calls it; empty for anonymous memory.
    pub name: String,
}

impl Mapping {
    /// Whether it can be written to and executed.
    pub fn is_writable_and_executable(&self) -> bool {
        self.permissions.contains('w') && self.permissions.contains('x')
    }

    /// Whether nothing can be done with it.
    pub fn is_inaccessible(&self) -> bool {
        self.permissions.starts_with("---")
    }
}

fn parse(line: &str) -> Option<Mapping> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    let permissions = words.next()?.to_owned();
    Some(Mapping { range: address(start)?..address(end)?, permissions, name: words.nth(3).unwrap_or_default().to_owned() })
}

/// The mappings of a process, `self` or its number, by address. None if it has ended.
pub fn of(process: &str) -> Vec<Mapping> {
    let text = std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap_or_default();
    text.lines().filter_map(parse).collect()
}

/// Checks that no page of a process is writable and executable at once; gives how many mappings are executable.
///
/// # Panics
/// If there is one.
pub fn assert_none_is_writable_and_executable(process: &str, when: &str) -> usize {
    let all = of(process);
    let both: Vec<_> = all.iter().filter(|m| m.is_writable_and_executable()).collect();
    assert!(both.is_empty(), "{when}: {both:x?}");
    all.iter().filter(|m| m.permissions.contains('x')).count()
}

/// Whether nothing in a range of this process can be accessed: it is not mapped, or without any right.
pub fn is_guard(range: &Range<usize>) -> bool {
    of("self").iter().filter(|m| m.range.start < range.end && range.start < m.range.end).all(Mapping::is_inaccessible)
}
