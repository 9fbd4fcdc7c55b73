//! `lenetc check` and `fmt`.

use std::path::PathBuf;

use lenetc::diag;
use lenetc::driver::{self, Model};
use lenetc::passes::build::{Built, Row};
use lenetc::syntax;
use lenetc_runtime::files;

use super::args::ModelArgs;
use super::{FAILED, Stop, print};

/// Diagnostics, and a table of the layers where there are no errors.
pub fn check(a: &ModelArgs, json: bool) -> Result<u8, Stop> {
    let source = super::source(&a.file)?;
    let checked = driver::read(source, &a.overrides()).and_then(|m| {
        let built = m.build(driver::holds_bytes(&m.config))?;
        Ok((m, built))
    });
    match checked {
        Ok((model, built)) if json => {
            print(&format!(
                "{}\n",
                diag::to_json(&model.warnings, &model.source)
            ))?;
            let _ = built;
            Ok(0)
        }
        Ok((model, built)) => {
            super::warn(&model.warnings, &model.source);
            print(&table(&model, &built))?;
            Ok(0)
        }
        Err(f) if json => {
            print(&format!("{}\n", diag::to_json(&f.diagnostics, &f.source)))?;
            Ok(FAILED)
        }
        Err(f) => Err(f.into()),
    }
}

fn table(m: &Model, b: &Built) -> String {
    let size = |d: &[u32]| d.iter().map(u32::to_string).collect::<Vec<_>>().join("×");
    let mut lines = vec![
        [
            "layer",
            "",
            "output",
            "parameters",
            "MACs",
            "bytes",
            "shape",
        ]
        .map(String::from),
    ];
    lines.push([
        "".into(),
        "input".into(),
        size(&b.input),
        "".into(),
        "".into(),
        "".into(),
        "".into(),
    ]);
    for Row {
        path,
        text,
        ty,
        rule,
        parameters,
        macs,
    } in &b.rows
    {
        lines.push([
            path.clone(),
            text.clone(),
            size(&ty.dims),
            number(*parameters),
            number(*macs),
            number(ty.elements() * 4),
            rule.replace('\n', "; "),
        ]);
    }
    let sum = |f: fn(&Row) -> u64| b.rows.iter().map(f).fold(0u64, u64::saturating_add);
    let total = format!(
        "{}: {} parameters, {} multiply-adds forward, {} bytes of activations for one image\n",
        m.source.name,
        number_or_zero(sum(|r| r.parameters)),
        number_or_zero(sum(|r| r.macs)),
        number_or_zero(sum(|r| r.ty.elements().saturating_mul(4))),
    );
    let width: Vec<usize> = (0..7)
        .map(|c| {
            lines
                .iter()
                .map(|l| l[c].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut out = String::new();
    for l in &lines {
        let cells: Vec<String> = (0..7)
            .map(|c| {
                let pad = " ".repeat(width[c] - l[c].chars().count());
                if (3..6).contains(&c) {
                    format!("{pad}{}", l[c])
                } else {
                    format!("{}{pad}", l[c])
                }
            })
            .collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out + &total
}

fn number(n: u64) -> String {
    if n == 0 {
        String::new()
    } else {
        number_or_zero(n)
    }
}

/// With a separator for thousands.
fn number_or_zero(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (k, d) in digits.chars().enumerate() {
        if k > 0 && (digits.len() - k).is_multiple_of(3) {
            out.push(',');
        }
        out.push(d);
    }
    out
}

/// Formats files in place, or says which are not in the layout.
pub fn fmt(files: &[PathBuf], check: bool) -> Result<u8, Stop> {
    let mut code = 0;
    for path in files {
        let source = super::source(path)?;
        let text = match syntax::format(&source) {
            Ok(text) => text,
            Err(diagnostics) => {
                super::report(&Stop::Source(Box::new(driver::Failure {
                    source,
                    diagnostics,
                })));
                code = FAILED;
                continue;
            }
        };
        if text == source.text {
            continue;
        }
        if check {
            print(&format!(
                "{} is not in the canonical layout\n",
                path.display()
            ))?;
            code = FAILED;
        } else {
            files::replace(path, text.as_bytes()).map_err(|e| Stop::Message(e.to_string()))?;
        }
    }
    Ok(code)
}
