//! The code as it is in the end, for people.

use super::layout::Moves;
use iced_x86::{Decoder, DecoderOptions, FastFormatter};
use std::fmt::Write;

/// A line an instruction, with the symbols that instructions refer to (by their offsets, sorted), and data as words.
pub fn listing(code: &[u8], moves: &Moves, symbols: &[(u32, String)]) -> String {
    let mut text = String::new();
    let mut formatter = FastFormatter::new();
    formatter.options_mut().set_space_after_operand_separator(true);
    formatter.options_mut().set_use_hex_prefix(true);
    let mut at = 0;
    while at < code.len() {
        // Writing to a string does not fail.
        if let Some((_, end)) = moves.data().iter().find(|(start, end)| (*start..*end).contains(&(at as u32))) {
            let end = (*end as usize).min(at + 8).min(code.len());
            let _ = writeln!(text, "{at:6x}: .byte {}", code[at..end].iter().map(|b| format!("{b:#04x}")).collect::<Vec<_>>().join(", "));
            at = end;
            continue;
        }
        let decoded = Decoder::with_ip(64, &code[at..], at as u64, DecoderOptions::NONE).decode();
        let _ = write!(text, "{at:6x}: ");
        formatter.format(&decoded, &mut text);
        let end = at + decoded.len().max(1);
        if let Some((_, symbol)) = symbols.iter().find(|(offset, _)| (at as u32..end as u32).contains(offset)) {
            let _ = write!(text, "    ; {symbol}");
        }
        text.push('\n');
        at = end;
    }
    text
}
