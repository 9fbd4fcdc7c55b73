//! Binary cross-entropy of logits: of a logit x and a probability t, each output for itself, the term is
//! w · t · softplus(−x) + (1 − t) · softplus(x), its slope (1 − t) · sigmoid(x) − w · t · sigmoid(−x), where w weighs what
//! is positive.
//!
//! softplus(x) = max(x, 0) + log1p(e^−|x|). Neither part is below 0 for t from 0 to 1, so nothing cancels, and a small
//! loss keeps its digits: the usual form max(x, 0) − x·t + log1p(e^−|x|) loses all of them at t = 1 and large x.

use super::elements::{self, Element, Types};
use super::weights::Weights;
use super::{Loss, LossState, Reduction, Targets};
use crate::ir::{TensorType, Value};
use crate::nest::{ExprId, Nest, Stage, Unary};
use crate::ops::{ArgError, Args, Argument, GradCx, Op, Operator, ShapeError, Signature};

/// (x, probability) → loss, or with weights (x, probability, w) → loss
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct BceWithLogitsLoss {
    pub reduction: Reduction,
    /// One for each output, which has one axis.
    pub pos_weight: Weights,
}

/// (x, probability, g) → gradient of x, or with weights (x, probability, g, w) → gradient of x
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BceWithLogitsGrad {
    /// That of the loss.
    pub loss: BceWithLogitsLoss,
}

const NAME: &str = "BCEWithLogitsLoss";

impl Loss for BceWithLogitsLoss {
    fn signature() -> Signature {
        const ARGUMENTS: &[Argument] = &[Reduction::ARGUMENT, Argument::or("pos_weight", "None")];
        Signature::plain(NAME, ARGUMENTS)
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        Ok(Self {
            reduction: Reduction::read(args)?,
            pos_weight: Weights::read(args, "pos_weight")?,
        })
    }
    fn targets(&self, output: &TensorType) -> Targets {
        Targets::Values(output.dims.clone())
    }
    fn reduction(&self) -> Reduction {
        self.reduction
    }
    fn shares(&self) -> Option<&Weights> {
        None
    }
    fn states(&self) -> Vec<LossState> {
        self.pos_weight.states("pos_weight")
    }
    fn metric(&self) -> Option<Op> {
        None
    }
}

impl Operator for BceWithLogitsLoss {
    fn attributes(&self) -> String {
        let weights = self.pos_weight.attribute("pos_weight");
        format!("{} {weights}", self.reduction.attribute())
            .trim_end()
            .into()
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        self.pos_weight.fit(NAME, "pos_weight", &inputs[0])?;
        elements::infer(NAME, inputs)
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        elements::grad(cx, BceWithLogitsGrad { loss: self.clone() })
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let types = Types { inputs, outputs };
        elements::sum("bce", types, self.reduction, |s, element| {
            let (x, minus) = (element.x, s.unary(Unary::Neg, element.x));
            let [of_one, of_zero] = shares(s, element);
            let (below, above) = (softplus(s, minus), softplus(s, x));
            let (one, zero) = (s.mul(of_one, below), s.mul(of_zero, above));
            s.add(one, zero)
        })
    }
}

/// w · t and 1 − t: how much an element counts as 1 and as 0.
fn shares(s: &mut Stage, element: Element) -> [ExprId; 2] {
    let one = s.constant(1.0);
    let of_one = match element.weight {
        Some(weight) => s.mul(weight, element.t),
        None => element.t,
    };
    [of_one, s.sub(one, element.t)]
}

fn softplus(s: &mut Stage, x: ExprId) -> ExprId {
    let size = s.unary(Unary::Abs, x);
    let minus = s.unary(Unary::Neg, size);
    let small = s.unary(Unary::Exp, minus);
    let (log, positive) = (s.unary(Unary::Log1p, small), s.at_least(0.0, x));
    s.add(positive, log)
}

impl Operator for BceWithLogitsGrad {
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
        let types = Types { inputs, outputs };
        elements::slope("bce_grad", types, self.loss.reduction, 1.0, |s, element| {
            let (x, minus) = (element.x, s.unary(Unary::Neg, element.x));
            let [of_one, of_zero] = shares(s, element);
            let (below, above) = (s.unary(Unary::Sigmoid, minus), s.unary(Unary::Sigmoid, x));
            let (one, zero) = (s.mul(of_one, below), s.mul(of_zero, above));
            s.sub(zero, one)
        })
    }
}
