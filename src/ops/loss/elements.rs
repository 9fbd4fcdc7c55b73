//! What losses share that sum a term over the elements of an output and of its targets, which have one shape.
//!
//! The loss of an example is Σ term(x, t) / divisor, its gradient dx = g · factor · slope(x, t) / divisor, where the divisor
//! is the number of elements for the mean and 1 for the sum, and g the gradient of the example's loss. Such a loss says its
//! arguments, its term and its slope ([`ElementLoss`]); the loss and the operator of its gradient follow from that, by
//! `element_loss!`. Does not know the terms.

use super::{Reduction, Weights, per_example};
use crate::ir::{TensorType, Value};
use crate::nest::{AxisId, Combine, Compare, ExprId, Nest, Stage};
use crate::ops::{ArgError, Args, Argument, GradCx, Op, ShapeError};

/// A loss that is a sum over elements.
pub(super) trait ElementLoss: Sized {
    /// As written in a `.nn` file.
    const NAME: &'static str;
    const ARGUMENTS: &'static [Argument];
    /// In printed nests.
    const NEST: &'static str;
    /// What the slope is multiplied by.
    const FACTOR: f32 = 1.0;
    /// Reads the arguments.
    fn read(args: &Args) -> Result<Self, ArgError>;
    /// The arguments as text for printed graphs.
    fn shown(&self) -> String;
    fn reduction(&self) -> Reduction;
    /// The argument that has a weight for each output, and its name.
    fn weights(&self) -> Option<(&'static str, &Weights)>;
    /// The term of an element.
    fn term(&self, stage: &mut Stage, element: Element) -> ExprId;
    /// Its derivative by x, but for the factor.
    fn slope(&self, stage: &mut Stage, element: Element) -> ExprId;
}

/// Makes a loss of an [`ElementLoss`], and `$grad`, the operator (x, target, g) → gradient of x, or with weights
/// (x, target, g, w) → gradient of x.
macro_rules! element_loss {
    ($loss:ident, $grad:ident) => {
        /// The gradient of x.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $grad {
            pub loss: $loss,
        }

        impl super::Loss for $loss {
            fn signature() -> crate::ops::Signature {
                crate::ops::Signature::plain(Self::NAME, Self::ARGUMENTS)
            }
            fn from_args(args: &crate::ops::Args) -> Result<Self, crate::ops::ArgError> {
                Self::read(args)
            }
            fn targets(&self, output: &crate::ir::TensorType) -> super::Targets {
                super::Targets::Values(output.dims.clone())
            }
            fn reduction(&self) -> super::Reduction {
                ElementLoss::reduction(self)
            }
            fn shares(&self) -> Option<&super::Weights> {
                None
            }
            fn states(&self) -> Vec<super::LossState> {
                self.weights()
                    .map_or(vec![], |(name, weights)| weights.states(name))
            }
            fn metric(&self) -> Option<crate::ops::Op> {
                None
            }
        }

        impl crate::ops::Operator for $loss {
            fn attributes(&self) -> String {
                self.shown()
            }
            fn infer(
                &self,
                inputs: &[crate::ir::TensorType],
            ) -> Result<Vec<crate::ir::TensorType>, crate::ops::ShapeError> {
                super::elements::infer(self, inputs)
            }
            fn grad(&self, cx: &mut crate::ops::GradCx) -> Vec<Option<crate::ir::Value>> {
                super::elements::grad(cx, $grad { loss: self.clone() })
            }
            fn lower(
                &self,
                inputs: &[crate::ir::TensorType],
                outputs: &[crate::ir::TensorType],
            ) -> crate::nest::Nest {
                super::elements::sum(self, inputs, outputs)
            }
        }

        impl crate::ops::Operator for $grad {
            fn attributes(&self) -> String {
                self.loss.shown()
            }
            fn infer(
                &self,
                inputs: &[crate::ir::TensorType],
            ) -> Result<Vec<crate::ir::TensorType>, crate::ops::ShapeError> {
                Ok(vec![inputs[0].clone()])
            }
            fn grad(&self, cx: &mut crate::ops::GradCx) -> Vec<Option<crate::ir::Value>> {
                vec![None; cx.operands.len()]
            }
            fn lower(
                &self,
                inputs: &[crate::ir::TensorType],
                outputs: &[crate::ir::TensorType],
            ) -> crate::nest::Nest {
                super::elements::slope(&self.loss, inputs, outputs)
            }
        }
    };
}
pub(super) use element_loss;

/// The types of a loss: the targets have the shape of the output, and weights are as many as outputs.
pub(super) fn infer<L: ElementLoss>(
    loss: &L,
    inputs: &[TensorType],
) -> Result<Vec<TensorType>, ShapeError> {
    if let Some((name, weights)) = loss.weights() {
        weights.fit(L::NAME, name, &inputs[0])?;
    }
    if inputs[0].dims == inputs[1].dims {
        return Ok(vec![per_example()]);
    }
    let rule = format!(
        "the model yields {} and the data holds {}",
        inputs[0], inputs[1]
    );
    let message = format!("{} needs targets of the output's shape", L::NAME);
    Err(ShapeError::new("E0207", &message, rule))
}

/// The gradients of the operands, where `slope` is the operator (x, t, g) → dx, or with weights (x, t, g, w) → dx.
pub(super) fn grad(cx: &mut GradCx, slope: impl Into<Op>) -> Vec<Option<Value>> {
    let mut gradients = vec![None; cx.operands.len()];
    if let Some(g) = cx.dy() {
        let mut operands = cx.operands.clone();
        operands.insert(2, g);
        gradients[0] = cx.when_wanted(0, |cx| cx.emit(slope, &operands));
    }
    gradients
}

fn divisor(reduction: Reduction, ty: &TensorType) -> f32 {
    match reduction {
        Reduction::Mean => ty.elements() as f32,
        Reduction::Sum => 1.0,
    }
}

/// An element of an example.
#[derive(Clone, Copy)]
pub(super) struct Element {
    pub x: ExprId,
    pub t: ExprId,
    /// Of the output, where the loss has a weight for each.
    pub weight: Option<ExprId>,
}

impl Element {
    fn load(s: &mut Stage, n: &Nest, axes: &[AxisId], weights: Option<u32>) -> Self {
        Self {
            x: s.load_at(n.input(0), axes),
            t: s.load_at(n.input(1), axes),
            weight: weights.map(|k| s.load_at(n.input(k), &axes[1..])),
        }
    }

    /// x − t
    pub fn difference(&self, s: &mut Stage) -> ExprId {
        s.sub(self.x, self.t)
    }
}

/// The operand of weights that stands behind so many others, if there is one.
fn weights(inputs: &[TensorType], behind: u32) -> Option<u32> {
    (inputs.len() as u32 > behind).then_some(behind)
}

/// (x, t) → loss, the sum of the term.
pub(super) fn sum<L: ElementLoss>(loss: &L, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
    let mut n = Nest::new(L::NEST, inputs, outputs);
    for (t, name) in [(n.input(0), "x"), (n.input(1), "t"), (n.out(0), "loss")] {
        n.rename(t, name);
    }
    let axes = n.axes_of(&inputs[0], &["c", "i", "j"]);
    let one = n.axis("one", 1);
    let mut s = Stage::new(&axes[..1]);
    let element = Element::load(&mut s, &n, &axes, weights(inputs, 2));
    let value = loss.term(&mut s, element);
    let reduce = match &axes[1..] {
        [] => vec![one],
        elements => elements.to_vec(),
    };
    s.reduce(Combine::Sum, &reduce, value);
    let share = 1.0 / divisor(loss.reduction(), &inputs[0]);
    let (acc, share) = (s.acc(0), s.constant(share));
    let value = s.mul(acc, share);
    s.store_at(n.out(0), &axes[..1], value);
    n.stages.push(s);
    n
}

/// (x, t, g) → dx, which is factor · slope(x, t) · g / divisor.
pub(super) fn slope<L: ElementLoss>(
    loss: &L,
    inputs: &[TensorType],
    outputs: &[TensorType],
) -> Nest {
    let mut n = Nest::new(&format!("{}_grad", L::NEST), inputs, outputs);
    for (t, name) in [
        (n.input(0), "x"),
        (n.input(1), "t"),
        (n.input(2), "g"),
        (n.out(0), "dx"),
    ] {
        n.rename(t, name);
    }
    let axes = n.axes_of(&inputs[0], &["c", "i", "j"]);
    let mut s = Stage::new(&axes);
    let element = Element::load(&mut s, &n, &axes, weights(inputs, 3));
    let slope = loss.slope(&mut s, element);
    let g = s.load_at(n.input(2), &axes[..1]);
    let factor = s.constant(L::FACTOR / divisor(loss.reduction(), &inputs[0]));
    let scaled = s.mul(g, factor);
    let dx = s.mul(scaled, slope);
    s.store_at(n.out(0), &axes, dx);
    n.stages.push(s);
    n
}

/// 1, −1, or 0 for 0, as torch has it for NaN too.
pub(super) fn sign(s: &mut Stage, x: ExprId) -> ExprId {
    let [zero, one, minus] = [0.0, 1.0, -1.0].map(|value| s.constant(value));
    let below = s.select(Compare::Lt, x, zero, minus, zero);
    s.select(Compare::Gt, x, zero, one, below)
}
