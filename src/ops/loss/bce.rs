//! Binary cross-entropy of logits: of a logit x and a probability t, each output for itself, the term is
//! w · t · softplus(−x) + (1 − t) · softplus(x), its slope (1 − t) · sigmoid(x) − w · t · sigmoid(−x), where w weighs what
//! is positive.
//!
//! softplus(x) = max(x, 0) + log1p(e^−|x|). Neither part is below 0 for t from 0 to 1, so nothing cancels, and a small
//! loss keeps its digits: the usual form max(x, 0) − x·t + log1p(e^−|x|) loses all of them at t = 1 and large x.

use super::elements::{Element, ElementLoss, element_loss};
use super::{Reduction, Weights};
use crate::nest::{ExprId, Stage, Unary};
use crate::ops::{ArgError, Args, Argument};

/// (x, probability) → loss, or with weights (x, probability, w) → loss
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct BceWithLogitsLoss {
    pub reduction: Reduction,
    /// One for each output, which has one axis.
    pub pos_weight: Weights,
}

element_loss!(BceWithLogitsLoss, BceWithLogitsGrad);

impl ElementLoss for BceWithLogitsLoss {
    const NAME: &'static str = "BCEWithLogitsLoss";
    const ARGUMENTS: &'static [Argument] =
        &[Reduction::ARGUMENT, Argument::or("pos_weight", "None")];
    const NEST: &'static str = "bce";
    fn read(args: &Args) -> Result<Self, ArgError> {
        Ok(Self {
            reduction: Reduction::read(args)?,
            pos_weight: Weights::read(args, "pos_weight")?,
        })
    }
    fn shown(&self) -> String {
        let weights = self.pos_weight.attribute("pos_weight");
        format!("{} {weights}", self.reduction.attribute())
            .trim_end()
            .into()
    }
    fn reduction(&self) -> Reduction {
        self.reduction
    }
    fn weights(&self) -> Option<(&'static str, &Weights)> {
        Some(("pos_weight", &self.pos_weight))
    }
    fn term(&self, s: &mut Stage, element: Element) -> ExprId {
        let (x, minus) = (element.x, s.unary(Unary::Neg, element.x));
        let [of_one, of_zero] = shares(s, element);
        let (below, above) = (softplus(s, minus), softplus(s, x));
        let (one, zero) = (s.mul(of_one, below), s.mul(of_zero, above));
        s.add(one, zero)
    }
    fn slope(&self, s: &mut Stage, element: Element) -> ExprId {
        let (x, minus) = (element.x, s.unary(Unary::Neg, element.x));
        let [of_one, of_zero] = shares(s, element);
        let (below, above) = (s.unary(Unary::Sigmoid, minus), s.unary(Unary::Sigmoid, x));
        let (one, zero) = (s.mul(of_one, below), s.mul(of_zero, above));
        s.sub(zero, one)
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
