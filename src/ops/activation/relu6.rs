//! y = min(max(x, 0), 6), dx = dy where 0 < y < 6 and at a NaN; at 0 and 6 it is 0, as torch has it.

use super::{Activation, Reads};
use crate::nest::{Compare, ExprId, Stage};
use crate::ops::{ArgError, Args, Argument};

/// `ReLU6`: x → y
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReLU6;

impl Activation for ReLU6 {
    const NAME: &'static str = "ReLU6";
    const ARGUMENTS: &'static [Argument] = &[];
    const NEST: &'static str = "relu6";
    const READS: Reads = Reads::Result;

    fn with(_: &Args) -> Result<Self, ArgError> {
        Ok(Self)
    }
    fn shown(&self) -> String {
        String::new()
    }
    fn value(&self, stage: &mut Stage, x: ExprId) -> ExprId {
        let positive = stage.at_least(0.0, x);
        stage.at_most(6.0, positive)
    }
    fn gradient(&self, stage: &mut Stage, y: ExprId, dy: ExprId) -> ExprId {
        let (zero, six) = (stage.constant(0.0), stage.constant(6.0));
        let below = stage.select(Compare::Eq, y, six, zero, dy);
        stage.select(Compare::Eq, y, zero, zero, below)
    }
}
