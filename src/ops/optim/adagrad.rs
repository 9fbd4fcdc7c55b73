//! Adagrad (Duchi, Hazan and Singer, 2011; Dive into Deep Learning, 12.7), with torch's order of rounding.
//!
//! ```text
//! s' = s + g²        w' = w − step_size · g / (√s' + ε)
//! step_size = lr / (1 + (t − 1)·lr_decay)        t = 1, 2, …
//! ```

use super::{Elements, Moment, Numbers, Optimizer, OptimizerState, decay_of, kept, weight_decay};
use crate::ir::{Scalar, TensorType, Value};
use crate::nest::{Nest, Unary};
use crate::ops::{
    AnyOptimizer, ArgError, Args, Argument, GradCx, Operator, Real, ShapeError, Signature, above,
};

/// (w, g, s, step_size) → (w', s')
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Adagrad {
    lr: Real,
    lr_decay: Real,
    weight_decay: Real,
    initial_accumulator_value: Real,
    eps: Real,
    decay_biases: bool,
}

impl Optimizer for Adagrad {
    fn signature() -> Signature {
        const ARGUMENTS: &[Argument] = &[
            Argument::or("lr", "0.01"),
            Argument::or("lr_decay", "0"),
            Argument::or("weight_decay", "0"),
            Argument::or("initial_accumulator_value", "0"),
            Argument::or("eps", "1e-10"),
            Argument::or("decay_biases", "true"),
        ];
        Signature {
            positional: 5,
            ..Signature::plain("Adagrad", ARGUMENTS)
        }
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        Ok(Self {
            lr: args.real_or("lr", above(0.0), 1e-2)?,
            lr_decay: args.real_or("lr_decay", 0.0.., 0.0)?,
            weight_decay: args.real_or("weight_decay", 0.0.., 0.0)?,
            initial_accumulator_value: args.real_or("initial_accumulator_value", 0.0.., 0.0)?,
            eps: args.real_or("eps", 0.0.., 1e-10)?,
            decay_biases: args.flag("decay_biases", true)?,
        })
    }
    fn learning_rate(&self) -> Real {
        self.lr
    }
    fn states(&self, parameter: &TensorType) -> Vec<OptimizerState> {
        let start = self.initial_accumulator_value.single();
        vec![kept("sum", parameter, start)]
    }
    fn scalars(&self) -> Vec<Scalar> {
        vec![Scalar::StepSize]
    }
    fn numbers(&self, at: &Moment) -> Numbers {
        let slower = 1.0 + (at.step - 1) as f64 * self.lr_decay.get();
        vec![(Scalar::StepSize, at.learning_rate / slower)]
    }
    fn cycled(&self) -> Option<AnyOptimizer> {
        None
    }
}

impl Operator for Adagrad {
    fn attributes(&self) -> String {
        format!("eps={}", self.eps) + &weight_decay(self.weight_decay, self.decay_biases)
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![inputs[0].clone(); 2])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        vec![None; cx.operands.len()]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let decay = decay_of(&inputs[0], self.weight_decay, self.decay_biases);
        let names = ["w", "g", "s", "size"];
        let mut n = Elements::new("adagrad", &names, inputs, outputs);
        let [w, g, sum] = [0, 1, 2].map(|k| n.element(k));
        let step_size = n.number(3);
        let g = n.decayed(g, w, decay);
        let square = n.stage.mul(g, g);
        let sum = n.stage.add(sum, square);
        n.store(1, sum);
        let root = n.stage.unary(Unary::Sqrt, sum);
        let eps = n.stage.constant(self.eps.single());
        let root = n.stage.add(root, eps);
        let step = n.stage.mul(step_size, g);
        let step = n.stage.div(step, root);
        let next = n.stage.sub(w, step);
        n.store(0, next);
        n.done()
    }
}
