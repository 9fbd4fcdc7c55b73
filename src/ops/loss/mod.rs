//! Losses of each example: what a model can name as its `loss`, and whether a class is right.
//!
//! Each is a file here and a line in the list of operators. A loss takes what the last layer yields and the example's
//! target, and yields a number for each example first; its mean over a batch, or its sum, is what a step goes down.
//! Does not know what a step is made of.

mod bce;
mod correct;
mod cross_entropy;
mod elements;
mod huber;
mod l1;
mod mse;
mod nll;
mod smooth_l1;
mod weights;

use super::{ArgError, Args, Argument, Op, Operator, ShapeError, Signature};
use crate::ir::{DType, TensorType};
use crate::nest::{AxisId, Compare, Expr, ExprId, Stage, ax};
pub use bce::{BceWithLogitsGrad, BceWithLogitsLoss};
pub use correct::Correct;
pub use cross_entropy::{CrossEntropyGrad, CrossEntropyLoss};
pub use huber::{HuberGrad, HuberLoss};
pub use l1::{L1Grad, L1Loss};
pub use mse::{MseGrad, MseLoss};
pub use nll::{NllGrad, NllLoss};
pub use smooth_l1::{SmoothL1Grad, SmoothL1Loss};
pub use weights::Weights;

/// What can be named as a loss. Its operands are the last layer's result and the targets; its first result is the loss of
/// each example.
pub trait Loss: Operator {
    /// Name, arguments and defaults as written in a `.nn` file.
    fn signature() -> Signature
    where
        Self: Sized;
    /// Reads the arguments.
    fn from_args(args: &Args) -> Result<Self, ArgError>
    where
        Self: Sized;
    /// The targets for a model that yields `output`. Called before `infer`, so it must bear any output.
    fn targets(&self, output: &TensorType) -> Targets;
    /// How the losses of the examples become that of the step.
    fn reduction(&self) -> Reduction;
    /// The weights of classes whose sum over the examples a mean divides by; `None` where each example counts 1.
    fn shares(&self) -> Option<&Weights>;
    /// The numbers that it reads beside the targets: operands behind them.
    fn states(&self) -> Vec<LossState>;
    /// What is counted of right answers, an operator with the same operands; `None` where there are no right ones.
    fn metric(&self) -> Option<Op>;
}

/// Numbers of a loss that stay what they are, as the weights of classes.
#[derive(Clone, Debug, PartialEq)]
pub struct LossState {
    /// Its name within the loss, as `weight`.
    pub name: &'static str,
    /// One axis of numbers.
    pub values: Vec<f32>,
}

/// What an example is held to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// One of so many classes, numbered from 0.
    Classes(u32),
    /// Numbers, with these dimensions for one example.
    Values(Vec<u32>),
}

impl Targets {
    /// A class for each number of the first axis of `output`.
    pub fn classes(output: &TensorType) -> Self {
        Self::Classes(output.dims.first().copied().unwrap_or(0))
    }

    /// The type of their elements.
    pub fn dtype(&self) -> DType {
        match self {
            Self::Classes(_) => DType::I32,
            Self::Values(_) => DType::F32,
        }
    }

    /// The dimensions of one example's.
    pub fn dims(&self) -> Vec<u32> {
        match self {
            Self::Classes(_) => vec![],
            Self::Values(dims) => dims.clone(),
        }
    }
}

/// How the losses of the examples become that of the step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reduction {
    #[default]
    Mean,
    Sum,
}

impl Reduction {
    /// How losses write it, behind what torch has before it.
    const ARGUMENT: Argument = Argument::or("reduction", "mean");

    /// As printed graphs have it.
    fn attribute(self) -> String {
        let word = match self {
            Self::Mean => "mean",
            Self::Sum => "sum",
        };
        format!("reduction={word}")
    }

    /// The argument `reduction`, the mean by default.
    fn read(args: &Args) -> Result<Self, ArgError> {
        let words = [("mean", Self::Mean), ("sum", Self::Sum)];
        args.word_or("reduction", &words, Self::Mean)
    }
}

fn per_example() -> TensorType {
    TensorType::batch([])
}

fn logits(ty: &TensorType, who: &str) -> Result<(), ShapeError> {
    if ty.dims.len() == 1 {
        return Ok(());
    }
    let axes = crate::diag::count(ty.dims.len() as u64, "axis");
    let rule = format!("the last layer yields {ty}, with {axes}");
    Err(ShapeError::new(
        "E0207",
        &format!("{who} needs one number for each class"),
        rule,
    )
    .help("end the model with Flatten and Linear(number of classes)"))
}

/// `yes` at the class `t` of the example, else `no`.
fn of_class(s: &mut Stage, c: AxisId, t: ExprId, yes: ExprId, no: ExprId) -> ExprId {
    let here = s.push(Expr::Axis(ax(c)));
    s.select(Compare::Eq, here, t, yes, no)
}
