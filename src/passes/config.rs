//! What `train { … }` says: keys, their values, their defaults.
//!
//! Errors E03xx: E0301 an unknown key, E0302 a value of the wrong kind, E0303 a value out of range, E0304 a
//! repeated key. Knows no graph and reads no file.

#[cfg(test)]
mod missing;

use super::known::{self, Kind};
use crate::diag::{self, Diagnostic, Span};
use crate::syntax::ast::{Arg, Call, Entry, Value, ValueKind};

/// Where examples come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    FashionMnist,
    Mnist,
    /// A folder of IDX files, relative to the model's.
    Idx(String),
    /// A file of arrays, relative to the model's.
    Npz(String),
    Inline {
        x: Array,
        y: Array,
    },
}

/// Numbers that are written in the model.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Array {
    pub values: Vec<f32>,
    pub shape: Vec<usize>,
}

/// The loss of an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    CrossEntropy,
    /// Mean over all elements of the batch, or the sum.
    Mse {
        mean: bool,
    },
}

/// How parameters start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initial {
    /// U(±√(6 / (fan_in + fan_out))) (Glorot and Bengio, 2010); biases as in `TorchDefault`.
    XavierUniform,
    /// U(±1/√fan_in), weights and biases.
    TorchDefault,
    Constant(f32),
    /// Weights; biases as in `TorchDefault`.
    Normal {
        std: f32,
    },
}

/// The entries of `train`, with defaults where they are missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub data: Option<Data>,
    /// Where the data is named.
    pub data_span: Span,
    pub loss: Loss,
    pub learning_rate: f32,
    pub initial: Initial,
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
            data_span: Span::ZERO,
            loss: Loss::CrossEntropy,
            learning_rate: 0.1,
            initial: Initial::TorchDefault,
            batch_size: 64,
            epochs: 10,
            shuffle: true,
            seed: 0,
            print_every: 0,
            print_parameters: false,
        }
    }
}

const KEYS: [&str; 10] = [
    "data",
    "loss",
    "optimizer",
    "init",
    "batch_size",
    "epochs",
    "shuffle",
    "seed",
    "print_every",
    "print_parameters",
];
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
    (config, diags)
}

type Set<T = ()> = Result<T, Box<Diagnostic>>;

impl Config {
    /// Sets one entry; `key` may name a part, as `optimizer.lr`.
    pub fn set(&mut self, key: &str, span: Span, v: &Value) -> Set {
        match key {
            "data" => {
                self.data = Some(data(v)?);
                self.data_span = v.span;
            }
            "loss" => self.loss = loss(v)?,
            "loss.reduction" => {
                self.loss = Loss::Mse {
                    mean: reduction(v)?,
                }
            }
            "optimizer" => {
                let call = call(v, &["SGD"], Kind::Optimizer)?;
                let [lr] = arguments(&call, ["lr"])?;
                if let Some(lr) = lr {
                    self.learning_rate = rate(lr)?;
                }
            }
            "optimizer.lr" => self.learning_rate = rate(v)?,
            "init" => self.initial = initial(v)?,
            "init.std" => {
                self.initial = Initial::Normal {
                    std: positive(v, "std")?,
                }
            }
            "init.value" => self.initial = Initial::Constant(number(v, "value")?),
            "batch_size" => self.batch_size = whole(v, key, 1, LARGEST_BATCH)? as u32,
            "epochs" => self.epochs = whole(v, key, 1, 1 << 30)? as u32,
            "shuffle" => self.shuffle = flag(v, key)?,
            "seed" => self.seed = whole(v, key, 0, i64::MAX)? as u64,
            "print_every" => self.print_every = whole(v, key, 0, i64::MAX)? as u64,
            "print_parameters" => self.print_parameters = flag(v, key)?,
            _ => {
                let d = Diagnostic::error("E0301", format!("`train` has no entry `{key}`"));
                let d = d.at(span, "unknown");
                return Err(Box::new(d.help(super::suggest(key, &KEYS))));
            }
        }
        Ok(())
    }
}

fn kind(v: &Value, message: String, help: &str) -> Box<Diagnostic> {
    let d = Diagnostic::error("E0302", message).at(v.span, "");
    Box::new(if help.is_empty() { d } else { d.help(help) })
}

fn range(v: &Value, message: String) -> Box<Diagnostic> {
    Box::new(Diagnostic::error("E0303", message).at(v.span, ""))
}

fn whole(v: &Value, key: &str, least: i64, most: i64) -> Set<i64> {
    match v.kind {
        ValueKind::Int(i) if (least..=most).contains(&i) => Ok(i),
        ValueKind::Int(i) => Err(range(
            v,
            format!("{key} must be {least} to {most}, not {i}"),
        )),
        _ => Err(kind(v, format!("{key} must be a whole number"), "")),
    }
}

fn number(v: &Value, key: &str) -> Set<f32> {
    let x = match v.kind {
        ValueKind::Int(i) => i as f64,
        ValueKind::Float(x) => x,
        _ => return Err(kind(v, format!("{key} must be a number"), "")),
    };
    if (x as f32).is_finite() {
        Ok(x as f32)
    } else {
        Err(range(v, format!("{key} is beyond the range of f32")))
    }
}

fn positive(v: &Value, key: &str) -> Set<f32> {
    let x = number(v, key)?;
    if x > 0.0 {
        Ok(x)
    } else {
        Err(range(v, format!("{key} must be above 0, not {x}")))
    }
}

fn rate(v: &Value) -> Set<f32> {
    positive(v, "lr")
}

fn flag(v: &Value, key: &str) -> Set<bool> {
    match &v.kind {
        ValueKind::Name(n) if n == "true" => Ok(true),
        ValueKind::Name(n) if n == "false" => Ok(false),
        _ => Err(kind(v, format!("{key} must be true or false"), "")),
    }
}

/// A name alone is a call without arguments. The callee must be one of `names`.
fn call(v: &Value, names: &[&str], which: Kind) -> Set<Call> {
    let what = match which {
        Kind::Layer => "a layer",
        Kind::Loss => "a loss",
        Kind::Optimizer => "an optimizer",
        Kind::Initialisation => "an initialisation",
        Kind::Data => "a data set",
    };
    let call = match &v.kind {
        ValueKind::Call(c) => c.clone(),
        ValueKind::Name(name) => Call {
            name: crate::syntax::ast::Ident {
                name: name.clone(),
                span: v.span,
            },
            args: vec![],
            span: v.span,
        },
        _ => {
            let help = format!("one of: {}", names.join(", "));
            return Err(kind(v, format!("this is not {what}"), &help));
        }
    };
    if names.contains(&call.name.name.as_str()) {
        return Ok(call);
    }
    let answer = known::unknown(which, &call.name.name, names);
    let none = || format!("`{}` is not {what}", call.name.name);
    let d = Diagnostic::error("E0302", answer.missing.unwrap_or_else(none));
    let d = d.at(call.name.span, answer.label);
    Err(Box::new(answer.help.into_iter().fold(d, Diagnostic::help)))
}

/// The arguments in the order of `names`, whether given by position or by name.
fn arguments<'a, const N: usize>(call: &'a Call, names: [&str; N]) -> Set<[Option<&'a Value>; N]> {
    let mut values = [None; N];
    for (k, arg) in call.args.iter().enumerate() {
        let at = match &arg.name {
            Some(name) => names.iter().position(|n| *n == name.name),
            None => Some(k).filter(|&k| k < N),
        };
        let Some(slot) = at.map(|at| &mut values[at]) else {
            return Err(no_argument(&call.name.name, arg, &names));
        };
        if slot.replace(&arg.value).is_some() {
            let d = Diagnostic::error("E0304", "this argument is given twice").at(arg.span, "");
            return Err(Box::new(d));
        }
    }
    Ok(values)
}

/// An argument that is none of `names`, or one more than there are.
fn no_argument(owner: &str, arg: &Arg, names: &[&str]) -> Box<Diagnostic> {
    let gap = arg
        .name
        .as_ref()
        .and_then(|n| known::argument(owner, &n.name));
    let message = match (&arg.name, names.len()) {
        (Some(n), _) => format!("{owner} has no argument `{}`", n.name),
        (None, 0) => format!("{owner} takes no arguments"),
        (None, n) => format!(
            "{owner} takes at most {}",
            diag::count(n as u64, "argument")
        ),
    };
    let written = match names {
        [] => format!("it is written {owner}"),
        names => format!("it is written {owner}({})", names.join(", ")),
    };
    let (message, label, help) = match gap {
        Some(gap) => (gap.message, gap.label, gap.help.map(String::from)),
        None => (message, "", None),
    };
    let d = Diagnostic::error("E0302", message).at(arg.span, label);
    Box::new(d.help(help.unwrap_or(written)))
}

fn loss(v: &Value) -> Set<Loss> {
    let call = call(v, &["CrossEntropyLoss", "MSELoss"], Kind::Loss)?;
    if call.name.name == "CrossEntropyLoss" {
        let [] = arguments(&call, [])?;
        return Ok(Loss::CrossEntropy);
    }
    let [how] = arguments(&call, ["reduction"])?;
    Ok(Loss::Mse {
        mean: how.map_or(Ok(true), reduction)?,
    })
}

fn reduction(v: &Value) -> Set<bool> {
    match &v.kind {
        ValueKind::Name(n) | ValueKind::Str(n) if n == "mean" => Ok(true),
        ValueKind::Name(n) | ValueKind::Str(n) if n == "sum" => Ok(false),
        _ => Err(kind(v, "reduction must be mean or sum".into(), "")),
    }
}

fn initial(v: &Value) -> Set<Initial> {
    let names = [
        "xavier_uniform",
        "torch_default",
        "zeros",
        "constant",
        "normal",
    ];
    let call = call(v, &names, Kind::Initialisation)?;
    let missing = |what: &str| {
        let message = format!("{} needs {what}", call.name.name);
        Box::new(Diagnostic::error("E0302", message).at(call.span, format!("{what} is missing")))
    };
    match call.name.name.as_str() {
        "constant" => {
            let [value] = arguments(&call, ["value"])?;
            number(value.ok_or_else(|| missing("value"))?, "value").map(Initial::Constant)
        }
        "normal" => {
            let [std] = arguments(&call, ["std"])?;
            let std = positive(std.ok_or_else(|| missing("std"))?, "std")?;
            Ok(Initial::Normal { std })
        }
        name => {
            let [] = arguments(&call, [])?;
            Ok(match name {
                "xavier_uniform" => Initial::XavierUniform,
                "zeros" => Initial::Constant(0.0),
                _ => Initial::TorchDefault,
            })
        }
    }
}

fn data(v: &Value) -> Set<Data> {
    if let ValueKind::Record { name, entries } = &v.kind {
        if name.name != "inline" {
            let d = Diagnostic::error("E0302", "only `inline` holds data in braces");
            return Err(Box::new(d.at(name.span, "")));
        }
        return inline(v, entries);
    }
    let call = call(v, &["fashion_mnist", "mnist", "idx", "npz"], Kind::Data)?;
    let path = |what: &str| -> Set<String> {
        let [path] = arguments(&call, ["path"])?;
        match path.map(|p| &p.kind) {
            Some(ValueKind::Str(s)) => Ok(s.clone()),
            _ => Err(kind(
                v,
                format!("{} needs the name of {what}", call.name.name),
                "",
            )),
        }
    };
    Ok(match call.name.name.as_str() {
        "idx" => Data::Idx(path("a folder, in quotes")?),
        "npz" => Data::Npz(path("a file, in quotes")?),
        name => {
            let [] = arguments(&call, [])?;
            if name == "mnist" {
                Data::Mnist
            } else {
                Data::FashionMnist
            }
        }
    })
}

fn inline(v: &Value, entries: &[Entry]) -> Set<Data> {
    let [mut x, mut y] = [None, None];
    for e in entries {
        let slot = match e.name.name.as_str() {
            "x" => &mut x,
            "y" => &mut y,
            other => {
                let d = Diagnostic::error("E0301", format!("inline data has no `{other}`"));
                return Err(Box::new(d.at(e.name.span, "only x and y")));
            }
        };
        if slot.replace(array(&e.value)?).is_some() {
            let d = Diagnostic::error("E0304", format!("`{}` is set twice", e.name.name));
            return Err(Box::new(d.at(e.name.span, "again")));
        }
    }
    match (x, y) {
        (Some(x), Some(y)) => Ok(Data::Inline { x, y }),
        _ => Err(kind(v, "inline data needs x and y".into(), "")),
    }
}

/// A list of lists of … of numbers, all of one shape.
fn array(v: &Value) -> Set<Array> {
    let mut shape = Vec::new();
    let mut first = v;
    while let ValueKind::List(items) = &first.kind {
        shape.push(items.len());
        match items.first() {
            Some(item) => first = item,
            None => return Err(kind(v, "a list of data is empty".into(), "")),
        }
    }
    let mut out = Array {
        values: Vec::new(),
        shape,
    };
    fill(v, 0, &mut out)?;
    Ok(out)
}

fn fill(v: &Value, depth: usize, out: &mut Array) -> Set {
    match (&v.kind, out.shape.get(depth)) {
        (ValueKind::List(items), Some(&n)) if items.len() == n => {
            items.iter().try_for_each(|i| fill(i, depth + 1, out))
        }
        (ValueKind::List(items), Some(&n)) => Err(kind(
            v,
            format!(
                "this row has {}, those before it {n}",
                diag::count(items.len() as u64, "entry")
            ),
            "",
        )),
        (ValueKind::Int(_) | ValueKind::Float(_), None) => {
            out.values.push(number(v, "data")?);
            Ok(())
        }
        _ => Err(kind(
            v,
            "data must be numbers in rows of equal length".into(),
            "",
        )),
    }
}
