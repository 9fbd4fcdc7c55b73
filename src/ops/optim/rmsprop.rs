//! RMSprop (Tieleman and Hinton, 2012; Dive into Deep Learning, 12.8), with torch's order of rounding.
//!
//! ```text
//! s' = α·s + (1 − α)·g²            a' = a + (1 − α)·(g − a), where it is centered
//! d = g / (√s' + ε), or g / (√(s' − a'²) + ε)
//! w' = w − lr · d, or with a momentum  b' = μ·b + d, w' = w − lr · b'
//! ```

use super::{Elements, Moment, Numbers, Optimizer, OptimizerState, decay_of, kept, weight_decay};
use crate::ir::{Scalar, TensorType, Value};
use crate::nest::{Nest, Unary};
use crate::ops::{
    AnyOptimizer, ArgError, Args, Argument, GradCx, Operator, Real, ShapeError, Signature, above,
};

/// (w, g, s, a, b, lr, μ) → (w', s', a', b'), without a or b where they are not kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RmsProp {
    lr: Real,
    alpha: Real,
    eps: Real,
    weight_decay: Real,
    momentum: Real,
    centered: bool,
    decay_biases: bool,
    /// Whether a schedule changes the momentum from step to step.
    cycled: bool,
}

impl RmsProp {
    fn has_momentum(&self) -> bool {
        self.cycled || self.momentum.get() > 0.0
    }
}

impl Optimizer for RmsProp {
    fn signature() -> Signature {
        const ARGUMENTS: &[Argument] = &[
            Argument::or("lr", "0.01"),
            Argument::or("alpha", "0.99"),
            Argument::or("eps", "1e-8"),
            Argument::or("weight_decay", "0"),
            Argument::or("momentum", "0"),
            Argument::or("centered", "false"),
            Argument::or("decay_biases", "true"),
        ];
        Signature {
            positional: 6,
            ..Signature::plain("RMSprop", ARGUMENTS)
        }
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        Ok(Self {
            lr: args.real_or("lr", above(0.0), 1e-2)?,
            alpha: args.real_or("alpha", 0.0..1.0, 0.99)?,
            eps: args.real_or("eps", 0.0.., 1e-8)?,
            weight_decay: args.real_or("weight_decay", 0.0.., 0.0)?,
            momentum: args.real_or("momentum", 0.0.., 0.0)?,
            centered: args.flag("centered", false)?,
            decay_biases: args.flag("decay_biases", true)?,
            cycled: false,
        })
    }
    fn learning_rate(&self) -> Real {
        self.lr
    }
    fn states(&self, parameter: &TensorType) -> Vec<OptimizerState> {
        let average = self.centered.then_some("grad_avg");
        let momentum = self.has_momentum().then_some("momentum_buffer");
        let names = ["square_avg"].into_iter().chain(average).chain(momentum);
        names.map(|name| kept(name, parameter, 0.0)).collect()
    }
    fn scalars(&self) -> Vec<Scalar> {
        let momentum = self.has_momentum().then_some(Scalar::Momentum);
        [Scalar::LearningRate].into_iter().chain(momentum).collect()
    }
    fn numbers(&self, at: &Moment) -> Numbers {
        let momentum = at.momentum.unwrap_or(self.momentum.get());
        vec![(Scalar::Momentum, momentum)]
    }
    fn cycled(&self) -> Option<AnyOptimizer> {
        let cycled = Self {
            cycled: true,
            ..self.clone()
        };
        Some(cycled.into())
    }
}

impl Operator for RmsProp {
    fn attributes(&self) -> String {
        let mut text = format!("alpha={} eps={}", self.alpha, self.eps);
        text += &weight_decay(self.weight_decay, self.decay_biases);
        if self.has_momentum() {
            text += " momentum";
        }
        if self.centered {
            text += " centered";
        }
        text
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![inputs[0].clone(); 1 + self.states(&inputs[0]).len()])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        vec![None; cx.operands.len()]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let decay = decay_of(&inputs[0], self.weight_decay, self.decay_biases);
        let mut names = vec!["w", "g", "s"];
        names.extend(self.centered.then_some("a"));
        names.extend(self.has_momentum().then_some("b"));
        let rate_at = names.len() as u32;
        names.extend(["rate", "mu"]);
        names.truncate(inputs.len());
        let mut n = Elements::new("rmsprop", &names, inputs, outputs);
        let [w, g, squares] = [0, 1, 2].map(|k| n.element(k));
        let rate = n.number(rate_at);
        let g = n.decayed(g, w, decay);
        let squares = n.squares(squares, g, self.alpha.get());
        n.store(1, squares);
        let mut spread = squares;
        if self.centered {
            let average = n.element(3);
            let take = n.stage.constant((1.0 - self.alpha.get()) as f32);
            let average = n.lerp(average, g, take);
            n.store(2, average);
            let square = n.stage.mul(average, average);
            spread = n.stage.sub(squares, square);
        }
        let root = n.stage.unary(Unary::Sqrt, spread);
        let eps = n.stage.constant(self.eps.single());
        let root = n.stage.add(root, eps);
        let mut step = match self.has_momentum() {
            true => {
                let direction = n.stage.div(g, root);
                let buffer = n.element(rate_at - 1);
                let mu = n.number(rate_at + 1);
                let buffer = n.stage.mul(buffer, mu);
                let buffer = n.stage.add(buffer, direction);
                n.store(rate_at - 2, buffer);
                n.stage.mul(rate, buffer)
            }
            false => n.stage.mul(rate, g),
        };
        if !self.has_momentum() {
            step = n.stage.div(step, root);
        }
        let next = n.stage.sub(w, step);
        n.store(0, next);
        n.done()
    }
}
