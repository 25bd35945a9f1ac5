//! `--disasm`: machine code for reading, each run of instructions under the wasm instruction that it came from, with trap
//! sites and the names of what is called.

use super::code::{Listing, wasm_lines};
use super::read::Inspected;
use crate::exit::{ExitCode, with_code};
use anstyle::{AnsiColor, Style};
use anyhow::Result;
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use wasmc_environ::FuncIndex;

const TITLE: Style = Style::new().bold();
const WASM: Style = AnsiColor::Cyan.on_default();
const TRAP: Style = AnsiColor::Red.on_default();
const FAINT: Style = Style::new().dimmed();
/// How many bytes of an instruction are shown.
const SHOWN_BYTES: usize = 8;

/// Prints the code of the functions that `wanted` names, or of all and of the stubs.
///
/// # Errors
/// If there is no such function, or the code cannot be disassembled, or not be written.
pub fn print(out: &mut dyn Write, inspected: &Inspected, listing: &Listing<'_>, wanted: Option<&str>) -> Result<()> {
    let chosen = match wanted {
        Some(wanted) => chosen(listing, wanted)?,
        None => listing.symbols.keys().copied().collect(),
    };
    let functions = &inspected.report.functions;
    let first = functions.first().map_or(0, |f| f.index);
    let body = |index: FuncIndex| functions.get(index.as_u32().checked_sub(first)? as usize);
    let bodies =
        chosen.iter().filter_map(|at| body(listing.symbols.get(at)?.function?)).map(|f| f.wasm_offset..f.wasm_offset + f.wasm_size);
    let span = bodies.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)).unwrap_or(0..0);
    let lines = inspected.wasm.as_deref().map(|w| wasm_lines(w, span)).unwrap_or_default();
    for (i, at) in chosen.iter().enumerate() {
        let Some(symbol) = listing.symbols.get(at) else { continue };
        if i != 0 {
            writeln!(out)?;
        }
        let size = symbol.range.len();
        let name = symbol.name.escape_debug();
        match symbol.function.and_then(body) {
            Some(f) => {
                writeln!(out, "{TITLE}function {} <{name}> {}{TITLE:#}: {size} bytes", f.index, f.ty)?;
                if f.compiled == Some(false) {
                    writeln!(out, "  left to the interpreter; this is the stub that has it run:")?;
                }
            }
            None => writeln!(out, "{TITLE}stub <{name}>{TITLE:#}: {size} bytes")?,
        }
        instructions(out, listing, &symbol.range, &lines)?;
    }
    Ok(())
}

/// The offsets of the functions that a name or an index means.
fn chosen(listing: &Listing<'_>, wanted: &str) -> Result<Vec<u32>> {
    let number: Option<u32> = wanted.parse().ok();
    let is_it = |s: &super::code::Symbol| s.name == wanted || number.is_some_and(|n| s.function == Some(FuncIndex::from_u32(n)));
    let found: Vec<u32> = listing.symbols.iter().filter(|(_, s)| is_it(s)).map(|(at, _)| *at).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let close: Vec<String> =
        listing.symbols.values().filter(|s| s.name.contains(wanted)).take(5).map(|s| format!("`{}`", s.name.escape_debug())).collect();
    let hint = match close.is_empty() {
        true => "the list of functions is in what `wasmc inspect` prints without --disasm".to_owned(),
        false => format!("did you mean {}?", close.join(" or ")),
    };
    Err(with_code(ExitCode::USAGE, format!("--disasm: no function with code has the name or index `{}`; {hint}", wanted.escape_debug())))
}

fn instructions(out: &mut dyn Write, listing: &Listing<'_>, range: &Range<u32>, lines: &BTreeMap<u64, String>) -> Result<()> {
    let mut last = None;
    for i in listing.instructions(range.clone()) {
        if i.wasm != last {
            last = i.wasm;
            if let Some(wasm) = i.wasm {
                let text = lines.get(&wasm.into()).map_or("", |t| t.trim());
                writeln!(out, "{WASM}{wasm:#8x}  {text}{WASM:#}")?;
            }
        }
        let bytes = listing.bytes(i.offset..i.offset + i.size);
        let mut shown: String = bytes.iter().take(SHOWN_BYTES).map(|b| format!("{b:02x} ")).collect();
        if bytes.len() > SHOWN_BYTES {
            shown.replace_range(shown.len() - 1.., "+");
        }
        write!(out, "  {FAINT}{:6x}  {shown:<24}{FAINT:#} {}", i.offset, i.text)?;
        if let Some(name) = i.target.and_then(|t| listing.target_name(range, t)) {
            write!(out, " <{}>", name.escape_debug())?;
        }
        if let Some(trap) = i.trap {
            write!(out, "  {TRAP}; trap: {trap}{TRAP:#}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// `--traps`: every instruction that can trap.
///
/// # Errors
/// If it cannot be written.
pub fn print_traps(out: &mut dyn Write, inspected: &Inspected, listing: &Listing<'_>) -> Result<()> {
    let functions = &inspected.report.functions;
    let whole = functions.first().map_or(0, |f| f.wasm_offset)..functions.last().map_or(0, |f| f.wasm_offset + f.wasm_size);
    let lines = inspected.wasm.as_deref().map(|w| wasm_lines(w, whole)).unwrap_or_default();
    for symbol in listing.symbols.values() {
        let mut titled = false;
        for i in listing.instructions(symbol.range.clone()) {
            let Some(trap) = i.trap else { continue };
            if !titled {
                writeln!(out, "{TITLE}<{}>{TITLE:#}", symbol.name.escape_debug())?;
                titled = true;
            }
            let wasm = i.wasm.map_or_else(|| "       ?".to_owned(), |w| format!("{w:#8x}"));
            let text = i.wasm.and_then(|w| lines.get(&w.into())).map_or("", |t| t.trim());
            writeln!(out, "  {:6x}  {WASM}{wasm}{WASM:#}  {TRAP}{trap}{TRAP:#}  {text}", i.offset)?;
        }
    }
    Ok(())
}
