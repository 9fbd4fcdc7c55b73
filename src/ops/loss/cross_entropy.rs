//! Cross-entropy of logits and a class, for each example.
//!
//! Of logits x and class t (Dive into Deep Learning, 4.1 and 4.4): with m = max x, e\[c\] = e^(x\[c\]−m),
//! S = Σ_{c≠t} e\[c\] and Σ = S + e\[t\], the loss is ln Σ − (x\[t\]−m) = log1p(S + (e\[t\]−1)) − (x\[t\]−m), and
//! dx\[c\] = g · e\[c\] / Σ for c ≠ t, dx\[t\] = −g · S / Σ, where g is the gradient of the example's loss. No number
//! is rounded at the size of m, so nothing depends on a shift of all logits; of the others' sum nothing is lost beside
//! 1, so small losses and small gradients keep their digits.

use super::{Correct, Loss, Reduction, Targets, logits, of_class, per_example};
use crate::ir::{TensorType, Value};
use crate::nest::{Combine, Nest, Stage, TensorId, Unary};
use crate::ops::{ArgError, Args, Argument, GradCx, Op, Operator, ShapeError, Signature};

/// (logits, classes) → (loss, m, S, 1 / Σ)
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CrossEntropyLoss {
    pub reduction: Reduction,
}

/// (logits, classes, m, S, 1 / Σ, g) → gradient of the logits
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CrossEntropyGrad;

impl Loss for CrossEntropyLoss {
    fn signature() -> Signature {
        const ARGUMENTS: &[Argument] = &[Argument::or("reduction", "mean")];
        Signature::plain("CrossEntropyLoss", ARGUMENTS)
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        let reduction = Reduction::read(args)?;
        Ok(Self { reduction })
    }
    fn targets(&self, output: &TensorType) -> Targets {
        Targets::classes(output)
    }
    fn reduction(&self) -> Reduction {
        self.reduction
    }
    fn metric(&self) -> Option<Op> {
        Some(Correct.into())
    }
}

impl Operator for CrossEntropyLoss {
    fn attributes(&self) -> String {
        match self.reduction {
            Reduction::Mean => String::new(),
            Reduction::Sum => "reduction=sum".into(),
        }
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
