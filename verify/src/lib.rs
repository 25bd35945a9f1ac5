//! Proves of an artifact's machine code that it stays in its sandbox, without trusting whoever made it. The container is read and
//! checked by the loader's own routines, so that what is proved is what would run; the code is decoded here, by a library that the code
//! generator does not use, and every instruction that can be reached must be one that is proved harmless. `docs/verify.md` says
//! what that means and what it does not.

#![deny(missing_docs)]

mod abi;
mod elf;
mod interpreted;
mod layout;
mod metadata;
mod program;
mod records;
mod state;
mod value;
mod x86;

pub use program::Finding;

use iced_x86::{FastFormatter, Instruction};
use program::{Entry, Program, Role};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use wasmc_environ::artifact::SectionKind;
use wasmc_runtime::{ArtifactContents, ArtifactErrorKind};

/// What was proved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Functions and stubs.
    pub pieces: u64,
    /// Instructions that can be executed.
    pub instructions: u64,
    /// Bytes of the text.
    pub text: u64,
}

/// Why an artifact was not accepted.
#[derive(Debug)]
pub enum Refused {
    /// It is none, or it is damaged.
    Artifact(ArtifactErrorKind),
    /// Something does not match its digest.
    Damaged(Vec<SectionKind>),
    /// It is for a machine whose code cannot be judged.
    Unsupported(String),
    /// What could not be proved, at most `limit` findings.
    Unproved(Vec<Finding>),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Artifact(e) => e.fmt(f),
            Self::Damaged(kinds) => {
                let names: Vec<&str> = kinds.iter().map(|k| k.elf_name()).collect();
                write!(f, "does not match its digest: {}", names.join(", "))
            }
            Self::Unsupported(target) => write!(f, "the code is for {target}; only x86_64-linux can be verified"),
            Self::Unproved(findings) => {
                for (n, finding) in findings.iter().enumerate() {
                    if n != 0 {
                        writeln!(f)?;
                    }
                    finding.fmt(f)?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Refused {}

/// Verifies the bytes of an artifact.
///
/// # Errors
/// Why it is not accepted.
pub fn verify(bytes: &[u8]) -> Result<Report, Refused> {
    let contents = ArtifactContents::new(bytes).map_err(Refused::Artifact)?;
    let damaged: Vec<SectionKind> = SectionKind::ALL.iter().copied().filter(|k| !contents.is_intact(*k)).collect();
    if !damaged.is_empty() {
        return Err(Refused::Damaged(damaged));
    }
    if contents.target() != "x86_64-linux" {
        return Err(Refused::Unsupported(contents.target()));
    }
    let meta = contents.meta().map_err(|e| Refused::Artifact(ArtifactErrorKind::Invalid(e.to_owned())))?;
    elf::check(contents.file(), contents.header()).map_err(|f| Refused::Unproved(vec![f]))?;
    interpreted::check(&contents, &meta.module).map_err(|f| Refused::Unproved(vec![f]))?;
    let program = Program::new(&contents, meta).map_err(|f| Refused::Unproved(vec![f]))?;
    metadata::check(&program, meta).map_err(|f| Refused::Unproved(vec![f]))?;
    let mut report = Report { text: program.text.len() as u64, ..Report::default() };
    let findings = prove_all(&program, &mut report);
    if findings.is_empty() { Ok(report) } else { Err(Refused::Unproved(findings.into_iter().collect())) }
}

/// Proves all code that may be entered, on as many threads as there are processors. What is not proved is returned, in order.
fn prove_all(program: &Program<'_>, report: &mut Report) -> BTreeSet<Finding> {
    let next = AtomicUsize::new(0);
    let work = || {
        let (mut pieces, mut instructions, mut findings) = (0, 0, BTreeSet::new());
        while let Some(start) = program.starts.get(next.fetch_add(1, Relaxed)) {
            let Some(entry) = program.entries.get(start) else { continue };
            let proved = x86::prove(program, *start, entry).and_then(|p| records::check(program, *start, &p).map(|()| p));
            match proved {
                Ok(proved) => {
                    pieces += 1;
                    instructions += proved.instructions;
                }
                Err(finding) => {
                    findings.insert(finding);
                }
            }
        }
        (pieces, instructions, findings)
    };
    let threads = if program.text.len() < SMALL { 1 } else { std::thread::available_parallelism().map_or(1, Into::into) };
    let all = std::thread::scope(|scope| {
        // Where no thread is to be had, this one does all.
        let others: Vec<_> = (1..threads).filter_map(|_| std::thread::Builder::new().spawn_scoped(scope, work).ok()).collect();
        let own = work();
        std::iter::once(Some(own)).chain(others.into_iter().map(|t| t.join().ok())).collect::<Vec<_>>()
    });
    let mut findings = BTreeSet::new();
    for part in all {
        let Some((pieces, instructions, found)) = part else {
            // A thread that panicked has proved nothing.
            findings.insert(Finding { offset: None, function: String::new(), problem: "the verifier failed".into() });
            continue;
        };
        report.pieces += pieces;
        report.instructions += instructions;
        findings.extend(found);
    }
    findings
}

/// Code of fewer bytes is not worth a thread.
const SMALL: usize = 256 << 10;

/// Which builtin the code at an offset is the trampoline of; proved at the first call.
fn builtin_at(program: &Program<'_>, target: u32) -> Result<u32, Finding> {
    let known = program.builtins.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(&target).cloned();
    if let Some(known) = known {
        return known;
    }
    let entry = Entry { role: Role::Builtin, signature: abi::Signature::new(&[], &[]) };
    let proved = x86::prove(program, target, &entry);
    let result = proved.and_then(|p| records::check(program, target, &p).map(|()| p.builtin.unwrap_or(u32::MAX)));
    program.builtins.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(target, result.clone());
    result
}

/// An instruction in a message.
fn show(i: &Instruction) -> String {
    let mut out = String::new();
    FastFormatter::new().format(i, &mut out);
    out
}
