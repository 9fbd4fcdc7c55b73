//! Cross-entropy of logits and a class, for each example.
//!
//! Of logits x and class t (Dive into Deep Learning, 4.1 and 4.4): with m = max x, e\[c\] = e^(x\[c\]−m),
//! S = Σ_{c≠t} e\[c\] and Σ = S + e\[t\], the loss is ln Σ − (x\[t\]−m) = log1p(S + (e\[t\]−1)) − (x\[t\]−m), and
//! dx\[c\] = g · e\[c\] / Σ for c ≠ t, dx\[t\] = −g · S / Σ, where g is the gradient of the example's loss. No number
//! is rounded at the size of m, so nothing depends on a shift of all logits; of the others' sum nothing is lost beside
//! 1, so small losses and small gradients keep their digits.
//!
//! Weights w of the K classes multiply the loss by w\[t\]. Smoothed by ε the class takes 1 − ε of the loss, and all classes
//! share the rest (Szegedy et al., 2016): ε/K · Σ_c w\[c\] · (ln Σ − (x\[c\]−m)) = ε/K · (W · ln Σ + Σ_c w\[c\] · (m−x\[c\]))
//! with W = Σ_c w\[c\], whose gradient is g · ε/K · (W · e\[c\] / Σ − w\[c\]). No term is below 0, so nothing cancels.

use super::weights::Weights;
use super::{Correct, Loss, LossState, Reduction, Targets, logits, of_class, per_example};
use crate::ir::{TensorType, Value};
use crate::nest::{AxisId, Combine, ExprId, Nest, Stage, TensorId, Unary};
use crate::ops::{ArgError, Args, Argument, GradCx, Op, Operator, Real, ShapeError, Signature};

/// (logits, classes) → (loss, m, S, 1 / Σ), or with weights (logits, classes, w) → (loss, m, S, 1 / Σ, w\[t\])
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CrossEntropyLoss {
    pub weight: Weights,
    pub reduction: Reduction,
    /// How much of the loss all classes share, from 0 to 1.
    pub label_smoothing: Real,
}

/// (logits, classes, m, S, 1 / Σ, g) → gradient of the logits, or with weights
/// (logits, classes, w, m, S, 1 / Σ, w\[t\], g)
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CrossEntropyGrad {
    /// That of the loss.
    pub loss: CrossEntropyLoss,
}

const NAME: &str = "CrossEntropyLoss";

impl Loss for CrossEntropyLoss {
    fn signature() -> Signature {
        const ARGUMENTS: &[Argument] = &[
            Argument::or("weight", "None"),
            Reduction::ARGUMENT,
            Argument::or("label_smoothing", "0.0"),
        ];
        Signature::plain(NAME, ARGUMENTS)
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        Ok(Self {
            weight: Weights::read(args, "weight")?,
            reduction: Reduction::read(args)?,
            label_smoothing: args.real_or("label_smoothing", 0.0..=1.0, 0.0)?,
        })
    }
    fn targets(&self, output: &TensorType) -> Targets {
        Targets::classes(output)
    }
    fn reduction(&self) -> Reduction {
        self.reduction
    }
    fn shares(&self) -> Option<&Weights> {
        let weights = Some(&self.weight).filter(|weight| weight.0.is_some());
        weights.filter(|_| self.reduction == Reduction::Mean)
    }
    fn states(&self) -> Vec<LossState> {
        self.weight.states("weight")
    }
    fn metric(&self) -> Option<Op> {
        Some(Correct.into())
    }
}

impl CrossEntropyLoss {
    fn is_weighted(&self) -> bool {
        self.weight.0.is_some()
    }

    /// ε; none where the class takes all of the loss.
    fn smoothing(&self) -> Option<f64> {
        Some(self.label_smoothing.get()).filter(|&share| share != 0.0)
    }
}

impl Operator for CrossEntropyLoss {
    fn attributes(&self) -> String {
        let mut all = vec![self.weight.attribute("weight")];
        if self.reduction != Reduction::Mean {
            all.push(self.reduction.attribute());
        }
        if let Some(share) = self.smoothing() {
            all.push(format!("label_smoothing={share}"));
        }
        all.retain(|text| !text.is_empty());
        all.join(" ")
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        logits(&inputs[0], NAME)?;
        self.weight.fit(NAME, "weight", &inputs[0])?;
        let results = 4 + usize::from(self.is_weighted());
        Ok(vec![per_example(); results])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        let mut gradients = vec![None; cx.operands.len()];
        if let Some(g) = cx.dy() {
            let mut operands = cx.operands.clone();
            operands.extend(&cx.results[1..]);
            operands.push(g);
            let grad = CrossEntropyGrad { loss: self.clone() };
            gradients[0] = cx.when_wanted(0, |cx| cx.emit(grad, &operands));
        }
        gradients
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
        let classes = inputs[0].dims[0];
        let mut row = Row { n, b, c, classes };
        row.reduce(Combine::Max, m, |_, _, x| x);
        row.reduce(Combine::Sum, target, |row, s, x| row.of_own(s, x));
        let own = self.is_weighted().then(|| row.n.temp("own"));
        if let Some(own) = own {
            row.reduce(Combine::Sum, own, |row, s, _| {
                let weight = row.weight(s, 2);
                row.of_own(s, weight)
            });
        }
        let lag = self.smoothing().map(|_| row.n.temp("lag"));
        if let Some(lag) = lag {
            row.reduce(Combine::Sum, lag, |row, s, x| {
                let max = row.load(s, m);
                let lag = s.sub(max, x);
                row.weighted(s, own.map(|_| 2), lag)
            });
        }
        self.loss(&mut row, [m, target], own, lag);
        row.n
    }
}

/// The nest of a loss, whose stages go over the classes of each example.
struct Row {
    n: Nest,
    b: AxisId,
    c: AxisId,
    classes: u32,
}

impl Row {
    /// Adds a stage that stores for each example what it makes of the values over all classes.
    fn reduce(
        &mut self,
        combine: Combine,
        into: TensorId,
        value: impl FnOnce(&Self, &mut Stage, ExprId) -> ExprId,
    ) {
        let mut s = Stage::new(&[]);
        let x = s.load_at(self.n.input(0), &[self.b, self.c]);
        let value = value(self, &mut s, x);
        s.reduce(combine, &[self.c], value);
        let acc = s.acc(0);
        s.store_at(into, &[self.b], acc);
        self.n.stages.push(s);
    }

    /// The number of the example.
    fn load(&self, s: &mut Stage, tensor: TensorId) -> ExprId {
        s.load_at(tensor, &[self.b])
    }

    /// The value at the example's class, 0 at the others.
    fn of_own(&self, s: &mut Stage, value: ExprId) -> ExprId {
        let class = self.load(s, self.n.input(1));
        let zero = s.constant(0.0);
        of_class(s, self.c, class, value, zero)
    }

    /// The weight of a class, where operand k holds them.
    fn weight(&self, s: &mut Stage, k: u32) -> ExprId {
        s.load_at(self.n.input(k), &[self.c])
    }

    /// The value times the weight of its class, where there are weights.
    fn weighted(&self, s: &mut Stage, weights: Option<u32>, value: ExprId) -> ExprId {
        match weights {
            Some(k) => {
                let weight = self.weight(s, k);
                s.mul(weight, value)
            }
            None => value,
        }
    }
}

impl CrossEntropyLoss {
    /// Adds the stage of the sum of exponentials and of all results.
    fn loss(
        &self,
        row: &mut Row,
        [m, target]: [TensorId; 2],
        own: Option<TensorId>,
        lag: Option<TensorId>,
    ) {
        let (b, c) = (row.b, row.c);
        let mut s = Stage::new(&[]);
        let v = s.load_at(row.n.input(0), &[b, c]);
        let t = row.load(&mut s, row.n.input(1));
        let max = row.load(&mut s, m);
        let shifted = s.sub(v, max);
        let (e, zero) = (s.unary(Unary::Exp, shifted), s.constant(0.0));
        let other = of_class(&mut s, c, t, zero, e);
        s.reduce(Combine::Sum, &[c], other);
        let (others, target) = (s.acc(0), row.load(&mut s, target));
        let below = s.sub(target, max);
        let (exp, one) = (s.unary(Unary::Exp, below), s.constant(1.0));
        // 1 where the class has the greatest logit, so that the others alone are left.
        let beyond = s.sub(exp, one);
        let beyond = s.add(others, beyond);
        let log = s.unary(Unary::Log1p, beyond);
        let mut loss = s.sub(log, below);
        let own = own.map(|own| row.load(&mut s, own));
        if let Some(own) = own {
            loss = s.mul(own, loss);
        }
        if let (Some(share), Some(lag)) = (self.smoothing(), lag) {
            let lag = row.load(&mut s, lag);
            loss = self.smoothed(&mut s, row.classes, share, [loss, log, lag]);
        }
        let total = s.add(others, exp);
        let share = s.div(one, total);
        let results = [loss, max, others, share].into_iter().chain(own);
        for (k, value) in results.enumerate() {
            s.store_at(row.n.out(k as u32), &[b], value);
        }
        row.n.stages.push(s);
    }
}

impl CrossEntropyLoss {
    /// (1 − ε) · loss + ε/K · (W · ln Σ + lag)
    fn smoothed(
        &self,
        s: &mut Stage,
        classes: u32,
        smoothing: f64,
        [loss, log, lag]: [ExprId; 3],
    ) -> ExprId {
        let weights = s.constant(self.weight.sum(classes) as f32);
        let part = s.constant((smoothing / f64::from(classes)) as f32);
        let rest = s.constant((1.0 - smoothing) as f32);
        let logs = s.mul(weights, log);
        let all = s.add(logs, lag);
        let (own, all) = (s.mul(rest, loss), s.mul(part, all));
        s.add(own, all)
    }
}

/// Numbers of operands.
struct Places {
    weights: Option<u32>,
    /// m, S and 1 / Σ.
    of_loss: [u32; 3],
    /// The weight of the class.
    own: Option<u32>,
    g: u32,
}

impl Places {
    fn name(&self, n: &mut Nest) {
        let [max, others, share] = self.of_loss;
        let named = [
            (0, "x"),
            (1, "t"),
            (max, "max"),
            (others, "others"),
            (share, "share"),
        ];
        let weights = self.weights.map(|k| (k, "w"));
        let own = self.own.map(|k| (k, "own"));
        for (k, name) in named
            .into_iter()
            .chain(weights)
            .chain(own)
            .chain([(self.g, "g")])
        {
            n.rename(n.input(k), name);
        }
        n.rename(n.out(0), "dx");
    }
}

impl CrossEntropyGrad {
    /// Where the operands stand, behind the logits and the class.
    fn places(&self) -> Places {
        let weighted = self.loss.is_weighted();
        let first = 2 + u32::from(weighted);
        Places {
            weights: weighted.then_some(2),
            of_loss: [0, 1, 2].map(|k| first + k),
            own: weighted.then_some(first + 3),
            g: first + 3 + u32::from(weighted),
        }
    }

    /// What all classes share of the gradient: ε/K · (W · e / Σ − w).
    fn shared(
        &self,
        s: &mut Stage,
        classes: u32,
        smoothing: f64,
        [e, share]: [ExprId; 2],
        weight: Option<ExprId>,
    ) -> ExprId {
        let weights = s.constant(self.loss.weight.sum(classes) as f32);
        let part = s.constant((smoothing / f64::from(classes)) as f32);
        let likely = s.mul(e, share);
        let likely = s.mul(weights, likely);
        let weight = weight.unwrap_or_else(|| s.constant(1.0));
        let away = s.sub(likely, weight);
        s.mul(part, away)
    }
}

impl Operator for CrossEntropyGrad {
    fn attributes(&self) -> String {
        self.loss.attributes()
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![inputs[0].clone()])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        vec![None; cx.operands.len()]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("cross_entropy_grad", inputs, outputs);
        let places = self.places();
        places.name(&mut n);
        let (b, c) = (n.batch(), n.axis("c", inputs[0].dims[0]));
        let mut s = Stage::new(&[b, c]);
        let [m, of_others, of_share] = places.of_loss;
        let numbers = [1, m, of_others, of_share, places.g];
        let [t, max, others, share, g] = numbers.map(|k| s.load_at(n.input(k), &[b]));
        let x = s.load_at(n.input(0), &[b, c]);
        let shifted = s.sub(x, max);
        let (e, minus) = (s.unary(Unary::Exp, shifted), s.unary(Unary::Neg, others));
        let part = of_class(&mut s, c, t, minus, e);
        let scale = s.mul(g, share);
        let mut dx = s.mul(scale, part);
        if let Some(own) = places.own {
            let own = s.load_at(n.input(own), &[b]);
            dx = s.mul(own, dx);
        }
        if let Some(smoothing) = self.loss.smoothing() {
            let weight = places.weights.map(|k| s.load_at(n.input(k), &[c]));
            let shared = self.shared(&mut s, inputs[0].dims[0], smoothing, [e, share], weight);
            let shared = s.mul(g, shared);
            let rest = s.constant((1.0 - smoothing) as f32);
            let own = s.mul(rest, dx);
            dx = s.add(own, shared);
        }
        s.store_at(n.out(0), &[b, c], dx);
        n.stages.push(s);
        n
    }
}
