//! y = max(x, 0), dx = dy where y > 0; at 0 it is 0, as torch has it.

use super::{Activation, Reads};
use crate::nest::{Compare, ExprId, Stage};
use crate::ops::{ArgError, Args, Argument};

/// `ReLU`: x → y
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReLU;

impl Activation for ReLU {
    const NAME: &'static str = "ReLU";
    const ARGUMENTS: &'static [Argument] = &[];
    const NEST: &'static str = "relu";
    const READS: Reads = Reads::Result;

    fn with(_: &Args) -> Result<Self, ArgError> {
        Ok(Self)
    }
    fn shown(&self) -> String {
        String::new()
    }
    fn value(&self, stage: &mut Stage, x: ExprId) -> ExprId {
        // A NaN passes through, since it is not less than zero.
        let zero = stage.constant(0.0);
        stage.select(Compare::Lt, x, zero, zero, x)
    }
    fn gradient(&self, stage: &mut Stage, y: ExprId, dy: ExprId) -> ExprId {
        let zero = stage.constant(0.0);
        stage.select(Compare::Gt, y, zero, dy, zero)
    }
}
