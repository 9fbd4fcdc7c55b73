//! Checks a nest. A violation is a bug of the compiler, never of its input.
//!
//! What holds:
//! 1. every access has one index for each axis of its tensor, and every expression reads earlier ones;
//! 2. `Combine::None` has neither reduction axes nor a domain; every other one has reduction axes;
//! 3. `Acc` occurs only in finishing expressions, below the width of the combiner;
//! 4. results are stored at affine indices over own and shared axes only;
//! 5. a temporary is stored before it is read;
//! 6. tensors and axes have names that a kernel can bear: words;
//! 7. a random number stands in a stage over the images, and no number is a word that only random numbers read.

use std::collections::BTreeSet;

use super::formula::*;

/// The first violation, if there is one.
pub fn verify(n: &Nest) -> Result<(), String> {
    let names = n.tensors.iter().map(|t| &t.name);
    let mut names = names.chain(n.axes.iter().map(|a| &a.name));
    if let Some(name) = names.find(|name| !is_word(name)) {
        return Err(format!("nest {}: `{name}` is no word", n.name));
    }
    let mut stored = BTreeSet::new();
    for (k, s) in n.stages.iter().enumerate() {
        stage(n, s, &stored).map_err(|e| format!("nest {}, stage {k}: {e}", n.name))?;
        stored.extend(s.outs.iter().map(|o| o.tensor));
    }
    Ok(())
}

fn is_word(name: &str) -> bool {
    let mut letters = name.chars();
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    letters.next().is_some_and(first) && letters.all(|c| first(c) || c.is_ascii_digit())
}

fn stage(n: &Nest, s: &Stage, stored: &BTreeSet<TensorId>) -> Result<(), String> {
    if (s.combine == Combine::None) != s.reduce.is_empty() {
        return Err("the combiner does not fit the reduction axes".into());
    }
    if s.combine == Combine::None && !s.domain.is_empty() {
        return Err("a domain without a reduction".into());
    }
    for (k, e) in s.exprs.iter().enumerate() {
        let operands: Vec<ExprId> = match e {
            Expr::Unary(_, x) => vec![*x],
            Expr::Binary(_, a, b) => vec![*a, *b],
            Expr::Select(_, xs) => xs.to_vec(),
            _ => vec![],
        };
        if operands.iter().any(|o| o.0 as usize >= k) {
            return Err(format!("expression {k} reads a later one"));
        }
        if matches!(e, Expr::Random { .. }) && n.images(s).is_none() {
            return Err("a random number of no image".into());
        }
        if matches!(e, Expr::Scalar(scalar) if scalar.is_word()) {
            return Err("a word is read as a number".into());
        }
        if let Expr::Load(a) = e {
            access(n, a)?;
            if n.tensors[a.tensor.0 as usize].role == TensorRole::Temp
                && !stored.contains(&a.tensor)
            {
                return Err("a temporary is read before it is stored".into());
            }
        }
    }
    if reads_acc(s, s.body) && s.combine != Combine::None {
        return Err("the body reads its own result".into());
    }
    let visible: BTreeSet<AxisId> = n.shared.iter().chain(&s.own).copied().collect();
    for o in &s.outs {
        access(n, o)?;
        for i in &o.index {
            let Index::Affine(a) = i else {
                return Err("a result is stored by lookup".into());
            };
            if a.terms.iter().any(|t| !visible.contains(&t.0)) {
                return Err("a result is stored over a reduction axis".into());
            }
        }
    }
    if s.outs.len() != s.finish.len() || s.outs.is_empty() {
        return Err("stores and values differ in number".into());
    }
    Ok(())
}

fn reads_acc(s: &Stage, e: ExprId) -> bool {
    match &s.exprs[e.0 as usize] {
        Expr::Acc(_) => true,
        Expr::Unary(_, x) => reads_acc(s, *x),
        Expr::Binary(_, a, b) => reads_acc(s, *a) || reads_acc(s, *b),
        Expr::Select(_, xs) => xs.iter().any(|x| reads_acc(s, *x)),
        _ => false,
    }
}

fn access(n: &Nest, a: &Access) -> Result<(), String> {
    let t = &n.tensors[a.tensor.0 as usize];
    if a.index.len() == t.ty.rank() {
        Ok(())
    } else {
        Err(format!(
            "{} has {} axes and is read with {}",
            t.name,
            t.ty.rank(),
            a.index.len()
        ))
    }
}
