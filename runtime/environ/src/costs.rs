//! What instructions and host functions cost: a table by the names of the text format, for metered code. The table is
//! compiled into the code, so it stands in the artifact, and everything that runs in one engine uses the same one.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use wasmparser::Operator;

macro_rules! operators {
    ($( @$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
        /// The operators by number: what wasmparser calls the methods that visit them.
        const VISITS: &[&str] = &[$(stringify!($visit)),*];

        /// The number of an operator.
        #[inline]
        fn number(op: &Operator<'_>) -> usize {
            #[derive(Copy, Clone)]
            enum Number {
                $($op,)*
            }
            match op {
                $(Operator::$op { .. } => Number::$op as usize,)*
                _ => VISITS.len(),
            }
        }
    };
}
wasmparser::for_each_operator!(operators);

/// Names that only delimit blocks: they are no instructions, so they cost nothing.
const DELIMITERS: &[&str] = &["else", "end", "catch", "catch_all", "delegate"];

/// Greatest cost of an instruction: with it, the counter of 63 bits lasts for 10^13 instructions.
pub const MAX_INSTRUCTION_COST: u32 = 1_000_000;
/// Greatest cost of a call of a host function.
pub const MAX_HOST_COST: u64 = 1 << 53;

/// What each instruction and each host function costs. Without entries, an instruction costs 1 and a host function nothing,
/// so that the cost is the number of instructions.
///
/// ```
/// use wasmc_environ::costs::CostTable;
/// let mut costs = CostTable::new(1)?;
/// costs.set_instruction("i64.div_s", 20)?;
/// costs.set_host("wasi_snapshot_preview1.fd_write", 100)?;
/// # Ok::<(), wasmc_environ::costs::CostError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CostTable {
    default: u32,
    /// By operator number; the numbers belong to one version of wasmc, as artifacts do.
    instructions: BTreeMap<u16, u32>,
    /// By `module.name` of the import.
    host: BTreeMap<String, u64>,
}

/// Why a table of costs is not right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CostError {
    /// No instruction has this name.
    #[error("no instruction is called `{name}`{}", similar_names(similar))]
    UnknownInstruction {
        /// The name.
        name: String,
        /// Names that are close to it.
        similar: Vec<String>,
    },
    /// The name is that of a delimiter.
    #[error("`{0}` only delimits a block: it is never executed, so it has no cost")]
    Delimiter(String),
    /// A cost is too large.
    #[error("the cost of `{name}` is {cost}, but at most {limit} is possible")]
    TooLarge {
        /// What has this cost.
        name: String,
        /// The cost.
        cost: u64,
        /// The greatest one.
        limit: u64,
    },
    /// A host function's name is not that of an import.
    #[error(
        "`{0}` names no host function: expected the import's two names with a dot between them, like `wasi_snapshot_preview1.fd_write`"
    )]
    HostName(String),
}

fn similar_names(similar: &[String]) -> String {
    match similar {
        [] => String::new(),
        some => format!("; similar names: {}", some.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")),
    }
}

/// The name of an operator as wasmparser's visitor writes it: the dots of the text format are underscores.
fn plain(visit: &str) -> &str {
    let name = visit.strip_prefix("visit_").unwrap_or(visit);
    match name {
        "typed_select" | "typed_select_multi" => "select",
        other => other,
    }
}

fn fits(name: &str, cost: u64, limit: u64) -> Result<u64, CostError> {
    if cost > limit { Err(CostError::TooLarge { name: name.to_owned(), cost, limit }) } else { Ok(cost) }
}

impl CostTable {
    /// A table in which every instruction costs the same, and host functions nothing.
    ///
    /// # Errors
    /// If the cost is greater than [`MAX_INSTRUCTION_COST`].
    pub fn new(default: u64) -> Result<Self, CostError> {
        let default = fits("default", default, MAX_INSTRUCTION_COST.into())? as u32;
        Ok(Self { default, instructions: BTreeMap::new(), host: BTreeMap::new() })
    }

    /// Sets the cost of an instruction by its name in the text format.
    ///
    /// # Errors
    /// If there is no such instruction, or the cost is greater than [`MAX_INSTRUCTION_COST`].
    pub fn set_instruction(&mut self, name: &str, cost: u64) -> Result<(), CostError> {
        let cost = fits(name, cost, MAX_INSTRUCTION_COST.into())? as u32;
        if DELIMITERS.contains(&name) {
            return Err(CostError::Delimiter(name.to_owned()));
        }
        let wanted = name.replace('.', "_");
        let mut known = false;
        for (number, visit) in VISITS.iter().enumerate() {
            if plain(visit) == wanted {
                self.instructions.insert(number as u16, cost);
                known = true;
            }
        }
        if known { Ok(()) } else { Err(CostError::UnknownInstruction { name: name.to_owned(), similar: similar(&wanted) }) }
    }

    /// Sets what a call of a host function costs, by the names of the import: `module.name`.
    ///
    /// # Errors
    /// If the name has no dot, or the cost is greater than [`MAX_HOST_COST`].
    pub fn set_host(&mut self, name: &str, cost: u64) -> Result<(), CostError> {
        if !name.contains('.') {
            return Err(CostError::HostName(name.to_owned()));
        }
        self.host.insert(name.to_owned(), fits(name, cost, MAX_HOST_COST)?);
        Ok(())
    }

    /// What an instruction costs.
    #[inline]
    pub fn instruction(&self, op: &Operator<'_>) -> u32 {
        if self.instructions.is_empty() {
            return self.default;
        }
        self.instructions.get(&(number(op) as u16)).copied().unwrap_or(self.default)
    }

    /// What a call of the host function that is imported under these names costs.
    pub fn host(&self, module: &str, name: &str) -> u64 {
        if self.host.is_empty() {
            return 0;
        }
        self.host.get(&format!("{module}.{name}")).copied().unwrap_or(0)
    }
}

/// Names of the text format that are close to one that does not exist, with the underscores that `plain` has.
fn similar(wanted: &str) -> Vec<String> {
    let mut near: Vec<(usize, &str)> =
        VISITS.iter().map(|v| plain(v)).filter(|n| !DELIMITERS.contains(n)).map(|n| (distance(wanted, n), n)).collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take_while(|(d, _)| *d <= 1 + wanted.len() / 4).take(3).map(|(_, n)| text_name(n)).collect()
}

/// The name with its dots, for messages: the type or the entity stands before the first one.
fn text_name(name: &str) -> String {
    const OWNERS: &[&str] = &[
        "i32", "i64", "f32", "f64", "v128", "i8x16", "i16x8", "i32x4", "i64x2", "f32x4", "f64x2", "local", "global", "memory", "table",
        "ref", "elem", "data", "struct", "array", "i31", "any", "extern", "atomic",
    ];
    match name.split_once('_') {
        Some((owner, rest)) if OWNERS.contains(&owner) => {
            let rest =
                rest.strip_prefix("atomic_").map_or_else(|| rest.to_owned(), |r| format!("atomic.{}", r.replacen("rmw_", "rmw.", 1)));
            format!("{owner}.{rest}")
        }
        _ => name.to_owned(),
    }
}

/// How many bytes have to be changed, added or left out to make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = row[j + 1];
            row[j + 1] = changed;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_text_format() {
        let mut t = CostTable::new(1).unwrap();
        for name in
            ["i32.add", "local.get", "br_if", "i64.atomic.rmw8.add_u", "v128.const", "select", "call_indirect", "memory.atomic.wait32"]
        {
            t.set_instruction(name, 7).unwrap();
        }
        assert_eq!(t.instruction(&Operator::I32Add), 7);
        assert_eq!(t.instruction(&Operator::I32Sub), 1);
        assert_eq!(t.instruction(&Operator::Select), 7);
        assert_eq!(t.instruction(&Operator::TypedSelect { ty: wasmparser::ValType::I32 }), 7);
        assert_eq!(t.instruction(&Operator::LocalGet { local_index: 3 }), 7);
    }

    #[test]
    fn mistakes_are_named() {
        let mut t = CostTable::new(1).unwrap();
        let e = t.set_instruction("i32.addd", 1).unwrap_err().to_string();
        assert!(e.contains("`i32.addd`") && e.contains("`i32.add`"), "{e}");
        assert!(t.set_instruction("qqqqqqqqqqqq", 1).unwrap_err().to_string().ends_with("`qqqqqqqqqqqq`"));
        assert_eq!(t.set_instruction("end", 1), Err(CostError::Delimiter("end".into())));
        assert!(t.set_instruction("i32.add", 1_000_001).unwrap_err().to_string().contains("at most 1000000"));
        assert!(t.set_host("fd_write", 1).unwrap_err().to_string().contains("dot"));
        assert!(CostTable::new(u64::MAX).is_err());
        t.set_host("wasi_snapshot_preview1.fd_write", 100).unwrap();
        assert_eq!((t.host("wasi_snapshot_preview1", "fd_write"), t.host("env", "fd_write")), (100, 0));
    }
}
