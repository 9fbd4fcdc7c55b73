//! The values of expressions.
//!
//! Does not know what they are given to.

use super::{Checked, Names, error};
use crate::diag::Diagnostic;
use crate::ops::ArgValue;
use crate::syntax::ast::{BinaryOp, Value as Written, ValueKind};

/// The value of an expression; whole numbers only are computed with, and never wrap around.
pub fn evaluate(v: &Written, names: &Names) -> Checked<ArgValue> {
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
        ValueKind::Tuple(items) => ArgValue::Tuple(all(items, names)?),
        ValueKind::List(items) => ArgValue::List(all(items, names)?),
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
        ValueKind::Call(_) | ValueKind::Record { .. } => {
            let message = "an argument is a number, a tuple, a list, a name or a string";
            return Err(error("E0403", message, v.span));
        }
    })
}

fn all(items: &[Written], names: &Names) -> Checked<Vec<ArgValue>> {
    items.iter().map(|item| evaluate(item, names)).collect()
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
