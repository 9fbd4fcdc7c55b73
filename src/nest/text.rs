//! Prints a nest as the formulas that it holds.

use std::fmt::Write;

use super::affine::{Affine, Comparison};
use super::formula::*;
use super::functions::Written;
use crate::lines;

/// The nest as text, ending in a newline.
pub fn text(n: &Nest) -> String {
    let p = Printer { n };
    let mut out = format!("nest {} {{\n", n.name);
    for t in &n.tensors {
        let role = match t.role {
            TensorRole::Input(_) => "in",
            TensorRole::Output(_) => "out",
            TensorRole::Temp => "temp",
        };
        let _ = writeln!(out, "    {role} {}: {}", t.name, t.ty);
    }
    for s in &n.stages {
        p.stage(&mut out, s);
    }
    out.push_str("}\n");
    out
}

/// A line that starts so many columns in; what does not fit goes on eight further in.
fn line(out: &mut String, indent: usize, text: &str) {
    let pad = " ".repeat(indent);
    let rest = format!("{pad}        ");
    out.push_str(&lines::wrap(&format!("{pad}{text}"), &rest));
    out.push('\n');
}

struct Printer<'a> {
    n: &'a Nest,
}

impl Printer<'_> {
    fn stage(&self, out: &mut String, s: &Stage) {
        let axes: Vec<AxisId> = self.n.shared.iter().chain(&s.own).copied().collect();
        line(out, 4, &format!("for {} {{", self.axes(&axes)));
        if s.combine != Combine::None {
            let name = match s.combine {
                Combine::Sum => "sum",
                Combine::Max => "max",
                Combine::ArgMaxFirst => "argmax_first",
                Combine::None => "",
            };
            line(
                out,
                8,
                &format!("acc = {name} over {}", self.axes(&s.reduce)),
            );
            for c in &s.domain {
                let condition = match c {
                    Constraint::Zero(a) => a.zero(),
                    Constraint::NonNegative(a) => a.non_negative(),
                };
                let condition = condition_text(&condition, |v| self.axis(v).to_string());
                line(out, 12, &format!("where {condition}"));
            }
            line(out, 12, &format!("of {}", self.expr(s, s.body)));
        }
        for (o, v) in s.outs.iter().zip(&s.finish) {
            let text = format!("{} = {}", self.access(o), self.expr(s, *v));
            line(out, 8, &text);
        }
        out.push_str("    }\n");
    }

    fn axes(&self, axes: &[AxisId]) -> String {
        let names: Vec<String> = axes
            .iter()
            .map(|&a| match self.n.extent(a) {
                Extent::Static(e) => format!("{}<{e}", self.axis(a)),
                Extent::Batch => format!("{}<N", self.axis(a)),
            })
            .collect();
        names.join(", ")
    }

    fn axis(&self, a: AxisId) -> &str {
        &self.n.axes[a.0 as usize].name
    }

    fn affine(&self, a: &Affine<AxisId>) -> String {
        affine_text(a, |v| self.axis(v).to_string())
    }

    fn access(&self, a: &Access) -> String {
        let index: Vec<String> = a
            .index
            .iter()
            .map(|i| match i {
                Index::Affine(a) => self.affine(a),
                Index::Lookup(t, a) => {
                    format!("{}[{}]", self.n.tensors[t.0 as usize].name, self.affine(a))
                }
            })
            .collect();
        format!(
            "{}[{}]",
            self.n.tensors[a.tensor.0 as usize].name,
            index.join(", ")
        )
    }

    fn expr(&self, s: &Stage, e: ExprId) -> String {
        match &s.exprs[e.0 as usize] {
            Expr::Const(bits) => number_text(*bits),
            Expr::Scalar(x) => x.name().into(),
            Expr::Axis(a) => self.affine(a),
            Expr::Load(a) => self.access(a),
            Expr::Acc(0) => "acc".into(),
            Expr::Acc(k) => format!("acc.{k}"),
            Expr::Random { stream, element } => {
                format!("random({stream}: {})", self.affine(element))
            }
            Expr::Unary(f, x) => format!("{}({})", f.name(), self.expr(s, *x)),
            Expr::Binary(f, a, b) => {
                let text = f.text(&self.expr(s, *a), &self.expr(s, *b));
                match f.written() {
                    Written::Sign(_) => format!("({text})"),
                    Written::Name(_) => text,
                }
            }
            Expr::Select(c, [a, b, yes, no]) => format!(
                "({} {} {} ? {} : {})",
                self.expr(s, *a),
                c.sign(),
                self.expr(s, *b),
                self.expr(s, *yes),
                self.expr(s, *no)
            ),
        }
    }
}

/// An affine expression as text, as an index has it: `2*i+r-1`.
pub(super) fn affine_text<V: super::Symbol>(a: &Affine<V>, name: impl Fn(V) -> String) -> String {
    sum_text(a, name, "")
}

/// A condition as text: `i + r <= 29`.
pub(super) fn condition_text<V: super::Symbol>(
    c: &Comparison<V>,
    name: impl Fn(V) -> String,
) -> String {
    let [left, right] = [&c.left, &c.right].map(|side| sum_text(side, &name, " "));
    format!("{left} {} {right}", c.sign)
}

/// A sum with `space` around its signs.
fn sum_text<V: super::Symbol>(a: &Affine<V>, name: impl Fn(V) -> String, space: &str) -> String {
    let mut out = String::new();
    for &(v, c) in &a.terms {
        let sign = match (out.is_empty(), c < 0) {
            (true, true) => "-".into(),
            (true, false) => String::new(),
            (false, true) => format!("{space}-{space}"),
            (false, false) => format!("{space}+{space}"),
        };
        let factor = match c.abs() {
            1 => String::new(),
            c => format!("{c}*"),
        };
        let _ = write!(out, "{sign}{factor}{}", name(v));
    }
    if out.is_empty() {
        return a.constant.to_string();
    }
    match a.constant {
        0 => {}
        c if c < 0 => out += &format!("{space}-{space}{}", -c),
        c => out += &format!("{space}+{space}{c}"),
    }
    out
}

/// A number of exactly these bits, as short as can be.
pub(super) fn number_text(bits: u32) -> String {
    let x = f32::from_bits(bits);
    let plain = x == 0.0 || (1e-4..1e7).contains(&x.abs());
    match () {
        () if x.is_nan() => format!("nan({bits:08x})"),
        () if plain || x.is_infinite() => format!("{x}"),
        () => format!("{x:e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(terms: [i64; 3], constant: i64) -> Affine<u32> {
        let all = (0..).zip(terms);
        all.fold(Affine::constant(constant), |sum, (v, c)| {
            sum + Affine::var(v) * c
        })
    }

    fn name(v: u32) -> String {
        ["i", "r", "o"][v as usize].into()
    }

    #[test]
    fn conditions_read_as_they_are_said() {
        for (terms, constant, text) in [
            ([-1, -1, 0], 29, "i + r <= 29"),
            ([1, 1, 0], -2, "i + r >= 2"),
            ([1, 0, 0], 2, "i >= -2"),
            ([-2, 0, 0], -3, "2*i <= -3"),
            ([1, -1, 0], -1, "r < i"),
            ([1, -1, 0], 0, "r <= i"),
            ([1, -1, -3], 4, "r + 3*o <= i + 4"),
            ([1, -1, 0], -5, "r + 5 <= i"),
            ([0, 0, 0], 7, "7 >= 0"),
        ] {
            let condition = sum(terms, constant).non_negative();
            assert_eq!(condition_text(&condition, name), text);
        }
        for (terms, constant, text) in [
            ([1, 0, -2], 0, "i = 2*o"),
            ([1, 1, -2], 3, "i + r + 3 = 2*o"),
            ([1, 1, -2], -3, "i + r = 2*o + 3"),
            ([0, 0, 2], -4, "2*o = 4"),
            ([-1, 0, 0], 4, "i = 4"),
        ] {
            assert_eq!(condition_text(&sum(terms, constant).zero(), name), text);
        }
    }
}
