//! Optimizers: the next value of a parameter from its gradient, and what is kept from step to step for that.
//!
//! Each is a file here and a line in the list of operators. Does not know where gradients come from, nor how the numbers
//! of a step change.

mod sgd;

use super::{ArgError, Args, Operator, Real, Signature};
use crate::ir::{Scalar, TensorType};
pub use sgd::Sgd;

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
