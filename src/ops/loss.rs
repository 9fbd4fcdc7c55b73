//! Losses of each example, and whether its class is right.
//!
//! Cross-entropy of logits x and class t (Dive into Deep Learning, 4.1 and 4.4): with m = max x, e\[c\] = e^(x\[c\]−m),
//! S = Σ_{c≠t} e\[c\] and Σ = S + e\[t\], the loss is ln Σ − (x\[t\]−m) = log1p(S + (e\[t\]−1)) − (x\[t\]−m), and
//! dx\[c\] = g · e\[c\] / Σ for c ≠ t, dx\[t\] = −g · S / Σ. No number is rounded at the size of m, so nothing
//! depends on a shift of all logits; of the others' sum nothing is lost beside 1, so small losses and small
//! gradients keep their digits.
//! Mean squared error: Σ (x − t)² / divisor; dx = g · 2 (x − t) / divisor, where the divisor is the number
//! of elements for the mean and 1 for the sum. g is the gradient of the example's loss.

use super::{GradCx, Operator, ShapeError};
use crate::ir::{TensorType, Value};
use crate::nest::{AxisId, Combine, Compare, Expr, ExprId, Nest, Stage, TensorId, Unary, ax};

/// (logits, classes) → (loss, m, S, 1 / Σ)
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CrossEntropyLoss;

/// (logits, classes, m, S, 1 / Σ, g) → gradient of the logits
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CrossEntropyGrad;

/// (x, target) → loss
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MseLoss {
    /// Divide by the number of elements.
    pub mean: bool,
}

/// (x, target, g) → gradient of x
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MseGrad {
    pub mean: bool,
}

/// (logits, classes) → 1 where the greatest logit, the first among equals, is that of the class; else 0
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Correct;

fn per_example() -> TensorType {
    TensorType::batch([])
}

fn logits(ty: &TensorType, who: &str) -> Result<(), ShapeError> {
    if ty.dims.len() == 1 {
        return Ok(());
    }
    let rule = format!("the last layer yields {ty}, with {} axes", ty.dims.len());
    Err(ShapeError::new(
        "E0207",
        &format!("{who} needs one number for each class"),
        rule,
    )
    .help("end the model with Flatten and Linear(number of classes)"))
}

impl Operator for CrossEntropyLoss {
    fn attributes(&self) -> String {
        String::new()
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        logits(&inputs[0], "CrossEntropyLoss")?;
        Ok(vec![per_example(); 4])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        let Some(g) = cx.dy() else {
            return vec![None, None];
        };
        let mut operands = cx.operands.clone();
        operands.extend(&cx.results[1..]);
        operands.push(g);
        vec![
            cx.when_wanted(0, |cx| cx.emit(CrossEntropyGrad, &operands)),
            None,
        ]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("cross_entropy", inputs, outputs);
        for (t, name) in [
            (n.input(0), "x"),
            (n.input(1), "t"),
            (n.out(0), "loss"),
            (n.out(1), "max"),
            (n.out(2), "others"),
            (n.out(3), "share"),
        ] {
            n.rename(t, name);
        }
        let (b, c) = (n.batch(), n.axis("c", inputs[0].dims[0]));
        n.shared = vec![b];
        let [m, target] = ["m", "target"].map(|t| n.temp(t));
        let row = |s: &mut Stage, t: TensorId| s.load_at(t, &[b]);
        let (x, class) = (n.input(0), n.input(1));

        let mut s = Stage::new(&[]);
        let v = s.load_at(x, &[b, c]);
        s.reduce(Combine::Max, &[c], v);
        let acc = s.acc(0);
        s.store_at(m, &[b], acc);
        n.stages.push(s);

        let mut s = Stage::new(&[]);
        let (v, t) = (s.load_at(x, &[b, c]), row(&mut s, class));
        let zero = s.constant(0.0);
        let picked = of_class(&mut s, c, t, v, zero);
        s.reduce(Combine::Sum, &[c], picked);
        let acc = s.acc(0);
        s.store_at(target, &[b], acc);
        n.stages.push(s);

        let mut s = Stage::new(&[]);
        let (v, t) = (s.load_at(x, &[b, c]), row(&mut s, class));
        let max = row(&mut s, m);
        let shifted = s.sub(v, max);
        let (e, zero) = (s.unary(Unary::Exp, shifted), s.constant(0.0));
        let other = of_class(&mut s, c, t, zero, e);
        s.reduce(Combine::Sum, &[c], other);
        let (others, target) = (s.acc(0), row(&mut s, target));
        let below = s.sub(target, max);
        let (own, one) = (s.unary(Unary::Exp, below), s.constant(1.0));
        // 1 where the class has the greatest logit, so that the others alone are left.
        let beyond = s.sub(own, one);
        let beyond = s.add(others, beyond);
        let log = s.unary(Unary::Log1p, beyond);
        let loss = s.sub(log, below);
        let total = s.add(others, own);
        let share = s.div(one, total);
        for (k, value) in [loss, max, others, share].into_iter().enumerate() {
            s.store_at(n.out(k as u32), &[b], value);
        }
        n.stages.push(s);
        n
    }
}

/// `yes` at the class `t` of the example, else `no`.
fn of_class(s: &mut Stage, c: AxisId, t: ExprId, yes: ExprId, no: ExprId) -> ExprId {
    let here = s.push(Expr::Axis(ax(c)));
    s.select(Compare::Eq, here, t, yes, no)
}

impl Operator for CrossEntropyGrad {
    fn attributes(&self) -> String {
        String::new()
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![inputs[0].clone()])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        vec![None; cx.operands.len()]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("cross_entropy_grad", inputs, outputs);
        for (k, name) in ["x", "t", "max", "others", "share", "g"]
            .into_iter()
            .enumerate()
        {
            n.rename(n.input(k as u32), name);
        }
        n.rename(n.out(0), "dx");
        let (b, c) = (n.batch(), n.axis("c", inputs[0].dims[0]));
        let mut s = Stage::new(&[b, c]);
        let [t, max, others, share, g] = [1, 2, 3, 4, 5].map(|k| s.load_at(n.input(k), &[b]));
        let x = s.load_at(n.input(0), &[b, c]);
        let shifted = s.sub(x, max);
        let (e, minus) = (s.unary(Unary::Exp, shifted), s.unary(Unary::Neg, others));
        let part = of_class(&mut s, c, t, minus, e);
        let scale = s.mul(g, share);
        let dx = s.mul(scale, part);
        s.store_at(n.out(0), &[b, c], dx);
        n.stages.push(s);
        n
    }
}

fn divisor(mean: bool, ty: &TensorType) -> f32 {
    if mean { ty.elements() as f32 } else { 1.0 }
}

fn difference(s: &mut Stage, n: &Nest, axes: &[AxisId]) -> ExprId {
    let (x, t) = (s.load_at(n.input(0), axes), s.load_at(n.input(1), axes));
    s.sub(x, t)
}

impl Operator for MseLoss {
    fn attributes(&self) -> String {
        format!("reduction={}", if self.mean { "mean" } else { "sum" })
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        if inputs[0].dims != inputs[1].dims {
            let rule = format!(
                "the model yields {} and the data holds {}",
                inputs[0], inputs[1]
            );
            return Err(ShapeError::new(
                "E0207",
                "MSELoss needs targets of the output's shape",
                rule,
            ));
        }
        Ok(vec![per_example()])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        let Some(g) = cx.dy() else {
            return vec![None, None];
        };
        let (x, t) = (cx.operands[0], cx.operands[1]);
        vec![
            cx.when_wanted(0, |cx| cx.emit(MseGrad { mean: self.mean }, &[x, t, g])),
            None,
        ]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("mse", inputs, outputs);
        for (t, name) in [(n.input(0), "x"), (n.input(1), "t"), (n.out(0), "loss")] {
            n.rename(t, name);
        }
        let axes = n.axes_of(&inputs[0], &["c", "i", "j"]);
        let one = n.axis("one", 1);
        let mut s = Stage::new(&axes[..1]);
        let d = difference(&mut s, &n, &axes);
        let square = s.mul(d, d);
        let reduce = if axes.len() > 1 {
            axes[1..].to_vec()
        } else {
            vec![one]
        };
        s.reduce(Combine::Sum, &reduce, square);
        let (acc, share) = (s.acc(0), s.constant(1.0 / divisor(self.mean, &inputs[0])));
        let loss = s.mul(acc, share);
        s.store_at(n.out(0), &axes[..1], loss);
        n.stages.push(s);
        n
    }
}

impl Operator for MseGrad {
    fn attributes(&self) -> String {
        format!("reduction={}", if self.mean { "mean" } else { "sum" })
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![inputs[0].clone()])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        vec![None; cx.operands.len()]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("mse_grad", inputs, outputs);
        for (t, name) in [
            (n.input(0), "x"),
            (n.input(1), "t"),
            (n.input(2), "g"),
            (n.out(0), "dx"),
        ] {
            n.rename(t, name);
        }
        let axes = n.axes_of(&inputs[0], &["c", "i", "j"]);
        let mut s = Stage::new(&axes);
        let d = difference(&mut s, &n, &axes);
        let g = s.load_at(n.input(2), &axes[..1]);
        let factor = s.constant(2.0 / divisor(self.mean, &inputs[0]));
        let scaled = s.mul(g, factor);
        let dx = s.mul(scaled, d);
        s.store_at(n.out(0), &axes, dx);
        n.stages.push(s);
        n
    }
}

impl Operator for Correct {
    fn attributes(&self) -> String {
        String::new()
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        logits(&inputs[0], "accuracy")?;
        Ok(vec![per_example()])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        vec![None; cx.operands.len()]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("correct", inputs, outputs);
        n.rename(n.input(0), "x");
        n.rename(n.input(1), "t");
        let (b, c) = (n.batch(), n.axis("c", inputs[0].dims[0]));
        let mut s = Stage::new(&[b]);
        let x = s.load_at(n.input(0), &[b, c]);
        s.reduce(Combine::ArgMaxFirst, &[c], x);
        let (class, t) = (s.acc(1), s.load_at(n.input(1), &[b]));
        let (one, zero) = (s.constant(1.0), s.constant(0.0));
        let right = s.select(Compare::Eq, class, t, one, zero);
        s.store_at(n.out(0), &[b], right);
        n.stages.push(s);
        n
    }
}
