//! Names that somebody may have meant: what is near to a name that was not found, for errors.

/// As many similar names as an error lists.
pub(crate) const MAX_SIMILAR: usize = 3;
/// Names are untrusted and can be huge and many; a suggestion for a longer one helps nobody.
const MAX_COMPARED: usize = 64;
/// Steps that all comparisons for one name may take together: some ten milliseconds.
const MAX_STEPS: usize = 1 << 24;

/// The definitions nearest to an import, nearest first.
pub(crate) fn nearest<'a>(module: &str, name: &str, definitions: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(&'a str, &'a str)> {
    let mut steps = MAX_STEPS;
    let mut near: Vec<(usize, &str, &str)> =
        definitions.filter_map(|(m, n)| Some((similarity(module, name, m, n, &mut steps)?, m, n))).collect();
    near.sort_unstable();
    near.dedup();
    near.truncate(MAX_SIMILAR);
    near.into_iter().map(|(_, m, n)| (m, n)).collect()
}

/// How far a definition is from an import, if it is near enough to be meant: the same name in another module, or a name
/// that is at most a third different.
fn similarity(module: &str, name: &str, in_module: &str, defined: &str, steps: &mut usize) -> Option<usize> {
    let far = usize::from(module != in_module);
    if name == defined {
        return Some(far);
    }
    if name.len() > MAX_COMPARED || defined.len() > MAX_COMPARED {
        return None;
    }
    let most = (name.chars().count() / 3).max(1);
    let distance = if name.eq_ignore_ascii_case(defined) {
        1
    } else {
        // A name that is much longer or shorter cannot be near; and when the steps are used up, only equal names are.
        *steps = steps.checked_sub(name.len() * defined.len())?;
        if name.chars().count().abs_diff(defined.chars().count()) > most {
            return None;
        }
        edit_distance(name, defined)
    };
    let near = distance <= most;
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
        let near =
            |module: &str, name: &str, in_module: &str, defined: &str| similarity(module, name, in_module, defined, &mut MAX_STEPS.clone());
        assert_eq!(near("env", "print", "env", "print"), Some(0));
        assert_eq!(near("env", "print", "host", "print"), Some(1));
        assert_eq!(near("env", "print", "env", "Print"), Some(2));
        assert_eq!(near("env", "print", "env", "sqrt"), None);
        assert_eq!(near("env", "a", "env", "b"), Some(2));
        assert_eq!(near("env", "print", "env", "printed_it"), None);
        assert_eq!(near("env", &"x".repeat(65), "env", &"y".repeat(65)), None);
    }

    #[test]
    fn many_names_take_little_time() {
        let names: Vec<String> = (0..200_000).map(|i| format!("{i:064}")).collect();
        let wanted = "1".repeat(64);
        let start = std::time::Instant::now();
        let found = nearest("env", &wanted, names.iter().map(|n| ("env", n.as_str())).chain([("other", wanted.as_str())]));
        assert_eq!(found, [("other", wanted.as_str())], "an equal name is found whatever was compared before");
        assert!(start.elapsed() < std::time::Duration::from_secs(5), "{:?}", start.elapsed());
    }
}
