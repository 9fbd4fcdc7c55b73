//! Arguments in torch's order: the size of the input first, which a model does not say, and sizes without names.
//!
//! What a call was meant to be is found by reading it in both orders: a reading counts where the layer accepts it. What
//! infers nothing has one order, and positions alone matter. Does not know which layers exist.

use super::{Checked, Context, evaluate};
use crate::diag::{self, Diagnostic};
use crate::ops::{ArgValue, Args, Inferred};
use crate::syntax::ast::{Arg, Call, Value as Written, ValueKind};

/// Which of the layer's arguments each of the call is for.
///
/// Refuses a call in torch's order, one whose arguments stand by position where they need names, and one that gives an
/// argument twice.
pub(super) fn assign(c: &Call, cx: &Context) -> Checked<Vec<&'static str>> {
    let s = cx.signature;
    if let Some(inferred) = &s.inferred
        && let Some(arg) = c.args.iter().find(|a| is_named(a, inferred.name))
    {
        let rest = c.args.iter().filter(|a| !is_named(a, inferred.name));
        return Err(needless(cx, inferred, arg, reading(rest, cx)));
    }
    let positional = c.args.iter().filter(|a| a.name.is_none()).count();
    if positional > s.positional {
        return Err(unnamed(c, cx));
    }
    let mut taken: Vec<&'static str> = Vec::new();
    for (k, arg) in c.args.iter().enumerate() {
        let known = match &arg.name {
            Some(n) => s.arguments.iter().find(|x| x.name == n.name),
            None => s.arguments.get(k),
        };
        match known {
            None => return Err(unnamed(c, cx)),
            Some(known) if taken.contains(&known.name) => return Err(twice_given(c, arg, cx)),
            Some(known) => taken.push(known.name),
        }
    }
    Ok(taken)
}

fn is_named(a: &Arg, name: &str) -> bool {
    a.name.as_ref().is_some_and(|n| n.name == name)
}

/// The size of the input where the layer finds it out itself; `line` is the call without it.
fn needless(cx: &Context, inferred: &Inferred, arg: &Arg, line: Option<String>) -> Box<Diagnostic> {
    let (s, what) = (cx.signature, inferred.what);
    let message = format!("{what} are inferred, so {} does not take them", s.name);
    let d = Diagnostic::error(cx.codes.call, message).at(arg.span, "to be left out");
    let help = match line {
        Some(line) => format!("write `{line}`"),
        None => cx.written(),
    };
    Box::new(d.help(help).understood())
}

/// More arguments by position than the layer takes so.
fn unnamed(c: &Call, cx: &Context) -> Box<Diagnostic> {
    let s = cx.signature;
    let message = match &s.arguments[..s.positional] {
        [] => format!("{} takes no arguments", s.name),
        all if all.len() == s.arguments.len() => {
            let most = diag::count(all.len() as u64, "argument");
            format!("{} takes at most {most}", s.name)
        }
        [only] => format!("{} takes `{}` alone by position", s.name, only.name),
        some => {
            let names: Vec<String> = some.iter().map(|a| format!("`{}`", a.name)).collect();
            format!("{} takes {} by position", s.name, names.join(" and "))
        }
    };
    let surplus = c.args.get(s.positional).map_or(c.span, |a| a.span);
    let label = match s.positional < s.arguments.len() {
        true => "has no name",
        false => "one too many",
    };
    with_readings(
        Diagnostic::error(cx.codes.call, message).at(surplus, label),
        c,
        cx,
    )
}

/// An argument by position and by name, as where `kernel_size` alone is named in torch's order.
fn twice_given(c: &Call, arg: &Arg, cx: &Context) -> Box<Diagnostic> {
    let name = arg.name.as_ref().map_or("", |n| n.name.as_str());
    let d = Diagnostic::error(cx.codes.twice, format!("`{name}` is given twice"));
    with_readings(d.at(arg.span, "again, by its name"), c, cx)
}

/// The error with how the line should read: in torch's order, in the layer's own, or both where either may be meant.
fn with_readings(d: Diagnostic, c: &Call, cx: &Context) -> Box<Diagnostic> {
    let s = cx.signature;
    let own = reading(c.args.iter(), cx);
    let torch = reading(c.args.iter().skip(1), cx);
    let (Some(first), Some(inferred), Some(torch)) = (c.args.first(), &s.inferred, torch) else {
        return Box::new(match own {
            Some(own) => d.help(format!("write `{own}`")),
            None => d.help(cx.written()),
        });
    };
    let (Some(own), true) = (own, differs(first, cx)) else {
        return needless(cx, inferred, first, Some(torch));
    };
    let (value, meant) = (&first.value, s.arguments.first().map_or("", |a| a.name));
    let torch = format!("if {value} is `{}`: leave it out, `{torch}`", inferred.name);
    Box::new(
        d.help(format!("if {value} is `{meant}`: write `{own}`"))
            .help(torch),
    )
}

/// Whether an argument is another number than the input has channels or features.
fn differs(a: &Arg, cx: &Context) -> bool {
    match (evaluate(&a.value, cx.names), cx.inputs) {
        (Ok(ArgValue::Int(n)), Some(inputs)) => n != i64::from(inputs),
        _ => false,
    }
}

/// The call with these arguments, all but the first by name; nothing where the layer refuses them.
fn reading<'a>(given: impl Iterator<Item = &'a Arg>, cx: &Context) -> Option<String> {
    let s = cx.signature;
    let mut args = Args::default();
    let mut texts = Vec::new();
    for (k, a) in given.enumerate() {
        let known = match &a.name {
            Some(n) => s.arguments.iter().find(|x| x.name == n.name),
            None => s.arguments.get(k),
        }?;
        if args.values.iter().any(|v| v.0 == known.name) {
            return None;
        }
        let value = plain(&a.value);
        args.values
            .push((known.name, evaluate(&value, cx.names).ok()?));
        texts.push(match a.name.is_none() && k < s.positional.min(1) {
            true => value.to_string(),
            false => format!("{}={value}", known.name),
        });
    }
    (cx.accepts)(&args).then(|| format!("{}({})", s.name, texts.join(", ")))
}

/// The value; a string that could be a name, as torch has `"same"`, becomes one.
fn plain(v: &Written) -> Written {
    let kind = match &v.kind {
        ValueKind::Str(text) if text == "same" => ValueKind::Name(text.clone()),
        kind => kind.clone(),
    };
    Written { kind, span: v.span }
}
