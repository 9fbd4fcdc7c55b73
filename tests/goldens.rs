//! Each stage of the compilation as text, held to what was recorded.
//!
//! A file in `tests/golden` is a model, a line `#### stage` and the text of that stage. A mismatch fails and shows the
//! first line that differs; `LENETC_BLESS=1` writes the file anew. Goldens show what a change changes; that results
//! are right is shown elsewhere. Machine code is never recorded.

use std::path::{Path, PathBuf};

use lenetc::backend::cpu;
use lenetc::diag::Source;
use lenetc::passes::{cse, dce, fold};
use lenetc::{driver, ir, nest};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<PathBuf> = std::fs::read_dir(root)
        .expect("the cases are part of the repository")
        .filter_map(|e| e.ok().map(|e| e.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "nn"))
        .collect();
    files.sort();
    let trials = files
        .into_iter()
        .map(|path| {
            let name = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            Trial::test(name, move || run(&path))
        })
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
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
    let built = model
        .build(driver::holds_bytes(&model.config))
        .map_err(shown)?;
    if name == "ir" {
        return Ok(ir::text(&built.graph));
    }
    let mut g = model.differentiate(built.graph);
    let pass: Option<fn(&mut lenetc::ops::Graph)> = match name {
        "fold" => Some(fold::run),
        "cse" => Some(cse::run),
        "dce" => Some(dce::run),
        _ => None,
    };
    if let Some(pass) = pass {
        if name == "dce" {
            fold::run(&mut g);
        }
        let before = ir::text(&g);
        pass(&mut g);
        return Ok(difference(&before, &ir::text(&g)));
    }
    let batch = model.config.batch_size;
    Ok(match name {
        "grad" => ir::text(&g),
        "dot" => ir::dot(&g),
        "fused" => {
            let groups = driver::group(&mut g, true);
            driver::groups_text(&g, &groups)
        }
        "plan" => driver::plan_text(&driver::plan(g, true, batch)),
        "loops" => {
            let plan = driver::plan(g, true, batch);
            plan.kernels
                .iter()
                .map(|k| nest::loops::text(k) + "\n")
                .collect()
        }
        "clif" => {
            let target = cpu::clif::Target::named("aarch64").map_err(Failed::from)?;
            cpu::clif::text(&driver::plan(g, true, batch).kernels, &target)
        }
        other => return Err(format!("there is no stage {other}").into()),
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
