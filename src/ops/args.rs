//! Arguments of layers, losses and all else that is written as a call, as these read them: checked against a
//! signature, without spans.
//!
//! Knows neither text nor graphs; who binds a call to a signature makes these and attaches places to errors.

mod numbers;

use std::fmt;

pub use numbers::{Real, above};

use super::window::Padding;

/// The value of an argument.
#[derive(Clone, Debug, PartialEq)]
pub enum ArgValue {
    Int(i64),
    Float(f64),
    Bool(bool),
    Name(String),
    Text(String),
    Tuple(Vec<ArgValue>),
    List(Vec<ArgValue>),
}

/// An argument that is taken; without a default it must be given.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    pub name: &'static str,
    /// The default as it is written in the docs.
    pub default: Option<&'static str>,
}

/// The size of a layer's input, which torch's layer of that name takes first and a model does not say.
#[derive(Clone, Copy, Debug)]
pub struct Inferred {
    /// As torch calls it.
    pub name: &'static str,
    /// What it counts, in words.
    pub what: &'static str,
}

/// How a layer, a loss or anything else of a registry is written.
#[derive(Clone, Copy, Debug)]
pub struct Signature {
    pub name: &'static str,
    /// In torch's order, but for what is inferred.
    pub arguments: &'static [Argument],
    /// How many of the arguments may be given by position; those behind them are named.
    pub positional: usize,
    pub inferred: Option<Inferred>,
}

impl Signature {
    /// One without arguments.
    pub fn bare(name: &'static str) -> Self {
        Self {
            name,
            arguments: &[],
            positional: 0,
            inferred: None,
        }
    }

    /// One whose arguments may all stand by position, and that infers none.
    pub fn plain(name: &'static str, arguments: &'static [Argument]) -> Self {
        Self {
            arguments,
            positional: arguments.len(),
            ..Self::bare(name)
        }
    }

    /// Whether it takes an argument of this name.
    pub fn takes(&self, argument: &str) -> bool {
        self.arguments.iter().any(|a| a.name == argument)
    }

    /// The signature as in the docs: `Conv2d(out_channels, kernel_size, stride=1)`.
    pub fn text(&self) -> String {
        let args: Vec<String> = self
            .arguments
            .iter()
            .map(|a| {
                a.default
                    .map_or(a.name.to_string(), |d| format!("{}={d}", a.name))
            })
            .collect();
        if args.is_empty() {
            self.name.into()
        } else {
            format!("{}({})", self.name, args.join(", "))
        }
    }
}

impl Argument {
    /// One that must be given.
    pub const fn required(name: &'static str) -> Self {
        Self {
            name,
            default: None,
        }
    }

    /// One with a default, as it is written in the docs. `None` means that it is not there.
    pub const fn or(name: &'static str, default: &'static str) -> Self {
        Self {
            name,
            default: Some(default),
        }
    }
}

/// What is wrong with the value of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is of another kind than is taken.
    Kind,
    /// It is of the right kind, but none of the values that are taken.
    Range,
}

/// An argument that has the wrong kind or an impossible value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgError {
    pub fault: Fault,
    /// The argument, empty for the layer as a whole.
    pub argument: &'static str,
    pub message: String,
    pub help: Option<String>,
    /// Whether what was meant is plain.
    pub understood: bool,
    /// The way from the argument into its lists to the entry that is at fault; empty for the argument as a whole.
    pub within: Vec<usize>,
}

/// The arguments of one call by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Args {
    pub values: Vec<(&'static str, ArgValue)>,
}

impl Args {
    /// The value of an argument; `None` where it is not given.
    pub fn get(&self, name: &str) -> Option<&ArgValue> {
        self.values.iter().find(|v| v.0 == name).map(|v| &v.1)
    }

    fn required(&self, name: &'static str) -> Result<&ArgValue, ArgError> {
        let missing = || wrong(name, "is missing".into());
        self.get(name).ok_or_else(missing)
    }

    /// A whole number of at least `least`.
    pub fn size(&self, name: &'static str, least: i64) -> Result<u32, ArgError> {
        number(name, self.required(name)?, least)
    }

    /// A number, or a pair for height and width.
    pub fn pair(&self, name: &'static str, least: i64) -> Result<[u32; 2], ArgError> {
        pair(name, self.required(name)?, least)
    }

    /// The same with a default.
    pub fn pair_or(
        &self,
        name: &'static str,
        least: i64,
        default: [u32; 2],
    ) -> Result<[u32; 2], ArgError> {
        self.get(name).map_or(Ok(default), |v| pair(name, v, least))
    }

    /// A whole number with a default.
    pub fn size_or(&self, name: &'static str, least: i64, default: u32) -> Result<u32, ArgError> {
        self.get(name)
            .map_or(Ok(default), |v| number(name, v, least))
    }

    /// `true` or `false`.
    pub fn flag(&self, name: &'static str, default: bool) -> Result<bool, ArgError> {
        match self.get(name) {
            None => Ok(default),
            Some(ArgValue::Bool(b)) => Ok(*b),
            Some(v) => Err(wrong(
                name,
                format!("must be true or false, not {}", describe(v)),
            )),
        }
    }

    /// A number, a pair, `((top, bottom), (left, right))`, or `same` where that is allowed.
    pub fn padding(&self, name: &'static str, same_allowed: bool) -> Result<Padding, ArgError> {
        let sides = |v: &ArgValue| match v {
            ArgValue::Tuple(_) => pair(name, v, 0),
            _ => number(name, v, 0).map(|p| [p, p]),
        };
        match self.get(name) {
            None => Ok(Padding::Sides([[0; 2]; 2])),
            Some(ArgValue::Name(n)) if n == "same" && same_allowed => Ok(Padding::Same),
            Some(ArgValue::Text(t)) if t == "same" && same_allowed => {
                let message = "is a name here, without quotes".into();
                Err(wrong(name, message).meant(format!("write {name}=same")))
            }
            Some(ArgValue::Name(n) | ArgValue::Text(n)) if n == "valid" => {
                let message = "is a number, and `valid` is none".into();
                Err(wrong(name, message).meant(format!("leave it out, or write {name}=0")))
            }
            Some(ArgValue::Name(n) | ArgValue::Text(n)) if n == "same" => Err(wrong(
                name,
                "cannot be `same` here: only a convolution keeps its size so".into(),
            )),
            Some(ArgValue::Tuple(t)) if t.len() == 2 => {
                Ok(Padding::Sides([sides(&t[0])?, sides(&t[1])?]))
            }
            Some(v @ ArgValue::Tuple(_)) => Err(wrong(
                name,
                format!(
                    "takes one value for height and one for width, not {}",
                    describe(v)
                ),
            )),
            Some(v) => sides(v).map(|s| Padding::Sides([s, s])),
        }
    }
}

impl ArgError {
    /// What was meant is plain, and is written so.
    fn meant(mut self, help: String) -> Self {
        self.help = Some(help);
        self.understood = true;
        self
    }
}

/// An error of one argument.
pub(super) fn wrong(argument: &'static str, message: String) -> ArgError {
    ArgError {
        fault: Fault::Kind,
        argument,
        message: format!("{argument} {message}"),
        help: None,
        understood: false,
        within: vec![],
    }
}

/// An error of one argument whose value is of the right kind.
pub(super) fn beyond(argument: &'static str, message: String) -> ArgError {
    ArgError {
        fault: Fault::Range,
        ..wrong(argument, message)
    }
}

fn number(name: &'static str, v: &ArgValue, least: i64) -> Result<u32, ArgError> {
    match v {
        ArgValue::Int(i) if *i < least => {
            Err(beyond(name, format!("must be at least {least}, not {i}")))
        }
        ArgValue::Int(i) => u32::try_from(*i)
            .ok()
            .filter(|&i| i <= 1 << 30)
            .ok_or_else(|| beyond(name, format!("is {i}; the largest size is 2^30"))),
        v => Err(wrong(
            name,
            format!("must be a whole number, not {}", describe(v)),
        )),
    }
}

fn pair(name: &'static str, v: &ArgValue, least: i64) -> Result<[u32; 2], ArgError> {
    match v {
        ArgValue::Tuple(t) if t.len() == 2 => {
            Ok([number(name, &t[0], least)?, number(name, &t[1], least)?])
        }
        ArgValue::Tuple(t) => Err(wrong(
            name,
            format!(
                "takes one number or (height, width), not {}",
                crate::diag::count(t.len() as u64, "value")
            ),
        )),
        v => number(name, v, least).map(|n| [n, n]),
    }
}

impl fmt::Display for ArgValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArgValue::Int(i) => write!(f, "{i}"),
            ArgValue::Float(x) => write!(f, "{x}"),
            ArgValue::Bool(b) => write!(f, "{b}"),
            ArgValue::Name(n) => f.write_str(n),
            ArgValue::Text(t) => write!(f, "\"{t}\""),
            ArgValue::Tuple(items) => write!(f, "({})", listed(items)),
            ArgValue::List(items) => write!(f, "[{}]", listed(items)),
        }
    }
}

fn listed(items: &[ArgValue]) -> String {
    let items: Vec<String> = items.iter().map(ArgValue::to_string).collect();
    items.join(", ")
}

/// A value in a message: names stand in quotes.
fn describe(v: &ArgValue) -> String {
    match v {
        ArgValue::Name(n) => format!("`{n}`"),
        v => v.to_string(),
    }
}
