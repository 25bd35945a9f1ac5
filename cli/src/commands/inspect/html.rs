//! `--html`: one page that needs nothing else, with wasm and machine code side by side. The page holds its data as JSON and makes the
//! lines of a function when it is chosen, so that a module with thousands of functions opens at once. Everything from the
//! file reaches the page as text, never as markup.

use super::code::{Listing, wasm_lines};
use super::read::Inspected;
use crate::exit::usage;
use anyhow::Result;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use wasmc_environ::{FuncIndex, TrapCode};

/// How many bytes of code a page holds as text; beyond that functions are listed without their code, and the page says so.
const MAX_CODE: usize = 32 << 20;

/// What trap codes are called, by their numbers.
static TRAPS: [&str; 64] = {
    let mut names = ["unknown"; 64];
    let mut i = 0;
    while i < TrapCode::ALL.len() {
        names[TrapCode::ALL[i] as usize % 64] = TrapCode::ALL[i].message();
        i += 1;
    }
    names
};

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");

/// What the script reads.
#[derive(Serialize)]
struct Data<'a> {
    file: &'a str,
    kind: super::report::Kind,
    target: String,
    /// How many functions are listed without their code, since the page would be too large.
    omitted: usize,
    /// Reasons of traps.
    traps: &'static [&'static str],
    functions: Vec<Function<'a>>,
}

#[derive(Serialize)]
struct Function<'a> {
    index: Option<u32>,
    name: &'a str,
    #[serde(rename = "type")]
    ty: &'a str,
    wasm_size: u64,
    code_size: u64,
    traps: u64,
    interpreted: bool,
    /// Where the body and the code begin.
    wasm_offset: u64,
    code_offset: u32,
    /// A line an instruction: distance from the one before, indentation, text; separated by `|`.
    wasm: Option<String>,
    /// A line an instruction: bytes, wasm offset where it changes (`-`: none), trap as a place in `Data::traps`, target, text; separated by
    /// `|`. The offsets follow from the bytes. A target is a place in `Data::functions`, perhaps with `+` and a distance.
    code: Option<String>,
}

/// The page.
///
/// # Errors
/// If a function that was asked for does not exist.
pub fn page(inspected: &Inspected, listing: &Listing<'_>, wanted: &[String]) -> Result<String> {
    let report = &inspected.report;
    let first = report.functions.first().map_or(0, |f| f.index);
    let whole = report.functions.first().map_or(0, |f| f.wasm_offset)..report.functions.last().map_or(0, |f| f.wasm_offset + f.wasm_size);
    let lines = inspected.wasm.as_deref().map(|w| wasm_lines(w, whole)).unwrap_or_default();
    for w in wanted {
        if !listing.symbols.values().any(|s| is_wanted(w, s.function, &s.name)) {
            return Err(usage(format!("--func: no function has the name or index `{}`", w.escape_debug())));
        }
    }
    let mut data = Data {
        file: &report.file,
        kind: report.kind,
        target: inspected.code.as_ref().map(|c| c.target()).unwrap_or_default(),
        omitted: 0,
        traps: &TRAPS,
        functions: Vec::with_capacity(listing.symbols.len()),
    };
    let places: HashMap<u32, usize> = listing.symbols.keys().copied().zip(0..).collect();
    let mut room = MAX_CODE;
    for symbol in listing.symbols.values() {
        let body = symbol.function.and_then(|i| report.functions.get(i.as_u32().checked_sub(first)? as usize));
        let chosen = wanted.is_empty() || wanted.iter().any(|w| is_wanted(w, symbol.function, &symbol.name));
        // What is larger than this does not fit, whatever it is.
        let mut texts = (chosen && symbol.range.len() < room).then(|| {
            let wasm = body.map(|f| wasm_text(&lines, f.wasm_offset, f.wasm_offset + f.wasm_size));
            (wasm, code_text(listing, symbol, &places))
        });
        let size = texts.as_ref().map_or(0, |(wasm, code)| code.len() + wasm.as_ref().map_or(0, String::len));
        if size > room {
            texts = None;
        } else {
            room -= size;
        }
        data.omitted += usize::from(chosen && texts.is_none());
        let (wasm, code) = texts.map_or((None, None), |(wasm, code)| (wasm, Some(code)));
        data.functions.push(Function {
            index: body.map(|f| f.index),
            name: &symbol.name,
            ty: body.map_or("", |f| &f.ty),
            wasm_size: body.map_or(0, |f| f.wasm_size),
            code_size: symbol.range.len() as u64,
            traps: body.and_then(|f| f.traps).unwrap_or(0),
            interpreted: body.is_some_and(|f| f.compiled == Some(false)),
            wasm_offset: body.map_or(0, |f| f.wasm_offset),
            code_offset: symbol.range.start,
            wasm,
            code,
        });
    }
    // Nothing in the data may end the element that holds it.
    let json = serde_json::to_string(&data)?.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
    let mut page = String::with_capacity(json.len() + PAGE.len() + STYLE.len() + SCRIPT.len());
    let mut rest = PAGE;
    for (mark, text) in
        [("{{title}}", escape(&report.file)), ("{{style}}", STYLE.into()), ("{{data}}", json), ("{{script}}", SCRIPT.into())]
    {
        if let Some((before, after)) = rest.split_once(mark) {
            page.push_str(before);
            page.push_str(&text);
            rest = after;
        }
    }
    page.push_str(rest);
    Ok(page)
}

fn is_wanted(wanted: &str, function: Option<FuncIndex>, name: &str) -> bool {
    name == wanted || wanted.parse().is_ok_and(|n| function == Some(FuncIndex::from_u32(n)))
}

fn wasm_text(lines: &BTreeMap<u64, String>, start: u64, end: u64) -> String {
    let mut text = String::new();
    let mut last = start;
    for (offset, line) in lines.range(start..end) {
        let instruction = line.trim_start();
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}|{}|{instruction}", offset - last, line.len() - instruction.len());
        last = *offset;
    }
    text
}

fn code_text(listing: &Listing<'_>, symbol: &super::code::Symbol, places: &HashMap<u32, usize>) -> String {
    let mut text = String::new();
    let mut last = None;
    for i in listing.instructions(symbol.range.clone()) {
        for b in listing.bytes(i.offset..i.offset + i.size) {
            let _ = write!(text, "{b:02x}");
        }
        text.push('|');
        if i.wasm != last {
            last = i.wasm;
            text.push_str(&i.wasm.map_or_else(|| "-".to_owned(), |w| w.to_string()));
        }
        text.push('|');
        if let Some(trap) = i.trap.and_then(|t| TRAPS.iter().position(|known| *known == t)) {
            let _ = write!(text, "{trap}");
        }
        text.push('|');
        if let Some((start, distance)) = i.target.and_then(|t| listing.target(&symbol.range, t))
            && let Some(place) = places.get(&start)
        {
            let _ = write!(text, "{place}");
            let _ = if distance == 0 { Ok(()) } else { write!(text, "+{distance:#x}") };
        }
        let _ = writeln!(text, "|{}", i.text);
    }
    text
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
