//! The one direction of imports: a module reads only from those before it in the list.

use std::path::{Path, PathBuf};

/// From the bottom up. `main` and `cli` stand above all and are a crate of their own.
const ORDER: [&str; 11] = [
    "lines", "diag", "syntax", "ir", "nest", "ops", "data", "passes", "backend", "driver", "train",
];

fn rust_files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir)
        .expect("the sources are here")
        .flatten()
    {
        let path = entry.path();
        if path.is_dir() {
            rust_files(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// The top-level modules of the crate that a line names.
fn named(line: &str) -> impl Iterator<Item = String> {
    line.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
        rest[..end.unwrap_or(rest.len())].to_string()
    })
}

#[test]
fn imports_run_one_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    let place = |name: &str| ORDER.iter().position(|o| *o == name);
    let mut seen = 0;
    for file in files {
        let relative = file.strip_prefix(&root).expect("found below it");
        let module = relative
            .iter()
            .next()
            .and_then(|m| m.to_str())
            .unwrap_or("")
            .trim_end_matches(".rs");
        let Some(own) = place(module) else { continue };
        let text = std::fs::read_to_string(&file).expect("sources are text");
        for (k, line) in text
            .lines()
            .enumerate()
            .filter(|(_, l)| !l.trim_start().starts_with("//"))
        {
            for name in named(line) {
                let other = place(&name).unwrap_or_else(|| {
                    panic!("{}: crate::{name} is not in the order", relative.display())
                });
                assert!(
                    other <= own,
                    "{}:{}: {module} imports {name}",
                    relative.display(),
                    k + 1
                );
                seen += 1;
            }
            let syntax_and_operators = line.contains("crate::syntax") && module == "passes";
            let allowed = relative.starts_with("passes/build")
                || relative.starts_with("passes/config")
                || relative.starts_with("passes/arguments")
                || relative.ends_with("arguments.rs")
                || relative.ends_with("build.rs")
                || relative.ends_with("config.rs");
            assert!(
                !syntax_and_operators || allowed,
                "{}:{}: only build, config and the binder read the syntax",
                relative.display(),
                k + 1
            );
            assert!(
                !line.contains("lenetc_runtime")
                    || ["data", "backend", "train", "driver"].contains(&module),
                "{}:{}: {module} imports the runtime",
                relative.display(),
                k + 1
            );
        }
    }
    assert!(seen > 50, "the test finds imports");
}
