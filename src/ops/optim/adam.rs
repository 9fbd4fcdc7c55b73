//! Adam (Kingma and Ba, 2015; Dive into Deep Learning, 12.10), with torch's order of rounding; and AdamW (Loshchilov and
//! Hutter, 2019), whose weights decay apart from their gradients.
//!
//! ```text
//! m' = m + (1 − β₁)·(g − m)        v' = β₂·v + (1 − β₂)·g²
//! w' = w − step_size · m' / (√v' / correction + ε)
//! step_size = lr / (1 − β₁ᵗ)       correction = √(1 − β₂ᵗ)       t = 1, 2, …
//! ```

use super::{Elements, Moment, Numbers, Optimizer, OptimizerState, decay_of, kept, weight_decay};
use crate::ir::{Scalar, TensorType, Value};
use crate::nest::{Binary, Nest, Unary};
use crate::ops::{
    AnyOptimizer, ArgError, Args, Argument, GradCx, Operator, Real, ShapeError, Signature, above,
};

/// What Adam and AdamW have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Rules {
    lr: Real,
    betas: [Real; 2],
    eps: Real,
    weight_decay: Real,
    /// Whether the greatest mean of squares so far takes the place of the last.
    amsgrad: bool,
    decay_biases: bool,
}

/// (w, g, m, v, step_size, blend, correction) → (w', m', v'); the decay is part of the gradient.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Adam(Rules);

/// (w, g, m, v, step_size, blend, correction, decay) → (w', m', v'); w is multiplied by `decay`, 1 − lr·λ, first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AdamW(Rules);

const ADAM: &[Argument] = &[
    Argument::or("lr", "0.001"),
    Argument::or("betas", "(0.9, 0.999)"),
    Argument::or("eps", "1e-8"),
    Argument::or("weight_decay", "0"),
    Argument::or("amsgrad", "false"),
    Argument::or("decay_biases", "true"),
];
const ADAM_W: &[Argument] = &[
    Argument::or("lr", "0.001"),
    Argument::or("betas", "(0.9, 0.999)"),
    Argument::or("eps", "1e-8"),
    Argument::or("weight_decay", "0.01"),
    Argument::or("amsgrad", "false"),
    Argument::or("decay_biases", "true"),
];
/// Those that torch takes by position.
const POSITIONAL: usize = 5;

impl Rules {
    fn read(args: &Args, decay: f64) -> Result<Self, ArgError> {
        Ok(Self {
            lr: args.real_or("lr", above(0.0), 1e-3)?,
            betas: args.reals_or("betas", 0.0..1.0, [0.9, 0.999])?,
            eps: args.real_or("eps", 0.0.., 1e-8)?,
            weight_decay: args.real_or("weight_decay", 0.0.., decay)?,
            amsgrad: args.flag("amsgrad", false)?,
            decay_biases: args.flag("decay_biases", true)?,
        })
    }

    fn states(&self, parameter: &TensorType) -> Vec<OptimizerState> {
        let names = ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"];
        let names = &names[..2 + usize::from(self.amsgrad)];
        names
            .iter()
            .map(|name| kept(name, parameter, 0.0))
            .collect()
    }

    /// The numbers of step t, those of [`Scalar`] that both read.
    fn numbers(&self, at: &Moment) -> Numbers {
        let [beta1, beta2] = self.betas.map(Real::get);
        let beta1 = at.momentum.unwrap_or(beta1);
        let lacks = |beta: f64| 1.0 - beta.powf(at.step as f64);
        vec![
            (Scalar::StepSize, at.learning_rate / lacks(beta1)),
            (Scalar::Blend, 1.0 - beta1),
            (Scalar::Correction, lacks(beta2).sqrt()),
        ]
    }

    fn attributes(&self) -> String {
        let [a, b] = self.betas;
        let mut text = format!("betas=({a}, {b}) eps={}", self.eps);
        text += &weight_decay(self.weight_decay, self.decay_biases);
        if self.amsgrad {
            text += " amsgrad";
        }
        text
    }

    /// The update of a weight, which AdamW has multiplied before, by what stands in the operands.
    fn nest(&self, name: &str, apart: bool, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let decay = decay_of(&inputs[0], self.weight_decay, self.decay_biases);
        let mut names = vec!["w", "g", "m", "v"];
        names.extend(self.amsgrad.then_some("v_max"));
        let first = names.len() as u32;
        names.extend(["size", "take", "lack", "keep"]);
        names.truncate(inputs.len());
        let mut n = Elements::new(name, &names, inputs, outputs);
        let [w, g, m, v] = [0, 1, 2, 3].map(|k| n.element(k));
        let [step_size, blend, correction] = [0, 1, 2].map(|k| n.number(first + k));
        let (w, g) = match apart {
            true if decay != 0.0 => {
                let factor = n.number(first + 3);
                (n.stage.mul(w, factor), g)
            }
            true => (w, g),
            false => (w, n.decayed(g, w, decay)),
        };
        let m = n.lerp(m, g, blend);
        let v = n.squares(v, g, self.betas[1].get());
        n.store(1, m);
        n.store(2, v);
        let mut greatest = v;
        if self.amsgrad {
            let before = n.element(4);
            greatest = n
                .stage
                .push(crate::nest::Expr::Binary(Binary::Max, before, v));
            n.store(3, greatest);
        }
        let s = &mut n.stage;
        let root = s.unary(Unary::Sqrt, greatest);
        let root = s.div(root, correction);
        let eps = s.constant(self.eps.single());
        let root = s.add(root, eps);
        let step = s.mul(step_size, m);
        let step = s.div(step, root);
        let next = s.sub(w, step);
        n.store(0, next);
        n.done()
    }
}

impl Optimizer for Adam {
    fn signature() -> Signature {
        Signature {
            positional: POSITIONAL,
            ..Signature::plain("Adam", ADAM)
        }
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        Rules::read(args, 0.0).map(Self)
    }
    fn learning_rate(&self) -> Real {
        self.0.lr
    }
    fn states(&self, parameter: &TensorType) -> Vec<OptimizerState> {
        self.0.states(parameter)
    }
    fn scalars(&self) -> Vec<Scalar> {
        vec![Scalar::StepSize, Scalar::Blend, Scalar::Correction]
    }
    fn numbers(&self, at: &Moment) -> Numbers {
        self.0.numbers(at)
    }
    fn cycled(&self) -> Option<AnyOptimizer> {
        Some(self.clone().into())
    }
}

impl Operator for Adam {
    fn attributes(&self) -> String {
        self.0.attributes()
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![inputs[0].clone(); 1 + self.states(&inputs[0]).len()])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        vec![None; cx.operands.len()]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        self.0.nest("adam", false, inputs, outputs)
    }
}

impl Optimizer for AdamW {
    fn signature() -> Signature {
        Signature {
            positional: POSITIONAL,
            ..Signature::plain("AdamW", ADAM_W)
        }
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        Rules::read(args, 0.01).map(Self)
    }
    fn learning_rate(&self) -> Real {
        self.0.lr
    }
    fn states(&self, parameter: &TensorType) -> Vec<OptimizerState> {
        self.0.states(parameter)
    }
    fn scalars(&self) -> Vec<Scalar> {
        vec![
            Scalar::StepSize,
            Scalar::Blend,
            Scalar::Correction,
            Scalar::Decay,
        ]
    }
    fn numbers(&self, at: &Moment) -> Numbers {
        let mut all = self.0.numbers(at);
        let decay = 1.0 - at.learning_rate * self.0.weight_decay.get();
        all.push((Scalar::Decay, decay));
        all
    }
    fn cycled(&self) -> Option<AnyOptimizer> {
        Some(self.clone().into())
    }
}

impl Operator for AdamW {
    fn attributes(&self) -> String {
        self.0.attributes()
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![inputs[0].clone(); 1 + self.states(&inputs[0]).len()])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        vec![None; cx.operands.len()]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        self.0.nest("adamw", true, inputs, outputs)
    }
}
