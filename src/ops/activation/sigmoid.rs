//! y = 1 / (1 + e^−x), dx = dy · y · (1 − y).

use super::{Activation, Reads};
use crate::nest::{ExprId, Stage, Unary};
use crate::ops::{ArgError, Args, Argument};

/// `Sigmoid`: x → y
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sigmoid;

impl Activation for Sigmoid {
    const NAME: &'static str = "Sigmoid";
    const ARGUMENTS: &'static [Argument] = &[];
    const NEST: &'static str = "sigmoid";
    const READS: Reads = Reads::Result;

    fn with(_: &Args) -> Result<Self, ArgError> {
        Ok(Self)
    }
    fn shown(&self) -> String {
        String::new()
    }
    fn value(&self, stage: &mut Stage, x: ExprId) -> ExprId {
        stage.unary(Unary::Sigmoid, x)
    }
    fn gradient(&self, stage: &mut Stage, y: ExprId, dy: ExprId) -> ExprId {
        let one = stage.constant(1.0);
        let rest = stage.sub(one, y);
        let slope = stage.mul(y, rest);
        stage.mul(dy, slope)
    }
}
