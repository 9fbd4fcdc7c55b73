//! Huber's loss: squares near 0, beyond delta straight lines.
//!
//! Of the difference d = x − t the term is d² / 2 where |d| < delta, else delta · (|d| − delta / 2); its slope is d, else delta · sign d.

use super::elements::{Element, ElementLoss, element_loss, sign};
use super::{Reduction, Weights};
use crate::nest::{Compare, ExprId, Stage, Unary};
use crate::ops::{ArgError, Args, Argument, Real, above};

/// (x, target) → loss
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HuberLoss {
    /// Where squares end.
    pub delta: Real,
    pub reduction: Reduction,
}

element_loss!(HuberLoss, HuberGrad);

impl ElementLoss for HuberLoss {
    const NAME: &'static str = "HuberLoss";
    const ARGUMENTS: &'static [Argument] = &[Reduction::ARGUMENT, Argument::or("delta", "1.0")];
    const NEST: &'static str = "huber";
    fn read(args: &Args) -> Result<Self, ArgError> {
        Ok(Self {
            delta: args.real_or("delta", above(0.0), 1.0)?,
            reduction: Reduction::read(args)?,
        })
    }
    fn shown(&self) -> String {
        format!("delta={} {}", self.delta, self.reduction.attribute())
    }
    fn reduction(&self) -> Reduction {
        self.reduction
    }
    fn weights(&self) -> Option<(&'static str, &Weights)> {
        None
    }
    fn term(&self, s: &mut Stage, element: Element) -> ExprId {
        let d = element.difference(s);
        let (size, square) = (s.unary(Unary::Abs, d), s.mul(d, d));
        let [delta, half] = [self.delta.single(), 0.5].map(|value| s.constant(value));
        let near = s.mul(half, square);
        let beyond = s.constant(0.5 * self.delta.single());
        let beyond = s.sub(size, beyond);
        let far = s.mul(delta, beyond);
        s.select(Compare::Lt, size, delta, near, far)
    }
    fn slope(&self, s: &mut Stage, element: Element) -> ExprId {
        let d = element.difference(s);
        let (size, sign) = (s.unary(Unary::Abs, d), sign(s, d));
        let delta = s.constant(self.delta.single());
        let far = s.mul(delta, sign);
        s.select(Compare::Lt, size, delta, d, far)
    }
}
