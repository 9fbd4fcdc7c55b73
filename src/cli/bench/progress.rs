//! How far a measurement is, on a terminal.
//!
//! Drawn between what is measured and never meanwhile: no thread of its own takes time from it. Does not know what is
//! measured.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// Steps of the bar for each thing that is measured.
pub const STEPS: u64 = 10;

/// A bar on stderr; nothing where that is no terminal.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// For so many things that are measured one after the other.
    pub fn new(things: u64) -> Self {
        let bar = match std::io::stderr().is_terminal() {
            true => ProgressBar::new(things * STEPS),
            false => ProgressBar::hidden(),
        };
        let style = ProgressStyle::with_template("{msg:<28} {wide_bar} {percent:>3} %");
        bar.set_style(style.unwrap_or(ProgressStyle::default_bar()));
        Self { bar }
    }

    /// Says which of the things, counted from 0, comes next.
    pub fn begin(&self, thing: u64, name: &'static str) {
        self.bar.set_message(name);
        self.bar.set_position(thing * STEPS);
        self.bar.tick();
    }

    /// Prints a line, with the bar out of the way.
    pub fn say(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }

    /// A tenth of a thing is done.
    pub fn step(&self) {
        self.bar.inc(1);
    }

    /// So much of a thing is done, from 0 to 1.
    pub fn set(&self, thing: u64, share: f64) {
        let steps = (share.clamp(0.0, 1.0) * STEPS as f64) as u64;
        self.bar.set_position(thing * STEPS + steps);
    }
}

impl Drop for Progress {
    /// Leaves no trace.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
