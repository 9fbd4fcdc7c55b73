//! Each stage of the compilation as text, held to what was recorded.
//!
//! A file in `tests/golden` is a model, a line `#### stage` and the text of that stage, for Cranelift where the line does
//! not end in another instruction set (`dot+grad` is `dot` with `--grad`): none depends on the machine. A mismatch fails and shows the
//! first line that differs; `LENETC_BLESS=1` writes the file anew. Goldens show what a change changes; that results
//! are right is shown elsewhere. Machine code is never recorded.

mod common;

use std::path::Path;

use lenetc::backend::cpu::clif::Target;
use lenetc::diag::Source;
use lenetc::driver::{self, NoStage, Options};
use lenetc::ir;
use lenetc::ops::Graph;
use lenetc::passes::{cse, dce, fold};
use libtest_mimic::Failed;

fn main() {
    common::run_cases("golden", common::is_model, run)
}

fn run(path: &Path) -> Result<(), Failed> {
    let text = std::fs::read_to_string(path)?;
    let (model, rest) = text.split_once("#### ").ok_or("the file names no stage")?;
    let (name, recorded) = rest.split_once('\n').unwrap_or((rest, ""));
    let found = stage(model, name.trim())?;
    if found == recorded {
        return Ok(());
    }
    if std::env::var_os("LENETC_BLESS").is_some() {
        std::fs::write(path, format!("{model}#### {name}\n{found}"))?;
        return Ok(());
    }
    let at = found
        .lines()
        .zip(recorded.lines())
        .position(|(a, b)| a != b);
    let at = at.unwrap_or(found.lines().count().min(recorded.lines().count()));
    let line = |t: &str| t.lines().nth(at).unwrap_or("(end)").to_string();
    Err(format!(
        "line {} of the stage differs\n- {}\n+ {}\nLENETC_BLESS=1 records the new text",
        at + 1,
        line(recorded),
        line(&found)
    )
    .into())
}

fn stage(text: &str, name: &str) -> Result<String, Failed> {
    let source = Source {
        name: "golden".into(),
        text: text.into(),
    };
    let shown = |f: Box<driver::Failure>| {
        Failed::from(lenetc::diag::render(&f.diagnostics, &f.source, false))
    };
    let model = driver::read(source, &[]).map_err(shown)?;
    let pass: Option<fn(&mut Graph)> = match name {
        "fold" => Some(fold::run),
        "cse" => Some(cse::run),
        "dce" => Some(dce::run),
        _ => None,
    };
    if let Some(pass) = pass {
        let built = model
            .build(driver::holds_bytes(&model.config))
            .map_err(shown)?;
        let mut g = model.differentiate(built.graphs).step;
        if name == "dce" {
            fold::run(&mut g);
        }
        let before = ir::text(&g, |_| true);
        pass(&mut g);
        return Ok(difference(&before, &ir::text(&g, |_| true)));
    }
    let (stage, isa) = name.split_once(' ').unwrap_or((name, "cranelift"));
    let (stage, grad) = stage
        .split_once("+")
        .map_or((stage, false), |s| (s.0, s.1 == "grad"));
    let options = Options {
        grad,
        ..Options::new(stage.parse()?, isa.parse()?)
    };
    let target = || Target::named("aarch64");
    driver::text(&model, &options, target).map_err(|e| match e {
        NoStage::Model(f) => shown(f),
        NoStage::Unavailable(why) => Failed::from(why),
    })
}

/// Lines that a pass removed and added.
fn difference(before: &str, after: &str) -> String {
    let lines = |t: &str, other: &str, sign: char| -> String {
        let other: Vec<&str> = other.lines().collect();
        t.lines()
            .filter(|l| !other.contains(l))
            .map(|l| format!("{sign}{l}\n"))
            .collect()
    };
    lines(before, after, '-') + &lines(after, before, '+')
}
