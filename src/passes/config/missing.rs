//! What `train` takes is not among the names that are called missing, and every one of those is.

use super::read;
use crate::data::AnyData;
use crate::diag::Source;
use crate::diag::nearest::plain;
use crate::ops::{AnyInitialiser, AnyLoss, AnyOptimizer, Registry, Signature};
use crate::passes::known::{Kind, arguments};
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
    let owned = |key: &'static str, all: Vec<Signature>| all.into_iter().map(move |s| (key, s));
    let losses = owned("loss", AnyLoss::signatures());
    let optimizers = owned("optimizer", AnyOptimizer::signatures());
    let mut told = 0;
    for (key, owner) in losses.chain(optimizers) {
        for argument in arguments(owner.name) {
            let name = owner.name;
            let expected = format!("{name} does not support `{argument}` yet");
            assert_eq!(said(&format!("{key} = {name}({argument}=1)")), expected);
            told += 1;
        }
    }
    assert!(told > 0, "torch's losses take more");
}

/// What each entry can name, and what it takes, is in no list of what is missing.
#[test]
fn what_is_there_is_not_called_missing() {
    for (kind, all) in [
        (Kind::Loss, AnyLoss::signatures()),
        (Kind::Optimizer, AnyOptimizer::signatures()),
        (Kind::Initialisation, AnyInitialiser::signatures()),
        (Kind::Data, AnyData::signatures()),
    ] {
        for signature in all {
            let name = signature.name;
            let missing = kind.missing().iter().any(|m| plain(m) == plain(name));
            assert!(!missing, "{name} is there");
            let taken = arguments(name).iter().find(|a| signature.takes(a));
            assert_eq!(taken, None, "{name}");
        }
    }
}
