//! A pass over machine code for x86-64, after registers were allocated: a step a file. It takes out what only register allocation brought in,
//! and writes branches as short as they can be. Code is decoded by a library; a function in which anything is not understood stays as it is.
//!
//! No instruction that can fault, trap or call is added, moved or taken out, nor one that writes to memory outside of the frame. So what a function does and
//! where it traps stays the same; offsets into the code are mapped (`Moves`).

mod copies;
mod decode;
mod known;
mod latches;
mod layout;
mod listing;
mod peephole;
mod rewrite;

pub use layout::Moves;
pub use listing::listing;

#[cfg(all(test, target_arch = "x86_64"))]
mod random_tests;
#[cfg(test)]
mod tests;

use cranelift_codegen::{Context, FinalizedMachExceptionHandler};
use decode::{Input, decode};

/// The code of a function, made better, and where its bytes went. `code` are its bytes as they are now; `pinned`, whether r15 holds what callers and
/// callees share.
pub fn improve(code: &[u8], context: &Context, pinned: bool) -> Option<(Vec<u8>, Moves)> {
    let compiled = context.compiled_code()?;
    let buffer = &compiled.buffer;
    let mut input = Input {
        bytes: code,
        starts: compiled.bb_starts.iter().copied().chain(buffer.traps().iter().map(|t| t.offset)).collect(),
        relocations: buffer.relocs().iter().map(|r| r.offset).collect(),
        pinned,
        ..Input::default()
    };
    for site in buffer.call_sites() {
        for handler in site.exception_handlers {
            let FinalizedMachExceptionHandler::Default(offset) = handler else { return None };
            input.handlers.push((site.ret_addr, *offset));
        }
    }
    if let Some(frame) = buffer.frame_layout() {
        let slots = &context.func.sized_stack_slots;
        let end = slots.iter().map(|(slot, data)| frame.stackslots[slot].offset.saturating_add(data.size)).max();
        input.slots_end = end.and_then(|end| i32::try_from(end).ok()).unwrap_or(0);
    }
    // The collector reads some of the words.
    rewrite_all(&input, buffer.user_stack_maps().is_empty())
}

/// All steps. `lose_words`: nobody else reads words of the frame.
fn rewrite_all(input: &Input<'_>, lose_words: bool) -> Option<(Vec<u8>, Moves)> {
    let mut function = decode(input)?;
    if let Some(facts) = known::take_out(&mut function) {
        copies::take_out(&mut function);
        if lose_words {
            copies::take_out_writes(&mut function, &facts);
        }
        let live = copies::at_ends(&function);
        peephole::take_out(&mut function, &live);
        copies::sweep(&mut function, &live);
        let turned = latches::turn(&mut function);
        if !turned.is_empty() {
            copies::move_up(&mut function, &turned);
        }
    }
    layout::lay_out(&function)
}
