//! Mistakes that users make, and the whole answer to each: what is printed, and the code that the program exits with.
//!
//! A file in `tests/mistakes` is a list of cases: a line `==== name`, the text of `model.nn` where the case has one of
//! its own, and commands, each a line `---- lenetc …` with its answer behind it, stdout before stderr, and at the
//! end a line `exit code`. A case has a folder to itself, which holds `model.nn`; words in single quotes may have spaces.
//! Lines before the first case are a comment. `LENETC_BLESS=1` writes the answers anew.

mod common;

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Failed;

/// The model of a case that brings none: it trains in no time.
const MODEL: &str = "\
model M {
    input(2)
    Linear(1)
}

train {
    data = inline { x = [[1, 2], [3, 4]] y = [[1], [2]] }
    loss = MSELoss
    optimizer = SGD(lr=0.01)
    batch_size = 2
    epochs = 2
}
";

fn main() {
    common::run_cases("mistakes", is_list, run)
}

fn is_list(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "txt")
}

fn run(path: &Path) -> Result<(), Failed> {
    let recorded = std::fs::read_to_string(path)?;
    let found = answered(&recorded)?;
    if found == recorded {
        return Ok(());
    }
    if std::env::var_os("LENETC_BLESS").is_some() {
        return Ok(std::fs::write(path, found)?);
    }
    let lines = |t: &str| t.lines().map(String::from).collect::<Vec<_>>();
    let (old, new) = (lines(&recorded), lines(&found));
    let at = (0..).find(|&k| old.get(k) != new.get(k)).unwrap_or(0);
    let heading = |l: &&String| l.starts_with("==== ") || l.starts_with("---- ");
    let near: Vec<_> = new[..at.min(new.len())].iter().filter(heading).collect();
    let line = |l: &[String]| l.get(at).cloned().unwrap_or("(end)".into());
    Err(format!(
        "line {} differs, below {:?}\n- {}\n+ {}\nLENETC_BLESS=1 records the new text",
        at + 1,
        near.last(),
        line(&old),
        line(&new)
    )
    .into())
}

/// The list with the answers that the program gives.
fn answered(list: &str) -> Result<String, Failed> {
    let mut parts = list.split("==== ");
    let mut text = parts.next().unwrap_or("").to_string();
    let mut cases = 0;
    for case in parts {
        let (name, rest) = case.split_once('\n').ok_or("a case has no commands")?;
        let mut commands = rest.split("---- ");
        let model = commands.next().unwrap_or("");
        write!(text, "==== {name}\n{model}")?;
        let dir = tempfile::tempdir()?;
        let written = if model.trim().is_empty() {
            MODEL
        } else {
            model
        };
        std::fs::write(dir.path().join("model.nn"), written)?;
        let mut any = false;
        for command in commands {
            let line = command.lines().next().unwrap_or("");
            write!(text, "---- {line}\n{}", answer(dir.path(), line)?)?;
            any = true;
        }
        if !any {
            return Err(format!("{name} has no commands").into());
        }
        cases += 1;
        text.push('\n');
    }
    if cases == 0 {
        return Err("the list has no cases".into());
    }
    Ok(text.trim_end().to_string() + "\n")
}

/// What a command prints, and its exit code. Nothing of the user's own settings takes part.
fn answer(dir: &Path, line: &str) -> Result<String, Failed> {
    let mut words = words(line).into_iter();
    if words.next().as_deref() != Some("lenetc") {
        return Err(format!("{line} does not start with lenetc").into());
    }
    let o = Command::new(env!("CARGO_BIN_EXE_lenetc"))
        .current_dir(dir)
        .args(words)
        .env("NO_COLOR", "1")
        .env("HOME", dir)
        .env_remove("XDG_CACHE_HOME")
        .env_remove("XDG_DATA_HOME")
        .env_remove("LENETC_DATA")
        .output()?;
    let mut text = String::from_utf8([o.stdout, o.stderr].concat())?;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let code = o.status.code().ok_or("the program ended by a signal")?;
    let shown = text.lines().map(|l| l.trim_end().to_string() + "\n");
    Ok(format!("{}exit {code}\n", shown.collect::<String>()))
}

/// The words of a command.
fn words(line: &str) -> Vec<String> {
    let pieces = line.split('\'').enumerate();
    pieces
        .flat_map(|(k, piece)| match k % 2 {
            1 => vec![piece.to_string()],
            _ => piece.split_whitespace().map(String::from).collect(),
        })
        .collect()
}
