//! What `--set`, or an option that there is not, was meant to be of the entries of `train`.
//!
//! Does not know which entries there are; `passes::config` does.

use crate::diag::Diagnostic;
use crate::passes::config::meant::{self, Written};
use crate::passes::config::{Config, entries};

/// What is wrong with a text that is not as `train.entry=value`.
pub fn problem(text: &str) -> &'static str {
    match text.contains('=') {
        true => "--set takes an entry of train",
        false => "--set takes an entry and its value",
    }
}

/// How the entry that a text was meant for is written for a model so configured, with the text's own value where it has
/// one; else all entries.
pub fn help(text: &str, config: &Config) -> String {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    let key = key.trim().to_lowercase();
    let key = key.strip_prefix("train.").unwrap_or(&key);
    if let Some(missing) = meant::missing(key, config) {
        return missing;
    }
    let Some(meant) = meant::meant(key, config) else {
        return entries::all();
    };
    let value = Some(value.trim()).filter(|v| !v.is_empty());
    format!("did you mean {}?", written(&meant.written(value)))
}

/// How an entry is set, as a shell takes it.
fn written(entry: &Written) -> String {
    let Written { key, value } = entry;
    let plain = |c: char| c.is_alphanumeric() || "._-+/:,%@".contains(c);
    match value.chars().all(plain) {
        true => format!("--set train.{key}={value}"),
        false => format!("--set 'train.{key}={value}'"),
    }
}

/// What an option that no command has was meant for, among the entries of `train`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meant {
    /// What to write in its place.
    Set(String),
    /// Why there is nothing to write.
    Missing(String),
}

/// The meaning of an option such as `--weight-decay` or `--optimizer`, and of the value behind it.
pub fn option(name: &str, value: Option<&str>) -> Option<Meant> {
    let name = name.trim_start_matches('-');
    let config = Config::default();
    if let Some(missing) = meant::missing(name, &config) {
        return Some(Meant::Missing(missing));
    }
    let meant = meant::named(name, &config)?;
    let example = || Meant::Set(written(&meant.written(None)));
    let value = value.map(|value| meant.named(value).unwrap_or(value));
    Some(match value.map(|value| meant.written(Some(value))) {
        None => example(),
        Some(entry) => match tried(&entry) {
            Ok(()) => Meant::Set(written(&entry)),
            Err(d) if d.message.ends_with("not supported yet") => Meant::Missing(d.message),
            Err(_) => example(),
        },
    })
}

/// Whether an entry takes a value.
fn tried(entry: &Written) -> Result<(), Diagnostic> {
    let text = format!("train.{}={}", entry.key, entry.value);
    let set = super::replace(&mut Config::default(), &text);
    set.map_err(|mut failure| failure.diagnostics.remove(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_found_by_a_part_of_its_name() {
        let config = Config::default();
        for (text, meant) in [
            ("lr=0.5", "optimizer.lr=0.5"),
            ("train.lr=0.5", "optimizer.lr=0.5"),
            ("optimizer.lr=1e-3", "optimizer.lr=1e-3"),
            ("sgd.lr=1", "optimizer.lr=1"),
            ("learning-rate=2", "optimizer.lr=2"),
            ("batch_size=3", "batch_size=3"),
            ("batch-size = 3", "batch_size=3"),
            ("batch=3", "batch_size=3"),
            ("train.batchsize=8", "batch_size=8"),
            ("train.epoch=4", "epochs=4"),
            ("Epochs=4", "epochs=4"),
            ("reduction=sum", "loss.reduction=sum"),
            ("train.batch_size", "batch_size=32"),
            ("seed", "seed=3"),
        ] {
            assert_eq!(
                help(text, &config),
                format!("did you mean --set train.{meant}?")
            );
        }
        for text in ["", "x=1", "train.warmup=1"] {
            assert!(
                help(text, &config).starts_with("known are: batch_size, "),
                "{text}"
            );
        }
        let said = help("train.maximize=1", &config);
        assert_eq!(said, "SGD does not support `maximize` yet");
        // A shell reads parentheses.
        let quoted = "did you mean --set 'train.optimizer=SGD(lr=0.5)'?";
        assert_eq!(help("optimiser", &config), quoted);
    }

    /// The list here is the list there.
    #[test]
    fn every_entry_can_be_set() {
        for entry in &entries::ENTRIES {
            let source = crate::diag::Source {
                name: "m.nn".into(),
                text: "model M { input(1)\n Linear(1) }".into(),
            };
            let set = format!("train.{}={}", entry.key, entry.example);
            assert!(crate::driver::read(source, &[set]).is_ok(), "{}", entry.key);
        }
    }

    #[test]
    fn options_that_name_an_entry_are_told_apart() {
        let set = |text: &str| Some(Meant::Set(text.into()));
        let missing = |text: &str| Some(Meant::Missing(text.into()));
        for (name, value, meant) in [
            (
                "--optimizer",
                Some("adam"),
                set("--set train.optimizer=Adam"),
            ),
            (
                "--optimizer",
                Some("adadelta"),
                missing("Adadelta is not supported yet"),
            ),
            ("--optimizer", Some("SGD"), set("--set train.optimizer=SGD")),
            ("--optimizer", Some("sgd"), set("--set train.optimizer=SGD")),
            ("--optim", None, set("--set 'train.optimizer=SGD(lr=0.5)'")),
            (
                "--momentum",
                Some("0.9"),
                set("--set train.optimizer.momentum=0.9"),
            ),
            (
                "--weight-decay",
                None,
                set("--set train.optimizer.weight_decay=0"),
            ),
            ("--init", Some("zeros"), set("--set train.init=zeros")),
            (
                "--init",
                Some("orthogonal"),
                missing("orthogonal is not supported yet"),
            ),
            ("--loss", Some("mse"), set("--set train.loss=MSELoss")),
            (
                "--loss",
                Some("CTCLoss"),
                missing("CTCLoss is not supported yet"),
            ),
            (
                "--reduction",
                Some("sum"),
                set("--set train.loss.reduction=sum"),
            ),
            ("--print_every", Some("7"), set("--set train.print_every=7")),
            (
                "--shuffle",
                Some("model.nn"),
                set("--set train.shuffle=false"),
            ),
            ("--opt", None, None),
            ("--frobnicate", Some("1"), None),
        ] {
            assert_eq!(option(name, value), meant, "{name} {value:?}");
        }
    }
}
