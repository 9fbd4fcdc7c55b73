//! Mean absolute error: of the difference d = x − t the term is |d|, its slope the sign of d, which is 0 for 0.

use super::elements::{self, Types, sign};
use super::{Loss, LossState, Reduction, Targets, Weights};
use crate::ir::{TensorType, Value};
use crate::nest::{Nest, Unary};
use crate::ops::{ArgError, Args, GradCx, Op, Operator, ShapeError, Signature};

/// (x, target) → loss
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct L1Loss {
    pub reduction: Reduction,
}

/// (x, target, g) → gradient of x
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct L1Grad {
    pub reduction: Reduction,
}

impl Loss for L1Loss {
    fn signature() -> Signature {
        Signature::plain("L1Loss", &[Reduction::ARGUMENT])
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        let reduction = Reduction::read(args)?;
        Ok(Self { reduction })
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
        vec![]
    }
    fn metric(&self) -> Option<Op> {
        None
    }
}

impl Operator for L1Loss {
    fn attributes(&self) -> String {
        self.reduction.attribute()
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        elements::infer("L1Loss", inputs)
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        let reduction = self.reduction;
        elements::grad(cx, L1Grad { reduction })
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let types = Types { inputs, outputs };
        elements::sum("l1", types, self.reduction, |s, element| {
            let d = element.difference(s);
            s.unary(Unary::Abs, d)
        })
    }
}

impl Operator for L1Grad {
    fn attributes(&self) -> String {
        self.reduction.attribute()
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![inputs[0].clone()])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        vec![None; cx.operands.len()]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let types = Types { inputs, outputs };
        elements::slope("l1_grad", types, self.reduction, 1.0, |s, element| {
            let d = element.difference(s);
            sign(s, d)
        })
    }
}
