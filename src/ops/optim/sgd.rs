//! Stochastic gradient descent (Dive into Deep Learning, 12.4), with momentum (12.6) as torch has it.
//!
//! ```text
//! g' = g + λ·w        b' = μ·b + (1 − dampening)·g', in the first step g'
//! w' = w − lr · b', with Nesterov's momentum w − lr · (g' + μ·b'), without any w − lr · g'
//! ```

use super::{Elements, Moment, Numbers, Optimizer, OptimizerState, decay_of, kept, weight_decay};
use crate::ir::{Scalar, TensorType, Value};
use crate::nest::Nest;
use crate::ops::args::beyond;
use crate::ops::{
    AnyOptimizer, ArgError, Args, Argument, GradCx, Operator, Real, ShapeError, Signature, above,
};

/// (w, g, lr) → w', or with a momentum (w, g, b, lr, μ, blend) → (w', b')
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sgd {
    lr: Real,
    momentum: Real,
    dampening: Real,
    weight_decay: Real,
    nesterov: bool,
    decay_biases: bool,
    /// Whether a schedule changes the momentum from step to step.
    cycled: bool,
}

impl Sgd {
    fn has_momentum(&self) -> bool {
        self.cycled || self.momentum.get() > 0.0
    }
}

impl Optimizer for Sgd {
    fn signature() -> Signature {
        const ARGUMENTS: &[Argument] = &[
            Argument::or("lr", "0.1"),
            Argument::or("momentum", "0"),
            Argument::or("dampening", "0"),
            Argument::or("weight_decay", "0"),
            Argument::or("nesterov", "false"),
            Argument::or("decay_biases", "true"),
        ];
        // torch takes `nesterov` and what follows by name.
        Signature {
            positional: 4,
            ..Signature::plain("SGD", ARGUMENTS)
        }
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        let sgd = Self {
            lr: args.real_or("lr", above(0.0), 0.1)?,
            momentum: args.real_or("momentum", 0.0.., 0.0)?,
            dampening: args.real_or("dampening", .., 0.0)?,
            weight_decay: args.real_or("weight_decay", 0.0.., 0.0)?,
            nesterov: args.flag("nesterov", false)?,
            decay_biases: args.flag("decay_biases", true)?,
            cycled: false,
        };
        if sgd.nesterov && (sgd.momentum.get() == 0.0 || sgd.dampening.get() != 0.0) {
            let message = "needs a momentum, and takes no dampening";
            return Err(beyond("nesterov", message.into()));
        }
        Ok(sgd)
    }
    fn learning_rate(&self) -> Real {
        self.lr
    }
    fn states(&self, parameter: &TensorType) -> Vec<OptimizerState> {
        let buffer = self.has_momentum().then_some("momentum_buffer");
        let states = buffer.into_iter();
        states.map(|name| kept(name, parameter, 0.0)).collect()
    }
    fn scalars(&self) -> Vec<Scalar> {
        match self.has_momentum() {
            true => vec![Scalar::LearningRate, Scalar::Momentum, Scalar::Blend],
            false => vec![Scalar::LearningRate],
        }
    }
    fn numbers(&self, at: &Moment) -> Numbers {
        let momentum = at.momentum.unwrap_or(self.momentum.get());
        let first = at.step == 1;
        let blend = if first {
            1.0
        } else {
            1.0 - self.dampening.get()
        };
        vec![(Scalar::Momentum, momentum), (Scalar::Blend, blend)]
    }
    fn cycled(&self) -> Option<AnyOptimizer> {
        let cycled = Self {
            cycled: true,
            ..self.clone()
        };
        Some(cycled.into())
    }
}

impl Operator for Sgd {
    fn attributes(&self) -> String {
        let mut text = String::new();
        if self.has_momentum() {
            text += " momentum";
        }
        if self.dampening.get() != 0.0 {
            text += &format!(" dampening={}", self.dampening);
        }
        if self.nesterov {
            text += " nesterov";
        }
        text += &weight_decay(self.weight_decay, self.decay_biases);
        text.trim_start().into()
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![inputs[0].clone(); 1 + self.states(&inputs[0]).len()])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        vec![None; cx.operands.len()]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let decay = decay_of(&inputs[0], self.weight_decay, self.decay_biases);
        let names: &[&str] = match self.has_momentum() {
            true => &["w", "g", "b", "rate", "mu", "take"],
            false => &["w", "g", "rate"],
        };
        let mut n = Elements::new("sgd", names, inputs, outputs);
        let [w, g] = [0, 1].map(|k| n.element(k));
        let mut direction = n.decayed(g, w, decay);
        let mut rate_at = 2;
        if self.has_momentum() {
            rate_at = 3;
            let buffer = n.element(2);
            let mu = n.number(4);
            let kept = n.stage.mul(mu, buffer);
            let new = match self.dampening.get() == 0.0 {
                true => direction,
                false => {
                    let take = n.number(5);
                    n.stage.mul(take, direction)
                }
            };
            let buffer = n.stage.add(kept, new);
            n.store(1, buffer);
            direction = match self.nesterov {
                true => {
                    let ahead = n.stage.mul(mu, buffer);
                    n.stage.add(direction, ahead)
                }
                false => buffer,
            };
        }
        let rate = n.number(rate_at);
        let step = n.stage.mul(rate, direction);
        let next = n.stage.sub(w, step);
        n.store(0, next);
        n.done()
    }
}
