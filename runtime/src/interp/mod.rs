//! The interpreter: runs functions that have no native code. A function is translated at its first call into
//! instructions for a machine with registers (`translate`), which handlers execute that call one another (`dispatch`).
//! It shares `VMContext`, memories, tables, globals and the semantics in `ops` with compiled code.
//!
//! * `code`: translated functions, and what a module keeps of them
//! * `frame`: the value stack, frames, and walking them
//! * `dispatch`: handlers, operands, accumulators
//! * `atomic`, `control`, `call`, `numeric`, `convert`, `memory`, `meter`, `table`, `vector`, `wide`: the instructions
//! * `forms`, `joined`: the handlers of numeric instructions, one by one and several at once
//! * `outside`: calls that leave the interpreter or the instance
//! * `sample`: frames at any moment, for the profiler
//! * `simd`: what vector instructions compute
//! * `tier`: counting, and going over to native code that was made meanwhile
//! * `trace`: reporting calls, in code that was translated for it
//! * `translate`: from WebAssembly to instructions

mod atomic;
mod call;
mod code;
mod control;
mod convert;
mod dispatch;
mod forms;
mod frame;
mod joined;
mod locals;
mod memory;
mod meter;
mod numeric;
mod outside;
pub(crate) mod sample;
mod simd;
mod table;
#[cfg(test)]
mod tests;
mod tier;
mod trace;
mod translate;
mod vector;
mod wide;

pub(crate) use call::run;
pub(crate) use code::InterpModule;
pub(crate) use frame::{InterpActivation, InterpStack, frames, interrupt, visit_roots};
pub(crate) use locals::{LocalValue, declared_locals, locals};
