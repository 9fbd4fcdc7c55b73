//! Mean absolute error: of the difference d = x − t the term is |d|, its slope the sign of d, which is 0 for 0.

use super::elements::{Element, ElementLoss, element_loss, sign};
use super::{Reduction, Weights};
use crate::nest::{ExprId, Stage, Unary};
use crate::ops::{ArgError, Args, Argument};

/// (x, target) → loss
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct L1Loss {
    pub reduction: Reduction,
}

element_loss!(L1Loss, L1Grad);

impl ElementLoss for L1Loss {
    const NAME: &'static str = "L1Loss";
    const ARGUMENTS: &'static [Argument] = &[Reduction::ARGUMENT];
    const NEST: &'static str = "l1";
    fn read(args: &Args) -> Result<Self, ArgError> {
        let reduction = Reduction::read(args)?;
        Ok(Self { reduction })
    }
    fn shown(&self) -> String {
        self.reduction.attribute()
    }
    fn reduction(&self) -> Reduction {
        self.reduction
    }
    fn weights(&self) -> Option<(&'static str, &Weights)> {
        None
    }
    fn term(&self, s: &mut Stage, element: Element) -> ExprId {
        let d = element.difference(s);
        s.unary(Unary::Abs, d)
    }
    fn slope(&self, s: &mut Stage, element: Element) -> ExprId {
        let d = element.difference(s);
        sign(s, d)
    }
}
