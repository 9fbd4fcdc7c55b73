//! Optimizers: the next value of a parameter from its gradient, and what is kept from step to step for that.
//!
//! Each is a file here and a line in the list of operators. Does not know where gradients come from, nor how the numbers
//! of a step change.

mod adagrad;
mod adam;
mod elements;
mod rmsprop;
mod sgd;

use super::{AnyOptimizer, ArgError, Args, Operator, Real, Signature};
use crate::ir::{Scalar, TensorType};
pub use adagrad::Adagrad;
pub use adam::{Adam, AdamW};
use elements::Elements;
pub use rmsprop::RmsProp;
pub use sgd::Sgd;

/// What the numbers of a step depend on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// Which step it is, from 1 on.
    pub step: u64,
    /// As the schedule has it.
    pub learning_rate: f64,
    /// The momentum of the step, where a schedule changes it.
    pub momentum: Option<f64>,
}

/// Numbers of a step, each with its value.
pub type Numbers = Vec<(Scalar, f64)>;

/// What can be named as an optimizer. Its operands are a parameter, its gradient, the states that it keeps of the
/// parameter, then the numbers of the step that it reads; its results are the next parameter and the next states.
pub trait Optimizer: Operator {
    /// Name, arguments and defaults as written in a `.nn` file.
    fn signature() -> Signature
    where
        Self: Sized;
    /// Reads the arguments.
    fn from_args(args: &Args) -> Result<Self, ArgError>
    where
        Self: Sized;
    /// The step size, before any schedule changes it.
    fn learning_rate(&self) -> Real;
    /// What it keeps of a parameter of this type.
    fn states(&self, parameter: &TensorType) -> Vec<OptimizerState>;
    /// The numbers of a step that it reads, in the order of its operands.
    fn scalars(&self) -> Vec<Scalar>;
    /// The values of those of them that follow from its arguments, in a step.
    fn numbers(&self, at: &Moment) -> Numbers;
    /// The same with a momentum that changes from step to step; `None` where it knows none.
    fn cycled(&self) -> Option<AnyOptimizer>;
}

/// What an optimizer keeps of a parameter from step to step.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerState {
    /// Its name within the parameter, as `momentum_buffer`.
    pub name: &'static str,
    pub dims: Vec<u32>,
    /// What all its elements are before the first step.
    pub start: f32,
}

/// A state of the parameter's shape.
fn kept(name: &'static str, parameter: &TensorType, start: f32) -> OptimizerState {
    OptimizerState {
        name,
        dims: parameter.dims.clone(),
        start,
    }
}

/// The weight decay of a parameter: `decay_biases=false` leaves out those of one axis, biases and what normalises.
fn decay_of(parameter: &TensorType, decay: Real, decay_biases: bool) -> f32 {
    match decay_biases || parameter.dims.len() > 1 {
        true => decay.single(),
        false => 0.0,
    }
}

/// The part of the attributes that is about weight decay, behind others.
fn weight_decay(decay: Real, biases: bool) -> String {
    match (decay.get() == 0.0, biases) {
        (true, _) => String::new(),
        (false, true) => format!(" weight_decay={decay}"),
        (false, false) => format!(" weight_decay={decay} decay_biases=false"),
    }
}
