//! Smooth absolute error: squares near 0, beyond beta those of |d|; Huber's loss divided by its delta.
//!
//! Of the difference d = x − t the term is d² / (2 · beta) where |d| < beta, else |d| − beta / 2; its slope is d / beta, else sign d.

use super::elements::{Element, ElementLoss, element_loss, sign};
use super::{Reduction, Weights};
use crate::nest::{Compare, ExprId, Stage, Unary};
use crate::ops::{ArgError, Args, Argument, Real};

/// (x, target) → loss
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SmoothL1Loss {
    /// Where squares end.
    pub beta: Real,
    pub reduction: Reduction,
}

element_loss!(SmoothL1Loss, SmoothL1Grad);

impl ElementLoss for SmoothL1Loss {
    const NAME: &'static str = "SmoothL1Loss";
    const ARGUMENTS: &'static [Argument] = &[Reduction::ARGUMENT, Argument::or("beta", "1.0")];
    const NEST: &'static str = "smooth_l1";
    fn read(args: &Args) -> Result<Self, ArgError> {
        Ok(Self {
            beta: args.real_or("beta", 0.0.., 1.0)?,
            reduction: Reduction::read(args)?,
        })
    }
    fn shown(&self) -> String {
        format!("beta={} {}", self.beta, self.reduction.attribute())
    }
    fn reduction(&self) -> Reduction {
        self.reduction
    }
    fn weights(&self) -> Option<(&'static str, &Weights)> {
        None
    }
    fn term(&self, s: &mut Stage, element: Element) -> ExprId {
        let d = element.difference(s);
        let size = s.unary(Unary::Abs, d);
        // At 0 there are no squares, and nothing to divide by.
        if self.beta.single() == 0.0 {
            return size;
        }
        let [beta, half] = [self.beta.single(), 0.5].map(|value| s.constant(value));
        let square = s.mul(d, d);
        let square = s.mul(half, square);
        let near = s.div(square, beta);
        let beyond = s.mul(half, beta);
        let far = s.sub(size, beyond);
        s.select(Compare::Lt, size, beta, near, far)
    }
    fn slope(&self, s: &mut Stage, element: Element) -> ExprId {
        let d = element.difference(s);
        let (size, sign) = (s.unary(Unary::Abs, d), sign(s, d));
        if self.beta.single() == 0.0 {
            return sign;
        }
        let beta = s.constant(self.beta.single());
        let near = s.div(d, beta);
        s.select(Compare::Lt, size, beta, near, sign)
    }
}
