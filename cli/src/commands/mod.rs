//! The commands, a file each: `Opts` and `run`.

pub mod compile;
pub mod inspect;
pub mod run;
pub mod settings;
pub mod validate;
pub mod wast;
