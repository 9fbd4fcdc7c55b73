//! The entries of `train` and their parts: the one list of them, and what a mistyped one was meant to be.
//!
//! Does not know how values are read; the functions beside it do.

use super::{
    Config, Initial, LARGEST_BATCH, Loss, Set, data, flag, initial, loss, number, optimizer,
    positive, rate, reduction, whole,
};
use crate::diag::nearest::{closest, few, known, nearest, plain};
use crate::passes::known::argument;
use crate::syntax::ast::Value;

/// An entry, or a part of one as `optimizer.lr`, which `--set` alone can name.
pub struct Setting {
    pub key: &'static str,
    /// A value as it may be written.
    pub example: &'static str,
    /// Reads a value; the last is the key, for messages.
    pub(super) set: fn(&mut Config, &Value, &str) -> Set,
}

/// All entries and parts, by their names.
pub const ENTRIES: [Setting; 14] = [
    Setting {
        key: "batch_size",
        example: "32",
        set: |c, v, key| whole(v, key, 1, LARGEST_BATCH).map(|n| c.batch_size = n as u32),
    },
    Setting {
        key: "data",
        example: "mnist",
        set: |c, v, _| {
            c.data = Some(data(v)?);
            c.data_span = v.span;
            Ok(())
        },
    },
    Setting {
        key: "epochs",
        example: "5",
        set: |c, v, key| whole(v, key, 1, 1 << 30).map(|n| c.epochs = n as u32),
    },
    Setting {
        key: "init",
        example: "zeros",
        set: |c, v, _| initial(v).map(|i| c.initial = i),
    },
    Setting {
        key: "init.std",
        example: "0.01",
        set: |c, v, _| positive(v, "std").map(|std| c.initial = Initial::Normal { std }),
    },
    Setting {
        key: "init.value",
        example: "0.5",
        set: |c, v, _| number(v, "value").map(|x| c.initial = Initial::Constant(x)),
    },
    Setting {
        key: "loss",
        example: "MSELoss",
        set: |c, v, _| loss(v).map(|l| c.loss = l),
    },
    Setting {
        key: "loss.reduction",
        example: "sum",
        set: |c, v, _| reduction(v).map(|mean| c.loss = Loss::Mse { mean }),
    },
    Setting {
        key: "optimizer",
        example: "SGD(lr=0.5)",
        set: |c, v, _| optimizer(c, v),
    },
    Setting {
        key: "optimizer.lr",
        example: "0.5",
        set: |c, v, _| rate(v).map(|lr| c.learning_rate = lr),
    },
    Setting {
        key: "print_every",
        example: "2",
        set: |c, v, key| whole(v, key, 0, i64::MAX).map(|n| c.print_every = n as u64),
    },
    Setting {
        key: "print_parameters",
        example: "true",
        set: |c, v, key| flag(v, key).map(|on| c.print_parameters = on),
    },
    Setting {
        key: "seed",
        example: "3",
        set: |c, v, key| whole(v, key, 0, i64::MAX).map(|n| c.seed = n as u64),
    },
    Setting {
        key: "shuffle",
        example: "false",
        set: |c, v, key| flag(v, key).map(|on| c.shuffle = on),
    },
];

/// What others call an entry.
const OTHERS: [(&str, &str); 9] = [
    ("batch", "batch_size"),
    ("criterion", "loss"),
    ("dataset", "data"),
    ("init_std", "init.std"),
    ("initialisation", "init"),
    ("initialization", "init"),
    ("learning_rate", "optimizer.lr"),
    ("optim", "optimizer"),
    ("optimiser", "optimizer"),
];

/// The entry or part of exactly this name.
pub fn entry(key: &str) -> Option<&'static Setting> {
    ENTRIES.iter().find(|e| e.key == key)
}

/// The entry or part that a name stands for: its own, that of a part alone, or one that others use; in any style.
pub fn named(name: &str) -> Option<&'static Setting> {
    let name = plain(name);
    let other = OTHERS.iter().find(|o| plain(o.0) == name);
    let name = other.map_or(name, |o| plain(o.1));
    let mut all = ENTRIES.iter().map(|e| (plain(e.key), e));
    let whole = all.clone().find(|(key, _)| *key == name);
    let part = || all.find(|(key, _)| last(key) == name);
    whole.or_else(part).map(|(_, e)| e)
}

/// The entry or part that a mistyped name was probably meant for.
pub fn meant(name: &str) -> Option<&'static Setting> {
    if let Some(e) = named(name) {
        return Some(e);
    }
    // Whose part is meant may be wrong, as in `sgd.lr`.
    let slips = |e: &Setting| {
        let whole = closest(name, [e.key]).map(|n| n.slips);
        let part = closest(last(name), [last(e.key)]).map(|n| n.slips);
        let part = part.filter(|&slips| slips <= few(last(name)));
        whole
            .filter(|&slips| slips <= few(name))
            .into_iter()
            .chain(part)
            .min()
    };
    let near = ENTRIES.iter().filter_map(|e| Some((slips(e)?, e)));
    near.min_by_key(|(slips, e)| (*slips, e.key))
        .map(|(_, e)| e)
}

fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// What is said of an argument of torch's optimizers that lenetc's does not take, as `momentum`.
pub fn missing(name: &str) -> Option<String> {
    let name = plain(last(name));
    let gaps = super::known::optimizer_arguments();
    let torch = gaps.iter().find(|a| plain(a) == name)?;
    argument("SGD", torch).map(|gap| gap.message)
}

/// The whole entries, as a list for a help.
pub fn all() -> String {
    known(&whole_keys())
}

/// A way on from an entry that a `train` block does not have.
pub(super) fn help(key: &str) -> String {
    missing(key).unwrap_or_else(|| match nearest(key, whole_keys()) {
        Some(entry) => format!("did you mean `{entry}`?"),
        None => match named(key).and_then(|e| e.key.split_once('.')) {
            Some(("optimizer", part)) => format!("write optimizer = SGD({part}=…)"),
            _ => all(),
        },
    })
}

fn whole_keys() -> Vec<&'static str> {
    let keys = ENTRIES.iter().map(|e| e.key);
    keys.filter(|key| !key.contains('.')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::{Source, Span};
    use crate::syntax::ast::{Item, Value};

    fn read(text: &str) -> Value {
        let source = Source {
            name: "test".into(),
            text: format!("model M {{ input(1) }}\ntrain {{ value = {text} }}"),
        };
        let (file, diagnostics) = crate::syntax::parse(&source);
        assert!(diagnostics.is_empty(), "{text}");
        let Some(Item::Train(train)) = file.items.last() else {
            panic!("the text ends with train")
        };
        train.entries[0].value.clone()
    }

    /// Each entry changes the configuration, and another value of its kind would be told by the same key.
    #[test]
    fn every_entry_is_set() {
        for e in &ENTRIES {
            let mut config = Config::default();
            let set = config.set(e.key, Span::ZERO, &read(e.example));
            assert!(set.is_ok(), "{}", e.key);
            assert_ne!(config, Config::default(), "{}", e.key);
            let wrong = config.set(e.key, Span::ZERO, &read("[[1]]"));
            let code = wrong.map_err(|d| d.code);
            assert_eq!(code, Err("E0302"), "{}", e.key);
        }
        assert!(ENTRIES.is_sorted_by_key(|e| e.key) && OTHERS.is_sorted());
    }

    #[test]
    fn a_name_that_others_use_is_no_entry_and_leads_to_one() {
        for (other, key) in OTHERS {
            assert!(entry(other).is_none(), "{other}");
            assert_eq!(named(other).map(|e| e.key), Some(key));
        }
        assert!(named("lr").is_some_and(|e| e.key == "optimizer.lr"));
        assert!(named("opt").is_none() && meant("x").is_none());
    }

    #[test]
    fn what_the_optimizer_lacks_is_told() {
        for name in [
            "momentum",
            "weight_decay",
            "weight-decay",
            "optimizer.momentum",
        ] {
            let said = missing(name).unwrap_or_default();
            assert!(said.starts_with("SGD does not support `"), "{name}: {said}");
        }
        assert_eq!(missing("lr"), None);
    }

    #[test]
    fn a_block_is_helped_by_what_it_can_hold() {
        for (key, said) in [
            ("epoch", "did you mean `epochs`?"),
            ("lr", "write optimizer = SGD(lr=…)"),
            ("learning_rate", "write optimizer = SGD(lr=…)"),
            ("momentum", "SGD does not support `momentum` yet"),
        ] {
            assert_eq!(help(key), said);
        }
        assert!(help("metrics").starts_with("known are: batch_size, data, "));
    }
}
