//! The entries of `train` and their parts: the one list of entries, and what a mistyped one was meant to be.
//!
//! The parts of an entry are the arguments of the value that it has, as `optimizer.lr`; which these are the value's
//! signature says. Does not know how values are read.

use super::{Chosen, Config, Kind, LARGEST_BATCH, Set, flag, positive, schedule, whole};
use crate::data::{AnyData, BRACED};
use crate::diag::nearest::{closest, few, known, nearest, plain};
use crate::ops::{
    AnyInitialiser, AnyLoss, AnyOptimizer, AnySchedule, Argument, Registry, Signature,
};
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
    all: fn() -> Vec<Signature>,
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

/// The entry of exactly this name.
pub fn entry(key: &str) -> Option<&'static Setting> {
    const { &ENTRIES }.iter().find(|e| e.key == key)
}

/// An entry or a part of one, which some text was meant for.
#[derive(Clone, Debug)]
pub struct Meant {
    entry: &'static str,
    /// Where it is a part, whose and which argument.
    part: Option<Part>,
    example: String,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    owner: Signature,
    argument: Argument,
    /// Whether the owner is what the entry is set to.
    current: bool,
}

/// An entry as it is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// As `optimizer.lr`.
    pub key: String,
    pub value: String,
}

impl Meant {
    fn whole(setting: &Setting) -> Self {
        Self {
            entry: setting.key,
            part: None,
            example: setting.example.into(),
        }
    }

    /// As `optimizer.lr`.
    pub fn key(&self) -> String {
        match &self.part {
            Some(part) => format!("{}.{}", self.entry, part.argument.name),
            None => self.entry.into(),
        }
    }

    /// The value of this name in any style, as `Adam` for `adam`, where an entry's values have names.
    pub fn named(&self, value: &str) -> Option<&'static str> {
        let entry = entry(self.entry).filter(|_| self.part.is_none())?;
        let all = (entry.parts.as_ref()?.all)();
        let same = all.iter().find(|s| plain(s.name) == plain(value));
        same.map(|s| s.name)
    }

    /// How it is set to a value, else to an example. What the value of the entry does not take needs another value.
    pub fn written(&self, value: Option<&str>) -> Written {
        let value = value.unwrap_or(&self.example);
        match &self.part {
            Some(part) if !part.current => Written {
                key: self.entry.into(),
                value: format!("{}({}={value})", part.owner.name, part.argument.name),
            },
            _ => Written {
                key: self.key(),
                value: value.into(),
            },
        }
    }
}

/// All entries and parts that there can be: those of what the configuration has before others of the same name.
pub fn all_of(config: &Config) -> Vec<Meant> {
    let mut all: Vec<Meant> = const { &ENTRIES }.iter().map(Meant::whole).collect();
    for (entry, parts) in const { &ENTRIES }
        .iter()
        .filter_map(|e| Some((e, e.parts.as_ref()?)))
    {
        let current = (parts.current)(config);
        let is_current = |s: &Signature| current.is_some_and(|c| c.name == s.name);
        // What stands in braces is too long for a command line.
        let mut owners: Vec<Signature> = (parts.all)();
        owners.retain(|s| s.name != BRACED);
        owners.sort_by_key(|s| !is_current(s));
        for owner in owners {
            let arguments = owner.arguments.iter().map(|&argument| Meant {
                entry: entry.key,
                example: argument.default.unwrap_or("…").into(),
                part: Some(Part {
                    owner,
                    argument,
                    current: is_current(&owner),
                }),
            });
            let new: Vec<Meant> = arguments
                .filter(|m| all.iter().all(|other| other.key() != m.key()))
                .collect();
            all.extend(new);
        }
    }
    all
}

/// The entry or part that a name stands for: its own, that of a part alone, or one that others use; in any style.
pub fn named(name: &str, config: &Config) -> Option<Meant> {
    let name = plain(name);
    let other = OTHERS.iter().find(|o| plain(o.0) == name);
    let name = other.map_or(name, |o| plain(o.1));
    let all = all_of(config);
    let whole = all.iter().find(|m| plain(&m.key()) == name);
    let part = || all.iter().find(|m| last(&plain(&m.key())) == name);
    whole.or_else(part).cloned()
}

/// The entry or part that a mistyped name was probably meant for.
pub fn meant(name: &str, config: &Config) -> Option<Meant> {
    if let Some(meant) = named(name, config) {
        return Some(meant);
    }
    // Whose part is meant may be wrong, as in `sgd.lr`.
    let slips = |key: &str| {
        let whole = closest(name, [key]).map(|n| n.slips);
        let part = closest(last(name), [last(key)]).map(|n| n.slips);
        let part = part.filter(|&slips| slips <= few(last(name)));
        whole
            .filter(|&slips| slips <= few(name))
            .into_iter()
            .chain(part)
            .min()
    };
    let near = all_of(config).into_iter().filter_map(|m| {
        let slips = slips(&m.key())?;
        Some((slips, m))
    });
    near.min_by_key(|(slips, m)| (*slips, m.key()))
        .map(|(_, m)| m)
}

fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// What is said of an argument of torch's optimizer that the one here does not take, as `maximize`, where none takes it.
pub fn missing(name: &str, config: &Config) -> Option<String> {
    let name = plain(last(name));
    let owner = config.optimizer.signature();
    let torch = super::super::known::arguments(owner.name);
    let torch = torch.iter().find(|a| plain(a) == name)?;
    let mut signatures = AnyOptimizer::signatures().into_iter();
    match signatures.any(|s| s.takes(torch)) {
        true => None,
        false => argument(owner.name, torch).map(|gap| gap.message),
    }
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

/// A way on from an entry that a `train` block does not have.
pub(super) fn help(key: &str) -> String {
    let config = Config::default();
    missing(key, &config).unwrap_or_else(|| match nearest(key, keys()) {
        Some(entry) => format!("did you mean `{entry}`?"),
        None => match named(key, &config) {
            Some(Meant {
                entry,
                part: Some(part),
                ..
            }) => format!(
                "write {entry} = {}({}=…)",
                part.owner.name, part.argument.name
            ),
            _ => all(),
        },
    })
}

fn keys() -> Vec<&'static str> {
    ENTRIES.iter().map(|e| e.key).collect()
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

    fn set(config: &mut Config, key: &str, value: &str) -> Result<(), String> {
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

    #[test]
    fn a_name_that_others_use_is_no_entry_and_leads_to_one() {
        let config = Config::default();
        for (other, key) in OTHERS {
            assert!(entry(other).is_none(), "{other}");
            assert_eq!(named(other, &config).map(|m| m.key()), Some(key.into()));
        }
        let rate = named("lr", &config).map(|m| m.key());
        assert_eq!(rate, Some("optimizer.lr".into()));
        assert!(named("opt", &config).is_none() && meant("x", &config).is_none());
    }

    #[test]
    fn what_needs_another_value_is_written_with_it() {
        let mut config = Config::default();
        let written = |config: &Config| {
            let std = named("std", config).expect("normal takes it");
            let Written { key, value } = std.written(Some("0.5"));
            format!("{key}={value}")
        };
        assert_eq!(written(&config), "init=normal(std=0.5)");
        set(&mut config, "init", "normal(std=1)").expect("is taken");
        assert_eq!(written(&config), "init.std=0.5");
    }

    #[test]
    fn what_the_optimizer_lacks_is_told() {
        let config = Config::default();
        for name in ["maximize", "Maximize", "optimizer.maximize"] {
            let said = missing(name, &config).unwrap_or_default();
            assert!(said.starts_with("SGD does not support `"), "{name}: {said}");
        }
        assert_eq!(missing("lr", &config), None);
    }

    #[test]
    fn a_block_is_helped_by_what_it_can_hold() {
        for (key, said) in [
            ("epoch", "did you mean `epochs`?"),
            ("lr", "write optimizer = SGD(lr=…)"),
            ("learning_rate", "write optimizer = SGD(lr=…)"),
            ("momentum", "write optimizer = SGD(momentum=…)"),
            ("maximize", "SGD does not support `maximize` yet"),
        ] {
            assert_eq!(help(key), said);
        }
        assert!(help("metrics").starts_with("known are: batch_size, clip_grad_norm, "));
    }
}
