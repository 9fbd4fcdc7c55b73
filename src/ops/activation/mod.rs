//! Activations: elementwise functions of one number, a file each, and the gradient that all of them have.
//!
//! An activation says what its value is, what its gradient reads, its input or its result, and what that makes of dy.
//! Everything else of the layer and of its gradient's operator follows and stands here (Dive into Deep Learning, 5.1).

mod elu;
mod gelu;
mod hardsigmoid;
mod hardswish;
mod leaky_relu;
mod relu;
mod relu6;
mod sigmoid;
mod silu;
mod softplus;
mod tanh;

pub use elu::ELU;
pub use gelu::{Approximation, GELU};
pub use hardsigmoid::Hardsigmoid;
pub use hardswish::Hardswish;
pub use leaky_relu::LeakyReLU;
pub use relu::ReLU;
pub use relu6::ReLU6;
pub use sigmoid::Sigmoid;
pub use silu::SiLU;
pub use softplus::Softplus;
pub use tanh::Tanh;

use super::{
    ArgError, Args, Argument, GradCx, Layer, LayerCx, LayerState, Op, Operator, ShapeError,
    Signature, same_types,
};
use crate::ir::{TensorType, Value};
use crate::nest::{ExprId, Nest, Stage};

/// What a gradient is computed from, beside dy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    Input,
    /// What the layer yields: its input need not be kept.
    Result,
}

/// An elementwise function of one number.
pub trait Activation: Clone {
    /// As written in a `.nn` file.
    const NAME: &'static str;
    /// In torch's order.
    const ARGUMENTS: &'static [Argument];
    /// In printed nests.
    const NEST: &'static str;
    const READS: Reads;
    /// Reads the arguments.
    fn with(args: &Args) -> Result<Self, ArgError>;
    /// The arguments as text for printed graphs; may be empty.
    fn shown(&self) -> String;
    /// The function of x.
    fn value(&self, stage: &mut Stage, x: ExprId) -> ExprId;
    /// dx of dy and of what [`READS`](Self::READS) says.
    fn gradient(&self, stage: &mut Stage, read: ExprId, dy: ExprId) -> ExprId;
}

/// (input or result, dy) → dx
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ActivationGrad<A>(pub A);

impl<A: Activation> Layer for A
where
    Op: From<A>,
{
    fn signature() -> Signature {
        Signature::plain(A::NAME, A::ARGUMENTS)
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        A::with(args)
    }
    fn states(&self, _: &TensorType) -> Vec<LayerState> {
        vec![]
    }
    fn build(&self, cx: &mut LayerCx) -> Result<Value, ShapeError> {
        cx.plain(self.clone())
    }
    fn formula(&self, _: &TensorType) -> String {
        "as its input".into()
    }
}

impl<A: Activation> Operator for A
where
    Op: From<ActivationGrad<A>>,
{
    fn attributes(&self) -> String {
        self.shown()
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![inputs[0].clone()])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        let Some(dy) = cx.dy() else {
            return vec![None];
        };
        let read = match A::READS {
            Reads::Input => cx.operands[0],
            Reads::Result => cx.results[0],
        };
        let back = ActivationGrad(self.clone());
        vec![cx.when_wanted(0, |cx| cx.emit(back, &[read, dy]))]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        elementwise(A::NEST, inputs, outputs, |stage, v| self.value(stage, v[0]))
    }
}

impl<A: Activation> Operator for ActivationGrad<A> {
    fn attributes(&self) -> String {
        self.0.shown()
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![same_types(inputs, A::NAME)?])
    }
    fn grad(&self, _: &mut GradCx) -> Vec<Option<Value>> {
        vec![None, None]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let name = format!("{}_grad", A::NEST);
        elementwise(&name, inputs, outputs, |stage, v| {
            self.0.gradient(stage, v[0], v[1])
        })
    }
}

/// `build` makes the value of one element from those of the operands.
fn elementwise(
    name: &str,
    inputs: &[TensorType],
    outputs: &[TensorType],
    build: impl FnOnce(&mut Stage, &[ExprId]) -> ExprId,
) -> Nest {
    let mut n = Nest::new(name, inputs, outputs);
    let axes = n.axes_of(&outputs[0], &["c", "i", "j"]);
    let mut s = Stage::new(&axes);
    let values: Vec<ExprId> = (0..inputs.len() as u32)
        .map(|k| s.load_at(n.input(k), &axes))
        .collect();
    let y = build(&mut s, &values);
    s.store_at(n.out(0), &axes, y);
    n.stages.push(s);
    n
}

/// `factor · x`; a factor of 1 is left out.
fn times(stage: &mut Stage, factor: f32, x: ExprId) -> ExprId {
    if factor == 1.0 {
        return x;
    }
    let factor = stage.constant(factor);
    stage.mul(factor, x)
}

/// `x` within `−most` and `most`; NaN stays NaN. Where a function is its limit to the last digit, its formula's parts
/// need not be: ∞ · 0 is none.
fn within(stage: &mut Stage, most: f32, x: ExprId) -> ExprId {
    let x = stage.at_least(-most, x);
    stage.at_most(most, x)
}

/// `(1 − t) · (1 + t)`: near ±1 the square alone is rounded to few digits of the difference.
fn one_less_square(stage: &mut Stage, t: ExprId) -> ExprId {
    let one = stage.constant(1.0);
    let (less, more) = (stage.sub(one, t), stage.add(one, t));
    stage.mul(less, more)
}
