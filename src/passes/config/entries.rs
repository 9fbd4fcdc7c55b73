//! The entries of `train` and their parts: the one list of entries.
//!
//! The parts of an entry are the arguments of the value that it has, as `optimizer.lr`; which these are the value's
//! signature says. Does not know how values are read.

use super::{Chosen, Config, Kind, LARGEST_BATCH, Set, flag, positive, schedule, whole};
use crate::data::AnyData;
use crate::diag::nearest::known;
use crate::ops::{AnyInitialiser, AnyLoss, AnyOptimizer, AnySchedule, Registry, Signature};
use crate::passes::known::argument;
use crate::syntax::ast::Value;

/// An entry.
pub struct Setting {
    pub key: &'static str,
    /// A value as it may be written.
    pub example: &'static str,
    pub(super) set: fn(&mut Config, &Value) -> Set,
    /// Where the value is one of a registry, its arguments.
    pub(super) parts: Option<Parts>,
}

/// The arguments of an entry's value, which `--set` alone can name.
pub(super) struct Parts {
    /// How all values of the entry are written.
    pub all: fn() -> Vec<Signature>,
    /// How the entry's value is written, if it has one.
    pub current: fn(&Config) -> Option<Signature>,
    /// Replaces one argument, which the value takes.
    pub set: fn(&mut Config, &str, &Value) -> Set,
}

/// All entries, by their names.
pub const ENTRIES: [Setting; 13] = [
    plainly("batch_size", "32", |c, v| {
        whole(v, "batch_size", 1, LARGEST_BATCH).map(|n| c.batch_size = n as u32)
    }),
    plainly("clip_grad_norm", "1.0", |c, v| {
        positive(v, "clip_grad_norm").map(|most| c.clip.norm = Some(most))
    }),
    plainly("clip_grad_value", "0.5", |c, v| {
        positive(v, "clip_grad_value").map(|most| c.clip.value = Some(most))
    }),
    Setting {
        key: "data",
        example: "mnist",
        set: |c, v| Chosen::read(v, Kind::Data).map(|data| c.data = Some(data)),
        parts: Some(Parts {
            all: AnyData::signatures,
            current: |c| c.data.as_ref().map(Chosen::signature),
            set: |c, part, v| {
                let data = c.data.as_ref().map(|data| data.with(part, v));
                c.data = data.transpose()?;
                Ok(())
            },
        }),
    },
    plainly("epochs", "5", |c, v| {
        whole(v, "epochs", 1, 1 << 30).map(|n| c.epochs = n as u32)
    }),
    Setting {
        key: "init",
        example: "zeros",
        set: |c, v| Chosen::read(v, Kind::Initialisation).map(|initial| c.initial = initial),
        parts: Some(Parts {
            all: AnyInitialiser::signatures,
            current: |c| Some(c.initial.signature()),
            set: |c, part, v| c.initial.with(part, v).map(|initial| c.initial = initial),
        }),
    },
    Setting {
        key: "loss",
        example: "MSELoss",
        set: |c, v| Chosen::read(v, Kind::Loss).map(|loss| c.loss = loss),
        parts: Some(Parts {
            all: AnyLoss::signatures,
            current: |c| Some(c.loss.signature()),
            set: |c, part, v| c.loss.with(part, v).map(|loss| c.loss = loss),
        }),
    },
    Setting {
        key: "optimizer",
        example: "SGD(lr=0.5)",
        set: |c, v| Chosen::read(v, Kind::Optimizer).map(|optimizer| c.optimizer = optimizer),
        parts: Some(Parts {
            all: AnyOptimizer::signatures,
            current: |c| Some(c.optimizer.signature()),
            set: |c, part, v| {
                c.optimizer
                    .with(part, v)
                    .map(|optimizer| c.optimizer = optimizer)
            },
        }),
    },
    plainly("print_every", "2", |c, v| {
        whole(v, "print_every", 0, i64::MAX).map(|n| c.print_every = n as u64)
    }),
    plainly("print_parameters", "true", |c, v| {
        flag(v, "print_parameters").map(|on| c.print_parameters = on)
    }),
    Setting {
        key: "schedule",
        example: "ExponentialLR(0.9)",
        set: |c, v| schedule(v).map(|list| c.schedule = list),
        parts: Some(Parts {
            all: AnySchedule::signatures,
            // The parts of several would have one name.
            current: |c| match &c.schedule[..] {
                [one] => Some(one.signature()),
                _ => None,
            },
            set: |c, part, v| {
                let list = c.schedule.iter().map(|one| one.with(part, v));
                c.schedule = list.collect::<Set<_>>()?;
                Ok(())
            },
        }),
    },
    plainly("seed", "3", |c, v| {
        whole(v, "seed", 0, i64::MAX).map(|n| c.seed = n as u64)
    }),
    plainly("shuffle", "false", |c, v| {
        flag(v, "shuffle").map(|on| c.shuffle = on)
    }),
];

/// An entry without parts.
const fn plainly(
    key: &'static str,
    example: &'static str,
    set: fn(&mut Config, &Value) -> Set,
) -> Setting {
    Setting {
        key,
        example,
        set,
        parts: None,
    }
}

/// The entry of exactly this name.
pub fn entry(key: &str) -> Option<&'static Setting> {
    const { &ENTRIES }.iter().find(|e| e.key == key)
}

/// What is said of an argument that a value does not take.
pub(super) fn lacking(owner: &Signature, part: &str) -> String {
    let gap = argument(owner.name, part).map(|gap| gap.message);
    gap.unwrap_or_else(|| format!("{} has no argument `{part}`", owner.name))
}

/// The entries, as a list for a help.
pub fn all() -> String {
    known(&keys())
}

pub(super) fn keys() -> Vec<&'static str> {
    ENTRIES.iter().map(|e| e.key).collect()
}

#[cfg(test)]
pub(super) mod tests {
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
        assert!(ENTRIES.is_sorted_by_key(|e| e.key));
    }

    /// Sets an entry or a part; what is said where that fails.
    pub fn set(config: &mut Config, key: &str, value: &str) -> Result<(), String> {
        let set = config.set(key, Span::ZERO, &read(value));
        set.map_err(|d| format!("{}: {}", d.code, d.message))
    }

    #[test]
    fn a_part_replaces_one_argument_of_the_value_that_is_there() {
        let mut config = Config::default();
        set(&mut config, "init", "normal(std=1)").expect("is taken");
        set(&mut config, "init.std", "0.5").expect("is taken");
        let mut other = Config::default();
        set(&mut other, "init", "normal(std=0.5)").expect("is taken");
        assert_eq!(config, other);
        for (key, value, said) in [
            ("init.std", "-1", "E0303: std must be above 0, not -1"),
            (
                "init.std",
                "much",
                "E0302: std must be a number, not `much`",
            ),
            ("init.value", "1", "E0301: normal has no argument `value`"),
            ("seed.x", "1", "E0301: `train` has no entry `seed.x`"),
            (
                "data.path",
                "\"a\"",
                "E0301: `train` has no entry `data.path`",
            ),
        ] {
            assert_eq!(set(&mut config, key, value), Err(said.into()));
            assert_eq!(config, other, "{key}");
        }
        set(&mut config, "data", "idx(\"a\")").expect("is taken");
        set(&mut config, "data.path", "\"b\"").expect("is taken");
        set(&mut other, "data", "idx(\"b\")").expect("is taken");
        assert_eq!(config, other);
    }

    /// The default that a signature shows is the one that is taken.
    #[test]
    fn a_default_is_what_the_signature_says() {
        for e in &ENTRIES {
            let Some(parts) = &e.parts else { continue };
            for owner in (parts.all)() {
                let required = owner.arguments.iter().filter(|a| a.default.is_none());
                if required.count() > 0 {
                    continue;
                }
                let mut bare = Config::default();
                set(&mut bare, e.key, owner.name).expect("is taken");
                for argument in owner.arguments {
                    let mut given = Config::default();
                    let default = argument.default.unwrap_or_default();
                    let text = format!("{}({}={default})", owner.name, argument.name);
                    set(&mut given, e.key, &text).expect("is taken");
                    let values = |c: &Config| {
                        let data = c.data.as_ref().map(|data| data.value().clone());
                        let (loss, optimizer) = (c.loss.value(), c.optimizer.value());
                        let schedule = c.schedules();
                        format!(
                            "{data:?} {loss:?} {optimizer:?} {schedule:?} {:?}",
                            c.initial.value()
                        )
                    };
                    assert_eq!(values(&given), values(&bare), "{text}");
                }
            }
        }
    }
}
