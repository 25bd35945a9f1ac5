//! The report for a person: what matters first, one line a thing, sizes in bytes.

use super::report::*;
use anstyle::{AnsiColor, Style};
use std::io::{Result, Write};

const TITLE: Style = Style::new().bold();
const WARN: Style = AnsiColor::Red.on_default().bold();

/// Prints the report, with the `top` largest functions.
///
/// # Errors
/// If it cannot be written.
pub fn print(out: &mut dyn Write, r: &Report, top: usize) -> Result<()> {
    let kind = match r.kind {
        Kind::Module => "WebAssembly module",
        Kind::Artifact => "artifact",
    };
    writeln!(out, "{TITLE}{}{TITLE:#}: {kind}, {} bytes", r.file, r.size)?;
    if let Some(a) = &r.artifact {
        artifact(out, a)?;
    }
    if let Some(problem) = &r.problem {
        writeln!(out, "\n{WARN}problem{WARN:#}: {problem}")?;
    }
    if let Some(m) = &r.module {
        module(out, m)?;
    }
    if let Some(traps) = &r.traps {
        title(out, "Instructions that can trap", traps.values().sum::<u64>())?;
        for (trap, count) in traps {
            writeln!(out, "  {count:>8}  {trap}")?;
        }
    }
    functions(out, &r.functions, top)
}

fn title(out: &mut dyn Write, what: &str, count: impl std::fmt::Display) -> Result<()> {
    writeln!(out, "\n{TITLE}{what}{TITLE:#} ({count})")
}

/// A name of the module's, which may hold anything.
fn clean(name: &str) -> impl std::fmt::Display {
    name.escape_debug()
}

fn list(names: &[impl AsRef<str>]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn artifact(out: &mut dyn Write, a: &ArtifactReport) -> Result<()> {
    writeln!(out, "  made by      wasmc {}, format {}", a.wasmc_version, a.format_version)?;
    writeln!(out, "  target       {}", a.target)?;
    writeln!(out, "  needs cpu    {}", list(&a.cpu_features))?;
    writeln!(out, "  options      {}", list(&a.tunables))?;
    writeln!(out, "  proposals    {}", list(&a.features))?;
    writeln!(out, "  module       {}", if a.stripped { "left out (--strip)" } else { "inside" })?;
    writeln!(out, "  stubs        {}", a.stubs)?;
    writeln!(out, "  digest       {}", a.digest)?;
    title(out, "Sections of the artifact", a.sections.len())?;
    for s in &a.sections {
        let state = if s.intact { String::new() } else { format!("  {WARN}does not match its digest{WARN:#}") };
        writeln!(out, "  {:>10} bytes at {:#010x}  {:<17} {:.16}{state}", s.size, s.offset, s.name, s.digest)?;
    }
    Ok(())
}

fn module(out: &mut dyn Write, m: &ModuleReport) -> Result<()> {
    writeln!(out, "\n{TITLE}Module{TITLE:#}")?;
    if let Some(name) = &m.name {
        writeln!(out, "  name         {}", clean(name))?;
    }
    if let Some(e) = &m.error {
        writeln!(out, "  {WARN}not valid{WARN:#}    {:#x}: {}", e.offset, e.message)?;
    }
    if let Some(features) = &m.features {
        writeln!(out, "  needs        {}", list(features))?;
    }
    writeln!(out, "  names        {}", if m.has_names { "yes" } else { "no" })?;
    writeln!(out, "  DWARF        {}", if m.has_dwarf { "yes" } else { "no" })?;
    for p in &m.producers {
        writeln!(out, "  {:<12} {} {}", clean(&p.field), clean(&p.name), clean(&p.version))?;
    }
    if let Some(start) = m.start {
        writeln!(out, "  start        function {start}")?;
    }
    if !m.sections.is_empty() {
        title(out, "Sections", m.sections.len())?;
        for s in &m.sections {
            let name = if s.custom { format!("custom \"{}\"", clean(&s.name)) } else { s.name.clone() };
            writeln!(out, "  {:>10} bytes at {:#010x}  {name}", s.size, s.offset)?;
        }
    }
    imports_and_exports(out, m)?;
    for (what, entities) in [("Globals", &m.globals), ("Tags", &m.tags)] {
        // There can be thousands, and nobody reads them.
        if !entities.is_empty() && entities.len() <= 16 {
            title(out, what, entities.len())?;
            entities.iter().try_for_each(|e| entity(out, e))?;
        } else if !entities.is_empty() {
            title(out, what, entities.len())?;
            writeln!(out, "  --json lists them")?;
        }
    }
    if !m.tables.is_empty() {
        title(out, "Tables", m.tables.len())?;
        for t in &m.tables {
            entity(out, &t.entity)?;
            if t.closed == Some(true) {
                writeln!(out, "            closed: its contents are part of the code")?;
            }
        }
    }
    memories(out, m)
}

fn imports_and_exports(out: &mut dyn Write, m: &ModuleReport) -> Result<()> {
    if !m.imports.is_empty() {
        title(out, "Imports", m.imports.len())?;
        for i in &m.imports {
            let kind = if i.kind == "function" { "function " } else { "" };
            writeln!(out, "  {}.{}: {kind}{}", clean(&i.module), clean(&i.name), i.ty)?;
        }
    }
    if !m.exports.is_empty() {
        title(out, "Exports", m.exports.len())?;
        for e in &m.exports {
            let kind = if e.kind == "function" { "function " } else { "" };
            writeln!(out, "  {}: {kind}{} ({} {})", clean(&e.name), e.ty, e.kind, e.index)?;
        }
    }
    Ok(())
}

fn entity(out: &mut dyn Write, e: &EntityReport) -> Result<()> {
    writeln!(out, "  {:>8}  {}{}", e.index, e.ty, if e.imported { ", imported" } else { "" })
}

fn memories(out: &mut dyn Write, m: &ModuleReport) -> Result<()> {
    if !m.memories.is_empty() {
        title(out, "Memories", m.memories.len())?;
        for memory in &m.memories {
            entity(out, &memory.entity)?;
            if let Some(i) = &memory.image {
                writeln!(out, "            image: {} bytes at address {:#x}, mapped from the file at {:#x}", i.size, i.address, i.offset)?;
            }
        }
    }
    for (what, unit, segments) in [("Data segments", "bytes", &m.data_segments), ("Element segments", "elements", &m.element_segments)] {
        if segments.is_empty() {
            continue;
        }
        title(out, what, format_args!("{}, {} {unit}", segments.len(), segments.iter().map(|s| s.size).sum::<u64>()))?;
        for s in segments.iter().take(16) {
            let place = match (s.target, s.offset) {
                (Some(target), Some(offset)) => format!("active, to {target} at {offset:#x}"),
                (Some(target), None) => format!("active, to {target} at a computed offset"),
                _ => s.mode.to_owned(),
            };
            writeln!(out, "  {:>10} {unit}  {place}", s.size)?;
        }
        if segments.len() > 16 {
            writeln!(out, "  and {} more (--json lists them)", segments.len() - 16)?;
        }
    }
    Ok(())
}

fn functions(out: &mut dyn Write, all: &[FunctionReport], top: usize) -> Result<()> {
    if all.is_empty() {
        return Ok(());
    }
    let with_code = all.iter().any(|f| f.code_size.is_some());
    let (wasm, code) = all.iter().fold((0, 0), |(w, c), f| (w + f.wasm_size, c + f.code_size.unwrap_or(0)));
    let code = if with_code { format!(", {code} bytes of machine code") } else { String::new() };
    title(out, "Functions, largest first", format_args!("{}, {wasm} bytes of wasm{code}", all.len()))?;
    let mut by_size: Vec<&FunctionReport> = all.iter().collect();
    by_size.sort_by_key(|f| std::cmp::Reverse((f.code_size.unwrap_or(f.wasm_size), f.wasm_size)));
    writeln!(out, "      wasm{}  index  name", if with_code { "       code    traps" } else { "" })?;
    for f in by_size.iter().take(top) {
        let code = match (with_code, f.code_size, f.traps) {
            (true, Some(size), traps) => format!(" {size:>10} {:>8}", traps.unwrap_or(0)),
            (true, None, _) => " ".repeat(20),
            _ => String::new(),
        };
        let interpreted = if f.compiled == Some(false) { " (interpreted)" } else { "" };
        writeln!(out, "{:>10}{code}  {:>5}  {}{interpreted}", f.wasm_size, f.index, clean(f.name.as_deref().unwrap_or("-")))?;
    }
    if by_size.len() > top {
        writeln!(out, "  and {} more (--top N)", by_size.len() - top)?;
    }
    Ok(())
}
