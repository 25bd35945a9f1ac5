//! The commands, a file each: `Opts` and `run`.

pub mod cache;
pub mod compile;
pub mod completions;
pub mod inspect;
pub mod man;
pub mod run;
pub mod settings;
pub mod validate;
pub mod verify;
pub mod wast;
