//! What `train { … }` says: keys, their values, their defaults.
//!
//! Errors E03xx: E0301 an unknown key, E0302 a value of the wrong kind, E0303 a value out of range, E0304 a
//! repeated key or argument. Knows no graph and reads no file; what a loss, an optimizer, an initialiser or a data set is
//! called and takes is theirs to say.

mod chosen;
pub mod entries;
pub mod meant;
#[cfg(test)]
mod missing;

use super::known::Kind;
use crate::data::AnyData;
use crate::diag::{Diagnostic, Span};
use crate::ops::{AnyInitialiser, AnyLoss, AnyOptimizer, AnySchedule, Real, Schedules};
use crate::syntax::ast::{Entry, Value, ValueKind};
pub use chosen::Chosen;

/// How gradients are kept small, where they are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Clip {
    /// The most that the norm of all gradients together may be.
    pub norm: Option<Real>,
    /// The most that an element may be, below zero as above.
    pub value: Option<Real>,
}

/// The entries of `train`, with defaults where they are missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub data: Option<Chosen<AnyData>>,
    pub loss: Chosen<AnyLoss>,
    pub optimizer: Chosen<AnyOptimizer>,
    /// How the learning rate changes: one after the other.
    pub schedule: Vec<Chosen<AnySchedule>>,
    pub clip: Clip,
    /// How parameters start.
    pub initial: Chosen<AnyInitialiser>,
    pub batch_size: u32,
    pub epochs: u32,
    pub shuffle: bool,
    pub seed: u64,
    /// Print the loss of every so many steps; 0 for none.
    pub print_every: u64,
    pub print_parameters: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: None,
            loss: Chosen::bare("CrossEntropyLoss"),
            optimizer: Chosen::bare("SGD"),
            schedule: vec![],
            clip: Clip::default(),
            initial: Chosen::bare("torch_default"),
            batch_size: 64,
            epochs: 10,
            shuffle: true,
            seed: 0,
            print_every: 0,
            print_parameters: false,
        }
    }
}

/// Batches beyond this are refused.
const LARGEST_BATCH: i64 = 1 << 20;

/// Reads the entries of a `train` block.
pub fn read(entries: &[Entry]) -> (Config, Vec<Diagnostic>) {
    let mut config = Config::default();
    let mut diags = Vec::new();
    for (k, e) in entries.iter().enumerate() {
        if let Some(first) = entries[..k].iter().find(|f| f.name.name == e.name.name) {
            diags.push(
                Diagnostic::error("E0304", format!("`{}` is set twice", e.name.name))
                    .at(e.name.span, "again")
                    .also(first.name.span, "first"),
            );
        } else if let Err(d) = config.set(&e.name.name, e.name.span, &e.value) {
            diags.push(*d);
        }
    }
    let schedule = entries.iter().find(|e| e.name.name == "schedule");
    if let (Some(entry), Some(message)) = (schedule, config.conflict()) {
        diags.push(Diagnostic::error("E0302", message).at(entry.value.span, ""));
    }
    (config, diags)
}

type Set<T = ()> = Result<T, Box<Diagnostic>>;

impl Config {
    /// Sets one entry, or a part of one as `optimizer.lr`: an argument of what the entry is.
    pub fn set(&mut self, key: &str, span: Span, v: &Value) -> Set {
        if let Some(entry) = entries::entry(key) {
            return (entry.set)(self, v);
        }
        if let Some((entry, part)) = key.split_once('.')
            && let Some(parts) = entries::entry(entry).and_then(|e| e.parts.as_ref())
            && let Some(signature) = (parts.current)(self)
        {
            if signature.takes(part) {
                return (parts.set)(self, part, v);
            }
            let message = entries::lacking(&signature, part);
            return Err(Box::new(Diagnostic::error("E0301", message).at(span, "")));
        }
        let d = Diagnostic::error("E0301", format!("`train` has no entry `{key}`"));
        Err(Box::new(d.at(span, "unknown").help(meant::help(key))))
    }

    /// What updates the parameters: the optimizer, with a momentum that changes where a schedule changes it.
    pub fn updates(&self) -> AnyOptimizer {
        let optimizer = self.optimizer.value();
        let cycled = self.cycles_momentum().then(|| optimizer.cycled());
        cycled.flatten().unwrap_or_else(|| optimizer.clone())
    }

    /// The schedules of the learning rate.
    pub fn schedules(&self) -> Schedules {
        let list = self.schedule.iter().map(|s| s.value().clone()).collect();
        Schedules::new(list).expect("what was set fits together")
    }

    /// What does not fit together of what is set: a sentence.
    pub fn conflict(&self) -> Option<String> {
        let optimizer = self.optimizer.signature().name;
        let fits = !self.cycles_momentum() || self.optimizer.cycled().is_some();
        (!fits).then(|| {
            format!(
                "{optimizer} has no momentum for the schedule to change: say cycle_momentum=false"
            )
        })
    }

    fn cycles_momentum(&self) -> bool {
        self.schedule.iter().any(|s| s.cycles_momentum())
    }

    /// The step size of the optimizer, before any schedule changes it.
    pub fn learning_rate(&self) -> f32 {
        self.optimizer.learning_rate().single()
    }
}

fn kind(v: &Value, message: String) -> Box<Diagnostic> {
    Box::new(Diagnostic::error("E0302", message).at(v.span, ""))
}

fn range(v: &Value, message: String) -> Box<Diagnostic> {
    Box::new(Diagnostic::error("E0303", message).at(v.span, ""))
}

fn whole(v: &Value, key: &str, least: i64, most: i64) -> Set<i64> {
    match v.kind {
        ValueKind::Int(i) if (least..=most).contains(&i) => Ok(i),
        ValueKind::Int(i) if i < least => {
            Err(range(v, format!("{key} must be {least} or more, not {i}")))
        }
        ValueKind::Int(i) => Err(range(v, format!("{key} must be {most} or less, not {i}"))),
        _ => Err(kind(v, format!("{key} must be a whole number"))),
    }
}

fn positive(v: &Value, key: &str) -> Set<Real> {
    let x = match v.kind {
        ValueKind::Int(i) => i as f64,
        ValueKind::Float(x) => x,
        _ => return Err(kind(v, format!("{key} must be a number"))),
    };
    match x > 0.0 && (x as f32).is_finite() {
        true => Ok(x.into()),
        false => Err(range(v, format!("{key} must be above 0, not {x}"))),
    }
}

/// A schedule, or a list of such as follow each other.
fn schedule(v: &Value) -> Set<Vec<Chosen<AnySchedule>>> {
    let items = match &v.kind {
        ValueKind::List(items) => &items[..],
        _ => std::slice::from_ref(v),
    };
    let list = items.iter().map(|item| Chosen::read(item, Kind::Schedule));
    let list = list.collect::<Set<Vec<Chosen<AnySchedule>>>>()?;
    let values = list.iter().map(|s| s.value().clone()).collect();
    Schedules::new(values).map_err(|(at, why)| {
        let message = format!("{} {why}", list[at].signature().name);
        kind(&items[at], message)
    })?;
    Ok(list)
}

fn flag(v: &Value, key: &str) -> Set<bool> {
    match &v.kind {
        ValueKind::Name(n) if n == "true" => Ok(true),
        ValueKind::Name(n) if n == "false" => Ok(false),
        _ => Err(kind(v, format!("{key} must be true or false"))),
    }
}
