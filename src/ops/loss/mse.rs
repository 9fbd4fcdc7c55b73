//! Mean squared error: of the difference d = x − t the term is d², its slope 2d.

use super::elements::{self, Element, Types};
use super::{Loss, LossState, Reduction, Targets, Weights};
use crate::ir::{TensorType, Value};
use crate::nest::{ExprId, Nest, Stage};
use crate::ops::{ArgError, Args, GradCx, Op, Operator, ShapeError, Signature};

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

impl Loss for MseLoss {
    fn signature() -> Signature {
        Signature::plain("MSELoss", &[Reduction::ARGUMENT])
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        let mean = Reduction::read(args)? == Reduction::Mean;
        Ok(Self { mean })
    }
    fn targets(&self, output: &TensorType) -> Targets {
        Targets::Values(output.dims.clone())
    }
    fn reduction(&self) -> Reduction {
        reduction(self.mean)
    }
    fn shares(&self) -> Option<&Weights> {
        None
    }
    fn states(&self) -> Vec<LossState> {
        vec![]
    }
    fn metric(&self) -> Option<Op> {
        None
    }
}

fn reduction(mean: bool) -> Reduction {
    match mean {
        true => Reduction::Mean,
        false => Reduction::Sum,
    }
}

fn square(s: &mut Stage, element: Element) -> ExprId {
    let d = element.difference(s);
    s.mul(d, d)
}

impl Operator for MseLoss {
    fn attributes(&self) -> String {
        reduction(self.mean).attribute()
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        elements::infer("MSELoss", inputs)
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        elements::grad(cx, MseGrad { mean: self.mean })
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let types = Types { inputs, outputs };
        elements::sum("mse", types, reduction(self.mean), square)
    }
}

impl Operator for MseGrad {
    fn attributes(&self) -> String {
        reduction(self.mean).attribute()
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![inputs[0].clone()])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        vec![None; cx.operands.len()]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let types = Types { inputs, outputs };
        let slope = |s: &mut Stage, element: Element| element.difference(s);
        elements::slope("mse_grad", types, reduction(self.mean), 2.0, slope)
    }
}
