//! y = x · min(max(x + 3, 0), 6) / 6; dx = 0 up to −3, dy · (x / 3 + ½) below 3, dy from there on, as torch has it
//! (Howard and others 2019, Searching for MobileNetV3).

use super::{Activation, Reads};
use crate::nest::{Compare, ExprId, Stage};
use crate::ops::{ArgError, Args, Argument};

/// `Hardswish`: x → y
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hardswish;

impl Activation for Hardswish {
    const NAME: &'static str = "Hardswish";
    const ARGUMENTS: &'static [Argument] = &[];
    const NEST: &'static str = "hardswish";
    const READS: Reads = Reads::Input;

    fn with(_: &Args) -> Result<Self, ArgError> {
        Ok(Self)
    }
    fn shown(&self) -> String {
        String::new()
    }
    fn value(&self, stage: &mut Stage, x: ExprId) -> ExprId {
        let x = stage.at_least(-3.0, x);
        let (three, six) = (stage.constant(3.0), stage.constant(6.0));
        let above = stage.add(x, three);
        let above = stage.at_most(6.0, above);
        // At most 1, so that the product is no greater than x.
        let share = stage.div(above, six);
        stage.mul(x, share)
    }
    fn gradient(&self, stage: &mut Stage, x: ExprId, dy: ExprId) -> ExprId {
        let [zero, half, three, below] = [0.0, 0.5, 3.0, -3.0].map(|c| stage.constant(c));
        let third = stage.div(x, three);
        let slope = stage.add(third, half);
        let between = stage.mul(dy, slope);
        let lower = stage.select(Compare::Gt, x, below, between, zero);
        stage.select(Compare::Lt, x, three, lower, dy)
    }
}
