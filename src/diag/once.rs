//! Messages that say the same of many places, told once.
//!
//! Does not know what a message is about.

use std::collections::BTreeMap;

use super::{Diagnostic, Lines, Span};

/// Further places whose own way out is shown.
const SHOWN: usize = 8;

/// A message, and the others that say the same.
struct Told {
    first: Diagnostic,
    again: Vec<Diagnostic>,
}

/// The messages in order of their places, each once. Of slips whose meaning is plain ([`Diagnostic::understood`]) one of a kind is told, with
/// where the same stands and how each line should read; of others, one of a kind about the same place.
pub fn told_once(diagnostics: Vec<Diagnostic>, text: &str) -> Vec<Diagnostic> {
    let mut all: Vec<Told> = Vec::new();
    let mut known = BTreeMap::new();
    for d in diagnostics {
        let at = *known.entry(kind(&d)).or_insert(all.len());
        match all.get_mut(at) {
            None => all.push(Told {
                first: d,
                again: vec![],
            }),
            Some(told) => {
                let last = told.again.last().unwrap_or(&told.first);
                if last.span() != d.span() {
                    told.again.push(d);
                }
            }
        }
    }
    let lines = Lines::new(text);
    all.into_iter().map(|told| told.merged(&lines)).collect()
}

/// What makes two messages the same: the words, and the place unless the meaning is plain.
fn kind(d: &Diagnostic) -> impl Ord + use<> {
    let labels: Vec<String> = d.labels.iter().map(|l| l.text.clone()).collect();
    let place = d.span().filter(|_| !d.understood);
    let place = place.map(|s| (s.start, s.end));
    (d.code, d.message.clone(), labels, place)
}

impl Told {
    fn merged(self, lines: &Lines) -> Diagnostic {
        let mut d = self.first;
        let others = self.again.iter().filter(|a| a.help != d.help);
        let helped: Vec<String> = others
            .filter_map(|a| {
                Some(format!(
                    "in line {}: {}",
                    lines.of(a.span()?),
                    a.help.first()?
                ))
            })
            .collect();
        let places: Vec<Span> = self.again.iter().filter_map(Diagnostic::span).collect();
        if !places.is_empty() {
            d.notes.push(stands_again(&places, lines));
        }
        d.help.extend(helped.into_iter().take(SHOWN));
        d
    }
}

impl Diagnostic {
    /// Says that the same stands in further places of the text; there is at least one.
    pub fn again(&mut self, places: &[Span], text: &str) {
        self.notes.push(stands_again(places, &Lines::new(text)));
    }
}

fn stands_again(places: &[Span], lines: &Lines) -> String {
    let last = places.iter().map(|&p| lines.of(p)).max().unwrap_or(1);
    match places.len() {
        1 => format!("the same stands in line {last}"),
        n => format!("the same stands in {n} more places, the last in line {last}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message about a byte of the text.
    fn about(at: usize, help: &str) -> Diagnostic {
        let d = Diagnostic::error("E0001", "odd").at(Span::new(at, at + 1), "here");
        d.help(help)
    }

    #[test]
    fn slips_of_a_kind_are_told_once() {
        let slips = [0, 2, 4, 4].map(|at| about(at, "write b").understood());
        let told = told_once(slips.to_vec(), "a\na\na\n");
        assert_eq!(told.len(), 1);
        let note = "the same stands in 2 more places, the last in line 3";
        assert_eq!((told[0].notes[0].as_str(), told[0].help.len()), (note, 1));
    }

    #[test]
    fn each_line_has_its_own_way_out() {
        let slips = [about(0, "write b"), about(2, "write c")].map(Diagnostic::understood);
        let told = told_once(slips.to_vec(), "a\na\n");
        assert_eq!(told[0].help, ["write b", "in line 2: write c"]);
        assert_eq!(told[0].notes, ["the same stands in line 2"]);
    }

    #[test]
    fn other_errors_are_told_for_each_place() {
        let errors = [0, 2, 2].map(|at| about(at, "write b"));
        assert_eq!(told_once(errors.to_vec(), "a\na\n").len(), 2);
    }
}
