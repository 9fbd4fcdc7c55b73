//! y = tanh x, dx = dy · (1 − y) (1 + y).

use super::{Activation, Reads, one_less_square};
use crate::nest::{ExprId, Stage, Unary};
use crate::ops::{ArgError, Args, Argument};

/// `Tanh`: x → y
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tanh;

impl Activation for Tanh {
    const NAME: &'static str = "Tanh";
    const ARGUMENTS: &'static [Argument] = &[];
    const NEST: &'static str = "tanh";
    const READS: Reads = Reads::Result;

    fn with(_: &Args) -> Result<Self, ArgError> {
        Ok(Self)
    }
    fn shown(&self) -> String {
        String::new()
    }
    fn value(&self, stage: &mut Stage, x: ExprId) -> ExprId {
        stage.unary(Unary::Tanh, x)
    }
    fn gradient(&self, stage: &mut Stage, y: ExprId, dy: ExprId) -> ExprId {
        let slope = one_less_square(stage, y);
        stage.mul(dy, slope)
    }
}
