//! Which functions are meant: glob patterns on names, indices and `module.name`.

use std::fmt;
use std::str::FromStr;

/// Functions by name: patterns, separated by commas, in which `*` stands for any characters and `?` for one. Each is compared with
/// a function's name, with its index, and with `module.name`: the names of an import, or the module's own name and the
/// function's. A function is meant if one of the patterns matches one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallPattern {
    text: String,
    alternatives: Vec<Vec<char>>,
}

impl FromStr for CallPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let alternatives: Vec<Vec<char>> = text.split(',').map(|a| a.chars().collect()).collect();
        if alternatives.iter().any(Vec::is_empty) {
            return Err("expected names of functions, with * for any characters and ? for one, separated by commas".into());
        }
        Ok(Self { text: text.to_owned(), alternatives })
    }
}

impl fmt::Display for CallPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl CallPattern {
    /// Whether the pattern matches this text.
    pub fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        self.alternatives.iter().any(|a| glob(a, &text))
    }
}

/// After a `*`, the shortest match is tried first and only the last `*` ever takes more: no exponential search.
fn glob(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match &mut star {
                Some((at, taken)) => {
                    *taken += 1;
                    (p, t) = (*at + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        pattern.parse::<CallPattern>().unwrap().matches(text)
    }

    #[test]
    fn globs() {
        for (pattern, text) in [
            ("main", "main"),
            ("*", ""),
            ("*", "anything"),
            ("fd_*", "fd_write"),
            ("*.fd_write", "wasi_snapshot_preview1.fd_write"),
            ("a*b*c", "aXbYbZc"),
            ("f??", "foo"),
            ("main,fd_*", "fd_read"),
            ("**x", "x"),
            ("ü?", "üß"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("main", "main2"), ("fd_*", "path_open"), ("?", ""), ("f??", "fo"), ("a*b", "abc"), ("*x", "xy")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
        assert!("".parse::<CallPattern>().is_err());
        assert!("a,,b".parse::<CallPattern>().is_err());
    }

    #[test]
    fn many_stars_take_no_time() {
        assert!(!matches(&("a*".repeat(50) + "b"), &"a".repeat(5000)));
    }
}
