//! Huber's loss: squares near 0, beyond delta straight lines.
//!
//! Of the difference d = x − t the term is d² / 2 where |d| < delta, else delta · (|d| − delta / 2); its slope is d, else delta · sign d.

use super::elements::{self, Types, sign};
use super::{Loss, LossState, Reduction, Targets, Weights};
use crate::ir::{TensorType, Value};
use crate::nest::{Compare, Nest, Unary};
use crate::ops::{
    ArgError, Args, Argument, GradCx, Op, Operator, Real, ShapeError, Signature, above,
};

/// (x, target) → loss
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HuberLoss {
    /// Where squares end.
    pub delta: Real,
    pub reduction: Reduction,
}

/// (x, target, g) → gradient of x
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HuberGrad {
    /// That of the loss.
    pub loss: HuberLoss,
}

impl Loss for HuberLoss {
    fn signature() -> Signature {
        const ARGUMENTS: &[Argument] = &[Reduction::ARGUMENT, Argument::or("delta", "1.0")];
        Signature::plain("HuberLoss", ARGUMENTS)
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        Ok(Self {
            delta: args.real_or("delta", above(0.0), 1.0)?,
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

impl Operator for HuberLoss {
    fn attributes(&self) -> String {
        format!("delta={} {}", self.delta, self.reduction.attribute())
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        elements::infer("HuberLoss", inputs)
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        elements::grad(cx, HuberGrad { loss: self.clone() })
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let types = Types { inputs, outputs };
        elements::sum("huber", types, self.reduction, |s, element| {
            let d = element.difference(s);
            let (size, square) = (s.unary(Unary::Abs, d), s.mul(d, d));
            let [delta, half] = [self.delta.single(), 0.5].map(|value| s.constant(value));
            let near = s.mul(half, square);
            let beyond = s.constant(0.5 * self.delta.single());
            let beyond = s.sub(size, beyond);
            let far = s.mul(delta, beyond);
            s.select(Compare::Lt, size, delta, near, far)
        })
    }
}

impl Operator for HuberGrad {
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
            "huber_grad",
            types,
            self.loss.reduction,
            1.0,
            |s, element| {
                let d = element.difference(s);
                let (size, sign) = (s.unary(Unary::Abs, d), sign(s, d));
                let delta = s.constant(self.loss.delta.single());
                let far = s.mul(delta, sign);
                s.select(Compare::Lt, size, delta, d, far)
            },
        )
    }
}
