//! `lenetc check` and `fmt`.

use std::path::{Path, PathBuf};

use lenetc::diag;
use lenetc::driver;
use lenetc::syntax;
use lenetc_runtime::files;

use super::args::ModelArgs;
use super::{FAILED, Stop, layers, print, width};

/// Diagnostics, and a table of the layers where there are no errors; `wide` for lines as long as they become.
pub fn check(a: &ModelArgs, json: bool, wide: bool) -> Result<u8, Stop> {
    let source = super::source(&a.file)?;
    let checked = super::read(source, a).and_then(|model| {
        let built = model.build(model.bytes)?;
        Ok((model, built))
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
            let columns = (!wide).then(width::columns);
            print(&layers::table(&model.source.name, &built, columns))?;
            Ok(0)
        }
        Err(f) if json => {
            print(&format!("{}\n", diag::to_json(&f.diagnostics, &f.source)))?;
            Ok(FAILED)
        }
        Err(f) => Err(f.into()),
    }
}

/// Formats files in place, or says which are not in the layout.
pub fn fmt(files: &[PathBuf], check: bool) -> Result<u8, Stop> {
    let mut code = 0;
    for path in files {
        let path = match path.to_str() {
            Some("-") => Path::new("/dev/stdin"),
            _ => path,
        };
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
        // What is read from stdin has no place to be written to but stdout.
        if path == Path::new("/dev/stdin") && !check {
            print(&text)?;
            continue;
        }
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
