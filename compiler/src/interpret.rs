//! Which functions are left to the interpreter: the options by name and index are looked up in the module, and what does
//! not exist there is an error that says what would have been close.

use std::collections::HashMap;
use wasmc_environ::jit::{CompileError, Interpret};
use wasmc_environ::module::EntityIndex;
use wasmc_environ::{FuncIndex, Module};

/// For each defined function whether it is left uncompiled.
///
/// # Errors
/// If an option names a function that is not there, or an import.
pub fn resolve(module: &Module, options: &[Interpret], names: &dyn Fn() -> HashMap<FuncIndex, String>) -> Result<Vec<bool>, CompileError> {
    let mut chosen = vec![false; module.bodies.len()];
    let mut known: Option<HashMap<FuncIndex, String>> = None;
    for option in options {
        match option {
            Interpret::All => chosen.fill(true),
            Interpret::Odd => {
                let first = module.num_imported_functions as usize;
                chosen.iter_mut().enumerate().filter(|(i, _)| (first + i) % 2 == 1).for_each(|(_, c)| *c = true);
            }
            Interpret::Index(i) => {
                let index = FuncIndex::from_u32(*i);
                if module.functions.get(index.index()).is_none() {
                    return Err(CompileError::Option(format!(
                        "--interpret {i}: the module has no function {i}; it has {} ({} of them imported)",
                        module.functions.len(),
                        module.num_imported_functions
                    )));
                }
                choose(module, &mut chosen, index, &i.to_string())?;
            }
            Interpret::Name(name) => {
                let known = known.get_or_insert_with(names);
                let mut found: Vec<FuncIndex> = known.iter().filter(|(_, n)| *n == name).map(|(i, _)| *i).collect();
                if let Some(EntityIndex::Func(i)) = module.export(name) {
                    found.push(i);
                }
                // A name that a definition shares with an import means the definition.
                if found.iter().any(|i| module.defined_func(*i).is_some()) {
                    found.retain(|i| module.defined_func(*i).is_some());
                }
                if found.is_empty() {
                    return Err(unknown_name(module, name, known));
                }
                for i in found {
                    choose(module, &mut chosen, i, name)?;
                }
            }
        }
    }
    Ok(chosen)
}

fn choose(module: &Module, chosen: &mut [bool], index: FuncIndex, what: &str) -> Result<(), CompileError> {
    match module.defined_func(index).and_then(|d| chosen.get_mut(d.index())) {
        Some(c) => {
            *c = true;
            Ok(())
        }
        None => Err(CompileError::Option(format!("--interpret {what}: function {index} is imported, so it has no body to interpret"))),
    }
}

#[cold]
fn unknown_name(module: &Module, name: &str, known: &HashMap<FuncIndex, String>) -> CompileError {
    let exports = module.exports.iter().filter(|e| matches!(e.index, EntityIndex::Func(_))).map(|e| &e.name);
    let mut near: Vec<(usize, &String)> = known.values().chain(exports).filter_map(|n| Some((distance(name, n)?, n))).collect();
    near.sort();
    near.dedup();
    let hint = match &near[..] {
        [] if known.is_empty() => "; the module has no names: use an index".to_owned(),
        [] => String::new(),
        some => format!("; similar names: {}", some.iter().take(3).map(|(_, n)| format!("`{n}`")).collect::<Vec<_>>().join(", ")),
    };
    CompileError::Option(format!("--interpret {name}: the module has no function of this name{hint}"))
}

/// How far two names are apart, if they are similar: the number of edits, where one containing the other counts as near.
fn distance(a: &str, b: &str) -> Option<usize> {
    let limit = 1 + a.len() / 4;
    if a.len() >= 3 && b.contains(a) {
        return Some(limit);
    }
    if a.len().abs_diff(b.len()) > limit {
        return None;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let cost = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = row[j + 1];
            row[j + 1] = cost;
        }
    }
    row.last().copied().filter(|d| *d <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmc_environ::features::Features;

    fn module() -> (Module, HashMap<FuncIndex, String>) {
        let wasm =
            wat::parse_str(r#"(module (import "env" "host" (func $host)) (func $first (export "go")) (func $second) (func $third))"#)
                .unwrap();
        let module = wasmc_environ::decode::decode(&wasm, &Features::default()).unwrap().module;
        let names = wasmc_environ::names::function_names(&module, &wasm);
        (module, names)
    }

    fn run(options: &[Interpret]) -> Result<Vec<bool>, String> {
        let (module, names) = module();
        resolve(&module, options, &|| names.clone()).map_err(|e| e.to_string())
    }

    #[test]
    fn selections() {
        assert_eq!(run(&[]).unwrap(), [false; 3]);
        assert_eq!(run(&[Interpret::All]).unwrap(), [true; 3]);
        assert_eq!(run(&[Interpret::Odd]).unwrap(), [true, false, true]);
        assert_eq!(run(&[Interpret::Index(2)]).unwrap(), [false, true, false]);
        assert_eq!(run(&[Interpret::Name("third".into())]).unwrap(), [false, false, true]);
        assert_eq!(run(&[Interpret::Name("go".into())]).unwrap(), [true, false, false]);
    }

    #[test]
    fn errors_say_what_is_there() {
        assert!(run(&[Interpret::Index(9)]).unwrap_err().contains("it has 4 (1 of them imported)"));
        assert!(run(&[Interpret::Index(0)]).unwrap_err().contains("imported"));
        assert!(run(&[Interpret::Name("secnod".into())]).unwrap_err().contains("`second`"));
        assert!(run(&[Interpret::Name("xyz".into())]).unwrap_err().ends_with("of this name"));
    }
}
