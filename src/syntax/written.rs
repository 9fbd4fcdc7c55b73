//! A value as the canonical layout writes it, for messages that show a line as it should read.
//!
//! It does not know the text that the value was read from: parentheses that change nothing are left out.

use std::fmt;

use super::ast::{Arg, BinaryOp, Call, Entry, Value, ValueKind};

/// How tightly an operator binds its operands.
fn strength(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Add | BinaryOp::Subtract => 1,
        BinaryOp::Multiply | BinaryOp::Divide | BinaryOp::Remainder => 2,
    }
}

impl fmt::Display for BinaryOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BinaryOp::Add => "+",
            BinaryOp::Subtract => "-",
            BinaryOp::Multiply => "*",
            BinaryOp::Divide => "/",
            BinaryOp::Remainder => "%",
        })
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ValueKind::Int(i) => write!(f, "{i}"),
            ValueKind::Float(x) => write!(f, "{x:?}"),
            ValueKind::Str(text) => write!(f, "\"{text}\""),
            ValueKind::Name(name) => f.write_str(name),
            ValueKind::Tuple(items) => write!(f, "({})", list(items)),
            ValueKind::List(items) => write!(f, "[{}]", list(items)),
            ValueKind::Call(call) => call.fmt(f),
            ValueKind::Negative(inner) => write!(f, "-{}", operand(inner, 3)),
            ValueKind::Binary { op, left, right } => {
                let left = operand(left, strength(*op));
                let right = operand(right, strength(*op) + 1);
                write!(f, "{left} {op} {right}")
            }
            ValueKind::Record { name, entries } => {
                let entries: Vec<String> = entries.iter().map(Entry::to_string).collect();
                write!(f, "{} {{ {} }}", name.name, entries.join(" "))
            }
        }
    }
}

/// An operand, in parentheses where an operator in it binds less than `least`.
fn operand(value: &Value, least: u8) -> String {
    match &value.kind {
        ValueKind::Binary { op, .. } if strength(*op) < least => format!("({value})"),
        _ => value.to_string(),
    }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(T::to_string).collect();
    items.join(", ")
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.name.name, self.value)
    }
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{}={}", name.name, self.value),
            None => self.value.fmt(f),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.args.is_empty() {
            true => f.write_str(&self.name.name),
            false => write!(f, "{}({})", self.name.name, list(&self.args)),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::diag::Source;
    use crate::syntax::ast::{Item, LayerKind};

    /// The call in a model's first line, as it is written.
    fn written(call: &str) -> String {
        let source = Source {
            name: "test".into(),
            text: format!("model M {{\n{call}\n}}"),
        };
        let (file, diagnostics) = crate::syntax::parse(&source);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        let Item::Model(model) = &file.items[0] else {
            panic!("the text starts with a model")
        };
        let LayerKind::Call(call) = &model.body.layers[0].kind else {
            panic!("the layer is a call")
        };
        call.to_string()
    }

    #[test]
    fn what_is_in_the_layout_comes_back() {
        for text in [
            "A",
            "A(6, k=(5, 3), p=same, s=\"x\", b=false)",
            "A(n * (m + 1) / 2, -n, -3, 1.5)",
            "A(a - (b - c), a - b - c, a * b + c % 2)",
            "A([1, 2], f(x=1), r { x = [1] y = 2 })",
            "A(-(n + 1), k=((1, 0), (2, 2)))",
        ] {
            assert_eq!(written(text), text);
        }
    }

    #[test]
    fn parentheses_that_change_nothing_go() {
        assert_eq!(written("A((6), (n*2)+1 , )"), "A(6, n * 2 + 1)");
        assert_eq!(written("A()"), "A");
    }
}
