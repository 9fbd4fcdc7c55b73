//! Stochastic gradient descent (Dive into Deep Learning, 12.4).

use super::{Optimizer, OptimizerState};
use crate::ir::{Scalar, TensorType, Value};
use crate::nest::{Nest, Stage};
use crate::ops::args::above;
use crate::ops::{ArgError, Args, Argument, GradCx, Operator, Real, ShapeError, Signature};

/// (w, g, rate) → w − rate · g
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sgd {
    pub lr: Real,
}

impl Optimizer for Sgd {
    fn signature() -> Signature {
        const ARGUMENTS: &[Argument] = &[Argument::or("lr", "0.1")];
        Signature::plain("SGD", ARGUMENTS)
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        let lr = args.real_or("lr", above(0.0), 0.1)?;
        Ok(Self { lr })
    }
    fn learning_rate(&self) -> Real {
        self.lr
    }
    fn states(&self, _: &TensorType) -> Vec<OptimizerState> {
        vec![]
    }
    fn scalars(&self) -> Vec<Scalar> {
        vec![Scalar::LearningRate]
    }
}

impl Operator for Sgd {
    fn attributes(&self) -> String {
        String::new()
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![inputs[0].clone()])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        vec![None; cx.operands.len()]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("sgd", inputs, outputs);
        for (k, name) in ["w", "g", "rate"].into_iter().enumerate() {
            n.rename(n.input(k as u32), name);
        }
        let axes = n.axes_of(&outputs[0], &[]);
        let mut s = Stage::new(&axes);
        let (w, g) = (s.load_at(n.input(0), &axes), s.load_at(n.input(1), &axes));
        let rate = s.load(n.input(2), &[]);
        let step = s.mul(rate, g);
        let next = s.sub(w, step);
        s.store_at(n.out(0), &axes, next);
        n.stages.push(s);
        n
    }
}
