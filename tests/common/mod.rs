//! What the tests over recorded cases share: one trial for each file or folder of a folder of `tests`.

use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};

/// Runs `run` on every entry of `tests/FOLDER` that is a case, as a trial of its name; ends the program.
pub fn run_cases(
    folder: &str,
    is_case: fn(&Path) -> bool,
    run: fn(&Path) -> Result<(), Failed>,
) -> ! {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(folder);
    let mut cases: Vec<PathBuf> = std::fs::read_dir(root)
        .expect("the cases are part of the repository")
        .filter_map(|e| e.ok().map(|e| e.path()))
        .filter(|p| is_case(p))
        .collect();
    cases.sort();
    let trials = cases.into_iter().map(|path| {
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Trial::test(name, move || run(&path))
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit()
}

/// A model's text.
#[allow(
    dead_code,
    reason = "each test is a program of its own and uses what it needs"
)]
pub fn is_model(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "nn")
}
