//! Arguments of layers and blocks: which parameter each is for, and the values of expressions.
//!
//! Does not know graphs or shapes.

use super::order::{self, Context};
use super::{Checked, Names, error};
use crate::diag::Diagnostic;
use crate::ops::{ArgError, ArgValue, Args, Signature};
use crate::passes::known;
use crate::syntax::ast::{BinaryOp, BlockDef, Call, Ident, Value as Written, ValueKind};

/// An operator's complaint about an argument, at the place where it is written.
pub(super) fn bad_argument(e: ArgError, c: &Call, s: &Signature) -> Box<Diagnostic> {
    let position = s.arguments.iter().position(|a| a.name == e.argument);
    let arg = c.args.iter().enumerate().find(|(k, a)| match &a.name {
        Some(n) => n.name == e.argument,
        None => Some(*k) == position,
    });
    let mut d = Diagnostic::error(e.code, e.message).at(arg.map_or(c.span, |(_, a)| a.span), "");
    d.understood = e.understood;
    let written = || format!("it is written {}", s.text());
    Box::new(d.help(e.help.unwrap_or_else(written)))
}

/// The arguments of a layer by the names of its signature.
pub(super) fn read_arguments(c: &Call, cx: &Context) -> Checked<Args> {
    let s = cx.signature;
    let mut given = c.args.iter().filter_map(|a| a.name.as_ref());
    if let Some(name) = given.find(|name| !cx.knows(&name.name)) {
        return Err(no_such_argument(name, s));
    }
    let mut args = Args::default();
    for (name, a) in order::assign(c, cx)?.into_iter().zip(&c.args) {
        args.values.push((name, evaluate(&a.value, cx.names)?));
    }
    let given = |name: &str| args.values.iter().any(|v| v.0 == name);
    if let Some(missing) = s
        .arguments
        .iter()
        .find(|x| x.default.is_none() && !given(x.name))
    {
        let message = format!("{} needs `{}`", s.name, missing.name);
        let d = error("E0402", message, c.span);
        return Err(Box::new(d.help(format!("it is written {}", s.text()))));
    }
    Ok(args)
}

fn no_such_argument(name: &Ident, s: &Signature) -> Box<Diagnostic> {
    if let Some(missing) = known::argument(s.name, &name.name) {
        let d = Diagnostic::error("E0402", missing.message).at(name.span, missing.label);
        let d = d.understood();
        let help = missing.help.map(String::from);
        return Box::new(d.help(help.unwrap_or_else(|| format!("it is written {}", s.text()))));
    }
    let message = format!("{} has no argument `{}`", s.name, name.name);
    let d = Diagnostic::error("E0402", message).at(name.span, "");
    Box::new(d.help(format!("it is written {}", s.text())))
}

/// What the parameters of a block stand for in one use of it.
pub(super) fn block_names(block: &BlockDef, c: &Call, outer: &Names) -> Checked<Names> {
    let mut names: Names = Vec::new();
    for (k, a) in c.args.iter().enumerate() {
        let param = match &a.name {
            Some(n) => block.params.iter().find(|p| p.name.name == n.name),
            None => block.params.get(k),
        };
        let Some(param) = param else {
            let d = Diagnostic::error(
                "E0402",
                format!("the block `{}` has no such parameter", block.name.name),
            );
            return Err(Box::new(
                d.at(a.span, "").also(block.name.span, "defined here"),
            ));
        };
        if names.iter().any(|n| n.0 == param.name.name) {
            return Err(error(
                "E0402",
                format!("`{}` is given twice", param.name.name),
                a.span,
            ));
        }
        names.push((param.name.name.clone(), evaluate(&a.value, outer)?));
    }
    for p in &block.params {
        if names.iter().all(|n| n.0 != p.name.name) {
            let Some(default) = &p.default else {
                let message = format!("the block `{}` needs `{}`", block.name.name, p.name.name);
                let d = Diagnostic::error("E0402", message).at(c.span, "");
                return Err(Box::new(d.also(p.name.span, "this parameter")));
            };
            let value = evaluate(default, &names)?;
            names.push((p.name.name.clone(), value));
        }
    }
    Ok(names)
}

/// The value of an expression; whole numbers only are computed with, and never wrap around.
pub(super) fn evaluate(v: &Written, names: &Names) -> Checked<ArgValue> {
    Ok(match &v.kind {
        ValueKind::Int(i) => ArgValue::Int(*i),
        ValueKind::Float(x) => ArgValue::Float(*x),
        ValueKind::Str(s) => ArgValue::Text(s.clone()),
        ValueKind::Name(n) => match (names.iter().rev().find(|x| x.0 == *n), n.as_str()) {
            (Some(known), _) => known.1.clone(),
            (None, "true") => ArgValue::Bool(true),
            (None, "false") => ArgValue::Bool(false),
            (None, _) => ArgValue::Name(n.clone()),
        },
        ValueKind::Tuple(items) => ArgValue::Tuple(
            items
                .iter()
                .map(|i| evaluate(i, names))
                .collect::<Checked<_>>()?,
        ),
        ValueKind::Negative(x) => match evaluate(x, names)? {
            ArgValue::Int(i) => ArgValue::Int(i.checked_neg().ok_or_else(|| overflow(v))?),
            ArgValue::Float(x) => ArgValue::Float(-x),
            other => return Err(not_a_number(x, &other)),
        },
        ValueKind::Binary { op, left, right } => {
            let int = |x: &Written| match evaluate(x, names)? {
                ArgValue::Int(i) => Ok(i),
                other => Err(not_a_number(x, &other)),
            };
            let (a, b) = (int(left)?, int(right)?);
            if b == 0 && matches!(op, BinaryOp::Divide | BinaryOp::Remainder) {
                return Err(error("E0403", "division by zero", v.span));
            }
            let result = match op {
                BinaryOp::Add => a.checked_add(b),
                BinaryOp::Subtract => a.checked_sub(b),
                BinaryOp::Multiply => a.checked_mul(b),
                BinaryOp::Divide => floor_div(a, b),
                BinaryOp::Remainder => floor_div(a, b)
                    .and_then(|q| q.checked_mul(b))
                    .and_then(|p| a.checked_sub(p)),
            };
            ArgValue::Int(result.ok_or_else(|| overflow(v))?)
        }
        ValueKind::List(_) | ValueKind::Call(_) | ValueKind::Record { .. } => {
            return Err(error(
                "E0403",
                "a layer's argument is a number, a tuple, a name or a string",
                v.span,
            ));
        }
    })
}

/// Rounds down.
fn floor_div(a: i64, b: i64) -> Option<i64> {
    let q = a.checked_div(b)?;
    let below = a % b != 0 && (a < 0) != (b < 0);
    Some(q - i64::from(below))
}

fn overflow(v: &Written) -> Box<Diagnostic> {
    error("E0403", "the result does not fit 64 bits", v.span)
}

fn not_a_number(v: &Written, found: &ArgValue) -> Box<Diagnostic> {
    let message = match found {
        ArgValue::Name(n) => format!("`{n}` is not a parameter here"),
        _ => "expressions are over whole numbers".into(),
    };
    error("E0403", message, v.span)
}
