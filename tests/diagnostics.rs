//! Wrong programs: each file in `tests/diagnostics` says at the end of a faulty line what must be reported there.
//!
//! `# error E0203: part of the message or of its label` expects one error on its line; a file may expect several,
//! and every error must be expected. `LENETC_BLESS=1` does not touch these files: what a user is told is written
//! by hand.

mod common;

use std::path::Path;

use lenetc::diag::{self, Diagnostic, Severity, Source};
use lenetc::driver;
use libtest_mimic::Failed;

fn main() {
    common::run_cases("diagnostics", common::is_model, run)
}

fn run(path: &Path) -> Result<(), Failed> {
    let source = Source {
        name: path.display().to_string(),
        text: std::fs::read_to_string(path)?,
    };
    let mut expected = expectations(&source.text);
    if expected.is_empty() {
        return Err("the file expects nothing".into());
    }
    let result =
        driver::read(source.clone(), &[]).and_then(|m| m.build(driver::holds_bytes(&m.config)));
    let found = match result {
        Ok(_) => return Err("no error is reported".into()),
        Err(f) => f.diagnostics,
    };
    let shown = diag::render(&found, &source, false);
    if found
        .iter()
        .flat_map(|d| &d.help)
        .any(|h| h.trim().is_empty())
    {
        return Err(format!("a help says nothing\n{shown}").into());
    }
    for d in found.iter().filter(|d| d.severity == Severity::Error) {
        let line = d.span().map_or(0, |s| diag::line_col(&source, s.start).0);
        let at = expected
            .iter()
            .position(|e| e.0 == line && e.1 == d.code && said(d).contains(&e.2));
        let Some(at) = at else {
            return Err(format!("line {line}: unexpected {}\n{shown}", d.code).into());
        };
        expected.remove(at);
    }
    if expected.is_empty() {
        return Ok(());
    }
    Err(format!("not reported: {expected:?}\n{shown}").into())
}

/// Line, code and text of each expected error.
fn expectations(text: &str) -> Vec<(usize, String, String)> {
    let marked = |(k, line): (usize, &str)| {
        let (_, mark) = line.split_once("# error ")?;
        let (code, text) = mark.split_once(": ")?;
        Some((k + 1, code.to_string(), text.trim().to_string()))
    };
    text.lines().enumerate().filter_map(marked).collect()
}

fn said(d: &Diagnostic) -> String {
    let labels = d.labels.iter().map(|l| l.text.as_str());
    let all: Vec<&str> = std::iter::once(d.message.as_str())
        .chain(labels)
        .chain(d.help.iter().map(String::as_str))
        .collect();
    all.join("\n")
}
