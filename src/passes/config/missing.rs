//! What `train` takes is not among the names that are called missing, and every one of those is.

use super::read;
use crate::diag::Source;
use crate::passes::known::{ARGUMENTS, Kind};
use crate::syntax::ast::Item;
use crate::syntax::parse;

/// What is said of an entry of `train`.
fn said(entry: &str) -> String {
    let source = Source {
        name: "test".into(),
        text: format!("model M {{ input(1) }}\ntrain {{ {entry} }}"),
    };
    let (file, _) = parse(&source);
    let Some(Item::Train(train)) = file.items.last() else {
        panic!("the text ends with train")
    };
    let (_, diagnostics) = read(&train.entries);
    diagnostics.into_iter().map(|d| d.message).collect()
}

#[test]
fn what_train_takes_is_not_called_missing() {
    for (key, kind) in [
        ("loss", Kind::Loss),
        ("optimizer", Kind::Optimizer),
        ("schedule", Kind::Schedule),
        ("init", Kind::Initialisation),
        ("data", Kind::Data),
    ] {
        for torch in kind.missing() {
            let expected = format!("{torch} is not supported yet");
            assert_eq!(said(&format!("{key} = {torch}")), expected);
        }
    }
    for owner in ["CrossEntropyLoss", "MSELoss", "SGD"] {
        let key = if owner == "SGD" { "optimizer" } else { "loss" };
        let (_, arguments) = ARGUMENTS
            .iter()
            .find(|a| a.0 == owner)
            .expect("it has some");
        for argument in *arguments {
            let expected = format!("{owner} does not support `{argument}` yet");
            assert_eq!(said(&format!("{key} = {owner}({argument}=1)")), expected);
        }
    }
}
