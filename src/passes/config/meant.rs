//! What a mistyped entry of `train`, or a part of one, was meant to be.
//!
//! Knows which entries there are and which parts they can have, but not how values are read.

use super::Config;
use super::entries::{ENTRIES, Setting, all, entry, keys};
use crate::data::BRACED;
use crate::diag::nearest::{closest, few, nearest, plain};
use crate::ops::{AnyOptimizer, Argument, Registry, Signature};
use crate::passes::known::{argument, arguments};

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
    let torch = arguments(owner.name);
    let torch = torch.iter().find(|a| plain(a) == name)?;
    let mut signatures = AnyOptimizer::signatures().into_iter();
    match signatures.any(|s| s.takes(torch)) {
        true => None,
        false => argument(owner.name, torch).map(|gap| gap.message),
    }
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

#[cfg(test)]
mod tests {
    use super::super::entries::entry;
    use super::super::entries::tests::set;
    use super::*;

    #[test]
    fn a_name_that_others_use_is_no_entry_and_leads_to_one() {
        let config = Config::default();
        assert!(OTHERS.is_sorted());
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
