//! Prints a nest as the formulas that it holds.

use std::fmt::Write;

use super::affine::Affine;
use super::formula::*;

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

struct Printer<'a> {
    n: &'a Nest,
}

impl Printer<'_> {
    fn stage(&self, out: &mut String, s: &Stage) {
        let axes: Vec<AxisId> = self.n.shared.iter().chain(&s.own).copied().collect();
        let _ = writeln!(out, "    for {} {{", self.axes(&axes));
        if s.combine != Combine::None {
            let name = match s.combine {
                Combine::Sum => "sum",
                Combine::Max => "max",
                Combine::ArgMaxFirst => "argmax_first",
                Combine::None => "",
            };
            let _ = writeln!(out, "        acc = {name} over {}", self.axes(&s.reduce));
            for c in &s.domain {
                let (a, op) = match c {
                    Constraint::Zero(a) => (a, "="),
                    Constraint::NonNegative(a) => (a, ">="),
                };
                let _ = writeln!(out, "            where {} {op} 0", self.affine(a));
            }
            let _ = writeln!(out, "            of {}", self.expr(s, s.body));
        }
        for (o, v) in s.outs.iter().zip(&s.finish) {
            let _ = writeln!(out, "        {} = {}", self.access(o), self.expr(s, *v));
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
            Expr::Const(bits) => format!("{}", f32::from_bits(*bits)),
            Expr::Scalar(x) => x.name().into(),
            Expr::Axis(a) => self.affine(a),
            Expr::Load(a) => self.access(a),
            Expr::Acc(0) => "acc".into(),
            Expr::Acc(k) => format!("acc.{k}"),
            Expr::Unary(f, x) => format!("{}({})", unary_name(*f), self.expr(s, *x)),
            Expr::Binary(f, a, b) => {
                format!(
                    "({} {} {})",
                    self.expr(s, *a),
                    binary_name(*f),
                    self.expr(s, *b)
                )
            }
            Expr::Select(c, [a, b, yes, no]) => format!(
                "({} {} {} ? {} : {})",
                self.expr(s, *a),
                compare_name(*c),
                self.expr(s, *b),
                self.expr(s, *yes),
                self.expr(s, *no)
            ),
        }
    }
}

/// An affine expression as text.
pub(super) fn affine_text<V: super::Symbol>(a: &Affine<V>, name: impl Fn(V) -> String) -> String {
    let mut out = String::new();
    for &(v, c) in &a.terms {
        let sign = if c < 0 {
            "-"
        } else if out.is_empty() {
            ""
        } else {
            "+"
        };
        let factor = if c.abs() == 1 {
            String::new()
        } else {
            format!("{}*", c.abs())
        };
        let _ = write!(out, "{sign}{factor}{}", name(v));
    }
    if out.is_empty() {
        return a.constant.to_string();
    }
    if a.constant != 0 {
        let _ = write!(out, "{:+}", a.constant);
    }
    out
}

pub(super) fn unary_name(f: Unary) -> &'static str {
    match f {
        Unary::Neg => "neg",
        Unary::Exp => "exp",
        Unary::Log => "log",
        Unary::Log1p => "log1p",
        Unary::Tanh => "tanh",
        Unary::Sigmoid => "sigmoid",
    }
}

pub(super) fn binary_name(f: Binary) -> &'static str {
    match f {
        Binary::Add => "+",
        Binary::Sub => "-",
        Binary::Mul => "*",
        Binary::Div => "/",
    }
}

pub(super) fn compare_name(c: Compare) -> &'static str {
    match c {
        Compare::Lt => "<",
        Compare::Gt => ">",
        Compare::Eq => "==",
        Compare::Ne => "!=",
    }
}
