//! Smooth absolute error: squares near 0, beyond beta those of |d|; Huber's loss divided by its delta.
//!
//! Of the difference d = x − t the term is d² / (2 · beta) where |d| < beta, else |d| − beta / 2; its slope is d / beta, else sign d.

use super::elements::{self, Types, sign};
use super::{Loss, LossState, Reduction, Targets, Weights};
use crate::ir::{TensorType, Value};
use crate::nest::{Compare, Nest, Unary};
use crate::ops::{ArgError, Args, Argument, GradCx, Op, Operator, Real, ShapeError, Signature};

/// (x, target) → loss
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SmoothL1Loss {
    /// Where squares end.
    pub beta: Real,
    pub reduction: Reduction,
}

/// (x, target, g) → gradient of x
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SmoothL1Grad {
    /// That of the loss.
    pub loss: SmoothL1Loss,
}

impl Loss for SmoothL1Loss {
    fn signature() -> Signature {
        const ARGUMENTS: &[Argument] = &[Reduction::ARGUMENT, Argument::or("beta", "1.0")];
        Signature::plain("SmoothL1Loss", ARGUMENTS)
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        Ok(Self {
            beta: args.real_or("beta", 0.0.., 1.0)?,
            reduction: Reduction::read(args)?,
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
        vec![]
    }
    fn metric(&self) -> Option<Op> {
        None
    }
}

impl Operator for SmoothL1Loss {
    fn attributes(&self) -> String {
        format!("beta={} {}", self.beta, self.reduction.attribute())
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        elements::infer("SmoothL1Loss", inputs)
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        elements::grad(cx, SmoothL1Grad { loss: self.clone() })
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let types = Types { inputs, outputs };
        elements::sum("smooth_l1", types, self.reduction, |s, element| {
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
        })
    }
}

impl Operator for SmoothL1Grad {
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
        elements::slope(
            "smooth_l1_grad",
            types,
            self.loss.reduction,
            1.0,
            |s, element| {
                let d = element.difference(s);
                let (size, sign) = (s.unary(Unary::Abs, d), sign(s, d));
                if self.loss.beta.single() == 0.0 {
                    return sign;
                }
                let beta = s.constant(self.loss.beta.single());
                let near = s.div(d, beta);
                s.select(Compare::Lt, size, beta, near, sign)
            },
        )
    }
}
