//! Places in a source text, messages about them, and how both are shown: as text for people, as JSON for programs.
//!
//! This module does not know the language, the passes that report, or where the output goes; it never prints.

mod once;
pub use once::told_once;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};

/// At most this many diagnostics are rendered; a closing note counts the others.
pub const MAX_RENDERED: usize = 50;
/// Lines longer than this many bytes are cut around the place that a label points at.
const MAX_LINE_BYTES: usize = 400;
/// Labels further apart than this many bytes are shown in snippets of their own.
const MAX_WINDOW_BYTES: usize = 8192;

/// A half-open range of byte offsets into a source text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset behind the last byte.
    pub end: u32,
}

impl Span {
    /// The empty span at the start of the text, for things that stand in no text.
    pub const ZERO: Span = Span { start: 0, end: 0 };

    /// The span from byte `start` to before byte `end`.
    pub fn new(start: usize, end: usize) -> Self {
        let clip = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Span {
            start: clip(start),
            end: clip(end),
        }
    }

    /// The smallest span that covers this one and `other`.
    pub fn to(self, other: Span) -> Self {
        Span {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }

    /// The empty span right behind this one.
    pub fn after(self) -> Self {
        Span {
            start: self.end,
            end: self.end,
        }
    }

    /// Length in bytes.
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// Whether the span covers no byte.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The part of `text` that the span covers; empty where the span does not fit the text.
    pub fn slice(self, text: &str) -> &str {
        text.get(self.start as usize..self.end as usize)
            .unwrap_or("")
    }
}

/// A source text and the name under which messages cite it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The path as the user wrote it.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The input cannot be used.
    Error,
    /// The input can be used, though it is probably not what was meant.
    Warning,
    /// Information only.
    Note,
}

impl Severity {
    /// The word that stands in messages and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// A place that a diagnostic points at, and what is to be said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// The words beside the underline; may be empty.
    pub text: String,
    /// Whether this is the place at fault, rather than one that explains it.
    pub primary: bool,
}

/// One message about a source text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A stable code such as `E0203`.
    pub code: &'static str,
    /// What is wrong, in one line.
    pub message: String,
    /// The places it points at.
    pub labels: Vec<Label>,
    /// Likely fixes.
    pub help: Vec<String>,
    /// Background.
    pub notes: Vec<String>,
    /// Whether what stands there was read as it was meant, so that nothing else goes wrong because of it.
    pub understood: bool,
}

impl Diagnostic {
    /// An error without a place.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message)
    }

    /// A warning without a place.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message)
    }

    /// A message of any severity without a place.
    pub fn new(severity: Severity, code: &'static str, message: impl Into<String>) -> Self {
        Diagnostic {
            severity,
            code,
            message: message.into(),
            labels: Vec::new(),
            help: Vec::new(),
            notes: Vec::new(),
            understood: false,
        }
    }

    /// Adds the place at fault.
    pub fn at(self, span: Span, text: impl Into<String>) -> Self {
        self.label(span, text.into(), true)
    }

    /// Adds a place that explains the fault.
    pub fn also(self, span: Span, text: impl Into<String>) -> Self {
        self.label(span, text.into(), false)
    }

    /// Adds a likely fix; an empty text adds nothing.
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help.extend(said(text.into()));
        self
    }

    /// Adds background; an empty text adds nothing.
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.extend(said(text.into()));
        self
    }

    /// Marks a slip whose meaning is plain: see [`Diagnostic::understood`].
    pub fn understood(mut self) -> Self {
        self.understood = true;
        self
    }

    /// The first place at fault, if there is one.
    pub fn span(&self) -> Option<Span> {
        let primary = self.labels.iter().find(|label| label.primary);
        primary.or(self.labels.first()).map(|label| label.span)
    }

    fn label(mut self, span: Span, text: String, primary: bool) -> Self {
        self.labels.push(Label {
            span,
            text,
            primary,
        });
        self
    }
}

/// A text, unless it is empty.
fn said(text: String) -> Option<String> {
    (!text.trim().is_empty()).then_some(text)
}

/// A number with a separator for thousands: `60,000`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (k, digit) in digits.chars().enumerate() {
        if k > 0 && (digits.len() - k).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of things as a sentence has it: `1 step`, `2 steps`.
///
/// Knows the plurals that messages need: as of `step`, `batch`, `axis` and `entry`.
pub fn count(n: u64, thing: &str) -> String {
    if n == 1 {
        return format!("1 {thing}");
    }
    let (stem, ending) = match thing {
        t if t.ends_with("is") => (&t[..t.len() - 2], "es"),
        t if t.ends_with("try") => (&t[..t.len() - 1], "ies"),
        t if t.ends_with("ch") => (t, "es"),
        t => (t, "s"),
    };
    format!("{n} {stem}{ending}")
}

/// Line and column of a byte offset, both from 1; columns count characters.
///
/// It reads the text up to the offset; [`render`] and [`to_json`] use an index of the lines instead.
pub fn line_col(source: &Source, offset: u32) -> (usize, usize) {
    Lines::new(&source.text).line_col(offset as usize)
}

/// The diagnostics as people read them: the message, the line it is about, what to do.
pub fn render(diags: &[Diagnostic], source: &Source, color: bool) -> String {
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let lines = Lines::new(&source.text);
    let mut out = String::new();
    for diag in diags.iter().take(MAX_RENDERED) {
        let group = report(diag, source, &lines);
        out.push_str(&renderer.render(&[group]));
        out.push_str("\n\n");
    }
    if diags.len() > MAX_RENDERED {
        let more = (diags.len() - MAX_RENDERED) as u64;
        let text = match more {
            1 => "1 more message is not shown".into(),
            _ => format!("{more} more messages are not shown"),
        };
        let group = Group::with_title(Level::NOTE.primary_title(text));
        out.push_str(&renderer.render(&[group]));
        out.push('\n');
    } else if out.ends_with("\n\n") {
        out.pop();
    }
    out
}

/// The diagnostics as a JSON array; lines and columns count from 1, offsets are bytes.
pub fn to_json(diags: &[Diagnostic], source: &Source) -> Value {
    let lines = Lines::new(&source.text);
    let all = diags.iter().map(|diag| {
        json!({
            "severity": diag.severity.name(),
            "code": diag.code,
            "message": diag.message,
            "file": source.name,
            "spans": diag.labels.iter().map(|l| label_json(l, &lines)).collect::<Vec<_>>(),
            "help": diag.help,
            "notes": diag.notes,
        })
    });
    Value::Array(all.collect())
}

fn label_json(label: &Label, lines: &Lines) -> Value {
    let (line, column) = lines.line_col(label.span.start as usize);
    let (end_line, end_column) = lines.line_col(label.span.end as usize);
    json!({
        "start": label.span.start, "end": label.span.end,
        "line": line, "column": column, "end_line": end_line, "end_column": end_column,
        "text": label.text, "primary": label.primary,
    })
}

/// Where each line starts, so that many places are found in one reading of the text.
pub(crate) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let behind = text.match_indices('\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(behind).collect();
        Lines { text, starts }
    }

    /// Index from 0 of the line that holds the offset.
    fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|&start| start <= offset) - 1
    }

    /// Byte range of a line without its line end.
    fn range(&self, line: usize) -> (usize, usize) {
        let start = self.starts[line];
        let next = self.starts.get(line + 1);
        let end = next.map_or(self.text.len(), |&next| next - 1);
        let bare = self.text[start..end].strip_suffix('\r');
        (start, bare.map_or(end, |bare| start + bare.len()))
    }

    /// The line from 1 in which a place begins.
    fn of(&self, place: Span) -> usize {
        self.line(place.start as usize) + 1
    }

    pub(crate) fn line_col(&self, offset: usize) -> (usize, usize) {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.line(offset);
        let column = self.text[self.starts[line]..offset].chars().count();
        (line + 1, column + 1)
    }
}

/// A label clipped to its first line: a mark over many lines hides more than it shows.
struct Mark<'a> {
    label: &'a Label,
    line: usize,
    start: usize,
    end: usize,
}

impl<'a> Mark<'a> {
    fn new(label: &'a Label, lines: &Lines) -> Self {
        let start = lines.text.floor_char_boundary(label.span.start as usize);
        let line = lines.line(start);
        let (_, line_end) = lines.range(line);
        let end = lines.text.ceil_char_boundary(label.span.end as usize);
        let start = start.min(line_end);
        Mark {
            label,
            line,
            start,
            end: end.min(line_end).max(start),
        }
    }
}

fn report<'a>(diag: &'a Diagnostic, source: &'a Source, lines: &Lines<'a>) -> Group<'a> {
    let level = match diag.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let mut title = level.primary_title(diag.message.as_str());
    if !diag.code.is_empty() {
        title = title.id(diag.code);
    }
    let mut group = Group::with_title(title);
    // A snippet names the file itself, unless it shows a piece of a line and so cannot know the column.
    let windows = windows(diag, lines);
    let cut = windows
        .iter()
        .flatten()
        .any(|mark| is_long(lines, mark.line));
    if cut || windows.is_empty() {
        group = group.element(origin(diag, source, lines));
    }
    let path = (!cut).then_some(source.name.as_str());
    for window in windows {
        group = group.element(snippet(&window, lines).path(path));
    }
    let notes = diag.notes.iter().map(|n| Level::NOTE.message(n.as_str()));
    let help = diag.help.iter().map(|h| Level::HELP.message(h.as_str()));
    group.elements(notes).elements(help)
}

/// The line that names the file.
fn origin<'a>(diag: &Diagnostic, source: &'a Source, lines: &Lines) -> Origin<'a> {
    let origin = Origin::path(source.name.as_str());
    let Some(span) = diag.span() else {
        return origin;
    };
    let (line, column) = lines.line_col(span.start as usize);
    origin.line(line).char_column(column)
}

/// Marks in groups that are near enough to be shown as one piece of text.
fn windows<'a>(diag: &'a Diagnostic, lines: &Lines) -> Vec<Vec<Mark<'a>>> {
    let mut marks: Vec<Mark> = diag.labels.iter().map(|l| Mark::new(l, lines)).collect();
    marks.sort_by_key(|mark| (mark.start, mark.end));
    let mut windows: Vec<Vec<Mark>> = Vec::new();
    for mark in marks {
        let long = is_long(lines, mark.line);
        let joins = windows.last().and_then(|w| w.first()).is_some_and(|first| {
            let near = mark.start - first.start < MAX_WINDOW_BYTES;
            near && !long && !is_long(lines, first.line)
        });
        match windows.last_mut() {
            Some(window) if joins => window.push(mark),
            _ => windows.push(vec![mark]),
        }
    }
    windows
}

fn is_long(lines: &Lines, line: usize) -> bool {
    let (start, end) = lines.range(line);
    end - start > MAX_LINE_BYTES
}

fn snippet<'a>(
    window: &[Mark<'a>],
    lines: &Lines<'a>,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let first = window.first().map_or(0, |mark| mark.line);
    let last = window.iter().map(|mark| mark.line).max().unwrap_or(first);
    let (from, to) = (lines.range(first).0, lines.range(last).1);
    let (text, shift) = match window {
        [mark] if is_long(lines, mark.line) => cut(lines.text, from, to, mark),
        _ => (std::borrow::Cow::Borrowed(&lines.text[from..to]), from),
    };
    let annotations = window
        .iter()
        .map(|mark| annotation(mark, shift, text.len()));
    let annotations: Vec<_> = annotations.collect();
    Snippet::source(text)
        .line_start(first + 1)
        .annotations(annotations)
}

fn annotation<'a>(
    mark: &Mark<'a>,
    shift: usize,
    text_len: usize,
) -> annotate_snippets::Annotation<'a> {
    let kind = match mark.label.primary {
        true => AnnotationKind::Primary,
        false => AnnotationKind::Context,
    };
    let place = |at: usize| (at - shift).min(text_len);
    let annotation = kind.span(place(mark.start)..place(mark.end));
    match mark.label.text.is_empty() {
        true => annotation,
        false => annotation.label(mark.label.text.as_str()),
    }
}

/// The part of a long line around a mark, and what to take off an offset to find its place in that part.
fn cut<'a>(
    text: &'a str,
    from: usize,
    to: usize,
    mark: &Mark,
) -> (std::borrow::Cow<'a, str>, usize) {
    const BEFORE: usize = 40;
    const AFTER: usize = 100;
    let start = text.floor_char_boundary(mark.start.saturating_sub(BEFORE).max(from));
    let end = text
        .floor_char_boundary((mark.start + AFTER).min(to))
        .max(mark.start);
    let rest = if end < to { " …" } else { "" };
    let shown = format!("{}{rest}", &text[start..end]);
    (shown.into(), start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source {
            name: "models/lenet.nn".into(),
            text: text.into(),
        }
    }

    #[test]
    fn renders_like_a_compiler() {
        let text = "\n\n\n\n\n\n\n\n\n\n\n    Conv2d(16, kernel_size=15)\n    Sigmoid\n";
        let diag = Diagnostic::error("E0203", "kernel does not fit its input")
            .at(Span::new(15, 41), "height: ⌊(14 + 0 + 0 − 15) / 1⌋ + 1 = 0")
            .help("kernel_size=14 is the largest that fits, or add padding");
        let expected = "\
error[E0203]: kernel does not fit its input
  --> models/lenet.nn:12:5
   |
12 |     Conv2d(16, kernel_size=15)
   |     ^^^^^^^^^^^^^^^^^^^^^^^^^^ height: ⌊(14 + 0 + 0 − 15) / 1⌋ + 1 = 0
   |
   = help: kernel_size=14 is the largest that fits, or add padding
";
        let rendered = render(&[diag], &source(text), false);
        let trimmed: Vec<&str> = rendered.lines().map(str::trim_end).collect();
        let expected: Vec<&str> = expected.lines().map(str::trim_end).collect();
        assert_eq!(trimmed, expected, "{rendered}");
    }

    #[test]
    fn an_empty_help_or_note_is_no_line() {
        let diag = Diagnostic::error("E0305", "bad")
            .at(Span::new(0, 1), "")
            .help("")
            .note(" ");
        assert!(diag.help.is_empty() && diag.notes.is_empty());
        let rendered = render(&[diag], &source("x"), false);
        assert!(!rendered.contains("= "), "{rendered}");
    }

    #[test]
    fn things_are_counted_as_people_do() {
        let all = ["step", "branch", "axis", "entry"];
        let counts = |n| all.map(|thing| count(n, thing));
        assert_eq!(counts(1), ["1 step", "1 branch", "1 axis", "1 entry"]);
        assert_eq!(counts(0), ["0 steps", "0 branches", "0 axes", "0 entries"]);
        assert_eq!(counts(2), ["2 steps", "2 branches", "2 axes", "2 entries"]);
    }

    #[test]
    fn the_messages_that_are_not_shown_are_counted() {
        for (more, text) in [(1, "1 more message is not"), (2, "2 more messages are not")] {
            let all = vec![Diagnostic::error("E0001", "bad"); MAX_RENDERED + more];
            assert!(render(&all, &source("x"), false).contains(text), "{text}");
        }
    }

    #[test]
    fn counts_lines_and_characters_from_one() {
        let source = source("ab\nä×c\n");
        assert_eq!(line_col(&source, 0), (1, 1));
        assert_eq!(line_col(&source, 3), (2, 1));
        assert_eq!(line_col(&source, 7), (2, 3));
        assert_eq!(line_col(&source, 999), (3, 1));
    }

    #[test]
    fn survives_spans_that_do_not_fit() {
        for (start, end) in [(0, 0), (3, 99), (99, 100), (4, 5), (5, 4), (1, 2)] {
            let span = Span {
                start: start as u32,
                end,
            };
            let diag = Diagnostic::error("E0001", "x")
                .at(span, "y")
                .also(Span::ZERO, "z");
            assert!(
                render(std::slice::from_ref(&diag), &source("ab\r\nä\n"), true).contains("E0001")
            );
            assert!(render(&[diag], &source(""), false).contains("E0001"));
        }
    }

    #[test]
    fn a_huge_line_is_cut_and_many_messages_are_capped() {
        let source = source(&"x ".repeat(4_000_000));
        let diags: Vec<Diagnostic> = (0..1000)
            .map(|i| {
                Diagnostic::error("E0001", "bad").at(Span::new(i * 4000, i * 4000 + 1), "here")
            })
            .collect();
        let rendered = render(&diags, &source, false);
        assert!(rendered.len() < 100_000);
        assert!(
            rendered.contains("950 more messages"),
            "{}",
            &rendered[..500]
        );
        assert!(rendered.contains("1:4001"));
    }

    #[test]
    fn labels_that_are_far_apart_get_their_own_lines() {
        let text = format!("model M {{\n{}train\n", "    ReLU\n".repeat(10_000));
        let diag = Diagnostic::error("E0106", "open")
            .at(Span::new(text.len() - 6, text.len() - 1), "before this")
            .also(Span::new(8, 9), "opened here");
        let rendered = render(&[diag], &source(&text), false);
        assert!(
            rendered.contains("opened here") && rendered.contains("10002 | train"),
            "{rendered}"
        );
    }

    #[test]
    fn thousands_are_separated() {
        let texts = [0, 999, 1_000, 123_456, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "123,456", "1,234,567"]);
    }

    #[test]
    fn json_has_lines_and_columns() {
        let diag = Diagnostic::error("E0101", "bad")
            .at(Span::new(3, 4), "this")
            .help("do that");
        let json = to_json(&[diag], &source("ab\nc\n"));
        assert_eq!(json[0]["spans"][0]["line"], 2);
        assert_eq!(json[0]["spans"][0]["column"], 1);
        assert_eq!(json[0]["help"][0], "do that");
        assert_eq!(json[0]["severity"], "error");
    }
}
