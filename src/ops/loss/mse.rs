//! Mean squared error: of the difference d = x − t the term is d², its slope 2d.

use super::elements::{Element, ElementLoss, element_loss};
use super::{Reduction, Weights};
use crate::nest::{ExprId, Stage};
use crate::ops::{ArgError, Args, Argument};

/// (x, target) → loss
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MseLoss {
    pub reduction: Reduction,
}

element_loss!(MseLoss, MseGrad);

impl ElementLoss for MseLoss {
    const NAME: &'static str = "MSELoss";
    const ARGUMENTS: &'static [Argument] = &[Reduction::ARGUMENT];
    const NEST: &'static str = "mse";
    const FACTOR: f32 = 2.0;
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
        s.mul(d, d)
    }
    fn slope(&self, s: &mut Stage, element: Element) -> ExprId {
        element.difference(s)
    }
}
