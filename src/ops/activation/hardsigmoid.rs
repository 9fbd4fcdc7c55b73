//! y = min(max(x + 3, 0), 6) / 6, dx = dy / 6 between −3 and 3; at both it is 0, as torch has it.

use super::{Activation, Reads, times};
use crate::nest::{Compare, ExprId, Stage};
use crate::ops::{ArgError, Args, Argument};

/// `Hardsigmoid`: x → y
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hardsigmoid;

impl Activation for Hardsigmoid {
    const NAME: &'static str = "Hardsigmoid";
    const ARGUMENTS: &'static [Argument] = &[];
    const NEST: &'static str = "hardsigmoid";
    const READS: Reads = Reads::Input;

    fn with(_: &Args) -> Result<Self, ArgError> {
        Ok(Self)
    }
    fn shown(&self) -> String {
        String::new()
    }
    fn value(&self, stage: &mut Stage, x: ExprId) -> ExprId {
        let (three, six) = (stage.constant(3.0), stage.constant(6.0));
        let above = stage.add(x, three);
        let above = stage.at_least(0.0, above);
        let above = stage.at_most(6.0, above);
        stage.div(above, six)
    }
    fn gradient(&self, stage: &mut Stage, x: ExprId, dy: ExprId) -> ExprId {
        let [zero, three, below] = [0.0, 3.0, -3.0].map(|c| stage.constant(c));
        let sixth = times(stage, 1.0 / 6.0, dy);
        let upper = stage.select(Compare::Lt, x, three, sixth, zero);
        stage.select(Compare::Gt, x, below, upper, zero)
    }
}
