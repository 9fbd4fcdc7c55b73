//! One value of a registry, as an entry of `train` names it: a loss, an optimizer, a schedule, an initialiser or a data set.
//!
//! Does not know which there are.

use std::ops::Deref;

use super::{Kind, Set, kind};
use crate::data;
use crate::diag::{Diagnostic, Span};
use crate::ops::{ArgError, Args, Registry, Signature};
use crate::passes::arguments::{self, Codes, Context, Names, evaluate};
use crate::passes::known;
use crate::syntax::ast::{Arg, Call, Entry, Ident, Value, ValueKind};

/// A value with the arguments that it was given, so that one of these can be replaced.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen<T> {
    name: &'static str,
    given: Args,
    value: T,
}

impl<T> Deref for Chosen<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Registry> Chosen<T> {
    /// The value of a name that the compiler itself knows, without arguments.
    ///
    /// Panics where there is none, or where it needs arguments.
    pub(super) fn bare(name: &str) -> Self {
        let signature = signature::<T>(name);
        let value = T::read(name, &Args::default());
        match (signature, value) {
            (Some(signature), Some(Ok(value))) => Self {
                name: signature.name,
                given: Args::default(),
                value,
            },
            _ => panic!("a bug in lenetc: {name} is no default"),
        }
    }

    /// The value itself.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// How it is written.
    pub fn signature(&self) -> Signature {
        signature::<T>(self.name).expect("what was chosen is in its registry")
    }

    /// Reads what an entry says: a name alone is a call without arguments.
    pub(super) fn read(v: &Value, which: Kind) -> Set<Self> {
        let call = call(v, which, &T::signatures())?;
        let signature = signature::<T>(&call.name.name).ok_or_else(|| {
            let names: Vec<&str> = T::signatures().iter().map(|s| s.name).collect();
            unknown(&call.name, which, &names)
        })?;
        bound(&signature, |cx| {
            let given = arguments::bind(&call, cx)?;
            Self::of(cx.signature, given).map_err(|e| arguments::refused(e, &call, cx))
        })
    }

    /// The same value with one argument, which it takes, replaced.
    pub(super) fn with(&self, argument: &str, v: &Value) -> Set<Self> {
        let signature = self.signature();
        let name = Ident {
            name: argument.into(),
            span: v.span,
        };
        let call = called(self.name, v.span, vec![named(name, v)]);
        bound(&signature, |cx| {
            let value = evaluate(v, cx.names)?;
            let mut given = self.given.clone();
            given.values.retain(|(name, _)| *name != argument);
            let known = signature.arguments.iter().find(|a| a.name == argument);
            if let Some(known) = known.filter(|a| !arguments::is_absent(&signature, a.name, &value))
            {
                given.values.push((known.name, value));
            }
            Self::of(cx.signature, given).map_err(|e| arguments::refused(e, &call, cx))
        })
    }

    fn of(signature: &Signature, given: Args) -> Result<Self, ArgError> {
        let value = T::read(signature.name, &given);
        let value = value.expect("a signature's name is in its registry")?;
        Ok(Self {
            name: signature.name,
            given,
            value,
        })
    }
}

/// Does `work` with what a call of this signature is read with.
fn bound<R>(signature: &Signature, work: impl FnOnce(&Context) -> R) -> R {
    work(&Context {
        signature,
        names: &Names::new(),
        inputs: None,
        codes: Codes::TRAIN,
        accepts: &|_| true,
    })
}

fn signature<T: Registry>(name: &str) -> Option<Signature> {
    T::signatures().into_iter().find(|s| s.name == name)
}

fn called(name: &str, span: Span, args: Vec<Arg>) -> Call {
    let name = Ident {
        name: name.into(),
        span,
    };
    Call { name, args, span }
}

fn named(name: Ident, value: &Value) -> Arg {
    Arg {
        span: value.span,
        name: Some(name),
        value: value.clone(),
    }
}

/// The call that a value is. Arguments in braces are arguments by name.
fn call(v: &Value, which: Kind, signatures: &[Signature]) -> Set<Call> {
    match &v.kind {
        ValueKind::Call(call) => Ok(call.clone()),
        ValueKind::Name(name) => Ok(called(name, v.span, vec![])),
        ValueKind::Record { name, entries } if which == Kind::Data => record(name, entries, v.span),
        _ => {
            let names: Vec<&str> = signatures.iter().map(|s| s.name).collect();
            let d = kind(v, format!("this is not {}", which.article()));
            Err(Box::new(d.help(format!("one of: {}", names.join(", ")))))
        }
    }
}

fn record(name: &Ident, entries: &[Entry], span: Span) -> Set<Call> {
    if name.name != data::BRACED {
        let message = format!("only `{}` holds data in braces", data::BRACED);
        let d = Diagnostic::error("E0302", message).at(name.span, "");
        return Err(Box::new(d));
    }
    let args = entries.iter().map(|e| Arg {
        name: Some(e.name.clone()),
        value: e.value.clone(),
        span: e.span,
    });
    Ok(Call {
        name: name.clone(),
        args: args.collect(),
        span,
    })
}

fn unknown(name: &Ident, which: Kind, names: &[&str]) -> Box<Diagnostic> {
    let answer = known::unknown(which, &name.name, names);
    let none = || format!("`{}` is not {}", name.name, which.article());
    let understood = answer.missing.is_some();
    let mut d = Diagnostic::error("E0302", answer.missing.unwrap_or_else(none));
    d.understood = understood;
    let d = d.at(name.span, answer.label);
    Box::new(answer.help.into_iter().fold(d, Diagnostic::help))
}
