//! Names that somebody may have meant: what is near to a name that was not found, for errors.

/// As many similar names as an error lists.
pub(crate) const MAX_SIMILAR: usize = 3;
/// Names are untrusted and can be huge and many; a suggestion for a longer one helps nobody.
const MAX_COMPARED: usize = 64;

/// The definitions nearest to an import, nearest first.
pub(crate) fn nearest<'a>(module: &str, name: &str, definitions: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(&'a str, &'a str)> {
    let mut near: Vec<(usize, &str, &str)> = definitions.filter_map(|(m, n)| Some((similarity(module, name, m, n)?, m, n))).collect();
    near.sort_unstable();
    near.dedup();
    near.truncate(MAX_SIMILAR);
    near.into_iter().map(|(_, m, n)| (m, n)).collect()
}

/// How far a definition is from an import, if it is near enough to be meant: the same name in another module, or a name
/// that is at most a third different.
fn similarity(module: &str, name: &str, in_module: &str, defined: &str) -> Option<usize> {
    let far = usize::from(module != in_module);
    if name == defined {
        return Some(far);
    }
    if name.len() > MAX_COMPARED || defined.len() > MAX_COMPARED {
        return None;
    }
    let same = name.eq_ignore_ascii_case(defined);
    let distance = if same { 1 } else { edit_distance(name, defined) };
    let near = distance <= (name.chars().count() / 3).max(1);
    near.then_some(distance * 2 + far)
}

/// How many characters must be inserted, removed or replaced, or neighbours swapped, to make `b` of `a`.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    let mut previous = None;
    for (i, x) in a.chars().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = above[j] + usize::from(x != *y);
            let mut best = replaced.min(above[j + 1] + 1).min(row[j] + 1);
            if j > 0 && previous == Some(*y) && b[j - 1] == x {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
        previous = Some(x);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_distances() {
        for (a, b, distance) in [("", "", 0), ("abc", "", 3), ("fd_wirte", "fd_write", 1), ("kitten", "sitting", 3), ("ab", "ba", 1)] {
            assert_eq!(edit_distance(a, b), distance, "{a} {b}");
            assert_eq!(edit_distance(b, a), distance, "{b} {a}");
        }
    }

    #[test]
    fn what_is_similar() {
        assert_eq!(similarity("env", "print", "env", "print"), Some(0));
        assert_eq!(similarity("env", "print", "host", "print"), Some(1));
        assert_eq!(similarity("env", "print", "env", "Print"), Some(2));
        assert_eq!(similarity("env", "print", "env", "sqrt"), None);
        assert_eq!(similarity("env", "a", "env", "b"), Some(2));
    }
}
