//! wasmc-c-api: wasmc for programs in C, and in whatever can call C. `include/wasm.h` is the standard header, `include/wasmc.h`
//! what wasmc has beyond it; a file here for each part of them. The types carry the names of the headers.
//!
//! Three rules hold everywhere. A panic ends in the function that C called ([`guard`]). What C owns, it was given as a box or a
//! vector of this library, and gives back to the function that the header names. A store is reached through handles that keep it
//! alive, by contexts that are made for one operation each, so that a function which WebAssembly calls may use the store again
//! (`store.rs`).

#![allow(non_camel_case_types, reason = "the names of the header")]
#![deny(missing_docs)]

mod config;
mod control;
mod error;
mod externs;
mod func;
mod global;
mod guard;
mod instance;
mod linker;
mod memory;
mod module;
mod object;
mod store;
mod table;
mod trap;
mod types;
mod value;
mod vector;
mod wasi;

mod declared;

pub use config::*;
pub use control::*;
pub use error::*;
pub use externs::*;
pub use func::*;
pub use global::*;
pub use instance::*;
pub use linker::*;
pub use memory::*;
pub use module::*;
pub use object::*;
pub use store::*;
pub use table::*;
pub use trap::*;
pub use types::*;
pub use value::*;
pub use vector::*;
pub use wasi::*;
