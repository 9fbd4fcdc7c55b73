//! Slips that come in numbers where a model of torch is typed in or pasted: each kind is told once, with how often
//! more it stands there, and what is meant is read on.
//!
//! It does not know what the names are that stand behind a prefix.

use super::cursor::Cursor;
use crate::diag::{Diagnostic, Span};

/// The kinds of slips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// `nn.` before a name.
    Prefix,
    /// A comma behind a layer or an entry.
    Comma,
    /// `name = ` before a layer.
    Assignment,
    /// `True` and `False`.
    Literal,
    /// A string in single quotes.
    Quotes,
}

/// Where a kind was told, and where it stands again.
pub(super) struct Seen {
    habit: Habit,
    told: Span,
    again: Vec<Span>,
}

impl Cursor<'_> {
    /// Reports a slip, or counts it where one of its kind was reported.
    pub fn habit(&mut self, habit: Habit, diag: Diagnostic) {
        let Some(place) = diag.span() else { return };
        if self.was_told(place) {
            return;
        }
        match self.habits.iter_mut().find(|seen| seen.habit == habit) {
            Some(seen) => {
                seen.again.push(place);
                self.tell(place);
            }
            None => {
                let (told, again) = (place, Vec::new());
                self.habits.push(Seen { habit, told, again });
                self.report(diag.understood());
            }
        }
    }

    /// The messages, with how often more each kind of slip stands in the text.
    pub fn finish(self) -> Vec<Diagnostic> {
        let mut diags = self.diags;
        for seen in self.habits.iter().filter(|seen| !seen.again.is_empty()) {
            let told = |diag: &&mut Diagnostic| diag.understood && diag.span() == Some(seen.told);
            if let Some(diag) = diags.iter_mut().find(told) {
                diag.again(&seen.again, self.text);
            }
        }
        diags
    }
}
