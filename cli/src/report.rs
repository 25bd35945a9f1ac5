//! What a person sees on standard error: errors, the summary line and the progress bar. Colours and the bar only on a
//! terminal, and not where NO_COLOR is set (anstream sees to the colours).

use anstyle::{AnsiColor, Style};
use clap::builder::Styles;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::borrow::Cow;
use std::io::{IsTerminal, Write as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// Styles of the help.
pub const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Writes to standard error. Where that is closed or its disk is full, nothing is left to be said, and what is done goes on: the macros of
/// the standard library would panic.
macro_rules! say {
    ($end:literal, $($text:tt)*) => {{
        let _ = write!(anstream::stderr(), "{}{}", format_args!($($text)*), $end);
    }};
}

const ERROR: Style = AnsiColor::Red.on_default().bold();
const NOTE: Style = AnsiColor::Cyan.on_default().bold();
const VERBOSE: Style = AnsiColor::BrightBlack.on_default();
const DONE: Style = AnsiColor::Green.on_default().bold();

/// How much is said.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Only errors and traps.
    Quiet,
    /// Also notes, and what was done.
    Normal,
    /// Also how it was done.
    Verbose,
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Normal as u8);

/// Sets how much is said from now on.
pub fn set_level(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

fn says(level: Level) -> bool {
    level as u8 <= LEVEL.load(Ordering::Relaxed)
}

/// Prints how something is done, for those who want to know.
pub fn verbose(text: impl FnOnce() -> String) {
    if says(Level::Verbose) {
        say!("\n", "{VERBOSE}wasmc{VERBOSE:#}: {}", text());
    }
}

/// A text with its control characters written out: names in it may come from a program, and must not reach the terminal as
/// commands.
fn visible(text: &str) -> Cow<'_, str> {
    let hidden = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if hidden(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// Prints an error with its causes, outermost first.
pub fn error(error: &anyhow::Error) {
    crate::trace::flush();
    let mut last = error.to_string();
    say!("", "{ERROR}error{ERROR:#}: {}", visible(&last));
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        // Several libraries repeat the cause's text in their own.
        if !last.contains(&text) {
            say!("", "\n  caused by: {}", visible(&text));
        }
        last = text;
    }
    say!("\n", "");
}

/// Prints an error that consists of several.
pub fn errors(summary: &str, lines: &[String]) {
    say!("\n", "{ERROR}error{ERROR:#}: {}", visible(summary));
    for line in lines {
        say!("\n", "  {}", visible(line));
    }
}

/// Prints a trap with its backtrace, or an uncaught exception.
pub fn trap(text: &str) {
    crate::trace::flush();
    say!("\n", "{ERROR}trap{ERROR:#}: {}", visible(text));
}

/// Prints something that the user should know although nothing went wrong.
pub fn note(text: &str) {
    if says(Level::Normal) {
        say!("\n", "{NOTE}note{NOTE:#}: {text}");
    }
}

/// Says that functions of a module have no native code though it was asked for.
pub fn too_large(path: &std::path::Path, functions: usize) {
    match functions {
        0 => {}
        1 => note(&format!("a function of {} is too large for native code and is interpreted (docs/limits.md)", path.display())),
        n => note(&format!("{n} functions of {} are too large for native code and are interpreted (docs/limits.md)", path.display())),
    }
}

/// Prints the one line that sums up what was done.
pub fn summary(text: &str) {
    if says(Level::Normal) {
        say!("\n", "{DONE}done{DONE:#}: {text}");
    }
}

/// A bar that appears only on a terminal, and only if the work takes longer than half a second.
pub struct Progress {
    start: Instant,
    wanted: bool,
    bar: OnceLock<ProgressBar>,
}

impl Progress {
    const DELAY: Duration = Duration::from_millis(500);

    pub fn new() -> Self {
        Self { start: Instant::now(), wanted: says(Level::Normal) && std::io::stderr().is_terminal(), bar: OnceLock::new() }
    }

    /// `done` of `total` functions are finished. Callable from any thread.
    pub fn update(&self, done: usize, total: usize) {
        if !self.wanted || self.start.elapsed() < Self::DELAY {
            return;
        }
        let bar = self.bar.get_or_init(|| {
            let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr_with_hz(10));
            let style = ProgressStyle::with_template("compiling [{bar:40}] {pos}/{len} functions, {eta} left");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
            bar
        });
        bar.set_position(done as u64);
    }

    pub fn finish(&self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}
